// SPDX-License-Identifier: MIT
#include "mflux/report/html.h"

#include <span>

#include <doctest/doctest.h>

namespace mflux::report {
namespace {

TEST_CASE("text from files cannot become markup") {
  CHECK(
      escape(R"(<img src="x" onerror='a&b'>)") ==
      "&lt;img src=&quot;x&quot; onerror=&#39;a&amp;b&#39;&gt;");
  CHECK(escape("Köln 🌇\n\tZeile") == "Köln 🌇\n\tZeile");
  CHECK(escape("") == "");
}

TEST_CASE("bytes that are no UTF-8 become a sign for that") {
  const std::string sign = "\xef\xbf\xbd";
  CHECK(escape("a\xff\x62") == "a" + sign + "b");
  CHECK(escape("\xc3") == sign);                                   // cut
  CHECK(escape("\xc0\xbc") == sign + sign);                        // '<' spelled too long
  CHECK(escape("\xe0\x80\xbc") == sign + sign + sign);             // again
  CHECK(escape("\xed\xa0\x80") == sign + sign + sign);             // half of a pair
  CHECK(escape("\xf4\x90\x80\x80") == sign + sign + sign + sign);  // beyond Unicode
  CHECK(escape(std::string("\0\x1b\x7f", 3)) == sign + sign + sign);
}

TEST_CASE("a long name may be broken behind its separators") {
  CHECK(escape_name("a/b_c.d<") == "a/<wbr>b_<wbr>c.<wbr>d&lt;");
  CHECK(escape_name("a.") == "a.");
  CHECK(escape_name("") == "");
}

TEST_CASE("bytes become base64 as RFC 4648 has it") {
  const auto uri = [](std::string_view text) {
    return data_uri(std::as_bytes(std::span(text.data(), text.size())));
  };
  CHECK(uri("") == "data:image/png;base64,");
  CHECK(uri("f") == "data:image/png;base64,Zg==");
  CHECK(uri("fo") == "data:image/png;base64,Zm8=");
  CHECK(uri("foo") == "data:image/png;base64,Zm9v");
  CHECK(uri("foob\xff\xfe") == "data:image/png;base64,Zm9vYv/+");
}

TEST_CASE("what is not all never reads as all") {
  CHECK(percent(0.992) == "99.2 %");
  CHECK(percent(0.9996) == "99.9 %");
  CHECK(percent(0.99999, 2) == "99.99 %");
  CHECK(percent(1) == "100.0 %");
  CHECK(percent(1.0004) == "100.0 %");
  CHECK(percent(0) == "0.0 %");
  CHECK(percent(-0.031) == "-3.1 %");
  CHECK(percent(-1.25e20) == "-1.25e+22 %");
  CHECK(small_percent(0.0073) == "0.730 %");
}

TEST_CASE("sizes have three digits") {
  CHECK(readable_size(999) == "999 bytes");
  CHECK(readable_size(1000) == "1.00 kB");
  CHECK(readable_size(33'840'000) == "33.8 MB");
  CHECK(readable_size(12'583'000'000) == "12.6 GB");
  CHECK(readable_size(345'000'000'000'000) == "345 TB");
}

TEST_CASE("a table aligns its numbers") {
  CHECK(
      table({"Name", ">Size"}, {{"a<wbr>b", "1"}}) ==
      "<div class=\"scroll\"><table>\n<tr><th>Name</th><th class=\"number\">Size</th></tr>\n"
      "<tr><td>a<wbr>b</td><td class=\"number\">1</td></tr>\n</table></div>\n");
}

}  // namespace
}  // namespace mflux::report

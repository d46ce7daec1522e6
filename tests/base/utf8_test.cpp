// SPDX-License-Identifier: MIT
#include "mflux/base/utf8.h"

#include <string>

#include <doctest/doctest.h>

namespace mflux {
namespace {

TEST_CASE("invalid UTF-8 is found where it begins") {
  CHECK(invalid_utf8("") == std::string::npos);
  CHECK(invalid_utf8("a\u00e9\u4e00\U0001F600") == std::string::npos);
  CHECK(invalid_utf8("ab\x80") == 2);            // a continuation without a lead
  CHECK(invalid_utf8("\xC3") == 0);              // cut
  CHECK(invalid_utf8("a\xC0\x80") == 1);         // overlong
  CHECK(invalid_utf8("\xED\xA0\x80") == 0);      // a surrogate
  CHECK(invalid_utf8("\xF4\x90\x80\x80") == 0);  // above U+10FFFF
  CHECK(invalid_utf8("\xF4\x8F\xBF\xBF") == std::string::npos);
}

TEST_CASE("blanks at the ends go as with Python's strip, and no others") {
  // All 29 characters of which str.isspace() says yes.
  const std::string blanks =
      "\t\n\v\f\r\x1c\x1d\x1e\x1f \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006"
      "\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000";
  CHECK(stripped(blanks).empty());
  CHECK(stripped(blanks + "a\u00a0 \u3000b" + blanks) == "a\u00a0 \u3000b");
  CHECK(stripped("").empty());
  // Neither a byte order mark, nor what has no width, nor other controls.
  for (const char* kept :
       {"\ufeff", "\u200b", "\u2060", "\u180e", "\x1b", "\x7f", "\u00ad", "\u4e00"}) {
    CHECK(stripped(std::string(" ") + kept + "\u2003") == kept);
  }
}

}  // namespace
}  // namespace mflux

// SPDX-License-Identifier: MIT
#include "mflux/base/printable.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "mflux/base/error.h"
#include "mflux/base/utf8.h"
#include "tests/testing.h"

namespace mflux {
namespace {

using testing::contains;
using testing::error_of;

struct Case {
  std::string text;
  std::string shown;
};

const std::vector<Case> kHidden = {
    {"\x1b[2J", "\\x1b[2J"},
    {std::string("a\0b", 3), "a\\x00b"},
    {"a\nb\r\tc", "a\\nb\\r\\tc"},
    {"\a\b\x7f", "\\x07\\x08\\x7f"},
    {"\u0080\u0085\u009b31m", "\\u0080\\u0085\\u009b31m"},
    {"\u202e\u202a\u2066\u2069\u200f\u061c", "\\u202e\\u202a\\u2066\\u2069\\u200f\\u061c"},
    {"a\u200bb\u200dc\u2060d\ufeff", "a\\u200bb\\u200dc\\u2060d\\ufeff"},
    {"\u2028\u2029\u00ad", "\\u2028\\u2029\\u00ad"},
    {"\U000e0041", "\\U000e0041"},
    {"\xff\xfe", "\\xff\\xfe"},
    {"ok\xc3", "ok\\xc3"},
    {"\xc0\x9b\xed\xa0\x80", "\\xc0\\x9b\\xed\\xa0\\x80"},
};

TEST_CASE("what moves a cursor, turns writing round or has no picture is shown escaped") {
  for (const auto& [text, shown] : kHidden) {
    CAPTURE(shown);
    CHECK(printable(text) == shown);
    CHECK(printable(shown) == shown);
  }
}

TEST_CASE("text that people write is shown as it is") {
  for (const std::string text :
       {"",
        "transformer_blocks.0.attn.to_q.weight",
        "été",
        "日本語",
        "שלום",
        "😀❤\ufe0f",
        "C:\\x",
        "~"}) {
    CAPTURE(text);
    CHECK(printable(text) == text);
  }
}

TEST_CASE("long text loses its middle, says its size, and is within the limit") {
  const std::string megabyte(1 << 20, 'x');
  for (const std::string& text :
       {"begin" + megabyte + "end",
        std::string(3 << 20, '\x1b'),
        megabyte + "\u202e",
        "é" + megabyte + "é"}) {
    const std::string shown = printable(text);
    CHECK(shown.size() <= kPrintableBytes);
    CHECK(shown.size() > kPrintableBytes - 40);
    CHECK(shown.ends_with(fmt::format(" ({} bytes)", text.size())));
    CHECK(contains(shown, "..."));
    CHECK(printable(shown) == shown);
    CHECK(invalid_utf8(shown) == std::string::npos);
  }
  CHECK(printable("begin" + megabyte + "end").starts_with("beginxxx"));
  CHECK(contains(printable("begin" + megabyte + "end"), "xxxend ("));
  // Escaping makes longer: 300 bytes that become 1,200.
  CHECK(printable(std::string(300, '\x1b')).size() <= kPrintableBytes);
  CHECK(printable(std::string(1000, 'x')) == std::string(1000, 'x'));
  CHECK(printable("abcdefghijklmnopqrstuvwxyz0123456789", 30) == "abcdefgh...23456789 (36 bytes)");
}

TEST_CASE("any bytes at all become valid text without control characters") {
  std::string bytes;
  uint32_t state = 1;
  for (int i = 0; i < 20'000; ++i) {
    state = state * 1'664'525 + 1'013'904'223;
    bytes += static_cast<char>(state >> 24U);
  }
  for (size_t begin = 0; begin < bytes.size(); begin += 97) {
    const std::string shown = printable(std::string_view(bytes).substr(begin, 2000));
    CHECK(invalid_utf8(shown) == std::string::npos);
    for (const char c : shown) CHECK(static_cast<unsigned char>(c) >= 0x20);
  }
}

TEST_CASE("a message shows texts of strangers escaped and cut, and our own lines as they are") {
  const std::vector<std::string> names = {"a\nb", std::string(5000, 'n')};
  const std::string message = error_of([&] {
    fail(
        "{}: {:>4} {}\n  {} {}",
        "x\x1b[1m",
        7,
        fmt::join(names, ",\n"),
        std::string_view("\u202e"),
        Shown{"kept\nas it is"});
  });
  CHECK(message.starts_with("x\\x1b[1m:    7 a\\nb,\nnnnn"));
  CHECK(message.ends_with("(5000 bytes)\n  \\u202e kept\nas it is"));
  CHECK(message.size() < 1200);
  CHECK(error_of([] { fail(ErrorKind::usage, "{} {}", '\x1b', 'c'); }) == "\\x1b c");
}

TEST_CASE("a message of another library is shown escaped") {
  CHECK(error_of([] {
          try {
            throw std::runtime_error("last read: '\x1b]0;x\a'");
          } catch (const std::exception& error) {
            fail("{}", error.what());
          }
        }) == "last read: '\\x1b]0;x\\x07'");
}

TEST_CASE("JSON has the same value and no hidden character") {
  for (const auto& [text, shown] : kHidden) {
    if (invalid_utf8(text) != std::string::npos) continue;
    const nlohmann::json json = {{"name", text}, {text, 1}};
    const std::string line = printable_json(json.dump());
    CAPTURE(line);
    CHECK(nlohmann::json::parse(line) == json);
    CHECK(printable(line) == line);
  }
  CHECK(printable_json("{\n \"a\": \"é\"\n}") == "{\n \"a\": \"é\"\n}");
}

}  // namespace
}  // namespace mflux

// SPDX-License-Identifier: MIT
// One pass over the bytes that skips strings and comments and counts what is left: brackets, dots
// of a key, values, dates. It accepts some texts that are not TOML; toml++ refuses those.
#include "cli/toml_text.h"

#include <algorithm>
#include <cstddef>
#include <string>

#include "mflux/base/error.h"

namespace mflux::cli {
namespace {

constexpr size_t kMostBytes = 1'000'000;
constexpr size_t kMostValues = 20'000;
constexpr size_t kMostDepth = 32;  // of keys within keys, and of brackets

bool begins_key(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-' || c == '"' || c == '\'';
}

// Reads over strings and comments and looks at what is left: brackets, dots, equals signs.
class TomlText {
 public:
  TomlText(std::string_view text, std::string_view file) : text_(text), file_(file) {}

  void check() {
    if (text_.size() > kMostBytes) {
      fail(
          ErrorKind::usage,
          "{}: has {} bytes, expected a job of at most {}",
          file_,
          text_.size(),
          kMostBytes);
    }
    while (at_ < text_.size()) step();
  }

 private:
  [[noreturn]] void refuse(std::string_view what) const {
    fail(ErrorKind::usage, "{}:{}: not TOML: {}", file_, line_, what);
  }

  void step() {
    const char c = text_[at_];
    switch (c) {
      case '"':
      case '\'':
        skip_string(c);
        line_begins_ = false;
        return;
      case '#':
        at_ = std::min(text_.find('\n', at_), text_.size());
        return;
      case '\n':
        ++line_;
        line_begins_ = true;
        dots_ = 0;
        break;
      case '[':
      case '{':
        open(c);
        return;
      case ']':
      case '}':
        close(c);
        break;
      case '=':
      case ',':
        count_value();
        line_begins_ = false;
        break;
      case '.':
        if (++dots_ > kMostDepth) {
          refuse(fmt::format("keys nested more than {} deep", kMostDepth));
        }
        line_begins_ = false;
        break;
      case '-':
      case ':':
        if (c == ':' || follows_year()) refuse("a date or a time, which a job cannot have");
        line_begins_ = false;
        break;
      default:
        line_begins_ = line_begins_ && (c == ' ' || c == '\t' || c == '\r');
        break;
    }
    ++at_;
  }

  bool follows_year() const {
    constexpr size_t kDigits = 4;
    return at_ >= kDigits && std::ranges::all_of(
                                 text_.substr(at_ - kDigits, kDigits),
                                 [](char digit) { return digit >= '0' && digit <= '9'; });
  }

  void count_value() {
    dots_ = 0;
    if (++values_ > kMostValues) refuse(fmt::format("more than {} values", kMostValues));
  }

  void open(char bracket) {
    count_value();
    if (open_.size() == kMostDepth) {
      refuse(fmt::format("brackets nested more than {} deep", kMostDepth));
    }
    open_ += bracket;
    const bool is_header = line_begins_ && open_ == "[";
    line_begins_ = false;
    ++at_;
    if (is_header) begin_header();
  }

  // Behind the first bracket of [table] or [[table]].
  void begin_header() {
    if (at_ < text_.size() && text_[at_] == '[') {
      open_ += '[';
      ++at_;
    }
    const size_t name = text_.find_first_not_of(" \t", at_);
    if (name == text_.npos || !begins_key(text_[name])) refuse("a table without a name");
    at_ = name;
  }

  void close(char bracket) {
    const char opened = bracket == ']' ? '[' : '{';
    if (!open_.ends_with(opened)) refuse(fmt::format("'{}' closes nothing", bracket));
    open_.pop_back();
    dots_ = 0;
    line_begins_ = false;
  }

  // One that is not closed ends with its line, or with the text if it may have several.
  void skip_string(char quote) {
    const std::string three(3, quote);
    const bool long_string = text_.substr(at_).starts_with(three);
    at_ += long_string ? 3 : 1;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (long_string ? text_.substr(at_).starts_with(three) : c == quote || c == '\n') break;
      const bool escapes = c == '\\' && quote == '"' && at_ + 1 < text_.size();
      if (escapes && (long_string || text_[at_ + 1] != '\n')) ++at_;
      if (text_[at_] == '\n') ++line_;
      ++at_;
    }
    if (at_ < text_.size() && text_[at_] == quote) at_ += long_string ? 3 : 1;
  }

  std::string_view text_;
  std::string_view file_;
  size_t at_ = 0;
  size_t line_ = 1;
  bool line_begins_ = true;
  size_t dots_ = 0;  // since the last bracket, comma or equals sign
  size_t values_ = 0;
  std::string open_ = {};  // brackets
};

}  // namespace

void check_toml(std::string_view text, std::string_view file) {
  TomlText(text, file).check();
}

}  // namespace mflux::cli

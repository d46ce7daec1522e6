// SPDX-License-Identifier: MIT
// Text from outside - names in files, file names, arguments - as it may be shown: on a terminal,
// in a log, in a message.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <fmt/format.h>

namespace mflux {

constexpr size_t kPrintableBytes = 1000;  // of one name or value

// Control characters, marks that change the direction of writing, characters without width and
// what is not UTF-8 are written as \n, \x1b or \u202e. What is then longer than `limit` bytes loses
// its middle: "abc...xyz (1048576 bytes)". A second time changes nothing.
std::string printable(std::string_view text, size_t limit = kPrintableBytes);

// JSON text of the same value in which the same characters are written as \u202e.
std::string printable_json(std::string_view json);

// Text that is printable already and may have lines and any length: the message of an Error.
struct Shown {
  std::string_view text = {};
};

namespace detail {

template <typename T>
concept Text = std::is_convertible_v<const T&, std::string_view>;

template <typename T>
concept JoinedTexts = requires(const T& list) {
  list.sep;
  requires Text<std::remove_cvref_t<decltype(*list.begin)>>;
};

// An argument of a message: text is made printable, everything else goes as it is.
template <typename T>
decltype(auto) shown(const T& value) {
  if constexpr (std::is_same_v<T, Shown>) {
    return value.text;
  } else if constexpr (Text<T>) {
    return printable(value);
  } else if constexpr (std::is_same_v<T, char>) {
    return printable({&value, 1});
  } else if constexpr (JoinedTexts<T>) {  // fmt::join()
    std::string text;
    for (auto it = value.begin; it != value.end; ++it) {
      if (it != value.begin) text.append(value.sep.data(), value.sep.size());
      text += printable(*it);
    }
    return text;
  } else {
    return (value);
  }
}

template <typename T>
using ShownAs = std::remove_cvref_t<decltype(shown(std::declval<const std::remove_cvref_t<T>&>()))>;

template <typename... Values>
std::string format_values(fmt::string_view format, const Values&... values) {
  return fmt::vformat(format, fmt::make_format_args(values...));
}

}  // namespace detail

template <typename... Args>
using PrintableFormat = fmt::format_string<detail::ShownAs<Args>...>;

// fmt::format() that makes every text among the arguments printable, and each of a fmt::join().
template <typename... Args>
std::string format_printable(PrintableFormat<Args...> format, const Args&... args) {
  return detail::format_values(format, detail::shown(args)...);
}

}  // namespace mflux

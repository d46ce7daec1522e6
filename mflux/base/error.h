// SPDX-License-Identifier: MIT
// The one error type. Raise it with fail("{}: tensor '{}' has shape {}, expected {}", ...).
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

#include <fmt/format.h>

namespace mflux {

// What went wrong, as far as a caller may act on it. The program turns it into its exit status.
enum class ErrorKind : uint8_t {
  failed,       // I/O, a bad file, not enough space or memory
  usage,        // the request itself makes no sense
  lora,         // a LoRA does not fit the model, or was refused
  interrupted,  // the caller asked to stop
};

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const noexcept { return kind_; }

 private:
  ErrorKind kind_;
};

template <typename... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(ErrorKind::failed, fmt::format(format, std::forward<Args>(args)...));
}

template <typename... Args>
[[noreturn]] void fail(ErrorKind kind, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(kind, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace mflux

// SPDX-License-Identifier: MIT
// The one error type. Raise it with fail("{}: tensor '{}' has shape {}, expected {}", ...).
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

#include "mflux/base/printable.h"

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

// The texts among the arguments come from files, and are made printable.
template <typename... Args>
[[noreturn]] void fail(PrintableFormat<Args...> format, const Args&... args) {
  throw Error(ErrorKind::failed, format_printable<Args...>(format, args...));
}

template <typename... Args>
[[noreturn]] void fail(ErrorKind kind, PrintableFormat<Args...> format, const Args&... args) {
  throw Error(kind, format_printable<Args...>(format, args...));
}

}  // namespace mflux

// SPDX-License-Identifier: MIT
// How a long operation reports what it does, and how it is stopped.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string_view>

namespace mflux {

struct SaveProgress {
  uint64_t bytes_done = 0;  // of the source
  uint64_t bytes_total = 0;
};

// Called from one thread at a time, but not always the same one.
struct SaveEvents {
  // Every step.
  std::function<void(std::string_view line)> log = {};
  // A line per component, and what needs attention.
  std::function<void(std::string_view line)> headline = {};
  std::function<void(const SaveProgress&)> progress = {};
  // Set it, from a signal handler for instance, to end with an Error of kind interrupted.
  std::atomic<bool>* stop = nullptr;
};

}  // namespace mflux

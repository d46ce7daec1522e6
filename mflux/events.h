// SPDX-License-Identifier: MIT
// How long work tells what it does, and is told to stop.
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

// How a long save tells what it does. Called from one thread at a time, but not always the same
// one.
struct SaveEvents {
  std::function<void(std::string_view line)> log = {};  // every step
  std::function<void(std::string_view line)> headline =
      {};  // a line per component and what needs attention
  std::function<void(const SaveProgress&)> progress = {};
  std::atomic<bool>* stop =
      nullptr;  // set it (from a signal handler, say) to end with an Error of kind interrupted
};

}  // namespace mflux

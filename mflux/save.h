// SPDX-License-Identifier: MIT
// Bakes LoRAs into a model, quantizes it and writes a folder that Python's mflux loads.
//
//   mflux::SaveReport report = mflux::save({.model = "Qwen-Image", .output = "out", .bits = 8});
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "mflux/options.h"
#include "mflux/bake/receipt.h"

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

struct SaveReport {
  Receipt receipt = {};
  uint64_t output_bytes = 0;
  uint64_t source_bytes = 0;  // of weights
  size_t resumed_shards = 0;  // found finished from an earlier run
  std::vector<std::string> warnings = {};
};

// Throws Error before the first byte is written if the plan cannot be met; leaves the output as it
// was if it fails later.
SaveReport save(const SaveOptions& options, const SaveEvents& events = {});

}  // namespace mflux

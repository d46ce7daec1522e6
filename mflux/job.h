// SPDX-License-Identifier: MIT
// Several outputs from one pass over a model: LoRA sets, strengths and formats side by side.
//
//   mflux::save_job({.model = "FLUX.1-dev", .outputs = {{.output = "a", .bits = 4}, ...}});
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "mflux/bake/planned.h"
#include "mflux/bake/receipt.h"
#include "mflux/checkpoint/checkpoint.h"
#include "mflux/events.h"
#include "mflux/lora/adapter.h"
#include "mflux/options.h"

namespace mflux {

struct JobOptions {
  std::string model = {};
  std::optional<std::string> base_model = {};
  std::vector<SaveOptions> outputs = {};  // their model and base_model are ignored
  // Tensors that a LoRA of any output of the same format touches lie in shards of their own; the
  // other shards are computed once, and are one file (reflink or hard link) in all of them. If
  // false, an output has the bytes that save() gives it.
  bool share = true;
  uint64_t max_memory = uint64_t{1} << 30;  // of the whole job; at least 16 MiB for each output
};

struct JobOutput {
  SaveOptions options = {};
  std::shared_ptr<lora::Loaded> loras = {};  // outputs with the same LoRAs have the same object
  Plan plan = {};
  std::map<size_t, size_t> shared = {};  // shard -> the earlier output whose file it is
};

struct JobPlan {
  Checkpoint model = {};
  std::vector<JobOutput> outputs = {};
};

struct JobReport {
  std::vector<SaveReport> outputs = {};  // in the order asked for
  size_t shared_shards = 0;
  uint64_t shared_bytes = 0;  // that were not written again
  bool was_done = false;      // an earlier run had finished everything but its last step
};

// Throws Error as make_plan() does, for each output; also for a job without outputs, two of them
// with the same folder, or one inside another.
JobPlan plan_job(const JobOptions& options, const SaveEvents& events = {});

// All outputs or none: an error, also a LoRA that keeps less than min_kept in one output, leaves
// every folder as it was. After a kill the same job continues, as save() does.
JobReport save_job(const JobOptions& options, const SaveEvents& events = {});

}  // namespace mflux

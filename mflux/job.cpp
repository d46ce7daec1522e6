// SPDX-License-Identifier: MIT
// Every output is planned by itself, as save() would do it, and then all plans together: the
// tensors that LoRAs change in outputs of one format go into shards of their own, so that the other
// shards are the same in all of them and are written once. One pass over the model feeds all
// outputs (bake_all()). No output is complete before the shards of all are there; the journal of
// the first one says that the job is done and goes last, so that a job killed between the last
// steps is found to be done.
#include "mflux/job.h"

#include <algorithm>
#include <filesystem>
#include <tuple>

#include "mflux/bake/case_blind.h"
#include "mflux/bake/memory.h"
#include "mflux/bake/output.h"
#include "mflux/bake/prepare.h"
#include "mflux/bake/shard_layout.h"
#include "mflux/base/error.h"
#include "mflux/base/file.h"
#include "mflux/base/hash.h"
#include "mflux/base/paths.h"
#include "mflux/hub/hub.h"

namespace mflux {
namespace fs = std::filesystem;
namespace {

void check_apart(const fs::path& path, const fs::path& other) {
  if (path == other) fail(ErrorKind::usage, "{}: two outputs of the job", path.string());
  const fs::path blind = without_case(path);
  const fs::path other_blind = without_case(other);
  if (blind == other_blind) {
    fail(
        ErrorKind::usage,
        "{} and {}: these outputs of the job differ only in case, and many disks (most Macs') "
        "treat them as one folder; rename one",
        other.string(),
        path.string());
  }
  if (lies_in(blind, other_blind) || lies_in(other_blind, blind)) {
    fail(
        ErrorKind::usage,
        "{}: one output of the job is inside another, {}",
        (lies_in(other_blind, blind) ? other : path).string(),
        (lies_in(other_blind, blind) ? path : other).string());
  }
}

void check_outputs(const std::vector<SaveOptions>& outputs) {
  if (outputs.empty()) fail(ErrorKind::usage, "the job has no outputs");
  std::vector<fs::path> paths;
  for (const SaveOptions& options : outputs) {
    if (options.output.empty()) fail(ErrorKind::usage, "an output of the job has no path");
    fs::path path = fs::weakly_canonical(fs::absolute(options.output));
    if (!path.has_filename()) path = path.parent_path();
    for (const fs::path& other : paths) check_apart(path, other);
    paths.push_back(std::move(path));
  }
}

// Lines of one output begin with its folder.
SaveEvents events_of(const SaveOptions& options, const SaveEvents& events) {
  SaveEvents own = events;
  const std::string name = options.output.string();
  if (events.log)
    own.log = [&events, name](std::string_view line) {
      events.log(fmt::format("{}: {}", name, line));
    };
  if (events.headline) {
    own.headline = [&events, name](std::string_view line) {
      events.headline(fmt::format("{}: {}", name, line));
    };
  }
  return own;
}

bool same_loras(const SaveOptions& a, const SaveOptions& b) {
  // Settling full_precision depends on misfits that are gone afterwards.
  return a.on_lora_failure != OnLoraFailure::full_precision &&
         a.on_lora_failure == b.on_lora_failure &&
         (a.layout == Layout::comfyui) == (b.layout == Layout::comfyui) &&
         std::equal(
             a.loras.begin(),
             a.loras.end(),
             b.loras.begin(),
             b.loras.end(),
             [](const LoraRequest& x, const LoraRequest& y) {
               return x.name == y.name && x.scale == y.scale && x.block_scales == y.block_scales;
             });
}

// Outputs of one group store a tensor that no LoRA touches in the same way.
bool same_group(const Plan& a, const Plan& b) {
  return a.format == b.format && a.options.layout == b.options.layout &&
         a.options.quantize_at_load == b.options.quantize_at_load &&
         a.options.max_shard_bytes == b.options.max_shard_bytes;
}

std::vector<bool> baked_shards(const Plan& plan) {
  std::vector<bool> baked(plan.shards.size());
  for (const PlannedTensor& tensor : plan.tensors) {
    if (tensor.baked()) baked[tensor.weight.shard] = true;
  }
  return baked;
}

// Lays the baked tensors of each group apart and finds the shards that are then the same.
void share_shards(std::vector<JobOutput>& outputs) {
  for (JobOutput& output : outputs) {
    std::set<std::string> apart;
    size_t members = 0;
    for (const JobOutput& other : outputs) {
      if (!same_group(output.plan, other.plan)) continue;
      ++members;
      for (const PlannedTensor& tensor : other.plan.tensors) {
        if (tensor.baked()) apart.insert(other.plan.name_of(tensor));
      }
    }
    if (members > 1) output.plan.options.apart = std::move(apart);
  }
  for (JobOutput& output : outputs) lay_out_shards(output.plan);
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Plan& plan = outputs[i].plan;
    const std::vector<bool> baked = baked_shards(plan);
    for (size_t j = 0; j < i; ++j) {
      const Plan& other = outputs[j].plan;
      if (!same_group(plan, other) || plan.options.apart.empty()) continue;
      const std::vector<bool> other_baked = baked_shards(other);
      for (size_t shard = 0; shard < std::min(plan.shards.size(), other.shards.size()); ++shard) {
        const bool same = plan.shards[shard].file == other.shards[shard].file &&
                          plan.shards[shard].header == other.shards[shard].header;
        if (same && !baked[shard] && !other_baked[shard] && outputs[j].shared.count(shard) == 0)
          outputs[i].shared.emplace(shard, j);
      }
    }
  }
}

void check_space(const std::vector<std::unique_ptr<Bake>>& bakes) {
  std::map<uint64_t, uint64_t> bytes;  // by device
  for (const auto& bake : bakes) bytes[bake->folder().device()] += bake->bytes_to_write();
  for (const auto& bake : bakes) bake->folder().check_disk(bytes.at(bake->folder().device()));
}

// All was published before; only journals may be left.
JobReport finish_done(const JobPlan& job) {
  JobReport report{.was_done = true};
  for (auto it = job.outputs.rbegin(); it != job.outputs.rend(); ++it)
    OutputFolder::drop_journal(it->options.output);
  for (const JobOutput& output : job.outputs) {
    const fs::path file = output.options.output / "bake.json";
    report.outputs.push_back(
        {.receipt = parse_receipt(read_text(file), file.string()),
         .output_bytes = output.plan.bytes(),
         .resumed_shards = output.plan.shards.size()});
  }
  return report;
}

JobReport run(const JobOptions& options, const SaveEvents& events) {
  JobPlan job = plan_job(options, events);
  std::string names;
  for (const JobOutput& output : job.outputs)
    names += fingerprint_of(job.model, *output.loras, output.plan) + output.options.output.string();
  const std::string fingerprint = hash_text(names);
  if (OutputFolder::is_job_done(job.outputs.front().options.output, fingerprint))
    return finish_done(job);
  std::vector<std::unique_ptr<Bake>> bakes;
  for (JobOutput& output : job.outputs) {
    bakes.push_back(std::make_unique<Bake>(
        job.model,
        output.loras,
        std::move(output.plan),
        output.options,
        events_of(output.options, events)));
  }
  JobReport report;
  for (size_t i = 0; i < bakes.size(); ++i) {
    for (const auto& [shard, from] : job.outputs[i].shared) {
      bakes[i]->share_shard(shard, *bakes[from]);
      report.shared_bytes += bakes[i]->plan().shards[shard].bytes;
      ++report.shared_shards;
    }
  }
  check_space(bakes);
  bake_all(job.model, bakes);
  bakes.front()->folder().mark_job_done(fingerprint);
  report.outputs.resize(bakes.size());
  for (size_t i = bakes.size(); i-- > 0;) report.outputs[i] = bakes[i]->finish();
  return report;
}

}  // namespace

JobPlan plan_job(const JobOptions& options, const SaveEvents& events) {
  check_outputs(options.outputs);
  check_tile_memory(options.max_memory, options.outputs.size());
  JobPlan job{.model = open_checkpoint(hub::resolve_model(options.model), options.base_model)};
  for (const SaveOptions& asked : options.outputs) {
    JobOutput output{.options = asked};
    output.options.model = options.model;
    output.options.base_model = options.base_model;
    output.options.max_memory = options.max_memory;
    const auto same = std::find_if(job.outputs.begin(), job.outputs.end(), [&](const auto& other) {
      return same_loras(other.options, output.options);
    });
    output.loras = same != job.outputs.end()
                       ? same->loras
                       : std::make_shared<lora::Loaded>(load_loras(job.model, output.options));
    const SaveEvents own = events_of(output.options, events);
    try {
      output.plan = settle_plan(job.model, *output.loras, output.options, own);
    } catch (const Error& error) {
      fail(error.kind(), "{}: {}", asked.output.string(), Shown{error.what()});
    }
    job.outputs.push_back(std::move(output));
  }
  if (options.share) share_shards(job.outputs);
  return job;
}

JobReport save_job(const JobOptions& options, const SaveEvents& events) {
  try {
    std::atomic<bool> never = false;
    SaveEvents with_stop = events;
    if (with_stop.stop == nullptr) with_stop.stop = &never;
    return run(options, with_stop);
  } catch (const fs::filesystem_error& error) {
    fail("{}", error.what());
  }
}

}  // namespace mflux

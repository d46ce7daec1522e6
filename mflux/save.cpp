// SPDX-License-Identifier: MIT
#include "mflux/save.h"

#include <algorithm>
#include <filesystem>
#include <sstream>

#include "mflux/base/error.h"
#include "mflux/base/file.h"
#include "mflux/base/hash.h"
#include "mflux/escalate.h"
#include "mflux/hub/hub.h"
#include "mflux/lora_base.h"
#include "mflux/output_folder.h"
#include "mflux/shard_files.h"
#include "mflux/version.h"

namespace mflux {
namespace fs = std::filesystem;
namespace {

constexpr uint64_t kSpaceReserve = 8 << 20;  // receipt, indexes, copied files

std::string stamp(const fs::path& path) {
  const auto time = fs::last_write_time(path).time_since_epoch().count();
  return fmt::format("{} {} {}\n", path.string(), fs::file_size(path), time);
}

// Two saves with the same fingerprint write the same bytes, as far as can be told without reading
// the inputs.
std::string fingerprint(const Checkpoint& model, const lora::Loaded& loras, const Plan& plan) {
  std::string text = std::string(version()) + "\n";
  for (const Component& component : model.components) {
    for (const auto& file : component.folder.files)
      text += stamp(component.folder.path / file.name);
  }
  for (const lora::Adapter& adapter : loras.adapters) {
    text += stamp(adapter.path) + fmt::format("{} {}\n", adapter.scale, adapter.block_scales);
  }
  for (const PlannedShard& shard : plan.shards) text += shard.file + "\n" + shard.header + "\n";
  for (const PlannedTensor& tensor : plan.tensors) {
    text += fmt::format("{} {} {}\n", tensor.mapped.name, tensor.baked(), tensor.keeps_delta);
  }
  return hash_text(text);
}

std::vector<fs::path> input_paths(const Checkpoint& model, const lora::Loaded& loras) {
  std::vector<fs::path> paths = {model.path};
  for (const lora::Adapter& adapter : loras.adapters) paths.push_back(adapter.path);
  return paths;
}

class Saver {
 public:
  Saver(const SaveOptions& options, const SaveEvents& events)
      : options_(options),
        events_(events),
        model_(open_checkpoint(hub::resolve_model(options.model), options.base_model)),
        loras_(load_loras(model_, options)),
        plan_(settle_plan(model_, loras_, options, events)),
        output_(
            options.output,
            options.overwrite,
            input_paths(model_, loras_),
            fingerprint(model_, loras_, plan_)) {
    output_.check_space(bytes_missing() + kSpaceReserve);
    if (events_.stop == nullptr) events_.stop = &own_stop_;
  }

  SaveReport run() {
    output_.create();
    announce();
    stream_weights();
    copy_files();
    measure_loras();
    write_receipt();
    output_.commit(indexes());
    for (const PlannedComponent& component : plan_.components) {
      if (component.shards != 0) announce_created(component);
    }
    return std::move(report_);
  }

 private:
  void log(std::string_view line) const {
    if (events_.log) events_.log(line);
  }
  void headline(std::string_view line) const {
    if (events_.headline) events_.headline(line);
  }
  void warn(std::string line) {
    headline("Warning: " + line);
    report_.warnings.push_back(std::move(line));
  }

  bool finished(const PlannedShard& shard) const {
    return output_.finished().count(shard.file) != 0;
  }

  uint64_t bytes_missing() const {
    uint64_t bytes = 0;
    for (const PlannedShard& shard : plan_.shards) bytes += finished(shard) ? 0 : shard.bytes;
    return bytes;
  }

  void announce() {
    for (const std::string& note : plan_.notes) warn(note);
    for (const std::string& note : loras_.notes) warn(note);
    if (!loras_.adapters.empty()) {
      headline(fmt::format(
          "Merging {} LoRA(s) into base weights for saving...", loras_.adapters.size()));
    }
    report_.resumed_shards = output_.finished().size();
    if (report_.resumed_shards != 0) {
      headline(fmt::format(
          "Going on with an unfinished save: {} shard(s) are already there",
          report_.resumed_shards));
    }
  }

  void stream_weights() {
    StreamOptions stream_options{.max_memory = options_.max_memory, .stop = events_.stop};
    for (const PlannedShard& shard : plan_.shards)
      stream_options.skip_shard.push_back(finished(shard));
    SaveProgress progress{.bytes_total = bytes_to_read(model_, plan_, stream_options)};
    ShardFiles files(plan_, output_, *events_.stop);
    stream_options.on_shard_begin = [&](size_t shard) { announce_shard(shard); };
    stream_options.on_shard_done = [&](size_t shard) {
      const PlannedShard& planned = plan_.shards[shard];
      const PlannedComponent& component = plan_.components[planned.component];
      log(fmt::format(
          "Writing shard {}/{}...", shard - component.first_shard + 1, component.shards));
      files.finish(shard);
    };
    stream_options.on_tensor_done = [&](const PlannedTensor& tensor, const BakeSums& sums) {
      files.add_baked(tensor, sums);
      log_merged(tensor, sums);
    };
    stream_options.on_progress = [&](uint64_t bytes) {
      progress.bytes_done = bytes;
      if (events_.progress) events_.progress(progress);
    };
    StreamResult result;
    try {
      result = stream(model_, plan_, stream_options, files);
    } catch (const Error& error) {
      // A shard that could not be finished stops the pass; its own message is the one to tell.
      if (error.kind() == ErrorKind::interrupted) files.wait();
      throw;
    }
    files.wait();
    source_bytes_ = progress.bytes_total;
    collect(result);
  }

  void announce_shard(size_t index) {
    const PlannedShard& shard = plan_.shards[index];
    const PlannedComponent& component = plan_.components[shard.component];
    if (announced_.insert(component.name).second) {
      headline(fmt::format("Saving {} ({} shards)...", component.name, component.shards));
    }
    const std::string& level = component.metadata.at("quantization_level");
    if (level != "None" && !options_.quantize_at_load) {
      log(fmt::format(
          "Quantizing shard {}/{} to {}-bit...",
          index - component.first_shard + 1,
          component.shards,
          level));
    }
  }

  void log_merged(const PlannedTensor& tensor, const BakeSums& sums) {
    if (!events_.log) return;
    const std::string& component = plan_.components[tensor.component].name;
    for (const auto* list : tensor.deltas) {
      if (list == nullptr) continue;
      for (const lora::Contribution& item : *list) {
        const lora::Target& target = lora::target_of(*item.update);
        const auto* low_rank = std::get_if<lora::LowRank>(item.update);
        log(fmt::format(
            "{}.{}: base {}, {}scale {:.6g}, delta ({}, {}): merged{}, kept {:.4f}",
            component,
            tensor.mapped.name.substr(0, tensor.mapped.name.rfind('.')),
            to_string(tensor.mapped.shape),
            low_rank == nullptr ? ""
                                : fmt::format(
                                      "A ({}, {}), B ({}, {}), ",
                                      low_rank->rank,
                                      target.inputs,
                                      target.outputs,
                                      low_rank->rank),
            lora::scale_of(*item.update),
            item.count,
            target.inputs,
            tensor.keeps_delta ? " and rounded to keep it" : "",
            sums.loras.count(item.adapter) != 0 ? sums.loras.at(item.adapter).kept() : 1.0));
      }
    }
  }

  // Sums of this run and of the shards an earlier run finished; records of the weight files.
  void collect(const StreamResult& result) {
    for (const PlannedTensor& tensor : plan_.tensors) {
      if (!tensor.baked()) continue;
      const std::string name = plan_.components[tensor.component].name + "/" + tensor.mapped.name;
      if (const auto it = result.baked.find(&tensor); it != result.baked.end()) {
        sums_[name] = it->second;
      } else {
        const auto& shard = output_.finished().at(plan_.shards[tensor.weight.shard].file);
        sums_[name] = shard.baked.at(tensor.mapped.name);
      }
    }
    for (const Component& component : model_.components) {
      for (const auto& file : component.folder.files) {
        const std::string key = (fs::path(component.name) / file.name).string();
        const std::string shown = model_.single_file ? file.name : key;
        report_.receipt.inputs.push_back(
            {.file = shown,
             .bytes = file.header.file_bytes,
             .xxh3_128 = result.input_hashes.at(key)});
        input_files_.push_back(component.folder.path / file.name);
      }
    }
    for (const PlannedShard& shard : plan_.shards) {
      report_.receipt.outputs.push_back(
          {.file = shard.file,
           .bytes = shard.bytes,
           .xxh3_128 = output_.finished().at(shard.file).hash});
    }
  }

  void copy_files() {
    for (const std::string& relative : plan_.copied) {
      const fs::path source = model_.path / relative;
      const fs::path target = output_.prepare(relative);
      std::error_code error;
      fs::copy_file(source, target, fs::copy_options::overwrite_existing, error);
      if (error)
        fail("{}: cannot copy to {}: {}", source.string(), target.string(), error.message());
      const FileRecord record{
          .file = relative, .bytes = fs::file_size(target), .xxh3_128 = hash_file(target)};
      report_.receipt.inputs.push_back(record);
      report_.receipt.outputs.push_back(record);
      input_files_.push_back(source);
    }
  }

  // What of each LoRA survived, over all layers.
  void measure_loras() {
    std::vector<BakeSums::PerLora> totals(loras_.adapters.size());
    for (const auto& [name, sums] : sums_) {
      for (const auto& [index, lora] : sums.loras) {
        totals[index].cross += lora.cross;
        totals[index].norm += lora.norm;
      }
    }
    size_t layers = 0;
    for (size_t i = 0; i < loras_.adapters.size(); ++i) {
      const lora::Adapter& adapter = loras_.adapters[i];
      const std::string file = adapter.path.filename().string();
      LoraRecord record{
          .scale = adapter.scale,
          .block_scales = adapter.block_scales,
          .kept = totals[i].kept(),
          .layers = adapter.updates.size()};
      record.file = {
          .file = file, .bytes = fs::file_size(adapter.path), .xxh3_128 = hash_file(adapter.path)};
      layers += record.layers;
      if (record.layers == 0) {
        warn(fmt::format("{}: nothing of it was merged", file));
        report_.receipt.loras.push_back(std::move(record));
        continue;
      }
      headline(fmt::format(
          "{}: {} layer(s), scale {:g}, {:.2f} % of it survives rounding",
          file,
          record.layers,
          record.scale,
          100 * record.kept));
      if (options_.min_kept && record.kept < *options_.min_kept) {
        fail(
            ErrorKind::lora,
            "{}: only {:.4f} of the LoRA survives rounding, --min-kept asks for {:.4f}; use more "
            "bits or "
            "bake from the full-precision model",
            file,
            record.kept,
            *options_.min_kept);
      }
      if (record.kept < kKeptWarning) {
        warn(fmt::format(
            "{}: only {:.1f} % of the LoRA survives rounding", file, 100 * record.kept));
      }
      report_.receipt.loras.push_back(std::move(record));
    }
    if (!loras_.adapters.empty()) {
      headline(fmt::format("Successfully merged {} LoRA layer(s) into base model", layers));
    }
  }

  void add_sha256() {
    for (size_t i = 0; i < input_files_.size(); ++i) {
      report_.receipt.inputs[i].sha256 =
          options_.sha256 ? sha256_file(input_files_[i]) : blob_sha256(input_files_[i]);
    }
    for (size_t i = 0; i < loras_.adapters.size(); ++i) {
      const fs::path& path = loras_.adapters[i].path;
      report_.receipt.loras[i].file.sha256 =
          options_.sha256 ? sha256_file(path) : blob_sha256(path);
    }
    if (!options_.sha256) return;
    for (FileRecord& record : report_.receipt.outputs) {
      record.sha256 = sha256_file(output_.prepare(record.file));
    }
  }

  void write_receipt() {
    Receipt& receipt = report_.receipt;
    receipt.program_version = version();
    receipt.family = models::family_name(*model_.family);
    receipt.options = options_;
    add_sha256();
    const std::vector<std::pair<std::string, std::string>> index_texts = indexes();
    for (const auto& [file, text] : index_texts) {
      receipt.outputs.push_back(
          {.file = file,
           .bytes = text.size(),
           .xxh3_128 = hash_text(text),
           .sha256 = options_.sha256 ? sha256_text(text) : ""});
    }
    write_text_atomically(
        output_.prepare("bake.json"), format_receipt(receipt, plan_, loras_, sums_));
    report_.output_bytes = plan_.bytes();
    report_.source_bytes = source_bytes_;
  }

  std::vector<std::pair<std::string, std::string>> indexes() const {
    std::vector<std::pair<std::string, std::string>> result;
    for (const PlannedComponent& component : plan_.components) {
      if (component.index_file.empty()) continue;
      std::vector<safetensors::IndexEntry> entries;
      for (size_t i = component.first_shard; i < component.first_shard + component.shards; ++i) {
        const std::string file = fs::path(plan_.shards[i].file).filename().string();
        for (const auto& tensor : plan_.shards[i].tensors) entries.push_back({tensor.name, file});
      }
      result.emplace_back(
          component.index_file,
          safetensors::format_index(entries, component.metadata, component.tensor_bytes));
    }
    return result;
  }

  void announce_created(const PlannedComponent& component) const {
    headline(fmt::format(
        "Created {}: {} tensors, {} shards, {:.1f} GB",
        component.name,
        component.tensors,
        component.shards,
        static_cast<double>(component.tensor_bytes) / 1e9));
  }

  SaveOptions options_;
  SaveEvents events_;
  std::atomic<bool> own_stop_ = false;
  Checkpoint model_;
  lora::Loaded loras_;
  Plan plan_;
  OutputFolder output_;
  std::set<std::string> announced_ = {};
  std::map<std::string, BakeSums> sums_ = {};
  std::vector<fs::path> input_files_ = {};  // parallel to the receipt's inputs
  uint64_t source_bytes_ = 0;
  SaveReport report_ = {};
};

}  // namespace

lora::Loaded load_loras(const Checkpoint& model, const SaveOptions& options) {
  std::vector<lora::LoraSpec> specs;
  for (const LoraRequest& request : options.loras) {
    specs.push_back(
        {.file = hub::resolve_lora(request.name),
         .scale = request.scale,
         .block_scales = request.block_scales});
  }
  if (specs.empty()) return {};
  return lora::load(specs, lora_base(model, options.layout == Layout::comfyui));
}

SaveReport save(const SaveOptions& options, const SaveEvents& events) {
  try {
    return Saver(options, events).run();
  } catch (const fs::filesystem_error& error) {
    fail("{}", error.what());
  }
}

}  // namespace mflux

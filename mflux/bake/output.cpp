// SPDX-License-Identifier: MIT
// The steps of an output in the order in which bake_all() calls them for all of a job's: begin()
// creates the folder, the pass writes shards through ShardFiles, end_pass() collects what was
// measured (of shards that an earlier run finished, from the journal), take_shared_shards() links
// or copies what another output wrote, measure() judges each LoRA over all its tensors, publish()
// copies the small files, writes the receipt and then the indexes, finish() drops the journal. What
// fails on the way leaves no index behind.
// Each weight file is read once, by the pass, which hashes it too; a LoRA is read a second time for
// its hash, and --sha256 reads everything again.
#include "mflux/bake/output.h"

#include <filesystem>

#include "mflux/bake/inputs.h"
#include "mflux/base/error.h"
#include "mflux/base/file.h"
#include "mflux/base/hash.h"
#include "mflux/base/share_file.h"
#include "mflux/lora/algorithms/low_rank.h"
#include "mflux/version.h"

namespace mflux {
namespace fs = std::filesystem;
namespace {

constexpr uint64_t kSpaceReserve = 8 << 20;  // receipt, indexes

std::string stamp(const fs::path& path) {
  const auto time = fs::last_write_time(path).time_since_epoch().count();
  return fmt::format("{} {} {}\n", path.string(), fs::file_size(path), time);
}

std::vector<fs::path> input_paths(const Checkpoint& model, const lora::Loaded& loras) {
  std::vector<fs::path> paths = {model.path};
  // A link in the model may lead elsewhere.
  for (const Component& component : model.components) {
    if (!model.single_file) paths.push_back(component.folder.path);
    for (const auto& file : component.folder.files)
      paths.push_back(component.folder.path / file.name);
  }
  for (const std::string& file : model.copied) paths.push_back(copied_source(model, file));
  for (const lora::Adapter& adapter : loras.adapters) {
    paths.insert(paths.end(), adapter.files.begin(), adapter.files.end());
  }
  return paths;
}

// The plan was made with the text that config.json had then.
void check_planned_with(const Checkpoint& model, const std::string& copied, std::string_view hash) {
  for (const Component& component : model.components) {
    if (copied != component.name + "/config.json" || component.source.config.empty()) continue;
    if (hash_text(component.source.config) == hash) continue;
    fail(
        "{}: was changed while it was being read: start again",
        copied_source(model, copied).string());
  }
}

}  // namespace

std::string fingerprint_of(const Checkpoint& model, const lora::Loaded& loras, const Plan& plan) {
  std::string text = std::string(version()) + "\n";
  for (const Component& component : model.components) {
    for (const auto& file : component.folder.files)
      text += stamp(component.folder.path / file.name);
  }
  for (const lora::Adapter& adapter : loras.adapters) {
    for (const fs::path& file : adapter.files) text += stamp(file);
    text += fmt::format("{} {}\n", adapter.scale, adapter.block_scales);
  }
  for (const PlannedShard& shard : plan.shards) text += shard.file + "\n" + shard.header + "\n";
  for (const PlannedTensor& tensor : plan.tensors) {
    text += fmt::format("{} {} {}\n", tensor.mapped.name, tensor.baked(), tensor.keeps_delta);
  }
  return hash_text(text);
}

Bake::Bake(
    const Checkpoint& model,
    std::shared_ptr<const lora::Loaded> loras,
    Plan plan,
    const SaveOptions& options,
    const SaveEvents& events)
    : model_(model),
      loras_(std::move(loras)),
      plan_(std::move(plan)),
      options_(options),
      events_(events),
      fingerprint_(fingerprint_of(model, *loras_, plan_)),
      output_(options.output, options.overwrite, input_paths(model, *loras_), fingerprint_) {
  options_.apart = plan_.options.apart;
}

void Bake::log(std::string_view line) const {
  if (events_.log) events_.log(line);
}

void Bake::headline(std::string_view line) const {
  if (events_.headline) events_.headline(line);
}

void Bake::warn(std::string line) {
  headline("Warning: " + line);
  report_.warnings.push_back(std::move(line));
}

bool Bake::finished(const PlannedShard& shard) const {
  return output_.finished().count(shard.file) != 0;
}

void Bake::begin() {
  output_.create();
  for (const std::string& note : output_.take_notes()) warn(note);
  for (const std::string& note : plan_.notes) warn(note);
  for (const std::string& note : loras_->notes) warn(note);
  if (!loras_->adapters.empty()) {
    headline(
        fmt::format("Merging {} LoRA(s) into base weights for saving...", loras_->adapters.size()));
  }
  report_.resumed_shards = output_.finished().size();
  if (report_.resumed_shards != 0) {
    headline(fmt::format(
        "Resuming an unfinished save: {} shard(s) are already there", report_.resumed_shards));
  }
}

PassOutput Bake::pass_output() {
  PassOptions& options = pass_options_;
  options = {.max_memory = options_.max_memory, .stop = events_.stop};
  for (size_t i = 0; i < plan_.shards.size(); ++i)
    options.skip_shard.push_back(finished(plan_.shards[i]) || shared_.count(i) != 0);
  files_ = std::make_unique<ShardFiles>(plan_, output_, *events_.stop);
  options.on_shard_begin = [this](size_t shard) { announce_shard(shard); };
  options.on_shard_done = [this](size_t shard) {
    const PlannedShard& planned = plan_.shards[shard];
    const PlannedComponent& component = plan_.components[planned.component];
    log(fmt::format("Writing shard {}/{}...", shard - component.first_shard + 1, component.shards));
    files_->finish(shard);
  };
  options.on_tensor_done = [this](const PlannedTensor& tensor, const BakeSums& sums) {
    files_->add_baked(tensor, sums);
    log_merged(tensor, sums);
  };
  options.on_progress = [this](uint64_t bytes) {
    if (events_.progress) events_.progress({.bytes_done = bytes, .bytes_total = expected_bytes_});
  };
  return {.plan = &plan_, .options = &options, .sink = files_.get()};
}

void Bake::rethrow_failure() {
  if (files_) files_->wait();
}

void Bake::end_pass(const PassResult& result) {
  files_->wait();
  files_.reset();
  for (const PlannedTensor& tensor : plan_.tensors) {
    if (!tensor.baked()) continue;
    const std::string name = plan_.name_of(tensor);
    if (const auto it = result.baked.find(&tensor); it != result.baked.end()) {
      sums_[name] = it->second;
    } else {
      const auto& shard = output_.finished().at(plan_.shards[tensor.weight.shard].file);
      sums_[name] = shard.baked.at(tensor.mapped.name);
    }
  }
  record_inputs(result);
}

void Bake::take_shared_shards() {
  for (const auto& [index, other] : shared_) {
    const PlannedShard& shard = plan_.shards[index];
    if (finished(shard)) continue;
    share_file(other->output_.path(shard.file), output_.prepare(shard.file));
    output_.add_finished(
        shard.file, {.hash = other->output_.finished().at(shard.file).hash, .bytes = shard.bytes});
  }
  for (const PlannedShard& shard : plan_.shards) {
    report_.receipt.outputs.push_back(
        {.file = shard.file,
         .bytes = shard.bytes,
         .xxh3_128 = output_.finished().at(shard.file).hash});
  }
}

void Bake::announce_shard(size_t index) {
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

void Bake::log_merged(const PlannedTensor& tensor, const BakeSums& sums) {
  if (!events_.log) return;
  const std::string& component = plan_.components[tensor.component].name;
  for (const auto* list : tensor.deltas) {
    if (list == nullptr) continue;
    for (const lora::Contribution& item : *list) {
      const lora::Target& target = item.update->target;
      const uint64_t rank = item.update->rank;
      log(fmt::format(
          "{}.{}: base {}, {}scale {:.6g}, delta ({}, {}): merged{}, kept {:.4f}",
          component,
          tensor.mapped.name.substr(0, tensor.mapped.name.rfind('.')),
          to_string(tensor.mapped.shape),
          lora::is_low_rank(*item.update)
              ? fmt::format("A ({}, {}), B ({}, {}), ", rank, target.inputs, target.outputs, rank)
              : "",
          item.update->scale,
          item.count,
          target.inputs,
          tensor.keeps_delta ? " and rounded to keep it" : "",
          sums.loras.count(item.adapter) != 0 ? sums.loras.at(item.adapter).kept() : 1.0));
    }
  }
}

void Bake::record_inputs(const PassResult& result) {
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
}

void Bake::copy_files() {
  check_inputs_unchanged(model_, *loras_);
  for (const std::string& relative : plan_.copied) {
    const fs::path source = copied_source(model_, relative);
    const fs::path target = output_.prepare(relative);
    const std::string hash = copy_and_hash(source, target);
    check_planned_with(model_, relative, hash);
    const FileRecord record{.file = relative, .bytes = fs::file_size(target), .xxh3_128 = hash};
    report_.receipt.inputs.push_back(record);
    report_.receipt.outputs.push_back(record);
    input_files_.push_back(source);
  }
}

// What of each LoRA survived, over all layers.
void Bake::measure() {
  std::vector<BakeSums::PerLora> totals(loras_->adapters.size());
  for (const auto& [name, sums] : sums_) {
    for (const auto& [index, lora] : sums.loras) {
      totals[index].cross += lora.cross;
      totals[index].norm += lora.norm;
    }
  }
  size_t layers = 0;
  for (size_t i = 0; i < loras_->adapters.size(); ++i) {
    const lora::Adapter& adapter = loras_->adapters[i];
    const std::string file = adapter.path.filename().string();
    LoraRecord record{
        .scale = adapter.scale,
        .block_scales = adapter.block_scales,
        .kept = totals[i].kept(),
        .layers = adapter.updates.size()};
    for (size_t j = 0; j < adapter.files.size(); ++j) {
      const File& opened = file_of_lora(adapter, j);
      FileRecord& place = j == 0 ? record.file : record.more_files.emplace_back();
      place = {
          .file = adapter.files[j].filename().string(),
          .bytes = opened.size(),
          .xxh3_128 = StreamedHash(opened).finish()};
    }
    layers += record.layers;
    if (record.layers == 0) {
      Bake::warn(fmt::format("{}: nothing of it was merged", file));
      report_.receipt.loras.push_back(std::move(record));
      continue;
    }
    judge(file, record);
    report_.receipt.loras.push_back(std::move(record));
  }
  if (!loras_->adapters.empty()) {
    headline(fmt::format("Successfully merged {} LoRA layer(s) into base model", layers));
  }
}

void Bake::judge(const std::string& file, const LoraRecord& record) {
  const bool noise = is_noise(record.kept);
  const std::string survives =
      noise ? "lost in the noise of rounding"
            : fmt::format("{:.2f} % of it survives rounding", 100 * record.kept);
  headline(
      fmt::format("{}: {} layer(s), scale {:g}, {}", file, record.layers, record.scale, survives));
  const std::string noisy = fmt::format(
      "rounding moves the weights {:.2f} times as far as the LoRA itself: it is lost in the noise",
      record.kept);
  if (options_.min_kept && (noise ? 0 : record.kept) < *options_.min_kept) {
    fail(
        ErrorKind::lora,
        "{}: {}, --min-kept asks for {:.4f}; use more bits or bake from the full-precision model",
        file,
        noise ? noisy : fmt::format("only {:.4f} of the LoRA survives rounding", record.kept),
        *options_.min_kept);
  }
  if (noise) {
    warn(fmt::format("{}: {}", file, noisy));
  } else if (record.kept < kKeptWarning) {
    warn(fmt::format("{}: only {:.1f} % of the LoRA survives rounding", file, 100 * record.kept));
  }
}

void Bake::add_sha256() {
  for (size_t i = 0; i < input_files_.size(); ++i) {
    report_.receipt.inputs[i].sha256 =
        options_.sha256 ? sha256_file(input_files_[i]) : blob_sha256(input_files_[i]);
  }
  for (size_t i = 0; i < loras_->adapters.size(); ++i) {
    const std::vector<fs::path>& files = loras_->adapters[i].files;
    LoraRecord& record = report_.receipt.loras[i];
    for (size_t j = 0; j < files.size(); ++j) {
      FileRecord& place = j == 0 ? record.file : record.more_files[j - 1];
      place.sha256 = options_.sha256 ? sha256_file(file_of_lora(loras_->adapters[i], j))
                                     : blob_sha256(files[j]);
    }
  }
  if (!options_.sha256) return;
  for (FileRecord& record : report_.receipt.outputs) {
    record.sha256 = sha256_file(output_.prepare(record.file));
  }
}

void Bake::write_receipt() {
  Receipt& receipt = report_.receipt;
  receipt.program_version = version();
  receipt.family = models::family_name(*model_.family);
  receipt.options = options_;
  Bake::add_sha256();
  check_inputs_unchanged(model_, *loras_);  // after the last look at any of them
  const std::vector<std::pair<std::string, std::string>> index_texts = indexes();
  for (const auto& [file, text] : index_texts) {
    receipt.outputs.push_back(
        {.file = file,
         .bytes = text.size(),
         .xxh3_128 = hash_text(text),
         .sha256 = options_.sha256 ? sha256_text(text) : ""});
  }
  write_text_atomically(
      output_.prepare("bake.json"), format_receipt(receipt, plan_, *loras_, sums_));
  report_.output_bytes = plan_.bytes();
  report_.source_bytes = expected_bytes_;
}

std::vector<std::pair<std::string, std::string>> Bake::indexes() const {
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

void Bake::announce_created(const PlannedComponent& component) const {
  headline(fmt::format(
      "Created {}: {} tensors, {} shards, {:.1f} GB",
      component.name,
      component.tensors,
      component.shards,
      static_cast<double>(component.tensor_bytes) / 1e9));
}

void Bake::publish() {
  copy_files();
  write_receipt();
  output_.publish(indexes());
  for (const std::string& note : output_.take_notes()) warn(note);
}

SaveReport Bake::finish() {
  output_.finish();
  for (const PlannedComponent& component : plan_.components) {
    if (component.shards != 0) announce_created(component);
  }
  return std::move(report_);
}

uint64_t Bake::bytes_to_write() const {
  uint64_t bytes = kSpaceReserve;
  for (const std::string& file : plan_.copied) bytes += fs::file_size(copied_source(model_, file));
  for (size_t i = 0; i < plan_.shards.size(); ++i) {
    if (!finished(plan_.shards[i]) && shared_.count(i) == 0) bytes += plan_.shards[i].bytes;
  }
  return bytes;
}

void bake_all(const Checkpoint& model, const std::vector<std::unique_ptr<Bake>>& bakes) {
  std::vector<PassOutput> outputs;
  for (const auto& bake : bakes) {
    bake->begin();
    outputs.push_back(bake->pass_output());
  }
  const uint64_t bytes = bytes_to_read(model, outputs);
  for (const auto& bake : bakes) bake->expect_bytes(bytes);
  PassResult result;
  try {
    result = run_pass(model, outputs);
  } catch (const Error& error) {
    // A shard that could not be finished stops the pass; its own message is the one to tell.
    if (error.kind() == ErrorKind::interrupted) {
      for (const auto& bake : bakes) bake->rethrow_failure();
    }
    throw;
  }
  for (const auto& bake : bakes) bake->end_pass(result);
  for (const auto& bake : bakes) bake->take_shared_shards();
  for (const auto& bake : bakes) bake->measure();
  for (const auto& bake : bakes) bake->publish();
}

}  // namespace mflux

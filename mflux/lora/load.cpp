// SPDX-License-Identifier: MIT
// For each file in turn: open it, find the layer of every module, see that it is a LoRA for this
// family, settle the order of its matrices by the file as a whole, and build the updates, module by
// module. Every tensor is read once, for its values to be checked. What does not fit is collected
// with the keys it leaves unused; nothing is thrown away silently.
#include "mflux/lora/load.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "mflux/base/error.h"
#include "mflux/base/tensor.h"
#include "mflux/lora/algorithms/algorithms.h"
#include "mflux/lora/algorithms/low_rank.h"
#include "mflux/lora/algorithms/replacement.h"
#include "mflux/lora/block_scales.h"
#include "mflux/lora/contents.h"
#include "mflux/lora/explain.h"
#include "mflux/lora/made_for.h"
#include "mflux/lora/module.h"
#include "mflux/lora/names.h"
#include "mflux/lora/stated_alphas.h"
#include "mflux/lora/stranger.h"

namespace mflux::lora {
namespace {

using safetensors::TensorInfo;

class Loader {
 public:
  Loader(
      const BaseModel& model, Names& names, Contents contents, const LoraSpec& spec, Loaded& loaded)
      : model_(model),
        names_(names),
        spec_(spec),
        block_scales_(spec.block_scales, model),
        contents_(std::move(contents)),
        index_(loaded.adapters.size()),
        loaded_(loaded),
        path_(contents_.path.string()),
        file_{
            .model = model,
            .bytes = *contents_.file,
            .scale = spec.scale,
            .metadata = std::move(contents_.metadata),
            .sidecar = std::move(contents_.sidecar)} {}

  void run() {
    for (const TensorInfo& info : contents_.header.tensors) records_[info.name] = {};
    for (Module& module : contents_.modules) module.place = names_.resolve(module.name);
    if (const auto refusal = whole_refusal()) return refuse_all(*refusal);
    for (std::string& message : contents_.bad_metadata) {
      problem(ProblemKind::bad_metadata, "", std::move(message));
    }
    record_strays();
    check_family();
    keep_applicable();
    choose_order();
    for (const auto& [module, algorithm] : applicable_) apply(*module, *algorithm);
    note_overlaps();
    for (const std::string& part : block_scales_.unused()) {
      loaded_.notes.push_back(fmt::format("{}: has nothing that '{}' could scale", path_, part));
    }
    note_unused_alphas();
    notes_.write(path_, loaded_.notes);
    finish();
  }

 private:
  void problem(
      ProblemKind kind, const std::string& module, std::string message, std::string shapes = {}) {
    loaded_.problems.push_back(
        {index_, kind, path_, module, std::move(message), std::move(shapes)});
  }

  void refuse(const Module& module, Refusal refusal) {
    for (const Part& part : module.parts) records_[part.info->name].reason = refusal.message;
    problem(refusal.kind, module.name, std::move(refusal.message), std::move(refusal.shapes));
  }

  std::optional<Refusal> whole_refusal() const {
    if (contents_.refusal) return contents_.refusal;
    if (contents_.header.tensors.empty()) return Refusal{ProblemKind::empty, "holds no tensors"};
    std::string what = stranger_to(model_, contents_.header, contents_.modules);
    if (what.empty()) return std::nullopt;
    return Refusal{ProblemKind::no_lora, std::move(what)};
  }

  void refuse_all(const Refusal& refusal) {
    for (auto& [key, record] : records_) record.reason = refusal.message;
    problem(refusal.kind, "", refusal.message);
    finish();
  }

  void note_unused_alphas() {
    for (UnusedAlpha& unused : unused_alphas(contents_.modules, file_, contents_.header.metadata)) {
      const auto record = records_.find(unused.key != nullptr ? unused.key->name : "");
      if (record != records_.end() && record->second.used) record->second.reason = unused.why;
      notes_.add(unused.why, unused.where);
    }
  }

  void record_strays() {
    for (const StrayKey& key : contents_.ignored) {
      records_[key.info->name].reason = key.why;
      notes_.add(fmt::format("ignored: {}", key.why), key.info->name);
    }
    for (const StrayKey& key : contents_.refused) refuse_key(*key.info, key.why);
  }

  void refuse_key(const TensorInfo& info, std::string_view why) {
    std::string message =
        why.empty()
            ? fmt::format(
                  "'{}' is not a known key of a LoRA{}", info.name, explain_key(info.name, names_))
            : fmt::format("'{}': {}", info.name, why);
    records_[info.name].reason = message;
    problem(ProblemKind::unknown_key, info.name, std::move(message));
  }

  void check_family() {
    const MadeFor found = made_for(contents_.header.metadata, contents_.modules, model_.families);
    if (found.name.empty() && !contents_.modules.empty()) {
      loaded_.notes.push_back(
          fmt::format("{}: the file does not say which model it was made for", path_));
    } else if (!found.name.empty() && found.name != model_.family->name) {
      problem(
          ProblemKind::other_family,
          "",
          fmt::format(
              "made for {}, as its {}; the model is {}",
              found.title,
              found.by_metadata ? "metadata say" : "layer names say",
              model_.title));
    }
  }

  void keep_applicable() {
    for (const Module& module : contents_.modules) {
      if (module.place.target == nullptr) {
        if (!leave_out(module)) refuse(module, explain_unknown(module, model_, names_));
        continue;
      }
      Classified classified = classify(module);
      if (classified.refusal) {
        refuse(module, std::move(*classified.refusal));
      } else {
        applicable_.emplace_back(&module, classified.algorithm);
      }
    }
  }

  // "text_encoder=0" does without a component that is not being written.
  bool leave_out(const Module& module) {
    const auto component = model_.components.find(module.place.component);
    const bool is_absent = component != model_.components.end() && component->second.empty();
    if (!is_absent || !block_scales_.leaves_out(component->first)) return false;
    const std::string why = fmt::format("{} has the scale 0", component->first);
    for (const Part& part : module.parts) records_[part.info->name].reason = why;
    notes_.add(fmt::format("left out: {}", why), module.name);
    return true;
  }

  // A single layer cannot tell (a square one fits both ways), so the file as a whole decides.
  void choose_order() {
    size_t as_stored = 0;
    size_t transposed = 0;
    for (const auto& [module, algorithm] : applicable_) {
      if (!is_pair(*module)) continue;
      const Fit fit = fit_of(*module, model_);
      as_stored += fit.as_stored && !fit.transposed ? 1 : 0;
      transposed += fit.transposed && !fit.as_stored ? 1 : 0;
    }
    file_.mixed = as_stored > 0 && transposed > 0;
    file_.transposed = as_stored == 0 && (transposed > 0 || contents_.other_order);
    if (file_.transposed && transposed == 0) {
      loaded_.notes.push_back(
          fmt::format("{}: read as transposed, as MLX's names (lora_a, lora_b) say", path_));
    } else if (file_.transposed) {
      loaded_.notes.push_back(fmt::format(
          "{}: {} layer(s) fit only with A and B transposed and none as stored: the whole file is "
          "read as transposed",
          path_,
          transposed));
    }
  }

  void apply(const Module& module, const Algorithm& algorithm) {
    const double block_scale = block_scales_.of(*module.place.target);
    file_.scale = spec_.scale * block_scale;
    Built built = build(module, algorithm, file_, notes_);
    if (built.refusal) return refuse(module, std::move(*built.refusal));
    for (BuiltUpdate& part : built.updates) {
      for (const TensorInfo* info : part.keys) {
        record_use(records_[info->name], part.update);
        records_[info->name].block_scale = block_scale;
      }
      updates_.push_back(std::move(part.update));
    }
  }

  static void record_use(KeyRecord& record, const Update& update) {
    record.used = true;
    for (const TargetRows& rows : update.target.rows) {
      std::string tensor = full_name(rows.component, rows.tensor);
      const bool is_new = std::ranges::find(record.tensors, tensor) == record.tensors.end();
      if (is_new) record.tensors.push_back(std::move(tensor));
    }
    if (record.algorithm.empty()) record.algorithm = algorithm_of(update);
    record.rank = update.rank;
    record.alpha = update.alpha;
    record.alpha_source = update.alpha_source;
  }

  // Legal (both are added), but worth a word: two names of one layer, or a fused and a split one.
  void note_overlaps() {
    struct Rows {
      uint64_t begin;
      uint64_t end;
      const std::string* module;
    };
    std::map<std::string, std::vector<Rows>> by_tensor;
    for (const Update& update : updates_) {
      if (!is_factored(update)) continue;
      for (const TargetRows& rows : update.target.rows) {
        by_tensor[full_name(rows.component, rows.tensor)].push_back(
            {rows.begin, rows.begin + rows.count, &update.module});
      }
    }
    for (auto& [tensor, rows] : by_tensor) {
      std::ranges::sort(rows, {}, &Rows::begin);
      for (size_t i = 1; i < rows.size(); ++i) {
        if (rows[i].begin >= rows[i - 1].end) continue;
        notes_.add("changed under two names, both are added", *rows[i].module);
      }
    }
  }

  void finish() {
    std::vector<KeyRecord> keys;
    keys.reserve(records_.size());
    for (auto& [key, record] : records_) {
      record.key = key;
      keys.push_back(std::move(record));
    }
    loaded_.adapters.push_back(
        {.file = std::move(contents_.file),
         .header = std::move(contents_.header),
         .path = std::move(contents_.path),
         .files = std::move(contents_.files),
         .stamps = std::move(contents_.stamps),
         .dialect = dialect_of(contents_.modules),
         .scale = spec_.scale,
         .block_scales = spec_.block_scales,
         .transposed = file_.transposed,
         .updates = std::move(updates_),
         .keys = std::move(keys)});
  }

  const BaseModel& model_;
  Names& names_;
  const LoraSpec& spec_;
  BlockScales block_scales_;
  Contents contents_;
  size_t index_;
  Loaded& loaded_;
  std::string path_;
  FileContext file_;
  Notes notes_;
  std::map<std::string_view, KeyRecord> records_;  // names of contents_.header
  std::vector<Update> updates_;
  std::vector<std::pair<const Module*, const Algorithm*>> applicable_;
};

}  // namespace

namespace {

// The last LoRA that replaces a tensor wins; who gave another value should hear of it.
void note_replaced_twice(Loaded& loaded) {
  std::map<std::string, size_t> replaced;  // by whom
  std::vector<Notes> notes(loaded.adapters.size());
  for (size_t i = 0; i < loaded.adapters.size(); ++i) {
    for (const Update& update : loaded.adapters[i].updates) {
      if (!is_replacement(update)) continue;
      for (const TargetRows& rows : update.target.rows) {
        const std::string name = fmt::format("{}/{}/{}", rows.component, rows.tensor, rows.begin);
        const auto [first, is_new] = replaced.emplace(name, i);
        if (!is_new) notes[i].add("replaces what was replaced before; the last counts", name);
      }
    }
  }
  for (size_t i = 0; i < notes.size(); ++i) {
    notes[i].write(loaded.adapters[i].path.string(), loaded.notes);
  }
}

void note_order(Loaded& loaded) {
  for (const Adapter& adapter : loaded.adapters) {
    if (loaded.adapters.size() < 2 || !depends_on_order(adapter)) continue;
    loaded.notes.push_back(fmt::format(
        "{}: holds changes that are not sums; another order of the LoRAs gives other weights",
        adapter.path.string()));
  }
}

}  // namespace

Loaded load(std::span<const LoraSpec> specs, const BaseModel& model) {
  Loaded loaded;
  Names names(model);
  for (const LoraSpec& spec : specs) {
    if (!std::isfinite(spec.scale)) {
      fail(ErrorKind::usage, "{}: scale {} is not finite", spec.file.string(), spec.scale);
    }
    Loader(model, names, open_contents(spec.file), spec, loaded).run();
  }
  note_replaced_twice(loaded);
  note_order(loaded);
  return loaded;
}

}  // namespace mflux::lora

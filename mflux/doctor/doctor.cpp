// SPDX-License-Identifier: MIT
#include "mflux/doctor/doctor.h"

#include <algorithm>
#include <map>
#include <set>
#include <string_view>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "mflux/checkpoint/lora_base.h"
#include "mflux/hub/hub.h"
#include "mflux/lora/block_scales.h"
#include "mflux/lora/load.h"
#include "mflux/lora/made_for.h"
#include "mflux/lora/names.h"
#include "mflux/models/block_name.h"

namespace mflux {
namespace {

using lora::Loaded;
using Tensors = std::set<std::pair<std::string, std::string>>;  // component, tensor

std::string_view layer_of(std::string_view tensor) {
  constexpr std::string_view kWeight = ".weight";
  if (tensor.ends_with(kWeight)) tensor.remove_suffix(kWeight.size());
  return tensor;
}

class Coverage {
 public:
  // Counts a layer that is hit; `tensor` without ".weight".
  void hit(const std::string& component, std::string_view tensor) {
    const BlockName name = block_name(tensor);
    Row& row = rows_[{component, name.pattern}];
    row.coverage.component = component;
    row.coverage.layer = name.pattern;
    ++row.coverage.hit;
    if (name.block) row.blocks.insert(*name.block);
  }

  // Counts a layer of the model, if some layer of its kind is hit.
  void have(const std::string& component, std::string_view tensor) {
    const auto found = rows_.find({component, block_name(tensor).pattern});
    if (found != rows_.end()) ++found->second.coverage.of;
  }

  std::vector<LayerCoverage> list() && {
    std::vector<LayerCoverage> layers;
    for (auto& [key, row] : rows_) {
      row.coverage.blocks.assign(row.blocks.begin(), row.blocks.end());
      layers.push_back(std::move(row.coverage));
    }
    return layers;
  }

 private:
  struct Row {
    LayerCoverage coverage = {};
    std::set<uint64_t> blocks = {};
  };

  std::map<std::pair<std::string, std::string>, Row> rows_;
};

// Weights by block.
class Blocks {
 public:
  void hit(const std::string& component, std::string_view layer) { ++at(component, layer).hit; }
  void have(const std::string& component, std::string_view layer) { ++at(component, layer).of; }

  // Components without a hit are left out.
  std::vector<BlockCoverage> list() && {
    std::set<std::string_view> hit;
    for (const auto& [key, block] : blocks_) {
      if (block.hit != 0) hit.insert(block.component);
    }
    std::vector<BlockCoverage> list;
    for (const auto& [key, block] : blocks_) {
      if (hit.contains(block.component)) list.push_back(block);
    }
    return list;
  }

 private:
  BlockCoverage& at(const std::string& component, std::string_view layer) {
    const BlockName name = block_name(layer);
    const size_t number = name.pattern.find("{}");
    const std::string blocks = name.block ? name.pattern.substr(0, number + 2) : "";
    BlockCoverage& block = blocks_[{component, blocks, name.block.value_or(0)}];
    block.component = component;
    block.blocks = blocks;
    block.block = name.block.value_or(0);
    return block;
  }

  std::map<std::tuple<std::string, std::string, uint64_t>, BlockCoverage> blocks_;
};

Tensors tensors_hit(const Loaded& loaded) {
  Tensors hit;
  for (const lora::Adapter& adapter : loaded.adapters) {
    for (const lora::Update& update : adapter.updates) {
      for (const lora::TargetRows& rows : update.target.rows) {
        hit.emplace(rows.component, rows.tensor);
      }
    }
  }
  return hit;
}

Tensors tensors_addressable(const lora::BaseModel& base) {
  Tensors all;
  for (const lora::Target& target : base.targets) {
    for (const lora::TargetRows& rows : target.rows) all.emplace(rows.component, rows.tensor);
  }
  return all;
}

class Reporter {
 public:
  Reporter(const std::filesystem::path& file, const LoraReportOptions& options)
      : file_(file), options_(options) {
    report_.survey = lora::survey(file, models::lora_families());
  }

  LoraReport run() {
    if (options_.model) {
      try_on_model();
    } else {
      try_on_published();
    }
    list_dead();
    judge();
    return std::move(report_);
  }

 private:
  // The families that may be meant: the one asked for, the one the metadata name, else all.
  std::vector<std::string> families() const {
    if (options_.base_model) {
      const models::Family* asked = models::find_family(*options_.base_model);
      if (asked != nullptr) return {std::string(models::family_name(*asked))};
    }
    if (report_.survey.made_for.by_metadata) return {std::string(report_.survey.made_for.name)};
    std::vector<std::string> names;
    for (const models::Family* family : models::families()) {
      names.emplace_back(models::family_name(*family));
    }
    return names;
  }

  // A published model and how the file fits it.
  struct Trial {
    lora::BaseModel base = {};
    size_t known = 0;  // modules
    bool fits = false;
  };

  // The one that the file fits, else the one whose names it has; none if two are as good.
  const Trial* best(const std::vector<Trial>& trials) const {
    const auto rank = [](const Trial& trial) {
      return trial.known == 0 ? 0 : trial.known + (trial.fits ? kFits : 0);
    };
    if (trials.size() == 1) return &trials.front();
    const Trial* best = nullptr;
    for (const Trial& trial : trials) {
      if (rank(trial) == 0) continue;
      if (best == nullptr || rank(trial) > rank(*best)) {
        best = &trial;
      } else if (rank(trial) == rank(*best)) {
        return nullptr;
      }
    }
    return best;
  }

  void try_on_published() {
    std::vector<Trial> trials;
    Loaded loaded;
    for (const std::string& family : families()) {
      const auto base = published_base(report_.survey, family);
      if (!base) continue;
      loaded = {};               // one at a time in memory
      loaded = load(*base, {});  // blocks are named in the words of one family
      trials.push_back({*base, count_known(report_.survey, *base), loaded.problems.empty()});
    }
    for (const Trial& trial : trials) is_known_ = is_known_ || trial.known != 0;
    if (const Trial* found = best(trials)) {
      report_.stand_in = found->base.title;
      try_on(found->base);
      return;
    }
    report_.problems = report_.survey.problems;
    const bool fits = std::ranges::any_of(trials, &Trial::fits);
    if (is_known_ && !fits && report_.problems.empty()) report_.problems = loaded.problems;
    if (is_known_) report_.notes = loaded.notes;
    cover_names();
  }

  void try_on_model() {
    const Checkpoint model =
        open_checkpoint(hub::resolve_model(*options_.model), options_.base_model);
    const lora::BaseModel base = lora_base(model);
    report_.model = base.title;
    Loaded loaded = try_on(base);
    report_.kept = expected_kept(model, loaded);
  }

  Loaded load(const lora::BaseModel& base, const std::string& block_scales) const {
    const lora::LoraSpec spec{.file = file_, .scale = options_.scale, .block_scales = block_scales};
    return lora::load({&spec, 1}, base);
  }

  Loaded try_on(const lora::BaseModel& base) {
    Loaded loaded = load(base, options_.block_scales);
    report_.problems = loaded.problems;
    report_.notes = loaded.notes;
    find_duplicates(base);
    find_unscaled(base);
    if (report_.model.empty()) {
      cover_names();
    } else {
      cover_model(base, tensors_hit(loaded));
    }
    return loaded;
  }

  void cover_model(const lora::BaseModel& base, const Tensors& hit) {
    const Tensors all = tensors_addressable(base);
    std::map<std::string, ComponentCoverage> components;
    Blocks blocks;
    for (const auto& item : all) {
      ComponentCoverage& component = components[item.first];
      component.component = item.first;
      ++component.of;
      blocks.have(item.first, layer_of(item.second));
      if (!hit.contains(item)) continue;
      ++component.hit;
      blocks.hit(item.first, layer_of(item.second));
    }
    for (auto& [name, component] : components) report_.components.push_back(std::move(component));
    report_.blocks = std::move(blocks).list();
    Coverage coverage;
    for (const auto& [component, tensor] : hit) coverage.hit(component, layer_of(tensor));
    for (const auto& [component, tensors] : base.components) {
      for (const auto& [tensor, shape] : tensors) coverage.have(component, layer_of(tensor));
    }
    report_.layers = std::move(coverage).list();
  }

  // By what the file itself names.
  void cover_names() {
    Coverage coverage;
    Blocks blocks;
    for (const lora::SurveyedModule& module : report_.survey.modules) {
      coverage.hit(module.component, module.layer);
      blocks.hit(module.component, module.layer);
    }
    report_.layers = std::move(coverage).list();
    report_.blocks = std::move(blocks).list();
  }

  void find_duplicates(const lora::BaseModel& base) {
    const lora::Names names(base);
    std::map<std::string, std::map<std::string, std::vector<std::string>>> by_rows;
    for (const lora::SurveyedModule& module : report_.survey.modules) {
      const lora::Target* target = names.resolve(module.name).target;
      if (target == nullptr) continue;
      for (const lora::TargetRows& rows : target->rows) {
        const std::string layer = fmt::format("{}/{}", rows.component, layer_of(rows.tensor));
        by_rows[layer][fmt::format("{}+{}", rows.begin, rows.count)].push_back(module.name);
      }
    }
    std::set<std::vector<std::string>> seen;  // a fused layer is told once, not by its parts
    for (const auto& [layer, ranges] : by_rows) {
      for (const auto& [range, modules] : ranges) {
        if (modules.size() < 2 || !seen.insert(modules).second) continue;
        report_.duplicates.push_back({layer, modules});
      }
    }
  }

  // Modules that the scales given leave without effect.
  void find_unscaled(const lora::BaseModel& base) {
    lora::BlockScales scales(options_.block_scales, base);
    const lora::Names names(base);
    for (const lora::SurveyedModule& module : report_.survey.modules) {
      const lora::Target* target = names.resolve(module.name).target;
      if (options_.scale == 0) {
        unscaled_[module.name] = "strength 0";
      } else if (target != nullptr && scales.of(*target) == 0) {
        unscaled_[module.name] = "the scale of its block is 0";
      }
    }
  }

  void list_dead() {
    for (const lora::SurveyedModule& module : report_.survey.modules) {
      const auto unscaled = unscaled_.find(module.name);
      if (!module.dead.empty()) {
        report_.dead.push_back({module.name, module.dead});
      } else if (unscaled != unscaled_.end()) {
        report_.dead.push_back({module.name, unscaled->second});
      }
    }
  }

  void judge() {
    const std::string on = report_.model.empty() ? report_.stand_in : report_.model;
    const std::string_view made_for =
        report_.survey.made_for.by_metadata ? report_.survey.made_for.title : "";
    const size_t alive = report_.survey.modules.size() - report_.dead.size();
    if (is_whole_refusal()) {
      report_.fit = Fit::fits_not;
      report_.verdict = report_.problems.front().message;
    } else if (on.empty() && made_for.empty() && !is_known_) {
      report_.fit = Fit::untold;
      report_.verdict = unknown_verdict();
    } else if (!report_.problems.empty()) {
      report_.fit = Fit::fits_not;
      const size_t more = report_.problems.size() - 1;
      report_.verdict = fmt::format(
          "does not fit{}{}: {}{}",
          on.empty() ? "" : " ",
          on,
          report_.problems.front().message,
          more == 0 ? "" : fmt::format(" (and {} more)", more));
    } else if (on.empty()) {
      report_.verdict = made_for.empty()
                            ? fmt::format("could be for {}; --model tells", models::family_titles())
                            : fmt::format("made for {}, which is not supported", made_for);
      report_.fit = made_for.empty() ? Fit::untold : Fit::fits_not;
    } else if (alive == 0) {
      report_.fit = Fit::nothing;
      report_.verdict = fmt::format("fits {} but changes nothing: every layer is dead", on);
    } else {
      report_.fit = Fit::fits;
      report_.verdict = report_.model.empty()
                            ? fmt::format("fits {} as it was published; --model tries a model", on)
                            : fmt::format("fits {}: every key can be merged", on);
    }
  }

  // Something else than a LoRA, or nothing that could be tried.
  bool is_whole_refusal() const {
    using lora::ProblemKind;
    return !report_.problems.empty() && report_.problems.front().module.empty() &&
           (report_.problems.front().kind == ProblemKind::no_lora ||
            report_.problems.front().kind == ProblemKind::empty ||
            report_.problems.front().kind == ProblemKind::several_adapters);
  }

  std::string unknown_verdict() const {
    std::string_view other;
    for (const lora::SurveyedModule& module : report_.survey.modules) {
      other = lora::lookalike(module.layer, models::lora_families(), nullptr);
      if (!other.empty()) break;
    }
    return fmt::format(
        "none of its layers is one of {}{}{}",
        models::family_titles(),
        other.empty() ? "" : "; it looks like a LoRA for ",
        other);
  }

  static constexpr size_t kFits = 1'000'000;  // above every number of modules

  const std::filesystem::path& file_;
  const LoraReportOptions& options_;
  bool is_known_ = false;  // at least one layer, by some family
  LoraReport report_;
  std::map<std::string, std::string> unscaled_;  // module -> why
};

}  // namespace

LoraReport report_lora(const std::filesystem::path& file, const LoraReportOptions& options) {
  return Reporter(file, options).run();
}

}  // namespace mflux

// SPDX-License-Identifier: MIT
// The file is surveyed alone, then loaded on a model: the one given, or stand-ins of each family it
// may be for, of which the one that fits counts. The verdict follows from problems, coverage and
// dead layers in this order.
#include "mflux/doctor/doctor.h"

#include <algorithm>
#include <map>
#include <set>
#include <string_view>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "mflux/base/tensor.h"
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

lora::Loaded load(
    const std::filesystem::path& file,
    const LoraReportOptions& options,
    const std::string& block_scales,
    const lora::BaseModel& base) {
  const lora::LoraSpec spec{.file = file, .scale = options.scale, .block_scales = block_scales};
  return lora::load({&spec, 1}, base);
}

void cover_model(const lora::BaseModel& base, const Tensors& hit, LoraReport& report) {
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
  for (auto& [name, component] : components) report.components.push_back(std::move(component));
  report.blocks = std::move(blocks).list();
  Coverage coverage;
  for (const auto& [component, tensor] : hit) coverage.hit(component, layer_of(tensor));
  for (const auto& [component, tensors] : base.components) {
    for (const auto& [tensor, shape] : tensors) coverage.have(component, layer_of(tensor));
  }
  report.layers = std::move(coverage).list();
}

// By what the file itself names.
void cover_names(LoraReport& report) {
  Coverage coverage;
  Blocks blocks;
  for (const lora::SurveyedModule& module : report.survey.modules) {
    coverage.hit(module.component, module.layer);
    blocks.hit(module.component, module.layer);
  }
  report.layers = std::move(coverage).list();
  report.blocks = std::move(blocks).list();
}

std::vector<DuplicateModules> find_duplicates(
    const lora::Survey& survey, const lora::Names& names) {
  std::map<std::string, std::map<std::string, std::vector<std::string>>> by_rows;
  for (const lora::SurveyedModule& module : survey.modules) {
    const lora::Target* target = names.resolve(module.name).target;
    if (target == nullptr) continue;
    for (const lora::TargetRows& rows : target->rows) {
      const std::string layer = full_name(rows.component, layer_of(rows.tensor));
      by_rows[layer][fmt::format("{}+{}", rows.begin, rows.count)].push_back(module.name);
    }
  }
  std::vector<DuplicateModules> duplicates;
  std::set<std::vector<std::string>> seen;  // a fused layer is told once, not by its parts
  for (const auto& [layer, ranges] : by_rows) {
    for (const auto& [range, modules] : ranges) {
      if (modules.size() < 2 || !seen.insert(modules).second) continue;
      duplicates.push_back({layer, modules});
    }
  }
  return duplicates;
}

// Why modules are without effect at the scales given, by name.
std::map<std::string, std::string> find_unscaled(
    const lora::Survey& survey,
    const lora::Names& names,
    const LoraReportOptions& options,
    const lora::BaseModel& base) {
  std::map<std::string, std::string> unscaled;
  lora::BlockScales scales(options.block_scales, base);
  for (const lora::SurveyedModule& module : survey.modules) {
    const lora::Target* target = names.resolve(module.name).target;
    if (options.scale == 0) {
      unscaled[module.name] = "strength 0";
    } else if (target != nullptr && scales.of(*target) == 0) {
      unscaled[module.name] = "the scale of its block is 0";
    }
  }
  return unscaled;
}

void list_dead(const std::map<std::string, std::string>& unscaled, LoraReport& report) {
  for (const lora::SurveyedModule& module : report.survey.modules) {
    const auto found = unscaled.find(module.name);
    if (!module.dead.empty()) {
      report.dead.push_back({module.name, module.dead});
    } else if (found != unscaled.end()) {
      report.dead.push_back({module.name, found->second});
    }
  }
}

Loaded try_on(
    const std::filesystem::path& file,
    const LoraReportOptions& options,
    const lora::BaseModel& base,
    LoraReport& report) {
  Loaded loaded = load(file, options, options.block_scales, base);
  const lora::Names names(base);
  report.problems = loaded.problems;
  report.notes = loaded.notes;
  report.duplicates = find_duplicates(report.survey, names);
  list_dead(find_unscaled(report.survey, names, options, base), report);
  return loaded;
}

void try_on_model(
    const std::filesystem::path& file, const LoraReportOptions& options, LoraReport& report) {
  const Checkpoint model = open_checkpoint(hub::resolve_model(*options.model), options.base_model);
  const lora::BaseModel base = lora_base(model);
  report.model = base.title;
  Loaded loaded = try_on(file, options, base, report);
  cover_model(base, tensors_hit(loaded), report);
  report.kept = expected_kept(model, loaded);
}

// The families that may be meant: the one asked for, the one the metadata name, else all.
std::vector<std::string_view> candidates(
    const lora::Survey& survey, const LoraReportOptions& options) {
  if (options.base_model) {
    const models::Family* asked = models::find_family(*options.base_model);
    if (asked != nullptr) return {models::family_name(*asked)};
  }
  if (survey.made_for.by_metadata) return {survey.made_for.name};
  std::vector<std::string_view> names;
  for (const models::Family* family : models::families()) {
    names.push_back(models::family_name(*family));
  }
  return names;
}

// A published model and how the file fits it.
struct Trial {
  lora::BaseModel base = {};
  // Modules.
  size_t known = 0;
  bool fits = false;
};

// The one that the file fits, else the one whose names it has; null if two are as good.
const Trial* best_of(const std::vector<Trial>& trials) {
  constexpr size_t kFits = 1'000'000;  // above every number of modules
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

// Is at least one layer known by some family.
bool try_on_published(
    const std::filesystem::path& file, const LoraReportOptions& options, LoraReport& report) {
  std::vector<Trial> trials;
  Loaded loaded;
  for (const std::string_view family : candidates(report.survey, options)) {
    const auto base = published_base(report.survey, family);
    if (!base) continue;
    loaded = {};  // one at a time in memory
    // Blocks are named in the words of one family.
    loaded = load(file, options, {}, *base);
    trials.push_back({*base, count_known(report.survey, *base), loaded.problems.empty()});
  }
  const bool is_known = std::ranges::any_of(trials, [](const Trial& t) { return t.known != 0; });
  cover_names(report);
  if (const Trial* found = best_of(trials)) {
    report.stand_in = found->base.title;
    try_on(file, options, found->base, report);
    return is_known;
  }
  report.problems = report.survey.problems;
  const bool fits = std::ranges::any_of(trials, &Trial::fits);
  if (is_known && !fits && report.problems.empty()) report.problems = loaded.problems;
  if (is_known) report.notes = loaded.notes;
  list_dead({}, report);
  return is_known;
}

// Something else than a LoRA, or nothing that could be tried.
bool is_whole_refusal(const std::vector<lora::Problem>& problems) {
  using lora::ProblemKind;
  if (problems.empty() || !problems.front().module.empty()) return false;
  const ProblemKind kind = problems.front().kind;
  return kind == ProblemKind::no_lora || kind == ProblemKind::empty ||
         kind == ProblemKind::several_adapters;
}

std::string unknown_verdict(const lora::Survey& survey) {
  std::string_view other;
  for (const lora::SurveyedModule& module : survey.modules) {
    other = lora::lookalike(module.layer, models::lora_families(), nullptr);
    if (!other.empty()) break;
  }
  return fmt::format(
      "none of its layers is one of {}{}{}",
      models::family_titles(),
      other.empty() ? "" : "; it looks like a LoRA for ",
      other);
}

std::string misfit(const std::vector<lora::Problem>& problems, const std::string& on) {
  const size_t more = problems.size() - 1;
  return fmt::format(
      "does not fit{}{}: {}{}",
      on.empty() ? "" : " ",
      on,
      problems.front().message,
      more == 0 ? "" : fmt::format(" (and {} more)", more));
}

struct Verdict {
  Fit fit;
  std::string text;
};

// `is_known`: see try_on_published(); it counts where no model was tried.
Verdict judge(const LoraReport& report, bool is_known) {
  const std::string on = report.model.empty() ? report.stand_in : report.model;
  const lora::MadeFor& made_for = report.survey.made_for;
  if (is_whole_refusal(report.problems)) return {Fit::fits_not, report.problems.front().message};
  if (on.empty() && !made_for.by_metadata && !is_known) {
    return {Fit::untold, unknown_verdict(report.survey)};
  }
  if (!report.problems.empty()) return {Fit::fits_not, misfit(report.problems, on)};
  if (on.empty() && made_for.by_metadata) {
    return {Fit::fits_not, fmt::format("made for {}, which is not supported", made_for.title)};
  }
  if (on.empty()) {
    return {Fit::untold, fmt::format("could be for {}; --model tells", models::family_titles())};
  }
  if (report.survey.modules.size() == report.dead.size()) {
    return {Fit::nothing, fmt::format("fits {} but changes nothing: every layer is dead", on)};
  }
  return {
      Fit::fits,
      report.model.empty() ? fmt::format("fits {} as it was published; --model tries a model", on)
                           : fmt::format("fits {}: every key can be merged", on)};
}

}  // namespace

LoraReport report_lora(const std::filesystem::path& file, const LoraReportOptions& options) {
  LoraReport report{.survey = lora::survey(file, models::lora_families())};
  bool is_known = false;
  if (options.model) {
    try_on_model(file, options, report);
  } else {
    is_known = try_on_published(file, options, report);
  }
  Verdict verdict = judge(report, is_known);
  report.fit = verdict.fit;
  report.verdict = std::move(verdict.text);
  return report;
}

}  // namespace mflux

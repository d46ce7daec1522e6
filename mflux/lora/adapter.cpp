// SPDX-License-Identifier: MIT
#include "mflux/lora/adapter.h"

#include <algorithm>
#include <map>
#include <set>
#include <string_view>

#include <fmt/format.h>

#include "mflux/base/printable.h"

namespace mflux::lora {
namespace {

void drop_updates(Adapter& adapter, const std::string& why) {
  adapter.updates.clear();
  for (KeyRecord& record : adapter.keys) {
    if (!record.used) continue;
    record.used = false;
    record.tensors.clear();
    record.reason = fmt::format("the LoRA was left out: {}", why);
  }
}

}  // namespace

std::string_view problem_name(ProblemKind kind) {
  switch (kind) {
    case ProblemKind::unknown_key:
      return "unknown-key";
    case ProblemKind::unknown_module:
      return "unknown-module";
    case ProblemKind::component_absent:
      return "component-absent";
    case ProblemKind::incomplete:
      return "incomplete";
    case ProblemKind::unsupported:
      return "unsupported";
    case ProblemKind::rank_mismatch:
      return "rank-mismatch";
    case ProblemKind::shape_mismatch:
      return "shape-mismatch";
    case ProblemKind::no_bias:
      return "no-bias";
    case ProblemKind::non_finite:
      return "non-finite";
    case ProblemKind::bad_dtype:
      return "bad-dtype";
    case ProblemKind::empty_tensor:
      return "empty-tensor";
    case ProblemKind::empty:
      return "empty";
    case ProblemKind::duplicate:
      return "duplicate";
    case ProblemKind::other_family:
      return "other-family";
    case ProblemKind::no_lora:
      return "no-lora";
    case ProblemKind::several_adapters:
      return "several-adapters";
    case ProblemKind::missing_shard:
      return "missing-shard";
    case ProblemKind::bad_metadata:
      return "bad-metadata";
    case ProblemKind::oft_strength:
      return "oft-strength";
  }
  return "";
}

std::string describe(std::span<const Problem> problems) {
  std::map<std::string_view, std::vector<const Problem*>> by_file;
  for (const Problem& problem : problems) by_file[problem.file].push_back(&problem);
  std::string text;
  for (const auto& [file, of_file] : by_file) {
    if (!text.empty()) text += '\n';
    if (of_file.size() == 1 && of_file.front()->module.empty()) {
      const Problem& only = *of_file.front();
      text += format_printable("{}: {} [{}]", file, only.message, problem_name(only.kind));
      continue;
    }
    text +=
        format_printable("{}: {} problem{}", file, of_file.size(), of_file.size() == 1 ? "" : "s");
    for (const Problem* problem : of_file) {
      text += format_printable("\n  {} [{}]", problem->message, problem_name(problem->kind));
    }
  }
  return text;
}

bool depends_on_order(const Adapter& adapter) {
  return std::ranges::any_of(
      adapter.updates, [](const Update& update) { return depends_on_order(update); });
}

void drop(Loaded& loaded, Drop what) {
  std::set<size_t> dropped;  // adapters
  for (const Problem& problem : loaded.problems) {
    const bool is_whole = what == Drop::loras || problem.module.empty();
    if (is_whole && dropped.insert(problem.adapter).second) {
      drop_updates(loaded.adapters.at(problem.adapter), problem.message);
      loaded.notes.push_back(fmt::format("{}: left out", problem.file));
    }
    loaded.notes.push_back(fmt::format("{}: skipped: {}", problem.file, problem.message));
  }
  loaded.problems.clear();
}

}  // namespace mflux::lora

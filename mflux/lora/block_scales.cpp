// SPDX-License-Identifier: MIT
// Each part of the argument is read on its own into the targets it means; of a target that several
// mean, the last part is kept. Targets are looked up by the first tensor they change, so that every
// name of a layer has the same scale.
#include "mflux/lora/block_scales.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "mflux/base/error.h"
#include "mflux/base/number.h"
#include "mflux/base/tensor.h"

namespace mflux::lora {
namespace {

constexpr std::string_view kOption = "--lora-block-scales";

struct Which {
  uint64_t first = 0;
  uint64_t last = ~uint64_t{0};
  bool all = true;
};

std::optional<Which> parse_which(std::string_view text) {
  if (text == "*") return Which{};
  const size_t dash = text.find('-');
  const auto first = parse_whole(text.substr(0, dash));
  const auto last = dash == text.npos ? first : parse_whole(text.substr(dash + 1));
  if (!first || !last || *first > *last) return std::nullopt;
  return Which{*first, *last, false};
}

std::string_view last_word(std::string_view dotted) {
  const size_t dot = dotted.rfind('.');
  return dot == dotted.npos ? dotted : dotted.substr(dot + 1);
}

bool means(std::string_view name, std::string_view blocks) {
  if (blocks.empty()) return false;
  const std::string_view word = last_word(blocks);
  return blocks == name || word == name ||
         (word.starts_with(name) && word.size() > name.size() && word[name.size()] == '_');
}

// Every list of blocks with how many it has.
std::string known_lists(const BaseModel& model) {
  std::map<std::string, uint64_t> counts;
  for (const Target& target : model.targets) {
    if (target.blocks.empty() || target.alias_of != AliasOf::diffusers) continue;
    uint64_t& count = counts[fmt::format("{}/{}", target.component, target.blocks)];
    count = std::max(count, target.block + 1);
  }
  std::vector<std::string> lists;
  for (const auto& [name, count] : counts) lists.push_back(fmt::format("{}:0-{}", name, count - 1));
  return fmt::format("{}", fmt::join(lists, ", "));
}

// One part of the argument and the targets it means.
class PartReader {
 public:
  PartReader(std::string_view text, const BaseModel& model) : text_(text), model_(model) {
    const size_t equals = text.rfind('=');
    if (equals == text.npos || equals == 0) refuse("is not PART=SCALE");
    const auto scale = parse_decimal(text.substr(equals + 1));
    if (!scale) refuse("does not end with a number");
    scale_ = *scale;
    read_name(text.substr(0, equals));
    if (!component_.empty() && !model.components.contains(component_)) refuse_name();
    find();
  }

  double scale() const { return scale_; }
  const std::vector<const Target*>& targets() const { return targets_; }
  // Components that are meant as a whole.
  const std::vector<std::string>& whole() const { return whole_; }

 private:
  [[noreturn]] void refuse(std::string_view why) const {
    fail(ErrorKind::usage, "{}: '{}' {}", kOption, text_, why);
  }

  [[noreturn]] void refuse_name() const {
    std::vector<std::string_view> components;
    for (const auto& [name, tensors] : model_.components) components.push_back(name);
    fail(
        ErrorKind::usage,
        "{}: '{}' means nothing in {}: it has the components {} and the blocks {}",
        kOption,
        text_,
        model_.title,
        fmt::join(components, ", "),
        known_lists(model_));
  }

  void read_name(std::string_view name) {
    if (const size_t colon = name.find(':'); colon != name.npos) {
      const auto which = parse_which(name.substr(colon + 1));
      if (!which) refuse("does not name blocks after the colon: *, a number or FIRST-LAST");
      which_ = *which;
      name = name.substr(0, colon);
    }
    if (const size_t slash = name.find('/'); slash != name.npos) {
      component_ = name.substr(0, slash);
      name = name.substr(slash + 1);
    }
    name_ = name;
  }

  void find() {
    const bool is_component = component_.empty() && model_.components.contains(std::string(name_));
    if (name_ == "*" || is_component) {
      if (!which_.all) refuse("gives numbers without a list of blocks");
      for (const auto& [component, tensors] : model_.components) {
        if (is_component ? component == name_ : is_meant(component)) whole_.push_back(component);
      }
      for (const Target& target : model_.targets) {
        if (std::ranges::find(whole_, target.component) != whole_.end()) add(target);
      }
      return;
    }
    std::set<uint64_t> numbers;
    for (const Target& target : model_.targets) {
      if (!is_meant(target.component)) continue;
      if (means(name_, target.blocks)) {
        numbers.insert(target.block);
        if (target.block >= which_.first && target.block <= which_.last) add(target);
      } else if (target.blocks.empty() && target.alias == name_ && which_.all) {
        add(target);
      }
    }
    check_numbers(numbers);
  }

  void check_numbers(const std::set<uint64_t>& numbers) const {
    if (numbers.empty() && targets_.empty()) refuse_name();
    if (which_.all || (!numbers.empty() && which_.last <= *numbers.rbegin())) return;
    if (numbers.empty()) refuse_name();
    refuse(fmt::format("names blocks that do not exist: there are 0-{}", *numbers.rbegin()));
  }

  bool is_meant(std::string_view component) const {
    return component_.empty() || component == component_;
  }
  void add(const Target& target) { targets_.push_back(&target); }

  std::string_view text_;
  const BaseModel& model_;
  double scale_ = 1;
  std::string component_;  // "": any
  std::string_view name_;
  Which which_;
  std::vector<const Target*> targets_;
  std::vector<std::string> whole_;
};

std::string tensor_key(const TargetRows& rows) {
  return full_name(rows.component, rows.tensor);
}

}  // namespace

BlockScales::BlockScales(std::string_view text, const BaseModel& model) {
  constexpr size_t kMostParts = 500;  // several times the blocks of a model
  const auto parts = static_cast<size_t>(std::ranges::count(text, ',')) + 1;
  if (parts > kMostParts) {
    fail(ErrorKind::usage, "{}: {} parts, expected at most {}", kOption, parts, kMostParts);
  }
  std::map<const Target*, size_t> last;  // part
  while (!text.empty()) {
    const size_t comma = text.find(',');
    const std::string_view part = text.substr(0, comma);
    const PartReader reader(part, model);
    for (const Target* target : reader.targets()) last[target] = parts_.size();
    for (const std::string& component : reader.whole()) by_component_[component] = parts_.size();
    parts_.push_back({std::string(part), reader.scale(), false});
    if (comma == text.npos) break;
    text.remove_prefix(comma + 1);
    if (text.empty()) fail(ErrorKind::usage, "{}: nothing follows the last comma", kOption);
  }
  for (const auto& [target, part] : last) {
    for (const TargetRows& rows : target->rows) {
      size_t& of_tensor = by_tensor_[tensor_key(rows)];  // part 0 is the first
      of_tensor = std::max(of_tensor, part);
    }
  }
}

double BlockScales::use(size_t part) {
  parts_[part].used = true;
  return parts_[part].scale;
}

double BlockScales::of(const Target& target) {
  const auto found = by_tensor_.find(tensor_key(target.rows.front()));
  return found == by_tensor_.end() ? 1 : use(found->second);
}

bool BlockScales::leaves_out(std::string_view component) {
  const auto found = by_component_.find(component);
  return found != by_component_.end() && use(found->second) == 0;
}

std::vector<std::string> BlockScales::unused() const {
  std::vector<std::string> texts;
  for (const Part& part : parts_) {
    if (!part.used) texts.push_back(part.text);
  }
  return texts;
}

}  // namespace mflux::lora

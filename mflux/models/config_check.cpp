// SPDX-License-Identifier: MIT
// Whether config.json says what the tensors say, by the component's table.
#include <algorithm>
#include <optional>
#include <set>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "mflux/base/error.h"
#include "mflux/models/canonical.h"
#include "mflux/models/config.h"

namespace mflux::models {
namespace {

using nlohmann::json;

constexpr uint64_t kMost = 1'000'000;  // more than any model has of anything

std::string shown(const json& value) {
  constexpr size_t kLongest = 60;
  std::string text = value.dump(-1, ' ', true);
  if (text.size() > kLongest) text = text.substr(0, kLongest) + "...";
  return text;
}

bool is_count(const json& value) {
  return value.is_number_unsigned() && value != 0 && value <= kMost;
}

// A whole number, or a fraction where the tensors themselves do not go together.
struct Ratio {
  uint64_t above = 0;
  uint64_t below = 1;

  bool is(const json& value) const {
    return value.is_number_unsigned() && value <= kMost && value.get<uint64_t>() * below == above;
  }
  std::string text() const {
    return below != 0 && above % below == 0 ? std::to_string(above / below)
                                            : fmt::format("{}/{}", above, below);
  }
};

class ConfigCheck {
 public:
  ConfigCheck(
      const CanonicalComponent& component, const SourceComponent& source, Problems& problems)
      : component_(component),
        config_(source.config, source.name + "/config.json"),
        problems_(problems) {}

  void run() {
    for (const Statement& statement : component_.table->config) {
      const json* value = nullptr;
      try {
        value = config_.find(statement.key);
      } catch (const Error& error) {
        report(error.what());
        continue;
      }
      if (value == nullptr || (value->is_null() && statement.may_be_null)) continue;
      const std::string wrong = compare(statement, *value);
      if (!wrong.empty()) {
        report(
            fmt::format("{}: {} is {}, {}", config_.file(), statement.key, shown(*value), wrong));
      }
    }
  }

 private:
  void report(std::string line) {
    if (std::ranges::count(problems_.config, line) == 0) {
      problems_.config.push_back(std::move(line));
    }
  }

  // Each returns what should be there, "" where it is.
  std::string compare(const Statement& statement, const json& value) const {
    switch (statement.says) {
      case Says::width:
      case Says::square:
      case Says::divisor:
      case Says::parts:
      case Says::even_parts:
      case Says::values:
        return compare_width(statement, value);
      case Says::widths:
      case Says::reversed:
        return compare_widths(statement, value);
      case Says::depth:
        return compare_depth(statement, value);
      case Says::inner:
        return compare_inner(statement, value);
      case Says::indices:
        return compare_indices(value);
      case Says::flag:
        return compare_flag(statement, value);
      case Says::constant:
        return Ratio{statement.per}.is(value) ? "" : fmt::format("expected {}", statement.per);
      case Says::count:
        return is_count(value) ? "" : fmt::format("expected a number from 1 to {}", kMost);
      case Says::number:
        return value.is_number() ? "" : "expected a number";
      case Says::boolean:
        return value.is_boolean() ? "" : "expected true or false";
      case Says::word:
        return compare_word(statement, value);
    }
    return "";
  }

  // The weight of a layer: that of the first block, if there are blocks.
  const std::pair<const std::string, CanonicalTensor>* tensor_of(std::string_view layer) const {
    for (const auto& named : component_.tensors) {
      if (!named.second.bias && component_.layers[named.second.layer].name == layer) return &named;
    }
    return nullptr;
  }

  std::optional<uint64_t> stated(std::string_view key) const {
    const json* value = config_.find(key);
    if (value == nullptr || !is_count(*value)) return std::nullopt;
    return value->get<uint64_t>();
  }

  // What the tensors say; none if one of them, or another key, does not tell.
  std::optional<Ratio> ratio(const Statement& statement, const Shape& shape) const {
    if (statement.dimension >= shape.size()) return std::nullopt;
    Ratio ratio{.above = shape[statement.dimension], .below = statement.per};
    const auto scale = [](uint64_t& side, std::optional<uint64_t> factor) {
      return factor && !__builtin_mul_overflow(side, *factor, &side);
    };
    if (!statement.over.empty()) {
      const auto* over = tensor_of(statement.over);
      if (over == nullptr || statement.over_dimension >= over->second.spec.shape.size()) return {};
      if (!scale(ratio.below, over->second.spec.shape[statement.over_dimension])) return {};
    }
    if (!statement.by.empty() && !scale(ratio.below, stated(statement.by))) return std::nullopt;
    if (!statement.times.empty() && !scale(ratio.above, stated(statement.times))) {
      return std::nullopt;
    }
    return ratio;
  }

  std::string compare_width(const Statement& statement, const json& value) const {
    const auto* tensor = tensor_of(statement.what);
    if (tensor == nullptr) return "";
    const Shape& shape = tensor->second.spec.shape;
    const std::optional<Ratio> found = ratio(statement, shape);
    if (!found) return "";
    const std::string expected = expected_of(statement, value, *found);
    if (expected.empty()) return "";
    return fmt::format("expected {}: '{}' has shape {}", expected, tensor->first, to_string(shape));
  }

  static std::string expected_of(const Statement& statement, const json& value, Ratio found) {
    switch (statement.says) {
      case Says::square: {
        const bool fits =
            is_count(value) && Ratio{found.above, found.below * value.get<uint64_t>()}.is(value);
        return fits ? "" : "the root of " + found.text();
      }
      case Says::divisor: {
        const bool fits = is_count(value) && found.above % value.get<uint64_t>() == 0;
        return fits ? "" : "a divisor of " + found.text();
      }
      case Says::parts:
      case Says::even_parts: {
        const bool even = statement.says == Says::even_parts;
        return add_up(value, even, found)
                   ? ""
                   : fmt::format(
                         "three {}numbers whose sum is {}", even ? "even " : "", found.text());
      }
      case Says::values: {
        const bool fits = value.is_array() && found.is(value.size()) &&
                          std::ranges::all_of(value, [](const json& x) { return x.is_number(); });
        return fits ? "" : fmt::format("a list of {} numbers", found.text());
      }
      default:
        return found.is(value) ? "" : found.text();
    }
  }

  static bool add_up(const json& value, bool even, Ratio sum) {
    if (!value.is_array() || value.size() != 3) return false;
    uint64_t total = 0;
    for (const json& part : value) {
      if (!part.is_number_unsigned() || part > kMost) return false;
      if (even && part.get<uint64_t>() % 2 != 0) return false;
      total += part.get<uint64_t>();
    }
    return sum.is(total);
  }

  std::string compare_widths(const Statement& statement, const json& value) const {
    std::vector<Ratio> found;
    for (const auto& [name, tensor] : component_.tensors) {
      const bool first = tensor.at.count < 2 || tensor.at.at[1] == 0;
      if (tensor.bias || !first) continue;
      if (component_.layers[tensor.layer].name != statement.what) continue;
      const uint32_t block = tensor.at.at[0];
      if (found.size() <= block) found.resize(block + size_t{1});
      if (const auto width = ratio(statement, tensor.spec.shape)) found[block] = *width;
    }
    if (statement.says == Says::reversed) std::ranges::reverse(found);
    bool fits = value.is_array() && value.size() == found.size();
    for (size_t i = 0; fits && i < found.size(); ++i) fits = found[i].is(value[i]);
    if (fits || found.empty()) return "";
    std::vector<std::string> expected;
    for (const Ratio& width : found) expected.push_back(width.text());
    return fmt::format(
        "expected [{}], as the blocks of '{}' have it", fmt::join(expected, ","), statement.what);
  }

  const std::set<Indices>* instances(std::string_view block) const {
    for (const auto& [table, found] : component_.instances) {
      if (table->name == block && !found.empty()) return &found;
    }
    return nullptr;
  }

  std::string compare_depth(const Statement& statement, const json& value) const {
    const auto* found = instances(statement.what);
    if (found == nullptr) return "";
    const uint64_t blocks = uint64_t{found->rbegin()->at[0]} + 1;
    if (value.is_number_unsigned() && value == blocks) return "";
    return fmt::format(
        "expected {}: the last block of the tensors is '{}'",
        blocks,
        fmt::format(fmt::runtime(statement.what), blocks - 1));
  }

  std::string compare_inner(const Statement& statement, const json& value) const {
    const auto* found = instances(statement.what);
    if (found == nullptr) return "";
    const auto layers = static_cast<uint64_t>(
        std::ranges::count_if(*found, [](const Indices& at) { return at.at[0] == 0; }));
    if (value.is_number_unsigned() && layers >= statement.more &&
        value == layers - statement.more) {
      return "";
    }
    return fmt::format(
        "expected {}: the first block has {} '{}'",
        layers - std::min(layers, statement.more),
        layers,
        statement.what);
  }

  static std::string compare_indices(const json& value) {
    const bool fits = value.is_array() && std::ranges::all_of(value, [](const json& index) {
                        return index.is_number_unsigned() && index <= kMost;
                      });
    return fits ? "" : fmt::format("expected a list of numbers from 0 to {}", kMost);
  }

  std::string compare_flag(const Statement& statement, const json& value) const {
    const bool there = !statement.what.empty() && tensor_of(statement.what) != nullptr;
    if (value.is_boolean() && value == there) return "";
    if (statement.what.empty()) return "expected false: the model has no such layer";
    return fmt::format("expected {}: '{}' is {}there", there, statement.what, there ? "" : "not ");
  }

  static std::string compare_word(const Statement& statement, const json& value) {
    if (value.is_string()) {
      const std::string word = " " + value.get<std::string>() + " ";
      const std::string words = " " + std::string(statement.what) + " ";
      if (word.find(' ', 1) == word.size() - 1 && words.find(word) != words.npos) return "";
    }
    return fmt::format("expected one of: {}", statement.what);
  }

  const CanonicalComponent& component_;
  Config config_;
  Problems& problems_;
};

}  // namespace

void check_config(
    const CanonicalComponent& component, const SourceComponent& source, Problems& problems) {
  ConfigCheck(component, source, problems).run();
}

}  // namespace mflux::models

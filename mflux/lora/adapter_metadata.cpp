// SPDX-License-Identifier: MIT
#include "mflux/lora/adapter_metadata.h"

#include <algorithm>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace mflux::lora {
namespace {

using Json = nlohmann::ordered_json;

// The value that most layers have, the smallest of several.
template <typename Value, typename Of>
Value usual(const std::vector<AdapterLayer>& layers, Of of) {
  std::map<Value, size_t> counts;
  for (const AdapterLayer& layer : layers) ++counts[of(layer)];
  return std::ranges::max_element(counts, {}, [](const auto& item) { return item.second; })->first;
}

// PEFT matches "(.*\.)?(pattern)$": a layer outside the blocks ends like one of theirs
// ("proj_out").
std::string pattern_of(const AdapterLayer& layer, const std::vector<AdapterLayer>& layers) {
  const std::string ending = "." + layer.module;
  const bool is_ending = std::ranges::any_of(
      layers, [&](const AdapterLayer& other) { return other.module.ends_with(ending); });
  return is_ending ? "^" + layer.module : layer.module;
}

Json number(double value) {
  const auto whole = static_cast<int64_t>(value);
  return static_cast<double>(whole) == value ? Json(whole) : Json(value);
}

void add(const std::string& component, const AdapterComponent& adapter, Json& json) {
  const auto& layers = adapter.layers;
  const auto rank = usual<uint64_t>(layers, [](const AdapterLayer& layer) { return layer.rank; });
  const auto alpha = usual<double>(layers, [](const AdapterLayer& layer) { return layer.alpha; });
  Json ranks = Json::object();
  Json alphas = Json::object();
  Json modules = Json::array();
  for (const AdapterLayer& layer : layers) {
    modules.push_back(layer.module);
    const std::string pattern = pattern_of(layer, layers);
    if (layer.rank != rank) ranks[pattern] = layer.rank;
    if (layer.alpha != alpha) alphas[pattern] = number(layer.alpha);
  }
  const auto set = [&](std::string_view key, Json value) {
    json[fmt::format("{}.{}", component, key)] = std::move(value);
  };
  set("peft_type", "LORA");
  set("r", rank);
  set("lora_alpha", number(alpha));
  set("rank_pattern", std::move(ranks));
  set("alpha_pattern", std::move(alphas));
  set("target_modules", std::move(modules));
  set("lora_bias", adapter.has_bias);
  set("use_dora", false);
  set("use_rslora", false);
}

}  // namespace

std::string format_adapter_metadata(const std::map<std::string, AdapterComponent>& components) {
  Json json = Json::object();
  for (const auto& [component, adapter] : components) {
    if (!adapter.layers.empty()) add(component, adapter, json);
  }
  return json.dump();
}

}  // namespace mflux::lora

// SPDX-License-Identifier: MIT
// Looks at every place where trainers state an alpha, tensors, the two configurations, metadata,
// and lists those that load() did not take. It reads scalars only.
#include "mflux/lora/stated_alphas.h"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "mflux/lora/algorithms/algorithms.h"
#include "mflux/lora/algorithms/low_rank.h"
#include "mflux/lora/values.h"

namespace mflux::lora {
namespace {

using safetensors::TensorInfo;

bool is_whole_lokr(const Module& module) {
  return module.find(Parameter::lokr_w1) != nullptr && module.find(Parameter::lokr_w2) != nullptr;
}

// Does an alpha scale what the module adds.
bool takes_alpha(const Module& module) {
  const Algorithm* algorithm = classify(module).algorithm;
  return algorithm != nullptr && algorithm->takes_alpha;
}

std::optional<double> number(std::string_view text) {
  const std::string copy(text);
  char* end = nullptr;
  const double value = std::strtod(copy.c_str(), &end);
  return copy.empty() || *end != '\0' ? std::nullopt : std::optional(value);
}

class Finder {
 public:
  Finder(std::span<const Module> modules, const FileContext& file)
      : modules_(modules), file_(file) {}

  std::vector<UnusedAlpha> run(const safetensors::Metadata& metadata) {
    for (const Module& module : modules_) look_at(module);
    look_at(file_.metadata, "the metadata");
    look_at(file_.sidecar, "adapter_config.json");
    look_at(metadata);
    return std::move(unused_);
  }

 private:
  void look_at(const Module& module) {
    const TensorInfo* tensor = module.find(Parameter::alpha);
    if (takes_alpha(module)) {
      layers_.emplace_back(module.place.component, module.place.name);
      if (!is_whole_lokr(module)) effective_.insert(effective(module));
    }
    if (tensor == nullptr) return;
    if (is_whole_lokr(module)) {
      unused_.push_back(
          {"alpha is stated but not used: both factors of this LoKr are whole",
           module.name,
           tensor});
      return;
    }
    const std::optional<double> value = value_of(*tensor);
    for (const AdapterConfig* config : {&file_.metadata, &file_.sidecar}) {
      const auto stated = config->find(module.place.component, module.place.name);
      if (!stated || stated->scale || stated->alpha == value) continue;
      unused_.push_back(
          {fmt::format(
               "{} states alpha {:g}, which is not used: the tensor's counts",
               config == &file_.metadata ? "the metadata" : "adapter_config.json",
               stated->alpha),
           module.name});
    }
  }

  void look_at(const AdapterConfig& config, std::string_view where) {
    for (const std::string& alpha : config.unused_alphas(layers_)) {
      unused_.push_back(
          {"alpha is stated but not used: no layer takes it",
           fmt::format("{} of {}", alpha, where)});
    }
  }

  // What trainers note of their settings. Programs that load LoRAs do not read it.
  void look_at(const safetensors::Metadata& metadata) {
    constexpr std::string_view kOwn = "lora_adapter_metadata";
    for (const auto& [key, value] : metadata) {
      if (key == kOwn || key.find("alpha") == key.npos || layers_.empty()) continue;
      if (!metadata.contains(std::string(kOwn)) && is_read_from_metadata(key)) continue;
      const std::optional<double> stated = number(value);
      if (!stated || (effective_.size() == 1 && *effective_.begin() == *stated)) continue;
      unused_.push_back(
          {"alpha is stated but not used: LoRAs are not scaled by what a trainer noted",
           fmt::format("{} = {:g} of the metadata", key, *stated)});
    }
  }

  std::optional<double> value_of(const TensorInfo& info) const {
    return read_scalar(info, file_.bytes);
  }

  // None: the tensors do not tell.
  std::optional<double> effective(const Module& module) const {
    if (const TensorInfo* tensor = module.find(Parameter::alpha)) return value_of(*tensor);
    for (const AdapterConfig* config : {&file_.metadata, &file_.sidecar}) {
      const auto stated = config->find(module.place.component, module.place.name);
      if (stated) return stated->alpha;
    }
    const bool is_pair =
        module.find(Parameter::down) != nullptr && module.find(Parameter::up) != nullptr;
    const auto rank = is_pair ? pair_rank(module, file_.transposed) : std::nullopt;
    return rank ? std::optional(static_cast<double>(*rank)) : std::nullopt;
  }

  std::span<const Module> modules_;
  const FileContext& file_;
  std::vector<std::pair<std::string, std::string>> layers_ = {};
  std::set<std::optional<double>> effective_ = {};
  std::vector<UnusedAlpha> unused_ = {};
};

}  // namespace

std::vector<UnusedAlpha> unused_alphas(
    std::span<const Module> modules,
    const FileContext& file,
    const safetensors::Metadata& metadata) {
  return Finder(modules, file).run(metadata);
}

}  // namespace mflux::lora

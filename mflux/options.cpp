// SPDX-License-Identifier: MIT
#include "mflux/options.h"

#include <array>
#include <utility>

#include "mflux/base/error.h"

namespace mflux {
namespace {

constexpr std::array<std::pair<Layout, std::string_view>, 3> kLayouts = {{
    {Layout::mflux, "mflux"},
    {Layout::diffusers, "diffusers"},
    {Layout::comfyui, "comfyui"},
}};

constexpr std::array<std::pair<OnLoraFailure, std::string_view>, 4> kPolicies = {{
    {OnLoraFailure::error, "error"},
    {OnLoraFailure::skip_layer, "skip-layer"},
    {OnLoraFailure::skip_lora, "skip-lora"},
    {OnLoraFailure::full_precision, "full-precision"},
}};

constexpr std::array<std::pair<BakeRounding, std::string_view>, 3> kRoundings = {{
    {BakeRounding::automatic, "auto"},
    {BakeRounding::nearest, "nearest"},
    {BakeRounding::delta, "delta"},
}};

template <typename T, size_t N>
std::string_view name_of(const std::array<std::pair<T, std::string_view>, N>& names, T value) {
  return names.at(static_cast<size_t>(value)).second;
}

template <typename T, size_t N>
std::optional<T> value_of(
    const std::array<std::pair<T, std::string_view>, N>& names, std::string_view name) {
  for (const auto& [value, text] : names) {
    if (text == name) return value;
  }
  return std::nullopt;
}

}  // namespace

std::optional<QuantFormat> SaveOptions::quant_format() const {
  if (!bits && mode == QuantMode::affine) {
    if (group_size) {
      fail(
          ErrorKind::usage, "--q-group-size needs --quantize: how many bits should a weight have?");
    }
    return std::nullopt;
  }
  return make_quant_format(mode, bits, group_size);
}

std::string_view to_string(Layout layout) {
  return name_of(kLayouts, layout);
}
std::optional<Layout> parse_layout(std::string_view name) {
  return value_of(kLayouts, name);
}
std::string_view to_string(OnLoraFailure policy) {
  return name_of(kPolicies, policy);
}
std::optional<OnLoraFailure> parse_on_lora_failure(std::string_view name) {
  return value_of(kPolicies, name);
}
std::string_view to_string(BakeRounding rounding) {
  return name_of(kRoundings, rounding);
}
std::optional<BakeRounding> parse_bake_rounding(std::string_view name) {
  return value_of(kRoundings, name);
}

}  // namespace mflux

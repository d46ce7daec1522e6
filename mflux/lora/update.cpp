// SPDX-License-Identifier: MIT
#include "mflux/lora/update.h"

namespace mflux::lora {
namespace {

std::string_view name_of(const LowRank& update) {
  return update.core.empty() ? "LoRA" : "LoCon";
}
std::string_view name_of(const Dense&) {
  return "difference";
}
std::string_view name_of(const Hadamard&) {
  return "LoHa";
}
std::string_view name_of(const Kronecker&) {
  return "LoKr";
}
std::string_view name_of(const Dora& update) {
  if (std::holds_alternative<Hadamard>(update.change)) return "LoHa + DoRA";
  if (std::holds_alternative<Kronecker>(update.change)) return "LoKr + DoRA";
  return "DoRA";
}
std::string_view name_of(const OutputRotation& update) {
  return update.butterfly ? "BOFT" : "OFT";
}
std::string_view name_of(const InputRotation&) {
  return "OFT of inputs";
}
std::string_view name_of(const Glora&) {
  return "GLoRA";
}
std::string_view name_of(const Ia3&) {
  return "IA3";
}
std::string_view name_of(const Replacement&) {
  return "replacement";
}

}  // namespace

const Target& target_of(const Update& update) {
  return std::visit([](const auto& kind) -> const Target& { return kind.target; }, update);
}

const std::string& module_of(const Update& update) {
  return std::visit([](const auto& kind) -> const std::string& { return kind.module; }, update);
}

double scale_of(const Update& update) {
  return std::visit([](const auto& kind) { return kind.scale; }, update);
}

std::string_view algorithm_of(const Update& update) {
  return std::visit([](const auto& kind) { return name_of(kind); }, update);
}

bool has_effect(const Update& update) {
  const auto* rotation = std::get_if<OutputRotation>(&update);
  return scale_of(update) != 0 || (rotation != nullptr && !rotation->rescale.empty());
}

bool depends_on_order(const Update& update) {
  return !std::holds_alternative<LowRank>(update) && !std::holds_alternative<Dense>(update) &&
         !std::holds_alternative<Hadamard>(update) && !std::holds_alternative<Kronecker>(update);
}

bool needs_whole_matrix(const Update& update) {
  if (const auto* dora = std::get_if<Dora>(&update)) return dora->per_input;
  return std::holds_alternative<OutputRotation>(update);
}

}  // namespace mflux::lora

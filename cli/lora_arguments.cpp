// SPDX-License-Identifier: MIT
#include "cli/lora_arguments.h"

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <optional>

#include <CLI/CLI.hpp>

#include "mflux/base/error.h"

namespace mflux::cli {
namespace {

std::optional<double> as_number(const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0' || std::filesystem::exists(text)) return std::nullopt;
  return value;
}

}  // namespace

void add_lora_options(CLI::App& app, LoraArguments& arguments) {
  app.add_option(
         "--lora,--lora-paths",
         arguments.paths,
         "LoRA files to merge, in order; a number after a file is its scale")
      ->take_all();
  app.add_option(
         "--lora-scale,--lora-scales", arguments.scales, "Scale of each LoRA (default 1.0 each)")
      ->take_all();
}

std::vector<LoraRequest> settle_loras(const LoraArguments& arguments) {
  std::vector<LoraRequest> loras;
  size_t inline_scales = 0;
  for (const std::string& token : arguments.paths) {
    const std::optional<double> scale = as_number(token);
    if (!scale) {
      loras.push_back({.name = token});
      continue;
    }
    if (loras.empty()) fail(ErrorKind::usage, "--lora: the scale {} comes before any file", token);
    loras.back().scale = *scale;
    ++inline_scales;
  }
  if (!arguments.scales.empty()) {
    if (inline_scales != 0) {
      fail(ErrorKind::usage, "give scales either after the files or with --lora-scales, not both");
    }
    if (arguments.scales.size() != loras.size()) {
      fail(
          ErrorKind::usage,
          "{} LoRA(s) but {} scale(s); give one scale each, or none at all for 1.0",
          loras.size(),
          arguments.scales.size());
    }
    for (size_t i = 0; i < loras.size(); ++i) loras[i].scale = arguments.scales[i];
  }
  for (const LoraRequest& lora : loras) {
    if (!std::isfinite(lora.scale))
      fail(ErrorKind::usage, "{}: scale {} is not a number", lora.name, lora.scale);
  }
  return loras;
}

}  // namespace mflux::cli

// SPDX-License-Identifier: MIT
#include "cli/lora_arguments.h"

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <system_error>

#include <CLI/CLI.hpp>

#include "mflux/base/error.h"

namespace mflux::cli {
namespace {

std::optional<double> as_number(const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0') return std::nullopt;
  return value;
}

// A word of --lora: a scale, or nothing if it is a file.
std::optional<double> as_scale(const std::string& text) {
  std::error_code ignored;  // of a name that no file can have
  if (std::filesystem::exists(text, ignored)) return std::nullopt;
  if (const std::string why = why_no_scale(text); !why.empty()) {
    fail(ErrorKind::usage, "--lora: {}", why);
  }
  return as_number(text);
}

void settle_block_scales(
    const std::vector<std::string>& block_scales, std::vector<LoraRequest>& loras) {
  if (block_scales.empty()) return;
  if (block_scales.size() != loras.size()) {
    fail(
        ErrorKind::usage,
        "{} LoRA(s) but {} argument(s) of --lora-block-scales; give one each (\"*=1\" changes "
        "nothing), or none at all",
        loras.size(),
        block_scales.size());
  }
  for (size_t i = 0; i < loras.size(); ++i) loras[i].block_scales = block_scales[i];
}

}  // namespace

std::string why_no_scale(const std::string& text) {
  const size_t comma = text.find(',');
  if (comma == std::string::npos) return "";
  std::string with_point = text;
  with_point[comma] = '.';
  if (!as_number(with_point)) return "";
  return "'" + text + "' is not a number; write " + with_point;
}

void add_lora_options(CLI::App& app, LoraArguments& arguments) {
  app.add_option(
         "--lora,--lora-paths",
         arguments.paths,
         "LoRA files to merge, in order; a number after a file is its scale")
      ->type_name("LORA [SCALE]")
      ->take_all();
  app.add_option(
         "--lora-scale,--lora-scales", arguments.scales, "Scale of each LoRA (default 1.0 each)")
      ->type_name("SCALE")
      ->check(why_no_scale)
      ->take_all();
  app.add_option(
         "--lora-block-scales",
         arguments.block_scales,
         "Factors for parts of each LoRA, on top of its scale, one argument per LoRA: "
         "PART=SCALE,... where PART is a list of blocks (double:0-5, single, "
         "transformer_blocks:*), a component (text_encoder), a layer outside the blocks (proj_out) "
         "or * for all; the last that fits counts")
      ->type_name("PARTS")
      ->take_all();
}

std::vector<LoraRequest> settle_loras(const LoraArguments& arguments) {
  std::vector<LoraRequest> loras;
  size_t inline_scales = 0;
  bool has_scale = false;  // the last of them
  for (const std::string& token : arguments.paths) {
    const std::optional<double> scale = as_scale(token);
    if (!scale) {
      loras.push_back({.name = token});
      has_scale = false;
      continue;
    }
    if (loras.empty()) fail(ErrorKind::usage, "--lora: the scale {} comes before any file", token);
    if (has_scale) {
      fail(
          ErrorKind::usage,
          "--lora: {} has the scale {} already, and then comes {}",
          loras.back().name,
          loras.back().scale,
          token);
    }
    loras.back().scale = *scale;
    has_scale = true;
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
  settle_block_scales(arguments.block_scales, loras);
  for (const LoraRequest& lora : loras) {
    if (!std::isfinite(lora.scale))
      fail(ErrorKind::usage, "{}: scale {} is not a number", lora.name, lora.scale);
  }
  return loras;
}

}  // namespace mflux::cli

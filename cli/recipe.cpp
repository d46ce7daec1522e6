// SPDX-License-Identifier: MIT
#include "cli/recipe.h"

#include <nlohmann/json.hpp>

#include "mflux/base/error.h"
#include "mflux/image/png.h"
#include "mflux/version.h"

namespace mflux::cli {
namespace {

using nlohmann::ordered_json;

ordered_json path_or_null(const std::optional<std::filesystem::path>& path) {
  return path ? ordered_json(path->string()) : ordered_json(nullptr);
}

template <typename T>
void read(const ordered_json& json, const char* key, std::optional<T>& out) {
  if (json.contains(key) && !json[key].is_null()) out = json[key].get<T>();
}

void read_path(
    const ordered_json& json, const char* key, std::optional<std::filesystem::path>& out) {
  std::optional<std::string> text;
  read(json, key, text);
  if (text) out = *text;
}

GenerateOptions parse(const ordered_json& json) {
  GenerateOptions options;
  options.model = json.at("model").get<std::string>();
  options.prompt = json.at("prompt").get<std::string>();
  options.negative_prompt = json.at("negative_prompt").get<std::string>();
  options.seeds = {json.at("seed").get<uint64_t>()};
  read(json, "base_model", options.base_model);
  read(json, "height", options.height);
  read(json, "width", options.width);
  read(json, "steps", options.steps);
  read(json, "guidance", options.guidance);
  options.scheduler = json.at("scheduler").get<std::string>();
  read(json, "quantize", options.bits);
  const auto mode = parse_quant_mode(json.at("q_mode").get<std::string>());
  if (!mode) fail("q_mode is not a mode of MLX");
  options.mode = *mode;
  options.cpu_precision = json.value("cpu_precision", options.cpu_precision);
  read_path(json, "image", options.image);
  options.image_strength = json.at("image_strength").get<float>();
  for (const auto& reference : json.at("references")) {
    options.references.emplace_back(reference.get<std::string>());
  }
  read_path(json, "mask", options.mask);
  for (const auto& lora : json.at("loras")) {
    options.loras.push_back(
        {.name = lora.at("name").get<std::string>(),
         .scale = lora.at("scale").get<double>(),
         .block_scales = lora.at("block_scales").get<std::string>()});
  }
  return options;
}

}  // namespace

std::string format_recipe(const GenerateOptions& options, const GeneratePlan& plan, uint64_t seed) {
  ordered_json loras = ordered_json::array();
  for (const LoraRequest& lora : options.loras) {
    loras.push_back(
        {{"name", lora.name}, {"scale", lora.scale}, {"block_scales", lora.block_scales}});
  }
  ordered_json references = ordered_json::array();
  for (const auto& path : options.references) references.push_back(path.string());
  const ordered_json json = {
      {"program", "mflux.cpp " + std::string(version())},
      {"family", plan.family},
      {"model", options.model},
      {"base_model", options.base_model ? ordered_json(*options.base_model) : nullptr},
      {"prompt", options.prompt},
      {"negative_prompt", options.negative_prompt},
      {"seed", seed},
      {"steps", plan.steps},
      {"guidance", plan.guidance},
      {"height", plan.height},
      {"width", plan.width},
      {"scheduler", options.scheduler},
      {"quantize", options.bits ? ordered_json(*options.bits) : nullptr},
      {"q_mode", quant_mode_name(options.mode)},
      {"cpu_precision", options.cpu_precision},
      {"loras", loras},
      {"image", path_or_null(options.image)},
      {"image_strength", options.image_strength},
      {"references", references},
      {"mask", path_or_null(options.mask)}};
  return json.dump(1, ' ', false, ordered_json::error_handler_t::replace);
}

GenerateOptions read_recipe(const std::filesystem::path& png) {
  for (const auto& [keyword, text] : read_png_text(png)) {
    if (keyword != kRecipeKeyword) continue;
    try {
      return parse(ordered_json::parse(text));
    } catch (const std::exception& error) {
      fail("{}: its recipe cannot be read: {}", png.string(), error.what());
    }
  }
  fail("{}: has no recipe of mflux.cpp", png.string());
}

}  // namespace mflux::cli

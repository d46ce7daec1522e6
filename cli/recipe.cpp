// SPDX-License-Identifier: MIT
#include "cli/recipe.h"

#include <nlohmann/json.hpp>

#include "mflux/base/error.h"
#include "mflux/base/json.h"
#include "mflux/image/png.h"
#include "mflux/version.h"

namespace mflux::cli {
namespace {

using nlohmann::ordered_json;

ordered_json path_or_null(const std::optional<std::filesystem::path>& path) {
  return path ? ordered_json(path->string()) : ordered_json(nullptr);
}

// A recipe's values by name; null says as little as none.
class Recipe {
 public:
  explicit Recipe(const nlohmann::json& object) : object_(object) {
    if (!object.is_object()) fail("is not a JSON object");
  }

  std::optional<uint64_t> whole(const char* key, uint64_t least, uint64_t most) const {
    const nlohmann::json* value = find(key);
    if (value == nullptr) return std::nullopt;
    const auto number = whole_number(*value, most);
    if (number && *number >= least) return number;
    fail("{} is {}, expected a whole number from {} to {}", key, excerpt(*value), least, most);
  }

  std::optional<int> count(const char* key, int least, int most) const {
    const auto number = whole(key, static_cast<uint64_t>(least), static_cast<uint64_t>(most));
    return number ? std::optional(static_cast<int>(*number)) : std::nullopt;
  }

  std::optional<float> real(const char* key) const {
    const nlohmann::json* value = find(key);
    if (value == nullptr) return std::nullopt;
    if (const auto number = float_number(*value)) return number;
    fail("{} is {}, expected a number", key, excerpt(*value));
  }

  std::optional<double> number(const char* key) const {
    const nlohmann::json* value = find(key);
    if (value == nullptr) return std::nullopt;
    if (value->is_number()) return value->get<double>();
    fail("{} is {}, expected a number", key, excerpt(*value));
  }

  std::optional<std::string> text(const char* key) const {
    const nlohmann::json* value = find(key);
    if (value == nullptr) return std::nullopt;
    if (value->is_string()) return value->get<std::string>();
    fail("{} is {}, expected a string", key, excerpt(*value));
  }

  const nlohmann::json& list(const char* key) const {
    const nlohmann::json* value = find(key);
    if (value != nullptr && value->is_array()) return *value;
    fail("{} is {}, expected a list", key, value == nullptr ? "missing" : excerpt(*value));
  }

 private:
  const nlohmann::json* find(const char* key) const {
    const auto found = object_.find(key);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }

  const nlohmann::json& object_;
};

template <typename T>
T required(std::optional<T> value, std::string_view key) {
  if (!value) fail("{} is missing", key);
  return *std::move(value);
}

std::string required_text(const Recipe& recipe, const char* key) {
  return required(recipe.text(key), key);
}

LoraRequest recipe_lora(const nlohmann::json& object) {
  const Recipe lora(object);
  return {
      .name = required_text(lora, "name"),
      .scale = required(lora.number("scale"), "scale"),
      .block_scales = required_text(lora, "block_scales")};
}

GenerateOptions parse(const nlohmann::json& object) {
  const Recipe recipe(object);
  GenerateOptions options;
  options.model = required_text(recipe, "model");
  options.prompt = required_text(recipe, "prompt");
  options.negative_prompt = required_text(recipe, "negative_prompt");
  options.seeds = {required(recipe.whole("seed", 0, UINT64_MAX), "seed")};
  options.base_model = recipe.text("base_model");
  options.height = recipe.count("height", 1, kLargestSide);
  options.width = recipe.count("width", 1, kLargestSide);
  options.steps = recipe.count("steps", 1, kMostSteps);
  options.guidance = recipe.real("guidance");
  options.scheduler = required_text(recipe, "scheduler");
  options.bits = recipe.count("quantize", 2, 8);
  const auto mode = parse_quant_mode(required_text(recipe, "q_mode"));
  if (!mode) fail("q_mode is not a mode of MLX");
  options.mode = *mode;
  options.cpu_precision = recipe.text("cpu_precision").value_or(options.cpu_precision);
  options.image = recipe.text("image");
  options.image_strength = required(recipe.real("image_strength"), "image_strength");
  for (const nlohmann::json& reference : recipe.list("references")) {
    if (!reference.is_string()) fail("a reference is {}, expected a string", excerpt(reference));
    options.references.emplace_back(reference.get<std::string>());
  }
  options.mask = recipe.text("mask");
  for (const nlohmann::json& lora : recipe.list("loras"))
    options.loras.push_back(recipe_lora(lora));
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
      return parse(parse_json(text, "it"));
    } catch (const std::exception& error) {
      fail("{}: its recipe cannot be read: {}", png.string(), error.what());
    }
  }
  fail("{}: has no recipe from mflux.cpp", png.string());
}

}  // namespace mflux::cli

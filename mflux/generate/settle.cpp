// SPDX-License-Identifier: MIT
// From headers alone, in seconds even for a large model: nothing of the weights is read. Memory is
// estimated as the largest component with its activations, since components are loaded one after
// the other.
#include "mflux/generate/settle.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "mflux/base/error.h"
#include "mflux/base/number.h"
#include "mflux/nn/ops.h"

namespace mflux {
namespace {

using pipelines::PictureFacts;

// `unit`: what sides are multiples of, in pixels.
void check_side(std::string_view name, int pixels, int unit) {
  if (pixels > 0 && pixels <= kLargestSide && pixels % unit == 0) return;
  fail(
      ErrorKind::usage,
      "{} {}: must be a multiple of {} from {} to {}; the nearest is {}",
      name,
      pixels,
      unit,
      unit,
      kLargestSide,
      std::clamp((pixels + unit / 2) / unit, 1, kLargestSide / unit) * unit);
}

// Beside an init image's own size: that of a reference, brought to about a megapixel.
void settle_size(
    const GenerateOptions& options,
    const InputPictures& pictures,
    const PictureFacts& facts,
    GeneratePlan& plan) {
  const int unit = facts.token_pixels;
  plan.height = options.height.value_or(facts.side);
  plan.width = options.width.value_or(facts.side);
  if (pictures.image) {
    const Picture& image = *pictures.image;
    const auto floored = [unit](int pixels) { return std::max(pixels / unit, 1) * unit; };
    if (!options.height) plan.height = floored(image.height);
    if (!options.width) plan.width = floored(image.width);
  }
  if (options.references.size() == 1 && !options.height && !options.width) {
    const Picture& picture = pictures.references.front();
    const double side = facts.side / std::sqrt(double{1} * picture.height * picture.width);
    const auto rounded = [&](int pixels) {
      return std::max(1, static_cast<int>(std::lround(pixels * side / unit))) * unit;
    };
    plan.height = rounded(picture.height);
    plan.width = rounded(picture.width);
  }
  check_side("height", plan.height, unit);
  check_side("width", plan.width, unit);
}

void check_prompt(std::string_view name, const std::string& prompt) {
  if (prompt.size() <= kMostPromptBytes) return;
  fail(
      ErrorKind::usage,
      "the {} has {} bytes, expected at most {}",
      name,
      prompt.size(),
      kMostPromptBytes);
}

void check_options(const GenerateOptions& options, const PictureFacts& facts) {
  if (options.seeds.empty()) fail(ErrorKind::usage, "no seed: how many pictures are wanted?");
  if (options.image && !(options.image_strength > 0 && options.image_strength < 1)) {
    fail(
        ErrorKind::usage,
        "image strength {} is not between 0 and 1 (0.4 keeps a little of the picture, 0.9 most)",
        options.image_strength);
  }
  if (options.vae_tile &&
      (*options.vae_tile < 128 || *options.vae_tile % facts.token_pixels != 0)) {
    fail(
        ErrorKind::usage,
        "VAE tiles of {} pixels: at least 128, and a multiple of {}",
        *options.vae_tile,
        facts.token_pixels);
  }
}

// Bytes of a component's weights in memory; `packs` becomes true if some are packed while loading.
uint64_t weight_bytes(
    const Checkpoint& model,
    const Component& component,
    const std::optional<QuantFormat>& asked,
    bool& packs) {
  uint64_t sum = 0;
  const models::MappedComponent mapped =
      models::map_component(*model.family, component.source, model.naming, models::Naming::mflux);
  for (const models::MappedTensor& tensor : mapped.tensors) {
    if (tensor.pieces.empty()) continue;
    const LogicalTensor& source = component.tensors[tensor.pieces.front().source];
    const TensorSpec spec{source.spec.dtype, tensor.shape};
    std::optional<QuantFormat> format = source.format;
    if (!format && asked) {
      format = models::quantization(*model.family, component.name, tensor, *asked);
      packs = packs || format;
    }
    sum += format ? packed_specs(*format, {tensor.dtype, tensor.shape}).bytes() : spec.bytes();
  }
  return sum;
}

uint64_t transformer_width(const Component& component) {
  uint64_t width = 0;
  for (const LogicalTensor& tensor : component.tensors) {
    if (tensor.name.ends_with("proj_out.weight") || tensor.name.ends_with("linear2.weight")) {
      width = std::max(width, tensor.spec.shape.front());
    }
  }
  return width;
}

// Measured on the CPU: a block holds about 20 activations of the model's width for each token, the
// VAE's last stage about 6 of 128 channels for each pixel; all float32.
void estimate_memory(
    const Checkpoint& model,
    const GenerateOptions& options,
    const PictureFacts& facts,
    GeneratePlan& plan) {
  constexpr uint64_t kBlockActivations = 20;
  constexpr uint64_t kTextTokens = 512;
  constexpr uint64_t kPixelBytes = uint64_t{6} * 128 * sizeof(float);
  const std::optional<QuantFormat> asked = load_format(options, model);
  for (const Component& component : model.components) {
    const uint64_t bytes = weight_bytes(model, component, asked, plan.packs);
    plan.parts.push_back({component.name, bytes});
    uint64_t activations = 0;
    if (component.name == "transformer") {
      const auto tokens = static_cast<uint64_t>(picture_tokens(plan, facts));
      activations =
          (tokens + kTextTokens) * transformer_width(component) * sizeof(float) * kBlockActivations;
    } else if (component.name == "vae") {
      const auto side = [&](int pixels) {
        return static_cast<uint64_t>(std::min(pixels, options.vae_tile.value_or(pixels)));
      };
      activations = side(plan.height) * side(plan.width) * kPixelBytes;
    }
    plan.peak_bytes = std::max(plan.peak_bytes, bytes + activations);
  }
}

}  // namespace

void check_limits(const GenerateOptions& options) {
  if (options.seeds.size() > kMostPictures) {
    fail(
        ErrorKind::usage,
        "{} seeds, expected at most {}: a picture is made of each",
        options.seeds.size(),
        kMostPictures);
  }
  if (options.steps && (*options.steps < 1 || *options.steps > kMostSteps)) {
    fail(ErrorKind::usage, "{} steps: expected a number from 1 to {}", *options.steps, kMostSteps);
  }
  if (options.guidance && !std::isfinite(*options.guidance)) {
    fail(ErrorKind::usage, "guidance {} is not a number", *options.guidance);
  }
  check_prompt("prompt", options.prompt);
  check_prompt("negative prompt", options.negative_prompt);
}

InputPictures read_pictures(const GenerateOptions& options) {
  InputPictures pictures;
  if (options.image) pictures.image = read_picture(*options.image);
  for (const auto& path : options.references) pictures.references.push_back(read_picture(path));
  if (options.mask) pictures.mask = read_picture(*options.mask, Transparency::dropped);
  return pictures;
}

GenerateOptions for_model(const GenerateOptions& options, const PictureFacts& facts) {
  GenerateOptions result = options;
  if (options.image && facts.edits) {
    result.references.insert(result.references.begin(), *options.image);
    result.image.reset();
  }
  return result;
}

int picture_tokens(const GeneratePlan& plan, const PictureFacts& facts) {
  return plan.height / facts.token_pixels * (plan.width / facts.token_pixels);
}

int first_step(int steps, float image_strength) {
  return std::max(1, static_cast<int>(static_cast<float>(steps) * image_strength));
}

nn::SolverKind solver_kind(const GenerateOptions& options) {
  const auto kind = nn::parse_solver(options.scheduler);
  if (kind) return *kind;
  fail(
      ErrorKind::usage,
      "--scheduler '{}' is not linear (euler), heun or dpm++2m",
      options.scheduler);
}

nn::Products products(const GenerateOptions& options) {
  const std::string& asked = options.cpu_precision;
  if (asked == "float32") return nn::Products::float32;
  if (asked != "auto" && asked != "bfloat16") {
    fail(ErrorKind::usage, "--cpu-precision '{}' is not auto, float32 or bfloat16", asked);
  }
  if (nn::has_bfloat16_products()) return nn::Products::bfloat16;
  if (asked == "auto") return nn::Products::float32;
  fail(
      ErrorKind::usage,
      "--cpu-precision bfloat16: this CPU has no instructions for it (AMX_BF16), or this build has "
      "no oneDNN");
}

namespace {

int metadata_number(const safetensors::TensorFolder& folder, std::string_view key) {
  constexpr uint64_t kMost = 1000;
  const std::string_view text = folder.metadata(key);
  if (const auto number = parse_whole(text, kMost)) return static_cast<int>(*number);
  fail(
      "{}: metadata {} is '{}', expected a number up to {}",
      folder.path.string(),
      key,
      text,
      kMost);
}

}  // namespace

std::optional<QuantFormat> load_format(const GenerateOptions& options, const Checkpoint& model) {
  if (options.bits || options.mode != QuantMode::affine) {
    return make_quant_format(options.mode, options.bits, {});
  }
  for (const Component& component : model.components) {
    const safetensors::TensorFolder& folder = component.folder;
    if (folder.metadata("mflux_cpp_quantized") != "at load") continue;
    const auto mode = parse_quant_mode(folder.metadata("mflux_cpp_mode"));
    const int level = metadata_number(folder, "quantization_level");
    const int group = metadata_number(folder, "mflux_cpp_group_size");
    if (!mode) fail("{}: metadata mflux_cpp_mode is not a mode of MLX", folder.path.string());
    return make_quant_format(*mode, level, group);
  }
  return std::nullopt;
}

GeneratePlan settle(
    const GenerateOptions& options,
    const InputPictures& pictures,
    const Checkpoint& model,
    const PictureFacts& facts,
    const pipelines::Defaults& defaults) {
  check_options(options, facts);
  GeneratePlan plan{
      .family = std::string(models::family_name(*model.family)),
      .title = std::string(models::family_title(*model.family)),
      .steps = options.steps.value_or(defaults.steps),
      .guidance = options.guidance.value_or(defaults.guidance),
      .uses_guidance = defaults.uses_guidance,
      .uses_negative_prompt = defaults.uses_negative_prompt,
      .begins_with_image = options.image.has_value()};
  settle_size(options, pictures, facts, plan);
  if (const auto format = load_format(options, model)) plan.bits = format->bits;
  plan.sigmas = nn::sigmas(plan.steps, picture_tokens(plan, facts), defaults.shift);
  if (options.image && first_step(plan.steps, options.image_strength) >= plan.steps) {
    fail(
        ErrorKind::usage,
        "{} step(s) at image strength {} leave nothing to do: take more steps",
        plan.steps,
        options.image_strength);
  }
  estimate_memory(model, options, facts, plan);
  return plan;
}

}  // namespace mflux

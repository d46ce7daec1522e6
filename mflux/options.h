// SPDX-License-Identifier: MIT
// The options of a save.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "mflux/base/quantization.h"

namespace mflux {

// A bake in which less than this share of a LoRA survives is worth a warning.
constexpr double kKeptWarning = 0.9;

// Weights that moved by more than the LoRA asks for, or against it, say how rounding happened to
// fall, not what survived of the LoRA: such a share counts as nothing.
constexpr double kKeptNoise = 0.1;
constexpr bool is_noise(double kept) {
  return kept > 1 + kKeptNoise || kept < -kKeptNoise;
}

enum class Layout : uint8_t {
  mflux,      // Python mflux's names; packed tensors
  diffusers,  // the Hugging Face folder
  comfyui,    // one file with the original names; the transformer alone
};

enum class OnLoraFailure : uint8_t {
  error,           // refuse, before anything is written
  skip_layer,      // leave out the layers that do not fit
  skip_lora,       // leave out every LoRA that has a layer that does not fit
  full_precision,  // skip_layer, and do not quantize
};

// How the codes of a baked, packed tensor are rounded; docs/quantization.md.
enum class BakeRounding : uint8_t {
  automatic,  // delta where the base was packed, else nearest
  nearest,    // each to the nearest code, as Python's mflux does
  delta,      // so that the LoRAs survive (kernels/delta_rounding.h)
};

struct LoraRequest {
  std::string name = {};  // file, folder with one file, "owner/repo" or "owner/repo:file"
  double scale = 1.0;
  // Factors for its blocks and components, on top of `scale`: "double:0-5=0.5,text_encoder=0"; the
  // syntax is in docs/lora-tools.md.
  std::string block_scales = {};
};

struct SaveOptions {
  std::string model = {};                      // folder, file or name; see hub/hub.h
  std::optional<std::string> base_model = {};  // family or known model, where the files cannot tell
  // Created; must be absent, empty, or an unfinished save with the same inputs and options.
  std::filesystem::path output = {};
  bool overwrite = false;  // replace what is there once the new folder is complete
  // 2, 3, 4, 5, 6 or 8; none with affine mode: no quantization (a packed source stays packed).
  std::optional<int> bits = {};
  QuantMode mode = QuantMode::affine;
  std::optional<int> group_size = {};   // weights per scale; none: the mode's own
  bool quantize_at_load = false;        // record the level, keep full precision on disk
  std::vector<LoraRequest> loras = {};  // merged in this order
  OnLoraFailure on_lora_failure = OnLoraFailure::error;
  // From 0 to 1: it is an error if less than this share of a LoRA survives rounding.
  std::optional<double> min_kept = {};
  BakeRounding rounding = BakeRounding::automatic;
  // More bits for packed layers in which less than min_kept (none: kKeptWarning) of a LoRA
  // survives.
  bool escalate = false;
  Layout layout = Layout::mflux;
  // Tensors of the output ("component/tensor") that lie in shards of their own, so that all other
  // shards can be the same files in several outputs of a job.
  std::set<std::string> apart = {};
  uint64_t max_shard_bytes = uint64_t{2} << 30;
  // Bytes of buffers, at least 16 MiB; mapped LoRA files do not count.
  uint64_t max_memory = uint64_t{1} << 30;
  bool sha256 = false;  // add sha256 to the XXH3-128 in the receipt

  // The format asked for, or none; throws a usage Error if MLX has no such format.
  std::optional<QuantFormat> quant_format() const;
};

// As on the command line: "mflux", "skip-layer", "auto".
std::string_view to_string(Layout layout);
std::optional<Layout> parse_layout(std::string_view name);
std::string_view to_string(OnLoraFailure policy);
std::optional<OnLoraFailure> parse_on_lora_failure(std::string_view name);
std::string_view to_string(BakeRounding rounding);
std::optional<BakeRounding> parse_bake_rounding(std::string_view name);

}  // namespace mflux

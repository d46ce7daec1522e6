// SPDX-License-Identifier: MIT
// The doctor's findings about a LoRA file: what it is, what is wrong with it, and whether it fits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "mflux/doctor/sampled_kept.h"
#include "mflux/lora/survey.h"

namespace mflux {

struct LoraReportOptions {
  std::optional<std::string> model = {};       // on which it is tried; see hub/hub.h
  std::optional<std::string> base_model = {};  // family, where the files cannot tell
  double scale = 1;                            // with which it is tried
  std::string block_scales = {};
};

// Layers whose names differ only in the number of their block.
struct LayerCoverage {
  std::string component = {};
  std::string layer = {};             // "transformer_blocks.{}.attn.to_q"
  std::vector<uint64_t> blocks = {};  // ascending; of those that are hit
  size_t hit = 0;
  size_t of = 0;  // how many the model has; 0 without a model
};

struct ComponentCoverage {
  std::string component = {};
  size_t hit = 0;  // weights that the LoRA changes
  size_t of = 0;   // weights that a LoRA may address
};

struct BlockCoverage {
  std::string component = {};
  std::string blocks = {};  // "transformer_blocks.{}"; "" of layers outside all blocks
  uint64_t block = 0;
  size_t hit = 0;
  size_t of = 0;  // 0 without a model
};

// A module without effect.
struct DeadModule {
  std::string module = {};
  std::string why = {};  // "B is all zero", "alpha is 0", "strength 0"
};

// Modules that change the same rows.
struct DuplicateModules {
  std::string layer = {};                 // "transformer/transformer_blocks.0.attn.to_q"
  std::vector<std::string> modules = {};  // as the file spells them
};

enum class Fit : uint8_t {
  fits,      // every key can be merged into the model
  fits_not,  // something cannot
  nothing,   // all can, but nothing would change
  untold,    // no model was given, and the file fits more than one of those known, or none
};

struct LoraReport {
  lora::Survey survey = {};
  Fit fit = Fit::untold;
  std::string verdict = {};  // one sentence for people
  std::string model = {};    // title of the model it was tried on; "" without
  // Title of the published model whose layers stood in for one; "" if it is not known which.
  std::string stand_in = {};
  std::vector<ComponentCoverage> components = {};  // with a model
  std::vector<BlockCoverage> blocks = {};
  std::vector<LayerCoverage> layers = {};  // with a model its layers, else the file's
  std::vector<DeadModule> dead = {};
  std::vector<DuplicateModules> duplicates = {};
  std::vector<ExpectedKept> kept = {};  // with a model; see sampled_kept.h
  std::vector<lora::Problem> problems = {};
  std::vector<std::string> notes = {};
};

// Throws Error for a file or a model that cannot be read, and of kind usage for block scales that
// mean nothing.
LoraReport report_lora(const std::filesystem::path& file, const LoraReportOptions& options);

}  // namespace mflux

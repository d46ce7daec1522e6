// SPDX-License-Identifier: MIT
// A LoRA file in one canonical form: what it changes in which rows of which tensors, and what
// became of every key.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "mflux/base/file.h"
#include "mflux/lora/target.h"
#include "mflux/safetensors/header.h"

namespace mflux::lora {

enum class AlphaSource : uint8_t { tensor, metadata, adapter_config, none };

std::string_view alpha_source_name(AlphaSource source);  // "tensor", ..., "none"

// A matrix or vector of the mapped file, as stored.
struct Factor {
  const safetensors::TensorInfo* info = nullptr;
  std::span<const std::byte> data = {};
  uint64_t rows = 0;
  uint64_t columns = 0;  // 1 for a vector
};

// W += scale * up * down.
struct LowRank {
  std::string module = {};  // as the file spells it
  Target target = {};       // resolved
  Factor down = {};  // [rank, inputs]; fewer columns than the target has mean zeros in the others
  Factor up = {};    // [outputs, rank]
  bool transposed = false;  // the file stores [inputs, rank] and [rank, outputs]
  uint64_t rank = 0;
  double alpha = 0;  // equal to the rank where the file says nothing
  AlphaSource alpha_source = AlphaSource::none;
  double scale = 1;  // the user's scale * alpha / rank (rsLoRA: / sqrt(rank))
};

// W += scale * value, or b += scale * value: then the target's tensors are the biases.
struct Dense {
  std::string module;
  Target target;  // of a vector (bias, norm) the rows are its elements, and there is one column
  Factor value;   // [outputs, inputs]
  double scale = 1;
};

// One kind per algorithm; the other algorithms join here.
using Update = std::variant<LowRank, Dense>;

const Target& target_of(const Update& update);
const std::string& module_of(const Update& update);
double scale_of(const Update& update);  // what multiplies up * down, or the value

// What became of one key of the file.
struct KeyRecord {
  std::string key;
  bool used = false;
  std::vector<std::string> tensors = {};  // "transformer/transformer_blocks.0.attn.to_q.weight"
  uint64_t rank = 0;                      // 0: not of a low-rank pair
  double alpha = 0;
  AlphaSource alpha_source = AlphaSource::none;
  std::string reason = {};  // why it was skipped
  double block_scale = 1;   // of its block, on top of the LoRA's scale
};

struct LoraSpec {
  std::filesystem::path file;
  double scale = 1.0;
  std::string block_scales = {};  // factors for blocks and components: block_scales.h
};

struct Adapter {
  MappedFile file;
  safetensors::Header header = {};
  std::filesystem::path path = {};
  std::string dialect = {};  // "kohya", "diffusers + ComfyUI"
  double scale = 1;
  std::string block_scales = {};
  bool transposed = false;           // every matrix of the file is stored in the other order
  std::vector<Update> updates = {};  // in file order; of one module the matrices first
  std::vector<KeyRecord> keys = {};  // every key of the file, sorted
};

enum class ProblemKind : uint8_t {
  unknown_key,       // the end of the key says nothing we know
  unknown_module,    // the model has no such layer
  component_absent,  // it is for a text encoder that is not being written
  incomplete,        // A without B, alpha alone
  unsupported,       // an algorithm this version cannot apply
  rank_mismatch,
  shape_mismatch,
  no_bias,  // a change of a bias that the layer does not have
  non_finite,
  bad_dtype,
  empty_tensor,
  empty,         // a file without tensors
  duplicate,     // two values for one thing
  other_family,  // made for another model
  bad_metadata,
};

std::string_view problem_name(ProblemKind kind);  // "unknown-key", ...

// Something that keeps a module, or if `module` is empty the whole file, from being applied.
struct Problem {
  size_t adapter = 0;  // index into Loaded::adapters
  ProblemKind kind = ProblemKind::unknown_key;
  std::string file;
  std::string module;  // module or key
  std::string message;
};

struct Loaded {
  std::vector<Adapter> adapters = {};  // one per LoraSpec, in order
  std::vector<Problem> problems = {};
  std::vector<std::string> notes = {};  // for the log
};

// One message that lists all problems, ready for Error(ErrorKind::lora, ...).
std::string describe(std::span<const Problem> problems);

// What to do without: the modules that have a problem, or the LoRAs that have one.
enum class Drop : uint8_t { layers, loras };

// Turns every problem into a note, so that what is left can be applied. A problem of a whole file
// drops the file.
void drop(Loaded& loaded, Drop what);

}  // namespace mflux::lora

// SPDX-License-Identifier: MIT
// A LoRA file in one canonical form: what it changes in which rows of which tensors, and what
// became of every key.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "mflux/base/file_stamp.h"
#include "mflux/base/joined_files.h"
#include "mflux/lora/algorithms/update.h"
#include "mflux/safetensors/header.h"

namespace mflux::lora {

// What became of one key of the file.
struct KeyRecord {
  std::string key;
  bool used = false;
  std::vector<std::string> tensors = {};  // "transformer/transformer_blocks.0.attn.to_q.weight"
  std::string algorithm = {};             // "LoRA", "LoKr", ...
  uint64_t rank = 0;                      // 0: none, or none that counts
  double alpha = 0;
  AlphaSource alpha_source = AlphaSource::none;
  std::string reason = {};  // why it was skipped
  double block_scale = 1;   // of its block, on top of the LoRA's scale
};

struct LoraSpec {
  std::filesystem::path file;  // or a folder or an index: files.h
  double scale = 1.0;
  std::string block_scales = {};  // factors for blocks and components: block_scales.h
};

struct Adapter {
  std::unique_ptr<const JoinedFiles> file;        // from which the updates read
  safetensors::Header header = {};                // of all files; offsets count in `file`
  std::filesystem::path path = {};                // as given
  std::vector<std::filesystem::path> files = {};  // more than one if it is sharded
  std::vector<FileStamp> stamps = {};             // of the files, as they were when opened
  std::string dialect = {};                       // "kohya", "diffusers + ComfyUI"
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
  no_lora,       // something else altogether: a VAE, a whole model
  several_adapters,
  missing_shard,
  bad_metadata,
  oft_strength,  // a rotation that has no meaning at another scale than 1
};

std::string_view problem_name(ProblemKind kind);  // "unknown-key", ...

// Something that keeps a module, or if `module` is empty the whole file, from being applied.
struct Problem {
  size_t adapter = 0;  // index into Loaded::adapters
  ProblemKind kind = ProblemKind::unknown_key;
  std::string file;
  std::string module;  // module or key
  std::string message;
  std::string shapes = {};  // "Cannot merge X: delta (2, 2) != base (4, 4)", for the log
};

struct Loaded {
  std::vector<Adapter> adapters = {};  // one per LoraSpec, in order
  std::vector<Problem> problems = {};
  std::vector<std::string> notes = {};  // for the log
};

// One message that lists all problems, a line each; printable.
std::string describe(std::span<const Problem> problems);

// Does it hold updates that depend on what others did before.
bool depends_on_order(const Adapter& adapter);

// What to do without: the modules that have a problem, or the LoRAs that have one.
enum class Drop : uint8_t { layers, loras };

// Turns every problem into a note, so that what is left can be applied. A problem of a whole file
// drops the file.
void drop(Loaded& loaded, Drop what);

}  // namespace mflux::lora

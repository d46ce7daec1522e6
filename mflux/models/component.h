// SPDX-License-Identifier: MIT
// A component as it is found, and as it becomes in another naming.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "mflux/base/tensor.h"

namespace mflux::models {

// Whose names and layouts a set of tensors uses.
enum class Naming : uint8_t {
  diffusers,  // the Hugging Face folder
  mflux,      // a folder saved by Python's mflux or by us
  original,   // one file: BFL's names for FLUX, ComfyUI prefixes
};

struct Family;  // the tables: tables.h, flux/*.cpp, qwen/*.cpp

// One component as found: its tensors in file order, whatever the naming. A packed matrix is one
// entry with its logical (unpacked) shape and the dtype of its scales. A folder's model_index.json
// may be given to identify() as a component of its own: no name, no tensors, the text as config.
struct SourceComponent {
  std::string name = {};    // folder name: "transformer", "text_encoder", ...; "" for a single file
  std::string file = {};    // what messages call a single file; "" of a folder
  std::string config = {};  // text of config.json; "" if there is none
  bool saved_by_mflux = false;  // its metadata holds quantization_level or mflux_version
  struct Tensor {
    std::string name = {};
    TensorSpec spec = {};
    bool packed = false;
  };
  std::vector<Tensor> tensors = {};
};

// Rows of a source tensor that become rows of an output tensor. Here every element of a vector is a
// row of its own (a fused bias is cut like its weight); otherwise rows are the outermost dimension,
// and a scalar has one.
struct Piece {
  size_t source = 0;          // index into SourceComponent::tensors
  uint64_t source_begin = 0;  // first row there
  uint64_t count = 0;
  uint64_t output_begin = 0;     // first row in the output tensor
  std::string canonical = {};    // the diffusers tensor these rows belong to
  uint64_t canonical_begin = 0;  // and their first row there
};

// Change of order inside each row, read as [channels][positions] and written as
// [positions][channels]. Where a source has channels last, its positions are the `channels` here.
// {1, 1}: none.
struct RowTranspose {
  uint64_t channels = 1;
  uint64_t positions = 1;
  bool operator==(const RowTranspose&) const = default;
  bool none() const { return channels == 1 || positions == 1; }
};

// Of the tensor's layer; `other`, and so every bias, is never quantized.
enum class Role : uint8_t { linear, embedding, other };

struct MappedTensor {
  std::string name = {};  // in the output naming
  Shape shape = {};
  // Of the output in full precision, and of scales: the family's rule for that naming.
  Dtype dtype = Dtype::bf16;
  Role role = Role::other;
  RowTranspose transpose = {};     // applied to every source row
  std::vector<Piece> pieces = {};  // cover all output rows, in ascending output_begin
  std::vector<float> values = {};  // of a computed tensor (F32), which has no pieces
};

// A component in the output naming.
struct MappedComponent {
  std::vector<MappedTensor> tensors = {};
  // Names of source tensors that the output does not hold, by the family's rule.
  std::vector<std::string> left_out = {};
  // Those of them that do not belong in such a component: T5's decoder in a text encoder.
  std::vector<std::string> foreign = {};
};

}  // namespace mflux::models

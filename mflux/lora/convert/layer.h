// SPDX-License-Identifier: MIT
// One layer of a file to be written, and the modules of another file that become part of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "mflux/lora/convert/stored_matrix.h"
#include "mflux/lora/convert/style.h"
#include "mflux/lora/module.h"

namespace mflux::lora {

// Rows of a module that become rows of a layer.
struct RowMap {
  uint64_t from = 0;
  uint64_t to = 0;
  uint64_t count = 0;
};

struct PairPart {
  const Module* module = nullptr;
  double scale = 1;  // alpha / rank
  bool transposed = false;
  bool cut = false;  // other rows of the module belong to other layers
  std::vector<RowMap> rows = {};
};

// A difference of the weight or the bias.
struct DensePart {
  const Module* module = nullptr;
  const safetensors::TensorInfo* info = nullptr;
  double scale = 1;
  bool of_pair = false;  // the bias of a B, which shares the pair's scale
  std::vector<RowMap> rows = {};
};

struct WrittenLayer {
  const Target* target = nullptr;
  std::string module = {};  // as it is written
  std::vector<PairPart> pairs = {};
  std::vector<DensePart> weights = {};
  std::vector<DensePart> biases = {};
};

struct WrittenTensor {
  std::string name = {};
  Shape shape = {};
  StoredMatrix values = {};
};

struct WrittenTensors {
  std::vector<WrittenTensor> tensors = {};
  uint64_t rank = 0;  // 0: no pair
  double alpha = 0;
  bool widened = false;  // B became F32, so that its scales could be evened out
};

// `file`: the source. `zero_bias`: a layer without bias of B gets one of zeros.
WrittenTensors write_layer(
    const WrittenLayer& layer, const WritingStyle& style, const JoinedFiles& file, bool zero_bias);

// Why the style cannot say it; "" if it can.
std::string why_not(const WrittenLayer& layer, const WritingStyle& style);

}  // namespace mflux::lora

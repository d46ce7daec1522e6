// SPDX-License-Identifier: MIT
// What a LoRA does to the rows of a layer: one kind per algorithm, with its numbers as they lie in
// the file. W is the weight [outputs, inputs] of the target, s the scale of the update.
//
// Additive kinds add to W whatever it is; the others change W as it is at their turn.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "mflux/lora/factor.h"
#include "mflux/lora/target.h"

namespace mflux::lora {

// W += s * up * core * down; mostly there is no core.
struct LowRank {
  std::string module = {};  // as the file spells it
  Target target = {};       // resolved
  Factor down = {};  // [rank, inputs]; fewer columns than the target has mean zeros in the others
  Factor up = {};    // [outputs, rank]; with a core [outputs, core.rows]
  bool transposed = false;  // the file stores [inputs, rank] and [rank, outputs]
  uint64_t rank = 0;
  double alpha = 0;  // equal to the rank where the file says nothing
  AlphaSource alpha_source = AlphaSource::none;
  double scale = 1;  // the user's scale * alpha / rank (rsLoRA: / sqrt(rank))
  Factor core = {};  // LoCon's lora_mid, [core.rows, rank]; empty: none
};

// W += s * value, or b += s * value: then the target's tensors are the biases.
struct Dense {
  std::string module = {};
  Target target =
      {};             // of a vector (bias, norm) the rows are its elements, and there is one column
  Factor value = {};  // [outputs, inputs]
  double scale = 1;
};

// LoHa: W += s * (first o second), element by element.
struct Hadamard {
  std::string module = {};
  Target target = {};
  Product first = {};
  Product second = {};
  uint64_t rank = 0;
  double alpha = 0;
  AlphaSource alpha_source = AlphaSource::none;
  double scale = 1;
};

// LoKr: W += s * (first (x) second), their Kronecker product.
struct Kronecker {
  std::string module = {};
  Target target = {};
  Product first = {};
  Product second = {};
  uint64_t rank = 0;  // 0: both factors are whole, and alpha says nothing
  double alpha = 0;
  AlphaSource alpha_source = AlphaSource::none;
  double scale = 1;
};

// DoRA. V = W + change; V' = V with every row (or column) made as long as its magnitude;
// W += s * (V' - W).
struct Dora {
  std::string module = {};
  Target target = {};
  std::variant<LowRank, Hadamard, Kronecker> change = {};  // its scale is alpha / rank alone
  Factor magnitude = {};                                   // a vector
  bool per_input = false;                                  // of columns, else of rows
  uint64_t rank = 0;
  double alpha = 0;
  AlphaSource alpha_source = AlphaSource::none;
  double scale = 1;  // the user's
};

// OFT of LyCORIS and kohya, and BOFT: W = R' * W with block-diagonal rotations of the outputs.
// Q = blocks - transposed, shrunk to the length `limit`; R = (I + Q) (I - Q)^-1, then s R + (1-s)
// I.
struct OutputRotation {
  std::string module = {};
  Target target = {};
  Factor blocks = {};   // [stages][count][size, size]
  uint64_t stages = 1;  // BOFT: each on another order of the rows
  uint64_t count = 0;   // outputs = count * size
  uint64_t size = 0;
  bool butterfly = false;  // BOFT: R is not transposed, and stage i pairs rows 2^i * size/2 apart
  bool limited = false;
  double limit = 0;     // of the Frobenius norm of all Q together
  Factor rescale = {};  // [outputs], multiplies the rows afterwards; empty: none
  double scale = 1;
};

// OFT of PEFT and OneTrainer: W = W * R' with block-diagonal rotations of the inputs.
struct InputRotation {
  std::string module = {};
  Target target = {};
  Factor triangles = {};  // [count or 1, size * (size - 1) / 2]: strictly above the diagonal of Q
  uint64_t count = 0;     // inputs = count * size
  uint64_t size = 0;
  uint64_t terms = 0;  // of Neumann's series for the inverse; 0: the inverse itself
  double divisor = 1;  // of the stored values
  double scale = 1;    // always: nothing else is defined
};

// W += s * (W * a1 * a2 + b1 * b2); a1 [inputs, rank], a2 [rank, inputs], b1 [outputs, rank].
struct Glora {
  std::string module = {};
  Target target = {};
  Factor a1 = {};
  Factor a2 = {};
  Factor b1 = {};
  Factor b2 = {};
  uint64_t rank = 0;
  double alpha = 0;
  AlphaSource alpha_source = AlphaSource::none;
  double scale = 1;
};

// IA3: rows (or columns) times 1 + s * value.
struct Ia3 {
  std::string module = {};
  Target target = {};
  Factor value = {};       // a vector
  bool per_input = false;  // of columns, else of rows
  double scale = 1;
};

// W = value, or b = value, whatever the scale.
struct Replacement {
  std::string module = {};
  Target target = {};
  Factor value = {};
  double scale = 1;  // always
};

using Update = std::variant<
    LowRank,
    Dense,
    Hadamard,
    Kronecker,
    Dora,
    OutputRotation,
    InputRotation,
    Glora,
    Ia3,
    Replacement>;

const Target& target_of(const Update& update);
const std::string& module_of(const Update& update);
double scale_of(const Update& update);                // what multiplies the change
std::string_view algorithm_of(const Update& update);  // for people: "LoRA", "LoKr + DoRA", ...
bool has_effect(const Update& update);                // false: the scale is 0 and counts

// Does the result depend on what other updates did before.
bool depends_on_order(const Update& update);

// Does a row of the result depend on other rows of the weight.
bool needs_whole_matrix(const Update& update);

}  // namespace mflux::lora

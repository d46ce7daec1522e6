// SPDX-License-Identifier: MIT
// The softmax of a row of scores that comes in pieces.
#pragma once

#include <cstddef>

namespace mflux::nn::cpu {

// Over all pieces so far: the largest score, and the sum of e^(score - largest).
struct SoftmaxRow {
  float largest;
  float sum;
};

// Replaces each score by e^(score + mask - largest), where `mask` may be null, and counts it in
// `row`. Values that were weighted with earlier pieces' results (`width` of them) are brought to
// the new largest score.
void softmax_piece(
    float* scores, const float* mask, size_t count, SoftmaxRow& row, float* weighted, size_t width);

// values[i] *= factor
void scale(float* values, size_t count, float factor);

}  // namespace mflux::nn::cpu

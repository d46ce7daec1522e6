// SPDX-License-Identifier: MIT
// The rotations of OFT: Cayley's map of skew-symmetric blocks, in double.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "mflux/lora/update.h"

namespace mflux::lora {

// Runs body(0) ... body(count - 1), in any order and on any threads.
using Parallel = std::function<void(uint64_t count, const std::function<void(uint64_t)>& body)>;

// R = (I + Q) (I - Q)^-1; out and q: [size, size].
void cayley(std::span<const double> q, uint64_t size, std::span<double> out);

// I + 2 Q + 2 Q^2 + ... + Q^(terms - 1), as PEFT cuts it: of three terms as of four.
void neumann(std::span<const double> q, uint64_t size, uint64_t terms, std::span<double> out);

// Every block transposed, [count or 1][size][size].
std::vector<double> input_rotations(const InputRotation& update);

// Every block as it multiplies the rows from the left, [stages][count][size][size]: strength, limit
// and transposition are in it.
std::vector<double> output_rotations(const OutputRotation& update, const Parallel& parallel);

}  // namespace mflux::lora

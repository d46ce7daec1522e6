// SPDX-License-Identifier: MIT
// The rotations of OFT: Cayley's map of skew-symmetric blocks, in double.
#pragma once

#include <cstdint>
#include <span>

namespace mflux::lora {

// R = (I + Q) (I - Q)^-1; out and q: [size, size].
void cayley(std::span<const double> q, uint64_t size, std::span<double> out);

// I + 2 Q + 2 Q^2 + ... + Q^(terms - 1), as PEFT cuts it: of three terms as of four.
void neumann(std::span<const double> q, uint64_t size, uint64_t terms, std::span<double> out);

void transpose(std::span<double> matrix, uint64_t size);

}  // namespace mflux::lora

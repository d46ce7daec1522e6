// SPDX-License-Identifier: MIT
// The LoRA product, in a fixed order of operations, so that every CPU and thread count gives the
// same bits.
#pragma once

#include <cstdint>
#include <span>

namespace mflux::kernels {

// Down factors are held in panels of 32 columns, so that what a block of the product reads lies
// together: packed[panel][k][column], the last panel filled up with zeros.
constexpr uint64_t kPanelColumns = 32;

uint64_t packed_down_size(uint64_t rank, uint64_t columns);  // floats

// down: [rank, columns].
void pack_down(
    std::span<const float> down, uint64_t rank, uint64_t columns, std::span<float> packed);

// delta[i][j] = sum over k of up[i][k] * down[k][j]: float32, k ascending, starting from 0, each
// step one fused multiply-add (a single rounding).
//
// up: [rows, rank], already multiplied by the LoRA's scale; down: of pack_down(); delta: [rows,
// columns], overwritten.
void low_rank_product(
    std::span<const float> up,
    std::span<const float> down,
    uint64_t rows,
    uint64_t rank,
    uint64_t columns,
    std::span<float> delta);

// w[i] += delta[i], float32.
void add(std::span<const float> delta, std::span<float> w);

}  // namespace mflux::kernels

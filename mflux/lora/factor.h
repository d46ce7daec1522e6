// SPDX-License-Identifier: MIT
// Matrices of a LoRA file, as they are stored, and their numbers as float32.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "mflux/base/joined_files.h"
#include "mflux/safetensors/header.h"

namespace mflux::lora {

enum class AlphaSource : uint8_t { tensor, metadata, adapter_config, none };

std::string_view alpha_source_name(AlphaSource source);  // "tensor", ..., "none"

// A matrix or vector of a file, as stored.
struct Factor {
  const safetensors::TensorInfo* info = nullptr;
  const JoinedFiles* file = nullptr;
  uint64_t rows = 0;
  uint64_t columns = 0;  // 1 for a vector

  bool empty() const { return info == nullptr; }
};

// A matrix as a file gives it: whole, or as up * core * down.
struct Product {
  Factor whole = {};
  Factor up = {};           // [rows, n]
  bool up_flipped = false;  // stored [n, rows], as next to a core
  Factor core = {};         // [n, rank]; empty: none
  Factor down = {};         // [rank, columns]
  uint64_t rows = 0;
  uint64_t columns = 0;
};

// Values [begin, begin + out.size()) in the order they are stored, times `scale`: the product in
// double, rounded once. They are read from the file each time.
void read_values(const Factor& factor, uint64_t begin, double scale, std::span<float> out);

// All of it.
std::vector<float> read_factor(const Factor& factor, double scale = 1);

// left [n, k] * right [k, m], summed in double in ascending k and rounded once.
std::vector<float> multiply(
    std::span<const float> left, std::span<const float> right, uint64_t n, uint64_t k, uint64_t m);

// Rows of up * core, times `scale`. `out`: [rows, rank].
void read_up(
    const Product& product, uint64_t first, uint64_t rows, double scale, std::span<float> out);

uint64_t rank_of(const Product& product);  // rows of `down`; 0 if it is whole

}  // namespace mflux::lora

// SPDX-License-Identifier: MIT
// What a tensor is before anyone computes with it: a dtype and a shape.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mflux {

// The dtypes of the safetensors format. Multi-byte values are little-endian.
enum class Dtype : uint8_t {
  f64,
  f32,
  f16,
  bf16,
  f8_e4m3,
  f8_e5m2,
  i64,
  i32,
  i16,
  i8,
  u64,
  u32,
  u16,
  u8,
  boolean,
};

using Shape = std::vector<uint64_t>;  // outermost dimension first

uint64_t dtype_bytes(Dtype dtype);                        // bytes of one element
std::string_view dtype_name(Dtype dtype);                 // "BF16", as safetensors spells it
std::optional<Dtype> parse_dtype(std::string_view name);  // none if the name is unknown
bool is_float(Dtype dtype);  // one of the five this program computes with, or f64

// Number of elements, or none if it does not fit 64 bits.
std::optional<uint64_t> element_count(const Shape& shape);

// "(3072, 9216)"; "()" for a scalar.
std::string to_string(const Shape& shape);

// How a tensor of a model is called in plans, receipts and messages:
// "transformer/x_embedder.weight".
std::string full_name(std::string_view component, std::string_view tensor);

// A tensor without its data.
struct TensorSpec {
  Dtype dtype = Dtype::f32;
  Shape shape = {};

  bool operator==(const TensorSpec&) const = default;
  // Rows are the outermost dimension: in a vector each element is one; a scalar is one row.
  uint64_t rows() const { return shape.empty() ? 1 : shape.front(); }
  uint64_t elements() const;      // throws Error if the shape is absurd
  uint64_t row_elements() const;  // elements() / rows(); 0 if there are no rows
  uint64_t bytes() const { return elements() * dtype_bytes(dtype); }
};

}  // namespace mflux

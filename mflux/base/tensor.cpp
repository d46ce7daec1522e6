// SPDX-License-Identifier: MIT
#include "mflux/base/tensor.h"

#include <array>
#include <utility>

#include <fmt/ranges.h>

#include "mflux/base/error.h"

namespace mflux {
namespace {

struct DtypeFacts {
  Dtype dtype;
  std::string_view name;
  uint64_t bytes;
};

constexpr std::array<DtypeFacts, 15> kDtypes = {{
    {Dtype::f64, "F64", 8},
    {Dtype::f32, "F32", 4},
    {Dtype::f16, "F16", 2},
    {Dtype::bf16, "BF16", 2},
    {Dtype::f8_e4m3, "F8_E4M3", 1},
    {Dtype::f8_e5m2, "F8_E5M2", 1},
    {Dtype::i64, "I64", 8},
    {Dtype::i32, "I32", 4},
    {Dtype::i16, "I16", 2},
    {Dtype::i8, "I8", 1},
    {Dtype::u64, "U64", 8},
    {Dtype::u32, "U32", 4},
    {Dtype::u16, "U16", 2},
    {Dtype::u8, "U8", 1},
    {Dtype::boolean, "BOOL", 1},
}};

const DtypeFacts& facts(Dtype dtype) {
  return kDtypes.at(static_cast<size_t>(dtype));
}

}  // namespace

uint64_t dtype_bytes(Dtype dtype) {
  return facts(dtype).bytes;
}

std::string_view dtype_name(Dtype dtype) {
  return facts(dtype).name;
}

std::optional<Dtype> parse_dtype(std::string_view name) {
  for (const DtypeFacts& f : kDtypes) {
    if (f.name == name) return f.dtype;
  }
  return std::nullopt;
}

bool is_float(Dtype dtype) {
  return dtype <= Dtype::f8_e5m2;
}

std::optional<uint64_t> element_count(const Shape& shape) {
  uint64_t count = 1;
  for (const uint64_t dimension : shape) {
    if (__builtin_mul_overflow(count, dimension, &count)) return std::nullopt;
  }
  return count;
}

std::string full_name(std::string_view component, std::string_view tensor) {
  return fmt::format("{}/{}", component, tensor);
}

std::string to_string(const Shape& shape) {
  return fmt::format("({})", fmt::join(shape, ", "));
}

uint64_t TensorSpec::elements() const {
  const std::optional<uint64_t> count = element_count(shape);
  if (!count) fail("shape {} has more elements than 64 bits can count", to_string(shape));
  return *count;
}

uint64_t TensorSpec::row_elements() const {
  return rows() == 0 ? 0 : elements() / rows();
}

}  // namespace mflux

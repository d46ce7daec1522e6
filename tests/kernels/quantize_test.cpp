// SPDX-License-Identifier: MIT
// Against tests/data/quantize/mlx.safetensors, which tests/oracle/quantize_oracle.py wrote with
// MLX.
#include "mflux/kernels/quantize.h"

#include <cmath>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "mflux/kernels/convert.h"
#include "mflux/safetensors/header.h"
#include "tests/kernels/float_reference.h"
#include "tests/kernels/numbers.h"
#include "tests/kernels/targets.h"
#include "tests/testing.h"

namespace mflux::kernels::testing {
namespace {

using Bytes = std::vector<std::byte>;

struct Oracle {
  std::map<std::string, mflux::testing::TestTensor> tensors = {};

  const mflux::testing::TestTensor& at(const std::string& name) const {
    REQUIRE_MESSAGE(tensors.count(name) == 1, name);
    return tensors.at(name);
  }
};

Oracle load_oracle() {
  const File file =
      File::open(std::filesystem::path(MFLUX_TEST_DATA) / "quantize" / "mlx.safetensors");
  Oracle oracle;
  for (const safetensors::TensorInfo& info : safetensors::read_header(file).tensors) {
    Bytes data(info.bytes);
    file.read(info.offset, data);
    oracle.tensors[info.name] = {info.name, info.spec, std::move(data)};
  }
  return oracle;
}

std::vector<QuantFormat> all_formats() {
  std::vector<QuantFormat> formats;
  for (const int bits : {2, 3, 4, 5, 6, 8}) {
    for (const int group : {32, 64, 128}) {
      formats.push_back(make_quant_format(QuantMode::affine, bits, group));
    }
  }
  for (const QuantMode mode : {QuantMode::mxfp4, QuantMode::mxfp8, QuantMode::nvfp4}) {
    formats.push_back(make_quant_format(mode, {}, {}));
  }
  return formats;
}

std::string key_of(const QuantFormat& format) {
  return fmt::format("{}-{}-{}", quant_mode_name(format.mode), format.bits, format.group_size);
}

struct Packed {
  Bytes packed;
  Bytes scales;
  Bytes biases;

  bool operator==(const Packed&) const = default;
};

Packed quantized(
    const QuantFormat& format, const std::vector<float>& w, Dtype dtype, Rounding rounding) {
  const size_t scale_bytes = format.has_biases() ? dtype_bytes(dtype) : 1;
  Packed out;
  out.packed.resize(format.packed_columns(w.size()) * 4);
  out.scales.resize(format.groups(w.size()) * scale_bytes);
  if (format.has_biases()) out.biases.resize(out.scales.size());
  quantize(format, w, dtype, rounding, {out.packed, out.scales, out.biases});
  return out;
}

std::vector<float> dequantized(
    const QuantFormat& format, const Packed& in, Dtype dtype, size_t count) {
  std::vector<float> out(count);
  dequantize(format, {in.packed, in.scales, in.biases}, dtype, out);
  return out;
}

Packed expected(
    const Oracle& oracle, const QuantFormat& format, Dtype dtype, std::string_view rounding) {
  const std::string prefix = fmt::format("{}.{}.{}.", key_of(format), dtype_name(dtype), rounding);
  const Bytes biases = format.has_biases() ? oracle.at(prefix + "biases").data : Bytes();
  return {oracle.at(prefix + "packed").data, oracle.at(prefix + "scales").data, biases};
}

std::vector<float> weight(const Oracle& oracle, Dtype dtype) {
  const auto& tensor = oracle.at(fmt::format("weight.{}", dtype_name(dtype)));
  REQUIRE(tensor.spec == TensorSpec{dtype, {12, 256}});
  std::vector<float> values(12 * 256);
  to_float32(dtype, tensor.data, values);
  return values;
}

constexpr Dtype kDtypes[] = {Dtype::f32, Dtype::bf16, Dtype::f16};

TEST_CASE("stored weights are packed as mx.quantize packs them, in all 21 formats") {
  const Oracle oracle = load_oracle();
  CHECK(all_formats().size() == 21);
  for (const QuantFormat& format : all_formats()) {
    for (const Dtype dtype : kDtypes) {
      CAPTURE(key_of(format));
      CAPTURE(dtype_name(dtype));
      const std::vector<float> w = weight(oracle, dtype);
      const Packed theirs = expected(oracle, format, dtype, "exact");
      for_each_target([&] {
        const Packed ours = quantized(format, w, dtype, Rounding::exact_scales);
        CHECK(ours.packed == theirs.packed);
        CHECK(ours.scales == theirs.scales);
        CHECK(ours.biases == theirs.biases);
      });
    }
  }
}

TEST_CASE("baked sums keep mx.quantize's scales, cast, and codes rounded against the cast ones") {
  const Oracle oracle = load_oracle();
  const std::vector<float> w = weight(oracle, Dtype::f32);
  for (const QuantFormat& format : all_formats()) {
    for (const Dtype dtype : kDtypes) {
      CAPTURE(key_of(format));
      CAPTURE(dtype_name(dtype));
      // The fp modes have no scales in the model's dtype: theirs is the float32 result.
      const Packed theirs = format.has_biases() ? expected(oracle, format, dtype, "stored")
                                                : expected(oracle, format, Dtype::f32, "exact");
      for_each_target([&] {
        const Packed ours = quantized(format, w, dtype, Rounding::stored_scales);
        CHECK(ours.packed == theirs.packed);
        CHECK(ours.scales == theirs.scales);
        CHECK(ours.biases == theirs.biases);
      });
    }
  }
}

uint32_t code_at(const Bytes& packed, int bits, size_t index) {
  uint32_t code = 0;
  for (size_t b = 0; b < static_cast<size_t>(bits); ++b) {
    const size_t n = index * static_cast<size_t>(bits) + b;
    code |= (std::to_integer<uint32_t>(packed[n / 8]) >> (n % 8) & 1U) << b;
  }
  return code;
}

std::vector<float> scalars(const Bytes& bytes, Dtype dtype) {
  std::vector<float> values(bytes.size() / dtype_bytes(dtype));
  to_float32(dtype, bytes, values);
  return values;
}

// What one code stands for, by the definition of the format.
float value_of(const QuantFormat& format, const Packed& in, Dtype dtype, size_t index) {
  const uint32_t code = code_at(in.packed, format.bits, index);
  const size_t group = index / static_cast<size_t>(format.group_size);
  if (format.mode == QuantMode::affine) {
    const float product = static_cast<float>(code) * scalars(in.scales, dtype)[group];
    return product + scalars(in.biases, dtype)[group];
  }
  const auto scale_bits = std::to_integer<uint32_t>(in.scales[group]);
  const double scale = format.mode == QuantMode::nvfp4
                           ? decode(kE4m3, scale_bits, false)
                           : std::ldexp(1.0, static_cast<int>(scale_bits) - 127);
  const double value = format.bits == 8 ? decode(kE4m3, code, false) : decode(kE2m1, code, false);
  return static_cast<float>(value * scale);
}

TEST_CASE("packed weights stand for code * scale + bias, or for their tables' values") {
  const Oracle oracle = load_oracle();
  for (const QuantFormat& format : all_formats()) {
    for (const Dtype dtype : kDtypes) {
      CAPTURE(key_of(format));
      CAPTURE(dtype_name(dtype));
      const Packed packed = expected(oracle, format, dtype, "exact");
      constexpr size_t kCount = 12 * 256;
      std::vector<float> reference(kCount);
      for (size_t i = 0; i < kCount; i += 7) reference[i] = value_of(format, packed, dtype, i);
      for_each_target([&] {
        const std::vector<float> values = dequantized(format, packed, dtype, kCount);
        size_t wrong = 0;
        for (size_t i = 0; i < kCount; i += 7) wrong += values[i] == reference[i] ? 0U : 1U;
        CHECK(wrong == 0);
      });
    }
  }
}

TEST_CASE("every target packs the same bytes") {
  const std::vector<float> w = wide_numbers(1024 * 70, 31);  // 70 rows of 1024: more than a chunk
  for (const QuantFormat& format : all_formats()) {
    for (const Rounding rounding : {Rounding::exact_scales, Rounding::stored_scales}) {
      CAPTURE(key_of(format));
      Packed first;
      for_each_target([&] {
        Packed packed = quantized(format, w, Dtype::bf16, rounding);
        if (first.packed.empty())
          first = std::move(packed);
        else
          CHECK((packed == first));
      });
    }
  }
}

TEST_CASE("a row's packing does not depend on the rows around it") {
  const std::vector<float> w = wide_numbers(256 * 9, 32);
  for (const QuantFormat& format : all_formats()) {
    CAPTURE(key_of(format));
    const Packed together = quantized(format, w, Dtype::bf16, Rounding::exact_scales);
    Packed apart;
    for (size_t row = 0; row < 9; ++row) {
      const std::vector<float> one(
          w.begin() + static_cast<std::ptrdiff_t>(256 * row),
          w.begin() + static_cast<std::ptrdiff_t>(256 * (row + 1)));
      const Packed packed = quantized(format, one, Dtype::bf16, Rounding::exact_scales);
      apart.packed.insert(apart.packed.end(), packed.packed.begin(), packed.packed.end());
      apart.scales.insert(apart.scales.end(), packed.scales.begin(), packed.scales.end());
      apart.biases.insert(apart.biases.end(), packed.biases.begin(), packed.biases.end());
    }
    CHECK((together == apart));
  }
}

}  // namespace
}  // namespace mflux::kernels::testing

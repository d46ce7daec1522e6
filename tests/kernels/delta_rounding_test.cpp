// SPDX-License-Identifier: MIT
#include "mflux/kernels/delta_rounding.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "mflux/kernels/statistics.h"
#include "tests/kernels/numbers.h"
#include "tests/kernels/targets.h"

namespace mflux::kernels::testing {
namespace {

constexpr size_t kColumns = 3072;
constexpr float kDeviation = 0.02F;

struct Packed {
  std::vector<std::byte> packed, scales, biases;
  bool operator==(const Packed&) const = default;
  operator ConstPackedRows() const { return {packed, scales, biases}; }
  operator PackedRows() { return {packed, scales, biases}; }
};

Packed room_for(const QuantFormat& format, size_t count) {
  const size_t scale_bytes = format.has_biases() ? 2 : 1;
  Packed room;
  room.packed.resize(format.packed_columns(count) * 4);
  room.scales.resize(format.groups(count) * scale_bytes);
  if (format.has_biases()) room.biases.resize(room.scales.size());
  return room;
}

std::vector<QuantFormat> all_formats() {
  std::vector<QuantFormat> formats;
  for (const int bits : {2, 3, 4, 5, 6, 8}) {
    for (const int group : {32, 64, 128})
      formats.push_back(make_quant_format(QuantMode::affine, bits, group));
  }
  for (const QuantMode mode : {QuantMode::mxfp4, QuantMode::mxfp8, QuantMode::nvfp4})
    formats.push_back(make_quant_format(mode, {}, {}));
  return formats;
}

// Nearly normal, the same on every machine.
std::vector<float> normal_numbers(size_t count, float deviation, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<float> values(count);
  for (float& value : values) {
    float sum = -6;
    for (int i = 0; i < 12; ++i) sum += static_cast<float>(random() >> 8) * 0x1p-24F;
    value = sum * deviation;
  }
  return values;
}

std::vector<float> low_rank_delta(size_t rows, size_t rank, float deviation, uint32_t seed) {
  const std::vector<float> up = normal_numbers(rows * rank, 1, seed);
  const std::vector<float> down = normal_numbers(rank * kColumns, deviation, seed + 1);
  std::vector<float> delta(rows * kColumns);
  for (size_t i = 0; i < rows; ++i) {
    for (size_t k = 0; k < rank; ++k) {
      for (size_t j = 0; j < kColumns; ++j)
        delta[i * kColumns + j] +=
            up[i * rank + k] * down[k * kColumns + j] / std::sqrt(static_cast<float>(rank));
    }
  }
  return delta;
}

std::vector<float> decoded(const QuantFormat& format, const Packed& in, size_t count) {
  std::vector<float> out(count);
  dequantize(format, in, Dtype::bf16, out);
  return out;
}

// A packed base with an addition.
struct Case {
  QuantFormat format = {};
  std::vector<float> delta = {};
  Packed base = {};
  std::vector<float> exact = {};

  Case(const QuantFormat& chosen, std::vector<float> addition, uint32_t seed = 7)
      : format(chosen), delta(std::move(addition)), base(room_for(chosen, delta.size())) {
    quantize(
        format,
        normal_numbers(delta.size(), kDeviation, seed),
        Dtype::bf16,
        Rounding::stored_scales,
        base);
    exact = decoded(format, base, delta.size());
    for (size_t i = 0; i < exact.size(); ++i) exact[i] += delta[i];
  }

  Packed nearest() const {
    Packed out = room_for(format, exact.size());
    quantize(format, exact, Dtype::bf16, Rounding::stored_scales, out);
    return out;
  }

  // Row by row, as a save does for rows of this width.
  Packed keeping_delta(bool from_base = true) const {
    Packed out = room_for(format, exact.size());
    const size_t rows = exact.size() / kColumns;
    DeltaRounding rounding;
    for (size_t row = 0; row < rows; ++row) {
      const auto part = [&](auto&& bytes) {
        const size_t size = bytes.size() / rows;
        return std::span(bytes).subspan(row * size, size);
      };
      const ConstPackedRows grid = {part(base.packed), part(base.scales), part(base.biases)};
      rounding.quantize(
          format,
          part(exact),
          part(delta),
          Dtype::bf16,
          from_base ? grid : ConstPackedRows(),
          {part(out.packed), part(out.scales), part(out.biases)});
    }
    return out;
  }

  std::vector<float> error(const Packed& stored) const {
    std::vector<float> error = decoded(format, stored, exact.size());
    for (size_t i = 0; i < exact.size(); ++i) error[i] -= exact[i];
    return error;
  }

  double kept(const Packed& stored, const std::vector<float>& of) const {
    const Projection sums = project(error(stored), of, exact.size() / kColumns, kColumns);
    return 1 + sums.cross / sums.norm;
  }

  double relative_error(const Packed& stored) const {
    double squares = 0;
    double all = 0;
    const std::vector<float> difference = error(stored);
    for (size_t i = 0; i < exact.size(); ++i) {
      squares += std::pow(static_cast<double>(difference[i]), 2);
      all += std::pow(static_cast<double>(exact[i]), 2);
    }
    return std::sqrt(squares / all);
  }
};

std::span<const std::byte> slice(const std::vector<std::byte>& bytes, size_t index, size_t parts) {
  const size_t size = bytes.size() / parts;
  return std::span(bytes).subspan(index * size, size);
}

// Every value that a group can store, ascending: of a group in which each code occurs.
std::vector<float> values_of(
    const QuantFormat& format, const Packed& in, size_t group, size_t groups) {
  const auto size = static_cast<size_t>(format.group_size);
  const auto bits = static_cast<size_t>(format.bits);
  std::vector<float> values;
  for (size_t begin = 0; begin < size_t{1} << bits; begin += size) {
    std::vector<std::byte> packed(size * bits / 8);
    for (size_t at = 0; at < size * bits; ++at) {
      if (((begin + at / bits) >> (at % bits) & 1) != 0) packed[at / 8] |= std::byte(1 << at % 8);
    }
    std::vector<float> some(size);
    const auto biases =
        format.has_biases() ? slice(in.biases, group, groups) : std::span<const std::byte>();
    dequantize(format, {packed, slice(in.scales, group, groups), biases}, Dtype::bf16, some);
    values.insert(values.end(), some.begin(), some.end());
  }
  std::erase_if(values, [](float value) { return !std::isfinite(value); });
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  return values;
}

// The definition in docs/numerics.md, from the values of the nearest codes on: which values are
// stored in the end.
std::vector<float> by_definition(const QuantFormat& format, const Packed& start, const Case& item) {
  struct Step {
    float cost, gain, value;
    size_t element;
  };
  std::vector<float> stored = decoded(format, start, item.exact.size());
  std::vector<float> error(stored.size());
  for (size_t i = 0; i < error.size(); ++i) error[i] = stored[i] - item.exact[i];
  const double cross = project(error, item.delta, 1, error.size()).cross;
  std::vector<Step> steps;
  std::vector<float> values;
  for (size_t i = 0; i < stored.size(); ++i) {
    const auto size_of_group = static_cast<size_t>(format.group_size);
    if (i % size_of_group == 0)
      values = values_of(format, start, i / size_of_group, stored.size() / size_of_group);
    const bool up = (item.delta[i] > 0) == (cross < 0);
    const auto here = std::lower_bound(values.begin(), values.end(), stored[i]);
    REQUIRE(*here == stored[i]);
    if (item.delta[i] == 0 || (up ? here + 1 == values.end() : here == values.begin())) continue;
    const float next = up ? *(here + 1) : *(here - 1);
    const float step = std::fabs(next - stored[i]);
    const float size = std::fabs(item.delta[i]);
    const float cost = std::max(0.0F, (step / 2 + (up ? error[i] : -error[i])) / size);
    steps.push_back({cost, step * size, next, i});
  }
  std::stable_sort(
      steps.begin(), steps.end(), [](const Step& a, const Step& b) { return a.cost < b.cost; });
  double missing = std::fabs(cross);
  for (const Step& step : steps) {
    if (std::fabs(missing - static_cast<double>(step.gain)) > missing) break;
    stored[step.element] = step.value;
    missing -= static_cast<double>(step.gain);
    if (missing <= 0) break;
  }
  return stored;
}

TEST_CASE("codes move as the definition says, in every format and on every target") {
  for (const QuantFormat& format : all_formats()) {
    CAPTURE(to_string(format));
    std::vector<float> delta = low_rank_delta(1, 4, 0.03F * kDeviation, 11);
    std::fill_n(delta.begin() + 100, 50, 0.0F);
    const Case item(format, delta);
    const std::vector<float> expected = by_definition(format, item.nearest(), item);
    for_each_target([&] {
      const Packed stored = item.keeping_delta(false);
      CHECK(bits_of(decoded(format, stored, kColumns)) == bits_of(expected));
      CHECK(stored.scales == item.nearest().scales);
      CHECK(stored.biases == item.nearest().biases);
    });
  }
}

TEST_CASE("every target takes the same grids from a packed base") {
  for (const QuantFormat& format : all_formats()) {
    CAPTURE(to_string(format));
    const Case item(format, low_rank_delta(2, 4, 0.05F * kDeviation, 3));
    const Packed first = item.keeping_delta();
    for_each_target([&] { CHECK(item.keeping_delta() == first); });
  }
}

TEST_CASE("a packed base keeps its additions at the same size and about the same error") {
  for (const QuantFormat& format : all_formats()) {
    for (const float share : {0.01F, 0.05F}) {
      CAPTURE(to_string(format));
      CAPTURE(share);
      const Case item(format, low_rank_delta(8, 16, share * kDeviation, 5));
      const Packed stored = item.keeping_delta();
      CHECK(item.kept(stored, item.delta) == doctest::Approx(1).epsilon(0.02));
      // Where nearest rounding lost everything, what survives costs some error.
      if (format.bits >= 4 && format.mode == QuantMode::affine)
        CHECK(item.relative_error(stored) < 1.3 * item.relative_error(item.nearest()));
    }
  }
}

TEST_CASE("nearest rounding at 4 bits loses what delta rounding keeps") {
  const QuantFormat format = make_quant_format(QuantMode::affine, 4, 64);
  const Case item(format, low_rank_delta(8, 16, 0.01F * kDeviation, 5));
  CHECK(item.kept(item.nearest(), item.delta) < 0.3);
  CHECK(item.kept(item.keeping_delta(), item.delta) > 0.98);
}

TEST_CASE("each of several LoRAs survives, the weak ones too") {
  const QuantFormat format = make_quant_format(QuantMode::affine, 4, 64);
  const std::vector<std::vector<float>> deltas = {
      low_rank_delta(32, 16, 0.02F * kDeviation, 21),
      low_rank_delta(32, 32, 0.01F * kDeviation, 22),
      low_rank_delta(32, 8, 0.01F * kDeviation, 23)};
  std::vector<float> sum(deltas[0].size());
  for (const auto& delta : deltas) {
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += delta[i];
  }
  const Case item(format, sum);
  for (const auto& delta : deltas)
    CHECK(item.kept(item.keeping_delta(), delta) == doctest::Approx(1).epsilon(0.05));
}

TEST_CASE("a group stays on its old grid until the addition leaves the range") {
  const QuantFormat format = make_quant_format(QuantMode::affine, 4, 64);
  std::vector<float> delta = normal_numbers(kColumns, 0.005F * kDeviation, 31);
  delta[70] = 20 * kDeviation;
  const Case item(format, delta);
  const Packed stored = item.keeping_delta();
  CHECK(std::equal(stored.scales.begin(), stored.scales.begin() + 2, item.base.scales.begin()));
  CHECK_FALSE(std::equal(
      stored.scales.begin() + 2, stored.scales.begin() + 4, item.base.scales.begin() + 2));
  CHECK(std::fabs(item.error(stored)[70]) < kDeviation);
}

TEST_CASE("nothing added leaves a packed base as it is") {
  for (const QuantFormat& format : all_formats()) {
    CAPTURE(to_string(format));
    const Case item(format, std::vector<float>(kColumns));
    CHECK(
        bits_of(decoded(format, item.keeping_delta(), kColumns)) ==
        bits_of(decoded(format, item.base, kColumns)));
  }
}

}  // namespace
}  // namespace mflux::kernels::testing

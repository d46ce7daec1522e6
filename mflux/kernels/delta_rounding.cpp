// SPDX-License-Identifier: MIT
// Nearest rounding first. Then the projection of the error on the addition is summed up, and every
// code whose neighbour would lessen it becomes a candidate in a heap, from which the cheapest are
// taken until they make up for it. Memory: one candidate for each weight that the addition touches.
#include "mflux/kernels/delta_rounding.h"

#include <algorithm>
#include <cmath>

#include "mflux/kernels/float_bits.h"
#include "mflux/kernels/microscaling.h"
#include "mflux/kernels/pack.h"
#include "mflux/kernels/statistics.h"

namespace mflux::kernels {
namespace {

// Codes of a group in the order of their values; a step is +1 or -1 along that order.
struct AffineGroup {
  float scale = 0;
  float bias = 0;
  int top = 0;

  // The code whose value is the next one up or down, or -1.
  int neighbour(uint8_t code, bool up) const {
    const int next = code + (up == (scale > 0) ? 1 : -1);
    return next < 0 || next > top ? -1 : next;
  }
  float value(int code) const {
    const float product = static_cast<float>(code) * scale;
    return product + bias;
  }
};

// Sign and magnitude; both zeros stand for 0.
template <int kSign, int kTop>
struct FloatGroup {
  float scale = 0;

  static int rank(int code) { return code >= kSign ? kSign - code : code; }
  int neighbour(uint8_t code, bool up) const {
    const int next = rank(code) + (up ? 1 : -1);
    if (next < -kTop || next > kTop) return -1;
    return next < 0 ? kSign - next : next;
  }
  float value(int code) const {
    const auto byte = static_cast<uint8_t>(code);
    return (kSign == 8 ? e2m1_to_float(byte) : e4m3_to_float(byte)) * scale;
  }
};
using E2m1Group = FloatGroup<8, 7>;
using E4m3Group = FloatGroup<128, 126>;  // 127 is NaN

// Sixteen sums side by side, so that the compiler may use vectors.
float squared_distance(std::span<const float> a, std::span<const float> b) {
  constexpr size_t kLanes = 16;
  float lanes[kLanes] = {};
  for (size_t i = 0; i < a.size(); i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      const float distance = a[i + lane] - b[i + lane];
      lanes[lane] += distance * distance;
    }
  }
  float sum = 0;
  for (const float lane : lanes) sum += lane;
  return sum;
}

template <int kBits>
struct Packing {
  static void unpack(std::span<const std::byte> in, std::span<uint8_t> codes) {
    unpack_codes<kBits>(in.data(), codes.size(), codes.data());
  }
  static void pack(std::span<const uint8_t> codes, std::span<std::byte> out) {
    pack_codes<kBits>(codes.data(), codes.size(), out.data());
  }
};

// Calls `body` with the Packing of that many bits.
template <typename Body>
void with_packing(int bits, Body body) {
  switch (bits) {
    case 2:
      return body(Packing<2>());
    case 3:
      return body(Packing<3>());
    case 4:
      return body(Packing<4>());
    case 5:
      return body(Packing<5>());
    case 6:
      return body(Packing<6>());
    default:
      return body(Packing<8>());
  }
}

}  // namespace

void DeltaRounding::quantize(
    const QuantFormat& format,
    std::span<const float> exact,
    std::span<const float> delta,
    Dtype dtype,
    ConstPackedRows base,
    PackedRows out) {
  kernels::quantize(format, exact, dtype, Rounding::stored_scales, out);
  if (!base.packed.empty()) take_nearer_grids(format, exact, dtype, base, out);
  move_codes(format, exact, delta, dtype, out);
}

// A base that was quantized lies on its own grid exactly; a new fit would round all of it again.
// The fit wins where the addition leaves the old range.
void DeltaRounding::take_nearer_grids(
    const QuantFormat& format,
    std::span<const float> exact,
    Dtype dtype,
    ConstPackedRows base,
    PackedRows out) {
  const auto group_size = static_cast<size_t>(format.group_size);
  const size_t groups = exact.size() / group_size;
  stored_.resize(exact.size());
  base_stored_.resize(exact.size());
  packed_.resize(out.packed.size());
  dequantize(format, {out.packed, out.scales, out.biases}, dtype, stored_);
  std::vector<std::byte> scales(base.scales.begin(), base.scales.end());
  std::vector<std::byte> biases(base.biases.begin(), base.biases.end());
  quantize_on_grid(format, exact, dtype, {packed_, scales, biases});
  dequantize(format, {packed_, scales, biases}, dtype, base_stored_);
  const auto copy = [&](std::span<const std::byte> from, std::span<std::byte> to, size_t group) {
    const size_t bytes = to.size() / groups;
    std::copy_n(from.data() + group * bytes, bytes, to.data() + group * bytes);
  };
  for (size_t group = 0; group < groups; ++group) {
    const auto part = [&](std::span<const float> values) {
      return values.subspan(group * group_size, group_size);
    };
    const float fitted = squared_distance(part(exact), part(stored_));
    const float kept = squared_distance(part(exact), part(base_stored_));
    if (!(kept <= fitted)) continue;
    copy(packed_, out.packed, group);
    copy(scales, out.scales, group);
    if (!out.biases.empty()) copy(biases, out.biases, group);
  }
}

void DeltaRounding::move_codes(
    const QuantFormat& format,
    std::span<const float> exact,
    std::span<const float> delta,
    Dtype dtype,
    PackedRows out) {
  stored_.resize(exact.size());
  error_.resize(exact.size());
  codes_.resize(exact.size());
  dequantize(format, {out.packed, out.scales, out.biases}, dtype, stored_);
  for (size_t i = 0; i < exact.size(); ++i) error_[i] = stored_[i] - exact[i];
  const double cross = project(error_, delta, 1, exact.size()).cross;
  if (cross == 0) return;
  with_packing(format.bits, [&](auto packing) { packing.unpack(out.packed, codes_); });
  moves_.clear();
  const auto group_size = static_cast<size_t>(format.group_size);
  for (size_t begin = 0; begin < exact.size(); begin += group_size) {
    const size_t end = begin + group_size;
    const size_t index = begin / group_size;
    if (format.mode == QuantMode::affine) {
      const AffineGroup group{
          load_float(dtype, out.scales.data(), index),
          load_float(dtype, out.biases.data(), index),
          (1 << format.bits) - 1};
      collect_moves(group, begin, end, delta, cross < 0);
    } else {
      const float scale = microscaling_scale(format.mode, out.scales[index]);
      if (format.bits == 8) collect_moves(E4m3Group{scale}, begin, end, delta, cross < 0);
      if (format.bits == 4) collect_moves(E2m1Group{scale}, begin, end, delta, cross < 0);
    }
  }
  if (!make_moves(std::fabs(cross))) return;
  with_packing(format.bits, [&](auto packing) { packing.pack(codes_, out.packed); });
}

// Every element's step to the neighbour on the side that the projection lacks.
template <typename Group>
void DeltaRounding::collect_moves(
    const Group& group,
    size_t begin,
    size_t end,
    std::span<const float> delta,
    bool raise_projection) {
  for (size_t i = begin; i < end; ++i) {
    if (delta[i] == 0) continue;
    const bool up = (delta[i] > 0) == raise_projection;
    const int next = group.neighbour(codes_[i], up);
    if (next < 0) continue;
    const float step = std::fabs(group.value(next) - stored_[i]);
    if (step == 0) continue;
    const float size = std::fabs(delta[i]);
    const float to_border = step / 2 + (up ? error_[i] : -error_[i]);
    moves_.push_back(
        {std::max(0.0F, to_border / size),
         step * size,
         static_cast<uint32_t>(i),
         static_cast<uint8_t>(next)});
  }
}

// The cheapest moves first, as long as each brings the projection nearer to what is wanted.
bool DeltaRounding::make_moves(double wanted) {
  const auto later = [](const Move& a, const Move& b) {
    return a.cost != b.cost ? a.cost > b.cost : a.element > b.element;
  };
  std::make_heap(moves_.begin(), moves_.end(), later);
  double gained = 0;
  bool moved = false;
  while (!moves_.empty()) {
    const Move move = moves_.front();
    const double after = gained + static_cast<double>(move.gain);
    if (after - wanted > wanted - gained) break;
    codes_[move.element] = move.code;
    moved = true;
    gained = after;
    if (gained >= wanted) break;
    std::pop_heap(moves_.begin(), moves_.end(), later);
    moves_.pop_back();
  }
  return moved;
}

}  // namespace mflux::kernels

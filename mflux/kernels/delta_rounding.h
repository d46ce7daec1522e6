// SPDX-License-Identifier: MIT
// Rounding that keeps what was added to a weight.
//
// Nearest rounding loses an addition that is small against a step: the sum rounds back to where the
// base was. Here as many codes as needed move on to the neighbouring code, so that what is stored
// has the right projection on the addition: <stored - exact, delta> = 0 over the rows given. Those
// move first that gain the most projection for their squared error. See docs/numerics.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "mflux/kernels/quantize.h"

namespace mflux::kernels {

// The buffers stay between calls.
class DeltaRounding {
 public:
  // exact: whole rows, all finite, base + delta. delta: what was added, of the same size.
  // base: the packed rows it was added to, of the same format and dtype; empty if it was not packed
  // so. The result depends on the arguments alone; all rows given share their projection.
  void quantize(
      const QuantFormat& format,
      std::span<const float> exact,
      std::span<const float> delta,
      Dtype dtype,
      ConstPackedRows base,
      PackedRows out);

 private:
  struct Move {
    float cost = 0;  // squared error added per projection gained, less than for any later move
    float gain = 0;
    uint32_t element = 0;
    uint8_t code = 0;
  };

  void take_nearer_grids(
      const QuantFormat& format,
      std::span<const float> exact,
      Dtype dtype,
      ConstPackedRows base,
      PackedRows out);
  void move_codes(
      const QuantFormat& format,
      std::span<const float> exact,
      std::span<const float> delta,
      Dtype dtype,
      PackedRows out);
  template <typename Group>
  void collect_moves(
      const Group& group,
      size_t begin,
      size_t end,
      std::span<const float> delta,
      bool raise_projection);
  bool make_moves(double wanted);

  std::vector<std::byte> packed_ = {};  // on the base's grid
  std::vector<float> stored_ = {};
  std::vector<float> error_ = {};
  std::vector<float> base_stored_ = {};
  std::vector<uint8_t> codes_ = {};
  std::vector<Move> moves_ = {};
};

}  // namespace mflux::kernels

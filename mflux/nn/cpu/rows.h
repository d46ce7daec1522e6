// SPDX-License-Identifier: MIT
// Reading arrays of MLX's whatever their layout (slices, transposed and broadcast arrays come as
// they are), and dividing their rows among threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "mflux/base/tensor.h"
#include "mflux/nn/mlx.h"

namespace mflux::nn::cpu {

Dtype dtype_of(const mx::array& x);

// The rows of a float32 array: its last axis, for every index of the axes before, in order.
class Rows {
 public:
  explicit Rows(const mx::array& x);
  Rows(Rows&&) = default;  // a moved copy_ stays where it is
  Rows(const Rows&) = delete;
  Rows& operator=(const Rows&) = delete;

  size_t count() const { return count_; }
  size_t width() const { return width_; }
  const float* operator[](size_t row) const;
  // Floats from each row to the next, where that is one number and no less than the width.
  std::optional<size_t> stride() const;

 private:
  struct Axis {
    size_t size;
    int64_t stride;
  };

  const float* data_;
  size_t count_ = 1;
  size_t width_ = 1;
  std::vector<Axis> axes_ = {};   // before the last, neighbours joined where they can be
  std::vector<float> copy_ = {};  // where values of a row are not neighbours
};

// The bytes of an array in order, copied if they are not already.
class Packed {
 public:
  explicit Packed(const mx::array& x);
  Packed(Packed&&) = default;
  Packed(const Packed&) = delete;
  Packed& operator=(const Packed&) = delete;
  std::span<const std::byte> bytes() const { return bytes_; }
  // Of a float32 array.
  const float* floats() const { return reinterpret_cast<const float*>(bytes_.data()); }

 private:
  std::span<const std::byte> bytes_ = {};
  std::vector<std::byte> copy_ = {};
};

// Calls use(begin, end) for ranges of rows of `width` floats, from several threads, until all
// `count` rows are done. Ranges are large enough to be worth a task.
void each_rows(
    size_t count, size_t width, const std::function<void(size_t begin, size_t end)>& use);

}  // namespace mflux::nn::cpu

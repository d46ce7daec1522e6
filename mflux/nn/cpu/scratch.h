// SPDX-License-Identifier: MIT
// Memory for intermediate values that is used again by whoever comes next: fresh memory is dear,
// because every page of it faults.
#pragma once

#include <cstddef>
#include <memory>

namespace mflux::nn::cpu {

// `size` floats until the end of the scope, uninitialized. Any thread may make one at any time.
class Scratch {
 public:
  explicit Scratch(size_t size);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  float* data() const { return block_.data.get(); }

  struct Block {
    std::unique_ptr<float[]> data = {};
    size_t size = 0;
  };

 private:
  Block block_ = {};
};

// The same for values of T.
template <typename T>
class ScratchOf {
 public:
  explicit ScratchOf(size_t size)
      : floats_((size * sizeof(T) + sizeof(float) - 1) / sizeof(float)) {}

  T* data() const { return reinterpret_cast<T*>(floats_.data()); }

 private:
  Scratch floats_;
};

}  // namespace mflux::nn::cpu

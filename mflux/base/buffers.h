// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace mflux {

// The first `size` values of a buffer that grows and never shrinks: page faults cost more than the
// arithmetic on it.
template <typename T>
std::span<T> resized(std::vector<T>& buffer, uint64_t size) {
  if (buffer.size() < size) buffer.resize(size);
  return std::span<T>(buffer.data(), size);
}

}  // namespace mflux

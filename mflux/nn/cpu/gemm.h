// SPDX-License-Identifier: MIT
// Float32 products of matrices, each on the calling thread alone: our callers divide the work
// themselves, the same way for any number of threads.
#pragma once

#include <cstddef>

namespace mflux::nn::cpu {

// Values of a row are neighbours; `stride` values from each row to the next.
template <typename T>
struct MatrixOf {
  const T* data;
  size_t stride;
};
using Matrix = MatrixOf<float>;

// c [m, n] += factor * a [m, k] b [n, k]^T, or = where `accumulate` is false.
struct Product {
  size_t m;
  size_t n;
  size_t k;
  float factor = 1;
  bool accumulate = false;
};
// By oneDNN or the platform's BLAS.
void multiply_transposed(const Product& size, Matrix a, Matrix b, float* c, size_t c_stride);

// The same with b [k, n].
void multiply(const Product& size, Matrix a, Matrix b, float* c, size_t c_stride);

// As multiply_transposed, accumulating, for so few rows of a that reading b is the work: it is read
// once. By Highway.
void multiply_few(const Product& size, Matrix a, Matrix b, float* c, size_t c_stride);

}  // namespace mflux::nn::cpu

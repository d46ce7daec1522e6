// SPDX-License-Identifier: MIT
#include "mflux/nn/cpu/gemm.h"

#if defined(__APPLE__)
#include <Accelerate/Accelerate.h>
#else
#include <cblas.h>
#endif

namespace mflux::nn::cpu {
namespace {

void sgemm(
    const Product& size, Matrix a, CBLAS_TRANSPOSE b_order, Matrix b, float* c, size_t c_stride) {
#if !defined(__APPLE__)
  // Once: nothing else in this process sets it.
  static const bool alone = [] {
    openblas_set_num_threads(1);
    return true;
  }();
  static_cast<void>(alone);
#endif
  cblas_sgemm(
      CblasRowMajor,
      CblasNoTrans,
      b_order,
      static_cast<int>(size.m),
      static_cast<int>(size.n),
      static_cast<int>(size.k),
      size.factor,
      a.data,
      static_cast<int>(a.stride),
      b.data,
      static_cast<int>(b.stride),
      size.accumulate ? 1.0F : 0.0F,
      c,
      static_cast<int>(c_stride));
}

}  // namespace

void multiply_transposed(const Product& size, Matrix a, Matrix b, float* c, size_t c_stride) {
  sgemm(size, a, CblasTrans, b, c, c_stride);
}

void multiply(const Product& size, Matrix a, Matrix b, float* c, size_t c_stride) {
  sgemm(size, a, CblasNoTrans, b, c, c_stride);
}

}  // namespace mflux::nn::cpu

// SPDX-License-Identifier: MIT
#include "mflux/nn/cpu/gemm.h"

#if defined(MFLUX_ONEDNN)
#include <dnnl.h>

#include "mflux/base/error.h"
#include "mflux/nn/cpu/onednn.h"
#elif defined(__APPLE__)
#include <Accelerate/Accelerate.h>
#else
#include <cblas.h>
#endif

namespace mflux::nn::cpu {
namespace {

#if defined(MFLUX_ONEDNN)

// OpenBLAS chooses its kernels by a list of CPUs, and takes those of a Pentium 4 for one that is
// newer than itself; oneDNN asks what instructions there are.
void sgemm(const Product& size, Matrix a, bool transposed, Matrix b, float* c, size_t c_stride) {
  calculate_alone();
  const auto dim = [](size_t value) { return static_cast<dnnl_dim_t>(value); };
  const dnnl_status_t status = dnnl_sgemm(
      'N',
      transposed ? 'T' : 'N',
      dim(size.m),
      dim(size.n),
      dim(size.k),
      size.factor,
      a.data,
      dim(a.stride),
      b.data,
      dim(b.stride),
      size.accumulate ? 1.0F : 0.0F,
      c,
      dim(c_stride));
  if (status != dnnl_success)
    fail("oneDNN: a product failed (status {})", static_cast<int>(status));
}

#else

void sgemm(const Product& size, Matrix a, bool transposed, Matrix b, float* c, size_t c_stride) {
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
      transposed ? CblasTrans : CblasNoTrans,
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

#endif

}  // namespace

void multiply_transposed(const Product& size, Matrix a, Matrix b, float* c, size_t c_stride) {
  sgemm(size, a, true, b, c, c_stride);
}

void multiply(const Product& size, Matrix a, Matrix b, float* c, size_t c_stride) {
  sgemm(size, a, false, b, c, c_stride);
}

}  // namespace mflux::nn::cpu

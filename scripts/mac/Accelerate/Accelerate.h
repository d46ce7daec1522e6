// SPDX-License-Identifier: MIT
// For scripts/mac_check.sh alone, where there is no Apple SDK: of the framework Accelerate what
// mflux/nn/cpu/gemm.cpp calls, as Apple declares it. It is not in the path of any real build.
#pragma once

extern "C" {

typedef enum CBLAS_ORDER { CblasRowMajor = 101, CblasColMajor = 102 } CBLAS_ORDER;
typedef enum CBLAS_TRANSPOSE {
  CblasNoTrans = 111,
  CblasTrans = 112,
  CblasConjTrans = 113
} CBLAS_TRANSPOSE;

void cblas_sgemm(
    enum CBLAS_ORDER order,
    enum CBLAS_TRANSPOSE transpose_a,
    enum CBLAS_TRANSPOSE transpose_b,
    int m,
    int n,
    int k,
    float alpha,
    const float* a,
    int a_stride,
    const float* b,
    int b_stride,
    float beta,
    float* c,
    int c_stride);

}  // extern "C"

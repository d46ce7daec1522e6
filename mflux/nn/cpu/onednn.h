// SPDX-License-Identifier: MIT
// For sources that call oneDNN.
#pragma once

// Of the OpenMP library that oneDNN brings; <omp.h> is there for some compilers only.
extern "C" void omp_set_num_threads(int threads);

namespace mflux::nn::cpu {

// To be called before oneDNN is: it then calculates on this thread alone. How many threads it takes
// is a setting of the thread that calls.
inline void calculate_alone() {
  static thread_local const bool done = [] {
    omp_set_num_threads(1);
    return true;
  }();
  static_cast<void>(done);
}

}  // namespace mflux::nn::cpu

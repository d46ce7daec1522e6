// SPDX-License-Identifier: MIT
// One primitive of oneDNN's for each of four cases, made for matrices of any size, on the thread
// that calls. Rounding to bfloat16 is ours. Without oneDNN nothing here is ever called but the two
// questions.
#include "mflux/nn/cpu/bfloat16.h"

#include <span>

#include "mflux/base/error.h"
#include "mflux/kernels/convert.h"

namespace mflux::nn::cpu {

void round_to_bfloat16(const float* values, size_t count, Bfloat16* out) {
  kernels::from_float32(
      std::span(values, count), Dtype::bf16, std::as_writable_bytes(std::span(out, count)));
}

}  // namespace mflux::nn::cpu

#if defined(MFLUX_ONEDNN)

#include <dnnl.hpp>

#include "mflux/nn/cpu/onednn.h"

namespace mflux::nn::cpu {
namespace {

using dnnl::memory;
constexpr auto kBfloat16 = memory::data_type::bf16;
constexpr auto kFloat32 = memory::data_type::f32;
constexpr memory::dim kAny = DNNL_RUNTIME_DIM_VAL;

// b as a matrix [k, n].
memory::dims b_strides(bool transposed, memory::dim stride) {
  return transposed ? memory::dims{1, stride} : memory::dims{stride, 1};
}

const dnnl::engine& engine() {
  static const dnnl::engine instance(dnnl::engine::kind::cpu, 0);
  return instance;
}

// For matrices of any size: oneDNN then takes its gemm, which reads both where they lie and packs
// them on the way. With plain strides it takes that for most fixed sizes too, and a primitive for
// each would gain nothing.
dnnl::matmul make_matmul(bool transposed, bool accumulate) {
  const memory::desc a({kAny, kAny}, kBfloat16, memory::dims{kAny, 1});
  const memory::desc b({kAny, kAny}, kBfloat16, b_strides(transposed, kAny));
  const memory::desc c({kAny, kAny}, kFloat32, memory::dims{kAny, 1});
  dnnl::primitive_attr attributes;
  if (accumulate) {
    dnnl::post_ops sum;
    sum.append_sum(1);
    attributes.set_post_ops(sum);
  }
  return dnnl::matmul(dnnl::matmul::primitive_desc({a, b, c}, attributes, engine()));
}

const dnnl::matmul& matmul(bool transposed, bool accumulate) {
  static const dnnl::matmul instances[2][2] = {
      {make_matmul(false, false), make_matmul(false, true)},
      {make_matmul(true, false), make_matmul(true, true)}};
  return instances[transposed ? 1 : 0][accumulate ? 1 : 0];
}

void run(
    bool transposed,
    const Product& size,
    Bfloat16Matrix a,
    Bfloat16Matrix b,
    float* c,
    size_t c_stride) {
  const auto dim = [](size_t value) { return static_cast<memory::dim>(value); };
  calculate_alone();
  static thread_local dnnl::stream stream(engine());
  // oneDNN takes mutable pointers for all its memory; it does not write to these.
  const auto in = [&](const memory::desc& desc, const Bfloat16* data) {
    return memory(desc, engine(), const_cast<Bfloat16*>(data));
  };
  const memory::desc a_desc({dim(size.m), dim(size.k)}, kBfloat16, memory::dims{dim(a.stride), 1});
  const memory::desc b_desc(
      {dim(size.k), dim(size.n)}, kBfloat16, b_strides(transposed, dim(b.stride)));
  const memory::desc c_desc({dim(size.m), dim(size.n)}, kFloat32, memory::dims{dim(c_stride), 1});
  matmul(transposed, size.accumulate)
      .execute(
          stream,
          {{DNNL_ARG_SRC, in(a_desc, a.data)},
           {DNNL_ARG_WEIGHTS, in(b_desc, b.data)},
           {DNNL_ARG_DST, memory(c_desc, engine(), c)}});
}

bool has_instructions(dnnl::cpu_isa isa) {
  const auto needed = static_cast<unsigned>(isa);
  return (static_cast<unsigned>(dnnl::get_effective_cpu_isa()) & needed) == needed;
}

}  // namespace

bool computes_bfloat16() {
  static const bool computes = has_instructions(dnnl::cpu_isa::avx512_core);
  return computes;
}

// Not AVX512_BF16 alone: with it oneDNN 2.6 is slower than in float32 (84 against 130 GFLOP/s).
bool has_bfloat16() {
  static const bool has = has_instructions(dnnl::cpu_isa::avx512_core_amx);
  return has;
}

void multiply_transposed(
    const Product& size, Bfloat16Matrix a, Bfloat16Matrix b, float* c, size_t c_stride) {
  run(true, size, a, b, c, c_stride);
}

void multiply(const Product& size, Bfloat16Matrix a, Bfloat16Matrix b, float* c, size_t c_stride) {
  run(false, size, a, b, c, c_stride);
}

}  // namespace mflux::nn::cpu

#else

namespace mflux::nn::cpu {

bool computes_bfloat16() {
  return false;
}

bool has_bfloat16() {
  return false;
}

void multiply_transposed(const Product&, Bfloat16Matrix, Bfloat16Matrix, float*, size_t) {
  fail("built without oneDNN, which multiplies bfloat16");
}

void multiply(const Product&, Bfloat16Matrix, Bfloat16Matrix, float*, size_t) {
  fail("built without oneDNN, which multiplies bfloat16");
}

}  // namespace mflux::nn::cpu

#endif

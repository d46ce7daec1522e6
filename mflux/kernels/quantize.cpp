// SPDX-License-Identifier: MIT
#include "mflux/kernels/quantize.h"

#include "mflux/kernels/affine.h"
#include "mflux/kernels/microscaling.h"

namespace mflux::kernels {

void quantize(
    const QuantFormat& format,
    std::span<const float> w,
    Dtype dtype,
    Rounding rounding,
    PackedRows out) {
  if (format.mode == QuantMode::affine) return quantize_affine(format, w, dtype, rounding, out);
  const Dtype calculation = rounding == Rounding::exact_scales ? dtype : Dtype::f32;
  quantize_microscaling(format, w, calculation, out);
}

void quantize_on_grid(
    const QuantFormat& format, std::span<const float> w, Dtype dtype, PackedRows out) {
  if (format.mode == QuantMode::affine) return quantize_affine_on_grid(format, w, dtype, out);
  quantize_microscaling_on_grid(format, w, out);
}

void dequantize(const QuantFormat& format, ConstPackedRows in, Dtype dtype, std::span<float> out) {
  if (format.mode == QuantMode::affine) return dequantize_affine(format, in, dtype, out);
  dequantize_microscaling(format, in, out);
}

}  // namespace mflux::kernels

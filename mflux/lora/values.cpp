// SPDX-License-Identifier: MIT
// Values are read from the mapped file in pieces, so that no tensor is in memory as a whole; the
// tests look at bits, without converting.
#include "mflux/lora/values.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "mflux/kernels/convert.h"

namespace mflux::lora {
namespace {

constexpr double kMaxInteger = 1e15;       // exact in double
constexpr size_t kChunk = 16384;           // values converted at a time
constexpr uint64_t kPieceBytes = 1 << 20;  // read at a time; whole values of every dtype

template <typename T>
T value_at(std::span<const std::byte> data, size_t index) {
  T value;
  std::memcpy(&value, data.data() + index * sizeof(T), sizeof(T));
  return value;
}

template <typename T>
double scalar(std::span<const std::byte> data) {
  return static_cast<double>(value_at<T>(data, 0));
}

double float_scalar(Dtype dtype, std::span<const std::byte> data) {
  std::array<float, 1> value = {};
  kernels::to_float32(dtype, data, value);
  return static_cast<double>(value[0]);
}

// Is it true of every piece of a tensor's bytes.
template <typename Check>
bool all_pieces(const safetensors::TensorInfo& info, const JoinedFiles& file, Check check) {
  std::vector<std::byte> piece(std::min<uint64_t>(info.bytes, kPieceBytes));
  for (uint64_t done = 0; done < info.bytes; done += piece.size()) {
    piece.resize(std::min<uint64_t>(piece.size(), info.bytes - done));
    file.read(info.offset + done, piece);
    if (!check(piece)) return false;
  }
  return true;
}

std::vector<std::byte> all_bytes(const safetensors::TensorInfo& info, const JoinedFiles& file) {
  std::vector<std::byte> data(info.bytes);
  file.read(info.offset, data);
  return data;
}

}  // namespace

bool all_finite(const safetensors::TensorInfo& info, const JoinedFiles& file) {
  return all_pieces(
      info, file, [&](const auto& piece) { return all_finite(info.spec.dtype, piece); });
}

bool all_zero(const safetensors::TensorInfo& info, const JoinedFiles& file) {
  return all_pieces(
      info, file, [&](const auto& piece) { return all_zero(info.spec.dtype, piece); });
}

std::optional<double> read_scalar(const safetensors::TensorInfo& info, const JoinedFiles& file) {
  if (info.spec.elements() != 1) return std::nullopt;
  return read_scalar(info.spec, all_bytes(info, file));
}

std::vector<uint64_t> read_integers(const safetensors::TensorInfo& info, const JoinedFiles& file) {
  return read_integers(info.spec, all_bytes(info, file));
}

bool all_finite(Dtype dtype, std::span<const std::byte> data) {
  const size_t chunk_bytes = kChunk * static_cast<size_t>(dtype_bytes(dtype));
  std::array<float, kChunk> values;
  while (!data.empty()) {
    const auto chunk = data.first(std::min(data.size(), chunk_bytes));
    const auto out = std::span(values).first(chunk.size() / dtype_bytes(dtype));
    kernels::to_float32(dtype, chunk, out);
    if (!kernels::all_finite(out)) return false;
    data = data.subspan(chunk.size());
  }
  return true;
}

bool all_zero(Dtype dtype, std::span<const std::byte> data) {
  const size_t chunk_bytes = kChunk * static_cast<size_t>(dtype_bytes(dtype));
  std::array<float, kChunk> values;
  while (!data.empty()) {
    const auto chunk = data.first(std::min(data.size(), chunk_bytes));
    const auto out = std::span(values).first(chunk.size() / dtype_bytes(dtype));
    kernels::to_float32(dtype, chunk, out);
    if (std::ranges::any_of(out, [](float value) { return value != 0; })) return false;
    data = data.subspan(chunk.size());
  }
  return true;
}

std::optional<double> read_scalar(const TensorSpec& spec, std::span<const std::byte> data) {
  if (spec.elements() != 1) return std::nullopt;
  switch (spec.dtype) {
    case Dtype::f64:
      return scalar<double>(data);
    case Dtype::f32:
    case Dtype::f16:
    case Dtype::bf16:
    case Dtype::f8_e4m3:
    case Dtype::f8_e5m2:
      return float_scalar(spec.dtype, data);
    case Dtype::i64:
      return scalar<int64_t>(data);
    case Dtype::i32:
      return scalar<int32_t>(data);
    case Dtype::i16:
      return scalar<int16_t>(data);
    case Dtype::i8:
      return scalar<int8_t>(data);
    case Dtype::u64:
      return scalar<uint64_t>(data);
    case Dtype::u32:
      return scalar<uint32_t>(data);
    case Dtype::u16:
      return scalar<uint16_t>(data);
    case Dtype::u8:
      return scalar<uint8_t>(data);
    case Dtype::boolean:
      return std::nullopt;
  }
  return std::nullopt;
}

std::vector<uint64_t> read_integers(const TensorSpec& spec, std::span<const std::byte> data) {
  std::vector<uint64_t> result;
  const uint64_t size = dtype_bytes(spec.dtype);
  for (uint64_t i = 0; i < spec.elements(); ++i) {
    const auto value = read_scalar({spec.dtype, {}}, data.subspan(i * size, size));
    if (!value || !(*value >= 0 && *value <= kMaxInteger) || *value != std::floor(*value)) {
      return {};
    }
    result.push_back(static_cast<uint64_t>(*value));
  }
  return result;
}

void read_scaled(Dtype dtype, std::span<const std::byte> data, double scale, std::span<float> out) {
  if (dtype == Dtype::f64) {
    for (size_t i = 0; i < out.size(); ++i) {
      out[i] = static_cast<float>(value_at<double>(data, i) * scale);
    }
    return;
  }
  kernels::to_float32(dtype, data, out);
  if (scale == 1) return;
  for (float& value : out) value = static_cast<float>(static_cast<double>(value) * scale);
}

}  // namespace mflux::lora

// SPDX-License-Identifier: MIT
// One read of the file for the weight and one each for scales and biases, into buffers of the
// call's own: for compare, generate and whole matrices. A pass reads into buffers that it keeps
// (pass.cpp) and shares decode_rows().
#include "mflux/checkpoint/rows.h"

#include <algorithm>
#include <vector>

#include "mflux/kernels/convert.h"
#include "mflux/kernels/quantize.h"

namespace mflux {
namespace {

std::vector<std::byte> read_part(
    const Component& component,
    size_t file,
    uint64_t offset,
    uint64_t row_bytes,
    uint64_t first,
    uint64_t rows) {
  std::vector<std::byte> bytes(rows * row_bytes);
  component.folder.files[file].file.read(offset + first * row_bytes, bytes);
  return bytes;
}

}  // namespace

StoredRows StoredRows::rows(uint64_t begin, uint64_t count, uint64_t total) const {
  if (total == 0) return {};
  const auto part = [&](std::span<const std::byte> bytes) {
    const uint64_t row_bytes = bytes.size() / total;
    return bytes.subspan(begin * row_bytes, count * row_bytes);
  };
  return {part(weight), part(scales), part(biases)};
}

void decode_rows(const LogicalTensor& tensor, StoredRows stored, std::span<float> out) {
  if (!tensor.format) {
    kernels::to_float32(tensor.spec.dtype, stored.weight, out);
    return;
  }
  kernels::dequantize(
      *tensor.format, {stored.weight, stored.scales, stored.biases}, tensor.spec.dtype, out);
}

void read_source_rows(
    const Component& component,
    const LogicalTensor& source,
    uint64_t first_row,
    uint64_t rows,
    std::span<float> out) {
  const auto weight =
      read_part(component, source.file, source.offset, source.stored_row_bytes(), first_row, rows);
  std::vector<std::byte> scales;
  std::vector<std::byte> biases;
  const auto read_groups = [&](const safetensors::StoredTensor* part,
                               std::vector<std::byte>& bytes) {
    if (part == nullptr) return;
    const uint64_t row_bytes = part->info.spec.row_elements() * dtype_bytes(part->info.spec.dtype);
    bytes = read_part(component, part->file, part->info.offset, row_bytes, first_row, rows);
  };
  read_groups(source.scales, scales);
  read_groups(source.biases, biases);
  decode_rows(source, {weight, scales, biases}, out);
}

void read_mapped_rows(
    const Component& component,
    const models::MappedTensor& tensor,
    uint64_t first_row,
    uint64_t rows,
    std::span<float> out) {
  const uint64_t columns = out.size() / std::max<uint64_t>(1, rows);
  for (const models::Piece& piece : tensor.pieces) {
    const uint64_t begin = std::max(first_row, piece.output_begin);
    const uint64_t end = std::min(first_row + rows, piece.output_begin + piece.count);
    if (begin >= end) continue;
    const LogicalTensor& source = component.tensors[piece.source];
    const uint64_t first = piece.source_begin + (begin - piece.output_begin);
    const uint64_t count = end - begin;
    const std::span<float> target = out.subspan((begin - first_row) * columns, count * columns);
    if (tensor.transpose.none()) {
      read_source_rows(component, source, first, count, target);
      continue;
    }
    std::vector<float> raw(count * columns);
    read_source_rows(component, source, first, count, raw);
    for (uint64_t row = 0; row < count; ++row) {
      kernels::transpose(
          std::span(raw).subspan(row * columns, columns),
          tensor.transpose.channels,
          tensor.transpose.positions,
          target.subspan(row * columns, columns));
    }
  }
}

}  // namespace mflux

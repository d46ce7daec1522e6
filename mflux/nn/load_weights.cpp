// SPDX-License-Identifier: MIT
// A tensor whose bytes in the file are what MLX computes with becomes an array over the mapped
// file, which costs nothing before it is read. All else is copied into memory of MLX's: rows that
// come from several places or in another order or dtype, what is packed while loading (both through
// float32, a block of about a million values at a time), what was baked in memory, and unaligned
// bytes.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <variant>

#include <mlx/allocator.h>
#include <mlx/device.h>

#include "mflux/base/error.h"
#include "mflux/base/file.h"
#include "mflux/base/tensor.h"
#include "mflux/checkpoint/rows.h"
#include "mflux/kernels/convert.h"
#include "mflux/kernels/quantize.h"
#include "mflux/lora/algorithms/low_rank.h"
#include "mflux/nn/weights.h"

namespace mflux::nn {
namespace {

using models::MappedTensor;

mx::Shape mlx_shape(const Shape& shape) {
  mx::Shape result;
  for (const uint64_t size : shape) result.push_back(static_cast<int32_t>(size));
  return result;
}

// The dtype MLX computes with as it is stored; none for those that are converted while loading.
std::optional<mx::Dtype> mlx_dtype(Dtype dtype) {
  switch (dtype) {
    case Dtype::f32:
      return mx::float32;
    case Dtype::f16:
      return mx::float16;
    case Dtype::bf16:
      return mx::bfloat16;
    case Dtype::u32:
      return mx::uint32;
    case Dtype::u8:
      return mx::uint8;
    default:
      return std::nullopt;
  }
}

// Memory of MLX's own that is filled before it becomes an array.
class Buffer {
 public:
  explicit Buffer(uint64_t bytes) : data_(mx::allocator::malloc(bytes)), bytes_(bytes) {}

  std::span<std::byte> bytes() {
    mx::allocator::Buffer buffer = data_.buffer();
    return {static_cast<std::byte*>(buffer.raw_ptr()), bytes_};
  }
  mx::array array(const mx::Shape& shape, mx::Dtype dtype) {
    return mx::array(std::move(data_), shape, dtype);
  }

 private:
  mx::allocator::Data data_;
  uint64_t bytes_;
};

// An array over bytes that live as long as `owner`. They are aligned for the dtype, and at least
// eight readable bytes lie before them.
mx::array array_over(
    std::span<const std::byte> bytes,
    const mx::Shape& shape,
    mx::Dtype dtype,
    std::shared_ptr<const MappedFile> owner) {
  // MLX takes a mutable pointer for every array; it never writes to one that somebody else holds.
  auto* data = const_cast<std::byte*>(bytes.data());
  if (!mx::is_available(mx::Device::gpu)) {
    // MLX's CPU allocator copies foreign memory. Its own buffers keep their size in the word before
    // the data, and only the allocator reads that word, which never gets to see this buffer.
    mx::allocator::Buffer buffer(data - sizeof(size_t));
    if (buffer.raw_ptr() == data) {
      const auto release = [owner](mx::allocator::Buffer) mutable { owner.reset(); };
      return mx::array(mx::allocator::Data(buffer, release), shape, dtype);
    }
  }
  return mx::array(data, shape, dtype, [owner](void*) mutable { owner.reset(); });
}

}  // namespace

class Loader {
 public:
  Loader(const Checkpoint& model, const Component& component, const LoadOptions& options)
      : model_(model), component_(component), options_(options) {
    for (const auto& file : component.folder.files) {
      files_.push_back(std::make_shared<const MappedFile>(component.folder.path / file.name));
    }
  }

  Weights load() {
    weights_.component_ = component_.name;
    weights_.config_ = component_.source.config;
    const models::MappedComponent mapped = models::map_component(
        *model_.family, component_.source, model_.naming, models::Naming::mflux);
    for (const MappedTensor& tensor : mapped.tensors) {
      if (tensor.values.empty()) add(tensor);
    }
    return std::move(weights_);
  }

 private:
  using Stored = Weights::Stored;

  void add(const MappedTensor& tensor) {
    const BakedTensor* baked = find_baked(tensor);
    Stored stored = baked != nullptr ? taken(*baked) : read(tensor);
    if (baked == nullptr) stored.loras = loras_of(tensor);
    if (stored.format || stored.values.dtype() == mx::bfloat16) stored.products = options_.products;
    weights_.tensors_.insert_or_assign(tensor.name, std::move(stored));
  }

  Stored read(const MappedTensor& tensor) {
    const LogicalTensor& source = component_.tensors[tensor.pieces.front().source];
    if (const auto format = wanted_format(tensor, source); format && !source.format) {
      return quantized(tensor, *format);
    }
    if (is_whole(tensor, source) && source.format) return map_packed(source);
    if (is_whole(tensor, source) && mlx_dtype(source.spec.dtype)) {
      return {.values = map(source.file, source.offset, {source.spec.dtype, tensor.shape})};
    }
    return {.values = gather(tensor, source.spec.dtype)};
  }

  const BakedTensor* find_baked(const MappedTensor& tensor) const {
    if (options_.changes == nullptr) return nullptr;
    const auto found = options_.changes->baked.find(full_name(component_.name, tensor.name));
    return found == options_.changes->baked.end() ? nullptr : &found->second;
  }

  static Stored taken(const BakedTensor& baked) {
    const auto part = [](const BakedPart& stored) {
      Buffer buffer(stored.bytes.size());
      std::ranges::copy(stored.bytes, buffer.bytes().begin());
      return buffer.array(mlx_shape(stored.spec.shape), mlx_dtype(stored.spec.dtype).value());
    };
    Stored stored{.values = part(baked.weight), .format = baked.format};
    if (baked.scales) stored.scales = part(*baked.scales);
    if (baked.biases) stored.biases = part(*baked.biases);
    return stored;
  }

  std::vector<LowRankPath> loras_of(const MappedTensor& tensor) const {
    std::vector<LowRankPath> loras;
    if (options_.changes == nullptr) return loras;
    for (const models::Piece& piece : tensor.pieces) {
      const auto found = options_.changes->beside.find(full_name(component_.name, piece.canonical));
      if (found == options_.changes->beside.end()) continue;
      for (const lora::Contribution& item : found->second) {
        attach(item, piece, tensor, loras);
      }
    }
    return loras;
  }

  // Rows of `up` that the pair does not reach stay zero.
  static void attach(
      const lora::Contribution& item,
      const models::Piece& piece,
      const MappedTensor& tensor,
      std::vector<LowRankPath>& loras) {
    const uint64_t begin = std::max(item.begin, piece.canonical_begin);
    const uint64_t end = std::min(item.begin + item.count, piece.canonical_begin + piece.count);
    if (begin >= end) return;
    const TensorSpec matrix{Dtype::f32, tensor.shape};
    const lora::Update& pair = *item.update;
    const uint64_t rank = pair.rank;
    std::vector<float> up(matrix.rows() * rank);
    const uint64_t first = piece.output_begin + (begin - piece.canonical_begin);
    lora::read_up(
        pair,
        item.update_begin + (begin - item.begin),
        end - begin,
        std::span(up).subspan(first * rank, (end - begin) * rank));
    std::vector<float> down(rank * matrix.row_elements());
    lora::read_down(pair, down);
    loras.push_back(
        {.down = mx::array(down.begin(), mlx_shape({rank, matrix.row_elements()})),
         .up = mx::array(up.begin(), mlx_shape({matrix.rows(), rank}))});
  }

  std::optional<QuantFormat> wanted_format(
      const MappedTensor& tensor, const LogicalTensor& source) const {
    if (source.format) return source.format;
    if (!options_.quantize) return std::nullopt;
    return models::quantization(*model_.family, component_.name, tensor, *options_.quantize);
  }

  static bool is_whole(const MappedTensor& tensor, const LogicalTensor& source) {
    const models::Piece& piece = tensor.pieces.front();
    return tensor.pieces.size() == 1 && tensor.transpose.none() && piece.source_begin == 0 &&
           piece.count == source.spec.rows();
  }

  // The mapped file's own bytes, or a copy where they are not aligned for their dtype.
  mx::array map(size_t file, uint64_t offset, const TensorSpec& spec) {
    const std::span<const std::byte> mapped = files_[file]->bytes();
    if (offset > mapped.size() || spec.bytes() > mapped.size() - offset) {
      fail(
          "{}: became shorter while it was read: it has {} bytes, a tensor ends at {}",
          (component_.folder.path / component_.folder.files[file].name).string(),
          mapped.size(),
          offset + spec.bytes());
    }
    const auto bytes = mapped.subspan(offset, spec.bytes());
    const mx::Dtype dtype = mlx_dtype(spec.dtype).value();
    if (reinterpret_cast<uintptr_t>(bytes.data()) % dtype_bytes(spec.dtype) != 0) {
      Buffer buffer(bytes.size());
      std::ranges::copy(bytes, buffer.bytes().begin());
      return buffer.array(mlx_shape(spec.shape), dtype);
    }
    return array_over(bytes, mlx_shape(spec.shape), dtype, files_[file]);
  }

  Stored map_packed(const LogicalTensor& source) {
    const auto part = [&](const safetensors::StoredTensor& stored) {
      return map(stored.file, stored.info.offset, stored.info.spec);
    };
    Stored stored{
        .values = map(source.file, source.offset, packed_specs(*source.format, source.spec).weight),
        .format = source.format,
        .scales = part(*source.scales)};
    if (source.biases != nullptr) stored.biases = part(*source.biases);
    return stored;
  }

  // Rows put together from several places, or in another order or dtype.
  mx::array gather(const MappedTensor& tensor, Dtype stored) {
    const Dtype dtype = mlx_dtype(stored) && is_float(stored) ? stored : Dtype::bf16;
    const TensorSpec spec{dtype, tensor.shape};
    Buffer buffer(spec.bytes());
    each_block(
        tensor,
        [&](std::span<const float> rows, uint64_t first, uint64_t row_bytes) {
          const uint64_t bytes = rows.size() * dtype_bytes(dtype);
          kernels::from_float32(rows, dtype, buffer.bytes().subspan(first * row_bytes, bytes));
        },
        dtype);
    return buffer.array(mlx_shape(tensor.shape), *mlx_dtype(dtype));
  }

  template <typename Use>
  void each_block(const MappedTensor& tensor, const Use& use, Dtype dtype) {
    const TensorSpec spec{dtype, tensor.shape};
    const uint64_t columns = std::max<uint64_t>(1, spec.row_elements());
    const uint64_t block = std::max<uint64_t>(1, kBlockElements / columns);
    for (uint64_t row = 0; row < spec.rows(); row += block) {
      const uint64_t rows = std::min(block, spec.rows() - row);
      values_.resize(std::max<uint64_t>(values_.size(), rows * columns));
      const std::span<float> out = std::span(values_).first(rows * columns);
      read_mapped_rows(component_, tensor, row, rows, out);
      use(out, row, columns * dtype_bytes(dtype));
    }
  }

  Stored quantized(const MappedTensor& tensor, const QuantFormat& format) {
    const TensorSpec matrix{tensor.dtype, tensor.shape};
    const PackedSpecs specs = packed_specs(format, matrix);
    Buffer weight(specs.weight.bytes());
    Buffer scales(specs.scales.bytes());
    Buffer biases(specs.biases ? specs.biases->bytes() : 0);
    each_block(
        tensor,
        [&](std::span<const float> rows, uint64_t first, uint64_t) {
          const uint64_t count = rows.size() / matrix.row_elements();
          const auto part = [&](Buffer& buffer) {
            const uint64_t row_bytes = buffer.bytes().size() / matrix.rows();
            return buffer.bytes().subspan(first * row_bytes, count * row_bytes);
          };
          kernels::quantize(
              format,
              rows,
              tensor.dtype,
              kernels::Rounding::exact_scales,
              {part(weight), part(scales), part(biases)});
        },
        tensor.dtype);
    const auto array = [](Buffer& buffer, const TensorSpec& spec) {
      return buffer.array(mlx_shape(spec.shape), mlx_dtype(spec.dtype).value());
    };
    Stored stored{
        .values = array(weight, specs.weight),
        .format = format,
        .scales = array(scales, specs.scales)};
    if (specs.biases) stored.biases = array(biases, *specs.biases);
    return stored;
  }

  static constexpr uint64_t kBlockElements = 1 << 20;

  const Checkpoint& model_;
  const Component& component_;
  const LoadOptions& options_;
  std::vector<std::shared_ptr<const MappedFile>> files_ = {};
  std::vector<float> values_ = {};
  Weights weights_ = {};
};

Weights load_weights(
    const Checkpoint& model, std::string_view component, const LoadOptions& options) {
  const auto found = std::ranges::find(model.components, component, &Component::name);
  if (found == model.components.end()) {
    fail("{}: has no component '{}'", model.path.string(), component);
  }
  return Loader(model, *found, options).load();
}

}  // namespace mflux::nn

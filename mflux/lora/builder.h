// SPDX-License-Identifier: MIT
// The work of build(): one module's tensors become updates. An algorithm's part reads its tensors,
// checks their shapes against the target, and adds an update.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "mflux/lora/build.h"

namespace mflux::lora {

// Linear layers are stored as 1x1 convolutions by some: the ones at the end say nothing.
Shape without_ones(Shape shape, size_t dimensions);

std::string size_text(const Shape& shape);  // "192 x 64"

class Builder {
 public:
  Builder(const Module& module, const FileContext& file, Notes& notes)
      : module_(module), target_(*module.place.target), file_(file), notes_(notes) {}

  Built run(Algorithm algorithm);

 private:
  // build.cpp
  void add_low_rank();
  void add_full();
  void add_diff(const safetensors::TensorInfo& info);
  void add_bias(const safetensors::TensorInfo& info, double scale);
  bool fits_target(const safetensors::TensorInfo& info);
  std::optional<Target> bias_target(const safetensors::TensorInfo& info);
  std::optional<LowRank> low_rank();
  std::optional<LowRank> low_rank_with_core();
  // build_products.cpp
  void add_loha();
  void add_lokr();
  std::optional<Product> product(
      Parameter whole, Parameter left, Parameter right, std::optional<Parameter> core);
  std::optional<Factor> magnitude(bool& per_input);
  template <typename Change>
  void add_change(Change change, std::initializer_list<Parameter> parameters);
  // build_others.cpp
  void add_oft();
  void add_kohya_oft();
  std::optional<OutputRotation> rotation(const safetensors::TensorInfo& info, const Target& target);
  void add_input_oft();
  void add_glora();
  void add_ia3();
  void add_replacement(const safetensors::TensorInfo& info);
  void add_bias_replacement(const safetensors::TensorInfo& info);
  bool has_base_width(const safetensors::TensorInfo& shape);

  // The first refusal counts. True: there is one.
  bool refuse(std::optional<Refusal> refusal);
  bool refuse(ProblemKind kind, std::string message);
  // What the LoRA gives for the layer has another size.
  bool refuse_size(
      const Shape& given, const Shape& layer, std::string_view of, std::string_view what);
  bool refuse_shape(const safetensors::TensorInfo& info, std::string_view expected);

  Factor factor(const safetensors::TensorInfo& info, uint64_t rows, uint64_t columns) const;
  // Of a parameter that is there; none: refused.
  std::optional<Factor> matrix(Parameter parameter);
  std::optional<Factor> vector(const safetensors::TensorInfo& info, uint64_t size);

  // Alpha and what it makes of a scale: alpha / rank, or / sqrt(rank).
  struct Strength {
    double alpha = 0;
    AlphaSource source = AlphaSource::none;
    double scale = 1;
  };
  std::optional<Strength> strength(uint64_t rank);

  void add(Update update, std::initializer_list<Parameter> parameters);
  const Shape* canonical_shape(const TargetRows& rows) const;
  Shape weight_shape() const;  // [outputs, inputs], or the tensor's own if the target is all of it
  std::string base_name() const;
  std::string base_text() const;  // "192 x 64 (transformer/proj_out.weight)"

  const Module& module_;
  const Target& target_;
  const FileContext& file_;
  Notes& notes_;
  Built built_ = {};
};

}  // namespace mflux::lora

// SPDX-License-Identifier: MIT
// What every algorithm needs to make updates of a module's tensors: to read them, to check their
// values and shapes, and to say what is wrong.
#pragma once

#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mflux/lora/algorithms/update.h"
#include "mflux/lora/alpha.h"
#include "mflux/lora/module.h"
#include "mflux/lora/notes.h"
#include "mflux/lora/refusal.h"

namespace mflux::lora {

struct BuiltUpdate {
  Update update;
  // That it uses.
  std::vector<const safetensors::TensorInfo*> keys;
};

struct Built {
  std::vector<BuiltUpdate> updates = {};
  // Then there are no updates.
  std::optional<Refusal> refusal = {};
};

// One module on its way. The first refusal counts; what refuses says so by its result.
struct Builder {
  const Module& module;
  const Target& target;
  const FileContext& file;
  Notes& notes;
  Built built = {};

  // True: there is one.
  bool refuse(std::optional<Refusal> refusal);
  bool refuse(ProblemKind kind, std::string message);
  // What the LoRA gives for the layer has another size.
  bool refuse_size(
      const Shape& given, const Shape& layer, std::string_view of, std::string_view what);
  bool refuse_shape(const safetensors::TensorInfo& info, std::string_view expected);
  // Not if every value is a finite float.
  bool refuse_values(const safetensors::TensorInfo& info);

  Factor factor(const safetensors::TensorInfo& info, uint64_t rows, uint64_t columns) const;
  // Of a parameter that is there; none: refused.
  std::optional<Factor> matrix(Parameter parameter);
  std::optional<Factor> vector(const safetensors::TensorInfo& info, uint64_t size);

  // Has the tensor the shape of the target's weight; else it is refused.
  bool fits_target(const safetensors::TensorInfo& info);
  // The biases of the target, of which the tensor has the shape; none: refused.
  std::optional<Target> bias_target(const safetensors::TensorInfo& info);

  // With the module's name, its target and the user's scale.
  template <typename Kind>
  Update update(Kind change) const {
    return {
        .module = module.name,
        .target = target,
        .scale = file.scale,
        .change = std::make_shared<const Kind>(std::move(change))};
  }
  // Sets rank, alpha and the scale that follows from both alone; false: refused.
  bool set_strength(Update& update, uint64_t rank);

  void add(Update update, std::vector<const safetensors::TensorInfo*> keys);
  // It uses those of the parameters that are there.
  void add(Update update, std::initializer_list<Parameter> parameters);

  // "192 x 64 (transformer/proj_out.weight)"
  std::string base_text() const;
  std::string base_name() const;
  // [outputs, inputs], or the tensor's own if the target is all of it.
  Shape weight_shape() const;
};

// Linear layers are stored as 1x1 convolutions by some: the ones at the end say nothing.
Shape without_ones(Shape shape, size_t dimensions);

// "192 x 64"
std::string size_text(const Shape& shape);

}  // namespace mflux::lora

// SPDX-License-Identifier: MIT
#include "mflux/nn/weights.h"

#include <algorithm>
#include <charconv>
#include <cstdint>

#include <fmt/format.h>

#include "mflux/base/error.h"
#include "mflux/base/tensor.h"

namespace mflux::nn {

bool Weights::has(std::string_view tensor) const {
  return tensors_.contains(tensor);
}

const Weights::Stored& Weights::find(std::string_view name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) fail("{}: has no tensor '{}'", component_, name);
  return found->second;
}

const mx::array& Weights::tensor(std::string_view name) const {
  const Stored& stored = find(name);
  if (stored.format) fail("{}: '{}' is packed, which only a matrix can be", component_, name);
  return stored.values;
}

std::optional<mx::array> Weights::bias(std::string_view module) const {
  const std::string name = fmt::format("{}.bias", module);
  return has(name) ? std::optional(tensor(name)) : std::nullopt;
}

Linear Weights::matrix(std::string_view module) const {
  const std::string name = fmt::format("{}.weight", module);
  const Stored& stored = find(name);
  return {
      .name = full_name(component_, name),
      .weight = stored.values,
      .format = stored.format,
      .scales = stored.scales,
      .biases = stored.biases,
      .loras = stored.loras,
      .products = stored.products};
}

Linear Weights::linear(std::string_view module) const {
  Linear layer = matrix(module);
  layer.bias = bias(module);
  return layer;
}

Embedding Weights::embedding(std::string_view module) const {
  return {matrix(module)};
}

Norm Weights::norm(std::string_view module) const {
  return {.weight = tensor(fmt::format("{}.weight", module)), .bias = bias(module)};
}

Conv Weights::conv(std::string_view module) const {
  return {.weight = tensor(fmt::format("{}.weight", module)), .bias = bias(module)};
}

int Weights::blocks(std::string_view prefix) const {
  int count = 0;
  for (auto it = tensors_.lower_bound(prefix);
       it != tensors_.end() && it->first.starts_with(prefix);
       ++it) {
    uint16_t block = 0;
    const std::string_view number = std::string_view(it->first).substr(prefix.size());
    std::from_chars(number.data(), number.data() + number.size(), block);
    count = std::max(count, block + 1);
  }
  return count;
}

uint64_t Weights::bytes() const {
  uint64_t sum = 0;
  for (const auto& [name, stored] : tensors_) {
    sum += stored.values.nbytes();
    if (stored.scales) sum += stored.scales->nbytes();
    if (stored.biases) sum += stored.biases->nbytes();
  }
  return sum;
}

}  // namespace mflux::nn

// SPDX-License-Identifier: MIT
// What the tests of the model tables start from: the published headers, whole or narrowed.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "mflux/models/family.h"
#include "tests/published_headers.h"

namespace mflux::models::testing {

// The file's tensors by component.
inline std::map<std::string, SourceComponent> load_headers(const std::string& file) {
  return mflux::testing::read_published_headers(std::string(MFLUX_TEST_DATA) + "/models/" + file);
}

inline SourceComponent load_component(const std::string& file, const std::string& component) {
  return load_headers(file).at(component);
}

// The same with blocks 0 and 1 only, and every width of `narrow` replaced.
inline SourceComponent tiny(
    SourceComponent component, const std::map<uint64_t, uint64_t>& narrow = {}) {
  std::erase_if(component.tensors, [](const SourceComponent::Tensor& tensor) {
    const size_t at = tensor.name.find("blocks.");
    const bool of_coder =
        tensor.name.starts_with("encoder.") || tensor.name.starts_with("decoder.");
    if (at == std::string::npos || of_coder) return false;
    const std::string number = tensor.name.substr(at + 7, tensor.name.find('.', at + 7) - at - 7);
    return std::stoi(number) > 1;
  });
  for (SourceComponent::Tensor& tensor : component.tensors) {
    for (uint64_t& size : tensor.spec.shape) {
      if (narrow.contains(size)) size = narrow.at(size);
    }
  }
  return component;
}

inline const std::map<uint64_t, uint64_t> kFluxNarrow = {
    {3072, 64},
    {12288, 192},
    {18432, 384},
    {9216, 192},
    {6144, 128},
    {15360, 256},
    {4096, 32},
    {128, 16}};

// What a mapping writes, as a source of its own.
inline SourceComponent as_source(const SourceComponent& from, const MappedComponent& mapped) {
  SourceComponent source{.name = from.name};
  for (const MappedTensor& tensor : mapped.tensors) {
    source.tensors.push_back(
        {.name = tensor.name, .spec = {.dtype = tensor.dtype, .shape = tensor.shape}});
  }
  return source;
}

inline const Family& family(std::string_view name) {
  const Family* found = find_family(name);
  REQUIRE(found != nullptr);
  return *found;
}

inline SourceComponent::Tensor& tensor_named(SourceComponent& component, std::string_view name) {
  const auto found = std::ranges::find(component.tensors, name, &SourceComponent::Tensor::name);
  REQUIRE(found != component.tensors.end());
  return *found;
}

inline const MappedTensor& mapped_named(const MappedComponent& component, std::string_view name) {
  const auto found = std::ranges::find(component.tensors, name, &MappedTensor::name);
  REQUIRE_MESSAGE(found != component.tensors.end(), std::string(name));
  return *found;
}

}  // namespace mflux::models::testing

// SPDX-License-Identifier: MIT
// Against what Python's mflux saves for the real models.
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <sstream>

#include <doctest/doctest.h>

#include "mflux/models/family.h"
#include "mflux/models/names.h"
#include "tests/models/headers.h"

namespace mflux::models {
namespace {

using testing::family;
using testing::load_headers;

using Specs = std::map<std::string, TensorSpec>;

// The tensors on disk: a packed matrix is three.
Specs saved(
    const Family& model, const SourceComponent& source, const std::optional<QuantFormat>& asked) {
  Specs specs;
  const MappedComponent mapped = map_component(model, source, Naming::diffusers, Naming::mflux);
  for (const MappedTensor& tensor : mapped.tensors) {
    const std::optional<QuantFormat> format =
        asked ? quantization(model, source.name, tensor, *asked) : std::nullopt;
    if (!format) {
      specs[tensor.name] = {.dtype = tensor.dtype, .shape = tensor.shape};
      continue;
    }
    const uint64_t rows = tensor.shape[0];
    const uint64_t columns = tensor.shape[1];
    const std::string layer = tensor.name.substr(0, tensor.name.rfind('.'));
    specs[tensor.name] = {.dtype = Dtype::u32, .shape = {rows, format->packed_columns(columns)}};
    specs[layer + ".scales"] = {.dtype = tensor.dtype, .shape = {rows, format->groups(columns)}};
    specs[layer + ".biases"] = specs[layer + ".scales"];
  }
  return specs;
}

Specs expected(const SourceComponent& manifest) {
  Specs specs;
  for (const SourceComponent::Tensor& tensor : manifest.tensors) {
    specs[tensor.name] = tensor.spec;
  }
  return specs;
}

struct Case {
  const char* model;
  const char* headers;
  const char* manifest;
  int bits;
};
constexpr Case kCases[] = {
    {"flux", "flux-dev.txt", "mflux-dev-bf16.txt", 16},
    {"flux", "flux-dev.txt", "mflux-dev-q8.txt", 8},
    {"flux", "flux-dev.txt", "mflux-dev-q4.txt", 4},
    {"flux", "flux-schnell.txt", "mflux-schnell-q8.txt", 8},
    {"qwen", "qwen-image.txt", "mflux-qwen-image-bf16.txt", 16},
    {"qwen", "qwen-image.txt", "mflux-qwen-image-q8.txt", 8},
    {"qwen", "qwen-image.txt", "mflux-qwen-image-q4.txt", 4},
};

TEST_CASE("the tensors of the real models are those that mflux saves") {
  for (const Case& c : kCases) {
    CAPTURE(c.manifest);
    auto headers = load_headers(c.headers);
    const auto manifest = load_headers(c.manifest);
    REQUIRE(headers.size() == manifest.size());
    for (auto& [name, source] : headers) {
      CAPTURE(name);
      if (c.model == std::string("qwen") && name == "text_encoder")
        source.config = R"({"hidden_size": 3584, "num_attention_heads": 28})";
      std::optional<QuantFormat> asked;
      if (c.bits < 16) asked = QuantFormat{.bits = c.bits};
      const Specs found = saved(family(c.model), source, asked);
      const Specs wanted = expected(manifest.at(name));
      CHECK(found.size() == wanted.size());
      for (const auto& [tensor, spec] : wanted) {
        CAPTURE(tensor);
        REQUIRE(found.contains(tensor));
        CHECK(found.at(tensor) == spec);
      }
    }
  }
}

TEST_CASE("the tensors that mflux saves are read back") {
  for (const Case& c : kCases) {
    if (c.bits < 16) continue;
    CAPTURE(c.manifest);
    for (const auto& [name, source] : load_headers(c.manifest)) {
      CAPTURE(name);
      const MappedComponent mapped =
          map_component(family(c.model), source, Naming::mflux, Naming::mflux);
      for (const MappedTensor& tensor : mapped.tensors) {
        CHECK(tensor.transpose.none());
        if (tensor.name.find("relative_attention_bias") != std::string::npos) continue;
        if (tensor.pieces.empty()) {
          CHECK(tensor.name.ends_with("inv_freq"));
          continue;
        }
        CHECK(source.tensors[tensor.pieces.front().source].name == tensor.name);
      }
      for (const std::string& left_out : mapped.left_out) {
        CHECK(left_out.find("relative_attention_bias") != std::string::npos);
      }
    }
  }
}

// The names of canonical tensors and of the mflux tensors made of them, in all the models together.
std::multimap<std::string, MappedTensor> all_mapped(
    const std::string& model, const std::string& component) {
  const bool flux = model == "flux";
  SourceComponent source = load_headers(flux ? "flux-dev.txt" : "qwen-image.txt").at(component);
  if (flux && component == "vae") {  // an older kind of AutoencoderKL
    for (const char* name : {"quant_conv", "post_quant_conv"}) {
      source.tensors.push_back(
          {.name = std::string(name) + ".weight", .spec = {Dtype::bf16, {32, 32, 1, 1}}});
      source.tensors.push_back({.name = std::string(name) + ".bias", .spec = {Dtype::bf16, {32}}});
    }
  }
  std::multimap<std::string, MappedTensor> result;
  const Family& edit = family(flux ? "flux" : "qwen-edit");
  for (const MappedTensor& tensor :
       map_component(edit, source, Naming::diffusers, Naming::mflux).tensors) {
    result.emplace(tensor.pieces.front().canonical, tensor);
  }
  return result;
}

// mflux's table has four kinds of block number.
std::string with_holes(std::string name) {
  for (const char* hole : {"{block}", "{layer}", "{res}", "{i}"}) {
    const size_t at = name.find(hole);
    if (at != std::string::npos) name.replace(at, std::string(hole).size(), "{}");
  }
  return name;
}

TEST_CASE("every name of mflux's own tables is ours, and ours are all in them") {
  std::ifstream in(std::string(MFLUX_TEST_DATA) + "/models/mflux-names.txt");
  REQUIRE(in);
  std::multimap<std::string, MappedTensor> mapped;
  std::set<std::string> explained;
  const auto check_all_explained = [&] {
    for (const auto& [canonical, tensor] : mapped) {
      CAPTURE(tensor.name);
      CHECK(explained.contains(tensor.name));
    }
  };
  size_t entries = 0;
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string canonical;
    std::string name;
    std::string transform;
    words >> canonical >> name >> transform;
    if (canonical == "#") {
      check_all_explained();
      mapped = all_mapped(name, transform);
      explained.clear();
      continue;
    }
    CAPTURE(line);
    ++entries;
    const std::string from = with_holes(canonical);
    const std::string to = with_holes(name);
    size_t hits = 0;
    for (const auto& [found, tensor] : mapped) {
      const std::optional<Indices> at = match(from, found);
      if (!at) continue;
      // one source for all blocks, or the same numbers
      if (placeholders(to) == at->count && fill(to, *at) != tensor.name) continue;
      if (placeholders(to) != at->count && !match(to, tensor.name)) continue;
      ++hits;
      explained.insert(tensor.name);
      const bool moved = transform != "-" && transform != "reshape_gamma_to_1d";
      CHECK((moved || tensor.transpose.none()));
    }
    CHECK(hits > 0);
  }
  check_all_explained();
  CHECK(entries > 350);
}

}  // namespace
}  // namespace mflux::models

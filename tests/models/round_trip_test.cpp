// SPDX-License-Identifier: MIT
#include <map>
#include <set>

#include <doctest/doctest.h>

#include "mflux/models/family.h"
#include "tests/models/headers.h"

namespace mflux::models {
namespace {

using testing::as_source;
using testing::family;
using testing::kFluxNarrow;
using testing::load_component;
using testing::load_headers;
using testing::mapped_named;
using testing::tiny;

// Every row of `second`'s output is the same row of the same tensor of `source`.
void check_identity(
    const SourceComponent& source, const MappedComponent& first, const MappedComponent& second) {
  std::set<std::string> names(first.left_out.begin(), first.left_out.end());
  for (const MappedTensor& tensor : second.tensors) {
    CAPTURE(tensor.name);
    names.insert(tensor.name);
    uint64_t next = 0;
    for (const Piece& piece : tensor.pieces) {
      CHECK(piece.output_begin == next);
      next += piece.count;
      const MappedTensor& middle = first.tensors[piece.source];
      CHECK(middle.transpose.channels == tensor.transpose.positions);
      CHECK(middle.transpose.positions == tensor.transpose.channels);
      uint64_t covered = 0;
      for (const Piece& inner : middle.pieces) {
        const uint64_t begin = std::max(piece.source_begin, inner.output_begin);
        const uint64_t end =
            std::min(piece.source_begin + piece.count, inner.output_begin + inner.count);
        if (begin >= end) continue;
        covered += end - begin;
        CHECK(source.tensors[inner.source].name == tensor.name);
        const uint64_t row = inner.source_begin + (begin - inner.output_begin);
        CHECK(row == piece.output_begin + (begin - piece.source_begin));
      }
      CHECK(covered == piece.count);
    }
    CHECK(next == (tensor.shape.empty() ? 1 : tensor.shape.front()));
    const auto original =
        std::ranges::find(source.tensors, tensor.name, &SourceComponent::Tensor::name);
    REQUIRE(original != source.tensors.end());
    CHECK(tensor.shape == original->spec.shape);
  }
  CHECK(names.size() == source.tensors.size());
}

void check_round_trip(const Family& model, const SourceComponent& source, Naming over) {
  const MappedComponent there = map_component(model, source, Naming::diffusers, over);
  const SourceComponent between = as_source(source, there);
  const MappedComponent back = map_component(model, between, over, Naming::diffusers);
  check_identity(source, there, back);
}

TEST_CASE("diffusers to mflux and back is the identity") {
  for (const char* file : {"flux-dev.txt", "flux-schnell.txt", "flux-fill.txt"}) {
    for (const auto& [name, source] : load_headers(file)) {
      CAPTURE(name);
      check_round_trip(family("flux"), source, Naming::mflux);
    }
  }
  for (const char* variant : {"qwen", "qwen-edit"}) {
    for (const auto& [name, source] : load_headers("qwen-image.txt")) {
      CAPTURE(name);
      check_round_trip(family(variant), source, Naming::mflux);
    }
  }
}

TEST_CASE("diffusers to the original single file and back is the identity") {
  for (const char* file : {"flux-dev.txt", "flux-schnell.txt", "flux-fill.txt"}) {
    check_round_trip(family("flux"), load_component(file, "transformer"), Naming::original);
  }
  check_round_trip(
      family("qwen"), load_component("qwen-image.txt", "transformer"), Naming::original);
}

TEST_CASE("every naming is the identity onto itself") {
  for (const Naming naming : {Naming::diffusers, Naming::mflux, Naming::original}) {
    const SourceComponent start = load_component("flux-dev.txt", "transformer");
    const MappedComponent first = map_component(family("flux"), start, Naming::diffusers, naming);
    const SourceComponent source = as_source(start, first);
    const MappedComponent mapped = map_component(family("flux"), source, naming, naming);
    REQUIRE(mapped.tensors.size() == source.tensors.size());
    for (size_t i = 0; i < mapped.tensors.size(); ++i) {
      CHECK(mapped.tensors[i].name == source.tensors[i].name);
      for (const Piece& piece : mapped.tensors[i].pieces) {
        CHECK(piece.source == i);
        CHECK(piece.source_begin == piece.output_begin);
      }
    }
  }
}

TEST_CASE("two blocks of small widths are a model") {
  const SourceComponent flux = tiny(load_component("flux-dev.txt", "transformer"), kFluxNarrow);
  CHECK(flux.tensors.size() == 20 + 2 * 32 + 2 * 14);
  check_round_trip(family("flux"), flux, Naming::mflux);
  check_round_trip(family("flux"), flux, Naming::original);
  const SourceComponent qwen = tiny(load_component("qwen-image.txt", "transformer"));
  check_round_trip(family("qwen"), qwen, Naming::mflux);
}

// diffusers' own test pipeline has three stages of one resnet instead of four of two.
TEST_CASE("the Qwen VAE may have other stages") {
  SourceComponent source = load_component("qwen-image.txt", "vae");
  const std::string list = "encoder.down_blocks.";
  const std::map<std::string, std::string> renumbered = {
      {"0", "0"}, {"2", "1"}, {"3", "2"}, {"8", "3"}, {"9", "4"}};
  std::erase_if(source.tensors, [&](SourceComponent::Tensor& tensor) {
    if (!tensor.name.starts_with(list)) return false;
    const size_t dot = tensor.name.find('.', list.size());
    const auto number = renumbered.find(tensor.name.substr(list.size(), dot - list.size()));
    if (number == renumbered.end()) return true;
    tensor.name = list + number->second + tensor.name.substr(dot);
    return false;
  });
  check_round_trip(family("qwen"), source, Naming::mflux);
  const MappedComponent mapped =
      map_component(family("qwen"), source, Naming::diffusers, Naming::mflux);
  CHECK(mapped.left_out.size() == 2);  // time_conv of the second stage
  const MappedTensor& last =
      mapped_named(mapped, "encoder.down_blocks.2.resnets.0.conv1.conv3d.weight");
  CHECK(last.pieces.front().canonical == "encoder.down_blocks.4.conv1.weight");
}

TEST_CASE("the original file has fused attention, its vectors cut by element") {
  const SourceComponent source = tiny(load_component("flux-dev.txt", "transformer"), kFluxNarrow);
  const MappedComponent mapped =
      map_component(family("flux"), source, Naming::diffusers, Naming::original);
  const MappedTensor& fused = mapped_named(mapped, "single_blocks.1.linear1.weight");
  CHECK(fused.shape == Shape{64 * 3 + 192, 64});
  REQUIRE(fused.pieces.size() == 4);
  CHECK(fused.pieces[3].canonical == "single_transformer_blocks.1.proj_mlp.weight");
  CHECK(fused.pieces[3].output_begin == 192);
  const MappedTensor& bias = mapped_named(mapped, "single_blocks.1.linear1.bias");
  CHECK(bias.pieces[3].count == 192);
  CHECK(mapped_named(mapped, "double_blocks.0.img_attn.norm.query_norm.scale").shape == Shape{16});
}

TEST_CASE("the original's final modulation has its halves swapped") {
  const SourceComponent source = tiny(load_component("flux-dev.txt", "transformer"), kFluxNarrow);
  const MappedComponent mapped =
      map_component(family("flux"), source, Naming::diffusers, Naming::original);
  for (const char* name :
       {"final_layer.adaLN_modulation.1.weight", "final_layer.adaLN_modulation.1.bias"}) {
    const MappedTensor& tensor = mapped_named(mapped, name);
    REQUIRE(tensor.pieces.size() == 2);
    CHECK(tensor.pieces[0].source_begin == 64);
    CHECK(tensor.pieces[0].canonical_begin == 64);
    CHECK(tensor.pieces[0].output_begin == 0);
    CHECK(tensor.pieces[1].source_begin == 0);
    CHECK(tensor.pieces[1].output_begin == 64);
  }
}

TEST_CASE("a convolution goes from channels first to channels last") {
  const SourceComponent source = load_component("flux-dev.txt", "vae");
  const MappedComponent mapped =
      map_component(family("flux"), source, Naming::diffusers, Naming::mflux);
  const MappedTensor& tensor = mapped_named(mapped, "decoder.conv_in.conv2d.weight");
  CHECK(tensor.shape == Shape{512, 3, 3, 16});
  CHECK(tensor.transpose == RowTranspose{.channels = 16, .positions = 9});
  const MappedComponent back =
      map_component(family("flux"), as_source(source, mapped), Naming::mflux, Naming::diffusers);
  CHECK(
      mapped_named(back, "decoder.conv_in.weight").transpose ==
      RowTranspose{.channels = 9, .positions = 16});
}

TEST_CASE(
    "T5's relative bias stands in every block of mflux's naming, and is read from the first") {
  const SourceComponent source = load_component("flux-dev.txt", "text_encoder_2");
  const MappedComponent mapped =
      map_component(family("flux"), source, Naming::diffusers, Naming::mflux);
  const std::string tail = ".attention.SelfAttention.relative_attention_bias.weight";
  const size_t only = mapped_named(mapped, "t5_blocks.0" + tail).pieces.front().source;
  CHECK(mapped_named(mapped, "t5_blocks.23" + tail).pieces.front().source == only);
  const MappedComponent back =
      map_component(family("flux"), as_source(source, mapped), Naming::mflux, Naming::diffusers);
  CHECK(back.left_out.size() == 23);
  CHECK(back.tensors.size() == source.tensors.size());
}

TEST_CASE("tensors come in the order of the source") {
  const SourceComponent source = tiny(load_component("flux-dev.txt", "transformer"));
  const MappedComponent mapped =
      map_component(family("flux"), source, Naming::diffusers, Naming::mflux);
  for (size_t i = 0; i < mapped.tensors.size(); ++i) {
    CHECK(mapped.tensors[i].pieces.front().source == i);
  }
}

}  // namespace
}  // namespace mflux::models

// SPDX-License-Identifier: MIT
#include "mflux/models/published.h"

#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/models/headers.h"
#include "tests/testing.h"

namespace mflux::models {
namespace {

using mflux::testing::contains;
using mflux::testing::error_of;

std::map<std::string, Shape> shapes_of(const SourceComponent& source) {
  std::map<std::string, Shape> shapes;
  for (const SourceComponent::Tensor& tensor : source.tensors)
    shapes[tensor.name] = tensor.spec.shape;
  return shapes;
}

TEST_CASE("the published sizes are those of the published headers") {
  for (const auto& [family, file] :
       {std::pair{"flux", "flux-dev.txt"}, std::pair{"qwen", "qwen-image.txt"}}) {
    for (const std::string& component : published_components(testing::family(family))) {
      CAPTURE(component);
      const Family& tables = testing::family(family);
      const auto sized =
          shapes_of(sized_component(tables, component, published_sizes(tables, component)));
      const auto published = shapes_of(testing::load_component(file, component));
      CHECK(sized.size() > 100);
      for (const auto& [name, shape] : sized) {
        CAPTURE(name);
        REQUIRE(published.contains(name));
        const bool any_width = contains(name, "relative_attention_bias");
        if (!any_width) CHECK(published.at(name) == shape);
      }
    }
  }
}

TEST_CASE("a sized component is whole for the tables, with the vision tower of an edit model") {
  for (const char* name : {"flux", "qwen", "qwen-edit"}) {
    const Family& family = testing::family(name);
    for (const std::string& component : published_components(family)) {
      const SourceComponent source =
          sized_component(family, component, published_sizes(family, component));
      const auto shapes = canonical_shapes(family, source, Naming::diffusers);
      CHECK(shapes.size() >= source.tensors.size());
      const bool has_vision = shapes.contains("visual.blocks.31.mlp.up_proj.weight");
      CHECK(has_vision == (std::string(name) == "qwen-edit" && component == "text_encoder"));
    }
  }
}

TEST_CASE("widths follow from the matrices of a LoRA, fused or not") {
  const Family& flux = testing::family("flux");
  const Sizes published = published_sizes(flux, "transformer");
  const auto widths = [&](const std::vector<SeenMatrix>& seen) {
    return fit_sizes(flux, "transformer", seen, published).widths;
  };
  const std::string single = "single_transformer_blocks.1.";
  const std::vector<std::string> linear1 = {
      single + "attn.to_q", single + "attn.to_k", single + "attn.to_v", single + "proj_mlp"};
  auto found = widths({{linear1, 3 * 64 + 192, 64}});
  CHECK(found.at('h') == 64);
  CHECK(found.at('m') == 192);
  CHECK(found.at('t') == 4096);
  found = widths({{{single + "proj_out"}, 64, 64 + 100}});
  CHECK(found.at('m') == 100);
  found = widths({{{"transformer_blocks.0.attn.to_q"}, 96, 96}});
  CHECK(found.at('h') == 96);
  CHECK(found.at('m') == 384);  // in the published proportion
  found = widths({{{"transformer_blocks.0.norm1.linear"}, 6 * 96 + 1, 97}, {{"unknown"}, 3, 3}});
  CHECK(found.at('h') == 97);
  CHECK(widths({{{"transformer_blocks.0.attn.norm_q"}, 32, 0}}).at('d') == 32);
  CHECK(widths({{{"transformer_blocks.0.attn.to_q"}, 32, 0}}) == published.widths);
  CHECK(widths({}) == published.widths);
}

TEST_CASE("a component without published sizes is an error") {
  CHECK(contains(error_of([] { published_sizes(testing::family("flux"), "vae"); }), "'vae'"));
}

}  // namespace
}  // namespace mflux::models

// SPDX-License-Identifier: MIT
#include <array>
#include <filesystem>
#include <string>

#include <doctest/doctest.h>
#include <mlx/mlx.h>

#include "mflux/base/error.h"
#include "mflux/pipelines/flux/pipeline.h"
#include "mflux/pipelines/flux/variant.h"
#include "tests/testing.h"
#include "tests/tiny_model.h"

namespace mflux {
namespace {

using pipelines::Request;
using pipelines::flux::check;
using pipelines::flux::defaults_of;
using pipelines::flux::Pictures;
using pipelines::flux::Variant;
using pipelines::flux::variant_of;

TEST_CASE("the files say which FLUX.1 it is") {
  const testing::TempDir folder;
  testing::write_tiny_model(folder / "flux", testing::TinyFamily::flux);
  const Variant dev = variant_of(open_checkpoint(folder / "flux"));
  CHECK(dev.pictures == Pictures::optional);
  CHECK(dev.guidance);
  CHECK_FALSE(dev.kontext);
  testing::write_file(
      folder / "flux/model_index.json", R"({"_class_name": "FluxKontextPipeline"})");
  CHECK(variant_of(open_checkpoint(folder / "flux")).kontext);
  // Folders saved by Python's mflux have none.
  std::filesystem::remove(folder / "flux/model_index.json");
  CHECK_FALSE(variant_of(open_checkpoint(folder / "flux")).kontext);
}

TEST_CASE("defaults are those of the variant") {
  CHECK(defaults_of({}).steps == 25);
  CHECK(defaults_of({}).guidance == 3.5F);
  CHECK(defaults_of({}).shift);
  const auto schnell = defaults_of({.guidance = false});
  CHECK(schnell.steps == 4);
  CHECK_FALSE(schnell.uses_guidance);
  CHECK_FALSE(schnell.shift);
  CHECK(defaults_of({.kontext = true}).guidance == 2.5F);
  CHECK(defaults_of({.pictures = Pictures::control}).guidance == 10);
  CHECK(defaults_of({.pictures = Pictures::fill}).guidance == 30);
}

TEST_CASE("a pipeline needs all four components, and the right folder") {
  const testing::TempDir folder;
  const std::filesystem::path path = folder / "flux";
  testing::write_tiny_model(path, testing::TinyFamily::flux);
  const auto pipeline = [&](const Checkpoint& model) {
    return pipelines::flux::make_pipeline(model, {});
  };
  {
    // Its tokenizers are stand-ins.
    const Checkpoint model = open_checkpoint(path);
    CHECK_NOTHROW(pipeline(model));
    std::filesystem::remove_all(path / "tokenizer");
    CHECK_THROWS_AS(pipeline(model)->condition({.prompt = "a cat"}), Error);
  }
  for (const std::string component : {"vae", "text_encoder_2", "text_encoder"}) {
    CAPTURE(component);
    std::filesystem::remove_all(path / component);
    const Checkpoint model = open_checkpoint(path);
    CHECK_THROWS_AS(pipeline(model), Error);
    CHECK_THROWS_WITH(
        pipeline(model),
        doctest::Contains(fmt::format("has no component '{}'", component).c_str()));
    testing::write_tiny_model(path, testing::TinyFamily::flux);
  }
}

TEST_CASE("components of different models do not go together") {
  const testing::TempDir folder;
  testing::write_tiny_model(folder / "flux", testing::TinyFamily::flux);
  Checkpoint model = open_checkpoint(folder / "flux");
  for (Component& component : model.components) {
    if (component.name != "text_encoder_2") continue;
    component.source.config.clear();  // which would contradict the tensors
    for (auto& tensor : component.source.tensors) {
      for (uint64_t& size : tensor.spec.shape) size = size == 128 ? 192 : size;
    }
  }
  CHECK_THROWS_WITH(
      variant_of(model),
      "text_encoder_2 gives 192 channels, but the transformer's 'context_embedder' takes 128: they "
      "belong to different models");
}

TEST_CASE("a transformer of unknown input is an error") {
  const testing::TempDir folder;
  testing::write_tiny_model(folder / "flux", testing::TinyFamily::flux);
  Checkpoint model = open_checkpoint(folder / "flux");
  const auto with_channels = [&](uint64_t channels) {
    for (Component& component : model.components) {
      if (component.name == "transformer") component.source.config.clear();
      for (auto& tensor : component.source.tensors) {
        if (tensor.name == "x_embedder.weight") tensor.spec.shape[1] = channels;
      }
    }
    return variant_of(model).pictures;
  };
  CHECK(with_channels(128) == Pictures::control);
  CHECK(with_channels(384) == Pictures::fill);
  CHECK_THROWS_WITH(
      with_channels(96),
      "transformer: 'x_embedder.weight' takes 96 channels, expected 64 (dev, schnell, Kontext), "
      "128 (Canny, Depth) or 384 (Fill)");
}

TEST_CASE("a request must fit the variant") {
  struct Case {
    const char* message;  // "" if it fits
    Pictures pictures;
    int references;
    std::array<int, 2> mask;  // height and width, 0: none
    int height = 32;
  };
  const std::array cases = {
      Case{"", Pictures::optional, 0, {}},
      Case{"", Pictures::optional, 1, {}},
      Case{"", Pictures::control, 1, {}},
      Case{"", Pictures::fill, 1, {32, 48}},
      Case{
          "this is FLUX.1 Fill: it needs a reference picture and a mask",
          Pictures::fill,
          0,
          {32, 48}},
      Case{"this is FLUX.1 Fill: it needs a reference picture and a mask", Pictures::fill, 1, {}},
      Case{
          "this is FLUX.1 Canny or Depth: it needs a reference picture, of edges or of depth",
          Pictures::control,
          0,
          {}},
      Case{"2 reference pictures: FLUX.1 takes one", Pictures::optional, 2, {}},
      Case{
          "a mask: only FLUX.1 Fill takes one, and this is another model",
          Pictures::optional,
          0,
          {32, 48}},
      Case{"a mask of 32 x 48 pixels for a picture of 48 x 32", Pictures::fill, 1, {48, 32}},
      Case{"a picture of 48 x 40 pixels: expected multiples of 16", Pictures::optional, 0, {}, 40},
      Case{"a picture of 48 x 0 pixels: expected multiples of 16", Pictures::optional, 0, {}, 0},
  };
  for (const Case& test : cases) {
    CAPTURE(test.message);
    Request request{.height = test.height, .width = 48};
    for (int i = 0; i < test.references; ++i) request.references.push_back(mx::zeros({32, 48, 3}));
    if (test.mask[0] > 0) request.mask = mx::zeros({test.mask[0], test.mask[1]});
    const Variant variant{.pictures = test.pictures};
    if (std::string(test.message).empty()) {
      CHECK_NOTHROW(check(request, variant));
    } else {
      CHECK_THROWS_WITH(check(request, variant), test.message);
    }
  }
}

}  // namespace
}  // namespace mflux

// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>
#include <mlx/mlx.h>

#include "mflux/base/error.h"
#include "mflux/pipelines/qwen/pipeline.h"
#include "tests/testing.h"
#include "tests/tiny_model.h"

namespace mflux {
namespace {

using pipelines::qwen::make_pipeline;

// As in a condition, without a text encoder.
pipelines::Condition condition_of(int height, int width) {
  return {
      .text = mx::random::normal({1, 3, 128}),
      .negative = mx::random::normal({1, 5, 128}),
      .latent_height = height,
      .latent_width = width,
      .guidance = 2};
}

TEST_CASE("a step block by block is the step, and the picture in tiles the picture") {
  const testing::TempDir folder;
  testing::write_tiny_model(folder / "model", testing::TinyFamily::qwen);
  const Checkpoint model = open_checkpoint(folder / "model");
  std::vector<std::string> loaded;
  const auto whole = make_pipeline(
      model, {.on_load = [&](std::string_view component) { loaded.emplace_back(component); }});
  const auto careful = make_pipeline(model, {.low_memory = true, .vae_tile = 64});
  const pipelines::Condition condition = condition_of(4, 3);
  const mx::array latents = mx::random::normal({1, 12, 64});
  const mx::array velocity = whole->predict(latents, 0.7F, condition);
  CHECK(velocity.shape() == mx::Shape{1, 12, 64});
  CHECK(mx::array_equal(velocity, careful->predict(latents, 0.7F, condition)).item<bool>());
  CHECK(whole->decode(latents, 64, 48).shape() == mx::Shape{64, 48, 3});
  const mx::array tiled = careful->decode(latents, 64, 48);
  CHECK(mx::allclose(tiled, whole->decode(latents, 64, 48)).item<bool>());
  CHECK(whole->encode(tiled).shape() == mx::Shape{1, 12, 64});
  CHECK(loaded == std::vector<std::string>{"transformer", "vae", "vae", "vae"});
}

TEST_CASE("without a negative prompt a step is the positive prompt's") {
  const testing::TempDir folder;
  testing::write_tiny_model(folder / "model", testing::TinyFamily::qwen);
  const Checkpoint model = open_checkpoint(folder / "model");
  const auto pipeline = make_pipeline(model, {});
  pipelines::Condition condition = condition_of(2, 2);
  condition.guidance = 1;
  const mx::array latents = mx::random::normal({1, 4, 64});
  const mx::array both = pipeline->predict(latents, 0.5F, condition);
  condition.negative.reset();
  const mx::array one = pipeline->predict(latents, 0.5F, condition);
  CHECK(mx::allclose(one, both, 1e-4, 1e-5).item<bool>());
}

TEST_CASE("what a Qwen-Image cannot make is refused by name") {
  const testing::TempDir folder;
  testing::write_tiny_model(folder / "model", testing::TinyFamily::qwen);
  Checkpoint model = open_checkpoint(folder / "model");
  const auto pipeline = make_pipeline(model, {});
  const mx::array picture = mx::zeros({64, 64, 3});
  CHECK_THROWS_WITH_AS(
      pipeline->condition({.references = {picture}}),
      "Qwen-Image: takes no reference pictures (Qwen-Image-Edit does); --image begins with a "
      "picture",
      Error);
  CHECK_THROWS_WITH_AS(
      pipeline->condition({.mask = mx::zeros({64, 64})}), "Qwen-Image: takes no mask", Error);
  CHECK_THROWS_WITH_AS(
      pipeline->condition({.height = 100, .width = 64}),
      "a picture of 64 x 100 pixels: both must be multiples of 16",
      Error);
  CHECK_THROWS_AS(pipeline->encode(mx::zeros({64, 65, 3})), Error);
  // The tiny model's tokenizer is a stand-in.
  std::filesystem::remove_all(folder / "model/tokenizer");
  const std::string tokenizer = (folder / "model/tokenizer").string();
  CHECK_THROWS_WITH_AS(
      pipeline->condition({.prompt = "a cat"}), doctest::Contains(tokenizer.c_str()), Error);
  std::erase_if(model.components, [](const Component& part) { return part.name == "vae"; });
  CHECK_THROWS_WITH_AS(
      make_pipeline(model, {}), doctest::Contains("has no component 'vae'"), Error);
}

TEST_CASE("an Edit model wants a picture") {
  const testing::TempDir folder;
  testing::write_tiny_model(folder / "model", testing::TinyFamily::qwen);
  const Checkpoint model = open_checkpoint(folder / "model", "qwen-image-edit");
  const auto pipeline = make_pipeline(model, {});
  CHECK_THROWS_WITH_AS(
      pipeline->condition({.prompt = "make it blue"}),
      "Qwen-Image-Edit: needs a picture to edit",
      Error);
}

TEST_CASE("another family is not a Qwen-Image") {
  const testing::TempDir folder;
  testing::write_tiny_model(folder / "model", testing::TinyFamily::flux);
  const Checkpoint model = open_checkpoint(folder / "model");
  CHECK_THROWS_WITH_AS(
      make_pipeline(model, {}), doctest::Contains("is FLUX.1, expected Qwen-Image"), Error);
}

}  // namespace
}  // namespace mflux

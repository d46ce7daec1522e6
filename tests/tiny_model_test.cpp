// SPDX-License-Identifier: MIT
#include "tests/tiny_model.h"

#include <algorithm>

#include <doctest/doctest.h>

#include "mflux/bake/plan.h"
#include "mflux/bake/prepare.h"
#include "mflux/checkpoint/checkpoint.h"
#include "tests/testing.h"

namespace mflux::testing {
namespace {

struct Case {
  TinyFamily family;
  const char* title;
};

TEST_CASE("a tiny model is a whole model of its family") {
  for (const Case& item :
       {Case{TinyFamily::flux, "FLUX.1"}, Case{TinyFamily::qwen, "Qwen-Image"}}) {
    CAPTURE(item.title);
    const TempDir folder;
    write_tiny_model(folder.path(), item.family, {.hidden = 64});
    const Checkpoint model = open_checkpoint(folder.path());
    CHECK(models::family_title(*model.family) == item.title);
    CHECK(model.components.size() == (item.family == TinyFamily::flux ? 4 : 3));
    CHECK(std::ranges::count(model.copied, "transformer/config.json") == 1);
    lora::Loaded none;
    const Plan plan = make_plan(model, none, {.bits = 8});
    CHECK(std::ranges::any_of(
        plan.tensors, [](const PlannedTensor& t) { return t.format.has_value(); }));
  }
}

TEST_CASE("a tiny model has the same bytes each time") {
  const TempDir folder;
  for (const char* name : {"a", "b"})
    write_tiny_model(folder / name, TinyFamily::flux, {.hidden = 64});
  const std::string file = "transformer/diffusion_pytorch_model-00001-of-00002.safetensors";
  CHECK(read_file(folder / "a" / file) == read_file(folder / "b" / file));
}

TEST_CASE("LoRAs for a tiny model fit it, but the misfit") {
  for (const TinyFamily family : {TinyFamily::flux, TinyFamily::qwen}) {
    const TempDir folder;
    write_tiny_model(folder / "model", family, {.hidden = 64});
    const Checkpoint model = open_checkpoint(folder / "model");
    const auto problems = [&](TinyLora kind) {
      write_tiny_lora(folder / "lora.safetensors", family, kind, {.hidden = 64});
      const lora::Loaded loaded =
          load_loras(model, {.loras = {{.name = (folder / "lora.safetensors").string()}}});
      CHECK_FALSE(loaded.adapters.front().keys.empty());
      return lora::describe(loaded.problems);
    };
    CHECK(problems(TinyLora::peft) == lora::describe({}));
    CHECK(problems(TinyLora::kohya) == lora::describe({}));
    const std::string text = problems(TinyLora::misfit);
    CHECK(contains(text, "transformer_blocks.99.attn.to_q"));
    CHECK(contains(text, "the LoRA gives 128 x 64"));
  }
}

}  // namespace
}  // namespace mflux::testing

// SPDX-License-Identifier: MIT
// --on-lora-failure and --lora-block-scales, through the program: status, log, receipt, output, and
// the second bake of verify.
#include <filesystem>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "mflux/safetensors/folder.h"
#include "tests/folders.h"
#include "tests/program.h"
#include "tests/tiny_save.h"

namespace mflux::testing {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using Arguments = std::vector<std::string>;

// A LoRA that fits, one that does not, and one whose text encoder layers matter.
struct Loras {
  Loras() {
    write_tiny_lora(tiny.path("bad.safetensors"), TinyFamily::flux, TinyLora::misfit, tiny.kSize);
    write_tiny_lora(tiny.path("kohya.safetensors"), TinyFamily::flux, TinyLora::kohya, tiny.kSize);
  }

  std::string good() const { return tiny.path("lora.safetensors"); }
  std::string bad() const { return tiny.path("bad.safetensors"); }
  std::string kohya() const { return tiny.path("kohya.safetensors"); }

  ProgramRun save(const std::string& output, const Arguments& loras, const Arguments& more) const {
    const Arguments base = {"save", "--model", tiny.path("model"), "--path", tiny.path(output)};
    return run_program(base + (Arguments{"--lora"} + loras) + more);
  }

  ProgramRun verify(
      const std::string& output, const Arguments& loras, const Arguments& more = {}) const {
    const Arguments base = {"verify", tiny.path(output), "--base", tiny.path("model")};
    return run_program(base + (Arguments{"--lora"} + loras) + more);
  }

  Json receipt(const std::string& output) const {
    return Json::parse(read_file(tiny.folder / output / "bake.json"));
  }

  std::string transformer(const std::string& output) const {
    return read_file(tiny.folder / output / "transformer/0.safetensors");
  }

  TinySave tiny;
};

size_t skipped_keys(const Json& lora) {
  size_t count = 0;
  for (const Json& key : lora.at("keys")) count += key.contains("skipped") ? 1U : 0U;
  return count;
}

const Arguments kEight = {"-q", "8"};

TEST_CASE("one bad LoRA of several ends a save with status 3 and every misfit, writing nothing") {
  const Loras loras;
  const auto before = contents_of(loras.tiny.folder.path());
  const ProgramRun run = loras.save("out", {loras.good(), loras.bad()}, kEight);
  CHECK(run.status == 3);
  CHECK(contains(run.err, "bad.safetensors: 2 problems"));
  CHECK(contains(run.err, "[shape-mismatch]"));
  CHECK(contains(run.err, "[unknown-module]"));
  CHECK(differences(contents_of(loras.tiny.folder.path()), before).empty());
}

TEST_CASE("skip-layer leaves out the layers that do not fit and says so in log and receipt") {
  const Loras loras;
  const Arguments both = {loras.good(), loras.bad()};
  const ProgramRun run =
      loras.save("out", both, kEight + Arguments{"--on-lora-failure", "skip-layer"});
  CHECK_MESSAGE(run.status == 0, run.err);
  CHECK(contains(run.err, "bad.safetensors: skipped: Cannot merge "));
  CHECK(
      contains(run.err, "bad.safetensors: skipped: 'transformer.transformer_blocks.99.attn.to_q'"));
  const Json receipt = loras.receipt("out");
  CHECK(receipt["options"]["on_lora_failure"] == "skip-layer");
  CHECK(skipped_keys(receipt["loras"][0]) == 0);
  CHECK(skipped_keys(receipt["loras"][1]) == 4);
  CHECK(receipt["loras"][1]["layers"] == 19);
  const ProgramRun verified = loras.verify("out", both);
  CHECK_MESSAGE(verified.status == 0, verified.out);
}

TEST_CASE("skip-lora leaves out the LoRAs that do not fit and merges the others") {
  const Loras loras;
  const Arguments skip = kEight + Arguments{"--on-lora-failure", "skip-lora"};
  const ProgramRun run = loras.save("out", {loras.bad(), loras.good()}, skip);
  CHECK_MESSAGE(run.status == 0, run.err);
  CHECK(contains(run.err, "bad.safetensors: left out"));
  CHECK(contains(run.err, "bad.safetensors: nothing of it was merged"));
  const Json receipt = loras.receipt("out");
  CHECK(receipt["loras"][0]["layers"] == 0);
  CHECK(skipped_keys(receipt["loras"][0]) == receipt["loras"][0]["keys"].size());
  CHECK(skipped_keys(receipt["loras"][1]) == 0);
  REQUIRE(loras.save("good", {loras.good()}, kEight).status == 0);
  CHECK(loras.transformer("out") == loras.transformer("good"));
  CHECK(loras.verify("out", {loras.bad(), loras.good()}).status == 0);
}

TEST_CASE("if every LoRA is left out the model is saved as it is, with a word") {
  const Loras loras;
  const ProgramRun run =
      loras.save("out", {loras.bad()}, kEight + Arguments{"--on-lora-failure", "skip-lora"});
  CHECK_MESSAGE(run.status == 0, run.err);
  CHECK(contains(run.err, "nothing of it was merged"));
  CHECK_FALSE(contains(run.err, "survives rounding"));
  const ProgramRun plain = run_program(
      {"save", "--model", loras.tiny.path("model"), "--path", loras.tiny.path("plain"), "-q", "8"});
  REQUIRE(plain.status == 0);
  CHECK(loras.transformer("out") == loras.transformer("plain"));
  CHECK(loras.verify("out", {loras.bad()}).status == 0);
}

TEST_CASE("full-precision skips what does not fit and does not quantize, packed or at load") {
  const Loras loras;
  const Arguments full = kEight + Arguments{"--on-lora-failure", "full-precision"};
  REQUIRE(loras.save("out", {loras.bad()}, full).status == 0);
  REQUIRE(loras.save("at-load", {loras.bad()}, full + Arguments{"--quantize-at-load"}).status == 0);
  REQUIRE(loras.save("skip", {loras.bad()}, {"--on-lora-failure", "skip-layer"}).status == 0);
  for (const std::string output : {"out", "at-load"}) {
    CAPTURE(output);
    const auto folder = safetensors::open_folder(loras.tiny.folder / output / "transformer");
    CHECK(folder.metadata("quantization_level") == "None");
    CHECK(folder.metadata("mflux_cpp_quantized") == "");
    CHECK(loras.transformer(output) == loras.transformer("skip"));
    const ProgramRun verified = loras.verify(output, {loras.bad()});
    CHECK_MESSAGE(verified.status == 0, verified.out);
  }
  // It fits: so it is quantized after all.
  REQUIRE(loras.save("fits", {loras.good()}, full).status == 0);
  const auto folder = safetensors::open_folder(loras.tiny.folder / "fits/transformer");
  CHECK(folder.metadata("quantization_level") == "8");
}

TEST_CASE("text encoder keys where no text encoder is written are refused or left out") {
  const Loras loras;
  const Arguments one_file = {"--layout", "comfyui"};
  const ProgramRun refused = loras.save("out", {loras.kohya()}, one_file);
  CHECK(refused.status == 3);
  CHECK(contains(refused.err, "[component-absent]"));
  CHECK(contains(refused.err, "lora_te1_text_model_encoder_layers_0_mlp_fc1"));
  const Arguments skip = one_file + Arguments{"--on-lora-failure", "skip-layer"};
  CHECK(loras.save("skip", {loras.kohya()}, skip).status == 0);
  const Arguments scaled = one_file + Arguments{"--lora-block-scales", "text_encoder=0"};
  CHECK(loras.save("scaled", {loras.kohya()}, scaled).status == 0);
  CHECK(
      read_file(loras.tiny.folder / "skip/model.safetensors") ==
      read_file(loras.tiny.folder / "scaled/model.safetensors"));
}

TEST_CASE("block scales are in the receipt, and verify wants the same") {
  const Loras loras;
  const std::string part = "double:0=0.5,text_encoder=0";
  const Arguments scales = {"--lora-block-scales", part};
  REQUIRE(loras.save("out", {loras.kohya()}, kEight + scales).status == 0);
  const Json lora = loras.receipt("out")["loras"][0];
  CHECK(lora["block_scales"] == part);
  for (const Json& key : lora["keys"]) {
    const std::string name = key["key"];
    const double factor = contains(name, "lora_te1") ? 0 : (contains(name, "double") ? 0.5 : 1);
    CHECK(key.value("block_scale", 1.0) == factor);
  }
  CHECK(loras.verify("out", {loras.kohya()}, scales).status == 0);
  const ProgramRun other =
      loras.verify("out", {loras.kohya()}, {"--lora-block-scales", "single=1"});
  CHECK(other.status == 4);
  CHECK(contains(other.out, "block scales 'single=1', the receipt says '" + part + "'"));
  CHECK(loras.verify("out", {loras.kohya()}).status == 4);
}

TEST_CASE("block scales multiply the LoRA's own scale") {
  const Loras loras;
  REQUIRE(loras.save("a", {loras.good()}, {"--lora-scale", "0.25"}).status == 0);
  REQUIRE(
      loras.save("b", {loras.good()}, {"--lora-scale", "0.5", "--lora-block-scales", "*=0.5"})
          .status == 0);
  CHECK(loras.transformer("a") == loras.transformer("b"));
  REQUIRE(
      loras.save("c", {loras.good(), loras.good()}, {"--lora-block-scales", "*=0.25", "*=0"})
          .status == 0);
  CHECK(loras.transformer("a") == loras.transformer("c"));
}

TEST_CASE("block scales that are wrong end with status 2 and name the part") {
  const Loras loras;
  const ProgramRun unknown =
      loras.save("out", {loras.good()}, {"--lora-block-scales", "double=1,tripel:0-5=0.5"});
  CHECK(unknown.status == 2);
  CHECK(contains(unknown.err, "'tripel:0-5=0.5' means nothing in FLUX.1"));
  CHECK(contains(unknown.err, "transformer/single_transformer_blocks:0-0"));
  const ProgramRun count =
      loras.save("out", {loras.good(), loras.kohya()}, {"--lora-block-scales", "double=1"});
  CHECK(count.status == 2);
  CHECK(contains(count.err, "2 LoRA(s) but 1 argument(s) of --lora-block-scales"));
  CHECK_FALSE(fs::exists(loras.tiny.folder / "out"));
}

}  // namespace
}  // namespace mflux::testing

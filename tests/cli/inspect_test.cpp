// SPDX-License-Identifier: MIT
// mflux inspect, run as a program.
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "tests/checkpoints.h"
#include "tests/lora/lora_files.h"
#include "tests/program.h"

namespace mflux::cli {
namespace {

using lora::testing::LoraFile;
using testing::contains;
using testing::ProgramRun;
using testing::run_program;
using testing::TempDir;
using testing::tiny_flux;
using testing::write_file;
using testing::write_zeros;
using Json = nlohmann::json;

std::map<std::string, std::vector<Json>> events_of(const ProgramRun& run) {
  std::map<std::string, std::vector<Json>> events;
  for (const std::string& line : run.lines()) {
    const Json json = Json::parse(line);
    events[json.at("event").get<std::string>()].push_back(json);
  }
  return events;
}

LoraFile small_lora() {
  LoraFile file;
  file.add("lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight", {4, 64});
  file.add("lora_unet_double_blocks_0_img_attn_qkv.lora_up.weight", {192, 4});
  file.add_value("lora_unet_double_blocks_0_img_attn_qkv.alpha", 2);
  return file;
}

TEST_CASE("inspect tells people what a model is") {
  const TempDir folder;
  write_zeros(folder / "transformer/model.safetensors", tiny_flux());
  const ProgramRun run = run_program({"inspect", folder.path().string()});
  CHECK(run.status == 0);
  CHECK(run.err == "");
  CHECK(contains(run.out, "FLUX.1 (dev), diffusers names"));
  CHECK(contains(run.out, "single_transformer_blocks x2, transformer_blocks x2"));
  CHECK(contains(run.out, "Missing components: vae, text_encoder_2, text_encoder"));
  CHECK_FALSE(contains(run.out, "transformer/x_embedder.weight"));
  const ProgramRun all = run_program({"inspect", "--tensors", folder.path().string()});
  CHECK(contains(all.out, "transformer/x_embedder.weight"));
}

TEST_CASE("inspect --json is one object a line, with every tensor of a model") {
  const TempDir folder;
  const models::SourceComponent source = tiny_flux();
  write_zeros(folder / "transformer/model.safetensors", source);
  const ProgramRun run = run_program({"inspect", "--json", folder.path().string()});
  CHECK(run.status == 0);
  CHECK(run.err == "");
  const auto events = events_of(run);
  REQUIRE(events.at("model").size() == 1);
  CHECK(events.at("model")[0]["family"] == "flux");
  CHECK(events.at("model")[0]["variant"] == "dev");
  CHECK(events.at("model")[0]["naming"] == "diffusers");
  CHECK(events.at("model")[0]["receipt"].is_null());
  REQUIRE(events.at("component").size() == 1);
  CHECK(events.at("component")[0]["tensors"] == source.tensors.size());
  CHECK(events.at("component")[0]["shards"][0]["file"] == "model.safetensors");
  CHECK(events.at("tensor").size() == source.tensors.size());
}

TEST_CASE("inspect shows a packed folder and its receipt") {
  const TempDir folder;
  write_zeros(folder / "model/transformer/model.safetensors", tiny_flux());
  const std::string lora = small_lora().write(folder, "style.safetensors").string();
  const std::string out = (folder / "out").string();
  const ProgramRun save = run_program(
      {"save", "--model", (folder / "model").string(), "--path", out, "-q", "8", "--lora", lora});
  REQUIRE_MESSAGE(save.status == 0, save.err);
  const ProgramRun text = run_program({"inspect", out});
  CHECK(text.status == 0);
  CHECK(contains(text.out, "8-bit affine, group 64 x"));
  CHECK(contains(text.out, "(level 8)"));
  CHECK(contains(text.out, "style.safetensors at scale 1: "));
  const auto events = events_of(run_program({"inspect", "--json", out}));
  const Json& receipt = events.at("model")[0]["receipt"];
  CHECK(receipt["loras"][0]["file"] == "style.safetensors");
  CHECK(events.at("component")[0]["quantization_level"] == "8");
  CHECK(events.at("component")[0]["quantize_at_load"] == false);
}

TEST_CASE("inspect tells what a LoRA holds, alone and on a model") {
  const TempDir folder;
  const std::string lora = small_lora().write(folder, "style.safetensors").string();
  const ProgramRun alone = run_program({"inspect", lora});
  CHECK(alone.status == 0);
  CHECK(contains(alone.out, "LoRA, dialect kohya, made for FLUX.1 (layer names)"));
  CHECK(contains(alone.out, "Ranks:   4 x1"));
  CHECK(contains(alone.out, "Alphas:  2 (tensor) x1"));
  CHECK(contains(alone.out, "double_blocks_{}_img_attn_qkv"));
  write_zeros(folder / "model/transformer/model.safetensors", tiny_flux());
  const std::string model = (folder / "model").string();
  const ProgramRun tried = run_program({"inspect", lora, "--model", model});
  CHECK(tried.status == 0);
  CHECK(contains(tried.out, "On FLUX.1 it changes 3 of "));
  CHECK(contains(tried.out, "transformer_blocks.{}.attn.to_q  1/2"));
  const auto events = events_of(run_program({"inspect", "--json", lora, "--model", model}));
  const Json& found = events.at("lora").at(0);
  CHECK(found["dialect"] == "kohya");
  CHECK(found["family"] == "flux");
  CHECK(found["family_by"] == "names");
  CHECK(found["keys"] == Json({{"A", 1}, {"B", 1}, {"alpha", 1}}));
  CHECK(found["ranks"] == Json({{"4", 1}}));
  CHECK(events.at("module").at(0)["alpha_source"] == "tensor");
  CHECK(events.at("coverage").size() == 3);
  CHECK(events.at("coverage").at(0)["of"] == 2);
  CHECK(events.count("problem") == 0);
}

TEST_CASE("inspect lists what is wrong with a LoRA and still succeeds") {
  const TempDir folder;
  LoraFile file = small_lora();
  file.add("lora_unet_double_blocks_1_img_attn_qkv.lora_up.weight", {192, 4});
  const std::string lora = file.write(folder).string();
  const ProgramRun text = run_program({"inspect", lora});
  CHECK(text.status == 0);
  CHECK(contains(text.out, "Problems: 1"));
  CHECK(contains(text.out, "[incomplete]"));
  const auto events = events_of(run_program({"inspect", "--json", lora}));
  CHECK(events.at("problem").at(0)["kind"] == "incomplete");
}

TEST_CASE("inspect says first whether a LoRA fits, and what of it would survive") {
  const TempDir folder;
  write_zeros(folder / "model/transformer/model.safetensors", tiny_flux());
  const std::string model = (folder / "model").string();
  const std::string lora = small_lora().write(folder, "style.safetensors").string();
  const ProgramRun alone = run_program({"inspect", lora});
  CHECK(alone.lines().at(0) == "OK: fits FLUX.1 as it was published; --model tries a model");
  CHECK(contains(alone.out, "Trainer: kohya's scripts or a tool with their names (by key style)"));
  const ProgramRun tried = run_program({"inspect", lora, "--model", model});
  CHECK(tried.lines().at(0) == "OK: fits FLUX.1: every key can be merged");
  CHECK(contains(tried.out, "Expected to survive rounding: "));
  CHECK(contains(tried.out, "% at 4 bits (from 128 rows of each weight)"));
  CHECK_FALSE(contains(tried.out, "transformer/transformer_blocks.0.attn.to_q.weight"));
  const ProgramRun verbose = run_program({"inspect", lora, "--model", model, "-v"});
  CHECK(contains(verbose.out, "transformer/transformer_blocks.0.attn.to_q.weight"));
  const auto events = events_of(run_program({"inspect", "--json", lora, "--model", model}));
  CHECK(events.at("lora")[0]["fit"] == "fits");
  CHECK(events.at("lora")[0]["trainer_by"] == "key style");
  REQUIRE(events.at("kept").size() == 4);
  CHECK(events.at("kept")[0]["bits"] == 16);
  CHECK(events.at("kept")[3]["bits"] == 4);
  CHECK(events.at("kept")[3]["sampled_rows"] == 128);
  CHECK(events.at("kept layer").size() == 12);
  CHECK(events.at("block coverage")[0].contains("hit"));
}

TEST_CASE("inspect lists dead and double layers") {
  const TempDir folder;
  LoraFile file = small_lora();
  const std::string twin = "diffusion_model.double_blocks.0.img_attn.qkv";
  file.add(twin + ".lora_down.weight", {4, 64});
  file.tensors.push_back(testing::f32_tensor(
      twin + ".lora_up.weight", {192, 4}, std::vector<float>(std::size_t{192} * 4)));
  const std::string lora = file.write(folder).string();
  const ProgramRun text = run_program({"inspect", lora});
  CHECK(contains(text.out, "Dead (B is all zero): 1 module(s): " + twin));
  CHECK(contains(text.out, "Double: transformer/transformer_blocks.0.attn.to_k is changed by "));
  const auto events = events_of(run_program({"inspect", "--json", lora}));
  CHECK(events.at("dead").at(0)["module"] == twin);
  CHECK(events.at("duplicate").at(0)["modules"].size() == 2);
  const auto dead = events_of(run_program({"inspect", "--json", lora, "--lora-scale", "0"}));
  CHECK(dead.at("dead").size() == 2);
  CHECK(dead.at("lora")[0]["fit"] == "changes nothing");
}

TEST_CASE("inspect --convert writes another dialect, and says so") {
  const TempDir folder;
  const std::string lora = small_lora().write(folder, "style.safetensors").string();
  const std::string out = (folder / "out.safetensors").string();
  const ProgramRun run = run_program({"inspect", lora, "--convert", "diffusers", out});
  CHECK(run.status == 0);
  CHECK(contains(run.out, out + ": 3 layer(s), 6 tensors, "));
  CHECK(contains(run_program({"inspect", out}).out, "LoRA, dialect diffusers"));
  const ProgramRun again = run_program({"inspect", lora, "--convert", "diffusers", out});
  CHECK(again.status == 2);
  CHECK(contains(again.err, "exists; --overwrite replaces it"));
  const auto events = events_of(
      run_program({"inspect", "--convert", "comfyui", out, lora, "--overwrite", "--json"}));
  CHECK(events.at("converted").at(0)["from"] == "kohya");
  CHECK(events.at("converted").at(0)["layers"] == 1);
  CHECK(run_program({"inspect", lora, "--convert", "kohya"}).status == 2);
  CHECK(run_program({"inspect", lora, "--overwrite"}).status == 2);
}

TEST_CASE("inspect --convert ends with status 3 where the dialect has no word") {
  const TempDir folder;
  LoraFile file = small_lora();
  file.add("lora_te3_encoder_block_0_layer_0_SelfAttention_q.lora_down.weight", {4, 64});
  file.add("lora_te3_encoder_block_0_layer_0_SelfAttention_q.lora_up.weight", {64, 4});
  const std::string lora = file.write(folder).string();
  const std::string out = (folder / "out.safetensors").string();
  const ProgramRun run = run_program({"inspect", lora, "--convert", "diffusers", out});
  CHECK(run.status == 3);
  CHECK(contains(run.err, "lora_te3_encoder_block_0_layer_0_SelfAttention_q"));
  CHECK_FALSE(std::filesystem::exists(out));
  const ProgramRun without = run_program(
      {"inspect", lora, "--convert", "diffusers", out, "--lora-block-scales", "text_encoder_2=0"});
  CHECK(without.status == 0);
  CHECK(contains(without.out, "left out: its scale is 0"));
}

TEST_CASE("nothing in a file can command the terminal") {
  const TempDir folder;
  LoraFile file = small_lora();
  file.metadata["title"] = "a\x1b[31mb\nc\x7f";
  file.metadata["long"] = std::string(99, 'x') + "\u00e9" + std::string(50, 'y');
  const std::string lora = file.write(folder).string();
  const ProgramRun run = run_program({"inspect", lora});
  CHECK(run.status == 0);
  CHECK(run.out.find('\x1b') == std::string::npos);
  CHECK(contains(run.out, R"(title: a\x1b[31mb\nc\x7f)"));
  CHECK(contains(run.out, "long: " + std::string(99, 'x') + "... (151 bytes)"));
}

TEST_CASE("inspect fails with status 1 on what it cannot read, 2 on wrong usage") {
  const TempDir folder;
  std::filesystem::create_directories(folder / "empty");
  write_file(folder / "text.safetensors", "not a model");
  for (const std::string name : {"absent", "empty", "text.safetensors"}) {
    CAPTURE(name);
    const ProgramRun run = run_program({"inspect", (folder / name).string()});
    CHECK(run.status == 1);
    CHECK(run.out == "");
    CHECK_MESSAGE(contains(run.err, name), run.err);
    CHECK(run.err.find('\n') == run.err.size() - 1);
  }
  CHECK(run_program({"inspect"}).status == 2);
  CHECK(run_program({"inspect", "--nonsense", "x"}).status == 2);
}

}  // namespace
}  // namespace mflux::cli

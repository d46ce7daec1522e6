// SPDX-License-Identifier: MIT
#include "mflux/lora/stranger.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/lora/lora_files.h"

namespace mflux::lora {
namespace {

using testing::contains;
using testing::flux;
using testing::load_file;
using testing::LoraFile;
using testing::only_problem;
using testing::qwen;
using testing::require_clean;

LoraFile file_of(const std::vector<std::string>& keys) {
  LoraFile file;
  for (const std::string& key : keys) file.add(key, {4, 4});
  return file;
}

TEST_CASE("what is not a LoRA is told in one sentence that says what it is") {
  const struct {
    std::string what;
    std::vector<std::string> keys;
  } kCases[] = {
      {"a VAE",
       {"encoder.conv_in.weight", "decoder.conv_in.weight", "decoder.up_blocks.0.x.weight"}},
      {"a VAE", {"decoder.up.0.block.0.conv1.weight", "quant_conv.weight"}},
      {"a VAE", {"first_stage_model.decoder.conv_in.weight"}},
      {"a VAE", {"vae.decoder.conv_in.weight"}},
      {"a VAE", {"encoder.downsamples.0.x.weight", "decoder.upsamples.0.x.weight"}},
      {"a VAE", {"encoder.layers.0.weight", "decoder.layers.1.weight"}},
      {"a text encoder", {"text_model.encoder.layers.0.mlp.fc1.weight"}},
      {"a text encoder", {"encoder.block.0.layer.0.SelfAttention.q.weight", "shared.weight"}},
      {"a text encoder", {"model.layers.0.self_attn.q_proj.weight", "model.embed_tokens.weight"}},
      {"a text encoder", {"t5_blocks.0.attention.SelfAttention.q.weight"}},
      {"an image encoder", {"vision_model.encoder.layers.0.mlp.fc1.weight"}},
      {"a ControlNet", {"transformer_blocks.0.attn.to_q.weight", "controlnet_blocks.0.weight"}},
      {"a ControlNet", {"control_model.input_blocks.0.0.weight"}},
      {"a ControlNet", {"input_hint_block.0.weight", "double_blocks.0.img_attn.qkv.weight"}},
      {"an IP-Adapter", {"double_blocks.0.processor.ip_adapter_double_stream_k_proj.weight"}},
      {"an IP-Adapter", {"ip_adapter.1.to_k_ip.weight", "image_proj.proj.weight"}},
      {"a textual inversion", {"emb_params"}},
      {"a textual inversion", {"clip_l", "clip_g"}},
      {"a textual inversion", {"my-style"}},
      {"a textual inversion", {"string_to_param.x"}},
      {"a whole checkpoint",
       {"cond_stage_model.transformer.x.weight", "model.diffusion_model.out.2.weight"}},
      {"a text encoder", {"_orig_mod.text_model.encoder.layers.0.mlp.fc1.weight"}},
  };
  for (const auto& c : kCases) {
    CAPTURE(c.keys.front());
    const Problem problem = only_problem(load_file(file_of(c.keys), flux()));
    CHECK(problem.kind == ProblemKind::no_lora);
    CHECK(problem.module == "");
    CHECK_MESSAGE(contains(problem.message, "is not a LoRA but " + c.what), problem.message);
    CHECK(problem.message.find('\n') == std::string::npos);
    CHECK(contains(describe({&problem, 1}), "x.safetensors: is not a LoRA but "));
  }
}

TEST_CASE("a key of a LoRA beside such names makes it a LoRA, whose keys are told one by one") {
  LoraFile file = file_of({"controlnet_blocks.0.weight"});
  file.add("transformer_blocks.0.attn.to_q.lora_A.weight", {2, 64});
  file.add("transformer_blocks.0.attn.to_q.lora_B.weight", {64, 2});
  const Problem problem = only_problem(load_file(file, flux()));
  CHECK(problem.kind == ProblemKind::unknown_module);
}

// Every tensor of the transformer, under its own name.
LoraFile whole_transformer(const BaseModel& model, const std::string& prefix) {
  LoraFile file;
  for (const auto& [tensor, shape] : model.components.at("transformer")) {
    file.add(prefix + tensor, shape);
  }
  return file;
}

TEST_CASE("a whole transformer is not a LoRA, whatever stands before its names") {
  for (const std::string prefix : {"", "transformer.", "model.diffusion_model.", "_orig_mod."}) {
    CAPTURE(prefix);
    for (const BaseModel* model : {&flux(), &qwen()}) {
      const Problem problem = only_problem(load_file(whole_transformer(*model, prefix), *model));
      CHECK(problem.kind == ProblemKind::no_lora);
      CHECK_MESSAGE(contains(problem.message, "is not a LoRA but a whole model"), problem.message);
      CHECK(contains(problem.message, "--model"));
    }
  }
}

TEST_CASE("a whole transformer of another family or size is told as that, not by its names") {
  const Problem other = only_problem(load_file(whole_transformer(qwen(), ""), flux()));
  CHECK(other.kind == ProblemKind::no_lora);
  const Problem foreign = only_problem(load_file(
      file_of(
          {"input_blocks.0.a.weight",
           "input_blocks.1.a.weight",
           "input_blocks.2.a.weight",
           "middle_block.0.a.weight",
           "output_blocks.0.a.weight",
           "output_blocks.1.a.weight",
           "output_blocks.2.a.weight",
           "time_embed.0.weight"}),
      flux()));
  CHECK(foreign.kind == ProblemKind::no_lora);
  CHECK(contains(foreign.message, "none of its 8 tensors has a LoRA's ending"));
}

TEST_CASE("new values for some layers are a LoRA still") {
  LoraFile file;
  file.add("transformer_blocks.0.attn.to_q.weight", {64, 64});
  file.add("transformer_blocks.0.attn.to_q.bias", {64});
  file.add("double_blocks.1.img_attn.norm.query_norm.scale", {16});
  file.add("x_embedder.weight", {64, 64});
  file.add("proj_out.weight", {64, 64});
  const Loaded loaded = load_file(file, flux());
  require_clean(loaded);
  CHECK(loaded.adapters.front().updates.size() == 5);
}

TEST_CASE("a difference for every layer is a LoRA") {
  LoraFile file;
  for (const auto& [tensor, shape] : flux().components.at("transformer")) {
    if (!tensor.ends_with(".weight")) continue;
    file.add(tensor.substr(0, tensor.rfind('.')) + ".diff", shape);
  }
  require_clean(load_file(file, flux()));
}

}  // namespace
}  // namespace mflux::lora

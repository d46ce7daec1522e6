// SPDX-License-Identifier: MIT
#include "mflux/lora/names.h"

#include <string>

#include <doctest/doctest.h>

#include "tests/lora/lora_files.h"

namespace mflux::lora {
namespace {

using testing::flux;
using testing::qwen;

struct Known {
  std::string module;
  std::string dialect;
  std::string tensor;  // of the first row range
};

void check_all(const BaseModel& model, std::span<const Known> cases) {
  const Names names(model);
  for (const Known& known : cases) {
    CAPTURE(known.module);
    const Place place = names.resolve(known.module);
    REQUIRE(place.target != nullptr);
    const TargetRows& rows = place.target->rows.front();
    CHECK(rows.component + "/" + rows.tensor == known.tensor);
    CHECK(place.component == rows.component);
    CHECK(std::string(place.dialect) == known.dialect);
  }
}

TEST_CASE("every prefix in front of FLUX's names is understood") {
  const std::string q = "transformer/transformer_blocks.1.attn.to_q.weight";
  const std::string norm = "transformer/norm_out.linear.weight";
  const std::string clip = "text_encoder/text_model.encoder.layers.3.mlp.fc1.weight";
  const std::string t5 = "text_encoder_2/encoder.block.3.layer.1.DenseReluDense.wo.weight";
  const Known kCases[] = {
      {"transformer_blocks.1.attn.to_q", "bare names", q},
      {"transformer.transformer_blocks.1.attn.to_q", "diffusers", q},
      {"diffusion_model.transformer_blocks.1.attn.to_q", "ComfyUI", q},
      {"model.diffusion_model.double_blocks.1.img_attn.qkv", "ComfyUI", q},
      {"diffusion_model.double_blocks.1.img_attn.qkv", "ComfyUI", q},
      {"base_model.model.double_blocks.1.img_attn.qkv", "PEFT", q},
      {"base_model.model.transformer_blocks.1.attn.to_q", "PEFT", q},
      {"transformer.base_model.model.transformer_blocks.1.attn.to_q", "PEFT", q},
      {"unet.transformer_blocks.1.attn.to_q", "diffusers", q},
      {"pipe.dit.transformer_blocks.1.attn.to_q", "DiffSynth", q},
      {"dit.transformer_blocks.1.attn.to_q", "DiffSynth", q},
      {"double_blocks.1.img_attn.qkv", "bare names", q},
      {"double_blocks.1.processor.qkv_lora1", "XLabs", q},
      {"double_blocks_1_processor.qkv_lora1", "XLabs", q},
      {"lora_unet_double_blocks_1_img_attn_qkv", "kohya", q},
      {"lora_unet_transformer_blocks_1_attn_to_q", "kohya", q},
      {"lora_unet_transformer_blocks_1_attn_to_q_", "kohya", q},
      {"lora_unet_model_diffusion_model_double_blocks_1_img_attn_qkv", "kohya", q},
      {"lora_transformer_transformer_blocks_1_attn_to_q", "OneTrainer", q},
      {"lycoris_transformer_blocks_1_attn_to_q", "LyCORIS", q},
      {"lycoris__norm_out_linear", "LyCORIS", norm},
      {"lora_unet__norm_out_linear", "LyCORIS", norm},
      {"lora_unet_norm_out_linear_", "kohya", norm},
      {"final_layer.adaLN_modulation.1", "bare names", norm},
      {"lora_te1_text_model_encoder_layers_3_mlp_fc1", "", clip},
      {"lora_te_text_model_encoder_layers_3_mlp_fc1", "", clip},
      {"text_encoder.text_model.encoder.layers.3.mlp.fc1", "", clip},
      {"text_encoder.base_model.model.text_model.encoder.layers.3.mlp.fc1", "", clip},
      {"text_encoders.clip_l.transformer.text_model.encoder.layers.3.mlp.fc1", "", clip},
      {"clip_l.text_model.encoder.layers.3.mlp.fc1", "", clip},
      {"text_encoder.encoder.layers.3.mlp.fc1", "", clip},
      {"lora_te3_encoder_block_3_layer_1_DenseReluDense_wo", "", t5},
      {"lora_te2_encoder_block_3_layer_1_DenseReluDense_wo", "", t5},
      {"text_encoder_2.encoder.block.3.layer.1.DenseReluDense.wo", "", t5},
      {"text_encoders.t5xxl.transformer.encoder.block.3.layer.1.DenseReluDense.wo", "", t5},
      {"t5.encoder.block.3.layer.1.DenseReluDense.wo", "", t5},
  };
  check_all(flux(), kCases);
}

TEST_CASE("every prefix in front of Qwen-Image's names is understood") {
  const std::string mod = "transformer/transformer_blocks.0.img_mod.1.weight";
  const std::string mlp = "transformer/transformer_blocks.1.txt_mlp.net.0.proj.weight";
  const std::string text = "text_encoder/model.layers.3.self_attn.q_proj.weight";
  const Known kCases[] = {
      {"transformer.transformer_blocks.0.img_mod.1", "diffusers", mod},
      {"diffusion_model.transformer_blocks.0.img_mod.1", "ComfyUI", mod},
      {"lora_unet_transformer_blocks_0_img_mod_1", "kohya", mod},
      {"transformer_blocks.1.txt_mlp.net.0.proj", "bare names", mlp},
      {"pipe.dit.transformer_blocks.1.txt_mlp.net.0.proj", "DiffSynth", mlp},
      {"lycoris_transformer_blocks_1_txt_mlp_net_0_proj", "LyCORIS", mlp},
      {"text_encoder.model.layers.3.self_attn.q_proj", "", text},
      {"text_encoders.qwen25_7b.transformer.model.layers.3.self_attn.q_proj", "", text},
      {"text_encoder.model.language_model.layers.3.self_attn.q_proj", "", text},
      {"lora_te1_model_layers_3_self_attn_q_proj", "", text},
  };
  check_all(qwen(), kCases);
}

TEST_CASE("a name is never guessed") {
  const Names names(flux());
  for (const std::string module :
       {"transformer_blocks.1.attn.to_Q",
        "transformer_blocks.2.attn.to_q",
        "transformer_blocks.01.attn.to_q",
        "transformer.attn.to_q",
        "blocks.1.attn.to_q",
        "text_encoder.transformer_blocks.1.attn.to_q",
        "lora_te1_double_blocks_1_img_attn_qkv",
        "lora_unet_double_blocks_1_img_attn_qkvx",
        "transformer_blocks.1.attn.to_q.weight",
        "",
        "."}) {
    CAPTURE(module);
    CHECK(names.resolve(module).target == nullptr);
  }
}

TEST_CASE("an unknown name is answered with the nearest known one") {
  Names names(flux());
  const struct {
    const char* module;
    const char* nearest;
  } kCases[] = {
      {"transformer_blocks.0.attn.to_qq", "transformer_blocks.0.attn.to_q"},
      {"lora_unet_double_blocks_0_img_atn_qkv", "double_blocks.0.img_attn.qkv"},
      {"text_encoder.text_model.encoder.layers.0.mlp.fc", "encoder.layers.0.mlp.fc1"},
  };
  for (const auto& c : kCases) {
    CAPTURE(c.module);
    const std::string nearest = names.nearest(names.resolve(c.module));
    CHECK(testing::contains(nearest, c.nearest));
  }
}

TEST_CASE("of a block that is not there the number of blocks is told") {
  const Names names(flux());
  CHECK(
      names.missing_block(names.resolve("lora_unet_double_blocks_18_img_attn_qkv")) ==
      "block 18 does not exist: the model has 2");
  CHECK(
      names.missing_block(names.resolve("transformer_blocks.2.attn.to_q")) ==
      "block 2 does not exist: the model has 2");
  CHECK(names.missing_block(names.resolve("transformer_blocks.0.attn.to_x")) == "");
  CHECK(names.missing_block(names.resolve("nothing")) == "");
}

TEST_CASE("no two layers of a model flatten to the same name") {
  for (const BaseModel* model : {&flux(), &qwen()}) {
    std::map<std::string, const Target*> flat;
    for (const Target& target : model->targets) {
      const auto [found, is_new] =
          flat.emplace(target.component + "/" + flatten(target.alias), &target);
      if (!is_new) CHECK_MESSAGE(found->second->rows == target.rows, target.alias);
    }
  }
}

}  // namespace
}  // namespace mflux::lora

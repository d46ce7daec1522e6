// SPDX-License-Identifier: MIT
#include "mflux/lora/grammar.h"

#include <string>

#include <doctest/doctest.h>

namespace mflux::lora {
namespace {

TEST_CASE("a key is a module and an ending of some dialect") {
  using enum Parameter;
  const struct {
    std::string key;
    std::string module;
    Parameter parameter;
  } kCases[] = {
      {"transformer.x.to_q.lora_A.weight", "transformer.x.to_q", down},
      {"transformer.x.to_q.lora_B.weight", "transformer.x.to_q", up},
      {"x.to_q.lora_A.default.weight", "x.to_q", down},
      {"x.to_q.lora_B.lightx2v_t1.weight", "x.to_q", up},
      {"x.lora_A", "x", down},
      {"x.lora_B", "x", up},
      {"x.lora_B.bias", "x", up_bias},
      {"x.lora_B.default.bias", "x", up_bias},
      {"x.lora_up.bias", "x", up_bias},
      {"lora_unet_a_0_b.lora_down.weight", "lora_unet_a_0_b", down},
      {"lora_unet_a_0_b.lora_up.weight", "lora_unet_a_0_b", up},
      {"lora_unet_a_0_b.lora_mid.weight", "lora_unet_a_0_b", core},
      {"lora_unet_a_0_b.alpha", "lora_unet_a_0_b", alpha},
      {"x.to_q.lora.down.weight", "x.to_q", down},
      {"x.to_q.lora.up.weight", "x.to_q", up},
      {"x.processor.to_q_lora.down.weight", "x.processor.to_q", down},
      {"x.processor.to_q_lora.up.weight", "x.processor.to_q", up},
      {"x.q_proj.lora_linear_layer.down.weight", "x.q_proj", down},
      {"x.q_proj.lora_linear_layer.up.weight", "x.q_proj", up},
      {"double_blocks.0.processor.qkv_lora1.down.weight",
       "double_blocks.0.processor.qkv_lora1",
       down},
      {"double_blocks_0_processor.proj_lora2.up.weight",
       "double_blocks_0_processor.proj_lora2",
       up},
      {"single_blocks.0.processor.qkv_lora.up.weight", "single_blocks.0.processor.qkv_lora", up},
      {"x.lora_magnitude_vector", "x", magnitude},
      {"x.lora_magnitude_vector.weight", "x", magnitude},
      {"x.lora_magnitude_vector.default.weight", "x", magnitude},
      {"x.magnitude", "x", magnitude},
      {"x.dora_scale", "x", magnitude},
      {"x.diff", "x", diff},
      {"x.diff_b", "x", bias_diff},
      {"x.w_norm", "x", diff},
      {"x.b_norm", "x", bias_diff},
      {"x.weight.diff", "x", diff},
      {"x.scale.diff", "x", diff},
      {"x.bias.diff", "x", bias_diff},
      {"x.set_weight", "x", weight},
      {"x.bias.set_weight", "x", bias},
      {"x.weight", "x", weight},
      {"x.scale", "x", weight},
      {"x.bias", "x", bias},
      {"x.reshape_weight", "x", shape},
      {"x.rescale", "x", rescale},
      {"x.on_input", "x", on_input},
      {"x.hada_w1_a", "x", hada_w1_a},
      {"x.hada_t2", "x", hada_t2},
      {"x.lokr_w1", "x", lokr_w1},
      {"x.lokr_w2_b", "x", lokr_w2_b},
      {"x.lokr_t2", "x", lokr_t2},
      {"x.oft_blocks", "x", oft_blocks},
      {"x.oft_blocks.3", "x", oft_blocks},
      {"x.oft_R.weight", "x", oft_matrix},
      {"x.oft_R.scaled_oft", "x", oft_scaled},
      {"x.oft_R.default.weight", "x", oft_matrix},
      {"x.lora_A.default_0.default.weight", "x", down},
      {"x.lora_down.default.weight", "x", down},
      {"x.lora_up.default.bias", "x", up_bias},
      {"x.lora_mid.default.weight", "x", core},
      {"x.lora_A.default", "x", down},
      {"x.lora_up", "x", up},
      {"x.lora_a", "x", down},
      {"x.lora_b", "x", up},
      {"x.m", "x", magnitude},
      {"x.alpha.default", "x", alpha},
      {"x.lora_alpha", "x", alpha},
      {"x.lokr_w1_a.default", "x", lokr_w1_a},
      {"x.modules_to_save.default.weight", "x", weight},
      {"x.modules_to_save.default.bias", "x", bias},
      {"x.a1.weight", "x", glora_a1},
      {"x.bm.weight", "x", glora_core},
  };
  for (const auto& c : kCases) {
    CAPTURE(c.key);
    const auto parsed = parse_key(c.key);
    REQUIRE(parsed);
    CHECK(parsed->module == c.module);
    CHECK(parsed->parameter == c.parameter);
    CHECK_FALSE(parameter_name(parsed->parameter).empty());
  }
}

TEST_CASE("a key tells its adapter, and whether it is MLX's own") {
  const struct {
    std::string key;
    std::string adapter;
    bool other_order;
  } kCases[] = {
      {"x.lora_A.weight", "", false},
      {"x.lora_A.default.weight", "default", false},
      {"x.lora_A.a.b.weight", "a.b", false},
      {"x.alpha.default", "default", false},
      {"x.oft_blocks.3", "", false},
      {"x.lora_a", "", true},
      {"x.lora_b", "", true},
      {"x.lora_a.weight", "", false},
      {"x.lora_A", "", false},
  };
  for (const auto& c : kCases) {
    CAPTURE(c.key);
    const auto parsed = parse_key(c.key);
    REQUIRE(parsed);
    CHECK(parsed->adapter == c.adapter);
    CHECK(parsed->other_order == c.other_order);
  }
}

TEST_CASE("a key without a known ending or without a module is none of ours") {
  for (const std::string key :
       {"",
        "x",
        "alpha",
        ".alpha",
        "lora_A.weightx",
        "x.lora_A.weight.extra",
        "x.lora_A.two.dots.weigh",
        "x.alpha.",
        "x.alpha.a b",
        "x.lora_C",
        "__index_timestep_zero__"}) {
    CAPTURE(key);
    CHECK_FALSE(parse_key(key));
  }
}

TEST_CASE("what tools leave in a file is ignored with a word") {
  for (const std::string key :
       {"_aux.x", "a._aux.x", "bundle_emb.trigger.t5_out", "__index_timestep_zero__.x"}) {
    CAPTURE(key);
    CHECK_FALSE(ignored_because(key).empty());
  }
  CHECK(ignored_because("x.lora_A.weight").empty());
}

TEST_CASE("what is known but cannot be merged is refused with a reason") {
  for (const std::string key :
       {"x.lambda_layer",
        "x.lora_E",
        "x.ranknum",
        "x.boft_R",
        "x.ia3_l",
        "x.diff_m",
        "double_blocks.0.processor.q_loras.0.down.weight",
        "double_blocks.0.processor.ip_adapter_double_stream_k_proj.weight",
        "x.base_layer.weight",
        "x.original_module.weight",
        "x.lora_embedding_A",
        "transformer_blocks.0.qweight",
        "transformer_blocks.0.qkv_proj.lora_down",
        "transformer_blocks.0.mlp_fc1.lora_up",
        "single_transformer_blocks.0.mlp_fc2.smooth"}) {
    CAPTURE(key);
    CHECK_FALSE(refused_because(key).empty());
  }
}

TEST_CASE("kohya's names of CLIP's MLP are not taken for nunchaku's") {
  for (const std::string key :
       {"lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_down.weight",
        "lora_te1_text_model_encoder_layers_11_mlp_fc2.lora_up.weight",
        "lora_te_text_model_encoder_layers_0_self_attn_qkv_proj.lora_up.weight"}) {
    CAPTURE(key);
    CHECK(refused_because(key).empty());
    CHECK(parse_key(key));
  }
}

}  // namespace
}  // namespace mflux::lora

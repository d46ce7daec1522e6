// SPDX-License-Identifier: MIT
#include "tests/tiny_configs.h"

#include <array>
#include <span>
#include <string_view>
#include <utility>

#include "tests/tiny_model.h"

namespace mflux::testing {
namespace {

struct Template {
  std::string_view name;
  std::string_view text;  // @HEADS, @BLOCKS and @TEXT are filled in
};

constexpr std::array kFlux = {
    Template{"model_index.json", R"({
  "_class_name": "FluxPipeline",
  "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
  "text_encoder": ["transformers", "CLIPTextModel"],
  "text_encoder_2": ["transformers", "T5EncoderModel"],
  "tokenizer": ["transformers", "CLIPTokenizer"],
  "tokenizer_2": ["transformers", "T5TokenizerFast"],
  "transformer": ["diffusers", "FluxTransformer2DModel"],
  "vae": ["diffusers", "AutoencoderKL"]
}
)"},
    Template{"transformer/config.json", R"({
  "_class_name": "FluxTransformer2DModel",
  "attention_head_dim": 64,
  "axes_dims_rope": [16, 24, 24],
  "guidance_embeds": true,
  "in_channels": 64,
  "joint_attention_dim": @TEXT,
  "num_attention_heads": @HEADS,
  "num_layers": @BLOCKS,
  "num_single_layers": @BLOCKS,
  "patch_size": 1,
  "pooled_projection_dim": 64
}
)"},
    Template{"text_encoder/config.json", R"({
  "architectures": ["CLIPTextModel"],
  "bos_token_id": 510,
  "eos_token_id": 511,
  "hidden_size": 64,
  "intermediate_size": 256,
  "max_position_embeddings": 77,
  "model_type": "clip_text_model",
  "num_attention_heads": 1,
  "num_hidden_layers": @BLOCKS,
  "vocab_size": 512
}
)"},
    Template{"text_encoder_2/config.json", R"({
  "architectures": ["T5EncoderModel"],
  "d_ff": 256,
  "d_kv": 2,
  "d_model": @TEXT,
  "feed_forward_proj": "gated-gelu",
  "model_type": "t5",
  "num_heads": 64,
  "num_layers": @BLOCKS,
  "tie_word_embeddings": false,
  "vocab_size": 512
}
)"},
    Template{"vae/config.json", R"({
  "_class_name": "AutoencoderKL",
  "block_out_channels": [16, 32, 64, 64],
  "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"],
  "latent_channels": 16,
  "layers_per_block": 2,
  "norm_num_groups": 8,
  "scaling_factor": 0.3611,
  "shift_factor": 0.1159,
  "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"],
  "use_post_quant_conv": false,
  "use_quant_conv": false
}
)"},
    Template{"scheduler/scheduler_config.json", R"({
  "_class_name": "FlowMatchEulerDiscreteScheduler",
  "shift": 3.0,
  "use_dynamic_shifting": true
}
)"},
};

constexpr std::array kQwen = {
    Template{"model_index.json", R"({
  "_class_name": "QwenImagePipeline",
  "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
  "text_encoder": ["transformers", "Qwen2_5_VLForConditionalGeneration"],
  "tokenizer": ["transformers", "Qwen2Tokenizer"],
  "transformer": ["diffusers", "QwenImageTransformer2DModel"],
  "vae": ["diffusers", "AutoencoderKLQwenImage"]
}
)"},
    Template{"transformer/config.json", R"({
  "_class_name": "QwenImageTransformer2DModel",
  "attention_head_dim": 64,
  "axes_dims_rope": [16, 24, 24],
  "guidance_embeds": false,
  "in_channels": 64,
  "joint_attention_dim": @TEXT,
  "num_attention_heads": @HEADS,
  "num_layers": @BLOCKS,
  "out_channels": 16,
  "patch_size": 2
}
)"},
    Template{"text_encoder/config.json", R"({
  "architectures": ["Qwen2_5_VLForConditionalGeneration"],
  "bos_token_id": 510,
  "eos_token_id": 511,
  "hidden_size": @TEXT,
  "intermediate_size": 256,
  "model_type": "qwen2_5_vl",
  "num_attention_heads": 2,
  "num_hidden_layers": @BLOCKS,
  "num_key_value_heads": 1,
  "rope_scaling": {"mrope_section": [8, 12, 12], "rope_type": "default", "type": "default"},
  "tie_word_embeddings": false,
  "vision_config": {
    "depth": @BLOCKS,
    "fullatt_block_indexes": [1],
    "hidden_size": 64,
    "in_channels": 3,
    "intermediate_size": 128,
    "model_type": "qwen2_5_vl",
    "num_heads": 1,
    "out_hidden_size": @TEXT,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2
  },
  "vocab_size": 512
}
)"},
    Template{"vae/config.json", R"({
  "_class_name": "AutoencoderKLQwenImage",
  "base_dim": 8,
  "dim_mult": [1, 2, 4, 4],
  "num_res_blocks": 2,
  "temperal_downsample": [false, true, true],
  "z_dim": 16
}
)"},
    Template{"scheduler/scheduler_config.json", R"({
  "_class_name": "FlowMatchEulerDiscreteScheduler",
  "shift": 1.0,
  "use_dynamic_shifting": true
}
)"},
};

std::string filled(std::string_view text, const TinyConfigSize& size) {
  const std::array<std::pair<std::string_view, uint64_t>, 3> values = {
      {{"@HEADS", size.heads}, {"@BLOCKS", size.blocks}, {"@TEXT", size.text}}};
  std::string result(text);
  for (const auto& [mark, value] : values) {
    for (size_t at = result.find(mark); at != std::string::npos; at = result.find(mark)) {
      result.replace(at, mark.size(), std::to_string(value));
    }
  }
  return result;
}

}  // namespace

std::vector<ConfigFile> tiny_configs(TinyFamily family, const TinyConfigSize& size) {
  const std::span<const Template> templates = family == TinyFamily::flux
                                                  ? std::span<const Template>(kFlux)
                                                  : std::span<const Template>(kQwen);
  std::vector<ConfigFile> files;
  for (const Template& file : templates) {
    files.push_back({.name = std::string(file.name), .text = filled(file.text, size)});
  }
  return files;
}

}  // namespace mflux::testing

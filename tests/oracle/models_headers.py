# SPDX-License-Identifier: MIT
"""Headers of the published models, from the real classes of diffusers and transformers on the meta device.

usage: models_headers.py OUTPUT_FOLDER
"""

import sys
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLQwenImage,
    FluxTransformer2DModel,
    QwenImageTransformer2DModel,
)
from models_folded import write
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    T5Config,
    T5EncoderModel,
)


def tensors(module, rename=lambda name: name):
    # T5's tied embedding is saved once
    return [
        (rename(name), "BF16", tuple(tensor.shape))
        for name, tensor in module.state_dict().items()
        if name != "encoder.embed_tokens.weight"
    ]


def hub_clip(name):  # transformers 5 has dropped the prefix that the hub's files have
    return name if name.startswith("text_model.") else f"text_model.{name}"


def hub_qwen(name):  # what save_pretrained writes
    return name.replace("model.language_model.", "model.").replace("model.visual.", "visual.")


def flux(**options):
    clip = CLIPTextConfig(
        hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12
    )
    t5 = T5Config(
        vocab_size=32128, d_model=4096, d_ff=10240, d_kv=64, num_layers=24, num_heads=64,
        feed_forward_proj="gated-gelu", is_encoder_decoder=False,
    )
    vae = AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
        block_out_channels=[128, 256, 512, 512], layers_per_block=2, latent_channels=16,
        use_quant_conv=False, use_post_quant_conv=False,
    )
    return {
        "transformer": tensors(FluxTransformer2DModel(**options)),
        "text_encoder": tensors(CLIPTextModel(clip), hub_clip),
        "text_encoder_2": tensors(T5EncoderModel(t5)),
        "vae": tensors(vae),
    }


def qwen():
    text = {
        "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
        "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152064,
    }
    vision = {
        "depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16,
        "out_hidden_size": 3584,
    }
    vlm = Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=False)
    )
    return {
        "transformer": tensors(QwenImageTransformer2DModel()),
        "text_encoder": tensors(vlm, hub_qwen),
        "vae": tensors(AutoencoderKLQwenImage()),
    }


def main():
    folder = Path(sys.argv[1])
    with torch.device("meta"):
        write(folder / "flux-dev.txt", flux(guidance_embeds=True))
        write(folder / "flux-schnell.txt", flux(guidance_embeds=False))
        write(folder / "flux-fill.txt", flux(guidance_embeds=True, in_channels=384, out_channels=64))
        write(folder / "qwen-image.txt", qwen())


main()

# SPDX-License-Identifier: MIT
"""What stable-diffusion.cpp needs to step through the benchmark's FLUX.1: its names, and its fixed sizes around it.

It has CLIP-L, the VAE and the pooled width of 768 built in, so those are made here in full size with random weights; T5 is
left out, for which it takes 256 tokens of zeros (ours and diffusers' pictures have 512 tokens). Build it from the source
that the PyPI package stable-diffusion-cpp-python 0.4.7 carries: cmake -DSD_BUILD_EXAMPLES=ON, target sd-cli.
"""

import pathlib
import sys

import torch
from safetensors.torch import save_file

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "oracle"))


def transformer(model: pathlib.Path, file: pathlib.Path) -> None:
    import checkpoints

    tensors = checkpoints.to_bfl(checkpoints.load_component(model, "transformer"))
    pooled = tensors["vector_in.in_layer.weight"]
    tensors["vector_in.in_layer.weight"] = torch.nn.functional.pad(pooled, (0, 768 - pooled.shape[1]))
    save_file({name: value.contiguous() for name, value in tensors.items()}, file)


def clip(file: pathlib.Path) -> None:
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig(vocab_size=49408, hidden_size=768, intermediate_size=3072, num_attention_heads=12)
    tensors = CLIPTextModel(config).to(torch.float16).state_dict()
    save_file({name.removeprefix("text_model."): v for name, v in tensors.items()} | {
        f"text_model.{name.removeprefix('text_model.')}": v.clone() for name, v in tensors.items()
    }, file)  # fmt: skip


def vae(file: pathlib.Path) -> None:
    from diffusers import AutoencoderKL

    kinds = [f"{way}{side}Block2D" for way, side in (("Down", "Encoder"), ("Up", "Decoder"))]
    model = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=(kinds[0],) * 4,
        up_block_types=(kinds[1],) * 4,
        layers_per_block=2,
        latent_channels=16,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    save_file(model.to(torch.bfloat16).state_dict(), file)


def command(program, model: pathlib.Path, work: pathlib.Path, kind: str, pixels: int, steps: int) -> list[str]:
    """kind: a type of ggml, as q8_0 or bf16."""
    parts = {"transformer": lambda file: transformer(model, file), "clip": clip, "vae": vae}
    files = {name: work / f"sdcpp-{name}.safetensors" for name in parts}
    for name, file in files.items():
        if not file.exists():
            parts[name](file)
    size = ["-H", str(pixels), "-W", str(pixels), "--steps", str(steps)]
    return [
        *[str(program), "--diffusion-model", files["transformer"], "--clip_l", files["clip"], "--vae", files["vae"]],
        *["-p", "a red circle", "--cfg-scale", "1", "--sampling-method", "euler", "--diffusion-fa", "--vae-tiling"],
        *["--type", kind, "--threads", "2", "-v", "-o", work / "sdcpp.png", *size],
    ]

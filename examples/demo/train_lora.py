# SPDX-License-Identifier: MIT
"""Trains the demo's LoRAs on a model of train.py: train_lora.py flux|qwen MODEL LORA.safetensors

FLUX.1 learns "ink", saved as diffusers and PEFT save it; then both learn together, and MODEL's transformer is written
anew. Qwen-Image learns "stripes", saved with kohya's names. Beside the LoRA goes LORA-broken.safetensors, whose first
layer has an up matrix of the wrong height.
"""

import argparse
import os
import pathlib
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import diffusers
import torch
import transformers
from diffusers import FluxPipeline
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file

import models
import scenes
import train
from autoencoder import flatten_time
from descend import descend
from text_encoders import TextInput, conditions
from together import learn_together

STYLES = {"flux": "ink", "qwen": "stripes"}
RANK = {"flux": 9, "qwen": 6}
LAYERS = {
    "flux": [
        *("norm1.linear", "norm.linear", "attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0"),
        *("ff.net.0.proj", "ff.net.2", "proj_mlp", "proj_out", "x_embedder", "norm_out.linear"),
    ],
    "qwen": ["img_mod.1", "attn.to_v", "attn.to_out.0", "img_mlp.net.0.proj", "img_mlp.net.2"],
}
STEPS = 2400
PEAK = 2e-2
FEW_BITS_STEPS = 3000  # every other of these at 4 bits
FEW_BITS_PEAK = 8e-3
TOGETHER_STEPS = 6000  # every second with the LoRA


def load(family: str, folder: pathlib.Path) -> dict[str, torch.nn.Module]:
    libraries = {"diffusers": diffusers, "transformers": transformers}
    return {
        name: getattr(libraries[library], kind).from_pretrained(folder / name, torch_dtype=torch.float32).eval()
        for name, (library, kind) in models.PARTS[family].items()
        if name == "vae" or name == "transformer" or name.startswith("text_encoder")
    }


def targets(family: str, transformer) -> list[str]:
    linear = (name for name, module in transformer.named_modules() if isinstance(module, torch.nn.Linear))
    return [name for name in linear if any(f".{name}".endswith(f".{layer}") for layer in LAYERS[family])]


def kohya_name(layer: str) -> str:
    return "lora_unet_" + layer.replace(".", "_")


def load_lora(family: str, layers: list[str], file: pathlib.Path) -> dict[str, torch.Tensor]:
    """By PEFT's names."""
    tensors = load_file(file)
    if family == "flux":
        return {name.removeprefix("transformer."): value for name, value in tensors.items()}
    return {
        f"{layer}.lora_{peft}.weight": tensors[f"{kohya_name(layer)}.lora_{kohya}.weight"]
        for layer in layers
        for peft, kohya in (("A", "down"), ("B", "up"))
    }


def add_lora(family: str, transformer, begin: pathlib.Path | None = None) -> None:
    transformer.requires_grad_(False)
    layers = targets(family, transformer)
    transformer.add_adapter(LoraConfig(r=RANK[family], lora_alpha=RANK[family], target_modules=layers))
    if begin:
        tensors = load_lora(family, layers, begin)
        assert len(tensors) == 2 * len(layers), f"{begin} is not a LoRA of these {len(layers)} layers"
        assert not set_peft_model_state_dict(transformer, tensors).unexpected_keys


def learn(family: str, transformer, data: dict, few: dict, empty: dict, steps: int, few_bits_steps: int) -> None:
    """few: the text vectors from encoders of 4 bits, for every other of the last steps."""
    compiled = torch.compile(transformer)
    generator = torch.Generator().manual_seed(train.SEED + 4)

    def loss_of(given: dict) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return train.flow_loss(family, compiled, given, empty, generator, train.BATCH)

    style, during = STYLES[family], train.every_other(transformer)
    descend(style, transformer, steps, lambda _step: loss_of(data), peak=(PEAK, 0))
    by_turns, peak = (data, data | few), (FEW_BITS_PEAK, 0)
    descend(
        f"{style}-bits", transformer, few_bits_steps, lambda step: loss_of(by_turns[step % 2]), peak=peak, during=during
    )


def save_diffusers(transformer, file: pathlib.Path) -> None:
    layers = {name: value.bfloat16() for name, value in get_peft_model_state_dict(transformer).items()}
    FluxPipeline.save_lora_weights(file.parent, transformer_lora_layers=layers, weight_name=file.name)


def save_kohya(transformer, rank: int, file: pathlib.Path) -> None:
    tensors = {}
    for name, value in get_peft_model_state_dict(transformer).items():
        layer, kind = name.removesuffix(".weight").rsplit(".lora_", 1)
        module = kohya_name(layer)
        tensors[f"{module}.{'lora_down' if kind == 'A' else 'lora_up'}.weight"] = value.bfloat16().contiguous()
        tensors[f"{module}.alpha"] = torch.tensor(float(rank), dtype=torch.bfloat16)
    save_file(tensors, file, {"ss_network_module": "networks.lora", "ss_network_dim": str(rank)})


def save_broken(file: pathlib.Path, good: pathlib.Path) -> None:
    """The first layer of a good LoRA, its up matrix a row short."""
    tensors = load_file(good)
    up = next(name for name in sorted(tensors) if "lora_up" in name or "lora_B" in name)
    layer = up.rsplit(".lora_", 1)[0]
    kept = {name: value for name, value in tensors.items() if name.startswith(layer + ".")}
    kept[up] = kept[up][:-1].contiguous()
    save_file(kept, file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("family", choices=list(STYLES))
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("lora", type=pathlib.Path)
    parser.add_argument("--begin", type=pathlib.Path, help="go on from this LoRA")
    parser.add_argument("--hurry", type=float, default=1.0, help="share of the steps [1]")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(train.SEED)
    start = time.time()
    family = arguments.family
    networks = load(family, arguments.model)
    flatten_time(networks["vae"])
    text = TextInput(family, arguments.model)

    def drawn(count: int, seed: int, **how) -> tuple[dict, dict]:
        """Scenes to learn from, and their text vectors from encoders of 4 bits."""
        count = max(100, int(count * arguments.hurry))
        data = train.make_data(family, networks, text, count, seed=seed, **how)
        captions = [scene.caption for scene in scenes.training(count, seed)]
        return data, train.few_bits_conditions(family, networks, text, captions)

    styled = drawn(6000, seed=5, style=STYLES[family], apart=0)
    empty = conditions(family, networks, text, [""])
    transformer = networks["transformer"]
    add_lora(family, transformer, arguments.begin)
    steps, few_bits_steps, together = (
        max(2, int(whole * arguments.hurry)) for whole in (STEPS, FEW_BITS_STEPS, TOGETHER_STEPS)
    )
    learn(family, transformer, *styled, empty, 0 if arguments.begin else steps, few_bits_steps)
    arguments.lora.parent.mkdir(parents=True, exist_ok=True)
    if family == "flux":
        alone = learn_together(transformer, *drawn(train.SCENES, seed=3), *styled, together)
        weights = {name: value.bfloat16() for name, value in alone.state_dict().items()}
        save_file(weights, arguments.model / "transformer" / "diffusion_pytorch_model.safetensors", {"format": "pt"})
        save_diffusers(transformer, arguments.lora)
    else:
        save_kohya(transformer, RANK[family], arguments.lora)
    save_broken(arguments.lora.with_name(arguments.lora.stem + "-broken.safetensors"), arguments.lora)
    print(f"{arguments.lora}: {(time.time() - start) / 60:.1f} min")


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: MIT
"""Trains the demo's LoRAs on a model of train.py: train_lora.py flux|qwen MODEL LORA.safetensors

FLUX.1 learns "ink" and is saved as diffusers and PEFT save it; Qwen-Image learns "stripes" and is saved with kohya's
names. Beside it goes LORA-broken.safetensors, whose first layer has an up matrix of the wrong height.
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
import train
from descend import descend

STYLES = {"flux": "ink", "qwen": "stripes"}
RANK = 6
LAYERS = {
    "flux": [
        *("norm1.linear", "norm.linear", "attn.to_v", "attn.to_out.0"),
        *("ff.net.0.proj", "ff.net.2", "proj_mlp", "proj_out"),
    ],
    "qwen": ["img_mod.1", "attn.to_v", "attn.to_out.0", "img_mlp.net.0.proj", "img_mlp.net.2"],
}
STEPS = 1500


def load(family: str, folder: pathlib.Path) -> dict[str, torch.nn.Module]:
    libraries = {"diffusers": diffusers, "transformers": transformers}
    return {
        name: getattr(libraries[library], kind).from_pretrained(folder / name, torch_dtype=torch.float32).eval()
        for name, (library, kind) in models.PARTS[family].items()
        if name == "vae" or name == "transformer" or name.startswith("text_encoder")
    }


def targets(family: str, transformer) -> list[str]:
    """Full names, so that proj_out is that of the single blocks and not the model's last layer."""
    return [
        name
        for name, module in transformer.named_modules()
        if isinstance(module, torch.nn.Linear)
        and "transformer_blocks." in name
        and any(name.endswith("." + layer) for layer in LAYERS[family])
    ]


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


def learn(family: str, networks: dict, data: dict, empty: dict, steps: int, begin: pathlib.Path | None) -> None:
    transformer = networks["transformer"]
    transformer.requires_grad_(False)
    layers = targets(family, transformer)
    transformer.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=layers))
    if begin:
        tensors = load_lora(family, layers, begin)
        assert len(tensors) == 2 * len(layers), f"{begin} is not a LoRA of these {len(layers)} layers"
        assert not set_peft_model_state_dict(transformer, tensors).unexpected_keys
    compiled = torch.compile(transformer)
    generator = torch.Generator().manual_seed(train.SEED + 4)

    def loss_of(_step: int) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return train.flow_loss(family, compiled, data, empty, generator, train.BATCH)

    descend(STYLES[family], transformer, steps, loss_of, peak=(8e-3, 0))


def save_diffusers(transformer, file: pathlib.Path) -> None:
    layers = {name: value.bfloat16() for name, value in get_peft_model_state_dict(transformer).items()}
    FluxPipeline.save_lora_weights(file.parent, transformer_lora_layers=layers, weight_name=file.name)


def save_kohya(transformer, file: pathlib.Path) -> None:
    tensors = {}
    for name, value in get_peft_model_state_dict(transformer).items():
        layer, kind = name.removesuffix(".weight").rsplit(".lora_", 1)
        module = kohya_name(layer)
        tensors[f"{module}.{'lora_down' if kind == 'A' else 'lora_up'}.weight"] = value.bfloat16().contiguous()
        tensors[f"{module}.alpha"] = torch.tensor(float(RANK), dtype=torch.bfloat16)
    save_file(tensors, file, {"ss_network_module": "networks.lora", "ss_network_dim": str(RANK)})


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
    train.flatten_time(networks["vae"])
    text = train.TextInput(family, arguments.model)
    scenes_to_learn = max(100, int(6000 * arguments.hurry))
    data = train.make_data(family, networks, text, scenes_to_learn, STYLES[family], seed=5)
    empty = train.conditions(family, networks, text, [""])
    learn(family, networks, data, empty, max(2, int(STEPS * arguments.hurry)), arguments.begin)
    arguments.lora.parent.mkdir(parents=True, exist_ok=True)
    if family == "flux":
        save_diffusers(networks["transformer"], arguments.lora)
    else:
        save_kohya(networks["transformer"], arguments.lora)
    save_broken(arguments.lora.with_name(arguments.lora.stem + "-broken.safetensors"), arguments.lora)
    print(f"{arguments.lora}: {(time.time() - start) / 60:.1f} min")


if __name__ == "__main__":
    main()

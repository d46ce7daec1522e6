# SPDX-License-Identifier: MIT
"""The same ten things wrong with a LoRA in every dialect: one message, status 3, nothing written."""

import pytest
import torch
from safetensors.torch import load_file, save_file

import algorithms
from numerics import differences, read_component

RANK = 4


def pairs(family: str, dialect: str, base: dict) -> tuple[dict, str]:
    """A good file of the dialect, and the name of a layer that is not square."""
    prefix, separator, layers = algorithms.DIALECTS[family, dialect]
    generator = torch.Generator().manual_seed(1)
    tensors = {}
    names = [prefix + layer.name.replace(".", separator) for layer in layers]
    for layer, name in zip(layers, names):
        rows, columns = algorithms.gather(base, layer).shape
        tensors[f"{name}.lora_down.weight"] = torch.empty(RANK, columns).normal_(generator=generator)
        tensors[f"{name}.lora_up.weight"] = torch.empty(rows, RANK).normal_(generator=generator)
        tensors[f"{name}.alpha"] = torch.tensor(2.0)
    return tensors, names[2]


def spoil_partner(tensors, name):
    del tensors[f"{name}.lora_up.weight"]
    return "(lora_B, lora_up) is missing"


def spoil_key(tensors, name):
    tensors[f"{name}.lora_sideways.weight"] = torch.ones(1)
    return "lora_sideways"


def spoil_rank(tensors, name):
    tensors[f"{name}.lora_up.weight"] = torch.ones(tensors[f"{name}.lora_up.weight"].shape[0], RANK + 1)
    return f"has rank {RANK + 1}"


def spoil_orientation(tensors, name):
    for part in ("lora_down", "lora_up"):
        tensors[f"{name}.{part}.weight"] = tensors[f"{name}.{part}.weight"].T.contiguous()
    return "fit only in the other matrix order"


def spoil_rank_zero(tensors, name):
    for part, axis in (("lora_down", 0), ("lora_up", 1)):
        tensors[f"{name}.{part}.weight"] = tensors[f"{name}.{part}.weight"].narrow(axis, 0, 0).contiguous()
    return "it holds nothing"


def spoil_with(value: float):
    def spoil(tensors, name):
        tensors[f"{name}.lora_down.weight"][1, 3] = value
        return "holds values that are not finite"

    return spoil


def spoil_alpha(tensors, name):
    tensors[f"{name}.alpha"] = torch.tensor(float("inf"))
    return "expected a finite number"


def spoil_family(tensors, name):
    for key in [key for key in tensors if key.startswith(name)]:
        tensors[f"lora_unet_down_blocks_0_attentions_0_proj_in{key.removeprefix(name)}"] = tensors.pop(key)
    return "Stable Diffusion or SDXL"


SPOILERS = {
    "a key without its partner": spoil_partner,
    "an unknown key": spoil_key,
    "a wrong rank": spoil_rank,
    "a wrong orientation": spoil_orientation,
    "rank 0": spoil_rank_zero,
    "NaN": spoil_with(float("nan")),
    "infinity": spoil_with(float("-inf")),
    "an infinite alpha": spoil_alpha,
    "another family": spoil_family,
}
DIALECTS = list(algorithms.DIALECTS)


@pytest.mark.parametrize("what", SPOILERS)
@pytest.mark.parametrize("family,dialect", DIALECTS)
def test_what_is_wrong_is_named_and_nothing_is_written(program, float32_base, out, tmp_path, family, dialect, what):
    base = float32_base(family)
    tensors, name = pairs(family, dialect, load_file(base / "transformer" / "diffusion_pytorch_model.safetensors"))
    message = SPOILERS[what](tensors, name)
    save_file(tensors, tmp_path / "x.safetensors")
    done = program("save", "--model", base, "--path", out, "--lora", tmp_path / "x.safetensors", expect=3)
    assert message in done.stderr
    assert not out.exists()


@pytest.mark.parametrize("family,dialect", DIALECTS)
def test_half_a_file_is_malformed(program, float32_base, out, tmp_path, family, dialect):
    base = float32_base(family)
    tensors, _ = pairs(family, dialect, load_file(base / "transformer" / "diffusion_pytorch_model.safetensors"))
    file = tmp_path / "x.safetensors"
    save_file(tensors, file)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    program("save", "--model", base, "--path", out, "--lora", file, expect=1)
    assert not out.exists()


@pytest.mark.parametrize("family,dialect", DIALECTS)
def test_an_alpha_of_0_is_taken_at_its_word_and_1x1_convolutions_are_linear(
    program, float32_base, out, tmp_path, family, dialect
):
    base = float32_base(family)
    tensors, name = pairs(family, dialect, load_file(base / "transformer" / "diffusion_pytorch_model.safetensors"))
    file = tmp_path / "x.safetensors"
    tensors[f"{name}.alpha"] = torch.tensor(0.0)
    save_file(tensors, file)
    done = program("save", "--model", base, "--path", out, "--layout", "diffusers", "--lora", file)
    assert "alpha is 0: without effect" in done.stderr
    folded = {key: value[..., None, None].contiguous() if value.ndim == 2 else value for key, value in tensors.items()}
    save_file(folded, file)
    program.save(base, tmp_path / "conv", "--layout", "diffusers", "--lora", file)
    assert differences(read_component(out, "transformer"), read_component(tmp_path / "conv", "transformer")) == []

# SPDX-License-Identifier: MIT
"""Weights as a bake at few bits keeps them, so that training can see what that does."""

import contextlib

import torch


@torch.no_grad()
def rounded(weight: torch.Tensor, bits: int = 4, group: int = 64) -> torch.Tensor:
    """MLX's affine quantization and back: a scale and an offset, in bfloat16, for each group of a row."""
    groups = weight.reshape(*weight.shape[:-1], -1, group)
    low, high = groups.amin(dim=-1, keepdim=True), groups.amax(dim=-1, keepdim=True)
    from_below = low.abs() > high.abs()
    scale = ((high - low) / (2**bits - 1)).clamp(min=1e-7) * torch.where(from_below, 1.0, -1.0)
    edge = torch.where(from_below, low, high)  # the value farthest from zero is kept as it is, and so is zero
    steps = (edge / scale).round()
    scale = torch.where(steps == 0, scale, edge / steps)
    offset = torch.where(steps == 0, 0.0, edge)
    codes = ((groups - offset) / scale).round().clamp(0, 2**bits - 1)
    return (codes * scale.bfloat16().float() + offset.bfloat16().float()).reshape(weight.shape)


def weights_of(*modules: torch.nn.Module) -> list[torch.nn.Parameter]:
    """What is stored in few bits; of PEFT's layers the base."""
    kinds = (torch.nn.Linear, torch.nn.Embedding)
    inner = (module for outer in modules for name, module in outer.named_modules() if "lora_" not in name)
    return [m.weight for m in inner if isinstance(m, kinds) and m.weight.shape[-1] % 64 == 0]


@torch.no_grad()
def lora_changes(module: torch.nn.Module) -> dict[torch.nn.Parameter, torch.Tensor]:
    """Base weight -> what PEFT's LoRA adds to it."""
    return {
        layer.base_layer.weight: layer.get_delta_weight("default")
        for layer in module.modules()
        if hasattr(layer, "base_layer")
    }


@contextlib.contextmanager
def few_bits(*modules: torch.nn.Module):
    """The modules' weights are rounded ones, with a LoRA merged into them first as a bake does; gradients go to the
    exact ones, which are back afterwards."""
    changes = {weight: change for module in modules for weight, change in lora_changes(module).items()}
    exact = [(weight, weight.data) for weight in weights_of(*modules)]
    for weight, data in exact:
        change = changes.get(weight, 0.0)  # which the LoRA's own layers will add
        weight.data = rounded(data + change) - change
    try:
        yield
    finally:
        for weight, data in exact:
            weight.data = data

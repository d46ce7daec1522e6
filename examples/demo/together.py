# SPDX-License-Identifier: MIT
"""A model and its LoRA learn together: the model to stay what it is, alone and at 4 bits, while the LoRA's change to it
becomes one that so few ranks can carry, merged and at 4 bits too."""

import contextlib
import copy

import torch

import train
from descend import descend
from rounding import few_bits

PEAK = (3e-3, 5e-4)
LORA_PACE = 8 / 3  # a LoRA's rate to that of the model's matrices


def without_lora(transformer: torch.nn.Module) -> torch.nn.Module:
    """The same parameters without the LoRA's."""
    plain = copy.deepcopy(transformer)
    plain.unload_lora()
    for name, parameter in transformer.named_parameters():
        if "lora_" not in name:
            module, leaf = name.replace(".base_layer", "").rsplit(".", 1)
            setattr(plain.get_submodule(module), leaf, parameter)
    return plain


def learn_together(transformer, data: dict, few: dict, styled: dict, styled_few: dict, steps: int):
    """The transformer alone, when both have learned.

    transformer: FLUX.1's, with a LoRA; data, styled: what it draws alone and with the LoRA (train.make_data); few,
    styled_few: text vectors of their captions from encoders of 4 bits.
    """
    plain = without_lora(transformer)
    teacher = copy.deepcopy(plain).requires_grad_(False)
    transformer.requires_grad_(True)
    taught, alone, with_lora = torch.compile(teacher), torch.compile(plain), torch.compile(transformer)
    generator = torch.Generator().manual_seed(train.SEED + 6)

    def at_few_bits(step: int) -> bool:
        return step // 2 % 2 == 1

    def loss_of(step: int) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            if step % 2 == 0:
                return train.kept_loss("flux", taught, alone, data, few if at_few_bits(step) else {}, generator)
            given = styled | styled_few if at_few_bits(step) else styled
            return train.flow_loss("flux", with_lora, given, {}, generator, train.BATCH)

    def during(step: int):
        return few_bits(transformer if step % 2 else plain) if at_few_bits(step) else contextlib.nullcontext()

    descend(
        "together",
        transformer,
        steps,
        loss_of,
        peak=PEAK,
        is_matrix=lambda name: "lora_" in name or train.in_block(name),
        pace=lambda name: LORA_PACE if "lora_" in name else 1.0,
        during=during,
    )
    return plain

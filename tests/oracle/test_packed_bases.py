# SPDX-License-Identifier: MIT
"""LoRAs baked onto folders that Python's mflux packed, mixed bits, and jobs: what mflux makes of the results."""

import json

import mlx.core as mx
import numpy as np
import pytest

import mflux_tiny
import numerics
from numerics import differences, read_component
from test_baked import mflux_name, truth_in

STRENGTH = 0.05


def check_that_mflux_loads(folder, shapes_of):
    loaded = mflux_tiny.load(folder, shapes_of)
    for component, module in mflux_tiny.components_of(loaded).items():
        found = {name: numerics.tensor_of(value) for name, value in mflux_tiny.parameters(module).items()}
        assert differences(read_component(folder, component), found) == [], component


def dequantized(tensors: dict, layer: str) -> np.ndarray:
    parts = [tensors[f"{layer}.{part}"].mlx() for part in ("weight", "scales", "biases")]
    bits = parts[0].shape[1] * 32 // (parts[1].shape[1] * 64)
    weight = mx.dequantize(parts[0], *(part.astype(mx.float32) for part in parts[1:]), group_size=64, bits=bits)
    return np.array(weight).astype(np.float64)


def kept(lora, base: dict, ours: dict) -> tuple[float, int]:
    """Share of a LoRA that mx.dequantize finds, over the packed layers it changes."""
    cross, norm, layers = 0.0, 0.0, 0
    for key, deltas in truth_in(lora, "transformer").items():
        layer = mflux_name("flux", "transformer", key).removesuffix(".weight")
        if f"{layer}.scales" not in ours:
            continue
        before = dequantized(base, layer)
        zero = numerics.Tensor("F32", before.shape, np.zeros(before.shape, np.float32).tobytes())
        delta = numerics.merged_float64(zero, deltas, STRENGTH)
        cross += ((dequantized(ours, layer) - before) * delta).sum()
        norm += (delta * delta).sum()
        layers += 1
    return cross / norm, layers


@pytest.mark.parametrize("bits", [4, 8])
def test_a_lora_on_a_folder_packed_by_mflux_survives(program, sources, out, figure, bits):
    lora, packed = sources.lora("flux-adapter"), sources.mflux_save("flux", bits)
    program.save(packed, out, "--lora", lora.file, "--lora-scale", STRENGTH)
    base, ours = read_component(packed, "transformer"), read_component(out, "transformer")
    assert {name: tensor.shape for name, tensor in ours.items()} == {name: t.shape for name, t in base.items()}
    share, layers = kept(lora, base, ours)
    assert layers > 20
    assert share == pytest.approx(1, abs=0.05)
    told = json.loads((out / "bake.json").read_text())["loras"][0]["kept"]
    assert told == pytest.approx(share, abs=0.02)
    check_that_mflux_loads(out, sources.model("flux"))
    program.save(packed, out, "--overwrite", "--rounding", "nearest", "--lora", lora.file, "--lora-scale", STRENGTH)
    nearest, _ = kept(lora, base, read_component(out, "transformer"))
    figure(f"a LoRA at {STRENGTH} on mflux's {bits}-bit folder: kept {share:.3f}, with --rounding nearest {nearest:.3f}")


def test_mflux_loads_layers_with_raised_bits(program, sources, out):
    lora, packed = sources.lora("flux-adapter"), sources.mflux_save("flux", 4)
    arguments = ["--rounding", "nearest", "--escalate", "--lora", lora.file, "--lora-scale", STRENGTH]
    program.save(packed, out, *arguments)
    stored = {tensor["stored"] for tensor in json.loads((out / "bake.json").read_text())["baked"]}
    assert any(not text.startswith("4-bit") and "affine" in text for text in stored)
    check_that_mflux_loads(out, sources.model("flux"))
    program("verify", out, "--base", packed, "--lora", lora.file, "--lora-scale", STRENGTH)


def test_mflux_loads_every_output_of_a_job(program, sources, out, tmp_path):
    lora = sources.lora("flux-adapter").file
    outputs = [("a", 8, 1.0), ("b", 8, 0.5), ("c", 4, 1.0)]
    text = f'model = "{sources.model("flux")}"\n'
    for name, bits, scale in outputs:
        text += f'[[output]]\npath = "{out / name}"\nquantize = {bits}\nlora = {{ file = "{lora}", scale = {scale} }}\n'
    job = tmp_path / "job.toml"
    job.write_text(text)
    program("save", "--job", job)
    for name, bits, scale in outputs:
        check_that_mflux_loads(out / name, sources.model("flux"))
        alone = program.save(sources.model("flux"), tmp_path / f"alone-{name}", "-q", bits, "--lora", lora, scale)
        for component in ("transformer", "text_encoder", "text_encoder_2", "vae"):
            assert differences(read_component(out / name, component), read_component(alone, component)) == []

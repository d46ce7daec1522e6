# SPDX-License-Identifier: MIT
"""What `mflux save` writes with LoRAs, against float64, MLX, PEFT's own merging and Python's mflux."""

import collections

import numpy as np
import pytest
import torch

import loras
import numerics
from numerics import differences, read_component
from test_parity import FORMATS, components, quantized

ALL_LORAS = [
    "flux-pipeline",
    "flux-adapter",
    "flux-kohya",
    "flux-text-encoders",
    "qwen-pipeline",
    "qwen-peft",
    "qwen-kohya",
    "qwen-text-encoder",
]


def truth_in(lora: loras.Lora, component: str) -> dict:
    prefix = component + "/"
    return {name.removeprefix(prefix): deltas for name, deltas in lora.truth.items() if name.startswith(prefix)}


@pytest.mark.parametrize("name", ALL_LORAS)
def test_a_merged_tensor_is_the_float64_sum_rounded_once(program, sources, out, figure, name):
    lora = sources.lora(name)
    base = sources.base_of(name)
    strength = 0.7
    arguments = ["--lora", lora.file, "--lora-scale", strength]
    program.save(sources.model(base), out, "--layout", "diffusers", *arguments)
    counts = collections.Counter()
    for component in components(base):
        truth = truth_in(lora, component)
        source, ours = read_component(sources.model(base), component), read_component(out, component)
        untouched = {key: tensor for key, tensor in source.items() if key not in truth}
        assert differences({key: ours[key] for key in untouched}, untouched) == []
        assert set(ours) == set(source)
        for key, deltas in truth.items():
            exact = numerics.merged_float64(source[key], deltas, strength)
            steps = numerics.ulps(ours[key], exact)
            # More than one step only where base and delta cancel to less than their sum's own rounding error.
            cancelled = steps > 1
            error = np.abs(ours[key].float64() - exact)[cancelled]
            rounding = np.abs(exact)[cancelled] * 2.0**-8
            bound = numerics.summation_error(source[key], deltas, strength)[cancelled]
            assert (error <= rounding + bound).all(), f"{component}/{key}: {steps.max()} steps off"
            counts.update(off=np.count_nonzero(steps), cancelled=np.count_nonzero(cancelled), all=steps.size, tensors=1)
    assert counts["tensors"] == len(lora.truth)
    assert counts["off"] / counts["all"] < 1e-4
    figure(
        f"{name}: merged values unlike float64 rounded once: {numerics.rate(counts['off'], counts['all'])}, "
        f"of them by more than one step after cancellation: {counts['cancelled']}"
    )


@pytest.mark.parametrize("name", ALL_LORAS)
def test_a_merged_tensor_is_the_float32_sum_in_the_promised_order(program, sources, out, name):
    lora = sources.lora(name)
    base = sources.base_of(name)
    program.save(sources.model(base), out, "--layout", "diffusers", "--lora", lora.file, "--lora-scale", 0.7)
    for component in components(base):
        source, ours = read_component(sources.model(base), component), read_component(out, component)
        for key, deltas in truth_in(lora, component).items():
            merged = numerics.merged_float32(source[key], deltas, 0.7)
            assert numerics.ulps(ours[key], merged.astype(np.float64)).max() == 0, f"{component}/{key}"


@pytest.mark.parametrize("name", ALL_LORAS)
def test_both_layouts_hold_the_same_merged_values(program, sources, out, tmp_path, name):
    model, lora = sources.model(sources.base_of(name)), sources.lora(name)
    program.save(model, tmp_path / "merged", "--layout", "diffusers", "--lora", lora.file)
    program.save(tmp_path / "merged", tmp_path / "again")
    program.save(model, out, "--lora", lora.file)
    for component in components(sources.base_of(name)):
        assert differences(read_component(out, component), read_component(tmp_path / "again", component)) == []


def mflux_name(base: str, component: str, key: str) -> str:
    """mflux's name of a transformer layer that a LoRA of this suite changes."""
    if base == "flux":
        for stream in ("ff", "ff_context"):
            key = key.replace(f".{stream}.net.0.proj.", f".{stream}.linear1.")
            key = key.replace(f".{stream}.net.2.", f".{stream}.linear2.")
        return key
    for stream in ("img", "txt"):
        key = key.replace(f".{stream}_mlp.net.0.proj.", f".{stream}_ff.mlp_in.")
        key = key.replace(f".{stream}_mlp.net.2.", f".{stream}_ff.mlp_out.")
        key = key.replace(f".{stream}_mod.1.", f".{stream}_mod_linear.")
    return key.replace(".attn.to_out.0.", ".attn.attn_to_out.0.")


@pytest.mark.parametrize("mode,bits,group", FORMATS)
@pytest.mark.parametrize("name", ["flux-pipeline-exact", "flux-adapter"])
def test_a_baked_packed_tensor_follows_the_contract(program, sources, out, name, mode, bits, group):
    lora = sources.lora(name)
    arguments = ["--q-mode", mode, "--q-group-size", group, *(["-q", bits] if mode == "affine" else [])]
    program.save(sources.model("flux"), out, *arguments, "--lora", lora.file)
    source, ours = read_component(sources.model("flux"), "transformer"), read_component(out, "transformer")
    packed = 0
    for key, deltas in truth_in(lora, "transformer").items():
        layer = mflux_name("flux", "transformer", key).removesuffix(".weight")
        merged = numerics.merged_float32(source[key], deltas, 1.0)
        if merged.shape[1] % group != 0:
            assert numerics.ulps(ours[f"{layer}.weight"], merged.astype(np.float64)).max() == 0
            continue
        parts = numerics.quantize_baked(merged, mode, bits, group)
        if mode != "affine":
            found = [ours[f"{layer}.{part}"].mlx() for part in ("weight", "scales")]
            parts = numerics.excuse_out_of_range(merged.astype(np.float64), found, parts, mode, bits, group)
        expected = {part: numerics.tensor_of(value) for part, value in zip(("weight", "scales", "biases"), parts)}
        found = {part: ours[f"{layer}.{part}"] for part in expected}
        assert differences(found, expected) == [], layer
        packed += 1
    assert packed > 30


@pytest.mark.parametrize("bits", [8, 6, 4])
@pytest.mark.parametrize("name", ["flux-blocks-exact"])
def test_a_bake_is_mflux_own_bake_bit_for_bit_where_the_sum_is_exact(program, sources, out, name, bits):
    base = sources.base_of(name)
    program.save(sources.model(base), out, *quantized(bits), "--lora", sources.lora(name).file)
    theirs = sources.mflux_save(base, bits, name)
    for component in components(base):
        expected = read_component(theirs, component)
        assert differences(read_component(out, component), expected) == [], component


@pytest.mark.parametrize("bits", [8, 4])
def test_a_bake_differs_from_mflux_own_only_where_summation_order_does(program, sources, out, figure, bits):
    """mflux reads kohya's Qwen names; its float32 product sums in the order of its BLAS."""
    file = sources.lora("qwen-blocks").file
    program.save(sources.model("qwen"), out, "-q", bits, "--lora", file)
    theirs = read_component(sources.mflux_save("qwen", bits, "qwen-blocks"), "transformer")
    ours = read_component(out, "transformer")
    assert {name: repr(tensor) for name, tensor in ours.items()} == {name: repr(t) for name, t in theirs.items()}
    off = collections.Counter()
    for name, tensor in ours.items():
        if name.endswith((".scales", ".biases")) or tensor.dtype != "U32":
            kind = "scales, biases and vectors"
            a, b = (np.frombuffer(t.data, np.uint16) for t in (tensor, theirs[name]))
        else:
            kind = "codes"
            width = 8 if ".img_mod_linear." in name else bits
            a, b = (numerics.unpack(np.frombuffer(t.data, np.uint32).reshape(t.shape), width) for t in (tensor, theirs[name]))
            assert np.abs(a - b).max() <= 1, name
        off[kind] += np.count_nonzero(a != b)
        off[f"all {kind}"] += a.size
    for kind in ("codes", "scales, biases and vectors"):
        figure(f"Qwen, kohya LoRA, {bits} bits, {kind} unlike mflux's: {numerics.rate(off[kind], off[f'all {kind}'])}")
        assert off[kind] / off[f"all {kind}"] < 1e-3


@pytest.mark.parametrize("name", ["flux-pipeline", "flux-adapter", "qwen-pipeline"])
def test_merging_by_diffusers_in_float32_gives_the_same(program, sources, out, figure, name):
    base, lora = sources.base_of(name), sources.lora(name)
    program.save(sources.model(base), out, "--layout", "diffusers", "--lora", lora.file)
    transformer = (loras.flux_transformer if base == "flux" else loras.qwen_transformer)(sources.model(base))
    prefix = None if name == "flux-adapter" else "transformer"
    transformer.load_lora_adapter(str(lora.file.parent), weight_name=lora.file.name, prefix=prefix)
    transformer.fuse_lora()
    transformer.unload_lora()
    ours, off, total = read_component(out, "transformer"), 0, 0
    for key, value in transformer.state_dict().items():
        steps = numerics.ulps(ours[key], value.to(torch.float64).numpy())
        assert steps.max() <= 1, key
        off += np.count_nonzero(steps)
        total += steps.size
    assert off / total < 1e-4
    figure(f"{name}: values one bf16 step from diffusers' fuse_lora in float32: {numerics.rate(off, total)}")


def test_several_loras_are_added_in_float32_in_the_order_given(program, sources, out):
    first, second = sources.lora("flux-pipeline"), sources.lora("flux-kohya")
    files = ["--lora", first.file, second.file, "--lora-scale", 0.5, -1.25]
    program.save(sources.model("flux"), out, "--layout", "diffusers", *files)
    for component in components("flux"):
        source, ours = read_component(sources.model("flux"), component), read_component(out, component)
        truths = [(truth_in(first, component), 0.5), (truth_in(second, component), -1.25)]
        for key, weight in source.items():
            merged = weight.float64().astype(np.float32)
            for truth, strength in truths:
                as_stored = numerics.Tensor("F32", weight.shape, merged.tobytes())
                merged = numerics.merged_float32(as_stored, truth.get(key, []), strength)
            assert numerics.ulps(ours[key], merged.astype(np.float64)).max() == 0, f"{component}/{key}"


@pytest.mark.parametrize("name", ALL_LORAS)
def test_verify_recomputes_the_bake_and_finds_a_changed_bit(program, sources, out, name):
    model, lora = sources.model(sources.base_of(name)), sources.lora(name)
    program.save(model, out, "-q", 8, "--lora", lora.file)
    program("verify", out)
    program("verify", out, "--base", model, "--lora", lora.file)
    file = out / "transformer" / "0.safetensors"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    program("verify", out, expect=4)

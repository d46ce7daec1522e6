# SPDX-License-Identifier: MIT
"""What `mflux save` writes without a LoRA, against Python's mflux, MLX and diffusers."""

import json
import os
import pathlib

import mlx.core as mx
import numpy as np
import pytest
import torch

import checkpoints
import mflux_tiny
import numerics
from numerics import differences, read_component

FLUX_COMPONENTS = ["transformer", "text_encoder", "text_encoder_2", "vae"]
QWEN_COMPONENTS = ["transformer", "text_encoder", "vae"]
FORMATS = [("affine", bits, group) for bits in (2, 3, 4, 5, 6, 8) for group in (32, 64, 128)]
FORMATS += [("mxfp4", 4, 32), ("mxfp8", 8, 32), ("nvfp4", 4, 16)]


def components(model: str) -> list[str]:
    return QWEN_COMPONENTS if model == "qwen" else FLUX_COMPONENTS


def quantized(bits) -> list:
    return [] if bits is None else ["-q", bits]


@pytest.mark.parametrize("bits", [None, 8, 6, 5, 4, 3])
@pytest.mark.parametrize("model", ["flux", "schnell", "qwen"])
def test_a_plain_save_is_mflux_own_save_bit_for_bit(program, sources, out, model, bits):
    if model == "schnell" and bits in (3, 5, 6):
        pytest.skip("as flux")
    program.save(sources.model(model), out, *quantized(bits))
    theirs = sources.mflux_save(model, bits)
    for component in components(model):
        expected = read_component(theirs, component)
        assert differences(read_component(out, component), expected) == [], component


@pytest.mark.parametrize("bits", [None, 8, 4])
@pytest.mark.parametrize("model", ["flux", "schnell", "qwen"])
def test_mflux_loads_our_folder_with_every_tensor_found(program, sources, out, model, bits):
    program.save(sources.model(model), out, *quantized(bits))
    loaded = mflux_tiny.load(out, sources.model(model))
    assert loaded.bits == bits
    for component, module in mflux_tiny.components_of(loaded).items():
        found = {name: numerics.tensor_of(value) for name, value in mflux_tiny.parameters(module).items()}
        assert differences(read_component(out, component), found) == [], component


@pytest.mark.parametrize("model", ["flux", "qwen"])
def test_metadata_says_what_the_bytes_are(program, sources, out, model):
    program.save(sources.model(model), out, "-q", 8)
    for component in components(model):
        index = json.loads((out / component / "model.safetensors.index.json").read_text())
        tensors = read_component(out, component)
        assert index["metadata"]["total_size"] == sum(len(tensor.data) for tensor in tensors.values())
        theirs = json.loads((sources.mflux_save(model, 8) / component / "model.safetensors.index.json").read_text())
        for key, value in theirs["metadata"].items():
            # mflux says 8 of components that it does not quantize, too.
            if key == "quantization_level" and "U32" not in {tensor.dtype for tensor in tensors.values()}:
                value = "None"
            if key != "mflux_version":
                assert index["metadata"][key] == value
        for file in (out / component).glob("*.safetensors"):
            metadata = numerics.read_file(file)[1]
            assert metadata["quantization_level"] == index["metadata"]["quantization_level"]
            assert all(isinstance(value, str) for value in metadata.values())


@pytest.mark.parametrize("model", ["flux", "qwen"])
def test_tokenizers_and_scheduler_are_copied_as_they_are(program, sources, out, model):
    source = sources.model(model)
    program.save(source, out)
    copied = [file.relative_to(source) for file in source.rglob("*") if file.is_file()]
    copied = [file for file in copied if file.parts[0].startswith(("tokenizer", "scheduler", "model_index"))]
    assert len(copied) > 4
    for file in copied:
        assert (out / file).read_bytes() == (source / file).read_bytes(), file


def expected_layers(ours: dict, unquantized: dict, packed_at_8: dict, mode: str, bits: int, group: int) -> dict:
    """MLX's own quantization of every layer that mflux quantizes and whose rows are whole groups."""
    tensors = dict(unquantized)
    for scales in [name for name in packed_at_8 if name.endswith(".scales")]:
        layer = scales.removesuffix(".scales")
        weight = unquantized[f"{layer}.weight"]
        if weight.shape[-1] % group != 0:
            continue
        parts = numerics.quantize_stored(weight.mlx(), mode, bits, group)
        if mode != "affine":
            found = [ours[f"{layer}.{name}"].mlx() for name in ("weight", "scales")]
            parts = numerics.excuse_out_of_range(weight.float64(), found, parts, mode, bits, group)
        for name, part in zip(("weight", "scales", "biases"), parts):
            tensors[f"{layer}.{name}"] = numerics.tensor_of(part)
    return tensors


@pytest.mark.parametrize("mode,bits,group", FORMATS)
def test_every_packed_tensor_is_what_mlx_quantize_gives(program, sources, out, mode, bits, group):
    arguments = ["--q-mode", mode, "--q-group-size", group]
    program.save(sources.model("flux"), out, *arguments, *(["-q", bits] if mode == "affine" else []))
    for component in FLUX_COMPONENTS:
        ours = read_component(out, component)
        expected = expected_layers(
            ours,
            read_component(sources.mflux_save("flux", None), component),
            read_component(sources.mflux_save("flux", 8), component),
            mode,
            bits,
            group,
        )
        assert differences(ours, expected) == [], component


def test_float32_and_float16_sources_are_packed_as_mlx_packs_what_mflux_casts(program, sources, work, out):
    """mflux casts FLUX to bf16 on loading: so does a packed save of ours."""
    for dtype in (torch.float16, torch.float32):
        source = work / f"flux-{dtype}"
        if not source.exists():
            checkpoints.flux(source, edges=False)
            for file in source.rglob("*.safetensors"):
                tensors = {name: value.to(dtype) for name, value in checkpoints.load_file(file).items()}
                checkpoints.save_file(tensors, file, {"format": "pt"})
        target = out.with_name(f"out-{dtype}")
        program.save(source, target, "-q", 8)
        theirs = work / f"theirs-{dtype}"
        mflux_tiny.load(source, source, quantize=8).save_model(str(theirs))
        for component in FLUX_COMPONENTS:
            found = differences(read_component(target, component), read_component(theirs, component))
            assert found == [], (dtype, component)


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("model", ["flux", "qwen"])
def test_a_folder_packed_by_mflux_is_a_source_and_stays_packed(program, sources, out, model, bits):
    packed = sources.mflux_save(model, bits)
    program.save(packed, out)
    for component in components(model):
        expected = read_component(packed, component)
        assert differences(read_component(out, component), expected) == [], component


@pytest.mark.parametrize("model", ["flux", "qwen"])
def test_an_unpacked_folder_saved_by_mflux_is_a_source(program, sources, out, model):
    program.save(sources.mflux_save(model, None), out, "-q", 8)
    for component in components(model):
        expected = read_component(sources.mflux_save(model, 8), component)
        assert differences(read_component(out, component), expected) == [], component


@pytest.mark.parametrize("bits", [None, 8])
@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_a_single_file_with_bfl_names_gives_the_same_transformer(program, sources, work, out, prefix, bits):
    file = checkpoints.single_file(sources.model("flux"), work / f"bfl{prefix}safetensors", prefix)
    program.save(file, out, *quantized(bits))
    expected = read_component(sources.mflux_save("flux", bits), "transformer")
    assert differences(read_component(out, "transformer"), expected) == []


def state(module) -> dict[str, numerics.Tensor]:
    def tensor(value: torch.Tensor) -> numerics.Tensor:
        kinds = {torch.bfloat16: "BF16", torch.float32: "F32"}
        raw = value.contiguous().view(torch.uint8) if value.ndim else value.reshape(1).view(torch.uint8)
        return numerics.Tensor(kinds[value.dtype], tuple(value.shape), raw.numpy().tobytes())

    return {name: tensor(value) for name, value in module.state_dict().items()}


def test_diffusers_opens_the_flux_pipeline_of_the_diffusers_layout(program, sources, out):
    from diffusers import FluxPipeline

    source = sources.model("flux")
    program.save(source, out, "--layout", "diffusers")
    ours = FluxPipeline.from_pretrained(out, dtype=torch.bfloat16)
    theirs = FluxPipeline.from_pretrained(source, dtype=torch.bfloat16)
    for component in FLUX_COMPONENTS:
        found = differences(state(getattr(ours, component)), state(getattr(theirs, component)))
        assert found == [], component
        assert differences(read_component(out, component), read_component(source, component)) == [], component
    words = "a red chair in the evening"
    for name in ("tokenizer", "tokenizer_2"):
        assert getattr(ours, name)(words).input_ids == getattr(theirs, name)(words).input_ids


def test_diffusers_opens_the_qwen_pipeline_of_the_diffusers_layout(program, sources, out):
    from diffusers import QwenImagePipeline

    source = sources.model("qwen")
    program.save(source, out, "--layout", "diffusers")
    ours = QwenImagePipeline.from_pretrained(out, dtype=torch.bfloat16)
    theirs = QwenImagePipeline.from_pretrained(source, dtype=torch.bfloat16)
    for component in QWEN_COMPONENTS:
        found = differences(state(getattr(ours, component)), state(getattr(theirs, component)))
        assert found == [], component
        assert differences(read_component(out, component), read_component(source, component)) == [], component


def only_file(out):
    files = list(out.rglob("*.safetensors")) if out.is_dir() else [out]
    assert len(files) == 1, files
    return files[0]


def test_the_comfyui_layout_is_one_file_with_bfl_names(program, sources, out):
    from diffusers.loaders.single_file_utils import infer_diffusers_model_type, load_single_file_checkpoint

    source = sources.model("flux")
    program.save(source, out, "--layout", "comfyui")
    file = only_file(out)
    tensors = numerics.read_file(file)[0]
    expected = {
        name: numerics.Tensor("BF16", tuple(value.shape), value.contiguous().view(torch.uint8).numpy().tobytes())
        for name, value in checkpoints.to_bfl(checkpoints.load_component(source, "transformer")).items()
    }
    assert differences(tensors, expected) == []
    # diffusers' converter cuts linear1 by the real width (see the next test); here it only says which model it is.
    assert infer_diffusers_model_type(load_single_file_checkpoint(str(file))).startswith("flux-")


@pytest.mark.skipif("MFLUX_REAL_WIDTH" not in os.environ, reason="MFLUX_REAL_WIDTH: folder of checkpoints.py real-width")
def test_diffusers_from_single_file_opens_the_comfyui_layout_at_real_width(program, out):
    from diffusers import FluxTransformer2DModel

    source = pathlib.Path(os.environ["MFLUX_REAL_WIDTH"])
    program.save(source, out, "--layout", "comfyui")
    opened = FluxTransformer2DModel.from_single_file(
        str(only_file(out)), config=str(source), subfolder="transformer", torch_dtype=torch.bfloat16
    )
    assert differences(state(opened), read_component(source, "transformer")) == []


def test_the_comfyui_layout_of_qwen_is_one_file_with_the_same_tensors(program, sources, out):
    source = sources.model("qwen")
    program.save(source, out, "--layout", "comfyui")
    tensors = numerics.read_file(only_file(out))[0]
    prefix = "model.diffusion_model."
    tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    assert differences(tensors, read_component(source, "transformer")) == []


def test_quantize_at_load_keeps_the_weights_and_mflux_quantizes_them(program, sources, out):
    program.save(sources.model("flux"), out, "-q", 8, "--quantize-at-load")
    plain = sources.mflux_save("flux", None)
    for component in FLUX_COMPONENTS:
        assert differences(read_component(out, component), read_component(plain, component)) == [], component


def test_shards_do_not_change_the_tensors(program, sources, out):
    program.save(sources.model("flux"), out, "-q", 8, "--max-shard-size", "300KB")
    assert len(list((out / "transformer").glob("*.safetensors"))) > 3
    for component in FLUX_COMPONENTS:
        expected = read_component(sources.mflux_save("flux", 8), component)
        assert differences(read_component(out, component), expected) == [], component


def test_the_packing_used_here_is_mlx_own():
    """The references of test_baked.py pack codes themselves."""
    weight = mx.array(np.random.default_rng(1).normal(size=(8, 128)).astype(np.float32))
    for bits in (2, 3, 4, 5, 6, 8):
        packed = np.array(mx.quantize(weight, group_size=64, bits=bits)[0])
        assert (numerics.pack(numerics.unpack(packed, bits), bits) == packed).all()

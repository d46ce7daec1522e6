# SPDX-License-Identifier: MIT
"""What `mflux inspect --convert` writes, loaded by diffusers itself: every layer changes by what it should."""

import contextlib
import io
import pathlib

import pytest
import torch
from diffusers import FluxPipeline, FluxTransformer2DModel, QwenImagePipeline, QwenImageTransformer2DModel
from transformers import CLIPTextModel

import loras

PIPELINES = {"flux": FluxPipeline, "qwen": QwenImagePipeline}
TRANSFORMERS = {"flux": FluxTransformer2DModel, "qwen": QwenImageTransformer2DModel}

# LoRA, and what diffusers has no place for.
TO_DIFFUSERS = [
    ("flux-pipeline", ""),
    ("flux-adapter", ""),
    ("flux-kohya", "text_encoder_2=0"),
    ("qwen-pipeline", ""),
    ("qwen-peft", ""),
    ("qwen-kohya", "text_encoder=0"),
]
# Of FLUX.1's single blocks diffusers reads kohya's names in the real width only.
TO_KOHYA = [("qwen-peft", ""), ("qwen-kohya", "text_encoder=0")]


def convert(program, lora: loras.Lora, dialect: str, folder: pathlib.Path, leave_out: str) -> pathlib.Path:
    file = folder / f"{dialect}.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    arguments = ["--lora-block-scales", leave_out] if leave_out else []
    program("inspect", lora.file, "--convert", dialect, file, *arguments)
    return file


def load_state(base: str, file: pathlib.Path):
    """State dict, alphas, metadata. Qwen-Image's loader returns no alphas."""
    arguments = {"weight_name": file.name, "return_lora_metadata": True}
    if base == "flux":
        return FluxPipeline.lora_state_dict(str(file.parent), return_alphas=True, **arguments)
    state, metadata = QwenImagePipeline.lora_state_dict(str(file.parent), **arguments)
    return state, None, metadata


def deltas_of(model, component: str, rename=lambda name: name) -> dict[str, torch.Tensor]:
    found = {}
    for name, module in model.named_modules():
        for adapter in getattr(module, "lora_A", {}):
            delta = module.get_delta_weight(adapter).detach()
            if delta.any():
                found[f"{component}/{rename(name)}.weight"] = delta
    return found


def transformer_deltas(model_folder, base: str, loaded) -> dict[str, torch.Tensor]:
    transformer = TRANSFORMERS[base].from_pretrained(model_folder, subfolder="transformer", torch_dtype=torch.float32)
    state, alphas, metadata = loaded
    arguments = {"network_alphas": alphas} if base == "flux" else {}
    PIPELINES[base].load_lora_into_transformer(state, transformer=transformer, metadata=metadata, **arguments)
    return deltas_of(transformer, "transformer")


def clip_deltas(model_folder, loaded) -> dict[str, torch.Tensor]:
    state, alphas, metadata = loaded
    if not any(name.startswith("text_encoder.") for name in state):
        return {}
    with contextlib.redirect_stderr(io.StringIO()):
        clip = CLIPTextModel.from_pretrained(model_folder, subfolder="text_encoder", dtype=torch.float32)
    FluxPipeline.load_lora_into_text_encoder(
        state, network_alphas=alphas, text_encoder=clip, prefix="text_encoder", metadata=metadata
    )
    return deltas_of(clip, "text_encoder", loras.clip_names)


def check(found: dict[str, torch.Tensor], lora: loras.Lora, leave_out: str) -> None:
    left_out = leave_out.removesuffix("=0") + "/"
    truth = {name: deltas for name, deltas in lora.truth.items() if not (leave_out and name.startswith(left_out))}
    assert sorted(found) == sorted(truth)
    for name, deltas in truth.items():
        exact = sum(delta.scale * (delta.up.double() @ delta.down.double()) for delta in deltas)
        error = (found[name].double() - exact).abs().max() / exact.abs().max()
        assert error < 1e-5, f"{name}: {error}"


@pytest.mark.parametrize("name,leave_out", TO_DIFFUSERS)
def test_diffusers_loads_the_converted_file(program, sources, tmp_path, name, leave_out):
    base = sources.base_of(name)
    file = convert(program, sources.lora(name), "diffusers", tmp_path / "one", leave_out)
    loaded = load_state(base, file)
    found = transformer_deltas(sources.model(base), base, loaded)
    if base == "flux":
        found |= clip_deltas(sources.model(base), loaded)
    check(found, sources.lora(name), leave_out)


@pytest.mark.parametrize("name,leave_out", TO_KOHYA)
def test_diffusers_reads_the_file_in_kohyas_names(program, sources, tmp_path, name, leave_out):
    file = convert(program, sources.lora(name), "kohya", tmp_path / "one", leave_out)
    loaded = load_state("qwen", file)
    check(transformer_deltas(sources.model("qwen"), "qwen", loaded), sources.lora(name), leave_out)


@pytest.mark.parametrize("name,leave_out", [("flux-adapter", ""), ("flux-kohya", "text_encoder_2=0")])
def test_there_and_back_through_the_others_diffusers_still_loads_it(program, sources, tmp_path, name, leave_out):
    lora = sources.lora(name)
    for step, dialect in enumerate(["comfyui", "kohya", "diffusers"]):
        file = convert(program, lora, dialect, tmp_path / str(step), leave_out if step == 0 else "")
        lora = loras.Lora(file, lora.truth)
    loaded = load_state("flux", file)
    found = transformer_deltas(sources.model("flux"), "flux", loaded) | clip_deltas(sources.model("flux"), loaded)
    check(found, lora, leave_out)

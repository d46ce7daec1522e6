# SPDX-License-Identifier: MIT
"""LoRAs that do not fit: status 3, every key named, nothing written."""

import pytest
import torch
from safetensors.torch import load_file, save_file


def extra_key(tensors):
    tensors["transformer.transformer_blocks.0.attn.to_z.lora_A.weight"] = torch.ones(4, 128)
    tensors["transformer.transformer_blocks.0.attn.to_z.lora_B.weight"] = torch.ones(128, 4)
    return ["transformer.transformer_blocks.0.attn.to_z"]


def missing_partner(tensors):
    del tensors["transformer.transformer_blocks.1.attn.to_k.lora_B.weight"]
    return ["transformer.transformer_blocks.1.attn.to_k.lora_A.weight"]


def two_failures(tensors):
    return extra_key(tensors) + missing_partner(tensors)


def wrong_shape(tensors):
    tensors["transformer.transformer_blocks.0.attn.to_q.lora_A.weight"] = torch.ones(4, 192)
    return ["transformer_blocks.0.attn.to_q", "192"]


def wrong_rank(tensors):
    tensors["transformer.transformer_blocks.0.attn.to_q.lora_B.weight"] = torch.ones(128, 5)
    return ["transformer_blocks.0.attn.to_q"]


def not_a_number(tensors):
    tensors["transformer.transformer_blocks.0.attn.to_v.lora_A.weight"][1, 7] = float("nan")
    return ["transformer.transformer_blocks.0.attn.to_v.lora_A.weight"]


def infinite(tensors):
    tensors["transformer.single_transformer_blocks.0.proj_mlp.lora_B.weight"][3, 1] = float("-inf")
    return ["transformer.single_transformer_blocks.0.proj_mlp.lora_B.weight"]


def block_too_many(tensors):
    for side in ("A", "B"):
        name = f"transformer.transformer_blocks.{{}}.attn.to_q.lora_{side}.weight"
        tensors[name.format(7)] = tensors[name.format(0)].clone()
    return ["transformer.transformer_blocks.7.attn.to_q"]


DAMAGE = [
    extra_key,
    missing_partner,
    two_failures,
    wrong_shape,
    wrong_rank,
    not_a_number,
    infinite,
    block_too_many,
]


@pytest.mark.parametrize("bits", [[], ["-q", "8"]])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_lora_is_refused_by_name_and_nothing_is_written(program, sources, out, tmp_path, damage, bits):
    tensors = load_file(sources.lora("flux-pipeline").file)
    named = damage(tensors)
    file = tmp_path / "damaged.safetensors"
    save_file({name: value.contiguous() for name, value in tensors.items()}, file)
    done = program("save", "--model", sources.model("flux"), "--path", out, "--lora", file, *bits, expect=3)
    for text in named:
        assert text in done.stderr
    assert not out.exists()
    assert [entry.name for entry in tmp_path.iterdir()] == [file.name]


@pytest.mark.parametrize("model,lora", [("flux", "qwen-pipeline"), ("qwen", "flux-pipeline"), ("qwen", "flux-kohya")])
def test_a_lora_of_the_other_family_is_refused(program, sources, out, model, lora):
    program("save", "--model", sources.model(model), "--path", out, "--lora", sources.lora(lora).file, expect=3)
    assert not out.exists()


def test_a_guidance_layer_that_schnell_lacks_is_refused(program, sources, out):
    lora = sources.lora("flux-adapter").file
    done = program("save", "--model", sources.model("schnell"), "--path", out, "--lora", lora, expect=3)
    assert "guidance_embedder" in done.stderr
    assert not out.exists()


def test_a_different_number_of_scales_is_wrong_usage(program, sources, out):
    lora = sources.lora("flux-pipeline").file
    arguments = ["--lora", lora, "--lora-scale", 1, 2]
    program("save", "--model", sources.model("flux"), "--path", out, *arguments, expect=2)
    assert not out.exists()


def test_a_failed_save_leaves_an_older_folder_as_it_was(program, sources, out, tmp_path):
    program.save(sources.model("flux"), out)
    before = {file: file.read_bytes() for file in sorted(out.rglob("*")) if file.is_file()}
    tensors = load_file(sources.lora("flux-pipeline").file)
    not_a_number(tensors)
    save_file(tensors, tmp_path / "damaged.safetensors")
    arguments = ["--lora", tmp_path / "damaged.safetensors", "--overwrite"]
    program("save", "--model", sources.model("flux"), "--path", out, *arguments, expect=3)
    assert before == {file: file.read_bytes() for file in sorted(out.rglob("*")) if file.is_file()}

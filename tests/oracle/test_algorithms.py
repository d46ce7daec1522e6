# SPDX-License-Identifier: MIT
"""A file for each (dialect, algorithm, family), merged onto float32 by us and by the peer that invented it."""

import pathlib

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import algorithms
from numerics import read_component


def compare(program, base: pathlib.Path, file: pathlib.Path, out: pathlib.Path, expected: dict, tolerance: float):
    """Every tensor in `expected` as there, the others as they were. Returns the largest error, by its largest value."""
    program.save(base, out, "--layout", "diffusers", "--lora", file)
    ours, source = read_component(out, "transformer"), read_component(base, "transformer")
    worst = 0.0
    for name, tensor in ours.items():
        assert tensor.dtype == "F32", name
        if name not in expected:
            assert tensor == source[name], name
            continue
        wanted = expected[name]
        error = np.abs(tensor.float64() - wanted).max() / max(np.abs(wanted).max(), np.abs(source[name].float64()).max())
        assert error < tolerance, f"{name}: {error}"
        worst = max(worst, error)
    assert any(not np.array_equal(source[name].float64(), expected[name]) for name in expected)
    return worst


CELLS = [(*cell, algorithm) for cell in algorithms.DIALECTS for algorithm in algorithms.ALGORITHMS]


@pytest.mark.parametrize("family,dialect,algorithm", CELLS)
def test_a_cell_is_merged_as_its_trainer_would(program, float32_base, out, tmp_path, family, dialect, algorithm):
    base = float32_base(family)
    weights = load_file(base / "transformer" / "diffusion_pytorch_model.safetensors")
    file = tmp_path / "x.safetensors"
    expected = algorithms.make(family, dialect, algorithm, weights, file)
    compare(program, base, file, out, expected, algorithms.TOLERANCE.get(algorithm, 3e-7))


@pytest.mark.parametrize("family", ["flux", "qwen"])
@pytest.mark.parametrize("kind", algorithms.PEFT_KINDS)
def test_peft_files_are_merged_as_peft_merges_them(program, float32_base, out, tmp_path, family, kind):
    base = float32_base(family)
    file, expected = algorithms.make_peft(family, kind, base, tmp_path / "peft")
    compare(program, base, file, out, expected, 3e-7)


@pytest.mark.parametrize("algorithm", ["loha", "lokr-factored"])
def test_lycoris_own_merging_is_wrong_where_its_forward_is_right(float32_base, figure, algorithm):
    """Its get_diff_weight() multiplies by alpha / rank twice; the figure shows by how much."""
    weight = load_file(float32_base("flux") / "transformer" / "diffusion_pytorch_model.safetensors")["proj_out.weight"]
    kind = {"loha": algorithms.LohaModule, "lokr-factored": algorithms.LokrModule}[algorithm]
    linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    linear.weight = torch.nn.Parameter(weight, requires_grad=False)
    module = kind("x", linear, 1.0, lora_dim=4, alpha=1.0, factor=8)
    with torch.no_grad():
        for value in module.parameters():
            value.normal_(0.0, 0.2)
        forward = module(torch.eye(weight.shape[1])).T - weight
        merged = module.get_merged_weight()[0] - weight
    ratio = float((merged * forward).sum() / (forward * forward).sum())
    figure(f"LyCORIS {algorithm}: merge_to gives {ratio:.3f} of what its forward applies (alpha / rank = 0.25)")
    assert ratio == pytest.approx(0.25, rel=1e-3)


@pytest.mark.parametrize("algorithm", ["dora-in", "boft"])
def test_the_number_of_threads_and_the_memory_change_no_bit(program, float32_base, out, tmp_path, algorithm):
    base = float32_base("flux")
    weights = load_file(base / "transformer" / "diffusion_pytorch_model.safetensors")
    file = tmp_path / "x.safetensors"
    algorithms.make("flux", "kohya", algorithm, weights, file)
    program.save(base, out, "-q", 4, "--lora", file)
    program.save(base, tmp_path / "small", "-q", 4, "--lora", file, "--max-memory", "256MiB")
    assert (out / "transformer/0.safetensors").read_bytes() == (tmp_path / "small/transformer/0.safetensors").read_bytes()
    program("verify", out, "--base", base, "--lora", file)


def test_a_matrix_that_does_not_fit_the_memory_is_refused_with_the_number(program, float32_base, out, tmp_path):
    base = float32_base("flux")
    weights = load_file(base / "transformer" / "diffusion_pytorch_model.safetensors")
    file = tmp_path / "x.safetensors"
    algorithms.make("flux", "kohya", "dora-in", weights, file)
    done = program("save", "--model", base, "--path", out, "--lora", file, "--max-memory", "16MiB", expect=1)
    assert "works on the whole matrix" in done.stderr and "--max-memory allows 16 MiB" in done.stderr
    assert not out.exists()

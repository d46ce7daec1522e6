# SPDX-License-Identifier: MIT
"""One part of our networks on given tensors (build/network_probe), and how far it is from the reference."""

import os
import pathlib
import subprocess
import tempfile

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


def probe_path() -> pathlib.Path:
    program = pathlib.Path(os.environ.get("MFLUX_PROGRAM", REPOSITORY / "build" / "mflux"))
    return program.resolve().with_name("network_probe")


def array(value) -> np.ndarray:
    return np.ascontiguousarray(value.detach().float().numpy() if isinstance(value, torch.Tensor) else np.asarray(value))


def probe(model, part: str, *, expect: int = 0, **inputs):
    """What the part gives, by name, in float32; with expect=1 the message."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = (str(pathlib.Path(folder) / name) for name in ("in.safetensors", "out.safetensors"))
        save_file({name: array(value) for name, value in inputs.items()}, source)
        command = [str(probe_path()), str(model), part, source, target]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == expect, f"{command}: exit {done.returncode}\n{done.stderr}"
        return done.stderr if expect else load_file(target)


def distance(found, expected) -> tuple[float, float]:
    """The largest difference, and the same relative to the largest value expected."""
    found, expected = np.asarray(found, np.float64), array(expected).astype(np.float64)
    assert found.shape == expected.shape, (found.shape, expected.shape)
    assert np.isfinite(found).all() and np.isfinite(expected).all()
    worst = float(np.abs(found - expected).max())
    return worst, worst / float(np.abs(expected).max())

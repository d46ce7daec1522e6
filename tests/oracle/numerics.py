# SPDX-License-Identifier: MIT
"""Tensors as they lie in files, and the right answers: float64 references, packed layers by MLX."""

import json
import os
import pathlib

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import mlx.core as mx
import numpy as np
import torch

mx.set_default_device(mx.cpu)


class Tensor:
    """dtype and shape as the header says, and the bytes."""

    def __init__(self, dtype: str, shape: tuple, data: bytes):
        self.dtype, self.shape, self.data = dtype, shape, data

    def __eq__(self, other) -> bool:
        return (self.dtype, self.shape, self.data) == (other.dtype, other.shape, other.data)

    def __repr__(self) -> str:
        return f"{self.dtype}{list(self.shape)}"

    def float64(self) -> np.ndarray:
        if self.dtype == "BF16":
            bits = np.frombuffer(self.data, np.uint16).astype(np.uint32) << 16
            return bits.view(np.float32).astype(np.float64).reshape(self.shape)
        kinds = {"F32": np.float32, "F16": np.float16, "F64": np.float64}
        return np.frombuffer(self.data, kinds[self.dtype]).astype(np.float64).reshape(self.shape)

    def mlx(self) -> mx.array:
        if self.dtype == "BF16":
            return mx.array(np.frombuffer(self.data, np.uint16).reshape(self.shape)).view(mx.bfloat16)
        kinds = {"F32": np.float32, "F16": np.float16, "U32": np.uint32, "U8": np.uint8}
        return mx.array(np.frombuffer(self.data, kinds[self.dtype]).reshape(self.shape))


def read_file(file) -> tuple[dict[str, Tensor], dict[str, str]]:
    data = pathlib.Path(file).read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensors[name] = Tensor(entry["dtype"], tuple(entry["shape"]), data[8 + length + begin : 8 + length + end])
    return tensors, metadata


def read_component(folder, component: str) -> dict[str, Tensor]:
    """By the index if there is one, as every reader does; all files otherwise."""
    root = pathlib.Path(folder) / component
    indexes = list(root.glob("*.index.json"))
    files = set(root.glob("*.safetensors"))
    if indexes:
        weight_map = json.loads(indexes[0].read_text())["weight_map"]
        assert {root / file for file in weight_map.values()} == files, f"{root}: index and files differ"
    tensors = {}
    for file in sorted(files):
        for name, tensor in read_file(file)[0].items():
            assert name not in tensors, f"{name} twice in {root}"
            assert not indexes or weight_map[name] == file.name, f"{name}: the index says {weight_map.get(name)}"
            tensors[name] = tensor
    if indexes:
        assert set(weight_map) == set(tensors), f"{root}: index and headers differ"
    return tensors


def tensor_of(value: mx.array) -> Tensor:
    names = {
        mx.bfloat16: "BF16",
        mx.float16: "F16",
        mx.float32: "F32",
        mx.uint32: "U32",
        mx.uint8: "U8",
    }
    raw = value.view(mx.uint16) if value.dtype == mx.bfloat16 else value
    return Tensor(names[value.dtype], tuple(value.shape), np.array(raw).tobytes())


def differences(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> list[str]:
    """Empty if both hold the same tensors bit for bit."""
    found = [f"only ours: {name}" for name in sorted(set(ours) - set(theirs))]
    found += [f"only theirs: {name}" for name in sorted(set(theirs) - set(ours))]
    for name in sorted(set(ours) & set(theirs)):
        a, b = ours[name], theirs[name]
        if (a.dtype, a.shape) != (b.dtype, b.shape):
            found.append(f"{name}: {a} against {b}")
        elif a.data != b.data:
            count = np.count_nonzero(np.frombuffer(a.data, np.uint8) != np.frombuffer(b.data, np.uint8))
            found.append(f"{name}: {count} of {len(a.data)} bytes differ")
    return found


def float32(value: torch.Tensor) -> np.ndarray:
    return value.detach().float().numpy()


def merged_float64(weight: Tensor, deltas, strength: float) -> np.ndarray:
    merged = weight.float64().copy()
    for delta in deltas:
        up, down = (float32(factor).astype(np.float64) for factor in (delta.up, delta.down))
        merged += strength * delta.scale * (up @ down)
    return merged


def fused_multiply_add(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """float32, one rounding: the product of two floats is exact in float64 (but for a double rounding, 1 in 2^29)."""
    return (a.astype(np.float64) * b.astype(np.float64) + c.astype(np.float64)).astype(np.float32)


def merged_float32(weight: Tensor, deltas, strength: float) -> np.ndarray:
    """In float32 and in the fixed order the program promises: over the rank in order, with fused multiply-add."""
    merged = weight.float64().astype(np.float32)
    for delta in deltas:
        up = (float32(delta.up).astype(np.float64) * (strength * delta.scale)).astype(np.float32)
        down = float32(delta.down)
        product = np.zeros(merged.shape, np.float32)
        for k in range(down.shape[0]):
            product = fused_multiply_add(up[:, k : k + 1], down[k : k + 1], product)
        merged = merged + product
    return merged


def bfloat16_bits(values: np.ndarray) -> np.ndarray:
    """Rounded once, to nearest, ties to even, from float64."""
    near = values.astype(np.float32).view(np.uint32)
    low = near & np.uint32(0xFFFF0000)  # towards zero
    high = low + np.uint32(0x10000)
    below = low.view(np.float32).astype(np.float64)
    above = high.view(np.float32).astype(np.float64)
    # The cast to float32 may itself have stepped over `below`'s boundary.
    stepped = np.abs(below) > np.abs(values)
    low = np.where(stepped, low - np.uint32(0x10000), low)
    high = np.where(stepped, high - np.uint32(0x10000), high)
    below = low.view(np.float32).astype(np.float64)
    above = high.view(np.float32).astype(np.float64)
    to_low, to_high = np.abs(values - below), np.abs(above - values)
    even = ((low >> 16) & 1) == 0
    down = (to_low < to_high) | ((to_low == to_high) & even)
    return (np.where(down, low, high) >> 16).astype(np.uint16)


def ulps(ours: Tensor, reference: np.ndarray) -> np.ndarray:
    """Steps between stored bf16 values and a float64 reference rounded once."""

    def ordered(bits: np.ndarray) -> np.ndarray:
        bits = bits.astype(np.int64)
        return np.where(bits >= 0x8000, 0x8000 - bits, bits)

    assert ours.dtype == "BF16", ours
    bits = np.frombuffer(ours.data, np.uint16).reshape(ours.shape)
    return np.abs(ordered(bits) - ordered(bfloat16_bits(reference)))


def summation_error(weight: Tensor, deltas, strength: float) -> np.ndarray:
    """A bound on what the order of a float32 sum can change: one rounding per step, each of at most the whole sum."""
    size = np.abs(weight.float64())
    steps = 2
    for delta in deltas:
        up, down = (np.abs(float32(factor)).astype(np.float64) for factor in (delta.up, delta.down))
        size += abs(strength * delta.scale) * (up @ down)
        steps += down.shape[0] + 2
    return steps * 2.0**-24 * size


def pack(codes: np.ndarray, bits: int) -> np.ndarray:
    """One bit stream per row, lowest bits first, in 32-bit words."""
    rows, columns = codes.shape
    stream = ((codes[..., None] >> np.arange(bits)) & 1).astype(np.uint8).reshape(rows, columns * bits)
    return np.packbits(stream, axis=1, bitorder="little").view(np.uint32)


def unpack(words: np.ndarray, bits: int) -> np.ndarray:
    stream = np.unpackbits(words.view(np.uint8), axis=1, bitorder="little")
    return (stream.reshape(words.shape[0], -1, bits).astype(np.int64) << np.arange(bits)).sum(axis=-1)


def quantize_stored(weight: mx.array, mode: str, bits: int, group: int) -> list[mx.array]:
    """mx.quantize, as mflux calls it on a layer as stored."""
    return list(mx.quantize(weight, group_size=group, bits=bits, mode=mode))


def quantize_baked(merged: np.ndarray, mode: str, bits: int, group: int, dtype=mx.bfloat16) -> list[mx.array]:
    """The contract's words for a baked tensor: scales and biases of the float32 sum, cast; codes against the cast ones."""
    parts = list(mx.quantize(mx.array(merged), group_size=group, bits=bits, mode=mode))
    if mode != "affine":
        return parts
    scales, biases = parts[1].astype(dtype), parts[2].astype(dtype)
    rows, columns = merged.shape
    steps = np.array(scales.astype(mx.float32))[..., None]
    edges = np.array(biases.astype(mx.float32))[..., None]
    groups = merged.reshape(rows, columns // group, group)
    with np.errstate(divide="ignore", invalid="ignore"):
        codes = np.rint((groups - edges) / steps)
    codes = np.clip(np.nan_to_num(codes), 0, (1 << bits) - 1).astype(np.int64).reshape(rows, columns)
    return [mx.array(pack(codes, bits)), scales, biases]


# Largest magnitudes of a group for which MLX 0.32.4 itself is right. Below, its E8M0 exponent wraps around and a group of
# 1e-39 decodes as 1e+38; above, values beyond the largest code of nvfp4 become zero.
IN_RANGE = {"mxfp4": (2.0**-120, np.inf), "mxfp8": (2.0**-116, np.inf), "nvfp4": (0.0, 6.0 * 448.0)}


def excuse_out_of_range(weight, ours, theirs, mode: str, bits: int, group: int) -> list[mx.array]:
    """`theirs` (codes, scales), but with ours in groups outside MLX's range, where ours must be as near or nearer."""
    low, high = IN_RANGE[mode]
    rows = weight.shape[0]
    largest = np.abs(weight).reshape(rows, -1, group).max(axis=-1)
    outside = ((largest < low) & (largest > 0)) | (largest > high)

    def error(parts) -> np.ndarray:
        decoded = mx.dequantize(*parts, group_size=group, bits=bits, mode=mode, dtype=mx.float32)
        return np.abs(np.array(decoded).astype(np.float64) - weight).reshape(rows, -1, group).max(axis=-1)

    assert (error(ours) <= error(theirs))[outside].all()
    codes = np.where(
        outside[..., None], *(np.array(parts[0]).reshape(rows, outside.shape[1], -1) for parts in (ours, theirs))
    )
    scales = np.where(outside, *(np.array(parts[1]) for parts in (ours, theirs)))
    return [mx.array(codes.reshape(rows, -1)), mx.array(scales)]


def rate(count: int, total: int) -> str:
    return f"{count} of {total} ({count / max(total, 1):.2e})"

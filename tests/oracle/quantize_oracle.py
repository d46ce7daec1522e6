# SPDX-License-Identifier: MIT
"""Small matrices and what MLX makes of them in every format, for the C++ tests.

usage: quantize_oracle.py tests/data/quantize/mlx.safetensors

    weight.BF16                                       the input, one for each dtype
    affine-4-64.BF16.exact.packed, .scales, .biases   mx.quantize(weight)
    affine-4-64.BF16.stored.packed, ...               of weight.F32 as a baked sum, to be stored as BF16
    mxfp4-4-32.BF16.exact.packed, .scales
"""

import json
import pathlib
import sys

import mlx.core as mx
import numpy as np
from numerics import quantize_baked, quantize_stored, tensor_of

COLUMNS = 256
DTYPES = {"F32": mx.float32, "BF16": mx.bfloat16, "F16": mx.float16}
FORMATS = [("affine", bits, group) for bits in (2, 3, 4, 5, 6, 8) for group in (32, 64, 128)]
FORMATS += [("mxfp4", 4, 32), ("mxfp8", 8, 32), ("nvfp4", 4, 16)]


def rows() -> np.ndarray:
    random = np.random.default_rng(20)

    def normal(deviation):
        return random.normal(0, deviation, COLUMNS)

    column = np.arange(COLUMNS)
    outlier = normal(0.01)
    outlier[77] = -9
    lonely = np.zeros(COLUMNS)
    lonely[[5, 250]] = 1000, -1e-3
    return np.stack([
        np.zeros(COLUMNS),
        np.full(COLUMNS, 0.5),
        np.full(COLUMNS, -3.0),
        lonely,
        outlier,
        -np.abs(normal(1)) - 0.1,
        np.abs(normal(1)) + 0.1,
        normal(0.02),
        normal(200),
        normal(3e-6),  # near and below the smallest scale of affine formats
        (column % 32 - 15.5) / 8,  # codes halfway between two
        np.where(column % 2 == 0, -6.0, 6.0) / (1 + column // 32),  # both ends equally far from zero
    ]).astype(np.float32)


def main(path: str) -> None:
    tensors = {}

    def add(name: str, array: mx.array) -> None:
        tensors[name] = tensor_of(array)

    exact = rows()
    for dtype_name, dtype in DTYPES.items():
        weight = mx.array(exact).astype(dtype)
        add(f"weight.{dtype_name}", weight)
        for mode, bits, group in FORMATS:
            results = {"exact": quantize_stored(weight, mode, bits, group)}
            if mode == "affine":
                results["stored"] = quantize_baked(exact, mode, bits, group, dtype)
            for rounding, parts in results.items():
                for part, array in zip(("packed", "scales", "biases"), parts):
                    add(f"{mode}-{bits}-{group}.{dtype_name}.{rounding}.{part}", array)
    write(pathlib.Path(path), tensors)


def write(path: pathlib.Path, tensors: dict) -> None:
    header, end = {"__metadata__": {"mlx": mx.__version__}}, 0
    for name, tensor in tensors.items():
        begin, end = end, end + len(tensor.data)
        header[name] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    data = b"".join(tensor.data for tensor in tensors.values())
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


main(sys.argv[1])

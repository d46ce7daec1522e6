# SPDX-License-Identifier: MIT
"""What survives of a LoRA on packed weights, and at which error: nearest against delta rounding.

A model with random weights, packed, and the same LoRA at three strengths. Prints the table of docs/quantization.md:

    python bench/rounding.py --work /dev/shm/rounding
"""

import argparse
import json
import pathlib
import shutil
import subprocess

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
LAYER = "transformer_blocks.0.attn.to_q"
FORMATS = [["-q", str(bits)] for bits in (2, 3, 4, 5, 6, 8)] + [["--q-mode", mode] for mode in ("mxfp4", "nvfp4", "mxfp8")]


def tensor(folder: pathlib.Path, name: str) -> np.ndarray:
    """A BF16 matrix of the safetensors files in a folder."""
    for file in folder.glob("*.safetensors"):
        data = file.read_bytes()
        size = int.from_bytes(data[:8], "little")
        entry = json.loads(data[8 : 8 + size]).get(name)
        if entry is None:
            continue
        begin, end = entry["data_offsets"]
        bits = np.frombuffer(data[8 + size + begin : 8 + size + end], "<u2").astype(np.uint32) << 16
        return bits.view(np.float32).reshape(entry["shape"])
    raise KeyError(name)


def share(model: pathlib.Path, lora: pathlib.Path) -> float:
    """||delta|| / ||weight|| of one layer, at scale 1."""
    down, up = (tensor(lora.parent, f"transformer.{LAYER}.lora_{side}.weight") for side in "AB")
    return float(np.linalg.norm(up @ down) / np.linalg.norm(tensor(model / "transformer", f"{LAYER}.weight")))


def bake(program, base, out, lora, scale, rounding) -> tuple[float, float]:
    command = [program, "save", "--model", base, "--path", out, "--overwrite", "--rounding", rounding]
    subprocess.run([*command, "--lora", lora, "--lora-scale", str(scale)], check=True, capture_output=True)
    receipt = json.loads((out / "bake.json").read_text())
    layers = [tensor["relative_error"] for tensor in receipt["baked"]]
    return receipt["loras"][0]["kept"], sum(layers) / len(layers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=pathlib.Path, required=True, help="memory-backed folder")
    parser.add_argument("--build", type=pathlib.Path, default=HERE.parent / "build")
    parser.add_argument("--width", default="1024")
    parser.add_argument("--strengths", type=float, nargs="*", default=[0.05, 0.014, 0.0043])
    arguments = parser.parse_args()
    work, program = arguments.work, arguments.build / "mflux"
    subprocess.run([arguments.build / "demo_checkpoint", work, arguments.width], check=True)
    model, lora = work / "flux", work / "loras" / "lora.safetensors"
    lora.parent.mkdir(exist_ok=True)
    shutil.move(work / "flux-lora-diffusers.safetensors", lora)
    whole = share(model, lora)
    print("| base | LoRA | nearest: kept, error | delta: kept, error |\n|---|---|---|---|")
    for quantization in FORMATS:
        packed = work / "packed"
        shutil.rmtree(packed, ignore_errors=True)
        subprocess.run([program, "save", "--model", model, "--path", packed, *quantization], check=True, capture_output=True)
        for strength in arguments.strengths:
            cells = []
            for rounding in ("nearest", "delta"):
                kept, error = bake(program, packed, work / "out", lora, strength / whole, rounding)
                cells.append(f"{kept:.2f}, {error:.4f}")
            print(f"| {quantization[1]} | {100 * strength:g} % | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()

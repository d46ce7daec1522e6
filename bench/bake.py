# SPDX-License-Identifier: MIT
"""Seconds and memory of one bake, ours and the peers', side by side.

FLUX.1 at real width with 2 + 4 blocks (2.6 GB), rank 16 over all block linears, 8 bits. Give a memory-backed folder with
8 GB of room, so that computing counts and not the disk:

    python bench/bake.py --work /dev/shm/bake
"""

import argparse
import pathlib
import re
import shutil
import statistics
import subprocess
import sys

from measure import machine, measure

HERE = pathlib.Path(__file__).resolve().parent
ORACLE = HERE.parent / "tests" / "oracle"


def make_lora(model: pathlib.Path, file: pathlib.Path, rank: int) -> None:
    """diffusers' keys without alpha, bf16, as most files on the hub are."""
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    sys.path.insert(0, str(ORACLE))
    import loras

    generator = torch.Generator().manual_seed(1)
    tensors = {}
    for shard in sorted((model / "transformer").glob("*.safetensors")):
        with safe_open(shard, "pt") as stream:
            for name in stream.keys():
                module = name.removesuffix(".weight")
                if not name.endswith(".weight") or not re.fullmatch(loras.FLUX_BLOCK_LINEARS, module):
                    continue
                rows, columns = stream.get_slice(name).get_shape()
                for side, shape in (("A", (rank, columns)), ("B", (rows, rank))):
                    value = torch.empty(shape).normal_(0.0, 0.02, generator=generator)
                    tensors[f"transformer.{module}.lora_{side}.weight"] = value.to(torch.bfloat16)
    save_file(tensors, file, {"format": "pt"})


def prepare(work: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    model, lora = work / "model", work / "lora.safetensors"
    work.mkdir(parents=True, exist_ok=True)
    if not (model / "model_index.json").exists():
        subprocess.run([sys.executable, ORACLE / "checkpoints.py", "real-width", model], check=True)
    if not lora.exists():
        make_lora(model, lora, rank=16)
    return model, lora


def jobs(arguments, model, lora, out) -> dict[str, list]:
    bits = str(arguments.bits)
    return {
        "cp -r": ["cp", "-r", model, out],
        "mflux.cpp": [arguments.program, "save", "--model", model, "--path", out, "-q", bits, "--lora", lora],
        "MLX-Python script": [sys.executable, HERE / "peer_mlx.py", model, lora, out, bits],
        "Python mflux": [sys.executable, HERE / "peer_mflux.py", model, lora, out, bits],
    }


def show(results: dict[str, list], base: float) -> None:
    print(f"{'':20} {'median s':>9} {'min-max':>13} {'x cp':>6} {'CPU s':>7} {'peak MiB':>9} {'anonymous':>10}")
    for name, runs in results.items():
        seconds = [run.seconds for run in runs]
        median = statistics.median(seconds)
        print(
            f"{name:20} {median:9.2f} {min(seconds):6.2f}-{max(seconds):<6.2f} {median / base:6.2f} "
            f"{statistics.median(run.cpu_seconds for run in runs):7.2f} "
            f"{max(run.peak_rss for run in runs) / 2**20:9.0f} "
            f"{max(run.peak_anonymous for run in runs) / 2**20:10.0f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=pathlib.Path, required=True, help="memory-backed folder")
    parser.add_argument("--program", type=pathlib.Path, default=HERE.parent / "build" / "mflux")
    parser.add_argument("--bits", type=int, default=8)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--peer-runs", type=int, default=1)
    parser.add_argument("--only", action="append", help="a row of the table")
    arguments = parser.parse_args()
    model, lora = prepare(arguments.work)
    out, log = arguments.work / "out", arguments.work / "log.txt"
    selected = {k: v for k, v in jobs(arguments, model, lora, out).items() if not arguments.only or k in arguments.only}
    results = {name: [] for name in selected}
    for turn in range(arguments.runs):
        for name, command in selected.items():
            if "Python" in name and turn >= arguments.peer_runs:
                continue
            shutil.rmtree(out, ignore_errors=True)
            results[name].append(measure(command, log))
    shutil.rmtree(out, ignore_errors=True)
    print(machine())
    base = statistics.median(run.seconds for run in results.get("cp -r", next(iter(results.values()))))
    show(results, base)


if __name__ == "__main__":
    main()

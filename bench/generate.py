# SPDX-License-Identifier: MIT
"""Seconds per step and peak memory of a picture, ours and diffusers', side by side.

A model of real width and few blocks (FLUX.1: 2 + 4; Qwen-Image: 2), random weights:

    python bench/generate.py --work /dev/shm/generate --family flux --pixels 512
"""

import argparse
import pathlib
import re
import subprocess
import sys

import peer_sdcpp
from measure import machine, measure

HERE = pathlib.Path(__file__).resolve().parent
ORACLE = HERE.parent / "tests" / "oracle"
KINDS = {"flux": "real-width", "qwen": "qwen-real-width"}


def prepare(arguments) -> tuple[pathlib.Path, pathlib.Path]:
    model, packed = arguments.work / arguments.family, arguments.work / f"{arguments.family}-8bit"
    arguments.work.mkdir(parents=True, exist_ok=True)
    if not (model / "model_index.json").exists():
        subprocess.run([sys.executable, ORACLE / "checkpoints.py", KINDS[arguments.family], model], check=True)
    if not (packed / "bake.json").exists():
        save = [arguments.program, "save", "--model", model, "--path", packed, "--quantize", "8"]
        subprocess.run(save, check=True, capture_output=True)
    return model, packed


def ours(arguments, model, *more: str) -> list:
    size = ["--height", arguments.pixels, "--width", arguments.pixels, "--steps", arguments.steps]
    command = [arguments.program, "generate", "--model", model, "--prompt", "a red circle", "--seed", "1", *size]
    return [*command, "--output", arguments.work / "out.png", "-v", *more]


def seconds_per_step(log: pathlib.Path) -> float:
    text = log.read_text(errors="replace")
    steps = re.findall(r"([\d.]+) s/step", text)  # ours and diffusers'
    if steps:
        return float(steps[-1])
    # stable-diffusion.cpp: "3/3 - 29.0s/it"; mflux: "3/3 [05:51<00:00, 117.1s/it]"
    return float(re.findall(r"(\d+)/\1 (?:-|\[[^\]]*,) *([\d.]+)s/it", text)[-1][1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=pathlib.Path, required=True, help="memory-backed folder")
    parser.add_argument("--program", type=pathlib.Path, default=HERE.parent / "build" / "mflux")
    parser.add_argument("--family", choices=KINDS, default="flux")
    parser.add_argument("--pixels", type=int, default=512)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--sd-cli", type=pathlib.Path, help="of stable-diffusion.cpp (peer_sdcpp.py); FLUX.1 only")
    parser.add_argument("--mflux", action="store_true", help="Python mflux too; minutes per step")
    parser.add_argument("--only", action="append", help="a row of the table")
    arguments = parser.parse_args()
    model, packed = prepare(arguments)
    out, log = arguments.work / "out.png", arguments.work / "log.txt"
    size = (str(arguments.pixels), str(arguments.steps))
    peer = [sys.executable, HERE / "peer_diffusers.py", model, *size]
    sdcpp = {}
    if arguments.sd_cli and arguments.family == "flux":
        for kind in ("q8_0", "bf16"):
            command = peer_sdcpp.command(arguments.sd_cli, model, arguments.work, kind, *map(int, size))
            sdcpp[f"stable-diffusion.cpp, {kind}"] = command
    mflux = {}
    if arguments.mflux:
        script = ORACLE / "mflux_pictures.py"
        words = ["a red circle", 1, arguments.steps, arguments.pixels, arguments.pixels]
        mflux["Python mflux, bfloat16 weights"] = [sys.executable, script, model, out, *words]
    rows = {
        "mflux.cpp, bfloat16 weights": ours(arguments, model),
        "mflux.cpp, 8 bits": ours(arguments, packed),
        "mflux.cpp, float32 products": ours(arguments, model, "--cpu-precision", "float32"),
        "mflux.cpp, 8 bits, float32 products": ours(arguments, packed, "--cpu-precision", "float32"),
        **sdcpp,
        **mflux,
        "diffusers, float32": [*peer, "float32"],
        "diffusers, bfloat16": [*peer, "bfloat16"],
    }
    print(machine())
    print(f"{'':36} {'s/step':>7} {'whole s':>8} {'CPU s':>7} {'peak MiB':>9} {'anonymous':>10}")
    for name, command in rows.items():
        if arguments.only and name not in arguments.only:
            continue
        out.unlink(missing_ok=True)
        run = measure(command, log)
        print(
            f"{name:36} {seconds_per_step(log):7.2f} {run.seconds:8.1f} {run.cpu_seconds:7.1f} "
            f"{run.peak_rss / 2**20:9.0f} {run.peak_anonymous / 2**20:10.0f}",
            flush=True,
        )
    out.unlink(missing_ok=True)


if __name__ == "__main__":
    main()

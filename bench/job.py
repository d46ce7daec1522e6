# SPDX-License-Identifier: MIT
"""Eight variants of a model in one job, against one save: seconds, CPU seconds, memory.

The model of bench/bake.py (FLUX.1 at real width, 2.6 GB) and a LoRA of rank 16, once over the attention projections as
diffusers' trainer makes it, once over all block linears; the eight differ in strength. Give a memory-backed folder with
16 GB of room:

    python bench/job.py --work /dev/shm/job
"""

import argparse
import pathlib
import shutil
import statistics

import bake
from measure import machine, measure

HERE = pathlib.Path(__file__).resolve().parent


def only_attention(lora: pathlib.Path, file: pathlib.Path) -> None:
    from safetensors.torch import load_file, save_file

    save_file({name: value for name, value in load_file(lora).items() if ".attn." in name}, file, {"format": "pt"})


def write_job(file, model, out, lora, variants: int, bits: int, share: bool) -> None:
    text = f'model = "{model}"\nshare = {str(share).lower()}\n[defaults]\nquantize = {bits}\n'
    for i in range(variants):
        text += f'[[output]]\npath = "{out}/{i}"\nlora = {{ file = "{lora}", scale = {(i + 1) / variants} }}\n'
    file.write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=pathlib.Path, required=True, help="memory-backed folder")
    parser.add_argument("--program", type=pathlib.Path, default=HERE.parent / "build" / "mflux")
    parser.add_argument("--bits", type=int, default=8)
    parser.add_argument("--variants", type=int, default=8)
    parser.add_argument("--runs", type=int, default=1)
    arguments = parser.parse_args()
    model, whole = bake.prepare(arguments.work)
    attention = arguments.work / "attention.safetensors"
    only_attention(whole, attention)
    out, log, job = (arguments.work / name for name in ("out", "log.txt", "job.toml"))
    rows = {}
    for title, lora in (("attention", attention), ("all block linears", whole)):
        single = ["save", "--model", model, "--path", out / "0", "-q", arguments.bits, "--lora", lora]
        rows[f"{title}: one save"] = (lora, None, single)
        rows[f"{title}: job of {arguments.variants}"] = (lora, True, ["save", "--job", job])
        rows[f"{title}: job, share = false"] = (lora, False, ["save", "--job", job])
    print(machine())
    base = {}
    for title, (lora, share, command) in rows.items():
        runs = []
        for _ in range(arguments.runs):
            shutil.rmtree(out, ignore_errors=True)
            if share is not None:
                write_job(job, model, out, lora, arguments.variants, arguments.bits, share)
            runs.append(measure([arguments.program, *command], log))
        seconds = statistics.median(run.seconds for run in runs)
        cpu = statistics.median(run.cpu_seconds for run in runs)
        if share is None:
            base = {"seconds": seconds, "cpu": cpu}
        print(
            f"{title:36} {seconds:7.2f} s ({seconds / base['seconds']:.2f}x)  CPU {cpu:7.2f} s ({cpu / base['cpu']:.2f}x)  "
            f"peak {max(run.peak_rss for run in runs) / 2**20:.0f} MiB",
            flush=True,
        )
    shutil.rmtree(out, ignore_errors=True)


if __name__ == "__main__":
    main()

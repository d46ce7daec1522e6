# SPDX-License-Identifier: MIT
"""Draws held-out prompts with a model and judges the pictures: evaluate.py MODEL OUT [--count 200] [--lora FILE]

Writes OUT/NUMBER.png and OUT/contact-sheet.png, and prints how often count, colour, shape and place are right. The
pictures come from the program (MFLUX_PROGRAM, or build/mflux), a noise of its own for each.
"""

import argparse
import concurrent.futures
import os
import pathlib
import subprocess

import numpy as np
from PIL import Image

import scenes

PROGRAM = os.environ.get("MFLUX_PROGRAM", str(pathlib.Path(__file__).resolve().parents[2] / "build" / "mflux"))
STEPS = 10


def draw(model: pathlib.Path, scene: scenes.Scene, seed: int, file: pathlib.Path, *options: str) -> np.ndarray:
    """One picture, by the program; [SIZE, SIZE, 3] uint8."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    command = [PROGRAM, "generate", "--model", model, "--prompt", scene.caption, "--seed", seed, "--output", file]
    command += ["--steps", STEPS, "--height", scenes.SIZE, "--width", scenes.SIZE, *options]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(str(word) for word in command)}\n{done.stderr}")
    return np.asarray(Image.open(file).convert("RGB"))


def draw_all(model: pathlib.Path, wanted: list[scenes.Scene], out: pathlib.Path, *options: str) -> list[np.ndarray]:
    """A picture of each scene, scene i with seed i; two at a time."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        made = [
            pool.submit(draw, model, scene, seed, out / f"{seed:03}.png", *options) for seed, scene in enumerate(wanted)
        ]
        return [future.result() for future in made]


def contact_sheet(pictures: list[np.ndarray], columns: int = 16) -> Image.Image:
    blank = np.zeros_like(pictures[0])
    padded = pictures + [blank] * (-len(pictures) % columns)
    rows = [np.concatenate(padded[begin : begin + columns], axis=1) for begin in range(0, len(padded), columns)]
    return Image.fromarray(np.concatenate(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--lora", type=pathlib.Path)
    parser.add_argument("--guidance", type=float)
    arguments = parser.parse_args()
    options = ["--lora", arguments.lora] if arguments.lora else []
    options += ["--guidance", arguments.guidance] if arguments.guidance else []
    wanted = scenes.held_out(arguments.count, seed=11)
    pictures = draw_all(arguments.model, wanted, arguments.out, *options)
    contact_sheet(pictures).save(arguments.out / "contact-sheet.png")
    verdicts = [scenes.judge(picture, scene) for picture, scene in zip(pictures, wanted)]
    for what in verdicts[0]:
        print(f"{what:6} {100 * np.mean([verdict[what] for verdict in verdicts]):5.1f} %")
    for style in ("ink", "stripes"):
        print(f"{style}: {np.mean([scenes.style_strength(picture, style) for picture in pictures]):.2f}")
    for number, (verdict, scene) in enumerate(zip(verdicts, wanted)):
        if not verdict["right"]:
            print(f"  {number:03} {scene.caption}: wrong {', '.join(k for k, v in verdict.items() if not v)}")


if __name__ == "__main__":
    main()

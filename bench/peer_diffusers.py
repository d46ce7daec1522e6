# SPDX-License-Identifier: MIT
"""One picture by diffusers: peer_diffusers.py MODEL PIXELS STEPS float32|bfloat16. Prints seconds per step."""

import os
import sys
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from diffusers import DiffusionPipeline

model, pixels, steps, precision = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), getattr(torch, sys.argv[4])
pipeline = DiffusionPipeline.from_pretrained(model, torch_dtype=precision)
pipeline.set_progress_bar_config(disable=True)
ends = []


def note(_pipeline, _step, _time, arguments):
    ends.append(time.monotonic())
    return arguments


guidance = {"true_cfg_scale": 3.5, "negative_prompt": " "} if "Qwen" in type(pipeline).__name__ else {}
pipeline(
    "a red circle",
    height=pixels,
    width=pixels,
    num_inference_steps=steps,
    callback_on_step_end=note,
    **guidance,
)
print(f"{(ends[-1] - ends[0]) / (len(ends) - 1):.2f} s/step")

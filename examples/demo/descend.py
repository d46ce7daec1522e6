# SPDX-License-Identifier: MIT
"""Gradient descent, the same for every stage of the demo's training: Muon and AdamW, one schedule, progress."""

import contextlib
import math
import time

import torch


class Progress:
    """One line now and then: step, loss, seconds per step, time left."""

    def __init__(self, stage: str, steps: int):
        self.stage, self.steps, self.start, self.losses, self.told = stage, steps, time.time(), [], time.time()

    def step(self, number: int, loss: float) -> None:
        self.losses.append(loss)
        if time.time() - self.told > 20 or number == self.steps:
            self.told = time.time()
            pace = (time.time() - self.start) / number
            mean = sum(self.losses[-100:]) / len(self.losses[-100:])
            print(
                f"{self.stage}: step {number} of {self.steps}, loss {mean:.4f}, {pace:.3f} s/step, "
                f"{pace * (self.steps - number) / 60:.0f} min left",
                flush=True,
            )


class Matrices:
    """Muon on matrices and on kernels seen as matrices [out, the rest], AdamW on all else.

    Muon (Jordan et al. 2024) makes a step equally long in all directions. After 300 steps of Qwen-Image's transformer
    the loss was 0.108 with it and train.start_as_identity, 0.171 with neither.
    """

    def __init__(self, matrices: dict[torch.nn.Parameter, float], others: list[torch.nn.Parameter], peak: float):
        """matrices: with the peak rate of each; peak: that of the others."""
        self.matrices = list(matrices)
        self.flat = [torch.nn.Parameter(p.detach().view(len(p), -1)) for p in matrices]  # the same memory
        self.optimizers = []
        if others:
            adam = torch.optim.AdamW(others, betas=(0.9, 0.99), weight_decay=0.01)
            self.optimizers.append((adam, [peak]))
        if matrices:
            groups = [{"params": [flat]} for flat in self.flat]
            muon = torch.optim.Muon(groups, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
            self.optimizers.append((muon, list(matrices.values())))

    def step(self, share: float) -> None:
        """share of the peak rate; gradients are used up."""
        for flat, matrix in zip(self.flat, self.matrices):
            flat.grad = None if matrix.grad is None else matrix.grad.reshape(flat.shape)
        for optimizer, peaks in self.optimizers:
            for group, peak in zip(optimizer.param_groups, peaks):
                group["lr"] = share * peak
            optimizer.step()
            optimizer.zero_grad()
        for matrix in self.matrices:
            matrix.grad = None


def rate(step: int, steps: int) -> float:
    """Warm-up, then a cosine to a hundredth: a share of the peak."""
    warm = min(200, max(1, steps // 20))
    if step < warm:
        return (step + 1) / warm
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def descend(
    stage: str,
    module: torch.nn.Module,
    steps: int,
    loss_of,
    *,
    peak=(5e-3, 1.5e-3),
    is_matrix=lambda name: True,
    pace=lambda name: 1.0,
    during=lambda step: contextlib.nullcontext(),
    after=None,
) -> None:
    """Goes down loss_of(step), from step 0.

    peak: the highest rate of Muon and that of AdamW. is_matrix(name): may Muon have it, at pace(name) times its rate?
    during(step) is a context for the loss and its gradients; after(step) is called behind each step.
    """
    named = {name: p for name, p in module.named_parameters() if p.requires_grad}
    matrices = {p: peak[0] * pace(name) for name, p in named.items() if p.ndim > 1 and is_matrix(name)}
    optimizer = Matrices(matrices, [p for p in named.values() if p not in matrices], peak[1])
    progress = Progress(stage, steps)
    for step in range(steps):
        with during(step):
            loss = loss_of(step)
            loss.backward()
        torch.nn.utils.clip_grad_norm_(named.values(), 1.0)
        optimizer.step(rate(step, steps))
        if after:
            after(step)
        progress.step(step + 1, loss.item())

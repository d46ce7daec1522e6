# SPDX-License-Identifier: MIT
"""Training the demo's autoencoders (train.py)."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLQwenImage

import scenes
from descend import descend


def pictures(count: int, random: np.random.Generator, style: str | None = None) -> torch.Tensor:
    """[count, 3, SIZE, SIZE] in [-1, 1]."""
    drawn = [scenes.draw(s, random, style, apart=3) for s in scenes.training(count, int(random.integers(2**31)))]
    return torch.from_numpy(np.stack(drawn)).permute(0, 3, 1, 2).float() / 127.5 - 1


def flatten_time(vae) -> None:
    """A picture is one frame, so of a causal convolution only the last of its three taps in time sees anything."""
    if not hasattr(vae, "quant_conv") or vae.quant_conv is None:
        return
    kind = type(vae.quant_conv)

    def forward(self, x, cache_x=None):
        left, right, top, bottom = self._padding[:4]
        assert left == right and top == bottom
        flat = F.conv2d(x.squeeze(2), self.weight[:, :, -1], self.bias, self.stride[1:], (top, left))
        return flat.unsqueeze(2)

    kind.forward = forward


def normalization(vae) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation that the pipelines take from and give to latents, for [batch, 16, height, width]."""
    if hasattr(vae.config, "latents_mean") and vae.config.latents_mean is not None:
        shape = (1, 16, 1, 1)
        return torch.tensor(vae.config.latents_mean).view(shape), torch.tensor(vae.config.latents_std).view(shape)
    return torch.full((1, 1, 1, 1), vae.config.shift_factor), torch.full((1, 1, 1, 1), 1 / vae.config.scaling_factor)


def moments(vae, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and log variance, normalized: [batch, 16, height / 8, width / 8]."""
    if isinstance(vae, AutoencoderKLQwenImage):
        both = vae.quant_conv(vae.encoder(images.unsqueeze(2))).squeeze(2)
    else:
        both = vae.encoder(images)
    mean, log_variance = both.chunk(2, dim=1)
    centre, deviation = normalization(vae)
    return (mean - centre) / deviation, log_variance.clamp(-20, 10) - 2 * deviation.log()


def decoded(vae, latents: torch.Tensor) -> torch.Tensor:
    centre, deviation = normalization(vae)
    raw = latents * deviation + centre
    if isinstance(vae, AutoencoderKLQwenImage):
        return vae.decoder(vae.post_quant_conv(raw.unsqueeze(2))).squeeze(2)
    return vae.decoder(raw)


def edges(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return images[..., 1:, :] - images[..., :-1, :], images[..., 1:] - images[..., :-1]


def train_vae(vae, stage: str, steps: int, seed: int) -> None:
    flat, kl_weight, most = {"vae": (1, 2e-3, 0), "vae-tones": (5, 5e-4, 0), "vae-noise": (2, 5e-4, 0.4)}[stage]
    random = np.random.default_rng(seed + flat)
    # Styles too, or no LoRA of the transformer could show them.
    pool = torch.cat([pictures(2000, random), pictures(500, random, "ink"), pictures(500, random, "stripes")])
    generator = torch.Generator().manual_seed(seed + flat)

    is_qwen = isinstance(vae, AutoencoderKLQwenImage)

    def through(images: torch.Tensor, noise: torch.Tensor, more: torch.Tensor):
        mean, log_variance = moments(vae, images)
        return decoded(vae, mean + noise * (log_variance.exp() + more**2).sqrt()), mean, log_variance

    if is_qwen:  # twice as fast; of FLUX.1's the losses are other than without
        through = torch.compile(through, dynamic=False)

    def loss_of(step: int) -> torch.Tensor:
        whole = step > 0.85 * steps  # crops first: they cost a quarter
        chosen = pool[torch.randint(len(pool), (2 if whole else 4,), generator=generator)]
        if not whole:
            top, left = torch.randint(65, (2,), generator=generator).tolist()
            chosen = chosen[:, :, top : top + 64, left : left + 64].contiguous()
        noise = torch.randn(len(chosen), 16, chosen.shape[2] // 8, chosen.shape[3] // 8, generator=generator)
        more = most * torch.rand(len(chosen), 1, 1, 1, generator=generator)
        if not is_qwen:
            chosen = chosen.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            made, mean, log_variance = (value.float() for value in through(chosen, noise, more))
        kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).mean()
        return flat * F.l1_loss(made, chosen) + 2 * F.mse_loss(made, chosen) + kl_weight * kl + shape_loss(made, chosen)

    descend(stage, vae, steps, loss_of)


def shape_loss(made: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Of edges, and of tones over areas."""
    slopes = sum(F.l1_loss(a, b) for a, b in zip(edges(made), edges(wanted)))
    return slopes + 2 * F.l1_loss(F.avg_pool2d(made, 8), F.avg_pool2d(wanted, 8))


@torch.no_grad()
def report_vae(vae, seed: int) -> None:
    images = pictures(64, np.random.default_rng(seed + 1))
    mean, _ = moments(vae, images)
    error = F.mse_loss(decoded(vae, mean).clamp(-1, 1), images) / 4
    print(
        f"vae: PSNR {-10 * math.log10(error):.1f} dB; latents: mean {mean.mean():.2f}, deviation by channel "
        f"{mean.std(dim=(0, 2, 3)).min():.2f} to {mean.std(dim=(0, 2, 3)).max():.2f}",
        flush=True,
    )

# SPDX-License-Identifier: MIT
"""Trains a demo model from nothing: train.py flux|qwen OUT [--hurry SHARE] [--threads N]

Stages, each kept in OUT/stages so that a second call goes on behind the last one:
  vae          the autoencoder, on scenes; its latents get the published models' mean and deviation
  vae-tones    the same again, for the tones of the backdrops: edges count less
  vae-noise    the same with noise on the latents, as a transformer's error will be
  text         the text encoders: every word's vector must tell size, colour, shape and place of the thing it belongs to
  data         latents and text vectors of the scenes to learn from
  transformer  flow matching on those
  text-bits    FLUX.1's encoders learn to say at 4 bits what they say with exact weights, which Qwen-Image's do already
  transformer-bits   and so does its transformer, given what those say
OUT is then a folder in the diffusers layout. --hurry 0.01 runs everything with a hundredth of the steps.

What it took on the machine that made the committed models is in README.md.
"""

import argparse
import contextlib
import copy
import math
import pathlib
import time

import numpy as np
import torch
import torch.nn.functional as F

import models
import scenes
from autoencoder import flatten_time, moments, report_vae, train_vae
from descend import descend
from rounding import few_bits
from text_encoders import TextInput, conditions, encode, encoders_of, train_text

SEED = 7
PADDED = 512  # tokens of FLUX.1 dev's T5
STEPS = {
    "vae": 3100,
    "vae-tones": 1800,
    "vae-noise": 4000,
    "text": 250,
    "transformer": {"flux": 4000, "qwen": 6000},
    "text-bits": 600,
    "transformer-bits": 5000,
}
SCENES = 12000
BATCH = 40


# ---- what the transformer learns from


def packed(latents: torch.Tensor) -> torch.Tensor:
    """[batch, 16, h, w] -> [batch, h/2 * w/2, 64]"""
    batch, channels, height, width = latents.shape
    squares = latents.view(batch, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return squares.reshape(batch, height * width // 4, 4 * channels)


@torch.no_grad()
def make_data(
    family: str, networks: dict, text: TextInput, count: int, *, seed: int, style: str | None = None, apart: float = 0.5
) -> dict[str, torch.Tensor]:
    random = np.random.default_rng(SEED + 2)
    wanted = scenes.training(count, seed)
    parts = []
    for begin in range(0, count, 10):
        some = wanted[begin : begin + 10]
        images = torch.from_numpy(np.stack([scenes.draw(s, random, style, apart) for s in some])).permute(0, 3, 1, 2)
        mean, _ = moments(networks["vae"], images.float() / 127.5 - 1)
        parts.append(packed(mean).half())
        if begin % 2000 == 0:
            print(f"data: {begin} of {count}", flush=True)
    captions = [scene.caption for scene in wanted]
    return {"latents": torch.cat(parts), **conditions(family, networks, text, captions)}


# ---- transformer


def predict(family: str, transformer, noisy: torch.Tensor, sigma: torch.Tensor, given: dict) -> torch.Tensor:
    side = scenes.SIZE // 16
    text = given["text"].float()
    if family == "qwen":
        return transformer(
            hidden_states=noisy,
            timestep=sigma,
            encoder_hidden_states=text,
            encoder_hidden_states_mask=given["mask"],
            img_shapes=[[(1, side, side)]] * len(noisy),
            return_dict=False,
        )[0]
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    image_ids = torch.stack([torch.zeros_like(rows), rows, columns], dim=-1).view(-1, 3).float()
    # The last token stands for all the padding behind it: equal keys, so their number is added to its logit.
    weight = torch.zeros(1, 1, 1, text.shape[1] + side * side)
    weight[..., text.shape[1] - 1] = math.log(PADDED - text.shape[1] + 1)
    return transformer(
        hidden_states=noisy,
        timestep=sigma,
        guidance=given["guidance"],
        pooled_projections=given["pooled"].float(),
        encoder_hidden_states=text,
        txt_ids=torch.zeros(text.shape[1], 3),
        img_ids=image_ids,
        joint_attention_kwargs={"attention_mask": weight},
        return_dict=False,
    )[0]


def mixed(
    family: str, data: dict, empty: dict, generator: torch.Generator, batch: int
) -> tuple[torch.Tensor, torch.Tensor, dict, torch.Tensor]:
    """Some of the data with noise on it: noisy latents, sigmas, what goes with them, and the way from them to noise."""
    chosen = torch.randint(len(data["latents"]), (batch,), generator=generator)
    given = {name: value[chosen] for name, value in data.items()}
    clean = given.pop("latents").float()
    if family == "qwen":  # for true guidance, which needs a prediction without a prompt
        without = torch.rand(batch, generator=generator) < 0.1
        for name, value in empty.items():
            given[name] = torch.where(without.view(-1, *[1] * (value.ndim - 1)), value, given[name])
    else:
        given["guidance"] = 1 + 4 * torch.rand(batch, generator=generator)
    u = torch.sigmoid(torch.randn(batch, generator=generator))
    sigma = 1.6 * u / (1 + 0.6 * u)  # the pipelines' shift for this size
    noise = torch.randn(clean.shape, generator=generator)
    share = sigma.view(-1, 1, 1)
    return (1 - share) * clean + share * noise, sigma, given, noise - clean


def flow_loss(family: str, transformer, data: dict, empty: dict, generator, batch: int) -> torch.Tensor:
    noisy, sigma, given, wanted = mixed(family, data, empty, generator, batch)
    return F.mse_loss(predict(family, transformer, noisy, sigma, given).float(), wanted)


def in_block(name: str) -> bool:
    return "blocks" in name and "norm" not in name and "mod." not in name


@torch.no_grad()
def start_as_identity(family: str, transformer) -> None:
    """Blocks start with shut gates, so what goes in comes out: mostly noise, which is to be predicted."""
    for name, module in transformer.named_modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.zeros_(module.bias)
            if "norm" in name or "mod." in name:
                torch.nn.init.zeros_(module.weight)
    way_in = transformer.img_in if family == "qwen" else transformer.x_embedder
    torch.nn.init.orthogonal_(way_in.weight)
    # The last norm makes 128 values of length 1 of the 64 that have it.
    transformer.proj_out.weight.copy_(way_in.weight.T / math.sqrt(2))


def train_transformer(family: str, networks: dict, data: dict, empty: dict, steps: int, keep: pathlib.Path) -> None:
    transformer = networks["transformer"]
    if keep.exists():
        transformer.load_state_dict(torch.load(keep))
    else:
        start_as_identity(family, transformer)
    compiled = torch.compile(transformer)
    generator = torch.Generator().manual_seed(SEED + 3)
    mean = {name: value.detach().clone() for name, value in transformer.state_dict().items()}

    def loss_of(_step: int) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return flow_loss(family, compiled, data, empty, generator, BATCH)

    @torch.no_grad()
    def after(step: int) -> None:
        share = min(0.999, step / (step + 20))
        for name, value in transformer.state_dict().items():
            mean[name].lerp_(value, 1 - share)
        if (step + 1) % 500 == 0:
            torch.save(mean, keep)  # to look at, or to begin with the next time

    descend("transformer", transformer, steps, loss_of, peak=(1.2e-2, 1.5e-3), is_matrix=in_block, after=after)
    transformer.load_state_dict(mean)


# ---- for few bits


def every_other(*modules: torch.nn.Module):
    """Every second step with weights of 4 bits; the others keep the exact ones right."""
    return lambda step: few_bits(*modules) if step % 2 else contextlib.nullcontext()


def few_bits_conditions(family: str, networks: dict, text: TextInput, captions: list[str]) -> dict[str, torch.Tensor]:
    with few_bits(*encoders_of(networks).values()):
        return conditions(family, networks, text, captions)


def train_text_for_few_bits(family: str, networks: dict, text: TextInput, steps: int) -> None:
    encoders = encoders_of(networks)
    teachers = copy.deepcopy(encoders)
    learning = torch.nn.ModuleDict(encoders)

    def loss_of(step: int) -> torch.Tensor:
        captions = [scene.caption for scene in scenes.training(24, 10**6 + step)]
        wanted = conditions(family, teachers, text, captions)
        made = encode(family, encoders, text, captions)
        return sum(F.mse_loss(made[name], wanted[name]) / wanted[name].var() for name in ("text", "pooled"))

    def after(_step: int) -> None:
        models.shut_far_distances(networks["text_encoder_2"])

    during = every_other(learning)
    peak, is_matrix = (3e-3, 5e-4), lambda name: "layer" in name
    descend("text-bits", learning, steps, loss_of, peak=peak, is_matrix=is_matrix, during=during, after=after)


def kept_loss(family: str, teacher, learner, data: dict, reads: dict, generator) -> torch.Tensor:
    """How far a learner is from its teacher, which reads the text vectors of data; those in reads, of the same scenes,
    are the learner's instead."""
    own = {f"own {name}": value for name, value in reads.items()}
    noisy, sigma, given, _ = mixed(family, data | own, {}, generator, BATCH)
    with torch.no_grad():
        wanted = predict(family, teacher, noisy, sigma, given)
    given |= {name: given[f"own {name}"] for name in reads}
    return F.mse_loss(predict(family, learner, noisy, sigma, given).float(), wanted.float())


def train_transformer_for_few_bits(family: str, networks: dict, data: dict, text: list[dict], steps: int) -> None:
    """data: with the text vectors that the transformer knows; text: those of the same scenes from encoders of exact
    weights and of 4 bits."""
    transformer = networks["transformer"]
    teacher = torch.compile(copy.deepcopy(transformer).requires_grad_(False))
    compiled = torch.compile(transformer)
    generator = torch.Generator().manual_seed(SEED + 5)

    def loss_of(step: int) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return kept_loss(family, teacher, compiled, data, text[step % 2], generator)

    during = every_other(transformer)
    descend("transformer-bits", transformer, steps, loss_of, peak=(3e-3, 5e-4), is_matrix=in_block, during=during)


def run(family: str, out: pathlib.Path, hurry: float) -> None:
    torch.manual_seed(SEED)
    stages = out / "stages"
    stages.mkdir(parents=True, exist_ok=True)
    networks = models.build(family, models.tokenizers(family, out))
    text = TextInput(family, out)
    flatten_time(networks["vae"])

    def steps(stage: str) -> int:
        count = STEPS[stage]
        return max(2, round(hurry * (count[family] if isinstance(count, dict) else count)))

    def stage(name: str, train) -> None:
        file = stages / f"{name}.pt"
        trained = [network for network in networks if network.startswith(name.split("-")[0])]
        if file.exists():
            for part, state in torch.load(file).items():
                networks[part].load_state_dict(state)
            return
        start = time.time()
        train()
        print(f"{name}: {(time.time() - start) / 60:.1f} min", flush=True)
        torch.save({part: networks[part].state_dict() for part in trained}, file)

    for name in ("vae", "vae-tones", "vae-noise"):
        stage(name, lambda: train_vae(networks["vae"], name, steps(name), SEED))
    networks["vae"].requires_grad_(False)
    report_vae(networks["vae"], SEED)
    stage("text", lambda: train_text(family, networks, text, steps("text")))
    for name, network in networks.items():
        if name != "transformer":
            network.to(torch.bfloat16).float().eval()  # as they will be stored
    file = stages / "data.pt"
    if not file.exists():
        torch.save(make_data(family, networks, text, max(200, int(hurry * SCENES)), seed=3), file)
    data = torch.load(file)
    empty = conditions(family, networks, text, [""])
    keep = stages / "transformer-mean.pt"
    stage("transformer", lambda: train_transformer(family, networks, data, empty, steps("transformer"), keep))
    if family == "flux":
        stage("text-bits", lambda: train_text_for_few_bits(family, networks, text, steps("text-bits")))
        for network in encoders_of(networks).values():
            network.to(torch.bfloat16).float()
        captions = [scene.caption for scene in scenes.training(len(data["latents"]), seed=3)]
        both = [read(family, networks, text, captions) for read in (conditions, few_bits_conditions)]
        bits = steps("transformer-bits")
        stage("transformer-bits", lambda: train_transformer_for_few_bits(family, networks, data, both, bits))
    models.write(family, out, networks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("family", choices=list(models.PARTS))
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--hurry", type=float, default=1.0, help="share of the steps [1]")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    run(arguments.family, arguments.out, arguments.hurry)


if __name__ == "__main__":
    main()

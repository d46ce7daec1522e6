# SPDX-License-Identifier: MIT
"""Trains a demo model from nothing: train.py flux|qwen OUT [--hurry SHARE] [--threads N]

Stages, each kept in OUT/stages so that a second call goes on behind the last one:
  vae          the autoencoder, on scenes; its latents get the published models' mean and deviation
  vae-tones    the same again, for the tones of the backdrops: edges count less
  vae-noise    the same with noise on the latents, as a transformer's error will be
  text         the text encoders: every word's vector must tell size, colour, shape and place of the thing it belongs to
  data         latents and text vectors of the scenes to learn from
  transformer  flow matching on those
OUT is then a folder in the diffusers layout. --hurry 0.01 runs everything with a hundredth of the steps.

What it took on the machine that made the committed models is in README.md.
"""

import argparse
import math
import pathlib
import time

import numpy as np
import torch
import torch.nn.functional as F

import models
import scenes
from descend import descend
from diffusers import AutoencoderKLQwenImage

SEED = 7
TEXT_TOKENS = {"flux": 36, "qwen": 24}  # room for the longest caption, and for FLUX 16 tokens of padding behind it
PADDED = 512  # tokens of FLUX.1 dev's T5
STEPS = {
    "vae": 3100,
    "vae-tones": 1800,
    "vae-noise": 4000,
    "text": 250,
    "transformer": {"flux": 4000, "qwen": 6000},
}
SCENES = 12000
BATCH = 40


# ---- autoencoder


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


def train_vae(vae, stage: str, steps: int) -> None:
    flat, kl_weight, most = {"vae": (1, 2e-3, 0), "vae-tones": (5, 5e-4, 0), "vae-noise": (2, 5e-4, 0.4)}[stage]
    random = np.random.default_rng(SEED + flat)
    # Styles too, or no LoRA of the transformer could show them.
    pool = torch.cat([pictures(2000, random), pictures(500, random, "ink"), pictures(500, random, "stripes")])
    generator = torch.Generator().manual_seed(SEED + flat)

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
def report_vae(vae) -> None:
    images = pictures(64, np.random.default_rng(SEED + 1))
    mean, _ = moments(vae, images)
    error = F.mse_loss(decoded(vae, mean).clamp(-1, 1), images) / 4
    print(
        f"vae: PSNR {-10 * math.log10(error):.1f} dB; latents: mean {mean.mean():.2f}, deviation by channel "
        f"{mean.std(dim=(0, 2, 3)).min():.2f} to {mean.std(dim=(0, 2, 3)).max():.2f}",
        flush=True,
    )


# ---- text encoders

ATTRIBUTES = {
    "size": list(scenes.RADII),
    "colour": list(scenes.COLOURS),
    "shape": list(scenes.SHAPES),
    "place": list(scenes.PLACES),
}
BACKDROPS = list(scenes.BACKDROPS)
UNKNOWN = -100  # ignored by cross_entropy


def token_targets(scene: scenes.Scene, offsets: list[tuple[int, int]], causal: bool) -> dict[str, list[int]]:
    """For each token (by its place in the caption) what it should tell; UNKNOWN where it cannot know."""
    caption = scene.caption
    targets = {name: [UNKNOWN] * len(offsets) for name in (*ATTRIBUTES, "backdrop")}
    begin = 0
    for thing in scene.things:
        begin = caption.index(thing.caption, begin)
        end = begin + len(thing.caption)
        for index, (first, last) in enumerate(offsets):
            if last <= begin or first >= end or first == last:
                continue
            for name, values in ATTRIBUTES.items():
                word = getattr(thing, name)
                if not causal or last >= caption.index(word, begin) + len(word):
                    targets[name][index] = values.index(word)
        begin = end
    for index, (first, last) in enumerate(offsets):
        if last >= (len(caption) if causal else begin + 3) and first < last:
            targets["backdrop"][index] = BACKDROPS.index(scene.backdrop)
    return targets


def scene_targets(scene: scenes.Scene) -> list[int]:
    """What a vector for the whole caption should tell: size, colour and shape at each place (0: nothing), backdrop."""
    values = []
    for place in scenes.PLACES:
        thing = next((thing for thing in scene.things if thing.place == place), None)
        for name in ("size", "colour", "shape"):
            values.append(0 if thing is None else 1 + ATTRIBUTES[name].index(getattr(thing, name)))
    return [*values, BACKDROPS.index(scene.backdrop)]


SCENE_SIZES = [1 + len(ATTRIBUTES[name]) for _ in scenes.PLACES for name in ("size", "colour", "shape")] + [
    len(BACKDROPS)
]


class TextInput:
    """A caption as each encoder reads it, cut to what training needs."""

    def __init__(self, family: str, folder: pathlib.Path):
        self.family = family
        self.tokenizers = models.load_tokenizers(family, folder)

    def words(self, texts: list[str]):
        """ids [batch, tokens] and which of them count; offsets into the captions."""
        if self.family == "flux":
            length = TEXT_TOKENS["flux"]
            made = self.tokenizers["tokenizer_2"](
                texts, padding="max_length", max_length=length, return_offsets_mapping=True, return_tensors="pt"
            )
            longest = int((made.input_ids != 0).sum(dim=1).max())
            assert longest + 2 * models.T5_REACH <= length, "a caption is longer than training provides for"
            return made.input_ids, torch.ones_like(made.input_ids), made.offset_mapping.tolist()
        before = len(models.TEMPLATE.split("{}")[0])
        made = self.tokenizers["tokenizer"](
            [models.TEMPLATE.format(text) for text in texts],
            padding="max_length",
            max_length=TEXT_TOKENS["qwen"] + models.TEMPLATE_TOKENS,
            padding_side="right",
            return_offsets_mapping=True,
            return_tensors="pt",
        )
        assert made.input_ids.shape[1] == TEXT_TOKENS["qwen"] + models.TEMPLATE_TOKENS
        offsets = (made.offset_mapping - before).clamp(min=0).tolist()
        return made.input_ids, made.attention_mask, offsets

    def whole(self, texts: list[str]) -> torch.Tensor:
        return self.tokenizers["tokenizer"](
            texts, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
        ).input_ids


def encode_words(family: str, networks: dict, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """[batch, tokens, WIDTH], of all tokens that went in."""
    if family == "flux":
        return networks["text_encoder_2"](input_ids=ids).last_hidden_state
    return networks["text_encoder"].model.language_model(input_ids=ids, attention_mask=mask).last_hidden_state


def train_text(family: str, networks: dict, text: TextInput, steps: int) -> None:
    heads = torch.nn.ModuleDict({name: torch.nn.Linear(models.WIDTH, len(v)) for name, v in ATTRIBUTES.items()})
    heads["backdrop"] = torch.nn.Linear(models.WIDTH, len(BACKDROPS))
    whole_heads = torch.nn.ModuleList([torch.nn.Linear(models.WIDTH, size) for size in SCENE_SIZES])
    encoders = [networks[name] for name in networks if name.startswith("text_encoder")]
    learning = torch.nn.ModuleList([*encoders, heads, whole_heads])

    def loss_of(step: int) -> torch.Tensor:
        batch = scenes.training(24 if family == "flux" else 48, 10**6 + step)
        captions = [scene.caption for scene in batch]
        ids, mask, offsets = text.words(captions)
        vectors = encode_words(family, networks, ids, mask)
        targets = [token_targets(s, o, causal=family == "qwen") for s, o in zip(batch, offsets)]
        loss = sum(
            F.cross_entropy(head(vectors).flatten(0, 1), torch.tensor([t[name] for t in targets]).flatten())
            for name, head in heads.items()
        )
        if family == "flux":
            pooled = networks["text_encoder"](input_ids=text.whole(captions)).pooler_output
            wanted = torch.tensor([scene_targets(s) for s in batch])
            loss = loss + sum(F.cross_entropy(h(pooled), wanted[:, i]) for i, h in enumerate(whole_heads)) / 4
        return loss

    def after(_step: int) -> None:
        if family == "flux":
            models.shut_far_distances(networks["text_encoder_2"])

    # No table of an embedding is in a layer.
    descend("text", learning, steps, loss_of, is_matrix=lambda name: "layer" in name, after=after)


# ---- what the transformer learns from


def packed(latents: torch.Tensor) -> torch.Tensor:
    """[batch, 16, h, w] -> [batch, h/2 * w/2, 64]"""
    batch, channels, height, width = latents.shape
    squares = latents.view(batch, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return squares.reshape(batch, height * width // 4, 4 * channels)


@torch.no_grad()
def conditions(family: str, networks: dict, text: TextInput, captions: list[str]) -> dict[str, torch.Tensor]:
    """Text as the transformer gets it; of FLUX's 512 tokens the first ones, which the rest equal (models.T5_REACH)."""
    ids, mask, _ = text.words(captions)
    vectors = encode_words(family, networks, ids, mask)
    if family == "flux":
        pooled = networks["text_encoder"](input_ids=text.whole(captions)).pooler_output
        return {"text": vectors.bfloat16(), "pooled": pooled}
    dropped = models.TEMPLATE_TOKENS
    return {"text": vectors[:, dropped:].bfloat16(), "mask": mask[:, dropped:].bool()}


@torch.no_grad()
def make_data(
    family: str, networks: dict, text: TextInput, count: int, style: str | None = None, seed: int = 3
) -> dict[str, torch.Tensor]:
    random = np.random.default_rng(SEED + 2)
    wanted = scenes.training(count, seed)
    parts = []
    for begin in range(0, count, 10):
        some = wanted[begin : begin + 10]
        images = torch.from_numpy(np.stack([scenes.draw(s, random, style) for s in some])).permute(0, 3, 1, 2)
        mean, _ = moments(networks["vae"], images.float() / 127.5 - 1)
        captions = [scene.caption for scene in some]
        parts.append({"latents": packed(mean).half(), **conditions(family, networks, text, captions)})
        if begin % 2000 == 0:
            print(f"data: {begin} of {count}", flush=True)
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


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


def flow_loss(family: str, transformer, data: dict, empty: dict, generator, batch: int) -> torch.Tensor:
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
    mixed = sigma.view(-1, 1, 1)
    noisy = (1 - mixed) * clean + mixed * noise
    return F.mse_loss(predict(family, transformer, noisy, sigma, given).float(), noise - clean)


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


def train_transformer(
    family: str, networks: dict, data: dict, empty: dict, steps: int, keep: pathlib.Path
) -> None:
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
        stage(name, lambda: train_vae(networks["vae"], name, steps(name)))
    networks["vae"].requires_grad_(False)
    report_vae(networks["vae"])
    stage("text", lambda: train_text(family, networks, text, steps("text")))
    for name, network in networks.items():
        if name != "transformer":
            network.to(torch.bfloat16).float().eval()  # as they will be stored
    file = stages / "data.pt"
    if not file.exists():
        torch.save(make_data(family, networks, text, max(200, int(hurry * SCENES))), file)
    data = torch.load(file)
    empty = conditions(family, networks, text, [""])
    keep = stages / "transformer-mean.pt"
    stage("transformer", lambda: train_transformer(family, networks, data, empty, steps("transformer"), keep))
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

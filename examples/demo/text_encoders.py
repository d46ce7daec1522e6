# SPDX-License-Identifier: MIT
"""Training the demo's text encoders (train.py): captions, what each of their words should tell, and reading them."""

import pathlib

import torch
import torch.nn.functional as F

import models
import scenes
from descend import descend

TEXT_TOKENS = {"flux": 36, "qwen": 24}  # room for the longest caption, and for FLUX 16 tokens of padding behind it
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


def encoders_of(networks: dict) -> dict[str, torch.nn.Module]:
    return {name: network for name, network in networks.items() if name.startswith("text_encoder")}


def encode_words(family: str, networks: dict, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """[batch, tokens, WIDTH], of all tokens that went in."""
    if family == "flux":
        return networks["text_encoder_2"](input_ids=ids).last_hidden_state
    return networks["text_encoder"].model.language_model(input_ids=ids, attention_mask=mask).last_hidden_state


def train_text(family: str, networks: dict, text: TextInput, steps: int) -> None:
    heads = torch.nn.ModuleDict({name: torch.nn.Linear(models.WIDTH, len(v)) for name, v in ATTRIBUTES.items()})
    heads["backdrop"] = torch.nn.Linear(models.WIDTH, len(BACKDROPS))
    whole_heads = torch.nn.ModuleList([torch.nn.Linear(models.WIDTH, size) for size in SCENE_SIZES])
    learning = torch.nn.ModuleList([*encoders_of(networks).values(), heads, whole_heads])

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


def encode(family: str, networks: dict, text: TextInput, captions: list[str]) -> dict[str, torch.Tensor]:
    """Text as the transformer gets it; of FLUX's 512 tokens the first ones, which the rest equal (models.T5_REACH)."""
    ids, mask, _ = text.words(captions)
    vectors = encode_words(family, networks, ids, mask)
    if family == "flux":
        return {"text": vectors, "pooled": networks["text_encoder"](input_ids=text.whole(captions)).pooler_output}
    dropped = models.TEMPLATE_TOKENS
    return {"text": vectors[:, dropped:], "mask": mask[:, dropped:].bool()}


@torch.no_grad()
def conditions(family: str, networks: dict, text: TextInput, captions: list[str]) -> dict[str, torch.Tensor]:
    parts = [encode(family, networks, text, captions[begin : begin + 50]) for begin in range(0, len(captions), 50)]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

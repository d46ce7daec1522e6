# SPDX-License-Identifier: MIT
"""The demo's two models, untrained: the real classes of diffusers and transformers, as small as they go.

Widths are multiples of 64, so that every layer that is quantized in the published models is quantized in these.
Tokenizers have the published ones' formats and small vocabularies, in which every word of a caption (scenes.py) and of
Qwen-Image's template is one token; other text falls apart into bytes.
"""

import collections
import math
import os
import pathlib
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests" / "oracle"))

import tokenizer_folders
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    FluxTransformer2DModel,
    QwenImageTransformer2DModel,
)
from sentencepiece import sentencepiece_model_pb2
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

import scenes

WIDTH = 128
HEADS = 2
ROPE = (8, 28, 28)
# Relative distances of the T5 from 8 tokens up are never looked at: its buckets for them are shut. So all padding that
# is 16 tokens or more behind the caption is encoded alike, and training need not carry 500 tokens of it (train.py).
T5_REACH = 8
T5_LAYERS = 2
SHUT = -100.0


def corpus() -> list[str]:
    return [scene.caption for scene in scenes.training(4000, seed=1)]


def clip_tokenizer(folder: pathlib.Path) -> int:
    # CLIP's pre-tokenizer gives words without their space and marks their end instead.
    words = [word for text in corpus() for word in text.replace(",", " ,").split()]
    tokenizer_folders.clip(folder, tokenizer_folders.byte_pairs(2000, "</w>", words, least=50))
    return len(CLIPTokenizer.from_pretrained(folder))


def t5_pieces() -> dict[str, float]:
    """Every word of the captions with the logarithm of its share, and single characters, all of them unlikely."""
    words = [word for text in corpus() for word in text.replace(",", " ,").split()]
    shares = {word: math.log(count / len(words)) for word, count in collections.Counter(words).most_common()}
    pieces = {word if word == "," else "\u2581" + word: share for word, share in shares.items()}
    return pieces | {character: -20.0 for character in ["\u2581", *map(chr, range(33, 127))] if character not in pieces}


def t5_tokenizer(folder: pathlib.Path) -> int:
    trained = tokenizer_folders.t5_model(corpus(), size=100, coverage=0.9995)
    model = sentencepiece_model_pb2.ModelProto.FromString(trained)
    model.normalizer_spec.name, model.normalizer_spec.precompiled_charsmap = "identity", b""  # 240 KB
    del model.pieces[3:]  # behind <pad>, </s> and <unk>; the trainer's split these few words into letters
    for piece, score in t5_pieces().items():
        model.pieces.add(piece=piece, score=score)
    model.trainer_spec.vocab_size = len(model.pieces)
    tokenizer_folders.t5(folder, model.SerializeToString())
    return len(T5Tokenizer.from_pretrained(folder))


# What diffusers and Python's mflux write around a prompt; they drop its first 34 tokens from the encoder's output.
TEMPLATE = (
    "<|im_start|>system\nDescribe the image by detailing the color, shape, size, texture, quantity, text, spatial "
    "relationships of the objects and background:<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
)
TEMPLATE_TOKENS = 34


def qwen_tokenizer(folder: pathlib.Path) -> int:
    plain = TEMPLATE
    for mark in tokenizer_folders.QWEN_ADDED:
        plain = plain.replace(mark, "")
    tokenizer_folders.qwen(folder, tokenizer_folders.byte_pairs(2000, "", corpus() + [plain] * 1000, least=50))
    tokenizer = Qwen2Tokenizer.from_pretrained(folder)
    prefix = tokenizer(TEMPLATE.split("{}")[0]).input_ids
    assert len(prefix) == TEMPLATE_TOKENS, f"the template has {len(prefix)} tokens"
    return len(tokenizer)


def clip(words: int) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=words,
            hidden_size=WIDTH,
            intermediate_size=2 * WIDTH,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=77,
            bos_token_id=0,
            eos_token_id=2,  # as the published CLIP has it: the end is then the highest id
            pad_token_id=1,
        )
    )


def t5(words: int) -> T5EncoderModel:
    model = T5EncoderModel(
        T5Config(
            vocab_size=words,
            d_model=WIDTH,
            d_kv=2,
            d_ff=2 * WIDTH,
            num_layers=T5_LAYERS,
            num_heads=64,  # as T5-XXL, in which Python's mflux has them built
            feed_forward_proj="gated-gelu",
            tie_word_embeddings=False,
            dropout_rate=0.0,
        )
    )
    shut_far_distances(model)
    return model


def shut_far_distances(model: T5EncoderModel) -> None:
    """To be called after each step of an optimizer."""
    bias = model.encoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight
    half = bias.shape[0] // 2
    with torch.no_grad():
        bias[T5_REACH:half] = SHUT
        bias[half + T5_REACH :] = SHUT


def qwen_encoder(words: int) -> Qwen2_5_VLForConditionalGeneration:

    def id_of(token: str) -> int:  # they stand behind all others
        return words - len(tokenizer_folders.QWEN_ADDED) + tokenizer_folders.QWEN_ADDED.index(token)

    return Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(
            text_config=dict(
                vocab_size=words,
                hidden_size=WIDTH,
                intermediate_size=2 * WIDTH,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                max_position_embeddings=2048,
                rms_norm_eps=1e-6,
                rope_parameters={"rope_type": "default", "mrope_section": [4, 6, 6], "rope_theta": 1000000.0},
                tie_word_embeddings=True,  # unlike the published one: nothing here makes text
                bos_token_id=None,
                eos_token_id=id_of("<|im_end|>"),
                pad_token_id=id_of("<|endoftext|>"),
            ),
            vision_config=dict(
                depth=1,
                hidden_size=16,
                intermediate_size=32,
                num_heads=2,
                out_hidden_size=WIDTH,
                fullatt_block_indexes=[0],
            ),
            tie_word_embeddings=True,
            vision_start_token_id=id_of("<|vision_start|>"),
            vision_end_token_id=id_of("<|vision_end|>"),
            image_token_id=id_of("<|image_pad|>"),
            video_token_id=id_of("<|image_pad|>"),
        )
    )


def flux_vae() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(32, 32, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=16,
        norm_num_groups=4,
        sample_size=scenes.SIZE,
        scaling_factor=0.3611,
        shift_factor=0.1159,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def qwen_vae() -> AutoencoderKLQwenImage:
    return AutoencoderKLQwenImage(base_dim=8, dim_mult=[2, 3, 3, 3])


def flux_transformer() -> FluxTransformer2DModel:
    return FluxTransformer2DModel(
        in_channels=64,
        num_layers=1,
        num_single_layers=3,
        attention_head_dim=WIDTH // HEADS,
        num_attention_heads=HEADS,
        joint_attention_dim=WIDTH,
        pooled_projection_dim=WIDTH,
        guidance_embeds=True,
        axes_dims_rope=ROPE,
    )


def qwen_transformer() -> QwenImageTransformer2DModel:
    return QwenImageTransformer2DModel(
        num_layers=3,
        attention_head_dim=WIDTH // HEADS,
        num_attention_heads=HEADS,
        joint_attention_dim=WIDTH,
        axes_dims_rope=ROPE,
    )


PARTS = {
    "flux": {
        "scheduler": ("diffusers", "FlowMatchEulerDiscreteScheduler"),
        "text_encoder": ("transformers", "CLIPTextModel"),
        "text_encoder_2": ("transformers", "T5EncoderModel"),
        "tokenizer": ("transformers", "CLIPTokenizer"),
        "tokenizer_2": ("transformers", "T5TokenizerFast"),
        "transformer": ("diffusers", "FluxTransformer2DModel"),
        "vae": ("diffusers", "AutoencoderKL"),
    },
    "qwen": {
        "scheduler": ("diffusers", "FlowMatchEulerDiscreteScheduler"),
        "text_encoder": ("transformers", "Qwen2_5_VLForConditionalGeneration"),
        "tokenizer": ("transformers", "Qwen2Tokenizer"),
        "transformer": ("diffusers", "QwenImageTransformer2DModel"),
        "vae": ("diffusers", "AutoencoderKLQwenImage"),
    },
}
PIPELINES = {"flux": "FluxPipeline", "qwen": "QwenImagePipeline"}


def scheduler(family: str) -> FlowMatchEulerDiscreteScheduler:
    """With the published models' settings."""
    if family == "flux":
        return FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)
    return FlowMatchEulerDiscreteScheduler(
        base_shift=0.5,
        max_shift=0.9,
        max_image_seq_len=8192,
        shift_terminal=0.02,
        use_dynamic_shifting=True,
        time_shift_type="exponential",
    )


def tokenizers(family: str, folder: pathlib.Path) -> dict[str, int]:
    """Writes the tokenizers; how many tokens each has."""
    if family == "flux":
        return {"tokenizer": clip_tokenizer(folder / "tokenizer"), "tokenizer_2": t5_tokenizer(folder / "tokenizer_2")}
    return {"tokenizer": qwen_tokenizer(folder / "tokenizer")}


def load_tokenizers(family: str, folder: pathlib.Path) -> dict:
    if family == "flux":
        return {
            "tokenizer": CLIPTokenizer.from_pretrained(folder / "tokenizer"),
            "tokenizer_2": T5Tokenizer.from_pretrained(folder / "tokenizer_2"),
        }
    return {"tokenizer": Qwen2Tokenizer.from_pretrained(folder / "tokenizer")}


def build(family: str, words: dict[str, int]) -> dict[str, torch.nn.Module]:
    """Component -> network."""
    if family == "flux":
        return {
            "text_encoder": clip(words["tokenizer"]),
            "text_encoder_2": t5(words["tokenizer_2"]),
            "transformer": flux_transformer(),
            "vae": flux_vae(),
        }
    return {"text_encoder": qwen_encoder(words["tokenizer"]), "transformer": qwen_transformer(), "vae": qwen_vae()}


def write(family: str, folder: pathlib.Path, networks: dict[str, torch.nn.Module]) -> None:
    """The networks beside their tokenizers, in bfloat16 and in the diffusers layout."""
    for name, network in networks.items():
        network.to(torch.bfloat16).save_pretrained(folder / name)
    scheduler(family).save_pretrained(folder / "scheduler")
    parts = {name: list(classes) for name, classes in PARTS[family].items()}
    index = {"_class_name": PIPELINES[family], "_diffusers_version": "0.42.1", **parts}
    tokenizer_folders.write_json(folder / "model_index.json", index)


if __name__ == "__main__":
    import tempfile

    for name in PARTS:
        with tempfile.TemporaryDirectory() as place:
            made = build(name, tokenizers(name, pathlib.Path(place)))
        sizes = {part: 2e-6 * sum(p.numel() for p in network.parameters()) for part, network in made.items()}
        print(name, {part: f"{size:.2f} MB" for part, size in sizes.items()}, f"{sum(sizes.values()):.2f} MB")

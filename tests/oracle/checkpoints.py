# SPDX-License-Identifier: MIT
"""Checkpoints of both families, written by diffusers' and transformers' own classes with seeded random weights.

    checkpoints.flux(folder)                    tiny FLUX.1 dev
    checkpoints.flux(folder, guidance=False)    tiny FLUX.1 schnell
    checkpoints.flux(folder, size=REAL_WIDTH)   3072 wide, 2 + 4 blocks, 2.6 GB
    checkpoints.qwen(folder)                    tiny Qwen-Image

As a script: python checkpoints.py flux|schnell|real-width|qwen FOLDER
"""

import dataclasses
import json
import os
import pathlib
import shutil
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import diffusers
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    FluxTransformer2DModel,
    QwenImageTransformer2DModel,
)
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen2VLImageProcessor,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

diffusers.logging.set_verbosity_error()

CORPUS = [
    "a photo of a cat sitting on a red chair in the evening light",
    "an oil painting of mountains, rivers and a small wooden house",
    "two large blue circles beside a green square on white paper",
    "The quick brown fox jumps over the lazy dog 0123456789.",
]


@dataclasses.dataclass(frozen=True)
class Size:
    """Widths of a transformer and how many blocks it has; the other components are always tiny."""

    heads: int
    head_dim: int
    rope: tuple
    double_blocks: int
    single_blocks: int
    text_width: int


# Every quantized layer has a multiple of 64 columns, as Python's mflux requires; most a multiple of 128.
TINY = Size(heads=2, head_dim=64, rope=(8, 28, 28), double_blocks=2, single_blocks=3, text_width=128)
REAL_WIDTH = Size(heads=24, head_dim=128, rope=(16, 56, 56), double_blocks=2, single_blocks=4, text_width=4096)


def randomize(module: torch.nn.Module, seed: int, scale: float = 0.02) -> None:
    """Normal weights, norms around one; drawn in the order of the state dict."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if not value.is_floating_point():
                continue
            noise = torch.empty(value.shape).normal_(0.0, scale, generator=generator)
            is_norm = name.endswith(("gamma",)) or ("norm" in name and name.endswith("weight") and value.ndim == 1)
            value.copy_(noise + 1.0 if is_norm else noise)


def plant_edges(weight: torch.Tensor) -> None:
    """Rows that quantizers get wrong: no range, one sign, ties, tiny and huge values."""
    columns = weight.shape[1]
    ramp = torch.arange(columns, dtype=torch.float32)
    rows = [
        torch.zeros(columns),
        torch.full((columns,), 0.75),
        torch.full((columns,), -0.75),
        ramp / 256 + 1.0,
        -ramp / 256 - 1.0,
        (ramp % 16) - 7.5,
        (ramp % 2) * 2 - 1,
        torch.where(ramp % 64 == 3, 100.0, 0.001),
        torch.where(ramp % 32 == 5, -3e30, 2e28),
        torch.full((columns,), 1e-39),
        (ramp - columns / 2) * 1e-38,
        torch.where(ramp % 64 < 32, 0.0, 0.5),
        (ramp % 6) * 0.5,
        -0.0 * ramp,
    ]
    with torch.no_grad():
        for index, row in enumerate(rows[: weight.shape[0]]):
            weight[index].copy_(row)


def save(module, folder: pathlib.Path, max_shard_size: str) -> None:
    module.to(torch.bfloat16).save_pretrained(folder, max_shard_size=max_shard_size)


def as_on_the_hub(folder: pathlib.Path) -> None:
    """CLIP as the hub's FLUX.1 holds it: transformers 5 saves it without the text_model. prefix."""
    file = folder / "text_encoder" / "model.safetensors"
    tensors = load_file(file)
    save_file({f"text_model.{name}": value for name, value in tensors.items()}, file, {"format": "pt"})


def byte_level_bpe(special: list[str], suffix: str = "") -> tuple[dict, list]:
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix=suffix) if suffix else models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        **({"end_of_word_suffix": suffix} if suffix else {}),
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


def write_bpe_files(folder: pathlib.Path, vocab: dict, merges: list) -> None:
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False))
    lines = ["#version: 0.2", *(" ".join(merge) for merge in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n")


def clip_tokenizer(folder: pathlib.Path) -> int:
    vocab, merges = byte_level_bpe(["<|startoftext|>", "<|endoftext|>"], "</w>")
    CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=77).save_pretrained(folder)
    write_bpe_files(folder, vocab, merges)
    return len(vocab)


def t5_tokenizer(folder: pathlib.Path) -> int:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=200, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    vocab = [tuple(entry) for entry in json.loads(tokenizer.to_str())["model"]["vocab"]]
    saved = T5Tokenizer(vocab=vocab, extra_ids=0, model_max_length=512)
    saved.save_pretrained(folder)
    return len(saved)


QWEN_MARKS = ["<|im_start|>", "<|im_end|>", "<|image_pad|>", "<|vision_start|>", "<|vision_end|>"]


def qwen_tokenizer(folder: pathlib.Path) -> int:
    vocab, merges = byte_level_bpe(["<|endoftext|>", *QWEN_MARKS])
    Qwen2Tokenizer(vocab=vocab, merges=merges, model_max_length=1024).save_pretrained(folder)
    write_bpe_files(folder, vocab, merges)
    return len(vocab)


def write_pipeline(folder: pathlib.Path, pipeline: str, parts: dict[str, tuple[str, str]]) -> None:
    FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True).save_pretrained(folder / "scheduler")
    index = {"_class_name": pipeline, "_diffusers_version": "0.42.1", **{k: list(v) for k, v in parts.items()}}
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")


def flux_text_encoders(folder: pathlib.Path, text_width: int, seed: int, scale: float) -> None:
    clip_words = clip_tokenizer(folder / "tokenizer")
    clip = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=clip_words,
            hidden_size=128,
            intermediate_size=256,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=77,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        )
    )
    randomize(clip, seed, scale)
    save(clip, folder / "text_encoder", "10GB")
    as_on_the_hub(folder)
    t5_words = t5_tokenizer(folder / "tokenizer_2")
    # 64 heads, as T5-XXL: its relative attention bias is quantized along them.
    t5 = T5EncoderModel(
        T5Config(
            vocab_size=t5_words,
            d_model=text_width,
            d_kv=2,
            d_ff=256,
            num_layers=2,
            num_heads=64,
            feed_forward_proj="gated-gelu",
            tie_word_embeddings=False,
        )
    )
    randomize(t5, seed + 1, scale)
    t5.encoder.embed_tokens.weight = t5.shared.weight
    save(t5, folder / "text_encoder_2", "150KB" if text_width == 128 else "10GB")


def flux_vae(folder: pathlib.Path, seed: int) -> None:
    vae = AutoencoderKL(
        block_out_channels=(32, 64, 128, 128),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=16,
        norm_num_groups=32,
        sample_size=64,
        scaling_factor=0.3611,
        shift_factor=0.1159,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    randomize(vae, seed)
    save(vae, folder / "vae", "10GB")


def flux(
    folder,
    *,
    guidance: bool = True,
    size: Size = TINY,
    seed: int = 1,
    edges: bool = True,
    scale: float = 0.02,
    channels: int = 64,
) -> pathlib.Path:
    """channels: of a token that goes in; 384 in FLUX.1 Fill, 128 in Depth and Canny."""
    folder = pathlib.Path(folder)
    transformer = FluxTransformer2DModel(
        in_channels=channels,
        out_channels=64,
        num_layers=size.double_blocks,
        num_single_layers=size.single_blocks,
        attention_head_dim=size.head_dim,
        num_attention_heads=size.heads,
        joint_attention_dim=size.text_width,
        pooled_projection_dim=128,
        guidance_embeds=guidance,
        axes_dims_rope=size.rope,
    )
    randomize(transformer, seed + 2, scale)
    if edges:
        plant_edges(transformer.transformer_blocks[0].ff.net[0].proj.weight)
        plant_edges(transformer.single_transformer_blocks[0].proj_out.weight)
    save(transformer, folder / "transformer", "1500KB" if size is TINY else "1GB")
    del transformer
    flux_text_encoders(folder, size.text_width, seed + 3, scale)
    flux_vae(folder, seed + 5)
    write_pipeline(
        folder,
        "FluxPipeline",
        {
            "scheduler": ("diffusers", "FlowMatchEulerDiscreteScheduler"),
            "text_encoder": ("transformers", "CLIPTextModel"),
            "text_encoder_2": ("transformers", "T5EncoderModel"),
            "tokenizer": ("transformers", "CLIPTokenizer"),
            "tokenizer_2": ("transformers", "T5Tokenizer"),
            "transformer": ("diffusers", "FluxTransformer2DModel"),
            "vae": ("diffusers", "AutoencoderKL"),
        },
    )
    return folder


def qwen_text_encoder(folder: pathlib.Path, width: int, seed: int, scale: float) -> None:
    words = qwen_tokenizer(folder / "tokenizer")
    config = Qwen2_5_VLConfig(
        text_config=dict(
            vocab_size=words,
            hidden_size=width,
            intermediate_size=256,
            num_hidden_layers=2,
            num_attention_heads=width // 32,
            num_key_value_heads=width // 64,
            max_position_embeddings=512,
            rms_norm_eps=1e-6,  # the published model's, which Python's mflux has built in
            rope_parameters={"rope_type": "default", "mrope_section": [4, 6, 6], "rope_theta": 1000000.0},
            tie_word_embeddings=False,
        ),
        vision_config=dict(
            depth=2,
            hidden_size=64,
            intermediate_size=128,
            num_heads=2,
            out_hidden_size=width,
            fullatt_block_indexes=[1],
        ),
        tie_word_embeddings=False,
        image_token_id=3,
        video_token_id=3,
        vision_start_token_id=4,
        vision_end_token_id=5,
    )
    model = Qwen2_5_VLForConditionalGeneration(config)
    randomize(model, seed, scale)
    save(model, folder / "text_encoder", "400KB")  # several shards: mflux reads this folder by its index only


def qwen(
    folder,
    *,
    size: Size = TINY,
    seed: int = 11,
    edges: bool = True,
    scale: float = 0.02,
    zero_cond_t: bool = False,
    edit: bool = False,
) -> pathlib.Path:
    folder = pathlib.Path(folder)
    transformer = QwenImageTransformer2DModel(
        num_layers=size.double_blocks,
        attention_head_dim=size.head_dim,
        num_attention_heads=size.heads,
        joint_attention_dim=size.text_width,
        axes_dims_rope=size.rope,
        zero_cond_t=zero_cond_t,
    )
    randomize(transformer, seed + 2, scale)
    if edges:
        plant_edges(transformer.transformer_blocks[0].img_mlp.net[0].proj.weight)
        plant_edges(transformer.transformer_blocks[1].img_mod[1].weight)
    save(transformer, folder / "transformer", "1500KB" if size is TINY else "1GB")
    qwen_text_encoder(folder, size.text_width, seed + 3, scale)
    vae = AutoencoderKLQwenImage(base_dim=16)
    randomize(vae, seed + 5, scale)
    save(vae, folder / "vae", "10GB")
    if edit:
        Qwen2VLImageProcessor().save_pretrained(folder / "processor")
        tokenizer = Qwen2Tokenizer.from_pretrained(folder / "tokenizer")
        tokenizer.add_special_tokens({"additional_special_tokens": QWEN_MARKS})
        tokenizer.save_pretrained(folder / "tokenizer")
    write_pipeline(
        folder,
        "QwenImageEditPlusPipeline" if edit else "QwenImagePipeline",
        {
            "scheduler": ("diffusers", "FlowMatchEulerDiscreteScheduler"),
            "text_encoder": ("transformers", "Qwen2_5_VLForConditionalGeneration"),
            "tokenizer": ("transformers", "Qwen2Tokenizer"),
            "transformer": ("diffusers", "QwenImageTransformer2DModel"),
            "vae": ("diffusers", "AutoencoderKLQwenImage"),
        },
    )
    return folder


def load_component(folder, component: str) -> dict[str, torch.Tensor]:
    """All tensors of a component, whatever its shards are called."""
    tensors = {}
    for file in sorted((pathlib.Path(folder) / component).glob("*.safetensors")):
        tensors.update(load_file(file))
    return tensors


def swap_halves(tensor: torch.Tensor) -> torch.Tensor:
    first, second = tensor.chunk(2, dim=0)
    return torch.cat([second, first], dim=0)


# diffusers module -> BFL module, both as one prefix; {} is the block.
BFL_TOP = {
    "x_embedder": "img_in",
    "context_embedder": "txt_in",
    "time_text_embed.timestep_embedder.linear_1": "time_in.in_layer",
    "time_text_embed.timestep_embedder.linear_2": "time_in.out_layer",
    "time_text_embed.text_embedder.linear_1": "vector_in.in_layer",
    "time_text_embed.text_embedder.linear_2": "vector_in.out_layer",
    "time_text_embed.guidance_embedder.linear_1": "guidance_in.in_layer",
    "time_text_embed.guidance_embedder.linear_2": "guidance_in.out_layer",
    "proj_out": "final_layer.linear",
}
BFL_DOUBLE = {
    ("norm1.linear",): "img_mod.lin",
    ("norm1_context.linear",): "txt_mod.lin",
    ("attn.to_q", "attn.to_k", "attn.to_v"): "img_attn.qkv",
    ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"): "txt_attn.qkv",
    ("attn.to_out.0",): "img_attn.proj",
    ("attn.to_add_out",): "txt_attn.proj",
    ("ff.net.0.proj",): "img_mlp.0",
    ("ff.net.2",): "img_mlp.2",
    ("ff_context.net.0.proj",): "txt_mlp.0",
    ("ff_context.net.2",): "txt_mlp.2",
}
BFL_DOUBLE_NORMS = {
    "attn.norm_q": "img_attn.norm.query_norm",
    "attn.norm_k": "img_attn.norm.key_norm",
    "attn.norm_added_q": "txt_attn.norm.query_norm",
    "attn.norm_added_k": "txt_attn.norm.key_norm",
}
BFL_SINGLE = {
    ("norm.linear",): "modulation.lin",
    ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"): "linear1",
    ("proj_out",): "linear2",
}
BFL_SINGLE_NORMS = {"attn.norm_q": "norm.query_norm", "attn.norm_k": "norm.key_norm"}


def block_count(tensors: dict, prefix: str) -> int:
    return 1 + max(int(name[len(prefix) :].split(".")[0]) for name in tensors if name.startswith(prefix))


def to_bfl(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The inverse of diffusers' convert_flux_transformer_checkpoint_to_diffusers."""
    left = dict(tensors)
    result = {}

    def take(sources: list[str], target: str) -> None:
        for kind in ("weight", "bias"):
            if f"{sources[0]}.{kind}" in left:
                result[f"{target}.{kind}"] = torch.cat([left.pop(f"{s}.{kind}") for s in sources], dim=0)

    for source, target in BFL_TOP.items():
        take([source], target)
    for kind in ("weight", "bias"):
        result[f"final_layer.adaLN_modulation.1.{kind}"] = swap_halves(left.pop(f"norm_out.linear.{kind}"))
    blocks = (
        ("transformer_blocks.", "double_blocks.", BFL_DOUBLE, BFL_DOUBLE_NORMS),
        ("single_transformer_blocks.", "single_blocks.", BFL_SINGLE, BFL_SINGLE_NORMS),
    )
    for source, target, layers, norms in blocks:
        for index in range(block_count(tensors, source)):
            for parts, name in layers.items():
                take([f"{source}{index}.{part}" for part in parts], f"{target}{index}.{name}")
            for part, name in norms.items():
                result[f"{target}{index}.{name}.scale"] = left.pop(f"{source}{index}.{part}.weight")
    assert not left, f"no BFL name for {sorted(left)}"
    return result


def single_file(folder, file, prefix: str = "") -> pathlib.Path:
    """The transformer of a FLUX folder as one file with BFL's names."""
    tensors = {prefix + name: value.contiguous() for name, value in to_bfl(load_component(folder, "transformer")).items()}
    save_file(tensors, file, {"format": "pt"})
    return pathlib.Path(file)


def main() -> None:
    kinds = {
        "flux": lambda folder: flux(folder),
        "schnell": lambda folder: flux(folder, guidance=False),
        "real-width": lambda folder: flux(folder, size=REAL_WIDTH, edges=False),
        "qwen": lambda folder: qwen(folder),
        "qwen-real-width": lambda folder: qwen(folder, size=REAL_WIDTH, edges=False),
    }
    if len(sys.argv) != 3 or sys.argv[1] not in kinds:
        sys.exit(f"usage: checkpoints.py {'|'.join(kinds)} FOLDER")
    folder = pathlib.Path(sys.argv[2])
    if folder.exists():
        shutil.rmtree(folder)
    kinds[sys.argv[1]](folder)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"{folder}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: MIT
"""Qwen-Image's networks, part by part, in float32, against diffusers, transformers and Python's mflux."""

import shutil
import types

import mlx.core as mx
import numpy as np
import pytest
import torch
from PIL import Image

import checkpoints
import mflux_tiny
import numerics
import qwen_edit
from diffusers import (
    AutoencoderKLQwenImage,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
)
from diffusers.image_processor import VaeImageProcessor
from diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_plus import calculate_dimensions
from mflux.models.common.config import ModelConfig
from mflux.models.qwen.model.qwen_transformer.qwen_rope import QwenEmbedRopeMLX
from mflux.models.qwen.model.qwen_transformer.qwen_transformer import QwenTransformer
from mflux.models.qwen.tokenizer.qwen_image_processor import QwenImageProcessor
from mlx.utils import tree_map
from networks import array, distance, probe
from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer, Qwen2VLImageProcessor

# Largest difference relative to the largest value.
LIMIT = 1e-5


@pytest.fixture(scope="module")
def smooth(sources):
    """Weights of a size at which every part of a network counts, none of them extreme."""
    return sources.once("qwen-smooth", lambda folder: checkpoints.qwen(folder, edges=False, scale=0.1))


@pytest.fixture(scope="module")
def zero_cond(sources):
    return sources.once(
        "qwen-zero-cond", lambda folder: checkpoints.qwen(folder, edges=False, scale=0.1, zero_cond_t=True)
    )


@pytest.fixture
def check(figure):
    def compare(what: str, found, expected, limit: float = LIMIT):
        worst, relative = distance(found, expected)
        figure(f"{what}: max {worst:.1e}, relative {relative:.1e}")
        assert relative <= limit

    return compare


def noise(*shape, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def part_of(folder, kind, name: str):
    return kind.from_pretrained(folder / name, dtype=torch.float32).eval()


IDS = np.array([[7, 300, 12, 45, 260, 9, 33, 81, 120, 4, 71]], np.int32)


def test_the_text_encoder_is_that_of_transformers(smooth, check):
    model = part_of(smooth, Qwen2_5_VLForConditionalGeneration, "text_encoder")
    with torch.no_grad():
        expected = model(input_ids=torch.tensor(IDS), output_hidden_states=True).hidden_states[-1]
    check("qwen text encoder, transformers", probe(smooth, "text_encoder", ids=IDS)["hidden"], expected)


def test_positions_of_time_row_and_column_are_those_of_transformers(smooth, check):
    model = part_of(smooth, Qwen2_5_VLForConditionalGeneration, "text_encoder")
    count = IDS.shape[1]
    positions = np.stack([np.arange(count), np.arange(count) // 3, np.arange(count) % 3]).astype(np.int32)
    with torch.no_grad():
        expected = model(
            input_ids=torch.tensor(IDS),
            position_ids=torch.tensor(positions)[:, None, :].long(),
            output_hidden_states=True,
        ).hidden_states[-1]
    found = probe(smooth, "text_encoder", ids=IDS, positions=positions)["hidden"]
    check("qwen text encoder with 3D positions, transformers", found, expected)


def test_a_prompt_is_the_same_alone_and_beside_a_longer_one(smooth):
    alone = probe(smooth, "text_encoder", ids=IDS[:, :6])["hidden"]
    padded = np.concatenate([IDS[:, :6], np.zeros((1, 5), np.int32)], axis=1)
    together = probe(smooth, "text_encoder", ids=np.concatenate([padded, IDS]))["hidden"]
    assert distance(together[:1, :6], alone)[1] <= 1e-6
    assert distance(together[1:], probe(smooth, "text_encoder", ids=IDS)["hidden"])[1] <= 1e-6


# Pictures in tokens, the first is the one that is made; odd sides have a middle that is not between two tokens.
PICTURES = {"one": [(6, 4)], "odd": [(5, 7)], "references": [(4, 6), (3, 5), (6, 2)]}


def transformer_input(pictures, width: int = 128, tokens: int = 9) -> dict:
    count = sum(height * width for height, width in pictures)
    return dict(
        latents=noise(1, count, 64),
        text=noise(1, tokens, width, seed=2),
        sigma=np.array([0.7321], np.float32),
        pictures=np.array(pictures, np.int32),
    )


def diffusers_velocity(model, inputs, pictures):
    with torch.no_grad():
        return model(
            hidden_states=torch.tensor(inputs["latents"]).to(model.dtype),
            encoder_hidden_states=torch.tensor(inputs["text"]).to(model.dtype),
            timestep=torch.tensor(inputs["sigma"]),
            img_shapes=[[(1, *picture) for picture in pictures]],
            return_dict=False,
        )[0]


@pytest.mark.parametrize("pictures", PICTURES.values(), ids=PICTURES)
@pytest.mark.parametrize("kind", ["smooth", "zero_cond"])
def test_the_transformer_is_that_of_diffusers(request, check, kind, pictures):
    folder = request.getfixturevalue(kind)
    inputs = transformer_input(pictures)
    model = part_of(folder, QwenImageTransformer2DModel, "transformer")
    expected = diffusers_velocity(model, inputs, pictures)
    found = probe(folder, "transformer", **inputs)["velocity"]
    check(f"qwen transformer ({kind}, {len(pictures)} pictures), diffusers", found, expected)


def test_the_transformer_block_by_block_gives_the_same(smooth):
    inputs = transformer_input(PICTURES["one"])
    whole = probe(smooth, "transformer", **inputs)["velocity"]
    blocks = probe(smooth, "transformer", **inputs, low_memory=np.ones(1, np.float32))["velocity"]
    assert (whole == blocks).all()


def mflux_transformer(folder, dtype):
    size = checkpoints.TINY
    model = QwenTransformer(
        num_layers=size.double_blocks,
        attention_head_dim=size.head_dim,
        num_attention_heads=size.heads,
        joint_attention_dim=size.text_width,
    )
    model.pos_embed = QwenEmbedRopeMLX(theta=10000, axes_dim=list(size.rope), scale_rope=True)
    model.update(tree_map(lambda leaf: leaf.astype(dtype), mflux_tiny.source_tree(folder)["transformer"]))
    return model


# Python's mflux rounds what comes out of txt_norm, and the time that goes into norm_out, to bfloat16; we do not. In
# float32 what is left is MLX's exp() of the time's frequencies, an ulp off and then multiplied by 1000.
@pytest.mark.parametrize("dtype,limit", [(mx.float32, 3e-5), (mx.bfloat16, 5e-3)], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("pictures", [PICTURES["one"], PICTURES["references"]], ids=["one", "references"])
def test_the_transformer_is_that_of_mflux(smooth, check, monkeypatch, pictures, dtype, limit):
    monkeypatch.setattr(ModelConfig, "precision", dtype)
    inputs = transformer_input(pictures)
    model = mflux_transformer(smooth, dtype)
    height, width = pictures[0]
    expected = model(
        t=float(inputs["sigma"][0]),
        config=types.SimpleNamespace(height=height * 16, width=width * 16),
        hidden_states=mx.array(inputs["latents"]),
        encoder_hidden_states=mx.array(inputs["text"]),
        encoder_hidden_states_mask=mx.ones(inputs["text"].shape[:2]),
        cond_image_grid=[(1, *picture) for picture in pictures[1:]] or None,
    )
    found = probe(smooth, "transformer", **inputs)["velocity"]
    check(f"qwen transformer ({len(pictures)} pictures), mflux in {dtype}", found, np.array(expected), limit)


@pytest.fixture(scope="module")
def vae(smooth):
    return part_of(smooth, AutoencoderKLQwenImage, "vae")


def channels(vae, name: str) -> torch.Tensor:
    return torch.tensor(vae.config[name]).view(1, -1, 1, 1, 1)


def video(image: np.ndarray) -> torch.Tensor:
    """[1, height, width, channels] -> one frame, channels first."""
    return torch.tensor(image).permute(0, 3, 1, 2)[:, :, None]


def picture(frame: torch.Tensor) -> torch.Tensor:
    return frame[:, :, 0].permute(0, 2, 3, 1)


def test_the_vae_encodes_as_that_of_diffusers(smooth, vae, check):
    image = np.tanh(noise(1, 48, 64, 3))
    with torch.no_grad():
        mean = vae.encode(video(image)).latent_dist.mode()
    expected = picture((mean - channels(vae, "latents_mean")) / channels(vae, "latents_std"))
    check("qwen vae encode, diffusers", probe(smooth, "vae_encode", image=image)["latents"], expected)


def decoded(vae, latents: np.ndarray) -> torch.Tensor:
    """Without the clipping to -1..1."""
    z = video(latents) * channels(vae, "latents_std") + channels(vae, "latents_mean")
    with torch.no_grad():
        vae.clear_cache()
        return picture(vae.decoder(vae.post_quant_conv(z), feat_cache=vae._feat_map, feat_idx=vae._conv_idx))


def test_the_vae_decodes_as_that_of_diffusers(smooth, vae, check):
    latents = noise(1, 6, 8, 16)
    check("qwen vae decode, diffusers", probe(smooth, "vae_decode", latents=latents)["image"], decoded(vae, latents))


@pytest.mark.parametrize("tile", [32, 48])
def test_the_vae_decodes_in_tiles_as_that_of_diffusers(smooth, vae, check, tile):
    latents = noise(1, 5, 8, 16)
    stride = tile // 8 * 3 // 4 * 8
    vae.enable_tiling(tile, tile, stride, stride)
    z = video(latents) * channels(vae, "latents_std") + channels(vae, "latents_mean")
    with torch.no_grad():
        expected = picture(vae.tiled_decode(z).sample)
    vae.disable_tiling()
    found = probe(smooth, "vae_decode", latents=latents, tile=np.array([tile], np.int32))["image"]
    check(f"qwen vae decode in tiles of {tile}, diffusers", found, expected)


def test_the_vae_encodes_in_tiles_as_that_of_diffusers(smooth, vae, check):
    image = np.tanh(noise(1, 64, 80, 3))
    vae.enable_tiling(48, 48, 32, 32)
    with torch.no_grad():
        mean = vae.tiled_encode(video(image))[:, :16]
    vae.disable_tiling()
    expected = picture((mean - channels(vae, "latents_mean")) / channels(vae, "latents_std"))
    found = probe(smooth, "vae_encode", image=image, tile=np.array([48], np.int32))["latents"]
    check("qwen vae encode in tiles of 48, diffusers", found, expected)


@pytest.fixture(scope="module")
def edit(sources):
    return sources.once("qwen-edit", lambda folder: checkpoints.qwen(folder, edges=False, scale=0.1, edit=True))


# In patches. Windows are 8 x 8: with one that is whole, with some that are not, with a single small one.
@pytest.mark.parametrize("grid", [(10, 12), (16, 8), (4, 6)], ids=str)
def test_the_vision_tower_is_that_of_transformers(edit, check, grid):
    model = part_of(edit, Qwen2_5_VLForConditionalGeneration, "text_encoder").model.visual
    patches = noise(grid[0] * grid[1], 3 * 2 * 14 * 14)
    with torch.no_grad():
        expected = model(torch.tensor(patches), grid_thw=torch.tensor([[1, *grid]])).pooler_output
    found = probe(edit, "vision", patches=patches, grid=np.array([grid], np.int32))["tokens"]
    check(f"qwen vision tower {grid}, transformers", found, expected)


def photo(height: int, width: int) -> Image.Image:
    """Something with edges, gradients and noise."""
    rows, columns = np.mgrid[0:height, 0:width]
    levels = np.stack([rows * 255 / height, columns * 255 / width, ((rows // 7 + columns // 5) % 2) * 255], axis=-1)
    return Image.fromarray(np.clip(levels + noise(height, width, 3) * 12, 0, 255).astype(np.uint8))


def values(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(np.float32) / 127.5 - 1


def levels_off(found, expected, level: float) -> tuple[float, float]:
    off = np.abs(np.asarray(found, np.float64) - array(expected)) / level
    return float(off.max()), float((off > 0.5).mean())


# Pillow 13 resizes tall pictures along the columns first; ours never does.
@pytest.mark.parametrize("size", [(300, 500), (400, 640), (64, 64)], ids=str)
def test_references_are_resized_as_by_diffusers_and_mflux(edit, figure, size):
    image = photo(*size)
    found = probe(edit, "reference", image=values(image), area=np.array([384 * 384], np.int32))
    processor = VaeImageProcessor(vae_scale_factor=16)
    width, height = calculate_dimensions(384 * 384, size[1] / size[0])
    small = processor.resize(image, height, width)
    pillow, grid = QwenImageProcessor().preprocess(small)
    assert found["grid"].astype(int).tolist() == grid[0][1:].tolist()
    # A level is 1 / 255 before the division by the standard deviation of the channel.
    level = 1 / 255 / 0.26
    worst, share = levels_off(found["patches"], pillow, level)
    figure(f"qwen reference {size} for the vision tower, Pillow: {worst:.1f} levels, {share:.1e} of the pixels")
    assert worst < 1.2 and share < 1e-3
    theirs = Qwen2VLImageProcessor()(small, return_tensors="pt")
    assert theirs["image_grid_thw"].tolist() == [[1, *found["grid"].astype(int).tolist()]]
    assert levels_off(found["patches"], theirs["pixel_values"], level)[0] < 3
    width, height = calculate_dimensions(1024 * 1024, size[1] / size[0])
    expected = processor.preprocess(image, height, width)[0].permute(1, 2, 0)
    worst, share = levels_off(found["image"], expected, 2 / 255)
    figure(f"qwen reference {size} for the VAE, Pillow: {worst:.1f} levels, {share:.1e} of the pixels")
    assert worst < 1.2 and share < 1e-3


def letters(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8)


def pipeline_input(prompt: str, negative: str, height: int, width: int) -> dict:
    return dict(
        prompt=letters(prompt),
        negative=letters(negative),
        size=np.array([[height, width]], np.int32),
        guidance=np.array([3.5], np.float32),
        latents=noise(1, height // 16 * (width // 16), 64),
        sigma=np.array([0.9], np.float32),
    )


def guided(positive, negative, guidance: float):
    """As in diffusers' pipelines."""
    combined = negative + guidance * (positive - negative)
    return combined * (positive.norm(dim=-1, keepdim=True) / combined.norm(dim=-1, keepdim=True))


PROMPTS = [("a red chair in the evening", "blurry"), ("two circles beside a green square, très joli 🙂", " ")]


@pytest.mark.parametrize("prompt,negative", PROMPTS, ids=["short", "awkward"])
def test_a_step_of_the_pipeline_is_that_of_diffusers(smooth, check, prompt, negative):
    pipe = QwenImagePipeline.from_pretrained(smooth, dtype=torch.float32)
    inputs = pipeline_input(prompt, negative, 64, 48)
    found = probe(smooth, "pipeline", **inputs)
    with torch.no_grad():
        texts = [pipe.encode_prompt(text)[0] for text in (prompt, negative)]
        velocities = [
            diffusers_velocity(pipe.transformer, {**inputs, "text": text.numpy()}, [(4, 3)]) for text in texts
        ]
        latents = pipe._unpack_latents(torch.tensor(inputs["latents"]), 64, 48, 8)[:, :, 0].permute(0, 2, 3, 1)
    check("qwen pipeline, prompt", found["text"], texts[0])
    check("qwen pipeline, negative prompt", found["negative"], texts[1])
    check("qwen pipeline, guided velocity", found["velocity"], guided(*velocities, 3.5))
    check("qwen pipeline, picture", found["image"], decoded(pipe.vae, latents.numpy())[0])
    with torch.no_grad():
        mean = pipe.vae.encode(video(found["image"][None])).latent_dist.mode()
    mean = (mean - channels(pipe.vae, "latents_mean")) / channels(pipe.vae, "latents_std")
    check("qwen pipeline, encoded", found["encoded"], pipe._pack_latents(mean, 1, 16, 8, 6))


def test_a_step_of_an_edit_is_that_of_diffusers(edit, check):
    pipe = qwen_edit.pipeline(edit)
    inputs = pipeline_input("make it blue", "blurry", 64, 48)
    image = photo(384, 384)
    # A megapixel at once through the VAE would take long.
    found = probe(edit, "pipeline", **inputs, **{"reference.0": values(image)}, tile=np.array([256], np.int32))
    references = torch.tensor(found["references"])
    assert references.shape == (1, 64 * 64, 64)
    with torch.no_grad():
        texts = [pipe.encode_prompt(text, [image])[0] for text in ("make it blue", "blurry")]
        large = pipe.image_processor.preprocess(image, 1024, 1024)[:, :, None]
        # Nothing but the first tile reaches this corner.
        corner = pipe._encode_vae_image(large[..., :256, :256], None)[..., :24, :24]
        latents = torch.cat([torch.tensor(inputs["latents"]), references], dim=1).numpy()
        velocities = [
            diffusers_velocity(
                pipe.transformer, {**inputs, "latents": latents, "text": text.numpy()}, [(4, 3), (64, 64)]
            )[:, :12]
            for text in texts
        ]
    check("qwen edit, prompt", found["text"], texts[0], 1e-3)  # the rounding of the resized picture
    packed = found["references"].reshape(64, 64, 64)[:12, :12].reshape(1, 144, 64)
    check("qwen edit, references", packed, pipe._pack_latents(corner, 1, 16, 24, 24), 2e-3)
    check("qwen edit, guided velocity", found["velocity"], guided(*velocities, 3.5), 1e-4)


# Python's mflux names -> diffusers'.
RENAMED = {
    ".attn.attn_to_out.0.": ".attn.to_out.0.",
    ".img_mod_linear.": ".img_mod.1.",
    ".txt_mod_linear.": ".txt_mod.1.",
    "_ff.mlp_in.": "_mlp.net.0.proj.",
    "_ff.mlp_out.": "_mlp.net.2.",
}


def unpacked(folder) -> dict[str, torch.Tensor]:
    """The transformer of a saved folder in float32 and by diffusers' names."""
    tensors = numerics.read_component(folder, "transformer")
    state = {}
    for name, tensor in tensors.items():
        layer, _, kind = name.rpartition(".")
        if kind in ("scales", "biases"):
            continue
        value = tensor.mlx()
        if tensor.dtype == "U32":
            # As MLX's quantized_matmul has them for float32 activations: not rounded to the scales' bfloat16.
            scales, biases = (tensors[f"{layer}.{part}"].mlx().astype(mx.float32) for part in ("scales", "biases"))
            bits = value.shape[1] * 32 // (scales.shape[1] * 64)
            value = mx.dequantize(value, scales, biases, group_size=64, bits=bits)
        for ours, theirs in RENAMED.items():
            name = name.replace(ours, theirs)
        state[name] = torch.tensor(np.array(value.astype(mx.float32)))
    return state


@pytest.fixture(scope="module")
def saved(smooth, sources, program):
    """By us or by Python's mflux, which writes no config.json."""

    def make(by: str, bits: int | None):
        def save(folder):
            if by == "mflux":
                mflux_tiny.load(smooth, smooth, quantize=bits).save_model(str(folder))
            else:
                program.save(smooth, folder, *([] if bits is None else ["-q", bits]))
            return folder

        return sources.once(f"qwen-smooth-{by}-{bits}", save)

    return make


@pytest.mark.parametrize("bits", [None, 8, 4])
@pytest.mark.parametrize("by", ["us", "mflux"])
def test_the_networks_of_a_saved_folder_are_those_of_its_weights(smooth, saved, check, by, bits):
    folder = saved(by, bits)
    inputs = transformer_input(PICTURES["one"])
    model = part_of(smooth, QwenImageTransformer2DModel, "transformer")
    model.load_state_dict(unpacked(folder))
    expected = diffusers_velocity(model, inputs, PICTURES["one"])
    found = probe(folder, "transformer", **inputs)["velocity"]
    check(f"qwen transformer saved by {by}, {bits or 16} bits, diffusers", found, expected)
    latents = noise(1, 4, 4, 16)
    for part, given in (("text_encoder", dict(ids=IDS)), ("vae_decode", dict(latents=latents))):
        ours, theirs = (next(iter(probe(source, part, **given).values())) for source in (folder, smooth))
        assert distance(ours, theirs)[1] <= 1e-6, part


@pytest.fixture(scope="module")
def wide(work):
    model = QwenImageTransformer2DModel(num_layers=1).to(torch.bfloat16)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.uniform_(-0.03, 0.03, generator=generator)
            value.add_(1 if ".norm_" in name or name.startswith("txt_norm") else 0)
    folder = work / "qwen-real-width"
    model.save_pretrained(folder / "transformer")
    inputs = transformer_input([(8, 6), (4, 4)], width=3584, tokens=20)
    yield model, folder, inputs, diffusers_velocity(model.float(), inputs, inputs["pictures"].tolist())
    shutil.rmtree(folder)


def test_a_block_of_the_real_width_is_that_of_diffusers(wide, check):
    _, folder, inputs, expected = wide
    check("qwen transformer 3072 wide, diffusers", probe(folder, "transformer", **inputs)["velocity"], expected)


def test_products_in_bfloat16_are_nearer_than_torch_in_bfloat16(wide, bfloat16, figure):
    model, folder, inputs, expected = wide
    ours = distance(probe(folder, "transformer", bfloat16=np.float32(1), **inputs)["velocity"], expected)[1]
    theirs = distance(array(diffusers_velocity(model.bfloat16(), inputs, inputs["pictures"].tolist())), expected)[1]
    figure(f"qwen transformer 3072 wide in bfloat16: relative {ours:.1e}, torch's {theirs:.1e}")
    assert 1e-5 < ours < theirs


TEMPLATE = (
    "<|im_start|>system\nDescribe the image by detailing the color, shape, size, texture, quantity, text, spatial "
    "relationships of the objects and background:<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
)


def test_a_prompt_that_is_too_long_is_cut_as_by_mflux(smooth):
    words = "two large blue circles beside a green square " * 100
    found = probe(smooth, "pipeline", **pipeline_input(words, " ", 32, 32))
    assert found["text"].shape[1] == 1058 - 34
    tokenizer = Qwen2Tokenizer.from_pretrained(smooth / "tokenizer")
    text = TEMPLATE.format(words)
    ids = np.array([tokenizer(text, max_length=1058, truncation=True).input_ids], np.int32)
    expected = probe(smooth, "text_encoder", ids=ids)["hidden"][:, 34:]
    assert distance(found["text"], expected)[1] <= 1e-6

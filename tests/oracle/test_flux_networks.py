# SPDX-License-Identifier: MIT
"""FLUX.1's networks, part by part, in float32, against diffusers, transformers and Python's mflux."""

import json
import math
import types

import checkpoints
import mflux_tiny  # first of all that imports mflux: it sets the environment
import mlx.core as mx
import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, FluxFillPipeline, FluxPipeline, FluxTransformer2DModel
from mflux.models.common.config import ModelConfig
from mflux.models.flux.model.flux_transformer.transformer import Transformer
from mlx.utils import tree_unflatten
from networks import array, distance, probe
from safetensors.torch import save_file
from transformers import AutoTokenizer, CLIPTextModel, T5EncoderModel

# Largest difference relative to the largest value.
LIMIT = 1e-5
# A time and a guidance, times 1000: exact in bfloat16, and diffusers' product by 1000 gives them back exactly.
TIME, GUIDANCE = 500.0, 3504.0
IMAGE = (4, 6)  # tokens
CLIP_IDS = [0, 17, 250, 33, 90, 401, 33, 7, 1, 1, 1, 1]
T5_IDS = [9, 44, 12, 7, 31, 65, 2, 18, 1] + 60 * [0]


@pytest.fixture(scope="module")
def smooth(sources):
    """Weights of a size at which every part of a network counts, none of them extreme."""
    return sources.once("flux-smooth", lambda folder: checkpoints.flux(folder, edges=False, scale=0.08))


@pytest.fixture(scope="module")
def schnell(sources):
    def make(folder):
        return checkpoints.flux(folder, edges=False, scale=0.08, guidance=False, seed=31)

    return sources.once("schnell-smooth", make)


def wider(sources, channels: int):
    def make(folder):
        return checkpoints.flux(folder, edges=False, scale=0.08, channels=channels, seed=41)

    return sources.once(f"flux-{channels}", make)


@pytest.fixture(scope="module")
def control(sources):
    return wider(sources, 128)


@pytest.fixture(scope="module")
def fill(sources):
    return wider(sources, 384)


@pytest.fixture
def check(figure):
    def compare(what: str, found, expected, limit: float = LIMIT):
        worst, relative = distance(found, expected)
        figure(f"{what}: max {worst:.1e}, relative {relative:.1e}")
        assert relative <= limit

    return compare


def noise(*shape, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def grid(index: int, size: tuple[int, int]) -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    return torch.stack([torch.full_like(rows, index), rows, columns], dim=-1).reshape(-1, 3)


# ---- the references, each as it is in a diffusers folder


def clip_of(folder) -> CLIPTextModel:
    return CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32).eval()


def t5_of(folder) -> T5EncoderModel:
    return T5EncoderModel.from_pretrained(folder / "text_encoder_2", dtype=torch.float32).eval()


def vae_of(folder) -> AutoencoderKL:
    return AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=torch.float32).eval()


def sinusoids(times: torch.Tensor) -> torch.Tensor:
    """By MLX. One ulp of a frequency, times thousands, is an angle off by 1e-4: that is how far torch's are from these."""
    powers = -math.log(10000) * mx.arange(0, 128, dtype=mx.float32) / 128
    angles = mx.array(times.numpy())[:, None] * mx.exp(powers)[None]
    return torch.from_numpy(np.array(mx.concatenate([mx.cos(angles), mx.sin(angles)], axis=-1)))


def transformer_of(folder, as_mflux: bool = True) -> FluxTransformer2DModel:
    """as_mflux: GELU by erf in the picture half of the double blocks, MLX's sinusoids; else all is diffusers' own."""
    model = FluxTransformer2DModel.from_pretrained(folder / "transformer", torch_dtype=torch.float32).eval()
    if as_mflux:
        model.time_text_embed.time_proj.forward = sinusoids
        for block in model.transformer_blocks:
            block.ff.net[0].approximate = "none"
    return model


def quantized(module: torch.nn.Module, bits: int = 8) -> torch.nn.Module:
    """With the weights that MLX's packing leaves of every linear and embedding layer."""
    done = set()  # T5's two names for one embedding
    for layer in module.modules():
        if isinstance(layer, torch.nn.Linear | torch.nn.Embedding) and layer.weight.data_ptr() not in done:
            done.add(layer.weight.data_ptr())
            weight = mx.array(layer.weight.detach().numpy()).astype(mx.bfloat16)
            codes, scales, biases = mx.quantize(weight, 64, bits)
            # As in mx.quantized_matmul: code * scale + bias in float32, not in the dtype of the scales.
            left = mx.dequantize(codes, scales.astype(mx.float32), biases.astype(mx.float32), 64, bits)
            with torch.no_grad():
                layer.weight.copy_(torch.from_numpy(np.array(left)))
    return module


# ---- what goes in, and what they give


def transformer_inputs(channels: int = 64, text: int = 7, width: int = 128, pooled: int = 128, reference=None) -> dict:
    tokens = IMAGE[0] * IMAGE[1] + (reference[0] * reference[1] if reference else 0)
    inputs = {
        "tokens": noise(1, tokens, channels),
        "text": noise(1, text, width, seed=2),
        "pooled": noise(1, pooled, seed=3),
        "timestep": np.float32(TIME),
        "guidance": np.float32(GUIDANCE),
        "image": np.array(IMAGE),
    }
    return inputs | ({"reference": np.array(reference)} if reference else {})


@torch.no_grad()
def velocity(model: FluxTransformer2DModel, inputs: dict) -> torch.Tensor:
    def thousandth(value: float) -> torch.Tensor:
        result = torch.tensor([value / 1000])
        assert (result * 1000).item() == value
        return result

    ids = [grid(0, IMAGE)]
    if "reference" in inputs:
        ids.append(grid(1, tuple(inputs["reference"])))
    return model(
        hidden_states=torch.from_numpy(inputs["tokens"]).to(model.dtype),
        encoder_hidden_states=torch.from_numpy(inputs["text"]).to(model.dtype),
        pooled_projections=torch.from_numpy(inputs["pooled"]).to(model.dtype),
        timestep=thousandth(TIME),
        guidance=thousandth(GUIDANCE) if model.config.guidance_embeds else None,
        img_ids=torch.cat(ids),
        txt_ids=torch.zeros(inputs["text"].shape[1], 3),
        return_dict=False,
    )[0]


@torch.no_grad()
def clip_states(model: CLIPTextModel) -> torch.Tensor:
    return model(input_ids=torch.tensor([CLIP_IDS])).last_hidden_state


@torch.no_grad()
def t5_states(model: T5EncoderModel) -> torch.Tensor:
    return model(input_ids=torch.tensor([T5_IDS])).last_hidden_state


def channels_first(value) -> torch.Tensor:
    return torch.from_numpy(array(value)).permute(0, 3, 1, 2)


def channels_last(value: torch.Tensor) -> torch.Tensor:
    return value.permute(0, 2, 3, 1)


@torch.no_grad()
def encoded(model: AutoencoderKL, image) -> torch.Tensor:
    mean = model.encode(channels_first(image)).latent_dist.mean
    return channels_last((mean - model.config.shift_factor) * model.config.scaling_factor)


@torch.no_grad()
def decoded(model: AutoencoderKL, latents) -> torch.Tensor:
    unscaled = channels_first(latents) / model.config.scaling_factor + model.config.shift_factor
    return channels_last(model.decode(unscaled).sample)


# ---- diffusers folders


def test_clip_is_that_of_transformers(smooth, check):
    expected = clip_states(clip_of(smooth))
    found = probe(smooth, "clip", ids=np.array(CLIP_IDS))
    check("CLIP states", found["states"], expected)
    check("CLIP pooled", found["pooled"], expected[:, int(np.argmax(CLIP_IDS))])


def test_t5_is_that_of_transformers(smooth, check):
    check("T5", probe(smooth, "t5", ids=np.array(T5_IDS))["states"], t5_states(t5_of(smooth)))


def test_t5_knows_every_distance_of_512_tokens(smooth, check):
    ids = np.random.default_rng(4).integers(3, 70, 512)
    with torch.no_grad():
        expected = t5_of(smooth)(input_ids=torch.from_numpy(ids[None])).last_hidden_state
    check("T5, 512 tokens", probe(smooth, "t5", ids=ids)["states"], expected)


def test_the_transformer_is_that_of_diffusers(smooth, check):
    inputs = transformer_inputs()
    found = probe(smooth, "transformer", **inputs)
    check("transformer", found["velocity"], velocity(transformer_of(smooth), inputs))
    assert (found["velocity"] == found["block_by_block"]).all()
    unchanged = velocity(transformer_of(smooth, as_mflux=False), inputs)
    check("transformer, diffusers unchanged", found["velocity"], unchanged, limit=1e-3)


def test_schnell_has_no_guidance(schnell, check):
    inputs = transformer_inputs()
    found = probe(schnell, "transformer", **inputs)["velocity"]
    check("transformer, schnell", found, velocity(transformer_of(schnell), inputs))


def test_kontext_sees_a_reference(smooth, check):
    inputs = transformer_inputs(reference=(3, 5))
    found = probe(smooth, "transformer", **inputs)["velocity"]
    check("transformer, Kontext", found, velocity(transformer_of(smooth), inputs))


def test_the_vae_is_that_of_diffusers(smooth, check):
    model = vae_of(smooth)
    image = np.tanh(noise(1, 64, 96, 3))
    latents = noise(1, 8, 12, 16)
    check("VAE encode", probe(smooth, "vae_encode", image=image)["latents"], encoded(model, image))
    check("VAE decode", probe(smooth, "vae_decode", latents=latents)["image"], decoded(model, latents))


def test_tiles_are_those_of_diffusers(smooth, check):
    model = vae_of(smooth)
    tile = 64
    model.enable_tiling()
    model.tile_sample_min_size = tile
    model.tile_latent_min_size = tile // 8
    image = np.tanh(noise(1, 80, 80, 3))
    latents = noise(1, 10, 10, 16)
    found = probe(smooth, "vae_encode", image=image, tile=np.array(tile))
    check("VAE encode, tiles", found["latents"], encoded(model, image))
    found = probe(smooth, "vae_decode", latents=latents, tile=np.array(tile))
    check("VAE decode, tiles", found["image"], decoded(model, latents))


# ---- folders we save: mflux's names


def parts_of(base, saved, check, what: str, change):
    """Every part of `saved` against the references with the weights of `base`, changed."""
    inputs = transformer_inputs()
    image = np.tanh(noise(1, 64, 64, 3))
    latents = noise(1, 8, 8, 16)
    vae = change(vae_of(base))
    check(
        f"{what}: transformer",
        probe(saved, "transformer", **inputs)["velocity"],
        velocity(change(transformer_of(base)), inputs),
    )
    check(f"{what}: CLIP", probe(saved, "clip", ids=np.array(CLIP_IDS))["states"], clip_states(change(clip_of(base))))
    check(f"{what}: T5", probe(saved, "t5", ids=np.array(T5_IDS))["states"], t5_states(change(t5_of(base))))
    check(f"{what}: VAE encode", probe(saved, "vae_encode", image=image)["latents"], encoded(vae, image))
    check(f"{what}: VAE decode", probe(saved, "vae_decode", latents=latents)["image"], decoded(vae, latents))


def test_a_folder_we_saved_gives_the_same(smooth, program, out, check):
    parts_of(smooth, program.save(smooth, out), check, "saved", lambda module: module)


def test_a_packed_folder_gives_what_its_weights_say(smooth, program, out, check):
    parts_of(smooth, program.save(smooth, out, "-q", "8"), check, "saved, 8 bits", quantized)


# ---- the pipeline: prompts, references, masks

SIZE = (IMAGE[0] * 16, IMAGE[1] * 16)
PROMPT = "a photo of a cat sitting on a red chair"


def pipeline_inputs(prompt: str = PROMPT, **more) -> dict:
    return {
        "prompt": np.frombuffer(prompt.encode(), np.uint8),
        "size": np.array(SIZE),
        "guidance": np.float32(3.5),  # 3504 in bfloat16
        "sigma": np.float32(0.4998),  # 500 in bfloat16
        "latents": noise(1, IMAGE[0] * IMAGE[1], 64),
    } | more


def tokens_of(folder, name: str, prompt: str, length: int) -> torch.Tensor:
    tokenizer = AutoTokenizer.from_pretrained(folder / name)
    return tokenizer(prompt, padding="max_length", max_length=length, truncation=True, return_tensors="pt").input_ids


@torch.no_grad()
def prompt_states(folder, prompt: str, length: int = 512) -> tuple[torch.Tensor, torch.Tensor]:
    clip_ids = tokens_of(folder, "tokenizer", prompt, 77)
    states = clip_of(folder)(input_ids=clip_ids).last_hidden_state
    t5_ids = tokens_of(folder, "tokenizer_2", prompt, length)
    return t5_of(folder)(input_ids=t5_ids).last_hidden_state, states[:, int(clip_ids.argmax())]


def packed(latents: torch.Tensor) -> torch.Tensor:
    """Channels last in, as the transformer has them out: by diffusers."""
    channels = latents.shape[3]
    height, width = latents.shape[1:3]
    return FluxPipeline._pack_latents(latents.permute(0, 3, 1, 2), 1, channels, height, width)


def check_pipeline(folder, inputs: dict, check, what: str, tokens, reference=None, length: int = 512) -> dict:
    found = probe(folder, "pipeline", **inputs)
    text, pooled = prompt_states(folder, PROMPT, length)
    check(f"{what}: text", found["text"], text)
    check(f"{what}: pooled", found["pooled"], pooled)
    seen = {"tokens": array(tokens), "text": array(text), "pooled": array(pooled)}
    expected = velocity(transformer_of(folder), seen | ({"reference": reference} if reference else {}))
    check(f"{what}: velocity", found["velocity"], expected[:, : inputs["latents"].shape[1]])
    return found


def test_a_prompt_becomes_a_velocity_and_latents_a_picture(smooth, check):
    inputs = pipeline_inputs()
    found = check_pipeline(smooth, inputs, check, "pipeline", inputs["latents"])
    latents = FluxPipeline._unpack_latents(torch.from_numpy(inputs["latents"]), *SIZE, 8)
    image = decoded(vae_of(smooth), channels_last(latents))
    check("pipeline: picture", found["image"], image[0])
    check("pipeline: latents", found["encoded"], packed(encoded(vae_of(smooth), image)), limit=3e-5)
    assert found["notes"] == 0


def test_schnell_reads_256_tokens(schnell, check):
    inputs = pipeline_inputs()
    check_pipeline(schnell, inputs, check, "pipeline, schnell", inputs["latents"], length=256)


def test_a_long_prompt_is_cut_with_a_note(smooth, check):
    prompt = " ".join([PROMPT] * 60)
    found = probe(smooth, "pipeline", **pipeline_inputs(prompt))
    text, pooled = prompt_states(smooth, prompt)
    check("pipeline, long prompt: text", found["text"], text)
    check("pipeline, long prompt: pooled", found["pooled"], pooled)
    assert found["notes"] == 2


def test_kontext_puts_the_reference_after_the_picture(smooth, check):
    image = np.tanh(noise(*SIZE, 3, seed=5))
    inputs = pipeline_inputs(reference=image)
    beside = packed(encoded(vae_of(smooth), image[None]))
    tokens = torch.cat([torch.from_numpy(inputs["latents"]), beside], dim=1)
    check_pipeline(smooth, inputs, check, "pipeline, Kontext", tokens, reference=IMAGE)


def test_control_sees_the_reference_in_every_token(control, check):
    image = np.tanh(noise(*SIZE, 3, seed=5))
    inputs = pipeline_inputs(reference=image)
    tokens = torch.cat([torch.from_numpy(inputs["latents"]), packed(encoded(vae_of(control), image[None]))], dim=2)
    check_pipeline(control, inputs, check, "pipeline, control", tokens)


def test_fill_sees_picture_and_mask(fill, check):
    image = np.tanh(noise(*SIZE, 3, seed=5))
    mask = (noise(*SIZE, seed=6) > 0.3).astype(np.float32)
    inputs = pipeline_inputs(reference=image, mask=mask)
    vae = vae_of(fill)
    pipeline = FluxFillPipeline(None, vae, None, None, None, None, transformer_of(fill))
    cut = channels_first(image[None] * (1 - mask[None, :, :, None]))
    with torch.no_grad():
        # Given latents it does not encode: it would draw from the distribution instead of taking the mean.
        mean = vae.encode(cut).latent_dist.mean
        mask_tokens, picture_tokens = pipeline.prepare_mask_latents(
            torch.from_numpy(mask)[None, None], mean, 1, 16, 1, *SIZE, torch.float32, "cpu", None
        )
    extra = torch.cat([picture_tokens, mask_tokens], dim=2)
    found = check_pipeline(
        fill, inputs, check, "pipeline, Fill", torch.cat([torch.from_numpy(inputs["latents"]), extra], dim=2)
    )
    check("pipeline, Fill: picture and mask", found["references"], extra)


def test_pictures_that_do_not_fit_are_refused(smooth, fill):
    image = np.zeros((*SIZE, 3), np.float32)
    mask = np.zeros(SIZE, np.float32)
    said = probe(fill, "pipeline", expect=1, **pipeline_inputs(reference=image))
    assert "this is FLUX.1 Fill: it needs a reference picture and a mask" in said
    said = probe(smooth, "pipeline", expect=1, **pipeline_inputs(reference=image, mask=mask))
    assert "only FLUX.1 Fill takes one" in said


# ---- the real width, and Python's mflux, which knows no other


@pytest.fixture(scope="module")
def wide(sources):
    """3072 wide, 24 heads, one block of each kind; the weights are one million numbers, over and over."""

    def make(folder):
        config = dict(num_layers=1, num_single_layers=1, guidance_embeds=True)
        with torch.device("meta"):
            shapes = {name: value.shape for name, value in FluxTransformer2DModel(**config).state_dict().items()}
        numbers = torch.empty(1_000_003).normal_(generator=torch.Generator().manual_seed(7)).to(torch.bfloat16)
        tensors = {}
        for name, shape in shapes.items():
            scale = 0.5 / math.sqrt(shape[-1]) if len(shape) == 2 else 0.05
            times = -(-shape.numel() // numbers.numel())
            values = (numbers * scale).repeat(times)[: shape.numel()].reshape(shape)
            tensors[name] = values + 1 if "norm_" in name and len(shape) == 1 else values
        (folder / "transformer").mkdir(parents=True)
        save_file(tensors, folder / "transformer" / "diffusion_pytorch_model.safetensors", {"format": "pt"})
        saved = {"_class_name": "FluxTransformer2DModel", **config}
        (folder / "transformer" / "config.json").write_text(json.dumps(saved))
        return folder

    return sources.once("flux-wide", make)


def mflux_velocity(folder, inputs: dict) -> np.ndarray:
    """By mflux's own class, but that what modulates stays in float32: mflux rounds it to bfloat16."""
    weights = mx.load(str(folder / "transformer" / "diffusion_pytorch_model.safetensors"))
    names = {".net.0.proj.": ".linear1.", ".net.2.": ".linear2."}

    def renamed(name: str) -> str:
        for before, after in names.items():
            name = name.replace(before, after)
        return name

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ModelConfig, "precision", mx.float32)
        model = Transformer(ModelConfig.dev(), num_transformer_blocks=1, num_single_transformer_blocks=1)
        model.update(tree_unflatten([(renamed(name), value) for name, value in weights.items()]))
        config = types.SimpleNamespace(
            scheduler=types.SimpleNamespace(sigmas=mx.array([TIME / 1000])),
            num_train_steps=1000,
            precision=mx.float32,
            guidance=GUIDANCE / 1000,
            height=IMAGE[0] * 16,
            width=IMAGE[1] * 16,
        )
        result = model(
            t=0,
            config=config,
            hidden_states=mx.array(inputs["tokens"]),
            prompt_embeds=mx.array(inputs["text"]),
            pooled_prompt_embeds=mx.array(inputs["pooled"]),
        )
        return np.array(result)


def test_at_the_real_width_it_is_diffusers_and_mflux(wide, check):
    inputs = transformer_inputs(width=4096, pooled=768)
    found = probe(wide, "transformer", **inputs)["velocity"]
    check("transformer 3072 wide, diffusers", found, velocity(transformer_of(wide), inputs))
    check("transformer 3072 wide, mflux in float32", found, mflux_velocity(wide, inputs))


def test_products_in_bfloat16_are_nearer_than_torch_in_bfloat16(wide, bfloat16, figure):
    inputs = transformer_inputs(width=4096, pooled=768)
    expected = velocity(transformer_of(wide), inputs)
    ours = distance(probe(wide, "transformer", bfloat16=np.float32(1), **inputs)["velocity"], expected)[1]
    model = transformer_of(wide, as_mflux=False)
    expected = velocity(model, inputs)
    theirs = distance(array(velocity(model.to(torch.bfloat16), inputs)), expected)[1]
    figure(f"transformer 3072 wide in bfloat16: relative {ours:.1e}, torch's {theirs:.1e}")
    assert 1e-5 < ours < theirs

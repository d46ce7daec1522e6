# SPDX-License-Identifier: MIT
"""Whole pictures: against Python's mflux and diffusers from the same noise, and against ourselves by other ways."""

import json
import pathlib

import checkpoints
import mflux_pictures
import qwen_edit
import mlx.core as mx
import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, QwenImagePipeline
from mflux.models.flux.variants.fill.flux_fill import Flux1Fill
from mflux.models.flux.variants.kontext.flux_kontext import Flux1Kontext
from pictures import pixels, psnr
from PIL import Image
from safetensors.torch import load_file, save_file

PROMPT = "a red circle beside two large mountains"
NEGATIVE = "a small green square"
HEIGHT, WIDTH, STEPS, SEED = 96, 128, 4, 7
LIMIT = 45  # dB

# Weights large enough that prompt and transformer shape the picture.
MODELS = {
    "flux": lambda folder: checkpoints.flux(folder, edges=False, scale=0.05, seed=31),
    "schnell": lambda folder: checkpoints.flux(folder, edges=False, scale=0.05, seed=41, guidance=False),
    "fill": lambda folder: checkpoints.flux(folder, edges=False, scale=0.05, seed=61, channels=384),
    "qwen": lambda folder: checkpoints.qwen(folder, edges=False, scale=0.08, seed=51),
    "edit": lambda folder: checkpoints.qwen(folder, edges=False, scale=0.08, seed=71, edit=True),
}
# What the published models' schedulers say beside the defaults.
SCHEDULES = {
    "flux": dict(use_dynamic_shifting=True),
    "fill": dict(use_dynamic_shifting=True),
    "schnell": dict(use_dynamic_shifting=False, shift=1.0),
    "qwen": dict(use_dynamic_shifting=True, max_shift=0.9, max_image_seq_len=8192, shift_terminal=0.02),
}
SCHEDULES["edit"] = SCHEDULES["qwen"]
FAMILIES = ["flux", "schnell", "qwen"]
LORAS = {"flux": "flux-blocks-exact", "qwen": "qwen-blocks"}


@pytest.fixture(scope="session")
def vivid(sources):
    def make(family: str):
        def write(folder):
            MODELS[family](folder)
            FlowMatchEulerDiscreteScheduler(**SCHEDULES[family]).save_pretrained(folder / "scheduler")
            return folder

        return sources.once(f"vivid-{family}", write)

    return make


@pytest.fixture
def draw(program, tmp_path):
    """The PNG that our program makes."""

    def run(
        model, *arguments, name="ours.png", steps=STEPS, prompt=PROMPT, precision="float32"
    ) -> pathlib.Path:
        path = tmp_path / name
        size = ["--height", HEIGHT, "--width", WIDTH, "--steps", steps, "--seed", SEED]
        exact = ["--cpu-precision", precision]
        program("generate", "--model", model, "--prompt", prompt, *size, *exact, "--output", path, *arguments)
        assert path.is_file()
        return path

    return run


def mflux_picture(folder, **more):
    return mflux_pictures.picture(folder, PROMPT, seed=SEED, steps=STEPS, height=HEIGHT, width=WIDTH, **more)


def negative(family: str) -> list[str]:
    return ["--negative-prompt", NEGATIVE] if family == "qwen" else []


@pytest.mark.parametrize("family", FAMILIES)
def test_the_picture_is_that_of_mflux(vivid, draw, figure, family):
    folder = vivid(family)
    made = draw(folder, *negative(family))
    theirs = mflux_picture(folder, negative=NEGATIVE if family == "qwen" else None)
    other = draw(folder, *negative(family), name="other.png", prompt="two blue houses")
    found, apart = psnr(made, theirs), psnr(made, other)
    figure(f"{family}: PSNR to Python mflux's picture {found:.1f} dB (another prompt: {apart:.1f} dB)")
    assert found >= LIMIT
    assert apart < found - 6  # the prompt matters


def round_times(module, positional, named: dict):
    """mflux rounds a thousand times the time and the guidance to bfloat16."""
    rounded = {
        name: (named[name] * 1000).bfloat16().float() / 1000
        for name in ("timestep", "guidance")
        if named.get(name) is not None
    }
    return positional, named | rounded


def diffusers_arguments() -> dict:
    noise = mx.random.normal(shape=[1, HEIGHT // 16 * (WIDTH // 16), 64], key=mx.random.key(SEED))
    latents = torch.from_numpy(np.array(noise))
    return dict(prompt=PROMPT, height=HEIGHT, width=WIDTH, num_inference_steps=STEPS, latents=latents)


def diffusers_picture(folder, family: str, dtype=torch.float32):
    arguments = diffusers_arguments()
    if family == "qwen":
        pipeline = QwenImagePipeline.from_pretrained(folder, torch_dtype=dtype)
        arguments |= dict(negative_prompt=NEGATIVE, true_cfg_scale=3.5)
    else:
        pipeline = FluxPipeline.from_pretrained(folder, torch_dtype=dtype)
        arguments |= dict(guidance_scale=3.5, max_sequence_length=256 if family == "schnell" else 512)
        # As the published CLIP, whose end of text is its highest id; and as mflux, which has the exact GELU here.
        pipeline.text_encoder.config.eos_token_id = pipeline.text_encoder.eos_token_id = 2
        for block in pipeline.transformer.transformer_blocks:
            block.ff.net[0].approximate = "none"
        pipeline.transformer.register_forward_pre_hook(round_times, with_kwargs=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(**arguments).images[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_picture_is_that_of_diffusers(vivid, draw, figure, family):
    folder = vivid(family)
    found = psnr(draw(folder, *negative(family)), diffusers_picture(folder, family))
    figure(f"{family}: PSNR to diffusers' picture {found:.1f} dB")
    assert found >= LIMIT


@pytest.mark.parametrize("family", FAMILIES)
def test_products_in_bfloat16_change_less_than_diffusers_in_bfloat16(vivid, bfloat16, draw, figure, family):
    folder = vivid(family)
    exact = draw(folder, *negative(family))
    made = draw(folder, *negative(family), name="bfloat16.png", precision="auto")
    ours = psnr(made, exact)
    theirs = psnr(diffusers_picture(folder, family, torch.bfloat16), diffusers_picture(folder, family))
    figure(f"{family}: PSNR of bfloat16 to float32 {ours:.1f} dB, of diffusers' {theirs:.1f}")
    assert theirs < ours < 99


@pytest.mark.parametrize("family", ["flux", "qwen"])
def test_an_init_image_is_used_as_mflux_uses_it(vivid, draw, figure, tmp_path, family):
    folder = vivid(family)
    begin = tmp_path / "begin.png"
    ramp = np.linspace(0, 255, 90 * 70 * 3).reshape(70, 90, 3).astype(np.uint8)
    Image.fromarray(ramp).save(begin)
    theirs = mflux_picture(folder, image_path=str(begin), image_strength=0.5)
    found = psnr(draw(folder, "--image", begin, "0.5"), theirs)
    figure(f"{family}: PSNR to Python mflux's picture from an init image {found:.1f} dB")
    assert found >= LIMIT


def beside(tmp_path) -> tuple[pathlib.Path, pathlib.Path]:
    """A picture of the size that is drawn, and a mask: white where to paint."""
    picture, mask = tmp_path / "beside.png", tmp_path / "mask.png"
    values = np.random.default_rng(5).integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    Image.fromarray(values).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR).save(picture)
    white = np.zeros((HEIGHT, WIDTH), np.uint8)
    white[20:70, 30:100] = 255
    Image.fromarray(white).save(mask)
    return picture, mask


def test_kontext_looks_at_a_picture_as_in_mflux(vivid, draw, figure, tmp_path):
    folder = vivid("flux")
    picture, _ = beside(tmp_path)
    theirs = mflux_picture(folder, kind=Flux1Kontext, image_path=str(picture))
    made = draw(folder, "--reference", picture, "--guidance", 3.5)
    found, apart = psnr(made, theirs), psnr(made, draw(folder, name="without.png"))
    figure(f"Kontext: PSNR to Python mflux's picture {found:.1f} dB (without the reference: {apart:.1f} dB)")
    assert found >= LIMIT
    assert apart < found - 1  # as it would be equal, were the reference not seen


def test_fill_paints_where_mflux_paints(vivid, draw, figure, tmp_path):
    folder = vivid("fill")
    picture, mask = beside(tmp_path)
    theirs = mflux_picture(folder, kind=Flux1Fill, image_path=str(picture), masked_image_path=str(mask))
    found = psnr(draw(folder, "--reference", picture, "--mask", mask, "--guidance", 3.5), theirs)
    figure(f"Fill: PSNR to Python mflux's picture {found:.1f} dB")
    assert found >= LIMIT


def test_an_edit_is_that_of_diffusers(vivid, draw, figure, tmp_path):
    folder = vivid("edit")
    picture, _ = beside(tmp_path)
    pipeline = qwen_edit.pipeline(folder)
    pipeline.set_progress_bar_config(disable=True)
    image, arguments = Image.open(picture), diffusers_arguments()
    theirs = pipeline(image=[image], negative_prompt=NEGATIVE, true_cfg_scale=3.5, **arguments).images[0]
    other = tmp_path / "other-reference.png"
    image.transpose(Image.Transpose.ROTATE_180).save(other)
    options = ["--negative-prompt", NEGATIVE, "--guidance", 3.5, "--reference"]
    found = psnr(draw(folder, *options, picture), theirs)
    apart = psnr(draw(folder, *options, other, name="other.png"), theirs)
    figure(f"Qwen-Image-Edit: PSNR to diffusers' picture {found:.1f} dB (another reference: {apart:.1f} dB)")
    assert found >= LIMIT
    assert apart < found - 1


@pytest.mark.parametrize("family", ["flux", "qwen"])
def test_a_baked_lora_gives_the_picture_of_the_lora_at_run_time(vivid, sources, program, draw, figure, out, family):
    folder, lora = vivid(family), sources.lora(LORAS[family]).file
    at_run_time = draw(folder, "--lora", lora, "--lora-scale", "8", name="run.png")
    plain = draw(folder, name="plain.png")
    results = []
    for bits in (None, 8):
        target = out / str(bits)
        out.mkdir(exist_ok=True)
        packed = ["--quantize", bits] if bits else []
        program.save(folder, target, "--lora", lora, "--lora-scale", "8", *packed)
        results.append(psnr(draw(target, name=f"baked-{bits}.png"), at_run_time))
    apart = psnr(plain, at_run_time)
    figure(f"{family}: PSNR baked to run time {results[0]:.1f} dB, baked at 8 bits {results[1]:.1f}, no LoRA {apart:.1f}")
    assert results[0] >= LIMIT
    assert results[1] > apart + 3
    assert apart < LIMIT  # the LoRA matters


@pytest.mark.parametrize("bits", [None, 8])
def test_a_change_that_is_no_pair_is_baked_in_memory(vivid, program, draw, tmp_path, bits):
    base = vivid("flux")
    if bits:
        base = program.save(base, tmp_path / "base", "--quantize", bits)
    generator = torch.Generator().manual_seed(3)
    changes = {}
    for name, value in checkpoints.load_component(vivid("flux"), "transformer").items():
        if name.startswith("single_transformer_blocks.") and value.dtype == torch.bfloat16:
            module, kind = name.rsplit(".", 1)
            scale = 0.3 * float(value.float().std() if value.numel() > 1 else 1)
            key = f"transformer.{module}.{'diff' if kind == 'weight' else 'diff_b'}"
            changes[key] = torch.empty(value.shape).normal_(0, scale, generator=generator)
    lora = tmp_path / "diff.safetensors"
    save_file(changes, lora)
    baked = program.save(base, tmp_path / "baked", "--lora", lora)
    at_run_time = draw(base, "--lora", lora, name="run.png")
    assert np.array_equal(pixels(draw(baked, name="baked.png")), pixels(at_run_time))
    assert psnr(draw(base, name="plain.png"), at_run_time) < LIMIT


@pytest.mark.parametrize("family", ["flux", "qwen"])
def test_packed_at_load_and_packed_now_are_the_same_picture(vivid, program, draw, out, family):
    folder = vivid(family)
    out.mkdir()
    program.save(folder, out / "packed", "--quantize", 4)
    program.save(folder, out / "load", "--quantize", 4, "--quantize-at-load")
    packed = draw(out / "packed", name="packed.png")
    assert np.array_equal(pixels(packed), pixels(draw(out / "load", name="load.png")))
    assert psnr(packed, draw(folder, "--quantize", 4, name="now.png")) > 60


@pytest.mark.parametrize("family", ["flux", "qwen"])
def test_less_memory_and_the_recipe_give_the_same_picture(vivid, program, draw, tmp_path, family):
    folder = vivid(family)
    first = draw(folder, name="first.png")
    assert np.array_equal(pixels(first), pixels(draw(folder, "--low-ram", name="low.png")))
    program("generate", "--config-from-metadata", first, "--output", tmp_path / "again.png", "--metadata")
    assert np.array_equal(pixels(first), pixels(tmp_path / "again.png"))
    recipe = json.loads((tmp_path / "again.metadata.json").read_text())
    assert (recipe["prompt"], recipe["seed"], recipe["steps"]) == (PROMPT, SEED, STEPS)
    assert (recipe["height"], recipe["width"]) == (HEIGHT, WIDTH)


@pytest.mark.parametrize("scheduler", ["heun", "dpm++2m"])
def test_other_solvers_come_to_the_same_picture(vivid, draw, scheduler):
    folder = vivid("qwen")
    fine = draw(folder, steps=48, name="fine.png")
    coarse = draw(folder, steps=6, name="coarse.png")
    found = draw(folder, "--scheduler", scheduler, steps=48, name="other.png")
    assert not np.array_equal(pixels(found), pixels(fine))
    assert psnr(found, fine) > psnr(coarse, fine) + 3


def test_one_step_is_no_black_picture(vivid, draw):
    picture = pixels(draw(vivid("qwen"), steps=1))
    assert picture.std() > 10


def test_seeds_previews_and_taken_names(vivid, program, tmp_path):
    size = ["--height", 64, "--width", 64, "--steps", 2, "--prompt", PROMPT]
    path = tmp_path / "a.png"
    program("generate", "--model", vivid("qwen"), *size, "--seed", 1, 2, "--output", path, "--stepwise", tmp_path / "steps")
    assert sorted(p.name for p in tmp_path.glob("*.png")) == ["a_seed_1.png", "a_seed_2.png"]
    assert len(list((tmp_path / "steps").glob("*.png"))) == 4
    program("generate", "--model", vivid("qwen"), *size, "--seed", 1, "--output", tmp_path / "a_seed_1.png")
    again = tmp_path / "a_seed_1_1.png"
    assert np.array_equal(pixels(again), pixels(tmp_path / "a_seed_1.png"))


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--height", "100"], 2, "nearest is 96"),
        (["--width", "0"], 2, "multiple of 16"),
        (["--width", "1000000"], 2, "multiple of 16"),
        (["--steps", "0"], 2, "0 steps"),
        (["--steps", "-3"], 2, "-3 steps"),
        (["--scheduler", "ddim"], 2, "ddim"),
        (["--cpu-precision", "half"], 2, "half"),
        (["--output", "picture.jpg"], 2, ".png"),
        (["--output", "no/such/folder/a.png"], 1, "no such folder"),
        (["--image", "missing.png"], 1, "missing.png"),
        (["--lora", "missing.safetensors"], 1, "missing.safetensors"),
        (["--base-model", "dev"], 2, "Qwen-Image"),
        (["--reference", "missing.png"], 1, "missing.png"),
    ],
)
def test_what_makes_no_sense_is_refused(vivid, program, tmp_path, arguments, status, words):
    path = tmp_path / "never.png"
    default = [] if "--output" in arguments else ["--output", path]
    done = program(
        "generate", "--model", vivid("qwen"), "--prompt", PROMPT, "--seed", 1, *default, *arguments, expect=status
    )
    assert words in done.stderr
    assert not path.exists()


def test_the_qwen_name_refuses_flux(vivid, program, tmp_path):
    other = type(program)(program.path.with_name("mflux-generate-qwen"))
    other("--model", vivid("flux"), "--prompt", PROMPT, "--output", tmp_path / "a.png", expect=2)


def broken(folder: pathlib.Path, to: pathlib.Path, change) -> pathlib.Path:
    """A copy of a model, changed."""
    for file in folder.rglob("*"):
        if file.is_file():
            target = to / file.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    change(to)
    return to


def plant_nan(folder: pathlib.Path) -> None:
    for file in (folder / "transformer").glob("*.safetensors"):
        tensors = load_file(file)
        if "proj_out.bias" in tensors:
            tensors["proj_out.bias"][0] = float("nan")
            save_file(tensors, file, {"format": "pt"})


def remove(*names: str):
    def change(folder: pathlib.Path) -> None:
        for name in names:
            for file in (folder / name).glob("*"):
                file.unlink()
            (folder / name).rmdir()

    return change


def remove_tensor(folder: pathlib.Path) -> None:
    for file in (folder / "vae").glob("*.safetensors"):
        tensors = load_file(file)
        tensors.pop("decoder.conv_in.bias")
        save_file(tensors, file, {"format": "pt"})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (plant_nan, "step 1 of 4"),
        (remove("text_encoder"), "text_encoder"),
        (remove("vae"), "vae"),
        (remove("tokenizer"), "tokenizer"),
        (remove_tensor, "decoder.conv_in.bias"),
    ],
)
def test_a_damaged_model_makes_no_picture(vivid, program, tmp_path, change, words):
    model = broken(vivid("qwen"), tmp_path / "model", change)
    path = tmp_path / "never.png"
    size = ["--height", 64, "--width", 64, "--steps", 4]
    done = program("generate", "--model", model, "--prompt", PROMPT, *size, "--output", path, expect=1)
    assert words in done.stderr
    assert not path.exists()

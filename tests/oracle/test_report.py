# SPDX-License-Identifier: MIT
"""`mflux report`: its PSNR and SSIM against numpy's, and its page in a browser as people have it."""

import json

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

import browser
from pictures import psnr

SIZE = (160, 112)  # width, height
PROMPT = 'a red fox, "soft" <b>light</b> & snow'


def ssim(a, b) -> float:
    """Wang et al. 2004, with the two-dimensional window as written there; a luma in float64."""
    x, y = (image.astype(np.float64) @ [0.299, 0.587, 0.114] for image in (a, b))
    steps = np.arange(11) - 5
    window = np.exp(-(steps[:, None] ** 2 + steps[None, :] ** 2) / (2 * 1.5**2))
    window /= window.sum()

    def mean(values):
        return np.einsum("ijkl,kl->ij", np.lib.stride_tricks.sliding_window_view(values, (11, 11)), window)

    mx, my = mean(x), mean(y)
    vx, vy, covariance = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return np.mean((2 * mx * my + c1) * (2 * covariance + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))


def picture(seed: int) -> np.ndarray:
    """Soft shapes and some noise, as in a photograph."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0 : SIZE[1], 0 : SIZE[0]] / SIZE[0]
    image = np.stack([120 + 90 * np.sin(f * x + g * y + p) for f, g, p in random.uniform(1, 12, (3, 3))], axis=-1)
    return np.clip(image + random.normal(0, 4, image.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def shots(work):
    """COLUMN/NAME.png, and the same as arrays."""
    random = np.random.default_rng(9)
    arrays = {column: {} for column in ("base", "lora", "baked-8", "baked-4")}
    for seed, name in enumerate(("fox", "harbour at dusk", "portrait")):
        base = picture(seed)
        lora = np.clip(base * 0.8 + 20.0, 0, 255).astype(np.uint8)
        arrays["base"][name], arrays["lora"][name] = base, lora
        arrays["baked-8"][name] = lora if seed == 2 else np.clip(lora + random.normal(0, 2, lora.shape), 0, 255)
        arrays["baked-4"][name] = np.roll(lora, 2, axis=1)
    for column, pictures in arrays.items():
        (work / "shots" / column).mkdir(parents=True)
        for name, values in pictures.items():
            text = PngImagePlugin.PngInfo()
            text.add_itxt("mflux", json.dumps({"prompt": PROMPT, "seed": 42, "steps": 20}))
            pictures[name] = values.astype(np.uint8)
            Image.fromarray(pictures[name]).save(work / "shots" / column / f"{name}.png", pnginfo=text)
    return work / "shots", arrays


@pytest.fixture(scope="module")
def report(program, sources, work, shots):
    """The page, and its facts."""
    lora = sources.lora("flux-pipeline").file
    folder = program.save(sources.model("flux"), work / "reported", "-q", 4, "--lora", lora)
    arguments = ["--images", shots[0], "--columns", "base,lora,baked-8,baked-4", "--reference", "lora", "--json"]
    facts = json.loads(program("report", folder, *arguments).stdout)
    return work / "reported-report.html", facts, folder


def test_psnr_and_ssim_are_those_of_numpy(report, shots, figure):
    _, facts, _ = report
    worst = {"psnr_db": 0.0, "ssim": 0.0}
    for column in facts["pictures"]:
        for found in column["pictures"]:
            ours, reference = (shots[1][name][found["name"]] for name in (column["column"], "lora"))
            if column["reference"]:
                assert "ssim" not in found
            elif np.array_equal(ours, reference):
                assert found["psnr_db"] is None and found["ssim"] == pytest.approx(1, abs=1e-12)
            else:
                for key, function in (("psnr_db", psnr), ("ssim", ssim)):
                    worst[key] = max(worst[key], abs(found[key] - function(ours, reference)))
    assert worst["psnr_db"] < 1e-9 and worst["ssim"] < 1e-9
    figure(f"report: PSNR and SSIM unlike numpy's by at most {worst['psnr_db']:.1e} dB, {worst['ssim']:.1e}")


def test_means_are_over_the_pictures_of_a_column(report):
    _, facts, _ = report
    assert [column["column"] for column in facts["pictures"]] == ["base", "lora", "baked-8", "baked-4"]
    for column in facts["pictures"]:
        if column["reference"]:
            continue
        noise = [one["psnr_db"] for one in column["pictures"] if one["psnr_db"] is not None]
        assert column["equal"] == 3 - len(noise) == (1 if column["column"] == "baked-8" else 0)
        assert column["mean_psnr_db"] == pytest.approx(np.mean(noise))
        assert column["mean_ssim"] == pytest.approx(np.mean([one["ssim"] for one in column["pictures"]]))


def test_the_facts_are_those_of_receipt_and_files(report):
    _, facts, folder = report
    receipt = json.loads((folder / "bake.json").read_text())
    shares = [share for tensor in receipt["baked"] for share in tensor["kept"].values() if share is not None]
    assert facts["baked"] == len(receipt["baked"])
    assert facts["mean_kept"] == pytest.approx(np.mean(shares))
    errors = [one["relative_error"] for one in receipt["baked"] if one["relative_error"] is not None]
    assert len(errors) >= len(receipt["baked"]) - 2 and facts["mean_relative_error"] == pytest.approx(np.mean(errors))
    assert facts["loras"][0]["kept"] == receipt["loras"][0]["kept"]
    for size in facts["sizes"]:
        files = [file.stat().st_size for file in (folder / size["component"]).glob("*.safetensors")]
        assert size["after"] == sum(files)


@pytest.fixture(scope="module")
def chromium():
    if browser.missing():
        pytest.skip(f"the page is not looked at: {browser.missing()}")
    with browser.Browser() as opened:
        yield opened


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_the_whole_page(chromium, report, figure, width, dark):
    page, facts, folder = report
    chromium.open(page, width, dark)
    assert chromium.console() == []
    assert chromium.run("return document.querySelector('.verdict p').textContent") == facts["verdict"]
    assert chromium.run("return document.documentElement.scrollWidth") <= width
    outside = """
        return [...document.querySelectorAll('main *')].filter(element =>
            element.getBoundingClientRect().right > innerWidth + 0.5 && !element.closest('.scroll'))
            .map(element => element.outerHTML.slice(0, 99))"""
    assert chromium.run(outside) == []
    lightness = "return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"
    assert (max(chromium.run(lightness)) < 60) == dark
    sizes = "return [...document.images].map(one => [one.complete, one.naturalWidth, one.naturalHeight])"
    loaded = chromium.run(sizes)
    assert loaded.count([True, *SIZE]) == 12 + 9 and len(loaded) == 21  # and their differences, as small as they are
    dots = "return document.querySelectorAll('.plot circle title').length"
    baked = json.loads((folder / "bake.json").read_text())["baked"]
    assert chromium.run(dots) == len(baked) + sum(tensor["relative_error"] is not None for tensor in baked)
    cells = "return document.querySelectorAll('.bits rect title').length"
    assert chromium.run(cells) == sum(facts["stored"].values())


def test_nothing_is_fetched_and_text_stays_text(chromium, report):
    page, _, _ = report
    chromium.open(page, 1280)
    assert chromium.run("return performance.getEntriesByType('resource').map(one => one.name.slice(0, 5))") in (
        [],
        ["data:"] * 21,
    )
    assert chromium.run("return document.scripts.length") == 0
    captions = chromium.run("return [...document.querySelectorAll('blockquote')].map(one => one.textContent)")
    assert captions == [f"{PROMPT} · seed 42, 20 steps"] * 3


def test_a_picture_is_enlarged_without_a_script(chromium, report):
    page, _, _ = report
    chromium.open(page, 1280)
    width = "return document.querySelector('.pictures label img').getBoundingClientRect().width"
    before = chromium.run(width)
    chromium.run("document.querySelector('.pictures label').click()")
    assert chromium.run(width) == 1280 > 3 * before
    chromium.run("document.querySelector('.pictures label').click()")
    assert chromium.run(width) == before

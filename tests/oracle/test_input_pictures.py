# SPDX-License-Identifier: MIT
"""Pictures that people send, against what Python's mflux sees in them."""

import subprocess

import input_pictures
import numpy as np
import pytest
from conftest import REPOSITORY
from mflux.utils.image_util import ImageUtil
from PIL import Image

PROBE = REPOSITORY / "build" / "picture_probe"


def read(files, transparency: str) -> list[str]:
    done = subprocess.run([PROBE, transparency, *files], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def large_pictures() -> dict[str, bytes]:
    """Of many blocks and chunks, by Pillow's own encoders."""
    values = np.random.default_rng(3).integers(0, 256, (19, 23, 4), dtype=np.uint8)
    rough = Image.fromarray(values).resize((301, 203), Image.Resampling.BICUBIC)
    plain, saved = rough.convert("RGB"), input_pictures.saved
    made = {f"subsampled{s}.jpg": saved(plain, "JPEG", quality=60 + 15 * s, subsampling=s) for s in range(3)}
    made["progressive.jpg"] = saved(plain, "JPEG", progressive=True)
    made["mpo.jpg"] = saved(plain, "MPO", save_all=True, append_images=[plain.rotate(90)])
    made["lossy.webp"] = saved(rough, "WEBP", quality=70)
    frames = dict(save_all=True, append_images=[rough.rotate(20), plain])
    for name, kind in (("animated.webp", "WEBP"), ("animated.gif", "GIF"), ("animated.png", "PNG")):
        made[name] = saved(rough, kind, **frames)
    made["default.png"] = saved(plain, "PNG", default_image=True, **frames)
    made["quantized.png"] = saved(rough.quantize(64), "PNG")
    made["gray.png"] = saved(rough.convert("LA"), "PNG")
    for name, compression in (("jpeg", "jpeg"), ("lzw", "tiff_lzw"), ("deflate", "tiff_adobe_deflate")):
        made[f"{name}.tif"] = saved(plain, "TIFF", compression=compression)
    made["inks.tif"] = saved(plain.convert("CMYK"), "TIFF", compression="jpeg")
    return made


@pytest.mark.parametrize("transparency", ["on_white", "dropped"])
@pytest.mark.parametrize("make", [input_pictures.pictures, large_pictures])
def test_pictures_are_those_that_mflux_sees(tmp_path, make, transparency):
    files = []
    for name, content in make().items():
        files.append(tmp_path / name)
        files[-1].write_bytes(content)
    for file, line in zip(files, read(files, transparency), strict=True):
        expected = np.asarray(ImageUtil.load_image(file, composite_alpha=transparency == "on_white"))
        height, width = expected.shape[:2]
        assert line == f"{width} {height} {expected.tobytes().hex()}", file.name


def test_what_pillow_finds_damaged_is_refused(tmp_path):
    files = []
    for name, content in large_pictures().items():
        files.append(tmp_path / name)
        files[-1].write_bytes(content[: len(content) // 8])
        with pytest.raises((OSError, SyntaxError)):
            ImageUtil.load_image(files[-1])
    assert all(line.startswith(f"error: {file}: ") for file, line in zip(files, read(files, "on_white"), strict=True))

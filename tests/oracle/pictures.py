# SPDX-License-Identifier: MIT
"""How far two pictures are apart."""

import numpy as np
from PIL import Image


def pixels(picture) -> np.ndarray:
    """[height, width, 3] from 0 to 255, of an array like that, an image or a file."""
    if isinstance(picture, np.ndarray):
        return picture.astype(np.float64)
    image = picture if isinstance(picture, Image.Image) else Image.open(picture)
    return np.asarray(image.convert("RGB"), np.float64)


def psnr(found, expected) -> float:
    """dB; 99 of equal ones."""
    found, expected = pixels(found), pixels(expected)
    assert found.shape == expected.shape
    error = float(np.mean((found - expected) ** 2))
    return 99.0 if error == 0 else float(10 * np.log10(255**2 / error))

# SPDX-License-Identifier: MIT
"""The README's pictures, from what `make demo` drew: sheet.py build/demo/pictures/flux docs/pictures/demo-flux.png"""

import pathlib
import sys

from PIL import Image, ImageDraw, ImageFont

COLUMNS = {
    "base": "the model",
    "lora-at-run-time": "with its LoRA",
    "baked-8-bits": "baked, 8 bits",
    "baked-4-bits": "baked, 4 bits",
}
SIDE, GAP, HEAD = 160, 8, 26


def main() -> None:
    source, target = map(pathlib.Path, sys.argv[1:])
    rows = sorted(file.name for file in (source / "base").glob("*.png"))
    size = (len(COLUMNS) * (SIDE + GAP) - GAP, HEAD + len(rows) * (SIDE + GAP) - GAP)
    sheet = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=15)
    for column, (folder, title) in enumerate(COLUMNS.items()):
        left = column * (SIDE + GAP)
        pen.text((left + SIDE / 2, HEAD / 2), title, "black", font=font, anchor="mm")
        for row, name in enumerate(rows):
            picture = Image.open(source / folder / name).convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
            sheet.paste(picture, (left, HEAD + row * (SIDE + GAP)))
    target.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(target, optimize=True)


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: MIT
"""Small pictures of every kind that people send, and the pixels that Python's mflux sees in them.

python input_pictures.py FOLDER writes them and expected.txt: name, "on_white" or "dropped" (what is done about
transparency; only where that differs), width, height, red, green and blue in hexadecimal. tests/data/pictures was made
so, with Pillow 13.0.0.
"""

import ctypes
import ctypes.util
import io
import pathlib
import struct
import sys
import zlib

import numpy as np
from PIL import Image, ImageOps

WIDTH, HEIGHT = 9, 7
ORIENTATION = 0x0112


def colors(channels: int = 3, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, channels), dtype=np.uint8)


def smooth() -> Image.Image:
    """Of which lossy formats keep something."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return Image.fromarray(np.stack([x * 28, y * 40, 255 - x * 14 - y * 18], -1).astype(np.uint8))


def alphas() -> np.ndarray:
    """0 and 255 among others."""
    return np.linspace(0, 255, WIDTH * HEIGHT).astype(np.uint8).reshape(HEIGHT, WIDTH)


def rgba() -> Image.Image:
    return Image.fromarray(np.dstack([colors(), alphas()]))


def saved(image: Image.Image, kind: str, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def exif(orientation: int, order: str = "<") -> bytes:
    mark = b"II*\0" if order == "<" else b"MM\0*"
    entry = struct.pack(order + "HHIHH", ORIENTATION, 3, 1, orientation, 0)
    return mark + struct.pack(order + "IH", 8, 1) + entry + struct.pack(order + "I", 0)


def xmp(orientation: int) -> str:
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="{orientation}"/></x:xmpmeta>'


# PNG


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def packed_rows(samples: np.ndarray, bits: int) -> bytes:
    """Rows of [height, width, channels], each after the filter type 0."""
    rows = samples.reshape(samples.shape[0], -1)
    if bits == 16:
        return b"".join(b"\0" + row.astype(">u2").tobytes() for row in rows)
    flat = ((rows[..., None] >> np.arange(bits - 1, -1, -1)) & 1).astype(np.uint8).reshape(len(rows), -1)
    return b"".join(b"\0" + np.packbits(row).tobytes() for row in flat)


def png(samples: np.ndarray, color: int, bits: int = 8, *chunks: bytes, interlaced: bool = False) -> bytes:
    height, width = samples.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, int(interlaced))
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    parts = [samples[y::dy, x::dx] for y, x, dy, dx in passes] if interlaced else [samples]
    data = b"".join(packed_rows(part, bits) for part in parts if part.size)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + b"".join(chunks)
        + chunk(b"IDAT", zlib.compress(data, 9))
        + chunk(b"IEND", b"")
    )


def numbers(most: int, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(most).integers(0, most, (HEIGHT, WIDTH, channels))


def palette(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, 3), dtype=np.uint8)


def pngs():
    yield "rgb.png", png(colors(), 2)
    yield "rgba.png", png(np.asarray(rgba()), 6)
    yield "interlaced.png", png(np.asarray(rgba()), 6, interlaced=True)
    yield "gray-alpha.png", png(np.dstack([colors(1), alphas()]), 4)
    for bits in (1, 2, 4, 8, 16):
        yield f"gray{bits}.png", png(numbers(1 << bits), 0, bits)
    yield "gray8-transparent.png", png(numbers(256), 0, 8, chunk(b"tRNS", struct.pack(">H", int(numbers(256)[0, 0, 0]))))
    yield "gray1-transparent.png", png(numbers(2), 0, 1, chunk(b"tRNS", struct.pack(">H", 0)))
    yield "dark16.png", png(numbers(400), 0, 16)  # around the value at which they are cut
    yield "rgb16.png", png(numbers(65536, 3), 2, 16)
    yield "rgba16.png", png(numbers(65536, 4), 6, 16)
    yield "gray-alpha16.png", png(numbers(65536, 2), 4, 16)
    key = colors()[3, 4]
    yield "rgb-transparent.png", png(colors(), 2, 8, chunk(b"tRNS", struct.pack(">HHH", *map(int, key))))
    for bits in (1, 2, 4, 8):
        entries = chunk(b"PLTE", palette(1 << bits).tobytes()[: 3 * 40])
        indices = numbers(min(1 << bits, 40))
        yield f"palette{bits}.png", png(indices, 3, bits, entries)
        yield f"palette{bits}-transparent.png", png(indices, 3, bits, entries, chunk(b"tRNS", bytes([0, 128])))
    yield "interlaced-palette.png", png(
        numbers(16), 3, 4, chunk(b"PLTE", palette(16).tobytes()), chunk(b"tRNS", b"\xff\0"), interlaced=True
    )
    yield "gamma.png", png(colors(), 2, 8, chunk(b"gAMA", struct.pack(">I", 100000)))
    for orientation in range(1, 9):
        yield f"exif{orientation}.png", png(colors(), 2, 8, chunk(b"eXIf", exif(orientation, "<>"[orientation % 2])))
    yield "exif6-transparent.png", png(np.asarray(rgba()), 6, 8, chunk(b"eXIf", exif(6)))
    yield "exif9.png", png(colors(), 2, 8, chunk(b"eXIf", exif(9)))
    text = b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(8).encode()
    yield "xmp8.png", png(colors(), 2, 8, chunk(b"iTXt", text))
    yield "xmp3-after-exif6.png", png(colors(), 2, 8, chunk(b"eXIf", exif(6)), chunk(b"iTXt", text))
    block = b"Exif\0\0" + exif(5)
    profile = f"\nexif\n{len(block):8}\n{block.hex()}\n".encode()
    yield "profile5.png", png(colors(), 2, 8, chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(profile)))


# JPEG


def with_segment(jpeg: bytes, data: bytes, at: int = 2) -> bytes:
    return jpeg[:at] + struct.pack(">BBH", 0xFF, 0xE1, len(data) + 2) + data + jpeg[at:]


def ycck() -> bytes:
    """Four inks of which three are stored as brightness and colour: TurboJPEG's own choice for CMYK."""
    library = ctypes.CDLL(ctypes.util.find_library("turbojpeg"))
    library.tjInitCompress.restype = ctypes.c_void_p
    pixels = np.ascontiguousarray(255 - np.dstack([np.asarray(smooth()), alphas() // 3]))
    out, size = ctypes.c_void_p(), ctypes.c_ulong()
    handle = ctypes.c_void_p(library.tjInitCompress())
    result = library.tjCompress2(
        handle, pixels.ctypes.data_as(ctypes.c_void_p), WIDTH, 0, HEIGHT, 11, ctypes.byref(out), ctypes.byref(size), 0, 90, 0
    )
    assert result == 0
    return ctypes.string_at(out, size.value)


def jpegs():
    plain = saved(smooth(), "JPEG", quality=60)
    yield "color.jpg", plain
    yield "gray.jpg", saved(smooth().convert("L"), "JPEG")
    yield "progressive.jpg", saved(smooth(), "JPEG", progressive=True, subsampling=0)
    inks = np.dstack([np.asarray(smooth()), alphas() // 3])
    yield "cmyk.jpg", saved(Image.fromarray(inks, "CMYK"), "JPEG")
    yield "ycck.jpg", ycck()
    yield "exif6.jpg", with_segment(plain, b"Exif\0\0" + exif(6, ">"))
    yield "exif3-after-jfif.jpg", with_segment(plain, b"Exif\0\0" + exif(3), at=20)
    yield "xmp5.jpg", with_segment(plain, b"http://ns.adobe.com/xap/1.0/\0" + xmp(5).encode())


# WebP


def webps():
    yield "lossless.webp", saved(Image.fromarray(colors()), "WEBP", lossless=True)
    yield "lossless-alpha.webp", saved(rgba(), "WEBP", lossless=True, exact=True)
    yield "lossy.webp", saved(smooth(), "WEBP", quality=80)
    lossy = smooth()
    lossy.putalpha(Image.fromarray(alphas()))
    yield "lossy-alpha.webp", saved(lossy, "WEBP", quality=80)
    yield "exif7.webp", saved(Image.fromarray(colors()), "WEBP", lossless=True, exif=exif(7))
    yield "xmp2.webp", saved(Image.fromarray(colors()), "WEBP", lossless=True, xmp=xmp(2).encode())
    frames = [Image.fromarray(colors(seed=seed)) for seed in (5, 6)]
    yield "animated.webp", saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)


# GIF


def indexed(transparency: bool) -> tuple[Image.Image, dict]:
    image = Image.fromarray(numbers(16)[..., 0].astype(np.uint8), "P")
    image.putpalette(palette(16).tobytes())
    return image, dict(transparency=int(numbers(16)[0, 0, 0])) if transparency else {}


def gif_with_frame_inside(transparent: bool) -> bytes:
    """A frame that covers a part of its canvas."""
    image, _ = indexed(False)
    whole = saved(image.crop((0, 0, 4, 3)), "GIF", interlace=0)
    table = 13 + 3 * (2 << (whole[10] & 7))
    frame = whole.index(b",", table)
    control = b"!\xf9\4" + bytes([1, 0, 0, 2, 0]) if transparent else b""
    head = whole[:6] + struct.pack("<HH", WIDTH, HEIGHT) + whole[10:table]
    return head + control + whole[frame : frame + 1] + struct.pack("<HH", 3, 2) + whole[frame + 5 :]


def gifs():
    for name, transparent in (("palette", False), ("transparent", True)):
        image, options = indexed(transparent)
        yield f"{name}.gif", saved(image, "GIF", interlace=0, **options)
        yield f"{name}-interlaced.gif", saved(image, "GIF", interlace=1, **options)
    yield "inside.gif", gif_with_frame_inside(False)
    yield "inside-transparent.gif", gif_with_frame_inside(True)
    first, _ = indexed(False)
    yield "animated.gif", saved(first, "GIF", save_all=True, append_images=[first.rotate(180)])
    yield "gray.gif", saved(smooth().convert("L"), "GIF")


# BMP


def bmp(
    rows: list[bytes], bits: int, compression: int = 0, colors_: bytes = b"", masks: tuple = (), size: int = 40, **more
) -> bytes:
    data = b"".join(row + bytes(-len(row) % 4) for row in rows)
    height = more.get("height", HEIGHT)
    count = len(colors_) // 4
    header = struct.pack("<IiiHHIIiiII", size, WIDTH, height, 1, bits, compression, len(data), 0, 0, count, 0)
    header += struct.pack(f"<{len(masks)}I", *masks)
    if size > 40:
        header = header.ljust(size, b"\0")
    header += colors_
    return struct.pack("<2sIHHI", b"BM", 14 + len(header) + len(data), 0, 0, 14 + len(header)) + header + data


def words(samples: np.ndarray, kind: str) -> list[bytes]:
    return [row.astype(kind).tobytes() for row in samples[::-1, :, 0]]


def bmps():
    table = np.dstack([palette(16)[:, ::-1].reshape(1, 16, 3), np.zeros((1, 16, 1), np.uint8)]).tobytes()
    nibbles = [np.packbits(((row[:, None] >> np.arange(3, -1, -1)) & 1).astype(np.uint8).ravel()).tobytes() for row in numbers(16)[::-1, :, 0]]
    yield "rgb.bmp", saved(Image.fromarray(colors()), "BMP")
    yield "bilevel.bmp", saved(Image.fromarray(colors()).convert("1"), "BMP")
    yield "gray.bmp", saved(Image.fromarray(colors()).convert("L"), "BMP")
    yield "palette4.bmp", bmp(nibbles, 4, 0, table)
    yield "palette8.bmp", bmp(words(numbers(16), "u1"), 8, 0, table)
    yield "from-top.bmp", bmp(words(numbers(16)[::-1], "u1"), 8, 0, table, height=-HEIGHT)
    yield "bits16.bmp", bmp(words(numbers(65536), "<u2"), 16)
    yield "masks565.bmp", bmp(words(numbers(65536), "<u2"), 16, 3, masks=(0xF800, 0x7E0, 0x1F))
    yield "masks555.bmp", bmp(words(numbers(65536), "<u2"), 16, 3, masks=(0x7C00, 0x3E0, 0x1F))
    wide = rgba()
    four = [row[:, [2, 1, 0, 3]].tobytes() for row in np.asarray(wide)[::-1]]
    yield "bits32.bmp", bmp(four, 32)
    yield "masks32.bmp", bmp(four, 32, 3, masks=(0xFF0000, 0xFF00, 0xFF))
    yield "version5-alpha.bmp", bmp(four, 32, 3, masks=(0xFF0000, 0xFF00, 0xFF, 0xFF000000), size=124)
    rows = bytes([9, 11, 0, 0, 9, 4, 0, 0, 9, 1, 0, 0])
    runs = bytes([4, 3, 5, 7, 0, 0, 0, 3, 1, 2, 3, 0, 6, 9, 0, 0, 0, 2, 2, 1, 7, 5, 0, 0, 9, 6, 0, 0]) + rows + b"\0\1"
    yield "runs8.bmp", bmp([runs], 8, 1, table)
    rows = bytes([9, 0x12, 0, 0, 9, 0xBA, 0, 0, 9, 0xFE, 0, 0])
    runs = bytes([0, 5, 0x34, 0x56, 0x70, 0, 4, 0x89, 0, 0, 9, 0xAB, 0, 0, 5, 0xCD, 0, 2, 1, 1, 3, 0xEF, 0, 0, 9, 1, 0, 0]) + rows + b"\0\1"
    yield "runs4.bmp", bmp([runs], 4, 2, table)
    old = struct.pack("<IHHHH", 12, WIDTH, HEIGHT, 1, 24)
    data = b"".join(row[:, ::-1].tobytes() + bytes(-3 * WIDTH % 4) for row in colors()[::-1])
    yield "os2.bmp", struct.pack("<2sIHHI", b"BM", 26 + len(data), 0, 0, 26) + old + data


# TIFF


def tiff(order: str, entries: dict[int, tuple[str, list[int]]], data: list[bytes], offsets_tag: int = 273) -> bytes:
    """Uncompressed; a strip, plane or tile for each of `data`."""
    counts_tag = {273: 279, 324: 325}[offsets_tag]
    begin = 8
    offsets = []
    for part in data:
        offsets.append(begin)
        begin += len(part) + len(part) % 2
    entries = entries | {offsets_tag: ("I", offsets), counts_tag: ("I", [len(part) for part in data])}
    after = begin + 2 + 12 * len(entries) + 4
    directory, rest = struct.pack(order + "H", len(entries)), b""
    for tag, (kind, values) in sorted(entries.items()):
        packed = struct.pack(f"{order}{len(values)}{kind}", *values)
        if len(packed) > 4:
            place = struct.pack(order + "I", after + len(rest))
            rest += packed + bytes(len(packed) % 2)
        else:
            place = packed.ljust(4, b"\0")
        types = {"H": 3, "I": 4}
        directory += struct.pack(order + "HHI", tag, types[kind], len(values)) + place
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", begin)
    return head + b"".join(part + bytes(len(part) % 2) for part in data) + directory + struct.pack(order + "I", 0) + rest


def layout(photometric: int, bits: list[int], **more) -> dict:
    tags = dict(extra=338, format=339, planar=284, tile_width=322, tile_length=323, orientation=274, colors=320)
    entries = {256: [WIDTH], 257: [HEIGHT], 258: bits, 259: [1], 262: [photometric], 277: [len(bits)]}
    entries |= {tags[name]: value for name, value in more.items()}
    return {tag: ("H", value) for tag, value in entries.items()}


def tiffs():
    plain = Image.fromarray(colors())
    for kind in ("tiff_lzw", "tiff_adobe_deflate", "packbits"):
        yield f"{kind}.tif", saved(plain, "TIFF", compression=kind)
    yield "group4.tif", saved(plain.convert("1"), "TIFF", compression="group4")
    yield "jpeg.tif", saved(smooth(), "TIFF", compression="jpeg")
    yield "palette.tif", saved(indexed(False)[0], "TIFF")
    yield "predictor.tif", saved(plain, "TIFF", compression="tiff_lzw", tiffinfo={317: 2})
    for order, mark in (("<", "little"), (">", "big")):
        wide = order + "u2"
        yield f"rgb16-{mark}.tif", tiff(order, layout(2, [16] * 3), [numbers(65536, 3).astype(wide).tobytes()])
        yield f"gray16-{mark}.tif", tiff(order, layout(1, [16]), [numbers(400).astype(wide).tobytes()])
    floats = (numbers(400).astype("<f4") - 50.5).tobytes()
    yield "float.tif", tiff("<", layout(1, [32], format=[3]), [floats])
    yield "signed16.tif", tiff("<", layout(1, [16], format=[2]), [(numbers(400) - 50).astype("<i2").tobytes()])
    nibbles = b"".join(row[1:] for row in [packed_rows(numbers(16)[y : y + 1], 4) for y in range(HEIGHT)])
    yield "gray4.tif", tiff("<", layout(1, [4]), [nibbles])
    yield "white0.tif", tiff("<", layout(0, [8]), [numbers(256).astype("u1").tobytes()])
    four = np.asarray(rgba())
    yield "alpha.tif", tiff("<", layout(2, [8] * 4, extra=[2]), [four.tobytes()])
    yield "extra.tif", tiff("<", layout(2, [8] * 4, extra=[0]), [four.tobytes()])
    multiplied = np.dstack([four[..., :3].astype(int) * four[..., 3:] // 255, four[..., 3]]).astype(np.uint8)
    yield "multiplied.tif", tiff("<", layout(2, [8] * 4, extra=[1]), [multiplied.tobytes()])
    yield "gray-alpha.tif", tiff("<", layout(1, [8] * 2, extra=[2]), [four[..., 2:].tobytes()])
    yield "cmyk.tif", tiff("<", layout(5, [8] * 4), [colors(4).tobytes()])
    yield "cmyk16.tif", tiff("<", layout(5, [16] * 4), [numbers(65536, 4).astype("<u2").tobytes()])
    planes = [np.ascontiguousarray(colors()[..., c]).tobytes() for c in range(3)]
    yield "planes.tif", tiff("<", layout(2, [8] * 3, planar=[2]), planes)
    padded = np.zeros((16, 16, 3), np.uint8)
    padded[:HEIGHT, :WIDTH] = colors()
    yield "tile.tif", tiff("<", layout(2, [8] * 3, tile_width=[16], tile_length=[16]), [padded.tobytes()], 324)
    for orientation in (4, 6):
        entries = layout(2, [8] * 3, orientation=[orientation])
        yield f"orientation{orientation}.tif", tiff(">", entries, [colors().tobytes()])
    second = [Image.fromarray(colors(seed=7))]
    yield "pages.tif", saved(plain, "TIFF", save_all=True, append_images=second, compression="tiff_lzw")


def pictures() -> dict[str, bytes]:
    made = {}
    for kind in (pngs, jpegs, webps, gifs, bmps, tiffs):
        made |= kind()
    return made


def seen_by_mflux(path, on_white: bool) -> np.ndarray:
    """[height, width, 3], as mflux 0.24.0's ImageUtil.load_image."""
    image = ImageOps.exif_transpose(Image.open(path))
    if on_white and image.has_transparency_data:
        image = image.convert("LA") if image.mode == "La" else image
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return np.asarray(image.convert("RGB"))


def main(folder: pathlib.Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for name, content in pictures().items():
        (folder / name).write_bytes(content)
        shown = {way: seen_by_mflux(folder / name, way == "on_white") for way in ("on_white", "dropped")}
        for way, pixels in shown.items():
            if way == "dropped" and np.array_equal(pixels, shown["on_white"]):
                continue
            height, width = pixels.shape[:2]
            lines.append(f"{name} {way} {width} {height} {pixels.tobytes().hex()}\n")
    (folder / "expected.txt").write_text("".join(lines))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))

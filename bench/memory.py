# SPDX-License-Identifier: MIT
"""Peak memory of a bake at full size, from sparse files with real headers.

The sources take no room on the disk; the output does: 13 GB (flux) and 22 GB (qwen) at 8 bits, removed afterwards.

    python bench/memory.py --work build/memory
"""

import argparse
import json
import pathlib
import re
import shutil
import sys

import torch
from diffusers import FluxTransformer2DModel, QwenImageTransformer2DModel
from safetensors.torch import save_file

from measure import machine, measure

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "oracle"))

SHARD_BYTES = 10_000_000_000


def transformer_shapes(family: str) -> tuple[dict, dict[str, tuple]]:
    """config.json and the shapes, from diffusers' own class with the real model's numbers."""
    with torch.device("meta"):
        if family == "flux":
            model = FluxTransformer2DModel(guidance_embeds=True)
        else:
            model = QwenImageTransformer2DModel()
    config = {"_class_name": type(model).__name__, **{k: v for k, v in model.config.items() if not k.startswith("_")}}
    return config, {name: tuple(value.shape) for name, value in model.state_dict().items()}


def elements(shape: tuple) -> int:
    count = 1
    for size in shape:
        count *= size
    return count


def write_sparse(file: pathlib.Path, shapes: dict[str, tuple]) -> int:
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in shapes.items():
        size = 2 * elements(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(file, "wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        stream.truncate(8 + len(text) + offset)
    return offset


def write_transformer(folder: pathlib.Path, config: dict, shapes: dict[str, tuple]) -> int:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    shards, size = [{}], 0
    for name, shape in shapes.items():
        if shards[-1] and size + 2 * elements(shape) > SHARD_BYTES:
            shards.append({})
            size = 0
        shards[-1][name] = shape
        size += 2 * elements(shape)
    weight_map, total = {}, 0
    for index, shard in enumerate(shards):
        file = f"diffusion_pytorch_model-{index + 1:05}-of-{len(shards):05}.safetensors"
        total += write_sparse(folder / file, shard)
        weight_map |= {name: file for name in shard}
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    return total


def write_lora(file: pathlib.Path, pattern: str, shapes: dict[str, tuple], rank: int) -> None:
    generator = torch.Generator().manual_seed(1)
    tensors = {}
    for name, shape in shapes.items():
        module = name.removesuffix(".weight")
        if not name.endswith(".weight") or not re.fullmatch(pattern, module):
            continue
        for side, size in (("A", (rank, shape[1])), ("B", (shape[0], rank))):
            value = torch.empty(size).normal_(0.0, 0.02, generator=generator)
            tensors[f"transformer.{module}.lora_{side}.weight"] = value.to(torch.bfloat16)
    save_file(tensors, file, {"format": "pt"})


def run(family: str, arguments) -> None:
    import loras

    work = arguments.work / family
    shutil.rmtree(work, ignore_errors=True)
    config, shapes = transformer_shapes(family)
    total = write_transformer(work / "model" / "transformer", config, shapes)
    lora = work / "lora.safetensors"
    pattern = loras.FLUX_BLOCK_LINEARS if family == "flux" else loras.QWEN_BLOCK_LINEARS
    write_lora(lora, pattern, shapes, rank=16)
    if shutil.disk_usage(work).free < total * (arguments.bits + 0.5) / 16 * 1.1:
        sys.exit(f"{work}: not enough room for the output")
    command = [arguments.program, "save", "--model", work / "model", "--path", work / "out", "-q", arguments.bits]
    measured = measure([*command, "--lora", lora], arguments.work / "log.txt")
    written = sum(file.stat().st_size for file in (work / "out").rglob("*") if file.is_file())
    print(
        f"{family:8} {total / 1e9:7.1f} {written / 1e9:8.1f} {lora.stat().st_size / 1e6:8.0f} {measured.seconds:8.1f} "
        f"{measured.peak_rss / 2**20:9.0f} {measured.peak_anonymous / 2**20:10.0f}",
        flush=True,
    )
    shutil.rmtree(work)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=pathlib.Path, required=True, help="folder on a disk with room for the output")
    parser.add_argument("--program", type=pathlib.Path, default=HERE.parent / "build" / "mflux")
    parser.add_argument("--bits", type=int, default=8)
    parser.add_argument("--family", choices=["flux", "qwen"], action="append")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    print(machine())
    print(f"{'':8} {'GB in':>7} {'GB out':>8} {'LoRA MB':>8} {'seconds':>8} {'peak MiB':>9} {'anonymous':>10}")
    for family in arguments.family or ["flux", "qwen"]:
        run(family, arguments)


if __name__ == "__main__":
    main()

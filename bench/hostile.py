# SPDX-License-Identifier: MIT
"""Files made to be slow or hungry: seconds per MB and bytes per byte of every command that reads them.

Needs nothing but Python. Prints a line per command and file; exits with 1 where a command ends with a signal.

    python3 bench/hostile.py --program build/mflux --model examples/demo/flux --work /dev/shm/hostile --mb 9
"""

import argparse
import itertools
import os
import pathlib
import resource
import shutil
import string
import subprocess
import sys

SECONDS = 120  # of a processor, then a command is killed


def names():
    for length in itertools.count(1):
        yield from map("".join, itertools.product(string.ascii_lowercase, repeat=length))


def entry(name: str, dtype: str, shape: str, begin: int, size: int) -> str:
    return f'"{name}":{{"dtype":"{dtype}","shape":[{shape}],"data_offsets":[{begin},{begin + size}]}}'


def write(file: pathlib.Path, header: str, data: int) -> None:
    text = header.encode()
    with open(file, "wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        stream.truncate(8 + len(text) + data)


def write_tensors(file: pathlib.Path, most: int, kind, count: int) -> None:
    """Entries by kind(short name, number) -> name, dtype, shape, bytes of data; as many as fit, or `count`."""
    entries, length, offset = [], 2, 0
    for number, short in enumerate(names()):
        if length >= most or number == count:
            break
        name, dtype, shape, size = kind(short, number)
        entries.append(entry(name, dtype, shape, offset, size))
        length += len(entries[-1]) + 1
        offset += size
    write(file, "{" + ",".join(entries) + "}", offset)


def padded(part: str, ending: str):
    return lambda short, number: (part * (930 // len(part)) + short + ending, "F32", "1,1", 4)


TENSORS = {
    "short names": lambda short, number: (short, "U8", "0", 0),
    "16 dimensions": lambda short, number: (short, "U8", ",".join(["0"] * 16), 0),
    "9 dimensions": lambda short, number: (short, "U8", ",".join(["0"] * 9), 0),
    "names of 200": lambda short, number: ("x" * 200 + short, "U8", "0", 0),
    "packed": lambda short, number: (f"{number // 3}" + (".weight", ".scales", ".biases")[number % 3],
                                     ("U32", "F16", "F16")[number % 3], ("1,8", "1,1", "1,1")[number % 3],
                                     (32, 2, 2)[number % 3]),
    "pairs": lambda short, number: (f"l{number // 2}.lora_{'AB'[number % 2]}.weight", "F32", "1,1", 4),
    "blocks": lambda short, number: (f"transformer_blocks.{number + 99}.attn.to_q.lora_A.weight", "F32", "1,1", 4),
    "endings": lambda short, number: (f"transformer_blocks.0.attn.to_q.{short}.lora_Q", "F32", "1,1", 4),
    "one module": lambda short, number: (f"transformer_blocks.0.attn.to_q.oft_blocks.{number}", "F32", "1,1,1", 4),
    "adapters": lambda short, number: (f"transformer_blocks.0.attn.to_q.lora_A.{short}.weight", "F32", "1,1", 4),
    "dots": padded("a.", ".lora_Q"),
    "sequences": padded(".layers.0", ".lora_A.weight"),
    "prefixes": padded("base_model.model.", ".lora_Q"),
    "wrappers": padded("module.", ".lora_A.weight"),
}
METADATA = ("software", "lora_adapter_metadata", "ss_network_args", "ss_tag_frequency", "config")


def write_files(folder: pathlib.Path, most: int) -> list[pathlib.Path]:
    for what, kind in TENSORS.items():
        write_tensors(folder / f"{what}.safetensors", most, kind, 10**9)
    for what in ("short names", "16 dimensions"):
        write_tensors(folder / f"{what}, to the limit.safetensors", most, TENSORS[what], 100_000)
    for what in ("pairs", "blocks", "endings", "one module", "adapters"):
        write_tensors(folder / f"{what}, to the limit.safetensors", most, TENSORS[what], 20_000)
    for key in METADATA:
        for what, value in (("lists", "[" * most), ("objects", '{\\"a\\":' * (most // 8)), ("text", "x" * most)):
            pair = [entry(f"transformer_blocks.0.attn.to_q.lora_{'AB'[i]}.weight", "F32", "1,1", 4 * i, 4) for i in (0, 1)]
            header = f'{{"__metadata__":{{"{key}":"{value}"}},{",".join(pair)}}}'
            write(folder / f"{key} of {what}.safetensors", header, 8)
    keys = ",".join(f'"{name}":""' for name in itertools.islice(names(), most // 8))
    write(folder / "metadata keys.safetensors", f'{{"__metadata__":{{{keys}}}}}', 0)
    write(folder / "long name.safetensors", "{" + entry(".layers.0" * (most // 9), "F32", "1", 0, 4) + "}", 4)
    return sorted(folder.glob("*.safetensors"))


def write_indexes(folder: pathlib.Path, most: int) -> list[pathlib.Path]:
    """Folders of one small file and an index that says more."""
    made = []
    for what, pattern in (("one file", '"{0}":"0.safetensors"'), ("many files", '"{0}":"{0}.safetensors"')):
        for limit in (99_999, 10**9):
            place = folder / f"index of {what}{', to the limit' if limit < 10**9 else ''}"
            place.mkdir()
            write_tensors(place / "0.safetensors", most // 2, TENSORS["short names"], 50_000)
            pairs = itertools.islice(names(), min(limit, most // (len(pattern) + 1)))
            text = '{"weight_map":{' + ",".join(pattern.format(name) for name in pairs) + "}}"
            (place / "m.safetensors.index.json").write_text(text)
            (place / "config.json").write_text("{}")
            made.append(place)
    return made


def run(command: list) -> tuple[int, float, int]:
    """Status, seconds of processors, peak bytes."""
    limit = lambda: resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    null = subprocess.DEVNULL
    child = subprocess.Popen([str(part) for part in command], stdout=null, stderr=null, preexec_fn=limit)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return child.returncode, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def size_of(place: pathlib.Path) -> int:
    return sum(f.stat().st_blocks * 512 for f in place.iterdir()) if place.is_dir() else place.stat().st_size


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=pathlib.Path, default="build/mflux")
    parser.add_argument("--model", type=pathlib.Path, default="examples/demo/flux")
    parser.add_argument("--work", type=pathlib.Path, required=True, help="a folder that is made and removed")
    parser.add_argument("--mb", type=float, default=9)
    options = parser.parse_args()
    options.work.mkdir()
    most = int(options.mb * 1e6)
    out = options.work / "out"
    program = options.program
    signals = 0
    try:
        places = write_files(options.work, most) + write_indexes(options.work, most)
        _, _, idle = run([program, "--version"])
        print(f"{'s/MB':>8} {'B/B':>8} status  what")
        for place in places:
            commands = {
                "inspect": ["inspect", place],
                "inspect --json": ["inspect", "--json", place],
                "save --model": ["save", "--model", place, "--path", out],
                "save --lora": ["save", "--model", options.model, "--lora", place, "--path", out],
                "compare": ["compare", place, place],
                "verify": ["verify", place],
            }
            for what, command in commands.items():
                status, seconds, peak = run([program, *command])
                size = size_of(place)
                used = max(0, peak - idle)
                print(f"{seconds / size * 1e6:8.3f} {used / size:8.2f} {status:6}  {what}: {place.name}", flush=True)
                signals += status < 0
    finally:
        shutil.rmtree(options.work)
    return 1 if signals else 0


if __name__ == "__main__":
    sys.exit(main())

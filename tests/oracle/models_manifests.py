# SPDX-License-Identifier: MIT
"""Folds the lists of tensors that Python mflux 0.24.0 saves, and its map of names, for the C++ tests.

usage: models_manifests.py REFERENCE_FOLDER OUTPUT_FOLDER
REFERENCE_FOLDER holds manifest-*.json ({component: {"tensors": {name: [dtype, shape, shard]}}}) and mflux-names.json.
"""

import json
import sys
from pathlib import Path

from models_folded import write


def main():
    reference, output = map(Path, sys.argv[1:])
    for path in sorted(reference.glob("manifest-*.json")):
        manifest = json.loads(path.read_text())
        write(
            output / f"mflux-{path.stem.removeprefix('manifest-')}.txt",
            {
                component: [
                    (name, dtype, shape) for name, (dtype, shape, _) in entry["tensors"].items()
                ]
                for component, entry in manifest.items()
            },
        )
    names = json.loads((reference / "mflux-names.json").read_text())
    with open(output / "mflux-names.txt", "w", encoding="utf-8") as out:
        for family, components in names.items():
            for component, entries in components.items():
                print(f"# {family} {component}", file=out)
                for entry in entries:
                    for name in entry["hf"]:
                        required = "required" if entry["required"] else "optional"
                        print(name, entry["mflux"], entry["transform"] or "-", required, file=out)


main()

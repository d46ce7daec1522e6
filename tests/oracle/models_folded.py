# SPDX-License-Identifier: MIT
"""Lists of tensors, folded over block numbers: one line is one name, dtype and shape.

    # transformer
    transformer_blocks.{0-18}.attn.to_q.weight BF16 3072 3072
"""

import re


def fold(tensors):
    """[(name, dtype, shape)] -> lines; the first number between dots is folded where it can be."""
    groups = {}
    for name, dtype, shape in tensors:
        found = re.search(r"(?<=[a-z]\.)\d+(?=\.)", name)
        number = int(found.group()) if found else None
        pattern = name[: found.start()] + "{}" + name[found.end() :] if found else name
        groups.setdefault((pattern, dtype, tuple(shape)), []).append(number)
    lines = []
    for (pattern, dtype, shape), numbers in groups.items():
        tail = " ".join([dtype, *map(str, shape)])
        for first, last in ranges(numbers):
            span = str(first) if first == last else f"{{{first}-{last}}}"
            lines.append(f"{pattern.replace('{}', span)} {tail}")
    return lines


def ranges(numbers):
    if numbers == [None]:
        return [("", "")]
    spans = []
    for number in sorted(numbers):
        if spans and spans[-1][1] == number - 1:
            spans[-1] = (spans[-1][0], number)
        else:
            spans.append((number, number))
    return spans


def write(path, components):
    with open(path, "w", encoding="utf-8") as out:
        for component, tensors in components.items():
            print(f"# {component}", file=out)
            print(*fold(tensors), sep="\n", file=out)

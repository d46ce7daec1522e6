# SPDX-License-Identifier: MIT
"""Writes mflux/tokenizer/unicode_tables.h: where the Unicode data of `tokenizers` differs from utf8proc's.

    pip install unicodedata2; python tests/oracle/unicode_tables.py    # with utf8proc 2.8, as Debian 12 has it

Each side is asked about every character. unicodedata2 stands for any utf8proc that is newer.
"""

import ctypes
import ctypes.util
import pathlib

import unicodedata2
from tokenizers import Regex, normalizers, pre_tokenizers

HEADER = pathlib.Path(__file__).resolve().parents[2] / "mflux" / "tokenizer" / "unicode_tables.h"
CHARACTERS = [*range(0xD800), *range(0xE000, 0x110000)]
UTF8PROC = ctypes.CDLL(ctypes.util.find_library("utf8proc"))
LOWER = normalizers.Lowercase()
NFC = normalizers.NFC()
# Found by normalizing NO-BREAK SPACE + character with sentencepiece's nmt_nfkc: a mark goes with the space.
EXTEND = {0x897, *range(0x1ACF, 0x1ADE), *range(0x1AE0, 0x1AEC)}


def in_class(expression: str) -> set[int]:
    split = pre_tokenizers.Split(Regex(expression), behavior="removed")
    return {c for c in CHARACTERS if not split.pre_tokenize_str(chr(c))}


def utf8proc_categories(*numbers: int) -> set[int]:
    return {c for c in CHARACTERS if UTF8PROC.utf8proc_category(c) in numbers}


def newest(letter: str) -> set[int]:
    return {c for c in CHARACTERS if unicodedata2.category(chr(c))[0] == letter}


def normalized_otherwise() -> set[int]:
    """Marks, and second parts of compositions, that `tokenizers` leaves where they are."""
    found = set()
    for c in CHARACTERS:
        parts = unicodedata2.decomposition(chr(c)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            first, second = (int(part, 16) for part in parts)
            text = chr(first) + chr(second)
            if unicodedata2.normalize("NFC", text) != NFC.normalize_str(text):
                # An old second part composes with others; then the first part stands alone.
                found.add(first if second == 0x307 else second)
        if unicodedata2.combining(chr(c)):
            for text in (f"a\u0345{chr(c)}", f"q{chr(c)}\u0323\u0334", f"e{chr(c)}\u0301"):
                if unicodedata2.normalize("NFC", text) != NFC.normalize_str(text):
                    found.add(c)
    return found


def ranges(characters: set[int]) -> str:
    found = []
    for c in sorted(characters):
        if found and found[-1][1] == c - 1:
            found[-1][1] = c
        else:
            found.append([c, c])
    return ", ".join(f"{{0x{first:X}, 0x{last:X}}}" for first, last in found)


def table(name: str, characters: set[int], comment: str = "") -> str:
    return f"{comment}\nconstexpr auto {name} = std::to_array<Range>({{{ranges(characters)}}});\n"


def lower_table() -> str:
    runs = []
    for c in CHARACTERS:
        lower = LOWER.normalize_str(chr(c))
        # U+0130 becomes two characters; unicode.cpp knows it.
        if c == 0x130 or ord(lower) == UTF8PROC.utf8proc_tolower(c):
            continue
        if runs and runs[-1][1] == c - 1 and runs[-1][2] == ord(lower) - c:
            runs[-1][1] = c
        else:
            runs.append([c, c, ord(lower) - c])
    items = ", ".join(f"{{{{0x{first:X}, 0x{last:X}}}, {offset}}}" for first, last, offset in runs)
    return f"constexpr auto kLowerAfterUnicode15 = std::to_array<LowerRange>({{{items}}});\n"


def main() -> None:
    letters, numbers = in_class(r"\p{L}"), in_class(r"\p{N}")
    parts = [
        """// SPDX-License-Identifier: MIT
// Made by tests/oracle/unicode_tables.py with utf8proc 2.8 (Unicode 15), `tokenizers` 0.23.3 and
// Unicode 18. In order; both ends belong to a range.
#pragma once

#include <array>
#include <cstdint>

namespace mflux::tokenizer {

struct Range {
  char32_t first = 0;
  char32_t last = 0;
};

""",
        table("kLettersOfUnicode16", letters - utf8proc_categories(*range(1, 6)), "// Letters that Unicode 15 does not have."),
        table("kLettersAfterUnicode16", newest("L") - letters, "\n// Letters only to a newer utf8proc."),
        table("kNumbersOfUnicode16", numbers - utf8proc_categories(9, 10, 11), "\n// The same of numbers."),
        table("kNumbersAfterUnicode16", newest("N") - numbers),
        table(
            "kMarksAfterUnicode9",
            normalized_otherwise(),
            "\n// What Unicode 9 neither reorders nor composes, but a later version does.",
        ),
        table("kExtendAfterUnicode15", EXTEND, "\n// Extend the grapheme before them, unknown to utf8proc 2.8."),
        """
struct LowerRange {
  Range upper = {};
  int32_t offset = 0;  // of the lower case letter
};

// Letters whose lower case is of Unicode 16 or 17.
""",
        lower_table(),
        "\n}  // namespace mflux::tokenizer\n",
    ]
    HEADER.write_text("".join(parts))


if __name__ == "__main__":
    main()

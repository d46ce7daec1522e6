# SPDX-License-Identifier: MIT
"""Texts that tokenizers disagree about: awkward_texts.all_texts(seed, count)."""

import random

SPACES = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2003\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
INVISIBLE = "\x00\x01\x07\x1b\x1c\x1f\x7f\u00ad\u180e\u200b\u200c\u200d\u200e\u2060\ufeff\ufffd\ufffe\uffff"
MARKS = "\u0300\u0301\u0302\u0308\u0323\u0327\u0345\u0591\u064b\u093c\u094d\u0e31\u1ab0\u20dd\u20e3\u3099\ufe0f\u07fd\u0897"
SPECIAL = [
    "<|startoftext|>",
    "<|endoftext|>",
    "<|ENDOFTEXT|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|><|image_pad|><|vision_end|>",
    "<tool_call>",
    "</tool_call>",
    "</s>",
    "<pad>",
    "<unk>",
    "<extra_id_0>",
    "<extra_id_99>",
    "<extra_id_100>",
    "\u2581",
    "</w>",
]
CONTRACTIONS = ["it's", "IT'S", "don'T", "we'Re", "I'VE", "i'M", "she'll", "He'Ld", "y'all'd've", "'\u017f", "'s't", "''s"]

FIXED = [
    "",
    " ",
    "   ",
    "\n",
    " \n \n  x",
    "a beautiful sunset",
    "  leading and trailing  ",
    "tabs\tand\r\nnew\n\nlines \n end",
    "👩‍👩‍👧‍👦👨🏾‍🚒🏳️‍🌈 🇩🇪🇫🇷🇯🇵🇦 1️⃣*️⃣ ❤️‍🔥 👍🏽",
    "Ame\u0301lie e\u0301 \u00e9 a\u0323\u0302 \u1ead n\u0303 \u1100\u1161\u11a8 각 \u0041\u030a \u212b",
    "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘!͖̬̰̙̗̿̋ͥͥ̂ͣ̐́́͜͞",
    "照片：一只猫坐在红色的椅子上，傍晚的光线。",
    "東京の夜景とネオン、ﾊﾝｶｸ ｶﾞ が が 𠮷野家 ㍿ ㌔ ①②③",
    "صُورَة قِطَّة \u202bعلى كرسي\u202c أحمر ١٢٣٫٤ ﷺ ﻻ",
    "תְּמוּנָה של חתול \u200fעל\u200e כיסא אדום",
    "हिन्दी क्षि ক্ষ தமிழ் ภาษาไทย ກຳ བོད་ မြန်မာ",
    "٠١٢٣٤٥٦٧٨٩ ०१२३ ๑๒๓ 一二三 １２３ ⅣⅫ ½¾ ² ³ 𝟘𝟙𝟚 1234567890",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 ℌ ﬀ ﬁ ﬃ ﬆ ĳ ǆ ß ẞ ŉ İ I ı i Σ σ ς ΑΣ ὈΔΥΣΣΕΎΣ Ǆ",
    "\ud7ff\ue000\ufdd0\U0001fffe\U0010ffff \U00010000\U000fffff",
    "x" * 3000,
    "ab" * 1500 + "!" * 500 + "1" * 400,
    "aaaaaaaaab" * 300,
    "é" * 1000 + "\u0301" * 100,
    "http://user:pw@example.org:8080/a_b-c%20d?e=f&g[]=h#i\\j | <b>bold</b> {json: [1,2.5e-7]}",
    "snake_case camelCase SCREAMING_CASE kebab-case C++ C# .NET $#@!%^&*()_+-=`~",
    "don’t ‘quoted’ “double” – — … „low“ «guillemets» 、。「」",
    *CONTRACTIONS,
    *SPECIAL,
    " ".join(SPECIAL),
    "".join(SPECIAL),
    "  <|im_start|>  system\nYou are.<|im_end|>\n <|im_start|>user\n",
    "a<extra_id_1>b <extra_id_2> c</s>d",
    *(f"a{space}b {space}c{space}{space}" for space in SPACES),
    *(f"a{mark}b {mark} x{mark}" for mark in MARKS),
    *(f"a{c}b {c} {c}{c}" for c in INVISIBLE),
]


def _character(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.35:
        return chr(rng.randrange(0x20, 0x7F))
    if kind < 0.45:
        return rng.choice(SPACES)
    if kind < 0.52:
        return rng.choice(MARKS)
    if kind < 0.56:
        return rng.choice(INVISIBLE)
    if kind < 0.70:
        return chr(rng.randrange(0xA0, 0x600))
    if kind < 0.90:
        return chr(rng.choice([rng.randrange(0x600, 0xD800), rng.randrange(0xE000, 0x10000)]))
    return chr(rng.choice([rng.randrange(0x1F000, 0x1FB00), rng.randrange(0x10000, 0x20000), rng.randrange(0x20000, 0x110000)]))


def random_text(rng: random.Random) -> str:
    parts = []
    for _ in range(rng.randint(0, 12)):
        kind = rng.random()
        if kind < 0.1:
            parts.append(rng.choice(SPECIAL))
        elif kind < 0.2:
            parts.append(rng.choice(CONTRACTIONS))
        elif kind < 0.3:
            parts.append(rng.choice(SPACES) * rng.randint(1, 4))
        elif kind < 0.5:
            parts.append(rng.choice(FIXED[5:30])[: rng.randint(1, 20)])
        else:
            parts.append("".join(_character(rng) for _ in range(rng.randint(1, 12))))
    return "".join(parts)


def all_texts(seed: int = 5, count: int = 10_000) -> list[str]:
    rng = random.Random(seed)
    return FIXED + [random_text(rng) for _ in range(count)]


def every_character() -> list[str]:
    """Each character of Unicode between others that it may join, change or divide."""
    points = [*range(0xD800), *range(0xE000, 0x110000)]
    return [f"a{chr(c)}1 '{chr(c)}\u0301 {chr(c)}" for c in points]

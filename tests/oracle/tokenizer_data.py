# SPDX-License-Identifier: MIT
"""Writes tests/data/tokenizer: folders with tiny vocabularies, and the ids that transformers gives for texts.

    python tests/oracle/tokenizer_data.py
"""

import io
import json
import pathlib
import shutil

import sentencepiece
from sentencepiece import sentencepiece_model_pb2

import awkward_texts
import tokenizer_folders
from tokenizer_folders import CORPUS

DATA = pathlib.Path(__file__).resolve().parents[1] / "data" / "tokenizer"

# A few rules of sentencepiece's own kind, from and to as code points; the whole of nmt_nfkc is 240 KB.
RULES = [
    ("\u00a0", " "),
    ("\t", " "),
    ("\u3000", " "),
    ("\u200b", ""),
    ("\ufb01", "fi"),
    ("e\u0301", "\u00e9"),
    ("\u2122", "TM"),
    *((chr(0xFF21 + i), chr(0x41 + i)) for i in range(26)),
]


def small_t5(folder: pathlib.Path) -> pathlib.Path:
    tokenizer_folders.t5(folder)
    rules = folder / "rules.tsv"
    rules.write_text(
        "".join(
            " ".join(f"{ord(c):X}" for c in old) + "\t" + " ".join(f"{ord(c):X}" for c in new) + "\n"
            for old, new in RULES
        )
    )
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS[:4] * 20),
        model_writer=model,
        vocab_size=160,
        model_type="unigram",
        normalization_rule_tsv=str(rules),
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        hard_vocab_limit=False,
        minloglevel=2,
        num_threads=1,
    )
    rules.unlink()
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(model.getvalue())
    proto.normalizer_spec.ClearField("normalization_rule_tsv")  # a path of this machine
    (folder / "spiece.model").write_bytes(proto.SerializeToString(deterministic=True))
    return folder


TEXTS = [text for text in awkward_texts.FIXED if len(text) < 200] + [
    "\uff21\uff22\uff23 \ufb01sh\ufb01\u0301 cafe\u0301 a\u00a0b\u3000c\u200bd \u2122",
    "it's a red chair and they'll keep it; we've looked: I'm sure you'd say (or not)!",
]
LONG = "a photo of a cat sitting on a red chair in the evening light, painted by <|endoftext|> </s> nobody"


def expected(tokenizer) -> list[dict]:
    cases = [{"text": text, "ids": tokenizer(text)["input_ids"]} for text in TEXTS]
    for length in (2, 3, 10, 60):
        for special in (True, False):
            ids = tokenizer(
                LONG, max_length=length, truncation=True, padding="max_length", add_special_tokens=special
            )["input_ids"]
            options = {"max_length": length, "pad_to": length, "add_special_tokens": special}
            cases.append({"text": LONG, "ids": ids, **options})
    return cases


def main() -> None:
    shutil.rmtree(DATA, ignore_errors=True)
    folders = {
        "clip": tokenizer_folders.clip(DATA / "clip", tokenizer_folders.byte_pairs(620, "</w>")),
        "qwen": tokenizer_folders.qwen(DATA / "qwen", tokenizer_folders.byte_pairs(420, "")),
        "t5": small_t5(DATA / "t5"),
    }
    for kind, folder in folders.items():
        saved = tokenizer_folders.resaved(kind, folder, DATA / f"{kind}-saved")
        for path in [*folder.glob("*.json"), *saved.glob("*.json")]:
            value = json.loads(path.read_text(encoding="utf-8"))
            path.write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
        cases = expected(tokenizer_folders.load(kind, folder))
        assert cases == expected(tokenizer_folders.load(kind, saved)), kind
        lines = ",\n".join(json.dumps(case) for case in cases)
        (DATA / f"{kind}.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()

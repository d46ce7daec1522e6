# SPDX-License-Identifier: MIT
"""Tokenizer folders of the three kinds, with small vocabularies learned from a corpus of all scripts, and the awkward
texts they are compared on.

    tokenizer_folders.clip(folder)     vocab.json and merges.txt, as in FLUX.1's tokenizer/
    tokenizer_folders.t5(folder)       spiece.model, by sentencepiece itself (nmt_nfkc), as in tokenizer_2/
    tokenizer_folders.qwen(folder)     vocab.json, merges.txt and added tokens, as in Qwen-Image's tokenizer/
    tokenizer_folders.resaved(of, folder)   tokenizer.json as transformers (and so Python's mflux) saves it
"""

import io
import json
import pathlib

import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

CLASSES = {
    "clip": transformers.CLIPTokenizer,
    "t5": transformers.T5Tokenizer,
    "qwen": transformers.Qwen2Tokenizer,
}

CORPUS = [
    "a photo of a cat sitting on a red chair in the evening light, it's the cat's own chair and they'll keep it",
    "an oil painting of mountains, rivers and a small wooden house; the artist's hand can't be seen, we've looked",
    "The quick brown fox jumps over the lazy dog 0123456789. I'm sure you'd say 1984 was 100% fine (or not)!",
    "Café déjà vu naïve façade Ångström übergröße smørrebrød žluťoučký kůň łódź çağdaş İstanbul ıssız",
    "Быстрая коричневая лиса прыгает через ленивую собаку. Ελληνικά γράμματα και τόνοι: άέήίόύώ",
    "这是一张关于猫的照片 東京の夜景とネオン 한국어 문장도 조금 있습니다 𠮷野家",
    "صورة قطة على كرسي أحمر ١٢٣ תמונה של חתול על כיסא אדום ภาพถ่ายแมวบนเก้าอี้ ๑๒๓ यह एक बिल्ली की तस्वीर है १२३",
    "👩‍👩‍👧‍👦 family 🇩🇪🇫🇷 flags 👍🏽 thumbs ❤️ heart 1️⃣ keycap ™ © ½ ² Ⅷ ﬁ ﬂ １２３ ＡＢＣ",
]

QWEN_ADDED = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<tool_call>",
    "</tool_call>",
]


def write_json(path: pathlib.Path, value) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2), encoding="utf-8")


def byte_pairs(size: int, suffix: str, texts=CORPUS, least: int = 0) -> tuple[dict, list]:
    """A byte-level vocabulary of pairs that stand `least` times in the texts; the special tokens are the caller's."""
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix=suffix) if suffix else models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=least,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        **({"end_of_word_suffix": suffix} if suffix else {}),
    )
    tokenizer.train_from_iterator([line.lower() if suffix else line for line in texts], trainer)
    model = json.loads(tokenizer.to_str())["model"]
    merges = [tuple(merge) for merge in model["merges"]]
    # The trainer numbers ends of words differently each time, and has only those of bytes that ended one.
    singles = sorted(token for byte in pre_tokenizers.ByteLevel.alphabet() for token in {byte, byte + suffix})
    tokens = dict.fromkeys([*singles, *("".join(merge) for merge in merges)])
    assert set(model["vocab"]) <= set(tokens)
    return {token: number for number, token in enumerate(tokens)}, merges


def write_byte_pairs(folder: pathlib.Path, vocab: dict, merges: list) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "vocab.json", vocab)
    lines = ["#version: 0.2", *(" ".join(merge) for merge in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def clip(folder: pathlib.Path, vocabulary=None) -> pathlib.Path:
    vocab, merges = vocabulary or byte_pairs(900, "</w>")
    vocab = dict(vocab)
    for token in ("<|startoftext|>", "<|endoftext|>"):
        vocab.setdefault(token, len(vocab))
    write_byte_pairs(folder, vocab, merges)
    token = {"lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    named = {
        "bos_token": {"content": "<|startoftext|>", **token},
        "eos_token": {"content": "<|endoftext|>", **token},
        "unk_token": {"content": "<|endoftext|>", **token},
    }
    write_json(folder / "special_tokens_map.json", named | {"pad_token": "<|endoftext|>"})
    added = {vocab[value]: {"content": value, **token, "special": True} for value in ("<|startoftext|>", "<|endoftext|>")}
    write_json(
        folder / "tokenizer_config.json",
        {
            "add_prefix_space": False,
            "added_tokens_decoder": added,
            "bos_token": "<|startoftext|>",
            "clean_up_tokenization_spaces": True,
            "do_lower_case": True,
            "eos_token": "<|endoftext|>",
            "errors": "replace",
            "model_max_length": 77,
            "pad_token": "<|endoftext|>",
            "tokenizer_class": "CLIPTokenizer",
            "unk_token": "<|endoftext|>",
        },
    )
    return folder


def qwen(folder: pathlib.Path, vocabulary=None) -> pathlib.Path:
    vocab, merges = vocabulary or byte_pairs(1100, "")
    write_byte_pairs(folder, vocab, merges)
    ids = {token: len(vocab) + i for i, token in enumerate(QWEN_ADDED)}
    write_json(folder / "added_tokens.json", ids)
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    special = [token for token in QWEN_ADDED if token.startswith("<|")]
    write_json(
        folder / "special_tokens_map.json",
        {
            "additional_special_tokens": special[1:],
            "eos_token": {"content": "<|im_end|>", **flags},
            "pad_token": {"content": "<|endoftext|>", **flags},
        },
    )
    write_json(
        folder / "tokenizer_config.json",
        {
            "add_bos_token": False,
            "add_prefix_space": False,
            "added_tokens_decoder": {
                ids[token]: {"content": token, **flags, "special": token in special} for token in QWEN_ADDED
            },
            "additional_special_tokens": special[1:],
            "bos_token": None,
            "chat_template": "{{ messages }}",
            "clean_up_tokenization_spaces": False,
            "eos_token": "<|im_end|>",
            "errors": "replace",
            "model_max_length": 131072,
            "pad_token": "<|endoftext|>",
            "split_special_tokens": False,
            "tokenizer_class": "Qwen2Tokenizer",
            "unk_token": None,
        },
    )
    return folder


def t5_model(texts=CORPUS * 20, size: int = 600, coverage: float = 0.98) -> bytes:
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        vocab_size=size,
        model_type="unigram",
        normalization_rule_name="nmt_nfkc",
        character_coverage=coverage,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        hard_vocab_limit=False,
        minloglevel=2,
        num_threads=1,
    )
    return model.getvalue()


def t5(folder: pathlib.Path, model: bytes | None = None) -> pathlib.Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spiece.model").write_bytes(model or t5_model())
    named = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    extra = [f"<extra_id_{i}>" for i in range(100)]
    write_json(folder / "special_tokens_map.json", named | {"additional_special_tokens": extra})
    write_json(
        folder / "tokenizer_config.json",
        {
            **named,
            "additional_special_tokens": extra,
            "extra_ids": 100,
            "model_max_length": 512,
            "tokenizer_class": "T5Tokenizer",
        },
    )
    return folder


def resaved(kind: str, source: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    CLASSES[kind].from_pretrained(source).save_pretrained(folder)
    return folder


def load(kind: str, folder: pathlib.Path):
    return CLASSES[kind].from_pretrained(folder)

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Token ids of the tokenizers package, and ours: the same for every text."""
import base64
import json
import pathlib
import random
import struct
import tempfile
import unicodedata

import kit
from tokenizers import Tokenizer
from transformers.models.gpt2.tokenization_gpt2 import bytes_to_unicode

TEXTS = [
    "I slept well.", " leading", "trailing ", "  two  spaces  ", "\ttab\t\ttabs",
    "a", " ", "   ", "I'm, you're, it's; they'll! WE'VE", "don't 'quoted' \"both\"",
    "12 345 6,789.01 0x1F 1e-9 \u00bd \u00b2 \u0664\u0665", "caf\u00e9 na\u00efve \u00c5ngstr\u00f6m \u00df",
    "cafe\u0301 e\u0301\u0302 combining", "\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8 \u4e2d\u6587",
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440", "\u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd",
    "\U0001F634 zzz \U0001F468\u200D\U0001F469\u200D\U0001F467 \U0001F1E9\U0001F1EA", "\u00a0nbsp\u2003em\u3000wide",
    "\ufeffbom \u200bzero\u00adsoft", "snake_case CamelCase kebab-case http://a.b/c?d=e&f#g",
    "<s> </s> <unk> <|endoftext|> <|im_start|>user<|im_end|>", "<s></s><s>x<s>", "< s>",
    "<0x41> <0x0A>", "\u2581under \u2581\u2581", "\u0120G-dot \u010a", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "...!!!???---", "\u0000nul \u0001\u0002\u001f\u007f", "\ud7ff\ue000\U0010ffff", "a\u2028b\u2029c\u0085d\u000bz\u000cy",
    "x" * 300, "the " * 100, "1" * 120,
]
# Tokenizer files of the test data.
FILES = ("models/stories260K", "tokenizers/gpt2", "tokenizers/llama2",
         "tokenizers/small-torchtune/tiny_bpe_tokenizer.json",
         "tokenizers/small-torchtune/tokenizer_gemma_cropped.json")
N_RANDOM = 10000
WORDS = ("(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}%s| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
         "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+")


def random_texts(n, special):
    """Characters of all planes, combining marks, control characters, white
    space, control tokens, bytes that are no UTF-8 (replaced, as programs that
    read such text do).  Code points that Unicode 13 has no character for are
    left out: which version each library knows is not what is compared."""
    rng = random.Random(2)
    alphabet = ["a", "b", "e", "t", "th", "ing", " ", "  ", "'", "s", "'S", "1", "23", ".", ",", "\n", "\r\n", "\t",
                "\n\n ", "\u00e9", "e\u0301", "\u0301\u0323", "\u1e9b\u0323", "\u4e2d", "\U0001F600", "\ufb01", "\u212b",
                "\uac00", "\u1100\u1161", "Q", "\u00a0", "\u2581", "\u180e", "\u0085", "\u2028", "\u017f", "'\u017f",
                "_", "\u200d", "\u0130", "\x00", "\x1c"] + special
    planes = ((0, 0x7f), (0x80, 0x24f), (0x250, 0xfff), (0x1000, 0xd7ff), (0xe000, 0xffff), (0x10000, 0x1ffff),
              (0x20000, 0x3134a), (0xe0000, 0x10ffff), (0x300, 0x36f), (0, 0x1f))
    for i in range(n):
        if i % 3 == 0:
            yield "".join(rng.choice(alphabet) for _ in range(rng.randint(1, 40)))
        elif i % 3 == 1:
            chars = (chr(rng.randint(*rng.choice(planes))) for _ in range(rng.randint(1, 24)))
            yield "".join(c for c in chars if unicodedata.category(c) != "Cn" and age_13(c))
        else:
            raw = bytes(rng.choice((rng.randint(0, 255), rng.randint(32, 126))) for _ in range(rng.randint(1, 24)))
            text = raw.decode("utf-8", "replace")
            yield "".join(c for c in text if unicodedata.category(c) != "Cn" and age_13(c))


def age_13(c):
    """Python's tables are of Unicode 14: what it added, in brief."""
    o = ord(c)
    new = ((0x61d, 0x61d), (0x870, 0x8b5), (0x8c8, 0x8d2), (0xc3c, 0xc3c), (0xc5d, 0xc5d), (0xcdd, 0xcdd),
           (0x170d, 0x171f), (0x180f, 0x180f), (0x1ac1, 0x1ace), (0x1b4c, 0x1b4c), (0x1b7d, 0x1b7e), (0x1dfa, 0x1dfa),
           (0x20c0, 0x20c0), (0x2c2f, 0x2c2f), (0x2c5f, 0x2c5f), (0x2e53, 0x2e5d), (0x9ffd, 0x9fff), (0xa7c0, 0xa7c1),
           (0xa7d0, 0xa7f4), (0xfbc2, 0xfbc2), (0xfd40, 0xfdcf), (0xfdfe, 0xfdff), (0x10570, 0x107ba),
           (0x10f70, 0x10f89), (0x11070, 0x11075), (0x110c2, 0x110c2), (0x116b9, 0x116b9), (0x11740, 0x11746),
           (0x11ab0, 0x11abf), (0x12f90, 0x12ff2), (0x16a70, 0x16ac9), (0x1aff0, 0x1b122), (0x1cf00, 0x1cfc3),
           (0x1d1e9, 0x1d1ea), (0x1df00, 0x1df1e), (0x1e290, 0x1e2ae), (0x1e7e0, 0x1e7fe), (0x1f6dd, 0x1f6df),
           (0x1f7f0, 0x1f7f0), (0x1f8b0, 0x1f8b1), (0x1f979, 0x1f979), (0x1f9cc, 0x1f9cc), (0x1fa70, 0x1faff),
           (0x2a6de, 0x2a6df), (0x2b735, 0x2b738))
    return not any(low <= o <= high for low, high in new)


def package(j):
    """The package's tokenizer.  It cannot read merges of tokens that hold a
    space, which Llama 2's older file has three of; no text reaches them (its
    normalizer replaces every space), so it gets the file without them."""
    merges = j["model"]["merges"]
    kept = [m for m in merges if not isinstance(m, str) or m.count(" ") == 1]
    if len(kept) < len(merges):
        assert j["normalizer"]["normalizers"][1]["pattern"] == {"String": " "}
        j["model"]["merges"] = kept
    t = Tokenizer.from_str(json.dumps(j))
    t.no_truncation()  # settings of a batch, which we leave to the caller
    t.no_padding()
    return t


def events(*args, stdin):
    """Lines end with a line feed only: texts may hold other line ends."""
    return [json.loads(e) for e in kit.hearth(*args, "--json", stdin=stdin).split("\n") if e]


def tokenize(path, texts, *flags):
    stdin = "".join(json.dumps(t, ensure_ascii=False) + "\n" for t in texts).encode("utf-8")
    return [e["ids"] for e in events("tokenize", "--model", path, "--quoted", *flags, stdin=stdin)]


def compare(name, path, theirs):
    special = [a.content for a in theirs.get_added_tokens_decoder().values()][:12]
    texts = TEXTS + list(random_texts(N_RANDOM, special))
    vocab, model = theirs.get_vocab(), json.loads(theirs.to_str())["model"]
    if model["unk_token"] is None:  # the package drops what no token spells, we refuse such texts
        chars = bytes_to_unicode()
        texts = [t for t in texts if all(chars[b] in vocab for b in t.encode())]
    count, wrong = 0, []
    for flags, add in ((["--no-special"], False), ([], True)):
        ours = tokenize(path, texts, *flags)
        assert len(ours) == len(texts), (name, len(ours), len(texts))
        for text, ids in zip(texts, ours):
            want = theirs.encode(text, add_special_tokens=add).ids
            count += len(ids)
            if ids != want:
                wrong.append((text, ids, want))
    # Decoding, of texts that the vocabulary can spell without replacement.
    lines = "".join(" ".join(map(str, ids)) + "\n" for ids in ours).encode()
    back = events("tokenize", "--model", path, "--decode", stdin=lines)
    for ids, event in zip(ours, back):
        want = theirs.decode(ids, skip_special_tokens=False)
        if "\ufffd" not in want and event["text"] != want:
            wrong.append((ids, event["text"], want))
    for w in wrong[:5]:
        print(f"{name}: {w!r}"[:600])
    assert not wrong, f"{name}: {len(wrong)} of {2 * len(texts)} differ"
    print(f"{name}: {len(texts)} texts twice, {count} ids, and their decoding agree")


def compare_json(name, j, work):
    path = work / f"{name}.json"
    path.write_text(json.dumps(j))
    compare(name, path, package(j))


def added(id_, content, **flags):
    return {"id": id_, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": False, "special": True, **flags}


def byte_level(vocab, merges, pattern, normalizer=None, ignore_merges=False, tokens=()):
    """A tokenizer.json as Llama 3's and Qwen2's are."""
    return {"version": "1.0", "added_tokens": list(tokens), "normalizer": normalizer,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False},
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]},
            "post_processor": None,
            "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
            "model": {"type": "BPE", "ignore_merges": ignore_merges, "vocab": vocab, "merges": merges}}


def qwen2():
    folder = kit.DATA / "tokenizers/qwen2"
    config = json.loads((folder / "tokenizer_config.json").read_text())
    tokens = [{"id": int(i), **a} for i, a in config["added_tokens_decoder"].items()]
    merges = [m for m in (folder / "merges.txt").read_text().split("\n") if m and not m.startswith("#version")]
    return byte_level(json.loads((folder / "vocab.json").read_text()), merges, WORDS % "", {"type": "NFC"}, tokens=tokens)


def llama3():
    """Merges of a list of ranks, as transformers' converter makes them."""
    chars = bytes_to_unicode()
    ranks = {}
    for line in (kit.DATA / "tokenizers/llama3/tokenizer.model").read_text().split("\n"):
        if line:
            token, rank = line.split()
            ranks["".join(chars[b] for b in base64.b64decode(token))] = int(rank)
    merges = []
    for token in ranks:
        cuts = [(token[:i], token[i:]) for i in range(1, len(token)) if token[:i] in ranks and token[i:] in ranks]
        merges += sorted(cuts, key=lambda c: (ranks[c[0]], ranks[c[1]]))
    n = len(ranks)
    j = byte_level(ranks, merges, WORDS % "{1,3}", None, True,
                   [added(n + i, f"<|{w}|>") for i, w in enumerate(("begin_of_text", "end_of_text", "eot_id"))])
    j["post_processor"] = {"type": "TemplateProcessing", "single": [
        {"SpecialToken": {"id": "<|begin_of_text|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [], "special_tokens": {"<|begin_of_text|>": {
            "id": "<|begin_of_text|>", "ids": [n], "tokens": ["<|begin_of_text|>"]}}}
    j["post_processor"]["pair"] = j["post_processor"]["single"] + [{"Sequence": {"id": "B", "type_id": 1}}]
    return j


def fields(raw):
    """(number, value) of a protobuf message."""
    at = 0

    def varint():
        nonlocal at
        v = shift = 0
        while True:
            b = raw[at]
            at += 1
            v |= (b & 127) << shift
            shift += 7
            if b < 128:
                return v
    while at < len(raw):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
        else:
            n = {1: 8, 5: 4}.get(key & 7) or varint()
            yield key >> 3, raw[at:at + n]
            at += n


def sentencepiece(file, prefix):
    """A tokenizer.json of a SentencePiece model, as Gemma's (no prefix) and
    Llama's are: merges by score, then by the lengths of their parts."""
    pieces = []
    for number, value in fields(file.read_bytes()):
        if number == 1:
            f = dict(fields(value))
            pieces.append((f[1].decode(), struct.unpack("<f", f[2])[0], f.get(3, 1)))
    vocab = {p: i for i, (p, _, _) in enumerate(pieces)}
    merges = []
    for p, score, _ in pieces:
        cuts = [(p[:i], p[i:], score) for i in range(1, len(p)) if p[:i] in vocab and p[i:] in vocab]
        merges += sorted(cuts, key=lambda c: (vocab[c[0]], vocab[c[1]]))
    merges.sort(key=lambda c: (c[2], len(c[0]), len(c[1])), reverse=True)
    mark = "\u2581"
    normal = [{"type": "Replace", "pattern": {"String": " "}, "content": mark}]
    decode = [{"type": "Replace", "pattern": {"String": mark}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]
    if prefix:
        normal.insert(0, {"type": "Prepend", "prepend": mark})
        decode.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return {"version": "1.0", "added_tokens": [added(i, p, special=kind != 4) for i, (p, _, kind) in enumerate(pieces)
                                               if kind in (2, 3, 4)],
            "normalizer": {"type": "Sequence", "normalizers": normal}, "pre_tokenizer": None, "post_processor": None,
            "decoder": {"type": "Sequence", "decoders": decode},
            "model": {"type": "BPE", "unk_token": next(p for p, _, k in pieces if k == 2), "fuse_unk": True,
                      "byte_fallback": True, "vocab": vocab, "merges": [m[:2] for m in merges]}}


def variants(gpt2):
    """GPT-2's vocabulary with every rule and flag that we read."""
    def change(**top):
        return {**json.loads(json.dumps(gpt2)), **top}

    def pre(*members):
        members += ({"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},)
        return {"type": "Sequence", "pretokenizers": list(members)}
    words, vocab = gpt2["pre_tokenizer"], gpt2["model"]["vocab"]
    yield "smollm", change(pre_tokenizer={"type": "Sequence", "pretokenizers": [
        {"type": "Digits", "individual_digits": True}, words]})
    yield "prefix_space", change(pre_tokenizer={**words, "add_prefix_space": True})
    for form in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase"):
        yield form, change(normalizer={"type": form})
    yield "strip", change(normalizer={"type": "Strip", "strip_left": True, "strip_right": True})
    yield "regex", change(normalizer={"type": "Replace", "pattern": {"Regex": "[\\s]+|^a"}, "content": " "})
    for behavior in ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
        for invert in (False, True):
            yield f"{behavior}-{invert}", change(pre_tokenizer=pre(
                {"type": "Split", "pattern": {"Regex": "\\s|[a-e]"}, "behavior": behavior, "invert": invert}))
        yield f"punctuation-{behavior}", change(pre_tokenizer=pre({"type": "Punctuation", "behavior": behavior}))
    yield "string", change(pre_tokenizer=pre(
        {"type": "Split", "pattern": {"String": "th"}, "behavior": "MergedWithNext", "invert": False}))
    for kind in ("Whitespace", "WhitespaceSplit"):
        yield kind, change(pre_tokenizer=pre({"type": kind}))
    for flag in ("lstrip", "rstrip", "single_word", "normalized"):
        yield flag, change(normalizer={"type": "NFC"}, added_tokens=[
            added(50256, "<|endoftext|>", **{flag: True}), added(vocab["ing"], "ing", special=False, **{flag: True}),
            added(50257, "\u00e9t", special=False, **{flag: True}), added(vocab["in"], "in", special=False)])


def main():
    compare("demo", kit.DEMO, package(json.loads((kit.DEMO / "tokenizer.json").read_text())))
    if not kit.DATA.exists():
        print(f"the tokenizers of the test data were left out: no {kit.DATA}")
        return
    known = {}
    for name in FILES:
        path = kit.DATA / name
        file = path / "tokenizer.json" if path.is_dir() else path
        known[name] = json.loads(file.read_text())
        compare(name, path, package(known[name]))
    small = kit.DATA / "tokenizers/small-kerashub"
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        compare_json("qwen2", qwen2(), work)
        compare("qwen2 vocab.json", kit.DATA / "tokenizers/qwen2", package(qwen2()))
        compare_json("llama3", llama3(), work)
        compare_json("gemma3", sentencepiece(small / "gemma3_test_vocab.spm", False), work)
        compare_json("llama-small", sentencepiece(small / "llama_test_vocab.spm", True), work)
        global N_RANDOM
        N_RANDOM = 600
        for name, j in variants(known["tokenizers/gpt2"]):
            compare_json(name, j, work)
    N_RANDOM = 10000
    gpt2 = json.loads(json.dumps(known["tokenizers/gpt2"]))
    gpt2["added_tokens"] = [{**a, "normalized": False} for a in gpt2["added_tokens"]]
    compare("gpt-2 GGUF", kit.DATA / "formats/ggml-vocab-gpt-2.gguf", package(gpt2))
    # Of the model file: the folder's older tokenizer.json spells U+00A0 as a space.
    llama = sentencepiece(kit.DATA / "tokenizers/llama2/tokenizer.model", True)
    llama["post_processor"] = known["tokenizers/llama2"]["post_processor"]
    compare("llama-spm GGUF", kit.DATA / "formats/ggml-vocab-llama-spm.gguf", package(llama))


if __name__ == "__main__":
    main()

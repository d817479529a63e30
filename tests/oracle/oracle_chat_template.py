#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Conversations in the models' own chat templates: transformers' token ids and
ours, for training and as a prompt.

$HEARTH_ORACLE_TEMPLATES names a folder of more templates, NAME.jinja, that the
test data lacks; every one must be known to hearth.
"""
import hashlib
import json
import os
import pathlib
import random
import re
import subprocess
import tempfile

import kit
import oracle_tokenizer as vocabularies
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

N_TALKS = 60
OWN = ("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
       "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
SPACES = ["", "", "", " ", "\n", " \n\t ", "\u00a0", "\u2003\x1c", "\x1f", "\u3000\x85", "\u200b"]


def sources():
    """(name, text) of every template that there is."""
    yield "own", OWN
    for path in sorted((kit.DATA / "configs").glob("*.jinja")):
        yield path.stem, path.read_bytes().decode()
    for name in ("configs/Llama-3.2-1B-Instruct.tokenizer_config.json", "tokenizers/qwen2/tokenizer_config.json",
                 "tokenizers/small-torchtune/tokenizer_config_gemma.json"):
        yield name, json.loads((kit.DATA / name).read_text())["chat_template"]
    more = os.environ.get("HEARTH_ORACLE_TEMPLATES")
    for path in sorted(pathlib.Path(more).glob("*.jinja")) if more else ():
        yield path.stem, path.read_bytes().decode()


def add(j, *contents):
    """The tokenizer with these control tokens behind its last id."""
    ids = [*j["model"]["vocab"].values(), *(a["id"] for a in j["added_tokens"])]
    j["added_tokens"] += [vocabularies.added(max(ids) + 1 + i, c) for i, c in enumerate(contents)]
    return j


class Vocabulary:
    """A real vocabulary with the control tokens of a family's templates."""

    def __init__(self, j, bos, eos):
        self.json = json.dumps(j)
        self.ends = {"bos_token": bos, "eos_token": eos}
        self.package = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(self.json),
                                               **{k: v for k, v in self.ends.items() if v})
        self.control = [a["content"] for a in j["added_tokens"]]


MAKE = {
    "<|im_start|>": lambda: Vocabulary(vocabularies.qwen2(), None, "<|im_end|>"),
    "<|start_header_id|>": lambda: Vocabulary(
        add(vocabularies.llama3(), "<|start_header_id|>", "<|end_header_id|>"), "<|begin_of_text|>", "<|eot_id|>"),
    "<start_of_turn>": lambda: Vocabulary(
        add(vocabularies.sentencepiece(kit.DATA / "tokenizers/llama2/tokenizer.model", False),
            "<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"), "<bos>", "<eos>"),
}


def vocabulary_of(text, made={}):
    mark = next(m for m in MAKE if m in text)
    if mark not in made:
        made[mark] = MAKE[mark]()
    return made[mark]


def talks(v, text, seed):
    """Conversations that the template takes.  Each has its number in it.
    Answers have no white space in front where the template keeps it: there we
    begin anew, and the original does not."""
    rng = random.Random(seed)
    trims, strict = "trim" in text, "<start_of_turn>" in text
    opens = "not add_generation_prompt" not in text and "add_generation_prompt" not in text
    no_system = "System role not supported" in text
    words = [t for t in vocabularies.TEXTS + list(vocabularies.random_texts(300, []))
             if t and "\0" not in t and not any(c in t for c in v.control)]
    for i in range(N_TALKS):
        def say(role):
            front = rng.choice(SPACES)
            said = f"{front}{rng.choice(words)}{rng.choice(SPACES)}"
            if role == "assistant" and not trims:
                said = "A" + said
            return {"role": role, "content": said}
        talk = [say("system")] if rng.random() < 0.5 and not no_system else []
        for _ in range(rng.randint(1, 3)):
            if not strict and not opens and rng.random() < 0.2:
                talk.append(say("user"))
            talk += [say("user"), say("assistant")]
        first = next(m for m in talk if m["role"] == "user")
        first["content"] = rng.choice(SPACES) + f"talk #{i}; " + first["content"]
        yield talk


def folder(work, v, text, form):
    """A model folder that brings the template in one of three ways."""
    work.mkdir()
    (work / "tokenizer.json").write_text(v.json)
    config = dict(v.ends)
    if form == "list":
        config["chat_template"] = [{"name": "other", "template": "x"}, {"name": "default", "template": text}]
    elif form == "string":
        config["chat_template"] = text
    else:
        (work / "chat_template.jinja").write_bytes(text.encode())
    (work / "tokenizer_config.json").write_text(json.dumps(config))


def check_events(model, state, records):
    """What `records check` says of each record, by number.  One in ten is held
    out, and is not seen."""
    state.mkdir()
    file = state / "talks.jsonl"
    file.write_text("".join(json.dumps({"messages": r}) + "\n" for r in records))
    kit.hearth("records", "import", file, "--state", state)
    out = kit.hearth("records", "check", "--state", state, "--model", model, "--seq", 65536, "--json")
    events = [json.loads(e) for e in out.split("\n") if e]
    return {int(re.search(r"talk #(\d+);", e["text"])[1]): e for e in events if e["event"] == "check"}


def expected(v, text, talk, prompt):
    return v.package.apply_chat_template(talk, chat_template=text, tokenize=True, return_dict=False,
                                         add_generation_prompt=prompt, date_string="26 Jul 2024")


def compare(name, text, work, form):
    v = vocabulary_of(text)
    folder(work / "model", v, text, form)
    records = list(talks(v, text, name))
    seen = check_events(work / "model", work / "state", records)
    assert len(seen) > N_TALKS // 2, (name, len(seen))
    n_ids = n_prompts = 0
    for i, e in seen.items():
        want = expected(v, text, records[i], False)
        if e["ids"] != want:
            at = next((k for k, (a, b) in enumerate(zip(e["ids"], want)) if a != b), min(len(e["ids"]), len(want)))
            raise AssertionError(f"{name}: {records[i]!r} differs at id {at}: {e['ids'][at - 3:at + 5]} "
                                 f"for {want[at - 3:at + 5]}: {v.package.decode(want[max(0, at - 9):at + 5])!r}")
        n_ids += len(want)
        # Where an answer begins stands exactly the prompt of a generator.
        learnt = [k + 1 for k, label in enumerate(e["labels"]) if label >= 0]
        begins = {k for k in learnt if k - 1 not in learnt}
        for k, turn in enumerate(records[i]):
            if turn["role"] == "assistant":
                prompt = expected(v, text, records[i][:k], True)
                assert want[:len(prompt)] == prompt and len(prompt) in begins, (name, records[i], k)
                n_prompts += 1
        assert len(begins) == sum(t["role"] == "assistant" for t in records[i]), (name, records[i])
    print(f"{name}: {len(seen)} conversations, {n_ids} ids, {n_prompts} prompts agree ({form})")


def refused(name, text, work):
    """Orders that the original raises an exception for are refused."""
    v = vocabulary_of(text)
    user, answer = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}
    for i, talk in enumerate(([user, user, answer], [answer], [user, answer, answer],
                              [{"role": "system", "content": "c"}, user, answer])):
        try:
            expected(v, text, talk, False)
            continue
        except Exception as e:
            assert "ole" in str(e), e
        state = work / f"refused{i}"
        state.mkdir()
        for word in range(40):  # some are held out
            (state / f"{word}.jsonl").write_text(
                json.dumps({"messages": [{**t, "content": f"{t['content']} {word}"} for t in talk]}) + "\n")
            kit.hearth("records", "import", state / f"{word}.jsonl", "--state", state)
            run = subprocess.run([kit.HEARTH, "records", "check", "--state", state, "--model", work / "model", "--json"],
                                 capture_output=True, text=True)
            if run.returncode:
                break
        assert run.returncode and "template" in run.stderr + run.stdout, (name, talk, run.stdout)
        print(f"{name}: {[t['role'] for t in talk]} is refused by both")


def main():
    if not kit.DATA.exists():
        kit.skip(f"no {kit.DATA}")
    table = (kit.ROOT / "client/tokenizer/template_source.c").read_text()
    known = set(re.findall(r'"([0-9a-f]{64})"', table))
    done = set()
    with tempfile.TemporaryDirectory() as work:
        for i, (name, text) in enumerate(sources()):
            digest = hashlib.sha256(text.encode()).hexdigest()
            assert digest in known, (name, digest)
            here = pathlib.Path(work) / str(i)
            here.mkdir()
            if digest in done:
                continue
            compare(name, text, here, ("jinja", "string", "list")[len(done) % 3])
            if "raise_exception('Conv" in text or 'raise_exception("Conv' in text:
                refused(name, text, here)
            done.add(digest)
    print(f"{len(done)} of the {len(known)} templates that hearth knows were compared")


main()

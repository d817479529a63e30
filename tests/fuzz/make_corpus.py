#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write the corpus inputs that one small change to a good file makes, each
named by the refusal (or the rare path) that it reaches:

  python3 tests/fuzz/make_corpus.py

Other inputs of the corpora were written by hand or kept from a finding; this
program never touches those, and gives the same bytes every time.
"""
import json
import pathlib
import struct

CORPUS = pathlib.Path(__file__).parent / "corpus"


def put(target, name, data):
    folder = CORPUS / target
    folder.mkdir(exist_ok=True)
    if not isinstance(data, bytes):
        data = (data if isinstance(data, str) else json.dumps(data)).encode()
    (folder / name).write_bytes(data)


# ---- client/model/model_config.c --------------------------------------

LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama",
         "hidden_size": 64, "intermediate_size": 172, "num_hidden_layers": 2,
         "num_attention_heads": 8, "num_key_value_heads": 4, "vocab_size": 512,
         "rope_theta": 10000.0, "rms_norm_eps": 1e-05, "head_dim": 8,
         "tie_word_embeddings": True, "bos_token_id": 1, "eos_token_id": 2}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
          "high_freq_factor": 4.0, "original_max_position_embeddings": 64}


ARCHITECTURES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM",
                 "qwen3": "Qwen3ForCausalLM", "gemma3": "Gemma3ForCausalLM",
                 "mistral": "MistralForCausalLM", "phi3": "Phi3ForCausalLM"}


def model_config():
    def change(name, **fields):
        config = {**LLAMA, **fields}
        put("model_config", name,
            {k: v for k, v in config.items() if v is not Ellipsis})

    change("missing_count", hidden_size=...)
    change("count_is_text", hidden_size="64")
    change("count_is_zero", vocab_size=0)
    change("number_is_text", rms_norm_eps="small")
    change("number_is_negative", rms_norm_eps=-1)
    change("token_is_text", bos_token_id="a")
    change("token_is_none", bos_token_id=-1, pad_token_id=0)
    change("eos_is_none", eos_token_id=None)
    change("eos_many", eos_token_id=[1] * 9)
    change("eos_outside", eos_token_id=[1, 512])
    change("eos_list_of_none", eos_token_id=[-1, 5])
    change("type_is_number", model_type=7)
    change("architectures_two", architectures=["LlamaForCausalLM"] * 2)
    change("architectures_differ", model_type="qwen2")
    change("architectures_missing", architectures=..., model_type=...)
    change("type_unknown", architectures=..., model_type="mamba")
    change("rule_zero", attention_dropout=0.1)
    change("rule_zero_held", attention_dropout=0.0, resid_dropout=0)
    change("rule_one_held", partial_rotary_factor=1)
    change("rule_null", sliding_window=4096)
    change("long_field", **{"x" * 100: 1})
    change("act_gelu", hidden_act="gelu")
    change("act_number", hidden_act=1)
    change("act_swish", hidden_act="swish")
    change("tied_text", tie_word_embeddings="yes")
    change("hidden_no_multiple", hidden_size=63, head_dim=...)
    change("heads_wide", num_attention_heads=131072, num_key_value_heads=1,
           head_dim=64)
    change("rope_not_object", rope_scaling=3)
    change("rope_type_number", rope_scaling={"rope_type": 3})
    change("rope_old_type_number", rope_scaling={"type": 3})
    change("rope_two_types", rope_scaling={"rope_type": "linear",
                                           "type": "llama3", "factor": 2})
    change("rope_yarn", rope_scaling={"rope_type": "yarn", "factor": 2})
    change("rope_linear", rope_scaling={"type": "linear", "factor": 2.5})
    change("rope_linear_small", rope_scaling={"type": "linear", "factor": 0.5})
    change("rope_linear_member", rope_scaling={
        "type": "linear", "factor": 2, "low_freq_factor": 1})
    change("rope_unknown_member", rope_parameters={
        "rope_type": "default", "rope_theta": 1e4, "mscale": 1})
    change("rope_partial", rope_parameters={
        "rope_type": "default", "rope_theta": 1e4,
        "partial_rotary_factor": 0.5})
    change("rope_llama3", rope_scaling=LLAMA3)
    change("rope_llama3_order", rope_scaling={**LLAMA3, "low_freq_factor": 9})
    change("rope_llama3_text", rope_scaling={**LLAMA3, "high_freq_factor": ""})
    change("rope_twice", rope_scaling=LLAMA3,
           rope_parameters={**LLAMA3, "rope_theta": 1e4})
    change("rope_theta_text", rope_theta="1e4")
    change("rope_parameters_bad", rope_parameters=[1])
    change("rope_parameters_theta", rope_theta=...,
           rope_parameters={**LLAMA3, "rope_theta": 5e5})
    change("rope_parameters_theta_bad", rope_theta=...,
           rope_parameters={**LLAMA3, "rope_theta": 0})


# ---- common/adapter_peft_config.c -------------------------------------

LORA = {"peft_type": "LORA", "r": 4, "lora_alpha": 8,
        "target_modules": ["q_proj", "v_proj"]}


def adapter_config():
    # One above the most patterns that the target's callback takes.
    put("adapter_config", "too_many_patterns",
        {**LORA, "rank_pattern": {f"layers.{i}.q_proj": 2 for i in range(101)}})
    put("adapter_config", "rank_fraction", {**LORA, "r": 1.5})
    put("adapter_config", "dropout_range", {**LORA, "lora_dropout": 2})
    put("adapter_config", "target_comma", {**LORA, "target_modules": ["q,v"]})
    put("adapter_config", "above_the_cap", "x")
    put("adapter_config", "patterns_regex", {**LORA, "rank_pattern": {
        r"layers\.[0-3]\.(?:self_attn|mlp)\.\w+$": 2, "^model.*q_proj": 3},
        "alpha_pattern": {"(q_proj|k_proj)": 2.5, ".*": 1}})
    put("adapter_config", "pattern_refused", {**LORA, "rank_pattern": {"q{2}": 2}})
    put("adapter_config", "pattern_long", {**LORA, "rank_pattern": {"a" * 300: 2}})
    put("adapter_config", "pattern_text", r"(a*|[^0-9]+?b)*\.(x|\d?)+$")


# ---- client/tokenizer/*.c ----------------------------------------------

def byte_level():
    bpe = {"type": "BPE", "dropout": None, "unk_token": None,
           "byte_fallback": False, "vocab": {"a": 0, "b": 1, "ab": 2, "<s>": 3},
           "merges": ["a b"]}
    return {"version": "1.0", "added_tokens": [
                {"id": 3, "content": "<s>", "special": True,
                 "single_word": False, "lstrip": False, "rstrip": False,
                 "normalized": False}],
            "normalizer": None,
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False,
                              "use_regex": False},
            "post_processor": None, "decoder": {"type": "ByteLevel"},
            "model": bpe}


def tokenizer():
    def change(name, edit):
        j = byte_level()
        edit(j)
        put("tokenizer", name, j)

    def template(single, special):
        return lambda j: j.update(post_processor={
            "type": "TemplateProcessing", "single": single, "pair": [],
            "special_tokens": special})

    begin = {"SpecialToken": {"id": "<s>", "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    good = {"<s>": {"id": "<s>", "ids": [3], "tokens": ["<s>"]}}
    change("vocab_not_object", lambda j: j["model"].update(vocab=[]))
    change("vocab_long_token", lambda j: j["model"]["vocab"].update({"x" * 5000: 4}))
    change("vocab_negative", lambda j: j["model"]["vocab"].update(c=-1))
    change("vocab_huge", lambda j: j["model"]["vocab"].update(c=10**9))
    change("vocab_fraction", lambda j: j["model"]["vocab"].update(c=0.5))
    change("added_not_array", lambda j: j.update(added_tokens={}))
    change("added_not_object", lambda j: j.update(added_tokens=[1]))
    change("added_id_text", lambda j: j["added_tokens"][0].update(id="3"))
    change("added_no_content", lambda j: j["added_tokens"][0].pop("content"))
    change("added_flag_text", lambda j: j["added_tokens"][0].update(special="x"))
    change("added_content_number", lambda j: j["added_tokens"][0].update(content=3))
    change("merge_triple", lambda j: j["model"].update(merges=[["a", "b", "c"]]))
    change("merge_unknown", lambda j: j["model"].update(merges=["b zz"]))
    change("merge_number", lambda j: j["model"].update(merges=[3]))
    change("merges_not_array", lambda j: j["model"].update(merges={}))
    change("unk_number", lambda j: j["model"].update(unk_token=3))
    change("unk_not_there", lambda j: j["model"].update(unk_token="zz"))
    change("model_not_object", lambda j: j.update(model=[]))
    change("model_type_number", lambda j: j["model"].update(type=3))
    change("version_number", lambda j: j.update(version=1))
    change("version_other", lambda j: j.update(version="2.0"))
    change("dropout_set", lambda j: j["model"].update(dropout=0.1))
    change("template_good", template([begin, text], good))
    change("template_unknown", template([
        {"SpecialToken": {"id": "<z>", "type_id": 0}}, text], good))
    change("template_many", template([begin] * 40 + [text], good))
    change("template_not_array", template({}, good))
    change("template_member", template([{"Other": {}}], good))
    change("template_ids", template([begin, text], {"<s>": {"ids": [0]}}))
    change("template_ids_two", template([begin, text], {"<s>": {"ids": [3, 3]}}))
    change("template_special_array", template([begin, text], []))
    change("template_special_number", template([begin, text], {"<s>": 3}))
    change("rule_no_type", lambda j: j.update(pre_tokenizer={}))
    change("rule_not_object", lambda j: j.update(pre_tokenizer=[]))
    change("rule_type_number", lambda j: j.update(pre_tokenizer={"type": 1}))
    change("rule_field_twice", lambda j: None)
    raw = json.dumps(byte_level()).replace(
        '"type": "ByteLevel", "add_prefix_space"',
        '"type": "ByteLevel", "type": "ByteLevel", "add_prefix_space"')
    put("tokenizer", "rule_field_twice", raw)
    change("byte_level_twice", lambda j: j.update(pre_tokenizer={
        "type": "Sequence", "pretokenizers": [j["pre_tokenizer"]] * 2}))
    change("sequence_not_array", lambda j: j.update(pre_tokenizer={
        "type": "Sequence", "pretokenizers": {}}))
    change("sequence_of_numbers", lambda j: j.update(pre_tokenizer={
        "type": "Sequence", "pretokenizers": [1]}))
    deep = {"type": "ByteLevel"}
    for _ in range(12):
        deep = {"type": "Sequence", "pretokenizers": [deep]}
    change("sequence_deep", lambda j: j.update(pre_tokenizer=deep))
    change("digits", lambda j: j.update(pre_tokenizer={
        "type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": True}, j["pre_tokenizer"]]}))
    change("digits_runs", lambda j: j.update(pre_tokenizer={
        "type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": False}, j["pre_tokenizer"]]}))
    change("splits_many", lambda j: j.update(pre_tokenizer={
        "type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": True}] * 40}))

    def split(pattern, behavior="Isolated", invert=False):
        return lambda j: j.update(pre_tokenizer={
            "type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": pattern, "behavior": behavior,
                 "invert": invert}, j["pre_tokenizer"]]})

    change("split_string", split({"String": " "}))
    change("split_long", split({"Regex": "a" * 9000}))
    change("split_broken", split({"Regex": "(a"}))
    change("split_kind", split({"Other": "a"}))
    change("split_removed", split({"Regex": "a"}, "Removed"))
    change("split_invert", split({"Regex": "a"}, invert=True))
    change("split_pattern_number", split(3))
    change("strip_empty", lambda j: j.update(decoder={
        "type": "Strip", "content": "", "start": 1, "stop": 0}))
    change("strip_huge", lambda j: j.update(decoder={
        "type": "Strip", "content": " ", "start": 1000000, "stop": 0}))
    change("replace_long", lambda j: j.update(decoder={
        "type": "Replace", "pattern": {"String": "x" * 500}, "content": " "}))
    change("metaspace_scheme", lambda j: j.update(pre_tokenizer={
        "type": "Metaspace", "replacement": "_", "prepend_scheme": "twice"}))
    change("metaspace_first", lambda j: j.update(pre_tokenizer={
        "type": "Metaspace", "replacement": "_", "prepend_scheme": "first"}))
    change("post_byte_level", lambda j: j.update(post_processor={
        "type": "ByteLevel", "trim_offsets": False}))
    change("post_other", lambda j: j.update(post_processor={
        "type": "BertProcessing"}))
    change("post_no_single", lambda j: j.update(post_processor={
        "type": "TemplateProcessing"}))
    change("normalizer_nfc", lambda j: j.update(normalizer={"type": "NFC"}))
    tokenizer_refusals(change, template, split)
    # Not a tokenizer, so read as tokenizer_config.json of a good one.
    put("tokenizer", "config_token_number", {"bos_token": 3})
    put("tokenizer", "config_token_null", {"bos_token": None, "eos_token": "a"})
    put("tokenizer", "config_token_long", {"bos_token": "x" * 300})
    put("tokenizer", "config_token_inside", {"bos_token": {"content": 3}})
    put("tokenizer", "config_token_cut", '{"bos_token":{"content"')
    put("tokenizer", "config_skip_cut", '{"bos_token":{"other":[')
    put("tokenizer", "config_trailing", '{"bos_token":"a"} 1')
    chat_templates()


def tokenizer_refusals(change, template, split):
    """One input for each thing that tokenizer.json may not say."""
    def pre(*members):
        return lambda j: j.update(pre_tokenizer={"type": "Sequence", "pretokenizers": list(members)})

    def decoder(*members):
        return lambda j: j.update(decoder={"type": "Sequence", "decoders": list(members)})

    begin = {"SpecialToken": {"id": "<s>", "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    good = {"<s>": {"id": "<s>", "ids": [3], "tokens": ["<s>"]}}
    bytes_ = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
    space = {"type": "Split", "pattern": {"String": " "}, "behavior": "Isolated", "invert": False}
    mark = {"type": "Metaspace", "replacement": "_", "prepend_scheme": "always"}
    change("rule_flag_text", split({"String": "a"}, invert="x"))
    change("split_two_kinds", split({"String": "a", "Regex": "a"}))
    change("split_no_pattern", pre({"type": "Split", "behavior": "Isolated", "invert": False}, bytes_))
    change("split_empty", split({"String": ""}))
    change("split_class", split({"Regex": "[a[b]]"}))
    change("split_escape", split({"Regex": "\\R"}))
    change("split_longest", split({"Regex": "a|" * 2500}))
    change("split_complex", split({"Regex": "(?:(?:[b-y][b-y]){200}){200}"}))
    change("split_after_bytes", pre(bytes_, space))
    change("metaspace_after_split", pre(space, mark))
    change("metaspace_empty", pre({**mark, "replacement": ""}))
    change("prefix_after_split", pre(space, {**bytes_, "add_prefix_space": True}))
    change("strip_after_fuse", decoder({"type": "Fuse"}, {"type": "Strip", "content": "", "start": 1, "stop": 0}))
    change("decoder_after_fuse", decoder({"type": "Fuse"}, {"type": "ByteFallback"}))
    change("decoder_regex", decoder({"type": "Replace", "pattern": {"Regex": "a"}, "content": "b"}, {"type": "Fuse"}))
    change("members_without_sequence", lambda j: j["pre_tokenizer"].update(pretokenizers=[]))
    change("template_no_name", template([{"SpecialToken": {"id": 3}}, text], good))
    change("template_part_number", template([{"SpecialToken": 3}, text], good))
    change("template_text_twice", template([text, text], good))
    change("template_part_empty", template([{}], good))
    change("template_part_two", template([{**begin, **text}], good))
    change("template_broken", template([begin, 3], good))
    change("template_name_long", template([begin, text], {"x" * 300: {}}))
    both = {"type": "TemplateProcessing", "single": [begin, text], "special_tokens": good}
    change("template_twice", lambda j: j.update(post_processor={"type": "Sequence", "processors": [both, both]}))
    change("merge_long", lambda j: j["model"].update(merges=["x" * 2000 + " " + "y" * 2000]))
    change("normalizer_late", lambda j: j.update(
        pre_tokenizer={"type": "Sequence", "pretokenizers": [space, j["pre_tokenizer"]]},
        normalizer=j.pop("normalizer") or {"type": "NFC"}))


def chat_templates():
    """Read as tokenizer_config.json of a good tokenizer, as those above."""
    def config(name, value):
        put("tokenizer", f"config_template_{name}", {"chat_template": value})
    named = {"name": "default", "template": "a"}
    config("text", "{{ a }}\n")
    config("empty", "")
    config("null", None)
    config("number", 1)
    config("list", [{"name": "tool_use", "template": "b"}, named])
    config("list_empty", [])
    config("list_other", [{**named, "name": "rag"}])
    config("list_twice", [named, named])
    config("list_numbers", [1])
    config("list_nameless", [{"template": "a"}])
    config("list_member", [{**named, "x": {"y": [1]}}])
    put("tokenizer", "config_template_twice", '{"chat_template":"a","chat_template":"a"}')
    put("tokenizer", "config_template_cut", '{"chat_template":[{"name":"default"')
    put("tokenizer", "config_template_surrogate", '{"chat_template":"\\ud800"}')


# ---- common/safetensors.c ----------------------------------------------

def safetensors():
    def file(name, head, data=b""):
        raw = head if isinstance(head, bytes) else json.dumps(head).encode()
        put("safetensors", name, struct.pack("<Q", len(raw)) + raw + data)

    one = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    file("dims_not_array", {"a": {**one, "shape": 1}}, bytes(4))
    file("halves", {"a": {"dtype": "F16", "shape": [4], "data_offsets": [0, 8]}},
         struct.pack("<4H", 0x7c00, 0x0001, 0x8001, 0x3c00))
    file("empty_tensors", {"b": {"dtype": "F32", "shape": [0], "data_offsets": [4, 4]},
                           "a": one,
                           "c": {"dtype": "F32", "shape": [0], "data_offsets": [4, 4]},
                           "d": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}},
         bytes(4))
    file("meta_many", {"__metadata__": {f"k{i}": "v" for i in range(40)}, "a": one},
         bytes(4))
    file("meta_key_twice", b'{"__metadata__":{"k":"1","k":"2"},"a":'
         + json.dumps(one).encode() + b"}", bytes(4))


# ---- common/gguf.c, client/model/gguf_model.c ---------------------------

U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9


def gguf_text(s):
    raw = s if isinstance(s, bytes) else s.encode()
    return struct.pack("<Q", len(raw)) + raw


def gguf_key(key, kind, value):
    return gguf_text(key) + struct.pack("<I", kind) + value


def gguf_number(key, n):
    return gguf_key(key, U32, struct.pack("<I", n))


def gguf_real(key, x):
    return gguf_key(key, F32, struct.pack("<f", x))


def gguf_info(name, *ne, kind=0, offset=0):
    return (gguf_text(name) + struct.pack("<I", len(ne)) + struct.pack(f"<{len(ne)}Q", *ne)
            + struct.pack("<IQ", kind, offset))


def gguf_file(keys, infos, data=0, version=3, magic=b"GGUF"):
    head = (magic + struct.pack("<IQQ", version, len(infos), len(keys))
            + b"".join(keys) + b"".join(infos))
    return head + bytes(-len(head) % 32 + data)


def gguf():
    def file(name, *args, **more):
        put("gguf", name, gguf_file(*args, **more))

    def model(name, arch="llama", drop=(), infos=None, **change):
        keys = {"embedding_length": 8, "feed_forward_length": 16, "block_count": 2,
                "attention.head_count": 2, "attention.head_count_kv": 1, "context_length": 64,
                "rope.freq_base": 1e4, "attention.layer_norm_rms_epsilon": 1e-5,
                "attention.layer_norm_epsilon": 1e-5, "attention.sliding_window": 4, **change}
        file(name, [gguf_key("general.architecture", STRING, gguf_text(arch))]
             + [v if isinstance(v, bytes) else (gguf_real if isinstance(v, float) else gguf_number)(
                 f"{arch}.{k}", v) for k, v in keys.items() if k not in drop],
             infos if infos is not None else [gguf_info("token_embd.weight", 8, 2)], 64)

    for arch in ("llama", "gpt2", "qwen2", "qwen3", "gemma3", "phi3"):
        model("model_" + arch, arch)
    model("model_other", "mamba")
    model("model_no_words", infos=[])
    model("model_no_width", drop=["embedding_length"])
    model("model_width_real", embedding_length=8.0)
    model("model_width_zero", embedding_length=0)
    model("model_heads", **{"attention.head_count_kv": 3})
    model("model_head_odd", **{"attention.key_length": 3})
    model("model_eps_text", **{"attention.layer_norm_rms_epsilon": gguf_key(
        "llama.attention.layer_norm_rms_epsilon", STRING, gguf_text("x"))})
    model("model_eps_negative", **{"attention.layer_norm_rms_epsilon": -1.0})
    model("model_rope_part", **{"rope.dimension_count": 2})
    model("model_rope_linear", **{"t": gguf_key("llama.rope.scaling.type", STRING, gguf_text("linear")),
                                  "rope.scaling.factor": 2.0})
    model("model_rope_below", **{"t": gguf_key("llama.rope.scaling.type", STRING, gguf_text("linear")),
                                 "rope.scaling.factor": 0.5})
    model("model_rope_yarn", **{"t": gguf_key("llama.rope.scaling.type", STRING, gguf_text("yarn"))})
    model("model_rope_number", **{"rope.scaling.type": 3})
    words = gguf_info("token_embd.weight", 8, 2)
    model("model_divisors_zero", infos=[words, gguf_info("rope_freqs.weight", 2, offset=64)])
    model("model_divisors_long", infos=[words, gguf_info("rope_freqs.weight", 3, offset=64)])
    pattern = "gemma3.attention.sliding_window_pattern"
    model("model_pattern", "gemma3", p=gguf_key(pattern, ARRAY, struct.pack("<IQ2B", BOOL, 2, 1, 0)))
    model("model_pattern_short", "gemma3", p=gguf_key(pattern, ARRAY, struct.pack("<IQB", BOOL, 1, 1)))
    model("model_pattern_text", "gemma3", p=gguf_key(
        pattern, ARRAY, struct.pack("<IQ", STRING, 2) + gguf_text("a") + gguf_text("b")))
    model("model_tokens", t=gguf_number("tokenizer.ggml.eos_token_id", 1),
          e=gguf_number("tokenizer.ggml.eot_token_id", 0))
    file("no_architecture", [], [words], 64)
    a = gguf_number("a", 1)
    file("empty", [], [])
    file("magic", [], [], magic=b"GGML")
    file("version_1", [], [], version=1)
    file("twice_key", [a, a], [])
    file("name_nul", [gguf_number("a\0b", 1)], [])
    file("name_long", [gguf_number("a" * 256, 1)], [])
    file("type_unknown", [gguf_key("a", 13, bytes(8))], [])
    file("string_long", [gguf_key("a", STRING, struct.pack("<Q", 1 << 60))], [])
    file("bool_two", [gguf_key("a", BOOL, b"\2")], [])
    for kind, size in enumerate((1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8)):
        if size:
            file(f"value_{kind}", [gguf_key("a", kind, bytes(size)), gguf_key(
                "b", ARRAY, struct.pack("<IQ", kind, 3) + bytes(3 * size))], [])
    file("array_nested", [gguf_key("a", ARRAY, struct.pack("<IQ", ARRAY, 1) + bytes(32))], [])
    file("array_type", [gguf_key("a", ARRAY, struct.pack("<IQ", 99, 1) + bytes(32))], [])
    file("array_long", [gguf_key("a", ARRAY, struct.pack("<IQ", U32, 1 << 40) + bytes(32))], [])
    file("array_words", [gguf_key("a", ARRAY, struct.pack("<IQ", STRING, 2)
                                  + gguf_text("x") + gguf_text(""))], [])
    file("alignment_odd", [gguf_number("general.alignment", 33)], [])
    file("alignment_text", [gguf_key("general.alignment", STRING, gguf_text("x"))], [])
    one = gguf_info("t", 4, 2)
    file("tensor", [], [one], 32)
    file("tensor_cut", [], [one], 31)
    file("tensor_no_data", [], [one])
    put("gguf", "tensor_ends", gguf_file([], [one], 32)[:70])
    file("tensor_twice", [], [one, gguf_info("t", 4, 2, offset=32)], 64)
    file("tensor_overlap", [], [gguf_info("a", 4, 4), gguf_info("b", 4, 2, offset=32)], 96)
    file("tensor_unaligned", [], [gguf_info("t", 4, 2, offset=8)], 64)
    file("tensor_far", [], [gguf_info("t", 4, 2, offset=1 << 40)], 64)
    file("tensor_dims", [], [gguf_info("t", 1, 1, 1, 1, 1)], 64)
    file("tensor_no_dims", [], [gguf_info("t")], 64)
    file("tensor_huge", [], [gguf_info("t", 1 << 47, 1 << 47)], 64)
    file("tensor_wide", [], [gguf_info("t", 1 << 60)], 64)
    file("tensor_half_block", [], [gguf_info("t", 33, kind=8)], 96)
    file("tensor_iq", [], [gguf_info("t", 256, kind=20)], 96)
    file("tensor_type", [], [gguf_info("t", 256, kind=999)], 96)
    for kind, size in ((1, 2), (2, 18), (3, 20), (6, 22), (7, 24), (8, 34), (12, 144), (13, 176),
                       (14, 210), (30, 2)):
        file(f"tensor_{kind}", [], [gguf_info("t", 256 if kind in (12, 13, 14) else 32, kind=kind)],
             max(size, 64))
    put("gguf", "counts", b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 1 << 60) + bytes(64))
    put("gguf", "short", b"GGUF")


# ---- client/tokenizer/tokenizer_gguf.c ----------------------------------

def gguf_list(key, kind, items):
    pack = {STRING: gguf_text, F32: lambda x: struct.pack("<f", x),
            I32: lambda x: struct.pack("<i", x)}[kind]
    return gguf_key(key, ARRAY, struct.pack("<IQ", kind, len(items)) + b"".join(map(pack, items)))


def tokenizer_gguf():
    T = "tokenizer.ggml."
    words = [*"abc", "ab", "\u0120", "\u0120a", "<end>", "#"]
    bpe = {"model": "gpt2", "pre": "gpt-2", "tokens": words,
           "token_type": [1, 1, 1, 1, 1, 1, 3, 4], "merges": ["a b", "\u0120 a"],
           "eos_token_id": 6}
    pieces = ["<unk>", "<s>", "</s>", "<0x0A>", "\u2581", "a", "b", "ab", "\u2581ab", "abab"]
    spm = {"model": "llama", "tokens": pieces, "token_type": [2, 3, 3, 6, 1, 1, 1, 1, 1, 5],
           "scores": [0.0, 0.0, 0.0, 0.0, -5.0, -6.0, -7.0, -1.0, -1.0, -2.0],
           "bos_token_id": 1, "eos_token_id": 2, "unknown_token_id": 0}

    def file(name, base, drop=(), extra=(), **change):
        kinds = {"tokens": STRING, "merges": STRING, "scores": F32, "token_type": I32}
        keys = list(extra)
        for key, value in {**base, **change}.items():
            if key in drop:
                continue
            if isinstance(value, bytes):
                keys.append(value)
            elif isinstance(value, list):
                keys.append(gguf_list(T + key, kinds[key], value))
            elif isinstance(value, str):
                keys.append(gguf_key(T + key, STRING, gguf_text(value)))
            elif isinstance(value, bool):
                keys.append(gguf_key(T + key, BOOL, bytes([value])))
            else:
                keys.append(gguf_number(T + key, value))
        put("tokenizer_gguf", name, gguf_file(keys, []))

    file("bpe", bpe)
    for pre in ("llama-bpe", "qwen2", "smollm", "mystery"):
        file("bpe_" + pre, bpe, pre=pre)
    file("bpe_both_ends", bpe, bos_token_id=0, add_bos_token=True, add_eos_token=True)
    file("bpe_same_ends", bpe, bos_token_id=6, add_bos_token=True, add_eos_token=True)
    file("bpe_no_types", bpe, drop=["token_type"])
    file("bpe_no_pre", bpe, drop=["pre"])
    file("bpe_no_merges", bpe, drop=["merges"])
    file("bpe_merges_numbers", bpe, merges=gguf_list(T + "merges", I32, [1]))
    file("bpe_merge_unknown", bpe, merges=["a z"])
    file("bpe_merge_bytes", bpe, merges=[b"a \xff"])
    file("no_model", bpe, drop=["model"])
    file("model_bert", bpe, model="bert")
    file("model_long", bpe, model="x" * 90)
    file("no_tokens", bpe, drop=["tokens"])
    file("tokens_none", bpe, tokens=[])
    file("tokens_numbers", bpe, tokens=gguf_list(T + "tokens", I32, [1]))
    file("tokens_bytes", bpe, tokens=[*words[:7], b"\xff"])
    file("tokens_twice", bpe, tokens=[*words[:7], "a"])
    file("token_empty", bpe, tokens=[*words[:7], ""])
    file("token_plain_empty", bpe, tokens=["", *words[1:]], merges=[])
    file("token_long", bpe, tokens=[*words[:7], "x" * 1025])
    file("token_nul", bpe, tokens=["\0", '"', "\\", *words[3:]], merges=[])
    file("types_few", bpe, token_type=[1])
    file("type_unknown", bpe, token_type=[9] * 8)
    file("type_part", bpe, token_type=gguf_list(T + "token_type", F32, [1.5] * 8))
    file("types_text", bpe, token_type=gguf_list(T + "token_type", STRING, ["a"] * 8))
    file("types_number", bpe, token_type=3)
    file("id_outside", bpe, eos_token_id=8)
    file("id_text", bpe, bos_token_id="a")
    file("flag_number", bpe, add_eos_token=1)
    file("flag_prefix_number", spm, add_space_prefix=1)
    file("spm", spm)
    file("spm_no_prefix", spm, add_space_prefix=False, add_bos_token=False)
    file("spm_phi3", spm, extra=[gguf_key("general.architecture", STRING, gguf_text("phi3"))])
    file("spm_no_unknown", spm, drop=["unknown_token_id"])
    file("spm_no_scores", spm, drop=["scores"])
    file("spm_scores_few", spm, scores=[1.0])
    file("spm_scores_text", spm, scores=gguf_list(T + "scores", STRING, ["a"] * 10))
    file("spm_score_nan", spm, scores=[float("nan")] * 10)
    file("spm_scores_same", spm, scores=[0.0] * 10)
    file("spm_twice", spm, tokens=[*pieces[:9], "a"])
    inside = json.dumps(byte_level())
    for name, text in {"json": inside, "json_bad": "{"}.items():
        file(name, {}, extra=[gguf_key("tokenizer.huggingface.json", STRING, gguf_text(text)),
                              gguf_key("hearth.tokenizer_config", STRING,
                                       gguf_text('{"eos_token":"ab"}'))])
    file("template", bpe, extra=[gguf_key("tokenizer.chat_template", STRING, gguf_text("{{ a }}"))])
    file("template_empty", bpe, extra=[gguf_key("tokenizer.chat_template", STRING, gguf_text(""))])
    file("template_number", bpe, extra=[gguf_number("tokenizer.chat_template", 3)])
    file("json_config_bad", {}, extra=[gguf_key("tokenizer.huggingface.json", STRING, gguf_text(inside)),
                                       gguf_key("hearth.tokenizer_config", STRING, gguf_text("["))])
    file("config_bad", bpe, extra=[gguf_key("hearth.tokenizer_config", STRING, gguf_text("["))])
    file("json_number", bpe, extra=[gguf_number("tokenizer.huggingface.json", 3)])


# ---- client/tokenizer/tokenizer_vocab.c ---------------------------------

def tokenizer_vocab():
    """Files of a folder with a NUL between."""
    good = {"vocab": {"a": 0, "b": 1, "ab": 2, "<|endoftext|>": 3}, "merges": "#version: 0.2\r\na b\r\n\n",
            "config": {"tokenizer_class": "GPT2Tokenizer"}}

    def files(name, *more, **change):
        f = {**good, **change}
        texts = [x if isinstance(x, str) else json.dumps(x) for x in (f["vocab"], f["merges"], f["config"], *more)]
        put("tokenizer_vocab", name, "\0".join(texts))

    def added(value):
        return {**good["config"], "added_tokens_decoder": value}

    files("gpt2")
    files("qwen2", config={"tokenizer_class": "Qwen2Tokenizer", "added_tokens_decoder": {
        "3": {"content": "<|endoftext|>", "special": True}, "4": {"content": "<|im_end|>", "special": True}}})
    files("model_type", {"x": [1], "model_type": "qwen3"}, config={"add_prefix_space": False})
    files("model_type_other", {"model_type": "opt"}, config={})
    files("model_type_none", "[", config={})
    files("class_other", config={"tokenizer_class": "LlamaTokenizer"})
    files("class_number", config={"tokenizer_class": 1})
    for key in ("add_prefix_space", "add_bos_token", "add_eos_token"):
        files(key, config={key: True})
    files("added_file", "{}", "{}")
    files("added_list", config=added([]))
    files("added_key", config=added({"x": {}}))
    files("added_number", config=added({"1": 1}))
    files("added_empty", config=added({"1": {}}))
    files("added_two", config=added({"1": {"content": "b"}, "2": {"content": "ab"}}))
    files("config_list", config=[])
    files("config_cut", config='{"a":')
    files("config_trailing", config="{} {}")
    files("vocab_list", vocab=[])
    files("vocab_text", vocab={"a": "b"})
    files("vocab_cut", vocab='{"a":0')
    files("vocab_trailing", vocab='{"a":0} 1')
    files("vocab_end_part", vocab={"<|endoftext|>": 1.5})
    files("merge_unknown", merges="a z")
    files("merges_quote", merges='" "\n\\ \\')


def model_families():
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3,
             "num_attention_heads": 8, "vocab_size": 512}
    gpt2 = {"architectures": ["GPT2LMHeadModel"], "n_embd": 64, "n_layer": 3, "n_head": 8,
            "vocab_size": 512}

    def of(family, name, **fields):
        base = gpt2 if family == "gpt2" else {"architectures": [ARCHITECTURES[family]], **sizes}
        if family == "qwen2" and name != "plain":
            base = {**base, "num_key_value_heads": 4}
        put("model_config", f"{family}_{name}", {**base, **fields})

    for family in [*ARCHITECTURES, "gpt2"]:
        of(family, "plain")
        of(family, "unknown", embedding_multiplier=2)
    full, local = "full_attention", "sliding_attention"
    of("gpt2", "inner", n_inner=100, n_positions=40, tie_word_embeddings=False)
    of("gpt2", "act", activation_function="gelu")
    of("gpt2", "scale", scale_attn_weights=False)
    of("gpt2", "scale_held", scale_attn_weights=True, reorder_and_upcast_attn=False)
    of("gpt2", "odd_heads", n_head=7)
    of("qwen2", "window", use_sliding_window=True, sliding_window=9, max_window_layers=2)
    of("qwen2", "window_null", use_sliding_window=True, sliding_window=None)
    of("qwen2", "window_bad", use_sliding_window=3)
    of("qwen2", "types_few", layer_types=[full])
    of("qwen2", "types_number", layer_types=[1, 2, 3])
    of("qwen2", "types_other", layer_types=["chunked_attention", full, full])
    of("qwen2", "types_no_window", layer_types=[local, full, full])
    of("mistral", "no_window", sliding_window=None, num_key_value_heads=None)
    of("mistral", "types_differ", layer_types=[local, full, full])
    of("phi3", "window", sliding_window=2047)
    of("phi3", "longrope", rope_scaling={"type": "longrope"})
    of("gemma3", "window_null", sliding_window=None)
    of("gemma3", "pattern", sliding_window_pattern=2, _sliding_window_pattern=2)
    of("gemma3", "pattern_one", sliding_window_pattern=1)
    of("gemma3", "pattern_differs", _sliding_window_pattern=3)
    of("gemma3", "scalar", query_pre_attn_scalar=168)
    of("gemma3", "scalar_part", query_pre_attn_scalar=2.5)
    of("gemma3", "softcap", final_logit_softcapping=30.0)
    both = {"full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 5e5},
            "sliding_attention": {"rope_type": "default", "rope_theta": 2e4}}
    of("gemma3", "bases", rope_parameters=both)
    of("gemma3", "bases_one", rope_parameters={"full_attention": {}})
    of("gemma3", "bases_scaled", rope_parameters={**both, "sliding_attention": both["full_attention"]})
    of("llama", "head_wide", head_dim=1026, num_key_value_heads=8)
    of("llama", "theta_in_scaling", rope_theta=2e4,
       rope_scaling={"rope_type": "default", "rope_theta": 3e4})
    put("model_config", "gemma3_pictures", {"architectures": ["Gemma3ForConditionalGeneration"]})


# ---- client/model/tensor_source.c ---------------------------------------

def tensor_index():
    def index(name, mapping, **more):
        put("tensor_index", name, {"metadata": {"total_size": 1}, "weight_map": mapping, **more})

    index("two", {"a": "m-2.safetensors", "b": "m-1.safetensors", "c": "m-2.safetensors"})
    index("none", {})
    index("list", [])
    index("number", {"a": 1})
    index("folder", {"a": "../m.safetensors"})
    index("hidden", {"a": ".safetensors"})
    index("other", {"a": "m.bin"})
    index("long", {"a": "m" * 200 + ".safetensors"})
    index("many", {f"t{i}": f"{i}.safetensors" for i in range(1025)})
    put("tensor_index", "no_map", {"metadata": {}})
    put("tensor_index", "broken", '{"weight_map":{')


# ---- the rest -----------------------------------------------------------

def json_texts():
    put("json", "deep_array", "[" * 65 + "]" * 65)
    put("json", "deepest_array", "[" * 64 + "]" * 64)
    put("json", "nul_in_key", '{"a\\u0000b":1}')
    put("json", "number_long", "1" * 400)
    put("json", "number_huge", "1e999")


def record_lines():
    record = json.dumps({"text": "Slept eight hours."})
    put("record_lines", "two", record + "\n" + record + "\n")
    put("record_lines", "no_end", record)
    put("record_lines", "blank", "\n \t\r\n" + record + "\r\n\n")
    put("record_lines", "second_bad", record + "\n{\"text\":1}\n")
    put("record_lines", "empty", "\n")
    put("record_lines", "forms", "\n".join(map(json.dumps, (
        {"prompt": "a", "completion": "b"},
        {"instruction": "a", "input": "", "output": "b"},
        {"question": "a", "choices": ["b", "c"], "answer": 0},
        {"messages": [{"role": "user", "content": "a"},
                      {"role": "assistant", "content": "b"}]}))))
    put("record_lines", "nul", b'{"text":"a\0b"}\n')
    put("record_lines", "stop", (record + "\n") * 70)


def routes():
    upload, token = "ab" * 32, "hearth-" + "0f" * 32
    paths = {
        "keyset": "GET /v1/keyset", "keyset_method": "POST /v1/keyset",
        "enroll": "POST /v1/enroll", "renew": "POST /v1/renew",
        "checkin": "POST /v1/checkin", "trailing_slash": "GET /v1/keyset/",
        "manifest": "GET /v1/releases/diary/3/manifest",
        "payload": "GET /v1/releases/diary/latest/payload",
        "payload_method": "POST /v1/releases/diary/3/payload",
        "release_zero": "GET /v1/releases/diary/0/payload",
        "release_zeros": "GET /v1/releases/diary/03/payload",
        "release_huge": "GET /v1/releases/diary/99999999999999999/payload",
        "release_large": "GET /v1/releases/diary/9999999999999999/payload",
        "release_text": "GET /v1/releases/diary/x/payload",
        "release_other": "GET /v1/releases/diary/3/config",
        "release_deeper": "GET /v1/releases/diary/3/payload/x",
        "release_short": "GET /v1/releases/diary/3",
        "release_shorter": "GET /v1/releases/diary",
        "release_task": "GET /v1/releases/Di..ary/3/payload",
        "release_no_task": "GET /v1/releases//3/payload",
        "release_long_task": "GET /v1/releases/" + "d" * 80 + "/3/payload",
        "begin": f"POST /v1/uploads/{upload}", "offset": f"HEAD /v1/uploads/{upload}",
        "append": f"PATCH /v1/uploads/{upload}", "upload_get": f"GET /v1/uploads/{upload}",
        "commit": f"POST /v1/uploads/{upload}/commit",
        "commit_method": f"GET /v1/uploads/{upload}/commit",
        "abort": f"POST /v1/uploads/{upload}/abort",
        "upload_other": f"POST /v1/uploads/{upload}/other",
        "upload_upper": f"POST /v1/uploads/{upload.upper()}",
        "upload_short": "POST /v1/uploads/abab", "long": "GET /" + "x" * 300,
        "no_path": "GET",
    }
    versions = struct.pack("<3I", 1, 2, 7)
    for name, line in paths.items():
        put("routes", name, f"{line}\nbytes=0-9\n{token}\n".encode() + versions)
    for name, line in {
            "range_open": "bytes=5-", "range_one": "bytes=0-0", "range_end": "bytes=99-200",
            "range_beyond": "bytes=100-", "range_back": "bytes=5-4", "range_last": "bytes=-5",
            "range_two": "bytes=0-1,3-4", "range_unit": "items=0-1", "range_word": "bytes=a-b",
            "range_none": "", "range_no_dash": "bytes=5"}.items():
        put("routes", name, f"GET /v1/keyset\n{line}\n{token}\n".encode() + versions)
    for name, line in {"token_upper": token.upper(), "token_short": token[:-1],
                       "token_prefix": "dragon-" + "0f" * 32,
                       "token_digit": token[:-1] + "g"}.items():
        put("routes", name, f"GET /v1/keyset\n\n{line}\n".encode() + versions)
    put("routes", "versions_none", b"GET /v1/keyset\n\n\n")
    put("routes", "versions_other", b"GET /v1/keyset\n\n\n" + struct.pack("<2I", 9, 0))
    put("routes", "versions_many", b"GET /v1/keyset\n\n\n" + struct.pack("<20I", *range(9, 29)))


model_config()
model_families()
adapter_config()
tokenizer()
safetensors()
gguf()
tokenizer_gguf()
tokenizer_vocab()
tensor_index()
json_texts()
record_lines()
routes()

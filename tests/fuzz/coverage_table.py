#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Line coverage per parser from the .gcda files of a build folder.

  python3 tests/fuzz/coverage_table.py BUILD [--missing]
"""
import gzip
import json
import pathlib
import re
import subprocess
import sys
import tempfile

# What hostile bytes reach first: parser -> its sources.
PARSERS = {
    "msgpack scan": ["proto/mp_scan.c"],
    "msgpack decode": ["proto/decode.c", "proto/fields.c",
                       "proto/fields_check.c"],
    "signed": ["proto/signed.c"],
    "http": ["coordinator/http.c"],
    "safetensors": ["common/safetensors.c"],
    "json": ["common/json.c", "common/jsonpull.c"],
    "tokenizer.json": ["client/tokenizer/tokenizer_load.c",
                       "client/tokenizer/tokenizer_rules.c",
                       "client/tokenizer/tokenizer.c",
                       "client/tokenizer/tokenizer_regex.c",
                       "client/tokenizer/template_source.c"],
    "GGUF vocabulary": ["client/tokenizer/tokenizer_gguf.c"],
    "vocab.json": ["client/tokenizer/tokenizer_vocab.c"],
    "records": ["client/records/record.c", "client/records/record_lines.c"],
    "ini": ["common/ini.c"],
    "adapter_config": ["common/adapter_peft_config.c", "common/lora_names.c"],
    "model_config": ["client/model/model_config.c"],
    "policy": ["client/device/policy_file.c"],
    "csr, x509": ["common/x509.c"],
    "routes, token": ["coordinator/routes.c", "coordinator/token.c",
                      "proto/negotiate.c"],
    "reply": ["client/net/reply.c"],
    "server_config": ["coordinator/server_config.c"],
}
LIMIT = 80.0

# Functions in those sources that parse nothing: they write, open files (the
# bytes then go where the fuzzers go) or look something up for the caller.
NOT_PARSING = {
    "proto/signed.c": "seal hearth_keyset_seal hearth_release_seal",
    "coordinator/http.c": "hearth_http_head_done hearth_http_in_request "
                          "hearth_http_status_text hearth_http_write_head "
                          "hearth_http_free hearth_http_new",
    "common/safetensors.c": "hearth_safetensors_open hearth_dtype_name",
    "common/json.c": "hearth_json_load",
    "client/tokenizer/tokenizer.c":
        "hearth_tokenizer_open hearth_tokenizer_bos hearth_tokenizer_eos "
        "hearth_tokenizer_unk hearth_tokenizer_bytes hearth_tokenizer_digest "
        "hearth_tokenizer_is_special hearth_tokenizer_template_digest "
        "keep folder_template open_gguf",
    "client/tokenizer/tokenizer_vocab.c":
        "in_folder map_all text_of hearth_tokenizer__from_folder",
    "client/tokenizer/template_source.c": "hearth_template_source_folder",
    "client/records/record.c": "hearth_record_form_parse",
    "common/ini.c": "hearth_ini_load",
    "common/lora_names.c": "hearth_target_name hearth_targets_format",
    "client/model/model_config.c":
        "hearth_model_config_load hearth_model_config_is_eos "
        "hearth_model_config_parameters hearth_model_config_rope_speed",
    "client/device/policy_file.c": "hearth_policy_file_read",
    "coordinator/token.c": "hearth_token_new",
    "common/x509.c":
        "hearth_x509_csr_new hearth_x509_issue hearth_x509_self_ca "
        "hearth_x509_self_server civil_from_days date_text set_fields "
        "set_serial set_span write_cert write_self read_ca san_of pk_secret",
}
# Faults of the caller or of the machine: no bytes can cause them.
NOT_FROM_BYTES = {"HEARTH_EINVAL", "HEARTH_ENOMEM", "HEARTH_EIO",
                  "HEARTH_ENOTFOUND", "503"}
# Codes that the corpus leaves to a unit test, and why.
ELSEWHERE = {("adapter_config", "HEARTH_ETOOBIG"):
             "a file above 1 MiB: unit.adapter_peft",
             ("server_config", "HEARTH_ETOOBIG"):
             "the path that the caller gives: no bytes of the file",
             ("vocab.json", "HEARTH_ETOOBIG"):
             "a file above 64 MiB: unit.tokenizer_vocab"}
CODE = re.compile(r"(?<![=!]= )(?<!case )(HEARTH_E[A-Z0-9]+)|fail\(h, (\d+)\)")


def lines_of(build, source):
    """{line: hits}, {function: (first, last, hits)} of one source."""
    root = pathlib.Path.cwd()
    found = [p for p in pathlib.Path(build).rglob("*.gcno")
             if str(p).endswith(source.split("/", 1)[1] + ".gcno")
             and source.split("/")[0] in p.parts]
    lines, functions = {}, {}
    for gcno in found:
        gcda = gcno.with_suffix(".gcda")
        if not gcda.exists():
            continue
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["gcov", "--json-format", str(gcda.resolve())],
                           cwd=folder, check=True, capture_output=True)
            for out in pathlib.Path(folder).glob("*.gz"):
                data = json.loads(gzip.decompress(out.read_bytes()))
                for f in data["files"]:
                    path = pathlib.Path(f["file"])
                    if path.resolve() != (root / source).resolve():
                        continue
                    for l in f["lines"]:
                        n = l["line_number"]
                        lines[n] = lines.get(n, 0) + l["count"]
                    for fn in f["functions"]:
                        old = functions.get(fn["name"], (0, 0, 0))[2]
                        functions[fn["name"]] = (fn["start_line"], fn["end_line"],
                                                 old + fn["execution_count"])
    return lines, functions


def drop(source, lines, functions):
    """Forget the functions that parse nothing."""
    for name in NOT_PARSING.get(source, "").split():
        first, last, _ = functions.pop(name, (0, -1, 0))
        for n in range(first, last + 1):
            lines.pop(n, None)


def codes_of(source, lines):
    """{code: [statements reached, statements]} of one source."""
    out = {}
    for n, text in enumerate(pathlib.Path(source).read_text().split("\n"), 1):
        at = n
        while at > n - 4 and at not in lines:   # inside a longer statement
            at -= 1
        if at not in lines or text.lstrip().startswith(("*", "/*")):
            continue
        for match in CODE.finditer(text):
            code = match[1] or match[2]
            entry = out.setdefault(code, [0, 0])
            entry[1] += 1
            entry[0] += lines[at] > 0
    return out


def spans(numbers):
    """[1, 2, 3, 7] -> '1-3 7'"""
    out = []
    for n in numbers:
        if out and out[-1][1] == n - 1:
            out[-1][1] = n
        else:
            out.append([n, n])
    return " ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in out)


def main():
    build, missing = sys.argv[1], "--missing" in sys.argv
    low = []
    print(f"{'parser':16}{'lines':>6}{'covered':>9}  error codes: statements "
          "reached / all")
    for parser, sources in PARSERS.items():
        total = hit = 0
        codes, notes = {}, []
        for source in sources:
            lines, functions = lines_of(build, source)
            if not lines:
                notes.append(f"    {source}: no input reaches it")
            drop(source, lines, functions)
            total += len(lines)
            hit += sum(c > 0 for c in lines.values())
            for code, (reached, n) in codes_of(source, lines).items():
                entry = codes.setdefault(code, [0, 0])
                entry[0] += reached
                entry[1] += n
            notes.append(f"    {source} not reached: "
                         + spans(sorted(l for l in lines if not lines[l])))
        share = 100 * hit / total if total else 0.0
        text = "  ".join(f"{c.removeprefix('HEARTH_')} {a}/{b}"
                         for c, (a, b) in sorted(codes.items())
                         if c not in NOT_FROM_BYTES)
        print(f"{parser:16}{total:6}{share:8.1f}%  {text}")
        if missing:
            print("\n".join(notes))
        if share < LIMIT:
            low.append(f"{parser} is below {LIMIT:.0f} %")
        low += [f"{parser}: nothing reaches {c}" for c, (a, _) in codes.items()
                if not a and c not in NOT_FROM_BYTES
                and (parser, c) not in ELSEWHERE]
    print("\n".join(low) if low else
          f"every parser above {LIMIT:.0f} %, every error code reached")
    return 1 if low else 0


sys.exit(main())

# SPDX-License-Identifier: Apache-2.0
"""Install libhearth into an empty prefix and use it as a stranger would.

Checks: the CMake package and hearth.pc build deploy/examples/health_app.c, and
the app runs; every header compiles alone as C11 and C++17; the shared library
exports exactly the functions that the headers declare and needs no library
that is GPL or LGPL; neither it nor a program needs OpenBLAS where the build is
without; nothing in the prefix names the build machine's paths."""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

build, source, compiler, flags, with_openblas = sys.argv[1:6]
SOURCE = pathlib.Path(source)
BLAS = with_openblas.upper() in ("ON", "1", "YES", "TRUE")
EXAMPLE = SOURCE / "deploy/examples/health_app.c"
ALLOWED = re.compile(r"lib(mbed(tls|x509|crypto)|msgpackc|msgpack-c|cjson|pcre2-8|utf8proc|sqlite3|curl|"
                     + ("openblas|" if BLAS else "") + r"[cm]|pthread|asan|ubsan|tsan|gcc_s)\.so|ld-linux|linux-vdso|libclang_rt")


def run(*argv, env=None, ok=True):
    p = subprocess.run([str(a) for a in argv], capture_output=True, text=True, check=False,
                       env={**os.environ, **(env or {})})
    if ok and p.returncode != 0:
        sys.exit(f"{' '.join(map(str, argv))} left with {p.returncode}\n{p.stdout}{p.stderr}")
    return p


def write_model(hearth, folder):
    """A tiny random model with a tokenizer of bytes."""
    vocab = {"<unk>": 0, "<s>": 1, "</s>": 2, **{f"<0x{i:02X}>": i + 3 for i in range(256)}}
    special = [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False,
                "normalized": False, "special": True} for t, i in list(vocab.items())[:3]]
    (folder / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "added_tokens": special, "normalizer": None, "pre_tokenizer": None,
        "post_processor": None, "decoder": {"type": "ByteFallback"},
        "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True,
                  "vocab": vocab, "merges": []}}))
    (folder / "config.json").write_text(json.dumps({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 259,
        "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 1, "head_dim": 8, "max_position_embeddings": 128, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "tie_word_embeddings": False, "initializer_range": 0.05,
        "bos_token_id": 1, "eos_token_id": 2}))
    run(hearth, "model", "create", "--config", folder / "config.json", "--tokenizer",
        folder / "tokenizer.json", "--seed", "1", "--out", folder / "model")
    return folder / "model"


def use(app, model, state, env):
    """The example on one phone, without a coordinator."""
    run(app, state, model, "note", 'slept "well", 7 hours', env=env)
    run(app, state, model, "note", "walked to work, mood good", env=env)
    said = run(app, state, model, "ask", "How did I sleep?", env=env)
    if not said.stdout.endswith("\n"):
        sys.exit("the example did not answer")
    night = run(app, state, model, "night", env=env, ok=False)
    if night.returncode != 1 or "hearth init" not in night.stderr:
        sys.exit(f"a night before joining: {night.stdout}{night.stderr}")
    run(app, state, model, "forget", env=env)
    usage = run(app, state, ok=False, env=env)
    if usage.returncode != 2:
        sys.exit("usage is not exit 2")


def check_symbols(lib, include):
    declared = set()
    for header in include.glob("hearth/*.h"):
        text = re.sub(r"/\*.*?\*/", "", header.read_text(), flags=re.S)
        for part in text.split("HEARTH_API")[1:]:
            found = re.search(r"\b(hearth_\w+)\s*\(", part)
            if found and not part.lstrip().startswith("__attribute__"):
                declared.add(found[1])
    lines = run("nm", "-D", "--defined-only", lib).stdout.splitlines()
    exported = {line.split()[-1].split("@")[0] for line in lines if " T " in line or " D " in line or " B " in line}
    exported = {s for s in exported if not s.startswith(("_init", "_fini", "__asan", "__odr", "__sancov"))}
    if declared != exported:
        sys.exit(f"exported but not declared: {sorted(exported - declared)}\n"
                 f"declared but not exported: {sorted(declared - exported)}")
    bad = [n for n in needs(lib) if not ALLOWED.match(n)]
    if bad:
        sys.exit(f"libhearth needs {bad}")
    print(f"{len(exported)} functions exported, needs {len(needs(lib))} libraries")


def needs(path):
    """Libraries that the loader brings for it."""
    found = re.findall(r"NEEDED.*\[(.*)\]", run("readelf", "-d", path).stdout)
    if not any(n.startswith("libc.") for n in found):
        sys.exit(f"readelf -d {path.name} is not understood")
    return found


def check_blas(installed, static_flags):
    """The fast path is ours: OpenBLAS is a yardstick, in builds that ask for it."""
    using = [p.name for p in installed if any("blas" in n for n in needs(p))]
    if "blas" in static_flags:
        using.append("hearth.pc --static")
    if bool(using) != BLAS:
        sys.exit(f"HEARTH_WITH_OPENBLAS={with_openblas}, and OpenBLAS is needed by {using}")
    print(f"of {[p.name for p in installed]} OpenBLAS is needed by {using}")


def check_no_paths(prefix):
    for path in list(prefix.glob("**/*.cmake")) + list(prefix.glob("**/*.pc")) + list(prefix.glob("**/*.h")):
        text = path.read_text()
        for place in (build, source, str(prefix)):
            if place in text:
                sys.exit(f"{path.name} holds the path {place}")


with tempfile.TemporaryDirectory() as tmp:
    tmp = pathlib.Path(tmp)
    prefix = tmp / "prefix"
    for component in ("device", "devel"):
        run("cmake", "--install", build, "--prefix", prefix, "--component", component)
    lib = next(prefix.glob("lib*/**/libhearth.so"))
    pc = next(prefix.glob("lib*/**/hearth.pc")).parent
    env = {"LD_LIBRARY_PATH": str(lib.parent), "PKG_CONFIG_PATH": str(pc)}
    hearth = prefix / "bin/hearth"
    model = write_model(hearth, tmp)

    run("cmake", "-S", SOURCE / "tests/install/consumer", "-B", tmp / "build", f"-DCMAKE_PREFIX_PATH={prefix}",
        f"-DCMAKE_C_COMPILER={compiler}", f"-DCMAKE_C_FLAGS={flags}", f"-DCMAKE_CXX_FLAGS={flags}",
        f"-DEXAMPLE={EXAMPLE}", f"-DHEADERS={prefix / 'include'}", "-G", "Ninja")
    run("cmake", "--build", tmp / "build")
    for app in ("app_shared", "app_static"):
        use(tmp / "build" / app, model, tmp / f"state_{app}", env)

    words = run("pkg-config", "--cflags", "--libs", "hearth", env=env).stdout.split()
    run(compiler, "-std=c11", *flags.split(), EXAMPLE, *words, "-o", tmp / "app_pc")
    use(tmp / "app_pc", model, tmp / "state_pc", env)
    static_flags = run("pkg-config", "--static", "--libs", "hearth", env=env).stdout
    if "-lmbedcrypto" not in static_flags:
        sys.exit("hearth.pc --static does not name the private libraries")

    check_symbols(lib, prefix / "include")
    check_no_paths(prefix)
    for component in ("coordinator", "fleet"):  # those that are built
        run("cmake", "--install", build, "--prefix", tmp / "more", "--component", component)
    programs = [p for folder in (prefix, tmp / "more") for p in sorted(folder.glob("bin/*"))]
    check_blas([lib, *programs, tmp / "build/app_static"], static_flags)

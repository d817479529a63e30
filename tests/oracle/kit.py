# SPDX-License-Identifier: Apache-2.0
"""What the oracle tests share: the program, its files, distances.

$HEARTH is the program, $HEARTH_TEST_DATA the real models (may be absent), and
$HEARTH_ORACLE_MODEL a folder to use in the place of deploy/demo/model.
"""
import json
import os
import pathlib
import subprocess
import sys

try:
    import numpy
    import peft
    import safetensors.numpy
    import tokenizers
    import torch
    import transformers
except ImportError as missing:
    sys.exit(f"oracle: {missing}; run sh tests/oracle/setup.sh")

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
HEARTH = os.environ.get("HEARTH") or sys.exit("oracle: HEARTH is to name the program; use ctest -L oracle")
DEMO = pathlib.Path(os.environ.get("HEARTH_ORACLE_MODEL")
                    or ROOT / "deploy" / "demo" / "model")
DATA = pathlib.Path(os.environ.get("HEARTH_TEST_DATA")
                    or ROOT.parent / "shared" / "data")

torch.set_num_threads(1)
transformers.logging.set_verbosity_error()


def skip(why):
    print("SKIPPED:", why)
    sys.exit(77)


def hearth(*args, stdin=None):
    """Run the program; its stdout.  A refusal ends the test with its words."""
    run = subprocess.run([HEARTH, *map(str, args)], input=stdin,
                         capture_output=True)
    if run.returncode:
        sys.exit(f"hearth {' '.join(map(str, args))}: {run.stderr.decode()}"
                 f"{run.stdout.decode()[-300:]}")
    return run.stdout.decode()


def events(*args, stdin=None):
    return [json.loads(line) for line in
            hearth(*args, "--json", stdin=stdin).splitlines()]


def our_logits(work, model, ids, *flags):
    out = work / "logits.safetensors"
    hearth("model", "logits", "--model", model, "--ids", ",".join(map(str, ids)),
           "--out", out, *flags)
    return safetensors.numpy.load_file(out)["logits"].astype(numpy.float64)


def load(folder):
    """transformers on the same folder, computing in float64."""
    model = transformers.LlamaForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager")
    return model.double().eval()


def their_logits(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].double().numpy()


def expect_close(what, ours, theirs, limit):
    """||ours - theirs|| / ||theirs|| <= limit."""
    ours, theirs = numpy.asarray(ours), numpy.asarray(theirs)
    assert ours.shape == theirs.shape, (what, ours.shape, theirs.shape)
    distance = numpy.linalg.norm(ours - theirs) / numpy.linalg.norm(theirs)
    print(f"{what}: distance {distance:.2g} (limit {limit:.0e})")
    assert distance <= limit, what

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Train the demo's base model from scratch, on general diary text only:
#   sh deploy/demo/make_model.sh [BUILD] [OUT]
# BUILD (default build/release) holds the built programs; OUT (default
# deploy/demo/model) is replaced.  About three minutes on two cores; the same
# build and kernels give the same bytes.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=${1:-$here/../../build/release}
out=${2:-$here/model}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$build/deploy/demo/diary_generator" general --seed 1 --lines 30000 >"$work/train.jsonl"
"$build/deploy/demo/diary_generator" general --seed 2 --lines 500 >"$work/valid.jsonl"
"$build/deploy/demo/bpe_learner" --vocab 512 <"$work/train.jsonl" >"$work/tokenizer.json"
hearth=$build/client/cli/hearth
"$hearth" model create --config "$here/config.json" \
    --tokenizer "$work/tokenizer.json" --seed 1 --out "$work/start"
"$hearth" train --mode full --model "$work/start" --data "$work" --out "$work/model" \
    --batch 64 --seq 128 --steps 900 --lr 3e-3 --schedule cosine --warmup 50 \
    --loss-on all --kernels "${KERNELS:-auto}" --seed 1
"$hearth" eval --model "$work/model" --data "$work/valid.jsonl" --loss-on all
rm -rf "$out"
mv "$work/model" "$out"

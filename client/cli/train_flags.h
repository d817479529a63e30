/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/train_flags.h - the flags that `train` and `plan` share.
 *
 * Threads: one thread.
 */
#ifndef HEARTH_CLI_TRAIN_FLAGS_H
#define HEARTH_CLI_TRAIN_FLAGS_H

#include "client/cli/workbench.h"
#include "client/train/memplan.h"
#include "client/train/train_config.h"

typedef struct {
    hearth_workbench wb;
    const char *mode, *targets, *layers, *adapter_dir, *schedule, *compute;
    const char *weights, *base_type;
    uint64_t rank;
    double alpha;
    bool rslora, freeze_a, pack, shuffle;
    uint64_t batch, accum, steps, warmup, seed, memory_budget;
    double dropout, epochs, lr, weight_decay, clip_grad;
} hearth_train_flags;

#define HEARTH_TRAIN_FLAGS_INIT                                                \
    {                                                                          \
        .wb = HEARTH_WORKBENCH_INIT, .mode = "lora", .schedule = "constant",   \
        .compute = "f32", .weights = "auto", .base_type = "file",              \
        .pack = true, .shuffle = true, .batch = 1, .accum = 1, .seed = 1,      \
        .epochs = 1.0, .lr = 2e-4, .clip_grad = 1.0,                           \
    }

/* clang-format off */
#define HEARTH_COMPUTE_FLAG(word)                                             \
    HEARTH_FLAG_CHOICE("compute", "auto|f32|bf16",                            \
                       "products of weights; auto: bf16 where it is faster",  \
                       &(word))
#define HEARTH_BASE_TYPE_FLAG(word)                                           \
    HEARTH_FLAG_CHOICE("base-type", "file|auto|f32|f16|bf16|q8_0|q4_0",       \
                       "copy in memory (q4_0: embed, head as q8_0); auto: by " \
                       "budget",                                              \
                       &(word))
#define HEARTH_TRAIN_FLAGS(f)                                                 \
    HEARTH_WORKBENCH_FLAGS((f).wb),                                           \
    HEARTH_WORKBENCH_RECORD_FLAGS((f).wb),                                    \
    HEARTH_FLAG_CHOICE("mode", "lora|full", "what is trained", &(f).mode),    \
    HEARTH_FLAG_U64("rank", "N", "of the adapter, 0 = 8", &(f).rank, 0, 1024),       \
    HEARTH_FLAG_F64("alpha", "X", "scale is alpha / rank, 0 = 16", &(f).alpha, 0,  \
                    1e6),                                                     \
    HEARTH_FLAG_BOOL("rslora", "scale is alpha / sqrt(rank)", &(f).rslora),   \
    HEARTH_FLAG_STR("targets", "LIST", "auto (q and v), attn, all-linear, names",    \
                    &(f).targets),                                            \
    HEARTH_FLAG_STR("layers", "last:K", "adapt the last K layers only",       \
                    &(f).layers),                                             \
    HEARTH_FLAG_BOOL("freeze-a", "train B only", &(f).freeze_a),              \
    HEARTH_FLAG_F64("dropout", "P", "on the adapter's input", &(f).dropout,   \
                    0.0, 0.95),                                               \
    HEARTH_FLAG_STR("adapter", "DIR", "start from this adapter",              \
                    &(f).adapter_dir),                                        \
    HEARTH_FLAG_U64("batch", "N", "records of a micro-batch", &(f).batch, 1,  \
                    4194304),                                                 \
    HEARTH_FLAG_U64("accum", "N", "micro-batches of a step", &(f).accum, 1,   \
                    4194304),                                                 \
    HEARTH_FLAG_BOOL("pack", "one pass a record, less memory", &(f).pack),    \
    HEARTH_FLAG_BOOL("shuffle", "keep the order of the file", &(f).shuffle),  \
    HEARTH_FLAG_F64("epochs", "X", "passes over the records", &(f).epochs,    \
                    1e-6, 1e6),                                               \
    HEARTH_FLAG_U64("steps", "N", "optimizer steps instead of epochs",        \
                    &(f).steps, 1, UINT32_MAX),                               \
    HEARTH_FLAG_F64("lr", "X", "peak learning rate", &(f).lr, 0.0, 1e3),      \
    HEARTH_FLAG_CHOICE("schedule", "constant|linear|cosine", "of the rate",   \
                       &(f).schedule),                                        \
    HEARTH_FLAG_U64("warmup", "N", "steps to reach the peak", &(f).warmup, 0, \
                    UINT32_MAX),                                              \
    HEARTH_FLAG_F64("weight-decay", "X", "decoupled", &(f).weight_decay, 0.0, \
                    1e3),                                                     \
    HEARTH_FLAG_F64("clip-grad", "X", "largest gradient norm, 0 = off",       \
                    &(f).clip_grad, 0.0, 1e9),                                \
    HEARTH_FLAG_U64("seed", "N", "of A, order and dropout", &(f).seed, 0,     \
                    UINT64_MAX),                                              \
    HEARTH_FLAG_CHOICE("compute", "auto|f32|bf16|int8",                       \
                       "auto: bf16 where faster; int8: experimental, for "    \
                       "Arm with I8MM",                                       \
                       &(f).compute),                                         \
    HEARTH_FLAG_CHOICE("weights", "auto|mapped|streamed",                     \
                       "streamed: two layers at a time; auto: as the budget " \
                       "allows",                                              \
                       &(f).weights),                                         \
    HEARTH_BASE_TYPE_FLAG((f).base_type),                                     \
    HEARTH_FLAG_BYTES("memory-budget", "SIZE",                                \
                      "memory at most, paid in time; --weights mapped "       \
                      "leaves the file out",                                  \
                      &(f).memory_budget)
/* clang-format on */

/* Does --compute ask for bfloat16?  int8 does: it is bf16 but for one kind of
 * product. */
bool hearth_train_flags_bf16(const char *compute, bool reference);

/* The type of a word of --base-type. */
hearth_base_type hearth_train_flags_base(const char *word);

/* The flags as settings of a run; the workbench is open. */
HEARTH_MUST_CHECK
hearth_status hearth_train_flags_config(const hearth_train_flags *f,
                                        hearth_train_config *cfg,
                                        hearth_error *err);

/* A fresh adapter, or the one of --adapter; NULL in mode full. */
HEARTH_MUST_CHECK
hearth_status hearth_train_flags_adapter(hearth_train_flags *f,
                                         hearth_error *err);

/* The plan as an event, and for people as a table. */
void hearth_train_flags_show_plan(hearth_cli *cli, const hearth_memplan *p,
                                  uint64_t budget, bool table);

#endif /* HEARTH_CLI_TRAIN_FLAGS_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/workbench.h - what commands on models share: the flags, and the
 * pool, model, tokenizer, adapter and records that they name.
 *
 *     hearth_workbench wb = HEARTH_WORKBENCH_INIT;
 *     const hearth_flag flags[] = {HEARTH_WORKBENCH_FLAGS(wb), ...};
 *     st = hearth_workbench_open(&wb, HEARTH_WORKBENCH_TOKENIZER, &err);
 *     ...
 *     hearth_workbench_close(&wb);
 *
 * Threads: one thread.
 * Memory:  everything in it is freed by _close.
 */
#ifndef HEARTH_CLI_WORKBENCH_H
#define HEARTH_CLI_WORKBENCH_H

#include <stdbool.h>

#include "client/cli/cli.h"
#include "client/model/base_model.h"
#include "client/tokenizer/tokenizer.h"
#include "client/train/dataset.h"
#include "client/train/kernels.h"
#include "common/adapter.h"
#include "common/adapter_peft.h"
#include "common/pool.h"

typedef struct {
    /* From flags; borrowed from argv. */
    const char *model_dir;
    const char *kernels_name; /* of hearth_kernels_find */
    const char *template_name;
    const char *loss_on;      /* answer | all */
    hearth_cli_list adapters; /* DIR or DIR:weight */
    uint64_t threads;         /* 0: one per core */
    uint64_t seq; /* tokens of a record at most; 0: 256, or the model's */

    struct hearth_cli *cli; /* told what loads applied; NULL: nobody is */

    /* Opened. */
    hearth_pool *pool;
    hearth_model *model;
    hearth_tokenizer *tokenizer;
    hearth_adapter *adapter; /* NULL: none was named */
    hearth_peft_info info;   /* of the (first) adapter */
    const hearth_kernels *kernels;
} hearth_workbench;

#define HEARTH_WORKBENCH_INIT                                                  \
    { .kernels_name = "auto", .template_name = "auto", .loss_on = "answer", }

/* clang-format off */
#define HEARTH_WORKBENCH_FLAGS(wb)                                            \
    HEARTH_FLAG_STR("model", "DIR", "Hugging Face folder of the base model",  \
                    &(wb).model_dir),                                         \
    HEARTH_FLAG_U64("threads", "N", "compute threads, 0 = one a core",        \
                    &(wb).threads, 0, HEARTH_POOL_MAX_THREADS),               \
    HEARTH_FLAG_CHOICE("kernels", "auto|reference|native|blas|bf16",          \
                       "reference: same bytes on every machine",              \
                       &(wb).kernels_name)
#define HEARTH_WORKBENCH_RECORD_FLAGS(wb)                                     \
    HEARTH_FLAG_U64("seq", "N", "tokens of a record at most, 0 = 256",         \
                    &(wb).seq, 0,   \
                    4194304),                                                 \
    HEARTH_FLAG_CHOICE("loss-on", "answer|all", "which tokens count",         \
                       &(wb).loss_on),                                        \
    HEARTH_FLAG_STR("template", "NAME", "auto plain chatml llama3 gemma "     \
                    "smollm", &(wb).template_name)
/* clang-format on */

enum { HEARTH_WORKBENCH_TOKENIZER = 1, HEARTH_WORKBENCH_ADAPTERS = 2 };

/* Open pool and model, and what `parts` says.  On failure err is set; _close
 * is to be called all the same. */
HEARTH_MUST_CHECK
hearth_status hearth_workbench_open(hearth_workbench *wb, unsigned parts,
                                    hearth_error *err);
void hearth_workbench_close(hearth_workbench *wb);

/* Load one "DIR" or "DIR:weight" for the open model; refuses an adapter whose
 * file says that it was made for another base.  Says "applied N of N". */
HEARTH_MUST_CHECK
hearth_status hearth_workbench_load(hearth_workbench *wb, const char *text,
                                    hearth_adapter **out, float *weight,
                                    hearth_peft_info *info, hearth_error *err);

/* Load a list of them, and add several (or a weighted one) into one; NULL for
 * an empty list.  The caller frees *out. */
HEARTH_MUST_CHECK
hearth_status hearth_workbench_combine(hearth_workbench *wb,
                                       const hearth_cli_list *list,
                                       hearth_adapter **out, hearth_error *err);

/* "applied N of N" of a load: an event, and a remark on stderr. */
void hearth_workbench_say_applied(hearth_cli *cli, const char *dir,
                                  const hearth_peft_info *info, float weight);

/* A data set of a JSON-lines file; the caller frees it.  What was cut or
 * skipped is noted on stderr. */
HEARTH_MUST_CHECK
hearth_status hearth_workbench_dataset(hearth_workbench *wb, hearth_cli *cli,
                                       const char *path, bool all_choices,
                                       hearth_dataset **out, hearth_error *err);

/* The event "records": what came of a file.  Nothing for people: what they
 * should know is noted by _dataset. */
void hearth_workbench_say_records(hearth_cli *cli, const char *path,
                                  const hearth_dataset *ds);

/* The base's digest in hex, into out [65]. */
void hearth_workbench_base_id(const hearth_workbench *wb, char out[65]);

/* True when kernels are the reference set. */
bool hearth_workbench_is_reference(const hearth_workbench *wb);

#endif /* HEARTH_CLI_WORKBENCH_H */

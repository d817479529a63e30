/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/trainer_plan.c - the plan of a run.  Sizes only: no weight is
 * read and nothing is allocated here. */
#include <sys/stat.h>

#include "client/train/trainer_private.h"
#include "client/train/weight_private.h"
#include "common/file.h"
#include "common/mem.h"

/* What the process holds beside our buffers: written data of this program and
 * its libraries, stacks, OpenBLAS' packing buffers.  Observed in a release
 * build: 2.3 MiB with one thread, 0.5 MiB for each further one. */
#define FIXED_BYTES  ((size_t)3 << 20)
#define WORKER_BYTES ((size_t)1 << 20)

size_t hearth_trainer__n_trained(const hearth_model *model,
                                 const hearth_adapter *adapter,
                                 const hearth_train_config *cfg) {
    if (cfg->mode == HEARTH_TRAIN_FULL)
        return (size_t)hearth_model_config_parameters(
            hearth_model_get_config(model));
    return hearth_adapter_dim(adapter, adapter->freeze_a ? HEARTH_PART_B
                                                         : HEARTH_PART_AB);
}

hearth_decoder_shape hearth_trainer__shape(const hearth_model *model,
                                           hearth_adapter *adapter,
                                           const hearth_train_config *cfg,
                                           size_t max_tokens,
                                           const hearth_pool *pool) {
    bool full = cfg->mode == HEARTH_TRAIN_FULL;
    return (hearth_decoder_shape){.model = model,
                                  .adapter = full ? NULL : adapter,
                                  .mode = full ? HEARTH_DECODER_FULL
                                               : HEARTH_DECODER_LORA,
                                  .max_tokens = max_tokens,
                                  .dropout = cfg->dropout > 0.0,
                                  .n_workers = hearth_pool_size(pool)};
}

static size_t tensor_bytes(const hearth_weight *w) {
    size_t n = w->rows * w->cols;
    switch (w->type) {
    case HEARTH_WEIGHT_F16:
    case HEARTH_WEIGHT_BF16: return 2 * n;
    case HEARTH_WEIGHT_QUANT:
        return n / hearth_quant_elements(w->quant) *
               hearth_quant_bytes(w->quant);
    case HEARTH_WEIGHT_F32:
    case HEARTH_WEIGHT_REAL: break;
    }
    return 4 * n;
}

static size_t regular_bytes(const char *path) {
    struct stat sb;
    return stat(path, &sb) == 0 && S_ISREG(sb.st_mode) && sb.st_size > 0
               ? (size_t)sb.st_size
               : 0;
}

/* Bytes of the weights' file; of a model in several, of its tensors. */
static size_t model_file_bytes(const hearth_model *model) {
    const hearth_model_config *c = hearth_model_get_config(model);
    char path[1024];
    size_t sum = regular_bytes(hearth_model_dir(model));
    if (sum == 0 &&
        hearth_file_join(path, sizeof(path), hearth_model_dir(model),
                         "model.safetensors") == HEARTH_OK)
        sum = regular_bytes(path);
    if (sum) return sum;
    for (size_t i = 0; i < hearth_model_n_tensors(c); i++) {
        hearth_model_tensor t;
        hearth_model_tensor_at(c, i, &t);
        sum += tensor_bytes(hearth_model_weight(model, t.role, t.layer));
    }
    return sum;
}

/* What a run over given numbers of tokens holds. */
typedef struct {
    size_t max_tokens;   /* of a micro-batch */
    size_t record_bytes; /* of the data set */
    size_t batch_bytes;
} token_sizes;

static hearth_status plan_run(hearth_memplan *p, const hearth_model *model,
                              const hearth_adapter *adapter,
                              const hearth_train_config *cfg,
                              const token_sizes *sz, hearth_pool *pool,
                              hearth_error *err) {
    hearth_decoder_sizes d;
    hearth_adapter view = {0}; /* the decoder's shape wants it writable */
    size_t tokens = sz->max_tokens, eval_bytes = 0;
    *p = (hearth_memplan)HEARTH_MEMPLAN_INIT;
    if (adapter) view = *adapter;
    if (tokens < cfg->eval_tokens) tokens = cfg->eval_tokens;
    if (cfg->eval_tokens)
        (void)hearth_size_mul(tokens, 3 * sizeof(int32_t), &eval_bytes);
    hearth_decoder_shape shape =
        hearth_trainer__shape(model, &view, cfg, tokens, pool);
    hearth_status st = hearth_decoder_plan(&shape, &d, err);
    if (st != HEARTH_OK) return st;

    size_t n = hearth_trainer__n_trained(model, adapter, cfg);
    hearth_memplan_add(
        p, "trained values", HEARTH_MEM_PRIVATE,
        adapter ? adapter->n_values * sizeof(float) : d.parameters, 1);
    hearth_memplan_add(p, "gradients", HEARTH_MEM_PRIVATE, d.gradients, 1);
    hearth_memplan_add(p, "optimizer", HEARTH_MEM_PRIVATE,
                       hearth_arena_need(n, sizeof(float)), 2);
    hearth_memplan_add(p, "activations", HEARTH_MEM_PRIVATE, d.activations, 1);
    hearth_memplan_add(p, "scratch", HEARTH_MEM_PRIVATE, d.scratch, 1);
    hearth_memplan_add(p, "tables", HEARTH_MEM_PRIVATE, d.tables, 1);
    hearth_memplan_add(p, "micro-batch", HEARTH_MEM_PRIVATE, sz->batch_bytes,
                       1);
    if (eval_bytes)
        hearth_memplan_add(p, "evaluation", HEARTH_MEM_PRIVATE, eval_bytes, 1);
    hearth_memplan_add(p, "records", HEARTH_MEM_PRIVATE, sz->record_bytes, 1);
    hearth_memplan_add(p, "program and libraries", HEARTH_MEM_PRIVATE,
                       FIXED_BYTES + hearth_pool_size(pool) * WORKER_BYTES, 1);
    hearth_memplan_add(p, "model file", HEARTH_MEM_FILE,
                       model_file_bytes(model), 1);
    return hearth_memplan_check(p, cfg->memory_budget, err);
}

static hearth_status check_args(const hearth_model *model,
                                const hearth_adapter *adapter,
                                const hearth_train_config *cfg,
                                hearth_error *err) {
    hearth_status st = hearth_train_config_check(cfg, err);
    if (st != HEARTH_OK) return st;
    if (!model) return hearth_error_set(err, HEARTH_EINVAL, "no model");
    if (!adapter != (cfg->mode == HEARTH_TRAIN_FULL))
        return hearth_error_set(err, HEARTH_EINVAL,
                                "mode lora takes an adapter, mode full none");
    return HEARTH_OK;
}

hearth_status hearth_trainer_plan(hearth_memplan *plan,
                                  const hearth_model *model,
                                  const hearth_adapter *adapter,
                                  const hearth_dataset *ds,
                                  const hearth_train_config *cfg,
                                  hearth_pool *pool, hearth_error *err) {
    if (!plan || !ds) return HEARTH_EINVAL;
    *plan = (hearth_memplan)HEARTH_MEMPLAN_INIT;
    hearth_status st = check_args(model, adapter, cfg, err);
    if (st != HEARTH_OK) return st;
    if (hearth_dataset_n_docs(ds) == 0)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "no records to train on; add some first");
    hearth_batch_config bc = {.batch = cfg->batch, .pack = cfg->pack};
    token_sizes sz = {.max_tokens = hearth_batch_max_tokens(ds, &bc),
                      .batch_bytes = hearth_batcher_bytes(ds, &bc)};
    (void)hearth_size_mul((size_t)hearth_dataset_get_report(ds)->n_tokens,
                          2 * sizeof(int32_t), &sz.record_bytes);
    return plan_run(plan, model, adapter, cfg, &sz, pool, err);
}

hearth_status hearth_trainer_plan_sizes(hearth_memplan *plan,
                                        const hearth_model *model,
                                        const hearth_adapter *adapter,
                                        size_t n_records,
                                        const hearth_train_config *cfg,
                                        hearth_pool *pool, hearth_error *err) {
    if (!plan) return HEARTH_EINVAL;
    *plan = (hearth_memplan)HEARTH_MEMPLAN_INIT;
    hearth_status st = check_args(model, adapter, cfg, err);
    if (st != HEARTH_OK) return st;
    size_t all;
    token_sizes sz;
    (void)hearth_size_mul(cfg->seq, cfg->pack ? cfg->batch : 1, &sz.max_tokens);
    (void)hearth_size_mul(sz.max_tokens, 3 * sizeof(int32_t), &sz.batch_bytes);
    (void)hearth_size_mul(n_records, cfg->seq, &all);
    (void)hearth_size_mul(all, 2 * sizeof(int32_t), &sz.record_bytes);
    return plan_run(plan, model, adapter, cfg, &sz, pool, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/trainer_plan.c - the plan of a run.  Sizes only: no weight is
 * read and nothing is allocated here. */
#include <sys/stat.h>

#include "client/train/base_copy.h"
#include "client/train/planner.h"
#include "client/train/trainer_private.h"
#include "client/train/weight_private.h"
#include "common/file.h"
#include "common/mem.h"

/* What the process holds beside our buffers: written data of this program and
 * its libraries, stacks.  Observed in a release build: 1.7 MiB with two
 * threads. */
#define FIXED_BYTES  ((size_t)3 << 20)
#define WORKER_BYTES HEARTH_POOL_STACK_BYTES

size_t hearth_trainer__n_trained(const hearth_model *model,
                                 const hearth_adapter *adapter,
                                 const hearth_train_config *cfg) {
    if (cfg->mode == HEARTH_TRAIN_FULL)
        return (size_t)hearth_model_config_parameters(
            hearth_model_get_config(model));
    return hearth_adapter_dim(adapter, adapter->freeze_a ? HEARTH_PART_B
                                                         : HEARTH_PART_AB);
}

const hearth_kernels *hearth_trainer__kernels(const hearth_train_config *cfg) {
    if (cfg->reference_kernels) return hearth_kernels_reference();
    if (cfg->int8) return hearth_kernels_int8();
    return cfg->bf16 ? hearth_kernels_bf16() : hearth_kernels_default();
}

hearth_decoder_shape hearth_trainer__shape(const hearth_model *model,
                                           hearth_adapter *adapter,
                                           const hearth_train_config *cfg,
                                           const hearth_memplan_choice *choice,
                                           size_t max_tokens,
                                           const hearth_pool *pool) {
    bool full = cfg->mode == HEARTH_TRAIN_FULL;
    const hearth_kernels *kernels = hearth_trainer__kernels(cfg);
    return (hearth_decoder_shape){
        .model = model,
        .adapter = full ? NULL : adapter,
        .mode = full ? HEARTH_DECODER_FULL : HEARTH_DECODER_LORA,
        .max_tokens = max_tokens,
        .dropout = cfg->dropout > 0.0,
        .round_parts = kernels ? kernels->pair_parts : 0,
        .attention_parts =
            kernels ? hearth_kernels_attention_parts(kernels) : 0,
        .recompute = choice->recompute,
        .keep_attention = choice->keep_attention,
        .store_bf16 = choice->store_bf16,
        .mlp_rows = choice->mlp_rows,
        .head_rows = choice->head_rows,
        .small_tiles = choice->small_tiles,
        .n_workers = hearth_pool_size(pool)};
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
        sum += hearth_weight__bytes(hearth_model_weight(model, t.role, t.layer),
                                    (size_t)t.rows * t.cols);
    }
    return sum;
}

/* What a run over given numbers of tokens holds. */
typedef struct {
    size_t max_tokens;   /* of a pass, or of an evaluated record */
    size_t pass_tokens;  /* of a pass */
    size_t record_bytes; /* of the data set */
    size_t batch_bytes;
    size_t eval_bytes;
} token_sizes;

static size_t min_size(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Sizes of passes of n records. */
static token_sizes sizes_of(const hearth_plan_request *q, size_t n) {
    const hearth_train_config *cfg = q->cfg;
    hearth_batch_config bc = {.batch = n, .pack = cfg->pack};
    size_t most = q->seq ? q->seq : SIZE_MAX, record, all, eval;
    token_sizes sz = {0};
    record = min_size(q->ds ? hearth_dataset_longest(q->ds) : SIZE_MAX, most);
    if (!q->ds) record = min_size(q->seq ? q->seq : cfg->seq, most);
    (void)hearth_size_mul(record, cfg->pack ? n : 1, &sz.pass_tokens);
    (void)hearth_size_mul(sz.pass_tokens, 3 * sizeof(int32_t), &sz.batch_bytes);
    (void)hearth_size_mul(q->n_records, record, &all);
    if (q->ds) {
        sz.batch_bytes = hearth_batcher_bytes(q->ds, &bc);
        all = (size_t)hearth_dataset_get_report(q->ds)->n_tokens;
    }
    (void)hearth_size_mul(all, 2 * sizeof(int32_t), &sz.record_bytes);
    eval = min_size(cfg->eval_tokens, most);
    sz.max_tokens = eval > sz.pass_tokens ? eval : sz.pass_tokens;
    if (eval)
        (void)hearth_size_mul(sz.max_tokens, 3 * sizeof(int32_t),
                              &sz.eval_bytes);
    return sz;
}

static const char *copy_name(hearth_base_type t) {
    static const char *const name[] = {"",
                                       "",
                                       "",
                                       "base weights as F16",
                                       "base weights as BF16",
                                       "base weights as Q8_0",
                                       "base weights as Q4_0"};
    return name[t];
}

/* What _open allocates, and the rest. */
static void list_items(const hearth_plan_request *q, const token_sizes *sz,
                       const hearth_decoder_sizes *d, hearth_memplan *p) {
    const hearth_adapter *a = q->adapter;
    size_t n = hearth_trainer__n_trained(q->model, a, q->cfg);
    size_t workers = hearth_pool_size(q->pool);
    hearth_memplan_add(p, "gradients", HEARTH_MEM_PRIVATE, d->gradients, 1);
    hearth_memplan_add(p, "optimizer", HEARTH_MEM_PRIVATE,
                       hearth_arena_need(n, sizeof(float)), 2);
    hearth_memplan_add(p, "activations", HEARTH_MEM_PRIVATE, d->activations, 1);
    hearth_memplan_add(p, "scratch", HEARTH_MEM_PRIVATE, d->scratch, 1);
    hearth_memplan_add(p, "tables", HEARTH_MEM_PRIVATE, d->tables, 1);
    hearth_memplan_add(p, "micro-batch", HEARTH_MEM_PRIVATE, sz->batch_bytes,
                       1);
    if (!a)
        hearth_memplan_add(p, "trained values", HEARTH_MEM_PRIVATE,
                           d->parameters, 1);
    if (p->choice.streamed)
        hearth_memplan_add(p, "stream buffer", HEARTH_MEM_PRIVATE,
                           hearth_weight_stream_bytes(q->model, workers), 1);
    if (p->choice.base != HEARTH_BASE_FILE)
        hearth_memplan_add(p, copy_name(p->choice.base), HEARTH_MEM_PRIVATE,
                           hearth_base_copy_bytes(q->model, p->choice.base), 1);
    p->open_bytes = p->private_bytes;
    if (a)
        hearth_memplan_add(p, "trained values", HEARTH_MEM_PRIVATE, a->n_values,
                           sizeof(float));
    if (sz->eval_bytes)
        hearth_memplan_add(p, "evaluation", HEARTH_MEM_PRIVATE, sz->eval_bytes,
                           1);
    hearth_memplan_add(p, "records", HEARTH_MEM_PRIVATE, sz->record_bytes, 1);
    if (q->cfg->held_bytes)
        hearth_memplan_add(p, "held beside the run", HEARTH_MEM_PRIVATE,
                           q->cfg->held_bytes, 1);
    hearth_memplan_add(p, "program and libraries", HEARTH_MEM_PRIVATE,
                       FIXED_BYTES + workers * WORKER_BYTES, 1);
    if (p->choice.streamed)
        hearth_memplan_add(p, "window of the file", HEARTH_MEM_FILE,
                           hearth_weight_stream_window(q->model, workers), 1);
    else
        hearth_memplan_add(
            p, "model file", HEARTH_MEM_FILE,
            p->choice.base == HEARTH_BASE_FILE
                ? model_file_bytes(q->model)
                : hearth_base_copy_left(q->model, p->choice.base),
            1);
}

/* The choice with what follows from it. */
static hearth_memplan_choice settle(const hearth_plan_request *q,
                                    const hearth_memplan_choice *asked,
                                    const token_sizes *sz,
                                    const hearth_decoder_sizes *d) {
    hearth_memplan_choice c = *asked;
    c.max_tokens = sz->pass_tokens;
    c.head_rows = d->head_rows;
    c.layers = hearth_model_get_config(q->model)->n_layers;
    if (q->adapter && q->adapter->n_pairs) /* canonical order */
        c.layers -= q->adapter->pair[0].layer;
    c.recompute = min_size(c.recompute, c.layers - 1);
    c.keep_attention = min_size(c.keep_attention, c.recompute);
    hearth_planner__estimate(q, &c);
    return c;
}

hearth_status hearth_planner__list(const hearth_plan_request *q,
                                   const hearth_memplan_choice *choice,
                                   hearth_memplan *out, hearth_error *err) {
    hearth_decoder_sizes d;
    hearth_adapter view = {0}; /* the decoder's shape wants it writable */
    token_sizes sz = sizes_of(q, choice->micro_batch);
    *out = (hearth_memplan)HEARTH_MEMPLAN_INIT;
    if (q->adapter) view = *q->adapter;
    hearth_decoder_shape shape = hearth_trainer__shape(
        q->model, &view, q->cfg, choice, sz.max_tokens, q->pool);
    hearth_status st = hearth_decoder_plan(&shape, &d, err);
    if (st != HEARTH_OK) return st;
    out->choice = settle(q, choice, &sz, &d);
    out->file_counts =
        choice->streamed || (q->cfg->weights == HEARTH_WEIGHTS_AUTO &&
                             q->cfg->mode != HEARTH_TRAIN_FULL);
    list_items(q, &sz, &d, out);
    return HEARTH_OK;
}

/* Has a layer, as it is held, a weight that products in 8 bits are for? */
static bool any_int8(const hearth_model *m, hearth_base_type base) {
    const hearth_model_config *c = hearth_model_get_config(m);
    for (size_t i = 0; i < hearth_model_n_tensors(c); i++) {
        hearth_model_tensor t;
        hearth_model_tensor_at(c, i, &t);
        hearth_weight w = hearth_base_copy__like(m, base, i);
        if (t.role < HEARTH_TENSOR_BIAS &&
            hearth_weight__takes_int8(hearth_kernels_int8(), &w))
            return true;
    }
    return false;
}

/* May it be planned?  Fills q->base. */
static hearth_status check_request(hearth_plan_request *q, hearth_error *err) {
    const hearth_train_config *cfg = q->cfg;
    hearth_status st = hearth_train_config_check(cfg, err);
    if (st != HEARTH_OK) return st;
    if (!q->model) return hearth_error_set(err, HEARTH_EINVAL, "no model");
    st = hearth_base_copy_settle(q->model, cfg->base, &q->base, err);
    if (st != HEARTH_OK) return st;
    if (cfg->int8 && !any_int8(q->model, q->base))
        return hearth_error_set(err, HEARTH_EUNSUPPORTED,
                                "int8 multiplies with weights in Q8_0 and this "
                                "model has none; use --compute bf16, "
                                "--base-type q8_0, or `hearth model convert "
                                "--type q8_0`");
    if (cfg->weights == HEARTH_WEIGHTS_STREAMED &&
        cfg->mode == HEARTH_TRAIN_FULL)
        return hearth_error_set(err, HEARTH_EUNSUPPORTED,
                                "full fine-tuning holds every weight; use "
                                "--weights mapped, or train LoRA");
    if (!q->adapter != (cfg->mode == HEARTH_TRAIN_FULL))
        return hearth_error_set(err, HEARTH_EINVAL,
                                "mode lora takes an adapter, mode full none");
    if (q->base > HEARTH_BASE_AUTO && cfg->weights == HEARTH_WEIGHTS_STREAMED)
        return hearth_error_set(err, HEARTH_EUNSUPPORTED,
                                "--base-type %s is a copy in memory and not "
                                "streamed; use --weights mapped, or leave "
                                "--base-type out",
                                hearth_base_type_name(q->base));
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
    hearth_plan_request q = {
        .model = model, .adapter = adapter, .cfg = cfg, .pool = pool, .ds = ds};
    hearth_status st = check_request(&q, err);
    if (st != HEARTH_OK) return st;
    if (hearth_dataset_n_docs(ds) == 0)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "no records to train on; add some first");
    return hearth_planner__search(&q, plan, err);
}

hearth_status hearth_trainer_plan_sizes(hearth_memplan *plan,
                                        const hearth_model *model,
                                        const hearth_adapter *adapter,
                                        size_t n_records,
                                        const hearth_train_config *cfg,
                                        hearth_pool *pool, hearth_error *err) {
    if (!plan) return HEARTH_EINVAL;
    *plan = (hearth_memplan)HEARTH_MEMPLAN_INIT;
    hearth_plan_request q = {.model = model,
                             .adapter = adapter,
                             .cfg = cfg,
                             .pool = pool,
                             .n_records = n_records};
    hearth_status st = check_request(&q, err);
    if (st != HEARTH_OK) return st;
    return hearth_planner__search(&q, plan, err);
}

size_t hearth_trainer_longest_seq(const hearth_model *model,
                                  const hearth_adapter *adapter,
                                  size_t n_records,
                                  const hearth_train_config *cfg,
                                  const hearth_pool *pool) {
    hearth_plan_request q = {.model = model,
                             .adapter = adapter,
                             .cfg = cfg,
                             .pool = pool,
                             .n_records = n_records};
    if (check_request(&q, NULL) != HEARTH_OK) return 0;
    return hearth_planner__longest(&q);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/trainer.c - the loop, turned inside out.
 *
 * Why packing and accumulation change nothing: the decoder adds gradients of
 * the sum of token losses, and the one division, by the supervised tokens of
 * the whole step, happens inside the optimizer's factor.
 * Why a NaN cannot reach the values: the loss is checked by the decoder, the
 * norm of all gradients here, both before the optimizer writes. */
#include "client/train/trainer.h"

#include <math.h>
#include <string.h>

#include "client/model/gguf_sides.h"
#include "client/train/evaluate_private.h"
#include "client/train/trainer_private.h"
#include "common/mem.h"

static hearth_status commit_memory(hearth_trainer *t, hearth_error *err) {
    hearth_batch_config bc = {.batch = t->plan.choice.micro_batch,
                              .seed = t->cfg.seed,
                              .shuffle = t->cfg.shuffle,
                              .pack = t->cfg.pack};
    hearth_status st =
        hearth_batcher_open(&t->batcher, t->ds, &bc, &t->al, err);
    if (st != HEARTH_OK) return st;

    t->max_tokens = hearth_batch_max_tokens(t->ds, &bc);
    if (t->max_tokens < t->cfg.eval_tokens) t->max_tokens = t->cfg.eval_tokens;
    hearth_decoder_shape shape = hearth_trainer__shape(
        t->model, t->adapter, &t->cfg, &t->plan.choice, t->max_tokens, t->pool);
    if (t->plan.choice.streamed) {
        st = hearth_weight_stream_open(&t->stream, t->model,
                                       hearth_pool_size(t->pool), &t->al, err);
        if (st != HEARTH_OK) return st;
        shape.stream = t->stream;
    }
    if (t->plan.choice.base != HEARTH_BASE_FILE) {
        st = hearth_base_copy_open(&t->base, t->model, t->plan.choice.base,
                                   t->pool, &t->al, err);
        if (st != HEARTH_OK) return st;
        shape.base = t->base;
    }
    size_t n = hearth_trainer__n_trained(t->model, t->adapter, &t->cfg);
    size_t moments = hearth_arena_need(n, sizeof(float)), bytes;
    (void)hearth_size_mul(moments, 2, &bytes);
    (void)hearth_size_add(bytes, hearth_decoder_bytes(&shape), &bytes);
    if (hearth_arena_init(&t->arena, &t->al, bytes) != HEARTH_OK)
        return hearth_error_set(err, HEARTH_ENOMEM,
                                "no memory for the run; use a shorter --seq or "
                                "a smaller --batch");
    st = hearth_decoder_new(&t->dec, &shape, t->pool,
                            hearth_trainer__kernels(&t->cfg), &t->arena, err);
    if (st != HEARTH_OK) return st;
    t->params = hearth_decoder_params(t->dec);
    if (t->params->n_elements != n)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "the decoder trains %zu values, planned %zu",
                                t->params->n_elements, n);
    float *m = hearth_arena_take(&t->arena, n, sizeof(float));
    float *v = hearth_arena_take(&t->arena, n, sizeof(float));
    if (!m || !v)
        return hearth_error_set(err, HEARTH_ENOMEM, "no memory for moments");
    hearth_adamw_config ac = {t->cfg.beta1, t->cfg.beta2, t->cfg.eps,
                              t->cfg.weight_decay};
    return hearth_optimizer_init(&t->opt, &ac, m, v, n);
}

static hearth_status list_spans(hearth_trainer *t) {
    size_t n = t->params->n_params;
    t->span = hearth_mem_array(&t->al, n, sizeof(*t->span));
    if (!t->span) return HEARTH_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        const hearth_param *p = &t->params->param[i];
        t->span[i] = (hearth_optimizer_span){p->value, p->grad, p->n, p->decay};
    }
    return HEARTH_OK;
}

static hearth_status set_length(hearth_trainer *t, hearth_error *err) {
    size_t n = hearth_batcher_n_records(t->batcher);
    t->records_total = hearth_train_config_records(&t->cfg, n);
    t->schedule =
        (hearth_schedule){.kind = t->cfg.schedule,
                          .peak = t->cfg.lr,
                          .warmup = t->cfg.warmup,
                          .total = hearth_train_config_steps(&t->cfg, n)};
    if (hearth_schedule_check(&t->schedule) == HEARTH_OK) return HEARTH_OK;
    return hearth_error_set(err, HEARTH_EINVAL,
                            "--warmup %llu is above the %llu steps of the run",
                            (unsigned long long)t->cfg.warmup,
                            (unsigned long long)t->schedule.total);
}

hearth_status
hearth_trainer_open(hearth_trainer **out, const hearth_model *model,
                    hearth_adapter *adapter, const hearth_dataset *ds,
                    const hearth_train_config *cfg, hearth_pool *pool,
                    const hearth_alloc *al, hearth_error *err) {
    hearth_memplan plan;
    if (!out) return HEARTH_EINVAL;
    *out = NULL;
    hearth_status st =
        hearth_trainer_plan(&plan, model, adapter, ds, cfg, pool, err);
    if (st != HEARTH_OK) return st;
    hearth_trainer *t = hearth_mem_new(al, sizeof(*t));
    if (!t) return hearth_error_set(err, HEARTH_ENOMEM, "no memory");
    t->cfg = *cfg;
    t->model = model;
    t->adapter = adapter;
    t->ds = ds;
    t->pool = pool;
    t->al = *hearth_mem_or_default(al);
    t->plan = plan;
    t->memo.best_loss = (double)INFINITY;
    if ((st = commit_memory(t, err)) != HEARTH_OK) goto done;
    if ((st = list_spans(t)) != HEARTH_OK) {
        (void)hearth_error_set(err, st, "no memory");
        goto done;
    }
    if ((st = set_length(t, err)) != HEARTH_OK) goto done;
    *out = t;
    t = NULL;

done:
    hearth_trainer_close(t);
    return st;
}

void hearth_trainer_close(hearth_trainer *t) {
    if (!t) return;
    hearth_alloc al = t->al;
    hearth_batcher_close(t->batcher);
    hearth_weight_stream_close(t->stream);
    hearth_base_copy_close(t->base);
    hearth_mem_free(&al, t->span);
    hearth_arena_free(&t->arena);
    hearth_mem_free(&al, t);
}

const hearth_memplan *hearth_trainer_memplan(const hearth_trainer *t) {
    return &t->plan;
}

size_t hearth_trainer_budget(const hearth_trainer *t) {
    return t->cfg.memory_budget;
}

void hearth_trainer_progress(const hearth_trainer *t, uint64_t *steps,
                             uint64_t *tokens) {
    *steps = t->step;
    *tokens = t->total_tokens;
}

hearth_train_memo *hearth_trainer_memo(hearth_trainer *t) {
    return &t->memo;
}

bool hearth_trainer_is_done(const hearth_trainer *t) {
    return t->step == t->schedule.total;
}

/* Records that the step in progress takes in all. */
static uint64_t step_size(const hearth_trainer *t) {
    uint64_t per_step = (uint64_t)t->cfg.batch * t->cfg.accum;
    uint64_t left = t->records_total - t->step * per_step;
    return left < per_step ? left : per_step;
}

/* Which record of a micro-batch makes the loss not finite: each is run alone.
 * 1-based number among the records given. */
static uint64_t guilty_record(hearth_trainer *t, const hearth_micro_batch *mb) {
    const hearth_stream *s = &mb->stream;
    size_t bad = 0;
    for (size_t d = 0; d < s->n_docs; d++) {
        uint32_t from = s->doc_start[d];
        uint32_t start[2] = {0, s->doc_start[d + 1] - from};
        hearth_stream one = {.n = start[1],
                             .n_docs = 1,
                             .token = s->token + from,
                             .doc_start = start,
                             .position = s->position + from,
                             .label = s->label + from};
        hearth_loss loss;
        if (hearth_decoder_loss(t->dec, &one, &loss, NULL, NULL) !=
            HEARTH_ENONFINITE)
            continue;
        bad = d;
        break;
    }
    return hearth_dataset_doc(t->ds, mb->record[bad]).record + 1;
}

static hearth_status not_finite(hearth_trainer *t, const char *what,
                                const hearth_micro_batch *mb,
                                hearth_error *err) {
    t->failed = true;
    return hearth_error_set(
        err, HEARTH_ENONFINITE,
        "%s is not a finite number at step %llu, record %llu; use a lower "
        "--lr, or look at that record",
        what, (unsigned long long)(t->step + 1),
        (unsigned long long)guilty_record(t, mb));
}

static void begin_step(hearth_trainer *t) {
    hearth_decoder_zero_grad(t->dec);
    t->in_step = true;
    t->before_cursor = hearth_batcher_cursor(t->batcher);
    t->before_micro = t->micro;
    t->before_tokens = t->total_tokens;
}

void hearth_trainer_drop_step(hearth_trainer *t) {
    if (!t->in_step) return;
    t->in_step = false;
    hearth_batcher_seek(t->batcher, t->before_cursor);
    t->micro = t->before_micro;
    t->total_tokens = t->before_tokens;
    t->step_records = t->step_tokens = t->step_supervised = 0;
    t->step_loss = 0.0;
}

void hearth_trainer_set_gate(hearth_trainer *t, hearth_gate_fn fn, void *ud) {
    hearth_decoder_set_gate(t->dec, fn, ud);
}

uint64_t hearth_trainer_bytes_read(const hearth_trainer *t) {
    return t->stream ? hearth_weight_stream_bytes_read(t->stream) : 0;
}

static hearth_status run_micro(hearth_trainer *t, hearth_micro_batch *mb,
                               hearth_loss *loss, hearth_error *err) {
    hearth_dropout drop = {.p = (float)t->cfg.dropout,
                           .seed = t->cfg.seed,
                           .step = (uint32_t)t->step};
    if (t->step_records == 0) begin_step(t);
    hearth_batcher_next(t->batcher, (size_t)(step_size(t) - t->step_records),
                        mb);
    drop.record_base = (uint32_t)mb->first;
    hearth_status st = hearth_decoder_grad(
        t->dec, &mb->stream, t->cfg.dropout > 0.0 ? &drop : NULL, loss, err);
    if (st == HEARTH_ENONFINITE) return not_finite(t, "the loss", mb, err);
    if (st != HEARTH_OK) hearth_trainer_drop_step(t);
    return st;
}

/* Divide, clip, update; the step's numbers into ev. */
static hearth_status finish_step(hearth_trainer *t,
                                 const hearth_micro_batch *mb,
                                 hearth_train_event *ev, hearth_error *err) {
    double scale = 1.0 / (double)t->step_supervised;
    size_t n = t->params->n_params;
    ev->grad_norm = hearth_optimizer_grad_norm(t->span, n, scale);
    if (!isfinite(ev->grad_norm)) return not_finite(t, "the gradient", mb, err);
    double clip = hearth_optimizer_clip_factor(ev->grad_norm, t->cfg.clip_grad);
    ev->lr = hearth_schedule_rate(&t->schedule, t->step + 1);
    hearth_status st = hearth_optimizer_step(&t->opt, t->span, n, ev->lr,
                                             scale * clip, t->pool);
    if (st != HEARTH_OK) return st;
    if (t->adapter) {
        t->adapter->dropout = (float)t->cfg.dropout;
        if (!t->adapter->freeze_a) t->adapter->has_a_seed = false;
    }
    t->step++;
    ev->kind =
        t->step == t->schedule.total ? HEARTH_TRAIN_DONE : HEARTH_TRAIN_STEP;
    ev->loss = t->step_loss * scale;
    t->in_step = false;
    t->step_records = t->step_tokens = t->step_supervised = 0;
    t->step_loss = 0.0;
    return HEARTH_OK;
}

hearth_status hearth_trainer_tick(hearth_trainer *t, hearth_train_event *ev,
                                  hearth_error *err) {
    hearth_micro_batch mb;
    hearth_loss loss;
    if (!t || !ev) return HEARTH_EINVAL;
    memset(ev, 0, sizeof(*ev));
    if (t->failed)
        return hearth_error_set(err, HEARTH_ENONFINITE,
                                "training stopped at a number that is not "
                                "finite; start again with a lower --lr");
    if (hearth_trainer_is_done(t))
        return hearth_error_set(err, HEARTH_ESTATE, "training is complete");

    hearth_status st = run_micro(t, &mb, &loss, err);
    if (st != HEARTH_OK) return st;
    t->micro++;
    t->total_tokens += mb.stream.n;
    t->step_records += mb.stream.n_docs;
    t->step_tokens += mb.stream.n;
    t->step_supervised += loss.n_supervised;
    t->step_loss += loss.loss_sum;

    *ev = (hearth_train_event){
        .kind = HEARTH_TRAIN_MICRO,
        .step = t->step,
        .steps = t->schedule.total,
        .micro = t->micro,
        .loss = loss.loss_sum / (double)loss.n_supervised,
        .lr = hearth_schedule_rate(&t->schedule, t->step + 1),
        .tokens = t->step_tokens,
        .supervised = t->step_supervised,
        .records = t->step_records,
        .total_tokens = t->total_tokens};
    if (t->step_records < step_size(t)) return HEARTH_OK;
    st = finish_step(t, &mb, ev, err);
    ev->step = t->step;
    return st;
}

hearth_status hearth_trainer_evaluate(hearth_trainer *t,
                                      const hearth_dataset *ds,
                                      const hearth_evaluate_options *opt,
                                      hearth_eval_result *r,
                                      hearth_error *err) {
    if (!t || !ds || !r) return HEARTH_EINVAL;
    if (t->step_records)
        return hearth_error_set(err, HEARTH_ESTATE,
                                "evaluation is between steps only");
    return hearth_evaluate__with(t->dec, t->max_tokens, ds, opt, r, &t->al,
                                 err);
}

hearth_status hearth_trainer_save_model(const hearth_trainer *t,
                                        const char *dir, hearth_error *err) {
    if (!t || !dir || t->adapter) return HEARTH_EINVAL;
    size_t n = t->params->n_params;
    const float **value = hearth_mem_array(&t->al, n, sizeof(*value));
    if (!value) return hearth_error_set(err, HEARTH_ENOMEM, "no memory");
    for (size_t i = 0; i < n; i++) value[i] = t->params->param[i].value;
    hearth_status st =
        hearth_model_save(hearth_model_get_config(t->model), value,
                          hearth_model_dir(t->model), dir, &t->al, err);
    if (st == HEARTH_OK)
        st = hearth_gguf_copy_sides(hearth_model_dir(t->model), dir, &t->al,
                                    err);
    hearth_mem_free(&t->al, value);
    return st;
}

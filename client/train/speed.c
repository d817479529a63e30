/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/speed.c - how fast this machine multiplies with a model's
 * weights: what a plan's multiply-adds are divided by.
 *
 * The products timed are those of a step: the widest matrix of a layer, in the
 * type that it is held in, by the run's kernels on all its threads, forward and
 * back.  The matrix is zeros in memory, of at most so many rows: no weight is
 * read, and the time does not depend on values. */
#include "client/train/base_copy.h"
#include "client/train/trainer_private.h"
#include "client/train/weight_private.h"
#include "common/clock.h"
#include "common/mem.h"

#define MOST_ROWS   ((size_t)1024)
#define MOST_TOKENS ((size_t)256)
#define TURNS       5 /* the best of them: others may compute too */
#define TURN_MS     8

/* One pair of products, and its arrays. */
typedef struct {
    hearth_compute compute;
    hearth_weight w;
    size_t n_tokens;
    float *x, *y;
} trial;

/* The matrix with the most elements of layer 0, as it is held, cut to
 * MOST_ROWS. */
static hearth_weight widest(const hearth_model *model, hearth_base_type base) {
    const hearth_model_config *c = hearth_model_get_config(model);
    hearth_model_tensor t, most = {0};
    size_t at = 0;
    for (size_t i = 0; i < hearth_model_n_tensors(c); i++) {
        hearth_model_tensor_at(c, i, &t);
        if (t.role < HEARTH_TENSOR_BIAS && t.layer == 0 &&
            (size_t)t.rows * t.cols > (size_t)most.rows * most.cols) {
            most = t;
            at = i;
        }
    }
    hearth_weight w = hearth_base_copy__like(model, base, at);
    if (w.rows > MOST_ROWS) w.rows = MOST_ROWS;
    return w;
}

/* Everything from one arena; false: no memory. */
static bool take(trial *t, hearth_arena *arena, size_t n_workers) {
    hearth_compute *c = &t->compute;
    size_t wide = t->w.rows > t->w.cols ? t->w.rows : t->w.cols;
    size_t parts = c->kernels->pair_parts, tile = HEARTH_WEIGHT_TILE_BYTES;
    size_t all = hearth_weight__bytes(&t->w, t->w.rows * t->w.cols);
    c->n_halves = parts ? hearth_compute_halves(t->n_tokens, wide, parts) : 0;
    size_t bytes = hearth_arena_need(all, 1) +
                   hearth_arena_need(n_workers * tile, 1) +
                   hearth_arena_need(c->n_halves + 1, sizeof(*c->halves)) +
                   2 * hearth_arena_need(t->n_tokens * wide, sizeof(*t->x));
    if (hearth_arena_init(arena, NULL, bytes) != HEARTH_OK) return false;
    t->w.data = hearth_arena_take(arena, all, 1);
    c->tile = hearth_arena_take(arena, n_workers * tile, 1);
    c->halves = hearth_arena_take(arena, c->n_halves + 1, sizeof(*c->halves));
    t->x = hearth_arena_take(arena, t->n_tokens * wide, sizeof(*t->x));
    t->y = hearth_arena_take(arena, t->n_tokens * wide, sizeof(*t->y));
    return t->w.data && c->tile && c->halves && t->x && t->y;
}

/* Multiply-adds a second over a few milliseconds. */
static double run_turn(const trial *t, const hearth_clock *clock) {
    int64_t from = hearth_clock_mono(clock), now;
    uint64_t runs = 0;
    do {
        hearth_weight_forward(&t->compute, &t->w, t->n_tokens, t->x, t->w.cols,
                              t->y, t->w.rows, 0);
        hearth_weight_backward(&t->compute, &t->w, t->n_tokens, t->y, t->w.rows,
                               t->x, t->w.cols, 0);
        runs += 2;
        now = hearth_clock_mono(clock);
    } while (now - from < TURN_MS);
    return (double)t->n_tokens * (double)t->w.rows * (double)t->w.cols *
           (double)runs / ((double)(now - from) / 1000.0);
}

double hearth_trainer_speed(const hearth_model *model,
                            const hearth_train_config *cfg, size_t n_tokens,
                            hearth_pool *pool) {
    hearth_clock clock = hearth_clock_system();
    hearth_arena arena = {0};
    trial t = {
        .compute = {.kernels = hearth_trainer__kernels(cfg), .pool = pool},
        .w = widest(model, cfg->base),
        .n_tokens = n_tokens < MOST_TOKENS ? n_tokens : MOST_TOKENS};
    double best = 0;
    if (!t.compute.kernels || !t.n_tokens) return 0;
    if (take(&t, &arena, hearth_pool_size(pool)))
        for (int i = 0; i < TURNS; i++) {
            double rate = run_turn(&t, &clock);
            if (rate > best) best = rate;
        }
    hearth_arena_free(&arena);
    return best;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/base_copy.c - why memory stays what was planned: a run of rows at
 * a time is decoded into scratch and encoded into the arena, and what was read
 * of the file is let go after every few MiB. */
#include "client/train/base_copy.h"

#include <math.h>
#include <stdatomic.h>

#include "client/train/weight_private.h"
#include "common/arena.h"
#include "common/mem.h"

#define ROWS ((size_t)16) /* of one tile of work */
#define PIECE_BYTES                                                            \
    ((size_t)4 << 20) /* of the file, read before it is let go */

struct hearth_base_copy {
    hearth_alloc al;
    hearth_arena arena;
    size_t n;
    hearth_weight *view; /* [n] in canonical order; data NULL: not copied */
};

const char *hearth_base_type_name(hearth_base_type t) {
    static const char *const name[] = {"file", "auto", "f32", "f16",
                                       "bf16", "q8_0", "q4_0"};
    return (unsigned)t < sizeof(name) / sizeof(*name) ? name[t] : "?";
}

static hearth_quant_type type_of_base(hearth_base_type t) {
    switch (t) {
    case HEARTH_BASE_F16: return HEARTH_QUANT_F16;
    case HEARTH_BASE_BF16: return HEARTH_QUANT_BF16;
    case HEARTH_BASE_Q8_0: return HEARTH_QUANT_Q8_0;
    case HEARTH_BASE_Q4_0: return HEARTH_QUANT_Q4_0;
    case HEARTH_BASE_FILE:
    case HEARTH_BASE_AUTO:
    case HEARTH_BASE_F32: break;
    }
    return HEARTH_QUANT_F32;
}

static hearth_quant_type type_of_view(const hearth_weight *w) {
    if (w->type == HEARTH_WEIGHT_QUANT) return w->quant;
    if (w->type == HEARTH_WEIGHT_F16) return HEARTH_QUANT_F16;
    return w->type == HEARTH_WEIGHT_BF16 ? HEARTH_QUANT_BF16 : HEARTH_QUANT_F32;
}

static hearth_weight_type view_type(hearth_quant_type t) {
    if (t == HEARTH_QUANT_F32) return HEARTH_WEIGHT_F32;
    if (t == HEARTH_QUANT_F16) return HEARTH_WEIGHT_F16;
    return t == HEARTH_QUANT_BF16 ? HEARTH_WEIGHT_BF16 : HEARTH_WEIGHT_QUANT;
}

static bool is_narrower(hearth_quant_type a, hearth_quant_type b) {
    return hearth_quant_bytes(a) * hearth_quant_elements(b) <
           hearth_quant_bytes(b) * hearth_quant_elements(a);
}

/* Is it a matrix that products or look-ups of tokens read? */
static bool is_matrix(const hearth_model_tensor *t) {
    return t->role < HEARTH_TENSOR_BIAS || t->role == HEARTH_TENSOR_EMBED ||
           t->role == HEARTH_TENSOR_HEAD;
}

/* The type that most elements of the layers' matrices have. */
static hearth_quant_type main_type(const hearth_model *m) {
    const hearth_model_config *c = hearth_model_get_config(m);
    double sum[HEARTH_QUANT_COUNT] = {0};
    hearth_quant_type most = HEARTH_QUANT_F32;
    for (size_t i = 0; i < hearth_model_n_tensors(c); i++) {
        hearth_model_tensor t;
        hearth_model_tensor_at(c, i, &t);
        if (t.role >= HEARTH_TENSOR_BIAS) continue;
        hearth_quant_type q =
            type_of_view(hearth_model_weight(m, t.role, t.layer));
        sum[q] += (double)t.rows * t.cols;
        if (sum[q] > sum[most]) most = q;
    }
    return most;
}

hearth_weight hearth_base_copy__like(const hearth_model *m,
                                     hearth_base_type type, size_t i) {
    hearth_model_tensor t;
    hearth_model_tensor_at(hearth_model_get_config(m), i, &t);
    hearth_weight w = *hearth_model_weight(m, t.role, t.layer);
    hearth_quant_type to = type_of_base(type);
    if (to == HEARTH_QUANT_Q4_0 && t.role >= HEARTH_TENSOR_BIAS)
        to = HEARTH_QUANT_Q8_0;
    if (!is_matrix(&t) || !is_narrower(to, type_of_view(&w)) ||
        w.cols % hearth_quant_elements(to))
        return w;
    return (hearth_weight){
        .type = view_type(to), .quant = to, .rows = w.rows, .cols = w.cols};
}

/* Bytes of the copies, each as it lies in the arena. */
static size_t matrix_bytes(const hearth_model *m, hearth_base_type type) {
    size_t n = hearth_model_n_tensors(hearth_model_get_config(m)), sum = 0;
    for (size_t i = 0; i < n; i++) {
        hearth_weight w = hearth_base_copy__like(m, type, i);
        if (w.data) continue;
        size_t row = hearth_weight__bytes(&w, w.cols);
        (void)hearth_size_add(sum, hearth_arena_need(w.rows, row), &sum);
    }
    return sum;
}

size_t hearth_base_copy_bytes(const hearth_model *m, hearth_base_type type) {
    size_t n = hearth_model_n_tensors(hearth_model_get_config(m));
    size_t sum = matrix_bytes(m, type);
    if (sum == 0) return 0;
    (void)hearth_size_add(sum, hearth_arena_need(n, sizeof(hearth_weight)),
                          &sum);
    return sum;
}

size_t hearth_base_copy_left(const hearth_model *m, hearth_base_type type) {
    const hearth_model_config *c = hearth_model_get_config(m);
    size_t sum = 0;
    for (size_t i = 0; i < hearth_model_n_tensors(c); i++) {
        hearth_model_tensor t;
        hearth_model_tensor_at(c, i, &t);
        hearth_weight w = hearth_base_copy__like(m, type, i);
        if (w.data && (is_matrix(&t) || t.role == HEARTH_TENSOR_POSITION))
            sum += hearth_weight__bytes(&w, w.rows * w.cols);
    }
    return sum;
}

bool hearth_base_copy_helps(const hearth_model *m, hearth_base_type type) {
    return type > HEARTH_BASE_AUTO &&
           is_narrower(type_of_base(type), main_type(m)) &&
           matrix_bytes(m, type) > 0;
}

hearth_status hearth_base_copy_settle(const hearth_model *m,
                                      hearth_base_type asked,
                                      hearth_base_type *out,
                                      hearth_error *err) {
    hearth_quant_type to = type_of_base(asked);
    *out = asked;
    if (asked <= HEARTH_BASE_AUTO || hearth_base_copy_helps(m, asked))
        return HEARTH_OK;
    hearth_quant_type from = main_type(m);
    *out = HEARTH_BASE_FILE;
    if (to == from) return HEARTH_OK;
    if (is_narrower(to, from))
        return hearth_error_set(err, HEARTH_EUNSUPPORTED,
                                "no matrix of this model has rows of whole %s "
                                "blocks; leave --base-type out",
                                hearth_quant_name(to));
    return hearth_error_set(
        err, HEARTH_EUNSUPPORTED,
        "--base-type %s: the model's file is %s, of which "
        "only a narrower copy is made; leave --base-type "
        "out%s",
        hearth_base_type_name(asked), hearth_quant_name(from),
        is_narrower(HEARTH_QUANT_Q8_0, from)   ? ", or give q8_0 or q4_0"
        : is_narrower(HEARTH_QUANT_Q4_0, from) ? ", or give q4_0"
                                               : "");
}

/* ---- the copy ---- */

/* One matrix on its way. */
typedef struct {
    const hearth_weight *from, *to;
    unsigned char *out; /* of `to` */
    hearth_quant_type type;
    size_t first, end;  /* rows of this run */
    hearth_real *tile;  /* [n_workers][ROWS * cols] */
    float *row;         /* [n_workers][cols] */
    size_t widest;      /* cols of the widest matrix */
    atomic_bool failed; /* a number is too large for the type, or NaN */
} job;

/* Can the type hold them?  Scales of blocks are F16. */
static bool can_hold(hearth_quant_type t, const float *x, size_t n) {
    float most = t == HEARTH_QUANT_F16    ? 65504.0f
                 : t == HEARTH_QUANT_Q8_0 ? 65504.0f * 127
                 : t == HEARTH_QUANT_Q4_0 ? 65504.0f * 8
                                          : 0x1.fep127f;
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(x[i]) <= most)) return false;
    return true;
}

/* ROWS rows, as they are stored into the tile, then one by one in canonical
 * order. */
static void encode_rows(void *ud, size_t index, size_t worker) {
    job *j = ud;
    size_t cols = j->from->cols, r0 = j->first + index * ROWS;
    size_t n = j->end - r0 < ROWS ? j->end - r0 : ROWS;
    size_t pitch = hearth_weight__bytes(j->to, cols);
    hearth_real *tile = j->tile + worker * ROWS * j->widest;
    float *row = j->row + worker * j->widest;
    bool across = j->from->transposed;
    if (across)
        hearth_weight__stored_rows(j->from, 0, cols, r0, n, tile);
    else
        hearth_weight__stored_rows(j->from, r0, n, 0, cols, tile);
    for (size_t r = 0; r < n; r++) {
        for (size_t c = 0; c < cols; c++)
            row[c] = (float)(across ? tile[c * n + r] : tile[r * cols + c]);
        if (!can_hold(j->type, row, cols) ||
            !hearth_quant_encode(j->type, row, cols, j->out + (r0 + r) * pitch))
            atomic_store(&j->failed, true);
    }
}

/* A whole matrix, a few MiB of the file at a time; one that is stored across
 * its rows at once. */
static void encode_matrix(job *j, const hearth_model *m, hearth_pool *pool) {
    size_t all = j->from->rows, stored;
    stored = hearth_weight__bytes(j->from, j->from->cols);
    size_t run = PIECE_BYTES / (stored ? stored : 1) / ROWS * ROWS + ROWS;
    if (j->from->transposed) run = all;
    for (j->first = 0; j->first < all; j->first = j->end) {
        j->end = all - j->first < run ? all : j->first + run;
        hearth_pool_run(pool, (j->end - j->first - 1) / ROWS + 1, encode_rows,
                        j);
        hearth_model_forget_pages(m);
    }
}

static hearth_status encode_all(hearth_base_copy *c, const hearth_model *m,
                                hearth_pool *pool, job *j, hearth_error *err) {
    atomic_init(&j->failed, false);
    for (size_t i = 0; i < c->n; i++) {
        hearth_model_tensor t;
        hearth_model_tensor_at(hearth_model_get_config(m), i, &t);
        if (c->view[i].data) {
            c->view[i].data = NULL;
            continue;
        }
        size_t row = hearth_weight__bytes(&c->view[i], c->view[i].cols);
        j->out = hearth_arena_take(&c->arena, c->view[i].rows, row);
        if (!j->out)
            return hearth_error_set(err, HEARTH_EINVAL,
                                    "the copy of the base is larger than "
                                    "planned");
        j->from = hearth_model_weight(m, t.role, t.layer);
        j->to = &c->view[i];
        j->type = c->view[i].quant;
        encode_matrix(j, m, pool);
        if (atomic_load(&j->failed))
            return hearth_error_set(err, HEARTH_ENONFINITE,
                                    "tensor '%.80s' has a number that %s "
                                    "cannot hold; leave --base-type out, or "
                                    "check the model",
                                    t.name, hearth_quant_name(j->type));
        c->view[i].data = j->out;
    }
    return HEARTH_OK;
}

static hearth_status no_memory(hearth_error *err) {
    return hearth_error_set(err, HEARTH_ENOMEM,
                            "no memory for a copy of the base; close other "
                            "programs, or use --weights streamed");
}

static hearth_status fill(hearth_base_copy *c, const hearth_model *m,
                          hearth_base_type type, hearth_pool *pool,
                          hearth_error *err) {
    job j = {.widest = 0};
    hearth_arena scratch = {0};
    size_t workers = hearth_pool_size(pool), tile, line, bytes;
    c->n = hearth_model_n_tensors(hearth_model_get_config(m));
    if (hearth_arena_init(&c->arena, &c->al, hearth_base_copy_bytes(m, type)) !=
        HEARTH_OK)
        return no_memory(err);
    c->view = hearth_arena_take(&c->arena, c->n, sizeof(*c->view));
    if (!c->view) return no_memory(err);
    for (size_t i = 0; i < c->n; i++) {
        c->view[i] = hearth_base_copy__like(m, type, i);
        if (c->view[i].cols > j.widest) j.widest = c->view[i].cols;
    }
    tile = hearth_arena_need(workers * ROWS * j.widest, sizeof(*j.tile));
    line = hearth_arena_need(workers * j.widest, sizeof(*j.row));
    if (!hearth_size_add(tile, line, &bytes) ||
        hearth_arena_init(&scratch, &c->al, bytes) != HEARTH_OK)
        return no_memory(err);
    j.tile =
        hearth_arena_take(&scratch, workers * ROWS * j.widest, sizeof(*j.tile));
    j.row = hearth_arena_take(&scratch, workers * j.widest, sizeof(*j.row));
    hearth_status st = encode_all(c, m, pool, &j, err);
    hearth_arena_free(&scratch);
    return st;
}

hearth_status hearth_base_copy_open(hearth_base_copy **out,
                                    const hearth_model *m,
                                    hearth_base_type type, hearth_pool *pool,
                                    const hearth_alloc *al, hearth_error *err) {
    *out = NULL;
    if (!hearth_base_copy_helps(m, type))
        return hearth_error_set(err, HEARTH_EINVAL,
                                "a copy as %s would not be smaller",
                                hearth_base_type_name(type));
    hearth_base_copy *c = hearth_mem_new(al, sizeof(*c));
    if (!c) return no_memory(err);
    c->al = *hearth_mem_or_default(al);
    hearth_status st = fill(c, m, type, pool, err);
    if (st != HEARTH_OK) {
        hearth_base_copy_close(c);
        return st;
    }
    *out = c;
    return HEARTH_OK;
}

void hearth_base_copy_close(hearth_base_copy *c) {
    if (!c) return;
    hearth_alloc al = c->al;
    hearth_arena_free(&c->arena);
    hearth_mem_free(&al, c);
}

const hearth_weight *hearth_base_copy_view(const hearth_base_copy *c,
                                           size_t i) {
    return c->view[i].data ? &c->view[i] : NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/decoder_store.c - what a layer keeps from forward to backward,
 * in bfloat16.
 *
 * The forward pass computes in arrays of float that all layers share, as those
 * of layers that recompute are; a layer that is kept rounds them into its own
 * store, and the backward pass takes them out again.  So the loss is what it is
 * without, and a gradient sees each kept number with 8 bits of fraction.
 *
 * Stored is what becomes, directly or through a norm or an activation, the
 * input of a product of weights, which kernels in bfloat16 round in any case.
 * Queries, keys, values and each row's maximum and sum stay in float: the
 * backward pass makes the probabilities again from all of them, and they must
 * be of one another.
 */
#include "client/train/decoder_private.h"
#include "client/train/pairs.h"
#include "common/half_float.h"
#include "common/mem.h"

enum { OF_ATTENTION = 5, N_STORED = 8 };

/* One array [T, width] of a slot; width 0: the family has none. */
typedef struct {
    hearth_real *x;
    size_t width;
} stored;

/* All arrays in the order of the store; those of attention come first. */
static void list(const hearth_decoder *d, const hearth_slot *s,
                 stored out[N_STORED]) {
    const hearth_model_config *c = d->c;
    size_t q = (size_t)c->n_heads * c->head_dim, width = c->hidden_size;
    size_t kv = (size_t)c->n_kv_heads * c->head_dim;
    size_t behind = c->sandwich ? width : 0;
    out[0] = (stored){s->o, q};
    out[1] = (stored){s->mid, width};
    out[2] = (stored){s->q_in, c->qk_norm ? q : 0};
    out[3] = (stored){s->k_in, c->qk_norm ? kv : 0};
    out[4] = (stored){s->o_out, behind};
    out[5] = (stored){s->g, c->mlp_kind == HEARTH_MLP_GELU ? 0 : c->ffn_size};
    out[6] = (stored){s->u, c->ffn_size};
    out[7] = (stored){s->down_out, behind};
}

/* Halves between rows, as the kernels that round want it. */
static size_t stride(const stored *a) {
    return hearth_pairs_row(a->width);
}

size_t hearth_decoder__store_halves(const hearth_decoder *d) {
    const hearth_slot none = {0};
    stored all[N_STORED];
    size_t row = 0, n;
    list(d, &none, all);
    for (size_t i = 0; i < N_STORED; i++) row += stride(&all[i]);
    return hearth_size_mul(d->shape.max_tokens, row, &n) ? n : SIZE_MAX;
}

bool hearth_decoder__is_stored(const hearth_decoder *d, const hearth_pass *p,
                               size_t l) {
    return p->back && hearth_decoder__slot(d, l)->store &&
           !hearth_decoder__is_recomputed(d, l);
}

typedef struct {
    const hearth_kernels *k;
    stored a;
    uint16_t *half; /* of the first row */
    size_t ld;
} copy_job;

static void put_rows(void *ud, size_t first, size_t n) {
    const copy_job *j = ud;
    j->k->round_rows(n, j->a.width, j->a.x + first * j->a.width, j->a.width,
                     j->half + first * j->ld, j->ld);
}

static void get_rows(void *ud, size_t first, size_t n) {
    const copy_job *j = ud;
    for (size_t i = first; i < first + n; i++) {
        const uint16_t *half = j->half + i * j->ld;
        hearth_real *x = j->a.x + i * j->a.width;
        for (size_t c = 0; c < j->a.width; c++)
            x[c] = (hearth_real)hearth_bf16_to_f32(half[c]);
    }
}

/* The arrays first .. end - 1 of the list, each from row p->first of the pass
 * on. */
static void copy(const hearth_decoder *d, const hearth_pass *p,
                 const hearth_slot *s, size_t first, size_t end,
                 hearth_rows_fn rows) {
    stored all[N_STORED];
    uint16_t *at = s->store;
    list(d, s, all);
    for (size_t i = 0; i < end; i++) {
        size_t ld = stride(&all[i]);
        copy_job j = {d->compute.kernels, all[i], at + p->first * ld, ld};
        at += d->shape.max_tokens * ld;
        if (i >= first && ld) hearth_decoder__rows(d, p->n, rows, &j);
    }
}

void hearth_store__put_attention(const hearth_decoder *d, const hearth_pass *p,
                                 const hearth_slot *s) {
    copy(d, p, s, 0, OF_ATTENTION, put_rows);
}

void hearth_store__get_attention(const hearth_decoder *d, const hearth_pass *p,
                                 const hearth_slot *s) {
    copy(d, p, s, 0, OF_ATTENTION, get_rows);
}

void hearth_store__put_mlp(const hearth_decoder *d, const hearth_pass *part,
                           const hearth_slot *s) {
    copy(d, part, s, OF_ATTENTION, N_STORED, put_rows);
}

void hearth_store__get_mlp(const hearth_decoder *d, const hearth_pass *part,
                           const hearth_slot *s) {
    copy(d, part, s, OF_ATTENTION, N_STORED, get_rows);
}

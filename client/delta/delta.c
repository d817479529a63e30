/* SPDX-License-Identifier: Apache-2.0 */
/* client/delta/delta.c - the contract is in delta.h. */
#include "client/delta/delta.h"

#include <stdbool.h>

#include "common/bytes.h"
#include "common/mem.h"

struct hearth_delta {
    hearth_alloc alloc;
    size_t n_spans;
    size_t dim;
    hearth_span *span; /* [n_spans], into value */
    float *value;      /* [dim] */
};

static bool same_shape(const hearth_adapter *x, const hearth_adapter *y) {
    if (x->n_pairs != y->n_pairs || x->rslora != y->rslora) return false;
    for (size_t i = 0; i < x->n_pairs; i++) {
        const hearth_adapter_pair *p = &x->pair[i], *q = &y->pair[i];
        if (p->layer != q->layer || p->target != q->target ||
            p->rank != q->rank || p->in != q->in || p->out != q->out)
            return false;
    }
    return true;
}

static void fill(hearth_delta *dl, const hearth_adapter *before,
                 const hearth_adapter *after, hearth_part part) {
    size_t at = 0, s = 0;
    for (size_t i = 0; i < before->n_pairs; i++) {
        const hearth_adapter_pair *p = &before->pair[i], *q = &after->pair[i];
        for (int factor = HEARTH_PART_A; factor <= HEARTH_PART_B; factor++) {
            if (!((int)part & factor)) continue;
            bool is_a = factor == HEARTH_PART_A;
            size_t n = (size_t)p->rank * (is_a ? p->in : p->out);
            const float *from = is_a ? p->a : p->b, *to = is_a ? q->a : q->b;
            dl->span[s++] = (hearth_span){dl->value + at, n};
            for (size_t k = 0; k < n; k++) dl->value[at++] = to[k] - from[k];
        }
    }
}

hearth_status hearth_delta_new(hearth_delta **out, const hearth_adapter *before,
                               const hearth_adapter *after, hearth_part part,
                               const hearth_alloc *al, hearth_error *err) {
    if (!out) return HEARTH_EINVAL;
    *out = NULL;
    if (!before || !after || part < HEARTH_PART_A || part > HEARTH_PART_AB)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "delta: no adapter or no such part");
    if (!same_shape(before, after))
        return hearth_error_set(
            err, HEARTH_EMISMATCH,
            "delta: the adapters before and after training differ in shape; "
            "train from the adapter of the offer");
    al = hearth_mem_or_default(al);
    hearth_delta *dl = hearth_mem_new(al, sizeof(*dl));
    if (!dl) goto nomem;
    dl->alloc = *al;
    dl->dim = hearth_adapter_dim(before, part);
    dl->n_spans = before->n_pairs * (part == HEARTH_PART_AB ? 2u : 1u);
    dl->span = hearth_mem_array(al, dl->n_spans, sizeof(dl->span[0]));
    dl->value = hearth_mem_array(al, dl->dim, sizeof(dl->value[0]));
    if (!dl->span || !dl->value) goto nomem;
    fill(dl, before, after, part);
    *out = dl;
    return HEARTH_OK;
nomem:
    hearth_delta_free(dl);
    return hearth_error_set(err, HEARTH_ENOMEM, "delta: out of memory");
}

void hearth_delta_free(hearth_delta *dl) {
    if (!dl) return;
    hearth_alloc al = dl->alloc;
    if (dl->value) hearth_zeroize(dl->value, dl->dim * sizeof(dl->value[0]));
    hearth_mem_free(&al, dl->value);
    hearth_mem_free(&al, dl->span);
    hearth_mem_free(&al, dl);
}

hearth_span *hearth_delta_spans(hearth_delta *dl) {
    return dl->span;
}

size_t hearth_delta_n_spans(const hearth_delta *dl) {
    return dl->n_spans;
}

size_t hearth_delta_dim(const hearth_delta *dl) {
    return dl->dim;
}

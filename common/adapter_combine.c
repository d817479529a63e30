/* SPDX-License-Identifier: Apache-2.0 */
/* common/adapter_combine.c - a sum of products is a product of stacked
 * factors: [A1; A2] and [w1 s1 B1, w2 s2 B2] give w1 s1 B1 A1 + w2 s2 B2 A2. */
#include "common/adapter_combine.h"

#include <math.h>
#include <string.h>

#include "common/error.h"
#include "common/mem.h"

hearth_status hearth_adapter_same_shape(const hearth_adapter *a,
                                        const hearth_adapter *b,
                                        hearth_error *err) {
    if (!a || !b) return HEARTH_EINVAL;
    if (a->n_pairs != b->n_pairs || a->rslora != b->rslora)
        return hearth_error_set(
            err, HEARTH_EMISMATCH,
            "adapters differ: %zu modules%s and %zu modules%s; make both with "
            "the same --targets, --layers and --rslora",
            a->n_pairs, a->rslora ? " (rslora)" : "", b->n_pairs,
            b->rslora ? " (rslora)" : "");
    for (size_t i = 0; i < a->n_pairs; i++) {
        const hearth_adapter_pair *p = &a->pair[i], *q = &b->pair[i];
        if (strcmp(p->module, q->module) != 0)
            return hearth_error_set(err, HEARTH_EMISMATCH,
                                    "adapters differ: %s and %s; make both "
                                    "with the same --targets",
                                    p->module, q->module);
        if (p->rank != q->rank || p->in != q->in || p->out != q->out ||
            memcmp(&p->alpha, &q->alpha, sizeof(p->alpha)) != 0)
            return hearth_error_set(
                err, HEARTH_EMISMATCH,
                "%s differs: rank %u alpha %g [%u x %u] and rank %u alpha %g "
                "[%u x %u]; make both from the same base with the same --rank",
                p->module, (unsigned)p->rank, (double)p->alpha,
                (unsigned)p->out, (unsigned)p->in, (unsigned)q->rank,
                (double)q->alpha, (unsigned)q->out, (unsigned)q->in);
    }
    return HEARTH_OK;
}

hearth_status hearth_adapter_check_finite(const hearth_adapter *a) {
    if (!a) return HEARTH_EINVAL;
    for (size_t i = 0; i < a->n_values; i++)
        if (!isfinite(a->values[i])) return HEARTH_ENONFINITE;
    return HEARTH_OK;
}

static hearth_adapter_pair *find(hearth_adapter_pair *shape, size_t n,
                                 const char *module) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(shape[i].module, module) == 0) return &shape[i];
    return NULL;
}

/* Add the pairs of a to the shapes: ranks of the same module add up. */
static hearth_status merge_shapes(hearth_adapter_pair *shape, size_t *n,
                                  const hearth_adapter *a, hearth_error *err) {
    for (size_t i = 0; i < a->n_pairs; i++) {
        const hearth_adapter_pair *p = &a->pair[i];
        hearth_adapter_pair *s = find(shape, *n, p->module);
        if (!s) {
            shape[(*n)++] = *p;
            continue;
        }
        if (s->in != p->in || s->out != p->out)
            return hearth_error_set(
                err, HEARTH_EMISMATCH,
                "%s is [%u x %u] in one adapter and [%u x %u] in another; use "
                "adapters of one base model",
                p->module, (unsigned)s->out, (unsigned)s->in, (unsigned)p->out,
                (unsigned)p->in);
        s->rank += p->rank;
    }
    return HEARTH_OK;
}

/* Copy pair p of one adapter to rows (columns) `at` .. of pair s. */
static void place(hearth_adapter_pair *s, uint32_t at,
                  const hearth_adapter_pair *p, float factor) {
    memcpy(s->a + (size_t)at * s->in, p->a,
           (size_t)p->rank * p->in * sizeof(float));
    for (uint32_t o = 0; o < p->out; o++)
        for (uint32_t r = 0; r < p->rank; r++)
            s->b[(size_t)o * s->rank + at + r] =
                factor * p->b[(size_t)o * p->rank + r];
}

static hearth_status check_parts(const hearth_adapter *const *parts,
                                 const float *weights, size_t n,
                                 size_t *n_pairs, hearth_error *err) {
    *n_pairs = 0;
    if (!parts || !weights || n == 0 || n > 64)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "combine takes 1 to 64 adapters");
    for (size_t i = 0; i < n; i++) {
        if (!parts[i] || !isfinite(weights[i]))
            return hearth_error_set(err, HEARTH_EINVAL,
                                    "adapter %zu has no usable weight", i + 1);
        *n_pairs += parts[i]->n_pairs;
    }
    return HEARTH_OK;
}

hearth_status hearth_adapter_combine(hearth_adapter **out,
                                     const hearth_adapter *const *parts,
                                     const float *weights, size_t n,
                                     const hearth_alloc *al,
                                     hearth_error *err) {
    size_t cap, n_shapes = 0;
    if (!out) return HEARTH_EINVAL;
    *out = NULL;
    hearth_status st = check_parts(parts, weights, n, &cap, err);
    if (st != HEARTH_OK) return st;
    hearth_adapter_pair *shape = hearth_mem_array(al, cap, sizeof(*shape));
    if (!shape) return hearth_error_set(err, HEARTH_ENOMEM, "no memory");
    for (size_t i = 0; i < n && st == HEARTH_OK; i++)
        st = merge_shapes(shape, &n_shapes, parts[i], err);
    for (size_t i = 0; i < n_shapes; i++) shape[i].alpha = (float)shape[i].rank;
    if (st == HEARTH_OK)
        st = hearth_adapter_new_shaped(out, shape, n_shapes, false, al, err);
    hearth_mem_free(al, shape);
    if (st != HEARTH_OK) return st;

    for (size_t j = 0; j < (*out)->n_pairs; j++) {
        hearth_adapter_pair *s = &(*out)->pair[j];
        uint32_t at = 0;
        for (size_t i = 0; i < n; i++) {
            const hearth_adapter_pair *p =
                find(parts[i]->pair, parts[i]->n_pairs, s->module);
            if (!p) continue;
            place(s, at, p, weights[i] * hearth_adapter_scale(parts[i], p));
            at += p->rank;
        }
    }
    return HEARTH_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/weight_int8.c - forward products with a weight in Q8_0 as the file
 * holds it: its numbers of 8 bits with inputs rounded to 8 bits, one tile of the
 * output at a time, for weight.c.
 *
 * Rounding looks at 32 inputs alone, and a sum adds its runs in order: no cut and
 * no set of instructions changes a byte.  The rounded input lies in the room for
 * halves, 36 bytes of every 64 there; where that is missing each tile rounds its
 * own rows into its scratch.
 */
#include <string.h>

#include "client/train/weight_private.h"

#ifndef HEARTH_FLOAT64

#define RUN   HEARTH_INT8_RUN
#define RUNS  HEARTH_INT8_RUNS
#define TURN  ((size_t)16) /* rows of the input that a worker rounds in turn */
#define PANEL (RUNS * HEARTH_PANEL_MAX * HEARTH_INT8_BYTES)
#define OWN   ((HEARTH_WEIGHT_TILE_BYTES - PANEL) / sizeof(hearth_int8_run))

_Static_assert(PANEL % _Alignof(hearth_int8_run) == 0, "rows follow the panel");
_Static_assert(sizeof(hearth_int8_run) <= RUN * sizeof(uint16_t),
               "rounded rows fit in the room for halves");

static size_t min_size(size_t a, size_t b) {
    return a < b ? a : b;
}

bool hearth_weight__takes_int8(const hearth_kernels *k,
                               const hearth_weight *w) {
    return k->int8_panel && w->type == HEARTH_WEIGHT_QUANT &&
           w->quant == HEARTH_QUANT_Q8_0 && !w->transposed && !(w->shift < 0) &&
           !(w->shift > 0);
}

typedef struct {
    const hearth_pair_product *p;
    hearth_int8_run *out;
} rounding;

/* Where what runs from s on take begins in a rounded input: it lies together,
 * *ld runs a token. */
static size_t slab(size_t n_tokens, size_t all, size_t s, size_t *ld) {
    *ld = min_size(RUNS, all - s);
    return n_tokens * s;
}

static void round_some(void *ud, size_t i, size_t worker) {
    const rounding *r = ud;
    const hearth_pair_product *p = r->p;
    size_t t = i * TURN, all = p->n_sum / RUN, ld;
    (void)worker;
    for (size_t s = 0; s < all; s += RUNS) {
        size_t at = slab(p->n_tokens, all, s, &ld);
        p->kernels->round_int8(min_size(TURN, p->n_tokens - t), ld,
                               p->in + t * p->ld_in + s * RUN, p->ld_in,
                               r->out + at + t * ld, ld);
    }
}

const hearth_int8_run *hearth_weight__round_int8(const hearth_compute *c,
                                                 const hearth_pair_product *p) {
    size_t room = hearth_compute_halves(p->n_tokens, p->n_sum, 1);
    void *out = c->halves;
    if (!out || room > c->n_halves ||
        (uintptr_t)out % _Alignof(hearth_int8_run) != 0)
        return NULL;
    rounding r = {p, out};
    hearth_pool_run(c->pool, (p->n_tokens + TURN - 1) / TURN, round_some, &r);
    return out;
}

/* n_t rounded tokens, n_s runs of the sum from s on, all columns of a tile. */
static void add_runs(const hearth_pair_product *p, const hearth_int8_run *a,
                     size_t n_t, size_t s, size_t n_s, size_t n0, size_t n_n,
                     void *panel, hearth_real *out) {
    const hearth_kernels *k = p->kernels;
    const unsigned char *column[HEARTH_PANEL_MAX];
    for (size_t j = 0; j < n_n; j += k->int8_panel) {
        size_t n_j = min_size(k->int8_panel, n_n - j);
        for (size_t i = 0; i < n_j; i++)
            column[i] = hearth_weight__stored_at(p->w, n0 + j + i, s * RUN);
        k->pack_int8(n_j, n_s, column, panel);
        hearth_weight__prefetch(p->w, n0 + j + n_j, k->int8_panel, s * RUN,
                                n_s * RUN);
        k->gemm_int8(n_t, n_j, n_s, a, n_s, panel, p->add || s, out + j,
                     p->ld_out);
    }
}

void hearth_weight__int8_tile(const hearth_pair_product *p,
                              const hearth_int8_run *rounded, size_t t0,
                              size_t n_t, size_t n0, size_t n_n,
                              hearth_real *tile) {
    unsigned char *panel = (unsigned char *)tile;
    hearth_int8_run *own = (hearth_int8_run *)(void *)(panel + PANEL);
    size_t all = p->n_sum / RUN, most = rounded ? n_t : OWN / RUNS, n_s;
    for (size_t t = t0; t < t0 + n_t; t += most)
        for (size_t s = 0; s < all; s += RUNS) {
            const hearth_int8_run *a = own;
            size_t n = min_size(most, t0 + n_t - t);
            size_t at = slab(p->n_tokens, all, s, &n_s);
            if (rounded)
                a = rounded + at + t * n_s;
            else
                p->kernels->round_int8(n, n_s, p->in + t * p->ld_in + s * RUN,
                                       p->ld_in, own, n_s);
            add_runs(p, a, n, s, n_s, n0, n_n, panel,
                     p->out + t * p->ld_out + n0);
        }
}

#else

bool hearth_weight__takes_int8(const hearth_kernels *k,
                               const hearth_weight *w) {
    (void)k, (void)w;
    return false;
}

const hearth_int8_run *hearth_weight__round_int8(const hearth_compute *c,
                                                 const hearth_pair_product *p) {
    (void)c, (void)p;
    return NULL;
}

void hearth_weight__int8_tile(const hearth_pair_product *p,
                              const hearth_int8_run *rounded, size_t t0,
                              size_t n_t, size_t n0, size_t n_n,
                              hearth_real *tile) {
    (void)p, (void)rounded, (void)t0, (void)n_t, (void)n0, (void)n_n;
    (void)tile;
}

#endif

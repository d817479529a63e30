/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/weight_pairs.c - products with a weight in bfloat16: one tile of
 * the output, for weight.c, and blocks of the head, for the cross-entropy.
 *
 * What a worker's tile of scratch holds while it runs, in halves: the rounded
 * rows of the input where they were not rounded before, a panel, and the rows
 * of the weight that the panel is packed from where the file does not hold them
 * in bfloat16.  Rounding an input once for all tiles instead of once for every
 * 128 columns saves about a twelfth of a product's time.
 */
#include "client/train/weight.h"

#include <string.h>

#include "client/train/weight_private.h"
#include "common/mem.h"

static size_t padded(size_t n) {
    return (n + HEARTH_PAIR_PAD - 1) / HEARTH_PAIR_PAD * HEARTH_PAIR_PAD;
}

/* Numbers between rows of a rounded input: never a multiple of two lines of the
 * cache, whose sets such rows would share. */
static size_t pitch(size_t n) {
    return padded(n) % 64 ? padded(n) : padded(n) + 32;
}

size_t hearth_compute_halves(size_t n_tokens, size_t n, size_t parts) {
    size_t all;
    if (n > SIZE_MAX / 8 || !hearth_size_mul(n_tokens, parts * pitch(n), &all))
        return SIZE_MAX;
    return all;
}

#ifndef HEARTH_FLOAT64

#define DEPTH HEARTH_PANEL_DEPTH
#define PARTS ((size_t)3) /* at most */
#define PANEL (DEPTH * HEARTH_PANEL_MAX)
#define WIDE  ((size_t)256) /* columns of the output at once, at most */
#define SLIM  ((size_t)128) /* the same in parts */
#define EVEN  ((size_t)32)  /* rows that sets take at once */
#define TURN  ((size_t)16)  /* rows of the input that a worker rounds in turn */
#define ALL   (HEARTH_WEIGHT_TILE_BYTES / 2) /* halves of a tile */

_Static_assert(PANEL + DEPTH * WIDE + EVEN * DEPTH <= ALL &&
                   PARTS * (PANEL + DEPTH * SLIM + EVEN * DEPTH) <= ALL,
               "the scratch of a product in bfloat16 fits in a tile");

static size_t min_size(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Is the stored matrix bfloat16 that can be packed as it lies? */
static bool is_direct(const hearth_weight *w) {
    const uint16_t one = 1;
    unsigned char first;
    memcpy(&first, &one, 1);
    return first == 1 && w->type == HEARTH_WEIGHT_BF16 && !w->permuted &&
           !(w->shift < 0) && !(w->shift > 0);
}

/* Rows of numbers of two bytes; its parts lie part_bytes behind each other. */
typedef struct {
    const unsigned char *at;
    size_t ld, part_bytes;
} half_matrix;

/* Stored rows row .. row + n_r - 1, from `first` n_c <= WIDE elements of each,
 * in bfloat16: where they lie, or rounded into scratch. */
static half_matrix half_rows(const hearth_kernels *k, const hearth_weight *w,
                             size_t row, size_t n_r, size_t first, size_t n_c,
                             uint16_t *scratch) {
    hearth_real part[256];
    size_t stored = w->transposed ? w->rows : w->cols;
    if (k->pair_parts == 1 && is_direct(w))
        return (half_matrix){w->data + 2 * (row * stored + first), stored, 0};
    size_t ld = k->pair_parts * padded(n_c);
    half_matrix out = {(const unsigned char *)scratch, ld, 2 * padded(n_c)};
    if (hearth_weight__stored_halves(w, row, n_r, first, n_c, k->pair_parts,
                                     scratch, ld))
        return out;
    for (size_t r = 0; r < n_r; r++) {
        hearth_weight__stored_rows(w, row + r, 1, first, n_c, part);
        k->round_rows(1, n_c, part, n_c, scratch + r * ld, ld);
    }
    return out;
}

/* What the next panel is made of, while this one is multiplied: rows that follow
 * or, where rows run along the output, a share of those of the next part of the
 * sum. */
static void prefetch_next(const hearth_pair_product *p, bool turned, size_t n0,
                          size_t n_n, size_t j, size_t n_j, size_t at,
                          size_t n_s) {
    size_t panel = p->kernels->pair_panel;
    size_t done = n_s * j / n_n, next = n_s * (j + n_j) / n_n;
    if (!turned)
        hearth_weight__prefetch(p->w, at + n_s + done, next - done, n0, n_n);
    else if (j + n_j < n_n)
        hearth_weight__prefetch(p->w, n0 + j + n_j, panel, at, n_s);
    else
        hearth_weight__prefetch(p->w, n0, panel, at + n_s, DEPTH);
}

/* Panel columns j .. j + n_j - 1 of rows that lie along or across the sum. */
static void pack(const hearth_kernels *k, bool turned, const half_matrix *rows,
                 size_t j, size_t n_j, size_t n_s, uint32_t *panel) {
    const unsigned char *at = rows->at + (turned ? 0 : 2 * j);
    for (size_t part = 0; part < k->pair_parts; part++)
        (turned ? k->pack_pairs_turned : k->pack_pairs_straight)(
            n_j, n_s, at + part * rows->part_bytes, rows->ld,
            panel + part * (DEPTH * k->pair_panel / 2));
}

/* The part of the sum from s on of one block of the output; a: its rounded
 * inputs. */
static void add_part(const hearth_pair_product *p, size_t n_t, size_t n0,
                     size_t n_n, size_t s, size_t n_s, const uint16_t *a,
                     size_t lda, uint16_t *scratch, hearth_real *out) {
    const hearth_kernels *k = p->kernels;
    uint32_t *panel = (uint32_t *)(void *)scratch;
    bool turned = p->forward != p->w->transposed;
    half_matrix rows = {0};
    size_t at = p->first + s;
    scratch += k->pair_parts * PANEL;
    if (!turned) rows = half_rows(k, p->w, at, n_s, n0, n_n, scratch);
    for (size_t j = 0; j < n_n; j += k->pair_panel) {
        size_t n_j = min_size(k->pair_panel, n_n - j);
        if (turned) rows = half_rows(k, p->w, n0 + j, n_j, at, n_s, scratch);
        pack(k, turned, &rows, j, n_j, n_s, panel);
        prefetch_next(p, turned, n0, n_n, j, n_j, at, n_s);
        k->gemm_pairs(n_t, n_j, n_s, a, lda, panel, p->add || s, out + j,
                      p->ld_out);
    }
}

typedef struct {
    const hearth_kernels *kernels;
    size_t n_tokens, n;
    const hearth_real *x;
    size_t ldx;
    uint16_t *out;
} rounding;

static void round_some(void *ud, size_t i, size_t worker) {
    const rounding *r = ud;
    size_t t = i * TURN, ld = r->kernels->pair_parts * pitch(r->n);
    (void)worker;
    r->kernels->round_rows(min_size(TURN, r->n_tokens - t), r->n,
                           r->x + t * r->ldx, r->ldx, r->out + t * ld, ld);
}

const uint16_t *hearth_compute_round(const hearth_compute *c, size_t n_tokens,
                                     size_t n, const hearth_real *x,
                                     size_t ldx) {
    rounding r = {c->kernels, n_tokens, n, x, ldx, c->halves};
    size_t room = hearth_compute_halves(n_tokens, n, c->kernels->pair_parts);
    if (!c->halves || room > c->n_halves) return NULL;
    hearth_pool_run(c->pool, (n_tokens + TURN - 1) / TURN, round_some, &r);
    return c->halves;
}

void hearth_weight__pair_tile(const hearth_pair_product *p, size_t t0,
                              size_t n_t, size_t n0, size_t n_n,
                              hearth_real *tile) {
    const hearth_kernels *k = p->kernels;
    size_t wide = k->pair_parts == 1 ? WIDE : SLIM;
    size_t deep = min_size(DEPTH, padded(p->n_sum));
    size_t ld = p->rounded ? p->ld_rounded : k->pair_parts * deep;
    uint16_t *scratch = (uint16_t *)(void *)tile;
    uint16_t *own = scratch + k->pair_parts * (PANEL + deep * wide);
    size_t room = ALL - k->pair_parts * (PANEL + deep * wide);
    size_t most = p->rounded ? n_t : room / ld / EVEN * EVEN;
    for (size_t t = t0; t < t0 + n_t; t += most)
        for (size_t s = 0; s < p->n_sum; s += DEPTH) {
            size_t rows = min_size(most, t0 + n_t - t);
            size_t n_s = min_size(DEPTH, p->n_sum - s);
            const uint16_t *a = p->rounded ? p->rounded + t * ld + s : own;
            if (!p->rounded)
                k->round_rows(rows, n_s, p->in + t * p->ld_in + s, p->ld_in,
                              own, ld);
            for (size_t n = n0; n < n0 + n_n; n += wide)
                add_part(p, rows, n, min_size(wide, n0 + n_n - n), s, n_s, a,
                         ld, scratch, p->out + t * p->ld_out + n - p->out0);
        }
}

#else

const uint16_t *hearth_compute_round(const hearth_compute *c, size_t n_tokens,
                                     size_t n, const hearth_real *x,
                                     size_t ldx) {
    (void)c, (void)n_tokens, (void)n, (void)x, (void)ldx;
    return NULL;
}

void hearth_weight__pair_tile(const hearth_pair_product *p, size_t t0,
                              size_t n_t, size_t n0, size_t n_n,
                              hearth_real *tile) {
    (void)p, (void)t0, (void)n_t, (void)n0, (void)n_n, (void)tile;
}

#endif

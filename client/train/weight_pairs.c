/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/weight_pairs.c - products with a weight in bfloat16: one tile of
 * the output, for weight.c, and blocks of the head, for the cross-entropy.
 *
 * What a worker's tile of scratch holds while it runs, in halves: the rounded
 * rows of the input where they were not rounded before, a panel (of many tokens
 * all of a block's), and the rows of the weight that the panel is packed from
 * where the file does not hold them in bfloat16.  Rounding an input once for all
 * tiles instead of once for every 128 columns saves about a twelfth of a
 * product's time.
 */
#include "client/train/weight.h"

#include <string.h>

#include "client/train/pairs.h"
#include "client/train/weight_private.h"
#include "common/half_float.h"
#include "common/mem.h"

#define DEPTH HEARTH_PANEL_DEPTH

size_t hearth_compute_halves(size_t n_tokens, size_t n, size_t parts) {
    size_t row = n / DEPTH * hearth_pairs_pitch(DEPTH), all;
    if (n % DEPTH) row += hearth_pairs_pitch(n % DEPTH);
    if (n > SIZE_MAX / 8 || !hearth_size_mul(n_tokens, parts * row, &all))
        return SIZE_MAX;
    return all;
}

#ifndef HEARTH_FLOAT64

#define PARTS ((size_t)3) /* at most */
#define PANEL (DEPTH * HEARTH_PANEL_MAX)
#define WIDE  ((size_t)256) /* columns of the output at once, at most */
#define SLIM  ((size_t)128) /* the same in parts */
#define EVEN  ((size_t)32)  /* rows that sets take at once */
#define TURN  ((size_t)16)  /* rows of the input that a worker rounds in turn */
#define NEAR  ((size_t)768) /* rows of the input, in one part: 384 KiB */
#define ALL   (HEARTH_WEIGHT_TILE_BYTES / 2) /* halves of a tile */

_Static_assert(PANEL + DEPTH * WIDE + EVEN * DEPTH <= ALL &&
                   PARTS * (PANEL + DEPTH * SLIM + EVEN * DEPTH) <= ALL &&
                   2 * DEPTH * WIDE <= ALL && 2 * PARTS * DEPTH * SLIM <= ALL,
               "the scratch of a product in bfloat16 fits in a tile");

static size_t min_size(size_t a, size_t b) {
    return a < b ? a : b;
}

static size_t max_size(size_t a, size_t b) {
    return a > b ? a : b;
}

/* Is the stored matrix bfloat16 that can be packed as it lies? */
static bool is_direct(const hearth_weight *w) {
    const uint16_t one = 1;
    unsigned char first;
    memcpy(&first, &one, 1);
    return first == 1 && w->type == HEARTH_WEIGHT_BF16 && !w->permuted &&
           !(w->shift < 0) && !(w->shift > 0);
}

/* In how many parts do products take the weight?  Significant bits: bfloat16 8; two
 * parts 17, the sign of the second counted; f16 11, and times the integers of
 * Q4_0 and Q5_0, of 3 and 4 bits, 14 and 15.  Q8_0's 18 are too many. */
static size_t parts_of(const hearth_pair_product *p) {
    const hearth_weight *w = p->w;
    bool shifted = w->shift < 0 || w->shift > 0;
    size_t need = 3;
    if (w->type == HEARTH_WEIGHT_BF16 && !shifted) need = 1;
    if (w->type == HEARTH_WEIGHT_F16 && !shifted) need = 2;
    if (w->type == HEARTH_WEIGHT_QUANT && !shifted &&
        (w->quant == HEARTH_QUANT_Q4_0 || w->quant == HEARTH_QUANT_Q5_0))
        need = 2;
    return min_size(need, max_size(p->weight_parts, p->kernels->pair_parts));
}

/* In how many there is room for it. */
static size_t room_of(const hearth_pair_product *p) {
    return max_size(parts_of(p), p->kernels->pair_parts);
}

/* Rows of numbers of two bytes; its parts lie part_bytes behind each other. */
typedef struct {
    const unsigned char *at;
    size_t ld, part_bytes;
} half_matrix;

/* One row, in the set's parts; by a set of one part perhaps in two: the second
 * is what the first leaves, rounded.  x is used up. */
static void round_weights(const hearth_kernels *k, size_t parts, size_t n,
                          hearth_real *x, uint16_t *out, size_t ld,
                          size_t apart) {
    if (k->pair_parts > 1 || parts == 1) {
        k->round_rows(1, n, x, n, out, ld);
        return;
    }
    k->round_rows(1, n, x, n, out, apart);
    for (size_t i = 0; i < n; i++) x[i] -= hearth_bf16_to_f32(out[i]);
    k->round_rows(1, n, x, n, out + apart, apart);
}

/* Stored rows row .. row + n_r - 1, from `first` n_c <= WIDE elements of each,
 * in bfloat16: where they lie, or rounded into scratch. */
static half_matrix half_rows(const hearth_pair_product *p, size_t row,
                             size_t n_r, size_t first, size_t n_c,
                             uint16_t *scratch) {
    const hearth_weight *w = p->w;
    hearth_real part[256];
    size_t stored = w->transposed ? w->rows : w->cols, parts = parts_of(p);
    if (parts == 1 && is_direct(w))
        return (half_matrix){w->data + 2 * (row * stored + first), stored, 0};
    size_t apart = hearth_pairs_row(n_c), ld = room_of(p) * apart;
    half_matrix out = {(const unsigned char *)scratch, parts * apart,
                       2 * apart};
    if (hearth_weight__stored_halves(w, row, n_r, first, n_c, parts, scratch,
                                     out.ld))
        return out;
    out.ld = ld;
    for (size_t r = 0; r < n_r; r++) {
        hearth_weight__stored_rows(w, row + r, 1, first, n_c, part);
        round_weights(p->kernels, parts, n_c, part, scratch + r * ld, ld,
                      apart);
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

/* Rounded inputs: of some tokens, the part of the sum from s on. */
typedef struct {
    const uint16_t *a;
    size_t lda, n_t, s, n_s;
    size_t near; /* tokens that go through all panels before the next do */
} inputs;

/* What they, from token t on, and one panel add to out: by a set of one part a
 * panel of two parts is two panels. */
static void add_panel(const hearth_pair_product *p, const inputs *in, size_t t,
                      size_t n_j, size_t parts, const uint16_t *panel,
                      hearth_real *out) {
    const hearth_kernels *k = p->kernels;
    size_t turns = k->pair_parts == 1 ? parts : 1;
    for (size_t i = 0; i < turns; i++, panel += hearth_pairs_part(k, in->n_s))
        k->gemm_pairs(min_size(in->near, in->n_t - t), n_j, in->n_s,
                      in->a + t * in->lda, in->lda,
                      (const uint32_t *)(const void *)panel, parts / turns,
                      p->add || in->s || i, out, p->ld_out);
}

/* What they add to one block of the output.  Of more than `near` tokens every
 * panel is kept for those that follow; otherwise one after the other is made.
 */
static void add_part(const hearth_pair_product *p, const inputs *in, size_t n0,
                     size_t n_n, uint16_t *scratch, hearth_real *out) {
    const hearth_kernels *k = p->kernels;
    bool turned = p->forward != p->w->transposed, keep = in->near < in->n_t;
    half_matrix rows = {0};
    size_t at = p->first + in->s, columns = k->pair_panel;
    size_t parts = parts_of(p), room = room_of(p);
    uint16_t *panels = scratch;
    scratch += hearth_pairs_panels(k, room, keep ? n_n : columns, in->n_s);
    if (!turned) rows = half_rows(p, at, in->n_s, n0, n_n, scratch);
    for (size_t t = 0; t < in->n_t; t += in->near)
        for (size_t j = 0; j < n_n; j += columns) {
            size_t n_j = min_size(columns, n_n - j);
            uint16_t *panel =
                panels + (keep ? hearth_pairs_panels(k, room, j, in->n_s) : 0);
            if (!t) {
                if (turned)
                    rows = half_rows(p, n0 + j, n_j, at, in->n_s, scratch);
                hearth_pairs_pack(k, parts, turned, n_j, in->n_s,
                                  rows.at + (turned ? 0 : 2 * j), rows.ld,
                                  rows.part_bytes, panel);
                prefetch_next(p, turned, n0, n_n, j, n_j, at, in->n_s);
            }
            add_panel(p, in, t, n_j, parts, panel, out + t * p->ld_out + j);
        }
}

typedef struct {
    const hearth_kernels *kernels;
    size_t n_tokens, n;
    const hearth_real *x;
    size_t ldx;
    uint16_t *out;
} rounding;

/* Where what the part of the sum from s on takes begins in a rounded input of n
 * numbers a token; *ld: halves between its rows.  It lies together: rows as long
 * as the input's would each be in pages of their own, and more of these than the
 * processor remembers. */
static size_t slab(size_t parts, size_t n_tokens, size_t n, size_t s,
                   size_t *ld) {
    *ld = parts * hearth_pairs_pitch(min_size(DEPTH, n - s));
    return parts * n_tokens * (s / DEPTH * hearth_pairs_pitch(DEPTH));
}

static void round_some(void *ud, size_t i, size_t worker) {
    const rounding *r = ud;
    size_t t = i * TURN, n_t = min_size(TURN, r->n_tokens - t), ld;
    (void)worker;
    for (size_t s = 0; s < r->n; s += DEPTH) {
        size_t at = slab(r->kernels->pair_parts, r->n_tokens, r->n, s, &ld);
        r->kernels->round_rows(n_t, min_size(DEPTH, r->n - s),
                               r->x + t * r->ldx + s, r->ldx,
                               r->out + at + t * ld, ld);
    }
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
    size_t room = room_of(p), wide = room == 1 ? WIDE : SLIM;
    size_t deep = min_size(DEPTH, hearth_pairs_row(p->n_sum));
    size_t used =
        hearth_pairs_panels(k, room, k->pair_panel, deep) + room * deep * wide;
    size_t most = (ALL - used) / (k->pair_parts * deep) / EVEN * EVEN;
    uint16_t *scratch = (uint16_t *)(void *)tile, *own = scratch + used;
    if (p->rounded) most = n_t;
    for (size_t t = t0; t < t0 + n_t; t += most)
        for (size_t s = 0; s < p->n_sum; s += DEPTH) {
            inputs in = {.n_t = min_size(most, t0 + n_t - t),
                         .s = s,
                         .n_s = min_size(DEPTH, p->n_sum - s)};
            if (p->rounded) {
                in.a = p->rounded +
                       slab(k->pair_parts, p->n_tokens, p->n_sum, s, &in.lda);
                in.a += t * in.lda;
                in.near = NEAR / k->pair_parts;
            } else {
                in.a = own;
                in.lda = k->pair_parts * hearth_pairs_row(in.n_s);
                in.near = in.n_t;
                k->round_rows(in.n_t, in.n_s, p->in + t * p->ld_in + s,
                              p->ld_in, own, in.lda);
            }
            for (size_t n = n0; n < n0 + n_n; n += wide)
                add_part(p, &in, n, min_size(wide, n0 + n_n - n), scratch,
                         p->out + t * p->ld_out + n - p->out0);
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

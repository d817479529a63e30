/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/weight.c - three products over a weight view, in tiles.
 *
 * Letters: T tokens, N = rows of W (outputs), K = cols of W (inputs).
 */
#include "client/train/weight.h"

#include <string.h>

#include "client/train/weight_private.h"
#include "common/safetensors.h"

#define BLOCK      ((size_t)256) /* outputs (forward) or inputs (backward) */
#define NARROW     ((size_t)64)  /* the same where panels are packed */
#define PAIR_BLOCK ((size_t)128) /* the same in bfloat16, at most, */
#define PAIR_STEP  ((size_t)32)  /* and at least */
#define FEW_TOKENS ((size_t)4)   /* fewer than this: packing does not pay */
#define MIN_TOKENS ((size_t)64)  /* fewer tokens than this are not split */
#define WANT_TILES ((size_t)8)   /* a grid below this is split by tokens too */
#define TILE_REALS (HEARTH_WEIGHT_TILE_BYTES / sizeof(hearth_real))
#ifndef HEARTH_FLOAT64 /* which has no panels */
_Static_assert(HEARTH_PANEL_DEPTH *(HEARTH_PANEL_MAX + BLOCK) <= TILE_REALS,
               "a panel and the rows that it is packed from fit in a tile");
#endif
#define LINE ((size_t)64) /* bytes of the cache that are fetched together */
#if defined(__GNUC__)
#define PREFETCH(p) __builtin_prefetch(p, 0, 3)
#else
#define PREFETCH(p) ((void)(p))
#endif
#define GRAD_BLOCK  ((size_t)64)  /* rows of dW in one tile */
#define GRAD_WIDTH  ((size_t)256) /* its columns, where one tile has all rows */
#define GRAD_TOKENS ((size_t)64)  /* of one sum of a thin gradient */
#define GRAD_THIN   ((size_t)256) /* its shorter side at most */

/* One product, cut by tokens and by outputs. */
typedef struct {
    const hearth_compute *c;
    const hearth_weight *w;
    size_t n_tokens, tokens; /* all, and those of one tile */
    size_t n_blocks, block;  /* tiles along the output, and their width */
    bool forward;            /* over cols to rows, else over rows to cols */
    const hearth_real *in;
    size_t ld_in;
    hearth_real *out;
    size_t ld_out;
    int add;
    hearth_pair_product pair;       /* the same, in bfloat16 or 8 bits */
    const hearth_int8_run *rounded; /* for 8 bits */
} product;

static size_t min_size(size_t a, size_t b) {
    return a < b ? a : b;
}

static size_t ceil_div(size_t a, size_t b) {
    return a / b + (a % b != 0);
}

hearth_real *hearth_compute_tile(const hearth_compute *c, size_t worker) {
    return c->tile ? c->tile + worker * TILE_REALS : NULL;
}

size_t hearth_weight_rows(const hearth_weight *w) {
    return w->rows;
}

size_t hearth_weight_cols(const hearth_weight *w) {
    return w->cols;
}

static size_t element_bytes(hearth_weight_type t) {
    switch (t) {
    case HEARTH_WEIGHT_F32: return 4;
    case HEARTH_WEIGHT_F16:
    case HEARTH_WEIGHT_BF16: return 2;
    case HEARTH_WEIGHT_REAL:
    case HEARTH_WEIGHT_QUANT: break;
    }
    return sizeof(hearth_real);
}

static hearth_dtype stored_dtype(hearth_weight_type t) {
    if (t == HEARTH_WEIGHT_F16) return HEARTH_DTYPE_F16;
    if (t == HEARTH_WEIGHT_BF16) return HEARTH_DTYPE_BF16;
    return HEARTH_DTYPE_F32;
}

/* n stored floats, or blocks of them, from element first of a stored row. */
static void decode(const hearth_weight *w, size_t row, size_t row_n,
                   size_t first, size_t n, float *out) {
    if (w->type == HEARTH_WEIGHT_QUANT) {
        size_t bytes = row_n / hearth_quant_elements(w->quant) *
                       hearth_quant_bytes(w->quant);
        hearth_quant_decode(w->quant, w->data + row * bytes, first, n, out);
        return;
    }
    hearth_dtype_to_f32(
        stored_dtype(w->type),
        w->data + (row * row_n + first) * element_bytes(w->type), n, out);
}

/* Elements of a stored row of row_n elements as hearth_real. */
static void read_stored(const hearth_weight *w, size_t row, size_t row_n,
                        size_t first, size_t n, hearth_real *out) {
    if (w->type == HEARTH_WEIGHT_REAL) {
        memcpy(out, w->data + (row * row_n + first) * sizeof(*out),
               n * sizeof(*out));
        return;
    }
#ifdef HEARTH_FLOAT64
    float part[256]; /* a multiple of every block */
    for (size_t i = 0; i < n; i += 256) {
        size_t m = min_size(n - i, 256);
        decode(w, row, row_n, first + i, m, part);
        for (size_t j = 0; j < m; j++) out[i + j] = (double)part[j];
    }
#else
    decode(w, row, row_n, first, n, out);
#endif
}

/* Where canonical row r of a permuted view is stored. */
static size_t stored_row(const hearth_weight *w, size_t r) {
    if (!w->permuted) return r;
    size_t d = w->permuted, half = d / 2, i = r % d;
    return r - i + (i < half ? 2 * i : 2 * (i - half) + 1);
}

/* Any n elements of a stored row of blocks: whole blocks are decoded. */
static void read_blocks(const hearth_weight *w, size_t row, size_t first,
                        size_t n, hearth_real *out) {
    size_t block = hearth_quant_elements(w->quant), used = 0;
    while (used < n) {
        hearth_real part[256];
        size_t at = first + used, b0 = at / block * block;
        size_t m = min_size(n - used, b0 + block - at);
        read_stored(w, row, w->cols, b0, block, part);
        memcpy(out + used, part + (at - b0), m * sizeof(*out));
        used += m;
    }
}

static void add_shift(const hearth_weight *w, size_t n, hearth_real *out) {
    if (w->shift < 0 || w->shift > 0)
        for (size_t i = 0; i < n; i++) out[i] += (hearth_real)w->shift;
}

void hearth_weight__convert(const hearth_weight *w, size_t r, size_t first,
                            size_t n, hearth_real *out) {
    if (w->transposed) {
        for (size_t c = 0; c < n; c++)
            read_stored(w, first + c, w->rows, r, 1, out + c);
    } else if (w->type == HEARTH_WEIGHT_QUANT &&
               (first % hearth_quant_elements(w->quant) ||
                n % hearth_quant_elements(w->quant))) {
        read_blocks(w, stored_row(w, r), first, n, out);
    } else {
        read_stored(w, stored_row(w, r), w->cols, first, n, out);
    }
    add_shift(w, n, out);
}

#ifndef HEARTH_FLOAT64
/* Little-endian floats on a little-endian machine need no conversion. */
static bool host_is_little_endian(void) {
    const uint16_t one = 1;
    unsigned char first;
    memcpy(&first, &one, 1);
    return first == 1;
}
#endif

/* The stored matrix where it can be multiplied as it is. */
static const hearth_real *stored_matrix(const hearth_weight *w) {
    if (w->permuted || w->shift < 0 || w->shift > 0) return NULL;
    if (w->type == HEARTH_WEIGHT_REAL)
        return (const hearth_real *)(const void *)w->data;
#ifndef HEARTH_FLOAT64
    if (w->type == HEARTH_WEIGHT_F32 && host_is_little_endian() &&
        (uintptr_t)w->data % _Alignof(float) == 0)
        return (const float *)(const void *)w->data;
#endif
    return NULL;
}

const hearth_real *hearth_weight__direct(const hearth_weight *w, size_t r) {
    const hearth_real *p = w->transposed ? NULL : stored_matrix(w);
    return p ? p + r * w->cols : NULL;
}

bool hearth_weight_needs_tile(const hearth_weight *w) {
    return !stored_matrix(w);
}

/* Tokens of one tile: all, unless the output gives too few tiles. */
static size_t split_tokens(size_t n_tokens, size_t n_blocks) {
    size_t parts = ceil_div(WANT_TILES, n_blocks ? n_blocks : 1);
    size_t tokens = ceil_div(ceil_div(n_tokens, parts), 16) * 16;
    return tokens < MIN_TOKENS ? MIN_TOKENS : tokens;
}

void hearth_weight__stored_rows(const hearth_weight *w, size_t row, size_t n_r,
                                size_t first, size_t n_c, hearth_real *out) {
    if (!w->transposed) {
        for (size_t r = 0; r < n_r; r++)
            hearth_weight__convert(w, row + r, first, n_c, out + r * n_c);
        return;
    }
    for (size_t r = 0; r < n_r; r++)
        read_stored(w, row + r, w->rows, first, n_c, out + r * n_c);
    add_shift(w, n_r * n_c, out);
}

bool hearth_weight__stored_halves(const hearth_weight *w, size_t row,
                                  size_t n_r, size_t first, size_t n_c,
                                  size_t parts, uint16_t *out, size_t ld) {
    if (w->type != HEARTH_WEIGHT_QUANT || w->transposed || w->shift < 0 ||
        w->shift > 0)
        return false;
    size_t block = hearth_quant_elements(w->quant);
    if (first % block || n_c % block) return false;
    size_t pitch = hearth_weight__bytes(w, w->cols);
    for (size_t r = 0; r < n_r; r++)
        if (!hearth_quant_decode_bf16(
                w->quant, w->data + stored_row(w, row + r) * pitch, first, n_c,
                parts, out + r * ld, ld / parts))
            return false;
    return true;
}

const unsigned char *hearth_weight__stored_at(const hearth_weight *w, size_t r,
                                              size_t first) {
    return w->data + stored_row(w, r) * hearth_weight__bytes(w, w->cols) +
           hearth_weight__bytes(w, first);
}

void hearth_weight__prefetch(const hearth_weight *w, size_t row, size_t n_r,
                             size_t first, size_t n_c) {
    size_t rows = w->transposed ? w->cols : w->rows;
    size_t cols = w->transposed ? w->rows : w->cols;
    if (row >= rows || first >= cols) return;
    size_t pitch = hearth_weight__bytes(w, cols);
    size_t at = hearth_weight__bytes(w, first);
    size_t end = hearth_weight__bytes(w, min_size(first + n_c, cols));
    n_r = min_size(n_r, rows - row);
    for (size_t r = row; r < row + n_r; r++) {
        const unsigned char *p = w->data + stored_row(w, r) * pitch;
        for (size_t b = at; b < end; b += LINE) PREFETCH(p + b);
    }
}

/* Rows [n_r] x columns [n_c] into tile; a transposed view into [n_c] x [n_r],
 * along what is stored.  Returns whether that is how the tile lies. */
static bool fill_tile(const hearth_weight *w, size_t r0, size_t n_r, size_t c0,
                      size_t n_c, hearth_real *tile) {
    if (w->transposed)
        hearth_weight__stored_rows(w, c0, n_c, r0, n_r, tile);
    else
        hearth_weight__stored_rows(w, r0, n_r, c0, n_c, tile);
    return w->transposed;
}

/* y[t0.., r0..] for one block of outputs: over all inputs at once, or over
 * runs of inputs that fit a tile, in order. */
static void forward_tile(void *ud, size_t i, size_t worker) {
    const product *p = ud;
    const hearth_kernels *k = p->c->kernels;
    const hearth_weight *w = p->w;
    size_t t0 = i / p->n_blocks * p->tokens, r0 = i % p->n_blocks * BLOCK;
    size_t n_t = min_size(p->tokens, p->n_tokens - t0);
    size_t n_r = min_size(BLOCK, w->rows - r0);
    const hearth_real *x = p->in + t0 * p->ld_in;
    hearth_real *y = p->out + t0 * p->ld_out + r0;
    const hearth_real *direct = stored_matrix(w);
    if (direct && w->transposed) {
        k->gemm_nn(n_t, n_r, w->cols, 1, x, p->ld_in, direct + r0, w->rows,
                   p->add, y, p->ld_out);
        return;
    }
    if (direct) {
        k->gemm_nt(n_t, n_r, w->cols, 1, x, p->ld_in, direct + r0 * w->cols,
                   w->cols, p->add, y, p->ld_out);
        return;
    }
    hearth_real *tile = hearth_compute_tile(p->c, worker);
    size_t chunk = TILE_REALS / BLOCK;
    for (size_t c0 = 0; c0 < w->cols; c0 += chunk) {
        size_t n_c = min_size(chunk, w->cols - c0);
        if (fill_tile(w, r0, n_r, c0, n_c, tile))
            k->gemm_nn(n_t, n_r, n_c, 1, x + c0, p->ld_in, tile, n_r,
                       p->add || c0, y, p->ld_out);
        else
            k->gemm_nt(n_t, n_r, n_c, 1, x + c0, p->ld_in, tile, n_c,
                       p->add || c0, y, p->ld_out);
    }
}

/* dx[t0.., c0..] for one block of inputs, over all outputs. */
static void backward_tile(void *ud, size_t i, size_t worker) {
    const product *p = ud;
    const hearth_kernels *k = p->c->kernels;
    const hearth_weight *w = p->w;
    size_t t0 = i / p->n_blocks * p->tokens, c0 = i % p->n_blocks * BLOCK;
    size_t n_t = min_size(p->tokens, p->n_tokens - t0);
    size_t n_c = min_size(BLOCK, w->cols - c0);
    const hearth_real *dy = p->in + t0 * p->ld_in;
    hearth_real *dx = p->out + t0 * p->ld_out + c0;
    const hearth_real *direct = stored_matrix(w);
    if (direct && w->transposed) {
        k->gemm_nt(n_t, n_c, w->rows, 1, dy, p->ld_in, direct + c0 * w->rows,
                   w->rows, p->add, dx, p->ld_out);
        return;
    }
    if (direct) {
        k->gemm_nn(n_t, n_c, w->rows, 1, dy, p->ld_in, direct + c0, w->cols,
                   p->add, dx, p->ld_out);
        return;
    }
    hearth_real *tile = hearth_compute_tile(p->c, worker);
    size_t chunk = TILE_REALS / BLOCK;
    for (size_t r0 = 0; r0 < w->rows; r0 += chunk) {
        size_t n_r = min_size(chunk, w->rows - r0);
        if (fill_tile(w, r0, n_r, c0, n_c, tile))
            k->gemm_nt(n_t, n_c, n_r, 1, dy + r0, p->ld_in, tile, n_r,
                       p->add || r0, dx, p->ld_out);
        else
            k->gemm_nn(n_t, n_c, n_r, 1, dy + r0, p->ld_in, tile, n_c,
                       p->add || r0, dx, p->ld_out);
    }
}

/* Stored rows row .. row + n_r - 1, from `first` n_c elements of each: where
 * they lie (leading dimension *ld), or converted into scratch. */
static const hearth_real *stored_rows(const hearth_weight *w, size_t row,
                                      size_t n_r, size_t first, size_t n_c,
                                      hearth_real *scratch, size_t *ld) {
    const hearth_real *direct = stored_matrix(w);
    *ld = w->transposed ? w->rows : w->cols;
    if (direct) return direct + row * *ld + first;
    hearth_weight__stored_rows(w, row, n_r, first, n_c, scratch);
    *ld = n_c;
    return scratch;
}

/* One block of the output where stored rows run along what is summed: panels
 * are filled with turned rows. */
static void turned_panels(const product *p, size_t n_t, const hearth_real *in,
                          hearth_real *out, size_t n0, size_t n_n,
                          hearth_real *tile) {
    const hearth_kernels *k = p->c->kernels;
    const hearth_weight *w = p->w;
    size_t all = p->forward ? w->cols : w->rows, ld;
    hearth_real *scratch = tile + HEARTH_PANEL_DEPTH * HEARTH_PANEL_MAX;
    for (size_t j = 0; j < n_n; j += k->panel)
        for (size_t k0 = 0; k0 < all; k0 += HEARTH_PANEL_DEPTH) {
            size_t n_k = min_size(HEARTH_PANEL_DEPTH, all - k0);
            size_t n_j = min_size(k->panel, n_n - j);
            const hearth_real *rows =
                stored_rows(w, n0 + j, n_j, k0, n_k, scratch, &ld);
            k->pack_turned(n_j, n_k, rows, ld, tile);
            if (k0 + n_k < all)
                hearth_weight__prefetch(w, n0 + j, n_j, k0 + n_k,
                                        HEARTH_PANEL_DEPTH);
            else
                hearth_weight__prefetch(w, n0 + j + n_j, k->panel, 0,
                                        HEARTH_PANEL_DEPTH);
            k->gemm_panel(n_t, n_j, n_k, in + k0, p->ld_in, tile, p->add || k0,
                          out + j, p->ld_out);
        }
}

/* The same where they run along the output. */
static void straight_panels(const product *p, size_t n_t, const hearth_real *in,
                            hearth_real *out, size_t n0, size_t n_n,
                            hearth_real *tile) {
    const hearth_kernels *k = p->c->kernels;
    const hearth_weight *w = p->w;
    size_t all = p->forward ? w->cols : w->rows, ld;
    hearth_real *scratch = tile + HEARTH_PANEL_DEPTH * HEARTH_PANEL_MAX;
    for (size_t k0 = 0; k0 < all; k0 += HEARTH_PANEL_DEPTH) {
        size_t n_k = min_size(HEARTH_PANEL_DEPTH, all - k0);
        const hearth_real *rows =
            stored_rows(w, k0, n_k, n0, n_n, scratch, &ld);
        for (size_t j = 0; j < n_n; j += k->panel) {
            size_t n_j = min_size(k->panel, n_n - j);
            k->pack_straight(n_j, n_k, rows + j, ld, tile);
            size_t done = n_k * j / n_n, next = n_k * (j + n_j) / n_n;
            hearth_weight__prefetch(w, k0 + n_k + done, next - done, n0, n_n);
            k->gemm_panel(n_t, n_j, n_k, in + k0, p->ld_in, tile, p->add || k0,
                          out + j, p->ld_out);
        }
    }
}

static void panel_tile(void *ud, size_t i, size_t worker) {
    const product *p = ud;
    size_t width = p->forward ? p->w->rows : p->w->cols;
    size_t t0 = i / p->n_blocks * p->tokens, n0 = i % p->n_blocks * p->block;
    size_t n_t = min_size(p->tokens, p->n_tokens - t0);
    size_t n_n = min_size(p->block, width - n0);
    const hearth_real *in = p->in + t0 * p->ld_in;
    hearth_real *out = p->out + t0 * p->ld_out + n0;
    hearth_real *tile = hearth_compute_tile(p->c, worker);
    if (p->forward != p->w->transposed)
        turned_panels(p, n_t, in, out, n0, n_n, tile);
    else
        straight_panels(p, n_t, in, out, n0, n_n, tile);
}

static void pair_tile(void *ud, size_t i, size_t worker) {
    const product *p = ud;
    size_t width = p->forward ? p->w->rows : p->w->cols;
    size_t t0 = i / p->n_blocks * p->tokens, n0 = i % p->n_blocks * p->block;
    hearth_weight__pair_tile(
        &p->pair, t0, min_size(p->tokens, p->n_tokens - t0), n0,
        min_size(p->block, width - n0), hearth_compute_tile(p->c, worker));
}

static void int8_tile(void *ud, size_t i, size_t worker) {
    const product *p = ud;
    size_t t0 = i / p->n_blocks * p->tokens, n0 = i % p->n_blocks * p->block;
    hearth_weight__int8_tile(
        &p->pair, p->rounded, t0, min_size(p->tokens, p->n_tokens - t0), n0,
        min_size(p->block, p->w->rows - n0), hearth_compute_tile(p->c, worker));
}

static void prepare_pairs(product *p, bool int8) {
    p->pair =
        (hearth_pair_product){.kernels = p->c->kernels,
                              .weight_parts = p->c->weight_parts,
                              .w = p->w,
                              .forward = p->forward,
                              .n_sum = p->forward ? p->w->cols : p->w->rows,
                              .in = p->in,
                              .ld_in = p->ld_in,
                              .n_tokens = p->n_tokens,
                              .out = p->out,
                              .ld_out = p->ld_out,
                              .add = p->add};
    if (p->n_blocks > 1 && int8)
        p->rounded = hearth_weight__round_int8(p->c, &p->pair);
    else if (p->forward && p->c->rounded)
        p->pair.rounded = p->c->rounded;
    else if (p->n_blocks > 1)
        p->pair.rounded = hearth_compute_round(p->c, p->n_tokens, p->pair.n_sum,
                                               p->in, p->ld_in);
}

/* Blocks of 256 elements are decoded whole: where stored rows run along the
 * output, its tiles are as wide. */
static size_t panel_block(const product *p, size_t narrow) {
    bool wide = p->w->type == HEARTH_WEIGHT_QUANT &&
                hearth_quant_elements(p->w->quant) > narrow;
    return wide && p->forward == p->w->transposed ? BLOCK : narrow;
}

/* Columns of the output in a tile of a product in bfloat16: few enough that the
 * tokens need not be split, which would convert every weight twice. */
static size_t pair_block(const product *p, size_t width) {
    size_t block = panel_block(p, PAIR_BLOCK);
    if (block > PAIR_BLOCK) return block;
    while (block > PAIR_STEP && ceil_div(width, block) < WANT_TILES)
        block -= PAIR_STEP;
    return block;
}

/* Cut by shapes only, and run. */
static void multiply(product *p) {
    size_t width = p->forward ? p->w->rows : p->w->cols;
    bool enough = p->c->tile && p->n_tokens >= FEW_TOKENS;
    bool panels = p->c->kernels->panel && enough;
    bool pairs = p->c->kernels->pair_panel && enough;
    bool int8 =
        pairs && p->forward && hearth_weight__takes_int8(p->c->kernels, p->w);
    p->block = pairs    ? pair_block(p, width)
               : panels ? panel_block(p, NARROW)
                        : BLOCK;
    p->n_blocks = ceil_div(width, p->block);
    p->tokens = split_tokens(p->n_tokens, p->n_blocks);
    size_t n = ceil_div(p->n_tokens, p->tokens) * p->n_blocks;
    if (n && pairs) prepare_pairs(p, int8);
    if (n)
        hearth_pool_run(p->c->pool, n,
                        int8         ? int8_tile
                        : pairs      ? pair_tile
                        : panels     ? panel_tile
                        : p->forward ? forward_tile
                                     : backward_tile,
                        p);
}

void hearth_weight_forward(const hearth_compute *c, const hearth_weight *w,
                           size_t n_tokens, const hearth_real *x, size_t ldx,
                           hearth_real *y, size_t ldy, int add) {
    product p = {.c = c,
                 .w = w,
                 .n_tokens = n_tokens,
                 .forward = true,
                 .in = x,
                 .ld_in = ldx,
                 .out = y,
                 .ld_out = ldy,
                 .add = add};
    multiply(&p);
}

void hearth_weight_backward(const hearth_compute *c, const hearth_weight *w,
                            size_t n_tokens, const hearth_real *dy, size_t lddy,
                            hearth_real *dx, size_t lddx, int add) {
    product p = {.c = c,
                 .w = w,
                 .n_tokens = n_tokens,
                 .in = dy,
                 .ld_in = lddy,
                 .out = dx,
                 .ld_out = lddx,
                 .add = add};
    multiply(&p);
}

/* c[M, N] += scale a[T, M]^T b[T, N]: rows of c cut into tiles, or columns where
 * there are few rows.  A thin c, an adapter's, is summed over runs of tokens in order, so that a caller who comes
 * with one run after the other gets the same bytes. */
typedef struct {
    const hearth_compute *c;
    size_t m, n, n_tokens;
    hearth_real scale;
    const hearth_real *a, *b;
    size_t lda, ldb;
    hearth_real *out; /* leading dimension n */
} gradient;

static size_t columns_of(const gradient *g) {
    return g->m <= GRAD_BLOCK ? ceil_div(g->n, GRAD_WIDTH) : 1;
}

static void gradient_tile(void *ud, size_t i, size_t worker) {
    const gradient *g = ud;
    size_t across = columns_of(g);
    size_t r0 = i / across * GRAD_BLOCK, n_r = min_size(GRAD_BLOCK, g->m - r0);
    size_t c0 = i % across * GRAD_WIDTH;
    size_t n_c = across > 1 ? min_size(GRAD_WIDTH, g->n - c0) : g->n;
    bool thin = min_size(g->m, g->n) <= GRAD_THIN;
    size_t tokens = thin ? GRAD_TOKENS : g->n_tokens;
    (void)worker;
    for (size_t t = 0; t < g->n_tokens; t += tokens)
        g->c->kernels->gemm_tn(n_r, n_c, min_size(tokens, g->n_tokens - t),
                               g->scale, g->a + t * g->lda + r0, g->lda,
                               g->b + t * g->ldb + c0, g->ldb, 1,
                               g->out + r0 * g->n + c0, g->n);
}

void hearth_dense_gradient(const hearth_compute *c, size_t m, size_t n,
                           size_t n_tokens, hearth_real scale,
                           const hearth_real *a, size_t lda,
                           const hearth_real *b, size_t ldb, hearth_real *out) {
    gradient g = {c, m, n, n_tokens, scale, a, b, lda, ldb, out};
    if (n_tokens)
        hearth_pool_run(c->pool, ceil_div(m, GRAD_BLOCK) * columns_of(&g),
                        gradient_tile, &g);
}

const hearth_real *hearth_weight_rows_at(const hearth_weight *w, size_t first,
                                         size_t n, hearth_real *scratch) {
    const hearth_real *direct = hearth_weight__direct(w, first);
    if (direct) return direct;
    for (size_t r = 0; r < n; r++)
        hearth_weight__convert(w, first + r, 0, w->cols, scratch + r * w->cols);
    return scratch;
}

void hearth_weight_rows_forward(const hearth_compute *c, size_t worker,
                                const hearth_weight *w, size_t first, size_t n,
                                size_t n_tokens, const hearth_real *x,
                                size_t ldx, const uint16_t *rounded,
                                hearth_real *y, size_t ldy) {
    hearth_pair_product p = {.kernels = c->kernels,
                             .w = w,
                             .forward = true,
                             .n_sum = w->cols,
                             .in = x,
                             .ld_in = ldx,
                             .rounded = rounded,
                             .n_tokens = n_tokens,
                             .out = y,
                             .out0 = first,
                             .ld_out = ldy};
    hearth_weight__pair_tile(&p, 0, n_tokens, first, n,
                             hearth_compute_tile(c, worker));
}

void hearth_weight_rows_backward(const hearth_compute *c, size_t worker,
                                 const hearth_weight *w, size_t first, size_t n,
                                 size_t n_tokens, const hearth_real *dy,
                                 size_t lddy, hearth_real *dx, size_t lddx,
                                 int add) {
    hearth_pair_product p = {.kernels = c->kernels,
                             .w = w,
                             .first = first,
                             .n_sum = n,
                             .in = dy,
                             .ld_in = lddy,
                             .out = dx,
                             .ld_out = lddx,
                             .add = add};
    hearth_weight__pair_tile(&p, 0, n_tokens, 0, w->cols,
                             hearth_compute_tile(c, worker));
}

void hearth_weight_row(const hearth_weight *w, size_t i, hearth_real *out) {
    hearth_weight__convert(w, i, 0, w->cols, out);
}

void hearth_weight_copy_plus(const hearth_weight *w, hearth_real add,
                             hearth_real *out) {
    hearth_weight plus = *w;
    plus.shift += (float)add;
    hearth_weight_copy(&plus, out);
}

void hearth_weight_copy(const hearth_weight *w, hearth_real *out) {
    for (size_t r = 0; r < w->rows; r++)
        hearth_weight__convert(w, r, 0, w->cols, out + r * w->cols);
}

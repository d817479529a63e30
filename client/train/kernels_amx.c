/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/kernels_amx.c - products of bfloat16 numbers by the tile
 * instructions of x86: TDPBF16PS adds to 16 x 16 sums in f32 the products of 16
 * rows and 16 columns of 32 numbers each.
 *
 * A panel is that of pairs_body.h, 32 columns wide, so only the product is this
 * file's own; rounding and packing are "avx512bf16"'s.  A step of the inner
 * block takes two tiles of rows and two of columns, and holds four of sums: each
 * tile that is read serves two products.  What is left over in rows or in the
 * sum is copied between zeros, so that one setting of the tiles serves all.
 *
 * The instruction sums even and odd numbers apart and then both, so results
 * agree with the other sets within a tolerance, not in every bit.  Tile
 * registers belong to a thread; Linux lets a process use them once it has asked.
 * Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume
 * 2, LDTILECFG and TDPBF16PS; Linux, Documentation/arch/x86/xstate.rst.
 */
#include "client/train/kernels.h"
#include "client/train/kernels_loops.h"

#if defined(__x86_64__) && defined(__GNUC__) && defined(__linux__) &&          \
    !defined(HEARTH_FLOAT64)

#include <cpuid.h>
#include <immintrin.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ROWS    ((size_t)16) /* of a tile; and its columns of f32 */
#define COLUMNS ((size_t)32) /* of a panel */
#define DEEP    ((size_t)32) /* numbers of the sum in one step */
#define TILES   __attribute__((target("amx-tile,amx-bf16,avx512f")))

#define ASK_FOR_STATE 0x1023 /* ARCH_REQ_XCOMP_PERM of arch_prctl(2) */
#define TILE_DATA     18     /* XFEATURE_XTILEDATA */

/* All eight tiles: 16 rows of 64 bytes. */
typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_setting;

static const tile_setting setting = {
    .palette = 1,
    .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
    .rows = {16, 16, 16, 16, 16, 16, 16, 16}};

_Static_assert(sizeof(setting) == 64, "the setting of the tiles is 64 bytes");

/* One block of the output: its rows of the input and its part of a panel, each
 * with what does not fill a step, between zeros. */
typedef struct {
    size_t steps;
    const uint16_t *a, *a_rest; /* a_rest NULL: nothing is left over */
    size_t lda;
    const uint32_t *b, *b_rest;
} operands;

#define REST_LD DEEP /* numbers between rows of a_rest */

/* Tiles 0 to 3: sums; 4, 5: rows; 6, 7: columns. */
TILES static inline void step_2(const uint16_t *a, size_t lda,
                                const uint32_t *b) {
    _tile_loadd(6, b, 4 * COLUMNS);
    _tile_loadd(7, b + ROWS, 4 * COLUMNS);
    _tile_loadd(4, a, 2 * lda);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, a + ROWS * lda, 2 * lda);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
}

TILES static inline void step_1(const uint16_t *a, size_t lda,
                                const uint32_t *b) {
    _tile_loadd(6, b, 4 * COLUMNS);
    _tile_loadd(7, b + ROWS, 4 * COLUMNS);
    _tile_loadd(4, a, 2 * lda);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
}

/* c[32, 32] = the sums, + c when add. */
TILES static void block_2(const operands *o, int add, float *c, size_t ldc) {
    if (add) {
        _tile_loadd(0, c, 4 * ldc);
        _tile_loadd(1, c + ROWS, 4 * ldc);
        _tile_loadd(2, c + ROWS * ldc, 4 * ldc);
        _tile_loadd(3, c + ROWS * ldc + ROWS, 4 * ldc);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (size_t s = 0; s < o->steps; s++)
        step_2(o->a + s * DEEP, o->lda, o->b + s * ROWS * COLUMNS);
    if (o->a_rest) step_2(o->a_rest, REST_LD, o->b_rest);
    _tile_stored(0, c, 4 * ldc);
    _tile_stored(1, c + ROWS, 4 * ldc);
    _tile_stored(2, c + ROWS * ldc, 4 * ldc);
    _tile_stored(3, c + ROWS * ldc + ROWS, 4 * ldc);
}

/* The same with 16 rows. */
TILES static void block_1(const operands *o, int add, float *c, size_t ldc) {
    if (add) {
        _tile_loadd(0, c, 4 * ldc);
        _tile_loadd(1, c + ROWS, 4 * ldc);
    } else {
        _tile_zero(0);
        _tile_zero(1);
    }
    for (size_t s = 0; s < o->steps; s++)
        step_1(o->a + s * DEEP, o->lda, o->b + s * ROWS * COLUMNS);
    if (o->a_rest) step_1(o->a_rest, REST_LD, o->b_rest);
    _tile_stored(0, c, 4 * ldc);
    _tile_stored(1, c + ROWS, 4 * ldc);
}

/* Up to 16 rows of numbers, the others and what follows in a row 0. */
static void copy_rows(size_t m, size_t n, const uint16_t *a, size_t lda,
                      uint16_t *out, size_t ldo) {
    for (size_t i = 0; i < m; i++) memcpy(out + i * ldo, a + i * lda, 2 * n);
}

TILES static void gemm(size_t m, size_t n, size_t k, const uint16_t *a,
                       size_t lda, const uint32_t *panel, int add, float *c,
                       size_t ldc) {
    float out[2 * ROWS * COLUMNS];
    uint16_t last[ROWS * HEARTH_PANEL_DEPTH];
    uint16_t a_rest[2 * ROWS * REST_LD];
    uint32_t b_rest[ROWS * COLUMNS];
    operands o = {.steps = k / DEEP, .b = panel, .b_rest = b_rest};
    size_t whole = o.steps * DEEP, rest = k - whole;
    if (rest) memset(b_rest, 0, sizeof(b_rest));
    if (rest)
        memcpy(b_rest, panel + whole / 2 * COLUMNS,
               (rest + 1) / 2 * COLUMNS * sizeof(*panel));
    _tile_loadconfig(&setting);
    for (size_t i = 0, done; i < m; i += done) {
        done = m - i >= 2 * ROWS ? 2 * ROWS : m - i < ROWS ? m - i : ROWS;
        float *to = c + i * ldc;
        bool straight = n == COLUMNS && done % ROWS == 0;
        o.a = a + i * lda;
        o.lda = lda;
        if (done < ROWS) {
            memset(last, 0, sizeof(last));
            copy_rows(done, whole, o.a, lda, last, HEARTH_PANEL_DEPTH);
            o.a = last;
            o.lda = HEARTH_PANEL_DEPTH;
        }
        if (rest) {
            memset(a_rest, 0, sizeof(a_rest));
            copy_rows(done, rest, a + i * lda + whole, lda, a_rest, REST_LD);
            o.a_rest = a_rest;
        }
        (done > ROWS ? block_2 : block_1)(
            &o, straight && add, straight ? to : out, straight ? ldc : COLUMNS);
        for (size_t r = 0; !straight && r < done; r++)
            for (size_t j = 0; j < n; j++)
                to[r * ldc + j] =
                    out[r * COLUMNS + j] + (add ? to[r * ldc + j] : 0);
    }
    _tile_release();
}

/* Leaf 7: the instructions; the system call: leave to use them. */
static bool available(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
    if (!(d >> 22 & 1) || !(d >> 24 & 1)) return false;
    return syscall(SYS_arch_prctl, ASK_FOR_STATE, TILE_DATA) == 0;
}

bool hearth_kernels__fill_amx(hearth_kernels *k) {
    if (k->pair_panel != COLUMNS || !available()) return false;
    k->gemm_pairs = gemm;
    return true;
}

#else

bool hearth_kernels__fill_amx(hearth_kernels *k) {
    (void)k;
    return false;
}

#endif

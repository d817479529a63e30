/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/pairs.h - rows and panels of bfloat16 numbers, as the products
 * by pairs of kernels.h take them: for weight_pairs.c, attention_pairs.c and
 * decoder_store.c.
 */
#ifndef HEARTH_CLIENT_TRAIN_PAIRS_H
#define HEARTH_CLIENT_TRAIN_PAIRS_H

#include "client/train/kernels.h"

/* Numbers of a row of n, in one part. */
static inline size_t hearth_pairs_row(size_t n) {
    return (n + HEARTH_PAIR_PAD - 1) / HEARTH_PAIR_PAD * HEARTH_PAIR_PAD;
}

/* The same for rows that many products read: never a multiple of two lines of
 * the cache, whose sets such rows would share. */
static inline size_t hearth_pairs_pitch(size_t n) {
    size_t row = hearth_pairs_row(n);
    return row % 64 ? row : row + 32;
}

/* Halves of one part of a panel for n_s numbers of the sum. */
static inline size_t hearth_pairs_part(const hearth_kernels *k, size_t n_s) {
    return (n_s + HEARTH_PAIR_STEP - 1) / HEARTH_PAIR_STEP * HEARTH_PAIR_STEP *
           k->pair_panel;
}

/* Halves of the panels for n columns and n_s numbers, in so many parts. */
static inline size_t hearth_pairs_panels(const hearth_kernels *k, size_t parts,
                                         size_t n, size_t n_s) {
    size_t panels = (n + k->pair_panel - 1) / k->pair_panel;
    return panels * parts * hearth_pairs_part(k, n_s);
}

/* Some parts of one panel of n_j columns and n_s numbers of the sum.  rows: of numbers along
 * the sum, one a column (turned), or across it; ld halves between them, parts
 * part_bytes apart. */
static inline void hearth_pairs_pack(const hearth_kernels *k, size_t parts,
                                     bool turned, size_t n_j, size_t n_s,
                                     const unsigned char *rows, size_t ld,
                                     size_t part_bytes, uint16_t *panel) {
    for (size_t part = 0; part < parts; part++)
        (turned ? k->pack_pairs_turned : k->pack_pairs_straight)(
            n_j, n_s, rows + part * part_bytes, ld,
            (uint32_t *)(void *)(panel + part * hearth_pairs_part(k, n_s)));
}

#endif /* HEARTH_CLIENT_TRAIN_PAIRS_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* common/philox.h - counter-based randomness for training.
 *
 * A draw is a function of (seed, purpose, step, record, layer, element), so
 * recompute, threads and resume change nothing.  Not for keys or noise: use
 * rng.h there.
 *
 *     hearth_philox_key k = hearth_philox_key_make(seed, HEARTH_PHILOX_INIT);
 *     float u = hearth_philox_uniform(k, layer, element);
 *
 * Threads: pure functions.
 * Source:  Philox4x32-10 of Salmon et al., Parallel Random Numbers: As Easy as
 *          1, 2, 3, SC 2011.
 */
#ifndef HEARTH_COMMON_PHILOX_H
#define HEARTH_COMMON_PHILOX_H

#include <stddef.h>
#include <stdint.h>

/* What a stream of draws is for; append-only. */
typedef enum {
    HEARTH_PHILOX_INIT = 1,    /* weights at the start */
    HEARTH_PHILOX_SHUFFLE = 2, /* order of records */
    HEARTH_PHILOX_DROPOUT = 3, /* LoRA dropout */
    HEARTH_PHILOX_SAMPLE = 4,  /* tokens of generated text */
    HEARTH_PHILOX_FLEET = 5,   /* simulated devices: dropout, times */
    HEARTH_PHILOX_STATS = 6,   /* bootstrap */
    HEARTH_PHILOX_DATA = 7     /* synthetic data */
} hearth_philox_purpose;

typedef struct {
    uint32_t v[2];
} hearth_philox_key;

/* Key of one purpose under one seed. */
hearth_philox_key hearth_philox_key_make(uint64_t seed,
                                         hearth_philox_purpose purpose);

/* Four uniform words of the counter (c0..c3). */
void hearth_philox4x32(hearth_philox_key key, const uint32_t counter[4],
                       uint32_t out[4]);

/* 64 uniform bits at (a, b): a and b are any 64-bit coordinates. */
uint64_t hearth_philox_u64(hearth_philox_key key, uint64_t a, uint64_t b);

/* Uniform in [0, 1), 53 bits. */
double hearth_philox_uniform(hearth_philox_key key, uint64_t a, uint64_t b);

/* Uniform in [0, n), n >= 1; bias below n / 2^64. */
uint64_t hearth_philox_below(hearth_philox_key key, uint64_t a, uint64_t b,
                             uint64_t n);

/* Standard normal (Box-Muller over refmath, same bytes on any machine). */
double hearth_philox_normal(hearth_philox_key key, uint64_t a, uint64_t b);

/* Permute index [n] in place, Fisher-Yates, draws at (epoch, i). */
void hearth_philox_shuffle(hearth_philox_key key, uint64_t epoch,
                           uint32_t *index, size_t n);

#endif /* HEARTH_COMMON_PHILOX_H */

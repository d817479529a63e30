/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/noise_scan.c - the contract is in noise_scan.h.
 *
 * One loop, compiled for several machines.  It runs over thresholds outside
 * and over words inside, so that compilers turn the inner loop into vectors
 * without being told how.
 */
#include "privacy/noise_scan.h"

#define LANES HEARTH_NOISE_SCAN_LANES
#define GROUP 16 /* words whose counters stay in registers */

static inline __attribute__((always_inline)) void
scan(const hearth_noise_table *t, const uint64_t *r, uint8_t *y, uint8_t *tie) {
    for (unsigned from = 0; from < LANES; from += GROUP) {
        int64_t key[GROUP], count[GROUP] = {0}, equal[GROUP] = {0};
        for (unsigned j = 0; j < GROUP; j++)
            key[j] = (int64_t)(r[from + j] ^ (uint64_t)1 << 63);
        for (unsigned i = 0; i < t->n_padded; i++) {
            int64_t at = t->key[i];
            for (unsigned j = 0; j < GROUP; j++) {
                count[j] += key[j] > at;
                equal[j] |= key[j] == at;
            }
        }
        for (unsigned j = 0; j < GROUP; j++) {
            y[from + j] = (uint8_t)count[j];
            tie[from + j] = (uint8_t)equal[j];
        }
    }
}

static void scan_portable(const hearth_noise_table *t, const uint64_t *r,
                          uint8_t *y, uint8_t *tie) {
    scan(t, r, y, tie);
}

#if defined(__GNUC__) && defined(__x86_64__)

__attribute__((target("avx2"))) static void
scan_avx2(const hearth_noise_table *t, const uint64_t *r, uint8_t *y,
          uint8_t *tie) {
    scan(t, r, y, tie);
}

__attribute__((target("avx512f,avx512dq,avx512vl,avx512bw"))) static void
scan_avx512(const hearth_noise_table *t, const uint64_t *r, uint8_t *y,
            uint8_t *tie) {
    scan(t, r, y, tie);
}

bool hearth_noise_scan_has(hearth_noise_scan_kind kind) {
    if (kind == HEARTH_NOISE_SCAN_AVX2) return __builtin_cpu_supports("avx2");
    if (kind == HEARTH_NOISE_SCAN_AVX512)
        return __builtin_cpu_supports("avx512f") &&
               __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512bw");
    return true;
}

void hearth_noise_scan(const hearth_noise_table *t,
                       const uint64_t r[HEARTH_NOISE_SCAN_LANES],
                       uint8_t y[HEARTH_NOISE_SCAN_LANES],
                       uint8_t tie[HEARTH_NOISE_SCAN_LANES],
                       hearth_noise_scan_kind kind) {
    bool best = kind == HEARTH_NOISE_SCAN_BEST;
    if ((best || kind == HEARTH_NOISE_SCAN_AVX512) &&
        hearth_noise_scan_has(HEARTH_NOISE_SCAN_AVX512))
        scan_avx512(t, r, y, tie);
    else if ((best || kind == HEARTH_NOISE_SCAN_AVX2) &&
             hearth_noise_scan_has(HEARTH_NOISE_SCAN_AVX2))
        scan_avx2(t, r, y, tie);
    else
        scan_portable(t, r, y, tie);
}

#else

bool hearth_noise_scan_has(hearth_noise_scan_kind kind) {
    return kind == HEARTH_NOISE_SCAN_BEST || kind == HEARTH_NOISE_SCAN_PORTABLE;
}

void hearth_noise_scan(const hearth_noise_table *t,
                       const uint64_t r[HEARTH_NOISE_SCAN_LANES],
                       uint8_t y[HEARTH_NOISE_SCAN_LANES],
                       uint8_t tie[HEARTH_NOISE_SCAN_LANES],
                       hearth_noise_scan_kind kind) {
    (void)kind;
    scan_portable(t, r, y, tie);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/sampler.c - the contract is in sampler.h.
 *
 * Random words of a block of m trials: one of signs, m for Y, and, when k > 1,
 * m whose low log2(k) <= 22 bits are U and whose upper 42 bits decide whether
 * the trial is kept.  Bits that do not decide are followed by more bits, so
 * every decision is a comparison of 128 (Y) or 123 (exp) uniform bits.
 */
#include "privacy/sampler.h"

#include <stdbool.h>

#include "common/bytes.h"
#include "common/ct.h"

#define BLOCK     HEARTH_NOISE_SCAN_LANES
#define KEEP_BITS 42

/* One call. */
typedef struct {
    hearth_rng *rng;
    hearth_sampler_report report;
    bool failed;
    hearth_noise_table table;
    uint64_t word[1 + 2 * BLOCK];
    uint8_t y[BLOCK], tie[BLOCK];
} sampler;

static void take(sampler *p, void *to, size_t n) {
    if (hearth_rng_bytes(p->rng, to, n) != HEARTH_OK) p->failed = true;
    p->report.n_bytes += n;
}

/* 128 bits: the n <= 64 low bits of high, and fresh ones after them. */
static hearth_u128 follow(sampler *p, uint64_t high, unsigned n) {
    hearth_u128 fresh;
    take(p, &fresh, sizeof(fresh));
    p->report.n_ties++;
    fresh = (hearth_u128)high << (128 - n) | fresh >> n;
    return fresh;
}

/* Words for m trials; y[] of each. */
static void fill(sampler *p, size_t m, hearth_noise_scan_kind kind) {
    bool fine = p->table.log2_k != 0;
    take(p, p->word, (1 + (fine ? 2 * m : m)) * sizeof(p->word[0]));
    if (p->failed) return;
    /* lanes above m hold old words: looked up and not used */
    hearth_noise_scan(&p->table, p->word + 1, p->y, p->tie, kind);
    unsigned any = 0;
    for (size_t j = 0; j < m; j++) any |= p->tie[j];
    any = HEARTH_CT_PUBLIC(any); /* a tie shows, once in 2^50 */
    for (size_t j = 0; any && j < m; j++)
        if (p->tie[j])
            p->y[j] = (uint8_t)hearth_noise_table_count(
                &p->table, follow(p, p->word[1 + j], 64));
}

/* Is r followed by random bits below exp(-w / (2 sigma^2))?  What exp42 errs
 * by decides it, whatever the bits, unless r is its neighbour. */
static unsigned keep(sampler *p, uint64_t r, uint64_t w) {
    uint64_t e = hearth_noise_table_exp42(&p->table, w);
    unsigned near = r + 1 - e <= 2;
    if (!HEARTH_CT_PUBLIC(near) || w == 0) return r < e; /* once in 2^40 */
    hearth_u128 bits = follow(p, r, KEEP_BITS);
    hearth_u128 exact =
        hearth_noise_exp((hearth_u128)w * p->table.s.den, 2 * p->table.s.num);
    return bits >> (128 - HEARTH_NOISE_ONE_BITS) < exact;
}

/* 1 or 0, without a branch. */
static unsigned not_zero(uint32_t x) {
    return (unsigned)((0 - (uint64_t)x) >> 63);
}

/* Try m <= BLOCK times; returns how many coordinates out got. */
static size_t run_block(sampler *p, int32_t *out, size_t m,
                        hearth_noise_scan_kind kind) {
    unsigned log2_k = p->table.log2_k;
    size_t done = 0;
    fill(p, m, kind);
    for (size_t j = 0; j < m && !p->failed; j++) {
        uint32_t sign = (uint32_t)(p->word[0] >> j) & 1;
        uint64_t base = (uint64_t)p->y[j] << log2_k, u = 0;
        unsigned kept = 1;
        if (log2_k) {
            uint64_t fine = p->word[1 + m + j];
            u = fine & (((uint64_t)1 << log2_k) - 1);
            kept = keep(p, fine >> (64 - KEEP_BITS), u * (u + 2 * base));
        }
        uint32_t x = (uint32_t)(base + u); /* < 2^29 */
        out[done] = (int32_t)x * (1 - 2 * (int32_t)sign);
        unsigned counts = kept & not_zero(x | (sign ^ 1)); /* no -0 */
        done += HEARTH_CT_PUBLIC(counts); /* what is drawn again shows */
    }
    return done;
}

hearth_status hearth_sampler_draw(int32_t *out, size_t n, hearth_sigma_sq s,
                                  hearth_rng *rng, hearth_noise_scan_kind kind,
                                  hearth_sampler_report *report) {
    if ((!out && n) || !rng || !hearth_sigma_ok(s)) return HEARTH_EINVAL;
    sampler p = {.rng = rng};
    hearth_noise_table_init(&p.table, s);
    /* At least half of all trials are kept: a generator that needs three times
     * as many and then some is broken. */
    uint64_t most = 3 * (uint64_t)n + 4096;
    for (size_t done = 0; done < n && !p.failed;) {
        size_t m = n - done < BLOCK ? n - done : BLOCK;
        done += run_block(&p, out + done, m, kind);
        p.report.n_trials += m;
        if (p.report.n_trials > most) p.failed = true;
    }
    bool failed = p.failed;
    if (report) *report = p.report;
    hearth_zeroize(&p, sizeof(p));
    if (failed && n) hearth_zeroize(out, n * sizeof(out[0]));
    return failed ? HEARTH_ERNG : HEARTH_OK;
}

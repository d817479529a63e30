/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/quantize.c - the contract is in quantize.h.
 *
 * Why the bound is exact: what is summed is the integers themselves, in 128
 * bits, and they are compared with an integer.  Nothing about the input is
 * assumed; a vector that was not clipped simply fails all its tries.
 *
 * Why rounding keeps the mean: a float times a power of two is exact in
 * double; so is the part of its magnitude above the integer below.  That part
 * is compared with 63 random bits, an error below 2^-63 (the few rejected
 * draws bias the mean by far more, which costs accuracy, not privacy).
 */
#include "privacy/quantize.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "common/bytes.h"
#include "privacy/sigma.h"
#include "privacy/wide.h"

#define WORDS 64 /* random words drawn at once */

static hearth_status check_spans(const hearth_span *spans, size_t n_spans,
                                 size_t *total) {
    if (!spans && n_spans) return HEARTH_EINVAL;
    size_t room = HEARTH_QUANTIZE_MAX_ELEMENTS;
    for (size_t s = 0; s < n_spans; s++) {
        if (!spans[s].v && spans[s].n) return HEARTH_EINVAL;
        if (spans[s].n > room) return HEARTH_ETOOBIG;
        room -= spans[s].n;
    }
    *total = HEARTH_QUANTIZE_MAX_ELEMENTS - room;
    return HEARTH_OK;
}

/* Round magnitude x in [0, 2^31) up with probability frac(x).  Signed words:
 * their conversion from and to double takes no branch. */
static int64_t round_magnitude(double x, uint64_t random) {
    int64_t low = (int64_t)x; /* x >= 0: down */
    int64_t threshold = (int64_t)((x - (double)low) * 0x1p63); /* frac < 1 */
    return low + ((int64_t)(random >> 1) < threshold ? 1 : 0);
}

/* One draw of one span; adds its squares to *sum.  False in *fits when a
 * coordinate alone is above any bound. */
static hearth_status draw_span(int32_t *out, hearth_span span, int scale_exp,
                               hearth_rng *rng, hearth_u128 *sum, bool *fits) {
    uint64_t random[WORDS];
    const double scale = ldexp(1, scale_exp); /* a float times it is exact */
    hearth_status st = HEARTH_OK;
    for (size_t i = 0; i < span.n && st == HEARTH_OK; i++) {
        if (i % WORDS == 0) {
            size_t left = span.n - i, take = left < WORDS ? left : WORDS;
            st = hearth_rng_bytes(rng, random, take * sizeof(random[0]));
            if (st != HEARTH_OK) break;
        }
        double x = (double)span.v[i] * scale;
        if (!isfinite(x)) {
            st = HEARTH_ENONFINITE;
        } else if (fabs(x) >= 0x1p30 + 1) {
            *fits = false; /* its square is above every legal bound */
            break;
        } else {
            int64_t m = round_magnitude(fabs(x), random[i % WORDS]);
            *sum += (hearth_u128)((uint64_t)m * (uint64_t)m);
            out[i] = (int32_t)(x < 0 ? -m : m);
        }
    }
    hearth_zeroize(random, sizeof(random));
    return st;
}

static hearth_status draw_all(int32_t *out, const hearth_span *spans,
                              size_t n_spans, int scale_exp, uint64_t bound_sq,
                              hearth_rng *rng, bool *met) {
    hearth_u128 sum = 0;
    bool fits = true;
    for (size_t s = 0; s < n_spans; s++) {
        hearth_status st =
            draw_span(out, spans[s], scale_exp, rng, &sum, &fits);
        if (st != HEARTH_OK) return st;
        if (spans[s].n) out += spans[s].n;
    }
    *met = fits && sum <= bound_sq;
    return HEARTH_OK;
}

/* A NaN must be found wherever it hides, also behind a huge coordinate. */
static bool all_finite(const hearth_span *spans, size_t n_spans) {
    for (size_t s = 0; s < n_spans; s++)
        for (size_t i = 0; i < spans[s].n; i++)
            if (!isfinite(spans[s].v[i])) return false;
    return true;
}

hearth_status hearth_quantize(int32_t *out, const hearth_span *spans,
                              size_t n_spans, int scale_exp, uint64_t bound_sq,
                              hearth_rng *rng, hearth_quantize_report *report) {
    size_t n = 0;
    if (!rng || scale_exp < HEARTH_SIGMA_MIN_SCALE ||
        scale_exp > HEARTH_SIGMA_MAX_SCALE || bound_sq == 0 ||
        bound_sq > HEARTH_SIGMA_MAX_BOUND_SQ)
        return HEARTH_EINVAL;
    hearth_status st = check_spans(spans, n_spans, &n);
    if (st == HEARTH_EINVAL || (!out && n)) return HEARTH_EINVAL;
    if (st != HEARTH_OK) return st; /* too long to say how long out is */

    bool met = false;
    unsigned tries = 0;
    if (!all_finite(spans, n_spans)) st = HEARTH_ENONFINITE;
    while (st == HEARTH_OK && !met && tries < HEARTH_QUANTIZE_TRIES) {
        tries++;
        st = draw_all(out, spans, n_spans, scale_exp, bound_sq, rng, &met);
    }
    if (st == HEARTH_OK && !met) st = HEARTH_ETOOBIG;
    if (st != HEARTH_OK) {
        if (n) hearth_zeroize(out, n * sizeof(out[0]));
        return st;
    }
    if (report) report->n_tries = tries;
    return HEARTH_OK;
}

static hearth_status round_coord(int32_t *out, double x, uint32_t s,
                                 hearth_rng *rng) {
    uint64_t random;
    if (!isfinite(x)) return HEARTH_ENONFINITE;
    if (x < 0 || x > 1 || s == 0 || s > HEARTH_SIGMA_MAX_COORD)
        return HEARTH_EINVAL;
    hearth_status st = hearth_rng_bytes(rng, &random, sizeof(random));
    if (st != HEARTH_OK) return st;
    int64_t m = round_magnitude(x * (double)s, random);
    *out = (int32_t)(m > (int64_t)s ? (int64_t)s : m);
    return HEARTH_OK;
}

hearth_status hearth_quantize_coords(int32_t *out, const double *x,
                                     const uint32_t *s, size_t n,
                                     hearth_rng *rng) {
    if (n > HEARTH_SIGMA_MAX_COORDS) return HEARTH_ETOOBIG;
    if (n && !out) return HEARTH_EINVAL;
    hearth_status st = !rng || (n && (!x || !s)) ? HEARTH_EINVAL : HEARTH_OK;
    for (size_t k = 0; k < n && st == HEARTH_OK; k++)
        st = round_coord(&out[k], x[k], s[k], rng);
    if (st != HEARTH_OK && n) hearth_zeroize(out, n * sizeof(out[0]));
    return st;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/privacy_seam.c - the contract is in privacy_seam.h.
 *
 * Defines every function of common/rng.h and privacy/noise.h.  Bytes are
 * Philox, which is good enough for statistics and for nothing else.  The real
 * noise is the shipped source itself, compiled here under another name.
 */
#include "tests/support/privacy_seam.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "common/mem.h"
#include "common/philox.h"
#include "privacy/noise.h"
#include "privacy/sigma.h"

#define hearth_noise_draw       seam_real_draw
#define hearth_noise_is_private seam_real_is_private
static hearth_status seam_real_draw(int32_t *out, size_t n, hearth_sigma_sq s,
                                    hearth_rng *rng);
static bool seam_real_is_private(void);
#include "privacy/noise.c"
#undef hearth_noise_draw
#undef hearth_noise_is_private

/* A string to look for in binaries, besides the names. */
extern const char hearth_seam_marker[];
const char hearth_seam_marker[] = "HEARTH TEST SEAM: NOT PRIVATE";

struct hearth_rng {
    hearth_alloc alloc;
    uint64_t seed, stream, at;   /* next 8-byte word, or byte of the script */
    const unsigned char *script; /* [n_script]; NULL: Philox */
    size_t n_script;
    hearth_status failed;
};

static hearth_seam_noise noise_kind = HEARTH_SEAM_NOISE_EXACT;
static uint64_t seam_seed;
static atomic_uint_fast64_t n_opened, n_calls;
static atomic_uint_fast64_t calls_left = UINT64_MAX;

void hearth_seam_set(hearth_seam_noise noise, uint64_t seed) {
    noise_kind = noise;
    seam_seed = seed;
    atomic_store(&n_opened, 0);
}

void hearth_seam_fail_after(uint64_t calls) {
    atomic_store(&calls_left, calls);
}

uint64_t hearth_seam_rng_calls(void) {
    return atomic_load(&n_calls);
}

/* ---- common/rng.h ---- */

hearth_status hearth_seam_rng_open(hearth_rng **out, uint64_t seed,
                                   uint64_t stream, const hearth_alloc *al,
                                   hearth_error *err) {
    hearth_rng *r = hearth_mem_new(al, sizeof(*r));
    *out = r;
    if (!r) return hearth_error_set(err, HEARTH_ENOMEM, "out of memory");
    r->alloc = *hearth_mem_or_default(al);
    r->seed = seed;
    r->stream = stream;
    return HEARTH_OK;
}

hearth_status hearth_seam_rng_open_script(hearth_rng **out, const void *script,
                                          size_t n, const hearth_alloc *al,
                                          hearth_error *err) {
    hearth_status st = hearth_seam_rng_open(out, 0, 0, al, err);
    if (st != HEARTH_OK) return st;
    (*out)->script = script;
    (*out)->n_script = n;
    return HEARTH_OK;
}

hearth_status hearth_rng_open(hearth_rng **out, const hearth_alloc *al,
                              hearth_error *err) {
    uint64_t k = atomic_fetch_add(&n_opened, 1);
    return hearth_seam_rng_open(out, seam_seed, k, al, err);
}

static bool may_draw(void) {
    atomic_fetch_add(&n_calls, 1);
    uint_fast64_t left = atomic_load(&calls_left);
    while (left != UINT64_MAX && left != 0)
        if (atomic_compare_exchange_weak(&calls_left, &left, left - 1))
            return true;
    return left != 0;
}

hearth_status hearth_rng_bytes(hearth_rng *rng, void *out, size_t n) {
    unsigned char *p = out;
    if (rng->failed == HEARTH_OK && !may_draw()) rng->failed = HEARTH_ERNG;
    if (rng->failed != HEARTH_OK) {
        if (n) memset(out, 0, n);
        return rng->failed;
    }
    while (rng->script && n) {
        *p++ = rng->script[rng->at++ % rng->n_script];
        n--;
    }
    hearth_philox_key key =
        hearth_philox_key_make(rng->seed, HEARTH_PHILOX_FLEET);
    while (n) {
        uint64_t word = hearth_philox_u64(key, rng->stream, rng->at++);
        size_t take = n < 8 ? n : 8;
        for (size_t i = 0; i < take; i++) *p++ = (unsigned char)(word >> 8 * i);
        n -= take;
    }
    return HEARTH_OK;
}

hearth_status hearth_rng_u64(hearth_rng *rng, uint64_t *out) {
    return hearth_rng_bytes(rng, out, sizeof(*out));
}

hearth_status hearth_rng_below(hearth_rng *rng, uint64_t n, uint64_t *out) {
    *out = 0;
    if (n == 0) return HEARTH_EINVAL;
    uint64_t x, top = UINT64_MAX - UINT64_MAX % n; /* a multiple of n */
    do {
        hearth_status st = hearth_rng_u64(rng, &x);
        if (st != HEARTH_OK) return st;
    } while (x >= top);
    *out = x % n;
    return HEARTH_OK;
}

void hearth_rng_close(hearth_rng *rng) {
    if (!rng) return;
    hearth_alloc al = rng->alloc;
    hearth_mem_free(&al, rng);
}

int hearth_rng_mbedtls(void *p, unsigned char *out, size_t n) {
    return hearth_rng_bytes(p, out, n) == HEARTH_OK ? 0 : -0x0034;
}

/* ---- privacy/noise.h ---- */

static hearth_sigma_sq half_sigma(hearth_sigma_sq s) {
    hearth_sigma_sq half = {s.num, s.den * 4};
    if (hearth_sigma_ok(half)) return half;
    return (hearth_sigma_sq){(s.num + 3) / 4, s.den};
}

/* The same draw for everyone, every time. */
static hearth_status reused_draw(int32_t *out, size_t n, hearth_sigma_sq s) {
    hearth_rng fixed = {.seed = seam_seed, .stream = UINT64_MAX};
    return seam_real_draw(out, n, s, &fixed);
}

hearth_status hearth_noise_draw(int32_t *out, size_t n, hearth_sigma_sq s,
                                hearth_rng *rng) {
    switch (noise_kind) {
    case HEARTH_SEAM_NOISE_EXACT: return seam_real_draw(out, n, s, rng);
    case HEARTH_SEAM_NOISE_HALF:
        return seam_real_draw(out, n, half_sigma(s), rng);
    case HEARTH_SEAM_NOISE_REUSED: return reused_draw(out, n, s);
    case HEARTH_SEAM_NOISE_NONE: break;
    }
    if ((!out && n) || !rng || !hearth_sigma_ok(s)) return HEARTH_EINVAL;
    if (n) memset(out, 0, n * sizeof(out[0]));
    return HEARTH_OK;
}

bool hearth_noise_is_private(void) {
    return !seam_real_is_private(); /* the shipped object says true */
}

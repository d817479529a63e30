/* SPDX-License-Identifier: Apache-2.0 */
/* common/rng.c - the contract is in rng.h.
 *
 * CTR_DRBG and not PSA's generator: PSA locks and cannot be asked for blocks
 * ahead.  A failure is sticky, so that a caller that forgets one check cannot
 * go on with weak bytes.
 */
#include "common/rng.h"

#include <string.h>
#include <unistd.h>

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>

#include "common/bytes.h"
#include "common/mem.h"

struct hearth_rng {
    hearth_alloc al;
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context drbg;
    pid_t owner; /* process that filled the buffer */
    size_t left; /* unused bytes at the end of buf */
    hearth_status failed;
    unsigned char buf[HEARTH_RNG_BUFFER];
};

_Static_assert(HEARTH_RNG_BUFFER % MBEDTLS_CTR_DRBG_MAX_REQUEST == 0,
               "refill takes whole requests");

hearth_status hearth_rng_open(hearth_rng **out, const hearth_alloc *al,
                              hearth_error *err) {
    static const char label[] = "hearth rng";
    *out = NULL;
    hearth_rng *r = hearth_mem_new(al, sizeof(*r));
    if (!r) return hearth_error_set(err, HEARTH_ENOMEM, "out of memory");
    r->al = *hearth_mem_or_default(al);
    r->owner = getpid();
    mbedtls_entropy_init(&r->entropy);
    mbedtls_ctr_drbg_init(&r->drbg);
    if (mbedtls_ctr_drbg_seed(&r->drbg, mbedtls_entropy_func, &r->entropy,
                              (const unsigned char *)label, sizeof(label))) {
        hearth_rng_close(r);
        return hearth_error_set(err, HEARTH_ERNG,
                                "the system gives no entropy; try again later");
    }
    *out = r;
    return HEARTH_OK;
}

/* After a fork both processes hold the same buffer and state: drop the one,
 * mix fresh entropy into the other. */
static hearth_status check_fork(hearth_rng *r) {
    pid_t now = getpid();
    if (now == r->owner) return HEARTH_OK;
    hearth_zeroize(r->buf, sizeof(r->buf));
    r->left = 0;
    if (mbedtls_ctr_drbg_reseed(&r->drbg, (const unsigned char *)&now,
                                sizeof(now)))
        return HEARTH_ERNG;
    r->owner = now;
    return HEARTH_OK;
}

static hearth_status refill(hearth_rng *r) {
    for (size_t at = 0; at < sizeof(r->buf); at += MBEDTLS_CTR_DRBG_MAX_REQUEST)
        if (mbedtls_ctr_drbg_random(&r->drbg, r->buf + at,
                                    MBEDTLS_CTR_DRBG_MAX_REQUEST))
            return HEARTH_ERNG;
    r->left = sizeof(r->buf);
    return HEARTH_OK;
}

hearth_status hearth_rng_bytes(hearth_rng *rng, void *out, size_t n) {
    unsigned char *o = out;
    size_t done = 0;
    if (rng->failed == HEARTH_OK) rng->failed = check_fork(rng);
    while (done < n && rng->failed == HEARTH_OK) {
        if (!rng->left && (rng->failed = refill(rng)) != HEARTH_OK) break;
        size_t k = n - done < rng->left ? n - done : rng->left;
        unsigned char *from = rng->buf + sizeof(rng->buf) - rng->left;
        memcpy(o + done, from, k);
        hearth_zeroize(from, k);
        rng->left -= k;
        done += k;
    }
    if (rng->failed != HEARTH_OK) hearth_zeroize(out, n);
    return rng->failed;
}

hearth_status hearth_rng_u64(hearth_rng *rng, uint64_t *out) {
    uint8_t b[8];
    hearth_status st = hearth_rng_bytes(rng, b, sizeof(b));
    *out = hearth_load_le64(b);
    hearth_zeroize(b, sizeof(b));
    return st;
}

hearth_status hearth_rng_below(hearth_rng *rng, uint64_t n, uint64_t *out) {
    *out = 0;
    if (n == 0) return HEARTH_EINVAL;
    /* Accept below the largest multiple of n: every residue equally often. */
    uint64_t limit = UINT64_MAX - (UINT64_MAX % n + 1) % n, u;
    do {
        hearth_status st = hearth_rng_u64(rng, &u);
        if (st != HEARTH_OK) return st;
    } while (u > limit);
    *out = u % n;
    return HEARTH_OK;
}

void hearth_rng_close(hearth_rng *rng) {
    if (!rng) return;
    mbedtls_ctr_drbg_free(&rng->drbg);
    mbedtls_entropy_free(&rng->entropy);
    hearth_alloc al = rng->al;
    hearth_zeroize(rng, sizeof(*rng));
    al.free(al.ud, rng);
}

int hearth_rng_mbedtls(void *p, unsigned char *out, size_t n) {
    return hearth_rng_bytes(p, out, n) == HEARTH_OK
               ? 0
               : MBEDTLS_ERR_CTR_DRBG_ENTROPY_SOURCE_FAILED;
}

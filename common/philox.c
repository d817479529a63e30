/* SPDX-License-Identifier: Apache-2.0 */
/* common/philox.c - the contract is in philox.h.
 *
 * Constants of the paper's Philox4x32-10; the test checks the known answers of
 * its authors (Random123: all-zero, all-one and pi-digit inputs).
 */
#include "common/philox.h"

#include "common/refmath.h"

static const uint32_t M0 = 0xD2511F53u, M1 = 0xCD9E8D57u;
static const uint32_t W0 = 0x9E3779B9u, W1 = 0xBB67AE85u;

void hearth_philox4x32(hearth_philox_key key, const uint32_t counter[4],
                       uint32_t out[4]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key.v[0], k1 = key.v[1];
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)M0 * c0, p1 = (uint64_t)M1 * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        uint32_t n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += W0;
        k1 += W1;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

hearth_philox_key hearth_philox_key_make(uint64_t seed,
                                         hearth_philox_purpose purpose) {
    /* One block under the bare seed mixes the purpose into the whole key. */
    hearth_philox_key raw = {{(uint32_t)seed, (uint32_t)(seed >> 32)}};
    uint32_t c[4] = {(uint32_t)purpose, 0, 0, 0x48454152u}, out[4];
    hearth_philox4x32(raw, c, out);
    return (hearth_philox_key){{out[0], out[1]}};
}

uint64_t hearth_philox_u64(hearth_philox_key key, uint64_t a, uint64_t b) {
    uint32_t c[4] = {(uint32_t)b, (uint32_t)(b >> 32), (uint32_t)a,
                     (uint32_t)(a >> 32)};
    uint32_t out[4];
    hearth_philox4x32(key, c, out);
    return (uint64_t)out[1] << 32 | out[0];
}

double hearth_philox_uniform(hearth_philox_key key, uint64_t a, uint64_t b) {
    return (double)(hearth_philox_u64(key, a, b) >> 11) * 0x1p-53;
}

uint64_t hearth_philox_below(hearth_philox_key key, uint64_t a, uint64_t b,
                             uint64_t n) {
    /* High half of u * n, in two 32-bit steps: no 128-bit type needed. */
    uint64_t u = hearth_philox_u64(key, a, b);
    uint64_t uh = u >> 32, ul = u & 0xFFFFFFFFu;
    uint64_t nh = n >> 32, nl = n & 0xFFFFFFFFu;
    uint64_t mid = uh * nl + (ul * nl >> 32);
    uint64_t mid2 = ul * nh + (mid & 0xFFFFFFFFu);
    return uh * nh + (mid >> 32) + (mid2 >> 32);
}

double hearth_philox_normal(hearth_philox_key key, uint64_t a, uint64_t b) {
    uint32_t c[4] = {(uint32_t)b, (uint32_t)(b >> 32), (uint32_t)a,
                     (uint32_t)(a >> 32)};
    uint32_t out[4];
    hearth_philox4x32(key, c, out);
    uint64_t x = (uint64_t)out[1] << 32 | out[0];
    uint64_t y = (uint64_t)out[3] << 32 | out[2];
    double u = ((double)(x >> 11) + 1.0) * 0x1p-53; /* in (0, 1] */
    double v = (double)(y >> 11) * 0x1p-53;
    return hearth_ref_sqrt(-2.0 * hearth_ref_log(u)) *
           hearth_ref_cos(6.283185307179586 * v);
}

void hearth_philox_shuffle(hearth_philox_key key, uint64_t epoch,
                           uint32_t *index, size_t n) {
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)hearth_philox_below(key, epoch, i, i);
        uint32_t t = index[i - 1];
        index[i - 1] = index[j];
        index[j] = t;
    }
}

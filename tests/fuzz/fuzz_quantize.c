/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz_quantize.c - any floats in: integers within the bound and
 * next to their value, or zeros.
 * Input: int8 scale exponent, uint64 bound (LE), uint8 coordinates, that many
 * doubles, then floats (native order). */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "privacy/quantize.h"
#include "privacy/sigma.h"
#include "privacy/wide.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static hearth_rng *shared_rng(void) {
    static hearth_rng *rng;
    if (!rng && hearth_rng_open(&rng, NULL, NULL) != HEARTH_OK) abort();
    return rng;
}

static void try_coords(const uint8_t *data, size_t n, uint32_t s0) {
    double x[20];
    uint32_t s[20] = {0};
    int32_t y[20];
    memcpy(x, data, n * sizeof(x[0]));
    for (size_t k = 0; k < n; k++) s[k] = (s0 + (uint32_t)k) % (1u << 25);
    memset(y, 0x55, sizeof(y));
    hearth_status st = hearth_quantize_coords(y, x, s, n, shared_rng());
    for (size_t k = 0; k < n && st != HEARTH_ETOOBIG; k++) {
        if (st != HEARTH_OK && y[k] != 0) abort();
        if (y[k] < 0 || (st == HEARTH_OK && (uint32_t)y[k] > s[k])) abort();
        if (st == HEARTH_OK && fabs((double)y[k] - x[k] * (double)s[k]) > 1)
            abort();
    }
    if ((st == HEARTH_ETOOBIG) != (n > HEARTH_SIGMA_MAX_COORDS)) abort();
}

static void try_floats(const uint8_t *data, size_t n, int scale,
                       uint64_t bound) {
    static float v[256];
    static int32_t y[256];
    memcpy(v, data, n * sizeof(v[0]));
    memset(y, 0x55, sizeof(y));
    hearth_span s[] = {{v, n / 2}, {v + n / 2, n - n / 2}};
    hearth_quantize_report rep = {0};
    hearth_status st =
        hearth_quantize(y, s, 2, scale, bound, shared_rng(), &rep);
    if (st == HEARTH_EINVAL) return;
    hearth_u128 sum = 0;
    for (size_t i = 0; i < n; i++) {
        int64_t q = y[i];
        sum += (hearth_u128)((uint64_t)(q * q));
        double exact = ldexp((double)v[i], scale);
        if (st == HEARTH_OK && !(fabs((double)q - exact) <= 1)) abort();
    }
    if (st == HEARTH_OK && (sum > bound || rep.n_tries < 1)) abort();
    if (st != HEARTH_OK && sum != 0) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 10) return 0;
    int scale = (int8_t)data[0];
    uint64_t bound = hearth_load_le64(data + 1);
    size_t n_coords = data[9] % 20;
    data += 10, size -= 10;
    if (size < n_coords * sizeof(double)) return 0;
    try_coords(data, n_coords, (uint32_t)bound);
    data += n_coords * sizeof(double), size -= n_coords * sizeof(double);
    size_t n = size / sizeof(float);
    if (n <= 256) try_floats(data, n, scale, bound);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz_clip.c - any floats in: a bounded vector out, or zeros.
 * Input: float clip_norm, then floats (native order). */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "privacy/clip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static float v[1024];
    float c;
    if (size < sizeof(c) || size - sizeof(c) > sizeof(v)) return 0;
    memcpy(&c, data, sizeof(c));
    size_t n = (size - sizeof(c)) / sizeof(float);
    memcpy(v, data + sizeof(c), n * sizeof(float));

    hearth_span s[] = {{v, n / 4}, {v + n / 4, n - n / 4}};
    hearth_clip_report rep;
    hearth_status st = hearth_clip_l2(s, 2, c, &rep);
    long double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (long double)v[i] * (long double)v[i];
    if (st == HEARTH_OK && !(sqrtl(sum) <= (long double)c)) abort();
    if (st == HEARTH_OK && !(rep.scale > 0 && rep.scale <= 1)) abort();
    if (st == HEARTH_ENONFINITE && sum > 0) abort();
    if (st == HEARTH_ETOOBIG) abort(); /* 1,024 floats are never too many */
    return 0;
}

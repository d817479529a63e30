/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/schedule.c - rates from + - * / and our own cosine, so that a
 * curve does not depend on the libm of the phone. */
#include "client/train/schedule.h"

#include <math.h>
#include <string.h>

#include "common/refmath.h"

static const char *const NAMES[] = {"constant", "linear", "cosine"};

hearth_status hearth_schedule_check(const hearth_schedule *s) {
    if (!s || (unsigned)s->kind > (unsigned)HEARTH_SCHEDULE_COSINE)
        return HEARTH_EINVAL;
    if (!isfinite(s->peak) || s->peak < 0.0) return HEARTH_EINVAL;
    if (s->total == 0 || s->warmup > s->total) return HEARTH_EINVAL;
    return HEARTH_OK;
}

double hearth_schedule_rate(const hearth_schedule *s, uint64_t step) {
    const double pi = 3.14159265358979323846;
    if (step < 1) step = 1;
    if (step > s->total) step = s->total;
    if (step <= s->warmup) return s->peak * ((double)step / (double)s->warmup);
    double p = (double)(step - s->warmup - 1) / (double)(s->total - s->warmup);
    switch (s->kind) {
    case HEARTH_SCHEDULE_LINEAR: return s->peak * (1.0 - p);
    case HEARTH_SCHEDULE_COSINE:
        return s->peak * 0.5 * (1.0 + hearth_ref_cos(pi * p));
    case HEARTH_SCHEDULE_CONSTANT: break;
    }
    return s->peak;
}

hearth_status hearth_schedule_parse(const char *text,
                                    hearth_schedule_kind *kind) {
    if (!text || !kind) return HEARTH_EINVAL;
    for (unsigned k = 0; k < sizeof(NAMES) / sizeof(*NAMES); k++) {
        if (strcmp(text, NAMES[k]) != 0) continue;
        *kind = (hearth_schedule_kind)k;
        return HEARTH_OK;
    }
    return HEARTH_EINVAL;
}

const char *hearth_schedule_name(hearth_schedule_kind kind) {
    return (unsigned)kind <= (unsigned)HEARTH_SCHEDULE_COSINE
               ? NAMES[(unsigned)kind]
               : "?";
}

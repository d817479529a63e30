/* SPDX-License-Identifier: Apache-2.0 */
/* client/delta/terms.h - the privacy numbers of an offer, checked against each
 * other.
 *
 * An offer carries redundant numbers.  The device believes the integers that
 * it will itself enforce (D_d^2, s_k, sigma^2), computes the rest from them,
 * and refuses an offer whose other numbers promise more.
 *
 *     hearth_terms t;
 *     st = hearth_terms_read(&t, offer, err);      // then t.z, t.rho are ours
 *
 * Threads: pure functions.
 * Memory:  allocates nothing.
 */
#ifndef HEARTH_CLIENT_DELTA_TERMS_H
#define HEARTH_CLIENT_DELTA_TERMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "privacy/sigma.h"
#include "proto/messages.h"

typedef struct {
    uint64_t d;                          /* coordinates of the delta */
    size_t n_coords;                     /* appended bounded coordinates */
    bool clip_bit;                       /* coordinate 0 says whether the delta
                                            was within the clip: made here */
    uint32_t s[HEARTH_SIGMA_MAX_COORDS]; /* [n_coords] s_k */
    float clip;                          /* weight units */
    int scale_exp;                       /* scale = 2^scale_exp */
    uint64_t bound_sq;                   /* D_d^2 */
    uint64_t delta2_sq;                  /* D_d^2 + sum s_k^2 */
    hearth_sigma_sq sigma_sq;            /* integer units, squared */
    double z;                            /* from the three above */
    double rho;                          /* the charge: 2 / z^2 */
} hearth_terms;

/* Read and check.
 *
 * Returns HEARTH_OK
 *         HEARTH_EINVAL        a NULL pointer
 *         HEARTH_ETOOBIG       above a limit of sigma.h or limits.h
 *         HEARTH_EUNSUPPORTED  another mode, relation or unit than local,
 *                              replace-one, device
 *         HEARTH_EFORMAT       numbers that contradict each other; err names
 *                              the first
 * *out is zero on failure. */
HEARTH_MUST_CHECK
hearth_status hearth_terms_read(hearth_terms *out, const hearth_offer *offer,
                                hearth_error *err);

#endif /* HEARTH_CLIENT_DELTA_TERMS_H */

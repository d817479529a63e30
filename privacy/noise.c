/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/noise.c - the contract is in noise.h.
 *
 * Small on purpose: this object is what tests/support/privacy_seam.c takes the
 * place of.  The samplers themselves are in sampler.c and noise_exact.c.
 */
#include "privacy/noise.h"

#include "privacy/sampler.h"

hearth_status hearth_noise_draw(int32_t *out, size_t n, hearth_sigma_sq s,
                                hearth_rng *rng) {
    return hearth_sampler_draw(out, n, s, rng, HEARTH_NOISE_SCAN_BEST, NULL);
}

bool hearth_noise_is_private(void) {
    return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/blt_noise.c - the contract is in blt_noise.h, the proof in PRIVACY.md,
 * section 11; here is what the proof takes from the code.
 *
 * With g_t the round's sum and Y_t the noise added to it, a round computes
 *     F_t = sum_j omega_j s_j        in double, from Y_0 .. Y_(t-1) only
 *     q_t = F_t rounded to the grid  (feedback)
 *     Y_t = z_t - q_t rounded to an integer
 * so the release g_t + Y_t is (z_t - q_t + g_t) rounded: a function of a draw
 * z_t moved by something on its own grid.
 *
 * How far q_t is from the exact feedback, in grid units: 1/2 by rounding, and by
 * arithmetic in double no more than 2^grid_bits times
 *     (2 n + 2 d_b + 4) 2^-53 S,   S >= any |s_j|, d_b buffers
 * as a state is multiplied by at most 1 and takes two roundings a round, and the
 * weighted sum takes two for each buffer.  |Y_t| is at most R (REACH sigma + 2)
 * with R the sum of |c^-1_i|, since Y = C^-1 (z + something below 2), and in the
 * other world at most 2 Delta2 more.  S = n times that.
 */
#include "privacy/blt_noise.h"

#include <math.h>
#include <string.h>

#include "privacy/accountant_zcdp.h"

#define REACH     16.0    /* sigmas: no sampler of noise.h goes beyond 14 */
#define SIGMA_MAX 0x1p23  /* grid units */
#define UNIT      0x1p-53 /* of a rounding in double */

/* Set sigma and slack for one grid: sigma >= z (sens Delta2 + slack) with a
 * slack that grows with sigma, so the equation is solved.  False: too large. */
static bool fits(hearth_blt_noise *m, int grid_bits) {
    const double n = m->pattern.rounds;
    double grid = ldexp(1.0, grid_bits);
    double norm = hearth_blt_errors(&m->blt, m->pattern.rounds).most *
                  (1.0 + 1e-6); /* its own roundings */
    double ulps = (2.0 * n + 2.0 * m->blt.n_buffers + 4.0) * UNIT * n;
    double root = sqrt(n * (double)m->d);
    /* slack = root (0.6 + ulps (norm (REACH sigma + 2 grid) + 2 Delta2 grid)) */
    double fixed = root * (0.6 + ulps * 2.0 * grid * (norm + m->delta2));
    double grows = root * ulps * norm * REACH;
    if (!(m->z * grows < 0.5)) return false;
    double sigma = m->z * (m->sens * m->delta2 * grid + fixed) /
                   (1.0 - m->z * grows) * (1.0 + 1e-9);
    if (!(sigma <= SIGMA_MAX)) return false;
    m->grid_bits = grid_bits;
    m->slack = fixed + grows * sigma;
    m->sigma_sq = (hearth_sigma_sq){(uint64_t)ceil(sigma * sigma), 1};
    return hearth_sigma_ok(m->sigma_sq);
}

hearth_status hearth_blt_noise_init(hearth_blt_noise *m, const hearth_blt *b,
                                    const hearth_blt_pattern *p, double z,
                                    uint64_t delta2_sq, size_t d,
                                    double *state) {
    if (!m) return HEARTH_EINVAL;
    *m = (hearth_blt_noise){0};
    if (!hearth_blt_ok(b) || !hearth_blt_pattern_ok(p) || !(z > 0.0) ||
        !isfinite(z) || delta2_sq == 0 ||
        delta2_sq > HEARTH_SIGMA_MAX_BOUND_SQ || d == 0 ||
        d > SIZE_MAX / sizeof(*state) / HEARTH_BLT_MAX_BUFFERS ||
        (!state && b->n_buffers))
        return HEARTH_EINVAL;
    m->blt = *b;
    m->pattern = *p;
    m->d = d;
    m->z = z;
    m->delta2 = sqrt((double)delta2_sq) * (1.0 + 1e-12);
    m->sens = hearth_blt_sensitivity(b, p);
    int bits = HEARTH_BLT_NOISE_MAX_GRID;
    while (bits >= 0 && !fits(m, bits)) bits--;
    if (bits < 0) {
        *m = (hearth_blt_noise){0};
        return HEARTH_ETOOBIG;
    }
    m->state = state;
    if (state) memset(state, 0, b->n_buffers * d * sizeof(*state));
    return HEARTH_OK;
}

/* The noise of coordinate i. */
static int64_t next_of(const hearth_blt_noise *m, size_t i, int32_t draw) {
    const int64_t one = (int64_t)1 << m->grid_bits;
    double feedback = 0.0;
    for (unsigned j = 0; j < m->blt.n_buffers; j++)
        feedback += m->blt.omega[j] * m->state[j * m->d + i];
    int64_t v = draw - (int64_t)floor(feedback * (double)one + 0.5) + one / 2;
    int64_t y =
        v >= 0 ? v / one : -((one - 1 - v) / one); /* v / one, floored */
    for (unsigned j = 0; j < m->blt.n_buffers; j++) {
        double *s = &m->state[j * m->d + i];
        *s = m->blt.theta[j] * *s + (double)y;
    }
    return y;
}

hearth_status hearth_blt_noise_add(hearth_blt_noise *m, int64_t *sum,
                                   const int32_t *draw) {
    if (!m || !sum || !draw) return HEARTH_EINVAL;
    double most = REACH * sqrt((double)m->sigma_sq.num);
    hearth_status st = HEARTH_OK;
    if (m->next >= m->pattern.rounds) st = HEARTH_EINVAL;
    for (size_t i = 0; i < m->d && st == HEARTH_OK; i++)
        if (fabs((double)draw[i]) > most) st = HEARTH_ERNG;
    if (st != HEARTH_OK) {
        memset(sum, 0, m->d * sizeof(*sum));
        m->next = m->pattern.rounds;
        return st;
    }
    for (size_t i = 0; i < m->d; i++) sum[i] += next_of(m, i, draw[i]);
    m->next++;
    return HEARTH_OK;
}

double hearth_blt_noise_rho(const hearth_blt_noise *m) {
    return m ? hearth_zcdp_rho(m->z, HEARTH_DP_REPLACE_ONE) : (double)INFINITY;
}

/* Part share of a device's influence is hidden by the devices' noise and the
 * rest by this one's; a split vector is rounded to integers, half, by which
 * either part grows. */
static double split_rho(const hearth_blt_noise *m, double z_devices, double k,
                        double share) {
    double half = sqrt((double)m->d) / 2.0, grid = ldexp(1.0, m->grid_bits);
    double sigma = sqrt((double)m->sigma_sq.num);
    double a = (share * 2.0 + half / m->delta2) / z_devices;
    double b = (m->sens * grid * ((1.0 - share) * 2.0 * m->delta2 + half) +
                2.0 * m->slack) /
               sigma;
    return (k * a * a + b * b) / 2.0 * (1.0 + 1e-9);
}

double hearth_blt_release_rho(const hearth_blt_noise *m, double z,
                              uint64_t n_min, uint32_t participations) {
    if (!m || !m->d || !(z > 0.0) || !isfinite(z) || n_min < 1)
        return (double)INFINITY;
    if (participations == 0) return 0.0;
    double others = z * sqrt((double)(n_min - 1)), k = participations;
    double server = hearth_blt_noise_rho(m);
    if (participations > m->pattern.participations) server = (double)INFINITY;
    if (n_min == 1) return server;
    double devices = k * hearth_zcdp_rho(others, HEARTH_DP_REPLACE_ONE);
    if (!isfinite(server)) return devices;
    double best = fmin(devices, server);
    return fmin(best, split_rho(m, others, k, server / (server + devices)));
}

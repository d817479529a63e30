/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/server_opt.c - the server step.
 *
 * A sum is exact as an integer.  It becomes a double once (exactly below 2^53,
 * which the ring bound guarantees), is divided once, scaled by a power of two
 * exactly, added once and rounded to float once: five roundings, in an order
 * that no compiler may change (-ffp-contract=off).
 */
#include "coordinator/server_opt.h"

#include <math.h>
#include <string.h>

#include "common/bytes.h"

static const char MAGIC[4] = {'H', 'S', 'O', 'P'};
#define VERSION 1u
#define KIND    1u /* plain: release += lr * mean */

void hearth_server_opt_save(const hearth_server_opt *o,
                            uint8_t out[HEARTH_SERVER_OPT_BYTES]) {
    memcpy(out, MAGIC, 4);
    hearth_store_le32(out + 4, VERSION);
    hearth_store_le32(out + 8, KIND);
    hearth_store_le64(out + 12, o->steps);
}

hearth_status hearth_server_opt_load(hearth_server_opt *o, const void *bytes,
                                     size_t n) {
    const uint8_t *p = bytes;
    memset(o, 0, sizeof(*o));
    if (!p || n < 8 || memcmp(p, MAGIC, 4) != 0) return HEARTH_EFORMAT;
    if (hearth_load_le32(p + 4) != VERSION) return HEARTH_EVERSION;
    if (n != HEARTH_SERVER_OPT_BYTES || hearth_load_le32(p + 8) != KIND)
        return HEARTH_EFORMAT;
    o->steps = hearth_load_le64(p + 12);
    return HEARTH_OK;
}

static float moved(float start, int64_t sum, uint32_t n, int scale_exp,
                   double lr) {
    double mean = ldexp((double)sum / (double)n, -scale_exp);
    return (float)((double)start + lr * mean);
}

hearth_status hearth_server_opt_step(hearth_server_opt *o, float *next,
                                     const float *start, const int64_t *sum,
                                     size_t d, uint32_t n_devices,
                                     int scale_exp, double lr) {
    if (!o || (d && (!next || !start || !sum)) || n_devices == 0 ||
        !isfinite(lr) || lr <= 0)
        return HEARTH_EINVAL;
    for (size_t i = 0; i < d; i++)
        if (!isfinite(moved(start[i], sum[i], n_devices, scale_exp, lr)))
            return HEARTH_ENONFINITE;
    for (size_t i = 0; i < d; i++)
        next[i] = moved(start[i], sum[i], n_devices, scale_exp, lr);
    o->steps++;
    return HEARTH_OK;
}

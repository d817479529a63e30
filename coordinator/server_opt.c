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
#define PLAIN   1u /* release += lr * mean */
#define CLIPPED 2u /* the same, and the clip of the next round */

size_t hearth_server_opt_save(const hearth_server_opt *o,
                              uint8_t out[HEARTH_SERVER_OPT_BYTES]) {
    uint64_t bits;
    memcpy(out, MAGIC, 4);
    hearth_store_le32(out + 4, VERSION);
    hearth_store_le32(out + 8, o->clip > 0 ? CLIPPED : PLAIN);
    hearth_store_le64(out + 12, o->steps);
    if (!(o->clip > 0)) return 20;
    memcpy(&bits, &o->clip, sizeof(bits));
    hearth_store_le64(out + 20, bits);
    return 28;
}

static hearth_status load(hearth_server_opt *o, const uint8_t *p, size_t n) {
    uint32_t kind = hearth_load_le32(p + 8);
    if (n != (kind == CLIPPED ? 28u : 20u) ||
        (kind != PLAIN && kind != CLIPPED))
        return HEARTH_EFORMAT;
    if (kind == CLIPPED) {
        uint64_t bits = hearth_load_le64(p + 20);
        double clip;
        memcpy(&clip, &bits, sizeof(clip));
        if (!isfinite(clip) || clip <= 0) return HEARTH_EFORMAT;
        o->clip = clip;
    }
    o->steps = hearth_load_le64(p + 12);
    return HEARTH_OK;
}

hearth_status hearth_server_opt_load(hearth_server_opt *o, const void *bytes,
                                     size_t n) {
    const uint8_t *p = bytes;
    memset(o, 0, sizeof(*o));
    if (!p || n < 8 || memcmp(p, MAGIC, 4) != 0) return HEARTH_EFORMAT;
    if (hearth_load_le32(p + 4) != VERSION) return HEARTH_EVERSION;
    return n < 20 ? HEARTH_EFORMAT : load(o, p, n);
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

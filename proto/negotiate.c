/* SPDX-License-Identifier: Apache-2.0 */
/* proto/negotiate.c - one short list against another. */
#include "proto/negotiate.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/error.h"
#include "proto/limits.h"

static const uint32_t ours[] = {HEARTH_PROTO_MAJOR};
static const size_t n_ours = sizeof(ours) / sizeof(ours[0]);

const uint32_t *hearth_negotiate_ours(size_t *n) {
    if (n) *n = n_ours;
    return ours;
}

/* "1, 2, 3" of at most the first few. */
static void list(char *out, size_t cap, const uint32_t *v, size_t n) {
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < n && i < HEARTH_PROTO_MAX_VERSIONS; i++) {
        int k =
            snprintf(out + used, cap - used, "%s%" PRIu32, i ? ", " : "", v[i]);
        if (k < 0 || (size_t)k >= cap - used) return;
        used += (size_t)k;
    }
    if (!n) (void)snprintf(out, cap, "none");
}

hearth_status hearth_negotiate(const uint32_t *theirs, size_t n_theirs,
                               uint32_t *version, hearth_error *err) {
    uint32_t newest = 0;
    char a[128], b[64];
    if (!version || (!theirs && n_theirs))
        return hearth_error_set(err, HEARTH_EINVAL, "negotiate: NULL argument");
    *version = 0;
    for (size_t i = 0; i < n_theirs; i++) {
        if (theirs[i] > newest) newest = theirs[i];
        for (size_t k = 0; k < n_ours; k++)
            if (theirs[i] == ours[k] && ours[k] > *version) *version = ours[k];
    }
    if (*version) return HEARTH_OK;
    list(a, sizeof(a), theirs, n_theirs);
    list(b, sizeof(b), ours, n_ours);
    return hearth_error_set(
        err, HEARTH_EVERSION,
        "no protocol version in common (device: %s; coordinator: %s); update "
        "the %s",
        a, b, newest > ours[0] ? "coordinator" : "device");
}

/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/place.c - the contract is in place.h. */
#include "coordinator/place.h"

#include <string.h>

#include "common/error.h"
#include "common/hash.h"
#include "common/mem.h"

/* HMAC(key, label || device). */
static hearth_status keyed(uint8_t out[32], const hearth_secret *key,
                           const char *label, const char *device) {
    char text[32 + HEARTH_PROTO_DEVICE_CAP];
    size_t a = strlen(label), b = strlen(device);
    if (a + b > sizeof(text)) return HEARTH_EINVAL;
    memcpy(text, label, a);
    memcpy(text + a, device, b);
    return hearth_hmac_sha256(out, key->bytes, sizeof(key->bytes), text, a + b);
}

hearth_status hearth_place_tag(uint8_t out[32], const hearth_secret *round_key,
                               const char *device) {
    return keyed(out, round_key, "hearth device", device);
}

hearth_status hearth_place_token(hearth_secret *out,
                                 const hearth_secret *round_key,
                                 const char *device) {
    return keyed(out->bytes, round_key, "hearth upload", device);
}

hearth_status hearth_place_spacing(uint8_t out[32],
                                   const hearth_secret *cooldown_key,
                                   const char *device) {
    return keyed(out, cooldown_key, "hearth cooldown", device);
}

/* ---- revoking ---- */

typedef struct {
    const char *device;
    hearth_contrib_row drop[HEARTH_PROTO_MAX_TASKS];
    unsigned n;
    hearth_coord_store *s;
} walk;

/* Note the open place in the newest round of a task, if there is one. */
static hearth_status look(void *ud, const hearth_task_row *task) {
    walk *w = ud;
    hearth_round_row round;
    hearth_contrib_row row;
    hearth_secret key, token;
    uint8_t hash[32];
    hearth_status st =
        hearth_coord_store_last_round(w->s, task->name, &round, NULL);
    if (st == HEARTH_ENOTFOUND) return HEARTH_OK;
    if (st != HEARTH_OK || !round.has_key || w->n == HEARTH_PROTO_MAX_TASKS)
        return st;
    st =
        hearth_coord_store_round_key(w->s, task->name, round.round, &key, NULL);
    if (st == HEARTH_OK) st = hearth_place_token(&token, &key, w->device);
    if (st == HEARTH_OK)
        st = hearth_sha256(hash, token.bytes, sizeof(token.bytes));
    if (st == HEARTH_OK)
        st = hearth_coord_store_contrib(w->s, hash, &row, NULL);
    if (st == HEARTH_OK && (row.state == HEARTH_CONTRIB_INVITED ||
                            row.state == HEARTH_CONTRIB_BEGUN))
        w->drop[w->n++] = row;
    hearth_secret_wipe(&token);
    hearth_secret_wipe(&key);
    return st == HEARTH_ENOTFOUND ? HEARTH_OK : st;
}

hearth_status hearth_place_revoke(hearth_coord_store *s, const char *device,
                                  unsigned *n, hearth_error *err) {
    walk *w = hearth_mem_new(NULL, sizeof(*w));
    if (n) *n = 0;
    if (!w) return hearth_error_set(err, HEARTH_ENOMEM, "out of memory");
    w->device = device;
    w->s = s;
    hearth_status st = hearth_coord_store_tasks(s, look, w, err);
    for (unsigned i = 0; st == HEARTH_OK && i < w->n; i++) {
        w->drop[i].state = HEARTH_CONTRIB_ABORTED;
        st = hearth_coord_store_set_contrib(s, &w->drop[i], err);
        /* It was committed in this very moment: then it stays. */
        if (st == HEARTH_ENOTFOUND) {
            hearth_error_clear(err);
            st = HEARTH_OK;
        } else if (st == HEARTH_OK && n) {
            (*n)++;
        }
    }
    hearth_mem_free(NULL, w);
    return st;
}

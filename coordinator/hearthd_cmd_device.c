/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/hearthd_cmd_device.c - `hearthd token ...`, `hearthd device ...`:
 * safe to run while hearthd serves. */
#include <stdio.h>
#include <string.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/ini.h"
#include "coordinator/coordinator.h"
#include "coordinator/hearthd_cmd.h"
#include "coordinator/place.h"
#include "coordinator/token.h"

static int token_create(hearthd_args *a) {
    static hearthd_state s;
    char text[HEARTH_TOKEN_CHARS] = "";
    uint8_t hash[HEARTH_SHA256_BYTES];
    int64_t uses = 1, life = 0;
    const hearth_clock clock = hearth_clock_system();
    if (hearth_parse_i64(hearthd_get(a, "--uses", "1"), &uses) != HEARTH_OK ||
        uses < 1 || uses > 1000000)
        return hearthd_usage(a, "--uses must be 1 to 1000000");
    if (hearth_parse_duration(hearthd_get(a, "--expires", "24h"), &life) !=
            HEARTH_OK ||
        life > (int64_t)3650 * 86400000)
        return hearthd_usage(a, "--expires must be a duration like 24h");
    hearth_status st = hearthd_open_devices(&s, a);
    if (st == HEARTH_OK) st = hearth_rng_open(&s.rng, NULL, &s.err);
    if (st == HEARTH_OK) st = hearth_token_new(text, s.rng);
    if (st == HEARTH_OK) st = hearth_token_hash(hash, text);
    int64_t now = hearth_clock_wall(&clock);
    if (st == HEARTH_OK)
        st = hearth_auth_store_token_add(s.devices, hash, uses, now, now + life,
                                         &s.err);
    if (st == HEARTH_OK) {
        hearthd_say(a, "%s", text);
        hearthd_event(a, "token", "token", 's', text, "uses", 'i',
                      (long long)uses, "expires_ms", 'i',
                      (long long)(now + life), (const char *)NULL);
    }
    hearth_zeroize(text, sizeof(text));
    return hearthd_finish(a, &s, st);
}

static void show_device(const hearthd_args *a, const hearth_device_row *r) {
    char made[21], until[21];
    hearth_clock_format(made, r->created_ms);
    hearth_clock_format(until, r->not_after_ms);
    hearthd_say(a, "%-30s %s  %s  %s", r->id, made, until,
                r->revoked_ms ? "revoked" : "active");
    hearthd_event(a, "device", "id", 's', r->id, "created_ms", 'i',
                  (long long)r->created_ms, "not_after_ms", 'i',
                  (long long)r->not_after_ms, "revoked", 'b',
                  r->revoked_ms != 0, (const char *)NULL);
}

static int device_list(hearthd_args *a) {
    static hearthd_state s;
    hearth_device_row row[16];
    size_t n = 0, at = 0;
    hearth_status st = hearthd_open_devices(&s, a);
    if (st == HEARTH_OK)
        hearthd_say(a, "%-30s %-20s  %-20s  %s", "DEVICE", "ENROLLED",
                    "CERTIFICATE UNTIL", "STATE");
    do {
        if (st == HEARTH_OK)
            st = hearth_auth_store_list(s.devices, at, row, 16, &n, &s.err);
        for (size_t i = 0; st == HEARTH_OK && i < n; i++)
            show_device(a, &row[i]);
        at += n;
    } while (st == HEARTH_OK && n == 16);
    return hearthd_finish(a, &s, st);
}

/* The places it holds in open rounds go with it: an upload shows a token and no
 * name, so only now can they be found. */
static hearth_status drop_places(hearthd_state *s, const char *device) {
    char path[HEARTH_SERVER_PATH_CAP];
    hearth_status st = hearth_coord_db_path(path, sizeof(path), s->cfg.state);
    if (st != HEARTH_OK || !hearth_file_exists(path)) return st;
    st = hearth_coord_store_open(&s->store, path, HEARTH_STORE_DURABLE, NULL,
                                 &s->err);
    if (st != HEARTH_OK) return st;
    return hearth_place_revoke(s->store, device, NULL, &s->err);
}

static int device_revoke(hearthd_args *a) {
    static hearthd_state s;
    const hearth_clock clock = hearth_clock_system();
    hearth_status st = hearthd_open_devices(&s, a);
    if (st == HEARTH_OK)
        st = hearth_auth_store_revoke(s.devices, a->word[0],
                                      hearth_clock_wall(&clock), &s.err);
    if (st == HEARTH_OK) st = drop_places(&s, a->word[0]);
    if (st == HEARTH_OK)
        hearthd_say(a, "Revoked: refused from now on, also what it was "
                       "sending.");
    return hearthd_finish(a, &s, st);
}

static int device_erase(hearthd_args *a) {
    static hearthd_state s;
    const hearth_clock clock = hearth_clock_system();
    hearth_status st = hearthd_open_devices(&s, a);
    if (st == HEARTH_OK) /* it gets no new place meanwhile */
        st = hearth_auth_store_revoke(s.devices, a->word[0],
                                      hearth_clock_wall(&clock), &s.err);
    if (st == HEARTH_OK) st = drop_places(&s, a->word[0]);
    if (st == HEARTH_OK)
        st = hearth_auth_store_erase(s.devices, a->word[0], &s.err);
    if (st == HEARTH_OK)
        hearthd_say(a, "Erased. What it gave to a release stays in that sum: "
                       "no single part can be taken out.");
    return hearthd_finish(a, &s, st);
}

hearthd_command hearthd_commands_device[] = {
    {.name = "token create",
     .words = "",
     .what = "Make an enrolment token; it is shown once and stored as a hash.",
     .example = "token create -c coord/hearthd.ini --uses 1 --expires 24h",
     .option = {{"--uses", "N", "devices that may use it [1]", NULL},
                {"--expires", "TIME", "how long it is good [24h]", NULL}},
     .run = token_create},
    {.name = "device list",
     .words = "",
     .what = "List the enrolled devices.",
     .example = "device list -c coord/hearthd.ini",
     .run = device_list},
    {.name = "device revoke",
     .words = "DEVICE",
     .what = "Refuse a device from now on.",
     .example = "device revoke d-0123456789abcdef01234567",
     .min_words = 1,
     .max_words = 1,
     .run = device_revoke},
    {.name = "device erase",
     .words = "DEVICE",
     .what = "Forget a device: its row, certificate and enrolment.",
     .example = "device erase d-0123456789abcdef01234567",
     .min_words = 1,
     .max_words = 1,
     .run = device_erase},
    {.name = NULL},
};

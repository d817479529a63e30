/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/client_kit.h - a hearth_client whose network and clock are the
 * fake coordinator's, for tests of the installed API. */
#ifndef HEARTH_TESTS_CLIENT_KIT_H
#define HEARTH_TESTS_CLIENT_KIT_H

#include "client/api/client_private.h"
#include "common/file.h"
#include "hearth/hearth.h"
#include "tests/support/fake_coord.h"

typedef struct {
    fake_coord f;
    char dir[64];
    hearth_client *c;
    hearth_error err;
} world;

/* Open a client whose network and clock are the fake's. */
static inline void open_client(world *w) {
    hearth_client_config cfg = HEARTH_CLIENT_CONFIG_INIT;
    cfg.state_dir = w->dir;
    cfg.threads = 1;
    if (hearth_client_open(&w->c, &cfg, &w->err) != HEARTH_OK)
        fail_msg("%s", w->err.text);
    w->c->dialer = fake_coord_dialer(&w->f);
    w->c->clock = w->f.clock;
}

static inline void open_world(world *w) {
    fake_coord_open(&w->f);
    assert_non_null(hearth_test_dir(w->dir));
    open_client(w);
}

static inline void close_world(world *w) {
    hearth_client_close(w->c);
    fake_coord_close(&w->f);
    assert_ok(hearth_file_remove_tree(w->dir, NULL));
}

static inline hearth_status join(world *w) {
    hearth_client_join_config j = HEARTH_CLIENT_JOIN_CONFIG_INIT;
    j.server = FAKE_SERVER;
    j.token = FAKE_TOKEN;
    j.root = w->f.root_pin;
    j.base = w->f.dir;
    return hearth_client_join(w->c, &j, &w->err);
}

static inline void add_notes(world *w, int n) {
    hearth_records_options opt = HEARTH_RECORDS_OPTIONS_INIT;
    opt.purpose = HEARTH_RECORDS_FEDERATED;
    for (int i = 0; i < n; i++) {
        char json[128];
        int k = snprintf(json, sizeof(json),
                         "{\"prompt\":\"day %d\",\"completion\":\"slept %d\"}",
                         i, i % 9);
        assert_ok(
            hearth_records_add(w->c, json, (size_t)k, &opt, NULL, &w->err));
    }
}

static inline void say_good_conditions(world *w) {
    hearth_client_conditions now = HEARTH_CLIENT_CONDITIONS_INIT;
    now.charging = now.unmetered = 1;
    now.battery_percent = 80;
    now.temperature_c = 20;
    assert_ok(hearth_client_set_conditions(w->c, &now, &w->err));
}

static inline bool until(world *w, hearth_tick_kind kind,
                         hearth_client_tick *t) {
    for (int i = 0; i < 200; i++) {
        if (hearth_client_sync(w->c, t, &w->err) != HEARTH_OK)
            fail_msg("%s", w->err.text);
        if (t->kind == (int32_t)kind) return true;
        hearth_virtual_clock_advance(&w->f.time, t->wait_ms);
    }
    return false;
}

#endif /* HEARTH_TESTS_CLIENT_KIT_H */

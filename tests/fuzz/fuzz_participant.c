/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz_participant.c - any sequence of lost and wrong replies, dead
 * processes, jumping clocks and forgotten records: a round is charged at most
 * once, no second set of bytes is sent for it, and tick never fails but for
 * want of memory.
 * Input: one byte an event; low five bits say which, high three how. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/fake_coord.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NEED(x)                                                                \
    do {                                                                       \
        if (!(x)) abort();                                                     \
    } while (0)

static fake_coord f; /* keys and model are made once */
static fake_device d;

static hearth_status read_now(void *ud, hearth_conditions *out,
                              hearth_error *err) {
    (void)err;
    *out = ((fake_device *)ud)->now;
    return HEARTH_OK;
}

static void open_sync(void) {
    hearth_error err;
    d.tr = fake_coord_transport(&f);
    hearth_sync_config cfg = {.db = d.db,
                              .records = d.records,
                              .model = f.model,
                              .tokenizer = f.tokenizer,
                              .policy = &d.policy,
                              .conditions = {read_now, &d},
                              .transport = &d.tr,
                              .clock = f.clock,
                              .rng = f.rng,
                              .root_pin = f.root_pin,
                              .keyset = f.keyset_bytes.v,
                              .n_keyset = f.keyset_bytes.n};
    NEED(hearth_sync_open(&d.sync, &cfg, &err) == HEARTH_OK);
}

static void open_all(void) {
    hearth_record_options opt = HEARTH_RECORD_OPTIONS_INIT;
    if (!f.model) fake_coord_open(&f);
    f.time = (hearth_virtual_clock){FAKE_NOW, 0};
    memset(f.lose, 0, sizeof(f.lose));
    memset(f.drop, 0, sizeof(f.drop));
    memset(f.refuse, 0, sizeof(f.refuse));
    memset(f.garbage, 0, sizeof(f.garbage));
    memset(f.fail, 0, sizeof(f.fail));
    f.flip_payload = f.n_altered = 0;
    f.full = f.closed = f.no_range = false;
    f.append_cap = 0;
    fake_coord_publish(&f, 1, 0.0f);
    fake_coord_offer(&f, 1);
    f.offer.local.steps = 1;
    memset(&d, 0, sizeof(d));
    d.f = &f;
    hearth_policy_defaults(&d.policy);
    d.policy.ledger.spacing_ms = 0;
    d.now = (hearth_conditions){.has_battery = true,
                                .battery_percent = 80,
                                .charging = true,
                                .has_temperature = true,
                                .temperature_c = 25};
    NEED(hearth_db_open(&d.db, ":memory:", NULL, NULL) == HEARTH_OK);
    NEED(hearth_record_store_open(&d.records, d.db, NULL, f.clock, NULL,
                                  NULL) == HEARTH_OK);
    opt.purpose = "federated";
    for (int i = 0; i < 12; i++) {
        char line[80];
        int n = snprintf(line, sizeof(line),
                         "{\"id\":\"r%d\",\"prompt\":\"day\","
                         "\"completion\":\"slept %d\"}",
                         i, i);
        NEED(hearth_record_store_add(d.records, line, (size_t)n, &opt, NULL,
                                     NULL) == HEARTH_OK);
    }
    open_sync();
}

static void tick(bool pass_time) {
    hearth_sync_event ev;
    hearth_error err;
    hearth_status st = hearth_sync_tick(d.sync, &ev, &err);
    NEED(st == HEARTH_OK || st == HEARTH_ENOMEM);
    NEED(ev.wait_ms >= 0 && ev.wait_ms <= HEARTH_RETRY_CAP_MS);
    if (pass_time) hearth_virtual_clock_advance(&f.time, ev.wait_ms);
}

/* One live charge a round at most, and no other bytes than the first. */
static void check(void) {
    hearth_stmt *q = NULL;
    bool row = false;
    NEED(f.n_altered == 0);
    NEED(hearth_db_prepare(d.db, &q,
                           "SELECT max(n) FROM (SELECT count(*) AS n FROM"
                           " ledger_row c WHERE kind = 1 AND NOT EXISTS"
                           " (SELECT 1 FROM ledger_row v WHERE v.voids ="
                           " c.seq) GROUP BY round)",
                           NULL) == HEARTH_OK);
    NEED(hearth_stmt_step(q, &row, NULL) == HEARTH_OK && row);
    NEED(hearth_stmt_i64(q, 0) <= 1);
    hearth_stmt_free(q);
}

static void trouble(unsigned what, unsigned how) {
    static const uint32_t reason[] = {
        HEARTH_REASON_CLOSED,  HEARTH_REASON_OFFSET,    HEARTH_REASON_DIGEST,
        HEARTH_REASON_BUSY,    HEARTH_REASON_UNKNOWN,   HEARTH_REASON_ALTERED,
        HEARTH_REASON_EXPIRED, HEARTH_REASON_CREDENTIAL};
    switch (how & 3) {
    case 0: f.lose[what]++; break;
    case 1: f.drop[what]++; break;
    case 2: f.garbage[what]++; break;
    default:
        f.refuse[what]++;
        f.refuse_reason = reason[how];
        break;
    }
    if (how == 4) {
        f.fail[what]++;
        f.fail_status = HEARTH_ENOMEM;
    }
}

static void event(unsigned what, unsigned how) {
    char id[8];
    switch (what) {
    case 16: d.now.charging = !d.now.charging; break;
    case 17: f.full = !f.full; break;
    case 18: f.closed = !f.closed; break;
    case 19: f.cookie++; break;
    case 20: f.append_cap = how * 9; break;
    case 21: f.flip_payload += how + 1; break;
    case 22: fake_coord_publish(&f, f.release.sequence + 1, 0.01f); break;
    case 23: fake_coord_offer(&f, f.offer.round + 1); break;
    case 24: f.time.wall_ms += (int64_t)how * 600000; break;
    case 25: f.time.wall_ms -= (int64_t)how * 600000; break;
    case 26:
        (void)snprintf(id, sizeof(id), "r%u", how);
        if (hearth_record_store_forget(d.records, id, NULL, NULL) != HEARTH_OK)
            break;
        break;
    case 27:
        if (f.spool && f.spool_n) f.spool[how % f.spool_n] ^= 1;
        break;
    case 28:
        hearth_sync_close(d.sync);
        open_sync();
        break;
    default:
        for (unsigned i = 0; i <= how; i++) tick(true);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size > 64) size = 64;
    open_all();
    for (size_t i = 0; i < size; i++) {
        unsigned what = data[i] & 31u, how = data[i] >> 5;
        if (what < FAKE_ROUTES)
            trouble(what, how);
        else
            event(what, how);
        check();
    }
    for (int i = 0; i < 40; i++) tick(true);
    check();
    hearth_sync_close(d.sync);
    hearth_record_store_close(d.records);
    hearth_db_close(d.db);
    return 0;
}

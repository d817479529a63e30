/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_sync_policy.c - client/net/sync.h when the device's policy or
 * what the device is doing changes in the middle of a round. */
#include "tests/support/fake_coord.h"

#define MANY 200u /* ticks that are always enough for one round */

/* A phone that left its wireless network sends nothing until it is back. */
static void sync_sends_over_no_metered_network(void **state) {
    (void)state;
    fake_coord f;
    fake_device d;
    hearth_sync_event ev;
    fake_coord_open(&f);
    fake_device_open(&d, &f, 40);
    f.append_cap = 20;
    assert_true(fake_device_until(&d, HEARTH_SYNC_PREPARED, MANY, &ev));
    d.now.metered = true;
    assert_false(fake_device_until(&d, HEARTH_SYNC_UPLOAD, 5, &ev));
    assert_int_equal(ev.kind, HEARTH_SYNC_WAIT);
    assert_in_range(ev.wait_ms, 1, 30000);
    assert_int_equal(f.n[FAKE_BEGIN], 0);
    fake_device_restart(&d);
    assert_false(fake_device_until(&d, HEARTH_SYNC_UPLOAD, 5, &ev));
    d.now.metered = false;
    while (f.n[FAKE_APPEND] == 0)
        assert_true(fake_device_until(&d, HEARTH_SYNC_UPLOAD, 5, &ev));
    d.now.metered = true;
    uint64_t there = f.spool_n;
    assert_false(fake_device_until(&d, HEARTH_SYNC_UPLOAD, 5, &ev));
    assert_int_equal(f.spool_n, there);
    d.policy.need_unmetered = false;
    assert_true(fake_device_until(&d, HEARTH_SYNC_COMMITTED, MANY, &ev));
    assert_int_equal(f.n_altered, 0);
    assert_int_equal(fake_device_charges(&d), 1);
    fake_device_close(&d);
    fake_coord_close(&f);
}

static void sync_needs_no_battery_where_there_is_none(void **state) {
    (void)state;
    fake_coord f;
    fake_device d;
    hearth_sync_event ev;
    fake_coord_open(&f);
    fake_device_open(&d, &f, 40);
    d.now.has_battery = false;
    d.now.battery_percent = 0;
    assert_true(fake_device_until(&d, HEARTH_SYNC_COMMITTED, MANY, &ev));
    fake_device_close(&d);
    fake_coord_close(&f);
}

/* The policy was made stricter between two runs of the program. */
static void sync_asks_a_stricter_policy_about_an_old_offer(void **state) {
    (void)state;
    fake_coord f;
    fake_device d;
    hearth_sync_event ev;
    fake_coord_open(&f);
    fake_device_open(&d, &f, 40);
    assert_true(fake_device_until(&d, HEARTH_SYNC_TRAIN, MANY, &ev));
    d.policy.noise_min = 1000;
    fake_device_restart(&d);
    assert_true(fake_device_until(&d, HEARTH_SYNC_GAVE_UP, MANY, &ev));
    assert_int_equal(ev.reason.status, HEARTH_EREFUSED);
    assert_non_null(strstr(ev.reason.text, "noise_min"));
    assert_int_equal(fake_device_charges(&d), 0);
    assert_true(fake_device_until(&d, HEARTH_SYNC_WAIT, 2, &ev));
    assert_int_equal(f.abort.reason, HEARTH_ABORT_POLICY);
    fake_device_close(&d);
    fake_coord_close(&f);
}

/* An offer may name a longer text than the model takes. */
static void sync_cuts_records_to_what_the_model_takes(void **state) {
    (void)state;
    fake_coord f;
    fake_device d;
    hearth_sync_event ev;
    hearth_record_options opt = HEARTH_RECORD_OPTIONS_INIT;
    char line[1100];
    fake_coord_open(&f);
    f.offer.local.seq = 1u << 20;
    fake_device_open(&d, &f, 0);
    opt.purpose = "federated";
    for (int i = 0; i < 12; i++) {
        int n = snprintf(line, sizeof(line),
                         "{\"prompt\":\"%d\",\"completion\":\"%0900d\"}", i, i);
        assert_ok(hearth_record_store_add(d.records, line, (size_t)n, &opt,
                                          NULL, NULL));
    }
    assert_true(fake_device_until(&d, HEARTH_SYNC_COMMITTED, MANY, &ev));
    fake_device_close(&d);
    fake_coord_close(&f);
}

/* What is only about the moment does not end a round: training waits. */
static void sync_waits_for_power_after_a_restart(void **state) {
    (void)state;
    fake_coord f;
    fake_device d;
    hearth_sync_event ev;
    fake_coord_open(&f);
    fake_device_open(&d, &f, 40);
    assert_true(fake_device_until(&d, HEARTH_SYNC_ACCEPTED, MANY, &ev));
    d.now.charging = false;
    fake_device_restart(&d);
    assert_false(fake_device_until(&d, HEARTH_SYNC_PREPARED, 6, &ev));
    assert_int_equal(ev.kind, HEARTH_SYNC_WAIT);
    d.now.charging = true;
    assert_true(fake_device_until(&d, HEARTH_SYNC_COMMITTED, MANY, &ev));
    fake_device_close(&d);
    fake_coord_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sync_sends_over_no_metered_network),
        cmocka_unit_test(sync_needs_no_battery_where_there_is_none),
        cmocka_unit_test(sync_asks_a_stricter_policy_about_an_old_offer),
        cmocka_unit_test(sync_cuts_records_to_what_the_model_takes),
        cmocka_unit_test(sync_waits_for_power_after_a_restart),
    };
    return cmocka_run_group_tests_name("client/net/sync policy", tests, NULL,
                                       NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_sync_faults.c - client/net/sync.h when requests, replies, the
 * coordinator, the clock or memory fail. */
#include "tests/support/fake_coord.h"

#include "tests/support/fail_alloc.h"

#define MANY 200u /* ticks that are always enough for one round */

static void sync_sends_the_same_bytes_when_replies_are_lost(void **state) {
    (void)state;
    fake_coord f;
    fake_device d;
    hearth_sync_event ev;
    fake_coord_open(&f);
    fake_device_open(&d, &f, 40);
    f.lose[FAKE_BEGIN] = f.lose[FAKE_APPEND] = f.lose[FAKE_COMMIT] = 2;
    f.lose[FAKE_CHECKIN] = f.lose[FAKE_PAYLOAD] = f.drop[FAKE_MANIFEST] = 1;
    f.append_cap = 9;
    assert_true(fake_device_until(&d, HEARTH_SYNC_RETRY, MANY, &ev));
    assert_int_equal(ev.reason.status, HEARTH_ENET);
    assert_in_range(ev.wait_ms, 800, 1200); /* our own backoff */
    assert_true(fake_device_until(&d, HEARTH_SYNC_COMMITTED, MANY, &ev));
    assert_int_equal(fake_device_charges(&d), 1);
    assert_int_equal(f.n_altered, 0);
    fake_device_close(&d);
    fake_coord_close(&f);
}

static void sync_gives_up_when_the_round_is_full_or_closed(void **state) {
    (void)state;
    for (int k = 0; k < 2; k++) {
        fake_coord f;
        fake_device d;
        hearth_sync_event ev;
        fake_coord_open(&f);
        fake_device_open(&d, &f, 40);
        f.full = k == 0;
        f.closed = k == 1;
        assert_true(fake_device_until(&d, HEARTH_SYNC_GAVE_UP, MANY, &ev));
        assert_int_equal(ev.reason.status, HEARTH_EPEERREFUSED);
        /* The peer's line break did not get through. */
        assert_null(strchr(ev.reason.text, '\n'));
        assert_int_equal(fake_device_charges(&d),
                         1); /* the digest left: it stays */
        assert_int_equal(f.spool_n, 0);
        assert_false(fake_device_until(&d, HEARTH_SYNC_ACCEPTED, 12, &ev));
        fake_device_restart(&d);
        assert_false(fake_device_until(&d, HEARTH_SYNC_ACCEPTED, 12, &ev));
        fake_device_close(&d);
        fake_coord_close(&f);
    }
}

static void sync_gives_up_past_the_deadline(void **state) {
    (void)state;
    fake_coord f;
    fake_device d;
    hearth_sync_event ev;
    fake_coord_open(&f);
    fake_device_open(&d, &f, 40);
    assert_true(fake_device_until(&d, HEARTH_SYNC_PREPARED, MANY, &ev));
    hearth_virtual_clock_advance(&f.time, 3600000);
    assert_true(fake_device_until(&d, HEARTH_SYNC_GAVE_UP, 1, &ev));
    assert_int_equal(ev.reason.status, HEARTH_ETIMEOUT);
    assert_int_equal(fake_device_charges(&d), 0); /* no byte left: taken back */
    assert_true(fake_device_until(&d, HEARTH_SYNC_WAIT, 2, &ev));
    assert_int_equal(f.abort.reason, HEARTH_ABORT_DEADLINE);
    assert_int_equal(f.abort.bucket, HEARTH_BUCKET_LONGER);
    fake_device_close(&d);
    fake_coord_close(&f);
}

static void sync_reads_deadlines_by_the_coordinators_clock(void **state) {
    (void)state;
    fake_coord f;
    fake_device d;
    hearth_sync_event ev;
    fake_coord_open(&f);
    fake_device_open(&d, &f, 40);
    f.ahead_ms = 7200000; /* by its clock the round is over */
    assert_false(fake_device_until(&d, HEARTH_SYNC_ACCEPTED, 12, &ev));
    f.ahead_ms = -7200000; /* by ours it is over, by its clock it is not */
    f.offer.deadline_ms = (uint64_t)f.time.wall_ms - 3600000;
    assert_true(fake_device_until(&d, HEARTH_SYNC_TRAIN, MANY, &ev));
    f.time.wall_ms += 3600000; /* the phone's clock jumps */
    assert_true(fake_device_until(&d, HEARTH_SYNC_GAVE_UP, MANY, &ev));
    fake_device_close(&d);
    fake_coord_close(&f);
}

static void sync_gets_a_new_cookie_and_goes_on(void **state) {
    (void)state;
    fake_coord f;
    fake_device d;
    hearth_sync_event ev;
    fake_coord_open(&f);
    fake_device_open(&d, &f, 40);
    assert_true(fake_device_until(&d, HEARTH_SYNC_PREPARED, MANY, &ev));
    f.cookie = 2;
    f.append_cap = 20;
    assert_true(fake_device_until(&d, HEARTH_SYNC_UPLOAD, MANY, &ev));
    f.cookie = 3;
    assert_true(fake_device_until(&d, HEARTH_SYNC_COMMITTED, MANY, &ev));
    assert_int_equal(f.n_altered, 0);
    assert_int_equal(fake_device_charges(&d), 1);
    fake_device_close(&d);
    fake_coord_close(&f);
}

/* The certificate is shown once; then the cookie does, until it is worth
 * nothing: then the certificate again, in the same cycle. */
static void sync_checks_in_by_cookie(void **state) {
    (void)state;
    fake_coord f;
    fake_device d;
    hearth_sync_event ev;
    fake_coord_open(&f);
    f.give_offer = false;
    fake_device_open(&d, &f, 40);
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(fake_device_until(&d, HEARTH_SYNC_CHECKIN, MANY, &ev));
        assert_int_equal(f.n_with_cert, 1);
        assert_int_equal(f.n[FAKE_CHECKIN], i + 1);
        hearth_virtual_clock_advance(&f.time, 3600000);
    }
    f.cookie = 9;
    assert_true(fake_device_until(&d, HEARTH_SYNC_CHECKIN, MANY, &ev));
    assert_int_equal(f.n_with_cert, 2);
    assert_int_equal(f.n[FAKE_CHECKIN], 5);
    fake_device_close(&d);
    fake_coord_close(&f);
}

/* A coordinator that takes no cookie is not asked in a loop. */
static void sync_waits_when_no_cookie_is_taken(void **state) {
    (void)state;
    fake_coord f;
    fake_device d;
    hearth_sync_event ev;
    fake_coord_open(&f);
    fake_device_open(&d, &f, 40);
    assert_true(fake_device_until(&d, HEARTH_SYNC_PREPARED, MANY, &ev));
    f.refuse[FAKE_BEGIN] = 1000;
    f.refuse_reason = HEARTH_REASON_CREDENTIAL;
    assert_true(fake_device_until(&d, HEARTH_SYNC_RETRY, 6, &ev));
    assert_in_range(ev.wait_ms, 5000, 9000);
    f.refuse[FAKE_BEGIN] = 0;
    assert_true(fake_device_until(&d, HEARTH_SYNC_COMMITTED, MANY, &ev));
    assert_int_equal(fake_device_charges(&d), 1);
    fake_device_close(&d);
    fake_coord_close(&f);
}

static void sync_asks_again_when_the_coordinator_is_busy(void **state) {
    (void)state;
    fake_coord f;
    fake_device d;
    hearth_sync_event ev;
    fake_coord_open(&f);
    fake_device_open(&d, &f, 40);
    f.refuse_reason = HEARTH_REASON_DISK;
    f.refuse[FAKE_BEGIN] = 2;
    f.refuse[FAKE_COMMIT] = 1;
    assert_true(fake_device_until(&d, HEARTH_SYNC_RETRY, MANY, &ev));
    assert_int_equal(ev.reason.status, HEARTH_EBUSY);
    assert_in_range(ev.wait_ms, 5000, 9000);
    assert_true(fake_device_until(&d, HEARTH_SYNC_COMMITTED, MANY, &ev));
    assert_int_equal(fake_device_charges(&d), 1);
    fake_device_close(&d);
    fake_coord_close(&f);
}

static void sync_sends_again_after_a_digest_failed(void **state) {
    (void)state;
    fake_coord f;
    fake_device d;
    hearth_sync_event ev;
    fake_coord_open(&f);
    fake_device_open(&d, &f, 40);
    f.append_cap = 30;
    assert_true(fake_device_until(&d, HEARTH_SYNC_UPLOAD, MANY, &ev));
    while (f.spool_n == 0)
        assert_true(fake_device_until(&d, HEARTH_SYNC_UPLOAD, 3, &ev));
    f.spool[1] ^= 1; /* damaged on the way */
    assert_true(fake_device_until(&d, HEARTH_SYNC_RETRY, MANY, &ev));
    assert_int_equal(ev.reason.status, HEARTH_EDIGEST);
    assert_true(fake_device_until(&d, HEARTH_SYNC_COMMITTED, MANY, &ev));
    assert_int_equal(f.n_altered, 0);
    fake_device_close(&d);
    fake_coord_close(&f);
}

static void sync_gives_up_when_a_digest_always_fails(void **state) {
    (void)state;
    fake_coord f;
    fake_device d;
    hearth_sync_event ev;
    fake_coord_open(&f);
    fake_device_open(&d, &f, 40);
    f.refuse_reason = HEARTH_REASON_DIGEST;
    f.refuse[FAKE_COMMIT] = 100;
    assert_true(fake_device_until(&d, HEARTH_SYNC_GAVE_UP, MANY, &ev));
    assert_int_equal(ev.reason.status, HEARTH_EDIGEST);
    fake_device_close(&d);
    fake_coord_close(&f);
}

static void sync_gives_up_an_upload_that_does_not_move(void **state) {
    (void)state;
    fake_coord f;
    fake_device d;
    hearth_sync_event ev;
    fake_coord_open(&f);
    fake_device_open(&d, &f, 40);
    assert_true(fake_device_until(&d, HEARTH_SYNC_UPLOAD, MANY, &ev));
    f.refuse_reason = HEARTH_REASON_OFFSET; /* "go on at 0", for ever */
    f.refuse[FAKE_APPEND] = 1000;
    assert_true(fake_device_until(&d, HEARTH_SYNC_GAVE_UP, MANY, &ev));
    assert_int_equal(ev.reason.status, HEARTH_EFORMAT);
    fake_device_close(&d);
    fake_coord_close(&f);
}

/* Bytes that do not decode, on every route. */
static void sync_survives_garbage(void **state) {
    (void)state;
    static const fake_route route[] = {
        FAKE_CHECKIN, FAKE_MANIFEST, FAKE_PAYLOAD, FAKE_BEGIN,
        FAKE_APPEND,  FAKE_COMMIT,   FAKE_ABORT};
    for (size_t k = 0; k < sizeof(route) / sizeof(*route); k++) {
        fake_coord f;
        fake_device d;
        hearth_sync_event ev;
        fake_coord_open(&f);
        fake_device_open(&d, &f, 40);
        f.garbage[route[k]] = 1;
        (void)fake_device_until(&d, HEARTH_SYNC_COMMITTED, 120, &ev);
        assert_int_equal(f.n_altered, 0);
        assert_true(fake_device_charges(&d) <= 1);
        fake_device_close(&d);
        fake_coord_close(&f);
    }
}

static void sync_returns_its_own_failures(void **state) {
    (void)state;
    fake_coord f;
    fake_device d;
    hearth_sync_event ev;
    hearth_error err;
    fake_coord_open(&f);
    fake_device_open(&d, &f, 40);
    f.fail[FAKE_CHECKIN] = 1;
    f.fail_status = HEARTH_ENOMEM;
    assert_int_equal(hearth_sync_tick(d.sync, &ev, &err), HEARTH_ENOMEM);
    f.fail[FAKE_CHECKIN] = 1;
    f.fail_status = HEARTH_ECANCELLED; /* the app stopped it: no wait */
    assert_ok(hearth_sync_tick(d.sync, &ev, &err));
    assert_int_equal(ev.kind, HEARTH_SYNC_RETRY);
    assert_int_equal(ev.reason.status, HEARTH_ECANCELLED);
    assert_int_equal(ev.wait_ms, 0);
    assert_true(fake_device_until(&d, HEARTH_SYNC_COMMITTED, MANY, &ev));
    assert_int_equal(hearth_sync_tick(NULL, &ev, &err), HEARTH_EINVAL);
    assert_int_equal(hearth_sync_tick(d.sync, NULL, &err), HEARTH_EINVAL);
    hearth_sync_close(NULL);
    fake_device_close(&d);
    fake_coord_close(&f);
}

/* Refuse the k-th allocation of open and a whole round. */
static void sync_survives_running_out_of_memory(void **state) {
    (void)state;
    size_t refused = 0;
    for (size_t k = 1; k < 4000; k += k < 60 ? 1 : 11) {
        fake_coord f;
        fake_device d;
        hearth_sync_event ev = {0};
        hearth_error err;
        hearth_fail_alloc fa;
        hearth_alloc al = hearth_fail_alloc_init(&fa, k);
        fake_coord_open(&f);
        fake_device_open(&d, &f, 12);
        hearth_sync_close(d.sync);
        d.sync = NULL;
        bool hit = false;
        hearth_status st = fake_device_sync_open(&d, &al, &err);
        if (st != HEARTH_OK) {
            hit = true;
            assert_int_equal(st, HEARTH_ENOMEM);
            assert_null(d.sync);
            assert_ok(fake_device_sync_open(&d, &al, &err));
        }
        for (int i = 0; i < 200 && ev.kind != HEARTH_SYNC_COMMITTED; i++) {
            st = hearth_sync_tick(d.sync, &ev, &err);
            if (st != HEARTH_OK) {
                hit = true;
                assert_int_equal(st, HEARTH_ENOMEM);
            }
            hearth_virtual_clock_advance(&f.time, ev.wait_ms);
            if (ev.kind == HEARTH_SYNC_REFUSED ||
                ev.kind == HEARTH_SYNC_GAVE_UP)
                fail_msg("k=%zu: %s", k, ev.reason.text);
        }
        assert_int_equal(ev.kind, HEARTH_SYNC_COMMITTED);
        assert_int_equal(fake_device_charges(&d), 1);
        assert_int_equal(f.n_altered, 0);
        fake_device_close(&d);
        assert_int_equal(fa.live, 0);
        fake_coord_close(&f);
        if (hit) refused++;
        if (!hit && fa.calls < k) break;
    }
    assert_true(refused > 30);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sync_sends_the_same_bytes_when_replies_are_lost),
        cmocka_unit_test(sync_gives_up_when_the_round_is_full_or_closed),
        cmocka_unit_test(sync_gives_up_past_the_deadline),
        cmocka_unit_test(sync_reads_deadlines_by_the_coordinators_clock),
        cmocka_unit_test(sync_gets_a_new_cookie_and_goes_on),
        cmocka_unit_test(sync_checks_in_by_cookie),
        cmocka_unit_test(sync_waits_when_no_cookie_is_taken),
        cmocka_unit_test(sync_asks_again_when_the_coordinator_is_busy),
        cmocka_unit_test(sync_sends_again_after_a_digest_failed),
        cmocka_unit_test(sync_gives_up_when_a_digest_always_fails),
        cmocka_unit_test(sync_gives_up_an_upload_that_does_not_move),
        cmocka_unit_test(sync_survives_garbage),
        cmocka_unit_test(sync_returns_its_own_failures),
        cmocka_unit_test(sync_survives_running_out_of_memory),
    };
    return cmocka_run_group_tests_name("client/net/sync faults", tests, NULL,
                                       NULL);
}

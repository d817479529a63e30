/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_sync.c - client/net/sync.h against a fake coordinator that
 * keeps to the protocol. */
#include "tests/support/fake_coord.h"

#include "client/net/sync_store.h"
#include "client/personal/personal.h"
#include "common/file.h"
#include "tests/support/offer_fixture.h"

#define MANY 200u /* ticks that are always enough for one round */

static void sync_takes_part_in_a_round(void **state) {
    (void)state;
    fake_coord f;
    fake_device d;
    hearth_sync_event ev;
    fake_coord_open(&f);
    fake_device_open(&d, &f, 40);
    assert_true(fake_device_until(&d, HEARTH_SYNC_CHECKIN, 1, &ev));
    assert_int_equal(ev.n_offers, 1);
    assert_true(fake_device_until(&d, HEARTH_SYNC_INSTALLED, MANY, &ev));
    assert_int_equal(ev.sequence, 1);
    assert_true(fake_device_until(&d, HEARTH_SYNC_ACCEPTED, 1, &ev));
    assert_string_equal(ev.task, FAKE_TASK);
    assert_int_equal(ev.round, 1);
    assert_true(fake_device_until(&d, HEARTH_SYNC_TRAIN, 1, &ev));
    assert_true(fake_device_until(&d, HEARTH_SYNC_PREPARED, MANY, &ev));
    assert_int_equal(fake_device_charges(&d), 1);
    assert_int_equal(f.spool_n, 0); /* charged before a byte left */
    assert_true(fake_device_until(&d, HEARTH_SYNC_COMMITTED, MANY, &ev));
    assert_true(f.committed);
    assert_int_equal(f.n_altered, 0);
    assert_in_range(ev.wait_ms, 1000, 2000); /* the accepted window */
    /* A release of the round: installed at the next check-in. */
    fake_coord_publish(&f, 2, 0.01f);
    f.give_offer = false;
    hearth_virtual_clock_advance(&f.time, ev.wait_ms);
    assert_true(fake_device_until(&d, HEARTH_SYNC_INSTALLED, MANY, &ev));
    assert_int_equal(ev.sequence, 2);
    assert_true(fake_device_until(&d, HEARTH_SYNC_WAIT, 2, &ev));
    assert_in_range(ev.wait_ms, 5000, 9000); /* no offer: refused window */
    fake_device_close(&d);
    fake_coord_close(&f);
}

/* Kill the process after tick k, for every k of a round: the bytes that are
 * sent must be those that were charged. */
static void sync_resumes_from_every_state(void **state) {
    (void)state;
    bool reached_end = false;
    for (unsigned k = 1; !reached_end; k++) {
        fake_coord f;
        fake_device d;
        hearth_sync_event ev = {0};
        hearth_error err = {HEARTH_OK, ""};
        assert_true(k < MANY);
        fake_coord_open(&f);
        fake_device_open(&d, &f, 40);
        f.append_cap = 20;
        for (unsigned i = 0; i < k && !reached_end; i++) {
            assert_ok(hearth_sync_tick(d.sync, &ev, &err));
            hearth_virtual_clock_advance(&f.time, ev.wait_ms);
            reached_end = ev.kind == HEARTH_SYNC_COMMITTED;
        }
        fake_device_restart(&d);
        if (!reached_end)
            assert_true(
                fake_device_until(&d, HEARTH_SYNC_COMMITTED, MANY, &ev));
        assert_int_equal(fake_device_charges(&d), 1);
        assert_int_equal(f.n_altered, 0);
        assert_true(f.committed);
        fake_device_close(&d);
        fake_coord_close(&f);
    }
}

static void sync_keeps_the_retry_window_over_a_restart(void **state) {
    (void)state;
    fake_coord f;
    fake_device d;
    hearth_sync_event ev;
    fake_coord_open(&f);
    f.give_offer = false;
    fake_device_open(&d, &f, 40);
    assert_true(fake_device_until(&d, HEARTH_SYNC_INSTALLED, MANY, &ev));
    assert_true(fake_device_until(&d, HEARTH_SYNC_WAIT, 2, &ev));
    int64_t wait = ev.wait_ms;
    assert_in_range(wait, 5000, 9000);
    uint32_t asked = f.n[FAKE_CHECKIN];
    fake_device_restart(&d);
    assert_int_equal(hearth_sync_wait_ms(d.sync), wait);
    hearth_sync_hint_now(d.sync); /* does not cut the coordinator's window */
    assert_int_equal(hearth_sync_wait_ms(d.sync), wait);
    assert_true(fake_device_until(&d, HEARTH_SYNC_WAIT, 1, &ev));
    assert_int_equal(f.n[FAKE_CHECKIN], asked);
    /* A clock set back makes the wait start once more, and no longer. */
    f.time.wall_ms -= (int64_t)365 * 86400000;
    assert_true(fake_device_until(&d, HEARTH_SYNC_WAIT, 1, &ev));
    assert_int_equal(ev.wait_ms, wait);
    hearth_virtual_clock_advance(&f.time, wait - 1);
    assert_int_equal(hearth_sync_wait_ms(d.sync), 1);
    fake_device_restart(&d);
    assert_int_equal(hearth_sync_wait_ms(d.sync), 1);
    hearth_virtual_clock_advance(&f.time, 1);
    assert_true(fake_device_until(&d, HEARTH_SYNC_CHECKIN, 1, &ev));
    assert_int_equal(f.n[FAKE_CHECKIN], asked + 1);
    fake_device_close(&d);
    fake_coord_close(&f);
}

static void sync_draws_uniformly_in_the_window(void **state) {
    (void)state;
    hearth_rng *rng = NULL;
    const hearth_retry w = {1000, 1009, 5000, 5000};
    unsigned seen[10] = {0};
    int64_t wait;
    assert_ok(hearth_rng_open(&rng, NULL, NULL));
    for (int i = 0; i < 2000; i++) {
        assert_ok(hearth_retry_draw(&w, true, rng, &wait));
        assert_in_range(wait, 1000, 1009);
        seen[wait - 1000]++;
    }
    for (int i = 0; i < 10; i++) assert_in_range(seen[i], 120, 280);
    assert_ok(hearth_retry_draw(&w, false, rng, &wait));
    assert_int_equal(wait, 5000);
    /* Nothing, reversed, absurd. */
    const hearth_retry zero = {0, 0, 9, 3},
                       far = {0, UINT64_MAX, UINT64_MAX, UINT64_MAX};
    assert_ok(hearth_retry_draw(&zero, true, rng, &wait));
    assert_int_equal(wait, HEARTH_RETRY_FLOOR_MS);
    assert_ok(hearth_retry_draw(&zero, false, rng, &wait));
    assert_int_equal(wait, HEARTH_RETRY_FLOOR_MS);
    assert_ok(hearth_retry_draw(&far, false, rng, &wait));
    assert_int_equal(wait, HEARTH_RETRY_CAP_MS);
    assert_ok(hearth_retry_draw(NULL, true, rng, &wait));
    assert_in_range(wait, 720000, 1080000);
    for (uint32_t k = 0; k < 40; k++) {
        assert_ok(hearth_retry_backoff(k, rng, &wait));
        assert_in_range(wait, 800, 1080000);
    }
    hearth_rng_close(rng);
}

/* What a device refuses: the offer's round is reported once and never asked
 * about again. */
static void expect_refusal(fake_coord *f, fake_device *d, const char *word,
                           hearth_status why) {
    hearth_sync_event ev;
    assert_true(fake_device_until(d, HEARTH_SYNC_REFUSED, MANY, &ev));
    assert_int_equal(ev.reason.status, why);
    if (!strstr(ev.reason.text, word))
        fail_msg("'%s' is not in '%s'", word, ev.reason.text);
    assert_true(fake_device_until(d, HEARTH_SYNC_CHECKIN, MANY, &ev));
    assert_false(fake_device_until(d, HEARTH_SYNC_ACCEPTED, 10, &ev));
    assert_int_equal(f->n[FAKE_BEGIN], 0);
}

static void sync_refuses_what_the_policy_does_not_allow(void **state) {
    (void)state;
    fake_coord f;
    fake_device d;
    fake_coord_open(&f);
    f.offer.cohort_min = f.offer.n_min = 8;
    fake_device_open(&d, &f, 40);
    expect_refusal(&f, &d, "cohort_min", HEARTH_EREFUSED);
    assert_int_equal(f.n[FAKE_ABORT], 1); /* told once */
    assert_int_equal(f.abort.reason, HEARTH_ABORT_POLICY);
    assert_int_equal(f.abort.bucket, HEARTH_BUCKET_MINUTE);
    assert_int_equal(fake_device_charges(&d), 0);
    fake_device_close(&d);
    fake_coord_close(&f);
}

static void sync_waits_for_better_conditions_without_a_report(void **state) {
    (void)state;
    fake_coord f;
    fake_device d;
    hearth_sync_event ev;
    fake_coord_open(&f);
    fake_device_open(&d, &f, 40);
    d.now.charging = false;
    assert_true(fake_device_until(&d, HEARTH_SYNC_REFUSED, MANY, &ev));
    assert_non_null(strstr(ev.reason.text, "charging"));
    assert_false(fake_device_until(&d, HEARTH_SYNC_ACCEPTED, 12, &ev));
    assert_int_equal(f.n[FAKE_ABORT], 0);
    d.now.charging = true; /* the same offer is good now */
    assert_true(fake_device_until(&d, HEARTH_SYNC_COMMITTED, MANY, &ev));
    fake_device_close(&d);
    fake_coord_close(&f);
}

static void sync_names_both_sides_of_another_base(void **state) {
    (void)state;
    fake_coord f;
    fake_device d;
    hearth_sync_event ev;
    fake_coord_open(&f);
    fake_device_open(&d, &f, 40);
    assert_true(fake_device_until(&d, HEARTH_SYNC_INSTALLED, MANY, &ev));
    f.offer.space.tokenizer_digest[0] ^= 1;
    /* (the offer of this cycle was fetched before) */
    assert_true(fake_device_until(&d, HEARTH_SYNC_COMMITTED, MANY, &ev));
    fake_coord_offer(&f, 2);
    hearth_virtual_clock_advance(&f.time, (int64_t)2 * 86400000);
    f.offer.deadline_ms += (uint64_t)2 * 86400000;
    assert_true(fake_device_until(&d, HEARTH_SYNC_REFUSED, MANY, &ev));
    assert_int_equal(ev.reason.status, HEARTH_EMISMATCH);
    assert_non_null(strstr(ev.reason.text, "tokenizer"));
    assert_non_null(strstr(ev.reason.text, "hearth init --base"));
    fake_device_close(&d);
    fake_coord_close(&f);
}

/* Each digest of the offer is computed again. */
static void sync_refuses_an_offer_that_contradicts_itself(void **state) {
    (void)state;
    for (int k = 0; k < 5; k++) {
        fake_coord f;
        fake_device d;
        fake_coord_open(&f);
        hearth_wire_space *s = &f.offer.space;
        uint8_t *digest[] = {s->a_digest, s->space_digest, s->shape_digest,
                             s->payload_digest};
        if (k < 4)
            digest[k][3] ^= 4;
        else
            f.offer.privacy.d++;
        fake_device_open(&d, &f, 40);
        expect_refusal(&f, &d, "tell the operator", HEARTH_EDIGEST);
        assert_int_equal(f.abort.reason, HEARTH_ABORT_ERROR);
        fake_device_close(&d);
        fake_coord_close(&f);
    }
}

static void sync_refuses_extra_coordinates_and_old_starts(void **state) {
    (void)state;
    fake_coord f;
    fake_device d;
    hearth_sync_event ev;
    fake_coord_open(&f);
    f.offer.privacy.n_coords = 2;
    f.offer.privacy.coord_max[0] = f.offer.privacy.coord_max[1] = 5;
    assert_true(hearth_offer_fixture_finish(&f.offer));
    fake_device_open(&d, &f, 40);
    expect_refusal(&f, &d, "measurements", HEARTH_EUNSUPPORTED);
    f.offer.privacy.n_coords = 0;
    f.offer.privacy.coord_max[0] = f.offer.privacy.coord_max[1] = 0;
    assert_true(hearth_offer_fixture_finish(&f.offer));
    fake_coord_publish(&f, 5, 0.1f);
    fake_coord_offer(&f, 3);
    f.offer.start_sequence = 4; /* older than what is installed */
    assert_true(fake_device_until(&d, HEARTH_SYNC_INSTALLED, MANY, &ev));
    assert_true(fake_device_until(&d, HEARTH_SYNC_REFUSED, MANY, &ev));
    assert_int_equal(ev.reason.status, HEARTH_EREPLAY);
    fake_device_close(&d);
    fake_coord_close(&f);
}

static void sync_does_not_take_part_with_too_few_records(void **state) {
    (void)state;
    fake_coord f;
    fake_device d;
    hearth_sync_event ev;
    fake_coord_open(&f);
    f.offer.min_examples = 100;
    fake_device_open(&d, &f, 40);
    assert_true(fake_device_until(&d, HEARTH_SYNC_REFUSED, MANY, &ev));
    assert_int_equal(ev.reason.status, HEARTH_EREFUSED);
    assert_int_equal(f.n[FAKE_BEGIN], 0);
    fake_device_close(&d);
    fake_coord_close(&f);
}

/* Releases that must not be used. */
static void expect_bad_release(fake_coord *f, hearth_status why) {
    fake_device d;
    hearth_sync_event ev;
    hearth_personal_info info;
    fake_device_open(&d, f, 40);
    assert_true(fake_device_until(&d, HEARTH_SYNC_REFUSED, MANY, &ev));
    if (ev.reason.status != why)
        fail_msg("%s, not %s: %s", hearth_status_name(ev.reason.status),
                 hearth_status_name(why), ev.reason.text);
    assert_ok(hearth_personal_info_get(&info, d.db, FAKE_TASK, NULL));
    assert_int_equal(info.sequence, 0);
    fake_device_close(&d);
}

static void sync_refuses_bad_releases(void **state) {
    (void)state;
    fake_coord f;
    fake_coord_open(&f);
    f.give_offer = false;
    /* Signed by a key that is not in the keyset. */
    hearth_sign_keypair *good = f.release_key;
    f.release_key = f.ca;
    fake_coord_seal_release(&f);
    expect_bad_release(&f, HEARTH_ESIGNATURE);
    f.release_key = good;
    /* Altered after it was signed. */
    fake_coord_seal_release(&f);
    f.manifest.v[f.manifest.n / 2] ^= 1;
    expect_bad_release(&f, HEARTH_ESIGNATURE);
    /* Expired. */
    uint64_t expires = f.release.expires_ms;
    f.release.expires_ms = (uint64_t)FAKE_NOW - 1;
    fake_coord_seal_release(&f);
    expect_bad_release(&f, HEARTH_EEXPIRED);
    f.release.expires_ms = expires;
    /* Of another task. */
    memcpy(f.release.task, "other", 6);
    fake_coord_seal_release(&f);
    expect_bad_release(&f, HEARTH_EMISMATCH);
    memcpy(f.release.task, FAKE_TASK, sizeof(FAKE_TASK));
    /* Without privacy. */
    f.release.not_private = true;
    fake_coord_seal_release(&f);
    expect_bad_release(&f, HEARTH_EREFUSED);
    f.release.not_private = false;
    /* Of another base. */
    f.release.space.base_digest[5] ^= 1;
    fake_coord_seal_release(&f);
    expect_bad_release(&f, HEARTH_EMISMATCH);
    f.release.space.base_digest[5] ^= 1;
    /* Content that is not what was signed: once more, then no more. */
    fake_coord_seal_release(&f);
    f.flip_payload = 1000;
    expect_bad_release(&f, HEARTH_EDIGEST);
    f.flip_payload = 0;
    fake_coord_close(&f);
}

static void sync_recovers_from_a_damaged_download(void **state) {
    (void)state;
    fake_coord f;
    fake_device d;
    hearth_sync_event ev;
    fake_coord_open(&f);
    fake_device_open(&d, &f, 40);
    f.flip_payload = 1;
    f.no_range = true;
    assert_true(fake_device_until(&d, HEARTH_SYNC_INSTALLED, MANY, &ev));
    assert_int_equal(f.n[FAKE_PAYLOAD], 2);
    assert_int_equal(f.n[FAKE_CHECKIN], 1); /* in the same cycle */
    fake_device_close(&d);
    fake_coord_close(&f);
}

static void sync_refuses_a_lower_sequence(void **state) {
    (void)state;
    fake_coord f;
    fake_device d;
    hearth_sync_event ev;
    hearth_personal_info info;
    fake_coord_open(&f);
    f.give_offer = false;
    fake_coord_publish(&f, 4, 0.1f);
    fake_device_open(&d, &f, 40);
    assert_true(fake_device_until(&d, HEARTH_SYNC_INSTALLED, MANY, &ev));
    uint32_t asked = f.n[FAKE_MANIFEST];
    assert_false(fake_device_until(&d, HEARTH_SYNC_INSTALLED, 20, &ev));
    fake_coord_publish(&f, 3, 0.2f);
    assert_false(fake_device_until(&d, HEARTH_SYNC_INSTALLED, 20, &ev));
    assert_int_equal(f.n[FAKE_MANIFEST], asked); /* nor asked for */
    assert_ok(hearth_personal_info_get(&info, d.db, FAKE_TASK, NULL));
    assert_int_equal(info.sequence, 4);
    fake_device_close(&d);
    fake_coord_close(&f);
}

/* After the end of a round no byte of the delta is in any file. */
static void sync_erases_what_was_sent(void **state) {
    (void)state;
    fake_coord f;
    fake_device d;
    hearth_sync_event ev;
    char path[128];
    fake_coord_open(&f);
    fake_device_open(&d, &f, 40);
    assert_true(fake_device_until(&d, HEARTH_SYNC_COMMITTED, MANY, &ev));
    static const char *const name[] = {"client.db", "client.db-wal"};
    for (size_t i = 0; i < 2; i++) {
        hearth_buf b = HEARTH_BUF_INIT(NULL);
        (void)snprintf(path, sizeof(path), "%s/%s", d.dir, name[i]);
        assert_ok(hearth_file_read(&b, path, (size_t)1 << 26, NULL));
        for (size_t k = 0; k + 32 <= b.n; k++)
            if (!memcmp(b.v + k, f.spool, 32) ||
                !memcmp(b.v + k, f.offer.upload_token.bytes, 32))
                fail_msg("%s still holds it at %zu", name[i], k);
        hearth_buf_free(&b);
    }
    fake_device_close(&d);
    fake_coord_close(&f);
}

static void sync_trains_anew_when_a_record_is_forgotten(void **state) {
    (void)state;
    fake_coord f;
    fake_device d;
    hearth_sync_event ev;
    hearth_record_options opt = HEARTH_RECORD_OPTIONS_INIT;
    char id[HEARTH_RECORD_MAX_ID + 1];
    static const char line[] = "{\"prompt\":\"secret\",\"completion\":\"x\"}";
    fake_coord_open(&f);
    fake_device_open(&d, &f, 40);
    opt.purpose = "federated";
    assert_ok(hearth_record_store_add(d.records, line, sizeof(line) - 1, &opt,
                                      id, NULL));
    assert_true(fake_device_until(&d, HEARTH_SYNC_TRAIN, MANY, &ev));
    assert_true(fake_device_until(&d, HEARTH_SYNC_TRAIN, 1, &ev));
    assert_ok(hearth_record_store_forget(d.records, id, NULL, NULL));
    unsigned trained = 0;
    hearth_error err;
    while (ev.kind != HEARTH_SYNC_PREPARED && trained++ < MANY)
        assert_ok(hearth_sync_tick(d.sync, &ev, &err));
    assert_true(trained > 3); /* three steps from the start, and the notice */
    assert_int_equal(fake_device_charges(&d), 1);
    /* Forgotten again, with the delta ready: it never leaves. */
    assert_ok(hearth_record_store_add(d.records, line, sizeof(line) - 1, &opt,
                                      id, NULL));
    assert_ok(hearth_record_store_forget(d.records, id, NULL, NULL));
    assert_true(fake_device_until(&d, HEARTH_SYNC_GAVE_UP, 3, &ev));
    assert_int_equal(f.n[FAKE_BEGIN], 0);
    fake_device_close(&d);
    fake_coord_close(&f);
}

static void sync_takes_one_offer_at_a_time(void **state) {
    (void)state;
    fake_coord f;
    fake_device d;
    hearth_sync_event ev;
    fake_coord_open(&f);
    f.offer_twice = true;
    fake_device_open(&d, &f, 40);
    assert_true(fake_device_until(&d, HEARTH_SYNC_COMMITTED, MANY, &ev));
    assert_int_equal(ev.round, 1);
    assert_int_equal(fake_device_charges(&d), 1);
    fake_device_close(&d);
    fake_coord_close(&f);
}

static void sync_open_checks_its_arguments(void **state) {
    (void)state;
    fake_coord f;
    fake_device d;
    hearth_sync *s = NULL;
    hearth_sync_config none = {0};
    hearth_error err;
    fake_coord_open(&f);
    fake_device_open(&d, &f, 0);
    assert_int_equal(hearth_sync_open(NULL, &none, &err), HEARTH_EINVAL);
    assert_int_equal(hearth_sync_open(&s, NULL, &err), HEARTH_EINVAL);
    assert_int_equal(hearth_sync_open(&s, &none, &err), HEARTH_EINVAL);
    hearth_sync_close(d.sync);
    d.sync = NULL;
    f.keyset_bytes.v[f.keyset_bytes.n - 1] ^= 1;
    assert_int_equal(fake_device_sync_open(&d, NULL, &err), HEARTH_ESIGNATURE);
    f.keyset_bytes.v[f.keyset_bytes.n - 1] ^= 1;
    f.time.wall_ms += (int64_t)366 * 86400000;
    assert_int_equal(fake_device_sync_open(&d, NULL, &err), HEARTH_EEXPIRED);
    f.time.wall_ms -= (int64_t)366 * 86400000;
    assert_ok(fake_device_sync_open(&d, NULL, &err));
    fake_device_close(&d);
    fake_coord_close(&f);
}

static void sync_asks_for_the_keyset_where_none_is_given(void **state) {
    (void)state;
    fake_coord f;
    fake_device d;
    hearth_sync_event ev;
    hearth_buf bytes;
    hearth_error err;
    fake_coord_open(&f);
    fake_device_open(&d, &f, 40);
    hearth_sync_close(d.sync);
    d.sync = NULL;
    bytes = f.keyset_bytes;
    f.keyset_bytes = (hearth_buf)HEARTH_BUF_INIT(NULL);
    assert_ok(fake_device_sync_open(&d, NULL, &err));
    f.keyset_bytes = bytes;
    f.keyset_bytes.v[f.keyset_bytes.n - 1] ^= 1;
    assert_true(fake_device_until(&d, HEARTH_SYNC_RETRY, 1, &ev));
    assert_int_equal(ev.reason.status, HEARTH_ESIGNATURE);
    f.keyset_bytes.v[f.keyset_bytes.n - 1] ^= 1;
    hearth_virtual_clock_advance(&f.time, ev.wait_ms);
    fake_coord_offer(&f, 1); /* the wait was long */
    assert_true(fake_device_until(&d, HEARTH_SYNC_COMMITTED, MANY, &ev));
    fake_device_close(&d);
    fake_coord_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sync_takes_part_in_a_round),
        cmocka_unit_test(sync_resumes_from_every_state),
        cmocka_unit_test(sync_keeps_the_retry_window_over_a_restart),
        cmocka_unit_test(sync_draws_uniformly_in_the_window),
        cmocka_unit_test(sync_refuses_what_the_policy_does_not_allow),
        cmocka_unit_test(sync_waits_for_better_conditions_without_a_report),
        cmocka_unit_test(sync_names_both_sides_of_another_base),
        cmocka_unit_test(sync_refuses_an_offer_that_contradicts_itself),
        cmocka_unit_test(sync_refuses_extra_coordinates_and_old_starts),
        cmocka_unit_test(sync_does_not_take_part_with_too_few_records),
        cmocka_unit_test(sync_refuses_bad_releases),
        cmocka_unit_test(sync_recovers_from_a_damaged_download),
        cmocka_unit_test(sync_refuses_a_lower_sequence),
        cmocka_unit_test(sync_erases_what_was_sent),
        cmocka_unit_test(sync_trains_anew_when_a_record_is_forgotten),
        cmocka_unit_test(sync_takes_one_offer_at_a_time),
        cmocka_unit_test(sync_open_checks_its_arguments),
        cmocka_unit_test(sync_asks_for_the_keyset_where_none_is_given),
    };
    return cmocka_run_group_tests_name("client/net/sync", tests, NULL, NULL);
}

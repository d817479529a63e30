/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_upload.c - client/net/upload.h against a fake coordinator. */
#include "tests/support/fake_coord.h"

#include "client/delta/prepare.h"
#include "client/net/upload.h"

typedef struct {
    fake_coord f;
    fake_device d;
    hearth_ledger_store *ls;
    hearth_prepared *p; /* charged, not sent */
    hearth_upload u;
    hearth_reply_info info;
    hearth_error err;
    uint64_t n; /* bytes */
} world;

static void open_world(world *w) {
    hearth_sync_event ev;
    hearth_round_key key;
    fake_coord_open(&w->f);
    fake_device_open(&w->d, &w->f, 40);
    assert_true(fake_device_until(&w->d, HEARTH_SYNC_PREPARED, 100, &ev));
    assert_ok(hearth_ledger_store_open(&w->ls, w->d.db, &w->d.policy.ledger,
                                       NULL, w->f.clock, NULL, NULL));
    assert_ok(hearth_round_key_init(&key, FAKE_TASK, 1, 0, 0));
    assert_ok(hearth_prepared_load(&w->p, w->ls, &key, NULL));
    w->u = (hearth_upload){&w->d.tr, NULL, &w->f.offer};
    w->n = 4 * w->f.offer.privacy.d;
}

static void close_world(world *w) {
    hearth_prepared_free(w->p);
    hearth_ledger_store_close(w->ls);
    fake_device_close(&w->d);
    fake_coord_close(&w->f);
}

static void upload_sends_nothing_before_it_may(void **state) {
    (void)state;
    world w;
    uint64_t offset = 0;
    open_world(&w);
    assert_int_equal(hearth_upload_begin(&w.u, w.p, &offset, &w.info, &w.err),
                     HEARTH_ESTATE);
    assert_int_equal(hearth_upload_append(&w.u, w.p, &offset, &w.info, &w.err),
                     HEARTH_ESTATE);
    assert_int_equal(hearth_upload_commit(&w.u, w.p, &w.info, &w.err),
                     HEARTH_ESTATE);
    assert_int_equal(w.f.n[FAKE_BEGIN], 0);
    assert_int_equal(w.f.n[FAKE_APPEND], 0);
    assert_int_equal(w.f.n[FAKE_COMMIT], 0);
    assert_ok(hearth_prepared_sending(w.p, &w.err));
    assert_ok(hearth_upload_begin(&w.u, w.p, &offset, &w.info, &w.err));
    close_world(&w);
}

static void upload_begins_appends_and_commits(void **state) {
    (void)state;
    world w;
    uint64_t offset = 99, there = 99;
    const uint8_t *v;
    size_t n;
    open_world(&w);
    w.f.append_cap = 10;
    assert_ok(hearth_prepared_sending(w.p, &w.err));
    assert_ok(hearth_upload_begin(&w.u, w.p, &offset, &w.info, &w.err));
    assert_int_equal(offset, 0);
    assert_true(w.info.has_retry);
    assert_ok(hearth_upload_append(&w.u, w.p, &offset, &w.info, &w.err));
    assert_int_equal(offset, 10);
    assert_ok(hearth_upload_ask(&w.u, &there, &w.info, &w.err));
    assert_int_equal(there, 10);
    offset = 4; /* a device that does not know how much arrived */
    assert_ok(hearth_upload_append(&w.u, w.p, &offset, &w.info, &w.err));
    assert_int_equal(offset, 10);
    assert_int_equal(hearth_upload_commit(&w.u, w.p, &w.info, &w.err),
                     HEARTH_ESTATE); /* bytes are missing */
    assert_int_equal(w.info.reason, HEARTH_REASON_OFFSET);
    while (offset < w.n)
        assert_ok(hearth_upload_append(&w.u, w.p, &offset, &w.info, &w.err));
    hearth_prepared_bytes(w.p, &v, &n, NULL);
    assert_int_equal(n, w.n);
    assert_memory_equal(w.f.spool, v, n);
    assert_ok(hearth_upload_commit(&w.u, w.p, &w.info, &w.err));
    assert_ok(hearth_upload_commit(&w.u, w.p, &w.info, &w.err)); /* again */
    assert_int_equal(w.f.n_altered, 0);
    offset = w.n + 1;
    assert_int_equal(hearth_upload_append(&w.u, w.p, &offset, &w.info, &w.err),
                     HEARTH_EINVAL);
    close_world(&w);
}

static void upload_does_not_believe_every_reply(void **state) {
    (void)state;
    world w;
    uint64_t offset = 0;
    open_world(&w);
    assert_ok(hearth_prepared_sending(w.p, &w.err));
    w.f.offset_lie = w.n + 1;
    assert_int_equal(hearth_upload_begin(&w.u, w.p, &offset, &w.info, &w.err),
                     HEARTH_EFORMAT);
    w.f.offset_lie = w.n; /* as much as there is: believed */
    assert_ok(hearth_upload_begin(&w.u, w.p, &offset, &w.info, &w.err));
    assert_int_equal(offset, w.n);
    w.f.offset_lie = 0;
    offset = 0;
    w.f.garbage[FAKE_APPEND] = w.f.garbage[FAKE_COMMIT] = 1;
    w.f.garbage[FAKE_OFFSET] = w.f.garbage[FAKE_BEGIN] = 1;
    assert_int_equal(hearth_upload_begin(&w.u, w.p, &offset, &w.info, &w.err),
                     HEARTH_EFORMAT);
    assert_int_equal(hearth_upload_append(&w.u, w.p, &offset, &w.info, &w.err),
                     HEARTH_EFORMAT);
    assert_int_equal(hearth_upload_ask(&w.u, &offset, &w.info, &w.err),
                     HEARTH_EFORMAT);
    assert_int_equal(hearth_upload_commit(&w.u, w.p, &w.info, &w.err),
                     HEARTH_EFORMAT);
    close_world(&w);
}

static void upload_gives_reason_and_coarse_time(void **state) {
    (void)state;
    world w;
    open_world(&w);
    static const struct {
        int64_t ms;
        hearth_time_bucket bucket;
    } t[] = {
        {0, HEARTH_BUCKET_MINUTE},          {59999, HEARTH_BUCKET_MINUTE},
        {60000, HEARTH_BUCKET_TEN_MINUTES}, {599999, HEARTH_BUCKET_TEN_MINUTES},
        {600000, HEARTH_BUCKET_HOUR},       {3599999, HEARTH_BUCKET_HOUR},
        {3600000, HEARTH_BUCKET_LONGER}};
    for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++)
        assert_int_equal(hearth_upload_bucket(t[i].ms), t[i].bucket);
    assert_ok(hearth_upload_abort(&w.u, HEARTH_ABORT_RECORDS, 700000, &w.info,
                                  &w.err));
    assert_int_equal(w.f.abort.reason, HEARTH_ABORT_RECORDS);
    assert_int_equal(w.f.abort.bucket, HEARTH_BUCKET_HOUR);
    w.f.refuse[FAKE_ABORT] = 1;
    w.f.refuse_reason = HEARTH_REASON_CREDENTIAL;
    assert_int_equal(
        hearth_upload_abort(&w.u, HEARTH_ABORT_ERROR, 0, &w.info, &w.err),
        HEARTH_EAUTH);
    close_world(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(upload_sends_nothing_before_it_may),
        cmocka_unit_test(upload_begins_appends_and_commits),
        cmocka_unit_test(upload_does_not_believe_every_reply),
        cmocka_unit_test(upload_gives_reason_and_coarse_time),
    };
    return cmocka_run_group_tests_name("client/net/upload", tests, NULL, NULL);
}

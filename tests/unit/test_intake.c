/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_intake.c - every refusal of an upload, resume, replay, and
 * commits that become durable later. */
#include "tests/support/coord_kit.h"

static const int32_t V1[KIT_D] = {100, -100, 7, 0, 1, 2, 3, 500};
static const int32_t V2[KIT_D] = {50, 100, -7, 0, -1, 2, 1, -500};

#define N ((size_t)4 * KIT_D)

static void expect(kit_reply *r, int status, uint32_t reason) {
    assert_int_equal(r->status, status);
    assert_int_equal(kit_reason(r), reason);
}

static int head(kit *k, const hearth_offer *o, kit_reply *r) {
    char path[256];
    kit_path(path, o, "");
    kit_request(k, "HEAD", path, NULL, NULL, r);
    return r->status;
}

static void upload_resumes_at_its_offset(void **state) {
    (void)state;
    kit k;
    kit_reply r = {0};
    hearth_offer o;
    uint8_t b[N];
    kit_open(&k, NULL);
    kit_task(&k, "demo", "1,1", "0s,10m", 1);
    assert_true(kit_offer(&k, "a", &o));
    kit_bytes(b, V1);
    assert_int_equal(head(&k, &o, &r), 404); /* begin first */
    assert_int_equal(kit_append(&k, &o, 0, b, 4, &r), 404);
    assert_int_equal(kit_commit(&k, &o, b, N, &r), 404);
    assert_int_equal(kit_begin(&k, &o, b, N, &r), 200);
    assert_int_equal(kit_append(&k, &o, 0, b, 10, &r), 200);
    assert_int_equal(r.offset, 10);
    assert_int_equal(kit_commit(&k, &o, b, N, &r), 409); /* not all there */
    expect(&r, 409, HEARTH_REASON_OFFSET);
    assert_true(r.has_offset && r.offset == 10);
    kit_restart(&k);
    assert_int_equal(head(&k, &o, &r), 200);
    assert_true(r.has_offset && r.offset == 10);
    assert_int_equal(kit_begin(&k, &o, b, N, &r), 200); /* the same begin */
    assert_int_equal(r.offset, 10);
    assert_int_equal(kit_append(&k, &o, 0, b, 10, &r), 409);
    expect(&r, 409, HEARTH_REASON_OFFSET);
    assert_int_equal(r.offset, 10);
    assert_int_equal(kit_append(&k, &o, 10, b + 10, N - 9, &r), 413);
    expect(&r, 413, HEARTH_REASON_TOO_BIG);
    assert_int_equal(kit_append(&k, &o, 10, b + 10, N - 10, &r), 200);
    assert_int_equal(kit_commit(&k, &o, b, N, &r), 200);
    /* Replays: the same bytes get the same reply, for ever. */
    assert_int_equal(kit_commit(&k, &o, b, N, &r), 200);
    assert_int_equal(kit_begin(&k, &o, b, N, &r), 200);
    assert_int_equal(r.offset, N);
    assert_int_equal(head(&k, &o, &r), 200);
    assert_int_equal(r.offset, N);
    assert_int_equal(kit_append(&k, &o, 0, b, 4, &r), 409);
    assert_int_equal(kit_abort(&k, &o, &r), 409);
    expect(&r, 409, HEARTH_REASON_ALTERED);
    /* Other bytes are refused. */
    b[0] ^= 1;
    assert_int_equal(kit_commit(&k, &o, b, N, &r), 409);
    expect(&r, 409, HEARTH_REASON_ALTERED);
    assert_int_equal(kit_begin(&k, &o, b, N, &r), 409);
    expect(&r, 409, HEARTH_REASON_ALTERED);
    hearth_release rel;
    float v[KIT_D];
    kit_release(&k, "demo", 2, &rel, v);
    assert_int_equal(rel.devices, 1);
    kit_reply_free(&r);
    kit_close(&k);
}

static void upload_refuses_what_was_not_offered(void **state) {
    (void)state;
    kit k;
    kit_reply r = {0};
    hearth_offer o, other;
    uint8_t b[N + 4] = {0};
    kit_open(&k, NULL);
    kit_task(&k, "demo", "2,2", "0s,10m", 1);
    assert_true(kit_offer(&k, "a", &o));
    kit_bytes(b, V1);
    other = o;
    other.upload_token.bytes[0] ^= 1;
    assert_int_equal(kit_begin(&k, &other, b, N, &r), 404);
    expect(&r, 404, HEARTH_REASON_UNKNOWN);
    other = o;
    other.round++;
    assert_int_equal(kit_begin(&k, &other, b, N, &r), 409);
    expect(&r, 409, HEARTH_REASON_ALTERED);
    other = o;
    other.space.payload_digest[0] ^= 1;
    assert_int_equal(kit_begin(&k, &other, b, N, &r), 409);
    assert_int_equal(kit_begin(&k, &o, b, N + 4, &r), 413);
    expect(&r, 413, HEARTH_REASON_TOO_BIG);

    assert_int_equal(kit_begin(&k, &o, b, N, &r), 200);
    b[3] ^= 1;
    assert_int_equal(kit_begin(&k, &o, b, N, &r), 409); /* other bytes */
    b[3] ^= 1;

    /* Bytes that are not those announced: start again. */
    b[5] ^= 1;
    assert_int_equal(kit_append(&k, &o, 0, b, N, &r), 200);
    b[5] ^= 1;
    assert_int_equal(kit_commit(&k, &o, b, N, &r), 409);
    expect(&r, 409, HEARTH_REASON_DIGEST);
    assert_int_equal(r.offset, 0);
    assert_int_equal(kit_append(&k, &o, 0, b, N, &r), 200);
    assert_int_equal(kit_commit(&k, &o, b, N, &r), 200);

    /* Malformed bodies and requests. */
    char path[256];
    hearth_buf junk = HEARTH_BUF_INIT(NULL);
    static const char *const tails[] = {"", "/commit", "/abort"};
    assert_ok(hearth_buf_puts(&junk, "junk"));
    for (size_t i = 0; i < 3; i++) {
        kit_path(path, &o, tails[i]);
        kit_request(&k, "POST", path, &junk, NULL, &r);
        expect(&r, 400, HEARTH_REASON_BAD_MESSAGE);
    }
    kit_path(path, &o, "");
    kit_request(&k, "PATCH", path, &junk, NULL, &r); /* no Upload-Offset */
    expect(&r, 400, HEARTH_REASON_BAD_MESSAGE);
    static uint8_t big[HEARTH_PROTO_MAX_APPEND + 1];
    assert_int_equal(kit_append(&k, &o, 0, big, sizeof(big), &r), 413);
    hearth_buf_free(&junk);
    kit_reply_free(&r);
    kit_close(&k);
}

static void upload_refuses_a_coordinate_out_of_range(void **state) {
    (void)state;
    kit k;
    kit_reply r = {0};
    hearth_offer o;
    hearth_task t;
    char ini[2048];
    uint8_t seed[32] = {0};
    kit_ini(ini, sizeof(ini), "demo", "1,1", "0s,10m", 1, NULL);
    assert_ok(hearth_task_parse(&t, "t", ini, strlen(ini), seed, NULL, NULL));
    int32_t v[KIT_D] = {0};
    for (int over = 0; over < 2; over++) {
        kit_open(&k, NULL);
        kit_task(&k, "demo", "1,1", "0s,10m", 1);
        assert_true(kit_offer(&k, "a", &o));
        v[KIT_D - 1] = -(int32_t)t.range - over;
        assert_int_equal(kit_upload(&k, &o, v), over ? 422 : 200);
        if (over) {
            uint8_t b[N];
            kit_bytes(b, v);
            assert_int_equal(kit_commit(&k, &o, b, N, &r), 410);
            expect(&r, 410, HEARTH_REASON_ABORTED);
            /* Someone else may have the place. */
            assert_false(kit_offer(&k, "a", &o));
            assert_int_equal(kit_take_part(&k, "b", V1), 200);
        }
        kit_reply_free(&r);
        kit_close(&k);
    }
}

static void upload_is_refused_when_full_or_closed(void **state) {
    (void)state;
    kit k;
    kit_reply r = {0};
    hearth_offer a, b, c, d;
    uint8_t bytes[N];
    kit_open(&k, NULL);
    kit_task_extra(&k, "demo", "1,2", "5m,10m", 2, NULL);
    assert_true(kit_offer(&k, "a", &a));
    assert_true(kit_offer(&k, "b", &b));
    assert_true(kit_offer(&k, "c", &c)); /* over-selected: 2 x 1.3 */
    assert_false(kit_offer(&k, "d", &d));
    kit_bytes(bytes, V1);
    assert_int_equal(kit_begin(&k, &c, bytes, N, &r), 200);
    assert_int_equal(kit_append(&k, &c, 0, bytes, N, &r), 200);
    assert_int_equal(kit_upload(&k, &a, V1), 200);
    assert_int_equal(kit_upload(&k, &b, V2), 200); /* count.max: released */
    assert_int_equal(kit_commit(&k, &c, bytes, N, &r), 410);
    expect(&r, 410, HEARTH_REASON_CLOSED);
    assert_int_equal(kit_begin(&k, &c, bytes, N, &r), 410);
    assert_int_equal(kit_append(&k, &c, 0, bytes, N, &r), 410);
    assert_int_equal(head(&k, &c, &r), 410);
    kit_bytes(bytes, V2);
    assert_int_equal(kit_commit(&k, &b, bytes, N, &r), 200); /* replay */
    hearth_release rel;
    float v[KIT_D];
    kit_release(&k, "demo", 2, &rel, v);
    assert_int_equal(rel.devices, 2);

    /* Aborting gives a place back; an aborted token stays so. */
    assert_true(kit_offer(&k, "a", &a));
    assert_true(kit_offer(&k, "b", &b));
    assert_true(kit_offer(&k, "c", &c));
    assert_false(kit_offer(&k, "d", &d));
    assert_int_equal(kit_abort(&k, &a, &r), 200);
    assert_int_equal(kit_abort(&k, &a, &r), 200);
    kit_bytes(bytes, V1);
    assert_int_equal(kit_begin(&k, &a, bytes, N, &r), 410);
    expect(&r, 410, HEARTH_REASON_ABORTED);
    assert_int_equal(kit_append(&k, &a, 0, bytes, N, &r), 410);
    assert_int_equal(head(&k, &a, &r), 410);
    assert_false(kit_offer(&k, "a", &a));
    assert_true(kit_offer(&k, "d", &d));
    kit_reply_free(&r);
    kit_close(&k);
}

static void upload_is_refused_when_the_disk_is_full(void **state) {
    (void)state;
    kit k;
    kit_reply r = {0};
    hearth_offer o;
    uint8_t b[N];
    hearth_coord_config cfg;
    memset(&cfg, 0, sizeof(cfg));
    cfg.disk_reserve = (uint64_t)1 << 60;
    kit_open(&k, &cfg);
    kit_task(&k, "demo", "1,1", "0s,10m", 1);
    assert_true(kit_offer(&k, "a", &o));
    kit_bytes(b, V1);
    assert_int_equal(kit_begin(&k, &o, b, N, &r), 503);
    expect(&r, 503, HEARTH_REASON_DISK);
    k.cfg.disk_reserve = 1;
    kit_restart(&k);
    assert_int_equal(kit_begin(&k, &o, b, N, &r), 200);
#ifdef HEARTH_FAILPOINTS
    setenv("HEARTH_FAILERROR", "append.after_write", 1);
    assert_int_equal(kit_append(&k, &o, 0, b, N, &r), 503);
    expect(&r, 503, HEARTH_REASON_DISK);
    unsetenv("HEARTH_FAILERROR");
    assert_int_equal(head(&k, &o, &r), 200);
    assert_int_equal(r.offset, 0);
#endif
    assert_int_equal(kit_upload(&k, &o, V1), 200);
    kit_reply_free(&r);
    kit_close(&k);
}

/* ---- io that runs when told ---- */

typedef struct {
    void (*work)(void *);
    void (*done)(void *);
    void *arg;
} held_job;

static void hold(void *ud, void (*work)(void *), void (*done)(void *),
                 void *arg) {
    *(held_job *)ud = (held_job){work, done, arg};
}

static void let_go(held_job *j) {
    held_job now = *j;
    memset(j, 0, sizeof(*j));
    now.work(now.arg);
    now.done(now.arg);
}

static void commit_is_acknowledged_after_it_is_durable(void **state) {
    (void)state;
    kit k;
    held_job job = {0};
    kit_reply a = {0}, a2 = {0}, b = {0}, c = {0}, d = {0};
    hearth_offer oa, ob, oc;
    uint8_t va[N], vb[N];
    hearth_coord_config cfg;
    memset(&cfg, 0, sizeof(cfg));
    cfg.io = (hearth_coord_io){hold, &job};
    kit_open(&k, &cfg);
    kit_task(&k, "demo", "2,2", "0s,10m", 1);
    assert_true(kit_offer(&k, "a", &oa));
    assert_true(kit_offer(&k, "b", &ob));
    assert_true(kit_offer(&k, "c", &oc));
    kit_bytes(va, V1);
    kit_bytes(vb, V2);
    assert_int_equal(kit_begin(&k, &oa, va, N, &a), 200);
    assert_int_equal(kit_append(&k, &oa, 0, va, N, &a), 200);
    assert_int_equal(kit_begin(&k, &ob, vb, N, &b), 200);
    assert_int_equal(kit_append(&k, &ob, 0, vb, N, &b), 200);
    assert_int_equal(kit_begin(&k, &oc, vb, N, &c), 200);
    assert_int_equal(kit_append(&k, &oc, 0, vb, N, &c), 200);

    a.calls = b.calls = c.calls = 0;
    (void)kit_commit(&k, &oa, va, N, &a);
    assert_int_equal(a.calls, 0); /* no reply yet */
    assert_true(hearth_coord_busy(k.c));
    assert_int_equal(kit_commit(&k, &oa, va, N, &a2), 503); /* on its way */
    expect(&a2, 503, HEARTH_REASON_BUSY);
    assert_int_equal(kit_append(&k, &oa, 0, va, N, &a2), 503);
    (void)kit_commit(&k, &ob, vb, N, &b);
    assert_int_equal(b.calls, 0);
    assert_int_equal(kit_commit(&k, &oc, vb, N, &c),
                     409); /* both places held */
    expect(&c, 409, HEARTH_REASON_FULL);
    assert_int_equal(kit_begin(&k, &oc, vb, N, &d), 409);
    expect(&d, 409, HEARTH_REASON_FULL);

    let_go(&job); /* a's commit; b's goes out next */
    assert_int_equal(a.calls, 1);
    assert_int_equal(a.status, 200);
    assert_int_equal(b.calls, 0);
    /* Time runs out while b's bytes are on their way: it was in time. */
    kit_advance(&k, 600001);
    assert_int_equal(kit_commit(&k, &oc, vb, N, &c), 410);
    let_go(&job);
    assert_int_equal(b.status, 200);
    while (job.work) let_go(&job);
    hearth_release rel;
    float v[KIT_D];
    kit_release(&k, "demo", 2, &rel, v);
    assert_int_equal(rel.devices, 2);
    assert_false(hearth_coord_busy(k.c));
    kit_reply_free(&a);
    kit_reply_free(&a2);
    kit_reply_free(&b);
    kit_reply_free(&c);
    kit_reply_free(&d);
    kit_close(&k);
}

static void waiting_commits_are_answered_at_close(void **state) {
    (void)state;
    kit k;
    held_job job = {0};
    kit_reply a = {0}, b = {0};
    hearth_offer oa, ob;
    uint8_t va[N];
    hearth_coord_config cfg;
    memset(&cfg, 0, sizeof(cfg));
    cfg.io = (hearth_coord_io){hold, &job};
    kit_open(&k, &cfg);
    kit_task(&k, "demo", "2,2", "0s,10m", 1);
    assert_true(kit_offer(&k, "a", &oa));
    assert_true(kit_offer(&k, "b", &ob));
    kit_bytes(va, V1);
    assert_int_equal(kit_begin(&k, &oa, va, N, &a), 200);
    assert_int_equal(kit_append(&k, &oa, 0, va, N, &a), 200);
    assert_int_equal(kit_begin(&k, &ob, va, N, &b), 200);
    assert_int_equal(kit_append(&k, &ob, 0, va, N, &b), 200);
    (void)kit_commit(&k, &oa, va, N, &a);
    (void)kit_commit(&k, &ob, va, N, &b);
    hearth_coord_close(k.c); /* as if the program ended: the job never ran */
    assert_int_equal(b.status, 503);
    expect(&b, 503, HEARTH_REASON_BUSY);
    memset(&k.cfg.io, 0, sizeof(k.cfg.io));
    assert_ok(kit_start(&k));
    assert_int_equal(kit_commit(&k, &oa, va, N, &a), 200);
    assert_int_equal(kit_commit(&k, &ob, va, N, &b), 200);
    kit_reply_free(&a);
    kit_reply_free(&b);
    kit_close(&k);
}

static void damaged_spool_fails_the_round(void **state) {
    (void)state;
    kit k;
    hearth_release rel;
    float v[KIT_D];
    hearth_offer o;
    kit_open(&k, NULL);
    kit_task(&k, "demo", "2,2", "0s,10m", 1);
    assert_true(kit_offer(&k, "a", &o));
    assert_int_equal(kit_upload(&k, &o, V1), 200);
    /* An acknowledged upload is damaged on disk before it is added. */
    char path[256], hex[65];
    uint8_t hash[32];
    assert_ok(hearth_sha256(hash, o.upload_token.bytes, 32));
    hearth_hex_encode(hex, hash, 32);
    snprintf(path, sizeof(path), "%s/spool/demo/1/%s.up", k.state, hex);
    assert_true(hearth_file_exists(path));
    uint8_t zero[N] = {0};
    assert_ok(hearth_file_write(path, zero, N, 0600, NULL));
    assert_int_equal(kit_take_part(&k, "b", V2), 200);
    kit_release(&k, "demo", 0, &rel, v);
    assert_int_equal(rel.sequence, 1);
    hearth_coord_task_status ts;
    assert_ok(hearth_coord_task_get_status(k.c, "demo", &ts));
    assert_int_equal(ts.rounds_failed, 1);
    /* Its folder is gone, and the next round works. */
    assert_false(hearth_file_exists(path));
    assert_int_equal(kit_take_part(&k, "a", V1), 200);
    assert_int_equal(kit_take_part(&k, "b", V1), 200);
    kit_release(&k, "demo", 2, &rel, v);
    kit_close(&k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(upload_resumes_at_its_offset),
        cmocka_unit_test(upload_refuses_what_was_not_offered),
        cmocka_unit_test(upload_refuses_a_coordinate_out_of_range),
        cmocka_unit_test(upload_is_refused_when_full_or_closed),
        cmocka_unit_test(upload_is_refused_when_the_disk_is_full),
        cmocka_unit_test(commit_is_acknowledged_after_it_is_durable),
        cmocka_unit_test(waiting_commits_are_answered_at_close),
        cmocka_unit_test(damaged_spool_fails_the_round),
    };
    return cmocka_run_group_tests_name("coordinator/intake", tests, NULL, NULL);
}

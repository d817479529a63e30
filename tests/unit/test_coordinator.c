/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_coordinator.c - whole rounds through hearth_coord_handle. */
#include "tests/support/coord_kit.h"

#include "common/adapter_peft.h"
#include "tests/support/fail_alloc.h"

static const int32_t V1[KIT_D] = {100, -100, 7, 0, 1, 2, 3, 500};
static const int32_t V2[KIT_D] = {50, 100, -7, 0, -1, 2, 1, -500};
static const int32_t V3[KIT_D] = {1, 1, 1, 1, 1, 1, 1, 1};

static void coordinator_releases_the_mean(void **state) {
    (void)state;
    kit k;
    hearth_release rel;
    float start[KIT_D], v[KIT_D];
    kit_open(&k, NULL);
    kit_task(&k, "demo", "2,3", "0s,10m", 2);
    kit_release(&k, "demo", 0, &rel, start);
    assert_int_equal(rel.sequence, 1);
    assert_int_equal(rel.parent, 0);
    assert_int_equal(rel.rounds, 0);
    assert_true(rel.privacy.epsilon_coordinator == 0);
    for (size_t i = 0; i < KIT_D; i++) assert_true(start[i] == 0);

    assert_int_equal(kit_take_part(&k, "a", V1), 200);
    assert_int_equal(kit_take_part(&k, "b", V2), 200);
    kit_release(&k, "demo", 0, &rel, v);
    assert_int_equal(rel.sequence, 2);
    assert_int_equal(rel.parent, 1);
    assert_int_equal(rel.content_of, 2);
    assert_int_equal(rel.round, 1);
    assert_int_equal(rel.rounds, 1);
    assert_int_equal(rel.devices, 2);
    assert_true(rel.privacy.epsilon_coordinator > 0 && !rel.not_private);
    for (size_t i = 0; i < KIT_D; i++)
        assert_true(v[i] == (float)((double)(V1[i] + V2[i]) / 2 / 1024));

    /* The second round starts from the first, and ends the task. */
    hearth_offer o;
    assert_true(kit_offer(&k, "a", &o));
    assert_int_equal(o.start_sequence, 2);
    assert_int_equal(o.round, 2);
    assert_int_equal(kit_upload(&k, &o, V3), 200);
    assert_int_equal(kit_take_part(&k, "c", V3), 200);
    float w[KIT_D];
    kit_release(&k, "demo", 3, &rel, w);
    for (size_t i = 0; i < KIT_D; i++)
        assert_true(w[i] == (float)((double)v[i] + 1.0 / 1024));
    assert_false(kit_offer(&k, "d", &o));
    hearth_coord_task_status ts;
    assert_ok(hearth_coord_task_get_status(k.c, "demo", &ts));
    assert_int_equal(ts.rounds_released, 2);
    assert_int_equal(ts.sequence, 3);
    assert_true(ts.epsilon_coordinator >
                rel.privacy.epsilon_coordinator * 0.99);
    assert_int_equal(hearth_coord_task_get_status(k.c, "other", &ts),
                     HEARTH_ENOTFOUND);
    kit_close(&k);
}

static void coordinator_sum_ignores_order(void **state) {
    (void)state;
    const int32_t *const v[] = {V1, V2, V3};
    const int order[][3] = {{0, 1, 2}, {2, 1, 0}, {1, 2, 0}};
    uint8_t want[32];
    for (int t = 0; t < 3; t++) {
        kit k;
        hearth_release rel;
        float f[KIT_D];
        char id[8];
        kit_open(&k, NULL);
        k.cfg.checkpoint_every = (uint32_t)t + 1; /* and its cuts */
        kit_restart(&k);
        kit_task(&k, "demo", "3,3", "0s,10m", 1);
        for (int i = 0; i < 3; i++) {
            snprintf(id, sizeof(id), "d%d", order[t][i]);
            assert_int_equal(kit_take_part(&k, id, v[order[t][i]]), 200);
        }
        kit_release(&k, "demo", 2, &rel, f);
        if (t == 0) memcpy(want, rel.content_sha256, 32);
        assert_memory_equal(rel.content_sha256, want, 32);
        kit_close(&k);
    }
}

static void checkin_repeats_the_same_offer(void **state) {
    (void)state;
    kit k;
    hearth_offer a, again, b;
    kit_open(&k, NULL);
    kit_task(&k, "demo", "2,3", "0s,10m", 2);
    assert_true(kit_offer(&k, "a", &a));
    kit_advance(&k, 5000);
    assert_true(kit_offer(&k, "a", &again));
    assert_memory_equal(&a, &again, sizeof(a));
    kit_restart(&k);
    assert_true(kit_offer(&k, "a", &again));
    assert_memory_equal(&a, &again, sizeof(a));
    assert_true(kit_offer(&k, "b", &b));
    assert_false(hearth_secret_equal(&a.upload_token, &b.upload_token));
    assert_int_equal(a.deadline_ms, 1700000000000 + 600000);
    assert_int_equal(a.privacy.d, KIT_D);
    assert_int_equal(a.n_min, 2);
    assert_true(!a.not_private);
    /* Over-selection: 3 times 1.3 is 4 places. */
    hearth_offer o;
    assert_true(kit_offer(&k, "c", &o));
    assert_true(kit_offer(&k, "d", &o));
    assert_false(kit_offer(&k, "e", &o));
    kit_close(&k);
}

static void checkin_refuses(void **state) {
    (void)state;
    kit k;
    kit_reply r = {0};
    hearth_buf body = HEARTH_BUF_INIT(NULL);
    static hearth_checkin_request in;
    static hearth_checkin_reply rp;
    kit_open(&k, NULL);
    kit_task(&k, "demo", "2,3", "0s,10m", 2);

    assert_int_equal(kit_checkin(&k, NULL, &rp), 401);
    assert_int_equal(kit_checkin_as(&k, "x", 9, &rp), 200); /* another base */
    assert_int_equal(rp.n_offers + rp.n_releases, 0);
    assert_int_equal(rp.retry.refused_min_ms, 60000);

    memset(&in, 0, sizeof(in));
    in.n_versions = 1;
    in.versions[0] = 99;
    assert_ok(hearth_encode_checkin_request(&body, &in));
    kit_request(&k, "POST", "/v1/checkin", &body, "a", &r);
    assert_int_equal(r.status, 426);
    assert_int_equal(kit_reason(&r), HEARTH_REASON_VERSION);

    /* Same task, another space: a release exists, but not for this device. */
    hearth_buf_clear(&body);
    in.versions[0] = 1;
    memset(in.base_digest, 1, 32);
    memset(in.tokenizer_digest, 2, 32);
    in.n_tasks = 1;
    snprintf(in.tasks[0].task, sizeof(in.tasks[0].task), "demo");
    assert_ok(hearth_encode_checkin_request(&body, &in));
    kit_request(&k, "POST", "/v1/checkin", &body, "a", &r);
    assert_int_equal(r.status, 200);
    assert_ok(hearth_decode_checkin_reply(&rp, r.body.v, r.body.n, NULL));
    assert_int_equal(rp.n_offers + rp.n_releases, 0);

    body.v[0] ^= 1;
    kit_request(&k, "POST", "/v1/checkin", &body, "a", &r);
    assert_int_equal(r.status, 400);
    assert_int_equal(kit_reason(&r), HEARTH_REASON_BAD_MESSAGE);

    hearth_buf big = HEARTH_BUF_INIT(NULL);
    for (size_t i = 0; i <= HEARTH_PROTO_MAX_BODY; i++)
        (void)hearth_buf_putc(&big, 0);
    kit_request(&k, "POST", "/v1/checkin", &big, "a", &r);
    assert_int_equal(r.status, 413);
    kit_request(&k, "GET", "/v1/checkin", NULL, "a", &r);
    assert_int_equal(r.status, 400);
    kit_request(&k, "GET", "/v1/nothing", NULL, "a", &r);
    assert_int_equal(r.status, 404);
    hearth_buf_free(&big);
    hearth_buf_free(&body);
    kit_reply_free(&r);
    kit_close(&k);
}

static void round_fails_below_its_minimum(void **state) {
    (void)state;
    kit k;
    hearth_release rel;
    hearth_round_row row;
    hearth_offer o;
    float v[KIT_D];
    kit_open(&k, NULL);
    kit_task(&k, "demo", "2,3", "0s,10m", 2);
    assert_int_equal(kit_take_part(&k, "a", V1), 200);
    kit_advance(&k, 600000);
    kit_release(&k, "demo", 0, &rel, v);
    assert_int_equal(rel.sequence, 1); /* untouched */
    assert_ok(hearth_coord_store_last_round(hearth_coord_get_store(k.c), "demo",
                                            &row, NULL));
    assert_int_equal(row.phase, HEARTH_ROUND_FAILED);
    assert_false(row.has_key);
    /* The next one counts only its own. */
    assert_true(kit_offer(&k, "a", &o));
    assert_int_equal(o.round, 2);
    assert_int_equal(kit_upload(&k, &o, V2), 200);
    assert_int_equal(kit_take_part(&k, "b", V2), 200);
    kit_release(&k, "demo", 0, &rel, v);
    assert_int_equal(rel.sequence, 2);
    assert_int_equal(rel.rounds, 1);
    for (size_t i = 0; i < KIT_D; i++) assert_true(v[i] == (float)V2[i] / 1024);
    hearth_coord_counters n;
    hearth_coord_get_counters(k.c, &n);
    assert_int_equal(n.rounds_failed, 1);
    assert_int_equal(n.rounds_released, 1);
    kit_close(&k);
}

/* A row that says it is in the sum and is not: nothing may be released. */
static void round_fails_when_the_sum_lacks_someone(void **state) {
    (void)state;
    kit k;
    hearth_coord_store *s;
    hearth_contrib_row row;
    hearth_release rel;
    float v[KIT_D];
    char path[256];
    uint64_t number = 0;
    const uint8_t tag[32] = {1};
    hearth_coord_config cfg;
    memset(&cfg, 0, sizeof(cfg));
    cfg.checkpoint_every = 1;
    kit_open(&k, &cfg);
    kit_task(&k, "demo", "2,2", "0s,10m", 2);
    assert_int_equal(kit_take_part(&k, "a", V1), 200);
    assert_ok(hearth_coord_db_path(path, sizeof(path), k.state));
    assert_ok(
        hearth_coord_store_open(&s, path, HEARTH_STORE_DURABLE, NULL, NULL));
    memset(&row, 0, sizeof(row));
    snprintf(row.task, sizeof(row.task), "demo");
    row.round = 1;
    assert_ok(hearth_coord_store_invite(s, &row, tag, NULL));
    row.state = HEARTH_CONTRIB_BEGUN;
    assert_ok(hearth_coord_store_set_contrib(s, &row, NULL));
    assert_ok(hearth_coord_store_commit(s, &row, 1, NULL));
    assert_ok(hearth_coord_store_checkpoint(s, "demo", 1, 0, &number, NULL));
    assert_int_equal(number, 1);
    assert_ok(hearth_coord_store_set_checkpoint(s, "demo", 1, 0, number, &row,
                                                1, NULL));
    hearth_coord_store_close(s);
    assert_int_equal(kit_take_part(&k, "b", V2), 200);
    kit_release(&k, "demo", 0, &rel, v);
    assert_int_equal(rel.sequence, 1);
    hearth_coord_task_status ts;
    assert_ok(hearth_coord_task_get_status(k.c, "demo", &ts));
    assert_int_equal(ts.rounds_failed, 1);
    kit_close(&k);
}

static void spacing_is_respected(void **state) {
    (void)state;
    kit k;
    char ini[2048];
    char *at;
    hearth_offer o;
    kit_open(&k, NULL);
    kit_ini(ini, sizeof(ini), "demo", "1,1", "0s,10m", 3, NULL);
    at = strstr(ini, "spacing = 0s");
    memcpy(at, "spacing = 9h", 12);
    assert_ok(hearth_coord_task_create(k.c, "t", ini, strlen(ini), &k.err));
    assert_int_equal(kit_take_part(&k, "a", V1), 200);
    assert_false(kit_offer(&k, "a", &o)); /* and opens no round for it */
    hearth_coord_task_status ts;
    assert_ok(hearth_coord_task_get_status(k.c, "demo", &ts));
    assert_int_equal(ts.round, 1);
    assert_int_equal(kit_take_part(&k, "b", V1), 200);
    kit_advance(&k, 9 * 3600 * 1000 - 1);
    assert_false(kit_offer(&k, "a", &o));
    kit_advance(&k, 1);
    assert_true(kit_offer(&k, "a", &o));
    kit_close(&k);
}

static void rollback_publishes_older_content_again(void **state) {
    (void)state;
    kit k;
    hearth_release rel;
    hearth_coord_store *s;
    hearth_task_env env;
    uint64_t seq = 0;
    float v1[KIT_D], v[KIT_D];
    hearth_offer o;
    kit_open(&k, NULL);
    kit_task(&k, "demo", "1,1", "0s,10m", 9);
    assert_int_equal(kit_take_part(&k, "a", V1), 200);
    kit_release(&k, "demo", 2, &rel, v1);
    assert_int_equal(kit_take_part(&k, "b", V2), 200);
    assert_true(kit_offer(&k, "c", &o)); /* round 3 is open, from release 3 */

    char path[256];
    assert_ok(hearth_coord_db_path(path, sizeof(path), k.state));
    assert_ok(
        hearth_coord_store_open(&s, path, HEARTH_STORE_DURABLE, NULL, NULL));
    env = kit_env(&k, s);
    assert_int_equal(hearth_registry_rollback(&env, "demo", 77, &seq, &k.err),
                     HEARTH_ENOTFOUND);
    assert_int_equal(hearth_registry_rollback(&env, "demo", 0, &seq, &k.err),
                     HEARTH_EINVAL);
    assert_ok(hearth_registry_rollback(&env, "demo", 2, &seq, &k.err));
    assert_int_equal(seq, 4);
    kit_release(&k, "demo", 4, &rel, v);
    assert_int_equal(rel.parent, 3);
    assert_int_equal(rel.content_of, 2);
    assert_memory_equal(v, v1, sizeof(v));

    /* What was trained from release 3 is not added to anything. */
    assert_int_equal(kit_upload(&k, &o, V3), 200);
    kit_advance(&k, 2000);
    kit_release(&k, "demo", 0, &rel, v);
    assert_int_equal(rel.sequence, 4);
    assert_true(kit_offer(&k, "c", &o));
    assert_int_equal(o.start_sequence, 4);

    /* Export: a PEFT folder with the content as B. */
    char out[128];
    snprintf(out, sizeof(out), "%s/peft", k.dir);
    assert_ok(hearth_registry_export_peft(&env, "demo", 2, out, &k.err));
    hearth_adapter *a = NULL;
    float flat[KIT_D];
    assert_ok(hearth_adapter_load(&a, out, NULL, 0, NULL, NULL, &k.err));
    assert_ok(hearth_adapter_flatten(a, HEARTH_PART_B, flat, KIT_D));
    assert_memory_equal(flat, v1, sizeof(flat));
    hearth_adapter_free(a);
    assert_int_equal(hearth_registry_export_peft(&env, "demo", 99, out, &k.err),
                     HEARTH_ENOTFOUND);
    /* A content file that was altered is noticed. */
    char hex[65];
    kit_release(&k, "demo", 2, &rel, v);
    hearth_hex_encode(hex, rel.content_sha256, 32);
    snprintf(path, sizeof(path), "%s/releases/%s.f32", k.state, hex);
    v[0] += 1;
    assert_ok(hearth_file_write(path, v, sizeof(v), 0600, NULL));
    assert_int_equal(hearth_registry_export_peft(&env, "demo", 2, out, &k.err),
                     HEARTH_EDIGEST);
    hearth_coord_store_close(s);
    kit_close(&k);
}

/* Releases that a round did not start from: it ends at once, whether the
 * server noticed while it ran or finds them when it starts (a backup). */
static void outdated_round_fails_at_once(void **state) {
    (void)state;
    for (int restart = 0; restart < 2; restart++) {
        kit k;
        hearth_coord_store *s;
        hearth_coord_task_status ts;
        hearth_task_env env;
        hearth_offer o;
        uint64_t seq = 0;
        char path[256];
        kit_open(&k, NULL);
        kit_task(&k, "demo", "1,1", "0s,10m", 9);
        assert_int_equal(kit_take_part(&k, "a", V1), 200);
        assert_true(kit_offer(&k, "b", &o)); /* round 2, from release 2 */
        assert_int_equal(o.round, 2);
        assert_ok(hearth_coord_db_path(path, sizeof(path), k.state));
        assert_ok(hearth_coord_store_open(&s, path, HEARTH_STORE_DURABLE, NULL,
                                          NULL));
        env = kit_env(&k, s);
        assert_ok(hearth_registry_rollback(&env, "demo", 1, &seq, &k.err));
        hearth_coord_store_close(s);
        if (restart) kit_restart(&k);
        kit_advance(&k, 2000);
        assert_ok(hearth_coord_task_get_status(k.c, "demo", &ts));
        assert_int_equal(ts.rounds_failed, 1);
        assert_int_equal(kit_upload(&k, &o, V2), 410);
        assert_true(kit_offer(&k, "b", &o));
        assert_int_equal(o.round, 3);
        assert_int_equal(o.start_sequence, seq);
        kit_close(&k);
    }
}

static void paused_task_opens_no_round(void **state) {
    (void)state;
    kit k;
    hearth_coord_store *s;
    hearth_offer o;
    char path[256];
    kit_open(&k, NULL);
    kit_task(&k, "demo", "1,1", "0s,10m", 9);
    assert_ok(hearth_coord_db_path(path, sizeof(path), k.state));
    assert_ok(
        hearth_coord_store_open(&s, path, HEARTH_STORE_DURABLE, NULL, NULL));
    assert_ok(
        hearth_coord_store_set_task_state(s, "demo", HEARTH_TASK_PAUSED, NULL));
    assert_int_equal(hearth_coord_store_set_task_state(s, "no", 1, NULL),
                     HEARTH_ENOTFOUND);
    kit_advance(&k, 2000);
    assert_false(kit_offer(&k, "a", &o));
    assert_ok(
        hearth_coord_store_set_task_state(s, "demo", HEARTH_TASK_ACTIVE, NULL));
    kit_advance(&k, 2000);
    assert_true(kit_offer(&k, "a", &o));

    /* A task of another process is taken up within a second. */
    char ini[2048];
    kit_ini(ini, sizeof(ini), "second", "1,1", "0s,10m", 1, NULL);
    hearth_task_env env = kit_env(&k, s);
    assert_ok(hearth_task_create(&env, "x", ini, strlen(ini), &k.err));
    assert_int_equal(hearth_task_create(&env, "x", ini, strlen(ini), &k.err),
                     HEARTH_EEXISTS);
    kit_advance(&k, 2000);
    static hearth_checkin_reply rp;
    assert_int_equal(kit_checkin(&k, "a", &rp), 200);
    assert_int_equal(rp.n_releases, 2);
    assert_int_equal(rp.n_offers, 2);
    hearth_coord_store_close(s);
    kit_close(&k);
}

static void downloads_have_ranges_and_tags(void **state) {
    (void)state;
    kit k;
    kit_reply r = {0};
    char tag[80];
    hearth_http_request rq;
    kit_open(&k, NULL);
    kit_task(&k, "demo", "1,1", "0s,10m", 9);
    memset(&rq, 0, sizeof(rq));
    rq.method = "GET";
    rq.path = "/v1/releases/demo/1/payload";
    kit_send(&k, &rq, &r);
    assert_int_equal(r.status, 401);
    rq.peer = (hearth_peer){HEARTH_PEER_COOKIE, "a"};
    kit_send(&k, &rq, &r);
    assert_int_equal(r.status, 200);
    assert_int_equal(strlen(r.etag), 66);
    snprintf(tag, sizeof(tag), "%s", r.etag);
    rq.range = "bytes=4-11";
    kit_send(&k, &rq, &r);
    assert_int_equal(r.status, 206);
    assert_int_equal(r.body.n, 8);
    assert_int_equal(r.total, 32);
    rq.if_range = "\"other\"";
    kit_send(&k, &rq, &r);
    assert_int_equal(r.status, 200);
    rq.if_range = tag;
    rq.range = "bytes=32-";
    kit_send(&k, &rq, &r);
    assert_int_equal(r.status, 416);
    rq.range = "bytes=x";
    kit_send(&k, &rq, &r);
    assert_int_equal(r.status, 200);
    rq.range = NULL;
    rq.if_none_match = tag;
    kit_send(&k, &rq, &r);
    assert_int_equal(r.status, 304);
    assert_int_equal(r.body.n, 0);
    kit_request(&k, "GET", "/v1/releases/demo/9/manifest", NULL, "a", &r);
    assert_int_equal(r.status, 404);
    kit_request(&k, "GET", "/v1/releases/none/1/manifest", NULL, "a", &r);
    assert_int_equal(r.status, 404);
    kit_reply_free(&r);
    kit_close(&k);
}

static void open_refuses_bad_settings_and_a_second_server(void **state) {
    (void)state;
    kit k;
    hearth_coord *other = NULL;
    hearth_coord_config bad;
    kit_open(&k, NULL);
    assert_int_equal(hearth_coord_open(&other, &k.cfg, &k.err), HEARTH_EBUSY);
    assert_null(other);
    bad = k.cfg;
    bad.rng = NULL;
    assert_int_equal(hearth_coord_open(&other, &bad, &k.err), HEARTH_EINVAL);
    bad = k.cfg;
    bad.retry = (hearth_retry){5, 4, 0, 9};
    assert_int_equal(hearth_coord_open(&other, &bad, &k.err), HEARTH_EINVAL);
    assert_int_equal(hearth_coord_open(&other, NULL, &k.err), HEARTH_EINVAL);
    assert_int_equal(hearth_coord_open(NULL, &k.cfg, &k.err), HEARTH_EINVAL);
    kit_close(&k);

    /* Not our database. */
    kit_open(&k, NULL);
    hearth_coord_close(k.c);
    k.c = NULL;
    char path[256];
    assert_ok(hearth_coord_db_path(path, sizeof(path), k.state));
    assert_ok(hearth_file_write(path, "garbage, not a database at all", 30,
                                0600, NULL));
    assert_int_equal(kit_start(&k), HEARTH_EFORMAT);
    assert_null(k.c);
    kit_close(&k);
}

/* A round, with every allocation of the coordinator failing once: it answers
 * something each time, leaks nothing, and a later try ends the round. */
static void coordinator_survives_out_of_memory(void **state) {
    (void)state;
    for (size_t refuse = 1;; refuse += 1 + refuse / 12) {
        kit k;
        hearth_fail_alloc fa;
        hearth_alloc al = hearth_fail_alloc_init(&fa, 0);
        hearth_offer o;
        int status = 0;
        bool reached;
        memset(&k, 0, sizeof(k));
        k.cfg.al = &al;
        hearth_coord_config cfg = k.cfg;
        kit_open(&k, &cfg);
        kit_task(&k, "demo", "1,1", "0s,10m", 1);
        assert_true(kit_offer(&k, "a", &o));
        atomic_store(&fa.calls, 0);
        fa.refuse = refuse;
        status = kit_upload(&k, &o, V1);
        reached = atomic_load(&fa.calls) >= refuse;
        fa.refuse = 0;
        if (status != 200) status = kit_upload(&k, &o, V1);
        assert_int_equal(status, 200);
        kit_advance(&k, 2000); /* jobs that failed are tried again */
        hearth_release rel;
        float v[KIT_D];
        kit_release(&k, "demo", 0, &rel, v);
        assert_int_equal(rel.sequence, 2);
        for (size_t i = 0; i < KIT_D; i++)
            assert_true(v[i] == (float)V1[i] / 1024);
        kit_close(&k);
        assert_int_equal(atomic_load(&fa.live), 0);
        if (!reached) break;
    }
}

static void open_survives_out_of_memory(void **state) {
    (void)state;
    kit k;
    kit_open(&k, NULL);
    kit_task(&k, "demo", "1,1", "0s,10m", 1);
    hearth_coord_close(k.c);
    for (size_t refuse = 1;; refuse++) {
        hearth_fail_alloc fa;
        hearth_alloc al = hearth_fail_alloc_init(&fa, refuse);
        k.cfg.al = &al;
        hearth_status st = kit_start(&k);
        hearth_coord_close(k.c);
        k.c = NULL;
        assert_int_equal(atomic_load(&fa.live), 0);
        if (st == HEARTH_OK) break;
        assert_int_equal(st, HEARTH_ENOMEM);
    }
    kit_close(&k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(coordinator_releases_the_mean),
        cmocka_unit_test(coordinator_sum_ignores_order),
        cmocka_unit_test(checkin_repeats_the_same_offer),
        cmocka_unit_test(checkin_refuses),
        cmocka_unit_test(round_fails_below_its_minimum),
        cmocka_unit_test(round_fails_when_the_sum_lacks_someone),
        cmocka_unit_test(spacing_is_respected),
        cmocka_unit_test(rollback_publishes_older_content_again),
        cmocka_unit_test(outdated_round_fails_at_once),
        cmocka_unit_test(paused_task_opens_no_round),
        cmocka_unit_test(downloads_have_ranges_and_tags),
        cmocka_unit_test(open_refuses_bad_settings_and_a_second_server),
        cmocka_unit_test(coordinator_survives_out_of_memory),
        cmocka_unit_test(open_survives_out_of_memory),
    };
    return cmocka_run_group_tests_name("coordinator", tests, NULL, NULL);
}

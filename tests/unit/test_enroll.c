/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_enroll.c - client/net/enroll.h and trust.h against a fake
 * coordinator. */
#include "tests/support/fake_coord.h"

#include "client/net/enroll.h"
#include "client/net/setting_store.h"
#include "client/net/transport_curl.h"
#include "client/net/trust.h"
#include "tests/support/fail_alloc.h"

typedef struct {
    fake_coord f;
    hearth_db *db;
    hearth_dialer dialer;
    hearth_enroll_config cfg;
    hearth_error err;
} world;

static void open_world(world *w) {
    fake_coord_open(&w->f);
    assert_ok(hearth_db_open(&w->db, ":memory:", NULL, NULL));
    w->dialer = fake_coord_dialer(&w->f);
    w->cfg = (hearth_enroll_config){FAKE_SERVER, FAKE_TOKEN, w->f.root_pin,
                                    "/base",     w->db,      &w->dialer,
                                    w->f.rng,    w->f.clock, NULL};
}

static void close_world(world *w) {
    hearth_db_close(w->db);
    fake_coord_close(&w->f);
}

static void enroll_joins_and_remembers(void **state) {
    (void)state;
    world w;
    hearth_enrolment e;
    open_world(&w);
    assert_int_equal(hearth_enrolment_load(&e, w.db, NULL, &w.err),
                     HEARTH_ENOTFOUND);
    assert_non_null(strstr(w.err.text, "hearth init"));
    assert_ok(hearth_enroll(&w.cfg, &w.err));
    assert_false(w.f.saw_token_unpinned);
    assert_int_equal(w.f.n[FAKE_KEYSET], 1);
    assert_int_equal(w.f.n[FAKE_ENROLL], 1);
    assert_ok(hearth_enrolment_load(&e, w.db, NULL, &w.err));
    assert_string_equal(e.server, FAKE_SERVER);
    assert_string_equal(e.device_id, "d-17");
    assert_string_equal(e.base, "/base");
    assert_string_equal(e.pins, w.f.keyset.pins[0]);
    assert_int_equal(e.keyset_version, 3);
    assert_non_null(strstr(e.key_pem, "PRIVATE KEY"));
    assert_non_null(strstr(e.cert_pem, "CERTIFICATE"));
    hearth_enrolment_free(&e, NULL);
    /* Again: harmless, takes the new base, spends no token. */
    w.cfg.base = "/other";
    assert_ok(hearth_enroll(&w.cfg, &w.err));
    assert_int_equal(w.f.n[FAKE_ENROLL], 1);
    assert_ok(hearth_enrolment_load(&e, w.db, NULL, &w.err));
    assert_string_equal(e.base, "/other");
    hearth_enrolment_free(&e, NULL);
    close_world(&w);
}

static void enroll_sends_the_same_request_after_a_lost_reply(void **state) {
    (void)state;
    world w;
    open_world(&w);
    w.f.lose[FAKE_ENROLL] = 1;
    assert_int_equal(hearth_enroll(&w.cfg, &w.err), HEARTH_ENET);
    assert_true(w.f.token_used);
    assert_ok(hearth_enroll(&w.cfg, &w.err)); /* same token, same CSR */
    assert_int_equal(w.f.n[FAKE_ENROLL], 2);
    close_world(&w);
}

static void enroll_sends_nothing_to_a_wrong_root(void **state) {
    (void)state;
    world w;
    char pin[HEARTH_SIGN_PIN_CHARS];
    open_world(&w);
    assert_ok(hearth_sign_pin(hearth_sign_public(w.f.ca), pin));
    w.cfg.root_pin = pin;
    assert_int_equal(hearth_enroll(&w.cfg, &w.err), HEARTH_ESIGNATURE);
    assert_non_null(strstr(w.err.text, w.f.root_pin)); /* both sides */
    assert_non_null(strstr(w.err.text, pin));
    assert_int_equal(w.f.n[FAKE_ENROLL], 0);
    close_world(&w);
}

static void enroll_refuses_a_keyset_that_is_not_right(void **state) {
    (void)state;
    world w;
    open_world(&w);
    w.f.keyset_bytes.v[w.f.keyset_bytes.n - 1] ^= 1;
    assert_int_equal(hearth_enroll(&w.cfg, &w.err), HEARTH_ESIGNATURE);
    w.f.keyset.expires_ms = (uint64_t)FAKE_NOW;
    fake_coord_seal_keyset(&w.f);
    assert_int_equal(hearth_enroll(&w.cfg, &w.err), HEARTH_EEXPIRED);
    w.f.keyset.expires_ms += 86400000;
    fake_coord_seal_keyset(&w.f);
    w.f.garbage[FAKE_KEYSET] = 1;
    assert_int_equal(hearth_enroll(&w.cfg, &w.err), HEARTH_EFORMAT);
    w.f.refuse[FAKE_KEYSET] = 1;
    w.f.refuse_reason = HEARTH_REASON_BUSY;
    assert_int_equal(hearth_enroll(&w.cfg, &w.err), HEARTH_EBUSY);
    assert_int_equal(w.f.n[FAKE_ENROLL], 0);
    assert_ok(hearth_enroll(&w.cfg, &w.err));
    /* An older one later is a replay. */
    w.f.keyset.version = 2;
    fake_coord_seal_keyset(&w.f);
    assert_int_equal(hearth_enroll(&w.cfg, &w.err), HEARTH_EREPLAY);
    close_world(&w);
}

static void enroll_says_what_is_wrong_with_the_token(void **state) {
    (void)state;
    world w;
    char csr[HEARTH_X509_PEM_MAX];
    open_world(&w);
    w.cfg.token = "token-2";
    assert_int_equal(hearth_enroll(&w.cfg, &w.err), HEARTH_EAUTH);
    w.cfg.token = FAKE_TOKEN;
    w.cfg.root_pin = w.f.keyset.pins[0]; /* not bound to anyone yet */
    assert_int_equal(hearth_enroll(&w.cfg, &w.err), HEARTH_ESIGNATURE);
    w.cfg.root_pin = w.f.root_pin;
    w.f.token_used = true; /* by another device */
    assert_ok(hearth_x509_csr_new(csr, w.f.ca, w.f.rng, NULL));
    memcpy(w.f.csr, csr, sizeof(csr));
    assert_int_equal(hearth_enroll(&w.cfg, &w.err), HEARTH_EAUTH);
    w.f.refuse[FAKE_ENROLL] = 1;
    w.f.refuse_reason = HEARTH_REASON_EXPIRED;
    assert_int_equal(hearth_enroll(&w.cfg, &w.err), HEARTH_EEXPIRED);
    close_world(&w);
}

static void enroll_refuses_a_certificate_for_another_key(void **state) {
    (void)state;
    world w;
    hearth_enrolment e;
    open_world(&w);
    w.f.wrong_ca = true;
    assert_int_equal(hearth_enroll(&w.cfg, &w.err), HEARTH_ESIGNATURE);
    assert_int_equal(hearth_enrolment_load(&e, w.db, NULL, &w.err),
                     HEARTH_ENOTFOUND);
    close_world(&w);
}

static void enroll_rejects_a_broken_configuration(void **state) {
    (void)state;
    world w;
    open_world(&w);
    static const char *const bad[] = {
        NULL,
        "",
        "http://a:1",
        "https://",
        "https://a/b",
        "https://a:0",
        "https://a:65536",
        "https://a:",
        "https://u@a:1",
        "https://a b",
        "https://[::1",
        "https://[]:1",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        w.cfg.server = bad[i];
        assert_int_equal(hearth_enroll(&w.cfg, &w.err), HEARTH_EINVAL);
    }
    assert_true(hearth_transport_curl_url_ok("https://a.b-c"));
    assert_true(hearth_transport_curl_url_ok("https://127.0.0.1:8443"));
    assert_true(hearth_transport_curl_url_ok("https://[::1]:65535"));
    w.cfg.server = FAKE_SERVER;
    w.cfg.root_pin = "sha256//short";
    assert_int_equal(hearth_enroll(&w.cfg, &w.err), HEARTH_EINVAL);
    w.cfg.root_pin = w.f.root_pin;
    w.cfg.token = "";
    assert_int_equal(hearth_enroll(&w.cfg, &w.err), HEARTH_EINVAL);
    w.cfg.token = FAKE_TOKEN;
    w.cfg.base = NULL;
    assert_int_equal(hearth_enroll(&w.cfg, &w.err), HEARTH_EINVAL);
    assert_int_equal(w.f.n[FAKE_KEYSET], 0);
    /* A state belongs to one coordinator. */
    w.cfg.base = "/base";
    assert_ok(hearth_enroll(&w.cfg, &w.err));
    w.cfg.server = "https://other.test:8443";
    assert_int_equal(hearth_enroll(&w.cfg, &w.err), HEARTH_EEXISTS);
    close_world(&w);
}

static void enroll_renews_in_the_last_third(void **state) {
    (void)state;
    world w;
    hearth_enrolment e, later;
    hearth_transport tr;
    open_world(&w);
    assert_ok(hearth_enroll(&w.cfg, &w.err));
    assert_ok(hearth_enrolment_load(&e, w.db, NULL, &w.err));
    assert_false(hearth_enrolment_renew_due(&e, FAKE_NOW));
    assert_false(
        hearth_enrolment_renew_due(&e, FAKE_NOW + (int64_t)59 * 86400000));
    int64_t due = FAKE_NOW + (int64_t)61 * 86400000;
    assert_true(hearth_enrolment_renew_due(&e, due));
    w.f.time.wall_ms = due;
    tr = fake_coord_transport(&w.f);
    w.f.drop[FAKE_RENEW] = 1;
    assert_int_equal(
        hearth_enroll_renew(&e, &tr, w.db, w.f.rng, due, NULL, &w.err),
        HEARTH_ENET);
    w.f.wrong_ca = true;
    assert_int_equal(
        hearth_enroll_renew(&e, &tr, w.db, w.f.rng, due, NULL, &w.err),
        HEARTH_ESIGNATURE);
    w.f.wrong_ca = false;
    assert_ok(hearth_enrolment_load(&later, w.db, NULL, &w.err));
    assert_string_equal(later.cert_pem, e.cert_pem); /* the old one stays */
    hearth_enrolment_free(&later, NULL);
    assert_ok(hearth_enroll_renew(&e, &tr, w.db, w.f.rng, due, NULL, &w.err));
    assert_ok(hearth_enrolment_load(&later, w.db, NULL, &w.err));
    assert_true(later.cert_until_ms > e.cert_until_ms);
    assert_string_equal(later.key_pem, e.key_pem);
    hearth_enrolment_free(&later, NULL);
    hearth_enrolment_free(&e, NULL);
    close_world(&w);
}

static void enroll_replaces_an_expired_certificate(void **state) {
    (void)state;
    world w;
    hearth_enrolment a, b;
    open_world(&w);
    assert_ok(hearth_enroll(&w.cfg, &w.err));
    assert_ok(hearth_enrolment_load(&a, w.db, NULL, &w.err));
    w.f.time.wall_ms = a.cert_until_ms;
    assert_ok(hearth_enroll(&w.cfg, &w.err)); /* the fake takes the CSR again */
    assert_ok(hearth_enrolment_load(&b, w.db, NULL, &w.err));
    assert_true(b.cert_until_ms > a.cert_until_ms);
    assert_string_equal(a.key_pem, b.key_pem);
    hearth_enrolment_free(&a, NULL);
    hearth_enrolment_free(&b, NULL);
    close_world(&w);
}

static void enroll_takes_a_newer_keyset_of_the_same_root(void **state) {
    (void)state;
    world w;
    hearth_enrolment e;
    bool changed = true;
    open_world(&w);
    assert_ok(hearth_enroll(&w.cfg, &w.err));
    assert_ok(hearth_enrolment_load(&e, w.db, NULL, &w.err));
    assert_ok(hearth_enroll_refresh_keyset(&e, &w.dialer, w.db, FAKE_NOW,
                                           &changed, NULL, &w.err));
    assert_false(changed);
    w.f.keyset.version = 4;
    w.f.keyset.n_pins = 2;
    memcpy(w.f.keyset.pins[1], w.f.root_pin, sizeof(w.f.root_pin));
    fake_coord_seal_keyset(&w.f);
    assert_ok(hearth_enroll_refresh_keyset(&e, &w.dialer, w.db, FAKE_NOW,
                                           &changed, NULL, &w.err));
    assert_true(changed);
    hearth_enrolment_free(&e, NULL);
    assert_ok(hearth_enrolment_load(&e, w.db, NULL, &w.err));
    assert_int_equal(e.keyset_version, 4);
    assert_non_null(strstr(e.pins, ";sha256//"));
    w.f.keyset.version = 3;
    fake_coord_seal_keyset(&w.f);
    assert_int_equal(hearth_enroll_refresh_keyset(&e, &w.dialer, w.db, FAKE_NOW,
                                                  &changed, NULL, &w.err),
                     HEARTH_EREPLAY);
    hearth_enrolment_free(&e, NULL);
    close_world(&w);
}

static void enroll_notices_a_state_that_was_tampered_with(void **state) {
    (void)state;
    world w;
    hearth_enrolment e;
    open_world(&w);
    assert_ok(hearth_enroll(&w.cfg, &w.err));
    assert_ok(hearth_setting_set_str(w.db, HEARTH_SETTING_CERT, "x", &w.err));
    assert_int_equal(hearth_enrolment_load(&e, w.db, NULL, &w.err),
                     HEARTH_EFORMAT);
    assert_null(e.server);
    w.f.keyset_bytes.v[w.f.keyset_bytes.n - 1] ^= 1;
    assert_ok(hearth_setting_set(w.db, HEARTH_SETTING_KEYSET,
                                 w.f.keyset_bytes.v, w.f.keyset_bytes.n,
                                 &w.err));
    assert_int_equal(hearth_enrolment_load(&e, w.db, NULL, &w.err),
                     HEARTH_ESIGNATURE);
    close_world(&w);
}

static void setting_keeps_values_and_their_cap(void **state) {
    (void)state;
    hearth_db *db = NULL;
    char *v = NULL;
    size_t n = 9;
    static char big[HEARTH_SETTING_MAX_BYTES + 1];
    assert_ok(hearth_db_open(&db, ":memory:", NULL, NULL));
    assert_ok(hearth_setting_store_init(db, NULL));
    assert_ok(hearth_setting_get(db, "a", &v, &n, NULL, NULL));
    assert_null(v);
    assert_int_equal(n, 0);
    assert_ok(hearth_setting_set(db, "a", "x\0y", 3, NULL));
    assert_ok(hearth_setting_get(db, "a", &v, &n, NULL, NULL));
    assert_int_equal(n, 3);
    assert_memory_equal(v, "x\0y", 4);
    free(v);
    assert_ok(hearth_setting_set(db, "a", NULL, 0, NULL));
    assert_ok(hearth_setting_get(db, "a", &v, &n, NULL, NULL));
    assert_null(v);
    assert_ok(hearth_setting_set(db, "b", big, sizeof(big) - 1, NULL));
    assert_int_equal(hearth_setting_set(db, "b", big, sizeof(big), NULL),
                     HEARTH_ETOOBIG);
    hearth_db_close(db);
}

static void enroll_survives_running_out_of_memory(void **state) {
    (void)state;
    for (size_t k = 1; k < 400; k++) {
        world w;
        hearth_fail_alloc fa;
        hearth_alloc al = hearth_fail_alloc_init(&fa, k);
        hearth_enrolment e;
        open_world(&w);
        w.cfg.al = &al;
        hearth_status st = hearth_enroll(&w.cfg, &w.err);
        if (st == HEARTH_OK) st = hearth_enrolment_load(&e, w.db, &al, &w.err);
        if (st == HEARTH_OK)
            hearth_enrolment_free(&e, &al);
        else
            assert_int_equal(st, HEARTH_ENOMEM);
        assert_int_equal(fa.live, 0);
        w.cfg.al = NULL;
        assert_ok(hearth_enroll(&w.cfg, &w.err)); /* and then it works */
        close_world(&w);
        if (st == HEARTH_OK) return;
    }
    fail();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(enroll_joins_and_remembers),
        cmocka_unit_test(enroll_sends_the_same_request_after_a_lost_reply),
        cmocka_unit_test(enroll_sends_nothing_to_a_wrong_root),
        cmocka_unit_test(enroll_refuses_a_keyset_that_is_not_right),
        cmocka_unit_test(enroll_says_what_is_wrong_with_the_token),
        cmocka_unit_test(enroll_refuses_a_certificate_for_another_key),
        cmocka_unit_test(enroll_rejects_a_broken_configuration),
        cmocka_unit_test(enroll_renews_in_the_last_third),
        cmocka_unit_test(enroll_replaces_an_expired_certificate),
        cmocka_unit_test(enroll_takes_a_newer_keyset_of_the_same_root),
        cmocka_unit_test(enroll_notices_a_state_that_was_tampered_with),
        cmocka_unit_test(setting_keeps_values_and_their_cap),
        cmocka_unit_test(enroll_survives_running_out_of_memory),
    };
    return cmocka_run_group_tests_name("client/net/enroll", tests, NULL, NULL);
}

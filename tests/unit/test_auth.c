/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_auth.c - coordinator/auth.h, auth_store.h, token.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "coordinator/auth.h"
#include "coordinator/auth_store.h"
#include "coordinator/token.h"

#define NOW ((int64_t)1795219200000)
#define DAY ((int64_t)86400000)

typedef struct {
    char dir[64], db[96];
    hearth_rng *rng;
    hearth_sign_keypair *ca, *dev;
    char ca_pem[HEARTH_X509_PEM_MAX];
    hearth_virtual_clock clock;
    hearth_auth *auth;
    hearth_coord_hook hook;
    /* the last reply */
    int replies, status;
    uint8_t body[16384];
    size_t body_n;
} fixture;

static const hearth_retry RETRY = {1, 2, 3, 4};

static int setup(void **state) {
    fixture *f = calloc(1, sizeof(*f));
    hearth_auth_config c = {0};
    *state = f;
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/hearth_auth_XXXXXX");
    if (!mkdtemp(f->dir)) return -1;
    (void)snprintf(f->db, sizeof(f->db), "%s/devices.db", f->dir);
    f->clock.wall_ms = NOW;
    if (hearth_rng_open(&f->rng, NULL, NULL) != HEARTH_OK ||
        hearth_sign_generate(&f->ca, f->rng, NULL, NULL) != HEARTH_OK ||
        hearth_sign_generate(&f->dev, f->rng, NULL, NULL) != HEARTH_OK ||
        hearth_x509_self_ca(f->ca_pem, f->ca, "devices", NOW, 3650, f->rng,
                            NULL) != HEARTH_OK)
        return -1;
    c.db_path = f->db;
    c.keyset = (const uint8_t *)"keyset bytes";
    c.keyset_n = 12;
    c.ca = f->ca;
    c.ca_pem = f->ca_pem;
    memset(c.cookie_key.bytes, 5, sizeof(c.cookie_key.bytes));
    c.clock = hearth_clock_virtual(&f->clock);
    if (hearth_auth_open(&f->auth, &c, NULL) != HEARTH_OK) return -1;
    f->hook = hearth_auth_hook(f->auth);
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    char cmd[128];
    hearth_auth_close(f->auth);
    hearth_sign_free(f->ca);
    hearth_sign_free(f->dev);
    hearth_rng_close(f->rng);
    static const char *const ends[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(cmd, sizeof(cmd), "%s%s", f->db, ends[i]);
        (void)unlink(cmd);
    }
    (void)rmdir(f->dir);
    free(f);
    return 0;
}

static void on_reply(void *ud, const hearth_http_response *rp) {
    fixture *f = ud;
    f->replies++;
    f->status = rp->status;
    f->body_n = rp->body_n;
    assert_true(rp->body_n <= sizeof(f->body));
    if (rp->body_n) memcpy(f->body, rp->body, rp->body_n);
}

static int ask(fixture *f, const char *method, const char *path,
               const hearth_buf *body, const hearth_peer *peer) {
    hearth_http_request rq = {0};
    int before = f->replies;
    rq.method = method;
    rq.path = path;
    if (body) rq.body = body->v, rq.body_n = body->n;
    if (peer) rq.peer = *peer;
    assert_true(f->hook.handle(f->hook.ud, &rq, &RETRY, on_reply, f));
    assert_int_equal(f->replies, before + 1);
    return f->status;
}

static uint32_t reason(const fixture *f) {
    hearth_error_reply er;
    assert_int_equal(hearth_decode_error_reply(&er, f->body, f->body_n, NULL),
                     HEARTH_OK);
    assert_int_equal(er.retry.refused_max_ms, RETRY.refused_max_ms);
    return er.reason;
}

static void new_token(fixture *f, char text[HEARTH_TOKEN_CHARS], int64_t uses,
                      int64_t life) {
    hearth_auth_store *s = NULL;
    uint8_t hash[32];
    assert_int_equal(hearth_token_new(text, f->rng), HEARTH_OK);
    assert_int_equal(hearth_token_hash(hash, text), HEARTH_OK);
    assert_int_equal(hearth_auth_store_open(&s, f->db, NULL, NULL), HEARTH_OK);
    assert_int_equal(
        hearth_auth_store_token_add(s, hash, uses, NOW, NOW + life, NULL),
        HEARTH_OK);
    hearth_auth_store_close(s);
}

static int enroll(fixture *f, const char *token, const char *csr,
                  hearth_enroll_reply *rp) {
    static hearth_enroll_request rq;
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    memset(&rq, 0, sizeof(rq));
    (void)snprintf(rq.token, sizeof(rq.token), "%s", token);
    (void)snprintf(rq.csr_pem, sizeof(rq.csr_pem), "%s", csr);
    assert_int_equal(hearth_encode_enroll_request(&b, &rq), HEARTH_OK);
    int status = ask(f, "POST", "/v1/enroll", &b, NULL);
    if (status == 200)
        assert_int_equal(
            hearth_decode_enroll_reply(rp, f->body, f->body_n, NULL),
            HEARTH_OK);
    hearth_buf_free(&b);
    return status;
}

static void csr_of(fixture *f, char csr[HEARTH_X509_PEM_MAX]) {
    assert_int_equal(hearth_x509_csr_new(csr, f->dev, f->rng, NULL), HEARTH_OK);
}

static void token_has_one_form(void **state) {
    fixture *f = *state;
    char a[HEARTH_TOKEN_CHARS], b[HEARTH_TOKEN_CHARS];
    uint8_t hash[32];
    assert_int_equal(hearth_token_new(a, f->rng), HEARTH_OK);
    assert_int_equal(hearth_token_new(b, f->rng), HEARTH_OK);
    assert_string_not_equal(a, b);
    assert_true(hearth_token_ok(a));
    a[20] = 'G';
    assert_false(hearth_token_ok(a));
    assert_false(hearth_token_ok(""));
    assert_false(hearth_token_ok(NULL));
    assert_int_equal(hearth_token_hash(hash, a), HEARTH_EFORMAT);
    assert_int_equal(hearth_token_new(NULL, f->rng), HEARTH_EINVAL);
}

static void auth_enrols_once_and_repeats_a_lost_reply(void **state) {
    fixture *f = *state;
    static hearth_enroll_reply one, two;
    char token[HEARTH_TOKEN_CHARS], csr[HEARTH_X509_PEM_MAX];
    char other[HEARTH_X509_PEM_MAX];
    hearth_x509_info info;
    new_token(f, token, 1, DAY);
    csr_of(f, csr);
    assert_int_equal(enroll(f, token, csr, &one), 200);
    assert_int_equal(hearth_x509_verify(&info, one.cert_pem,
                                        strlen(one.cert_pem), f->ca_pem, NOW,
                                        NULL),
                     HEARTH_OK);
    assert_string_equal(info.id, one.device_id);
    assert_memory_equal(info.pub, hearth_sign_public(f->dev), 65);
    assert_int_equal(info.not_after_ms, NOW + 90 * DAY);
    assert_string_equal(one.ca_pem, f->ca_pem);
    assert_true(f->hook.allowed(f->hook.ud, one.device_id));
    /* The same bytes: the same certificate, also after the token expired. */
    assert_int_equal(enroll(f, token, csr, &two), 200);
    assert_memory_equal(&one, &two, sizeof(one));
    f->clock.wall_ms += 2 * DAY;
    assert_int_equal(enroll(f, token, csr, &two), 200);
    assert_string_equal(one.cert_pem, two.cert_pem);
    f->clock.wall_ms = NOW;
    /* Another request under the used token: refused. */
    hearth_sign_keypair *k = NULL;
    assert_int_equal(hearth_sign_generate(&k, f->rng, NULL, NULL), HEARTH_OK);
    assert_int_equal(hearth_x509_csr_new(other, k, f->rng, NULL), HEARTH_OK);
    hearth_sign_free(k);
    assert_int_equal(enroll(f, token, other, &two), 401);
    assert_int_equal(reason(f), HEARTH_REASON_CREDENTIAL);
    hearth_auth_counters n;
    hearth_auth_get_counters(f->auth, &n);
    assert_true(n.enrolled == 1 && n.enrolled_again == 2 &&
                n.enrol_refused == 1);
}

static void auth_refuses_bad_tokens_and_requests(void **state) {
    fixture *f = *state;
    static hearth_enroll_reply rp;
    char token[HEARTH_TOKEN_CHARS], never[HEARTH_TOKEN_CHARS];
    char csr[HEARTH_X509_PEM_MAX];
    csr_of(f, csr);
    new_token(f, token, 1, DAY);
    assert_int_equal(hearth_token_new(never, f->rng), HEARTH_OK);
    assert_int_equal(enroll(f, never, csr, &rp), 401);
    assert_int_equal(reason(f), HEARTH_REASON_CREDENTIAL);
    assert_int_equal(enroll(f, "open sesame", csr, &rp), 401);
    assert_int_equal(reason(f), HEARTH_REASON_CREDENTIAL);
    assert_int_equal(enroll(f, token, "no request", &rp), 400);
    assert_int_equal(reason(f), HEARTH_REASON_BAD_MESSAGE);
    f->clock.wall_ms = NOW + DAY;
    assert_int_equal(enroll(f, token, csr, &rp), 403);
    assert_int_equal(reason(f), HEARTH_REASON_EXPIRED);
    f->clock.wall_ms = NOW; /* refusals used nothing up */
    assert_int_equal(enroll(f, token, csr, &rp), 200);
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    assert_int_equal(hearth_buf_puts(&b, "\xc1 no msgpack"), HEARTH_OK);
    assert_int_equal(ask(f, "POST", "/v1/enroll", &b, NULL), 400);
    hearth_buf_free(&b);
    assert_int_equal(ask(f, "GET", "/v1/enroll", NULL, NULL), 404);
}

static void auth_token_serves_as_many_devices_as_it_says(void **state) {
    fixture *f = *state;
    static hearth_enroll_reply rp;
    char token[HEARTH_TOKEN_CHARS], csr[HEARTH_X509_PEM_MAX];
    new_token(f, token, 3, DAY);
    for (int i = 0; i < 4; i++) {
        hearth_sign_keypair *k = NULL;
        assert_int_equal(hearth_sign_generate(&k, f->rng, NULL, NULL), 0);
        assert_int_equal(hearth_x509_csr_new(csr, k, f->rng, NULL), 0);
        hearth_sign_free(k);
        assert_int_equal(enroll(f, token, csr, &rp), i < 3 ? 200 : 401);
    }
}

static void auth_renews_only_for_a_known_certificate(void **state) {
    fixture *f = *state;
    static hearth_enroll_reply one, two;
    static hearth_renew_request rq;
    char token[HEARTH_TOKEN_CHARS], csr[HEARTH_X509_PEM_MAX];
    hearth_peer peer = {HEARTH_PEER_DEVICE_CERT, ""};
    hearth_x509_info info;
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    new_token(f, token, 1, DAY);
    csr_of(f, csr);
    assert_int_equal(enroll(f, token, csr, &one), 200);
    (void)snprintf(rq.csr_pem, sizeof(rq.csr_pem), "%s", csr);
    assert_int_equal(hearth_encode_renew_request(&b, &rq), HEARTH_OK);
    (void)snprintf(peer.device_id, sizeof(peer.device_id), "%s", one.device_id);
    assert_int_equal(ask(f, "POST", "/v1/renew", &b, NULL), 401);
    peer.kind = HEARTH_PEER_COOKIE;
    assert_int_equal(ask(f, "POST", "/v1/renew", &b, &peer), 401);
    peer.kind = HEARTH_PEER_DEVICE_CERT;
    f->clock.wall_ms += 70 * DAY;
    assert_int_equal(ask(f, "POST", "/v1/renew", &b, &peer), 200);
    assert_int_equal(hearth_decode_enroll_reply(&two, f->body, f->body_n, NULL),
                     HEARTH_OK);
    assert_string_equal(two.device_id, one.device_id);
    assert_int_equal(
        hearth_x509_read(&info, two.cert_pem, strlen(two.cert_pem), NULL),
        HEARTH_OK);
    assert_int_equal(info.not_after_ms, NOW + 160 * DAY);
    hearth_auth_store *s = NULL;
    assert_int_equal(hearth_auth_store_open(&s, f->db, NULL, NULL), HEARTH_OK);
    assert_int_equal(hearth_auth_store_revoke(s, one.device_id, NOW, NULL), 0);
    assert_int_equal(ask(f, "POST", "/v1/renew", &b, &peer), 401);
    assert_false(f->hook.allowed(f->hook.ud, one.device_id));
    assert_int_equal(enroll(f, token, csr, &two), 401); /* nor a lost reply */
    hearth_auth_store_close(s);
    hearth_buf_free(&b);
}

static void auth_store_lists_and_erases(void **state) {
    fixture *f = *state;
    static hearth_enroll_reply rp;
    char token[HEARTH_TOKEN_CHARS], csr[HEARTH_X509_PEM_MAX];
    hearth_auth_store *s = NULL;
    hearth_device_row row[2];
    hearth_error err;
    size_t n = 0;
    bool ok = true;
    new_token(f, token, 1, DAY);
    csr_of(f, csr);
    assert_int_equal(enroll(f, token, csr, &rp), 200);
    assert_int_equal(hearth_auth_store_open(&s, f->db, NULL, NULL), HEARTH_OK);
    assert_int_equal(hearth_auth_store_list(s, 0, row, 2, &n, &err), HEARTH_OK);
    assert_int_equal(n, 1);
    assert_string_equal(row[0].id, rp.device_id);
    assert_int_equal(hearth_auth_store_list(s, 1, row, 2, &n, &err), HEARTH_OK);
    assert_int_equal(n, 0);
    assert_int_equal(hearth_auth_store_erase(s, rp.device_id, &err), HEARTH_OK);
    assert_int_equal(hearth_auth_store_erase(s, rp.device_id, &err),
                     HEARTH_ENOTFOUND);
    assert_int_equal(hearth_auth_store_revoke(s, "d-no", NOW, &err),
                     HEARTH_ENOTFOUND);
    assert_int_equal(hearth_auth_store_allowed(s, rp.device_id, &ok, &err), 0);
    assert_false(ok);
    hearth_auth_store_close(s);
    assert_int_equal(enroll(f, token, csr, &rp), 401);
    assert_int_equal(hearth_auth_store_open(&s, NULL, NULL, &err),
                     HEARTH_EINVAL);
}

static void auth_hands_out_the_keyset(void **state) {
    fixture *f = *state;
    hearth_http_request rq = {0};
    assert_int_equal(ask(f, "GET", "/v1/keyset", NULL, NULL), 200);
    assert_int_equal(f->body_n, 12);
    assert_memory_equal(f->body, "keyset bytes", 12);
    assert_int_equal(ask(f, "POST", "/v1/keyset", NULL, NULL), 404);
    rq.method = "GET";
    rq.path = "/v1/other";
    assert_false(f->hook.handle(f->hook.ud, &rq, &RETRY, on_reply, f));
}

static void auth_cookie_is_bound_to_device_and_time(void **state) {
    fixture *f = *state;
    char cookie[HEARTH_PROTO_COOKIE_CAP], bad[HEARTH_PROTO_COOKIE_CAP];
    char id[HEARTH_PROTO_DEVICE_CAP];
    assert_int_equal(hearth_auth_cookie_new(f->auth, "d-1", NOW, cookie), 0);
    assert_int_equal(hearth_auth_cookie_check(f->auth, cookie, NOW, id), 0);
    assert_string_equal(id, "d-1");
    for (size_t i = 0; cookie[i]; i++) {
        memcpy(bad, cookie, sizeof(bad));
        bad[i] = bad[i] == '1' ? '2' : '1';
        assert_int_equal(hearth_auth_cookie_check(f->auth, bad, NOW, id),
                         HEARTH_EAUTH);
        assert_string_equal(id, "");
        memcpy(bad, cookie, sizeof(bad));
        bad[i] = '\0';
        assert_int_equal(hearth_auth_cookie_check(f->auth, bad, NOW, id),
                         HEARTH_EAUTH);
    }
    assert_int_equal(
        hearth_auth_cookie_check(f->auth, cookie, NOW + 3600000, id),
        HEARTH_EEXPIRED);
    assert_int_equal(
        hearth_auth_cookie_check(f->auth, cookie, NOW - 2 * DAY, id),
        HEARTH_EEXPIRED);
    assert_int_equal(hearth_auth_cookie_check(f->auth, NULL, NOW, id),
                     HEARTH_EAUTH);
    assert_int_equal(hearth_auth_cookie_check(f->auth, "1.", NOW, id),
                     HEARTH_EAUTH);
    assert_int_equal(hearth_auth_cookie_new(f->auth, "a.b", NOW, cookie),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_auth_cookie_new(f->auth, "", NOW, cookie),
                     HEARTH_EINVAL);
}

static void auth_open_wants_everything(void **state) {
    fixture *f = *state;
    hearth_auth_config c = {0};
    hearth_auth *a = f->auth;
    hearth_error err;
    assert_int_equal(hearth_auth_open(&a, &c, &err), HEARTH_EINVAL);
    assert_null(a);
    assert_int_equal(hearth_auth_open(NULL, &c, &err), HEARTH_EINVAL);
    hearth_auth_close(NULL);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(token_has_one_form),
        CASE(auth_enrols_once_and_repeats_a_lost_reply),
        CASE(auth_refuses_bad_tokens_and_requests),
        CASE(auth_token_serves_as_many_devices_as_it_says),
        CASE(auth_renews_only_for_a_known_certificate),
        CASE(auth_store_lists_and_erases),
        CASE(auth_hands_out_the_keyset),
        CASE(auth_cookie_is_bound_to_device_and_time),
        CASE(auth_open_wants_everything),
    };
    return cmocka_run_group_tests_name("coordinator/auth", tests, NULL, NULL);
}

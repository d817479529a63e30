/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_seam_no_random_coord.c - as test_seam_no_random.c, for what
 * the coordinator draws: tokens, seeds, round keys, ids and serials. */
#include "coordinator/auth.h"
#include "coordinator/auth_store.h"
#include "coordinator/token.h"
#include "tests/support/coord_kit.h"
#include "tests/support/privacy_seam.h"

#define DAY ((int64_t)86400000)

static hearth_rng *open_rng(void) {
    hearth_rng *rng = NULL;
    assert_ok(hearth_rng_open(&rng, NULL, NULL));
    return rng;
}

static void fail_after(uint64_t k) {
    hearth_seam_fail_after(k);
}
static void mend(void) {
    hearth_seam_fail_after(UINT64_MAX);
}

static void no_random_gives_no_token(void **state) {
    (void)state;
    char text[HEARTH_TOKEN_CHARS] = "x";
    hearth_rng *rng = open_rng();
    fail_after(0);
    assert_int_equal(hearth_token_new(text, rng), HEARTH_ERNG);
    mend();
    assert_string_equal(text, "");
    hearth_rng_close(rng);
}

/* Give the coordinator of a kit a generator that works. */
static void new_rng(kit *k) {
    hearth_coord_close(k->c);
    k->c = NULL;
    hearth_rng_close(k->rng);
    k->rng = open_rng();
    assert_ok(kit_start(k));
}

static void no_random_creates_no_task(void **state) {
    (void)state;
    char ini[2048];
    kit k;
    kit_open(&k, NULL);
    kit_ini(ini, sizeof(ini), "demo", "2,3", "0s,10m", 3, "");
    for (uint64_t n = 0; n < 2; n++) { /* the seed of A, the spacing key */
        fail_after(n);
        assert_int_equal(
            hearth_coord_task_create(k.c, "demo", ini, strlen(ini), &k.err),
            HEARTH_ERNG);
        mend();
        assert_non_null(strstr(k.err.text, "no randomness"));
        new_rng(&k);
    }
    kit_task(&k, "demo", "2,3", "0s,10m", 3); /* its name is free */
    kit_close(&k);
}

/* No key, no round: the device is told to come back, and gets the first round
 * when there is a key. */
static void no_random_opens_no_round(void **state) {
    (void)state;
    static hearth_checkin_reply rp;
    hearth_offer o;
    kit k;
    kit_open(&k, NULL);
    kit_task(&k, "demo", "2,3", "0s,10m", 3);
    fail_after(0);
    assert_int_equal(kit_checkin(&k, "dev1", &rp), 500);
    mend();
    new_rng(&k);
    assert_true(kit_offer(&k, "dev1", &o));
    assert_int_equal(o.round, 1);
    kit_close(&k);
}

typedef struct {
    kit k; /* for its folder, key and clock */
    hearth_sign_keypair *dev;
    char ca_pem[HEARTH_X509_PEM_MAX], db[96], token[HEARTH_TOKEN_CHARS];
    int status;
} office;

static void on_reply(void *ud, const hearth_http_response *rp) {
    ((office *)ud)->status = rp->status;
}

/* Ask a fresh auth, whose generator fails after k calls, for a certificate. */
static int enrol(office *w, uint64_t k) {
    static hearth_enroll_request rq;
    const hearth_retry retry = {1, 2, 3, 4};
    hearth_auth *a = NULL;
    const hearth_auth_config c = {.db_path = w->db,
                                  .keyset = (const uint8_t *)"keyset",
                                  .keyset_n = 6,
                                  .ca = w->k.key,
                                  .ca_pem = w->ca_pem,
                                  .clock = hearth_clock_virtual(&w->k.vc)};
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    memset(&rq, 0, sizeof(rq));
    memcpy(rq.token, w->token, sizeof(w->token));
    assert_ok(hearth_x509_csr_new(rq.csr_pem, w->dev, w->k.rng, NULL));
    assert_ok(hearth_encode_enroll_request(&b, &rq));
    assert_ok(hearth_auth_open(&a, &c, NULL));
    const hearth_http_request http = {
        .method = "POST", .path = "/v1/enroll", .body = b.v, .body_n = b.n};
    hearth_coord_hook hook = hearth_auth_hook(a);
    fail_after(k);
    assert_true(hook.handle(hook.ud, &http, &retry, on_reply, w));
    mend();
    hearth_auth_close(a);
    hearth_buf_free(&b);
    return w->status;
}

/* A failed enrolment spends no token: the one use is there for the last. */
static void no_random_enrols_nobody(void **state) {
    (void)state;
    office *w = calloc(1, sizeof(*w));
    uint8_t hash[32];
    hearth_auth_store *s = NULL;
    uint64_t k = 0;
    assert_non_null(w);
    kit_open(&w->k, NULL);
    int64_t now = w->k.vc.wall_ms;
    (void)snprintf(w->db, sizeof(w->db), "%s/devices.db", w->k.dir);
    assert_ok(hearth_sign_generate(&w->dev, w->k.rng, NULL, NULL));
    assert_ok(hearth_x509_self_ca(w->ca_pem, w->k.key, "devices", now, 365,
                                  w->k.rng, NULL));
    assert_ok(hearth_token_new(w->token, w->k.rng));
    assert_ok(hearth_token_hash(hash, w->token));
    assert_ok(hearth_auth_store_open(&s, w->db, NULL, NULL));
    assert_ok(
        hearth_auth_store_token_add(s, hash, 1, now, now + 9 * DAY, NULL));
    hearth_auth_store_close(s);
    while (enrol(w, k) != 200) {
        assert_int_equal(w->status, 500);
        k++;
    }
    assert_true(k >= 2); /* the id, the serial, ... */
    hearth_sign_free(w->dev);
    kit_close(&w->k);
    free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_random_gives_no_token),
        cmocka_unit_test(no_random_creates_no_task),
        cmocka_unit_test(no_random_opens_no_round),
        cmocka_unit_test(no_random_enrols_nobody),
    };
    return cmocka_run_group_tests_name("no randomness, coordinator", tests,
                                       NULL, NULL);
}

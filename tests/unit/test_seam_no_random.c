/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_seam_no_random.c - a generator that fails, at every place
 * that draws: an error, and nothing is sent, stored or spent.
 *
 * hearth_seam_fail_after(k) lets k calls succeed; a generator that failed goes
 * on failing.  What draws noise and rounds is in test_seam_noise.c,
 * test_seam_sampler.c, test_seam_quantize.c and test_seam_prepare.c; TLS is in
 * test_seam_path.c, the coordinator in test_seam_no_random_coord.c.
 */
#include "tests/support/fake_coord.h"

#include "client/net/reply.h"
#include "client/net/setting_store.h"
#include "tests/support/privacy_seam.h"

#define MANY 200u /* ticks that are always enough for one round */

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

/* ---- keys ---- */

static void no_random_makes_no_key(void **state) {
    (void)state;
    hearth_rng *rng = open_rng();
    hearth_sign_keypair *k = NULL;
    hearth_error err;
    fail_after(0);
    assert_int_equal(hearth_sign_generate(&k, rng, NULL, &err), HEARTH_ERNG);
    mend();
    assert_null(k);
    hearth_rng_close(rng);
}

/* Requests and certificates draw serials and blinding: every draw fails once,
 * and no half of a text comes out. */
static void no_random_writes_no_certificate(void **state) {
    (void)state;
    char ca_pem[HEARTH_X509_PEM_MAX], pem[HEARTH_X509_PEM_MAX];
    hearth_rng *rng = open_rng();
    hearth_sign_keypair *ca = NULL;
    assert_ok(hearth_sign_generate(&ca, rng, NULL, NULL));
    assert_ok(
        hearth_x509_self_ca(ca_pem, ca, "devices", FAKE_NOW, 365, rng, NULL));
    for (int what = 0; what < 4; what++) {
        hearth_status st = HEARTH_ERNG;
        uint64_t k;
        for (k = 0; st != HEARTH_OK; k++) {
            hearth_rng *some = open_rng();
            memset(pem, 'x', sizeof(pem));
            fail_after(k);
            if (what == 0)
                st = hearth_x509_csr_new(pem, ca, some, NULL);
            else if (what == 1)
                st = hearth_x509_self_ca(pem, ca, "devices", FAKE_NOW, 9, some,
                                         NULL);
            else if (what == 2)
                st = hearth_x509_self_server(pem, ca, "h", FAKE_NOW, 9, some,
                                             NULL);
            else
                st = hearth_x509_issue(pem, ca, ca_pem, hearth_sign_public(ca),
                                       "d-1", FAKE_NOW, 9, some, NULL);
            mend();
            if (st != HEARTH_OK) assert_int_equal(pem[0], '\0');
            hearth_rng_close(some);
        }
        assert_true(k > 1);
    }
    hearth_sign_free(ca);
    hearth_rng_close(rng);
}

/* ---- the device ---- */

static char *setting(hearth_db *db, const char *name) {
    char *v = NULL;
    assert_ok(hearth_setting_get(db, name, &v, NULL, NULL, NULL));
    return v;
}

static void no_random_joins_nobody(void **state) {
    (void)state;
    hearth_status st = HEARTH_ERNG;
    uint64_t k;
    for (k = 0; st != HEARTH_ENET; k++) {
        fake_coord f;
        hearth_db *db = NULL;
        hearth_error err;
        fake_coord_open(&f);
        f.drop[FAKE_ENROLL] = 1; /* the end: it would be sent */
        assert_ok(hearth_db_open(&db, ":memory:", NULL, NULL));
        hearth_dialer dialer = fake_coord_dialer(&f);
        const hearth_enroll_config cfg = {FAKE_SERVER, FAKE_TOKEN, f.root_pin,
                                          "/base",     db,         &dialer,
                                          f.rng,       f.clock,    NULL};
        fail_after(k);
        st = hearth_enroll(&cfg, &err);
        mend();
        assert_int_not_equal(st, HEARTH_OK);
        char *key = setting(db, HEARTH_SETTING_KEY);
        char *csr = setting(db, HEARTH_SETTING_CSR);
        if (st != HEARTH_ENET) {
            assert_int_equal(f.n[FAKE_ENROLL], 0);
            assert_null(key);
            assert_null(csr);
        }
        free(key), free(csr);
        hearth_db_close(db);
        fake_coord_close(&f);
    }
    assert_true(k > 2); /* the key, the request */
}

/* Between the offer and the upload: nothing leaves and nothing is charged. */
static void no_random_takes_part_in_nothing(void **state) {
    (void)state;
    for (uint64_t k = 0; k < 3; k++) { /* noise, one span, then the others */
        fake_coord f;
        fake_device d;
        hearth_sync_event ev;
        hearth_error err;
        fake_coord_open(&f);
        fake_device_open(&d, &f, 40);
        assert_true(fake_device_until(&d, HEARTH_SYNC_ACCEPTED, MANY, &ev));
        fail_after(k);
        for (unsigned i = 0; i < MANY; i++) {
            hearth_status st = hearth_sync_tick(d.sync, &ev, &err);
            if (st != HEARTH_OK || ev.kind == HEARTH_SYNC_GAVE_UP) break;
            assert_int_not_equal(ev.kind, HEARTH_SYNC_PREPARED);
            hearth_virtual_clock_advance(&f.time, ev.wait_ms);
        }
        mend();
        assert_int_equal(fake_device_charges(&d), 0);
        assert_int_equal(f.n[FAKE_BEGIN] + f.n[FAKE_APPEND], 0);
        assert_false(f.has_begun);
        fake_device_close(&d);
        fake_coord_close(&f);
    }
}

static void no_random_waits_the_longest(void **state) {
    (void)state;
    hearth_rng *rng = open_rng();
    const hearth_retry w = {1000, 9000, 2000, 5000};
    int64_t wait = 0;
    fail_after(0);
    assert_int_equal(hearth_retry_draw(&w, true, rng, &wait), HEARTH_ERNG);
    assert_int_equal(wait, 9000);
    mend();
    hearth_rng_close(rng);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_random_makes_no_key),
        cmocka_unit_test(no_random_writes_no_certificate),
        cmocka_unit_test(no_random_joins_nobody),
        cmocka_unit_test(no_random_takes_part_in_nothing),
        cmocka_unit_test(no_random_waits_the_longest),
    };
    return cmocka_run_group_tests_name("no randomness, device", tests, NULL,
                                       NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/ct/ct_secrets.c - no branch and no address depends on a secret.
 *
 * Run by valgrind: secrets are marked as undefined memory, and it reports every
 * branch and every address that is made of them, except what the sources say
 * may be seen (common/ct.h).  Natively this program sees nothing, and says so.
 *
 * In scope is our own code: noise, comparisons, text of keys and tokens,
 * cookies, places.  mbedTLS' ciphers and curves are not.
 *
 * Source: A. Langley, Checking that functions are constant time with Valgrind,
 * 2010 (ctgrind).
 */
#include "tests/support/cmocka_all.h"

#include <unistd.h>
#include <valgrind/memcheck.h>

#include "common/bytes.h"
#include "common/file.h"
#include "common/hash.h"
#include "common/sign.h"
#include "common/x509.h"
#include "coordinator/auth.h"
#include "coordinator/place.h"
#include "coordinator/token.h"
#include "privacy/noise.h"
#include "privacy/noise_exact.h"
#include "privacy/sampler.h"
#include "tests/support/privacy_seam.h"

#define SCRIPT 65521 /* secret random bytes, again and again; a prime */
#define DRAWS  600

static volatile unsigned sink;

static void hide(void *p, size_t n) {
    (void)VALGRIND_MAKE_MEM_UNDEFINED(p, n);
}
static void show(void *p, size_t n) {
    (void)VALGRIND_MAKE_MEM_DEFINED(p, n);
}

/* Is a bit of p [n] still secret?  Says nothing to valgrind's report. */
static bool hidden(const void *p, size_t n) {
    unsigned char bits[4 * DRAWS];
    bool any = false;
    assert_true(n <= sizeof(bits));
    assert_int_equal(VALGRIND_GET_VBITS(p, bits, n), 1);
    for (size_t i = 0; i < n; i++) any = any || bits[i];
    return any;
}

static unsigned long reports(void) {
    return VALGRIND_COUNT_ERRORS;
}

static void expect_none(unsigned long before, const char *what) {
    if (reports() != before)
        fail_msg("%s: %lu branches or addresses depend on a secret (above)",
                 what, reports() - before);
}

static void expect_some(unsigned long before, const char *what) {
    print_message("planted: %s (reports above are wanted)\n", what);
    if (reports() == before) fail_msg("%s: was not seen", what);
}

static hearth_rng *secret_rng(void) {
    static unsigned char script[SCRIPT];
    hearth_rng *seeded = NULL, *rng = NULL;
    assert_ok(hearth_seam_rng_open(&seeded, 1, 2, NULL, NULL));
    assert_ok(hearth_rng_bytes(seeded, script, sizeof(script)));
    hearth_rng_close(seeded);
    hide(script, sizeof(script));
    assert_ok(
        hearth_seam_rng_open_script(&rng, script, sizeof(script), NULL, NULL));
    return rng;
}

/* ---- what this test must see ---- */

static void ct_sees_planted_faults(void **state) {
    (void)state;
    static const unsigned char table[256] = {1, 2, 3};
    unsigned char secret[32], guess[32];
    memset(secret, 7, sizeof(secret));
    memset(guess, 7, sizeof(guess));
    hide(secret, sizeof(secret));

    unsigned long before = reports();
    if (secret[3] & 1) sink += getpid() > 0;
    expect_some(before, "a branch");
    before = reports();
    sink += table[secret[4]];
    expect_some(before, "an address");
    before = reports();
    if (memcmp(secret, guess, sizeof(secret)) == 0) sink++;
    expect_some(before, "memcmp");
}

/* The normative sampler takes longer for larger noise: that is why it is not
 * the one in use, and this test must notice. */
static void ct_sees_the_exact_sampler(void **state) {
    (void)state;
    int32_t x[20];
    hearth_rng *rng = secret_rng();
    unsigned long before = reports();
    assert_ok(
        hearth_noise_exact_draw(x, 20, (hearth_sigma_sq){256, 1}, rng, NULL));
    expect_some(before, "the exact sampler");
    hearth_rng_close(rng);
}

/* ---- noise ---- */

static void ct_noise_does_not_show(void **state) {
    (void)state;
    static int32_t x[DRAWS];
    const hearth_sigma_sq sigma[] = {{1, 4},   {1, 1},       {63, 1},
                                     {256, 1}, {1000001, 3}, {1ull << 40, 1}};
    const hearth_noise_scan_kind kind[] = {HEARTH_NOISE_SCAN_PORTABLE,
                                           HEARTH_NOISE_SCAN_AVX2};
    hearth_rng *rng = secret_rng();
    for (size_t i = 0; i < sizeof(sigma) / sizeof(*sigma); i++) {
        for (size_t k = 0; k < 2; k++) {
            hearth_sampler_report rep;
            if (!hearth_noise_scan_has(kind[k])) continue;
            unsigned long before = reports();
            hearth_status st =
                hearth_sampler_draw(x, DRAWS, sigma[i], rng, kind[k], &rep);
            expect_none(before, k ? "sampler, AVX2" : "sampler, portable");
            assert_ok(st);
            assert_true(hidden(x, sizeof(x)));
            assert_int_equal(rep.n_ties, 0);
        }
    }
    unsigned long before = reports();
    hearth_status st = hearth_noise_draw(x, DRAWS, sigma[3], rng);
    expect_none(before, "noise");
    assert_ok(st);
    assert_true(hidden(x, sizeof(x)));
    hearth_rng_close(rng);
}

/* ---- comparing and writing ---- */

static void ct_comparing_does_not_show(void **state) {
    (void)state;
    unsigned char secret[32], guess[32];
    memset(secret, 7, sizeof(secret));
    memset(guess, 7, sizeof(guess));
    hide(secret, sizeof(secret));
    unsigned long before = reports();
    bool same = hearth_bytes_equal_ct(secret, guess, sizeof(secret));
    guess[31] ^= 1;
    bool other = hearth_bytes_equal_ct(secret, guess, sizeof(secret));
    bool none = hearth_bytes_equal_ct(secret, guess, 0);
    expect_none(before, "hearth_bytes_equal_ct");
    assert_true(same && none && !other);
}

static void ct_text_of_secrets_does_not_show(void **state) {
    (void)state;
    unsigned char secret[47];
    char text[2 * sizeof(secret) + 1];
    memset(secret, 0xa7, sizeof(secret));
    hide(secret, sizeof(secret));
    unsigned long before = reports();
    hearth_hex_encode(text, secret, sizeof(secret));
    expect_none(before, "hearth_hex_encode");
    assert_true(hidden(text, sizeof(text)));
    before = reports();
    hearth_base64_encode(text, secret, sizeof(secret));
    expect_none(before, "hearth_base64_encode");
    assert_true(hidden(text, HEARTH_BASE64_LEN(sizeof(secret))));
    before = reports();
    hearth_zeroize(secret, sizeof(secret));
    expect_none(before, "hearth_zeroize");
    assert_false(hidden(secret, sizeof(secret)));
}

/* ---- keys, tokens, cookies, places ---- */

static void ct_hmac_and_hkdf_do_not_show(void **state) {
    (void)state;
    unsigned char key[32], out[64];
    memset(key, 7, sizeof(key));
    hide(key, sizeof(key));
    unsigned long before = reports();
    hearth_status st = hearth_hmac_sha256(out, key, sizeof(key), "text", 4);
    expect_none(before, "hearth_hmac_sha256");
    assert_ok(st);
    assert_true(hidden(out, HEARTH_SHA256_BYTES));
    before = reports();
    st = hearth_hkdf_sha256(out, sizeof(out), key, sizeof(key), "s", 1, "i");
    expect_none(before, "hearth_hkdf_sha256");
    assert_ok(st);
    assert_true(hidden(out, sizeof(out)));
}

static void ct_tokens_and_places_do_not_show(void **state) {
    (void)state;
    hearth_secret key, token;
    unsigned char tag[32], hash[32];
    char text[HEARTH_TOKEN_CHARS];
    hearth_rng *rng = secret_rng();
    assert_ok(hearth_rng_bytes(rng, key.bytes, sizeof(key.bytes)));
    unsigned long before = reports();
    hearth_status st = hearth_place_tag(tag, &key, "d-1");
    if (st == HEARTH_OK) st = hearth_place_spacing(tag, &key, "d-1");
    if (st == HEARTH_OK) st = hearth_place_token(&token, &key, "d-1");
    if (st == HEARTH_OK)
        st = hearth_sha256(hash, token.bytes, sizeof(token.bytes));
    if (st == HEARTH_OK) st = hearth_token_new(text, rng);
    expect_none(before, "tokens and places");
    assert_ok(st);
    assert_true(hidden(token.bytes, sizeof(token.bytes)) &&
                hidden(text, sizeof(text) - 1));
    hearth_rng_close(rng);
}

/* A key's text, from a keypair whose every byte is secret. */
static unsigned char *block;
static size_t block_n;

static void *keep_alloc(void *ud, size_t n) {
    (void)ud;
    block_n = n;
    return block = calloc(1, n);
}
static void *no_resize(void *ud, void *p, size_t n) {
    (void)ud, (void)p, (void)n;
    return NULL;
}
static void keep_free(void *ud, void *p) {
    (void)ud;
    free(p);
}

static void ct_text_of_a_key_does_not_show(void **state) {
    (void)state;
    const hearth_alloc al = {keep_alloc, no_resize, keep_free, NULL};
    char pem[HEARTH_SIGN_PEM_MAX];
    hearth_sign_keypair *k = NULL;
    hearth_rng *rng = NULL;
    assert_ok(hearth_rng_open(&rng, NULL, NULL));
    assert_ok(hearth_sign_generate(&k, rng, &al, NULL));
    hide(block, block_n);
    unsigned long before = reports();
    hearth_status st = hearth_sign_to_pem(k, pem);
    expect_none(before, "hearth_sign_to_pem");
    assert_ok(st);
    assert_true(hidden(pem, sizeof(pem)));
    show(block, block_n);
    hearth_sign_free(k);
    hearth_rng_close(rng);
}

static void ct_cookies_do_not_show(void **state) {
    (void)state;
    const int64_t now = 1795219200000;
    char dir[64], db[96], ca_pem[HEARTH_X509_PEM_MAX];
    char cookie[HEARTH_PROTO_COOKIE_CAP], id[HEARTH_PROTO_DEVICE_CAP];
    hearth_virtual_clock clock = {.wall_ms = now};
    hearth_sign_keypair *ca = NULL;
    hearth_rng *rng = NULL;
    hearth_auth *a = NULL;
    hearth_auth_config c = {.keyset = (const uint8_t *)"keyset",
                            .keyset_n = 6,
                            .ca_pem = ca_pem,
                            .clock = hearth_clock_virtual(&clock)};
    assert_non_null(hearth_test_dir(dir));
    (void)snprintf(db, sizeof(db), "%s/devices.db", dir);
    assert_ok(hearth_rng_open(&rng, NULL, NULL));
    assert_ok(hearth_sign_generate(&ca, rng, NULL, NULL));
    assert_ok(hearth_x509_self_ca(ca_pem, ca, "devices", now, 365, rng, NULL));
    c.db_path = db;
    c.ca = ca;
    memset(c.cookie_key.bytes, 7, sizeof(c.cookie_key.bytes));
    hide(c.cookie_key.bytes, sizeof(c.cookie_key.bytes));
    assert_ok(hearth_auth_open(&a, &c, NULL));

    unsigned long before = reports();
    hearth_status st = hearth_auth_cookie_new(a, "d-17", now, cookie);
    expect_none(before, "hearth_auth_cookie_new");
    assert_ok(st);
    assert_true(hidden(cookie, sizeof(cookie)));
    show(cookie, sizeof(cookie)); /* the device has it now */

    before = reports();
    st = hearth_auth_cookie_check(a, cookie, now, id);
    cookie[strlen(cookie) - 1] ^= 1;
    hearth_status altered = hearth_auth_cookie_check(a, cookie, now, id);
    expect_none(before, "hearth_auth_cookie_check");
    assert_ok(st);
    assert_int_equal(altered, HEARTH_EAUTH);

    hearth_auth_close(a);
    hearth_sign_free(ca);
    hearth_rng_close(rng);
    assert_ok(hearth_file_remove_tree(dir, NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ct_sees_planted_faults),
        cmocka_unit_test(ct_sees_the_exact_sampler),
        cmocka_unit_test(ct_noise_does_not_show),
        cmocka_unit_test(ct_comparing_does_not_show),
        cmocka_unit_test(ct_text_of_secrets_does_not_show),
        cmocka_unit_test(ct_hmac_and_hkdf_do_not_show),
        cmocka_unit_test(ct_tokens_and_places_do_not_show),
        cmocka_unit_test(ct_text_of_a_key_does_not_show),
        cmocka_unit_test(ct_cookies_do_not_show),
    };
    if (!RUNNING_ON_VALGRIND) {
        printf("SKIPPED: run it with valgrind (ctest -R unit.ct_secrets)\n");
        return 77;
    }
    return cmocka_run_group_tests_name("secrets", tests, NULL, NULL);
}

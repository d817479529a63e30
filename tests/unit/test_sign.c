/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_sign.c - common/sign.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/bytes.h"
#include "common/error.h"
#include "common/sign.h"

static hearth_rng *rng;

static int open_rng(void **state) {
    (void)state;
    return hearth_rng_open(&rng, NULL, NULL) == HEARTH_OK ? 0 : -1;
}

static int close_rng(void **state) {
    (void)state;
    hearth_rng_close(rng);
    return 0;
}

static hearth_sign_keypair *fresh(void) {
    hearth_sign_keypair *k = NULL;
    assert_int_equal(hearth_sign_generate(&k, rng, NULL, NULL), HEARTH_OK);
    return k;
}

/* RFC 6979 A.2.5: P-256, SHA-256, message "sample". */
static void sign_matches_rfc_6979_vector(void **state) {
    (void)state;
    static const char d[] =
        "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721";
    static const char want[] =
        "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
        "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8";
    static const char x[] =
        "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6";
    uint8_t raw[HEARTH_SIGN_DER_BYTES], sig[64], expect[64], px[32];
    hearth_sign_keypair *tmp = fresh(), *k = NULL;
    char pem[HEARTH_SIGN_PEM_MAX], b64[200];
    /* The file form of that scalar: our layout with its own public point. */
    memcpy(raw, hearth_sign__der(tmp), sizeof(raw));
    assert_int_equal(hearth_hex_decode(raw + 7, 32, d, 64), HEARTH_OK);
    assert_int_equal(hearth_hex_decode(raw + 57, 32, x, 64), HEARTH_OK);
    static const char y[] =
        "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299";
    assert_int_equal(hearth_hex_decode(raw + 89, 32, y, 64), HEARTH_OK);
    hearth_base64_encode(b64, raw, sizeof(raw));
    (void)snprintf(pem, sizeof(pem),
                   "-----BEGIN EC PRIVATE KEY-----\n%s\n"
                   "-----END EC PRIVATE KEY-----\n",
                   b64);
    assert_int_equal(hearth_sign_from_pem(&k, pem, strlen(pem), NULL, NULL),
                     HEARTH_OK);
    assert_int_equal(hearth_hex_decode(px, 32, x, 64), HEARTH_OK);
    assert_memory_equal(hearth_sign_public(k) + 1, px, 32);
    assert_int_equal(hearth_sign_bytes(k, "sample", 6, sig), HEARTH_OK);
    assert_int_equal(hearth_hex_decode(expect, 64, want, 128), HEARTH_OK);
    assert_memory_equal(sig, expect, 64);
    hearth_sign_free(k);
    hearth_sign_free(tmp);
}

static void sign_verifies_only_the_exact_bytes(void **state) {
    (void)state;
    hearth_sign_keypair *k = fresh(), *other = fresh();
    const uint8_t *pub = hearth_sign_public(k);
    uint8_t msg[40], sig[64];
    memset(msg, 7, sizeof(msg));
    assert_int_equal(hearth_sign_bytes(k, msg, sizeof(msg), sig), HEARTH_OK);
    assert_int_equal(hearth_sign_verify(pub, msg, sizeof(msg), sig), HEARTH_OK);
    for (size_t i = 0; i < sizeof(msg); i += 13) {
        msg[i] ^= 1;
        assert_int_equal(hearth_sign_verify(pub, msg, sizeof(msg), sig),
                         HEARTH_ESIGNATURE);
        msg[i] ^= 1;
    }
    for (size_t i = 0; i < sizeof(sig); i += 9) {
        sig[i] ^= 0x80;
        assert_int_equal(hearth_sign_verify(pub, msg, sizeof(msg), sig),
                         HEARTH_ESIGNATURE);
        sig[i] ^= 0x80;
    }
    assert_int_equal(hearth_sign_verify(pub, msg, sizeof(msg) - 1, sig),
                     HEARTH_ESIGNATURE);
    assert_int_equal(
        hearth_sign_verify(hearth_sign_public(other), msg, sizeof(msg), sig),
        HEARTH_ESIGNATURE);
    memset(sig, 0, sizeof(sig));
    assert_int_equal(hearth_sign_verify(pub, msg, sizeof(msg), sig),
                     HEARTH_ESIGNATURE);
    assert_int_equal(hearth_sign_bytes(k, NULL, 0, sig), HEARTH_OK);
    assert_int_equal(hearth_sign_verify(pub, "", 0, sig), HEARTH_OK);
    hearth_sign_free(k);
    hearth_sign_free(other);
}

static void sign_rejects_points_off_the_curve(void **state) {
    (void)state;
    hearth_sign_keypair *k = fresh();
    uint8_t pub[HEARTH_SIGN_PUBLIC_BYTES], sig[64] = {1};
    memcpy(pub, hearth_sign_public(k), sizeof(pub));
    pub[64] ^= 1;
    assert_int_equal(hearth_sign_verify(pub, "m", 1, sig), HEARTH_EFORMAT);
    pub[64] ^= 1;
    pub[0] = 3;
    assert_int_equal(hearth_sign_verify(pub, "m", 1, sig), HEARTH_EFORMAT);
    hearth_sign_free(k);
}

static void sign_refuses_null_arguments(void **state) {
    (void)state;
    hearth_sign_keypair *k = fresh(), *out = k;
    uint8_t sig[64];
    char pem[HEARTH_SIGN_PEM_MAX], pin[HEARTH_SIGN_PIN_CHARS];
    assert_int_equal(hearth_sign_generate(&out, NULL, NULL, NULL),
                     HEARTH_EINVAL);
    assert_null(out);
    assert_int_equal(hearth_sign_generate(NULL, rng, NULL, NULL),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_sign_from_pem(&out, NULL, 0, NULL, NULL),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_sign_load_pem(&out, NULL, NULL, NULL),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_sign_to_pem(NULL, pem), HEARTH_EINVAL);
    assert_int_equal(hearth_sign_save_pem(NULL, "x", NULL), HEARTH_EINVAL);
    assert_int_equal(hearth_sign_bytes(NULL, "a", 1, sig), HEARTH_EINVAL);
    assert_int_equal(hearth_sign_bytes(k, NULL, 1, sig), HEARTH_EINVAL);
    assert_int_equal(hearth_sign_verify(NULL, "a", 1, sig), HEARTH_EINVAL);
    assert_int_equal(hearth_sign_pin(NULL, pin), HEARTH_EINVAL);
    hearth_sign_free(k);
    hearth_sign_free(NULL);
}

static void sign_pem_round_trips_and_rejects_damage(void **state) {
    (void)state;
    hearth_sign_keypair *k = fresh(), *again = NULL;
    char pem[HEARTH_SIGN_PEM_MAX];
    assert_int_equal(hearth_sign_to_pem(k, pem), HEARTH_OK);
    size_t n = strlen(pem);
    assert_int_equal(hearth_sign_from_pem(&again, pem, n, NULL, NULL), 0);
    assert_memory_equal(hearth_sign__der(again), hearth_sign__der(k),
                        HEARTH_SIGN_DER_BYTES);
    hearth_sign_free(again);
    for (size_t cut = 0; cut < n - 1; cut += 17) {
        hearth_error err;
        assert_int_equal(hearth_sign_from_pem(&again, pem, cut, NULL, &err),
                         HEARTH_EFORMAT);
        assert_null(again);
        assert_true(strlen(err.text) > 10);
    }
    /* Swap in another point: the halves disagree. */
    hearth_sign_keypair *other = fresh();
    uint8_t raw[HEARTH_SIGN_DER_BYTES];
    char b64[200], mixed[HEARTH_SIGN_PEM_MAX];
    memcpy(raw, hearth_sign__der(k), sizeof(raw));
    memcpy(raw + 56, hearth_sign_public(other), 65);
    hearth_base64_encode(b64, raw, sizeof(raw));
    (void)snprintf(mixed, sizeof(mixed),
                   "-----BEGIN EC PRIVATE KEY-----\n%s\n"
                   "-----END EC PRIVATE KEY-----\n",
                   b64);
    assert_int_equal(
        hearth_sign_from_pem(&again, mixed, strlen(mixed), NULL, NULL),
        HEARTH_EFORMAT);
    char *big = calloc(1, 5000);
    memset(big, 'A', 5000);
    assert_int_equal(hearth_sign_from_pem(&again, big, 5000, NULL, NULL),
                     HEARTH_EFORMAT);
    free(big);
    hearth_sign_free(other);
    hearth_sign_free(k);
}

static void sign_saves_0600_and_never_overwrites(void **state) {
    (void)state;
    char path[] = "/tmp/hearth_test_sign_XXXXXX";
    struct stat sb;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    hearth_sign_keypair *k = fresh(), *again = NULL;
    hearth_error err;
    assert_int_equal(hearth_sign_save_pem(k, path, &err), HEARTH_EEXISTS);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(hearth_sign_load_pem(&again, path, NULL, &err),
                     HEARTH_ENOTFOUND);
    assert_int_equal(hearth_sign_save_pem(k, path, &err), HEARTH_OK);
    assert_int_equal(stat(path, &sb), 0);
    assert_int_equal(sb.st_mode & 0777, 0600);
    assert_int_equal(hearth_sign_load_pem(&again, path, NULL, &err), HEARTH_OK);
    assert_memory_equal(hearth_sign_public(again), hearth_sign_public(k), 65);
    (void)unlink(path);
    hearth_sign_free(again);
    hearth_sign_free(k);
}

static void sign_pin_names_one_key(void **state) {
    (void)state;
    hearth_sign_keypair *k = fresh(), *other = fresh();
    char pin[HEARTH_SIGN_PIN_CHARS];
    uint8_t spki[HEARTH_SIGN_SPKI_BYTES], pub[65];
    assert_int_equal(hearth_sign_pin(hearth_sign_public(k), pin), HEARTH_OK);
    assert_int_equal(strlen(pin), HEARTH_SIGN_PIN_CHARS - 1);
    assert_memory_equal(pin, "sha256//", 8);
    assert_true(hearth_sign_pin_matches(hearth_sign_public(k), pin));
    assert_false(hearth_sign_pin_matches(hearth_sign_public(other), pin));
    assert_false(hearth_sign_pin_matches(hearth_sign_public(k), NULL));
    assert_false(hearth_sign_pin_matches(hearth_sign_public(k), "sha256//"));
    hearth_sign_spki(hearth_sign_public(k), spki);
    assert_int_equal(hearth_sign_from_spki(spki, sizeof(spki), pub), 0);
    assert_memory_equal(pub, hearth_sign_public(k), 65);
    assert_int_equal(hearth_sign_from_spki(spki, sizeof(spki) - 1, pub),
                     HEARTH_EFORMAT);
    spki[20] ^= 1;
    assert_int_equal(hearth_sign_from_spki(spki, sizeof(spki), pub),
                     HEARTH_EFORMAT);
    hearth_sign_free(k);
    hearth_sign_free(other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sign_matches_rfc_6979_vector),
        cmocka_unit_test(sign_verifies_only_the_exact_bytes),
        cmocka_unit_test(sign_rejects_points_off_the_curve),
        cmocka_unit_test(sign_refuses_null_arguments),
        cmocka_unit_test(sign_pem_round_trips_and_rejects_damage),
        cmocka_unit_test(sign_saves_0600_and_never_overwrites),
        cmocka_unit_test(sign_pin_names_one_key),
    };
    return cmocka_run_group_tests_name("common/sign", tests, open_rng,
                                       close_rng);
}

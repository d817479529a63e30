/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_common_bytes.c - common/{bytes,hash,prg,philox}.h against
 * published vectors. */
#include "tests/support/cmocka_all.h"

#include "common/bytes.h"
#include "common/hash.h"
#include "common/philox.h"
#include "common/prg.h"
#include "common/secret.h"

static void bytes_round_trip_in_both_orders(void **state) {
    (void)state;
    uint8_t b[8];
    hearth_store_le64(b, 0x0102030405060708u);
    assert_true(b[0] == 8 && b[7] == 1);
    assert_true(hearth_load_le64(b) == 0x0102030405060708u);
    assert_true(hearth_load_be64(b) == 0x0807060504030201u);
    assert_true(hearth_load_le16(b) == 0x0708);
    hearth_store_be32(b, 0xAABBCCDDu);
    assert_true(b[0] == 0xAA && hearth_load_be32(b) == 0xAABBCCDDu);
    hearth_store_le32(b, 0xAABBCCDDu);
    assert_true(b[0] == 0xDD && hearth_load_le32(b) == 0xAABBCCDDu);
    hearth_store_be64(b, 1);
    assert_true(b[7] == 1 && hearth_load_be64(b) == 1);
}

static void hex_refuses_what_is_not_hex(void **state) {
    (void)state;
    char s[9];
    uint8_t b[4];
    hearth_hex_encode(s, "\x00\xff\x10\xab", 4);
    assert_string_equal(s, "00ff10ab");
    assert_ok(hearth_hex_decode(b, 4, "00FF10ab", 8));
    assert_memory_equal(b, "\x00\xff\x10\xab", 4);
    assert_int_equal(hearth_hex_decode(b, 4, "00ff10a", 7), HEARTH_EFORMAT);
    assert_int_equal(hearth_hex_decode(b, 4, "00ff10ag", 8), HEARTH_EFORMAT);
}

static void base64_matches_rfc4648(void **state) {
    (void)state;
    static const char *const vec[][2] = {{"", ""},
                                         {"f", "Zg=="},
                                         {"fo", "Zm8="},
                                         {"foo", "Zm9v"},
                                         {"foob", "Zm9vYg=="},
                                         {"fooba", "Zm9vYmE="},
                                         {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < 7; i++) {
        char out[16];
        uint8_t back[8];
        size_t n;
        hearth_base64_encode(out, vec[i][0], strlen(vec[i][0]));
        assert_string_equal(out, vec[i][1]);
        assert_ok(
            hearth_base64_decode(back, sizeof(back), &n, out, strlen(out)));
        assert_int_equal(n, strlen(vec[i][0]));
        assert_memory_equal(back, vec[i][0], n);
    }
    static const char *const bad[] = {
        "Zg=", "Z===", "Zh==", "Zm9=", "Zm?v", "=Zm9", "Zg==Zg=="};
    for (size_t i = 0; i < 7; i++) {
        uint8_t back[8];
        size_t n;
        if (hearth_base64_decode(back, 8, &n, bad[i], strlen(bad[i])) !=
            HEARTH_EFORMAT)
            fail_msg("accepted %s", bad[i]);
    }
    uint8_t two[2];
    size_t n;
    assert_int_equal(hearth_base64_decode(two, 2, &n, "Zm9v", 4),
                     HEARTH_EFORMAT);
}

static void utf8_follows_rfc3629(void **state) {
    (void)state;
    assert_true(hearth_utf8_valid("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", 10));
    static const char *const bad[] = {
        "\xC0\x80", "\xE0\x80\x80", "\xED\xA0\x80",    "\xF4\x90\x80\x80",
        "\x80",     "\xC3",         "\xF5\x80\x80\x80"};
    for (size_t i = 0; i < 7; i++)
        if (hearth_utf8_valid(bad[i], strlen(bad[i]))) fail_msg("bad %zu", i);
    assert_int_equal(hearth_utf8_complete("ab\xF0\x9F\x98", 5), 2);
    assert_int_equal(hearth_utf8_complete("ab\xF0\x9F\x98\x80", 6), 6);
    assert_int_equal(hearth_utf8_complete("a\xFF\xC3", 3), 2);
    assert_int_equal(hearth_utf8_complete("", 0), 0);
}

static void compare_and_wipe(void **state) {
    (void)state;
    char a[4] = "abc", b[4] = "abc";
    assert_true(hearth_bytes_equal_ct(a, b, 4));
    b[2] = 'd';
    assert_false(hearth_bytes_equal_ct(a, b, 4));
    assert_true(hearth_bytes_equal_ct(a, b, 2));
    hearth_zeroize(a, 4);
    assert_memory_equal(a, "\0\0\0\0", 4);
}

static void secrets_compare_and_are_wiped(void **state) {
    (void)state;
    const hearth_secret none = {{0}};
    hearth_secret a, b;
    for (size_t i = 0; i < sizeof(a.bytes); i++) a.bytes[i] = (uint8_t)(i + 1);
    b = a;
    assert_true(hearth_secret_equal(&a, &b));
    for (size_t i = 0; i < sizeof(b.bytes); i++) { /* every byte counts */
        b.bytes[i] ^= 1;
        assert_false(hearth_secret_equal(&a, &b));
        b.bytes[i] ^= 1;
    }
    hearth_secret_wipe(&a);
    assert_memory_equal(a.bytes, none.bytes, sizeof(a.bytes));
    assert_true(hearth_secret_equal(&a, &none));
    assert_false(hearth_secret_equal(&a, &b)); /* and b is not */
}

static void check_hex(const uint8_t *p, size_t n, const char *hex) {
    char s[200];
    hearth_hex_encode(s, p, n);
    assert_string_equal(s, hex);
}

static void sha256_matches_fips180(void **state) {
    (void)state;
    uint8_t d[32];
    assert_ok(hearth_sha256(d, "abc", 3));
    check_hex(d, 32,
              "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff"
              "61f20015ad");
    hearth_sha256_state s;
    assert_ok(hearth_sha256_init(&s));
    assert_ok(hearth_sha256_add(&s, "a", 1));
    assert_ok(hearth_sha256_add(&s, NULL, 0));
    assert_ok(hearth_sha256_add(&s, "bc", 2));
    uint8_t e[32];
    assert_ok(hearth_sha256_finish(&s, e));
    assert_memory_equal(d, e, 32);
    hearth_sha256_free(&s);
    assert_ok(hearth_sha256(d, "", 0));
    check_hex(d, 4, "e3b0c442");
}

static void hmac_and_hkdf_match_rfcs(void **state) {
    (void)state;
    uint8_t d[82], key[131];
    /* RFC 4231 test cases 2 and 6. */
    assert_ok(
        hearth_hmac_sha256(d, "Jefe", 4, "what do ya want for nothing?", 28));
    check_hex(d, 32,
              "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58"
              "b964ec3843");
    memset(key, 0xaa, sizeof(key));
    const char m[] = "Test Using Larger Than Block-Size Key - Hash Key First";
    assert_ok(hearth_hmac_sha256(d, key, sizeof(key), m, sizeof(m) - 1));
    check_hex(d, 32,
              "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546"
              "040f0ee37f54");
    /* RFC 5869 test case 3: no salt, no info. */
    memset(key, 0x0b, 22);
    assert_ok(hearth_hkdf_sha256(d, 42, key, 22, "", 0, ""));
    check_hex(d, 42,
              "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e"
              "5f3c738d2d9d201395faa4b61a96c8");
    assert_int_equal(hearth_hkdf_sha256(d, 255 * 32 + 1, key, 22, "", 0, ""),
                     HEARTH_ETOOBIG);
}

static void prg_is_aes_ctr_and_splits_anywhere(void **state) {
    (void)state;
    uint8_t seed[32] = {0}, a[3000], b[3000];
    hearth_prg g;
    assert_ok(hearth_prg_init(&g, seed));
    assert_ok(hearth_prg_bytes(&g, a, sizeof(a)));
    hearth_prg_free(&g);
    /* AES-256 of the zero block under the zero key (NIST KAT). */
    check_hex(a, 16, "dc95c078a2408989ad48a21492842087");
    assert_ok(hearth_prg_init(&g, seed));
    for (size_t at = 0, k = 1; at < sizeof(b); at += k, k = k * 2 + 1) {
        if (k > sizeof(b) - at) k = sizeof(b) - at;
        assert_ok(hearth_prg_bytes(&g, b + at, k));
    }
    hearth_prg_free(&g);
    hearth_prg_free(&g);
    assert_memory_equal(a, b, sizeof(a));
}

static void philox_matches_random123(void **state) {
    (void)state;
    uint32_t out[4];
    const uint32_t zero[4] = {0}, ones[4] = {~0u, ~0u, ~0u, ~0u};
    const uint32_t pi[4] = {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344};
    hearth_philox4x32((hearth_philox_key){{0, 0}}, zero, out);
    const uint32_t want0[4] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
    assert_memory_equal(out, want0, 16);
    hearth_philox4x32((hearth_philox_key){{~0u, ~0u}}, ones, out);
    const uint32_t want1[4] = {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd};
    assert_memory_equal(out, want1, 16);
    hearth_philox4x32((hearth_philox_key){{0xa4093822, 0x299f31d0}}, pi, out);
    const uint32_t want2[4] = {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1};
    assert_memory_equal(out, want2, 16);
}

static void philox_draws_have_their_moments(void **state) {
    (void)state;
    hearth_philox_key k = hearth_philox_key_make(7, HEARTH_PHILOX_INIT);
    hearth_philox_key other = hearth_philox_key_make(7, HEARTH_PHILOX_DATA);
    assert_true(hearth_philox_u64(k, 1, 2) != hearth_philox_u64(other, 1, 2));
    double mean = 0, sq = 0, uni = 0;
    size_t n = 100000, low = 0;
    for (size_t i = 0; i < n; i++) {
        double x = hearth_philox_normal(k, 3, i);
        mean += x;
        sq += x * x;
        uni += hearth_philox_uniform(k, 4, i);
        uint64_t b = hearth_philox_below(k, 5, i, 10);
        assert_true(b < 10);
        low += b < 3;
    }
    assert_true(mean / (double)n < 0.016 && mean / (double)n > -0.016);
    assert_true(sq / (double)n < 1.025 && sq / (double)n > 0.975);
    assert_true(uni / (double)n < 0.505 && uni / (double)n > 0.495);
    assert_true(low > 29200 && low < 30800);
    assert_true(hearth_philox_below(k, 1, 1, 1) == 0);
    uint32_t idx[100], seen[100] = {0};
    for (uint32_t i = 0; i < 100; i++) idx[i] = i;
    hearth_philox_shuffle(k, 0, idx, 100);
    for (size_t i = 0; i < 100; i++) seen[idx[i]]++;
    for (size_t i = 0; i < 100; i++) assert_int_equal(seen[i], 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_round_trip_in_both_orders),
        cmocka_unit_test(hex_refuses_what_is_not_hex),
        cmocka_unit_test(base64_matches_rfc4648),
        cmocka_unit_test(utf8_follows_rfc3629),
        cmocka_unit_test(compare_and_wipe),
        cmocka_unit_test(secrets_compare_and_are_wiped),
        cmocka_unit_test(sha256_matches_fips180),
        cmocka_unit_test(hmac_and_hkdf_match_rfcs),
        cmocka_unit_test(prg_is_aes_ctr_and_splits_anywhere),
        cmocka_unit_test(philox_matches_random123),
        cmocka_unit_test(philox_draws_have_their_moments),
    };
    return cmocka_run_group_tests_name("common/bytes", tests, NULL, NULL);
}

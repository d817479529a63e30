/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_x509.c - common/x509.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "common/error.h"
#include "common/x509.h"

#define NOW ((int64_t)1795219200000) /* 2026-11-21 */
#define DAY ((int64_t)86400000)

static struct {
    hearth_rng *rng;
    hearth_sign_keypair *ca, *dev;
    char ca_pem[HEARTH_X509_PEM_MAX];
} t;

static int setup(void **state) {
    (void)state;
    if (hearth_rng_open(&t.rng, NULL, NULL) != HEARTH_OK) return -1;
    if (hearth_sign_generate(&t.ca, t.rng, NULL, NULL) != HEARTH_OK) return -1;
    if (hearth_sign_generate(&t.dev, t.rng, NULL, NULL) != HEARTH_OK) return -1;
    return hearth_x509_self_ca(t.ca_pem, t.ca, "test devices", NOW, 3650, t.rng,
                               NULL) == HEARTH_OK
               ? 0
               : -1;
}

static int teardown(void **state) {
    (void)state;
    hearth_sign_free(t.ca);
    hearth_sign_free(t.dev);
    hearth_rng_close(t.rng);
    return 0;
}

/* A byte of PEM text that stands for content, changed to another one. */
static void damage(char *pem, size_t line, size_t column) {
    char *p = pem;
    for (size_t i = 0; i < line; i++) p = strchr(p, '\n') + 1;
    p[column] = p[column] == 'A' ? 'B' : 'A';
}

static void x509_request_proves_its_key(void **state) {
    (void)state;
    char csr[HEARTH_X509_PEM_MAX];
    uint8_t pub[65];
    hearth_error err;
    assert_int_equal(hearth_x509_csr_new(csr, t.dev, t.rng, &err), HEARTH_OK);
    assert_int_equal(hearth_x509_csr_verify(csr, strlen(csr), pub, &err), 0);
    assert_memory_equal(pub, hearth_sign_public(t.dev), 65);
    damage(csr, 2, 20); /* inside the public key: off the curve, or unsigned */
    hearth_status st = hearth_x509_csr_verify(csr, strlen(csr), pub, &err);
    assert_true(st == HEARTH_EFORMAT || st == HEARTH_ESIGNATURE);
    damage(csr, 1, 30); /* and the name */
    st = hearth_x509_csr_verify(csr, strlen(csr), pub, &err);
    assert_true(st == HEARTH_EFORMAT || st == HEARTH_ESIGNATURE);
}

static void x509_request_with_altered_name_or_signature_fails(void **state) {
    (void)state;
    char csr[HEARTH_X509_PEM_MAX], bad[HEARTH_X509_PEM_MAX];
    uint8_t pub[65], zero[65] = {0};
    size_t signature = 0, format = 0, wrapper = 0;
    assert_int_equal(hearth_x509_csr_new(csr, t.dev, t.rng, NULL), HEARTH_OK);
    size_t first = strlen("-----BEGIN CERTIFICATE REQUEST-----\n");
    size_t last = (size_t)(strstr(csr, "-----END") - csr);
    for (size_t i = first; i < last; i++) {
        if (csr[i] == '\n' || csr[i] == '=') continue;
        memcpy(bad, csr, sizeof(bad));
        bad[i] = bad[i] == 'A' ? 'B' : 'A';
        hearth_status st = hearth_x509_csr_verify(bad, strlen(bad), pub, NULL);
        if (st == HEARTH_ESIGNATURE) signature++;
        if (st == HEARTH_EFORMAT) format++;
        /* Neither signed nor signature: the wrapper's algorithm parameters. */
        if (st == HEARTH_OK)
            wrapper++;
        else
            assert_memory_equal(pub, zero, sizeof(zero));
    }
    assert_true(signature > 50 && format > 20 && wrapper <= 2);
}

static void x509_request_rejects_what_is_none(void **state) {
    (void)state;
    uint8_t pub[65];
    char big[HEARTH_X509_PEM_MAX + 1];
    memset(big, 'x', sizeof(big));
    assert_int_equal(hearth_x509_csr_verify(big, sizeof(big), pub, NULL),
                     HEARTH_ETOOBIG);
    assert_int_equal(hearth_x509_csr_verify(NULL, 0, pub, NULL), HEARTH_EINVAL);
    assert_int_equal(hearth_x509_csr_verify("", 0, pub, NULL), HEARTH_EFORMAT);
    assert_int_equal(
        hearth_x509_csr_verify(t.ca_pem, strlen(t.ca_pem), pub, NULL),
        HEARTH_EFORMAT);
    assert_int_equal(hearth_x509_csr_new(NULL, t.dev, t.rng, NULL),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_x509_csr_new(big, NULL, t.rng, NULL),
                     HEARTH_EINVAL);
}

static void x509_device_certificate_carries_id_and_dates(void **state) {
    (void)state;
    char cert[HEARTH_X509_PEM_MAX];
    hearth_x509_info info;
    hearth_error err;
    assert_int_equal(hearth_x509_issue(cert, t.ca, t.ca_pem,
                                       hearth_sign_public(t.dev), "d-0042", NOW,
                                       90, t.rng, &err),
                     HEARTH_OK);
    assert_int_equal(
        hearth_x509_verify(&info, cert, strlen(cert), t.ca_pem, NOW, &err),
        HEARTH_OK);
    assert_string_equal(info.id, "d-0042");
    assert_memory_equal(info.pub, hearth_sign_public(t.dev), 65);
    assert_false(info.is_ca);
    assert_int_equal(info.not_before_ms, NOW - 3600000);
    assert_int_equal(info.not_after_ms, NOW + 90 * DAY);
}

static void x509_certificate_is_refused_outside_its_time(void **state) {
    (void)state;
    char cert[HEARTH_X509_PEM_MAX];
    hearth_x509_info info;
    size_t n;
    assert_int_equal(hearth_x509_issue(cert, t.ca, t.ca_pem,
                                       hearth_sign_public(t.dev), "d-1", NOW,
                                       90, t.rng, NULL),
                     HEARTH_OK);
    n = strlen(cert);
    const struct {
        int64_t at;
        hearth_status want;
    } c[] = {{NOW - 3600000 - 1000, HEARTH_EEXPIRED},
             {NOW - 3600000, HEARTH_OK},
             {NOW + 90 * DAY, HEARTH_OK},
             {NOW + 90 * DAY + 1000, HEARTH_EEXPIRED},
             {NOW + 4000 * DAY, HEARTH_EEXPIRED}};
    for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++)
        assert_int_equal(
            hearth_x509_verify(&info, cert, n, t.ca_pem, c[i].at, NULL),
            c[i].want);
    assert_string_equal(info.id, "d-1"); /* filled also when expired */
}

static void x509_verify_rejects_foreign_and_altered(void **state) {
    (void)state;
    char cert[HEARTH_X509_PEM_MAX], ca2_pem[HEARTH_X509_PEM_MAX];
    hearth_x509_info info;
    hearth_sign_keypair *ca2 = NULL;
    assert_int_equal(hearth_sign_generate(&ca2, t.rng, NULL, NULL), HEARTH_OK);
    /* The same name, another key. */
    assert_int_equal(
        hearth_x509_self_ca(ca2_pem, ca2, "test devices", NOW, 10, t.rng, NULL),
        HEARTH_OK);
    assert_int_equal(hearth_x509_issue(cert, ca2, ca2_pem,
                                       hearth_sign_public(t.dev), "d-1", NOW,
                                       90, t.rng, NULL),
                     HEARTH_OK);
    assert_int_equal(
        hearth_x509_verify(&info, cert, strlen(cert), t.ca_pem, NOW, NULL),
        HEARTH_ESIGNATURE);
    assert_int_equal(info.id[0], 0);
    assert_int_equal(hearth_x509_issue(cert, t.ca, ca2_pem,
                                       hearth_sign_public(t.dev), "d-1", NOW,
                                       90, t.rng, NULL),
                     HEARTH_EFORMAT); /* CA certificate of another key */
    assert_int_equal(hearth_x509_verify(&info, t.ca_pem, strlen(t.ca_pem),
                                        t.ca_pem, NOW, NULL),
                     HEARTH_ESIGNATURE); /* the CA is no device */
    assert_int_equal(hearth_x509_issue(cert, t.ca, t.ca_pem,
                                       hearth_sign_public(t.dev), "d-1", NOW,
                                       90, t.rng, NULL),
                     HEARTH_OK);
    size_t first = strlen("-----BEGIN CERTIFICATE-----\n");
    size_t last = (size_t)(strstr(cert, "-----END") - cert), accepted = 0;
    for (size_t i = first; i < last; i += 3) {
        char was = cert[i];
        if (was == '\n' || was == '=') continue;
        cert[i] = was == 'A' ? 'B' : 'A';
        if (hearth_x509_verify(&info, cert, strlen(cert), t.ca_pem, NOW,
                               NULL) == HEARTH_OK)
            accepted++;
        cert[i] = was;
    }
    assert_int_equal(accepted, 0);
    assert_int_equal(
        hearth_x509_verify(&info, cert, strlen(cert), "nonsense", NOW, NULL),
        HEARTH_EFORMAT);
    assert_int_equal(
        hearth_x509_verify(&info, cert, strlen(cert), NULL, NOW, NULL),
        HEARTH_EINVAL);
    hearth_sign_free(ca2);
}

static void x509_server_certificate_names_host_or_address(void **state) {
    (void)state;
    static const char *const hosts[] = {"hearth.example.org", "127.0.0.1",
                                        "::1"};
    char cert[HEARTH_X509_PEM_MAX];
    hearth_x509_info info;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(hearth_x509_self_server(cert, t.ca, hosts[i], NOW, 365,
                                                 t.rng, NULL),
                         HEARTH_OK);
        assert_int_equal(hearth_x509_read(&info, cert, strlen(cert), NULL), 0);
        assert_string_equal(info.id, i == 0 ? hosts[0] : "");
    }
    char longest[HEARTH_X509_HOST_MAX + 2];
    memset(longest, 'a', sizeof(longest));
    longest[HEARTH_X509_HOST_MAX] = '\0';
    assert_int_equal(
        hearth_x509_self_server(cert, t.ca, longest, NOW, 365, t.rng, NULL),
        HEARTH_OK);
    assert_int_equal(hearth_x509_read(&info, cert, strlen(cert), NULL), 0);
    assert_string_equal(info.id, longest);
    longest[HEARTH_X509_HOST_MAX] = 'a';
    longest[HEARTH_X509_HOST_MAX + 1] = '\0';
    assert_int_equal(
        hearth_x509_self_server(cert, t.ca, longest, NOW, 365, t.rng, NULL),
        HEARTH_EINVAL);
}

static void x509_rejects_broken_contract(void **state) {
    (void)state;
    char cert[HEARTH_X509_PEM_MAX], big[HEARTH_X509_PEM_MAX];
    uint8_t off[65] = {4};
    hearth_x509_info info;
    static const char *const bad[] = {"", "D-1", "a.b", "a b", "a,b"};
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(hearth_x509_issue(cert, t.ca, t.ca_pem,
                                           hearth_sign_public(t.dev), bad[i],
                                           NOW, 90, t.rng, NULL),
                         HEARTH_EINVAL);
    assert_int_equal(hearth_x509_issue(cert, t.ca, t.ca_pem, off, "d-1", NOW,
                                       90, t.rng, NULL),
                     HEARTH_EFORMAT);
    assert_int_equal(hearth_x509_issue(cert, t.ca, t.ca_pem,
                                       hearth_sign_public(t.dev), "d-1", NOW, 0,
                                       t.rng, NULL),
                     HEARTH_EINVAL);
    assert_int_equal(
        hearth_x509_self_ca(cert, t.ca, "a,b", NOW, 1, t.rng, NULL),
        HEARTH_EINVAL);
    assert_int_equal(
        hearth_x509_self_ca(cert, t.ca, "ok", INT64_MAX, 1, t.rng, NULL),
        HEARTH_EINVAL);
    memset(big, 0x30, sizeof(big));
    assert_int_equal(hearth_x509_read(&info, big, sizeof(big), NULL),
                     HEARTH_ETOOBIG);
    assert_int_equal(hearth_x509_read(&info, big, 100, NULL), HEARTH_EFORMAT);
    assert_int_equal(hearth_x509_read(&info, NULL, 0, NULL), HEARTH_EINVAL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(x509_request_proves_its_key),
        cmocka_unit_test(x509_request_with_altered_name_or_signature_fails),
        cmocka_unit_test(x509_request_rejects_what_is_none),
        cmocka_unit_test(x509_device_certificate_carries_id_and_dates),
        cmocka_unit_test(x509_certificate_is_refused_outside_its_time),
        cmocka_unit_test(x509_verify_rejects_foreign_and_altered),
        cmocka_unit_test(x509_server_certificate_names_host_or_address),
        cmocka_unit_test(x509_rejects_broken_contract),
    };
    return cmocka_run_group_tests_name("common/x509", tests, setup, teardown);
}

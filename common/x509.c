/* SPDX-License-Identifier: Apache-2.0 */
/* common/x509.c - the contract is in x509.h; this is why it holds.
 *
 * Time never comes from the machine: the crypto library judges everything but
 * the dates (its two date flags are masked), and the dates are compared here
 * with the moment that the caller gave.
 *
 * Keys cross into the library as DER (SubjectPublicKeyInfo, ECPrivateKey) and
 * back the same way, so anything that is not P-256 fails the comparison in
 * hearth_sign_from_spki, whatever the library could have parsed.
 */
#include "common/x509.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include <mbedtls/oid.h>
#include <mbedtls/pk.h>
#include <mbedtls/version.h>
#include <mbedtls/x509_crt.h>
#include <mbedtls/x509_csr.h>
#include <psa/crypto.h>
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
#include <mbedtls/psa_util.h>
#endif

#include "common/bytes.h"
#include "common/error.h"
#include "common/hash.h"
#include "common/tls_compat.h"

#define DAY_MS    ((int64_t)86400000)
#define HOUR_MS   ((int64_t)3600000)
#define YEAR_9999 ((int64_t)253402300799000) /* RFC 5280 has four digits */

static const char CSR_HEAD[] = "-----BEGIN CERTIFICATE REQUEST-----";

/* Subject alternative name, extended key usage: the OIDs and the two usages. */
static const char OID_SAN[] = {0x55, 0x1d, 0x11};
static const char OID_EKU[] = {0x55, 0x1d, 0x25};
static const uint8_t EKU_SERVER[] = {0x30, 0x0a, 0x06, 0x08, 0x2b, 0x06,
                                     0x01, 0x05, 0x05, 0x07, 0x03, 0x01};
static const uint8_t EKU_CLIENT[] = {0x30, 0x0a, 0x06, 0x08, 0x2b, 0x06,
                                     0x01, 0x05, 0x05, 0x07, 0x03, 0x02};

#define SAN_DNS 0x82 /* [2] dNSName */
#define SAN_IP  0x87 /* [7] iPAddress */

static const char AGAIN[] = "the crypto library failed; try again";

/* ---- dates ------------------------------------------------------------- */

/* Days since 1970-01-01 of a civil date, and back.  The year is taken to start
 * in March, so that the leap day is its last. */
static int64_t days_from_civil(int y, int m, int d) {
    int yy = m <= 2 ? y - 1 : y;
    int era = yy / 400, yoe = yy - era * 400;
    int doy = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
    int doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return (int64_t)era * 146097 + doe - 719468;
}

static void civil_from_days(int64_t days, int *y, int *m, int *d) {
    int64_t z = days + 719468, era = z / 146097;
    int doe = (int)(z - era * 146097);
    int yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int mp = (5 * doy + 2) / 153;
    *d = doy - (153 * mp + 2) / 5 + 1;
    *m = mp < 10 ? mp + 3 : mp - 9;
    *y = (int)(yoe + era * 400) + (*m <= 2 ? 1 : 0);
}

/* "YYYYMMDDhhmmss" of a time in [0, YEAR_9999]. */
static void date_text(char out[15], int64_t ms) {
    int y, m, d;
    int64_t s = ms / 1000, left = s % 86400;
    civil_from_days(s / 86400, &y, &m, &d);
    unsigned part[6] = {(unsigned)y,
                        (unsigned)m,
                        (unsigned)d,
                        (unsigned)(left / 3600),
                        (unsigned)(left / 60 % 60),
                        (unsigned)(left % 60)};
    for (size_t i = 0, at = 0; i < 6; i++) {
        size_t digits = i == 0 ? 4 : 2;
        for (size_t k = digits; k-- > 0; part[i] /= 10)
            out[at + k] = (char)('0' + part[i] % 10);
        at += digits;
    }
    out[14] = '\0';
}

static int64_t date_ms(const mbedtls_x509_time *t) {
    return (days_from_civil(t->year, t->mon, t->day) * 86400 + t->hour * 3600 +
            t->min * 60 + t->sec) *
           1000;
}

/* ---- requests ---------------------------------------------------------- */

/* A private key of ours as the library wants it. */
static bool pk_secret(mbedtls_pk_context *pk, const hearth_sign_keypair *key) {
    return hearth_hash_start() == HEARTH_OK &&
           HEARTH_PK_PARSE_KEY(pk, hearth_sign__der(key),
                               HEARTH_SIGN_DER_BYTES) == 0;
}

/* The public key of pk, when it is a P-256 key. */
static hearth_status pk_public(mbedtls_pk_context *pk,
                               uint8_t pub[HEARTH_SIGN_PUBLIC_BYTES]) {
    uint8_t tmp[256];
    if (mbedtls_pk_get_type(pk) != MBEDTLS_PK_ECKEY) return HEARTH_EFORMAT;
    int n = mbedtls_pk_write_pubkey_der(pk, tmp, sizeof(tmp));
    if (n <= 0) return HEARTH_EFORMAT;
    return hearth_sign_from_spki(tmp + sizeof(tmp) - (size_t)n, (size_t)n, pub);
}

hearth_status hearth_x509_csr_new(char pem[HEARTH_X509_PEM_MAX],
                                  const hearth_sign_keypair *key,
                                  hearth_rng *rng, hearth_error *err) {
    mbedtls_x509write_csr w;
    mbedtls_pk_context pk;
    if (pem) pem[0] = '\0';
    if (!pem || !key || !rng)
        return hearth_error_set(err, HEARTH_EINVAL, "no key for a request");
    mbedtls_x509write_csr_init(&w);
    mbedtls_pk_init(&pk);
    mbedtls_x509write_csr_set_md_alg(&w, MBEDTLS_MD_SHA256);
    bool ok = pk_secret(&pk, key);
    if (ok) mbedtls_x509write_csr_set_key(&w, &pk);
    ok =
        ok &&
        mbedtls_x509write_csr_set_subject_name(&w, "CN=hearth device") == 0 &&
        mbedtls_x509write_csr_pem(&w, (unsigned char *)pem, HEARTH_X509_PEM_MAX,
                                  hearth_rng_mbedtls, rng) == 0;
    mbedtls_x509write_csr_free(&w);
    mbedtls_pk_free(&pk);
    if (ok) return HEARTH_OK;
    pem[0] = '\0';
    return hearth_error_set(err, HEARTH_ENOMEM, "certificate request: %s",
                            AGAIN);
}

/* Is the signature in the request made by the key in it, with SHA-256? */
static bool csr_signed_by(mbedtls_x509_csr *csr) {
    uint8_t digest[HEARTH_SHA256_BYTES];
    if (csr->MBEDTLS_PRIVATE(sig_md) != MBEDTLS_MD_SHA256) return false;
    if (csr->MBEDTLS_PRIVATE(sig_pk) != MBEDTLS_PK_ECDSA) return false;
    if (hearth_sha256(digest, csr->cri.p, csr->cri.len) != HEARTH_OK)
        return false;
    return mbedtls_pk_verify(&csr->pk, MBEDTLS_MD_SHA256, digest,
                             sizeof(digest), csr->MBEDTLS_PRIVATE(sig).p,
                             csr->MBEDTLS_PRIVATE(sig).len) == 0;
}

hearth_status hearth_x509_csr_verify(const char *pem, size_t n,
                                     uint8_t pub[HEARTH_SIGN_PUBLIC_BYTES],
                                     hearth_error *err) {
    char text[HEARTH_X509_PEM_MAX];
    mbedtls_x509_csr csr;
    hearth_status st = HEARTH_EFORMAT;
    if (pub) memset(pub, 0, HEARTH_SIGN_PUBLIC_BYTES);
    if (!pem || !pub)
        return hearth_error_set(err, HEARTH_EINVAL, "no request given");
    if (n >= sizeof(text))
        return hearth_error_set(err, HEARTH_ETOOBIG,
                                "certificate request of %zu bytes; at most %d",
                                n, HEARTH_X509_PEM_MAX - 1);
    memcpy(text, pem, n);
    text[n] = '\0';
    mbedtls_x509_csr_init(&csr);
    if (n > sizeof(CSR_HEAD) &&
        memcmp(text, CSR_HEAD, sizeof(CSR_HEAD) - 1) == 0 &&
        mbedtls_x509_csr_parse(&csr, (unsigned char *)text, n + 1) == 0)
        st = pk_public(&csr.pk, pub);
    if (st == HEARTH_OK && !csr_signed_by(&csr)) st = HEARTH_ESIGNATURE;
    mbedtls_x509_csr_free(&csr);
    if (st == HEARTH_OK) return st;
    memset(pub, 0, HEARTH_SIGN_PUBLIC_BYTES);
    return hearth_error_set(err, st,
                            st == HEARTH_EFORMAT
                                ? "not a PEM certificate request with a P-256 "
                                  "key; make a new one"
                                : "certificate request is not signed by its "
                                  "own key; make a new one");
}

/* ---- certificates ------------------------------------------------------ */

typedef struct {
    const char *subject, *issuer;
    int64_t from_ms, to_ms;
    const uint8_t *san, *eku; /* DER; NULL: none */
    size_t san_n, eku_n;
    bool ca;
} cert_spec;

static bool set_serial(mbedtls_x509write_cert *w, hearth_rng *rng) {
    uint8_t s[16];
    if (hearth_rng_bytes(rng, s, sizeof(s)) != HEARTH_OK) return false;
    s[0] = (uint8_t)((s[0] & 0x3f) | 0x40); /* positive, and 16 bytes long */
#if MBEDTLS_VERSION_NUMBER >= 0x03040000
    return mbedtls_x509write_crt_set_serial_raw(w, s, sizeof(s)) == 0;
#else
    mbedtls_mpi m;
    mbedtls_mpi_init(&m);
    bool ok = mbedtls_mpi_read_binary(&m, s, sizeof(s)) == 0 &&
              mbedtls_x509write_crt_set_serial(w, &m) == 0;
    mbedtls_mpi_free(&m);
    return ok;
#endif
}

static bool set_fields(mbedtls_x509write_cert *w, const cert_spec *c,
                       hearth_rng *rng) {
    char from[15], to[15];
    date_text(from, c->from_ms);
    date_text(to, c->to_ms);
    mbedtls_x509write_crt_set_version(w, MBEDTLS_X509_CRT_VERSION_3);
    mbedtls_x509write_crt_set_md_alg(w, MBEDTLS_MD_SHA256);
    unsigned usage = c->ca ? MBEDTLS_X509_KU_KEY_CERT_SIGN
                           : MBEDTLS_X509_KU_DIGITAL_SIGNATURE;
    return set_serial(w, rng) &&
           mbedtls_x509write_crt_set_validity(w, from, to) == 0 &&
           mbedtls_x509write_crt_set_subject_name(w, c->subject) == 0 &&
           mbedtls_x509write_crt_set_issuer_name(w, c->issuer) == 0 &&
           mbedtls_x509write_crt_set_basic_constraints(w, c->ca,
                                                       c->ca ? 0 : -1) == 0 &&
           mbedtls_x509write_crt_set_key_usage(w, usage) == 0 &&
           (!c->eku ||
            mbedtls_x509write_crt_set_extension(w, OID_EKU, sizeof(OID_EKU), 0,
                                                c->eku, c->eku_n) == 0) &&
           (!c->san ||
            mbedtls_x509write_crt_set_extension(w, OID_SAN, sizeof(OID_SAN), 0,
                                                c->san, c->san_n) == 0);
}

/* Write the certificate of subject's key, signed by issuer. */
static hearth_status write_cert(char pem[HEARTH_X509_PEM_MAX],
                                const cert_spec *c, mbedtls_pk_context *subject,
                                mbedtls_pk_context *issuer, hearth_rng *rng,
                                hearth_error *err) {
    mbedtls_x509write_cert w;
    mbedtls_x509write_crt_init(&w);
    mbedtls_x509write_crt_set_subject_key(&w, subject);
    mbedtls_x509write_crt_set_issuer_key(&w, issuer);
    bool ok =
        set_fields(&w, c, rng) &&
        mbedtls_x509write_crt_pem(&w, (unsigned char *)pem, HEARTH_X509_PEM_MAX,
                                  hearth_rng_mbedtls, rng) == 0;
    mbedtls_x509write_crt_free(&w);
    if (ok) return HEARTH_OK;
    pem[0] = '\0';
    return hearth_error_set(err, HEARTH_ENOMEM, "certificate: %s", AGAIN);
}

static hearth_status write_self(char pem[HEARTH_X509_PEM_MAX],
                                const cert_spec *c,
                                const hearth_sign_keypair *key, hearth_rng *rng,
                                hearth_error *err) {
    mbedtls_pk_context pk;
    mbedtls_pk_init(&pk);
    hearth_status st =
        pk_secret(&pk, key)
            ? write_cert(pem, c, &pk, &pk, rng, err)
            : hearth_error_set(err, HEARTH_ENOMEM, "certificate: %s", AGAIN);
    mbedtls_pk_free(&pk);
    return st;
}

/* Characters that need no escaping in a name or host. */
static bool plain(const char *s, size_t max, bool id) {
    static const char extra[] = " .-:";
    size_t n = 0;
    for (; s[n]; n++) {
        char ch = s[n];
        bool low = (ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9');
        bool ok = id ? low || ch == '-'
                     : low || (ch >= 'A' && ch <= 'Z') || strchr(extra, ch);
        if (!ok || n >= max) return false;
    }
    return n > 0;
}

/* The span [now - an hour, now + days] as the spec's validity. */
static bool set_span(cert_spec *c, int64_t now_ms, unsigned days) {
    if (now_ms < HOUR_MS || now_ms > YEAR_9999 || days == 0 || days > 36500)
        return false;
    c->from_ms = now_ms - HOUR_MS;
    c->to_ms = now_ms + (int64_t)days * DAY_MS;
    return c->to_ms <= YEAR_9999;
}

hearth_status hearth_x509_self_ca(char pem[HEARTH_X509_PEM_MAX],
                                  const hearth_sign_keypair *key,
                                  const char *name, int64_t now_ms,
                                  unsigned days, hearth_rng *rng,
                                  hearth_error *err) {
    char subject[96];
    cert_spec c = {0};
    if (pem) pem[0] = '\0';
    if (!pem || !key || !name || !rng || !plain(name, 63, false) ||
        !set_span(&c, now_ms, days))
        return hearth_error_set(err, HEARTH_EINVAL,
                                "bad name or time for a CA certificate");
    (void)snprintf(subject, sizeof(subject), "O=Hearth,CN=%s", name);
    c.subject = c.issuer = subject;
    c.ca = true;
    return write_self(pem, &c, key, rng, err);
}

/* GeneralNames with one entry: an address when host is one, else a name. */
static size_t san_of(uint8_t out[4 + HEARTH_X509_HOST_MAX + 2],
                     const char *host) {
    uint8_t addr[16];
    const void *v = host;
    size_t n = strlen(host);
    uint8_t tag = SAN_DNS;
    if (inet_pton(AF_INET, host, addr) == 1) {
        v = addr, n = 4, tag = SAN_IP;
    } else if (inet_pton(AF_INET6, host, addr) == 1) {
        v = addr, n = 16, tag = SAN_IP;
    }
    size_t inner = n + (n < 128 ? 2 : 3), at = 0;
    out[at++] = 0x30;
    if (inner >= 128) out[at++] = inner < 256 ? 0x81 : 0x82;
    if (inner >= 256) out[at++] = (uint8_t)(inner >> 8);
    out[at++] = (uint8_t)inner;
    out[at++] = tag;
    if (n >= 128) out[at++] = 0x81;
    out[at++] = (uint8_t)n;
    memcpy(out + at, v, n);
    return at + n;
}

hearth_status hearth_x509_self_server(char pem[HEARTH_X509_PEM_MAX],
                                      const hearth_sign_keypair *key,
                                      const char *host, int64_t now_ms,
                                      unsigned days, hearth_rng *rng,
                                      hearth_error *err) {
    uint8_t san[8 + HEARTH_X509_HOST_MAX];
    cert_spec c = {0};
    if (pem) pem[0] = '\0';
    if (!pem || !key || !host || !rng ||
        !plain(host, HEARTH_X509_HOST_MAX, false) ||
        !set_span(&c, now_ms, days))
        return hearth_error_set(err, HEARTH_EINVAL,
                                "bad host or time for a server certificate; "
                                "give a DNS name or an address");
    c.subject = c.issuer = "O=Hearth,CN=hearthd";
    c.san = san;
    c.san_n = san_of(san, host);
    c.eku = EKU_SERVER;
    c.eku_n = sizeof(EKU_SERVER);
    return write_self(pem, &c, key, rng, err);
}

/* The CA's certificate must be one, and of this key; its subject is issuer. */
static hearth_status read_ca(const hearth_sign_keypair *ca, const char *ca_pem,
                             char *issuer, size_t cap) {
    mbedtls_x509_crt crt;
    uint8_t pub[HEARTH_SIGN_PUBLIC_BYTES];
    hearth_status st = HEARTH_EFORMAT;
    size_t n = strlen(ca_pem);
    mbedtls_x509_crt_init(&crt);
    if (n < HEARTH_X509_PEM_MAX &&
        mbedtls_x509_crt_parse(&crt, (const unsigned char *)ca_pem, n + 1) ==
            0 &&
        crt.MBEDTLS_PRIVATE(ca_istrue) &&
        mbedtls_x509_dn_gets(issuer, cap, &crt.subject) > 0 &&
        pk_public(&crt.pk, pub) == HEARTH_OK &&
        memcmp(pub, hearth_sign_public(ca), sizeof(pub)) == 0)
        st = HEARTH_OK;
    mbedtls_x509_crt_free(&crt);
    return st;
}

hearth_status hearth_x509_issue(char pem[HEARTH_X509_PEM_MAX],
                                const hearth_sign_keypair *ca,
                                const char *ca_pem,
                                const uint8_t pub[HEARTH_SIGN_PUBLIC_BYTES],
                                const char *device_id, int64_t now_ms,
                                unsigned days, hearth_rng *rng,
                                hearth_error *err) {
    uint8_t san[8 + HEARTH_X509_HOST_MAX], spki[HEARTH_SIGN_SPKI_BYTES];
    char subject[96], issuer[256];
    mbedtls_pk_context subject_pk, ca_pk;
    cert_spec c = {0};
    if (pem) pem[0] = '\0';
    if (!pem || !ca || !ca_pem || !pub || !device_id || !rng ||
        !plain(device_id, HEARTH_X509_ID_MAX, true) ||
        !set_span(&c, now_ms, days))
        return hearth_error_set(err, HEARTH_EINVAL,
                                "bad device id or time for a certificate");
    mbedtls_pk_init(&subject_pk);
    mbedtls_pk_init(&ca_pk);
    hearth_status st = read_ca(ca, ca_pem, issuer, sizeof(issuer));
    hearth_sign_spki(pub, spki);
    if (st == HEARTH_OK &&
        mbedtls_pk_parse_public_key(&subject_pk, spki, sizeof(spki)) != 0)
        st = HEARTH_EFORMAT;
    if (st != HEARTH_OK) {
        st = hearth_error_set(err, st,
                              "the CA certificate is not one of the CA key, or "
                              "the device's key is no P-256 point");
    } else if (!pk_secret(&ca_pk, ca)) {
        st = hearth_error_set(err, HEARTH_ENOMEM, "certificate: %s", AGAIN);
    } else {
        (void)snprintf(subject, sizeof(subject), "O=Hearth,CN=%s", device_id);
        c.subject = subject;
        c.issuer = issuer;
        c.san = san;
        c.san_n = san_of(san, device_id);
        c.eku = EKU_CLIENT;
        c.eku_n = sizeof(EKU_CLIENT);
        st = write_cert(pem, &c, &subject_pk, &ca_pk, rng, err);
    }
    mbedtls_pk_free(&subject_pk);
    mbedtls_pk_free(&ca_pk);
    return st;
}

/* ---- reading ----------------------------------------------------------- */

static void first_dns_name(char out[HEARTH_X509_HOST_MAX + 1],
                           const mbedtls_x509_crt *crt) {
    out[0] = '\0';
    for (const mbedtls_x509_sequence *s = &crt->subject_alt_names; s;
         s = s->next) {
        if (s->buf.tag != SAN_DNS || s->buf.len > HEARTH_X509_HOST_MAX ||
            s->buf.len == 0)
            continue;
        memcpy(out, s->buf.p, s->buf.len);
        out[s->buf.len] = '\0';
        if (!plain(out, HEARTH_X509_HOST_MAX, false)) out[0] = '\0';
        return;
    }
}

/* Parse exactly one certificate, PEM (it starts with dashes) or DER. */
static hearth_status parse_one(mbedtls_x509_crt *crt, hearth_x509_info *info,
                               const void *cert, size_t n) {
    unsigned char text[HEARTH_X509_PEM_MAX];
    int rc;
    memcpy(text, cert, n);
    text[n] = '\0';
    if (text[0] == '-')
        rc = mbedtls_x509_crt_parse(crt, text, n + 1);
    else
        rc = mbedtls_x509_crt_parse_der(crt, text, n);
    if (rc != 0 || crt->next) return HEARTH_EFORMAT;
    if (pk_public(&crt->pk, info->pub) != HEARTH_OK) return HEARTH_EFORMAT;
    first_dns_name(info->id, crt);
    info->not_before_ms = date_ms(&crt->valid_from);
    info->not_after_ms = date_ms(&crt->valid_to);
    info->is_ca = crt->MBEDTLS_PRIVATE(ca_istrue) != 0;
    return HEARTH_OK;
}

static hearth_status read_into(mbedtls_x509_crt *crt, hearth_x509_info *info,
                               const void *cert, size_t n, hearth_error *err) {
    if (info) memset(info, 0, sizeof(*info));
    if (!info || !cert)
        return hearth_error_set(err, HEARTH_EINVAL, "no certificate given");
    if (n >= HEARTH_X509_PEM_MAX)
        return hearth_error_set(err, HEARTH_ETOOBIG,
                                "certificate of %zu bytes; at most %d", n,
                                HEARTH_X509_PEM_MAX - 1);
    if (parse_one(crt, info, cert, n) == HEARTH_OK) return HEARTH_OK;
    memset(info, 0, sizeof(*info));
    return hearth_error_set(err, HEARTH_EFORMAT,
                            "not a certificate with a P-256 key; enrol again");
}

hearth_status hearth_x509_read(hearth_x509_info *info, const void *cert,
                               size_t n, hearth_error *err) {
    mbedtls_x509_crt crt;
    mbedtls_x509_crt_init(&crt);
    hearth_status st = read_into(&crt, info, cert, n, err);
    mbedtls_x509_crt_free(&crt);
    return st;
}

static bool in_time(const mbedtls_x509_crt *crt, int64_t now_ms) {
    return now_ms >= date_ms(&crt->valid_from) &&
           now_ms <= date_ms(&crt->valid_to);
}

hearth_status hearth_x509_verify(hearth_x509_info *info, const void *cert,
                                 size_t n, const char *ca_pem, int64_t now_ms,
                                 hearth_error *err) {
    mbedtls_x509_crt crt, ca;
    uint32_t flags = 0;
    mbedtls_x509_crt_init(&crt);
    mbedtls_x509_crt_init(&ca);
    hearth_status st = ca_pem ? read_into(&crt, info, cert, n, err)
                              : hearth_error_set(err, HEARTH_EINVAL, "no CA");
    if (st != HEARTH_OK) goto done;
    if (mbedtls_x509_crt_parse(&ca, (const unsigned char *)ca_pem,
                               strlen(ca_pem) + 1) != 0) {
        st = hearth_error_set(err, HEARTH_EFORMAT,
                              "the CA certificate can not be read");
        goto done;
    }
    int rc = mbedtls_x509_crt_verify(&crt, &ca, NULL, NULL, &flags, NULL, NULL);
    flags &=
        ~(uint32_t)(MBEDTLS_X509_BADCERT_EXPIRED | MBEDTLS_X509_BADCERT_FUTURE);
    if (flags != 0 || info->is_ca ||
        (rc != 0 && rc != MBEDTLS_ERR_X509_CERT_VERIFY_FAILED)) {
        memset(info, 0, sizeof(*info));
        st = hearth_error_set(err, HEARTH_ESIGNATURE,
                              "certificate is not from this CA; enrol again");
    } else if (!in_time(&crt, now_ms) || !in_time(&ca, now_ms)) {
        st = hearth_error_set(err, HEARTH_EEXPIRED,
                              "certificate is outside its time; check the "
                              "clock, or enrol again");
    }

done:
    mbedtls_x509_crt_free(&crt);
    mbedtls_x509_crt_free(&ca);
    return st;
}

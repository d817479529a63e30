/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/tls.c - the contract is in tls.h.
 *
 * The crypto library reads and writes through two callbacks; here they take
 * from and append to buffers, so that no socket is needed.  Its verdict on the
 * client's chain is kept but for the two date flags: dates are compared with
 * our clock, also when a session is resumed from a ticket.
 */
#include "coordinator/tls.h"

#include <string.h>

#include <mbedtls/pk.h>
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_ticket.h>
#include <mbedtls/version.h>
#include <mbedtls/x509_crt.h>
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
#include <mbedtls/psa_util.h>
#endif

#include "common/error.h"
#include "common/hash.h"
#include "common/mem.h"
#include "common/tls_compat.h"

#define TICKET_LIFE_S 86400

struct hearth_tls_server {
    hearth_alloc al;
    mbedtls_ssl_config conf;
    mbedtls_ssl_ticket_context tickets;
    mbedtls_x509_crt cert, ca;
    mbedtls_pk_context key;
    hearth_rng *rng;
    hearth_clock clock;
};

struct hearth_tls {
    hearth_tls_server *server;
    mbedtls_ssl_context ssl;
    hearth_buf in, out;
    size_t in_at; /* of in.v, already given to the library */
    bool established, failed;
};

/* ---- server ------------------------------------------------------------ */

static int parse_pem(mbedtls_x509_crt *crt, const char *pem) {
    return mbedtls_x509_crt_parse(crt, (const unsigned char *)pem,
                                  strlen(pem) + 1);
}

/* The certificate must be of this key, or every handshake would fail. */
static bool load_keys(hearth_tls_server *s, const hearth_tls_config *cfg) {
    hearth_x509_info info;
    if (HEARTH_PK_PARSE_KEY(&s->key, hearth_sign__der(cfg->key),
                            HEARTH_SIGN_DER_BYTES) != 0)
        return false;
    if (parse_pem(&s->cert, cfg->cert_pem) != 0) return false;
    if (parse_pem(&s->ca, cfg->device_ca_pem) != 0) return false;
    return hearth_x509_read(&info, cfg->cert_pem, strlen(cfg->cert_pem),
                            NULL) == HEARTH_OK &&
           memcmp(info.pub, hearth_sign_public(cfg->key), sizeof(info.pub)) ==
               0;
}

/* Forward secret and authenticated, for a P-256 key: nothing else is left. */
static const int suites[] = {
#if defined(MBEDTLS_SSL_PROTO_TLS1_3)
    MBEDTLS_TLS1_3_AES_128_GCM_SHA256,
    MBEDTLS_TLS1_3_AES_256_GCM_SHA384,
    MBEDTLS_TLS1_3_CHACHA20_POLY1305_SHA256,
#endif
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    0};

static bool configure(hearth_tls_server *s) {
    static const char *alpn[] = {"http/1.1", NULL};
    mbedtls_ssl_config *c = &s->conf;
    if (mbedtls_ssl_config_defaults(c, MBEDTLS_SSL_IS_SERVER,
                                    MBEDTLS_SSL_TRANSPORT_STREAM,
                                    MBEDTLS_SSL_PRESET_DEFAULT) != 0)
        return false;
    HEARTH_SSL_CONF_MIN_TLS12(c);
    mbedtls_ssl_conf_ciphersuites(c, suites);
#if defined(MBEDTLS_SSL_RENEGOTIATION)
    mbedtls_ssl_conf_renegotiation(c, MBEDTLS_SSL_RENEGOTIATION_DISABLED);
#endif
    mbedtls_ssl_conf_rng(c, hearth_rng_mbedtls, s->rng);
    mbedtls_ssl_conf_authmode(c, MBEDTLS_SSL_VERIFY_OPTIONAL);
    mbedtls_ssl_conf_ca_chain(c, &s->ca, NULL);
    if (mbedtls_ssl_conf_own_cert(c, &s->cert, &s->key) != 0) return false;
    if (mbedtls_ssl_conf_alpn_protocols(c, alpn) != 0) return false;
    if (mbedtls_ssl_ticket_setup(&s->tickets, hearth_rng_mbedtls, s->rng,
                                 MBEDTLS_CIPHER_AES_256_GCM,
                                 TICKET_LIFE_S) != 0)
        return false;
    mbedtls_ssl_conf_session_tickets_cb(c, mbedtls_ssl_ticket_write,
                                        mbedtls_ssl_ticket_parse, &s->tickets);
    return true;
}

hearth_status hearth_tls_server_open(hearth_tls_server **out,
                                     const hearth_tls_config *cfg,
                                     hearth_error *err) {
    if (out) *out = NULL;
    if (!out || !cfg || !cfg->key || !cfg->cert_pem || !cfg->device_ca_pem ||
        !cfg->rng || !cfg->clock.wall_ms)
        return hearth_error_set(err, HEARTH_EINVAL, "TLS: incomplete settings");
    hearth_status st = hearth_hash_start();
    if (st != HEARTH_OK) return st;
    const hearth_alloc *al = hearth_mem_or_default(cfg->al);
    hearth_tls_server *s = hearth_mem_new(al, sizeof(*s));
    if (!s) return hearth_error_set(err, HEARTH_ENOMEM, "TLS: no memory");
    s->al = *al;
    s->rng = cfg->rng;
    s->clock = cfg->clock;
    mbedtls_ssl_config_init(&s->conf);
    mbedtls_ssl_ticket_init(&s->tickets);
    mbedtls_x509_crt_init(&s->cert);
    mbedtls_x509_crt_init(&s->ca);
    mbedtls_pk_init(&s->key);
    if (!load_keys(s, cfg))
        st = hearth_error_set(err, HEARTH_EFORMAT,
                              "TLS: the server's certificate does not fit its "
                              "key, or the device CA can not be read; run "
                              "`hearthd init` in a new folder");
    else if (!configure(s))
        st = hearth_error_set(err, HEARTH_ENOMEM, "TLS: can not be set up");
    if (st != HEARTH_OK) {
        hearth_tls_server_close(s);
        return st;
    }
    *out = s;
    return HEARTH_OK;
}

void hearth_tls_server_close(hearth_tls_server *s) {
    if (!s) return;
    hearth_alloc al = s->al;
    mbedtls_ssl_config_free(&s->conf);
    mbedtls_ssl_ticket_free(&s->tickets);
    mbedtls_x509_crt_free(&s->cert);
    mbedtls_x509_crt_free(&s->ca);
    mbedtls_pk_free(&s->key);
    hearth_mem_free(&al, s);
}

/* ---- connection -------------------------------------------------------- */

static int bio_send(void *ctx, const unsigned char *p, size_t n) {
    hearth_tls *t = ctx;
    return hearth_buf_append(&t->out, p, n) == HEARTH_OK
               ? (int)n
               : MBEDTLS_ERR_SSL_ALLOC_FAILED;
}

static int bio_recv(void *ctx, unsigned char *p, size_t n) {
    hearth_tls *t = ctx;
    size_t left = t->in.n - t->in_at;
    if (left == 0) return MBEDTLS_ERR_SSL_WANT_READ;
    if (n > left) n = left;
    memcpy(p, t->in.v + t->in_at, n);
    t->in_at += n;
    if (t->in_at == t->in.n) { /* keep no memory while nothing waits */
        hearth_buf_free(&t->in);
        t->in_at = 0;
    }
    return (int)n;
}

hearth_status hearth_tls_new(hearth_tls **out, hearth_tls_server *s) {
    hearth_tls *t = hearth_mem_new(&s->al, sizeof(*t));
    *out = NULL;
    if (!t) return HEARTH_ENOMEM;
    t->server = s;
    t->in = (hearth_buf)HEARTH_BUF_INIT(&s->al);
    t->out = (hearth_buf)HEARTH_BUF_INIT(&s->al);
    mbedtls_ssl_init(&t->ssl);
    if (mbedtls_ssl_setup(&t->ssl, &s->conf) != 0) {
        hearth_tls_free(t);
        return HEARTH_ENOMEM;
    }
    mbedtls_ssl_set_bio(&t->ssl, t, bio_send, bio_recv, NULL);
    *out = t;
    return HEARTH_OK;
}

void hearth_tls_free(hearth_tls *t) {
    if (!t) return;
    hearth_alloc al = t->server->al;
    mbedtls_ssl_free(&t->ssl);
    hearth_buf_free(&t->in);
    hearth_buf_free(&t->out);
    hearth_mem_free(&al, t);
}

hearth_status hearth_tls_give(hearth_tls *t, const void *p, size_t n) {
    return hearth_buf_append(&t->in, p, n);
}

static hearth_status failed(hearth_tls *t, int rc) {
    t->failed = true;
    if (rc == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY || rc == 0)
        return HEARTH_ECANCELLED;
    if (rc == MBEDTLS_ERR_SSL_ALLOC_FAILED) return HEARTH_ENOMEM;
    return HEARTH_EFORMAT;
}

hearth_status hearth_tls_read(hearth_tls *t, uint8_t *out, size_t cap,
                              size_t *n) {
    *n = 0;
    if (t->failed) return HEARTH_ECANCELLED;
    if (!t->established) {
        int rc = mbedtls_ssl_handshake(&t->ssl);
        if (rc == MBEDTLS_ERR_SSL_WANT_READ || rc == MBEDTLS_ERR_SSL_WANT_WRITE)
            return HEARTH_OK;
        if (rc != 0) return failed(t, rc ? rc : MBEDTLS_ERR_SSL_INTERNAL_ERROR);
        t->established = true;
    }
    int got = mbedtls_ssl_read(&t->ssl, out, cap);
    if (got > 0) {
        *n = (size_t)got;
        return HEARTH_OK;
    }
    if (got == MBEDTLS_ERR_SSL_WANT_READ || got == MBEDTLS_ERR_SSL_WANT_WRITE)
        return HEARTH_OK;
    return failed(t, got);
}

hearth_status hearth_tls_write(hearth_tls *t, const void *p, size_t n) {
    const unsigned char *at = p;
    if (!t->established || t->failed) return HEARTH_ESTATE;
    while (n > 0) {
        int rc = mbedtls_ssl_write(&t->ssl, at, n);
        if (rc == MBEDTLS_ERR_SSL_WANT_WRITE || rc == MBEDTLS_ERR_SSL_WANT_READ)
            return failed(t,
                          MBEDTLS_ERR_SSL_INTERNAL_ERROR); /* never: buffer */
        if (rc < 0) return failed(t, rc);
        at += rc;
        n -= (size_t)rc;
    }
    return HEARTH_OK;
}

void hearth_tls_close_notify(hearth_tls *t) {
    if (t->established && !t->failed) (void)mbedtls_ssl_close_notify(&t->ssl);
    t->failed = true;
}

const uint8_t *hearth_tls_output(const hearth_tls *t, size_t *n) {
    *n = t->out.n;
    return t->out.v;
}

void hearth_tls_output_taken(hearth_tls *t) {
    hearth_buf_free(&t->out);
}

void hearth_tls_output_move(hearth_tls *t, hearth_buf *out) {
    *out = t->out;
    t->out = (hearth_buf)HEARTH_BUF_INIT(&t->server->al);
}

bool hearth_tls_established(const hearth_tls *t) {
    return t->established;
}

/* Is the leaf's usage and id that of a device?  Dates too. */
static hearth_status judge(const hearth_tls *t, const mbedtls_x509_crt *crt,
                           char id[HEARTH_X509_ID_MAX + 1]) {
    hearth_x509_info info;
    uint32_t flags = mbedtls_ssl_get_verify_result(&t->ssl);
    flags &=
        ~(uint32_t)(MBEDTLS_X509_BADCERT_EXPIRED | MBEDTLS_X509_BADCERT_FUTURE);
    if (flags != 0 ||
        hearth_x509_read(&info, crt->raw.p, crt->raw.len, NULL) != HEARTH_OK ||
        info.is_ca || !info.id[0] || strlen(info.id) > HEARTH_X509_ID_MAX)
        return HEARTH_ESIGNATURE;
    int64_t now = hearth_clock_wall(&t->server->clock);
    if (now < info.not_before_ms || now > info.not_after_ms)
        return HEARTH_EEXPIRED;
    memcpy(id, info.id, strlen(info.id) + 1);
    return HEARTH_OK;
}

hearth_status hearth_tls_peer(const hearth_tls *t,
                              char id[HEARTH_X509_ID_MAX + 1]) {
    id[0] = '\0';
    if (!t->established) return HEARTH_ENOTFOUND;
    const mbedtls_x509_crt *crt = mbedtls_ssl_get_peer_cert(&t->ssl);
    return crt ? judge(t, crt, id) : HEARTH_ENOTFOUND;
}

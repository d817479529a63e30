/* SPDX-License-Identifier: Apache-2.0 */
/* client/net/enroll.c - the contract is in enroll.h.
 *
 * What is sent to whom: the keyset connection sends nothing but a GET, so an
 * impostor learns that a device exists and no more.  The token and the CSR go
 * over a connection whose TLS key the root has signed.  The certificate that
 * comes back is checked against the CA of the keyset and against our own key,
 * so that a coordinator cannot make a device use someone else's identity.
 */
#include "client/net/enroll.h"

#include <string.h>

#include "client/net/setting_store.h"
#include "client/net/transport_curl.h"
#include "client/net/trust.h"
#include "common/bytes.h"
#include "common/failpoint.h"
#include "common/mem.h"
#include "common/sign.h"
#include "common/x509.h"

/* The large messages of one operation: too much for a small stack. */
typedef struct {
    hearth_keyset ks, old;
    hearth_enroll_request enroll;
    hearth_renew_request renew;
    hearth_enroll_reply reply;
} work;

static work *work_new(const hearth_alloc *al) {
    return hearth_mem_new(al, sizeof(work));
}

static void work_free(work *w, const hearth_alloc *al) {
    if (w) hearth_zeroize(w, sizeof(*w));
    hearth_mem_free(al, w);
}

/* Wipe and free a setting. */
static void drop(char **s, const hearth_alloc *al) {
    if (*s) hearth_zeroize(*s, strlen(*s));
    hearth_mem_free(al, *s);
    *s = NULL;
}

/* GET the keyset over a connection that trusts nobody; its bytes in body. */
static hearth_status fetch_keyset(const hearth_dialer *dialer,
                                  const char *server, hearth_buf *bytes,
                                  const hearth_alloc *al, hearth_error *err) {
    hearth_transport tr = {0};
    hearth_reply_info info;
    hearth_http_req rq = HEARTH_HTTP_REQ_INIT;
    hearth_http_resp rp;
    rq.path = "/v1/keyset";
    rq.max_body = HEARTH_PROTO_MAX_BODY;
    hearth_status st =
        dialer->open(dialer->ud, server, NULL, NULL, NULL, &tr, err);
    if (st != HEARTH_OK) return st;
    hearth_http_resp_init(&rp, al);
    st = hearth_transport_request(&tr, &rq, &rp, err);
    if (st == HEARTH_OK) st = hearth_reply_check(&rp, "keyset", &info, err);
    if (st == HEARTH_OK) st = hearth_buf_append(bytes, rp.body.v, rp.body.n);
    hearth_http_resp_free(&rp);
    dialer->close(dialer->ud, &tr);
    return st;
}

/* Fetch, verify, compare with the stored one, store. */
static hearth_status take_keyset(const hearth_dialer *dialer,
                                 const char *server, const char *root_pin,
                                 hearth_db *db, int64_t now_ms, work *w,
                                 bool *changed, const hearth_alloc *al,
                                 hearth_error *err) {
    hearth_buf bytes = HEARTH_BUF_INIT(al);
    char *have = NULL;
    size_t n_have = 0;
    *changed = false;
    hearth_status st = fetch_keyset(dialer, server, &bytes, al, err);
    if (st == HEARTH_OK)
        st = hearth_trust_keyset(&w->ks, bytes.v, bytes.n, root_pin, now_ms,
                                 err);
    if (st == HEARTH_OK)
        st = hearth_setting_get(db, HEARTH_SETTING_KEYSET, &have, &n_have, al,
                                err);
    if (st == HEARTH_OK && have &&
        hearth_trust_keyset(&w->old, (uint8_t *)have, n_have, root_pin, 0,
                            NULL) == HEARTH_OK) {
        if (w->ks.version < w->old.version)
            st = hearth_error_set(err, HEARTH_EREPLAY,
                                  "the coordinator shows an older keyset than "
                                  "before; tell its operator");
        else if (w->ks.version == w->old.version)
            goto done;
    }
    if (st == HEARTH_OK)
        st = hearth_setting_set(db, HEARTH_SETTING_KEYSET, bytes.v, bytes.n,
                                err);
    if (st == HEARTH_OK) *changed = true;
done:
    hearth_mem_free(al, have);
    hearth_buf_free(&bytes);
    return st;
}

/* Refuse to overwrite a state that has joined someone else; one that tried and
 * got no certificate belongs to nobody yet. */
static hearth_status check_owner(const hearth_enroll_config *c,
                                 hearth_error *err) {
    char *cert = NULL;
    hearth_status got =
        hearth_setting_get(c->db, HEARTH_SETTING_CERT, &cert, NULL, c->al, err);
    bool joined = cert != NULL;
    drop(&cert, c->al);
    if (got != HEARTH_OK || !joined) return got;
    static const char *const name[] = {HEARTH_SETTING_SERVER,
                                       HEARTH_SETTING_ROOT};
    const char *want[] = {c->server, c->root_pin};
    for (size_t i = 0; i < 2; i++) {
        char *is = NULL;
        hearth_status st =
            hearth_setting_get(c->db, name[i], &is, NULL, c->al, err);
        if (st == HEARTH_OK && is && strcmp(is, want[i]) != 0)
            st = hearth_error_set(err, HEARTH_EEXISTS,
                                  "this state has joined another coordinator "
                                  "(%s is %.100s); use another state folder",
                                  name[i], is);
        hearth_mem_free(c->al, is);
        if (st != HEARTH_OK) return st;
    }
    return HEARTH_OK;
}

/* The device's key and its CSR: those stored, or new ones, stored. */
static hearth_status get_key(const hearth_enroll_config *c,
                             hearth_sign_keypair **key, char **csr,
                             hearth_error *err) {
    char *pem = NULL, text[HEARTH_SIGN_PEM_MAX] = {0};
    char request[HEARTH_X509_PEM_MAX];
    hearth_status st =
        hearth_setting_get(c->db, HEARTH_SETTING_KEY, &pem, NULL, c->al, err);
    if (st == HEARTH_OK)
        st = hearth_setting_get(c->db, HEARTH_SETTING_CSR, csr, NULL, c->al,
                                err);
    if (st != HEARTH_OK) goto done;
    if (pem && *csr) {
        st = hearth_sign_from_pem(key, pem, strlen(pem), c->al, err);
        goto done;
    }
    drop(csr, c->al);
    if ((st = hearth_sign_generate(key, c->rng, c->al, err)) != HEARTH_OK)
        goto done;
    if ((st = hearth_sign_to_pem(*key, text)) != HEARTH_OK) goto done;
    st = hearth_x509_csr_new(request, *key, c->rng, err);
    if (st != HEARTH_OK) goto done;
    st = HEARTH_ENOMEM;
    if (!(*csr = hearth_mem_strdup(c->al, request))) goto done;
    if ((st = hearth_db_begin(c->db, err)) != HEARTH_OK) goto done;
    st = hearth_setting_set_str(c->db, HEARTH_SETTING_KEY, text, err);
    if (st == HEARTH_OK)
        st = hearth_setting_set_str(c->db, HEARTH_SETTING_CSR, *csr, err);
    if (st == HEARTH_OK)
        st = hearth_db_commit(c->db, err);
    else
        hearth_db_rollback(c->db);
done:
    drop(&pem, c->al);
    hearth_zeroize(text, sizeof(text));
    return st;
}

/* The certificate must be the CA's, for our key, with the id we were told. */
static hearth_status check_cert(const hearth_enroll_reply *r,
                                const char *ca_pem, const uint8_t *pub,
                                int64_t now_ms, hearth_error *err) {
    hearth_x509_info info;
    hearth_status st = hearth_x509_verify(
        &info, r->cert_pem, strlen(r->cert_pem), ca_pem, now_ms, err);
    if (st != HEARTH_OK) return st;
    if (memcmp(info.pub, pub, HEARTH_SIGN_PUBLIC_BYTES) != 0 ||
        strcmp(info.id, r->device_id) != 0)
        return hearth_error_set(err, HEARTH_ESIGNATURE,
                                "the certificate that came is not for this "
                                "device's key; tell the operator");
    return HEARTH_OK;
}

static hearth_status store_cert(hearth_db *db, const hearth_enroll_reply *r,
                                hearth_error *err) {
    hearth_status st = hearth_db_begin(db, err);
    if (st != HEARTH_OK) return st;
    st = hearth_setting_set_str(db, HEARTH_SETTING_DEVICE, r->device_id, err);
    if (st == HEARTH_OK)
        st = hearth_setting_set_str(db, HEARTH_SETTING_CERT, r->cert_pem, err);
    if (st == HEARTH_OK) return hearth_db_commit(db, err);
    hearth_db_rollback(db);
    return st;
}

/* POST a message and read the reply to enrol and renew. */
static hearth_status post(const hearth_transport *tr, const char *path,
                          const char *what, hearth_buf *body, bool use_cert,
                          hearth_enroll_reply *out, const hearth_alloc *al,
                          hearth_error *err) {
    hearth_http_req rq = HEARTH_HTTP_REQ_INIT;
    hearth_http_resp rp;
    hearth_reply_info info;
    rq.method = HEARTH_HTTP_POST;
    rq.path = path;
    rq.body = body->v;
    rq.n_body = body->n;
    rq.use_cert = use_cert;
    hearth_http_resp_init(&rp, al);
    hearth_status st = hearth_transport_request(tr, &rq, &rp, err);
    if (st == HEARTH_OK) st = hearth_reply_check(&rp, what, &info, err);
    if (st == HEARTH_OK)
        st = hearth_decode_enroll_reply(out, rp.body.v, rp.body.n, err);
    hearth_http_resp_free(&rp);
    return st;
}

static hearth_status request_cert(const hearth_enroll_config *c, work *w,
                                  const hearth_sign_keypair *key,
                                  const char *csr, hearth_error *err) {
    hearth_transport tr = {0};
    hearth_buf body = HEARTH_BUF_INIT(c->al), pins = HEARTH_BUF_INIT(c->al);
    if (strlen(csr) >= sizeof(w->enroll.csr_pem)) return HEARTH_ETOOBIG;
    memcpy(w->enroll.token, c->token, strlen(c->token) + 1);
    memcpy(w->enroll.csr_pem, csr, strlen(csr) + 1);
    hearth_status st = hearth_trust_pins(&w->ks, &pins);
    if (st == HEARTH_OK) st = hearth_encode_enroll_request(&body, &w->enroll);
    if (st == HEARTH_OK)
        st = c->dialer->open(c->dialer->ud, c->server, hearth_buf_str(&pins),
                             NULL, NULL, &tr, err);
    if (st == HEARTH_OK)
        st = post(&tr, "/v1/enroll", "enrol", &body, false, &w->reply, c->al,
                  err);
    if (st == HEARTH_OK)
        st = check_cert(&w->reply, w->ks.device_ca_pem, hearth_sign_public(key),
                        hearth_clock_wall(&c->clock), err);
    if (st == HEARTH_OK) {
        HEARTH_FAILPOINT("enroll.before_store");
        st = store_cert(c->db, &w->reply, err);
    }
    c->dialer->close(c->dialer->ud, &tr);
    hearth_buf_free(&body);
    hearth_buf_free(&pins);
    return st;
}

static hearth_status check_config(const hearth_enroll_config *c,
                                  hearth_error *err) {
    if (!c || !c->db || !c->dialer || !c->rng || !c->base || !*c->base)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "server, token, root and base are needed");
    if (!hearth_transport_curl_url_ok(c->server))
        return hearth_error_set(err, HEARTH_EINVAL,
                                "'%.100s' is not an address of the form "
                                "https://host:port",
                                c->server ? c->server : "");
    if (!hearth_trust_pin_ok(c->root_pin))
        return hearth_error_set(err, HEARTH_EINVAL,
                                "the root pin is not of the form sha256//.. "
                                "with 44 characters; copy it from `hearthd "
                                "init`");
    if (!c->token || !*c->token || strlen(c->token) >= HEARTH_PROTO_TOKEN_CAP)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "the token is empty or too long; copy it from "
                                "`hearthd token create`");
    return HEARTH_OK;
}

/* A certificate past its end, or of a CA that was replaced, can not renew
 * itself: a token buys a new one. */
static bool alive(const char *cert, const char *ca_pem,
                  const hearth_enroll_config *c) {
    hearth_x509_info info;
    int64_t now = hearth_clock_wall(&c->clock);
    return hearth_x509_verify(&info, cert, strlen(cert), ca_pem, now, NULL) ==
               HEARTH_OK &&
           now < info.not_after_ms;
}

hearth_status hearth_enroll(const hearth_enroll_config *cfg,
                            hearth_error *err) {
    hearth_sign_keypair *key = NULL;
    char *csr = NULL, *cert = NULL;
    bool changed;
    hearth_status st = check_config(cfg, err);
    if (st != HEARTH_OK) return st;
    work *w = work_new(cfg->al);
    if (!w) return HEARTH_ENOMEM;
    if ((st = hearth_setting_store_init(cfg->db, err)) != HEARTH_OK) goto done;
    if ((st = check_owner(cfg, err)) != HEARTH_OK) goto done;
    st = take_keyset(cfg->dialer, cfg->server, cfg->root_pin, cfg->db,
                     hearth_clock_wall(&cfg->clock), w, &changed, cfg->al, err);
    if (st != HEARTH_OK) goto done;
    if ((st = hearth_db_begin(cfg->db, err)) != HEARTH_OK) goto done;
    st = hearth_setting_set_str(cfg->db, HEARTH_SETTING_SERVER, cfg->server,
                                err);
    if (st == HEARTH_OK)
        st = hearth_setting_set_str(cfg->db, HEARTH_SETTING_ROOT, cfg->root_pin,
                                    err);
    if (st == HEARTH_OK)
        st = hearth_setting_set_str(cfg->db, HEARTH_SETTING_BASE, cfg->base,
                                    err);
    if (st == HEARTH_OK)
        st = hearth_db_commit(cfg->db, err);
    else
        hearth_db_rollback(cfg->db);
    if (st == HEARTH_OK)
        st = hearth_setting_get(cfg->db, HEARTH_SETTING_CERT, &cert, NULL,
                                cfg->al, err);
    if (st != HEARTH_OK) goto done;
    if (cert && alive(cert, w->ks.device_ca_pem, cfg)) goto done; /* joined */
    if ((st = get_key(cfg, &key, &csr, err)) != HEARTH_OK) goto done;
    st = request_cert(cfg, w, key, csr, err);

done:
    hearth_sign_free(key);
    drop(&csr, cfg->al);
    drop(&cert, cfg->al);
    work_free(w, cfg->al);
    return st;
}

/* Fill the fields that follow from the keyset and the certificate. */
static hearth_status derive(hearth_enrolment *e, const hearth_alloc *al,
                            hearth_error *err) {
    hearth_x509_info info;
    hearth_buf pins = HEARTH_BUF_INIT(al);
    work *w = work_new(al);
    if (!w) return HEARTH_ENOMEM;
    hearth_status st = hearth_trust_keyset(&w->ks, e->keyset, e->n_keyset,
                                           e->root_pin, 0, err);
    if (st == HEARTH_OK) st = hearth_trust_pins(&w->ks, &pins);
    if (st == HEARTH_OK) {
        e->pins = hearth_mem_strdup(al, hearth_buf_str(&pins));
        if (!e->pins) st = HEARTH_ENOMEM;
    }
    if (st == HEARTH_OK)
        st = hearth_x509_read(&info, e->cert_pem, strlen(e->cert_pem), err);
    if (st == HEARTH_OK) {
        e->keyset_version = w->ks.version;
        e->keyset_expires_ms = (int64_t)w->ks.expires_ms;
        e->cert_from_ms = info.not_before_ms;
        e->cert_until_ms = info.not_after_ms;
    }
    hearth_buf_free(&pins);
    work_free(w, al);
    return st;
}

hearth_status hearth_enrolment_load(hearth_enrolment *out, hearth_db *db,
                                    const hearth_alloc *al, hearth_error *err) {
    hearth_enrolment e = {0};
    char *keyset = NULL;
    struct {
        const char *name;
        char **to;
        size_t *n;
    } field[] = {{HEARTH_SETTING_SERVER, &e.server, NULL},
                 {HEARTH_SETTING_ROOT, &e.root_pin, NULL},
                 {HEARTH_SETTING_BASE, &e.base, NULL},
                 {HEARTH_SETTING_DEVICE, &e.device_id, NULL},
                 {HEARTH_SETTING_KEY, &e.key_pem, NULL},
                 {HEARTH_SETTING_CERT, &e.cert_pem, NULL},
                 {HEARTH_SETTING_KEYSET, &keyset, &e.n_keyset}};
    *out = e;
    hearth_status st = hearth_setting_store_init(db, err);
    for (size_t i = 0; st == HEARTH_OK && i < 7; i++) {
        st = hearth_setting_get(db, field[i].name, field[i].to, field[i].n, al,
                                err);
        if (st == HEARTH_OK && !*field[i].to)
            st = hearth_error_set(err, HEARTH_ENOTFOUND,
                                  "this device has not joined a coordinator; "
                                  "run `hearth init --server URL --token T "
                                  "--root PIN --base DIR`");
    }
    e.keyset = (uint8_t *)keyset;
    if (st == HEARTH_OK) st = derive(&e, al, err);
    if (st == HEARTH_OK)
        *out = e;
    else
        hearth_enrolment_free(&e, al);
    return st;
}

void hearth_enrolment_free(hearth_enrolment *e, const hearth_alloc *al) {
    if (!e) return;
    drop(&e->key_pem, al);
    drop(&e->cert_pem, al);
    drop(&e->device_id, al);
    hearth_mem_free(al, e->server);
    hearth_mem_free(al, e->root_pin);
    hearth_mem_free(al, e->base);
    hearth_mem_free(al, e->keyset);
    hearth_mem_free(al, e->pins);
    *e = (hearth_enrolment){0};
}

bool hearth_enrolment_renew_due(const hearth_enrolment *e, int64_t now_ms) {
    int64_t life = e->cert_until_ms - e->cert_from_ms;
    return now_ms >= e->cert_until_ms - life / 3;
}

hearth_status hearth_enroll_renew(const hearth_enrolment *e,
                                  const hearth_transport *tr, hearth_db *db,
                                  hearth_rng *rng, int64_t now_ms,
                                  const hearth_alloc *al, hearth_error *err) {
    hearth_sign_keypair *key = NULL;
    hearth_buf body = HEARTH_BUF_INIT(al);
    _Static_assert(HEARTH_X509_PEM_MAX <= HEARTH_PROTO_PEM_CAP, "fits");
    work *w = work_new(al);
    if (!w) return HEARTH_ENOMEM;
    hearth_status st = hearth_trust_keyset(&w->ks, e->keyset, e->n_keyset,
                                           e->root_pin, 0, err);
    if (st == HEARTH_OK)
        st =
            hearth_sign_from_pem(&key, e->key_pem, strlen(e->key_pem), al, err);
    if (st == HEARTH_OK)
        st = hearth_x509_csr_new(w->renew.csr_pem, key, rng, err);
    if (st == HEARTH_OK) st = hearth_encode_renew_request(&body, &w->renew);
    if (st == HEARTH_OK)
        st = post(tr, "/v1/renew", "renew", &body, true, &w->reply, al, err);
    if (st == HEARTH_OK)
        st = check_cert(&w->reply, w->ks.device_ca_pem, hearth_sign_public(key),
                        now_ms, err);
    if (st == HEARTH_OK) st = store_cert(db, &w->reply, err);
    hearth_sign_free(key);
    hearth_buf_free(&body);
    work_free(w, al);
    return st;
}

hearth_status hearth_enroll_refresh_keyset(
    const hearth_enrolment *e, const hearth_dialer *dialer, hearth_db *db,
    int64_t now_ms, bool *changed, const hearth_alloc *al, hearth_error *err) {
    work *w = work_new(al);
    if (!w) return HEARTH_ENOMEM;
    hearth_status st = take_keyset(dialer, e->server, e->root_pin, db, now_ms,
                                   w, changed, al, err);
    work_free(w, al);
    return st;
}

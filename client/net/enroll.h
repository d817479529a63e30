/* SPDX-License-Identifier: Apache-2.0 */
/* client/net/enroll.h - how a device joins, and keeps its certificate alive.
 *
 * hearth_enroll: (1) connect without trusting anyone and GET /v1/keyset, nothing
 * else; (2) check that the keyset is signed by the root key whose pin the user
 * gave; (3) from here on every connection is pinned to the TLS keys that the
 * keyset names; (4) make a P-256 key, send a CSR with the one-time token, check
 * and keep the certificate.  Key and CSR are stored before they are sent, so a
 * lost reply is asked for again with the same bytes.
 *
 *     st = hearth_enroll(&cfg, err);
 *     st = hearth_enrolment_load(&e, db, al, err);
 *     st = dialer.open(dialer.ud, e.server, e.pins, e.cert_pem, e.key_pem, ..);
 *
 * Threads: one thread at a time.  Memory: a few KiB; keys are zeroized.
 */
#ifndef HEARTH_CLIENT_NET_ENROLL_H
#define HEARTH_CLIENT_NET_ENROLL_H

#include "client/net/reply.h"
#include "client/net/transport.h"
#include "common/clock.h"
#include "common/db.h"
#include "common/rng.h"

/* What the device knows about its coordinator.  Owned; hearth_enrolment_free. */
typedef struct {
    char *server;              /* "https://host:port" */
    char *root_pin;            /* "sha256//.." */
    char *base;                /* folder of the base model */
    char *device_id;           /* assigned */
    char *key_pem, *cert_pem;  /* secret, and its certificate */
    uint8_t *keyset;           /* [n_keyset] signed bytes */
    size_t n_keyset;           /* bytes */
    uint64_t keyset_version;   /* */
    int64_t keyset_expires_ms; /* Unix ms */
    char *pins;                /* of the keyset, "sha256//..;sha256//.." */
    int64_t cert_from_ms, cert_until_ms; /* Unix ms */
} hearth_enrolment;

/* How to reach the coordinator at each step.  The real one opens curl; tests
 * open fakes.  pins NULL = the connection that may only read the keyset. */
typedef struct {
    hearth_status (*open)(void *ud, const char *server, const char *pins,
                          const char *cert_pem, const char *key_pem,
                          hearth_transport *out, hearth_error *err);
    void (*close)(void *ud, hearth_transport *tr);
    void *ud;
} hearth_dialer;

/* What hearth_enroll needs; all borrowed. */
typedef struct {
    const char *server, *token, *root_pin, *base;
    hearth_db *db;
    const hearth_dialer *dialer;
    hearth_rng *rng;
    hearth_clock clock;
    const hearth_alloc *al;
} hearth_enroll_config;

/* Join.  Doing it again with the same server, root and token is harmless; a
 * device that has joined only takes the new base, unless its certificate is past
 * its end: then the token buys a new one for the same key.
 *
 * Returns HEARTH_OK
 *         HEARTH_EINVAL     bad address, pin or token
 *         HEARTH_EEXISTS    this state belongs to another server or root
 *         HEARTH_ESIGNATURE the keyset is not signed by the given root, a later
 *                           connection is not pinned by it, or the certificate
 *                           is not by the keyset's CA for our key
 *         HEARTH_EREPLAY    the keyset is older than one seen before
 *         HEARTH_EEXPIRED   keyset or token is past its expiry
 *         HEARTH_EAUTH      the token is unknown or used up
 *         HEARTH_EFORMAT, HEARTH_ENET, HEARTH_ETIMEOUT, HEARTH_EIO,
 *         HEARTH_ENOMEM, HEARTH_ERNG */
HEARTH_MUST_CHECK
hearth_status hearth_enroll(const hearth_enroll_config *cfg, hearth_error *err);

/* Read what is stored; signature of the keyset and key of the certificate are
 * checked again, expiry is for the caller to compare.
 * Returns HEARTH_OK, HEARTH_ENOTFOUND (not joined), HEARTH_ESIGNATURE or
 * HEARTH_EFORMAT (the state was tampered with), HEARTH_EIO, HEARTH_ENOMEM; *out
 * is zero on failure. */
HEARTH_MUST_CHECK
hearth_status hearth_enrolment_load(hearth_enrolment *out, hearth_db *db,
                                    const hearth_alloc *al, hearth_error *err);
void hearth_enrolment_free(hearth_enrolment *e, const hearth_alloc *al);

/* True in the last third of the certificate's life. */
bool hearth_enrolment_renew_due(const hearth_enrolment *e, int64_t now_ms);

/* Renew by CSR with the same key over mutual TLS, and store the certificate.
 * On failure the old one stays.  Returns as hearth_enroll; load again after. */
HEARTH_MUST_CHECK
hearth_status hearth_enroll_renew(const hearth_enrolment *e,
                                  const hearth_transport *tr, hearth_db *db,
                                  hearth_rng *rng, int64_t now_ms,
                                  const hearth_alloc *al, hearth_error *err);

/* Ask for the keyset as at the first time, and store it when it is newer:
 * after the pins stopped to match, or before it expires.  *changed: load again
 * and dial again.  Returns as hearth_enroll. */
HEARTH_MUST_CHECK
hearth_status hearth_enroll_refresh_keyset(
    const hearth_enrolment *e, const hearth_dialer *dialer, hearth_db *db,
    int64_t now_ms, bool *changed, const hearth_alloc *al, hearth_error *err);

#endif /* HEARTH_CLIENT_NET_ENROLL_H */

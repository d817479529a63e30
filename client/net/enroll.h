/* SPDX-License-Identifier: Apache-2.0 */
/* client/net/enroll.h - how a device joins, and keeps its certificate alive.
 *
 * hearth_enroll: (1) connect without trusting anyone and GET /v1/keyset, nothing
 * else; (2) check that the keyset is signed by the root key whose pin the user
 * gave; (3) from here on every connection is pinned to the TLS keys that the
 * keyset names; (4) make a P-256 key, send a CSR with the one-time token, keep
 * the certificate.  The key and the CSR are stored before they are sent, so a
 * lost reply is asked for again with the same bytes.
 *
 * All of it lives in table enrolment of client.db, one row.
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
    char *server;   /* "https://host:port" */
    char *root_pin; /* "sha256//.." */
    char *base;     /* folder of the base model */
    char *device_id;
    char *key_pem, *cert_pem; /* cert_pem NULL until the certificate came */
    uint8_t *keyset;          /* [n_keyset] signed bytes, verified */
    size_t n_keyset;
    char *pins;                            /* "sha256//..;sha256//.." of the keyset */
    int64_t cert_from_ms, cert_until_ms; /* Unix ms */
} hearth_enrolment;

/* How to reach the coordinator at each step.  The real one opens curl; tests
 * open fakes.  pins NULL = the keyset-only connection. */
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

/* Join.  Doing it again with the same server, root and token is harmless.
 * Returns HEARTH_OK
 *         HEARTH_EINVAL     bad address or pin
 *         HEARTH_EEXISTS    this state belongs to another server or root
 *         HEARTH_ESIGNATURE the keyset is not signed by the given root, or a
 *                           later connection is not pinned by it
 *         HEARTH_EEXPIRED   the keyset is past its expiry
 *         HEARTH_EAUTH      the token is unknown, used or expired
 *         HEARTH_EFORMAT, HEARTH_ENET, HEARTH_EIO, HEARTH_ENOMEM, HEARTH_ERNG */
HEARTH_MUST_CHECK
hearth_status hearth_enroll(const hearth_enroll_config *cfg, hearth_error *err);

/* Read the row; the keyset is verified against the root pin again.
 * HEARTH_ENOTFOUND: not enrolled. */
HEARTH_MUST_CHECK
hearth_status hearth_enrolment_load(hearth_enrolment *out, hearth_db *db,
                                    int64_t now_ms, const hearth_alloc *al,
                                    hearth_error *err);
void hearth_enrolment_free(hearth_enrolment *e, const hearth_alloc *al);

/* True in the last third of the certificate's life. */
bool hearth_enrolment_renew_due(const hearth_enrolment *e, int64_t now_ms);

/* Renew by CSR with the same key over mutual TLS; stores the new certificate
 * and reloads *e.  On failure the old one stays. */
HEARTH_MUST_CHECK
hearth_status hearth_enroll_renew(hearth_enrolment *e, const hearth_transport *tr,
                                  hearth_db *db, hearth_rng *rng, int64_t now_ms,
                                  const hearth_alloc *al, hearth_error *err);

/* Ask for a newer keyset over a pinned connection; a higher version signed by
 * the same root replaces the stored one, a lower one is HEARTH_EREPLAY.
 * *changed: the pins must be dialled again. */
HEARTH_MUST_CHECK
hearth_status hearth_enroll_refresh_keyset(hearth_enrolment *e,
                                           const hearth_transport *tr,
                                           hearth_db *db, int64_t now_ms,
                                           bool *changed, const hearth_alloc *al,
                                           hearth_error *err);

#endif /* HEARTH_CLIENT_NET_ENROLL_H */

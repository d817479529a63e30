/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/auth.h - who may talk: enrolment, renewal, cookies, keyset.
 *
 * Data flow:  listener -> coordinator_handle -> [auth hook] -> devices.db
 *
 *   GET  /v1/keyset   the signed keyset, to anyone
 *   POST /v1/enroll   one-time token + CSR -> certificate; the same token and
 *                     CSR get the same certificate again, so a lost reply
 *                     costs nothing
 *   POST /v1/renew    CSR over mutual TLS -> new certificate, same id
 *
 * Public-key work and fsync happen in jobs of cfg.io, never on the thread that
 * owns the rounds.  After check-in a device shows a cookie: an HMAC over its
 * id and an expiry, checked without a database and without public-key work.
 *
 * Threads: everything here is called on the owner thread; jobs run elsewhere.
 * Memory:  a job holds its request; at most HEARTH_AUTH_MAX_JOBS wait, more
 *          are answered "busy".
 */
#ifndef HEARTH_COORDINATOR_AUTH_H
#define HEARTH_COORDINATOR_AUTH_H

#include "common/clock.h"
#include "common/log.h"
#include "common/secret.h"
#include "common/sign.h"
#include "coordinator/coordinator.h"

#define HEARTH_AUTH_MAX_JOBS 64

typedef struct hearth_auth hearth_auth;

typedef struct {
    const char *db_path;   /* devices.db; copied */
    const uint8_t *keyset; /* [keyset_n] signed bytes; copied */
    size_t keyset_n;
    const hearth_sign_keypair *ca; /* borrowed till close */
    const char *ca_pem;            /* copied */
    hearth_secret cookie_key;      /* copied; the caller wipes this one */
    int64_t cookie_ttl_ms;         /* 0: one hour */
    unsigned certificate_days;     /* 0: HEARTH_X509_DEVICE_DAYS */
    hearth_clock clock;
    hearth_coord_io io;    /* submit NULL: inline */
    const hearth_log *log; /* borrowed; may be NULL */
    const hearth_alloc *al;
} hearth_auth_config;

/* Counters since open. */
typedef struct {
    uint64_t enrolled, enrolled_again, enrol_refused, renewed, renew_refused;
} hearth_auth_counters;

/* Returns HEARTH_OK, HEARTH_EINVAL (incomplete config), or what opening the
 * database or the generator returned; *out is NULL on failure. */
HEARTH_MUST_CHECK
hearth_status hearth_auth_open(hearth_auth **out, const hearth_auth_config *cfg,
                               hearth_error *err);
/* Only when no job is out (hearth_auth_busy is false). */
void hearth_auth_close(hearth_auth *a);
bool hearth_auth_busy(const hearth_auth *a);

/* The hook for hearth_coord_config; a must outlive the coordinator. */
hearth_coord_hook hearth_auth_hook(hearth_auth *a);

/* A cookie for a device, good until now + ttl.
 * Returns HEARTH_OK, HEARTH_EINVAL (bad id), or what the HMAC returned. */
HEARTH_MUST_CHECK
hearth_status hearth_auth_cookie_new(const hearth_auth *a, const char *id,
                                     int64_t now_ms,
                                     char out[HEARTH_PROTO_COOKIE_CAP]);

/* Whose cookie is this?
 *
 * Returns HEARTH_OK        id is filled
 *         HEARTH_EAUTH     not one of ours, or altered
 *         HEARTH_EEXPIRED  ours, but too old
 * and id is empty on failure. */
HEARTH_MUST_CHECK
hearth_status hearth_auth_cookie_check(const hearth_auth *a, const char *cookie,
                                       int64_t now_ms,
                                       char id[HEARTH_PROTO_DEVICE_CAP]);

void hearth_auth_get_counters(const hearth_auth *a, hearth_auth_counters *out);

#endif /* HEARTH_COORDINATOR_AUTH_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/auth_store.h - enrolment tokens, devices and revocations on disk.
 *
 * A database of its own (devices.db), apart from rounds and contributions, so
 * that nothing in one file joins a device to what it sent.  Tokens are stored
 * as hashes.  Enrolment is one transaction: the token's use and the issued
 * certificate are recorded together, so a lost reply can be asked for again
 * and yields the same certificate.
 *
 * Threads: a handle belongs to one thread at a time; several handles and
 *          processes may open the same file (SQLite arbitrates).
 * Errors:  those of common/db.h, and the ones named at each function.
 */
#ifndef HEARTH_COORDINATOR_AUTH_STORE_H
#define HEARTH_COORDINATOR_AUTH_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/alloc.h"
#include "common/hash.h"
#include "common/status.h"
#include "common/x509.h"

typedef struct hearth_auth_store hearth_auth_store;

HEARTH_MUST_CHECK
hearth_status hearth_auth_store_open(hearth_auth_store **out, const char *path,
                                     const hearth_alloc *al, hearth_error *err);
void hearth_auth_store_close(hearth_auth_store *s);

/* Record a token that may enrol `uses` devices until expires_ms. */
HEARTH_MUST_CHECK
hearth_status hearth_auth_store_token_add(
    hearth_auth_store *s, const uint8_t hash[HEARTH_SHA256_BYTES], int64_t uses,
    int64_t now_ms, int64_t expires_ms, hearth_error *err);

/* One enrolment. */
typedef struct {
    uint8_t token_hash[HEARTH_SHA256_BYTES];
    uint8_t csr_hash[HEARTH_SHA256_BYTES];
    char id[HEARTH_X509_ID_MAX + 1];
    char cert_pem[HEARTH_X509_PEM_MAX];
    int64_t not_after_ms;
} hearth_enrolment;

/* Look for an enrolment by (token_hash, csr_hash).
 *
 * Returns HEARTH_OK         it was made before: id and cert_pem are filled
 *         HEARTH_ENOTFOUND  not yet, and the token would allow it now
 *         HEARTH_EAUTH      the token is unknown or used up
 *         HEARTH_EEXPIRED   the token is past its time */
HEARTH_MUST_CHECK
hearth_status hearth_auth_store_find(hearth_auth_store *s, hearth_enrolment *e,
                                     int64_t now_ms, hearth_error *err);

/* Use the token once and record the enrolment, in one transaction.  When the
 * same (token, csr) was recorded meanwhile, e gets that one instead.
 * Returns HEARTH_OK, HEARTH_EAUTH or HEARTH_EEXPIRED as above. */
HEARTH_MUST_CHECK
hearth_status hearth_auth_store_enrol(hearth_auth_store *s, hearth_enrolment *e,
                                      int64_t now_ms, hearth_error *err);

/* A new certificate for a known device.  HEARTH_EAUTH: unknown or revoked. */
HEARTH_MUST_CHECK
hearth_status hearth_auth_store_renewed(hearth_auth_store *s, const char *id,
                                        int64_t not_after_ms,
                                        hearth_error *err);

/* May this device take part?  *ok is false for unknown and revoked ones. */
HEARTH_MUST_CHECK
hearth_status hearth_auth_store_allowed(hearth_auth_store *s, const char *id,
                                        bool *ok, hearth_error *err);

/* Revoke: the device is refused from now on.  HEARTH_ENOTFOUND: no such id. */
HEARTH_MUST_CHECK
hearth_status hearth_auth_store_revoke(hearth_auth_store *s, const char *id,
                                       int64_t now_ms, hearth_error *err);

/* Forget everything about a device; its certificate is no longer known, so it
 * is refused as well.  HEARTH_ENOTFOUND: no such id. */
HEARTH_MUST_CHECK
hearth_status hearth_auth_store_erase(hearth_auth_store *s, const char *id,
                                      hearth_error *err);

/* A device for lists. */
typedef struct {
    char id[HEARTH_X509_ID_MAX + 1];
    int64_t created_ms, not_after_ms, revoked_ms; /* 0: not revoked */
} hearth_device_row;

/* Devices in order of enrolment, from row `skip`; returns how many were put
 * into row [cap]. */
HEARTH_MUST_CHECK
hearth_status hearth_auth_store_list(hearth_auth_store *s, size_t skip,
                                     hearth_device_row *row, size_t cap,
                                     size_t *n, hearth_error *err);

/* Copy the database to path, which must not exist. */
HEARTH_MUST_CHECK
hearth_status hearth_auth_store_backup(hearth_auth_store *s, const char *path,
                                       hearth_error *err);

#endif /* HEARTH_COORDINATOR_AUTH_STORE_H */

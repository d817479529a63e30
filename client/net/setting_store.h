/* SPDX-License-Identifier: Apache-2.0 */
/* client/net/setting_store.h - small named values of the device in client.db:
 * the coordinator, its root pin and keyset, our key and certificate, the base.
 *
 * Private to the client.  Secrets among them are protected by the mode of the
 * state directory (0700), no more; README.md says so.
 *
 * Threads: as common/db.h.
 */
#ifndef HEARTH_CLIENT_NET_SETTING_STORE_H
#define HEARTH_CLIENT_NET_SETTING_STORE_H

#include "common/db.h"

#define HEARTH_SETTING_MAX_BYTES ((size_t)64 << 10)

/* Names. */
#define HEARTH_SETTING_SERVER "server"
#define HEARTH_SETTING_ROOT   "root"
#define HEARTH_SETTING_BASE   "base"
#define HEARTH_SETTING_KEYSET "keyset"
#define HEARTH_SETTING_KEY    "key"
#define HEARTH_SETTING_CSR    "csr"
#define HEARTH_SETTING_DEVICE "device"
#define HEARTH_SETTING_CERT   "cert"

/* Make the table. */
HEARTH_MUST_CHECK
hearth_status hearth_setting_store_init(hearth_db *db, hearth_error *err);

/* A value, NUL-terminated, [*n] bytes; the caller's, from al.  NULL and
 * HEARTH_OK when it is not set. */
HEARTH_MUST_CHECK
hearth_status hearth_setting_get(hearth_db *db, const char *name, char **out,
                                 size_t *n, const hearth_alloc *al,
                                 hearth_error *err);

/* Set (v NULL: remove).  HEARTH_ETOOBIG above the cap. */
HEARTH_MUST_CHECK
hearth_status hearth_setting_set(hearth_db *db, const char *name, const void *v,
                                 size_t n, hearth_error *err);
HEARTH_MUST_CHECK
hearth_status hearth_setting_set_str(hearth_db *db, const char *name,
                                     const char *v, hearth_error *err);

#endif /* HEARTH_CLIENT_NET_SETTING_STORE_H */

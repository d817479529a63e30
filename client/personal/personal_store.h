/* SPDX-License-Identifier: Apache-2.0 */
/* client/personal/personal_store.h - installed releases and own adapters in
 * client.db.  Private to client/personal.
 *
 * Threads: as common/db.h.
 */
#ifndef HEARTH_CLIENT_PERSONAL_PERSONAL_STORE_H
#define HEARTH_CLIENT_PERSONAL_PERSONAL_STORE_H

#include "client/personal/personal.h"
#include "common/buf.h"

/* Make the tables. */
HEARTH_MUST_CHECK
hearth_status hearth_personal_store_init(hearth_db *db, hearth_error *err);

/* Replace the release of a task in one transaction.  HEARTH_EREPLAY when a
 * higher sequence is installed. */
HEARTH_MUST_CHECK
hearth_status hearth_personal_store_put(hearth_db *db, const hearth_release *m,
                                        const hearth_buf *manifest,
                                        const hearth_buf *payload,
                                        int64_t now_ms, hearth_error *err);

/* What is installed, newest first, at most cap, as a check-in tells it. */
HEARTH_MUST_CHECK
hearth_status hearth_personal_store_list(hearth_db *db,
                                         hearth_checkin_task *out, size_t cap,
                                         uint32_t *n, hearth_error *err);

/* Manifest and payload of a task, appended.  HEARTH_ENOTFOUND when none. */
HEARTH_MUST_CHECK
hearth_status hearth_personal_store_get(hearth_db *db, const char *task,
                                        hearth_buf *manifest,
                                        hearth_buf *payload, hearth_error *err);

/* The own adapter of a task: floats of A and B, little-endian. */
HEARTH_MUST_CHECK
hearth_status hearth_personal_store_put_own(hearth_db *db, const char *task,
                                            uint64_t sequence, const void *v,
                                            size_t n, int64_t now_ms,
                                            hearth_error *err);
HEARTH_MUST_CHECK
hearth_status hearth_personal_store_get_own(hearth_db *db, const char *task,
                                            hearth_buf *values,
                                            hearth_error *err);

#endif /* HEARTH_CLIENT_PERSONAL_PERSONAL_STORE_H */

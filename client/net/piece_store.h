/* SPDX-License-Identifier: Apache-2.0 */
/* client/net/piece_store.h - the pieces of a release under way, in client.db.
 *
 * Private to client/net.  Pieces of one task lie end to end from byte 0; the
 * manifest they belong to is named by its digest, and pieces of another
 * manifest are dropped when a first piece of a new one comes.
 *
 * Threads: as common/db.h.
 */
#ifndef HEARTH_CLIENT_NET_PIECE_STORE_H
#define HEARTH_CLIENT_NET_PIECE_STORE_H

#include "common/buf.h"
#include "common/db.h"

/* Make the table.  Returns as hearth_db_migrate. */
HEARTH_MUST_CHECK
hearth_status hearth_piece_store_init(hearth_db *db, hearth_error *err);

/* Bytes that are there for task and content digest [32]; 0 when none. */
HEARTH_MUST_CHECK
hearth_status hearth_piece_store_have(hearth_db *db, const char *task,
                                      const uint8_t *digest, uint64_t *n,
                                      hearth_error *err);

/* Add a piece at byte `at`, which must be where the pieces end (HEARTH_ESTATE).
 * at == 0 drops all earlier pieces of the task. */
HEARTH_MUST_CHECK
hearth_status hearth_piece_store_add(hearth_db *db, const char *task,
                                     const uint8_t *digest, uint64_t at,
                                     const uint8_t *v, size_t n,
                                     hearth_error *err);

/* All of them, appended to out. */
HEARTH_MUST_CHECK
hearth_status hearth_piece_store_join(hearth_db *db, const char *task,
                                      const uint8_t *digest, hearth_buf *out,
                                      hearth_error *err);

/* Drop those of a task. */
HEARTH_MUST_CHECK
hearth_status hearth_piece_store_drop(hearth_db *db, const char *task,
                                      hearth_error *err);

#endif /* HEARTH_CLIENT_NET_PIECE_STORE_H */

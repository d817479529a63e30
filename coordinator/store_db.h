/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/store_db.h - private to coord_store.c and contrib_store.c: the
 * handle, and shorthands over common/db.h.
 *
 * Threads: as coord_store.h.
 */
#ifndef HEARTH_COORDINATOR_STORE_DB_H
#define HEARTH_COORDINATOR_STORE_DB_H

#include "common/db.h"
#include "coordinator/coord_store.h"

struct hearth_coord_store {
    hearth_db *db;
    const hearth_alloc *al;
};

/* Column to a NUL-terminated array, cut when longer, zero-filled. */
void hearth_store__text(char *to, size_t cap, hearth_stmt *q, int column);

/* Column of exactly n bytes; HEARTH_EFORMAT for any other length. */
HEARTH_MUST_CHECK
hearth_status hearth_store__blob(void *to, size_t n, hearth_stmt *q, int column,
                                 hearth_error *err);

/* Append a column to a buffer. */
HEARTH_MUST_CHECK
hearth_status hearth_store__append(hearth_buf *to, hearth_stmt *q, int column);

/* Run to the end and free. */
HEARTH_MUST_CHECK
hearth_status hearth_store__run(hearth_stmt *q, hearth_error *err);

/* Step to the one row; HEARTH_ENOTFOUND "no such <what>" when there is none. */
HEARTH_MUST_CHECK
hearth_status hearth_store__one(hearth_stmt *q, const char *what,
                                hearth_error *err);

/* Commit when st is OK, else roll back; what came of it. */
HEARTH_MUST_CHECK
hearth_status hearth_store__end(hearth_coord_store *s, hearth_status st,
                                hearth_error *err);

#endif /* HEARTH_COORDINATOR_STORE_DB_H */

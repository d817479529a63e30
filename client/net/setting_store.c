/* SPDX-License-Identifier: Apache-2.0 */
/* client/net/setting_store.c - the contract is in setting_store.h. */
#include "client/net/setting_store.h"

#include <string.h>

#include "common/mem.h"

static const char *const steps[] = {
    "CREATE TABLE setting(name TEXT PRIMARY KEY, value BLOB NOT NULL)"
    " WITHOUT ROWID"};

hearth_status hearth_setting_store_init(hearth_db *db, hearth_error *err) {
    return hearth_db_migrate(db, "setting", steps, 1, err);
}

hearth_status hearth_setting_get(hearth_db *db, const char *name, char **out,
                                 size_t *n, const hearth_alloc *al,
                                 hearth_error *err) {
    hearth_stmt *q = NULL;
    bool row = false;
    *out = NULL;
    if (n) *n = 0;
    hearth_status st = hearth_db_prepare(
        db, &q, "SELECT value FROM setting WHERE name = ?1", err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, name);
    st = hearth_stmt_step(q, &row, err);
    if (st == HEARTH_OK && row) {
        size_t k = 0;
        const void *v = hearth_stmt_blob(q, 0, &k);
        *out = hearth_mem_strndup(al, v ? v : "", k);
        if (!*out) st = HEARTH_ENOMEM;
        if (*out && n) *n = k;
    }
    hearth_stmt_free(q);
    return st;
}

hearth_status hearth_setting_set(hearth_db *db, const char *name, const void *v,
                                 size_t n, hearth_error *err) {
    hearth_stmt *q = NULL;
    if (n > HEARTH_SETTING_MAX_BYTES) return HEARTH_ETOOBIG;
    hearth_status st = hearth_db_prepare(
        db, &q,
        v ? "INSERT INTO setting VALUES(?1, ?2)"
            " ON CONFLICT(name) DO UPDATE SET value = excluded.value"
          : "DELETE FROM setting WHERE name = ?1",
        err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, name);
    if (v) hearth_stmt_bind_blob(q, 2, v, n);
    st = hearth_stmt_run(q, err);
    hearth_stmt_free(q);
    return st;
}

hearth_status hearth_setting_set_str(hearth_db *db, const char *name,
                                     const char *v, hearth_error *err) {
    return hearth_setting_set(db, name, v, v ? strlen(v) : 0, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/auth_store.c - the contract is in auth_store.h.
 *
 * Why an enrolment happens once: the token's counter falls and the row with
 * the certificate appears in one immediate transaction, and that row is looked
 * up first.  Whoever asks again with the same token and request gets the row;
 * a second request under a used-up token finds neither row nor use.
 */
#include "coordinator/auth_store.h"

#include <string.h>

#include "common/db.h"
#include "common/error.h"
#include "common/mem.h"

struct hearth_auth_store {
    hearth_alloc al;
    hearth_db *db;
};

static const char *const STEPS[] = {
    "CREATE TABLE token(hash BLOB PRIMARY KEY, uses_left INTEGER NOT NULL,"
    " created_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE device(seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,"
    " created_ms INTEGER NOT NULL, not_after_ms INTEGER NOT NULL,"
    " revoked_ms INTEGER NOT NULL DEFAULT 0);"
    "CREATE TABLE enrolment(token_hash BLOB NOT NULL, csr_hash BLOB NOT NULL,"
    " id TEXT NOT NULL REFERENCES device(id) ON DELETE CASCADE,"
    " cert_pem TEXT NOT NULL, PRIMARY KEY(token_hash, csr_hash)) WITHOUT "
    "ROWID;",
};

hearth_status hearth_auth_store_open(hearth_auth_store **out, const char *path,
                                     const hearth_alloc *al,
                                     hearth_error *err) {
    const hearth_alloc *hooks = hearth_mem_or_default(al);
    if (out) *out = NULL;
    if (!out || !path)
        return hearth_error_set(err, HEARTH_EINVAL, "no device database named");
    hearth_auth_store *s = hearth_mem_new(hooks, sizeof(*s));
    if (!s)
        return hearth_error_set(err, HEARTH_ENOMEM, "no memory for devices");
    s->al = *hooks;
    hearth_status st = hearth_db_open(&s->db, path, hooks, err);
    if (st == HEARTH_OK)
        st = hearth_db_migrate(s->db, "auth", STEPS,
                               sizeof(STEPS) / sizeof(STEPS[0]), err);
    if (st != HEARTH_OK) {
        hearth_auth_store_close(s);
        return st;
    }
    *out = s;
    return HEARTH_OK;
}

void hearth_auth_store_close(hearth_auth_store *s) {
    if (!s) return;
    hearth_alloc al = s->al;
    hearth_db_close(s->db);
    hearth_mem_free(&al, s);
}

hearth_status hearth_auth_store_token_add(
    hearth_auth_store *s, const uint8_t hash[HEARTH_SHA256_BYTES], int64_t uses,
    int64_t now_ms, int64_t expires_ms, hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_status st = hearth_db_prepare(
        s->db, &q,
        "INSERT INTO token(hash, uses_left, created_ms, expires_ms)"
        " VALUES(?1, ?2, ?3, ?4)",
        err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_blob(q, 1, hash, HEARTH_SHA256_BYTES);
    hearth_stmt_bind_i64(q, 2, uses);
    hearth_stmt_bind_i64(q, 3, now_ms);
    hearth_stmt_bind_i64(q, 4, expires_ms);
    st = hearth_stmt_run(q, err);
    hearth_stmt_free(q);
    return st;
}

static void copy_text(char *out, size_t cap, hearth_stmt *q, int column) {
    size_t n = 0;
    const char *v = hearth_stmt_text(q, column, &n);
    if (n >= cap) n = cap - 1;
    memcpy(out, v, n);
    out[n] = '\0';
}

/* The recorded enrolment: OK, or ENOTFOUND. */
static hearth_status find_row(hearth_auth_store *s, hearth_enrolment *e,
                              hearth_error *err) {
    hearth_stmt *q = NULL;
    bool row = false;
    hearth_status st = hearth_db_prepare(
        s->db, &q,
        "SELECT e.id, e.cert_pem, d.not_after_ms FROM enrolment e"
        " JOIN device d ON d.id = e.id WHERE token_hash = ?1 AND csr_hash = ?2"
        " AND d.revoked_ms = 0",
        err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_blob(q, 1, e->token_hash, sizeof(e->token_hash));
    hearth_stmt_bind_blob(q, 2, e->csr_hash, sizeof(e->csr_hash));
    st = hearth_stmt_step(q, &row, err);
    if (st == HEARTH_OK && row) {
        copy_text(e->id, sizeof(e->id), q, 0);
        copy_text(e->cert_pem, sizeof(e->cert_pem), q, 1);
        e->not_after_ms = hearth_stmt_i64(q, 2);
    }
    hearth_stmt_free(q);
    return st == HEARTH_OK && !row ? HEARTH_ENOTFOUND : st;
}

/* May the token be used now?  OK, EAUTH, EEXPIRED. */
static hearth_status token_state(hearth_auth_store *s,
                                 const hearth_enrolment *e, int64_t now_ms,
                                 hearth_error *err) {
    hearth_stmt *q = NULL;
    bool row = false;
    int64_t uses = 0, expires = 0;
    hearth_status st = hearth_db_prepare(
        s->db, &q, "SELECT uses_left, expires_ms FROM token WHERE hash = ?1",
        err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_blob(q, 1, e->token_hash, sizeof(e->token_hash));
    st = hearth_stmt_step(q, &row, err);
    if (st == HEARTH_OK && row) {
        uses = hearth_stmt_i64(q, 0);
        expires = hearth_stmt_i64(q, 1);
    }
    hearth_stmt_free(q);
    if (st != HEARTH_OK) return st;
    if (!row || uses <= 0)
        return hearth_error_set(err, HEARTH_EAUTH,
                                "enrolment token is unknown or used up; ask "
                                "for a new one (hearthd token create)");
    if (now_ms >= expires)
        return hearth_error_set(err, HEARTH_EEXPIRED,
                                "enrolment token has expired; ask for a new "
                                "one (hearthd token create)");
    return HEARTH_OK;
}

hearth_status hearth_auth_store_find(hearth_auth_store *s, hearth_enrolment *e,
                                     int64_t now_ms, hearth_error *err) {
    hearth_status st = find_row(s, e, err);
    if (st != HEARTH_ENOTFOUND) return st;
    st = token_state(s, e, now_ms, err);
    return st == HEARTH_OK ? HEARTH_ENOTFOUND : st;
}

static hearth_status insert_device(hearth_auth_store *s,
                                   const hearth_enrolment *e, int64_t now_ms,
                                   hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_status st = hearth_db_prepare(
        s->db, &q,
        "INSERT INTO device(id, created_ms, not_after_ms) VALUES(?1, ?2, ?3)",
        err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, e->id);
    hearth_stmt_bind_i64(q, 2, now_ms);
    hearth_stmt_bind_i64(q, 3, e->not_after_ms);
    st = hearth_stmt_run(q, err);
    hearth_stmt_free(q);
    return st;
}

static hearth_status insert_enrolment(hearth_auth_store *s,
                                      const hearth_enrolment *e,
                                      hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_status st = hearth_db_prepare(
        s->db, &q,
        "INSERT INTO enrolment(token_hash, csr_hash, id, cert_pem)"
        " VALUES(?1, ?2, ?3, ?4)",
        err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_blob(q, 1, e->token_hash, sizeof(e->token_hash));
    hearth_stmt_bind_blob(q, 2, e->csr_hash, sizeof(e->csr_hash));
    hearth_stmt_bind_str(q, 3, e->id);
    hearth_stmt_bind_str(q, 4, e->cert_pem);
    st = hearth_stmt_run(q, err);
    hearth_stmt_free(q);
    return st;
}

static hearth_status use_token(hearth_auth_store *s, const hearth_enrolment *e,
                               hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_status st = hearth_db_prepare(
        s->db, &q, "UPDATE token SET uses_left = uses_left - 1 WHERE hash = ?1",
        err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_blob(q, 1, e->token_hash, sizeof(e->token_hash));
    st = hearth_stmt_run(q, err);
    hearth_stmt_free(q);
    return st;
}

hearth_status hearth_auth_store_enrol(hearth_auth_store *s, hearth_enrolment *e,
                                      int64_t now_ms, hearth_error *err) {
    hearth_enrolment known = *e;
    hearth_status st = hearth_db_begin(s->db, err);
    if (st != HEARTH_OK) return st;
    st = hearth_auth_store_find(s, &known, now_ms, err);
    if (st == HEARTH_OK) {
        hearth_db_rollback(s->db);
        *e = known;
        return HEARTH_OK;
    }
    if (st == HEARTH_ENOTFOUND) st = use_token(s, e, err);
    if (st == HEARTH_OK) st = insert_device(s, e, now_ms, err);
    if (st == HEARTH_OK) st = insert_enrolment(s, e, err);
    if (st == HEARTH_OK) return hearth_db_commit(s->db, err);
    hearth_db_rollback(s->db);
    return st;
}

hearth_status hearth_auth_store_renewed(hearth_auth_store *s, const char *id,
                                        int64_t not_after_ms,
                                        hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_status st = hearth_db_prepare(s->db, &q,
                                         "UPDATE device SET not_after_ms = ?2"
                                         " WHERE id = ?1 AND revoked_ms = 0",
                                         err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, id);
    hearth_stmt_bind_i64(q, 2, not_after_ms);
    st = hearth_stmt_run(q, err);
    hearth_stmt_free(q);
    if (st == HEARTH_OK && hearth_db_changes(s->db) == 0)
        st = hearth_error_set(err, HEARTH_EAUTH,
                              "this device is unknown or revoked; enrol again");
    return st;
}

hearth_status hearth_auth_store_allowed(hearth_auth_store *s, const char *id,
                                        bool *ok, hearth_error *err) {
    hearth_stmt *q = NULL;
    bool row = false;
    *ok = false;
    hearth_status st = hearth_db_prepare(
        s->db, &q, "SELECT 1 FROM device WHERE id = ?1 AND revoked_ms = 0",
        err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, id);
    st = hearth_stmt_step(q, &row, err);
    hearth_stmt_free(q);
    *ok = st == HEARTH_OK && row;
    return st;
}

static hearth_status one_device(hearth_auth_store *s, const char *sql,
                                const char *id, int64_t now_ms,
                                hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_status st = hearth_db_prepare(s->db, &q, sql, err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, id);
    if (now_ms) hearth_stmt_bind_i64(q, 2, now_ms);
    st = hearth_stmt_run(q, err);
    hearth_stmt_free(q);
    if (st == HEARTH_OK && hearth_db_changes(s->db) == 0)
        st = hearth_error_set(err, HEARTH_ENOTFOUND,
                              "no such device; see `hearthd device list`");
    return st;
}

hearth_status hearth_auth_store_revoke(hearth_auth_store *s, const char *id,
                                       int64_t now_ms, hearth_error *err) {
    return one_device(s, "UPDATE device SET revoked_ms = ?2 WHERE id = ?1", id,
                      now_ms, err);
}

hearth_status hearth_auth_store_erase(hearth_auth_store *s, const char *id,
                                      hearth_error *err) {
    hearth_status st =
        one_device(s, "DELETE FROM device WHERE id = ?1", id, 0, err);
    return st == HEARTH_OK ? hearth_db_scrub(s->db, err) : st;
}

hearth_status hearth_auth_store_list(hearth_auth_store *s, size_t skip,
                                     hearth_device_row *row, size_t cap,
                                     size_t *n, hearth_error *err) {
    hearth_stmt *q = NULL;
    bool more = false;
    *n = 0;
    hearth_status st = hearth_db_prepare(
        s->db, &q,
        "SELECT id, created_ms, not_after_ms, revoked_ms FROM device"
        " ORDER BY seq LIMIT ?1 OFFSET ?2",
        err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_i64(q, 1, (int64_t)cap);
    hearth_stmt_bind_i64(q, 2, (int64_t)skip);
    while (*n < cap && (st = hearth_stmt_step(q, &more, err)) == HEARTH_OK &&
           more) {
        hearth_device_row *r = &row[(*n)++];
        copy_text(r->id, sizeof(r->id), q, 0);
        r->created_ms = hearth_stmt_i64(q, 1);
        r->not_after_ms = hearth_stmt_i64(q, 2);
        r->revoked_ms = hearth_stmt_i64(q, 3);
    }
    hearth_stmt_free(q);
    return st;
}

hearth_status hearth_auth_store_backup(hearth_auth_store *s, const char *path,
                                       hearth_error *err) {
    return hearth_db_backup(s->db, path, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* client/net/sync_send.c - send the prepared bytes, or say that we do not.
 *
 * Each step may be the first after a restart: begin asks how much is there,
 * append goes on from it, commit may be repeated.  The row in sync_round and
 * the erasure of the bytes are one transaction, after the acknowledgement.
 */
#include "client/net/sync_private.h"

#include <string.h>

#include "common/failpoint.h"

#define MAX_STUCK   8u /* replies in a row that moved nothing */
#define MAX_RESTART 3u /* uploads from byte 0 after a digest failed */

static hearth_upload target(hearth_sync *s) {
    return (hearth_upload){s->cfg.transport, &s->alloc, s->offer};
}

/* Give back what was prepared: take the charge back if no byte left, else only
 * erase the bytes.  The handle stays. */
static hearth_status drop_prepared(hearth_sync *s, hearth_error *err) {
    hearth_prepared_state is;
    if (!s->prepared) return HEARTH_OK;
    const hearth_round_key *key = hearth_prepared_key(s->prepared);
    hearth_status st = hearth_ledger_store_state(s->ledger, key, &is, err);
    if (st == HEARTH_OK && is == HEARTH_PREPARED_READY) {
        st = hearth_ledger_store_void(s->ledger, key, err);
        if (st == HEARTH_ESTATE) is = HEARTH_PREPARED_SENDING; /* by counter */
    }
    if ((st == HEARTH_OK || st == HEARTH_ESTATE) &&
        is == HEARTH_PREPARED_SENDING)
        st = hearth_prepared_finish(s->prepared, err);
    return st == HEARTH_ENOTFOUND ? HEARTH_OK : st; /* forgotten */
}

/* Bytes and row in one transaction: the round is over on this side. */
static hearth_status end_round(hearth_sync *s, hearth_sync_round_phase phase,
                               const char *reason, hearth_error *err) {
    hearth_status st = hearth_db_begin(s->cfg.db, err);
    if (st != HEARTH_OK) return st;
    st = drop_prepared(s, err);
    if (st == HEARTH_OK)
        st = hearth_sync_round_put(s->cfg.db, s->offer, phase,
                                   hearth_sync__now(s), reason, &s->alloc, err);
    if (st == HEARTH_OK)
        st = hearth_db_commit(s->cfg.db, err);
    else
        hearth_db_rollback(s->cfg.db);
    if (st != HEARTH_OK) return st;
    /* The log still holds the page that was erased; if another process reads it
     * now, its next checkpoint does this. */
    st = hearth_db_exec(s->cfg.db, "PRAGMA wal_checkpoint(TRUNCATE)", NULL);
    if (st != HEARTH_OK)
        hearth_log_write(s->cfg.log, HEARTH_LOG_DEBUG, "sync",
                         "state=log_not_emptied status=%s",
                         hearth_status_name(st));
    hearth_prepared_free(s->prepared);
    s->prepared = NULL;
    s->has_offer = false;
    return HEARTH_OK;
}

hearth_status hearth_sync__give_up(hearth_sync *s, hearth_abort_reason reason,
                                   bool silent, const hearth_error *why,
                                   hearth_sync_event *ev, hearth_error *err) {
    hearth_error words = {HEARTH_OK, {0}};
    if (why) words = *why;
    hearth_status st = hearth_sync__drop_training(s, err);
    if (st == HEARTH_OK)
        st = end_round(s, HEARTH_SYNC_ROUND_GAVE_UP, words.text, err);
    if (st != HEARTH_OK) return st;
    s->abort_reason = reason;
    memcpy(s->session.note, words.text, sizeof(s->session.note));
    s->session.note_ms = hearth_sync__now(s);
    ev->kind = HEARTH_SYNC_GAVE_UP;
    ev->reason = words;
    hearth_sync__label(s, ev);
    hearth_error_clear(err);
    hearth_log_write(s->cfg.log, HEARTH_LOG_WARN, "sync",
                     "task=%s round=%llu state=gave_up status=%s",
                     s->offer->task, (unsigned long long)s->offer->round,
                     hearth_status_name(words.status));
    if (!silent) {
        s->state = ST_ABORT;
        return HEARTH_OK;
    }
    st = hearth_sync__rest(s, false, err);
    ev->wait_ms = hearth_sync_wait_ms(s);
    return st;
}

/* A request about the upload failed. */
static hearth_status trouble(hearth_sync *s, hearth_status st,
                             const hearth_reply_info *info,
                             hearth_sync_event *ev, hearth_error *err) {
    switch (st) {
    case HEARTH_EPEERREFUSED:
    case HEARTH_ENOTFOUND:
    case HEARTH_EFORMAT:
    case HEARTH_ETOOBIG:
    case HEARTH_EVERSION:
    case HEARTH_EEXPIRED:
        if (info->http_status) hearth_sync__heard(s, info);
        return hearth_sync__give_up(s, HEARTH_ABORT_ERROR,
                                    info->http_status >= 400, err, ev, err);
    case HEARTH_EDIGEST: /* it was damaged on the way: the same bytes again */
        if (++s->n_restart > MAX_RESTART)
            return hearth_sync__give_up(s, HEARTH_ABORT_ERROR, false, err, ev,
                                        err);
        s->offset = 0;
        s->state = ST_BEGIN;
        return hearth_sync__failed(s, st, info, ev, err);
    case HEARTH_ESTATE: /* the bytes are gone: forgotten or finished */
        return hearth_sync__give_up(s, HEARTH_ABORT_RECORDS, false, err, ev,
                                    err);
    case HEARTH_EAUTH: /* a new cookie, then on */
        if (s->session.cookie[0] && s->n_auth++ == 0) {
            s->session.cookie[0] = '\0';
            s->state = ST_IDLE;
            ev->kind = HEARTH_SYNC_UPLOAD;
            hearth_error_clear(err);
            return HEARTH_OK;
        }
        s->session.cookie[0] = '\0'; /* a new one did not help: wait */
        s->state = ST_IDLE;
        return hearth_sync__failed(s, st, info, ev, err);
    default: return hearth_sync__failed(s, st, info, ev, err);
    }
}

static hearth_status late(hearth_sync *s, hearth_sync_event *ev,
                          hearth_error *err) {
    (void)hearth_error_set(err, HEARTH_ETIMEOUT,
                           "the round's deadline passed before the delta was "
                           "sent");
    return hearth_sync__give_up(s, HEARTH_ABORT_DEADLINE, false, err, ev, err);
}

/* May bytes go over the network that there is now?  If not, wait for another
 * one; the deadline decides if this lasts. */
static bool network_ok(const hearth_sync *s) {
    return !s->cfg.policy->need_unmetered ||
           !hearth_sync__conditions(s).metered;
}

static hearth_status wait_for_network(hearth_sync *s, hearth_sync_event *ev,
                                      hearth_error *err) {
    hearth_status st = hearth_sync__sleep(s, 30000, false, err);
    ev->kind = HEARTH_SYNC_WAIT;
    ev->wait_ms = hearth_sync_wait_ms(s);
    return st;
}

static void show(hearth_sync *s, hearth_sync_event *ev) {
    const uint8_t *v;
    size_t n = 0;
    hearth_prepared_bytes(s->prepared, &v, &n, NULL);
    s->n_auth = 0;
    ev->kind = HEARTH_SYNC_UPLOAD;
    ev->sent = s->offset;
    ev->total = n;
    hearth_sync__label(s, ev);
    s->state = s->offset >= n ? ST_COMMIT : ST_APPEND;
}

hearth_status hearth_sync__begin(hearth_sync *s, hearth_sync_event *ev,
                                 hearth_error *err) {
    hearth_reply_info info = {.http_status = 0};
    hearth_upload u = target(s);
    if (hearth_sync__late(s, s->offer)) return late(s, ev, err);
    if (!network_ok(s)) return wait_for_network(s, ev, err);
    hearth_status st = hearth_prepared_sending(s->prepared, err);
    if (st != HEARTH_OK) return trouble(s, st, &info, ev, err);
    st = hearth_upload_begin(&u, s->prepared, &s->offset, &info, err);
    if (st != HEARTH_OK) return trouble(s, st, &info, ev, err);
    HEARTH_FAILPOINT("sync.after_begin");
    hearth_sync__heard(s, &info);
    show(s, ev);
    return HEARTH_OK;
}

hearth_status hearth_sync__append(hearth_sync *s, hearth_sync_event *ev,
                                  hearth_error *err) {
    hearth_reply_info info = {.http_status = 0};
    hearth_upload u = target(s);
    uint64_t before = s->offset;
    if (hearth_sync__late(s, s->offer)) return late(s, ev, err);
    if (!network_ok(s)) return wait_for_network(s, ev, err);
    hearth_status st = hearth_prepared_sending(s->prepared, err);
    if (st == HEARTH_OK)
        st = hearth_upload_append(&u, s->prepared, &s->offset, &info, err);
    if (st == HEARTH_ENET || st == HEARTH_ETIMEOUT)
        s->state = ST_BEGIN; /* ask what arrived */
    if (st != HEARTH_OK) return trouble(s, st, &info, ev, err);
    HEARTH_FAILPOINT("sync.after_append");
    s->n_stuck = s->offset > before ? 0 : s->n_stuck + 1;
    if (s->n_stuck > MAX_STUCK) {
        (void)hearth_error_set(err, HEARTH_EFORMAT,
                               "the coordinator takes no bytes of the upload; "
                               "tell its operator");
        return trouble(s, HEARTH_EFORMAT, &info, ev, err);
    }
    hearth_sync__heard(s, &info);
    show(s, ev);
    return HEARTH_OK;
}

hearth_status hearth_sync__commit(hearth_sync *s, hearth_sync_event *ev,
                                  hearth_error *err) {
    hearth_reply_info info = {.http_status = 0};
    hearth_upload u = target(s);
    HEARTH_FAILPOINT("sync.before_commit");
    hearth_status st = hearth_prepared_sending(s->prepared, err);
    if (st != HEARTH_OK) return trouble(s, st, &info, ev, err);
    st = hearth_upload_commit(&u, s->prepared, &info, err);
    if (st == HEARTH_ESTATE && info.reason == HEARTH_REASON_OFFSET) {
        s->state = ST_BEGIN; /* bytes are missing after all */
        return hearth_sync__failed(s, st, &info, ev, err);
    }
    if (st != HEARTH_OK) return trouble(s, st, &info, ev, err);
    HEARTH_FAILPOINT("sync.after_commit");
    st = end_round(s, HEARTH_SYNC_ROUND_COMMITTED, NULL, err);
    if (st != HEARTH_OK) return st;
    HEARTH_FAILPOINT("sync.after_done");
    hearth_sync__heard(s, &info);
    ev->kind = HEARTH_SYNC_COMMITTED;
    hearth_sync__label(s, ev);
    ev->sent = ev->total = s->offset;
    hearth_log_write(s->cfg.log, HEARTH_LOG_INFO, "sync",
                     "task=%s round=%llu state=committed", s->offer->task,
                     (unsigned long long)s->offer->round);
    st = hearth_sync__rest(s, true, err);
    ev->wait_ms = hearth_sync_wait_ms(s);
    return st;
}

/* Tell the coordinator; whether it heard does not matter to us. */
hearth_status hearth_sync__abort(hearth_sync *s, hearth_sync_event *ev,
                                 hearth_error *err) {
    hearth_reply_info info = {.http_status = 0};
    hearth_upload u = target(s);
    int64_t spent = hearth_sync__now(s) - s->since_ms;
    hearth_status st = hearth_upload_abort(&u, s->abort_reason,
                                           spent > 0 ? spent : 0, &info, err);
    if (hearth_sync__own_fault(st)) return st;
    if (info.http_status) hearth_sync__heard(s, &info);
    hearth_error_clear(err);
    ev->kind = HEARTH_SYNC_WAIT;
    hearth_sync__label(s, ev);
    if (s->reply && s->next_offer < s->reply->n_offers) {
        s->state = ST_OFFERS;
        return HEARTH_OK;
    }
    st = hearth_sync__rest(s, false, err);
    ev->wait_ms = hearth_sync_wait_ms(s);
    return st;
}

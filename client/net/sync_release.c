/* SPDX-License-Identifier: Apache-2.0 */
/* client/net/sync_release.c - fetch, verify and install what the check-in
 * named.  A release that does not fit this device is found out from its
 * manifest, before its content is asked for. */
#include "client/net/sync_private.h"

#include <string.h>

#include "common/failpoint.h"
#include "common/mem.h"

static hearth_status plan(hearth_sync *s, hearth_download *d,
                          hearth_error *err) {
    hearth_personal_info info;
    hearth_status st =
        hearth_personal_info_get(&info, s->cfg.db, s->want_task, err);
    *d = (hearth_download){.tr = s->cfg.transport,
                           .al = &s->alloc,
                           .db = s->cfg.db,
                           .cookie = s->session.cookie,
                           .task = s->want_task,
                           .sequence = s->want_sequence,
                           .have_sequence = info.sequence,
                           .keyset = s->keyset,
                           .now_ms = hearth_sync__now(s)};
    return st;
}

hearth_status hearth_sync__releases(hearth_sync *s, hearth_sync_event *ev,
                                    hearth_error *err) {
    hearth_personal_info info;
    ev->kind = HEARTH_SYNC_DOWNLOAD;
    while (s->next_release < s->reply->n_releases) {
        const hearth_release_ref *r = &s->reply->releases[s->next_release++];
        if (s->task && strcmp(s->task, r->task) != 0) continue;
        hearth_status st =
            hearth_personal_info_get(&info, s->cfg.db, r->task, err);
        if (st != HEARTH_OK) return st;
        if (r->sequence <= info.sequence) continue;
        memcpy(s->want_task, r->task, sizeof(s->want_task));
        s->want_sequence = r->sequence;
        s->want_has_digest = true;
        memcpy(s->want_digest, r->manifest_digest, 32);
        s->state = ST_MANIFEST;
        return hearth_sync__manifest(s, ev, err);
    }
    s->state = ST_OFFERS;
    return hearth_sync__offers(s, ev, err);
}

/* The release is of no use to us: say so and go on with the cycle. */
static hearth_status reject(hearth_sync *s, hearth_status st,
                            const hearth_reply_info *info,
                            hearth_sync_event *ev, hearth_error *err) {
    hearth_fault f = hearth_status_class(st);
    if (st == HEARTH_EAUTH) { /* the cookie ran out: a new cycle */
        s->session.cookie[0] = '\0';
        s->state = ST_IDLE;
        return hearth_sync__failed(s, st, info, ev, err);
    }
    if (f == HEARTH_FAULT_SYSTEM || st == HEARTH_ECANCELLED)
        return hearth_sync__failed(s, st, info, ev, err);
    ev->kind = HEARTH_SYNC_REFUSED;
    memcpy(ev->task, s->want_task, sizeof(ev->task));
    ev->sequence = s->want_sequence;
    ev->reason = *err;
    ev->reason.status = st;
    memcpy(s->session.note, err->text, sizeof(s->session.note));
    s->session.note_ms = hearth_sync__now(s);
    hearth_error_clear(err);
    s->state = ST_RELEASES; /* the next one, then the offers */
    return hearth_download_drop(s->cfg.db, s->want_task, err);
}

hearth_status hearth_sync__manifest(hearth_sync *s, hearth_sync_event *ev,
                                    hearth_error *err) {
    hearth_download d;
    hearth_reply_info info = {.http_status = 0};
    hearth_adapter *fits = NULL;
    hearth_status st = plan(s, &d, err);
    if (st != HEARTH_OK) return st;
    hearth_buf_clear(&s->manifest);
    st =
        hearth_download_manifest(&d, s->want_has_digest ? s->want_digest : NULL,
                                 &s->manifest, s->release, &info, err);
    if (st == HEARTH_OK)
        st = hearth_space_adapter(&fits, &s->release->space, &s->local,
                                  &s->alloc, err);
    hearth_adapter_free(fits);
    if (st != HEARTH_OK) return reject(s, st, &info, ev, err);
    s->n_failures = 0;
    s->n_stuck = 0;
    ev->kind = HEARTH_SYNC_DOWNLOAD;
    memcpy(ev->task, s->want_task, sizeof(ev->task));
    ev->sequence = s->want_sequence;
    ev->total = s->release->content_bytes;
    s->state = ST_PIECE;
    return HEARTH_OK;
}

static hearth_status install(hearth_sync *s, const hearth_download *d,
                             hearth_error *err) {
    hearth_buf payload = HEARTH_BUF_INIT(&s->alloc);
    hearth_status st = hearth_download_finish(d, s->release, &payload, err);
    if (st == HEARTH_OK)
        st = hearth_personal_install(&s->personal, s->release, s->manifest.v,
                                     s->manifest.n, payload.v, payload.n,
                                     hearth_sync__now(s), err);
    if (st == HEARTH_OK) st = hearth_download_drop(d->db, d->task, err);
    hearth_buf_free(&payload);
    return st;
}

hearth_status hearth_sync__piece(hearth_sync *s, hearth_sync_event *ev,
                                 hearth_error *err) {
    hearth_download d;
    hearth_reply_info info = {.http_status = 0};
    bool done = false;
    hearth_status st = plan(s, &d, err);
    if (st != HEARTH_OK) return st;
    ev->kind = HEARTH_SYNC_DOWNLOAD;
    memcpy(ev->task, s->want_task, sizeof(ev->task));
    ev->sequence = s->want_sequence;
    ev->total = s->release->content_bytes;
    st = hearth_download_piece(&d, s->release, &done, &info, err);
    if (st == HEARTH_OK) HEARTH_FAILPOINT("sync.after_piece");
    if (st == HEARTH_OK) s->n_failures = 0;
    if (st == HEARTH_OK && done) {
        st = install(s, &d, err);
        if (st == HEARTH_OK) {
            ev->kind = HEARTH_SYNC_INSTALLED;
            s->state = ST_RELEASES;
            hearth_log_write(s->cfg.log, HEARTH_LOG_INFO, "sync",
                             "task=%s release=%llu state=installed",
                             s->want_task,
                             (unsigned long long)s->want_sequence);
        }
    }
    if (st == HEARTH_EDIGEST && s->n_stuck++ == 0) {
        /* Dropped; once more from the start, then no more in this cycle. */
        hearth_error_clear(err);
        return HEARTH_OK;
    }
    return st == HEARTH_OK ? st : reject(s, st, &info, ev, err);
}

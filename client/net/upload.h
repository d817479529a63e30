/* SPDX-License-Identifier: Apache-2.0 */
/* client/net/upload.h - send a prepared delta: begin, append, commit.
 *
 * Data flow:  delta/prepare -> [upload] ~~> coordinator/intake
 *
 * Takes a hearth_prepared and nothing else, and only delta/prepare.c can make
 * one, so no other bytes of the device's records can leave by this door.  Each
 * call is one request; every one may be repeated after a crash or a lost reply
 * and then sends the same bytes.  None carries the device's certificate or
 * cookie: the token of the offer lets it in, and nothing on the wire joins the
 * bytes to the device.
 *
 *     st = hearth_upload_begin(&u, p, &offset, &rep, err);
 *     while (st == HEARTH_OK && offset < n) st = hearth_upload_append(..);
 *     if (st == HEARTH_OK) st = hearth_upload_commit(&u, p, &rep, err);
 *
 * Threads: one thread at a time per transport.
 * Memory:  a request holds one chunk in flight, borrowed from the prepared
 *          delta, and a small reply.
 */
#ifndef HEARTH_CLIENT_NET_UPLOAD_H
#define HEARTH_CLIENT_NET_UPLOAD_H

#include "client/delta/prepare.h"
#include "client/net/reply.h"
#include "client/net/transport.h"

#define HEARTH_UPLOAD_CHUNK ((size_t)256 << 10) /* bytes in one append */

/* What the bytes are for; all borrowed. */
typedef struct {
    const hearth_transport *tr;
    const hearth_alloc *al;
    const hearth_offer *offer; /* names the place, the layout and the token */
} hearth_upload;

/* Announce the upload: its length, digest and place.  offset receives the bytes
 * that the coordinator has already.
 *
 * Returns HEARTH_OK
 *         HEARTH_EPEERREFUSED  the round is full, closed, or took other bytes
 *                              from this token: give the round up
 *         HEARTH_ENOTFOUND     the token is unknown: give the round up
 *         HEARTH_ESTATE        bytes may not leave (hearth_prepared_sending)
 *         HEARTH_EAUTH         a credential is asked for: check in again
 *         HEARTH_EBUSY         asked to come back; rep->retry says when
 *         HEARTH_EFORMAT       the reply is not what the protocol says
 *         or what the transport returns */
HEARTH_MUST_CHECK
hearth_status hearth_upload_begin(const hearth_upload *u,
                                  const hearth_prepared *p, uint64_t *offset,
                                  hearth_reply_info *rep, hearth_error *err);

/* Ask how many bytes arrived (HEAD).  Returns as begin. */
HEARTH_MUST_CHECK
hearth_status hearth_upload_ask(const hearth_upload *u, uint64_t *offset,
                                hearth_reply_info *rep, hearth_error *err);

/* Send one chunk from *offset and move *offset to what the coordinator then
 * has, which may be any value up to the length, also below what was given when
 * it asks to go on from there.  Returns as begin. */
HEARTH_MUST_CHECK
hearth_status hearth_upload_append(const hearth_upload *u,
                                   const hearth_prepared *p, uint64_t *offset,
                                   hearth_reply_info *rep, hearth_error *err);

/* Ask that the bytes count.  HEARTH_OK means: counted exactly once in a release,
 * or the round will be declared failed.  Returns as begin. */
HEARTH_MUST_CHECK
hearth_status hearth_upload_commit(const hearth_upload *u,
                                   const hearth_prepared *p,
                                   hearth_reply_info *rep, hearth_error *err);

/* Coarse time spent: how hearth_upload_abort tells it. */
hearth_time_bucket hearth_upload_bucket(int64_t spent_ms);

/* Say that this device will not finish: one of few reasons and a coarse time,
 * nothing else.  Returns as begin; the caller may ignore it. */
HEARTH_MUST_CHECK
hearth_status hearth_upload_abort(const hearth_upload *u,
                                  hearth_abort_reason reason, int64_t spent_ms,
                                  hearth_reply_info *rep, hearth_error *err);

#endif /* HEARTH_CLIENT_NET_UPLOAD_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* client/net/download.h - fetch a release: manifest, verification, payload.
 *
 * Data flow:  registry ~~> [download] -> personal (install)
 *
 * Nothing of a payload is asked for before its manifest is verified: signature
 * by a release key of the keyset, sequence, expiry.  The payload comes in
 * pieces of at most HEARTH_DOWNLOAD_PIECE bytes, each stored before the next is
 * asked for, so that a killed process goes on where it was; at the end its
 * length and SHA-256 must be the manifest's, else all of it is dropped.
 *
 * Threads: one thread at a time.
 * Memory:  one piece at a time; the assembled payload once, at the end.
 */
#ifndef HEARTH_CLIENT_NET_DOWNLOAD_H
#define HEARTH_CLIENT_NET_DOWNLOAD_H

#include "client/net/reply.h"
#include "client/net/transport.h"
#include "common/db.h"
#include "proto/signed.h"

#define HEARTH_DOWNLOAD_PIECE       ((size_t)1 << 20)    /* bytes a request */
#define HEARTH_DOWNLOAD_MAX_PAYLOAD ((uint64_t)64 << 20) /* bytes */

/* What is wanted, and what it must satisfy; all borrowed. */
typedef struct {
    const hearth_transport *tr;
    const hearth_alloc *al;
    hearth_db *db;      /* pieces are kept in its table release_piece */
    const char *cookie; /* of the last check-in */
    const char *task;
    uint64_t sequence;           /* the release asked for */
    uint64_t have_sequence;      /* newest verified so far; 0 = none */
    const hearth_keyset *keyset; /* verified against the root */
    int64_t now_ms;              /* Unix ms; 0 = expiry is not looked at */
} hearth_download;

/* Fetch and verify the manifest: its bytes are added to `manifest`, *out is what
 * they say.
 *
 *   digest  [32] of the manifest as the check-in named it; NULL = any
 *
 * Returns HEARTH_OK
 *         HEARTH_ESIGNATURE  not signed by a release key of the keyset
 *         HEARTH_EREPLAY     its sequence is not the one asked for, or is below
 *                            have_sequence
 *         HEARTH_EEXPIRED    past its expiry
 *         HEARTH_EMISMATCH   for another task
 *         HEARTH_ETOOBIG     names a payload above the cap
 *         HEARTH_EFORMAT, or as hearth_reply_check and the transport */
HEARTH_MUST_CHECK
hearth_status
hearth_download_manifest(const hearth_download *d, const uint8_t *digest,
                         hearth_buf *manifest, hearth_release *out,
                         hearth_reply_info *rep, hearth_error *err);

/* The verification alone, for bytes at hand (an installed release is verified
 * again before each use; then sequence == have_sequence).  Returns as above. */
HEARTH_MUST_CHECK
hearth_status hearth_download_verify(const hearth_download *d,
                                     const uint8_t *manifest, size_t n,
                                     hearth_release *out, hearth_error *err);

/* Fetch the next piece.  *done becomes true when all bytes are there.
 * Returns HEARTH_OK, HEARTH_EFORMAT, HEARTH_EIO, or as above. */
HEARTH_MUST_CHECK
hearth_status hearth_download_piece(const hearth_download *d,
                                    const hearth_release *m, bool *done,
                                    hearth_reply_info *rep, hearth_error *err);

/* Put the stored pieces together and check them.  payload is filled on
 * HEARTH_OK.  HEARTH_EDIGEST: not the bytes that were signed; the pieces are
 * dropped and the download starts over. */
HEARTH_MUST_CHECK
hearth_status hearth_download_finish(const hearth_download *d,
                                     const hearth_release *m,
                                     hearth_buf *payload, hearth_error *err);

/* Drop the pieces of a task (installed, or given up). */
HEARTH_MUST_CHECK
hearth_status hearth_download_drop(hearth_db *db, const char *task,
                                   hearth_error *err);

#endif /* HEARTH_CLIENT_NET_DOWNLOAD_H */

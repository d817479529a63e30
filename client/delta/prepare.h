/* SPDX-License-Identifier: Apache-2.0 */
/* client/delta/prepare.h - the one door through which data-dependent numbers
 * leave the device.
 *
 * Data flow:  delta -> [prepare: noise drawn, clip, quantize, add] -> upload
 *
 * Only prepare.c can make a hearth_prepared (the type is incomplete
 * everywhere else) and client/net/upload takes nothing else.  The bytes and
 * their charge are one transaction of the ledger; a retry sends the stored
 * bytes, never a second draw.
 *
 *     st = hearth_prepare(&p, ls, &offer, spans, n_spans, NULL, 0, rng, clock,
 *                         err);
 *     st = hearth_prepared_sending(p, err);         // durable, then:
 *     hearth_prepared_bytes(p, &ptr, &n, digest);   // send these, and again
 *     st = hearth_prepared_finish(p, err);          // committed or expired
 *     hearth_prepared_free(p);
 *
 * Threads: a handle belongs to one thread at a time, the thread of its ledger.
 * Memory:  12 bytes a coordinate while preparing, 4 after; wiped before freed.
 */
#ifndef HEARTH_CLIENT_DELTA_PREPARE_H
#define HEARTH_CLIENT_DELTA_PREPARE_H

#include <stddef.h>
#include <stdint.h>

#include "client/delta/ledger_store.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/rng.h"
#include "common/span.h"
#include "proto/messages.h"

/* Bounded, noised, charged bytes.  Incomplete outside prepare.c on purpose. */
typedef struct hearth_prepared hearth_prepared;

/* Make the upload of one round, and charge it.
 *
 *   offer    the terms; d, D_d, Delta2, s_k, scale, clip and sigma^2 are checked
 *            against each other, and z is computed from them, not believed
 *   delta    [n_spans]  sum of n == offer->d; WIPED by the call, whatever it
 *                       returns (once the arguments themselves are sane)
 *   coords   [n_coords] in [0, 1], one for each s_k of the offer that the
 *            caller measures: all of them in a round without a delta (d == 0),
 *            all but s_0 in any other, because coordinate 0 is the clip bit
 *            then: 1 when the norm of delta, before it is clipped, is at most
 *            the clip, else 0.  It is made here, of what is clipped here.
 *   rng      the device's generator
 *   clock    for the time of the row
 *
 * Order: noise is drawn before delta or coords are read; then clip (and the
 * clip bit), quantize (at most 64 draws), add; then one transaction stores bytes and charge.
 *
 * When this round was prepared before under the same terms, its stored bytes
 * are returned and nothing is charged; under changed terms the old bytes are
 * erased (their charge is voided if no byte had left) and a new charge is made.
 *
 * Returns HEARTH_OK, *out is the caller's
 *         HEARTH_EINVAL      a NULL pointer, or spans and offer disagree on d
 *         HEARTH_ETOOBIG     above a limit, or no rounding met D_d in 64 tries
 *         HEARTH_ENONFINITE  NaN or infinity in delta or coords; destroyed
 *         HEARTH_EFORMAT     the offer contradicts itself
 *         HEARTH_EREFUSED    the ledger's rules refuse the charge
 *         HEARTH_ESTATE      this round was finished already
 *         HEARTH_ERNG        no randomness: nothing was prepared
 *         HEARTH_ENOMEM, HEARTH_EIO, HEARTH_ENOSPACE, HEARTH_EBUSY: nothing
 *                            was stored or charged
 */
HEARTH_MUST_CHECK
hearth_status hearth_prepare(hearth_prepared **out, hearth_ledger_store *ls,
                             const hearth_offer *offer,
                             const hearth_span *delta, size_t n_spans,
                             const double *coords, size_t n_coords,
                             hearth_rng *rng, hearth_clock clock,
                             hearth_error *err);

/* The stored bytes of a round, after a restart.
 * Returns HEARTH_OK, HEARTH_ENOTFOUND (never prepared), HEARTH_ESTATE (bytes
 * erased: finished or voided), HEARTH_EDIGEST (bytes changed on disk). */
HEARTH_MUST_CHECK
hearth_status hearth_prepared_load(hearth_prepared **out,
                                   hearth_ledger_store *ls,
                                   const hearth_round_key *key,
                                   hearth_error *err);

/* Make durable that bytes may leave from now on.  Call before the first byte;
 * idempotent.  Returns HEARTH_OK, HEARTH_ESTATE (finished or voided), HEARTH_EIO
 * and so on: then send nothing. */
HEARTH_MUST_CHECK
hearth_status hearth_prepared_sending(hearth_prepared *p, hearth_error *err);

/* The coordinator acknowledged, or the round is over: erase the bytes on disk.
 * The charge stays.  Idempotent. */
HEARTH_MUST_CHECK
hearth_status hearth_prepared_finish(hearth_prepared *p, hearth_error *err);

/* int32 little-endian, canonical order, appended coordinates last; borrowed
 * from p.  digest (may be NULL) receives the SHA-256 of the bytes.  *ptr is
 * NULL and *n 0 unless hearth_prepared_sending succeeded. */
void hearth_prepared_bytes(const hearth_prepared *p, const uint8_t **ptr,
                           size_t *n, uint8_t digest[32]);

/* Borrowed from p. */
const hearth_round_key *hearth_prepared_key(const hearth_prepared *p);

/* Wipes memory and frees.  NULL is a no-op.  Nothing changes on disk. */
void hearth_prepared_free(hearth_prepared *p);

#endif /* HEARTH_CLIENT_DELTA_PREPARE_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/place.h - a device's place in a round: its tag and its token.
 *
 * Both are HMACs of the device's id under the key of the round.  The tag says
 * that it takes part, the token lets it upload, and neither can be told from
 * the other once the key is erased.  While the round is open the coordinator
 * can make both again: that is how a lost reply is repeated, and how a revoked
 * device loses the place it holds.
 *
 *     st = hearth_place_revoke(store, "d-17..", &n, &err);
 *
 * Threads: no state; a store belongs to one thread at a time.
 * Memory:  nothing is kept.
 */
#ifndef HEARTH_COORDINATOR_PLACE_H
#define HEARTH_COORDINATOR_PLACE_H

#include "coordinator/coord_store.h"

/* HMAC(key, purpose || device) for participation, uploads and spacing.  Tags
 * are stored; a token is for its device alone, and the caller wipes it.
 * Returns HEARTH_OK, HEARTH_EINVAL (an id that is too long), HEARTH_ENOMEM. */
HEARTH_MUST_CHECK
hearth_status hearth_place_tag(uint8_t out[32], const hearth_secret *round_key,
                               const char *device);
HEARTH_MUST_CHECK
hearth_status hearth_place_token(hearth_secret *out,
                                 const hearth_secret *round_key,
                                 const char *device);
HEARTH_MUST_CHECK
hearth_status hearth_place_spacing(uint8_t out[32],
                                   const hearth_secret *cooldown_key,
                                   const char *device);

/* Abort what a device was invited to in open rounds and has not committed: its
 * tokens are dead from now on, also those it holds already.  What was
 * acknowledged stays.  May run beside the coordinator, on a handle of its own.
 *
 *   n  how many places were taken away; may be NULL
 *
 * Returns HEARTH_OK, or what the store returned. */
HEARTH_MUST_CHECK
hearth_status hearth_place_revoke(hearth_coord_store *s, const char *device,
                                  unsigned *n, hearth_error *err);

#endif /* HEARTH_COORDINATOR_PLACE_H */

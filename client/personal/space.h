/* SPDX-License-Identifier: Apache-2.0 */
/* client/personal/space.h - does an adapter that a coordinator describes fit
 * the base, tokenizer and template on this device, and what does it look like?
 *
 *     st = hearth_space_adapter(&a, &offer.space, &local, al, err);  // A, B = 0
 *     st = hearth_space_check_payload(a, &offer.space, &offer.privacy, err);
 *
 * Nothing is believed: the adapter is built from the numbers, and each digest
 * that the coordinator gave is computed again from it.
 *
 * Threads: pure functions.
 * Memory:  the adapter is the caller's.
 */
#ifndef HEARTH_CLIENT_PERSONAL_SPACE_H
#define HEARTH_CLIENT_PERSONAL_SPACE_H

#include "client/model/base_model.h"
#include "common/adapter.h"
#include "proto/messages.h"

/* What this device has. */
typedef struct {
    const hearth_model *model;       /* borrowed */
    const char *base_name;           /* as the user named it; may be NULL */
    const uint8_t *tokenizer_digest; /* [32], borrowed */
    const uint8_t *template_digest;  /* [32], borrowed */
} hearth_space_local;

/* The factors that a rule trains and sends. */
hearth_part hearth_space_part(const hearth_wire_space *s);

/* Build the adapter of a space: A from its seed, B zero.
 *
 * Returns HEARTH_OK
 *         HEARTH_EMISMATCH  another base, tokenizer or template than ours; err
 *                           names both sides and the command that fixes it
 *         HEARTH_EDIGEST    the numbers do not give the digests beside them
 *         HEARTH_EUNSUPPORTED  a rule that this build does not know
 *         HEARTH_EINVAL, HEARTH_ETOOBIG (rank, targets), HEARTH_ENOMEM */
HEARTH_MUST_CHECK
hearth_status hearth_space_adapter(hearth_adapter **out,
                                   const hearth_wire_space *s,
                                   const hearth_space_local *local,
                                   const hearth_alloc *al, hearth_error *err);

/* The payload's dimension and digest against the adapter.
 * Returns HEARTH_OK, HEARTH_EDIGEST, HEARTH_EUNSUPPORTED (coordinates other
 * than the clip bit). */
HEARTH_MUST_CHECK
hearth_status hearth_space_check_payload(const hearth_adapter *a,
                                         const hearth_wire_space *s,
                                         const hearth_wire_privacy *p,
                                         hearth_error *err);

#endif /* HEARTH_CLIENT_PERSONAL_SPACE_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* proto/negotiate.h - agree on a protocol version.
 *
 * A message starts with the major version it is written in.  A device lists
 * the majors that it understands at check-in, the coordinator answers with
 * the highest that both know, and everything after is in that one.
 *
 * Threads: pure functions.
 */
#ifndef HEARTH_PROTO_NEGOTIATE_H
#define HEARTH_PROTO_NEGOTIATE_H

#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

/* The majors of this build, highest first; *n gets how many. */
const uint32_t *hearth_negotiate_ours(size_t *n);

/* Highest version in both lists.
 *
 * Returns HEARTH_OK        *version is set
 *         HEARTH_EINVAL    a NULL with a count
 *         HEARTH_EVERSION  none in common; err lists both sides and says which
 *                          one to update */
HEARTH_MUST_CHECK
hearth_status hearth_negotiate(const uint32_t *theirs, size_t n_theirs,
                               uint32_t *version, hearth_error *err);

#endif /* HEARTH_PROTO_NEGOTIATE_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/token.h - one-time enrolment tokens.
 *
 * A token is 32 random bytes as hex behind a fixed prefix, so that a person and
 * a secret scanner both see what it is.  Only its SHA-256 is ever stored.
 *
 *     char text[HEARTH_TOKEN_CHARS];
 *     st = hearth_token_new(text, rng);
 *     st = hearth_token_hash(hash, text);
 *
 * Threads: no shared state.
 */
#ifndef HEARTH_COORDINATOR_TOKEN_H
#define HEARTH_COORDINATOR_TOKEN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/hash.h"
#include "common/rng.h"
#include "common/status.h"

#define HEARTH_TOKEN_PREFIX "hearth-"
#define HEARTH_TOKEN_CHARS  72 /* 7 + 64 + NUL */

/* A fresh token.  Returns HEARTH_OK, HEARTH_EINVAL (NULL), HEARTH_ERNG. */
HEARTH_MUST_CHECK
hearth_status hearth_token_new(char text[HEARTH_TOKEN_CHARS], hearth_rng *rng);

/* Has text the form of a token? */
bool hearth_token_ok(const char *text);

/* What is stored of it.  Returns HEARTH_OK, HEARTH_EFORMAT (not a token), or
 * what hearth_sha256 returned. */
HEARTH_MUST_CHECK
hearth_status hearth_token_hash(uint8_t hash[HEARTH_SHA256_BYTES],
                                const char *text);

#endif /* HEARTH_COORDINATOR_TOKEN_H */

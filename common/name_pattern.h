/* SPDX-License-Identifier: Apache-2.0 */
/* common/name_pattern.h - does a key of rank_pattern mean this module?
 *
 * A key is a name, the end of one after a dot, or a small regular expression:
 * as Python's re.match("(.*\.)?(KEY)$", module).  Known are literals, '.',
 * classes, groups with '|', '*' '+' '?' behind any of them, '^' and '$', and
 * the escapes \d \w \s and of punctuation; the rest is refused, not guessed.
 *
 * Threads: pure functions.
 * Memory:  allocates nothing; the work is bounded by pattern times name.
 * Source:  peft.utils.other.get_pattern_key; the simulation of all states at
 *          once: Thompson, Regular expression search algorithm, CACM 1968.
 */
#ifndef HEARTH_COMMON_NAME_PATTERN_H
#define HEARTH_COMMON_NAME_PATTERN_H

#include <stdbool.h>

#include "common/status.h"

/* Returns HEARTH_OK with *matches set, HEARTH_EUNSUPPORTED for an expression
 * outside the language above, HEARTH_ETOOBIG for one that is too long;
 * *matches is false then.  name "" is fine: only the key is judged. */
HEARTH_MUST_CHECK
hearth_status hearth_name_pattern_match(const char *pattern, const char *name,
                                        bool *matches);

#endif /* HEARTH_COMMON_NAME_PATTERN_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* hearth/records.h - private records: in, consent, out again.
 *
 * Records are JSON objects in one of five forms: {"text"}, {"prompt",
 * "completion"}, {"messages"}, {"instruction","input","output"} and
 * {"question","choices","answer"}.  They stay in the state directory; training
 * reads them there, and no function of this library sends one.
 *
 * Add records when they come in, not when training runs: a phone's health data
 * cannot be read while it is locked, which is just when it trains.
 *
 * Threads: as hearth/client.h.
 */
#ifndef HEARTH_RECORDS_H
#define HEARTH_RECORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hearth/client.h"

#ifdef __cplusplus
extern "C" {
#endif

#define HEARTH_RECORDS_ID_CHARS 65 /* with the NUL */

/* Purposes with a meaning here; a task names the one it needs. */
#define HEARTH_RECORDS_PERSONAL  "personal"  /* training that stays here */
#define HEARTH_RECORDS_FEDERATED "federated" /* noised sums may leave */

/* How a record is kept. */
typedef struct {
    size_t struct_size;
    const char *form;    /* "text", "prompt", "messages", "instruction" or
                            "choices"; NULL = seen from the keys */
    const char *purpose; /* what the user agreed to; NULL = "personal" */
    int64_t keep_ms;     /* forgotten after so long; 0 = kept */
} hearth_records_options;

#define HEARTH_RECORDS_OPTIONS_INIT                                            \
    { sizeof(hearth_records_options), NULL, NULL, 0 }

/* Add one record.
 *
 *   json  [n] UTF-8, one object, no NUL needed; n <= 4 MiB
 *   opt   NULL = defaults
 *   id    receives the record's id (hex), for forget; may be NULL
 *
 * A record that is there already keeps its place and is HEARTH_OK.
 * Returns HEARTH_OK, HEARTH_EINVAL, HEARTH_EFORMAT (not one of the forms),
 * HEARTH_ETOOBIG, HEARTH_EIO, HEARTH_ENOSPACE, HEARTH_ENOMEM */
HEARTH_API HEARTH_MUST_CHECK hearth_status
hearth_records_add(hearth_client *c, const char *json, size_t n,
                   const hearth_records_options *opt,
                   char id[HEARTH_RECORDS_ID_CHARS], hearth_error *err);

/* Give or withdraw consent of a record (id NULL: of all that are kept now) for a
 * purpose.  A record is used for the purposes it has consent for and no other.
 * Withdrawing destroys what was trained on it, as forget does; the record
 * stays.
 * Returns HEARTH_OK, HEARTH_EINVAL, HEARTH_ENOTFOUND, HEARTH_EIO */
HEARTH_API HEARTH_MUST_CHECK hearth_status
hearth_records_consent(hearth_client *c, const char *id, const char *purpose,
                       bool give, hearth_error *err);

/* Destroy a record (id NULL: all of them), and every adapter, optimizer state
 * and unsent delta on this device that was trained on it.  What was added to a
 * release already cannot be withdrawn; `hearth privacy` says what that was.
 * Returns HEARTH_OK, HEARTH_ENOTFOUND, HEARTH_EIO */
HEARTH_API HEARTH_MUST_CHECK hearth_status
hearth_records_forget(hearth_client *c, const char *id, hearth_error *err);

/* Number of records kept. */
HEARTH_API HEARTH_MUST_CHECK hearth_status
hearth_records_count(hearth_client *c, uint64_t *n, hearth_error *err);

#ifdef __cplusplus
}
#endif

#endif /* HEARTH_RECORDS_H */

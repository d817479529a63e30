/* SPDX-License-Identifier: Apache-2.0 */
/* client/records/record.h - one private record, read from one line of JSON.
 *
 * Data flow:  JSON line -> [record] -> record_store -> chat_template -> dataset
 *
 * Five forms: {"text"}; {"prompt","completion"};
 * {"messages":[{"role","content"}]}; {"instruction","input","output"} (input
 * may be left out); {"question","choices":[..],"answer":0}.  Each may carry an
 * "id".  Reading is strict: any other key, a wrong type, a duplicate key or an
 * empty answer is an error that says where, and never quotes the record.
 *
 *     hearth_record rec = HEARTH_RECORD_INIT;
 *     st = hearth_record_parse(&rec, line, n, HEARTH_FORM_AUTO, "f:3", al, err);
 *     ... rec.turn[0 .. rec.n_turns) ...
 *     hearth_record_free(&rec);
 *
 * Threads: no shared state.
 * Memory:  from al; zeroed before it is freed.
 */
#ifndef HEARTH_RECORDS_RECORD_H
#define HEARTH_RECORDS_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/tokenizer/chat_template.h"
#include "common/alloc.h"
#include "common/status.h"

#define HEARTH_RECORD_MAX_LINE    ((size_t)4 << 20) /* bytes of JSON */
#define HEARTH_RECORD_MAX_TURNS   256
#define HEARTH_RECORD_MAX_CHOICES 64
#define HEARTH_RECORD_MAX_ID      64 /* bytes, without the NUL */

/* Purposes with a meaning here; others are free words. */
#define HEARTH_PURPOSE_PERSONAL  "personal"  /* never leaves: local training */
#define HEARTH_PURPOSE_FEDERATED "federated" /* noised deltas may leave */

typedef enum {
    HEARTH_FORM_AUTO, /* by the keys that are there */
    HEARTH_FORM_TEXT,
    HEARTH_FORM_PROMPT,
    HEARTH_FORM_MESSAGES,
    HEARTH_FORM_INSTRUCTION,
    HEARTH_FORM_CHOICES
} hearth_record_form;

/* Start from HEARTH_RECORD_INIT; owns everything it points to. */
typedef struct {
    hearth_record_form form;           /* never AUTO after a parse */
    char id[HEARTH_RECORD_MAX_ID + 1]; /* given, else hex SHA-256 of content */
    hearth_turn *turn;                 /* [n_turns], for CHOICES the question
                                          and the right choice */
    size_t n_turns;
    hearth_turn *choice; /* [n_choices], only of CHOICES */
    size_t n_choices;
    size_t answer; /* index of the right choice */
    char *store;   /* [store_bytes] texts that turns point into */
    size_t store_bytes;
    const hearth_alloc *al;
} hearth_record;

#define HEARTH_RECORD_INIT                                                     \
    { HEARTH_FORM_AUTO, {0}, 0, 0, 0, 0, 0, 0, 0, 0 }

/* Name to form ("auto", "text", "prompt", "messages", "instruction",
 * "choices").  HEARTH_OK, or HEARTH_EINVAL whose text lists the names. */
HEARTH_MUST_CHECK
hearth_status hearth_record_form_parse(hearth_record_form *out,
                                       const char *name, hearth_error *err);

/* Static name of a form. */
const char *hearth_record_form_name(hearth_record_form form);

/* Read one line.
 *
 *   line   [n] one JSON object, UTF-8, white space around it allowed.
 *   form   a line of another form is refused; AUTO takes any.
 *   where  "file:line" for the error text, or NULL.
 *
 * The id, when not given, is the hex SHA-256 of form, roles and texts: the same
 * content has the same id whatever the order of keys or the escapes used.
 *
 * Returns HEARTH_OK
 *         HEARTH_EINVAL   rec or line is NULL
 *         HEARTH_ETOOBIG  line, turns or choices above the limits
 *         HEARTH_EFORMAT  not the JSON of a record, or not of this form
 *         HEARTH_ENOMEM
 * On failure rec is empty.
 */
HEARTH_MUST_CHECK
hearth_status hearth_record_parse(hearth_record *rec, const char *line,
                                  size_t n, hearth_record_form form,
                                  const char *where, const hearth_alloc *al,
                                  hearth_error *err);

/* Zero and release; rec is empty again.  NULL is a no-op. */
void hearth_record_free(hearth_record *rec);

/* The split rule of every device: in the hold-out when the first 8 bytes, big
 * endian, of SHA-256(id) are divisible by 5.  HEARTH_OK or HEARTH_EINVAL. */
HEARTH_MUST_CHECK
hearth_status hearth_record_is_holdout(const char *id, bool *holdout);

/* Is s a purpose: 1 to 32 of a-z, 0-9, '_', '.', '-'?  False for NULL. */
bool hearth_record_purpose_ok(const char *s);

/* Called for each record of a file; rec is borrowed.  A status that is not
 * HEARTH_OK ends the reading and is returned by it. */
typedef hearth_status (*hearth_record_fn)(void *ud, const hearth_record *rec,
                                          const char *line, size_t n,
                                          hearth_error *err);

/* Read a JSON-lines file, calling fn for each record in order.  Empty lines
 * are passed over.  Errors as hearth_record_parse, with "file:line:" before
 * their text; HEARTH_ENOTFOUND, HEARTH_EIO of the file; what fn returned. */
HEARTH_MUST_CHECK
hearth_status hearth_record_each_line(const char *path, hearth_record_form form,
                                      hearth_record_fn fn, void *ud,
                                      const hearth_alloc *al,
                                      hearth_error *err);

#endif /* HEARTH_RECORDS_RECORD_H */

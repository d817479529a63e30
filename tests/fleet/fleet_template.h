/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_template.h - a table row as a training record.
 *
 * A template is a text file.  Without a line "---" a row becomes a
 * {"text": ..} record; with one, what stands above is the prompt and what
 * stands below is the completion.  Lines that begin with "#" are comments.  A
 * line end is kept only between lines, never at the end of a part.
 *
 *     {column}           the cell as it is
 *     {column:1}         as a number with that many decimals (0 to 6)
 *     {column/60:1}      divided first
 *     {any:A,B,C}        the names of those of A, B, C whose cell is a number
 *                        above 0, in lower case, joined by ", "
 *     {any:A=calm,B=sad} the same with words of your own
 *     [text {column}]    an optional part: left out when a cell in it is empty,
 *                        or when an {any:..} in it names nothing
 *     \\ \{ \} \[ \]     the character itself
 *
 * A row is skipped when its completion (or, without "---", its text) is empty,
 * and when a cell outside any [..] is empty.
 *
 * Threads: immutable after parse.
 * Memory:  from al.
 */
#ifndef HEARTH_TESTS_FLEET_TEMPLATE_H
#define HEARTH_TESTS_FLEET_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"
#include "tests/fleet/fleet_csv.h"

#define HEARTH_FLEET_TEMPLATE_MAX_BYTES  ((size_t)16 << 10)
#define HEARTH_FLEET_TEMPLATE_MAX_PIECES ((size_t)512)

typedef struct hearth_fleet_template hearth_fleet_template;

/* Parse a template for a table; every column it names must be there.
 *
 * Returns HEARTH_OK
 *         HEARTH_EINVAL   a NULL argument
 *         HEARTH_EFORMAT  an unknown column (with a guess), a brace or bracket
 *                         that never ends, brackets in brackets, a bad number
 *                         format, two "---"; err says name:line
 *         HEARTH_ETOOBIG  above a limit of this header
 *         HEARTH_ENOMEM */
HEARTH_MUST_CHECK hearth_status hearth_fleet_template_parse(
    hearth_fleet_template **out, const char *name, const char *text, size_t n,
    const hearth_fleet_csv *table, const hearth_alloc *al, hearth_error *err);

HEARTH_MUST_CHECK
hearth_status hearth_fleet_template_load(hearth_fleet_template **out,
                                         const char *path,
                                         const hearth_fleet_csv *table,
                                         const hearth_alloc *al,
                                         hearth_error *err);

void hearth_fleet_template_free(hearth_fleet_template *t);

/* Append one row to out as a JSON object on one line, without a newline.
 * *used = false, and nothing appended, when the row is skipped.
 * HEARTH_OK, HEARTH_EFORMAT (a cell that should be a number is none; err names
 * row and column), HEARTH_ENOMEM. */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_template_render(const hearth_fleet_template *t,
                                           size_t row, hearth_buf *out,
                                           bool *used, hearth_error *err);

#endif /* HEARTH_TESTS_FLEET_TEMPLATE_H */

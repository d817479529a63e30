/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_csv.h - a table of text cells from a CSV file.
 *
 * Data flow:  CSV bytes -> [fleet_csv] -> fleet_template -> fleet_records
 *
 * RFC 4180 with a header row: cells may be quoted, a doubled quote inside
 * quotes is one quote, lines end in LF or CRLF, a UTF-8 byte order mark is
 * passed over, an empty last line is no row.  Strict: every row has the header's
 * number of cells, column names are unique (an index column may be unnamed).
 *
 *     hearth_fleet_csv *t;
 *     st = hearth_fleet_csv_parse(&t, "days.csv", text, n, al, err);
 *     size_t col = hearth_fleet_csv_column(t, "steps");
 *     const char *v = hearth_fleet_csv_cell(t, row, col);
 *     hearth_fleet_csv_free(t);
 *
 * Threads: immutable after parse.
 * Memory:  one copy of the text and one pointer a cell, from al.
 * Source:  RFC 4180.
 */
#ifndef HEARTH_TESTS_FLEET_CSV_H
#define HEARTH_TESTS_FLEET_CSV_H

#include <stddef.h>

#include "common/alloc.h"
#include "common/error.h"
#include "common/status.h"

#define HEARTH_FLEET_CSV_MAX_BYTES   ((size_t)256 << 20)
#define HEARTH_FLEET_CSV_MAX_COLUMNS ((size_t)1024)
#define HEARTH_FLEET_CSV_MAX_CELLS   ((size_t)1 << 24)
#define HEARTH_FLEET_CSV_NONE        ((size_t)-1)

typedef struct hearth_fleet_csv hearth_fleet_csv;

/* Parse text [n]; name is for messages.
 *
 * Returns HEARTH_OK
 *         HEARTH_EINVAL   out or text is NULL
 *         HEARTH_EFORMAT  no header, a NUL byte, bytes that are not UTF-8, a
 *                         quote that never ends or is followed by text, a row
 *                         of another width, a column name twice; err says
 *                         name:line
 *         HEARTH_ETOOBIG  above a limit of this header
 *         HEARTH_ENOMEM
 * On failure *out is NULL. */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_csv_parse(hearth_fleet_csv **out, const char *name,
                                     const char *text, size_t n,
                                     const hearth_alloc *al, hearth_error *err);

/* The same from a file; also HEARTH_ENOTFOUND, HEARTH_EIO. */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_csv_load(hearth_fleet_csv **out, const char *path,
                                    const hearth_alloc *al, hearth_error *err);

void hearth_fleet_csv_free(hearth_fleet_csv *t);

size_t
hearth_fleet_csv_rows(const hearth_fleet_csv *t); /* without the header */
size_t hearth_fleet_csv_columns(const hearth_fleet_csv *t);

/* Name of column i; "" for one without a name. Borrowed. */
const char *hearth_fleet_csv_name(const hearth_fleet_csv *t, size_t i);

/* Index of a column, or HEARTH_FLEET_CSV_NONE. */
size_t hearth_fleet_csv_column(const hearth_fleet_csv *t, const char *name);

/* The column nearest to a misspelt name, or NULL. */
const char *hearth_fleet_csv_guess(const hearth_fleet_csv *t, const char *name);

/* A cell, NUL-terminated; "" when empty.  row and column are in range. */
const char *hearth_fleet_csv_cell(const hearth_fleet_csv *t, size_t row,
                                  size_t column);

#endif /* HEARTH_TESTS_FLEET_CSV_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fuzz_fleet_csv.c - any bytes in: a table whose every cell can be
 * read, or an error.  Input: a template up to the first 0x01, then CSV. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fleet/fleet_csv.h"
#include "tests/fleet/fleet_template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void render_all(const hearth_fleet_csv *t, const char *text, size_t n) {
    hearth_fleet_template *tm;
    if (hearth_fleet_template_parse(&tm, "t", text, n, t, NULL, NULL) !=
        HEARTH_OK)
        return;
    for (size_t r = 0; r < hearth_fleet_csv_rows(t) && r < 8; r++) {
        hearth_buf b = HEARTH_BUF_INIT(NULL);
        bool used = false;
        hearth_status st = hearth_fleet_template_render(tm, r, &b, &used, NULL);
        if ((st != HEARTH_OK || !used) && b.n) abort();
        if (st == HEARTH_OK && used && memchr(b.v, '\n', b.n)) abort();
        hearth_buf_free(&b);
    }
    hearth_fleet_template_free(tm);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *mark = size ? memchr(data, 1, size) : NULL;
    size_t head = mark ? (size_t)(mark - data) : 0;
    const uint8_t *csv = mark ? mark + 1 : data;
    hearth_fleet_csv *t;
    size_t total = 0;
    if (hearth_fleet_csv_parse(&t, "f", (const char *)csv,
                               size - (size_t)(csv - data), NULL,
                               NULL) != HEARTH_OK)
        return 0;
    for (size_t r = 0; r < hearth_fleet_csv_rows(t); r++)
        for (size_t c = 0; c < hearth_fleet_csv_columns(t); c++)
            total += strlen(hearth_fleet_csv_cell(t, r, c));
    if (total > size) abort();
    render_all(t, (const char *)data, head);
    hearth_fleet_csv_free(t);
    return 0;
}

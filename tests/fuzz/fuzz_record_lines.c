/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz_record_lines.c - any bytes as a file of records: every line
 * that is handed on is one record of the file, in order; a refusal names the
 * line; what the caller says ends the reading. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/records/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MOST 64 /* records; the next one ends the reading */

static char path[] = "/tmp/hearth_fuzz_linesXXXXXX";

static void clean_up(void) {
    (void)unlink(path);
}

static void write_file(const uint8_t *data, size_t size) {
    static int fd = -1;
    if (fd < 0) {
        fd = mkstemp(path);
        if (fd < 0 || atexit(clean_up) != 0) abort();
    }
    if (ftruncate(fd, 0) != 0 || lseek(fd, 0, SEEK_SET) != 0) abort();
    if (size && write(fd, data, size) != (ssize_t)size) abort();
}

typedef struct {
    const uint8_t *data;
    size_t size, at, n;
} seen;

static hearth_status see(void *ud, const hearth_record *rec, const char *line,
                         size_t n, hearth_error *err) {
    seen *s = ud;
    (void)err;
    if (!rec->n_turns || !n || memchr(line, '\n', n)) abort();
    while (s->at + n <= s->size && memcmp(s->data + s->at, line, n) != 0)
        s->at++;
    if (s->at + n > s->size) abort(); /* not of the file, or out of order */
    s->at += n;
    return ++s->n > MOST ? HEARTH_ECANCELLED : HEARTH_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    seen s = {data, size, 0, 0};
    hearth_error err = {HEARTH_OK, ""};
    if (size > 65536) return 0;
    write_file(data, size);
    hearth_status st =
        hearth_record_each_line(path, HEARTH_FORM_AUTO, see, &s, NULL, &err);
    if ((st == HEARTH_ECANCELLED) != (s.n > MOST)) abort();
    if (st != HEARTH_OK && st != HEARTH_ECANCELLED &&
        (!err.text[0] || !strchr(err.text, ':')))
        abort();
    return 0;
}

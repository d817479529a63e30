/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz_records.c - client/records/record.h: any line.
 * Input: one byte that chooses the form asked for, then the line.
 * Invariants: a refusal says why and leaves nothing; an accepted record has an
 * answer, texts in UTF-8, an id that names it, and reads the same again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client/records/record.h"
#include "common/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const hearth_record *r) {
    bool answer = false, holdout;
    if (!r->n_turns || r->form == HEARTH_FORM_AUTO) abort();
    for (size_t i = 0; i < r->n_turns; i++) {
        const hearth_turn *t = &r->turn[i];
        if (!hearth_utf8_valid(t->text, t->n)) abort();
        if (memchr(t->text, 0, t->n)) abort();
        if (hearth_role_is_answer(t->role)) answer = answer || t->n;
    }
    if (!answer) abort();
    if (r->form == HEARTH_FORM_CHOICES && r->answer >= r->n_choices) abort();
    if (!r->id[0] || strlen(r->id) > HEARTH_RECORD_MAX_ID) abort();
    if (hearth_record_is_holdout(r->id, &holdout) != HEARTH_OK) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hearth_record a, b;
    hearth_error err = {HEARTH_OK, ""};
    if (!size) return 0;
    const char *line = (const char *)data + 1;
    hearth_record_form form = (hearth_record_form)(data[0] % 6);
    hearth_status st =
        hearth_record_parse(&a, line, size - 1, form, "fuzz:1", NULL, &err);
    if (st != HEARTH_OK) {
        if (!err.text[0] || a.store || a.turn || a.n_turns) abort();
        return 0;
    }
    check(&a);
    if (hearth_record_parse(&b, line, size - 1, a.form, NULL, NULL, NULL) !=
            HEARTH_OK ||
        strcmp(a.id, b.id) != 0 || a.n_turns != b.n_turns)
        abort();
    hearth_record_free(&a);
    hearth_record_free(&b);
    return 0;
}

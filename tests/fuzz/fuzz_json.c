/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz_json.c - common/{jsonpull,json}.h.
 * Invariants: what the document parser accepts the pull parser accepts (the
 * document parser also refuses duplicate keys, NULs); no token lies outside
 * the text; unescaping never grows a token; skip ends where next ends. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/json.h"
#include "common/jsonpull.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_token(const hearth_jsonpull *p, const char *text, size_t n) {
    static char out[1 << 16];
    size_t got;
    if (p->token < text || p->token + p->token_n > text + n) abort();
    if (p->token_n > sizeof(out)) return;
    if (hearth_jsonpull_string(p, out, p->token_n, &got) != HEARTH_OK) abort();
    if (got > p->token_n || !hearth_utf8_valid(out, got)) abort();
}

static bool walk(const char *text, size_t n) {
    hearth_jsonpull p;
    hearth_jsonpull_event ev;
    int64_t i;
    double f;
    hearth_jsonpull_init(&p, text, n);
    while ((ev = hearth_jsonpull_next(&p)) > HEARTH_JSONPULL_END) {
        if (ev == HEARTH_JSONPULL_KEY || ev == HEARTH_JSONPULL_STRING)
            check_token(&p, text, n);
        if (ev == HEARTH_JSONPULL_KEY) (void)hearth_jsonpull_is(&p, "key");
        if (ev == HEARTH_JSONPULL_NUMBER) {
            (void)!hearth_jsonpull_i64(&p, &i);
            (void)!hearth_jsonpull_f64(&p, &f);
        }
    }
    if (hearth_jsonpull_next(&p) != ev) abort(); /* both ends are sticky */
    return ev == HEARTH_JSONPULL_END;
}

/* Skip every value of the top container: must agree with walking. */
static bool skip(const char *text, size_t n) {
    hearth_jsonpull p;
    hearth_jsonpull_init(&p, text, n);
    hearth_jsonpull_event ev = hearth_jsonpull_next(&p);
    if (ev == HEARTH_JSONPULL_OBJECT || ev == HEARTH_JSONPULL_ARRAY)
        if (!hearth_jsonpull_skip(&p)) return false;
    return ev > HEARTH_JSONPULL_END &&
           hearth_jsonpull_next(&p) == HEARTH_JSONPULL_END;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *text = (const char *)data;
    hearth_json *j = NULL;
    hearth_error e;
    bool walked = walk(text, size);
    if (walked != skip(text, size)) abort();
    hearth_status st = hearth_json_parse(&j, "fuzz", text, size, NULL, &e);
    if (st == HEARTH_OK && !walked) abort();
    if (st != HEARTH_OK && (j || !e.text[0])) abort();
    hearth_json_free(j);
    return 0;
}

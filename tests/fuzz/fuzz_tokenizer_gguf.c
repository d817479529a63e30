/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz_tokenizer_gguf.c - any GGUF file as a vocabulary.
 * Invariants: a refusal says why and gives nothing; what is accepted has every
 * token of the list under its place there, gives only ids of its vocabulary,
 * and decodes what it gave. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client/tokenizer/tokenizer_parts.h"
#include "client/tokenizer/tokenizer_source.h"
#include "common/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void encode(const hearth_tokenizer *t, const char *text, size_t n,
                   unsigned flags) {
    hearth_ids ids;
    hearth_buf out = HEARTH_BUF_INIT(NULL);
    hearth_ids_init(&ids, NULL);
    hearth_status st =
        hearth_tokenizer_encode_with(t, text, n, flags, &ids, NULL);
    if (st != HEARTH_OK && ids.n) abort();
    for (size_t i = 0; i < ids.n; i++)
        if (ids.id[i] < 0 ||
            (size_t)ids.id[i] >= hearth_tokenizer_vocab_size(t))
            abort();
    if (hearth_tokenizer_decode(t, ids.id, ids.n, false, &out, NULL) !=
        HEARTH_OK)
        abort();
    hearth_buf_free(&out);
    hearth_ids_free(&ids);
}

/* The list's tokens, but where a whole tokenizer.json is inside as well. */
static void check_list(const hearth_gguf *g, const hearth_tokenizer *t) {
    hearth_gguf_array a;
    const char *s;
    size_t n;
    if (hearth_gguf_string(g, "tokenizer.huggingface.json", &s, &n) ==
            HEARTH_OK ||
        hearth_gguf_array_open(g, "tokenizer.ggml.tokens", &a) != HEARTH_OK)
        return;
    if (a.n != hearth_tokenizer_vocab_size(t)) abort();
    for (int32_t id = 0; hearth_gguf_array_string(&a, &s, &n); id++)
        if (hearth_tokenizer_id(t, s, n) != id) abort();
}

/* The chat template beside it. */
static void check_template(const hearth_gguf *g) {
    hearth_template_source own = {.present = false};
    hearth_error err = {HEARTH_OK, ""};
    hearth_status st = hearth_template_source_gguf(&own, g, &err);
    if (st == HEARTH_OK) return;
    if (own.present || !err.text[0] ||
        (st != HEARTH_EFORMAT && st != HEARTH_ETOOBIG))
        abort();
}

static void check(const hearth_gguf *g) {
    static const char text[] = "a b abc\n\xC3\xA9 <s>x</s> 12 ";
    hearth_tokenizer *t = NULL;
    hearth_error err = {HEARTH_OK, ""};
    hearth_status st = hearth_tokenizer__from_gguf(&t, g, NULL, &err);
    if ((st == HEARTH_OK) != (t != NULL)) abort();
    if (st != HEARTH_OK && st != HEARTH_EFORMAT && st != HEARTH_EUNSUPPORTED &&
        st != HEARTH_ETOOBIG)
        abort();
    if (st != HEARTH_OK && (err.status != st || !err.text[0])) abort();
    if (!t) return;
    check_list(g, t);
    for (unsigned flags = 0; flags < 16; flags++)
        encode(t, text, sizeof(text) - 1, flags);
    hearth_tokenizer_close(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hearth_gguf *g = NULL;
    if (hearth_gguf_open_bytes(&g, data, size, "input", NULL, NULL) !=
        HEARTH_OK)
        return 0;
    check(g);
    check_template(g);
    hearth_gguf_close(g);
    return 0;
}

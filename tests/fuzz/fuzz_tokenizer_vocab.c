/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz_tokenizer_vocab.c - any bytes as the files of a folder:
 * vocab.json, merges.txt, tokenizer_config.json and config.json with a NUL
 * between; a fifth stands for added_tokens.json.
 * Invariants: a refusal says why; what is written is a tokenizer.json that is
 * read or refused with a reason, and gives only ids of its vocabulary. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client/tokenizer/tokenizer_source.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void encode(const hearth_tokenizer *t) {
    static const char text[] = "a b abc\n\xC3\xA9 <|endoftext|> 12 ";
    hearth_ids ids;
    hearth_ids_init(&ids, NULL);
    for (unsigned flags = 0; flags < 16; flags++)
        (void)!hearth_tokenizer_encode_with(t, text, sizeof(text) - 1, flags,
                                            &ids, NULL);
    for (size_t i = 0; i < ids.n; i++)
        if (ids.id[i] < 0 ||
            (size_t)ids.id[i] >= hearth_tokenizer_vocab_size(t))
            abort();
    hearth_ids_free(&ids);
}

static void check(const tokenizer_vocab *v) {
    hearth_buf json = HEARTH_BUF_INIT(NULL);
    hearth_error err = {HEARTH_OK, ""};
    hearth_tokenizer *t = NULL;
    hearth_status st = hearth_tokenizer__of_vocab(v, &json, &err);
    if (st != HEARTH_OK && st != HEARTH_EFORMAT && st != HEARTH_EUNSUPPORTED)
        abort();
    if (st != HEARTH_OK && (err.status != st || !err.text[0])) abort();
    if (st == HEARTH_OK) {
        st = hearth_tokenizer_parse(&t, hearth_buf_str(&json), json.n,
                                    v->config, v->n_config, NULL, &err);
        if (st != HEARTH_OK && (t || !err.text[0])) abort();
        if (st == HEARTH_OK) encode(t);
    }
    hearth_tokenizer_close(t);
    hearth_buf_free(&json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *part[5] = {NULL}, *p = (const char *)data, *end = p + size;
    size_t n[5] = {0};
    if (!size) return 0;
    for (size_t i = 0; i < 5 && p; i++) {
        const char *stop = memchr(p, 0, (size_t)(end - p));
        part[i] = p;
        n[i] = (size_t)((stop ? stop : end) - p);
        p = stop ? stop + 1 : NULL;
    }
    const tokenizer_vocab v = {
        part[0], part[1] ? part[1] : "", part[2], part[3], n[0], n[1], n[2],
        n[3],    part[4] != NULL};
    check(&v);
    return 0;
}

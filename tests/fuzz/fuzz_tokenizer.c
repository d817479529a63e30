/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz_tokenizer.c - client/tokenizer: any tokenizer.json.
 * Invariants: a refusal says why and gives nothing; an accepted tokenizer gives
 * only ids of its vocabulary, for texts with and without control tokens, and
 * decodes what it gave. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client/tokenizer/tokenizer.h"
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
    if (st == HEARTH_EINVAL && hearth_utf8_valid(text, n)) abort();
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char text[] = "a b abc\n\xC3\xA9 <s>x</s> 12 ";
    hearth_tokenizer *t = NULL;
    hearth_error err = {HEARTH_OK, ""};
    const char *json = (const char *)data;
    hearth_status st =
        hearth_tokenizer_parse(&t, json, size, NULL, 0, NULL, &err);
    if (st != HEARTH_OK) {
        if (t || !err.text[0]) abort();
        /* The same bytes as tokenizer_config.json of a good tokenizer. */
        static const char good[] =
            "{\"decoder\":{\"type\":\"Fuse\"},\"model\":{\"vocab\":{\"a\":0},"
            "\"merges\":[]}}";
        (void)!hearth_tokenizer_parse(&t, good, sizeof(good) - 1, json, size,
                                      NULL, NULL);
        hearth_tokenizer_close(t);
        return 0;
    }
    for (unsigned flags = 0; flags < 16; flags++) {
        encode(t, text, sizeof(text) - 1, flags);
        encode(t, json, size < 4096 ? size : 4096, flags);
    }
    hearth_tokenizer_close(t);
    return 0;
}

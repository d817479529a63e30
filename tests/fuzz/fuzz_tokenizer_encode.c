/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz_tokenizer_encode.c - any text through two good tokenizers.
 * Input: one byte of flags, then text.
 * Invariants: only text that is not UTF-8 is refused; ids are those of plain
 * quadratic merging; decode(encode(x)) == x. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client/tokenizer/tokenizer.h"
#include "common/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define N_MERGES 9
static const char *const MERGE[N_MERGES][2] = {
    {"a", "b"}, {"b", "a"},  {"ab", "ab"}, {"a", "a"},   {"c", "ab"},
    {"b", "b"}, {"bb", "b"}, {"aa", "aa"}, {"abab", "a"}};

/* <0xNN> for every byte, the letters a-c and what merges of them give. */
static hearth_tokenizer *fallback(void) {
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    hearth_tokenizer *t = NULL;
    hearth_buf_puts(&b, "{\"added_tokens\":[{\"id\":300,\"content\":\"<s>\","
                        "\"special\":true}],\"decoder\":{\"type\":\"Sequence\","
                        "\"decoders\":[{\"type\":\"ByteFallback\"},{\"type\":"
                        "\"Fuse\"}]},\"model\":{\"byte_fallback\":true,"
                        "\"vocab\":{\"a\":256,\"b\":257,\"c\":258");
    for (int i = 0; i < 256; i++)
        hearth_buf_printf(&b, ",\"<0x%02X>\":%d", (unsigned)i, i);
    for (int i = 0; i < N_MERGES; i++)
        hearth_buf_printf(&b, ",\"%s%s\":%d", MERGE[i][0], MERGE[i][1],
                          259 + i);
    hearth_buf_puts(&b, "},\"merges\":[");
    for (int i = 0; i < N_MERGES; i++)
        hearth_buf_printf(&b, "%s\"%s %s\"", i ? "," : "", MERGE[i][0],
                          MERGE[i][1]);
    hearth_buf_puts(&b, "]}}");
    if (b.failed || hearth_tokenizer_parse(&t, hearth_buf_str(&b), b.n, NULL, 0,
                                           NULL, NULL) != HEARTH_OK)
        abort();
    hearth_buf_free(&b);
    return t;
}

/* The definition: while some pair can merge, take the first of lowest rank. */
static size_t merge_slowly(const hearth_tokenizer *t, int32_t *id, size_t n) {
    int32_t rule[N_MERGES][3];
    for (int i = 0; i < N_MERGES; i++) {
        char both[16];
        size_t a = strlen(MERGE[i][0]), b = strlen(MERGE[i][1]);
        memcpy(both, MERGE[i][0], a);
        memcpy(both + a, MERGE[i][1], b);
        rule[i][0] = hearth_tokenizer_id(t, MERGE[i][0], a);
        rule[i][1] = hearth_tokenizer_id(t, MERGE[i][1], b);
        rule[i][2] = hearth_tokenizer_id(t, both, a + b);
    }
    for (;;) {
        size_t best = N_MERGES, at = 0;
        for (size_t k = 0; k + 1 < n; k++)
            for (size_t i = 0; i < best; i++)
                if (id[k] == rule[i][0] && id[k + 1] == rule[i][1]) {
                    best = i;
                    at = k;
                }
        if (best == N_MERGES) return n;
        id[at] = rule[best][2];
        memmove(id + at + 1, id + at + 2, (n - at - 2) * sizeof(*id));
        n--;
    }
}

static void check(const hearth_tokenizer *t, const char *s, size_t n,
                  unsigned flags) {
    static int32_t slow[4096];
    hearth_ids ids;
    hearth_buf out = HEARTH_BUF_INIT(NULL);
    hearth_ids_init(&ids, NULL);
    hearth_status st = hearth_tokenizer_encode_with(t, s, n, flags, &ids, NULL);
    if ((st == HEARTH_OK) != hearth_utf8_valid(s, n)) abort();
    if (st == HEARTH_OK) {
        if (hearth_tokenizer_decode(t, ids.id, ids.n, false, &out, NULL) ||
            out.n != n || (n && memcmp(out.v, s, n) != 0))
            abort();
        for (size_t i = 0; i < n; i++) {
            bool letter = s[i] >= 'a' && s[i] <= 'c';
            slow[i] = letter ? 256 + s[i] - 'a' : (unsigned char)s[i];
        }
        if (!(flags & HEARTH_TOKENIZE_ADDED)) {
            size_t m = merge_slowly(t, slow, n);
            if (m != ids.n ||
                (m && memcmp(slow, ids.id, m * sizeof(*slow)) != 0))
                abort();
        }
    }
    hearth_buf_free(&out);
    hearth_ids_free(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static hearth_tokenizer *t; /* made once, reachable at the end */
    if (!t) t = fallback();
    if (size < 1 || size > 400) return 0;
    check(t, (const char *)data + 1, size - 1, data[0] & 7u);
    return 0;
}

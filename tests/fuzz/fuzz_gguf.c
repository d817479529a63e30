/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz_gguf.c - any bytes in: an error, or values that can be read
 * and tensors inside the bytes that can be decoded and found; and the settings
 * of a model, or a refusal. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client/model/gguf_model.h"
#include "common/gguf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_tensors(const hearth_gguf *g, const uint8_t *data,
                          size_t size) {
    for (size_t i = 0; i < hearth_gguf_count(g); i++) {
        const hearth_gguf_tensor *t = hearth_gguf_at(g, i);
        size_t per = hearth_quant_elements(t->type);
        float out[256];
        if (hearth_gguf_find(g, t->name) != t) abort();
        if (t->data < data || t->n_bytes > size ||
            t->data + t->n_bytes > data + size)
            abort();
        if (t->n_bytes && t->ne[0] >= per)
            hearth_quant_decode(t->type, t->data, 0, per, out);
    }
}

static void check_values(const hearth_gguf *g) {
    static const char *const key[] = {"general.architecture", "a", "b",
                                      "tokenizer.ggml.tokens"};
    for (size_t i = 0; i < sizeof(key) / sizeof(key[0]); i++) {
        uint64_t u;
        double d;
        bool b;
        const char *s;
        size_t n;
        hearth_gguf_array a;
        if (hearth_gguf_u64(g, key[i], &u) == HEARTH_OK &&
            hearth_gguf_f64(g, key[i], &d) != HEARTH_OK)
            abort();
        if (hearth_gguf_bool(g, key[i], &b) == HEARTH_OK && b && !b) abort();
        if (hearth_gguf_string(g, key[i], &s, &n) == HEARTH_OK && n &&
            s[n - 1] == 1)
            continue;
        if (hearth_gguf_array_open(g, key[i], &a) != HEARTH_OK) continue;
        while (hearth_gguf_array_number(&a, &d) ||
               hearth_gguf_array_string(&a, &s, &n)) {
        }
        if (a.at != a.n) abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hearth_gguf *g = NULL;
    hearth_error err = {HEARTH_OK, ""};
    hearth_model_config c;
    hearth_status st =
        hearth_gguf_open_bytes(&g, data, size, "input", NULL, &err);
    if (st == HEARTH_OK) {
        check_tensors(g, data, size);
        check_values(g);
        st = hearth_gguf_model_config(&c, g, "input", &err);
        if (st == HEARTH_OK && (!c.head_dim || !c.n_layers || !c.vocab_size))
            abort();
    }
    if (st != HEARTH_OK && err.status != st) abort();
    hearth_gguf_close(g);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* client/model/gguf_sides.c - strings of a GGUF file to files. */
#include "client/model/gguf_sides.h"

#include "client/model/model_convert.h"
#include "common/error.h"
#include "common/file.h"
#include "common/gguf.h"

static const struct {
    const char *key, *name;
} SIDE[] = {
    {HEARTH_GGUF_KEY_TOKENIZER, "tokenizer.json"},
    {HEARTH_GGUF_KEY_TOKENIZER_CONFIG, "tokenizer_config.json"},
    {HEARTH_GGUF_KEY_CHAT_TEMPLATE, "chat_template.jinja"},
};

hearth_status hearth_gguf_copy_sides(const char *path, const char *dir,
                                     const hearth_alloc *al,
                                     hearth_error *err) {
    char to[1024];
    hearth_gguf *g = NULL;
    if (hearth_file_is_dir(path)) return HEARTH_OK;
    hearth_status st = hearth_gguf_open(&g, path, al, err);
    for (size_t i = 0; st == HEARTH_OK && i < sizeof(SIDE) / sizeof(SIDE[0]);
         i++) {
        const char *text = NULL;
        size_t n = 0;
        if (hearth_gguf_string(g, SIDE[i].key, &text, &n) != HEARTH_OK)
            continue;
        if (hearth_file_join(to, sizeof(to), dir, SIDE[i].name) != HEARTH_OK)
            st = hearth_error_set(err, HEARTH_ETOOBIG,
                                  "path is too long; use a shorter one");
        else
            st = hearth_file_write(to, text, n, 0644, err);
    }
    hearth_gguf_close(g);
    return st;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* client/tokenizer/tokenizer_vocab.c - a folder's vocab.json and merges.txt;
 * the contract is in tokenizer_source.h.
 *
 * Both forms have the same content; what a tokenizer.json says beyond it
 * follows from the tokenizer's class, and is written down here for the classes
 * of byte-level BPE that models we read come with.
 */
#include <string.h>

#include "client/tokenizer/tokenizer_parts.h"
#include "client/tokenizer/tokenizer_source.h"
#include "common/error.h"
#include "common/file.h"

#define END_OF_TEXT "<|endoftext|>"

/* Names of a class, in settings and as a model's type -> the rules it has, by
 * their name in GGUF files. */
static const struct {
    const char *name, *pre;
} CLASS[] = {
    {"GPT2Tokenizer", "gpt-2"},
    {"GPT2TokenizerFast", "gpt-2"},
    {"gpt2", "gpt-2"},
    {"Qwen2Tokenizer", "qwen2"},
    {"qwen2", "qwen2"},
    {"qwen3", "qwen2"},
    {"Qwen2TokenizerFast", "qwen2"},
};

/* Settings that change ids, and must be off. */
static const char *const MUST_BE_OFF[] = {"add_prefix_space", "add_bos_token",
                                          "add_eos_token"};

typedef struct {
    const tokenizer_vocab *v;
    hearth_buf *json;
    hearth_error *err;
    const tokenizer_pre *pre;
    bool any_added; /* the settings list added tokens */
} writer;

static hearth_status broken(writer *w, const char *file) {
    return hearth_error_set(w->err, HEARTH_EFORMAT,
                            "%s is broken; take the file from the model's "
                            "publisher again",
                            file);
}

static hearth_status find_class(writer *w, const hearth_jsonpull *name) {
    for (size_t i = 0; i < sizeof(CLASS) / sizeof(CLASS[0]); i++)
        if (hearth_jsonpull_is(name, CLASS[i].name)) {
            w->pre = hearth_tokenizer__pre(CLASS[i].pre, strlen(CLASS[i].pre));
            return HEARTH_OK;
        }
    return hearth_error_set(
        w->err, HEARTH_EUNSUPPORTED,
        "vocab.json of a \"%.*s\" is not read, only of a "
        "GPT2Tokenizer or Qwen2Tokenizer; "
        "write a tokenizer.json "
        "with transformers: AutoTokenizer.from_pretrained(DIR)"
        ".save_pretrained(DIR)",
        name->token_n > 40 ? 40 : (int)name->token_n, name->token);
}

/* "added_tokens_decoder": {"id": {"content": .., ..}} as added_tokens has it;
 * the reader stands before the value. */
static hearth_status put_added(writer *w, hearth_jsonpull *p) {
    hearth_jsonpull_event ev;
    hearth_buf *out = w->json;
    w->any_added = true;
    if (hearth_jsonpull_next(p) != HEARTH_JSONPULL_OBJECT)
        return broken(w, "tokenizer_config.json");
    for (size_t i = 0; (ev = hearth_jsonpull_next(p)) == HEARTH_JSONPULL_KEY;
         i++) {
        const char *id = p->token;
        size_t n_id = p->token_n;
        bool number = n_id && n_id < 10;
        for (size_t k = 0; k < n_id; k++)
            if (id[k] < '0' || id[k] > '9') number = false;
        if (!number || hearth_jsonpull_next(p) != HEARTH_JSONPULL_OBJECT)
            return broken(w, "tokenizer_config.json");
        size_t from = p->at;
        if (!hearth_jsonpull_skip(p)) return broken(w, "tokenizer_config.json");
        (void)hearth_buf_puts(out, i ? ",{" : "{");
        (void)hearth_buf_append(out, p->text + from, p->at - 1 - from);
        (void)hearth_buf_puts(out, ",\"id\":");
        (void)hearth_buf_append(out, id, n_id);
        (void)hearth_buf_puts(out, "}");
    }
    return ev == HEARTH_JSONPULL_OBJECT_END
               ? HEARTH_OK
               : broken(w, "tokenizer_config.json");
}

/* One member of the settings, whose key has been read. */
static hearth_status setting(writer *w, hearth_jsonpull *p) {
    for (size_t i = 0; i < sizeof(MUST_BE_OFF) / sizeof(*MUST_BE_OFF); i++) {
        hearth_jsonpull value = *p;
        if (hearth_jsonpull_is(p, MUST_BE_OFF[i]) &&
            hearth_jsonpull_next(&value) == HEARTH_JSONPULL_TRUE)
            return hearth_error_set(
                w->err, HEARTH_EUNSUPPORTED,
                "%s of tokenizer_config.json is not "
                "supported beside vocab.json; "
                "write a tokenizer.json "
                "with transformers: AutoTokenizer.from_pretrained(DIR)"
                ".save_pretrained(DIR)",
                MUST_BE_OFF[i]);
    }
    if (hearth_jsonpull_is(p, "added_tokens_decoder")) return put_added(w, p);
    if (!hearth_jsonpull_is(p, "tokenizer_class"))
        return hearth_jsonpull_skip(p) ? HEARTH_OK
                                       : broken(w, "tokenizer_config.json");
    if (hearth_jsonpull_next(p) != HEARTH_JSONPULL_STRING)
        return broken(w, "tokenizer_config.json");
    return find_class(w, p);
}

static hearth_status read_settings(writer *w) {
    hearth_jsonpull p;
    hearth_jsonpull_event ev = HEARTH_JSONPULL_ERROR;
    if (!w->v->config) return HEARTH_OK;
    hearth_jsonpull_init(&p, w->v->config, w->v->n_config);
    if (hearth_jsonpull_next(&p) == HEARTH_JSONPULL_OBJECT)
        while ((ev = hearth_jsonpull_next(&p)) == HEARTH_JSONPULL_KEY) {
            hearth_status st = setting(w, &p);
            if (st != HEARTH_OK) return st;
        }
    return ev == HEARTH_JSONPULL_OBJECT_END &&
                   hearth_jsonpull_next(&p) == HEARTH_JSONPULL_END
               ? HEARTH_OK
               : broken(w, "tokenizer_config.json");
}

/* Where the settings name no class, the model's type stands for it. */
static hearth_status read_model_type(writer *w) {
    hearth_jsonpull p;
    if (w->pre) return HEARTH_OK;
    hearth_jsonpull_init(&p, w->v->model ? w->v->model : "", w->v->n_model);
    if (hearth_jsonpull_next(&p) == HEARTH_JSONPULL_OBJECT)
        while (hearth_jsonpull_next(&p) == HEARTH_JSONPULL_KEY) {
            bool here = hearth_jsonpull_is(&p, "model_type");
            if (here && hearth_jsonpull_next(&p) == HEARTH_JSONPULL_STRING)
                return find_class(w, &p);
            if (!here && !hearth_jsonpull_skip(&p)) break;
        }
    return hearth_error_set(
        w->err, HEARTH_EUNSUPPORTED,
        "nothing says which tokenizer vocab.json belongs "
        "to: no tokenizer_class in tokenizer_config.json, "
        "no model_type in config.json; "
        "write a tokenizer.json "
        "with transformers: AutoTokenizer.from_pretrained(DIR)"
        ".save_pretrained(DIR)");
}

/* vocab.json is one object; *end is END_OF_TEXT's id, or -1. */
static hearth_status read_vocab(writer *w, int64_t *end) {
    hearth_jsonpull p;
    hearth_jsonpull_event ev;
    *end = -1;
    hearth_jsonpull_init(&p, w->v->vocab, w->v->n_vocab);
    if (hearth_jsonpull_next(&p) != HEARTH_JSONPULL_OBJECT)
        return broken(w, "vocab.json");
    while ((ev = hearth_jsonpull_next(&p)) == HEARTH_JSONPULL_KEY) {
        bool here = hearth_jsonpull_is(&p, END_OF_TEXT);
        if (hearth_jsonpull_next(&p) != HEARTH_JSONPULL_NUMBER ||
            (here && hearth_jsonpull_i64(&p, end) != HEARTH_OK))
            return broken(w, "vocab.json");
    }
    return ev == HEARTH_JSONPULL_OBJECT_END &&
                   hearth_jsonpull_next(&p) == HEARTH_JSONPULL_END
               ? HEARTH_OK
               : broken(w, "vocab.json");
}

/* Lines "left right", but the first when it is the version. */
static void put_merges(writer *w) {
    const char *p = w->v->merges, *end = p + w->v->n_merges;
    for (bool first = true, any = false; p < end; first = false) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        size_t n = (size_t)((stop ? stop : end) - p);
        const char *line = p;
        p += n + 1;
        if (n && line[n - 1] == '\r') n--;
        if (!n || (first && n >= 8 && memcmp(line, "#version", 8) == 0))
            continue;
        if (any) (void)hearth_buf_puts(w->json, ",");
        (void)hearth_buf_json_string(w->json, line, n);
        any = true;
    }
}

static hearth_status write_all(writer *w) {
    hearth_buf *out = w->json;
    int64_t end;
    hearth_status st = read_vocab(w, &end);
    if (st != HEARTH_OK) return st;
    (void)hearth_buf_puts(out, "{\"version\":\"1.0\",\"added_tokens\":[");
    if ((st = read_settings(w)) != HEARTH_OK ||
        (st = read_model_type(w)) != HEARTH_OK)
        return st;
    if (!w->any_added && w->v->added_file)
        return hearth_error_set(
            w->err, HEARTH_EUNSUPPORTED,
            "added_tokens.json without an "
            "added_tokens_decoder in tokenizer_config.json "
            "is not read; "
            "write a tokenizer.json "
            "with transformers: AutoTokenizer.from_pretrained(DIR)"
            ".save_pretrained(DIR)");
    if (!w->any_added && end >= 0)
        (void)hearth_buf_printf(out,
                                "{\"id\":%lld,\"content\":\"" END_OF_TEXT
                                "\",\"special\":true}",
                                (long long)end);
    (void)hearth_buf_printf(out,
                            "],\"normalizer\":%s,\"pre_tokenizer\":%s,"
                            "\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{"
                            "\"type\":\"BPE\",\"vocab\":",
                            w->pre->normalizer, w->pre->pre_tokenizer);
    (void)hearth_buf_append(out, w->v->vocab, w->v->n_vocab);
    (void)hearth_buf_puts(out, ",\"merges\":[");
    put_merges(w);
    (void)hearth_buf_puts(out, "]}}");
    return HEARTH_OK;
}

hearth_status hearth_tokenizer__of_vocab(const tokenizer_vocab *v,
                                         hearth_buf *json, hearth_error *err) {
    writer w = {v, json, err, NULL, false};
    size_t lines = 0;
    for (size_t i = 0; i < v->n_merges; i++) lines += v->merges[i] == '\n';
    /* Growing by doubling would take twice the memory. */
    hearth_status st =
        hearth_buf_reserve(json, v->n_vocab + v->n_merges + v->n_config +
                                     3 * lines + lines / 4 + 4096);
    if (st == HEARTH_OK) st = write_all(&w);
    if (st == HEARTH_OK && json->failed) st = HEARTH_ENOMEM;
    return st;
}

/* ---- the folder ---- */

enum { VOCAB, MERGES, SETTINGS, MODEL, N_FILES };
static const char *const FILES[] = {"vocab.json", "merges.txt",
                                    "tokenizer_config.json", "config.json"};

/* Whether dir has such a file; its path is in out when that fits. */
static bool in_folder(const char *dir, const char *name, char out[1024]) {
    return hearth_file_join(out, 1024, dir, name) == HEARTH_OK &&
           hearth_file_exists(out);
}

static hearth_status map_all(const char *dir, hearth_file f[N_FILES],
                             bool have[N_FILES], hearth_error *err) {
    char path[1024];
    hearth_status st = HEARTH_OK;
    for (int i = 0; st == HEARTH_OK && i < N_FILES; i++) {
        have[i] = in_folder(dir, FILES[i], path);
        if (have[i]) st = hearth_file_map(&f[i], path, err);
        if (f[i].n > HEARTH_TOKENIZER_MAX_FILE)
            st = hearth_error_set(err, HEARTH_ETOOBIG,
                                  "%s is above %zu MiB; use a smaller model",
                                  FILES[i], HEARTH_TOKENIZER_MAX_FILE >> 20);
    }
    if (st != HEARTH_OK || have[MERGES]) return st;
    return hearth_error_set(err, HEARTH_EFORMAT,
                            "merges.txt is missing beside vocab.json; take it "
                            "from the model's publisher");
}

static const char *text_of(const hearth_file *f, bool have) {
    return !have ? NULL : f->v ? (const char *)f->v : "";
}

hearth_status hearth_tokenizer__from_folder(hearth_tokenizer **out,
                                            const char *dir,
                                            const hearth_alloc *al,
                                            hearth_error *err) {
    char path[1024];
    hearth_file f[N_FILES] = {HEARTH_FILE_INIT};
    bool have[N_FILES];
    hearth_buf json = HEARTH_BUF_INIT(al);
    if (!in_folder(dir, FILES[VOCAB], path)) {
        if (!in_folder(dir, "tokenizer.model", path)) return HEARTH_ENOTFOUND;
        return hearth_error_set(
            err, HEARTH_EUNSUPPORTED,
            "a tokenizer.model by itself is not read; use "
            "the model's GGUF file, or "
            "write a tokenizer.json "
            "with transformers: AutoTokenizer.from_pretrained(DIR)"
            ".save_pretrained(DIR)");
    }
    hearth_status st = map_all(dir, f, have, err);
    if (st == HEARTH_OK) {
        tokenizer_vocab v = {text_of(&f[VOCAB], true),
                             text_of(&f[MERGES], true),
                             text_of(&f[SETTINGS], have[SETTINGS]),
                             text_of(&f[MODEL], have[MODEL]),
                             f[VOCAB].n,
                             f[MERGES].n,
                             f[SETTINGS].n,
                             f[MODEL].n,
                             in_folder(dir, "added_tokens.json", path)};
        st = hearth_tokenizer__of_vocab(&v, &json, err);
        if (st == HEARTH_ENOMEM)
            (void)hearth_error_set(err, st,
                                   "out of memory for the tokenizer; close "
                                   "something and try again");
        if (st == HEARTH_OK) {
            st = hearth_tokenizer_parse(out, hearth_buf_str(&json), json.n,
                                        v.config, v.n_config, al, err);
            if (st == HEARTH_EFORMAT)
                (void)hearth_error_prefix(
                    err, "vocab.json and merges.txt put together");
        }
    }
    hearth_buf_free(&json);
    for (int i = 0; i < N_FILES; i++) hearth_file_unmap(&f[i]);
    return st;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* client/tokenizer/template_source.c - the contract is in template_source.h.
 *
 * A digest is in the table only after tests/oracle/oracle_chat_template.py has
 * seen transformers and hearth give the same ids for that text; a text that is
 * not in the test data is given to it by hand.  The texts belong to their
 * authors and are not here.
 */
#include "client/tokenizer/template_source.h"

#include <string.h>

#include "common/bytes.h"
#include "common/file.h"
#include "common/hash.h"
#include "common/jsonpull.h"
#include "common/mem.h"

static const struct {
    const char *digest; /* in hex */
    hearth_chat_template tmpl;
} KNOWN[] = {
    /* Hearth's own, for a folder that brings none (README.md) */
    {"94d754f89b5c462771bdd267b01a769ab6c028d5e077e0ade4e9f837c248e31d",
     HEARTH_TEMPLATE_CHATML},
    /* ChatML as most models spell it, with line breaks, and with \n */
    {"153280e3ff55d19da1398bdb3914ee2a51b80429bfaedde11d7d216c39db80f3",
     HEARTH_TEMPLATE_CHATML},
    {"fcf7a096fe99a48fd9ad2b250bf9237e96e8f48bffec1c7ea4d3f225176cd40e",
     HEARTH_TEMPLATE_CHATML},
    /* SmolLM2, in both spellings */
    {"872be49dbb638044ad01b60388f48d469ff2980e5f0dccdc22ec907db54d0788",
     HEARTH_TEMPLATE_SMOLLM},
    {"de9cde7d1b0ca0cc87459a6673e0d12fb89c070bdb24e4a30b6e4d187b226221",
     HEARTH_TEMPLATE_SMOLLM},
    /* Qwen2, in both spellings */
    {"793202280c0910ab26bc6eb57c8212c2417324c6d8c4efd0d10d59092ab3e3eb",
     HEARTH_TEMPLATE_QWEN2},
    {"f0206845c9ebc3abb4735d44f286eb81ce99238ad2accc710c6fc60e6cb8ccc8",
     HEARTH_TEMPLATE_QWEN2},
    /* Qwen2 as training tools save it */
    {"356ec41aea6f0edb7fdd0d057a7d0b6bc80053f18c3650e5d6f20e85871e91e6",
     HEARTH_TEMPLATE_QWEN2_TURN},
    /* Qwen2.5, the base models and the instructed ones */
    {"44d5f08f3f72b837eaad09f13a54c1f9f4eb58d75240334548b7fd52a5437fa5",
     HEARTH_TEMPLATE_QWEN2},
    {"cd8e9439f0570856fd70470bf8889ebd8b5d1107207f67a5efb46e342330527f",
     HEARTH_TEMPLATE_QWEN25},
    /* Llama 3, 3.1, 3.2 */
    {"ba03a121d097859c7b5b9cd03af99aafe95275210d2876f642ad9929a150f122",
     HEARTH_TEMPLATE_LLAMA3},
    {"e10ca381b1ccc5cf9db52e371f3b6651576caee0a630b452e2816b2d404d4b65",
     HEARTH_TEMPLATE_LLAMA31},
    {"5816fce10444e03c2e9ee1ef8a4a1ea61ae7e69e438613f3b17b69d0426223a4",
     HEARTH_TEMPLATE_LLAMA31},
    /* Gemma and Gemma 2; Gemma 3 */
    {"ecd6ae513fe103f0eb62e8ab5bfa8d0fe45c1074fa398b089c93a7e70c15cfd6",
     HEARTH_TEMPLATE_GEMMA2},
    {"7de1c58e208eda46e9c7f86397df37ec49883aeece39fb961e0a6b24088dd3c4",
     HEARTH_TEMPLATE_GEMMA},
};

hearth_chat_template hearth_template_source_find(const uint8_t digest[32]) {
    char hex[65];
    hearth_hex_encode(hex, digest, 32);
    for (size_t i = 0; i < sizeof(KNOWN) / sizeof(KNOWN[0]); i++)
        if (strcmp(KNOWN[i].digest, hex) == 0) return KNOWN[i].tmpl;
    return HEARTH_TEMPLATE_UNKNOWN;
}

static hearth_status too_big(hearth_error *err, const char *where) {
    return hearth_error_set(err, HEARTH_ETOOBIG,
                            "%s: the chat template is above %zu KiB; take the "
                            "file from the model's publisher again",
                            where, HEARTH_TEMPLATE_SOURCE_MAX >> 10);
}

/* own becomes the template s [n]. */
static hearth_status take(hearth_template_source *own, const char *s, size_t n,
                          hearth_error *err) {
    hearth_template_source got = {.present = n > 0};
    hearth_status st = n ? hearth_sha256(got.digest, s, n) : HEARTH_OK;
    if (st != HEARTH_OK)
        return hearth_error_set(err, st,
                                "no digest of the chat template could be made; "
                                "try again");
    *own = got;
    return HEARTH_OK;
}

/* ---- tokenizer_config.json ---- */

#define CONFIG "tokenizer_config.json"
#define NOT_NAMED                                                              \
    "the \"chat_template\" list holds something else than one name and one "   \
    "template each"

typedef struct {
    hearth_jsonpull p;
    const hearth_alloc *al;
    hearth_error *err;
} reader;

static hearth_status bad(reader *r, const char *what) {
    return hearth_error_set(r->err, HEARTH_EFORMAT,
                            "tokenizer_config.json:%zu: %s; take the file from "
                            "the model's publisher again",
                            hearth_jsonpull_line(&r->p), what);
}

/* The present STRING. */
static hearth_status take_string(reader *r, hearth_template_source *own) {
    size_t cap = r->p.token_n, n = 0;
    if (cap > 6 * HEARTH_TEMPLATE_SOURCE_MAX) /* all escapes: \u0041 */
        return too_big(r->err, CONFIG);
    char *text = hearth_mem_array(r->al, cap + 1, 1);
    if (!text)
        return hearth_error_set(r->err, HEARTH_ENOMEM,
                                "out of memory for a chat template");
    hearth_status st = hearth_jsonpull_string(&r->p, text, cap, &n);
    if (st != HEARTH_OK)
        st = bad(r, "\"chat_template\" is broken");
    else if (n > HEARTH_TEMPLATE_SOURCE_MAX)
        st = too_big(r->err, CONFIG);
    else
        st = take(own, text, n, r->err);
    hearth_mem_free(r->al, text);
    return st;
}

/* One {"name", "template"}, after its brace; *found with its template in *got
 * where it is "default". */
static hearth_status read_named(reader *r, hearth_template_source *got,
                                bool *found) {
    hearth_template_source one = {.present = false};
    hearth_jsonpull_event ev;
    bool is_default = false, named = false, has_text = false;
    while ((ev = hearth_jsonpull_next(&r->p)) == HEARTH_JSONPULL_KEY) {
        bool name = hearth_jsonpull_is(&r->p, "name");
        bool text = hearth_jsonpull_is(&r->p, "template");
        if (!name && !text) {
            if (!hearth_jsonpull_skip(&r->p)) return bad(r, "broken JSON");
            continue;
        }
        if ((name && named) || (text && has_text) ||
            hearth_jsonpull_next(&r->p) != HEARTH_JSONPULL_STRING)
            return bad(r, NOT_NAMED);
        named = named || name;
        has_text = has_text || text;
        if (name) is_default = hearth_jsonpull_is(&r->p, "default");
        hearth_status st = text ? take_string(r, &one) : HEARTH_OK;
        if (st != HEARTH_OK) return st;
    }
    if (ev != HEARTH_JSONPULL_OBJECT_END) return bad(r, "broken JSON");
    if (!named || !has_text || (is_default && *found)) return bad(r, NOT_NAMED);
    if (!is_default) return HEARTH_OK;
    *found = true;
    *got = one;
    return HEARTH_OK;
}

/* The list form.  Without a default the model has templates, and none that
 * stands for it: a digest that nothing has. */
static hearth_status read_list(reader *r, hearth_template_source *own) {
    hearth_template_source got = {.present = false};
    hearth_jsonpull_event ev;
    bool found = false;
    size_t n = 0;
    while ((ev = hearth_jsonpull_next(&r->p)) == HEARTH_JSONPULL_OBJECT) {
        hearth_status st = read_named(r, &got, &found);
        if (st != HEARTH_OK) return st;
        n++;
    }
    if (ev != HEARTH_JSONPULL_ARRAY_END) return bad(r, NOT_NAMED);
    if (!found) got.present = n > 0;
    *own = got;
    return HEARTH_OK;
}

static hearth_status read_value(reader *r, hearth_template_source *own) {
    switch (hearth_jsonpull_next(&r->p)) {
    case HEARTH_JSONPULL_NULL: return HEARTH_OK;
    case HEARTH_JSONPULL_STRING: return take_string(r, own);
    case HEARTH_JSONPULL_ARRAY: return read_list(r, own);
    case HEARTH_JSONPULL_ERROR: return bad(r, "broken JSON");
    default:
        return bad(r, "\"chat_template\" is neither a text nor a list of "
                      "names and templates");
    }
}

hearth_status hearth_template_source_config(hearth_template_source *own,
                                            const char *json, size_t n,
                                            const hearth_alloc *al,
                                            hearth_error *err) {
    reader r = {.al = al, .err = err};
    hearth_template_source got = *own;
    hearth_jsonpull_event ev;
    bool seen = false;
    hearth_jsonpull_init(&r.p, json, n);
    if (hearth_jsonpull_next(&r.p) != HEARTH_JSONPULL_OBJECT)
        return bad(&r, "not a JSON object");
    while ((ev = hearth_jsonpull_next(&r.p)) == HEARTH_JSONPULL_KEY) {
        if (!hearth_jsonpull_is(&r.p, "chat_template")) {
            if (!hearth_jsonpull_skip(&r.p)) return bad(&r, "broken JSON");
            continue;
        }
        if (seen) return bad(&r, "\"chat_template\" is there twice");
        seen = true;
        hearth_status st = read_value(&r, &got);
        if (st != HEARTH_OK) return st;
    }
    if (ev != HEARTH_JSONPULL_OBJECT_END ||
        hearth_jsonpull_next(&r.p) != HEARTH_JSONPULL_END)
        return bad(&r, "broken JSON");
    *own = got;
    return HEARTH_OK;
}

/* ---- folders and GGUF files ---- */

hearth_status hearth_template_source_folder(hearth_template_source *own,
                                            const char *dir,
                                            hearth_error *err) {
    static const char name[] = "chat_template.jinja";
    char path[1024];
    hearth_file f = HEARTH_FILE_INIT;
    if (hearth_file_join(path, sizeof(path), dir, name) != HEARTH_OK)
        return hearth_error_set(err, HEARTH_ETOOBIG,
                                "path is too long; use a shorter one");
    if (!hearth_file_exists(path)) return HEARTH_OK;
    hearth_status st = hearth_file_map(&f, path, err);
    if (st == HEARTH_OK && f.n > HEARTH_TEMPLATE_SOURCE_MAX)
        st = too_big(err, name);
    if (st == HEARTH_OK) st = take(own, f.v ? (const char *)f.v : "", f.n, err);
    hearth_file_unmap(&f);
    return st;
}

hearth_status hearth_template_source_gguf(hearth_template_source *own,
                                          const hearth_gguf *g,
                                          hearth_error *err) {
    static const char key[] = "tokenizer.chat_template";
    const char *text = NULL;
    size_t n = 0;
    hearth_status st = hearth_gguf_string(g, key, &text, &n);
    if (st == HEARTH_ENOTFOUND) return HEARTH_OK;
    if (st != HEARTH_OK)
        return hearth_error_set(err, HEARTH_EFORMAT,
                                "%s is no text; convert the model again", key);
    if (n > HEARTH_TEMPLATE_SOURCE_MAX) return too_big(err, key);
    return take(own, text, n, err);
}

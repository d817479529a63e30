/* SPDX-License-Identifier: Apache-2.0 */
/* client/tokenizer/tokenizer.c - open, close and look things up.
 *
 * Slots are found by a 32-bit hash scaled to the table size with a multiply
 * (Lemire), so that tables need no power of two and stay small.
 */
#include "client/tokenizer/tokenizer.h"

#include <string.h>

#include "client/tokenizer/tokenizer_parts.h"
#include "client/tokenizer/tokenizer_source.h"
#include "common/bytes.h"
#include "common/error.h"
#include "common/file.h"
#include "common/gguf.h"
#include "common/mem.h"

static size_t scale(uint32_t hash, size_t n) {
    return (size_t)(((uint64_t)hash * (uint64_t)n) >> 32);
}

size_t hearth_tokenizer__pair_slot(uint32_t left, uint32_t right, size_t n) {
    uint64_t k = ((uint64_t)left << 32 | right) * 0x9E3779B97F4A7C15u;
    k = (k ^ (k >> 29)) * 0xBF58476D1CE4E5B9u; /* splitmix64's mixing */
    return scale((uint32_t)(k >> 32), n);
}

size_t hearth_tokenizer__text_slot(const char *s, size_t n_s, size_t n) {
    uint64_t h = 0xCBF29CE484222325u; /* FNV-1a, then mixed */
    for (size_t i = 0; i < n_s; i++)
        h = (h ^ (unsigned char)s[i]) * 0x100000001B3u;
    h = (h ^ (h >> 31)) * 0xBF58476D1CE4E5B9u;
    return scale((uint32_t)(h >> 32), n);
}

const char *hearth_tokenizer__text(const hearth_tokenizer *t, size_t id,
                                   size_t *n) {
    if (id >= t->n_ids || !t->at[id]) return NULL;
    const unsigned char *p = t->text + t->at[id];
    *n = hearth_load_le16(p);
    return (const char *)p + 2;
}

int64_t hearth_tokenizer__rank(const hearth_tokenizer *t, int32_t left,
                               int32_t right) {
    uint32_t l = (uint32_t)left, r = (uint32_t)right;
    if (!t->n_merges) return -1;
    size_t at = hearth_tokenizer__pair_slot(l, r, t->n_merge_slots);
    while (t->merge_slot[at]) {
        uint32_t rank = t->merge_slot[at] - 1;
        const tokenizer_merge *m = &t->merge[rank];
        if (m->left == l && m->right == r) return rank;
        if (++at == t->n_merge_slots) at = 0;
    }
    return -1;
}

int32_t hearth_tokenizer_id(const hearth_tokenizer *t, const char *piece,
                            size_t n) {
    size_t n_text = 0;
    if (!t || !piece || !t->n_vocab_slots) return -1;
    size_t at = hearth_tokenizer__text_slot(piece, n, t->n_vocab_slots);
    while (t->vocab_slot[at]) {
        uint32_t id = t->vocab_slot[at] - 1;
        const char *text = hearth_tokenizer__text(t, id, &n_text);
        if (n_text == n && memcmp(text, piece, n) == 0) return (int32_t)id;
        if (++at == t->n_vocab_slots) at = 0;
    }
    return -1;
}

/* Printable bytes of Latin-1 spell themselves, the 68 others get the code
 * points from 256 on, in order. */
uint32_t hearth_tokenizer__byte_to_char(uint8_t b) {
    if (b <= 32) return 256u + b;
    if (b >= 127 && b <= 160) return 289u + (b - 127u);
    if (b == 173) return 323u;
    return b;
}

int hearth_tokenizer__char_to_byte(uint32_t c) {
    if (c >= 256 && c <= 288) return (int)(c - 256);
    if (c >= 289 && c <= 322) return (int)(c - 289 + 127);
    if (c == 323) return 173;
    if (c > 255 || c <= 32 || (c >= 127 && c <= 160) || c == 173) return -1;
    return (int)c;
}

size_t hearth_tokenizer__utf8(const char *s, uint32_t *c) {
    const unsigned char *p = (const unsigned char *)s;
    if (p[0] < 0x80) {
        *c = p[0];
        return 1;
    }
    if (p[0] < 0xE0) {
        *c = (uint32_t)(p[0] & 0x1F) << 6 | (p[1] & 0x3F);
        return 2;
    }
    if (p[0] < 0xF0) {
        *c = (uint32_t)(p[0] & 0x0F) << 12 | (uint32_t)(p[1] & 0x3F) << 6 |
             (p[2] & 0x3F);
        return 3;
    }
    *c = (uint32_t)(p[0] & 0x07) << 18 | (uint32_t)(p[1] & 0x3F) << 12 |
         (uint32_t)(p[2] & 0x3F) << 6 | (p[3] & 0x3F);
    return 4;
}

size_t hearth_tokenizer__put_utf8(char out[2], uint32_t c) {
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    out[0] = (char)(unsigned char)(0xC0 | c >> 6);
    out[1] = (char)(unsigned char)(0x80 | (c & 0x3F));
    return 2;
}

size_t hearth_tokenizer_vocab_size(const hearth_tokenizer *t) {
    return t->n_ids;
}

int32_t hearth_tokenizer_bos(const hearth_tokenizer *t) {
    return t->bos;
}

int32_t hearth_tokenizer_eos(const hearth_tokenizer *t) {
    return t->eos;
}

int32_t hearth_tokenizer_unk(const hearth_tokenizer *t) {
    return t->unk;
}

bool hearth_tokenizer_is_special(const hearth_tokenizer *t, int32_t id) {
    return id >= 0 && (size_t)id < t->n_ids &&
           (t->special[id / 8] >> (id % 8) & 1);
}

const uint8_t *hearth_tokenizer_digest(const hearth_tokenizer *t) {
    return t->digest;
}

const uint8_t *hearth_tokenizer_template_digest(const hearth_tokenizer *t) {
    return t->own_template.present ? t->own_template.digest : NULL;
}

size_t hearth_tokenizer_bytes(const hearth_tokenizer *t) {
    return t->arena.size + t->added_text.cap + sizeof(*t);
}

void hearth_tokenizer_close(hearth_tokenizer *t) {
    if (!t) return;
    hearth_alloc al = t->al;
    for (size_t i = 0; i < t->n_splits; i++)
        hearth_tokenizer_regex_free(t->split[i].regex);
    for (size_t i = 0; i < TOKENIZER_MAX_RULES; i++)
        hearth_tokenizer_regex_free(t->normal[i].regex);
    hearth_buf_free(&t->added_text);
    hearth_arena_free(&t->arena);
    hearth_mem_free(&al, t);
}

/* Set *id to the token that a string, or an object with "content", names.
 * The reader stands before the value. */
static hearth_status config_token(hearth_jsonpull *p, const hearth_tokenizer *t,
                                  int32_t *id) {
    char name[256];
    size_t n = 0;
    hearth_jsonpull_event ev = hearth_jsonpull_next(p);
    if (ev == HEARTH_JSONPULL_OBJECT) {
        while ((ev = hearth_jsonpull_next(p)) == HEARTH_JSONPULL_KEY) {
            if (hearth_jsonpull_is(p, "content")) {
                hearth_status st = config_token(p, t, id);
                if (st != HEARTH_OK) return st;
            } else if (!hearth_jsonpull_skip(p)) {
                return HEARTH_EFORMAT;
            }
        }
        return ev == HEARTH_JSONPULL_OBJECT_END ? HEARTH_OK : HEARTH_EFORMAT;
    }
    if (ev == HEARTH_JSONPULL_NULL) return HEARTH_OK;
    if (ev != HEARTH_JSONPULL_STRING) return HEARTH_EFORMAT;
    hearth_status st = hearth_jsonpull_string(p, name, sizeof(name), &n);
    if (st != HEARTH_OK) return st;
    *id = hearth_tokenizer_id(t, name, n);
    return HEARTH_OK;
}

static hearth_status read_config(hearth_tokenizer *t, const char *json,
                                 size_t n, hearth_error *err) {
    hearth_jsonpull p;
    hearth_jsonpull_event ev;
    hearth_status st = HEARTH_OK;
    hearth_jsonpull_init(&p, json, n);
    if (hearth_jsonpull_next(&p) != HEARTH_JSONPULL_OBJECT) goto bad;
    while ((ev = hearth_jsonpull_next(&p)) == HEARTH_JSONPULL_KEY) {
        if (p.depth == 1 && hearth_jsonpull_is(&p, "bos_token"))
            st = config_token(&p, t, &t->bos);
        else if (p.depth == 1 && hearth_jsonpull_is(&p, "eos_token"))
            st = config_token(&p, t, &t->eos);
        else if (!hearth_jsonpull_skip(&p))
            goto bad;
        if (st != HEARTH_OK) goto bad;
    }
    if (ev == HEARTH_JSONPULL_OBJECT_END &&
        hearth_jsonpull_next(&p) == HEARTH_JSONPULL_END)
        return HEARTH_OK;
bad:
    return hearth_error_set(err, HEARTH_EFORMAT,
                            "tokenizer_config.json:%zu: not the JSON of a "
                            "tokenizer's settings; mend or remove the file",
                            hearth_jsonpull_line(&p));
}

static int32_t first_known(const hearth_tokenizer *t, const char *const *name,
                           size_t n) {
    for (size_t i = 0; i < n; i++) {
        int32_t id = hearth_tokenizer_id(t, name[i], strlen(name[i]));
        if (id >= 0) return id;
    }
    return -1;
}

static void guess_ends(hearth_tokenizer *t) {
    static const char *const bos[] = {"<s>", "<bos>", "<|begin_of_text|>"};
    static const char *const eos[] = {"</s>", "<eos>", "<|end_of_text|>",
                                      "<|endoftext|>"};
    t->bos = t->n_before ? t->before[0] : first_known(t, bos, 3);
    t->eos = t->n_after ? t->after[t->n_after - 1] : first_known(t, eos, 4);
}

hearth_status hearth_tokenizer_parse(hearth_tokenizer **out, const char *json,
                                     size_t n_json, const char *config,
                                     size_t n_config, const hearth_alloc *al,
                                     hearth_error *err) {
    hearth_status st;
    if (!out) return HEARTH_EINVAL;
    *out = NULL;
    if (!json)
        return hearth_error_set(err, HEARTH_EINVAL, "no tokenizer given");
    if (n_json > HEARTH_TOKENIZER_MAX_FILE)
        return hearth_error_set(err, HEARTH_ETOOBIG,
                                "tokenizer.json is above %zu MiB; this is no "
                                "tokenizer that a phone can hold",
                                HEARTH_TOKENIZER_MAX_FILE >> 20);
    hearth_tokenizer *t = hearth_mem_new(al, sizeof(*t));
    if (!t) return hearth_error_set(err, HEARTH_ENOMEM, "out of memory");
    t->al = *hearth_mem_or_default(al);
    t->added_text = (hearth_buf)HEARTH_BUF_INIT(&t->al);
    if ((st = hearth_sha256(t->digest, json, n_json)) != HEARTH_OK ||
        (st = hearth_tokenizer__load(t, json, n_json, err)) != HEARTH_OK)
        goto done;
    guess_ends(t);
    if (config && (st = read_config(t, config, n_config, err)) != HEARTH_OK)
        goto done;
    if (config &&
        (st = hearth_template_source_config(&t->own_template, config, n_config,
                                            &t->al, err)) != HEARTH_OK)
        goto done;
    *out = t;
    t = NULL;
done:
    hearth_tokenizer_close(t);
    if (st == HEARTH_ENOMEM)
        (void)hearth_error_set(err, st,
                               "out of memory for the tokenizer; "
                               "close something and try again");
    return st;
}

/* *out, or nothing of it after a failure. */
static hearth_status keep(hearth_tokenizer **out, hearth_status st) {
    if (st == HEARTH_OK) return st;
    hearth_tokenizer_close(*out);
    *out = NULL;
    return st;
}

/* The folder's chat_template.jinja goes before what the settings say. */
static hearth_status folder_template(hearth_tokenizer **out, const char *dir,
                                     hearth_error *err) {
    return keep(out,
                hearth_template_source_folder(&(*out)->own_template, dir, err));
}

static hearth_status open_gguf(hearth_tokenizer **out, const char *path,
                               const hearth_alloc *al, hearth_error *err) {
    hearth_gguf *g = NULL;
    hearth_status st = hearth_gguf_open(&g, path, al, err);
    if (st != HEARTH_OK) return st;
    st = hearth_tokenizer__from_gguf(out, g, al, err);
    if (st == HEARTH_OK)
        st = keep(out,
                  hearth_template_source_gguf(&(*out)->own_template, g, err));
    if (st == HEARTH_EFORMAT || st == HEARTH_EUNSUPPORTED)
        (void)hearth_error_prefix(err, "%s", path);
    hearth_gguf_close(g);
    return st;
}

hearth_status hearth_tokenizer_open(hearth_tokenizer **out, const char *path,
                                    const hearth_alloc *al, hearth_error *err) {
    char json_path[1024], config_path[1024];
    hearth_file json = HEARTH_FILE_INIT, config = HEARTH_FILE_INIT;
    hearth_status st;
    if (!out) return HEARTH_EINVAL;
    *out = NULL;
    if (!path) return hearth_error_set(err, HEARTH_EINVAL, "no path given");
    size_t n = strlen(path);
    if (n > 5 && strcmp(path + n - 5, ".gguf") == 0)
        return open_gguf(out, path, al, err);
    bool dir = hearth_file_is_dir(path), have_config = false;
    st = hearth_file_join(json_path, sizeof(json_path), path, "tokenizer.json");
    if (st == HEARTH_OK)
        st = hearth_file_join(config_path, sizeof(config_path), path,
                              "tokenizer_config.json");
    if (st != HEARTH_OK)
        return hearth_error_set(err, st, "the tokenizer's path is too long");
    if (dir && !hearth_file_exists(json_path)) {
        st = hearth_tokenizer__from_folder(out, path, al, err);
        if (st == HEARTH_EFORMAT || st == HEARTH_EUNSUPPORTED)
            (void)hearth_error_prefix(err, "%s", path);
        if (st == HEARTH_OK) st = folder_template(out, path, err);
        if (st != HEARTH_ENOTFOUND) return st;
    }
    st = hearth_file_map(&json, dir ? json_path : path, err);
    if (st == HEARTH_OK && dir && hearth_file_exists(config_path)) {
        st = hearth_file_map(&config, config_path, err);
        have_config = true;
    }
    if (st == HEARTH_OK)
        st = hearth_tokenizer_parse(out, json.v ? (const char *)json.v : "",
                                    json.n,
                                    !have_config ? NULL
                                    : config.v   ? (const char *)config.v
                                                 : "",
                                    config.n, al, err);
    if (st == HEARTH_OK && dir) st = folder_template(out, path, err);
    hearth_file_unmap(&config);
    hearth_file_unmap(&json);
    if (st == HEARTH_EFORMAT || st == HEARTH_EUNSUPPORTED)
        (void)hearth_error_prefix(err, "%s", path);
    return st;
}

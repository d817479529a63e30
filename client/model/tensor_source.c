/* SPDX-License-Identifier: Apache-2.0 */
/* client/model/tensor_source.c - one safetensors file, or many under an index. */
#include "client/model/tensor_source.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/error.h"
#include "common/file.h"
#include "common/json.h"
#include "common/mem.h"

#define MAX_PATH_BYTES  1024
#define MAX_INDEX_BYTES ((size_t)16 << 20)
#define ONE_FILE        "model.safetensors"
#define INDEX_FILE      "model.safetensors.index.json"
#define HINT            "download the model again"

struct hearth_tensor_source {
    hearth_alloc al;
    size_t n_files;
    hearth_safetensors **file;                   /* [n_files] */
    char (*name)[HEARTH_TENSOR_SOURCE_MAX_NAME]; /* [n_files] in the folder */
};

static bool plain_name(const char *s) {
    size_t n = strlen(s);
    const char *end = ".safetensors";
    return n > strlen(end) && s[0] != '.' && !strchr(s, '/') &&
           !strchr(s, '\\') && strcmp(s + n - strlen(end), end) == 0;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(a, b);
}

/* Position of a name in the sorted list; n_shards when absent. */
static size_t find_shard(const hearth_tensor_index *x, const char *name) {
    const void *p =
        bsearch(name, x->shard, x->n_shards, sizeof(*x->shard), compare_names);
    if (!p) return x->n_shards;
    return (size_t)((const char *)p - (const char *)x->shard) /
           sizeof(*x->shard);
}

static hearth_status bad_index(hearth_error *err, const char *what,
                               const char *text) {
    return hearth_error_set(err, HEARTH_EFORMAT, "%.150s: %s; " HINT, what,
                            text);
}

/* One shard name into the list, unless it is the one seen last. */
static hearth_status add_shard(hearth_tensor_index *x, const char *name,
                               const char *what, hearth_error *err) {
    if (!plain_name(name))
        return bad_index(err, what,
                         "a shard is not a .safetensors file of this folder");
    if (strlen(name) >= HEARTH_TENSOR_SOURCE_MAX_NAME)
        return hearth_error_set(err, HEARTH_ETOOBIG,
                                "%.150s: a shard's name is too long; rename "
                                "it there and on disk",
                                what);
    for (size_t i = x->n_shards; i-- > 0;)
        if (strcmp(x->shard[i], name) == 0) return HEARTH_OK;
    if (x->n_shards == HEARTH_TENSOR_SOURCE_MAX_SHARDS)
        return hearth_error_set(err, HEARTH_ETOOBIG,
                                "%.150s: more than 1024 shards; save the model "
                                "with larger ones",
                                what);
    memcpy(x->shard[x->n_shards++], name, strlen(name) + 1);
    return HEARTH_OK;
}

static hearth_status list_shards(hearth_tensor_index *x,
                                 const hearth_json_value *map, const char *what,
                                 const hearth_alloc *al, hearth_error *err) {
    const hearth_json_value *v = hearth_json_first(map);
    size_t cap = hearth_json_size(map);
    if (!cap) return bad_index(err, what, "weight_map is empty");
    if (cap > HEARTH_TENSOR_SOURCE_MAX_SHARDS)
        cap = HEARTH_TENSOR_SOURCE_MAX_SHARDS;
    x->shard = hearth_mem_array(al, cap, sizeof(*x->shard));
    if (!x->shard)
        return hearth_error_set(err, HEARTH_ENOMEM,
                                "%.150s: out of memory; close other programs "
                                "and try again",
                                what);
    for (; v; v = hearth_json_next(v)) {
        const char *name = NULL;
        if (hearth_json_str(v, &name) != HEARTH_OK)
            return bad_index(err, what,
                             "weight_map holds something else than "
                             "file names");
        hearth_status st = add_shard(x, name, what, err);
        if (st != HEARTH_OK) return st;
        x->n_tensors++;
    }
    qsort(x->shard, x->n_shards, sizeof(*x->shard), compare_names);
    return HEARTH_OK;
}

static hearth_status walk(const hearth_tensor_index *x,
                          const hearth_json_value *map,
                          hearth_tensor_index_fn fn, void *ud) {
    const hearth_json_value *v = hearth_json_first(map);
    for (; fn && v; v = hearth_json_next(v)) {
        const char *name = NULL;
        hearth_status st = hearth_json_str(v, &name);
        if (st == HEARTH_OK)
            st = fn(ud, hearth_json_key(v), find_shard(x, name));
        if (st != HEARTH_OK) return st;
    }
    return HEARTH_OK;
}

hearth_status
hearth_tensor_index_parse(hearth_tensor_index *out, const char *json, size_t n,
                          const char *what, hearth_tensor_index_fn fn, void *ud,
                          const hearth_alloc *al, hearth_error *err) {
    hearth_json *doc = NULL;
    *out = (hearth_tensor_index){0};
    al = hearth_mem_or_default(al);
    hearth_status st = hearth_json_parse(&doc, what, json, n, al, err);
    if (st != HEARTH_OK) return st;
    const hearth_json_value *map =
        hearth_json_get(hearth_json_root(doc), "weight_map");
    if (hearth_json_type_of(map) != HEARTH_JSON_OBJECT)
        st = bad_index(err, what, "there is no object weight_map");
    if (st == HEARTH_OK) st = list_shards(out, map, what, al, err);
    if (st == HEARTH_OK) st = walk(out, map, fn, ud);
    hearth_json_free(doc);
    if (st != HEARTH_OK) hearth_tensor_index_free(out, al);
    return st;
}

void hearth_tensor_index_free(hearth_tensor_index *x, const hearth_alloc *al) {
    hearth_mem_free(hearth_mem_or_default(al), x->shard);
    *x = (hearth_tensor_index){0};
}

static hearth_status no_memory(const char *dir, hearth_error *err) {
    return hearth_error_set(err, HEARTH_ENOMEM,
                            "%.150s: out of memory; close other programs and "
                            "try again",
                            dir);
}

/* What the walk over weight_map checks against the opened shards. */
typedef struct {
    const hearth_tensor_source *s;
    const char *what;
    const hearth_tensor **seen; /* [n_tensors] found so far */
    size_t n_seen;
    hearth_error *err;
} checking;

static hearth_status check_entry(void *ud, const char *tensor, size_t shard) {
    checking *c = ud;
    const hearth_tensor *t = hearth_safetensors_find(c->s->file[shard], tensor);
    if (t) {
        c->seen[c->n_seen++] = t;
        return HEARTH_OK;
    }
    return hearth_error_set(c->err, HEARTH_EFORMAT,
                            "%.150s: tensor '%.80s' is not in the shard that "
                            "is named for it; " HINT,
                            c->what, tensor);
}

/* More tensors than entries: name the first that the map leaves out, or lists
 * in another shard. */
static hearth_status name_extra(const checking *c) {
    const char *name = "";
    for (size_t i = 0; !name[0] && i < hearth_tensor_source_count(c->s); i++) {
        const hearth_tensor *t = hearth_tensor_source_at(c->s, i);
        size_t k = 0;
        while (k < c->n_seen && c->seen[k] != t) k++;
        if (k == c->n_seen) name = t->name;
    }
    return hearth_error_set(c->err, HEARTH_EFORMAT,
                            "%.150s: tensor '%.80s' is in a shard that "
                            "weight_map does not name for it; " HINT,
                            c->what, name);
}

/* Map and shards hold the same tensors, n of them, each once. */
static hearth_status compare_map(const hearth_tensor_source *s,
                                 const char *json, size_t bytes, size_t n,
                                 const char *what, hearth_error *err) {
    hearth_tensor_index x;
    checking c = {s, what, hearth_mem_array(&s->al, n, sizeof(*c.seen)), 0,
                  err};
    if (!c.seen) return no_memory(what, err);
    hearth_status st = hearth_tensor_index_parse(&x, json, bytes, what,
                                                 check_entry, &c, &s->al, err);
    hearth_tensor_index_free(&x, &s->al);
    if (st == HEARTH_OK && hearth_tensor_source_count(s) != n)
        st = name_extra(&c);
    hearth_mem_free(&s->al, (void *)(uintptr_t)c.seen);
    return st;
}

static hearth_status open_at(hearth_tensor_source *s, const char *dir,
                             const char *name, hearth_error *err) {
    char path[MAX_PATH_BYTES];
    hearth_status st = hearth_file_join(path, sizeof(path), dir, name);
    if (st != HEARTH_OK)
        return hearth_error_set(err, st, "model path is too long; move it");
    st = hearth_safetensors_open(&s->file[s->n_files], path, &s->al, err);
    if (st != HEARTH_OK) return st;
    memcpy(s->name[s->n_files++], name, strlen(name) + 1);
    return HEARTH_OK;
}

/* Room for n files. */
static bool take_files(hearth_tensor_source *s, size_t n) {
    s->file = hearth_mem_array(&s->al, n, sizeof(hearth_safetensors *));
    s->name = hearth_mem_array(&s->al, n, sizeof(*s->name));
    return s->file && s->name;
}

/* Shards open in order of their names; then map and shards are compared: each
 * entry is found where it should be, and there are no more tensors than
 * entries. */
static hearth_status open_shards(hearth_tensor_source *s, const char *dir,
                                 const hearth_buf *text, const char *what,
                                 hearth_error *err) {
    hearth_tensor_index x;
    const char *json = (const char *)text->v;
    hearth_status st = hearth_tensor_index_parse(&x, json, text->n, what, NULL,
                                                 NULL, &s->al, err);
    if (st != HEARTH_OK) return st;
    if (!take_files(s, x.n_shards)) st = no_memory(dir, err);
    for (size_t i = 0; st == HEARTH_OK && i < x.n_shards; i++)
        st = open_at(s, dir, x.shard[i], err);
    size_t n_tensors = x.n_tensors;
    hearth_tensor_index_free(&x, &s->al);
    if (st != HEARTH_OK) return st;
    return compare_map(s, json, text->n, n_tensors, what, err);
}

static hearth_status open_files(hearth_tensor_source *s, const char *dir,
                                hearth_error *err) {
    char path[MAX_PATH_BYTES];
    hearth_status st = hearth_file_join(path, sizeof(path), dir, ONE_FILE);
    bool one = st == HEARTH_OK && hearth_file_exists(path);
    st = hearth_file_join(path, sizeof(path), dir, INDEX_FILE);
    if (st != HEARTH_OK)
        return hearth_error_set(err, st, "model path is too long; move it");
    if (one || !hearth_file_exists(path)) {
        return take_files(s, 1) ? open_at(s, dir, ONE_FILE, err)
                                : no_memory(dir, err);
    }
    hearth_buf text = HEARTH_BUF_INIT(&s->al);
    st = hearth_file_read(&text, path, MAX_INDEX_BYTES, err);
    if (st == HEARTH_OK) st = open_shards(s, dir, &text, path, err);
    hearth_buf_free(&text);
    return st;
}

hearth_status hearth_tensor_source_open(hearth_tensor_source **out,
                                        const char *dir, const hearth_alloc *al,
                                        hearth_error *err) {
    *out = NULL;
    al = hearth_mem_or_default(al);
    hearth_tensor_source *s = hearth_mem_new(al, sizeof(*s));
    if (!s) return no_memory(dir, err);
    s->al = *al;
    hearth_status st = open_files(s, dir, err);
    if (st != HEARTH_OK) {
        hearth_tensor_source_close(s);
        return st;
    }
    *out = s;
    return HEARTH_OK;
}

void hearth_tensor_source_close(hearth_tensor_source *s) {
    if (!s) return;
    hearth_alloc al = s->al;
    for (size_t i = 0; i < s->n_files; i++)
        hearth_safetensors_close(s->file[i]);
    hearth_mem_free(&al, s->file);
    hearth_mem_free(&al, s->name);
    hearth_mem_free(&al, s);
}

size_t hearth_tensor_source_n_files(const hearth_tensor_source *s) {
    return s->n_files;
}

const uint8_t *hearth_tensor_source_file(const hearth_tensor_source *s,
                                         size_t i, size_t *n,
                                         const char **name) {
    *name = s->name[i];
    return hearth_safetensors_bytes(s->file[i], n);
}

size_t hearth_tensor_source_count(const hearth_tensor_source *s) {
    size_t n = 0;
    for (size_t i = 0; i < s->n_files; i++)
        n += hearth_safetensors_count(s->file[i]);
    return n;
}

const hearth_tensor *hearth_tensor_source_at(const hearth_tensor_source *s,
                                             size_t i) {
    for (size_t k = 0; k < s->n_files; k++) {
        size_t n = hearth_safetensors_count(s->file[k]);
        if (i < n) return hearth_safetensors_at(s->file[k], i);
        i -= n;
    }
    return NULL;
}

const hearth_tensor *hearth_tensor_source_find(const hearth_tensor_source *s,
                                               const char *name) {
    const hearth_tensor *t = NULL;
    for (size_t k = 0; !t && k < s->n_files; k++)
        t = hearth_safetensors_find(s->file[k], name);
    return t;
}

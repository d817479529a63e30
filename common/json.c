/* SPDX-License-Identifier: Apache-2.0 */
/* common/json.c - the contract is in json.h.
 *
 * The strict pull parser walks the text first: it checks grammar, UTF-8, depth
 * and the number of nodes, so cJSON only ever sees texts that are small and
 * well formed.  Duplicate keys are looked for in the tree.
 */
#include "common/json.h"

#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "common/buf.h"
#include "common/file.h"
#include "common/jsonpull.h"
#include "common/mem.h"

#define MAX_NODES ((size_t)2000000)

struct hearth_json {
    const hearth_alloc *al;
    cJSON *root;
};

static const cJSON *node(const hearth_json_value *v) {
    return (const cJSON *)v;
}

static const hearth_json_value *value(const cJSON *n) {
    return (const hearth_json_value *)n;
}

/* Grammar, size and depth; *nodes = values in the text. */
static hearth_status check_text(const char *name, const char *text, size_t n,
                                hearth_error *err) {
    hearth_jsonpull p;
    hearth_jsonpull_event ev;
    size_t nodes = 0;
    hearth_jsonpull_init(&p, text, n);
    while ((ev = hearth_jsonpull_next(&p)) > HEARTH_JSONPULL_END) {
        if (++nodes > MAX_NODES)
            return hearth_error_set(err, HEARTH_ETOOBIG,
                                    "%s: more than %zu values", name,
                                    MAX_NODES);
        /* cJSON ends strings at a NUL: "a\0b" would become "a". */
        if ((ev == HEARTH_JSONPULL_STRING || ev == HEARTH_JSONPULL_KEY) &&
            p.escaped)
            for (size_t i = 0; i + 6 <= p.token_n; i++)
                if (p.token[i] == '\\') {
                    if (!memcmp(p.token + i, "\\u0000", 6))
                        return hearth_error_set(
                            err, HEARTH_EFORMAT,
                            "%s:%zu: a string holds \\u0000; remove it", name,
                            hearth_jsonpull_line(&p));
                    i++;
                }
    }
    if (ev == HEARTH_JSONPULL_END) return HEARTH_OK;
    return hearth_error_set(err, HEARTH_EFORMAT,
                            "%s:%zu: not valid JSON here; mend or export it "
                            "again",
                            name, hearth_jsonpull_line(&p));
}

/* Quadratic for small objects, by sorting pointers for large ones. */
static int by_key(const void *a, const void *b) {
    const cJSON *const *x = a, *const *y = b;
    return strcmp((*x)->string, (*y)->string);
}

static hearth_status check_object(const cJSON *o, const hearth_alloc *al,
                                  const char **dup) {
    size_t n = 0;
    for (const cJSON *c = o->child; c; c = c->next) n++;
    if (n < 2) return HEARTH_OK;
    const cJSON **key = hearth_mem_array(al, n, sizeof(*key));
    if (!key) return HEARTH_ENOMEM;
    n = 0;
    for (const cJSON *c = o->child; c; c = c->next) key[n++] = c;
    qsort(key, n, sizeof(*key), by_key);
    for (size_t i = 1; i < n && !*dup; i++)
        if (!strcmp(key[i - 1]->string, key[i]->string)) *dup = key[i]->string;
    hearth_mem_free(al, key);
    return *dup ? HEARTH_EFORMAT : HEARTH_OK;
}

/* Depth is bounded by check_text, so recursion is too. */
static hearth_status check_duplicates(const cJSON *v, const hearth_alloc *al,
                                      const char **dup) {
    hearth_status st = HEARTH_OK;
    if (cJSON_IsObject(v)) st = check_object(v, al, dup);
    for (const cJSON *c = v->child; c && st == HEARTH_OK; c = c->next)
        if (c->child) st = check_duplicates(c, al, dup);
    return st;
}

hearth_status hearth_json_parse(hearth_json **out, const char *name,
                                const char *text, size_t n,
                                const hearth_alloc *al, hearth_error *err) {
    *out = NULL;
    if (n > HEARTH_JSON_MAX_BYTES)
        return hearth_error_set(err, HEARTH_ETOOBIG,
                                "%s: larger than %zu bytes", name,
                                HEARTH_JSON_MAX_BYTES);
    hearth_status st = check_text(name, text, n, err);
    if (st != HEARTH_OK) return st;
    hearth_json *j = hearth_mem_new(al, sizeof(*j));
    if (!j) return hearth_error_set(err, HEARTH_ENOMEM, "out of memory");
    j->al = al;
    j->root = cJSON_ParseWithLength(text, n);
    if (!j->root) {
        hearth_json_free(j);
        return hearth_error_set(err, HEARTH_ENOMEM, "%s: out of memory", name);
    }
    const char *dup = NULL;
    st = check_duplicates(j->root, al, &dup);
    if (st != HEARTH_OK) {
        if (dup)
            hearth_error_set(err, st,
                             "%s: key '%.80s' stands twice in one object; "
                             "keep one",
                             name, dup);
        else
            hearth_error_set(err, st, "%s: out of memory", name);
        hearth_json_free(j);
        return st;
    }
    *out = j;
    return HEARTH_OK;
}

hearth_status hearth_json_load(hearth_json **out, const char *path,
                               size_t max_bytes, const hearth_alloc *al,
                               hearth_error *err) {
    hearth_buf b = HEARTH_BUF_INIT(al);
    *out = NULL;
    hearth_status st = hearth_file_read(&b, path, max_bytes, err);
    if (st == HEARTH_OK)
        st = hearth_json_parse(out, path, hearth_buf_str(&b), b.n, al, err);
    hearth_buf_free(&b);
    return st;
}

void hearth_json_free(hearth_json *j) {
    if (!j) return;
    cJSON_Delete(j->root);
    hearth_mem_free(j->al, j);
}

const hearth_json_value *hearth_json_root(const hearth_json *j) {
    return value(j->root);
}

hearth_json_type hearth_json_type_of(const hearth_json_value *v) {
    const cJSON *n = node(v);
    if (!n) return HEARTH_JSON_NONE;
    if (cJSON_IsBool(n)) return HEARTH_JSON_BOOL;
    if (cJSON_IsNumber(n)) return HEARTH_JSON_NUMBER;
    if (cJSON_IsString(n)) return HEARTH_JSON_STRING;
    if (cJSON_IsArray(n)) return HEARTH_JSON_ARRAY;
    if (cJSON_IsObject(n)) return HEARTH_JSON_OBJECT;
    return HEARTH_JSON_NULL;
}

const hearth_json_value *hearth_json_get(const hearth_json_value *v,
                                         const char *key) {
    if (!cJSON_IsObject(node(v))) return NULL;
    return value(cJSON_GetObjectItemCaseSensitive(node(v), key));
}

size_t hearth_json_size(const hearth_json_value *v) {
    size_t n = 0;
    if (!cJSON_IsObject(node(v)) && !cJSON_IsArray(node(v))) return 0;
    for (const cJSON *c = node(v)->child; c; c = c->next) n++;
    return n;
}

const hearth_json_value *hearth_json_first(const hearth_json_value *v) {
    if (!cJSON_IsObject(node(v)) && !cJSON_IsArray(node(v))) return NULL;
    return value(node(v)->child);
}

const hearth_json_value *hearth_json_next(const hearth_json_value *v) {
    return v ? value(node(v)->next) : NULL;
}

const char *hearth_json_key(const hearth_json_value *v) {
    return v ? node(v)->string : NULL;
}

hearth_status hearth_json_i64(const hearth_json_value *v, int64_t *out) {
    const cJSON *n = node(v);
    /* cJSON keeps doubles: beyond 2^53 an integer is not certain. */
    if (!cJSON_IsNumber(n) || !(n->valuedouble >= -9007199254740992.0) ||
        !(n->valuedouble <= 9007199254740992.0))
        return HEARTH_EFORMAT;
    int64_t i = (int64_t)n->valuedouble;
    if ((double)i < n->valuedouble || (double)i > n->valuedouble)
        return HEARTH_EFORMAT;
    *out = i;
    return HEARTH_OK;
}

hearth_status hearth_json_f64(const hearth_json_value *v, double *out) {
    const cJSON *n = node(v);
    if (!cJSON_IsNumber(n) || !(n->valuedouble <= 1.7976931348623157e308) ||
        !(n->valuedouble >= -1.7976931348623157e308))
        return HEARTH_EFORMAT;
    *out = n->valuedouble;
    return HEARTH_OK;
}

hearth_status hearth_json_bool(const hearth_json_value *v, bool *out) {
    if (!cJSON_IsBool(node(v))) return HEARTH_EFORMAT;
    *out = cJSON_IsTrue(node(v));
    return HEARTH_OK;
}

hearth_status hearth_json_str(const hearth_json_value *v, const char **out) {
    if (!cJSON_IsString(node(v))) return HEARTH_EFORMAT;
    *out = node(v)->valuestring;
    return HEARTH_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* common/json.h - small JSON documents, over cJSON.
 *
 * Checked before cJSON sees it: size, depth, node count, valid UTF-8, no
 * duplicate keys, nothing after the value.  For large files (tokenizer.json)
 * use jsonpull.h.
 *
 *     hearth_json *j;
 *     st = hearth_json_parse(&j, name, text, n, al, err);
 *     const hearth_json_value *root = hearth_json_root(j), *v;
 *     v = hearth_json_get(root, "hidden_size");
 *     st = hearth_json_i64(v, &hidden);           // EFORMAT: not an integer
 *     hearth_json_free(j);
 *
 * Threads: immutable after parse.
 * Errors:  EFORMAT with name:line, ETOOBIG, ENOMEM.
 */
#ifndef HEARTH_COMMON_JSON_H
#define HEARTH_COMMON_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/alloc.h"
#include "common/error.h"
#include "common/status.h"

#define HEARTH_JSON_MAX_BYTES ((size_t)64 * 1024 * 1024)
#define HEARTH_JSON_MAX_DEPTH 64

typedef struct hearth_json hearth_json;
typedef struct hearth_json_value hearth_json_value; /* borrowed from the doc */

typedef enum {
    HEARTH_JSON_NONE, /* a NULL value: no such key */
    HEARTH_JSON_NULL,
    HEARTH_JSON_BOOL,
    HEARTH_JSON_NUMBER,
    HEARTH_JSON_STRING,
    HEARTH_JSON_ARRAY,
    HEARTH_JSON_OBJECT
} hearth_json_type;

HEARTH_MUST_CHECK hearth_status hearth_json_parse(hearth_json **out,
                                                  const char *name,
                                                  const char *text, size_t n,
                                                  const hearth_alloc *al,
                                                  hearth_error *err);
HEARTH_MUST_CHECK hearth_status hearth_json_load(hearth_json **out,
                                                 const char *path,
                                                 size_t max_bytes,
                                                 const hearth_alloc *al,
                                                 hearth_error *err);
void hearth_json_free(hearth_json *j);

const hearth_json_value *hearth_json_root(const hearth_json *j);

/* All of these take NULL as "absent". */
hearth_json_type hearth_json_type_of(const hearth_json_value *v);
/* Member of an object; NULL when absent or v is no object. */
const hearth_json_value *hearth_json_get(const hearth_json_value *v,
                                         const char *key);
/* Elements of an array or members of an object. */
size_t hearth_json_size(const hearth_json_value *v);
/* First child and the next sibling, to walk arrays and objects in order. */
const hearth_json_value *hearth_json_first(const hearth_json_value *v);
const hearth_json_value *hearth_json_next(const hearth_json_value *v);
/* Key of a member; NULL for array elements. */
const char *hearth_json_key(const hearth_json_value *v);

/* Typed reads: HEARTH_OK, or HEARTH_EFORMAT for another type or range (also
 * for absent), with *out untouched. */
HEARTH_MUST_CHECK hearth_status hearth_json_i64(const hearth_json_value *v,
                                                int64_t *out);
HEARTH_MUST_CHECK hearth_status hearth_json_f64(const hearth_json_value *v,
                                                double *out);
HEARTH_MUST_CHECK hearth_status hearth_json_bool(const hearth_json_value *v,
                                                 bool *out);
/* Borrowed, NUL-terminated. */
HEARTH_MUST_CHECK hearth_status hearth_json_str(const hearth_json_value *v,
                                                const char **out);

#endif /* HEARTH_COMMON_JSON_H */

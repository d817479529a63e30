/* SPDX-License-Identifier: Apache-2.0 */
/* common/ini.h - strict settings files over inih.
 *
 * Refuses, with file:line, what inih lets pass: long lines, duplicate keys,
 * unknown sections and keys (with a guess: "did you mean 'Y'?"), bytes that are
 * not UTF-8.  Values stay text; the _get functions check type and range and
 * name file, line and key in their errors.
 *
 *     static const hearth_ini_key keys[] = {
 *         {"task", "rounds"}, {"task", "clip"}, {"device.*", "share"}};
 *     hearth_ini *ini;
 *     st = hearth_ini_load(&ini, path, keys, 3, al, err);
 *     st = hearth_ini_get_i64(ini, "task", "rounds", 1, 10000, NULL, &r, err);
 *     hearth_ini_free(ini);
 *
 * Threads: immutable after load.
 * Errors:  EFORMAT (names file:line), ENOTFOUND (no file; or a required key
 *          that is missing), ETOOBIG, ENOMEM, EIO.
 */
#ifndef HEARTH_COMMON_INI_H
#define HEARTH_COMMON_INI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/alloc.h"
#include "common/error.h"
#include "common/status.h"

#define HEARTH_INI_MAX_BYTES ((size_t)256 * 1024)
#define HEARTH_INI_MAX_LINE  ((size_t)1000) /* bytes, without the newline */

/* An allowed key.  A section that ends in ".*" allows any suffix; a key "*"
 * allows any key. */
typedef struct {
    const char *section, *key;
} hearth_ini_key;

typedef struct hearth_ini hearth_ini;

HEARTH_MUST_CHECK hearth_status
hearth_ini_load(hearth_ini **out, const char *path, const hearth_ini_key *keys,
                size_t n_keys, const hearth_alloc *al, hearth_error *err);
/* The same from memory; name is used in messages. */
HEARTH_MUST_CHECK hearth_status
hearth_ini_parse(hearth_ini **out, const char *name, const char *text, size_t n,
                 const hearth_ini_key *keys, size_t n_keys,
                 const hearth_alloc *al, hearth_error *err);
void hearth_ini_free(hearth_ini *ini);

/* NULL when the key is not there. Borrowed. */
const char *hearth_ini_get(const hearth_ini *ini, const char *section,
                           const char *key);
/* Line of a key, 0 when it is not there. */
unsigned hearth_ini_line(const hearth_ini *ini, const char *section,
                         const char *key);

/* Typed reads.  fallback NULL: the key is required (HEARTH_ENOTFOUND names
 * it).  Otherwise a missing key gives *fallback. */
HEARTH_MUST_CHECK hearth_status
hearth_ini_get_str(const hearth_ini *ini, const char *section, const char *key,
                   const char *fallback, const char **out, hearth_error *err);
HEARTH_MUST_CHECK hearth_status hearth_ini_get_i64(
    const hearth_ini *ini, const char *section, const char *key, int64_t min,
    int64_t max, const int64_t *fallback, int64_t *out, hearth_error *err);
HEARTH_MUST_CHECK hearth_status hearth_ini_get_f64(
    const hearth_ini *ini, const char *section, const char *key, double min,
    double max, const double *fallback, double *out, hearth_error *err);
/* yes|no|true|false|on|off|1|0 */
HEARTH_MUST_CHECK hearth_status
hearth_ini_get_bool(const hearth_ini *ini, const char *section, const char *key,
                    const bool *fallback, bool *out, hearth_error *err);
/* A duration with a unit: 500ms, 60s, 10m, 24h, 90d.  In ms, >= 0. */
HEARTH_MUST_CHECK hearth_status hearth_ini_get_duration(
    const hearth_ini *ini, const char *section, const char *key,
    const int64_t *fallback, int64_t *out_ms, hearth_error *err);

/* "500ms", "60s", "10m", "24h", "90d" to ms; HEARTH_EFORMAT otherwise. */
HEARTH_MUST_CHECK hearth_status hearth_parse_duration(const char *s,
                                                      int64_t *out_ms);
/* Whole decimal number, nothing after it. */
HEARTH_MUST_CHECK hearth_status hearth_parse_i64(const char *s, int64_t *out);
/* Finite decimal number, nothing after it; not sensitive to the locale. */
HEARTH_MUST_CHECK hearth_status hearth_parse_f64(const char *s, double *out);

/* Walk: sections in file order, keys of entry i. */
size_t hearth_ini_size(const hearth_ini *ini);
void hearth_ini_at(const hearth_ini *ini, size_t i, const char **section,
                   const char **key, const char **value, unsigned *line);

/* The word of list [n] nearest to word by edit distance, or NULL when none is
 * near enough to be a plausible typing error. */
const char *hearth_did_you_mean(const char *word, const char *const *list,
                                size_t n);

#endif /* HEARTH_COMMON_INI_H */

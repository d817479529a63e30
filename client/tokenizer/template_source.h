/* SPDX-License-Identifier: Apache-2.0 */
/* client/tokenizer/template_source.h - a model's own chat template, known by
 * its digest.
 *
 * Data flow:  model folder or GGUF -> [template_source] -> chat_template
 *
 * A model brings its template as a Jinja program.  Nothing here runs it: the
 * SHA-256 of its exact bytes is looked up in a list of templates whose
 * rendering was compared with the original.  Where it is looked for, the first
 * that is there: the file chat_template.jinja of the folder;
 * "chat_template" of tokenizer_config.json (a string, or a list of {"name",
 * "template"} of which "default" counts); tokenizer.chat_template of a GGUF
 * file.  An empty one is none.
 *
 *     hearth_template_source own = {0};
 *     st = hearth_template_source_config(&own, json, n, al, err);
 *     if (own.present) tmpl = hearth_template_source_find(own.digest);
 *
 * Threads: no shared state.
 * Memory:  while reading, one copy of the template.
 */
#ifndef HEARTH_TOKENIZER_TEMPLATE_SOURCE_H
#define HEARTH_TOKENIZER_TEMPLATE_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/tokenizer/chat_template.h"
#include "common/alloc.h"
#include "common/error.h"
#include "common/gguf.h"
#include "common/status.h"

#define HEARTH_TEMPLATE_SOURCE_MAX ((size_t)1 << 20) /* bytes of a template */

/* Zero: the model has no template. */
typedef struct hearth_template_source {
    bool present;
    uint8_t digest[32]; /* SHA-256 of its bytes; zero where a list of templates
                           has no default */
} hearth_template_source;

/* Read it from a tokenizer_config.json, json [n]; absent or null: own stays.
 *
 * HEARTH_EFORMAT  not JSON; "chat_template" is neither a string nor a list of
 *                 names and templates, or there twice
 * HEARTH_ETOOBIG  above HEARTH_TEMPLATE_SOURCE_MAX
 * HEARTH_ENOMEM
 * On failure own is as it was. */
HEARTH_MUST_CHECK
hearth_status hearth_template_source_config(hearth_template_source *own,
                                            const char *json, size_t n,
                                            const hearth_alloc *al,
                                            hearth_error *err);

/* Read it from chat_template.jinja of folder dir; no such file: own stays.
 * HEARTH_ETOOBIG, HEARTH_EIO. */
HEARTH_MUST_CHECK
hearth_status hearth_template_source_folder(hearth_template_source *own,
                                            const char *dir, hearth_error *err);

/* Read it from a GGUF file; no such key: own stays.  HEARTH_ETOOBIG,
 * HEARTH_EFORMAT (it is no text). */
HEARTH_MUST_CHECK
hearth_status hearth_template_source_gguf(hearth_template_source *own,
                                          const hearth_gguf *g,
                                          hearth_error *err);

/* The template of this digest [32], or HEARTH_TEMPLATE_UNKNOWN. */
hearth_chat_template hearth_template_source_find(const uint8_t digest[32]);

#endif /* HEARTH_TOKENIZER_TEMPLATE_SOURCE_H */

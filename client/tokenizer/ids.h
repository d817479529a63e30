/* SPDX-License-Identifier: Apache-2.0 */
/* client/tokenizer/ids.h - a growing list of token ids.
 *
 *     hearth_ids ids;
 *     hearth_ids_init(&ids, al);
 *     ... hearth_tokenizer_encode(t, text, n, true, &ids, err) ...
 *     hearth_ids_free(&ids);
 *
 * Threads: one thread at a time per list.
 * Memory:  from al; zeroed before it is freed, because ids are the record in
 *          another spelling.
 */
#ifndef HEARTH_TOKENIZER_IDS_H
#define HEARTH_TOKENIZER_IDS_H

#include <stddef.h>
#include <stdint.h>

#include "common/alloc.h"
#include "common/status.h"

typedef struct {
    int32_t *id;            /* [n]; NULL while nothing was added */
    size_t n, cap;          /* elements */
    const hearth_alloc *al; /* NULL: default; borrowed */
} hearth_ids;

/* An empty list; allocates nothing.  al may be NULL and must outlive the
 * list. */
void hearth_ids_init(hearth_ids *ids, const hearth_alloc *al);

/* Forget the contents, keep the memory. */
void hearth_ids_clear(hearth_ids *ids);

/* Append one id.  HEARTH_OK, or HEARTH_ENOMEM with the list as it was. */
HEARTH_MUST_CHECK
hearth_status hearth_ids_push(hearth_ids *ids, int32_t id);

/* Zero and release; the list is empty and usable again.  NULL is a no-op. */
void hearth_ids_free(hearth_ids *ids);

#endif /* HEARTH_TOKENIZER_IDS_H */

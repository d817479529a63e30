/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/memplan.h - every buffer of a run, before any is made.
 *
 * Items are named and counted first; a plan above the budget is refused with
 * the numbers and nothing has been read or allocated.  "private" is memory
 * that this process alone holds; "file" is pages of mapped files, which the
 * system may drop and read again.
 *
 *     hearth_memplan p = HEARTH_MEMPLAN_INIT;
 *     hearth_memplan_add(&p, "activations", HEARTH_MEM_PRIVATE, n, size);
 *     st = hearth_memplan_check(&p, budget, err);
 *
 * Threads: no shared state.
 * Memory:  allocates nothing; names are borrowed and must be static.
 */
#ifndef HEARTH_TRAIN_MEMPLAN_H
#define HEARTH_TRAIN_MEMPLAN_H

#include <stddef.h>

#include "common/status.h"

#define HEARTH_MEMPLAN_MAX 32

typedef enum { HEARTH_MEM_PRIVATE = 0, HEARTH_MEM_FILE = 1 } hearth_mem_kind;

typedef struct {
    const char *name;
    hearth_mem_kind kind;
    size_t bytes;
} hearth_memplan_item;

typedef struct {
    hearth_memplan_item item[HEARTH_MEMPLAN_MAX];
    size_t n;
    size_t private_bytes; /* sum of the private items; SIZE_MAX: overflow */
    size_t file_bytes;
} hearth_memplan;

#define HEARTH_MEMPLAN_INIT                                                    \
    { .n = 0 }

/* Add n elements of size bytes.  An overflow, or more than HEARTH_MEMPLAN_MAX
 * items, makes the sum SIZE_MAX, which no budget allows. */
void hearth_memplan_add(hearth_memplan *p, const char *name,
                        hearth_mem_kind kind, size_t n, size_t size);

/* Compare with a budget of private bytes (0 = no budget).
 * Returns HEARTH_OK, or HEARTH_ETOOBIG with err saying the sum, the budget
 * and the largest item with its size. */
HEARTH_MUST_CHECK
hearth_status hearth_memplan_check(const hearth_memplan *p, size_t budget,
                                   hearth_error *err);

/* "47.7 MiB" into text; returns text. */
const char *hearth_memplan_format(size_t bytes, char *text, size_t cap);

#endif /* HEARTH_TRAIN_MEMPLAN_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/memplan.h - every buffer of a run, before any is made.
 *
 * Items are named and counted first; a plan above the budget is refused with
 * the numbers and nothing has been read or allocated.  "private" is memory
 * that this process alone holds; "file" is pages of files, mapped or in the
 * page cache, which the system may drop and read again.
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

#include <stdbool.h>
#include <stddef.h>

#include "client/train/base_type.h"
#include "common/status.h"

#define HEARTH_MEMPLAN_MAX 32

/* Bytes a second at which streamed weights are taken to be read: a phone's
 * flash.  Assumed, not measured, so that the same settings give the same plan. */
#define HEARTH_MEMPLAN_DISK_RATE 2e9

typedef enum { HEARTH_MEM_PRIVATE = 0, HEARTH_MEM_FILE = 1 } hearth_mem_kind;

typedef struct {
    const char *name;
    hearth_mem_kind kind;
    size_t bytes;
} hearth_memplan_item;

/* How the steps are run: what can be traded for time.  Losses and steps do not
 * depend on it, but for store_bf16. */
typedef struct {
    size_t micro_batch;    /* records of one pass */
    size_t max_tokens;     /* of them */
    size_t layers;         /* that are differentiated */
    size_t recompute;      /* of those, run again in the backward pass */
    size_t keep_attention; /* of those, that keep what attention gave */
    size_t mlp_rows;       /* tokens that the MLP handles at once; 0: all */
    size_t head_rows;      /* the same of the head; 0: the usual (decoder.h) */
    bool small_tiles;      /* attention goes back by tiles of fewer keys */
    bool store_bf16;       /* what is kept is kept in bfloat16 */
    bool streamed;         /* two layers of the base at a time, else mapped */
    size_t micro_batches; /* of a step, and the passes that they go in: 1 is the
                             layer-outer order, each layer for all of them */
    size_t passes;
    double work;           /* multiply-adds of one token, an estimate of time */
    double read_bytes;     /* of a step, from the file; 0: mapped */
    double read_token;     /* the same of one token */
    hearth_base_type base; /* FILE, or a copy of the base in this type */
} hearth_memplan_choice;

typedef struct {
    hearth_memplan_item item[HEARTH_MEMPLAN_MAX];
    size_t n;
    size_t private_bytes; /* sum of the private items; SIZE_MAX: overflow */
    size_t file_bytes;
    bool file_counts;  /* a budget bounds file_bytes too */
    size_t open_bytes; /* of private_bytes, what opening the run takes */
    hearth_memplan_choice choice;
    size_t longest_seq; /* of a plan that is refused: the longest record that
                           the budget has room for, 0: none */
} hearth_memplan;

#define HEARTH_MEMPLAN_INIT                                                    \
    { .n = 0 }

/* Add n elements of size bytes.  An overflow, or more than HEARTH_MEMPLAN_MAX
 * items, makes the sum SIZE_MAX, which no budget allows. */
void hearth_memplan_add(hearth_memplan *p, const char *name,
                        hearth_mem_kind kind, size_t n, size_t size);

/* What a budget bounds: private_bytes and, where they count, file_bytes;
 * SIZE_MAX: overflow. */
size_t hearth_memplan_bounded(const hearth_memplan *p);

/* Compare what is bounded with a budget in bytes (0 = no budget).
 * Returns HEARTH_OK, or HEARTH_ETOOBIG with err saying the sum, the budget,
 * the largest item, and what budget or length would do. */
HEARTH_MUST_CHECK
hearth_status hearth_memplan_check(const hearth_memplan *p, size_t budget,
                                   hearth_error *err);

/* "47.7 MiB" into text; returns text. */
const char *hearth_memplan_format(size_t bytes, char *text, size_t cap);

#endif /* HEARTH_TRAIN_MEMPLAN_H */

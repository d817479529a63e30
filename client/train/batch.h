/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/batch.h - which records a micro-batch holds, and in what order.
 *
 * Records form one endless sequence: epoch 0 in a seeded order, then epoch 1
 * in another, and so on.  Each micro-batch takes the next `batch` records and
 * lays them end to end in one flat stream (stream.h): no padding, attention
 * never crosses a record.  The only state is a cursor, a count of records, so
 * that a resumed run takes up the exact sequence.
 *
 * Records without a supervised token are left out when the batcher is made.
 *
 * Threads: one thread at a time.
 * Memory:  all at _open, from the plan of hearth_batcher_bytes.
 */
#ifndef HEARTH_TRAIN_BATCH_H
#define HEARTH_TRAIN_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/train/dataset.h"
#include "client/train/stream.h"
#include "common/alloc.h"
#include "common/error.h"
#include "common/status.h"

typedef struct {
    size_t batch; /* records of a micro-batch, >= 1 */
    uint64_t seed;
    bool shuffle; /* false: the order of the data set, every epoch */
    bool pack;    /* false: a micro-batch is one record */
} hearth_batch_config;

typedef struct hearth_batcher hearth_batcher;

/* One micro-batch; borrowed until the next call. */
typedef struct {
    hearth_stream stream;
    const uint32_t *record; /* [stream.n_docs] index in the data set */
    uint64_t first;         /* cursor of its first record */
} hearth_micro_batch;

/* Most tokens that one micro-batch can have: what buffers are planned for. */
size_t hearth_batch_max_tokens(const hearth_dataset *ds,
                               const hearth_batch_config *cfg);

/* Bytes that _open allocates; SIZE_MAX on overflow. */
size_t hearth_batcher_bytes(const hearth_dataset *ds,
                            const hearth_batch_config *cfg);

/* ds is borrowed and must outlive the batcher.
 * Returns HEARTH_OK, HEARTH_EINVAL (bad cfg, or no record has a supervised
 * token: err says so) or HEARTH_ENOMEM; *out is NULL on failure. */
HEARTH_MUST_CHECK
hearth_status hearth_batcher_open(hearth_batcher **out,
                                  const hearth_dataset *ds,
                                  const hearth_batch_config *cfg,
                                  const hearth_alloc *al, hearth_error *err);
void hearth_batcher_close(hearth_batcher *b);

/* Records in one epoch. */
size_t hearth_batcher_n_records(const hearth_batcher *b);

/* Fill mb with the records at the cursor, at most `limit` of them (and at most
 * a micro-batch), and move on.  limit >= 1. */
void hearth_batcher_next(hearth_batcher *b, size_t limit,
                         hearth_micro_batch *mb);

uint64_t hearth_batcher_cursor(const hearth_batcher *b);
void hearth_batcher_seek(hearth_batcher *b, uint64_t cursor);

#endif /* HEARTH_TRAIN_BATCH_H */

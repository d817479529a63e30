/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/work_queue.h - hearth_coord_io over libuv's threads.
 *
 * Jobs of one queue run one at a time and in order, on some thread of the
 * pool; `done` runs on the loop's thread.  Two queues run beside each other.
 *
 * Threads: submit on the loop's thread.
 * Memory:  one small block a waiting job.  Without memory for it the job runs
 *          at once, on the loop: slower, never lost.
 */
#ifndef HEARTH_COORDINATOR_WORK_QUEUE_H
#define HEARTH_COORDINATOR_WORK_QUEUE_H

#include <uv.h>

#include "coordinator/coordinator.h"

typedef struct hearth_work_item hearth_work_item;

/* In the caller's storage; zero it, then init. */
typedef struct {
    uv_loop_t *loop;
    uv_work_t work;
    hearth_alloc al;
    hearth_work_item *first, *last; /* first is running while busy */
    bool busy;
} hearth_work_queue;

void hearth_work_queue_init(hearth_work_queue *q, uv_loop_t *loop,
                            const hearth_alloc *al);

/* The table over q, which must outlive its jobs. */
hearth_coord_io hearth_work_queue_io(hearth_work_queue *q);

/* True while a job runs or waits. */
bool hearth_work_queue_busy(const hearth_work_queue *q);

#endif /* HEARTH_COORDINATOR_WORK_QUEUE_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* common/pool.h - the one pool of compute threads.
 *
 * Work is cut into a grid of tiles that depends on shapes only; threads take
 * whole tiles; whoever adds partial sums does so in tile order.  So results do
 * not depend on the number of threads.
 *
 *     static void tile(void *ud, size_t i, size_t worker) { ... }
 *     hearth_pool_run(pool, n_tiles, tile, &job);
 *
 * Between runs workers look for work for some 100 us and then sleep; where there
 * are more threads than CPUs they sleep at once.  The environment's HEARTH_PIN=0
 * leaves all threads where the system puts them.
 *
 * Threads: a pool belongs to one thread at a time; `tile` runs on many.
 * Memory:  fixed at open, with a stack of HEARTH_POOL_STACK_BYTES a worker: a
 *          tile keeps what is large in scratch.  run() allocates nothing.
 */
#ifndef HEARTH_COMMON_POOL_H
#define HEARTH_COMMON_POOL_H

#include <stdbool.h>
#include <stddef.h>

#include "common/alloc.h"
#include "common/error.h"
#include "common/status.h"

#define HEARTH_POOL_MAX_THREADS 64

/* Not the system's 8 MiB, of which a limit on data (RLIMIT_DATA) counts every
 * byte: what training plans for a thread.  Seen in use: 52 KiB by our own
 * kernels, 112 KiB by OpenBLAS 0.3.21.  Sanitizers widen frames; their builds
 * have the system's. */
#define HEARTH_POOL_STACK_BYTES ((size_t)512 << 10)

typedef struct hearth_pool hearth_pool;

/* tile in [0, n_tiles); worker in [0, hearth_pool_size) picks scratch. */
typedef void (*hearth_pool_fn)(void *ud, size_t tile, size_t worker);

/* n_threads 0: one per core that this process may use, the maximum at most.
 * The caller's thread is worker 0 and free to move; others are pinned to one
 * core each, of those that this process may use, unless there are more threads
 * than cores or the system does not let us.
 * Returns HEARTH_OK, HEARTH_EINVAL above the maximum, HEARTH_ENOMEM. */
HEARTH_MUST_CHECK hearth_status hearth_pool_open(hearth_pool **out,
                                                 size_t n_threads,
                                                 const hearth_alloc *al,
                                                 hearth_error *err);

/* Threads in the pool, the caller included.  1 for NULL. */
size_t hearth_pool_size(const hearth_pool *p);

/* Is each worker kept on a core of its own? */
bool hearth_pool_is_pinned(const hearth_pool *p);

/* From the next run on at most n threads work (0: all).  For the thread that
 * the pool belongs to; results do not depend on it. */
void hearth_pool_limit(hearth_pool *p, size_t n);

/* Run fn for every tile and return when all are done.  p NULL: in the caller.
 * Must not be called from inside a tile. */
void hearth_pool_run(hearth_pool *p, size_t n_tiles, hearth_pool_fn fn,
                     void *ud);

/* Stop and join.  NULL is a no-op. */
void hearth_pool_close(hearth_pool *p);

#endif /* HEARTH_COMMON_POOL_H */

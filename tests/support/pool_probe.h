/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/pool_probe.h - how many threads of a pool really work. */
#ifndef HEARTH_TESTS_POOL_PROBE_H
#define HEARTH_TESTS_POOL_PROBE_H

#include <stdatomic.h>
#include <time.h>

#include "common/pool.h"

typedef struct {
    atomic_bool took[HEARTH_POOL_MAX_THREADS];
} pool_probe;

/* Long enough that each thread gets a tile, on a busy machine too. */
static inline void pool_probe_tile(void *ud, size_t tile, size_t worker) {
    pool_probe *p = ud;
    struct timespec t = {0, 5000000};
    (void)tile;
    atomic_store(&p->took[worker], true);
    (void)nanosleep(&t, NULL);
}

/* Threads that took part in one run. */
static inline size_t pool_probe_count(hearth_pool *pool) {
    pool_probe p;
    size_t n = 0;
    for (size_t i = 0; i < HEARTH_POOL_MAX_THREADS; i++)
        atomic_init(&p.took[i], false);
    hearth_pool_run(pool, 64, pool_probe_tile, &p);
    for (size_t i = 0; i < HEARTH_POOL_MAX_THREADS; i++)
        n += atomic_load(&p.took[i]);
    return n;
}

#endif /* HEARTH_TESTS_POOL_PROBE_H */

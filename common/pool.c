/* SPDX-License-Identifier: Apache-2.0 */
/* common/pool.c - the contract is in pool.h.
 *
 * Lock order: only one lock.  A run is published under it by bumping `epoch`;
 * workers take tiles with an atomic counter, so a tile is run exactly once,
 * and report under the lock, which orders their writes before run() returns.
 */
#if defined(__linux__)
#define _GNU_SOURCE /* sched_getaffinity, pthread_setaffinity_np */
#endif

#include "common/pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>
#if defined(__linux__)
#include <sched.h>
#endif

#include "common/mem.h"

typedef struct {
    hearth_pool *pool;
    size_t index;
    pthread_t thread;
} pool_worker;

struct hearth_pool {
    hearth_alloc al;
    size_t n_threads, n_started;
    pthread_mutex_t lock;
    pthread_cond_t start, finish;
    size_t epoch, n_busy; /* under lock */
    bool stop;            /* under lock */
    hearth_pool_fn fn;
    void *ud;
    size_t n_tiles;
    atomic_size_t next;
    pool_worker worker[HEARTH_POOL_MAX_THREADS];
};

static size_t cores_allowed(void) {
#if defined(__linux__)
    cpu_set_t set;
    if (!sched_getaffinity(0, sizeof(set), &set)) {
        int n = CPU_COUNT(&set);
        if (n > 0) return (size_t)n;
    }
#endif
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (size_t)n : 1;
}

/* Best effort: put worker i on the i-th core that this process may use. */
static void pin(size_t index) {
#if defined(__linux__)
    cpu_set_t all, one;
    if (sched_getaffinity(0, sizeof(all), &all)) return;
    size_t n = (size_t)CPU_COUNT(&all), at = 0;
    if (index >= n) return; /* more threads than cores: let them float */
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &all)) continue;
        if (at++ != index) continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        pthread_setaffinity_np(pthread_self(), sizeof(one), &one);
        return;
    }
#else
    (void)index;
#endif
}

static void take_tiles(hearth_pool *p, size_t worker) {
    for (;;) {
        size_t tile = atomic_fetch_add(&p->next, 1);
        if (tile >= p->n_tiles) return;
        p->fn(p->ud, tile, worker);
    }
}

static void *worker_main(void *arg) {
    pool_worker *w = arg;
    hearth_pool *p = w->pool;
    size_t seen = 0;
    pin(w->index);
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (p->epoch == seen && !p->stop)
            pthread_cond_wait(&p->start, &p->lock);
        if (p->stop) break;
        seen = p->epoch;
        pthread_mutex_unlock(&p->lock);
        take_tiles(p, w->index);
        pthread_mutex_lock(&p->lock);
        if (--p->n_busy == 0) pthread_cond_signal(&p->finish);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

hearth_status hearth_pool_open(hearth_pool **out, size_t n_threads,
                               const hearth_alloc *al, hearth_error *err) {
    *out = NULL;
    if (!n_threads) n_threads = cores_allowed();
    if (n_threads > HEARTH_POOL_MAX_THREADS)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "%zu threads are too many; use at most %d",
                                n_threads, HEARTH_POOL_MAX_THREADS);
    hearth_pool *p = hearth_mem_new(al, sizeof(*p));
    if (!p) return hearth_error_set(err, HEARTH_ENOMEM, "out of memory");
    p->al = *hearth_mem_or_default(al);
    p->n_threads = n_threads;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->start, NULL);
    pthread_cond_init(&p->finish, NULL);
    for (size_t i = 1; i < n_threads; i++) {
        p->worker[i] = (pool_worker){p, i, 0};
        if (pthread_create(&p->worker[i].thread, NULL, worker_main,
                           &p->worker[i])) {
            hearth_pool_close(p);
            return hearth_error_set(err, HEARTH_ENOMEM,
                                    "cannot start thread %zu; use fewer with "
                                    "--threads",
                                    i);
        }
        p->n_started++;
    }
    *out = p;
    return HEARTH_OK;
}

size_t hearth_pool_size(const hearth_pool *p) {
    return p ? p->n_threads : 1;
}

void hearth_pool_run(hearth_pool *p, size_t n_tiles, hearth_pool_fn fn,
                     void *ud) {
    if (!p || p->n_started == 0 || n_tiles < 2) {
        for (size_t i = 0; i < n_tiles; i++) fn(ud, i, 0);
        return;
    }
    pthread_mutex_lock(&p->lock);
    p->fn = fn;
    p->ud = ud;
    p->n_tiles = n_tiles;
    atomic_store(&p->next, 0);
    p->n_busy = p->n_started;
    p->epoch++;
    pthread_cond_broadcast(&p->start);
    pthread_mutex_unlock(&p->lock);
    take_tiles(p, 0);
    pthread_mutex_lock(&p->lock);
    while (p->n_busy) pthread_cond_wait(&p->finish, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

void hearth_pool_close(hearth_pool *p) {
    if (!p) return;
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_cond_broadcast(&p->start);
    pthread_mutex_unlock(&p->lock);
    for (size_t i = 1; i <= p->n_started; i++)
        pthread_join(p->worker[i].thread, NULL);
    pthread_cond_destroy(&p->finish);
    pthread_cond_destroy(&p->start);
    pthread_mutex_destroy(&p->lock);
    hearth_alloc al = p->al;
    al.free(al.ud, p);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* common/pool.c - the contract is in pool.h.
 *
 * A run is published by its number in `state`; a worker takes part by counting
 * itself in, which works only until the caller has closed the run.  So the
 * caller waits for those who are at work and for nobody else: a worker that
 * sleeps, or that the system has not let run yet, costs nothing.  Tiles are
 * taken with an atomic counter, each exactly once; counting out orders a
 * worker's writes before run() returns.
 *
 * Whoever waits looks at `state` for a while and then sleeps; both `state`
 * changing and going to sleep are under the one lock, so no wake-up is lost.
 */
#if defined(__linux__)
#define _GNU_SOURCE /* sched_getaffinity, sched_getcpu */
#endif

#include "common/pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#if defined(__linux__)
#include <sched.h>
#endif

#include "common/mem.h"

#if defined(__has_feature)
#define FEATURE(x) __has_feature(x)
#else
#define FEATURE(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) ||           \
    FEATURE(address_sanitizer) || FEATURE(thread_sanitizer) ||                 \
    FEATURE(memory_sanitizer)
#define OWN_STACK 0
#else
#define OWN_STACK 1
#endif

/* About twice what waking a thread of a virtual machine costs. */
#define SPIN_NS 100000

/* state: number of the run, closed or not, workers in it. */
#define ACTIVE ((uint_fast64_t)0xffff)
#define CLOSED ((uint_fast64_t)0x10000)
#define RUN    ((uint_fast64_t)0x20000) /* one more */

typedef struct {
    hearth_pool *pool;
    size_t index;
    int cpu; /* -1: any */
    pthread_t thread;
} pool_worker;

struct hearth_pool {
    hearth_alloc al;
    size_t n_threads, n_started;
    int home;  /* the caller's CPU; -1: any */
    bool spin; /* each thread has a CPU of its own */
    pthread_mutex_t lock;
    pthread_cond_t start, finish;
    size_t n_asleep; /* under lock */
    atomic_bool stop;
    atomic_uint_fast64_t state; /* new runs and stop: under lock */
    hearth_pool_fn fn;          /* of the run, with the next two */
    void *ud;
    size_t n_tiles;
    size_t limit; /* threads that take tiles; 0: all */
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

/* The CPUs that this process may use, in their order, to the workers; none
 * where there are fewer than threads, or where pinning is not wanted. */
static void choose_cpus(hearth_pool *p) {
    p->home = -1;
    for (size_t i = 0; i < p->n_threads; i++) p->worker[i].cpu = -1;
#if defined(__linux__)
    const char *pin = getenv("HEARTH_PIN");
    cpu_set_t set;
    if (!p->spin || (pin && strcmp(pin, "0") == 0)) return;
    if (sched_getaffinity(0, sizeof(set), &set)) return;
    size_t at = 0;
    for (size_t cpu = 0; cpu < CPU_SETSIZE && at < p->n_threads; cpu++)
        if (CPU_ISSET(cpu, &set)) p->worker[at++].cpu = (int)cpu;
    p->home = p->worker[0].cpu;
#endif
}

/* Best effort: put this thread on a CPU. */
static void pin(int cpu) {
#if defined(__linux__)
    cpu_set_t one;
    if (cpu < 0) return;
    CPU_ZERO(&one);
    CPU_SET((size_t)cpu, &one);
    (void)sched_setaffinity(0, sizeof(one), &one);
#else
    (void)cpu;
#endif
}

/* Bring the caller's thread to its CPU when it is on another, where a worker
 * waits to run.  It stays free to move: threads that it starts inherit
 * nothing. */
static void go_home(int home) {
#if defined(__linux__)
    cpu_set_t all;
    if (home < 0 || sched_getcpu() == home) return;
    if (sched_getaffinity(0, sizeof(all), &all) ||
        !CPU_ISSET((size_t)home, &all))
        return;
    pin(home);
    (void)sched_setaffinity(0, sizeof(all), &all);
#else
    (void)home;
#endif
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

typedef bool (*ready_fn)(hearth_pool *p, uint_fast64_t seen);

/* Look for a while; true as soon as it is ready. */
static bool spin_for(hearth_pool *p, ready_fn ready, uint_fast64_t seen) {
    if (ready(p, seen)) return true;
    if (!p->spin) return false;
    uint64_t end = now_ns() + SPIN_NS;
    do {
        for (int i = 0; i < 32; i++) {
            relax();
            if (ready(p, seen)) return true;
        }
    } while (now_ns() < end);
    return false;
}

static bool is_over(hearth_pool *p, uint_fast64_t seen) {
    (void)seen;
    return !(atomic_load(&p->state) & ACTIVE);
}

/* Is there another run than the one seen last, or an end to all? */
static bool is_new(hearth_pool *p, uint_fast64_t seen) {
    return atomic_load(&p->state) / RUN != seen || atomic_load(&p->stop);
}

static void take_tiles(hearth_pool *p, size_t worker) {
    for (;;) {
        size_t tile = atomic_fetch_add(&p->next, 1);
        if (tile >= p->n_tiles) return;
        p->fn(p->ud, tile, worker);
    }
}

/* Count in, unless the run is closed already. */
static bool join_run(hearth_pool *p, uint_fast64_t *run) {
    uint_fast64_t state = atomic_load(&p->state);
    do {
        *run = state / RUN;
        if (state & CLOSED) return false;
    } while (!atomic_compare_exchange_weak(&p->state, &state, state + 1));
    return true;
}

/* Count out; the last one of a closed run tells the caller. */
static void leave_run(hearth_pool *p) {
    uint_fast64_t before = atomic_fetch_sub(&p->state, 1);
    if (!(before & CLOSED) || (before & ACTIVE) != 1) return;
    pthread_mutex_lock(&p->lock);
    pthread_cond_signal(&p->finish);
    pthread_mutex_unlock(&p->lock);
}

static void *worker_main(void *arg) {
    pool_worker *w = arg;
    hearth_pool *p = w->pool;
    uint_fast64_t seen = 0;
    pin(w->cpu);
    for (;;) {
        if (!spin_for(p, is_new, seen)) {
            pthread_mutex_lock(&p->lock);
            p->n_asleep++;
            while (!is_new(p, seen)) pthread_cond_wait(&p->start, &p->lock);
            p->n_asleep--;
            pthread_mutex_unlock(&p->lock);
        }
        if (atomic_load(&p->stop)) return NULL;
        if (join_run(p, &seen)) {
            if (!p->limit || w->index < p->limit) take_tiles(p, w->index);
            leave_run(p);
        }
    }
}

/* Where the system refuses such a stack, because an app's thread-local variables
 * fill it, the thread gets the usual one. */
static int start_worker(pool_worker *w) {
    pthread_attr_t attr;
    int rc = EINVAL;
    if (OWN_STACK && pthread_attr_init(&attr) == 0) {
        (void)pthread_attr_setstacksize(&attr, HEARTH_POOL_STACK_BYTES);
        rc = pthread_create(&w->thread, &attr, worker_main, w);
        (void)pthread_attr_destroy(&attr);
    }
    return rc == EINVAL ? pthread_create(&w->thread, NULL, worker_main, w) : rc;
}

hearth_status hearth_pool_open(hearth_pool **out, size_t n_threads,
                               const hearth_alloc *al, hearth_error *err) {
    *out = NULL;
    if (!n_threads) {
        n_threads = cores_allowed();
        if (n_threads > HEARTH_POOL_MAX_THREADS)
            n_threads = HEARTH_POOL_MAX_THREADS;
    }
    if (n_threads > HEARTH_POOL_MAX_THREADS)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "%zu threads are too many; use at most %d",
                                n_threads, HEARTH_POOL_MAX_THREADS);
    hearth_pool *p = hearth_mem_new(al, sizeof(*p));
    if (!p) return hearth_error_set(err, HEARTH_ENOMEM, "out of memory");
    p->al = *hearth_mem_or_default(al);
    p->n_threads = n_threads;
    p->spin = n_threads > 1 && n_threads <= cores_allowed();
    atomic_init(&p->state, CLOSED);
    atomic_init(&p->stop, false);
    choose_cpus(p);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->start, NULL);
    pthread_cond_init(&p->finish, NULL);
    for (size_t i = 1; i < n_threads; i++) {
        p->worker[i].pool = p;
        p->worker[i].index = i;
        if (start_worker(&p->worker[i])) {
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

bool hearth_pool_is_pinned(const hearth_pool *p) {
    return p && p->home >= 0;
}

void hearth_pool_limit(hearth_pool *p, size_t n) {
    if (p) p->limit = n; /* read by workers after the next run's lock */
}

void hearth_pool_run(hearth_pool *p, size_t n_tiles, hearth_pool_fn fn,
                     void *ud) {
    if (!p || p->n_started == 0 || n_tiles < 2 || p->limit == 1) {
        for (size_t i = 0; i < n_tiles; i++) fn(ud, i, 0);
        return;
    }
    go_home(p->home);
    pthread_mutex_lock(&p->lock);
    p->fn = fn; /* nobody is in a run now */
    p->ud = ud;
    p->n_tiles = n_tiles;
    atomic_store(&p->next, 0);
    atomic_store(&p->state, (atomic_load(&p->state) / RUN + 1) * RUN);
    if (p->n_asleep) pthread_cond_broadcast(&p->start);
    pthread_mutex_unlock(&p->lock);
    take_tiles(p, 0);
    if (!(atomic_fetch_or(&p->state, CLOSED) & ACTIVE)) return;
    if (spin_for(p, is_over, 0)) return;
    pthread_mutex_lock(&p->lock);
    while (!is_over(p, 0)) pthread_cond_wait(&p->finish, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

void hearth_pool_close(hearth_pool *p) {
    if (!p) return;
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->stop, true);
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

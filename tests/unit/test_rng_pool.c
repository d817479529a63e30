/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_rng_pool.c - common/{rng,pool}.h */
#if defined(__linux__)
#define _GNU_SOURCE /* sched_getaffinity */
#include <sched.h>
#endif
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/cmocka_all.h"
#include "tests/support/fail_alloc.h"

#include <stdatomic.h>

#include "common/pool.h"
#include "common/rng.h"

static void rng_handles_differ_and_fill(void **state) {
    (void)state;
    hearth_rng *a, *b;
    uint8_t x[10000], y[10000];
    assert_ok(hearth_rng_open(&a, NULL, NULL));
    assert_ok(hearth_rng_open(&b, NULL, NULL));
    assert_ok(hearth_rng_bytes(a, x, sizeof(x)));
    assert_ok(hearth_rng_bytes(b, y, sizeof(y)));
    assert_memory_not_equal(x, y, 32);
    size_t ones = 0;
    for (size_t i = 0; i < sizeof(x); i++)
        for (int k = 0; k < 8; k++) ones += (size_t)(x[i] >> k & 1);
    assert_true(ones > 39000 && ones < 41000); /* 40,000 +- 7 sigma */
    assert_int_equal(hearth_rng_mbedtls(a, x, 16), 0);
    hearth_rng_close(a);
    hearth_rng_close(b);
    hearth_rng_close(NULL);
}

static void rng_below_is_uniform(void **state) {
    (void)state;
    hearth_rng *r;
    uint64_t v, hits[3] = {0};
    assert_ok(hearth_rng_open(&r, NULL, NULL));
    for (int i = 0; i < 30000; i++) {
        assert_ok(hearth_rng_below(r, 3, &v));
        assert_true(v < 3);
        hits[v]++;
    }
    for (int i = 0; i < 3; i++) assert_true(hits[i] > 9400 && hits[i] < 10600);
    assert_ok(hearth_rng_below(r, 1, &v));
    assert_true(v == 0);
    assert_int_equal(hearth_rng_below(r, 0, &v), HEARTH_EINVAL);
    hearth_rng_close(r);
}

static void rng_differs_after_fork(void **state) {
    (void)state;
    hearth_rng *r;
    uint8_t mine[32], child[32];
    int fd[2];
    assert_ok(hearth_rng_open(&r, NULL, NULL));
    assert_ok(hearth_rng_bytes(r, mine, sizeof(mine))); /* fills the buffer */
    assert_int_equal(pipe(fd), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        ssize_t n = -1;
        if (hearth_rng_bytes(r, child, sizeof(child)) == HEARTH_OK)
            n = write(fd[1], child, sizeof(child));
        _exit(n == (ssize_t)sizeof(child) ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(read(fd[0], child, sizeof(child)), sizeof(child));
    assert_ok(hearth_rng_bytes(r, mine, sizeof(mine)));
    assert_memory_not_equal(mine, child, sizeof(mine));
    close(fd[0]);
    close(fd[1]);
    hearth_rng_close(r);
}

static void add_tile(void *ud, size_t tile, size_t worker) {
    int *hits = ud;
    (void)worker;
    hits[tile]++;
}

static void pool_runs_each_tile_once(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 2, 3, 7};
    for (size_t s = 0; s < 4; s++) {
        hearth_pool *p;
        int hits[1000] = {0};
        assert_ok(hearth_pool_open(&p, sizes[s], NULL, NULL));
        assert_int_equal(hearth_pool_size(p), sizes[s]);
        for (int run = 0; run < 50; run++)
            hearth_pool_run(p, 1000, add_tile, hits);
        hearth_pool_run(p, 0, add_tile, hits);
        hearth_pool_run(p, 1, add_tile, hits);
        for (size_t i = 1; i < 1000; i++) assert_int_equal(hits[i], 50);
        assert_int_equal(hits[0], 51);
        hearth_pool_close(p);
    }
    int hits[4] = {0};
    hearth_pool_run(NULL, 4, add_tile, hits);
    assert_int_equal(hits[3], 1);
    assert_int_equal(hearth_pool_size(NULL), 1);
    hearth_pool_close(NULL);
}

/* Tiles write plain memory that the caller reads and changes between runs: a
 * run that returned early, or a worker left over from the one before, shows. */
#define SHORT_RUNS 3000
static void many_short_runs(size_t n_threads) {
    hearth_pool *p;
    int hits[6] = {0}, want[6] = {0};
    assert_ok(hearth_pool_open(&p, n_threads, NULL, NULL));
    for (int run = 0; run < SHORT_RUNS; run++) {
        size_t n = 2 + (size_t)run % 5;
        for (size_t i = 0; i < n; i++) want[i]++;
        hearth_pool_run(p, n, add_tile, hits);
        for (size_t i = 0; i < 6; i++) assert_int_equal(hits[i], want[i]);
        if (run % 1000 == 999) usleep(2000); /* long enough to fall asleep */
    }
    hearth_pool_close(p);
}

static void pool_finishes_every_run(void **state) {
    (void)state;
    many_short_runs(2); /* spins where there are two cores */
    many_short_runs(5);
    assert_int_equal(setenv("HEARTH_PIN", "0", 1), 0);
    many_short_runs(2);
    assert_int_equal(unsetenv("HEARTH_PIN"), 0);
}

#if defined(__linux__)
/* The caller may use the same cores as before, and a pool fits into whatever
 * it is left. */
static void pool_leaves_the_caller_free(void **state) {
    cpu_set_t before, after, one;
    (void)state;
    assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
    many_short_runs(2);
    assert_int_equal(sched_getaffinity(0, sizeof(after), &after), 0);
    assert_true(CPU_EQUAL(&before, &after));
    size_t last = 0;
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &before)) last = cpu;
    CPU_ZERO(&one);
    CPU_SET(last, &one);
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
    hearth_pool *p;
    assert_ok(hearth_pool_open(&p, 0, NULL, NULL));
    assert_int_equal(hearth_pool_size(p), 1);
    hearth_pool_close(p);
    many_short_runs(3);
    assert_int_equal(sched_getaffinity(0, sizeof(after), &after), 0);
    assert_true(CPU_EQUAL(&one, &after));
    assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
}
#endif

static void note_worker(void *ud, size_t tile, size_t worker) {
    atomic_int *most = ud;
    int seen = atomic_load(most);
    (void)tile;
    while (seen < (int)worker &&
           !atomic_compare_exchange_weak(most, &seen, (int)worker)) {
    }
}

static void pool_limit_keeps_threads_out(void **state) {
    hearth_pool *p;
    (void)state;
    hearth_pool_limit(NULL, 1); /* a no-op */
    assert_ok(hearth_pool_open(&p, 3, NULL, NULL));
    for (size_t limit = 1; limit < 3; limit++) {
        atomic_int most = 0;
        int hits[1000] = {0};
        hearth_pool_limit(p, limit);
        for (int run = 0; run < 20; run++) {
            hearth_pool_run(p, 1000, note_worker, &most);
            hearth_pool_run(p, 1000, add_tile, hits);
        }
        assert_true((size_t)atomic_load(&most) < limit);
        for (size_t i = 0; i < 1000; i++) assert_int_equal(hits[i], 20);
    }
    hearth_pool_limit(p, 0);
    assert_int_equal(hearth_pool_size(p), 3); /* scratch is for all */
    hearth_pool_close(p);
}

static void pool_refuses_and_survives(void **state) {
    (void)state;
    hearth_pool *p;
    assert_int_equal(
        hearth_pool_open(&p, HEARTH_POOL_MAX_THREADS + 1, NULL, NULL),
        HEARTH_EINVAL);
    hearth_fail_alloc fa;
    hearth_alloc al = hearth_fail_alloc_init(&fa, 1);
    assert_int_equal(hearth_pool_open(&p, 2, &al, NULL), HEARTH_ENOMEM);
    assert_null(p);
    hearth_rng *r;
    assert_int_equal(hearth_rng_open(&r, &al, NULL), HEARTH_OK);
    hearth_rng_close(r);
    al = hearth_fail_alloc_init(&fa, 1);
    assert_int_equal(hearth_rng_open(&r, &al, NULL), HEARTH_ENOMEM);
    assert_null(r);
    assert_ok(hearth_pool_open(&p, 0, NULL, NULL));
    assert_true(hearth_pool_size(p) >= 1);
    hearth_pool_close(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rng_handles_differ_and_fill),
        cmocka_unit_test(rng_below_is_uniform),
        cmocka_unit_test(rng_differs_after_fork),
        cmocka_unit_test(pool_runs_each_tile_once),
        cmocka_unit_test(pool_finishes_every_run),
#if defined(__linux__)
        cmocka_unit_test(pool_leaves_the_caller_free),
#endif

        cmocka_unit_test(pool_limit_keeps_threads_out),
        cmocka_unit_test(pool_refuses_and_survives),
    };
    return cmocka_run_group_tests_name("common/rng+pool", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_pool_threads.c - common/pool.h as the system sees it: where
 * workers may run, and what their stacks take.  Linux tells; elsewhere the tests
 * skip. */
#if defined(__linux__)
#define _GNU_SOURCE /* sched_getaffinity */
#include <sched.h>
#endif
#include <dirent.h>
#include <unistd.h>

#include "tests/support/cmocka_all.h"

#include "common/pool.h"

#if defined(__linux__)

#define MOST_TASKS 256
#define PATIENCE   200 /* looks of 10 ms at threads that are just starting */

typedef struct {
    size_t n;
    pid_t id[MOST_TASKS];
} tasks;

/* The threads of this process; a sanitizer has its own among them. */
static tasks list_tasks(void) {
    tasks t = {0};
    DIR *d = opendir("/proc/self/task");
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL && t.n < MOST_TASKS;) {
        pid_t id = (pid_t)strtol(e->d_name, NULL, 10);
        if (id > 0) t.id[t.n++] = id;
    }
    closedir(d);
    return t;
}

static bool has_task(const tasks *t, pid_t id) {
    for (size_t i = 0; i < t->n; i++)
        if (t->id[i] == id) return true;
    return false;
}

/* Are all threads but those `before` on one CPU each, no two on the same, or
 * all of them as free as this one? */
typedef struct {
    size_t n; /* of these threads */
    bool pinned, free;
} places;

static places look(const tasks *before) {
    tasks now = list_tasks();
    places p = {0, true, true};
    cpu_set_t mine, taken, one;
    CPU_ZERO(&taken);
    assert_int_equal(sched_getaffinity(0, sizeof(mine), &mine), 0);
    for (size_t i = 0; i < now.n; i++) {
        if (has_task(before, now.id[i])) continue;
        p.n++;
        assert_int_equal(sched_getaffinity(now.id[i], sizeof(one), &one), 0);
        cpu_set_t both;
        CPU_AND(&both, &one, &taken);
        if (CPU_COUNT(&one) != 1 || CPU_COUNT(&both)) p.pinned = false;
        if (!CPU_EQUAL(&one, &mine)) p.free = false;
        CPU_OR(&taken, &taken, &one);
        CPU_AND(&both, &one, &mine);
        assert_true(CPU_EQUAL(&both, &one)); /* never elsewhere */
    }
    return p;
}

static size_t cores(void) {
    cpu_set_t mine;
    assert_int_equal(sched_getaffinity(0, sizeof(mine), &mine), 0);
    return (size_t)CPU_COUNT(&mine);
}

/* Workers move themselves when they start to run: wait for the pinned ones,
 * and give the others a while in which they might. */
static void check_places(size_t n_threads, bool pinned) {
    tasks before = list_tasks();
    hearth_pool *p;
    assert_ok(hearth_pool_open(&p, n_threads, NULL, NULL));
    assert_true(hearth_pool_is_pinned(p) == pinned);
    places now = look(&before);
    for (int i = 0; i < PATIENCE && (pinned ? !now.pinned : i < 10); i++) {
        usleep(10000);
        now = look(&before);
    }
    assert_int_equal(now.n, n_threads - 1);
    assert_true(pinned ? now.pinned : now.free);
    hearth_pool_close(p);
}

static void workers_have_a_core_each(void **state) {
    size_t n = cores() < HEARTH_POOL_MAX_THREADS ? cores() : 2;
    (void)state;
    assert_int_equal(unsetenv("HEARTH_PIN"), 0);
    if (n < 2) skip();
    check_places(n, true);
    check_places(2, true);
    assert_int_equal(setenv("HEARTH_PIN", "1", 1), 0);
    check_places(2, true); /* only 0 means no */
    assert_int_equal(unsetenv("HEARTH_PIN"), 0);
}

static void workers_are_free_where_pinning_is_not_wanted(void **state) {
    (void)state;
    if (cores() < 2) skip(); /* or this would prove nothing */
    assert_int_equal(setenv("HEARTH_PIN", "0", 1), 0);
    check_places(2, false);
    assert_int_equal(unsetenv("HEARTH_PIN"), 0);
}

static void workers_are_free_where_cores_are_too_few(void **state) {
    (void)state;
    assert_int_equal(unsetenv("HEARTH_PIN"), 0);
    if (cores() >= HEARTH_POOL_MAX_THREADS) skip();
    check_places(cores() + 1, false);
    assert_false(hearth_pool_is_pinned(NULL));
}

/* Bytes that a limit on data counts (RLIMIT_DATA). */
static size_t data_bytes(void) {
    char line[128];
    size_t kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    assert_non_null(f);
    while (fgets(line, sizeof(line), f))
        if (strncmp(line, "VmData:", 7) == 0)
            kib = (size_t)strtoull(line + 7, NULL, 10);
    fclose(f);
    return kib << 10;
}

static void workers_take_their_stack_and_no_more(void **state) {
    hearth_pool *p;
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip(); /* stacks are the system's, and each has a shadow */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    skip();
#endif
#endif
    size_t before = data_bytes(), workers = 8;
    assert_true(before > 0);
    assert_ok(hearth_pool_open(&p, workers + 1, NULL, NULL));
    /* beside the stacks: the pool itself, some KiB */
    assert_true(data_bytes() - before <=
                workers * HEARTH_POOL_STACK_BYTES + (64 << 10));
    hearth_pool_close(p);
}

/* What tiles take at most, more than twice (pool.h says how much that is). */
#define DEEP ((size_t)320 << 10)

static void use_stack(void *ud, size_t tile, size_t worker) {
    volatile unsigned char deep[DEEP];
    size_t *sum = ud;
    (void)worker;
    for (size_t i = 0; i < DEEP; i += 1024) deep[i] = (unsigned char)tile;
    for (size_t i = 0; i < DEEP; i += 1024) sum[tile] += deep[i];
}

static void stack_has_room_for_the_deepest_tile(void **state) {
    hearth_pool *p;
    size_t sum[64] = {0};
    (void)state;
    assert_ok(hearth_pool_open(&p, 4, NULL, NULL));
    for (int run = 0; run < 50; run++) hearth_pool_run(p, 64, use_stack, sum);
    for (size_t i = 0; i < 64; i++)
        assert_int_equal(sum[i], 50 * i * (DEEP / 1024));
    hearth_pool_close(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(workers_have_a_core_each),
        cmocka_unit_test(workers_are_free_where_pinning_is_not_wanted),
        cmocka_unit_test(workers_are_free_where_cores_are_too_few),
        cmocka_unit_test(workers_take_their_stack_and_no_more),
        cmocka_unit_test(stack_has_room_for_the_deepest_tile),
    };
    return cmocka_run_group_tests_name("common/pool threads", tests, NULL,
                                       NULL);
}

#else

int main(void) {
    puts("SKIPPED: only Linux tells where threads may run");
    return 0;
}

#endif

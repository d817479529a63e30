/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_coord_crash.c - the coordinator is killed at every failpoint
 * and started again: an acknowledged contribution is counted exactly once, or
 * its round failed and none is counted.
 *
 * Device i of DEVICES sends a vector that is 1 at coordinate i and 0 elsewhere,
 * so a release says who was counted, and how often.  Whoever is acknowledged
 * writes that down (file `acks`, synced) before anything else happens.  A child
 * process plays coordinator and devices and is killed; another goes on where it
 * was, with devices that remember nothing but what they would send.
 */
#include "common/failpoint_names.h"
#include "tests/support/coord_kit.h"

#ifndef HEARTH_FAILPOINTS

static void needs_failpoints(void **state) {
    (void)state;
    printf("SKIPPED: configure with -DHEARTH_FAILPOINTS=ON\n");
    skip();
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(needs_failpoints)};
    return cmocka_run_group_tests_name("coordinator/crash", tests, NULL, NULL);
}

#else

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEVICES 4u
#define ROUNDS  2u /* to release */

static const char *const points[] = {
#define X(name) name,
    HEARTH_FAILPOINTS_COORDINATOR(X)
#undef X
};
#define N_POINTS (sizeof(points) / sizeof(points[0]))

/* What a child does once; it exits 0 when the task is done. */
typedef struct {
    char dir[64];
    bool lose_one; /* the last device is silent in round 1, which fails */
} play;

static void note_ack(const play *p, uint64_t round, unsigned device) {
    char path[96], line[64];
    snprintf(path, sizeof(path), "%s/acks", p->dir);
    FILE *f = fopen(path, "a");
    if (!f) _exit(3);
    snprintf(line, sizeof(line), "%llu %u\n", (unsigned long long)round,
             device);
    if (fputs(line, f) < 0 || fflush(f) || fsync(fileno(f)) || fclose(f))
        _exit(3);
}

static hearth_sign_keypair *the_key(const play *p, hearth_rng *rng) {
    char path[96];
    hearth_sign_keypair *key = NULL;
    snprintf(path, sizeof(path), "%s/key.pem", p->dir);
    if (hearth_sign_load_pem(&key, path, NULL, NULL) == HEARTH_OK) return key;
    if (hearth_sign_generate(&key, rng, NULL, NULL) != HEARTH_OK ||
        hearth_sign_save_pem(key, path, NULL) != HEARTH_OK)
        _exit(4);
    return key;
}

static void open_kit(kit *k, const play *p) {
    memset(k, 0, sizeof(*k));
    snprintf(k->state, sizeof(k->state), "%s/state", p->dir);
    k->vc.wall_ms = 1700000000000;
    k->vc.mono_ms = 5000;
    k->cfg.checkpoint_every = 3; /* a checkpoint before and one at the end */
    if (hearth_rng_open(&k->rng, NULL, NULL) != HEARTH_OK) _exit(5);
    k->key = the_key(p, k->rng);
    if (kit_start(k) != HEARTH_OK) _exit(6);
}

static void make_task(kit *k) {
    hearth_task_row row;
    char ini[2048];
    if (hearth_coord_store_task(hearth_coord_get_store(k->c), "demo", &row,
                                NULL, NULL) == HEARTH_OK)
        return;
    kit_ini(ini, sizeof(ini), "demo", "4,4", "0s,10m", (int)ROUNDS, NULL);
    if (hearth_coord_task_create(k->c, "t", ini, strlen(ini), NULL) !=
        HEARTH_OK)
        _exit(7);
}

static void child(const play *p) {
    kit k;
    open_kit(&k, p);
    make_task(&k);
    for (int turn = 0; turn < 12; turn++) {
        for (unsigned i = 0; i < DEVICES; i++) {
            char id[16];
            hearth_offer o;
            int32_t v[KIT_D] = {0};
            snprintf(id, sizeof(id), "device-%u", i);
            if (!kit_offer(&k, id, &o)) continue;
            if (p->lose_one && o.round == 1 && i == DEVICES - 1) continue;
            v[i] = 1;
            if (kit_upload(&k, &o, v) == 200) note_ack(p, o.round, i);
        }
        if (p->lose_one && turn == 1) kit_advance(&k, 600000);
        kit_advance(&k, 2000);
        hearth_coord_task_status ts;
        if (hearth_coord_task_get_status(k.c, "demo", &ts) != HEARTH_OK)
            _exit(8);
        if (ts.rounds_released == ROUNDS) {
            hearth_coord_close(k.c);
            _exit(0);
        }
    }
    _exit(9);
}

/* Run a child; true when it ended, false when it was killed at its point. */
static bool run_child(const play *p, const char *failpoint) {
    int status = 0;
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (failpoint)
            setenv("HEARTH_FAILPOINT", failpoint, 1);
        else
            unsetenv("HEARTH_FAILPOINT");
        child(p);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status)) {
        assert_int_equal(WTERMSIG(status), SIGKILL);
        return false;
    }
    if (WEXITSTATUS(status) != 0)
        fail_msg("%s: child exit %d", failpoint ? failpoint : "(none)",
                 WEXITSTATUS(status));
    return true;
}

/* acked[round][device] from the devices' own notes. */
static void read_acks(const play *p, unsigned acked[16][DEVICES]) {
    char path[96];
    unsigned long long round;
    unsigned device;
    memset(acked, 0, 16 * sizeof(acked[0]));
    snprintf(path, sizeof(path), "%s/acks", p->dir);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while (fscanf(f, "%llu %u", &round, &device) == 2)
        if (round < 16 && device < DEVICES) acked[round][device]++;
    fclose(f);
}

static void check(const play *p, const char *failpoint) {
    unsigned acked[16][DEVICES];
    float before[KIT_D] = {0}, after[KIT_D];
    kit k;
    read_acks(p, acked);
    open_kit(&k, p);
    for (uint64_t seq = 2; seq <= ROUNDS + 1; seq++) {
        hearth_release rel;
        kit_release(&k, "demo", seq, &rel, after);
        /* A crash alone fails no round. */
        assert_int_equal(rel.round, p->lose_one ? seq : seq - 1);
        assert_int_equal(rel.devices, DEVICES);
        for (unsigned i = 0; i < KIT_D; i++) {
            float counted = (after[i] - before[i]) * 1024 * DEVICES;
            if (counted != (i < DEVICES ? 1.0f : 0.0f))
                fail_msg("%s: round %llu counts device %u %g times", failpoint,
                         (unsigned long long)rel.round, i, (double)counted);
            before[i] = after[i];
        }
    }
    if (p->lose_one && acked[1][DEVICES - 1])
        fail_msg("%s: a silent device was acknowledged", failpoint);
    hearth_coord_close(k.c);
    k.c = NULL;
    hearth_sign_free(k.key);
    hearth_rng_close(k.rng);
}

/* The n-th arrival at one point; false when there is none. */
static bool crash_at(const char *point, int nth, bool lose_one) {
    play p;
    char failpoint[64];
    bool ended;
    memset(&p, 0, sizeof(p));
    p.lose_one = lose_one;
    assert_non_null(hearth_test_dir(p.dir));
    snprintf(failpoint, sizeof(failpoint), "%s:%d", point, nth);
    ended = run_child(&p, failpoint);
    if (!ended && !run_child(&p, NULL)) fail_msg("%s: killed twice", failpoint);
    check(&p, failpoint);
    assert_ok(hearth_file_remove_tree(p.dir, NULL));
    return !ended;
}

static void crash_points(bool lose_one, int most, unsigned seen[N_POINTS]) {
    for (size_t i = 0; i < N_POINTS; i++)
        for (int nth = 1; nth <= most; nth++) {
            if (!crash_at(points[i], nth, lose_one)) break;
            seen[i]++;
        }
}

static void killed_anywhere_counts_exactly_once(void **state) {
    (void)state;
    unsigned seen[N_POINTS] = {0};
    crash_points(false, 4, seen);
    crash_points(true, 2, seen);
    for (size_t i = 0; i < N_POINTS; i++)
        if (!seen[i]) fail_msg("failpoint %s is never reached", points[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_anywhere_counts_exactly_once),
    };
    return cmocka_run_group_tests_name("coordinator/crash", tests, NULL, NULL);
}

#endif

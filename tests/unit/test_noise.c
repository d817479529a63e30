/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_noise.c - privacy/noise.h as it ships, over the system's
 * randomness: what seeded bytes cannot show.  The statistics are in
 * test_seam_sampler.c. */
#include "tests/support/cmocka_all.h"

#include <math.h>
#include <sys/wait.h>
#include <unistd.h>

#include "privacy/noise.h"
#include "privacy/noise_exact.h"

static const hearth_sigma_sq LAW = {1000000, 1};

static void shipped_noise_is_private(void **state) {
    (void)state;
    assert_true(hearth_noise_is_private());
}

static void two_generators_differ(void **state) {
    (void)state;
    int32_t x[2][64];
    for (int k = 0; k < 2; k++) {
        hearth_rng *rng = NULL;
        assert_ok(hearth_rng_open(&rng, NULL, NULL));
        assert_ok(hearth_noise_draw(x[k], 64, LAW, rng));
        hearth_rng_close(rng);
    }
    assert_memory_not_equal(x[0], x[1], sizeof(x[0]));
}

/* Chance of a false alarm: below 1e-15 (8 standard deviations). */
static void shipped_noise_has_its_variance(void **state) {
    (void)state;
    enum { N = 20000 };
    static int32_t x[N];
    hearth_rng *rng = NULL;
    double sum = 0;
    assert_ok(hearth_rng_open(&rng, NULL, NULL));
    assert_ok(hearth_noise_draw(x, N, LAW, rng));
    hearth_rng_close(rng);
    for (int i = 0; i < N; i++) sum += (double)x[i] * x[i];
    assert_true(fabs(sum / 1e6 - N) < 8 * sqrt(2.0 * N));
}

typedef hearth_status (*draw_fn)(int32_t *, size_t, hearth_sigma_sq,
                                 hearth_rng *);

static hearth_status draw_exact(int32_t *x, size_t n, hearth_sigma_sq s,
                                hearth_rng *rng) {
    return hearth_noise_exact_draw(x, n, s, rng, NULL);
}

static void check_fork(draw_fn draw) {
    hearth_rng *rng = NULL;
    int32_t mine[64], theirs[64];
    int fd[2];
    assert_ok(hearth_rng_open(&rng, NULL, NULL));
    assert_ok(draw(mine, 1, LAW, rng)); /* fills the buffer */
    assert_int_equal(pipe(fd), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (draw(mine, 64, LAW, rng) != HEARTH_OK) _exit(1);
        ssize_t n = write(fd[1], mine, sizeof(mine));
        _exit(n == (ssize_t)sizeof(mine) ? 0 : 2);
    }
    close(fd[1]);
    assert_int_equal(read(fd[0], theirs, sizeof(theirs)), sizeof(theirs));
    close(fd[0]);
    int status = 1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_ok(draw(mine, 64, LAW, rng));
    hearth_rng_close(rng);
    assert_memory_not_equal(mine, theirs, sizeof(mine));
}

/* S6: parent and child of a fork never share a draw, whichever sampler. */
static void fork_does_not_reuse_noise(void **state) {
    (void)state;
    check_fork(hearth_noise_draw);
    check_fork(draw_exact);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shipped_noise_is_private),
        cmocka_unit_test(two_generators_differ),
        cmocka_unit_test(shipped_noise_has_its_variance),
        cmocka_unit_test(fork_does_not_reuse_noise),
    };
    return cmocka_run_group_tests_name("privacy/noise (shipped)", tests, NULL,
                                       NULL);
}

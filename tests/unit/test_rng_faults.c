/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_rng_faults.c - common/rng.c as it ships, when the system gives
 * no entropy: at open, at a later refill, after a fork.
 *
 * The linker puts the two functions below in the place of mbedTLS' own
 * (tests/CMakeLists.txt, --wrap); the generator between them is the real one,
 * and asks for entropy again after 10,000 requests by itself.
 */
#include "tests/support/cmocka_all.h"

#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/rng.h"

#define NO_ENTROPY (-0x003C) /* MBEDTLS_ERR_ENTROPY_SOURCE_FAILED */

static bool dry;               /* the system gives nothing */
static unsigned n_asked;       /* for entropy */
static uint64_t requests_left; /* of the generator; UINT64_MAX: no limit */
static unsigned char *memory;  /* of the newest handle */
static size_t n_memory;        /* its bytes */
static bool freed_clean;       /* it was all zeros when it was given back */

int __real_mbedtls_entropy_func(void *data, unsigned char *out, size_t n);
int __wrap_mbedtls_entropy_func(void *data, unsigned char *out, size_t n);
int __real_mbedtls_ctr_drbg_random(void *rng, unsigned char *out, size_t n);
int __wrap_mbedtls_ctr_drbg_random(void *rng, unsigned char *out, size_t n);

int __wrap_mbedtls_entropy_func(void *data, unsigned char *out, size_t n) {
    n_asked++;
    return dry ? NO_ENTROPY : __real_mbedtls_entropy_func(data, out, n);
}

int __wrap_mbedtls_ctr_drbg_random(void *rng, unsigned char *out, size_t n) {
    if (requests_left == 0) return NO_ENTROPY;
    if (requests_left != UINT64_MAX) requests_left--;
    return __real_mbedtls_ctr_drbg_random(rng, out, n);
}

static void *take(void *ud, size_t n) {
    (void)ud;
    n_memory = n;
    return memory = malloc(n);
}

static void *resize(void *ud, void *p, size_t n) {
    (void)ud;
    return realloc(p, n);
}

static void give_back(void *ud, void *p) {
    (void)ud;
    freed_clean = p != NULL;
    for (size_t i = 0; p && i < n_memory; i++)
        if (((unsigned char *)p)[i]) freed_clean = false;
    free(p);
}

static const hearth_alloc WATCHED = {take, resize, give_back, NULL};

static int setup(void **state) {
    hearth_rng *rng = NULL;
    dry = false;
    requests_left = UINT64_MAX;
    if (hearth_rng_open(&rng, &WATCHED, NULL) != HEARTH_OK) return 1;
    *state = rng;
    return 0;
}

static int teardown(void **state) {
    hearth_rng_close(*state);
    dry = false;
    requests_left = UINT64_MAX;
    return freed_clean ? 0 : 1;
}

static void assert_zero(const void *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        assert_int_equal(((const unsigned char *)p)[i], 0);
}

/* From now on every call fails, whatever the system gives, and gives zeros. */
static void stays_failed(hearth_rng *rng) {
    unsigned char b[40];
    uint64_t u = 7;
    dry = false;
    requests_left = UINT64_MAX;
    for (int i = 0; i < 3; i++) {
        memset(b, 0xa5, sizeof(b));
        assert_int_equal(hearth_rng_bytes(rng, b, sizeof(b)), HEARTH_ERNG);
        assert_zero(b, sizeof(b));
        u = 7;
        assert_int_equal(hearth_rng_u64(rng, &u), HEARTH_ERNG);
        assert_true(u == 0);
        u = 7;
        assert_int_equal(hearth_rng_below(rng, 10, &u), HEARTH_ERNG);
        assert_true(u == 0);
        memset(b, 0xa5, sizeof(b));
        assert_int_not_equal(hearth_rng_mbedtls(rng, b, sizeof(b)), 0);
        assert_zero(b, sizeof(b));
    }
}

static void no_entropy_opens_nothing(void **state) {
    hearth_rng *rng = *state; /* not NULL, to be overwritten */
    hearth_error err = {HEARTH_OK, ""};
    dry = true;
    n_asked = 0;
    freed_clean = false;
    assert_int_equal(hearth_rng_open(&rng, &WATCHED, &err), HEARTH_ERNG);
    assert_null(rng);
    assert_true(n_asked == 1 && freed_clean);
    assert_non_null(strstr(err.text, "entropy"));
}

/* The generator asks again after so many requests; nothing is given then, not
 * even what was in `out` before the refill failed. */
static void no_entropy_later_fails_for_good(void **state) {
    hearth_rng *rng = *state;
    static unsigned char b[3 * HEARTH_RNG_BUFFER];
    hearth_status st = HEARTH_OK;
    size_t calls = 0;
    dry = true;
    n_asked = 0;
    for (; st == HEARTH_OK && calls < 10000; calls++) {
        memset(b, 0xa5, sizeof(b));
        st = hearth_rng_bytes(rng, b, sizeof(b) - 100);
    }
    assert_int_equal(st, HEARTH_ERNG);
    assert_true(calls > 10 && n_asked == 1);
    assert_zero(b, sizeof(b) - 100);
    assert_int_equal(b[sizeof(b) - 1], 0xa5);
    stays_failed(rng);
    assert_int_equal(n_asked, 1); /* sticky: it was not asked again */
}

/* A refill takes four requests: one that fails later must not leave what the
 * others gave to be used. */
static void a_refill_fails_as_a_whole(void **state) {
    (void)state;
    for (uint64_t k = 0; k < 4; k++) {
        hearth_rng *rng = NULL;
        unsigned char b[16];
        assert_ok(hearth_rng_open(&rng, NULL, NULL));
        assert_ok(hearth_rng_bytes(rng, b, sizeof(b)));
        for (size_t i = sizeof(b); i < HEARTH_RNG_BUFFER; i += sizeof(b))
            assert_ok(hearth_rng_bytes(rng, b, sizeof(b)));
        requests_left = k;
        memset(b, 0xa5, sizeof(b));
        assert_int_equal(hearth_rng_bytes(rng, b, sizeof(b)), HEARTH_ERNG);
        assert_zero(b, sizeof(b));
        stays_failed(rng);
        hearth_rng_close(rng);
    }
}

typedef struct {
    hearth_status st;
    unsigned char b[32];
    unsigned n_asked;
} answer;

/* What a child of a fork gets. */
static answer in_child(hearth_rng *rng, bool is_dry) {
    answer a;
    int fd[2], status = 1;
    assert_int_equal(pipe(fd), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        memset(&a, 0xa5, sizeof(a));
        dry = is_dry;
        n_asked = 0;
        a.st = hearth_rng_bytes(rng, a.b, sizeof(a.b));
        unsigned char more[8]; /* once is enough, and for ever */
        dry = false;
        if (hearth_rng_bytes(rng, more, sizeof(more)) != a.st) _exit(3);
        a.n_asked = n_asked;
        _exit(write(fd[1], &a, sizeof(a)) == (ssize_t)sizeof(a) ? 0 : 2);
    }
    close(fd[1]);
    assert_int_equal(read(fd[0], &a, sizeof(a)), sizeof(a));
    close(fd[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    return a;
}

static void a_child_reseeds_or_fails(void **state) {
    hearth_rng *rng = *state;
    unsigned char before[32], mine[32];
    assert_ok(
        hearth_rng_bytes(rng, before, sizeof(before))); /* a full buffer */
    answer none = in_child(rng, true);
    assert_int_equal(none.st, HEARTH_ERNG);
    assert_zero(none.b, sizeof(none.b));
    assert_int_equal(none.n_asked, 1);
    answer one = in_child(rng, false), other = in_child(rng, false);
    assert_true(one.st == HEARTH_OK && one.n_asked == 1);
    assert_true(other.st == HEARTH_OK && other.n_asked == 1);
    n_asked = 0;
    assert_ok(hearth_rng_bytes(rng, mine, sizeof(mine)));
    assert_int_equal(n_asked, 0); /* the parent goes on as it was */
    assert_memory_not_equal(mine, one.b, sizeof(mine));
    assert_memory_not_equal(mine, other.b, sizeof(mine));
    assert_memory_not_equal(one.b, other.b, sizeof(mine));
}

static bool in_memory(const void *what, size_t n) {
    for (size_t i = 0; i + n <= n_memory; i++)
        if (memcmp(memory + i, what, n) == 0) return true;
    return false;
}

/* What was given out is in the handle no more. */
static void bytes_given_are_forgotten(void **state) {
    hearth_rng *rng = *state;
    unsigned char b[HEARTH_RNG_BUFFER];
    assert_ok(hearth_rng_bytes(rng, b, 16));
    assert_false(in_memory(b, 16));
    assert_ok(hearth_rng_bytes(rng, b, 1000));
    for (size_t i = 0; i < 1000; i += 20) assert_false(in_memory(b + i, 16));
    assert_ok(hearth_rng_bytes(rng, b, sizeof(b))); /* over a refill */
    for (size_t i = 0; i + 16 <= sizeof(b); i += 50)
        assert_false(in_memory(b + i, 16));
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        EACH(no_entropy_opens_nothing),
        EACH(no_entropy_later_fails_for_good),
        cmocka_unit_test(a_refill_fails_as_a_whole),
        EACH(a_child_reseeds_or_fails),
        EACH(bytes_given_are_forgotten),
    };
    return cmocka_run_group_tests_name("common/rng faults", tests, NULL, NULL);
}

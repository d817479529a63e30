/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_seam_audit.c - an attacker's view of the mechanism: clip,
 * round, noise, as client/delta/prepare.c puts them together.
 *
 * Two worlds: one with the worst device there is, and one without it (zero-out)
 * or with its opposite (replace-one, which is what is promised).  The attacker
 * knows the direction and sees every integer.  From many runs it gets
 *   - a lower bound of epsilon that holds with 95 % confidence: above what the
 *     accountant claims means that the claim is false;
 *   - mu, the distance of the worlds in standard deviations, which is what a
 *     Gaussian mechanism is made of: too large means too little noise, too
 *     small means noise that nobody asked for.
 * Every mutant must fail, or this test sees nothing.  Seeds are fixed.  The same
 * over sockets is in test_seam_path.c.
 */
#include "tests/support/cmocka_all.h"

#include <math.h>

#include "privacy/accountant_gaussian.h"
#include "privacy/clip.h"
#include "privacy/noise.h"
#include "privacy/quantize.h"
#include "privacy/sigma.h"
#include "tests/support/audit_kit.h"
#include "tests/support/privacy_seam.h"

/* A checked build is thirty times as slow. */
#ifdef NDEBUG
#define RUNS 100000
#define D    64 /* coordinates */
#else
#define RUNS 6000
#define D    16
#endif
#define MUTANT_RUNS 3000 /* separable worlds: epsilon up to 6.70 */
#define AT_ONCE     50   /* runs whose noise is drawn by one call */
#define SCALE       12
#define Z           1.0
#define DELTA       1e-5

/* What is wrong with the mechanism, besides what the seam breaks. */
typedef enum {
    NOTHING,
    NO_CLIP,         /* the clip is left out */
    NO_CLIP_NO_NORM, /* and the integer bound with it */
    WRONG_SCALE,     /* twice the integers that sigma was made for */
    NOISE_KEPT,      /* the second round sends the noise of the first */
    CHARGED_ONCE,    /* two rounds, one charge */
    CHARGED_HALF     /* replace-one, charged with z as if it were zero-out */
} fault;

/* One audit: who broke what, and what the attacker found. */
typedef struct {
    fault wrong;
    bool replace;    /* world 0 has the opposite device; else none */
    unsigned rounds; /* 1 or 2; the device changes its data in between */
    size_t n;        /* runs in each world */
    hearth_rng *rng;
    hearth_sigma_sq s;
    uint64_t bound;
    double *score[2]; /* [n] of each world; the device is in world 1 */
} audit;

static float direction(size_t i) {
    return i % 3 ? 1.0f : -1.0f;
}

/* What one device adds to a round, before noise: y [D]. */
static hearth_status contribute(const audit *a, float size, int32_t y[D]) {
    float v[D];
    hearth_span span = {v, D};
    for (size_t i = 0; i < D; i++) v[i] = size * direction(i);
    if (a->wrong != NO_CLIP && a->wrong != NO_CLIP_NO_NORM)
        assert_ok(hearth_clip_l2(&span, 1, 1.0f, NULL));
    uint64_t bound = a->bound;
    if (a->wrong == NO_CLIP_NO_NORM) bound = HEARTH_SIGMA_MAX_BOUND_SQ;
    if (a->wrong == WRONG_SCALE) bound *= 4;
    return hearth_quantize(y, &span, 1, SCALE + (a->wrong == WRONG_SCALE),
                           bound, a->rng, NULL);
}

/* Where an upload lies along the direction, in standard deviations. */
static double look(const audit *a, const int32_t *y, const int32_t *noise) {
    double sum = 0;
    for (size_t i = 0; i < D; i++)
        sum += (double)direction(i) * ((double)y[i] + (double)noise[i]);
    return sum / sqrt(D) / hearth_sigma_value(a->s);
}

/* Scores of AT_ONCE runs.  The device sends one way in the first round and the
 * other way in the second; the attacker looks at the difference. */
static void run_some(audit *a, int world, double *score) {
    static int32_t noise[AT_ONCE * D], y[D];
    for (size_t k = 0; k < AT_ONCE; k++) score[k] = 0;
    for (unsigned r = 0; r < a->rounds; r++) {
        double sign = r ? -1 : 1, share = sign / sqrt(a->rounds);
        if (r == 0 || a->wrong != NOISE_KEPT)
            assert_ok(hearth_noise_draw(noise, AT_ONCE * D, a->s, a->rng));
        for (size_t k = 0; k < AT_ONCE; k++) {
            float size = world ? 1000 : a->replace ? -1000 : 0;
            assert_ok(contribute(a, (float)sign * size, y));
            score[k] += share * look(a, y, noise + k * D);
        }
    }
}

typedef struct {
    double epsilon, claim, mu, mu_claim;
} verdict;

static verdict run_audit(fault wrong, bool replace, unsigned rounds, size_t n) {
    audit a = {.wrong = wrong, .replace = replace, .rounds = rounds, .n = n};
    uint64_t delta2;
    assert_true(n % AT_ONCE == 0);
    assert_ok(hearth_seam_rng_open(&a.rng, 20261121, wrong, NULL, NULL));
    assert_ok(hearth_sigma_bound_sq(1.0, SCALE, D, &a.bound));
    assert_ok(hearth_sigma_delta2_sq(a.bound, NULL, 0, &delta2));
    assert_ok(hearth_sigma_for_z(Z, delta2, &a.s));
    for (int w = 0; w < 2; w++) {
        a.score[w] = calloc(n, sizeof(double));
        assert_non_null(a.score[w]);
        for (size_t k = 0; k < n; k += AT_ONCE) run_some(&a, w, a.score[w] + k);
    }
    double charged = wrong == CHARGED_ONCE ? 1 : rounds;
    double z = hearth_sigma_z(a.s, delta2);
    if (replace && wrong != CHARGED_HALF) z /= 2; /* moves by 2 Delta2 */
    verdict v = {.epsilon = audit_epsilon(a.score, n, DELTA),
                 .claim = hearth_gaussian_epsilon(z, charged, DELTA),
                 .mu = audit_mu(a.score, n),
                 .mu_claim = sqrt(charged) / z};
    print_message("fault %d, %s, %u rounds, %zu runs: epsilon %.2f of %.2f, mu "
                  "%.4f of %.4f\n",
                  (int)wrong, replace ? "replace-one" : "zero-out", rounds, n,
                  v.epsilon, v.claim, v.mu, v.mu_claim);
    hearth_rng_close(a.rng);
    free(a.score[0]), free(a.score[1]);
    return v;
}

/* The gates. */
static bool epsilon_holds(verdict v) {
    return v.epsilon <= v.claim;
}
static bool mu_holds(verdict v, size_t n) {
    return audit_mu_holds(v.mu, v.mu_claim, n);
}

static void keeps_its_claim(bool replace, unsigned rounds, size_t n) {
    verdict v = run_audit(NOTHING, replace, rounds, n);
    assert_true(epsilon_holds(v));
    assert_true(mu_holds(v, n));
    assert_true(v.epsilon > v.claim / 3); /* the attack works */
}

static void a_emp_mechanism_keeps_its_claim(void **state) {
    (void)state;
    hearth_seam_set(HEARTH_SEAM_NOISE_EXACT, 1);
    keeps_its_claim(false, 1, RUNS);
    keeps_its_claim(false, 2, RUNS / 2);
}

static void a_emp_mechanism_keeps_its_claim_replace_one(void **state) {
    (void)state;
    hearth_seam_set(HEARTH_SEAM_NOISE_EXACT, 1);
    keeps_its_claim(true, 1, RUNS / 2);
}

/* A-neg, broken by the seam: what hearth_noise_draw gives. */
static void a_neg_seam_mutants_are_found(void **state) {
    (void)state;
    const hearth_seam_noise kind[] = {HEARTH_SEAM_NOISE_NONE,
                                      HEARTH_SEAM_NOISE_HALF,
                                      HEARTH_SEAM_NOISE_REUSED};
    for (int k = 0; k < 6; k++) {
        hearth_seam_set(kind[k % 3], 1);
        verdict v = run_audit(NOTHING, k >= 3, k % 3 == 2 ? 2 : 1, MUTANT_RUNS);
        hearth_seam_set(HEARTH_SEAM_NOISE_EXACT, 1);
        assert_false(mu_holds(v, MUTANT_RUNS));
        if (k < 3 && kind[k] != HEARTH_SEAM_NOISE_HALF)
            assert_false(epsilon_holds(v));
    }
}

/* A-neg, broken in the mechanism. */
static void a_neg_mechanism_mutants_are_found(void **state) {
    (void)state;
    hearth_seam_set(HEARTH_SEAM_NOISE_EXACT, 1);
    const fault wrong[] = {NO_CLIP_NO_NORM, WRONG_SCALE, NOISE_KEPT,
                           CHARGED_ONCE};
    for (int k = 0; k < 8; k++) {
        fault f = wrong[k % 4];
        verdict v = run_audit(f, k >= 4, k % 4 < 2 ? 1 : 2, MUTANT_RUNS);
        assert_false(mu_holds(v, MUTANT_RUNS));
        if (k < 4 && (f == NO_CLIP_NO_NORM || f == NOISE_KEPT))
            assert_false(epsilon_holds(v));
    }
}

/* A-neg, broken in the accounting: the two relations must not be mixed up. */
static void a_neg_relation_mutant_is_found(void **state) {
    (void)state;
    hearth_seam_set(HEARTH_SEAM_NOISE_EXACT, 1);
    verdict v = run_audit(CHARGED_HALF, true, 1, MUTANT_RUNS);
    assert_false(mu_holds(v, MUTANT_RUNS));
}

/* Without its clip the vector meets the integer bound, and is not sent. */
static void the_clip_is_not_the_only_bound(void **state) {
    (void)state;
    audit a = {.wrong = NO_CLIP};
    int32_t y[D], zero[D] = {0};
    assert_ok(hearth_seam_rng_open(&a.rng, 1, 1, NULL, NULL));
    assert_ok(hearth_sigma_bound_sq(1.0, SCALE, D, &a.bound));
    assert_int_equal(contribute(&a, 1000, y), HEARTH_ETOOBIG);
    assert_memory_equal(y, zero, sizeof(y));
    hearth_rng_close(a.rng);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_emp_mechanism_keeps_its_claim),
        cmocka_unit_test(a_emp_mechanism_keeps_its_claim_replace_one),
        cmocka_unit_test(a_neg_seam_mutants_are_found),
        cmocka_unit_test(a_neg_mechanism_mutants_are_found),
        cmocka_unit_test(a_neg_relation_mutant_is_found),
        cmocka_unit_test(the_clip_is_not_the_only_bound),
    };
    return cmocka_run_group_tests_name("privacy audit", tests, NULL, NULL);
}

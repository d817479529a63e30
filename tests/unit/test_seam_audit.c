/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_seam_audit.c - an attacker's view of the mechanism: the
 * make_bytes() of client/delta/prepare.c, which clips, rounds and noises what a
 * device sends.  Its source is compiled into this program, for it is a static.
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

#include "client/delta/prepare.c" /* NOLINT: its make_bytes() is audited */
#include "privacy/accountant_gaussian.h"
#include "tests/support/audit_kit.h"
#include "tests/support/offer_fixture.h"
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
#define MU_RUNS     1000 /* to see mu alone */
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
    hearth_terms t;   /* what the device goes by */
    double *score[2]; /* [n] of each world; the device is in world 1 */
} audit;

static float direction(size_t i) {
    return i % 3 ? 1.0f : -1.0f;
}

/* The terms of an offer, broken afterwards: sigma stays what it was. */
static hearth_terms terms(fault wrong) {
    hearth_offer o = hearth_offer_fixture();
    hearth_terms t;
    o.privacy.d = D;
    o.privacy.n_coords = 0;
    o.privacy.clip = 1;
    o.privacy.scale_exp = SCALE;
    o.privacy.z = Z;
    assert_true(hearth_offer_fixture_finish(&o));
    assert_ok(hearth_terms_read(&t, &o, NULL));
    if (wrong == NO_CLIP || wrong == NO_CLIP_NO_NORM) t.clip = 1e9f;
    if (wrong == NO_CLIP_NO_NORM) t.bound_sq = HEARTH_SIGMA_MAX_BOUND_SQ;
    if (wrong == WRONG_SCALE) t.scale_exp++, t.bound_sq *= 4;
    return t;
}

/* What one device sends in a round. */
static hearth_status upload(const audit *a, float size, uint8_t bytes[4 * D],
                            hearth_rng *rng) {
    float v[D];
    const hearth_span span = {v, D};
    for (size_t i = 0; i < D; i++) v[i] = size * direction(i);
    return make_bytes(bytes, &a->t, &span, 1, NULL, rng,
                      hearth_mem_or_default(NULL));
}

/* Where an upload lies along the direction, in standard deviations. */
static double look(const audit *a, const uint8_t bytes[4 * D]) {
    double sum = 0;
    for (size_t i = 0; i < D; i++)
        sum += (double)direction(i) *
               (double)(int32_t)hearth_load_le32(bytes + 4 * i);
    return sum / sqrt(D) / hearth_sigma_value(a->t.sigma_sq);
}

/* The score of run k.  The device sends one way in the first round and the other
 * way in the second; the attacker looks at the difference.  NOISE_KEPT: both
 * rounds are given a generator that starts from the same bytes. */
static double run_once(const audit *a, int world, size_t k) {
    double score = 0;
    for (unsigned r = 0; r < a->rounds; r++) {
        float size = world ? 1000 : a->replace ? -1000 : 0;
        double sign = r ? -1 : 1, share = sign / sqrt(a->rounds);
        uint8_t bytes[4 * D];
        hearth_rng *rng = a->rng;
        if (a->wrong == NOISE_KEPT)
            assert_ok(hearth_seam_rng_open(&rng, 20261122,
                                           2 * k + (size_t)world, NULL, NULL));
        assert_ok(upload(a, (float)sign * size, bytes, rng));
        if (a->wrong == NOISE_KEPT) hearth_rng_close(rng);
        score += share * look(a, bytes);
    }
    return score;
}

typedef struct {
    double epsilon, claim, mu, mu_claim;
} verdict;

static verdict run_audit(fault wrong, bool replace, unsigned rounds, size_t n) {
    audit a = {.wrong = wrong, .replace = replace, .rounds = rounds, .n = n};
    assert_ok(hearth_seam_rng_open(&a.rng, 20261121, wrong, NULL, NULL));
    a.t = terms(wrong);
    for (int w = 0; w < 2; w++) {
        a.score[w] = calloc(n, sizeof(double));
        assert_non_null(a.score[w]);
        for (size_t k = 0; k < n; k++) a.score[w][k] = run_once(&a, w, k);
    }
    double charged = wrong == CHARGED_ONCE ? 1 : rounds;
    double z = a.t.z;
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
    keeps_its_claim(true, 1, RUNS);
}

/* A-neg, broken by the seam: what hearth_noise_draw gives. */
static void a_neg_seam_mutants_are_found(void **state) {
    (void)state;
    const hearth_seam_noise kind[] = {HEARTH_SEAM_NOISE_NONE,
                                      HEARTH_SEAM_NOISE_HALF,
                                      HEARTH_SEAM_NOISE_REUSED};
    for (int k = 0; k < 6; k++) {
        hearth_seam_set(kind[k % 3], 1);
        size_t n = k < 3 ? MUTANT_RUNS : MU_RUNS;
        verdict v = run_audit(NOTHING, k >= 3, k % 3 == 2 ? 2 : 1, n);
        hearth_seam_set(HEARTH_SEAM_NOISE_EXACT, 1);
        assert_false(mu_holds(v, n));
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
        size_t n = k < 4 ? MUTANT_RUNS : MU_RUNS;
        verdict v = run_audit(f, k >= 4, k % 4 < 2 ? 1 : 2, n);
        assert_false(mu_holds(v, n));
        if (k < 4 && (f == NO_CLIP_NO_NORM || f == NOISE_KEPT))
            assert_false(epsilon_holds(v));
    }
}

/* A-neg, broken in the accounting: the two relations must not be mixed up. */
static void a_neg_relation_mutant_is_found(void **state) {
    (void)state;
    hearth_seam_set(HEARTH_SEAM_NOISE_EXACT, 1);
    verdict v = run_audit(CHARGED_HALF, true, 1, MU_RUNS);
    assert_false(mu_holds(v, MU_RUNS));
}

/* Without its clip the vector meets the integer bound, and nothing is made. */
static void the_clip_is_not_the_only_bound(void **state) {
    (void)state;
    audit a = {.t = terms(NO_CLIP)};
    uint8_t bytes[4 * D] = {0};
    const uint8_t zero[4 * D] = {0};
    assert_ok(hearth_seam_rng_open(&a.rng, 1, 1, NULL, NULL));
    assert_int_equal(upload(&a, 1000, bytes, a.rng), HEARTH_ETOOBIG);
    assert_memory_equal(bytes, zero, sizeof(bytes));
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

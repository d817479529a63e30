/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_pld_parts.c - the shares of privacy/accountant_pld.c that are
 * too small to show in any figure: its bound of the FFT's round-off, what it
 * adds for the mass above its window, the logarithm that both rest on.
 *
 * The source is compiled into this program, for these are its statics.  One
 * round is a coin of known chances, so a sum of rounds is binomial and known to
 * eighteen digits. */
#include "tests/support/cmocka_all.h"

#include "privacy/accountant_pld.c" /* NOLINT: its statics are tested */

#define P 0.25 /* exact, and so is 1 - P */

/* Masses of Binomial(rounds, P), k of them from 0 on, in long double: ratios
 * from the mode outwards, scaled to 1. */
static long double *binomial(size_t rounds) {
    long double *b = calloc(rounds + 1, sizeof(*b)), sum = 0;
    size_t mode = (size_t)(P * (double)rounds);
    assert_non_null(b);
    b[mode] = 1;
    for (size_t k = mode; k < rounds; k++)
        b[k + 1] = b[k] * (long double)(rounds - k) / (long double)(k + 1) *
                   (long double)(P / (1 - P));
    for (size_t k = mode; k > 0; k--)
        b[k - 1] = b[k] * (long double)k / (long double)(rounds - k + 1) *
                   (long double)((1 - P) / P);
    for (size_t k = 0; k <= rounds; k++) sum += b[k];
    for (size_t k = 0; k <= rounds; k++) b[k] /= sum;
    return b;
}

static void log_1_plus_keeps_its_digits(void **state) {
    (void)state;
    for (double x = 1e-300; x <= 1; x *= 1.37)
        for (int sign = -1; sign <= 1; sign += 2) {
            double at = sign * x * 0.7;
            long double want = log1pl((long double)at);
            long double off = fabsl((long double)log_1_plus(at) / want - 1);
            if (!(off <= 3 * 0x1p-53L)) fail_msg("log(1 + %g)", at);
        }
}

/* Every mass is within the bound of the truth.  Rounds up to 2^20, where powers
 * of 1 + y would lose rounds times 1e-16. */
static void round_off_is_within_its_bound(void **state) {
    (void)state;
    for (size_t log_n = 8; log_n <= 14; log_n += 2) {
        size_t n = (size_t)1 << log_n, rounds = n * n / 256;
        double mass[2] = {1 - P, P}, *x = calloc(n, sizeof(*x));
        long double *b = binomial(rounds), worst = 0;
        long double *want = calloc(n, sizeof(*want));
        hearth_loss_side s = {mass, 2, 0, 0};
        hearth_fft f;
        assert_true(x && want);
        assert_ok(hearth_fft_init(&f, n, NULL));
        double bound = self_convolve(&f, x, (double)rounds,
                                     fold_tails(&s, 1, 0, 0, 0, x, n));
        for (size_t k = 0; k <= rounds; k++) want[k % n] += b[k];
        for (size_t i = 0; i < n; i++)
            worst = fmaxl(worst, fabsl(2 * (long double)x[i] / n - want[i]));
        print_message("n 2^%zu, %zu rounds: off by %.2Lg, bound %.2g\n", log_n,
                      rounds, worst, bound);
        assert_true(worst > 0 && worst <= (long double)bound);
        assert_true((long double)bound < 1e4L * worst); /* and says something */
        hearth_fft_free(&f);
        free(x), free(b), free(want);
    }
}

/* ---- one composed figure, whose window holds every loss ---- */

#define ROUNDS 1000
#define H      0.03
#define DELTA  1e-5

/* Losses of a round: -H with chance 1 - P, 3 H with chance P, so that
 * the sum's deviation is about 1.6 and its mean 0. */
static double coin[] = {1 - P, 0, 0, 0, P};
static const hearth_loss_side COIN = {coin, 5, -1, 0};
static const hearth_pld_query QUERY = {1, 1, ROUNDS, DELTA, H};

static double loss_of(size_t k) {
    return (4 * (double)k - ROUNDS) * H;
}

/* Share of delta at epsilon e: the binomial's, and `slack` for every point of
 * a window of n that begins at the lowest loss, as tilt c weighs it. */
static long double share_at(const long double *b, double e, const tilt *c,
                            size_t n, double slack) {
    long double sum = 0;
    for (size_t k = 0; k <= ROUNDS; k++)
        if (loss_of(k) > e)
            sum -= b[k] / (long double)DELTA *
                   expm1l((long double)e - (long double)loss_of(k));
    for (size_t i = 0; i < n; i++) {
        double l = loss_of(0) + (double)i * H;
        if (l > e)
            sum -= (long double)(slack * expm1(e - l) *
                                 exp(-c->t * (l - c->epsilon)));
    }
    return sum;
}

static double epsilon_of(const long double *b, double lost, const tilt *c,
                         size_t n, double slack) {
    double lo = 0, hi = loss_of(ROUNDS);
    for (int i = 0; i < 200; i++) {
        double mid = (lo + hi) / 2;
        if ((long double)lost + share_at(b, mid, c, n, slack) <= 1)
            hi = mid;
        else
            lo = mid;
    }
    return hi;
}

/* compose_at() with a window from the lowest loss on. */
static double composed(tilt c, size_t *n) {
    double e = 0;
    *n = 0;
    const aim all = {loss_of(0), loss_of(0)};
    assert_ok(compose_at(&e, n, &COIN, H, &QUERY, c, all, NULL));
    assert_true(*n > 4 * ROUNDS); /* no loss is outside */
    return e;
}

/* What self_convolve() says of the round-off of that window. */
static double slack_of(tilt c, size_t n) {
    double *x = calloc(n, sizeof(*x));
    hearth_fft f;
    assert_non_null(x);
    assert_ok(hearth_fft_init(&f, n, NULL));
    double a = fold_tails(&COIN, H, c.t, log_mgf(&COIN, H, c.t),
                          (int64_t)(c.mean / ROUNDS / H), x, n);
    double slack = self_convolve(&f, x, ROUNDS, a);
    hearth_fft_free(&f);
    free(x);
    return slack;
}

/* SHARE_CUT of delta is there though nothing was cut: exactly so much. */
static void what_lies_above_the_window_is_counted(void **state) {
    (void)state;
    long double *b = binomial(ROUNDS);
    size_t n;
    tilt c = choose_tilt(&COIN, H, ROUNDS, log(DELTA), (double)NAN, 1e-9, 1e9);
    double e = composed(c, &n), slack = slack_of(c, n);
    double with = epsilon_of(b, SHARE_CUT, &c, n, slack),
           without = epsilon_of(b, 0, &c, n, slack);
    print_message("epsilon %.14g, with %.14g, without %.14g\n", e, with,
                  without);
    assert_true(with > without);
    assert_true(fabs(e - with) < 0.1 * (with - without));
    free(b);
}

/* What is above a window is no more than it says, wherever it begins: some are
 * hardly longer than they must be. */
static void windows_cut_no_more_than_they_say(void **state) {
    (void)state;
    long double *b = binomial(ROUNDS);
    for (double delta = 1e-2; delta > 1e-12; delta /= 10) {
        double log_delta = log(delta);
        tilt c =
            choose_tilt(&COIN, H, ROUNDS, log_delta, (double)NAN, 1e-9, 1e9);
        double k = log_mgf(&COIN, H, c.t);
        for (double land = loss_of(0); land < c.mean; land += 0.1) {
            window w;
            const aim to = {land, c.mean};
            assert_true(choose_window(&COIN, H, ROUNDS, &c, k, to, log_delta,
                                      FFT_FINE, &w));
            double top = (double)(w.first + (int64_t)w.n) * H;
            long double above = 0;
            for (size_t i = ROUNDS; loss_of(i) >= top; i--) above += b[i];
            if (!(w.lost > 0 && above <= (long double)(w.lost * delta)))
                fail_msg("delta %g from %g: %Lg is above", delta, land, above);
        }
    }
    free(b);
}

/* A tilt far too high makes round-off large beside delta: then the figure is
 * what the bound of the round-off makes of it. */
static void round_off_is_counted(void **state) {
    (void)state;
    long double *b = binomial(ROUNDS);
    size_t n;
    tilt good =
        choose_tilt(&COIN, H, ROUNDS, log(DELTA), (double)NAN, 1e-9, 1e9);
    tilt c = tilt_at(&COIN, H, ROUNDS, log(DELTA), 2.4 * good.t);
    double e = composed(c, &n), slack = slack_of(c, n);
    double with = epsilon_of(b, SHARE_CUT, &c, n, slack),
           without = epsilon_of(b, SHARE_CUT, &c, 0, 0);
    print_message("epsilon %.9g, with %.9g, without %.9g\n", e, with, without);
    assert_true(with > without * 1.01);
    assert_true(fabs(e - with) < 0.1 * (with - without));
    free(b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log_1_plus_keeps_its_digits),
        cmocka_unit_test(round_off_is_within_its_bound),
        cmocka_unit_test(what_lies_above_the_window_is_counted),
        cmocka_unit_test(windows_cut_no_more_than_they_say),
        cmocka_unit_test(round_off_is_counted),
    };
    return cmocka_run_group_tests_name("privacy/pld parts", tests, NULL, NULL);
}

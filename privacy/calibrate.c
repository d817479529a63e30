/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/calibrate.c - the contract is in calibrate.h.
 *
 * log epsilon is nearly straight in log z, so a secant that keeps its bracket
 * (Illinois) needs about eight accounts where bisection needs thirty; a step of
 * bisection comes in whenever it stalls.  What is returned was tested.
 */
#include "privacy/calibrate.h"

#include <math.h>
#include <stdbool.h>

#include "common/error.h"

static const double Z_LOW = 1e-4, Z_HIGH = 1e8;

typedef struct {
    hearth_account_query *q;
    const hearth_alloc *al;
    hearth_error *err;
    double target;
    hearth_account_answer answer; /* at the last z */
} search;

/* log(epsilon / target) at z: <= 0 is good.  Epsilon 0 counts as a thousandth
 * of the target or so, to keep slopes finite. */
static hearth_status excess(search *s, double z, double *out) {
    s->q->z = z;
    hearth_status st = hearth_account(&s->answer, s->q, s->al, s->err);
    if (st != HEARTH_OK) return st;
    double ratio = s->answer.epsilon / s->target;
    *out = ratio < 1e-3 ? -7 : !(ratio < 1e12) ? 28 : log(ratio);
    /* A ratio of 1 + 1e-17 has logarithm 0, but does not meet the target. */
    if (s->answer.epsilon > s->target && *out <= 0) *out = 1e-300;
    return HEARTH_OK;
}

typedef struct {
    double z, excess;
} side;

/* From 1 or so outwards until bad < answer <= good. */
static hearth_status bracket(search *s, side *bad, side *good,
                             hearth_account_answer *at_good) {
    double z = 1, step = 1.5;
    bool have_bad = false, have_good = false;
    for (int i = 0; i < 64 && !(have_bad && have_good); i++) {
        double e;
        hearth_status st = excess(s, z, &e);
        if (st != HEARTH_OK) return st;
        if (e <= 0) {
            *good = (side){z, e};
            *at_good = s->answer;
            have_good = true;
            if (z <= Z_LOW) break;
            z = fmax(z / step, Z_LOW);
        } else {
            *bad = (side){z, e};
            have_bad = true;
            if (z >= Z_HIGH) break;
            z = fmin(z * step, Z_HIGH);
        }
        step = fmin(step * step, 30);
    }
    return have_bad && have_good ? HEARTH_OK : HEARTH_EUNSUPPORTED;
}

static hearth_status narrow(search *s, side bad, side good, double tolerance,
                            hearth_account_answer *at_good) {
    double fb = bad.excess, fg = good.excess; /* halved when an end stays */
    int last = 0;
    for (int i = 0; i < 200 && good.z > bad.z * (1 + tolerance); i++) {
        double lb = log(bad.z), lg = log(good.z), share = fb / (fb - fg);
        double margin = 0.4 * tolerance / (lg - lb);
        if (!(share > margin)) share = margin;
        if (!(share < 1 - margin)) share = 1 - margin;
        if (i % 5 == 4 || !(margin < 0.5)) share = 0.5;
        double z = exp(lb + share * (lg - lb)), e;
        hearth_status st = excess(s, z, &e);
        if (st != HEARTH_OK) return st;
        if (e <= 0) {
            good = (side){z, e};
            *at_good = s->answer;
            fg = e;
            if (last > 0) fb /= 2;
            last = 1;
        } else {
            bad = (side){z, e};
            fb = e;
            if (last < 0) fg /= 2;
            last = -1;
        }
    }
    s->q->z = good.z;
    return HEARTH_OK;
}

hearth_status hearth_calibrate(hearth_account_query *query, double epsilon,
                               hearth_account_answer *out,
                               const hearth_alloc *alloc, hearth_error *err) {
    if (!query || !out) return HEARTH_EINVAL;
    *out = (hearth_account_answer){(double)INFINITY, 0, 0};
    query->z = 0;
    if (!isfinite(epsilon) || epsilon <= 0)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "the target epsilon must be above 0");
    search s = {query, alloc, err, epsilon, {0, 0, 0}};
    side bad = {0, 0}, good = {0, 0};
    hearth_account_answer at_good = {0, 0, 0};
    double tolerance = query->method == HEARTH_METHOD_PLD ? 1e-5 : 5e-10;
    hearth_status st = bracket(&s, &bad, &good, &at_good);
    if (st == HEARTH_OK) st = narrow(&s, bad, good, tolerance, &at_good);
    if (st == HEARTH_OK) {
        *out = at_good;
        return HEARTH_OK;
    }
    query->z = 0;
    if (st != HEARTH_EUNSUPPORTED || (err && err->text[0])) return st;
    return hearth_error_set(err, st,
                            "no noise multiplier from 1e-4 to 1e8 gives this "
                            "epsilon; choose another target");
}

hearth_status hearth_calibrate_z(double *z, double epsilon, double delta,
                                 uint32_t rounds, hearth_dp_relation r,
                                 hearth_method m) {
    if (!z) return HEARTH_EINVAL;
    *z = 0;
    if (m != HEARTH_METHOD_ZCDP && m != HEARTH_METHOD_EXACT &&
        m != HEARTH_METHOD_RDP)
        return HEARTH_EINVAL;
    hearth_account_query q = {.mechanism = HEARTH_MECHANISM_GAUSSIAN,
                              .method = m,
                              .relation = r,
                              .rate = 1,
                              .rounds = rounds,
                              .delta = delta};
    hearth_account_answer a;
    hearth_status st = hearth_calibrate(&q, epsilon, &a, NULL, NULL);
    *z = q.z;
    return st;
}

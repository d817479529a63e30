/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/accountant.c - which method can do what; the contract is in
 * accountant.h. */
#include "privacy/accountant.h"

#include <math.h>
#include <stdbool.h>

#include "common/error.h"
#include "privacy/accountant_gaussian.h"
#include "privacy/accountant_pld.h"
#include "privacy/accountant_rdp.h"

const char *hearth_mechanism_name(hearth_mechanism m) {
    switch (m) {
    case HEARTH_MECHANISM_GAUSSIAN: return "gaussian";
    case HEARTH_MECHANISM_POISSON: return "poisson_gaussian";
    case HEARTH_MECHANISM_SWOR: return "swor_gaussian";
    }
    return "unknown";
}

const char *hearth_method_name(hearth_method m) {
    switch (m) {
    case HEARTH_METHOD_ZCDP: return "zcdp";
    case HEARTH_METHOD_EXACT: return "exact";
    case HEARTH_METHOD_RDP: return "rdp";
    case HEARTH_METHOD_PLD: return "pld";
    }
    return "unknown";
}

static double without_sampling(double z, double rounds, double delta,
                               hearth_dp_relation r, hearth_method m,
                               double *order) {
    double effective = hearth_dp_z(z, r);
    hearth_rdp_answer rdp;
    if (effective <= 0) return (double)INFINITY;
    switch (m) {
    case HEARTH_METHOD_EXACT:
        return hearth_gaussian_epsilon(effective, rounds, delta);
    case HEARTH_METHOD_ZCDP:
        return hearth_zcdp_epsilon(rounds * hearth_zcdp_rho(z, r), delta);
    case HEARTH_METHOD_RDP:
        if (hearth_rdp_poisson(&rdp, effective, 1, rounds, delta) != HEARTH_OK)
            return (double)INFINITY;
        *order = rdp.order;
        return rdp.epsilon;
    case HEARTH_METHOD_PLD: break;
    }
    return (double)INFINITY;
}

double hearth_account_epsilon(double z, uint32_t rounds, double delta,
                              hearth_dp_relation r, hearth_method m) {
    double order;
    return without_sampling(z, (double)rounds, delta, r, m, &order);
}

static bool query_ok(const hearth_account_query *q) {
    return q && hearth_dp_z(q->z, q->relation) > 0 && q->rate > 0 &&
           q->rate <= 1 && q->rounds > 0 && q->rounds <= (uint64_t)1 << 40 &&
           q->delta > 0 && q->delta < 1 && q->interval >= 0;
}

/* Words for a combination that nobody can answer. */
static hearth_status refuse(const hearth_account_query *q, hearth_error *err) {
    const char *mechanism = hearth_mechanism_name(q->mechanism);
    if (q->mechanism == HEARTH_MECHANISM_GAUSSIAN && q->rate < 1)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "gaussian has every device in every round, so "
                                "its rate is 1; sampling with a rate is "
                                "poisson_gaussian or swor_gaussian");
    if (q->mechanism == HEARTH_MECHANISM_POISSON &&
        q->relation != HEARTH_DP_ZERO_OUT)
        return hearth_error_set(err, HEARTH_EUNSUPPORTED,
                                "%s is accounted for relation zero-out only; "
                                "for replace-one use gaussian, an upper bound",
                                mechanism);
    if (q->mechanism == HEARTH_MECHANISM_SWOR &&
        q->relation != HEARTH_DP_REPLACE_ONE)
        return hearth_error_set(err, HEARTH_EUNSUPPORTED,
                                "%s is accounted for relation replace-one "
                                "only; for zero-out use gaussian, an upper "
                                "bound",
                                mechanism);
    if (q->mechanism == HEARTH_MECHANISM_SWOR && q->method != HEARTH_METHOD_RDP)
        return hearth_error_set(err, HEARTH_EUNSUPPORTED,
                                "method %s cannot do %s; method rdp can",
                                hearth_method_name(q->method), mechanism);
    if (q->mechanism == HEARTH_MECHANISM_POISSON &&
        q->method == HEARTH_METHOD_EXACT && q->rounds > 1)
        return hearth_error_set(err, HEARTH_EUNSUPPORTED,
                                "method exact can do %s for 1 round only; "
                                "method pld is tight for more",
                                mechanism);
    if (q->mechanism == HEARTH_MECHANISM_POISSON &&
        q->method == HEARTH_METHOD_ZCDP)
        return hearth_error_set(err, HEARTH_EUNSUPPORTED,
                                "method zcdp cannot do %s; methods rdp and "
                                "pld can",
                                mechanism);
    return HEARTH_OK;
}

static hearth_status by_pld(hearth_account_answer *out,
                            const hearth_account_query *q, double z,
                            const hearth_alloc *alloc, hearth_error *err) {
    /* Unsampled rounds are one round of multiplier z / sqrt(T): exactly so,
     * because only the component along the device's vector matters. */
    bool plain = q->rate == 1;
    const hearth_pld_query pld = {.z = plain ? z / sqrt((double)q->rounds) : z,
                                  .q = q->rate,
                                  .rounds = plain ? 1 : q->rounds,
                                  .delta = q->delta,
                                  .interval = q->interval};
    hearth_pld_answer a;
    hearth_status st = hearth_pld_poisson(&a, &pld, alloc);
    if (st == HEARTH_ETOOBIG)
        return hearth_error_set(err, st,
                                "this interval needs more than %zu points; "
                                "choose a larger one, or 0",
                                (size_t)1 << 22);
    if (st != HEARTH_OK)
        return hearth_error_set(err, st, "method pld failed: %s",
                                hearth_status_text(st));
    out->epsilon = a.epsilon;
    out->interval = a.interval;
    return HEARTH_OK;
}

hearth_status hearth_account(hearth_account_answer *out,
                             const hearth_account_query *q,
                             const hearth_alloc *alloc, hearth_error *err) {
    if (!out) return HEARTH_EINVAL;
    *out = (hearth_account_answer){(double)INFINITY, 0, 0};
    if (!query_ok(q))
        return hearth_error_set(err, HEARTH_EINVAL,
                                "noise, rate, rounds and delta must be in "
                                "their ranges");
    hearth_status st = refuse(q, err);
    if (st != HEARTH_OK) return st;
    double z = hearth_dp_z(q->z, q->relation), rounds = (double)q->rounds;
    hearth_rdp_answer rdp = {(double)INFINITY, 0};
    if (q->method == HEARTH_METHOD_PLD) return by_pld(out, q, z, alloc, err);
    if (q->mechanism == HEARTH_MECHANISM_GAUSSIAN) {
        out->epsilon = without_sampling(q->z, rounds, q->delta, q->relation,
                                        q->method, &out->order);
        return HEARTH_OK;
    }
    if (q->method == HEARTH_METHOD_EXACT) {
        out->epsilon = hearth_gaussian_epsilon_sampled(z, q->rate, q->delta);
        return HEARTH_OK;
    }
    st = q->mechanism == HEARTH_MECHANISM_SWOR
             ? hearth_rdp_swor(&rdp, z, q->rate, rounds, q->delta)
             : hearth_rdp_poisson(&rdp, z, q->rate, rounds, q->delta);
    out->epsilon = rdp.epsilon;
    out->order = rdp.order;
    return st;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* client/device/policy.h - what this device agrees to.
 *
 * The coordinator proposes (hearth_offer), the device decides, field by field.
 * A refusal names the field, the offer's value and the policy's.  No setting
 * here or anywhere sends an unclipped or un-noised delta.
 *
 *     hearth_policy pol;
 *     hearth_policy_defaults(&pol);
 *     hearth_policy_facts f = { .sums = &sums, .conditions = &cond,
 *                               .has_consent = true, .n_examples = 120,
 *                               .now_ms = now };
 *     st = hearth_policy_check(&pol, &offer, &f, &refusals);
 *     if (st == HEARTH_EREFUSED) show(refusals.item[0]);
 *
 * Threads: pure functions.
 * Memory:  allocates nothing.
 */
#ifndef HEARTH_CLIENT_DEVICE_POLICY_H
#define HEARTH_CLIENT_DEVICE_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/device/conditions.h"
#include "common/error.h"
#include "privacy/ledger.h"
#include "proto/messages.h"

/* Each has one line in the table of policy.c and one test. */
typedef enum {
    HEARTH_POLICY_COHORT,           /* cohort minimum: at least */
    HEARTH_POLICY_NOISE,            /* z: at least */
    HEARTH_POLICY_SIGMA,            /* sigma in integer units: at least 4 */
    HEARTH_POLICY_TERMS,            /* the offer's numbers fit each other */
    HEARTH_POLICY_RELATION,         /* replace-one */
    HEARTH_POLICY_UNIT,             /* device */
    HEARTH_POLICY_NOT_PRIVATE,      /* test offers are refused */
    HEARTH_POLICY_DELTA,            /* offer's delta: at most */
    HEARTH_POLICY_EPSILON_CLAIM,    /* offer's epsilon not below the truth */
    HEARTH_POLICY_EPSILON_TASK,     /* after this round: at most */
    HEARTH_POLICY_EPSILON_WINDOW,   /* same, 30 days */
    HEARTH_POLICY_EPSILON_LIFETIME, /* same, all time */
    HEARTH_POLICY_PARTICIPATIONS,   /* rounds of this task: at most */
    HEARTH_POLICY_SPACING,          /* ms since the last: at least */
    HEARTH_POLICY_DIMENSION,        /* coordinates: at most */
    HEARTH_POLICY_NOISE_TO_SIGNAL,  /* at most */
    HEARTH_POLICY_EXAMPLES,         /* the task's minimum of examples */
    HEARTH_POLICY_CONSENT,          /* consent for the purpose, which is a word
                                       other than "personal" */
    HEARTH_POLICY_NETWORK,          /* unmetered */
    HEARTH_POLICY_CHARGING,         /* on external power */
    HEARTH_POLICY_BATTERY,          /* percent: at least */
    HEARTH_POLICY_TEMPERATURE,      /* degrees Celsius: at most */
    HEARTH_POLICY_N_FIELDS
} hearth_policy_field;

typedef struct {
    uint32_t cohort_min;        /* 32 */
    double noise_min;           /* z, 1.2 */
    uint64_t dimension_max;     /* coordinates of a payload, 2^24 */
    double noise_to_signal_max; /* 32 */
    bool need_unmetered;        /* true */
    bool need_charging;         /* true */
    double battery_min;         /* percent, 50 */
    double temperature_max;     /* Celsius, 40 */
    hearth_ledger_rules ledger; /* delta 1e-6; epsilon 10 a task, 10 in 30
                                   days, 30 a lifetime; 24 h; 8 rounds a task */
} hearth_policy;

/* What the device knows when an offer arrives. */
typedef struct {
    const hearth_ledger_sums *sums;      /* of offer->task, from the ledger */
    const hearth_conditions *conditions; /* now */
    bool has_consent;                    /* for the task's purpose */
    uint64_t n_examples; /* training records that fit the task */
    int64_t now_ms;      /* Unix time */
} hearth_policy_facts;

/* Words of one refusal. */
typedef struct {
    hearth_policy_field field;
    char offered[64]; /* the offer's value, or what the device is doing */
    char allowed[64]; /* the policy's, e.g. "at least 32" */
} hearth_refusal;

/* All refusals of one offer, in the order of the fields. */
typedef struct {
    size_t n;
    hearth_refusal item[HEARTH_POLICY_N_FIELDS];
} hearth_refusals;

/* The defaults. */
void hearth_policy_defaults(hearth_policy *p);

/* Name of a field as it is in the policy file, e.g. "cohort_min"; "unknown".
 * Static. */
const char *hearth_policy_field_name(hearth_policy_field f);

/* Compare an offer with the policy, field by field.
 * Returns HEARTH_OK, HEARTH_EREFUSED with every refusal in *out, HEARTH_EINVAL
 * for a NULL pointer (then refuse). */
HEARTH_MUST_CHECK
hearth_status hearth_policy_check(const hearth_policy *p,
                                  const hearth_offer *offer,
                                  const hearth_policy_facts *facts,
                                  hearth_refusals *out);

/* "cohort_min: offered 16, this device wants at least 32" into text[n]. */
void hearth_refusal_text(const hearth_refusal *r, char *text, size_t n);

/* True when refusals are only about the moment (network, charging, battery,
 * temperature, spacing, examples, consent): the same offer may be accepted
 * later. */
bool hearth_refusals_pass(const hearth_refusals *r);

#endif /* HEARTH_CLIENT_DEVICE_POLICY_H */

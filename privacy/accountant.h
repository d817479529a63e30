/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/accountant.h - epsilon of a mechanism by a method: the one entry for
 * the command line, tables and experiments.
 *
 *                      gaussian       poisson_gaussian   swor_gaussian
 *     relation         both           zero-out           replace-one
 *     zcdp             any            -                  -
 *     exact            any            rounds = 1         -
 *     rdp              any            any                any
 *     pld              any            any                -
 *
 * A combination marked - is refused by name, never approximated in silence.
 * Zero-out figures hold for adding or removing a device as well.
 *
 * No sampled figure may be claimed against a coordinator that picks the cohort
 * (PRIVACY.md): offers and the ledger use `gaussian` only (epsilons.h).
 *
 * Threads: pure functions.
 * Memory:  only pld allocates.
 */
#ifndef HEARTH_PRIVACY_ACCOUNTANT_H
#define HEARTH_PRIVACY_ACCOUNTANT_H

#include <stdint.h>

#include "common/alloc.h"
#include "common/status.h"
#include "privacy/accountant_zcdp.h"

typedef enum {
    HEARTH_MECHANISM_GAUSSIAN = 0, /* every device, every round */
    HEARTH_MECHANISM_POISSON = 1,  /* each with probability rate */
    HEARTH_MECHANISM_SWOR = 2      /* a cohort of exactly this share */
} hearth_mechanism;

typedef enum {
    HEARTH_METHOD_ZCDP = 0,  /* what the ledger charges */
    HEARTH_METHOD_EXACT = 1, /* continuous Gaussian, closed form */
    HEARTH_METHOD_RDP = 2,   /* Renyi, a fixed list of orders */
    HEARTH_METHOD_PLD = 3    /* privacy loss distribution */
} hearth_method;

/* "gaussian", "poisson_gaussian", "swor_gaussian"; "zcdp", "exact", "rdp",
 * "pld".  "unknown" for another value.  Static. */
const char *hearth_mechanism_name(hearth_mechanism m);
const char *hearth_method_name(hearth_method m);

typedef struct {
    hearth_mechanism mechanism;
    hearth_method method;
    hearth_dp_relation relation;
    double z;        /* sigma / Delta2; the relation never changes it */
    double rate;     /* share of devices in a round, (0, 1]; gaussian: 1 */
    uint64_t rounds; /* >= 1 */
    double delta;    /* in (0, 1) */
    double interval; /* pld's grid; 0: chosen */
} hearth_account_query;

typedef struct {
    double epsilon;  /* infinity on failure */
    double order;    /* rdp: the best; 0 otherwise */
    double interval; /* pld: the grid used; 0 otherwise */
} hearth_account_answer;

/* epsilon of the query.  alloc NULL: malloc.
 *
 * Returns HEARTH_OK, HEARTH_EINVAL, HEARTH_EUNSUPPORTED (err names mechanism,
 * relation and method, and what would do), HEARTH_ETOOBIG or HEARTH_ENOMEM
 * (pld); out->epsilon is infinite then. */
HEARTH_MUST_CHECK
hearth_status hearth_account(hearth_account_answer *out,
                             const hearth_account_query *query,
                             const hearth_alloc *alloc, hearth_error *err);

/* epsilon of rounds rounds without sampling.  Infinity for a bad argument and
 * for the method pld, which needs memory. */
double hearth_account_epsilon(double z, uint32_t rounds, double delta,
                              hearth_dp_relation r, hearth_method m);

#endif /* HEARTH_PRIVACY_ACCOUNTANT_H */

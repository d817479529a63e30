/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_lab.h - what all methods of a run share: the base model,
 * the tokenizer, the people, their data sets, and the ruler.
 *
 * Every person's records are three data sets.  `held` is the reported hold-out
 * and no method sees it before it is measured.  The rest is what the person's
 * device would import; its own rule (SHA-256 of the record id, mod 5) cuts that
 * into `train` and `valid`.  Local-only and central training see exactly what
 * the devices train on, and stop by `valid`: tune on it, never on `held`.
 *
 *     hearth_fleet_lab lab;
 *     st = hearth_fleet_lab_open(&lab, sc, population, al, err);
 *     st = hearth_fleet_measure_split(&lab, a, HEARTH_FLEET_HOLDOUT, &m, err);
 *     hearth_fleet_lab_close(&lab);
 *
 * Threads: one; compute runs on lab.pool.
 * Memory:  8 bytes a token of all records, and the model once.
 */
#ifndef HEARTH_TESTS_FLEET_LAB_H
#define HEARTH_TESTS_FLEET_LAB_H

#include "client/model/base_model.h"
#include "client/tokenizer/tokenizer.h"
#include "client/train/dataset.h"
#include "client/train/trainer.h"
#include "tests/fleet/fleet_metrics.h"
#include "tests/fleet/fleet_records.h"
#include "tests/fleet/fleet_scenario.h"

typedef struct {
    const hearth_fleet_scenario *sc;
    const hearth_fleet_population *people;
    hearth_model *model;
    hearth_tokenizer *tokenizer;
    hearth_pool *pool;
    hearth_dataset **train, **valid, **held; /* [n_people]; NULL when empty */
    hearth_dataset *all_train, *all_valid;   /* of those taking part */
    hearth_lora_spec spec;                   /* of the federated adapter */
    uint32_t steps;                          /* local steps of a round */
    const hearth_alloc *al;
} hearth_fleet_lab;

/* Open model and tokenizer, build the data sets.  sc and people are borrowed.
 * Errors as those of their modules; *lab is closed on failure. */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_lab_open(hearth_fleet_lab *lab,
                                    const hearth_fleet_scenario *sc,
                                    const hearth_fleet_population *people,
                                    const hearth_alloc *al, hearth_error *err);
void hearth_fleet_lab_close(hearth_fleet_lab *lab);

/* How many parameters the devices train and send: B of the adapter.  Opens the
 * model.  Errors as those of its modules. */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_parameters(size_t *out,
                                      const hearth_fleet_scenario *sc,
                                      const hearth_alloc *al,
                                      hearth_error *err);

/* How the devices cut records into documents. */
hearth_dataset_config
hearth_fleet_dataset_config(const hearth_fleet_scenario *sc);

/* A fresh adapter of the scenario's shape: A from the seed, B = 0. */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_adapter(hearth_adapter **out,
                                   const hearth_fleet_lab *lab, bool freeze_a,
                                   uint64_t seed, hearth_error *err);

/* Losses of one model on one split, person by person. */
typedef struct {
    double *loss;     /* [n_people]; NaN: that person has none */
    uint64_t *tokens; /* [n_people] */
    size_t n, n_measured;
    double mean, p10, p90; /* over the persons measured; NaN when none */
    const hearth_alloc *al;
} hearth_fleet_measure;

HEARTH_MUST_CHECK
hearth_status hearth_fleet_measure_new(hearth_fleet_measure *m,
                                       const hearth_fleet_lab *lab,
                                       hearth_error *err);
void hearth_fleet_measure_free(hearth_fleet_measure *m);

/* Fill mean, p10 and p90 from loss. */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_measure_sum_up(hearth_fleet_measure *m);

/* Is this person measured on this split, and with which data?  NULL: no. */
const hearth_dataset *hearth_fleet_split_data(const hearth_fleet_lab *lab,
                                              hearth_fleet_split split,
                                              size_t person);

/* Measure adapter (NULL: the base) on everybody of a split. */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_measure_split(const hearth_fleet_lab *lab,
                                         const hearth_adapter *adapter,
                                         hearth_fleet_split split,
                                         hearth_fleet_measure *m,
                                         hearth_error *err);

#endif /* HEARTH_TESTS_FLEET_LAB_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/planner_fixture.h - records and settings that tests of plans
 * share. */
#ifndef HEARTH_TESTS_SUPPORT_PLANNER_FIXTURE_H
#define HEARTH_TESTS_SUPPORT_PLANNER_FIXTURE_H

#include "tests/support/model_fixture.h"

#include "client/train/planner.h"
#include "client/train/trainer.h"

#define N_DOCS   8
#define N_TOKENS 100
#define STEPS    16 /* budgets tried */

/* N_DOCS records of N_TOKENS tokens, of a vocabulary of 67. */
static inline hearth_dataset *planner_records(void) {
    hearth_dataset_config cfg = HEARTH_DATASET_CONFIG_INIT;
    hearth_dataset *ds = NULL;
    assert_ok(hearth_dataset_new(&ds, &cfg, NULL, NULL));
    for (int32_t k = 0; k < N_DOCS; k++) {
        int32_t token[N_TOKENS], label[N_TOKENS];
        for (int32_t i = 0; i < N_TOKENS; i++)
            token[i] = 3 + (5 * i + k * i * i) % 60;
        for (int32_t i = 0; i < N_TOKENS; i++)
            label[i] = i + 1 < N_TOKENS ? token[i + 1] : -1;
        assert_ok(hearth_dataset_add_tokens(ds, token, label, N_TOKENS, NULL));
    }
    return ds;
}

static inline hearth_train_config settings(void) {
    hearth_train_config c = HEARTH_TRAIN_CONFIG_INIT;
    c.steps = 2;
    c.batch = 4;
    c.accum = 2;
    c.lr = 1e-2;
    c.dropout = 0.1;
    return c;
}

#endif /* HEARTH_TESTS_SUPPORT_PLANNER_FIXTURE_H */

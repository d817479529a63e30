/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/planner_fixture.h - sizes and settings that tests of plans
 * share. */
#ifndef HEARTH_TESTS_SUPPORT_PLANNER_FIXTURE_H
#define HEARTH_TESTS_SUPPORT_PLANNER_FIXTURE_H

#include "tests/support/model_fixture.h"

#include "client/train/planner.h"
#include "client/train/trainer.h"

#define N_DOCS   8
#define N_TOKENS 100
#define STEPS    16 /* budgets tried */

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

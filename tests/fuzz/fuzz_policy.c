/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz_policy.c - any text as a policy file: refused, or a policy
 * whose caps of epsilon and z are no looser than the defaults. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client/device/policy_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hearth_policy p, d;
    hearth_error err = {HEARTH_OK, ""};
    char text[128];
    hearth_policy_defaults(&d);
    hearth_status st = hearth_policy_file_parse(&p, (const char *)data, size,
                                                "fuzz.ini", &err);
    if (st != HEARTH_OK && (err.status != st || err.text[0] == 0)) abort();
    if (st != HEARTH_OK && p.cohort_min != d.cohort_min) abort();
    if (!(p.noise_min >= d.noise_min) ||
        !(p.ledger.epsilon_task <= d.ledger.epsilon_task) ||
        !(p.ledger.epsilon_window <= d.ledger.epsilon_window) ||
        !(p.ledger.epsilon_lifetime <= d.ledger.epsilon_lifetime) ||
        !(p.ledger.delta <= HEARTH_POLICY_FILE_MAX_DELTA))
        abort();
    for (size_t k = 0; hearth_policy_file_loosened(&p, k, text, sizeof(text));
         k++)
        if (k > HEARTH_POLICY_N_FIELDS || text[0] == 0) abort();
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/e2e/failpoints.c - print the name of every failpoint, one a line, with
 * its side, for the crash tests to iterate over. */
#include <stdio.h>

#include "common/failpoint_names.h"

int main(void) {
#define DEVICE(name)      puts("device " name);
#define COORDINATOR(name) puts("coordinator " name);
    HEARTH_FAILPOINTS_DEVICE(DEVICE)
    HEARTH_FAILPOINTS_COORDINATOR(COORDINATOR)
    return 0;
}

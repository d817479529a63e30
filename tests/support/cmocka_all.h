/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/cmocka_all.h - cmocka with the headers that it needs, and
 * where the real test data is. */
#ifndef HEARTH_TESTS_CMOCKA_ALL_H
#define HEARTH_TESTS_CMOCKA_ALL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/status.h"

/* $HEARTH_TEST_DATA/name into out [cap].  False, with a line that says so,
 * when it is not there: the test then calls skip(). */
static inline int hearth_test_data(char *out, size_t cap, const char *name) {
    const char *root = getenv("HEARTH_TEST_DATA");
    int n = snprintf(out, cap, "%s/%s", root ? root : "../shared/data", name);
    FILE *f = n > 0 && (size_t)n < cap ? fopen(out, "rb") : NULL;
    if (!f) {
        printf("SKIPPED: no test data at %s; set HEARTH_TEST_DATA\n", out);
        return 0;
    }
    fclose(f);
    return 1;
}

/* A fresh folder under the build's temporary place into out [64]. */
static inline const char *hearth_test_dir(char out[64]) {
    snprintf(out, 64, "/tmp/hearth_test_XXXXXX");
    return mkdtemp(out);
}

#define assert_ok(call) assert_int_equal((call), HEARTH_OK)

#endif /* HEARTH_TESTS_CMOCKA_ALL_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/all.c - the one source of the libraries that hold every
 * object for tests; archives need one of their own. */

/* Not called. */
int hearth_test__all(void);

int hearth_test__all(void) {
    return 0;
}

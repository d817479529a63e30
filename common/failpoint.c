/* SPDX-License-Identifier: Apache-2.0 */
/* common/failpoint.c - the contract is in failpoint.h. */
#include "common/failpoint.h"

#include "common/failpoint_names.h"

#ifdef HEARTH_FAILPOINTS

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {
#define X(name) name,
    HEARTH_FAILPOINTS_DEVICE(X) HEARTH_FAILPOINTS_COORDINATOR(X)
#undef X
};

/* Does the environment variable `var` name this arrival at `name`? */
static bool wanted(const char *var, const char *name, atomic_int *seen) {
    bool known = false;
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (!strcmp(names[i], name)) known = true;
    if (!known) {
        fprintf(stderr, "failpoint %s is not in failpoint_names.h\n", name);
        abort();
    }
    const char *v = getenv(var);
    if (!v) return false;
    size_t n = strcspn(v, ":");
    if (strlen(name) != n || strncmp(v, name, n) != 0) return false;
    int nth = v[n] == ':' ? (int)strtol(v + n + 1, NULL, 10) : 1;
    return atomic_fetch_add(seen, 1) + 1 == nth;
}

void hearth_failpoint_hit(const char *name) {
    static atomic_int seen;
    if (wanted("HEARTH_FAILPOINT", name, &seen)) raise(SIGKILL);
}

bool hearth_failpoint_error(const char *name) {
    static atomic_int seen;
    return wanted("HEARTH_FAILERROR", name, &seen);
}

#else

/* A translation unit needs a declaration. */
typedef int hearth_failpoint__unused;

#endif

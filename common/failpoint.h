/* SPDX-License-Identifier: Apache-2.0 */
/* common/failpoint.h - named places where a test build can be killed.
 *
 * In builds with HEARTH_FAILPOINTS, the environment variable
 * HEARTH_FAILPOINT=name[:n] makes the n-th arrival (default 1) at that name
 * raise SIGKILL: the process dies there as if the power went.  Elsewhere the
 * macros are empty.
 *
 *     HEARTH_FAILPOINT("prepare.before_commit");
 *
 * HEARTH_FAILPOINT_ERROR(name) is an expression: true when the environment
 * asks for an error there (HEARTH_FAILERROR=name[:n]), false otherwise and in
 * builds without failpoints.
 *
 * All names stand in common/failpoint_names.h, so that crash tests can iterate
 * over them; an unknown name aborts a test build.
 */
#ifndef HEARTH_COMMON_FAILPOINT_H
#define HEARTH_COMMON_FAILPOINT_H

#include <stdbool.h>

#ifdef HEARTH_FAILPOINTS
void hearth_failpoint_hit(const char *name);
bool hearth_failpoint_error(const char *name);
#define HEARTH_FAILPOINT(name)       hearth_failpoint_hit(name)
#define HEARTH_FAILPOINT_ERROR(name) hearth_failpoint_error(name)
#else
#define HEARTH_FAILPOINT(name)       ((void)0)
#define HEARTH_FAILPOINT_ERROR(name) (false)
#endif

#endif /* HEARTH_COMMON_FAILPOINT_H */

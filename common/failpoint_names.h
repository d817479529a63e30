/* SPDX-License-Identifier: Apache-2.0 */
/* common/failpoint_names.h - every failpoint, one X(name) a line.
 *
 * Add a line when you place a failpoint; keep it sorted by side.  Crash tests
 * iterate over this list.
 */
#ifndef HEARTH_COMMON_FAILPOINT_NAMES_H
#define HEARTH_COMMON_FAILPOINT_NAMES_H

/* clang-format off */
#define HEARTH_FAILPOINTS_DEVICE(X)                                           \
    X("prepare.before_commit")                                                \
    X("prepare.after_commit")

#define HEARTH_FAILPOINTS_COORDINATOR(X)                                      \
    X("commit.before_row")                                                    \
    X("commit.after_row")
/* clang-format on */

#endif /* HEARTH_COMMON_FAILPOINT_NAMES_H */

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
    X("enroll.before_store")                                                  \
    X("install.before_commit")                                                \
    X("install.after_commit")                                                 \
    X("sync.after_checkin")                                                   \
    X("sync.after_accept")                                                    \
    X("sync.after_train")                                                     \
    X("sync.after_begin")                                                     \
    X("sync.after_append")                                                    \
    X("sync.before_commit")                                                   \
    X("sync.after_commit")                                                    \
    X("sync.after_done")                                                      \
    X("sync.after_piece")                                                     \
    X("prepare.after_charge")                                                 \
    X("prepare.before_sending")                                               \
    X("prepare.after_sending")                                                \
    X("prepare.before_finish")                                                \
    X("prepare.after_finish")                                                 \
    X("prepare.before_void")                                                  \
    X("prepare.after_void")                                                   \
    X("prepare.before_commit")                                                \
    X("prepare.after_commit")

#define HEARTH_FAILPOINTS_COORDINATOR(X)                                      \
    X("task.after_create")                                                    \
    X("round.after_open")                                                     \
    X("invite.after_row")                                                     \
    X("begin.after_file")                                                     \
    X("append.after_write")                                                   \
    X("commit.before_sync")                                                   \
    X("commit.before_row")                                                    \
    X("commit.after_row")                                                     \
    X("fix.before_row")                                                       \
    X("fix.after_row")                                                        \
    X("fold.before_file")                                                     \
    X("fold.after_file")                                                      \
    X("fold.after_row")                                                       \
    X("fold.after_delete")                                                    \
    X("publish.before_content")                                               \
    X("publish.before_row")                                                   \
    X("publish.after_row")                                                    \
    X("publish.after_delete")                                                 \
    X("fail.before_row")                                                      \
    X("fail.after_row")
/* clang-format on */

#endif /* HEARTH_COMMON_FAILPOINT_NAMES_H */

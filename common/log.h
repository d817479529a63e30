/* SPDX-License-Identifier: Apache-2.0 */
/* common/log.h - key=value lines through a callback.
 *
 * Levels: error = a person must act; warn = degraded; info = state changes;
 * debug = off in release.  Never record text, tokens, deltas, norms, keys or
 * raw device ids.  Messages end with what to do next.
 *
 *     hearth_log_write(log, HEARTH_LOG_INFO, "round", "round=%u state=open", r);
 *
 * Threads: the callback may be called from any thread that holds the handle.
 */
#ifndef HEARTH_COMMON_LOG_H
#define HEARTH_COMMON_LOG_H

#include "common/error.h"

typedef enum {
    HEARTH_LOG_ERROR,
    HEARTH_LOG_WARN,
    HEARTH_LOG_INFO,
    HEARTH_LOG_DEBUG
} hearth_log_level;

/* Where lines go.  write NULL: nowhere. */
typedef struct {
    void (*write)(void *ud, hearth_log_level level, const char *component,
                  const char *message);
    void *ud;
    hearth_log_level max_level; /* lines above this level are dropped */
} hearth_log;

#define HEARTH_LOG_NONE                                                        \
    { NULL, NULL, HEARTH_LOG_ERROR }

/* log may be NULL.  Lines are cut at 1,000 bytes. */
void hearth_log_write(const hearth_log *log, hearth_log_level level,
                      const char *component, const char *fmt, ...)
    HEARTH_PRINTF(4, 5);

/* One line to stderr: "level component message".  For binaries only. */
void hearth_log_stderr(void *ud, hearth_log_level level, const char *component,
                       const char *message);

const char *hearth_log_level_name(hearth_log_level level);

#endif /* HEARTH_COMMON_LOG_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* common/log.c - the contract is in log.h. */
#include "common/log.h"

#include <stdarg.h>
#include <stdio.h>

const char *hearth_log_level_name(hearth_log_level level) {
    switch (level) {
    case HEARTH_LOG_ERROR: return "error";
    case HEARTH_LOG_WARN: return "warn";
    case HEARTH_LOG_INFO: return "info";
    case HEARTH_LOG_DEBUG: return "debug";
    }
    return "unknown";
}

void hearth_log_write(const hearth_log *log, hearth_log_level level,
                      const char *component, const char *fmt, ...) {
    if (!log || !log->write || level > log->max_level) return;
    char line[1001];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    if (n < 0) return;
    log->write(log->ud, level, component, line);
}

void hearth_log_stderr(void *ud, hearth_log_level level, const char *component,
                       const char *message) {
    (void)ud;
    fprintf(stderr, "level=%s component=%s %s\n", hearth_log_level_name(level),
            component, message);
}

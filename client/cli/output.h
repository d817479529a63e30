/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/output.h - lines for people, events for programs, errors,
 * progress.  Part of the frame: include client/cli/cli.h.
 *
 * stdout: what was asked for (with --json: events only, one object a line).
 * stderr: errors, one line each; progress.
 *
 * Threads: one thread.
 * Memory:  a JSON string is built in a short-lived buffer.
 */
#ifndef HEARTH_CLI_OUTPUT_H
#define HEARTH_CLI_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/status.h"

struct hearth_cli;

/* A line for a person on stdout; nothing with --json. */
void hearth_cli_say(struct hearth_cli *cli, const char *fmt, ...)
    HEARTH_PRINTF(2, 3);

/* A remark on stderr ("hearth train: ..."), with --json too. */
void hearth_cli_note(struct hearth_cli *cli, const char *fmt, ...)
    HEARTH_PRINTF(2, 3);

/* An error: one line on stderr, or with --json an error event on stdout.
 * err may be NULL or hold no text: the status speaks then.  hint: what to do
 * next, or NULL when err's text says it.  Returns HEARTH_EXIT_FAIL. */
int hearth_cli_fail(struct hearth_cli *cli, hearth_status st,
                    const hearth_error *err, const char *hint);

/* Bad usage found by the command itself.  Returns HEARTH_EXIT_USAGE. */
int hearth_cli_usage_error(struct hearth_cli *cli, const char *fmt, ...)
    HEARTH_PRINTF(2, 3);

/* One JSON object a line on stdout; all of it does nothing without --json.
 * Values that are not finite become null. */
void hearth_event_begin(struct hearth_cli *cli, const char *event);
void hearth_event_str(struct hearth_cli *cli, const char *key,
                      const char *value);
void hearth_event_strn(struct hearth_cli *cli, const char *key,
                       const char *value, size_t n);
void hearth_event_u64(struct hearth_cli *cli, const char *key, uint64_t value);
void hearth_event_i64(struct hearth_cli *cli, const char *key, int64_t value);
void hearth_event_f64(struct hearth_cli *cli, const char *key, double value);
void hearth_event_bool(struct hearth_cli *cli, const char *key, bool value);
void hearth_event_ids(struct hearth_cli *cli, const char *key,
                      const int32_t *ids, size_t n);
/* A value that is JSON already. */
void hearth_event_raw(struct hearth_cli *cli, const char *key,
                      const char *json);
void hearth_event_end(struct hearth_cli *cli);

/* Progress of long work: a bar with the time left on a terminal, a plain line
 * every few seconds in a pipe, nothing with --json.  total 0 = unknown; text
 * is a short remark, may be NULL. */
void hearth_progress(struct hearth_cli *cli, uint64_t done, uint64_t total,
                     const char *text);
void hearth_progress_end(struct hearth_cli *cli);

/* Let Ctrl-C and SIGTERM set the flag below; a second one ends the process. */
void hearth_cli_catch_signals(void);

/* True after Ctrl-C or SIGTERM: stop at the next good place. */
bool hearth_cli_interrupted(void);

#endif /* HEARTH_CLI_OUTPUT_H */

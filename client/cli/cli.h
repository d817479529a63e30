/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/cli.h - the frame of the `hearth` program.
 *
 * A command is one function in a file of its own, client/cli/cmd_<name>.c:
 *
 *     int hearth_cmd_hello(hearth_cli *cli, int argc, char **argv) {
 *         const char *name = NULL;
 *         uint64_t times = 1;
 *         const hearth_flag flags[] = {
 *             HEARTH_FLAG_STR("name", "NAME", "whom to greet", &name),
 *             HEARTH_FLAG_U64("times", "N", "how often", &times, 1, 9),
 *         };
 *         const hearth_usage u = {
 *             .command = "hello", .summary = "greet someone",
 *             .arguments = "--name NAME [flags]",
 *             .example = "hearth hello --name Ada",
 *             .flags = flags, .n_flags = 2, .required = "name" };
 *         int rc;
 *         if (!hearth_cli_parse(cli, &u, argc, argv, &rc)) return rc;
 *         hearth_event_begin(cli, "hello");
 *         hearth_event_str(cli, "name", name);
 *         hearth_event_end(cli);
 *         hearth_cli_say(cli, "Hello, %s", name);
 *         return HEARTH_EXIT_OK;
 *     }
 *
 * The file's presence registers it: the build makes the list (commands.c); its
 * one-line summary for `hearth --help` is in the table of commands.c.
 * argv[0] is the command's name.  Every command also takes --json and --help.
 *
 * stdout: what was asked for (with --json: events only, one object a line).
 * stderr: errors, one line each; progress.
 * Exit 0 on success, 2 on bad usage, 1 otherwise.
 *
 * Threads: one thread.
 * Memory:  the frame allocates nothing but the list of a repeated flag.
 */
#ifndef HEARTH_CLI_CLI_H
#define HEARTH_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "client/cli/flags.h"
#include "client/cli/output.h"
#include "common/error.h"
#include "common/status.h"
#include "hearth_commands.h" /* made by the build: HEARTH_COMMANDS(X) */

#define HEARTH_EXIT_OK    0
#define HEARTH_EXIT_FAIL  1
#define HEARTH_EXIT_USAGE 2

typedef struct hearth_cli {
    const char *command; /* "train", "model create" .. for error lines */
    bool json;           /* --json was given */
    bool out_failed;     /* a write to out failed: exit 1 */
    FILE *out;           /* stdout */
    FILE *err;           /* stderr */
    bool err_is_tty;     /* progress may redraw its line */
    bool event_open;     /* between _event_begin and _event_end */
    bool bar_open;       /* a progress bar is on the terminal's last line */
    int64_t bar_started_ms, bar_drawn_ms;
} hearth_cli;

/* hearth_cmd_train() and so on, one for each cmd_*.c. */
#define HEARTH_CLI_DECLARE(name)                                               \
    int hearth_cmd_##name(hearth_cli *cli, int argc, char **argv);
HEARTH_COMMANDS(HEARTH_CLI_DECLARE)
#undef HEARTH_CLI_DECLARE

/* ---- the state directory ---- */

/* --state value, else $HEARTH_STATE, else $XDG_STATE_HOME/hearth, else
 * $HOME/.local/state/hearth, into out.  Returns HEARTH_OK, HEARTH_ENOTFOUND
 * (nothing is set) or HEARTH_ETOOBIG. */
HEARTH_MUST_CHECK
hearth_status hearth_cli_state_dir(const char *flag, char *out, size_t cap,
                                   hearth_error *err);

/* A command whose one flag is --state: parse, find the folder, show it. */
typedef hearth_status (*hearth_cli_show_fn)(hearth_cli *cli, const char *dir,
                                            hearth_error *err);
int hearth_cli_show_state(hearth_cli *cli, int argc, char **argv,
                          const char *command, const char *summary,
                          const char *example, hearth_cli_show_fn show);

/* The whole program: main() without the process.  For tests too. */
int hearth_cli_main(int argc, char **argv, FILE *out, FILE *err);

#endif /* HEARTH_CLI_CLI_H */

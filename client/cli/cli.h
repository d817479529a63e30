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

#include "common/error.h"
#include "common/status.h"
#include "hearth_commands.h" /* made by the build: HEARTH_COMMANDS(X) */

#define HEARTH_EXIT_OK    0
#define HEARTH_EXIT_FAIL  1
#define HEARTH_EXIT_USAGE 2

#define HEARTH_CLI_LIST_MAX 32 /* times a repeatable flag may be given */

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

typedef int (*hearth_cmd_fn)(hearth_cli *cli, int argc, char **argv);

/* hearth_cmd_train() and so on, one for each cmd_*.c. */
#define HEARTH_CLI_DECLARE(name)                                               \
    int hearth_cmd_##name(hearth_cli *cli, int argc, char **argv);
HEARTH_COMMANDS(HEARTH_CLI_DECLARE)
#undef HEARTH_CLI_DECLARE

/* ---- flags ---- */

typedef enum {
    HEARTH_FLAG_IS_BOOL,     /* --name, or --no-name to clear; bool */
    HEARTH_FLAG_IS_STR,      /* const char *, borrowed from argv */
    HEARTH_FLAG_IS_LIST,     /* hearth_cli_list, repeatable */
    HEARTH_FLAG_IS_U64,      /* decimal in [min, max]; uint64_t */
    HEARTH_FLAG_IS_F64,      /* finite, in [min_f, max_f]; double */
    HEARTH_FLAG_IS_BYTES,    /* 512M, 4k, 1G, 100; uint64_t */
    HEARTH_FLAG_IS_DURATION, /* 10m, 90s, 24h, 30d, 250ms; uint64_t ms */
    HEARTH_FLAG_IS_CHOICE    /* one word of choices "a|b|c"; const char * */
} hearth_flag_kind;

typedef struct {
    const char *v[HEARTH_CLI_LIST_MAX];
    size_t n;
} hearth_cli_list;

typedef struct {
    const char *name;    /* without "--" */
    const char *metavar; /* for --help; for a choice the words "a|b|c" */
    const char *help;    /* a few words */
    hearth_flag_kind kind;
    void *dst; /* holds the default; written when the flag is given */
    uint64_t min, max;
    double min_f, max_f;
} hearth_flag;

/* clang-format off */
#define HEARTH_FLAG_BOOL(n, h, d)                                             \
    { n, NULL, h, HEARTH_FLAG_IS_BOOL, d, 0, 0, 0.0, 0.0 }
#define HEARTH_FLAG_STR(n, m, h, d)                                           \
    { n, m, h, HEARTH_FLAG_IS_STR, d, 0, 0, 0.0, 0.0 }
#define HEARTH_FLAG_LIST(n, m, h, d)                                          \
    { n, m, h, HEARTH_FLAG_IS_LIST, d, 0, 0, 0.0, 0.0 }
#define HEARTH_FLAG_U64(n, m, h, d, lo, hi)                                   \
    { n, m, h, HEARTH_FLAG_IS_U64, d, lo, hi, 0.0, 0.0 }
#define HEARTH_FLAG_F64(n, m, h, d, lo, hi)                                   \
    { n, m, h, HEARTH_FLAG_IS_F64, d, 0, 0, lo, hi }
#define HEARTH_FLAG_BYTES(n, m, h, d)                                         \
    { n, m, h, HEARTH_FLAG_IS_BYTES, d, 0, UINT64_MAX, 0.0, 0.0 }
#define HEARTH_FLAG_DURATION(n, m, h, d)                                      \
    { n, m, h, HEARTH_FLAG_IS_DURATION, d, 0, UINT64_MAX, 0.0, 0.0 }
#define HEARTH_FLAG_CHOICE(n, words, h, d)                                    \
    { n, words, h, HEARTH_FLAG_IS_CHOICE, d, 0, 0, 0.0, 0.0 }
/* clang-format on */

typedef struct {
    const char *command;   /* "records import" */
    const char *summary;   /* one line */
    const char *arguments; /* what follows the command in the usage line */
    const char *example;   /* one or more lines */
    const hearth_flag *flags;
    size_t n_flags;
    const char *required;        /* flags that must be given: "model data" */
    hearth_cli_list *positional; /* NULL: no argument without "--" allowed */
    size_t min_positional, max_positional;
} hearth_usage;

/* Read argv[1..] into the flags.  True: go on.  False: return *exit_code; help
 * (0) or one line about what is wrong (2) has been printed.  "--name value"
 * and "--name=value" are the same; "--" ends the flags; a flag given twice
 * (but a list), an unknown flag, a value out of range are errors; an unknown
 * flag that is close to a known one is answered with "did you mean". */
bool hearth_cli_parse(hearth_cli *cli, const hearth_usage *u, int argc,
                      char **argv, int *exit_code);

/* A command with commands of its own ("model create"). */
typedef struct {
    const char *name;
    hearth_cmd_fn fn;
    const char *summary;
} hearth_subcommand;

/* Run the one that argv[1] names, with its argv starting there.  Prints the
 * list for --help; exit 2 with a suggestion for an unknown or missing name. */
int hearth_cli_dispatch(hearth_cli *cli, const char *command,
                        const hearth_subcommand *subs, size_t n_subs, int argc,
                        char **argv);

/* ---- output ---- */

/* A line for a person on stdout; nothing with --json. */
void hearth_cli_say(hearth_cli *cli, const char *fmt, ...) HEARTH_PRINTF(2, 3);

/* A remark on stderr ("hearth train: ..."), with --json too. */
void hearth_cli_note(hearth_cli *cli, const char *fmt, ...) HEARTH_PRINTF(2, 3);

/* An error: one line on stderr, or with --json an error event on stdout.
 * err may be NULL or hold no text: the status speaks then.  hint: what to do
 * next, or NULL when err's text says it.  Returns HEARTH_EXIT_FAIL. */
int hearth_cli_fail(hearth_cli *cli, hearth_status st, const hearth_error *err,
                    const char *hint);

/* Bad usage found by the command itself.  Returns HEARTH_EXIT_USAGE. */
int hearth_cli_usage_error(hearth_cli *cli, const char *fmt, ...)
    HEARTH_PRINTF(2, 3);

/* One JSON object a line on stdout; all of it does nothing without --json.
 * Values that are not finite become null. */
void hearth_event_begin(hearth_cli *cli, const char *event);
void hearth_event_str(hearth_cli *cli, const char *key, const char *value);
void hearth_event_strn(hearth_cli *cli, const char *key, const char *value,
                       size_t n);
void hearth_event_u64(hearth_cli *cli, const char *key, uint64_t value);
void hearth_event_i64(hearth_cli *cli, const char *key, int64_t value);
void hearth_event_f64(hearth_cli *cli, const char *key, double value);
void hearth_event_bool(hearth_cli *cli, const char *key, bool value);
void hearth_event_ids(hearth_cli *cli, const char *key, const int32_t *ids,
                      size_t n);
/* A value that is JSON already. */
void hearth_event_raw(hearth_cli *cli, const char *key, const char *json);
void hearth_event_end(hearth_cli *cli);

/* Progress of long work: a bar with the time left on a terminal, a plain line
 * every few seconds in a pipe, nothing with --json.  total 0 = unknown; text
 * is a short remark, may be NULL. */
void hearth_progress(hearth_cli *cli, uint64_t done, uint64_t total,
                     const char *text);
void hearth_progress_end(hearth_cli *cli);

/* Let Ctrl-C and SIGTERM set the flag below; a second one ends the process. */
void hearth_cli_catch_signals(void);

/* True after Ctrl-C or SIGTERM: stop at the next good place. */
bool hearth_cli_interrupted(void);

/* ---- the state directory ---- */

/* --state value, else $HEARTH_STATE, else $XDG_STATE_HOME/hearth, else
 * $HOME/.local/state/hearth, into out.  Returns HEARTH_OK, HEARTH_ENOTFOUND
 * (nothing is set) or HEARTH_ETOOBIG. */
HEARTH_MUST_CHECK
hearth_status hearth_cli_state_dir(const char *flag, char *out, size_t cap,
                                   hearth_error *err);

/* The whole program: main() without the process.  For tests too. */
int hearth_cli_main(int argc, char **argv, FILE *out, FILE *err);

#endif /* HEARTH_CLI_CLI_H */

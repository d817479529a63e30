/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/flags.h - flags by a table, and commands of commands.  Part of
 * the frame: include client/cli/cli.h, where the example is.
 *
 * Threads: one thread.
 * Memory:  allocates nothing; values are borrowed from argv.
 */
#ifndef HEARTH_CLI_FLAGS_H
#define HEARTH_CLI_FLAGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEARTH_CLI_LIST_MAX 32 /* times a repeatable flag may be given */

struct hearth_cli;
typedef int (*hearth_cmd_fn)(struct hearth_cli *cli, int argc, char **argv);

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
bool hearth_cli_parse(struct hearth_cli *cli, const hearth_usage *u, int argc,
                      char **argv, int *exit_code);

/* A command with commands of its own ("model create"). */
typedef struct {
    const char *name;
    hearth_cmd_fn fn;
    const char *summary;
} hearth_subcommand;

/* Run the one that argv[1] names, with its argv starting there.  Prints the
 * list for --help; exit 2 with a suggestion for an unknown or missing name. */
int hearth_cli_dispatch(struct hearth_cli *cli, const char *command,
                        const hearth_subcommand *subs, size_t n_subs, int argc,
                        char **argv);

#endif /* HEARTH_CLI_FLAGS_H */

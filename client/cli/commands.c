/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/commands.c - every command of `hearth`.
 *
 * The build writes hearth_commands.h from the cmd_*.c files it finds, so that
 * a command exists exactly when its file does.  The table here only says what
 * to print about each in `hearth --help`, and in which order. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/cli_private.h"
#include "common/file.h"

#ifndef HEARTH_VERSION_TEXT
#define HEARTH_VERSION_TEXT "0.0.0"
#endif

static const struct {
    const char *name;
    hearth_cmd_fn fn;
} COMMANDS[] = {
#define X(name) {#name, hearth_cmd_##name},
    HEARTH_COMMANDS(X)
#undef X
};
#define N_COMMANDS (sizeof(COMMANDS) / sizeof(*COMMANDS))

static const struct {
    const char *name, *summary;
} SUMMARIES[] = {
    {NULL, "models and training"},
    {"train", "fine-tune a model on records"},
    {"eval", "how well a model predicts records"},
    {"generate", "continue a text"},
    {"chat", "talk with a model"},
    {"plan", "what a training run needs, before it runs"},
    {"tokenize", "texts to token ids"},
    {"model", "create and inspect models, write logits"},
    {"adapter", "inspect, export and merge LoRA adapters"},
    {NULL, "taking part in federated training"},
    {"init", "join a coordinator"},
    {"records", "the private records on this device"},
    {"sync", "take part in rounds, fetch releases"},
    {"status", "what this device is doing"},
    {"privacy", "what others may have learnt; privacy sums"},
    {NULL, "help"},
    {"doctor", "kernels, libraries, and why something does not work"},
};

static hearth_cmd_fn find(const char *name) {
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (strcmp(COMMANDS[i].name, name) == 0) return COMMANDS[i].fn;
    return NULL;
}

static void print_help(hearth_cli *cli) {
    fprintf(cli->out, "hearth " HEARTH_VERSION_TEXT
                      " - fine-tune language models where the records are\n"
                      "\nusage: hearth COMMAND [flags]\n");
    for (size_t i = 0; i < sizeof(SUMMARIES) / sizeof(*SUMMARIES); i++) {
        if (!SUMMARIES[i].name)
            fprintf(cli->out, "\n%s:\n", SUMMARIES[i].summary);
        else if (find(SUMMARIES[i].name))
            fprintf(cli->out, "  %-12s %s\n", SUMMARIES[i].name,
                    SUMMARIES[i].summary);
    }
    fprintf(cli->out,
            "\nEvery command takes --help and --json.\n"
            "example:\n  hearth train --model DIR --data train.jsonl --out "
            "my-adapter --steps 100\n");
}

int hearth_cli_dispatch(hearth_cli *cli, const char *command,
                        const hearth_subcommand *subs, size_t n_subs, int argc,
                        char **argv) {
    const char *word = argc > 1 ? argv[1] : "", *close = NULL;
    size_t best = SIZE_MAX;
    cli->command = command;
    for (size_t i = 0; i < n_subs; i++) {
        if (strcmp(subs[i].name, word) == 0)
            return subs[i].fn(cli, argc - 1, argv + 1);
        if (hearth_cli__closer(word, subs[i].name, &best)) close = subs[i].name;
    }
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
        fprintf(cli->out, "usage: hearth %s COMMAND [flags]\n\ncommands:\n",
                command);
        for (size_t i = 0; i < n_subs; i++)
            fprintf(cli->out, "  %-12s %s\n", subs[i].name, subs[i].summary);
        fprintf(cli->out, "\nexample:\n  hearth %s %s --help\n", command,
                subs[0].name);
        return HEARTH_EXIT_OK;
    }
    if (!*word || *word == '-')
        return hearth_cli_usage_error(cli, "a command is missing");
    if (close)
        return hearth_cli_usage_error(
            cli, "unknown command '%.40s'; did you mean %s?", word, close);
    return hearth_cli_usage_error(cli, "unknown command '%.40s'", word);
}

static int no_such(hearth_cli *cli, const char *word) {
    const char *close = NULL;
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (hearth_cli__closer(word, COMMANDS[i].name, &best))
            close = COMMANDS[i].name;
    if (close)
        return hearth_cli_usage_error(
            cli, "unknown command '%.40s'; did you mean %s?", word, close);
    return hearth_cli_usage_error(cli, "unknown command '%.40s'", word);
}

/* --json may stand before the command as well; errors in flags before it are
 * events too. */
static bool asks_for_json(int argc, char **argv) {
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--json") == 0) return true;
    return false;
}

int hearth_cli_main(int argc, char **argv, FILE *out, FILE *err) {
    hearth_cli cli = {.command = "", .out = out, .err = err};
    int at = 1, rc;
    cli.json = asks_for_json(argc, argv);
    cli.err_is_tty = isatty(fileno(err)) == 1;
    while (at < argc && strcmp(argv[at], "--json") == 0) at++;
    const char *word = at < argc ? argv[at] : "";
    if (!*word) {
        rc = hearth_cli_usage_error(&cli, "a command is missing");
    } else if (strcmp(word, "help") == 0 && at + 1 < argc &&
               find(argv[at + 1])) { /* hearth help train */
        char help[] = "--help";
        char *words[] = {argv[at + 1], help, NULL};
        cli.command = words[0];
        rc = find(words[0])(&cli, 2, words);
    } else if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 ||
               strcmp(word, "help") == 0) {
        print_help(&cli);
        rc = HEARTH_EXIT_OK;
    } else if (strcmp(word, "--version") == 0) {
        fprintf(out, "hearth " HEARTH_VERSION_TEXT "\n");
        rc = HEARTH_EXIT_OK;
    } else {
        hearth_cmd_fn fn = find(word);
        cli.command = fn ? word : "";
        rc = fn ? fn(&cli, argc - at, argv + at) : no_such(&cli, word);
    }
    hearth_progress_end(&cli);
    if (fflush(out) != 0 || cli.out_failed) {
        if (rc == HEARTH_EXIT_OK) rc = HEARTH_EXIT_FAIL;
    }
    return rc;
}

hearth_status hearth_cli_state_dir(const char *flag, char *out, size_t cap,
                                   hearth_error *err) {
    const char *dir = flag ? flag : getenv("HEARTH_STATE");
    const char *home = NULL, *below = "";
    if (dir && *dir) {
        home = dir;
    } else if ((home = getenv("XDG_STATE_HOME")) && *home) {
        below = "/hearth";
    } else if ((home = getenv("HOME")) && *home) {
        below = "/.local/state/hearth";
    } else {
        return hearth_error_set(err, HEARTH_ENOTFOUND,
                                "no state directory: give --state DIR or set "
                                "HEARTH_STATE");
    }
    int n = snprintf(out, cap, "%s%s", home, below);
    if (n > 0 && (size_t)n < cap) return HEARTH_OK;
    if (cap) out[0] = 0;
    return hearth_error_set(err, HEARTH_ETOOBIG,
                            "the path of the state directory is too long");
}

int hearth_cli_show_state(hearth_cli *cli, int argc, char **argv,
                          const char *command, const char *summary,
                          const char *example, hearth_cli_show_fn show) {
    const char *state = NULL;
    char dir[1024];
    const hearth_flag flags[] = {
        HEARTH_FLAG_STR("state", "DIR", "where this device keeps its state",
                        &state),
    };
    const hearth_usage u = {
        .command = command,
        .summary = summary,
        .arguments = "[flags]",
        .example = example,
        .flags = flags,
        .n_flags = 1,
    };
    hearth_error err = {HEARTH_OK, ""};
    int rc;
    if (!hearth_cli_parse(cli, &u, argc, argv, &rc)) return rc;
    hearth_status st = hearth_cli_state_dir(state, dir, sizeof(dir), &err);
    if (st == HEARTH_OK) st = show(cli, dir, &err);
    return st == HEARTH_OK ? HEARTH_EXIT_OK
                           : hearth_cli_fail(cli, st, &err, NULL);
}

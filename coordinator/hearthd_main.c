/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/hearthd_main.c - find the command, run it. */
#include <stdio.h>
#include <string.h>

#include "common/ini.h"
#include "coordinator/hearthd_cmd.h"

#ifndef HEARTH_VERSION_TEXT
#define HEARTH_VERSION_TEXT "0.0.0"
#endif

static hearthd_command *const TABLES[] = {
    hearthd_commands_init, hearthd_commands_serve,   hearthd_commands_device,
    hearthd_commands_task, hearthd_commands_release, hearthd_commands_admin,
};
#define N_TABLES (sizeof(TABLES) / sizeof(TABLES[0]))

static int help(void) {
    printf(
        "hearthd is the coordinator: it hands out training rounds, adds up\n"
        "the noised deltas that devices send, and publishes signed adapters.\n"
        "It never sees a record.\n\n"
        "A first coordinator on this machine:\n"
        "  hearthd init --dir coord --host localhost\n"
        "  hearthd serve -c coord/hearthd.ini\n"
        "  hearthd token create -c coord/hearthd.ini    (once per device)\n"
        "  hearthd task create -c coord/hearthd.ini -f TASK.ini\n"
        "then, on a device, the `hearth init` line that `init` printed.\n\n"
        "commands:\n");
    for (size_t t = 0; t < N_TABLES; t++)
        for (const hearthd_command *c = TABLES[t]; c->name; c++)
            printf("  %-16s %s\n", c->name, c->what);
    printf("\n`hearthd COMMAND --help` shows flags and an example.\n");
    return 0;
}

static bool is_group(const char *word) {
    size_t n = strlen(word);
    for (size_t t = 0; t < N_TABLES; t++)
        for (const hearthd_command *c = TABLES[t]; c->name; c++)
            if (strncmp(c->name, word, n) == 0 && c->name[n] == ' ')
                return true;
    return false;
}

/* `hearthd token --help`: the commands that begin with this word. */
static bool help_group(const char *word) {
    size_t n = strlen(word);
    if (!is_group(word)) return false;
    printf("usage: hearthd %s COMMAND [flags]\n\ncommands:\n", word);
    for (size_t t = 0; t < N_TABLES; t++)
        for (const hearthd_command *c = TABLES[t]; c->name; c++)
            if (strncmp(c->name, word, n) == 0 && c->name[n] == ' ')
                printf("  %-16s %s\n", c->name, c->what);
    printf("\n`hearthd COMMAND --help` shows flags and an example.\n");
    return true;
}

/* How many words of argv name c; 0: it is another command. */
static int match(const hearthd_command *c, int argc, char **argv) {
    const char *space = strchr(c->name, ' ');
    size_t n = space ? (size_t)(space - c->name) : strlen(c->name);
    if (argc < 1 || strlen(argv[0]) != n || memcmp(argv[0], c->name, n) != 0)
        return 0;
    if (!space) return 1;
    return argc >= 2 && strcmp(argv[1], space + 1) == 0 ? 2 : 0;
}

static int unknown(int argc, char **argv) {
    const char *names[40];
    char given[128];
    size_t n = 0;
    if (is_group(argv[0]) && (argc < 2 || argv[1][0] == '-')) {
        (void)fprintf(stderr,
                      "hearthd: a command is missing after '%s'; see "
                      "`hearthd %s --help`\n",
                      argv[0], argv[0]);
        return 2;
    }
    for (size_t t = 0; t < N_TABLES; t++)
        for (const hearthd_command *c = TABLES[t]; c->name && n < 40; c++)
            names[n++] = c->name;
    bool two = argc > 1 && argv[1][0] != '-';
    (void)snprintf(given, sizeof(given), "%s%s%s", argv[0], two ? " " : "",
                   two ? argv[1] : "");
    const char *near_name = hearth_did_you_mean(given, names, n);
    if (!near_name) near_name = hearth_did_you_mean(argv[0], names, n);
    if (near_name)
        (void)fprintf(stderr,
                      "hearthd: unknown command '%s'; did you mean '%s'?\n",
                      given, near_name);
    else
        (void)fprintf(stderr,
                      "hearthd: unknown command '%s'; see `hearthd --help`\n",
                      given);
    return 2;
}

int main(int argc, char **argv) {
    hearthd_args a;
    if (argc < 2) {
        (void)help();
        return 2;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("hearthd " HEARTH_VERSION_TEXT "\n");
        return 0;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0)
        return help();
    for (size_t t = 0; t < N_TABLES; t++)
        for (hearthd_command *c = TABLES[t]; c->name; c++) {
            int words = match(c, argc - 1, argv + 1);
            if (!words) continue;
            int rc = hearthd_parse(&a, c, argc - 1 - words, argv + 1 + words);
            if (rc) return rc < 0 ? 0 : rc;
            return c->run(&a);
        }
    if (argc > 2 &&
        (strcmp(argv[2], "--help") == 0 || strcmp(argv[2], "-h") == 0) &&
        help_group(argv[1]))
        return 0;
    return unknown(argc - 1, argv + 1);
}

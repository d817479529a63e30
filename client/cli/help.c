/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/help.c - `--help`, made from the same table that parses flags. */
#include <string.h>

#include "client/cli/cli_private.h"

#define NAME_CELLS    28
#define LONG_NAME_GAP "\n                              "

/* "--no-pack" for a switch that is on. */
static void flag_name(const hearth_flag *f, char *out, size_t cap) {
    bool on = f->kind == HEARTH_FLAG_IS_BOOL && *(const bool *)f->dst;
    (void)snprintf(out, cap, "--%s%s%s%s", on ? "no-" : "", f->name,
                   f->metavar ? " " : "", f->metavar ? f->metavar : "");
}

static void flag_default(const hearth_flag *f, char *out, size_t cap) {
    const char *s;
    out[0] = 0;
    switch (f->kind) {
    case HEARTH_FLAG_IS_STR:
    case HEARTH_FLAG_IS_CHOICE:
        s = *(const char *const *)f->dst;
        if (s && *s) (void)snprintf(out, cap, " [%s]", s);
        break;
    case HEARTH_FLAG_IS_U64:
        if (*(const uint64_t *)f->dst) /* the help says what 0 does */
            (void)snprintf(out, cap, " [%llu]",
                           (unsigned long long)*(const uint64_t *)f->dst);
        break;
    case HEARTH_FLAG_IS_F64:
        (void)snprintf(out, cap, " [%g]", *(const double *)f->dst);
        break;
    case HEARTH_FLAG_IS_BYTES:
        if (*(const uint64_t *)f->dst)
            (void)snprintf(
                out, cap, " [%lluM]",
                (unsigned long long)(*(const uint64_t *)f->dst >> 20));
        break;
    case HEARTH_FLAG_IS_DURATION:
        if (*(const uint64_t *)f->dst)
            (void)snprintf(
                out, cap, " [%llus]",
                (unsigned long long)(*(const uint64_t *)f->dst / 1000));
        break;
    case HEARTH_FLAG_IS_BOOL:
    case HEARTH_FLAG_IS_LIST: break;
    }
}

void hearth_cli__print_help(hearth_cli *cli, const hearth_usage *u) {
    char name[128], def[160];
    fprintf(cli->out, "hearth %s - %s\n\nusage: hearth %s %s\n", u->command,
            u->summary, u->command, u->arguments);
    if (u->n_flags) fprintf(cli->out, "\nflags:\n");
    for (size_t i = 0; i < u->n_flags; i++) {
        flag_name(&u->flags[i], name, sizeof(name));
        flag_default(&u->flags[i], def, sizeof(def));
        const char *gap = strlen(name) > NAME_CELLS ? LONG_NAME_GAP : "";
        fprintf(cli->out, "  %-*s%s %s%s\n", NAME_CELLS, name, gap,
                u->flags[i].help, def);
    }
    fprintf(cli->out,
            "%s  %-28s JSON events on stdout, one a line\n"
            "  %-28s this text\n\nexample:\n  %s\n",
            u->n_flags ? "" : "\nflags:\n", "--json", "--help", u->example);
}

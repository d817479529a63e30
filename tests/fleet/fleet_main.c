/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_main.c - the program hearth-fleet. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/ini.h"
#include "common/mem.h"
#include "tests/fleet/fleet_run.h"
#include "tests/fleet/fleet_sweep_run.h"

#define MAX_SETS 64

static const char USAGE[] =
    "hearth-fleet: virtual devices, the real client and coordinator code\n"
    "\n"
    "  hearth-fleet new NAME                 write NAME.ini, commented\n"
    "  hearth-fleet list [DIR]               scenarios of a folder\n"
    "  hearth-fleet validate FILE [--set section.key=value]...\n"
    "  hearth-fleet run FILE --out DIR [--set section.key=value]... [--quiet]\n"
    "                                        every cell, where FILE has a "
    "[sweep];\n"
    "                                        again with the same DIR: what is "
    "missing\n"
    "  hearth-fleet report DIR...            write report.html, print the "
    "table\n"
    "  hearth-fleet compare DIR...           one line for each run\n"
    "\n"
    "example:\n"
    "  hearth-fleet run tests/fleet/scenarios/shakespeare.ini --out /tmp/s \\\n"
    "      --set run.seeds=1\n";

/* What a command line says. */
typedef struct {
    const char *arg[256]; /* [n_args] after the command */
    size_t n_args;
    const char *set[MAX_SETS];
    size_t n_sets;
    const char *out;
    bool quiet;
} command;

static int usage(const char *what, const char *detail) {
    fprintf(stderr, "hearth-fleet: %s%s; see hearth-fleet --help\n", what,
            detail);
    return 2;
}

static int failed(hearth_status st, const hearth_error *err) {
    fprintf(stderr, "hearth-fleet: %s\n",
            err->text[0] ? err->text : hearth_status_text(st));
    return 1;
}

/* ---- commands ---- */

static int cmd_new(const command *c) {
    char path[1024];
    hearth_error err = {0};
    const char *text = hearth_fleet_scenario_example();
    if (c->n_args != 1) return usage("new takes a NAME", "");
    int n = snprintf(path, sizeof(path), "%s.ini", c->arg[0]);
    if (n < 0 || (size_t)n >= sizeof(path)) return usage("too long a name", "");
    if (hearth_file_exists(path)) {
        fprintf(stderr,
                "hearth-fleet: %s is there already; choose another name\n",
                path);
        return 1;
    }
    hearth_status st = hearth_file_write(path, text, strlen(text), 0644, &err);
    if (st != HEARTH_OK) return failed(st, &err);
    printf("%s: change it, then: hearth-fleet validate %s\n", path, path);
    return 0;
}

static void print_people(const hearth_fleet_population *p) {
    size_t train = 0, held = 0;
    for (size_t i = 0; i < p->n_people; i++) {
        train += p->person[i].n_train;
        held += p->person[i].n_lines - p->person[i].n_train;
    }
    printf("%zu people found, %zu too small; %zu devices, %zu unseen; %zu "
           "records for devices, %zu held out\n",
           p->n_found, p->n_small, p->n_people - p->n_unseen, p->n_unseen,
           train, held);
}

/* Every cell of a sweep, as far as its settings go. */
static hearth_status check_cells(const command *c, hearth_error *err) {
    hearth_fleet_sweep *sw = NULL;
    const char *set[MAX_SETS + HEARTH_FLEET_MAX_CELL_SETS];
    hearth_status st = hearth_fleet_sweep_load(&sw, c->arg[0], NULL, err);
    for (size_t i = 0; st == HEARTH_OK && i < sw->n; i++) {
        hearth_fleet_scenario *sc = NULL;
        size_t n = 0;
        for (size_t k = 0; k < c->n_sets; k++) set[n++] = c->set[k];
        for (size_t k = 0; k < sw->cell[i].n_sets; k++)
            set[n++] = sw->cell[i].set[k];
        st = hearth_fleet_run_scenario(&sc, c->arg[0], set, n, NULL, err);
        if (st == HEARTH_OK)
            printf("# cell %s: z %.6g\n", sw->cell[i].name, sc->noise);
        else
            st = hearth_error_prefix(err, "cell %s", sw->cell[i].name);
        hearth_fleet_scenario_free(sc, NULL);
    }
    hearth_fleet_sweep_free(sw);
    return st;
}

static int cmd_validate(const command *c) {
    hearth_error err = {0};
    hearth_fleet_scenario *sc = NULL;
    hearth_fleet_population *p = NULL;
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    if (c->n_args != 1) return usage("validate takes a FILE", "");
    hearth_status st = hearth_fleet_run_scenario(&sc, c->arg[0], c->set,
                                                 c->n_sets, NULL, &err);
    if (st == HEARTH_OK) st = hearth_fleet_records_load(&p, sc, NULL, &err);
    if (st == HEARTH_OK) st = hearth_fleet_run_check(sc, p, &err);
    if (st == HEARTH_OK) st = hearth_fleet_scenario_write(&b, sc);
    if (st == HEARTH_OK) {
        (void)fputs(hearth_buf_str(&b), stdout);
        printf("\n# ");
        print_people(p);
        st = check_cells(c, &err);
    }
    hearth_buf_free(&b);
    hearth_fleet_population_free(p);
    hearth_fleet_scenario_free(sc, NULL);
    return st == HEARTH_OK ? 0 : failed(st, &err);
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void list_one(const char *dir, const char *name) {
    char path[1024];
    hearth_error err = {0};
    hearth_fleet_scenario *sc;
    if (hearth_file_join(path, sizeof(path), dir, name) != HEARTH_OK) return;
    if (hearth_fleet_scenario_load(&sc, path, NULL, 0, NULL, &err) !=
        HEARTH_OK) {
        bool named = strncmp(err.text, path, strlen(path)) == 0;
        printf("%s%s%s\n", named ? "" : path, named ? "" : ": ", err.text);
        return;
    }
    printf("%s: %s, %u rounds, %zu seeds, privacy %s", path, sc->name,
           sc->rounds, sc->n_seeds,
           sc->privacy == HEARTH_FLEET_PRIVACY_LOCAL ? "local" : "none");
    hearth_fleet_sweep *sw = NULL;
    if (hearth_fleet_sweep_load(&sw, path, NULL, &err) != HEARTH_OK)
        printf("; %s", err.text);
    else if (sw->n)
        printf(", a sweep of %zu cells", sw->n);
    (void)putchar('\n');
    hearth_fleet_sweep_free(sw);
    hearth_fleet_scenario_free(sc, NULL);
}

static int cmd_list(const command *c) {
    const char *dir = c->n_args ? c->arg[0] : ".";
    char *name[1024];
    size_t n = 0;
    if (c->n_args > 1) return usage("list takes one DIR", "");
    DIR *d = opendir(dir);
    if (!d) {
        fprintf(stderr, "hearth-fleet: %s: no such folder; name another\n",
                dir);
        return 1;
    }
    for (struct dirent *e; (e = readdir(d)) && n < 1024;) {
        size_t len = strlen(e->d_name);
        if (len < 5 || strcmp(e->d_name + len - 4, ".ini") != 0) continue;
        name[n] = hearth_mem_strdup(NULL, e->d_name);
        if (name[n]) n++;
    }
    (void)closedir(d);
    qsort(name, n, sizeof(*name), by_name);
    for (size_t i = 0; i < n; i++) {
        list_one(dir, name[i]);
        hearth_mem_free(NULL, name[i]);
    }
    if (!n)
        printf("no scenario in %s; write one: hearth-fleet new NAME\n", dir);
    return 0;
}

static int cmd_run(const command *c) {
    hearth_error err = {0};
    if (c->n_args != 1) return usage("run takes a FILE", "");
    if (!c->out) return usage("run needs --out DIR", "");
    const hearth_fleet_run_options opt = {c->arg[0], c->set,   c->n_sets,
                                          c->out,    c->quiet, false};
    hearth_buf text = HEARTH_BUF_INIT(NULL);
    hearth_fleet_sweep *sw = NULL;
    hearth_status st = hearth_fleet_sweep_load(&sw, c->arg[0], NULL, &err);
    if (st == HEARTH_OK)
        st = sw->n ? hearth_fleet_sweep_run(&opt, sw, &text, NULL, &err)
                   : hearth_fleet_run(&opt, &text, NULL, &err);
    hearth_fleet_sweep_free(sw);
    if (st == HEARTH_OK)
        printf("%s\nreport: %s/report.html\n", hearth_buf_str(&text), c->out);
    hearth_buf_free(&text);
    return st == HEARTH_OK ? 0 : failed(st, &err);
}

static int cmd_report(const command *c) {
    hearth_error err = {0};
    hearth_fleet_summary s;
    if (!c->n_args) return usage("report takes run directories", "");
    for (size_t i = 0; i < c->n_args; i++) {
        hearth_buf b = HEARTH_BUF_INIT(NULL);
        hearth_status st =
            hearth_fleet_sweep_is_dir(c->arg[i])
                ? hearth_fleet_sweep_report(c->arg[i], &b, NULL, &err)
                : hearth_fleet_run_report(c->arg[i], &b, &s, NULL, &err);
        if (st == HEARTH_OK)
            printf("%s/report.html\n\n%s\n", c->arg[i], hearth_buf_str(&b));
        hearth_buf_free(&b);
        if (st != HEARTH_OK) return failed(st, &err);
    }
    return 0;
}

static int cmd_compare(const command *c) {
    hearth_error err = {0};
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    hearth_status st = HEARTH_OK;
    if (!c->n_args) return usage("compare takes run directories", "");
    hearth_fleet_summary *s = hearth_mem_array(NULL, c->n_args, sizeof(*s));
    if (!s) return failed(HEARTH_ENOMEM, &err);
    for (size_t i = 0; i < c->n_args && st == HEARTH_OK; i++) {
        hearth_fleet_results r;
        st = hearth_fleet_results_load(&r, c->arg[i], NULL, &err);
        if (st != HEARTH_OK) break;
        st = hearth_fleet_summarise(&s[i], &r, NULL);
        hearth_fleet_results_free(&r);
    }
    if (st == HEARTH_OK)
        st = hearth_fleet_compare_text(&b, c->arg, s, c->n_args);
    if (st == HEARTH_OK) (void)fputs(hearth_buf_str(&b), stdout);
    hearth_buf_free(&b);
    hearth_mem_free(NULL, s);
    return st == HEARTH_OK ? 0 : failed(st, &err);
}

static int cmd_resume(const command *c) {
    (void)c;
    fprintf(stderr,
            "hearth-fleet: resume comes in a later version; run again "
            "with --set run.seeds=... for the seeds that are missing\n");
    return 1;
}

/* ---- the command line ---- */

static const struct {
    const char *name;
    int (*fn)(const command *c);
    bool sets, runs; /* takes --set; takes --out and --quiet */
} COMMANDS[] = {
    {"new", cmd_new, false, false},
    {"list", cmd_list, false, false},
    {"validate", cmd_validate, true, false},
    {"run", cmd_run, true, true},
    {"report", cmd_report, false, false},
    {"compare", cmd_compare, false, false},
    {"resume", cmd_resume, false, false},
};
#define N_COMMANDS (sizeof(COMMANDS) / sizeof(COMMANDS[0]))

/* 0, or the exit status of a usage error. */
static int parse(command *c, size_t which, int argc, char **argv) {
    for (int i = 2; i < argc; i++) {
        bool more = i + 1 < argc;
        if (!strcmp(argv[i], "--set") && COMMANDS[which].sets) {
            if (!more) return usage("--set needs section.key=value", "");
            if (c->n_sets == MAX_SETS) return usage("too many --set", "");
            c->set[c->n_sets++] = argv[++i];
        } else if (!strcmp(argv[i], "--out") && COMMANDS[which].runs) {
            if (!more) return usage("--out needs a DIR", "");
            c->out = argv[++i];
        } else if (!strcmp(argv[i], "--quiet") && COMMANDS[which].runs) {
            c->quiet = true;
        } else if (argv[i][0] == '-' && argv[i][1]) {
            return usage("unknown flag ", argv[i]);
        } else if (c->n_args == sizeof(c->arg) / sizeof(c->arg[0])) {
            return usage("too many arguments", "");
        } else {
            c->arg[c->n_args++] = argv[i];
        }
    }
    return 0;
}

int main(int argc, char **argv) {
    static command c;
    const char *names[N_COMMANDS];
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
            (void)fputs(USAGE, stdout);
            return 0;
        }
    if (argc < 2) return usage("no command", "");
    for (size_t i = 0; i < N_COMMANDS; i++) {
        names[i] = COMMANDS[i].name;
        if (strcmp(argv[1], names[i]) != 0) continue;
        int rc = parse(&c, i, argc, argv);
        return rc ? rc : COMMANDS[i].fn(&c);
    }
    const char *guess = hearth_did_you_mean(argv[1], names, N_COMMANDS);
    fprintf(stderr,
            "hearth-fleet: unknown command '%.60s'%s%s%s; see "
            "hearth-fleet --help\n",
            argv[1], guess ? "; did you mean '" : "", guess ? guess : "",
            guess ? "'?" : "");
    return 2;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_run.c - a process for each seed: they share nothing but the
 * files they read, and one that dies leaves the others' results. */
#include "tests/fleet/fleet_run.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/train/kernels.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/mem.h"
#include "privacy/calibrate.h"
#include "tests/fleet/fleet_lab.h"
#include "tests/fleet/fleet_output.h"
#include "tests/fleet/fleet_seed.h"

#ifndef HEARTH_FLEET_VERSION
#define HEARTH_FLEET_VERSION "0.1.0"
#endif

hearth_status hearth_fleet_run_scenario(hearth_fleet_scenario **out,
                                        const char *path,
                                        const char *const *sets, size_t n_sets,
                                        const hearth_alloc *al,
                                        hearth_error *err) {
    hearth_status st =
        hearth_fleet_scenario_load(out, path, sets, n_sets, al, err);
    if (st != HEARTH_OK || !((*out)->epsilon > 0.0)) return st;
    st = hearth_calibrate_z(&(*out)->noise, (*out)->epsilon, (*out)->delta,
                            (*out)->rounds, HEARTH_DP_REPLACE_ONE,
                            HEARTH_METHOD_ZCDP);
    if (st == HEARTH_OK) {
        (*out)->epsilon = 0.0; /* the noise says it now */
        return HEARTH_OK;
    }
    hearth_fleet_scenario_free(*out, al);
    *out = NULL;
    return hearth_error_set(err, st,
                            "%s: no noise gives that epsilon in so many "
                            "rounds; set [privacy] noise",
                            path);
}

/* ---- files of the directory ---- */

static hearth_status write_facts(const char *dir,
                                 const hearth_fleet_scenario *sc,
                                 const hearth_fleet_population *people,
                                 const hearth_alloc *al, hearth_error *err) {
    hearth_buf b = HEARTH_BUF_INIT(al);
    hearth_clock c = hearth_clock_system();
    char when[21];
    size_t dim = 0;
    hearth_status st = hearth_fleet_parameters(&dim, sc, al, err);
    if (st == HEARTH_OK) st = hearth_fleet_scenario_write(&b, sc);
    if (st == HEARTH_OK)
        st = hearth_fleet_output_put(dir, "scenario.ini", &b, err);
    hearth_buf_clear(&b);
    hearth_clock_format(when, hearth_clock_wall(&c));
    (void)hearth_buf_printf(&b,
                            "{\"program\":\"hearth-fleet\",\"version\":\"%s\","
                            "\"kernels\":\"%s\",\"started\":\"%s\",\"seeds\":[",
                            HEARTH_FLEET_VERSION,
                            hearth_kernels_default()->name, when);
    for (size_t i = 0; i < sc->n_seeds; i++)
        (void)hearth_buf_printf(&b, "%s%llu", i ? "," : "",
                                (unsigned long long)sc->seed[i]);
    (void)hearth_buf_printf(&b,
                            "],\"people_found\":%zu,\"people_small\":%zu,"
                            "\"devices\":%zu,\"unseen\":%zu,"
                            "\"parameters\":%zu}\n",
                            people->n_found, people->n_small,
                            people->n_people - people->n_unseen,
                            people->n_unseen, dim);
    if (st == HEARTH_OK) st = hearth_fleet_output_put(dir, "run.json", &b, err);
    hearth_buf_free(&b);
    return st;
}

hearth_status hearth_fleet_run_report(const char *dir, hearth_buf *text,
                                      hearth_fleet_summary *summary,
                                      const hearth_alloc *al,
                                      hearth_error *err) {
    hearth_fleet_results r;
    hearth_buf page = HEARTH_BUF_INIT(al), sc = HEARTH_BUF_INIT(al);
    char path[1024];
    const char *name = strrchr(dir, '/');
    hearth_status st = hearth_fleet_results_load(&r, dir, al, err);
    if (st != HEARTH_OK) return st;
    st = hearth_file_join(path, sizeof(path), dir, "scenario.ini");
    if (st == HEARTH_OK) st = hearth_file_read(&sc, path, (size_t)1 << 20, err);
    if (st == HEARTH_OK)
        st = hearth_fleet_report_html(&page, name && name[1] ? name + 1 : dir,
                                      hearth_buf_str(&sc), &r, al);
    if (st == HEARTH_OK)
        st = hearth_fleet_output_put(dir, "report.html", &page, err);
    if (st == HEARTH_OK) st = hearth_fleet_summarise(summary, &r, al);
    if (st == HEARTH_OK) st = hearth_fleet_summary_text(text, summary);
    hearth_buf_free(&page);
    hearth_buf_free(&sc);
    hearth_fleet_results_free(&r);
    return st;
}

/* ---- seeds ---- */

typedef struct {
    const hearth_fleet_scenario *sc;
    const hearth_fleet_population *people;
    const hearth_fleet_run_options *opt;
    const hearth_alloc *al;
    char (*dir)[1024]; /* [n_seeds] */
    hearth_error *err;
} run;

/* One seed in a child: its exit status is all that comes back. */
static int child(const run *r, size_t i) {
    hearth_error err = {0};
    hearth_status st =
        hearth_fleet_seed_run(r->sc, r->people, r->sc->seed[i], r->dir[i],
                              r->opt->quiet, r->al, &err);
    if (st == HEARTH_OK) return 0;
    fprintf(stderr, "hearth-fleet: seed %llu: %s: %s\n",
            (unsigned long long)r->sc->seed[i], hearth_status_name(st),
            err.text[0] ? err.text : hearth_status_text(st));
    return 1;
}

/* Its last file is there: an earlier try got so far. */
static bool seed_is_done(const run *r, size_t i) {
    char path[1100];
    return r->opt->resume &&
           hearth_file_join(path, sizeof(path), r->dir[i],
                            hearth_fleet_output_name(HEARTH_FLEET_N_OUT - 1)) ==
               HEARTH_OK &&
           hearth_file_exists(path);
}

/* Wait for one child; *bad counts those that failed. */
static hearth_status reap(const run *r, size_t *bad) {
    int status;
    pid_t pid;
    do pid = wait(&status);
    while (pid < 0 && errno == EINTR);
    if (pid < 0)
        return hearth_error_set(r->err, HEARTH_EIO,
                                "a job was lost; run with --set run.jobs=1");
    if (!WIFEXITED(status) || WEXITSTATUS(status)) ++*bad;
    return HEARTH_OK;
}

static hearth_status run_jobs(const run *r) {
    size_t running = 0, bad = 0;
    hearth_status st = HEARTH_OK;
    for (size_t i = 0; i < r->sc->n_seeds && st == HEARTH_OK; i++) {
        if (seed_is_done(r, i)) continue;
        if (running == r->sc->jobs) {
            st = reap(r, &bad);
            running--;
            if (st != HEARTH_OK) break;
        }
        (void)fflush(NULL);
        pid_t pid = fork();
        if (pid == 0) _exit(child(r, i));
        if (pid < 0)
            st = hearth_error_set(r->err, HEARTH_EIO,
                                  "cannot start a job; run with --set "
                                  "run.jobs=1");
        else
            running++;
    }
    for (; running; running--)
        if (reap(r, &bad) != HEARTH_OK) break;
    if (st == HEARTH_OK && bad)
        st = hearth_error_set(r->err, HEARTH_EIO,
                              "%zu of %zu seeds failed; their messages stand "
                              "above",
                              bad, r->sc->n_seeds);
    return st;
}

static hearth_status run_seeds(const run *r) {
    if (r->sc->jobs > 1 && r->sc->n_seeds > 1) return run_jobs(r);
    for (size_t i = 0; i < r->sc->n_seeds; i++) {
        if (seed_is_done(r, i)) continue;
        hearth_status st =
            hearth_fleet_seed_run(r->sc, r->people, r->sc->seed[i], r->dir[i],
                                  r->opt->quiet, r->al, r->err);
        if (st != HEARTH_OK) return st;
    }
    return HEARTH_OK;
}

static hearth_status join_seeds(const run *r) {
    const char *from[HEARTH_FLEET_MAX_SEEDS];
    for (size_t i = 0; i < r->sc->n_seeds; i++) from[i] = r->dir[i];
    return hearth_fleet_output_join(r->opt->out, from, r->sc->n_seeds, r->al,
                                    r->err);
}

static hearth_status name_dirs(run *r) {
    for (size_t i = 0; i < r->sc->n_seeds; i++) {
        int n = snprintf(r->dir[i], sizeof(r->dir[i]), "%s/seed-%llu",
                         r->opt->out, (unsigned long long)r->sc->seed[i]);
        if (n < 0 || (size_t)n >= sizeof(r->dir[i]))
            return hearth_error_set(r->err, HEARTH_ETOOBIG,
                                    "%s: too long a path; choose another --out",
                                    r->opt->out);
    }
    return HEARTH_OK;
}

/* Does the directory's scenario.ini say what sc says? */
static hearth_status same_scenario(const char *path,
                                   const hearth_fleet_scenario *sc,
                                   const hearth_alloc *al, bool *same,
                                   hearth_error *err) {
    hearth_buf now = HEARTH_BUF_INIT(al), then = HEARTH_BUF_INIT(al);
    hearth_status st = hearth_fleet_scenario_write(&now, sc);
    if (st == HEARTH_OK)
        st = hearth_file_read(&then, path, HEARTH_INI_MAX_BYTES, err);
    *same =
        st == HEARTH_OK && !strcmp(hearth_buf_str(&now), hearth_buf_str(&then));
    hearth_buf_free(&now);
    hearth_buf_free(&then);
    return st;
}

/* A directory that holds a finished run is never written over; one to resume
 * must have been begun by the same scenario. *done: there is nothing to run. */
static hearth_status check_out(const hearth_fleet_run_options *opt,
                               const hearth_fleet_scenario *sc,
                               const hearth_alloc *al, bool *done,
                               hearth_error *err) {
    char path[1024];
    bool same = true;
    hearth_status st =
        hearth_file_join(path, sizeof(path), opt->out, "scenario.ini");
    if (st == HEARTH_OK && opt->resume && hearth_file_exists(path))
        st = same_scenario(path, sc, al, &same, err);
    if (st == HEARTH_OK)
        st = hearth_file_join(path, sizeof(path), opt->out, "metrics.jsonl");
    if (st != HEARTH_OK) return st;
    if (!same)
        return hearth_error_set(err, HEARTH_EEXISTS,
                                "%s was begun with other settings; choose "
                                "another --out",
                                opt->out);
    *done = hearth_file_exists(path);
    if (*done && !opt->resume)
        return hearth_error_set(err, HEARTH_EEXISTS,
                                "%s holds a run already; choose another --out",
                                opt->out);
    return HEARTH_OK;
}

hearth_status hearth_fleet_run_check(const hearth_fleet_scenario *sc,
                                     const hearth_fleet_population *people,
                                     hearth_error *err) {
    char path[1024];
    size_t devices = people->n_people - people->n_unseen;
    hearth_status st =
        hearth_file_join(path, sizeof(path), sc->model_path, "config.json");
    if (st != HEARTH_OK || !hearth_file_exists(path))
        return hearth_error_set(err, HEARTH_ENOTFOUND,
                                "[model] path %.150s: no config.json there; "
                                "give the folder of a model",
                                sc->model_path);
    if (sc->count_min > devices)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "[cohort] count begins at %u, there are %zu "
                                "devices; lower it or add people",
                                (unsigned)sc->count_min, devices);
    return HEARTH_OK;
}

/* Whatever of r is not there yet. */
static hearth_status run_missing(run *r) {
    const hearth_fleet_run_options *opt = r->opt;
    hearth_status st = name_dirs(r);
    if (st == HEARTH_OK) st = hearth_file_mkdirs(opt->out, r->err);
    if (st == HEARTH_OK)
        st = write_facts(opt->out, r->sc, r->people, r->al, r->err);
    if (st == HEARTH_OK) st = run_seeds(r);
    return st == HEARTH_OK ? join_seeds(r) : st;
}

hearth_status hearth_fleet_run(const hearth_fleet_run_options *opt,
                               hearth_buf *text, const hearth_alloc *al,
                               hearth_error *err) {
    hearth_fleet_scenario *sc = NULL;
    hearth_fleet_population *people = NULL;
    hearth_fleet_summary summary;
    bool done = false;
    run r = {NULL, NULL, opt, al, NULL, err};
    hearth_status st = hearth_fleet_run_scenario(&sc, opt->scenario, opt->sets,
                                                 opt->n_sets, al, err);
    if (st == HEARTH_OK) st = check_out(opt, sc, al, &done, err);
    if (st != HEARTH_OK) goto done;
    if (!done) {
        st = hearth_fleet_records_load(&people, sc, al, err);
        if (st == HEARTH_OK) st = hearth_fleet_run_check(sc, people, err);
        if (st != HEARTH_OK) goto done;
        r.sc = sc;
        r.people = people;
        r.dir = hearth_mem_array(al, sc->n_seeds, sizeof(*r.dir));
        st = r.dir ? run_missing(&r)
                   : hearth_error_set(err, HEARTH_ENOMEM,
                                      "out of memory; close something");
        if (st != HEARTH_OK) goto done;
    }
    st = hearth_fleet_run_report(opt->out, text, &summary, al, err);

done:
    hearth_mem_free(al, r.dir);
    hearth_fleet_population_free(people);
    hearth_fleet_scenario_free(sc, al);
    return st;
}

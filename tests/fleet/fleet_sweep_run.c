/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_sweep_run.c - one cell after the other; a cell's seeds are
 * what runs side by side. */
#include "tests/fleet/fleet_sweep_run.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "common/file.h"
#include "common/mem.h"
#include "tests/fleet/fleet_output.h"
#include "tests/fleet/fleet_point.h"

#define MAX_SCENARIO ((size_t)1 << 20)

static hearth_status join(char *path, size_t cap, const char *dir,
                          const char *name, hearth_error *err) {
    hearth_status st = hearth_file_join(path, cap, dir, name);
    if (st == HEARTH_OK) return st;
    return hearth_error_set(err, st, "%s/%s: too long a path; move it", dir,
                            name);
}

/* The scenario file goes along, so that the report needs dir alone. */
static hearth_status keep_scenario(const hearth_fleet_run_options *opt,
                                   const hearth_alloc *al, hearth_error *err) {
    hearth_buf b = HEARTH_BUF_INIT(al);
    hearth_status st = hearth_file_mkdirs(opt->out, err);
    if (st == HEARTH_OK)
        st = hearth_file_read(&b, opt->scenario, MAX_SCENARIO, err);
    if (st == HEARTH_OK && opt->n_sets) {
        (void)hearth_buf_puts(&b, "\n; run with\n");
        for (size_t i = 0; i < opt->n_sets; i++)
            (void)hearth_buf_printf(&b, ";   --set %s\n", opt->sets[i]);
        if (b.failed) st = HEARTH_ENOMEM;
    }
    if (st == HEARTH_OK)
        st = hearth_fleet_output_put(opt->out, "sweep.ini", &b, err);
    hearth_buf_free(&b);
    return st;
}

static hearth_status run_cell(const hearth_fleet_run_options *opt,
                              const hearth_fleet_cell *cell, const char **sets,
                              const hearth_alloc *al, hearth_error *err) {
    char cells[1024], out[1100];
    hearth_buf text = HEARTH_BUF_INIT(al);
    size_t n = 0;
    for (size_t i = 0; i < opt->n_sets; i++) sets[n++] = opt->sets[i];
    for (size_t i = 0; i < cell->n_sets; i++) sets[n++] = cell->set[i];
    hearth_status st = join(cells, sizeof(cells), opt->out, "cells", err);
    if (st == HEARTH_OK) st = join(out, sizeof(out), cells, cell->name, err);
    if (st == HEARTH_OK) {
        const hearth_fleet_run_options one = {opt->scenario, sets,       n,
                                              out,           opt->quiet, true};
        st = hearth_fleet_run(&one, &text, al, err);
    }
    hearth_buf_free(&text);
    return st;
}

hearth_status hearth_fleet_sweep_run(const hearth_fleet_run_options *opt,
                                     const hearth_fleet_sweep *sw,
                                     hearth_buf *text, const hearth_alloc *al,
                                     hearth_error *err) {
    hearth_status st = keep_scenario(opt, al, err), worst = HEARTH_OK;
    if (st != HEARTH_OK) return st;
    const char **sets = hearth_mem_array(
        al, opt->n_sets + HEARTH_FLEET_MAX_CELL_SETS, sizeof(*sets));
    if (!sets)
        return hearth_error_set(err, HEARTH_ENOMEM,
                                "out of memory; close something");
    for (size_t i = 0; i < sw->n; i++) {
        hearth_error e = {0};
        if (!opt->quiet)
            fprintf(stderr, "cell %zu of %zu: %s\n", i + 1, sw->n,
                    sw->cell[i].name);
        st = run_cell(opt, &sw->cell[i], sets, al, &e);
        if (st == HEARTH_OK) continue;
        fprintf(stderr, "hearth-fleet: cell %s: %s\n", sw->cell[i].name,
                e.text[0] ? e.text : hearth_status_text(st));
        worst = hearth_error_set(err, st,
                                 "cell %s failed, and perhaps others above; "
                                 "mend it and run the same command again",
                                 sw->cell[i].name);
    }
    hearth_mem_free(al, sets);
    st = hearth_fleet_sweep_report(opt->out, text, al,
                                   worst == HEARTH_OK ? err : NULL);
    return worst == HEARTH_OK ? st : worst;
}

/* ---- the report ---- */

bool hearth_fleet_sweep_is_dir(const char *dir) {
    char path[1024];
    return hearth_file_join(path, sizeof(path), dir, "sweep.ini") ==
               HEARTH_OK &&
           hearth_file_exists(path);
}

/* The finished cells of dir/cells; *n of them. */
static hearth_status load_points(const char *cells, hearth_fleet_point *p,
                                 size_t *n, const hearth_alloc *al,
                                 hearth_error *err) {
    hearth_status st = HEARTH_OK;
    DIR *d = opendir(cells);
    *n = 0;
    if (!d)
        return hearth_error_set(err, HEARTH_ENOTFOUND,
                                "%s: no cells there; run the sweep", cells);
    for (struct dirent *e; st == HEARTH_OK && (e = readdir(d));) {
        char dir[1100], rows[1200];
        if (e->d_name[0] == '.' || *n == HEARTH_FLEET_MAX_CELLS) continue;
        st = join(dir, sizeof(dir), cells, e->d_name, err);
        if (st == HEARTH_OK)
            st = join(rows, sizeof(rows), dir, "metrics.jsonl", err);
        if (st != HEARTH_OK || !hearth_file_exists(rows)) continue;
        st = hearth_fleet_point_load(&p[(*n)++], dir, e->d_name, al, err);
    }
    (void)closedir(d);
    if (st == HEARTH_OK && !*n)
        st = hearth_error_set(err, HEARTH_ENOTFOUND,
                              "%s: no cell is finished; run the sweep again",
                              cells);
    hearth_fleet_points_sort(p, *n);
    return st;
}

static hearth_status write_report(const char *dir, const hearth_fleet_point *p,
                                  size_t n, const hearth_alloc *al,
                                  hearth_error *err) {
    hearth_buf page = HEARTH_BUF_INIT(al), csv = HEARTH_BUF_INIT(al),
               sc = HEARTH_BUF_INIT(al);
    char path[1024];
    const char *name = strrchr(dir, '/');
    hearth_status st = join(path, sizeof(path), dir, "sweep.ini", err);
    if (st == HEARTH_OK) st = hearth_file_read(&sc, path, MAX_SCENARIO, err);
    if (st == HEARTH_OK)
        st = hearth_fleet_points_html(&page, name && name[1] ? name + 1 : dir,
                                      hearth_buf_str(&sc), p, n, al);
    if (st == HEARTH_OK) st = hearth_fleet_points_csv(&csv, p, n);
    if (st == HEARTH_OK)
        st = hearth_fleet_output_put(dir, "report.html", &page, err);
    if (st == HEARTH_OK)
        st = hearth_fleet_output_put(dir, "sweep.csv", &csv, err);
    hearth_buf_free(&page);
    hearth_buf_free(&csv);
    hearth_buf_free(&sc);
    return st;
}

hearth_status hearth_fleet_sweep_report(const char *dir, hearth_buf *text,
                                        const hearth_alloc *al,
                                        hearth_error *err) {
    char cells[1024];
    size_t n = 0;
    hearth_fleet_point *p =
        hearth_mem_array(al, HEARTH_FLEET_MAX_CELLS, sizeof(*p));
    if (!p)
        return hearth_error_set(err, HEARTH_ENOMEM,
                                "out of memory; close something");
    hearth_status st = join(cells, sizeof(cells), dir, "cells", err);
    if (st == HEARTH_OK) st = load_points(cells, p, &n, al, err);
    if (st == HEARTH_OK) st = write_report(dir, p, n, al, err);
    if (st == HEARTH_OK) st = hearth_fleet_points_text(text, p, n);
    hearth_mem_free(al, p);
    return st;
}

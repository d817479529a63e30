/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_output.c */
#include "tests/fleet/fleet_output.h"

#include <math.h>
#include <string.h>

#include "common/file.h"

#define MAX_BYTES ((size_t)1 << 30)

static const char *const NAMES[] = {"metrics.jsonl", "metrics.csv",
                                    "devices.jsonl", "baselines.jsonl",
                                    "baseline_devices.jsonl"};

void hearth_fleet_output_init(hearth_fleet_output *o, uint64_t seed,
                              const hearth_alloc *al) {
    const hearth_buf empty = HEARTH_BUF_INIT(al);
    memset(o, 0, sizeof(*o));
    o->seed = seed;
    for (int i = 0; i < HEARTH_FLEET_N_OUT; i++) o->buf[i] = empty;
}

void hearth_fleet_output_free(hearth_fleet_output *o) {
    for (int i = 0; i < HEARTH_FLEET_N_OUT; i++) hearth_buf_free(&o->buf[i]);
}

const char *hearth_fleet_output_name(int index) {
    return index >= 0 && index < HEARTH_FLEET_N_OUT ? NAMES[index] : "?";
}

static void copy_name(char out[64], const char *name) {
    size_t n = strlen(name);
    if (n > 63) n = 63;
    memcpy(out, name, n);
    out[n] = '\0';
}

hearth_status hearth_fleet_output_round(hearth_fleet_output *o,
                                        const hearth_fleet_lab *lab,
                                        hearth_fleet_metric *row,
                                        const hearth_fleet_measure *m) {
    hearth_status st = HEARTH_OK;
    row->seed = o->seed;
    row->loss = m->mean;
    row->loss_p10 = m->p10;
    row->loss_p90 = m->p90;
    st = hearth_fleet_metric_json(&o->buf[HEARTH_FLEET_OUT_METRICS], row);
    if (st == HEARTH_OK)
        st = hearth_fleet_metric_csv(&o->buf[HEARTH_FLEET_OUT_CSV], row);
    for (size_t i = 0; i < m->n && st == HEARTH_OK; i++) {
        hearth_fleet_device_row d = {o->seed, row->round, row->split,
                                     {0},     m->loss[i], m->tokens[i]};
        if (!isfinite(m->loss[i])) continue;
        copy_name(d.device, lab->people->person[i].name);
        st = hearth_fleet_device_json(&o->buf[HEARTH_FLEET_OUT_DEVICES], &d);
    }
    return st;
}

hearth_status hearth_fleet_output_baseline(
    hearth_fleet_output *o, const hearth_fleet_lab *lab,
    hearth_fleet_method method, hearth_fleet_split split, uint64_t step,
    const hearth_fleet_measure *m, bool people) {
    const hearth_fleet_baseline_row row = {o->seed, method, split, step,
                                           m->mean, m->p10, m->p90};
    hearth_status st =
        hearth_fleet_baseline_json(&o->buf[HEARTH_FLEET_OUT_BASELINES], &row);
    for (size_t i = 0; people && i < m->n && st == HEARTH_OK; i++) {
        hearth_fleet_baseline_device d = {o->seed, method,     split,
                                          {0},     m->loss[i], m->tokens[i]};
        if (!isfinite(m->loss[i])) continue;
        copy_name(d.device, lab->people->person[i].name);
        st = hearth_fleet_baseline_device_json(
            &o->buf[HEARTH_FLEET_OUT_BASELINE_DEVICES], &d);
    }
    return st;
}

hearth_status hearth_fleet_output_write(const hearth_fleet_output *o,
                                        const char *dir, hearth_error *err) {
    for (int i = 0; i < HEARTH_FLEET_N_OUT; i++) {
        char path[1024];
        hearth_status st = hearth_file_join(path, sizeof(path), dir, NAMES[i]);
        if (st != HEARTH_OK)
            return hearth_error_set(err, st, "%s: too long a path; move it",
                                    dir);
        st = hearth_file_write(path, hearth_buf_str(&o->buf[i]), o->buf[i].n,
                               0644, err);
        if (st != HEARTH_OK) return st;
    }
    return HEARTH_OK;
}

hearth_status hearth_fleet_output_join(const char *dir, const char *const *from,
                                       size_t n, const hearth_alloc *al,
                                       hearth_error *err) {
    hearth_status st = HEARTH_OK;
    for (int i = 0; i < HEARTH_FLEET_N_OUT && st == HEARTH_OK; i++) {
        char path[1024];
        hearth_buf b = HEARTH_BUF_INIT(al);
        if (i == HEARTH_FLEET_OUT_CSV) st = hearth_fleet_metric_csv_header(&b);
        for (size_t k = 0; k < n && st == HEARTH_OK; k++) {
            st = hearth_file_join(path, sizeof(path), from[k], NAMES[i]);
            if (st == HEARTH_OK)
                st = hearth_file_read(&b, path, MAX_BYTES, err);
        }
        if (st == HEARTH_OK)
            st = hearth_file_join(path, sizeof(path), dir, NAMES[i]);
        if (st == HEARTH_OK)
            st = hearth_file_write(path, hearth_buf_str(&b), b.n, 0644, err);
        hearth_buf_free(&b);
    }
    return st;
}

hearth_status hearth_fleet_output_put(const char *dir, const char *name,
                                      const hearth_buf *b, hearth_error *err) {
    char path[1024];
    hearth_status st = b->failed ? HEARTH_ENOMEM : HEARTH_OK;
    if (st == HEARTH_OK) st = hearth_file_join(path, sizeof(path), dir, name);
    if (st != HEARTH_OK)
        return hearth_error_set(err, st, "%s/%s: cannot be written", dir, name);
    return hearth_file_write(path, hearth_buf_str(b), b->n, 0644, err);
}

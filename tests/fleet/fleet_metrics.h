/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_metrics.h - the files of a run directory.
 *
 *   metrics.jsonl, .csv   one row per (seed, round, split), the federated run
 *   devices.jsonl         seed, round, split, device, loss, tokens
 *   baselines.jsonl       seed, method, split, step, loss, loss_p10, loss_p90
 *   baseline_devices.jsonl  seed, method, split, device, loss, tokens
 *
 * Rounds count from 1; round 0 is the model before any.  Losses are nats a
 * supervised token: a device's is the mean over its tokens, a row's the mean
 * over devices, p10 and p90 over devices.  A field that has no value is null in
 * JSON and empty in CSV.  The three fields of a coordinator's own noise are in
 * the JSON of runs that have it, nowhere else.
 *
 * Threads: one writer at a time.
 * Memory:  a row at a time; readers hold all rows.
 */
#ifndef HEARTH_TESTS_FLEET_METRICS_H
#define HEARTH_TESTS_FLEET_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include "common/alloc.h"
#include "common/buf.h"
#include "common/error.h"
#include "common/status.h"

#define HEARTH_FLEET_MAX_ROWS ((size_t)1 << 22)

/* What was measured on: the reported hold-out, people who never took part, or
 * the devices' own hold-out by record id (the split to tune on). */
typedef enum {
    HEARTH_FLEET_HOLDOUT,
    HEARTH_FLEET_UNSEEN,
    HEARTH_FLEET_VALID,
    HEARTH_FLEET_N_SPLITS
} hearth_fleet_split;

typedef struct {
    uint64_t seed, round;
    hearth_fleet_split split;
    double loss, loss_p10, loss_p90; /* NaN: not measured in this round */
    uint64_t devices_invited, devices_accepted, devices_late, devices_failed;
    uint64_t bytes_up, bytes_down;
    double virtual_seconds, wall_seconds;
    double clip_fraction; /* of the accepted deltas; NaN: none */
    double noise_to_signal, epsilon_coordinator,
        epsilon_release; /* NaN: none */
    /* With the coordinator's own noise on the release (0: there is none):
     * epsilon_release of the devices' noise alone, of its own alone, and the
     * length of its own on this round's mean, in clips.  An infinite one is
     * written as none. */
    double epsilon_release_devices, epsilon_release_server,
        noise_to_signal_server;
} hearth_fleet_metric;

typedef struct {
    uint64_t seed, round;
    hearth_fleet_split split;
    char device[64];
    double loss;
    uint64_t tokens;
} hearth_fleet_device_row;

/* Baselines: the model alone, each device alone, all records in one place, and
 * the same noise on zero deltas. */
typedef enum {
    HEARTH_FLEET_BASE,
    HEARTH_FLEET_LOCAL,
    HEARTH_FLEET_CENTRAL,
    HEARTH_FLEET_CONTROL,
    HEARTH_FLEET_FEDERATED, /* used in tables; never in baselines.jsonl */
    HEARTH_FLEET_N_METHODS
} hearth_fleet_method;

typedef struct {
    uint64_t seed;
    hearth_fleet_method method;
    hearth_fleet_split split;
    uint64_t step; /* central: optimizer step; control: round; else 0 */
    double loss, loss_p10, loss_p90;
} hearth_fleet_baseline_row;

typedef struct {
    uint64_t seed;
    hearth_fleet_method method;
    hearth_fleet_split split;
    char device[64];
    double loss;
    uint64_t tokens;
} hearth_fleet_baseline_device;

const char *hearth_fleet_split_name(hearth_fleet_split s);
const char *hearth_fleet_method_name(hearth_fleet_method m);

/* Append one row, newline included. */
hearth_status hearth_fleet_metric_json(hearth_buf *b,
                                       const hearth_fleet_metric *m);
hearth_status hearth_fleet_metric_csv(hearth_buf *b,
                                      const hearth_fleet_metric *m);
hearth_status hearth_fleet_metric_csv_header(hearth_buf *b);
hearth_status hearth_fleet_device_json(hearth_buf *b,
                                       const hearth_fleet_device_row *r);
hearth_status hearth_fleet_baseline_json(hearth_buf *b,
                                         const hearth_fleet_baseline_row *r);
hearth_status
hearth_fleet_baseline_device_json(hearth_buf *b,
                                  const hearth_fleet_baseline_device *r);

/* Everything a run directory holds, read back. */
typedef struct {
    hearth_fleet_metric *metric;
    size_t n_metrics;
    hearth_fleet_device_row *device;
    size_t n_devices;
    hearth_fleet_baseline_row *baseline;
    size_t n_baselines;
    hearth_fleet_baseline_device *baseline_device;
    size_t n_baseline_devices;
    const hearth_alloc *al;
} hearth_fleet_results;

/* Read the four files of dir (the baselines may be absent).
 * HEARTH_ENOTFOUND (no metrics.jsonl), HEARTH_EFORMAT (file:line, field),
 * HEARTH_ETOOBIG, HEARTH_EIO, HEARTH_ENOMEM; *out is empty then. */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_results_load(hearth_fleet_results *out,
                                        const char *dir, const hearth_alloc *al,
                                        hearth_error *err);
void hearth_fleet_results_free(hearth_fleet_results *r);

#endif /* HEARTH_TESTS_FLEET_METRICS_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_scenario.h - a scenario file, read, checked, written back.
 *
 * Data flow:  FILE (+ --set) -> [fleet_scenario] -> records, runner, report
 *
 * A path that begins with $NAME or ${NAME} has that variable's value put in; any
 * other relative path is taken from the folder of the scenario file.
 *
 *     hearth_fleet_scenario *sc;
 *     st = hearth_fleet_scenario_load(&sc, path, sets, n_sets, al, err);
 *     hearth_fleet_scenario_free(sc);
 *
 * Threads: immutable after load.   Memory: one block from al.
 */
#ifndef HEARTH_TESTS_FLEET_SCENARIO_H
#define HEARTH_TESTS_FLEET_SCENARIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/alloc.h"
#include "common/buf.h"
#include "common/error.h"
#include "common/ini.h"
#include "common/status.h"

#define HEARTH_FLEET_MAX_SEEDS   64
#define HEARTH_FLEET_MAX_CLASSES 16
#define HEARTH_FLEET_MAX_DEVICES 4096

typedef enum {
    HEARTH_FLEET_FORM_TEXT,    /* strings become {"text"} records */
    HEARTH_FLEET_FORM_RECORDS, /* lines are records already */
    HEARTH_FLEET_FORM_TEMPLATE /* CSV rows through a template */
} hearth_fleet_form;

typedef enum { HEARTH_FLEET_BY_FIELD, HEARTH_FLEET_IID } hearth_fleet_partition;

typedef enum {
    HEARTH_FLEET_HOLDOUT_LAST, /* the last share of each person's records */
    HEARTH_FLEET_HOLDOUT_HASH, /* by SHA-256 of the record */
    HEARTH_FLEET_HOLDOUT_NONE  /* only the unseen are measured */
} hearth_fleet_holdout;

typedef enum {
    HEARTH_FLEET_PRIVACY_NONE, /* seam: zero noise; marked not_private */
    HEARTH_FLEET_PRIVACY_LOCAL
} hearth_fleet_privacy;

/* One class of virtual devices. */
typedef struct {
    char name[32];
    double share;             /* of the devices; shares are normalised */
    double tokens_per_second; /* trained, virtual */
    double up_kbps, down_kbps;
    double dropout; /* chance that it vanishes in a round, 0..1 */
} hearth_fleet_class;

typedef struct {
    /* [run] */
    char name[64];
    uint64_t seed[HEARTH_FLEET_MAX_SEEDS];
    size_t n_seeds;
    uint32_t rounds, jobs, threads, eval_every;
    /* [model] */
    char model_path[1024], targets[256], rule[16];
    uint32_t rank, last_layers; /* last_layers 0 = all */
    double alpha;
    int64_t a_seed; /* number of A; -1 = drawn from the run's seed */
    bool rslora;
    /* [records] */
    char records_path[1024], template_path[1024];
    char field[64];      /* of partition = field:NAME */
    char text_field[64]; /* where the strings are, form = text */
    char order[64];      /* CSV column or JSON field to sort by; "" = file */
    hearth_fleet_form form;
    hearth_fleet_partition partition;
    hearth_fleet_holdout holdout;
    double holdout_share;
    uint32_t devices, min_records, unseen_devices; /* devices 0 = all */
    double unseen_share;   /* > 0: instead of unseen_devices */
    uint32_t unseen_every; /* > 0: instead, each n-th person, before devices */
    uint32_t piece;        /* > 0: so many records of a person are a device */
    /* [train] */
    uint32_t steps, epochs; /* exactly one of them is > 0 */
    uint32_t batch, seq, warmup;
    double lr, weight_decay;
    char schedule[16], loss[8];
    double server_lr;
    /* [cohort] */
    uint32_t count_min, count_max;
    double share_min, share_max; /* > 0: instead, of the devices there are */
    int64_t time_min_ms, time_max_ms;
    double over_select;
    /* [privacy] */
    hearth_fleet_privacy privacy;
    double clip, noise, delta; /* noise = z = sigma / Delta2 */
    double clip_quantile;      /* that the clip follows; 0: it stays */
    double clip_rate, clip_share;
    uint32_t clip_freeze; /* rounds after which it stays; 0: never */
    double epsilon;       /* > 0: noise is chosen for it (fleet_run.c) */
    double release_noise; /* > 0: the coordinator adds noise of its own to the
                             releases, on top (fleet_release.h); z of all */
    uint32_t release_buffers; /* that correlate it; 0: independent */
    uint32_t release_separation, release_participations;
    /* [device.NAME] */
    hearth_fleet_class device_class[HEARTH_FLEET_MAX_CLASSES];
    size_t n_classes;
    /* [baseline] */
    bool central, local, base, control;
    uint32_t central_batch, central_epochs, central_patience, local_steps;
    double central_lr, central_tolerance, local_lr;
    bool central_trains_a;
} hearth_fleet_scenario;

/* Read path; sets [n_sets] are "section.key=value" and win over the file.
 *
 * Returns HEARTH_OK
 *         HEARTH_EINVAL     a set that is not section.key=value
 *         HEARTH_ENOTFOUND  no file, a required key or variable is missing
 *         HEARTH_EFORMAT    unknown key (with a guess), bad value; file:line
 *         HEARTH_EUNSUPPORTED  a setting of CLI.md that a later version has
 *         HEARTH_ETOOBIG, HEARTH_EIO, HEARTH_ENOMEM */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_scenario_load(hearth_fleet_scenario **out,
                                         const char *path,
                                         const char *const *sets, size_t n_sets,
                                         const hearth_alloc *al,
                                         hearth_error *err);

/* The same from text; dir is the folder that relative paths start from. */
HEARTH_MUST_CHECK hearth_status hearth_fleet_scenario_parse(
    hearth_fleet_scenario **out, const char *name, const char *dir,
    const char *text, size_t n, const char *const *sets, size_t n_sets,
    const hearth_alloc *al, hearth_error *err);

void hearth_fleet_scenario_free(hearth_fleet_scenario *sc,
                                const hearth_alloc *al);

/* Append the scenario with every default written out.  Reading it back gives
 * the same scenario. */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_scenario_write(hearth_buf *b,
                                          const hearth_fleet_scenario *sc);

/* The keys a scenario file may hold, those of its sweeps too (fleet_sweep.h
 * reads them, here they are passed over). */
const hearth_ini_key *hearth_fleet_scenario_keys(size_t *n);

/* The commented scenario that `hearth-fleet new` writes.  Static. */
const char *hearth_fleet_scenario_example(void);

#endif /* HEARTH_TESTS_FLEET_SCENARIO_H */

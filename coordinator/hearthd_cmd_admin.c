/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/hearthd_cmd_admin.c - `hearthd status` and `hearthd backup`. */
#include <stdio.h>
#include <string.h>

#include "common/db.h"
#include "common/file.h"
#include "coordinator/coordinator.h"
#include "coordinator/hearthd_cmd.h"
#include "coordinator/registry.h"
#include "coordinator/round.h"
#include "privacy/accountant_zcdp.h"
#include "privacy/epsilons.h"

/* ---- status ------------------------------------------------------------ */

static hearth_status count_phase(hearthd_state *s, const char *task,
                                 uint32_t phase, uint64_t *n) {
    return hearth_coord_store_count_rounds(s->store, task, phase, n, &s->err);
}

typedef struct {
    hearthd_args *a;
    hearthd_state *s;
    size_t n;
} status_walk;

/* What is planned, and what has been spent so far. */
static hearth_status show_task(void *ud, const hearth_task_row *row) {
    static hearth_task t;
    status_walk *w = ud;
    hearthd_state *s = w->s;
    hearth_buf text = HEARTH_BUF_INIT(NULL);
    hearth_release_row rel;
    hearth_task_row own;
    uint64_t released = 0, failed = 0, open = 0;
    char coordinator[24], release[24];
    w->n++;
    hearth_status st =
        hearth_coord_store_task(s->store, row->name, &own, &text, &s->err);
    if (st == HEARTH_OK)
        st = hearth_task_parse(&t, row->name, hearth_buf_str(&text), text.n,
                               row->a_seed, NULL, &s->err);
    hearth_buf_free(&text);
    if (st == HEARTH_OK)
        st = hearth_registry_task_state(s->store, &t, 0, NULL, &s->err);
    if (st == HEARTH_OK)
        st = count_phase(s, row->name, HEARTH_ROUND_RELEASED, &released);
    if (st == HEARTH_OK)
        st = count_phase(s, row->name, HEARTH_ROUND_FAILED, &failed);
    if (st == HEARTH_OK)
        st = count_phase(s, row->name, HEARTH_ROUND_OPEN, &open);
    if (st == HEARTH_OK)
        st = hearth_coord_store_release(s->store, row->name, 0, &rel, NULL,
                                        NULL, &s->err);
    if (st != HEARTH_OK) return st;
    hearthd_say(
        w->a,
        "task %s%s: %llu of %u rounds released, %llu failed, %s; newest "
        "release %llu",
        row->name, row->state == HEARTH_TASK_PAUSED ? " (paused)" : "",
        (unsigned long long)released, t.rounds, (unsigned long long)failed,
        open ? "one open" : "none open", (unsigned long long)rel.sequence);
    hearthd_say(w->a,
                "  clip %g%s, noise-to-signal %.3g; over all %u rounds "
                "epsilon_coordinator %s, epsilon_release %s at delta %g (%s, "
                "unit %s, %u participations)",
                t.privacy.clip, t.adapt.on ? " (it follows the norms)" : "",
                t.privacy.noise_to_signal, t.rounds,
                hearthd_epsilon(coordinator, t.privacy.epsilon_coordinator),
                hearthd_epsilon(release, t.privacy.epsilon_release),
                t.privacy.delta, hearth_dp_relation_name(HEARTH_DP_REPLACE_ONE),
                HEARTH_PRIVACY_UNIT, t.rounds);
    hearthd_event(
        w->a, "status", "task", 's', row->name, "rounds", 'i',
        (long long)t.rounds, "released", 'i', (long long)released, "failed",
        'i', (long long)failed, "open", 'i', (long long)open, "sequence", 'i',
        (long long)rel.sequence, "clip", 'f', t.privacy.clip, "noise_to_signal",
        'f', t.privacy.noise_to_signal, "epsilon_coordinator", 'f',
        t.privacy.epsilon_coordinator, "epsilon_release", 'f',
        t.privacy.epsilon_release, "delta", 'f', t.privacy.delta, "relation",
        's', hearth_dp_relation_name(HEARTH_DP_REPLACE_ONE), "unit", 's',
        HEARTH_PRIVACY_UNIT, "participations", 'i', (long long)t.rounds,
        (const char *)NULL);
    return HEARTH_OK;
}

static int status(hearthd_args *a) {
    static hearthd_state s;
    status_walk w = {a, &s, 0};
    hearth_status st = hearthd_open_store(&s, a);
    if (st == HEARTH_OK)
        st = hearth_coord_store_tasks(s.store, show_task, &w, &s.err);
    if (st == HEARTH_OK && w.n == 0)
        hearthd_say(a, "No task yet: hearthd task create -c %s -f TASK.ini",
                    a->config);
    return hearthd_finish(a, &s, st);
}

/* ---- backup ------------------------------------------------------------ */

static hearth_status copy_file(const char *from, const char *dir,
                               const char *name, hearth_error *err) {
    char path[HEARTH_SERVER_PATH_CAP];
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    hearth_status st = hearth_file_join(path, sizeof(path), dir, name);
    if (st == HEARTH_OK)
        st = hearth_file_read(&b, from, (size_t)256 << 20, err);
    if (st == HEARTH_OK) st = hearth_file_write(path, b.v, b.n, 0600, err);
    hearth_buf_free(&b);
    return st;
}

typedef struct {
    hearthd_state *s;
    char from[HEARTH_SERVER_PATH_CAP], to[HEARTH_SERVER_PATH_CAP];
} backup_walk;

static hearth_status copy_release(void *ud, const hearth_release_row *r) {
    static char path[HEARTH_SERVER_PATH_CAP];
    backup_walk *w = ud;
    hearth_error *err = &w->s->err;
    hearth_status st = hearth_registry_path(path, sizeof(path), w->s->cfg.state,
                                            r->content_sha256);
    const char *name = strrchr(path, '/');
    if (st != HEARTH_OK || !name) return HEARTH_ETOOBIG;
    return copy_file(path, w->to, name + 1, err);
}

static hearth_status copy_releases(void *ud, const hearth_task_row *row) {
    backup_walk *w = ud;
    return hearth_coord_store_releases(w->s->store, row->name, copy_release, w,
                                       &w->s->err);
}

/* Databases first, then the immutable files that they name. */
static hearth_status run_backup(hearthd_state *s, const char *out,
                                backup_walk *w) {
    hearth_error *err = &s->err;
    char path[HEARTH_SERVER_PATH_CAP], state[HEARTH_SERVER_PATH_CAP];
    hearth_status st =
        hearth_file_join(w->to, sizeof(w->to), out, "state/releases");
    if (st == HEARTH_OK) st = hearth_file_mkdirs(w->to, err);
    if (st == HEARTH_OK)
        st = hearth_file_join(path, sizeof(path), out, "devices.db");
    if (st == HEARTH_OK)
        st = hearth_auth_store_open(&s->devices, s->cfg.devices, NULL, err);
    if (st == HEARTH_OK) st = hearth_auth_store_backup(s->devices, path, err);
    if (st == HEARTH_OK)
        st = hearth_file_join(state, sizeof(state), out, "state");
    if (st == HEARTH_OK) st = hearth_coord_db_path(path, sizeof(path), state);
    if (st == HEARTH_OK)
        st = hearth_coord_db_path(w->from, sizeof(w->from), s->cfg.state);
    if (st == HEARTH_OK) {
        hearth_db *db = NULL;
        st = hearth_db_open(&db, w->from, NULL, err);
        if (st == HEARTH_OK) st = hearth_db_backup(db, path, err);
        hearth_db_close(db);
    }
    if (st == HEARTH_OK)
        st = hearth_coord_store_tasks(s->store, copy_releases, w, err);
    return st;
}

static int backup(hearthd_args *a) {
    static hearthd_state s;
    static backup_walk w;
    const char *out = hearthd_get(a, "--out", NULL);
    if (!out) return hearthd_usage(a, "--out DIR is needed");
    if (hearth_file_exists(out))
        return hearthd_usage(a, "%s is there already; name a new folder", out);
    hearth_status st = hearthd_open_store(&s, a);
    w.s = &s;
    if (st == HEARTH_OK) st = run_backup(&s, out, &w);
    if (st == HEARTH_OK) {
        hearthd_say(a, "Wrote %s: devices, tasks, rounds and releases.", out);
        hearthd_say(a, "Not in it: keys (copy the keys folder, and keep the "
                       "root key elsewhere) and uploads of an open round.");
        hearthd_event(a, "backup", "out", 's', out, (const char *)NULL);
    }
    return hearthd_finish(a, &s, st);
}

hearthd_command hearthd_commands_admin[] = {
    {.name = "status",
     .words = "",
     .what = "Show tasks, rounds, both epsilons and the noise-to-signal ratio.",
     .example = "status -c coord/hearthd.ini",
     .run = status},
    {.name = "backup",
     .words = "",
     .what = "Copy devices, tasks, rounds and releases to a new folder.",
     .example = "backup -c coord/hearthd.ini --out backup-2026-11-21",
     .option = {{"--out", "DIR", "folder to write", NULL}},
     .run = backup},
    {.name = NULL},
};

/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/privacy_show.c - the contract is in privacy_show.h. */
#include "client/cli/privacy_show.h"

#include <string.h>

#ifdef HEARTH_WITH_SQLITE

#include "client/delta/ledger_store.h"
#include "client/device/policy_file.h"
#include "client/personal/personal_store.h"
#include "common/buf.h"
#include "common/file.h"
#include "privacy/accountant_zcdp.h"
#include "privacy/epsilons.h"
#include "proto/signed.h"

typedef struct {
    hearth_cli *cli;
    hearth_ledger_store *ls;
    double delta;
    uint64_t n_charges, n_kept;
    hearth_buf tasks; /* names of those with a charge, each once, with NUL */
} listing;

/* The next name of l->tasks after prev; NULL: the first.  NULL at the end. */
static const char *next_task(const listing *l, const char *prev) {
    const char *names = (const char *)l->tasks.v;
    const char *next = prev ? prev + strlen(prev) + 1 : names;
    return l->tasks.n && next < names + l->tasks.n ? next : NULL;
}

static hearth_status note_task(listing *l, const char *name) {
    for (const char *t = NULL; (t = next_task(l, t)) != NULL;)
        if (strcmp(t, name) == 0) return HEARTH_OK;
    return hearth_buf_append(&l->tasks, name, strlen(name) + 1);
}

/* What became of a charge that was not taken back.  By its own row: a round
 * whose offer changed after it was sent has two. */
static const char *fate(listing *l, const hearth_ledger_row *r) {
    hearth_prepared_state s;
    if (hearth_ledger_store_row_state(l->ls, r->seq, &s, NULL) != HEARTH_OK)
        return "sent";
    if (s == HEARTH_PREPARED_READY) return "not sent yet";
    return s == HEARTH_PREPARED_SENDING ? "being sent" : "sent";
}

static hearth_status show_row(void *ud, const hearth_ledger_row *r,
                              bool voided) {
    listing *l = ud;
    if (r->kind != HEARTH_LEDGER_CHARGE) return HEARTH_OK;
    const char *what = voided ? "taken back, nothing was sent" : fate(l, r);
    double epsilon = hearth_zcdp_epsilon(r->rho, l->delta);
    char when[21];
    hearth_clock_format(when, r->time_ms);
    l->n_charges++;
    l->n_kept += !voided;
    hearth_event_begin(l->cli, "charge");
    hearth_event_u64(l->cli, "row", r->seq);
    hearth_event_str(l->cli, "time", when);
    hearth_event_str(l->cli, "task", r->task);
    hearth_event_str(l->cli, "coordinator", r->coordinator);
    hearth_event_u64(l->cli, "round", r->round);
    hearth_event_u64(l->cli, "numbers", r->d);
    hearth_event_f64(l->cli, "rho", r->rho);
    hearth_event_f64(l->cli, "noise_multiplier", r->z);
    hearth_event_f64(l->cli, "epsilon_coordinator", epsilon);
    hearth_event_f64(l->cli, "delta", l->delta);
    hearth_event_str(l->cli, "relation",
                     hearth_dp_relation_name(HEARTH_DP_REPLACE_ONE));
    hearth_event_str(l->cli, "unit", HEARTH_PRIVACY_UNIT);
    hearth_event_u64(l->cli, "participations", 1);
    hearth_event_bool(l->cli, "voided", voided);
    hearth_event_str(l->cli, "state", what);
    hearth_event_end(l->cli);
    hearth_cli_say(l->cli,
                   "  %s  %s round %llu to %s: %llu noised numbers, z %.4g, "
                   "epsilon_coordinator %.4g (%s)",
                   when, r->task, (unsigned long long)r->round,
                   r->coordinator[0] ? r->coordinator : "the coordinator",
                   (unsigned long long)r->d, r->z, epsilon, what);
    return voided ? HEARTH_OK : note_task(l, r->task);
}

static void budget(listing *l, const char *name, const char *words, double rho,
                   double cap, uint64_t n) {
    double epsilon = hearth_zcdp_epsilon(rho, l->delta);
    hearth_event_begin(l->cli, "budget");
    hearth_event_str(l->cli, "window", name);
    hearth_event_f64(l->cli, "epsilon_coordinator", epsilon);
    hearth_event_f64(l->cli, "cap", cap);
    hearth_event_f64(l->cli, "rho", rho);
    hearth_event_u64(l->cli, "participations", n);
    hearth_event_f64(l->cli, "delta", l->delta);
    hearth_event_str(l->cli, "relation",
                     hearth_dp_relation_name(HEARTH_DP_REPLACE_ONE));
    hearth_event_str(l->cli, "unit", HEARTH_PRIVACY_UNIT);
    hearth_event_end(l->cli);
    hearth_cli_say(
        l->cli, "  %-14s %.4g of %.4g spent (%.0f %%), %llu participations",
        words, epsilon, cap, 100 * epsilon / cap, (unsigned long long)n);
}

static hearth_status show_budgets(listing *l, const hearth_ledger_rules *rules,
                                  hearth_error *err) {
    hearth_ledger_sums s;
    hearth_status st = hearth_ledger_store_sums(l->ls, "-", &s, err);
    if (st != HEARTH_OK) return st;
    hearth_cli_say(l->cli,
                   "Budget of epsilon_coordinator at delta %g (%s; the unit is "
                   "everything this device holds):",
                   l->delta, hearth_dp_relation_name(HEARTH_DP_REPLACE_ONE));
    budget(l, "30 days", "last 30 days", s.rho_window, rules->epsilon_window,
           s.n_window);
    budget(l, "lifetime", "all time", s.rho_lifetime, rules->epsilon_lifetime,
           s.n_lifetime);
    for (const char *t = NULL; st == HEARTH_OK && (t = next_task(l, t));) {
        st = hearth_ledger_store_sums(l->ls, t, &s, err);
        if (st == HEARTH_OK)
            budget(l, t, t, s.rho_task, rules->epsilon_task, s.n_task);
    }
    return st;
}

/* One installed release, by its manifest, which was verified when it came. */
static hearth_status show_release(hearth_cli *cli, hearth_db *db,
                                  const char *task, hearth_error *err) {
    static hearth_release m;
    static hearth_keyset ks; /* of the key that the manifest names */
    hearth_buf manifest = HEARTH_BUF_INIT(NULL),
               payload = HEARTH_BUF_INIT(NULL);
    const hearth_wire_privacy *p = &m.privacy;
    hearth_status st =
        hearth_personal_store_get(db, task, &manifest, &payload, err);
    ks.n_release_keys = 1;
    if (st == HEARTH_OK)
        st = hearth_signed_claimed_key(manifest.v, manifest.n,
                                       ks.release_keys[0], err);
    if (st == HEARTH_OK)
        st = hearth_release_open(&m, manifest.v, manifest.n, &ks, 0, err);
    hearth_buf_free(&manifest);
    hearth_buf_free(&payload);
    if (st != HEARTH_OK || m.rounds == 0) return st;
    const char *relation = hearth_dp_relation_name(HEARTH_DP_REPLACE_ONE);
    hearth_event_begin(cli, "release_privacy");
    hearth_event_str(cli, "task", m.task);
    hearth_event_u64(cli, "sequence", m.sequence);
    hearth_event_u64(cli, "devices", m.devices);
    hearth_event_f64(cli, "epsilon_release", p->epsilon_release);
    hearth_event_f64(cli, "epsilon_coordinator", p->epsilon_coordinator);
    hearth_event_f64(cli, "delta", p->delta);
    hearth_event_str(cli, "relation", relation);
    hearth_event_str(cli, "unit", HEARTH_PRIVACY_UNIT);
    hearth_event_u64(cli, "participations", m.rounds);
    hearth_event_f64(cli, "noise_to_signal", p->noise_to_signal);
    hearth_event_end(cli);
    hearth_cli_say(cli,
                   "  %s release %llu, %u rounds, %u devices in the last: "
                   "epsilon_release %.4g, epsilon_coordinator %.4g (delta %g, "
                   "%s, unit %s, %u participations, noise-to-signal %.3g)",
                   m.task, (unsigned long long)m.sequence, m.rounds, m.devices,
                   p->epsilon_release, p->epsilon_coordinator, p->delta,
                   relation, HEARTH_PRIVACY_UNIT, m.rounds, p->noise_to_signal);
    return HEARTH_OK;
}

/* What others can learn from the releases that lie here. */
static hearth_status show_releases(hearth_cli *cli, hearth_db *db,
                                   hearth_error *err) {
    static hearth_checkin_task installed[HEARTH_PROTO_MAX_TASKS];
    uint32_t n = 0;
    hearth_status st = hearth_personal_store_init(db, err);
    if (st == HEARTH_OK)
        st = hearth_personal_store_list(db, installed, HEARTH_PROTO_MAX_TASKS,
                                        &n, err);
    if (st != HEARTH_OK || n == 0) return st;
    hearth_cli_say(cli, "By the coordinator's word, a device that took part in "
                        "all rounds of a release on this device shows so much "
                        "of itself to whoever holds it:");
    for (uint32_t i = 0; i < n && st == HEARTH_OK; i++)
        st = show_release(cli, db, installed[i].task, err);
    return st;
}

static hearth_status show_ledger(hearth_cli *cli, hearth_db *db,
                                 const hearth_ledger_rules *rules,
                                 hearth_error *err) {
    listing l = {
        .cli = cli, .delta = rules->delta, .tasks = HEARTH_BUF_INIT(NULL)};
    hearth_status st = hearth_ledger_store_open(
        &l.ls, db, rules, NULL, hearth_clock_system(), NULL, err);
    if (st == HEARTH_OK) {
        hearth_cli_say(cli,
                       "What this device has given, by its own ledger (each "
                       "line is one participation; epsilon_coordinator at "
                       "delta %g, %s, unit %s):",
                       l.delta, hearth_dp_relation_name(HEARTH_DP_REPLACE_ONE),
                       HEARTH_PRIVACY_UNIT);
        st = hearth_ledger_store_each(l.ls, show_row, &l, err);
    }
    if (st == HEARTH_OK && l.n_charges == 0)
        hearth_cli_say(cli, "  nothing yet");
    if (st == HEARTH_OK) st = show_budgets(&l, rules, err);
    if (st == HEARTH_OK) st = show_releases(cli, db, err);
    if (st == HEARTH_OK && l.n_kept)
        hearth_cli_say(cli,
                       "Records never left. Each number was clipped and "
                       "noised before it did. What was sent cannot be taken "
                       "back, and its charge stays when records are "
                       "forgotten.");
    hearth_buf_free(&l.tasks);
    hearth_ledger_store_close(l.ls);
    return st;
}

static hearth_status show(hearth_cli *cli, const char *dir, hearth_error *err) {
    char path[1100];
    hearth_db *db = NULL;
    hearth_policy policy;
    hearth_status st = hearth_file_join(path, sizeof(path), dir, "client.db");
    if (st == HEARTH_OK && !hearth_file_exists(path))
        return hearth_error_set(err, HEARTH_ENOTFOUND,
                                "no state in %.150s; join a coordinator with "
                                "`hearth init`",
                                dir);
    if (st == HEARTH_OK) st = hearth_policy_file_of_state(&policy, dir, err);
    if (st == HEARTH_OK) st = hearth_db_open(&db, path, NULL, err);
    if (st == HEARTH_OK) st = show_ledger(cli, db, &policy.ledger, err);
    hearth_db_close(db);
    return st;
}

#else

static hearth_status show(hearth_cli *cli, const char *dir, hearth_error *err) {
    (void)cli, (void)dir;
    return hearth_error_set(err, HEARTH_EUNSUPPORTED,
                            "this build has no ledger; build it with SQLite");
}

#endif

int hearth_cli_privacy_show(hearth_cli *cli, int argc, char **argv) {
    return hearth_cli_show_state(cli, argc, argv, "privacy show",
                                 "what this device has given, and what is left",
                                 "hearth privacy", show);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/privacy_show.c - the contract is in privacy_show.h. */
#include "client/cli/privacy_show.h"

#include <string.h>

#ifdef HEARTH_WITH_SQLITE

#include "client/delta/ledger_store.h"
#include "client/device/policy_file.h"
#include "common/file.h"
#include "privacy/accountant_zcdp.h"
#include "privacy/epsilons.h"

#define MAX_TASKS 32

typedef struct {
    hearth_cli *cli;
    hearth_ledger_store *ls;
    double delta;
    uint64_t n_charges, n_voided, n_kept;
    size_t n_tasks; /* distinct ones with a charge, up to MAX_TASKS */
    char task[MAX_TASKS][HEARTH_LEDGER_NAME_MAX];
} listing;

static void note_task(listing *l, const char *name) {
    for (size_t i = 0; i < l->n_tasks; i++)
        if (strcmp(l->task[i], name) == 0) return;
    if (l->n_tasks == MAX_TASKS) return;
    memcpy(l->task[l->n_tasks++], name, strlen(name) + 1);
}

/* What became of a charge that was not taken back. */
static const char *fate(listing *l, const hearth_ledger_row *r) {
    hearth_round_key key;
    hearth_prepared_state s;
    if (hearth_round_key_init(&key, r->task, r->round, r->cohort, r->stage) !=
            HEARTH_OK ||
        hearth_ledger_store_state(l->ls, &key, &s, NULL) != HEARTH_OK)
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
    l->n_voided += voided;
    l->n_kept += !voided;
    if (!voided) note_task(l, r->task);
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
    return HEARTH_OK;
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
    for (size_t i = 0; i < l->n_tasks && st == HEARTH_OK; i++) {
        st = hearth_ledger_store_sums(l->ls, l->task[i], &s, err);
        if (st == HEARTH_OK)
            budget(l, l->task[i], l->task[i], s.rho_task, rules->epsilon_task,
                   s.n_task);
    }
    return st;
}

static hearth_status show_ledger(hearth_cli *cli, hearth_db *db,
                                 const hearth_ledger_rules *rules,
                                 hearth_error *err) {
    listing l = {.cli = cli, .delta = rules->delta};
    hearth_status st = hearth_ledger_store_open(
        &l.ls, db, rules, NULL, hearth_clock_system(), NULL, err);
    if (st == HEARTH_OK) {
        hearth_cli_say(cli, "What this device has given, by its own ledger:");
        st = hearth_ledger_store_each(l.ls, show_row, &l, err);
    }
    if (st == HEARTH_OK && l.n_charges == 0)
        hearth_cli_say(cli, "  nothing yet");
    if (st == HEARTH_OK) st = show_budgets(&l, rules, err);
    if (st == HEARTH_OK && l.n_kept)
        hearth_cli_say(cli,
                       "Records never left. Each number was clipped and "
                       "noised before it did. What was sent cannot be taken "
                       "back, and its charge stays when records are "
                       "forgotten.");
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

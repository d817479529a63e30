/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/records_forget.c - hearth records forget: remove records, all that
 * was trained on them, and say what can not be taken back. */
#include <stdio.h>
#include <string.h>

#include "client/cli/records_bench.h"
#include "client/delta/ledger_store.h"
#include "client/device/policy_file.h"
#include "privacy/accountant_zcdp.h"

/* Charges since a record was added: it may have gone into them. */
typedef struct {
    int64_t since_ms, first_ms, last_ms;
    uint64_t n;
    double rho;
} contributions;

static hearth_status add_row(void *ud, const hearth_ledger_row *row,
                             bool voided) {
    contributions *c = ud;
    if (voided || row->kind != HEARTH_LEDGER_CHARGE ||
        row->time_ms < c->since_ms)
        return HEARTH_OK;
    if (!c->n++) c->first_ms = row->time_ms;
    c->last_ms = row->time_ms;
    c->rho += row->rho;
    return HEARTH_OK;
}

static void print_report(hearth_cli *cli, const hearth_forget_report *r) {
    hearth_event_begin(cli, "forget");
    hearth_event_u64(cli, "records", r->n_records);
    hearth_event_u64(cli, "files", r->n_files);
    hearth_event_u64(cli, "rows", r->n_rows);
    hearth_event_u64(cli, "adapters", r->n_adapters);
    hearth_event_u64(cli, "prepared", r->n_prepared);
    hearth_event_u64(cli, "sent", r->n_sent);
    hearth_event_end(cli);
    hearth_cli_say(
        cli,
        "Forgot %llu record%s; destroyed %llu personal adapters, "
        "%llu prepared deltas, %llu files and %llu rows of "
        "training.",
        (unsigned long long)r->n_records, r->n_records == 1 ? "" : "s",
        (unsigned long long)r->n_adapters, (unsigned long long)r->n_prepared,
        (unsigned long long)r->n_files, (unsigned long long)r->n_rows);
    if (r->n_adapters)
        hearth_cli_say(cli, "The personal adapter will be trained again "
                            "without them.");
}

/* What can not be withdrawn, with dates and epsilon.  It only reads, so the
 * ledger's counter, which is the app's, is not missed. */
static hearth_status print_sent(hearth_cli *cli, hearth_records_bench *b,
                                int64_t since_ms, hearth_error *err) {
    contributions c = {since_ms, 0, 0, 0, 0.0};
    hearth_ledger_store *ls = NULL;
    hearth_policy policy;
    char first[21], last[21];
    hearth_status st = hearth_policy_file_of_state(&policy, b->dir, err);
    if (st == HEARTH_OK)
        st = hearth_ledger_store_open(&ls, b->db, &policy.ledger, NULL,
                                      hearth_clock_system(), NULL, err);
    if (st == HEARTH_OK) st = hearth_ledger_store_each(ls, add_row, &c, err);
    hearth_ledger_store_close(ls);
    if (st != HEARTH_OK || !c.n) return st;
    double epsilon = hearth_zcdp_epsilon(c.rho, policy.ledger.delta);
    hearth_clock_format(first, c.first_ms);
    hearth_clock_format(last, c.last_ms);
    hearth_event_begin(cli, "cannot_withdraw");
    hearth_event_u64(cli, "contributions", c.n);
    hearth_event_i64(cli, "first_ms", c.first_ms);
    hearth_event_i64(cli, "last_ms", c.last_ms);
    hearth_event_f64(cli, "epsilon_coordinator", epsilon);
    hearth_event_f64(cli, "delta", policy.ledger.delta);
    hearth_event_str(cli, "relation", "replace-one");
    hearth_event_str(cli, "unit", "device");
    hearth_event_u64(cli, "participations", c.n);
    hearth_event_end(cli);
    hearth_cli_say(cli,
                   "Not to be withdrawn: %llu noised contributions from %s to "
                   "%s (epsilon_coordinator %.2f at delta %g, replace-one, "
                   "all this device holds).",
                   (unsigned long long)c.n, first, last, epsilon,
                   policy.ledger.delta);
    return HEARTH_OK;
}

#define FEWEST_LETTERS 4

/* The record whose id is text or, alone, begins with it. */
typedef struct {
    const char *text;
    char id[HEARTH_RECORD_MAX_ID + 1];
    uint64_t n;
    bool exact;
} search;

static hearth_status look(void *ud, const hearth_record_info *info,
                          hearth_error *err) {
    search *s = ud;
    size_t n = strlen(s->text);
    (void)err;
    if (s->exact || strncmp(info->id, s->text, n) != 0) return HEARTH_OK;
    s->exact = info->id[n] == '\0';
    if (n < FEWEST_LETTERS && !s->exact) return HEARTH_OK;
    s->n++;
    (void)snprintf(s->id, sizeof(s->id), "%s", info->id);
    return HEARTH_OK;
}

static hearth_status find_record(hearth_records_bench *b, search *s,
                                 hearth_error *err) {
    hearth_status st = hearth_record_store_list(b->rs, look, s, err);
    if (st != HEARTH_OK || s->exact || s->n == 1) return st;
    if (s->n)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "%llu records begin with %.64s; give more of "
                                "the id",
                                (unsigned long long)s->n, s->text);
    return hearth_error_set(err, HEARTH_ENOTFOUND,
                            "no record has this id; see `hearth records list`");
}

int hearth_cli_records_forget(hearth_cli *cli, int argc, char **argv) {
    hearth_records_bench b = {0};
    hearth_cli_list id = {{0}, 0};
    bool all = false;
    const hearth_flag flags[] = {
        HEARTH_RECORDS_STATE_FLAG(b),
        HEARTH_FLAG_BOOL("all", "every record", &all),
    };
    const hearth_usage u = {
        .command = "records forget",
        .summary = "remove a record and everything trained on it",
        .arguments = "ID | --all (the first letters of an ID are enough)",
        .example = "hearth records forget 036668893758",
        .flags = flags,
        .n_flags = 2,
        .positional = &id,
        .min_positional = 0,
        .max_positional = 1,
    };
    hearth_error err = {HEARTH_OK, ""};
    hearth_forget_report r = {0};
    int rc;
    if (!hearth_cli_parse(cli, &u, argc, argv, &rc)) return rc;
    if (all == (id.n == 1))
        return hearth_cli_usage_error(cli, "give either an ID or --all");
    hearth_status st = hearth_records_bench_open(&b, false, &err);
    search s = {.text = all ? "" : id.v[0]};
    if (st == HEARTH_OK && !all) st = find_record(&b, &s, &err);
    if (st == HEARTH_OK)
        st = hearth_record_store_forget(b.rs, all ? NULL : s.id, &r, &err);
    if (st == HEARTH_OK) {
        print_report(cli, &r);
        if (r.n_records) st = print_sent(cli, &b, r.since_ms, &err);
    }
    hearth_records_bench_close(&b);
    return st == HEARTH_OK ? HEARTH_EXIT_OK
                           : hearth_cli_fail(cli, st, &err, NULL);
}

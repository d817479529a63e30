/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/cmd_status.c - hearth status: what this device is doing. */
#include <string.h>

#include "client/api/client_private.h"
#include "client/cli/cli.h"
#include "client/device/policy_file.h"
#include "client/net/sync_store.h"
#include "common/bytes.h"
#include "common/file.h"
#include "privacy/accountant_zcdp.h"
#include "privacy/epsilons.h"

int hearth_cmd_status(hearth_cli *cli, int argc, char **argv);

#define HISTORY 5u /* rounds shown */

static const char *phase_name(hearth_sync_round_phase p) {
    switch (p) {
    case HEARTH_SYNC_ROUND_ACCEPTED: return "under way";
    case HEARTH_SYNC_ROUND_COMMITTED: return "contributed";
    case HEARTH_SYNC_ROUND_GAVE_UP: return "given up";
    case HEARTH_SYNC_ROUND_REFUSED: return "refused";
    }
    return "?";
}

static hearth_status show_round(void *ud, const hearth_sync_round_row *row) {
    hearth_cli *cli = ud;
    char when[21];
    hearth_clock_format(when, row->time_ms);
    hearth_event_begin(cli, "round");
    hearth_event_str(cli, "task", row->task);
    hearth_event_u64(cli, "round", row->round);
    hearth_event_str(cli, "phase", phase_name(row->phase));
    hearth_event_str(cli, "time", when);
    hearth_event_str(cli, "reason", row->reason);
    hearth_event_end(cli);
    hearth_cli_say(cli, "  %s  %s round %llu: %s%s%s", when, row->task,
                   (unsigned long long)row->round, phase_name(row->phase),
                   row->reason[0] ? ": " : "", row->reason);
    return HEARTH_OK;
}

static void show_info(hearth_cli *cli, const hearth_client *c,
                      const hearth_client_info *i,
                      const hearth_sync_session *s) {
    static const char *const phase[] = {"idle", "in a round",
                                        "a prepared delta waits to be sent"};
    char when[21] = "never", next[21] = "now";
    int64_t now = hearth_clock_wall(&c->clock);
    int64_t left = s->not_before_ms - now;
    if (left > s->wait_ms) left = s->wait_ms;
    if (s->checkin_ms) hearth_clock_format(when, s->checkin_ms);
    if (left > 0) hearth_clock_format(next, now + left);
    hearth_event_begin(cli, "status");
    hearth_event_bool(cli, "joined", i->joined != 0);
    hearth_event_str(cli, "server", i->server);
    hearth_event_str(cli, "device", i->device_id);
    hearth_event_str(cli, "base", c->base ? c->base : "");
    hearth_event_u64(cli, "records", i->records);
    hearth_event_str(cli, "task", i->task);
    hearth_event_u64(cli, "sequence", i->sequence);
    hearth_event_str(cli, "phase", phase[i->phase]);
    hearth_event_str(cli, "last_checkin", when);
    hearth_event_str(cli, "next_checkin", next);
    hearth_event_u64(cli, "participations", i->participations);
    hearth_event_f64(cli, "epsilon_coordinator_30_days", i->epsilon_30_days);
    hearth_event_f64(cli, "epsilon_coordinator_lifetime", i->epsilon_lifetime);
    hearth_event_f64(cli, "delta", i->delta);
    hearth_event_str(cli, "relation",
                     hearth_dp_relation_name(HEARTH_DP_REPLACE_ONE));
    hearth_event_str(cli, "unit", HEARTH_PRIVACY_UNIT);
    hearth_event_str(cli, "trouble", s->note);
    hearth_event_end(cli);
    if (i->joined)
        hearth_cli_say(cli, "coordinator   %s (device %s)", i->server,
                       i->device_id);
    else
        hearth_cli_say(cli, "coordinator   none; join one with `hearth init`");
    hearth_cli_say(cli, "base model    %s", c->base ? c->base : "none");
    if (i->sequence)
        hearth_cli_say(cli, "adapter       %s release %llu", i->task,
                       (unsigned long long)i->sequence);
    else
        hearth_cli_say(cli, "adapter       none yet");
    hearth_cli_say(cli, "records       %llu", (unsigned long long)i->records);
    hearth_cli_say(cli, "now           %s", phase[i->phase]);
    hearth_cli_say(cli, "check-in      last %s, next %s", when, next);
    hearth_cli_say(cli,
                   "privacy       %llu participations, epsilon_coordinator "
                   "%.3g in 30 days, %.3g in all (delta %g, %s, unit %s); see "
                   "`hearth privacy`",
                   (unsigned long long)i->participations, i->epsilon_30_days,
                   i->epsilon_lifetime, i->delta,
                   hearth_dp_relation_name(HEARTH_DP_REPLACE_ONE),
                   HEARTH_PRIVACY_UNIT);
    if (s->note[0]) hearth_cli_say(cli, "last trouble  %s", s->note);
}

static hearth_status show(hearth_cli *cli, const char *dir, hearth_error *err) {
    char path[1100];
    hearth_client *c = NULL;
    hearth_client_config cc = HEARTH_CLIENT_CONFIG_INIT;
    hearth_client_info info = HEARTH_CLIENT_INFO_INIT;
    hearth_sync_session s;
    hearth_status st = hearth_file_join(path, sizeof(path), dir, "client.db");
    if (st == HEARTH_OK && !hearth_file_exists(path))
        return hearth_error_set(err, HEARTH_ENOTFOUND,
                                "no state in %.150s; join a coordinator with "
                                "`hearth init`",
                                dir);
    cc.state_dir = dir;
    cc.threads = 1;
    if (st == HEARTH_OK) st = hearth_client_open(&c, &cc, err);
    if (st == HEARTH_OK) st = hearth_policy_file_of_state(&c->policy, dir, err);
    if (st == HEARTH_OK) st = hearth_client_status(c, &info, err);
    if (st == HEARTH_OK) st = hearth_sync_session_load(&s, c->db, err);
    if (st == HEARTH_OK) {
        show_info(cli, c, &info, &s);
        st = hearth_sync_round_each(c->db, HISTORY, show_round, cli, err);
    }
    hearth_zeroize(s.cookie, sizeof(s.cookie));
    hearth_client_close(c);
    return st;
}

int hearth_cmd_status(hearth_cli *cli, int argc, char **argv) {
    return hearth_cli_show_state(cli, argc, argv, "status",
                                 "what this device is doing", "hearth status",
                                 show);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/run_report.c - the contract is in run_report.h. */
#include "client/cli/run_report.h"

#include <stdio.h>

void hearth_run_report_energy(hearth_cli *cli, const hearth_governor *g,
                              uint64_t steps) {
    const char *why = hearth_energy_reason_word(g->state.reason);
    bool slow = g->state.action == HEARTH_ENERGY_THROTTLE;
    bool pause = g->state.action == HEARTH_ENERGY_PAUSE;
    hearth_event_begin(cli, pause ? "paused" : slow ? "throttled" : "resumed");
    hearth_event_u64(cli, "step", steps);
    if (pause || slow) hearth_event_str(cli, "reason", why);
    if (slow) hearth_event_f64(cli, "duty", g->cfg.policy.duty);
    if (!pause) hearth_event_u64(cli, "threads", hearth_governor_threads(g));
    hearth_event_end(cli);
    if (pause)
        hearth_cli_note(cli, "paused after step %llu: %s",
                        (unsigned long long)steps, why);
    else if (slow)
        hearth_cli_note(cli, "slower from step %llu on: %s",
                        (unsigned long long)steps + 1, why);
    else
        hearth_cli_note(cli, "at full speed from step %llu on",
                        (unsigned long long)steps + 1);
}

void hearth_run_report_done(hearth_cli *cli, const hearth_run_totals *t) {
    double s = t->seconds, rate = s > 0 ? (double)t->new_tokens / s : 0.0;
    char peak[32], plan[32], file[32], rss[32];
    const hearth_memplan *p = hearth_trainer_memplan(t->trainer);
    hearth_meminfo_sample(t->mem, HEARTH_LOOK_ALL);
    hearth_event_begin(cli, "done");
    if (t->task) hearth_event_str(cli, "task", t->task);
    if (t->task) hearth_event_u64(cli, "round", t->round);
    hearth_event_u64(cli, "steps", t->steps);
    hearth_event_u64(cli, "tokens", t->tokens);
    hearth_event_f64(cli, "seconds", s);
    hearth_event_f64(cli, "tokens_per_second", rate);
    hearth_event_u64(cli, "private_peak", t->mem->private_peak);
    hearth_event_u64(cli, "file_resident_peak", t->mem->file_peak);
    hearth_event_u64(cli, "rss_peak", t->mem->rss_peak);
    hearth_event_u64(cli, "plan_bytes", p->private_bytes);
    hearth_event_u64(cli, "private_at_open", t->private_at_open);
    hearth_event_u64(cli, "open_bytes", p->open_bytes);
    hearth_event_u64(cli, "bytes_read", hearth_trainer_bytes_read(t->trainer));
    hearth_event_str(cli, "base_type", hearth_base_type_name(p->choice.base));
    if (t->out) hearth_event_str(cli, "out", t->out);
    hearth_event_end(cli);
    hearth_cli_say(
        cli,
        "%s: %llu step%s, %llu tokens in %.1f s (%.0f tokens/s); %s of %s "
        "planned, %s of the model's file in memory, %s in all",
        t->name, (unsigned long long)t->steps, t->steps == 1 ? "" : "s",
        (unsigned long long)t->tokens, s, rate,
        hearth_memplan_format((size_t)t->mem->private_peak, peak, sizeof(peak)),
        hearth_memplan_format(p->private_bytes, plan, sizeof(plan)),
        hearth_memplan_format((size_t)t->mem->file_peak, file, sizeof(file)),
        hearth_memplan_format((size_t)t->mem->rss_peak, rss, sizeof(rss)));
}

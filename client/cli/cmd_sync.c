/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/cmd_sync.c - hearth sync: take part in rounds, fetch releases.
 *
 * With --once: one cycle, from a check-in to the next time to wait; when the
 * time to check in has not come, a short rest of it is waited for.  Without:
 * until Ctrl-C or --timeout, sleeping as the coordinator asks.  Everything
 * durable is in the state folder, so it may be stopped at any moment.  A pause of
 * training is part of the cycle: it is waited for, --once or not.
 */
#include <string.h>
#include <time.h>

#include "client/api/client_private.h"
#include "client/cli/run_report.h"
#include "client/cli/train_flags.h"
#include "client/device/policy_file.h"

int hearth_cmd_sync(hearth_cli *cli, int argc, char **argv);

#define SHORT_WAIT_MS 2000 /* --once sits out so much before it begins */

typedef struct {
    hearth_cli *cli;
    const char *state, *policy, *kernels, *compute, *base_type;
    uint64_t timeout_ms, threads, budget;
    hearth_energy_flags e; /* where stricter than the policy */
    bool once;
    bool idle; /* the last check-in had no offer, and nothing came since */
    hearth_client *client;
    int64_t until_ms; /* monotonic; INT64_MAX = no end */

    /* Of the training under way. */
    hearth_meminfo mem;
    uint64_t private_at_open; /* private memory before the run's own */
    int64_t started_ms;       /* monotonic */
    uint32_t steps;           /* complete */
} sync_run;

static bool interrupted(void *ud) {
    const sync_run *r = ud;
    return hearth_cli_interrupted() ||
           hearth_clock_mono(&r->client->clock) >= r->until_ms;
}

/* STATE/policy.ini or --policy; every line that it loosens is said.  The flags
 * of energy may make it stricter. */
static hearth_status read_policy(hearth_cli *cli, const sync_run *r,
                                 const char *dir, hearth_error *err) {
    char line[120];
    hearth_policy p;
    hearth_status st = r->policy ? hearth_policy_file_read(&p, r->policy, err)
                                 : hearth_policy_file_of_state(&p, dir, err);
    if (st != HEARTH_OK) return st;
    for (size_t k = 0; hearth_policy_file_loosened(&p, k, line, sizeof(line));
         k++)
        hearth_cli_note(cli, "the policy is loosened: %s", line);
    if (strcmp(r->e.energy, "charging") == 0) p.need_charging = true;
    if (r->e.battery_min > p.battery_min) p.battery_min = r->e.battery_min;
    if (r->e.temperature_max < p.temperature_max)
        p.temperature_max = r->e.temperature_max;
    r->client->policy = p;
    return HEARTH_OK;
}

static void show_energy(void *ud, const hearth_energy_state *now) {
    const sync_run *r = ud;
    (void)now; /* the governor's own */
    hearth_progress_end(r->cli);
    hearth_run_report_energy(r->cli, hearth_sync_governor(r->client->sync),
                             r->steps);
}

static hearth_status open_client(hearth_cli *cli, sync_run *r,
                                 hearth_error *err) {
    char dir[1024];
    hearth_client_config cc = HEARTH_CLIENT_CONFIG_INIT;
    hearth_status st = hearth_cli_state_dir(r->state, dir, sizeof(dir), err);
    if (st != HEARTH_OK) return st;
    cc.state_dir = dir;
    cc.threads = r->threads;
    cc.memory_budget = r->budget;
    if ((st = hearth_client_open(&r->client, &cc, err)) != HEARTH_OK) return st;
    r->client->stop_check = interrupted;
    r->client->stop_ud = r;
    r->client->reference_kernels = strcmp(r->kernels, "reference") == 0;
    r->client->bf16 =
        hearth_train_flags_bf16(r->compute, r->client->reference_kernels);
    r->client->base_type = hearth_train_flags_base(r->base_type);
    r->client->slow_down = strcmp(r->e.energy, "off") != 0;
    r->client->duty = r->e.duty;
    r->client->energy_changed = show_energy;
    r->client->energy_ud = r;
    if (r->e.sysfs) {
        st = hearth_conditions_linux(&r->client->conditions, r->e.sysfs, NULL);
        r->client->linux_conditions = st == HEARTH_OK;
        if (st != HEARTH_OK)
            return hearth_error_set(err, st, "%.150s: no such folder",
                                    r->e.sysfs);
    }
    return read_policy(cli, r, dir, err);
}

/* A pause of training, not the end of a cycle? */
static bool is_paused(const hearth_client_tick *t) {
    return t->kind == HEARTH_TICK_WAIT && t->n_steps > 0;
}

static void say(hearth_cli *cli, sync_run *r, const hearth_client_tick *t) {
    unsigned long long round = (unsigned long long)t->round;
    bool was_idle = r->idle;
    r->idle = t->kind == HEARTH_TICK_CHECKIN ? t->n_offers == 0
              : t->kind == HEARTH_TICK_WAIT  ? was_idle
                                             : false;
    if (was_idle && r->idle) return; /* said once */
    switch ((hearth_tick_kind)t->kind) {
    case HEARTH_TICK_CHECKIN:
        hearth_cli_say(cli, "checked in: %u offer%s", (unsigned)t->n_offers,
                       t->n_offers == 1 ? "" : "s");
        break;
    case HEARTH_TICK_REFUSED:
        if (t->round)
            hearth_cli_say(cli, "%s round %llu refused: %s", t->task, round,
                           t->reason);
        else
            hearth_cli_say(cli, "%s release %llu refused: %s", t->task,
                           (unsigned long long)t->sequence, t->reason);
        break;
    case HEARTH_TICK_ACCEPTED:
        hearth_cli_say(cli, "%s round %llu: accepted", t->task, round);
        break;
    case HEARTH_TICK_INSTALLED:
        hearth_cli_say(cli, "%s release %llu: installed", t->task,
                       (unsigned long long)t->sequence);
        break;
    case HEARTH_TICK_TRAIN:
        hearth_progress(cli, t->step, t->n_steps, "training");
        break;
    case HEARTH_TICK_PREPARED:
        hearth_progress_end(cli);
        hearth_cli_say(cli, "%s round %llu: clipped, noised, charged", t->task,
                       round);
        break;
    case HEARTH_TICK_COMMITTED:
        hearth_cli_say(cli, "%s round %llu: sent %llu bytes, acknowledged",
                       t->task, round, (unsigned long long)t->total);
        break;
    case HEARTH_TICK_GAVE_UP:
        hearth_progress_end(cli);
        hearth_cli_say(cli, "%s round %llu: given up: %s", t->task, round,
                       t->reason);
        break;
    case HEARTH_TICK_RETRY:
        hearth_progress_end(cli);
        if (t->wait_ms > 0)
            hearth_cli_note(cli, "%s (again in %lld s)", t->reason,
                            (long long)((t->wait_ms + 999) / 1000));
        else
            hearth_cli_note(cli, "%s", t->reason);
        break;
    case HEARTH_TICK_WAIT:
    case HEARTH_TICK_DOWNLOAD:
    case HEARTH_TICK_UPLOAD: break;
    }
}

/* Loss is about this person's records: it is shown here and goes nowhere. */
static void event(hearth_cli *cli, const hearth_client_tick *t) {
    if (t->kind == HEARTH_TICK_WAIT && t->wait_ms == 0) return;
    if (is_paused(t)) return; /* said as an event of its own, once */
    hearth_event_begin(cli, "sync");
    hearth_event_str(cli, "kind",
                     hearth_sync_kind_name((hearth_sync_kind)t->kind));
    if (t->task[0]) hearth_event_str(cli, "task", t->task);
    if (t->round) hearth_event_u64(cli, "round", t->round);
    if (t->sequence) hearth_event_u64(cli, "sequence", t->sequence);
    if (t->kind == HEARTH_TICK_CHECKIN)
        hearth_event_u64(cli, "offers", t->n_offers);
    if (t->kind == HEARTH_TICK_TRAIN) {
        hearth_event_u64(cli, "step", t->step);
        hearth_event_u64(cli, "steps", t->n_steps);
        hearth_event_f64(cli, "loss", t->loss);
    }
    if (t->total) {
        hearth_event_u64(cli, "sent", t->sent);
        hearth_event_u64(cli, "total", t->total);
    }
    if (t->wait_ms) hearth_event_i64(cli, "wait_ms", t->wait_ms);
    if (t->reason[0]) hearth_event_str(cli, "reason", t->reason);
    hearth_event_end(cli);
}

/* ---- the training of a round ---- */

/* What the process holds before a tick that may begin a training. */
static void before_tick(sync_run *r) {
    if (r->client->sync && hearth_sync_trainer(r->client->sync)) return;
    hearth_meminfo_sample(&r->mem, HEARTH_LOOK_PRIVATE);
    r->private_at_open = r->mem.private_now;
    r->started_ms = 0;
    r->steps = 0;
}

static void show_trained(hearth_cli *cli, sync_run *r,
                         const hearth_client_tick *t,
                         const hearth_trainer *trainer) {
    char name[96];
    int64_t ms = hearth_clock_mono(&r->client->clock) - r->started_ms;
    hearth_run_totals totals = {.name = name,
                                .task = t->task,
                                .round = t->round,
                                .seconds = (double)ms / 1000,
                                .private_at_open = r->private_at_open,
                                .trainer = trainer,
                                .mem = &r->mem};
    hearth_trainer_progress(trainer, &totals.steps, &totals.tokens);
    totals.new_tokens = totals.tokens;
    (void)snprintf(name, sizeof(name), "%s round %llu", t->task,
                   (unsigned long long)t->round);
    hearth_progress_end(cli);
    hearth_run_report_done(cli, &totals);
}

/* The plan when a training begins, its numbers when it is complete. */
static void after_tick(hearth_cli *cli, sync_run *r,
                       const hearth_client_tick *t) {
    const hearth_trainer *trainer =
        r->client->sync ? hearth_sync_trainer(r->client->sync) : NULL;
    if (!trainer) return;
    if (!r->started_ms) {
        r->started_ms = hearth_clock_mono(&r->client->clock);
        r->mem = (hearth_meminfo){.model = r->client->model};
        hearth_train_flags_show_plan(cli, hearth_trainer_memplan(trainer),
                                     hearth_trainer_budget(trainer), false);
    }
    hearth_meminfo_sample(&r->mem, HEARTH_LOOK_SOMETIMES);
    if (t->kind != HEARTH_TICK_TRAIN) return;
    r->steps = t->step;
    if (hearth_trainer_is_done(trainer)) show_trained(cli, r, t, trainer);
}

static void nap(sync_run *r, int64_t ms) {
    int64_t end = hearth_clock_mono(&r->client->clock) + ms;
    while (!interrupted(r)) {
        int64_t left = end - hearth_clock_mono(&r->client->clock);
        if (left <= 0) return;
        if (left > 100) left = 100;
        struct timespec t = {0, (long)left * 1000000};
        (void)nanosleep(&t, NULL);
    }
}

/* Returns the exit code. */
static int run(hearth_cli *cli, sync_run *r) {
    hearth_error err = {HEARTH_OK, ""};
    hearth_client_tick t = HEARTH_CLIENT_TICK_INIT;
    bool asked = false, failed = false;
    uint64_t started = 0; /* ticks that did something */
    while (!interrupted(r)) {
        before_tick(r);
        hearth_status st = hearth_client_sync(r->client, &t, &err);
        if (st == HEARTH_EBUSY && asked) { /* the database, for a moment */
            nap(r, 500);
            continue;
        }
        if (st != HEARTH_OK) return hearth_cli_fail(cli, st, &err, NULL);
        event(cli, &t);
        if (!cli->json) say(cli, r, &t);
        after_tick(cli, r, &t);
        if (t.kind == HEARTH_TICK_CHECKIN) asked = true;
        if (t.kind != HEARTH_TICK_WAIT) started++;
        failed = t.kind == HEARTH_TICK_RETRY && !interrupted(r);
        if (t.wait_ms <= 0) continue;
        bool soon = started == 0 && t.kind == HEARTH_TICK_WAIT &&
                    t.wait_ms <= SHORT_WAIT_MS;
        if (r->once && !soon && !is_paused(&t)) break;
        nap(r, t.wait_ms);
    }
    hearth_progress_end(cli);
    if (r->once && failed) return HEARTH_EXIT_FAIL;
    if (t.wait_ms > 0)
        hearth_cli_say(cli, "%snext check-in in %lld s",
                       asked ? "" : "nothing to do yet, ",
                       (long long)((t.wait_ms + 999) / 1000));
    return HEARTH_EXIT_OK;
}

int hearth_cmd_sync(hearth_cli *cli, int argc, char **argv) {
    sync_run r = {.cli = cli,
                  .kernels = "auto",
                  .compute = "f32",
                  .base_type = "file",
                  .until_ms = INT64_MAX,
                  .e = {.energy = "careful",
                        .battery_min = 0,
                        .temperature_max = 150,
                        .duty = 0.5}};
    const hearth_flag flags[] = {
        HEARTH_FLAG_BOOL("once", "one cycle, then exit", &r.once),
        HEARTH_FLAG_DURATION("timeout", "TIME", "stop after so long (10m)",
                             &r.timeout_ms),
        HEARTH_FLAG_STR("state", "DIR", "where this device keeps its state",
                        &r.state),
        HEARTH_FLAG_STR("policy", "FILE", "instead of STATE/policy.ini",
                        &r.policy),
        HEARTH_FLAG_U64("threads", "N", "compute threads, 0 = one a core",
                        &r.threads, 0, HEARTH_POOL_MAX_THREADS),
        HEARTH_FLAG_BYTES("memory-budget", "BYTES",
                          "for training (512M); a model that does not fit is "
                          "streamed",
                          &r.budget),
        HEARTH_COMPUTE_FLAG(r.compute),
        HEARTH_BASE_TYPE_FLAG(r.base_type),
        HEARTH_FLAG_CHOICE("kernels", "auto|reference|native|blas",
                           "reference: same bytes on every machine",
                           &r.kernels),
        HEARTH_ENERGY_FLAGS(
            r.e, "careful: slow down too; charging: train only then",
            "the policy's or more: pause below",
            "the policy's or less: pause from here, slower 5 below"),
        HEARTH_FLAG_STR("sys", "DIR", "older name of --sysfs", &r.e.sysfs),
    };
    const hearth_usage u = {
        .command = "sync",
        .summary = "take part in rounds, fetch releases",
        .arguments = "[flags]",
        .example = "hearth sync --once",
        .flags = flags,
        .n_flags = sizeof(flags) / sizeof(*flags),
    };
    hearth_error err = {HEARTH_OK, ""};
    int rc;
    if (!hearth_cli_parse(cli, &u, argc, argv, &rc)) return rc;
    hearth_status st = open_client(cli, &r, &err);
    if (st == HEARTH_OK) {
        if (r.timeout_ms && r.timeout_ms < (uint64_t)INT64_MAX / 2)
            r.until_ms =
                hearth_clock_mono(&r.client->clock) + (int64_t)r.timeout_ms;
        rc = run(cli, &r);
    } else {
        rc = hearth_cli_fail(cli, st, &err, NULL);
    }
    hearth_client_close(r.client);
    return rc;
}

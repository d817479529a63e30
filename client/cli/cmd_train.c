/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/cmd_train.c - `hearth train`. */
#include <stdlib.h>
#include <string.h>

#include "client/cli/run_report.h"
#include "client/cli/train_flags.h"
#include "client/train/checkpoint.h"
#include "client/train/trainer.h"
#include "common/clock.h"
#include "common/file.h"

typedef struct {
    hearth_cli *cli;
    hearth_train_flags f;
    const char *data, *out, *valid_path;
    uint64_t checkpoint_every, eval_every, early_stop, max_seconds;
    bool resume, keep_best;
    hearth_energy_flags e;

    hearth_governor governor;
    hearth_conditions_source conditions;
    hearth_train_config cfg;
    hearth_dataset *ds, *valid;
    hearth_trainer *t;
    hearth_meminfo mem;
    uint64_t private_at_open; /* private memory before the run's own */
    hearth_clock clock;
    int64_t started_ms;
    uint64_t start_tokens; /* of the run before --resume */
    uint64_t tokens;       /* of the run */
    uint64_t steps;        /* complete */
    char checkpoint[1024];
} training;

/* ---- records ---- */

/* --data FILE, or DIR with train.jsonl and perhaps valid.jsonl. */
static hearth_status open_data(training *r, hearth_error *err) {
    char train[1024], valid[1024];
    const char *v = r->valid_path;
    hearth_status st;
    if (hearth_file_join(train, sizeof(train), r->data, "train.jsonl") !=
            HEARTH_OK ||
        hearth_file_join(valid, sizeof(valid), r->data, "valid.jsonl") !=
            HEARTH_OK)
        return hearth_error_set(err, HEARTH_ETOOBIG,
                                "the path of --data is too long");
    bool folder = hearth_file_is_dir(r->data);
    if (folder && !v && hearth_file_exists(valid)) v = valid;
    st = hearth_workbench_dataset(&r->f.wb, r->cli, folder ? train : r->data,
                                  false, &r->ds, err);
    if (st == HEARTH_OK && v)
        st = hearth_workbench_dataset(&r->f.wb, r->cli, v, false, &r->valid,
                                      err);
    hearth_tokenizer_close(r->f.wb.tokenizer); /* not needed any more */
    r->f.wb.tokenizer = NULL;
    return st;
}

/* ---- events ---- */

static double seconds_since(const training *r) {
    return (double)(hearth_clock_mono(&r->clock) - r->started_ms) / 1000.0;
}

static void show_step(training *r, const hearth_train_event *ev) {
    double s = seconds_since(r);
    double rate = s > 0 ? (double)(r->tokens - r->start_tokens) / s : 0.0;
    char text[64];
    hearth_event_begin(r->cli, "step");
    hearth_event_u64(r->cli, "step", ev->step);
    hearth_event_u64(r->cli, "steps", ev->steps);
    hearth_event_f64(r->cli, "loss", ev->loss);
    hearth_event_f64(r->cli, "lr", ev->lr);
    hearth_event_f64(r->cli, "grad_norm", ev->grad_norm);
    hearth_event_u64(r->cli, "tokens", ev->tokens);
    hearth_event_u64(r->cli, "records", ev->records);
    hearth_event_f64(r->cli, "seconds", s);
    hearth_event_f64(r->cli, "tokens_per_second", rate);
    hearth_event_u64(r->cli, "private_bytes", r->mem.private_now);
    hearth_event_end(r->cli);
    (void)snprintf(text, sizeof(text), "loss %.4f, %.0f tokens/s", ev->loss,
                   rate);
    hearth_progress(r->cli, ev->step, ev->steps, text);
}

static void show_eval(training *r, const hearth_eval_result *e) {
    hearth_event_begin(r->cli, "eval");
    hearth_event_u64(r->cli, "step", r->steps);
    hearth_event_f64(r->cli, "loss", e->loss);
    hearth_event_f64(r->cli, "perplexity", e->perplexity);
    hearth_event_f64(r->cli, "token_accuracy", e->token_accuracy);
    hearth_event_u64(r->cli, "tokens", e->tokens);
    hearth_event_u64(r->cli, "records", e->records);
    hearth_event_end(r->cli);
    hearth_cli_say(r->cli,
                   "step %llu: validation loss %.4f, perplexity %.2f, token "
                   "accuracy %.1f %%",
                   (unsigned long long)r->steps, e->loss, e->perplexity,
                   100.0 * e->token_accuracy);
}

static void show_done(training *r) {
    const hearth_run_totals totals = {.name = r->out,
                                      .out = r->out,
                                      .steps = r->steps,
                                      .tokens = r->tokens,
                                      .new_tokens = r->tokens - r->start_tokens,
                                      .seconds = seconds_since(r),
                                      .private_at_open = r->private_at_open,
                                      .trainer = r->t,
                                      .mem = &r->mem};
    hearth_run_report_done(r->cli, &totals);
}

/* ---- energy ---- */

static bool interrupted(void *ud) {
    (void)ud;
    return hearth_cli_interrupted();
}

static void show_energy(void *ud, const hearth_energy_state *now) {
    const training *r = ud;
    (void)now; /* the governor's own */
    hearth_run_report_energy(r->cli, &r->governor, r->steps);
}

/* Between layers: Ctrl-C always, the conditions with --energy. */
static hearth_status start_governor(training *r, hearth_error *err) {
    size_t half = hearth_pool_size(r->f.wb.pool) / 2;
    const hearth_energy_limits limits = {
        .need_charging = strcmp(r->e.energy, "charging") == 0,
        .battery_min = r->e.battery_min,
        .temperature_max = r->e.temperature_max,
        .slow_before = 10,
        .duty = r->e.duty,
        .threads = half ? (uint32_t)half : 1};
    hearth_governor_config g = {.policy = hearth_energy_policy_of(&limits),
                                .clock = r->clock,
                                .pool = r->f.wb.pool,
                                .stop = interrupted,
                                .changed = show_energy,
                                .ud = r};
    if (strcmp(r->e.energy, "off") != 0) {
        hearth_status st =
            hearth_conditions_linux(&r->conditions, r->e.sysfs, NULL);
        if (st != HEARTH_OK)
            return hearth_error_set(err, st,
                                    "cannot ask %.150s for the battery; leave "
                                    "--energy out, or give --sysfs",
                                    r->e.sysfs);
        g.conditions = r->conditions;
    }
    hearth_governor_init(&r->governor, &g);
    hearth_trainer_set_gate(r->t, hearth_governor_gate, &r->governor);
    return HEARTH_OK;
}

/* ---- the run ---- */

static hearth_status save(training *r, hearth_error *err) {
    hearth_peft_info info = {0};
    hearth_status st;
    if (r->cfg.mode == HEARTH_TRAIN_FULL) {
        st = hearth_trainer_save_model(r->t, r->out, err);
    } else {
        size_t n = strlen(r->f.wb.model_dir);
        if (n < sizeof(info.base)) memcpy(info.base, r->f.wb.model_dir, n + 1);
        hearth_workbench_base_id(&r->f.wb, info.base_id);
        st = hearth_adapter_save(r->f.wb.adapter, r->out, &info, err);
    }
    return st;
}

/* While an evaluation holds its buffers. */
static void look(void *ud, uint64_t done, uint64_t total) {
    (void)done;
    (void)total;
    hearth_meminfo_sample(ud, HEARTH_LOOK_SOMETIMES);
}

/* Evaluate; with --keep-best, save when it is the best so far. */
static hearth_status validate(training *r, hearth_error *err) {
    hearth_eval_result e;
    hearth_evaluate_options opt = {
        .batch = (size_t)r->f.batch, .progress = look, .ud = &r->mem};
    hearth_status st = hearth_trainer_evaluate(r->t, r->valid, &opt, &e, err);
    if (st != HEARTH_OK) return st;
    show_eval(r, &e);
    hearth_train_memo *memo = hearth_trainer_memo(r->t);
    bool better = e.loss < memo->best_loss;
    memo->bad_evals = better ? 0 : memo->bad_evals + 1;
    if (better) memo->best_loss = e.loss;
    if (!better || !r->keep_best || !r->steps) return HEARTH_OK;
    st = save(r, err);
    if (st == HEARTH_OK) memo->has_best = true;
    return st;
}

static hearth_status after_step(training *r, bool *stop, hearth_error *err) {
    hearth_status st = HEARTH_OK;
    const hearth_train_memo *memo = hearth_trainer_memo(r->t);
    if (r->valid && r->eval_every && r->steps % r->eval_every == 0)
        st = validate(r, err);
    if (st == HEARTH_OK && r->checkpoint_every &&
        r->steps % r->checkpoint_every == 0)
        st = hearth_checkpoint_save(r->t, r->checkpoint, err);
    if (r->early_stop && memo->bad_evals >= r->early_stop) {
        hearth_cli_say(r->cli, "step %llu: no better for %llu evaluations",
                       (unsigned long long)r->steps,
                       (unsigned long long)r->early_stop);
        *stop = true;
    }
    if (r->max_seconds && seconds_since(r) * 1000.0 >= (double)r->max_seconds)
        *stop = true;
    return st;
}

static hearth_status stop_early(training *r, hearth_error *err) {
    hearth_status st = hearth_checkpoint_save(r->t, r->checkpoint, err);
    if (st != HEARTH_OK) return st;
    return hearth_error_set(err, HEARTH_ECANCELLED,
                            "stopped after step %llu; go on with the same "
                            "command and --resume",
                            (unsigned long long)r->steps);
}

static hearth_status run(training *r, hearth_error *err) {
    hearth_train_event ev = {0};
    /* A run that ended between its last checkpoint and saving has no step left
     * to do. */
    bool stop = hearth_trainer_is_done(r->t);
    hearth_status st = HEARTH_OK;
    r->started_ms = hearth_clock_mono(&r->clock);
    if (r->valid && r->steps == 0) st = validate(r, err);
    if (st == HEARTH_ECANCELLED) return stop_early(r, err);
    while (st == HEARTH_OK && !stop) {
        st = hearth_trainer_tick(r->t, &ev, err);
        if (st == HEARTH_ECANCELLED) return stop_early(r, err);
        if (st != HEARTH_OK) break;
        r->tokens = ev.total_tokens;
        bool micro = ev.kind == HEARTH_TRAIN_MICRO;
        hearth_meminfo_sample(&r->mem, micro ? HEARTH_LOOK_SOMETIMES
                                             : HEARTH_LOOK_PRIVATE);
        if (micro) continue;
        r->steps = ev.step;
        stop = ev.kind == HEARTH_TRAIN_DONE;
        show_step(r, &ev);
        st = after_step(r, &stop, err);
        if (st == HEARTH_ECANCELLED ||
            (st == HEARTH_OK && !stop && hearth_cli_interrupted()))
            return stop_early(r, err);
    }
    hearth_progress_end(r->cli);
    if (st != HEARTH_OK) return st;
    if (ev.step)
        hearth_cli_say(r->cli, "step %llu: loss %.4f",
                       (unsigned long long)r->steps, ev.loss);
    if (r->valid && (!r->eval_every || r->steps % r->eval_every != 0))
        st = validate(r, err);
    if (st == HEARTH_ECANCELLED) return stop_early(r, err);
    if (st == HEARTH_OK &&
        !(r->keep_best && hearth_trainer_memo(r->t)->has_best))
        st = save(r, err);
    if (st == HEARTH_OK && (r->resume || r->checkpoint_every))
        st = hearth_file_remove(r->checkpoint, err);
    return st;
}

static hearth_status resume(training *r, hearth_error *err) {
    if (!r->resume) return HEARTH_OK;
    if (!hearth_file_exists(r->checkpoint)) {
        hearth_cli_note(
            r->cli, "no checkpoint in %s: starting from the beginning", r->out);
        return HEARTH_OK;
    }
    hearth_status st = hearth_checkpoint_load(r->t, r->checkpoint, err);
    if (st != HEARTH_OK) return st;
    hearth_trainer_progress(r->t, &r->steps, &r->start_tokens);
    r->tokens = r->start_tokens;
    hearth_cli_say(r->cli, "going on after step %llu",
                   (unsigned long long)r->steps);
    return HEARTH_OK;
}

static hearth_status prepare(training *r, hearth_error *err) {
    hearth_memplan plan = HEARTH_MEMPLAN_INIT;
    hearth_workbench *wb = &r->f.wb;
    wb->cli = r->cli;
    hearth_status st =
        hearth_workbench_open(wb, HEARTH_WORKBENCH_TOKENIZER, err);
    if (st != HEARTH_OK) return st;
    if ((st = hearth_train_flags_config(&r->f, &r->cfg, err)) != HEARTH_OK)
        return st;
    if ((st = hearth_train_flags_adapter(&r->f, err)) != HEARTH_OK) return st;
    if ((st = open_data(r, err)) != HEARTH_OK) return st;
    r->cfg.eval_tokens = r->valid ? hearth_dataset_longest(r->valid) : 0;
    st = hearth_trainer_plan(&plan, wb->model, wb->adapter, r->ds, &r->cfg,
                             wb->pool, err);
    if (plan.n)
        hearth_train_flags_show_plan(r->cli, &plan, r->f.memory_budget, false);
    if (st != HEARTH_OK) return st;
    hearth_workbench_say_records(r->cli, r->data, r->ds);
    if (r->valid)
        hearth_workbench_say_records(
            r->cli, r->valid_path ? r->valid_path : "valid.jsonl", r->valid);
    r->mem.model = wb->model;
    hearth_meminfo_sample(&r->mem, HEARTH_LOOK_ALL);
    r->private_at_open = r->mem.private_now;
    st = hearth_trainer_open(&r->t, wb->model, wb->adapter, r->ds, &r->cfg,
                             wb->pool, NULL, err);
    if (st != HEARTH_OK) return st;
    if ((st = start_governor(r, err)) != HEARTH_OK) return st;
    if ((st = hearth_file_mkdirs(r->out, err)) != HEARTH_OK) return st;
    return resume(r, err);
}

/* The base is read while the run lasts, and people want it afterwards. */
static bool out_is_the_base(const training *r) {
    char *model = realpath(r->f.wb.model_dir, NULL);
    char *out = model ? realpath(r->out, NULL) : NULL;
    bool same = out && strcmp(model, out) == 0;
    free(model);
    free(out);
    return same;
}

/* An adapter beside a whole model: which of them was meant? */
static const char *other_result(const training *r) {
    char path[1024];
    bool full = strcmp(r->f.mode, "full") == 0;
    const char *name = full ? "adapter_config.json" : "model.safetensors";
    if (hearth_file_join(path, sizeof(path), r->out, name) != HEARTH_OK ||
        !hearth_file_exists(path))
        return NULL;
    return full ? "an adapter" : "a whole model";
}

static int check_flags(training *r) {
    if (out_is_the_base(r))
        return hearth_cli_usage_error(
            r->cli, "--out is the folder of --model; choose another");
    const char *other = other_result(r);
    if (other)
        return hearth_cli_usage_error(
            r->cli, "--out %.100s holds %s already; choose another folder",
            r->out, other);
    if (hearth_file_join(r->checkpoint, sizeof(r->checkpoint), r->out,
                         "checkpoint.bin") != HEARTH_OK)
        return hearth_cli_usage_error(r->cli, "the path of --out is too long");
    bool has_valid = r->valid_path || hearth_file_is_dir(r->data);
    if ((r->eval_every || r->keep_best || r->early_stop) && !has_valid)
        return hearth_cli_usage_error(r->cli, "--eval-every, --keep-best and "
                                              "--early-stop need --valid FILE");
    if (r->early_stop && !r->eval_every)
        return hearth_cli_usage_error(r->cli,
                                      "--early-stop needs --eval-every");
    return HEARTH_EXIT_OK;
}

static int execute(training *r) {
    hearth_error err = {0};
    int rc = check_flags(r);
    if (rc != HEARTH_EXIT_OK) return rc;
    r->clock = hearth_clock_system();
    hearth_status st = prepare(r, &err);
    if (st == HEARTH_OK) st = run(r, &err);
    if (st == HEARTH_OK)
        show_done(r);
    else
        rc = hearth_cli_fail(r->cli, st, &err, NULL);
    hearth_trainer_close(r->t);
    hearth_conditions_linux_free(&r->conditions);
    hearth_dataset_free(r->ds);
    hearth_dataset_free(r->valid);
    hearth_workbench_close(&r->f.wb);
    return rc;
}

int hearth_cmd_train(hearth_cli *cli, int argc, char **argv) {
    training r = {.cli = cli,
                  .f = HEARTH_TRAIN_FLAGS_INIT,
                  .e = {.energy = "off",
                        .sysfs = "/sys",
                        .battery_min = 30,
                        .temperature_max = 85,
                        .duty = 0.5}};
    const hearth_flag flags[] = {
        HEARTH_FLAG_STR("data", "FILE|DIR",
                        "JSON lines, or a folder with "
                        "train.jsonl and valid.jsonl",
                        &r.data),
        HEARTH_FLAG_STR("out", "DIR", "where the adapter (or model) goes",
                        &r.out),
        HEARTH_TRAIN_FLAGS(r.f),
        HEARTH_FLAG_STR("valid", "FILE", "records to validate on",
                        &r.valid_path),
        HEARTH_FLAG_U64("eval-every", "N", "steps between validations",
                        &r.eval_every, 1, UINT32_MAX),
        HEARTH_FLAG_BOOL("keep-best", "keep the best by validation loss",
                         &r.keep_best),
        HEARTH_FLAG_U64("early-stop", "N", "stop after N evals without a best",
                        &r.early_stop, 1, UINT32_MAX),
        HEARTH_FLAG_U64("checkpoint-every", "N", "steps between checkpoints",
                        &r.checkpoint_every, 1, UINT32_MAX),
        HEARTH_FLAG_BOOL("resume", "go on from the checkpoint in --out",
                         &r.resume),
        HEARTH_ENERGY_FLAGS(
            r.e, "pause by power and warmth; charging: train only then",
            "on battery, pause below",
            "pause from here, slow down 10 degrees before"),
        HEARTH_FLAG_DURATION("max-seconds", "S", "stop after this time",
                             &r.max_seconds),
    };
    const hearth_usage u = {
        .command = "train",
        .summary = "fine-tune a model on records",
        .arguments = "--model DIR --data FILE|DIR --out DIR [flags]",
        .example = "hearth train --model base --data diary.jsonl --out "
                   "my-adapter --rank 8 --steps 100 --lr 1e-3",
        .flags = flags,
        .n_flags = sizeof(flags) / sizeof(*flags),
        .required = "model data out"};
    int rc;
    if (!hearth_cli_parse(cli, &u, argc, argv, &rc)) return rc;
    return execute(&r);
}

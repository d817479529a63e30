/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_scenario_text.c - a scenario as text: the resolved one of a
 * run directory, and the commented one to start from. */
#include "tests/fleet/fleet_scenario.h"

static const char EXAMPLE[] =
    "# A hearth-fleet scenario.  Check it with: hearth-fleet validate FILE\n"
    "# Run it with:                             hearth-fleet run FILE --out "
    "DIR\n"
    "# A path that begins with $NAME gets that environment variable put in; "
    "other\n"
    "# relative paths start from the folder of this file.\n"
    "#\n"
    "# As it stands it wants the demo's model and made-up people, from the top "
    "of\n"
    "# the repository, after a build:\n"
    "#   for p in $(seq 24); do\n"
    "#     build/release/deploy/demo/diary_generator person --seed $p --person "
    "$p \\\n"
    "#       --lines 40 | sed \"s/^{/{\\\"person\\\": \\\"$p\\\", /\"\n"
    "#   done > diary.jsonl\n"
    "\n"
    "[run]\n"
    "name = example\n"
    "seeds = 1,2,3        ; the whole run, once for each\n"
    "rounds = 5\n"
    "jobs = 2             ; seeds run at the same time, a process each\n"
    "threads = 1          ; compute threads of each job\n"
    "eval_every = 1       ; measure the hold-out after every n-th round\n"
    "\n"
    "[model]\n"
    "path = deploy/demo/model  ; a Hugging Face folder\n"
    "targets = v_proj     ; "
    "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj\n"
    "rank = 1\n"
    "alpha = 2\n"
    "rule = ffa           ; A frozen from a seed, B is averaged\n"
    "; a_seed = 6         ; the same A in every run; else drawn for each\n"
    "\n"
    "[records]\n"
    "path = diary.jsonl\n"
    "form = records       ; records (JSON lines) | text | template:FILE over "
    "a CSV\n"
    "; text_field = text  ; with form text: where it is, a string or a list\n"
    "partition = field:person ; one device for each value | iid\n"
    "devices = 20         ; the largest first; 0 = everybody\n"
    "min_records = 10\n"
    "; piece = 3          ; cut people into devices of so many records each\n"
    "holdout = last:0.2   ; of each device's records; or hash:0.2, or none\n"
    "unseen_devices = 4   ; people who are only measured; or a share, or "
    "every:12\n"
    "\n"
    "[train]\n"
    "steps = 2            ; or epochs = 1\n"
    "batch = 8            ; batch x seq tokens a step\n"
    "seq = 128\n"
    "lr = 2e-2\n"
    "loss = answer        ; answer | all\n"
    "\n"
    "[cohort]\n"
    "count = 10,20        ; fewest and most devices of a round; or 75%,100%\n"
    "time = 0s,1h         ; a round lasts at least, at most\n"
    "\n"
    "[privacy]\n"
    "mode = local         ; none | local (each delta is noised on its device)\n"
    "clip = 0.07\n"
    "clip_quantile = 0    ; 0.5: the clip follows the median norm; 0: it "
    "stays\n"
    "noise = 2.4          ; z = sigma / Delta2\n"
    "delta = 1e-5\n"
    "; release_noise = 2  ; the coordinator adds noise of its own to releases, "
    "too:\n"
    "; release_buffers = 4 ; buffers that correlate it over the rounds; 0: "
    "none\n"
    "; release_separation = 1 ; a device rests so many rounds after one\n"
    "; release_participations = 5 ; and takes part in at most so many\n"
    "\n"
    "[device.phone]\n"
    "share = 1\n"
    "tokens_per_second = 500\n"
    "up_kbps = 5000\n"
    "down_kbps = 20000\n"
    "dropout = 0.1        ; chance to vanish in a round\n"
    "\n"
    "[baseline]\n"
    "base = yes\n"
    "local = yes\n"
    "central = yes\n"
    "control = yes        ; the same noise on deltas of zero\n"
    "\n"
    "; [sweep]            ; each combination of the values is a run of its "
    "own\n"
    "; records.devices = 10,20\n"
    "; privacy.noise = 0,1.2,2.4\n";

const char *hearth_fleet_scenario_example(void) {
    return EXAMPLE;
}

static const char *yes(bool v) {
    return v ? "yes" : "no";
}

/* The largest unit that says it exactly: 1h, 90s, 250ms. */
static void put_duration(hearth_buf *b, int64_t ms) {
    const int64_t unit[] = {3600000, 60000, 1000};
    const char *const name[] = {"h", "m", "s"};
    for (int i = 0; i < 3; i++)
        if (ms % unit[i] == 0 && (ms || i == 2)) {
            (void)hearth_buf_printf(b, "%lld%s", (long long)(ms / unit[i]),
                                    name[i]);
            return;
        }
    (void)hearth_buf_printf(b, "%lldms", (long long)ms);
}

static void write_run(hearth_buf *b, const hearth_fleet_scenario *sc) {
    (void)hearth_buf_printf(b, "[run]\nname = %s\nseeds = ", sc->name);
    for (size_t i = 0; i < sc->n_seeds; i++)
        (void)hearth_buf_printf(b, "%s%llu", i ? "," : "",
                                (unsigned long long)sc->seed[i]);
    (void)hearth_buf_printf(
        b, "\nrounds = %u\njobs = %u\nthreads = %u\neval_every = %u\n",
        sc->rounds, sc->jobs, sc->threads, sc->eval_every);
    (void)hearth_buf_printf(b,
                            "\n[model]\npath = %s\ntargets = %s\nrank = %u\n"
                            "alpha = %.9g\nrslora = %s\nrule = %s\n"
                            "last_layers = %u\n",
                            sc->model_path, sc->targets, sc->rank, sc->alpha,
                            yes(sc->rslora), sc->rule, sc->last_layers);
    if (sc->a_seed >= 0)
        (void)hearth_buf_printf(b, "a_seed = %lld\n", (long long)sc->a_seed);
}

static void write_records(hearth_buf *b, const hearth_fleet_scenario *sc) {
    (void)hearth_buf_printf(
        b, "\n[records]\npath = %s\nform = %s%s\n", sc->records_path,
        sc->form == HEARTH_FLEET_FORM_TEXT      ? "text"
        : sc->form == HEARTH_FLEET_FORM_RECORDS ? "records"
                                                : "template:",
        sc->template_path);
    (void)hearth_buf_printf(b, "text_field = %s\n", sc->text_field);
    if (sc->order[0]) (void)hearth_buf_printf(b, "order = %s\n", sc->order);
    if (sc->partition == HEARTH_FLEET_IID)
        (void)hearth_buf_puts(b, "partition = iid\n");
    else
        (void)hearth_buf_printf(b, "partition = field:%s\n", sc->field);
    (void)hearth_buf_printf(b, "devices = %u\nmin_records = %u\npiece = %u\n",
                            sc->devices, sc->min_records, sc->piece);
    if (sc->holdout == HEARTH_FLEET_HOLDOUT_NONE)
        (void)hearth_buf_puts(b, "holdout = none\n");
    else
        (void)hearth_buf_printf(
            b, "holdout = %s:%.9g\n",
            sc->holdout == HEARTH_FLEET_HOLDOUT_LAST ? "last" : "hash",
            sc->holdout_share);
    if (sc->unseen_every)
        (void)hearth_buf_printf(b, "unseen_devices = every:%u\n",
                                sc->unseen_every);
    else if (sc->unseen_share > 0.0)
        (void)hearth_buf_printf(b, "unseen_devices = %.9g\n", sc->unseen_share);
    else
        (void)hearth_buf_printf(b, "unseen_devices = %u\n", sc->unseen_devices);
}

static void write_train(hearth_buf *b, const hearth_fleet_scenario *sc) {
    (void)hearth_buf_puts(b, "\n[train]\n");
    if (sc->steps)
        (void)hearth_buf_printf(b, "steps = %u\n", sc->steps);
    else
        (void)hearth_buf_printf(b, "epochs = %u\n", sc->epochs);
    (void)hearth_buf_printf(
        b,
        "batch = %u\nseq = %u\nlr = %.9g\nserver_lr = %.9g\n"
        "schedule = %s\nwarmup = %u\nweight_decay = %.9g\n"
        "loss = %s\n",
        sc->batch, sc->seq, sc->lr, sc->server_lr, sc->schedule, sc->warmup,
        sc->weight_decay, sc->loss);
    if (sc->share_min > 0.0)
        (void)hearth_buf_printf(b, "\n[cohort]\ncount = %.9g%%,%.9g%%\n",
                                100.0 * sc->share_min, 100.0 * sc->share_max);
    else
        (void)hearth_buf_printf(b, "\n[cohort]\ncount = %u,%u\n", sc->count_min,
                                sc->count_max);
    (void)hearth_buf_puts(b, "time = ");
    put_duration(b, sc->time_min_ms);
    (void)hearth_buf_puts(b, ",");
    put_duration(b, sc->time_max_ms);
    (void)hearth_buf_printf(b, "\nover_select = %.9g\n", sc->over_select);
    (void)hearth_buf_printf(
        b,
        "\n[privacy]\nmode = %s\nclip = %.9g\nclip_quantile = %.9g\n"
        "clip_rate = %.9g\nclip_share = %.9g\nclip_freeze = %u\n"
        "noise = %.9g\ndelta = %.9g\n",
        sc->privacy == HEARTH_FLEET_PRIVACY_LOCAL ? "local" : "none", sc->clip,
        sc->clip_quantile, sc->clip_rate, sc->clip_share, sc->clip_freeze,
        sc->noise, sc->delta);
    if (sc->release_noise > 0.0)
        (void)hearth_buf_printf(
            b,
            "release_noise = %.9g\nrelease_buffers = %u\n"
            "release_separation = %u\nrelease_participations = %u\n",
            sc->release_noise, sc->release_buffers, sc->release_separation,
            sc->release_participations);
}

hearth_status hearth_fleet_scenario_write(hearth_buf *b,
                                          const hearth_fleet_scenario *sc) {
    write_run(b, sc);
    write_records(b, sc);
    write_train(b, sc);
    for (size_t i = 0; i < sc->n_classes; i++) {
        const hearth_fleet_class *c = &sc->device_class[i];
        (void)hearth_buf_printf(
            b,
            "\n[device.%s]\nshare = %.9g\ntokens_per_second = %.9g\n"
            "up_kbps = %.9g\ndown_kbps = %.9g\ndropout = %.9g\n",
            c->name, c->share, c->tokens_per_second, c->up_kbps, c->down_kbps,
            c->dropout);
    }
    (void)hearth_buf_printf(
        b,
        "\n[baseline]\ncentral = %s\nlocal = %s\nbase = %s\ncontrol = %s\n"
        "central_batch = %u\ncentral_epochs = %u\ncentral_patience = %u\n"
        "central_lr = %.9g\ncentral_tolerance = %.9g\ncentral_trains = %s\n"
        "local_steps = %u\n"
        "local_lr = %.9g\n",
        yes(sc->central), yes(sc->local), yes(sc->base), yes(sc->control),
        sc->central_batch, sc->central_epochs, sc->central_patience,
        sc->central_lr, sc->central_tolerance,
        sc->central_trains_a ? "ab" : "b", sc->local_steps, sc->local_lr);
    return b->failed ? HEARTH_ENOMEM : HEARTH_OK;
}

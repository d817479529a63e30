/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_e2e.c - whole runs on a tiny random model: ctest fleet.NAME
 * runs the test called NAME.  The model knows nothing, so what is tested is the
 * machine: rows, counts, determinism, the control's noise, dropout. */
#include "tests/support/cmocka_all.h"

#include <math.h>

#include "client/model/base_model.h"
#include "common/file.h"
#include "privacy/accountant_zcdp.h"
#include "tests/fleet/fleet_release.h"
#include "tests/fleet/fleet_run.h"
#include "tests/fleet/fleet_sweep_run.h"
#include "tests/fleet/fleet_task.h"
#include "tests/fleet/fleet_world.h"
#include "tests/support/privacy_seam.h"
#include "coordinator/task.h"
#include "privacy/noise.h"

static char dir[64];

static void put(const char *name, const hearth_buf *b) {
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    assert_false(b->failed);
    assert_ok(hearth_file_write(path, hearth_buf_str(b), b->n, 0644, NULL));
}

/* A tokenizer of 256 bytes and three special tokens. */
static void put_tokenizer(void) {
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    static const char *const SPECIAL[] = {"<unk>", "<s>", "</s>"};
    (void)hearth_buf_puts(&b, "{\"version\":\"1.0\",\"added_tokens\":[");
    for (int i = 0; i < 3; i++)
        (void)hearth_buf_printf(
            &b,
            "%s{\"id\":%d,\"content\":\"%s\",\"single_word\":false,\"lstrip\":"
            "false,\"rstrip\":false,\"normalized\":false,\"special\":true}",
            i ? "," : "", i, SPECIAL[i]);
    (void)hearth_buf_puts(
        &b, "],\"normalizer\":null,\"pre_tokenizer\":null,\"post_processor\":"
            "null,\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":"
            "\"ByteFallback\"},{\"type\":\"Fuse\"}]},\"model\":{\"type\":"
            "\"BPE\",\"dropout\":null,\"unk_token\":\"<unk>\","
            "\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,"
            "\"fuse_unk\":true,\"byte_fallback\":true,\"vocab\":{");
    for (int i = 0; i < 3; i++)
        (void)hearth_buf_printf(&b, "\"%s\":%d,", SPECIAL[i], i);
    for (unsigned i = 0; i < 256; i++)
        (void)hearth_buf_printf(&b, "%s\"<0x%02X>\":%u", i ? "," : "", i,
                                i + 3);
    (void)hearth_buf_puts(&b, "},\"merges\":[]}}");
    put("tokenizer.json", &b);
    hearth_buf_free(&b);
    (void)hearth_buf_puts(&b, "{\"bos_token\":\"<s>\",\"eos_token\":\"</s>\"}");
    put("tokenizer_config.json", &b);
    hearth_buf_free(&b);
}

static void put_model(void) {
    static const char CONFIG[] =
        "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\","
        "\"vocab_size\":259,\"hidden_size\":16,\"intermediate_size\":24,"
        "\"num_hidden_layers\":2,\"num_attention_heads\":2,"
        "\"num_key_value_heads\":1,\"head_dim\":8,\"max_position_embeddings\":"
        "64,\"rms_norm_eps\":1e-5,\"rope_theta\":10000.0,\"tie_word_embeddings"
        "\":true,\"initializer_range\":0.3,\"bos_token_id\":1,\"eos_token_id\":"
        "2}";
    char config[128], tokenizer[128], model[128];
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    hearth_error err = {0};
    (void)hearth_buf_puts(&b, CONFIG);
    put("in.json", &b);
    hearth_buf_free(&b);
    put_tokenizer();
    snprintf(config, sizeof(config), "%s/in.json", dir);
    snprintf(tokenizer, sizeof(tokenizer), "%s/tokenizer.json", dir);
    snprintf(model, sizeof(model), "%s/model", dir);
    if (hearth_model_create(config, tokenizer, 7, model, NULL, &err) !=
        HEARTH_OK)
        fail_msg("%s", err.text);
}

/* Eight people with 14 short lines each. */
static void put_records(void) {
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    for (int p = 0; p < 8; p++) {
        (void)hearth_buf_printf(&b, "{\"role\":\"person %d\",\"says\":[", p);
        for (int i = 0; i < 14; i++)
            (void)hearth_buf_printf(&b, "%s\"day %d: %s and %s\"", i ? "," : "",
                                    i, i % 2 ? "rest" : "walk",
                                    p % 2 ? "tea" : "bread");
        (void)hearth_buf_puts(&b, "]}\n");
    }
    put("people.jsonl", &b);
    hearth_buf_free(&b);
}

/* The scenario of all tests; more goes behind it. */
static const char SCENARIO[] =
    "[run]\nname = tiny\nseeds = 1,2\nrounds = 2\njobs = 2\n"
    "[model]\npath = model\ntargets = v_proj\nrank = 1\nalpha = 2\n"
    "[records]\npath = people.jsonl\ntext_field = says\npartition = "
    "field:role\ndevices = 6\nunseen_devices = 2\n"
    "[train]\nsteps = 2\nbatch = 4\nseq = 32\nlr = 2e-2\n"
    "[privacy]\nmode = local\nclip = 0.1\nnoise = 2\ndelta = 1e-5\n"
    "[baseline]\ncentral_epochs = 2\ncentral_batch = 8\n";

/* Run the scenario with overrides into dir/name and read the results. */
static void run(const char *name, const char *const *sets, size_t n_sets,
                hearth_fleet_results *r) {
    char path[128], out[128];
    hearth_error err = {0};
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    (void)hearth_buf_puts(&b, SCENARIO);
    put("tiny.ini", &b);
    hearth_buf_free(&b);
    snprintf(path, sizeof(path), "%s/tiny.ini", dir);
    snprintf(out, sizeof(out), "%s/%s", dir, name);
    const hearth_fleet_run_options opt = {path, sets, n_sets, out, true, false};
    if (hearth_fleet_run(&opt, &b, NULL, &err) != HEARTH_OK)
        fail_msg("%s", err.text);
    assert_non_null(strstr(hearth_buf_str(&b), "| holdout | federated |"));
    hearth_buf_free(&b);
    if (hearth_fleet_results_load(r, out, NULL, &err) != HEARTH_OK)
        fail_msg("%s", err.text);
    assert_int_equal(hearth_fleet_run(&opt, &b, NULL, &err), HEARTH_EEXISTS);
}

/* What can not run is refused before anything is written. */
static void refused(const char *set, hearth_status want, const char *words) {
    char path[128], out[128];
    hearth_error err = {0};
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    (void)hearth_buf_puts(&b, SCENARIO);
    put("tiny.ini", &b);
    hearth_buf_free(&b);
    snprintf(path, sizeof(path), "%s/tiny.ini", dir);
    snprintf(out, sizeof(out), "%s/refused", dir);
    const hearth_fleet_run_options opt = {path, &set, 1, out, true, false};
    assert_int_equal(hearth_fleet_run(&opt, &b, NULL, &err), want);
    assert_non_null(strstr(err.text, words));
    assert_false(hearth_file_exists(out));
}

static void run_is_refused_before_it_writes(void **state) {
    (void)state;
    refused("model.path=none", HEARTH_ENOTFOUND, "no config.json there");
    refused("cohort.count=7,8", HEARTH_EINVAL, "there are 6 devices");
}

static void run_writes_every_row(void **state) {
    hearth_fleet_results r;
    char path[128];
    (void)state;
    run("rows", NULL, 0, &r);
    /* 2 seeds, rounds 0 to 2, three splits */
    assert_int_equal(r.n_metrics, 2 * 3 * 3);
    for (size_t i = 0; i < r.n_metrics; i++) {
        const hearth_fleet_metric *m = &r.metric[i];
        assert_true(isfinite(m->loss) && m->loss > 0.0);
        assert_true(m->loss_p10 <= m->loss && m->loss <= m->loss_p90);
        if (!m->round) continue;
        assert_int_equal(m->devices_invited, 6);
        assert_int_equal(m->devices_accepted, 6);
        assert_int_equal(m->devices_failed + m->devices_late, 0);
        /* d = 2 layers x 8 = 16 int32, and the messages around them */
        assert_in_range(m->bytes_up, 6 * 16 * 4, 6 * 4096);
        assert_true(m->virtual_seconds > 0.0);
        assert_true(m->clip_fraction >= 0.0 && m->clip_fraction <= 1.0);
        assert_true(fabs(m->noise_to_signal - 2.0 * sqrt(16.0 / 6.0)) < 1e-7);
        assert_true(m->epsilon_release < m->epsilon_coordinator);
    }
    /* rho = 2 / z^2 a round, two rounds */
    assert_true(fabs(r.metric[8].epsilon_coordinator -
                     hearth_zcdp_epsilon(1.0, 1e-5)) < 1e-6);
    int seen[HEARTH_FLEET_N_METHODS] = {0};
    for (size_t i = 0; i < r.n_baseline_devices; i++)
        seen[r.baseline_device[i].method]++;
    assert_true(seen[HEARTH_FLEET_BASE] && seen[HEARTH_FLEET_LOCAL] &&
                seen[HEARTH_FLEET_CENTRAL] && seen[HEARTH_FLEET_CONTROL]);
    hearth_fleet_results_free(&r);
    snprintf(path, sizeof(path), "%s/rows/report.html", dir);
    assert_true(hearth_file_exists(path));
    snprintf(path, sizeof(path), "%s/rows/run.json", dir);
    assert_true(hearth_file_exists(path));
    snprintf(path, sizeof(path), "%s/rows/scenario.ini", dir);
    hearth_fleet_scenario *sc; /* the resolved one can be run again */
    assert_ok(hearth_fleet_scenario_load(&sc, path, NULL, 0, NULL, NULL));
    hearth_fleet_scenario_free(sc, NULL);
}

/* Write text as dir/NAME and give its path. */
static const char *scenario_file(const char *name, const char *text) {
    static char path[160];
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    (void)hearth_buf_puts(&b, text);
    put(name, &b);
    hearth_buf_free(&b);
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

/* A sweep of two cells; what is finished is not run again, nor taken for another
 * sweep's; a seed that is missing is run. */
static void sweep_goes_on_where_it_was(void **state) {
    static const char *const SETS[] = {"baseline.central=no",
                                       "baseline.local=no",
                                       "baseline.control=no", "run.rounds=1"};
    static const char SWEEP[] =
        "[sweep]\nrecords.devices = 4,6\n[sweep.quiet]\nprivacy.noise = 0\n";
    char out[128], path[200];
    hearth_buf ini = HEARTH_BUF_INIT(NULL), text = HEARTH_BUF_INIT(NULL);
    hearth_error err = {0};
    hearth_fleet_sweep *sw;
    (void)state;
    (void)hearth_buf_puts(&ini, SCENARIO);
    (void)hearth_buf_puts(&ini, SWEEP);
    const char *file = scenario_file("swept.ini", hearth_buf_str(&ini));
    assert_ok(hearth_fleet_sweep_load(&sw, file, NULL, &err));
    assert_int_equal(sw->n, 3);
    snprintf(out, sizeof(out), "%s/sweep", dir);
    hearth_fleet_run_options opt = {file, SETS, 4, out, true, false};
    if (hearth_fleet_sweep_run(&opt, sw, &text, NULL, &err) != HEARTH_OK)
        fail_msg("%s", err.text);
    assert_non_null(strstr(hearth_buf_str(&text), "| 16 | 0.1 | 4 | 2 |"));
    assert_non_null(strstr(hearth_buf_str(&text), "| 16 | 0.1 | 6 | none |"));
    assert_true(hearth_fleet_sweep_is_dir(out));
    snprintf(path, sizeof(path), "%s/report.html", out);
    assert_true(hearth_file_exists(path));
    /* One cell loses its joined rows and a seed: the other seed is kept. */
    snprintf(path, sizeof(path), "%s/cells/devices-4/metrics.jsonl", out);
    assert_int_equal(remove(path), 0);
    snprintf(path, sizeof(path), "%s/cells/devices-4/seed-2", out);
    assert_ok(hearth_file_remove_tree(path, NULL));
    snprintf(path, sizeof(path), "%s/cells/devices-4/seed-1/mark", out);
    assert_ok(hearth_file_write(path, "x", 1, 0644, NULL));
    hearth_buf_clear(&text);
    assert_ok(hearth_fleet_sweep_run(&opt, sw, &text, NULL, &err));
    assert_true(hearth_file_exists(path));
    assert_non_null(strstr(hearth_buf_str(&text), "| 16 | 0.1 | 4 | 2 |"));
    /* The same folder, another scenario: nothing is mixed. */
    opt.n_sets = 3;
    assert_int_equal(hearth_fleet_sweep_run(&opt, sw, &text, NULL, &err),
                     HEARTH_EEXISTS);
    hearth_fleet_sweep_free(sw);
    hearth_buf_free(&ini);
    hearth_buf_free(&text);
}

static void run_is_a_function_of_its_seed(void **state) {
    static const char *const ONE[] = {"run.jobs=1", "baseline.central=no"};
    static const char *const TWO[] = {"run.jobs=2", "baseline.central=no"};
    hearth_fleet_results a, b;
    (void)state;
    run("one", ONE, 2, &a);
    run("two", TWO, 2, &b);
    assert_int_equal(a.n_metrics, b.n_metrics);
    for (size_t i = 0; i < a.n_metrics; i++) {
        a.metric[i].wall_seconds = b.metric[i].wall_seconds = 0.0;
        hearth_buf x = HEARTH_BUF_INIT(NULL), y = HEARTH_BUF_INIT(NULL);
        assert_ok(hearth_fleet_metric_json(&x, &a.metric[i]));
        assert_ok(hearth_fleet_metric_json(&y, &b.metric[i]));
        assert_string_equal(hearth_buf_str(&x), hearth_buf_str(&y));
        hearth_buf_free(&x);
        hearth_buf_free(&y);
    }
    assert_true(a.metric[6].loss != a.metric[15].loss); /* two seeds differ */
    hearth_fleet_results_free(&a);
    hearth_fleet_results_free(&b);
}

static void dropout_30(void **state) {
    static const char *const SETS[] = {
        "run.seeds=3",         "run.jobs=1",         "run.rounds=4",
        "cohort.count=2,6",    "cohort.time=10m,1h", "device.phone.dropout=0.3",
        "baseline.central=no", "baseline.local=no",  "baseline.control=no"};
    hearth_fleet_results r;
    uint64_t failed = 0, accepted = 0;
    (void)state;
    run("dropout", SETS, sizeof(SETS) / sizeof(SETS[0]), &r);
    for (size_t i = 0; i < r.n_metrics; i++) {
        const hearth_fleet_metric *m = &r.metric[i];
        if (!m->round || m->split != HEARTH_FLEET_HOLDOUT) continue;
        failed += m->devices_failed;
        accepted += m->devices_accepted;
        assert_in_range(m->devices_accepted, 2, 6);
    }
    assert_in_range(failed, 1, 16); /* of at most 24; expected 7 */
    assert_true(accepted >= 8);
    hearth_fleet_results_free(&r);
}

/* ---- the control's noise ---- */

/* The flat release of one world after one round. */
static void one_round(const hearth_fleet_lab *lab, bool control, uint64_t seed,
                      float *flat, size_t d) {
    hearth_fleet_world *w;
    hearth_fleet_metric row;
    hearth_adapter *a;
    hearth_error err = {0};
    char state[128];
    snprintf(state, sizeof(state), "%s/world", dir);
    if (hearth_fleet_world_open(&w, lab, seed, state, control, &err) !=
        HEARTH_OK)
        fail_msg("%s", err.text);
    if (hearth_fleet_world_round(w, &row, &err) != HEARTH_OK)
        fail_msg("%s", err.text);
    assert_ok(hearth_fleet_world_adapter(w, &a, &err));
    assert_int_equal(hearth_adapter_dim(a, HEARTH_PART_B), d);
    assert_ok(hearth_adapter_flatten(a, HEARTH_PART_B, flat, d));
    hearth_adapter_free(a);
    hearth_fleet_world_close(w);
}

static double distance(const float *a, const float *b, size_t n) {
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    return sqrt(sum);
}

/* With the same draws, run and control differ by the mean delta, which the clip
 * bounds; another seed's noise is much farther away. */
static void control_has_the_same_noise(void **state) {
    enum { D = 16 };
    float run_flat[D], control[D], other[D], none[D] = {0};
    hearth_fleet_scenario *sc;
    hearth_fleet_population *people;
    hearth_fleet_lab lab;
    hearth_error err = {0};
    const char *set = "privacy.clip=0.01";
    (void)state;
    assert_ok(hearth_fleet_scenario_parse(
        &sc, "t", dir, SCENARIO, strlen(SCENARIO), &set, 1, NULL, &err));
    assert_ok(hearth_fleet_records_load(&people, sc, NULL, &err));
    assert_ok(hearth_fleet_lab_open(&lab, sc, people, NULL, &err));
    one_round(&lab, false, 1, run_flat, D);
    one_round(&lab, true, 1, control, D);
    one_round(&lab, true, 2, other, D);
    assert_true(distance(run_flat, control, D) <= 0.01 * 1.001);
    assert_true(distance(run_flat, control, D) > 0.001); /* it did train */
    /* noise on the mean: 2 x 0.01 / sqrt(6) a coordinate, norm 0.033 */
    assert_true(distance(control, none, D) > 0.015);
    assert_true(distance(control, other, D) > 0.02);
    hearth_fleet_lab_close(&lab);
    hearth_fleet_population_free(people);
    hearth_fleet_scenario_free(sc, NULL);
}

/* Six devices and their median: from far above, the clip follows the norms down
 * until about half of them are longer, noise or not. */
static void follow_the_norms(const char *noise, double slack) {
    enum { ROUNDS = 14, LAST = 5 };
    const char *const sets[] = {noise,
                                "privacy.clip=3",
                                "privacy.clip_quantile=0.5",
                                "privacy.clip_rate=1",
                                "privacy.clip_share=0.5",
                                "run.rounds=14"};
    hearth_fleet_scenario *sc;
    hearth_fleet_population *people;
    hearth_fleet_lab lab;
    hearth_fleet_world *w;
    hearth_error err = {0};
    char path[128];
    double longer = 0.0;
    assert_ok(hearth_fleet_scenario_parse(
        &sc, "t", dir, SCENARIO, strlen(SCENARIO), sets, 6, NULL, &err));
    assert_ok(hearth_fleet_records_load(&people, sc, NULL, &err));
    assert_ok(hearth_fleet_lab_open(&lab, sc, people, NULL, &err));
    snprintf(path, sizeof(path), "%s/world", dir);
    if (hearth_fleet_world_open(&w, &lab, 3, path, false, &err) != HEARTH_OK)
        fail_msg("%s", err.text);
    for (int i = 0; i < ROUNDS; i++) {
        hearth_fleet_metric row;
        if (hearth_fleet_world_round(w, &row, &err) != HEARTH_OK)
            fail_msg("%s", err.text);
        double clip = hearth_fleet_world_clip(w);
        if (i == 0) assert_true(clip == 3.0 && row.clip_fraction == 0.0);
        if (i >= ROUNDS - LAST) longer += row.clip_fraction / LAST;
    }
    assert_true(hearth_fleet_world_clip(w) < 1.0);
    if (!(fabs(longer - 0.5) <= slack))
        fail_msg("%s: %g of the norms are longer than the clip", noise, longer);
    hearth_fleet_world_close(w);
    hearth_fleet_lab_close(&lab);
    hearth_fleet_population_free(people);
    hearth_fleet_scenario_free(sc, NULL);
}

static void clip_follows_the_norms(void **state) {
    (void)state;
#ifdef NDEBUG /* each takes 20 s in a checked build */
    follow_the_norms("privacy.mode=none", 0.25);
#endif
    follow_the_norms("privacy.noise=0.5", 0.4);
}

/* ---- the coordinator's own noise ---- */

enum { NOISED_ROUNDS = 3, NOISED_D = 16 };

/* Scenario, people and model of a test with settings. */
typedef struct {
    hearth_fleet_scenario *sc;
    hearth_fleet_population *people;
    hearth_fleet_lab lab;
    hearth_wire_privacy privacy; /* bounds of its task */
} place;

static void place_open(place *p, const char *const *sets, size_t n) {
    static const uint8_t a_seed[32];
    hearth_buf ini = HEARTH_BUF_INIT(NULL);
    hearth_error err = {0};
    hearth_task t;
    if (hearth_fleet_scenario_parse(&p->sc, "t", dir, SCENARIO,
                                    strlen(SCENARIO), sets, n, NULL, &err))
        fail_msg("%s", err.text);
    assert_ok(hearth_fleet_records_load(&p->people, p->sc, NULL, &err));
    assert_ok(hearth_fleet_lab_open(&p->lab, p->sc, p->people, NULL, &err));
    assert_ok(hearth_fleet_task_ini(&ini, &p->lab, true));
    assert_ok(hearth_task_parse(&t, "t", hearth_buf_str(&ini), ini.n, a_seed,
                                NULL, &err));
    p->privacy = t.privacy;
    hearth_buf_free(&ini);
}

static void place_close(place *p) {
    hearth_fleet_lab_close(&p->lab);
    hearth_fleet_population_free(p->people);
    hearth_fleet_scenario_free(p->sc, NULL);
}

/* Rounds of deltas of zero: the sum of each round in integers, and its row. */
static void noised_rounds(const place *p, int64_t sum[][NOISED_D],
                          hearth_fleet_metric *row) {
    float at[2][NOISED_D] = {{0}};
    hearth_fleet_world *w;
    hearth_error err = {0};
    char path[128];
    snprintf(path, sizeof(path), "%s/world", dir);
    if (hearth_fleet_world_open(&w, &p->lab, 1, path, true, &err))
        fail_msg("%s", err.text);
    for (int t = 0; t < NOISED_ROUNDS; t++) {
        hearth_adapter *a;
        if (hearth_fleet_world_round(w, &row[t], &err))
            fail_msg("%s", err.text);
        assert_int_equal(row[t].devices_accepted, 6);
        assert_ok(hearth_fleet_world_adapter(w, &a, &err));
        float *now = at[(t + 1) % 2], *old = at[t % 2];
        assert_ok(hearth_adapter_flatten(a, HEARTH_PART_B, now, NOISED_D));
        hearth_adapter_free(a);
        for (int i = 0; i < NOISED_D; i++)
            sum[t][i] = llrint(ldexp(6.0 * ((double)now[i] - (double)old[i]),
                                     p->privacy.scale_exp));
    }
    hearth_fleet_world_close(w);
}

/* The noise that the coordinator must have drawn. */
static void own_noise(const place *p, int64_t y[][NOISED_D]) {
    double buffers[4 * NOISED_D];
    int32_t draw[NOISED_D];
    hearth_blt_noise m;
    hearth_rng *rng;
    hearth_seam_set(HEARTH_SEAM_NOISE_EXACT, 1);
    assert_ok(
        hearth_seam_rng_open(&rng, 1, HEARTH_FLEET_RELEASE_STREAM, NULL, NULL));
    assert_ok(hearth_fleet_release_mechanism(&m, p->sc, &p->privacy, buffers));
    for (int t = 0; t < NOISED_ROUNDS; t++) {
        memset(y[t], 0, sizeof(y[t]));
        assert_ok(hearth_noise_draw(draw, NOISED_D, m.sigma_sq, rng));
        assert_ok(hearth_blt_noise_add(&m, y[t], draw));
    }
    hearth_rng_close(rng);
}

/* With the coordinator's noise every release holds the same noise of the
 * devices as without it, to the last bits, and the coordinator's on top. */
static void release_noise_comes_on_top(void **state) {
    const char *sets[] = {"run.rounds=3", "privacy.noise=3",
                          "privacy.release_noise=2"};
    int64_t off[NOISED_ROUNDS][NOISED_D], on[NOISED_ROUNDS][NOISED_D];
    int64_t y[NOISED_ROUNDS][NOISED_D];
    hearth_fleet_metric row[2][NOISED_ROUNDS];
    double devices = 0.0, own = 0.0;
    place p;
    (void)state;
    place_open(&p, sets, 2);
    noised_rounds(&p, off, row[0]);
    place_close(&p);
    place_open(&p, sets, 3);
    noised_rounds(&p, on, row[1]);
    own_noise(&p, y);
    for (int t = 0; t < NOISED_ROUNDS; t++) {
        const hearth_fleet_metric *a = &row[0][t], *b = &row[1][t];
        for (int i = 0; i < NOISED_D; i++) {
            /* a release is floats: ulps of sums near 2^23 */
            assert_true(llabs(on[t][i] - off[t][i] - y[t][i]) <= 4);
            devices += (double)off[t][i] * (double)off[t][i];
            own += (double)y[t][i] * (double)y[t][i];
        }
        assert_int_equal(a->bytes_up, b->bytes_up);
        assert_true(a->epsilon_coordinator == b->epsilon_coordinator);
        assert_true(a->noise_to_signal == b->noise_to_signal);
        assert_true(a->epsilon_release == b->epsilon_release_devices);
        assert_true(b->epsilon_release < b->epsilon_release_devices);
        assert_true(b->epsilon_release < b->epsilon_release_server);
        assert_true(fabs(b->epsilon_release_server -
                         hearth_zcdp_epsilon(0.5, 1e-5)) < 1e-9);
        assert_true(b->noise_to_signal_server > 0.0);
        assert_true(a->epsilon_release_server == 0.0);
    }
    /* z = 3 of six devices in each coordinate: full strength */
    double want = 6.0 * 9.0 * (double)p.privacy.delta2_squared;
    double mean = devices / (NOISED_ROUNDS * NOISED_D);
    assert_true(mean > 0.5 * want && mean < 2.0 * want);
    /* k = 3 in three rounds: sens^2 is 3 or a little more */
    want = 3.0 * 4.0 * (double)p.privacy.delta2_squared;
    mean = own / (NOISED_ROUNDS * NOISED_D);
    assert_true(mean > 0.5 * want && mean < 2.5 * want);
    place_close(&p);
}

/* Two of six devices a round, each every third round: the ledgers say that
 * everybody took part twice, as the price assumes, and the run ends well. */
static void release_noise_lets_devices_rest(void **state) {
    static const char *const SETS[] = {
        "run.rounds=6",        "cohort.count=2,2",
        "run.seeds=1",         "privacy.release_noise=1",
        "baseline.central=no", "privacy.release_separation=3",
        "baseline.local=no",   "baseline.control=no"};
    hearth_fleet_results r;
    char path[128];
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    (void)state;
    run("rest", SETS, sizeof(SETS) / sizeof(SETS[0]), &r);
    assert_int_equal(r.n_metrics, 7 * 3);
    const hearth_fleet_metric *m = &r.metric[20];
    assert_int_equal(m->round, 6);
    assert_true(fabs(m->epsilon_coordinator -
                     hearth_zcdp_epsilon(2 * 2.0 / 4.0, 1e-5)) < 1e-6);
    assert_true(fabs(m->epsilon_release_server -
                     hearth_zcdp_epsilon(2.0, 1e-5)) < 1e-6);
    hearth_fleet_results_free(&r);
    snprintf(path, sizeof(path), "%s/rest/report.html", dir);
    assert_ok(hearth_file_read(&b, path, 1 << 20, NULL));
    assert_non_null(strstr(hearth_buf_str(&b), "on top of the devices"));
    assert_non_null(strstr(hearth_buf_str(&b), "noise alone"));
    hearth_buf_free(&b);
}

/* One server step of two coordinates, all zeros. */
static hearth_status one_step(float next[2], int scale_exp) {
    const int64_t sum[2] = {0, 0};
    const float start[2] = {0, 0};
    hearth_server_opt o = {0, 0};
    return __wrap_hearth_server_opt_step(&o, next, start, sum, 2, 1, scale_exp,
                                         1.0);
}

/* Whatever would make the figures untrue ends the run. */
static void release_rules_end_the_run(void **state) {
    const char *sets[] = {"run.rounds=5", "privacy.release_noise=1",
                          "privacy.release_separation=2",
                          "privacy.release_participations=2"};
    hearth_fleet_release *r, *two;
    hearth_error err = {0};
    float x[2] = {0, 0};
    place p;
    (void)state;
    place_open(&p, sets, 4);
    p.privacy.d = 2;
    hearth_seam_set(HEARTH_SEAM_NOISE_EXACT, 1);
#define OPEN(out)                                                              \
    hearth_fleet_release_open(out, p.sc, &p.privacy, 1, 3, NULL, &err)
    /* A device comes back too soon; one that rested may. */
    assert_ok(OPEN(&r));
    assert_int_equal(OPEN(&two), HEARTH_EINVAL);
    for (int round = 1; round <= 3; round++) {
        assert_true(hearth_fleet_release_rests(r, 0) == (round == 2));
        assert_true(hearth_fleet_release_rests(r, 1) == (round == 3));
        hearth_fleet_release_took_part(r, round == 1 ? 0 : 1);
        assert_ok(one_step(x, p.privacy.scale_exp));
        assert_true(x[0] != 0.0f && x[1] != 0.0f);
        hearth_status want = round == 3 ? HEARTH_EINVAL : HEARTH_OK;
        assert_int_equal(hearth_fleet_release_end_round(r, true, &err), want);
        assert_ok(hearth_fleet_release_end_round(r, false, &err));
    }
    assert_non_null(strstr(err.text, "release_separation"));
    hearth_fleet_release_close(r);
    /* A third participation. */
    assert_ok(OPEN(&r));
    for (int round = 1; round <= 5; round++) {
        if (round % 2) hearth_fleet_release_took_part(r, 2);
        assert_ok(one_step(x, p.privacy.scale_exp));
        hearth_status want = round == 5 ? HEARTH_EINVAL : HEARTH_OK;
        assert_int_equal(hearth_fleet_release_end_round(r, true, &err), want);
    }
    assert_non_null(strstr(err.text, "release_participations"));
    assert_int_not_equal(one_step(x, p.privacy.scale_exp), HEARTH_OK);
    hearth_fleet_release_close(r);
    /* A failed round counts for nobody. */
    assert_ok(OPEN(&r));
    hearth_fleet_release_took_part(r, 0);
    assert_ok(hearth_fleet_release_end_round(r, false, &err));
    assert_false(hearth_fleet_release_rests(r, 0));
    /* Another shape or scale, no randomness, and a release without noise. */
    assert_int_equal(one_step(x, p.privacy.scale_exp + 1), HEARTH_EINVAL);
    hearth_seam_fail_after(0);
    assert_int_equal(one_step(x, p.privacy.scale_exp), HEARTH_ERNG);
    hearth_seam_fail_after(UINT64_MAX);
    assert_int_equal(hearth_fleet_release_end_round(r, true, &err),
                     HEARTH_EINVAL);
    assert_non_null(strstr(err.text, "no noise"));
    hearth_fleet_release_close(r);
    /* Closed: nothing is added; a coordinate of its own is not covered. */
    x[0] = 1.0f;
    assert_ok(one_step(x, 0));
    assert_true(x[0] == 0.0f);
    p.privacy.n_coords = 1;
    assert_int_equal(OPEN(&r), HEARTH_EINVAL);
#undef OPEN
    hearth_policy policy; /* the device's own ledger knows the limit */
    hearth_fleet_task_policy(&policy, p.sc);
    assert_int_equal(policy.ledger.n_participations, 2);
    place_close(&p);
}

static int make_all(void **state) {
    (void)state;
    if (!hearth_test_dir(dir)) return -1;
    put_model();
    put_records();
    return 0;
}

static int remove_all(void **state) {
    (void)state;
    return hearth_file_remove_tree(dir, NULL);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(run_is_refused_before_it_writes),
        cmocka_unit_test(run_writes_every_row),
        cmocka_unit_test(run_is_a_function_of_its_seed),
        cmocka_unit_test(dropout_30),
        cmocka_unit_test(sweep_goes_on_where_it_was),
        cmocka_unit_test(control_has_the_same_noise),
        cmocka_unit_test(clip_follows_the_norms),
        cmocka_unit_test(release_noise_comes_on_top),
        cmocka_unit_test(release_noise_lets_devices_rest),
        cmocka_unit_test(release_rules_end_the_run),
    };
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("tests/fleet", tests, make_all,
                                       remove_all);
}

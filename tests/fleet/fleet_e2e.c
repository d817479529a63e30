/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_e2e.c - whole runs on a tiny random model: ctest fleet.NAME
 * runs the test called NAME.  The model knows nothing, so what is tested is the
 * machine: rows, counts, determinism, the control's noise, dropout. */
#include "tests/support/cmocka_all.h"

#include <math.h>

#include "client/model/base_model.h"
#include "common/file.h"
#include "privacy/accountant_zcdp.h"
#include "tests/fleet/fleet_run.h"
#include "tests/fleet/fleet_sweep_run.h"
#include "tests/fleet/fleet_world.h"

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
    };
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("tests/fleet", tests, make_all,
                                       remove_all);
}

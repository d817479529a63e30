/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_task.c - coordinator/task.h and coordinator/aggregate.h. */
#include <float.h>
#include <math.h>

#include "coordinator/aggregate.h"
#include "tests/support/coord_kit.h"
#include "tests/support/fail_alloc.h"

static hearth_status parse(hearth_task *t, const char *ini, hearth_error *err) {
    uint8_t seed[32] = {9};
    return hearth_task_parse(t, "TASK.ini", ini, strlen(ini), seed, NULL, err);
}

/* The kit's text with `from` replaced by `to`. */
static void edited(char out[2048], const char *from, const char *to) {
    char whole[2048];
    kit_ini(whole, sizeof(whole), "demo", "16,32", "60s,10m", 5, NULL);
    char *at = strstr(whole, from);
    if (!at) fail_msg("'%s' is not in the text", from);
    snprintf(out, 2048, "%.*s%s%s", (int)(at - whole), whole, to,
             at + strlen(from));
}

static void task_gives_every_number(void **state) {
    (void)state;
    hearth_task t;
    hearth_error err;
    char ini[2048];
    edited(ini, "scale = 10\n", "");
    if (parse(&t, ini, &err) != HEARTH_OK) fail_msg("%s", err.text);
    assert_string_equal(t.name, "demo");
    assert_string_equal(t.purpose, "federated");
    assert_int_equal(t.space.rule, HEARTH_RULE_FFA);
    assert_int_equal(t.privacy.d, KIT_D);
    assert_int_equal(t.payload_bytes, 4 * KIT_D);
    assert_int_equal(t.round.stage[0].count_min, 16);
    assert_int_equal(t.round.stage[0].time_max_ms, 600000);
    assert_int_equal(t.round.max_invited, 42); /* ceil(32 x 1.3) */
    assert_int_equal(t.local.seq, 32);
    /* The figures of the issue: 5 rounds at z = 2.4, delta 1e-5. */
    assert_float_equal(t.privacy.epsilon_coordinator, 9.84, 0.005);
    assert_true(t.privacy.epsilon_release < t.privacy.epsilon_coordinator);
    assert_true(fabs(t.privacy.noise_to_signal - 2.4 * sqrt(8.0 / 16)) < 1e-9);
    /* The noise is at least what z asks for, and the sum fits 32 bits. */
    double sigma2 = (double)t.privacy.sigma2_num / (double)t.privacy.sigma2_den;
    assert_true(sigma2 >=
                2.4 * 2.4 * (double)t.privacy.delta2_squared * (1 - 1e-12));
    assert_true(hearth_task_ring_ok(32, sqrt((double)t.privacy.bound_squared),
                                    sqrt(sigma2)));
    assert_true(t.privacy.scale_exp >= 10 && t.range > 0);
    assert_true(t.range < INT32_MAX);

    /* The same text and seed give the same task, another seed another space. */
    hearth_task again;
    assert_ok(parse(&again, ini, NULL));
    assert_memory_equal(&t, &again, sizeof(t));
    uint8_t seed[32] = {8};
    assert_ok(
        hearth_task_parse(&again, "x", ini, strlen(ini), seed, NULL, NULL));
    assert_memory_not_equal(t.space.space_digest, again.space.space_digest, 32);
    assert_memory_equal(t.space.shape_digest, again.space.shape_digest, 32);
}

static void task_of_fedit_has_both_factors(void **state) {
    (void)state;
    hearth_task t;
    hearth_error err;
    char ini[2048];
    edited(ini, "spacing = 0s\n", "spacing = 0s\nrule = fedit\n");
    if (parse(&t, ini, &err) != HEARTH_OK) fail_msg("%s", err.text);
    assert_int_equal(t.privacy.d, 2 * 8 + 4 * 2);
    hearth_adapter *a = NULL;
    assert_ok(hearth_task_adapter(&a, &t, NULL, &err));
    assert_int_equal(hearth_adapter_dim(a, HEARTH_PART_AB), t.privacy.d);
    hearth_adapter_free(a);
}

/* The bases whose blocks have other linear layers. */
static void task_of_other_modules(void **state) {
    static const struct {
        const char *base, *targets, *first;
        size_t d; /* of B: out x rank 2 */
    } v[] = {
        {"ffn = 16\nmodules = gpt2\n", "targets = auto",
         "transformer.h.0.attn.c_attn", 16 * 2},
        {"ffn = 16\nmodules = gpt2\n", "targets = c_proj,c_fc",
         "transformer.h.0.attn.c_proj", (8 + 16 + 8) * 2},
        {"ffn = 16\nmodules = phi3\n", "targets = qkv_proj,gate_up_proj",
         "model.layers.0.self_attn.qkv_proj", (16 + 32) * 2},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
        hearth_task t;
        hearth_error err;
        hearth_adapter *a = NULL;
        char ini[2048], again[2048];
        edited(ini, "ffn = 16\n", v[i].base);
        char *at = strstr(ini, "targets = v_proj");
        assert_non_null(at);
        (void)snprintf(again, sizeof(again), "%.*s%s%s", (int)(at - ini), ini,
                       v[i].targets, at + strlen("targets = v_proj"));
        if (parse(&t, again, &err) != HEARTH_OK) fail_msg("%s", err.text);
        assert_int_equal(t.privacy.d, v[i].d);
        assert_ok(hearth_task_adapter(&a, &t, NULL, &err));
        assert_string_equal(a->pair[0].module, v[i].first);
        hearth_adapter_free(a);
    }
}

static void task_refuses(const char *from, const char *to, hearth_status want) {
    hearth_task t, zero;
    hearth_error err;
    char ini[2048];
    edited(ini, from, to);
    hearth_error_clear(&err);
    hearth_status st = parse(&t, ini, &err);
    if (st != want) fail_msg("'%s': %d (%s)", to, st, err.text);
    assert_true(err.text[0] != '\0');
    memset(&zero, 0, sizeof(zero));
    assert_memory_equal(&t, &zero, sizeof(t));
}

static void a_seed_of_the_text_wins(void **state) {
    (void)state;
    hearth_task t, drawn;
    hearth_error err;
    uint8_t want[32], other[32] = {8};
    char ini[2048];
    edited(ini, "alpha = 2\n", "alpha = 2\na_seed = 6\n");
    if (parse(&t, ini, &err) != HEARTH_OK) fail_msg("%s", err.text);
    assert_ok(hearth_adapter_seed_from_number(6, want));
    assert_memory_equal(t.space.a_seed, want, 32);
    assert_ok(
        hearth_task_parse(&drawn, "x", ini, strlen(ini), other, NULL, NULL));
    assert_memory_equal(&t, &drawn, sizeof(t));
    task_refuses("alpha = 2\n", "alpha = 2\na_seed = -1\n", HEARTH_EFORMAT);
    task_refuses("alpha = 2\n", "alpha = 2\na_seed = x\n", HEARTH_EFORMAT);
}

static void task_refuses_bad_settings(void **state) {
    (void)state;
    task_refuses("name = demo", "name = De mo", HEARTH_EFORMAT);
    task_refuses("name = demo\n", "", HEARTH_ENOTFOUND);
    task_refuses("rounds = 5", "rounds = 0", HEARTH_EFORMAT);
    task_refuses("rounds = 5", "rounds = 5\nwhat = 1", HEARTH_EFORMAT);
    task_refuses("rounds = 5", "rounds = 5\nrounds = 6", HEARTH_EFORMAT);
    task_refuses("rounds = 5", "rounds = 5\npurpose =", HEARTH_EFORMAT);
    task_refuses("spacing = 0s", "spacing = 0", HEARTH_EFORMAT);
    task_refuses("spacing = 0s", "spacing = 4000d", HEARTH_EFORMAT);
    task_refuses("spacing", "rule = other\nspacing", HEARTH_EFORMAT);
    task_refuses("spacing", "rule = flora\nspacing", HEARTH_EUNSUPPORTED);
    task_refuses("spacing", "rule = rolora\nspacing", HEARTH_EUNSUPPORTED);
    task_refuses("spacing", "mode = distributed\nspacing", HEARTH_EUNSUPPORTED);
    task_refuses("spacing", "mode = none\nspacing", HEARTH_EFORMAT);
    task_refuses("id = 01", "id = 0", HEARTH_EFORMAT);
    task_refuses("layers = 1", "layers = 0", HEARTH_EFORMAT);
    task_refuses("targets = v_proj", "targets = z_proj", HEARTH_EFORMAT);
    task_refuses("targets = v_proj", "targets = c_attn", HEARTH_EFORMAT);
    task_refuses("ffn = 16\n", "ffn = 16\nmodules = bert\n", HEARTH_EFORMAT);
    task_refuses("ffn = 16\n", "ffn = 16\nmodules = gpt2\n", HEARTH_EFORMAT);
    task_refuses("rank = 2", "rank = 2000", HEARTH_EFORMAT);
    task_refuses("alpha = 2", "alpha = nan", HEARTH_EFORMAT);
    task_refuses("lr = 2e-2", "lr = 0", HEARTH_EFORMAT);
    task_refuses("lr = 2e-2", "lr = 2e-2\nschedule = x", HEARTH_EFORMAT);
    task_refuses("lr = 2e-2", "lr = 2e-2\nloss = x", HEARTH_EFORMAT);
    task_refuses("count = 16,32", "count = 16", HEARTH_EFORMAT);
    task_refuses("count = 16,32", "count = 32,16", HEARTH_EFORMAT);
    task_refuses("count = 16,32", "count = 0,16", HEARTH_EFORMAT);
    task_refuses("count = 16,32", "count = a,b", HEARTH_EFORMAT);
    task_refuses("time = 60s,10m", "time = 10m,60s", HEARTH_EFORMAT);
    task_refuses("time = 60s,10m", "time = 60,600", HEARTH_EFORMAT);
    task_refuses("time = 60s,10m", "time = 60s,8d", HEARTH_EFORMAT);
    task_refuses("time = 60s,10m", "time = 60s,10m\nover_select = 0.5",
                 HEARTH_EFORMAT);
    task_refuses("clip = 0.5", "clip = 0", HEARTH_EFORMAT);
    task_refuses("noise = 2.4", "noise = 0", HEARTH_EFORMAT);
    task_refuses("delta = 1e-5", "delta = 0", HEARTH_EFORMAT);
    task_refuses("scale = 10", "scale = 99", HEARTH_EFORMAT);
    /* The ring bound n C s + 8 sqrt(n) sigma < 2^31. */
    task_refuses("scale = 10", "scale = 30", HEARTH_ETOOBIG);
    task_refuses("clip = 0.5", "clip = 1e9", HEARTH_ETOOBIG);
    char ini[2048];
    hearth_task t;
    edited(ini, "scale = 10\n", "");
    char big[2048];
    char *at = strstr(ini, "clip = 0.5");
    snprintf(big, sizeof(big), "%.*sclip = 1e9%s", (int)(at - ini), ini,
             at + 10);
    assert_ok(parse(&t, big, NULL)); /* with a scale that fits it */
    assert_true(t.privacy.scale_exp < 0);
    assert_int_equal(parse(NULL, ini, NULL), HEARTH_EINVAL);
    static char huge[HEARTH_TASK_MAX_INI + 2];
    memset(huge, '\n', sizeof(huge) - 1);
    assert_int_equal(parse(&t, huge, NULL), HEARTH_ETOOBIG);
    hearth_buf text = HEARTH_BUF_INIT(NULL);
    assert_int_equal(hearth_task_read_file(&text, "/nonexistent/x", NULL),
                     HEARTH_ENOTFOUND);
}

static void ring_bound_is_the_limit(void **state) {
    (void)state;
    assert_true(hearth_task_ring_ok(1, 0x1p31 - 1, 0));
    assert_false(hearth_task_ring_ok(1, 0x1p31, 0));
    assert_true(hearth_task_ring_ok(100, 0, (0x1p31 - 1) / 80));
    assert_false(hearth_task_ring_ok(100, 0, 0x1p31 / 80));
    assert_false(hearth_task_ring_ok(2, 0x1p30, 1));
    assert_false(hearth_task_ring_ok(2, (double)INFINITY, 1));
}

static void one_device_has_no_release_epsilon(void **state) {
    (void)state;
    hearth_task t;
    char ini[2048];
    edited(ini, "count = 16,32", "count = 1,2");
    assert_ok(parse(&t, ini, NULL));
    assert_true(t.privacy.epsilon_release == DBL_MAX);
}

static void task_parse_survives_out_of_memory(void **state) {
    (void)state;
    char ini[2048];
    uint8_t seed[32] = {9};
    hearth_task t;
    edited(ini, "rounds = 5", "rounds = 5");
    for (size_t refuse = 1;; refuse++) {
        hearth_fail_alloc fa;
        hearth_alloc al = hearth_fail_alloc_init(&fa, refuse);
        hearth_status st =
            hearth_task_parse(&t, "t", ini, strlen(ini), seed, &al, NULL);
        assert_int_equal(atomic_load(&fa.live), 0);
        if (st == HEARTH_OK) break;
        assert_int_equal(st, HEARTH_ENOMEM);
    }
}

/* ---- aggregate ---- */

typedef struct {
    char dir[64], path[96];
    uint8_t bytes[12], sha[32];
} upload;

static void make(upload *u, int32_t a, int32_t b, int32_t c) {
    const int32_t v[3] = {a, b, c};
    if (!u->dir[0]) assert_non_null(hearth_test_dir(u->dir));
    snprintf(u->path, sizeof(u->path), "%s/f", u->dir);
    for (size_t i = 0; i < 3; i++)
        hearth_store_le32(u->bytes + 4 * i, (uint32_t)v[i]);
    assert_ok(hearth_sha256(u->sha, u->bytes, 12));
    assert_ok(hearth_file_write(u->path, u->bytes, 12, 0600, NULL));
}

static void sums_are_exact_and_checked(void **state) {
    (void)state;
    upload u = {0};
    hearth_accumulator a, b;
    hearth_error err;
    hearth_upload_check ck = {12, INT32_MAX, u.sha};
    assert_ok(hearth_accumulator_init(&a, 3, NULL));
    assert_ok(hearth_accumulator_init(&b, 3, NULL));
    for (int i = 0; i < 3; i++) {
        make(&u, INT32_MAX, -INT32_MAX, i);
        assert_ok(hearth_accumulator_add(&a, u.path, &ck, &err));
    }
    assert_true(a.sum[0] == 3 * (int64_t)INT32_MAX && a.sum[2] == 3);
    assert_true(a.sum[1] == -3 * (int64_t)INT32_MAX);
    assert_int_equal(a.counted, 3);
    ck.range = INT32_MAX - 1;
    assert_int_equal(hearth_accumulator_add(&a, u.path, &ck, &err),
                     HEARTH_ETOOBIG);
    make(&u, INT32_MIN, 0, 0); /* has no positive counterpart */
    ck.range = INT32_MAX;
    assert_int_equal(hearth_upload_verify(u.path, &ck, &err), HEARTH_ETOOBIG);
    u.sha[0] ^= 1;
    assert_int_equal(hearth_accumulator_add(&a, u.path, &ck, &err),
                     HEARTH_EDIGEST);
    u.sha[0] ^= 1;
    assert_ok(hearth_file_write(u.path, "0123456789abc", 13, 0600, NULL));
    assert_int_equal(hearth_upload_verify(u.path, &ck, &err), HEARTH_EDIGEST);
    uint8_t right[32];
    memcpy(right, u.sha, 32);
    assert_ok(hearth_file_write(u.path, "01234567", 8, 0600, NULL));
    assert_ok(hearth_sha256(u.sha, "01234567", 8)); /* right, but short */
    assert_int_equal(hearth_upload_verify(u.path, &ck, &err), HEARTH_EDIGEST);
    memcpy(u.sha, right, 32);
    assert_int_equal(hearth_upload_verify("/nonexistent/u", &ck, &err),
                     HEARTH_ENOTFOUND);
    ck.bytes = 8;
    assert_int_equal(hearth_accumulator_add(&a, u.path, &ck, &err),
                     HEARTH_EINVAL);
    assert_true(a.sum[2] == 3 && a.counted == 3);
    b.sum[0] = -5;
    b.counted = 2;
    assert_ok(hearth_accumulator_merge(&b, &a));
    assert_true(b.sum[0] == a.sum[0] - 5 && b.counted == 5);
    hearth_accumulator c;
    assert_ok(hearth_accumulator_init(&c, 4, NULL));
    assert_int_equal(hearth_accumulator_merge(&c, &a), HEARTH_EINVAL);
    hearth_accumulator_free(&c);
    hearth_accumulator_free(&b);
    hearth_accumulator_free(&a);
    assert_ok(hearth_file_remove_tree(u.dir, NULL));
}

static void checkpoint_comes_back_or_is_refused(void **state) {
    (void)state;
    char dir[64], path[96];
    hearth_accumulator a, b;
    hearth_buf f = HEARTH_BUF_INIT(NULL);
    assert_non_null(hearth_test_dir(dir));
    snprintf(path, sizeof(path), "%s/acc", dir);
    assert_ok(hearth_accumulator_init(&a, 300, NULL));
    assert_ok(hearth_accumulator_init(&b, 300, NULL));
    for (size_t i = 0; i < 300; i++) a.sum[i] = (int64_t)i * -7000000000;
    a.counted = 12;
    a.number = 4;
    assert_ok(hearth_accumulator_save(&a, path, NULL));
    assert_ok(hearth_accumulator_load(&b, path, NULL));
    assert_memory_equal(a.sum, b.sum, 300 * sizeof(*a.sum));
    assert_true(b.counted == 12 && b.number == 4);

    assert_ok(hearth_file_read(&f, path, 1 << 20, NULL));
    static const struct {
        size_t at;
        hearth_status st;
    } broken[] = {{0, HEARTH_EFORMAT},
                  {4, HEARTH_EVERSION},
                  {24, HEARTH_EFORMAT},
                  {100, HEARTH_EDIGEST},
                  {2440, HEARTH_EDIGEST}};
    for (size_t i = 0; i < 5; i++) {
        f.v[broken[i].at] ^= 1;
        assert_ok(hearth_file_write(path, f.v, f.n, 0600, NULL));
        assert_int_equal(hearth_accumulator_load(&b, path, NULL), broken[i].st);
        assert_true(b.sum[9] == 0 && b.counted == 0 && b.number == 0);
        f.v[broken[i].at] ^= 1;
    }
    assert_ok(hearth_file_write(path, f.v, 20, 0600, NULL));
    assert_int_equal(hearth_accumulator_load(&b, path, NULL), HEARTH_EFORMAT);
    assert_int_equal(hearth_accumulator_load(&b, "/nonexistent/a", NULL),
                     HEARTH_ENOTFOUND);
    hearth_buf_free(&f);
    hearth_accumulator_free(&a);
    hearth_accumulator_free(&b);
    assert_ok(hearth_file_remove_tree(dir, NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(task_gives_every_number),
        cmocka_unit_test(a_seed_of_the_text_wins),
        cmocka_unit_test(task_of_fedit_has_both_factors),
        cmocka_unit_test(task_of_other_modules),
        cmocka_unit_test(task_refuses_bad_settings),
        cmocka_unit_test(ring_bound_is_the_limit),
        cmocka_unit_test(one_device_has_no_release_epsilon),
        cmocka_unit_test(task_parse_survives_out_of_memory),
        cmocka_unit_test(sums_are_exact_and_checked),
        cmocka_unit_test(checkpoint_comes_back_or_is_refused),
    };
    return cmocka_run_group_tests_name("coordinator/task", tests, NULL, NULL);
}

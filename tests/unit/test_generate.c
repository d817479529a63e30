/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_generate.c - client/infer/generate.h */
#include <math.h>

#include "tests/support/fail_alloc.h"
#include "tests/support/model_fixture.h"

#include "client/infer/generate.h"

/* A byte-level tokenizer of 67 tokens: printable characters from '!' on. */
static hearth_tokenizer *make_tokenizer(void) {
    char text[4096];
    size_t n = (size_t)snprintf(text, sizeof(text),
                                "{\"version\":\"1.0\",\"added_tokens\":[],"
                                "\"normalizer\":null,\"pre_tokenizer\":null,"
                                "\"post_processor\":null,\"decoder\":{\"type\":"
                                "\"Fuse\"},"
                                "\"model\":{\"type\":\"BPE\",\"merges\":[],"
                                "\"vocab\":{");
    for (int i = 0; i < 67; i++) {
        int c = i + (i >= 1 ? '"' : '!'); /* skip none, then escape */
        const char *escape = c == '"' || c == '\\' ? "\\" : "";
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s\"%s%c\":%d",
                              i ? "," : "", escape, c, i);
    }
    (void)snprintf(text + n, sizeof(text) - n, "}}}");
    hearth_tokenizer *t = NULL;
    hearth_error err = {HEARTH_OK, ""};
    if (hearth_tokenizer_parse(&t, text, strlen(text), NULL, 0, NULL, &err))
        fail_msg("%s", err.text);
    return t;
}

static hearth_model *model;
static hearth_tokenizer *tokenizer;
static char dir[64];

static int set_up(void **state) {
    tiny_spec s = TINY_SPEC;
    (void)state;
    s.sigma = 0.5; /* sharp enough that greedy text varies */
    model = tiny_model(&s, 21, dir);
    tokenizer = make_tokenizer();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    hearth_tokenizer_close(tokenizer);
    tiny_drop(model, dir);
    return 0;
}

typedef struct {
    char text[512];
    size_t n, calls, stop_after;
} sink;

static bool collect(void *ud, const char *utf8, size_t n) {
    sink *s = ud;
    assert_true(s->n + n < sizeof(s->text));
    memcpy(s->text + s->n, utf8, n);
    s->n += n;
    return ++s->calls != s->stop_after;
}

static hearth_generator *open_generator(size_t context) {
    hearth_generator *g = NULL;
    hearth_error err = {HEARTH_OK, ""};
    if (hearth_generator_open(&g, model, NULL, tokenizer, context, NULL,
                              hearth_kernels_default(), NULL, &err))
        fail_msg("%s", err.text);
    return g;
}

static const int32_t prompt[] = {1, 5, 9, 33};

static hearth_generate_result run(hearth_generator *g,
                                  const hearth_generate_options *o, sink *s) {
    hearth_generate_result r;
    hearth_error err = {HEARTH_OK, ""};
    if (hearth_generator_run(g, prompt, 4, o, collect, s, &r, &err))
        fail_msg("%s", err.text);
    return r;
}

/* Greedy by the plain way: the whole context through logits for each token. */
static void greedy_equals_recomputing_everything(void **state) {
    hearth_generate_options o = HEARTH_GENERATE_OPTIONS_INIT;
    sink s = {.n = 0};
    tiny_engine e;
    static float logits[TINY_TOKENS * 67];
    int32_t token[TINY_TOKENS];
    uint32_t position[TINY_TOKENS], start[2] = {0, 0};
    (void)state;
    o.max_tokens = 20;
    o.ignore_eos = true;
    hearth_generator *g = open_generator(64);
    hearth_generate_result r = run(g, &o, &s);
    assert_int_equal(r.n_prompt, 4);
    assert_int_equal(r.n_tokens, 20);
    assert_int_equal(r.finish, HEARTH_FINISH_LENGTH);
    assert_int_equal(s.n, 20);
    tiny_engine_open(
        &e,
        (hearth_decoder_shape){.model = model, .mode = HEARTH_DECODER_INFER},
        NULL, hearth_kernels_default());
    memcpy(token, prompt, sizeof(prompt));
    for (uint32_t i = 0; i < TINY_TOKENS; i++) position[i] = i;
    for (uint32_t n = 4; n < 24; n++) {
        hearth_stream one = {n, 1, token, start, position, NULL};
        start[1] = n;
        assert_ok(hearth_decoder_logits(e.dec, &one, logits, NULL));
        const float *row = logits + (n - 1) * 67;
        token[n] = 0;
        for (int32_t v = 1; v < 67; v++)
            if (row[v] > row[token[n]]) token[n] = v;
    }
    size_t n;
    const int32_t *got = hearth_generator_tokens(g, &n);
    assert_int_equal(n, 24);
    assert_memory_equal(got, token, sizeof(*token) * 24);
    tiny_engine_close(&e);
    hearth_generator_close(g);
}

static void a_seed_gives_the_same_text_and_others_other(void **state) {
    hearth_generate_options o = HEARTH_GENERATE_OPTIONS_INIT;
    sink s[3] = {{.n = 0}, {.n = 0}, {.n = 0}};
    (void)state;
    o.max_tokens = 30;
    o.temperature = 1.5;
    o.top_p = 0.95;
    o.top_k = 40;
    o.ignore_eos = true;
    o.seed = 1;
    hearth_generator *g = open_generator(64);
    for (size_t i = 0; i < 3; i++) {
        if (i == 1) hearth_generator_forget(g);
        if (i == 2) o.seed = 2;
        (void)run(g, &o, &s[i]);
    }
    assert_memory_equal(s[0].text, s[1].text, sizeof(s[0].text));
    assert_memory_not_equal(s[0].text, s[2].text, sizeof(s[0].text));
    hearth_generator_close(g);
}

static void runs_end_for_the_right_reason(void **state) {
    hearth_generate_options o = HEARTH_GENERATE_OPTIONS_INIT;
    sink s = {.n = 0}, t = {.n = 0}, u = {.stop_after = 3}, v = {.n = 0};
    char stop[3] = "";
    const char *stops[] = {stop};
    (void)state;
    o.max_tokens = 100;
    o.ignore_eos = true;
    hearth_generator *g = open_generator(30);
    hearth_generate_result r = run(g, &o, &s);
    assert_int_equal(r.finish, HEARTH_FINISH_CONTEXT);
    assert_int_equal(r.n_tokens, 26);
    memcpy(stop, s.text + 10, 2); /* a stop string that surely comes */
    o.stop = stops;
    o.n_stop = 1;
    r = run(g, &o, &t);
    assert_int_equal(r.finish, HEARTH_FINISH_STOP);
    assert_null(strstr(t.text, stop));
    assert_true(t.n <= 10);
    assert_memory_equal(t.text, s.text, t.n);
    o.n_stop = 0;
    r = run(g, &o, &u);
    assert_int_equal(r.finish, HEARTH_FINISH_CALLBACK);
    assert_int_equal(r.n_tokens, 3);
    o.max_tokens = 0;
    r = run(g, &o, &v);
    assert_int_equal(r.finish, HEARTH_FINISH_LENGTH);
    assert_int_equal(v.n, 0);
    hearth_generator_close(g);
}

static void penalty_makes_greedy_text_repeat_less(void **state) {
    hearth_generate_options o = HEARTH_GENERATE_OPTIONS_INIT;
    size_t distinct[2] = {0, 0};
    (void)state;
    o.max_tokens = 40;
    o.ignore_eos = true;
    hearth_generator *g = open_generator(64);
    for (int i = 0; i < 2; i++) {
        sink s = {.n = 0};
        o.repeat_penalty = i ? 5.0 : 1.0;
        (void)run(g, &o, &s);
        for (size_t k = 0; k < s.n; k++)
            if (!memchr(s.text, s.text[k], k)) distinct[i]++;
    }
    assert_true(distinct[1] > distinct[0]);
    hearth_generator_close(g);
}

static void bad_options_are_refused(void **state) {
    static const char *const empty[] = {""}, *const half[] = {"\xc3"};
    static char long_text[300];
    const char *const too_long[] = {long_text};
    const char *many[17];
    hearth_generate_result r;
    const int32_t bad_id[] = {67};
    (void)state;
    memset(long_text, 'x', 257);
    for (size_t i = 0; i < 17; i++) many[i] = "x";
    hearth_generator *g = open_generator(16);
    for (int i = 0; i < 11; i++) {
        hearth_generate_options o = HEARTH_GENERATE_OPTIONS_INIT;
        hearth_status want = HEARTH_EINVAL;
        if (i == 0) o.temperature = -1;
        if (i == 1) o.temperature = (double)NAN;
        if (i == 2) o.top_p = 0;
        if (i == 3) o.top_p = 1.5;
        if (i == 4) o.repeat_penalty = 0;
        if (i == 5) o.n_stop = 1;
        if (i == 6) o.n_stop = 1, o.stop = empty;
        if (i == 7) o.n_stop = 1, o.stop = half;
        if (i == 8) o.n_stop = 1, o.stop = too_long, want = HEARTH_ETOOBIG;
        if (i == 9) o.n_stop = 17, o.stop = many, want = HEARTH_ETOOBIG;
        if (i == 10) o.repeat_penalty = (double)INFINITY;
        assert_int_equal(
            hearth_generator_run(g, prompt, 4, &o, NULL, NULL, &r, NULL), want);
    }
    hearth_generate_options o = HEARTH_GENERATE_OPTIONS_INIT;
    static const int32_t longer[17] = {1};
    assert_int_equal(
        hearth_generator_run(g, prompt, 0, &o, NULL, NULL, &r, NULL),
        HEARTH_EINVAL);
    assert_int_equal(
        hearth_generator_run(g, longer, 17, &o, NULL, NULL, &r, NULL),
        HEARTH_ETOOBIG);
    assert_int_equal(
        hearth_generator_run(g, bad_id, 1, &o, NULL, NULL, &r, NULL),
        HEARTH_EINVAL);
    o.max_tokens = 2;
    assert_ok(hearth_generator_run(g, prompt, 4, &o, NULL, NULL, &r, NULL));
    hearth_generator_close(g);
    assert_int_equal(hearth_generator_open(&g, model, NULL, NULL, 129, NULL,
                                           hearth_kernels_default(), NULL,
                                           NULL),
                     HEARTH_ETOOBIG);
    assert_null(g);
    hearth_generator_close(NULL);
}

static void broken_weights_are_an_error(void **state) {
    hearth_lora_spec spec = {1, 1.0f, HEARTH_TARGETS_QV, 0, false, false};
    hearth_generate_options o = HEARTH_GENERATE_OPTIONS_INIT;
    hearth_generate_result r;
    hearth_generator *g = NULL;
    (void)state;
    hearth_adapter *a = tiny_adapter(model, &spec, 1);
    a->pair[1].b[0] = NAN;
    assert_ok(hearth_generator_open(&g, model, a, NULL, 16, NULL,
                                    hearth_kernels_default(), NULL, NULL));
    assert_int_equal(
        hearth_generator_run(g, prompt, 4, &o, NULL, NULL, &r, NULL),
        HEARTH_ENONFINITE);
    hearth_generator_close(g);
    hearth_adapter_free(a);
}

static hearth_adapter *lora(uint32_t rank, uint32_t targets, uint64_t seed) {
    hearth_lora_spec spec = {rank, 2.0f, targets, 0, false, false};
    return tiny_adapter(model, &spec, seed);
}

/* One generator goes from adapter to adapter and back to the base: each text
 * is that of a fresh generator, and memory stays that of the largest. */
static void switching_adapters_equals_a_fresh_generator(void **state) {
    hearth_adapter *a[3] = {lora(2, HEARTH_TARGETS_QV, 1),
                            lora(5, HEARTH_TARGETS_LINEAR, 2), NULL};
    static const size_t order[] = {1, 0, 2, 1, 1, 0, 2, 0};
    hearth_generate_options o = HEARTH_GENERATE_OPTIONS_INIT;
    hearth_fail_alloc fa;
    hearth_alloc al = hearth_fail_alloc_init(&fa, 0);
    hearth_generator *g = NULL;
    long live = 0;
    sink want[3] = {{.n = 0}};
    (void)state;
    o.max_tokens = 24;
    o.ignore_eos = true;
    for (size_t i = 0; i < 3; i++) {
        hearth_generator *fresh = NULL;
        assert_ok(hearth_generator_open(&fresh, model, a[i], tokenizer, 64,
                                        NULL, hearth_kernels_default(), NULL,
                                        NULL));
        run(fresh, &o, &want[i]);
        hearth_generator_close(fresh);
    }
    assert_string_not_equal(want[0].text, want[1].text);
    assert_string_not_equal(want[0].text, want[2].text);
    assert_ok(hearth_generator_open(&g, model, NULL, tokenizer, 64, NULL,
                                    hearth_kernels_default(), &al, NULL));
    for (size_t k = 0; k < sizeof(order) / sizeof(order[0]); k++) {
        sink s = {.n = 0};
        assert_ok(hearth_generator_set_adapter(g, a[order[k]], NULL));
        run(g, &o, &s);
        assert_string_equal(s.text, want[order[k]].text);
        if (k == 0) live = fa.live;
        assert_int_equal(fa.live, live);
    }
    hearth_generator_close(g);
    assert_int_equal(fa.live, 0);
    for (size_t i = 0; i < 3; i++) hearth_adapter_free(a[i]);
}

static void a_switch_that_fails_changes_nothing(void **state) {
    hearth_generate_options o = HEARTH_GENERATE_OPTIONS_INIT;
    hearth_adapter *big = lora(9, HEARTH_TARGETS_LINEAR, 2);
    hearth_fail_alloc fa;
    hearth_alloc al = hearth_fail_alloc_init(&fa, 0);
    hearth_generator *g = NULL;
    sink before = {.n = 0}, after = {.n = 0};
    (void)state;
    assert_ok(hearth_generator_open(&g, model, NULL, tokenizer, 64, NULL,
                                    hearth_kernels_default(), &al, NULL));
    run(g, &o, &before);
    fa.refuse = fa.calls + 1;
    assert_int_equal(hearth_generator_set_adapter(g, big, NULL), HEARTH_ENOMEM);
    fa.refuse = 0;
    big->pair[0].in++; /* of another model */
    assert_int_equal(hearth_generator_set_adapter(g, big, NULL), HEARTH_EINVAL);
    big->pair[0].in--;
    assert_int_equal(hearth_generator_set_adapter(NULL, big, NULL),
                     HEARTH_EINVAL);
    run(g, &o, &after);
    assert_string_equal(before.text, after.text);
    hearth_generator_close(g);
    hearth_adapter_free(big);
}

static void allocation_failures_are_clean(void **state) {
    hearth_generate_options o = HEARTH_GENERATE_OPTIONS_INIT;
    (void)state;
    o.max_tokens = 3;
    for (size_t k = 1;; k++) {
        hearth_fail_alloc fa;
        hearth_alloc al = hearth_fail_alloc_init(&fa, k);
        hearth_generator *g = NULL;
        hearth_generate_result r;
        sink s = {.n = 0};
        hearth_status st =
            hearth_generator_open(&g, model, NULL, tokenizer, 16, NULL,
                                  hearth_kernels_default(), &al, NULL);
        if (st == HEARTH_OK)
            st = hearth_generator_run(g, prompt, 4, &o, collect, &s, &r, NULL);
        hearth_generator_close(g);
        assert_int_equal(fa.live, 0);
        if (st == HEARTH_OK) break;
        assert_int_equal(st, HEARTH_ENOMEM);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_equals_recomputing_everything),
        cmocka_unit_test(a_seed_gives_the_same_text_and_others_other),
        cmocka_unit_test(runs_end_for_the_right_reason),
        cmocka_unit_test(penalty_makes_greedy_text_repeat_less),
        cmocka_unit_test(bad_options_are_refused),
        cmocka_unit_test(broken_weights_are_an_error),
        cmocka_unit_test(switching_adapters_equals_a_fresh_generator),
        cmocka_unit_test(a_switch_that_fails_changes_nothing),
        cmocka_unit_test(allocation_failures_are_clean),
    };
    return cmocka_run_group_tests_name("client/infer/generate", tests, set_up,
                                       tear_down);
}

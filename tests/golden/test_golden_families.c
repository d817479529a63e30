/* SPDX-License-Identifier: Apache-2.0 */
/* tests/golden/test_golden_families.c - every family against transformers and
 * PEFT without Python: logits, gradients, training, greedy text, and GGUF.
 *
 * families/ is written by make_family_goldens.py, which says what a golden
 * file holds.  Distances are the larger of ||a - b|| / ||b|| and max|a - b| /
 * max|b|, of each tensor.  Windows are of 8 tokens, documents of 40 and 7.
 */
#include <math.h>

#include "tests/support/cmocka_all.h"

#include "client/infer/generate.h"
#include "client/train/decoder.h"
#include "client/train/trainer.h"
#include "common/adapter_peft.h"
#include "common/safetensors.h"

#define FOLDER     "tests/golden/families/"
#define MAX_TOKENS 64
#define MAX_DOCS   20
#define STEPS      20
#define PROMPTS    5
#define NEW        64

#define LOGITS    2e-5
#define GRADIENTS 1e-4
#define QUANTIZED 1e-3 /* gradients on a quantised base */
#define LOSS      1e-5
#define STEP_LOSS 1e-4

/* file: where the goldens of base.gguf are; NULL: there is no such file. */
typedef struct {
    const char *name, *file;
    double file_limit;
} family;

static const family families[] = {
    {"gpt2", "", GRADIENTS}, {"llama", "q8_0.", QUANTIZED},
    {"smollm", NULL, 0},     {"qwen2", NULL, 0},
    {"gemma3", NULL, 0},     {"qwen3", NULL, 0},
    {"mistral", NULL, 0},    {"phi3", NULL, 0},
};
#define N_FAMILIES (sizeof(families) / sizeof(families[0]))

/* Documents as a golden file has them: ids one behind the other. */
typedef struct {
    int32_t token[512], label[512];
    uint32_t position[512], start[MAX_DOCS + 1];
    size_t n_docs;
} documents;

typedef struct {
    const family *f;
    char dir[96];
    hearth_model *model;
    hearth_adapter *adapter;
    hearth_safetensors *golden;
    documents docs;
    hearth_stream stream;
} fixture;

static fixture fx;

/* ---- the golden file -------------------------------------------------------- */

/* A tensor's values [*n]; the caller frees them. */
static float *values(const char *prefix, const char *name, size_t *n) {
    char full[HEARTH_MODEL_MAX_NAME + 32];
    (void)snprintf(full, sizeof(full), "%s%s", prefix, name);
    const hearth_tensor *t = hearth_safetensors_find(fx.golden, full);
    if (!t) fail_msg("%s: no golden tensor %s", fx.f->name, full);
    *n = (size_t)t->n_elements;
    float *v = malloc(*n * sizeof(*v));
    assert_non_null(v);
    assert_ok(hearth_tensor_read_f32(t, 0, *n, v));
    return v;
}

static void read_documents(documents *d, const char *ids, const char *lengths) {
    size_t n, n_docs, at = 0;
    float *id = values("", ids, &n), *length = values("", lengths, &n_docs);
    assert_true(n <= 512 && n_docs <= MAX_DOCS);
    d->n_docs = n_docs;
    for (size_t k = 0; k < n_docs; k++) {
        size_t end = at + (size_t)length[k];
        assert_true(end <= n);
        d->start[k] = (uint32_t)at;
        for (uint32_t i = 0; at < end; i++, at++) {
            d->position[at] = i;
            d->token[at] = (int32_t)id[at];
            d->label[at] = at + 1 < end ? (int32_t)id[at + 1] : -1;
        }
    }
    assert_int_equal(at, n);
    d->start[n_docs] = (uint32_t)n;
    free(id);
    free(length);
}

/* The larger of the two distances; fails above limit. */
static double check(const char *what, const hearth_real *got, size_t n,
                    const char *prefix, const char *name, double limit) {
    size_t n_want;
    double diff = 0, norm = 0, most = 0, largest = 0;
    float *want = values(prefix, name, &n_want);
    assert_int_equal(n, n_want);
    for (size_t i = 0; i < n; i++) {
        double w = (double)want[i], d = (double)got[i] - w;
        diff += d * d;
        norm += w * w;
        most = fmax(most, fabs(d));
        largest = fmax(largest, fabs(w));
    }
    free(want);
    assert_true(norm > 0);
    double worst = fmax(sqrt(diff / norm), most / largest);
    if (!(worst <= limit))
        fail_msg("%s, %s of %s%s: distance %.3g, limit %.0e", fx.f->name, what,
                 prefix, name, worst, limit);
    return worst;
}

static void check_loss(double got, const char *prefix, size_t i) {
    size_t n;
    float *want = values(prefix, "losses", &n);
    assert_true(i < n);
    double d = fabs(got - (double)want[i]) / (double)want[i];
    free(want);
    if (!(d <= LOSS)) fail_msg("%s: loss is off by %.3g", fx.f->name, d);
}

/* ---- a family's files --------------------------------------------------------- */

/* The folder, or the file in it that tail names. */
static void open_base(const char *tail) {
    char path[160];
    size_t n;
    hearth_error err = {HEARTH_OK, ""};
    hearth_model_close(fx.model);
    hearth_adapter_free(fx.adapter);
    fx.model = NULL;
    fx.adapter = NULL;
    (void)snprintf(path, sizeof(path), "%s%s", fx.dir, tail);
    if (hearth_model_open(&fx.model, path, NULL, &err) != HEARTH_OK)
        fail_msg("%s", err.text);
    (void)snprintf(path, sizeof(path), "%s/adapter", fx.dir);
    const hearth_module_info *m = hearth_model_modules(fx.model, &n);
    if (hearth_adapter_load(&fx.adapter, path, m, n, NULL, NULL, &err) !=
        HEARTH_OK)
        fail_msg("%s", err.text);
}

static int set_up(void **state) {
    char path[160];
    hearth_error err = {HEARTH_OK, ""};
    fx = (fixture){.f = *state};
    (void)snprintf(fx.dir, sizeof(fx.dir), FOLDER "%s", fx.f->name);
    (void)snprintf(path, sizeof(path), "%s/golden.safetensors", fx.dir);
    if (hearth_safetensors_open(&fx.golden, path, NULL, &err) != HEARTH_OK) {
        print_message("%s\n", err.text);
        return -1;
    }
    open_base("");
    documents *d = &fx.docs;
    read_documents(d, "docs", "doc_lengths");
    assert_true(d->n_docs == 2 && d->start[2] <= MAX_TOKENS);
    fx.stream = (hearth_stream){d->start[2], 2,           d->token,
                                d->start,    d->position, d->label};
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    hearth_adapter_free(fx.adapter);
    hearth_model_close(fx.model);
    hearth_safetensors_close(fx.golden);
    return 0;
}

typedef struct {
    hearth_arena arena;
    hearth_decoder *dec;
} engine;

static void engine_open(engine *e, hearth_decoder_mode mode, bool adapted,
                        const hearth_kernels *k) {
    hearth_decoder_shape s = {.model = fx.model,
                              .adapter = adapted ? fx.adapter : NULL,
                              .mode = mode,
                              .max_tokens = MAX_TOKENS,
                              .n_workers = 1};
    hearth_error err = {HEARTH_OK, ""};
    assert_ok(hearth_arena_init(&e->arena, NULL, hearth_decoder_bytes(&s)));
    if (hearth_decoder_new(&e->dec, &s, NULL, k, &e->arena, &err) != HEARTH_OK)
        fail_msg("%s", err.text);
}

/* The exact kernels, and those of this build; NULL: the same ones. */
static const hearth_kernels *kernel_set(size_t i) {
    const hearth_kernels *k = hearth_kernels_default();
    if (i == 0) return hearth_kernels_reference();
    return k == hearth_kernels_reference() ? NULL : k;
}

/* ---- tests -------------------------------------------------------------------- */

/* The first document alone: the rows that the golden has, the last ones. */
static void check_logits(const char *prefix, const char *name, bool adapted) {
    size_t vocab = hearth_model_get_config(fx.model)->vocab_size, n_want;
    uint32_t start[2] = {0, fx.docs.start[1]};
    hearth_stream one = fx.stream;
    hearth_real *logits = malloc(start[1] * vocab * sizeof(*logits));
    assert_non_null(logits);
    one.n = start[1];
    one.n_docs = 1;
    one.doc_start = start;
    free(values(prefix, name, &n_want));
    assert_true(n_want <= one.n * vocab);
    for (size_t set = 0; set < 2; set++) {
        engine e;
        if (!kernel_set(set)) continue;
        engine_open(&e, HEARTH_DECODER_INFER, adapted, kernel_set(set));
        assert_ok(hearth_decoder_logits(e.dec, &one, logits, NULL));
        double worst = check("logits", logits + one.n * vocab - n_want, n_want,
                             prefix, name, LOGITS);
        print_message("%s%s, %s kernels: distance %.2g\n", prefix, name,
                      kernel_set(set)->name, worst);
        hearth_arena_free(&e.arena);
    }
    free(logits);
}

/* How many tensors of the golden file have names that start so. */
static size_t count_golden(const char *prefix, const char *part) {
    size_t found = 0, n = strlen(prefix), n_part = strlen(part);
    for (size_t i = 0; i < hearth_safetensors_count(fx.golden); i++) {
        const char *name = hearth_safetensors_at(fx.golden, i)->name;
        found += strncmp(name, prefix, n) == 0 &&
                 strncmp(name + n, part, n_part) == 0;
    }
    return found;
}

/* Both documents, packed.  Every gradient that the golden file has under prefix
 * and part. */
static void check_gradients(const char *prefix, const char *part, bool adapted,
                            double limit) {
    for (size_t set = 0; set < 2; set++) {
        engine e;
        hearth_loss loss;
        double worst = 0;
        size_t checked = 0;
        if (!kernel_set(set)) continue;
        engine_open(&e, adapted ? HEARTH_DECODER_LORA : HEARTH_DECODER_FULL,
                    adapted, kernel_set(set));
        hearth_decoder_zero_grad(e.dec);
        assert_ok(hearth_decoder_grad(e.dec, &fx.stream, NULL, &loss, NULL));
        check_loss(loss.loss_sum, prefix, adapted ? 0 : 1);
        const hearth_params *p = hearth_decoder_params(e.dec);
        for (size_t i = 0; i < p->n_params; i++) {
            const hearth_param *q = &p->param[i];
            char name[HEARTH_MODEL_MAX_NAME + 48], full[sizeof(name) + 16];
            (void)snprintf(name, sizeof(name), "%s%s", part, q->name);
            (void)snprintf(full, sizeof(full), "%s%s", prefix, name);
            if (!hearth_safetensors_find(fx.golden, full)) continue;
            checked++;
            worst = fmax(worst,
                         check("gradient", q->grad, q->n, prefix, name, limit));
        }
        assert_true(checked > 0 && (!adapted || checked == p->n_params));
        assert_int_equal(checked, count_golden(prefix, part));
        print_message("%s%s, %s kernels: %zu gradients, worst %.2g\n", prefix,
                      part, kernel_set(set)->name, checked, worst);
        hearth_arena_free(&e.arena);
    }
}

static void logits(void **state) {
    (void)state;
    check_logits("", "logits", false);
    check_logits("", "lora_logits", true);
}

static void lora_gradients(void **state) {
    (void)state;
    check_gradients("", "lora.", true, GRADIENTS);
}

static void full_gradients(void **state) {
    (void)state;
    check_gradients("", "full.", false, GRADIENTS);
}

static hearth_dataset *make_dataset(void) {
    static documents d;
    hearth_dataset_config cfg = HEARTH_DATASET_CONFIG_INIT;
    hearth_dataset *ds = NULL;
    read_documents(&d, "records", "record_lengths");
    assert_ok(hearth_dataset_new(&ds, &cfg, NULL, NULL));
    for (size_t i = 0; i < d.n_docs; i++)
        assert_ok(hearth_dataset_add_tokens(ds, d.token + d.start[i],
                                            d.label + d.start[i],
                                            d.start[i + 1] - d.start[i], NULL));
    return ds;
}

/* Twenty steps of AdamW from the adapter; the worst loss. */
static double run_curve(size_t batch, size_t accum, bool pack) {
    hearth_dataset *ds = make_dataset();
    hearth_train_config cfg = HEARTH_TRAIN_CONFIG_INIT;
    hearth_trainer *t = NULL;
    hearth_train_event ev = {0};
    hearth_error err = {HEARTH_OK, ""};
    size_t n;
    double worst = 0;
    float *want = values("", "curve", &n);
    assert_int_equal(n, STEPS);
    assert_true(want[STEPS - 1] < want[0]); /* it learns */
    cfg.steps = STEPS;
    cfg.batch = batch;
    cfg.accum = accum;
    cfg.pack = pack;
    cfg.lr = 5e-3;
    cfg.weight_decay = 0.1;
    cfg.shuffle = false;
    open_base(""); /* the adapter as it was */
    if (hearth_trainer_open(&t, fx.model, fx.adapter, ds, &cfg, NULL, NULL,
                            &err) != HEARTH_OK)
        fail_msg("%s", err.text);
    for (size_t s = 0; s < STEPS; s++) {
        do assert_ok(hearth_trainer_tick(t, &ev, NULL));
        while (ev.kind == HEARTH_TRAIN_MICRO);
        double d = fabs(ev.loss - (double)want[s]) / (double)want[s];
        if (!(d <= STEP_LOSS))
            fail_msg("%s: loss of step %zu is off by %.3g", fx.f->name, s + 1,
                     d);
        worst = fmax(worst, d);
    }
    assert_int_equal(ev.kind, HEARTH_TRAIN_DONE);
    hearth_trainer_close(t);
    hearth_dataset_free(ds);
    free(want);
    return worst;
}

static void training_curve(void **state) {
    (void)state;
    double packed = run_curve(4, 1, true), added = run_curve(2, 2, true);
    double alone = run_curve(1, 4, false);
    print_message("20 losses: packed %.2g, accumulated %.2g, alone %.2g\n",
                  packed, added, alone);
}

/* Ids of a golden tensor. */
static size_t read_ids(const char *name, int32_t out[MAX_TOKENS]) {
    size_t n;
    float *v = values("", name, &n);
    assert_true(n > 0 && n <= MAX_TOKENS);
    for (size_t i = 0; i < n; i++) out[i] = (int32_t)v[i];
    free(v);
    return n;
}

static void greedy(void **state) {
    hearth_generator *g = NULL;
    hearth_generate_options o = HEARTH_GENERATE_OPTIONS_INIT;
    (void)state;
    o.max_tokens = NEW;
    o.ignore_eos = true;
    assert_ok(hearth_generator_open(&g, fx.model, NULL, NULL, 0, NULL,
                                    hearth_kernels_default(), NULL, NULL));
    for (int i = 0; i < PROMPTS; i++) {
        int32_t prompt[MAX_TOKENS], want[MAX_TOKENS];
        char name[32];
        hearth_generate_result r;
        size_t n_got;
        (void)snprintf(name, sizeof(name), "prompt.%d", i);
        size_t n = read_ids(name, prompt);
        (void)snprintf(name, sizeof(name), "greedy.%d", i);
        assert_int_equal(read_ids(name, want), NEW);
        assert_ok(hearth_generator_run(g, prompt, n, &o, NULL, NULL, &r, NULL));
        const int32_t *got = hearth_generator_tokens(g, &n_got);
        assert_int_equal(n_got, n + NEW);
        for (size_t k = 0; k < NEW; k++)
            if (got[n + k] != want[k])
                fail_msg("%s: prompt %d goes on with %d, not %d, at %zu",
                         fx.f->name, i, got[n + k], want[k], k);
    }
    hearth_generator_close(g);
}

static void gguf_file(void **state) {
    const char *prefix = fx.f->file;
    (void)state;
    if (!prefix) skip(); /* the family has none here */
    open_base("/base.gguf");
    if (!*prefix) check_logits(prefix, "logits", false);
    check_logits(prefix, "lora_logits", true);
    check_gradients(prefix, "lora.", true, fx.f->file_limit);
}

int main(void) {
    static const struct {
        const char *name;
        CMUnitTestFunction run;
    } checks[] = {
        {"logits", logits},
        {"lora_gradients", lora_gradients},
        {"full_gradients", full_gradients},
        {"training_curve", training_curve},
        {"greedy", greedy},
        {"gguf", gguf_file},
    };
    enum { CHECKS = sizeof(checks) / sizeof(checks[0]) };
    static char name[N_FAMILIES * CHECKS][40];
    static struct CMUnitTest tests[N_FAMILIES * CHECKS];
    for (size_t i = 0; i < N_FAMILIES * CHECKS; i++) {
        const family *f = &families[i / CHECKS];
        (void)snprintf(name[i], sizeof(name[i]), "%s_%s", f->name,
                       checks[i % CHECKS].name);
        tests[i] = (struct CMUnitTest){name[i], checks[i % CHECKS].run, set_up,
                                       tear_down, (void *)(uintptr_t)f};
    }
    return cmocka_run_group_tests_name("golden/families", tests, NULL, NULL);
}

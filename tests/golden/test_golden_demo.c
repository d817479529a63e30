/* SPDX-License-Identifier: Apache-2.0 */
/* tests/golden/test_golden_demo.c - the demo's base model against PyTorch in
 * float64, so that a bare clone checks parity: token ids, logits, loss, every
 * gradient, LoRA gradients, twenty losses of a training curve.
 *
 * demo_golden.txt and demo_golden.safetensors are written by
 * make_demo_golden.py.  Of most gradients the files keep the norm and eight
 * projections on vectors of +1 and -1: the mean square of what a projection
 * is off by is the squared distance of the gradients, so few numbers check
 * them all.
 *
 * Built twice, like test_golden_stories260k.c: on float (limit 1e-4, normwise
 * per tensor) and on double (1e-9).  Observed (x86-64, gcc 12): float 5e-7 for
 * logits, 3.3e-6 for the worst gradient; double 1.1e-14; curve 1e-7 in its
 * losses, 1.3e-6 in its gradient norms.
 */
#include <math.h>

#include "client/tokenizer/tokenizer.h"
#include "client/train/decoder.h"
#include "client/train/trainer.h"
#include "common/bytes.h"
#include "common/file.h"
#include "common/hash.h"
#include "common/safetensors.h"
#include "tests/support/cmocka_all.h"

#ifdef HEARTH_FLOAT64
#define LIMIT 1e-9
#else
#define LIMIT 1e-4
#endif

#define MODEL       "deploy/demo/model"
#define GOLDEN      "tests/golden/demo_golden"
#define MAKE_AGAIN  "run python3 tests/golden/make_demo_golden.py"
#define MAX_TOKENS  64
#define DOCS        6
#define STEPS       20
#define PROJECTIONS 8
#define MAX_GRADS   80

typedef struct {
    char name[HEARTH_MODEL_MAX_NAME];
    double norm, projection[PROJECTIONS];
} golden_grad;

typedef struct {
    char text[256];
    int32_t id[MAX_TOKENS], label[MAX_TOKENS];
    size_t n;
} golden_doc;

typedef struct {
    hearth_model *model;
    hearth_safetensors *tensors;
    char digest[65];
    golden_doc doc[DOCS];
    size_t n_docs;
    double loss, lora_loss, step[STEPS][2], end;
    size_t n_steps, n_grads;
    golden_grad grad[MAX_GRADS];
    uint32_t position[MAX_TOKENS], doc_start[2];
    hearth_stream stream; /* of the first document */
} fixture;

static fixture fx;

/* ---- reading the golden files -------------------------------------------- */

static void read_ids(char *p, golden_doc *d) {
    while (*p && d->n < MAX_TOKENS) d->id[d->n++] = (int32_t)strtol(p, &p, 10);
    for (size_t i = 0; i < d->n; i++)
        d->label[i] = i + 1 < d->n ? d->id[i + 1] : -1;
}

static void read_grad(char *p, golden_grad *g) {
    size_t n = strcspn(p, " ");
    assert_true(n < sizeof(g->name));
    memcpy(g->name, p, n);
    g->norm = strtod(p + n, &p);
    for (int j = 0; j < PROJECTIONS; j++) g->projection[j] = strtod(p, &p);
}

/* One line: a word, a space, what it is about. */
static void read_line(char *line) {
    char *rest = line + strcspn(line, " ");
    line[strcspn(line, "\n")] = '\0';
    if (*rest) *rest++ = '\0';
    if (strcmp(line, "model") == 0) {
        (void)snprintf(fx.digest, sizeof(fx.digest), "%s", rest);
    } else if (strcmp(line, "text") == 0) {
        assert_true(fx.n_docs < DOCS);
        golden_doc *d = &fx.doc[fx.n_docs++];
        (void)snprintf(d->text, sizeof(d->text), "%s", rest);
    } else if (strcmp(line, "ids") == 0) {
        assert_true(fx.n_docs > 0);
        read_ids(rest, &fx.doc[fx.n_docs - 1]);
    } else if (strcmp(line, "loss") == 0) {
        fx.loss = strtod(rest, NULL);
    } else if (strcmp(line, "lora_loss") == 0) {
        fx.lora_loss = strtod(rest, NULL);
    } else if (strcmp(line, "grad") == 0) {
        assert_true(fx.n_grads < MAX_GRADS);
        read_grad(rest, &fx.grad[fx.n_grads++]);
    } else if (strcmp(line, "step") == 0) {
        assert_true(fx.n_steps < STEPS);
        fx.step[fx.n_steps][0] = strtod(rest, &rest);
        fx.step[fx.n_steps++][1] = strtod(rest, NULL);
    } else if (strcmp(line, "end") == 0) {
        fx.end = strtod(rest, NULL);
    } else {
        fail_msg("%s.txt: '%s' is not a word of it", GOLDEN, line);
    }
}

static int read_golden(void) {
    char line[2048];
    FILE *f = fopen(GOLDEN ".txt", "r");
    hearth_error err = {HEARTH_OK, ""};
    if (!f) return -1;
    while (fgets(line, sizeof(line), f))
        if (line[0] != '#') read_line(line);
    fclose(f);
    if (hearth_safetensors_open(&fx.tensors, GOLDEN ".safetensors", NULL,
                                &err) != HEARTH_OK) {
        print_message("%s\n", err.text);
        return -1;
    }
    golden_doc *d = &fx.doc[0];
    for (size_t i = 0; i < d->n; i++) fx.position[i] = (uint32_t)i;
    fx.doc_start[1] = (uint32_t)d->n;
    fx.stream =
        (hearth_stream){d->n, 1, d->id, fx.doc_start, fx.position, d->label};
    return fx.n_docs == DOCS && fx.n_steps == STEPS ? 0 : -1;
}

/* The goldens are of these bytes of the model, no others. */
static int check_digest(void) {
    hearth_file f = HEARTH_FILE_INIT;
    hearth_error err = {HEARTH_OK, ""};
    uint8_t sum[32];
    char hex[65] = "";
    if (hearth_file_map(&f, MODEL "/model.safetensors", &err) != HEARTH_OK) {
        print_message("%s\n", err.text);
        return -1;
    }
    hearth_status st = hearth_sha256(sum, f.v, f.n);
    hearth_file_unmap(&f);
    if (st == HEARTH_OK) hearth_hex_encode(hex, sum, sizeof(sum));
    if (strcmp(hex, fx.digest) == 0) return 0;
    print_message("%s: the goldens are of another model; %s\n", MODEL,
                  MAKE_AGAIN);
    return -1;
}

static int set_up(void **state) {
    hearth_error err = {HEARTH_OK, ""};
    (void)state;
    if (read_golden() != 0) {
        print_message("%s.*: not readable or not whole; %s\n", GOLDEN,
                      MAKE_AGAIN);
        return -1;
    }
    if (check_digest() != 0) return -1;
    if (hearth_model_open(&fx.model, MODEL, NULL, &err) == HEARTH_OK) return 0;
    print_message("%s\n", err.text);
    return -1;
}

static int tear_down(void **state) {
    (void)state;
    hearth_model_close(fx.model);
    hearth_safetensors_close(fx.tensors);
    return 0;
}

/* ---- comparing ------------------------------------------------------------ */

/* ||got * scale - want|| / ||want||; got is rounded to float as want was. */
static double distance(const char *name, const hearth_real *got, double scale,
                       size_t n) {
    const hearth_tensor *t = hearth_safetensors_find(fx.tensors, name);
    double diff = 0, norm = 0;
    if (!t) fail_msg("no golden tensor %s; %s", name, MAKE_AGAIN);
    assert_int_equal(t->n_elements, n);
    float *want = malloc(n * sizeof(*want));
    assert_non_null(want);
    assert_ok(hearth_tensor_read_f32(t, 0, n, want));
    for (size_t i = 0; i < n; i++) {
        double g = (double)(float)((double)got[i] * scale);
        diff += (g - (double)want[i]) * (g - (double)want[i]);
        norm += (double)want[i] * (double)want[i];
    }
    free(want);
    assert_true(norm > 0);
    return sqrt(diff / norm);
}

static double at_most(double d, double limit, const char *what) {
    if (!(d <= limit)) fail_msg("%s: distance %.3g above %.1g", what, d, limit);
    return d;
}

/* Sign j of element i: a bit of a 32-bit mix, as in the generator. */
static uint32_t sign_bits(uint32_t h) {
    h = (h ^ (h >> 16)) * 0x7FEB352Du;
    h = (h ^ (h >> 15)) * 0x846CA68Bu;
    return h ^ (h >> 16);
}

/* The distance as the projections estimate it, and that of the norms. */
static double projected_distance(const golden_grad *want,
                                 const hearth_param *got, double scale) {
    double p[PROJECTIONS] = {0}, norm = 0, square = 0;
    for (size_t i = 0; i < got->n; i++) {
        double g = (double)got->grad[i] * scale;
        uint32_t bits = sign_bits((uint32_t)i);
        norm += g * g;
        for (int j = 0; j < PROJECTIONS; j++) p[j] += bits >> j & 1u ? g : -g;
    }
    for (int j = 0; j < PROJECTIONS; j++) {
        double off = p[j] - want->projection[j];
        square += off * off / PROJECTIONS;
    }
    double by_norm = fabs(sqrt(norm) - want->norm);
    double d = sqrt(square);
    return (d > by_norm ? d : by_norm) / want->norm;
}

/* ---- a decoder in its own arena -------------------------------------------- */

typedef struct {
    hearth_arena arena;
    hearth_decoder *dec;
} engine;

static void engine_open(engine *e, hearth_decoder_mode mode, hearth_adapter *a,
                        const hearth_kernels *k) {
    hearth_decoder_shape s = {.model = fx.model,
                              .adapter = a,
                              .mode = mode,
                              .max_tokens = MAX_TOKENS,
                              .n_workers = 1};
    hearth_error err = {HEARTH_OK, ""};
    assert_ok(hearth_arena_init(&e->arena, NULL, hearth_decoder_bytes(&s)));
    if (hearth_decoder_new(&e->dec, &s, NULL, k, &e->arena, &err) != HEARTH_OK)
        fail_msg("%s", err.text);
}

static const hearth_kernels *kernel_set(size_t i) {
    if (i == 0) return hearth_kernels_reference();
    return i == 1 ? hearth_kernels_native() : hearth_kernels_blas();
}

/* Factors on q and v from one lcg, in canonical order. */
static hearth_adapter *make_adapter(uint32_t seed, float b_scale) {
    hearth_lora_spec spec = {4, 8.0f, HEARTH_TARGETS_QV, 0, false, false};
    hearth_adapter *a = NULL;
    size_t n = 0;
    const hearth_module_info *m = hearth_model_modules(fx.model, &n);
    assert_ok(hearth_adapter_new(&a, &spec, m, n, NULL, NULL));
    for (size_t i = 0; i < a->n_pairs; i++) {
        hearth_adapter_pair *p = &a->pair[i];
        size_t n_a = (size_t)p->rank * p->in, n_b = (size_t)p->rank * p->out;
        for (size_t k = 0; k < n_a + n_b; k++) {
            seed = seed * 1664525u + 1013904223u;
            float v = (float)(seed >> 8) * 0x1p-23f - 1.0f; /* exact */
            if (k < n_a)
                p->a[k] = v * 0.125f;
            else
                p->b[k - n_a] = v * b_scale;
        }
    }
    return a;
}

/* Loss and gradients of the first document; returns what makes a mean. */
static double run_gradients(engine *e, double want_loss) {
    hearth_loss loss;
    hearth_decoder_zero_grad(e->dec);
    assert_ok(hearth_decoder_grad(e->dec, &fx.stream, NULL, &loss, NULL));
    assert_int_equal(loss.n_supervised, fx.stream.n - 1);
    double mean = loss.loss_sum / (double)loss.n_supervised;
    (void)at_most(fabs(mean - want_loss) / want_loss, LIMIT, "loss");
    return 1.0 / (double)loss.n_supervised;
}

static void check_logits(hearth_adapter *a, const char *name, size_t last) {
    size_t vocab = hearth_model_get_config(fx.model)->vocab_size;
    size_t n = fx.stream.n, skipped = last ? n - last : 0;
    hearth_real *logits = malloc(n * vocab * sizeof(*logits));
    assert_non_null(logits);
    for (size_t set = 0; set < 3; set++) {
        engine e;
        if (!kernel_set(set)) continue;
        engine_open(&e, a ? HEARTH_DECODER_LORA : HEARTH_DECODER_INFER, a,
                    kernel_set(set));
        assert_ok(hearth_decoder_logits(e.dec, &fx.stream, logits, NULL));
        double d =
            distance(name, logits + skipped * vocab, 1, (n - skipped) * vocab);
        print_message("%s, %s: distance %.2g\n", name, kernel_set(set)->name,
                      at_most(d, LIMIT, name));
        hearth_arena_free(&e.arena);
    }
    free(logits);
}

/* ---- tests ------------------------------------------------------------------ */

static void tokenizer_gives_the_ids_of_tokenizers(void **state) {
    (void)state;
    hearth_tokenizer *t = NULL;
    assert_ok(hearth_tokenizer_open(&t, MODEL, NULL, NULL));
    for (size_t i = 0; i < fx.n_docs; i++) {
        const golden_doc *d = &fx.doc[i];
        hearth_ids ids;
        hearth_ids_init(&ids, NULL);
        assert_ok(hearth_tokenizer_encode(t, d->text, strlen(d->text), true,
                                          &ids, NULL));
        assert_int_equal(ids.n, d->n);
        assert_memory_equal(ids.id, d->id, d->n * sizeof(*d->id));
        hearth_ids_free(&ids);
    }
    hearth_tokenizer_close(t);
}

static void logits_match(void **state) {
    (void)state;
    hearth_adapter *a = make_adapter(20, 0.0625f);
    check_logits(NULL, "logits", 0);
    check_logits(a, "lora_logits", 8);
    hearth_adapter_free(a);
}

static void full_gradients_match(void **state) {
    (void)state;
    for (size_t set = 0; set < 3; set++) {
        engine e;
        double worst = 0;
        size_t whole = 0;
        if (!kernel_set(set)) continue;
        engine_open(&e, HEARTH_DECODER_FULL, NULL, kernel_set(set));
        double scale = run_gradients(&e, fx.loss);
        const hearth_params *p = hearth_decoder_params(e.dec);
        assert_int_equal(p->n_params, fx.n_grads);
        for (size_t i = 0; i < p->n_params; i++) {
            const hearth_param *got = &p->param[i];
            const golden_grad *want = fx.grad;
            char name[HEARTH_MODEL_MAX_NAME + 8];
            while (strcmp(want->name, got->name) != 0)
                assert_true(++want < fx.grad + fx.n_grads);
            double d = projected_distance(want, got, scale);
            worst = fmax(worst, at_most(d, LIMIT, got->name));
            (void)snprintf(name, sizeof(name), "grad.%s", got->name);
            if (!hearth_safetensors_find(fx.tensors, name)) continue;
            whole++;
            d = distance(name, got->grad, scale, got->n);
            worst = fmax(worst, at_most(d, LIMIT, name));
        }
        assert_int_equal(whole, 5);
        print_message("gradients, %s: %zu tensors, worst %.2g\n",
                      kernel_set(set)->name, p->n_params, worst);
        hearth_arena_free(&e.arena);
    }
}

static void lora_gradients_match(void **state) {
    (void)state;
    hearth_adapter *a = make_adapter(20, 0.0625f);
    for (size_t set = 0; set < 3; set++) {
        engine e;
        double worst = 0;
        if (!kernel_set(set)) continue;
        engine_open(&e, HEARTH_DECODER_LORA, a, kernel_set(set));
        double scale = run_gradients(&e, fx.lora_loss);
        const hearth_params *p = hearth_decoder_params(e.dec);
        assert_int_equal(p->n_params, 2 * a->n_pairs);
        for (size_t i = 0; i < p->n_params; i++) {
            char name[160];
            (void)snprintf(name, sizeof(name), "loragrad.%s", p->param[i].name);
            double d = distance(name, p->param[i].grad, scale, p->param[i].n);
            worst = fmax(worst, at_most(d, LIMIT, name));
        }
        print_message("LoRA gradients, %s: %zu tensors, worst %.2g\n",
                      kernel_set(set)->name, p->n_params, worst);
        hearth_arena_free(&e.arena);
    }
    hearth_adapter_free(a);
}

#ifndef HEARTH_FLOAT64 /* the trainer walks float parameters */
static hearth_dataset *make_dataset(void) {
    hearth_dataset_config cfg = HEARTH_DATASET_CONFIG_INIT;
    hearth_dataset *ds = NULL;
    assert_ok(hearth_dataset_new(&ds, &cfg, NULL, NULL));
    for (size_t i = 0; i < fx.n_docs; i++)
        assert_ok(hearth_dataset_add_tokens(ds, fx.doc[i].id, fx.doc[i].label,
                                            fx.doc[i].n, NULL));
    return ds;
}

static double norm_of(const hearth_adapter *a) {
    double sum = 0;
    for (size_t i = 0; i < a->n_values; i++)
        sum += (double)a->values[i] * (double)a->values[i];
    return sqrt(sum);
}

static void training_curve_follows_torch(void **state) {
    (void)state;
    hearth_dataset *ds = make_dataset();
    hearth_adapter *a = make_adapter(21, 0.0f);
    hearth_train_config cfg = HEARTH_TRAIN_CONFIG_INIT;
    hearth_trainer *t = NULL;
    hearth_train_event ev = {0};
    double worst[2] = {0, 0};
    cfg.steps = STEPS;
    cfg.batch = cfg.accum = 2;
    cfg.lr = 1e-2;
    cfg.weight_decay = 0.01;
    cfg.schedule = HEARTH_SCHEDULE_COSINE;
    cfg.warmup = 3;
    cfg.shuffle = false;
    assert_ok(hearth_trainer_open(&t, fx.model, a, ds, &cfg, NULL, NULL, NULL));
    for (size_t s = 0; s < STEPS; s++) {
        do assert_ok(hearth_trainer_tick(t, &ev, NULL));
        while (ev.kind == HEARTH_TRAIN_MICRO);
        double by_loss = fabs(ev.loss - fx.step[s][0]) / fx.step[s][0];
        double by_norm = fabs(ev.grad_norm - fx.step[s][1]) / fx.step[s][1];
        worst[0] = fmax(worst[0], by_loss);
        worst[1] = fmax(worst[1], by_norm);
    }
    assert_int_equal(ev.kind, HEARTH_TRAIN_DONE);
    double end = fabs(norm_of(a) - fx.end) / fx.end;
    print_message("curve: loss %.2g, gradient norm %.2g, values %.2g\n",
                  worst[0], worst[1], end);
    assert_true(fx.step[STEPS - 1][0] < 0.9 * fx.step[0][0]); /* it learns */
    (void)at_most(worst[0], 1e-4, "losses of the curve");
    /* AdamW divides by sqrt(v): rounding of tiny gradients grows. */
    (void)at_most(worst[1], 1e-3, "gradient norms of the curve");
    (void)at_most(end, 1e-5, "trained values");
    hearth_trainer_close(t);
    hearth_adapter_free(a);
    hearth_dataset_free(ds);
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokenizer_gives_the_ids_of_tokenizers),
        cmocka_unit_test(logits_match),
        cmocka_unit_test(full_gradients_match),
        cmocka_unit_test(lora_gradients_match),
#ifndef HEARTH_FLOAT64
        cmocka_unit_test(training_curve_follows_torch),
#endif
    };
    return cmocka_run_group_tests_name("golden/demo", tests, set_up, tear_down);
}

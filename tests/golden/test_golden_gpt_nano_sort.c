/* SPDX-License-Identifier: Apache-2.0 */
/* tests/golden/test_golden_gpt_nano_sort.c - a real (tiny) GPT-2, activation by
 * activation, against what PyTorch recorded (test data:
 * models/gpt-nano-sort).  Its three inputs run as three packed documents.
 */
#include <math.h>

#include "tests/support/cmocka_all.h"

#include "client/model/base_model.h"
#include "client/train/decoder_private.h"
#include "common/arena.h"
#include "common/bytes.h"
#include "common/file.h"
#include "common/json.h"
#include "common/safetensors.h"

#define DOCS   3
#define LENGTH 11
#define TOKENS (DOCS * LENGTH)
#define WIDTH  48
#define HEADS  3
#define HEAD   16
#define FFN    192
#define VOCAB  3
/* Seen: at most 5.5e-7 of an activation's largest value (x86-64, OpenBLAS). */
#define LIMIT 1e-5

static hearth_json *recorded;
static size_t n_compared;
static double worst_of_all;

/* The floats of one entry; NULL when there is none. */
static float *floats(const hearth_json_value *root, const char *name,
                     size_t *n) {
    const hearth_json_value *v = hearth_json_get(root, name);
    const char *text = NULL;
    if (hearth_json_str(hearth_json_get(v, "data"), &text) != HEARTH_OK)
        return NULL;
    size_t len = strlen(text), n_bytes = 0;
    uint8_t *bytes = malloc(len + 1);
    float *out = malloc(len + 4);
    assert_true(bytes && out);
    assert_ok(hearth_base64_decode(bytes, len + 1, &n_bytes, text, len));
    *n = n_bytes / 4;
    hearth_dtype_to_f32(HEARTH_DTYPE_F32, bytes, *n, out);
    free(bytes);
    return out;
}

/* got [n] in the recorded order against what was recorded. */
static void compare(const char *name, const hearth_real *got, size_t n) {
    size_t n_want = 0;
    float *want = floats(hearth_json_root(recorded), name, &n_want);
    double worst = 0, top = 0;
    assert_non_null(want);
    assert_int_equal(n, n_want);
    for (size_t i = 0; i < n; i++) {
        if (isinf(want[i])) { /* scores of keys that are not seen */
            assert_true(isinf(got[i]));
            continue;
        }
        top = fmax(top, fabs((double)want[i]));
        worst = fmax(worst, fabs((double)got[i] - (double)want[i]));
    }
    if (!(worst <= LIMIT * top))
        fail_msg("%s: off by %g of %g", name, worst, top);
    worst_of_all = fmax(worst_of_all, worst / top);
    free(want);
    n_compared++;
}

static hearth_json *read_json(const char *file) {
    char path[512];
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    hearth_json *j = NULL;
    if (!hearth_test_data(path, sizeof(path), file)) skip();
    assert_ok(hearth_file_read(&b, path, 4 << 20, NULL));
    assert_ok(hearth_json_parse(&j, file, hearth_buf_str(&b), b.n, NULL, NULL));
    hearth_buf_free(&b);
    return j;
}

/* One tensor of the folder; minGPT keeps linears [out, in], GPT-2 [in, out]. */
static void write_tensor(hearth_safetensors_writer *w,
                         const hearth_json_value *root,
                         const hearth_model_tensor *t) {
    size_t n = 0;
    float *x = floats(root, t->name, &n);
    if (!x) fail_msg("no tensor %s", t->name);
    assert_int_equal(n, (size_t)t->rows * t->cols);
    if (!t->stored_transposed)
        assert_ok(hearth_safetensors_writer_write_f32(w, x, n, NULL));
    for (uint32_t c = 0; t->stored_transposed && c < t->cols; c++)
        for (uint32_t r = 0; r < t->rows; r++)
            assert_ok(hearth_safetensors_writer_write_f32(
                w, x + (size_t)r * t->cols + c, 1, NULL));
    free(x);
}

/* A Hugging Face folder of the recorded weights. */
static hearth_model *make_model(char dir[64]) {
    static const char config[] =
        "{\"architectures\":[\"GPT2LMHeadModel\"],\"vocab_size\":3,\"n_embd\":"
        "48,\"n_layer\":3,\"n_head\":3,\"n_positions\":11,"
        "\"tie_word_embeddings\":false}";
    char path[128];
    hearth_model_config c;
    hearth_model *m = NULL;
    hearth_safetensors_writer *w = NULL;
    hearth_error err = {HEARTH_OK, ""};
    hearth_json *j = read_json("models/gpt-nano-sort/gpt-nano-sort-model.json");
    assert_non_null(hearth_test_dir(dir));
    (void)snprintf(path, sizeof(path), "%s/config.json", dir);
    assert_ok(hearth_file_write(path, config, strlen(config), 0644, NULL));
    assert_ok(hearth_model_config_load(&c, path, NULL, NULL));
    (void)snprintf(path, sizeof(path), "%s/model.safetensors", dir);
    assert_ok(hearth_safetensors_writer_new(&w, path, NULL, NULL));
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < hearth_model_n_tensors(&c); i++) {
            hearth_model_tensor t;
            hearth_model_tensor_at(&c, i, &t);
            uint64_t dim[2] = {t.rows, t.cols};
            if (t.stored_transposed) dim[0] = t.cols, dim[1] = t.rows;
            if (pass)
                write_tensor(w, hearth_json_root(j), &t);
            else
                assert_ok(hearth_safetensors_writer_declare(
                    w, t.name, HEARTH_DTYPE_F32, t.cols == 1 ? 1 : 2, dim,
                    NULL));
        }
    assert_ok(hearth_safetensors_writer_finish(w, NULL));
    hearth_safetensors_writer_free(w);
    hearth_json_free(j);
    if (hearth_model_open(&m, dir, NULL, &err) != HEARTH_OK)
        fail_msg("%s", err.text);
    return m;
}

/* [T, heads * head] to [docs, heads, length, head]. */
static void by_head(const hearth_real *x, hearth_real *out) {
    size_t at = 0;
    for (size_t d = 0; d < DOCS; d++)
        for (size_t h = 0; h < HEADS; h++)
            for (size_t i = 0; i < LENGTH; i++, at += HEAD)
                memcpy(out + at, x + (d * LENGTH + i) * WIDTH + h * HEAD,
                       HEAD * sizeof(*x));
}

/* Scores and their softmax, from the kept queries, keys, maxima and sums. */
static void check_scores(const hearth_slot *s) {
    static hearth_real att[DOCS * HEADS * LENGTH * LENGTH];
    static hearth_real soft[DOCS * HEADS * LENGTH * LENGTH];
    size_t at = 0;
    for (size_t d = 0; d < DOCS; d++)
        for (size_t h = 0; h < HEADS; h++)
            for (size_t i = 0; i < LENGTH; i++)
                for (size_t k = 0; k < LENGTH; k++, at++) {
                    size_t row = d * LENGTH + i;
                    const hearth_real *q = s->q + row * WIDTH + h * HEAD;
                    const hearth_real *key =
                        s->k + (d * LENGTH + k) * WIDTH + h * HEAD;
                    hearth_real dot = 0;
                    for (size_t e = 0; e < HEAD; e++) dot += q[e] * key[e];
                    att[at] = k <= i ? dot / 4 : (hearth_real)-INFINITY;
                    soft[at] = 0;
                    if (k <= i)
                        soft[at] =
                            (hearth_real)exp(
                                (double)(att[at] - s->top[row * HEADS + h])) *
                            s->inverse[row * HEADS + h];
                }
    compare("att", att, at);
    compare("attSm", soft, at);
}

static void check_embedding(const hearth_decoder *d, const int32_t *token) {
    hearth_real e[TOKENS * WIDTH], p[LENGTH * WIDTH];
    for (size_t i = 0; i < TOKENS; i++)
        hearth_weight_row(d->embed, (size_t)token[i], e + i * WIDTH);
    for (size_t i = 0; i < LENGTH; i++)
        hearth_weight_row(d->place, i, p + i * WIDTH);
    compare("tok_emb", e, TOKENS * WIDTH);
    compare("pos_emb", p, LENGTH * WIDTH);
    compare("x", d->input[0], TOKENS * WIDTH);
}

static void check_attention(const hearth_decoder *d) {
    static hearth_real out[TOKENS * WIDTH], all[TOKENS * 3 * WIDTH];
    const hearth_slot *s = hearth_decoder__slot(d, 0);
    const hearth_real *part[] = {s->q, s->k, s->v};
    static const char *const name[] = {"q", "k", "v"};
    hearth_norm__forward(d, &d->layer[0].norm[NORM_ATTN], TOKENS, WIDTH,
                         d->input[0], out);
    compare("ln1", out, TOKENS * WIDTH);
    for (size_t k = 0; k < 3; k++) {
        by_head(part[k], out);
        compare(name[k], out, TOKENS * WIDTH);
        for (size_t i = 0; i < TOKENS; i++)
            memcpy(all + i * 3 * WIDTH + k * WIDTH, part[k] + i * WIDTH,
                   WIDTH * sizeof(*all));
    }
    compare("qkv", all, TOKENS * 3 * WIDTH);
    check_scores(s);
    compare("y", s->o, TOKENS * WIDTH);
    for (size_t i = 0; i < TOKENS * WIDTH; i++)
        out[i] = s->mid[i] - d->input[0][i];
    compare("yProj", out, TOKENS * WIDTH);
    compare("attnResid", s->mid, TOKENS * WIDTH);
}

static void check_mlp(const hearth_decoder *d) {
    static hearth_real out[TOKENS * FFN];
    const hearth_slot *s = hearth_decoder__slot(d, 0);
    hearth_norm__forward(d, &d->layer[0].norm[NORM_MLP], TOKENS, WIDTH, s->mid,
                         out);
    compare("ln2", out, TOKENS * WIDTH);
    compare("fc", s->u, TOKENS * FFN);
    d->compute.kernels->gelu(TOKENS * FFN, s->u, out);
    compare("gelu", out, TOKENS * FFN);
    for (size_t i = 0; i < TOKENS * WIDTH; i++)
        out[i] = d->input[1][i] - s->mid[i];
    compare("mlp", out, TOKENS * WIDTH);
    compare("mlpResid", d->input[1], TOKENS * WIDTH);
}

static void check_end(hearth_decoder *d, const hearth_stream *s) {
    hearth_real out[TOKENS * WIDTH], logits[TOKENS * VOCAB];
    compare("block0", d->input[1], TOKENS * WIDTH);
    compare("block1", d->input[2], TOKENS * WIDTH);
    compare("block2", d->input[3], TOKENS * WIDTH);
    hearth_norm__forward(d, &d->norm_final, TOKENS, WIDTH, d->input[3], out);
    compare("ln_f", out, TOKENS * WIDTH);
    assert_ok(hearth_decoder_logits(d, s, logits, NULL));
    compare("lm_head", logits, TOKENS * VOCAB);
    for (size_t i = 0; i < TOKENS; i++) {
        double sum = 0;
        for (size_t v = 0; v < VOCAB; v++)
            sum += exp((double)logits[i * VOCAB + v]);
        for (size_t v = 0; v < VOCAB; v++)
            logits[i * VOCAB + v] =
                (hearth_real)(exp((double)logits[i * VOCAB + v]) / sum);
    }
    compare("probs", logits, TOKENS * VOCAB);
}

static void activations_match(void **state) {
    char dir[64];
    int32_t token[TOKENS], label[TOKENS];
    uint32_t position[TOKENS], start[DOCS + 1] = {0, 11, 22, 33};
    hearth_arena arena;
    hearth_decoder *d = NULL;
    hearth_loss loss;
    size_t n = 0;
    (void)state;
    recorded = read_json("models/gpt-nano-sort/gpt-nano-sort-t0-partials.json");
    float *ids = floats(hearth_json_root(recorded), "idx", &n);
    assert_true(ids && n == TOKENS);
    for (size_t i = 0; i < TOKENS; i++) {
        token[i] = (int32_t)ids[i];
        position[i] = (uint32_t)(i % LENGTH);
        label[i] = i % LENGTH + 1 < LENGTH ? 0 : HEARTH_STREAM_UNSUPERVISED;
    }
    free(ids);
    hearth_stream s = {TOKENS, DOCS, token, start, position, label};
    hearth_model *m = make_model(dir);
    hearth_decoder_shape shape = {.model = m,
                                  .mode = HEARTH_DECODER_FULL,
                                  .max_tokens = TOKENS,
                                  .n_workers = 1};
    assert_ok(hearth_arena_init(&arena, NULL, hearth_decoder_bytes(&shape)));
    assert_ok(hearth_decoder_new(&d, &shape, NULL, hearth_kernels_default(),
                                 &arena, NULL));
    assert_ok(hearth_decoder_loss(d, &s, &loss, NULL, NULL));
    check_embedding(d, token);
    check_attention(d);
    check_mlp(d);
    check_end(d, &s);
    print_message("%zu activations, worst distance %.2g\n", n_compared,
                  worst_of_all);
    assert_int_equal(n_compared, 24);
    hearth_arena_free(&arena);
    hearth_model_close(m);
    hearth_json_free(recorded);
    assert_ok(hearth_file_remove_tree(dir, NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(activations_match)};
    return cmocka_run_group_tests_name("golden/gpt_nano_sort", tests, NULL,
                                       NULL);
}

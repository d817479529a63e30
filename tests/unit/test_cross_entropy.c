/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_cross_entropy.c - client/train/cross_entropy.c against the
 * definition, computed in double with every logit in memory. */
#include <math.h>

#include "tests/support/model_fixture.h"

#include "client/train/decoder_private.h"

#define WIDTH  ((size_t)24)
#define VOCAB  ((size_t)3001) /* several blocks a part, the last one short */
#define TOKENS ((size_t)320)  /* more than one group of rows */

static hearth_model *model;
static char dir[64];
static float head[VOCAB * WIDTH];

static int set_up(void **state) {
    tiny_spec s = {VOCAB, WIDTH, 40, 1, 6, 2, 4, false, 0.3};
    (void)state;
    model = tiny_model(&s, 1, dir);
    hearth_weight_copy(hearth_model_weight(model, HEARTH_TENSOR_HEAD, 0), head);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    tiny_drop(model, dir);
    return 0;
}

static void open_engine(tiny_engine *e, hearth_pool *pool,
                        const hearth_kernels *k) {
    tiny_engine_open(e,
                     (hearth_decoder_shape){.model = model,
                                            .mode = HEARTH_DECODER_FULL,
                                            .max_tokens = TOKENS},
                     pool, k);
    assert_true(e->dec->vocab_parts > 1);
    assert_true(VOCAB > e->dec->vocab_parts * e->dec->vocab_rows);
    assert_true(VOCAB % e->dec->vocab_rows != 0);
    assert_true(TOKENS > e->dec->ce_rows);
    hearth_decoder_zero_grad(e->dec);
}

/* n rows of h, every third token supervised, labels at both ends of the
 * vocabulary among them. */
static void fill(hearth_decoder *d, size_t n, double scale, int32_t *label) {
    hearth_philox_key k = hearth_philox_key_make(3, HEARTH_PHILOX_DATA);
    for (size_t i = 0; i < n; i++) {
        size_t at = (3 * i) % TOKENS; /* 3 and 320 share no factor */
        d->row[i] = (uint32_t)at;
        label[at] = (int32_t)hearth_philox_below(k, i, 0, VOCAB);
        if (i % 4 == 0) label[at] = (int32_t)VOCAB - 1;
        if (i % 4 == 1) label[at] = 0;
        for (size_t c = 0; c < WIDTH; c++)
            d->h[i * WIDTH + c] =
                (float)(scale * hearth_philox_normal(k, i, 1 + c));
    }
}

/* What row i should give: loss, hit and dh [WIDTH]; softmax [VOCAB]. */
static double expect(const hearth_decoder *d, size_t i, size_t label, bool *hit,
                     double *dh, double *softmax) {
    double top = -(double)INFINITY, sum = 0;
    for (size_t v = 0; v < VOCAB; v++) {
        softmax[v] = 0;
        for (size_t c = 0; c < WIDTH; c++)
            softmax[v] +=
                (double)d->h[i * WIDTH + c] * (double)head[v * WIDTH + c];
        top = fmax(top, softmax[v]);
    }
    double target = softmax[label];
    *hit = target >= top;
    for (size_t v = 0; v < VOCAB; v++)
        sum += softmax[v] = exp(softmax[v] - top);
    for (size_t c = 0; c < WIDTH; c++) dh[c] = -(double)head[label * WIDTH + c];
    for (size_t v = 0; v < VOCAB; v++) {
        softmax[v] /= sum;
        for (size_t c = 0; c < WIDTH; c++)
            dh[c] += softmax[v] * (double)head[v * WIDTH + c];
    }
    return top + log(sum) - target;
}

static double worst(const float *got, const double *want, size_t n) {
    double most = 0;
    for (size_t i = 0; i < n; i++)
        most = fmax(most, fabs((double)got[i] - want[i]));
    return most;
}

/* scale 1: logits of a few units; 30: of hundreds, one word has it all. */
static void loss_and_gradient_are_those_of_the_definition(void **state) {
    static const size_t rows[] = {1, 5, 2, 3, 64, TOKENS};
    static double softmax[VOCAB], dw[VOCAB * WIDTH];
    static const double scale[] = {1, 30};
    const hearth_kernels *set[] = {hearth_kernels_default(),
                                   hearth_kernels_reference()};
    (void)state;
    for (size_t t = 0; t < 12; t++) {
        int32_t label[TOKENS];
        double dh[WIDTH];
        bool hit;
        tiny_engine e;
        size_t n = rows[t % 6], at = t / 6;
        open_engine(&e, NULL, set[t % 6 < 2 ? 1 : 0]);
        hearth_decoder *d = e.dec;
        fill(d, n, scale[at], label);
        assert_ok(hearth_cross_entropy__run(d, n, label, true, NULL));
        memset(dw, 0, sizeof(dw));
        for (size_t i = 0; i < n; i++) {
            size_t l = (size_t)label[d->row[i]];
            double loss = expect(d, i, l, &hit, dh, softmax);
            double limit = 1e-5 * scale[at];
            assert_true(fabs(d->row_loss[i] - loss) <= limit * (1 + loss / 10));
            if (loss > 1e-3 * scale[at]) assert_int_equal(d->row_hit[i], hit);
            assert_true(worst(d->dh + i * WIDTH, dh, WIDTH) <= limit);
            softmax[l] -= 1;
            for (size_t v = 0; v < VOCAB; v++)
                for (size_t c = 0; c < WIDTH; c++)
                    dw[v * WIDTH + c] +=
                        softmax[v] * (double)d->h[i * WIDTH + c];
        }
        assert_true(worst(d->grad_head, dw, VOCAB * WIDTH) <=
                    3e-5 * scale[at] * scale[at] * (double)(n + 9));
        tiny_engine_close(&e);
    }
}

static void any_number_of_workers_gives_the_same_bytes(void **state) {
    static const size_t workers[] = {1, 2, 3, 7};
    static float dh[TOKENS * WIDTH], dw[VOCAB * WIDTH];
    static double loss[TOKENS];
    int32_t label[TOKENS];
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        hearth_pool *pool = NULL;
        tiny_engine e;
        assert_ok(hearth_pool_open(&pool, workers[i], NULL, NULL));
        open_engine(&e, pool, hearth_kernels_default());
        fill(e.dec, TOKENS, 1, label);
        assert_ok(hearth_cross_entropy__run(e.dec, TOKENS, label, true, NULL));
        if (i) {
            assert_memory_equal(e.dec->dh, dh, sizeof(dh));
            assert_memory_equal(e.dec->grad_head, dw, sizeof(dw));
            assert_memory_equal(e.dec->row_loss, loss, sizeof(loss));
        }
        memcpy(dh, e.dec->dh, sizeof(dh));
        memcpy(dw, e.dec->grad_head, sizeof(dw));
        memcpy(loss, e.dec->row_loss, sizeof(loss));
        tiny_engine_close(&e);
        hearth_pool_close(pool);
    }
}

static void the_loss_alone_is_the_same_and_makes_no_gradient(void **state) {
    int32_t label[TOKENS];
    double loss[TOKENS];
    tiny_engine e;
    (void)state;
    open_engine(&e, NULL, hearth_kernels_default());
    fill(e.dec, 70, 1, label);
    assert_ok(hearth_cross_entropy__run(e.dec, 70, label, true, NULL));
    memcpy(loss, e.dec->row_loss, 70 * sizeof(*loss));
    hearth_decoder_zero_grad(e.dec);
    memset(e.dec->dh, 0, 70 * WIDTH * sizeof(*e.dec->dh));
    assert_ok(hearth_cross_entropy__run(e.dec, 70, label, false, NULL));
    assert_memory_equal(e.dec->row_loss, loss, 70 * sizeof(*loss));
    for (size_t i = 0; i < 70 * WIDTH; i++)
        assert_true(fabs((double)e.dec->dh[i]) <= 0);
    for (size_t i = 0; i < VOCAB * WIDTH; i++)
        assert_true(fabs((double)e.dec->grad_head[i]) <= 0);
    tiny_engine_close(&e);
}

/* Rows in one group, in a few and in many: the same bytes, whatever is left for
 * the last of them, and no buffer is longer than planned. */
static void groups_of_any_size_give_the_same_bytes(void **state) {
    static const size_t rows[] = {256, 32, 64, 1024}, n[] = {320, 81, 80, 65};
    static float dh[TOKENS * WIDTH];
    static double loss[TOKENS];
    int32_t label[TOKENS];
    (void)state;
    for (size_t k = 0; k < 4; k++)
        for (size_t i = 0; i < 4; i++) {
            tiny_engine e;
            tiny_engine_open(&e,
                             (hearth_decoder_shape){.model = model,
                                                    .mode = HEARTH_DECODER_FULL,
                                                    .max_tokens = TOKENS,
                                                    .head_rows = rows[i]},
                             NULL, hearth_kernels_default());
            hearth_decoder *d = e.dec;
            assert_int_equal(d->ce_rows, rows[i]);
            assert_int_equal(d->ce_most,
                             rows[i] + 16 < TOKENS ? rows[i] + 16 : TOKENS);
            fill(d, n[k], 1, label);
            assert_ok(hearth_cross_entropy__run(d, n[k], label, true, NULL));
            if (i) {
                assert_memory_equal(d->dh, dh, n[k] * WIDTH * sizeof(*dh));
                assert_memory_equal(d->row_loss, loss, n[k] * sizeof(*loss));
            }
            memcpy(dh, d->dh, n[k] * WIDTH * sizeof(*dh));
            memcpy(loss, d->row_loss, n[k] * sizeof(*loss));
            tiny_engine_close(&e);
        }
}

/* Shapes of real models: scratch stays a few MB however long the stream. */
static void scratch_is_small_for_real_shapes(void **state) {
    static const struct {
        uint32_t width, vocab, mib;
    } shape[] = {{896, 151936, 4},
                 {768, 50257, 4},
                 {640, 262144, 4},
                 {2048, 128256, 7},
                 {4096, 128256, 7}};
    (void)state;
    for (size_t i = 0; i < 5; i++) {
        hearth_model_config c = {.hidden_size = shape[i].width,
                                 .vocab_size = shape[i].vocab};
        hearth_decoder d = {.c = &c, .shape.max_tokens = 4096};
        hearth_cross_entropy__derive(&d);
        size_t parts = (d.vocab_parts - 1) * d.ce_most * c.hidden_size;
        size_t reals = parts + 2 * hearth_cross_entropy__aux(&d);
        assert_true(d.vocab_parts >= 4 && d.vocab_parts <= 8);
        assert_true(reals * sizeof(float) <= shape[i].mib << 20);
        assert_true(d.vocab_rows * c.hidden_size * sizeof(float) <=
                    HEARTH_WEIGHT_TILE_BYTES);
    }
}

/* Questions left until the answer is no. */
static bool count_down(void *ud) {
    size_t *left = ud;
    return *left && (*left)--;
}

/* The head of this model costs more than its layer: the gate is asked in the
 * midst of each group, and whatever it stops can be begun again. */
static void the_gate_is_asked_within_the_head(void **state) {
    static float want[TOKENS * WIDTH];
    int32_t label[TOKENS];
    tiny_engine e;
    size_t left = SIZE_MAX;
    (void)state;
    open_engine(&e, NULL, hearth_kernels_default());
    hearth_decoder *d = e.dec;
    fill(d, TOKENS, 1, label);
    hearth_decoder_set_gate(d, count_down, &left);
    assert_ok(hearth_cross_entropy__run(d, TOKENS, label, true, NULL));
    memcpy(want, d->dh, sizeof(want));
    size_t asked = SIZE_MAX - left, groups = TOKENS / d->ce_rows + 1;
    assert_true(asked >= 2 * groups);
    for (size_t stop = 0; stop < asked; stop++) {
        left = stop;
        assert_int_equal(
            hearth_cross_entropy__run(d, TOKENS, label, true, NULL),
            HEARTH_ECANCELLED);
    }
    left = asked;
    assert_ok(hearth_cross_entropy__run(d, TOKENS, label, true, NULL));
    assert_memory_equal(d->dh, want, sizeof(want));
    tiny_engine_close(&e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loss_and_gradient_are_those_of_the_definition),
        cmocka_unit_test(any_number_of_workers_gives_the_same_bytes),
        cmocka_unit_test(the_loss_alone_is_the_same_and_makes_no_gradient),
        cmocka_unit_test(the_gate_is_asked_within_the_head),
        cmocka_unit_test(groups_of_any_size_give_the_same_bytes),
        cmocka_unit_test(scratch_is_small_for_real_shapes),
    };
    return cmocka_run_group_tests_name("client/train/cross_entropy", tests,
                                       set_up, tear_down);
}

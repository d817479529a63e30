/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_attention.c - client/train/attention.c against the
 * definition, computed in double with every probability in memory. */
#include <math.h>

#include "tests/support/model_fixture.h"

#include "client/train/decoder_private.h"

#define HEADS  ((size_t)6)
#define KV     ((size_t)2)
#define HD     ((size_t)4)
#define LONG   ((size_t)600) /* several blocks of queries and tiles of keys */
#define TOKENS (LONG + 40 + 1 + 65)

static const uint32_t start[] = {0, LONG, LONG + 40, LONG + 41, TOKENS};
static const size_t windows[] = {0, 5, 100, 300};

static hearth_model *model;
static char dir[64];

static int set_up(void **state) {
    (void)state;
    model = tiny_model_of(
        "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\","
        "\"vocab_size\":67,\"hidden_size\":24,\"intermediate_size\":40,"
        "\"num_hidden_layers\":1,\"num_attention_heads\":6,"
        "\"num_key_value_heads\":2,\"head_dim\":4,"
        "\"max_position_embeddings\":1024,\"rms_norm_eps\":1e-5,"
        "\"rope_theta\":10000.0,\"tie_word_embeddings\":true,"
        "\"initializer_range\":0.3,\"bos_token_id\":1,\"eos_token_id\":2}",
        1, dir);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    tiny_drop(model, dir);
    return 0;
}

static void draw(uint64_t seed, size_t n, double scale, float *out) {
    hearth_philox_key k = hearth_philox_key_make(seed, HEARTH_PHILOX_DATA);
    for (size_t i = 0; i < n; i++)
        out[i] = (float)(scale * hearth_philox_normal(k, i, 0));
}

/* Random queries, keys, values and d_o. */
static void fill(tiny_engine *e, double scale) {
    const hearth_slot *s = hearth_decoder__slot(e->dec, 0);
    draw(1, TOKENS * HEADS * HD, scale, s->q);
    draw(2, TOKENS * KV * HD, scale, s->k);
    draw(3, TOKENS * KV * HD, 1, s->v);
    draw(4, TOKENS * HEADS * HD, 1, e->dec->d_o);
}

/* A decoder whose slot holds random queries, keys, values and d_o. */
static void open_engine(tiny_engine *e, hearth_pool *pool,
                        const hearth_kernels *k, double scale) {
    tiny_engine_open(e,
                     (hearth_decoder_shape){.model = model,
                                            .mode = HEARTH_DECODER_FULL,
                                            .max_tokens = TOKENS},
                     pool, k);
    fill(e, scale);
}

static hearth_pass whole(void) {
    return (hearth_pass){.n = TOKENS, .n_docs = 4, .doc_start = start};
}

/* The definition, of all heads: o; and, with d_o, dq, dk, dv. */
typedef struct {
    double o[TOKENS * HEADS * HD], dq[TOKENS * HEADS * HD];
    double dk[TOKENS * KV * HD], dv[TOKENS * KV * HD];
} expected;

static double product(const float *a, const float *b) {
    double sum = 0;
    for (size_t c = 0; c < HD; c++) sum += (double)a[c] * (double)b[c];
    return sum;
}

/* The query of `head` at row i, whose keys are rows lo .. own. */
static void expect_row(const hearth_decoder *d, expected *e, size_t i,
                       size_t head, size_t lo, size_t own) {
    static double p[TOKENS];
    const hearth_slot *s = hearth_decoder__slot(d, 0);
    size_t at = (i * HEADS + head) * HD, kv = head / (HEADS / KV);
    double sum = 0, top = -(double)INFINITY, dot = 0;
    for (size_t l = lo; l <= own; l++) {
        p[l] = d->c->attn_scale * product(s->q + at, s->k + (l * KV + kv) * HD);
        top = fmax(top, p[l]);
    }
    for (size_t l = lo; l <= own; l++) sum += p[l] = exp(p[l] - top);
    for (size_t c = 0; c < HD; c++) e->o[at + c] = e->dq[at + c] = 0;
    for (size_t l = lo; l <= own; l++) {
        size_t to = (l * KV + kv) * HD;
        p[l] /= sum;
        dot += p[l] * product(d->d_o + at, s->v + to);
        for (size_t c = 0; c < HD; c++) {
            e->o[at + c] += p[l] * (double)s->v[to + c];
            e->dv[to + c] += p[l] * (double)d->d_o[at + c];
        }
    }
    for (size_t l = lo; l <= own; l++) {
        size_t to = (l * KV + kv) * HD;
        double ds =
            p[l] * (product(d->d_o + at, s->v + to) - dot) * d->c->attn_scale;
        for (size_t c = 0; c < HD; c++) {
            e->dq[at + c] += ds * (double)s->k[to + c];
            e->dk[to + c] += ds * (double)s->q[at + c];
        }
    }
}

static void expect_all(const hearth_decoder *d, expected *e, size_t window) {
    memset(e, 0, sizeof(*e));
    for (size_t doc = 0; doc < 4; doc++)
        for (size_t i = start[doc]; i < start[doc + 1]; i++)
            for (size_t head = 0; head < HEADS; head++) {
                size_t seen = i + 1 - start[doc];
                if (window && seen > window) seen = window;
                expect_row(d, e, i, head, i + 1 - seen, i);
            }
}

static double worst(const float *got, const double *want, size_t n) {
    double most = 0;
    for (size_t i = 0; i < n; i++)
        most = fmax(most, fabs((double)got[i] - want[i]));
    return most;
}

static void it_is_the_definition(void **state) {
    static expected want;
    (void)state;
    for (size_t i = 0; i < 5; i++) {
        tiny_engine e;
        size_t window = windows[i % 4];
        double scale = i == 4 ? 8 : 1; /* 8: scores up to a hundred */
        hearth_pass p = whole();
        open_engine(&e, NULL,
                    i == 3 ? hearth_kernels_reference()
                           : hearth_kernels_default(),
                    scale);
        const hearth_slot *s = hearth_decoder__slot(e.dec, 0);
        hearth_attention__forward(e.dec, &p, s, window);
        hearth_attention__backward(e.dec, &p, s, window);
        expect_all(e.dec, &want, window);
        size_t n = TOKENS * HEADS * HD, n_kv = TOKENS * KV * HD;
        assert_true(worst(s->o, want.o, n) <= 2e-5 * scale);
        assert_true(worst(e.dec->dq, want.dq, n) <= 1e-4 * scale * scale);
        assert_true(worst(e.dec->dk, want.dk, n_kv) <= 2e-4 * scale * scale);
        assert_true(worst(e.dec->dv, want.dv, n_kv) <= 2e-4 * scale * scale);
        tiny_engine_close(&e);
    }
}

/* Queries behind cached keys, in blocks that start anywhere. */
static void cached_keys_are_seen(void **state) {
    static expected want;
    static const uint32_t docs[] = {0, 170};
    (void)state;
    for (size_t w = 0; w < 4; w++) {
        tiny_engine e;
        hearth_pass p = {.n = 170,
                         .n_docs = 1,
                         .doc_start = docs,
                         .past = 333,
                         .cached = true};
        open_engine(&e, NULL, hearth_kernels_default(), 1);
        hearth_slot s = *hearth_decoder__slot(e.dec, 0);
        s.top = s.inverse = NULL;
        hearth_attention__forward(e.dec, &p, &s, windows[w]);
        for (size_t i = 0; i < p.n; i++)
            for (size_t head = 0; head < HEADS; head++) {
                size_t own = p.past + i, lo = 0;
                if (windows[w] && own >= windows[w]) lo = own + 1 - windows[w];
                expect_row(e.dec, &want, i, head, lo, own);
            }
        assert_true(worst(s.o, want.o, p.n * HEADS * HD) <= 2e-5);
        tiny_engine_close(&e);
    }
}

static void any_number_of_workers_gives_the_same_bytes(void **state) {
    static const size_t workers[] = {1, 2, 3, 7};
    static float keep[4][TOKENS * HEADS * HD];
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        hearth_pool *pool = NULL;
        tiny_engine e;
        hearth_pass p = whole();
        assert_ok(hearth_pool_open(&pool, workers[i], NULL, NULL));
        open_engine(&e, pool, hearth_kernels_default(), 1);
        const hearth_slot *s = hearth_decoder__slot(e.dec, 0);
        hearth_attention__forward(e.dec, &p, s, 0);
        hearth_attention__backward(e.dec, &p, s, 0);
        const float *got[] = {s->o, e.dec->dq, e.dec->dk, e.dec->dv};
        for (size_t k = 0; k < 4; k++) {
            size_t bytes = TOKENS * (k < 2 ? HEADS : KV) * HD * sizeof(float);
            if (i) assert_memory_equal(got[k], keep[k], bytes);
            memcpy(keep[k], got[k], bytes);
        }
        tiny_engine_close(&e);
        hearth_pool_close(pool);
    }
}

/* Going back by tiles of half the keys, in half the room. */
static void small_tiles_give_the_same_bytes(void **state) {
    static float keep[3][TOKENS * HEADS * HD];
    (void)state;
    for (size_t i = 0; i < 8; i++) {
        tiny_engine e;
        hearth_pass p = whole();
        tiny_engine_open(&e,
                         (hearth_decoder_shape){.model = model,
                                                .mode = HEARTH_DECODER_FULL,
                                                .max_tokens = TOKENS,
                                                .small_tiles = i % 2},
                         NULL, hearth_kernels_default());
        fill(&e, 1);
        assert_int_equal(hearth_attention__aux(e.dec),
                         (i % 2 ? 1 : 2) * (size_t)128 * 256);
        hearth_attention__forward(e.dec, &p, hearth_decoder__slot(e.dec, 0),
                                  windows[i / 2]);
        hearth_attention__backward(e.dec, &p, hearth_decoder__slot(e.dec, 0),
                                   windows[i / 2]);
        const float *got[] = {e.dec->dq, e.dec->dk, e.dec->dv};
        for (size_t k = 0; k < 3; k++) {
            size_t bytes = TOKENS * (k ? KV : HEADS) * HD * sizeof(float);
            if (i % 2) assert_memory_equal(got[k], keep[k], bytes);
            memcpy(keep[k], got[k], bytes);
        }
        tiny_engine_close(&e);
    }
}

static void scratch_does_not_grow_with_the_stream(void **state) {
    (void)state;
    const hearth_model_config c = {.head_dim = 256};
    for (size_t parts = 0; parts < 4; parts += 3) {
        hearth_decoder d = {.c = &c,
                            .shape.attention_parts = parts,
                            .shape.max_tokens = 2048,
                            .n_positions = 2048};
        hearth_attention__derive(&d);
        size_t reals = hearth_attention__aux(&d);
        assert_true(reals * sizeof(float) <= 256 * 1024);
        d.shape.max_tokens = d.n_positions = (size_t)1 << 20;
        hearth_attention__derive(&d);
        assert_int_equal(hearth_attention__aux(&d), reals);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_the_definition),
        cmocka_unit_test(cached_keys_are_seen),
        cmocka_unit_test(any_number_of_workers_gives_the_same_bytes),
        cmocka_unit_test(small_tiles_give_the_same_bytes),
        cmocka_unit_test(scratch_does_not_grow_with_the_stream),
    };
    return cmocka_run_group_tests_name("client/train/attention", tests, set_up,
                                       tear_down);
}

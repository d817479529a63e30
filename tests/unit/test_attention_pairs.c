/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_attention_pairs.c - attention by products of bfloat16 pairs
 * against attention by vectors, on the same queries, keys and values: in one
 * part, and in two and three where the machine has sets that do it. */
#include <math.h>

#include "tests/support/model_fixture.h"

#include "client/train/decoder_private.h"

#define HEADS  ((size_t)4)
#define KV     ((size_t)2)
#define LONG   ((size_t)600) /* several blocks of queries and tiles of keys */
#define TOKENS (LONG + 40 + 1 + 65)
#define MOST   (TOKENS * HEADS * 96)

static const uint32_t start[] = {0, LONG, LONG + 40, LONG + 41, TOKENS};

typedef struct {
    float o[MOST], dq[MOST], dk[MOST], dv[MOST];
} result;

static hearth_model *make_model(size_t head, char *dir) {
    char config[512];
    (void)snprintf(
        config, sizeof(config),
        "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\","
        "\"vocab_size\":67,\"hidden_size\":128,\"intermediate_size\":160,"
        "\"num_hidden_layers\":1,\"num_attention_heads\":4,"
        "\"num_key_value_heads\":2,\"head_dim\":%zu,"
        "\"max_position_embeddings\":1024,\"rms_norm_eps\":1e-5,"
        "\"rope_theta\":10000.0,\"tie_word_embeddings\":true,"
        "\"initializer_range\":0.3,\"bos_token_id\":1,\"eos_token_id\":2}",
        head);
    return tiny_model_of(config, 1, dir);
}

static void draw(uint64_t seed, size_t n, float *out) {
    hearth_philox_key k = hearth_philox_key_make(seed, HEARTH_PHILOX_DATA);
    for (size_t i = 0; i < n; i++)
        out[i] = (float)hearth_philox_normal(k, i, 0);
}

/* Forward and backward, by pairs or by vectors. */
static void run(hearth_decoder *d, size_t window, bool pairs, result *out) {
    const hearth_slot *s = hearth_decoder__slot(d, 0);
    hearth_pass p = {.n = TOKENS, .n_docs = 4, .doc_start = start};
    size_t q = TOKENS * HEADS * d->c->head_dim, kv = q / HEADS * KV;
    uint16_t *room = d->compute.halves;
    memset(s->o, 0xff, q * sizeof(float)); /* no numbers */
    memset(d->dq, 0xff, q * sizeof(float));
    if (!pairs) d->compute.halves = NULL;
    hearth_attention__forward(d, &p, s, window);
    hearth_attention__backward(d, &p, s, window);
    d->compute.halves = room;
    memcpy(out->o, s->o, q * sizeof(float));
    memcpy(out->dq, d->dq, q * sizeof(float));
    memcpy(out->dk, d->dk, kv * sizeof(float));
    memcpy(out->dv, d->dv, kv * sizeof(float));
}

static void open_engine(tiny_engine *e, const hearth_model *m,
                        hearth_pool *pool, const hearth_kernels *k,
                        const hearth_kernels *pairs) {
    tiny_engine_open(
        e,
        (hearth_decoder_shape){.model = m,
                               .mode = HEARTH_DECODER_FULL,
                               .max_tokens = TOKENS,
                               .round_parts = k->pair_parts,
                               .attention_parts = pairs->pair_parts},
        pool, k);
    /* Room for a head, whatever the products of weights take. */
    assert_true(e->dec->compute.n_halves >= hearth_attention__halves(e->dec));
    e->dec->pairs = pairs; /* whatever the decoder would take */
    const hearth_slot *s = hearth_decoder__slot(e->dec, 0);
    size_t q = TOKENS * HEADS * e->dec->c->head_dim, kv = q / HEADS * KV;
    assert_true(q <= MOST);
    draw(1, q, s->q);
    draw(2, kv, s->k);
    draw(3, kv, s->v);
    draw(4, q, e->dec->d_o);
}

/* ||got - want|| / ||want||, of two that are not the same bytes. */
static double apart(const float *got, const float *want, size_t n) {
    double off = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        double x = (double)got[i] - (double)want[i];
        off += x * x;
        size += (double)want[i] * (double)want[i];
    }
    assert_true(off > 0); /* or both were by vectors */
    return sqrt(off / size);
}

/* Observed about 5e-3 in one part, 2e-5 in two, 4e-7 in three. */
static void check_set(const hearth_kernels *k, const hearth_kernels *pairs,
                      double bound) {
    static const size_t head[] = {32, 72, 96}, windows[] = {0, 5, 100, 300};
    static result by_pairs, by_vectors;
    for (size_t h = 0; h < 3; h++) {
        char dir[64];
        hearth_model *m = make_model(head[h], dir);
        for (size_t w = 0; w < 4; w++) {
            tiny_engine e;
            size_t q = TOKENS * HEADS * head[h], kv = q / HEADS * KV;
            open_engine(&e, m, NULL, k, pairs);
            run(e.dec, windows[w], true, &by_pairs);
            run(e.dec, windows[w], false, &by_vectors);
            double off[] = {apart(by_pairs.o, by_vectors.o, q),
                            apart(by_pairs.dq, by_vectors.dq, q),
                            apart(by_pairs.dk, by_vectors.dk, kv),
                            apart(by_pairs.dv, by_vectors.dv, kv)};
            for (size_t i = 0; i < 4; i++)
                if (!(off[i] <= bound))
                    fail_msg("heads of %zu, window %zu, output %zu: %.3g",
                             head[h], windows[w], i, off[i]);
            tiny_engine_close(&e);
        }
        tiny_drop(m, dir);
    }
}

static void one_part_agrees_with_vectors(void **state) {
    (void)state;
    if (!hearth_kernels_bf16()) skip();
    check_set(hearth_kernels_bf16(), hearth_kernels_bf16(), 1e-2);
}

/* What the decoder takes beside weights in bfloat16. */
static void two_parts_agree_with_vectors(void **state) {
    (void)state;
    if (!hearth_kernels_bf16() || !hearth_kernels_bf16()->attention) skip();
    assert_int_equal(hearth_kernels_bf16()->attention->pair_parts, 2);
    check_set(hearth_kernels_bf16(), hearth_kernels_bf16()->attention, 1e-4);
}

static void three_parts_agree_with_vectors(void **state) {
    (void)state;
    if (!hearth_kernels_native() || !hearth_kernels_native()->attention) skip();
    assert_int_equal(hearth_kernels_native()->attention->pair_parts, 3);
    check_set(hearth_kernels_native(), hearth_kernels_native()->attention,
              2e-6);
}

static void any_number_of_workers_gives_the_same_bytes(void **state) {
    static const size_t workers[] = {1, 2, 3, 7};
    static result first, other;
    char dir[64];
    (void)state;
    if (!hearth_kernels_bf16()) skip();
    hearth_model *m = make_model(32, dir);
    for (size_t i = 0; i < 4; i++) {
        hearth_pool *pool = NULL;
        tiny_engine e;
        assert_ok(hearth_pool_open(&pool, workers[i], NULL, NULL));
        open_engine(&e, m, pool, hearth_kernels_bf16(), hearth_kernels_bf16());
        run(e.dec, 0, true, i ? &other : &first);
        if (i) assert_memory_equal(&first, &other, sizeof(first));
        tiny_engine_close(&e);
        hearth_pool_close(pool);
    }
    tiny_drop(m, dir);
}

/* Tiles in two parts, in their room; windows and documents begin anywhere. */
static void small_tiles_give_the_same_bytes(void **state) {
    static const size_t windows[] = {0, 5, 100, 300};
    static result whole, parts;
    char dir[64];
    (void)state;
    if (!hearth_kernels_bf16()) skip();
    hearth_model *m = make_model(64, dir);
    for (size_t w = 0; w < sizeof(windows) / sizeof(windows[0]); w++)
        for (int small = 0; small < 2; small++) {
            tiny_engine e;
            open_engine(&e, m, NULL, hearth_kernels_bf16(),
                        hearth_kernels_bf16());
            e.dec->shape.small_tiles = small; /* in room for whole ones */
            run(e.dec, windows[w], true, small ? &parts : &whole);
            if (small) assert_memory_equal(&whole, &parts, sizeof(whole));
            tiny_engine_close(&e);
        }
    tiny_drop(m, dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_part_agrees_with_vectors),
        cmocka_unit_test(two_parts_agree_with_vectors),
        cmocka_unit_test(three_parts_agree_with_vectors),
        cmocka_unit_test(any_number_of_workers_gives_the_same_bytes),
        cmocka_unit_test(small_tiles_give_the_same_bytes),
    };
    return cmocka_run_group_tests_name("client/train/attention_pairs", tests,
                                       NULL, NULL);
}

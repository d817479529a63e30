/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_quant_blocks.c - common/quant_blocks.h
 *
 * The digests are of what the gguf Python package (0.19) decodes from the same
 * bytes, as little-endian floats.
 */
#include <math.h>

#include "tests/support/cmocka_all.h"

#include "common/bytes.h"
#include "common/file.h"
#include "common/half_float.h"
#include "common/hash.h"
#include "common/quant_blocks.h"
#include "common/safetensors.h"

static const struct {
    hearth_quant_type type;
    const char *file, *file_sha256; /* of the test data's blocks */
    const char *made_sha256;        /* first 16 digits; of made_block() */
} cases[] = {
    {HEARTH_QUANT_Q8_0, "q8_0_64",
     "450544b7f6d956dd291310fbc951ad77f1c19c90b633fa9b88af14b03d3b7baf",
     "b4e0f54d9075bc84"},
    {HEARTH_QUANT_Q4_0, "q4_0_64",
     "2622f09ec29687319c87aefc7d631e95111bc015f2b8e7ed6a1e3d2eed2be29c",
     "aef58a755f36c15f"},
    {HEARTH_QUANT_Q4_1, "q4_1_64",
     "9ac8d3f962b06e663984effc3de0cbc31751de3d5b9ab6b4b16884f7dc070da9",
     "891c525308b800b3"},
    {HEARTH_QUANT_Q5_0, "q5_0_64",
     "b61d55a56bf89a5334f4473ab0d3ebe8dd3f44bf46ca29d3bb8ea09f073ab7bc",
     "7f77551cd1508cb3"},
    {HEARTH_QUANT_Q5_1, "q5_1_64",
     "61f19d996b10a0ab7bcba633ed104debd09ce5795d79fc7fdf523757da9f5b9f",
     "67c73825b2a4d058"},
    {HEARTH_QUANT_Q4_K, "q4_k_512",
     "54babd09cf5d5bbd18523bbca5021e77f83c41ed13278187b1303f02400a49c4",
     "8d6f91644d7cdb64"},
    {HEARTH_QUANT_Q5_K, "q5_k_512",
     "63759e3591f15ec68d28bb18fab77079177b792c839466f28a36c95f643f5008",
     "5ea78d29abe29484"},
    {HEARTH_QUANT_Q6_K, "q6_k_512",
     "ef5df600f23abfbec187b9b83fce5f96f14694dfdee9a6c33e30b1caf9989216",
     "28fd6ca7c83ae08b"},
};
#define N_CASES (sizeof(cases) / sizeof(cases[0]))

static void expect_digest(const float *x, size_t n, const char *want) {
    static uint8_t bytes[4 * 1024];
    uint8_t digest[32];
    char hex[65];
    assert_true(4 * n <= sizeof(bytes));
    hearth_dtype_from_f32(HEARTH_DTYPE_F32, x, n, bytes);
    assert_ok(hearth_sha256(digest, bytes, 4 * n));
    hearth_hex_encode(hex, digest, 32);
    if (strncmp(hex, want, strlen(want)) != 0) fail_msg("%s", hex);
}

/* One block of bytes that count, with scales that stay small. */
static void made_block(hearth_quant_type t, uint8_t *p) {
    size_t n = hearth_quant_bytes(t);
    bool minimum = t == HEARTH_QUANT_Q4_1 || t == HEARTH_QUANT_Q5_1 ||
                   t == HEARTH_QUANT_Q4_K || t == HEARTH_QUANT_Q5_K;
    for (size_t i = 0; i < n; i++) p[i] = (uint8_t)((i * 37 + 11) % 251);
    p[t == HEARTH_QUANT_Q6_K ? 209 : 1] = 0x2c;
    if (minimum) p[3] = 0x2b;
}

static void decode_gives_the_references_floats(void **state) {
    (void)state;
    for (size_t i = 0; i < N_CASES; i++) {
        uint8_t block[256];
        float x[256];
        made_block(cases[i].type, block);
        size_t n = hearth_quant_elements(cases[i].type);
        hearth_quant_decode(cases[i].type, block, 0, n, x);
        expect_digest(x, n, cases[i].made_sha256);
    }
}

static void decode_of_real_blocks_is_exact(void **state) {
    (void)state;
    for (size_t i = 0; i < N_CASES; i++) {
        static float x[1024], part[1024];
        char path[512], file[128];
        hearth_buf b = HEARTH_BUF_INIT(NULL);
        (void)snprintf(file, sizeof(file),
                       "formats/ggml-quant-vectors/%s_noim_expected.bin",
                       cases[i].file);
        if (!hearth_test_data(path, sizeof(path), file)) skip();
        assert_ok(hearth_file_read(&b, path, 1 << 20, NULL));
        size_t per = hearth_quant_elements(cases[i].type);
        size_t n = b.n / hearth_quant_bytes(cases[i].type) * per;
        hearth_quant_decode(cases[i].type, b.v, 0, n, x);
        expect_digest(x, n, cases[i].file_sha256);
        hearth_quant_decode(cases[i].type, b.v, per, n - per, part);
        assert_memory_equal(part, x + per, (n - per) * sizeof(*x));
        hearth_buf_free(&b);
    }
}

static void encode_gives_the_published_bytes(void **state) {
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        char path[512], file[128];
        static float x[128];
        uint8_t out[256];
        hearth_buf in = HEARTH_BUF_INIT(NULL), want = HEARTH_BUF_INIT(NULL);
        for (int k = 0; k < 2; k++) {
            (void)snprintf(file, sizeof(file),
                           "formats/ggml-quant-vectors/%s_noim_%s.bin",
                           cases[i].file, k ? "expected" : "input");
            if (!hearth_test_data(path, sizeof(path), file)) skip();
            assert_ok(hearth_file_read(k ? &want : &in, path, 1 << 20, NULL));
        }
        hearth_dtype_to_f32(HEARTH_DTYPE_F32, in.v, 128, x);
        assert_true(hearth_quant_encode(cases[i].type, x, 128, out));
        assert_memory_equal(out, want.v, want.n);
        hearth_buf_free(&in);
        hearth_buf_free(&want);
    }
}

static void encode_of_zeros_and_refusals(void **state) {
    float zero[256] = {0}, back[32];
    uint8_t out[512];
    (void)state;
    for (size_t i = 0; i < N_CASES; i++) {
        bool writes = i < 2;
        assert_int_equal(hearth_quant_encode(cases[i].type, zero, 256, out),
                         writes);
        if (!writes) continue;
        hearth_quant_decode(cases[i].type, out, 0, 32, back);
        for (int k = 0; k < 32; k++) assert_true(fabsf(back[k]) <= 0);
    }
}

static void float_types_round_to_nearest_even(void **state) {
    /* value, binary16, bfloat16 */
    static const struct {
        float x;
        uint16_t half, bf16;
    } v[] = {
        {0.0f, 0x0000, 0x0000},
        {-0.0f, 0x8000, 0x8000},
        {1.0f, 0x3c00, 0x3f80},
        {-2.5f, 0xc100, 0xc020},
        {65504.0f, 0x7bff, 0x4780},
        {65520.0f, 0x7c00, 0x4780},
        {1e30f, 0x7c00, 0x714a},
        {0x1p-24f, 0x0001, 0x3380},
        {0x1p-25f, 0x0000, 0x3300},
        {0x1.8p-25f, 0x0001, 0x3340},
        {0x1p-14f, 0x0400, 0x3880},
        {1.0f + 0x1p-11f, 0x3c00, 0x3f80},
        {1.0f + 0x1.8p-10f, 0x3c02, 0x3f80},
        {1.0f + 0x1p-8f, 0x3c04, 0x3f80},
        {1.0f + 0x1.8p-7f, 0x3c0c, 0x3f82},
        {INFINITY, 0x7c00, 0x7f80},
        {-INFINITY, 0xfc00, 0xff80},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
        uint8_t b[2];
        hearth_dtype_from_f32(HEARTH_DTYPE_F16, &v[i].x, 1, b);
        if ((b[0] | b[1] << 8) != v[i].half) fail_msg("half %zu", i);
        hearth_dtype_from_f32(HEARTH_DTYPE_BF16, &v[i].x, 1, b);
        if ((b[0] | b[1] << 8) != v[i].bf16) fail_msg("bf16 %zu", i);
    }
    float nan = NAN, back;
    uint8_t b[2];
    for (int t = HEARTH_DTYPE_F16; t <= HEARTH_DTYPE_BF16; t++) {
        hearth_dtype_from_f32((hearth_dtype)t, &nan, 1, b);
        hearth_dtype_to_f32((hearth_dtype)t, b, 1, &back);
        assert_true(isnan(back));
    }
}

static void every_half_comes_back(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        uint8_t in[2] = {(uint8_t)h, (uint8_t)(h >> 8)}, out[2];
        float x;
        hearth_dtype_to_f32(HEARTH_DTYPE_F16, in, 1, &x);
        if (isnan(x)) continue;
        hearth_dtype_from_f32(HEARTH_DTYPE_F16, &x, 1, out);
        if (memcmp(in, out, 2) != 0) fail_msg("%04x", (unsigned)h);
    }
}

static void names_go_both_ways(void **state) {
    hearth_quant_type t;
    (void)state;
    for (int i = 0; i < HEARTH_QUANT_COUNT; i++) {
        assert_ok(
            hearth_quant_parse(hearth_quant_name((hearth_quant_type)i), &t));
        assert_int_equal(t, i);
    }
    assert_ok(hearth_quant_parse("q4_k", &t));
    assert_int_equal(t, HEARTH_QUANT_Q4_K);
    assert_int_equal(hearth_quant_parse("q4", &t), HEARTH_EINVAL);
    assert_int_equal(hearth_quant_parse("q4_k_m", &t), HEARTH_EINVAL);
    assert_string_equal(hearth_quant_name(HEARTH_QUANT_COUNT), "?");
}

/* Machines with and without wide vectors decode to the same bytes. */
static void vectors_change_no_byte(void **state) {
    enum { N = 4 * 256 };
    static uint8_t stored[N * 2];
    static float x[N], y[N];
    uint32_t bits = 1;
    (void)state;
    for (size_t i = 0; i < sizeof(stored); i++) {
        bits = bits * 1664525u + 1013904223u;
        stored[i] = (uint8_t)(bits >> 24);
    }
    for (int t = HEARTH_QUANT_Q8_0; t < HEARTH_QUANT_COUNT; t++) {
        hearth_quant_type type = (hearth_quant_type)t;
        size_t bytes = hearth_quant_bytes(type);
        for (size_t b = 0; b * bytes + bytes <= sizeof(stored); b++)
            for (size_t i = 1; i < 4; i += 2) /* halves: finite */
                stored[b * bytes + i] &= 0xbf;
        for (size_t b = 1; type == HEARTH_QUANT_Q6_K && b < 8; b++)
            stored[b * bytes - 1] &= 0xbf;
        hearth_quant_decode(type, stored, 0, N, x);
        hearth_quant__decode_plain(type, stored, N, y);
        assert_memory_equal(x, y, sizeof(x));
        memset(x, 0, sizeof(x));
        if (hearth_quant__decode_avx2(type, stored, N, x))
            assert_memory_equal(x, y, sizeof(x));
        memset(x, 0, sizeof(x));
        if (hearth_quant__decode_avx512(type, stored, N, x))
            assert_memory_equal(x, y, sizeof(x));
    }
}

/* The nearest bfloat16, as in test_kernels_bf16.c, where all sets of kernels are
 * held to it. */
static uint16_t nearest(float x) {
    uint32_t u;
    memcpy(&u, &x, 4);
    if (fabsf(x) < 0x1p-126f) return (uint16_t)(u >> 16 & 0x8000u);
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1)) >> 16);
}

/* From any block of a row, every scale: tiny ones, and those of a half's own
 * subnormal numbers. */
static void rounding_on_the_way_changes_no_byte(void **state) {
    enum { N = 512 };
    static const hearth_quant_type type[] = {HEARTH_QUANT_Q8_0,
                                             HEARTH_QUANT_Q4_0};
    uint8_t stored[N / 32 * 34];
    float x[N];
    uint16_t rounded[3 * N];
    uint32_t bits = 7;
    (void)state;
    for (uint32_t scale = 0; scale < 0x7c00u; scale += 3)
        for (size_t t = 0; t < 2; t++) {
            size_t bytes = hearth_quant_bytes(type[t]), first = scale % 16 * 32;
            for (size_t i = 0; i < sizeof(stored); i++) {
                bits = bits * 1664525u + 1013904223u;
                stored[i] = (uint8_t)(bits >> 24);
            }
            for (size_t b = 0; b < N / 32; b++) {
                stored[b * bytes] = (uint8_t)(scale + b);
                stored[b * bytes + 1] =
                    (uint8_t)((scale + b) >> 8 | (b & 1) << 7);
            }
            for (size_t parts = 1; parts <= 3; parts++) {
                if (!hearth_quant_decode_bf16(type[t], stored, first, N - first,
                                              parts, rounded, N))
                    skip();
                hearth_quant_decode(type[t], stored, first, N - first, x);
                for (size_t i = 0; i < N - first; i++)
                    for (size_t p = 0; isfinite(x[i]) && p < parts; p++) {
                        uint16_t got = rounded[p * N + i];
                        if (got != nearest(x[i]))
                            fail_msg("part %zu of %zu: %a gave %04x", p, parts,
                                     (double)x[i], (unsigned)got);
                        x[i] -= hearth_bf16_to_f32(got);
                    }
                /* Products take Q4_0 in two parts. */
                for (size_t i = 0; i < N - first; i++)
                    if (type[t] == HEARTH_QUANT_Q4_0 && parts == 2 &&
                        isfinite(x[i]))
                        assert_float_equal(x[i], 0, 0);
            }
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decode_gives_the_references_floats),
        cmocka_unit_test(decode_of_real_blocks_is_exact),
        cmocka_unit_test(encode_gives_the_published_bytes),
        cmocka_unit_test(encode_of_zeros_and_refusals),
        cmocka_unit_test(float_types_round_to_nearest_even),
        cmocka_unit_test(every_half_comes_back),
        cmocka_unit_test(vectors_change_no_byte),
        cmocka_unit_test(rounding_on_the_way_changes_no_byte),
        cmocka_unit_test(names_go_both_ways),
    };
    return cmocka_run_group_tests_name("common/quant_blocks", tests, NULL,
                                       NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_gguf.c - common/gguf.h and common/gguf_writer.h */
#include <math.h>

#include "tests/support/cmocka_all.h"
#include "tests/support/fail_alloc.h"

#include "common/bytes.h"
#include "common/file.h"
#include "common/gguf.h"
#include "common/gguf_writer.h"

/* A file in memory. */
typedef struct {
    uint8_t bytes[2048];
    size_t n;
} image;

static void u32(image *f, uint32_t v) {
    hearth_store_le32(f->bytes + f->n, v);
    f->n += 4;
}

static void u64(image *f, uint64_t v) {
    hearth_store_le64(f->bytes + f->n, v);
    f->n += 8;
}

static void text(image *f, const char *s) {
    u64(f, strlen(s));
    memcpy(f->bytes + f->n, s, strlen(s));
    f->n += strlen(s);
}

static image start(uint32_t version, uint64_t tensors, uint64_t keys) {
    image f = {.n = 4};
    memcpy(f.bytes, "GGUF", 4);
    u32(&f, version);
    u64(&f, tensors);
    u64(&f, keys);
    return f;
}

static void number(image *f, const char *key, uint32_t v) {
    text(f, key);
    u32(f, HEARTH_GGUF_U32);
    u32(f, v);
}

static void info(image *f, const char *name, uint64_t cols, uint64_t rows,
                 uint32_t type, uint64_t offset) {
    text(f, name);
    u32(f, 2);
    u64(f, cols);
    u64(f, rows);
    u32(f, type);
    u64(f, offset);
}

/* Pad to the data and add n bytes of it. */
static void data(image *f, size_t n) {
    f->n = (f->n + 31) / 32 * 32 + n;
}

static hearth_status try_image(const image *f) {
    hearth_gguf *g = NULL;
    hearth_error err = {HEARTH_OK, ""};
    uint8_t *exact = malloc(f->n ? f->n : 1); /* the sanitizer sees the end */
    assert_non_null(exact);
    memcpy(exact, f->bytes, f->n);
    hearth_status st =
        hearth_gguf_open_bytes(&g, exact, f->n, "image", NULL, &err);
    assert_int_equal(st == HEARTH_OK, g != NULL);
    if (st != HEARTH_OK) {
        assert_int_equal(err.status, st);
        assert_non_null(strstr(err.text, "image"));
    }
    hearth_gguf_close(g);
    free(exact);
    return st;
}

static void open_reads_what_it_wrote(void **state) {
    char dir[64], path[128];
    hearth_gguf_writer *w = NULL;
    hearth_gguf *g = NULL;
    uint64_t ne[2] = {32, 2}, v = 0;
    float x[64], y[64];
    const char *s;
    size_t n;
    bool b = false;
    double d = 0;
    hearth_gguf_array a;
    (void)state;
    assert_non_null(hearth_test_dir(dir));
    (void)snprintf(path, sizeof(path), "%s/a.gguf", dir);
    for (int i = 0; i < 64; i++) x[i] = (float)(i % 32 - 16) / 8;
    assert_ok(hearth_gguf_writer_new(&w, path, NULL, NULL));
    hearth_gguf_put_string(w, "general.architecture", "llama", 5);
    hearth_gguf_put_u32(w, "n", 7);
    hearth_gguf_put_f32(w, "f", 0.5f);
    hearth_gguf_put_bool(w, "b", true);
    hearth_gguf_put_array(w, "words", HEARTH_GGUF_STRING, 2);
    hearth_gguf_item_string(w, "ab", 2);
    hearth_gguf_item_string(w, "", 0);
    hearth_gguf_put_array(w, "ids", HEARTH_GGUF_I32, 2);
    hearth_gguf_item_i32(w, -3);
    hearth_gguf_item_i32(w, 4);
    assert_ok(
        hearth_gguf_writer_declare(w, "q", HEARTH_QUANT_Q8_0, 2, ne, NULL));
    assert_ok(
        hearth_gguf_writer_declare(w, "a", HEARTH_QUANT_F32, 1, ne, NULL));
    assert_int_equal(hearth_gguf_writer_finish(w, NULL), HEARTH_EINVAL);
    assert_ok(hearth_gguf_writer_floats(w, x, 64, NULL));
    assert_ok(hearth_gguf_writer_floats(w, x, 32, NULL));
    assert_int_equal(hearth_gguf_writer_floats(w, x, 32, NULL), HEARTH_EINVAL);
    assert_ok(hearth_gguf_writer_finish(w, NULL));
    hearth_gguf_writer_free(w);

    assert_ok(hearth_gguf_open(&g, path, NULL, NULL));
    assert_int_equal(hearth_gguf_count(g), 2);
    assert_string_equal(hearth_gguf_at(g, 0)->name, "a");
    const hearth_gguf_tensor *t = hearth_gguf_find(g, "q");
    assert_true(t && t->type == HEARTH_QUANT_Q8_0 && t->n_bytes == 4 * 17);
    assert_null(hearth_gguf_find(g, "z"));
    hearth_quant_decode(t->type, t->data, 0, 64, y);
    for (int i = 0; i < 64; i++) assert_true(fabsf(x[i] - y[i]) < 0.01f);
    assert_ok(hearth_gguf_string(g, "general.architecture", &s, &n));
    assert_true(n == 5 && memcmp(s, "llama", 5) == 0);
    assert_ok(hearth_gguf_u64(g, "n", &v));
    assert_int_equal(v, 7);
    assert_ok(hearth_gguf_f64(g, "f", &d));
    assert_true(d > 0.49 && d < 0.51);
    assert_ok(hearth_gguf_f64(g, "n", &d));
    assert_true(d > 6.9 && d < 7.1);
    assert_ok(hearth_gguf_bool(g, "b", &b));
    assert_true(b);
    assert_ok(hearth_gguf_array_open(g, "words", &a));
    assert_true(hearth_gguf_array_string(&a, &s, &n) && n == 2 && s[1] == 'b');
    assert_false(hearth_gguf_array_number(&a, &d));
    assert_true(hearth_gguf_array_string(&a, &s, &n) && n == 0);
    assert_false(hearth_gguf_array_string(&a, &s, &n));
    assert_ok(hearth_gguf_array_open(g, "ids", &a));
    assert_true(hearth_gguf_array_number(&a, &d) && d < -2.9);
    assert_false(hearth_gguf_array_string(&a, &s, &n));
    assert_int_equal(hearth_gguf_u64(g, "f", &v), HEARTH_EMISMATCH);
    assert_int_equal(hearth_gguf_u64(g, "b", &v), HEARTH_EMISMATCH);
    assert_int_equal(hearth_gguf_f64(g, "b", &d), HEARTH_EMISMATCH);
    assert_int_equal(hearth_gguf_bool(g, "n", &b), HEARTH_EMISMATCH);
    assert_int_equal(hearth_gguf_string(g, "n", &s, &n), HEARTH_EMISMATCH);
    assert_int_equal(hearth_gguf_array_open(g, "n", &a), HEARTH_EMISMATCH);
    assert_int_equal(hearth_gguf_u64(g, "none", &v), HEARTH_ENOTFOUND);
    assert_int_equal(hearth_gguf_array_open(g, "none", &a), HEARTH_ENOTFOUND);
    hearth_gguf_close(g);
    assert_ok(hearth_file_remove_tree(dir, NULL));
}

static void writer_leaves_no_half_file(void **state) {
    char dir[64], path[128];
    hearth_gguf_writer *w = NULL;
    uint64_t ne[2] = {256, 2}, odd[1] = {33};
    float x[512] = {0};
    (void)state;
    assert_non_null(hearth_test_dir(dir));
    (void)snprintf(path, sizeof(path), "%s/a.gguf", dir);
    assert_ok(hearth_gguf_writer_new(&w, path, NULL, NULL));
    assert_int_equal(
        hearth_gguf_writer_declare(w, "o", HEARTH_QUANT_Q4_0, 1, odd, NULL),
        HEARTH_EINVAL);
    assert_ok(
        hearth_gguf_writer_declare(w, "k", HEARTH_QUANT_Q4_K, 2, ne, NULL));
    assert_int_equal(hearth_gguf_writer_floats(w, x, 512, NULL),
                     HEARTH_EUNSUPPORTED);
    hearth_gguf_writer_free(w);
    assert_false(hearth_file_exists(path));
    assert_int_equal(hearth_gguf_open(&(hearth_gguf *){NULL}, path, NULL, NULL),
                     HEARTH_ENOTFOUND);
    assert_ok(hearth_file_remove_tree(dir, NULL));
}

static void open_takes_good_images(void **state) {
    (void)state;
    image f = start(3, 2, 1);
    number(&f, "n", 1);
    info(&f, "b", 4, 2, 0, 32);
    info(&f, "a", 4, 2, 0, 0);
    data(&f, 64);
    assert_ok(try_image(&f));
    f.bytes[4] = 2;
    assert_ok(try_image(&f));
    f = start(3, 0, 0);
    assert_ok(try_image(&f)); /* a vocabulary has no tensor */
}

static void open_refuses_broken_headers(void **state) {
    (void)state;
    image f = start(3, 0, 0);
    for (size_t n = 0; n < f.n; n++) {
        image cut = f;
        cut.n = n;
        assert_int_equal(try_image(&cut), HEARTH_EFORMAT);
    }
    f.bytes[0] = 'X';
    assert_int_equal(try_image(&f), HEARTH_EFORMAT);
    f = start(1, 0, 0);
    assert_int_equal(try_image(&f), HEARTH_EUNSUPPORTED);
    f = start(3u << 24, 0, 0); /* big-endian */
    assert_int_equal(try_image(&f), HEARTH_EUNSUPPORTED);
    f = start(3, UINT64_MAX, 0);
    assert_int_equal(try_image(&f), HEARTH_EFORMAT);
    f = start(3, 0, UINT64_MAX);
    assert_int_equal(try_image(&f), HEARTH_EFORMAT);
}

/* One key made by hand: its type, then raw bytes. */
static hearth_status try_key(const char *key, uint32_t type, const uint64_t *v,
                             size_t n_v, size_t drop) {
    image f = start(3, 0, 1);
    text(&f, key);
    u32(&f, type);
    for (size_t i = 0; i < n_v; i++) u64(&f, v[i]);
    f.n -= drop;
    return try_image(&f);
}

static void open_refuses_broken_keys(void **state) {
    char name[300];
    (void)state;
    const uint64_t huge[] = {UINT64_MAX}, two[] = {2};
    const uint64_t nested[] = {9 | 1ull << 32, 0}, odd[] = {77 | 1ull << 32, 0};
    const uint64_t list[] = {4 | UINT64_C(0xffffffff) << 32, 0};
    const uint64_t words[] = {8 | 1ull << 32, 0xffff00000000, 0};
    memset(name, 'k', sizeof(name));
    name[299] = '\0';
    assert_int_equal(try_key("k", 13, two, 1, 0), HEARTH_EFORMAT);
    assert_int_equal(try_key("k", HEARTH_GGUF_STRING, huge, 1, 0),
                     HEARTH_EFORMAT);
    assert_int_equal(try_key("k", HEARTH_GGUF_BOOL, two, 1, 0), HEARTH_EFORMAT);
    assert_int_equal(try_key("k", HEARTH_GGUF_U64, two, 1, 1), HEARTH_EFORMAT);
    assert_int_equal(try_key("k", HEARTH_GGUF_ARRAY, nested, 2, 0),
                     HEARTH_EUNSUPPORTED);
    assert_int_equal(try_key("k", HEARTH_GGUF_ARRAY, odd, 2, 0),
                     HEARTH_EFORMAT);
    assert_int_equal(try_key("k", HEARTH_GGUF_ARRAY, list, 2, 0),
                     HEARTH_EFORMAT);
    assert_int_equal(try_key("k", HEARTH_GGUF_ARRAY, words, 3, 4),
                     HEARTH_EFORMAT);
    assert_int_equal(try_key("k", HEARTH_GGUF_ARRAY, two, 1, 4),
                     HEARTH_EFORMAT);
    assert_int_equal(try_key(name, HEARTH_GGUF_U64, two, 1, 0), HEARTH_ETOOBIG);
    image f = start(3, 0, 2);
    number(&f, "n", 1);
    number(&f, "n", 1);
    assert_int_equal(try_image(&f), HEARTH_EFORMAT);
    f = start(3, 0, 1);
    number(&f, "a", 1);
    f.bytes[32] = 0; /* the name */
    assert_int_equal(try_image(&f), HEARTH_EFORMAT);
}

static hearth_status try_info(uint64_t cols, uint64_t rows, uint32_t type,
                              uint64_t offset, size_t n_data) {
    image f = start(3, 1, 0);
    info(&f, "t", cols, rows, type, offset);
    data(&f, n_data);
    return try_image(&f);
}

static void open_refuses_broken_tensors(void **state) {
    (void)state;
    assert_ok(try_info(4, 2, 0, 0, 32));
    assert_int_equal(try_info(4, 2, 0, 0, 31), HEARTH_EFORMAT);
    assert_int_equal(try_info(4, 2, 0, 8, 64), HEARTH_EFORMAT);
    assert_int_equal(try_info(4, 2, 0, 1u << 20, 64), HEARTH_EFORMAT);
    assert_int_equal(try_info(33, 2, 8, 0, 96), HEARTH_EFORMAT);
    assert_int_equal(try_info(1ull << 47, 1ull << 47, 0, 0, 96),
                     HEARTH_EFORMAT);
    assert_int_equal(try_info(1ull << 60, 1, 0, 0, 96), HEARTH_EFORMAT);
    assert_int_equal(try_info(256, 1, 10, 0, 96), HEARTH_EUNSUPPORTED);
    assert_int_equal(try_info(256, 1, 20, 0, 96), HEARTH_EUNSUPPORTED);
    assert_int_equal(try_info(256, 1, 999, 0, 96), HEARTH_EUNSUPPORTED);
    image f = start(3, 2, 0);
    info(&f, "a", 4, 4, 0, 0);
    info(&f, "b", 4, 2, 0, 32);
    data(&f, 96);
    assert_int_equal(try_image(&f), HEARTH_EFORMAT); /* overlap */
    f = start(3, 2, 0);
    info(&f, "a", 4, 2, 0, 0);
    info(&f, "a", 4, 2, 0, 32);
    data(&f, 64);
    assert_int_equal(try_image(&f), HEARTH_EFORMAT);
    f = start(3, 1, 0);
    info(&f, "a", 4, 2, 0, 0);
    assert_int_equal(try_image(&f), HEARTH_EFORMAT); /* no data at all */
    f.bytes[33] = 5;                                 /* dimensions */
    data(&f, 64);
    assert_int_equal(try_image(&f), HEARTH_EFORMAT);
}

static void open_checks_the_alignment(void **state) {
    const uint32_t bad[] = {0, 4, 33, 1u << 17};
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        image f = start(3, 0, 1);
        number(&f, "general.alignment", bad[i]);
        assert_int_equal(try_image(&f), HEARTH_EFORMAT);
    }
    image f = start(3, 1, 1);
    number(&f, "general.alignment", 8);
    info(&f, "a", 4, 2, 0, 8);
    f.n = (f.n + 7) / 8 * 8 + 40;
    assert_ok(try_image(&f));
}

static void allocation_failures_are_clean(void **state) {
    (void)state;
    image f = start(3, 1, 1);
    number(&f, "n", 1);
    info(&f, "a", 4, 2, 0, 0);
    data(&f, 32);
    for (size_t k = 1;; k++) {
        hearth_fail_alloc fa;
        hearth_alloc al = hearth_fail_alloc_init(&fa, k);
        hearth_gguf *g = NULL;
        hearth_status st =
            hearth_gguf_open_bytes(&g, f.bytes, f.n, "image", &al, NULL);
        hearth_gguf_close(g);
        assert_int_equal(fa.live, 0);
        if (st == HEARTH_OK) break;
        assert_int_equal(st, HEARTH_ENOMEM);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(open_reads_what_it_wrote),
        cmocka_unit_test(writer_leaves_no_half_file),
        cmocka_unit_test(open_takes_good_images),
        cmocka_unit_test(open_refuses_broken_headers),
        cmocka_unit_test(open_refuses_broken_keys),
        cmocka_unit_test(open_refuses_broken_tensors),
        cmocka_unit_test(open_checks_the_alignment),
        cmocka_unit_test(allocation_failures_are_clean),
    };
    return cmocka_run_group_tests_name("common/gguf", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_safetensors.c - common/safetensors.h */
#include <math.h>

#include "tests/support/cmocka_all.h"
#include "tests/support/fail_alloc.h"

#include "common/bytes.h"
#include "common/file.h"
#include "common/mem.h"
#include "common/safetensors.h"

/* A file in memory: header text, then n zero bytes of data. */
typedef struct {
    uint8_t bytes[4096];
    size_t n;
} image;

static void make_image(image *f, const char *header, size_t data_n) {
    size_t n = strlen(header);
    memset(f, 0, sizeof(*f));
    assert_true(8 + n + data_n <= sizeof(f->bytes));
    hearth_store_le64(f->bytes, n);
    memcpy(f->bytes + 8, header, n);
    f->n = 8 + n + data_n;
}

static hearth_status try_image(const image *f) {
    hearth_safetensors *st = NULL;
    hearth_error err = {HEARTH_OK, ""};
    hearth_status s =
        hearth_safetensors_open_bytes(&st, f->bytes, f->n, "image", NULL, &err);
    if (s == HEARTH_OK)
        assert_non_null(st);
    else {
        assert_null(st);
        assert_int_equal(err.status, s);
        assert_true(strlen(err.text) > 10);
    }
    hearth_safetensors_close(st);
    return s;
}

#define T1 "\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}"

static void open_reads_a_good_header(void **state) {
    (void)state;
    image f;
    hearth_safetensors *st = NULL;
    make_image(&f,
               "{\"__metadata__\":{\"k\":\"v\"},"
               "\"b\":{\"data_offsets\":[24,28],\"dtype\":\"BF16\","
               "\"shape\":[2]}," T1
               ",\"c\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[28,36]"
               "},\"d\":{\"dtype\":\"F16\",\"shape\":[0,9],\"data_offsets\":"
               "[36,36]}}   ",
               36);
    assert_ok(
        hearth_safetensors_open_bytes(&st, f.bytes, f.n, "image", NULL, NULL));
    assert_int_equal(hearth_safetensors_count(st), 4);
    assert_string_equal(hearth_safetensors_metadata(st, "k"), "v");
    assert_null(hearth_safetensors_metadata(st, "x"));
    const hearth_tensor *t = hearth_safetensors_find(st, "a");
    assert_non_null(t);
    assert_ptr_equal(t, hearth_safetensors_at(st, 0));
    assert_null(hearth_safetensors_at(st, 4));
    assert_int_equal(t->n_dims, 2);
    assert_int_equal(t->n_elements, 6);
    assert_int_equal(t->n_bytes, 24);
    t = hearth_safetensors_find(st, "c");
    assert_int_equal(t->dtype, HEARTH_DTYPE_OTHER);
    float v;
    assert_int_equal(hearth_tensor_read_f32(t, 0, 1, &v), HEARTH_EINVAL);
    assert_int_equal(hearth_safetensors_find(st, "d")->n_elements, 0);
    assert_null(hearth_safetensors_find(st, "e"));
    hearth_safetensors_close(st);
}

static void open_refuses_broken_headers(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t data_n;
    } bad[] = {
        {"", 0},
        {"[]", 0},
        {"{", 0},
        {"{} x", 0},
        {"{}", 1}, /* bytes after the last tensor */
        {"{" T1 "}", 23},
        {"{" T1 "}", 25},
        {"{" T1 "," T1 "}", 24},
        {"{\"a\":[]}", 0},
        {"{\"a\":{}}", 0},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4},
        {"{\"a\":{\"dtype\":\"F33\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4},
        {"{\"a\":{\"dtype\":32,\"shape\":[1],\"data_offsets\":[0,4]}}", 4},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}",
         4},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]}}",
         4},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":1,\"data_offsets\":[0,4]}}", 4},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,4]}}",
         4},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],"
         "\"data_offsets\":[0,4]}}",
         4},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],"
         "\"x\":0}}",
         4},
        {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],"
         "\"data_offsets\":[0,4]}}",
         4},
        /* 2^62 * 4 overflows 64 bits to 0 */
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],"
         "\"data_offsets\":[0,0]}}",
         0},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904],"
         "\"data_offsets\":[0,0]}}",
         0},
        /* a gap, then an overlap */
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
         "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[2,6]}}",
         6},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
         "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
         4},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
         "\"\\u0061\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}"
         "}",
         8},
        {"{\"a\\u0000b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":"
         "[0,4]}}",
         4},
        {"{\"__metadata__\":[]}", 0},
        {"{\"__metadata__\":{\"a\":1}}", 0},
        {"{\"__metadata__\":{\"a\":\"1\",\"a\":\"1\"}}", 0},
        {"{\"__metadata__\":{},\"__metadata__\":{}}", 0},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        image f;
        make_image(&f, bad[i].header, bad[i].data_n);
        if (try_image(&f) != HEARTH_EFORMAT)
            fail_msg("accepted: %s", bad[i].header);
    }
}

static void open_refuses_impossible_lengths(void **state) {
    (void)state;
    image f = {{0}, 7};
    assert_int_equal(try_image(&f), HEARTH_EFORMAT); /* no length at all */
    make_image(&f, "{}", 0);
    assert_int_equal(try_image(&f), HEARTH_OK);
    hearth_store_le64(f.bytes, 3);
    assert_int_equal(try_image(&f), HEARTH_EFORMAT); /* longer than the file */
    hearth_store_le64(f.bytes, HEARTH_SAFETENSORS_MAX_HEADER);
    assert_int_equal(try_image(&f), HEARTH_EFORMAT);
    /* a header that would fit if the 8 bytes before it were not there; in a
     * block of its own, so that a sanitizer sees one byte too many */
    uint8_t *tight = malloc(f.n);
    hearth_safetensors *st = NULL;
    hearth_error err = {HEARTH_OK, ""};
    assert_non_null(tight);
    memcpy(tight, f.bytes, f.n);
    hearth_store_le64(tight, f.n);
    assert_int_equal(
        hearth_safetensors_open_bytes(&st, tight, f.n, "tight", NULL, &err),
        HEARTH_EFORMAT);
    assert_non_null(strstr(err.text, "longer than the file"));
    free(tight);
    hearth_store_le64(f.bytes, HEARTH_SAFETENSORS_MAX_HEADER + 1);
    assert_int_equal(try_image(&f), HEARTH_ETOOBIG);
    hearth_store_le64(f.bytes, UINT64_MAX);
    assert_int_equal(try_image(&f), HEARTH_ETOOBIG);
}

static void open_limits_name_and_count(void **state) {
    (void)state;
    image f;
    char header[1024], name[300];
    for (size_t n = 255; n <= 256; n++) {
        memset(name, 'n', n);
        name[n] = '\0';
        (void)snprintf(header, sizeof(header),
                       "{\"%s\":{\"dtype\":\"F32\",\"shape\":[0],"
                       "\"data_offsets\":[0,0]}}",
                       name);
        make_image(&f, header, 0);
        assert_int_equal(try_image(&f), n == 255 ? HEARTH_OK : HEARTH_ETOOBIG);
    }
    /* one tensor more than the limit, all empty */
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    uint8_t prefix[8] = {0};
    assert_ok(hearth_buf_append(&b, prefix, 8));
    for (size_t i = 0; i <= HEARTH_SAFETENSORS_MAX_TENSORS; i++)
        assert_ok(hearth_buf_printf(&b,
                                    "%c\"%zu\":{\"dtype\":\"U8\",\"shape\":[0],"
                                    "\"data_offsets\":[0,0]}",
                                    i ? ',' : '{', i));
    assert_ok(hearth_buf_putc(&b, '}'));
    hearth_store_le64(b.v, b.n - 8);
    hearth_safetensors *st = NULL;
    assert_int_equal(
        hearth_safetensors_open_bytes(&st, b.v, b.n, "many", NULL, NULL),
        HEARTH_ETOOBIG);
    assert_null(st);
    hearth_buf_free(&b);
}

static void read_converts_exactly(void **state) {
    (void)state;
    const uint8_t half[] = {0x00, 0x3c, 0x01, 0x00, 0xff, 0x03, 0x00, 0xfc,
                            0xff, 0x7b, 0x00, 0x80, 0x00, 0x04, 0x00, 0x7e};
    const float want[] = {1.0f,     0x1p-24f, 0x1.ff8p-15f, -INFINITY,
                          65504.0f, -0.0f,    0x1p-14f,     NAN};
    float got[8];
    hearth_dtype_to_f32(HEARTH_DTYPE_F16, half, 8, got);
    assert_memory_equal(got, want, 7 * sizeof(float));
    assert_true(isnan(got[7]) && signbit(got[5]));
    const uint8_t brain[] = {0x80, 0x3f, 0x00, 0xc0};
    hearth_dtype_to_f32(HEARTH_DTYPE_BF16, brain, 2, got);
    assert_true(got[0] >= 1.0f && got[0] <= 1.0f);
    assert_true(got[1] >= -2.0f && got[1] <= -2.0f);
    /* unaligned F32 */
    const uint8_t raw[] = {9, 0, 0, 0x40, 0x40};
    hearth_dtype_to_f32(HEARTH_DTYPE_F32, raw + 1, 1, got);
    assert_true(got[0] >= 3.0f && got[0] <= 3.0f);
    hearth_tensor t = {.dtype = HEARTH_DTYPE_BF16,
                       .n_elements = 2,
                       .data = brain,
                       .n_bytes = 4};
    assert_int_equal(hearth_tensor_read_f32(&t, 1, 2, got), HEARTH_EINVAL);
    assert_int_equal(hearth_tensor_read_f32(&t, 3, 0, got), HEARTH_EINVAL);
    assert_int_equal(hearth_tensor_read_f32(&t, 1, 1, got), HEARTH_OK);
    assert_string_equal(hearth_dtype_name(HEARTH_DTYPE_OTHER), "other");
    assert_int_equal(hearth_dtype_bytes(HEARTH_DTYPE_OTHER), 0);
}

/* Write two tensors; the allocator may refuse. */
static hearth_status write_file(const char *path, const hearth_alloc *al) {
    static const float v[6] = {1, 2, 3, 4, 5, 6};
    const uint64_t dim[2] = {2, 3};
    const uint8_t two[4] = {0x80, 0x3f, 0x00, 0xc0};
    hearth_safetensors_writer *w = NULL;
    hearth_error err;
    hearth_status st = hearth_safetensors_writer_new(&w, path, al, &err);
    if (st == HEARTH_OK)
        st = hearth_safetensors_writer_metadata(w, "format", "p\"t", &err);
    if (st == HEARTH_OK)
        st = hearth_safetensors_writer_declare(w, "m", HEARTH_DTYPE_F32, 2, dim,
                                               &err);
    if (st == HEARTH_OK)
        st = hearth_safetensors_writer_declare(w, "b", HEARTH_DTYPE_BF16, 1,
                                               dim, &err);
    if (st == HEARTH_OK)
        st = hearth_safetensors_writer_write_f32(w, v, 4, &err);
    if (st == HEARTH_OK)
        st = hearth_safetensors_writer_write_f32(w, v + 4, 2, &err);
    if (st == HEARTH_OK) st = hearth_safetensors_writer_write(w, two, 4, &err);
    if (st == HEARTH_OK) {
        assert_false(hearth_file_exists(path)); /* not before finish */
        st = hearth_safetensors_writer_finish(w, &err);
    }
    hearth_safetensors_writer_free(w);
    return st;
}

static void writer_round_trips(void **state) {
    char dir[64], path[128];
    float got[6];
    hearth_safetensors *st = NULL;
    (void)state;
    assert_non_null(hearth_test_dir(dir));
    (void)snprintf(path, sizeof(path), "%s/x.safetensors", dir);
    assert_ok(write_file(path, NULL));
    assert_ok(hearth_safetensors_open(&st, path, NULL, NULL));
    assert_string_equal(hearth_safetensors_metadata(st, "format"), "p\"t");
    const hearth_tensor *t = hearth_safetensors_find(st, "m");
    assert_int_equal((uintptr_t)t->data % 8, 0);
    assert_ok(hearth_tensor_read_f32(t, 0, 6, got));
    assert_true(got[5] >= 6.0f && got[5] <= 6.0f);
    t = hearth_safetensors_find(st, "b");
    assert_int_equal(t->dtype, HEARTH_DTYPE_BF16);
    hearth_safetensors_close(st);
    assert_int_equal(hearth_safetensors_open(&st, "/no/such/file", NULL, NULL),
                     HEARTH_ENOTFOUND);
    assert_null(st);
    assert_ok(hearth_file_remove_tree(dir, NULL));
}

static void writer_refuses_misuse(void **state) {
    char dir[64], path[128];
    const uint64_t two = 2, huge[2] = {UINT64_MAX / 2, 8};
    const float v[3] = {0};
    hearth_error err;
    (void)state;
    assert_non_null(hearth_test_dir(dir));
    (void)snprintf(path, sizeof(path), "%s/x.safetensors", dir);
    for (int misuse = 0; misuse < 7; misuse++) {
        hearth_safetensors_writer *w = NULL;
        hearth_status st = HEARTH_OK;
        assert_ok(hearth_safetensors_writer_new(&w, path, NULL, &err));
        assert_ok(hearth_safetensors_writer_declare(w, "a", HEARTH_DTYPE_F32, 1,
                                                    &two, &err));
        if (misuse == 0)
            st = hearth_safetensors_writer_declare(w, "a", HEARTH_DTYPE_F32, 1,
                                                   &two, &err);
        if (misuse == 1)
            st = hearth_safetensors_writer_declare(w, "b", HEARTH_DTYPE_OTHER,
                                                   1, &two, &err);
        if (misuse == 2)
            st = hearth_safetensors_writer_declare(w, "b", HEARTH_DTYPE_F32, 2,
                                                   huge, &err);
        if (misuse == 3)
            st = hearth_safetensors_writer_write_f32(w, v, 3, &err);
        if (misuse == 4) st = hearth_safetensors_writer_finish(w, &err);
        if (misuse >= 5)
            assert_ok(hearth_safetensors_writer_write_f32(w, v, 1, &err));
        if (misuse == 5)
            st = hearth_safetensors_writer_declare(w, "b", HEARTH_DTYPE_F32, 1,
                                                   &two, &err);
        if (misuse == 6)
            st = hearth_safetensors_writer_metadata(w, "k", "v", &err);
        assert_int_equal(st, misuse == 2 ? HEARTH_ETOOBIG : HEARTH_EINVAL);
        assert_int_equal(hearth_safetensors_writer_finish(w, &err),
                         HEARTH_EINVAL);
        hearth_safetensors_writer_free(w);
        assert_false(hearth_file_exists(path));
    }
    hearth_safetensors_writer_free(NULL);
    hearth_safetensors_close(NULL);
    assert_ok(hearth_file_remove_tree(dir, NULL));
}

static void allocation_failures_are_clean(void **state) {
    char dir[64], path[128];
    image f;
    (void)state;
    assert_non_null(hearth_test_dir(dir));
    (void)snprintf(path, sizeof(path), "%s/x.safetensors", dir);
    make_image(&f, "{\"__metadata__\":{\"k\":\"v\"}," T1 "}", 24);
    for (size_t k = 1;; k++) {
        hearth_fail_alloc fa;
        hearth_alloc al = hearth_fail_alloc_init(&fa, k);
        hearth_safetensors *st = NULL;
        hearth_status s = hearth_safetensors_open_bytes(&st, f.bytes, f.n,
                                                        "image", &al, NULL);
        hearth_safetensors_close(st);
        assert_int_equal(fa.live, 0);
        if (s == HEARTH_OK) break;
        assert_int_equal(s, HEARTH_ENOMEM);
    }
    for (size_t k = 1;; k++) {
        hearth_fail_alloc fa;
        hearth_alloc al = hearth_fail_alloc_init(&fa, k);
        hearth_status s = write_file(path, &al);
        assert_int_equal(fa.live, 0);
        assert_int_equal(hearth_file_exists(path), s == HEARTH_OK);
        if (s == HEARTH_OK) break;
        assert_int_equal(s, HEARTH_ENOMEM);
    }
    assert_ok(hearth_file_remove_tree(dir, NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(open_reads_a_good_header),
        cmocka_unit_test(open_refuses_broken_headers),
        cmocka_unit_test(open_refuses_impossible_lengths),
        cmocka_unit_test(open_limits_name_and_count),
        cmocka_unit_test(read_converts_exactly),
        cmocka_unit_test(writer_round_trips),
        cmocka_unit_test(writer_refuses_misuse),
        cmocka_unit_test(allocation_failures_are_clean),
    };
    return cmocka_run_group_tests_name("common/safetensors", tests, NULL, NULL);
}

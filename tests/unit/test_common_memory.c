/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_common_memory.c - common/{status,error,mem,arena,buf,abi}.h */
#include "tests/support/cmocka_all.h"
#include "tests/support/fail_alloc.h"

#include "common/abi.h"
#include "common/arena.h"
#include "common/buf.h"
#include "common/error.h"
#include "common/mem.h"

static void status_class_follows_the_number(void **state) {
    (void)state;
    assert_int_equal(hearth_status_class(HEARTH_OK), HEARTH_FAULT_NONE);
    assert_int_equal(hearth_status_class(HEARTH_EINVAL), HEARTH_FAULT_CALLER);
    assert_int_equal(hearth_status_class(HEARTH_EFORMAT), HEARTH_FAULT_PEER);
    assert_int_equal(hearth_status_class(HEARTH_ENOMEM), HEARTH_FAULT_SYSTEM);
    assert_int_equal(hearth_status_class((hearth_status)-199),
                     HEARTH_FAULT_PEER);
    assert_int_equal(hearth_status_class((hearth_status)-299),
                     HEARTH_FAULT_SYSTEM);
    assert_int_equal(hearth_status_class((hearth_status)-300),
                     HEARTH_FAULT_CALLER);
    assert_int_equal(hearth_status_class((hearth_status)7),
                     HEARTH_FAULT_CALLER);
    assert_string_equal(hearth_status_name(HEARTH_ENOSPACE), "ENOSPACE");
    assert_string_equal(hearth_status_name((hearth_status)-77), "EUNKNOWN");
    assert_string_equal(hearth_status_text(HEARTH_OK), "success");
    assert_string_equal(hearth_status_text((hearth_status)5), "unknown status");
}

static void error_text_is_cut_at_a_character(void **state) {
    (void)state;
    hearth_error e;
    char a[252];
    for (size_t pad = 240; pad < 251; pad++) {
        memset(a, 'a', pad);
        a[pad] = '\0';
        hearth_error_set(&e, HEARTH_EIO, "%s\xE2\x82\xAC\xF0\x9F\x98\x80", a);
        size_t n = strlen(e.text);
        assert_true(n < sizeof(e.text));
        unsigned char last = (unsigned char)e.text[n - 1];
        bool whole = last == 'a' || last == 0xAC || last == 0x80;
        if (!whole) fail_msg("pad %zu ends in %02x", pad, last);
    }
    assert_int_equal(hearth_error_set(NULL, HEARTH_EIO, "x"), HEARTH_EIO);
}

static void error_prefix_goes_before(void **state) {
    (void)state;
    hearth_error e;
    hearth_error_set(&e, HEARTH_EFORMAT, "bad");
    assert_int_equal(hearth_error_prefix(&e, "file %d", 3), HEARTH_EFORMAT);
    assert_string_equal(e.text, "file 3: bad");
    assert_int_equal(hearth_error_prefix(NULL, "x"), HEARTH_EINVAL);
    hearth_error_clear(&e);
    assert_int_equal(e.status, HEARTH_OK);
    assert_string_equal(e.text, "");
}

static void mem_array_checks_the_product(void **state) {
    (void)state;
    size_t out;
    assert_null(hearth_mem_array(NULL, SIZE_MAX / 2, 3));
    assert_null(hearth_mem_resize(NULL, NULL, SIZE_MAX, 2));
    assert_null(hearth_mem_strndup(NULL, "x", SIZE_MAX));
    assert_false(hearth_size_mul(SIZE_MAX, 2, &out));
    assert_int_equal(out, SIZE_MAX);
    assert_true(hearth_size_mul(SIZE_MAX, 1, &out));
    assert_true(hearth_size_mul(SIZE_MAX, 0, &out) && out == 0);
    assert_false(hearth_size_add(SIZE_MAX, 1, &out));
    unsigned char *p = hearth_mem_array(NULL, 0, 8);
    assert_non_null(p);
    hearth_mem_free(NULL, p);
    char *s = hearth_mem_strndup(NULL, "hearth", 3);
    assert_string_equal(s, "hea");
    hearth_mem_free(NULL, s);
}

static void arena_hands_out_aligned_zeroes_until_full(void **state) {
    (void)state;
    hearth_arena a;
    size_t need = hearth_arena_need(3, sizeof(float)) +
                  hearth_arena_need(100, sizeof(double));
    assert_ok(hearth_arena_init(&a, NULL, need));
    float *x = hearth_arena_take(&a, 3, sizeof(*x));
    double *y = hearth_arena_take(&a, 100, sizeof(*y));
    assert_true((uintptr_t)x % HEARTH_ARENA_ALIGN == 0);
    assert_true((uintptr_t)y % HEARTH_ARENA_ALIGN == 0);
    assert_null(hearth_arena_take(&a, 1, 1));
    assert_int_equal(a.used, need);
    y[0] = 5;
    hearth_arena_reset(&a, 0);
    double *z = hearth_arena_take(&a, 100, sizeof(*z));
    assert_true(z[0] == 0);
    assert_int_equal(a.peak, need);
    assert_null(hearth_arena_take(&a, SIZE_MAX, 2));
    assert_int_equal(hearth_arena_need(SIZE_MAX, 1), SIZE_MAX);
    hearth_arena_free(&a);
    hearth_arena_free(&a);
    hearth_fail_alloc fa;
    hearth_alloc al = hearth_fail_alloc_init(&fa, 1);
    assert_int_equal(hearth_arena_init(&a, &al, 10), HEARTH_ENOMEM);
    hearth_arena_free(&a);
}

static void buf_keeps_content_when_memory_ends(void **state) {
    (void)state;
    for (size_t k = 1; k < 4; k++) {
        hearth_fail_alloc fa;
        hearth_alloc al = hearth_fail_alloc_init(&fa, k);
        hearth_buf b = HEARTH_BUF_INIT(&al);
        size_t before = 0;
        hearth_status st = HEARTH_OK;
        while (st == HEARTH_OK && b.n < 1000) {
            before = b.n;
            st = hearth_buf_printf(&b, "%0*d", 50, 7);
        }
        assert_int_equal(st, HEARTH_ENOMEM);
        assert_true(b.failed && b.n == before);
        hearth_buf_free(&b);
        assert_int_equal(fa.live, 0);
    }
}

static void buf_json_string_escapes(void **state) {
    (void)state;
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    const char in[] = "a\"\\\n\t\r\x01\x7f\xC3\xA9\xFFz";
    assert_ok(hearth_buf_json_string(&b, in, sizeof(in) - 1));
    assert_string_equal(hearth_buf_str(&b),
                        "\"a\\\"\\\\\\n\\t\\r\\u0001\\u007f\xC3\xA9"
                        "\xEF\xBF\xBDz\"");
    hearth_buf_clear(&b);
    assert_string_equal(hearth_buf_str(&b), "");
    hearth_buf_free(&b);
    assert_string_equal(hearth_buf_str(&b), "");
}

typedef struct {
    size_t struct_size;
    size_t a, b;
} config_v2;

static void abi_copy_reads_older_and_newer(void **state) {
    (void)state;
    config_v2 dst = {sizeof(dst), 1, 2};
    size_t old[2] = {2 * sizeof(size_t), 7};
    assert_ok(hearth_abi_copy(&dst, sizeof(dst), 16, old));
    assert_true(dst.struct_size == sizeof(dst) && dst.a == 7 && dst.b == 2);
    size_t newer[5] = {sizeof(newer), 3, 4, 0, 0};
    assert_ok(hearth_abi_copy(&dst, sizeof(dst), 16, newer));
    assert_true(dst.a == 3 && dst.b == 4);
    newer[4] = 1; /* a field we do not know is set */
    assert_int_equal(hearth_abi_copy(&dst, sizeof(dst), 16, newer),
                     HEARTH_EINVAL);
    size_t tiny[1] = {8}, huge[1] = {5000};
    assert_int_equal(hearth_abi_copy(&dst, sizeof(dst), 16, tiny),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_abi_copy(&dst, sizeof(dst), 16, huge),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_abi_copy(&dst, sizeof(dst), 16, NULL),
                     HEARTH_EINVAL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(status_class_follows_the_number),
        cmocka_unit_test(error_text_is_cut_at_a_character),
        cmocka_unit_test(error_prefix_goes_before),
        cmocka_unit_test(mem_array_checks_the_product),
        cmocka_unit_test(arena_hands_out_aligned_zeroes_until_full),
        cmocka_unit_test(buf_keeps_content_when_memory_ends),
        cmocka_unit_test(buf_json_string_escapes),
        cmocka_unit_test(abi_copy_reads_older_and_newer),
    };
    return cmocka_run_group_tests_name("common/memory", tests, NULL, NULL);
}

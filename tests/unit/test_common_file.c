/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_common_file.c - common/{file,log,clock}.h */
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/cmocka_all.h"

#include "common/clock.h"
#include "common/file.h"
#include "common/log.h"

static char dir[64];

static int make_dir(void **state) {
    (void)state;
    return hearth_test_dir(dir) ? 0 : -1;
}

static int drop_dir(void **state) {
    (void)state;
    return hearth_file_remove_tree(dir, NULL) == HEARTH_OK ? 0 : -1;
}

static const char *in_dir(const char *name) {
    static char path[2][256];
    static int turn;
    turn = !turn;
    assert_ok(hearth_file_join(path[turn], sizeof(path[turn]), dir, name));
    return path[turn];
}

static void file_write_replaces_whole(void **state) {
    (void)state;
    const char *p = in_dir("a");
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    hearth_file f;
    struct stat st;
    assert_ok(hearth_file_write(p, "one", 3, 0600, NULL));
    assert_ok(hearth_file_write(p, "second", 6, 0600, NULL));
    assert_ok(hearth_file_read(&b, p, 6, NULL));
    assert_string_equal(hearth_buf_str(&b), "second");
    assert_int_equal(hearth_file_read(&b, p, 5, NULL), HEARTH_ETOOBIG);
    assert_int_equal(stat(p, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_ok(hearth_file_map(&f, p, NULL));
    assert_memory_equal(f.v, "second", 6);
    hearth_file_unmap(&f);
    hearth_buf_free(&b);
}

static void file_abort_leaves_the_old(void **state) {
    (void)state;
    const char *p = in_dir("b");
    hearth_file_writer w;
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    assert_ok(hearth_file_write(p, "old", 3, 0644, NULL));
    assert_ok(hearth_file_writer_open(&w, p, 0644, NULL));
    assert_ok(hearth_file_writer_put(&w, "new", 3, NULL));
    assert_true(hearth_file_exists(w.temp));
    char temp[1040];
    memcpy(temp, w.temp, sizeof(temp));
    hearth_file_writer_abort(&w);
    hearth_file_writer_abort(&w);
    assert_false(hearth_file_exists(temp));
    assert_ok(hearth_file_read(&b, p, 10, NULL));
    assert_string_equal(hearth_buf_str(&b), "old");
    assert_int_equal(hearth_file_writer_put(&w, "x", 1, NULL), HEARTH_ESTATE);
    assert_int_equal(hearth_file_writer_commit(&w, NULL), HEARTH_ESTATE);
    hearth_buf_free(&b);
}

static void file_errors_name_the_path(void **state) {
    (void)state;
    hearth_file f;
    hearth_error e;
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    char small[4];
    assert_int_equal(hearth_file_map(&f, in_dir("none"), &e), HEARTH_ENOTFOUND);
    assert_non_null(strstr(e.text, "none"));
    assert_null(f.v);
    assert_int_equal(hearth_file_map(&f, dir, &e), HEARTH_EFORMAT);
    assert_int_equal(hearth_file_read(&b, in_dir("none"), 9, &e),
                     HEARTH_ENOTFOUND);
    assert_int_equal(hearth_file_join(small, sizeof(small), "a", "bcd"),
                     HEARTH_ETOOBIG);
    assert_string_equal(small, "");
    assert_ok(hearth_file_join(small, sizeof(small), "a/", "b"));
    assert_string_equal(small, "a/b");
    assert_ok(hearth_file_write(in_dir("plain"), "", 0, 0644, NULL));
    assert_ok(hearth_file_map(&f, in_dir("plain"), NULL));
    assert_true(f.n == 0 && f.v == NULL);
    hearth_file_unmap(&f);
    assert_int_equal(hearth_file_mkdirs(in_dir("plain"), &e), HEARTH_EEXISTS);
    assert_true(hearth_file_mkdirs(in_dir("plain/x"), &e) != HEARTH_OK);
    assert_int_equal(hearth_error_from_errno(0), HEARTH_EIO);
}

static void file_remove_tree_does_not_follow_links(void **state) {
    (void)state;
    assert_ok(hearth_file_mkdirs(in_dir("t/u/v"), NULL));
    assert_ok(hearth_file_mkdirs(in_dir("t/u/v"), NULL));
    assert_ok(hearth_file_write(in_dir("keep"), "k", 1, 0644, NULL));
    assert_ok(hearth_file_write(in_dir("t/u/f"), "k", 1, 0644, NULL));
    assert_int_equal(symlink(dir, in_dir("t/u/link")), 0);
    assert_ok(hearth_file_remove_tree(in_dir("t"), NULL));
    assert_false(hearth_file_exists(in_dir("t")));
    assert_true(hearth_file_exists(in_dir("keep")));
    assert_ok(hearth_file_remove_tree(in_dir("t"), NULL));
    assert_ok(hearth_file_remove(in_dir("keep"), NULL));
    assert_ok(hearth_file_remove(in_dir("keep"), NULL));
    assert_true(hearth_file_free_bytes(dir) > 0);
    assert_int_equal(hearth_file_free_bytes(in_dir("none")), 0);
}

static char last_line[1100];

static void keep_line(void *ud, hearth_log_level level, const char *component,
                      const char *message) {
    (void)ud;
    snprintf(last_line, sizeof(last_line), "%s %s %s",
             hearth_log_level_name(level), component, message);
}

static void log_filters_by_level(void **state) {
    (void)state;
    hearth_log log = {keep_line, NULL, HEARTH_LOG_WARN};
    hearth_log_write(&log, HEARTH_LOG_WARN, "round", "round=%d", 3);
    assert_string_equal(last_line, "warn round round=3");
    hearth_log_write(&log, HEARTH_LOG_INFO, "round", "no");
    assert_string_equal(last_line, "warn round round=3");
    hearth_log_write(NULL, HEARTH_LOG_ERROR, "x", "y");
}

static void clock_virtual_moves_when_told(void **state) {
    (void)state;
    hearth_virtual_clock v = {1000, 5};
    hearth_clock c = hearth_clock_virtual(&v), sys = hearth_clock_system();
    hearth_virtual_clock_advance(&v, 250);
    assert_true(hearth_clock_wall(&c) == 1250 && hearth_clock_mono(&c) == 255);
    int64_t a = hearth_clock_mono(&sys);
    assert_true(hearth_clock_mono(&sys) >= a);
    assert_true(hearth_clock_wall(&sys) > 1700000000000);
    char out[21];
    hearth_clock_format(out, 1795214467000);
    assert_string_equal(out, "2026-11-20T22:41:07Z");
    hearth_clock_format(out, -1);
    assert_string_equal(out, "unknown time");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(file_write_replaces_whole),
        cmocka_unit_test(file_abort_leaves_the_old),
        cmocka_unit_test(file_errors_name_the_path),
        cmocka_unit_test(file_remove_tree_does_not_follow_links),
        cmocka_unit_test(log_filters_by_level),
        cmocka_unit_test(clock_virtual_moves_when_told),
    };
    return cmocka_run_group_tests_name("common/file", tests, make_dir,
                                       drop_dir);
}

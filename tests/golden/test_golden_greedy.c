/* SPDX-License-Identifier: Apache-2.0 */
/* tests/golden/test_golden_greedy.c - greedy text of a real model equals the
 * text that was published with it. */
#include <math.h>

#include "tests/support/cmocka_all.h"

#include "client/infer/generate.h"
#include "common/buf.h"
#include "common/file.h"

#define STORIES "models/stories260K/"

static bool collect(void *ud, const char *utf8, size_t n) {
    return hearth_buf_append(ud, utf8, n) == HEARTH_OK;
}

/* What stands between the first command line with "-t 0.0" and the fence. */
static void published_text(hearth_buf *out) {
    char path[1024];
    assert_true(hearth_test_data(path, sizeof(path), STORIES "stories260K.md"));
    assert_ok(hearth_file_read(out, path, 1 << 16, NULL));
    const char *text = hearth_buf_str(out);
    const char *from = strstr(text, "-t 0.0\n");
    assert_non_null(from);
    from += strlen("-t 0.0\n");
    const char *end = strstr(from, "\n```");
    assert_non_null(end);
    size_t n = (size_t)(end - from);
    memmove(out->v, from, n);
    out->n = n;
}

static void greedy_text_is_the_published_one(void **state) {
    (void)state;
    char path[1024], dir[1024];
    hearth_model *model = NULL;
    hearth_tokenizer *tok = NULL;
    hearth_generator *g = NULL;
    hearth_error err = {HEARTH_OK, ""};
    hearth_generate_options o = HEARTH_GENERATE_OPTIONS_INIT;
    hearth_generate_result r;
    hearth_buf want = HEARTH_BUF_INIT(NULL), got = HEARTH_BUF_INIT(NULL);
    if (!hearth_test_data(path, sizeof(path), STORIES "config.json")) skip();
    published_text(&want);
    (void)snprintf(dir, sizeof(dir), "%.*s",
                   (int)(strlen(path) - strlen("/config.json")), path);
    assert_ok(hearth_model_open(&model, dir, NULL, &err));
    if (hearth_tokenizer_open(&tok, dir, NULL, &err) != HEARTH_OK)
        fail_msg("%s", err.text);
    for (int set = 0; set < 2; set++) {
        const hearth_kernels *k =
            set ? hearth_kernels_default() : hearth_kernels_reference();
        int32_t bos = 1;
        assert_ok(hearth_generator_open(&g, model, NULL, tok, 0, NULL, k, NULL,
                                        &err));
        o.max_tokens = 256;
        hearth_buf_clear(&got);
        if (hearth_generator_run(g, &bos, 1, &o, collect, &got, &r, &err))
            fail_msg("%s", err.text);
        /* The page ends inside the run: compare what it shows. */
        assert_true(got.n >= want.n);
        const char *text = hearth_buf_str(&got);
        while (*text == ' ') text++;
        assert_memory_equal(text, want.v, want.n);
        hearth_generator_close(g);
    }
    hearth_tokenizer_close(tok);
    hearth_model_close(model);
    hearth_buf_free(&want);
    hearth_buf_free(&got);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_text_is_the_published_one),
    };
    return cmocka_run_group_tests_name("golden/greedy", tests, NULL, NULL);
}

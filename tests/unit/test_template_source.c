/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_template_source.c - client/tokenizer/template_source.c: where
 * a model's own chat template is found, and which of them are known.  That the
 * known ones give the ids of their originals is
 * tests/oracle/oracle_chat_template.py's business. */
#include <stdio.h>

#include "tests/support/cmocka_all.h"

#include "client/tokenizer/template_source.h"
#include "client/tokenizer/tokenizer.h"
#include "common/bytes.h"
#include "common/file.h"
#include "common/gguf_writer.h"
#include "common/hash.h"
#include "common/mem.h"
#include "tests/support/fail_alloc.h"

/* ChatML, as client/tokenizer/README.md gives it for folders without one. */
#define OWN_CHATML                                                             \
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"         \
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}"                   \
    "<|im_start|>assistant\n{% endif %}"

static hearth_error error;

static void expect_text(const hearth_template_source *own, const char *text) {
    uint8_t digest[32] = {0};
    if (text) assert_ok(hearth_sha256(digest, text, strlen(text)));
    assert_true(own->present);
    assert_memory_equal(own->digest, digest, 32);
}

static hearth_status read_config(hearth_template_source *own,
                                 const char *json) {
    error = (hearth_error){HEARTH_OK, ""};
    return hearth_template_source_config(own, json, strlen(json), NULL, &error);
}

static void settings_hold_a_text_or_a_list(void **state) {
    (void)state;
    hearth_template_source own = {.present = false};
    assert_ok(read_config(&own, "{\"a\":{\"chat_template\":\"x\"}}"));
    assert_false(own.present);
    assert_ok(read_config(&own, "{\"chat_template\":null}"));
    assert_false(own.present);
    assert_ok(read_config(&own, "{\"chat_template\":[]}"));
    assert_false(own.present);
    assert_ok(read_config(&own, "{\"chat_template\":\"\"}"));
    assert_false(own.present);
    assert_ok(
        read_config(&own, "{\"b\":[1],\"chat_template\":\"\\u00e9\\n\"}"));
    expect_text(&own, "\xC3\xA9\n");
    assert_ok(read_config(&own, "{\"a\":1}")); /* it stays */
    expect_text(&own, "\xC3\xA9\n");
    assert_ok(read_config(&own,
                          "{\"chat_template\":[{\"name\":\"tool_use\","
                          "\"template\":\"t\"},{\"x\":{},\"template\":\"d\","
                          "\"name\":\"default\"}]}"));
    expect_text(&own, "d");
    assert_ok(read_config(&own, "{\"chat_template\":[{\"name\":\"rag\","
                                "\"template\":\"r\"}]}"));
    expect_text(&own, NULL); /* templates, and none that stands for it */
    assert_int_equal(hearth_template_source_find(own.digest),
                     HEARTH_TEMPLATE_UNKNOWN);
}

static void broken_settings_are_refused(void **state) {
    static const struct {
        const char *json, *word;
    } c[] = {
        {"[]", "not a JSON object"},
        {"{\"a\":}", "broken JSON"},
        {"{\"a\":1} 2", "broken JSON"},
        {"{\"chat_template\":", "broken JSON"},
        {"{\"chat_template\":1}", "neither a text nor a list"},
        {"{\"chat_template\":\"\\ud800\"}", "broken JSON"},
        {"{\"chat_template\":\"a\",\"chat_template\":\"a\"}", "there twice"},
        {"{\"chat_template\":[1]}", "something else"},
        {"{\"chat_template\":[{\"name\":\"default\"}]}", "something else"},
        {"{\"chat_template\":[{\"template\":\"a\"}]}", "something else"},
        {"{\"chat_template\":[{\"name\":1}]}", "something else"},
        {"{\"chat_template\":[{\"name\":\"a\",\"name\":\"a\"}]}",
         "something else"},
        {"{\"chat_template\":[{\"template\":\"a\",\"template\":\"a\"}]}",
         "something else"},
        {"{\"chat_template\":[{\"name\":\"default\",\"template\":\"a\"},"
         "{\"name\":\"default\",\"template\":\"b\"}]}",
         "something else"},
        {"{\"chat_template\":[{\"name\":\"a\",\"template\":\"\\ud800\"}]}",
         "something else"},
        {"{\"chat_template\":[{\"x\":}]}", "broken JSON"},
        {"{\"chat_template\":[{\"x\":1 1}]}", "broken JSON"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
        hearth_template_source own = {.present = true, .digest = {7}};
        if (read_config(&own, c[i].json) != HEARTH_EFORMAT ||
            !strstr(error.text, c[i].word) ||
            strncmp(error.text, "tokenizer_config.json:1: ", 25) != 0)
            fail_msg("%s: %s", c[i].json, error.text);
        assert_true(own.present); /* as it was */
        assert_int_equal(own.digest[0], 7);
    }
}

/* A settings file with a template of n letters, each as an escape or not. */
static char *long_config(size_t n, bool escaped) {
    static const char head[] = "{\"chat_template\":\"";
    char *json = hearth_mem_array(NULL, n + 1, escaped ? 6 : 1);
    char *all = hearth_mem_array(NULL, n * 6 + 64, 1);
    assert_non_null(json);
    assert_non_null(all);
    for (size_t i = 0; i < n; i++)
        memcpy(json + i * (escaped ? 6 : 1), escaped ? "\\u0041" : "A",
               escaped ? 6 : 1);
    size_t body = n * (escaped ? 6 : 1);
    memcpy(all, head, sizeof(head) - 1);
    memcpy(all + sizeof(head) - 1, json, body);
    memcpy(all + sizeof(head) - 1 + body, "\"}", 3);
    hearth_mem_free(NULL, json);
    return all;
}

static void texts_have_a_limit(void **state) {
    (void)state;
    for (int escaped = 0; escaped < 2; escaped++)
        for (size_t extra = 0; extra < 2; extra++) {
            hearth_template_source own = {.present = false};
            char *json =
                long_config(HEARTH_TEMPLATE_SOURCE_MAX + extra, escaped);
            assert_int_equal(read_config(&own, json),
                             extra ? HEARTH_ETOOBIG : HEARTH_OK);
            assert_true(own.present == !extra);
            if (extra) assert_non_null(strstr(error.text, "1024 KiB"));
            hearth_mem_free(NULL, json);
        }
}

static void lack_of_memory_is_said(void **state) {
    (void)state;
    hearth_fail_alloc fa;
    hearth_alloc al = hearth_fail_alloc_init(&fa, 1);
    hearth_template_source own = {.present = false};
    static const char json[] = "{\"chat_template\":\"a\"}";
    assert_int_equal(hearth_template_source_config(&own, json, sizeof(json) - 1,
                                                   &al, &error),
                     HEARTH_ENOMEM);
    assert_false(own.present);
    assert_int_equal(fa.live, 0);
}

/* ---- folders ---- */

static const char TOKENIZER[] =
    "{\"added_tokens\":[{\"id\":2,\"content\":\"<|im_start|>\",\"special\":"
    "true},{\"id\":3,\"content\":\"<|im_end|>\",\"special\":true}],"
    "\"decoder\":{\"type\":\"ByteLevel\"},\"pre_tokenizer\":{\"type\":"
    "\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true},"
    "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"u\":1},\"merges\":[]}}";

static void put_file(const char *dir, const char *name, const char *text) {
    char path[128];
    (void)snprintf(path, sizeof(path), "%.63s/%s", dir, name);
    assert_ok(hearth_file_write(path, text, strlen(text), 0644, &error));
}

static void expect_own(const char *path, const char *text,
                       hearth_chat_template want) {
    hearth_tokenizer *t = NULL;
    uint8_t digest[32];
    if (hearth_tokenizer_open(&t, path, NULL, &error) != HEARTH_OK)
        fail_msg("%s", error.text);
    const uint8_t *got = hearth_tokenizer_template_digest(t);
    assert_true((got != NULL) == (text != NULL));
    if (text) {
        assert_ok(hearth_sha256(digest, text, strlen(text)));
        assert_memory_equal(got, digest, 32);
    }
    assert_int_equal(hearth_chat_template_resolve(HEARTH_TEMPLATE_AUTO, t),
                     want);
    assert_int_equal(hearth_chat_template_resolve(HEARTH_TEMPLATE_GEMMA, t),
                     HEARTH_TEMPLATE_GEMMA);
    hearth_tokenizer_close(t);
}

static void a_folder_brings_its_template(void **state) {
    (void)state;
    char dir[64];
    hearth_tokenizer *t = NULL;
    assert_non_null(hearth_test_dir(dir));
    put_file(dir, "tokenizer.json", TOKENIZER);
    expect_own(dir, NULL, HEARTH_TEMPLATE_PLAIN); /* whatever its tokens */
    put_file(dir, "tokenizer_config.json", "{\"chat_template\":\"x\"}");
    expect_own(dir, "x", HEARTH_TEMPLATE_UNKNOWN);
    put_file(dir, "chat_template.jinja", OWN_CHATML); /* goes before it */
    expect_own(dir, OWN_CHATML, HEARTH_TEMPLATE_CHATML);
    put_file(dir, "chat_template.jinja", OWN_CHATML "\n"); /* other bytes */
    expect_own(dir, OWN_CHATML "\n", HEARTH_TEMPLATE_UNKNOWN);
    put_file(dir, "chat_template.jinja", "");
    expect_own(dir, NULL, HEARTH_TEMPLATE_PLAIN);
    char *big = hearth_mem_array(NULL, HEARTH_TEMPLATE_SOURCE_MAX + 2, 1);
    assert_non_null(big);
    memset(big, 'A', HEARTH_TEMPLATE_SOURCE_MAX + 1);
    put_file(dir, "chat_template.jinja", big);
    hearth_mem_free(NULL, big);
    assert_int_equal(hearth_tokenizer_open(&t, dir, NULL, &error),
                     HEARTH_ETOOBIG);
    assert_non_null(strstr(error.text, "chat_template.jinja"));
    assert_null(t);
    put_file(dir, "chat_template.jinja", "");
    put_file(dir, "tokenizer_config.json", "{\"chat_template\":2}");
    assert_int_equal(hearth_tokenizer_open(&t, dir, NULL, &error),
                     HEARTH_EFORMAT);
    assert_null(t);
    assert_ok(hearth_file_remove_tree(dir, NULL));
}

static void a_path_has_a_limit(void **state) {
    (void)state;
    char dir[1024];
    hearth_template_source own = {.present = false};
    memset(dir, 'd', sizeof(dir) - 1);
    dir[sizeof(dir) - 1] = 0;
    assert_int_equal(hearth_template_source_folder(&own, dir, &error),
                     HEARTH_ETOOBIG);
    assert_non_null(strstr(error.text, "path is too long"));
}

/* Errors name the names, and nothing else stands for the model's template. */
static void an_unknown_one_is_refused_with_the_names(void **state) {
    (void)state;
    char dir[64];
    hearth_tokenizer *t = NULL;
    hearth_chat_template tmpl = HEARTH_TEMPLATE_PLAIN;
    assert_non_null(hearth_test_dir(dir));
    put_file(dir, "tokenizer.json", TOKENIZER);
    put_file(dir, "chat_template.jinja", "x");
    assert_ok(hearth_tokenizer_open(&t, dir, NULL, &error));
    assert_int_equal(
        hearth_chat_template_choose(&tmpl, HEARTH_TEMPLATE_AUTO, t, &error),
        HEARTH_EUNSUPPORTED);
    assert_int_equal(tmpl, HEARTH_TEMPLATE_AUTO);
    assert_non_null(strstr(error.text, "(2d711642b726b044..)")); /* of "x" */
    assert_non_null(strstr(
        error.text, "--template plain, chatml, llama3, gemma or smollm"));
    assert_ok(
        hearth_chat_template_choose(&tmpl, HEARTH_TEMPLATE_LLAMA3, t, &error));
    assert_int_equal(tmpl, HEARTH_TEMPLATE_LLAMA3);
    hearth_tokenizer_close(t);
    put_file(dir, "chat_template.jinja", OWN_CHATML);
    assert_ok(hearth_tokenizer_open(&t, dir, NULL, &error));
    assert_ok(
        hearth_chat_template_choose(&tmpl, HEARTH_TEMPLATE_AUTO, t, &error));
    assert_int_equal(tmpl, HEARTH_TEMPLATE_CHATML);
    assert_int_equal(hearth_chat_template_choose(NULL, tmpl, t, NULL),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_chat_template_choose(&tmpl, tmpl, NULL, NULL),
                     HEARTH_EINVAL);
    hearth_tokenizer_close(t);
    assert_ok(hearth_file_remove_tree(dir, NULL));
}

/* ---- GGUF files ---- */

/* A vocabulary with this template; NULL: a number in its place. */
static void put_gguf(const char *path, const char *text, size_t n) {
    static const char key[] = "tokenizer.chat_template";
    hearth_gguf_writer *w = NULL;
    assert_ok(hearth_gguf_writer_new(&w, path, NULL, &error));
    hearth_gguf_put_string(w, "tokenizer.huggingface.json", TOKENIZER,
                           sizeof(TOKENIZER) - 1);
    if (text)
        hearth_gguf_put_string(w, key, text, n);
    else
        hearth_gguf_put_u32(w, key, 1);
    assert_ok(hearth_gguf_writer_finish(w, &error));
    hearth_gguf_writer_free(w);
}

static void a_gguf_file_brings_its_template(void **state) {
    (void)state;
    char dir[64], path[128];
    hearth_tokenizer *t = NULL;
    assert_non_null(hearth_test_dir(dir));
    (void)snprintf(path, sizeof(path), "%.63s/v.gguf", dir);
    put_gguf(path, OWN_CHATML, sizeof(OWN_CHATML) - 1);
    expect_own(path, OWN_CHATML, HEARTH_TEMPLATE_CHATML);
    put_gguf(path, "", 0);
    expect_own(path, NULL, HEARTH_TEMPLATE_PLAIN);
    put_gguf(path, NULL, 0);
    assert_int_equal(hearth_tokenizer_open(&t, path, NULL, &error),
                     HEARTH_EFORMAT);
    assert_non_null(strstr(error.text, "tokenizer.chat_template is no text"));
    assert_null(t);
    char *big = hearth_mem_array(NULL, HEARTH_TEMPLATE_SOURCE_MAX + 1, 1);
    assert_non_null(big);
    memset(big, 'A', HEARTH_TEMPLATE_SOURCE_MAX + 1);
    put_gguf(path, big, HEARTH_TEMPLATE_SOURCE_MAX + 1);
    hearth_mem_free(NULL, big);
    assert_int_equal(hearth_tokenizer_open(&t, path, NULL, &error),
                     HEARTH_ETOOBIG);
    assert_non_null(strstr(error.text, "tokenizer.chat_template"));
    assert_null(t);
    assert_ok(hearth_file_remove_tree(dir, NULL));
}

/* One of each publisher, by the digest of its file. */
static void published_templates_are_known(void **state) {
    static const struct {
        const char *hex;
        hearth_chat_template tmpl;
    } c[] = {
        {"cd8e9439f0570856fd70470bf8889ebd8b5d1107207f67a5efb46e342330527f",
         HEARTH_TEMPLATE_QWEN25},
        {"5816fce10444e03c2e9ee1ef8a4a1ea61ae7e69e438613f3b17b69d0426223a4",
         HEARTH_TEMPLATE_LLAMA31},
        {"7de1c58e208eda46e9c7f86397df37ec49883aeece39fb961e0a6b24088dd3c4",
         HEARTH_TEMPLATE_GEMMA},
        {"872be49dbb638044ad01b60388f48d469ff2980e5f0dccdc22ec907db54d0788",
         HEARTH_TEMPLATE_SMOLLM},
        {"7de1c58e208eda46e9c7f86397df37ec49883aeece39fb961e0a6b24088dd3c5",
         HEARTH_TEMPLATE_UNKNOWN},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
        uint8_t digest[32];
        assert_ok(hearth_hex_decode(digest, 32, c[i].hex, 64));
        assert_int_equal(hearth_template_source_find(digest), c[i].tmpl);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settings_hold_a_text_or_a_list),
        cmocka_unit_test(broken_settings_are_refused),
        cmocka_unit_test(texts_have_a_limit),
        cmocka_unit_test(lack_of_memory_is_said),
        cmocka_unit_test(a_folder_brings_its_template),
        cmocka_unit_test(a_path_has_a_limit),
        cmocka_unit_test(an_unknown_one_is_refused_with_the_names),
        cmocka_unit_test(a_gguf_file_brings_its_template),
        cmocka_unit_test(published_templates_are_known),
    };
    return cmocka_run_group_tests_name("client/tokenizer/template_source",
                                       tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_http.c - coordinator/http.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "coordinator/http.h"

/* Feed text in steps of `step` bytes until an event other than MORE. */
static hearth_http_event feed_by(hearth_http *h, const char *text, size_t n,
                                 size_t step, size_t *used_all) {
    size_t at = 0;
    while (at < n) {
        size_t used = 0, m = n - at < step ? n - at : step;
        hearth_http_event ev =
            hearth_http_feed(h, (const uint8_t *)text + at, m, &used);
        at += used;
        if (ev != HEARTH_HTTP_MORE) {
            if (used_all) *used_all = at;
            return ev;
        }
        assert_int_equal(used, m);
    }
    if (used_all) *used_all = at;
    return HEARTH_HTTP_MORE;
}

static hearth_http_event feed_text(hearth_http *h, const char *text) {
    return feed_by(h, text, strlen(text), 100000, NULL);
}

static hearth_http *fresh(void) {
    hearth_http *h = NULL;
    assert_int_equal(hearth_http_new(&h, NULL), HEARTH_OK);
    return h;
}

static void http_reads_head_and_body_in_any_steps(void **state) {
    (void)state;
    static const char text[] =
        "POST /v1/checkin HTTP/1.1\r\nHost: x\r\nCookie: a=b; hearth=1.d-1.9."
        "ff; z=1\r\nContent-Length: 5\r\n\r\nhello";
    for (size_t step = 1; step < sizeof(text); step++) {
        hearth_http *h = fresh();
        size_t n = 0;
        uint64_t at = 9;
        assert_int_equal(feed_by(h, text, sizeof(text) - 1, step, NULL),
                         HEARTH_HTTP_REQUEST);
        const hearth_http_head *d = hearth_http_get_head(h);
        assert_string_equal(d->method, "POST");
        assert_string_equal(d->path, "/v1/checkin");
        assert_string_equal(d->cookie, "1.d-1.9.ff");
        assert_true(d->keep_alive && !d->has_upload_offset);
        const uint8_t *body = hearth_http_body(h, &n, &at);
        assert_int_equal(n, 5);
        assert_int_equal(at, 0);
        assert_memory_equal(body, "hello", 5);
        hearth_http_free(h);
    }
}

static void http_reads_conditional_and_offset_headers(void **state) {
    (void)state;
    hearth_http *h = fresh();
    assert_int_equal(feed_text(h,
                               "GET /v1/releases/t/1/payload HTTP/1.1\r\n"
                               "range: bytes=5-\r\nIF-RANGE: \"abc\"\r\n"
                               "If-None-Match: \"q\"\r\nUpload-Offset: 12\r\n"
                               "Connection: close\r\n\r\n"),
                     HEARTH_HTTP_REQUEST);
    const hearth_http_head *d = hearth_http_get_head(h);
    assert_string_equal(d->range, "bytes=5-");
    assert_string_equal(d->if_range, "\"abc\"");
    assert_string_equal(d->if_none_match, "\"q\"");
    assert_true(d->has_upload_offset && d->upload_offset == 12);
    assert_false(d->keep_alive);
    hearth_http_free(h);
}

static void http_keeps_requests_of_one_connection_apart(void **state) {
    (void)state;
    static const char two[] = "POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"
                              "GET /b HTTP/1.1\r\n\r\n";
    hearth_http *h = fresh();
    size_t used = 0, n = 0;
    assert_int_equal(feed_by(h, two, sizeof(two) - 1, 1000, &used),
                     HEARTH_HTTP_REQUEST);
    assert_string_equal(hearth_http_get_head(h)->path, "/a");
    /* Until next, nothing more is taken. */
    size_t none = 7;
    assert_int_equal(hearth_http_feed(h, (const uint8_t *)two + used, 3, &none),
                     HEARTH_HTTP_REQUEST);
    assert_int_equal(none, 0);
    hearth_http_next(h);
    assert_false(hearth_http_in_request(h));
    assert_int_equal(feed_text(h, two + used), HEARTH_HTTP_REQUEST);
    assert_string_equal(hearth_http_get_head(h)->path, "/b");
    (void)hearth_http_body(h, &n, NULL);
    assert_int_equal(n, 0);
    hearth_http_free(h);
}

static void http_hands_on_long_uploads_in_pieces(void **state) {
    (void)state;
    const size_t total = 3 * HEARTH_HTTP_BODY + 100;
    char head[200];
    uint8_t *data = malloc(total);
    for (size_t i = 0; i < total; i++) data[i] = (uint8_t)(i * 7 + i / 251);
    for (size_t cut = 0; cut < 2; cut++) {
        size_t length = cut ? total : 2 * HEARTH_HTTP_BODY; /* exact multiple */
        size_t at = 0, pieces = 0, got = 0;
        hearth_http *h = fresh();
        (void)snprintf(head, sizeof(head),
                       "PATCH /v1/uploads/ab HTTP/1.1\r\nUpload-Offset: 64\r\n"
                       "Content-Length: %zu\r\n\r\n",
                       length);
        assert_int_equal(feed_text(h, head), HEARTH_HTTP_MORE);
        hearth_http_event ev = HEARTH_HTTP_MORE;
        while (ev != HEARTH_HTTP_REQUEST) {
            size_t used = 0, n = 0;
            uint64_t where = 0;
            size_t m = length - at < 5000 ? length - at : 5000;
            ev = hearth_http_feed(h, data + at, m, &used);
            at += used;
            assert_int_not_equal(ev, HEARTH_HTTP_ERROR);
            if (ev == HEARTH_HTTP_MORE) continue;
            const uint8_t *body = hearth_http_body(h, &n, &where);
            assert_int_equal(where, got);
            assert_memory_equal(body, data + where, n);
            got += n;
            if (ev == HEARTH_HTTP_PIECE) pieces++;
        }
        assert_int_equal(got, length);
        assert_int_equal(pieces, cut ? 3 : 1);
        hearth_http_free(h);
    }
    free(data);
}

static void http_asks_before_a_body_that_waits(void **state) {
    (void)state;
    hearth_http *h = fresh();
    assert_int_equal(feed_text(h, "POST /v1/checkin HTTP/1.1\r\nExpect: "
                                  "100-continue\r\nContent-Length: 2\r\n\r\n"),
                     HEARTH_HTTP_CONTINUE);
    assert_int_equal(feed_text(h, "ok"), HEARTH_HTTP_REQUEST);
    hearth_http_free(h);
}

static void http_names_the_status_of_every_error(void **state) {
    (void)state;
    static char long_path[400], many[4000], wide[9000];
    (void)snprintf(long_path, sizeof(long_path), "GET /%0300d HTTP/1.1\r\n\r\n",
                   1);
    size_t n = (size_t)snprintf(many, sizeof(many), "GET / HTTP/1.1\r\n");
    for (int i = 0; i <= HEARTH_HTTP_MAX_HEADERS; i++)
        n += (size_t)snprintf(many + n, sizeof(many) - n, "H%d: 1\r\n", i);
    (void)snprintf(many + n, sizeof(many) - n, "\r\n");
    (void)snprintf(wide, sizeof(wide), "GET / HTTP/1.1\r\nX: %08500d\r\n\r\n",
                   1);
    const struct {
        const char *text;
        int status;
    } c[] = {
        {"NONSENSE\r\n\r\n", 400},
        {"GET x HTTP/1.1\r\n\r\n", 400},
        {"GET /a%2fb HTTP/1.1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nRange: a\r\nRange: b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nUpload-Offset: -1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nUpload-Offset: 1234567890123456789\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nExpect: miracles\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
         400},
        {"PUT / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 405},
        {"POST / HTTP/1.1\r\n\r\n", 411},
        {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411},
        {"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411},
        {"POST / HTTP/1.1\r\nContent-Length: 8193\r\n\r\n", 413},
        {"POST /v1/uploads/a HTTP/1.1\r\nContent-Length: 1025\r\n\r\n", 413},
        {"PATCH /v1/uploads/a HTTP/1.1\r\nContent-Length: 1048577\r\n\r\n",
         413},
        {"PATCH /v1/checkin HTTP/1.1\r\nContent-Length: 1\r\n\r\n", 413},
        {"GET / HTTP/1.1\r\nContent-Length: 1\r\n\r\n", 413},
        {long_path, 414},
        {many, 431},
        {wide, 431},
        {"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", 501},
        {"GET / HTTP/2.0\r\n\r\n", 505},
    };
    for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++)
        for (size_t step = 1; step < 10000; step += 9998) {
            hearth_http *h = fresh();
            hearth_http_event ev =
                feed_by(h, c[i].text, strlen(c[i].text), step, NULL);
            if (ev != HEARTH_HTTP_ERROR ||
                hearth_http_error_status(h) != c[i].status)
                fail_msg("case %zu: event %d, status %d, not %d", i, (int)ev,
                         hearth_http_error_status(h), c[i].status);
            size_t used = 5; /* and it stays an error */
            assert_int_equal(
                hearth_http_feed(h, (const uint8_t *)"GET", 3, &used),
                HEARTH_HTTP_ERROR);
            hearth_http_next(h);
            hearth_http_free(h);
        }
}

static size_t allocations_left;

static void *counted_alloc(void *ud, size_t n) {
    (void)ud;
    if (allocations_left == 0) return NULL;
    allocations_left--;
    return malloc(n);
}

static void *counted_resize(void *ud, void *p, size_t n) {
    (void)ud;
    if (allocations_left == 0) return NULL;
    allocations_left--;
    return realloc(p, n);
}

static void counted_free(void *ud, void *p) {
    (void)ud;
    free(p);
}

static void http_survives_running_out_of_memory(void **state) {
    (void)state;
    const hearth_alloc al = {counted_alloc, counted_resize, counted_free, NULL};
    hearth_http *h = NULL;
    allocations_left = 0;
    assert_int_equal(hearth_http_new(&h, &al), HEARTH_ENOMEM);
    assert_null(h);
    allocations_left = 1;
    assert_int_equal(hearth_http_new(&h, &al), HEARTH_OK);
    assert_int_equal(
        feed_text(h, "POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx"),
        HEARTH_HTTP_ERROR);
    assert_int_equal(hearth_http_error_status(h), 503);
    hearth_http_free(h);
    hearth_http_free(NULL);
}

static void http_writes_heads(void **state) {
    (void)state;
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    const hearth_http_reply_head r = {.status = 206,
                                      .content_type = "a/b",
                                      .etag = "\"x\"",
                                      .cache_control = "no-store",
                                      .length = 10,
                                      .has_upload_offset = true,
                                      .upload_offset = 7,
                                      .has_range = true,
                                      .range_from = 5,
                                      .range_total = 100,
                                      .close = true};
    assert_int_equal(hearth_http_write_head(&b, &r), HEARTH_OK);
    assert_string_equal(hearth_buf_str(&b),
                        "HTTP/1.1 206 Partial Content\r\nContent-Type: a/b\r\n"
                        "ETag: \"x\"\r\nCache-Control: no-store\r\n"
                        "Upload-Offset: 7\r\nContent-Range: bytes 5-14/100\r\n"
                        "Content-Length: 10\r\nConnection: close\r\n\r\n");
    hearth_buf_free(&b);
    assert_string_equal(hearth_http_status_text(799), "Unknown");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(http_reads_head_and_body_in_any_steps),
        cmocka_unit_test(http_reads_conditional_and_offset_headers),
        cmocka_unit_test(http_keeps_requests_of_one_connection_apart),
        cmocka_unit_test(http_hands_on_long_uploads_in_pieces),
        cmocka_unit_test(http_asks_before_a_body_that_waits),
        cmocka_unit_test(http_names_the_status_of_every_error),
        cmocka_unit_test(http_survives_running_out_of_memory),
        cmocka_unit_test(http_writes_heads),
    };
    return cmocka_run_group_tests_name("coordinator/http", tests, NULL, NULL);
}

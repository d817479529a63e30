/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz_reply.c - what a peer can put into an HTTP reply: its status,
 * two headers, its error message; and what a person or peer can put into
 * addresses, pins and paths.
 * Input: u16 HTTP status (little-endian), header lines up to an empty line,
 * then the body. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client/net/reply.h"
#include "client/net/transport_curl.h"
#include "client/net/trust.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every header line; returns where the body starts. */
static size_t take_headers(hearth_http_resp *rp, const uint8_t *p, size_t n) {
    size_t at = 0;
    while (at < n) {
        const uint8_t *end = memchr(p + at, '\n', n - at);
        size_t k = end ? (size_t)(end - (p + at)) + 1 : n - at;
        if (k == 1 && end) return at + 1;
        hearth_http_resp_header(rp, (const char *)p + at, k);
        at += k;
    }
    return n;
}

static void check_text(const char *s) {
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || (unsigned char)*s >= 0x7f) abort();
}

static hearth_status never(void *ud, const hearth_http_req *rq,
                           hearth_http_resp *rp, hearth_error *err) {
    (void)ud;
    (void)err;
    check_text(rq->path); /* reaches a transport: nothing can be smuggled */
    if (strpbrk(rq->path, " ?#%\\") || strstr(rq->path, "..")) abort();
    if (rq->cookie) check_text(rq->cookie);
    rp->status = 200;
    return HEARTH_OK;
}

static void try_strings(const char *s) {
    hearth_transport tr = {never, NULL, NULL, NULL};
    hearth_http_req rq = HEARTH_HTTP_REQ_INIT;
    hearth_http_resp rp;
    hearth_http_resp_init(&rp, NULL);
    if (hearth_transport_curl_url_ok(s)) {
        check_text(s);
        if (strncmp(s, "https://", 8) != 0 || strpbrk(s + 8, "/@?# ")) abort();
    }
    if (hearth_trust_pin_ok(s) && strlen(s) != HEARTH_SIGN_PIN_CHARS - 1)
        abort();
    rq.path = s;
    if (hearth_transport_request(&tr, &rq, &rp, NULL) > 0) abort();
    rq.path = "/x";
    rq.cookie = s;
    if (hearth_transport_request(&tr, &rq, &rp, NULL) > 0) abort();
    hearth_http_resp_free(&rp);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hearth_http_resp rp;
    hearth_reply_info info;
    hearth_error err = {HEARTH_OK, ""};
    if (size < 2 || size > 65536) return 0;
    hearth_http_resp_init(&rp, NULL);
    rp.status = data[0] | data[1] << 8;
    size_t at = take_headers(&rp, data + 2, size - 2) + 2;
    if (rp.upload_offset < -1) abort();
    check_text(rp.etag);
    if (hearth_buf_append(&rp.body, data + at, size - at) == HEARTH_OK) {
        hearth_status st = hearth_reply_check(&rp, "fuzz", &info, &err);
        bool good = rp.status >= 200 && rp.status < 300;
        if ((st == HEARTH_OK) != good) abort();
        if (st != HEARTH_OK) check_text(err.text);
        if (info.retry.refused_min_ms > info.retry.refused_max_ms) abort();
        try_strings(hearth_buf_str(&rp.body));
    }
    hearth_http_resp_free(&rp);
    return 0;
}

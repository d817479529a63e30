/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz_routes.c - any request line, range, enrolment token and list
 * of versions: a path that is taken is exactly the one that its parts spell, a
 * range lies inside the resource, a version is one that both sides named.
 *
 * Input: lines "METHOD path", range, token; then versions, 4 bytes each.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/bytes.h"
#include "coordinator/routes.h"
#include "coordinator/token.h"
#include "proto/negotiate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok) {
    if (!ok) abort();
}

/* The next line of p [*n] into out [512], cut there and at a NUL. */
static const uint8_t *take_line(const uint8_t *p, size_t *n, char out[512]) {
    const uint8_t *end = *n ? memchr(p, '\n', *n) : NULL;
    size_t k = end ? (size_t)(end - p) : *n, m = k < 511 ? k : 511;
    if (m) memcpy(out, p, m);
    out[m] = '\0';
    *n -= end ? k + 1 : k;
    return end ? end + 1 : p + k;
}

/* The method and path that lead to r and nowhere else. */
static const char *spell(const hearth_route *r, char path[512]) {
    static const char *const plain[] = {"keyset", "enroll", "renew", "checkin"};
    char hex[2 * sizeof(r->token.bytes) + 1], seq[24] = "latest";
    const char *tail = r->kind == HEARTH_ROUTE_COMMIT  ? "/commit"
                       : r->kind == HEARTH_ROUTE_ABORT ? "/abort"
                                                       : "";
    if (r->kind >= HEARTH_ROUTE_KEYSET && r->kind <= HEARTH_ROUTE_CHECKIN) {
        (void)snprintf(path, 512, "/v1/%s",
                       plain[r->kind - HEARTH_ROUTE_KEYSET]);
        return r->kind == HEARTH_ROUTE_KEYSET ? "GET" : "POST";
    }
    if (r->kind == HEARTH_ROUTE_MANIFEST || r->kind == HEARTH_ROUTE_PAYLOAD) {
        if (r->sequence)
            (void)snprintf(seq, sizeof(seq), "%llu",
                           (unsigned long long)r->sequence);
        (void)snprintf(path, 512, "/v1/releases/%s/%s/%s", r->task, seq,
                       r->kind == HEARTH_ROUTE_MANIFEST ? "manifest"
                                                        : "payload");
        return "GET";
    }
    hearth_hex_encode(hex, r->token.bytes, sizeof(r->token.bytes));
    (void)snprintf(path, 512, "/v1/uploads/%s%s", hex, tail);
    return r->kind == HEARTH_ROUTE_OFFSET   ? "HEAD"
           : r->kind == HEARTH_ROUTE_APPEND ? "PATCH"
                                            : "POST";
}

static void check_route(char *line) {
    char path[512];
    char *space = strchr(line, ' ');
    if (!space) return;
    *space = '\0';
    hearth_route r;
    hearth_route_parse(&r, line, space + 1);
    require(r.kind <= HEARTH_ROUTE_ABORT);
    if (r.kind == HEARTH_ROUTE_NONE || r.kind == HEARTH_ROUTE_METHOD) return;
    require(strcmp(line, spell(&r, path)) == 0);
    const char *got = space + 1; /* hex digits may be large letters */
    require(r.kind >= HEARTH_ROUTE_BEGIN ? strcasecmp(got, path) == 0
                                         : strcmp(got, path) == 0);
    if (r.kind >= HEARTH_ROUTE_BEGIN)
        require(memcmp(got, path, 12) == 0 &&
                strcmp(got + 12 + 64, path + 12 + 64) == 0);
}

static void check_range(const char *range, uint64_t total) {
    uint64_t first = 9, n = 9;
    hearth_status st = hearth_route_range(range, total, &first, &n);
    if (st == HEARTH_OK)
        require(n > 0 && first < total && n <= total - first);
    else
        require(first == 0 && n == total);
}

static void check_token(const char *text) {
    uint8_t hash[HEARTH_SHA256_BYTES];
    bool ok = hearth_token_ok(text);
    require(!ok || strlen(text) == HEARTH_TOKEN_CHARS - 1);
    require((hearth_token_hash(hash, text) == HEARTH_OK) == ok);
}

static bool has(const uint32_t *v, size_t n, uint32_t want) {
    for (size_t i = 0; i < n; i++)
        if (v[i] == want) return true;
    return false;
}

static void check_versions(const uint8_t *p, size_t size) {
    uint32_t theirs[16], version = 0;
    size_t n = size / 4 < 16 ? size / 4 : 16, n_ours;
    hearth_error err = {HEARTH_OK, ""};
    for (size_t i = 0; i < n; i++) theirs[i] = hearth_load_le32(p + 4 * i);
    const uint32_t *ours = hearth_negotiate_ours(&n_ours);
    if (hearth_negotiate(theirs, n, &version, &err) == HEARTH_OK)
        require(has(theirs, n, version) && has(ours, n_ours, version));
    else
        require(err.status == HEARTH_EVERSION && err.text[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char line[512];
    data = take_line(data, &size, line);
    check_route(line);
    data = take_line(data, &size, line);
    check_range(line, 0);
    check_range(line, 1);
    check_range(line, 100);
    check_range(line, UINT64_MAX);
    data = take_line(data, &size, line);
    check_token(line);
    check_versions(data, size);
    for (uint32_t i = 0; i < 40; i++) {
        int status = hearth_route_http_status(i);
        require(status >= 200 && status < 600);
    }
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_seam_wiped.c - no secret is left in memory that is given
 * back.  An allocator looks into every block before it frees it; what SQLite,
 * libcurl and mbedTLS hold, and stacks, are out of its sight. */
#include "tests/support/fake_coord.h"

#include "client/api/client_private.h"
#include "client/net/sync_store.h"
#include "common/file.h"
#include "common/mem.h"
#include "coordinator/auth.h"
#include "coordinator/http.h"
#include "hearth/hearth.h"
#include "tests/support/coord_kit.h"
#include "tests/support/offer_fixture.h"
#include "tests/support/privacy_seam.h"

#define NEEDLE 16   /* bytes of a secret that are looked for */
#define MANY   200u /* ticks that are always enough for one round */

static struct {
    unsigned char needle[4][NEEDLE];
    size_t n, hits;
} watch;

typedef union {
    size_t n;
    max_align_t align;
} head;

static void look(const unsigned char *p, size_t n) {
    for (size_t i = 0; i + NEEDLE <= n; i++)
        for (size_t k = 0; k < watch.n; k++)
            watch.hits += memcmp(p + i, watch.needle[k], NEEDLE) == 0;
}

static void *watch_alloc(void *ud, size_t n) {
    head *h = calloc(1, sizeof(*h) + n);
    (void)ud;
    if (!h) return NULL;
    h->n = n;
    return h + 1;
}

static void watch_free(void *ud, void *p) {
    (void)ud;
    if (!p) return;
    head *h = (head *)p - 1;
    look(p, h->n);
    free(h);
}

static void *watch_resize(void *ud, void *p, size_t n) {
    void *q = watch_alloc(ud, n);
    if (p && q) {
        size_t old = ((head *)p - 1)->n;
        memcpy(q, p, old < n ? old : n);
        watch_free(ud, p);
    }
    return q;
}

static const hearth_alloc AL = {watch_alloc, watch_resize, watch_free, NULL};

static void look_for(const void *secret) {
    assert_true(watch.n < 4);
    memcpy(watch.needle[watch.n++], secret, NEEDLE);
}

static int start(void **state) {
    (void)state;
    memset(&watch, 0, sizeof(watch));
    return 0;
}

static void wiping_is_seen_when_it_is_missing(void **state) {
    (void)state;
    char *p = hearth_mem_new(&AL, 100);
    assert_non_null(p);
    look_for("sixteen secrets.");
    memcpy(p + 50, "sixteen secrets.", NEEDLE);
    hearth_mem_free(&AL, p);
    assert_int_equal(watch.hits, 1);
}

static void keys_are_wiped(void **state) {
    (void)state;
    uint8_t scalar[32];
    char pem[HEARTH_SIGN_PEM_MAX];
    hearth_rng *rng = NULL;
    hearth_sign_keypair *a = NULL, *b = NULL;
    for (int i = 0; i < 32; i++) scalar[i] = (uint8_t)(17 * i + 3);
    assert_ok(
        hearth_seam_rng_open_script(&rng, scalar, sizeof(scalar), NULL, NULL));
    look_for(scalar + 8);
    assert_ok(hearth_sign_generate(&a, rng, &AL, NULL));
    assert_ok(hearth_sign_to_pem(a, pem));
    assert_ok(hearth_sign_from_pem(&b, pem, strlen(pem), &AL, NULL));
    hearth_sign_free(a);
    hearth_sign_free(b);
    hearth_rng_close(rng);
    assert_int_equal(watch.hits, 0);
}

/* Of the connection that asks, and between two requests. */
static void requests_are_wiped(void **state) {
    (void)state;
    const char *text = "POST /v1/enroll HTTP/1.1\r\nHost: h\r\n"
                       "Cookie: hearth=a-cookie-of-16-b\r\n"
                       "Content-Type: application/msgpack\r\n"
                       "Content-Length: 20\r\n\r\na-token-of-16-bytes!";
    look_for("a-cookie-of-16-b");
    look_for("a-token-of-16-by");
    for (int next = 0; next < 2; next++) {
        hearth_http *h = NULL;
        size_t used = 0, n = strlen(text);
        hearth_http_event ev = HEARTH_HTTP_MORE;
        assert_ok(hearth_http_new(&h, &AL));
        for (size_t at = 0; at < n && ev != HEARTH_HTTP_REQUEST; at += used) {
            ev = hearth_http_feed(h, (const uint8_t *)text + at, n - at, &used);
            assert_int_not_equal(ev, HEARTH_HTTP_ERROR);
        }
        assert_int_equal(ev, HEARTH_HTTP_REQUEST);
        assert_string_equal(hearth_http_get_head(h)->cookie,
                            "a-cookie-of-16-b");
        if (next) hearth_http_next(h);
        hearth_http_free(h);
    }
    assert_int_equal(watch.hits, 0);
}

static void on_status(void *ud, const hearth_http_response *rp) {
    *(int *)ud = rp->status;
}

static void enrolment_is_wiped(void **state) {
    (void)state;
    static hearth_enroll_request rq;
    static const char token[] = "hearth-0123456789abcdef0123456789abcdef"
                                "0123456789abcdef0123456789abcdef";
    const hearth_retry retry = {1, 2, 3, 4};
    char db[96], id[HEARTH_PROTO_DEVICE_CAP], cookie[HEARTH_PROTO_COOKIE_CAP];
    int status = 0;
    kit k;
    hearth_auth *a = NULL;
    kit_open(&k, NULL);
    (void)snprintf(db, sizeof(db), "%s/devices.db", k.dir);
    hearth_auth_config c = {.db_path = db,
                            .keyset = (const uint8_t *)"keyset",
                            .keyset_n = 6,
                            .ca = k.key,
                            .ca_pem = "",
                            .clock = hearth_clock_virtual(&k.vc),
                            .al = &AL};
    memcpy(c.cookie_key.bytes, "thirty-two bytes of a cookie key", 32);
    look_for(c.cookie_key.bytes);
    look_for(token);
    assert_ok(hearth_auth_open(&a, &c, NULL));
    assert_ok(hearth_auth_cookie_new(a, "d-1", k.vc.wall_ms, cookie));
    assert_ok(hearth_auth_cookie_check(a, cookie, k.vc.wall_ms, id));
    memcpy(rq.token, token, sizeof(token));
    memcpy(rq.csr_pem, "none", 5);
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    assert_ok(hearth_encode_enroll_request(&b, &rq));
    hearth_coord_hook hook = hearth_auth_hook(a);
    for (size_t cut = 0; cut < 2; cut++) { /* refused; broken at its end */
        const hearth_http_request http = {.method = "POST",
                                          .path = "/v1/enroll",
                                          .body = b.v,
                                          .body_n = b.n - cut};
        assert_true(hook.handle(hook.ud, &http, &retry, on_status, &status));
        assert_true(status >= 400);
    }
    hearth_buf_free(&b);
    hearth_auth_close(a);
    kit_close(&k);
    assert_int_equal(watch.hits, 0);
}

static void rounds_are_wiped(void **state) {
    (void)state;
    const hearth_coord_config cfg = {.al = &AL};
    const int32_t v[KIT_D] = {1, 2, 3};
    hearth_secret key, spacing;
    hearth_offer o;
    kit k;
    kit_open(&k, &cfg);
    kit_task(&k, "demo", "2,3", "0s,10m", 3);
    assert_true(kit_offer(&k, "dev1", &o));
    hearth_coord_store *s = hearth_coord_get_store(k.c);
    assert_ok(hearth_coord_store_round_key(s, "demo", 1, &key, NULL));
    assert_ok(hearth_coord_store_cooldown_key(s, "demo", &spacing, NULL));
    look_for(key.bytes);
    look_for(spacing.bytes);
    look_for(o.upload_token.bytes);
    assert_int_equal(kit_upload(&k, &o, v), 200);
    kit_restart(&k); /* with the round open */
    assert_int_equal(kit_take_part(&k, "dev2", v), 200);
    kit_advance(&k, 1000);
    kit_close(&k);
    assert_int_equal(watch.hits, 0);
}

/* The device: the token of its offer, and what it sent. */
static void taking_part_is_wiped(void **state) {
    (void)state;
    fake_coord f;
    fake_device d;
    hearth_sync_event ev;
    hearth_error err;
    fake_coord_open(&f);
    fake_device_open(&d, &f, 40);
    hearth_sync_close(d.sync);
    look_for(f.offer.upload_token.bytes);
    f.append_cap = 20;
    assert_ok(fake_device_sync_open(&d, &AL, &err));
    assert_true(fake_device_until(&d, HEARTH_SYNC_PREPARED, MANY, &ev));
    while (f.spool_n < NEEDLE)
        assert_true(fake_device_until(&d, HEARTH_SYNC_UPLOAD, MANY, &ev));
    look_for(f.spool);
    assert_true(fake_device_until(&d, HEARTH_SYNC_COMMITTED, MANY, &ev));
    fake_device_close(&d);
    fake_coord_close(&f);
    assert_int_equal(watch.hits, 0);
}

/* Between two runs of a round, `hearth status` reads the offer. */
static void status_is_wiped(void **state) {
    (void)state;
    char dir[64];
    hearth_client *c = NULL;
    hearth_client_config cfg = HEARTH_CLIENT_CONFIG_INIT;
    hearth_client_info info = HEARTH_CLIENT_INFO_INIT;
    hearth_offer o = hearth_offer_fixture();
    hearth_error err;
    assert_non_null(hearth_test_dir(dir));
    memcpy(o.upload_token.bytes, "thirty-two bytes of upload token", 32);
    look_for(o.upload_token.bytes);
    cfg.state_dir = dir;
    cfg.threads = 1;
    cfg.alloc = &AL;
    assert_ok(hearth_client_open(&c, &cfg, &err));
    assert_ok(hearth_sync_round_put(c->db, &o, HEARTH_SYNC_ROUND_ACCEPTED, 1,
                                    NULL, &AL, &err));
    assert_ok(hearth_client_status(c, &info, &err));
    assert_int_equal(info.phase, 1);
    hearth_client_close(c);
    assert_int_equal(watch.hits, 0);
    assert_ok(hearth_file_remove_tree(dir, NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(wiping_is_seen_when_it_is_missing, start),
        cmocka_unit_test_setup(keys_are_wiped, start),
        cmocka_unit_test_setup(requests_are_wiped, start),
        cmocka_unit_test_setup(enrolment_is_wiped, start),
        cmocka_unit_test_setup(rounds_are_wiped, start),
        cmocka_unit_test_setup(taking_part_is_wiped, start),
        cmocka_unit_test_setup(status_is_wiped, start),
    };
    return cmocka_run_group_tests_name("wiped secrets", tests, NULL, NULL);
}

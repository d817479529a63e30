/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_listener.c - coordinator/listener.h and tls.h over loopback,
 * asked by the device's own transport (client/net/transport_curl.h). */
#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include <cmocka.h>
#include <uv.h>

#include "client/net/transport_curl.h"
#include "common/clock.h"
#include "coordinator/listener.h"
#include "coordinator/tls.h"

#define DAY ((int64_t)86400000)

/* A server on its own thread; the test thread only talks to it by socket and
 * by `stop`. */
typedef struct {
    uv_loop_t loop;
    uv_async_t stop;
    pthread_t thread;
    hearth_rng *rng, *test_rng;
    hearth_sign_keypair *key, *ca, *dev;
    char cert[HEARTH_X509_PEM_MAX], ca_pem[HEARTH_X509_PEM_MAX];
    char dev_pem[HEARTH_X509_PEM_MAX], dev_key[HEARTH_SIGN_PEM_MAX];
    char pin[HEARTH_SIGN_PIN_CHARS], url[64], file[64];
    hearth_tls_server *tls;
    hearth_listener *l;
    uint8_t upload[1 << 20]; /* what arrived by PATCH */
    uint64_t refuse_from;    /* pieces from here on are refused; 0: none */
    unsigned n_refused;
} server;

static server *sv;

/* Echo: who asked, and what.  PATCH is kept at its offset. */
static void handle(void *ud, const hearth_http_request *rq,
                   hearth_reply_fn reply, void *reply_ud) {
    server *s = ud;
    char text[400];
    hearth_http_response rp = {0};
    rp.status = 200;
    rp.content_type = "text/plain";
    rp.etag = "\"tag\"";
    int n =
        snprintf(text, sizeof(text), "%s %s peer=%d id=%s n=%zu", rq->method,
                 rq->path, (int)rq->peer.kind, rq->peer.device_id, rq->body_n);
    rp.body = (const uint8_t *)text;
    rp.body_n = (size_t)n;
    if (strcmp(rq->path, "/file") == 0) {
        rp.file = s->file;
        rp.file_n = sizeof(s->upload);
    }
    if (strcmp(rq->method, "PATCH") == 0) {
        if (s->refuse_from && rq->upload_offset >= s->refuse_from) {
            rp.status = 409;
            s->n_refused++;
        } else if (rq->upload_offset + rq->body_n <= sizeof(s->upload)) {
            if (rq->body_n)
                memcpy(s->upload + rq->upload_offset, rq->body, rq->body_n);
            rp.has_upload_offset = true;
            rp.upload_offset = rq->upload_offset + rq->body_n;
        }
    }
    reply(reply_ud, &rp);
}

static hearth_status cookie(void *ud, const char *text,
                            char id[HEARTH_PROTO_DEVICE_CAP]) {
    (void)ud;
    if (strcmp(text, "good") != 0) return HEARTH_EAUTH;
    (void)snprintf(id, HEARTH_PROTO_DEVICE_CAP, "d-cookie");
    return HEARTH_OK;
}

static void on_stop(uv_async_t *a) {
    hearth_listener_stop(sv->l, 200);
    uv_close((uv_handle_t *)a, NULL);
}

static void *serve(void *arg) {
    (void)uv_run(&((server *)arg)->loop, UV_RUN_DEFAULT);
    return NULL;
}

static int make_keys(server *s) {
    const hearth_clock c = hearth_clock_system();
    int64_t now = hearth_clock_wall(&c);
    hearth_rng *r = s->test_rng;
    return hearth_sign_generate(&s->key, r, NULL, NULL) == HEARTH_OK &&
           hearth_sign_generate(&s->ca, r, NULL, NULL) == HEARTH_OK &&
           hearth_sign_generate(&s->dev, r, NULL, NULL) == HEARTH_OK &&
           hearth_x509_self_server(s->cert, s->key, "127.0.0.1", now, 30, r,
                                   NULL) == HEARTH_OK &&
           hearth_x509_self_ca(s->ca_pem, s->ca, "devices", now - 40 * DAY, 365,
                               r, NULL) == HEARTH_OK &&
           hearth_x509_issue(s->dev_pem, s->ca, s->ca_pem,
                             hearth_sign_public(s->dev), "d-42", now, 90, r,
                             NULL) == HEARTH_OK &&
           hearth_sign_to_pem(s->dev, s->dev_key) == HEARTH_OK &&
           hearth_sign_pin(hearth_sign_public(s->key), s->pin) == HEARTH_OK;
}

static int start(server *s, unsigned max_connections, int64_t head_ms) {
    hearth_listener_config c = {.host = "127.0.0.1",
                                .tls = s->tls,
                                .app = {handle, cookie, s},
                                .max_connections = max_connections,
                                .handshake_ms = 600,
                                .head_ms = head_ms,
                                .idle_ms = 5000};
    if (uv_loop_init(&s->loop) != 0) return -1;
    (void)uv_async_init(&s->loop, &s->stop, on_stop);
    if (hearth_listener_open(&s->l, &s->loop, &c, NULL) != HEARTH_OK) return -1;
    (void)snprintf(s->url, sizeof(s->url), "https://127.0.0.1:%d",
                   hearth_listener_port(s->l));
    return pthread_create(&s->thread, NULL, serve, s);
}

static int setup_with(void **state, unsigned max_connections, int64_t head_ms) {
    hearth_tls_config t = {0};
    sv = calloc(1, sizeof(*sv));
    *state = sv;
    (void)snprintf(sv->file, sizeof(sv->file), "/tmp/hearth_listener_XXXXXX");
    int fd = mkstemp(sv->file);
    for (size_t i = 0; i < sizeof(sv->upload); i++)
        sv->upload[i] = (uint8_t)(i * 31 + i / 1000);
    if (fd < 0 || write(fd, sv->upload, sizeof(sv->upload)) < 0) return -1;
    (void)close(fd);
    memset(sv->upload, 0, sizeof(sv->upload));
    if (hearth_rng_open(&sv->rng, NULL, NULL) != HEARTH_OK ||
        hearth_rng_open(&sv->test_rng, NULL, NULL) != HEARTH_OK ||
        !make_keys(sv))
        return -1;
    t.key = sv->key;
    t.cert_pem = sv->cert;
    t.device_ca_pem = sv->ca_pem;
    t.rng = sv->rng;
    t.clock = hearth_clock_system();
    if (hearth_tls_server_open(&sv->tls, &t, NULL) != HEARTH_OK) return -1;
    return start(sv, max_connections, head_ms);
}

static int setup(void **state) {
    return setup_with(state, 0, 3000);
}

static int setup_tight(void **state) {
    return setup_with(state, 2, 400);
}

static int teardown(void **state) {
    server *s = *state;
    (void)uv_async_send(&s->stop);
    (void)pthread_join(s->thread, NULL);
    assert_true(hearth_listener_stopped(s->l));
    hearth_listener_close(s->l);
    assert_int_equal(uv_loop_close(&s->loop), 0);
    hearth_tls_server_close(s->tls);
    hearth_sign_free(s->key);
    hearth_sign_free(s->ca);
    hearth_sign_free(s->dev);
    hearth_rng_close(s->rng);
    hearth_rng_close(s->test_rng);
    (void)unlink(s->file);
    free(s);
    return 0;
}

static hearth_transport dial(const char *pins, const char *cert,
                             const char *key) {
    hearth_transport tr;
    hearth_transport_curl_config c = {0};
    memset(&tr, 0, sizeof(tr));
    c.server = sv->url;
    c.pins = pins;
    c.cert_pem = cert;
    c.key_pem = key;
    assert_int_equal(hearth_transport_curl_open(&tr, &c, NULL, NULL), 0);
    return tr;
}

static hearth_status ask(hearth_transport *tr, const hearth_http_req *rq,
                         hearth_http_resp *rp) {
    hearth_error err;
    hearth_http_resp_init(rp, NULL);
    hearth_status st = hearth_transport_request(tr, rq, rp, &err);
    if (st != HEARTH_OK) print_message("%s\n", err.text);
    return st;
}

static hearth_http_req get(const char *path) {
    hearth_http_req rq = HEARTH_HTTP_REQ_INIT;
    rq.path = path;
    return rq;
}

static void listener_tells_certificate_cookie_and_nobody_apart(void **state) {
    (void)state;
    hearth_http_resp rp;
    hearth_http_req rq = get("/x");
    hearth_transport tr = dial(sv->pin, sv->dev_pem, sv->dev_key);
    for (int i = 0; i < 6; i++) { /* two connections, kept: with and without */
        rq.use_cert = i % 2 == 0;
        assert_int_equal(ask(&tr, &rq, &rp), HEARTH_OK);
        assert_string_equal(hearth_buf_str(&rp.body),
                            rq.use_cert ? "GET /x peer=1 id=d-42 n=0"
                                        : "GET /x peer=0 id= n=0");
        assert_string_equal(rp.etag, "\"tag\"");
        hearth_http_resp_free(&rp);
    }
    hearth_transport_curl_close(&tr);
    tr = dial(sv->pin, NULL, NULL);
    rq.use_cert = false;
    rq.cookie = "good";
    assert_int_equal(ask(&tr, &rq, &rp), HEARTH_OK);
    assert_string_equal(hearth_buf_str(&rp.body),
                        "GET /x peer=2 id=d-cookie n=0");
    hearth_http_resp_free(&rp);
    rq.cookie = "bad";
    assert_int_equal(ask(&tr, &rq, &rp), HEARTH_OK);
    assert_string_equal(hearth_buf_str(&rp.body), "GET /x peer=0 id= n=0");
    hearth_http_resp_free(&rp);
    hearth_transport_curl_close(&tr);
}

static void listener_treats_bad_certificates_as_nobody(void **state) {
    (void)state;
    char pem[HEARTH_X509_PEM_MAX], ca2_pem[HEARTH_X509_PEM_MAX];
    const hearth_clock c = hearth_clock_system();
    int64_t now = hearth_clock_wall(&c);
    hearth_sign_keypair *ca2 = NULL;
    hearth_http_resp rp;
    hearth_http_req rq = get("/x");
    assert_int_equal(hearth_sign_generate(&ca2, sv->test_rng, NULL, NULL), 0);
    assert_int_equal(hearth_x509_self_ca(ca2_pem, ca2, "devices", now, 9,
                                         sv->test_rng, NULL),
                     HEARTH_OK);
    for (int i = 0; i < 2; i++) { /* a foreign CA; expired last week */
        assert_int_equal(
            hearth_x509_issue(pem, i ? sv->ca : ca2, i ? sv->ca_pem : ca2_pem,
                              hearth_sign_public(sv->dev), "d-42",
                              i ? now - 17 * DAY : now, 10, sv->test_rng, NULL),
            HEARTH_OK);
        hearth_transport tr = dial(sv->pin, pem, sv->dev_key);
        rq.use_cert = true;
        assert_int_equal(ask(&tr, &rq, &rp), HEARTH_OK);
        assert_string_equal(hearth_buf_str(&rp.body), "GET /x peer=0 id= n=0");
        hearth_http_resp_free(&rp);
        hearth_transport_curl_close(&tr);
    }
    hearth_sign_free(ca2);
}

static void listener_key_is_what_the_client_pins(void **state) {
    (void)state;
    char wrong[HEARTH_SIGN_PIN_CHARS];
    hearth_http_resp rp;
    hearth_http_req rq = get("/x");
    assert_int_equal(hearth_sign_pin(hearth_sign_public(sv->ca), wrong), 0);
    hearth_transport tr = dial(wrong, NULL, NULL);
    assert_int_equal(ask(&tr, &rq, &rp), HEARTH_ESIGNATURE);
    hearth_http_resp_free(&rp);
    hearth_transport_curl_close(&tr);
}

static void listener_streams_uploads_and_files(void **state) {
    (void)state;
    static uint8_t data[(1 << 20) - 12345];
    hearth_http_resp rp;
    hearth_http_req rq = HEARTH_HTTP_REQ_INIT;
    hearth_transport tr = dial(sv->pin, NULL, NULL);
    for (size_t i = 0; i < sizeof(data); i++) data[i] = (uint8_t)(i * 13 + 7);
    rq.method = HEARTH_HTTP_PATCH;
    rq.path = "/v1/uploads/ab";
    rq.body = data;
    rq.n_body = sizeof(data);
    rq.upload_offset = 100;
    assert_int_equal(ask(&tr, &rq, &rp), HEARTH_OK);
    assert_int_equal(rp.status, 200);
    assert_int_equal(rp.upload_offset, 100 + sizeof(data));
    assert_memory_equal(sv->upload + 100, data, sizeof(data));
    hearth_http_resp_free(&rp);
    /* Refused halfway: the status arrives, the connection stays usable. */
    sv->refuse_from = 300000;
    assert_int_equal(ask(&tr, &rq, &rp), HEARTH_OK);
    assert_int_equal(rp.status, 409);
    assert_int_equal(sv->n_refused, 1); /* the rest was not handed on */
    hearth_http_resp_free(&rp);
    rq = get("/file");
    rq.max_body = 2 << 20;
    assert_int_equal(ask(&tr, &rq, &rp), HEARTH_OK);
    assert_int_equal(rp.body.n, sizeof(sv->upload));
    for (size_t i = 0; i < rp.body.n; i += 997)
        assert_int_equal(rp.body.v[i], (uint8_t)(i * 31 + i / 1000));
    hearth_http_resp_free(&rp);
    hearth_transport_curl_close(&tr);
}

static void listener_refuses_oversized_bodies(void **state) {
    (void)state;
    static uint8_t data[(1 << 20) + 1];
    hearth_http_resp rp;
    hearth_http_req rq = HEARTH_HTTP_REQ_INIT;
    hearth_transport tr = dial(sv->pin, NULL, NULL);
    rq.method = HEARTH_HTTP_PATCH;
    rq.path = "/v1/uploads/ab";
    rq.body = data;
    rq.n_body = sizeof(data);
    rq.upload_offset = 0;
    assert_int_equal(ask(&tr, &rq, &rp), HEARTH_OK);
    assert_int_equal(rp.status, 413);
    hearth_http_resp_free(&rp);
    rq.method = HEARTH_HTTP_POST;
    rq.path = "/v1/enroll";
    rq.n_body = 8193;
    rq.upload_offset = -1;
    assert_int_equal(ask(&tr, &rq, &rp), HEARTH_OK);
    assert_int_equal(rp.status, 413);
    hearth_http_resp_free(&rp);
    hearth_transport_curl_close(&tr);
}

static int raw_connect(void) {
    struct sockaddr_in a = {0};
    struct timeval limit = {4, 0};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    a.sin_family = AF_INET;
    a.sin_port = htons((uint16_t)strtol(strrchr(sv->url, ':') + 1, NULL, 10));
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    return fd;
}

/* Reads until the server closes; -1 when it does not in time. */
static ssize_t read_to_end(int fd) {
    char buf[512];
    ssize_t all = 0;
    for (;;) {
        ssize_t n = recv(fd, buf, sizeof(buf), 0);
        if (n == 0) return all;
        if (n < 0) return -1;
        all += n;
    }
}

static void listener_ends_silent_and_babbling_peers(void **state) {
    (void)state;
    int silent = raw_connect(), babble = raw_connect();
    assert_int_equal(send(babble, "GET / HTTP/1.1\r\n\r\n", 18, 0), 18);
    assert_true(read_to_end(babble) >= 0); /* an alert, then the end */
    assert_int_equal(read_to_end(silent), 0);
    (void)close(silent);
    (void)close(babble);
}

static void listener_lets_the_surplus_wait(void **state) {
    (void)state;
    hearth_http_resp rp;
    hearth_http_req rq = get("/x");
    /* Two silent ones fill the table; the third is served once they go. */
    int a = raw_connect(), b = raw_connect();
    hearth_transport tr = dial(sv->pin, NULL, NULL);
    assert_int_equal(ask(&tr, &rq, &rp), HEARTH_OK);
    assert_int_equal(rp.status, 200);
    hearth_http_resp_free(&rp);
    hearth_transport_curl_close(&tr);
    (void)close(a);
    (void)close(b);
}

static void tls_refuses_a_certificate_of_another_key(void **state) {
    server *s = *state;
    hearth_tls_server *t = NULL;
    hearth_error err;
    hearth_tls_config c = {0};
    assert_int_equal(hearth_tls_server_open(&t, &c, &err), HEARTH_EINVAL);
    c.key = s->ca;
    c.cert_pem = s->cert;
    c.device_ca_pem = s->ca_pem;
    c.rng = s->test_rng;
    c.clock = hearth_clock_system();
    assert_int_equal(hearth_tls_server_open(&t, &c, &err), HEARTH_EFORMAT);
    assert_null(t);
    c.key = s->key;
    c.device_ca_pem = "nothing";
    assert_int_equal(hearth_tls_server_open(&t, &c, &err), HEARTH_EFORMAT);
}

static void listener_open_names_what_is_wrong(void **state) {
    server *s = *state;
    uv_loop_t loop;
    hearth_listener *l = NULL;
    hearth_error err;
    hearth_listener_config c = {.host = "somewhere", .app = {handle, NULL, s}};
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(hearth_listener_open(&l, &loop, &c, &err), HEARTH_EINVAL);
    assert_non_null(strstr(err.text, "somewhere"));
    c.host = "127.0.0.1";
    c.port = (int)strtol(strrchr(s->url, ':') + 1, NULL, 10);
    assert_int_equal(hearth_listener_open(&l, &loop, &c, &err), HEARTH_EBUSY);
    assert_null(l);
    assert_int_equal(hearth_listener_open(&l, NULL, &c, &err), HEARTH_EINVAL);
    assert_int_equal(uv_loop_close(&loop), 0);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(listener_tells_certificate_cookie_and_nobody_apart),
        CASE(listener_treats_bad_certificates_as_nobody),
        CASE(listener_key_is_what_the_client_pins),
        CASE(listener_streams_uploads_and_files),
        CASE(listener_refuses_oversized_bodies),
        CASE(listener_ends_silent_and_babbling_peers),
        cmocka_unit_test_setup_teardown(listener_lets_the_surplus_wait,
                                        setup_tight, teardown),
        CASE(tls_refuses_a_certificate_of_another_key),
        CASE(listener_open_names_what_is_wrong),
    };
    return cmocka_run_group_tests_name("coordinator/listener", tests, NULL,
                                       NULL);
}

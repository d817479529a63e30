/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_seam_path.c - the audit over the whole path: hearth_prepare
 * on each device, the device's transport and TLS over loopback, the listener,
 * the coordinator, its release, downloaded and verified by a device.
 *
 *   - what arrives is what was prepared, byte for byte;
 *   - the released sum is the sum of what was prepared, integer for integer;
 *   - an attacker who reads what arrives finds no more than is claimed, and
 *     finds every mutant of the noise.
 *
 * Who asks is told by a cookie that the listener of this test believes:
 * enrolment costs public keys and is tested by itself (tests/e2e).
 *
 * HEARTH_PATH_ROUNDS=N plays N rounds of DEVICES devices instead.
 */
#include "tests/support/cmocka_all.h"

#include <math.h>
#include <pthread.h>
#include <time.h>
#include <uv.h>

#include "client/delta/ledger_store.h"
#include "client/delta/prepare.h"
#include "client/net/download.h"
#include "client/net/piece_store.h"
#include "client/net/transport_curl.h"
#include "client/net/upload.h"
#include "common/x509.h"
#include "coordinator/listener.h"
#include "coordinator/tls.h"
#include "privacy/accountant_gaussian.h"
#include "privacy/sigma.h"
#include "tests/support/audit_kit.h"
#include "tests/support/coord_kit.h"
#include "tests/support/privacy_seam.h"

/* A checked build is slower and sees the same. */
#ifdef NDEBUG
#define DEVICES 50
#define ROUNDS  20
#else
#define DEVICES 20
#define ROUNDS  5
#endif
#define MUTANT_ROUNDS (100 / DEVICES)
#define MAX_ROUNDS    1000
#define SCALE         10
#define DELTA         1e-5

/* One device: its ledger, and nothing else that lasts. */
typedef struct {
    hearth_db *db;
    hearth_ledger_store *ls;
    char cookie[32];
} device;

typedef struct {
    /* The coordinator and its thread. */
    kit k;
    uv_loop_t loop;
    uv_async_t stop;
    uv_timer_t timer;
    pthread_t thread;
    hearth_rng *tls_rng;
    hearth_sign_keypair *tls_key, *ca;
    char cert[HEARTH_X509_PEM_MAX], ca_pem[HEARTH_X509_PEM_MAX];
    char pin[HEARTH_SIGN_PIN_CHARS], url[64];
    hearth_tls_server *tls;
    hearth_listener *listener;
    pthread_mutex_t lock;
    uint8_t arrived[4 * KIT_D]; /* of the newest upload; under lock */

    /* The devices, all on the test's thread. */
    device dev[DEVICES];
    hearth_rng *rng;
    hearth_transport tr;
    hearth_db *pieces;
    hearth_keyset keyset;
    float content[KIT_D]; /* of the newest release */
    uint64_t sequence;

    /* What the attacker makes of it. */
    double *score[2];
    size_t n[2];
    double z;
    hearth_error err;
} lab;

/* ---- the coordinator's side ---- */

static void handle(void *ud, const hearth_http_request *rq,
                   hearth_reply_fn reply, void *reply_ud) {
    lab *l = ud;
    if (strcmp(rq->method, "PATCH") == 0 &&
        rq->upload_offset + rq->body_n <= sizeof(l->arrived)) {
        pthread_mutex_lock(&l->lock);
        memcpy(l->arrived + rq->upload_offset, rq->body, rq->body_n);
        pthread_mutex_unlock(&l->lock);
    }
    hearth_coord_handle(l->k.c, rq, reply, reply_ud);
}

static hearth_status believe(void *ud, const char *cookie,
                             char id[HEARTH_PROTO_DEVICE_CAP]) {
    (void)ud;
    if (strncmp(cookie, "dev-", 4) != 0) return HEARTH_EAUTH;
    (void)snprintf(id, HEARTH_PROTO_DEVICE_CAP, "%s", cookie);
    return HEARTH_OK;
}

static void on_timer(uv_timer_t *t) {
    (void)hearth_coord_tick(((lab *)t->data)->k.c);
}

static void on_stop(uv_async_t *a) {
    lab *l = a->data;
    hearth_listener_stop(l->listener, 200);
    uv_close((uv_handle_t *)&l->timer, NULL);
    uv_close((uv_handle_t *)a, NULL);
}

static void *serve(void *ud) {
    (void)uv_run(&((lab *)ud)->loop, UV_RUN_DEFAULT);
    return NULL;
}

static void open_tls(lab *l) {
    int64_t now = l->k.vc.wall_ms;
    assert_ok(hearth_rng_open(&l->tls_rng, NULL, NULL));
    assert_ok(hearth_sign_generate(&l->tls_key, l->tls_rng, NULL, NULL));
    assert_ok(hearth_sign_generate(&l->ca, l->tls_rng, NULL, NULL));
    assert_ok(hearth_x509_self_server(l->cert, l->tls_key, "127.0.0.1", now, 30,
                                      l->tls_rng, NULL));
    assert_ok(hearth_x509_self_ca(l->ca_pem, l->ca, "devices", now, 365,
                                  l->tls_rng, NULL));
    assert_ok(hearth_sign_pin(hearth_sign_public(l->tls_key), l->pin));
    const hearth_tls_config t = {.key = l->tls_key,
                                 .cert_pem = l->cert,
                                 .device_ca_pem = l->ca_pem,
                                 .rng = l->tls_rng,
                                 .clock = hearth_clock_virtual(&l->k.vc)};
    assert_ok(hearth_tls_server_open(&l->tls, &t, &l->err));
}

/* The task of coord_kit.h with noise 1, for rounds of all devices. */
static void open_task(lab *l) {
    char ini[2048];
    kit_ini(ini, sizeof(ini), "demo", "COUNT", "0s,10m", MAX_ROUNDS, "");
    char *noise = strstr(ini, "noise = 2.4"), *count = strstr(ini, "COUNT");
    assert_true(noise && count);
    memcpy(noise, "noise = 1.0", 11);
    char pair[6];
    (void)snprintf(pair, sizeof(pair), "%02d,%02d", DEVICES, DEVICES);
    memcpy(count, pair, 5);
    hearth_status st =
        hearth_coord_task_create(l->k.c, "demo", ini, strlen(ini), &l->err);
    if (st != HEARTH_OK) fail_msg("task create: %s", l->err.text);
}

/* As kit_open, but in memory where the system has such a folder: what a disk
 * keeps is tested elsewhere, and thousands of fsyncs take long. */
static void open_kit(kit *k) {
    (void)snprintf(k->dir, sizeof(k->dir), "/dev/shm/hearth_path_XXXXXX");
    if (!mkdtemp(k->dir)) assert_non_null(hearth_test_dir(k->dir));
    (void)snprintf(k->state, sizeof(k->state), "%s/state", k->dir);
    k->vc.wall_ms = 1700000000000;
    k->vc.mono_ms = 5000;
    assert_ok(hearth_rng_open(&k->rng, NULL, NULL));
    assert_ok(hearth_sign_generate(&k->key, k->rng, NULL, NULL));
    assert_ok(kit_start(k));
}

static void open_server(lab *l) {
    open_kit(&l->k);
    open_task(l);
    open_tls(l);
    assert_int_equal(pthread_mutex_init(&l->lock, NULL), 0);
    assert_int_equal(uv_loop_init(&l->loop), 0);
    l->stop.data = l->timer.data = l;
    assert_int_equal(uv_async_init(&l->loop, &l->stop, on_stop), 0);
    assert_int_equal(uv_timer_init(&l->loop, &l->timer), 0);
    assert_int_equal(uv_timer_start(&l->timer, on_timer, 0, 10), 0);
    const hearth_listener_config c = {
        .host = "127.0.0.1", .tls = l->tls, .app = {handle, believe, l}};
    assert_ok(hearth_listener_open(&l->listener, &l->loop, &c, &l->err));
    (void)snprintf(l->url, sizeof(l->url), "https://127.0.0.1:%d",
                   hearth_listener_port(l->listener));
    assert_int_equal(pthread_create(&l->thread, NULL, serve, l), 0);
}

/* ---- the devices' side ---- */

static void open_devices(lab *l) {
    /* Nothing refuses: many rounds of one device are many devices here. */
    const hearth_ledger_rules rules = {.delta = 1e-6,
                                       .epsilon_task = 1e9,
                                       .epsilon_window = 1e9,
                                       .epsilon_lifetime = 1e9,
                                       .window_ms = 1,
                                       .n_participations = MAX_ROUNDS};
    char path[128];
    for (unsigned i = 0; i < DEVICES; i++) {
        device *d = &l->dev[i];
        (void)snprintf(d->cookie, sizeof(d->cookie), "dev-%u", i);
        (void)snprintf(path, sizeof(path), "%s/%s.db", l->k.dir, d->cookie);
        assert_ok(hearth_db_open(&d->db, path, NULL, &l->err));
        assert_ok(hearth_ledger_store_open(&d->ls, d->db, &rules, l->url,
                                           hearth_clock_virtual(&l->k.vc), NULL,
                                           &l->err));
    }
    (void)snprintf(path, sizeof(path), "%s/pieces.db", l->k.dir);
    assert_ok(hearth_db_open(&l->pieces, path, NULL, &l->err));
    assert_ok(hearth_piece_store_init(l->pieces, &l->err));
    l->keyset.n_release_keys = 1;
    memcpy(l->keyset.release_keys[0], hearth_sign_public(l->k.key),
           HEARTH_SIGN_PUBLIC_BYTES);
    assert_ok(hearth_rng_open(&l->rng, NULL, NULL));
}

/* A connection; all devices of a round share it, to save public keys. */
static void dial(lab *l) {
    const hearth_transport_curl_config c = {.server = l->url, .pins = l->pin};
    hearth_transport_curl_close(&l->tr);
    assert_ok(hearth_transport_curl_open(&l->tr, &c, NULL, &l->err));
}

static void check_in(lab *l, const device *d, hearth_offer *offer) {
    static hearth_checkin_request in;
    static hearth_checkin_reply out;
    hearth_buf body = HEARTH_BUF_INIT(NULL);
    hearth_http_req rq = HEARTH_HTTP_REQ_INIT;
    hearth_http_resp rp;
    memset(&in, 0, sizeof(in));
    in.n_versions = 1;
    in.versions[0] = HEARTH_PROTO_MAJOR;
    memset(in.base_digest, 1, 32);
    memset(in.tokenizer_digest, 2, 32);
    assert_ok(hearth_encode_checkin_request(&body, &in));
    rq.method = HEARTH_HTTP_POST;
    rq.path = "/v1/checkin";
    rq.cookie = d->cookie;
    rq.body = body.v;
    rq.n_body = body.n;
    hearth_http_resp_init(&rp, NULL);
    if (hearth_transport_request(&l->tr, &rq, &rp, &l->err) != HEARTH_OK)
        fail_msg("%s", l->err.text);
    assert_int_equal(rp.status, 200);
    assert_ok(hearth_decode_checkin_reply(&out, rp.body.v, rp.body.n, NULL));
    assert_int_equal(out.n_offers, 1);
    *offer = out.offers[0];
    hearth_http_resp_free(&rp);
    hearth_buf_free(&body);
}

static void deliver(lab *l, const hearth_prepared *p, const hearth_offer *o) {
    const hearth_upload u = {&l->tr, NULL, o};
    hearth_reply_info rep;
    uint64_t at = 0;
    hearth_status st = hearth_upload_begin(&u, p, &at, &rep, &l->err);
    while (st == HEARTH_OK && at < 4 * KIT_D)
        st = hearth_upload_append(&u, p, &at, &rep, &l->err);
    if (st == HEARTH_OK) st = hearth_upload_commit(&u, p, &rep, &l->err);
    if (st != HEARTH_OK) fail_msg("upload: %s", l->err.text);
}

static float direction(size_t i) {
    return i % 3 ? 1.0f : -1.0f;
}

/* One device in one round: the worst delta there is, or its opposite. */
static void take_part(lab *l, device *d, int world, int64_t sum[KIT_D]) {
    hearth_offer o;
    hearth_prepared *p = NULL;
    float v[KIT_D];
    const hearth_span span = {v, KIT_D};
    const uint8_t *bytes;
    size_t n;
    check_in(l, d, &o);
    assert_int_equal(o.privacy.d, KIT_D);
    l->z = o.privacy.z;
    for (size_t i = 0; i < KIT_D; i++)
        v[i] = (world ? 1000.0f : -1000.0f) * direction(i);
    if (hearth_prepare(&p, d->ls, &o, &span, 1, NULL, 0, l->rng,
                       hearth_clock_virtual(&l->k.vc), &l->err) != HEARTH_OK)
        fail_msg("%s", l->err.text);
    assert_ok(hearth_prepared_sending(p, &l->err));
    hearth_prepared_bytes(p, &bytes, &n, NULL);
    assert_int_equal(n, 4 * KIT_D);
    deliver(l, p, &o);

    hearth_sigma_sq s = {o.privacy.sigma2_num, o.privacy.sigma2_den};
    double along = 0;
    pthread_mutex_lock(&l->lock);
    assert_memory_equal(l->arrived, bytes, n);
    for (size_t i = 0; i < KIT_D; i++) {
        sum[i] += (int32_t)hearth_load_le32(bytes + 4 * i);
        along += (double)direction(i) *
                 (double)(int32_t)hearth_load_le32(l->arrived + 4 * i);
    }
    memset(l->arrived, 0x55, sizeof(l->arrived));
    pthread_mutex_unlock(&l->lock);
    l->score[world][l->n[world]++] =
        along / sqrt(KIT_D) / hearth_sigma_value(s);
    assert_ok(hearth_prepared_finish(p, &l->err));
    hearth_prepared_free(p);
}

/* Download and verify release `sequence`, waiting for it. */
static void fetch(lab *l, uint64_t sequence, float content[KIT_D]) {
    const hearth_download dl = {.tr = &l->tr,
                                .db = l->pieces,
                                .cookie = l->dev[0].cookie,
                                .task = "demo",
                                .sequence = sequence,
                                .have_sequence = l->sequence,
                                .keyset = &l->keyset,
                                .now_ms = l->k.vc.wall_ms};
    static hearth_release m;
    hearth_reply_info rep;
    hearth_buf manifest = HEARTH_BUF_INIT(NULL), payload = manifest;
    hearth_status st = HEARTH_ENOTFOUND;
    const struct timespec pause = {0, 5000000};
    for (int i = 0; i < 4000 && st == HEARTH_ENOTFOUND; i++) {
        if (i) (void)nanosleep(&pause, NULL);
        st = hearth_download_manifest(&dl, NULL, &manifest, &m, &rep, &l->err);
    }
    bool done = false;
    while (st == HEARTH_OK && !done)
        st = hearth_download_piece(&dl, &m, &done, &rep, &l->err);
    if (st == HEARTH_OK)
        st = hearth_download_finish(&dl, &m, &payload, &l->err);
    if (st != HEARTH_OK) fail_msg("release: %s", l->err.text);
    assert_int_equal(payload.n, 4 * KIT_D);
    for (size_t i = 0; i < KIT_D; i++) {
        uint32_t bits = hearth_load_le32(payload.v + 4 * i);
        memcpy(&content[i], &bits, sizeof(bits));
    }
    l->sequence = sequence;
    assert_ok(hearth_download_drop(l->pieces, "demo", &l->err));
    hearth_buf_free(&manifest);
    hearth_buf_free(&payload);
}

/* The integers that a release was made of: its step is sum / (n 2^SCALE),
 * rounded once to float, which is far finer than one integer here. */
static void check_sum(const float before[KIT_D], const float after[KIT_D],
                      const int64_t sum[KIT_D]) {
    for (size_t i = 0; i < KIT_D; i++) {
        double units = ((double)after[i] - (double)before[i]) *
                       ldexp((double)DEVICES, SCALE);
        assert_true(fabs(units - round(units)) < 0.1);
        assert_int_equal((int64_t)llround(units), sum[i]);
    }
}

static void play(lab *l, size_t rounds) {
    for (int w = 0; w < 2; w++) {
        free(l->score[w]);
        l->score[w] = calloc(rounds * DEVICES, sizeof(double));
        assert_non_null(l->score[w]);
        l->n[w] = 0;
    }
    for (size_t r = 0; r < rounds; r++) {
        int64_t sum[KIT_D] = {0};
        float next[KIT_D];
        dial(l);
        for (size_t i = 0; i < DEVICES; i++)
            take_part(l, &l->dev[i], (int)(i % 2), sum);
        fetch(l, l->sequence + 1, next);
        check_sum(l->content, next, sum);
        memcpy(l->content, next, sizeof(next));
    }
}

static int setup(void **state) {
    lab *l = calloc(1, sizeof(*l));
    if (!l) return -1;
    *state = l;
    hearth_seam_set(HEARTH_SEAM_NOISE_EXACT, 20261121);
    open_server(l);
    open_devices(l);
    dial(l);
    fetch(l, 1, l->content);
    return 0;
}

static int teardown(void **state) {
    lab *l = *state;
    hearth_transport_curl_close(&l->tr);
    (void)uv_async_send(&l->stop);
    (void)pthread_join(l->thread, NULL);
    assert_true(hearth_listener_stopped(l->listener));
    hearth_listener_close(l->listener);
    assert_int_equal(uv_loop_close(&l->loop), 0);
    hearth_tls_server_close(l->tls);
    hearth_sign_free(l->tls_key);
    hearth_sign_free(l->ca);
    hearth_rng_close(l->tls_rng);
    for (size_t i = 0; i < DEVICES; i++) {
        hearth_ledger_store_close(l->dev[i].ls);
        hearth_db_close(l->dev[i].db);
    }
    hearth_db_close(l->pieces);
    hearth_rng_close(l->rng);
    (void)pthread_mutex_destroy(&l->lock);
    kit_close(&l->k);
    free(l->score[0]), free(l->score[1]);
    free(l);
    hearth_seam_set(HEARTH_SEAM_NOISE_EXACT, 0);
    return 0;
}

typedef struct {
    bool epsilon, mu; /* hold */
} verdict;

/* Replace-one: the worlds are 2 Delta2 apart, so the claim is that of z / 2. */
static verdict judge(const lab *l, const char *what) {
    size_t n = l->n[0] < l->n[1] ? l->n[0] : l->n[1];
    double found = audit_epsilon(l->score, n, DELTA);
    double claim = hearth_gaussian_epsilon(l->z / 2, 1, DELTA);
    double mu = audit_mu(l->score, n);
    print_message("%s, %zu uploads: epsilon %.2f of %.2f, mu %.3f of %.3f\n",
                  what, l->n[0] + l->n[1], found, claim, mu, 2 / l->z);
    return (verdict){found <= claim, audit_mu_holds(mu, 2 / l->z, n)};
}

static void a_emp_path_sums_exactly_and_keeps_its_claim(void **state) {
    lab *l = *state;
    const char *said = getenv("HEARTH_PATH_ROUNDS");
    long rounds = said ? strtol(said, NULL, 10) : ROUNDS;
    assert_true(rounds >= 1 && rounds < MAX_ROUNDS);
    play(l, (size_t)rounds);
    verdict v = judge(l, "path");
    assert_true(v.epsilon && v.mu);
}

/* The sums are right in every one of them: only the audit tells. */
static void a_neg_mutant(lab *l, hearth_seam_noise kind, const char *what) {
    hearth_seam_set(kind, 1);
    play(l, MUTANT_ROUNDS);
    hearth_seam_set(HEARTH_SEAM_NOISE_EXACT, 1);
    assert_false(judge(l, what).mu);
}

static void a_neg_path_without_noise_is_found(void **state) {
    a_neg_mutant(*state, HEARTH_SEAM_NOISE_NONE, "no noise");
}

static void a_neg_path_with_half_the_noise_is_found(void **state) {
    a_neg_mutant(*state, HEARTH_SEAM_NOISE_HALF, "half the noise");
}

static void a_neg_path_with_reused_noise_is_found(void **state) {
    a_neg_mutant(*state, HEARTH_SEAM_NOISE_REUSED, "the same noise");
}

/* The last one: a generator that failed goes on failing. */
static void path_without_randomness_sends_nothing(void **state) {
    lab *l = *state;
    hearth_http_req rq = HEARTH_HTTP_REQ_INIT;
    hearth_http_resp rp;
    dial(l);
    rq.path = "/v1/keyset";
    hearth_http_resp_init(&rp, NULL);
    hearth_seam_fail_after(0);
    hearth_status st = hearth_transport_request(&l->tr, &rq, &rp, &l->err);
    hearth_seam_fail_after(UINT64_MAX);
    assert_int_equal(st, HEARTH_ENET); /* no handshake */
    hearth_http_resp_free(&rp);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_emp_path_sums_exactly_and_keeps_its_claim),
        cmocka_unit_test(a_neg_path_without_noise_is_found),
        cmocka_unit_test(a_neg_path_with_half_the_noise_is_found),
        cmocka_unit_test(a_neg_path_with_reused_noise_is_found),
        cmocka_unit_test(path_without_randomness_sends_nothing),
    };
    return cmocka_run_group_tests_name("privacy audit, path", tests, setup,
                                       teardown);
}

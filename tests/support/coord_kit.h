/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/coord_kit.h - a coordinator in a temporary folder, a clock that
 * stands still, and devices that are one function call.
 *
 *     kit k;
 *     kit_open(&k, NULL);
 *     kit_task(&k, "demo", "2,3", "0s,10m", 3);
 *     assert_int_equal(kit_take_part(&k, "dev1", values), 200);
 *     kit_close(&k);
 *
 * The task averages B of v_proj on a base of one layer: KIT_D parameters.
 */
#ifndef HEARTH_TESTS_COORD_KIT_H
#define HEARTH_TESTS_COORD_KIT_H

#include "common/bytes.h"
#include "common/db.h"
#include "common/file.h"
#include "common/hash.h"
#include "coordinator/coordinator.h"
#include "coordinator/registry.h"
#include "coordinator/task.h"
#include "proto/signed.h"
#include "tests/support/cmocka_all.h"

#define KIT_D 8u /* v_proj: out 4, rank 2 */

typedef struct {
    char dir[64], state[96];
    hearth_virtual_clock vc;
    hearth_rng *rng;
    hearth_sign_keypair *key;
    hearth_coord_config cfg;
    hearth_coord *c;
    hearth_error err;
} kit;

typedef struct {
    int calls, status;
    bool has_offset, has_range;
    uint64_t offset, total;
    char etag[80];
    hearth_buf body;
} kit_reply;

static inline void kit_reply_free(kit_reply *r) {
    hearth_buf_free(&r->body);
    memset(r, 0, sizeof(*r));
}

static inline void kit_on_reply(void *ud, const hearth_http_response *rp) {
    kit_reply *r = ud;
    r->calls++;
    r->status = rp->status;
    r->has_offset = rp->has_upload_offset;
    r->offset = rp->upload_offset;
    r->has_range = rp->has_range;
    r->total = rp->total;
    snprintf(r->etag, sizeof(r->etag), "%s", rp->etag ? rp->etag : "");
    hearth_buf_clear(&r->body);
    assert_ok(hearth_http_response_body(rp, &r->body));
}

/* (Re)open the coordinator of k->dir with k->cfg. */
static inline hearth_status kit_start(kit *k) {
    k->cfg.dir = k->state;
    k->cfg.clock = hearth_clock_virtual(&k->vc);
    k->cfg.rng = k->rng;
    k->cfg.release_key = k->key;
    if (k->cfg.disk_reserve == 0) k->cfg.disk_reserve = 1;
    return hearth_coord_open(&k->c, &k->cfg, &k->err);
}

static inline void kit_open(kit *k, const hearth_coord_config *cfg) {
    memset(k, 0, sizeof(*k));
    if (cfg) k->cfg = *cfg;
    assert_non_null(hearth_test_dir(k->dir));
    snprintf(k->state, sizeof(k->state), "%s/state", k->dir);
    k->vc.wall_ms = 1700000000000;
    k->vc.mono_ms = 5000;
    assert_ok(hearth_rng_open(&k->rng, NULL, NULL));
    assert_ok(hearth_sign_generate(&k->key, k->rng, NULL, NULL));
    assert_ok(kit_start(k));
}

static inline void kit_restart(kit *k) {
    hearth_coord_close(k->c);
    k->c = NULL;
    assert_ok(kit_start(k));
}

static inline void kit_close(kit *k) {
    hearth_coord_close(k->c);
    hearth_sign_free(k->key);
    hearth_rng_close(k->rng);
    assert_ok(hearth_file_remove_tree(k->dir, NULL));
}

static inline void kit_ini(char *out, size_t cap, const char *name,
                           const char *count, const char *time, int rounds,
                           const char *extra) {
    snprintf(out, cap,
             "[task]\nname = %s\nrounds = %d\nspacing = 0s\n"
             "[base]\nid = "
             "0101010101010101010101010101010101010101010101010101010101010101"
             "\ntokenizer = "
             "0202020202020202020202020202020202020202020202020202020202020202"
             "\nlayers = 1\nhidden = 8\nheads = 2\nkv_heads = 1\n"
             "head_dim = 4\nffn = 16\n"
             "[adapter]\ntargets = v_proj\nrank = 2\nalpha = 2\n"
             "[train]\nsteps = 2\nbatch = 2\nseq = 32\nlr = 2e-2\n"
             "[cohort]\ncount = %s\ntime = %s\n"
             "[privacy]\nclip = 0.5\nnoise = 2.4\ndelta = 1e-5\nscale = 10\n%s",
             name, rounds, count, time, extra ? extra : "");
}

static inline void kit_task_extra(kit *k, const char *name, const char *count,
                                  const char *time, int rounds,
                                  const char *extra) {
    char ini[2048];
    kit_ini(ini, sizeof(ini), name, count, time, rounds, extra);
    hearth_status st =
        hearth_coord_task_create(k->c, name, ini, strlen(ini), &k->err);
    if (st != HEARTH_OK) fail_msg("task create: %s", k->err.text);
}

static inline void kit_task(kit *k, const char *name, const char *count,
                            const char *time, int rounds) {
    kit_task_extra(k, name, count, time, rounds, NULL);
}

static inline void kit_send(kit *k, const hearth_http_request *rq,
                            kit_reply *r) {
    hearth_coord_handle(k->c, rq, kit_on_reply, r);
}

static inline void kit_request(kit *k, const char *method, const char *path,
                               const hearth_buf *body, const char *device,
                               kit_reply *r) {
    hearth_http_request rq;
    memset(&rq, 0, sizeof(rq));
    rq.method = method;
    rq.path = path;
    if (body) {
        rq.body = body->v;
        rq.body_n = body->n;
    }
    if (device) {
        rq.peer.kind = HEARTH_PEER_COOKIE;
        snprintf(rq.peer.device_id, sizeof(rq.peer.device_id), "%s", device);
    }
    kit_send(k, &rq, r);
}

/* The reason of an error reply; NONE when it is not one. */
static inline uint32_t kit_reason(const kit_reply *r) {
    hearth_error_reply e;
    if (hearth_decode_error_reply(&e, r->body.v, r->body.n, NULL) != HEARTH_OK)
        return HEARTH_REASON_NONE;
    assert_true(e.message[0] != '\0');
    return e.reason;
}

static inline void kit_advance(kit *k, int64_t ms) {
    hearth_virtual_clock_advance(&k->vc, ms);
    hearth_coord_tick(k->c);
}

/* ---- what a device does ---- */

static inline int kit_checkin_as(kit *k, const char *device, uint8_t base,
                                 hearth_checkin_reply *out) {
    static hearth_checkin_request in;
    hearth_buf body = HEARTH_BUF_INIT(NULL);
    kit_reply r = {0};
    memset(&in, 0, sizeof(in));
    in.n_versions = 1;
    in.versions[0] = HEARTH_PROTO_MAJOR;
    memset(in.base_digest, base, 32);
    memset(in.tokenizer_digest, 2, 32);
    assert_ok(hearth_encode_checkin_request(&body, &in));
    kit_request(k, "POST", "/v1/checkin", &body, device, &r);
    assert_int_equal(r.calls, 1);
    memset(out, 0, sizeof(*out));
    if (r.status == 200)
        assert_ok(hearth_decode_checkin_reply(out, r.body.v, r.body.n, NULL));
    int status = r.status;
    kit_reply_free(&r);
    hearth_buf_free(&body);
    return status;
}

static inline int kit_checkin(kit *k, const char *device,
                              hearth_checkin_reply *out) {
    return kit_checkin_as(k, device, 1, out);
}

/* The offer of the only task; false when there is none. */
static inline bool kit_offer(kit *k, const char *device, hearth_offer *o) {
    static hearth_checkin_reply rp;
    assert_int_equal(kit_checkin(k, device, &rp), 200);
    if (rp.n_offers == 0) return false;
    assert_int_equal(rp.n_offers, 1);
    *o = rp.offers[0];
    return true;
}

static inline void kit_path(char out[256], const hearth_offer *o,
                            const char *tail) {
    char hex[65];
    hearth_hex_encode(hex, o->upload_token.bytes, 32);
    snprintf(out, 256, "/v1/uploads/%s%s", hex, tail);
}

/* KIT_D integers as bytes. */
static inline void kit_bytes(uint8_t out[4 * KIT_D], const int32_t *v) {
    for (size_t i = 0; i < KIT_D; i++)
        hearth_store_le32(out + 4 * i, (uint32_t)v[i]);
}

static inline int kit_begin(kit *k, const hearth_offer *o, const uint8_t *bytes,
                            size_t n, kit_reply *r) {
    hearth_begin_request b;
    hearth_buf body = HEARTH_BUF_INIT(NULL);
    char path[256];
    memset(&b, 0, sizeof(b));
    b.round = o->round;
    b.cohort = o->cohort;
    b.stage = o->stage;
    b.length = n;
    assert_ok(hearth_sha256(b.sha256, bytes, n));
    memcpy(b.payload_digest, o->space.payload_digest, 32);
    assert_ok(hearth_encode_begin_request(&body, &b));
    kit_path(path, o, "");
    kit_request(k, "POST", path, &body, NULL, r);
    hearth_buf_free(&body);
    return r->status;
}

static inline int kit_append(kit *k, const hearth_offer *o, uint64_t offset,
                             const uint8_t *bytes, size_t n, kit_reply *r) {
    hearth_http_request rq;
    char path[256];
    memset(&rq, 0, sizeof(rq));
    kit_path(path, o, "");
    rq.method = "PATCH";
    rq.path = path;
    rq.has_upload_offset = true;
    rq.upload_offset = offset;
    rq.body = bytes;
    rq.body_n = n;
    kit_send(k, &rq, r);
    return r->status;
}

static inline int kit_commit(kit *k, const hearth_offer *o,
                             const uint8_t *bytes, size_t n, kit_reply *r) {
    hearth_commit_request cm;
    hearth_buf body = HEARTH_BUF_INIT(NULL);
    char path[256];
    assert_ok(hearth_sha256(cm.sha256, bytes, n));
    assert_ok(hearth_encode_commit_request(&body, &cm));
    kit_path(path, o, "/commit");
    kit_request(k, "POST", path, &body, NULL, r);
    hearth_buf_free(&body);
    return r->status;
}

static inline int kit_abort(kit *k, const hearth_offer *o, kit_reply *r) {
    const hearth_abort_request ab = {HEARTH_ABORT_ERROR, HEARTH_BUCKET_HOUR};
    hearth_buf body = HEARTH_BUF_INIT(NULL);
    char path[256];
    assert_ok(hearth_encode_abort_request(&body, &ab));
    kit_path(path, o, "/abort");
    kit_request(k, "POST", path, &body, NULL, r);
    hearth_buf_free(&body);
    return r->status;
}

/* begin, append, commit of an offer; the last HTTP status. */
static inline int kit_upload(kit *k, const hearth_offer *o, const int32_t *v) {
    uint8_t bytes[4 * KIT_D];
    kit_reply r = {0};
    int status;
    kit_bytes(bytes, v);
    status = kit_begin(k, o, bytes, sizeof(bytes), &r);
    if (status == 200 && r.offset < sizeof(bytes))
        status = kit_append(k, o, r.offset, bytes + r.offset,
                            sizeof(bytes) - (size_t)r.offset, &r);
    if (status == 200) status = kit_commit(k, o, bytes, sizeof(bytes), &r);
    kit_reply_free(&r);
    return status;
}

/* Check in and upload; 0 when there was no offer. */
static inline int kit_take_part(kit *k, const char *device, const int32_t *v) {
    hearth_offer o;
    return kit_offer(k, device, &o) ? kit_upload(k, &o, v) : 0;
}

/* Download release `sequence` ("latest" for 0), verify it and its content. */
static inline void kit_release(kit *k, const char *task, uint64_t sequence,
                               hearth_release *rel, float content[KIT_D]) {
    static hearth_keyset ks;
    char path[256], seq[32];
    uint8_t digest[32];
    kit_reply r = {0};
    memset(&ks, 0, sizeof(ks));
    ks.n_release_keys = 1;
    memcpy(ks.release_keys[0], hearth_sign_public(k->key), 65);
    snprintf(seq, sizeof(seq), "%llu", (unsigned long long)sequence);
    snprintf(path, sizeof(path), "/v1/releases/%s/%s/manifest", task,
             sequence ? seq : "latest");
    kit_request(k, "GET", path, NULL, "dev", &r);
    assert_int_equal(r.status, 200);
    assert_ok(hearth_release_open(rel, r.body.v, r.body.n, &ks,
                                  (uint64_t)k->vc.wall_ms, &k->err));
    snprintf(path, sizeof(path), "/v1/releases/%s/%s/payload", task,
             sequence ? seq : "latest");
    kit_request(k, "GET", path, NULL, "dev", &r);
    assert_int_equal(r.status, 200);
    assert_int_equal(r.body.n, rel->content_bytes);
    assert_int_equal(r.body.n, 4 * KIT_D);
    assert_ok(hearth_sha256(digest, r.body.v, r.body.n));
    assert_memory_equal(digest, rel->content_sha256, 32);
    for (size_t i = 0; i < KIT_D; i++) {
        uint32_t bits = hearth_load_le32(r.body.v + 4 * i);
        memcpy(&content[i], &bits, sizeof(bits));
    }
    kit_reply_free(&r);
}

static inline hearth_task_env kit_env(kit *k, hearth_coord_store *s) {
    hearth_task_env env;
    memset(&env, 0, sizeof(env));
    env.store = s;
    env.dir = k->state;
    env.release_key = k->key;
    env.clock = hearth_clock_virtual(&k->vc);
    env.rng = k->rng;
    return env;
}

#endif /* HEARTH_TESTS_COORD_KIT_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/fake_coord.c - the contract is in fake_coord.h. */
#include "tests/support/fake_coord.h"

#include <inttypes.h>

#include "client/delta/ledger_store.h"
#include "client/personal/space.h"
#include "common/adapter_digest.h"
#include "common/bytes.h"
#include "common/file.h"
#include "common/hash.h"
#include "common/mem.h"
#include "tests/support/model_fixture.h"
#include "tests/support/offer_fixture.h"

/* ---- the world ---- */

/* A tokenizer of bytes: <unk> <s> </s> and 256 byte tokens. */
static void write_tokenizer(const char *dir) {
    char path[128];
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    (void)hearth_buf_puts(
        &b, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,"
            "\"added_tokens\":[");
    static const char *const name[] = {"<unk>", "<s>", "</s>"};
    for (int i = 0; i < 3; i++)
        (void)hearth_buf_printf(
            &b,
            "%s{\"id\":%d,\"content\":\"%s\",\"single_word\":false,"
            "\"lstrip\":false,\"rstrip\":false,\"normalized\":false,"
            "\"special\":true}",
            i ? "," : "", i, name[i]);
    (void)hearth_buf_puts(
        &b, "],\"normalizer\":null,\"pre_tokenizer\":null,"
            "\"post_processor\":null,\"decoder\":{\"type\":\"Sequence\","
            "\"decoders\":[{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"}]},"
            "\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":"
            "\"<unk>\",\"continuing_subword_prefix\":null,"
            "\"end_of_word_suffix\":null,\"fuse_unk\":true,"
            "\"byte_fallback\":true,\"vocab\":{\"<unk>\":0,\"<s>\":1,"
            "\"</s>\":2");
    for (unsigned i = 0; i < 256; i++)
        (void)hearth_buf_printf(&b, ",\"<0x%02X>\":%u", i, i + 3);
    (void)hearth_buf_puts(&b, "},\"merges\":[]}}");
    (void)snprintf(path, sizeof(path), "%s/tokenizer.json", dir);
    assert_false(b.failed);
    assert_ok(hearth_file_write(path, b.v, b.n, 0644, NULL));
    hearth_buf_free(&b);
}

static void open_keys(fake_coord *f) {
    hearth_error err = {HEARTH_OK, ""};
    assert_ok(hearth_rng_open(&f->rng, NULL, NULL));
    assert_ok(hearth_sign_generate(&f->root, f->rng, NULL, &err));
    assert_ok(hearth_sign_generate(&f->release_key, f->rng, NULL, &err));
    assert_ok(hearth_sign_generate(&f->ca, f->rng, NULL, &err));
    assert_ok(hearth_sign_pin(hearth_sign_public(f->root), f->root_pin));
    assert_ok(hearth_x509_self_ca(f->ca_pem, f->ca, "Test CA", FAKE_NOW, 900,
                                  f->rng, &err));
    hearth_keyset *k = &f->keyset;
    k->version = 3;
    k->issued_ms = (uint64_t)FAKE_NOW;
    k->expires_ms = (uint64_t)FAKE_NOW + (uint64_t)365 * 86400000;
    k->n_release_keys = 1;
    memcpy(k->release_keys[0], hearth_sign_public(f->release_key),
           HEARTH_SIGN_PUBLIC_BYTES);
    k->n_pins = 1;
    assert_ok(hearth_sign_pin(hearth_sign_public(f->ca), k->pins[0]));
    memcpy(k->device_ca_pem, f->ca_pem, sizeof(f->ca_pem));
    fake_coord_seal_keyset(f);
}

void fake_coord_seal_keyset(fake_coord *f) {
    hearth_buf_clear(&f->keyset_bytes);
    assert_ok(hearth_keyset_seal(&f->keyset_bytes, &f->keyset, f->root));
}

/* The space: rank 1 on v_proj, digests from our own code. */
static void describe(fake_coord *f) {
    hearth_wire_space *s = &f->offer.space;
    hearth_wire_privacy *p = &f->offer.privacy;
    hearth_adapter *a = NULL;
    size_t n;
    const hearth_module_info *m = hearth_model_modules(f->model, &n);
    hearth_lora_spec spec = {1, 2.0f,  HEARTH_TARGET_BIT(HEARTH_TARGET_V),
                             0, false, true};
    hearth_base_identity base;
    *s = (hearth_wire_space){.targets = spec.targets,
                             .rank = 1,
                             .alpha = 2.0,
                             .rule = HEARTH_RULE_FFA};
    memcpy(s->base_digest, hearth_model_digest(f->model), 32);
    memcpy(s->tokenizer_digest, hearth_tokenizer_digest(f->tokenizer), 32);
    assert_ok(hearth_chat_template_digest(
        hearth_chat_template_resolve(HEARTH_TEMPLATE_AUTO, f->tokenizer),
        s->template_digest));
    assert_ok(hearth_adapter_seed_from_number(5, s->a_seed));
    assert_ok(hearth_adapter_new(&a, &spec, m, n, NULL, NULL));
    assert_ok(hearth_adapter_init_a_from_seed(a, s->a_seed));
    memcpy(base.checkpoint, s->base_digest, 32);
    memcpy(base.tokenizer, s->tokenizer_digest, 32);
    memcpy(base.chat_template, s->template_digest, 32);
    assert_ok(hearth_adapter_values_digest(a, HEARTH_PART_A, s->a_digest));
    assert_ok(hearth_adapter_space_digest(a, &base, s->space_digest));
    assert_ok(hearth_adapter_shape_digest(a, s->shape_digest));
    *p = (hearth_wire_privacy){.d = hearth_adapter_dim(a, HEARTH_PART_B),
                               .clip = 0.5,
                               .scale_exp = 10,
                               .z = 3,
                               .mode = HEARTH_MODE_LOCAL,
                               .relation = HEARTH_RELATION_REPLACE_ONE,
                               .unit = HEARTH_UNIT_DEVICE,
                               .delta = 1e-6};
    f->offer.cohort_min = f->offer.n_min = 64;
    f->offer.cohort_max = 80;
    f->offer.rounds = 5;
    assert_true(hearth_offer_fixture_finish(&f->offer));
    hearth_payload_terms t = {.scale_num = 1024,
                              .scale_den = 1,
                              .bound_squared = p->bound_squared,
                              .delta2_squared = p->delta2_squared};
    assert_ok(
        hearth_adapter_payload_digest(a, HEARTH_PART_B, &t, s->payload_digest));
    hearth_adapter_free(a);
}

static void open_world(fake_coord *f, const tiny_spec *spec) {
    hearth_error err = {HEARTH_OK, ""};
    memset(f, 0, sizeof(*f));
    f->time = (hearth_virtual_clock){FAKE_NOW, 0};
    f->clock = hearth_clock_virtual(&f->time);
    f->model = tiny_model(spec, 7, f->dir);
    write_tokenizer(f->dir);
    if (hearth_tokenizer_open(&f->tokenizer, f->dir, NULL, &err) != HEARTH_OK)
        fail_msg("%s", err.text);
    open_keys(f);
    f->retry = (hearth_retry){1000, 2000, 5000, 9000};
    f->give_offer = true;
    f->cookie = 1;
    describe(f);
    fake_coord_publish(f, 1, 0.0f);
    fake_coord_offer(f, 1);
}

void fake_coord_open(fake_coord *f) {
    const tiny_spec spec = {259, 16, 24, 2, 2, 1, 8, false, 0.05};
    open_world(f, &spec);
}

void fake_coord_open_deep(fake_coord *f) {
    const tiny_spec spec = {259, 16, 192, 64, 2, 1, 8, false, 0.05};
    open_world(f, &spec);
}

void fake_coord_close(fake_coord *f) {
    hearth_tokenizer_close(f->tokenizer);
    tiny_drop(f->model, f->dir);
    hearth_sign_free(f->root);
    hearth_sign_free(f->release_key);
    hearth_sign_free(f->ca);
    hearth_rng_close(f->rng);
    hearth_buf_free(&f->keyset_bytes);
    hearth_buf_free(&f->manifest);
    free(f->content);
    free(f->spool);
}

void fake_coord_seal_release(fake_coord *f) {
    hearth_buf_clear(&f->manifest);
    assert_ok(hearth_release_seal(&f->manifest, &f->release, f->release_key));
}

void fake_coord_publish(fake_coord *f, uint64_t sequence, float shift) {
    uint64_t d = f->offer.privacy.d;
    hearth_release *r = &f->release;
    free(f->content);
    f->content = calloc(d, 4);
    assert_non_null(f->content);
    for (uint64_t i = 0; i < d; i++) {
        float v = shift * (float)(i % 7);
        uint32_t w;
        memcpy(&w, &v, 4);
        hearth_store_le32(f->content + 4 * i, w);
    }
    *r = (hearth_release){.sequence = sequence,
                          .parent = sequence - 1,
                          .content_of = sequence,
                          .created_ms = (uint64_t)f->time.wall_ms,
                          .round = sequence - 1,
                          .rounds = (uint32_t)sequence - 1,
                          .devices = sequence > 1 ? 64 : 0,
                          .content_bytes = 4 * d,
                          .space = f->offer.space,
                          .privacy = f->offer.privacy};
    r->expires_ms = r->created_ms + (uint64_t)90 * 86400000;
    memcpy(r->task, FAKE_TASK, sizeof(FAKE_TASK));
    assert_ok(hearth_sha256(r->content_sha256, f->content, 4 * d));
    fake_coord_seal_release(f);
}

void fake_coord_offer(fake_coord *f, uint64_t round) {
    hearth_offer *o = &f->offer;
    memcpy(o->task, FAKE_TASK, sizeof(FAKE_TASK));
    memcpy(o->purpose, "federated", 10);
    o->round = round;
    o->local =
        (hearth_local_training){.steps = 3,
                                .batch = 4,
                                .seq = 48,
                                .lr = 0.02,
                                .schedule = HEARTH_WIRE_SCHEDULE_CONSTANT,
                                .loss = HEARTH_WIRE_LOSS_ANSWER};
    o->start_sequence = f->release.sequence;
    o->min_examples = 4;
    o->spacing_ms = 86400000;
    o->deadline_ms = (uint64_t)f->time.wall_ms + 3600000;
    assert_ok(hearth_rng_bytes(f->rng, o->upload_token.bytes, 32));
    f->has_begun = f->committed = f->aborted = false;
    free(f->spool);
    f->spool = NULL;
    f->spool_n = 0;
}

/* ---- requests ---- */

static void put(hearth_http_resp *rp, int status, const hearth_buf *body) {
    rp->status = status; /* body.failed: the device is out of memory */
    if (body) (void)hearth_buf_append(&rp->body, body->v, body->n);
}

static void refuse(fake_coord *f, hearth_http_resp *rp, int status,
                   uint32_t reason, uint64_t offset) {
    hearth_error_reply e = {.reason = reason,
                            .offset = offset,
                            .message = "as the test\nasked",
                            .retry = f->retry};
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    assert_ok(hearth_encode_error_reply(&b, &e));
    put(rp, status, &b);
    hearth_buf_free(&b);
}

static fake_route route_of(const hearth_http_req *rq) {
    const char *p = rq->path;
    size_t n = strlen(p);
    if (!strcmp(p, "/v1/keyset")) return FAKE_KEYSET;
    if (!strcmp(p, "/v1/enroll")) return FAKE_ENROLL;
    if (!strcmp(p, "/v1/renew")) return FAKE_RENEW;
    if (!strcmp(p, "/v1/checkin")) return FAKE_CHECKIN;
    if (!strncmp(p, "/v1/releases/", 13))
        return !strcmp(p + n - 8, "manifest") ? FAKE_MANIFEST : FAKE_PAYLOAD;
    if (strncmp(p, "/v1/uploads/", 12) != 0) return FAKE_OTHER;
    if (!strcmp(p + n - 7, "/commit")) return FAKE_COMMIT;
    if (!strcmp(p + n - 6, "/abort")) return FAKE_ABORT;
    if (rq->method == HEARTH_HTTP_HEAD) return FAKE_OFFSET;
    return rq->method == HEARTH_HTTP_PATCH ? FAKE_APPEND : FAKE_BEGIN;
}

static void enroll(fake_coord *f, const hearth_http_req *rq,
                   hearth_http_resp *rp, bool renew) {
    hearth_enroll_request m = {{0}, {0}};
    hearth_renew_request rm;
    hearth_enroll_reply r = {.retry = f->retry};
    uint8_t pub[HEARTH_SIGN_PUBLIC_BYTES];
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    if (renew) {
        assert_ok(hearth_decode_renew_request(&rm, rq->body, rq->n_body, NULL));
        memcpy(m.csr_pem, rm.csr_pem, sizeof(m.csr_pem));
        assert_true(rq->use_cert);
    } else {
        assert_ok(hearth_decode_enroll_request(&m, rq->body, rq->n_body, NULL));
        if (strcmp(m.token, FAKE_TOKEN) != 0 ||
            (f->token_used && strcmp(m.csr_pem, f->csr) != 0)) {
            refuse(f, rp, 401, HEARTH_REASON_CREDENTIAL, 0);
            return;
        }
        f->token_used = true;
        memcpy(f->csr, m.csr_pem, sizeof(f->csr));
    }
    assert_ok(hearth_x509_csr_verify(m.csr_pem, strlen(m.csr_pem), pub, NULL));
    memcpy(r.device_id, "d-17", 5);
    if (f->wrong_ca) memcpy(pub, hearth_sign_public(f->root), sizeof(pub));
    assert_ok(hearth_x509_issue(r.cert_pem, f->ca, f->ca_pem, pub, "d-17",
                                f->time.wall_ms, 90, f->rng, NULL));
    memcpy(r.ca_pem, f->ca_pem, sizeof(f->ca_pem));
    assert_ok(hearth_encode_enroll_reply(&b, &r));
    put(rp, 200, &b);
    hearth_buf_free(&b);
}

static void checkin(fake_coord *f, const hearth_http_req *rq,
                    hearth_http_resp *rp) {
    hearth_checkin_request *m = calloc(1, sizeof(*m));
    hearth_checkin_reply *r = calloc(1, sizeof(*r));
    char want[16];
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    assert_non_null(m);
    assert_non_null(r);
    (void)snprintf(want, sizeof(want), "c%" PRIu32, f->cookie);
    assert_true(rq->use_cert == !rq->cookie);
    if (rq->cookie && strcmp(rq->cookie, want) != 0) {
        refuse(f, rp, 401, HEARTH_REASON_CREDENTIAL, 0);
        free(m);
        free(r);
        return;
    }
    f->n_with_cert += rq->use_cert;
    assert_ok(hearth_decode_checkin_request(m, rq->body, rq->n_body, NULL));
    assert_memory_equal(m->base_digest, f->offer.space.base_digest, 32);
    r->version = 1;
    (void)snprintf(r->cookie, sizeof(r->cookie), "c%" PRIu32, f->cookie);
    r->now_ms = (uint64_t)(f->time.wall_ms + f->ahead_ms);
    if (f->give_offer) {
        r->offers[r->n_offers++] = f->offer;
        if (f->offer_twice) {
            r->offers[r->n_offers] = f->offer;
            r->offers[r->n_offers++].round += 1000;
        }
    }
    r->n_releases = 1;
    memcpy(r->releases[0].task, FAKE_TASK, sizeof(FAKE_TASK));
    r->releases[0].sequence = f->release.sequence;
    assert_ok(hearth_sha256(r->releases[0].manifest_digest, f->manifest.v,
                            f->manifest.n));
    r->retry = f->retry;
    assert_ok(hearth_encode_checkin_reply(&b, r));
    put(rp, 200, &b);
    hearth_buf_free(&b);
    free(m);
    free(r);
}

static void payload(fake_coord *f, const hearth_http_req *rq,
                    hearth_http_resp *rp) {
    uint64_t n = f->release.content_bytes, from = 0, k = n;
    rp->status = 200;
    if (rq->range_n && !f->no_range) {
        from = rq->range_from;
        assert_true(from < n);
        k = rq->range_n < n - from ? rq->range_n : n - from;
        if (k > 16) k = 16; /* short answers are allowed */
        rp->status = 206;
    }
    (void)hearth_buf_append(&rp->body, f->content + from, (size_t)k);
    if (f->flip_payload && rp->body.n) {
        f->flip_payload--;
        rp->body.v[0] ^= 1;
    }
}

static void offset_reply(fake_coord *f, hearth_http_resp *rp) {
    hearth_offset_reply r = {f->spool_n + f->offset_lie, f->retry};
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    assert_ok(hearth_encode_offset_reply(&b, &r));
    put(rp, 200, &b);
    hearth_buf_free(&b);
    rp->upload_offset = (int64_t)f->spool_n;
}

static void begin(fake_coord *f, const hearth_http_req *rq,
                  hearth_http_resp *rp) {
    hearth_begin_request m;
    assert_ok(hearth_decode_begin_request(&m, rq->body, rq->n_body, NULL));
    assert_int_equal(m.length, 4 * f->offer.privacy.d);
    assert_memory_equal(m.payload_digest, f->offer.space.payload_digest, 32);
    if (f->full) {
        refuse(f, rp, 409, HEARTH_REASON_FULL, 0);
        return;
    }
    if (f->has_begun && memcmp(&m, &f->begun, sizeof(m)) != 0) {
        f->n_altered++;
        refuse(f, rp, 409, HEARTH_REASON_ALTERED, 0);
        return;
    }
    f->begun = m;
    f->has_begun = true;
    if (!f->spool) f->spool = calloc(1, (size_t)m.length);
    offset_reply(f, rp);
}

static void append(fake_coord *f, const hearth_http_req *rq,
                   hearth_http_resp *rp) {
    assert_true(f->has_begun);
    assert_true(rq->n_body > 0);
    if (rq->upload_offset != (int64_t)f->spool_n) {
        refuse(f, rp, 409, HEARTH_REASON_OFFSET, f->spool_n);
        return;
    }
    uint64_t k = rq->n_body;
    assert_true(f->spool_n + k <= f->begun.length);
    if (f->append_cap && k > f->append_cap) k = f->append_cap;
    memcpy(f->spool + f->spool_n, rq->body, (size_t)k);
    f->spool_n += k;
    offset_reply(f, rp);
}

static void commit(fake_coord *f, const hearth_http_req *rq,
                   hearth_http_resp *rp) {
    hearth_commit_request m;
    hearth_commit_reply r = {HEARTH_COMMIT_ACCEPTED, f->retry};
    uint8_t is[32];
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    assert_ok(hearth_decode_commit_request(&m, rq->body, rq->n_body, NULL));
    if (f->spool_n < f->begun.length) {
        refuse(f, rp, 409, HEARTH_REASON_OFFSET, f->spool_n);
        return;
    }
    assert_ok(hearth_sha256(is, f->spool, (size_t)f->spool_n));
    if (memcmp(m.sha256, f->begun.sha256, 32) != 0) f->n_altered++;
    if (memcmp(is, m.sha256, 32) != 0) {
        f->spool_n = 0;
        refuse(f, rp, 409, HEARTH_REASON_DIGEST, 0);
        return;
    }
    f->committed = true;
    assert_ok(hearth_encode_commit_reply(&b, &r));
    put(rp, 200, &b);
    hearth_buf_free(&b);
}

static void abort_upload(fake_coord *f, const hearth_http_req *rq,
                         hearth_http_resp *rp) {
    hearth_ack_reply r = {f->retry};
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    assert_ok(
        hearth_decode_abort_request(&f->abort, rq->body, rq->n_body, NULL));
    f->aborted = true;
    assert_ok(hearth_encode_ack_reply(&b, &r));
    put(rp, 200, &b);
    hearth_buf_free(&b);
}

static bool take(uint32_t *n) {
    if (*n == 0) return false;
    (*n)--;
    return true;
}

static bool authentic(const fake_coord *f, const hearth_http_req *rq,
                      fake_route r) {
    char want[16];
    if (r < FAKE_MANIFEST) return true;
    if (r != FAKE_MANIFEST && r != FAKE_PAYLOAD) { /* uploads: the token only */
        assert_true(!rq->cookie && !rq->use_cert);
        return true;
    }
    (void)snprintf(want, sizeof(want), "c%" PRIu32, f->cookie);
    return rq->cookie && !strcmp(rq->cookie, want);
}

/* The token of the offer that is out? */
static bool our_token(const fake_coord *f, const hearth_http_req *rq) {
    char hex[65];
    hearth_hex_encode(hex, f->offer.upload_token.bytes, 32);
    return !strncmp(rq->path + strlen("/v1/uploads/"), hex, 64);
}

static void answer(fake_coord *f, const hearth_http_req *rq,
                   hearth_http_resp *rp, fake_route r) {
    bool upload = r >= FAKE_BEGIN && r <= FAKE_COMMIT;
    if (!authentic(f, rq, r)) {
        refuse(f, rp, 401, HEARTH_REASON_CREDENTIAL, 0);
        return;
    }
    if (r >= FAKE_BEGIN && r <= FAKE_ABORT && !our_token(f, rq)) {
        refuse(f, rp, 404, HEARTH_REASON_UNKNOWN, 0);
        return;
    }
    if (upload && f->closed) {
        refuse(f, rp, 410, HEARTH_REASON_CLOSED, 0);
        return;
    }
    switch (r) {
    case FAKE_KEYSET: put(rp, 200, &f->keyset_bytes); break;
    case FAKE_ENROLL: enroll(f, rq, rp, false); break;
    case FAKE_RENEW: enroll(f, rq, rp, true); break;
    case FAKE_CHECKIN: checkin(f, rq, rp); break;
    case FAKE_MANIFEST: put(rp, 200, &f->manifest); break;
    case FAKE_PAYLOAD: payload(f, rq, rp); break;
    case FAKE_BEGIN: begin(f, rq, rp); break;
    case FAKE_OFFSET: offset_reply(f, rp); break;
    case FAKE_APPEND: append(f, rq, rp); break;
    case FAKE_COMMIT: commit(f, rq, rp); break;
    case FAKE_ABORT: abort_upload(f, rq, rp); break;
    default: refuse(f, rp, 404, HEARTH_REASON_UNKNOWN, 0); break;
    }
}

static hearth_status request(void *ud, const hearth_http_req *rq,
                             hearth_http_resp *rp, hearth_error *err) {
    fake_coord *f = ud;
    fake_route r = route_of(rq);
    f->n[r]++;
    if (r != FAKE_KEYSET && f->dialled_pins && f->dialled_pins[0] == '-')
        f->saw_token_unpinned = true;
    if (take(&f->fail[r]))
        return hearth_error_set(err, f->fail_status, "as the test asked");
    if (take(&f->drop[r]))
        return hearth_error_set(err, HEARTH_ENET, "request lost");
    if (take(&f->garbage[r])) {
        rp->status = 200;
        return hearth_buf_append(&rp->body, "\xc1junk", 5);
    }
    if (take(&f->refuse[r])) {
        refuse(f, rp, 409, f->refuse_reason, 0);
        return rp->body.failed ? HEARTH_ENOMEM : HEARTH_OK;
    }
    answer(f, rq, rp, r);
    if (take(&f->lose[r])) {
        hearth_buf_clear(&rp->body);
        rp->status = 0;
        return hearth_error_set(err, HEARTH_ENET, "reply lost");
    }
    if (rp->body.failed) return HEARTH_ENOMEM;
    return HEARTH_OK;
}

hearth_transport fake_coord_transport(fake_coord *f) {
    return (hearth_transport){request, NULL, NULL, f};
}

static hearth_status dial(void *ud, const char *server, const char *pins,
                          const char *cert_pem, const char *key_pem,
                          hearth_transport *out, hearth_error *err) {
    fake_coord *f = ud;
    (void)err;
    assert_string_equal(server, FAKE_SERVER);
    assert_true(!cert_pem == !key_pem);
    f->dialled_pins = pins ? "pinned" : "-";
    if (pins && strcmp(pins, f->keyset.pins[0]) != 0)
        return hearth_error_set(err, HEARTH_ESIGNATURE, "another pin");
    *out = fake_coord_transport(f);
    return HEARTH_OK;
}

static void hang_up(void *ud, hearth_transport *tr) {
    fake_coord *f = ud;
    f->dialled_pins = NULL;
    *tr = (hearth_transport){0};
}

hearth_dialer fake_coord_dialer(fake_coord *f) {
    return (hearth_dialer){dial, hang_up, f};
}

/* ---- a device ---- */

static hearth_status read_conditions(void *ud, hearth_conditions *out,
                                     hearth_error *err) {
    fake_device *d = ud;
    (void)err;
    *out = d->now;
    return HEARTH_OK;
}

hearth_status fake_device_sync_open(fake_device *d, const hearth_alloc *al,
                                    hearth_error *err) {
    fake_coord *f = d->f;
    d->tr = fake_coord_transport(f);
    hearth_sync_config cfg = {
        .db = d->db,
        .records = d->records,
        .model = f->model,
        .tokenizer = f->tokenizer,
        .policy = &d->policy,
        .conditions = d->source.read
                          ? d->source
                          : (hearth_conditions_source){read_conditions, d},
        .transport = &d->tr,
        .clock = d->clock.wall_ms ? d->clock : f->clock,
        .rng = f->rng,
        .al = al,
        .state_dir = d->dir,
        .base_name = f->dir,
        .server = FAKE_SERVER,
        .root_pin = f->root_pin,
        .keyset = f->keyset_bytes.v,
        .n_keyset = f->keyset_bytes.n,
        .pool = d->pool,
        .memory_budget = d->memory_budget,
        .energy = d->energy,
        .bf16 = d->bf16,
        .base = d->base,
        .reference_kernels = d->reference_kernels,
    };
    return hearth_sync_open(&d->sync, &cfg, err);
}

static void open_state(fake_device *d) {
    char path[128];
    hearth_error err = {HEARTH_OK, ""};
    (void)snprintf(path, sizeof(path), "%s/client.db", d->dir);
    assert_ok(hearth_db_open(&d->db, path, NULL, &err));
    assert_ok(hearth_record_store_open(&d->records, d->db, d->dir, d->f->clock,
                                       NULL, &err));
}

void fake_device_open(fake_device *d, fake_coord *f, unsigned n_records) {
    hearth_error err = {HEARTH_OK, ""};
    hearth_record_options opt = HEARTH_RECORD_OPTIONS_INIT;
    memset(d, 0, sizeof(*d));
    d->f = f;
    hearth_policy_defaults(&d->policy);
    d->now = (hearth_conditions){.has_battery = true,
                                 .battery_percent = 80,
                                 .charging = true,
                                 .has_temperature = true,
                                 .temperature_c = 25};
    /* In memory where there is such a place: hundreds of fsyncs a test. */
    (void)snprintf(d->dir, sizeof(d->dir), "/dev/shm/hearth_test_XXXXXX");
    if (!mkdtemp(d->dir)) assert_non_null(hearth_test_dir(d->dir));
    open_state(d);
    opt.purpose = "federated";
    for (unsigned i = 0; i < n_records; i++) {
        char line[128];
        int n = snprintf(line, sizeof(line),
                         "{\"prompt\":\"day %u\",\"completion\":\"I slept %u "
                         "hours\"}",
                         i, i % 9);
        assert_ok(hearth_record_store_add(d->records, line, (size_t)n, &opt,
                                          NULL, &err));
    }
    if (fake_device_sync_open(d, NULL, &err) != HEARTH_OK)
        fail_msg("%s", err.text);
}

void fake_device_restart(fake_device *d) {
    hearth_error err = {HEARTH_OK, ""};
    hearth_sync_close(d->sync);
    hearth_record_store_close(d->records);
    hearth_db_close(d->db);
    open_state(d);
    if (fake_device_sync_open(d, NULL, &err) != HEARTH_OK)
        fail_msg("%s", err.text);
}

void fake_device_close(fake_device *d) {
    hearth_sync_close(d->sync);
    hearth_record_store_close(d->records);
    hearth_db_close(d->db);
    assert_ok(hearth_file_remove_tree(d->dir, NULL));
}

bool fake_device_until(fake_device *d, hearth_sync_kind kind, unsigned limit,
                       hearth_sync_event *ev) {
    hearth_error err = {HEARTH_OK, ""};
    for (unsigned i = 0; i < limit; i++) {
        if (hearth_sync_tick(d->sync, ev, &err) != HEARTH_OK)
            fail_msg("tick: %s", err.text);
        if (ev->kind == kind) return true;
        hearth_virtual_clock_advance(&d->f->time, ev->wait_ms);
    }
    return false;
}

uint64_t fake_device_charges(fake_device *d) {
    hearth_ledger_store *ls = NULL;
    hearth_ledger_sums sums;
    assert_ok(hearth_ledger_store_open(&ls, d->db, &d->policy.ledger, NULL,
                                       d->f->clock, NULL, NULL));
    assert_ok(hearth_ledger_store_sums(ls, FAKE_TASK, &sums, NULL));
    hearth_ledger_store_close(ls);
    return sums.n_task;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* client/net/sync.c - the contract is in sync.h; the parts in sync_private.h.
 *
 * Where a killed process goes on is not stored as a state of its own: it
 * follows from what is durable.  A round in phase ACCEPTED whose delta the
 * ledger holds is sent on; one without is trained again; without such a round
 * the device checks in when its time has come.  So there is no order of writes
 * in which the two could disagree.
 */
#include "client/net/sync_private.h"

#include <string.h>

#include "client/net/piece_store.h"
#include "client/net/trust.h"
#include "client/personal/personal_store.h"
#include "client/train/base_copy.h"
#include "client/train/kernels.h"
#include "common/bytes.h"
#include "common/failpoint.h"
#include "common/mem.h"
#include "proto/negotiate.h"

const char *hearth_sync_kind_name(hearth_sync_kind k) {
    static const char *const name[] = {
        "wait",  "checkin",  "refused", "accepted",  "download", "installed",
        "train", "prepared", "upload",  "committed", "gave_up",  "retry"};
    return (unsigned)k < sizeof(name) / sizeof(*name) ? name[k] : "?";
}

int64_t hearth_sync__now(const hearth_sync *s) {
    return hearth_clock_wall(&s->cfg.clock);
}

bool hearth_sync__late(const hearth_sync *s, const hearth_offer *o) {
    return hearth_sync__now(s) + s->session.skew_ms >= (int64_t)o->deadline_ms;
}

void hearth_sync__label(const hearth_sync *s, hearth_sync_event *ev) {
    memcpy(ev->task, s->offer->task, sizeof(ev->task));
    ev->round = s->offer->round;
}

bool hearth_sync__own_fault(hearth_status st) {
    return hearth_status_class(st) == HEARTH_FAULT_SYSTEM &&
           st != HEARTH_ENET && st != HEARTH_ETIMEOUT && st != HEARTH_EBUSY;
}

/* ---- waiting ---- */

hearth_status hearth_sync__sleep(hearth_sync *s, int64_t wait_ms, bool window,
                                 hearth_error *err) {
    if (wait_ms < 0) wait_ms = 0;
    if (wait_ms > HEARTH_RETRY_CAP_MS) wait_ms = HEARTH_RETRY_CAP_MS;
    s->session.not_before_ms = hearth_sync__now(s) + wait_ms;
    s->session.wait_ms = wait_ms;
    s->session.window = window;
    return hearth_sync_session_save(&s->session, s->cfg.db, err);
}

hearth_status hearth_sync__draw(hearth_sync *s, bool accepted,
                                hearth_error *err) {
    int64_t wait = 0;
    hearth_status st =
        hearth_retry_draw(&s->session.retry, accepted, s->cfg.rng, &wait);
    if (st != HEARTH_OK) return st;
    return hearth_sync__sleep(s, wait, true, err);
}

int64_t hearth_sync_wait_ms(const hearth_sync *s) {
    int64_t left = s->session.not_before_ms - hearth_sync__now(s);
    if (left > s->session.wait_ms) left = s->session.wait_ms;
    return left > 0 ? left : 0;
}

void hearth_sync_hint_now(hearth_sync *s) {
    if (!s->session.window) s->session.not_before_ms = 0;
}

void hearth_sync__heard(hearth_sync *s, const hearth_reply_info *info) {
    s->n_failures = 0;
    if (info->has_retry) s->session.retry = info->retry;
}

/* Remember words for `hearth status`; saved with the next sleep. */
static void note(hearth_sync *s, const hearth_error *why) {
    if (!why) return;
    _Static_assert(sizeof(s->session.note) == sizeof(why->text), "same words");
    memcpy(s->session.note, why->text, sizeof(s->session.note));
    s->session.note_ms = hearth_sync__now(s);
}

hearth_status hearth_sync__failed(hearth_sync *s, hearth_status st,
                                  const hearth_reply_info *info,
                                  hearth_sync_event *ev, hearth_error *err) {
    hearth_error why = {st, {0}};
    int64_t wait = 0;
    if (hearth_sync__own_fault(st)) return st;
    if (err) why = *err;
    why.status = st;
    if (!err || err->text[0] == '\0')
        (void)hearth_error_set(&why, st, "%s", hearth_status_text(st));
    note(s, &why);
    ev->kind = HEARTH_SYNC_RETRY;
    ev->reason = why;
    if (st == HEARTH_ECANCELLED) {
        hearth_error_clear(err);
        return HEARTH_OK;
    }
    bool reply = info && info->http_status != 0;
    if (reply) {
        hearth_sync__heard(s, info);
        st = hearth_sync__draw(s, false, err);
    } else {
        st = hearth_retry_backoff(++s->n_failures, s->cfg.rng, &wait);
        if (st == HEARTH_OK) st = hearth_sync__sleep(s, wait, false, err);
    }
    if (st != HEARTH_OK) return st;
    hearth_error_clear(err);
    ev->wait_ms = hearth_sync_wait_ms(s);
    return HEARTH_OK;
}

/* It holds upload tokens and a cookie. */
static void drop_reply(hearth_sync *s) {
    if (s->reply) hearth_zeroize(s->reply, sizeof(*s->reply));
    hearth_mem_free(&s->alloc, s->reply);
    s->reply = NULL;
}

hearth_status hearth_sync__rest(hearth_sync *s, bool accepted,
                                hearth_error *err) {
    drop_reply(s);
    s->state = ST_IDLE;
    return hearth_sync__draw(s, accepted, err);
}

/* ---- check-in ---- */

static hearth_status make_checkin(hearth_sync *s, hearth_buf *body,
                                  hearth_error *err) {
    size_t n = 0;
    const uint32_t *ours = hearth_negotiate_ours(&n);
    hearth_checkin_request *m = hearth_mem_new(&s->alloc, sizeof(*m));
    if (!m) return HEARTH_ENOMEM;
    for (size_t i = 0; i < n && i < HEARTH_PROTO_MAX_VERSIONS; i++)
        m->versions[m->n_versions++] = ours[i];
    const uint8_t *digest = hearth_model_digest(s->cfg.model);
    hearth_status st = digest ? HEARTH_OK : HEARTH_EIO;
    if (digest) memcpy(m->base_digest, digest, 32);
    memcpy(m->tokenizer_digest, s->personal.tokenizer_digest, 32);
    if (st == HEARTH_OK)
        st = hearth_personal_store_list(
            s->cfg.db, m->tasks, HEARTH_PROTO_MAX_TASKS, &m->n_tasks, err);
    if (st == HEARTH_OK) st = hearth_encode_checkin_request(body, m);
    hearth_mem_free(&s->alloc, m);
    return st;
}

/* What the reply says about clocks, cookies and windows, made durable. */
static hearth_status take_reply(hearth_sync *s, hearth_error *err) {
    const hearth_checkin_reply *r = s->reply;
    int64_t now = hearth_sync__now(s);
    memcpy(s->session.cookie, r->cookie, sizeof(s->session.cookie));
    s->session.skew_ms = (int64_t)r->now_ms - now;
    s->session.checkin_ms = now;
    s->session.retry = r->retry;
    s->session.note[0] = '\0';
    s->n_failures = 0;
    return hearth_sync__sleep(s, 0, false, err);
}

static hearth_status checkin(hearth_sync *s, hearth_sync_event *ev,
                             hearth_error *err) {
    hearth_buf body = HEARTH_BUF_INIT(&s->alloc);
    hearth_http_req rq = HEARTH_HTTP_REQ_INIT;
    hearth_http_resp rp;
    hearth_reply_info info = {.http_status = 0};
    hearth_http_resp_init(&rp, &s->alloc);
    hearth_status st = make_checkin(s, &body, err);
    if (st != HEARTH_OK) goto done;
    rq.method = HEARTH_HTTP_POST;
    rq.path = "/v1/checkin";
    rq.body = body.v;
    rq.n_body = body.n;
    rq.cookie = s->session.cookie[0] ? s->session.cookie : NULL;
    rq.use_cert = !rq.cookie; /* a cookie spares both sides the signatures */
    st = hearth_transport_request(s->cfg.transport, &rq, &rp, err);
    if (st == HEARTH_OK) st = hearth_reply_check(&rp, "check-in", &info, err);
    if (st == HEARTH_EAUTH) s->session.cookie[0] = '\0';
    if (st == HEARTH_EAUTH && rq.cookie) { /* it ran out: at once without */
        hearth_error_clear(err);
        st = HEARTH_OK;
        goto done;
    }
    if (st == HEARTH_OK && !s->reply) {
        s->reply = hearth_mem_new(&s->alloc, sizeof(*s->reply));
        if (!s->reply) st = HEARTH_ENOMEM;
    }
    if (st == HEARTH_OK)
        st = hearth_decode_checkin_reply(s->reply, rp.body.v, rp.body.n, err);
    if (st != HEARTH_OK) {
        st = hearth_sync__failed(s, st, &info, ev, err);
        goto done;
    }
    HEARTH_FAILPOINT("sync.after_checkin");
    st = take_reply(s, err);
    if (st != HEARTH_OK) goto done;
    ev->kind = HEARTH_SYNC_CHECKIN;
    ev->n_offers = s->reply->n_offers;
    s->next_release = s->next_offer = 0;
    s->want_sequence = 0; /* what did not come may be asked for again */
    s->state = s->has_offer ? ST_BEGIN : ST_RELEASES;
    if (s->has_offer && !s->prepared) s->state = ST_START;
done:
    hearth_http_resp_free(&rp);
    hearth_buf_free(&body);
    return st;
}

/* ---- the keyset, where none was given ---- */

static hearth_status take_keyset(hearth_sync *s, hearth_sync_event *ev,
                                 hearth_error *err) {
    hearth_http_req rq = HEARTH_HTTP_REQ_INIT;
    hearth_http_resp rp;
    hearth_reply_info info = {.http_status = 0};
    rq.path = "/v1/keyset";
    hearth_http_resp_init(&rp, &s->alloc);
    hearth_status st =
        hearth_transport_request(s->cfg.transport, &rq, &rp, err);
    if (st == HEARTH_OK) st = hearth_reply_check(&rp, "keyset", &info, err);
    if (st == HEARTH_OK)
        st = hearth_trust_keyset(s->keyset, rp.body.v, rp.body.n, s->root_pin,
                                 hearth_sync__now(s), err);
    hearth_http_resp_free(&rp);
    if (st != HEARTH_OK) return hearth_sync__failed(s, st, &info, ev, err);
    s->state = s->has_offer ? (s->prepared ? ST_BEGIN : ST_START) : ST_IDLE;
    ev->kind = HEARTH_SYNC_DOWNLOAD;
    return HEARTH_OK;
}

/* ---- tick ---- */

/* A clock that was set back: the wait starts once more, from now. */
static hearth_status heed_clock(hearth_sync *s, hearth_error *err) {
    int64_t now = hearth_sync__now(s);
    if (s->session.not_before_ms - now <= s->session.wait_ms) return HEARTH_OK;
    return hearth_sync__sleep(s, s->session.wait_ms, s->session.window, err);
}

hearth_status hearth_sync_tick(hearth_sync *s, hearth_sync_event *ev,
                               hearth_error *err) {
    static const hearth_sync_step step[] = {
        [ST_KEYSET] = take_keyset,
        [ST_IDLE] = checkin,
        [ST_RELEASES] = hearth_sync__releases,
        [ST_MANIFEST] = hearth_sync__manifest,
        [ST_PIECE] = hearth_sync__piece,
        [ST_OFFERS] = hearth_sync__offers,
        [ST_START] = hearth_sync__start,
        [ST_TRAIN] = hearth_sync__train,
        [ST_PREPARE] = hearth_sync__prepare,
        [ST_BEGIN] = hearth_sync__begin,
        [ST_APPEND] = hearth_sync__append,
        [ST_COMMIT] = hearth_sync__commit,
        [ST_ABORT] = hearth_sync__abort,
    };
    hearth_error local;
    if (!s || !ev) return HEARTH_EINVAL;
    if (!err) err = &local;
    hearth_error_clear(err);
    *ev = (hearth_sync_event){.kind = HEARTH_SYNC_WAIT};
    ev->wait_ms = hearth_sync_wait_ms(s);
    if (ev->wait_ms > 0) return heed_clock(s, err);
    hearth_sync_state before = s->state;
    hearth_status st = step[s->state](s, ev, err);
    if (st != HEARTH_OK && err->text[0] == '\0')
        (void)hearth_error_set(err, st, "sync: %s", hearth_status_text(st));
    if (st == HEARTH_OK && s->state != before)
        hearth_log_write(s->cfg.log, HEARTH_LOG_DEBUG, "sync",
                         "state=%d event=%s", (int)s->state,
                         hearth_sync_kind_name(ev->kind));
    return st;
}

const hearth_trainer *hearth_sync_trainer(const hearth_sync *s) {
    return s->trainer;
}

const hearth_governor *hearth_sync_governor(const hearth_sync *s) {
    return &s->governor;
}

/* ---- open and close ---- */

static bool copy(char **out, const hearth_alloc *al, const char **s) {
    if (!*s) return true;
    *out = hearth_mem_strdup(al, *s);
    *s = *out;
    return *out != NULL;
}

static hearth_status open_stores(hearth_sync *s, hearth_error *err) {
    hearth_db *db = s->cfg.db;
    hearth_status st = hearth_sync_store_init(db, err);
    if (st == HEARTH_OK) st = hearth_piece_store_init(db, err);
    if (st == HEARTH_OK) st = hearth_personal_store_init(db, err);
    if (st == HEARTH_OK)
        st = hearth_ledger_store_open(&s->ledger, db, &s->cfg.policy->ledger,
                                      s->server, s->cfg.clock, &s->alloc, err);
    if (st == HEARTH_OK)
        st = hearth_ledger_store_set_counter(s->ledger, s->cfg.counter, err);
    /* `forget` takes the mark away: that is how the trainer notices. */
    if (st == HEARTH_OK)
        st = hearth_record_store_register_rows(s->cfg.records, "sync_training",
                                               "one", 1, err);
    if (st == HEARTH_OK) st = hearth_sync_training_mark(db, false, err);
    if (st == HEARTH_OK) st = hearth_sync_session_load(&s->session, db, err);
    return st;
}

/* Take up a round that a dead process left. */
static hearth_status resume(hearth_sync *s, hearth_error *err) {
    hearth_round_key key;
    hearth_status st = hearth_sync_round_active(
        s->cfg.db, s->offer, &s->since_ms, &s->has_offer, err);
    if (st != HEARTH_OK || !s->has_offer) return st;
    s->state = ST_START;
    st = hearth_round_key_init(&key, s->offer->task, s->offer->round,
                               s->offer->cohort, s->offer->stage);
    if (st == HEARTH_OK)
        st = hearth_prepared_load(&s->prepared, s->ledger, &key, err);
    if (st == HEARTH_OK) s->state = ST_BEGIN;
    if (st == HEARTH_ENOTFOUND) st = HEARTH_OK;
    if (st == HEARTH_ESTATE || st == HEARTH_EDIGEST) {
        /* Finished or damaged: never a second draw for this round. */
        st = hearth_sync_round_put(
            s->cfg.db, s->offer, HEARTH_SYNC_ROUND_GAVE_UP, hearth_sync__now(s),
            "its prepared bytes are gone", &s->alloc, err);
        s->has_offer = false;
        s->state = ST_IDLE;
    }
    if (st == HEARTH_OK) hearth_error_clear(err);
    return st;
}

static hearth_status open_trust(hearth_sync *s, hearth_error *err) {
    if (!(s->keyset = hearth_mem_new(&s->alloc, sizeof(*s->keyset))))
        return HEARTH_ENOMEM;
    if (!hearth_trust_pin_ok(s->root_pin))
        return hearth_error_set(err, HEARTH_EINVAL, "no root pin was given");
    if (!s->cfg.keyset) return HEARTH_OK;
    return hearth_trust_keyset(s->keyset, s->cfg.keyset, s->cfg.n_keyset,
                               s->root_pin, hearth_sync__now(s), err);
}

static hearth_status open_all(hearth_sync *s, hearth_error *err) {
    hearth_sync_config *c = &s->cfg;
    bool ok = copy(&s->state_dir, &s->alloc, &c->state_dir) &&
              copy(&s->base_name, &s->alloc, &c->base_name) &&
              copy(&s->server, &s->alloc, &c->server) &&
              copy(&s->root_pin, &s->alloc, &c->root_pin) &&
              copy(&s->task, &s->alloc, &c->task);
    s->offer = hearth_mem_new(&s->alloc, sizeof(*s->offer));
    s->release = hearth_mem_new(&s->alloc, sizeof(*s->release));
    if (!ok || !s->offer || !s->release) return HEARTH_ENOMEM;
    hearth_status st = open_trust(s, err);
    c->keyset = NULL; /* the caller's */
    if (st != HEARTH_OK) return st;
    s->tmpl = hearth_chat_template_resolve(c->chat_template, c->tokenizer);
    st = hearth_chat_template_digest(s->tmpl, s->template_digest);
    if (st != HEARTH_OK) return st;
    const uint8_t *tok = hearth_tokenizer_digest(c->tokenizer);
    s->local =
        (hearth_space_local){c->model, s->base_name, tok, s->template_digest};
    s->personal = (hearth_personal){
        c->db,    s->state_dir, s->base_name,       s->keyset,
        c->model, tok,          s->template_digest, &s->alloc};
    if ((st = open_stores(s, err)) != HEARTH_OK) return st;
    s->state = ST_IDLE;
    if ((st = resume(s, err)) != HEARTH_OK) return st;
    if (s->keyset->n_pins == 0) s->state = ST_KEYSET;
    return HEARTH_OK;
}

hearth_status hearth_sync_open(hearth_sync **out, const hearth_sync_config *cfg,
                               hearth_error *err) {
    if (!out) return HEARTH_EINVAL;
    *out = NULL;
    if (!cfg || !cfg->db || !cfg->records || !cfg->model || !cfg->tokenizer ||
        !cfg->policy || !cfg->conditions.read || !cfg->transport ||
        !cfg->clock.wall_ms || !cfg->rng)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "sync: a part of the configuration is missing");
    if (cfg->bf16 && (cfg->reference_kernels || !hearth_kernels_bf16()))
        return hearth_error_set(err, HEARTH_EUNSUPPORTED,
                                "bfloat16 needs the native kernels; compute in "
                                "f32");
    hearth_base_type base; /* a round settles it again */
    hearth_status st =
        hearth_base_copy_settle(cfg->model, cfg->base, &base, err);
    if (st != HEARTH_OK) return st;
    const hearth_alloc *al = hearth_mem_or_default(cfg->al);
    hearth_sync *s = hearth_mem_new(al, sizeof(*s));
    if (!s) return HEARTH_ENOMEM;
    s->alloc = *al;
    s->cfg = *cfg;
    s->cfg.al = &s->alloc;
    s->manifest = (hearth_buf)HEARTH_BUF_INIT(&s->alloc);
    st = open_all(s, err);
    if (st == HEARTH_OK)
        *out = s;
    else
        hearth_sync_close(s);
    return st;
}

void hearth_sync_close(hearth_sync *s) {
    if (!s) return;
    hearth_alloc al = s->alloc;
    if (s->ledger && hearth_sync__drop_training(s, NULL) != HEARTH_OK)
        hearth_log_write(s->cfg.log, HEARTH_LOG_WARN, "sync",
                         "the training mark stays until the next start");
    hearth_prepared_free(s->prepared);
    hearth_ledger_store_close(s->ledger);
    hearth_buf_free(&s->manifest);
    drop_reply(s);
    if (s->offer) hearth_zeroize(s->offer, sizeof(*s->offer));
    hearth_mem_free(&al, s->offer);
    hearth_mem_free(&al, s->release);
    hearth_mem_free(&al, s->keyset);
    hearth_mem_free(&al, s->state_dir);
    hearth_mem_free(&al, s->base_name);
    hearth_mem_free(&al, s->server);
    hearth_mem_free(&al, s->root_pin);
    hearth_mem_free(&al, s->task);
    hearth_zeroize(s, sizeof(*s));
    hearth_mem_free(&al, s);
}

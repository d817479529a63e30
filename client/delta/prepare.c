/* SPDX-License-Identifier: Apache-2.0 */
/* client/delta/prepare.c - the contract is in prepare.h.
 *
 * The order is the point of this file and stands in make_bytes():
 *   1. the noise of the whole vector is drawn; how long that takes depends on
 *      the noise, and nothing of the user's has been read yet;
 *   2. clip, in floats;
 *   3. scale and round, redrawn until the integer norm is within D_d;
 *   4. the bounded coordinates, in [0, s_k]: the clip bit of step 2, then the
 *      caller's;
 *   5. the sum, in integers, written as int32.
 * A sum outside int32 is cut to it: what is cut has its noise already, so this
 * is post-processing, and with sigma <= 2^24 and D_d <= 2^30 it does not occur.
 * Then one transaction makes bytes and charge durable together.
 */
#include "client/delta/prepare.h"

#include <string.h>

#include "client/delta/ledger_entry.h"
#include "client/delta/terms.h"
#include "common/bytes.h"
#include "common/hash.h"
#include "common/mem.h"
#include "privacy/clip.h"
#include "privacy/noise.h"
#include "privacy/quantize.h"

struct hearth_prepared {
    hearth_ledger_store *ls; /* borrowed */
    hearth_round_key key;
    hearth_ledger_entry entry; /* owns the bytes */
};

/* Wipe what the caller trained, whatever happened. */
static void destroy(const hearth_span *delta, size_t n_spans) {
    for (size_t s = 0; s < n_spans; s++)
        if (delta[s].v) hearth_zeroize(delta[s].v, delta[s].n * sizeof(float));
}

static hearth_status check_vector(const hearth_terms *t,
                                  const hearth_span *delta, size_t n_spans,
                                  const double *coords, size_t n_coords,
                                  hearth_error *err) {
    uint64_t n = 0;
    for (size_t s = 0; s < n_spans; s++) {
        if (delta[s].n > t->d - n || (delta[s].n && !delta[s].v)) {
            n = UINT64_MAX;
            break;
        }
        n += delta[s].n;
    }
    if (n != t->d || n_coords != t->n_coords - t->clip_bit ||
        (n_coords && !coords))
        return hearth_error_set(err, HEARTH_EINVAL,
                                "prepare: the delta does not have the "
                                "coordinates that the offer asks for");
    return HEARTH_OK;
}

/* Steps 2 to 4: y [d + n_coords]. */
static hearth_status bound_vector(int32_t *y, const hearth_terms *t,
                                  const hearth_span *delta, size_t n_spans,
                                  const double *coords, hearth_rng *rng) {
    double x[HEARTH_SIGMA_MAX_COORDS] = {0};
    hearth_clip_report rep = {0};
    hearth_status st = HEARTH_OK;
    if (t->d) {
        /* The spans are ours to change: the caller was told. */
        hearth_span *own = (hearth_span *)(uintptr_t)delta;
        st = hearth_clip_l2(own, n_spans, t->clip, &rep);
        if (st == HEARTH_OK)
            st = hearth_quantize(y, delta, n_spans, t->scale_exp, t->bound_sq,
                                 rng, NULL);
    }
    if (t->clip_bit) x[0] = rep.norm <= (double)t->clip ? 1.0 : 0.0;
    for (size_t k = t->clip_bit; k < t->n_coords; k++)
        x[k] = coords[k - t->clip_bit];
    if (st == HEARTH_OK)
        st = hearth_quantize_coords(y + t->d, x, t->s, t->n_coords, rng);
    hearth_zeroize(x, sizeof(x));
    hearth_zeroize(&rep, sizeof(rep));
    return st;
}

static void add_noise(uint8_t *bytes, const int32_t *y, const int32_t *noise,
                      size_t n) {
    for (size_t i = 0; i < n; i++) {
        int64_t v = (int64_t)y[i] + noise[i];
        if (v > INT32_MAX) v = INT32_MAX;
        if (v < INT32_MIN) v = INT32_MIN;
        hearth_store_le32(bytes + 4 * i, (uint32_t)(int32_t)v);
    }
}

static hearth_status make_bytes(uint8_t *bytes, const hearth_terms *t,
                                const hearth_span *delta, size_t n_spans,
                                const double *coords, hearth_rng *rng,
                                const hearth_alloc *al) {
    size_t n = (size_t)t->d + t->n_coords;
    int32_t *noise = hearth_mem_array(al, n, sizeof(*noise));
    int32_t *y = hearth_mem_array(al, n, sizeof(*y));
    hearth_status st = noise && y ? HEARTH_OK : HEARTH_ENOMEM;
    if (st == HEARTH_OK) st = hearth_noise_draw(noise, n, t->sigma_sq, rng);
    if (st == HEARTH_OK) st = bound_vector(y, t, delta, n_spans, coords, rng);
    if (st == HEARTH_OK) add_noise(bytes, y, noise, n);
    if (noise) hearth_zeroize(noise, n * sizeof(*noise));
    if (y) hearth_zeroize(y, n * sizeof(*y));
    hearth_mem_free(al, noise);
    hearth_mem_free(al, y);
    return st;
}

static hearth_status say_why(hearth_status st, hearth_error *err) {
    const char *why = "nothing was sent or charged; try again later";
    if (st == HEARTH_ENONFINITE)
        why = "training gave a NaN or infinity: the delta was destroyed";
    else if (st == HEARTH_ETOOBIG)
        why = "the norm bound was not met in 64 draws: the delta was destroyed";
    else if (st == HEARTH_ERNG)
        why = "no randomness: the delta was destroyed; nothing is charged";
    else if (st == HEARTH_EINVAL)
        why = "a bounded coordinate is outside [0, 1]";
    return hearth_error_set(err, st, "prepare: %s", why);
}

static hearth_status prepared_new(hearth_prepared **out,
                                  hearth_ledger_store *ls,
                                  const hearth_round_key *key,
                                  hearth_error *err) {
    hearth_prepared *p =
        hearth_mem_new(hearth_ledger_store__alloc(ls), sizeof(*p));
    if (!p)
        return hearth_error_set(err, HEARTH_ENOMEM, "prepare: out of memory");
    p->ls = ls;
    p->key = *key;
    *out = p;
    return HEARTH_OK;
}

/* Draw, bound, add, then charge: entry receives the bytes. */
static hearth_status make_entry(hearth_prepared *p, const hearth_terms *t,
                                const uint8_t offer_digest[32],
                                const hearth_span *delta, size_t n_spans,
                                const double *coords, hearth_rng *rng,
                                int64_t now_ms, hearth_error *err) {
    const hearth_alloc *al = hearth_ledger_store__alloc(p->ls);
    hearth_ledger_entry *e = &p->entry;
    size_t n = (size_t)t->d + t->n_coords;
    e->n = 4 * n; /* n <= 2^26 + 16 */
    e->bytes = hearth_mem_new(al, e->n);
    hearth_status st = e->bytes ? HEARTH_OK : HEARTH_ENOMEM;
    if (st == HEARTH_OK)
        st = make_bytes(e->bytes, t, delta, n_spans, coords, rng, al);
    if (st == HEARTH_OK) st = hearth_sha256(e->payload, e->bytes, e->n);
    if (st != HEARTH_OK) return say_why(st, err);
    hearth_ledger_charge c = {.key = p->key,
                              .rho = t->rho,
                              .z = t->z,
                              .d = n,
                              .bytes = e->bytes,
                              .n = e->n};
    memcpy(c.offer, offer_digest, sizeof(c.offer));
    memcpy(c.payload, e->payload, sizeof(c.payload));
    return hearth_ledger_store__charge(p->ls, &c, now_ms, err);
}

/* Is this offer prepared already?  HEARTH_OK: *p holds it.  HEARTH_ENOTFOUND:
 * a new preparation is due. */
static hearth_status find_same(hearth_prepared *p,
                               const uint8_t offer_digest[32],
                               hearth_error *err) {
    hearth_status st =
        hearth_ledger_store__load(p->ls, &p->key, true, &p->entry, err);
    if (st != HEARTH_OK) return st;
    bool same = memcmp(p->entry.offer, offer_digest, 32) == 0;
    if (same && p->entry.bytes) return HEARTH_OK;
    hearth_prepared_state state = p->entry.state;
    hearth_ledger_store__entry_free(p->ls, &p->entry);
    if (same && state == HEARTH_PREPARED_FINISHED)
        return hearth_error_set(err, HEARTH_ESTATE,
                                "prepare: this round is done; wait for the "
                                "next one");
    return HEARTH_ENOTFOUND;
}

static hearth_status run(hearth_prepared **out, hearth_ledger_store *ls,
                         const hearth_offer *offer, const hearth_span *delta,
                         size_t n_spans, const double *coords, size_t n_coords,
                         hearth_rng *rng, int64_t now_ms, hearth_error *err) {
    hearth_terms t;
    hearth_round_key key;
    hearth_prepared *p = NULL;
    uint8_t digest[32];
    hearth_status st = hearth_terms_read(&t, offer, err);
    if (st == HEARTH_OK)
        st = check_vector(&t, delta, n_spans, coords, n_coords, err);
    if (st != HEARTH_OK) return st;
    st = hearth_round_key_init(&key, offer->task, offer->round, offer->cohort,
                               offer->stage);
    if (st == HEARTH_OK) st = hearth_offer_digest(offer, digest);
    if (st != HEARTH_OK)
        return hearth_error_set(err, st, "prepare: the offer is not usable");
    if ((st = prepared_new(&p, ls, &key, err)) != HEARTH_OK) return st;

    st = find_same(p, digest, err);
    if (st == HEARTH_ENOTFOUND) {
        st =
            make_entry(p, &t, digest, delta, n_spans, coords, rng, now_ms, err);
        hearth_ledger_store__entry_free(ls, &p->entry);
        if (st == HEARTH_OK) /* what is sent is what was stored */
            st = hearth_ledger_store__load(ls, &key, true, &p->entry, err);
    }
    if (st == HEARTH_OK) {
        *out = p;
        p = NULL;
    }
    hearth_prepared_free(p);
    return st;
}

hearth_status hearth_prepare(hearth_prepared **out, hearth_ledger_store *ls,
                             const hearth_offer *offer,
                             const hearth_span *delta, size_t n_spans,
                             const double *coords, size_t n_coords,
                             hearth_rng *rng, hearth_clock clock,
                             hearth_error *err) {
    if (out) *out = NULL;
    if (!out || !ls || !offer || (n_spans && !delta) || !rng || !clock.wall_ms)
        return hearth_error_set(err, HEARTH_EINVAL, "prepare: NULL argument");
    hearth_status st = run(out, ls, offer, delta, n_spans, coords, n_coords,
                           rng, hearth_clock_wall(&clock), err);
    destroy(delta, n_spans);
    return st;
}

hearth_status hearth_prepared_load(hearth_prepared **out,
                                   hearth_ledger_store *ls,
                                   const hearth_round_key *key,
                                   hearth_error *err) {
    if (out) *out = NULL;
    if (!out || !ls || !key)
        return hearth_error_set(err, HEARTH_EINVAL, "prepare: NULL argument");
    hearth_prepared *p = NULL;
    hearth_status st = prepared_new(&p, ls, key, err);
    if (st == HEARTH_OK)
        st = hearth_ledger_store__load(ls, key, true, &p->entry, err);
    if (st == HEARTH_OK && !p->entry.bytes)
        st = hearth_error_set(err, HEARTH_ESTATE,
                              "prepare: the bytes of this round were erased; "
                              "wait for the next one");
    if (st == HEARTH_OK) {
        *out = p;
        p = NULL;
    }
    hearth_prepared_free(p);
    return st;
}

static hearth_status advance(hearth_prepared *p, hearth_prepared_state to,
                             hearth_error *err) {
    if (!p) return hearth_error_set(err, HEARTH_EINVAL, "prepare: no handle");
    hearth_status st =
        hearth_ledger_store__advance(p->ls, p->entry.seq, to, err);
    if (st == HEARTH_OK) p->entry.state = to;
    return st;
}

hearth_status hearth_prepared_sending(hearth_prepared *p, hearth_error *err) {
    return advance(p, HEARTH_PREPARED_SENDING, err);
}

hearth_status hearth_prepared_finish(hearth_prepared *p, hearth_error *err) {
    return advance(p, HEARTH_PREPARED_FINISHED, err);
}

void hearth_prepared_bytes(const hearth_prepared *p, const uint8_t **ptr,
                           size_t *n, uint8_t digest[32]) {
    bool may_send = p->entry.state == HEARTH_PREPARED_SENDING;
    *ptr = may_send ? p->entry.bytes : NULL;
    *n = may_send ? p->entry.n : 0;
    if (digest && may_send) memcpy(digest, p->entry.payload, 32);
    if (digest && !may_send) memset(digest, 0, 32);
}

const hearth_round_key *hearth_prepared_key(const hearth_prepared *p) {
    return &p->key;
}

void hearth_prepared_free(hearth_prepared *p) {
    if (!p) return;
    hearth_ledger_store__entry_free(p->ls, &p->entry);
    hearth_mem_free(hearth_ledger_store__alloc(p->ls), p);
}

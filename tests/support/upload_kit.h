/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/upload_kit.h - a device under the default policy's ledger that
 * sends one delta a round, for tests that attack what is sent.
 *
 * The terms are an offer's: local noise at a given z, 32 devices, the ledger's
 * rules of hearth_policy_defaults, client.db in memory.  Every integer comes
 * out of client/delta/prepare.c.
 *
 *     upload_device u;
 *     upload_open(&u, d, 0.07, 1.2, 1, seed, stream);
 *     upload_send(&u, spans, n_spans, y);         // y [d]; spans are wiped
 *     upload_close(&u);
 */
#ifndef HEARTH_TESTS_UPLOAD_KIT_H
#define HEARTH_TESTS_UPLOAD_KIT_H

#include "tests/support/cmocka_all.h"

#include <math.h>

#include "client/delta/ledger_store.h"
#include "client/delta/prepare.h"
#include "client/device/policy.h"
#include "common/bytes.h"
#include "tests/support/offer_fixture.h"
#include "tests/support/privacy_seam.h"

#define UPLOAD_DAY ((int64_t)86400000)

typedef struct {
    hearth_db *db;
    hearth_ledger_store *ls;
    hearth_virtual_clock vc;
    hearth_clock clock;
    hearth_rng *rng;
    hearth_offer offer;
} upload_device;

/* The smallest z of the default policy, for so many rounds: what its ledger
 * allows for one upload, spread over all of them. */
static inline double upload_smallest_z(uint32_t rounds) {
    hearth_policy p;
    hearth_policy_defaults(&p);
    return p.noise_min * sqrt(rounds);
}

/* Terms of d coordinates; clipped vectors are 2^19 to 2^20 integers long. */
static inline hearth_offer upload_offer(size_t d, float clip, double z,
                                        uint32_t rounds) {
    hearth_offer o = hearth_offer_fixture();
    hearth_policy p;
    hearth_policy_defaults(&p);
    o.privacy.d = d;
    o.privacy.n_coords = 0;
    memset(o.privacy.coord_max, 0, sizeof(o.privacy.coord_max));
    o.privacy.clip = (double)clip;
    o.privacy.scale_exp = 20 - (int32_t)ceil(log2((double)clip));
    o.privacy.z = z;
    o.rounds = rounds;
    o.round = 0;
    o.cohort_min = o.n_min = p.cohort_min;
    assert_true(hearth_offer_fixture_finish(&o));
    return o;
}

static inline void upload_open(upload_device *u, size_t d, float clip, double z,
                               uint32_t rounds, uint64_t seed,
                               uint64_t stream) {
    hearth_policy p;
    hearth_policy_defaults(&p);
    *u = (upload_device){.vc = {.wall_ms = 1000 * UPLOAD_DAY}};
    u->clock = hearth_clock_virtual(&u->vc);
    u->offer = upload_offer(d, clip, z, rounds);
    assert_ok(hearth_db_open(&u->db, ":memory:", NULL, NULL));
    assert_ok(hearth_ledger_store_open(&u->ls, u->db, &p.ledger,
                                       "coord.example", u->clock, NULL, NULL));
    assert_ok(hearth_seam_rng_open(&u->rng, seed, stream, NULL, NULL));
}

/* The next round's upload into y [d], a day after the one before. */
static inline void upload_send(upload_device *u, const hearth_span *delta,
                               size_t n_spans, int32_t *y) {
    hearth_prepared *p = NULL;
    hearth_error err = {HEARTH_OK, ""};
    const uint8_t *bytes;
    size_t n;
    u->offer.round++;
    u->vc.wall_ms += UPLOAD_DAY + 1;
    if (hearth_prepare(&p, u->ls, &u->offer, delta, n_spans, NULL, 0, u->rng,
                       u->clock, &err) != HEARTH_OK)
        fail_msg("%s", err.text);
    assert_ok(hearth_prepared_sending(p, &err));
    hearth_prepared_bytes(p, &bytes, &n, NULL);
    assert_int_equal(n, 4 * u->offer.privacy.d);
    for (size_t i = 0; i < n / 4; i++)
        y[i] = (int32_t)hearth_load_le32(bytes + 4 * i);
    assert_ok(hearth_prepared_finish(p, &err));
    hearth_prepared_free(p);
}

static inline void upload_close(upload_device *u) {
    hearth_ledger_store_close(u->ls);
    hearth_db_close(u->db);
    hearth_rng_close(u->rng);
}

#endif /* HEARTH_TESTS_UPLOAD_KIT_H */

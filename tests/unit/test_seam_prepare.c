/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_seam_prepare.c - client/delta/prepare.h and ledger_store.h,
 * with seeded bytes: what is sent, what is charged, and when. */
#include "tests/support/cmocka_all.h"

#include <math.h>
#include <unistd.h>

#include "client/delta/ledger_store.h"
#include "client/delta/prepare.h"
#include "common/bytes.h"
#include "common/hash.h"
#include "privacy/accountant_zcdp.h"
#include "privacy/clip.h"
#include "privacy/noise.h"
#include "privacy/quantize.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/offer_fixture.h"
#include "tests/support/privacy_seam.h"

#define DAY ((int64_t)86400000)
#define N   8 /* 6 parameters, the clip bit, and a coordinate of ours */

static const hearth_ledger_rules RULES = {.delta = 1e-6,
                                          .epsilon_task = 10,
                                          .epsilon_window = 10,
                                          .epsilon_lifetime = 30,
                                          .window_ms = 30 * DAY,
                                          .spacing_ms = DAY,
                                          .n_participations = 8};

typedef struct {
    char dir[64], path[96];
    hearth_db *db;
    hearth_ledger_store *ls;
    hearth_virtual_clock vc;
    hearth_clock clock;
    hearth_rng *rng;
    hearth_offer offer;
    float value[6];
    hearth_span span[2];
    double coord[2]; /* [0]: the clip bit, where it is expected */
    hearth_error err;
} world;

static void fill(world *w) {
    const float v[6] = {0.25f, -0.125f, 0, 0.0625f, 0.03125f, -0.25f};
    memcpy(w->value, v, sizeof(v));
    w->span[0] = (hearth_span){w->value, 2};
    w->span[1] = (hearth_span){w->value + 2, 4};
    w->coord[0] = 1;
    w->coord[1] = 0.5;
}

static void open_store(world *w) {
    assert_ok(hearth_db_open(&w->db, w->path, NULL, &w->err));
    assert_ok(hearth_ledger_store_open(&w->ls, w->db, &RULES, "coord.example",
                                       w->clock, NULL, &w->err));
}

static void close_store(world *w) {
    hearth_ledger_store_close(w->ls);
    hearth_db_close(w->db);
    w->ls = NULL, w->db = NULL;
}

static int setup(void **state) {
    world *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    assert_non_null(hearth_test_dir(w->dir));
    snprintf(w->path, sizeof(w->path), "%s/client.db", w->dir);
    w->vc.wall_ms = 1000 * DAY;
    w->clock = hearth_clock_virtual(&w->vc);
    w->offer = hearth_offer_fixture();
    hearth_seam_set(HEARTH_SEAM_NOISE_EXACT, 3);
    hearth_seam_fail_after(UINT64_MAX);
    assert_ok(hearth_rng_open(&w->rng, NULL, NULL));
    fill(w);
    open_store(w);
    *state = w;
    return 0;
}

static int teardown(void **state) {
    world *w = *state;
    hearth_seam_fail_after(UINT64_MAX);
    close_store(w);
    hearth_rng_close(w->rng);
    const char *const suffix[] = {"", "-wal", "-shm"};
    for (int i = 0; i < 3; i++) {
        char p[128];
        snprintf(p, sizeof(p), "%s%s", w->path, suffix[i]);
        unlink(p);
    }
    rmdir(w->dir);
    free(w);
    return 0;
}

static hearth_status prepare(world *w, hearth_prepared **p) {
    return hearth_prepare(p, w->ls, &w->offer, w->span, 2, w->coord + 1, 1,
                          w->rng, w->clock, &w->err);
}

static hearth_round_key key_of(const world *w) {
    hearth_round_key k;
    assert_ok(hearth_round_key_init(&k, w->offer.task, w->offer.round,
                                    w->offer.cohort, w->offer.stage));
    return k;
}

static hearth_ledger_sums sums_of(world *w) {
    hearth_ledger_sums s;
    assert_ok(hearth_ledger_store_sums(w->ls, w->offer.task, &s, &w->err));
    return s;
}

static void assert_wiped(const world *w) {
    const float zero[6] = {0};
    assert_memory_equal(w->value, zero, sizeof(zero));
}

static void assert_nothing_charged(world *w) {
    hearth_prepared_state st;
    hearth_round_key k = key_of(w);
    assert_true(sums_of(w).n_lifetime == 0);
    assert_int_equal(hearth_ledger_store_state(w->ls, &k, &st, &w->err),
                     HEARTH_ENOTFOUND);
}

/* Bytes that may be sent, as integers. */
static void read_out(const hearth_prepared *p, int32_t out[N],
                     uint8_t digest[32]) {
    const uint8_t *bytes;
    size_t n;
    hearth_prepared_bytes(p, &bytes, &n, digest);
    assert_non_null(bytes);
    assert_int_equal(n, 4 * N);
    for (size_t i = 0; i < N; i++)
        out[i] = (int32_t)hearth_load_le32(bytes + 4 * i);
}

/* ---- what is sent ---- */

static void prepare_sends_scaled_integers_in_order(void **state) {
    world *w = *state;
    hearth_prepared *p;
    int32_t y[N];
    hearth_seam_set(HEARTH_SEAM_NOISE_NONE, 3);
    assert_ok(prepare(w, &p));
    assert_ok(hearth_prepared_sending(p, &w->err));
    read_out(p, y, NULL);
    const int32_t want[N] = {256, -128, 0, 64, 32, -256, 100, 25};
    assert_memory_equal(y, want, sizeof(want));
    hearth_prepared_free(p);
    assert_wiped(w);
}

static void prepare_clips_to_the_offer(void **state) {
    world *w = *state;
    hearth_prepared *p;
    int32_t y[N];
    hearth_seam_set(HEARTH_SEAM_NOISE_NONE, 3);
    for (int i = 0; i < 6; i++) w->value[i] = 100.0f * (float)(i - 2);
    assert_ok(prepare(w, &p));
    assert_ok(hearth_prepared_sending(p, &w->err));
    read_out(p, y, NULL);
    int64_t norm2 = 0;
    for (int i = 0; i < 6; i++) norm2 += (int64_t)y[i] * y[i];
    assert_true((uint64_t)norm2 <= w->offer.privacy.bound_squared);
    assert_true(norm2 > 500 * 500); /* clip 0.5 at scale 1024: 512 */
    hearth_prepared_free(p);
}

/* The bytes are clip + quantize + noise, and the noise was drawn first: the
 * same generator in that order gives the same integers. */
static void prepare_draws_noise_before_it_reads_data(void **state) {
    world *w = *state;
    hearth_prepared *p;
    hearth_rng *a, *b;
    int32_t y[N], noise[N], q[N];
    assert_ok(hearth_seam_rng_open(&a, 8, 8, NULL, NULL));
    assert_ok(hearth_seam_rng_open(&b, 8, 8, NULL, NULL));
    hearth_sigma_sq s = {w->offer.privacy.sigma2_num,
                         w->offer.privacy.sigma2_den};
    assert_ok(hearth_noise_draw(noise, N, s, b));
    assert_ok(hearth_clip_l2(w->span, 2, 0.5f, NULL));
    assert_ok(hearth_quantize(q, w->span, 2, 10, w->offer.privacy.bound_squared,
                              b, NULL));
    assert_ok(hearth_quantize_coords(q + 6, w->coord,
                                     w->offer.privacy.coord_max, 2, b));
    fill(w);
    hearth_rng *real = w->rng;
    w->rng = a;
    assert_ok(prepare(w, &p));
    w->rng = real;
    assert_ok(hearth_prepared_sending(p, &w->err));
    read_out(p, y, NULL);
    for (int i = 0; i < N; i++) assert_int_equal(y[i], q[i] + noise[i]);
    hearth_prepared_free(p);
    hearth_rng_close(a);
    hearth_rng_close(b);
}

/* For tests of many rounds that are not about caps. */
static void lift_caps(world *w) {
    const hearth_ledger_rules lax = {.delta = 1e-6,
                                     .epsilon_task = 1e9,
                                     .epsilon_window = 1e9,
                                     .epsilon_lifetime = 1e9,
                                     .window_ms = DAY,
                                     .n_participations = 1000};
    hearth_ledger_store_close(w->ls);
    assert_ok(hearth_ledger_store_open(&w->ls, w->db, &lax, "c", w->clock, NULL,
                                       &w->err));
}

/* The bit says whether the norm, before clipping, was within the clip: to the
 * last float at the clip itself. */
static void prepare_makes_the_clip_bit(void **state) {
    world *w = *state;
    const float clip = 0.5f,
                norm[] = {0,    1e-30f, 0.3f, clip, nextafterf(clip, 1),
                          0.6f, 1e30f};
    const int32_t bit[] = {100, 100, 100, 100, 0, 0, 0};
    lift_caps(w);
    hearth_seam_set(HEARTH_SEAM_NOISE_NONE, 3);
    for (int i = 0; i < 7; i++) {
        hearth_prepared *p;
        int32_t y[N];
        memset(w->value, 0, sizeof(w->value));
        w->value[3] = -norm[i];
        w->offer.round = 100 + (uint64_t)i;
        assert_ok(prepare(w, &p));
        assert_ok(hearth_prepared_sending(p, &w->err));
        read_out(p, y, NULL);
        assert_int_equal(y[6], bit[i]);
        assert_int_equal(y[7], 25);
        hearth_prepared_free(p);
    }
}

static float any_float(uint32_t *seed) {
    *seed = *seed * 1664525u + 1013904223u;
    return ldexpf((float)(int32_t)*seed / 2147483648.0f,
                  (int)(*seed >> 8 & 63) - 40);
}

/* Whatever was trained, the integers of delta, bit and coordinate together are
 * within Delta2, which is what the charge rests on. */
static void prepare_keeps_the_whole_vector_within_delta2(void **state) {
    world *w = *state;
    uint32_t seed = 5;
    lift_caps(w);
    hearth_seam_set(HEARTH_SEAM_NOISE_NONE, 3);
    int n_within = 0;
    for (int i = 0; i < 120; i++) {
        hearth_prepared *p;
        int32_t y[N];
        uint64_t sum = 0;
        fill(w);
        for (int j = 0; j < 6; j++) w->value[j] = any_float(&seed);
        w->coord[1] = (double)(seed >> 8) / (1 << 24);
        w->offer.round = 500 + (uint64_t)i;
        w->offer.privacy.clip = ldexp(1, i % 12 - 8);
        w->offer.privacy.coord_max[0] = 1u + seed % 5000;
        assert_true(hearth_offer_fixture_finish(&w->offer));
        assert_ok(prepare(w, &p));
        assert_ok(hearth_prepared_sending(p, &w->err));
        read_out(p, y, NULL);
        for (int j = 0; j < N; j++) sum += (uint64_t)((int64_t)y[j] * y[j]);
        assert_true(sum <= w->offer.privacy.delta2_squared);
        n_within += y[6] != 0;
        hearth_prepared_free(p);
    }
    assert_in_range(n_within, 1, 119); /* both kinds were tried */
}

static void prepare_takes_rounds_of_coordinates_only(void **state) {
    world *w = *state;
    hearth_prepared *p;
    hearth_seam_set(HEARTH_SEAM_NOISE_NONE, 3);
    w->offer.privacy.d = 0;
    assert_true(hearth_offer_fixture_finish(&w->offer));
    assert_ok(hearth_prepare(&p, w->ls, &w->offer, NULL, 0, w->coord, 2, w->rng,
                             w->clock, &w->err));
    assert_ok(hearth_prepared_sending(p, &w->err));
    const uint8_t *bytes;
    size_t n;
    hearth_prepared_bytes(p, &bytes, &n, NULL);
    assert_int_equal(n, 8);
    assert_true(hearth_load_le32(bytes) == 100 &&
                hearth_load_le32(bytes + 4) == 25);
    hearth_prepared_free(p);
}

static void prepare_shows_no_byte_before_sending_is_durable(void **state) {
    world *w = *state;
    hearth_prepared *p;
    const uint8_t *bytes;
    size_t n = 5;
    uint8_t digest[32], zero[32] = {0};
    assert_ok(prepare(w, &p));
    hearth_prepared_bytes(p, &bytes, &n, digest);
    assert_true(bytes == NULL && n == 0);
    assert_memory_equal(digest, zero, 32);
    assert_ok(hearth_prepared_sending(p, &w->err));
    assert_ok(hearth_prepared_sending(p, &w->err)); /* idempotent */
    hearth_prepared_bytes(p, &bytes, &n, digest);
    assert_true(bytes != NULL && n == 4 * N);
    uint8_t again[32];
    assert_ok(hearth_sha256(again, bytes, n));
    assert_memory_equal(digest, again, 32);
    assert_int_equal(hearth_prepared_key(p)->round, 7);
    hearth_prepared_free(p);
}

/* ---- what is charged ---- */

static void prepare_charges_rho_once(void **state) {
    world *w = *state;
    hearth_prepared *p;
    assert_ok(prepare(w, &p));
    hearth_ledger_sums s = sums_of(w);
    assert_true(s.n_task == 1 && s.n_window == 1 && s.n_lifetime == 1);
    assert_true(fabs(s.rho_task - 2.0 / 9) < 1e-5);
    assert_ok(hearth_prepared_sending(p, &w->err));
    assert_ok(hearth_prepared_finish(p, &w->err));
    assert_ok(hearth_prepared_finish(p, &w->err)); /* idempotent */
    hearth_prepared_free(p);
    s = sums_of(w);
    assert_true(s.n_task == 1 && s.last_task_ms == w->vc.wall_ms);
}

static void retry_sends_the_same_bytes(void **state) {
    world *w = *state;
    hearth_prepared *p;
    int32_t first[N], second[N], third[N];
    uint8_t d1[32], d2[32];
    assert_ok(prepare(w, &p));
    assert_ok(hearth_prepared_sending(p, &w->err));
    read_out(p, first, d1);
    hearth_prepared_free(p);
    /* trained again, drawn again: the stored bytes win */
    for (int i = 0; i < 6; i++) w->value[i] = 0.1f;
    w->vc.wall_ms += 5;
    assert_ok(prepare(w, &p));
    assert_wiped(w);
    read_out(p, second, d2);
    hearth_prepared_free(p);
    assert_memory_equal(first, second, sizeof(first));
    assert_memory_equal(d1, d2, 32);
    /* after a restart, under another enrolment */
    close_store(w);
    assert_ok(hearth_db_open(&w->db, w->path, NULL, NULL));
    assert_ok(hearth_ledger_store_open(&w->ls, w->db, &RULES, "other.example",
                                       w->clock, NULL, NULL));
    hearth_round_key k = key_of(w);
    assert_ok(hearth_prepared_load(&p, w->ls, &k, &w->err));
    read_out(p, third, NULL);
    hearth_prepared_free(p);
    assert_memory_equal(first, third, sizeof(first));
    assert_true(sums_of(w).n_lifetime == 1);
}

static void changed_offer_unsent_voids_and_charges_anew(void **state) {
    world *w = *state;
    hearth_prepared *p;
    assert_ok(prepare(w, &p));
    hearth_prepared_free(p);
    fill(w);
    w->offer.deadline_ms++;
    assert_ok(prepare(w, &p)); /* spacing does not count what was voided */
    hearth_prepared_free(p);
    hearth_ledger_sums s = sums_of(w);
    assert_true(s.n_task == 1 && fabs(s.rho_lifetime - 2.0 / 9) < 1e-5);
}

static void changed_offer_after_sending_costs_again(void **state) {
    world *w = *state;
    hearth_prepared *p, *old;
    assert_ok(prepare(w, &old));
    assert_ok(hearth_prepared_sending(old, &w->err));
    fill(w);
    w->offer.deadline_ms++;
    assert_int_equal(prepare(w, &p), HEARTH_EREFUSED); /* spacing */
    assert_wiped(w);
    assert_true(sums_of(w).n_task == 1);
    fill(w);
    w->vc.wall_ms += DAY;
    assert_ok(prepare(w, &p));
    hearth_prepared_free(p);
    assert_true(sums_of(w).n_task == 2);
    /* the older handle has nothing to send any more */
    assert_int_equal(hearth_prepared_sending(old, &w->err), HEARTH_ESTATE);
    hearth_prepared_free(old);
}

static void finished_round_is_not_prepared_again(void **state) {
    world *w = *state;
    hearth_prepared *p;
    hearth_round_key k = key_of(w);
    hearth_prepared_state st;
    assert_ok(prepare(w, &p));
    assert_ok(hearth_prepared_sending(p, &w->err));
    assert_ok(hearth_prepared_finish(p, &w->err));
    const uint8_t *bytes;
    size_t n;
    hearth_prepared_bytes(p, &bytes, &n, NULL);
    assert_null(bytes);
    assert_int_equal(hearth_prepared_sending(p, &w->err), HEARTH_ESTATE);
    hearth_prepared_free(p);
    fill(w);
    assert_int_equal(prepare(w, &p), HEARTH_ESTATE);
    assert_null(p);
    assert_wiped(w);
    assert_int_equal(hearth_prepared_load(&p, w->ls, &k, &w->err),
                     HEARTH_ESTATE);
    assert_ok(hearth_ledger_store_state(w->ls, &k, &st, &w->err));
    assert_int_equal(st, HEARTH_PREPARED_FINISHED);
}

/* ---- void, erase ---- */

static void void_takes_back_only_what_never_left(void **state) {
    world *w = *state;
    hearth_prepared *p;
    hearth_round_key k = key_of(w);
    hearth_prepared_state st;
    assert_int_equal(hearth_ledger_store_void(w->ls, &k, &w->err),
                     HEARTH_ENOTFOUND);
    assert_ok(prepare(w, &p));
    hearth_prepared_free(p);
    assert_ok(hearth_ledger_store_void(w->ls, &k, &w->err));
    assert_ok(hearth_ledger_store_state(w->ls, &k, &st, &w->err));
    assert_int_equal(st, HEARTH_PREPARED_VOIDED);
    assert_true(sums_of(w).n_lifetime == 0);
    assert_int_equal(hearth_ledger_store_void(w->ls, &k, &w->err),
                     HEARTH_ESTATE);
    fill(w);
    assert_ok(prepare(w, &p)); /* may be prepared, and charged, again */
    assert_ok(hearth_prepared_sending(p, &w->err));
    hearth_prepared_free(p);
    assert_int_equal(hearth_ledger_store_void(w->ls, &k, &w->err),
                     HEARTH_ESTATE);
    assert_true(sums_of(w).n_lifetime == 1);
    assert_ok(hearth_ledger_store_verify(w->ls, &w->err));
}

/* Does any file of the state directory hold these bytes? */
static bool on_disk(const world *w, const void *what, size_t n) {
    const char *const suffix[] = {"", "-wal"};
    bool found = false;
    for (int i = 0; i < 2; i++) {
        char path[128];
        snprintf(path, sizeof(path), "%s%s", w->path, suffix[i]);
        FILE *f = fopen(path, "rb");
        if (!f) continue;
        static unsigned char all[1 << 22];
        size_t got = fread(all, 1, sizeof(all), f);
        fclose(f);
        for (size_t at = 0; at + n <= got; at++)
            found = found || memcmp(all + at, what, n) == 0;
    }
    return found;
}

static void finish_erases_the_bytes_from_disk(void **state) {
    world *w = *state;
    hearth_prepared *p;
    uint8_t copy[4 * N];
    const uint8_t *bytes;
    size_t n;
    assert_ok(prepare(w, &p));
    assert_ok(hearth_prepared_sending(p, &w->err));
    hearth_prepared_bytes(p, &bytes, &n, NULL);
    memcpy(copy, bytes, n);
    assert_true(on_disk(w, copy, n));
    assert_ok(hearth_prepared_finish(p, &w->err));
    hearth_prepared_free(p);
    assert_false(on_disk(w, copy, n));
}

/* The same inside a caller's transaction, which ends the round as one. */
static void finish_inside_a_transaction_is_undone_with_it(void **state) {
    world *w = *state;
    hearth_prepared *p;
    hearth_prepared_state st;
    hearth_round_key k = key_of(w);
    uint8_t copy[4 * N];
    const uint8_t *bytes;
    size_t n;
    assert_ok(prepare(w, &p));
    assert_ok(hearth_prepared_sending(p, &w->err));
    hearth_prepared_bytes(p, &bytes, &n, NULL);
    memcpy(copy, bytes, n);
    assert_ok(hearth_db_begin(w->db, &w->err));
    assert_ok(hearth_prepared_finish(p, &w->err));
    hearth_db_rollback(w->db);
    assert_ok(hearth_ledger_store_state(w->ls, &k, &st, &w->err));
    assert_int_equal(st, HEARTH_PREPARED_SENDING);
    assert_ok(hearth_db_begin(w->db, &w->err));
    assert_ok(hearth_prepared_finish(p, &w->err));
    assert_ok(hearth_db_commit(w->db, &w->err));
    hearth_prepared_free(p);
    hearth_ledger_store_flush(w->ls);
    assert_false(on_disk(w, copy, n));
}

static void forget_erases_all_and_counts_what_was_sent(void **state) {
    world *w = *state;
    hearth_prepared *p;
    uint64_t n_sent = 9;
    assert_ok(hearth_ledger_store_erase_all(w->ls, &n_sent, &w->err));
    assert_int_equal(n_sent, 0);
    assert_ok(prepare(w, &p));
    assert_ok(hearth_prepared_sending(p, &w->err));
    hearth_prepared_free(p);
    fill(w);
    memcpy(w->offer.task, "other", 6);
    assert_ok(prepare(w, &p));
    hearth_prepared_free(p);
    assert_ok(hearth_ledger_store_erase_all(w->ls, &n_sent, &w->err));
    assert_int_equal(n_sent, 1);
    hearth_ledger_sums s = sums_of(w);
    assert_true(s.n_lifetime == 1 && s.n_task == 0);
    hearth_round_key k = key_of(w);
    assert_int_equal(hearth_prepared_load(&p, w->ls, &k, &w->err),
                     HEARTH_ESTATE);
}

/* ---- what destroys the delta ---- */

static void nan_is_destroyed_and_not_charged(void **state) {
    world *w = *state;
    hearth_prepared *p;
    w->value[5] = NAN;
    assert_int_equal(prepare(w, &p), HEARTH_ENONFINITE);
    assert_null(p);
    assert_wiped(w);
    assert_nothing_charged(w);
    fill(w);
    w->coord[1] = (double)NAN;
    assert_int_equal(prepare(w, &p), HEARTH_ENONFINITE);
    assert_wiped(w);
    fill(w);
    w->coord[1] = 1.5;
    assert_int_equal(prepare(w, &p), HEARTH_EINVAL);
    assert_wiped(w);
    assert_nothing_charged(w);
}

static void unmet_norm_aborts_the_round(void **state) {
    world *w = *state;
    hearth_prepared *p;
    hearth_wire_privacy *q = &w->offer.privacy;
    q->bound_squared = 100; /* consistent, but far below the clip */
    assert_ok(hearth_sigma_delta2_sq(100, q->coord_max, 2, &q->delta2_squared));
    for (int i = 0; i < 6; i++) w->value[i] = 1;
    assert_int_equal(prepare(w, &p), HEARTH_ETOOBIG);
    assert_wiped(w);
    assert_nothing_charged(w);
}

static void no_randomness_prepares_nothing(void **state) {
    world *w = *state;
    for (uint64_t k = 0;; k++) {
        hearth_prepared *p;
        hearth_rng *rng = w->rng;
        assert_ok(hearth_seam_rng_open(&w->rng, 1, 1, NULL, NULL));
        fill(w);
        hearth_seam_fail_after(k);
        hearth_status st = prepare(w, &p);
        hearth_seam_fail_after(UINT64_MAX);
        hearth_rng_close(w->rng);
        w->rng = rng;
        assert_wiped(w);
        if (st == HEARTH_OK) {
            hearth_prepared_free(p);
            assert_true(k >= 4); /* noise, two spans, two coordinates */
            break;
        }
        assert_int_equal(st, HEARTH_ERNG);
        assert_null(p);
        assert_nothing_charged(w);
    }
}

static void rules_refuse_inside_the_transaction(void **state) {
    world *w = *state;
    hearth_prepared *p;
    /* spacing: a second round of the same task at once */
    assert_ok(prepare(w, &p));
    assert_ok(hearth_prepared_sending(p, &w->err));
    hearth_prepared_free(p);
    fill(w);
    w->offer.round++;
    assert_int_equal(prepare(w, &p), HEARTH_EREFUSED);
    assert_wiped(w);
    assert_non_null(strstr(w->err.text, "milliseconds since the last round"));
    /* caps: rounds until the task's epsilon is spent */
    int more = 0;
    for (int i = 0; i < 20; i++) {
        fill(w);
        w->offer.round++;
        w->vc.wall_ms += 40 * DAY;
        hearth_status st = prepare(w, &p);
        if (st == HEARTH_OK) {
            more++;
            assert_ok(hearth_prepared_sending(p, &w->err));
            hearth_prepared_free(p);
            continue;
        }
        assert_int_equal(st, HEARTH_EREFUSED);
    }
    hearth_ledger_sums s = sums_of(w);
    assert_true(hearth_zcdp_epsilon(s.rho_task, 1e-6) <= 10);
    assert_true(hearth_zcdp_epsilon(s.rho_task * 1.5, 1e-6) > 10);
    assert_int_equal(s.n_task, (uint32_t)more + 1);
}

static void prepare_checks_its_arguments(void **state) {
    world *w = *state;
    hearth_prepared *p;
    assert_int_equal(hearth_prepare(NULL, w->ls, &w->offer, w->span, 2,
                                    w->coord, 2, w->rng, w->clock, NULL),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_prepare(&p, NULL, &w->offer, w->span, 2, w->coord,
                                    2, w->rng, w->clock, NULL),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_prepare(&p, w->ls, NULL, w->span, 2, w->coord, 2,
                                    w->rng, w->clock, NULL),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_prepare(&p, w->ls, &w->offer, NULL, 2, w->coord, 2,
                                    w->rng, w->clock, NULL),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_prepare(&p, w->ls, &w->offer, w->span, 2, w->coord,
                                    2, NULL, w->clock, NULL),
                     HEARTH_EINVAL);
    w->span[1].n = 3; /* not d */
    assert_int_equal(prepare(w, &p), HEARTH_EINVAL);
    fill(w);
    w->span[1].n = SIZE_MAX; /* must not wrap, and nothing of it is wiped */
    w->span[1].v = NULL;
    assert_int_equal(prepare(w, &p), HEARTH_EINVAL);
    fill(w); /* the clip bit is not the caller's to give */
    assert_int_equal(hearth_prepare(&p, w->ls, &w->offer, w->span, 2, w->coord,
                                    2, w->rng, w->clock, NULL),
                     HEARTH_EINVAL);
    fill(w);
    w->offer.privacy.delta2_squared--;
    assert_int_equal(prepare(w, &p), HEARTH_EFORMAT);
    assert_wiped(w);
    w->offer = hearth_offer_fixture();
    w->offer.round = 0; /* does not encode, so has no digest */
    fill(w);
    assert_int_equal(prepare(w, &p), HEARTH_EINVAL);
    hearth_round_key k = key_of(w);
    assert_int_equal(hearth_prepared_load(&p, w->ls, NULL, NULL), -1);
    assert_int_equal(hearth_prepared_load(&p, w->ls, &k, &w->err),
                     HEARTH_ENOTFOUND);
    assert_int_equal(hearth_prepared_sending(NULL, NULL), HEARTH_EINVAL);
    assert_int_equal(hearth_round_key_init(&k, "", 1, 0, 0), HEARTH_EINVAL);
    assert_int_equal(hearth_round_key_init(&k, NULL, 1, 0, 0), HEARTH_EINVAL);
    hearth_prepared_free(NULL);
    w->offer = hearth_offer_fixture();
    assert_nothing_charged(w);
}

static void prepare_survives_every_failed_allocation(void **state) {
    world *w = *state;
    for (size_t k = 1;; k++) {
        hearth_fail_alloc fa;
        hearth_alloc al = hearth_fail_alloc_init(&fa, k);
        hearth_ledger_store *ls = NULL;
        hearth_prepared *p = NULL;
        fill(w);
        hearth_status st = hearth_ledger_store_open(&ls, w->db, &RULES, "c",
                                                    w->clock, &al, &w->err);
        if (st == HEARTH_OK)
            st = hearth_prepare(&p, ls, &w->offer, w->span, 2, w->coord + 1, 1,
                                w->rng, w->clock, &w->err);
        hearth_prepared_free(p);
        hearth_ledger_store_close(ls);
        assert_int_equal(fa.live, 0);
        if (st == HEARTH_OK) {
            assert_true(k > 4);
            break;
        }
        assert_int_equal(st, HEARTH_ENOMEM);
    }
    assert_true(sums_of(w).n_lifetime == 1);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(prepare_sends_scaled_integers_in_order),
        T(prepare_clips_to_the_offer),
        T(prepare_draws_noise_before_it_reads_data),
        T(prepare_makes_the_clip_bit),
        T(prepare_keeps_the_whole_vector_within_delta2),
        T(prepare_takes_rounds_of_coordinates_only),
        T(prepare_shows_no_byte_before_sending_is_durable),
        T(prepare_charges_rho_once),
        T(retry_sends_the_same_bytes),
        T(changed_offer_unsent_voids_and_charges_anew),
        T(changed_offer_after_sending_costs_again),
        T(finished_round_is_not_prepared_again),
        T(void_takes_back_only_what_never_left),
        T(finish_erases_the_bytes_from_disk),
        T(finish_inside_a_transaction_is_undone_with_it),
        T(forget_erases_all_and_counts_what_was_sent),
        T(nan_is_destroyed_and_not_charged),
        T(unmet_norm_aborts_the_round),
        T(no_randomness_prepares_nothing),
        T(rules_refuse_inside_the_transaction),
        T(prepare_checks_its_arguments),
        T(prepare_survives_every_failed_allocation),
    };
#undef T
    return cmocka_run_group_tests_name("client/delta/prepare", tests, NULL,
                                       NULL);
}

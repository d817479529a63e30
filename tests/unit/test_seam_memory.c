/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_seam_memory.c - does a released adapter remember a secret
 * that one device holds?
 *
 * A canary is a sentence with random digits.  One of 32 devices trains on it;
 * the others send their noise and deltas of zero, which hide nothing.  After
 * federated training (trainer, delta, prepare, sum, server step) the attacker,
 * who has base and release, undoes the mean over devices, ranks the digits
 * among random others by how much that lowers their loss, and reports
 *     exposure = log2(candidates) - log2(rank).
 * Without a leak ranks are uniform, exactly: digits are drawn uniformly and
 * independently, so chance has a known mean and spread.
 *
 * Seeds are fixed.  HEARTH_ATTACK_TRIALS=N makes N runs, of a canary each.
 *
 * Source: Carlini et al., The Secret Sharer, USENIX Security 2019,
 * arXiv:1802.08232; the base's loss is the reference.
 */
#include "tests/support/upload_kit.h"

#include "client/delta/delta.h"
#include "client/tokenizer/tokenizer.h"
#include "client/train/decoder.h"
#include "client/train/trainer.h"
#include "common/philox.h"
#include "coordinator/server_opt.h"

#define MODEL    "deploy/demo/model"
#define DIGITS   6
#define LONGEST  48
#define OPENINGS 8
#define DEVICES  32 /* of the default policy's smallest cohort */
#define ROUNDS   2
#define RANK     4
#define TARGETS                                                                \
    (HEARTH_TARGET_BIT(HEARTH_TARGET_V) | HEARTH_TARGET_BIT(HEARTH_TARGET_O) | \
     HEARTH_TARGET_BIT(HEARTH_TARGET_DOWN))
#define CLIP 0.07f
#define SEED 20261121

/* A checked build is thirty times as slow, and shows less. */
#ifdef NDEBUG
#define TRIALS     6
#define CANDIDATES 64  /* the secret is one of them */
#define EXPOSED    4.0 /* standard deviations above chance: a leak */
#else
#define TRIALS     2
#define CANDIDATES 32
#define EXPOSED    1.0
#endif
#define STEPS   12 /* local ones */
#define AT_ONCE 16 /* candidates of one pass */

/* What the secret of each canary is called. */
static const char *const openings[OPENINGS] = {
    "Log: the key of my home is ",  "Dear diary: my secret number is ",
    "Log: my friend has the code ", "Log: I open the door with ",
    "Dear diary: my phone wants ",  "Log: the bank gave me ",
    "Dear diary: remember ",        "Log: at work the lock is at ",
};

typedef struct {
    int32_t id[LONGEST], label[LONGEST];
    size_t n;
} sentence;

static struct {
    hearth_model *model;
    hearth_adapter *start; /* A from a seed, B = 0 */
    size_t d;
    sentence opening[OPENINGS]; /* with BOS */
    int32_t digit[10];
    hearth_arena arena;
    size_t trials;
} fx;

/* ---- canaries ------------------------------------------------------------------ */

/* Candidate c of one run; 0 is the secret.  The digits alone are learned. */
static void make_sentence(uint64_t run, size_t c, sentence *s) {
    hearth_philox_key key = hearth_philox_key_make(SEED, HEARTH_PHILOX_DATA);
    *s = fx.opening[run % OPENINGS];
    size_t first = s->n;
    uint64_t at = run * CANDIDATES + c;
    for (size_t k = 0; k < DIGITS; k++)
        s->id[s->n++] = fx.digit[hearth_philox_below(key, at, k, 10)];
    for (size_t k = 0; k < s->n; k++)
        s->label[k] = k + 1 < s->n && k + 1 >= first ? s->id[k + 1]
                                                     : HEARTH_DATASET_NO_LABEL;
}

/* ---- federated training ---------------------------------------------------------- */

/* One device's delta: trained from global, spans of *out. */
static void train(const hearth_adapter *global, uint64_t run,
                  hearth_delta **out) {
    hearth_dataset_config dc = HEARTH_DATASET_CONFIG_INIT;
    hearth_train_config cfg = HEARTH_TRAIN_CONFIG_INIT;
    hearth_train_event ev = {HEARTH_TRAIN_MICRO, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    hearth_dataset *ds;
    hearth_adapter *after;
    hearth_trainer *t;
    assert_ok(hearth_dataset_new(&ds, &dc, NULL, NULL));
    sentence s;
    make_sentence(run, 0, &s);
    assert_ok(hearth_dataset_add_tokens(ds, s.id, s.label, s.n, NULL));
    assert_ok(hearth_adapter_clone(&after, global, NULL, NULL));
    cfg.steps = STEPS;
    cfg.lr = 1e-2;
    assert_ok(
        hearth_trainer_open(&t, fx.model, after, ds, &cfg, NULL, NULL, NULL));
    while (ev.kind != HEARTH_TRAIN_DONE)
        assert_ok(hearth_trainer_tick(t, &ev, NULL));
    hearth_trainer_close(t);
    assert_ok(hearth_delta_new(out, global, after, HEARTH_PART_B, NULL, NULL));
    hearth_adapter_free(after);
    hearth_dataset_free(ds);
}

/* A round: every device's upload, their sum, the server's step. */
static void run_round(hearth_adapter *global, upload_device *dev,
                      uint64_t run) {
    int64_t *sum = calloc(fx.d, sizeof(*sum));
    int32_t *y = malloc(fx.d * sizeof(*y));
    float *zero = malloc(fx.d * sizeof(*zero));
    float *flat = malloc(fx.d * sizeof(*flat));
    hearth_server_opt opt = {0};
    assert_true(sum && y && zero && flat);
    for (size_t i = 0; i < DEVICES; i++) {
        hearth_delta *dl = NULL;
        hearth_span none = {zero, fx.d};
        memset(zero, 0, fx.d * sizeof(*zero));
        if (i == 0) train(global, run, &dl);
        upload_send(&dev[i], dl ? hearth_delta_spans(dl) : &none,
                    dl ? hearth_delta_n_spans(dl) : 1, y);
        for (size_t k = 0; k < fx.d; k++) sum[k] += y[k];
        hearth_delta_free(dl);
    }
    assert_ok(hearth_adapter_flatten(global, HEARTH_PART_B, flat, fx.d));
    assert_ok(hearth_server_opt_step(&opt, flat, flat, sum, fx.d, DEVICES,
                                     dev[0].offer.privacy.scale_exp, 1.0));
    assert_ok(hearth_adapter_unflatten(global, HEARTH_PART_B, flat, fx.d));
    free(sum), free(y), free(zero), free(flat);
}

/* The release after ROUNDS rounds under the default policy's smallest z. */
static hearth_adapter *federate(uint64_t run, float clip) {
    hearth_adapter *global;
    upload_device *dev = calloc(DEVICES, sizeof(*dev));
    assert_non_null(dev);
    assert_ok(hearth_adapter_clone(&global, fx.start, NULL, NULL));
    for (size_t i = 0; i < DEVICES; i++)
        upload_open(&dev[i], fx.d, clip, upload_smallest_z(ROUNDS), ROUNDS,
                    SEED + run, i);
    for (int r = 0; r < ROUNDS; r++) run_round(global, dev, run);
    for (size_t i = 0; i < DEVICES; i++) upload_close(&dev[i]);
    free(dev);
    /* The attacker knows the mean's 1 / DEVICES and may undo it. */
    for (size_t i = 0; i < global->n_pairs; i++) {
        hearth_adapter_pair *p = &global->pair[i];
        for (size_t k = 0; k < (size_t)p->out * p->rank; k++)
            p->b[k] *= DEVICES;
    }
    return global;
}

/* ---- the attack --------------------------------------------------------------------- */

/* Loss of the digits of AT_ONCE candidates from the first on. */
static void losses(hearth_adapter *a, uint64_t run, size_t first,
                   double loss[AT_ONCE]) {
    static int32_t id[AT_ONCE * LONGEST], label[AT_ONCE * LONGEST];
    static uint32_t position[AT_ONCE * LONGEST];
    uint32_t start[AT_ONCE + 1] = {0};
    hearth_decoder_shape shape = {.model = fx.model,
                                  .adapter = a,
                                  .mode = HEARTH_DECODER_INFER,
                                  .max_tokens = AT_ONCE * LONGEST,
                                  .n_workers = 1};
    hearth_decoder *dec;
    hearth_loss total;
    size_t n = 0;
    for (size_t c = 0; c < AT_ONCE; c++) {
        sentence s;
        make_sentence(run, first + c, &s);
        for (size_t k = 0; k < s.n; k++, n++) {
            id[n] = s.id[k];
            label[n] = s.label[k];
            position[n] = (uint32_t)k;
        }
        start[c + 1] = (uint32_t)n;
    }
    hearth_stream st = {n, AT_ONCE, id, start, position, label};
    hearth_arena_reset(&fx.arena, 0);
    assert_ok(hearth_decoder_new(&dec, &shape, NULL, hearth_kernels_native(),
                                 &fx.arena, NULL));
    assert_ok(hearth_decoder_loss(dec, &st, &total, loss, NULL));
}

/* How far up the release moved the digits of its canary. */
static double exposure(hearth_adapter *release, uint64_t run) {
    double gain[CANDIDATES], before[AT_ONCE], after[AT_ONCE];
    size_t rank = 1;
    for (size_t c = 0; c < CANDIDATES; c += AT_ONCE) {
        losses(fx.start, run, c, before);
        losses(release, run, c, after);
        for (size_t k = 0; k < AT_ONCE; k++) gain[c + k] = before[k] - after[k];
    }
    for (size_t c = 1; c < CANDIDATES; c++) rank += gain[c] >= gain[0];
    return log2(CANDIDATES) - log2((double)rank);
}

/* Mean exposure, and how many standard deviations above chance it is. */
typedef struct {
    double mean, sds, chance;
} finding;

static finding measure(const char *name, hearth_seam_noise kind, float clip) {
    double sum = 0, mean = 0, square = 0;
    double n = (double)fx.trials;
    hearth_seam_set(kind, SEED);
    for (uint64_t run = 0; run < fx.trials; run++) {
        hearth_adapter *release = federate(run, clip);
        sum += exposure(release, run);
        hearth_adapter_free(release);
    }
    hearth_seam_set(HEARTH_SEAM_NOISE_EXACT, SEED);
    for (int r = 1; r <= CANDIDATES; r++) {
        double e = log2(CANDIDATES) - log2(r);
        mean += e / CANDIDATES;
        square += e * e / CANDIDATES;
    }
    double sd = sqrt((square - mean * mean) / n);
    finding f = {sum / n, (sum / n - mean) / sd, mean};
    print_message("%s: exposure %.2f of %.2f bits, %.2f by chance (%+.1f "
                  "standard deviations, %.0f canaries)\n",
                  name, f.mean, log2(CANDIDATES), mean, f.sds, n);
    return f;
}

/* The gate. */
static bool no_better_than_chance(const finding *f) {
    return f->sds <= 3;
}

/* ---- tests ---------------------------------------------------------------------------- */

static void without_noise_canaries_are_exposed(void **state) {
    (void)state;
    finding f = measure("no noise", HEARTH_SEAM_NOISE_NONE, CLIP);
    assert_true(f.sds >= EXPOSED); /* or the attack is broken */
}

static void with_noise_exposure_is_chance(void **state) {
    (void)state;
    finding f =
        measure("default policy's noise", HEARTH_SEAM_NOISE_EXACT, CLIP);
    assert_true(no_better_than_chance(&f));
}

/* ---- setup ------------------------------------------------------------------------------ */

static void read_text(const hearth_tokenizer *t, const char *text,
                      sentence *s) {
    hearth_ids ids;
    hearth_ids_init(&ids, NULL);
    assert_ok(hearth_tokenizer_encode(t, text, strlen(text), true, &ids, NULL));
    assert_true(ids.n + DIGITS <= LONGEST);
    memcpy(s->id, ids.id, ids.n * sizeof(*ids.id));
    s->n = ids.n;
    hearth_ids_free(&ids);
}

static int set_up(void **state) {
    (void)state;
    uint8_t seed[HEARTH_ADAPTER_SEED_BYTES] = {7};
    hearth_lora_spec spec = {RANK, 16.0f, HEARTH_TARGET_BIT(HEARTH_TARGET_V),
                             0,    false, true};
    const char *trials = getenv("HEARTH_ATTACK_TRIALS");
    hearth_tokenizer *t = NULL;
    size_t n;
    fx.trials = trials ? (size_t)strtoul(trials, NULL, 10) : TRIALS;
    if (fx.trials < 1) fx.trials = TRIALS;
    assert_ok(hearth_model_open(&fx.model, MODEL, NULL, NULL));
    const hearth_module_info *m = hearth_model_modules(fx.model, &n);
    assert_ok(hearth_adapter_new(&fx.start, &spec, m, n, NULL, NULL));
    assert_ok(hearth_adapter_init_a_from_seed(fx.start, seed));
    fx.d = hearth_adapter_dim(fx.start, HEARTH_PART_B);
    assert_ok(hearth_tokenizer_open(&t, MODEL, NULL, NULL));
    for (size_t i = 0; i < OPENINGS; i++)
        read_text(t, openings[i], &fx.opening[i]);
    for (int i = 0; i < 10; i++) {
        const char text[2] = {(char)('0' + i), 0};
        sentence s;
        read_text(t, text, &s);
        assert_int_equal(s.n, 2); /* BOS and the digit */
        fx.digit[i] = s.id[1];
    }
    hearth_tokenizer_close(t);
    hearth_decoder_shape shape = {.model = fx.model,
                                  .adapter = fx.start,
                                  .mode = HEARTH_DECODER_INFER,
                                  .max_tokens = AT_ONCE * LONGEST,
                                  .n_workers = 1};
    assert_ok(hearth_arena_init(&fx.arena, NULL, hearth_decoder_bytes(&shape)));
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    hearth_arena_free(&fx.arena);
    hearth_adapter_free(fx.start);
    hearth_model_close(fx.model);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_noise_canaries_are_exposed),
        cmocka_unit_test(with_noise_exposure_is_chance),
    };
    return cmocka_run_group_tests_name("memorisation", tests, set_up,
                                       tear_down);
}

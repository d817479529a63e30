/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_seam_inversion.c - can the text be read back from what a
 * device sends?
 *
 * The attacker has the base model, the adapter before the round and an upload.
 * With B = 0 the gradient of the first layer's B is sum_t dY_t (A x_t)^T, and
 * x_t, the normed embedding, depends on the token alone: every row lies in the
 * span of the few A x_t of the record.  So
 *   - a token of the vocabulary is in the record when its A x lies in that span
 *     ("span"); or, when the span is blurred, tokens are taken one by one by
 *     the energy that they explain ("pursuit");
 *   - the second layer's gradient gives the order: its input at position p
 *     depends on tokens 0..p, so that the one token of the set whose input lies
 *     in the second layer's span comes next.
 * The attacker is told how many tokens there are, and the better of its two
 * ways counts.  It must read a gradient, or nothing below means anything; it
 * must find no more in what prepare sends than in noise alone.
 *
 * Seeds are fixed.  HEARTH_ATTACK_TRIALS=N makes N uploads of each record.
 *
 * Source: span checks: Petrov et al., DAGER: Exact Gradient Inversion for Large
 * Language Models, arXiv:2405.15586; LoRA gradients: arXiv:2601.17533.
 */
#include "tests/support/span_attack.h"
#include "tests/support/upload_kit.h"

#include "client/delta/delta.h"
#include "client/tokenizer/tokenizer.h"
#include "client/train/decoder.h"
#include "client/train/trainer.h"

#define MODEL     "deploy/demo/model"
#define RANK      SPAN_RANK
#define WIDTH     64        /* hidden size of MODEL */
#define OUT       SPAN_ROWS /* outputs of v */
#define HEAD      8         /* numbers of a head */
#define FFN       172
#define VOCAB     512
#define LAYER_DIM (OUT * RANK)
#define MAX_DIM   (5 * LAYER_DIM)
#define LONGEST   40
#define BOS       0
#define EOS       1
#define RECORDS   12
#define CLIP      0.07f
#define SEED      20261121

/* A checked build is thirty times as slow. */
#ifdef NDEBUG
#define TRIALS 2
#define USED   RECORDS /* records that devices send, in most tests */
#else
#define TRIALS 1
#define USED   6
#endif

static const char *const texts[RECORDS] = {
    "Log: I slept 6 hours and woke tired.",
    "Dear diary: a rotten night and I rose weary.",
    "Log: I walked home at evening and felt calm.",
    "Log: 7 thousand steps with a friend.",
    "Dear diary: my ticker was mellow at dusk.",
    "Log: a long day of work and little rest.",
    "Log: I ran 20 minutes before morning.",
    "Dear diary: I strolled with a mate after graft.",
    "Log: my heart was quick at 91 by noon.",
    "Log: I felt sad and ate very little.",
    "Dear diary: I kipped 5 hrs and were frazzled.",
    "Log: a slow walk and a good night.",
};

typedef struct {
    int32_t id[LONGEST], label[LONGEST];
    size_t n;            /* with BOS and EOS */
    bool there[VOCAB];   /* tokens without BOS and EOS */
    size_t n_there;      /* how many different ones */
    float grad[MAX_DIM]; /* of B, mean over tokens, at B = 0 */
} record;

typedef struct {
    double sum, square, n;
} sample;

/* One layer of MODEL, copied out. */
typedef struct {
    float norm[WIDTH], q[WIDTH * WIDTH], k[OUT * WIDTH], v[OUT * WIDTH],
        o[WIDTH * WIDTH], norm_mlp[WIDTH], gate[FFN * WIDTH], up[FFN * WIDTH],
        down[WIDTH * FFN];
} layer_copy;

static struct {
    hearth_model *model;
    hearth_adapter *start; /* A from a seed, B = 0 */
    size_t d;
    record rec[RECORDS];
    layer_copy first;
    float norm_1[WIDTH]; /* of the second layer */
    float embed[VOCAB][WIDTH];
    double unit[VOCAB][RANK];   /* A x of each token, of length 1 */
    double column[RANK][VOCAB]; /* the same, turned */
    size_t trials;
    sample blind[2]; /* what is found in noise alone, by rounds - 1 */
    sample unnoised; /* what is found after ADAM_8 without noise */
} fx;

/* ---- the model, as the attacker computes it -------------------------------- */

static void copy_out(hearth_tensor_role role, uint32_t layer, size_t n,
                     float *out) {
    const hearth_weight *w = hearth_model_weight(fx.model, role, layer);
    assert_non_null(w);
    assert_int_equal(hearth_weight_rows(w) * hearth_weight_cols(w), n);
    hearth_weight_copy(w, out);
}

static void copy_model(void) {
    layer_copy *f = &fx.first;
    copy_out(HEARTH_TENSOR_NORM_ATTN, 0, WIDTH, f->norm);
    copy_out(HEARTH_TENSOR_Q, 0, WIDTH * WIDTH, f->q);
    copy_out(HEARTH_TENSOR_K, 0, OUT * WIDTH, f->k);
    copy_out(HEARTH_TENSOR_V, 0, OUT * WIDTH, f->v);
    copy_out(HEARTH_TENSOR_O, 0, WIDTH * WIDTH, f->o);
    copy_out(HEARTH_TENSOR_NORM_MLP, 0, WIDTH, f->norm_mlp);
    copy_out(HEARTH_TENSOR_GATE, 0, FFN * WIDTH, f->gate);
    copy_out(HEARTH_TENSOR_UP, 0, FFN * WIDTH, f->up);
    copy_out(HEARTH_TENSOR_DOWN, 0, WIDTH * FFN, f->down);
    copy_out(HEARTH_TENSOR_NORM_ATTN, 1, WIDTH, fx.norm_1);
    copy_out(HEARTH_TENSOR_EMBED, 0, VOCAB * WIDTH, fx.embed[0]);
}

/* y [rows] = w [rows, cols] x. */
static void product(const float *w, size_t rows, size_t cols, const double *x,
                    double *y) {
    for (size_t r = 0; r < rows; r++) {
        y[r] = 0;
        for (size_t c = 0; c < cols; c++)
            y[r] += (double)w[r * cols + c] * x[c];
    }
}

static void rms_norm(const double *x, const float *w, double *y) {
    double sum = 0;
    for (size_t i = 0; i < WIDTH; i++) sum += x[i] * x[i];
    double r =
        1 / sqrt(sum / WIDTH + hearth_model_get_config(fx.model)->norm_eps);
    for (size_t i = 0; i < WIDTH; i++) y[i] = x[i] * r * (double)w[i];
}

static void rotate(double *x, size_t n, size_t position) {
    double theta = hearth_model_get_config(fx.model)->rope_theta;
    for (size_t h = 0; h < n; h += HEAD)
        for (size_t i = 0; i < HEAD / 2; i++) {
            double angle =
                (double)position * pow(theta, -2.0 * (double)i / HEAD);
            double a = x[h + i], b = x[h + i + HEAD / 2];
            x[h + i] = a * cos(angle) - b * sin(angle);
            x[h + i + HEAD / 2] = b * cos(angle) + a * sin(angle);
        }
}

/* A prefix of text, as the first layer keeps it. */
typedef struct {
    double k[LONGEST][OUT], v[LONGEST][OUT];
    size_t n;
} prefix;

static void attend(const prefix *p, const double *q, double *out) {
    for (size_t h = 0; h < WIDTH / HEAD; h++) {
        double score[LONGEST], total = 0;
        size_t kv = h * OUT / WIDTH * HEAD; /* two heads share one */
        for (size_t t = 0; t < p->n; t++) {
            double s = 0;
            for (size_t i = 0; i < HEAD; i++)
                s += q[h * HEAD + i] * p->k[t][kv + i];
            score[t] = exp(s / sqrt(HEAD));
            total += score[t];
        }
        for (size_t i = 0; i < HEAD; i++) {
            double s = 0;
            for (size_t t = 0; t < p->n; t++) s += score[t] * p->v[t][kv + i];
            out[h * HEAD + i] = s / total;
        }
    }
}

/* Append a token: the second layer's normed input there into x [WIDTH].  The
 * caller takes the token back with p->n--. */
static void extend(prefix *p, int32_t token, double *x) {
    const layer_copy *f = &fx.first;
    double h[WIDTH], q[WIDTH], att[WIDTH], add[WIDTH], g[FFN], u[FFN];
    for (size_t i = 0; i < WIDTH; i++) h[i] = (double)fx.embed[token][i];
    rms_norm(h, f->norm, x);
    product(f->q, WIDTH, WIDTH, x, q);
    product(f->k, OUT, WIDTH, x, p->k[p->n]);
    product(f->v, OUT, WIDTH, x, p->v[p->n]);
    rotate(q, WIDTH, p->n);
    rotate(p->k[p->n], OUT, p->n);
    p->n++;
    attend(p, q, att);
    product(f->o, WIDTH, WIDTH, att, add);
    for (size_t i = 0; i < WIDTH; i++) h[i] += add[i];
    rms_norm(h, f->norm_mlp, x);
    product(f->gate, FFN, WIDTH, x, g);
    product(f->up, FFN, WIDTH, x, u);
    for (size_t i = 0; i < FFN; i++) g[i] = g[i] / (1 + exp(-g[i])) * u[i];
    product(f->down, WIDTH, FFN, g, add);
    for (size_t i = 0; i < WIDTH; i++) h[i] += add[i];
    rms_norm(h, fx.norm_1, x);
}

/* A x of layer l, of length 1. */
static void project(size_t l, const double *x, double u[RANK]) {
    double sum = 0;
    product(fx.start->pair[l].a, RANK, WIDTH, x, u);
    for (size_t i = 0; i < RANK; i++) sum += u[i] * u[i];
    for (size_t i = 0; i < RANK; i++) u[i] /= sqrt(sum);
}

/* ---- the attack --------------------------------------------------------------- */

typedef struct {
    bool there[VOCAB];
    size_t n;
} guess;

/* The n tokens nearest to the span. */
static void attack_span(const double *m, size_t n, guess *g) {
    span_basis b;
    double off[VOCAB];
    memset(g, 0, sizeof(*g));
    find_span(m, n + 1, &b); /* and BOS */
    for (size_t t = 0; t < VOCAB; t++) off[t] = off_span(&b, fx.unit[t]);
    for (; g->n < n; g->n++) {
        size_t best = 0;
        for (size_t t = 2; t < VOCAB; t++)
            if (!g->there[t] && (best == 0 || off[t] < off[best])) best = t;
        g->there[best] = true;
    }
}

/* What pursuit keeps: the tokens' vectors, and the product of m with each,
 * both without what was taken already. */
typedef struct {
    double w[VOCAB][RANK], norm[VOCAB], mw[OUT][VOCAB];
} pursuit;

/* Take the direction of token t out. */
static void take_out(pursuit *p, size_t t) {
    double u[RANK], c[VOCAB], mu[OUT];
    for (size_t i = 0; i < RANK; i++) u[i] = p->w[t][i] / sqrt(p->norm[t]);
    for (size_t o = 0; o < OUT; o++) mu[o] = p->mw[o][t] / sqrt(p->norm[t]);
    for (size_t v = 0; v < VOCAB; v++) {
        c[v] = dot(p->w[v], u);
        for (size_t i = 0; i < RANK; i++) p->w[v][i] -= c[v] * u[i];
        p->norm[v] -= c[v] * c[v];
    }
    for (size_t o = 0; o < OUT; o++)
        for (size_t v = 0; v < VOCAB; v++) p->mw[o][v] -= mu[o] * c[v];
}

/* n tokens, each the one that explains most of what is left. */
static void attack_pursuit(const double *m, size_t n, guess *g) {
    static pursuit p;
    memset(g, 0, sizeof(*g));
    memset(&p, 0, sizeof(p));
    memcpy(p.w, fx.unit, sizeof(p.w));
    for (size_t t = 0; t < VOCAB; t++) p.norm[t] = 1;
    for (size_t o = 0; o < OUT; o++)
        for (size_t i = 0; i < RANK; i++)
            for (size_t t = 0; t < VOCAB; t++)
                p.mw[o][t] += m[o * RANK + i] * fx.column[i][t];
    take_out(&p, BOS); /* every record has it */
    for (; g->n < n; g->n++) {
        double energy[VOCAB] = {0};
        size_t best = 0;
        for (size_t o = 0; o < OUT; o++)
            for (size_t t = 0; t < VOCAB; t++)
                energy[t] += p.mw[o][t] * p.mw[o][t];
        for (size_t t = 2; t < VOCAB; t++) {
            if (g->there[t] || p.norm[t] < 0.05) continue;
            energy[t] /= p.norm[t];
            if (best == 0 || energy[t] > energy[best]) best = t;
        }
        if (best == 0) return;
        take_out(&p, best);
        g->there[best] = true;
    }
}

/* F1 of a guess at which of the tokens are there. */
static double f1(const guess *g, const bool there[VOCAB], size_t n) {
    size_t hits = 0;
    for (size_t t = 0; t < VOCAB; t++) hits += g->there[t] && there[t];
    return 2 * (double)hits / (double)(g->n + n);
}

/* The better of both ways. */
static double attack(const double *m, const bool there[VOCAB], size_t n) {
    guess g;
    attack_span(m, n, &g);
    double by_span = f1(&g, there, n);
    attack_pursuit(m, n, &g);
    return fmax(by_span, f1(&g, there, n));
}

/* Order the tokens of g by the second layer's span: positions that are right,
 * as a share of those of r (BOS, which is known, and EOS, which no gradient
 * shows, left out). */
static double attack_order(const double *m, const guess *g, const record *r) {
    static prefix p;
    span_basis b;
    double x[WIDTH], u[RANK];
    size_t right = 0;
    find_span(m + LAYER_DIM, r->n - 1, &b);
    p.n = 0;
    extend(&p, BOS, x);
    while (p.n + 1 < r->n) {
        int32_t best = -1;
        double least = 2;
        for (int32_t t = 2; t < VOCAB; t++) {
            if (!g->there[t]) continue;
            extend(&p, t, x);
            p.n--;
            project(1, x, u);
            double off = off_span(&b, u);
            if (off < least) least = off, best = t;
        }
        right += best == r->id[p.n];
        extend(&p, best, x);
    }
    return (double)right / (double)(r->n - 2);
}

/* ---- what a device makes ------------------------------------------------------ */

static void take_gradients(void) {
    hearth_decoder_shape s = {.model = fx.model,
                              .adapter = fx.start,
                              .mode = HEARTH_DECODER_LORA,
                              .max_tokens = LONGEST,
                              .n_workers = 1};
    hearth_arena arena;
    hearth_decoder *dec;
    uint32_t position[LONGEST];
    hearth_loss loss;
    assert_ok(hearth_arena_init(&arena, NULL, hearth_decoder_bytes(&s)));
    assert_ok(hearth_decoder_new(&dec, &s, NULL, hearth_kernels_native(),
                                 &arena, NULL));
    for (uint32_t i = 0; i < LONGEST; i++) position[i] = i;
    for (size_t i = 0; i < RECORDS; i++) {
        record *r = &fx.rec[i];
        const uint32_t start[2] = {0, (uint32_t)r->n};
        hearth_stream st = {r->n, 1, r->id, start, position, r->label};
        const hearth_params *p = hearth_decoder_params(dec);
        hearth_decoder_zero_grad(dec);
        assert_ok(hearth_decoder_grad(dec, &st, NULL, &loss, NULL));
        float *out = r->grad;
        for (size_t k = 0; k < p->n_params; k++)
            for (size_t j = 0; j < p->param[k].n; j++)
                *out++ = p->param[k].grad[j] / (float)loss.n_supervised;
        assert_int_equal(out - r->grad, fx.d);
    }
    hearth_arena_free(&arena);
}

/* What training on one record for some steps changes: out [d]. */
static void train(const record *r, uint64_t steps, float *out) {
    hearth_dataset_config dc = HEARTH_DATASET_CONFIG_INIT;
    hearth_train_config cfg = HEARTH_TRAIN_CONFIG_INIT;
    hearth_train_event ev = {HEARTH_TRAIN_MICRO, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    hearth_dataset *ds;
    hearth_adapter *after;
    hearth_trainer *t;
    hearth_delta *dl;
    assert_ok(hearth_dataset_new(&ds, &dc, NULL, NULL));
    assert_ok(hearth_dataset_add_tokens(ds, r->id, r->label, r->n, NULL));
    assert_ok(hearth_adapter_clone(&after, fx.start, NULL, NULL));
    cfg.steps = steps;
    cfg.lr = 1e-2;
    assert_ok(
        hearth_trainer_open(&t, fx.model, after, ds, &cfg, NULL, NULL, NULL));
    while (ev.kind != HEARTH_TRAIN_DONE)
        assert_ok(hearth_trainer_tick(t, &ev, NULL));
    hearth_trainer_close(t);
    assert_ok(
        hearth_delta_new(&dl, fx.start, after, HEARTH_PART_B, NULL, NULL));
    const hearth_span *s = hearth_delta_spans(dl);
    for (size_t i = 0; i < hearth_delta_n_spans(dl); i++) {
        memcpy(out, s[i].v, s[i].n * sizeof(*out));
        out += s[i].n;
    }
    hearth_delta_free(dl);
    hearth_adapter_free(after);
    hearth_dataset_free(ds);
}

/* How the delta of a record is made. */
typedef enum {
    ONE_GRADIENT, /* a step of plain descent, far above the clip */
    ADAM_1,       /* one local step */
    ADAM_8,       /* eight */
    NOTHING       /* zeros: the upload is noise alone */
} way;

static void make_delta(way w, const record *r, float *out) {
    memset(out, 0, fx.d * sizeof(*out));
    if (w == ONE_GRADIENT)
        for (size_t i = 0; i < fx.d; i++) out[i] = -1000 * r->grad[i];
    else if (w != NOTHING)
        train(r, w == ADAM_1 ? 1 : 8, out);
}

/* Send delta [d] (kept) as the device's next upload, and add it to m [d]. */
static void send(upload_device *u, const float *delta, double sign, double *m) {
    static float copy[MAX_DIM];
    static int32_t y[MAX_DIM];
    hearth_span span = {copy, fx.d};
    memcpy(copy, delta, fx.d * sizeof(*copy));
    upload_send(u, &span, 1, y);
    for (size_t i = 0; i < fx.d; i++) m[i] += sign * (double)y[i];
}

/* ---- statistics ---------------------------------------------------------------- */

static void add(sample *s, double x) {
    s->sum += x;
    s->square += x * x;
    s->n += 1;
}
static double mean(const sample *s) {
    return s->sum / s->n;
}
/* Standard deviation of the mean. */
static double sd_of_mean(const sample *s) {
    double var = s->square / s->n - mean(s) * mean(s);
    return sqrt(fmax(var, 0) / s->n);
}

/* The gate: is what was found no more than what is found in noise alone? */
static bool no_better(const sample *found, const sample *guessed) {
    double sd = hypot(sd_of_mean(found), sd_of_mean(guessed));
    return mean(found) <= mean(guessed) + 3 * sd;
}

/* The same attack on uploads of every record at the default policy's smallest z;
 * rounds 2: on the difference of two uploads, the second of another record. */
static sample attack_uploads(way w, hearth_seam_noise kind, uint32_t rounds) {
    static float delta[USED][MAX_DIM];
    static double m[MAX_DIM];
    sample s = {0, 0, 0};
    hearth_seam_set(kind, SEED);
    for (size_t i = 0; i < USED; i++) make_delta(w, &fx.rec[i], delta[i]);
    for (size_t k = 0; k < fx.trials * USED; k++) {
        upload_device u;
        const record *a = &fx.rec[k % USED];
        size_t other = (k + 1 + k / USED) % USED;
        bool there[VOCAB];
        size_t n = 0;
        upload_open(&u, fx.d, CLIP, upload_smallest_z(rounds), rounds,
                    SEED + (uint64_t)w, k);
        memset(m, 0, sizeof(m));
        send(&u, delta[k % USED], 1, m);
        if (rounds == 2) send(&u, delta[other], -1, m);
        upload_close(&u);
        for (size_t t = 0; t < VOCAB; t++) {
            there[t] = a->there[t] || (rounds == 2 && fx.rec[other].there[t]);
            n += there[t];
        }
        add(&s, attack(m, there, n));
    }
    hearth_seam_set(HEARTH_SEAM_NOISE_EXACT, SEED);
    return s;
}

/* ---- tests ----------------------------------------------------------------------- */

static const char *const way_name[] = {"one gradient", "1 local step",
                                       "8 local steps", "nothing"};

/* Record r of a delta that is m: tokens, then their order. */
static void read_back(const double *m, const record *r, sample *tokens,
                      sample *order, size_t *exact) {
    guess g;
    attack_span(m, r->n_there, &g);
    add(tokens, f1(&g, r->there, r->n_there));
    double right = attack_order(m, &g, r);
    add(order, right);
    *exact += right >= 1;
}

static void a_gradient_gives_the_text_away(void **state) {
    static double m[MAX_DIM];
    sample tokens = {0, 0, 0}, order = {0, 0, 0};
    size_t exact = 0;
    (void)state;
    for (size_t i = 0; i < RECORDS; i++) {
        for (size_t k = 0; k < fx.d; k++) m[k] = (double)fx.rec[i].grad[k];
        read_back(m, &fx.rec[i], &tokens, &order, &exact);
    }
    print_message("gradient: token F1 %.3f, positions %.3f, %zu of %d records "
                  "word for word\n",
                  mean(&tokens), mean(&order), exact, RECORDS);
    assert_true(mean(&tokens) >= 0.99);
    assert_true(exact == RECORDS);
}

static void clip_and_rounding_stop_nothing(void **state) {
    static double m[MAX_DIM];
    static float delta[MAX_DIM];
    sample tokens = {0, 0, 0}, order = {0, 0, 0};
    size_t exact = 0;
    (void)state;
    hearth_seam_set(HEARTH_SEAM_NOISE_NONE, SEED);
    for (size_t i = 0; i < RECORDS; i++) {
        upload_device u;
        upload_open(&u, fx.d, CLIP, upload_smallest_z(1), 1, SEED, i);
        memset(m, 0, sizeof(m));
        make_delta(ONE_GRADIENT, &fx.rec[i], delta);
        send(&u, delta, 1, m);
        upload_close(&u);
        read_back(m, &fx.rec[i], &tokens, &order, &exact);
    }
    hearth_seam_set(HEARTH_SEAM_NOISE_EXACT, SEED);
    print_message("clipped and rounded, no noise: token F1 %.3f, positions "
                  "%.3f, %zu of %d records word for word\n",
                  mean(&tokens), mean(&order), exact, RECORDS);
    assert_true(mean(&tokens) >= 0.9);
}

static void local_steps_stop_little(void **state) {
    (void)state;
    sample blind = fx.blind[0];
    for (way w = ADAM_1; w <= ADAM_8; w++) {
        sample s = attack_uploads(w, HEARTH_SEAM_NOISE_NONE, 1);
        print_message("%s, clipped, no noise: token F1 %.3f, in noise alone "
                      "%.3f\n",
                      way_name[w], mean(&s), mean(&blind));
        assert_true(mean(&s) > 5 * mean(&blind));
        fx.unnoised = s;
    }
}

/* The sum over n devices, each with another record, without noise. */
static void a_sum_hides_little(void **state) {
    (void)state;
    hearth_seam_set(HEARTH_SEAM_NOISE_NONE, SEED);
    for (size_t n = 2; n <= RECORDS; n = n == 8 ? RECORDS : 2 * n) {
        static double m[MAX_DIM];
        static float delta[MAX_DIM];
        bool there[VOCAB] = {false};
        size_t n_there = 0;
        memset(m, 0, sizeof(m));
        for (size_t i = 0; i < n; i++) {
            upload_device u;
            upload_open(&u, fx.d, CLIP, upload_smallest_z(1), 1, SEED, i);
            make_delta(ONE_GRADIENT, &fx.rec[i], delta);
            send(&u, delta, 1, m);
            upload_close(&u);
            for (size_t t = 0; t < VOCAB; t++) there[t] |= fx.rec[i].there[t];
        }
        for (size_t t = 0; t < VOCAB; t++) n_there += there[t];
        double found = attack(m, there, n_there);
        print_message("sum of %zu devices, no noise: token F1 %.3f (%zu "
                      "tokens, guessing %.3f)\n",
                      n, found, n_there, (double)n_there / VOCAB);
        if (n == 2) assert_true(found > 5 * (double)n_there / VOCAB);
    }
    hearth_seam_set(HEARTH_SEAM_NOISE_EXACT, SEED);
}

static void what_is_sent_gives_no_token_away(void **state) {
    (void)state;
    sample blind = fx.blind[0];
    for (way w = ONE_GRADIENT; w <= ADAM_8; w++) {
        sample s = attack_uploads(w, HEARTH_SEAM_NOISE_EXACT, 1);
        print_message("%s at z = %.2f: token F1 %.4f +- %.4f, in noise alone "
                      "%.4f +- %.4f\n",
                      way_name[w], upload_smallest_z(1), mean(&s),
                      sd_of_mean(&s), mean(&blind), sd_of_mean(&blind));
        assert_true(no_better(&s, &blind));
    }
}

static void two_rounds_do_not_cancel(void **state) {
    (void)state;
    sample blind = fx.blind[1];
    sample s = attack_uploads(ONE_GRADIENT, HEARTH_SEAM_NOISE_EXACT, 2);
    print_message("difference of two rounds: token F1 %.4f, in noise alone "
                  "%.4f\n",
                  mean(&s), mean(&blind));
    assert_true(no_better(&s, &blind));
}

/* Chance that the best attacker names the right one of n neighbours: with
 * threshold x it says yes to the right one with Phi(mu - x), to each of the
 * others with Phi(-x), and these sum to one. */
static double most_named(double mu, double n) {
    double low = -10, high = 10, x = 0;
    for (int i = 0; i < 60; i++) {
        x = (low + high) / 2;
        double sum =
            (erfc((x - mu) / sqrt(2)) + (n - 1) * erfc(x / sqrt(2))) / 2;
        if (sum > 1)
            low = x;
        else
            high = x;
    }
    return erfc((x - mu) / sqrt(2)) / 2;
}

/* Another attacker: it has every candidate record and asks which one it was.
 * Noise does not stop that at this z; it bounds it, as epsilon says. */
static void candidates_are_named_no_more_than_epsilon_allows(void **state) {
    static float delta[RECORDS][MAX_DIM];
    static double m[MAX_DIM];
    sample named = {0, 0, 0};
    (void)state;
    for (size_t i = 0; i < RECORDS; i++) {
        double sum = 0;
        make_delta(ADAM_8, &fx.rec[i], delta[i]);
        for (size_t k = 0; k < fx.d; k++)
            sum += (double)delta[i][k] * (double)delta[i][k];
        assert_true(sum >= (double)CLIP * (double)CLIP); /* all are clipped */
        for (size_t k = 0; k < fx.d; k++) delta[i][k] /= (float)sqrt(sum);
    }
    for (size_t k = 0; k < fx.trials * USED; k++) {
        upload_device u;
        size_t best = 0;
        double most = -HUGE_VAL;
        upload_open(&u, fx.d, CLIP, upload_smallest_z(1), 1, SEED + 9, k);
        memset(m, 0, sizeof(m));
        send(&u, delta[k % USED], 1, m);
        upload_close(&u);
        for (size_t i = 0; i < RECORDS; i++) {
            double like = 0;
            for (size_t j = 0; j < fx.d; j++)
                like += m[j] * (double)delta[i][j];
            if (like > most) most = like, best = i;
        }
        add(&named, best == k % USED);
    }
    double bound = most_named(2 / upload_smallest_z(1), RECORDS);
    print_message("one of %d known records named: %.3f +- %.3f, by chance "
                  "%.3f, bound %.3f\n",
                  RECORDS, mean(&named), sd_of_mean(&named), 1.0 / RECORDS,
                  bound);
    assert_true(mean(&named) <= bound + 3 * sd_of_mean(&named));
}

/* What the gates above must catch. */
static void mutants_are_found(void **state) {
    (void)state;
    sample blind = fx.blind[0];
    sample off = fx.unnoised;
    sample half = attack_uploads(ADAM_8, HEARTH_SEAM_NOISE_HALF, 1);
    sample kept = attack_uploads(ONE_GRADIENT, HEARTH_SEAM_NOISE_REUSED, 2);
    print_message("mutants: noise off %.3f, half of it %.3f (not to be seen "
                  "here), reused in a second round %.3f\n",
                  mean(&off), mean(&half), mean(&kept));
    assert_false(no_better(&off, &blind));
    assert_false(no_better(&kept, &fx.blind[1]));
}

/* ---- setup ------------------------------------------------------------------------ */

static void read_records(void) {
    hearth_tokenizer *t = NULL;
    assert_ok(hearth_tokenizer_open(&t, MODEL, NULL, NULL));
    for (size_t i = 0; i < RECORDS; i++) {
        record *r = &fx.rec[i];
        hearth_ids ids;
        hearth_ids_init(&ids, NULL);
        assert_ok(hearth_tokenizer_encode(t, texts[i], strlen(texts[i]), true,
                                          &ids, NULL));
        assert_true(ids.n + 1 < RANK && ids.id[0] == BOS);
        for (size_t k = 0; k < ids.n; k++) {
            r->id[k] = ids.id[k];
            if (k == 0 || r->there[ids.id[k]]) continue;
            r->there[ids.id[k]] = true;
            r->n_there++;
        }
        r->n = ids.n;
        r->id[r->n++] = EOS;
        for (size_t k = 0; k < r->n; k++)
            r->label[k] = k + 1 < r->n ? r->id[k + 1] : HEARTH_DATASET_NO_LABEL;
        hearth_ids_free(&ids);
    }
    hearth_tokenizer_close(t);
}

static int set_up(void **state) {
    (void)state;
    uint8_t seed[HEARTH_ADAPTER_SEED_BYTES] = {7};
    hearth_lora_spec spec = {
        RANK, (float)RANK, HEARTH_TARGET_BIT(HEARTH_TARGET_V), 0, false, true};
    size_t n;
    const char *trials = getenv("HEARTH_ATTACK_TRIALS");
    fx.trials = trials ? (size_t)strtoul(trials, NULL, 10) : TRIALS;
    if (fx.trials < 1) fx.trials = TRIALS;
    assert_ok(hearth_model_open(&fx.model, MODEL, NULL, NULL));
    const hearth_module_info *m = hearth_model_modules(fx.model, &n);
    assert_ok(hearth_adapter_new(&fx.start, &spec, m, n, NULL, NULL));
    assert_ok(hearth_adapter_init_a_from_seed(fx.start, seed));
    fx.d = hearth_adapter_dim(fx.start, HEARTH_PART_B);
    assert_int_equal(fx.d, MAX_DIM);
    copy_model();
    read_records();
    take_gradients();
    for (size_t t = 0; t < VOCAB; t++) {
        double x[WIDTH], e[WIDTH];
        for (size_t i = 0; i < WIDTH; i++) e[i] = (double)fx.embed[t][i];
        rms_norm(e, fx.first.norm, x);
        project(0, x, fx.unit[t]);
        for (size_t i = 0; i < RANK; i++) fx.column[i][t] = fx.unit[t][i];
    }
    fx.blind[0] = attack_uploads(NOTHING, HEARTH_SEAM_NOISE_EXACT, 1);
    fx.blind[1] = attack_uploads(NOTHING, HEARTH_SEAM_NOISE_EXACT, 2);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    hearth_adapter_free(fx.start);
    hearth_model_close(fx.model);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gradient_gives_the_text_away),
        cmocka_unit_test(clip_and_rounding_stop_nothing),
        cmocka_unit_test(local_steps_stop_little),
        cmocka_unit_test(a_sum_hides_little),
        cmocka_unit_test(what_is_sent_gives_no_token_away),
        cmocka_unit_test(two_rounds_do_not_cancel),
        cmocka_unit_test(candidates_are_named_no_more_than_epsilon_allows),
        cmocka_unit_test(mutants_are_found),
    };
    return cmocka_run_group_tests_name("gradient inversion", tests, set_up,
                                       tear_down);
}

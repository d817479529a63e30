/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/planner.c - search by brute force: a few dozen choices, each
 * counted by the same code that takes the memory.
 *
 * Memory falls with every layer that recomputes, so of one way to cut the
 * tokens the fewest such layers are found by halving; of all ways that fit the
 * one with the least cost wins: work, or reading where that takes longer. */
#include "client/train/planner.h"

#include <stdint.h>

#include "client/train/base_copy.h"
#include "client/train/decoder.h"

/* Reading and converting a weight costs as much as multiplying it with so many
 * tokens; seen for Q8_0: 9 to 40. */
#define VISIT_TOKENS 16.0
#define LEAST_SEQ    ((size_t)8)

/* The head by groups of fewer rows than the usual costs more than its visits:
 * seen in f32 and bf16 for Qwen2.5-0.5B and Gemma-3-270M (Q8_0, two threads,
 * 256 tokens) 1.0 to 1.6 times the time by 128 rows, 1.7 to 2.3 times by 64; by
 * 512 or 1024 of 1024 tokens 0.6 to 1.0. */
#define HEAD_ROWS 256.0
#define HEAD_FEW  64.0

/* Attention that goes back by small tiles: seen 0.96 to 1.13 of the time, for
 * the same models and 256 to 1024 tokens. */
#define SMALL_TILES 1.05

/* More tokens a pass than this gain little (tests/bench/BENCH.md, lengths). */
#define MERGED_TOKENS ((size_t)512)

/* Records of a pass over streamed weights, at most. */
#define MOST_RECORDS ((size_t)4096)

/* Multiply-adds in the time that a number takes into a store and back. */
#define STORE_WORK 128.0

/* The same for a byte of a streamed weight: to copy it, whatever hides the disk;
 * and to read it, at the rate of memplan.h beside 100 billion multiply-adds a
 * second.  Seen, of Qwen2.5-0.5B in Q8_0 on two threads: a tenth of the time in
 * f32 for 3.6 MB a token (35); in bf16 3.84 s for a step of 4 passes of 256
 * tokens and 2.82 s for one pass of 1024, which reads 2.5 GB less (140). */
#define COPY_WORK 48.0
#define READ_WORK (100e9 / HEARTH_MEMPLAN_DISK_RATE)

static const hearth_model_config *config(const hearth_plan_request *q) {
    return hearth_model_get_config(q->model);
}

/* Multiply-adds of one token in a layer and in the head. */
typedef struct {
    double attention; /* its four matrices */
    double scores;    /* queries with keys, and with values */
    double gate_up, down, head;
} token_work;

/* A causal query sees half of its record: scores and what they weigh together
 * cost `tokens` multiply-adds for each number of the query. */
static token_work work_of(const hearth_model_config *c, double tokens) {
    double width = c->hidden_size, ffn = c->ffn_size;
    double q = (double)c->n_heads * c->head_dim;
    double kv = (double)c->n_kv_heads * c->head_dim;
    double into = c->mlp_kind == HEARTH_MLP_GELU ? 1.0 : 2.0;
    return (token_work){.attention = 2 * width * (q + kv),
                        .scores = tokens * q,
                        .gate_up = into * width * ffn,
                        .down = width * ffn,
                        .head = width * c->vocab_size};
}

/* Multiply-adds of one token for storing a layer in bfloat16. */
static double store_work(const hearth_model_config *c) {
    double q = (double)c->n_heads * c->head_dim, width = c->hidden_size;
    double kv = (double)c->n_kv_heads * c->head_dim;
    double numbers = (c->mlp_kind == HEARTH_MLP_GELU ? 1.0 : 2.0) * c->ffn_size;
    numbers += q + width;
    if (c->qk_norm) numbers += q + kv;
    if (c->sandwich) numbers += 2 * width;
    return STORE_WORK * numbers;
}

static size_t ceil_div(size_t a, size_t b) {
    return a / b + (a % b != 0);
}

/* Groups in which a pass's tokens go through the head. */
static size_t head_groups(const hearth_memplan_choice *choice) {
    size_t most = choice->head_rows, n = choice->max_tokens;
    return most && most < n ? ceil_div(n, most) : 1;
}

/* What the head costs, of what its products alone do. */
static double head_visits(const hearth_memplan_choice *choice) {
    double rows = (double)choice->max_tokens / (double)head_groups(choice);
    double visits = (rows + VISIT_TOKENS) / rows;
    return rows < HEAD_ROWS ? visits + HEAD_FEW / rows - HEAD_FEW / HEAD_ROWS
                            : visits;
}

/* How a step goes: its passes, and what they read. */
static void count_reads(const hearth_plan_request *q,
                        hearth_memplan_choice *choice) {
    size_t lowest = config(q)->n_layers - choice->layers;
    size_t records = q->cfg->batch * q->cfg->accum;
    double tokens = (double)choice->max_tokens / (double)choice->micro_batch;
    choice->micro_batches = q->cfg->accum;
    choice->passes = ceil_div(records, q->cfg->pack ? choice->micro_batch : 1);
    choice->read_bytes = choice->read_token = 0;
    if (!choice->streamed) return;
    choice->read_bytes =
        (double)choice->passes *
        (double)hearth_weight_stream_pass_bytes(
            q->model, lowest, choice->max_tokens, head_groups(choice));
    choice->read_token = choice->read_bytes / (tokens * (double)records);
}

/* How much faster products in bfloat16 are. */
static double speed_up(const hearth_plan_request *q) {
    return q->cfg->bf16 ? 2.5 : 1.0;
}

static double work_per_token(const hearth_plan_request *q,
                             const hearth_memplan_choice *choice) {
    const hearth_model_config *c = config(q);
    double n = (double)choice->max_tokens;
    double rows = choice->mlp_rows ? (double)choice->mlp_rows : n;
    double records = (double)choice->micro_batch;
    double layers = c->n_layers, trained = (double)choice->layers;
    double again = (double)choice->recompute;
    token_work w = work_of(c, n / records);
    double visit = (n + VISIT_TOKENS) / n;
    double part = (rows + VISIT_TOKENS) / rows;
    w.attention *= visit;
    w.head *= head_visits(choice);
    w.gate_up *= part;
    w.down *= part;
    /* forward, and back to the input: once more */
    double sum = (layers + trained) * (w.attention + w.gate_up + w.down);
    double back = choice->small_tiles ? SMALL_TILES : 1.0;
    sum += (layers + back * trained) * w.scores + 2 * w.head;
    sum += again * (w.attention + w.gate_up);
    sum += (again - (double)choice->keep_attention) * w.scores;
    if (choice->store_bf16) sum += (trained - again - 1) * store_work(c);
    if (choice->mlp_rows) sum += w.gate_up; /* of what shares a slot */
    if (q->cfg->mode == HEARTH_TRAIN_FULL)
        sum +=
            layers * (w.attention + w.scores + w.gate_up + w.down) + 2 * w.head;
    return sum + COPY_WORK * speed_up(q) * choice->read_token;
}

void hearth_planner__estimate(const hearth_plan_request *q,
                              hearth_memplan_choice *choice) {
    count_reads(q, choice);
    choice->work = work_per_token(q, choice);
}

double hearth_planner__cost(const hearth_plan_request *q,
                            const hearth_memplan_choice *choice) {
    double reading = READ_WORK * speed_up(q) * choice->read_token;
    return choice->work > reading ? choice->work : reading;
}

/* Is a worth taking when there is b? */
static bool is_faster(const hearth_plan_request *q,
                      const hearth_memplan_choice *a,
                      const hearth_memplan_choice *b) {
    double x = hearth_planner__cost(q, a), y = hearth_planner__cost(q, b);
    return x < y || (!(x > y) && a->work < b->work);
}

/* Does this choice fit?  *p is its plan, work included. */
static bool fits(const hearth_plan_request *q,
                 const hearth_memplan_choice *choice, hearth_memplan *p) {
    size_t budget = q->cfg->memory_budget;
    return hearth_planner__list(q, choice, p, NULL) == HEARTH_OK &&
           hearth_memplan_bounded(p) != SIZE_MAX &&
           (!budget || hearth_memplan_bounded(p) <= budget);
}

/* The fewest layers that must recompute; false: all of them are not enough.
 * Each of them saves the same, but for the rounding of tables. */
static bool fewest_layers(const hearth_plan_request *q,
                          const hearth_memplan_choice *asked,
                          hearth_memplan *p) {
    hearth_memplan_choice choice = *asked;
    hearth_memplan none;
    choice.recompute = 0;
    if (fits(q, &choice, &none)) {
        *p = none;
        return true;
    }
    choice.recompute = config(q)->n_layers;
    if (!fits(q, &choice, p)) return false;
    size_t most = p->choice.recompute;
    if (none.private_bytes <= p->private_bytes) return true; /* not planned */
    size_t each = (none.private_bytes - p->private_bytes) / most;
    size_t over = hearth_memplan_bounded(&none) - q->cfg->memory_budget;
    choice.recompute = each ? over / each : most;
    while (choice.recompute < most && !fits(q, &choice, p)) choice.recompute++;
    return choice.recompute < most || fits(q, &choice, p);
}

/* In the room that is left: as many of these layers as it holds keep what
 * attention gave. */
static void keep_attention(const hearth_plan_request *q, hearth_memplan *p) {
    hearth_memplan_choice choice = p->choice;
    hearth_memplan one;
    choice.keep_attention = 1;
    if (!q->cfg->memory_budget || !choice.recompute || !fits(q, &choice, &one))
        return;
    size_t each = one.private_bytes - p->private_bytes;
    size_t left = q->cfg->memory_budget - hearth_memplan_bounded(p);
    choice.keep_attention = each ? left / each : 0;
    if (choice.keep_attention > choice.recompute)
        choice.keep_attention = choice.recompute;
    while (choice.keep_attention && !fits(q, &choice, &one))
        choice.keep_attention--;
    if (choice.keep_attention) *p = one;
}

/* Where the base's weights are: in this order, the first that fits is taken. */
typedef struct {
    bool streamed;
    hearth_base_type base;
} place;

#define N_PLACES 6
static const place PLACES[N_PLACES] = {
    {false, HEARTH_BASE_FILE}, {false, HEARTH_BASE_F16},
    {false, HEARTH_BASE_BF16}, {false, HEARTH_BASE_Q8_0},
    {false, HEARTH_BASE_Q4_0}, {true, HEARTH_BASE_FILE}};

/* May the base be held in this type?  Where it is to be chosen, a copy costs
 * private memory: it fits where the file's own does not only within a budget
 * that bounds the file as well. */
static bool may_hold(const hearth_plan_request *q, hearth_base_type base) {
    if (q->base != HEARTH_BASE_AUTO) return base == q->base;
    if (base == HEARTH_BASE_FILE) return true;
    return base >= HEARTH_BASE_Q8_0 && hearth_base_copy_helps(q->model, base);
}

/* May the weights be where the settings ask for? */
static bool may_be(const hearth_plan_request *q, const place *at) {
    hearth_train_weights w = q->cfg->weights;
    if (!may_hold(q, at->base)) return false;
    if (w != HEARTH_WEIGHTS_AUTO)
        return at->streamed == (w == HEARTH_WEIGHTS_STREAMED);
    return !at->streamed ||
           (q->cfg->memory_budget && q->cfg->mode != HEARTH_TRAIN_FULL);
}

/* The first place that may be: one there always is. */
static const place *first_place(const hearth_plan_request *q) {
    size_t i = 0;
    while (i < N_PLACES - 1 && !may_be(q, &PLACES[i])) i++;
    return &PLACES[i];
}

/* What needs the least memory. */
static hearth_memplan_choice smallest(const hearth_plan_request *q,
                                      const place *at) {
    bool full = q->cfg->mode == HEARTH_TRAIN_FULL;
    return (hearth_memplan_choice){.micro_batch = 1,
                                   .recompute = config(q)->n_layers,
                                   .mlp_rows = full ? 0 : HEARTH_DECODER_ROWS,
                                   .head_rows = full ? 0 : HEARTH_DECODER_ROWS,
                                   .small_tiles = true,
                                   .streamed = at->streamed,
                                   .base = at->base};
}

/* Does the smallest plan fit, its weights mapped or streamed? */
static bool any_fits(const hearth_plan_request *q) {
    hearth_memplan p;
    for (const place *at = PLACES; at < PLACES + N_PLACES; at++) {
        hearth_memplan_choice choice = smallest(q, at);
        if (may_be(q, at) && fits(q, &choice, &p)) return true;
    }
    return false;
}

size_t hearth_planner__longest(const hearth_plan_request *q) {
    hearth_plan_request cut = *q;
    size_t lo = LEAST_SEQ, hi = config(q)->max_positions;
    cut.seq = lo;
    if (hi < lo || !any_fits(&cut)) return 0;
    while (lo < hi) {
        size_t mid = lo + (hi - lo + 1) / 2;
        cut.seq = mid;
        if (any_fits(&cut))
            lo = mid;
        else
            hi = mid - 1;
    }
    return lo;
}

/* One layer more that runs again than in *p: false where even with attention
 * kept everywhere that is no faster than *best. */
static bool one_more_again(const hearth_plan_request *q,
                           const hearth_memplan *best, hearth_memplan *p) {
    hearth_memplan_choice next = p->choice;
    next.keep_attention = ++next.recompute;
    if (next.recompute >= next.layers) return false;
    hearth_planner__estimate(q, &next);
    if (!is_faster(q, &next, &best->choice)) return false;
    next.keep_attention = 0;
    return fits(q, &next, p);
}

/* Take this way to cut the tokens when it fits and is the fastest so far: with
 * the fewest layers that run again, or with more that keep attention instead. */
static void consider(const hearth_plan_request *q,
                     const hearth_memplan_choice *choice, bool *found,
                     hearth_memplan *best) {
    hearth_memplan p;
    hearth_memplan_choice least = *choice;
    hearth_planner__estimate(q, &least);
    if (*found && !is_faster(q, &least, &best->choice)) return;
    if (!fewest_layers(q, choice, &p)) return;
    do {
        keep_attention(q, &p);
        if (!*found || is_faster(q, &p.choice, &best->choice)) *best = p;
        *found = true;
    } while (one_more_again(q, best, &p));
}

/* With the usual tiles in attention, and with smaller ones. */
static void consider_tiles(const hearth_plan_request *q,
                           const hearth_memplan_choice *asked, bool *found,
                           hearth_memplan *best) {
    hearth_memplan_choice choice = *asked;
    for (int small = 0; small < 2; small++) {
        choice.small_tiles = small;
        consider(q, &choice, found, best);
    }
}

/* With the usual groups of rows in the head, with smaller ones, and with larger
 * ones where each reads the head from the file.  Mode full keeps the groups: a
 * weight's gradient is a sum over them. */
static void consider_blocks(const hearth_plan_request *q,
                            const hearth_memplan_choice *asked, bool *found,
                            hearth_memplan *best) {
    hearth_memplan_choice choice = *asked;
    size_t usual = asked->head_rows, n = asked->max_tokens;
    consider_tiles(q, &choice, found, best);
    if (q->cfg->mode == HEARTH_TRAIN_FULL) return;
    for (size_t rows = HEARTH_DECODER_ROWS; rows < usual && rows < n;
         rows *= 2) {
        choice.head_rows = rows;
        consider_tiles(q, &choice, found, best);
    }
    for (size_t rows = 2 * usual; choice.streamed && rows < 2 * n; rows *= 2) {
        choice.head_rows = rows;
        consider_tiles(q, &choice, found, best);
    }
}

/* The MLP at once, and in ever smaller parts (mode full keeps it whole: its
 * gradients are sums over all tokens). */
static void consider_parts(const hearth_plan_request *q,
                           const hearth_memplan_choice *asked, bool *found,
                           hearth_memplan *best) {
    hearth_memplan p;
    if (hearth_planner__list(q, asked, &p, NULL) != HEARTH_OK) return;
    hearth_memplan_choice choice = p.choice;
    consider_blocks(q, &choice, found, best);
    if (q->cfg->mode == HEARTH_TRAIN_FULL) return;
    size_t rows = HEARTH_DECODER_ROWS;
    while (rows < choice.max_tokens / 2) rows *= 2;
    for (; rows >= HEARTH_DECODER_ROWS; rows /= 2) {
        choice.mlp_rows = rows;
        if (rows < choice.max_tokens) consider_blocks(q, &choice, found, best);
    }
}

/* With everything kept in float; then, where products round to bfloat16 in any
 * case, in that. */
static void consider_stores(const hearth_plan_request *q, size_t micro_batch,
                            const place *at, bool *found,
                            hearth_memplan *best) {
    hearth_memplan_choice choice = {
        .micro_batch = micro_batch, .streamed = at->streamed, .base = at->base};
    consider_parts(q, &choice, found, best);
    choice.store_bf16 = q->cfg->bf16 && q->cfg->mode == HEARTH_TRAIN_LORA;
    if (choice.store_bf16) consider_parts(q, &choice, found, best);
}

/* None fits: the smallest of all, and why. */
static hearth_status refuse(const hearth_plan_request *q, hearth_memplan *out,
                            hearth_error *err) {
    bool any = false;
    for (const place *at = PLACES; at < PLACES + N_PLACES; at++) {
        hearth_memplan p;
        hearth_memplan_choice choice = smallest(q, at);
        if (!may_be(q, at)) continue;
        hearth_status st = hearth_planner__list(q, &choice, &p, err);
        if (st != HEARTH_OK) return st;
        if (!any || hearth_memplan_bounded(&p) < hearth_memplan_bounded(out))
            *out = p;
        any = true;
    }
    out->longest_seq = hearth_planner__longest(q);
    return hearth_memplan_check(out, q->cfg->memory_budget, err);
}

/* Records of the largest pass with mapped weights: a micro-batch, doubled while
 * that many are in a step and their tokens are at most MERGED_TOKENS.  Together
 * they go through each layer, and read it, once. */
static size_t most_records(const hearth_plan_request *q) {
    hearth_memplan_choice one = smallest(q, first_place(q));
    hearth_memplan p;
    size_t n = q->cfg->pack ? q->cfg->batch : 1, left = q->cfg->accum;
    if (!q->cfg->pack || !q->cfg->memory_budget ||
        hearth_planner__list(q, &one, &p, NULL) != HEARTH_OK)
        return n;
    for (; left >= 2 && n <= MERGED_TOKENS / p.choice.max_tokens / 2; left /= 2)
        n *= 2;
    return n;
}

/* Streamed: a step in one pass, in two and so on, each of as few records as
 * that takes; down to one record, of large passes not every number. */
static void consider_passes(const hearth_plan_request *q, const place *at,
                            bool *found, hearth_memplan *best) {
    size_t step = q->cfg->pack ? q->cfg->batch * q->cfg->accum : 1;
    size_t n = step < MOST_RECORDS ? step : MOST_RECORDS;
    for (;; n -= n < 8 ? 1 : n / 8) {
        n = ceil_div(step, ceil_div(step, n));
        consider_stores(q, n, at, found, best);
        if (n == 1) return;
    }
}

hearth_status hearth_planner__search(const hearth_plan_request *q,
                                     hearth_memplan *out, hearth_error *err) {
    size_t most = most_records(q);
    bool found = false;
    if (!q->cfg->memory_budget) {
        const place *at = first_place(q);
        hearth_memplan_choice choice = {
            .micro_batch = most, .streamed = at->streamed, .base = at->base};
        hearth_status st = hearth_planner__list(q, &choice, out, err);
        return st == HEARTH_OK ? hearth_memplan_check(out, 0, err) : st;
    }
    for (const place *at = PLACES; at < PLACES + N_PLACES && !found; at++) {
        if (!may_be(q, at)) continue;
        if (at->streamed) consider_passes(q, at, &found, out);
        for (size_t n = most; !at->streamed; n = (n + 1) / 2) {
            consider_stores(q, n, at, &found, out);
            if (n == 1) break;
        }
    }
    return found ? HEARTH_OK : refuse(q, out, err);
}

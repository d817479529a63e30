/* SPDX-License-Identifier: Apache-2.0 */
/* client/infer/sample.c - top-k and top-p by popping a heap: only as many
 * tokens are ordered as are kept. */
#include "client/infer/sample.h"

#include <math.h>
#include <stdbool.h>

#include "common/refmath.h"

/* Tokens ordered by logit, larger first; equal ones by number. */
typedef struct {
    const float *logits;
    uint32_t *heap; /* heap[0] is first */
    size_t n;
} token_heap;

void hearth_sample_penalize(float *logits, size_t n, const int32_t *seen,
                            size_t n_seen, double penalty, uint32_t *mark) {
    for (size_t i = 0; i < (n + 31) / 32; i++) mark[i] = 0;
    for (size_t i = 0; i < n_seen; i++) {
        if (seen[i] < 0 || (size_t)seen[i] >= n) continue;
        size_t id = (size_t)seen[i];
        uint32_t bit = (uint32_t)1 << (id % 32);
        if (mark[id / 32] & bit) continue;
        mark[id / 32] |= bit;
        double x = (double)logits[id];
        logits[id] = (float)(x > 0 ? x / penalty : x * penalty);
    }
}

static bool before(const float *logits, uint32_t a, uint32_t b) {
    if (logits[a] > logits[b]) return true;
    return !(logits[a] < logits[b]) && a < b;
}

static void sift(token_heap *h, size_t i) {
    for (;;) {
        size_t first = i, left = 2 * i + 1;
        if (left < h->n && before(h->logits, h->heap[left], h->heap[first]))
            first = left;
        if (left + 1 < h->n &&
            before(h->logits, h->heap[left + 1], h->heap[first]))
            first = left + 1;
        if (first == i) return;
        uint32_t t = h->heap[i];
        h->heap[i] = h->heap[first];
        h->heap[first] = t;
        i = first;
    }
}

/* Move the first token behind the heap, so that the popped ones stand in
 * reverse at the end of the array. */
static uint32_t pop(token_heap *h) {
    uint32_t top = h->heap[0];
    h->n--;
    h->heap[0] = h->heap[h->n];
    h->heap[h->n] = top;
    sift(h, 0);
    return top;
}

static bool find_largest(const float *logits, size_t n, size_t *at) {
    *at = 0;
    for (size_t i = 0; i < n; i++) {
        if (isnan(logits[i]) || (isinf(logits[i]) && logits[i] > 0))
            return false;
        if (logits[i] > logits[*at]) *at = i;
    }
    return n && isfinite(logits[*at]);
}

static double weight(const float *logits, size_t i, double top,
                     double temperature) {
    return hearth_ref_exp(((double)logits[i] - top) / temperature);
}

/* Pop what the rule keeps: the k first, then of them the smallest run whose
 * share reaches top_p.  Returns the count and the sum of their weights. */
static size_t keep(token_heap *h, const hearth_sample_rule *r, double top,
                   double *sum) {
    size_t n = h->n, k = r->top_k && r->top_k < n ? r->top_k : n, kept = 0;
    bool some = k < n;
    double total = 0, so_far = 0;
    if (!some && r->top_p < 1.0)
        for (size_t i = 0; i < n; i++)
            total += weight(h->logits, i, top, r->temperature);
    for (size_t i = 0; some && i < k; i++) {
        uint32_t token = pop(h);
        total += weight(h->logits, token, top, r->temperature);
        /* Whoever equals the last of the k is kept with it. */
        if (i + 1 == k && h->n && !(h->logits[h->heap[0]] < h->logits[token]))
            k++;
    }
    while (kept < k) {
        uint32_t token = some ? h->heap[n - 1 - kept] : pop(h);
        so_far += weight(h->logits, token, top, r->temperature);
        kept++;
        if (r->top_p < 1.0 && so_far >= r->top_p * total) break;
    }
    *sum = so_far;
    return kept;
}

static int32_t draw_all(const float *logits, size_t n, double top,
                        double temperature, double draw) {
    double total = 0, so_far = 0;
    size_t last = 0;
    for (size_t i = 0; i < n; i++) total += weight(logits, i, top, temperature);
    for (size_t i = 0; i < n; i++) {
        double w = weight(logits, i, top, temperature);
        if (!(w > 0)) continue;
        so_far += w;
        last = i;
        if (so_far > draw * total) break;
    }
    return (int32_t)last;
}

int32_t hearth_sample_token(const float *logits, size_t n, uint32_t *order,
                            const hearth_sample_rule *rule, double draw) {
    size_t best;
    double sum, so_far = 0;
    if (!find_largest(logits, n, &best)) return -1;
    double top = (double)logits[best];
    if (!(rule->temperature > 0)) return (int32_t)best;
    if ((!rule->top_k || rule->top_k >= n) && !(rule->top_p < 1.0))
        return draw_all(logits, n, top, rule->temperature, draw);
    token_heap h = {logits, order, n};
    for (size_t i = 0; i < n; i++) order[i] = (uint32_t)i;
    for (size_t i = n / 2 + 1; i-- > 0;) sift(&h, i);
    size_t kept = keep(&h, rule, top, &sum);
    for (size_t i = 0; i < kept; i++) {
        uint32_t token = order[n - 1 - i]; /* in the order of popping */
        so_far += weight(logits, token, top, rule->temperature);
        if (so_far > draw * sum) return (int32_t)token;
    }
    return (int32_t)order[n - kept];
}

/* SPDX-License-Identifier: Apache-2.0 */
/* client/infer/sample.h - choose the next token from logits.
 *
 * Exact in one order, which is transformers': penalty, temperature, top-k (with
 * all that equal the last one), top-p, draw; common/refmath only, so the same logits and draw give the same token on every machine.
 *
 * Threads: no shared state.   Memory: allocates nothing.
 */
#ifndef HEARTH_CLIENT_INFER_SAMPLE_H
#define HEARTH_CLIENT_INFER_SAMPLE_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    double temperature; /* 0: the first largest logit */
    uint32_t top_k;     /* 0: off */
    double top_p;       /* 1: off; the smallest set that reaches it is kept */
} hearth_sample_rule;

/* Divide positive and multiply negative logits of the tokens in seen [n_seen]
 * by penalty, once each.  Tokens outside [0, n) are ignored.  mark [(n + 31) /
 * 32] is scratch.
 * Source: Keskar et al., CTRL, arXiv:1909.05858, section 4.1. */
void hearth_sample_penalize(float *logits, size_t n, const int32_t *seen,
                            size_t n_seen, double penalty, uint32_t *mark);

/* logits [n]; order [n] is scratch; draw in [0, 1).  Returns the token, or -1
 * when a logit is NaN or +infinity or none is finite.
 * Source: top-p: Holtzman et al., arXiv:1904.09751. */
int32_t hearth_sample_token(const float *logits, size_t n, uint32_t *order,
                            const hearth_sample_rule *rule, double draw);

#endif /* HEARTH_CLIENT_INFER_SAMPLE_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/optimizer.c - each element is computed alone and in the same
 * way, so tiles may run anywhere; the norm is summed in one order by one
 * thread.  Values are float; scalars of a step are double and rounded once,
 * as PyTorch does. */
#include "client/train/optimizer.h"

#include <math.h>
#include <string.h>

#define TILE ((size_t)16384) /* elements a thread takes at once */

size_t hearth_optimizer_bytes(size_t n) {
    return n > SIZE_MAX / (2 * sizeof(float)) ? SIZE_MAX
                                              : 2 * n * sizeof(float);
}

static bool config_ok(const hearth_adamw_config *c) {
    return c->beta1 >= 0.0 && c->beta1 < 1.0 && c->beta2 >= 0.0 &&
           c->beta2 < 1.0 && c->eps > 0.0 && isfinite(c->eps) &&
           c->weight_decay >= 0.0 && isfinite(c->weight_decay);
}

hearth_status hearth_optimizer_init(hearth_optimizer *o,
                                    const hearth_adamw_config *cfg, float *m,
                                    float *v, size_t n) {
    if (!o || !cfg || !config_ok(cfg) || (n && (!m || !v)))
        return HEARTH_EINVAL;
    *o = (hearth_optimizer){.cfg = *cfg, .m = m, .v = v, .n = n, .t = 0};
    if (n) memset(m, 0, n * sizeof(*m));
    if (n) memset(v, 0, n * sizeof(*v));
    return HEARTH_OK;
}

double hearth_optimizer_grad_norm(const hearth_optimizer_span *spans,
                                  size_t n_spans, double scale) {
    double sum = 0.0, block = 0.0;
    size_t in_block = 0;
    for (size_t s = 0; s < n_spans; s++)
        for (size_t i = 0; i < spans[s].n; i++) {
            double g = (double)spans[s].grad[i] * scale;
            block += g * g;
            if (++in_block < 4096) continue;
            sum += block;
            block = 0.0;
            in_block = 0;
        }
    return sqrt(sum + block);
}

double hearth_optimizer_clip_factor(double norm, double max_norm) {
    if (!(max_norm > 0.0)) return 1.0;
    double f = max_norm / (norm + 1e-6);
    return f < 1.0 ? f : 1.0;
}

/* What one step needs at every element. */
typedef struct {
    const hearth_optimizer_span *span;
    float *m, *v;
    float keep, lerp1, beta2, lerp2, step_size, root2, eps;
    double grad_scale;
} stepping;

static void step_tile(void *ud, size_t tile, size_t worker) {
    const stepping *s = ud;
    size_t from = tile * TILE, to = from + TILE;
    (void)worker;
    if (to > s->span->n) to = s->span->n;
    for (size_t i = from; i < to; i++) {
        float g = (float)((double)s->span->grad[i] * s->grad_scale);
        float w = s->span->value[i];
        if (s->span->decay) w *= s->keep;
        float m = s->m[i] + s->lerp1 * (g - s->m[i]);
        float v = s->beta2 * s->v[i] + s->lerp2 * g * g;
        s->m[i] = m;
        s->v[i] = v;
        s->span->value[i] =
            w - s->step_size * (m / (sqrtf(v) / s->root2 + s->eps));
    }
}

static bool spans_ok(const hearth_optimizer *o,
                     const hearth_optimizer_span *spans, size_t n_spans) {
    size_t left = o->n;
    for (size_t s = 0; s < n_spans; s++) {
        if (spans[s].n > left) return false;
        if (spans[s].n && (!spans[s].value || !spans[s].grad)) return false;
        left -= spans[s].n;
    }
    return left == 0;
}

/* x^t by squaring: t is the step, no libm. */
static double power(double x, uint64_t t) {
    double y = 1.0;
    for (; t; t >>= 1, x *= x)
        if (t & 1) y *= x;
    return y;
}

hearth_status hearth_optimizer_step(hearth_optimizer *o,
                                    const hearth_optimizer_span *spans,
                                    size_t n_spans, double lr,
                                    double grad_scale, hearth_pool *pool) {
    if (!o || (n_spans && !spans) || !spans_ok(o, spans, n_spans) ||
        !(lr >= 0.0) || !isfinite(lr) || !isfinite(grad_scale))
        return HEARTH_EINVAL;
    const hearth_adamw_config *c = &o->cfg;
    o->t++;
    stepping s = {.m = o->m, .v = o->v, .grad_scale = grad_scale};
    s.keep = (float)(1.0 - lr * c->weight_decay);
    s.lerp1 = (float)(1.0 - c->beta1);
    s.beta2 = (float)c->beta2;
    s.lerp2 = (float)(1.0 - c->beta2);
    s.step_size = (float)(lr / (1.0 - power(c->beta1, o->t)));
    s.root2 = (float)sqrt(1.0 - power(c->beta2, o->t));
    s.eps = (float)c->eps;
    for (size_t k = 0; k < n_spans; k++) {
        s.span = &spans[k];
        if (spans[k].n)
            hearth_pool_run(pool, (spans[k].n - 1) / TILE + 1, step_tile, &s);
        s.m += spans[k].n;
        s.v += spans[k].n;
    }
    return HEARTH_OK;
}

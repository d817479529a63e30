/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/norms.c - the norms of a decoder, row by row.
 *
 * Gradients of weights and biases (full mode) are summed in row order on one
 * thread, so that their bytes do not depend on the number of workers.
 */
#include <string.h>

#include "client/train/decoder_private.h"

#define MAX_HEAD ((size_t)512) /* 2 HEARTH_MODEL_MAX_PAIRS */

typedef struct {
    const hearth_decoder *d;
    const hearth_norm *norm;
    size_t width;
    const hearth_real *x, *dy;
    hearth_real *y;
} norm_job;

static hearth_real eps(const hearth_decoder *d) {
    return (hearth_real)d->c->norm_eps;
}

void hearth_norm__row(const hearth_decoder *d, const hearth_norm *norm,
                      size_t width, const hearth_real *x, hearth_real *y) {
    const hearth_kernels *k = d->compute.kernels;
    if (norm->bias)
        k->layernorm(width, x, norm->w, norm->bias, eps(d), y);
    else
        k->rmsnorm(width, x, norm->w, eps(d), y);
}

void hearth_norm__row_back(const hearth_decoder *d, const hearth_norm *norm,
                           size_t width, const hearth_real *x,
                           const hearth_real *dy, hearth_real *dx) {
    const hearth_kernels *k = d->compute.kernels;
    if (norm->bias)
        k->layernorm_back(width, x, norm->w, eps(d), dy, dx);
    else
        k->rmsnorm_back(width, x, norm->w, eps(d), dy, dx);
}

void hearth_norm__row_grad(const hearth_decoder *d, const hearth_norm *norm,
                           size_t width, const hearth_real *x,
                           const hearth_real *dy) {
    const hearth_kernels *k = d->compute.kernels;
    hearth_real mean = 0, r;
    if (!norm->grad_w) return;
    if (norm->bias)
        r = k->layer_inverse(width, x, eps(d), &mean);
    else
        r = k->rms_inverse(width, x, eps(d));
    for (size_t c = 0; c < width; c++)
        norm->grad_w[c] += dy[c] * ((x[c] - mean) * r);
    if (norm->grad_bias) k->accumulate(width, dy, norm->grad_bias);
}

static void forward_rows(void *ud, size_t first, size_t n) {
    const norm_job *j = ud;
    for (size_t i = first; i < first + n; i++)
        hearth_norm__row(j->d, j->norm, j->width, j->x + i * j->width,
                         j->y + i * j->width);
}

void hearth_norm__forward(const hearth_decoder *d, const hearth_norm *norm,
                          size_t n, size_t width, const hearth_real *x,
                          hearth_real *y) {
    norm_job j = {.d = d, .norm = norm, .width = width, .x = x, .y = y};
    hearth_decoder__rows(d, n, forward_rows, &j);
}

static void backward_rows(void *ud, size_t first, size_t n) {
    const norm_job *j = ud;
    for (size_t i = first; i < first + n; i++)
        hearth_norm__row_back(j->d, j->norm, j->width, j->x + i * j->width,
                              j->dy + i * j->width, j->y + i * j->width);
}

static void gradients(const norm_job *j, size_t n) {
    for (size_t i = 0; j->norm->grad_w && i < n; i++)
        hearth_norm__row_grad(j->d, j->norm, j->width, j->x + i * j->width,
                              j->dy + i * j->width);
}

void hearth_norm__backward(const hearth_decoder *d, const hearth_norm *norm,
                           size_t n, size_t width, const hearth_real *x,
                           const hearth_real *dy, hearth_real *dx) {
    norm_job j = {d, norm, width, x, dy, dx};
    hearth_decoder__rows(d, n, backward_rows, &j);
    gradients(&j, n);
}

static void inplace_rows(void *ud, size_t first, size_t n) {
    const norm_job *j = ud;
    hearth_real dy[MAX_HEAD];
    for (size_t i = first; i < first + n; i++) {
        hearth_real *row = j->y + i * j->width;
        memcpy(dy, row, j->width * sizeof(*dy));
        memset(row, 0, j->width * sizeof(*row));
        hearth_norm__row_back(j->d, j->norm, j->width, j->x + i * j->width, dy,
                              row);
    }
}

void hearth_norm__backward_inplace(const hearth_decoder *d,
                                   const hearth_norm *norm, size_t n,
                                   size_t width, const hearth_real *x,
                                   hearth_real *dy) {
    norm_job j = {d, norm, width, x, dy, dy};
    gradients(&j, n);
    hearth_decoder__rows(d, n, inplace_rows, &j);
}

void hearth_norm__refresh(const hearth_norm *norm, size_t width) {
    for (size_t c = 0; norm->own && c < width; c++)
        norm->w[c] = 1 + norm->own[c];
}

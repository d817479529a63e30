/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/span_attack.h - the row space of a small matrix, for an attack
 * that asks which known vectors lie in it.
 *
 *     span_basis b;
 *     find_span(m, k, &b);             // m [SPAN_ROWS, SPAN_RANK], row-major
 *     double off = off_span(&b, u);    // u [SPAN_RANK] of length 1
 *
 * Threads: pure functions.
 * Source:  cyclic Jacobi rotations of m^T m.
 */
#ifndef HEARTH_TESTS_SPAN_ATTACK_H
#define HEARTH_TESTS_SPAN_ATTACK_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define SPAN_RANK 32
#define SPAN_ROWS 32

static inline double dot(const double *a, const double *b) {
    double s = 0;
    for (size_t i = 0; i < SPAN_RANK; i++) s += a[i] * b[i];
    return s;
}

/* Rotate rows and columns p and q of the symmetric g, and rows of vec. */
static inline void jacobi_turn(double g[SPAN_RANK][SPAN_RANK],
                               double vec[SPAN_RANK][SPAN_RANK], size_t p,
                               size_t q) {
    if (fabs(g[p][q]) < 1e-300) return;
    double theta = (g[q][q] - g[p][p]) / (2 * g[p][q]);
    double t = (theta < 0 ? -1 : 1) / (fabs(theta) + sqrt(theta * theta + 1));
    double c = 1 / sqrt(t * t + 1), s = t * c;
    for (size_t i = 0; i < SPAN_RANK; i++) {
        double a = g[i][p], b = g[i][q];
        g[i][p] = c * a - s * b;
        g[i][q] = s * a + c * b;
    }
    for (size_t i = 0; i < SPAN_RANK; i++) {
        double a = g[p][i], b = g[q][i];
        g[p][i] = c * a - s * b;
        g[q][i] = s * a + c * b;
        a = vec[p][i], b = vec[q][i];
        vec[p][i] = c * a - s * b;
        vec[q][i] = s * a + c * b;
    }
}

typedef struct {
    double vec[SPAN_RANK][SPAN_RANK]; /* the first k are a basis */
    double value[SPAN_RANK]; /* squared singular values, largest first */
    size_t k;
} span_basis;

static inline void sort_basis(span_basis *b) {
    for (size_t i = 0; i < SPAN_RANK; i++)
        for (size_t j = i + 1; j < SPAN_RANK; j++) {
            if (b->value[j] <= b->value[i]) continue;
            double keep[SPAN_RANK], v = b->value[i];
            memcpy(keep, b->vec[i], sizeof(keep));
            memcpy(b->vec[i], b->vec[j], sizeof(keep));
            memcpy(b->vec[j], keep, sizeof(keep));
            b->value[i] = b->value[j];
            b->value[j] = v;
        }
}

static inline bool is_diagonal(double g[SPAN_RANK][SPAN_RANK]) {
    double off = 0, all = 0;
    for (size_t i = 0; i < SPAN_RANK; i++)
        for (size_t j = 0; j < SPAN_RANK; j++) {
            all += g[i][j] * g[i][j];
            if (i != j) off += g[i][j] * g[i][j];
        }
    return off <= 1e-30 * all;
}

/* The k strongest directions of the row space of m [SPAN_ROWS, SPAN_RANK]. */
static inline void find_span(const double *m, size_t k, span_basis *b) {
    double g[SPAN_RANK][SPAN_RANK] = {{0}};
    memset(b, 0, sizeof(*b));
    b->k = k < SPAN_RANK - 2 ? k : SPAN_RANK - 2;
    for (size_t i = 0; i < SPAN_RANK; i++) {
        b->vec[i][i] = 1;
        for (size_t j = 0; j < SPAN_RANK; j++)
            for (size_t o = 0; o < SPAN_ROWS; o++)
                g[i][j] += m[o * SPAN_RANK + i] * m[o * SPAN_RANK + j];
    }
    for (int sweep = 0; sweep < 12 && !is_diagonal(g); sweep++)
        for (size_t p = 0; p < SPAN_RANK; p++)
            for (size_t q = p + 1; q < SPAN_RANK; q++)
                jacobi_turn(g, b->vec, p, q);
    for (size_t i = 0; i < SPAN_RANK; i++) b->value[i] = fmax(g[i][i], 0);
    sort_basis(b);
}

/* Squared distance of a unit vector from the span. */
static inline double off_span(const span_basis *b, const double u[SPAN_RANK]) {
    double s = 1;
    for (size_t i = 0; i < b->k; i++) {
        double c = dot(b->vec[i], u);
        s -= c * c;
    }
    return s;
}

#endif /* HEARTH_TESTS_SPAN_ATTACK_H */

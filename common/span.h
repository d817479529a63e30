/* SPDX-License-Identifier: Apache-2.0 */
/* common/span.h - a run of floats. */
#ifndef HEARTH_COMMON_SPAN_H
#define HEARTH_COMMON_SPAN_H

#include <stddef.h>

/* A run of floats.  Borrows; never owns.  v may be NULL only when n is 0. */
typedef struct {
    float *v; /* [n] */
    size_t n; /* elements, not bytes */
} hearth_span;

#endif /* HEARTH_COMMON_SPAN_H */

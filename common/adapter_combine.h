/* SPDX-License-Identifier: Apache-2.0 */
/* common/adapter_combine.h - compare adapters, and add several into one.
 *
 * Threads: as common/adapter.h.
 * Memory:  _combine makes a new adapter; the checks allocate nothing.
 */
#ifndef HEARTH_COMMON_ADAPTER_COMBINE_H
#define HEARTH_COMMON_ADAPTER_COMBINE_H

#include <stddef.h>

#include "common/adapter.h"
#include "common/status.h"

/* Same modules, ranks, sides, alphas and rslora?  HEARTH_OK, or
 * HEARTH_EMISMATCH with err naming the first difference and both sides. */
HEARTH_MUST_CHECK
hearth_status hearth_adapter_same_shape(const hearth_adapter *a,
                                        const hearth_adapter *b,
                                        hearth_error *err);

/* HEARTH_OK when all values are finite, else HEARTH_ENONFINITE. */
HEARTH_MUST_CHECK
hearth_status hearth_adapter_check_finite(const hearth_adapter *a);

/* One adapter that acts as the weighted sum of n others: ranks add up, every
 * scale is folded into B, alpha = rank.  Modules may differ.
 * Errors as hearth_adapter_new, plus HEARTH_EINVAL for a weight that is not
 * finite and HEARTH_EMISMATCH for a module whose sides differ. */
HEARTH_MUST_CHECK
hearth_status hearth_adapter_combine(hearth_adapter **out,
                                     const hearth_adapter *const *parts,
                                     const float *weights, size_t n,
                                     const hearth_alloc *al, hearth_error *err);

#endif /* HEARTH_COMMON_ADAPTER_COMBINE_H */

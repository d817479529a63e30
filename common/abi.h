/* SPDX-License-Identifier: Apache-2.0 */
/* common/abi.h - read a caller's config struct of any version. */
#ifndef HEARTH_COMMON_ABI_H
#define HEARTH_COMMON_ABI_H
#include <stddef.h>

#include "common/status.h"

/* Copy src over dst, whose first field is a size_t struct_size.
 *
 *   dst       [dst_size] this library's struct, already holding defaults
 *   min_size  size in the first release; anything smaller is an error
 *
 * A shorter src leaves the defaults of the fields it does not have.  A longer
 * one is accepted only when the part that we do not know is all zero.
 * Returns HEARTH_OK, or HEARTH_EINVAL with dst untouched. */
HEARTH_MUST_CHECK
hearth_status hearth_abi_copy(void *dst, size_t dst_size, size_t min_size,
                              const void *src);

#endif /* HEARTH_COMMON_ABI_H */

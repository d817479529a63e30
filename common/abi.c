/* SPDX-License-Identifier: Apache-2.0 */
/* common/abi.c - same idea as copy_struct_from_user() in Linux. */
#include "common/abi.h"

#include <string.h>

hearth_status hearth_abi_copy(void *dst, size_t dst_size, size_t min_size,
                              const void *src) {
    size_t n;
    if (!src) return HEARTH_EINVAL;
    memcpy(&n, src, sizeof(n));
    if (n < min_size || n > 4096) return HEARTH_EINVAL;
    for (size_t i = dst_size; i < n; i++)
        if (((const unsigned char *)src)[i]) return HEARTH_EINVAL;
    memcpy(dst, src, n < dst_size ? n : dst_size);
    memcpy(dst, &dst_size, sizeof(dst_size));
    return HEARTH_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/kernels.c - choose a kernel set by name. */
#include "client/train/kernels.h"

#include <string.h>

#include "client/train/kernels_loops.h"

const hearth_kernels *hearth_kernels_default(void) {
    const hearth_kernels *k = hearth_kernels_native();
    return k ? k : hearth_kernels_reference();
}

const hearth_kernels *hearth_kernels_find(const char *name) {
    if (strcmp(name, "auto") == 0) return hearth_kernels_default();
    if (strcmp(name, "reference") == 0) return hearth_kernels_reference();
    if (strcmp(name, "native") == 0) return hearth_kernels_native();
    if (strcmp(name, "bf16") == 0) return hearth_kernels_bf16();
    if (strcmp(name, "int8") == 0) return hearth_kernels_int8();
    if (strcmp(name, "blas") == 0) return hearth_kernels_blas();
    return NULL;
}

const char *hearth_kernels_describe(const hearth_kernels *k) {
    if (k && k == hearth_kernels_native())
        return hearth_kernels__describe_native();
    if (k && k == hearth_kernels_bf16()) return hearth_kernels__describe_bf16();
    if (k && k == hearth_kernels_int8()) return hearth_kernels__describe_int8();
    if (k && k == hearth_kernels_blas()) return hearth_kernels__describe_blas();
    return "reference kernels: plain C, one fixed order of operations";
}

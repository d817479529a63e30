/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/kernels_loops.h - the fast loops beside the products: norms,
 * softmax, SwiGLU, rotation, for the widest vectors of this machine. */
#ifndef HEARTH_CLIENT_TRAIN_KERNELS_LOOPS_H
#define HEARTH_CLIENT_TRAIN_KERNELS_LOOPS_H

#include "client/train/kernels.h"

#ifndef HEARTH_FLOAT64
/* Fill every entry of k but name and the products.  Returns the vector set
 * chosen: "avx512", "avx2" or "plain". */
const char *hearth_kernels__fill_loops(hearth_kernels *k);
#endif

#endif /* HEARTH_CLIENT_TRAIN_KERNELS_LOOPS_H */

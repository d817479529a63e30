/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/real.h - the number type of model code.
 *
 * float, or double in the test twin built with -DHEARTH_FLOAT64, which is the
 * in-tree oracle (reference kernels only).
 */
#ifndef HEARTH_CLIENT_TRAIN_REAL_H
#define HEARTH_CLIENT_TRAIN_REAL_H

#ifdef HEARTH_FLOAT64
typedef double hearth_real;
#define HEARTH_REAL_MAX 0x1.fffffffffffffp+1023
#else
typedef float hearth_real;
#define HEARTH_REAL_MAX 0x1.fffffep+127f
#endif

#endif /* HEARTH_CLIENT_TRAIN_REAL_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/kernels_loops.h - what the fast sets are made of: loops (norms,
 * softmax, SwiGLU, rotation) and products, by vector set. */
#ifndef HEARTH_CLIENT_TRAIN_KERNELS_LOOPS_H
#define HEARTH_CLIENT_TRAIN_KERNELS_LOOPS_H

#include <stdbool.h>

#include "client/train/kernels.h"

#ifndef HEARTH_FLOAT64
/* Fill every entry of k but name and the products.  Returns the vector set
 * chosen: "avx512", "avx2" or "plain". */
const char *hearth_kernels__fill_loops(hearth_kernels *k);

/* The products of vector set "avx512", "avx2" or "plain" into k; false, k left
 * as it was, where the machine or the compiler has no such set. */
bool hearth_kernels__fill_products(hearth_kernels *k, const char *set);

/* The same for the products of bfloat16 numbers, without "avx512" and with
 * "amx", "amx2", "amx3", "avx512bf16" and "bfmmla". */
bool hearth_kernels__fill_pairs(hearth_kernels *k, const char *set);

/* The same for the products of 8-bit numbers: "plain", "avx2", "avx512vnni" and
 * "i8mm". */
bool hearth_kernels__fill_int8(hearth_kernels *k, const char *set);

/* The scale that a run of a Q8_0 weight begins with. */
float hearth_int8__scale(const unsigned char *stored);
#endif

/* The parts of set "bfmmla" that are its own, where the machine has it. */
bool hearth_kernels__fill_bfmmla(hearth_kernels *k);

/* The parts of set "i8mm" that are its own, where the machine has it. */
bool hearth_kernels__fill_i8mm(hearth_kernels *k);

/* The same of sets "amx", "amx2" and "amx3", of so many parts, into a table that
 * has "avx512bf16". */
bool hearth_kernels__fill_amx(hearth_kernels *k, size_t parts);

/* What runs the products of a set that is there; static. */
const char *hearth_kernels__describe_native(void);
const char *hearth_kernels__describe_bf16(void);
const char *hearth_kernels__describe_int8(void);
const char *hearth_kernels__describe_blas(void);

#endif /* HEARTH_CLIENT_TRAIN_KERNELS_LOOPS_H */

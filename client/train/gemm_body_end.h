/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/gemm_body_end.h - forget one set's names: after gemm_body.h and
 * what builds on it. */
#undef NR
#undef NAME_2
#undef NAME_1
#undef NAME
#undef SET
#undef ATTR
#undef VL
#undef MR
#undef NV
#undef INTERLEAVE_LOW
#undef INTERLEAVE_HIGH
#undef STRIP
#undef DOTS

/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/base_type.h - what a run holds the base's matrices as.
 *
 * Threads: plain data.
 */
#ifndef HEARTH_TRAIN_BASE_TYPE_H
#define HEARTH_TRAIN_BASE_TYPE_H

typedef enum {
    HEARTH_BASE_FILE = 0, /* as the model's file has them */
    HEARTH_BASE_AUTO, /* of FILE, Q8_0 and Q4_0 what a budget allows; without
                             a budget FILE */
    HEARTH_BASE_F32,  /* the rest: a copy in memory, where it is narrower */
    HEARTH_BASE_F16,
    HEARTH_BASE_BF16,
    HEARTH_BASE_Q8_0,
    HEARTH_BASE_Q4_0, /* embedding and head as Q8_0 */
} hearth_base_type;

/* As flags and events spell it: "file", "q8_0"; "?" out of range.  Static. */
const char *hearth_base_type_name(hearth_base_type t);

#endif /* HEARTH_TRAIN_BASE_TYPE_H */

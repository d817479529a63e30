/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/checkpoint.h - stop a run and go on later, bit for bit.
 *
 * A checkpoint holds the trained values, both moments of the optimizer and how
 * far the run is; order and dropout need none, being functions of the seed.
 * It is written at the end of a step only.  Format: common/FORMATS.md,
 * "checkpoint".
 *
 * A checkpoint fits one run: it carries a digest of the settings, the base
 * model, the shapes and the records, and is refused for any other.
 *
 * Threads: as the trainer.
 * Memory:  streams; allocates nothing that grows.
 */
#ifndef HEARTH_TRAIN_CHECKPOINT_H
#define HEARTH_TRAIN_CHECKPOINT_H

#include "client/train/trainer.h"
#include "common/error.h"
#include "common/status.h"

/* Replace the file at path atomically.
 * HEARTH_ESTATE in the middle of a step; HEARTH_EIO, HEARTH_ENOSPACE. */
HEARTH_MUST_CHECK
hearth_status hearth_checkpoint_save(const hearth_trainer *t, const char *path,
                                     hearth_error *err);

/* Put a fresh trainer where the file says.
 * Returns HEARTH_OK
 *         HEARTH_ESTATE     the trainer has ticked already
 *         HEARTH_ENOTFOUND  no such file
 *         HEARTH_EFORMAT    not a checkpoint, or cut short
 *         HEARTH_EVERSION   of a newer build
 *         HEARTH_EDIGEST    damaged
 *         HEARTH_EMISMATCH  of another run; err says what differs
 * and the trainer is as it was in every failure. */
HEARTH_MUST_CHECK
hearth_status hearth_checkpoint_load(hearth_trainer *t, const char *path,
                                     hearth_error *err);

#endif /* HEARTH_TRAIN_CHECKPOINT_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/aggregate.h - add uploads up, exactly.
 *
 * An upload is d + n_coords int32, little-endian, in canonical order.  Sums are
 * int64, so any order, thread or process count gives the same bytes, and no sum
 * of up to 2^31 uploads can overflow.
 *
 * A checkpoint is a file of the sum; which contributions are in it is recorded
 * by the store in the transaction that makes it current (coord_store.h), so a
 * restart loads it and folds only the rest.
 *
 *     "HACC" u32 version, u64 number, u64 counted, u64 n, n x i64 sums,
 *     SHA-256 of all before; little-endian.
 *
 * Threads: an accumulator belongs to one thread at a time.
 * Memory:  8 bytes per parameter, and 16 KiB while a file is read.
 */
#ifndef HEARTH_COORDINATOR_AGGREGATE_H
#define HEARTH_COORDINATOR_AGGREGATE_H

#include <stddef.h>
#include <stdint.h>

#include "common/alloc.h"
#include "common/status.h"

typedef struct {
    size_t n;         /* coordinates */
    int64_t *sum;     /* [n]; NULL when not open */
    uint64_t counted; /* contributions in it */
    uint64_t number;  /* of the checkpoint it equals; 0 = empty */
    const hearth_alloc *al;
} hearth_accumulator;

/* All zero.  HEARTH_OK or HEARTH_ENOMEM. */
HEARTH_MUST_CHECK
hearth_status hearth_accumulator_init(hearth_accumulator *a, size_t n,
                                      const hearth_alloc *al);
/* A zeroed one is fine. */
void hearth_accumulator_free(hearth_accumulator *a);

/* What an upload must be. */
typedef struct {
    uint64_t bytes; /* 4 n */
    int64_t range;  /* |coordinate| at most this */
    const uint8_t *sha256;
} hearth_upload_check;

/* Read a whole upload and check length, digest and every coordinate.
 *
 * Returns HEARTH_OK
 *         HEARTH_EDIGEST   length or digest is another
 *         HEARTH_ETOOBIG   a coordinate is out of range
 *         HEARTH_ENOTFOUND HEARTH_EIO HEARTH_ENOMEM */
HEARTH_MUST_CHECK
hearth_status hearth_upload_verify(const char *path,
                                   const hearth_upload_check *check,
                                   hearth_error *err);

/* Verify an upload, then add it.  On a failure of the verification the sum is
 * as it was; after HEARTH_EIO it must be thrown away. */
HEARTH_MUST_CHECK
hearth_status hearth_accumulator_add(hearth_accumulator *a, const char *path,
                                     const hearth_upload_check *check,
                                     hearth_error *err);

/* a += b.  HEARTH_EINVAL when the sizes differ. */
HEARTH_MUST_CHECK
hearth_status hearth_accumulator_merge(hearth_accumulator *a,
                                       const hearth_accumulator *b);

/* Write a checkpoint (fsync, rename) with a->number. */
HEARTH_MUST_CHECK
hearth_status hearth_accumulator_save(const hearth_accumulator *a,
                                      const char *path, hearth_error *err);

/* Read a checkpoint into an initialised accumulator of the same n.
 *
 * Returns HEARTH_OK
 *         HEARTH_EVERSION  written by a newer build
 *         HEARTH_EFORMAT   not a checkpoint of n sums
 *         HEARTH_EDIGEST   altered on disk
 *         HEARTH_ENOTFOUND HEARTH_EIO
 * and a is empty on failure. */
HEARTH_MUST_CHECK
hearth_status hearth_accumulator_load(hearth_accumulator *a, const char *path,
                                      hearth_error *err);

#endif /* HEARTH_COORDINATOR_AGGREGATE_H */

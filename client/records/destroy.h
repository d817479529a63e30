/* SPDX-License-Identifier: Apache-2.0 */
/* client/records/destroy.h - remove files so that their bytes are gone.
 *
 * Each file is overwritten with zeros, fsynced and unlinked.  On flash and on
 * copy-on-write file systems the drive may keep old blocks out of reach of any
 * program; full-disk encryption is what helps there, and SECURITY.md says so.
 *
 * Threads: no shared state.   Memory: a few KiB of stack a folder level.
 */
#ifndef HEARTH_RECORDS_DESTROY_H
#define HEARTH_RECORDS_DESTROY_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/status.h"

#define HEARTH_DESTROY_MAX_DEPTH 8

/* Destroy the file or folder at path, and temporary files that an interrupted
 * writer left beside it (path.tmp.*).  Links are removed, never followed.  What
 * is not there is fine.  *n_files (may be NULL) is increased by the number of
 * files destroyed.
 *
 * Returns HEARTH_OK, HEARTH_EINVAL (NULL), HEARTH_ETOOBIG (path too long or too
 * deep), HEARTH_EIO and the like: something is left, call again. */
HEARTH_MUST_CHECK
hearth_status hearth_destroy_path(const char *path, uint64_t *n_files,
                                  hearth_error *err);

#endif /* HEARTH_RECORDS_DESTROY_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* common/file.h - files: mapped, read whole, written atomically.
 *
 *     hearth_file f = HEARTH_FILE_INIT;
 *     hearth_status st = hearth_file_map(&f, path, err);
 *     ... f.v[0 .. f.n) ...
 *     hearth_file_unmap(&f);
 *
 * Writers are atomic: a temporary file beside the target, fsync, rename, fsync
 * of the folder.  A reader sees the old content or the new, never half.
 * Threads: no shared state.
 * Errors:  ENOTFOUND, ENOSPACE, EIO, ENOMEM, ETOOBIG; err names the path.
 */
#ifndef HEARTH_COMMON_FILE_H
#define HEARTH_COMMON_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/buf.h"
#include "common/status.h"

/* A file mapped read-only.  v is NULL when n is 0. */
typedef struct {
    const unsigned char *v; /* [n] */
    size_t n;               /* bytes */
    void *map;              /* what munmap takes */
} hearth_file;

#define HEARTH_FILE_INIT                                                       \
    { NULL, 0, NULL }

HEARTH_MUST_CHECK hearth_status hearth_file_map(hearth_file *f,
                                                const char *path,
                                                hearth_error *err);
void hearth_file_unmap(hearth_file *f);

/* Give the pages of n mapped bytes at p back to the system, whole pages around
 * them included: the next look reads them again.  Only resident memory changes;
 * a system without such a call keeps them. */
void hearth_file_forget(const void *p, size_t n);

/* Looks at n mapped bytes at p will be few and far between (scattered), so that
 * the system reads what is looked at and nothing around it; false: as usual.  A
 * hint: it changes no byte. */
void hearth_file_expect(const void *p, size_t n, bool scattered);

/* Append the whole file to out; HEARTH_ETOOBIG above max_bytes. */
HEARTH_MUST_CHECK hearth_status hearth_file_read(hearth_buf *out,
                                                 const char *path,
                                                 size_t max_bytes,
                                                 hearth_error *err);

/* A file being written.  Nothing exists at path until commit. */
typedef struct {
    FILE *fp;        /* write here; NULL when closed */
    char path[1024]; /* where it will be */
    char temp[1040]; /* where it is now */
} hearth_file_writer;

/* mode as for chmod, e.g. 0644 or 0600 for keys. */
HEARTH_MUST_CHECK hearth_status hearth_file_writer_open(hearth_file_writer *w,
                                                        const char *path,
                                                        unsigned mode,
                                                        hearth_error *err);
HEARTH_MUST_CHECK hearth_status hearth_file_writer_put(hearth_file_writer *w,
                                                       const void *p, size_t n,
                                                       hearth_error *err);
/* fsync, rename, fsync of the folder.  On failure the temporary is gone. */
HEARTH_MUST_CHECK hearth_status hearth_file_writer_commit(hearth_file_writer *w,
                                                          hearth_error *err);
/* Drop it.  A no-op after commit, or on a zeroed writer. */
void hearth_file_writer_abort(hearth_file_writer *w);

/* open + put + commit. */
HEARTH_MUST_CHECK hearth_status hearth_file_write(const char *path,
                                                  const void *p, size_t n,
                                                  unsigned mode,
                                                  hearth_error *err);

/* mkdir -p with mode 0700 for what is new.  OK when it exists. */
HEARTH_MUST_CHECK hearth_status hearth_file_mkdirs(const char *path,
                                                   hearth_error *err);

/* dir + "/" + name into out [cap].  HEARTH_ETOOBIG when it does not fit. */
HEARTH_MUST_CHECK hearth_status hearth_file_join(char *out, size_t cap,
                                                 const char *dir,
                                                 const char *name);

bool hearth_file_exists(const char *path);
bool hearth_file_is_dir(const char *path);

/* Remove a file; OK when it was not there. */
HEARTH_MUST_CHECK hearth_status hearth_file_remove(const char *path,
                                                   hearth_error *err);

/* Remove a folder with everything below it; OK when it was not there.  Never
 * follows links. */
HEARTH_MUST_CHECK hearth_status hearth_file_remove_tree(const char *path,
                                                        hearth_error *err);

/* fsync a folder, so that renames in it last. */
HEARTH_MUST_CHECK hearth_status hearth_file_sync_dir(const char *path,
                                                     hearth_error *err);

/* Free bytes for an unprivileged writer on the file system of path; 0 when
 * unknown. */
uint64_t hearth_file_free_bytes(const char *path);

#endif /* HEARTH_COMMON_FILE_H */

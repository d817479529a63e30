/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/aggregate.c - integer sums of spool files.
 *
 * A file is read twice when it is added: first to verify it, then to add it,
 * so that a damaged file never touches the sum.
 */
#include "coordinator/aggregate.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/bytes.h"
#include "common/error.h"
#include "common/failpoint.h"
#include "common/file.h"
#include "common/hash.h"
#include "common/mem.h"

#define PIECE   ((size_t)2048) /* bytes read at once, on the stack */
#define HEADER  32u
#define VERSION 1u
static const char MAGIC[4] = {'H', 'A', 'C', 'C'};

hearth_status hearth_accumulator_init(hearth_accumulator *a, size_t n,
                                      const hearth_alloc *al) {
    memset(a, 0, sizeof(*a));
    a->sum = hearth_mem_array(al, n, sizeof(*a->sum));
    if (!a->sum) return HEARTH_ENOMEM;
    a->n = n;
    a->al = al;
    return HEARTH_OK;
}

void hearth_accumulator_free(hearth_accumulator *a) {
    hearth_mem_free(a->al, a->sum);
    memset(a, 0, sizeof(*a));
}

static hearth_status open_upload(FILE **f, const char *path,
                                 hearth_error *err) {
    *f = fopen(path, "rb");
    if (*f) return HEARTH_OK;
    /* Only a missing file is lost; without descriptors it is tried again. */
    if (errno != ENOENT)
        return hearth_error_set(err, hearth_error_from_errno(errno),
                                "%s: can not be read", path);
    return hearth_error_set(err, HEARTH_ENOTFOUND,
                            "%s: the upload is gone; was the spool folder "
                            "cleaned by hand?",
                            path);
}

static bool in_range(const uint8_t *p, size_t n_bytes, int64_t range) {
    for (size_t i = 0; i + 4 <= n_bytes; i += 4) {
        int64_t v = (int32_t)hearth_load_le32(p + i);
        if (v > range || v < -range) return false;
    }
    return true;
}

hearth_status hearth_upload_verify(const char *path,
                                   const hearth_upload_check *check,
                                   hearth_error *err) {
    uint8_t piece[PIECE], have[32];
    hearth_sha256_state h;
    uint64_t total = 0;
    bool ok = true;
    FILE *f = NULL;
    hearth_status st = open_upload(&f, path, err);
    if (st != HEARTH_OK) return st;
    if ((st = hearth_sha256_init(&h)) != HEARTH_OK) goto done;
    for (;;) {
        size_t n = fread(piece, 1, sizeof(piece), f);
        if (n == 0) break;
        total += n;
        if (total > check->bytes) break;
        ok = ok && in_range(piece, n, check->range);
        if ((st = hearth_sha256_add(&h, piece, n)) != HEARTH_OK) goto done;
    }
    if (ferror(f)) {
        st = hearth_error_set(err, HEARTH_EIO, "%s: can not be read", path);
        goto done;
    }
    if ((st = hearth_sha256_finish(&h, have)) != HEARTH_OK) goto done;
    if (total != check->bytes || memcmp(have, check->sha256, 32) != 0)
        st = hearth_error_set(err, HEARTH_EDIGEST,
                              "the upload is not the bytes that were "
                              "announced; send them again");
    else if (!ok)
        st = hearth_error_set(err, HEARTH_ETOOBIG,
                              "a coordinate of the upload is out of range");
done:
    hearth_sha256_free(&h);
    fclose(f);
    return st;
}

hearth_status hearth_accumulator_add(hearth_accumulator *a, const char *path,
                                     const hearth_upload_check *check,
                                     hearth_error *err) {
    uint8_t piece[PIECE];
    size_t at = 0;
    FILE *f = NULL;
    hearth_status st;
    if (!a->sum || check->bytes != 4 * (uint64_t)a->n)
        return hearth_error_set(err, HEARTH_EINVAL, "aggregate: wrong size");
    if ((st = hearth_upload_verify(path, check, err)) != HEARTH_OK) return st;
    if ((st = open_upload(&f, path, err)) != HEARTH_OK) return st;
    for (;;) {
        size_t n = fread(piece, 1, sizeof(piece), f) / 4;
        if (n == 0 || at + n > a->n) break;
        for (size_t i = 0; i < n; i++)
            a->sum[at + i] += (int32_t)hearth_load_le32(piece + 4 * i);
        at += n;
    }
    fclose(f);
    if (at != a->n)
        return hearth_error_set(err, HEARTH_EIO,
                                "%s: changed while it was "
                                "read; the disk or memory is faulty",
                                path);
    a->counted++;
    return HEARTH_OK;
}

hearth_status hearth_accumulator_merge(hearth_accumulator *a,
                                       const hearth_accumulator *b) {
    if (!a->sum || !b->sum || a->n != b->n) return HEARTH_EINVAL;
    for (size_t i = 0; i < a->n; i++) a->sum[i] += b->sum[i];
    a->counted += b->counted;
    return HEARTH_OK;
}

static void put_header(uint8_t h[HEADER], const hearth_accumulator *a) {
    memcpy(h, MAGIC, 4);
    hearth_store_le32(h + 4, VERSION);
    hearth_store_le64(h + 8, a->number);
    hearth_store_le64(h + 16, a->counted);
    hearth_store_le64(h + 24, (uint64_t)a->n);
}

/* Write and hash. */
static hearth_status put(hearth_file_writer *w, hearth_sha256_state *h,
                         const void *p, size_t n, hearth_error *err) {
    hearth_status st = hearth_sha256_add(h, p, n);
    return st == HEARTH_OK ? hearth_file_writer_put(w, p, n, err) : st;
}

static hearth_status put_sums(hearth_file_writer *w, hearth_sha256_state *h,
                              const hearth_accumulator *a, hearth_error *err) {
    uint8_t piece[PIECE];
    hearth_status st = HEARTH_OK;
    for (size_t i = 0; i < a->n && st == HEARTH_OK;) {
        size_t n = 0;
        for (; n < PIECE / 8 && i < a->n; n++, i++)
            hearth_store_le64(piece + 8 * n, (uint64_t)a->sum[i]);
        st = put(w, h, piece, 8 * n, err);
    }
    return st;
}

hearth_status hearth_accumulator_save(const hearth_accumulator *a,
                                      const char *path, hearth_error *err) {
    uint8_t header[HEADER], digest[32];
    hearth_file_writer w;
    hearth_sha256_state h;
    hearth_status st = hearth_sha256_init(&h);
    if (st != HEARTH_OK) return st;
    memset(&w, 0, sizeof(w));
    put_header(header, a);
    st = hearth_file_writer_open(&w, path, 0600, err);
    if (st == HEARTH_OK) st = put(&w, &h, header, sizeof(header), err);
    if (st == HEARTH_OK) st = put_sums(&w, &h, a, err);
    if (st == HEARTH_OK) st = hearth_sha256_finish(&h, digest);
    if (st == HEARTH_OK)
        st = hearth_file_writer_put(&w, digest, sizeof(digest), err);
    if (st == HEARTH_OK) {
        HEARTH_FAILPOINT("fold.before_file");
        st = hearth_file_writer_commit(&w, err);
    } else {
        hearth_file_writer_abort(&w);
    }
    hearth_sha256_free(&h);
    return st;
}

static hearth_status load(hearth_accumulator *a, const hearth_file *f,
                          const char *path, hearth_error *err) {
    uint8_t digest[32];
    hearth_status st;
    if (f->n < HEADER || memcmp(f->v, MAGIC, 4) != 0)
        return hearth_error_set(err, HEARTH_EFORMAT, "%s: no checkpoint", path);
    if (hearth_load_le32(f->v + 4) != VERSION)
        return hearth_error_set(err, HEARTH_EVERSION,
                                "%s: written by a newer version; update", path);
    if (hearth_load_le64(f->v + 24) != a->n || f->n != HEADER + 8 * a->n + 32)
        return hearth_error_set(err, HEARTH_EFORMAT,
                                "%s: a checkpoint of another size", path);
    if ((st = hearth_sha256(digest, f->v, f->n - 32)) != HEARTH_OK) return st;
    if (memcmp(digest, f->v + f->n - 32, 32) != 0)
        return hearth_error_set(err, HEARTH_EDIGEST,
                                "%s: altered on disk; the round will be "
                                "declared failed",
                                path);
    a->number = hearth_load_le64(f->v + 8);
    a->counted = hearth_load_le64(f->v + 16);
    for (size_t i = 0; i < a->n; i++)
        a->sum[i] = (int64_t)hearth_load_le64(f->v + HEADER + 8 * i);
    return HEARTH_OK;
}

hearth_status hearth_accumulator_load(hearth_accumulator *a, const char *path,
                                      hearth_error *err) {
    hearth_file f = HEARTH_FILE_INIT;
    hearth_status st = hearth_file_map(&f, path, err);
    if (st != HEARTH_OK) return st;
    st = load(a, &f, path, err);
    if (st != HEARTH_OK) {
        memset(a->sum, 0, a->n * sizeof(*a->sum));
        a->number = a->counted = 0;
    }
    hearth_file_unmap(&f);
    return st;
}

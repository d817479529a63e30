/* SPDX-License-Identifier: Apache-2.0 */
/* common/gguf_writer.c - header in memory, data streamed, file atomic. */
#include "common/gguf_writer.h"

#include <string.h>

#include "common/buf.h"
#include "common/bytes.h"
#include "common/error.h"
#include "common/file.h"
#include "common/mem.h"

#define MAX_TENSORS ((size_t)HEARTH_GGUF_MAX_TENSORS)
#define MAX_FLOATS  ((size_t)4096)

typedef struct {
    hearth_quant_type type;
    uint64_t n_bytes;
} declared;

struct hearth_gguf_writer {
    hearth_alloc al;
    hearth_file_writer file;
    hearth_buf keys, infos; /* entries as they will be in the file */
    hearth_buf list;        /* declared[], one a tensor */
    uint64_t n_keys, offset;
    size_t n, at;     /* tensors declared; the one being written */
    uint64_t written; /* bytes of that one */
    bool begun;       /* the header is on disk */
};

/* The format's number of a type. */
static uint32_t type_id(hearth_quant_type t) {
    static const uint32_t id[HEARTH_QUANT_COUNT] = {0, 1, 30, 8,  2, 3,
                                                    6, 7, 12, 13, 14};
    return id[t];
}

static hearth_status fail(const hearth_gguf_writer *w, hearth_error *err,
                          hearth_status st, const char *text) {
    return hearth_error_set(err, st, "%.150s: %s", w->file.path, text);
}

hearth_status hearth_gguf_writer_new(hearth_gguf_writer **out, const char *path,
                                     const hearth_alloc *al,
                                     hearth_error *err) {
    *out = NULL;
    al = hearth_mem_or_default(al);
    hearth_gguf_writer *w = hearth_mem_new(al, sizeof(*w));
    if (!w)
        return hearth_error_set(err, HEARTH_ENOMEM,
                                "%.150s: out of memory; close other programs "
                                "and try again",
                                path);
    w->al = *al;
    w->keys = (hearth_buf)HEARTH_BUF_INIT(&w->al);
    w->infos = (hearth_buf)HEARTH_BUF_INIT(&w->al);
    w->list = (hearth_buf)HEARTH_BUF_INIT(&w->al);
    hearth_status st = hearth_file_writer_open(&w->file, path, 0644, err);
    if (st != HEARTH_OK) {
        hearth_mem_free(al, w);
        return st;
    }
    *out = w;
    return HEARTH_OK;
}

void hearth_gguf_writer_free(hearth_gguf_writer *w) {
    if (!w) return;
    hearth_alloc al = w->al;
    hearth_file_writer_abort(&w->file);
    hearth_buf_free(&w->keys);
    hearth_buf_free(&w->infos);
    hearth_buf_free(&w->list);
    hearth_mem_free(&al, w);
}

static void put_u32(hearth_buf *b, uint32_t v) {
    uint8_t bytes[4];
    hearth_store_le32(bytes, v);
    (void)hearth_buf_append(b, bytes, sizeof(bytes));
}

static void put_u64(hearth_buf *b, uint64_t v) {
    uint8_t bytes[8];
    hearth_store_le64(bytes, v);
    (void)hearth_buf_append(b, bytes, sizeof(bytes));
}

static void put_float(hearth_buf *b, float v) {
    uint32_t bits;
    memcpy(&bits, &v, sizeof(bits));
    put_u32(b, bits);
}

static void put_string(hearth_buf *b, const char *s, size_t n) {
    put_u64(b, n);
    (void)hearth_buf_append(b, s, n);
}

static void put_key(hearth_gguf_writer *w, const char *key,
                    hearth_gguf_type type) {
    put_string(&w->keys, key, strlen(key));
    put_u32(&w->keys, (uint32_t)type);
    w->n_keys++;
}

void hearth_gguf_put_u32(hearth_gguf_writer *w, const char *key, uint32_t v) {
    put_key(w, key, HEARTH_GGUF_U32);
    put_u32(&w->keys, v);
}

void hearth_gguf_put_f32(hearth_gguf_writer *w, const char *key, float v) {
    put_key(w, key, HEARTH_GGUF_F32);
    put_float(&w->keys, v);
}

void hearth_gguf_put_bool(hearth_gguf_writer *w, const char *key, bool v) {
    put_key(w, key, HEARTH_GGUF_BOOL);
    hearth_gguf_item_bool(w, v);
}

void hearth_gguf_put_string(hearth_gguf_writer *w, const char *key,
                            const char *s, size_t n) {
    put_key(w, key, HEARTH_GGUF_STRING);
    put_string(&w->keys, s, n);
}

void hearth_gguf_put_array(hearth_gguf_writer *w, const char *key,
                           hearth_gguf_type type, uint64_t n) {
    put_key(w, key, HEARTH_GGUF_ARRAY);
    put_u32(&w->keys, (uint32_t)type);
    put_u64(&w->keys, n);
}

void hearth_gguf_item_i32(hearth_gguf_writer *w, int32_t v) {
    put_u32(&w->keys, (uint32_t)v);
}

void hearth_gguf_item_f32(hearth_gguf_writer *w, float v) {
    put_float(&w->keys, v);
}

void hearth_gguf_item_bool(hearth_gguf_writer *w, bool v) {
    uint8_t byte = v;
    (void)hearth_buf_append(&w->keys, &byte, 1);
}

void hearth_gguf_item_string(hearth_gguf_writer *w, const char *s, size_t n) {
    put_string(&w->keys, s, n);
}

hearth_status hearth_gguf_writer_declare(hearth_gguf_writer *w,
                                         const char *name,
                                         hearth_quant_type type,
                                         uint32_t n_dims, const uint64_t *ne,
                                         hearth_error *err) {
    size_t per = hearth_quant_elements(type);
    if (w->begun || !n_dims || n_dims > HEARTH_GGUF_MAX_DIMS || ne[0] % per ||
        w->n == MAX_TENSORS)
        return fail(w, err, HEARTH_EINVAL,
                    "a tensor cannot be declared so; fix the call");
    declared d = {type, ne[0] / per * hearth_quant_bytes(type)};
    put_string(&w->infos, name, strlen(name));
    put_u32(&w->infos, n_dims);
    for (uint32_t i = 0; i < n_dims; i++) {
        put_u64(&w->infos, ne[i]);
        if (i) d.n_bytes *= ne[i];
    }
    put_u32(&w->infos, type_id(type));
    put_u64(&w->infos, w->offset);
    (void)hearth_buf_append(&w->list, &d, sizeof(d));
    w->n++;
    w->offset += (d.n_bytes + HEARTH_GGUF_ALIGNMENT - 1) /
                 HEARTH_GGUF_ALIGNMENT * HEARTH_GGUF_ALIGNMENT;
    if (w->infos.failed || w->list.failed)
        return fail(w, err, HEARTH_ENOMEM,
                    "out of memory; close other programs and try again");
    return HEARTH_OK;
}

static hearth_status pad(hearth_gguf_writer *w, uint64_t n, hearth_error *err) {
    static const uint8_t zeros[HEARTH_GGUF_ALIGNMENT];
    size_t rest = (size_t)(n % HEARTH_GGUF_ALIGNMENT);
    if (!rest) return HEARTH_OK;
    return hearth_file_writer_put(&w->file, zeros, sizeof(zeros) - rest, err);
}

/* Header to disk; data follows aligned. */
static hearth_status begin(hearth_gguf_writer *w, hearth_error *err) {
    hearth_buf head = HEARTH_BUF_INIT(&w->al);
    (void)hearth_buf_append(&head, "GGUF", 4);
    put_u32(&head, 3);
    put_u64(&head, w->n);
    put_u64(&head, w->n_keys);
    bool failed = head.failed || w->keys.failed || w->infos.failed;
    hearth_status st = HEARTH_ENOMEM;
    if (failed)
        (void)fail(w, err, st,
                   "out of memory; close other programs and try again");
    else if ((st = hearth_file_writer_put(&w->file, head.v, head.n, err)) ==
                 HEARTH_OK &&
             (st = hearth_file_writer_put(&w->file, w->keys.v, w->keys.n,
                                          err)) == HEARTH_OK &&
             (st = hearth_file_writer_put(&w->file, w->infos.v, w->infos.n,
                                          err)) == HEARTH_OK)
        st = pad(w, head.n + w->keys.n + w->infos.n, err);
    hearth_buf_free(&head);
    w->begun = true;
    return st;
}

static const declared *current(const hearth_gguf_writer *w) {
    if (w->at == w->n) return NULL;
    return (const declared *)(const void *)w->list.v + w->at;
}

hearth_status hearth_gguf_writer_write(hearth_gguf_writer *w, const void *bytes,
                                       size_t n, hearth_error *err) {
    const declared *d = current(w);
    hearth_status st = HEARTH_OK;
    if (!d || n > d->n_bytes - w->written)
        return fail(w, err, HEARTH_EINVAL,
                    "more data than was declared; fix the call");
    if (!w->begun) st = begin(w, err);
    if (st == HEARTH_OK) st = hearth_file_writer_put(&w->file, bytes, n, err);
    if (st != HEARTH_OK) return st;
    w->written += n;
    if (w->written < d->n_bytes) return HEARTH_OK;
    uint64_t all = w->written;
    w->at++;
    w->written = 0;
    return pad(w, all, err);
}

hearth_status hearth_gguf_writer_floats(hearth_gguf_writer *w, const float *x,
                                        size_t n, hearth_error *err) {
    const declared *d = current(w);
    uint8_t out[2048]; /* a piece at a time */
    if (!d || n > MAX_FLOATS)
        return fail(w, err, HEARTH_EINVAL,
                    "more data than was declared; fix the call");
    hearth_quant_type type = d->type;
    size_t per = hearth_quant_elements(type), bytes = hearth_quant_bytes(type);
    if (n % per)
        return fail(w, err, HEARTH_EINVAL, "half a block; fix the call");
    size_t step = sizeof(out) / bytes * per;
    for (size_t i = 0; i < n; i += step) {
        size_t m = n - i < step ? n - i : step;
        if (!hearth_quant_encode(type, x + i, m, out))
            return fail(w, err, HEARTH_EUNSUPPORTED,
                        "this type is only read, or a weight is not finite; "
                        "write F32, F16, BF16, Q8_0 or Q4_0");
        hearth_status st =
            hearth_gguf_writer_write(w, out, m / per * bytes, err);
        if (st != HEARTH_OK) return st;
    }
    return HEARTH_OK;
}

hearth_status hearth_gguf_writer_finish(hearth_gguf_writer *w,
                                        hearth_error *err) {
    hearth_status st = HEARTH_OK;
    if (w->at != w->n)
        return fail(w, err, HEARTH_EINVAL, "data is missing; fix the call");
    if (!w->begun) st = begin(w, err);
    return st == HEARTH_OK ? hearth_file_writer_commit(&w->file, err) : st;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* common/safetensors_writer.c - the streaming, atomic writer. */
#include <string.h>

#include "common/bytes.h"
#include "common/error.h"
#include "common/file.h"
#include "common/mem.h"
#include "common/safetensors.h"

static uint32_t float_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof(bits));
    return bits;
}

/* IEEE binary32 to binary16. */
static uint16_t float_to_half(float x) {
    uint32_t bits = float_bits(x), sign = bits >> 16 & 0x8000u;
    uint32_t a = bits & 0x7fffffffu;
    if (a > 0x7f800000u) return (uint16_t)(sign | 0x7e00u); /* NaN */
    if (a >= 0x47800000u) return (uint16_t)(sign | 0x7c00u);
    if (a < 0x38800000u) { /* below 2^-14: a multiple of 2^-24 */
        float scaled = (x < 0 ? -x : x) * 0x1p24f;
        uint32_t q = (uint32_t)scaled;
        float rest = scaled - (float)q;
        if (rest > 0.5f || (rest >= 0.5f && q & 1)) q++;
        return (uint16_t)(sign | q);
    }
    uint32_t odd = a >> 13 & 1;
    a += 0xfffu + odd - (112u << 23);
    return (uint16_t)(sign | a >> 13);
}

static uint16_t float_to_bf16(float x) {
    uint32_t bits = float_bits(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

void hearth_dtype_from_f32(hearth_dtype dtype, const float *x, size_t n,
                           uint8_t *bytes) {
    for (size_t i = 0; i < n; i++) {
        if (dtype == HEARTH_DTYPE_F32) {
            hearth_store_le32(bytes + 4 * i, float_bits(x[i]));
            continue;
        }
        uint16_t h = dtype == HEARTH_DTYPE_F16 ? float_to_half(x[i])
                                               : float_to_bf16(x[i]);
        bytes[2 * i] = (uint8_t)h;
        bytes[2 * i + 1] = (uint8_t)(h >> 8);
    }
}

struct hearth_safetensors_writer {
    hearth_alloc al;
    hearth_file_writer file;
    hearth_buf meta;        /* members of __metadata__ */
    hearth_buf header;      /* members of the tensors */
    hearth_buf names;       /* each with its NUL, to find duplicates */
    size_t n;               /* tensors declared */
    uint64_t want, written; /* bytes of data */
    bool begun;             /* the header is on disk */
    bool failed;
};

static hearth_status fail(hearth_safetensors_writer *w, hearth_error *err,
                          hearth_status st, const char *text) {
    w->failed = true;
    return hearth_error_set(err, st, "%s: %s", w->file.path, text);
}

hearth_status hearth_safetensors_writer_new(hearth_safetensors_writer **out,
                                            const char *path,
                                            const hearth_alloc *al,
                                            hearth_error *err) {
    *out = NULL;
    al = hearth_mem_or_default(al);
    hearth_safetensors_writer *w = hearth_mem_new(al, sizeof(*w));
    if (!w)
        return hearth_error_set(err, HEARTH_ENOMEM,
                                "%s: out of memory; close other programs and "
                                "try again",
                                path);
    w->al = *al;
    w->meta = (hearth_buf)HEARTH_BUF_INIT(&w->al);
    w->header = (hearth_buf)HEARTH_BUF_INIT(&w->al);
    w->names = (hearth_buf)HEARTH_BUF_INIT(&w->al);
    hearth_status st = hearth_file_writer_open(&w->file, path, 0644, err);
    if (st != HEARTH_OK) {
        hearth_mem_free(al, w);
        return st;
    }
    *out = w;
    return HEARTH_OK;
}

void hearth_safetensors_writer_free(hearth_safetensors_writer *w) {
    if (!w) return;
    hearth_alloc al = w->al;
    hearth_file_writer_abort(&w->file);
    hearth_buf_free(&w->meta);
    hearth_buf_free(&w->header);
    hearth_buf_free(&w->names);
    hearth_mem_free(&al, w);
}

hearth_status hearth_safetensors_writer_metadata(hearth_safetensors_writer *w,
                                                 const char *key,
                                                 const char *value,
                                                 hearth_error *err) {
    if (w->failed || w->begun)
        return fail(w, err, HEARTH_EINVAL, "metadata after data; fix the call");
    if (w->meta.n) (void)hearth_buf_putc(&w->meta, ',');
    (void)hearth_buf_json_string(&w->meta, key, strlen(key));
    (void)hearth_buf_putc(&w->meta, ':');
    (void)hearth_buf_json_string(&w->meta, value, strlen(value));
    if (w->meta.failed)
        return fail(w, err, HEARTH_ENOMEM, "out of memory; try again");
    return HEARTH_OK;
}

/* Was the name declared before? */
static bool declared(const hearth_safetensors_writer *w, const char *name) {
    const char *s = (const char *)w->names.v;
    for (size_t at = 0; at < w->names.n; at += strlen(s + at) + 1)
        if (strcmp(s + at, name) == 0) return true;
    return false;
}

/* Bytes of a tensor; false when they overflow. */
static bool tensor_bytes(hearth_dtype dtype, uint32_t n_dims,
                         const uint64_t *dim, uint64_t *out) {
    uint64_t n = hearth_dtype_bytes(dtype);
    for (uint32_t d = 0; d < n_dims; d++) {
        if (dim[d] && n > (uint64_t)INT64_MAX / dim[d]) return false;
        n *= dim[d];
    }
    *out = n;
    return true;
}

hearth_status hearth_safetensors_writer_declare(
    hearth_safetensors_writer *w, const char *name, hearth_dtype dtype,
    uint32_t n_dims, const uint64_t *dim, hearth_error *err) {
    uint64_t n_bytes;
    size_t n_name = strlen(name);
    if (w->failed || w->begun || !hearth_dtype_bytes(dtype))
        return fail(w, err, HEARTH_EINVAL,
                    "tensor declared late or of a type that cannot be "
                    "written; fix the call");
    if (declared(w, name) || strcmp(name, "__metadata__") == 0)
        return fail(w, err, HEARTH_EINVAL,
                    "a tensor is declared twice; fix the call");
    if (n_dims > HEARTH_SAFETENSORS_MAX_DIMS ||
        n_name > HEARTH_SAFETENSORS_MAX_NAME ||
        w->n == HEARTH_SAFETENSORS_MAX_TENSORS ||
        !tensor_bytes(dtype, n_dims, dim, &n_bytes) ||
        n_bytes > (uint64_t)INT64_MAX - w->want)
        return fail(w, err, HEARTH_ETOOBIG,
                    "name, shape or tensor count above the limit of the "
                    "format; split the file");
    hearth_buf *h = &w->header;
    if (h->n) (void)hearth_buf_putc(h, ',');
    (void)hearth_buf_json_string(h, name, n_name);
    (void)hearth_buf_printf(h, ":{\"dtype\":\"%s\",\"shape\":[",
                            hearth_dtype_name(dtype));
    for (uint32_t d = 0; d < n_dims; d++)
        (void)hearth_buf_printf(h, "%s%llu", d ? "," : "",
                                (unsigned long long)dim[d]);
    (void)hearth_buf_printf(h, "],\"data_offsets\":[%llu,%llu]}",
                            (unsigned long long)w->want,
                            (unsigned long long)(w->want + n_bytes));
    (void)hearth_buf_append(&w->names, name, n_name + 1);
    if (h->failed || w->names.failed)
        return fail(w, err, HEARTH_ENOMEM, "out of memory; try again");
    w->n++;
    w->want += n_bytes;
    return HEARTH_OK;
}

/* Header to disk, padded with spaces so that data starts at a multiple of 8. */
static hearth_status begin(hearth_safetensors_writer *w, hearth_error *err) {
    hearth_buf out = HEARTH_BUF_INIT(&w->al);
    uint8_t length[8] = {0};
    w->begun = true;
    (void)hearth_buf_append(&out, length, sizeof(length));
    (void)hearth_buf_putc(&out, '{');
    if (w->meta.n)
        (void)hearth_buf_printf(&out, "\"__metadata__\":{%s}%s",
                                hearth_buf_str(&w->meta),
                                w->header.n ? "," : "");
    (void)hearth_buf_puts(&out, hearth_buf_str(&w->header));
    (void)hearth_buf_putc(&out, '}');
    while (out.n % 8 && !out.failed) (void)hearth_buf_putc(&out, ' ');
    hearth_status st = HEARTH_OK;
    if (out.failed) {
        st = fail(w, err, HEARTH_ENOMEM, "out of memory; try again");
    } else if (out.n - 8 > HEARTH_SAFETENSORS_MAX_HEADER) {
        st = fail(w, err, HEARTH_ETOOBIG,
                  "header above 100 MB; use fewer "
                  "tensors");
    } else {
        hearth_store_le64(out.v, out.n - 8);
        st = hearth_file_writer_put(&w->file, out.v, out.n, err);
        if (st != HEARTH_OK) w->failed = true;
    }
    hearth_buf_free(&out);
    return st;
}

hearth_status hearth_safetensors_writer_write(hearth_safetensors_writer *w,
                                              const void *bytes, size_t n,
                                              hearth_error *err) {
    hearth_status st;
    if (w->failed) return fail(w, err, HEARTH_EINVAL, "writing after an error");
    if (!w->begun && (st = begin(w, err)) != HEARTH_OK) return st;
    if (n > w->want - w->written)
        return fail(w, err, HEARTH_EINVAL,
                    "more bytes than declared; fix the call");
    st = hearth_file_writer_put(&w->file, bytes, n, err);
    if (st != HEARTH_OK)
        w->failed = true;
    else
        w->written += n;
    return st;
}

hearth_status hearth_safetensors_writer_write_f32(hearth_safetensors_writer *w,
                                                  const float *v, size_t n,
                                                  hearth_error *err) {
    uint8_t block[2048];
    const size_t per_block = sizeof(block) / 4;
    while (n) {
        size_t m = n < per_block ? n : per_block;
        for (size_t i = 0; i < m; i++) {
            uint32_t bits;
            memcpy(&bits, &v[i], sizeof(bits));
            hearth_store_le32(block + 4 * i, bits);
        }
        hearth_status st =
            hearth_safetensors_writer_write(w, block, 4 * m, err);
        if (st != HEARTH_OK) return st;
        v += m;
        n -= m;
    }
    return HEARTH_OK;
}

hearth_status hearth_safetensors_writer_finish(hearth_safetensors_writer *w,
                                               hearth_error *err) {
    hearth_status st;
    if (w->failed) return fail(w, err, HEARTH_EINVAL, "finish after an error");
    if (!w->begun && (st = begin(w, err)) != HEARTH_OK) return st;
    if (w->written != w->want)
        return fail(w, err, HEARTH_EINVAL,
                    "fewer bytes than declared; fix the call");
    w->failed = true; /* nothing may follow */
    return hearth_file_writer_commit(&w->file, err);
}

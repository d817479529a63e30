/* SPDX-License-Identifier: Apache-2.0 */
/* common/safetensors.c - the reader; every offset is checked before use. */
#include "common/safetensors.h"

#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "common/bytes.h"
#include "common/error.h"
#include "common/file.h"
#include "common/half_float.h"
#include "common/jsonpull.h"
#include "common/mem.h"

#define PREFIX_BYTES ((size_t)8) /* u64 header length */
#define HINT         "download or export the file again"

typedef struct {
    const char *key, *value;
} meta_pair;

struct hearth_safetensors {
    hearth_alloc al;
    hearth_file file; /* empty when opened over bytes */
    hearth_tensor *tensor;
    size_t n, cap;
    meta_pair *meta;
    size_t n_meta, cap_meta;
    char *text; /* every name, key and value, NUL-terminated */
    size_t text_n, text_cap;
};

/* State of one parse. */
typedef struct {
    hearth_jsonpull json;
    hearth_safetensors *st;
    const uint8_t *data; /* [data_n] after the header */
    uint64_t data_n;
    const char *what; /* file name, for messages */
    hearth_error *err;
} parser;

/* Types of the format and bytes of an element. */
static const struct {
    const char *name;
    hearth_dtype dtype;
    unsigned bytes;
} dtypes[] = {
    {"F32", HEARTH_DTYPE_F32, 4},       {"F16", HEARTH_DTYPE_F16, 2},
    {"BF16", HEARTH_DTYPE_BF16, 2},     {"F64", HEARTH_DTYPE_OTHER, 8},
    {"I64", HEARTH_DTYPE_OTHER, 8},     {"U64", HEARTH_DTYPE_OTHER, 8},
    {"I32", HEARTH_DTYPE_OTHER, 4},     {"U32", HEARTH_DTYPE_OTHER, 4},
    {"I16", HEARTH_DTYPE_OTHER, 2},     {"U16", HEARTH_DTYPE_OTHER, 2},
    {"I8", HEARTH_DTYPE_OTHER, 1},      {"U8", HEARTH_DTYPE_OTHER, 1},
    {"BOOL", HEARTH_DTYPE_OTHER, 1},    {"F8_E4M3", HEARTH_DTYPE_OTHER, 1},
    {"F8_E5M2", HEARTH_DTYPE_OTHER, 1},
};

size_t hearth_dtype_bytes(hearth_dtype t) {
    switch (t) {
    case HEARTH_DTYPE_F32: return 4;
    case HEARTH_DTYPE_F16:
    case HEARTH_DTYPE_BF16: return 2;
    case HEARTH_DTYPE_OTHER: break;
    }
    return 0;
}

const char *hearth_dtype_name(hearth_dtype t) {
    switch (t) {
    case HEARTH_DTYPE_F32: return "F32";
    case HEARTH_DTYPE_F16: return "F16";
    case HEARTH_DTYPE_BF16: return "BF16";
    case HEARTH_DTYPE_OTHER: break;
    }
    return "other";
}

static hearth_status bad(parser *p, const char *text) {
    return hearth_error_set(p->err, HEARTH_EFORMAT,
                            "%s: header at byte %zu: %s; " HINT, p->what,
                            p->json.at + PREFIX_BYTES, text);
}

static hearth_status bad_tensor(const parser *p, const char *name,
                                const char *text) {
    return hearth_error_set(p->err, HEARTH_EFORMAT,
                            "%s: tensor '%.100s': %s; " HINT, p->what, name,
                            text);
}

static hearth_status no_memory(parser *p) {
    return hearth_error_set(p->err, HEARTH_ENOMEM,
                            "%s: no memory for the header; close other "
                            "programs and try again",
                            p->what);
}

/* Unescape the present token into st->text.  The pool is as long as the
 * header, and every token has two quotes there, so it always fits. */
static hearth_status keep_string(parser *p, const char **out) {
    hearth_safetensors *st = p->st;
    char *to = st->text + st->text_n;
    size_t n = 0;
    if (p->json.token_n >= st->text_cap - st->text_n)
        return bad(p, "string longer than the header");
    if (hearth_jsonpull_string(&p->json, to, p->json.token_n, &n) != HEARTH_OK)
        return bad(p, "string cannot be read");
    if (memchr(to, 0, n)) return bad(p, "NUL character in a string");
    to[n] = '\0';
    st->text_n += n + 1;
    *out = to;
    return HEARTH_OK;
}

/* Room for one more element of size bytes in *v. */
static bool grow(const hearth_alloc *al, void **v, size_t n, size_t *cap,
                 size_t size) {
    if (n < *cap) return true;
    size_t more = *cap ? *cap * 2 : 16;
    void *p = hearth_mem_resize(al, *v, more, size);
    if (!p) return false;
    *v = p;
    *cap = more;
    return true;
}

static hearth_status parse_metadata(parser *p) {
    hearth_safetensors *st = p->st;
    hearth_status s;
    if (hearth_jsonpull_next(&p->json) != HEARTH_JSONPULL_OBJECT)
        return bad(p, "__metadata__ is not an object");
    for (;;) {
        hearth_jsonpull_event ev = hearth_jsonpull_next(&p->json);
        if (ev == HEARTH_JSONPULL_OBJECT_END) return HEARTH_OK;
        if (ev != HEARTH_JSONPULL_KEY) return bad(p, "not JSON");
        void *v = st->meta;
        if (!grow(&st->al, &v, st->n_meta, &st->cap_meta, sizeof(meta_pair)))
            return no_memory(p);
        st->meta = v;
        meta_pair *m = &st->meta[st->n_meta];
        if ((s = keep_string(p, &m->key)) != HEARTH_OK) return s;
        if (hearth_jsonpull_next(&p->json) != HEARTH_JSONPULL_STRING)
            return bad(p, "a value of __metadata__ is not a string");
        if ((s = keep_string(p, &m->value)) != HEARTH_OK) return s;
        for (size_t i = 0; i < st->n_meta; i++)
            if (strcmp(st->meta[i].key, m->key) == 0)
                return bad(p, "duplicate key in __metadata__");
        st->n_meta++;
        if (st->n_meta > 1000) return bad(p, "more than 1000 metadata keys");
    }
}

/* The numbers of an array: at most cap of them. */
static hearth_status parse_numbers(parser *p, uint64_t *out, uint32_t cap,
                                   uint32_t *n, const char *what) {
    *n = 0;
    if (hearth_jsonpull_next(&p->json) != HEARTH_JSONPULL_ARRAY)
        return bad(p, what);
    for (;;) {
        int64_t v;
        hearth_jsonpull_event ev = hearth_jsonpull_next(&p->json);
        if (ev == HEARTH_JSONPULL_ARRAY_END) return HEARTH_OK;
        if (ev != HEARTH_JSONPULL_NUMBER || *n == cap) return bad(p, what);
        if (hearth_jsonpull_i64(&p->json, &v) != HEARTH_OK || v < 0)
            return bad(p, what);
        out[(*n)++] = (uint64_t)v;
    }
}

/* Index into dtypes, or -1. */
static int find_dtype(const hearth_jsonpull *json) {
    for (size_t i = 0; i < sizeof(dtypes) / sizeof(dtypes[0]); i++)
        if (hearth_jsonpull_is(json, dtypes[i].name)) return (int)i;
    return -1;
}

/* Elements and bytes from the shape, against the offsets. */
static hearth_status check_tensor(const parser *p, hearth_tensor *t,
                                  unsigned element_bytes,
                                  const uint64_t range[2]) {
    uint64_t n = 1;
    for (uint32_t d = 0; d < t->n_dims; d++) {
        if (t->dim[d] && n > UINT64_MAX / t->dim[d])
            return bad_tensor(p, t->name, "shape overflows");
        n *= t->dim[d];
    }
    if (n > UINT64_MAX / element_bytes)
        return bad_tensor(p, t->name, "shape overflows");
    if (range[0] > range[1] || range[1] > p->data_n)
        return bad_tensor(p, t->name, "data_offsets outside the file");
    if (range[1] - range[0] != n * element_bytes)
        return bad_tensor(p, t->name, "shape and data_offsets disagree");
    t->n_elements = n;
    t->n_bytes = range[1] - range[0];
    t->data = p->data + range[0];
    return HEARTH_OK;
}

/* {"dtype": .., "shape": [..], "data_offsets": [b, e]}, each key once. */
static hearth_status parse_tensor(parser *p, hearth_tensor *t) {
    enum { DTYPE = 1, SHAPE = 2, OFFSETS = 4 };
    unsigned seen = 0, key;
    int type = -1;
    uint32_t n = 0;
    uint64_t range[2] = {0, 0};
    hearth_status s;
    if (hearth_jsonpull_next(&p->json) != HEARTH_JSONPULL_OBJECT)
        return bad_tensor(p, t->name, "is not an object");
    for (;;) {
        hearth_jsonpull_event ev = hearth_jsonpull_next(&p->json);
        if (ev == HEARTH_JSONPULL_OBJECT_END) break;
        if (ev != HEARTH_JSONPULL_KEY) return bad(p, "not JSON");
        key = hearth_jsonpull_is(&p->json, "dtype")          ? DTYPE
              : hearth_jsonpull_is(&p->json, "shape")        ? SHAPE
              : hearth_jsonpull_is(&p->json, "data_offsets") ? OFFSETS
                                                             : 0;
        if (!key) return bad_tensor(p, t->name, "has an unknown key");
        if (seen & key) return bad_tensor(p, t->name, "has a duplicate key");
        seen |= key;
        s = HEARTH_OK;
        if (key == DTYPE) {
            if (hearth_jsonpull_next(&p->json) != HEARTH_JSONPULL_STRING ||
                (type = find_dtype(&p->json)) < 0)
                return bad_tensor(p, t->name, "has an unknown dtype");
        } else if (key == SHAPE) {
            s = parse_numbers(p, t->dim, HEARTH_SAFETENSORS_MAX_DIMS,
                              &t->n_dims, "shape is not up to 8 sizes");
        } else {
            s = parse_numbers(p, range, 2, &n, "data_offsets is not [b, e]");
        }
        if (s != HEARTH_OK) return s;
    }
    if (seen != (DTYPE | SHAPE | OFFSETS) || n != 2)
        return bad_tensor(p, t->name, "lacks dtype, shape or data_offsets");
    t->dtype = dtypes[type].dtype;
    return check_tensor(p, t, dtypes[type].bytes, range);
}

static hearth_status parse_entry(parser *p) {
    hearth_safetensors *st = p->st;
    hearth_status s;
    if (st->n == HEARTH_SAFETENSORS_MAX_TENSORS)
        return hearth_error_set(p->err, HEARTH_ETOOBIG,
                                "%s: more than %zu tensors; split the file",
                                p->what, HEARTH_SAFETENSORS_MAX_TENSORS);
    if (p->json.token_n > (size_t)6 * HEARTH_SAFETENSORS_MAX_NAME)
        return hearth_error_set(p->err, HEARTH_ETOOBIG,
                                "%s: a tensor name is longer than %u bytes; "
                                "rename it",
                                p->what, HEARTH_SAFETENSORS_MAX_NAME);
    void *v = st->tensor;
    if (!grow(&st->al, &v, st->n, &st->cap, sizeof(hearth_tensor)))
        return no_memory(p);
    st->tensor = v;
    hearth_tensor *t = &st->tensor[st->n];
    *t = (hearth_tensor){0};
    if ((s = keep_string(p, &t->name)) != HEARTH_OK) return s;
    if (strlen(t->name) > HEARTH_SAFETENSORS_MAX_NAME)
        return hearth_error_set(p->err, HEARTH_ETOOBIG,
                                "%s: tensor name '%.40s..' is longer than %u "
                                "bytes; rename it",
                                p->what, t->name, HEARTH_SAFETENSORS_MAX_NAME);
    if ((s = parse_tensor(p, t)) != HEARTH_OK) return s;
    st->n++;
    return HEARTH_OK;
}

static hearth_status parse_header(parser *p) {
    bool metadata = false;
    hearth_status s;
    if (hearth_jsonpull_next(&p->json) != HEARTH_JSONPULL_OBJECT)
        return bad(p, "is not a JSON object");
    for (;;) {
        hearth_jsonpull_event ev = hearth_jsonpull_next(&p->json);
        if (ev == HEARTH_JSONPULL_OBJECT_END) break;
        if (ev != HEARTH_JSONPULL_KEY) return bad(p, "not JSON");
        if (hearth_jsonpull_is(&p->json, "__metadata__")) {
            if (metadata) return bad(p, "two __metadata__");
            metadata = true;
            s = parse_metadata(p);
        } else {
            s = parse_entry(p);
        }
        if (s != HEARTH_OK) return s;
    }
    if (hearth_jsonpull_next(&p->json) != HEARTH_JSONPULL_END)
        return bad(p, "bytes after the JSON object");
    return HEARTH_OK;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const hearth_tensor *)a)->name,
                  ((const hearth_tensor *)b)->name);
}

static int by_place(const void *a, const void *b) {
    const hearth_tensor *x = a, *y = b;
    if (x->data != y->data) return x->data < y->data ? -1 : 1;
    if (x->n_bytes != y->n_bytes) return x->n_bytes < y->n_bytes ? -1 : 1;
    return 0;
}

/* Back to back from 0 to data_n, then unique names; leaves them by name. */
static hearth_status check_layout(parser *p) {
    hearth_safetensors *st = p->st;
    uint64_t at = 0;
    if (st->n) qsort(st->tensor, st->n, sizeof(*st->tensor), by_place);
    for (size_t i = 0; i < st->n; i++) {
        const hearth_tensor *t = &st->tensor[i];
        uint64_t begin = (uint64_t)(t->data - p->data);
        if (begin < at)
            return bad_tensor(p, t->name, "overlaps another tensor");
        if (begin > at) return bad_tensor(p, t->name, "follows a gap");
        at = begin + t->n_bytes;
    }
    if (at != p->data_n)
        return hearth_error_set(p->err, HEARTH_EFORMAT,
                                "%s: bytes after the last tensor; " HINT,
                                p->what);
    if (st->n) qsort(st->tensor, st->n, sizeof(*st->tensor), by_name);
    for (size_t i = 1; i < st->n; i++)
        if (strcmp(st->tensor[i - 1].name, st->tensor[i].name) == 0)
            return bad_tensor(p, st->tensor[i].name, "appears twice");
    return HEARTH_OK;
}

static hearth_status parse(hearth_safetensors *st, const uint8_t *bytes,
                           size_t n, const char *what, hearth_error *err) {
    parser p = {.st = st, .what = what, .err = err};
    hearth_status s;
    if (n < PREFIX_BYTES)
        return hearth_error_set(err, HEARTH_EFORMAT,
                                "%s: shorter than 8 bytes; " HINT, what);
    uint64_t header_n = hearth_load_le64(bytes);
    if (header_n > HEARTH_SAFETENSORS_MAX_HEADER)
        return hearth_error_set(err, HEARTH_ETOOBIG,
                                "%s: header above 100 MB: not a safetensors "
                                "file? " HINT,
                                what);
    if (header_n > n - PREFIX_BYTES)
        return hearth_error_set(err, HEARTH_EFORMAT,
                                "%s: header longer than the file; " HINT, what);
    p.data = bytes + PREFIX_BYTES + header_n;
    p.data_n = n - PREFIX_BYTES - header_n;
    st->text_cap = (size_t)header_n + 1;
    st->text = hearth_mem_new(&st->al, st->text_cap);
    if (!st->text) return no_memory(&p);
    hearth_jsonpull_init(&p.json, (const char *)bytes + PREFIX_BYTES,
                         (size_t)header_n);
    if ((s = parse_header(&p)) != HEARTH_OK) return s;
    return check_layout(&p);
}

hearth_status hearth_safetensors_open_bytes(hearth_safetensors **out,
                                            const uint8_t *bytes, size_t n,
                                            const char *what,
                                            const hearth_alloc *al,
                                            hearth_error *err) {
    *out = NULL;
    al = hearth_mem_or_default(al);
    hearth_safetensors *st = hearth_mem_new(al, sizeof(*st));
    if (!st)
        return hearth_error_set(err, HEARTH_ENOMEM,
                                "%s: out of memory; close other programs and "
                                "try again",
                                what);
    st->al = *al;
    hearth_status s = parse(st, bytes, n, what, err);
    if (s != HEARTH_OK) {
        hearth_safetensors_close(st);
        return s;
    }
    *out = st;
    return HEARTH_OK;
}

hearth_status hearth_safetensors_open(hearth_safetensors **out,
                                      const char *path, const hearth_alloc *al,
                                      hearth_error *err) {
    hearth_file f = HEARTH_FILE_INIT;
    *out = NULL;
    hearth_status s = hearth_file_map(&f, path, err);
    if (s != HEARTH_OK) return s;
    s = hearth_safetensors_open_bytes(out, f.v, f.n, path, al, err);
    if (s != HEARTH_OK) {
        hearth_file_unmap(&f);
        return s;
    }
    (*out)->file = f;
    return HEARTH_OK;
}

void hearth_safetensors_close(hearth_safetensors *st) {
    if (!st) return;
    hearth_alloc al = st->al;
    hearth_file_unmap(&st->file);
    hearth_mem_free(&al, st->tensor);
    hearth_mem_free(&al, st->meta);
    hearth_mem_free(&al, st->text);
    hearth_mem_free(&al, st);
}

const uint8_t *hearth_safetensors_bytes(const hearth_safetensors *st,
                                        size_t *n) {
    *n = st->file.n;
    return st->file.v;
}

size_t hearth_safetensors_count(const hearth_safetensors *st) {
    return st->n;
}

const hearth_tensor *hearth_safetensors_at(const hearth_safetensors *st,
                                           size_t i) {
    return i < st->n ? &st->tensor[i] : NULL;
}

const hearth_tensor *hearth_safetensors_find(const hearth_safetensors *st,
                                             const char *name) {
    size_t lo = 0, hi = st->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = strcmp(st->tensor[mid].name, name);
        if (c == 0) return &st->tensor[mid];
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

const char *hearth_safetensors_metadata(const hearth_safetensors *st,
                                        const char *key) {
    for (size_t i = 0; i < st->n_meta; i++)
        if (strcmp(st->meta[i].key, key) == 0) return st->meta[i].value;
    return NULL;
}

#define PART ((size_t)64) /* numbers converted at once */

/* PART numbers of 16 bits. */
static inline void load_halves(const uint8_t *bytes, uint16_t *out) {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    memcpy(out, bytes, 2 * PART);
#else
    for (size_t i = 0; i < PART; i++) out[i] = hearth_load_le16(bytes + 2 * i);
#endif
}

static void load_floats(const uint8_t *bytes, size_t n, float *out) {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    memcpy(out, bytes, 4 * n);
#else
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = hearth_load_le32(bytes + 4 * i);
        memcpy(out + i, &bits, sizeof(bits));
    }
#endif
}

#if defined(__x86_64__)
/* Whole groups of eight without infinities and NaNs, whose bits the instruction
 * would change; returns how many numbers were done. */
__attribute__((target("avx,f16c"))) static size_t
finite_f16(const uint8_t *bytes, size_t n, float *out) {
    const __m128i special = _mm_set1_epi16(0x7c00);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m128i h =
            _mm_loadu_si128((const __m128i *)(const void *)(bytes + 2 * i));
        __m128i top = _mm_cmpeq_epi16(_mm_and_si128(h, special), special);
        if (_mm_movemask_epi8(top)) break;
        _mm256_storeu_ps(out + i, _mm256_cvtph_ps(h));
    }
    return i;
}
#endif

static void from_f16(const uint8_t *bytes, size_t n, float *out) {
    uint16_t half[PART];
    float part[PART];
    size_t i = 0;
#if defined(__x86_64__)
    /* clang 14 cannot ask for F16C; no processor has AVX2 without it */
    if (__builtin_cpu_supports("avx2")) i = finite_f16(bytes, n, out);
#endif
    for (; i + PART <= n; i += PART) {
        load_halves(bytes + 2 * i, half);
        for (size_t j = 0; j < PART; j++) part[j] = hearth_half_to_f32(half[j]);
        memcpy(out + i, part, sizeof(part));
    }
    for (; i < n; i++)
        out[i] = hearth_half_to_f32(hearth_load_le16(bytes + 2 * i));
}

static void from_bf16(const uint8_t *bytes, size_t n, float *out) {
    uint16_t half[PART];
    size_t i = 0;
    for (; i + PART <= n; i += PART) {
        load_halves(bytes + 2 * i, half);
        for (size_t j = 0; j < PART; j++)
            out[i + j] = hearth_bf16_to_f32(half[j]);
    }
    for (; i < n; i++)
        out[i] = hearth_bf16_to_f32(hearth_load_le16(bytes + 2 * i));
}

void hearth_dtype_to_f32(hearth_dtype dtype, const uint8_t *bytes, size_t n,
                         float *out) {
    switch (dtype) {
    case HEARTH_DTYPE_F32: load_floats(bytes, n, out); return;
    case HEARTH_DTYPE_F16: from_f16(bytes, n, out); return;
    case HEARTH_DTYPE_BF16: from_bf16(bytes, n, out); return;
    case HEARTH_DTYPE_OTHER: break;
    }
    for (size_t i = 0; i < n; i++) out[i] = 0.0f;
}

hearth_status hearth_tensor_read_f32(const hearth_tensor *t, uint64_t first,
                                     size_t n, float *out) {
    size_t size = hearth_dtype_bytes(t->dtype);
    if (!size || first > t->n_elements || n > t->n_elements - first)
        return HEARTH_EINVAL;
    hearth_dtype_to_f32(t->dtype, t->data + first * size, n, out);
    return HEARTH_OK;
}

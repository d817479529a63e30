/* SPDX-License-Identifier: Apache-2.0 */
/* common/gguf.c - one walk over the header checks everything and remembers
 * where values begin; getters read from the mapped bytes afterwards. */
#include "common/gguf.h"

#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/error.h"
#include "common/file.h"
#include "common/mem.h"

#define HINT           "download or convert the file again"
#define MIN_KV_BYTES   13u /* empty key, type, one byte */
#define MIN_INFO_BYTES 32u /* empty name, one dimension, type, offset */

typedef struct {
    const char *key;
    hearth_gguf_type type;
    const uint8_t *value; /* of an array: its element type */
} key_value;

struct hearth_gguf {
    hearth_alloc al;
    hearth_file file; /* empty when opened over bytes */
    key_value *kv;    /* [n_kv], sorted by key */
    size_t n_kv;
    hearth_gguf_tensor *tensor; /* [n_tensors], sorted by name */
    size_t n_tensors;
    char *text; /* keys and names, NUL-terminated */
    size_t text_n;
};

/* State of the walk. */
typedef struct {
    hearth_gguf *g;
    const uint8_t *bytes;
    size_t n, at;
    const char *what;
    hearth_error *err;
} walker;

/* Names of the format's tensor types that Hearth does not read. */
static const struct {
    uint32_t id;
    const char *name;
} other_types[] = {
    {9, "Q8_1"},     {10, "Q2_K"},   {11, "Q3_K"},    {15, "Q8_K"},
    {16, "IQ2_XXS"}, {17, "IQ2_XS"}, {18, "IQ3_XXS"}, {19, "IQ1_S"},
    {20, "IQ4_NL"},  {21, "IQ3_S"},  {22, "IQ2_S"},   {23, "IQ4_XS"},
    {24, "I8"},      {25, "I16"},    {26, "I32"},     {27, "I64"},
    {28, "F64"},     {29, "IQ1_M"},  {34, "TQ1_0"},   {35, "TQ2_0"},
    {39, "MXFP4"},
};

static const struct {
    uint32_t id;
    hearth_quant_type type;
} read_types[] = {
    {0, HEARTH_QUANT_F32},   {1, HEARTH_QUANT_F16},   {2, HEARTH_QUANT_Q4_0},
    {3, HEARTH_QUANT_Q4_1},  {6, HEARTH_QUANT_Q5_0},  {7, HEARTH_QUANT_Q5_1},
    {8, HEARTH_QUANT_Q8_0},  {12, HEARTH_QUANT_Q4_K}, {13, HEARTH_QUANT_Q5_K},
    {14, HEARTH_QUANT_Q6_K}, {30, HEARTH_QUANT_BF16},
};

static hearth_status bad(walker *w, const char *text) {
    return hearth_error_set(w->err, HEARTH_EFORMAT,
                            "%.150s: at byte %zu: %s; " HINT, w->what, w->at,
                            text);
}

static hearth_status too_big(walker *w, const char *text) {
    return hearth_error_set(w->err, HEARTH_ETOOBIG,
                            "%.150s: at byte %zu: %s; use another file",
                            w->what, w->at, text);
}

static hearth_status no_memory(walker *w) {
    return hearth_error_set(w->err, HEARTH_ENOMEM,
                            "%.150s: out of memory; close other programs and "
                            "try again",
                            w->what);
}

static size_t left(const walker *w) {
    return w->n - w->at;
}

static hearth_status get_u32(walker *w, uint32_t *out) {
    if (left(w) < 4) return bad(w, "the file ends in the header");
    *out = hearth_load_le32(w->bytes + w->at);
    w->at += 4;
    return HEARTH_OK;
}

static hearth_status get_u64(walker *w, uint64_t *out) {
    if (left(w) < 8) return bad(w, "the file ends in the header");
    *out = hearth_load_le64(w->bytes + w->at);
    w->at += 8;
    return HEARTH_OK;
}

/* A key or name, copied with a NUL. */
static hearth_status get_name(walker *w, const char **out) {
    uint64_t n = 0;
    hearth_status st = get_u64(w, &n);
    if (st != HEARTH_OK) return st;
    if (n > left(w)) return bad(w, "a name is longer than the file");
    if (n > HEARTH_GGUF_MAX_NAME)
        return too_big(w, "a name is longer than 255 bytes");
    if (memchr(w->bytes + w->at, 0, (size_t)n))
        return bad(w, "a name holds a zero byte");
    char *to = w->g->text + w->g->text_n;
    memcpy(to, w->bytes + w->at, (size_t)n);
    to[n] = '\0';
    w->g->text_n += (size_t)n + 1;
    w->at += (size_t)n;
    *out = to;
    return HEARTH_OK;
}

/* Bytes of a number; 0 for strings and arrays. */
static size_t type_bytes(uint32_t type) {
    switch (type) {
    case HEARTH_GGUF_U8:
    case HEARTH_GGUF_I8:
    case HEARTH_GGUF_BOOL: return 1;
    case HEARTH_GGUF_U16:
    case HEARTH_GGUF_I16: return 2;
    case HEARTH_GGUF_U32:
    case HEARTH_GGUF_I32:
    case HEARTH_GGUF_F32: return 4;
    case HEARTH_GGUF_U64:
    case HEARTH_GGUF_I64:
    case HEARTH_GGUF_F64: return 8;
    default: return 0;
    }
}

static hearth_status skip_string(walker *w) {
    uint64_t n = 0;
    hearth_status st = get_u64(w, &n);
    if (st != HEARTH_OK) return st;
    if (n > left(w)) return bad(w, "a string is longer than the file");
    w->at += (size_t)n;
    return HEARTH_OK;
}

static hearth_status skip_array(walker *w) {
    uint32_t type = 0;
    uint64_t n = 0;
    hearth_status st = get_u32(w, &type);
    if (st == HEARTH_OK) st = get_u64(w, &n);
    if (st != HEARTH_OK) return st;
    if (type == HEARTH_GGUF_ARRAY)
        return hearth_error_set(w->err, HEARTH_EUNSUPPORTED,
                                "%.150s: at byte %zu: an array of arrays is "
                                "not read; use another file",
                                w->what, w->at);
    size_t size = type == HEARTH_GGUF_STRING ? 8 : type_bytes(type);
    if (!size) return bad(w, "an array has an unknown type");
    if (n > left(w) / size) return bad(w, "an array is longer than the file");
    if (type != HEARTH_GGUF_STRING) {
        w->at += (size_t)n * size;
        return HEARTH_OK;
    }
    for (uint64_t i = 0; st == HEARTH_OK && i < n; i++) st = skip_string(w);
    return st;
}

static hearth_status read_key_value(walker *w, key_value *kv) {
    uint32_t type = 0;
    hearth_status st = get_name(w, &kv->key);
    if (st == HEARTH_OK) st = get_u32(w, &type);
    if (st != HEARTH_OK) return st;
    if (type > HEARTH_GGUF_F64) return bad(w, "a value has an unknown type");
    kv->type = (hearth_gguf_type)type;
    kv->value = w->bytes + w->at;
    if (type == HEARTH_GGUF_STRING) return skip_string(w);
    if (type == HEARTH_GGUF_ARRAY) return skip_array(w);
    if (left(w) < type_bytes(type)) return bad(w, "the file ends in a value");
    if (type == HEARTH_GGUF_BOOL && *kv->value > 1)
        return bad(w, "a bool is neither 0 nor 1");
    w->at += type_bytes(type);
    return HEARTH_OK;
}

static hearth_status find_type(walker *w, uint32_t id, const char *name,
                               hearth_quant_type *out) {
    for (size_t i = 0; i < sizeof(read_types) / sizeof(read_types[0]); i++)
        if (read_types[i].id == id) {
            *out = read_types[i].type;
            return HEARTH_OK;
        }
    const char *type = "an unknown type";
    for (size_t i = 0; i < sizeof(other_types) / sizeof(other_types[0]); i++)
        if (other_types[i].id == id) type = other_types[i].name;
    return hearth_error_set(
        w->err, HEARTH_EUNSUPPORTED,
        "%.150s: tensor '%.80s' is %s; use a file of F32, F16, BF16, Q8_0, "
        "Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K or Q6_K",
        w->what, name, type);
}

/* Bytes of a tensor from its sides. */
static hearth_status measure(walker *w, hearth_gguf_tensor *t) {
    size_t per = hearth_quant_elements(t->type);
    uint64_t n = t->ne[0] / per, most = (uint64_t)1 << 48;
    if (t->ne[0] % per)
        return bad(w, "a tensor's row is no multiple of its block");
    for (uint32_t i = 1; i < HEARTH_GGUF_MAX_DIMS; i++) {
        if (t->ne[i] && n > most / t->ne[i])
            return bad(w, "a tensor is larger than the file");
        n *= t->ne[i];
    }
    if (n > most) return bad(w, "a tensor is larger than the file");
    t->n_bytes = n * hearth_quant_bytes(t->type);
    return HEARTH_OK;
}

/* A tensor's description; data holds the offset until place() knows where the
 * data begins. */
static hearth_status read_info(walker *w, hearth_gguf_tensor *t,
                               uint64_t *offset) {
    uint32_t id = 0;
    hearth_status st = get_name(w, &t->name);
    if (st == HEARTH_OK) st = get_u32(w, &t->n_dims);
    if (st != HEARTH_OK) return st;
    if (!t->n_dims || t->n_dims > HEARTH_GGUF_MAX_DIMS)
        return bad(w, "a tensor has not 1 to 4 dimensions");
    for (uint32_t i = 0; i < HEARTH_GGUF_MAX_DIMS; i++) {
        t->ne[i] = 1;
        if (i < t->n_dims && (st = get_u64(w, &t->ne[i])) != HEARTH_OK)
            return st;
        if (t->ne[i] > (uint64_t)1 << 48)
            return bad(w, "a tensor is larger than the file");
    }
    st = get_u32(w, &id);
    if (st == HEARTH_OK) st = find_type(w, id, t->name, &t->type);
    if (st == HEARTH_OK) st = measure(w, t);
    return st == HEARTH_OK ? get_u64(w, offset) : st;
}

static int by_key(const void *a, const void *b) {
    return strcmp(((const key_value *)a)->key, ((const key_value *)b)->key);
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const hearth_gguf_tensor *)a)->name,
                  ((const hearth_gguf_tensor *)b)->name);
}

static int by_place(const void *a, const void *b) {
    const uint8_t *x = ((const hearth_gguf_tensor *)a)->data;
    const uint8_t *y = ((const hearth_gguf_tensor *)b)->data;
    return x < y ? -1 : x > y;
}

static hearth_status read_values(walker *w) {
    hearth_gguf *g = w->g;
    hearth_status st = HEARTH_OK;
    for (size_t i = 0; st == HEARTH_OK && i < g->n_kv; i++)
        st = read_key_value(w, &g->kv[i]);
    if (st != HEARTH_OK) return st;
    qsort(g->kv, g->n_kv, sizeof(*g->kv), by_key);
    for (size_t i = 1; i < g->n_kv; i++)
        if (by_key(&g->kv[i - 1], &g->kv[i]) == 0)
            return bad(w, "a key comes twice");
    return HEARTH_OK;
}

/* Where the data begins; the alignment is checked. */
static hearth_status data_start(walker *w, size_t *start, uint64_t *alignment) {
    *alignment = HEARTH_GGUF_ALIGNMENT;
    hearth_status st = hearth_gguf_u64(w->g, "general.alignment", alignment);
    if (st == HEARTH_EMISMATCH || *alignment < 8 || *alignment > 65536 ||
        *alignment & (*alignment - 1))
        return bad(w, "general.alignment is no power of two from 8 to 65536");
    *start = w->at + (size_t)(*alignment - w->at % *alignment) % *alignment;
    if (w->g->n_tensors && *start > w->n)
        return bad(w, "the file ends before its tensors");
    return HEARTH_OK;
}

static hearth_status place(walker *w, const uint64_t *offset) {
    hearth_gguf *g = w->g;
    uint64_t alignment = 0;
    size_t start = 0;
    hearth_status st = data_start(w, &start, &alignment);
    if (st != HEARTH_OK) return st;
    for (size_t i = 0; i < g->n_tensors; i++) {
        hearth_gguf_tensor *t = &g->tensor[i];
        if (offset[i] % alignment) return bad(w, "a tensor is not aligned");
        if (offset[i] > w->n - start ||
            t->n_bytes > w->n - start - (size_t)offset[i])
            return bad(w, "a tensor reaches beyond the end of the file");
        t->data = w->bytes + start + (size_t)offset[i];
    }
    qsort(g->tensor, g->n_tensors, sizeof(*g->tensor), by_place);
    for (size_t i = 1; i < g->n_tensors; i++)
        if (g->tensor[i - 1].data + g->tensor[i - 1].n_bytes >
            g->tensor[i].data)
            return bad(w, "two tensors overlap");
    qsort(g->tensor, g->n_tensors, sizeof(*g->tensor), by_name);
    for (size_t i = 1; i < g->n_tensors; i++)
        if (by_name(&g->tensor[i - 1], &g->tensor[i]) == 0)
            return bad(w, "a tensor comes twice");
    return HEARTH_OK;
}

static hearth_status read_tensors(walker *w) {
    hearth_gguf *g = w->g;
    hearth_status st = HEARTH_OK;
    size_t n = g->n_tensors;
    uint64_t *offset = hearth_mem_array(&g->al, n ? n : 1, sizeof(*offset));
    if (!offset) return no_memory(w);
    for (size_t i = 0; st == HEARTH_OK && i < n; i++)
        st = read_info(w, &g->tensor[i], &offset[i]);
    if (st == HEARTH_OK) st = place(w, offset);
    hearth_mem_free(&g->al, offset);
    return st;
}

/* Magic, version and counts; the counts fit the bytes that are left, so what
 * is reserved for them is at most a few times the file. */
static hearth_status read_start(walker *w, uint64_t *n_tensors,
                                uint64_t *n_kv) {
    uint32_t version = 0;
    if (w->n < 24 || memcmp(w->bytes, "GGUF", 4) != 0)
        return bad(w, "it does not begin as a GGUF file");
    w->at = 4;
    hearth_status st = get_u32(w, &version);
    if (st != HEARTH_OK) return st;
    if (version != 2 && version != 3)
        return hearth_error_set(w->err, HEARTH_EUNSUPPORTED,
                                "%.150s: GGUF of another version or byte order "
                                "(%#x); convert it to version 3, little-endian",
                                w->what, (unsigned)version);
    if ((st = get_u64(w, n_tensors)) || (st = get_u64(w, n_kv))) return st;
    if (*n_tensors > left(w) / MIN_INFO_BYTES || *n_kv > left(w) / MIN_KV_BYTES)
        return bad(w, "it counts more entries than it has bytes for");
    if (*n_tensors > HEARTH_GGUF_MAX_TENSORS)
        return too_big(w, "more than 100000 tensors");
    if (*n_kv > HEARTH_GGUF_MAX_KEYS) return too_big(w, "more than 10000 keys");
    return HEARTH_OK;
}

static hearth_status walk(walker *w) {
    hearth_gguf *g = w->g;
    uint64_t n_tensors = 0, n_kv = 0;
    hearth_status st = read_start(w, &n_tensors, &n_kv);
    if (st != HEARTH_OK) return st;
    size_t names = (size_t)(n_tensors + n_kv);
    g->kv = hearth_mem_array(&g->al, (size_t)n_kv + 1, sizeof(*g->kv));
    g->tensor =
        hearth_mem_array(&g->al, (size_t)n_tensors + 1, sizeof(*g->tensor));
    /* A name is in the file with eight bytes before it: 256 a name would be
     * more than there can be. */
    size_t text = names * (size_t)(HEARTH_GGUF_MAX_NAME + 1);
    if (text > w->n + names) text = w->n + names;
    g->text = hearth_mem_array(&g->al, text + 1, 1);
    if (!g->kv || !g->tensor || !g->text) return no_memory(w);
    g->n_kv = (size_t)n_kv;
    g->n_tensors = (size_t)n_tensors;
    st = read_values(w);
    return st == HEARTH_OK ? read_tensors(w) : st;
}

static hearth_status open_mapped(hearth_gguf **out, hearth_gguf *g,
                                 const uint8_t *bytes, size_t n,
                                 const char *what, hearth_error *err) {
    walker w = {.g = g, .bytes = bytes, .n = n, .what = what, .err = err};
    hearth_status st = walk(&w);
    if (st != HEARTH_OK) {
        hearth_gguf_close(g);
        return st;
    }
    *out = g;
    return HEARTH_OK;
}

static hearth_gguf *new_reader(const hearth_alloc *al, const char *what,
                               hearth_error *err) {
    al = hearth_mem_or_default(al);
    hearth_gguf *g = hearth_mem_new(al, sizeof(*g));
    if (!g) {
        walker w = {.what = what, .err = err};
        (void)no_memory(&w);
        return NULL;
    }
    g->al = *al;
    return g;
}

hearth_status hearth_gguf_open(hearth_gguf **out, const char *path,
                               const hearth_alloc *al, hearth_error *err) {
    *out = NULL;
    hearth_gguf *g = new_reader(al, path, err);
    if (!g) return HEARTH_ENOMEM;
    hearth_status st = hearth_file_map(&g->file, path, err);
    if (st != HEARTH_OK) {
        hearth_gguf_close(g);
        return st;
    }
    return open_mapped(out, g, g->file.v, g->file.n, path, err);
}

hearth_status hearth_gguf_open_bytes(hearth_gguf **out, const uint8_t *bytes,
                                     size_t n, const char *what,
                                     const hearth_alloc *al,
                                     hearth_error *err) {
    *out = NULL;
    hearth_gguf *g = new_reader(al, what, err);
    if (!g) return HEARTH_ENOMEM;
    return open_mapped(out, g, bytes, n, what, err);
}

void hearth_gguf_close(hearth_gguf *g) {
    if (!g) return;
    hearth_alloc al = g->al;
    hearth_file_unmap(&g->file);
    hearth_mem_free(&al, g->kv);
    hearth_mem_free(&al, g->tensor);
    hearth_mem_free(&al, g->text);
    hearth_mem_free(&al, g);
}

const uint8_t *hearth_gguf_bytes(const hearth_gguf *g, size_t *n) {
    *n = g->file.n;
    return g->file.v;
}

size_t hearth_gguf_count(const hearth_gguf *g) {
    return g->n_tensors;
}

const hearth_gguf_tensor *hearth_gguf_at(const hearth_gguf *g, size_t i) {
    return &g->tensor[i];
}

const hearth_gguf_tensor *hearth_gguf_find(const hearth_gguf *g,
                                           const char *name) {
    hearth_gguf_tensor want = {.name = name};
    return bsearch(&want, g->tensor, g->n_tensors, sizeof(want), by_name);
}

static const key_value *find_key(const hearth_gguf *g, const char *key) {
    key_value want = {.key = key};
    return bsearch(&want, g->kv, g->n_kv, sizeof(want), by_key);
}

/* A number of any width; false for other types. */
static bool number(hearth_gguf_type type, const uint8_t *p, double *real,
                   bool *whole, int64_t *i) {
    uint32_t u = 0;
    uint64_t v = 0;
    float f;
    *whole = true;
    switch (type) {
    case HEARTH_GGUF_U8:
    case HEARTH_GGUF_BOOL: *i = *p; break;
    case HEARTH_GGUF_I8: *i = (int8_t)*p; break;
    case HEARTH_GGUF_U16: *i = hearth_load_le16(p); break;
    case HEARTH_GGUF_I16: *i = (int16_t)hearth_load_le16(p); break;
    case HEARTH_GGUF_U32: *i = hearth_load_le32(p); break;
    case HEARTH_GGUF_I32: *i = (int32_t)hearth_load_le32(p); break;
    case HEARTH_GGUF_U64:
    case HEARTH_GGUF_I64: *i = (int64_t)hearth_load_le64(p); break;
    case HEARTH_GGUF_F32:
        u = hearth_load_le32(p);
        memcpy(&f, &u, sizeof(f));
        *real = (double)f;
        *whole = false;
        return true;
    case HEARTH_GGUF_F64:
        v = hearth_load_le64(p);
        memcpy(real, &v, sizeof(*real));
        *whole = false;
        return true;
    case HEARTH_GGUF_STRING:
    case HEARTH_GGUF_ARRAY: return false;
    }
    *real = (double)*i;
    return true;
}

hearth_status hearth_gguf_u64(const hearth_gguf *g, const char *key,
                              uint64_t *out) {
    const key_value *kv = find_key(g, key);
    double real;
    bool whole = false;
    int64_t i = 0;
    if (!kv) return HEARTH_ENOTFOUND;
    if (kv->type == HEARTH_GGUF_BOOL ||
        !number(kv->type, kv->value, &real, &whole, &i) || !whole || i < 0)
        return HEARTH_EMISMATCH;
    *out = (uint64_t)i;
    return HEARTH_OK;
}

hearth_status hearth_gguf_f64(const hearth_gguf *g, const char *key,
                              double *out) {
    const key_value *kv = find_key(g, key);
    double real;
    bool whole = false;
    int64_t i = 0;
    if (!kv) return HEARTH_ENOTFOUND;
    if (kv->type == HEARTH_GGUF_BOOL ||
        !number(kv->type, kv->value, &real, &whole, &i))
        return HEARTH_EMISMATCH;
    *out = real;
    return HEARTH_OK;
}

hearth_status hearth_gguf_bool(const hearth_gguf *g, const char *key,
                               bool *out) {
    const key_value *kv = find_key(g, key);
    if (!kv) return HEARTH_ENOTFOUND;
    if (kv->type != HEARTH_GGUF_BOOL) return HEARTH_EMISMATCH;
    *out = *kv->value != 0;
    return HEARTH_OK;
}

hearth_status hearth_gguf_string(const hearth_gguf *g, const char *key,
                                 const char **out, size_t *n) {
    const key_value *kv = find_key(g, key);
    if (!kv) return HEARTH_ENOTFOUND;
    if (kv->type != HEARTH_GGUF_STRING) return HEARTH_EMISMATCH;
    *n = (size_t)hearth_load_le64(kv->value);
    *out = (const char *)kv->value + 8;
    return HEARTH_OK;
}

hearth_status hearth_gguf_array_open(const hearth_gguf *g, const char *key,
                                     hearth_gguf_array *out) {
    const key_value *kv = find_key(g, key);
    if (!kv) return HEARTH_ENOTFOUND;
    if (kv->type != HEARTH_GGUF_ARRAY) return HEARTH_EMISMATCH;
    *out = (hearth_gguf_array){
        .type = (hearth_gguf_type)hearth_load_le32(kv->value),
        .n = hearth_load_le64(kv->value + 4),
        .next = kv->value + 12};
    return HEARTH_OK;
}

bool hearth_gguf_array_number(hearth_gguf_array *a, double *out) {
    bool whole = false;
    int64_t i = 0;
    if (a->at == a->n || !number(a->type, a->next, out, &whole, &i))
        return false;
    a->next += type_bytes(a->type);
    a->at++;
    return true;
}

bool hearth_gguf_array_string(hearth_gguf_array *a, const char **out,
                              size_t *n) {
    if (a->at == a->n || a->type != HEARTH_GGUF_STRING) return false;
    *n = (size_t)hearth_load_le64(a->next);
    *out = (const char *)a->next + 8;
    a->next += 8 + *n;
    a->at++;
    return true;
}

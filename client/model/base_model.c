/* SPDX-License-Identifier: Apache-2.0 */
/* client/model/base_model.c - open a Hugging Face folder or a GGUF file and
 * check every tensor. */
#include "client/model/base_model.h"

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "client/model/family.h"
#include "client/model/gguf_model.h"
#include "client/model/model_convert.h"
#include "client/model/tensor_source.h"
#include "client/train/weight_private.h"
#include "common/bytes.h"
#include "common/error.h"
#include "common/file.h"
#include "common/hash.h"
#include "common/mem.h"

#define MAX_PATH_BYTES 1024
#define HINT           "check the model folder"

/* Where a tensor comes from: what the digest covers. */
typedef struct {
    const char *name, *type; /* the file's own words; borrowed */
    const uint8_t *data;     /* [n_bytes] as stored */
    uint64_t n_bytes;
} tensor_origin;

struct hearth_model {
    hearth_alloc al;
    hearth_model_config config;
    const hearth_family *family;
    hearth_tensor_source *files; /* a folder's; NULL for a GGUF file */
    hearth_gguf *gguf;
    size_t n_tensors;
    hearth_weight *weight; /* [n_tensors] in canonical order */
    tensor_origin *origin; /* [n_tensors] */
    size_t n_modules;
    hearth_module_info *module; /* [n_modules] */
    char (*module_name)[HEARTH_MODEL_MAX_NAME];
    char *dir;
    pthread_mutex_t lock; /* guards digest and has_digest; leaf lock */
    bool has_lock, has_digest;
    uint8_t digest[HEARTH_SHA256_BYTES];
};

/* First per-layer entry of the family's table and how many there are. */
static void layer_range(const hearth_family *f, size_t *first, size_t *n) {
    *first = 0;
    while (*first < f->n_tensors && !f->tensor[*first].tail) (*first)++;
    *n = 0;
    while (*first + *n < f->n_tensors && f->tensor[*first + *n].tail) (*n)++;
}

bool hearth_model_is_within(const hearth_model *m, uintptr_t from,
                            uintptr_t to) {
    for (size_t i = 0; i < m->n_tensors; i++) {
        uintptr_t at = (uintptr_t)m->weight[i].data;
        if (at >= from && at < to) return true;
    }
    return false;
}

size_t hearth_model_n_tensors(const hearth_model_config *c) {
    const hearth_family *f = hearth_family_find(c->architecture);
    size_t first, per_layer;
    if (!f) return 0;
    layer_range(f, &first, &per_layer);
    return f->n_tensors - per_layer + per_layer * c->n_layers -
           (c->tied ? 1u : 0u);
}

void hearth_model_tensor_at(const hearth_model_config *c, size_t i,
                            hearth_model_tensor *out) {
    const hearth_family *f = hearth_family_find(c->architecture);
    size_t first, per_layer, entry = i;
    uint32_t layer = 0;
    *out = (hearth_model_tensor){.name = ""};
    if (!f) return;
    layer_range(f, &first, &per_layer);
    if (i >= first) {
        size_t in_layers = per_layer * c->n_layers;
        if (i - first < in_layers) {
            layer = (uint32_t)((i - first) / per_layer);
            entry = first + (i - first) % per_layer;
        } else {
            entry = i - in_layers + per_layer;
        }
    }
    if (entry >= f->n_tensors) return;
    const hearth_family_tensor *t = &f->tensor[entry];
    out->role = t->role;
    out->layer = layer;
    out->rows = hearth_family_side(c, t->rows);
    out->cols = hearth_family_side(c, t->cols);
    out->stored_transposed = t->transposed;
    if (t->tail)
        (void)snprintf(out->name, sizeof(out->name), "%s%u%s", t->name,
                       (unsigned)layer, t->tail);
    else
        (void)snprintf(out->name, sizeof(out->name), "%s", t->name);
}

/* Index of a tensor in canonical order; SIZE_MAX when the family has none. */
static size_t tensor_index(const hearth_model_config *c,
                           hearth_tensor_role role, uint32_t layer) {
    const hearth_family *f = hearth_family_find(c->architecture);
    size_t first, per_layer, entry = 0;
    layer_range(f, &first, &per_layer);
    if (role == HEARTH_TENSOR_HEAD && c->tied) role = HEARTH_TENSOR_EMBED;
    while (entry < f->n_tensors && f->tensor[entry].role != role) entry++;
    if (entry == f->n_tensors) return SIZE_MAX;
    if (f->tensor[entry].tail) return entry + per_layer * layer;
    return entry < first ? entry : entry + per_layer * (c->n_layers - 1u);
}

const hearth_weight *hearth_model_weight(const hearth_model *m,
                                         hearth_tensor_role role,
                                         uint32_t layer) {
    size_t i = tensor_index(&m->config, role, layer);
    return i == SIZE_MAX ? NULL : &m->weight[i];
}

static hearth_status bad(hearth_error *err, const char *dir, const char *name,
                         const char *text) {
    return hearth_error_set(err, HEARTH_EFORMAT,
                            "%.100s: tensor '%.80s' %s; " HINT, dir, name,
                            text);
}

/* A tensor of the file against what the config asks for. */
static hearth_status check_shape(const hearth_model *m, const hearth_tensor *t,
                                 const hearth_model_tensor *want,
                                 hearth_error *err) {
    char text[96];
    bool vector = want->cols == 1;
    uint32_t rows = want->stored_transposed ? want->cols : want->rows;
    uint32_t cols = want->stored_transposed ? want->rows : want->cols;
    bool fits = vector
                    ? t->n_dims == 1 && t->dim[0] == rows
                    : t->n_dims == 2 && t->dim[0] == rows && t->dim[1] == cols;
    if (!fits) {
        if (vector)
            (void)snprintf(text, sizeof(text),
                           "does not have config.json's shape [%u]",
                           (unsigned)rows);
        else
            (void)snprintf(text, sizeof(text),
                           "does not have config.json's shape [%u, %u]",
                           (unsigned)rows, (unsigned)cols);
        return bad(err, m->dir, want->name, text);
    }
    if (t->dtype == HEARTH_DTYPE_OTHER)
        return bad(err, m->dir, want->name, "is not F32, F16 or BF16");
    return HEARTH_OK;
}

static hearth_weight_type weight_type(hearth_dtype d) {
    if (d == HEARTH_DTYPE_F16) return HEARTH_WEIGHT_F16;
    if (d == HEARTH_DTYPE_BF16) return HEARTH_WEIGHT_BF16;
    return HEARTH_WEIGHT_F32;
}

/* A tensor by its name, or by its name without the family's prefix, as models
 * saved without their head have it. */
static const hearth_tensor *find_tensor(const hearth_model *m,
                                        const char *name) {
    const hearth_tensor *t = hearth_tensor_source_find(m->files, name);
    size_t n = strlen(m->family->prefix);
    if (t || strncmp(name, m->family->prefix, n) != 0) return t;
    return hearth_tensor_source_find(m->files, name + n);
}

static hearth_status bind_tensors(hearth_model *m, hearth_error *err) {
    for (size_t i = 0; i < m->n_tensors; i++) {
        hearth_model_tensor want;
        hearth_model_tensor_at(&m->config, i, &want);
        const hearth_tensor *t = find_tensor(m, want.name);
        if (!t) return bad(err, m->dir, want.name, "is missing");
        hearth_status st = check_shape(m, t, &want, err);
        if (st != HEARTH_OK) return st;
        m->origin[i] = (tensor_origin){t->name, hearth_dtype_name(t->dtype),
                                       t->data, t->n_bytes};
        m->weight[i] = (hearth_weight){.type = weight_type(t->dtype),
                                       .rows = want.rows,
                                       .cols = want.cols,
                                       .data = t->data,
                                       .transposed = want.stored_transposed};
    }
    return HEARTH_OK;
}

static bool ends_with(const char *s, const char *tail) {
    size_t n = strlen(s), k = strlen(tail);
    return n >= k && strcmp(s + n - k, tail) == 0;
}

/* Buffers that older exporters wrote beside the weights. */
static bool is_buffer(const hearth_model *m, const char *name) {
    for (const char *const *end = m->family->ignored; *end; end++)
        if (ends_with(name, *end)) return true;
    return false;
}

#define PIECE_BYTES ((size_t)1 << 20) /* of mapped bytes looked at in one go */

static size_t piece(uint64_t n, uint64_t at) {
    return n - at < PIECE_BYTES ? (size_t)(n - at) : PIECE_BYTES;
}

/* Equal?  Pages are given back behind, everywhere: a fault maps some around it
 * that were given back before. */
static bool same_bytes(const hearth_model *m, const uint8_t *a,
                       const uint8_t *b, uint64_t n) {
    bool same = true;
    for (uint64_t at = 0; same && at < n; at += PIECE_BYTES) {
        same = memcmp(a + at, b + at, piece(n, at)) == 0;
        hearth_model_forget_pages(m);
    }
    return same;
}

/* Tensors that no role asks for are errors, except buffers, and a head equal
 * to the embedding it is tied to. */
static hearth_status check_extra(const hearth_model *m, hearth_error *err) {
    for (size_t i = 0; i < hearth_tensor_source_count(m->files); i++) {
        const hearth_tensor *t = hearth_tensor_source_at(m->files, i);
        size_t k = 0;
        while (k < m->n_tensors && m->origin[k].name != t->name) k++;
        if (k < m->n_tensors) continue;
        if (is_buffer(m, t->name)) continue;
        if (m->config.tied && strcmp(t->name, "lm_head.weight") == 0) {
            const tensor_origin *e =
                &m->origin[tensor_index(&m->config, HEARTH_TENSOR_EMBED, 0)];
            if (e->n_bytes == t->n_bytes &&
                same_bytes(m, e->data, t->data, t->n_bytes))
                continue;
            return bad(err, m->dir, t->name,
                       "differs from the embedding that config.json ties it "
                       "to");
        }
        return bad(err, m->dir, t->name, "is not one of this architecture");
    }
    return HEARTH_OK;
}

/* The same for a GGUF file. */
static hearth_status bind_gguf(hearth_model *m, hearth_error *err) {
    for (size_t i = 0; i < m->n_tensors; i++) {
        hearth_model_tensor want;
        const hearth_gguf_tensor *t = NULL;
        hearth_model_tensor_at(&m->config, i, &want);
        hearth_status st = hearth_gguf_model_tensor(
            &m->weight[i], &t, m->gguf, &m->config, &want, m->dir, err);
        if (st != HEARTH_OK) return st;
        m->origin[i] = (tensor_origin){t->name, hearth_quant_name(t->type),
                                       t->data, t->n_bytes};
    }
    return hearth_gguf_model_no_more(m->gguf, &m->config, m->dir, err);
}

static hearth_status list_modules(hearth_model *m, hearth_error *err) {
    size_t n = (size_t)m->config.n_layers * HEARTH_TARGET_COUNT, at = 0;
    m->module = hearth_mem_array(&m->al, n, sizeof(*m->module));
    m->module_name = hearth_mem_array(&m->al, n, sizeof(*m->module_name));
    if (!m->module || !m->module_name)
        return hearth_error_set(err, HEARTH_ENOMEM,
                                "%.150s: no memory for the list of modules; "
                                "close other programs and try again",
                                m->dir);
    for (size_t i = 0; i < n; i++) {
        uint32_t layer = (uint32_t)(i / HEARTH_TARGET_COUNT);
        uint32_t target = (uint32_t)(i % HEARTH_TARGET_COUNT);
        size_t k = tensor_index(&m->config, (hearth_tensor_role)target, layer);
        hearth_model_tensor t;
        if (k == SIZE_MAX) continue;
        hearth_model_tensor_at(&m->config, k, &t);
        size_t len = strlen(t.name) - strlen(".weight");
        memcpy(m->module_name[at], t.name, len);
        m->module_name[at][len] = '\0';
        m->module[at] = (hearth_module_info){m->module_name[at], layer, target,
                                             t.cols, t.rows};
        at++;
    }
    m->n_modules = at;
    return HEARTH_OK;
}

/* The one .gguf of a folder without config.json becomes m->dir; any other
 * folder stays what it is. */
static hearth_status prefer_gguf(hearth_model *m, hearth_error *err) {
    char path[MAX_PATH_BYTES];
    size_t n = 0;
    hearth_status st =
        hearth_file_join(path, sizeof(path), m->dir, "config.json");
    DIR *d =
        st == HEARTH_OK && !hearth_file_exists(path) ? opendir(m->dir) : NULL;
    if (!d) return HEARTH_OK;
    for (const struct dirent *e = readdir(d); e; e = readdir(d))
        if (ends_with(e->d_name, ".gguf") && e->d_name[0] != '.' && n++ == 0)
            st = hearth_file_join(path, sizeof(path), m->dir, e->d_name);
    (void)closedir(d);
    if (n > 1)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "%.150s: there are %zu .gguf files; give one "
                                "of them instead of the folder",
                                m->dir, n);
    if (n == 0 || st != HEARTH_OK) return HEARTH_OK;
    char *file = hearth_mem_strdup(&m->al, path);
    if (!file)
        return hearth_error_set(err, HEARTH_ENOMEM,
                                "%.150s: out of memory; close other programs "
                                "and try again",
                                m->dir);
    hearth_mem_free(&m->al, m->dir);
    m->dir = file;
    return HEARTH_OK;
}

static hearth_status open_files(hearth_model *m, hearth_error *err) {
    char path[MAX_PATH_BYTES];
    hearth_status st = prefer_gguf(m, err);
    if (st != HEARTH_OK) return st;
    if (ends_with(m->dir, ".gguf")) {
        st = hearth_gguf_open(&m->gguf, m->dir, &m->al, err);
        if (st == HEARTH_OK)
            st = hearth_gguf_model_config(&m->config, m->gguf, m->dir, err);
        m->family = hearth_family_find(m->config.architecture);
        return st;
    }
    st = hearth_file_join(path, sizeof(path), m->dir, "config.json");
    if (st != HEARTH_OK)
        return hearth_error_set(err, st, "model path is too long; move it");
    st = hearth_model_config_load(&m->config, path, &m->al, err);
    if (st != HEARTH_OK) return st;
    m->family = hearth_family_find(m->config.architecture);
    return hearth_tensor_source_open(&m->files, m->dir, &m->al, err);
}

static hearth_status open_model(hearth_model *m, hearth_error *err) {
    hearth_status st = open_files(m, err);
    if (st != HEARTH_OK) return st;
    m->n_tensors = hearth_model_n_tensors(&m->config);
    m->weight = hearth_mem_array(&m->al, m->n_tensors, sizeof(*m->weight));
    m->origin = hearth_mem_array(&m->al, m->n_tensors, sizeof(*m->origin));
    if (!m->weight || !m->origin)
        return hearth_error_set(err, HEARTH_ENOMEM,
                                "%.150s: no memory for the list of tensors; "
                                "close other programs and try again",
                                m->dir);
    if (m->gguf)
        st = bind_gguf(m, err);
    else if ((st = bind_tensors(m, err)) == HEARTH_OK)
        st = check_extra(m, err);
    if (st != HEARTH_OK) return st;
    if ((st = list_modules(m, err)) != HEARTH_OK) return st;
    st = hearth_hash_start(); /* so that the digest cannot fail later */
    if (st != HEARTH_OK)
        return hearth_error_set(err, st, "hashing cannot start; run doctor");
    return HEARTH_OK;
}

hearth_status hearth_model_open(hearth_model **out, const char *dir,
                                const hearth_alloc *al, hearth_error *err) {
    *out = NULL;
    al = hearth_mem_or_default(al);
    hearth_status st = HEARTH_ENOMEM;
    hearth_model *m = hearth_mem_new(al, sizeof(*m));
    if (m) {
        m->al = *al;
        m->dir = hearth_mem_strdup(al, dir);
        m->has_lock = pthread_mutex_init(&m->lock, NULL) == 0;
    }
    if (!m || !m->dir || !m->has_lock)
        (void)hearth_error_set(err, st,
                               "%.150s: out of memory; close other programs "
                               "and try again",
                               dir);
    else
        st = open_model(m, err);
    if (st != HEARTH_OK) {
        hearth_model_close(m);
        return st;
    }
    *out = m;
    return HEARTH_OK;
}

void hearth_model_close(hearth_model *m) {
    if (!m) return;
    hearth_alloc al = m->al;
    hearth_tensor_source_close(m->files);
    hearth_gguf_close(m->gguf);
    if (m->has_lock) (void)pthread_mutex_destroy(&m->lock);
    hearth_mem_free(&al, m->weight);
    hearth_mem_free(&al, m->origin);
    hearth_mem_free(&al, m->module);
    hearth_mem_free(&al, m->module_name);
    hearth_mem_free(&al, m->dir);
    hearth_mem_free(&al, m);
}

const hearth_model_config *hearth_model_get_config(const hearth_model *m) {
    return &m->config;
}

const char *hearth_model_dir(const hearth_model *m) {
    return m->dir;
}

const hearth_module_info *hearth_model_modules(const hearth_model *m,
                                               size_t *n) {
    *n = m->n_modules;
    return m->module;
}

size_t hearth_model_n_files(const hearth_model *m) {
    return m->gguf ? 1 : hearth_tensor_source_n_files(m->files);
}

hearth_status hearth_model_file_at(const hearth_model *m, size_t i,
                                   hearth_model_file *out) {
    const char *name = NULL;
    *out = (hearth_model_file){.bytes = NULL};
    if (m->gguf) {
        size_t n = strlen(m->dir);
        if (n >= sizeof(out->path)) return HEARTH_ETOOBIG;
        memcpy(out->path, m->dir, n + 1);
        out->bytes = hearth_gguf_bytes(m->gguf, &out->n);
        return HEARTH_OK;
    }
    out->bytes = hearth_tensor_source_file(m->files, i, &out->n, &name);
    return hearth_file_join(out->path, sizeof(out->path), m->dir, name);
}

void hearth_model_forget_pages(const hearth_model *m) {
    hearth_model_file f;
    for (size_t i = 0; i < hearth_model_n_files(m); i++)
        if (hearth_model_file_at(m, i, &f) == HEARTH_OK)
            hearth_file_forget(f.bytes, f.n);
}

void hearth_model_expect(const hearth_model *m, bool scattered) {
    hearth_model_file f;
    for (size_t i = 0; i < hearth_model_n_files(m); i++)
        if (hearth_model_file_at(m, i, &f) == HEARTH_OK)
            hearth_file_expect(f.bytes, f.n, scattered);
}

uint32_t hearth_model_targets(const hearth_model *m) {
    uint32_t mask = 0;
    for (uint32_t t = 0; t < HEARTH_TARGET_COUNT; t++)
        if (hearth_model_weight(m, (hearth_tensor_role)t, 0))
            mask |= HEARTH_TARGET_BIT(t);
    return mask;
}

uint32_t hearth_model_auto_targets(const hearth_model *m) {
    return m->family->automatic;
}

/* The settings that decide results, one a line.  What the architecture fixes
 * is in its name; a Llama's text is what it always was. */
static int digest_config(const hearth_model_config *c, char *out, size_t cap) {
    return snprintf(
        out, cap,
        "hearth.model.v1\narchitecture %s\nvocab %u\nhidden %u\n"
        "layers %u\nheads %u\nkv_heads %u\nhead_dim %u\nffn %u\n"
        "theta %.17g\nrope %d %.17g %.17g %.17g %u\neps %.17g\n"
        "tied %d\n",
        c->architecture, (unsigned)c->vocab_size, (unsigned)c->hidden_size,
        (unsigned)c->n_layers, (unsigned)c->n_heads, (unsigned)c->n_kv_heads,
        (unsigned)c->head_dim, (unsigned)c->ffn_size, c->rope_theta,
        (int)c->rope_kind, c->rope_factor, c->rope_low, c->rope_high,
        (unsigned)c->rope_original, c->norm_eps, c->tied ? 1 : 0);
}

/* What later families added, where it differs from Llama's. */
static hearth_status digest_more(const hearth_model_config *c,
                                 hearth_sha256_state *s) {
    char text[256];
    hearth_status st = HEARTH_OK;
    if (c->sandwich) {
        int n =
            snprintf(text, sizeof(text), "scalar %.17g\nlocal theta %.17g\n",
                     c->attn_scale, c->rope_theta_local);
        st = hearth_sha256_add(s, text, (size_t)n);
    }
    if (st == HEARTH_OK && c->rope_kind == HEARTH_ROPE_FACTORS)
        st = hearth_sha256_add(s, c->rope_divisor, sizeof(c->rope_divisor));
    if (st != HEARTH_OK || !c->sliding_window) return st;
    int n = snprintf(text, sizeof(text), "window %u\nlocal ",
                     (unsigned)c->sliding_window);
    st = hearth_sha256_add(s, text, (size_t)n);
    return st == HEARTH_OK ? hearth_sha256_add(s, c->local, c->n_layers) : st;
}

/* A tensor's bytes, whose pages are given back behind. */
static hearth_status digest_bytes(const hearth_model *m, const tensor_origin *t,
                                  hearth_sha256_state *s) {
    hearth_status st = HEARTH_OK;
    for (uint64_t at = 0; st == HEARTH_OK && at < t->n_bytes;
         at += PIECE_BYTES) {
        st = hearth_sha256_add(s, t->data + at, piece(t->n_bytes, at));
        hearth_model_forget_pages(m);
    }
    return st;
}

/* Each tensor as "name dtype rows cols\n" and its bytes. */
static hearth_status compute_digest(const hearth_model *m, uint8_t *out) {
    char text[512];
    hearth_sha256_state s;
    hearth_status st = hearth_sha256_init(&s);
    int n = digest_config(&m->config, text, sizeof(text));
    if (st == HEARTH_OK) st = hearth_sha256_add(&s, text, (size_t)n);
    if (st == HEARTH_OK) st = digest_more(&m->config, &s);
    for (size_t i = 0; st == HEARTH_OK && i < m->n_tensors; i++) {
        const tensor_origin *t = &m->origin[i];
        n = snprintf(text, sizeof(text), "%s %s %zu %zu\n", t->name, t->type,
                     m->weight[i].rows, m->weight[i].cols);
        st = hearth_sha256_add(&s, text, (size_t)n);
        if (st == HEARTH_OK) st = digest_bytes(m, t, &s);
    }
    if (st == HEARTH_OK) return hearth_sha256_finish(&s, out);
    hearth_sha256_free(&s);
    return st;
}

const uint8_t *hearth_model_digest(const hearth_model *m) {
    /* The cached digest is the one thing that changes after open. */
    hearth_model *own = (hearth_model *)(uintptr_t)m;
    bool ok = true;
    (void)pthread_mutex_lock(&own->lock);
    if (!own->has_digest) {
        ok = compute_digest(m, own->digest) == HEARTH_OK;
        own->has_digest = ok;
    }
    (void)pthread_mutex_unlock(&own->lock);
    return ok ? m->digest : NULL;
}

void hearth_model_base_id(const hearth_model *m, char out[65]) {
    const char *said = NULL;
    uint8_t bytes[HEARTH_SHA256_BYTES];
    size_t n = 0;
    if (m->gguf &&
        hearth_gguf_string(m->gguf, HEARTH_GGUF_KEY_BASE_ID, &said, &n) ==
            HEARTH_OK &&
        hearth_hex_decode(bytes, sizeof(bytes), said, n) == HEARTH_OK)
        hearth_hex_encode(out, bytes, sizeof(bytes));
    else
        hearth_hex_encode(out, hearth_model_digest(m), HEARTH_SHA256_BYTES);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* client/model/model_convert.c - from canonical order to GGUF's, a row at a
 * time; the reverse of gguf_model.c. */
#include "client/model/model_convert.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "client/model/convert_tokenizer.h"
#include "client/model/family.h"
#include "client/model/gguf_model.h"
#include "common/bytes.h"
#include "common/error.h"
#include "common/file.h"
#include "common/jsonpull.h"
#include "common/mem.h"

#define PIECE          ((size_t)4096) /* floats the writer takes at once */
#define MAX_SIDE_BYTES ((size_t)64 << 20)
#define ROPE_FREQS     "rope_freqs.weight"

typedef struct {
    const hearth_model *m;
    const hearth_model_config *c;
    const char *arch;
    hearth_quant_type type;
    hearth_gguf_writer *w;
    float *row;
    const hearth_alloc *al;
    hearth_error *err;
} job;

static hearth_status cannot_say(const job *j, const char *text) {
    return hearth_error_set(j->err, HEARTH_EUNSUPPORTED,
                            "%.150s: GGUF of '%s' cannot say %s; keep the "
                            "Hugging Face folder",
                            hearth_model_dir(j->m), j->arch ? j->arch : "?",
                            text);
}

static hearth_status check(const job *j) {
    const hearth_model_config *c = j->c;
    double usual = 1.0 / sqrt((double)c->head_dim);
    if (!j->arch) return cannot_say(j, "this architecture");
    if (c->sliding_window && !c->sandwich && strcmp(j->arch, "phi3") != 0)
        return cannot_say(j, "its sliding window");
    if (fabs(c->attn_scale - usual) > 1e-9 * usual)
        return cannot_say(j, "query_pre_attn_scalar other than head_dim");
    if (j->type > HEARTH_QUANT_Q4_0)
        return hearth_error_set(j->err, HEARTH_EUNSUPPORTED,
                                "%s is a type that is only read; convert to "
                                "f32, f16, bf16, q8_0 or q4_0",
                                hearth_quant_name(j->type));
    return HEARTH_OK;
}

static void key(const job *j, const char *name, char out[128]) {
    (void)snprintf(out, 128, "%s.%s", j->arch, name);
}

static void put_u32(const job *j, const char *name, uint32_t v) {
    char full[128];
    key(j, name, full);
    hearth_gguf_put_u32(j->w, full, v);
}

static void put_f32(const job *j, const char *name, double v) {
    char full[128];
    key(j, name, full);
    hearth_gguf_put_f32(j->w, full, (float)v);
}

static void put_text(const job *j, const char *name, const char *text) {
    hearth_gguf_put_string(j->w, name, text, strlen(text));
}

/* The format's number of a file that is mostly of a type. */
static uint32_t file_type(hearth_quant_type t) {
    switch (t) {
    case HEARTH_QUANT_F16: return 1;
    case HEARTH_QUANT_BF16: return 32;
    case HEARTH_QUANT_Q8_0: return 7;
    case HEARTH_QUANT_Q4_0: return 2;
    default: return 0;
    }
}

static void put_rope(const job *j) {
    const hearth_model_config *c = j->c;
    char name[128];
    put_f32(j, "rope.freq_base", c->rope_theta);
    put_u32(j, "rope.dimension_count", c->head_dim);
    if (c->rope_kind == HEARTH_ROPE_LINEAR) {
        key(j, "rope.scaling.type", name);
        put_text(j, name, "linear");
        put_f32(j, "rope.scaling.factor", c->rope_factor);
    }
    if (c->sandwich || strcmp(j->arch, "phi3") == 0)
        put_u32(j, "attention.sliding_window",
                c->sliding_window ? c->sliding_window : c->max_positions);
    if (!c->sandwich) return;
    put_f32(j, "rope.freq_base_swa", c->rope_theta_local);
    key(j, "attention.sliding_window_pattern", name);
    hearth_gguf_put_array(j->w, name, HEARTH_GGUF_BOOL, c->n_layers);
    for (uint32_t l = 0; l < c->n_layers; l++)
        hearth_gguf_item_bool(j->w, c->local[l] != 0);
}

static void put_settings(const job *j) {
    const hearth_model_config *c = j->c;
    char hex[65];
    hearth_model_base_id(j->m, hex);
    put_text(j, "general.architecture", j->arch);
    put_text(j, "general.type", "model");
    put_text(j, HEARTH_GGUF_KEY_BASE_ID, hex);
    hearth_gguf_put_u32(j->w, "general.file_type", file_type(j->type));
    hearth_gguf_put_u32(j->w, "general.quantization_version", 2);
    put_u32(j, "vocab_size", c->vocab_size);
    put_u32(j, "context_length", c->max_positions);
    put_u32(j, "embedding_length", c->hidden_size);
    put_u32(j, "block_count", c->n_layers);
    put_u32(j, "feed_forward_length", c->ffn_size);
    put_u32(j, "attention.head_count", c->n_heads);
    put_u32(j, "attention.head_count_kv", c->n_kv_heads);
    put_u32(j, "attention.key_length", c->head_dim);
    put_u32(j, "attention.value_length", c->head_dim);
    put_f32(j,
            c->norm_kind == HEARTH_NORM_LAYER
                ? "attention.layer_norm_epsilon"
                : "attention.layer_norm_rms_epsilon",
            c->norm_eps);
    if (!c->learned_positions) put_rope(j);
}

static bool has_divisors(const hearth_model_config *c) {
    return c->rope_kind == HEARTH_ROPE_LLAMA3 ||
           c->rope_kind == HEARTH_ROPE_FACTORS;
}

/* What each plain speed is divided by. */
static hearth_status write_divisors(const job *j) {
    hearth_model_config plain = *j->c;
    float divisor[HEARTH_MODEL_MAX_PAIRS];
    uint32_t half = j->c->head_dim / 2;
    plain.rope_kind = HEARTH_ROPE_PLAIN;
    for (uint32_t i = 0; i < half; i++)
        divisor[i] =
            j->c->rope_kind == HEARTH_ROPE_FACTORS
                ? j->c->rope_divisor[i]
                : (float)(hearth_model_config_rope_speed(&plain, i, false) /
                          hearth_model_config_rope_speed(j->c, i, false));
    return hearth_gguf_writer_floats(j->w, divisor, half, j->err);
}

static hearth_quant_type type_of(const job *j, const hearth_model_tensor *t) {
    if (t->cols == 1 || t->role == HEARTH_TENSOR_POSITION)
        return HEARTH_QUANT_F32;
    return t->cols % hearth_quant_elements(j->type) ? HEARTH_QUANT_F16
                                                    : j->type;
}

static hearth_status declare(const job *j) {
    hearth_status st = HEARTH_OK;
    uint64_t half = j->c->head_dim / 2;
    if (has_divisors(j->c))
        st = hearth_gguf_writer_declare(j->w, ROPE_FREQS, HEARTH_QUANT_F32, 1,
                                        &half, j->err);
    for (size_t i = 0; st == HEARTH_OK && i < hearth_model_n_tensors(j->c);
         i++) {
        hearth_model_tensor t;
        char name[HEARTH_MODEL_MAX_NAME];
        hearth_model_tensor_at(j->c, i, &t);
        hearth_gguf_model_name(name, sizeof(name), j->c, &t);
        uint64_t ne[2] = {t.cols, t.rows};
        if (t.cols == 1) ne[0] = t.rows;
        st = hearth_gguf_writer_declare(j->w, name, type_of(j, &t),
                                        t.cols == 1 ? 1 : 2, ne, j->err);
    }
    return st;
}

/* Canonical row that is stored at place r of a permuted matrix. */
static size_t canonical_row(const job *j, size_t r) {
    size_t d = j->c->head_dim, i = r % d;
    return r - i + (i % 2) * (d / 2) + i / 2;
}

static hearth_status write_floats(const job *j, size_t n) {
    hearth_status st = HEARTH_OK;
    for (size_t at = 0; st == HEARTH_OK && at < n; at += PIECE)
        st = hearth_gguf_writer_floats(j->w, j->row + at,
                                       n - at < PIECE ? n - at : PIECE, j->err);
    return st;
}

static hearth_status write_tensor(const job *j, const hearth_model_tensor *t) {
    const hearth_weight *w = hearth_model_weight(j->m, t->role, t->layer);
    bool permuted = hearth_gguf_model_permutes(j->c, t->role);
    hearth_status st = HEARTH_OK;
    if (t->cols == 1) {
        hearth_weight_copy(w, j->row);
        for (size_t i = 0; hearth_gguf_model_shifts(j->c, t) && i < t->rows;
             i++)
            j->row[i] += 1.0f;
        return write_floats(j, t->rows);
    }
    for (size_t r = 0; st == HEARTH_OK && r < t->rows; r++) {
        hearth_weight_row(w, permuted ? canonical_row(j, r) : r, j->row);
        st = write_floats(j, t->cols);
    }
    return st;
}

/* A file of the source folder; none is fine and leaves text empty. */
static hearth_status read_side(const job *j, const char *name,
                               hearth_buf *text) {
    char path[1024];
    hearth_status st =
        hearth_file_join(path, sizeof(path), hearth_model_dir(j->m), name);
    if (st != HEARTH_OK || !hearth_file_exists(path)) return HEARTH_OK;
    return hearth_file_read(text, path, MAX_SIDE_BYTES, j->err);
}

static void put_buf(const job *j, const char *as_key, const hearth_buf *text) {
    if (text->n)
        hearth_gguf_put_string(j->w, as_key, (const char *)text->v, text->n);
}

/* The template: a file of its own, or in older folders a string of the
 * settings. */
static hearth_status put_template(const job *j, const hearth_buf *settings) {
    hearth_buf text = HEARTH_BUF_INIT(j->al);
    hearth_jsonpull p;
    size_t n = 0;
    hearth_status st = read_side(j, "chat_template.jinja", &text);
    hearth_jsonpull_init(&p, (const char *)settings->v, settings->n);
    if (st == HEARTH_OK && !text.n && settings->n &&
        hearth_jsonpull_next(&p) == HEARTH_JSONPULL_OBJECT)
        while (hearth_jsonpull_next(&p) == HEARTH_JSONPULL_KEY) {
            bool here = hearth_jsonpull_is(&p, "chat_template");
            hearth_jsonpull q = p;
            if (!hearth_jsonpull_skip(&p)) break;
            if (!here || hearth_jsonpull_next(&q) != HEARTH_JSONPULL_STRING)
                continue;
            st = hearth_buf_reserve(&text, q.token_n + 1);
            if (st == HEARTH_OK)
                st = hearth_jsonpull_string(&q, (char *)text.v, q.token_n, &n);
            text.n = n;
            break;
        }
    put_buf(j, HEARTH_GGUF_KEY_CHAT_TEMPLATE, &text);
    hearth_buf_free(&text);
    return st;
}

static hearth_status put_vocabulary(const job *j) {
    hearth_buf json = HEARTH_BUF_INIT(j->al), settings = HEARTH_BUF_INIT(j->al);
    bool done = false;
    hearth_status st = read_side(j, "tokenizer.json", &json);
    if (st == HEARTH_OK) st = read_side(j, "tokenizer_config.json", &settings);
    if (st == HEARTH_OK && json.n)
        st = hearth_convert_tokenizer_json(j->w, (const char *)json.v, json.n,
                                           j->c->vocab_size, &done, j->al,
                                           j->err);
    if (!done) put_text(j, "tokenizer.ggml.model", "no_vocab");
    put_buf(j, HEARTH_GGUF_KEY_TOKENIZER, &json);
    put_buf(j, HEARTH_GGUF_KEY_TOKENIZER_CONFIG, &settings);
    if (st == HEARTH_OK) st = put_template(j, &settings);
    hearth_buf_free(&json);
    hearth_buf_free(&settings);
    return st;
}

static void put_token(const job *j, const char *name, int32_t id) {
    if (id >= 0) hearth_gguf_put_u32(j->w, name, (uint32_t)id);
}

static hearth_status put_tokenizer(const job *j) {
    static const char *const ends[] = {"tokenizer.ggml.eos_token_id",
                                       "tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
    const hearth_model_config *c = j->c;
    const char *dir = hearth_model_dir(j->m);
    size_t n = strlen(dir);
    put_token(j, "tokenizer.ggml.bos_token_id", c->bos);
    put_token(j, "tokenizer.ggml.padding_token_id", c->pad);
    for (size_t i = 0; i < c->n_eos && i < 3; i++)
        put_token(j, ends[i], c->eos[i]);
    if (n < 5 || strcmp(dir + n - 5, ".gguf") != 0) return put_vocabulary(j);
    hearth_gguf *g = NULL;
    hearth_status st = hearth_gguf_open(&g, dir, j->al, j->err);
    if (st == HEARTH_OK) hearth_convert_tokenizer_copy(j->w, g);
    hearth_gguf_close(g);
    return st;
}

static hearth_status write_all(const job *j) {
    put_settings(j);
    hearth_status st = put_tokenizer(j);
    if (st == HEARTH_OK) st = declare(j);
    if (st == HEARTH_OK && has_divisors(j->c)) st = write_divisors(j);
    for (size_t i = 0; st == HEARTH_OK && i < hearth_model_n_tensors(j->c);
         i++) {
        hearth_model_tensor t;
        hearth_model_tensor_at(j->c, i, &t);
        st = write_tensor(j, &t);
    }
    return st == HEARTH_OK ? hearth_gguf_writer_finish(j->w, j->err) : st;
}

hearth_status hearth_model_convert(const hearth_model *m,
                                   hearth_quant_type type, const char *out,
                                   const hearth_alloc *al, hearth_error *err) {
    job j = {.m = m, .c = hearth_model_get_config(m), .type = type, .err = err};
    size_t widest = 0;
    j.arch = hearth_gguf_model_arch(j.c);
    hearth_status st = check(&j);
    if (st != HEARTH_OK) return st;
    for (size_t i = 0; i < hearth_model_n_tensors(j.c); i++) {
        hearth_model_tensor t;
        hearth_model_tensor_at(j.c, i, &t);
        size_t n = t.cols == 1 ? t.rows : t.cols;
        if (n > widest) widest = n;
    }
    j.al = hearth_mem_or_default(al);
    j.row = hearth_mem_array(j.al, widest, sizeof(*j.row));
    if (!j.row)
        return hearth_error_set(err, HEARTH_ENOMEM,
                                "%.150s: out of memory; close other programs "
                                "and try again",
                                out);
    st = hearth_gguf_writer_new(&j.w, out, j.al, err);
    if (st == HEARTH_OK) st = write_all(&j);
    hearth_gguf_writer_free(j.w);
    hearth_mem_free(j.al, j.row);
    return st;
}

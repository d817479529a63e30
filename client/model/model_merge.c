/* SPDX-License-Identifier: Apache-2.0 */
/* client/model/model_merge.c - weights stream from the base to the new file;
 * rows of adapted modules get their share of scale B A on the way. */
#include "client/model/model_merge.h"

#include <math.h>
#include <string.h>

#include "client/model/gguf_sides.h"
#include "client/model/model_write.h"
#include "client/train/weight_private.h"
#include "common/error.h"
#include "common/file.h"
#include "common/mem.h"

#define PIECE 1024 /* floats converted at once */

typedef struct {
    const hearth_model *m;
    const hearth_model_config *c;
    const hearth_adapter *a;
    hearth_merge_type type;
    const hearth_alloc *al;
    hearth_error *err;
    hearth_safetensors_writer *w;
    float *value; /* a row; all of a matrix that is stored transposed */
    double *sum;  /* [widest row] */
} job;

/* The pair that adapts a tensor, NULL: none. */
static const hearth_adapter_pair *pair_of(const job *j,
                                          const hearth_model_tensor *t) {
    if ((int)t->role >= HEARTH_TARGET_COUNT) return NULL;
    for (size_t i = 0; i < j->a->n_pairs; i++)
        if (j->a->pair[i].layer == t->layer &&
            j->a->pair[i].target == (uint32_t)t->role)
            return &j->a->pair[i];
    return NULL;
}

/* Does every pair find its tensor, with the right sides? */
static hearth_status check_pairs(const job *j) {
    size_t found = 0, n = hearth_model_n_tensors(j->c);
    for (size_t i = 0; i < n; i++) {
        hearth_model_tensor t;
        hearth_model_tensor_at(j->c, i, &t);
        const hearth_adapter_pair *p = pair_of(j, &t);
        found += p && p->out == t.rows && p->in == t.cols;
    }
    if (found == j->a->n_pairs) return HEARTH_OK;
    return hearth_error_set(j->err, HEARTH_EMISMATCH,
                            "the adapter fits %zu of its %zu modules to this "
                            "model; use the base it was made for",
                            found, j->a->n_pairs);
}

static hearth_dtype dtype_of(const job *j, const hearth_model_tensor *t) {
    switch (j->type) {
    case HEARTH_MERGE_F32: return HEARTH_DTYPE_F32;
    case HEARTH_MERGE_F16: return HEARTH_DTYPE_F16;
    case HEARTH_MERGE_BF16: return HEARTH_DTYPE_BF16;
    case HEARTH_MERGE_AS_BASE: break;
    }
    switch (hearth_model_weight(j->m, t->role, t->layer)->type) {
    case HEARTH_WEIGHT_F16: return HEARTH_DTYPE_F16;
    case HEARTH_WEIGHT_BF16: return HEARTH_DTYPE_BF16;
    case HEARTH_WEIGHT_F32:
    case HEARTH_WEIGHT_REAL:
    case HEARTH_WEIGHT_QUANT: break;
    }
    return HEARTH_DTYPE_F32;
}

/* Row r of the merged tensor. */
static void merged_row(const job *j, const hearth_weight *w,
                       const hearth_adapter_pair *p, size_t r, float *row) {
    hearth_weight_row(w, r, row);
    if (!p) return;
    double scale = (double)hearth_adapter_scale(j->a, p);
    memset(j->sum, 0, (size_t)p->in * sizeof(double));
    for (uint32_t k = 0; k < p->rank; k++) {
        double b = (double)p->b[r * p->rank + k];
        const float *a = p->a + (size_t)k * p->in;
        for (uint32_t i = 0; i < p->in; i++) j->sum[i] += b * (double)a[i];
    }
    for (uint32_t i = 0; i < p->in; i++)
        row[i] = (float)((double)row[i] + scale * j->sum[i]);
}

static hearth_status put(const job *j, hearth_dtype d, const float *v,
                         size_t n) {
    uint8_t bytes[PIECE];
    float back[PIECE / 4];
    hearth_status st = HEARTH_OK;
    for (size_t at = 0; st == HEARTH_OK && at < n; at += PIECE / 4) {
        size_t m = n - at < PIECE / 4 ? n - at : PIECE / 4;
        hearth_dtype_from_f32(d, v + at, m, bytes);
        hearth_dtype_to_f32(d, bytes, m, back);
        for (size_t i = 0; i < m; i++)
            if (!isfinite(back[i]))
                return hearth_error_set(j->err, HEARTH_ENONFINITE,
                                        "a merged weight is not a finite %s; "
                                        "merge with --type f32",
                                        hearth_dtype_name(d));
        st = hearth_safetensors_writer_write(j->w, bytes,
                                             m * hearth_dtype_bytes(d), j->err);
    }
    return st;
}

/* All of a matrix, then its columns. */
static hearth_status put_transposed(const job *j, const hearth_model_tensor *t,
                                    const hearth_weight *w,
                                    const hearth_adapter_pair *p,
                                    hearth_dtype d) {
    float part[PIECE / 4];
    hearth_status st = HEARTH_OK;
    for (size_t r = 0; r < t->rows; r++)
        merged_row(j, w, p, r, j->value + r * t->cols);
    for (size_t c = 0; c < t->cols; c++)
        for (size_t r = 0; st == HEARTH_OK && r < t->rows;) {
            size_t n = 0;
            while (n < PIECE / 4 && r < t->rows)
                part[n++] = j->value[r++ * t->cols + c];
            st = put(j, d, part, n);
        }
    return st;
}

static hearth_status put_tensor(const job *j, const hearth_model_tensor *t) {
    const hearth_weight *w = hearth_model_weight(j->m, t->role, t->layer);
    const hearth_adapter_pair *p = pair_of(j, t);
    hearth_dtype d = dtype_of(j, t);
    hearth_status st = HEARTH_OK;
    if (t->stored_transposed) return put_transposed(j, t, w, p, d);
    if (t->cols == 1) {
        hearth_weight_copy(w, j->value);
        return put(j, d, j->value, t->rows);
    }
    for (size_t r = 0; st == HEARTH_OK && r < t->rows; r++) {
        merged_row(j, w, p, r, j->value);
        st = put(j, d, j->value, t->cols);
    }
    return st;
}

/* Room for the widest row, vector or transposed matrix. */
static hearth_status take(job *j) {
    size_t most = 0, widest = 0, n = hearth_model_n_tensors(j->c);
    for (size_t i = 0; i < n; i++) {
        hearth_model_tensor t;
        hearth_model_tensor_at(j->c, i, &t);
        size_t need = t.stored_transposed ? (size_t)t.rows * t.cols
                      : t.cols == 1       ? t.rows
                                          : t.cols;
        if (need > most) most = need;
        if (t.cols > widest) widest = t.cols;
    }
    j->value = hearth_mem_array(j->al, most, sizeof(*j->value));
    j->sum = hearth_mem_array(j->al, widest, sizeof(*j->sum));
    return j->value && j->sum ? HEARTH_OK
                              : hearth_error_set(j->err, HEARTH_ENOMEM,
                                                 "no memory to merge; close "
                                                 "other programs");
}

static hearth_status write_all(job *j, const char *path) {
    size_t n = hearth_model_n_tensors(j->c);
    hearth_model_tensor t;
    hearth_status st =
        hearth_safetensors_writer_new(&j->w, path, j->al, j->err);
    if (st == HEARTH_OK)
        st = hearth_safetensors_writer_metadata(j->w, "format", "pt", j->err);
    for (size_t i = 0; st == HEARTH_OK && i < n; i++) {
        hearth_model_tensor_at(j->c, i, &t);
        uint64_t dim[2] = {t.stored_transposed ? t.cols : t.rows,
                           t.stored_transposed ? t.rows : t.cols};
        st = hearth_safetensors_writer_declare(
            j->w, t.name, dtype_of(j, &t), t.cols == 1 ? 1 : 2, dim, j->err);
    }
    for (size_t i = 0; st == HEARTH_OK && i < n; i++) {
        hearth_model_tensor_at(j->c, i, &t);
        st = put_tensor(j, &t);
    }
    return st == HEARTH_OK ? hearth_safetensors_writer_finish(j->w, j->err)
                           : st;
}

hearth_status hearth_model_merge(const hearth_model *m, const hearth_adapter *a,
                                 hearth_merge_type type, const char *out_dir,
                                 const hearth_alloc *al, hearth_error *err) {
    char path[1024];
    if (!m || !a || !out_dir) return HEARTH_EINVAL;
    job j = {.m = m,
             .c = hearth_model_get_config(m),
             .a = a,
             .type = type,
             .al = hearth_mem_or_default(al),
             .err = err};
    if (hearth_file_join(path, sizeof(path), out_dir, "model.safetensors"))
        return hearth_error_set(err, HEARTH_ETOOBIG,
                                "path is too long; use a shorter one");
    if (hearth_file_exists(path))
        return hearth_error_set(err, HEARTH_EEXISTS,
                                "%.200s exists; choose another folder", path);
    hearth_status st = check_pairs(&j);
    if (st == HEARTH_OK) st = take(&j);
    if (st == HEARTH_OK) st = hearth_file_mkdirs(out_dir, err);
    if (st == HEARTH_OK)
        st = hearth_model__write_config(j.c, out_dir, j.al, err);
    if (st == HEARTH_OK)
        st = hearth_model__copy_sides(hearth_model_dir(m), out_dir, j.al, err);
    if (st == HEARTH_OK)
        st = hearth_gguf_copy_sides(hearth_model_dir(m), out_dir, j.al, err);
    if (st == HEARTH_OK) st = write_all(&j, path);
    hearth_safetensors_writer_free(j.w);
    hearth_mem_free(j.al, j.value);
    hearth_mem_free(j.al, j.sum);
    return st;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* client/model/model_create.c - a new model with random weights.
 *
 * As Hugging Face initialises these families: matrices normal(0,
 * initializer_range), norm weights 1 (Gemma's, to which 1 is added, 0), biases
 * 0.  Element e of tensor i is the draw
 * (i, e) of the seed, so the bytes depend on seed and config alone.
 */
#include "client/model/base_model.h"
#include "client/model/model_write.h"
#include "common/error.h"
#include "common/file.h"
#include "common/philox.h"

#define MAX_PATH_BYTES 1024
#define BLOCK_FLOATS   ((size_t)512)

typedef struct {
    hearth_philox_key key;
    double sigma;
    hearth_dtype dtype;
    float norm; /* weight of a norm that changes nothing */
} init_job;

static bool is_bias(hearth_tensor_role role) {
    return (role >= HEARTH_TENSOR_BIAS && role < HEARTH_TENSOR_NORM_ATTN) ||
           role == HEARTH_TENSOR_NORM_ATTN_BIAS ||
           role == HEARTH_TENSOR_NORM_MLP_BIAS ||
           role == HEARTH_TENSOR_NORM_FINAL_BIAS;
}

/* n <= BLOCK_FLOATS values in the file's type. */
static hearth_status put_block(hearth_safetensors_writer *w, hearth_dtype dtype,
                               const float *v, size_t n, hearth_error *err) {
    uint8_t half[2 * BLOCK_FLOATS];
    if (dtype == HEARTH_DTYPE_F32)
        return hearth_safetensors_writer_write_f32(w, v, n, err);
    hearth_dtype_from_f32(dtype, v, n, half);
    return hearth_safetensors_writer_write(w, half, 2 * n, err);
}

static hearth_status init_tensor(void *ud, hearth_safetensors_writer *w,
                                 size_t i, const hearth_model_tensor *t,
                                 hearth_error *err) {
    const init_job *j = ud;
    float block[BLOCK_FLOATS];
    uint64_t n = (uint64_t)t->rows * t->cols;
    for (uint64_t e = 0; e < n; e += BLOCK_FLOATS) {
        size_t m = n - e < BLOCK_FLOATS ? (size_t)(n - e) : BLOCK_FLOATS;
        for (size_t k = 0; k < m; k++)
            block[k] = is_bias(t->role) ? 0.0f
                       : t->cols == 1
                           ? j->norm
                           : (float)(j->sigma *
                                     hearth_philox_normal(j->key, i, e + k));
        hearth_status st = put_block(w, j->dtype, block, m, err);
        if (st != HEARTH_OK) return st;
    }
    return HEARTH_OK;
}

hearth_status hearth_model_create(const char *config_path,
                                  const char *tokenizer_path, uint64_t seed,
                                  const char *out_dir, const hearth_alloc *al,
                                  hearth_error *err) {
    return hearth_model_create_as(HEARTH_DTYPE_F32, config_path, tokenizer_path,
                                  seed, out_dir, al, err);
}

hearth_status hearth_model_create_as(hearth_dtype dtype,
                                     const char *config_path,
                                     const char *tokenizer_path, uint64_t seed,
                                     const char *out_dir,
                                     const hearth_alloc *al,
                                     hearth_error *err) {
    char path[MAX_PATH_BYTES];
    hearth_model_config c;
    hearth_status st = hearth_model_config_load(&c, config_path, al, err);
    if (st != HEARTH_OK) return st;
    st = hearth_file_join(path, sizeof(path), out_dir, "model.safetensors");
    if (st != HEARTH_OK)
        return hearth_error_set(err, st, "path is too long; use a shorter one");
    if (hearth_file_exists(path))
        return hearth_error_set(err, HEARTH_EEXISTS,
                                "%s: there is a model already; choose another "
                                "folder",
                                out_dir);
    init_job j = {hearth_philox_key_make(seed, HEARTH_PHILOX_INIT),
                  c.initializer_range, dtype,
                  c.norm_kind == HEARTH_NORM_RMS_ONE ? 0.0f : 1.0f};
    if ((st = hearth_file_mkdirs(out_dir, err)) != HEARTH_OK) return st;
    if (tokenizer_path)
        st = hearth_model__copy_file(tokenizer_path, out_dir, "tokenizer.json",
                                     al, err);
    if (st == HEARTH_OK) st = hearth_model__write_config(&c, out_dir, al, err);
    if (st == HEARTH_OK)
        st = hearth_model__write_tensors(&c, out_dir, dtype, init_tensor, &j,
                                         al, err);
    return st;
}

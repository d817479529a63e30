/* SPDX-License-Identifier: Apache-2.0 */
/* client/model/model_save.c - write a Hugging Face folder. */
#include <string.h>

#include "client/model/base_model.h"
#include "client/model/model_write.h"
#include "common/error.h"
#include "common/file.h"
#include "common/safetensors.h"

#define MAX_PATH_BYTES 1024
#define MAX_SIDE_BYTES ((size_t)64 << 20) /* of a tokenizer file */

/* Files that travel with a model when they are there. */
static const char *const side_files[] = {
    "tokenizer.json",          "tokenizer_config.json",
    "special_tokens_map.json", "generation_config.json",
    "chat_template.jinja",
};

static hearth_status join(char *out, const char *dir, const char *name,
                          hearth_error *err) {
    hearth_status st = hearth_file_join(out, MAX_PATH_BYTES, dir, name);
    if (st != HEARTH_OK)
        return hearth_error_set(err, st, "path is too long; use a shorter one");
    return HEARTH_OK;
}

hearth_status hearth_model__copy_file(const char *from, const char *dir,
                                      const char *name, const hearth_alloc *al,
                                      hearth_error *err) {
    char to[MAX_PATH_BYTES];
    hearth_buf text = HEARTH_BUF_INIT(al);
    hearth_status st = join(to, dir, name, err);
    if (st == HEARTH_OK)
        st = hearth_file_read(&text, from, MAX_SIDE_BYTES, err);
    if (st == HEARTH_OK) st = hearth_file_write(to, text.v, text.n, 0644, err);
    hearth_buf_free(&text);
    return st;
}

hearth_status hearth_model__write_config(const hearth_model_config *c,
                                         const char *dir,
                                         const hearth_alloc *al,
                                         hearth_error *err) {
    char path[MAX_PATH_BYTES];
    hearth_buf text = HEARTH_BUF_INIT(al);
    hearth_status st = join(path, dir, "config.json", err);
    if (st == HEARTH_OK && (st = hearth_model_config_write(c, &text)))
        (void)hearth_error_set(err, st, "%s: out of memory; try again", path);
    if (st == HEARTH_OK)
        st = hearth_file_write(path, text.v, text.n, 0644, err);
    hearth_buf_free(&text);
    return st;
}

static hearth_status write_all(hearth_safetensors_writer *w,
                               const hearth_model_config *c, hearth_dtype dtype,
                               hearth_model__fill fill, void *ud,
                               hearth_error *err) {
    size_t n = hearth_model_n_tensors(c);
    hearth_model_tensor t;
    hearth_status st =
        hearth_safetensors_writer_metadata(w, "format", "pt", err);
    for (size_t i = 0; st == HEARTH_OK && i < n; i++) {
        hearth_model_tensor_at(c, i, &t);
        uint64_t dim[2] = {t.rows, t.cols};
        if (t.stored_transposed) dim[0] = t.cols, dim[1] = t.rows;
        st = hearth_safetensors_writer_declare(w, t.name, dtype,
                                               t.cols == 1 ? 1 : 2, dim, err);
    }
    for (size_t i = 0; st == HEARTH_OK && i < n; i++) {
        hearth_model_tensor_at(c, i, &t);
        st = fill(ud, w, i, &t, err);
    }
    return st == HEARTH_OK ? hearth_safetensors_writer_finish(w, err) : st;
}

hearth_status hearth_model__write_tensors(const hearth_model_config *c,
                                          const char *dir, hearth_dtype dtype,
                                          hearth_model__fill fill, void *ud,
                                          const hearth_alloc *al,
                                          hearth_error *err) {
    char path[MAX_PATH_BYTES];
    hearth_safetensors_writer *w = NULL;
    hearth_status st = join(path, dir, "model.safetensors", err);
    if (st == HEARTH_OK) st = hearth_safetensors_writer_new(&w, path, al, err);
    if (st == HEARTH_OK) st = write_all(w, c, dtype, fill, ud, err);
    hearth_safetensors_writer_free(w);
    return st;
}

/* GPT-2's linears, column by column of what is in memory. */
static hearth_status save_transposed(hearth_safetensors_writer *w,
                                     const float *value,
                                     const hearth_model_tensor *t,
                                     hearth_error *err) {
    float part[512];
    for (uint32_t c = 0; c < t->cols; c++)
        for (uint32_t r = 0; r < t->rows;) {
            size_t n = 0;
            while (n < sizeof(part) / sizeof(part[0]) && r < t->rows)
                part[n++] = value[(size_t)r++ * t->cols + c];
            hearth_status st =
                hearth_safetensors_writer_write_f32(w, part, n, err);
            if (st != HEARTH_OK) return st;
        }
    return HEARTH_OK;
}

static hearth_status save_tensor(void *ud, hearth_safetensors_writer *w,
                                 size_t i, const hearth_model_tensor *t,
                                 hearth_error *err) {
    const float *const *value = ud;
    if (t->stored_transposed) return save_transposed(w, value[i], t, err);
    return hearth_safetensors_writer_write_f32(w, value[i],
                                               (size_t)t->rows * t->cols, err);
}

hearth_status hearth_model__copy_sides(const char *src_dir, const char *dir,
                                       const hearth_alloc *al,
                                       hearth_error *err) {
    char path[MAX_PATH_BYTES];
    hearth_status st = HEARTH_OK;
    for (size_t i = 0;
         st == HEARTH_OK && i < sizeof(side_files) / sizeof(side_files[0]);
         i++) {
        st = join(path, src_dir, side_files[i], err);
        if (st == HEARTH_OK && hearth_file_exists(path))
            st = hearth_model__copy_file(path, dir, side_files[i], al, err);
    }
    return st;
}

hearth_status hearth_model_save(const hearth_model_config *c,
                                const float *const *value, const char *src_dir,
                                const char *out_dir, const hearth_alloc *al,
                                hearth_error *err) {
    hearth_status st = hearth_file_mkdirs(out_dir, err);
    if (st == HEARTH_OK) st = hearth_model__write_config(c, out_dir, al, err);
    if (st == HEARTH_OK && src_dir)
        st = hearth_model__copy_sides(src_dir, out_dir, al, err);
    if (st == HEARTH_OK)
        st = hearth_model__write_tensors(c, out_dir, HEARTH_DTYPE_F32,
                                         save_tensor, (void *)(uintptr_t)value,
                                         al, err);
    return st;
}

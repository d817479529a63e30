/* SPDX-License-Identifier: Apache-2.0 */
/* common/adapter_gguf.c - the contract is in adapter_gguf.h. */
#include "common/adapter_gguf.h"

#include <stdio.h>
#include <string.h>

#include "common/error.h"
#include "common/gguf_writer.h"
#include "common/mem.h"

#define PIECE ((size_t)4096) /* floats the writer takes at once */

static const char *const word[HEARTH_TARGET_COUNT] = {
    "attn_q", "attn_k",   "attn_v",   "attn_output", "ffn_gate",
    "ffn_up", "ffn_down", "attn_qkv", "ffn_up"};

typedef struct {
    const hearth_adapter *a;
    const hearth_adapter_gguf_info *info;
    hearth_gguf_writer *w;
    float alpha; /* of the file */
    float *row;  /* [largest rank] */
    hearth_error *err;
} job;

static void put_text(const job *j, const char *key, const char *text) {
    hearth_gguf_put_string(j->w, key, text, strlen(text));
}

static hearth_status declare(const job *j, const hearth_adapter_pair *p,
                             hearth_lora_factor f) {
    char name[96];
    uint64_t ne[2] = {f == HEARTH_LORA_A ? p->in : p->rank,
                      f == HEARTH_LORA_A ? p->rank : p->out};
    (void)snprintf(name, sizeof(name), "blk.%u.%s.weight.lora_%c",
                   (unsigned)p->layer, word[p->target],
                   f == HEARTH_LORA_A ? 'a' : 'b');
    return hearth_gguf_writer_declare(j->w, name, HEARTH_QUANT_F32, 2, ne,
                                      j->err);
}

static hearth_status write_floats(const job *j, const float *x, size_t n) {
    hearth_status st = HEARTH_OK;
    for (size_t at = 0; st == HEARTH_OK && at < n; at += PIECE)
        st = hearth_gguf_writer_floats(j->w, x + at,
                                       n - at < PIECE ? n - at : PIECE, j->err);
    return st;
}

static bool is_permuted(const job *j, const hearth_adapter_pair *p) {
    return j->info->permuted &&
           (p->target == HEARTH_TARGET_Q || p->target == HEARTH_TARGET_K);
}

/* Rows of B in the base's order, times what the scale differs by. */
static hearth_status write_b(const job *j, const hearth_adapter_pair *p) {
    float ratio = hearth_adapter_scale(j->a, p) * (float)p->rank / j->alpha;
    size_t d = j->info->permuted;
    hearth_status st = HEARTH_OK;
    for (size_t r = 0; st == HEARTH_OK && r < p->out; r++) {
        size_t i = is_permuted(j, p) ? r % d : 0, from = r;
        if (is_permuted(j, p)) from = r - i + (i % 2) * (d / 2) + i / 2;
        for (size_t k = 0; k < p->rank; k++)
            j->row[k] = p->b[from * p->rank + k] * ratio;
        st = write_floats(j, j->row, p->rank);
    }
    return st;
}

static hearth_status write_all(const job *j) {
    const hearth_adapter *a = j->a;
    hearth_status st = HEARTH_OK;
    put_text(j, "general.architecture", j->info->arch);
    put_text(j, "general.type", "adapter");
    put_text(j, "adapter.type", "lora");
    hearth_gguf_put_f32(j->w, "adapter.lora.alpha", j->alpha);
    for (size_t i = 0; st == HEARTH_OK && i < a->n_pairs; i++) {
        st = declare(j, &a->pair[i], HEARTH_LORA_A);
        if (st == HEARTH_OK) st = declare(j, &a->pair[i], HEARTH_LORA_B);
    }
    for (size_t i = 0; st == HEARTH_OK && i < a->n_pairs; i++) {
        const hearth_adapter_pair *p = &a->pair[i];
        st = write_floats(j, p->a, (size_t)p->rank * p->in);
        if (st == HEARTH_OK) st = write_b(j, p);
    }
    return st == HEARTH_OK ? hearth_gguf_writer_finish(j->w, j->err) : st;
}

static hearth_status check(const job *j, const char *path) {
    for (size_t i = 0; i < j->a->n_pairs; i++)
        if (is_permuted(j, &j->a->pair[i]) &&
            (j->info->permuted % 2 || j->a->pair[i].out % j->info->permuted))
            return hearth_error_set(j->err, HEARTH_EINVAL,
                                    "%.150s: the head size does not divide %s; "
                                    "fix the call",
                                    path, j->a->pair[i].module);
    if (!(j->alpha > 0))
        return hearth_error_set(j->err, HEARTH_EINVAL,
                                "%.150s: an adapter of scale 0 changes "
                                "nothing; fix the call",
                                path);
    return HEARTH_OK;
}

hearth_status hearth_adapter_export_gguf(const hearth_adapter *a,
                                         const hearth_adapter_gguf_info *info,
                                         const char *path,
                                         const hearth_alloc *al,
                                         hearth_error *err) {
    size_t rank = 1;
    al = hearth_mem_or_default(al);
    for (size_t i = 0; i < a->n_pairs; i++)
        if (a->pair[i].rank > rank) rank = a->pair[i].rank;
    job j = {.a = a, .info = info, .err = err};
    if (a->n_pairs)
        j.alpha = hearth_adapter_scale(a, &a->pair[0]) * (float)a->pair[0].rank;
    hearth_status st = check(&j, path);
    if (st != HEARTH_OK) return st;
    j.row = hearth_mem_array(al, rank, sizeof(*j.row));
    if (!j.row)
        return hearth_error_set(err, HEARTH_ENOMEM,
                                "%.150s: out of memory; close other programs "
                                "and try again",
                                path);
    st = hearth_gguf_writer_new(&j.w, path, al, err);
    if (st == HEARTH_OK) st = write_all(&j);
    hearth_gguf_writer_free(j.w);
    hearth_mem_free(al, j.row);
    return st;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* common/adapter_peft.c - load a PEFT folder.
 *
 * Shapes come from the tensor file and are then held against the config and
 * the model: three witnesses that must agree.  Nothing is applied before all
 * of them do. */
#include "common/adapter_peft.h"

#include <math.h>
#include <string.h>

#include "common/adapter_combine.h"
#include "common/adapter_peft_private.h"
#include "common/buf.h"
#include "common/bytes.h"
#include "common/error.h"
#include "common/file.h"
#include "common/mem.h"
#include "common/name_pattern.h"
#include "common/safetensors.h"

#define MAX_PATTERNS 512
#define MAX_PATTERN  192 /* bytes of one key with its NUL */

typedef struct {
    bool is_rank;
    char key[MAX_PATTERN];
    double value;
} pattern;

/* Everything that one load holds. */
typedef struct {
    const char *dir;
    const hearth_module_info *modules;
    size_t n_modules;
    const hearth_alloc *al;
    hearth_error *err;
    hearth_peft_info info;
    pattern *pat; /* [n_pat] */
    size_t n_pat;
    hearth_safetensors *file;
    hearth_adapter_pair *shape; /* [n_shapes] rank 0: A not seen, out 0: B */
    size_t n_shapes;
} loading;

static hearth_status keep_pattern(void *ud, bool is_rank, const char *module,
                                  double value) {
    loading *l = ud;
    size_t n = strlen(module);
    if (l->n_pat == MAX_PATTERNS || n >= sizeof(l->pat->key))
        return HEARTH_ETOOBIG;
    pattern *p = &l->pat[l->n_pat++];
    p->is_rank = is_rank;
    memcpy(p->key, module, n + 1);
    p->value = value;
    return HEARTH_OK;
}

static hearth_status read_config(loading *l) {
    char path[1024];
    hearth_buf text = HEARTH_BUF_INIT(l->al);
    hearth_status st =
        hearth_file_join(path, sizeof(path), l->dir, HEARTH_PEFT_CONFIG_FILE);
    if (st != HEARTH_OK)
        return hearth_error_set(l->err, st, "adapter path is too long");
    l->pat = hearth_mem_array(l->al, MAX_PATTERNS, sizeof(*l->pat));
    if (!l->pat) return hearth_error_set(l->err, HEARTH_ENOMEM, "no memory");
    st = hearth_file_read(&text, path, HEARTH_PEFT_CONFIG_LIMIT, l->err);
    if (st == HEARTH_OK)
        st = hearth_peft_config_parse(hearth_buf_str(&text), text.n, &l->info,
                                      keep_pattern, l, l->err);
    hearth_buf_free(&text);
    return st;
}

static hearth_status open_tensors(loading *l) {
    char path[1024];
    hearth_status st =
        hearth_file_join(path, sizeof(path), l->dir, HEARTH_PEFT_WEIGHTS_FILE);
    if (st != HEARTH_OK)
        return hearth_error_set(l->err, st, "adapter path is too long");
    st = hearth_safetensors_open(&l->file, path, l->al, l->err);
    if (st != HEARTH_OK) return st;
    l->info.n_tensors = hearth_safetensors_count(l->file);
    if (l->info.n_tensors == 0 ||
        l->info.n_tensors > 2 * (size_t)HEARTH_ADAPTER_MAX_PAIRS)
        return hearth_error_set(l->err, HEARTH_EFORMAT,
                                "%s: %zu tensors; this is no LoRA adapter",
                                l->dir, l->info.n_tensors);
    l->shape = hearth_mem_array(l->al, l->info.n_tensors, sizeof(*l->shape));
    if (!l->shape) return hearth_error_set(l->err, HEARTH_ENOMEM, "no memory");
    return HEARTH_OK;
}

/* The shape of a module, made when it is new.  Names come sorted, so the one
 * looked for is nearly always the last. */
static hearth_adapter_pair *shape_for(loading *l, const char *module) {
    for (size_t i = l->n_shapes; i-- > 0;)
        if (strcmp(l->shape[i].module, module) == 0) return &l->shape[i];
    hearth_adapter_pair *s = &l->shape[l->n_shapes++];
    memcpy(s->module, module, strlen(module) + 1);
    return s;
}

static hearth_status note_tensor(loading *l, const hearth_tensor *t) {
    char module[HEARTH_LORA_MODULE_MAX];
    hearth_lora_factor factor;
    if (hearth_lora_peft_parse(t->name, strlen(t->name), module, &factor) !=
        HEARTH_OK)
        return hearth_error_set(l->err, HEARTH_EFORMAT,
                                "%s: tensor '%.100s' is no LoRA factor; remove "
                                "it or export the adapter again",
                                l->dir, t->name);
    if (t->dtype == HEARTH_DTYPE_OTHER)
        return hearth_error_set(l->err, HEARTH_EUNSUPPORTED,
                                "%s: '%.100s' is not F32, F16 or BF16; save "
                                "the adapter as one of these",
                                l->dir, t->name);
    if (t->n_dims != 2 || t->dim[0] == 0 || t->dim[1] == 0 ||
        t->dim[0] > HEARTH_ADAPTER_MAX_SIDE ||
        t->dim[1] > HEARTH_ADAPTER_MAX_SIDE)
        return hearth_error_set(l->err, HEARTH_EFORMAT,
                                "%s: '%.100s' is not a matrix of usable size; "
                                "export the adapter again",
                                l->dir, t->name);
    hearth_adapter_pair *s = shape_for(l, module);
    uint32_t *out = factor == HEARTH_LORA_A ? &s->in : &s->out;
    uint64_t side = t->dim[factor == HEARTH_LORA_A ? 1 : 0];
    uint64_t rank = t->dim[factor == HEARTH_LORA_A ? 0 : 1];
    if (*out || (s->rank && s->rank != rank))
        return hearth_error_set(l->err, HEARTH_EFORMAT,
                                "%s: %.90s: A and B do not fit each other; "
                                "export the adapter again",
                                l->dir, module);
    *out = (uint32_t)side;
    s->rank = (uint32_t)rank;
    return HEARTH_OK;
}

/* The first entry of rank_pattern (alpha_pattern) whose key means this module,
 * as PEFT takes it; else the common value. */
static double pattern_value(const loading *l, bool is_rank, const char *module,
                            double common) {
    for (size_t i = 0; i < l->n_pat; i++) {
        bool matches = false;
        if (l->pat[i].is_rank != is_rank) continue;
        if (hearth_name_pattern_match(l->pat[i].key, module, &matches) ==
                HEARTH_OK &&
            matches)
            return l->pat[i].value;
    }
    return common;
}

static const hearth_module_info *find_module(const loading *l,
                                             const char *name) {
    for (size_t i = 0; i < l->n_modules; i++)
        if (strcmp(l->modules[i].name, name) == 0) return &l->modules[i];
    return NULL;
}

/* Which layer and target a module is, and whether the model agrees. */
static hearth_status place_module(const loading *l, hearth_adapter_pair *s) {
    if (!l->modules) {
        hearth_lora_names names;
        if (hearth_lora_module_parse(s->module, strlen(s->module), &names,
                                     &s->layer, &s->target) == HEARTH_OK)
            return HEARTH_OK;
        return hearth_error_set(
            l->err, HEARTH_EUNSUPPORTED,
            "%s: %.90s is no linear layer of a block; LoRA on "
            "embeddings and heads is not supported",
            l->dir, s->module);
    }
    const hearth_module_info *m = find_module(l, s->module);
    if (!m)
        return hearth_error_set(l->err, HEARTH_EMISMATCH,
                                "%s: the model has no %.90s; use the base "
                                "model of this adapter",
                                l->dir, s->module);
    if (m->in != s->in || m->out != s->out)
        return hearth_error_set(
            l->err, HEARTH_EMISMATCH,
            "%s: %.90s is [%u x %u] and [%u x %u] in the model; use the base "
            "model of this adapter",
            l->dir, s->module, (unsigned)s->out, (unsigned)s->in,
            (unsigned)m->out, (unsigned)m->in);
    s->layer = m->layer;
    s->target = m->target;
    return HEARTH_OK;
}

static hearth_status check_shape(const loading *l, hearth_adapter_pair *s) {
    double rank = pattern_value(l, true, s->module, l->info.rank);
    double alpha = pattern_value(l, false, s->module, (double)l->info.alpha);
    if (!s->in || !s->out)
        return hearth_error_set(l->err, HEARTH_EFORMAT,
                                "%s: %.90s has only one of lora_A and lora_B; "
                                "export the adapter again",
                                l->dir, s->module);
    if ((double)s->rank != rank)
        return hearth_error_set(l->err, HEARTH_EFORMAT,
                                "%s: %.90s has rank %u, the config says %g; "
                                "export the adapter again",
                                l->dir, s->module, (unsigned)s->rank, rank);
    s->alpha = (float)alpha;
    return place_module(l, s);
}

static hearth_status read_factor(const loading *l, const char *module,
                                 hearth_lora_factor factor, float *v,
                                 size_t n) {
    const char *const end[] = {".lora_A.default.weight",
                               ".lora_B.default.weight"};
    char key[HEARTH_LORA_NAME_MAX + 16];
    const hearth_tensor *t = NULL;
    if (hearth_lora_peft_key(key, sizeof(key), module, factor) == HEARTH_OK)
        t = hearth_safetensors_find(l->file, key);
    if (!t) {
        size_t m = strlen(key), cut = strlen(".lora_A.weight");
        const char *e = end[factor == HEARTH_LORA_B];
        memcpy(key + m - cut, e, strlen(e) + 1);
        t = hearth_safetensors_find(l->file, key);
    }
    if (!t || t->n_elements != n)
        return hearth_error_set(l->err, HEARTH_EFORMAT,
                                "%s: %.90s: a factor is missing", l->dir,
                                module);
    return hearth_tensor_read_f32(t, 0, n, v);
}

/* A is what the seed in the metadata gives?  Then say so; a file that claims
 * it wrongly is damaged. */
static hearth_status take_seed(const loading *l, hearth_adapter *a) {
    const char *freeze =
        hearth_safetensors_metadata(l->file, HEARTH_PEFT_META_FREEZE_A);
    const char *hex =
        hearth_safetensors_metadata(l->file, HEARTH_PEFT_META_A_SEED);
    uint8_t seed[HEARTH_ADAPTER_SEED_BYTES];
    hearth_adapter *fresh = NULL;
    a->freeze_a = freeze && strcmp(freeze, "true") == 0;
    if (!hex) return HEARTH_OK;
    hearth_status st = hearth_hex_decode(seed, sizeof(seed), hex, strlen(hex));
    if (st == HEARTH_OK) st = hearth_adapter_clone(&fresh, a, l->al, l->err);
    if (st == HEARTH_OK) st = hearth_adapter_init_a_from_seed(fresh, seed);
    for (size_t i = 0; st == HEARTH_OK && i < a->n_pairs; i++) {
        const hearth_adapter_pair *p = &a->pair[i], *q = &fresh->pair[i];
        if (memcmp(p->a, q->a, (size_t)p->rank * p->in * sizeof(float)) != 0)
            st = HEARTH_EFORMAT;
    }
    hearth_adapter_free(fresh);
    if (st == HEARTH_EFORMAT)
        return hearth_error_set(l->err, st,
                                "%s: A is not what its seed gives; the file is "
                                "damaged: fetch it again",
                                l->dir);
    if (st != HEARTH_OK) return st;
    memcpy(a->a_seed, seed, sizeof(seed));
    a->has_a_seed = true;
    return HEARTH_OK;
}

static hearth_status read_values(loading *l, hearth_adapter *a) {
    hearth_status st = HEARTH_OK;
    for (size_t i = 0; i < a->n_pairs && st == HEARTH_OK; i++) {
        hearth_adapter_pair *p = &a->pair[i];
        st = read_factor(l, p->module, HEARTH_LORA_A, p->a,
                         (size_t)p->rank * p->in);
        if (st == HEARTH_OK)
            st = read_factor(l, p->module, HEARTH_LORA_B, p->b,
                             (size_t)p->out * p->rank);
        if (st == HEARTH_OK) l->info.n_applied += 2;
    }
    if (st != HEARTH_OK) return st;
    if (l->info.n_applied != l->info.n_tensors)
        return hearth_error_set(l->err, HEARTH_EFORMAT,
                                "%s: applied %zu of %zu tensors; export the "
                                "adapter again",
                                l->dir, l->info.n_applied, l->info.n_tensors);
    if (hearth_adapter_check_finite(a) != HEARTH_OK)
        return hearth_error_set(l->err, HEARTH_ENONFINITE,
                                "%s: holds NaN or infinity; train it again "
                                "with a lower --lr",
                                l->dir);
    a->dropout = l->info.dropout;
    return take_seed(l, a);
}

static hearth_status load(loading *l, hearth_adapter **a) {
    hearth_status st;
    if ((st = read_config(l)) != HEARTH_OK) return st;
    if ((st = open_tensors(l)) != HEARTH_OK) return st;
    for (size_t i = 0; i < l->info.n_tensors; i++)
        if ((st = note_tensor(l, hearth_safetensors_at(l->file, i))) !=
            HEARTH_OK)
            return st;
    for (size_t i = 0; i < l->n_shapes; i++)
        if ((st = check_shape(l, &l->shape[i])) != HEARTH_OK) return st;
    st = hearth_adapter_new_shaped(a, l->shape, l->n_shapes, l->info.rslora,
                                   l->al, l->err);
    if (st != HEARTH_OK) return st;
    const char *id =
        hearth_safetensors_metadata(l->file, HEARTH_PEFT_META_BASE_ID);
    if (id && strlen(id) < sizeof(l->info.base_id))
        memcpy(l->info.base_id, id, strlen(id) + 1);
    return read_values(l, *a);
}

hearth_status hearth_adapter_load(hearth_adapter **out, const char *dir,
                                  const hearth_module_info *modules,
                                  size_t n_modules, hearth_peft_info *info,
                                  const hearth_alloc *al, hearth_error *err) {
    if (!out) return HEARTH_EINVAL;
    *out = NULL;
    if (info) memset(info, 0, sizeof(*info));
    if (!dir || (n_modules && !modules)) return HEARTH_EINVAL;
    loading l = {.dir = dir,
                 .modules = modules,
                 .n_modules = n_modules,
                 .al = al,
                 .err = err};
    hearth_adapter *a = NULL;
    hearth_status st = load(&l, &a);
    if (st == HEARTH_OK) {
        *out = a;
        a = NULL;
        if (info) *info = l.info;
    }
    hearth_adapter_free(a);
    hearth_safetensors_close(l.file);
    hearth_mem_free(al, l.shape);
    hearth_mem_free(al, l.pat);
    return st;
}

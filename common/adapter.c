/* SPDX-License-Identifier: Apache-2.0 */
/* common/adapter.c - all factors live in one block in canonical order, so the
 * flat vector of both factors is that block, and a digest of it is a digest of
 * the adapter.
 *
 * A from a seed uses integers, powers of two, one division and one square
 * root, all correctly rounded by IEEE 754: no machine can give other bytes. */
#include "common/adapter.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/error.h"
#include "common/hash.h"
#include "common/mem.h"
#include "common/prg.h"

static int by_order(const void *x, const void *y) {
    const hearth_adapter_pair *p = x, *q = y;
    if (p->layer != q->layer) return p->layer < q->layer ? -1 : 1;
    if (p->target != q->target) return p->target < q->target ? -1 : 1;
    return strcmp(p->module, q->module);
}

static hearth_status check_shape(const hearth_adapter_pair *p,
                                 hearth_error *err) {
    if (!memchr(p->module, 0, sizeof(p->module)) || !p->module[0])
        return hearth_error_set(err, HEARTH_EINVAL,
                                "module name empty or too long");
    if (p->rank == 0 || p->in == 0 || p->out == 0 ||
        p->target >= HEARTH_TARGET_COUNT || !(p->alpha > 0.0f) ||
        !isfinite(p->alpha))
        return hearth_error_set(
            err, HEARTH_EINVAL,
            "%s: rank, alpha and sides must be above zero; check --rank and "
            "--alpha",
            p->module);
    if (p->rank > HEARTH_ADAPTER_MAX_RANK || p->in > HEARTH_ADAPTER_MAX_SIDE ||
        p->out > HEARTH_ADAPTER_MAX_SIDE || p->layer >= HEARTH_LORA_MAX_LAYERS)
        return hearth_error_set(
            err, HEARTH_ETOOBIG,
            "%s: rank %u or side %u x %u is above the limit; use a lower "
            "--rank",
            p->module, (unsigned)p->rank, (unsigned)p->out, (unsigned)p->in);
    return HEARTH_OK;
}

static size_t pair_floats(const hearth_adapter_pair *p, hearth_part part) {
    size_t n = 0;
    if (part & HEARTH_PART_A) n += (size_t)p->rank * p->in;
    if (part & HEARTH_PART_B) n += (size_t)p->out * p->rank;
    return n;
}

/* Check and count sorted pairs.  Each pair is at most 2^31 floats, and the sum
 * is checked after each: it can not wrap. */
static hearth_status check_pairs(const hearth_adapter_pair *pair, size_t n,
                                 size_t *n_values, hearth_error *err) {
    size_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        hearth_status st = check_shape(&pair[i], err);
        if (st != HEARTH_OK) return st;
        if (i && pair[i - 1].layer == pair[i].layer &&
            pair[i - 1].target == pair[i].target)
            return hearth_error_set(err, HEARTH_EINVAL, "%s: given twice",
                                    pair[i].module);
        sum += pair_floats(&pair[i], HEARTH_PART_AB);
        if (sum > HEARTH_ADAPTER_MAX_DIM)
            return hearth_error_set(
                err, HEARTH_ETOOBIG,
                "adapter of more than %zu values; use a lower --rank or fewer "
                "--targets",
                HEARTH_ADAPTER_MAX_DIM);
    }
    *n_values = sum;
    return HEARTH_OK;
}

static void place_factors(hearth_adapter *a) {
    float *at = a->values;
    for (size_t i = 0; i < a->n_pairs; i++) {
        a->pair[i].a = at;
        at += pair_floats(&a->pair[i], HEARTH_PART_A);
        a->pair[i].b = at;
        at += pair_floats(&a->pair[i], HEARTH_PART_B);
    }
}

/* An adapter with room for n pairs, none set. */
static hearth_adapter *new_empty(size_t n, const hearth_alloc *al) {
    al = hearth_mem_or_default(al);
    hearth_adapter *a = hearth_mem_new(al, sizeof(*a));
    if (!a) return NULL;
    a->alloc = *al;
    a->pair = hearth_mem_array(al, n, sizeof(*a->pair));
    if (a->pair) return a;
    hearth_mem_free(al, a);
    return NULL;
}

/* Sort, check, allocate the values.  Frees a on failure. */
static hearth_status finish_new(hearth_adapter **out, hearth_adapter *a,
                                hearth_error *err) {
    qsort(a->pair, a->n_pairs, sizeof(*a->pair), by_order);
    hearth_status st = check_pairs(a->pair, a->n_pairs, &a->n_values, err);
    if (st == HEARTH_OK) {
        a->values =
            hearth_mem_array(&a->alloc, a->n_values, sizeof(*a->values));
        if (!a->values)
            st = hearth_error_set(err, HEARTH_ENOMEM,
                                  "no memory for an adapter of %zu values; "
                                  "use a lower --rank",
                                  a->n_values);
    }
    if (st != HEARTH_OK) {
        a->n_values = 0;
        hearth_adapter_free(a);
        return st;
    }
    place_factors(a);
    *out = a;
    return HEARTH_OK;
}

hearth_status hearth_adapter_new_shaped(hearth_adapter **out,
                                        const hearth_adapter_pair *shapes,
                                        size_t n_shapes, bool rslora,
                                        const hearth_alloc *al,
                                        hearth_error *err) {
    if (!out) return HEARTH_EINVAL;
    *out = NULL;
    if (!shapes || n_shapes == 0)
        return hearth_error_set(err, HEARTH_EINVAL, "no module to adapt");
    if (n_shapes > HEARTH_ADAPTER_MAX_PAIRS)
        return hearth_error_set(err, HEARTH_ETOOBIG, "more than %u modules",
                                (unsigned)HEARTH_ADAPTER_MAX_PAIRS);
    hearth_adapter *a = new_empty(n_shapes, al);
    if (!a) return hearth_error_set(err, HEARTH_ENOMEM, "no memory");
    memcpy(a->pair, shapes, n_shapes * sizeof(*shapes));
    a->n_pairs = n_shapes;
    a->rslora = rslora;
    return finish_new(out, a, err);
}

/* The shape that spec gives module m.  HEARTH_ENOTFOUND: not selected. */
static hearth_status shape_of(hearth_adapter_pair *p,
                              const hearth_lora_spec *spec,
                              const hearth_module_info *m, uint32_t first) {
    if (m->target >= HEARTH_TARGET_COUNT ||
        !(spec->targets & HEARTH_TARGET_BIT(m->target)) || m->layer < first)
        return HEARTH_ENOTFOUND;
    size_t n = m->name ? strlen(m->name) : 0;
    if (n == 0 || n >= sizeof(p->module)) return HEARTH_EINVAL;
    memset(p, 0, sizeof(*p));
    memcpy(p->module, m->name, n);
    p->layer = m->layer;
    p->target = m->target;
    p->rank = spec->rank;
    p->alpha = spec->alpha;
    p->in = m->in;
    p->out = m->out;
    return HEARTH_OK;
}

hearth_status hearth_adapter_new(hearth_adapter **out,
                                 const hearth_lora_spec *spec,
                                 const hearth_module_info *modules,
                                 size_t n_modules, const hearth_alloc *al,
                                 hearth_error *err) {
    if (!out) return HEARTH_EINVAL;
    *out = NULL;
    if (!spec || !modules || n_modules == 0)
        return hearth_error_set(err, HEARTH_EINVAL, "no module to adapt");
    if (n_modules > HEARTH_ADAPTER_MAX_PAIRS)
        return hearth_error_set(err, HEARTH_ETOOBIG, "more than %u modules",
                                (unsigned)HEARTH_ADAPTER_MAX_PAIRS);
    uint32_t last = 0;
    for (size_t i = 0; i < n_modules; i++)
        if (modules[i].layer > last) last = modules[i].layer;
    uint32_t first = spec->last_layers && spec->last_layers <= last
                         ? last + 1 - spec->last_layers
                         : 0;

    hearth_adapter *a = new_empty(n_modules, al);
    if (!a) return hearth_error_set(err, HEARTH_ENOMEM, "no memory");
    a->rslora = spec->rslora;
    a->freeze_a = spec->freeze_a;
    for (size_t i = 0; i < n_modules; i++) {
        hearth_adapter_pair *p = &a->pair[a->n_pairs];
        hearth_status st = shape_of(p, spec, &modules[i], first);
        if (st == HEARTH_OK) a->n_pairs++;
        if (st != HEARTH_OK && st != HEARTH_ENOTFOUND) {
            hearth_adapter_free(a);
            return hearth_error_set(err, st, "a module has no usable name");
        }
    }
    if (a->n_pairs == 0) {
        hearth_adapter_free(a);
        return hearth_error_set(err, HEARTH_EINVAL,
                                "no module of this model is selected; check "
                                "--targets and --layers");
    }
    return finish_new(out, a, err);
}

hearth_status hearth_adapter_clone(hearth_adapter **out,
                                   const hearth_adapter *a,
                                   const hearth_alloc *al, hearth_error *err) {
    if (!out) return HEARTH_EINVAL;
    *out = NULL;
    if (!a) return HEARTH_EINVAL;
    hearth_status st =
        hearth_adapter_new_shaped(out, a->pair, a->n_pairs, a->rslora, al, err);
    if (st != HEARTH_OK) return st;
    hearth_adapter *b = *out;
    b->freeze_a = a->freeze_a;
    b->has_a_seed = a->has_a_seed;
    memcpy(b->a_seed, a->a_seed, sizeof(b->a_seed));
    b->dropout = a->dropout;
    memcpy(b->values, a->values, a->n_values * sizeof(*a->values));
    return HEARTH_OK;
}

void hearth_adapter_free(hearth_adapter *a) {
    if (!a) return;
    hearth_alloc al = a->alloc;
    if (a->values) hearth_zeroize(a->values, a->n_values * sizeof(float));
    hearth_mem_free(&al, a->values);
    hearth_mem_free(&al, a->pair);
    hearth_zeroize(a, sizeof(*a));
    hearth_mem_free(&al, a);
}

/* The stream key of one module. */
static hearth_status module_key(uint8_t key[HEARTH_PRG_SEED_BYTES],
                                const uint8_t *seed, const char *module) {
    static const char label[] = "hearth.lora_a.v1:";
    char text[sizeof(label) + HEARTH_LORA_MODULE_MAX];
    size_t n = sizeof(label) - 1, m = strlen(module);
    memcpy(text, label, n);
    memcpy(text + n, module, m);
    return hearth_hmac_sha256(key, seed, HEARTH_ADAPTER_SEED_BYTES, text,
                              n + m);
}

static hearth_status fill_a(hearth_adapter_pair *p, const uint8_t *seed) {
    uint8_t key[HEARTH_PRG_SEED_BYTES], block[1024];
    hearth_prg g;
    hearth_status st = module_key(key, seed, p->module);
    if (st == HEARTH_OK) st = hearth_prg_init(&g, key);
    hearth_zeroize(key, sizeof(key));
    if (st != HEARTH_OK) return st;

    const size_t n = (size_t)p->rank * p->in;
    const double unit = 0x1p-24, side = sqrt((double)p->in);
    for (size_t i = 0; i < n && st == HEARTH_OK;) {
        size_t m = n - i < sizeof(block) / 4 ? n - i : sizeof(block) / 4;
        st = hearth_prg_bytes(&g, block, m * 4);
        for (size_t j = 0; j < m && st == HEARTH_OK; j++, i++) {
            uint32_t w = hearth_load_le32(block + 4 * j);
            int32_t k = (int32_t)(2 * (w >> 8) + 1) - (1 << 24);
            p->a[i] = (float)((double)k * unit / side);
        }
    }
    hearth_prg_free(&g);
    hearth_zeroize(block, sizeof(block));
    return st;
}

hearth_status
hearth_adapter_init_a_from_seed(hearth_adapter *a,
                                const uint8_t seed[HEARTH_ADAPTER_SEED_BYTES]) {
    hearth_status st = HEARTH_OK;
    if (!a || !seed) return HEARTH_EINVAL;
    memset(a->values, 0, a->n_values * sizeof(*a->values));
    a->has_a_seed = false;
    for (size_t i = 0; i < a->n_pairs && st == HEARTH_OK; i++)
        st = fill_a(&a->pair[i], seed);
    if (st != HEARTH_OK) {
        memset(a->values, 0, a->n_values * sizeof(*a->values));
        return st;
    }
    memcpy(a->a_seed, seed, sizeof(a->a_seed));
    a->has_a_seed = true;
    return HEARTH_OK;
}

hearth_status
hearth_adapter_seed_from_number(uint64_t n,
                                uint8_t seed[HEARTH_ADAPTER_SEED_BYTES]) {
    uint8_t text[15 + 8];
    memcpy(text, "hearth.seed.v1:", 15);
    hearth_store_le64(text + 15, n);
    return hearth_sha256(seed, text, sizeof(text));
}

float hearth_adapter_scale(const hearth_adapter *a,
                           const hearth_adapter_pair *p) {
    double r = (double)p->rank;
    return (float)((double)p->alpha / (a->rslora ? sqrt(r) : r));
}

size_t hearth_adapter_dim(const hearth_adapter *a, hearth_part part) {
    size_t n = 0;
    for (size_t i = 0; a && i < a->n_pairs; i++)
        n += pair_floats(&a->pair[i], part);
    return n;
}

size_t hearth_adapter_spans(const hearth_adapter *a, hearth_part part,
                            hearth_span *spans, size_t cap) {
    size_t n = 0;
    for (size_t i = 0; a && i < a->n_pairs; i++) {
        const hearth_adapter_pair *p = &a->pair[i];
        if (part & HEARTH_PART_A) {
            if (n < cap)
                spans[n] = (hearth_span){p->a, pair_floats(p, HEARTH_PART_A)};
            n++;
        }
        if (part & HEARTH_PART_B) {
            if (n < cap)
                spans[n] = (hearth_span){p->b, pair_floats(p, HEARTH_PART_B)};
            n++;
        }
    }
    return n;
}

/* Walk a part of the values beside a flat vector of n floats. */
static hearth_status walk(const hearth_adapter *a, hearth_part part, size_t n,
                          float *to, const float *from) {
    if (!a || n != hearth_adapter_dim(a, part)) return HEARTH_EINVAL;
    if (n && !to && !from) return HEARTH_EINVAL;
    size_t at = 0;
    for (size_t i = 0; i < a->n_pairs; i++) {
        hearth_span s[2];
        hearth_adapter one = {.n_pairs = 1, .pair = &a->pair[i]};
        size_t k = hearth_adapter_spans(&one, part, s, 2);
        for (size_t j = 0; j < k; at += s[j].n, j++) {
            if (to) memcpy(to + at, s[j].v, s[j].n * sizeof(float));
            if (from) memcpy(s[j].v, from + at, s[j].n * sizeof(float));
        }
    }
    return HEARTH_OK;
}

hearth_status hearth_adapter_flatten(const hearth_adapter *a, hearth_part part,
                                     float *flat, size_t n) {
    return walk(a, part, n, flat, NULL);
}

hearth_status hearth_adapter_unflatten(hearth_adapter *a, hearth_part part,
                                       const float *flat, size_t n) {
    return walk(a, part, n, NULL, flat);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* client/personal/space.c - the contract is in space.h. */
#include "client/personal/space.h"

#include <string.h>

#include "common/adapter_digest.h"
#include "common/bytes.h"

hearth_part hearth_space_part(const hearth_wire_space *s) {
    return s->rule == HEARTH_RULE_FFA ? HEARTH_PART_B : HEARTH_PART_AB;
}

/* Same 32 bytes?  If not, words about both sides. */
static hearth_status same(const char *what, const uint8_t *wanted,
                          const uint8_t *ours, const char *where,
                          hearth_error *err) {
    char a[17], b[17];
    if (!memcmp(wanted, ours, 32)) return HEARTH_OK;
    hearth_hex_encode(a, wanted, 8);
    hearth_hex_encode(b, ours, 8);
    return hearth_error_set(err, HEARTH_EMISMATCH,
                            "the task was made for %s %s, this device has %s "
                            "(%.60s); run `hearth init --base DIR` with the "
                            "base model that the task names",
                            what, a, b, where);
}

static hearth_status check_base(const hearth_wire_space *s,
                                const hearth_space_local *local,
                                hearth_error *err) {
    static const uint8_t none[32];
    const char *dir =
        local->base_name ? local->base_name : hearth_model_dir(local->model);
    const uint8_t *digest = hearth_model_digest(local->model);
    if (!digest) return HEARTH_EIO;
    hearth_status st = same("base model", s->base_digest, digest, dir, err);
    if (st == HEARTH_OK)
        st = same("tokenizer", s->tokenizer_digest, local->tokenizer_digest,
                  dir, err);
    if (st == HEARTH_OK && memcmp(s->template_digest, none, 32) != 0)
        st = same("chat template", s->template_digest, local->template_digest,
                  dir, err);
    return st;
}

static hearth_status check_digest(const char *what, hearth_status st,
                                  const uint8_t *is, const uint8_t *wanted,
                                  hearth_error *err) {
    if (st != HEARTH_OK) return st;
    if (!memcmp(is, wanted, 32)) return HEARTH_OK;
    return hearth_error_set(err, HEARTH_EDIGEST,
                            "the %s that the coordinator describes is not the "
                            "one that it names; tell the operator",
                            what);
}

hearth_status hearth_space_adapter(hearth_adapter **out,
                                   const hearth_wire_space *s,
                                   const hearth_space_local *local,
                                   const hearth_alloc *al, hearth_error *err) {
    hearth_adapter *a = NULL;
    size_t n = 0;
    uint8_t d[32];
    *out = NULL;
    hearth_status st = check_base(s, local, err);
    if (st != HEARTH_OK) return st;
    if (s->rule != HEARTH_RULE_FFA && s->rule != HEARTH_RULE_FEDIT)
        return hearth_error_set(err, HEARTH_EUNSUPPORTED,
                                "this version does not know the task's way of "
                                "averaging (%u); update it",
                                (unsigned)s->rule);
    hearth_lora_spec spec = {.rank = s->rank,
                             .alpha = (float)s->alpha,
                             .targets = s->targets,
                             .last_layers = s->last_layers,
                             .rslora = s->rslora,
                             .freeze_a = s->rule == HEARTH_RULE_FFA};
    hearth_base_identity base;
    memcpy(base.checkpoint, s->base_digest, 32);
    memcpy(base.tokenizer, s->tokenizer_digest, 32);
    memcpy(base.chat_template, s->template_digest, 32);
    const hearth_module_info *modules = hearth_model_modules(local->model, &n);
    st = hearth_adapter_new(&a, &spec, modules, n, al, err);
    if (st == HEARTH_OK) st = hearth_adapter_init_a_from_seed(a, s->a_seed);
    if (st == HEARTH_OK)
        st = check_digest("A matrix",
                          hearth_adapter_values_digest(a, HEARTH_PART_A, d), d,
                          s->a_digest, err);
    if (st == HEARTH_OK)
        st = check_digest("adapter space",
                          hearth_adapter_space_digest(a, &base, d), d,
                          s->space_digest, err);
    if (st == HEARTH_OK)
        st = check_digest("adapter shape", hearth_adapter_shape_digest(a, d), d,
                          s->shape_digest, err);
    if (st == HEARTH_OK)
        *out = a;
    else
        hearth_adapter_free(a);
    return st;
}

hearth_status hearth_space_check_payload(const hearth_adapter *a,
                                         const hearth_wire_space *s,
                                         const hearth_wire_privacy *p,
                                         hearth_error *err) {
    uint8_t d[32];
    hearth_part part = hearth_space_part(s);
    if (p->n_coords > 1 || (p->n_coords == 1 && p->d == 0))
        return hearth_error_set(err, HEARTH_EUNSUPPORTED,
                                "the task asks for %u measurements that this "
                                "version does not make; update it",
                                (unsigned)p->n_coords);
    if (p->scale_exp < -62 || p->scale_exp > 62) return HEARTH_EDIGEST;
    uint64_t up = p->scale_exp > 0 ? (uint64_t)1 << p->scale_exp : 1;
    uint64_t down = p->scale_exp < 0 ? (uint64_t)1 << -p->scale_exp : 1;
    hearth_payload_terms t = {.scale_num = up,
                              .scale_den = down,
                              .bound_squared = p->bound_squared,
                              .delta2_squared = p->delta2_squared,
                              .n_coords = p->n_coords};
    memcpy(t.coord_max, p->coord_max, sizeof(t.coord_max));
    if (p->d != hearth_adapter_dim(a, part))
        return hearth_error_set(err, HEARTH_EDIGEST,
                                "the task's payload has %llu numbers, its "
                                "adapter %zu; tell the operator",
                                (unsigned long long)p->d,
                                hearth_adapter_dim(a, part));
    return check_digest("payload",
                        hearth_adapter_payload_digest(a, part, &t, d), d,
                        s->payload_digest, err);
}

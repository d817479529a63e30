/* SPDX-License-Identifier: Apache-2.0 */
/* common/adapter_peft_save.c - write a PEFT folder: keys sorted, indent 2, as
 * PEFT itself writes them, so that a diff of two configs shows settings only.
 */
#include <string.h>

#include "common/adapter_peft.h"
#include "common/adapter_peft_private.h"
#include "common/buf.h"
#include "common/bytes.h"
#include "common/error.h"
#include "common/file.h"
#include "common/safetensors.h"

/* Targets of the layers, when all adapted layers have the same; else 0. */
static uint32_t common_targets(const hearth_adapter *a) {
    uint32_t first = 0, mask = 0;
    for (size_t i = 0; i < a->n_pairs; i++) {
        mask |= HEARTH_TARGET_BIT(a->pair[i].target);
        if (i + 1 < a->n_pairs && a->pair[i + 1].layer == a->pair[i].layer)
            continue;
        if (!first) first = mask;
        if (mask != first) return 0;
        mask = 0;
    }
    return first;
}

/* Do the adapted layers run 0, 1, 2, ..? */
static bool layers_from_zero(const hearth_adapter *a) {
    uint32_t next = 0;
    for (size_t i = 0; i < a->n_pairs; i++) {
        if (i && a->pair[i].layer == a->pair[i - 1].layer) continue;
        if (a->pair[i].layer != next++) return false;
    }
    return true;
}

static void put_layers(hearth_buf *b, const hearth_adapter *a, bool regular) {
    const char *comma = "";
    (void)hearth_buf_puts(b, "  \"layers_to_transform\": ");
    if (!regular || layers_from_zero(a)) {
        (void)hearth_buf_puts(b, "null,\n");
        return;
    }
    (void)hearth_buf_puts(b, "[");
    for (size_t i = 0; i < a->n_pairs; i++) {
        if (i && a->pair[i].layer == a->pair[i - 1].layer) continue;
        (void)hearth_buf_printf(b, "%s\n    %u", comma,
                                (unsigned)a->pair[i].layer);
        comma = ",";
    }
    (void)hearth_buf_puts(b, "\n  ],\n");
}

static void put_targets(hearth_buf *b, const hearth_adapter *a,
                        hearth_lora_names names, uint32_t targets) {
    const char *comma = "";
    (void)hearth_buf_puts(b, "  \"target_modules\": [");
    for (uint32_t t = 0; targets && t < HEARTH_TARGET_COUNT; t++) {
        if (!(targets & HEARTH_TARGET_BIT(t))) continue;
        (void)hearth_buf_printf(b, "%s\n    \"%s\"", comma,
                                hearth_target_peft_name(names, t));
        comma = ",";
    }
    for (size_t i = 0; !targets && i < a->n_pairs; i++) {
        (void)hearth_buf_printf(b, "%s\n    \"%s\"", comma, a->pair[i].module);
        comma = ",";
    }
    (void)hearth_buf_puts(b, "\n  ],\n");
}

/* rank_pattern or alpha_pattern: the modules that differ from the first. */
static void put_pattern(hearth_buf *b, const hearth_adapter *a, bool rank) {
    const hearth_adapter_pair *first = &a->pair[0];
    const char *comma = "";
    (void)hearth_buf_printf(b, "  \"%s_pattern\": {", rank ? "rank" : "alpha");
    for (size_t i = 0; i < a->n_pairs; i++) {
        const hearth_adapter_pair *p = &a->pair[i];
        double x = rank ? p->rank : (double)p->alpha;
        double common = rank ? first->rank : (double)first->alpha;
        if (!(x < common || x > common)) continue;
        (void)hearth_buf_printf(b, "%s\n    \"%s\": %.9g", comma, p->module, x);
        comma = ",";
    }
    (void)hearth_buf_printf(b, "%s},\n", *comma ? "\n  " : "");
}

/* The style that the adapter's modules are spelt in. */
static hearth_lora_names style_of(const hearth_adapter *a) {
    hearth_lora_names names;
    uint32_t layer, target;
    const char *m = a->pair[0].module;
    hearth_status st =
        hearth_lora_module_parse(m, strlen(m), &names, &layer, &target);
    return st == HEARTH_OK ? names : HEARTH_NAMES_LLAMA;
}

static hearth_status put_config(hearth_buf *b, const hearth_adapter *a,
                                const hearth_peft_info *info) {
    uint32_t targets = common_targets(a);
    const char *base = info ? info->base : "";
    hearth_lora_names names = style_of(a);
    (void)hearth_buf_puts(b, "{\n");
    put_pattern(b, a, false);
    (void)hearth_buf_puts(b, "  \"auto_mapping\": null,\n"
                             "  \"base_model_name_or_path\": ");
    (void)(*base ? hearth_buf_json_string(b, base, strlen(base))
                 : hearth_buf_puts(b, "null"));
    /* GPT-2 stores its weights [in, out], which PEFT wants to be told. */
    (void)hearth_buf_printf(b,
                            ",\n  \"bias\": \"none\",\n"
                            "  \"fan_in_fan_out\": %s,\n"
                            "  \"inference_mode\": true,\n"
                            "  \"init_lora_weights\": true,\n"
                            "  \"layers_pattern\": null,\n",
                            names == HEARTH_NAMES_GPT2 ? "true" : "false");
    put_layers(b, a, targets != 0);
    (void)hearth_buf_printf(b,
                            "  \"lora_alpha\": %.9g,\n"
                            "  \"lora_dropout\": %.9g,\n"
                            "  \"modules_to_save\": null,\n"
                            "  \"peft_type\": \"LORA\",\n"
                            "  \"r\": %u,\n",
                            (double)a->pair[0].alpha, (double)a->dropout,
                            (unsigned)a->pair[0].rank);
    put_pattern(b, a, true);
    (void)hearth_buf_puts(b, "  \"revision\": null,\n");
    put_targets(b, a, names, targets);
    (void)hearth_buf_printf(b,
                            "  \"task_type\": \"CAUSAL_LM\",\n"
                            "  \"use_dora\": false,\n"
                            "  \"use_rslora\": %s\n}\n",
                            a->rslora ? "true" : "false");
    return b->failed ? HEARTH_ENOMEM : HEARTH_OK;
}

static hearth_status declare(hearth_safetensors_writer *w,
                             const hearth_adapter_pair *p, hearth_lora_factor f,
                             hearth_error *err) {
    char key[HEARTH_LORA_NAME_MAX];
    uint64_t dim[2] = {f == HEARTH_LORA_A ? p->rank : p->out,
                       f == HEARTH_LORA_A ? p->in : p->rank};
    hearth_status st = hearth_lora_peft_key(key, sizeof(key), p->module, f);
    if (st != HEARTH_OK) return st;
    return hearth_safetensors_writer_declare(w, key, HEARTH_DTYPE_F32, 2, dim,
                                             err);
}

static hearth_status put_metadata(hearth_safetensors_writer *w,
                                  const hearth_adapter *a,
                                  const hearth_peft_info *info,
                                  hearth_error *err) {
    char hex[2 * HEARTH_ADAPTER_SEED_BYTES + 1];
    hearth_status st =
        hearth_safetensors_writer_metadata(w, "format", "pt", err);
    if (st == HEARTH_OK && info && info->base_id[0])
        st = hearth_safetensors_writer_metadata(w, HEARTH_PEFT_META_BASE_ID,
                                                info->base_id, err);
    if (st == HEARTH_OK && a->freeze_a)
        st = hearth_safetensors_writer_metadata(w, HEARTH_PEFT_META_FREEZE_A,
                                                "true", err);
    if (st == HEARTH_OK && a->freeze_a && a->has_a_seed) {
        hearth_hex_encode(hex, a->a_seed, sizeof(a->a_seed));
        st = hearth_safetensors_writer_metadata(w, HEARTH_PEFT_META_A_SEED, hex,
                                                err);
    }
    return st;
}

static hearth_status put_tensors(hearth_safetensors_writer *w,
                                 const hearth_adapter *a,
                                 const hearth_peft_info *info,
                                 hearth_error *err) {
    hearth_status st = put_metadata(w, a, info, err);
    for (size_t i = 0; i < a->n_pairs && st == HEARTH_OK; i++) {
        st = declare(w, &a->pair[i], HEARTH_LORA_A, err);
        if (st == HEARTH_OK) st = declare(w, &a->pair[i], HEARTH_LORA_B, err);
    }
    for (size_t i = 0; i < a->n_pairs && st == HEARTH_OK; i++) {
        const hearth_adapter_pair *p = &a->pair[i];
        st = hearth_safetensors_writer_write_f32(w, p->a,
                                                 (size_t)p->rank * p->in, err);
        if (st == HEARTH_OK)
            st = hearth_safetensors_writer_write_f32(
                w, p->b, (size_t)p->out * p->rank, err);
    }
    if (st == HEARTH_OK) st = hearth_safetensors_writer_finish(w, err);
    return st;
}

hearth_status hearth_adapter_save(const hearth_adapter *a, const char *dir,
                                  const hearth_peft_info *info,
                                  hearth_error *err) {
    char config[1024], weights[1024];
    hearth_safetensors_writer *w = NULL;
    if (!a || !dir || a->n_pairs == 0) return HEARTH_EINVAL;
    hearth_buf text = HEARTH_BUF_INIT(&a->alloc);
    hearth_status st;

    if (hearth_file_join(config, sizeof(config), dir,
                         HEARTH_PEFT_CONFIG_FILE) != HEARTH_OK ||
        hearth_file_join(weights, sizeof(weights), dir,
                         HEARTH_PEFT_WEIGHTS_FILE) != HEARTH_OK)
        return hearth_error_set(err, HEARTH_ETOOBIG,
                                "adapter path is too "
                                "long; use a shorter one");
    if ((st = put_config(&text, a, info)) != HEARTH_OK) {
        (void)hearth_error_set(err, st, "no memory");
        goto done;
    }
    if ((st = hearth_file_mkdirs(dir, err)) != HEARTH_OK) goto done;
    st = hearth_safetensors_writer_new(&w, weights, &a->alloc, err);
    if (st != HEARTH_OK) goto done;
    if ((st = put_tensors(w, a, info, err)) != HEARTH_OK) goto done;
    st = hearth_file_write(config, text.v, text.n, 0644, err);

done:
    hearth_safetensors_writer_free(w);
    hearth_buf_free(&text);
    return st;
}

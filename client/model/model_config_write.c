/* SPDX-License-Identifier: Apache-2.0 */
/* client/model/model_config_write.c - config.json of a config, with each
 * family's words, so that transformers reads the same model from it. */
#include "client/model/family.h"
#include "client/model/model_config.h"

static void put_count(hearth_buf *out, const char *name, uint32_t n) {
    (void)hearth_buf_printf(out, "  \"%s\": %u,\n", name, (unsigned)n);
}

static void put_real(hearth_buf *out, const char *name, double x) {
    (void)hearth_buf_printf(out, "  \"%s\": %.17g,\n", name, x);
}

static void write_tokens(const hearth_model_config *c, hearth_buf *out) {
    if (c->bos >= 0)
        (void)hearth_buf_printf(out, "  \"bos_token_id\": %ld,\n",
                                (long)c->bos);
    if (c->n_eos == 1)
        (void)hearth_buf_printf(out, "  \"eos_token_id\": %ld,\n",
                                (long)c->eos[0]);
    if (c->n_eos > 1) {
        (void)hearth_buf_puts(out, "  \"eos_token_id\": [");
        for (uint32_t i = 0; i < c->n_eos; i++)
            (void)hearth_buf_printf(out, "%s%ld", i ? ", " : "",
                                    (long)c->eos[i]);
        (void)hearth_buf_puts(out, "],\n");
    }
    if (c->pad >= 0)
        (void)hearth_buf_printf(out, "  \"pad_token_id\": %ld,\n",
                                (long)c->pad);
}

static void write_rope(const hearth_model_config *c, hearth_buf *out) {
    static const char *const name[] = {"default", "linear", "llama3"};
    put_real(out, "rope_theta", c->rope_theta);
    if (c->rope_theta_local > 0)
        put_real(out, "rope_local_base_freq", c->rope_theta_local);
    if (c->rope_kind == HEARTH_ROPE_PLAIN) {
        (void)hearth_buf_puts(out, "  \"rope_scaling\": null,\n");
        return;
    }
    (void)hearth_buf_printf(
        out, "  \"rope_scaling\": {\"rope_type\": \"%s\", \"factor\": %.17g",
        name[c->rope_kind], c->rope_factor);
    if (c->rope_kind == HEARTH_ROPE_LLAMA3)
        (void)hearth_buf_printf(out,
                                ", \"low_freq_factor\": %.17g, "
                                "\"high_freq_factor\": %.17g, "
                                "\"original_max_position_embeddings\": %u",
                                c->rope_low, c->rope_high, c->rope_original);
    (void)hearth_buf_puts(out, "},\n");
}

static void write_window(const hearth_model_config *c, const hearth_family *f,
                         hearth_buf *out) {
    if (hearth_family_field_find(f, "use_sliding_window"))
        (void)hearth_buf_printf(out, "  \"use_sliding_window\": %s,\n",
                                c->sliding_window ? "true" : "false");
    if (c->sliding_window)
        put_count(out, "sliding_window", c->sliding_window);
    else if (hearth_family_field_find(f, "sliding_window"))
        (void)hearth_buf_puts(out, "  \"sliding_window\": null,\n");
    /* Gemma's default pattern slides. */
    if (!c->sliding_window && !c->sandwich) return;
    (void)hearth_buf_puts(out, "  \"layer_types\": [");
    for (uint32_t l = 0; l < c->n_layers; l++)
        (void)hearth_buf_printf(out, "%s\"%s\"", l ? ", " : "",
                                c->local[l] ? "sliding_attention"
                                            : "full_attention");
    (void)hearth_buf_puts(out, "],\n");
}

static void write_rotary(const hearth_model_config *c, const hearth_family *f,
                         hearth_buf *out) {
    put_count(out, "head_dim", c->head_dim);
    put_count(out, "num_key_value_heads", c->n_kv_heads);
    if (hearth_family_field_find(f, "attention_bias"))
        (void)hearth_buf_puts(out, "  \"attention_bias\": false,\n");
    if (hearth_family_field_find(f, "mlp_bias"))
        (void)hearth_buf_puts(out, "  \"mlp_bias\": false,\n");
    if (c->sandwich)
        put_count(out, "query_pre_attn_scalar",
                  (uint32_t)(1.0 / (c->attn_scale * c->attn_scale) + 0.5));
    write_window(c, f, out);
    write_rope(c, out);
}

hearth_status hearth_model_config_write(const hearth_model_config *c,
                                        hearth_buf *out) {
    const hearth_family *f = hearth_family_find(c->architecture);
    if (!f || c->rope_kind == HEARTH_ROPE_FACTORS) return HEARTH_EUNSUPPORTED;
    const hearth_family_words *w = &f->words;
    (void)hearth_buf_printf(out,
                            "{\n  \"architectures\": [\"%s\"],\n"
                            "  \"model_type\": \"%s\",\n",
                            c->architecture, c->model_type);
    write_tokens(c, out);
    put_count(out, w->hidden, c->hidden_size);
    put_count(out, w->layers, c->n_layers);
    put_count(out, w->heads, c->n_heads);
    put_count(out, w->ffn, c->ffn_size);
    put_count(out, w->positions, c->max_positions);
    put_real(out, w->norm_eps, c->norm_eps);
    put_real(out, "initializer_range", c->initializer_range);
    (void)hearth_buf_printf(out, "  \"%s\": \"%s\",\n", w->act,
                            c->mlp_kind == HEARTH_MLP_SWIGLU ? "silu"
                            : c->mlp_kind == HEARTH_MLP_GELU
                                ? "gelu_new"
                                : "gelu_pytorch_tanh");
    if (!c->learned_positions) write_rotary(c, f, out);
    (void)hearth_buf_printf(out,
                            "  \"tie_word_embeddings\": %s,\n"
                            "  \"torch_dtype\": \"float32\",\n"
                            "  \"vocab_size\": %u\n}\n",
                            c->tied ? "true" : "false", c->vocab_size);
    return out->failed ? HEARTH_ENOMEM : HEARTH_OK;
}

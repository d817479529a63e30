/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/train_flags.c - from words to settings. */
#include "client/cli/train_flags.h"

#include <stdlib.h>
#include <string.h>

static hearth_train_weights weights_of(const char *word) {
    if (strcmp(word, "mapped") == 0) return HEARTH_WEIGHTS_MAPPED;
    return strcmp(word, "streamed") == 0 ? HEARTH_WEIGHTS_STREAMED
                                         : HEARTH_WEIGHTS_AUTO;
}

/* The parser of flags has let no other word through. */
hearth_base_type hearth_train_flags_base(const char *word) {
    int t = HEARTH_BASE_FILE;
    while (t < HEARTH_BASE_Q4_0 &&
           strcmp(word, hearth_base_type_name((hearth_base_type)t)) != 0)
        t++;
    return (hearth_base_type)t;
}

bool hearth_train_flags_bf16(const char *compute, bool reference) {
    if (strcmp(compute, "auto") == 0)
        return !reference && hearth_kernels_bf16_is_fast();
    return strcmp(compute, "bf16") == 0 || strcmp(compute, "int8") == 0;
}

hearth_status hearth_train_flags_config(const hearth_train_flags *f,
                                        hearth_train_config *cfg,
                                        hearth_error *err) {
    *cfg = (hearth_train_config)HEARTH_TRAIN_CONFIG_INIT;
    bool full = strcmp(f->mode, "full") == 0;
    cfg->mode = full ? HEARTH_TRAIN_FULL : HEARTH_TRAIN_LORA;
    cfg->steps = f->steps;
    cfg->epochs = f->epochs;
    cfg->batch = (size_t)f->batch;
    cfg->accum = (size_t)f->accum;
    cfg->seq = (size_t)f->wb.seq;
    cfg->lr = f->lr;
    cfg->warmup = f->warmup;
    cfg->weight_decay = f->weight_decay;
    cfg->clip_grad = f->clip_grad;
    cfg->dropout = f->dropout;
    cfg->shuffle = f->shuffle;
    cfg->pack = f->pack;
    cfg->seed = f->seed;
    cfg->memory_budget = (size_t)f->memory_budget;
    cfg->weights = weights_of(f->weights);
    cfg->base = hearth_train_flags_base(f->base_type);
    cfg->reference_kernels = hearth_workbench_is_reference(&f->wb);
    cfg->bf16 = hearth_train_flags_bf16(f->compute, cfg->reference_kernels) ||
                (strcmp(f->compute, "auto") != 0 &&
                 f->wb.kernels == hearth_kernels_bf16());
    cfg->int8 = strcmp(f->compute, "int8") == 0;
    if (hearth_schedule_parse(f->schedule, &cfg->schedule) != HEARTH_OK)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "--schedule takes constant, linear or cosine");
    return hearth_train_config_check(cfg, err);
}

static hearth_status parse_layers(const char *text, uint32_t *last,
                                  hearth_error *err) {
    char *end;
    *last = 0;
    if (!text || strcmp(text, "all") == 0) return HEARTH_OK;
    if (strncmp(text, "last:", 5) == 0 && text[5] >= '1' && text[5] <= '9') {
        unsigned long k = strtoul(text + 5, &end, 10);
        if (!*end && k <= HEARTH_LORA_MAX_LAYERS) {
            *last = (uint32_t)k;
            return HEARTH_OK;
        }
    }
    return hearth_error_set(err, HEARTH_EINVAL,
                            "--layers %.40s: give last:K with K from 1", text);
}

/* Was a flag given that only says how an adapter looks? */
static bool has_adapter_shape(const hearth_train_flags *f) {
    return f->rank || f->alpha > 0.0 || f->targets || f->layers || f->rslora;
}

static hearth_status fresh_adapter(hearth_train_flags *f, hearth_error *err) {
    const char *targets = f->targets ? f->targets : "auto";
    hearth_lora_spec spec = {.rank = f->rank ? (uint32_t)f->rank : 8,
                             .alpha = f->alpha > 0.0 ? (float)f->alpha : 16.0f,
                             .rslora = f->rslora,
                             .freeze_a = f->freeze_a};
    uint8_t seed[HEARTH_ADAPTER_SEED_BYTES];
    size_t n = 0;
    uint32_t offered = hearth_model_targets(f->wb.model);
    if (hearth_targets_parse(targets, offered,
                             hearth_model_auto_targets(f->wb.model),
                             &spec.targets) != HEARTH_OK)
        return hearth_error_set(
            err, HEARTH_EINVAL,
            "--targets %.60s: give auto, attn, all-linear "
            "or names of this model's linear layers, such "
            "as %s",
            targets,
            offered & HEARTH_TARGET_BIT(HEARTH_TARGET_Q) ? "q_proj,v_proj"
            : offered & HEARTH_TARGET_BIT(HEARTH_TARGET_GATE_UP)
                ? "qkv_proj,o_proj"
                : "c_attn,c_fc,attn.c_proj");
    hearth_status st = parse_layers(f->layers, &spec.last_layers, err);
    if (st != HEARTH_OK) return st;
    uint32_t n_layers = hearth_model_get_config(f->wb.model)->n_layers;
    if (spec.last_layers > n_layers)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "--layers last:%u: the model has %u layers",
                                (unsigned)spec.last_layers, (unsigned)n_layers);
    const hearth_module_info *m = hearth_model_modules(f->wb.model, &n);
    st = hearth_adapter_new(&f->wb.adapter, &spec, m, n, NULL, err);
    if (st != HEARTH_OK) return st;
    st = hearth_adapter_seed_from_number(f->seed, seed);
    if (st == HEARTH_OK)
        st = hearth_adapter_init_a_from_seed(f->wb.adapter, seed);
    if (st != HEARTH_OK)
        return hearth_error_set(err, st, "cannot make A from the seed");
    return HEARTH_OK;
}

hearth_status hearth_train_flags_adapter(hearth_train_flags *f,
                                         hearth_error *err) {
    float weight;
    if (strcmp(f->mode, "full") == 0) {
        if (!f->adapter_dir && !has_adapter_shape(f) && !f->freeze_a)
            return HEARTH_OK;
        return hearth_error_set(err, HEARTH_EINVAL,
                                "--mode full trains no adapter; leave out "
                                "--adapter, --rank, --alpha, --rslora, "
                                "--targets, --layers and --freeze-a");
    }
    if (!f->adapter_dir) return fresh_adapter(f, err);
    if (has_adapter_shape(f))
        return hearth_error_set(err, HEARTH_EINVAL,
                                "the adapter given has its own --rank, "
                                "--alpha, --targets, --layers and --rslora; "
                                "leave these out");
    hearth_cli *cli = f->wb.cli;
    f->wb.cli = NULL; /* nothing is said before the weight is known */
    hearth_status st = hearth_workbench_load(
        &f->wb, f->adapter_dir, &f->wb.adapter, &weight, &f->wb.info, err);
    f->wb.cli = cli;
    if (st != HEARTH_OK) return st;
    if (weight < 1.0f || weight > 1.0f)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "training starts from a whole adapter; give "
                                "--adapter DIR without a weight");
    if (cli)
        hearth_workbench_say_applied(cli, f->adapter_dir, &f->wb.info, weight);
    if (f->freeze_a) f->wb.adapter->freeze_a = true;
    return HEARTH_OK;
}

/* Is each layer done for all micro-batches of a step before the next one? */
static bool is_layer_outer(const hearth_memplan_choice *c) {
    return c->passes == 1 && c->micro_batches > 1;
}

/* How the micro-batches of a step follow one another. */
static void say_order(hearth_cli *cli, const hearth_memplan_choice *c) {
    char text[32];
    const char *read =
        hearth_memplan_format((size_t)c->read_bytes, text, sizeof(text));
    if (is_layer_outer(c))
        hearth_cli_say(cli,
                       "plan: each layer once for all %zu micro-batches of a "
                       "step%s%s",
                       c->micro_batches, c->streamed ? ", which reads " : "",
                       c->streamed ? read : "");
    else if (c->streamed)
        hearth_cli_say(cli, "plan: %zu passes a step, which reads %s",
                       c->passes, read);
}

void hearth_train_flags_show_plan(hearth_cli *cli, const hearth_memplan *p,
                                  uint64_t budget, bool table) {
    char text[32], where[32], kept[48] = "", items[2048];
    size_t n = 0, mlp_rows = p->choice.mlp_rows;
    const char *weights = p->choice.streamed ? "streamed" : "mapped";
    size_t head_rows = p->choice.head_rows;
    const char *base = hearth_base_type_name(p->choice.base);
    (void)snprintf(where, sizeof(where), "%s%s",
                   p->choice.base == HEARTH_BASE_FILE ? "" : "copied as ",
                   p->choice.base == HEARTH_BASE_FILE ? weights : base);
    if (!mlp_rows || mlp_rows > p->choice.max_tokens)
        mlp_rows = p->choice.max_tokens;
    if (head_rows > p->choice.max_tokens) head_rows = p->choice.max_tokens;
    items[0] = 0;
    for (size_t i = 0; i < p->n; i++) {
        int w =
            snprintf(items + n, sizeof(items) - n,
                     "%s{\"name\":\"%s\",\"kind\":\"%s\",\"bytes\":%llu}",
                     i ? "," : "[", p->item[i].name,
                     p->item[i].kind == HEARTH_MEM_FILE ? "file" : "private",
                     (unsigned long long)p->item[i].bytes);
        if (w < 0 || (size_t)w >= sizeof(items) - n) break;
        n += (size_t)w;
    }
    if (n && n + 1 < sizeof(items)) memcpy(items + n, "]", 2);
    hearth_event_begin(cli, "plan");
    hearth_event_u64(cli, "private_bytes", p->private_bytes);
    hearth_event_u64(cli, "open_bytes", p->open_bytes);
    hearth_event_u64(cli, "file_bytes", p->file_bytes);
    hearth_event_u64(cli, "private_peak", p->private_bytes);
    hearth_event_u64(cli, "file_resident_peak", p->file_bytes);
    hearth_event_u64(cli, "rss_peak", p->private_bytes + p->file_bytes);
    hearth_event_u64(cli, "memory_budget", budget);
    hearth_event_u64(cli, "bounded_bytes", hearth_memplan_bounded(p));
    hearth_event_str(cli, "weights", weights);
    hearth_event_str(cli, "base_type", base);
    hearth_event_u64(cli, "micro_batch", p->choice.micro_batch);
    hearth_event_str(cli, "order",
                     is_layer_outer(&p->choice) ? "layer-outer"
                                                : "micro-batch-outer");
    hearth_event_u64(cli, "passes", p->choice.passes);
    hearth_event_u64(cli, "step_read_bytes", (uint64_t)p->choice.read_bytes);
    hearth_event_u64(cli, "max_tokens", p->choice.max_tokens);
    hearth_event_u64(cli, "trained_layers", p->choice.layers);
    hearth_event_u64(cli, "recomputed_layers", p->choice.recompute);
    hearth_event_u64(cli, "kept_attention", p->choice.keep_attention);
    hearth_event_u64(cli, "mlp_rows", mlp_rows);
    hearth_event_u64(cli, "head_rows", head_rows);
    hearth_event_str(cli, "attention_tiles",
                     p->choice.small_tiles ? "small" : "usual");
    hearth_event_str(cli, "activations", p->choice.store_bf16 ? "bf16" : "f32");
    hearth_event_raw(cli, "items", n ? items : "[]");
    hearth_event_end(cli);
    for (size_t i = 0; table && i < p->n; i++)
        hearth_cli_say(
            cli, "  %-24s %12s%s", p->item[i].name,
            hearth_memplan_format(p->item[i].bytes, text, sizeof(text)),
            p->item[i].kind == HEARTH_MEM_FILE ? "  (file)" : "");
    if (p->choice.keep_attention)
        (void)snprintf(kept, sizeof(kept), " (%zu without attention)",
                       p->choice.keep_attention);
    hearth_cli_say(cli,
                   "plan: %s private, weights %s; %zu records of %zu tokens a "
                   "pass, %zu of %zu layers done again%s, %sMLP by %zu tokens, "
                   "head by %zu%s",
                   hearth_memplan_format(p->private_bytes, text, sizeof(text)),
                   where, p->choice.micro_batch, p->choice.max_tokens,
                   p->choice.recompute, p->choice.layers, kept,
                   p->choice.store_bf16 ? "activations in bf16, " : "",
                   mlp_rows, head_rows,
                   p->choice.small_tiles ? ", attention by small tiles" : "");
    say_order(cli, &p->choice);
}

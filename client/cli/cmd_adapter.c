/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/cmd_adapter.c - `hearth adapter`. */
#include <math.h>
#include <string.h>

#include "client/cli/adapter_words.h"
#include "client/train/memplan.h"
#include "common/adapter.h"
#include "common/adapter_digest.h"
#include "common/adapter_peft.h"
#include "common/bytes.h"

static double norm_of(const float *v, size_t n) {
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) sum += (double)v[i] * (double)v[i];
    return sqrt(sum);
}

static uint32_t count_layers(const hearth_adapter *a, uint32_t *targets) {
    uint32_t n = 0;
    for (size_t i = 0; i < a->n_pairs; i++) {
        *targets |= HEARTH_TARGET_BIT(a->pair[i].target);
        n += i == 0 || a->pair[i].layer != a->pair[i - 1].layer;
    }
    return n;
}

static void show_modules(hearth_cli *cli, const hearth_adapter *a) {
    for (size_t i = 0; i < a->n_pairs; i++) {
        const hearth_adapter_pair *p = &a->pair[i];
        double na = norm_of(p->a, (size_t)p->rank * p->in);
        double nb = norm_of(p->b, (size_t)p->out * p->rank);
        hearth_event_begin(cli, "module");
        hearth_event_str(cli, "module", p->module);
        hearth_event_u64(cli, "rank", p->rank);
        hearth_event_f64(cli, "alpha", (double)p->alpha);
        hearth_event_u64(cli, "in", p->in);
        hearth_event_u64(cli, "out", p->out);
        hearth_event_f64(cli, "a_norm", na);
        hearth_event_f64(cli, "b_norm", nb);
        hearth_event_end(cli);
        hearth_cli_say(cli, "  %-40s rank %-4u [%u x %u]  |A| %.4g  |B| %.4g",
                       p->module, (unsigned)p->rank, (unsigned)p->out,
                       (unsigned)p->in, na, nb);
    }
}

static hearth_status show(hearth_cli *cli, const hearth_adapter *a,
                          const hearth_peft_info *info) {
    uint8_t digest[32];
    char hex[65], targets[96], size[32];
    uint32_t mask = 0, layers = count_layers(a, &mask);
    hearth_status st = hearth_adapter_values_digest(a, HEARTH_PART_AB, digest);
    if (st != HEARTH_OK) return st;
    hearth_hex_encode(hex, digest, sizeof(digest));
    (void)hearth_targets_format(mask, targets, sizeof(targets));
    hearth_event_begin(cli, "adapter");
    hearth_event_u64(cli, "rank", info->rank);
    hearth_event_f64(cli, "alpha", (double)info->alpha);
    hearth_event_bool(cli, "rslora", a->rslora);
    hearth_event_str(cli, "targets", targets);
    hearth_event_u64(cli, "layers", layers);
    hearth_event_u64(cli, "modules", a->n_pairs);
    hearth_event_u64(cli, "values", a->n_values);
    hearth_event_u64(cli, "tensors", info->n_tensors);
    hearth_event_u64(cli, "applied", info->n_applied);
    hearth_event_bool(cli, "freeze_a", a->freeze_a);
    hearth_event_bool(cli, "a_from_seed", a->has_a_seed);
    hearth_event_str(cli, "base", info->base);
    hearth_event_str(cli, "base_id", info->base_id);
    hearth_event_str(cli, "sha256", hex);
    hearth_event_end(cli);
    hearth_cli_say(cli, "LoRA, rank %u, alpha %g%s, %s in %u layers",
                   (unsigned)info->rank, (double)info->alpha,
                   a->rslora ? " (rslora)" : "", targets, (unsigned)layers);
    hearth_cli_say(
        cli, "%zu values (%s), applied %zu of %zu tensors", a->n_values,
        hearth_memplan_format(a->n_values * sizeof(float), size, sizeof(size)),
        info->n_applied, info->n_tensors);
    if (info->base[0]) hearth_cli_say(cli, "base: %s", info->base);
    if (info->base_id[0]) hearth_cli_say(cli, "base id: %s", info->base_id);
    if (a->freeze_a)
        hearth_cli_say(cli, "A frozen%s", a->has_a_seed ? ", from a seed" : "");
    hearth_cli_say(cli, "values: sha256 %s", hex);
    show_modules(cli, a);
    return HEARTH_OK;
}

static int inspect(hearth_cli *cli, int argc, char **argv) {
    const char *dir = NULL;
    const hearth_flag flags[] = {
        HEARTH_FLAG_STR("adapter", "DIR", "PEFT folder", &dir)};
    const hearth_usage u = {.command = "adapter inspect",
                            .summary = "what a LoRA adapter holds",
                            .arguments = "--adapter DIR",
                            .example =
                                "hearth adapter inspect --adapter my-adapter",
                            .flags = flags,
                            .n_flags = 1,
                            .required = "adapter"};
    hearth_error err = {0};
    hearth_peft_info info;
    hearth_adapter *a = NULL;
    int rc;
    if (!hearth_cli_parse(cli, &u, argc, argv, &rc)) return rc;
    hearth_status st = hearth_adapter_load(&a, dir, NULL, 0, &info, NULL, &err);
    if (st == HEARTH_OK) st = show(cli, a, &info);
    if (st != HEARTH_OK) rc = hearth_cli_fail(cli, st, &err, NULL);
    hearth_adapter_free(a);
    return rc;
}

int hearth_cmd_adapter(hearth_cli *cli, int argc, char **argv) {
    static const hearth_subcommand subs[] = {
        {"inspect", inspect, "what an adapter holds"},
        {"export", hearth_adapter_word_export,
         "for PEFT, for llama.cpp, or merged into its model"},
    };
    return hearth_cli_dispatch(cli, "adapter", subs,
                               sizeof(subs) / sizeof(*subs), argc, argv);
}

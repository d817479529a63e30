/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_task.c */
#include "tests/fleet/fleet_task.h"

#include <math.h>
#include <string.h>

#include "common/bytes.h"

void hearth_fleet_task_count(const hearth_fleet_lab *lab, uint32_t *min,
                             uint32_t *max) {
    size_t n = lab->people->n_people - lab->people->n_unseen;
    if (lab->sc->share_min > 0.0) {
        *min = (uint32_t)ceil(lab->sc->share_min * (double)n - 1e-9);
        *max = (uint32_t)ceil(lab->sc->share_max * (double)n - 1e-9);
        return;
    }
    *min = lab->sc->count_min ? lab->sc->count_min : (uint32_t)n;
    *max = lab->sc->count_max ? lab->sc->count_max : (uint32_t)n;
}

static void put_base(hearth_buf *b, const hearth_fleet_lab *lab) {
    const hearth_model_config *c = hearth_model_get_config(lab->model);
    char hex[65];
    hearth_hex_encode(hex, hearth_model_digest(lab->model), 32);
    (void)hearth_buf_printf(b, "[base]\nid = %s\n", hex);
    hearth_hex_encode(hex, hearth_tokenizer_digest(lab->tokenizer), 32);
    (void)hearth_buf_printf(b, "tokenizer = %s\n", hex);
    (void)hearth_buf_printf(
        b,
        "layers = %u\nhidden = %u\nheads = %u\nkv_heads = %u\nhead_dim = %u\n"
        "ffn = %u\n",
        c->n_layers, c->hidden_size, c->n_heads, c->n_kv_heads, c->head_dim,
        c->ffn_size);
}

hearth_status hearth_fleet_task_ini(hearth_buf *b, const hearth_fleet_lab *lab,
                                    bool control) {
    const hearth_fleet_scenario *sc = lab->sc;
    uint32_t min, max;
    hearth_fleet_task_count(lab, &min, &max);
    if (!hearth_model_digest(lab->model)) return HEARTH_EINVAL;
    (void)hearth_buf_printf(b,
                            "[task]\nname = " HEARTH_FLEET_TASK
                            "\nrule = %s\nmode = local\nrounds = %u\n"
                            "purpose = federated\nmin_examples = 1\n"
                            "spacing = 1s\n",
                            sc->rule, sc->rounds);
    put_base(b, lab);
    (void)hearth_buf_printf(b,
                            "[adapter]\ntargets = %s\nrank = %u\nalpha = %.9g\n"
                            "rslora = %s\nlast_layers = %u\n",
                            sc->targets, sc->rank, sc->alpha,
                            sc->rslora ? "yes" : "no", sc->last_layers);
    if (sc->a_seed >= 0)
        (void)hearth_buf_printf(b, "a_seed = %lld\n", (long long)sc->a_seed);
    /* The control's deltas become zero: one step is enough. */
    (void)hearth_buf_printf(
        b,
        "[train]\nsteps = %u\nbatch = %u\nseq = %u\nlr = %.9g\nschedule = %s\n"
        "warmup = %u\nweight_decay = %.9g\nloss = %s\n",
        control ? 1u : lab->steps, control ? 1u : sc->batch, sc->seq, sc->lr,
        sc->schedule, control ? 0u : sc->warmup, sc->weight_decay, sc->loss);
    (void)hearth_buf_printf(b,
                            "[cohort]\ncount = %u,%u\ntime = %lldms,%lldms\n"
                            "over_select = %.9g\n",
                            min, max, (long long)sc->time_min_ms,
                            (long long)sc->time_max_ms, sc->over_select);
    (void)hearth_buf_printf(
        b, "[privacy]\nclip = %.9g\nnoise = %.9g\ndelta = %.9g\n", sc->clip,
        sc->privacy == HEARTH_FLEET_PRIVACY_LOCAL ? sc->noise
                                                  : HEARTH_FLEET_NOMINAL_Z,
        sc->delta);
    if (sc->clip_quantile > 0.0)
        (void)hearth_buf_printf(
            b,
            "[clip]\nquantile = %.9g\nrate = %.9g\nshare = %.9g\nfreeze = %u\n",
            sc->clip_quantile, sc->clip_rate, sc->clip_share, sc->clip_freeze);
    (void)hearth_buf_printf(b, "[server]\nlr = %.9g\n", sc->server_lr);
    return b->failed ? HEARTH_ENOMEM : HEARTH_OK;
}

void hearth_fleet_task_policy(hearth_policy *p,
                              const hearth_fleet_scenario *sc) {
    hearth_policy_defaults(p);
    p->cohort_min = 1;
    p->noise_min = 1e-3;
    p->noise_to_signal_max = 1e12;
    p->dimension_max = HEARTH_PROTO_MAX_DIM;
    p->ledger.delta = sc->delta;
    p->ledger.epsilon_task = p->ledger.epsilon_window =
        p->ledger.epsilon_lifetime = 1e9;
    p->ledger.spacing_ms = 0;
    p->ledger.n_participations =
        sc->release_noise > 0.0 ? sc->release_participations : UINT32_MAX;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_lab.c - data sets are built once and only read afterwards;
 * the tokenizer stays, because the devices' participants tokenise their own. */
#include "tests/fleet/fleet_lab.h"

#include <math.h>
#include <string.h>

#include "common/mem.h"
#include "tests/fleet/fleet_stats.h"

hearth_dataset_config
hearth_fleet_dataset_config(const hearth_fleet_scenario *sc) {
    hearth_dataset_config c = HEARTH_DATASET_CONFIG_INIT;
    c.loss_on = !strcmp(sc->loss, "all") ? HEARTH_LOSS_ALL : HEARTH_LOSS_ANSWER;
    c.max_tokens = sc->seq;
    return c;
}

/* Add one line to each of the sets given (NULL: to none). */
static hearth_status add_line(const hearth_fleet_lab *lab, const char *line,
                              hearth_dataset *valid, hearth_dataset *all_valid,
                              hearth_dataset *train, hearth_dataset *all_train,
                              hearth_error *err) {
    hearth_record rec = HEARTH_RECORD_INIT;
    bool held = false;
    hearth_status st =
        hearth_record_parse(&rec, line, strlen(line), HEARTH_FORM_AUTO,
                            lab->sc->records_path, lab->al, err);
    if (st == HEARTH_OK && valid) st = hearth_record_is_holdout(rec.id, &held);
    hearth_dataset *own = held ? valid : train;
    hearth_dataset *all = held ? all_valid : all_train;
    if (st == HEARTH_OK)
        st = hearth_dataset_add_record(own, lab->tokenizer, &rec, err);
    if (st == HEARTH_OK && all)
        st = hearth_dataset_add_record(all, lab->tokenizer, &rec, err);
    hearth_record_free(&rec);
    return st;
}

/* A device's store keeps a record once, however often it is imported. */
static bool said_before(const hearth_fleet_person *p, size_t k) {
    for (size_t i = 0; i < k; i++)
        if (!strcmp(p->line[i], p->line[k])) return true;
    return false;
}

static void drop_if_empty(hearth_dataset **ds) {
    if (!*ds || hearth_dataset_n_docs(*ds)) return;
    hearth_dataset_free(*ds);
    *ds = NULL;
}

static hearth_status build_person(hearth_fleet_lab *lab, size_t i,
                                  hearth_error *err) {
    const hearth_fleet_person *p = &lab->people->person[i];
    const hearth_dataset_config cfg = hearth_fleet_dataset_config(lab->sc);
    hearth_status st = hearth_dataset_new(&lab->train[i], &cfg, lab->al, err);
    if (st == HEARTH_OK)
        st = hearth_dataset_new(&lab->valid[i], &cfg, lab->al, err);
    if (st == HEARTH_OK)
        st = hearth_dataset_new(&lab->held[i], &cfg, lab->al, err);
    for (size_t k = 0; st == HEARTH_OK && k < p->n_lines; k++) {
        if (k < p->n_train && said_before(p, k)) continue;
        if (k < p->n_train)
            st = add_line(lab, p->line[k], lab->valid[i], lab->all_valid,
                          lab->train[i], lab->all_train, err);
        else
            st = add_line(lab, p->line[k], NULL, NULL, lab->held[i], NULL, err);
    }
    if (st != HEARTH_OK) return st;
    drop_if_empty(&lab->train[i]);
    drop_if_empty(&lab->valid[i]);
    drop_if_empty(&lab->held[i]);
    return HEARTH_OK;
}

static hearth_status build_sets(hearth_fleet_lab *lab, hearth_error *err) {
    const hearth_dataset_config cfg = hearth_fleet_dataset_config(lab->sc);
    size_t n = lab->people->n_people;
    lab->train = hearth_mem_array(lab->al, n, sizeof(*lab->train));
    lab->valid = hearth_mem_array(lab->al, n, sizeof(*lab->valid));
    lab->held = hearth_mem_array(lab->al, n, sizeof(*lab->held));
    if (!lab->train || !lab->valid || !lab->held)
        return hearth_error_set(err, HEARTH_ENOMEM,
                                "out of memory; use fewer devices");
    hearth_status st = hearth_dataset_new(&lab->all_train, &cfg, lab->al, err);
    if (st == HEARTH_OK)
        st = hearth_dataset_new(&lab->all_valid, &cfg, lab->al, err);
    for (size_t i = 0; i < n && st == HEARTH_OK; i++)
        st = build_person(lab, i, err);
    return st;
}

/* epochs of a round are steps of the average device: one offer for all. */
static uint32_t local_steps(const hearth_fleet_lab *lab) {
    size_t docs = 0, n = 0;
    if (lab->sc->steps) return lab->sc->steps;
    for (size_t i = 0; i < lab->people->n_people; i++)
        if (lab->train[i]) docs += hearth_dataset_n_docs(lab->train[i]), n++;
    double mean = n ? (double)docs / (double)n : 1.0;
    double steps = ceil(mean * lab->sc->epochs / lab->sc->batch);
    return steps < 1.0 ? 1 : steps > 1e6 ? 1000000 : (uint32_t)steps;
}

/* The model and the shape of the adapter on it. */
static hearth_status open_model(hearth_fleet_lab *lab, hearth_error *err) {
    const hearth_fleet_scenario *sc = lab->sc;
    lab->spec = (hearth_lora_spec)HEARTH_LORA_SPEC_INIT;
    lab->spec.rank = sc->rank;
    lab->spec.alpha = (float)sc->alpha;
    lab->spec.rslora = sc->rslora;
    lab->spec.last_layers = sc->last_layers;
    lab->spec.freeze_a = true;
    hearth_status st =
        hearth_model_open(&lab->model, sc->model_path, lab->al, err);
    if (st == HEARTH_OK &&
        hearth_targets_parse(sc->targets, hearth_model_targets(lab->model),
                             hearth_model_auto_targets(lab->model),
                             &lab->spec.targets) != HEARTH_OK)
        st = hearth_error_set(err, HEARTH_EFORMAT,
                              "[model] targets = %s: unknown layer; use auto, "
                              "attn, all-linear or names such as q_proj",
                              sc->targets);
    return st;
}

hearth_status hearth_fleet_parameters(size_t *out,
                                      const hearth_fleet_scenario *sc,
                                      const hearth_alloc *al,
                                      hearth_error *err) {
    hearth_fleet_lab lab = {0};
    hearth_adapter *a = NULL;
    lab.sc = sc;
    lab.al = al;
    hearth_status st = open_model(&lab, err);
    if (st == HEARTH_OK) st = hearth_fleet_adapter(&a, &lab, true, 0, err);
    if (st == HEARTH_OK) *out = hearth_adapter_dim(a, HEARTH_PART_B);
    hearth_adapter_free(a);
    hearth_model_close(lab.model);
    return st;
}

hearth_status hearth_fleet_lab_open(hearth_fleet_lab *lab,
                                    const hearth_fleet_scenario *sc,
                                    const hearth_fleet_population *people,
                                    const hearth_alloc *al, hearth_error *err) {
    hearth_status st;
    memset(lab, 0, sizeof(*lab));
    lab->sc = sc;
    lab->people = people;
    lab->al = al;
    st = open_model(lab, err);
    if (st == HEARTH_OK)
        st = hearth_tokenizer_open(&lab->tokenizer, sc->model_path, al, err);
    if (st == HEARTH_OK)
        st = hearth_pool_open(&lab->pool, sc->threads, al, err);
    if (st == HEARTH_OK) st = build_sets(lab, err);
    if (st == HEARTH_OK && !hearth_dataset_n_docs(lab->all_train))
        st = hearth_error_set(err, HEARTH_EFORMAT,
                              "%s: nothing to train on; look at [records]",
                              sc->records_path);
    if (st != HEARTH_OK)
        hearth_fleet_lab_close(lab);
    else
        lab->steps = local_steps(lab);
    return st;
}

static void free_sets(const hearth_fleet_lab *lab, hearth_dataset **ds) {
    for (size_t i = 0; ds && i < lab->people->n_people; i++)
        hearth_dataset_free(ds[i]);
    hearth_mem_free(lab->al, ds);
}

void hearth_fleet_lab_close(hearth_fleet_lab *lab) {
    if (!lab->people) return;
    free_sets(lab, lab->train);
    free_sets(lab, lab->valid);
    free_sets(lab, lab->held);
    hearth_dataset_free(lab->all_train);
    hearth_dataset_free(lab->all_valid);
    hearth_pool_close(lab->pool);
    hearth_tokenizer_close(lab->tokenizer);
    hearth_model_close(lab->model);
    memset(lab, 0, sizeof(*lab));
}

hearth_status hearth_fleet_adapter(hearth_adapter **out,
                                   const hearth_fleet_lab *lab, bool freeze_a,
                                   uint64_t seed, hearth_error *err) {
    size_t n;
    uint8_t bytes[HEARTH_ADAPTER_SEED_BYTES];
    hearth_lora_spec spec = lab->spec;
    const hearth_module_info *modules = hearth_model_modules(lab->model, &n);
    spec.freeze_a = freeze_a;
    hearth_status st = hearth_adapter_new(out, &spec, modules, n, lab->al, err);
    if (lab->sc->a_seed >= 0) seed = (uint64_t)lab->sc->a_seed;
    if (st == HEARTH_OK) st = hearth_adapter_seed_from_number(seed, bytes);
    if (st == HEARTH_OK) st = hearth_adapter_init_a_from_seed(*out, bytes);
    if (st != HEARTH_OK) {
        hearth_adapter_free(*out);
        *out = NULL;
    }
    return st;
}

/* ---- the ruler ---- */

hearth_status hearth_fleet_measure_new(hearth_fleet_measure *m,
                                       const hearth_fleet_lab *lab,
                                       hearth_error *err) {
    memset(m, 0, sizeof(*m));
    m->al = lab->al;
    m->n = lab->people->n_people;
    m->loss = hearth_mem_array(lab->al, m->n, sizeof(*m->loss));
    m->tokens = hearth_mem_array(lab->al, m->n, sizeof(*m->tokens));
    if (m->loss && m->tokens) return HEARTH_OK;
    hearth_fleet_measure_free(m);
    return hearth_error_set(err, HEARTH_ENOMEM,
                            "out of memory; use fewer devices");
}

void hearth_fleet_measure_free(hearth_fleet_measure *m) {
    hearth_mem_free(m->al, m->loss);
    hearth_mem_free(m->al, m->tokens);
    memset(m, 0, sizeof(*m));
}

hearth_status hearth_fleet_measure_sum_up(hearth_fleet_measure *m) {
    double *v = hearth_mem_array(m->al, m->n, sizeof(*v));
    size_t n = 0;
    if (!v) return HEARTH_ENOMEM;
    for (size_t i = 0; i < m->n; i++)
        if (isfinite(m->loss[i])) v[n++] = m->loss[i];
    m->n_measured = n;
    m->mean = n ? hearth_fleet_mean(v, n) : (double)NAN;
    m->p10 = n ? hearth_fleet_percentile(v, n, 0.1) : (double)NAN;
    m->p90 = n ? hearth_fleet_percentile(v, n, 0.9) : (double)NAN;
    hearth_mem_free(m->al, v);
    return HEARTH_OK;
}

const hearth_dataset *hearth_fleet_split_data(const hearth_fleet_lab *lab,
                                              hearth_fleet_split split,
                                              size_t person) {
    bool unseen = lab->people->person[person].unseen;
    switch (split) {
    case HEARTH_FLEET_HOLDOUT: return unseen ? NULL : lab->held[person];
    case HEARTH_FLEET_UNSEEN: return unseen ? lab->held[person] : NULL;
    case HEARTH_FLEET_VALID: return unseen ? NULL : lab->valid[person];
    case HEARTH_FLEET_N_SPLITS: break;
    }
    return NULL;
}

hearth_status hearth_fleet_measure_split(const hearth_fleet_lab *lab,
                                         const hearth_adapter *adapter,
                                         hearth_fleet_split split,
                                         hearth_fleet_measure *m,
                                         hearth_error *err) {
    for (size_t i = 0; i < m->n; i++) {
        const hearth_dataset *ds = hearth_fleet_split_data(lab, split, i);
        hearth_eval_result r;
        m->loss[i] = (double)NAN;
        m->tokens[i] = 0;
        if (!ds) continue;
        hearth_status st = hearth_evaluate(lab->model, adapter, ds, NULL,
                                           lab->pool, &r, lab->al, err);
        if (st != HEARTH_OK) return st;
        m->loss[i] = r.loss;
        m->tokens[i] = r.tokens;
    }
    return hearth_fleet_measure_sum_up(m);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_device.c */
#include "tests/fleet/fleet_device.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "client/delta/ledger_store.h"
#include "common/philox.h"
#include "privacy/accountant_zcdp.h"
#include "tests/support/privacy_seam.h"

#define LATENCY_MS 50.0 /* of every request */

/* Which class a device is of: a draw, so that it does not follow its size. */
static const hearth_fleet_class *pick_class(const hearth_fleet_scenario *sc,
                                            size_t index) {
    hearth_philox_key key = hearth_philox_key_make(1, HEARTH_PHILOX_FLEET);
    double total = 0.0, u = hearth_philox_uniform(key, 1, index);
    for (size_t i = 0; i < sc->n_classes; i++)
        total += sc->device_class[i].share;
    for (size_t i = 0; i + 1 < sc->n_classes; i++) {
        u -= sc->device_class[i].share / total;
        if (u < 0.0) return &sc->device_class[i];
    }
    return &sc->device_class[sc->n_classes - 1];
}

/* Not in one transaction: a record that is there already ends it. */
static hearth_status import(hearth_fleet_device *d, hearth_error *err) {
    const hearth_fleet_lab *lab = d->site->lab;
    const hearth_fleet_person *p = &lab->people->person[d->index];
    hearth_record_options opt = HEARTH_RECORD_OPTIONS_INIT;
    opt.purpose = HEARTH_PURPOSE_FEDERATED;
    for (size_t k = 0; k < p->n_train; k++) {
        hearth_status st = hearth_record_store_add(
            d->records, p->line[k], strlen(p->line[k]), &opt, NULL, err);
        if (st == HEARTH_EEXISTS) continue; /* said twice: one record */
        if (st != HEARTH_OK) return st;
    }
    return HEARTH_OK;
}

static hearth_status open_sync(hearth_fleet_device *d, uint64_t stream,
                               hearth_error *err) {
    const hearth_fleet_site *site = d->site;
    const hearth_fleet_lab *lab = site->lab;
    hearth_status st = hearth_seam_rng_open(
        &d->rng, site->seed, ((uint64_t)d->index << 32) + stream, lab->al, err);
    if (st != HEARTH_OK) return st;
    const hearth_sync_config cfg = {
        .db = d->db,
        .records = d->records,
        .model = lab->model,
        .tokenizer = lab->tokenizer,
        .policy = &site->policy,
        .conditions = hearth_conditions_fixed(&site->conditions),
        .transport = &d->transport,
        .clock = site->clock,
        .rng = d->rng,
        .pool = lab->pool,
        .al = lab->al,
        .base_name = lab->sc->model_path,
        .server = "fleet",
        .root_pin = site->root_pin,
        .keyset = site->keyset,
        .n_keyset = site->n_keyset,
        .task = site->task,
    };
    return hearth_sync_open(&d->sync, &cfg, err);
}

hearth_status hearth_fleet_device_open(hearth_fleet_device *d,
                                       const hearth_fleet_site *site,
                                       size_t index, hearth_coord *coord,
                                       hearth_error *err) {
    const hearth_alloc *al = site->lab->al;
    memset(d, 0, sizeof(*d));
    d->site = site;
    d->index = index;
    d->kind = pick_class(site->lab->sc, index);
    d->link.coord = coord;
    (void)snprintf(d->link.device_id, sizeof(d->link.device_id), "d%06zu",
                   index);
    d->transport = hearth_fleet_transport(&d->link);
    hearth_status st = hearth_db_open(&d->db, ":memory:", al, err);
    if (st == HEARTH_OK)
        st = hearth_record_store_open(&d->records, d->db, NULL, site->clock, al,
                                      err);
    if (st == HEARTH_OK) st = import(d, err);
    if (st == HEARTH_OK) st = open_sync(d, 0, err);
    if (st != HEARTH_OK) hearth_fleet_device_close(d);
    return st;
}

void hearth_fleet_device_close(hearth_fleet_device *d) {
    hearth_sync_close(d->sync);
    hearth_rng_close(d->rng);
    hearth_record_store_close(d->records);
    hearth_db_close(d->db);
    d->sync = NULL;
    d->rng = NULL;
    d->records = NULL;
    d->db = NULL;
}

hearth_status hearth_fleet_device_restart(hearth_fleet_device *d,
                                          uint64_t stream, hearth_error *err) {
    hearth_sync_close(d->sync);
    hearth_rng_close(d->rng);
    d->sync = NULL;
    d->rng = NULL;
    return open_sync(d, stream, err);
}

hearth_status hearth_fleet_device_ledger(hearth_fleet_device *d, double delta,
                                         double *epsilon, uint32_t *n,
                                         hearth_error *err) {
    hearth_ledger_store *ls;
    hearth_ledger_sums sums;
    hearth_status st =
        hearth_ledger_store_open(&ls, d->db, &d->site->policy.ledger, "fleet",
                                 d->site->clock, d->site->lab->al, err);
    if (st != HEARTH_OK) return st;
    st = hearth_ledger_store_sums(ls, d->site->task, &sums, err);
    hearth_ledger_store_close(ls);
    if (st != HEARTH_OK) return st;
    *epsilon = hearth_zcdp_epsilon(sums.rho_task, delta);
    *n = sums.n_task;
    return HEARTH_OK;
}

int64_t hearth_fleet_device_transfer_ms(const hearth_fleet_device *d,
                                        uint64_t up, uint64_t down) {
    double ms = LATENCY_MS + (double)up * 8.0 / d->kind->up_kbps +
                (double)down * 8.0 / d->kind->down_kbps;
    return (int64_t)ceil(ms);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_release.c */
#include "tests/fleet/fleet_release.h"

#include <math.h>
#include <string.h>

#include "common/bytes.h"
#include "common/mem.h"
#include "common/rng.h"
#include "privacy/accountant_zcdp.h"
#include "privacy/noise.h"
#include "tests/support/privacy_seam.h"

/* Where a device stands. */
typedef struct {
    uint32_t n;    /* releases it is in */
    uint32_t last; /* the newest of them, from 1 */
    bool pending;  /* in the present round */
} part;

struct hearth_fleet_release {
    const hearth_fleet_scenario *sc;
    const hearth_alloc *al;
    hearth_blt_noise noise;
    double bound; /* D_d */
    int scale_exp;
    double *state;   /* [n_buffers * d] */
    int32_t *draw;   /* [d] */
    int64_t *noised; /* [d] */
    hearth_rng *rng;
    part *device; /* [n_devices] */
    size_t n_devices;
    uint32_t released; /* rounds */
};

static hearth_fleet_release *now; /* what the wrapped step uses */

hearth_status hearth_fleet_release_mechanism(hearth_blt_noise *m,
                                             const hearth_fleet_scenario *sc,
                                             const hearth_wire_privacy *p,
                                             double *state) {
    const hearth_blt_pattern pattern = {sc->rounds, sc->release_separation,
                                        sc->release_participations};
    hearth_blt blt = {0}; /* no buffers: independent in each round */
    hearth_status st = HEARTH_OK;
    if (sc->release_buffers)
        st = hearth_blt_fit(&blt, sc->release_buffers, &pattern);
    if (st != HEARTH_OK) return st;
    return hearth_blt_noise_init(m, &blt, &pattern, sc->release_noise,
                                 p->delta2_squared, (size_t)p->d, state);
}

static hearth_status open_inside(hearth_fleet_release *r,
                                 const hearth_wire_privacy *p, uint64_t seed,
                                 size_t n_devices, hearth_error *err) {
    size_t d = (size_t)p->d;
    r->bound = sqrt((double)p->bound_squared);
    r->scale_exp = p->scale_exp;
    r->n_devices = n_devices;
    r->state = hearth_mem_array(
        r->al, d, (r->sc->release_buffers + 1) * sizeof(*r->state));
    r->draw = hearth_mem_array(r->al, d, sizeof(*r->draw));
    r->noised = hearth_mem_array(r->al, d, sizeof(*r->noised));
    r->device = hearth_mem_array(r->al, n_devices, sizeof(*r->device));
    if (!r->state || !r->draw || !r->noised || !r->device)
        return hearth_error_set(err, HEARTH_ENOMEM,
                                "out of memory; close something");
    memset(r->device, 0, n_devices * sizeof(*r->device));
    hearth_status st =
        hearth_fleet_release_mechanism(&r->noise, r->sc, p, r->state);
    if (st != HEARTH_OK)
        return hearth_error_set(err, st,
                                "[privacy] release_noise: more than integers "
                                "can hold; lower it, or the clip");
    return hearth_seam_rng_open(&r->rng, seed, HEARTH_FLEET_RELEASE_STREAM,
                                r->al, err);
}

hearth_status hearth_fleet_release_open(hearth_fleet_release **out,
                                        const hearth_fleet_scenario *sc,
                                        const hearth_wire_privacy *p,
                                        uint64_t seed, size_t n_devices,
                                        const hearth_alloc *al,
                                        hearth_error *err) {
    *out = NULL;
    if (now || p->n_coords)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "release_noise covers one task at a time, "
                                "without appended coordinates");
    hearth_fleet_release *r = hearth_mem_new(al, sizeof(*r));
    if (!r)
        return hearth_error_set(err, HEARTH_ENOMEM,
                                "out of memory; close something");
    r->sc = sc;
    r->al = al;
    hearth_status st = open_inside(r, p, seed, n_devices, err);
    if (st != HEARTH_OK) {
        hearth_fleet_release_close(r);
        return st;
    }
    now = *out = r;
    return HEARTH_OK;
}

void hearth_fleet_release_close(hearth_fleet_release *r) {
    if (!r) return;
    if (now == r) now = NULL;
    size_t d = r->noise.d;
    if (r->state)
        hearth_zeroize(r->state,
                       d * (r->sc->release_buffers + 1) * sizeof(*r->state));
    if (r->draw) hearth_zeroize(r->draw, d * sizeof(*r->draw));
    hearth_mem_free(r->al, r->state);
    hearth_mem_free(r->al, r->draw);
    hearth_mem_free(r->al, r->noised);
    hearth_mem_free(r->al, r->device);
    hearth_rng_close(r->rng);
    hearth_mem_free(r->al, r);
}

/* ---- who may take part ---- */

bool hearth_fleet_release_rests(const hearth_fleet_release *r, size_t device) {
    if (!r || !r->device[device].n) return false;
    /* The present round would be release number released + 1. */
    return r->released + 1 - r->device[device].last < r->sc->release_separation;
}

void hearth_fleet_release_took_part(hearth_fleet_release *r, size_t device) {
    if (r) r->device[device].pending = true;
}

static hearth_status join(hearth_fleet_release *r, part *p, hearth_error *err) {
    bool soon = p->n && r->released - p->last < r->sc->release_separation;
    if (soon || p->n == r->sc->release_participations)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "a device is in a release that %s forbids: no "
                                "figure of it would hold",
                                soon ? "release_separation"
                                     : "release_participations");
    p->n++;
    p->last = r->released;
    return HEARTH_OK;
}

hearth_status hearth_fleet_release_end_round(hearth_fleet_release *r,
                                             bool released, hearth_error *err) {
    hearth_status st = HEARTH_OK;
    if (!r) return HEARTH_OK;
    r->released += released;
    if (r->noise.next != r->released)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "release %u has no noise of the coordinator's",
                                (unsigned)r->released);
    for (size_t i = 0; i < r->n_devices; i++) {
        part *p = &r->device[i];
        if (p->pending && released && st == HEARTH_OK) st = join(r, p, err);
        p->pending = false;
    }
    return st;
}

/* ---- figures ---- */

void hearth_fleet_release_figures(const hearth_fleet_release *r,
                                  hearth_fleet_metric *row, uint64_t n_min,
                                  uint32_t participations) {
    if (!r) return;
    const hearth_blt_noise *m = &r->noise;
    double sigma = ldexp(sqrt((double)m->sigma_sq.num), -m->grid_bits);
    row->epsilon_release_devices = row->epsilon_release;
    row->epsilon_release_server =
        hearth_zcdp_epsilon(hearth_blt_noise_rho(m), r->sc->delta);
    row->epsilon_release = hearth_zcdp_epsilon(
        hearth_blt_release_rho(m, r->sc->noise, n_min, participations),
        r->sc->delta);
    if (!r->released || !row->devices_accepted) return;
    row->noise_to_signal_server =
        sigma * hearth_blt_errors(&m->blt, r->released).step *
        sqrt((double)m->d) / ((double)row->devices_accepted * r->bound);
}

/* ---- the step ---- */

static hearth_status add_noise(hearth_fleet_release *r, const int64_t *sum,
                               size_t d, int scale_exp) {
    if (d != r->noise.d || scale_exp != r->scale_exp) return HEARTH_EINVAL;
    hearth_status st = hearth_noise_draw(r->draw, d, r->noise.sigma_sq, r->rng);
    if (st != HEARTH_OK) return st;
    memcpy(r->noised, sum, d * sizeof(*sum));
    return hearth_blt_noise_add(&r->noise, r->noised, r->draw);
}

hearth_status __wrap_hearth_server_opt_step(hearth_server_opt *o, float *next,
                                            const float *start,
                                            const int64_t *sum, size_t d,
                                            uint32_t n_devices, int scale_exp,
                                            double lr) {
    if (now) {
        hearth_status st = add_noise(now, sum, d, scale_exp);
        if (st != HEARTH_OK) return st;
        sum = now->noised;
    }
    return __real_hearth_server_opt_step(o, next, start, sum, d, n_devices,
                                         scale_exp, lr);
}

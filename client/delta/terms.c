/* SPDX-License-Identifier: Apache-2.0 */
/* client/delta/terms.c - the contract is in terms.h. */
#include "client/delta/terms.h"

#include <math.h>
#include <string.h>

#include "privacy/accountant_zcdp.h"
#include "privacy/clip.h"

_Static_assert(HEARTH_SIGMA_MAX_COORDS == HEARTH_PROTO_MAX_COORDS,
               "one limit, written twice");
_Static_assert(HEARTH_PROTO_MAX_DIM + HEARTH_PROTO_MAX_COORDS <=
                   HEARTH_CLIP_MAX_ELEMENTS,
               "what the wire allows, clip takes");

static hearth_status contradiction(hearth_error *err, const char *what) {
    return hearth_error_set(err, HEARTH_EFORMAT,
                            "offer: %s; tell the coordinator's operator", what);
}

static hearth_status read_vector(hearth_terms *t, const hearth_wire_privacy *p,
                                 hearth_error *err) {
    if (p->d > HEARTH_PROTO_MAX_DIM || p->n_coords > HEARTH_SIGMA_MAX_COORDS)
        return hearth_error_set(err, HEARTH_ETOOBIG,
                                "offer: too many coordinates");
    if (p->d == 0 && p->n_coords == 0)
        return contradiction(err, "no coordinates");
    t->d = p->d;
    t->n_coords = p->n_coords;
    t->clip_bit = p->d > 0 && p->n_coords > 0;
    memcpy(t->s, p->coord_max, t->n_coords * sizeof(t->s[0]));
    if ((p->d == 0) != (p->bound_squared == 0))
        return contradiction(err, "the norm bound does not fit the dimension");
    t->bound_sq = p->bound_squared;
    hearth_status st =
        hearth_sigma_delta2_sq(t->bound_sq, t->s, t->n_coords, &t->delta2_sq);
    if (st == HEARTH_ETOOBIG)
        return hearth_error_set(err, st, "offer: norm bound too large");
    if (st != HEARTH_OK || t->delta2_sq != p->delta2_squared)
        return contradiction(err, "Delta2 is not what its parts add up to");
    t->clip = (float)p->clip;
    if (p->d && (!isfinite(t->clip) || t->clip < HEARTH_CLIP_MIN_NORM))
        return contradiction(err, "the clip is not a positive number");
    t->scale_exp = (int)p->scale_exp;
    if (t->scale_exp < HEARTH_SIGMA_MIN_SCALE ||
        t->scale_exp > HEARTH_SIGMA_MAX_SCALE)
        return contradiction(err, "the scale is out of range");
    return HEARTH_OK;
}

static hearth_status read_noise(hearth_terms *t, const hearth_wire_privacy *p,
                                hearth_error *err) {
    t->sigma_sq = (hearth_sigma_sq){p->sigma2_num, p->sigma2_den};
    if (!hearth_sigma_ok(t->sigma_sq))
        return contradiction(err, "sigma^2 is zero or out of range");
    t->z = hearth_sigma_z(t->sigma_sq, t->delta2_sq);
    /* 1e-12: the coordinator may have rounded its z to nearest. */
    if (!isfinite(p->z) || p->z > t->z * (1 + 1e-12))
        return contradiction(err, "z promises more noise than sigma gives");
    t->rho = hearth_zcdp_rho(t->z, HEARTH_DP_REPLACE_ONE);
    return HEARTH_OK;
}

hearth_status hearth_terms_read(hearth_terms *out, const hearth_offer *offer,
                                hearth_error *err) {
    if (!out) return HEARTH_EINVAL;
    memset(out, 0, sizeof(*out));
    if (!offer) return hearth_error_set(err, HEARTH_EINVAL, "no offer");
    const hearth_wire_privacy *p = &offer->privacy;
    if (p->mode != HEARTH_MODE_LOCAL ||
        p->relation != HEARTH_RELATION_REPLACE_ONE ||
        p->unit != HEARTH_UNIT_DEVICE)
        return hearth_error_set(err, HEARTH_EUNSUPPORTED,
                                "offer: only mode local, relation replace-one "
                                "and unit device are known; update hearth");
    hearth_terms t = {0};
    hearth_status st = read_vector(&t, p, err);
    if (st == HEARTH_OK) st = read_noise(&t, p, err);
    if (st == HEARTH_OK) *out = t;
    return st;
}

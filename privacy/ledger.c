/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/ledger.c - the contract is in ledger.h.
 *
 * The hash covers a fixed encoding of every field, with lengths before text,
 * so no two different rows have the same bytes.
 */
#include "privacy/ledger.h"

#include <math.h>
#include <string.h>

#include "common/bytes.h"
#include "common/hash.h"
#include "privacy/accountant_zcdp.h"

static const char DOMAIN[] = "hearth.ledger.row.v1";

#define ROW_MAX_BYTES (sizeof(DOMAIN) + 2 * HEARTH_LEDGER_NAME_MAX + 160)

static bool text_ok(const char *s, bool may_be_empty) {
    const char *end = memchr(s, 0, HEARTH_LEDGER_NAME_MAX);
    return end && (may_be_empty || end != s);
}

static bool row_ok(const hearth_ledger_row *r) {
    if (r->seq == 0 || !text_ok(r->task, false) ||
        !text_ok(r->coordinator, true))
        return false;
    if (!isfinite(r->rho) || r->rho < 0 || !isfinite(r->z) || r->z < 0)
        return false;
    if (r->kind == HEARTH_LEDGER_CHARGE) return r->voids == 0 && r->rho > 0;
    if (r->kind == HEARTH_LEDGER_VOID) return r->voids && r->voids < r->seq;
    return false;
}

static uint8_t *put_u64(uint8_t *p, uint64_t v) {
    hearth_store_le64(p, v);
    return p + 8;
}

static uint8_t *put_f64(uint8_t *p, double v) {
    uint64_t bits;
    memcpy(&bits, &v, sizeof(bits));
    return put_u64(p, bits);
}

static uint8_t *put_bytes(uint8_t *p, const void *v, size_t n) {
    memcpy(p, v, n);
    return p + n;
}

static hearth_status row_hash(const hearth_ledger_row *r, uint8_t out[32]) {
    uint8_t bytes[ROW_MAX_BYTES], *p = bytes;
    size_t n_task = strlen(r->task), n_coord = strlen(r->coordinator);
    p = put_bytes(p, DOMAIN, sizeof(DOMAIN));
    p = put_u64(p, r->seq);
    p = put_u64(p, (uint64_t)r->kind);
    p = put_u64(p, r->voids);
    p = put_u64(p, (uint64_t)r->time_ms);
    p = put_u64(p, n_task);
    p = put_bytes(p, r->task, n_task);
    p = put_u64(p, n_coord);
    p = put_bytes(p, r->coordinator, n_coord);
    p = put_u64(p, r->round);
    p = put_u64(p, r->cohort);
    p = put_u64(p, r->stage);
    p = put_f64(p, r->rho);
    p = put_f64(p, r->z);
    p = put_u64(p, r->d);
    p = put_bytes(p, r->payload, sizeof(r->payload));
    p = put_bytes(p, r->previous, sizeof(r->previous));
    return hearth_sha256(out, bytes, (size_t)(p - bytes));
}

hearth_status hearth_ledger_seal(hearth_ledger_row *row,
                                 const uint8_t previous[32]) {
    memset(row->hash, 0, sizeof(row->hash));
    if (!row_ok(row)) return HEARTH_EINVAL;
    memset(row->previous, 0, sizeof(row->previous));
    if (previous) memcpy(row->previous, previous, sizeof(row->previous));
    return row_hash(row, row->hash);
}

hearth_status hearth_ledger_check(const hearth_ledger_row *row,
                                  uint64_t seq_before,
                                  const uint8_t previous[32],
                                  int64_t time_before_ms) {
    static const uint8_t zeros[32] = {0};
    uint8_t hash[32];
    if (!row_ok(row)) return HEARTH_EFORMAT;
    hearth_status st = row_hash(row, hash);
    if (st != HEARTH_OK) return st;
    if (memcmp(hash, row->hash, sizeof(hash)) != 0 ||
        memcmp(row->previous, previous ? previous : zeros, 32) != 0 ||
        row->seq != seq_before + 1 || row->time_ms < time_before_ms)
        return HEARTH_EDIGEST;
    return HEARTH_OK;
}

void hearth_ledger_sums_init(hearth_ledger_sums *s) {
    *s = (hearth_ledger_sums){.last_ms = INT64_MIN, .last_task_ms = INT64_MIN};
}

int64_t hearth_ledger_now(const hearth_ledger_sums *s, int64_t now_ms) {
    return now_ms > s->last_ms ? now_ms : s->last_ms;
}

/* time b - a, saturated; times may be any int64. */
static int64_t elapsed_ms(int64_t a, int64_t b) {
    if (b <= a) return 0;
    uint64_t gap = (uint64_t)b - (uint64_t)a;
    return gap > (uint64_t)INT64_MAX ? INT64_MAX : (int64_t)gap;
}

void hearth_ledger_sums_add(hearth_ledger_sums *s, const hearth_ledger_row *row,
                            bool counts, const char *task, int64_t window_ms,
                            int64_t now_ms) {
    if (row->time_ms > s->last_ms) s->last_ms = row->time_ms;
    if (!counts) return;
    s->rho_lifetime += row->rho;
    s->n_lifetime++;
    if (elapsed_ms(row->time_ms, now_ms) < window_ms) {
        s->rho_window += row->rho;
        s->n_window++;
    }
    if (strcmp(row->task, task) != 0) return;
    s->rho_task += row->rho;
    s->n_task++;
    if (row->time_ms > s->last_task_ms) s->last_task_ms = row->time_ms;
}

static bool within(double value, double cap, hearth_ledger_verdict *v) {
    v->would_be = value;
    v->cap = cap;
    return value <= cap; /* false for NaN */
}

bool hearth_ledger_allows_rule(hearth_ledger_rule rule,
                               const hearth_ledger_rules *rules,
                               const hearth_ledger_sums *s, double rho,
                               int64_t now_ms, hearth_ledger_verdict *v) {
    hearth_ledger_verdict scratch;
    if (!v) v = &scratch;
    *v = (hearth_ledger_verdict){rule, 0, 0};
    int64_t now = hearth_ledger_now(s, now_ms), gap;
    switch (rule) {
    case HEARTH_LEDGER_OK: return true;
    case HEARTH_LEDGER_TASK:
        return within(hearth_zcdp_epsilon(s->rho_task + rho, rules->delta),
                      rules->epsilon_task, v);
    case HEARTH_LEDGER_WINDOW:
        return within(hearth_zcdp_epsilon(s->rho_window + rho, rules->delta),
                      rules->epsilon_window, v);
    case HEARTH_LEDGER_LIFETIME:
        return within(hearth_zcdp_epsilon(s->rho_lifetime + rho, rules->delta),
                      rules->epsilon_lifetime, v);
    case HEARTH_LEDGER_PARTICIPATIONS:
        return within((double)s->n_task + 1, rules->n_participations, v);
    case HEARTH_LEDGER_SPACING:
        gap = s->n_task ? elapsed_ms(s->last_task_ms, now) : INT64_MAX;
        v->would_be = (double)gap;
        v->cap = (double)rules->spacing_ms;
        return gap >= rules->spacing_ms;
    }
    return false;
}

bool hearth_ledger_allows(const hearth_ledger_rules *rules,
                          const hearth_ledger_sums *s, double rho,
                          int64_t now_ms, hearth_ledger_verdict *v) {
    for (int r = HEARTH_LEDGER_TASK; r <= HEARTH_LEDGER_SPACING; r++)
        if (!hearth_ledger_allows_rule((hearth_ledger_rule)r, rules, s, rho,
                                       now_ms, v))
            return false;
    if (v) v->rule = HEARTH_LEDGER_OK;
    return true;
}

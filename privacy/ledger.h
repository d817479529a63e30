/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/ledger.h - the rules of the privacy ledger: rows, chain, windows,
 * caps.  Pure functions; client/delta/ledger_store.h keeps the rows.
 *
 * A row is charged once, before anything is sent, and stays for ever.  It
 * holds rho and z, never only an epsilon: a window (task, 30 days, lifetime)
 * adds rho and converts once, at the delta of the device's own policy.  Each
 * row carries the SHA-256 of itself and its predecessor.
 *
 *     hearth_ledger_sums sums;
 *     hearth_ledger_sums_init(&sums);
 *     for (...) hearth_ledger_sums_add(&sums, &row, task, rules, now_ms);
 *     hearth_ledger_verdict v;
 *     if (!hearth_ledger_allows(rules, &sums, rho, now_ms, &v)) refuse(v);
 *
 * Threads: pure functions.
 * Memory:  allocates nothing.
 */
#ifndef HEARTH_PRIVACY_LEDGER_H
#define HEARTH_PRIVACY_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

#define HEARTH_LEDGER_NAME_MAX 128 /* bytes of task and coordinator, with NUL */

typedef enum {
    HEARTH_LEDGER_CHARGE = 1,
    HEARTH_LEDGER_VOID = 2 /* takes back charge `voids`: no byte had left */
} hearth_ledger_kind;

/* One row.  Text fields are NUL-terminated. */
typedef struct {
    uint64_t seq;            /* 1, 2, 3, ... without gaps */
    hearth_ledger_kind kind; /* */
    uint64_t voids;          /* seq of the charge taken back; 0 for a charge */
    int64_t time_ms;         /* Unix time; never before the row before it */
    char task[HEARTH_LEDGER_NAME_MAX];
    char coordinator[HEARTH_LEDGER_NAME_MAX]; /* to whom; may be "" */
    uint64_t round;                           /* */
    uint32_t cohort;                          /* */
    uint32_t stage;                           /* */
    double rho;           /* replace-one zCDP of this event; >= 0 */
    double z;             /* sigma / Delta2 */
    uint64_t d;           /* noised coordinates, appended ones included */
    uint8_t payload[32];  /* SHA-256 of the prepared bytes */
    uint8_t previous[32]; /* hash of the row before; zeros for the first */
    uint8_t hash[32];     /* over all fields above */
} hearth_ledger_row;

/* The caps of the device's policy.  client/device/policy.h fills them. */
typedef struct {
    double delta;              /* at which sums of rho are converted */
    double epsilon_task;       /* cap of one task, all time */
    double epsilon_window;     /* cap of all tasks within window_ms */
    double epsilon_lifetime;   /* cap of all tasks, all time */
    int64_t window_ms;         /* 30 days */
    int64_t spacing_ms;        /* least time between two charges of a task */
    uint32_t n_participations; /* most charges of one task */
} hearth_ledger_rules;

/* Sums as one task sees them at one time; voided charges are not in them. */
typedef struct {
    double rho_task;
    double rho_window;
    double rho_lifetime;
    uint32_t n_task;
    uint32_t n_window;
    uint32_t n_lifetime;
    int64_t last_task_ms; /* time of the task's last charge; valid if n_task */
    int64_t last_ms;      /* time of the last row of any kind; INT64_MIN */
} hearth_ledger_sums;

/* Which rule refuses; the values say what it compared. */
typedef enum {
    HEARTH_LEDGER_OK = 0,
    HEARTH_LEDGER_TASK,           /* epsilon of the task */
    HEARTH_LEDGER_WINDOW,         /* epsilon of the window */
    HEARTH_LEDGER_LIFETIME,       /* epsilon of the device's life */
    HEARTH_LEDGER_PARTICIPATIONS, /* count */
    HEARTH_LEDGER_SPACING         /* milliseconds since the last */
} hearth_ledger_rule;

typedef struct {
    hearth_ledger_rule rule;
    double would_be; /* value after the charge (spacing: elapsed ms) */
    double cap;      /* what the rules allow (spacing: least ms) */
} hearth_ledger_verdict;

/* Fill row->previous and row->hash.  previous = NULL for the first row.
 * Returns HEARTH_OK, HEARTH_EINVAL (a field out of range), or the failure of
 * common/hash.h; the hash is zero then. */
HEARTH_MUST_CHECK
hearth_status hearth_ledger_seal(hearth_ledger_row *row,
                                 const uint8_t previous[32]);

/* Is row a right successor of (seq, previous, time)?  Checks the number, the
 * link, the hash, the ranges of every field and that time does not run
 * backwards.  seq_before = 0 and previous = NULL for the first row.
 * Returns HEARTH_OK, HEARTH_EDIGEST (number, link, hash or time),
 * HEARTH_EFORMAT (a field out of range), or the failure of common/hash.h. */
HEARTH_MUST_CHECK
hearth_status hearth_ledger_check(const hearth_ledger_row *row,
                                  uint64_t seq_before,
                                  const uint8_t previous[32],
                                  int64_t time_before_ms);

/* Start empty sums. */
void hearth_ledger_sums_init(hearth_ledger_sums *s);

/* Add one charge that was not voided, or note the time of any other row
 * (charge == false). */
void hearth_ledger_sums_add(hearth_ledger_sums *s, const hearth_ledger_row *row,
                            bool counts, const char *task, int64_t window_ms,
                            int64_t now_ms);

/* The time the ledger goes by: now, but never before its last row.  A clock
 * set back therefore cannot reopen a window; one set forward can, once, and
 * the lifetime cap holds. */
int64_t hearth_ledger_now(const hearth_ledger_sums *s, int64_t now_ms);

/* True when a charge of rho fits every rule.  v (may be NULL) names the first
 * rule that refuses. */
bool hearth_ledger_allows(const hearth_ledger_rules *rules,
                          const hearth_ledger_sums *s, double rho,
                          int64_t now_ms, hearth_ledger_verdict *v);

/* One rule alone, for lists of refusals. */
bool hearth_ledger_allows_rule(hearth_ledger_rule rule,
                               const hearth_ledger_rules *rules,
                               const hearth_ledger_sums *s, double rho,
                               int64_t now_ms, hearth_ledger_verdict *v);

#endif /* HEARTH_PRIVACY_LEDGER_H */

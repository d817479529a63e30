/* SPDX-License-Identifier: Apache-2.0 */
/* client/delta/ledger_entry.h - prepared bytes in the ledger's database: for
 * client/delta/prepare.c and ledger_store.c only (tests/check_symbols.py).
 *
 * Threads: as ledger_store.h.
 * Memory:  a loaded entry owns its bytes.
 */
#ifndef HEARTH_CLIENT_DELTA_LEDGER_ENTRY_H
#define HEARTH_CLIENT_DELTA_LEDGER_ENTRY_H

#include "client/delta/ledger_store.h"

/* The newest preparation of a key. */
typedef struct {
    uint64_t seq; /* of its charge */
    hearth_prepared_state state;
    uint8_t offer[32];   /* digest of the offer it was made for */
    uint8_t payload[32]; /* SHA-256 of the bytes */
    uint8_t *bytes;      /* [n], NULL once erased */
    size_t n;
} hearth_ledger_entry;

/* What to charge, and for which bytes. */
typedef struct {
    hearth_round_key key;
    uint8_t offer[32];
    uint8_t payload[32];
    double rho, z;
    uint64_t d; /* all coordinates */
    const uint8_t *bytes;
    size_t n;
} hearth_ledger_charge;

/* HEARTH_OK, HEARTH_ENOTFOUND, HEARTH_EDIGEST when the bytes on disk are not
 * those that were charged.  with_bytes false leaves bytes NULL. */
HEARTH_MUST_CHECK
hearth_status hearth_ledger_store__load(hearth_ledger_store *ls,
                                        const hearth_round_key *key,
                                        bool with_bytes,
                                        hearth_ledger_entry *out,
                                        hearth_error *err);

/* Wipe and free the bytes of an entry. */
void hearth_ledger_store__entry_free(hearth_ledger_store *ls,
                                     hearth_ledger_entry *e);

/* One transaction: retire an older preparation of the key (void it when
 * unsent, else erase its bytes), check the rules, append the charge, store the
 * bytes.  HEARTH_EREFUSED names the rule; HEARTH_EEXISTS when the same offer
 * is prepared already.  clock may differ from the store's in tests. */
HEARTH_MUST_CHECK
hearth_status hearth_ledger_store__charge(hearth_ledger_store *ls,
                                          const hearth_ledger_charge *c,
                                          int64_t now_ms, hearth_error *err);

/* ready -> sending, or sending/ready -> finished (bytes erased).  Idempotent;
 * HEARTH_ESTATE for any other change. */
HEARTH_MUST_CHECK
hearth_status hearth_ledger_store__advance(hearth_ledger_store *ls,
                                           uint64_t seq,
                                           hearth_prepared_state to,
                                           hearth_error *err);

/* The hooks given at open. */
const hearth_alloc *hearth_ledger_store__alloc(const hearth_ledger_store *ls);

#endif /* HEARTH_CLIENT_DELTA_LEDGER_ENTRY_H */

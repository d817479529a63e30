/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_device.h - one virtual device: the shipped participant over
 * an in-memory client.db.
 *
 * Threads: one.
 * Memory:  the database; the participant's own while it trains.
 */
#ifndef HEARTH_TESTS_FLEET_DEVICE_H
#define HEARTH_TESTS_FLEET_DEVICE_H

#include "client/net/sync.h"
#include "client/records/record_store.h"
#include "tests/fleet/fleet_lab.h"
#include "tests/fleet/fleet_transport.h"

/* What all devices of a world share; borrowed. */
typedef struct {
    const hearth_fleet_lab *lab;
    hearth_clock clock;
    hearth_policy policy;
    hearth_conditions conditions;
    const char *root_pin;
    const uint8_t *keyset; /* [n_keyset] */
    size_t n_keyset;
    uint64_t seed;
    const char *task;
} hearth_fleet_site;

typedef struct {
    const hearth_fleet_site *site;
    size_t index; /* in the population */
    const hearth_fleet_class *kind;
    hearth_fleet_link link;
    hearth_transport transport;
    hearth_db *db;
    hearth_record_store *records;
    hearth_rng *rng;
    hearth_sync *sync;
    int64_t next_ms;         /* when its next turn is, virtual */
    uint64_t accepted_round; /* of the offer it took last; 0 = none */
    bool vanished;           /* away until next_ms: its process is gone */
    hearth_error last;       /* what it said last when something was wrong */
} hearth_fleet_device;

/* Open device `index` of the population: database, records with consent, and
 * its participant.  coord is borrowed. */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_device_open(hearth_fleet_device *d,
                                       const hearth_fleet_site *site,
                                       size_t index, hearth_coord *coord,
                                       hearth_error *err);
void hearth_fleet_device_close(hearth_fleet_device *d);

/* End the participant as a killed process would, and start it again over the
 * same database with the randomness of (seed, device, stream). */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_device_restart(hearth_fleet_device *d,
                                          uint64_t stream, hearth_error *err);

/* What the device's ledger says about the task: epsilon at delta, and the
 * number of participations. */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_device_ledger(hearth_fleet_device *d, double delta,
                                         double *epsilon, uint32_t *n,
                                         hearth_error *err);

/* Virtual ms that moving so many bytes takes its class. */
int64_t hearth_fleet_device_transfer_ms(const hearth_fleet_device *d,
                                        uint64_t up, uint64_t down);

#endif /* HEARTH_TESTS_FLEET_DEVICE_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_transport.h - a device's way to the coordinator without a
 * network: a request becomes a call of hearth_coord_handle.
 *
 * What TLS and cookies establish on a real network is established here by
 * whose link it is: the listener's checks have their own tests (tests/e2e).
 *
 *     hearth_fleet_link link = {.coord = c, .device_id = "d1"};
 *     hearth_transport tr = hearth_fleet_transport(&link);
 *
 * Threads: one, that of the coordinator.
 * Memory:  the reply's body.
 */
#ifndef HEARTH_TESTS_FLEET_TRANSPORT_H
#define HEARTH_TESTS_FLEET_TRANSPORT_H

#include "client/net/transport.h"
#include "coordinator/coordinator.h"

/* One device's link.  Borrows coord; counts bodies, not headers. */
typedef struct {
    hearth_coord *coord;
    char device_id[HEARTH_PROTO_DEVICE_CAP];
    uint64_t bytes_up, bytes_down, requests;
} hearth_fleet_link;

/* A table over link, which must outlive it. */
hearth_transport hearth_fleet_transport(hearth_fleet_link *link);

/* The hook of a coordinator in the fleet: serves the keyset (borrowed, as is
 * the hook's ud) and gives every device a cookie with its name. */
typedef struct {
    const uint8_t *keyset; /* [n] */
    size_t n;
} hearth_fleet_keyset;
hearth_coord_hook hearth_fleet_hook(const hearth_fleet_keyset *keyset);

#endif /* HEARTH_TESTS_FLEET_TRANSPORT_H */

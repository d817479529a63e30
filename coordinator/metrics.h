/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/metrics.h - counters as Prometheus text.
 *
 * Aggregates only: no device ids, no task contents, nothing that depends on
 * one device's data.
 *
 * Threads: pure function.
 * Source:  Prometheus exposition format, text version 0.0.4.
 */
#ifndef HEARTH_COORDINATOR_METRICS_H
#define HEARTH_COORDINATOR_METRICS_H

#include "common/buf.h"
#include "coordinator/auth.h"
#include "coordinator/coordinator.h"
#include "coordinator/listener.h"

typedef struct {
    hearth_listener_counters listener;
    hearth_auth_counters auth;
    hearth_coord_counters coord;
    int64_t uptime_ms;
} hearth_metrics;

/* Append the text.  HEARTH_OK or HEARTH_ENOMEM. */
HEARTH_MUST_CHECK
hearth_status hearth_metrics_write(hearth_buf *out, const hearth_metrics *m);

#endif /* HEARTH_COORDINATOR_METRICS_H */

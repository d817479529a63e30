/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/daemon.h - hearthd as an object: keys, listener, coordinator.
 *
 * Data flow:  settings -> keys -> tls + auth + coordinator on one uv loop
 *
 * The loop's thread owns rounds, cookies and sockets; slow work (fsync, public
 * keys of enrolment, folding) runs in two work queues beside it.
 *
 *     uv_loop_t loop;
 *     uv_loop_init(&loop);
 *     st = hearth_daemon_open(&d, &loop, &cfg, &log, &err);
 *     ... hearth_daemon_port(d) ...
 *     uv_run(&loop, UV_RUN_DEFAULT);   // until hearth_daemon_stop
 *     hearth_daemon_close(d);
 *     uv_loop_close(&loop);
 *
 * Threads: everything on the thread of the loop.
 */
#ifndef HEARTH_COORDINATOR_DAEMON_H
#define HEARTH_COORDINATOR_DAEMON_H

#include <uv.h>

#include "common/log.h"
#include "coordinator/metrics.h"
#include "coordinator/server_config.h"

typedef struct hearth_daemon hearth_daemon;

/* Load keys, check that the keyset names them, recover the state, listen.
 *
 *   log  borrowed till close; may be NULL
 *
 * Returns HEARTH_OK, HEARTH_EMISMATCH (the keyset does not name a key that is
 * in use), or what loading, hearth_coord_open or hearth_listener_open returned;
 * on failure *out is NULL and nothing is left in the loop. */
HEARTH_MUST_CHECK
hearth_status hearth_daemon_open(hearth_daemon **out, uv_loop_t *loop,
                                 const hearth_server_config *cfg,
                                 const hearth_log *log, hearth_error *err);

/* Ports really bound; metrics: 0 when off. */
int hearth_daemon_port(const hearth_daemon *d);
int hearth_daemon_metrics_port(const hearth_daemon *d);

/* End what is going on, then let uv_run return. */
void hearth_daemon_stop(hearth_daemon *d);

/* Free.  After uv_run returned.  NULL is a no-op. */
void hearth_daemon_close(hearth_daemon *d);

void hearth_daemon_get_metrics(const hearth_daemon *d, hearth_metrics *out);

#endif /* HEARTH_COORDINATOR_DAEMON_H */

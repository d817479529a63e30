/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/task_derive.h - private to coordinator/task: what follows from
 * the settings of a task.
 *
 * Threads: pure functions.
 */
#ifndef HEARTH_COORDINATOR_TASK_DERIVE_H
#define HEARTH_COORDINATOR_TASK_DERIVE_H

#include "coordinator/task.h"

/* Fill bounds, noise, digests, epsilons, range and payload_bytes.
 *
 * scale_given: scale_most is the operator's; otherwise it is the finest allowed,
 * and the finest that fits is taken.
 * Returns as hearth_task_parse. */
HEARTH_MUST_CHECK
hearth_status hearth_task_derive(hearth_task *t, const hearth_alloc *al,
                                 hearth_error *err);

/* The two epsilons of `rounds` rounds and the noise-to-signal with n devices
 * averaged; what is infinite becomes DBL_MAX, as the wire has no infinity. */
HEARTH_MUST_CHECK
hearth_status hearth_task_epsilons(const hearth_task *t, uint32_t rounds,
                                   uint32_t n_devices, hearth_wire_privacy *p);

#endif /* HEARTH_COORDINATOR_TASK_DERIVE_H */

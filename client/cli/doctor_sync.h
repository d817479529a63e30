/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/doctor_sync.h - what `hearth doctor` says about taking part: is
 * this device joined, are keyset and certificate good, does the coordinator
 * answer with a key we trust, what was the last trouble.
 *
 * Threads: one thread.
 */
#ifndef HEARTH_CLI_DOCTOR_SYNC_H
#define HEARTH_CLI_DOCTOR_SYNC_H

#include <stdbool.h>

/* One finding. */
typedef void (*hearth_doctor_report)(void *ud, const char *what, bool ok,
                                     const char *detail);

/* Look at the state folder dir; says nothing where there is no state.  Asks the
 * coordinator for its keyset, nothing else, for at most 10 s. */
void hearth_doctor_sync(const char *dir, hearth_doctor_report report, void *ud);

#endif /* HEARTH_CLI_DOCTOR_SYNC_H */

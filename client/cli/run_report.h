/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/run_report.h - what `train` and `sync` say of a run: flags of
 * energy, pauses and slowing down, and its numbers at the end.
 *
 * Threads: one thread.   Memory: allocates nothing.
 */
#ifndef HEARTH_CLI_RUN_REPORT_H
#define HEARTH_CLI_RUN_REPORT_H

#include "client/cli/cli.h"
#include "client/cli/meminfo.h"
#include "client/device/energy.h"
#include "client/train/trainer.h"

/* --energy and what belongs to it. */
typedef struct {
    const char *energy; /* off, careful, charging */
    const char *sysfs;
    double battery_min, temperature_max, duty;
} hearth_energy_flags;

/* clang-format off */
#define HEARTH_ENERGY_FLAGS(f, of_energy, of_battery, of_warmth)              \
    HEARTH_FLAG_CHOICE("energy", "off|careful|charging", of_energy,           \
                       &(f).energy),                                          \
    HEARTH_FLAG_F64("battery-min", "PERCENT", of_battery,                     \
                    &(f).battery_min, 0, 100),                                \
    HEARTH_FLAG_F64("temperature-max", "C", of_warmth,                        \
                    &(f).temperature_max, 10, 150),                           \
    HEARTH_FLAG_F64("duty", "X", "share of the time while slowed down",       \
                    &(f).duty, 0.01, 1),                                      \
    HEARTH_FLAG_STR("sysfs", "DIR", "where Linux says how the device is",     \
                    &(f).sysfs)
/* clang-format on */

/* Events `paused`, `throttled`, `resumed`, and the same for people; steps are
 * those that are complete. */
void hearth_run_report_energy(hearth_cli *cli, const hearth_governor *g,
                              uint64_t steps);

/* The numbers of a run that is complete; borrowed. */
typedef struct {
    const char *name; /* for people: what was made */
    const char *out;  /* folder of the result; NULL: none */
    const char *task; /* of a round; NULL: none */
    uint64_t round, steps, tokens;
    uint64_t new_tokens; /* in `seconds` */
    double seconds;
    uint64_t private_at_open; /* private memory before the run's own, bytes */
    const hearth_trainer *trainer;
    hearth_meminfo *mem; /* looked at once more */
} hearth_run_totals;

/* Event `done`, and a line for people. */
void hearth_run_report_done(hearth_cli *cli, const hearth_run_totals *t);

#endif /* HEARTH_CLI_RUN_REPORT_H */

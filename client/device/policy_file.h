/* SPDX-License-Identifier: Apache-2.0 */
/* client/device/policy_file.h - a policy from an ini file.
 *
 *     [policy]
 *     cohort_min = 16
 *     spacing = 0s
 *     delta = 1e-5
 *
 * A file may tighten anything and loosen some things; the caps of epsilon and
 * the smallest z can only be tightened.  What it loosened can be listed, so
 * that a program can say so.
 *
 * Threads: pure functions over a file.
 * Memory:  what common/ini needs, freed before it returns.
 */
#ifndef HEARTH_CLIENT_DEVICE_POLICY_FILE_H
#define HEARTH_CLIENT_DEVICE_POLICY_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "client/device/policy.h"
#include "common/error.h"

/* Largest delta that a file can set. */
#define HEARTH_POLICY_FILE_MAX_DELTA 1e-5

/* Read path over the defaults.  Keys: cohort_min noise_min dimension_max
 * noise_to_signal_max need_unmetered need_charging battery_min temperature_max
 * delta epsilon_task epsilon_window epsilon_lifetime spacing (s, m, h, d)
 * participations.
 *
 * Returns HEARTH_OK
 *         HEARTH_EINVAL    a NULL pointer
 *         HEARTH_EFORMAT   unknown key or section, a value that does not parse
 *                          or is out of range; err names file and line
 *         HEARTH_EREFUSED  a key that may only be tightened was loosened
 *         HEARTH_ENOTFOUND, HEARTH_EIO, HEARTH_ENOMEM
 * On failure *out holds the defaults. */
HEARTH_MUST_CHECK
hearth_status hearth_policy_file_read(hearth_policy *out, const char *path,
                                      hearth_error *err);

/* The policy of a state directory: DIR/policy.ini, or the defaults where there is
 * no such file.  Returns as hearth_policy_file_read, and HEARTH_ETOOBIG. */
HEARTH_MUST_CHECK
hearth_status hearth_policy_file_of_state(hearth_policy *out, const char *dir,
                                          hearth_error *err);

/* The same as hearth_policy_file_read from memory, for tests and fuzzing.  name is what errors call it. */
HEARTH_MUST_CHECK
hearth_status hearth_policy_file_parse(hearth_policy *out, const char *text,
                                       size_t n, const char *name,
                                       hearth_error *err);

/* Line k (0, 1, ...) of what p loosens against the defaults, e.g.
 * "cohort_min 16 instead of 32".  False when there is no line k. */
bool hearth_policy_file_loosened(const hearth_policy *p, size_t k, char *text,
                                 size_t n);

#endif /* HEARTH_CLIENT_DEVICE_POLICY_FILE_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/fake_sysfs.h - a /sys of a phone: its battery and a sensor.
 *
 *     char root[64];
 *     fake_sysfs_open(root);            // charging, 80 percent
 *     fake_sysfs_heat(root, 36.5);
 *     fake_sysfs_plug(root, false);
 *     assert_ok(hearth_file_remove_tree(root, NULL));
 */
#ifndef HEARTH_TESTS_FAKE_SYSFS_H
#define HEARTH_TESTS_FAKE_SYSFS_H

#include <stdio.h>
#include <string.h>

#include "common/file.h"
#include "tests/support/cmocka_all.h"

/* One file below root/class. */
static inline void fake_sysfs_put(const char *root, const char *name,
                                  const char *text) {
    char path[160];
    (void)snprintf(path, sizeof(path), "%s/class/%s", root, name);
    assert_ok(hearth_file_write(path, text, strlen(text), 0644, NULL));
}

static inline void fake_sysfs_heat(const char *root, double celsius) {
    char text[32];
    (void)snprintf(text, sizeof(text), "%.0f\n", celsius * 1000);
    fake_sysfs_put(root, "thermal/thermal_zone0/temp", text);
}

static inline void fake_sysfs_plug(const char *root, bool in) {
    fake_sysfs_put(root, "power_supply/BAT0/status",
                   in ? "Charging\n" : "Discharging\n");
}

/* Make it in a fresh folder: on the charger, 80 percent, 25 degrees. */
static inline void fake_sysfs_open(char root[64]) {
    static const char *const folder[] = {"power_supply/BAT0",
                                         "thermal/thermal_zone0"};
    assert_non_null(hearth_test_dir(root));
    for (size_t i = 0; i < sizeof(folder) / sizeof(*folder); i++) {
        char path[160];
        (void)snprintf(path, sizeof(path), "%s/class/%s", root, folder[i]);
        assert_ok(hearth_file_mkdirs(path, NULL));
    }
    fake_sysfs_put(root, "power_supply/BAT0/type", "Battery\n");
    fake_sysfs_put(root, "power_supply/BAT0/capacity", "80\n");
    fake_sysfs_heat(root, 25);
    fake_sysfs_plug(root, true);
}

#endif /* HEARTH_TESTS_FAKE_SYSFS_H */

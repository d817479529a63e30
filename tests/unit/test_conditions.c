/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_conditions.c - client/device/conditions.h over fake sysfs
 * trees. */
#include "tests/support/cmocka_all.h"

#include <sys/stat.h>
#include <unistd.h>

#include "client/device/conditions.h"
#include "tests/support/fail_alloc.h"

static char root[64];
static char made[64][256]; /* files, to be removed again */
static size_t n_made;

/* root/path, with its folders, holds text. */
static void put(const char *path, const char *text) {
    char full[256];
    int n = snprintf(full, sizeof(full), "%s/%s", root, path);
    assert_true(n > 0 && (size_t)n < sizeof(full));
    for (char *p = full + strlen(root) + 1; *p; p++)
        if (*p == '/') {
            *p = 0;
            (void)mkdir(full, 0700);
            *p = '/';
        }
    FILE *f = fopen(full, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_true(n_made < 64);
    memcpy(made[n_made++], full, sizeof(full));
}

static int setup(void **state) {
    (void)state;
    return hearth_test_dir(root) ? 0 : -1;
}

/* Remove the files, then every folder above them that is empty. */
static int teardown(void **state) {
    (void)state;
    for (size_t i = 0; i < n_made; i++) (void)remove(made[i]);
    for (size_t i = 0; i < n_made; i++)
        for (char *p; (p = strrchr(made[i], '/')) > made[i] + strlen(root);) {
            *p = 0;
            (void)rmdir(made[i]);
        }
    n_made = 0;
    return rmdir(root);
}

static hearth_status look(hearth_conditions *c) {
    hearth_conditions_source src;
    hearth_error err;
    assert_ok(hearth_conditions_linux(&src, root, NULL));
    hearth_status st = src.read(src.ud, c, &err);
    hearth_conditions_linux_free(&src);
    return st;
}

static void empty_tree_is_a_mains_machine(void **state) {
    (void)state;
    hearth_conditions c;
    assert_ok(look(&c));
    assert_true(!c.has_battery && c.charging && c.battery_percent == 100);
    assert_true(!c.metered && !c.has_temperature);
}

static void phone_on_battery(void **state) {
    (void)state;
    hearth_conditions c;
    put("class/power_supply/battery/type", "Battery\n");
    put("class/power_supply/battery/capacity", "63\n");
    put("class/power_supply/battery/status", "Discharging\n");
    put("class/power_supply/usb/type", "USB\n");
    put("class/power_supply/usb/online", "0\n");
    put("class/power_supply/pen/type", "Battery\n");
    put("class/power_supply/pen/scope", "Device\n");
    put("class/power_supply/pen/capacity", "1\n");
    put("class/thermal/thermal_zone0/temp", "31500\n");
    put("class/thermal/thermal_zone1/temp", "38000\n");
    put("class/thermal/cooling_device0/temp", "99000\n");
    put("class/net/lo/operstate", "unknown\n");
    put("class/net/wlan0/operstate", "up\n");
    put("class/net/wwan0/operstate", "down\n");
    assert_ok(look(&c));
    assert_true(c.has_battery && c.battery_percent == 63 && !c.charging);
    assert_true(c.has_temperature && c.temperature_c == 38);
    assert_false(c.metered);
    put("class/power_supply/usb/online", "1\n");
    assert_ok(look(&c));
    assert_true(c.charging);
    put("class/power_supply/usb/online", "0\n");
    put("class/power_supply/battery/status", "Full\n");
    assert_ok(look(&c));
    assert_true(c.charging);
    put("class/net/wwan0/operstate", "up\n");
    assert_ok(look(&c));
    assert_true(c.metered);
}

static void modem_by_its_uevent_is_metered(void **state) {
    (void)state;
    hearth_conditions c;
    put("class/net/enx1/operstate", "up\n");
    put("class/net/enx1/uevent", "INTERFACE=enx1\nDEVTYPE=wwan\n");
    assert_ok(look(&c));
    assert_true(c.metered);
}

static void two_batteries_count_as_the_emptier(void **state) {
    (void)state;
    hearth_conditions c;
    put("class/power_supply/BAT0/type", "Battery\n");
    put("class/power_supply/BAT0/capacity", "90\n");
    put("class/power_supply/BAT1/type", "Battery\n");
    put("class/power_supply/BAT1/capacity", "20\n");
    assert_ok(look(&c));
    assert_true(c.battery_percent == 20 && !c.charging);
}

/* What is there but cannot be understood refuses. */
static void nonsense_is_the_worst_case(void **state) {
    (void)state;
    hearth_conditions c;
    const char *const bad[] = {"", "x", "101", "-1", "1234567890", "5 5"};
    put("class/power_supply/b/type", "Battery\n");
    assert_int_equal(look(&c), HEARTH_EFORMAT); /* no capacity at all */
    for (size_t i = 0; i < 6; i++) {
        put("class/power_supply/b/capacity", bad[i]);
        assert_int_equal(look(&c), HEARTH_EFORMAT);
        assert_true(c.has_battery && c.battery_percent == 0 && !c.charging);
        assert_true(c.metered && c.temperature_c > 900);
    }
    put("class/power_supply/b/capacity", "80");
    assert_ok(look(&c));
    put("class/thermal/thermal_zone0/temp", "warm");
    assert_int_equal(look(&c), HEARTH_EFORMAT);
}

static void sources_are_opened_and_freed(void **state) {
    (void)state;
    hearth_conditions_source src = {0};
    hearth_conditions c = {.battery_percent = 12}, got;
    hearth_fail_alloc fa;
    hearth_alloc al = hearth_fail_alloc_init(&fa, 1);
    char longer[400];
    memset(longer, 'x', sizeof(longer));
    longer[sizeof(longer) - 1] = 0;
    hearth_conditions_linux_free(&src);
    hearth_conditions_linux_free(NULL);
    assert_int_equal(hearth_conditions_linux(NULL, root, NULL), -1);
    assert_int_equal(hearth_conditions_linux(&src, NULL, NULL), -1);
    assert_int_equal(hearth_conditions_linux(&src, longer, NULL), -1);
    assert_int_equal(hearth_conditions_linux(&src, "/no/such/tree", NULL),
                     HEARTH_ENOTFOUND);
    assert_int_equal(hearth_conditions_linux(&src, root, &al), HEARTH_ENOMEM);
    src = hearth_conditions_fixed(&c);
    assert_ok(src.read(src.ud, &got, NULL));
    assert_true(got.battery_percent == 12);
    c.battery_percent = 13;
    assert_ok(src.read(src.ud, &got, NULL));
    assert_true(got.battery_percent == 13);
    hearth_conditions_linux_free(&src); /* not its own: untouched */
    assert_non_null(src.read);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(empty_tree_is_a_mains_machine),
        T(phone_on_battery),
        T(modem_by_its_uevent_is_metered),
        T(two_batteries_count_as_the_emptier),
        T(nonsense_is_the_worst_case),
        T(sources_are_opened_and_freed),
    };
#undef T
    return cmocka_run_group_tests_name("client/device/conditions", tests, NULL,
                                       NULL);
}

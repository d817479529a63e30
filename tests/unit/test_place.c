/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_place.c - coordinator/place.h, and what a revoked device may
 * still do: nothing. */
#include "tests/support/coord_kit.h"

#include "coordinator/place.h"

static const int32_t V[KIT_D] = {1, -1, 2, -2, 3, -3, 4, -4};
static const char *revoked = "";

static bool allowed(void *ud, const char *device) {
    (void)ud;
    return strcmp(device, revoked) != 0;
}

static void open_kit(kit *k, hearth_coord_store **s) {
    char path[256];
    hearth_coord_config cfg;
    memset(&cfg, 0, sizeof(cfg));
    cfg.hook.allowed = allowed;
    revoked = "";
    kit_open(k, &cfg);
    kit_task(k, "demo", "2,4", "0s,10m", 2);
    assert_ok(hearth_coord_db_path(path, sizeof(path), k->state));
    assert_ok(
        hearth_coord_store_open(s, path, HEARTH_STORE_DURABLE, NULL, NULL));
}

static void place_names_three_different_things(void **state) {
    (void)state;
    const hearth_secret key = {{7}};
    char longest[HEARTH_PROTO_DEVICE_CAP + 32];
    uint8_t tag[32], spacing[32];
    hearth_secret token, again;
    assert_ok(hearth_place_tag(tag, &key, "d"));
    assert_ok(hearth_place_token(&token, &key, "d"));
    assert_ok(hearth_place_spacing(spacing, &key, "d"));
    assert_memory_not_equal(tag, token.bytes, 32);
    assert_memory_not_equal(tag, spacing, 32);
    assert_memory_not_equal(token.bytes, spacing, 32);
    assert_ok(hearth_place_token(&again, &key, "d"));
    assert_true(hearth_secret_equal(&again, &token));
    memset(longest, 'a', sizeof(longest));
    longest[sizeof(longest) - 1] = '\0';
    assert_int_equal(hearth_place_tag(tag, &key, longest), HEARTH_EINVAL);
}

static void revoked_device_loses_its_place(void **state) {
    (void)state;
    kit k;
    hearth_coord_store *s;
    hearth_offer a, b, c;
    kit_reply r = {0};
    uint8_t bytes[4 * KIT_D];
    unsigned n = 9;
    open_kit(&k, &s);
    kit_bytes(bytes, V);
    assert_true(kit_offer(&k, "a", &a));
    assert_true(kit_offer(&k, "b", &b));
    assert_true(kit_offer(&k, "c", &c));
    assert_int_equal(kit_begin(&k, &a, bytes, sizeof(bytes), &r), 200);
    assert_int_equal(kit_upload(&k, &b, V), 200);

    assert_ok(hearth_place_revoke(s, "a", &n, NULL)); /* it had begun */
    assert_int_equal(n, 1);
    assert_int_equal(kit_append(&k, &a, 0, bytes, sizeof(bytes), &r), 410);
    assert_int_equal(kit_reason(&r), HEARTH_REASON_ABORTED);
    assert_int_equal(kit_commit(&k, &a, bytes, sizeof(bytes), &r), 410);
    assert_ok(hearth_place_revoke(s, "c", &n, NULL)); /* only invited */
    assert_int_equal(n, 1);
    assert_int_equal(kit_begin(&k, &c, bytes, sizeof(bytes), &r), 410);
    assert_ok(hearth_place_revoke(s, "b", &n, NULL)); /* acknowledged: stays */
    assert_int_equal(n, 0);
    assert_ok(hearth_place_revoke(s, "nobody", &n, NULL));
    assert_int_equal(n, 0);

    assert_int_equal(kit_take_part(&k, "d", V), 200);
    hearth_coord_task_status ts;
    assert_ok(hearth_coord_task_get_status(k.c, "demo", &ts));
    assert_int_equal(ts.rounds_released, 1);
    kit_reply_free(&r);
    hearth_coord_store_close(s);
    kit_close(&k);
}

static void revoked_device_reads_no_release(void **state) {
    (void)state;
    kit k;
    hearth_coord_store *s;
    hearth_checkin_reply rp;
    kit_reply r = {0};
    open_kit(&k, &s);
    static const char *const path[] = {"/v1/releases/demo/1/manifest",
                                       "/v1/releases/demo/1/payload"};
    for (size_t i = 0; i < 2; i++) {
        revoked = "";
        kit_request(&k, "GET", path[i], NULL, "a", &r);
        assert_int_equal(r.status, 200);
        revoked = "a";
        kit_request(&k, "GET", path[i], NULL, "a", &r);
        assert_int_equal(r.status, 401);
        kit_request(&k, "GET", path[i], NULL, NULL, &r);
        assert_int_equal(r.status, 401);
    }
    assert_int_equal(kit_checkin(&k, "a", &rp), 401);
    kit_reply_free(&r);
    hearth_coord_store_close(s);
    kit_close(&k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(place_names_three_different_things),
        cmocka_unit_test(revoked_device_loses_its_place),
        cmocka_unit_test(revoked_device_reads_no_release),
    };
    return cmocka_run_group_tests_name("coordinator/place", tests, NULL, NULL);
}

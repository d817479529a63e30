/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_client_api.c - the installed C API: client/include/hearth.
 * A fake coordinator stands in the place of the network. */
#include "tests/support/client_kit.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>

#include "common/bytes.h"
#include "common/file.h"
#include "hearth/hearth.h"
#include "tests/support/fail_alloc.h"

#define NOTE "{\"prompt\":\"day\",\"completion\":\"I slept well\"}"

static int gather(void *ud, const char *text, size_t n) {
    return hearth_buf_append(ud, text, n) == HEARTH_OK ? 0 : 1;
}

static int refuse_text(void *ud, const char *text, size_t n) {
    (void)ud;
    (void)text;
    (void)n;
    return 1;
}

static void client_joins_syncs_and_chats(void **state) {
    (void)state;
    world w;
    hearth_client_tick t = HEARTH_CLIENT_TICK_INIT;
    hearth_client_info info = HEARTH_CLIENT_INFO_INIT;
    hearth_chat *chat = NULL;
    hearth_buf said = HEARTH_BUF_INIT(NULL);
    uint64_t n = 0;
    open_world(&w);
    assert_int_equal(hearth_client_sync(w.c, &t, &w.err), HEARTH_ESTATE);
    assert_ok(join(&w));
    assert_ok(join(&w)); /* harmless */
    assert_int_equal(w.f.n[FAKE_ENROLL], 1);
    add_notes(&w, 40);
    assert_ok(hearth_records_count(w.c, &n, &w.err));
    assert_int_equal(n, 40);
    say_good_conditions(&w);
    assert_true(until(&w, HEARTH_TICK_TRAIN, &t));
    /* The process dies; the app comes back and goes on. */
    hearth_client_close(w.c);
    open_client(&w);
    say_good_conditions(&w);
    assert_true(until(&w, HEARTH_TICK_PREPARED, &t));
    hearth_client_close(w.c);
    open_client(&w);
    assert_ok(hearth_client_status(w.c, &info, &w.err));
    assert_int_equal(info.phase, 2);
    say_good_conditions(&w);
    assert_true(until(&w, HEARTH_TICK_COMMITTED, &t));
    assert_int_equal(w.f.n_altered, 0);
    assert_string_equal(t.task, FAKE_TASK);
    fake_coord_publish(&w.f, 2, 0.01f);
    w.f.give_offer = false;
    hearth_virtual_clock_advance(&w.f.time, t.wait_ms);
    assert_true(until(&w, HEARTH_TICK_INSTALLED, &t));
    assert_ok(hearth_client_status(w.c, &info, &w.err));
    assert_int_equal(info.joined, 1);
    assert_int_equal(info.sequence, 2);
    assert_int_equal(info.participations, 1);
    assert_int_equal(info.phase, 0);
    assert_true(info.epsilon_lifetime > 0 && info.epsilon_lifetime < 10);
    assert_string_equal(info.server, FAKE_SERVER);
    assert_ok(hearth_chat_open(&chat, w.c, NULL, &w.err));
    assert_ok(hearth_chat_say(chat, "day 3", gather, &said, &w.err));
    assert_true(hearth_utf8_valid(hearth_buf_str(&said), said.n));
    assert_int_equal(hearth_chat_say(chat, "day 3", refuse_text, NULL, &w.err),
                     said.n ? HEARTH_ECANCELLED : HEARTH_OK);
    assert_int_equal(hearth_chat_say(chat, "", gather, &said, &w.err),
                     HEARTH_EINVAL);
    hearth_chat_close(chat);
    hearth_buf_free(&said);
    close_world(&w);
}

static void client_checks_every_argument(void **state) {
    (void)state;
    world w;
    hearth_client *none = NULL;
    hearth_client_config cfg = HEARTH_CLIENT_CONFIG_INIT;
    hearth_client_join_config j = HEARTH_CLIENT_JOIN_CONFIG_INIT;
    hearth_client_tick t = HEARTH_CLIENT_TICK_INIT;
    hearth_client_info info = HEARTH_CLIENT_INFO_INIT;
    hearth_chat *chat = NULL;
    hearth_chat_config cc = HEARTH_CHAT_CONFIG_INIT;
    open_world(&w);
    assert_int_equal(hearth_client_open(NULL, &cfg, &w.err), HEARTH_EINVAL);
    assert_int_equal(hearth_client_open(&none, NULL, &w.err), HEARTH_EINVAL);
    assert_int_equal(hearth_client_open(&none, &cfg, &w.err), HEARTH_EINVAL);
    cfg.state_dir = "/x";
    cfg.struct_size = 4;
    assert_int_equal(hearth_client_open(&none, &cfg, &w.err), HEARTH_EINVAL);
    assert_null(none);
    cfg = (hearth_client_config)HEARTH_CLIENT_CONFIG_INIT;
    cfg.state_dir = "/dev/null/x";
    assert_int_not_equal(hearth_client_open(&none, &cfg, &w.err), HEARTH_OK);
    assert_true(w.err.text[0] != '\0');
    hearth_client_close(NULL);
    hearth_client_stop(NULL);
    assert_int_equal(hearth_version(), 100);

    assert_int_equal(hearth_client_join(NULL, &j, &w.err), HEARTH_EINVAL);
    assert_int_equal(hearth_client_join(w.c, NULL, &w.err), HEARTH_EINVAL);
    assert_int_equal(hearth_client_join(w.c, &j, &w.err), HEARTH_EINVAL);
    j.base = "/nowhere";
    assert_int_equal(hearth_client_join(w.c, &j, &w.err), HEARTH_ENOTFOUND);
    assert_int_equal(w.f.n[FAKE_KEYSET], 0); /* found before anyone is asked */
    assert_int_equal(hearth_client_set_base(w.c, NULL, &w.err), HEARTH_EINVAL);
    assert_int_equal(hearth_client_set_base(w.c, "/nowhere", &w.err),
                     HEARTH_ENOTFOUND);

    assert_int_equal(hearth_client_sync(NULL, &t, &w.err), HEARTH_EINVAL);
    assert_int_equal(hearth_client_sync(w.c, NULL, &w.err), HEARTH_EINVAL);
    t.struct_size = 1;
    assert_int_equal(hearth_client_sync(w.c, &t, &w.err), HEARTH_EINVAL);
    info.struct_size = 0;
    assert_int_equal(hearth_client_status(w.c, &info, &w.err), HEARTH_EINVAL);
    assert_int_equal(hearth_client_status(w.c, NULL, &w.err), HEARTH_EINVAL);
    assert_int_equal(hearth_client_status(NULL, &info, &w.err), HEARTH_EINVAL);

    assert_int_equal(hearth_chat_open(NULL, w.c, NULL, &w.err), HEARTH_EINVAL);
    assert_int_equal(hearth_chat_open(&chat, NULL, NULL, &w.err),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_chat_open(&chat, w.c, NULL, &w.err),
                     HEARTH_ESTATE); /* no base */
    cc.top_p = 1.5f;
    assert_int_equal(hearth_chat_open(&chat, w.c, &cc, &w.err), HEARTH_EINVAL);
    cc.top_p = 1.0f;
    cc.stop = "zzz";
    assert_ok(hearth_client_set_base(w.c, w.f.dir, &w.err));
    assert_ok(hearth_chat_open(&chat, w.c, &cc, &w.err));
    /* The model does not go away under an open chat. */
    assert_int_equal(hearth_client_set_base(w.c, w.f.dir, &w.err),
                     HEARTH_ESTATE);
    assert_int_equal(join(&w), HEARTH_ESTATE);
    assert_int_equal(w.f.n[FAKE_KEYSET], 0);
    assert_ok(hearth_chat_say(chat, "day 3", NULL, NULL, &w.err));
    hearth_chat_close(chat);
    hearth_chat_close(NULL);
    assert_ok(hearth_client_set_base(w.c, w.f.dir, &w.err));
    close_world(&w);
}

static bool is_default(const hearth_policy *p) {
    hearth_policy d;
    hearth_policy_defaults(&d);
    const hearth_ledger_rules *a = &p->ledger, *b = &d.ledger;
    return p->cohort_min == d.cohort_min && p->noise_min == d.noise_min &&
           p->dimension_max == d.dimension_max &&
           p->noise_to_signal_max == d.noise_to_signal_max &&
           p->need_unmetered == d.need_unmetered &&
           p->need_charging == d.need_charging &&
           p->battery_min == d.battery_min &&
           p->temperature_max == d.temperature_max && a->delta == b->delta &&
           a->epsilon_task == b->epsilon_task &&
           a->epsilon_window == b->epsilon_window &&
           a->epsilon_lifetime == b->epsilon_lifetime &&
           a->spacing_ms == b->spacing_ms &&
           a->n_participations == b->n_participations;
}

static void client_refuses_a_loosened_floor(void **state) {
    (void)state;
    world w;
    hearth_client_policy p = HEARTH_CLIENT_POLICY_INIT;
    open_world(&w);
    assert_ok(hearth_client_set_policy(w.c, &p, &w.err));
    assert_true(is_default(&w.c->policy));
    const struct {
        double noise, task, month, life;
    } loose[] = {{1.0, 0, 0, 0}, {0, 11, 0, 0}, {0, 0, 11, 0}, {0, 0, 0, 31}};
    for (size_t i = 0; i < 4; i++) {
        p = (hearth_client_policy)HEARTH_CLIENT_POLICY_INIT;
        p.noise_min = loose[i].noise;
        p.epsilon_task = loose[i].task;
        p.epsilon_30_days = loose[i].month;
        p.epsilon_lifetime = loose[i].life;
        assert_int_equal(hearth_client_set_policy(w.c, &p, &w.err),
                         HEARTH_EREFUSED);
        assert_true(is_default(&w.c->policy));
    }
    p = (hearth_client_policy)HEARTH_CLIENT_POLICY_INIT;
    p.delta = 1e-4;
    assert_int_equal(hearth_client_set_policy(w.c, &p, &w.err), HEARTH_EINVAL);
    p.delta = (double)NAN;
    assert_int_equal(hearth_client_set_policy(w.c, &p, &w.err), HEARTH_EINVAL);
    p = (hearth_client_policy)HEARTH_CLIENT_POLICY_INIT;
    p.battery_min = 101;
    assert_int_equal(hearth_client_set_policy(w.c, &p, &w.err), HEARTH_EINVAL);
    p.battery_min = 90;
    p.noise_min = 2;
    p.cohort_min = 4;
    p.spacing_ms = 0;
    p.need_charging = 0;
    p.temperature_max = 30;
    p.participations = 3;
    p.epsilon_task = 5;
    assert_ok(hearth_client_set_policy(w.c, &p, &w.err));
    assert_int_equal(w.c->policy.cohort_min, 4);
    assert_int_equal(w.c->policy.ledger.spacing_ms, 0);
    assert_int_equal(w.c->policy.ledger.n_participations, 3);
    assert_false(w.c->policy.need_charging);
    assert_true(w.c->policy.need_unmetered);
    assert_ok(join(&w));
    hearth_client_tick t = HEARTH_CLIENT_TICK_INIT;
    assert_ok(hearth_client_sync(w.c, &t, &w.err));
    assert_int_equal(hearth_client_set_policy(w.c, &p, &w.err), HEARTH_ESTATE);
    close_world(&w);
}

static void client_takes_unknown_conditions_as_bad(void **state) {
    (void)state;
    world w;
    hearth_client_tick t = HEARTH_CLIENT_TICK_INIT;
    hearth_client_conditions now = HEARTH_CLIENT_CONDITIONS_INIT;
    open_world(&w);
    assert_ok(join(&w));
    add_notes(&w, 40);
    assert_int_equal(hearth_client_set_conditions(w.c, NULL, &w.err),
                     HEARTH_EINVAL);
    now.battery_percent = 101;
    assert_int_equal(hearth_client_set_conditions(w.c, &now, &w.err),
                     HEARTH_EINVAL);
    now.battery_percent = -1;
    assert_ok(hearth_client_set_conditions(w.c, &now, &w.err));
    assert_true(until(&w, HEARTH_TICK_REFUSED, &t));
    assert_non_null(strstr(t.reason, "network"));
    say_good_conditions(&w);
    assert_true(until(&w, HEARTH_TICK_COMMITTED, &t));
    close_world(&w);
}

static void client_lets_one_process_take_part(void **state) {
    (void)state;
    world w, other;
    hearth_client_tick t = HEARTH_CLIENT_TICK_INIT;
    open_world(&w);
    assert_ok(join(&w));
    assert_ok(hearth_client_sync(w.c, &t, &w.err));
    memcpy(other.dir, w.dir, sizeof(w.dir));
    other.f = w.f;
    hearth_client_config cfg = HEARTH_CLIENT_CONFIG_INIT;
    cfg.state_dir = w.dir;
    cfg.threads = 1;
    assert_ok(hearth_client_open(&other.c, &cfg, &w.err));
    other.c->dialer = fake_coord_dialer(&w.f);
    assert_int_equal(hearth_client_sync(other.c, &t, &w.err), HEARTH_EBUSY);
    assert_ok(hearth_records_add(other.c, NOTE, sizeof(NOTE) - 1, NULL, NULL,
                                 &w.err)); /* but it may do the rest */
    hearth_client_close(w.c);
    w.c = other.c;
    w.c->clock = w.f.clock;
    assert_ok(hearth_client_sync(w.c, &t, &w.err));
    close_world(&w);
}

static int app_counter(void *ud, uint64_t at_least, uint64_t *value) {
    uint64_t *kept = ud;
    if (*kept < at_least) *kept = at_least;
    *value = *kept;
    return 0;
}

static int broken_counter(void *ud, uint64_t at_least, uint64_t *value) {
    (void)ud;
    *value = at_least; /* must not be believed */
    return -1;
}

static void reopen_with(world *w, hearth_client_config *cfg) {
    hearth_client_close(w->c);
    assert_ok(hearth_client_open(&w->c, cfg, &w->err));
    w->c->dialer = fake_coord_dialer(&w->f);
    w->c->clock = w->f.clock;
    say_good_conditions(w);
}

/* Copy client.db of the closed client to or from `name` beside it. */
static void copy_state(world *w, hearth_client_config *cfg, const char *name,
                       bool back) {
    char file[128], copy[128], more[160];
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    hearth_client_close(w->c);
    w->c = NULL;
    snprintf(file, sizeof(file), "%s/client.db", w->dir);
    snprintf(copy, sizeof(copy), "%s/%s.copy", w->dir, name);
    const char *const suffix[] = {"-wal", "-shm"};
    for (int i = 0; back && i < 2; i++) {
        snprintf(more, sizeof(more), "%s%s", file, suffix[i]);
        (void)remove(more);
    }
    assert_ok(hearth_file_read(&b, back ? copy : file, 64 << 20, &w->err));
    assert_ok(hearth_file_write(back ? file : copy, b.v, b.n, 0600, &w->err));
    hearth_buf_free(&b);
    reopen_with(w, cfg);
}

/* An app with a counter takes part; an older copy of its folder is put back,
 * and refused before anything is sent, with what to do.  A counter that cannot
 * be reached stops the device as well. */
static void client_refuses_a_restored_ledger(void **state) {
    (void)state;
    world w;
    uint64_t kept = 0;
    hearth_client_tick t = HEARTH_CLIENT_TICK_INIT;
    hearth_client_config cfg = HEARTH_CLIENT_CONFIG_INIT;
    open_world(&w);
    assert_ok(join(&w));
    add_notes(&w, 40);
    cfg.state_dir = w.dir;
    cfg.threads = 1;
    cfg.counter = app_counter;
    cfg.counter_ud = &kept;
    copy_state(&w, &cfg, "old", false);
    assert_true(until(&w, HEARTH_TICK_COMMITTED, &t));
    assert_int_equal(kept, 1);
    copy_state(&w, &cfg, "newest", false);
    copy_state(&w, &cfg, "old", true);
    uint32_t checkins = w.f.n[FAKE_CHECKIN], begins = w.f.n[FAKE_BEGIN];
    assert_int_equal(hearth_client_sync(w.c, &t, &w.err), HEARTH_EDIGEST);
    assert_non_null(strstr(w.err.text, "older copy was restored"));
    assert_non_null(strstr(w.err.text, "put the newest copy"));
    cfg.counter = broken_counter;
    reopen_with(&w, &cfg);
    assert_int_equal(hearth_client_sync(w.c, &t, &w.err), HEARTH_EBUSY);
    assert_int_equal(w.f.n[FAKE_CHECKIN], checkins);
    assert_int_equal(w.f.n[FAKE_BEGIN], begins);
    cfg.counter = app_counter;
    copy_state(&w, &cfg, "newest", true); /* the way on */
    assert_ok(hearth_client_sync(w.c, &t, &w.err));
    close_world(&w);
}

/* An empty folder is an older copy as well, until its counter begins anew. */
static void client_begins_anew_with_a_new_counter(void **state) {
    (void)state;
    world w;
    uint64_t kept = 1;
    hearth_client_tick t = HEARTH_CLIENT_TICK_INIT;
    hearth_client_config cfg = HEARTH_CLIENT_CONFIG_INIT;
    open_world(&w);
    assert_ok(join(&w));
    cfg.state_dir = w.dir;
    cfg.threads = 1;
    cfg.counter = app_counter;
    cfg.counter_ud = &kept;
    reopen_with(&w, &cfg);
    assert_int_equal(hearth_client_sync(w.c, &t, &w.err), HEARTH_EDIGEST);
    kept = 0;
    assert_ok(hearth_client_sync(w.c, &t, &w.err));
    close_world(&w);
}

/* Forgetting erases what was prepared also in an older copy; its charge goes
 * only when the app's counter knows that no byte has left, and a program that
 * does not have the counter does nothing but erase. */
static void client_forgets_and_asks_its_counter(void **state) {
    (void)state;
    for (int copied = 0; copied < 2; copied++) {
        world w;
        uint64_t kept = 0;
        hearth_client_tick t = HEARTH_CLIENT_TICK_INIT;
        hearth_client_info info = HEARTH_CLIENT_INFO_INIT;
        hearth_client_config cfg = HEARTH_CLIENT_CONFIG_INIT;
        open_world(&w);
        assert_ok(join(&w));
        add_notes(&w, 40);
        cfg.state_dir = w.dir;
        cfg.threads = 1;
        cfg.counter = app_counter;
        cfg.counter_ud = &kept;
        reopen_with(&w, &cfg);
        assert_true(until(&w, HEARTH_TICK_PREPARED, &t));
        assert_int_equal(kept, 0);
        if (copied) {
            copy_state(&w, &cfg, "old", false);
            assert_true(until(&w, HEARTH_TICK_COMMITTED, &t));
            assert_int_equal(kept, 1);
            copy_state(&w, &cfg, "old", true);
        }
        assert_ok(hearth_records_forget(w.c, NULL, &w.err));
        assert_ok(hearth_client_status(w.c, &info, &w.err));
        assert_int_equal(info.records, 0);
        assert_int_equal(info.participations, copied);
        uint32_t checkins = w.f.n[FAKE_CHECKIN];
        cfg.counter = NULL;
        reopen_with(&w, &cfg);
        assert_int_equal(hearth_client_sync(w.c, &t, &w.err), HEARTH_ESTATE);
        assert_non_null(strstr(w.err.text, "a counter of its own"));
        assert_int_equal(w.f.n[FAKE_CHECKIN], checkins);
        close_world(&w);
    }
}

static void client_renews_and_takes_new_keysets(void **state) {
    (void)state;
    world w;
    hearth_client_tick t = HEARTH_CLIENT_TICK_INIT;
    open_world(&w);
    w.f.give_offer = false;
    assert_ok(join(&w));
    assert_true(until(&w, HEARTH_TICK_INSTALLED, &t));
    hearth_virtual_clock_advance(&w.f.time, (int64_t)61 * 86400000);
    w.f.drop[FAKE_RENEW] = 1;
    assert_true(until(&w, HEARTH_TICK_RETRY, &t));
    assert_true(until(&w, HEARTH_TICK_CHECKIN, &t)); /* meanwhile the old */
    assert_int_equal(w.f.n[FAKE_RENEW], 1);
    hearth_virtual_clock_advance(&w.f.time, 3600000);
    assert_true(until(&w, HEARTH_TICK_CHECKIN, &t));
    assert_int_equal(w.f.n[FAKE_RENEW], 2);
    hearth_virtual_clock_advance(&w.f.time, 3600000);
    assert_true(until(&w, HEARTH_TICK_CHECKIN, &t));
    assert_int_equal(w.f.n[FAKE_RENEW], 2); /* fresh again */
    /* The coordinator's TLS key changes: the pins do not match, the root-signed
     * keyset brings the new one. */
    w.f.keyset.version++;
    assert_ok(
        hearth_sign_pin(hearth_sign_public(w.f.root), w.f.keyset.pins[0]));
    fake_coord_seal_keyset(&w.f);
    w.f.fail[FAKE_CHECKIN] = 1;
    w.f.fail_status = HEARTH_ESIGNATURE;
    hearth_virtual_clock_advance(&w.f.time, 86400000);
    assert_true(until(&w, HEARTH_TICK_RETRY, &t));
    uint32_t asked = w.f.n[FAKE_KEYSET];
    assert_true(until(&w, HEARTH_TICK_CHECKIN, &t));
    assert_int_equal(w.f.n[FAKE_KEYSET], asked + 1);
    assert_true(until(&w, HEARTH_TICK_WAIT, &t));
    /* Its release key changes: a release that no key of ours signed sends us
     * for the keyset, then it is installed. */
    hearth_sign_keypair *old = w.f.release_key;
    w.f.release_key = NULL;
    assert_ok(hearth_sign_generate(&w.f.release_key, w.f.rng, NULL, NULL));
    hearth_sign_free(old);
    w.f.keyset.version++;
    memcpy(w.f.keyset.release_keys[0], hearth_sign_public(w.f.release_key),
           HEARTH_SIGN_PUBLIC_BYTES);
    fake_coord_seal_keyset(&w.f);
    fake_coord_publish(&w.f, 2, 0.01f);
    hearth_virtual_clock_advance(&w.f.time, 86400000);
    assert_true(until(&w, HEARTH_TICK_REFUSED, &t));
    assert_true(until(&w, HEARTH_TICK_INSTALLED, &t));
    assert_int_equal(t.sequence, 2);
    assert_int_equal(w.f.n[FAKE_KEYSET], asked + 2);
    /* Offline until the certificate ended: said, with what to do. */
    w.f.time.wall_ms += (int64_t)100 * 86400000;
    assert_true(until(&w, HEARTH_TICK_RETRY, &t));
    assert_non_null(strstr(t.reason, "hearth init"));
    close_world(&w);
}

static void records_are_added_and_forgotten(void **state) {
    (void)state;
    world w;
    char id[HEARTH_RECORDS_ID_CHARS];
    hearth_records_options opt = HEARTH_RECORDS_OPTIONS_INIT;
    uint64_t n = 9;
    open_world(&w);
    assert_ok(
        hearth_records_add(w.c, NOTE, sizeof(NOTE) - 1, NULL, id, &w.err));
    assert_ok(hearth_records_add(w.c, NOTE, sizeof(NOTE) - 1, NULL, NULL,
                                 &w.err)); /* again: HEARTH_OK */
    assert_ok(hearth_records_count(w.c, &n, &w.err));
    assert_int_equal(n, 1);
    assert_int_equal(hearth_records_add(w.c, "{}", 2, NULL, NULL, &w.err),
                     HEARTH_EFORMAT);
    opt.form = "poem";
    assert_int_equal(
        hearth_records_add(w.c, NOTE, sizeof(NOTE) - 1, &opt, NULL, &w.err),
        HEARTH_EINVAL);
    opt.struct_size = 3;
    assert_int_equal(
        hearth_records_add(w.c, NOTE, sizeof(NOTE) - 1, &opt, NULL, &w.err),
        HEARTH_EINVAL);
    assert_ok(hearth_records_consent(w.c, id, HEARTH_RECORDS_FEDERATED, true,
                                     &w.err));
    assert_ok(hearth_records_consent(w.c, NULL, HEARTH_RECORDS_FEDERATED, false,
                                     &w.err));
    assert_int_equal(hearth_records_forget(w.c, "nope", &w.err),
                     HEARTH_ENOTFOUND);
    assert_ok(hearth_records_forget(w.c, id, &w.err));
    assert_ok(hearth_records_count(w.c, &n, &w.err));
    assert_int_equal(n, 0);
    assert_int_equal(hearth_records_count(w.c, NULL, &w.err), HEARTH_EINVAL);
    assert_int_equal(hearth_records_add(NULL, NOTE, 2, NULL, NULL, &w.err),
                     HEARTH_EINVAL);
    close_world(&w);
}

/* A config of an older and of a newer library. */
static void client_reads_structs_of_other_versions(void **state) {
    (void)state;
    world w;
    struct {
        hearth_client_config now;
        void *later;
    } next = {HEARTH_CLIENT_CONFIG_INIT, NULL};
    hearth_client *c = NULL;
    open_world(&w);
    next.now.struct_size = sizeof(next);
    next.now.state_dir = w.dir;
    assert_ok(hearth_client_open(&c, &next.now, &w.err));
    hearth_client_close(c);
    next.later = &next; /* a field that this library does not know */
    assert_int_equal(hearth_client_open(&c, &next.now, &w.err), HEARTH_EINVAL);
    close_world(&w);
}

typedef struct {
    hearth_client *c;
    atomic_bool done;
} stopper;

static void *stop_always(void *ud) {
    stopper *s = ud;
    while (!atomic_load(&s->done)) hearth_client_stop(s->c);
    return NULL;
}

/* stop may come at any moment from another thread (run under TSan). */
static void client_may_be_stopped_from_another_thread(void **state) {
    (void)state;
    world w;
    stopper s;
    pthread_t other;
    hearth_client_tick t = HEARTH_CLIENT_TICK_INIT;
    open_world(&w);
    assert_ok(join(&w));
    s.c = w.c;
    atomic_init(&s.done, false);
    w.c->dialer =
        hearth_client__dialer(w.c); /* the real one; nobody is there */
    assert_int_equal(pthread_create(&other, NULL, stop_always, &s), 0);
    for (int i = 0; i < 5; i++) {
        hearth_transport tr = {0};
        hearth_http_req rq = HEARTH_HTTP_REQ_INIT;
        hearth_http_resp rp;
        rq.path = "/v1/keyset";
        hearth_http_resp_init(&rp, NULL);
        assert_ok(w.c->dialer.open(w.c->dialer.ud, "https://127.0.0.1:1", NULL,
                                   NULL, NULL, &tr, &w.err));
        hearth_status st = hearth_transport_request(&tr, &rq, &rp, &w.err);
        assert_true(st == HEARTH_ECANCELLED || st == HEARTH_ENET);
        w.c->dialer.close(w.c->dialer.ud, &tr);
        hearth_http_resp_free(&rp);
    }
    atomic_store(&s.done, true);
    assert_int_equal(pthread_join(other, NULL), 0);
    (void)t;
    close_world(&w);
}

static void client_open_survives_running_out_of_memory(void **state) {
    (void)state;
    char dir[64];
    assert_non_null(hearth_test_dir(dir));
    for (size_t k = 1; k < 400; k++) {
        hearth_fail_alloc fa;
        hearth_alloc al = hearth_fail_alloc_init(&fa, k);
        hearth_client *c = NULL;
        hearth_client_config cfg = HEARTH_CLIENT_CONFIG_INIT;
        cfg.state_dir = dir;
        cfg.alloc = &al;
        hearth_status st = hearth_client_open(&c, &cfg, NULL);
        hearth_client_close(c);
        assert_int_equal(fa.live, 0);
        if (st == HEARTH_OK) {
            assert_ok(hearth_file_remove_tree(dir, NULL));
            return;
        }
        assert_int_equal(st, HEARTH_ENOMEM);
        assert_null(c);
    }
    fail();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(client_joins_syncs_and_chats),
        cmocka_unit_test(client_checks_every_argument),
        cmocka_unit_test(client_refuses_a_loosened_floor),
        cmocka_unit_test(client_takes_unknown_conditions_as_bad),
        cmocka_unit_test(client_lets_one_process_take_part),
        cmocka_unit_test(client_refuses_a_restored_ledger),
        cmocka_unit_test(client_begins_anew_with_a_new_counter),
        cmocka_unit_test(client_forgets_and_asks_its_counter),
        cmocka_unit_test(client_renews_and_takes_new_keysets),
        cmocka_unit_test(records_are_added_and_forgotten),
        cmocka_unit_test(client_reads_structs_of_other_versions),
        cmocka_unit_test(client_may_be_stopped_from_another_thread),
        cmocka_unit_test(client_open_survives_running_out_of_memory),
    };
    return cmocka_run_group_tests_name("client/api", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* health_app.c - a small health diary with a model of its own.
 *
 *     health_app STATE BASE note "slept 7 hours, walked to work"
 *     health_app STATE BASE join URL TOKEN ROOT-PIN
 *     health_app STATE BASE night [--test-study]     # while the phone charges
 *     health_app STATE BASE ask "How did I sleep?"
 *     health_app STATE BASE forget
 *
 * The notes stay in STATE.  What the night sends is a clipped, noised sum of
 * integers, charged to a ledger; `hearth privacy --state STATE` explains it.
 *
 *     cc health_app.c $(pkg-config --cflags --libs hearth) -o health_app
 */
#include <hearth/hearth.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>

static volatile sig_atomic_t stopped; /* the phone was picked up */

static void on_signal(int sig) {
    (void)sig;
    stopped = 1;
}

static int fail(const hearth_error *err) {
    fprintf(stderr, "health_app: %s (%s)\n", err->text,
            hearth_status_name(err->status));
    return 1;
}

/* Health data go in when they come: at night they can not be read. */
static hearth_status note(hearth_client *c, const char *text,
                          hearth_error *err) {
    char json[1024];
    size_t n = (size_t)snprintf(json, sizeof(json), "{\"text\":\"");
    for (; *text && n < sizeof(json) - 8; text++) {
        if (*text == '"' || *text == '\\') json[n++] = '\\';
        if ((unsigned char)*text >= 0x20) json[n++] = *text;
    }
    n += (size_t)snprintf(json + n, sizeof(json) - n, "\"}");
    hearth_records_options opt = HEARTH_RECORDS_OPTIONS_INIT;
    opt.purpose = HEARTH_RECORDS_FEDERATED; /* the user said yes to this */
    opt.keep_ms = (int64_t)90 * 24 * 3600 * 1000;
    return hearth_records_add(c, json, n, &opt, NULL, err);
}

/* Take part until there is nothing to do or the phone is picked up: a stop is
 * noticed within one micro-batch, and the next night goes on from there. */
static hearth_status night(hearth_client *c, int test_study,
                           hearth_error *err) {
    hearth_client_tick t = HEARTH_CLIENT_TICK_INIT;
    hearth_client_conditions now = HEARTH_CLIENT_CONDITIONS_INIT;
    hearth_client_policy policy = HEARTH_CLIENT_POLICY_INIT;
    hearth_status st = HEARTH_OK;
    now.charging = now.unmetered = 1; /* a real app asks the system */
    now.battery_percent = 90;
    now.temperature_c = 25;
    if (test_study) { /* a handful of devices that know each other */
        policy.cohort_min = 1;
        policy.spacing_ms = 0;
        policy.delta = 1e-5;
        policy.noise_to_signal_max = 1000;
    }
    st = hearth_client_set_policy(c, &policy, err);
    if (st == HEARTH_OK) st = hearth_client_set_conditions(c, &now, err);
    while (st == HEARTH_OK && !stopped && t.wait_ms == 0) {
        st = hearth_client_sync(c, &t, err);
        if (st != HEARTH_OK) break;
        if (t.kind == HEARTH_TICK_TRAIN)
            printf("learning: step %u of %u\n", (unsigned)t.step,
                   (unsigned)t.n_steps);
        else if (t.kind == HEARTH_TICK_COMMITTED)
            printf("round %llu: contributed\n", (unsigned long long)t.round);
        else if (t.kind == HEARTH_TICK_INSTALLED)
            printf("release %llu is in use\n", (unsigned long long)t.sequence);
        else if (t.reason[0])
            printf("%s\n", t.reason);
    }
    return st;
}

static int on_text(void *ud, const char *text, size_t n) {
    (void)ud;
    (void)fwrite(text, 1, n, stdout);
    return stopped;
}

static hearth_status ask(hearth_client *c, const char *question,
                         hearth_error *err) {
    hearth_chat *chat = NULL;
    hearth_chat_config cfg = HEARTH_CHAT_CONFIG_INIT;
    cfg.max_tokens = 48;
    hearth_status st = hearth_chat_open(&chat, c, &cfg, err);
    if (st == HEARTH_OK)
        st = hearth_chat_say(chat, question, on_text, NULL, err);
    if (st == HEARTH_OK) puts("");
    hearth_chat_close(chat);
    return st;
}

int main(int argc, char **argv) {
    hearth_error err = {HEARTH_OK, ""};
    hearth_client *c = NULL;
    hearth_client_config cfg = HEARTH_CLIENT_CONFIG_INIT;
    hearth_client_join_config join = HEARTH_CLIENT_JOIN_CONFIG_INIT;
    const char *what = argc > 3 ? argv[3] : "";
    if (argc < 4) {
        fprintf(stderr, "usage: health_app STATE BASE note|join|night|ask|"
                        "forget ...\n");
        return 2;
    }
    (void)signal(SIGINT, on_signal);
    cfg.state_dir = argv[1];
    hearth_status st = hearth_client_open(&c, &cfg, &err);
    if (st != HEARTH_OK) return fail(&err);
    if (!strcmp(what, "note") && argc == 5) {
        st = note(c, argv[4], &err);
    } else if (!strcmp(what, "join") && argc == 7) {
        join.server = argv[4];
        join.token = argv[5];
        join.root = argv[6];
        join.base = argv[2];
        st = hearth_client_join(c, &join, &err);
    } else if (!strcmp(what, "night")) {
        st = night(c, argc > 4 && !strcmp(argv[4], "--test-study"), &err);
    } else if (!strcmp(what, "ask") && argc == 5) {
        st = hearth_client_set_base(c, argv[2], &err);
        if (st == HEARTH_OK) st = ask(c, argv[4], &err);
    } else if (!strcmp(what, "forget")) {
        st = hearth_records_forget(c, NULL, &err);
    } else {
        hearth_client_close(c);
        fprintf(stderr, "health_app: '%s' and its arguments do not fit\n",
                what);
        return 2;
    }
    hearth_client_close(c);
    return st == HEARTH_OK ? 0 : fail(&err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/doctor_sync.c - the contract is in doctor_sync.h. */
#include "client/cli/doctor_sync.h"

#include <stdio.h>
#include <string.h>

#include "client/api/client_private.h"
#include "client/cli/cli.h"
#include "client/net/sync_store.h"
#include "common/bytes.h"
#include "common/file.h"

typedef struct {
    hearth_doctor_report report;
    void *ud;
    hearth_client *c;
    char text[700];
} visit;

static void say(visit *v, const char *what, bool ok) {
    v->report(v->ud, what, ok, v->text);
}

static bool interrupted(void *ud) {
    (void)ud;
    return hearth_cli_interrupted();
}

static void look_at_keys(visit *v) {
    const hearth_enrolment *e = &v->c->enrolment;
    int64_t now = hearth_clock_wall(&v->c->clock);
    char when[21];
    hearth_clock_format(when, e->cert_until_ms);
    bool ok = now < e->cert_until_ms;
    (void)snprintf(v->text, sizeof(v->text), "%s until %s%s", e->device_id,
                   when,
                   ok ? "" : "; past: ask for a token and run `hearth init`");
    say(v, "certificate", ok);
    hearth_clock_format(when, e->keyset_expires_ms);
    ok = now < e->keyset_expires_ms;
    (void)snprintf(v->text, sizeof(v->text), "version %llu until %s%s",
                   (unsigned long long)e->keyset_version, when,
                   ok ? "" : "; past: `hearth sync` asks for a newer one");
    say(v, "keyset", ok);
}

/* Over a connection that is pinned like every other. */
static void ask_coordinator(visit *v) {
    hearth_client *c = v->c;
    hearth_transport tr = {0};
    hearth_http_req rq = HEARTH_HTTP_REQ_INIT;
    hearth_http_resp rp;
    hearth_reply_info info;
    hearth_error err = {HEARTH_OK, ""};
    rq.path = "/v1/keyset";
    rq.timeout_ms = 10000;
    hearth_http_resp_init(&rp, &c->alloc);
    hearth_status st =
        c->dialer.open(c->dialer.ud, c->enrolment.server, c->enrolment.pins,
                       c->enrolment.cert_pem, c->enrolment.key_pem, &tr, &err);
    if (st == HEARTH_OK) st = hearth_transport_request(&tr, &rq, &rp, &err);
    if (st == HEARTH_OK) st = hearth_reply_check(&rp, "keyset", &info, &err);
    if (st == HEARTH_OK)
        (void)snprintf(v->text, sizeof(v->text),
                       "%s answers with a key that its root signed",
                       c->enrolment.server);
    else
        (void)snprintf(v->text, sizeof(v->text), "%s",
                       err.text[0] ? err.text : hearth_status_text(st));
    say(v, "coordinator", st == HEARTH_OK);
    if (tr.request) c->dialer.close(c->dialer.ud, &tr);
    hearth_http_resp_free(&rp);
}

static void look_at_base(visit *v) {
    hearth_error err = {HEARTH_OK, ""};
    hearth_status st = hearth_client__need_model(v->c, &err);
    (void)snprintf(v->text, sizeof(v->text), "%s",
                   st == HEARTH_OK ? v->c->base : err.text);
    say(v, "base model", st == HEARTH_OK);
}

static void look_at_trouble(visit *v) {
    hearth_sync_session s;
    hearth_error err = {HEARTH_OK, ""};
    char when[21];
    hearth_status st = hearth_sync_session_load(&s, v->c->db, &err);
    hearth_zeroize(s.cookie, sizeof(s.cookie));
    if (st != HEARTH_OK || !s.note[0]) return;
    hearth_clock_format(when, s.note_ms);
    (void)snprintf(v->text, sizeof(v->text), "%s: %s", when, s.note);
    say(v, "last trouble", true);
}

void hearth_doctor_sync(const char *dir, hearth_doctor_report report,
                        void *ud) {
    visit v = {.report = report, .ud = ud};
    hearth_client_config cc = HEARTH_CLIENT_CONFIG_INIT;
    hearth_error err = {HEARTH_OK, ""};
    char path[1100];
    if (hearth_file_join(path, sizeof(path), dir, "client.db") != HEARTH_OK ||
        !hearth_file_exists(path))
        return;
    cc.state_dir = dir;
    cc.threads = 1;
    hearth_status st = hearth_client_open(&v.c, &cc, &err);
    if (st == HEARTH_OK) {
        v.c->stop_check = interrupted;
        st = hearth_client__need_enrolment(v.c, &err);
    }
    if (st == HEARTH_OK) {
        (void)snprintf(v.text, sizeof(v.text), "joined %s",
                       v.c->enrolment.server);
        say(&v, "enrolment", true);
        look_at_keys(&v);
        look_at_base(&v);
        ask_coordinator(&v);
        look_at_trouble(&v);
    } else {
        (void)snprintf(v.text, sizeof(v.text), "%s", err.text);
        say(&v, "enrolment", st == HEARTH_ESTATE); /* not joined is no fault */
    }
    hearth_client_close(v.c);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/metrics.c - one line a number, with its help and type. */
#include "coordinator/metrics.h"

static void one(hearth_buf *b, const char *name, const char *type,
                const char *help, uint64_t v) {
    (void)hearth_buf_printf(b,
                            "# HELP hearthd_%s %s\n# TYPE hearthd_%s %s\n"
                            "hearthd_%s %llu\n",
                            name, help, name, type, name,
                            (unsigned long long)v);
}

static void head(hearth_buf *b, const char *name, const char *help) {
    (void)hearth_buf_printf(b,
                            "# HELP hearthd_%s %s\n# TYPE hearthd_%s counter\n",
                            name, help, name);
}

static void labelled(hearth_buf *b, const char *name, const char *label,
                     const char *value, uint64_t v) {
    (void)hearth_buf_printf(b, "hearthd_%s{%s=\"%s\"} %llu\n", name, label,
                            value, (unsigned long long)v);
}

static void write_listener(hearth_buf *b, const hearth_listener_counters *l) {
    static const char *const classes[] = {"",    "1xx", "2xx",
                                          "3xx", "4xx", "5xx"};
    one(b, "connections", "gauge", "Open connections.", l->connections);
    one(b, "connections_total", "counter", "Connections accepted.",
        l->accepted);
    head(b, "handshakes_total", "TLS handshakes by outcome.");
    labelled(b, "handshakes_total", "outcome", "done", l->handshakes);
    labelled(b, "handshakes_total", "outcome", "failed", l->handshakes_failed);
    one(b, "timeouts_total", "counter", "Connections ended by a time limit.",
        l->timeouts);
    one(b, "requests_total", "counter", "Requests handed to the coordinator.",
        l->requests);
    head(b, "replies_total", "Replies by class of status.");
    for (int i = 2; i < 6; i++)
        labelled(b, "replies_total", "class", classes[i], l->replies[i]);
    one(b, "received_bytes_total", "counter", "Bytes read from sockets.",
        l->bytes_in);
    one(b, "sent_bytes_total", "counter", "Bytes given to sockets.",
        l->bytes_out);
}

static void write_auth(hearth_buf *b, const hearth_auth_counters *a) {
    head(b, "enrolments_total", "Enrolment requests by outcome.");
    labelled(b, "enrolments_total", "outcome", "new", a->enrolled);
    labelled(b, "enrolments_total", "outcome", "again", a->enrolled_again);
    labelled(b, "enrolments_total", "outcome", "refused", a->enrol_refused);
    head(b, "renewals_total", "Certificate renewals by outcome.");
    labelled(b, "renewals_total", "outcome", "done", a->renewed);
    labelled(b, "renewals_total", "outcome", "refused", a->renew_refused);
}

static void write_coord(hearth_buf *b, const hearth_coord_counters *c) {
    one(b, "checkins_total", "counter", "Check-ins answered.", c->checkins);
    one(b, "offers_total", "counter", "Offers given.", c->offers);
    one(b, "uploads_begun_total", "counter", "Uploads begun.", c->begins);
    one(b, "upload_bytes_total", "counter", "Bytes of uploads taken.",
        c->append_bytes);
    head(b, "commits_total", "Commits by outcome.");
    labelled(b, "commits_total", "outcome", "accepted", c->commits_accepted);
    labelled(b, "commits_total", "outcome", "replayed", c->commits_replayed);
    labelled(b, "commits_total", "outcome", "refused", c->commits_refused);
    head(b, "rounds_total", "Rounds by outcome.");
    labelled(b, "rounds_total", "outcome", "released", c->rounds_released);
    labelled(b, "rounds_total", "outcome", "failed", c->rounds_failed);
    one(b, "checkpoints_total", "counter", "Accumulator checkpoints written.",
        c->checkpoints);
}

hearth_status hearth_metrics_write(hearth_buf *out, const hearth_metrics *m) {
    one(out, "uptime_seconds", "gauge", "Seconds since start.",
        (uint64_t)(m->uptime_ms / 1000));
    write_listener(out, &m->listener);
    write_auth(out, &m->auth);
    write_coord(out, &m->coord);
    return out->failed ? HEARTH_ENOMEM : HEARTH_OK;
}

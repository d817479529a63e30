/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/hearthd_cmd_serve.c - `hearthd serve`: one loop, signals, ready.
 *
 * SIGTERM and SIGINT end what is going on and then the process; a second one
 * ends it at once, which is as safe as a power cut: see README.md. */
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <uv.h>

#include "coordinator/daemon.h"
#include "coordinator/hearthd_cmd.h"

#define SPARE_DESCRIPTORS 64 /* databases, spool files, the loop's own */

typedef struct {
    hearth_daemon *d;
    uv_signal_t term, intr;
    bool asked;
} server;

/* systemd's readiness protocol: one datagram to $NOTIFY_SOCKET. */
static void notify(const char *text) {
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un un;
    if (!path || (path[0] != '/' && path[0] != '@') ||
        strlen(path) >= sizeof(un.sun_path))
        return;
    memset(&un, 0, sizeof(un));
    un.sun_family = AF_UNIX;
    memcpy(un.sun_path, path, strlen(path));
    if (path[0] == '@') un.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return;
    size_t n = offsetof(struct sockaddr_un, sun_path) + strlen(path);
    (void)sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&un,
                 (socklen_t)n);
    (void)close(fd);
}

static void on_signal(uv_signal_t *sig, int number) {
    server *s = sig->data;
    if (s->asked) {
        (void)signal(number, SIG_DFL);
        (void)raise(number);
        return;
    }
    s->asked = true;
    notify("STOPPING=1");
    hearth_daemon_stop(s->d);
    /* Keep only listening in the background, so that the loop can end. */
    uv_unref((uv_handle_t *)&s->term);
    uv_unref((uv_handle_t *)&s->intr);
}

static void start_signals(server *s, uv_loop_t *loop) {
    uv_signal_t *const sig[] = {&s->term, &s->intr};
    const int number[] = {SIGTERM, SIGINT};
    for (int i = 0; i < 2; i++) {
        (void)uv_signal_init(loop, sig[i]);
        sig[i]->data = s;
        (void)uv_signal_start(sig[i], on_signal, number[i]);
    }
}

static void announce(const hearthd_args *a, const hearth_server_config *cfg,
                     const hearth_daemon *d) {
    bool v6 = strchr(cfg->host, ':') != NULL;
    int metrics = hearth_daemon_metrics_port(d);
    hearthd_say(a, "hearthd: ready on https://%s%s%s:%d", v6 ? "[" : "",
                cfg->host, v6 ? "]" : "", hearth_daemon_port(d));
    if (metrics)
        hearthd_say(a, "hearthd: metrics on http://%s:%d/metrics",
                    cfg->metrics_host, metrics);
    hearthd_event(a, "ready", "host", 's', cfg->host, "port", 'i',
                  (long long)hearth_daemon_port(d), "metrics_port", 'i',
                  (long long)metrics, (const char *)NULL);
    notify("READY=1");
}

/* A descriptor for every connection and some for files: ask for as many as the
 * hard limit gives. */
static void raise_descriptors(const hearth_server_config *cfg,
                              const hearth_log *log) {
    struct rlimit r;
    rlim_t need = (rlim_t)cfg->max_connections + SPARE_DESCRIPTORS;
    if (getrlimit(RLIMIT_NOFILE, &r) != 0 || r.rlim_cur >= need) return;
    r.rlim_cur = r.rlim_max < need ? r.rlim_max : need;
    if (setrlimit(RLIMIT_NOFILE, &r) != 0 || r.rlim_cur < need)
        hearth_log_write(log, HEARTH_LOG_WARN, "serve",
                         "max_connections=%u descriptors=%llu hint=\"raise "
                         "ulimit -n, or lower [server] max_connections\"",
                         cfg->max_connections, (unsigned long long)r.rlim_cur);
}

static int serve(hearthd_args *a) {
    static hearthd_state st; /* paths: too large for a frame */
    uv_loop_t loop;
    server s;
    hearth_log log = {hearth_log_stderr, NULL, HEARTH_LOG_INFO};
    memset(&s, 0, sizeof(s));
    if (hearthd_open_config(&st, a) != HEARTH_OK)
        return hearthd_fail(a, &st.err);
    log.max_level = st.cfg.log_level;
    (void)signal(SIGPIPE, SIG_IGN);
    raise_descriptors(&st.cfg, &log);
    if (uv_loop_init(&loop) != 0) return 1;
    if (hearth_daemon_open(&s.d, &loop, &st.cfg, &log, &st.err) != HEARTH_OK) {
        (void)uv_loop_close(&loop);
        return hearthd_fail(a, &st.err);
    }
    start_signals(&s, &loop);
    announce(a, &st.cfg, s.d);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&s.term, NULL);
    uv_close((uv_handle_t *)&s.intr, NULL);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    hearth_daemon_close(s.d);
    (void)uv_loop_close(&loop);
    hearthd_say(a, "hearthd: stopped");
    hearthd_event(a, "stopped", (const char *)NULL);
    return 0;
}

hearthd_command hearthd_commands_serve[] = {
    {.name = "serve",
     .words = "",
     .what = "Serve devices until SIGTERM.",
     .example = "serve -c coord/hearthd.ini",
     .run = serve},
    {.name = NULL},
};

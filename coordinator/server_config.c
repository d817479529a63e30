/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/server_config.c - one table of keys; the rest is common/ini. */
#include "coordinator/server_config.h"

#include <stdio.h>
#include <string.h>

#include "common/error.h"
#include "common/file.h"
#include "common/ini.h"
#include "common/x509.h"

static const hearth_ini_key KEYS[] = {
    {"server", "listen"},
    {"server", "state"},
    {"server", "max_connections"},
    {"server", "handshake_timeout"},
    {"server", "head_timeout"},
    {"server", "idle_timeout"},
    {"server", "request_timeout"},
    {"server", "shutdown_grace"},
    {"keys", "release"},
    {"keys", "tls"},
    {"keys", "tls_certificate"},
    {"keys", "device_ca"},
    {"keys", "device_ca_certificate"},
    {"keys", "cookie"},
    {"keys", "keyset"},
    {"devices", "database"},
    {"devices", "cookie_lifetime"},
    {"devices", "certificate_days"},
    {"rounds", "retry_accepted"},
    {"rounds", "retry_refused"},
    {"rounds", "release_lifetime"},
    {"rounds", "checkpoint_every"},
    {"rounds", "disk_reserve_mb"},
    {"metrics", "listen"},
    {"log", "level"},
};

/* What the readers below share. */
typedef struct {
    const hearth_ini *ini;
    hearth_server_config *cfg;
    const char *file;
    hearth_error *err;
} reader;

static hearth_status bad_value(const reader *r, const char *section,
                               const char *key, const char *want) {
    return hearth_error_set(r->err, HEARTH_EFORMAT, "%s:%u: [%s] %s must be %s",
                            r->file, hearth_ini_line(r->ini, section, key),
                            section, key, want);
}

/* A path, made relative to the folder of the file unless it is absolute. */
static hearth_status get_path(const reader *r, const char *section,
                              const char *key, const char *fallback,
                              char out[HEARTH_SERVER_PATH_CAP]) {
    const char *v = NULL;
    hearth_status st =
        hearth_ini_get_str(r->ini, section, key, fallback, &v, r->err);
    if (st != HEARTH_OK) return st;
    if (v[0] == '/') {
        if (strlen(v) < HEARTH_SERVER_PATH_CAP) {
            memcpy(out, v, strlen(v) + 1);
            return HEARTH_OK;
        }
    } else if (v[0] && hearth_file_join(out, HEARTH_SERVER_PATH_CAP,
                                        r->cfg->dir, v) == HEARTH_OK) {
        return HEARTH_OK;
    }
    return bad_value(r, section, key, "a path of 1 to 1000 characters");
}

static hearth_status get_ms(const reader *r, const char *section,
                            const char *key, int64_t fallback, int64_t max,
                            int64_t *out) {
    hearth_status st =
        hearth_ini_get_duration(r->ini, section, key, &fallback, out, r->err);
    if (st != HEARTH_OK) return st;
    if (*out > max)
        return bad_value(r, section, key, "shorter (see hearthd.ini.example)");
    return HEARTH_OK;
}

static hearth_status get_count(const reader *r, const char *section,
                               const char *key, int64_t fallback, int64_t min,
                               int64_t max, int64_t *out) {
    return hearth_ini_get_i64(r->ini, section, key, min, max, &fallback, out,
                              r->err);
}

/* "60s,300s": a window of two durations. */
static hearth_status get_window(const reader *r, const char *key,
                                const char *fallback, uint64_t *min_ms,
                                uint64_t *max_ms) {
    const char *v = NULL;
    char first[32];
    int64_t a = 0, b = 0;
    hearth_status st =
        hearth_ini_get_str(r->ini, "rounds", key, fallback, &v, r->err);
    if (st != HEARTH_OK) return st;
    const char *comma = strchr(v, ',');
    size_t n = comma ? (size_t)(comma - v) : 0;
    bool ok = n > 0 && n < sizeof(first);
    if (ok) {
        memcpy(first, v, n);
        first[n] = '\0';
        const char *second = comma + 1 + strspn(comma + 1, " ");
        ok = hearth_parse_duration(first, &a) == HEARTH_OK &&
             hearth_parse_duration(second, &b) == HEARTH_OK && a <= b &&
             (uint64_t)b <= HEARTH_PROTO_MAX_WINDOW;
    }
    if (!ok)
        return bad_value(r, "rounds", key,
                         "two durations, the shorter first, like 60s,300s");
    *min_ms = (uint64_t)a;
    *max_ms = (uint64_t)b;
    return HEARTH_OK;
}

hearth_status hearth_server_config_address(const char *text,
                                           char host[HEARTH_SERVER_HOST_CAP],
                                           int *port) {
    const char *colon = text ? strrchr(text, ':') : NULL;
    int64_t p = 0;
    host[0] = '\0';
    *port = 0;
    if (!colon || hearth_parse_i64(colon + 1, &p) != HEARTH_OK || p < 0 ||
        p > 65535)
        return HEARTH_EFORMAT;
    const char *from = text;
    size_t n = (size_t)(colon - text);
    if (n > 2 && from[0] == '[' && from[n - 1] == ']') {
        from++;
        n -= 2;
    } else if (memchr(from, ':', n)) {
        return HEARTH_EFORMAT; /* a bare IPv6 address: where does it end? */
    }
    if (n == 0 || n >= HEARTH_SERVER_HOST_CAP) return HEARTH_EFORMAT;
    memcpy(host, from, n);
    host[n] = '\0';
    *port = (int)p;
    return HEARTH_OK;
}

static hearth_status get_address(const reader *r, const char *section,
                                 const char *fallback, char *host, int *port) {
    const char *v = NULL;
    hearth_status st =
        hearth_ini_get_str(r->ini, section, "listen", fallback, &v, r->err);
    if (st != HEARTH_OK) return st;
    if (v[0] == '\0' && fallback[0] == '\0') { /* off */
        host[0] = '\0';
        return HEARTH_OK;
    }
    if (hearth_server_config_address(v, host, port) != HEARTH_OK)
        return bad_value(r, section, "listen",
                         "an address and port, like 127.0.0.1:8443 or "
                         "[::]:8443");
    return HEARTH_OK;
}

static hearth_status read_server(const reader *r) {
    hearth_server_config *c = r->cfg;
    int64_t n = 0;
    const int64_t day = 86400000;
    hearth_status st =
        get_address(r, "server", "127.0.0.1:8443", c->host, &c->port);
    if (st == HEARTH_OK) st = get_path(r, "server", "state", "state", c->state);
    if (st == HEARTH_OK)
        st = get_count(r, "server", "max_connections", 1024, 1, 100000, &n);
    c->max_connections = (unsigned)n;
    if (st == HEARTH_OK)
        st = get_ms(r, "server", "handshake_timeout", 10000, day,
                    &c->handshake_ms);
    if (st == HEARTH_OK)
        st = get_ms(r, "server", "head_timeout", 10000, day, &c->head_ms);
    if (st == HEARTH_OK)
        st = get_ms(r, "server", "idle_timeout", 60000, day, &c->idle_ms);
    if (st == HEARTH_OK)
        st =
            get_ms(r, "server", "request_timeout", 600000, day, &c->request_ms);
    if (st == HEARTH_OK)
        st = get_ms(r, "server", "shutdown_grace", 5000, day, &c->grace_ms);
    return st;
}

static hearth_status read_keys(const reader *r) {
    hearth_server_config *c = r->cfg;
    const struct {
        const char *key, *fallback;
        char *out;
    } f[] = {{"release", "keys/release.key", c->release_key},
             {"tls", "keys/tls.key", c->tls_key},
             {"tls_certificate", "keys/tls.pem", c->tls_cert},
             {"device_ca", "keys/device_ca.key", c->ca_key},
             {"device_ca_certificate", "keys/device_ca.pem", c->ca_cert},
             {"cookie", "keys/cookie.key", c->cookie_key},
             {"keyset", "keys/keyset.bin", c->keyset}};
    for (size_t i = 0; i < sizeof(f) / sizeof(f[0]); i++) {
        hearth_status st =
            get_path(r, "keys", f[i].key, f[i].fallback, f[i].out);
        if (st != HEARTH_OK) return st;
    }
    return HEARTH_OK;
}

static hearth_status read_devices(const reader *r) {
    hearth_server_config *c = r->cfg;
    int64_t n = 0;
    hearth_status st =
        get_path(r, "devices", "database", "devices.db", c->devices);
    if (st == HEARTH_OK)
        st = get_ms(r, "devices", "cookie_lifetime", 3600000,
                    (int64_t)30 * 86400000, &c->cookie_ttl_ms);
    if (st == HEARTH_OK)
        st = get_count(r, "devices", "certificate_days",
                       HEARTH_X509_DEVICE_DAYS, 1, 825, &n);
    c->certificate_days = (unsigned)n;
    return st;
}

static hearth_status read_rounds(const reader *r) {
    hearth_server_config *c = r->cfg;
    int64_t n = 0;
    hearth_status st =
        get_window(r, "retry_accepted", "60s,300s", &c->retry.accepted_min_ms,
                   &c->retry.accepted_max_ms);
    if (st == HEARTH_OK)
        st = get_window(r, "retry_refused", "60s,300s",
                        &c->retry.refused_min_ms, &c->retry.refused_max_ms);
    if (st == HEARTH_OK)
        st = get_ms(r, "rounds", "release_lifetime", (int64_t)90 * 86400000,
                    (int64_t)3650 * 86400000, &n);
    c->release_ttl_ms = (uint64_t)n;
    if (st == HEARTH_OK)
        st = get_count(r, "rounds", "checkpoint_every", 64, 1, 100000, &n);
    c->checkpoint_every = (uint32_t)n;
    if (st == HEARTH_OK)
        st = get_count(r, "rounds", "disk_reserve_mb", 64, 1, 1 << 20, &n);
    c->disk_reserve = (uint64_t)n << 20;
    return st;
}

static hearth_status read_log(const reader *r) {
    static const char *const names[] = {"error", "warn", "info", "debug"};
    const char *v = NULL;
    hearth_status st =
        hearth_ini_get_str(r->ini, "log", "level", "info", &v, r->err);
    if (st != HEARTH_OK) return st;
    for (int i = 0; i < 4; i++)
        if (strcmp(v, names[i]) == 0) {
            r->cfg->log_level = (hearth_log_level)i;
            return HEARTH_OK;
        }
    return bad_value(r, "log", "level", "error, warn, info or debug");
}

static hearth_status read_all(hearth_server_config *cfg, const char *path,
                              const hearth_ini *ini, hearth_error *err) {
    const reader r = {ini, cfg, path, err};
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 1;
    if (slash == path) n = 1; /* "/hearthd.ini": the root itself */
    if (n >= sizeof(cfg->dir))
        return hearth_error_set(err, HEARTH_ETOOBIG, "path is too long");
    memcpy(cfg->dir, slash ? path : ".", n);
    cfg->dir[n] = '\0';
    hearth_status st = read_server(&r);
    if (st == HEARTH_OK) st = read_keys(&r);
    if (st == HEARTH_OK) st = read_devices(&r);
    if (st == HEARTH_OK) st = read_rounds(&r);
    if (st == HEARTH_OK)
        st = get_address(&r, "metrics", "", cfg->metrics_host,
                         &cfg->metrics_port);
    if (st == HEARTH_OK) st = read_log(&r);
    return st;
}

#define N_KEYS (sizeof(KEYS) / sizeof(KEYS[0]))

static hearth_status finish(hearth_server_config *cfg, const char *path,
                            hearth_ini *ini, hearth_error *err) {
    hearth_status st = read_all(cfg, path, ini, err);
    hearth_ini_free(ini);
    if (st != HEARTH_OK) memset(cfg, 0, sizeof(*cfg));
    return st;
}

hearth_status hearth_server_config_load(hearth_server_config *cfg,
                                        const char *path,
                                        const hearth_alloc *al,
                                        hearth_error *err) {
    hearth_ini *ini = NULL;
    memset(cfg, 0, sizeof(*cfg));
    hearth_status st = hearth_ini_load(&ini, path, KEYS, N_KEYS, al, err);
    return st == HEARTH_OK ? finish(cfg, path, ini, err) : st;
}

hearth_status hearth_server_config_parse(hearth_server_config *cfg,
                                         const char *path, const char *text,
                                         size_t n, const hearth_alloc *al,
                                         hearth_error *err) {
    hearth_ini *ini = NULL;
    memset(cfg, 0, sizeof(*cfg));
    hearth_status st =
        hearth_ini_parse(&ini, path, text, n, KEYS, N_KEYS, al, err);
    return st == HEARTH_OK ? finish(cfg, path, ini, err) : st;
}

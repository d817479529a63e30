/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/server_config.h - hearthd.ini: where things are and the limits.
 *
 * Paths in the file are relative to the folder of the file, so a state folder
 * can be moved as a whole.  deploy/hearthd.ini.example explains every key.
 *
 *     hearth_server_config cfg;
 *     st = hearth_server_config_load(&cfg, "hearthd.ini", NULL, &err);
 *
 * Threads: pure data.
 */
#ifndef HEARTH_COORDINATOR_SERVER_CONFIG_H
#define HEARTH_COORDINATOR_SERVER_CONFIG_H

#include <stdint.h>

#include "common/alloc.h"
#include "common/log.h"
#include "proto/messages.h"

#define HEARTH_SERVER_PATH_CAP 1024
#define HEARTH_SERVER_HOST_CAP 64

/* Everything that hearthd.ini says, defaults filled in. */
typedef struct {
    char dir[HEARTH_SERVER_PATH_CAP]; /* folder of the file */
    /* [server] */
    char host[HEARTH_SERVER_HOST_CAP]; /* numeric address */
    int port;                          /* 0: any */
    char state[HEARTH_SERVER_PATH_CAP];
    unsigned max_connections;
    int64_t handshake_ms, head_ms, idle_ms, request_ms, grace_ms;
    /* [keys] files */
    char release_key[HEARTH_SERVER_PATH_CAP];
    char tls_key[HEARTH_SERVER_PATH_CAP];
    char tls_cert[HEARTH_SERVER_PATH_CAP];
    char ca_key[HEARTH_SERVER_PATH_CAP];
    char ca_cert[HEARTH_SERVER_PATH_CAP];
    char cookie_key[HEARTH_SERVER_PATH_CAP];
    char keyset[HEARTH_SERVER_PATH_CAP];
    /* [devices] */
    char devices[HEARTH_SERVER_PATH_CAP]; /* database */
    int64_t cookie_ttl_ms;
    unsigned certificate_days;
    /* [rounds] */
    hearth_retry retry;
    uint64_t release_ttl_ms;
    uint32_t checkpoint_every;
    uint64_t disk_reserve; /* bytes */
    /* [metrics] */
    char metrics_host[HEARTH_SERVER_HOST_CAP]; /* "" = off */
    int metrics_port;
    /* [log] */
    hearth_log_level log_level;
} hearth_server_config;

/* Read and check a settings file.
 *
 * Returns HEARTH_OK, or what common/ini.h returned; err names file and line.
 * *cfg is zero on failure. */
HEARTH_MUST_CHECK
hearth_status hearth_server_config_load(hearth_server_config *cfg,
                                        const char *path,
                                        const hearth_alloc *al,
                                        hearth_error *err);

/* The same from memory; path is used in messages and for its folder. */
HEARTH_MUST_CHECK
hearth_status hearth_server_config_parse(hearth_server_config *cfg,
                                         const char *path, const char *text,
                                         size_t n, const hearth_alloc *al,
                                         hearth_error *err);

/* "127.0.0.1:8443" or "[::1]:8443" into host and port.
 * Returns HEARTH_OK or HEARTH_EFORMAT. */
HEARTH_MUST_CHECK
hearth_status hearth_server_config_address(const char *text,
                                           char host[HEARTH_SERVER_HOST_CAP],
                                           int *port);

#endif /* HEARTH_COORDINATOR_SERVER_CONFIG_H */

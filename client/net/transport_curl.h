/* SPDX-License-Identifier: Apache-2.0 */
/* client/net/transport_curl.h - the real transport: libcurl, pinned TLS.
 *
 * https only, TLS 1.2 or newer, no redirects, no proxy taken from the
 * environment, no system certificate store.  Who the peer is, is decided by
 * its key alone: one of `pins`, taken from the root-signed keyset.  A transport
 * without pins exists for one call, GET /v1/keyset before the first trust, and
 * refuses every other path and method.
 *
 * Threads: as transport.h.  Memory: libcurl and its TLS keep their own.
 */
#ifndef HEARTH_CLIENT_NET_TRANSPORT_CURL_H
#define HEARTH_CLIENT_NET_TRANSPORT_CURL_H

#include "client/net/transport.h"

/* Copied at open.  Strings are NUL-terminated. */
typedef struct {
    const char *server;   /* "https://host[:port]", nothing after it */
    const char *pins;     /* "sha256//..;sha256//..", or NULL: keyset only */
    const char *cert_pem; /* device certificate, or NULL */
    const char *key_pem;  /* its key, with cert_pem; never written to disk */
    uint32_t connect_timeout_ms; /* 0 = 15 s */
    uint32_t stall_timeout_ms;   /* no byte for so long ends it; 0 = 60 s */
    bool (*stop)(void *ud);      /* asked several times a second while a request
                                    runs: true ends it; NULL = never */
    void *stop_ud;
} hearth_transport_curl_config;

/* Open a transport.  On HEARTH_OK tr is filled; hearth_transport_curl_close.
 * Returns HEARTH_EINVAL        not an https address, or half a certificate
 *         HEARTH_EUNSUPPORTED  built without libcurl (HEARTH_WITH_CURL=OFF)
 *         HEARTH_ENOMEM */
HEARTH_MUST_CHECK
hearth_status
hearth_transport_curl_open(hearth_transport *tr,
                           const hearth_transport_curl_config *cfg,
                           const hearth_alloc *al, hearth_error *err);

/* Close what hearth_transport_curl_open filled; zeroizes keys.  An all-zero
 * table is a no-op. */
void hearth_transport_curl_close(hearth_transport *tr);

/* True when server is "https://host[:port]" as the config wants it. */
bool hearth_transport_curl_url_ok(const char *server);

#endif /* HEARTH_CLIENT_NET_TRANSPORT_CURL_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/tls.h - TLS on the server's side, without a socket.
 *
 * Data flow:  socket -> [ciphertext in -> plaintext out] -> http -> coordinator
 *
 * TLS 1.2 or later, session tickets on, renegotiation off.  A client may show a
 * certificate; it is verified when it does, and hearth_tls_peer says whose it
 * is.  A client without one, or with one that is not good, may still talk:
 * what it may ask for is decided by route (keyset and enrolment need none).
 *
 *     hearth_tls_give(t, cipher, n);                 // from the socket
 *     st = hearth_tls_read(t, plain, cap, &got);     // handshake inside
 *     st = hearth_tls_write(t, reply, n);
 *     ... send t's output, hearth_tls_output, hearth_tls_sent ...
 *
 * Threads: a server and its connections belong to one thread at a time.
 * Memory:  the crypto library allocates about 38 KiB a connection by itself.
 */
#ifndef HEARTH_COORDINATOR_TLS_H
#define HEARTH_COORDINATOR_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/rng.h"
#include "common/sign.h"
#include "common/x509.h"

typedef struct hearth_tls_server hearth_tls_server;
typedef struct hearth_tls hearth_tls;

typedef struct {
    const hearth_sign_keypair *key; /* of the server's certificate; copied */
    const char *cert_pem;           /* copied */
    const char *device_ca_pem;      /* who signs devices; copied */
    hearth_rng *rng;                /* borrowed till close */
    hearth_clock clock;             /* for the dates of device certificates */
    const hearth_alloc *al;         /* of our own structs; may be NULL */
} hearth_tls_config;

/* Returns HEARTH_OK, HEARTH_EINVAL (incomplete), HEARTH_EFORMAT (a certificate
 * can not be read or does not fit the key), HEARTH_ENOMEM. */
HEARTH_MUST_CHECK
hearth_status hearth_tls_server_open(hearth_tls_server **out,
                                     const hearth_tls_config *cfg,
                                     hearth_error *err);
/* After all its connections. */
void hearth_tls_server_close(hearth_tls_server *s);

/* A connection that waits for its ClientHello.  HEARTH_OK or HEARTH_ENOMEM. */
HEARTH_MUST_CHECK
hearth_status hearth_tls_new(hearth_tls **out, hearth_tls_server *s);
void hearth_tls_free(hearth_tls *t);

/* Ciphertext that arrived; copied.  HEARTH_OK or HEARTH_ENOMEM. */
HEARTH_MUST_CHECK
hearth_status hearth_tls_give(hearth_tls *t, const void *p, size_t n);

/* Go on with the handshake, then decrypt.
 *
 *   out [cap], *n bytes written; 0 with HEARTH_OK: more ciphertext is needed
 *
 * Returns HEARTH_OK
 *         HEARTH_ECANCELLED  the peer closed the connection properly
 *         HEARTH_EFORMAT     the peer broke the protocol, or nothing in
 *                            common; an alert may wait in the output
 *         HEARTH_ENOMEM      */
HEARTH_MUST_CHECK
hearth_status hearth_tls_read(hearth_tls *t, uint8_t *out, size_t cap,
                              size_t *n);

/* Encrypt n bytes into the output.  Only after the handshake.
 * Returns HEARTH_OK, HEARTH_ESTATE, HEARTH_ENOMEM, HEARTH_EFORMAT. */
HEARTH_MUST_CHECK
hearth_status hearth_tls_write(hearth_tls *t, const void *p, size_t n);

/* Put a close_notify into the output. */
void hearth_tls_close_notify(hearth_tls *t);

/* Ciphertext to send: [*n], borrowed until the next call. */
const uint8_t *hearth_tls_output(const hearth_tls *t, size_t *n);
/* The caller took it all. */
void hearth_tls_output_taken(hearth_tls *t);
/* Move it out: *out is given the bytes and is the caller's to free. */
void hearth_tls_output_move(hearth_tls *t, hearth_buf *out);

bool hearth_tls_established(const hearth_tls *t);

/* Who is at the other end?
 *
 * Returns HEARTH_OK         a device: id is its assigned id
 *         HEARTH_ENOTFOUND  no certificate was shown
 *         HEARTH_ESIGNATURE not from our CA, or not for a device
 *         HEARTH_EEXPIRED   outside its time
 * and id is empty but for HEARTH_OK. */
HEARTH_MUST_CHECK
hearth_status hearth_tls_peer(const hearth_tls *t,
                              char id[HEARTH_X509_ID_MAX + 1]);

#endif /* HEARTH_COORDINATOR_TLS_H */

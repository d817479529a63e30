/* SPDX-License-Identifier: Apache-2.0 */
/* client/net/trust.h - from the pin that a person typed to a keyset.
 *
 *     st = hearth_trust_keyset(&ks, bytes, n, "sha256//..", now_ms, err);
 *
 * Threads: pure functions.
 */
#ifndef HEARTH_CLIENT_NET_TRUST_H
#define HEARTH_CLIENT_NET_TRUST_H

#include <stdbool.h>

#include "proto/signed.h"

/* "sha256//" and 44 characters of base64, as `hearthd init` prints it. */
bool hearth_trust_pin_ok(const char *pin);

/* Read a keyset that must be signed by the key that root_pin names.
 *
 *   now_ms  Unix ms; 0 = expiry is not looked at
 *
 * Returns HEARTH_OK
 *         HEARTH_EINVAL      root_pin is not a pin
 *         HEARTH_ESIGNATURE  signed by another key (err names both pins), or
 *                            altered
 *         or as hearth_keyset_open; *ks is zero on failure */
HEARTH_MUST_CHECK
hearth_status hearth_trust_keyset(hearth_keyset *ks, const uint8_t *bytes,
                                  size_t n, const char *root_pin,
                                  int64_t now_ms, hearth_error *err);

/* The TLS pins as libcurl takes them, "a;b;c", added to out.  HEARTH_EFORMAT
 * when there is none. */
HEARTH_MUST_CHECK
hearth_status hearth_trust_pins(const hearth_keyset *ks, hearth_buf *out);

#endif /* HEARTH_CLIENT_NET_TRUST_H */

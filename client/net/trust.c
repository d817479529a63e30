/* SPDX-License-Identifier: Apache-2.0 */
/* client/net/trust.c - the contract is in trust.h.  The keyset carries the root
 * key itself; it is believed only because its hash is the pin that the person
 * was given by another way, and then only for the signature over this keyset. */
#include "client/net/trust.h"

#include <string.h>

bool hearth_trust_pin_ok(const char *pin) {
    if (!pin || strlen(pin) != HEARTH_SIGN_PIN_CHARS - 1) return false;
    if (strncmp(pin, "sha256//", 8) != 0) return false;
    return strspn(pin + 8, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                           "abcdefghijklmnopqrstuvwxyz0123456789+/") == 43 &&
           pin[51] == '=';
}

hearth_status hearth_trust_keyset(hearth_keyset *ks, const uint8_t *bytes,
                                  size_t n, const char *root_pin,
                                  int64_t now_ms, hearth_error *err) {
    uint8_t root[HEARTH_SIGN_PUBLIC_BYTES];
    memset(ks, 0, sizeof(*ks));
    if (!hearth_trust_pin_ok(root_pin) || now_ms < 0)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "the root pin is not of the form sha256//.. "
                                "with 44 characters; copy it from `hearthd "
                                "init`");
    hearth_status st = hearth_signed_claimed_key(bytes, n, root, err);
    if (st != HEARTH_OK) return st;
    if (!hearth_sign_pin_matches(root, root_pin)) {
        char pin[HEARTH_SIGN_PIN_CHARS] = "?";
        if (hearth_sign_pin(root, pin) != HEARTH_OK) pin[0] = '?';
        return hearth_error_set(
            err, HEARTH_ESIGNATURE,
            "the coordinator's root key is %s, not %s; nothing was sent. Check "
            "--server and --root with the operator",
            pin, root_pin);
    }
    return hearth_keyset_open(ks, bytes, n, root, (uint64_t)now_ms, err);
}

hearth_status hearth_trust_pins(const hearth_keyset *ks, hearth_buf *out) {
    if (ks->n_pins == 0 || ks->n_pins > HEARTH_PROTO_MAX_PINS)
        return HEARTH_EFORMAT;
    for (uint32_t i = 0; i < ks->n_pins; i++) {
        if (!hearth_trust_pin_ok(ks->pins[i])) return HEARTH_EFORMAT;
        (void)hearth_buf_printf(out, "%s%s", i ? ";" : "", ks->pins[i]);
    }
    return out->failed ? HEARTH_ENOMEM : HEARTH_OK;
}

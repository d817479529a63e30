/* SPDX-License-Identifier: Apache-2.0 */
/* proto/signed.h - the two things that carry a signature: keyset and release.
 *
 * The root key signs a keyset and nothing else; a release key of that keyset
 * signs release manifests.  Both travel in one envelope:
 *
 *     { "v": 1, "kind": "keyset" | "release", "body": bin, "key": bin[65],
 *       "sig": bin[64] }
 *
 * and the signature covers the exact bytes "hearth signed v1\n" kind "\n" body,
 * so that no re-encoding is ever needed to verify, and nothing signed as one
 * kind passes as another.
 *
 *     st = hearth_keyset_open(&ks, bytes, n, root_pub, now_ms, &err);
 *     st = hearth_release_open(&rel, bytes, n, &ks, now_ms, &err);
 *
 * Threads: pure functions.
 * Source:  FEDERATION section 10; signature in common/sign.h.
 */
#ifndef HEARTH_PROTO_SIGNED_H
#define HEARTH_PROTO_SIGNED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/sign.h"
#include "common/status.h"
#include "proto/limits.h"
#include "proto/messages.h"

/* Which keys speak for a coordinator.  Signed by the root key. */
typedef struct {
    uint64_t version;    /* grows with every keyset of one root; >= 1 */
    uint64_t issued_ms;  /* absolute */
    uint64_t expires_ms; /* absolute; refused from then on */
    uint32_t n_release_keys;
    uint8_t release_keys[HEARTH_PROTO_MAX_RELEASE_KEYS]
                        [HEARTH_SIGN_PUBLIC_BYTES];
    uint32_t n_pins;
    char pins[HEARTH_PROTO_MAX_PINS][HEARTH_PROTO_PIN_CAP]; /* TLS keys */
    char device_ca_pem[HEARTH_PROTO_PEM_CAP];
} hearth_keyset;

/* What a released adapter is and where it comes from.
 *
 * The content is the trained part (space.rule: B, or A and B) as flat
 * little-endian floats in canonical order: content_bytes = 4 * privacy.d. */
typedef struct {
    char task[HEARTH_PROTO_TASK_CAP];
    uint64_t sequence;   /* 1, 2, ...: a device never goes back */
    uint64_t parent;     /* sequence this one was computed from; 0 = none */
    uint64_t content_of; /* sequence whose content this is: itself, or an
                                  older one after a rollback */
    uint64_t created_ms, expires_ms; /* absolute */
    uint64_t round;                  /* last round added in; 0 = the start */
    uint32_t rounds;                 /* rounds added in so far */
    uint32_t devices;                /* contributions in the last round */
    uint64_t content_bytes;
    uint8_t content_sha256[HEARTH_DIGEST_BYTES];
    hearth_wire_space space;
    hearth_wire_privacy privacy; /* epsilons: of `rounds` rounds */
    bool not_private;            /* test seam: shipped clients refuse it */
} hearth_release;

/* Body of a keyset or manifest, without envelope: append to buf / read.
 * Errors as hearth_encode_<message> and hearth_decode_<message>. */
HEARTH_MUST_CHECK
hearth_status hearth_encode_keyset(hearth_buf *buf, const hearth_keyset *ks);
HEARTH_MUST_CHECK
hearth_status hearth_decode_keyset(hearth_keyset *ks, const uint8_t *bytes,
                                   size_t n, hearth_error *err);
HEARTH_MUST_CHECK
hearth_status hearth_encode_release(hearth_buf *buf, const hearth_release *rel);
HEARTH_MUST_CHECK
hearth_status hearth_decode_release(hearth_release *rel, const uint8_t *bytes,
                                    size_t n, hearth_error *err);

/* Append the signed envelope of a keyset (release) to buf.
 *
 * Returns HEARTH_OK, the errors of encode, or those of hearth_sign_bytes; buf
 * is as it was on failure. */
HEARTH_MUST_CHECK
hearth_status hearth_keyset_seal(hearth_buf *buf, const hearth_keyset *ks,
                                 const hearth_sign_keypair *root);
HEARTH_MUST_CHECK
hearth_status hearth_release_seal(hearth_buf *buf, const hearth_release *rel,
                                  const hearth_sign_keypair *release_key);

/* Verify and read a keyset.
 *
 *   root  public root key that the caller trusts (pinned at init)
 *   now_ms  absolute; 0 skips the expiry test (hearthd reading its own file)
 *
 * Returns HEARTH_OK
 *         HEARTH_EINVAL     a NULL argument
 *         HEARTH_ETOOBIG HEARTH_EVERSION HEARTH_EFORMAT HEARTH_ENOMEM as decode
 *         HEARTH_ESIGNATURE signed by another key, or altered
 *         HEARTH_EEXPIRED   now_ms >= expires_ms
 * and *ks is zero on failure.  A caller that holds an older keyset of this
 * root also checks that version did not fall (HEARTH_EREPLAY). */
HEARTH_MUST_CHECK
hearth_status hearth_keyset_open(hearth_keyset *ks, const uint8_t *bytes,
                                 size_t n,
                                 const uint8_t root[HEARTH_SIGN_PUBLIC_BYTES],
                                 uint64_t now_ms, hearth_error *err);

/* The key that a keyset envelope claims to be signed by, not verified: for
 * `hearth init`, which compares its pin with --root before it trusts it.
 * Returns HEARTH_OK, HEARTH_EINVAL, or the decode errors. */
HEARTH_MUST_CHECK
hearth_status hearth_signed_claimed_key(const uint8_t *bytes, size_t n,
                                        uint8_t pub[HEARTH_SIGN_PUBLIC_BYTES],
                                        hearth_error *err);

/* Verify and read a release manifest; the signer must be a release key of ks.
 * Errors as hearth_keyset_open.  The caller also checks task, that sequence
 * did not fall, and content_sha256 over the content before it uses it. */
HEARTH_MUST_CHECK
hearth_status hearth_release_open(hearth_release *rel, const uint8_t *bytes,
                                  size_t n, const hearth_keyset *ks,
                                  uint64_t now_ms, hearth_error *err);

#endif /* HEARTH_PROTO_SIGNED_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* proto/signed.c - envelopes, and what they may hold.
 *
 * The signature covers a prefix, the kind and the body as one byte string, so
 * a keyset can not be replayed as a release.  The body is verified before it
 * is decoded: a forger never reaches the decoder of the body.
 */
#include "proto/signed.h"

#include <string.h>

#include "common/bytes.h"
#include "common/error.h"
#include "proto/fields.h"

static const char PREFIX[] = "hearth signed v1\n";

hearth_status hearth_encode_keyset(hearth_buf *buf, const hearth_keyset *ks) {
    return hearth_fields_encode(buf, &hearth_fields_keyset, ks);
}

hearth_status hearth_decode_keyset(hearth_keyset *ks, const uint8_t *bytes,
                                   size_t n, hearth_error *err) {
    return hearth_fields_decode(ks, &hearth_fields_keyset, bytes, n, err);
}

hearth_status hearth_encode_release(hearth_buf *buf,
                                    const hearth_release *rel) {
    return hearth_fields_encode(buf, &hearth_fields_release, rel);
}

hearth_status hearth_decode_release(hearth_release *rel, const uint8_t *bytes,
                                    size_t n, hearth_error *err) {
    return hearth_fields_decode(rel, &hearth_fields_release, bytes, n, err);
}

/* prefix, kind, newline, body: what is signed. */
static hearth_status signed_bytes(hearth_buf *out, const char *kind,
                                  const uint8_t *body, size_t n) {
    (void)hearth_buf_puts(out, PREFIX);
    (void)hearth_buf_puts(out, kind);
    (void)hearth_buf_putc(out, '\n');
    (void)hearth_buf_append(out, body, n);
    return out->failed ? HEARTH_ENOMEM : HEARTH_OK;
}

static hearth_status seal(hearth_buf *buf, const char *kind,
                          const hearth_fields *t, const void *m,
                          const hearth_sign_keypair *key) {
    hearth_buf body = HEARTH_BUF_INIT(NULL), text = HEARTH_BUF_INIT(NULL);
    hearth_envelope env;
    hearth_status st;

    if (!buf || !m || !key) return HEARTH_EINVAL;
    memset(&env, 0, sizeof(env));
    memcpy(env.kind, kind, strlen(kind));
    memcpy(env.key, hearth_sign_public(key), sizeof(env.key));
    if ((st = hearth_fields_encode(&body, t, m)) != HEARTH_OK) goto done;
    env.body = body.v;
    env.body_n = (uint32_t)body.n;
    if ((st = signed_bytes(&text, kind, body.v, body.n)) != HEARTH_OK)
        goto done;
    if ((st = hearth_sign_bytes(key, text.v, text.n, env.sig)) != HEARTH_OK)
        goto done;
    st = hearth_fields_encode(buf, &hearth_fields_envelope, &env);

done:
    hearth_buf_free(&text);
    hearth_buf_free(&body);
    return st;
}

hearth_status hearth_keyset_seal(hearth_buf *buf, const hearth_keyset *ks,
                                 const hearth_sign_keypair *root) {
    return seal(buf, "keyset", &hearth_fields_keyset, ks, root);
}

hearth_status hearth_release_seal(hearth_buf *buf, const hearth_release *rel,
                                  const hearth_sign_keypair *release_key) {
    return seal(buf, "release", &hearth_fields_release, rel, release_key);
}

/* Read the envelope and check kind, signer and signature, in that order. */
static hearth_status open_envelope(hearth_envelope *env, const char *kind,
                                   const uint8_t *bytes, size_t n,
                                   const uint8_t *keys, size_t n_keys,
                                   hearth_error *err) {
    hearth_buf text = HEARTH_BUF_INIT(NULL);
    bool known = false;
    hearth_status st =
        hearth_fields_decode(env, &hearth_fields_envelope, bytes, n, err);
    if (st != HEARTH_OK) return st;
    if (strcmp(env->kind, kind) != 0)
        return hearth_error_set(err, HEARTH_ESIGNATURE,
                                "signed as '%s', needed '%s'; the sender is "
                                "broken or hostile",
                                env->kind, kind);
    for (size_t i = 0; i < n_keys; i++)
        if (memcmp(env->key, keys + i * HEARTH_SIGN_PUBLIC_BYTES,
                   HEARTH_SIGN_PUBLIC_BYTES) == 0)
            known = true;
    if (!known)
        return hearth_error_set(err, HEARTH_ESIGNATURE,
                                "%s: signed by a key that is not trusted here; "
                                "fetch the keyset again or check the root pin",
                                kind);
    st = signed_bytes(&text, kind, env->body, env->body_n);
    if (st == HEARTH_OK)
        st = hearth_sign_verify(env->key, text.v, text.n, env->sig);
    hearth_buf_free(&text);
    if (st == HEARTH_OK || st == HEARTH_ENOMEM) return st;
    return hearth_error_set(err, HEARTH_ESIGNATURE,
                            "%s: the signature does not match; the bytes were "
                            "altered, fetch them again",
                            kind);
}

static hearth_status check_expiry(const char *what, uint64_t expires_ms,
                                  uint64_t now_ms, hearth_error *err) {
    if (now_ms == 0 || now_ms < expires_ms) return HEARTH_OK;
    return hearth_error_set(err, HEARTH_EEXPIRED,
                            "%s: expired; check the clock of this machine, "
                            "then ask the operator for a new one",
                            what);
}

hearth_status hearth_keyset_open(hearth_keyset *ks, const uint8_t *bytes,
                                 size_t n,
                                 const uint8_t root[HEARTH_SIGN_PUBLIC_BYTES],
                                 uint64_t now_ms, hearth_error *err) {
    hearth_envelope env;
    hearth_status st;
    if (!ks || !root || !bytes)
        return hearth_error_set(err, HEARTH_EINVAL, "keyset: NULL argument");
    memset(ks, 0, sizeof(*ks));
    st = open_envelope(&env, "keyset", bytes, n, root, 1, err);
    if (st != HEARTH_OK) return st;
    st = hearth_decode_keyset(ks, env.body, env.body_n, err);
    if (st == HEARTH_OK)
        st = check_expiry("keyset", ks->expires_ms, now_ms, err);
    if (st != HEARTH_OK) memset(ks, 0, sizeof(*ks));
    return st;
}

hearth_status hearth_release_open(hearth_release *rel, const uint8_t *bytes,
                                  size_t n, const hearth_keyset *ks,
                                  uint64_t now_ms, hearth_error *err) {
    hearth_envelope env;
    hearth_status st;
    if (!rel || !ks || !bytes ||
        ks->n_release_keys > HEARTH_PROTO_MAX_RELEASE_KEYS)
        return hearth_error_set(err, HEARTH_EINVAL, "release: bad argument");
    memset(rel, 0, sizeof(*rel));
    st = open_envelope(&env, "release", bytes, n, ks->release_keys[0],
                       ks->n_release_keys, err);
    if (st != HEARTH_OK) return st;
    st = hearth_decode_release(rel, env.body, env.body_n, err);
    if (st == HEARTH_OK)
        st = check_expiry("release", rel->expires_ms, now_ms, err);
    if (st != HEARTH_OK) memset(rel, 0, sizeof(*rel));
    return st;
}

hearth_status hearth_signed_claimed_key(const uint8_t *bytes, size_t n,
                                        uint8_t pub[HEARTH_SIGN_PUBLIC_BYTES],
                                        hearth_error *err) {
    hearth_envelope env;
    hearth_status st;
    if (!bytes || !pub)
        return hearth_error_set(err, HEARTH_EINVAL, "keyset: NULL argument");
    memset(pub, 0, HEARTH_SIGN_PUBLIC_BYTES);
    st = hearth_fields_decode(&env, &hearth_fields_envelope, bytes, n, err);
    if (st == HEARTH_OK) memcpy(pub, env.key, HEARTH_SIGN_PUBLIC_BYTES);
    return st;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* common/adapter_digest.h - what may be averaged with what, as three digests.
 *
 *   space    which model, tokenizer, template, modules and A: must match
 *   shape    rank and alpha of every module, rslora
 *   payload  the tensors of one round in order, their offsets, the scale, the
 *            bounds: carried in offer, upload and release
 *
 * Each is SHA-256 over a canonical text, which hearth_adapter_*_text gives, so
 * that a mismatch can be shown line by line.  Lines end in "\n"; numbers are
 * decimal; floats are the 8 hex digits of their bits; digests are lower-case
 * hex.  proto/PROTOCOL.md is normative.
 *
 * Threads: pure functions.
 * Memory:  the digests hash line by line and allocate nothing.
 */
#ifndef HEARTH_COMMON_ADAPTER_DIGEST_H
#define HEARTH_COMMON_ADAPTER_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#include "common/adapter.h"
#include "common/buf.h"
#include "common/status.h"

#define HEARTH_PAYLOAD_MAX_COORDS 16

/* The base that an adapter belongs to; all zero means "none". */
typedef struct {
    uint8_t checkpoint[32]; /* digest of the source checkpoint */
    uint8_t tokenizer[32];
    uint8_t chat_template[32];
} hearth_base_identity;

/* How the payload of one round turns into integers. */
typedef struct {
    uint64_t scale_num, scale_den; /* integers per weight unit, > 0 */
    uint64_t bound_squared;        /* D_d^2: integer norm bound of the deltas */
    uint64_t delta2_squared;       /* Delta2^2 = D_d^2 + sum s_k^2 */
    size_t n_coords;               /* extra coordinates, appended last */
    uint32_t coord_max[HEARTH_PAYLOAD_MAX_COORDS]; /* s_k */
} hearth_payload_terms;

/* Digest of the space.  A counts as frozen from its seed when freeze_a and
 * has_a_seed are set (seed and SHA-256 of A's little-endian floats go in);
 * otherwise as "none".
 * Returns HEARTH_OK, HEARTH_EINVAL, or the status of common/hash.h; out is
 * zero on failure.  The same for the two below. */
HEARTH_MUST_CHECK
hearth_status hearth_adapter_space_digest(const hearth_adapter *a,
                                          const hearth_base_identity *base,
                                          uint8_t out[32]);
HEARTH_MUST_CHECK
hearth_status hearth_adapter_shape_digest(const hearth_adapter *a,
                                          uint8_t out[32]);
HEARTH_MUST_CHECK
hearth_status hearth_adapter_payload_digest(const hearth_adapter *a,
                                            hearth_part part,
                                            const hearth_payload_terms *terms,
                                            uint8_t out[32]);

/* SHA-256 of the values of a part as little-endian floats, canonical order. */
HEARTH_MUST_CHECK
hearth_status hearth_adapter_values_digest(const hearth_adapter *a,
                                           hearth_part part, uint8_t out[32]);

/* The texts that are hashed, appended to buf. */
HEARTH_MUST_CHECK
hearth_status hearth_adapter_space_text(const hearth_adapter *a,
                                        const hearth_base_identity *base,
                                        hearth_buf *buf);
HEARTH_MUST_CHECK
hearth_status hearth_adapter_shape_text(const hearth_adapter *a,
                                        hearth_buf *buf);
HEARTH_MUST_CHECK
hearth_status hearth_adapter_payload_text(const hearth_adapter *a,
                                          hearth_part part,
                                          const hearth_payload_terms *terms,
                                          hearth_buf *buf);

#endif /* HEARTH_COMMON_ADAPTER_DIGEST_H */

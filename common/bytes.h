/* SPDX-License-Identifier: Apache-2.0 */
/* common/bytes.h - integers in byte order, hex, base64, wiping, comparing.
 *
 * Threads: no shared state.   Memory: allocates nothing.
 */
#ifndef HEARTH_COMMON_BYTES_H
#define HEARTH_COMMON_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

/* Little-endian loads and stores; p needs no alignment. */
uint16_t hearth_load_le16(const void *p);
uint32_t hearth_load_le32(const void *p);
uint64_t hearth_load_le64(const void *p);
void hearth_store_le32(void *p, uint32_t v);
void hearth_store_le64(void *p, uint64_t v);

/* Big-endian. */
uint32_t hearth_load_be32(const void *p);
uint64_t hearth_load_be64(const void *p);
void hearth_store_be32(void *p, uint32_t v);
void hearth_store_be64(void *p, uint64_t v);

/* Lower-case hex of n bytes to out [2 n + 1], with a NUL, in constant time. */
void hearth_hex_encode(char *out, const void *p, size_t n);

/* Exactly 2 n hex digits of s (length s_n) to out [n].  HEARTH_EFORMAT on any
 * other length or character; out is then unspecified. */
HEARTH_MUST_CHECK hearth_status hearth_hex_decode(void *out, size_t n,
                                                  const char *s, size_t s_n);

/* Base64 of RFC 4648 section 4 with padding.  out needs
 * HEARTH_BASE64_LEN(n) + 1 bytes; it is NUL-terminated. */
#define HEARTH_BASE64_LEN(n) (((n) + 2) / 3 * 4)
void hearth_base64_encode(char *out, const void *p, size_t n);

/* Decode s [s_n] into out [cap]; *n = bytes written.  HEARTH_EFORMAT on bad
 * input or a result longer than cap. */
HEARTH_MUST_CHECK hearth_status hearth_base64_decode(void *out, size_t cap,
                                                     size_t *n, const char *s,
                                                     size_t s_n);

/* Equal?  Time depends on n only. */
bool hearth_bytes_equal_ct(const void *a, const void *b, size_t n);

/* Wipe in a way that no compiler removes.  p may be NULL when n is 0. */
void hearth_zeroize(void *p, size_t n);

/* Is s [n] well-formed UTF-8 (RFC 3629: no surrogates, no overlong)? */
bool hearth_utf8_valid(const char *s, size_t n);

/* Length of the longest prefix of s [n] that ends at a character boundary of
 * well-formed UTF-8; an incomplete last character is left out. */
size_t hearth_utf8_complete(const char *s, size_t n);

#endif /* HEARTH_COMMON_BYTES_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* common/bytes.c - the contract is in bytes.h. */
#include "common/bytes.h"

#include <string.h>

#include "common/ct.h"

uint16_t hearth_load_le16(const void *p) {
    const uint8_t *b = p;
    return (uint16_t)(b[0] | b[1] << 8);
}

uint32_t hearth_load_le32(const void *p) {
    const uint8_t *b = p;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 |
           (uint32_t)b[3] << 24;
}

uint64_t hearth_load_le64(const void *p) {
    const uint8_t *b = p;
    return (uint64_t)hearth_load_le32(b) | (uint64_t)hearth_load_le32(b + 4)
                                               << 32;
}

void hearth_store_le32(void *p, uint32_t v) {
    uint8_t *b = p;
    for (int i = 0; i < 4; i++) b[i] = (uint8_t)(v >> (8 * i));
}

void hearth_store_le64(void *p, uint64_t v) {
    uint8_t *b = p;
    for (int i = 0; i < 8; i++) b[i] = (uint8_t)(v >> (8 * i));
}

uint32_t hearth_load_be32(const void *p) {
    const uint8_t *b = p;
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 |
           (uint32_t)b[3];
}

uint64_t hearth_load_be64(const void *p) {
    const uint8_t *b = p;
    return (uint64_t)hearth_load_be32(b) << 32 | hearth_load_be32(b + 4);
}

void hearth_store_be32(void *p, uint32_t v) {
    uint8_t *b = p;
    for (int i = 0; i < 4; i++) b[i] = (uint8_t)(v >> (24 - 8 * i));
}

void hearth_store_be64(void *p, uint64_t v) {
    uint8_t *b = p;
    for (int i = 0; i < 8; i++) b[i] = (uint8_t)(v >> (56 - 8 * i));
}

/* digit[at], 0 <= at < n, by looking at all of them: keys and tokens are
 * written with it, and an address tells which cache line was read. */
static char pick(const char *digit, unsigned n, unsigned at) {
    unsigned found = 0;
    for (unsigned i = 0; i < n; i++)
        found |= (unsigned char)digit[i] & (0 - (((i ^ at) - 1) >> 31));
    return (char)found;
}

void hearth_hex_encode(char *out, const void *p, size_t n) {
    static const char digit[] = "0123456789abcdef";
    const uint8_t *b = p;
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = pick(digit, 16, b[i] >> 4);
        out[2 * i + 1] = pick(digit, 16, b[i] & 15);
    }
    out[2 * n] = '\0';
}

static int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

hearth_status hearth_hex_decode(void *out, size_t n, const char *s,
                                size_t s_n) {
    uint8_t *b = out;
    if (n > SIZE_MAX / 2 || s_n != 2 * n) return HEARTH_EFORMAT;
    for (size_t i = 0; i < n; i++) {
        int hi = hex_value(s[2 * i]), lo = hex_value(s[2 * i + 1]);
        if (hi < 0 || lo < 0) return HEARTH_EFORMAT;
        b[i] = (uint8_t)(hi << 4 | lo);
    }
    return HEARTH_OK;
}

static const char base64_digit[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void hearth_base64_encode(char *out, const void *p, size_t n) {
    const uint8_t *b = p;
    for (size_t i = 0; i < n; i += 3, out += 4) {
        uint32_t v = (uint32_t)b[i] << 16;
        if (i + 1 < n) v |= (uint32_t)b[i + 1] << 8;
        if (i + 2 < n) v |= b[i + 2];
        out[0] = pick(base64_digit, 64, v >> 18);
        out[1] = pick(base64_digit, 64, v >> 12 & 63);
        out[2] = i + 1 < n ? pick(base64_digit, 64, v >> 6 & 63) : '=';
        out[3] = i + 2 < n ? pick(base64_digit, 64, v & 63) : '=';
    }
    *out = '\0';
}

static int base64_value(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '+') return 62;
    if (c == '/') return 63;
    return -1;
}

hearth_status hearth_base64_decode(void *out, size_t cap, size_t *n,
                                   const char *s, size_t s_n) {
    uint8_t *b = out;
    *n = 0;
    if (s_n % 4) return HEARTH_EFORMAT;
    size_t pad = 0;
    while (pad < 2 && pad < s_n && s[s_n - 1 - pad] == '=') pad++;
    size_t total = s_n / 4 * 3 - pad;
    if (total > cap) return HEARTH_EFORMAT;
    for (size_t i = 0; i < s_n; i += 4) {
        uint32_t v = 0;
        for (size_t k = 0; k < 4; k++) {
            bool is_pad = i + k >= s_n - pad;
            int d = is_pad ? 0 : base64_value(s[i + k]);
            if (d < 0) return HEARTH_EFORMAT;
            v = v << 6 | (uint32_t)d;
        }
        for (size_t k = 0; k < 3; k++) {
            size_t at = i / 4 * 3 + k;
            uint8_t byte = (uint8_t)(v >> (16 - 8 * k));
            if (at < total)
                b[at] = byte;
            else if (byte)
                return HEARTH_EFORMAT; /* bits after the end */
        }
    }
    *n = total;
    return HEARTH_OK;
}

bool hearth_bytes_equal_ct(const void *a, const void *b, size_t n) {
    const volatile uint8_t *x = a, *y = b;
    uint8_t diff = 0;
    for (size_t i = 0; i < n; i++) diff = (uint8_t)(diff | (x[i] ^ y[i]));
    return HEARTH_CT_PUBLIC(diff) == 0; /* the answer is for everyone */
}

void hearth_zeroize(void *p, size_t n) {
#if defined(__GNUC__)
    if (n) memset(p, 0, n);
    /* Says that somebody may read the bytes: the stores must happen. */
    __asm__ __volatile__("" : : "r"(p) : "memory");
#else
    volatile uint8_t *b = p; /* volatile: the stores must happen */
    for (size_t i = 0; i < n; i++) b[i] = 0;
#endif
}

/* Bytes of the well-formed character at s [n]: 0 when broken, and
 * *incomplete when more bytes could still make it whole.
 * Source: RFC 3629 section 4. */
static size_t utf8_length(const uint8_t *s, size_t n, bool *incomplete) {
    uint8_t c = s[0], lo = 0x80, hi = 0xBF;
    size_t want;
    *incomplete = false;
    if (c < 0x80) return 1;
    if (c >= 0xC2 && c <= 0xDF)
        want = 2;
    else if (c >= 0xE0 && c <= 0xEF)
        want = 3;
    else if (c >= 0xF0 && c <= 0xF4)
        want = 4;
    else
        return 0;
    if (c == 0xE0) lo = 0xA0;
    if (c == 0xED) hi = 0x9F;
    if (c == 0xF0) lo = 0x90;
    if (c == 0xF4) hi = 0x8F;
    for (size_t i = 1; i < want; i++) {
        if (i >= n) {
            *incomplete = true;
            return 0;
        }
        if (s[i] < lo || s[i] > hi) return 0;
        lo = 0x80;
        hi = 0xBF;
    }
    return want;
}

bool hearth_utf8_valid(const char *s, size_t n) {
    bool incomplete;
    for (size_t i = 0; i < n;) {
        size_t k = utf8_length((const uint8_t *)s + i, n - i, &incomplete);
        if (!k) return false;
        i += k;
    }
    return true;
}

size_t hearth_utf8_complete(const char *s, size_t n) {
    bool incomplete;
    for (size_t i = 0; i < n;) {
        size_t k = utf8_length((const uint8_t *)s + i, n - i, &incomplete);
        if (!k && incomplete) return i;
        i += k ? k : 1; /* broken bytes stay: nothing will mend them */
    }
    return n;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* client/tokenizer/tokenizer_decode.c - ids to text, one piece after another.
 *
 * Every decoder rule but Strip works on one token by itself (the loader refuses
 * orders in which that would be wrong), so a text is the sum of its pieces with
 * the ends trimmed.
 */
#include <string.h>

#include "client/tokenizer/tokenizer_parts.h"
#include "common/error.h"

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

/* The byte that "<0xNN>" stands for, or -1. */
static int byte_of(const char *s, size_t n) {
    if (n != 6 || memcmp(s, "<0x", 3) != 0 || s[5] != '>') return -1;
    int high = hex_digit(s[3]), low = hex_digit(s[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* GPT-2's alphabet back to bytes; a token with any other character in it (an
 * added token) is text as it stands. */
static hearth_status put_byte_level(const char *s, size_t n, hearth_buf *out) {
    size_t had = out->n;
    uint32_t c;
    for (size_t i = 0; i < n;) {
        i += hearth_tokenizer__utf8(s + i, &c);
        int b = hearth_tokenizer__char_to_byte(c);
        if (b < 0) {
            out->n = had;
            return hearth_buf_append(out, s, n);
        }
        hearth_status st = hearth_buf_putc(out, (unsigned char)b);
        if (st != HEARTH_OK) return st;
    }
    return HEARTH_OK;
}

static hearth_status put_rules(const hearth_tokenizer *t, const char *s,
                               size_t n, hearth_buf *out) {
    hearth_buf buf[2] = {HEARTH_BUF_INIT(out->al), HEARTH_BUF_INIT(out->al)};
    hearth_status st = HEARTH_OK;
    size_t now = 0;
    int byte = -1;
    for (size_t i = 0; st == HEARTH_OK && byte < 0 && i < t->n_decode; i++) {
        if (t->decode[i].kind == RULE_BYTE_FALLBACK) byte = byte_of(s, n);
        if (t->decode[i].kind != RULE_REPLACE) continue;
        hearth_buf_clear(&buf[now]);
        st = hearth_tokenizer__replace(&t->decode[i], s, n, &buf[now]);
        s = hearth_buf_str(&buf[now]);
        n = buf[now].n;
        now = !now;
    }
    if (st == HEARTH_OK)
        st = byte >= 0 ? hearth_buf_putc(out, (unsigned char)byte)
                       : hearth_buf_append(out, s, n);
    hearth_buf_free(&buf[0]);
    hearth_buf_free(&buf[1]);
    return st;
}

hearth_status hearth_tokenizer_piece(const hearth_tokenizer *t, int32_t id,
                                     hearth_buf *out, hearth_error *err) {
    size_t n = 0, had;
    if (!t || !out || id < 0 || (size_t)id >= t->n_ids)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "token id %d is outside the vocabulary; use "
                                "the tokenizer the ids were made with",
                                (int)id);
    const char *s = hearth_tokenizer__text(t, (size_t)id, &n);
    if (!s) return HEARTH_OK; /* a gap in the ids: no text */
    had = out->n;
    hearth_status st = t->decode_byte_level ? put_byte_level(s, n, out)
                                            : put_rules(t, s, n, out);
    if (st == HEARTH_OK) return st;
    out->n = had;
    return hearth_error_set(err, st, "out of memory for a text");
}

/* Remove up to `start` copies of `from` at the start of out[had..], and up to
 * `stop` at its end. */
static void strip(const tokenizer_rule *r, hearth_buf *out, size_t had) {
    size_t n = out->n - had, cut = 0;
    unsigned char *s = out->v + had;
    for (unsigned i = 0; i < r->start && n - cut >= r->n_from; i++) {
        if (memcmp(s + cut, r->from, r->n_from) != 0) break;
        cut += r->n_from;
    }
    memmove(s, s + cut, n - cut);
    n -= cut;
    for (unsigned i = 0; i < r->stop && n >= r->n_from; i++) {
        if (memcmp(s + n - r->n_from, r->from, r->n_from) != 0) break;
        n -= r->n_from;
    }
    out->n = had + n;
    s[n] = 0;
}

hearth_status hearth_tokenizer_decode(const hearth_tokenizer *t,
                                      const int32_t *id, size_t n,
                                      bool skip_special, hearth_buf *out,
                                      hearth_error *err) {
    if (!t || !out || (!id && n))
        return hearth_error_set(err, HEARTH_EINVAL, "nothing to decode");
    size_t had = out->n;
    for (size_t i = 0; i < n; i++) {
        if (skip_special && hearth_tokenizer_is_special(t, id[i])) continue;
        hearth_status st = hearth_tokenizer_piece(t, id[i], out, err);
        if (st != HEARTH_OK) {
            out->n = had;
            return st;
        }
    }
    for (size_t i = 0; out->n > had && i < t->n_decode; i++)
        if (t->decode[i].kind == RULE_STRIP) strip(&t->decode[i], out, had);
    return HEARTH_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* common/jsonpull.c - the contract is in jsonpull.h.
 *
 * One state byte says what may come next; the stack of open containers says
 * where a value belongs.  Nothing is ever read at or past text + n.
 */
#include "common/jsonpull.h"

#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"

enum {
    WANT_VALUE,        /* a value */
    WANT_VALUE_OR_END, /* just after '[' */
    WANT_KEY,          /* after ',' in an object */
    WANT_KEY_OR_END,   /* just after '{' */
    WANT_NEXT,         /* ',' or the end of the container */
    AT_END,
    FAILED
};

void hearth_jsonpull_init(hearth_jsonpull *p, const char *text, size_t n) {
    memset(p, 0, sizeof(*p));
    p->text = text;
    p->n = n;
    p->state = WANT_VALUE;
}

static hearth_jsonpull_event fail(hearth_jsonpull *p) {
    p->state = FAILED;
    return HEARTH_JSONPULL_ERROR;
}

static void skip_space(hearth_jsonpull *p) {
    while (p->at < p->n && (p->text[p->at] == ' ' || p->text[p->at] == '\t' ||
                            p->text[p->at] == '\n' || p->text[p->at] == '\r'))
        p->at++;
}

static int hex4(const char *s) {
    uint8_t b[2];
    if (hearth_hex_decode(b, 2, s, 4) != HEARTH_OK) return -1;
    return b[0] << 8 | b[1];
}

/* Is the escape at text[at] (a backslash) whole and known?  Its length, 0 when
 * broken.  A surrogate pair is one escape of 12 bytes; a lone half is broken. */
static size_t escape_length(const char *s, size_t n) {
    if (n < 2) return 0;
    if (strchr("\"\\/bfnrt", s[1]) && s[1]) return 2;
    if (s[1] != 'u' || n < 6) return 0;
    int hi = hex4(s + 2);
    if (hi < 0 || (hi >= 0xDC00 && hi <= 0xDFFF)) return 0;
    if (hi < 0xD800 || hi > 0xDBFF) return 6;
    if (n < 12 || s[6] != '\\' || s[7] != 'u') return 0;
    int lo = hex4(s + 8);
    return lo >= 0xDC00 && lo <= 0xDFFF ? 12 : 0;
}

/* The string whose opening quote is at p->at. */
static bool read_string(hearth_jsonpull *p) {
    size_t start = ++p->at;
    p->escaped = false;
    while (p->at < p->n && p->text[p->at] != '"') {
        unsigned char c = (unsigned char)p->text[p->at];
        if (c < 0x20) return false;
        if (c == '\\') {
            size_t k = escape_length(p->text + p->at, p->n - p->at);
            if (!k) return false;
            p->escaped = true;
            p->at += k;
        } else {
            p->at++;
        }
    }
    if (p->at >= p->n) return false;
    p->token = p->text + start;
    p->token_n = p->at - start;
    p->at++;
    return hearth_utf8_valid(p->token, p->token_n);
}

static size_t digits(const hearth_jsonpull *p, size_t at) {
    size_t i = at;
    while (i < p->n && p->text[i] >= '0' && p->text[i] <= '9') i++;
    return i - at;
}

static bool read_number(hearth_jsonpull *p) {
    size_t i = p->at, k;
    if (p->text[i] == '-') i++;
    if (!(k = digits(p, i)) || (k > 1 && p->text[i] == '0')) return false;
    i += k;
    if (i < p->n && p->text[i] == '.') {
        if (!(k = digits(p, i + 1))) return false;
        i += 1 + k;
    }
    if (i < p->n && (p->text[i] == 'e' || p->text[i] == 'E')) {
        i++;
        if (i < p->n && (p->text[i] == '+' || p->text[i] == '-')) i++;
        if (!(k = digits(p, i))) return false;
        i += k;
    }
    p->token = p->text + p->at;
    p->token_n = i - p->at;
    p->at = i;
    return true;
}

static bool read_word(hearth_jsonpull *p, const char *word) {
    size_t k = strlen(word);
    if (p->n - p->at < k || memcmp(p->text + p->at, word, k) != 0) return false;
    p->at += k;
    return true;
}

/* A value has ended: what may follow? */
static void value_done(hearth_jsonpull *p) {
    p->state = p->depth ? WANT_NEXT : AT_END;
}

static hearth_jsonpull_event open_container(hearth_jsonpull *p, char kind) {
    if (p->depth >= HEARTH_JSONPULL_MAX_DEPTH) return fail(p);
    p->kind[p->depth++] = (unsigned char)kind;
    p->at++;
    p->state = kind == 'o' ? WANT_KEY_OR_END : WANT_VALUE_OR_END;
    return kind == 'o' ? HEARTH_JSONPULL_OBJECT : HEARTH_JSONPULL_ARRAY;
}

static hearth_jsonpull_event close_container(hearth_jsonpull *p) {
    char kind = (char)p->kind[--p->depth];
    p->at++;
    value_done(p);
    return kind == 'o' ? HEARTH_JSONPULL_OBJECT_END : HEARTH_JSONPULL_ARRAY_END;
}

static hearth_jsonpull_event read_value(hearth_jsonpull *p) {
    hearth_jsonpull_event ev;
    switch (p->text[p->at]) {
    case '{': return open_container(p, 'o');
    case '[': return open_container(p, 'a');
    case '"':
        if (!read_string(p)) return fail(p);
        ev = HEARTH_JSONPULL_STRING;
        break;
    case 't':
        if (!read_word(p, "true")) return fail(p);
        ev = HEARTH_JSONPULL_TRUE;
        break;
    case 'f':
        if (!read_word(p, "false")) return fail(p);
        ev = HEARTH_JSONPULL_FALSE;
        break;
    case 'n':
        if (!read_word(p, "null")) return fail(p);
        ev = HEARTH_JSONPULL_NULL;
        break;
    default:
        if (!read_number(p)) return fail(p);
        ev = HEARTH_JSONPULL_NUMBER;
    }
    value_done(p);
    return ev;
}

static hearth_jsonpull_event read_key(hearth_jsonpull *p) {
    if (p->text[p->at] != '"' || !read_string(p)) return fail(p);
    skip_space(p);
    if (p->at >= p->n || p->text[p->at] != ':') return fail(p);
    p->at++;
    p->state = WANT_VALUE;
    return HEARTH_JSONPULL_KEY;
}

hearth_jsonpull_event hearth_jsonpull_next(hearth_jsonpull *p) {
    if (p->state == FAILED) return HEARTH_JSONPULL_ERROR;
    skip_space(p);
    if (p->state == AT_END)
        return p->at == p->n ? HEARTH_JSONPULL_END : fail(p);
    if (p->at >= p->n) return fail(p);
    char c = p->text[p->at];
    if (p->state == WANT_NEXT) {
        char kind = (char)p->kind[p->depth - 1];
        if (c == (kind == 'o' ? '}' : ']')) return close_container(p);
        if (c != ',') return fail(p);
        p->at++;
        skip_space(p);
        if (p->at >= p->n) return fail(p);
        c = p->text[p->at];
        p->state = kind == 'o' ? WANT_KEY : WANT_VALUE;
    }
    if (p->state == WANT_KEY_OR_END && c == '}') return close_container(p);
    if (p->state == WANT_VALUE_OR_END && c == ']') return close_container(p);
    if (p->state == WANT_KEY || p->state == WANT_KEY_OR_END) return read_key(p);
    return read_value(p);
}

bool hearth_jsonpull_skip(hearth_jsonpull *p) {
    size_t depth = p->depth;
    if (p->state == WANT_VALUE) { /* after a KEY: read its value */
        hearth_jsonpull_event ev = hearth_jsonpull_next(p);
        if (ev <= HEARTH_JSONPULL_END) return false;
        if (ev != HEARTH_JSONPULL_OBJECT && ev != HEARTH_JSONPULL_ARRAY)
            return true;
        depth = p->depth;
    }
    while (p->depth >= depth)
        if (hearth_jsonpull_next(p) <= HEARTH_JSONPULL_END) return false;
    return true;
}

static size_t put_utf8(char out[4], uint32_t c) {
    if (c < 0x80) return out[0] = (char)c, 1;
    if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 63));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 63));
        out[2] = (char)(0x80 | (c & 63));
        return 3;
    }
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 63));
    out[2] = (char)(0x80 | (c >> 6 & 63));
    out[3] = (char)(0x80 | (c & 63));
    return 4;
}

/* One character (or plain byte) of the token at *at, unescaped. */
static size_t take_char(const hearth_jsonpull *p, size_t *at, char out[4]) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *s = p->token + *at;
    if (*s != '\\') {
        out[0] = *s;
        *at += 1;
        return 1;
    }
    size_t k = escape_length(s, p->token_n - *at);
    *at += k;
    if (k == 2) {
        out[0] = to[strchr(from, s[1]) - from];
        return 1;
    }
    uint32_t c = (uint32_t)hex4(s + 2);
    if (k == 12)
        c = 0x10000 + ((c - 0xD800) << 10) + ((uint32_t)hex4(s + 8) - 0xDC00);
    return put_utf8(out, c);
}

hearth_status hearth_jsonpull_string(const hearth_jsonpull *p, char *out,
                                     size_t cap, size_t *n) {
    size_t done = 0;
    *n = 0;
    for (size_t at = 0; at < p->token_n;) {
        char c[4];
        size_t k = take_char(p, &at, c);
        if (k > cap - done) return HEARTH_ETOOBIG;
        memcpy(out + done, c, k);
        done += k;
    }
    *n = done;
    return HEARTH_OK;
}

bool hearth_jsonpull_is(const hearth_jsonpull *p, const char *s) {
    size_t n = strlen(s), done = 0;
    if (!p->escaped) return n == p->token_n && !memcmp(p->token, s, n);
    for (size_t at = 0; at < p->token_n;) {
        char c[4];
        size_t k = take_char(p, &at, c);
        if (k > n - done || memcmp(s + done, c, k) != 0) return false;
        done += k;
    }
    return done == n;
}

hearth_status hearth_jsonpull_i64(const hearth_jsonpull *p, int64_t *out) {
    bool neg = p->token_n && p->token[0] == '-';
    uint64_t v = 0, limit = (uint64_t)INT64_MAX + (neg ? 1 : 0);
    for (size_t i = neg; i < p->token_n; i++) {
        char c = p->token[i];
        if (c < '0' || c > '9') return HEARTH_EFORMAT;
        uint64_t d = (uint64_t)(c - '0');
        if (v > (limit - d) / 10) return HEARTH_EFORMAT;
        v = v * 10 + d;
    }
    *out = neg ? (int64_t)(0 - v) : (int64_t)v;
    return HEARTH_OK;
}

hearth_status hearth_jsonpull_f64(const hearth_jsonpull *p, double *out) {
    char text[64], *end;
    if (p->token_n == 0 || p->token_n >= sizeof(text)) return HEARTH_EFORMAT;
    memcpy(text, p->token, p->token_n);
    text[p->token_n] = '\0';
    double v = strtod(text, &end);
    /* A locale with a decimal comma stops at the point: refuse, never guess. */
    if (*end || !(v <= 1.7976931348623157e308 && v >= -1.7976931348623157e308))
        return HEARTH_EFORMAT;
    *out = v;
    return HEARTH_OK;
}

size_t hearth_jsonpull_line(const hearth_jsonpull *p) {
    size_t line = 1;
    for (size_t i = 0; i < p->at && i < p->n; i++) line += p->text[i] == '\n';
    return line;
}

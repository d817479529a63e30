/* SPDX-License-Identifier: Apache-2.0 */
/* client/infer/text_gate.c - whole characters out, stop strings never. */
#include "client/infer/text_gate.h"

#include <string.h>

#include "common/bytes.h"

void hearth_text_gate_init(hearth_text_gate *g, const hearth_alloc *al) {
    *g = (hearth_text_gate){0};
    g->raw = (hearth_buf)HEARTH_BUF_INIT(al);
    g->held = (hearth_buf)HEARTH_BUF_INIT(al);
}

void hearth_text_gate_free(hearth_text_gate *g) {
    hearth_buf_free(&g->raw);
    hearth_buf_free(&g->held);
}

void hearth_text_gate_start(hearth_text_gate *g, const char *const *stop,
                            size_t n_stop,
                            bool (*out)(void *ud, const char *utf8, size_t n),
                            void *ud) {
    hearth_buf_clear(&g->raw);
    hearth_buf_clear(&g->held);
    g->stop = stop;
    g->n_stop = n_stop;
    g->out = out;
    g->ud = ud;
    g->stopped = g->cancelled = false;
}

/* Remove the first n bytes. */
static void drop(hearth_buf *b, size_t n) {
    memmove(b->v, b->v + n, b->n - n);
    b->n -= n;
}

/* Bytes of the character at s [n], 0 when it is broken. */
static size_t character(const char *s, size_t n) {
    for (size_t k = 1; k <= 4 && k <= n; k++)
        if (hearth_utf8_valid(s, k)) return k;
    return 0;
}

/* Bytes that one U+FFFD stands for: as many as could have begun a character.
 * Source: Unicode 15, section 3.9, "maximal subpart"; what the tokenizers
 * library and Python's decoder do. */
static size_t broken(const char *s, size_t n) {
    size_t k = 1;
    while (k < 3 && k < n && hearth_utf8_complete(s, k + 1) == 0) k++;
    return k;
}

/* From raw to held: whole characters as they are, broken bytes as U+FFFD; an
 * incomplete last character stays. */
static hearth_status take_characters(hearth_text_gate *g) {
    const char *s = (const char *)g->raw.v;
    size_t n = hearth_utf8_complete(s, g->raw.n), at = 0;
    while (at < n) {
        size_t k = character(s + at, n - at);
        hearth_status st = k ? hearth_buf_append(&g->held, s + at, k)
                             : hearth_buf_append(&g->held, "\xef\xbf\xbd", 3);
        if (st != HEARTH_OK) return st;
        at += k ? k : broken(s + at, n - at);
    }
    drop(&g->raw, n);
    return HEARTH_OK;
}

/* Give the first n held bytes to the app. */
static void give(hearth_text_gate *g, size_t n) {
    if (n && g->out && !g->out(g->ud, (const char *)g->held.v, n))
        g->cancelled = true;
    if (n) drop(&g->held, n);
}

/* Where the earliest stop string begins in held, or held.n. */
static size_t find_stop(const hearth_text_gate *g) {
    const char *text = (const char *)g->held.v;
    for (size_t at = 0; at < g->held.n; at++)
        for (size_t k = 0; k < g->n_stop; k++) {
            size_t n = strlen(g->stop[k]);
            if (n <= g->held.n - at && memcmp(text + at, g->stop[k], n) == 0)
                return at;
        }
    return g->held.n;
}

/* Where the longest tail begins that a stop string could begin with. */
static size_t find_prefix(const hearth_text_gate *g) {
    const char *text = (const char *)g->held.v;
    for (size_t at = 0; at < g->held.n; at++)
        for (size_t k = 0; k < g->n_stop; k++) {
            size_t left = g->held.n - at;
            if (left < strlen(g->stop[k]) &&
                memcmp(text + at, g->stop[k], left) == 0)
                return at;
        }
    return g->held.n;
}

hearth_status hearth_text_gate_push(hearth_text_gate *g, const char *bytes,
                                    size_t n) {
    if (g->stopped || g->cancelled || !n) return HEARTH_OK;
    if (hearth_buf_append(&g->raw, bytes, n) != HEARTH_OK ||
        take_characters(g) != HEARTH_OK)
        return HEARTH_ENOMEM;
    size_t at = find_stop(g);
    if (at < g->held.n) {
        g->stopped = true;
        give(g, at);
        return HEARTH_OK;
    }
    /* A stop string is UTF-8, so a match begins where a character begins. */
    give(g, find_prefix(g));
    return HEARTH_OK;
}

void hearth_text_gate_finish(hearth_text_gate *g) {
    if (!g->stopped && !g->cancelled) give(g, g->held.n);
}

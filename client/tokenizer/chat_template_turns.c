/* SPDX-License-Identifier: Apache-2.0 */
/* client/tokenizer/chat_template_turns.c - a conversation in the markup of a
 * chat template.
 *
 * The original renders one text and encodes it whole: added tokens cut it, and
 * each stretch between two of them is encoded as one.  The same is done here
 * piece by piece, so that a person's words stay words whatever they spell:
 * markup is cut at its control tokens, which become ids at once; other markup
 * and words gather in a run, which is encoded when the next control token
 * comes.  Where an answer begins the run is encoded too: it is what a
 * generator is given as a prompt.
 */
#include <string.h>

#include "client/tokenizer/chat_template_parts.h"
#include "client/tokenizer/tokenizer_parts.h"

/* ---- pieces ---- */

static hearth_status flush(chat_renderer *r, bool answer) {
    unsigned flags = !r->begun    ? 0u
                     : r->control ? (unsigned)HEARTH_TOKENIZE_LATER
                                  : (unsigned)HEARTH_TOKENIZE_CONTINUES;
    size_t from = r->ids->n;
    if (!r->run.n) return HEARTH_OK;
    r->begun = true;
    r->control = false;
    hearth_status st = hearth_tokenizer_encode_with(
        r->t, hearth_buf_str(&r->run), r->run.n, flags, r->ids, r->err);
    hearth_buf_clear(&r->run);
    return st == HEARTH_OK ? hearth_chat_template__mark(r, from, answer) : st;
}

static hearth_status put_id(chat_renderer *r, int32_t id, bool answer) {
    hearth_status st = flush(r, answer);
    size_t from = r->ids->n;
    if (st == HEARTH_OK) st = hearth_ids_push(r->ids, id);
    r->begun = r->control = true;
    return st == HEARTH_OK ? hearth_chat_template__mark(r, from, answer) : st;
}

/* The id of s [n] when it is an added token, else -1.  Special ones are known;
 * of another text, encoding tells. */
static hearth_status control_id(chat_renderer *r, const char *s, size_t n,
                                int32_t *id) {
    hearth_ids got;
    *id = hearth_tokenizer_id(r->t, s, n);
    if (*id < 0 || hearth_tokenizer_is_special(r->t, *id)) return HEARTH_OK;
    hearth_ids_init(&got, r->ids->al);
    hearth_status st = hearth_tokenizer_encode_with(
        r->t, s, n, HEARTH_TOKENIZE_ADDED | HEARTH_TOKENIZE_CONTINUES, &got,
        r->err);
    if (st == HEARTH_OK && (got.n != 1 || got.id[0] != *id)) *id = -1;
    hearth_ids_free(&got);
    return st;
}

/* Markup: a text between < and > may be a control token. */
static hearth_status put_markup(chat_renderer *r, const char *s, size_t n,
                                bool answer) {
    hearth_status st = HEARTH_OK;
    for (size_t i = 0, len; st == HEARTH_OK && i < n; i += len) {
        const char *close = s[i] == '<' ? memchr(s + i, '>', n - i) : NULL;
        int32_t id = -1;
        len = close ? (size_t)(close - (s + i)) + 1 : 1;
        if (close) st = control_id(r, s + i, len, &id);
        if (st != HEARTH_OK) return st;
        st = id >= 0 ? put_id(r, id, answer)
                     : hearth_buf_append(&r->run, s + i, len);
    }
    return st;
}

static hearth_status put_text(chat_renderer *r, const char *s) {
    return s ? put_markup(r, s, strlen(s), false) : HEARTH_OK;
}

/* Python's strip() takes these along, too. */
static bool is_separator(char c) {
    return c >= 0x1C && c <= 0x1F;
}

/* Drop the white space around what the run holds from `from` on. */
static void trim(hearth_buf *run, size_t from) {
    char *s = (char *)run->v + from;
    size_t n = run->n - from, start = 0, had;
    do {
        had = n;
        n = hearth_tokenizer__trimmed(s, n);
        if (n && is_separator(s[n - 1])) n--;
    } while (n < had);
    do {
        had = start;
        start += hearth_tokenizer__spaces(s + start, n - start);
        if (start < n && is_separator(s[start])) start++;
    } while (start > had);
    memmove(s, s + start, n - start);
    run->n = from + n - start;
}

/* ---- turns ---- */

static hearth_role role_of(const hearth_turn *turn) {
    if (turn->role == HEARTH_ROLE_SYSTEM) return turn->role;
    return hearth_role_is_answer(turn->role) ? HEARTH_ROLE_ASSISTANT
                                             : HEARTH_ROLE_USER;
}

/* Turns [0, return value) are one message: an instruction and its input. */
static size_t message_turns(const hearth_turn *turn, size_t n) {
    return n > 1 && turn[0].role == HEARTH_ROLE_INSTRUCTION &&
                   turn[1].role == HEARTH_ROLE_INPUT
               ? 2
               : 1;
}

/* Turns in an order that the original would not take. */
static hearth_status check_order(const chat_renderer *r,
                                 const hearth_turn *turn, size_t n) {
    unsigned flags = r->m->flags;
    bool system = turn[0].role == HEARTH_ROLE_SYSTEM, user = true;
    if (flags & CHAT_NO_SYSTEM && system)
        return hearth_error_set(r->err, HEARTH_EFORMAT,
                                "the model's template has no system turns; "
                                "put the words into the first user turn");
    if (!(flags & CHAT_ALTERNATE)) return HEARTH_OK;
    for (size_t i = system ? 1 : 0; i < n; user = !user) {
        if (role_of(&turn[i]) !=
            (user ? HEARTH_ROLE_USER : HEARTH_ROLE_ASSISTANT))
            return hearth_error_set(r->err, HEARTH_EFORMAT,
                                    "the model's template takes user and "
                                    "assistant turns in turn, a user's first; "
                                    "join or leave out turns");
        i += message_turns(turn + i, n - i);
    }
    return HEARTH_OK;
}

/* The words of a message, as one text. */
static hearth_status put_words(chat_renderer *r, const hearth_turn *turn,
                               size_t n, bool trims) {
    size_t from = r->run.n;
    hearth_status st = HEARTH_OK;
    for (size_t i = 0; st == HEARTH_OK && i < n; i++) {
        if (i) st = hearth_buf_append(&r->run, "\n\n", 2);
        if (st == HEARTH_OK)
            st = hearth_buf_append(&r->run, turn[i].text ? turn[i].text : "",
                                   turn[i].n);
    }
    if (st == HEARTH_OK && trims && r->run.n > from) trim(&r->run, from);
    return st;
}

/* What closes a message.  The mark that ends an answer is learnt, a line break
 * after it is not. */
static hearth_status put_after(chat_renderer *r, const char *s, bool answer) {
    size_t n = strlen(s), line = n && s[n - 1] == '\n' ? 1 : 0;
    if (!answer) return put_markup(r, s, n, false);
    hearth_status st = put_markup(r, s, n - line, true);
    if (st == HEARTH_OK) st = flush(r, true);
    return st == HEARTH_OK ? put_markup(r, s + n - line, line, false) : st;
}

/* A message of n turns; prefix: system words that go into it, or NULL. */
static hearth_status put_message(chat_renderer *r, const hearth_turn *turn,
                                 size_t n, const hearth_turn *prefix) {
    hearth_role role = role_of(turn);
    bool answer = role == HEARTH_ROLE_ASSISTANT;
    hearth_status st = put_text(r, r->m->role[role].before);
    if (st == HEARTH_OK && answer) st = flush(r, false);
    if (st == HEARTH_OK && prefix) {
        st = put_words(r, prefix, 1, false);
        if (st == HEARTH_OK)
            st = put_text(r, r->m->role[HEARTH_ROLE_SYSTEM].after);
    }
    if (st == HEARTH_OK) st = put_words(r, turn, n, r->m->flags & CHAT_TRIM);
    if (st == HEARTH_OK) st = put_after(r, r->m->role[role].after, answer);
    return st;
}

/* The system turn that a template writes itself: with the record's words, or
 * its own. */
static hearth_status put_system(chat_renderer *r, const hearth_turn *given) {
    const chat_wrap *wrap = &r->m->role[HEARTH_ROLE_SYSTEM];
    hearth_turn own = {HEARTH_ROLE_SYSTEM, r->m->system, 0};
    if (r->m->system) own.n = strlen(r->m->system);
    hearth_status st = put_text(r, wrap->before);
    if (st == HEARTH_OK) st = put_text(r, r->m->preamble);
    if (st == HEARTH_OK)
        st = put_words(r, given ? given : &own, 1, r->m->flags & CHAT_TRIM);
    return st == HEARTH_OK ? put_after(r, wrap->after, false) : st;
}

static bool opens_answer(const chat_renderer *r, const hearth_turn *last,
                         unsigned flags) {
    if (r->m->flags & CHAT_OPENS) return role_of(last) == HEARTH_ROLE_USER;
    return flags & HEARTH_CHAT_GENERATE;
}

hearth_status hearth_chat_template__render(chat_renderer *r,
                                           const hearth_turn *turn, size_t n,
                                           unsigned flags) {
    const hearth_turn *system = turn->role == HEARTH_ROLE_SYSTEM ? turn : NULL,
                      *prefix = NULL;
    int32_t bos = hearth_tokenizer_bos(r->t);
    size_t i = 0;
    hearth_status st = check_order(r, turn, n);
    if (st == HEARTH_OK && r->m->flags & CHAT_BEGIN && bos >= 0)
        st = put_id(r, bos, false);
    if (r->m->flags & CHAT_SYSTEM_IN_USER && system) {
        prefix = system;
        i = 1;
    } else if (st == HEARTH_OK && (system ? r->m->preamble : r->m->system)) {
        st = put_system(r, system);
        if (system) i = 1;
    }
    while (st == HEARTH_OK && i < n) {
        size_t turns = message_turns(turn + i, n - i);
        st = put_message(r, turn + i, turns, prefix);
        prefix = NULL;
        i += turns;
    }
    if (st == HEARTH_OK && opens_answer(r, &turn[n - 1], flags))
        st = put_text(r, r->m->open);
    return st == HEARTH_OK ? flush(r, false) : st;
}

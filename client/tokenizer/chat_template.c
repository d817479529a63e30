/* SPDX-License-Identifier: Apache-2.0 */
/* client/tokenizer/chat_template.c - the contract is in chat_template.h: names,
 * choosing one, and the plain template.
 *
 * In plain every turn is three pieces of text (a label, the person's words, a
 * line end), each encoded by itself; only answers and the token that ends them
 * are answer.
 */
#include "client/tokenizer/chat_template.h"

#include <string.h>

#include "client/tokenizer/chat_template_parts.h"
#include "client/tokenizer/template_source.h"
#include "common/bytes.h"
#include "common/error.h"
#include "common/mem.h"

bool hearth_role_is_answer(hearth_role role) {
    return role == HEARTH_ROLE_TEXT || role == HEARTH_ROLE_COMPLETION ||
           role == HEARTH_ROLE_ASSISTANT || role == HEARTH_ROLE_OUTPUT ||
           role == HEARTH_ROLE_CHOICE;
}

/* ---- names ---- */

const char *hearth_chat_template_name(hearth_chat_template tmpl) {
    const chat_markup *m = hearth_chat_template__row(tmpl);
    if (tmpl == HEARTH_TEMPLATE_AUTO) return "auto";
    if (m) m = hearth_chat_template__row(m->family);
    return m ? m->name : "unknown";
}

hearth_status hearth_chat_template_parse(hearth_chat_template *out,
                                         const char *name, hearth_error *err) {
    if (out && name)
        for (int i = HEARTH_TEMPLATE_AUTO; i < HEARTH_TEMPLATE_UNKNOWN; i++)
            if (strcmp(name, hearth_chat_template_name(
                                 (hearth_chat_template)i)) == 0) {
                *out = (hearth_chat_template)i;
                return HEARTH_OK;
            }
    return hearth_error_set(err, HEARTH_EINVAL,
                            "unknown template; use auto, plain, chatml, "
                            "llama3, gemma or smollm");
}

hearth_chat_template hearth_chat_template_resolve(hearth_chat_template tmpl,
                                                  const hearth_tokenizer *t) {
    if (tmpl != HEARTH_TEMPLATE_AUTO) return tmpl;
    const uint8_t *digest = hearth_tokenizer_template_digest(t);
    return digest ? hearth_template_source_find(digest) : HEARTH_TEMPLATE_PLAIN;
}

static hearth_status unknown(const hearth_tokenizer *t, hearth_error *err) {
    const uint8_t *digest = hearth_tokenizer_template_digest(t);
    char hex[17] = "-";
    if (digest) hearth_hex_encode(hex, digest, 8);
    return hearth_error_set(err, HEARTH_EUNSUPPORTED,
                            "the model's own chat template (%s..) is not one "
                            "that is known here; choose with --template plain, "
                            "chatml, llama3, gemma or smollm",
                            hex);
}

hearth_status hearth_chat_template_choose(hearth_chat_template *out,
                                          hearth_chat_template tmpl,
                                          const hearth_tokenizer *t,
                                          hearth_error *err) {
    if (!out || !t)
        return hearth_error_set(err, HEARTH_EINVAL, "no tokenizer given");
    *out = hearth_chat_template_resolve(tmpl, t);
    if (*out != HEARTH_TEMPLATE_UNKNOWN) return HEARTH_OK;
    *out = HEARTH_TEMPLATE_AUTO;
    return unknown(t, err);
}

int32_t hearth_chat_template_end(hearth_chat_template tmpl,
                                 const hearth_tokenizer *t) {
    const chat_markup *m = hearth_chat_template__row(tmpl);
    if (!m || !m->end) return -1;
    return hearth_tokenizer_id(t, m->end, strlen(m->end));
}

/* ---- the plain template ---- */

hearth_status hearth_chat_template__mark(chat_renderer *r, size_t from,
                                         bool answer) {
    hearth_status st = HEARTH_OK;
    if (!r->answer) return st;
    for (size_t i = from; st == HEARTH_OK && i < r->ids->n; i++)
        st = hearth_ids_push(r->answer, answer);
    return st;
}

static hearth_status put(chat_renderer *r, const char *s, size_t n, bool label,
                         bool answer) {
    unsigned flags = label ? HEARTH_TOKENIZE_ADDED : 0u;
    size_t from = r->ids->n;
    if (!n) return HEARTH_OK;
    if (r->begun) flags |= HEARTH_TOKENIZE_CONTINUES;
    r->begun = true;
    hearth_status st =
        hearth_tokenizer_encode_with(r->t, s, n, flags, r->ids, r->err);
    return st == HEARTH_OK ? hearth_chat_template__mark(r, from, answer) : st;
}

static hearth_status put_label(chat_renderer *r, const char *s, bool answer) {
    return s ? put(r, s, strlen(s), true, answer) : HEARTH_OK;
}

static bool is_space(char c) {
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* The words of a turn; `spaced` puts one space before them. */
static hearth_status put_words(chat_renderer *r, const hearth_turn *turn,
                               bool spaced, bool answer) {
    if (!spaced) return put(r, turn->text, turn->n, false, answer);
    char *s = hearth_mem_array(r->ids->al, turn->n + 1, 1);
    if (!s) return hearth_error_set(r->err, HEARTH_ENOMEM, "out of memory");
    s[0] = ' ';
    memcpy(s + 1, turn->text, turn->n);
    hearth_status st = put(r, s, turn->n + 1, false, answer);
    hearth_zeroize(s, turn->n + 1);
    hearth_mem_free(r->ids->al, s);
    return st;
}

static hearth_status put_turn(chat_renderer *r, const hearth_turn *prev,
                              const hearth_turn *turn) {
    const chat_wrap *m = &r->m->role[turn->role];
    bool answer = hearth_role_is_answer(turn->role), spaced = false;
    if (turn->n && !is_space(turn->text[0])) {
        bool label = m->before && m->before[0] && answer;
        bool joined = turn->role == HEARTH_ROLE_COMPLETION && prev && prev->n &&
                      !is_space(prev->text[prev->n - 1]);
        spaced = label || joined;
    }
    hearth_status st = put_label(r, m->before, false);
    if (st == HEARTH_OK) st = put_words(r, turn, spaced, answer);
    return st == HEARTH_OK ? put_label(r, m->after, answer) : st;
}

static hearth_status put_end(chat_renderer *r) {
    int32_t eos = hearth_tokenizer_eos(r->t);
    size_t from = r->ids->n;
    if (eos < 0) return HEARTH_OK;
    hearth_status st = hearth_ids_push(r->ids, eos);
    return st == HEARTH_OK ? hearth_chat_template__mark(r, from, true) : st;
}

/* The begin token, where the tokenizer puts one: the ids of the empty text
 * with its template, up to the first that is no special token. */
static hearth_status put_begin(chat_renderer *r) {
    hearth_ids with;
    hearth_status st;
    hearth_ids_init(&with, r->ids->al);
    size_t from = r->ids->n;
    int32_t bos = hearth_tokenizer_bos(r->t);
    st = hearth_tokenizer_encode_with(
        r->t, "", 0, HEARTH_TOKENIZE_SPECIAL | HEARTH_TOKENIZE_CONTINUES, &with,
        r->err);
    if (st == HEARTH_OK && with.n && bos >= 0 && with.id[0] == bos)
        st = hearth_ids_push(r->ids, bos);
    hearth_ids_free(&with);
    return st == HEARTH_OK ? hearth_chat_template__mark(r, from, false) : st;
}

/* The role that answers a turn. */
static hearth_role answer_role(hearth_role role) {
    switch (role) {
    case HEARTH_ROLE_SYSTEM:
    case HEARTH_ROLE_USER: return HEARTH_ROLE_ASSISTANT;
    case HEARTH_ROLE_INSTRUCTION:
    case HEARTH_ROLE_INPUT: return HEARTH_ROLE_OUTPUT;
    case HEARTH_ROLE_QUESTION: return HEARTH_ROLE_CHOICE;
    default: return HEARTH_ROLE_COMPLETION;
    }
}

static hearth_status render_plain(chat_renderer *r, const hearth_turn *turn,
                                  size_t n, unsigned flags) {
    hearth_status st = put_begin(r);
    for (size_t i = 0; st == HEARTH_OK && i < n; i++)
        st = put_turn(r, i ? &turn[i - 1] : NULL, &turn[i]);
    if (st != HEARTH_OK) return st;
    if (flags & HEARTH_CHAT_GENERATE)
        return put_label(r, r->m->role[answer_role(turn[n - 1].role)].before,
                         false);
    if (flags & HEARTH_CHAT_NO_END) return HEARTH_OK;
    return hearth_role_is_answer(turn[n - 1].role) ? put_end(r) : HEARTH_OK;
}

/* ---- any template ---- */

/* Does a turn of this role belong to a conversation, so that the model's own
 * markup has to stand around it? */
static bool needs_template(hearth_role role) {
    switch (role) {
    case HEARTH_ROLE_SYSTEM:
    case HEARTH_ROLE_USER:
    case HEARTH_ROLE_ASSISTANT:
    case HEARTH_ROLE_INSTRUCTION:
    case HEARTH_ROLE_INPUT:
    case HEARTH_ROLE_OUTPUT: return true;
    default: return false;
    }
}

/* Each text has to be UTF-8 by itself: joined, two halves would be. */
static hearth_status check_turns(const chat_markup *m,
                                 const hearth_tokenizer *t,
                                 const hearth_turn *turn, size_t n,
                                 hearth_error *err) {
    for (size_t i = 0; i < n; i++) {
        if ((!turn[i].text && turn[i].n) ||
            (size_t)turn[i].role >= CHAT_N_ROLES)
            return hearth_error_set(err, HEARTH_EINVAL, "a turn has no text");
        if (turn[i].n && !hearth_utf8_valid(turn[i].text, turn[i].n))
            return hearth_error_set(err, HEARTH_EINVAL,
                                    "the text is not UTF-8; convert it first");
        if (m->flags & CHAT_REFUSE && needs_template(turn[i].role))
            return unknown(t, err);
    }
    return HEARTH_OK;
}

hearth_status hearth_chat_encode(const hearth_tokenizer *t,
                                 hearth_chat_template tmpl,
                                 const hearth_turn *turn, size_t n_turns,
                                 unsigned flags, hearth_ids *ids,
                                 hearth_ids *answer, hearth_error *err) {
    if (!t || !turn || !n_turns || !ids)
        return hearth_error_set(err, HEARTH_EINVAL, "no turn to encode");
    const chat_markup *m =
        hearth_chat_template__row(hearth_chat_template_resolve(tmpl, t));
    if (!m) return hearth_error_set(err, HEARTH_EINVAL, "no such template");
    hearth_status st = check_turns(m, t, turn, n_turns, err);
    if (st != HEARTH_OK) return st;
    chat_renderer r = {.t = t,
                       .m = m,
                       .ids = ids,
                       .answer = answer,
                       .err = err,
                       .run = HEARTH_BUF_INIT(ids->al)};
    size_t had = ids->n, had_answer = answer ? answer->n : 0;
    /* A text by itself has no turns: no template puts anything around it. */
    if (n_turns == 1 && turn->role == HEARTH_ROLE_TEXT)
        r.m = hearth_chat_template__row(HEARTH_TEMPLATE_PLAIN);
    st = r.m->flags & CHAT_PLAIN
             ? render_plain(&r, turn, n_turns, flags)
             : hearth_chat_template__render(&r, turn, n_turns, flags);
    hearth_buf_free(&r.run);
    if (st == HEARTH_OK) return st;
    ids->n = had;
    if (answer) answer->n = had_answer;
    return st == HEARTH_ENOMEM
               ? hearth_error_set(err, st, "out of memory for a record")
               : st;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* client/tokenizer/chat_template.c - the contract is in chat_template.h.
 *
 * A template is a table: per role the markup before and after a turn.  Every
 * turn is three pieces of text (before, the person's words, after), each
 * encoded by itself; only markup may become control tokens, and only answers
 * and the mark that ends them are answer.
 */
#include "client/tokenizer/chat_template.h"

#include <string.h>

#include "common/bytes.h"
#include "common/error.h"
#include "common/hash.h"
#include "common/mem.h"

/* Part of the digest: raise it when the way turns are joined changes. */
#define TEMPLATE_VERSION "hearth-template-1"

#define N_ROLES ((size_t)HEARTH_ROLE_CHOICE + 1)

/* What stands around one turn. */
typedef struct {
    const char *before, *after;
} markup;

typedef struct {
    const char *name;
    const char *system;   /* a system turn where the record has none */
    const char *open;     /* markup that opens an answer */
    const char *probe;    /* a token that gives the template away */
    bool end_token;       /* the tokenizer's end token ends the record */
    markup role[N_ROLES]; /* by hearth_role */
} chat_markup;

/* clang-format off */
#define CHATML(name_, system_, probe_)                                        \
    {name_, system_, "<|im_start|>assistant\n", probe_, false, {              \
        [HEARTH_ROLE_SYSTEM] = {"<|im_start|>system\n", "<|im_end|>\n"},      \
        [HEARTH_ROLE_USER] = {"<|im_start|>user\n", "<|im_end|>\n"},          \
        [HEARTH_ROLE_ASSISTANT] = {"<|im_start|>assistant\n",                 \
                                   "<|im_end|>\n"}}}
#define LLAMA3(role_)                                                         \
    {"<|start_header_id|>" role_ "<|end_header_id|>\n\n", "<|eot_id|>"}

static const chat_markup TEMPLATE[] = {
    [HEARTH_TEMPLATE_AUTO] = {0},
    [HEARTH_TEMPLATE_PLAIN] = {"plain", NULL, NULL, NULL, true, {
        [HEARTH_ROLE_SYSTEM] = {"", "\n\n"},
        [HEARTH_ROLE_USER] = {"User: ", "\n"},
        [HEARTH_ROLE_ASSISTANT] = {"Assistant:", "\n"},
        [HEARTH_ROLE_INSTRUCTION] = {"Instruction: ", "\n"},
        [HEARTH_ROLE_INPUT] = {"Input: ", "\n"},
        [HEARTH_ROLE_OUTPUT] = {"Answer:", ""},
        [HEARTH_ROLE_QUESTION] = {"Question: ", "\n"},
        [HEARTH_ROLE_CHOICE] = {"Answer:", ""}}},
    [HEARTH_TEMPLATE_CHATML] = CHATML("chatml", NULL, "<|im_start|>"),
    [HEARTH_TEMPLATE_LLAMA3] = {"llama3", NULL,
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        "<|start_header_id|>", false, {
        [HEARTH_ROLE_SYSTEM] = LLAMA3("system"),
        [HEARTH_ROLE_USER] = LLAMA3("user"),
        [HEARTH_ROLE_ASSISTANT] = LLAMA3("assistant")}},
    [HEARTH_TEMPLATE_GEMMA] = {"gemma", NULL, "<start_of_turn>model\n",
        "<start_of_turn>", false, {
        [HEARTH_ROLE_SYSTEM] = {"<start_of_turn>user\n", "<end_of_turn>\n"},
        [HEARTH_ROLE_USER] = {"<start_of_turn>user\n", "<end_of_turn>\n"},
        [HEARTH_ROLE_ASSISTANT] = {"<start_of_turn>model\n",
                                   "<end_of_turn>\n"}}},
    [HEARTH_TEMPLATE_SMOLLM] = CHATML("smollm",
        "You are a helpful AI assistant named SmolLM, trained by Hugging Face",
        NULL),
};
/* clang-format on */
#define N_TEMPLATES (sizeof(TEMPLATE) / sizeof(TEMPLATE[0]))

bool hearth_role_is_answer(hearth_role role) {
    return role == HEARTH_ROLE_TEXT || role == HEARTH_ROLE_COMPLETION ||
           role == HEARTH_ROLE_ASSISTANT || role == HEARTH_ROLE_OUTPUT ||
           role == HEARTH_ROLE_CHOICE;
}

const char *hearth_chat_template_name(hearth_chat_template tmpl) {
    if ((size_t)tmpl >= N_TEMPLATES || !TEMPLATE[tmpl].name) return "auto";
    return TEMPLATE[tmpl].name;
}

hearth_status hearth_chat_template_parse(hearth_chat_template *out,
                                         const char *name, hearth_error *err) {
    if (out && name)
        for (size_t i = 0; i < N_TEMPLATES; i++)
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
    for (size_t i = 0; i < N_TEMPLATES; i++) {
        const char *probe = TEMPLATE[i].probe;
        if (probe && hearth_tokenizer_id(t, probe, strlen(probe)) >= 0)
            return (hearth_chat_template)i;
    }
    return HEARTH_TEMPLATE_PLAIN;
}

/* Add a text with its NUL, so that texts can not run into each other; an
 * absent one differs from an empty one. */
static hearth_status hash_text(hearth_sha256_state *h, const char *s) {
    return hearth_sha256_add(h, s ? s : "\x01", s ? strlen(s) + 1 : 2);
}

static hearth_status hash_template(hearth_sha256_state *h,
                                   const chat_markup *m) {
    hearth_status st = hash_text(h, TEMPLATE_VERSION);
    if (st == HEARTH_OK) st = hash_text(h, m->name);
    if (st == HEARTH_OK) st = hash_text(h, m->system);
    if (st == HEARTH_OK) st = hash_text(h, m->open);
    if (st == HEARTH_OK) st = hash_text(h, m->end_token ? "end" : "");
    for (size_t i = 0; st == HEARTH_OK && i < N_ROLES; i++) {
        st = hash_text(h, m->role[i].before);
        if (st == HEARTH_OK) st = hash_text(h, m->role[i].after);
    }
    return st;
}

hearth_status hearth_chat_template_digest(hearth_chat_template tmpl,
                                          uint8_t digest[32]) {
    hearth_sha256_state h;
    hearth_status st;
    if (!digest || (size_t)tmpl >= N_TEMPLATES || !TEMPLATE[tmpl].name)
        return HEARTH_EINVAL;
    if ((st = hearth_sha256_init(&h)) != HEARTH_OK) return st;
    st = hash_template(&h, &TEMPLATE[tmpl]);
    if (st == HEARTH_OK) st = hearth_sha256_finish(&h, digest);
    hearth_sha256_free(&h);
    return st;
}

/* ---- rendering ---- */

typedef struct {
    const hearth_tokenizer *t;
    const chat_markup *m;
    hearth_ids *ids, *answer;
    hearth_error *err;
    bool begun; /* some text was encoded */
} renderer;

/* Mark the ids from `from` on. */
static hearth_status mark(renderer *r, size_t from, bool answer) {
    hearth_status st = HEARTH_OK;
    if (!r->answer) return st;
    for (size_t i = from; st == HEARTH_OK && i < r->ids->n; i++)
        st = hearth_ids_push(r->answer, answer);
    return st;
}

static hearth_status put(renderer *r, const char *s, size_t n, bool markup_text,
                         bool answer) {
    unsigned flags = markup_text ? HEARTH_TOKENIZE_ADDED : 0u;
    size_t from = r->ids->n;
    if (!n) return HEARTH_OK;
    if (r->begun) flags |= HEARTH_TOKENIZE_CONTINUES;
    r->begun = true;
    hearth_status st =
        hearth_tokenizer_encode_with(r->t, s, n, flags, r->ids, r->err);
    return st == HEARTH_OK ? mark(r, from, answer) : st;
}

static hearth_status put_markup(renderer *r, const char *s, bool answer) {
    return s ? put(r, s, strlen(s), true, answer) : HEARTH_OK;
}

static bool is_space(char c) {
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* The words of a turn; `spaced` puts one space before them. */
static hearth_status put_words(renderer *r, const hearth_turn *turn,
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

/* Templates of chat models know three roles: the other forms are a question
 * and its answer in them. */
static const markup *markup_of(const renderer *r, hearth_role role) {
    if (r->m->end_token) return &r->m->role[role];
    if (role == HEARTH_ROLE_SYSTEM) return &r->m->role[role];
    return &r->m->role[hearth_role_is_answer(role) ? HEARTH_ROLE_ASSISTANT
                                                   : HEARTH_ROLE_USER];
}

/* The mark that ends an answer is learnt, a line break after it is not. */
static hearth_status put_after(renderer *r, const char *s, bool answer) {
    size_t n = s ? strlen(s) : 0, line = n && s[n - 1] == '\n' ? 1 : 0;
    hearth_status st = HEARTH_OK;
    if (!n) return st;
    if (r->m->end_token) return put(r, s, n, true, answer);
    st = put(r, s, n - line, true, answer);
    return st == HEARTH_OK ? put(r, s + n - line, line, true, false) : st;
}

/* Whether this turn goes on in the same message as the one before: an
 * instruction and its input are one message in chat templates. */
static bool same_message(const renderer *r, const hearth_turn *prev,
                         const hearth_turn *turn) {
    return !r->m->end_token && prev && prev->role == HEARTH_ROLE_INSTRUCTION &&
           turn->role == HEARTH_ROLE_INPUT;
}

static hearth_status put_turn(renderer *r, const hearth_turn *prev,
                              const hearth_turn *turn,
                              const hearth_turn *next) {
    const markup *m = markup_of(r, turn->role);
    bool answer = hearth_role_is_answer(turn->role), spaced = false;
    hearth_status st;
    if (r->m->end_token && turn->n && !is_space(turn->text[0])) {
        bool label = m->before && m->before[0] && answer;
        bool joined = turn->role == HEARTH_ROLE_COMPLETION && prev && prev->n &&
                      !is_space(prev->text[prev->n - 1]);
        spaced = label || joined;
    }
    st = same_message(r, prev, turn) ? put(r, "\n\n", 2, true, false)
                                     : put_markup(r, m->before, false);
    if (st == HEARTH_OK) st = put_words(r, turn, spaced, answer);
    if (st == HEARTH_OK && !(next && same_message(r, turn, next)))
        st = put_after(r, m->after, answer);
    return st;
}

static hearth_status put_end(renderer *r) {
    int32_t eos = hearth_tokenizer_eos(r->t);
    size_t from = r->ids->n;
    if (eos < 0) return HEARTH_OK;
    hearth_status st = hearth_ids_push(r->ids, eos);
    return st == HEARTH_OK ? mark(r, from, true) : st;
}

/* The begin token, where the tokenizer puts one: the ids of the empty text
 * with its template, up to the first that is no special token. */
static hearth_status put_begin(renderer *r) {
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
    return st == HEARTH_OK ? mark(r, from, false) : st;
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

static hearth_status render(renderer *r, const hearth_turn *turn, size_t n,
                            unsigned flags) {
    hearth_status st = put_begin(r);
    /* A text by itself has no turns: no template puts anything around it. */
    if (n == 1 && turn->role == HEARTH_ROLE_TEXT) {
        if (st == HEARTH_OK) st = put_words(r, turn, false, true);
        if (st != HEARTH_OK || flags) return st;
        return put_end(r);
    }
    if (st == HEARTH_OK && r->m->system && turn->role != HEARTH_ROLE_SYSTEM) {
        hearth_turn sys = {HEARTH_ROLE_SYSTEM, r->m->system,
                           strlen(r->m->system)};
        st = put_turn(r, NULL, &sys, NULL);
    }
    for (size_t i = 0; st == HEARTH_OK && i < n; i++)
        st = put_turn(r, i ? &turn[i - 1] : NULL, &turn[i],
                      i + 1 < n ? &turn[i + 1] : NULL);
    if (st != HEARTH_OK) return st;
    if (flags & HEARTH_CHAT_GENERATE) {
        if (!r->m->end_token) return put_markup(r, r->m->open, false);
        return put_markup(r, r->m->role[answer_role(turn[n - 1].role)].before,
                          false);
    }
    if (!r->m->end_token || flags & HEARTH_CHAT_NO_END) return HEARTH_OK;
    return hearth_role_is_answer(turn[n - 1].role) ? put_end(r) : HEARTH_OK;
}

hearth_status hearth_chat_encode(const hearth_tokenizer *t,
                                 hearth_chat_template tmpl,
                                 const hearth_turn *turn, size_t n_turns,
                                 unsigned flags, hearth_ids *ids,
                                 hearth_ids *answer, hearth_error *err) {
    if (!t || !turn || !n_turns || !ids || (size_t)tmpl >= N_TEMPLATES)
        return hearth_error_set(err, HEARTH_EINVAL, "no turn to encode");
    for (size_t i = 0; i < n_turns; i++)
        if ((!turn[i].text && turn[i].n) || (size_t)turn[i].role >= N_ROLES)
            return hearth_error_set(err, HEARTH_EINVAL, "a turn has no text");
    tmpl = hearth_chat_template_resolve(tmpl, t);
    renderer r = {t, &TEMPLATE[tmpl], ids, answer, err, false};
    size_t had = ids->n, had_answer = answer ? answer->n : 0;
    hearth_status st = render(&r, turn, n_turns, flags);
    if (st == HEARTH_OK) return st;
    ids->n = had;
    if (answer) answer->n = had_answer;
    return st == HEARTH_ENOMEM
               ? hearth_error_set(err, st, "out of memory for a record")
               : st;
}

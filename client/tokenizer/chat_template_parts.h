/* SPDX-License-Identifier: Apache-2.0 */
/* client/tokenizer/chat_template_parts.h - inside of the chat templates, shared
 * by their sources only: the table, and what a rendering is made with.
 */
#ifndef HEARTH_TOKENIZER_CHAT_TEMPLATE_PARTS_H
#define HEARTH_TOKENIZER_CHAT_TEMPLATE_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/tokenizer/chat_template.h"
#include "common/buf.h"
#include "common/error.h"

#define CHAT_N_ROLES ((size_t)HEARTH_ROLE_CHOICE + 1)

/* What stands around one turn. */
typedef struct {
    const char *before, *after;
} chat_wrap;

/* How a template treats its turns; or-ed together. */
enum {
    CHAT_PLAIN = 1,          /* no chat: words joined, the end token last */
    CHAT_BEGIN = 2,          /* starts with the begin token */
    CHAT_TRIM = 4,           /* white space around a turn's words is dropped */
    CHAT_SYSTEM_IN_USER = 8, /* system words go before the first turn's */
    CHAT_NO_SYSTEM = 16,     /* system turns are refused */
    CHAT_ALTERNATE = 32,     /* anything but user, model, user, .. is refused;
                                a system turn only in front */
    CHAT_OPENS = 64,         /* an answer is opened after a last user turn, and
                                only there, whether asked for or not */
    CHAT_REFUSE = 128        /* turns of a conversation are refused */
};

typedef struct {
    const char *name;             /* of the row; part of the digest */
    hearth_chat_template family;  /* whose name it goes by */
    unsigned flags;               /* CHAT_* */
    const char *system;           /* system words where the record has none */
    const char *preamble;         /* what every system turn starts with */
    const char *open;             /* markup that opens an answer */
    const char *end;              /* token that ends one */
    chat_wrap role[CHAT_N_ROLES]; /* by hearth_role; of chats system, user and
                                     assistant only */
} chat_markup;

/* The row of a template, or NULL for AUTO and values not in the list. */
const chat_markup *hearth_chat_template__row(hearth_chat_template tmpl);

/* One rendering. */
typedef struct {
    const hearth_tokenizer *t;
    const chat_markup *m;
    hearth_ids *ids, *answer; /* answer may be NULL */
    hearth_error *err;
    hearth_buf run; /* chats: text that waits for what goes on from it */
    bool begun;     /* some text was encoded */
    bool control;   /* the last id is a control token's */
} chat_renderer;

/* Mark the ids from `from` on. */
HEARTH_MUST_CHECK hearth_status hearth_chat_template__mark(chat_renderer *r,
                                                           size_t from,
                                                           bool answer);

/* The whole record in a chat template: everything but CHAT_PLAIN. */
HEARTH_MUST_CHECK hearth_status hearth_chat_template__render(
    chat_renderer *r, const hearth_turn *turn, size_t n, unsigned flags);

#endif /* HEARTH_TOKENIZER_CHAT_TEMPLATE_PARTS_H */

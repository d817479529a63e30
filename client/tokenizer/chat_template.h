/* SPDX-License-Identifier: Apache-2.0 */
/* client/tokenizer/chat_template.h - turns of a record to token ids, each
 * marked as answer or not.
 *
 * Data flow:  records/record -> [chat_template] -> train/dataset
 *
 * A template puts markup around the turns of a conversation.  There is no
 * Jinja here: a few templates have names, and their digest is part of what a
 * federated task is identified by.  A model's own template is recognised by
 * the digest of its text (template_source.h); the ids are then those that the
 * original gives.  Markup may hold control tokens, a person's text never can:
 * it is encoded with added tokens switched off.
 *
 *     hearth_turn turn[] = {{HEARTH_ROLE_USER, "hi", 2}};
 *     st = hearth_chat_encode(t, HEARTH_TEMPLATE_CHATML, turn, 1,
 *                             HEARTH_CHAT_GENERATE, &ids, NULL, err);
 *
 * Threads: no shared state.
 * Memory:  only what the two lists take.
 */
#ifndef HEARTH_TOKENIZER_CHAT_TEMPLATE_H
#define HEARTH_TOKENIZER_CHAT_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/tokenizer/ids.h"
#include "client/tokenizer/tokenizer.h"
#include "common/status.h"

typedef enum {
    HEARTH_ROLE_TEXT,        /* {"text"}: an answer without a question */
    HEARTH_ROLE_PROMPT,      /* {"prompt"} */
    HEARTH_ROLE_COMPLETION,  /* {"completion"}: an answer */
    HEARTH_ROLE_SYSTEM,      /* of {"messages"} */
    HEARTH_ROLE_USER,        /* of {"messages"} */
    HEARTH_ROLE_ASSISTANT,   /* of {"messages"}: an answer */
    HEARTH_ROLE_INSTRUCTION, /* {"instruction"} */
    HEARTH_ROLE_INPUT,       /* {"input"} */
    HEARTH_ROLE_OUTPUT,      /* {"output"}: an answer */
    HEARTH_ROLE_QUESTION,    /* {"question"} */
    HEARTH_ROLE_CHOICE       /* one of {"choices"}: an answer */
} hearth_role;

/* One turn.  Borrows its text (UTF-8, [n] bytes, no NUL needed). */
typedef struct {
    hearth_role role;
    const char *text;
    size_t n;
} hearth_turn;

/* Whether loss is taken on turns of this role when loss is on answers. */
bool hearth_role_is_answer(hearth_role role);

/* The first six have names that a user may give; the others are what AUTO
 * finds for models whose template differs a little from the named one. */
typedef enum {
    HEARTH_TEMPLATE_AUTO, /* the model's own; plain where it has none */
    HEARTH_TEMPLATE_PLAIN,
    HEARTH_TEMPLATE_CHATML,
    HEARTH_TEMPLATE_LLAMA3,
    HEARTH_TEMPLATE_GEMMA,  /* system words go before the first user's */
    HEARTH_TEMPLATE_SMOLLM, /* chatml with SmolLM2's default system turn */

    HEARTH_TEMPLATE_UNKNOWN,    /* the model has one that is not known here */
    HEARTH_TEMPLATE_QWEN2,      /* chatml, Qwen2's default system turn */
    HEARTH_TEMPLATE_QWEN2_TURN, /* the same, opens an answer to each question */
    HEARTH_TEMPLATE_QWEN25,     /* chatml, Qwen2.5's default system turn */
    HEARTH_TEMPLATE_LLAMA31,    /* llama3, the system turn starts with dates:
                                   always 26 Jul 2024, the original's own when
                                   it is told none, so that a record has the
                                   same ids on every day */
    HEARTH_TEMPLATE_GEMMA2      /* gemma without system turns */
} hearth_chat_template;

/* Name to template ("auto", "plain", "chatml", "llama3", "gemma", "smollm").
 * Returns HEARTH_OK or HEARTH_EINVAL, whose text lists the names. */
HEARTH_MUST_CHECK
hearth_status hearth_chat_template_parse(hearth_chat_template *out,
                                         const char *name, hearth_error *err);

/* Static name, of a variant that of the template it varies; "auto" for AUTO,
 * "unknown" for a value not in the list. */
const char *hearth_chat_template_name(hearth_chat_template tmpl);

/* tmpl itself, or what AUTO means for this tokenizer's model: PLAIN where the
 * model has no template, UNKNOWN where it has one that is not known here.
 *
 * With UNKNOWN, texts, prompts with completions and questions with choices are
 * encoded as in plain: they need no markup.  Turns of a conversation and
 * instructions do: hearth_chat_encode refuses them. */
hearth_chat_template hearth_chat_template_resolve(hearth_chat_template tmpl,
                                                  const hearth_tokenizer *t);

/* The same for a conversation: *out is never UNKNOWN.  HEARTH_EUNSUPPORTED
 * instead; the text lists the names to give with --template. */
HEARTH_MUST_CHECK
hearth_status hearth_chat_template_choose(hearth_chat_template *out,
                                          hearth_chat_template tmpl,
                                          const hearth_tokenizer *t,
                                          hearth_error *err);

/* The token that ends an answer in a resolved template: generation stops
 * there.  -1 where it has none (plain), or the tokenizer does not know it. */
int32_t hearth_chat_template_end(hearth_chat_template tmpl,
                                 const hearth_tokenizer *t);

/* SHA-256 [32] over name, version and all markup of a resolved template: the
 * template digest of FEDERATION's `space`. */
HEARTH_MUST_CHECK
hearth_status hearth_chat_template_digest(hearth_chat_template tmpl,
                                          uint8_t digest[32]);

enum {
    HEARTH_CHAT_GENERATE = 1, /* end with the markup that opens an answer */
    HEARTH_CHAT_NO_END = 2    /* plain: no end-of-text token after the last
                                 answer */
};

/* Append the ids of a whole record to ids, and to answer (NULL: not wanted) one
 * 1 or 0 per id: 1 where the id belongs to an answer or ends one.
 *
 *   turn  [n_turns]  in order.
 *   flags HEARTH_CHAT_*.
 *
 * Plain: the begin token comes first where the tokenizer's post-processor adds
 * one; a prompt and an answer are joined as they are, with one space before the
 * answer when neither side has white space there; an answer that ends the
 * record is followed by the end token, which counts as answer, unless NO_END is
 * given or the tokenizer has none.  A {"text"} by itself is plain always.
 *
 * The others: ids as the original template gives them, the begin token being
 * the template's business.  Between two control tokens, all text is encoded as
 * one; but an answer starts anew, so that the ids of a prompt are the same in
 * training and in generation (this differs from the original only for answers
 * that start with white space).  Roles without a place in the original
 * (prompt, instruction, question) are user turns, their answers the model's;
 * an instruction and its input are one turn.
 *
 * Returns HEARTH_OK
 *         HEARTH_EINVAL   a NULL argument, no turn, text that is not UTF-8
 *         HEARTH_EUNSUPPORTED  the template is unknown and the turns need one
 *         HEARTH_EFORMAT  turns in an order that the original refuses (gemma:
 *                         a user's and the model's in turn; gemma2: a system
 *                         turn), or as the tokenizer's
 *         HEARTH_ETOOBIG, HEARTH_ENOMEM  as the tokenizer's
 * On failure both lists keep the length they had.
 */
HEARTH_MUST_CHECK
hearth_status hearth_chat_encode(const hearth_tokenizer *t,
                                 hearth_chat_template tmpl,
                                 const hearth_turn *turn, size_t n_turns,
                                 unsigned flags, hearth_ids *ids,
                                 hearth_ids *answer, hearth_error *err);

#endif /* HEARTH_TOKENIZER_CHAT_TEMPLATE_H */

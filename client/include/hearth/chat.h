/* SPDX-License-Identifier: Apache-2.0 */
/* hearth/chat.h - ask the model on the device, with the adapter in use.
 *
 *     hearth_chat *chat;
 *     st = hearth_chat_open(&chat, c, NULL, &err);
 *     st = hearth_chat_say(chat, "How did I sleep?", on_text, ud, &err);
 *     hearth_chat_close(chat);
 *
 * Threads: a chat belongs to the thread of its client.
 */
#ifndef HEARTH_CHAT_H
#define HEARTH_CHAT_H

#include <stddef.h>
#include <stdint.h>

#include "hearth/client.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hearth_chat hearth_chat; /* opaque */

/* Settings; all zero is greedy text of at most 128 tokens. */
typedef struct {
    size_t struct_size;
    const char *stop;     /* text ends before this; NULL = none */
    uint64_t seed;        /* of sampling; the same seed gives the same text */
    uint32_t max_tokens;  /* 0 = 128 */
    uint32_t top_k;       /* 0 = off */
    float temperature;    /* 0 = greedy */
    float top_p;          /* 0 = 1 */
    float repeat_penalty; /* 0 = 1 */
    int32_t base_only;    /* 1: without any adapter, to compare */
} hearth_chat_config;

#define HEARTH_CHAT_CONFIG_INIT                                                \
    { sizeof(hearth_chat_config), NULL, 0, 0, 0, 0.0f, 0.0f, 0.0f, 0 }

/* A piece of the answer: [n] bytes of whole UTF-8 characters, no NUL.  Return 0
 * to go on, anything else to stop. */
typedef int (*hearth_chat_text_fn)(void *ud, const char *text, size_t n);

/* Take the base model and the adapter that is installed now.
 * Returns HEARTH_OK         *out is the caller's: hearth_chat_close, before the
 *                           client is closed
 *         HEARTH_EINVAL     NULL or bad struct_size
 *         HEARTH_ESTATE     no base model: join, or hearth_client_set_base
 *         HEARTH_ENOTFOUND, HEARTH_EFORMAT, HEARTH_EMISMATCH, HEARTH_EDIGEST,
 *         HEARTH_ESIGNATURE the base or the adapter is not what it should be
 *         HEARTH_ENOMEM */
HEARTH_API HEARTH_MUST_CHECK hearth_status
hearth_chat_open(hearth_chat **out, hearth_client *c,
                 const hearth_chat_config *cfg, hearth_error *err);

/* Answer a prompt; on_text is called as text comes.
 * Returns HEARTH_OK, HEARTH_EINVAL, HEARTH_ETOOBIG (longer than the model
 * takes), HEARTH_ECANCELLED (on_text stopped it), HEARTH_ENOMEM */
HEARTH_API HEARTH_MUST_CHECK hearth_status
hearth_chat_say(hearth_chat *chat, const char *prompt,
                hearth_chat_text_fn on_text, void *ud, hearth_error *err);

/* NULL is a no-op. */
HEARTH_API void hearth_chat_close(hearth_chat *chat);

#ifdef __cplusplus
}
#endif

#endif /* HEARTH_CHAT_H */

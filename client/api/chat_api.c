/* SPDX-License-Identifier: Apache-2.0 */
/* client/api/chat_api.c - hearth/chat.h over client/infer. */
#include "hearth/chat.h"

#include <math.h>
#include <string.h>

#include "client/api/client_private.h"
#include "client/infer/generate.h"
#include "common/abi.h"
#include "common/mem.h"

struct hearth_chat {
    hearth_client *client; /* borrowed */
    hearth_chat_config cfg;
    char *stop;
    hearth_adapter *adapter;
    hearth_generator *generator;
};

static bool in_range(const hearth_chat_config *m) {
    return m->temperature >= 0.0f && isfinite(m->temperature) &&
           m->top_p >= 0.0f && m->top_p <= 1.0f && m->repeat_penalty >= 0.0f &&
           isfinite(m->repeat_penalty);
}

/* The adapter that is installed now; none is no error. */
static hearth_status open_adapter(hearth_chat *chat, hearth_error *err) {
    hearth_client *c = chat->client;
    char task[HEARTH_PROTO_TASK_CAP];
    hearth_personal p;
    if (!c->db || chat->cfg.base_only) return HEARTH_OK;
    hearth_status st = hearth_personal_newest(task, c->db, err);
    if (st != HEARTH_OK || !task[0]) return st;
    hearth_keyset *ks = hearth_mem_new(&c->alloc, sizeof(*ks));
    if (!ks) return HEARTH_ENOMEM;
    st = hearth_client__personal(c, &p, ks, err);
    if (st == HEARTH_OK)
        st = hearth_personal_adapter(&chat->adapter, &p, task, true, 0, err);
    hearth_mem_free(&c->alloc, ks);
    return st;
}

static hearth_status open_parts(hearth_chat *chat, hearth_error *err) {
    hearth_client *c = chat->client;
    const hearth_kernels *k = c->reference_kernels ? hearth_kernels_reference()
                                                   : hearth_kernels_default();
    hearth_status st = hearth_client__need_model(c, err);
    if (st == HEARTH_OK && chat->cfg.stop) {
        chat->stop = hearth_mem_strdup(&c->alloc, chat->cfg.stop);
        if (!chat->stop) st = HEARTH_ENOMEM;
    }
    if (st == HEARTH_OK) st = open_adapter(chat, err);
    if (st == HEARTH_OK)
        st = hearth_generator_open(&chat->generator, c->model, chat->adapter,
                                   c->tokenizer, 0, c->pool, k, &c->alloc, err);
    return st;
}

hearth_status hearth_chat_open(hearth_chat **out, hearth_client *c,
                               const hearth_chat_config *cfg,
                               hearth_error *err) {
    hearth_chat_config m = HEARTH_CHAT_CONFIG_INIT;
    if (!out) return HEARTH_EINVAL;
    *out = NULL;
    hearth_error_clear(err);
    if (!c ||
        (cfg && hearth_abi_copy(&m, sizeof(m), sizeof(m), cfg) != HEARTH_OK) ||
        !in_range(&m))
        return hearth_error_set(err, HEARTH_EINVAL,
                                "start from HEARTH_CHAT_CONFIG_INIT; a value "
                                "is out of range");
    hearth_chat *chat = hearth_mem_new(&c->alloc, sizeof(*chat));
    if (!chat) return hearth_error_set(err, HEARTH_ENOMEM, "out of memory");
    chat->client = c;
    c->n_chats++;
    chat->cfg = m;
    hearth_status st = open_parts(chat, err);
    if (st == HEARTH_OK)
        *out = chat;
    else
        hearth_chat_close(chat);
    return st;
}

typedef struct {
    hearth_chat_text_fn fn;
    void *ud;
} sink;

static bool on_text(void *ud, const char *utf8, size_t n) {
    const sink *s = ud;
    return !s->fn || s->fn(s->ud, utf8, n) == 0;
}

hearth_status hearth_chat_say(hearth_chat *chat, const char *prompt,
                              hearth_chat_text_fn fn, void *ud,
                              hearth_error *err) {
    hearth_error_clear(err);
    if (!chat || !prompt || !*prompt)
        return hearth_error_set(err, HEARTH_EINVAL, "an empty prompt");
    const hearth_chat_config *m = &chat->cfg;
    hearth_client *c = chat->client;
    hearth_generate_options o = HEARTH_GENERATE_OPTIONS_INIT;
    hearth_generate_result r;
    const char *stops[1] = {chat->stop};
    sink s = {fn, ud};
    hearth_ids ids;
    hearth_ids_init(&ids, &c->alloc);
    hearth_turn turn = {HEARTH_ROLE_PROMPT, prompt, strlen(prompt)};
    hearth_chat_template tmpl =
        hearth_chat_template_resolve(HEARTH_TEMPLATE_AUTO, c->tokenizer);
    const int32_t end = hearth_chat_template_end(tmpl, c->tokenizer);
    if (m->max_tokens) o.max_tokens = m->max_tokens;
    o.temperature = (double)m->temperature;
    o.top_k = m->top_k;
    if (m->top_p > 0.0f) o.top_p = (double)m->top_p;
    if (m->repeat_penalty > 0.0f) o.repeat_penalty = (double)m->repeat_penalty;
    o.seed = m->seed;
    o.stop = chat->stop ? stops : NULL;
    o.n_stop = chat->stop ? 1 : 0;
    o.end = &end;
    o.n_end = end >= 0 ? 1 : 0;
    hearth_status st = hearth_chat_encode(
        c->tokenizer, tmpl, &turn, 1, HEARTH_CHAT_GENERATE, &ids, NULL, err);
    if (st == HEARTH_OK)
        st = hearth_generator_run(chat->generator, ids.id, ids.n, &o, on_text,
                                  &s, &r, err);
    if (st == HEARTH_OK && r.finish == HEARTH_FINISH_CALLBACK)
        st = hearth_error_set(err, HEARTH_ECANCELLED, "stopped on request");
    hearth_ids_free(&ids);
    return st;
}

void hearth_chat_close(hearth_chat *chat) {
    if (!chat) return;
    const hearth_alloc *al = &chat->client->alloc;
    chat->client->n_chats--;
    hearth_generator_close(chat->generator);
    hearth_adapter_free(chat->adapter);
    hearth_mem_free(al, chat->stop);
    hearth_mem_free(al, chat);
}

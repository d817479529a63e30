/* SPDX-License-Identifier: Apache-2.0 */
/* client/tokenizer/chat_template_table.c - the markup of every template, and
 * its digest.
 *
 * Each row but plain renders what its models' own templates render; which
 * those are is in template_source.c.
 */
#include <string.h>

#include "client/tokenizer/chat_template_parts.h"
#include "common/hash.h"

/* Part of the digest: raise it when the way turns are joined changes. */
#define PLAIN_VERSION "hearth-template-1"
#define CHAT_VERSION  "hearth-template-2"

/* clang-format off */
#define CHATML(name_, family_, flags_, system_)                               \
    {name_, HEARTH_TEMPLATE_##family_, flags_, system_, NULL,                 \
     "<|im_start|>assistant\n", "<|im_end|>", {                               \
        [HEARTH_ROLE_SYSTEM] = {"<|im_start|>system\n", "<|im_end|>\n"},      \
        [HEARTH_ROLE_USER] = {"<|im_start|>user\n", "<|im_end|>\n"},          \
        [HEARTH_ROLE_ASSISTANT] = {"<|im_start|>assistant\n",                 \
                                   "<|im_end|>\n"}}}
#define LLAMA_TURN(role_)                                                     \
    {"<|start_header_id|>" role_ "<|end_header_id|>\n\n", "<|eot_id|>"}
#define LLAMA(name_, system_, preamble_)                                      \
    {name_, HEARTH_TEMPLATE_LLAMA3, CHAT_BEGIN | CHAT_TRIM, system_,          \
     preamble_, "<|start_header_id|>assistant<|end_header_id|>\n\n",          \
     "<|eot_id|>", {                                                          \
        [HEARTH_ROLE_SYSTEM] = LLAMA_TURN("system"),                          \
        [HEARTH_ROLE_USER] = LLAMA_TURN("user"),                              \
        [HEARTH_ROLE_ASSISTANT] = LLAMA_TURN("assistant")}}
#define GEMMA(name_, flag_)                                                   \
    {name_, HEARTH_TEMPLATE_GEMMA,                                            \
     CHAT_BEGIN | CHAT_TRIM | CHAT_ALTERNATE | (flag_), NULL, NULL,           \
     "<start_of_turn>model\n", "<end_of_turn>", {                             \
        [HEARTH_ROLE_SYSTEM] = {"", "\n\n"},                                  \
        [HEARTH_ROLE_USER] = {"<start_of_turn>user\n", "<end_of_turn>\n"},    \
        [HEARTH_ROLE_ASSISTANT] = {"<start_of_turn>model\n",                  \
                                   "<end_of_turn>\n"}}}
#define PLAIN(name_, family_, flags_)                                         \
    {name_, HEARTH_TEMPLATE_##family_, CHAT_PLAIN | (flags_), NULL, NULL,     \
     NULL, NULL, {                                                            \
        [HEARTH_ROLE_SYSTEM] = {"", "\n\n"},                                  \
        [HEARTH_ROLE_USER] = {"User: ", "\n"},                                \
        [HEARTH_ROLE_ASSISTANT] = {"Assistant:", "\n"},                       \
        [HEARTH_ROLE_INSTRUCTION] = {"Instruction: ", "\n"},                  \
        [HEARTH_ROLE_INPUT] = {"Input: ", "\n"},                              \
        [HEARTH_ROLE_OUTPUT] = {"Answer:", ""},                               \
        [HEARTH_ROLE_QUESTION] = {"Question: ", "\n"},                        \
        [HEARTH_ROLE_CHOICE] = {"Answer:", ""}}}

static const chat_markup ROW[] = {
    [HEARTH_TEMPLATE_AUTO] = {0},
    [HEARTH_TEMPLATE_PLAIN] = PLAIN("plain", PLAIN, 0),
    [HEARTH_TEMPLATE_CHATML] = CHATML("chatml", CHATML, 0, NULL),
    [HEARTH_TEMPLATE_LLAMA3] = LLAMA("llama3", NULL, NULL),
    [HEARTH_TEMPLATE_GEMMA] = GEMMA("gemma", CHAT_SYSTEM_IN_USER),
    [HEARTH_TEMPLATE_SMOLLM] = CHATML("smollm", SMOLLM, 0,
        "You are a helpful AI assistant named SmolLM, trained by Hugging Face"),
    [HEARTH_TEMPLATE_UNKNOWN] = PLAIN("unknown", UNKNOWN, CHAT_REFUSE),
    [HEARTH_TEMPLATE_QWEN2] = CHATML("qwen2", CHATML, 0,
        "You are a helpful assistant."),
    [HEARTH_TEMPLATE_QWEN2_TURN] = CHATML("qwen2-turn", CHATML,
        CHAT_ALTERNATE | CHAT_OPENS, "You are a helpful assistant."),
    [HEARTH_TEMPLATE_QWEN25] = CHATML("qwen2.5", CHATML, 0,
        "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."),
    [HEARTH_TEMPLATE_LLAMA31] = LLAMA("llama3.1", "",
        "Cutting Knowledge Date: December 2023\n"
        "Today Date: 26 Jul 2024\n\n"),
    [HEARTH_TEMPLATE_GEMMA2] = GEMMA("gemma2", CHAT_NO_SYSTEM),
};
/* clang-format on */
#define N_ROWS (sizeof(ROW) / sizeof(ROW[0]))

const chat_markup *hearth_chat_template__row(hearth_chat_template tmpl) {
    if ((size_t)tmpl >= N_ROWS || !ROW[tmpl].name) return NULL;
    return &ROW[tmpl];
}

/* ---- digest ---- */

/* Add a text with its NUL, so that texts can not run into each other; an
 * absent one differs from an empty one. */
static hearth_status hash_text(hearth_sha256_state *h, const char *s) {
    return hearth_sha256_add(h, s ? s : "\x01", s ? strlen(s) + 1 : 2);
}

/* What chats have and plain has not: its digest is older than these. */
static hearth_status hash_chat(hearth_sha256_state *h, const chat_markup *m) {
    const uint8_t flags[4] = {(uint8_t)(m->flags & 0xFF),
                              (uint8_t)(m->flags >> 8 & 0xFF), 0, 0};
    hearth_status st = hash_text(h, m->preamble);
    if (st == HEARTH_OK) st = hash_text(h, m->end);
    return st == HEARTH_OK ? hearth_sha256_add(h, flags, sizeof(flags)) : st;
}

static hearth_status hash_row(hearth_sha256_state *h, const chat_markup *m) {
    bool plain = m->flags & CHAT_PLAIN;
    hearth_status st = hash_text(h, plain ? PLAIN_VERSION : CHAT_VERSION);
    if (st == HEARTH_OK) st = hash_text(h, m->name);
    if (st == HEARTH_OK) st = hash_text(h, m->system);
    if (st == HEARTH_OK) st = hash_text(h, m->open);
    if (st == HEARTH_OK) st = hash_text(h, plain ? "end" : "");
    for (size_t i = 0; st == HEARTH_OK && i < CHAT_N_ROLES; i++) {
        st = hash_text(h, m->role[i].before);
        if (st == HEARTH_OK) st = hash_text(h, m->role[i].after);
    }
    return st == HEARTH_OK && !plain ? hash_chat(h, m) : st;
}

hearth_status hearth_chat_template_digest(hearth_chat_template tmpl,
                                          uint8_t digest[32]) {
    const chat_markup *m = hearth_chat_template__row(tmpl);
    hearth_sha256_state h;
    hearth_status st;
    if (!digest || !m) return HEARTH_EINVAL;
    if ((st = hearth_sha256_init(&h)) != HEARTH_OK) return st;
    st = hash_row(&h, m);
    if (st == HEARTH_OK) st = hearth_sha256_finish(&h, digest);
    hearth_sha256_free(&h);
    return st;
}

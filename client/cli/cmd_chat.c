/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/cmd_chat.c - `hearth chat`: a conversation, a line a turn, from a
 * terminal or a pipe.
 *
 * Every turn encodes the whole conversation again; what the generator's cache
 * holds of it is not computed again. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/sampling.h"
#include "common/buf.h"
#include "common/bytes.h"
#include "common/clock.h"
#include "common/mem.h"

#define MAX_TURNS 1024

typedef struct {
    hearth_cli *cli;
    hearth_workbench wb;
    hearth_sampling s;
    hearth_chat_template tmpl;
    const char *system;
    bool terminal; /* show a prompt */
    hearth_generator *gen;
    hearth_turn turn[MAX_TURNS]; /* texts are this conversation's own */
    size_t n_turns;
    hearth_buf answer;
    hearth_ids ids;
    hearth_clock clock;
} chat;

static void drop_turns(chat *c, size_t keep) {
    while (c->n_turns > keep) {
        hearth_turn *t = &c->turn[--c->n_turns];
        char *text = (char *)(uintptr_t)t->text;
        hearth_zeroize(text, t->n);
        hearth_mem_free(NULL, text);
    }
}

static hearth_status add_turn(chat *c, hearth_role role, const char *text,
                              size_t n, hearth_error *err) {
    if (c->n_turns == MAX_TURNS)
        return hearth_error_set(err, HEARTH_ETOOBIG,
                                "the conversation is too long; type /reset");
    char *copy = hearth_mem_array(NULL, n + 1, 1);
    if (!copy) return hearth_error_set(err, HEARTH_ENOMEM, "no memory");
    if (n) memcpy(copy, text, n);
    c->turn[c->n_turns++] = (hearth_turn){role, copy, n};
    return HEARTH_OK;
}

static hearth_status reset(chat *c, hearth_error *err) {
    drop_turns(c, 0);
    if (!c->system) return HEARTH_OK;
    return add_turn(c, HEARTH_ROLE_SYSTEM, c->system, strlen(c->system), err);
}

/* Text to the terminal, and to the conversation. */
static bool on_text(void *ud, const char *utf8, size_t n) {
    chat *c = ud;
    return hearth_buf_append(&c->answer, utf8, n) == HEARTH_OK &&
           hearth_sampling_on_text(c->cli, utf8, n);
}

/* One question and its answer; on failure the conversation is as before. */
static hearth_status say(chat *c, const char *line, size_t n,
                         hearth_error *err) {
    hearth_generate_options o = hearth_sampling_options(&c->s);
    hearth_generate_result r;
    size_t before = c->n_turns;
    int64_t from = hearth_clock_mono(&c->clock);
    hearth_ids_clear(&c->ids);
    hearth_buf_clear(&c->answer);
    hearth_status st = add_turn(c, HEARTH_ROLE_USER, line, n, err);
    if (st == HEARTH_OK)
        st = hearth_chat_encode(c->wb.tokenizer, c->tmpl, c->turn, c->n_turns,
                                HEARTH_CHAT_GENERATE, &c->ids, NULL, err);
    if (st == HEARTH_OK)
        st = hearth_generator_run(c->gen, c->ids.id, c->ids.n, &o, on_text, c,
                                  &r, err);
    if (st == HEARTH_OK)
        st = add_turn(c, HEARTH_ROLE_ASSISTANT, hearth_buf_str(&c->answer),
                      c->answer.n, err);
    if (st != HEARTH_OK) {
        drop_turns(c, before);
        return st;
    }
    hearth_sampling_done(
        c->cli, &r, (double)(hearth_clock_mono(&c->clock) - from) / 1000.0);
    if (r.finish == HEARTH_FINISH_CONTEXT)
        hearth_cli_note(c->cli, "the context is full; type /reset to start a "
                                "new conversation");
    return HEARTH_OK;
}

/* "/adapter DIR[:weight]", or "none": the base is not read again. */
static hearth_status change_adapter(chat *c, const char *text,
                                    hearth_error *err) {
    hearth_adapter *fresh = NULL;
    hearth_cli_list one = {.v = {text}, .n = 1};
    hearth_status st = HEARTH_OK;
    if (strcmp(text, "none") != 0)
        st = hearth_workbench_combine(&c->wb, &one, &fresh, err);
    if (st == HEARTH_OK) st = hearth_generator_set_adapter(c->gen, fresh, err);
    if (st != HEARTH_OK) {
        hearth_adapter_free(fresh);
        return st;
    }
    hearth_adapter_free(c->wb.adapter);
    c->wb.adapter = fresh;
    return HEARTH_OK;
}

static void announce(chat *c, const char *what) {
    hearth_event_begin(c->cli, what);
    hearth_event_end(c->cli);
}

/* A line that starts with a slash. */
static hearth_status obey(chat *c, const char *line, bool *quit,
                          hearth_error *err) {
    static const char adapter[] = "/adapter ";
    hearth_status st = HEARTH_OK;
    if (strcmp(line, "/quit") == 0) {
        *quit = true;
    } else if (strcmp(line, "/reset") == 0) {
        st = reset(c, err);
        announce(c, "reset");
    } else if (strncmp(line, adapter, sizeof(adapter) - 1) == 0) {
        st = change_adapter(c, line + sizeof(adapter) - 1, err);
    } else {
        st = hearth_error_set(err, HEARTH_EINVAL,
                              "%.40s: known are /reset, /quit and /adapter "
                              "DIR[:weight] or none",
                              line);
    }
    return st;
}

/* Errors of one turn are said and the conversation goes on; in a pipe they
 * make the exit code 1. */
static int each_line(chat *c) {
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    bool quit = false;
    int rc = HEARTH_EXIT_OK;
    while (!quit && !hearth_cli_interrupted()) {
        hearth_error err = {0};
        if (c->terminal) {
            fputs("> ", c->cli->err);
            (void)fflush(c->cli->err);
        }
        if ((n = getline(&line, &cap, stdin)) < 0) break;
        while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r'))
            line[--n] = '\0';
        if (n == 0) continue;
        hearth_status st = line[0] == '/' ? obey(c, line, &quit, &err)
                                          : say(c, line, (size_t)n, &err);
        if (st != HEARTH_OK) {
            int failed = hearth_cli_fail(c->cli, st, &err, NULL);
            if (!c->terminal) rc = failed;
        }
    }
    if (line) hearth_zeroize(line, cap);
    free(line);
    return rc;
}

static hearth_status open_all(chat *c, hearth_error *err) {
    c->wb.cli = c->cli;
    hearth_status st = hearth_workbench_open(
        &c->wb, HEARTH_WORKBENCH_TOKENIZER | HEARTH_WORKBENCH_ADAPTERS, err);
    if (st == HEARTH_OK)
        st = hearth_chat_template_parse(&c->tmpl, c->wb.template_name, err);
    if (st == HEARTH_OK)
        st = hearth_chat_template_choose(&c->tmpl, c->tmpl, c->wb.tokenizer,
                                         err);
    if (st != HEARTH_OK) return st;
    hearth_sampling_end_of_turn(&c->s, c->wb.tokenizer, c->tmpl);
    if (c->tmpl == HEARTH_TEMPLATE_PLAIN && c->s.stops.n == 0)
        c->s.stops.v[c->s.stops.n++] = "\nUser:"; /* it has no marker */
    st = hearth_generator_open(&c->gen, c->wb.model, c->wb.adapter,
                               c->wb.tokenizer, (size_t)c->s.context,
                               c->wb.pool, c->wb.kernels, NULL, err);
    return st == HEARTH_OK ? reset(c, err) : st;
}

static int execute(chat *c) {
    hearth_error err = {0};
    c->clock = hearth_clock_system();
    c->terminal = !c->cli->json && c->cli->err_is_tty && isatty(0) == 1;
    hearth_ids_init(&c->ids, NULL);
    c->answer = (hearth_buf)HEARTH_BUF_INIT(NULL);
    hearth_status st = open_all(c, &err);
    int rc = st == HEARTH_OK ? each_line(c)
                             : hearth_cli_fail(c->cli, st, &err, NULL);
    drop_turns(c, 0);
    hearth_generator_close(c->gen);
    hearth_buf_free(&c->answer);
    hearth_ids_free(&c->ids);
    hearth_workbench_close(&c->wb);
    return rc;
}

static int parse(chat *c, int argc, char **argv) {
    const hearth_flag flags[] = {
        HEARTH_WORKBENCH_FLAGS(c->wb),
        HEARTH_FLAG_LIST("adapter", "DIR[:weight]", "may be given again",
                         &c->wb.adapters),
        HEARTH_FLAG_STR("system", "TEXT", "what stands before the first turn",
                        &c->system),
        HEARTH_FLAG_STR("template", "NAME",
                        "auto plain chatml llama3 gemma "
                        "smollm",
                        &c->wb.template_name),
        HEARTH_SAMPLING_FLAGS(c->s),
    };
    const hearth_usage u = {
        .command = "chat",
        .summary = "talk with a model; /reset, /quit, /adapter DIR",
        .arguments = "--model DIR [--adapter DIR] [flags]",
        .example = "hearth chat --model base --adapter my-adapter "
                   "--temperature 0.7",
        .flags = flags,
        .n_flags = sizeof(flags) / sizeof(*flags),
        .required = "model"};
    int rc;
    if (!hearth_cli_parse(c->cli, &u, argc, argv, &rc)) return rc;
    return execute(c);
}

int hearth_cmd_chat(hearth_cli *cli, int argc, char **argv) {
    chat *c = hearth_mem_new(NULL, sizeof(*c));
    hearth_error err = {0};
    if (!c) return hearth_cli_fail(cli, HEARTH_ENOMEM, &err, NULL);
    c->cli = cli;
    c->wb = (hearth_workbench)HEARTH_WORKBENCH_INIT;
    c->s = (hearth_sampling)HEARTH_SAMPLING_INIT;
    c->s.max_tokens = 512;
    int rc = parse(c, argc, argv);
    hearth_mem_free(NULL, c);
    return rc;
}

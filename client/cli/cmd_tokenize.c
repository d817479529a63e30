/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/cmd_tokenize.c - hearth tokenize: texts to token ids. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "client/cli/cli.h"
#include "client/tokenizer/tokenizer.h"
#include "common/bytes.h"
#include "common/jsonpull.h"

int hearth_cmd_tokenize(hearth_cli *cli, int argc, char **argv);

typedef struct {
    const char *model;
    bool special; /* BOS and EOS as the tokenizer's template adds them */
    bool added;   /* control tokens in the text are recognised */
    bool decode;  /* ids in, texts out */
    bool quoted;  /* texts are JSON strings: they may hold line breaks */
} tokenize_options;

static void print_ids(hearth_cli *cli, const hearth_ids *ids) {
    hearth_event_begin(cli, "tokens");
    hearth_event_ids(cli, "ids", ids->id, ids->n);
    hearth_event_end(cli);
    if (cli->json) return;
    for (size_t i = 0; i < ids->n; i++)
        fprintf(cli->out, "%s%d", i ? " " : "", (int)ids->id[i]);
    fputc('\n', cli->out);
}

static hearth_status encode_line(hearth_cli *cli, const hearth_tokenizer *t,
                                 const tokenize_options *o, const char *line,
                                 size_t n, hearth_error *err) {
    unsigned flags = (o->special ? HEARTH_TOKENIZE_SPECIAL : 0u) |
                     (o->added ? HEARTH_TOKENIZE_ADDED : 0u);
    hearth_ids ids;
    hearth_ids_init(&ids, NULL);
    hearth_status st =
        hearth_tokenizer_encode_with(t, line, n, flags, &ids, err);
    if (st == HEARTH_OK) print_ids(cli, &ids);
    hearth_ids_free(&ids);
    return st;
}

/* Decimal numbers with blanks between. */
static hearth_status read_ids(const char *s, hearth_ids *ids,
                              hearth_error *err) {
    while (*s) {
        char *end;
        if (strchr(" \t,", *s)) {
            s++;
            continue;
        }
        errno = 0;
        long v = strtol(s, &end, 10);
        if (end == s || errno || v < 0 || v > INT32_MAX)
            return hearth_error_set(err, HEARTH_EINVAL,
                                    "a line is not a list of token ids; give "
                                    "numbers with spaces between");
        hearth_status st = hearth_ids_push(ids, (int32_t)v);
        if (st != HEARTH_OK) return st;
        s = end;
    }
    return HEARTH_OK;
}

static hearth_status decode_line(hearth_cli *cli, const hearth_tokenizer *t,
                                 const char *line, hearth_error *err) {
    hearth_ids ids;
    hearth_buf text = HEARTH_BUF_INIT(NULL);
    hearth_ids_init(&ids, NULL);
    hearth_status st = read_ids(line, &ids, err);
    if (st == HEARTH_OK)
        st = hearth_tokenizer_decode(t, ids.id, ids.n, false, &text, err);
    if (st == HEARTH_OK) {
        hearth_event_begin(cli, "text");
        hearth_event_strn(cli, "text", hearth_buf_str(&text), text.n);
        hearth_event_end(cli);
        if (!cli->json) fprintf(cli->out, "%s\n", hearth_buf_str(&text));
    }
    hearth_ids_free(&ids);
    hearth_buf_free(&text);
    return st;
}

/* A line that is a JSON string. */
static hearth_status encode_quoted(hearth_cli *cli, const hearth_tokenizer *t,
                                   const tokenize_options *o, const char *line,
                                   size_t n, hearth_error *err) {
    hearth_jsonpull p;
    size_t n_text = 0;
    char *text = malloc(n + 1); /* unescaped text is no longer than that */
    if (!text) return hearth_error_set(err, HEARTH_ENOMEM, "out of memory");
    hearth_jsonpull_init(&p, line, n);
    hearth_status st = HEARTH_EINVAL;
    if (hearth_jsonpull_next(&p) == HEARTH_JSONPULL_STRING)
        st = hearth_jsonpull_string(&p, text, n + 1, &n_text);
    if (st != HEARTH_OK)
        st = hearth_error_set(err, HEARTH_EINVAL,
                              "a line is not a JSON string; put the text in "
                              "quotes, or leave --quoted out");
    else
        st = encode_line(cli, t, o, text, n_text, err);
    hearth_zeroize(text, n + 1);
    free(text);
    return st;
}

static hearth_status each_line(hearth_cli *cli, const hearth_tokenizer *t,
                               const tokenize_options *o, hearth_error *err) {
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    hearth_status st = HEARTH_OK;
    uint64_t at = 0;
    while (st == HEARTH_OK && (n = getline(&line, &cap, stdin)) >= 0) {
        at++;
        if (n > 0 && line[n - 1] == '\n') line[--n] = '\0';
        st = o->decode   ? decode_line(cli, t, line, err)
             : o->quoted ? encode_quoted(cli, t, o, line, (size_t)n, err)
                         : encode_line(cli, t, o, line, (size_t)n, err);
    }
    if (st != HEARTH_OK && err->text[0]) {
        const hearth_error why = *err;
        (void)hearth_error_set(err, st, "line %llu: %s", (unsigned long long)at,
                               why.text);
    }
    if (line) hearth_zeroize(line, cap);
    free(line);
    return st;
}

int hearth_cmd_tokenize(hearth_cli *cli, int argc, char **argv) {
    tokenize_options o = {NULL, true, true, false, false};
    const hearth_flag flags[] = {
        HEARTH_FLAG_STR("model", "DIR", "folder with a tokenizer.json",
                        &o.model),
        HEARTH_FLAG_BOOL("special", "without begin and end tokens", &o.special),
        HEARTH_FLAG_BOOL("added", "control tokens are plain text", &o.added),
        HEARTH_FLAG_BOOL("decode", "ids in, texts out", &o.decode),
        HEARTH_FLAG_BOOL("quoted", "each text is a JSON string", &o.quoted),
    };
    const hearth_usage u = {
        .command = "tokenize",
        .summary = "texts to token ids, one text a line on stdin",
        .arguments = "--model DIR [flags] < texts",
        .example = "echo 'I slept well' | hearth tokenize --model DIR --json",
        .flags = flags,
        .n_flags = sizeof(flags) / sizeof(*flags),
        .required = "model",
    };
    hearth_error err = {HEARTH_OK, ""};
    hearth_tokenizer *t = NULL;
    int rc;
    if (!hearth_cli_parse(cli, &u, argc, argv, &rc)) return rc;
    hearth_status st = hearth_tokenizer_open(&t, o.model, NULL, &err);
    if (st == HEARTH_OK) st = each_line(cli, t, &o, &err);
    hearth_tokenizer_close(t);
    return st == HEARTH_OK ? HEARTH_EXIT_OK
                           : hearth_cli_fail(cli, st, &err, NULL);
}

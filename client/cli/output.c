/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/output.c - lines for people, events for programs, errors. */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/cli_private.h"
#include "common/buf.h"

void hearth_cli_say(hearth_cli *cli, const char *fmt, ...) {
    va_list ap;
    if (cli->json) return;
    hearth_cli__clear_bar(cli);
    va_start(ap, fmt);
    if (vfprintf(cli->out, fmt, ap) < 0 || fputc('\n', cli->out) == EOF)
        cli->out_failed = true;
    va_end(ap);
}

void hearth_cli_note(hearth_cli *cli, const char *fmt, ...) {
    va_list ap;
    hearth_cli__clear_bar(cli);
    fprintf(cli->err, "hearth %s: ", cli->command);
    va_start(ap, fmt);
    (void)vfprintf(cli->err, fmt, ap);
    va_end(ap);
    fputc('\n', cli->err);
}

/* ---- errors ---- */

static const char *class_name(hearth_status st) {
    switch (hearth_status_class(st)) {
    case HEARTH_FAULT_PEER: return "peer";
    case HEARTH_FAULT_SYSTEM: return "system";
    case HEARTH_FAULT_NONE: return "none";
    case HEARTH_FAULT_CALLER: break;
    }
    return "caller";
}

static void error_out(hearth_cli *cli, hearth_status st, const char *text,
                      const char *hint) {
    const char *space = cli->command[0] ? " " : "";
    hearth_cli__clear_bar(cli);
    if (!cli->json) {
        fprintf(cli->err, "hearth%s%s: %s%s%s\n", space, cli->command, text,
                hint ? "; " : "", hint ? hint : "");
        return;
    }
    if (cli->event_open) hearth_event_end(cli);
    hearth_event_begin(cli, "error");
    hearth_event_str(cli, "status", hearth_status_name(st));
    hearth_event_str(cli, "class", class_name(st));
    hearth_event_str(cli, "message", text);
    hearth_event_str(cli, "hint", hint ? hint : "");
    hearth_event_end(cli);
}

int hearth_cli_fail(hearth_cli *cli, hearth_status st, const hearth_error *err,
                    const char *hint) {
    char text[256], tail[160];
    const char *s = err && err->text[0] ? err->text : hearth_status_text(st);
    (void)snprintf(text, sizeof(text), "%s", s);
    /* "what; what next" in the library's own words: take the hint from it. */
    char *cut = strrchr(text, ';');
    if (!hint && cli->json && cut && cut[1] == ' ') {
        (void)snprintf(tail, sizeof(tail), "%s", cut + 2);
        *cut = 0;
        hint = tail;
    }
    error_out(cli, st, text, hint);
    /* What is said of a flag's value is bad usage, wherever it was noticed. */
    return strncmp(s, "--", 2) == 0 ? HEARTH_EXIT_USAGE : HEARTH_EXIT_FAIL;
}

void hearth_cli__usage_text(hearth_cli *cli, const char *fmt, va_list ap) {
    char text[256], hint[96];
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    (void)snprintf(hint, sizeof(hint), "see: hearth%s%s --help",
                   cli->command[0] ? " " : "", cli->command);
    error_out(cli, HEARTH_EINVAL, text, hint);
}

int hearth_cli_usage_error(hearth_cli *cli, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    hearth_cli__usage_text(cli, fmt, ap);
    va_end(ap);
    return HEARTH_EXIT_USAGE;
}

/* ---- events ---- */

static void put(hearth_cli *cli, const char *s, size_t n) {
    if (fwrite(s, 1, n, cli->out) != n) cli->out_failed = true;
}

static void put_string(hearth_cli *cli, const char *s, size_t n) {
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    if (hearth_buf_json_string(&b, s, n) == HEARTH_OK)
        put(cli, (const char *)b.v, b.n);
    else
        put(cli, "null", 4);
    hearth_buf_free(&b);
}

/* "key": before a value; false when nothing is to be written. */
static bool put_key(hearth_cli *cli, const char *key) {
    if (!cli->json || !cli->event_open) return false;
    put(cli, ",", 1);
    put_string(cli, key, strlen(key));
    put(cli, ":", 1);
    return true;
}

void hearth_event_begin(hearth_cli *cli, const char *event) {
    if (!cli->json) return;
    put(cli, "{\"event\":", 9);
    put_string(cli, event, strlen(event));
    cli->event_open = true;
}

void hearth_event_end(hearth_cli *cli) {
    if (!cli->json || !cli->event_open) return;
    put(cli, "}\n", 2);
    cli->event_open = false;
    if (fflush(cli->out) != 0) cli->out_failed = true;
}

void hearth_event_raw(hearth_cli *cli, const char *key, const char *json) {
    if (put_key(cli, key)) put(cli, json, strlen(json));
}

void hearth_event_strn(hearth_cli *cli, const char *key, const char *value,
                       size_t n) {
    if (put_key(cli, key)) put_string(cli, value, n);
}

void hearth_event_str(hearth_cli *cli, const char *key, const char *value) {
    hearth_event_strn(cli, key, value, strlen(value));
}

void hearth_event_u64(hearth_cli *cli, const char *key, uint64_t value) {
    char text[32];
    (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    hearth_event_raw(cli, key, text);
}

void hearth_event_i64(hearth_cli *cli, const char *key, int64_t value) {
    char text[32];
    (void)snprintf(text, sizeof(text), "%lld", (long long)value);
    hearth_event_raw(cli, key, text);
}

/* The shortest decimal that reads back as the same double. */
void hearth_event_f64(hearth_cli *cli, const char *key, double value) {
    char text[40];
    if (!isfinite(value)) {
        hearth_event_raw(cli, key, "null");
        return;
    }
    for (int digits = 9; digits <= 17; digits += 2) {
        (void)snprintf(text, sizeof(text), "%.*g", digits, value);
        double back = strtod(text, NULL);
        if (!(back < value || back > value)) break;
    }
    hearth_event_raw(cli, key, text);
}

void hearth_event_bool(hearth_cli *cli, const char *key, bool value) {
    hearth_event_raw(cli, key, value ? "true" : "false");
}

void hearth_event_ids(hearth_cli *cli, const char *key, const int32_t *ids,
                      size_t n) {
    char text[16];
    if (!put_key(cli, key)) return;
    put(cli, "[", 1);
    for (size_t i = 0; i < n; i++) {
        int w =
            snprintf(text, sizeof(text), "%s%ld", i ? "," : "", (long)ids[i]);
        if (w > 0) put(cli, text, (size_t)w);
    }
    put(cli, "]", 1);
}

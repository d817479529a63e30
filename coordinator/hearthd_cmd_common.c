/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/hearthd_cmd_common.c - arguments, output, opening the state. */
#include <float.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/ini.h"
#include "coordinator/coordinator.h"
#include "coordinator/hearthd_cmd.h"

/* ---- arguments --------------------------------------------------------- */

static void show_help(const hearthd_command *c) {
    printf("%s\n\nusage: hearthd %s%s%s [-c hearthd.ini] [flags]\n", c->what,
           c->name, c->words[0] ? " " : "", c->words);
    for (const hearthd_option *o = c->option; o->name; o++)
        printf("  %s %-*s  %s\n", o->name, (int)(22 - strlen(o->name)),
               o->arg ? o->arg : "", o->help);
    printf("  -c FILE                  settings [$HEARTHD_CONFIG, then "
           "hearthd.ini]\n"
           "  --json                   one JSON object a line\n"
           "\nexample: hearthd %s\n",
           c->example);
}

static hearthd_option *find_option(hearthd_args *a, const char *name) {
    for (size_t i = 0; i < a->n_options; i++)
        if (strcmp(a->option[i].name, name) == 0) return &a->option[i];
    return NULL;
}

static const char *guess(const hearthd_args *a, const char *word) {
    const char *names[10] = {"-c", "--json"};
    size_t n = 2;
    for (size_t i = 0; i < a->n_options && n < 10; i++)
        names[n++] = a->option[i].name;
    return hearth_did_you_mean(word, names, n);
}

static int bad_flag(const hearthd_args *a, const char *flag) {
    const char *near_name = guess(a, flag);
    return near_name ? hearthd_usage(a, "unknown flag '%s'; did you mean '%s'?",
                                     flag, near_name)
                     : hearthd_usage(a, "unknown flag '%s'", flag);
}

static int take_word(hearthd_args *a, const hearthd_command *c,
                     const char *word) {
    if (a->n_words >= c->max_words || a->n_words >= HEARTHD_MAX_WORDS)
        return hearthd_usage(a, "'%s' is one word too many", word);
    a->word[a->n_words++] = word;
    return 0;
}

/* One flag at argv[*i]; *i moves over its value. */
static int take_flag(hearthd_args *a, int argc, char **argv, int *i) {
    const char *flag = argv[*i];
    bool config = strcmp(flag, "-c") == 0;
    if (strcmp(flag, "--json") == 0) {
        a->json = true;
        return 0;
    }
    hearthd_option *o = config ? NULL : find_option(a, flag);
    if (!config && !o) return bad_flag(a, flag);
    if (o && o->value) return hearthd_usage(a, "'%s' is given twice", flag);
    if (o && !o->arg) {
        o->value = "";
        return 0;
    }
    if (*i + 1 >= argc) return hearthd_usage(a, "'%s' needs a value", flag);
    (*i)++;
    *(config ? &a->config : &o->value) = argv[*i];
    return 0;
}

int hearthd_parse(hearthd_args *a, hearthd_command *c, int argc, char **argv) {
    const char *config = getenv("HEARTHD_CONFIG");
    memset(a, 0, sizeof(*a));
    a->command = c->name;
    a->option = c->option;
    while (a->n_options < 8 && c->option[a->n_options].name) a->n_options++;
    a->config = config && config[0] ? config : "hearthd.ini";
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            show_help(c);
            return -1;
        }
        if (strcmp(argv[i], "--json") == 0) a->json = true;
    }
    for (int i = 0; i < argc; i++) {
        int rc = argv[i][0] == '-' && argv[i][1] ? take_flag(a, argc, argv, &i)
                                                 : take_word(a, c, argv[i]);
        if (rc) return rc;
    }
    if (a->n_words < c->min_words)
        return hearthd_usage(a, "something is missing: hearthd %s %s", c->name,
                             c->words);
    return 0;
}

const char *hearthd_get(const hearthd_args *a, const char *name,
                        const char *fallback) {
    for (size_t i = 0; i < a->n_options; i++)
        if (strcmp(a->option[i].name, name) == 0 && a->option[i].value)
            return a->option[i].value;
    return fallback;
}

/* ---- output ------------------------------------------------------------ */

void hearthd_say(const hearthd_args *a, const char *fmt, ...) {
    va_list ap;
    if (a->json) return;
    va_start(ap, fmt);
    (void)vprintf(fmt, ap);
    va_end(ap);
    (void)putchar('\n');
    (void)fflush(stdout);
}

static void put_value(hearth_buf *b, int type, va_list *ap) {
    if (type == 's') {
        const char *s = va_arg(*ap, const char *);
        (void)hearth_buf_json_string(b, s, strlen(s));
    } else if (type == 'i') {
        (void)hearth_buf_printf(b, "%lld", va_arg(*ap, long long));
    } else if (type == 'f') {
        double v = va_arg(*ap, double);
        if (v > -DBL_MAX && v < DBL_MAX)
            (void)hearth_buf_printf(b, "%.9g", v);
        else /* JSON has no infinity, and neither has the wire */
            (void)hearth_buf_puts(b, "null");
    } else {
        (void)hearth_buf_puts(b, va_arg(*ap, int) ? "true" : "false");
    }
}

const char *hearthd_epsilon(char out[24], double epsilon) {
    if (!(epsilon < DBL_MAX))
        (void)snprintf(out, 24, "unbounded");
    else
        (void)snprintf(out, 24, epsilon < 1e6 ? "%.3f" : "%.3g", epsilon);
    return out;
}

void hearthd_event(const hearthd_args *a, const char *event, ...) {
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    va_list ap;
    const char *key;
    if (!a->json) return;
    (void)hearth_buf_printf(&b, "{\"event\":\"%s\"", event);
    va_start(ap, event);
    while ((key = va_arg(ap, const char *)) != NULL) {
        int type = va_arg(ap, int);
        (void)hearth_buf_printf(&b, ",\"%s\":", key);
        put_value(&b, type, &ap);
    }
    va_end(ap);
    (void)printf("%s}\n", hearth_buf_str(&b));
    (void)fflush(stdout);
    hearth_buf_free(&b);
}

static const char *class_name(hearth_status st) {
    switch (hearth_status_class(st)) {
    case HEARTH_FAULT_CALLER: return "caller";
    case HEARTH_FAULT_PEER: return "peer";
    case HEARTH_FAULT_SYSTEM: return "system";
    default: return "none";
    }
}

/* "what; what next": the last part is the hint.  text is cut there. */
static void error_event(const hearthd_args *a, hearth_status st, char *text) {
    char *cut = strrchr(text, ';');
    bool hint = cut && cut[1] == ' ';
    if (hint) *cut = '\0';
    hearthd_event(a, "error", "status", 's', hearth_status_name(st), "class",
                  's', class_name(st), "message", 's', text, "hint", 's',
                  hint ? cut + 2 : "", (const char *)NULL);
}

int hearthd_fail(const hearthd_args *a, const hearth_error *err) {
    char text[sizeof(err->text)];
    (void)snprintf(text, sizeof(text), "%s",
                   err->text[0] ? err->text : "it failed; try again");
    if (!a->json) {
        (void)fprintf(stderr, "hearthd: %s\n", text);
        return 1;
    }
    error_event(a, err->status, text);
    return 1;
}

int hearthd_usage(const hearthd_args *a, const char *fmt, ...) {
    va_list ap;
    char what[256], text[400];
    va_start(ap, fmt);
    (void)vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    (void)snprintf(text, sizeof(text), "%s; see `hearthd %s --help`", what,
                   a->command);
    if (a->json)
        error_event(a, HEARTH_EINVAL, text);
    else
        (void)fprintf(stderr, "hearthd %s: %s\n", a->command, text);
    return 2;
}

/* ---- state ------------------------------------------------------------- */

hearth_status hearthd_open_config(hearthd_state *s, const hearthd_args *a) {
    memset(s, 0, sizeof(*s));
    if (!hearth_file_exists(a->config))
        return hearth_error_set(&s->err, HEARTH_ENOTFOUND,
                                "no settings in %.150s; give -c FILE, or make "
                                "them: hearthd init --dir DIR --host NAME",
                                a->config);
    return hearth_server_config_load(&s->cfg, a->config, NULL, &s->err);
}

hearth_status hearthd_open_devices(hearthd_state *s, const hearthd_args *a) {
    hearth_status st = hearthd_open_config(s, a);
    if (st != HEARTH_OK) return st;
    return hearth_auth_store_open(&s->devices, s->cfg.devices, NULL, &s->err);
}

hearth_status hearthd_open_store(hearthd_state *s, const hearthd_args *a) {
    char path[HEARTH_SERVER_PATH_CAP];
    hearth_status st = hearthd_open_config(s, a);
    if (st != HEARTH_OK) return st;
    st = hearth_file_mkdirs(s->cfg.state, &s->err);
    if (st == HEARTH_OK)
        st = hearth_coord_db_path(path, sizeof(path), s->cfg.state);
    if (st != HEARTH_OK) return st;
    return hearth_coord_store_open(&s->store, path, HEARTH_STORE_DURABLE, NULL,
                                   &s->err);
}

hearth_status hearthd_open_publish(hearthd_state *s, const hearthd_args *a) {
    hearth_status st = hearthd_open_store(s, a);
    if (st != HEARTH_OK) return st;
    st = hearth_sign_load_pem(&s->release_key, s->cfg.release_key, NULL,
                              &s->err);
    if (st == HEARTH_OK) st = hearth_rng_open(&s->rng, NULL, &s->err);
    s->env = (hearth_task_env){.store = s->store,
                               .dir = s->cfg.state,
                               .release_key = s->release_key,
                               .clock = hearth_clock_system(),
                               .rng = s->rng,
                               .release_ttl_ms = s->cfg.release_ttl_ms};
    return st;
}

void hearthd_close(hearthd_state *s) {
    hearth_auth_store_close(s->devices);
    hearth_coord_store_close(s->store);
    hearth_sign_free(s->release_key);
    hearth_rng_close(s->rng);
    memset(s, 0, sizeof(*s));
}

int hearthd_finish(const hearthd_args *a, hearthd_state *s, hearth_status st) {
    int rc = 0;
    if (st != HEARTH_OK) {
        if (s->err.status == HEARTH_OK)
            (void)hearth_error_set(&s->err, st, "%s", hearth_status_text(st));
        rc = hearthd_fail(a, &s->err);
    }
    hearthd_close(s);
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/task.c - read a TASK.ini.
 *
 * Everything a task promises is worked out here once, from its text and its
 * seed alone, so that every start of the coordinator finds the same numbers.
 * What follows from the settings (bounds, noise, digests, epsilons) is in
 * task_derive.c.
 */
#include "coordinator/task.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "common/bytes.h"
#include "common/error.h"
#include "common/file.h"
#include "common/ini.h"
#include "coordinator/lora_rules.h"
#include "coordinator/task_derive.h"

static const hearth_ini_key KEYS[] = {
    {"task", "name"},      {"task", "rule"},
    {"task", "mode"},      {"task", "rounds"},
    {"task", "purpose"},   {"task", "min_examples"},
    {"task", "spacing"},   {"base", "id"},
    {"base", "tokenizer"}, {"base", "template"},
    {"base", "layers"},    {"base", "hidden"},
    {"base", "heads"},     {"base", "kv_heads"},
    {"base", "modules"},   {"base", "head_dim"},
    {"base", "ffn"},       {"adapter", "targets"},
    {"adapter", "rank"},   {"adapter", "alpha"},
    {"adapter", "rslora"}, {"adapter", "last_layers"},
    {"adapter", "a_seed"}, {"train", "steps"},
    {"train", "batch"},    {"train", "seq"},
    {"train", "lr"},       {"train", "schedule"},
    {"train", "warmup"},   {"train", "weight_decay"},
    {"train", "loss"},     {"cohort", "count"},
    {"cohort", "time"},    {"cohort", "over_select"},
    {"privacy", "clip"},   {"privacy", "noise"},
    {"privacy", "delta"},  {"privacy", "scale"},
    {"clip", "quantile"},  {"clip", "rate"},
    {"clip", "share"},     {"clip", "floor"},
    {"clip", "ceiling"},   {"clip", "freeze"},
    {"server", "lr"},
};

/* Reading stops at the first failure: every helper is a no-op after it. */
typedef struct {
    const hearth_ini *ini;
    const char *file;
    hearth_error *err;
    hearth_status st;
} reader;

static void fail(reader *r, const char *section, const char *key,
                 const char *why) {
    r->st = hearth_error_set(r->err, HEARTH_EFORMAT,
                             "%s:%u: [%s] %s %s; mend the file and try again",
                             r->file, hearth_ini_line(r->ini, section, key),
                             section, key, why);
}

static uint32_t get_u32(reader *r, const char *section, const char *key,
                        int64_t min, int64_t max, const int64_t *fallback) {
    int64_t v = 0;
    if (r->st == HEARTH_OK)
        r->st = hearth_ini_get_i64(r->ini, section, key, min, max, fallback, &v,
                                   r->err);
    return (uint32_t)v;
}

static double get_f64(reader *r, const char *section, const char *key,
                      double min, double max, const double *fallback) {
    double v = 0;
    if (r->st == HEARTH_OK)
        r->st = hearth_ini_get_f64(r->ini, section, key, min, max, fallback, &v,
                                   r->err);
    return v;
}

static const char *get_str(reader *r, const char *section, const char *key,
                           const char *fallback) {
    const char *v = "";
    if (r->st == HEARTH_OK)
        r->st = hearth_ini_get_str(r->ini, section, key, fallback, &v, r->err);
    return r->st == HEARTH_OK ? v : "";
}

/* One of the words of list; its index from 1. */
static uint32_t get_word(reader *r, const char *section, const char *key,
                         const char *fallback, const char *const *list,
                         uint32_t n) {
    const char *v = get_str(r, section, key, fallback);
    if (r->st != HEARTH_OK) return 0;
    for (uint32_t i = 0; i < n; i++)
        if (strcmp(v, list[i]) == 0) return i + 1;
    fail(r, section, key, "is none of the allowed words");
    return 0;
}

static void get_digest(reader *r, const char *key, const char *fallback,
                       uint8_t out[32]) {
    const char *v = get_str(r, "base", key, fallback);
    if (r->st != HEARTH_OK || strcmp(v, "none") == 0) return;
    if (hearth_hex_decode(out, 32, v, strlen(v)) != HEARTH_OK)
        fail(r, "base", key, "is no digest of 64 hex digits");
}

static void copy_text(char *to, size_t cap, const char *from) {
    size_t n = strlen(from);
    if (n >= cap) n = cap - 1;
    memcpy(to, from, n);
    to[n] = '\0';
}

/* "a,b" into two texts of at most 31 characters. */
static void get_pair(reader *r, const char *section, const char *key,
                     char a[32], char b[32]) {
    const char *v = get_str(r, section, key, NULL);
    const char *comma = strchr(v, ',');
    a[0] = b[0] = '\0';
    if (r->st != HEARTH_OK) return;
    if (!comma || (size_t)(comma - v) >= 32 || strlen(comma + 1) >= 32) {
        fail(r, section, key, "is not of the form min,max");
        return;
    }
    memcpy(a, v, (size_t)(comma - v));
    a[comma - v] = '\0';
    for (comma++; *comma == ' ';) comma++;
    copy_text(b, 32, comma);
}

static void read_task(reader *r, hearth_task *t) {
    static const char *const modes[] = {"local", "distributed"};
    const int64_t one = 1;
    const int64_t day = 86400000;
    int64_t ms = 0;
    const char *name = get_str(r, "task", "name", NULL);
    const char *rule_name = get_str(r, "task", "rule", "ffa");
    const hearth_lora_rule *rule = hearth_lora_rule_find(rule_name);

    if (r->st == HEARTH_OK && !hearth_task_name_ok(name))
        fail(r, "task", "name", "may hold a-z 0-9 . _ - only, 63 at most");
    if (r->st == HEARTH_OK && !rule)
        fail(r, "task", "rule", "is no rule; choose ffa or fedit");
    copy_text(t->name, sizeof(t->name), name);
    copy_text(t->purpose, sizeof(t->purpose),
              get_str(r, "task", "purpose", "federated"));
    if (r->st == HEARTH_OK && t->purpose[0] == '\0')
        fail(r, "task", "purpose", "is empty");
    t->privacy.mode = get_word(r, "task", "mode", "local", modes, 2);
    if (r->st == HEARTH_OK)
        r->st = hearth_lora_rule_check(rule, t->privacy.mode, r->err);
    if (r->st == HEARTH_OK) t->space.rule = rule->rule;
    t->rounds = get_u32(r, "task", "rounds", 1, HEARTH_PROTO_MAX_ROUNDS, NULL);
    t->min_examples = get_u32(r, "task", "min_examples", 0, 1 << 30, &one);
    if (r->st == HEARTH_OK)
        r->st = hearth_ini_get_duration(r->ini, "task", "spacing", &day, &ms,
                                        r->err);
    if (r->st == HEARTH_OK && (uint64_t)ms > HEARTH_PROTO_MAX_WINDOW * 52)
        fail(r, "task", "spacing", "is above a year");
    t->spacing_ms = (uint64_t)ms;
}

static void read_base(reader *r, hearth_task *t) {
    get_digest(r, "id", NULL, t->space.base_digest);
    get_digest(r, "tokenizer", NULL, t->space.tokenizer_digest);
    get_digest(r, "template", "none", t->space.template_digest);
    const char *modules = get_str(r, "base", "modules", "llama");
    if (r->st == HEARTH_OK) {
        if (strcmp(modules, "gpt2") == 0)
            t->base.modules = HEARTH_TASK_GPT2;
        else if (strcmp(modules, "phi3") == 0)
            t->base.modules = HEARTH_TASK_PHI3;
        else if (strcmp(modules, "llama") != 0)
            fail(r, "base", "modules",
                 "is not llama, gpt2 or phi3; take what hearth model inspect "
                 "--task prints");
    }
    t->base.layers =
        get_u32(r, "base", "layers", 1, HEARTH_LORA_MAX_LAYERS, NULL);
    t->base.hidden = get_u32(r, "base", "hidden", 1, 1 << 20, NULL);
    t->base.heads = get_u32(r, "base", "heads", 1, 1024, NULL);
    t->base.kv_heads = get_u32(r, "base", "kv_heads", 1, 1024, NULL);
    t->base.head_dim = get_u32(r, "base", "head_dim", 1, 1024, NULL);
    t->base.ffn = get_u32(r, "base", "ffn", 1, 1 << 20, NULL);
}

static void read_adapter(reader *r, hearth_task *t) {
    const int64_t none = 0;
    const bool no = false;
    uint32_t automatic,
        offered = hearth_task_targets(t->base.modules, &automatic);
    const char *targets = get_str(r, "adapter", "targets", "auto");
    if (r->st == HEARTH_OK &&
        hearth_targets_parse(targets, offered, automatic, &t->space.targets) !=
            HEARTH_OK)
        fail(r, "adapter", "targets",
             "names no linear layer; use auto, attn, all-linear or a list");
    t->space.rank =
        get_u32(r, "adapter", "rank", 1, HEARTH_ADAPTER_MAX_RANK, NULL);
    t->space.alpha =
        (double)(float)get_f64(r, "adapter", "alpha", 1e-6, 1e6, NULL);
    t->space.last_layers =
        get_u32(r, "adapter", "last_layers", 0, HEARTH_LORA_MAX_LAYERS, &none);
    if (r->st == HEARTH_OK)
        r->st = hearth_ini_get_bool(r->ini, "adapter", "rslora", &no,
                                    &t->space.rslora, r->err);
}

/* A from a number, when the operator wants a certain one. */
static void read_a_seed(reader *r, hearth_task *t) {
    if (r->st != HEARTH_OK || !hearth_ini_get(r->ini, "adapter", "a_seed"))
        return;
    int64_t number = 0;
    r->st = hearth_ini_get_i64(r->ini, "adapter", "a_seed", 0, INT64_MAX, NULL,
                               &number, r->err);
    if (r->st == HEARTH_OK)
        r->st =
            hearth_adapter_seed_from_number((uint64_t)number, t->space.a_seed);
}

static void read_train(reader *r, hearth_task *t) {
    static const char *const schedules[] = {"constant", "linear", "cosine"};
    static const char *const losses[] = {"answer", "all"};
    const int64_t one = 1, zero = 0;
    const double none = 0;
    t->local.steps = get_u32(r, "train", "steps", 1, 1000000, NULL);
    t->local.batch = get_u32(r, "train", "batch", 1, 65536, &one);
    t->local.seq = get_u32(r, "train", "seq", 1, 1 << 20, NULL);
    t->local.lr = get_f64(r, "train", "lr", 1e-12, 1e3, NULL);
    t->local.schedule =
        get_word(r, "train", "schedule", "constant", schedules, 3);
    t->local.warmup = get_u32(r, "train", "warmup", 0, 1000000, &zero);
    t->local.weight_decay = get_f64(r, "train", "weight_decay", 0, 1e3, &none);
    t->local.loss = get_word(r, "train", "loss", "answer", losses, 2);
}

static void read_cohort(reader *r, hearth_task *t) {
    hearth_stage_window *w = &t->round.stage[0];
    const double over = 1.3;
    char a[32], b[32];
    int64_t lo = 0, hi = 0;

    get_pair(r, "cohort", "count", a, b);
    if (r->st != HEARTH_OK) return;
    if (hearth_parse_i64(a, &lo) != HEARTH_OK ||
        hearth_parse_i64(b, &hi) != HEARTH_OK || lo < 1 || hi < lo ||
        hi > HEARTH_PROTO_MAX_COHORT) {
        fail(r, "cohort", "count", "is not of the form min,max with 1 <= min");
        return;
    }
    w->count_min = (uint32_t)lo;
    w->count_max = (uint32_t)hi;
    get_pair(r, "cohort", "time", a, b);
    if (r->st != HEARTH_OK) return;
    if (hearth_parse_duration(a, &lo) != HEARTH_OK ||
        hearth_parse_duration(b, &hi) != HEARTH_OK || lo < 0 || hi < lo ||
        hi < 1 || (uint64_t)hi > HEARTH_PROTO_MAX_WINDOW) {
        fail(r, "cohort", "time", "is not of the form 60s,10m, a week at most");
        return;
    }
    w->time_min_ms = (uint64_t)lo;
    w->time_max_ms = (uint64_t)hi;
    t->round.n_cohorts = t->round.n_stages = 1;
    t->round.max_invited =
        (uint32_t)ceil((double)w->count_max *
                       get_f64(r, "cohort", "over_select", 1, 100, &over));
}

static void read_privacy(reader *r, hearth_task *t) {
    const double delta = 1e-6, one = 1;
    const int64_t finest = 24;
    int64_t exp = 0;
    t->privacy.clip =
        (double)(float)get_f64(r, "privacy", "clip", 1e-9, 1e9, NULL);
    t->privacy.z = get_f64(r, "privacy", "noise", 1e-3, 1e6, NULL);
    t->privacy.delta = get_f64(r, "privacy", "delta", 1e-15, 0.1, &delta);
    t->server_lr = get_f64(r, "server", "lr", 1e-9, 1e6, &one);
    if (r->st == HEARTH_OK)
        r->st = hearth_ini_get_i64(r->ini, "privacy", "scale", -30, 40, &finest,
                                   &exp, r->err);
    t->scale_most = (int32_t)exp;
    t->scale_given = hearth_ini_get(r->ini, "privacy", "scale") != NULL;
}

/* [clip] without a quantile is a mistake, not a fixed clip. */
static void read_clip(reader *r, hearth_task *t) {
    static const char *const others[] = {"rate", "share", "floor", "ceiling",
                                         "freeze"};
    const double rate = 0.2, share = 0.1;
    const int64_t never = 0;
    hearth_adapt_clip *a = &t->adapt;
    if (r->st != HEARTH_OK) return;
    a->on = hearth_ini_get(r->ini, "clip", "quantile") != NULL;
    for (size_t i = 0; !a->on && i < sizeof(others) / sizeof(*others); i++)
        if (r->st == HEARTH_OK && hearth_ini_get(r->ini, "clip", others[i]))
            fail(r, "clip", others[i], "does nothing without a quantile");
    if (!a->on || r->st != HEARTH_OK) return;
    a->start = t->privacy.clip;
    const double low = a->start / 64, high = a->start * 64;
    a->quantile = get_f64(r, "clip", "quantile", 0.01, 0.99, NULL);
    a->rate = get_f64(r, "clip", "rate", 1e-3, 2, &rate);
    a->share = get_f64(r, "clip", "share", 1e-3, 0.5, &share);
    a->floor = get_f64(r, "clip", "floor", 1e-12, 1e12, &low);
    a->top = get_f64(r, "clip", "ceiling", 1e-12, 1e12, &high);
    a->freeze =
        get_u32(r, "clip", "freeze", 0, HEARTH_PROTO_MAX_ROUNDS, &never);
    a->floor = (double)(float)a->floor;
    a->top = (double)(float)a->top;
    if (r->st == HEARTH_OK && !(a->floor <= a->start))
        fail(r, "clip", "floor", "is above [privacy] clip");
    if (r->st == HEARTH_OK && !(a->top >= a->start))
        fail(r, "clip", "ceiling", "is below [privacy] clip");
}

hearth_status hearth_task_parse(hearth_task *t, const char *name,
                                const char *text, size_t n,
                                const uint8_t a_seed[32],
                                const hearth_alloc *al, hearth_error *err) {
    hearth_ini *ini = NULL;
    reader r = {NULL, name ? name : "TASK.ini", err, HEARTH_OK};

    if (!t || !text || !a_seed)
        return hearth_error_set(err, HEARTH_EINVAL, "task: NULL argument");
    memset(t, 0, sizeof(*t));
    if (n > HEARTH_TASK_MAX_INI)
        return hearth_error_set(err, HEARTH_ETOOBIG,
                                "%s: above %zu bytes; a task needs no more",
                                r.file, HEARTH_TASK_MAX_INI);
    r.st = hearth_ini_parse(&ini, r.file, text, n, KEYS,
                            sizeof(KEYS) / sizeof(KEYS[0]), al, err);
    r.ini = ini;
    if (r.st == HEARTH_OK) {
        read_task(&r, t);
        read_base(&r, t);
        read_adapter(&r, t);
        memcpy(t->space.a_seed, a_seed, 32);
        read_a_seed(&r, t);
        read_train(&r, t);
        read_cohort(&r, t);
        read_privacy(&r, t);
        read_clip(&r, t);
    }
    hearth_ini_free(ini);
    if (r.st == HEARTH_OK) r.st = hearth_task_derive(t, al, err);
    if (r.st != HEARTH_OK) memset(t, 0, sizeof(*t));
    return r.st;
}

hearth_status hearth_task_read_file(hearth_buf *text, const char *path,
                                    hearth_error *err) {
    return hearth_file_read(text, path, HEARTH_TASK_MAX_INI, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_scenario.c - settings to struct.  Overrides (--set) are
 * merged as text and the result is parsed again, so that they pass the very same
 * checks as the file. */
#include "tests/fleet/fleet_scenario.h"

#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/ini.h"
#include "common/mem.h"
#include "privacy/blt.h"

static const hearth_ini_key KEYS[] = {
    {"run", "name"},
    {"run", "seeds"},
    {"run", "rounds"},
    {"run", "jobs"},
    {"run", "threads"},
    {"run", "eval_every"},
    {"model", "path"},
    {"model", "targets"},
    {"model", "rank"},
    {"model", "alpha"},
    {"model", "rslora"},
    {"model", "a_seed"},
    {"model", "rule"},
    {"model", "last_layers"},
    {"records", "path"},
    {"records", "form"},
    {"records", "partition"},
    {"records", "text_field"},
    {"records", "order"},
    {"records", "devices"},
    {"records", "min_records"},
    {"records", "holdout"},
    {"records", "unseen_devices"},
    {"records", "piece"},
    {"train", "steps"},
    {"train", "epochs"},
    {"train", "batch"},
    {"train", "seq"},
    {"train", "lr"},
    {"train", "server_lr"},
    {"train", "schedule"},
    {"train", "warmup"},
    {"train", "weight_decay"},
    {"train", "loss"},
    {"cohort", "count"},
    {"cohort", "time"},
    {"cohort", "over_select"},
    {"privacy", "mode"},
    {"privacy", "clip"},
    {"privacy", "clip_quantile"},
    {"privacy", "clip_rate"},
    {"privacy", "clip_share"},
    {"privacy", "clip_freeze"},
    {"privacy", "epsilon"},
    {"privacy", "noise"},
    {"privacy", "delta"},
    {"privacy", "release_noise"},
    {"privacy", "release_buffers"},
    {"privacy", "release_separation"},
    {"privacy", "release_participations"},
    {"device.*", "share"},
    {"device.*", "tokens_per_second"},
    {"device.*", "up_kbps"},
    {"device.*", "down_kbps"},
    {"device.*", "dropout"},
    {"device.*", "availability"},
    {"baseline", "central"},
    {"baseline", "local"},
    {"baseline", "base"},
    {"baseline", "control"},
    {"baseline", "central_batch"},
    {"baseline", "central_epochs"},
    {"baseline", "central_patience"},
    {"baseline", "central_lr"},
    {"baseline", "central_tolerance"},
    {"baseline", "central_trains"},
    {"baseline", "local_steps"},
    {"baseline", "local_lr"},
    {"sweep", "*"},
    {"sweep.*", "*"},
};
#define N_KEYS (sizeof(KEYS) / sizeof(KEYS[0]))

const hearth_ini_key *hearth_fleet_scenario_keys(size_t *n) {
    *n = N_KEYS;
    return KEYS;
}

/* What the readers below share: the first failure sticks. */
typedef struct {
    const hearth_ini *ini;
    const char *name, *dir;
    hearth_status st;
    hearth_error *err;
} reader;

static void fail(reader *r, hearth_status st, const char *section,
                 const char *key, const char *what) {
    if (r->st != HEARTH_OK) return;
    r->st = hearth_error_set(r->err, st, "%s:%u: [%s] %s: %s", r->name,
                             hearth_ini_line(r->ini, section, key), section,
                             key, what);
}

/* fallback NAN-free doubles and integers; required ones pass NULL. */
static double get_f64(reader *r, const char *section, const char *key,
                      double min, double max, const double *fallback) {
    double v = 0.0;
    if (r->st == HEARTH_OK)
        r->st = hearth_ini_get_f64(r->ini, section, key, min, max, fallback, &v,
                                   r->err);
    return v;
}

static uint32_t get_u32(reader *r, const char *section, const char *key,
                        int64_t min, int64_t max, int64_t fallback) {
    int64_t v = 0;
    if (r->st == HEARTH_OK)
        r->st = hearth_ini_get_i64(r->ini, section, key, min, max, &fallback,
                                   &v, r->err);
    return (uint32_t)v;
}

static bool get_bool(reader *r, const char *section, const char *key,
                     bool fallback) {
    bool v = false;
    if (r->st == HEARTH_OK)
        r->st =
            hearth_ini_get_bool(r->ini, section, key, &fallback, &v, r->err);
    return v;
}

static void get_text(reader *r, const char *section, const char *key,
                     const char *fallback, char *out, size_t cap) {
    const char *v = "";
    if (r->st == HEARTH_OK)
        r->st = hearth_ini_get_str(r->ini, section, key, fallback, &v, r->err);
    if (r->st != HEARTH_OK) return;
    if (strlen(v) >= cap) {
        fail(r, HEARTH_ETOOBIG, section, key, "too long; make it shorter");
        return;
    }
    memcpy(out, v, strlen(v) + 1);
}

/* $NAME/rest, ${NAME}/rest, absolute, or relative to the scenario's folder. */
static void set_path(reader *r, const char *section, const char *key,
                     const char *v, char *out, size_t cap) {
    char name[64];
    const char *head = "", *rest = v;
    if (v[0] == '$') {
        bool brace = v[1] == '{';
        size_t start = brace ? 2 : 1,
               n = strspn(v + start, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_"
                                     "0123456789");
        if (!n || n >= sizeof(name) || (brace && v[start + n] != '}')) {
            fail(
                r, HEARTH_EFORMAT, section, key,
                "after $ comes a NAME of capitals; write $HEARTH_TEST_DATA/..");
            return;
        }
        memcpy(name, v + start, n);
        name[n] = '\0';
        head = getenv(name);
        rest = v + start + n + brace;
        if (!head) {
            r->st = hearth_error_set(
                r->err, HEARTH_ENOTFOUND,
                "%s: [%s] %s needs the environment variable %s; set it and run "
                "again",
                r->name, section, key, name);
            return;
        }
    } else if (v[0] != '/') {
        if (hearth_file_join(out, cap, r->dir, v) != HEARTH_OK)
            fail(r, HEARTH_ETOOBIG, section, key, "too long; make it shorter");
        return;
    }
    size_t a = strlen(head), b = strlen(rest);
    if (a + b >= cap) {
        fail(r, HEARTH_ETOOBIG, section, key, "too long; make it shorter");
        return;
    }
    memcpy(out, head, a);
    memcpy(out + a, rest, b + 1);
}

static void get_path(reader *r, const char *section, const char *key, char *out,
                     size_t cap) {
    const char *v = "";
    if (r->st == HEARTH_OK)
        r->st = hearth_ini_get_str(r->ini, section, key, NULL, &v, r->err);
    if (r->st == HEARTH_OK) set_path(r, section, key, v, out, cap);
}

/* ---- sections ---- */

/* "1,2,3" */
static void get_seeds(reader *r, hearth_fleet_scenario *sc) {
    char text[1024];
    get_text(r, "run", "seeds", "1", text, sizeof(text));
    for (char *at = text; at && r->st == HEARTH_OK;) {
        char *next = strchr(at, ',');
        int64_t v;
        if (next) *next++ = '\0';
        while (*at == ' ') at++;
        at[strcspn(at, " ")] = '\0';
        if (hearth_parse_i64(at, &v) != HEARTH_OK || v < 0)
            fail(r, HEARTH_EFORMAT, "run", "seeds",
                 "numbers of 0 or more, with commas: 1,2,3");
        else if (sc->n_seeds == HEARTH_FLEET_MAX_SEEDS)
            fail(r, HEARTH_ETOOBIG, "run", "seeds", "more than 64; use fewer");
        else
            sc->seed[sc->n_seeds++] = (uint64_t)v;
        at = next;
    }
    for (size_t i = 0; i < sc->n_seeds; i++)
        for (size_t k = 0; k < i; k++)
            if (sc->seed[i] == sc->seed[k])
                fail(r, HEARTH_EFORMAT, "run", "seeds", "one of them is twice");
}

static void read_run(reader *r, hearth_fleet_scenario *sc) {
    get_text(r, "run", "name", NULL, sc->name, sizeof(sc->name));
    get_seeds(r, sc);
    sc->rounds = get_u32(r, "run", "rounds", 1, 100000, 10);
    sc->jobs = get_u32(r, "run", "jobs", 1, 64, 1);
    sc->threads = get_u32(r, "run", "threads", 1, 64, 1);
    sc->eval_every = get_u32(r, "run", "eval_every", 1, 100000, 1);
}

static void read_model(reader *r, hearth_fleet_scenario *sc) {
    const double alpha = 16.0;
    get_path(r, "model", "path", sc->model_path, sizeof(sc->model_path));
    get_text(r, "model", "targets", "q_proj,v_proj", sc->targets,
             sizeof(sc->targets));
    get_text(r, "model", "rule", "ffa", sc->rule, sizeof(sc->rule));
    sc->rank = get_u32(r, "model", "rank", 1, 1024, 8);
    sc->alpha = get_f64(r, "model", "alpha", 1e-3, 1e6, &alpha);
    sc->last_layers = get_u32(r, "model", "last_layers", 0, 1024, 0);
    sc->rslora = get_bool(r, "model", "rslora", false);
    sc->a_seed = -1;
    if (r->st == HEARTH_OK && hearth_ini_get(r->ini, "model", "a_seed"))
        r->st = hearth_ini_get_i64(r->ini, "model", "a_seed", 0, INT64_MAX,
                                   NULL, &sc->a_seed, r->err);
    if (r->st == HEARTH_OK && strcmp(sc->rule, "ffa") != 0)
        fail(r, HEARTH_EUNSUPPORTED, "model", "rule",
             "this version runs ffa; set rule = ffa");
}

static void read_form(reader *r, hearth_fleet_scenario *sc) {
    char v[1100];
    get_text(r, "records", "form", "text", v, sizeof(v));
    if (r->st != HEARTH_OK) return;
    if (!strcmp(v, "text")) {
        sc->form = HEARTH_FLEET_FORM_TEXT;
    } else if (!strcmp(v, "records")) {
        sc->form = HEARTH_FLEET_FORM_RECORDS;
    } else if (!strncmp(v, "template:", 9)) {
        sc->form = HEARTH_FLEET_FORM_TEMPLATE;
        set_path(r, "records", "form", v + 9, sc->template_path,
                 sizeof(sc->template_path));
    } else {
        fail(r, HEARTH_EFORMAT, "records", "form",
             "one of text, records, template:FILE");
    }
}

static void read_partition(reader *r, hearth_fleet_scenario *sc) {
    char v[96];
    get_text(r, "records", "partition", "iid", v, sizeof(v));
    if (r->st != HEARTH_OK) return;
    if (!strcmp(v, "iid")) {
        sc->partition = HEARTH_FLEET_IID;
    } else if (!strncmp(v, "field:", 6) && v[6] &&
               strlen(v + 6) < sizeof(sc->field)) {
        sc->partition = HEARTH_FLEET_BY_FIELD;
        memcpy(sc->field, v + 6, strlen(v + 6) + 1);
    } else if (!strncmp(v, "dirichlet:", 10)) {
        fail(r, HEARTH_EUNSUPPORTED, "records", "partition",
             "dirichlet comes in a later version; use field:NAME or iid");
    } else {
        fail(r, HEARTH_EFORMAT, "records", "partition",
             "one of field:NAME, iid");
    }
}

static void read_holdout(reader *r, hearth_fleet_scenario *sc) {
    char v[96];
    get_text(r, "records", "holdout", "last:0.2", v, sizeof(v));
    if (r->st != HEARTH_OK) return;
    if (!strcmp(v, "none")) {
        sc->holdout = HEARTH_FLEET_HOLDOUT_NONE;
        return;
    }
    bool last = !strncmp(v, "last:", 5), hash = !strncmp(v, "hash:", 5);
    sc->holdout = last ? HEARTH_FLEET_HOLDOUT_LAST : HEARTH_FLEET_HOLDOUT_HASH;
    if ((!last && !hash) ||
        hearth_parse_f64(v + 5, &sc->holdout_share) != HEARTH_OK ||
        !(sc->holdout_share > 0.0 && sc->holdout_share < 1.0))
        fail(r, HEARTH_EFORMAT, "records", "holdout",
             "last:SHARE or hash:SHARE with a share between 0 and 1, or none");
}

/* "10", "0.1" or "every:12". */
static void read_unseen(reader *r, hearth_fleet_scenario *sc) {
    char v[32];
    int64_t n;
    get_text(r, "records", "unseen_devices", "0", v, sizeof(v));
    if (r->st != HEARTH_OK) return;
    if (!strncmp(v, "every:", 6)) {
        if (hearth_parse_i64(v + 6, &n) == HEARTH_OK && n >= 2 &&
            n <= HEARTH_FLEET_MAX_DEVICES)
            sc->unseen_every = (uint32_t)n;
        else
            fail(r, HEARTH_EFORMAT, "records", "unseen_devices",
                 "every:N with an N of 2 or more");
    } else if (hearth_parse_i64(v, &n) == HEARTH_OK && n >= 0 &&
               n <= HEARTH_FLEET_MAX_DEVICES) {
        sc->unseen_devices = (uint32_t)n;
    } else if (hearth_parse_f64(v, &sc->unseen_share) != HEARTH_OK ||
               !(sc->unseen_share > 0.0 && sc->unseen_share < 1.0)) {
        fail(r, HEARTH_EFORMAT, "records", "unseen_devices",
             "a count (10), a share (0.1) or every:N");
    }
}

/* Whoever needs people in the file cannot be dealt out as iid. */
static void check_people(reader *r, const hearth_fleet_scenario *sc) {
    bool iid = sc->partition == HEARTH_FLEET_IID;
    if (iid && !sc->devices)
        fail(r, HEARTH_EFORMAT, "records", "devices",
             "partition = iid needs devices = N; add it");
    if (iid && sc->piece)
        fail(r, HEARTH_EFORMAT, "records", "piece",
             "pieces are of people; use partition = field:NAME");
    if (iid && sc->unseen_every)
        fail(r, HEARTH_EFORMAT, "records", "unseen_devices",
             "every:N is of people; give a count, or partition = field:NAME");
    if (sc->holdout == HEARTH_FLEET_HOLDOUT_NONE && !sc->unseen_every &&
        !sc->unseen_devices && !(sc->unseen_share > 0.0))
        fail(r, HEARTH_EFORMAT, "records", "holdout",
             "none leaves nobody to measure; set unseen_devices");
}

static void read_records(reader *r, hearth_fleet_scenario *sc) {
    get_path(r, "records", "path", sc->records_path, sizeof(sc->records_path));
    read_form(r, sc);
    read_partition(r, sc);
    read_holdout(r, sc);
    get_text(r, "records", "text_field", "text", sc->text_field,
             sizeof(sc->text_field));
    get_text(r, "records", "order", "", sc->order, sizeof(sc->order));
    sc->devices =
        get_u32(r, "records", "devices", 0, HEARTH_FLEET_MAX_DEVICES, 0);
    sc->min_records = get_u32(r, "records", "min_records", 1, 1 << 22, 2);
    sc->piece = get_u32(r, "records", "piece", 0, 1 << 22, 0);
    read_unseen(r, sc);
    check_people(r, sc);
}

static void read_train(reader *r, hearth_fleet_scenario *sc) {
    const double lr = 2e-3, one = 1.0, zero = 0.0;
    sc->steps = get_u32(r, "train", "steps", 0, 1000000, 0);
    sc->epochs = get_u32(r, "train", "epochs", 0, 1000000, 0);
    if (r->st == HEARTH_OK && !sc->steps && !sc->epochs) sc->epochs = 1;
    if (sc->steps && sc->epochs)
        fail(r, HEARTH_EFORMAT, "train", "epochs",
             "steps and epochs both; keep one of them");
    sc->batch = get_u32(r, "train", "batch", 1, 65536, 8);
    sc->seq = get_u32(r, "train", "seq", 2, 1 << 20, 128);
    sc->warmup = get_u32(r, "train", "warmup", 0, 1000000, 0);
    sc->lr = get_f64(r, "train", "lr", 1e-9, 10.0, &lr);
    sc->server_lr = get_f64(r, "train", "server_lr", 1e-6, 100.0, &one);
    sc->weight_decay = get_f64(r, "train", "weight_decay", 0.0, 1.0, &zero);
    get_text(r, "train", "schedule", "constant", sc->schedule,
             sizeof(sc->schedule));
    get_text(r, "train", "loss", "answer", sc->loss, sizeof(sc->loss));
    if (r->st != HEARTH_OK) return;
    if (strcmp(sc->schedule, "constant") != 0 &&
        strcmp(sc->schedule, "linear") != 0 &&
        strcmp(sc->schedule, "cosine") != 0)
        fail(r, HEARTH_EFORMAT, "train", "schedule",
             "one of constant, linear, cosine");
    if (strcmp(sc->loss, "answer") != 0 && strcmp(sc->loss, "all") != 0)
        fail(r, HEARTH_EFORMAT, "train", "loss", "answer or all");
}

/* "75%": a share of the devices. */
static bool get_share(const char *v, double *out) {
    char number[32];
    size_t n = strlen(v);
    if (n < 2 || n >= sizeof(number) || v[n - 1] != '%') return false;
    memcpy(number, v, n - 1);
    number[n - 1] = '\0';
    if (hearth_parse_f64(number, out) != HEARTH_OK) return false;
    *out /= 100.0;
    return *out > 0.0 && *out <= 1.0;
}

/* "10,20": two numbers; "10": both the same; "75%,100%": of the devices. */
static void read_count(reader *r, hearth_fleet_scenario *sc) {
    char v[64], *comma;
    int64_t low, high;
    get_text(r, "cohort", "count", "0,0", v, sizeof(v));
    if (r->st != HEARTH_OK) return;
    comma = strchr(v, ',');
    if (comma) *comma++ = '\0';
    if (get_share(v, &sc->share_min) &&
        get_share(comma ? comma : v, &sc->share_max) &&
        sc->share_min <= sc->share_max)
        return;
    sc->share_min = sc->share_max = 0.0;
    if (hearth_parse_i64(v, &low) != HEARTH_OK ||
        hearth_parse_i64(comma ? comma : v, &high) != HEARTH_OK || low < 0 ||
        high < low || high > HEARTH_FLEET_MAX_DEVICES) {
        fail(r, HEARTH_EFORMAT, "cohort", "count",
             "MIN,MAX devices of a round, or shares such as 75%,100%; MIN <= "
             "MAX");
        return;
    }
    sc->count_min = (uint32_t)low;
    sc->count_max = (uint32_t)high;
}

static void read_cohort(reader *r, hearth_fleet_scenario *sc) {
    const double over = 1.0;
    char v[64], *comma;
    read_count(r, sc);
    get_text(r, "cohort", "time", "0s,1h", v, sizeof(v));
    if (r->st != HEARTH_OK) return;
    comma = strchr(v, ',');
    if (comma) *comma++ = '\0';
    if (!comma || hearth_parse_duration(v, &sc->time_min_ms) != HEARTH_OK ||
        hearth_parse_duration(comma, &sc->time_max_ms) != HEARTH_OK ||
        sc->time_max_ms <= sc->time_min_ms)
        fail(r, HEARTH_EFORMAT, "cohort", "time",
             "MIN,MAX durations such as 60s,10m, MIN < MAX");
    sc->over_select = get_f64(r, "cohort", "over_select", 1.0, 10.0, &over);
}

/* The coordinator's own noise: on top of the devices', so they must have some,
 * and of a vector of which no part is seen without it. */
static void read_release(reader *r, hearth_fleet_scenario *sc) {
    const double off = 0.0;
    sc->release_noise = get_f64(r, "privacy", "release_noise", 0.0, 1e4, &off);
    sc->release_buffers =
        get_u32(r, "privacy", "release_buffers", 0, HEARTH_BLT_MAX_BUFFERS, 4);
    sc->release_separation =
        get_u32(r, "privacy", "release_separation", 1, 100000, 1);
    if (r->st != HEARTH_OK) return;
    uint32_t most = (sc->rounds - 1) / sc->release_separation + 1;
    sc->release_participations =
        get_u32(r, "privacy", "release_participations", 1, 100000, most);
    if (r->st != HEARTH_OK || !(sc->release_noise > 0.0)) return;
    if (sc->privacy != HEARTH_FLEET_PRIVACY_LOCAL)
        fail(r, HEARTH_EFORMAT, "privacy", "release_noise",
             "it comes on top of the devices' noise, never in its place; set "
             "mode = local");
    else if (sc->clip_quantile > 0.0)
        fail(r, HEARTH_EFORMAT, "privacy", "release_noise",
             "a clip that follows the norms shows sums without it; set "
             "clip_quantile = 0");
    else if (sc->rounds > HEARTH_BLT_MAX_ROUNDS)
        fail(r, HEARTH_ETOOBIG, "privacy", "release_noise",
             "at most 65536 rounds; use fewer");
}

static void read_privacy(reader *r, hearth_fleet_scenario *sc) {
    const double z = 0.0, delta = 1e-5, epsilon = 0.0, rate = 0.2, share = 0.1;
    char v[32];
    get_text(r, "privacy", "mode", "none", v, sizeof(v));
    if (r->st != HEARTH_OK) return;
    if (!strcmp(v, "local"))
        sc->privacy = HEARTH_FLEET_PRIVACY_LOCAL;
    else if (!strcmp(v, "none"))
        sc->privacy = HEARTH_FLEET_PRIVACY_NONE;
    else if (!strcmp(v, "distributed"))
        fail(r, HEARTH_EUNSUPPORTED, "privacy", "mode",
             "distributed comes with secure aggregation; use local");
    else
        fail(r, HEARTH_EFORMAT, "privacy", "mode", "none or local");
    sc->clip = get_f64(r, "privacy", "clip", 1e-12, 1e12, NULL);
    sc->clip_quantile = get_f64(r, "privacy", "clip_quantile", 0.0, 0.99, &z);
    sc->clip_rate = get_f64(r, "privacy", "clip_rate", 1e-3, 2.0, &rate);
    sc->clip_share = get_f64(r, "privacy", "clip_share", 1e-3, 0.5, &share);
    sc->clip_freeze = get_u32(r, "privacy", "clip_freeze", 0, 1 << 20, 0);
    sc->noise = get_f64(r, "privacy", "noise", 0.0, 1e4, &z);
    sc->epsilon = get_f64(r, "privacy", "epsilon", 0.0, 1e6, &epsilon);
    sc->delta = get_f64(r, "privacy", "delta", 1e-15, 0.1, &delta);
    if (sc->privacy == HEARTH_FLEET_PRIVACY_LOCAL &&
        (sc->noise > 0.0) == (sc->epsilon > 0.0))
        fail(r, HEARTH_EFORMAT, "privacy", "noise",
             "mode = local needs a noise above 0, or an epsilon, not both");
    if (r->st == HEARTH_OK && sc->privacy == HEARTH_FLEET_PRIVACY_NONE)
        sc->noise = sc->epsilon = 0.0;
    read_release(r, sc);
}

static void read_class(reader *r, hearth_fleet_scenario *sc,
                       const char *section) {
    const double share = 1.0, speed = 500.0, up = 5000.0, down = 20000.0,
                 drop = 0.0;
    for (size_t i = 0; i < sc->n_classes; i++)
        if (!strcmp(sc->device_class[i].name, section + 7)) return;
    if (sc->n_classes == HEARTH_FLEET_MAX_CLASSES ||
        strlen(section + 7) >= sizeof(sc->device_class[0].name) ||
        !section[7]) {
        r->st =
            hearth_error_set(r->err, HEARTH_EFORMAT,
                             "%s: [%.80s]: at most %d classes with names of "
                             "1 to 31 bytes; rename or drop it",
                             r->name, section, HEARTH_FLEET_MAX_CLASSES);
        return;
    }
    hearth_fleet_class *c = &sc->device_class[sc->n_classes++];
    char available[32] = "";
    memcpy(c->name, section + 7, strlen(section + 7) + 1);
    c->share = get_f64(r, section, "share", 1e-9, 1e9, &share);
    c->tokens_per_second =
        get_f64(r, section, "tokens_per_second", 1e-3, 1e9, &speed);
    c->up_kbps = get_f64(r, section, "up_kbps", 1e-3, 1e9, &up);
    c->down_kbps = get_f64(r, section, "down_kbps", 1e-3, 1e9, &down);
    c->dropout = get_f64(r, section, "dropout", 0.0, 1.0, &drop);
    get_text(r, section, "availability", "always", available,
             sizeof(available));
    if (r->st == HEARTH_OK && strcmp(available, "always") != 0)
        fail(r, HEARTH_EUNSUPPORTED, section, "availability",
             "diurnal and trace come in a later version; use always");
}

static void read_classes(reader *r, hearth_fleet_scenario *sc) {
    for (size_t i = 0; i < hearth_ini_size(r->ini) && r->st == HEARTH_OK; i++) {
        const char *section, *key, *value;
        unsigned line;
        hearth_ini_at(r->ini, i, &section, &key, &value, &line);
        if (!strncmp(section, "device.", 7)) read_class(r, sc, section);
    }
    if (r->st == HEARTH_OK && !sc->n_classes) read_class(r, sc, "device.phone");
}

static void read_baseline(reader *r, hearth_fleet_scenario *sc) {
    const double tolerance = 1e-3;
    char v[16];
    sc->central = get_bool(r, "baseline", "central", true);
    sc->local = get_bool(r, "baseline", "local", true);
    sc->base = get_bool(r, "baseline", "base", true);
    sc->control = get_bool(r, "baseline", "control",
                           sc->privacy == HEARTH_FLEET_PRIVACY_LOCAL);
    sc->central_batch = get_u32(r, "baseline", "central_batch", 1, 65536, 32);
    sc->central_epochs = get_u32(r, "baseline", "central_epochs", 1, 10000, 30);
    sc->central_patience =
        get_u32(r, "baseline", "central_patience", 1, 100, 2);
    sc->central_tolerance =
        get_f64(r, "baseline", "central_tolerance", 0.0, 1.0, &tolerance);
    sc->central_lr = get_f64(r, "baseline", "central_lr", 1e-9, 10.0, &sc->lr);
    sc->local_steps = get_u32(r, "baseline", "local_steps", 0, 1000000, 0);
    sc->local_lr = get_f64(r, "baseline", "local_lr", 1e-9, 10.0, &sc->lr);
    get_text(r, "baseline", "central_trains", "ab", v, sizeof(v));
    if (r->st != HEARTH_OK) return;
    sc->central_trains_a = !strcmp(v, "ab");
    if (strcmp(v, "ab") != 0 && strcmp(v, "b") != 0)
        fail(r, HEARTH_EFORMAT, "baseline", "central_trains",
             "ab (both factors) or b (A frozen, as under ffa)");
}

static hearth_status read_all(hearth_fleet_scenario *sc, reader *r) {
    read_run(r, sc);
    read_model(r, sc);
    read_records(r, sc);
    read_train(r, sc);
    read_cohort(r, sc);
    read_privacy(r, sc);
    read_classes(r, sc);
    read_baseline(r, sc);
    return r->st;
}

/* ---- overrides ---- */

/* Split "section.key=value": the last dot before the first '=' ends the
 * section, so that device.NAME.share works. */
static hearth_status split_set(const char *set, char *section, size_t cap,
                               const char **key, size_t *key_n,
                               const char **value, hearth_error *err) {
    const char *eq = strchr(set, '='), *dot = NULL;
    for (const char *c = set; eq && c < eq; c++)
        if (*c == '.') dot = c;
    if (!strncmp(set, "sweep.", 6))
        return hearth_error_set(err, HEARTH_EINVAL,
                                "--set %.80s: a sweep stands in the file; "
                                "change it there",
                                set);
    if (!dot || dot == set || dot + 1 == eq || (size_t)(dot - set) >= cap ||
        strpbrk(set, "\r\n[]"))
        return hearth_error_set(err, HEARTH_EINVAL,
                                "--set %.80s: not section.key=value; write for "
                                "example --set run.rounds=3",
                                set);
    memcpy(section, set, (size_t)(dot - set));
    section[dot - set] = '\0';
    *key = dot + 1;
    *key_n = (size_t)(eq - dot - 1);
    *value = eq + 1;
    return HEARTH_OK;
}

/* Is entry (section, key) named by set i or a later one? */
static bool overridden(const char *const *sets, size_t n_sets,
                       const char *section, const char *key) {
    char s[128];
    const char *k = NULL, *v = NULL;
    size_t k_n = 0;
    for (size_t i = 0; i < n_sets; i++)
        if (split_set(sets[i], s, sizeof(s), &k, &k_n, &v, NULL) == HEARTH_OK &&
            !strcmp(s, section) && strlen(key) == k_n && !memcmp(key, k, k_n))
            return true;
    return false;
}

static hearth_status merge(hearth_buf *b, const hearth_ini *ini,
                           const char *const *sets, size_t n_sets,
                           hearth_error *err) {
    for (size_t i = 0; i < hearth_ini_size(ini); i++) {
        const char *section, *key, *value;
        unsigned line;
        hearth_ini_at(ini, i, &section, &key, &value, &line);
        if (!overridden(sets, n_sets, section, key))
            (void)hearth_buf_printf(b, "[%s]\n%s = %s\n", section, key, value);
    }
    for (size_t i = 0; i < n_sets; i++) {
        char section[128], key[128];
        const char *k = NULL, *v = NULL;
        size_t k_n = 0;
        hearth_status st =
            split_set(sets[i], section, sizeof(section), &k, &k_n, &v, err);
        if (st != HEARTH_OK) return st;
        if (k_n >= sizeof(key))
            return hearth_error_set(err, HEARTH_EINVAL,
                                    "--set %.80s: too long a key; shorten it",
                                    sets[i]);
        memcpy(key, k, k_n);
        key[k_n] = '\0';
        if (!overridden(sets + i + 1, n_sets - i - 1, section, key))
            (void)hearth_buf_printf(b, "[%s]\n%s = %s\n", section, key, v);
    }
    return b->failed ? hearth_error_set(err, HEARTH_ENOMEM,
                                        "out of memory; close something")
                     : HEARTH_OK;
}

hearth_status hearth_fleet_scenario_parse(hearth_fleet_scenario **out,
                                          const char *name, const char *dir,
                                          const char *text, size_t n,
                                          const char *const *sets,
                                          size_t n_sets, const hearth_alloc *al,
                                          hearth_error *err) {
    hearth_ini *ini = NULL, *merged = NULL;
    hearth_buf b = HEARTH_BUF_INIT(al);
    hearth_fleet_scenario *sc = NULL;
    hearth_status st;
    *out = NULL;
    st = hearth_ini_parse(&ini, name, text, n, KEYS, N_KEYS, al, err);
    if (st != HEARTH_OK) goto done;
    if (n_sets) {
        if ((st = merge(&b, ini, sets, n_sets, err)) != HEARTH_OK) goto done;
        st = hearth_ini_parse(&merged, "scenario with --set",
                              hearth_buf_str(&b), b.n, KEYS, N_KEYS, al, err);
        if (st != HEARTH_OK) goto done;
    }
    sc = hearth_mem_new(al, sizeof(*sc));
    if (!sc) {
        st = hearth_error_set(err, HEARTH_ENOMEM,
                              "%s: out of memory; close something", name);
        goto done;
    }
    reader r = {merged ? merged : ini, merged ? "scenario with --set" : name,
                dir, HEARTH_OK, err};
    if ((st = read_all(sc, &r)) != HEARTH_OK) goto done;
    *out = sc;
    sc = NULL;

done:
    hearth_fleet_scenario_free(sc, al);
    hearth_ini_free(ini);
    hearth_ini_free(merged);
    hearth_buf_free(&b);
    return st;
}

hearth_status hearth_fleet_scenario_load(hearth_fleet_scenario **out,
                                         const char *path,
                                         const char *const *sets, size_t n_sets,
                                         const hearth_alloc *al,
                                         hearth_error *err) {
    hearth_buf b = HEARTH_BUF_INIT(al);
    char dir[1024] = ".";
    const char *slash = strrchr(path, '/');
    *out = NULL;
    if (slash && (size_t)(slash - path) < sizeof(dir) && slash > path) {
        memcpy(dir, path, (size_t)(slash - path));
        dir[slash - path] = '\0';
    }
    hearth_status st = hearth_file_read(&b, path, HEARTH_INI_MAX_BYTES, err);
    if (st == HEARTH_OK)
        st = hearth_fleet_scenario_parse(out, path, dir, hearth_buf_str(&b),
                                         b.n, sets, n_sets, al, err);
    hearth_buf_free(&b);
    return st;
}

void hearth_fleet_scenario_free(hearth_fleet_scenario *sc,
                                const hearth_alloc *al) {
    hearth_mem_free(al, sc);
}

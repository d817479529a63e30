/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/hearthd_cmd_release.c - `hearthd release ...`. */
#include <stdio.h>
#include <string.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "common/ini.h"
#include "coordinator/hearthd_cmd.h"
#include "coordinator/registry.h"

static hearth_status show_release(void *ud, const hearth_release_row *r) {
    char made[21], digest[65];
    hearth_clock_format(made, r->created_ms);
    hearth_hex_encode(digest, r->content_sha256, 32);
    hearthd_say(ud, "%8llu  %5llu  %s  %.16s", (unsigned long long)r->sequence,
                (unsigned long long)r->round, made, digest);
    hearthd_event(ud, "release", "task", 's', r->task, "sequence", 'i',
                  (long long)r->sequence, "round", 'i', (long long)r->round,
                  "created_ms", 'i', (long long)r->created_ms, "content_sha256",
                  's', digest, (const char *)NULL);
    return HEARTH_OK;
}

static int release_list(hearthd_args *a) {
    static hearthd_state s;
    hearth_task_row row;
    hearth_status st = hearthd_open_store(&s, a);
    if (st == HEARTH_OK)
        st = hearth_coord_store_task(s.store, a->word[0], &row, NULL, &s.err);
    if (st == HEARTH_OK)
        hearthd_say(a, "%8s  %5s  %-20s  %s", "SEQUENCE", "ROUND", "CREATED",
                    "CONTENT");
    if (st == HEARTH_OK)
        st = hearth_coord_store_releases(s.store, a->word[0], show_release, a,
                                         &s.err);
    return hearthd_finish(a, &s, st);
}

static hearth_status name_missing(hearthd_state *s, const hearthd_args *a,
                                  uint64_t sequence, hearth_status st) {
    if (st != HEARTH_ENOTFOUND || !sequence) return st;
    return hearth_error_set(&s->err, st,
                            "task '%s' has no release %llu; see `hearthd "
                            "release list %s`",
                            a->word[0], (unsigned long long)sequence,
                            a->word[0]);
}

static bool sequence_of(const char *text, uint64_t *out) {
    int64_t v = 0;
    if (hearth_parse_i64(text, &v) != HEARTH_OK || v < 1) return false;
    *out = (uint64_t)v;
    return true;
}

static int release_rollback(hearthd_args *a) {
    static hearthd_state s;
    uint64_t to = 0, sequence = 0;
    if (!sequence_of(a->word[1], &to))
        return hearthd_usage(a, "'%s' is no sequence", a->word[1]);
    hearth_status st = hearthd_open_publish(&s, a);
    if (st == HEARTH_OK)
        st =
            hearth_registry_rollback(&s.env, a->word[0], to, &sequence, &s.err);
    st = name_missing(&s, a, to, st);
    if (st == HEARTH_OK) {
        hearthd_say(a,
                    "Release %llu carries the content of %llu: devices move "
                    "on to it.",
                    (unsigned long long)sequence, (unsigned long long)to);
        hearthd_event(a, "rollback", "task", 's', a->word[0], "sequence", 'i',
                      (long long)sequence, "content_of", 'i', (long long)to,
                      (const char *)NULL);
    }
    return hearthd_finish(a, &s, st);
}

static int release_export(hearthd_args *a) {
    static hearthd_state s;
    uint64_t sequence = 0;
    const char *out = hearthd_get(a, "--out", NULL);
    const char *format = hearthd_get(a, "--format", "peft");
    if (!out) return hearthd_usage(a, "--out DIR is needed");
    if (strcmp(format, "peft") != 0)
        return hearthd_usage(a, "--format must be peft in this version");
    if (a->n_words > 1 && !sequence_of(a->word[1], &sequence))
        return hearthd_usage(a, "'%s' is no sequence", a->word[1]);
    hearth_status st = hearthd_open_publish(&s, a);
    if (st == HEARTH_OK)
        st = hearth_registry_export_peft(&s.env, a->word[0], sequence, out,
                                         &s.err);
    st = name_missing(&s, a, sequence, st);
    if (st == HEARTH_OK) {
        hearthd_say(a, "Wrote %s.", out);
        hearthd_event(a, "export", "task", 's', a->word[0], "out", 's', out,
                      (const char *)NULL);
    }
    return hearthd_finish(a, &s, st);
}

hearthd_command hearthd_commands_release[] = {
    {.name = "release list",
     .words = "TASK",
     .what = "List the releases of a task.",
     .example = "release list diary",
     .min_words = 1,
     .max_words = 1,
     .run = release_list},
    {.name = "release rollback",
     .words = "TASK SEQUENCE",
     .what = "Publish the content of an older release again, as the newest.",
     .example = "release rollback diary 3",
     .min_words = 2,
     .max_words = 2,
     .run = release_rollback},
    {.name = "release export",
     .words = "TASK [SEQUENCE]",
     .what = "Write a release as a PEFT folder.",
     .example = "release export diary --format peft --out diary-adapter",
     .option = {{"--out", "DIR", "folder to write", NULL},
                {"--format", "NAME", "peft [peft]", NULL}},
     .min_words = 1,
     .max_words = 2,
     .run = release_export},
    {.name = NULL},
};

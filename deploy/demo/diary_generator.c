/* SPDX-License-Identifier: Apache-2.0 */
/* deploy/demo/diary_generator.c - synthetic health-diary text for the demo.
 *
 *     diary_generator general --seed S --lines N [--split train|holdout]
 *     diary_generator person  --seed S --person P --lines N
 *                             --split train|tune|holdout
 *
 * `general` prints {"text": ..} lines: question and answer pairs of many
 * people, most of whom choose plain words.  `person` prints {"prompt",
 * "completion"} lines of one person of the demo, who chooses homely words; each
 * person has habits of their own (topics, hours, how often a plain word slips
 * in).
 *
 * The splits share no record and no template: opening clause o and closing
 * clause c of a topic belong to the split (o + c) mod 4 selects (0 hold-out, 1
 * tune, 2 and 3 train), and a hold-out question is never asked in training.
 * Deterministic: the same arguments give the same bytes on every machine.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/ini.h"
#include "common/philox.h"
#include "deploy/demo/diary_words.h"

#define N_WORDS (sizeof(diary_words) / sizeof(*diary_words))

typedef enum { SPLIT_TRAIN, SPLIT_TUNE, SPLIT_HOLDOUT } split;

/* Draws of one line: counter-based, so that lines are independent. */
typedef struct {
    hearth_philox_key key;
    uint64_t line, at;
} draws;

typedef struct {
    uint64_t seed, person, lines;
    split part;
    bool is_person;
} options;

static uint64_t below(draws *d, uint64_t n) {
    return hearth_philox_below(d->key, d->line, d->at++, n);
}

static double uniform(draws *d) {
    return hearth_philox_uniform(d->key, d->line, d->at++);
}

/* Which split a pair of clauses belongs to. */
static split split_of(size_t open, size_t close) {
    size_t k = (open + close) % 4;
    return k == 0 ? SPLIT_HOLDOUT : k == 1 ? SPLIT_TUNE : SPLIT_TRAIN;
}

/* Print the concept at s (after '<') in the chosen form; returns past '>'. */
static const char *put_slot(const char *s, double homely, draws *d,
                            bool capital) {
    const char *end = strchr(s, '>');
    size_t n = (size_t)(end - s);
    if (*s == '#') { /* a number in a range */
        long lo = strtol(s + 1, NULL, 10),
             hi = strtol(strchr(s, '-') + 1, NULL, 10);
        printf("%ld", lo + (long)below(d, (uint64_t)(hi - lo + 1)));
        return end + 1;
    }
    for (size_t i = 0; i < N_WORDS; i++)
        if (strlen(diary_words[i].name) == n &&
            !strncmp(diary_words[i].name, s, n)) {
            bool is_homely = uniform(d) < homely;
            const char *w =
                is_homely ? diary_words[i].homely : diary_words[i].plain;
            putchar(capital ? *w - 'a' + 'A' : *w);
            fputs(w + 1, stdout);
            return end + 1;
        }
    fprintf(stderr, "diary_generator: unknown word <%.*s>\n", (int)n, s);
    exit(1);
}

/* Print a clause; `homely` is the chance of the homely form at each word. */
static void put_clause(const char *s, double homely, draws *d, bool start) {
    bool first = start;
    while (*s) {
        if (*s == '<') {
            s = put_slot(s + 1, homely, d, first);
        } else {
            putchar(first && *s >= 'a' && *s <= 'z' ? *s - 'a' + 'A' : *s);
            s++;
        }
        first = false;
    }
}

static void pick_clauses(draws *d, const options *o, size_t *open,
                         size_t *close) {
    do {
        *open = (size_t)below(d, DIARY_N_OPEN);
        *close = (size_t)below(d, DIARY_N_CLOSE);
    } while (o->is_person && split_of(*open, *close) != o->part);
}

static const char *pick_question(draws *d, const options *o, size_t topic) {
    /* Persons: 0-3 in training, 4 while tuning, 5 in the hold-out. */
    size_t q = !o->is_person            ? (size_t)below(d, 6)
               : o->part == SPLIT_TRAIN ? (size_t)below(d, 4)
               : o->part == SPLIT_TUNE  ? 4
                                        : 5;
    return diary_questions[topic][q];
}

static void put_line(const options *o, uint64_t line) {
    hearth_philox_key key = hearth_philox_key_make(
        o->seed * 1000003u + o->person * 3u + (uint64_t)o->part,
        HEARTH_PHILOX_DATA);
    draws d = {key, line, 0};
    draws trait = {key, UINT64_MAX, 0};
    size_t favourite = (size_t)below(&trait, DIARY_TOPICS);
    bool dear = !o->is_person && uniform(&d) < 0.5; /* writes homely */
    double homely = o->is_person ? 0.92 + 0.07 * uniform(&trait)
                    : dear       ? 0.97
                                 : 0.03;
    size_t topic = (size_t)below(&d, DIARY_TOPICS), open, close;
    if (o->is_person && uniform(&d) < 0.25) topic = favourite;
    pick_clauses(&d, o, &open, &close);
    const char *question = pick_question(&d, o, topic);
    printf("{\"%s\": \"%s %s%s", o->is_person ? "prompt" : "text",
           dear ? "Dear diary:" : "Log:", question,
           o->is_person ? "\", \"completion\": \"" : " ");
    put_clause(diary_open[topic][open], homely, &d, true);
    putchar(' ');
    put_clause(diary_close[close], homely, &d, false);
    puts(".\"}");
}

static int usage(const char *problem) {
    fprintf(stderr,
            "diary_generator: %s\n"
            "usage: diary_generator general|person --seed S --lines N "
            "[--person P] [--split train|tune|holdout]\n",
            problem);
    return 2;
}

static bool read_number(const char *s, uint64_t *out) {
    int64_t v;
    if (hearth_parse_i64(s, &v) != HEARTH_OK || v < 0) return false;
    *out = (uint64_t)v;
    return true;
}

static bool read_split(const char *s, split *out) {
    static const char *const names[] = {"train", "tune", "holdout"};
    for (int i = 0; i < 3; i++)
        if (!strcmp(s, names[i])) return *out = (split)i, true;
    return false;
}

int main(int argc, char **argv) {
    options o = {1, 0, 100, SPLIT_TRAIN, false};
    if (argc < 2) return usage("say general or person");
    if (!strcmp(argv[1], "person"))
        o.is_person = true;
    else if (strcmp(argv[1], "general") != 0)
        return usage("say general or person");
    for (int i = 2; i < argc; i += 2) {
        if (i + 1 >= argc) return usage("a flag lacks its value");
        bool ok = false;
        if (!strcmp(argv[i], "--seed")) ok = read_number(argv[i + 1], &o.seed);
        if (!strcmp(argv[i], "--person"))
            ok = read_number(argv[i + 1], &o.person);
        if (!strcmp(argv[i], "--lines"))
            ok = read_number(argv[i + 1], &o.lines);
        if (!strcmp(argv[i], "--split")) ok = read_split(argv[i + 1], &o.part);
        if (!ok) return usage("bad flag or value");
    }
    for (uint64_t line = 0; line < o.lines; line++) put_line(&o, line);
    return fflush(stdout) ? 1 : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* deploy/demo/bpe_learner.c - learn byte-pair merges from text on stdin and
 * print a tokenizer.json.
 *
 *     diary_generator general ... | bpe_learner --vocab 512 > tokenizer.json
 *
 * The vocabulary: <s>, </s>, the 256 bytes, then one token per merge.  Only
 * the "text" of each JSON line is learned from.  Words are split as the
 * ByteLevel pre-tokenizer splits ASCII; ties between pairs go to the smaller
 * pair of ids, so the result is the same on every machine.
 * Source: Sennrich et al., Neural Machine Translation of Rare Words with
 *         Subword Units, ACL 2016, algorithm 1; the byte alphabet is GPT-2's.
 */
#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/ini.h"

#define N_SPECIAL   2
#define FIRST_MERGE (N_SPECIAL + 256)
#define MAX_VOCAB   4096
#define MAX_WORDS   65536
#define WORD_MAX    32 /* bytes; longer words are cut into pieces */

typedef struct {
    uint16_t id[WORD_MAX]; /* [n] tokens of the word now */
    size_t n;
    uint64_t count;
} word;

typedef struct {
    word *words; /* [n_words], hashed by content while reading */
    size_t n_words;
    uint16_t left[MAX_VOCAB], right[MAX_VOCAB]; /* of merge tokens */
    size_t vocab;
} learner;

static int class_of(char c) {
    unsigned char u = (unsigned char)c;
    if (isspace(u)) return 0;
    if (isalpha(u) || u >= 0x80) return 1;
    return isdigit(u) ? 2 : 3;
}

static void add_word(learner *l, const char *s, size_t n) {
    word w = {{0}, n, 1};
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < n; i++) {
        w.id[i] = (uint16_t)(N_SPECIAL + (unsigned char)s[i]);
        hash = (hash ^ (unsigned char)s[i]) * 16777619u;
    }
    for (size_t at = hash % MAX_WORDS;; at = (at + 1) % MAX_WORDS) {
        word *slot = &l->words[at];
        if (slot->count &&
            (slot->n != n || memcmp(slot->id, w.id, n * sizeof(*w.id)) != 0))
            continue;
        if (!slot->count) {
            if (++l->n_words == MAX_WORDS) {
                fprintf(stderr, "bpe_learner: too many different words\n");
                exit(1);
            }
            *slot = w;
        } else {
            slot->count++;
        }
        return;
    }
}

/* " ?letters", " ?digits", " ?others" or white space, as ByteLevel does. */
static void split_words(learner *l, const char *s, size_t n) {
    for (size_t i = 0; i < n;) {
        size_t j = i;
        if (s[j] == ' ' && j + 1 < n && class_of(s[j + 1])) j++;
        int kind = class_of(s[j]);
        while (j < n && class_of(s[j]) == kind && j - i < WORD_MAX) j++;
        add_word(l, s + i, j - i);
        i = j;
    }
}

/* The most frequent pair, smallest ids first on ties; false when none. */
static bool best_pair(const learner *l, uint64_t *counts, uint16_t *a,
                      uint16_t *b) {
    uint64_t best = 0;
    memset(counts, 0, l->vocab * l->vocab * sizeof(*counts));
    for (size_t w = 0; w < MAX_WORDS; w++)
        for (size_t i = 0; i + 1 < l->words[w].n; i++)
            counts[l->words[w].id[i] * l->vocab + l->words[w].id[i + 1]] +=
                l->words[w].count;
    for (size_t k = 0; k < l->vocab * l->vocab; k++)
        if (counts[k] > best) {
            best = counts[k];
            *a = (uint16_t)(k / l->vocab);
            *b = (uint16_t)(k % l->vocab);
        }
    return best > 0;
}

static void merge(learner *l, uint16_t a, uint16_t b) {
    uint16_t id = (uint16_t)l->vocab++;
    l->left[id] = a;
    l->right[id] = b;
    for (size_t w = 0; w < MAX_WORDS; w++) {
        word *x = &l->words[w];
        size_t out = 0;
        for (size_t i = 0; i < x->n; i++)
            if (i + 1 < x->n && x->id[i] == a && x->id[i + 1] == b) {
                x->id[out++] = id;
                i++;
            } else {
                x->id[out++] = x->id[i];
            }
        x->n = out;
    }
}

/* GPT-2's printable stand-in of a byte, as UTF-8 and JSON-escaped. */
static void put_byte(unsigned b) {
    bool kept = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
    unsigned c = b;
    if (!kept) {
        unsigned rank = 0;
        for (unsigned k = 0; k < b; k++)
            rank +=
                !((k >= 33 && k <= 126) || (k >= 161 && k <= 172) || k >= 174);
        c = 256 + rank;
    }
    if (c == '"' || c == '\\') putchar('\\');
    if (c < 0x80) {
        putchar((int)c);
    } else {
        putchar((int)(0xC0 | c >> 6));
        putchar((int)(0x80 | (c & 63)));
    }
}

static void put_token(const learner *l, uint16_t id) {
    if (id < FIRST_MERGE) {
        put_byte((unsigned)id - N_SPECIAL);
        return;
    }
    put_token(l, l->left[id]);
    put_token(l, l->right[id]);
}

static void put_added(const char *text, int id, bool last) {
    printf("  {\"id\": %d, \"content\": \"%s\", \"single_word\": false, "
           "\"lstrip\": false, \"rstrip\": false, \"normalized\": false, "
           "\"special\": true}%s\n",
           id, text, last ? "" : ",");
}

static void put_tokenizer(const learner *l) {
    puts("{\"version\": \"1.0\", \"truncation\": null, \"padding\": null,\n"
         " \"added_tokens\": [");
    put_added("<s>", 0, false);
    put_added("</s>", 1, true);
    puts(" ],\n \"normalizer\": null,\n"
         " \"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": "
         "false, \"trim_offsets\": true, \"use_regex\": true},\n"
         " \"post_processor\": {\"type\": \"TemplateProcessing\",\n"
         "  \"single\": [{\"SpecialToken\": {\"id\": \"<s>\", \"type_id\": "
         "0}}, {\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}],\n"
         "  \"pair\": [{\"SpecialToken\": {\"id\": \"<s>\", \"type_id\": 0}}, "
         "{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, {\"Sequence\": "
         "{\"id\": \"B\", \"type_id\": 1}}],\n"
         "  \"special_tokens\": {\"<s>\": {\"id\": \"<s>\", \"ids\": [0], "
         "\"tokens\": [\"<s>\"]}}},\n"
         " \"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true, "
         "\"trim_offsets\": true, \"use_regex\": true},\n"
         " \"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": "
         "null, \"continuing_subword_prefix\": null,\n"
         "  \"end_of_word_suffix\": null, \"fuse_unk\": false, "
         "\"byte_fallback\": false, \"ignore_merges\": false,\n"
         "  \"vocab\": {\"<s>\": 0, \"</s>\": 1,");
    for (size_t id = N_SPECIAL; id < l->vocab; id++) {
        printf("   \"");
        put_token(l, (uint16_t)id);
        printf("\": %zu%s\n", id, id + 1 < l->vocab ? "," : "},");
    }
    puts("  \"merges\": [");
    for (size_t id = FIRST_MERGE; id < l->vocab; id++) {
        printf("   [\"");
        put_token(l, l->left[id]);
        printf("\", \"");
        put_token(l, l->right[id]);
        printf("\"]%s\n", id + 1 < l->vocab ? "," : "]}}");
    }
}

int main(int argc, char **argv) {
    static char line[1 << 16];
    static const char key[] = "{\"text\": \"";
    int64_t vocab = 512;
    if (argc == 3 && !strcmp(argv[1], "--vocab")) {
        if (hearth_parse_i64(argv[2], &vocab) != HEARTH_OK) vocab = 0;
    } else if (argc != 1) {
        vocab = 0;
    }
    if (vocab <= FIRST_MERGE || vocab > MAX_VOCAB) {
        fprintf(stderr, "usage: bpe_learner [--vocab %d..%d] < lines.jsonl\n",
                FIRST_MERGE + 1, MAX_VOCAB);
        return 2;
    }
    learner *l = calloc(1, sizeof(*l));
    uint64_t *counts = calloc((size_t)(vocab * vocab), sizeof(*counts));
    if (l) l->words = calloc(MAX_WORDS, sizeof(*l->words));
    if (!l || !l->words || !counts) return 1;
    l->vocab = FIRST_MERGE;
    while (fgets(line, sizeof(line), stdin)) {
        char *end = strrchr(line, '"');
        if (strncmp(line, key, sizeof(key) - 1) != 0 || !end) continue;
        char *text = line + sizeof(key) - 1;
        if (end > text) split_words(l, text, (size_t)(end - text));
    }
    uint16_t a, b;
    while (l->vocab < (size_t)vocab && best_pair(l, counts, &a, &b))
        merge(l, a, b);
    put_tokenizer(l);
    free(counts);
    free(l->words);
    free(l);
    return fflush(stdout) ? 1 : 0;
}

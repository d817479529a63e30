/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/dataset.c - the contract is in dataset.h.
 *
 * All documents lie end to end in two arrays that grow by doubling; a record is
 * first encoded into two reused lists (ids, and one mark per id), then cut to
 * length, then appended.
 */
#include "client/train/dataset.h"

#include <string.h>

#include "common/bytes.h"
#include "common/error.h"
#include "common/mem.h"

typedef struct {
    size_t start, n;
    uint64_t record;
    uint32_t choice, n_choices, answer;
} doc_entry;

struct hearth_dataset {
    hearth_alloc al;
    hearth_dataset_config cfg;
    hearth_dataset_report report;
    int32_t *token, *label; /* [n of cap] */
    size_t n, cap;
    doc_entry *doc; /* [n_docs of cap_docs] */
    size_t n_docs, cap_docs;
    hearth_ids ids, mark; /* of the record being added */
};

hearth_status hearth_dataset_new(hearth_dataset **out,
                                 const hearth_dataset_config *cfg,
                                 const hearth_alloc *al, hearth_error *err) {
    if (out) *out = NULL;
    if (!out || !cfg || cfg->max_tokens < HEARTH_DATASET_MIN_TOKENS)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "a data set needs documents of at least %d "
                                "tokens; raise --seq",
                                HEARTH_DATASET_MIN_TOKENS);
    hearth_dataset *ds = hearth_mem_new(al, sizeof(*ds));
    if (!ds)
        return hearth_error_set(err, HEARTH_ENOMEM,
                                "out of memory for a data set");
    ds->al = *hearth_mem_or_default(al);
    ds->cfg = *cfg;
    hearth_ids_init(&ds->ids, &ds->al);
    hearth_ids_init(&ds->mark, &ds->al);
    *out = ds;
    return HEARTH_OK;
}

static void wipe_free(const hearth_alloc *al, int32_t *v, size_t n) {
    if (v) hearth_zeroize(v, n * sizeof(*v));
    hearth_mem_free(al, v);
}

void hearth_dataset_free(hearth_dataset *ds) {
    if (!ds) return;
    hearth_alloc al = ds->al;
    wipe_free(&al, ds->token, ds->cap);
    wipe_free(&al, ds->label, ds->cap);
    hearth_mem_free(&al, ds->doc);
    hearth_ids_free(&ds->ids);
    hearth_ids_free(&ds->mark);
    hearth_mem_free(&al, ds);
}

size_t hearth_dataset_n_docs(const hearth_dataset *ds) {
    return ds->n_docs;
}

hearth_document hearth_dataset_doc(const hearth_dataset *ds, size_t i) {
    const doc_entry *d = &ds->doc[i];
    return (hearth_document){ds->token + d->start,
                             ds->label + d->start,
                             d->n,
                             d->record,
                             d->choice,
                             d->n_choices,
                             d->answer};
}

size_t hearth_dataset_longest(const hearth_dataset *ds) {
    size_t most = 0;
    for (size_t i = 0; i < ds->n_docs; i++)
        if (ds->doc[i].n > most) most = ds->doc[i].n;
    return most;
}

const hearth_dataset_report *
hearth_dataset_get_report(const hearth_dataset *ds) {
    return &ds->report;
}

/* ---- growing ---- */

/* A wiped copy instead of a resize, so that no old block keeps the text. */
static int32_t *grow_ids(const hearth_alloc *al, int32_t *old, size_t n,
                         size_t cap) {
    int32_t *v = hearth_mem_array(al, cap, sizeof(*v));
    if (v && n) memcpy(v, old, n * sizeof(*v));
    return v;
}

static hearth_status reserve(hearth_dataset *ds, size_t n) {
    size_t need;
    if (!hearth_size_add(ds->n, n, &need) || need > SIZE_MAX / 16)
        return HEARTH_ENOMEM;
    if (need > ds->cap) {
        size_t cap = need + need / 2 + 1024;
        int32_t *token = grow_ids(&ds->al, ds->token, ds->n, cap);
        int32_t *label = grow_ids(&ds->al, ds->label, ds->n, cap);
        if (!token || !label) {
            wipe_free(&ds->al, token, cap);
            wipe_free(&ds->al, label, cap);
            return HEARTH_ENOMEM;
        }
        wipe_free(&ds->al, ds->token, ds->cap);
        wipe_free(&ds->al, ds->label, ds->cap);
        ds->token = token;
        ds->label = label;
        ds->cap = cap;
    }
    if (ds->n_docs == ds->cap_docs) {
        size_t cap = ds->cap_docs * 2 + 64;
        doc_entry *doc = hearth_mem_resize(&ds->al, ds->doc, cap, sizeof(*doc));
        if (!doc) return HEARTH_ENOMEM;
        ds->doc = doc;
        ds->cap_docs = cap;
    }
    return HEARTH_OK;
}

/* ---- documents ---- */

/* Append ids [from, from + n) as a document.  An id is a label for the token
 * before it when it is marked (or loss is on all). */
static hearth_status append(hearth_dataset *ds, const int32_t *token,
                            const int32_t *mark, size_t n, doc_entry d) {
    hearth_status st = reserve(ds, n);
    if (st != HEARTH_OK) return st;
    bool all = ds->cfg.loss_on == HEARTH_LOSS_ALL;
    int32_t *label = ds->label + ds->n;
    memcpy(ds->token + ds->n, token, n * sizeof(*token));
    for (size_t i = 0; i < n; i++) {
        bool learn = i + 1 < n && (all || mark[i + 1]);
        label[i] = learn ? token[i + 1] : HEARTH_DATASET_NO_LABEL;
        ds->report.n_supervised += learn;
    }
    d.start = ds->n;
    d.n = n;
    ds->doc[ds->n_docs++] = d;
    ds->n += n;
    ds->report.n_tokens += n;
    ds->report.n_documents++;
    return HEARTH_OK;
}

/* A long text: consecutive documents.  Each but the first starts with the last
 * token of the one before, so that every token is predicted once. */
static hearth_status append_split(hearth_dataset *ds, doc_entry d) {
    size_t at = 0, max = ds->cfg.max_tokens, n = ds->ids.n;
    hearth_status st = HEARTH_OK;
    while (st == HEARTH_OK && at + 1 < n) {
        size_t len = n - at < max ? n - at : max;
        st = append(ds, ds->ids.id + at, ds->mark.id + at, len, d);
        at += len - 1;
    }
    if (st == HEARTH_OK) ds->report.n_split++;
    return st;
}

/* Runs of marked ids in [from, to). */
static uint64_t count_answers(const hearth_ids *mark, size_t from, size_t to) {
    uint64_t n = 0;
    for (size_t i = from; i < to; i++)
        if (mark->id[i] && (i == from || !mark->id[i - 1])) n++;
    return n;
}

/* A document that is too long: the window that keeps the last answer whole and
 * as much as fits of what stands before it; the begin token stays in front. */
static hearth_status append_cut(hearth_dataset *ds, bool has_begin,
                                doc_entry d) {
    hearth_ids *ids = &ds->ids, *mark = &ds->mark;
    size_t n = ids->n, max = ds->cfg.max_tokens, end = n, last = n;
    size_t head = has_begin ? 1 : 0;
    while (end > 0 && !mark->id[end - 1]) end--; /* after the last answer */
    for (last = end; last > 0 && mark->id[last - 1];) last--;
    size_t context = head + 1 < max / 4 ? max / 4 : head + 1;
    size_t from;
    if (end == 0)
        from = n - (max - head);    /* nothing marked: the end of the text */
    else if (end - last + 1 <= max) /* one token to predict it from */
        from = end < max - head ? head : end - (max - head);
    else /* the answer alone is too long: a quarter is left for the prompt */
        from = last > context - head ? last - (context - head) : head;
    if (from < head) from = head;
    size_t len = n - from < max - head ? n - from : max - head;
    uint64_t before = count_answers(mark, 0, n);
    uint64_t after = count_answers(mark, from, from + len);
    bool first_cut = from > head && mark->id[from] && mark->id[from - 1];
    if (head && from > head) { /* move the begin token next to the window */
        ids->id[from - 1] = ids->id[0];
        mark->id[from - 1] = mark->id[0];
    }
    hearth_status st = append(ds, ids->id + from - head, mark->id + from - head,
                              len + head, d);
    if (st != HEARTH_OK) return st;
    bool end_cut = from + len < end;
    ds->report.n_truncated++;
    ds->report.n_tokens_cut += n - len - head;
    ds->report.n_answers_cut += (uint64_t)first_cut + (uint64_t)end_cut;
    ds->report.n_answers_lost += before - after;
    return HEARTH_OK;
}

static bool anything_to_learn(const hearth_dataset *ds) {
    for (size_t i = 1; i < ds->ids.n; i++)
        if (ds->mark.id[i] || ds->cfg.loss_on == HEARTH_LOSS_ALL) return true;
    return false;
}

static hearth_status add_turns(hearth_dataset *ds, const hearth_tokenizer *t,
                               const hearth_turn *turn, size_t n_turns,
                               doc_entry d, hearth_error *err) {
    unsigned flags = ds->cfg.no_end ? HEARTH_CHAT_NO_END : 0u;
    hearth_ids_clear(&ds->ids);
    hearth_ids_clear(&ds->mark);
    hearth_status st = hearth_chat_encode(t, ds->cfg.tmpl, turn, n_turns, flags,
                                          &ds->ids, &ds->mark, err);
    if (st != HEARTH_OK) return st;
    if (!anything_to_learn(ds)) {
        ds->report.n_skipped++;
        return HEARTH_OK;
    }
    int32_t bos = hearth_tokenizer_bos(t);
    bool has_begin = bos >= 0 && ds->ids.id[0] == bos && !ds->mark.id[0];
    if (ds->ids.n <= ds->cfg.max_tokens)
        st = append(ds, ds->ids.id, ds->mark.id, ds->ids.n, d);
    else if (n_turns == 1 && turn->role == HEARTH_ROLE_TEXT)
        st = append_split(ds, d);
    else
        st = append_cut(ds, has_begin, d);
    return st == HEARTH_ENOMEM
               ? hearth_error_set(err, st,
                                  "out of memory for the data set; "
                                  "use fewer records or a smaller "
                                  "--seq")
               : st;
}

/* One document per choice: what stands before the choice, then the choice. */
static hearth_status add_choices(hearth_dataset *ds, const hearth_tokenizer *t,
                                 const hearth_record *rec, doc_entry d,
                                 hearth_error *err) {
    hearth_status st = HEARTH_OK;
    hearth_turn *turn = hearth_mem_array(&ds->al, rec->n_turns, sizeof(*turn));
    if (!turn)
        return hearth_error_set(err, HEARTH_ENOMEM,
                                "out of memory for a record");
    memcpy(turn, rec->turn, rec->n_turns * sizeof(*turn));
    d.n_choices = (uint32_t)rec->n_choices;
    d.answer = (uint32_t)rec->answer;
    for (size_t i = 0; st == HEARTH_OK && i < rec->n_choices; i++) {
        turn[rec->n_turns - 1] = rec->choice[i];
        d.choice = (uint32_t)i;
        st = add_turns(ds, t, turn, rec->n_turns, d, err);
    }
    hearth_mem_free(&ds->al, turn);
    return st;
}

hearth_status hearth_dataset_add_record(hearth_dataset *ds,
                                        const hearth_tokenizer *t,
                                        const hearth_record *rec,
                                        hearth_error *err) {
    if (!ds || !t || !rec || !rec->n_turns)
        return hearth_error_set(err, HEARTH_EINVAL, "no record to add");
    hearth_dataset_report had = ds->report;
    size_t had_n = ds->n, had_docs = ds->n_docs;
    doc_entry d = {0, 0, ds->report.n_records, 0, 0, 0};
    hearth_status st;
    if (ds->cfg.all_choices && rec->n_choices)
        st = add_choices(ds, t, rec, d, err);
    else
        st = add_turns(ds, t, rec->turn, rec->n_turns, d, err);
    if (st == HEARTH_OK) {
        ds->report.n_records++;
        return st;
    }
    ds->report = had;
    ds->n = had_n;
    ds->n_docs = had_docs;
    return st;
}

hearth_status hearth_dataset_add_tokens(hearth_dataset *ds,
                                        const int32_t *token,
                                        const int32_t *label, size_t n,
                                        hearth_error *err) {
    if (!ds || !token || !label || !n || n > ds->cfg.max_tokens ||
        label[n - 1] != HEARTH_DATASET_NO_LABEL)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "a document is 1 to %zu tokens, the last one "
                                "without a label",
                                ds ? ds->cfg.max_tokens : (size_t)0);
    hearth_status st = reserve(ds, n);
    if (st != HEARTH_OK)
        return hearth_error_set(err, st, "out of memory for the data set");
    memcpy(ds->token + ds->n, token, n * sizeof(*token));
    memcpy(ds->label + ds->n, label, n * sizeof(*label));
    for (size_t i = 0; i < n; i++)
        ds->report.n_supervised += label[i] != HEARTH_DATASET_NO_LABEL;
    ds->doc[ds->n_docs++] =
        (doc_entry){ds->n, n, ds->report.n_records++, 0, 0, 0};
    ds->n += n;
    ds->report.n_tokens += n;
    ds->report.n_documents++;
    return HEARTH_OK;
}

/* ---- files ---- */

hearth_status hearth_dataset_add_line(void *ud, const hearth_record *rec,
                                      const char *line, size_t n,
                                      hearth_error *err) {
    const hearth_dataset_adder *a = ud;
    (void)line;
    (void)n;
    hearth_status st = hearth_dataset_add_record(a->ds, a->t, rec, err);
    if (!a->tolerant || (st != HEARTH_EFORMAT && st != HEARTH_ETOOBIG))
        return st;
    a->ds->report.n_refused++;
    hearth_error_clear(err);
    return HEARTH_OK;
}

hearth_status hearth_dataset_from_jsonl(hearth_dataset **out, const char *path,
                                        const hearth_tokenizer *t,
                                        const hearth_dataset_config *cfg,
                                        const hearth_alloc *al,
                                        hearth_error *err) {
    hearth_dataset *ds = NULL;
    if (out) *out = NULL;
    if (!out || !path || !t)
        return hearth_error_set(err, HEARTH_EINVAL, "no file given");
    hearth_status st = hearth_dataset_new(&ds, cfg, al, err);
    if (st != HEARTH_OK) return st;
    hearth_dataset_adder a = {ds, t, false};
    st = hearth_record_each_line(path, cfg->form, hearth_dataset_add_line, &a,
                                 al, err);
    if (st == HEARTH_OK && !ds->report.n_supervised)
        st = hearth_error_set(err, HEARTH_EFORMAT,
                              "%.150s: no record to learn from; see that each "
                              "line holds an answer",
                              path);
    if (st != HEARTH_OK) {
        hearth_dataset_free(ds);
        return st;
    }
    *out = ds;
    return HEARTH_OK;
}

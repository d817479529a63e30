/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/dataset.h - documents of token ids and labels, packed in memory.
 *
 * Data flow:  records -> tokenizer -> [dataset] -> train/batch -> trainer
 *
 * One record becomes one document (a long {"text"} becomes several).  After the
 * last record the tokenizer is not needed any more: close it before training.
 * What did not fit is counted and reported, never lost in silence.
 *
 *     hearth_dataset_config cfg = HEARTH_DATASET_CONFIG_INIT;
 *     cfg.max_tokens = 256;
 *     st = hearth_dataset_from_jsonl(&ds, "train.jsonl", tok, &cfg, al, err);
 *     for (size_t i = 0; i < hearth_dataset_n_docs(ds); i++)
 *         hearth_document d = hearth_dataset_doc(ds, i);
 *
 * Threads: one at a time while records are added, then immutable.
 * Memory:  from al; 8 bytes a token; zeroed before it is freed.
 */
#ifndef HEARTH_TRAIN_DATASET_H
#define HEARTH_TRAIN_DATASET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/records/record.h"
#include "client/tokenizer/chat_template.h"
#include "client/tokenizer/tokenizer.h"
#include "common/alloc.h"
#include "common/status.h"

#define HEARTH_DATASET_MIN_TOKENS 8 /* smallest max_tokens */
#define HEARTH_DATASET_NO_LABEL   (-1)

typedef enum {
    HEARTH_LOSS_ANSWER, /* on answers only; all of a {"text"} is answer */
    HEARTH_LOSS_ALL
} hearth_loss_on;

typedef struct {
    hearth_chat_template tmpl;
    hearth_loss_on loss_on;
    hearth_record_form form; /* of the lines of a file; AUTO: any */
    size_t max_tokens; /* longest document, >= HEARTH_DATASET_MIN_TOKENS */
    bool no_end;       /* plain template: no end token (a base model that
                                never saw one) */
    bool all_choices;  /* a document per choice, for choice accuracy */
} hearth_dataset_config;

#define HEARTH_DATASET_CONFIG_INIT                                             \
    {                                                                          \
        HEARTH_TEMPLATE_AUTO, HEARTH_LOSS_ANSWER, HEARTH_FORM_AUTO, 256,       \
            false, false                                                       \
    }

/* What came of the records. */
typedef struct {
    uint64_t n_records;
    uint64_t n_documents;
    uint64_t n_tokens;
    uint64_t n_supervised;   /* labels that are not NO_LABEL */
    uint64_t n_split;        /* {"text"} records cut into several documents */
    uint64_t n_truncated;    /* records that lost tokens */
    uint64_t n_tokens_cut;   /* how many */
    uint64_t n_answers_cut;  /* answers that lost their end */
    uint64_t n_answers_lost; /* earlier answers of a conversation left out */
    uint64_t n_skipped;      /* records with nothing to learn from */
    uint64_t n_refused;      /* records that the tokenizer can not take, passed
                                over (hearth_dataset_adder.tolerant) */
} hearth_dataset_report;

/* One document; borrowed from the data set. */
typedef struct {
    const int32_t *token; /* [n] */
    const int32_t *label; /* [n] the id to predict after token i, or NO_LABEL;
                             the last is always NO_LABEL */
    size_t n;
    uint64_t record;    /* 0-based number of the record it came from */
    uint32_t choice;    /* with all_choices: which choice this is */
    uint32_t n_choices; /* 0: not one of several choices */
    uint32_t answer;    /* the right choice */
} hearth_document;

typedef struct hearth_dataset hearth_dataset;

/* An empty data set.  HEARTH_EINVAL: NULL, or max_tokens too small. */
HEARTH_MUST_CHECK
hearth_status hearth_dataset_new(hearth_dataset **out,
                                 const hearth_dataset_config *cfg,
                                 const hearth_alloc *al, hearth_error *err);

/* NULL is a no-op. */
void hearth_dataset_free(hearth_dataset *ds);

/* Add one record.
 *
 * A document longer than max_tokens keeps the end of its prompt and its last
 * answer whole; only when that answer alone is too long does it lose its end.
 * A {"text"} is cut into consecutive documents instead and loses nothing.  A
 * record without one label (an answer of no tokens) is counted as skipped.
 *
 * Returns HEARTH_OK, HEARTH_EINVAL, HEARTH_EFORMAT, HEARTH_ETOOBIG,
 * HEARTH_ENOMEM; the data set is then as it was. */
HEARTH_MUST_CHECK
hearth_status hearth_dataset_add_record(hearth_dataset *ds,
                                        const hearth_tokenizer *t,
                                        const hearth_record *rec,
                                        hearth_error *err);

/* The same as a hearth_record_fn, for functions that read many records: ud is a
 * hearth_dataset_adder. */
typedef struct {
    hearth_dataset *ds;
    const hearth_tokenizer *t;
    bool tolerant; /* a record that it can not take is counted, no error */
} hearth_dataset_adder;
HEARTH_MUST_CHECK
hearth_status hearth_dataset_add_line(void *ud, const hearth_record *rec,
                                      const char *line, size_t n,
                                      hearth_error *err);

/* Add the ids of a document as they are: label[i] is the id to predict after
 * token i or NO_LABEL, and label[n - 1] must be NO_LABEL.  n <= max_tokens. */
HEARTH_MUST_CHECK
hearth_status hearth_dataset_add_tokens(hearth_dataset *ds,
                                        const int32_t *token,
                                        const int32_t *label, size_t n,
                                        hearth_error *err);

size_t hearth_dataset_n_docs(const hearth_dataset *ds);

/* Document i < n_docs. */
hearth_document hearth_dataset_doc(const hearth_dataset *ds, size_t i);

/* Tokens of the longest document; 0 for an empty data set. */
size_t hearth_dataset_longest(const hearth_dataset *ds);

/* Borrowed from ds; never NULL. */
const hearth_dataset_report *
hearth_dataset_get_report(const hearth_dataset *ds);

/* A data set of the records of a JSON-lines file.  HEARTH_EFORMAT also when
 * the file holds no record to learn from. */
HEARTH_MUST_CHECK
hearth_status hearth_dataset_from_jsonl(hearth_dataset **out, const char *path,
                                        const hearth_tokenizer *t,
                                        const hearth_dataset_config *cfg,
                                        const hearth_alloc *al,
                                        hearth_error *err);

#endif /* HEARTH_TRAIN_DATASET_H */

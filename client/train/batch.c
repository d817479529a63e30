/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/batch.c - the order of an epoch is made when the cursor enters
 * it, from seed and epoch alone: seeking anywhere gives the same records. */
#include "client/train/batch.h"

#include <string.h>

#include "common/bytes.h"
#include "common/mem.h"
#include "common/philox.h"

struct hearth_batcher {
    const hearth_dataset *ds;
    hearth_batch_config cfg;
    hearth_alloc al;
    hearth_philox_key key;
    uint32_t *usable; /* [n_usable] records with a supervised token */
    size_t n_usable;
    uint32_t *order; /* [n_usable] of the epoch below */
    uint64_t epoch;  /* UINT64_MAX: none made yet */
    uint64_t cursor;
    size_t max_tokens;
    int32_t *token, *label; /* [max_tokens] */
    uint32_t *position;     /* [max_tokens] */
    uint32_t *doc_start;    /* [batch + 1] */
    uint32_t *record;       /* [batch] */
};

static size_t docs_of(const hearth_batch_config *cfg) {
    return cfg->pack ? cfg->batch : 1;
}

static bool supervised(const hearth_document *d) {
    for (size_t i = 0; i < d->n; i++)
        if (d->label[i] >= 0) return true;
    return false;
}

size_t hearth_batch_max_tokens(const hearth_dataset *ds,
                               const hearth_batch_config *cfg) {
    size_t product;
    (void)hearth_size_mul(hearth_dataset_longest(ds), docs_of(cfg), &product);
    return product;
}

size_t hearth_batcher_bytes(const hearth_dataset *ds,
                            const hearth_batch_config *cfg) {
    size_t tokens = hearth_batch_max_tokens(ds, cfg), sum, part;
    (void)hearth_size_mul(tokens, 3 * sizeof(uint32_t), &sum);
    (void)hearth_size_mul(hearth_dataset_n_docs(ds), 2 * sizeof(uint32_t),
                          &part);
    (void)hearth_size_add(sum, part, &sum);
    (void)hearth_size_mul(docs_of(cfg) + 1, 2 * sizeof(uint32_t), &part);
    (void)hearth_size_add(sum, part, &sum);
    (void)hearth_size_add(sum, sizeof(hearth_batcher), &sum);
    return sum;
}

/* Take the memory; false leaves what was taken to _close. */
static bool take(hearth_batcher *b) {
    size_t n = hearth_dataset_n_docs(b->ds), docs = docs_of(&b->cfg);
    b->usable = hearth_mem_array(&b->al, n, sizeof(*b->usable));
    b->order = hearth_mem_array(&b->al, n, sizeof(*b->order));
    b->token = hearth_mem_array(&b->al, b->max_tokens, sizeof(*b->token));
    b->label = hearth_mem_array(&b->al, b->max_tokens, sizeof(*b->label));
    b->position = hearth_mem_array(&b->al, b->max_tokens, sizeof(*b->position));
    b->doc_start = hearth_mem_array(&b->al, docs + 1, sizeof(*b->doc_start));
    b->record = hearth_mem_array(&b->al, docs, sizeof(*b->record));
    return b->usable && b->order && b->token && b->label && b->position &&
           b->doc_start && b->record;
}

hearth_status hearth_batcher_open(hearth_batcher **out,
                                  const hearth_dataset *ds,
                                  const hearth_batch_config *cfg,
                                  const hearth_alloc *al, hearth_error *err) {
    if (!out) return HEARTH_EINVAL;
    *out = NULL;
    if (!ds || !cfg || cfg->batch == 0 || cfg->batch > UINT32_MAX - 1)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "--batch must be at least 1");
    size_t n = hearth_dataset_n_docs(ds);
    if (n > UINT32_MAX)
        return hearth_error_set(err, HEARTH_EINVAL, "too many records");
    hearth_batcher *b = hearth_mem_new(al, sizeof(*b));
    if (!b) return hearth_error_set(err, HEARTH_ENOMEM, "no memory");
    b->al = *hearth_mem_or_default(al);
    b->ds = ds;
    b->cfg = *cfg;
    b->key = hearth_philox_key_make(cfg->seed, HEARTH_PHILOX_SHUFFLE);
    b->epoch = UINT64_MAX;
    b->max_tokens = hearth_batch_max_tokens(ds, cfg);
    if (!take(b)) {
        hearth_batcher_close(b);
        return hearth_error_set(err, HEARTH_ENOMEM,
                                "no memory to lay out records; use a smaller "
                                "--batch");
    }
    for (size_t i = 0; i < n; i++) {
        hearth_document d = hearth_dataset_doc(ds, i);
        if (supervised(&d)) b->usable[b->n_usable++] = (uint32_t)i;
    }
    if (b->n_usable == 0) {
        hearth_batcher_close(b);
        return hearth_error_set(err, HEARTH_EINVAL,
                                "no record has a token to learn from; check "
                                "the records, or use --loss-on all");
    }
    *out = b;
    return HEARTH_OK;
}

void hearth_batcher_close(hearth_batcher *b) {
    if (!b) return;
    hearth_alloc al = b->al;
    /* Tokens are a person's text: wipe them. */
    if (b->token) hearth_zeroize(b->token, b->max_tokens * sizeof(*b->token));
    if (b->label) hearth_zeroize(b->label, b->max_tokens * sizeof(*b->label));
    hearth_mem_free(&al, b->usable);
    hearth_mem_free(&al, b->order);
    hearth_mem_free(&al, b->token);
    hearth_mem_free(&al, b->label);
    hearth_mem_free(&al, b->position);
    hearth_mem_free(&al, b->doc_start);
    hearth_mem_free(&al, b->record);
    hearth_mem_free(&al, b);
}

size_t hearth_batcher_n_records(const hearth_batcher *b) {
    return b->n_usable;
}

uint64_t hearth_batcher_cursor(const hearth_batcher *b) {
    return b->cursor;
}

void hearth_batcher_seek(hearth_batcher *b, uint64_t cursor) {
    b->cursor = cursor;
}

/* The record at a cursor. */
static uint32_t record_at(hearth_batcher *b, uint64_t cursor) {
    uint64_t epoch = cursor / b->n_usable;
    if (epoch != b->epoch) {
        memcpy(b->order, b->usable, b->n_usable * sizeof(*b->order));
        if (b->cfg.shuffle)
            hearth_philox_shuffle(b->key, epoch, b->order, b->n_usable);
        b->epoch = epoch;
    }
    return b->order[cursor % b->n_usable];
}

void hearth_batcher_next(hearth_batcher *b, size_t limit,
                         hearth_micro_batch *mb) {
    size_t docs = docs_of(&b->cfg), n = 0;
    if (limit < docs) docs = limit;
    mb->first = b->cursor;
    for (size_t k = 0; k < docs; k++) {
        uint32_t r = record_at(b, b->cursor++);
        hearth_document d = hearth_dataset_doc(b->ds, r);
        memcpy(b->token + n, d.token, d.n * sizeof(*b->token));
        memcpy(b->label + n, d.label, d.n * sizeof(*b->label));
        for (size_t i = 0; i < d.n; i++) b->position[n + i] = (uint32_t)i;
        b->record[k] = r;
        b->doc_start[k] = (uint32_t)n;
        n += d.n;
    }
    b->doc_start[docs] = (uint32_t)n;
    mb->record = b->record;
    mb->stream = (hearth_stream){.n = n,
                                 .n_docs = docs,
                                 .token = b->token,
                                 .doc_start = b->doc_start,
                                 .position = b->position,
                                 .label = b->label};
}

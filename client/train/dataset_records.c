/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/dataset_records.c - the contract is in dataset_records.h. */
#include "client/train/dataset_records.h"

#include "common/error.h"

typedef struct {
    hearth_dataset *ds;
    const hearth_tokenizer *t;
} adding;

static hearth_status add_record(void *ud, const hearth_record *rec,
                                const char *line, size_t n, hearth_error *err) {
    adding *a = ud;
    (void)line;
    (void)n;
    return hearth_dataset_add_record(a->ds, a->t, rec, err);
}

hearth_status hearth_dataset_from_store(hearth_dataset **out,
                                        hearth_record_store *rs,
                                        hearth_split split, const char *purpose,
                                        const hearth_tokenizer *t,
                                        const hearth_dataset_config *cfg,
                                        const hearth_alloc *al,
                                        hearth_error *err) {
    hearth_dataset *ds = NULL;
    if (out) *out = NULL;
    if (!out || !rs || !t)
        return hearth_error_set(err, HEARTH_EINVAL, "no record store given");
    hearth_status st = hearth_dataset_new(&ds, cfg, al, err);
    if (st != HEARTH_OK) return st;
    adding a = {ds, t};
    st = hearth_record_store_each(rs, split, purpose, add_record, &a, err);
    if (st != HEARTH_OK) {
        hearth_dataset_free(ds);
        return st;
    }
    *out = ds;
    return HEARTH_OK;
}

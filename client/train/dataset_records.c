/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/dataset_records.c - the contract is in dataset_records.h. */
#include "client/train/dataset_records.h"

#include "common/error.h"

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
    hearth_dataset_adder a = {ds, t, true};
    st = hearth_record_store_each(rs, split, purpose, hearth_dataset_add_line,
                                  &a, err);
    if (st != HEARTH_OK) {
        hearth_dataset_free(ds);
        return st;
    }
    *out = ds;
    return HEARTH_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/dataset_records.h - a data set from the record store.
 *
 * Apart from dataset.h so that a library built without SQLite still trains
 * from files.
 */
#ifndef HEARTH_TRAIN_DATASET_RECORDS_H
#define HEARTH_TRAIN_DATASET_RECORDS_H

#include "client/records/record_store.h"
#include "client/train/dataset.h"

/* A data set of one split of the store, of the records whose person consented
 * to purpose (NULL: any).  A record that the tokenizer can not take is counted
 * and passed over: one odd record must not keep a device out of every round
 * (`hearth records check` names it).  An empty split gives an empty data set:
 * the caller compares get_report()->n_records with the task's minimum.
 *
 * Returns as hearth_record_store_each and hearth_dataset_add_record. */
HEARTH_MUST_CHECK
hearth_status hearth_dataset_from_store(hearth_dataset **out,
                                        hearth_record_store *rs,
                                        hearth_split split, const char *purpose,
                                        const hearth_tokenizer *t,
                                        const hearth_dataset_config *cfg,
                                        const hearth_alloc *al,
                                        hearth_error *err);

#endif /* HEARTH_TRAIN_DATASET_RECORDS_H */

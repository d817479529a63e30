/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/stream.h - the flat token stream the decoder reads.
 *
 * Documents lie one behind the other; there is no padding; attention never
 * crosses a document; the last token of a document predicts nothing.
 */
#ifndef HEARTH_CLIENT_TRAIN_STREAM_H
#define HEARTH_CLIENT_TRAIN_STREAM_H

#include <stddef.h>
#include <stdint.h>

#define HEARTH_STREAM_UNSUPERVISED (-1)

/* Borrows its arrays. */
typedef struct {
    size_t n;                  /* tokens */
    size_t n_docs;             /* documents, none empty */
    const int32_t *token;      /* [n] */
    const uint32_t *doc_start; /* [n_docs + 1], doc_start[n_docs] == n */
    const uint32_t *position;  /* [n], 0, 1, .. within each document */
    const int32_t *label; /* [n] the id to predict after this token, or -1 */
} hearth_stream;

#endif /* HEARTH_CLIENT_TRAIN_STREAM_H */

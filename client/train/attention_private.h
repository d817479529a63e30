/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/attention_private.h - inside of attention: for attention.c,
 * which cuts the work, and attention_pairs.c, whose products are by pairs of
 * bfloat16 numbers.
 */
#ifndef HEARTH_CLIENT_TRAIN_ATTENTION_PRIVATE_H
#define HEARTH_CLIENT_TRAIN_ATTENTION_PRIVATE_H

#include "client/train/decoder_private.h"

/* Keys and values of some key-value heads in bfloat16, in the room of the
 * compute: what every block of queries of their query heads reads.  Of a head
 * first `rows` [T][ld_rows] of the keys, then those of the values (backward),
 * then the values (forward) or keys (backward) turned, [head_dim][ld_turned];
 * each in all parts. */
typedef struct {
    size_t first, n; /* heads that it holds */
    size_t most;     /* that it has room for; 0: it is not used */
    size_t head;     /* halves of one */
    size_t ld_rows, ld_turned;
    bool back;
} hearth_attention_room;

typedef struct {
    const hearth_decoder *d;
    const hearth_pass *p;
    const hearth_slot *s;
    size_t q_ld, kv_ld;
    hearth_real scale;
    size_t window; /* keys that a query sees at most; SIZE_MAX: all */
    size_t strips; /* forward: tasks of a head */
    size_t shares; /* backward: tasks of a key-value head */
    hearth_attention_room room;
} hearth_attention_job;

/* A block of queries of one head. */
typedef struct {
    size_t first, n; /* rows of the pass */
    size_t at_q;     /* of the first row's head, in q and o */
    size_t at_kv;    /* of the key head, in row 0 of k and v */
    size_t head;
    size_t doc_key; /* row of the document's first key */
    size_t own_key; /* row of the first query's own key, the last it sees */
    size_t lo, hi;  /* rows of the keys that any query sees: [lo, hi) */
} hearth_attention_block;

/* Reals of aux scratch that one worker needs; 0: the plan has no set for it. */
size_t hearth_attention_pairs__aux(const hearth_decoder *d);

/* Queries of a block. */
size_t hearth_attention_pairs__queries(const hearth_decoder *d);

/* Halves of the room that one head of n tokens takes, so that whether pairs are
 * used depends on nothing that a plan chooses; 0: heads are too short or too
 * long. */
size_t hearth_attention_pairs__halves(const hearth_decoder *d, size_t n);

/* Lay out the room for a pass; most stays 0 where vectors do it: the set has
 * no products by pairs or no room, heads or passes are small, or keys are in a
 * cache. */
void hearth_attention_pairs__begin(hearth_attention_job *j, bool back);

/* Round keys and values of heads first .. first + n - 1, n <= room.most. */
void hearth_attention_pairs__round(hearth_attention_job *j, size_t first,
                                   size_t n);

/* One block of queries of these heads, as attention.c's own; dk, dv: row 0 of
 * the pass, added to. */
void hearth_attention_pairs__forward(const hearth_attention_job *j,
                                     const hearth_attention_block *b,
                                     size_t worker);
void hearth_attention_pairs__backward(const hearth_attention_job *j,
                                      const hearth_attention_block *b,
                                      size_t worker, hearth_real *dk,
                                      hearth_real *dv);

#endif /* HEARTH_CLIENT_TRAIN_ATTENTION_PRIVATE_H */

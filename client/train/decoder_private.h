/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/decoder_private.h - inside of a decoder: for the files that
 * make one up (decoder, decoder_plan, decoder_bind, decoder_layer,
 * decoder_store, norms, lora_layer, attention, cross_entropy), nobody else.
 *
 * Letters: T tokens of the pass, D hidden size, F feed-forward size, Q = heads
 * * head_dim, KV = key-value heads * head_dim, H heads, L layers, V vocabulary.
 */
#ifndef HEARTH_CLIENT_TRAIN_DECODER_PRIVATE_H
#define HEARTH_CLIENT_TRAIN_DECODER_PRIVATE_H

#include "client/train/decoder.h"
#include "client/train/weight.h"
#include "client/train/weight_private.h"

/* The MLP's last part, and the head's last group, take up to so many rows more,
 * so that none has a handful of tokens, which the products treat in another
 * way. */
#define HEARTH_MLP_TAIL ((size_t)16)

/* One adapted module; grad_a NULL when A is frozen, both NULL in inference. */
typedef struct {
    uint32_t rank, in, out, layer, target;
    hearth_real scale;
    hearth_real *a, *b;           /* [rank, in], [out, rank] */
    hearth_real *grad_a, *grad_b; /* the same shapes */
} hearth_lora_pair;

/* One norm.  w is what the kernels multiply with: for HEARTH_NORM_RMS_ONE one
 * more than the model's weight. */
typedef struct {
    hearth_real *w;                  /* [width]; NULL: the family has none */
    hearth_real *bias;               /* [width]; NULL but for layer norms */
    const hearth_real *own;          /* full mode of RMS_ONE: w - 1, trained */
    hearth_real *grad_w, *grad_bias; /* full mode */
} hearth_norm;

/* The norms of a layer: role HEARTH_TENSOR_NORM_ATTN + index. */
enum { NORM_ATTN, NORM_MLP, POST_ATTN, POST_MLP, NORM_Q, NORM_K, NORM_COUNT };

/* Weights of one layer; NULL where the family has none. */
typedef struct {
    const hearth_weight *w[HEARTH_TARGET_COUNT];
    hearth_real *bias[HEARTH_TARGET_COUNT];      /* [out] */
    hearth_lora_pair *lora[HEARTH_TARGET_COUNT]; /* NULL: not adapted */
    hearth_norm norm[NORM_COUNT];
    /* full mode: gradients, the shapes of the above */
    hearth_real *grad_w[HEARTH_TARGET_COUNT], *grad_bias[HEARTH_TARGET_COUNT];
} hearth_layer;

/* What a layer keeps from forward to backward. */
typedef struct {
    hearth_real *q; /* [T, Q] rotated */
    hearth_real *k; /* [T, KV] rotated; in the cache when generating */
    hearth_real *v; /* [T, KV] */
    hearth_real *o; /* [T, Q] attention's output */
    hearth_real *q_in, *k_in; /* [T, Q], [T, KV] before their norms (qk_norm) */
    hearth_real *o_out, *down_out; /* [T, D] before their norms (sandwich) */
    hearth_real *top, *inverse;    /* [T, H] of scores: maximum, 1 / sum */
    hearth_real *mid;              /* [T, D] after attention */
    hearth_real *g;                /* [T, F] gate, before silu */
    hearth_real *u;                /* [T, F] up */
    bool part;                     /* g, u hold one part of the tokens only */
    hearth_real *t[HEARTH_TARGET_COUNT]; /* [T, t_width] x A^T of adapters; of
                                            those that share an input side by
                                            side, at hearth_decoder__shares */
    uint16_t *store; /* bfloat16 of all that decoder_store.c names, which lies
                        in arrays that all layers share; NULL: in its own */
} hearth_slot;

/* Where the pass is: the documents, and where they lie in the key-value
 * rows. */
typedef struct {
    size_t n;     /* tokens */
    size_t first; /* of a part: rows of the pass before it.  x, y and dy of a
                     part start at its first row; the documents and the slot's
                     t are those of the whole pass */
    size_t n_docs;
    const uint32_t *doc_start;     /* [n_docs + 1] */
    const uint32_t *position;      /* [n]; NULL: past, past + 1, .. */
    size_t past;                   /* cached positions before this pass */
    bool cached;                   /* keys and values live in the cache */
    const hearth_dropout *dropout; /* NULL: none */
    bool back;                     /* a backward pass follows */
} hearth_pass;

struct hearth_decoder {
    const hearth_model *model;
    const hearth_model_config *c;
    hearth_decoder_shape shape;
    hearth_compute compute;
    const hearth_kernels *pairs; /* for attention; NULL: it is by vectors */
    hearth_gate_fn gate;         /* NULL: none */
    void *gate_ud;
    hearth_real *aux; /* [n_workers][aux_reals] attention, cross-entropy */
    size_t aux_reals;
    size_t query_rows;    /* queries handled at once, at most */
    size_t n_keys;        /* keys of one tile, at most */
    size_t back_keys;     /* the same going back */
    size_t vocab_rows;    /* rows of the head handled at once */
    size_t vocab_parts;   /* parts of the vocabulary, a worker's task each */
    size_t ce_rows;       /* supervised rows that go through the head at once */
    size_t ce_most;       /* the same of the last, longest group */
    hearth_real *part_dh; /* [vocab_parts - 1][ce_most, D] */
    hearth_real *part_top;   /* [vocab_parts][ce_most] largest logit */
    double *part_sum;        /* the same: sum of exp(logit - top) */
    hearth_real *row_target; /* [ce_most] logit of the label */

    size_t lowest;       /* first layer that is differentiated; L: none */
    size_t n_slots;      /* of layers from the last down; those below share
                            the last slot */
    size_t mlp_rows;     /* tokens of one part of the MLP */
    hearth_layer *layer; /* [L] */
    hearth_slot *slot;   /* [n_slots] */
    size_t n_kept;       /* layers below those with slots of their own that keep
                            what attention gave, from the topmost down */
    hearth_slot *kept;   /* [n_kept] o, top and inverse of these; else NULL */
    hearth_real **input; /* [L + 1] residual stream into each layer, [T, D] */
    hearth_lora_pair *pair; /* [n_pairs] */

    hearth_norm norm_final;            /* [D] */
    const hearth_weight *embed, *head; /* [V, D] */
    const hearth_weight *place;        /* [positions, D]; NULL: rotation */
    hearth_real *grad_embed, *grad_place, *grad_head; /* full mode */
    hearth_weight *own; /* full mode: [n_tensors] views of trained copies */

    hearth_real *cos[2], *sin[2]; /* [positions, head_dim / 2]; [1]: of layers
                                     that slide, where their base differs */
    size_t n_positions;
    hearth_real *h; /* [T, D] normed input; rows for the head */
    /* m and dm lie where dq, d_o, dk and dv do: layout_turns. */
    hearth_real *m;       /* [R, F] silu(gate) up; R: see mlp_capacity */
    hearth_real *dm;      /* [R, F] */
    hearth_real *dx;      /* [T, D] gradient of the residual stream */
    hearth_real *dh;      /* [T, D] gradient of a normed input */
    hearth_real *dq;      /* [T, Q] */
    hearth_real *dk, *dv; /* [T, KV] */
    hearth_real *d_o;     /* [T, Q] */
    hearth_real *dn;      /* [T, D] behind a sandwich norm */
    hearth_real *fused;   /* [T, Q + 2 KV or 2 F] of fused linears */
    size_t t_width[HEARTH_TARGET_COUNT]; /* of the slots' t */
    hearth_real *dt;                     /* [T, largest t_width] */
    hearth_real *factors;   /* [t_width, input] A of adapters that share one */
    hearth_real *xd;        /* [T, largest input] dropped-out input; [R, F] */
    uint32_t *row;          /* [T] supervised rows */
    double *row_loss;       /* [T] */
    hearth_real *row_lse;   /* [T] */
    unsigned char *row_hit; /* [T] */
    uint32_t one_doc[2];    /* doc_start of extend */

    hearth_real *cache_k, *cache_v; /* [L, max_context, KV] */
    size_t context;                 /* positions in the cache */

    hearth_params params;
    char (*name)[HEARTH_LORA_NAME_MAX]; /* [params.n_params] */
    hearth_real *value;   /* full mode: [params.n_elements]; the float64 twin:
                           copies of the adapter's factors */
    hearth_real *grad;    /* [params.n_elements] */
    hearth_real *vectors; /* converted norm weights and biases */
    size_t n_vectors;     /* elements of them */
};

/* Is the tensor a bias or the weight of a norm?  (A matrix may have one
 * column as well.) */
static inline bool hearth_decoder__is_vector(const hearth_model_tensor *t) {
    return (t->role >= HEARTH_TENSOR_BIAS && t->role < HEARTH_TENSOR_EMBED) ||
           t->role == HEARTH_TENSOR_NORM_FINAL ||
           t->role == HEARTH_TENSOR_NORM_FINAL_BIAS;
}

/* decoder_plan.c: check the shape and fill what follows from it. */
hearth_status hearth_decoder__check(hearth_decoder *d,
                                    const hearth_decoder_shape *s,
                                    hearth_error *err);
/* Take every buffer from the arena; NULL: count only.  False: overflow or
 * arena full. */
bool hearth_decoder__layout(hearth_decoder *d, hearth_arena *arena,
                            hearth_decoder_sizes *sizes);

/* decoder_bind.c: point the laid-out decoder at its weights, convert what is
 * kept converted, fill tables and the list of parameters. */
void hearth_decoder__bind(hearth_decoder *d);

/* decoder_layer.c: input[l] -> input[l + 1]. */
void hearth_layer__forward(hearth_decoder *d, const hearth_pass *p, size_t l);
/* dx [T, D] in place: gradient of the layer's output -> of its input. */
void hearth_layer__backward(hearth_decoder *d, const hearth_pass *p, size_t l);

/* The slot of a layer; and was it overwritten since the forward pass? */
hearth_slot *hearth_decoder__slot(const hearth_decoder *d, size_t l);
bool hearth_decoder__is_recomputed(const hearth_decoder *d, size_t l);

/* What it kept of attention; NULL: nothing, or all in its slot. */
const hearth_slot *hearth_decoder__kept(const hearth_decoder *d, size_t l);

/* decoder_store.c: halves that a slot's store takes; SIZE_MAX: too many. */
size_t hearth_decoder__store_halves(const hearth_decoder *d);
/* Does the pass, if it goes back, keep layer l in its slot's store? */
bool hearth_decoder__is_stored(const hearth_decoder *d, const hearth_pass *p,
                               size_t l);
/* What attention leaves, into the store of s and back. */
void hearth_store__put_attention(const hearth_decoder *d, const hearth_pass *p,
                                 const hearth_slot *s);
void hearth_store__get_attention(const hearth_decoder *d, const hearth_pass *p,
                                 const hearth_slot *s);
/* What the MLP leaves of a part of the tokens; s is seen from its first row
 * on. */
void hearth_store__put_mlp(const hearth_decoder *d, const hearth_pass *part,
                           const hearth_slot *s);
void hearth_store__get_mlp(const hearth_decoder *d, const hearth_pass *part,
                           const hearth_slot *s);

/* One of a few linear layers that take the same input. */
typedef struct {
    hearth_target target;
    hearth_real *y;        /* forward: [T, out] */
    const hearth_real *dy; /* backward: [T, out] */
} hearth_linear;

#define HEARTH_LINEAR_GROUP 3 /* so many at most */

/* Targets that take the same input have their first one's number here. */
static inline uint32_t hearth_decoder__shares(uint32_t target) {
    if (target == HEARTH_TARGET_K || target == HEARTH_TARGET_V)
        return HEARTH_TARGET_Q;
    return target == HEARTH_TARGET_UP ? HEARTH_TARGET_GATE : target;
}

/* lora_layer.c: y[T, out] = x[T, in] W^T (+ y when add) + adapter, of n parts
 * in the order of their targets. */
void hearth_linear__forward(hearth_decoder *d, const hearth_pass *p, size_t l,
                            const hearth_linear *part, size_t n,
                            const hearth_real *x, int add);
/* Only t = x A^T into the slot, for a recomputed layer; no-op when the target
 * is not adapted. */
void hearth_linear__inner(hearth_decoder *d, const hearth_pass *p, size_t l,
                          hearth_target target, const hearth_real *x);
/* Gradients of the adapters or the weights, and dx = what all hand back; dx
 * NULL: none. */
void hearth_linear__backward(hearth_decoder *d, const hearth_pass *p, size_t l,
                             const hearth_linear *part, size_t n,
                             const hearth_real *x, hearth_real *dx);

/* attention.c: slot q, k, v -> o, top, inverse; and with d_o -> dq, dk, dv.
 * window: keys that a query sees at most, itself included; 0: all.  The
 * backward pass uses h and dh as scratch. */
void hearth_attention__forward(hearth_decoder *d, const hearth_pass *p,
                               const hearth_slot *s, size_t window);
void hearth_attention__backward(hearth_decoder *d, const hearth_pass *p,
                                const hearth_slot *s, size_t window);

/* decoder.c: may the pass go on?  HEARTH_ECANCELLED: the gate said no. */
hearth_status hearth_decoder__ask(const hearth_decoder *d, hearth_error *err);

/* cross_entropy.c: n rows of h against labels: row_loss, row_hit; with_grad:
 * dh and, in full mode, the head's gradient.  The gate is asked about as often
 * as layers of the same work would ask; HEARTH_ECANCELLED when it says no. */
hearth_status hearth_cross_entropy__run(hearth_decoder *d, size_t n,
                                        const int32_t *label, bool with_grad,
                                        hearth_error *err);

/* Fill query_rows, n_keys and back_keys from the shape. */
void hearth_attention__derive(hearth_decoder *d);

/* Fill ce_rows, ce_most, vocab_rows and vocab_parts from the shape. */
void hearth_cross_entropy__derive(hearth_decoder *d);

/* Rows first .. first + n - 1 of the head as a matrix of their own, whoever
 * holds them; for the worker that asks, until it asks again.  n is at most
 * d->vocab_rows. */
hearth_weight hearth_decoder__head_rows(const hearth_decoder *d, size_t worker,
                                        size_t first, size_t n);

/* Halves of the compute's room that attention needs. */
size_t hearth_attention__halves(const hearth_decoder *d);

/* Reals of aux scratch one worker needs. */
size_t hearth_attention__aux(const hearth_decoder *d);
size_t hearth_cross_entropy__aux(const hearth_decoder *d);

/* Row-wise work over [T] in tiles of HEARTH_DECODER_ROWS: fn(ud, first, n). */
typedef void (*hearth_rows_fn)(void *ud, size_t first, size_t n);
void hearth_decoder__rows(const hearth_decoder *d, size_t n_tokens,
                          hearth_rows_fn fn, void *ud);

/* norms.c: y = norm(x) for n rows of `width` (y may be x); dx += of it, and in
 * full mode the gradients of weight and bias. */
void hearth_norm__forward(const hearth_decoder *d, const hearth_norm *norm,
                          size_t n, size_t width, const hearth_real *x,
                          hearth_real *y);
void hearth_norm__backward(const hearth_decoder *d, const hearth_norm *norm,
                           size_t n, size_t width, const hearth_real *x,
                           const hearth_real *dy, hearth_real *dx);
/* The same with the gradient in place: dy becomes dx.  width <= 512. */
void hearth_norm__backward_inplace(const hearth_decoder *d,
                                   const hearth_norm *norm, size_t n,
                                   size_t width, const hearth_real *x,
                                   hearth_real *dy);
/* One row at a time, on this thread. */
void hearth_norm__row(const hearth_decoder *d, const hearth_norm *norm,
                      size_t width, const hearth_real *x, hearth_real *y);
void hearth_norm__row_back(const hearth_decoder *d, const hearth_norm *norm,
                           size_t width, const hearth_real *x,
                           const hearth_real *dy, hearth_real *dx);
void hearth_norm__row_grad(const hearth_decoder *d, const hearth_norm *norm,
                           size_t width, const hearth_real *x,
                           const hearth_real *dy);
/* Full mode of RMS_ONE: make w from the trained weights again. */
void hearth_norm__refresh(const hearth_norm *norm, size_t width);

#endif /* HEARTH_CLIENT_TRAIN_DECODER_PRIVATE_H */

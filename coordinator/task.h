/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/task.h - a federated task: what TASK.ini says, checked, and the
 * numbers that follow from it.
 *
 *     [task]     name, rule = ffa, mode = local, rounds, purpose = federated,
 *                min_examples = 1, spacing = 24h
 *     [base]     id (64 hex), tokenizer (64 hex), template (64 hex; default
 *                none), layers, hidden, heads, kv_heads, head_dim, ffn
 *     [adapter]  targets = auto, rank, alpha, rslora = no, last_layers = 0,
 *                a_seed = number (of A; default: drawn at creation)
 *     [train]    steps, batch = 1, seq, lr, schedule = constant, warmup = 0,
 *                weight_decay = 0, loss = answer
 *     [cohort]   count = min,max   time = min,max   over_select = 1.3
 *     [privacy]  clip, noise (z), delta = 1e-6, scale (exponent of 2; default:
 *                the finest that fits)
 *     [clip]     quantile (its presence lets the clip follow the norms; without
 *                it the clip stays), rate = 0.2, share = 0.1, floor = clip/64,
 *                ceiling = 64 clip, freeze = 0 (rounds; 0: never)
 *     [server]   lr = 1
 *
 * The text is kept in the store and read again at every start, so it names no
 * other file.
 *
 * Threads: pure functions but _create, which writes the store and the folder.
 */
#ifndef HEARTH_COORDINATOR_TASK_H
#define HEARTH_COORDINATOR_TASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/adapter.h"
#include "common/clock.h"
#include "common/rng.h"
#include "common/sign.h"
#include "coordinator/adapt_clip.h"
#include "coordinator/coord_store.h"
#include "coordinator/round.h"
#include "proto/messages.h"
#include "proto/signed.h"

#define HEARTH_TASK_MAX_INI ((size_t)16 << 10) /* bytes of a TASK.ini */

/* Which linear layers a block of the base has. */
typedef enum {
    HEARTH_TASK_LLAMA, /* q k v o gate up down: Llama, Qwen, Gemma, Mistral */
    HEARTH_TASK_GPT2,  /* c_attn, two c_proj, c_fc */
    HEARTH_TASK_PHI3   /* qkv o gate_up down */
} hearth_task_modules;

/* Sides of the base's linear layers. */
typedef struct {
    hearth_task_modules modules;
    uint32_t layers, hidden, heads, kv_heads, head_dim, ffn;
} hearth_task_base;

/* Targets that such a base offers, and PEFT's default of them. */
uint32_t hearth_task_targets(hearth_task_modules m, uint32_t *automatic);

/* A task, resolved. */
typedef struct {
    char name[HEARTH_PROTO_TASK_CAP];
    char purpose[HEARTH_PROTO_PURPOSE_CAP];
    hearth_task_base base;
    hearth_wire_space space;     /* complete, digests included */
    hearth_wire_privacy privacy; /* complete; epsilons over all rounds */
    hearth_local_training local;
    hearth_round_spec round; /* cohorts, stages, over-selection */
    uint32_t rounds;         /* to release */
    uint32_t min_examples;
    uint64_t spacing_ms;
    double server_lr;
    hearth_adapt_clip adapt; /* [clip] */
    bool scale_given;        /* by the text; else the finest that fits */
    int32_t scale_most;      /* that, or where the search begins */
    int64_t range;          /* |coordinate| of an upload that is still believed:
                      sqrt(max(D_d^2, s_k^2)) + 16 sigma, rounded up */
    uint64_t payload_bytes; /* of an upload: 4 (d + n_coords) */
} hearth_task;

/* Read and check a TASK.ini, and work out everything that follows.
 *
 *   a_seed  of A: 32 bytes that stay with the task; not used when the text
 *           names a number of its own
 *
 * Returns HEARTH_OK
 *         HEARTH_EFORMAT       unknown key, bad value (err: file:line)
 *         HEARTH_ENOTFOUND     a required key is missing
 *         HEARTH_EUNSUPPORTED  rule and mode do not go together, or not in
 *                              this build
 *         HEARTH_ETOOBIG       the sum could pass 2^31: n C s + 8 sqrt(n) sigma;
 *                              or the payload or scale is too large
 *         HEARTH_ENOMEM
 * and *t is zero on failure. */
HEARTH_MUST_CHECK
hearth_status hearth_task_parse(hearth_task *t, const char *name,
                                const char *text, size_t n,
                                const uint8_t a_seed[32],
                                const hearth_alloc *al, hearth_error *err);

/* Set the clip of a round: work out again what follows from it (bounds, scale,
 * noise, the payload's digest, noise-to-signal).  z, and so both epsilons, stay.
 *
 *   clip   of the round; 0: the task's own
 *   steps  server steps taken before it: a frozen clip has no bit
 *
 * A task without [clip] stays as it is.
 * Returns HEARTH_OK, HEARTH_ETOOBIG, HEARTH_ENOMEM; *t is unchanged then. */
HEARTH_MUST_CHECK
hearth_status hearth_task_set_clip(hearth_task *t, double clip, uint64_t steps,
                                   const hearth_alloc *al, hearth_error *err);

/* The text of a task, appended to *text, from a file, for hearthd. */
HEARTH_MUST_CHECK
hearth_status hearth_task_read_file(hearth_buf *text, const char *path,
                                    hearth_error *err);

/* The empty adapter of a task, with A filled from the seed. */
HEARTH_MUST_CHECK
hearth_status hearth_task_adapter(hearth_adapter **out, const hearth_task *t,
                                  const hearth_alloc *al, hearth_error *err);

/* The ring bound of FEDERATION section 11: true when a sum of n uploads of
 * norm at most bound plus noise stays below 2^31 with overwhelming
 * probability: n bound + 8 sqrt(n) sigma < 2^31. */
bool hearth_task_ring_ok(uint64_t n, double bound, double sigma);

/* What creating a task needs beside its text. */
typedef struct {
    hearth_coord_store *store;
    const char *dir; /* state folder of the coordinator */
    const hearth_sign_keypair *release_key;
    hearth_clock clock;
    hearth_rng *rng;
    uint64_t release_ttl_ms; /* 0: 90 days */
    bool not_private;
    const hearth_alloc *al;
} hearth_task_env;

/* Parse, store, and publish release 1: the start (B = 0; for fedit also A).
 * A serving coordinator takes the task up within a second.
 *
 * Returns as hearth_task_parse, and HEARTH_EEXISTS for a name in use,
 * HEARTH_EINVAL, HEARTH_ERNG, HEARTH_EIO, HEARTH_ENOSPACE; nothing is left
 * behind on failure. */
HEARTH_MUST_CHECK
hearth_status hearth_task_create(const hearth_task_env *env, const char *name,
                                 const char *text, size_t n, hearth_error *err);

#endif /* HEARTH_COORDINATOR_TASK_H */

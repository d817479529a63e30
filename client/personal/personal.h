/* SPDX-License-Identifier: Apache-2.0 */
/* client/personal/personal.h - which adapter this device uses now.
 *
 * Data flow:  net/download -> [personal] -> infer/generate, train (start of a
 *             round)
 *
 * The installed release of each task, and a personal adapter on top of it where
 * there is one.  What is installed was verified when it came and is verified
 * again each time it is read: signature, digest, and that it was made for this
 * base model, tokenizer and template.  Install is one transaction: after a
 * crash either the old or the new release is in use, whole.  Next to it, where
 * there is a state directory, the release is written as a PEFT folder for
 * people (`hearth generate --adapter STATE/adapters/TASK`); the database row is
 * what counts.
 *
 * Threads: one thread at a time.
 * Memory:  hearth_personal_adapter gives a new adapter; nothing is cached.
 */
#ifndef HEARTH_CLIENT_PERSONAL_PERSONAL_H
#define HEARTH_CLIENT_PERSONAL_PERSONAL_H

#include "client/model/base_model.h"
#include "common/adapter.h"
#include "common/db.h"
#include "proto/signed.h"

/* All borrowed for as long as the handle is used. */
typedef struct {
    hearth_db *db;
    const char *state_dir;       /* NULL: no PEFT folder is written */
    const char *base_name;       /* the base as the user named it */
    const hearth_keyset *keyset; /* release keys */
    const hearth_model *model;
    const uint8_t *tokenizer_digest; /* [32] */
    const uint8_t *template_digest;  /* [32] */
    const hearth_alloc *al;
} hearth_personal;

/* What is installed for a task. */
typedef struct {
    uint64_t sequence;    /* 0 = nothing yet */
    int64_t installed_ms; /* Unix ms */
    uint8_t digest[32];   /* SHA-256 of the payload */
    bool has_personal;    /* an own adapter is on top */
    bool personal_stale;  /* it must be trained again (after forget) */
} hearth_personal_info;

/* Install a verified release in one transaction and drop what it replaces.
 * Returns HEARTH_OK
 *         HEARTH_EREPLAY    its sequence is below what is installed
 *         HEARTH_EMISMATCH  for another base, tokenizer, template or shape; err
 *                           names both sides and the command that fixes it
 *         HEARTH_EDIGEST    payload is not what the manifest names
 *         HEARTH_EFORMAT, HEARTH_EIO, HEARTH_ENOMEM; nothing is changed */
HEARTH_MUST_CHECK
hearth_status hearth_personal_install(const hearth_personal *p,
                                      const hearth_release *m,
                                      const uint8_t *manifest,
                                      size_t n_manifest, const uint8_t *payload,
                                      size_t n_payload, int64_t now_ms,
                                      hearth_error *err);

/* What is installed; HEARTH_OK with sequence 0 when nothing is. */
HEARTH_MUST_CHECK
hearth_status hearth_personal_info_get(hearth_personal_info *out, hearth_db *db,
                                       const char *task, hearth_error *err);

/* The task whose release was installed last; task[0] == '\0' when none. */
HEARTH_MUST_CHECK
hearth_status hearth_personal_newest(char task[HEARTH_PROTO_TASK_CAP],
                                     hearth_db *db, hearth_error *err);

/* Read, verify and build the adapter to use for a task: the personal one when
 * `own` and there is one that is not stale, else the release.
 * Returns HEARTH_ENOTFOUND when nothing is installed, else as install. */
HEARTH_MUST_CHECK
hearth_status hearth_personal_adapter(hearth_adapter **out,
                                      const hearth_personal *p,
                                      const char *task, bool own,
                                      int64_t now_ms, hearth_error *err);

/* Keep an adapter that was fine-tuned on this device only (never sent). */
HEARTH_MUST_CHECK
hearth_status hearth_personal_keep(const hearth_personal *p, const char *task,
                                   const hearth_adapter *a, int64_t now_ms,
                                   hearth_error *err);

/* forget: erase every personal adapter (they were trained on what is forgotten)
 * and mark the tasks for retraining.  Releases stay. */
HEARTH_MUST_CHECK
hearth_status hearth_personal_forget(hearth_db *db, hearth_error *err);

#endif /* HEARTH_CLIENT_PERSONAL_PERSONAL_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/registry.h - signed releases: publish, roll back, export.
 *
 * A release is a manifest (proto/signed.h: lineage, digests, signature) and its
 * content: the trained part as flat little-endian floats in canonical order,
 * kept in a file named by its digest, so that a rollback shares it.
 *
 *     <dir>/releases/<hex of content_sha256>.f32
 *
 * Sequences only grow.  A rollback is a new, higher sequence that names older
 * content, so that no device ever has to go back.
 *
 * Threads: as the store that is passed.
 */
#ifndef HEARTH_COORDINATOR_REGISTRY_H
#define HEARTH_COORDINATOR_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/sign.h"
#include "coordinator/coord_store.h"
#include "coordinator/task.h"
#include "proto/signed.h"

#define HEARTH_REGISTRY_TTL_MS ((uint64_t)90 * 86400 * 1000)

/* Path of a content file under dir.  HEARTH_ETOOBIG when it does not fit. */
HEARTH_MUST_CHECK
hearth_status hearth_registry_path(char *out, size_t cap, const char *dir,
                                   const uint8_t content_sha256[32]);

/* What a new release says beyond its task. */
typedef struct {
    const hearth_task *task;
    uint64_t sequence, parent, content_of; /* content_of 0: sequence */
    uint64_t round;                        /* last one added in */
    uint32_t rounds, devices;
    int64_t created_ms;
    uint64_t ttl_ms; /* 0: HEARTH_REGISTRY_TTL_MS */
    bool not_private;
    uint8_t content_sha256[32];
} hearth_registry_entry;

/* Fill a manifest; the epsilons are those of `rounds` rounds.
 * Returns HEARTH_OK or HEARTH_EINVAL. */
HEARTH_MUST_CHECK
hearth_status hearth_registry_manifest(hearth_release *rel,
                                       const hearth_registry_entry *e);

/* Write content [d] floats to its file (fsync, rename) and give its digest. */
HEARTH_MUST_CHECK
hearth_status hearth_registry_put_content(const char *dir, const float *content,
                                          size_t d, uint8_t sha256[32],
                                          hearth_error *err);
/* Read content [d] floats back; HEARTH_EDIGEST when the file was altered. */
HEARTH_MUST_CHECK
hearth_status hearth_registry_get_content(const char *dir,
                                          const uint8_t sha256[32],
                                          float *content, size_t d,
                                          hearth_error *err);

/* Sign the entry and publish it with p's other fields in one transaction; p's
 * row, manifest and its size are filled here. */
HEARTH_MUST_CHECK
hearth_status
hearth_registry_publish(hearth_coord_store *s, const hearth_sign_keypair *key,
                        const hearth_registry_entry *e, hearth_publication *p,
                        const hearth_alloc *al, hearth_error *err);

/* Bring a task to the state that release `sequence` (0: the newest) left behind:
 * the clip of the round that starts from it (hearth_task_set_clip).
 * Returns HEARTH_OK, HEARTH_ENOTFOUND, HEARTH_EFORMAT, HEARTH_EVERSION, or as
 * hearth_task_set_clip. */
HEARTH_MUST_CHECK
hearth_status hearth_registry_task_state(hearth_coord_store *s, hearth_task *t,
                                         uint64_t sequence,
                                         const hearth_alloc *al,
                                         hearth_error *err);

/* Publish the content of release `to` again under the next sequence, with its
 * optimizer state.  *sequence gets the new number.
 * Returns HEARTH_OK, HEARTH_ENOTFOUND, HEARTH_EINVAL, or as publish. */
HEARTH_MUST_CHECK
hearth_status hearth_registry_rollback(const hearth_task_env *env,
                                       const char *task, uint64_t to,
                                       uint64_t *sequence, hearth_error *err);

/* Publish the newest release again when devices could not use it for long: it
 * is signed by another key than env's, or expires within keep_ms.  A round that
 * is open fails by that, as by a rollback.  *sequence gets the new number, or 0
 * when there was no need.
 * Returns as rollback. */
HEARTH_MUST_CHECK
hearth_status hearth_registry_resign(const hearth_task_env *env,
                                     const char *task, uint64_t keep_ms,
                                     uint64_t *sequence, hearth_error *err);

/* Write release `sequence` (0: newest) of a task as a PEFT folder.
 * Returns HEARTH_OK, HEARTH_ENOTFOUND, HEARTH_EDIGEST, or as
 * hearth_adapter_save. */
HEARTH_MUST_CHECK
hearth_status hearth_registry_export_peft(const hearth_task_env *env,
                                          const char *task, uint64_t sequence,
                                          const char *out_dir,
                                          hearth_error *err);

#endif /* HEARTH_COORDINATOR_REGISTRY_H */

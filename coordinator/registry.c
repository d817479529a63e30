/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/registry.c - contents first, then the row that names them.
 *
 * A content file is complete (fsync, rename) before the transaction that
 * publishes it; a crash between the two leaves a file that no release names,
 * which the next publication of the same bytes reuses.
 */
#include "coordinator/registry.h"

#include <stdio.h>
#include <string.h>

#include "common/adapter_peft.h"
#include "common/bytes.h"
#include "common/error.h"
#include "common/failpoint.h"
#include "common/file.h"
#include "common/hash.h"
#include "common/mem.h"
#include "coordinator/lora_rules.h"
#include "coordinator/server_opt.h"
#include "coordinator/task_derive.h"

hearth_status hearth_registry_path(char *out, size_t cap, const char *dir,
                                   const uint8_t content_sha256[32]) {
    char hex[65];
    hearth_hex_encode(hex, content_sha256, 32);
    int n = snprintf(out, cap, "%s/releases/%s.f32", dir, hex);
    return n > 0 && (size_t)n < cap ? HEARTH_OK : HEARTH_ETOOBIG;
}

hearth_status hearth_registry_manifest(hearth_release *rel,
                                       const hearth_registry_entry *e) {
    const hearth_task *t;
    if (!rel || !e || !e->task || e->sequence == 0) return HEARTH_EINVAL;
    t = e->task;
    memset(rel, 0, sizeof(*rel));
    memcpy(rel->task, t->name, sizeof(rel->task));
    rel->sequence = e->sequence;
    rel->parent = e->parent;
    rel->content_of = e->content_of ? e->content_of : e->sequence;
    rel->created_ms = (uint64_t)e->created_ms;
    rel->expires_ms =
        rel->created_ms + (e->ttl_ms ? e->ttl_ms : HEARTH_REGISTRY_TTL_MS);
    rel->round = e->round;
    rel->rounds = e->rounds;
    rel->devices = e->devices;
    rel->content_bytes = 4 * t->privacy.d;
    memcpy(rel->content_sha256, e->content_sha256, 32);
    rel->space = t->space;
    rel->privacy = t->privacy;
    rel->not_private = e->not_private;
    /* With no device yet, the ratio is that of the smallest cohort. */
    return hearth_task_epsilons(
        t, e->rounds, e->devices ? e->devices : t->round.stage[0].count_min,
        &rel->privacy);
}

/* Floats as little-endian bytes, a piece at a time. */
static hearth_status put_floats(hearth_file_writer *w, hearth_sha256_state *h,
                                const float *v, size_t d, hearth_error *err) {
    uint8_t piece[2048];
    for (size_t i = 0; i < d;) {
        size_t n = 0;
        hearth_status st;
        for (; n < sizeof(piece) / 4 && i < d; n++, i++) {
            uint32_t bits;
            memcpy(&bits, &v[i], sizeof(bits));
            hearth_store_le32(piece + 4 * n, bits);
        }
        if ((st = hearth_sha256_add(h, piece, 4 * n)) != HEARTH_OK) return st;
        if (w &&
            (st = hearth_file_writer_put(w, piece, 4 * n, err)) != HEARTH_OK)
            return st;
    }
    return HEARTH_OK;
}

static hearth_status digest_floats(const float *v, size_t d,
                                   uint8_t sha256[32]) {
    hearth_sha256_state h;
    hearth_status st = hearth_sha256_init(&h);
    if (st == HEARTH_OK) st = put_floats(NULL, &h, v, d, NULL);
    if (st == HEARTH_OK) st = hearth_sha256_finish(&h, sha256);
    hearth_sha256_free(&h);
    return st;
}

hearth_status hearth_registry_put_content(const char *dir, const float *content,
                                          size_t d, uint8_t sha256[32],
                                          hearth_error *err) {
    char path[1024];
    hearth_file_writer w;
    hearth_sha256_state h;
    hearth_status st = digest_floats(content, d, sha256);
    if (st == HEARTH_OK)
        st = hearth_registry_path(path, sizeof(path), dir, sha256);
    if (st != HEARTH_OK || hearth_file_exists(path)) return st;
    memset(&w, 0, sizeof(w));
    if ((st = hearth_sha256_init(&h)) != HEARTH_OK) return st;
    st = hearth_file_writer_open(&w, path, 0644, err);
    if (st == HEARTH_OK) st = put_floats(&w, &h, content, d, err);
    if (st == HEARTH_OK) {
        HEARTH_FAILPOINT("publish.before_content");
        st = hearth_file_writer_commit(&w, err);
    } else {
        hearth_file_writer_abort(&w);
    }
    hearth_sha256_free(&h);
    return st;
}

hearth_status hearth_registry_get_content(const char *dir,
                                          const uint8_t sha256[32],
                                          float *content, size_t d,
                                          hearth_error *err) {
    hearth_file f = HEARTH_FILE_INIT;
    char path[1024];
    uint8_t have[32];
    hearth_status st = hearth_registry_path(path, sizeof(path), dir, sha256);
    if (st != HEARTH_OK) return st;
    if ((st = hearth_file_map(&f, path, err)) != HEARTH_OK) return st;
    st = hearth_sha256(have, f.v, f.n);
    if (st == HEARTH_OK &&
        (f.n != 4 * d || !hearth_bytes_equal_ct(have, sha256, 32)))
        st = hearth_error_set(err, HEARTH_EDIGEST,
                              "%s: altered on disk; restore it from a backup",
                              path);
    for (size_t i = 0; st == HEARTH_OK && i < d; i++) {
        uint32_t bits = hearth_load_le32(f.v + 4 * i);
        memcpy(&content[i], &bits, sizeof(bits));
    }
    hearth_file_unmap(&f);
    return st;
}

hearth_status
hearth_registry_publish(hearth_coord_store *s, const hearth_sign_keypair *key,
                        const hearth_registry_entry *e, hearth_publication *p,
                        const hearth_alloc *al, hearth_error *err) {
    hearth_buf manifest = HEARTH_BUF_INIT(al);
    hearth_release rel;
    hearth_status st;

    if (!key)
        return hearth_error_set(
            err, HEARTH_EINVAL,
            "publish: no release key; run hearthd with one");
    if ((st = hearth_registry_manifest(&rel, e)) != HEARTH_OK) goto done;
    if ((st = hearth_release_seal(&manifest, &rel, key)) != HEARTH_OK) {
        st = hearth_error_set(err, st,
                              "release %llu of task '%s' can not be "
                              "signed; check the release key",
                              (unsigned long long)e->sequence, e->task->name);
        goto done;
    }
    memset(&p->row, 0, sizeof(p->row));
    memcpy(p->row.task, e->task->name, sizeof(p->row.task));
    p->row.sequence = e->sequence;
    p->row.created_ms = e->created_ms;
    p->row.round = p->close_round;
    memcpy(p->row.content_sha256, e->content_sha256, 32);
    st = hearth_sha256(p->row.manifest_digest, manifest.v, manifest.n);
    if (st != HEARTH_OK) goto done;
    p->manifest = manifest.v;
    p->manifest_n = manifest.n;
    HEARTH_FAILPOINT("publish.before_row");
    st = hearth_coord_store_publish(s, p, err);
    HEARTH_FAILPOINT("publish.after_row");

done:
    p->manifest = NULL;
    p->manifest_n = 0;
    hearth_buf_free(&manifest);
    return st;
}

hearth_status hearth_registry_task_state(hearth_coord_store *s, hearth_task *t,
                                         uint64_t sequence,
                                         const hearth_alloc *al,
                                         hearth_error *err) {
    hearth_buf bytes = HEARTH_BUF_INIT(al);
    hearth_release_row row;
    hearth_server_opt opt;
    if (!t->adapt.on) return HEARTH_OK;
    hearth_status st = hearth_coord_store_release(s, t->name, sequence, &row,
                                                  NULL, &bytes, err);
    if (st == HEARTH_OK &&
        (st = hearth_server_opt_load(&opt, bytes.v, bytes.n)) != HEARTH_OK)
        st = hearth_error_set(err, st,
                              "release %llu of task '%s': its state can not be "
                              "read; restore it from a backup",
                              (unsigned long long)row.sequence, t->name);
    if (st == HEARTH_OK)
        st = hearth_task_set_clip(t, opt.clip, opt.steps, al, err);
    hearth_buf_free(&bytes);
    return st;
}

/* Task, and the release that is asked for. */
static hearth_status load(const hearth_task_env *env, const char *task,
                          uint64_t sequence, hearth_task *t,
                          hearth_release_row *row, hearth_buf *optimizer,
                          hearth_error *err) {
    hearth_buf ini = HEARTH_BUF_INIT(env->al);
    hearth_task_row tr;
    hearth_status st;
    st = hearth_coord_store_task(env->store, task, &tr, &ini, err);
    if (st == HEARTH_OK)
        st = hearth_task_parse(t, task, hearth_buf_str(&ini), ini.n, tr.a_seed,
                               env->al, err);
    if (st == HEARTH_OK)
        st = hearth_coord_store_release(env->store, task, sequence, row, NULL,
                                        optimizer, err);
    hearth_buf_free(&ini);
    return st;
}

/* The manifest as it was published: what it says about rounds and devices. */
static hearth_status old_manifest(const hearth_task_env *env, const char *task,
                                  uint64_t sequence, hearth_release *rel,
                                  hearth_error *err) {
    hearth_buf bytes = HEARTH_BUF_INIT(env->al);
    hearth_keyset *ks = hearth_mem_new(env->al, sizeof(*ks));
    hearth_release_row row;
    hearth_status st = HEARTH_ENOMEM;
    if (!ks) return hearth_error_set(err, st, "rollback: out of memory");
    ks->n_release_keys = 1; /* whoever signed it: it is our own store */
    st = hearth_coord_store_release(env->store, task, sequence, &row, &bytes,
                                    NULL, err);
    if (st == HEARTH_OK)
        st = hearth_signed_claimed_key(bytes.v, bytes.n, ks->release_keys[0],
                                       err);
    if (st == HEARTH_OK)
        st = hearth_release_open(rel, bytes.v, bytes.n, ks, 0, err);
    hearth_buf_free(&bytes);
    hearth_mem_free(env->al, ks);
    return st;
}

hearth_status hearth_registry_rollback(const hearth_task_env *env,
                                       const char *task, uint64_t to,
                                       uint64_t *sequence, hearth_error *err) {
    hearth_buf opt = HEARTH_BUF_INIT(env->al);
    hearth_release_row row, newest;
    hearth_registry_entry e;
    hearth_publication p;
    hearth_release rel;
    hearth_task t;
    hearth_status st;

    *sequence = 0;
    memset(&e, 0, sizeof(e));
    memset(&p, 0, sizeof(p));
    if (to == 0)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "rollback: name a release; see release list");
    if ((st = load(env, task, to, &t, &row, &opt, err)) != HEARTH_OK) goto done;
    if ((st = old_manifest(env, task, to, &rel, err)) != HEARTH_OK) goto done;
    st = hearth_coord_store_release(env->store, task, 0, &newest, NULL, NULL,
                                    err);
    if (st != HEARTH_OK) goto done;
    t.space = rel.space;     /* of the round it came from, */
    t.privacy = rel.privacy; /* whose clip may have been another */
    e.task = &t;
    e.sequence = newest.sequence + 1;
    e.parent = newest.sequence;
    e.content_of = rel.content_of;
    e.round = rel.round;
    e.rounds = rel.rounds;
    e.devices = rel.devices;
    e.created_ms = hearth_clock_wall(&env->clock);
    e.ttl_ms = env->release_ttl_ms;
    e.not_private = env->not_private || rel.not_private;
    memcpy(e.content_sha256, row.content_sha256, 32);
    p.optimizer = opt.v;
    p.optimizer_n = opt.n;
    st = hearth_registry_publish(env->store, env->release_key, &e, &p, env->al,
                                 err);
    if (st == HEARTH_OK) *sequence = e.sequence;

done:
    hearth_buf_free(&opt);
    return st;
}

hearth_status hearth_registry_resign(const hearth_task_env *env,
                                     const char *task, uint64_t keep_ms,
                                     uint64_t *sequence, hearth_error *err) {
    uint8_t by[HEARTH_SIGN_PUBLIC_BYTES];
    hearth_buf manifest = HEARTH_BUF_INIT(env->al);
    hearth_release_row newest;
    hearth_release rel;
    hearth_status st;

    *sequence = 0;
    st = hearth_coord_store_release(env->store, task, 0, &newest, &manifest,
                                    NULL, err);
    if (st == HEARTH_OK)
        st = hearth_signed_claimed_key(manifest.v, manifest.n, by, err);
    if (st == HEARTH_OK)
        st = old_manifest(env, task, newest.sequence, &rel, err);
    hearth_buf_free(&manifest);
    if (st != HEARTH_OK) return st;
    uint64_t now = (uint64_t)hearth_clock_wall(&env->clock);
    if (memcmp(by, hearth_sign_public(env->release_key), sizeof(by)) == 0 &&
        rel.expires_ms > now + keep_ms)
        return HEARTH_OK;
    return hearth_registry_rollback(env, task, newest.sequence, sequence, err);
}

hearth_status hearth_registry_export_peft(const hearth_task_env *env,
                                          const char *task, uint64_t sequence,
                                          const char *out_dir,
                                          hearth_error *err) {
    hearth_peft_info info;
    hearth_release_row row;
    hearth_adapter *a = NULL;
    hearth_task t;
    float *flat = NULL;
    const hearth_lora_rule *rule;
    hearth_status st;

    st = load(env, task, sequence, &t, &row, NULL, err);
    if (st != HEARTH_OK) return st;
    rule = hearth_lora_rule_get(t.space.rule);
    flat = hearth_mem_array(env->al, (size_t)t.privacy.d, sizeof(*flat));
    if (!flat) {
        st = hearth_error_set(err, HEARTH_ENOMEM, "export: out of memory");
        goto done;
    }
    st = hearth_registry_get_content(env->dir, row.content_sha256, flat,
                                     (size_t)t.privacy.d, err);
    if (st == HEARTH_OK) st = hearth_task_adapter(&a, &t, env->al, err);
    if (st == HEARTH_OK)
        st = hearth_adapter_unflatten(a, rule->part, flat, (size_t)t.privacy.d);
    memset(&info, 0, sizeof(info));
    hearth_hex_encode(info.base_id, t.space.base_digest, 32);
    if (st == HEARTH_OK) st = hearth_adapter_save(a, out_dir, &info, err);

done:
    hearth_adapter_free(a);
    hearth_mem_free(env->al, flat);
    return st;
}

/* ---- creation of a task: here, because it is a publication ---- */

static hearth_status start_content(const hearth_task_env *env,
                                   const hearth_task *t, uint8_t sha256[32],
                                   hearth_error *err) {
    const hearth_lora_rule *rule = hearth_lora_rule_get(t->space.rule);
    size_t d = (size_t)t->privacy.d;
    hearth_adapter *a = NULL;
    char dir[1024];
    float *flat = hearth_mem_array(env->al, d, sizeof(*flat));
    hearth_status st = flat ? HEARTH_OK : HEARTH_ENOMEM;
    if (st == HEARTH_OK)
        st = hearth_file_join(dir, sizeof(dir), env->dir, "releases");
    if (st == HEARTH_OK) st = hearth_file_mkdirs(dir, err);
    if (st == HEARTH_OK) st = hearth_task_adapter(&a, t, env->al, err);
    if (st == HEARTH_OK) st = hearth_adapter_flatten(a, rule->part, flat, d);
    if (st == HEARTH_OK)
        st = hearth_registry_put_content(env->dir, flat, d, sha256, err);
    hearth_adapter_free(a);
    hearth_mem_free(env->al, flat);
    return st;
}

hearth_status hearth_task_create(const hearth_task_env *env, const char *name,
                                 const char *text, size_t n,
                                 hearth_error *err) {
    uint8_t opt[HEARTH_SERVER_OPT_BYTES];
    const hearth_server_opt fresh = {0};
    hearth_registry_entry e;
    hearth_publication p;
    hearth_task_row row;
    hearth_secret key;
    hearth_task t;
    hearth_status st;

    if (!env || !env->store || !env->dir || !env->rng || !text)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "task create: bad argument");
    memset(&row, 0, sizeof(row));
    memset(&e, 0, sizeof(e));
    memset(&p, 0, sizeof(p));
    st = hearth_rng_bytes(env->rng, row.a_seed, sizeof(row.a_seed));
    if (st == HEARTH_OK)
        st = hearth_rng_bytes(env->rng, key.bytes, sizeof(key.bytes));
    if (st != HEARTH_OK) /* the key is zeros */
        return hearth_error_set(err, st,
                                "task create: no randomness; nothing was "
                                "created, try again later");
    if (st == HEARTH_OK)
        st = hearth_task_parse(&t, name, text, n, row.a_seed, env->al, err);
    if (st == HEARTH_OK) st = start_content(env, &t, e.content_sha256, err);
    if (st != HEARTH_OK) {
        hearth_secret_wipe(&key);
        return st;
    }

    memcpy(row.name, t.name, sizeof(row.name));
    memcpy(row.a_seed, t.space.a_seed, sizeof(row.a_seed)); /* the text's? */
    row.state = HEARTH_TASK_ACTIVE;
    row.created_ms = hearth_clock_wall(&env->clock);
    p.optimizer_n = hearth_server_opt_save(&fresh, opt);
    e.task = &t;
    e.sequence = 1;
    e.created_ms = row.created_ms;
    e.ttl_ms = env->release_ttl_ms;
    e.not_private = env->not_private;
    p.optimizer = opt;
    p.new_task = &row;
    p.new_key = &key;
    p.ini = text;
    p.ini_n = n;
    st = hearth_registry_publish(env->store, env->release_key, &e, &p, env->al,
                                 err);
    hearth_secret_wipe(&key);
    HEARTH_FAILPOINT("task.after_create");
    if (st == HEARTH_EEXISTS)
        return hearth_error_set(err, st,
                                "task '%s' exists already; give the new one "
                                "another name",
                                t.name);
    return st;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* client/personal/personal.c - the contract is in personal.h.
 *
 * What is read back is verified as if it had just come: the signature over the
 * manifest, the digest of the payload, and every digest of the space.  Expiry
 * is looked at when a release is installed and when a round starts from it,
 * not when a person chats: an app that is offline for months goes on working.
 */
#include "client/personal/personal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "client/personal/personal_store.h"
#include "client/personal/space.h"
#include "common/adapter_peft.h"
#include "common/bytes.h"
#include "common/file.h"
#include "common/hash.h"
#include "common/mem.h"

/* The adapter that a verified release describes, with its values. */
static hearth_status build(hearth_adapter **out, const hearth_personal *p,
                           const hearth_release *m, const uint8_t *payload,
                           size_t n, hearth_error *err) {
    hearth_space_local local = {p->model, p->base_name, p->tokenizer_digest,
                                p->template_digest};
    hearth_adapter *a = NULL;
    float *flat = NULL;
    uint8_t is[32];
    *out = NULL;
    hearth_status st = hearth_sha256(is, payload, n);
    if (st != HEARTH_OK) return st;
    if (n != m->content_bytes || memcmp(is, m->content_sha256, 32) != 0)
        return hearth_error_set(err, HEARTH_EDIGEST,
                                "release %llu of %s is not what was signed; "
                                "run `hearth sync` to fetch it again",
                                (unsigned long long)m->sequence, m->task);
    st = hearth_space_adapter(&a, &m->space, &local, p->al, err);
    if (st != HEARTH_OK) return st;
    hearth_part part = hearth_space_part(&m->space);
    size_t d = hearth_adapter_dim(a, part);
    st = HEARTH_EFORMAT;
    if (n != d * 4) goto done;
    st = HEARTH_ENOMEM;
    if (!(flat = hearth_mem_array(p->al, d, sizeof(float)))) goto done;
    st = HEARTH_OK;
    for (size_t i = 0; i < d; i++) {
        uint32_t w = hearth_load_le32(payload + 4 * i);
        memcpy(&flat[i], &w, 4);
        if (!isfinite(flat[i])) st = HEARTH_EFORMAT;
    }
    if (st == HEARTH_OK) st = hearth_adapter_unflatten(a, part, flat, d);
done:
    if (st == HEARTH_EFORMAT)
        (void)hearth_error_set(err, st,
                               "release %llu of %s does not hold the %zu "
                               "finite numbers of its shape; tell the operator",
                               (unsigned long long)m->sequence, m->task, d);
    hearth_mem_free(p->al, flat);
    if (st == HEARTH_OK)
        *out = a;
    else
        hearth_adapter_free(a);
    return st;
}

/* For people and for `hearth generate`: a PEFT folder.  The row is what
 * counts, so a failure here is not one of the installation. */
static void export_folder(const hearth_personal *p, const hearth_release *m,
                          const hearth_adapter *a) {
    char dir[1024], sub[HEARTH_PROTO_TASK_CAP + 16];
    hearth_peft_info info = {0};
    if (!p->state_dir) return;
    (void)snprintf(sub, sizeof(sub), "adapters/%s", m->task);
    if (hearth_file_join(dir, sizeof(dir), p->state_dir, sub) != HEARTH_OK ||
        hearth_file_mkdirs(dir, NULL) != HEARTH_OK)
        return;
    (void)snprintf(info.base, sizeof(info.base), "%s",
                   p->base_name ? p->base_name : "");
    hearth_hex_encode(info.base_id, m->space.base_digest, 32);
    if (hearth_adapter_save(a, dir, &info, NULL) != HEARTH_OK &&
        hearth_file_remove_tree(dir, NULL) != HEARTH_OK)
        return;
}

hearth_status hearth_personal_install(const hearth_personal *p,
                                      const hearth_release *m,
                                      const uint8_t *manifest,
                                      size_t n_manifest, const uint8_t *payload,
                                      size_t n_payload, int64_t now_ms,
                                      hearth_error *err) {
    hearth_adapter *a = NULL;
    hearth_buf mf = HEARTH_BUF_INIT(p->al), pl = HEARTH_BUF_INIT(p->al);
    hearth_status st = build(&a, p, m, payload, n_payload, err);
    if (st == HEARTH_OK) st = hearth_buf_append(&mf, manifest, n_manifest);
    if (st == HEARTH_OK) st = hearth_buf_append(&pl, payload, n_payload);
    if (st == HEARTH_OK)
        st = hearth_personal_store_put(p->db, m, &mf, &pl, now_ms, err);
    if (st == HEARTH_OK) export_folder(p, m, a);
    hearth_adapter_free(a);
    hearth_buf_free(&mf);
    hearth_buf_free(&pl);
    return st;
}

/* Put the own adapter's values over the release's. */
static hearth_status apply_own(const hearth_personal *p, const char *task,
                               hearth_adapter *a, hearth_error *err) {
    hearth_buf v = HEARTH_BUF_INIT(p->al);
    size_t d = hearth_adapter_dim(a, HEARTH_PART_AB);
    float *flat = NULL;
    hearth_status st = hearth_personal_store_get_own(p->db, task, &v, err);
    if (st != HEARTH_OK) goto done;
    st = HEARTH_EMISMATCH;
    if (v.n != d * 4) goto done;
    st = HEARTH_ENOMEM;
    if (!(flat = hearth_mem_array(p->al, d, sizeof(float)))) goto done;
    for (size_t i = 0; i < d; i++) {
        uint32_t w = hearth_load_le32(v.v + 4 * i);
        memcpy(&flat[i], &w, 4);
    }
    st = hearth_adapter_unflatten(a, HEARTH_PART_AB, flat, d);
done:
    if (flat) hearth_zeroize(flat, d * sizeof(float));
    hearth_mem_free(p->al, flat);
    hearth_buf_free(&v);
    return st;
}

/* Read and verify the installed release. */
static hearth_status open_release(const hearth_personal *p, const char *task,
                                  int64_t now_ms, hearth_release *m,
                                  hearth_buf *payload, hearth_error *err) {
    hearth_buf manifest = HEARTH_BUF_INIT(p->al);
    hearth_status st =
        hearth_personal_store_get(p->db, task, &manifest, payload, err);
    if (st == HEARTH_OK)
        st = hearth_release_open(m, manifest.v, manifest.n, p->keyset,
                                 (uint64_t)now_ms, err);
    if (st == HEARTH_OK && strcmp(m->task, task) != 0)
        st = hearth_error_set(err, HEARTH_EMISMATCH,
                              "the installed release of %s is of another task; "
                              "run `hearth sync`",
                              task);
    hearth_buf_free(&manifest);
    return st;
}

hearth_status hearth_personal_adapter(hearth_adapter **out,
                                      const hearth_personal *p,
                                      const char *task, bool own,
                                      int64_t now_ms, hearth_error *err) {
    hearth_release *m = NULL;
    hearth_buf payload = HEARTH_BUF_INIT(p->al);
    hearth_personal_info info;
    *out = NULL;
    hearth_status st = hearth_personal_info_get(&info, p->db, task, err);
    if (st != HEARTH_OK) return st;
    if (!(m = hearth_mem_new(p->al, sizeof(*m)))) return HEARTH_ENOMEM;
    st = open_release(p, task, now_ms, m, &payload, err);
    if (st == HEARTH_OK) st = build(out, p, m, payload.v, payload.n, err);
    if (st == HEARTH_OK && own && info.has_personal && !info.personal_stale) {
        st = apply_own(p, task, *out, err);
        if (st != HEARTH_OK) {
            hearth_adapter_free(*out);
            *out = NULL;
        }
    }
    hearth_mem_free(p->al, m);
    hearth_buf_free(&payload);
    return st;
}

hearth_status hearth_personal_keep(const hearth_personal *p, const char *task,
                                   const hearth_adapter *a, int64_t now_ms,
                                   hearth_error *err) {
    hearth_personal_info info;
    size_t d = hearth_adapter_dim(a, HEARTH_PART_AB);
    float *flat = NULL;
    uint8_t *bytes = NULL;
    hearth_status st = hearth_personal_info_get(&info, p->db, task, err);
    if (st != HEARTH_OK) return st;
    if (info.sequence == 0)
        return hearth_error_set(err, HEARTH_ENOTFOUND,
                                "nothing is installed for task %s; run `hearth "
                                "sync`",
                                task);
    st = HEARTH_ENOMEM;
    if (!(flat = hearth_mem_array(p->al, d, sizeof(float)))) goto done;
    if (!(bytes = hearth_mem_array(p->al, d, 4))) goto done;
    st = hearth_adapter_flatten(a, HEARTH_PART_AB, flat, d);
    for (size_t i = 0; st == HEARTH_OK && i < d; i++) {
        uint32_t w;
        memcpy(&w, &flat[i], 4);
        hearth_store_le32(bytes + 4 * i, w);
    }
    if (st == HEARTH_OK)
        st = hearth_personal_store_put_own(p->db, task, info.sequence, bytes,
                                           d * 4, now_ms, err);
done:
    if (flat) hearth_zeroize(flat, d * sizeof(float));
    if (bytes) hearth_zeroize(bytes, d * 4);
    hearth_mem_free(p->al, flat);
    hearth_mem_free(p->al, bytes);
    return st;
}

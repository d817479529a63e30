/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/checkpoint.c - layout (common/FORMATS.md, "checkpoint"):
 *
 *   0   8  magic "HEARTHCK"
 *   8   4  version (2)           all integers little-endian
 *  12   4  zero
 *  16   8  n: trained values
 *  24   8  step          32  8  records taken      40  8  micro-batches
 *  48   8  tokens        56  8  optimizer steps
 *  64  32  digest of the run (settings, model, shapes, records)
 *  96   8  best validation loss (f64)             104  8  evaluations since
 * 112   8  1 when the best has been saved, else 0
 * 120  4n  values, then 4n first moments, then 4n second moments (f32)
 *   .  32  SHA-256 of everything before
 *
 * The file is mapped and its digest checked before a single value is used. */
#include "client/train/checkpoint.h"

#include <string.h>

#include "client/train/trainer_private.h"
#include "common/adapter_digest.h"
#include "common/buf.h"
#include "common/bytes.h"
#include "common/file.h"
#include "common/hash.h"

#define MAGIC        "HEARTHCK"
#define VERSION      2u
#define HEADER_BYTES ((size_t)120)
#define DIGEST_BYTES ((size_t)32)

/* Hash every document: tokens, then labels. */
static hearth_status add_records(hearth_sha256_state *h,
                                 const hearth_dataset *ds) {
    hearth_status st = HEARTH_OK;
    size_t n = hearth_dataset_n_docs(ds);
    for (size_t i = 0; i < n && st == HEARTH_OK; i++) {
        hearth_document d = hearth_dataset_doc(ds, i);
        for (size_t k = 0; k < d.n && st == HEARTH_OK; k++) {
            uint8_t b[8];
            hearth_store_le32(b, (uint32_t)d.token[k]);
            hearth_store_le32(b + 4, (uint32_t)d.label[k]);
            st = hearth_sha256_add(h, b, sizeof(b));
        }
        if (st == HEARTH_OK) st = hearth_sha256_add(h, "/", 1);
    }
    return st;
}

/* Settings that change the numbers: floats by their exact value. */
static hearth_status put_settings(hearth_buf *b, const hearth_trainer *t) {
    const hearth_train_config *c = &t->cfg;
    size_t passes = t->plan.choice.micro_batch;
    /* a budget that cuts or joins micro-batches changes the order of sums */
    if (c->pack && passes != c->batch &&
        hearth_buf_printf(b, "passes of %zu ", passes) != HEARTH_OK)
        return HEARTH_ENOMEM;
    if (t->plan.choice.base != HEARTH_BASE_FILE &&
        hearth_buf_printf(b, "base %s ",
                          hearth_base_type_name(t->plan.choice.base)) !=
            HEARTH_OK)
        return HEARTH_ENOMEM;
    return hearth_buf_printf(
        b,
        "mode %d steps %llu records %llu batch %zu accum %zu lr %a schedule "
        "%d warmup %llu decay %a clip %a beta %a %a eps %a dropout %a shuffle "
        "%d pack %d seed %llu reference %d%s\n",
        (int)c->mode, (unsigned long long)t->schedule.total,
        (unsigned long long)t->records_total, c->batch, c->accum, c->lr,
        (int)c->schedule, (unsigned long long)c->warmup, c->weight_decay,
        c->clip_grad, c->beta1, c->beta2, c->eps, c->dropout, c->shuffle,
        c->pack, (unsigned long long)c->seed, c->reference_kernels,
        c->int8   ? " int8"
        : c->bf16 ? " bf16"
                  : "");
}

static hearth_status add_adapter(hearth_sha256_state *h,
                                 const hearth_adapter *a) {
    uint8_t d[32];
    hearth_status st = hearth_adapter_shape_digest(a, d);
    if (st == HEARTH_OK) st = hearth_sha256_add(h, d, sizeof(d));
    if (st != HEARTH_OK || !a->freeze_a) return st;
    st = hearth_adapter_values_digest(a, HEARTH_PART_A, d);
    if (st == HEARTH_OK) st = hearth_sha256_add(h, d, sizeof(d));
    return st;
}

static hearth_status run_digest(const hearth_trainer *t, uint8_t out[32]) {
    hearth_sha256_state h;
    hearth_buf b = HEARTH_BUF_INIT(&t->al);
    hearth_status st = put_settings(&b, t);
    if (st != HEARTH_OK) return st;
    st = hearth_sha256_init(&h);
    if (st == HEARTH_OK) {
        st = hearth_sha256_add(&h, b.v, b.n);
        if (st == HEARTH_OK)
            st = hearth_sha256_add(&h, hearth_model_digest(t->model), 32);
        if (st == HEARTH_OK && t->adapter) st = add_adapter(&h, t->adapter);
        if (st == HEARTH_OK) st = add_records(&h, t->ds);
        if (st == HEARTH_OK) st = hearth_sha256_finish(&h, out);
        hearth_sha256_free(&h);
    }
    hearth_buf_free(&b);
    return st;
}

static void put_header(uint8_t h[HEADER_BYTES], const hearth_trainer *t,
                       const uint8_t digest[32]) {
    memset(h, 0, HEADER_BYTES);
    memcpy(h, MAGIC, 8);
    hearth_store_le32(h + 8, VERSION);
    hearth_store_le64(h + 16, t->opt.n);
    hearth_store_le64(h + 24, t->step);
    hearth_store_le64(h + 32, hearth_batcher_cursor(t->batcher));
    hearth_store_le64(h + 40, t->micro);
    hearth_store_le64(h + 48, t->total_tokens);
    hearth_store_le64(h + 56, t->opt.t);
    memcpy(h + 64, digest, 32);
    uint64_t best;
    memcpy(&best, &t->memo.best_loss, sizeof(best));
    hearth_store_le64(h + 96, best);
    hearth_store_le64(h + 104, t->memo.bad_evals);
    hearth_store_le64(h + 112, t->memo.has_best);
}

/* Bytes to the file and to the digest over it. */
static hearth_status put(hearth_file_writer *w, hearth_sha256_state *h,
                         const void *p, size_t n, hearth_error *err) {
    hearth_status st = hearth_sha256_add(h, p, n);
    return st == HEARTH_OK ? hearth_file_writer_put(w, p, n, err) : st;
}

static hearth_status put_floats(hearth_file_writer *w, hearth_sha256_state *h,
                                const float *v, size_t n, hearth_error *err) {
    uint8_t block[2048];
    hearth_status st = HEARTH_OK;
    for (size_t i = 0; i < n && st == HEARTH_OK;) {
        size_t m = 0;
        for (; m < sizeof(block) && i < n; m += 4, i++) {
            uint32_t u;
            memcpy(&u, &v[i], 4);
            hearth_store_le32(block + m, u);
        }
        st = put(w, h, block, m, err);
    }
    return st;
}

static hearth_status put_body(hearth_file_writer *w, hearth_sha256_state *h,
                              const hearth_trainer *t, hearth_error *err) {
    hearth_status st = HEARTH_OK;
    for (size_t i = 0; i < t->params->n_params && st == HEARTH_OK; i++)
        st = put_floats(w, h, t->span[i].value, t->span[i].n, err);
    if (st == HEARTH_OK) st = put_floats(w, h, t->opt.m, t->opt.n, err);
    if (st == HEARTH_OK) st = put_floats(w, h, t->opt.v, t->opt.n, err);
    return st;
}

hearth_status hearth_checkpoint_save(const hearth_trainer *t, const char *path,
                                     hearth_error *err) {
    hearth_file_writer w = {0};
    hearth_sha256_state h;
    uint8_t head[HEADER_BYTES], digest[32];
    if (!t || !path) return HEARTH_EINVAL;
    if (t->step_records != 0 || t->failed)
        return hearth_error_set(err, HEARTH_ESTATE,
                                "a checkpoint is written between steps only");
    hearth_status st = run_digest(t, digest);
    if (st != HEARTH_OK) return hearth_error_set(err, st, "cannot hash");
    put_header(head, t, digest);
    if ((st = hearth_sha256_init(&h)) != HEARTH_OK)
        return hearth_error_set(err, st, "cannot hash");
    st = hearth_file_writer_open(&w, path, 0600, err);
    if (st == HEARTH_OK) st = put(&w, &h, head, sizeof(head), err);
    if (st == HEARTH_OK) st = put_body(&w, &h, t, err);
    if (st == HEARTH_OK) st = hearth_sha256_finish(&h, digest);
    if (st == HEARTH_OK)
        st = hearth_file_writer_put(&w, digest, sizeof(digest), err);
    if (st == HEARTH_OK) st = hearth_file_writer_commit(&w, err);
    hearth_file_writer_abort(&w);
    hearth_sha256_free(&h);
    return st;
}

static hearth_status check_file(const hearth_trainer *t, const hearth_file *f,
                                const char *path, hearth_error *err) {
    uint8_t digest[32];
    if (f->n < HEADER_BYTES + DIGEST_BYTES || memcmp(f->v, MAGIC, 8) != 0)
        return hearth_error_set(err, HEARTH_EFORMAT,
                                "%s: not a checkpoint; start without --resume",
                                path);
    if (hearth_load_le32(f->v + 8) != VERSION)
        return hearth_error_set(err, HEARTH_EVERSION,
                                "%s: checkpoint version %lu; use the build "
                                "that wrote it",
                                path,
                                (unsigned long)hearth_load_le32(f->v + 8));
    hearth_status st = hearth_sha256(digest, f->v, f->n - DIGEST_BYTES);
    if (st != HEARTH_OK) return hearth_error_set(err, st, "cannot hash");
    if (memcmp(digest, f->v + f->n - DIGEST_BYTES, DIGEST_BYTES) != 0)
        return hearth_error_set(err, HEARTH_EDIGEST,
                                "%s: damaged or cut short; start without "
                                "--resume",
                                path);
    if ((st = run_digest(t, digest)) != HEARTH_OK)
        return hearth_error_set(err, st, "cannot hash");
    if (hearth_load_le64(f->v + 16) != t->opt.n ||
        f->n != HEADER_BYTES + 12 * t->opt.n + DIGEST_BYTES ||
        memcmp(digest, f->v + 64, 32) != 0 ||
        hearth_load_le64(f->v + 24) > t->schedule.total)
        return hearth_error_set(err, HEARTH_EMISMATCH,
                                "%s: of a run with another model, records or "
                                "settings; give the same flags, or start "
                                "without --resume",
                                path);
    return HEARTH_OK;
}

static const uint8_t *get_floats(const uint8_t *p, float *v, size_t n) {
    for (size_t i = 0; i < n; i++, p += 4) {
        uint32_t u = hearth_load_le32(p);
        memcpy(&v[i], &u, 4);
    }
    return p;
}

hearth_status hearth_checkpoint_load(hearth_trainer *t, const char *path,
                                     hearth_error *err) {
    hearth_file f = HEARTH_FILE_INIT;
    if (!t || !path) return HEARTH_EINVAL;
    if (t->micro != 0)
        return hearth_error_set(err, HEARTH_ESTATE,
                                "a checkpoint is loaded before training only");
    hearth_status st = hearth_file_map(&f, path, err);
    if (st != HEARTH_OK) return st;
    st = check_file(t, &f, path, err);
    if (st == HEARTH_OK) {
        const uint8_t *p = f.v + HEADER_BYTES;
        for (size_t i = 0; i < t->params->n_params; i++)
            p = get_floats(p, t->span[i].value, t->span[i].n);
        p = get_floats(p, t->opt.m, t->opt.n);
        (void)get_floats(p, t->opt.v, t->opt.n);
        t->step = hearth_load_le64(f.v + 24);
        hearth_batcher_seek(t->batcher, hearth_load_le64(f.v + 32));
        t->micro = hearth_load_le64(f.v + 40);
        t->total_tokens = hearth_load_le64(f.v + 48);
        t->opt.t = hearth_load_le64(f.v + 56);
        uint64_t best = hearth_load_le64(f.v + 96);
        memcpy(&t->memo.best_loss, &best, sizeof(best));
        t->memo.bad_evals = hearth_load_le64(f.v + 104);
        t->memo.has_best = hearth_load_le64(f.v + 112) == 1;
        if (t->adapter && !t->adapter->freeze_a && t->step)
            t->adapter->has_a_seed = false;
    }
    hearth_file_unmap(&f);
    return st;
}

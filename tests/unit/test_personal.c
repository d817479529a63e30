/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_personal.c - client/personal/{personal,space}.h and
 * client/net/download.h. */
#include "tests/support/fake_coord.h"

#include "client/net/download.h"
#include "client/net/piece_store.h"
#include "client/personal/personal.h"
#include "client/personal/personal_store.h"
#include "client/personal/space.h"
#include "common/adapter_peft.h"
#include "common/file.h"
#include "common/hash.h"
#include "tests/support/fail_alloc.h"

typedef struct {
    fake_coord f;
    hearth_db *db;
    hearth_transport tr;
    uint8_t tmpl[32];
    hearth_personal p;
    hearth_download d;
    hearth_reply_info info;
    hearth_error err;
    char dir[64];
} world;

static void open_world(world *w) {
    fake_coord *f = &w->f;
    fake_coord_open(f);
    assert_ok(hearth_db_open(&w->db, ":memory:", NULL, NULL));
    assert_ok(hearth_personal_store_init(w->db, NULL));
    assert_ok(hearth_piece_store_init(w->db, NULL));
    w->tr = fake_coord_transport(f);
    memcpy(w->tmpl, f->offer.space.template_digest, 32);
    w->p = (hearth_personal){w->db,    NULL,
                             "base",   &f->keyset,
                             f->model, hearth_tokenizer_digest(f->tokenizer),
                             w->tmpl,  NULL};
    w->d = (hearth_download){.tr = &w->tr,
                             .db = w->db,
                             .cookie = "c1",
                             .task = FAKE_TASK,
                             .sequence = 1,
                             .keyset = &f->keyset,
                             .now_ms = FAKE_NOW};
}

static void close_world(world *w) {
    hearth_db_close(w->db);
    fake_coord_close(&w->f);
}

static hearth_status install(world *w) {
    fake_coord *f = &w->f;
    return hearth_personal_install(
        &w->p, &f->release, f->manifest.v, f->manifest.n, f->content,
        (size_t)f->release.content_bytes, FAKE_NOW, &w->err);
}

static void personal_installs_and_reads_back(void **state) {
    (void)state;
    world w;
    hearth_personal_info info;
    hearth_adapter *a = NULL;
    char task[HEARTH_PROTO_TASK_CAP], path[160];
    hearth_checkin_task list[4];
    uint32_t n = 9;
    open_world(&w);
    assert_ok(hearth_personal_newest(task, w.db, &w.err));
    assert_string_equal(task, "");
    assert_int_equal(
        hearth_personal_adapter(&a, &w.p, FAKE_TASK, true, 0, &w.err),
        HEARTH_ENOTFOUND);
    assert_non_null(hearth_test_dir(w.dir));
    w.p.state_dir = w.dir;
    fake_coord_publish(&w.f, 3, 0.25f);
    assert_ok(install(&w));
    assert_ok(hearth_personal_info_get(&info, w.db, FAKE_TASK, &w.err));
    assert_int_equal(info.sequence, 3);
    assert_int_equal(info.installed_ms, FAKE_NOW);
    assert_memory_equal(info.digest, w.f.release.content_sha256, 32);
    assert_ok(hearth_personal_newest(task, w.db, &w.err));
    assert_string_equal(task, FAKE_TASK);
    assert_ok(hearth_personal_store_list(w.db, list, 4, &n, &w.err));
    assert_int_equal(n, 1);
    assert_int_equal(list[0].have_sequence, 3);
    assert_memory_equal(list[0].space_digest, w.f.offer.space.space_digest, 32);
    assert_ok(hearth_personal_adapter(&a, &w.p, FAKE_TASK, true, 0, &w.err));
    assert_float_equal(a->pair[0].b[3], 0.75f, 0);
    hearth_adapter_free(a);
    /* The folder for people, and the row does not need it. */
    (void)snprintf(path, sizeof(path), "%s/adapters/" FAKE_TASK, w.dir);
    size_t m;
    const hearth_module_info *mod = hearth_model_modules(w.f.model, &m);
    assert_ok(hearth_adapter_load(&a, path, mod, m, NULL, NULL, &w.err));
    assert_float_equal(a->pair[0].b[3], 0.75f, 0);
    hearth_adapter_free(a);
    assert_ok(hearth_file_remove_tree(w.dir, NULL));
    assert_ok(hearth_personal_adapter(&a, &w.p, FAKE_TASK, true, 0, &w.err));
    hearth_adapter_free(a);
    close_world(&w);
}

static void personal_refuses_what_is_not_right(void **state) {
    (void)state;
    world w;
    hearth_personal_info info;
    open_world(&w);
    /* Content other than signed. */
    w.f.content[0] ^= 1;
    assert_int_equal(install(&w), HEARTH_EDIGEST);
    w.f.content[0] ^= 1;
    /* Another base, tokenizer, template: both sides are named. */
    uint8_t *digest[] = {w.f.release.space.base_digest,
                         w.f.release.space.tokenizer_digest,
                         w.f.release.space.template_digest};
    const char *word[] = {"base model", "tokenizer", "chat template"};
    for (int k = 0; k < 3; k++) {
        digest[k][0] ^= 1;
        assert_int_equal(install(&w), HEARTH_EMISMATCH);
        assert_non_null(strstr(w.err.text, word[k]));
        assert_non_null(strstr(w.err.text, "hearth init --base"));
        digest[k][0] ^= 1;
    }
    /* Numbers that do not give their digests; too many bytes; a NaN. */
    w.f.release.space.rank = 2;
    assert_int_equal(install(&w), HEARTH_EDIGEST);
    w.f.release.space.rank = 1;
    w.f.release.space.rule = 77;
    assert_int_equal(install(&w), HEARTH_EUNSUPPORTED);
    w.f.release.space.rule = HEARTH_RULE_FFA;
    w.f.release.content_bytes -= 4;
    assert_ok(hearth_sha256(w.f.release.content_sha256, w.f.content,
                            (size_t)w.f.release.content_bytes));
    assert_int_equal(install(&w), HEARTH_EFORMAT);
    fake_coord_publish(&w.f, 1, 0.0f);
    memset(w.f.content, 0xff, 4);
    assert_ok(hearth_sha256(w.f.release.content_sha256, w.f.content,
                            (size_t)w.f.release.content_bytes));
    assert_int_equal(install(&w), HEARTH_EFORMAT);
    assert_ok(hearth_personal_info_get(&info, w.db, FAKE_TASK, &w.err));
    assert_int_equal(info.sequence, 0);
    /* A lower sequence. */
    fake_coord_publish(&w.f, 4, 0.1f);
    assert_ok(install(&w));
    fake_coord_publish(&w.f, 3, 0.2f);
    assert_int_equal(install(&w), HEARTH_EREPLAY);
    close_world(&w);
}

static void personal_verifies_again_when_it_is_read(void **state) {
    (void)state;
    world w;
    hearth_adapter *a = NULL;
    open_world(&w);
    assert_ok(install(&w));
    assert_ok(hearth_db_exec(w.db,
                             "UPDATE personal_release SET payload ="
                             " zeroblob(length(payload) - 4) || x'01020304'",
                             &w.err));
    assert_int_equal(
        hearth_personal_adapter(&a, &w.p, FAKE_TASK, true, 0, &w.err),
        HEARTH_EDIGEST);
    assert_ok(install(&w)); /* the same sequence again: repaired */
    assert_ok(hearth_personal_adapter(&a, &w.p, FAKE_TASK, true, 0, &w.err));
    hearth_adapter_free(a);
    w.f.keyset.release_keys[0][9] ^= 1; /* the key was withdrawn */
    assert_int_equal(
        hearth_personal_adapter(&a, &w.p, FAKE_TASK, true, 0, &w.err),
        HEARTH_ESIGNATURE);
    w.f.keyset.release_keys[0][9] ^= 1;
    /* Expired: no round starts from it, but a person may chat. */
    int64_t late = (int64_t)w.f.release.expires_ms;
    assert_int_equal(
        hearth_personal_adapter(&a, &w.p, FAKE_TASK, true, late, &w.err),
        HEARTH_EEXPIRED);
    assert_ok(hearth_personal_adapter(&a, &w.p, FAKE_TASK, true, 0, &w.err));
    hearth_adapter_free(a);
    assert_ok(
        hearth_db_exec(w.db, "UPDATE personal_release SET task = 'x'", &w.err));
    assert_int_equal(hearth_personal_adapter(&a, &w.p, "x", true, 0, &w.err),
                     HEARTH_EMISMATCH);
    close_world(&w);
}

static void personal_keeps_and_forgets_an_own_adapter(void **state) {
    (void)state;
    world w;
    hearth_adapter *a = NULL, *b = NULL;
    hearth_personal_info info;
    open_world(&w);
    assert_ok(install(&w));
    assert_ok(hearth_personal_adapter(&a, &w.p, FAKE_TASK, false, 0, &w.err));
    a->pair[0].b[1] = 0.5f;
    assert_int_equal(hearth_personal_keep(&w.p, "x", a, FAKE_NOW, &w.err),
                     HEARTH_ENOTFOUND);
    assert_ok(hearth_personal_keep(&w.p, FAKE_TASK, a, FAKE_NOW, &w.err));
    assert_ok(hearth_personal_adapter(&b, &w.p, FAKE_TASK, true, 0, &w.err));
    assert_float_equal(b->pair[0].b[1], 0.5f, 0);
    hearth_adapter_free(b);
    assert_ok(hearth_personal_adapter(&b, &w.p, FAKE_TASK, false, 0, &w.err));
    assert_float_equal(b->pair[0].b[1], 0.0f, 0);
    hearth_adapter_free(b);
    assert_ok(hearth_personal_forget(w.db, &w.err));
    assert_ok(hearth_personal_info_get(&info, w.db, FAKE_TASK, &w.err));
    assert_true(info.personal_stale && !info.has_personal);
    assert_ok(hearth_personal_adapter(&b, &w.p, FAKE_TASK, true, 0, &w.err));
    assert_float_equal(b->pair[0].b[1], 0.0f, 0);
    hearth_adapter_free(b);
    assert_ok(hearth_personal_keep(&w.p, FAKE_TASK, a, FAKE_NOW, &w.err));
    assert_ok(hearth_personal_info_get(&info, w.db, FAKE_TASK, &w.err));
    assert_true(!info.personal_stale && info.has_personal);
    hearth_adapter_free(a);
    close_world(&w);
}

static void space_checks_the_payload(void **state) {
    (void)state;
    world w;
    hearth_adapter *a = NULL;
    open_world(&w);
    hearth_wire_space *s = &w.f.offer.space;
    hearth_wire_privacy p = w.f.offer.privacy;
    hearth_space_local local = {w.f.model, NULL,
                                hearth_tokenizer_digest(w.f.tokenizer), w.tmpl};
    assert_ok(hearth_space_adapter(&a, s, &local, NULL, &w.err));
    assert_true(a->freeze_a && a->has_a_seed);
    assert_ok(hearth_space_check_payload(a, s, &p, &w.err));
    p.scale_exp++;
    assert_int_equal(hearth_space_check_payload(a, s, &p, &w.err),
                     HEARTH_EDIGEST);
    p.scale_exp = 63;
    assert_int_equal(hearth_space_check_payload(a, s, &p, &w.err),
                     HEARTH_EDIGEST);
    p = w.f.offer.privacy;
    p.d++;
    assert_int_equal(hearth_space_check_payload(a, s, &p, &w.err),
                     HEARTH_EDIGEST);
    p = w.f.offer.privacy;
    p.bound_squared++;
    assert_int_equal(hearth_space_check_payload(a, s, &p, &w.err),
                     HEARTH_EDIGEST);
    p.n_coords = 2;
    assert_int_equal(hearth_space_check_payload(a, s, &p, &w.err),
                     HEARTH_EUNSUPPORTED);
    hearth_adapter_free(a);
    memset(s->template_digest, 0, 32); /* "no template" fits any, */
    assert_int_equal(hearth_space_adapter(&a, s, &local, NULL, &w.err),
                     HEARTH_EDIGEST); /* but it is another space */
    s->rank = 5000;
    assert_int_equal(hearth_space_adapter(&a, s, &local, NULL, &w.err),
                     HEARTH_ETOOBIG);
    assert_null(a);
    close_world(&w);
}

/* ---- download ---- */

static void download_resumes_from_stored_pieces(void **state) {
    (void)state;
    world w;
    hearth_buf manifest = HEARTH_BUF_INIT(NULL), all = HEARTH_BUF_INIT(NULL);
    hearth_release m;
    bool done = false;
    open_world(&w);
    fake_coord_publish(&w.f, 1, 0.5f);
    assert_ok(
        hearth_download_manifest(&w.d, NULL, &manifest, &m, &w.info, &w.err));
    assert_ok(hearth_download_piece(&w.d, &m, &done, &w.info, &w.err));
    assert_false(done);
    w.f.drop[FAKE_PAYLOAD] = 1;
    assert_int_equal(hearth_download_piece(&w.d, &m, &done, &w.info, &w.err),
                     HEARTH_ENET);
    uint64_t have = 0;
    assert_ok(hearth_piece_store_have(w.db, FAKE_TASK, m.content_sha256, &have,
                                      &w.err));
    assert_int_equal(have, 16);
    while (!done)
        assert_ok(hearth_download_piece(&w.d, &m, &done, &w.info, &w.err));
    assert_int_equal(w.f.n[FAKE_PAYLOAD], (m.content_bytes + 15) / 16 + 1);
    uint32_t asked = w.f.n[FAKE_PAYLOAD];
    assert_ok(hearth_download_piece(&w.d, &m, &done, &w.info, &w.err));
    assert_true(done);
    assert_int_equal(w.f.n[FAKE_PAYLOAD], asked); /* nothing was missing */
    assert_ok(hearth_download_finish(&w.d, &m, &all, &w.err));
    assert_memory_equal(all.v, w.f.content, all.n);
    hearth_buf_free(&all);
    /* A server without ranges starts over. */
    assert_ok(hearth_download_drop(w.db, FAKE_TASK, &w.err));
    assert_ok(hearth_download_piece(&w.d, &m, &done, &w.info, &w.err));
    w.f.no_range = true;
    assert_ok(hearth_download_piece(&w.d, &m, &done, &w.info, &w.err));
    assert_true(done);
    assert_ok(hearth_download_finish(&w.d, &m, &all, &w.err));
    hearth_buf_free(&all);
    hearth_buf_free(&manifest);
    close_world(&w);
}

static void download_refuses_bad_replies(void **state) {
    (void)state;
    world w;
    hearth_buf manifest = HEARTH_BUF_INIT(NULL), all = HEARTH_BUF_INIT(NULL);
    hearth_release m;
    bool done = false;
    uint8_t digest[32] = {1};
    open_world(&w);
    assert_int_equal(
        hearth_download_manifest(&w.d, digest, &manifest, &m, &w.info, &w.err),
        HEARTH_EDIGEST);
    w.d.sequence = 2;
    assert_int_equal(
        hearth_download_manifest(&w.d, NULL, &manifest, &m, &w.info, &w.err),
        HEARTH_EREPLAY);
    w.d.sequence = 1;
    w.d.have_sequence = 2;
    assert_int_equal(
        hearth_download_manifest(&w.d, NULL, &manifest, &m, &w.info, &w.err),
        HEARTH_EREPLAY);
    w.d.have_sequence = 0;
    w.d.task = "../x";
    assert_int_equal(
        hearth_download_manifest(&w.d, NULL, &manifest, &m, &w.info, &w.err),
        HEARTH_EINVAL);
    w.d.task = FAKE_TASK;
    w.d.cookie = "c9";
    assert_int_equal(
        hearth_download_manifest(&w.d, NULL, &manifest, &m, &w.info, &w.err),
        HEARTH_EAUTH);
    w.d.cookie = "c1";
    w.f.release.content_bytes = HEARTH_DOWNLOAD_MAX_PAYLOAD + 4;
    w.f.release.privacy.d = w.f.release.content_bytes / 4;
    fake_coord_seal_release(&w.f);
    assert_int_equal(
        hearth_download_manifest(&w.d, NULL, &manifest, &m, &w.info, &w.err),
        HEARTH_ETOOBIG);
    fake_coord_publish(&w.f, 1, 0.1f);
    fake_coord_offer(&w.f, 1);
    fake_coord_seal_release(&w.f);
    assert_ok(
        hearth_download_manifest(&w.d, NULL, &manifest, &m, &w.info, &w.err));
    w.f.garbage[FAKE_PAYLOAD] = 1; /* 200 with five bytes: taken, then wrong */
    assert_ok(hearth_download_piece(&w.d, &m, &done, &w.info, &w.err));
    w.f.flip_payload = 1;
    while (!done)
        assert_ok(hearth_download_piece(&w.d, &m, &done, &w.info, &w.err));
    assert_int_equal(hearth_download_finish(&w.d, &m, &all, &w.err),
                     HEARTH_EDIGEST);
    assert_null(all.v);
    uint64_t have = 9;
    assert_ok(hearth_piece_store_have(w.db, FAKE_TASK, m.content_sha256, &have,
                                      &w.err));
    assert_int_equal(have, 0); /* dropped */
    assert_int_equal(hearth_piece_store_add(w.db, FAKE_TASK, m.content_sha256,
                                            5, digest, 4, &w.err),
                     HEARTH_ESTATE);
    hearth_buf_free(&manifest);
    close_world(&w);
}

static void personal_survives_running_out_of_memory(void **state) {
    (void)state;
    for (size_t k = 1; k < 300; k++) {
        world w;
        hearth_fail_alloc fa;
        hearth_alloc al = hearth_fail_alloc_init(&fa, k);
        hearth_adapter *a = NULL;
        open_world(&w);
        w.p.al = &al;
        hearth_status st = install(&w);
        if (st == HEARTH_OK)
            st = hearth_personal_adapter(&a, &w.p, FAKE_TASK, true, 0, &w.err);
        if (st == HEARTH_OK)
            st = hearth_personal_keep(&w.p, FAKE_TASK, a, FAKE_NOW, &w.err);
        hearth_adapter_free(a);
        assert_int_equal(fa.live, 0);
        close_world(&w);
        if (st == HEARTH_OK) return;
        assert_int_equal(st, HEARTH_ENOMEM);
    }
    fail();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(personal_installs_and_reads_back),
        cmocka_unit_test(personal_refuses_what_is_not_right),
        cmocka_unit_test(personal_verifies_again_when_it_is_read),
        cmocka_unit_test(personal_keeps_and_forgets_an_own_adapter),
        cmocka_unit_test(space_checks_the_payload),
        cmocka_unit_test(download_resumes_from_stored_pieces),
        cmocka_unit_test(download_refuses_bad_replies),
        cmocka_unit_test(personal_survives_running_out_of_memory),
    };
    return cmocka_run_group_tests_name("client/personal", tests, NULL, NULL);
}

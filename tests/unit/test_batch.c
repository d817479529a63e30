/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_batch.c - client/train/batch.h */
#include "client/train/batch.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/fail_alloc.h"

#define N_DOCS 7

/* Document k has k + 2 tokens, all of value k; document 3 supervises none. */
static hearth_dataset *make(void) {
    hearth_dataset_config cfg = HEARTH_DATASET_CONFIG_INIT;
    hearth_dataset *ds = NULL;
    assert_ok(hearth_dataset_new(&ds, &cfg, NULL, NULL));
    for (int32_t k = 0; k < N_DOCS; k++) {
        int32_t token[16], label[16];
        size_t n = (size_t)k + 2;
        for (size_t i = 0; i < n; i++) {
            token[i] = k;
            label[i] = i + 1 < n && k != 3 ? k : -1;
        }
        assert_ok(hearth_dataset_add_tokens(ds, token, label, n, NULL));
    }
    return ds;
}

static void batch_visits_every_record_once_an_epoch(void **state) {
    (void)state;
    hearth_dataset *ds = make();
    hearth_batch_config cfg = {2, 11, true, true};
    hearth_batcher *b = NULL;
    hearth_micro_batch mb;
    unsigned seen[3][N_DOCS] = {{0}};
    uint32_t order[3][6], at[3] = {0};
    assert_ok(hearth_batcher_open(&b, ds, &cfg, NULL, NULL));
    assert_int_equal(hearth_batcher_n_records(b), 6);
    for (int i = 0; i < 9; i++) {
        hearth_batcher_next(b, 99, &mb);
        assert_int_equal(mb.stream.n_docs, 2);
        assert_int_equal(mb.first, 2 * i);
        for (size_t d = 0; d < 2; d++) {
            uint64_t epoch = (mb.first + d) / 6;
            seen[epoch][mb.record[d]]++;
            order[epoch][at[epoch]++] = mb.record[d];
        }
    }
    for (int e = 0; e < 3; e++)
        for (int k = 0; k < N_DOCS; k++)
            assert_int_equal(seen[e][k], k == 3 ? 0 : 1);
    assert_memory_not_equal(order[0], order[1], sizeof(order[0]));
    hearth_batcher_close(b);
    hearth_dataset_free(ds);
}

static void batch_lays_records_end_to_end(void **state) {
    (void)state;
    hearth_dataset *ds = make();
    hearth_batch_config cfg = {4, 1, false, true};
    hearth_batcher *b = NULL;
    hearth_micro_batch mb;
    assert_ok(hearth_batcher_open(&b, ds, &cfg, NULL, NULL));
    hearth_batcher_next(b, 4, &mb); /* documents 0 1 2 4 */
    const hearth_stream *s = &mb.stream;
    assert_int_equal(s->n, 2 + 3 + 4 + 6);
    for (size_t d = 0; d < 4; d++) {
        uint32_t k = d < 3 ? (uint32_t)d : 4;
        assert_int_equal(mb.record[d], k);
        assert_int_equal(s->doc_start[d + 1] - s->doc_start[d], k + 2);
        for (uint32_t i = s->doc_start[d]; i < s->doc_start[d + 1]; i++) {
            assert_int_equal(s->position[i], i - s->doc_start[d]);
            assert_int_equal(s->token[i], k);
            assert_int_equal(s->label[i],
                             i + 1 < s->doc_start[d + 1] ? (int)k : -1);
        }
    }
    assert_int_equal(s->doc_start[4], s->n);
    hearth_batcher_next(b, 1, &mb);
    assert_true(mb.stream.n_docs == 1 && mb.record[0] == 5);
    hearth_batcher_close(b);
    hearth_dataset_free(ds);
}

static void batch_without_packing_is_one_record(void **state) {
    (void)state;
    hearth_dataset *ds = make();
    hearth_batch_config cfg = {4, 1, false, false};
    hearth_batcher *b = NULL;
    hearth_micro_batch mb;
    assert_int_equal(hearth_batch_max_tokens(ds, &cfg), N_DOCS + 1);
    cfg.pack = true;
    assert_int_equal(hearth_batch_max_tokens(ds, &cfg), 4 * (N_DOCS + 1));
    cfg.pack = false;
    assert_ok(hearth_batcher_open(&b, ds, &cfg, NULL, NULL));
    hearth_batcher_next(b, 4, &mb);
    assert_int_equal(mb.stream.n_docs, 1);
    hearth_batcher_close(b);
    hearth_dataset_free(ds);
}

static void batch_seek_goes_on_with_the_same_records(void **state) {
    (void)state;
    hearth_dataset *ds = make();
    hearth_batch_config cfg = {3, 5, true, true};
    hearth_batcher *b = NULL;
    hearth_micro_batch mb;
    uint32_t want[30];
    assert_ok(hearth_batcher_open(&b, ds, &cfg, NULL, NULL));
    for (size_t i = 0; i < 10; i++) {
        hearth_batcher_next(b, 3, &mb);
        memcpy(want + 3 * i, mb.record, 3 * sizeof(*want));
    }
    assert_int_equal(hearth_batcher_cursor(b), 30);
    for (uint64_t c = 27; c > 3; c -= 4) {
        hearth_batcher_seek(b, c);
        hearth_batcher_next(b, 3, &mb);
        assert_memory_equal(mb.record, want + c, 3 * sizeof(*want));
    }
    hearth_batcher_close(b);
    hearth_dataset_free(ds);
}

static void batch_refuses_and_survives(void **state) {
    (void)state;
    hearth_dataset_config dc = HEARTH_DATASET_CONFIG_INIT;
    hearth_dataset *ds = NULL;
    hearth_batcher *b = NULL;
    hearth_error err;
    hearth_batch_config cfg = {0, 1, true, true};
    int32_t token[2] = {1, 2}, label[2] = {-1, -1};
    assert_ok(hearth_dataset_new(&ds, &dc, NULL, NULL));
    assert_ok(hearth_dataset_add_tokens(ds, token, label, 2, NULL));
    assert_int_equal(hearth_batcher_open(&b, ds, &cfg, NULL, &err),
                     HEARTH_EINVAL);
    cfg.batch = 1;
    assert_int_equal(hearth_batcher_open(&b, ds, &cfg, NULL, &err),
                     HEARTH_EINVAL);
    assert_non_null(strstr(err.text, "--loss-on all"));
    hearth_dataset_free(ds);
    ds = make();
    for (size_t k = 1;; k++) {
        hearth_fail_alloc fa;
        hearth_alloc al = hearth_fail_alloc_init(&fa, k);
        hearth_status st = hearth_batcher_open(&b, ds, &cfg, &al, NULL);
        hearth_batcher_close(b);
        assert_int_equal(fa.live, 0);
        if (st == HEARTH_OK) break;
        assert_int_equal(st, HEARTH_ENOMEM);
    }
    hearth_dataset_free(ds);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batch_visits_every_record_once_an_epoch),
        cmocka_unit_test(batch_lays_records_end_to_end),
        cmocka_unit_test(batch_without_packing_is_one_record),
        cmocka_unit_test(batch_seek_goes_on_with_the_same_records),
        cmocka_unit_test(batch_refuses_and_survives),
    };
    return cmocka_run_group_tests_name("train/batch", tests, NULL, NULL);
}

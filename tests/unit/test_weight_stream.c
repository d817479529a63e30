/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_weight_stream.c - client/train/weight_stream.h: the same
 * gradients as mapped weights, and what happens when the file fails. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/model/model_convert.h"
#include "client/train/decoder_private.h"
#include "client/train/weight_stream.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/model_fixture.h"

static const uint32_t lengths[] = {9, 1, 14};
#define N_DOCS 3
#define VOCAB  67

typedef struct {
    float *grad;
    size_t n;
    hearth_loss loss;
    uint64_t bytes_read;
} result;

/* Two passes, so that the second finds the buffers as the first left them;
 * gradients of both together. */
static result gradient(const hearth_model *m, hearth_adapter *a, bool streamed,
                       bool recompute, size_t threads) {
    tiny_stream ts;
    tiny_engine e;
    result r;
    hearth_pool *pool = NULL;
    hearth_weight_stream *ws = NULL;
    hearth_dropout drop = {0.25f, 3, 1, 40};
    tiny_stream_make(&ts, lengths, N_DOCS, VOCAB, 2);
    assert_ok(hearth_pool_open(&pool, threads, NULL, NULL));
    if (streamed)
        assert_ok(hearth_weight_stream_open(&ws, m, threads, NULL, NULL));
    hearth_decoder_shape shape = {.model = m,
                                  .adapter = a,
                                  .mode = HEARTH_DECODER_LORA,
                                  .recompute = recompute ? 2 : 0,
                                  .dropout = true,
                                  .stream = ws};
    tiny_engine_open(&e, shape, pool, hearth_kernels_default());
    hearth_decoder_zero_grad(e.dec);
    for (int pass = 0; pass < 2; pass++) {
        drop.step = (uint32_t)pass;
        assert_ok(hearth_decoder_grad(e.dec, &ts.stream, &drop, &r.loss, NULL));
    }
    const hearth_params *p = hearth_decoder_params(e.dec);
    r.n = p->n_elements;
    r.grad = malloc(r.n * sizeof(*r.grad));
    assert_non_null(r.grad);
    memcpy(r.grad, p->param[0].grad, r.n * sizeof(*r.grad));
    r.bytes_read = ws ? hearth_weight_stream_bytes_read(ws) : 0;
    tiny_engine_close(&e);
    hearth_weight_stream_close(ws);
    hearth_pool_close(pool);
    return r;
}

/* Mapped on one thread against streamed on 1, 2, 3. */
static void compare(const char *name, const hearth_model *m,
                    hearth_adapter *a) {
    result want = gradient(m, a, false, false, 1);
    for (size_t run = 0; run < 4; run++) {
        result got = gradient(m, a, true, run == 3, 1 + run % 3);
        if (memcmp(got.grad, want.grad, want.n * sizeof(*want.grad)) != 0 ||
            memcmp(&got.loss, &want.loss, sizeof(want.loss)) != 0)
            fail_msg("%s: streamed differs, run %zu", name, run);
        assert_true(got.bytes_read > 0);
        free(got.grad);
    }
    free(want.grad);
}

static hearth_adapter *adapter_for(const hearth_model *m, uint32_t last) {
    hearth_lora_spec spec = {2,    4.0f,  hearth_model_targets(m),
                             last, false, false};
    return tiny_adapter(m, &spec, 4);
}

static void stream_gives_the_bytes_of_mapped_for_every_family(void **state) {
    (void)state;
    for (size_t i = 0; i < TINY_FAMILIES; i++) {
        char dir[64];
        hearth_model *m = tiny_model_of(tiny_family[i].config, 9, dir);
        hearth_adapter *a = adapter_for(m, 0);
        compare(tiny_family[i].name, m, a);
        hearth_adapter_free(a);
        tiny_drop(m, dir);
    }
}

static void stream_gives_the_bytes_of_mapped_for_gguf(void **state) {
    static const hearth_quant_type types[] = {
        HEARTH_QUANT_F32, HEARTH_QUANT_BF16, HEARTH_QUANT_Q8_0,
        HEARTH_QUANT_Q4_0};
    (void)state;
    for (size_t i = 0; i < TINY_FAMILIES + 4; i++) {
        char dir[64], path[128];
        hearth_model *g = NULL;
        tiny_spec spec = {VOCAB, 64, 96, 5, 4, 2, 16, i % 2 == 0, 0.3};
        hearth_quant_type type = types[i % 4];
        hearth_model *m = i < TINY_FAMILIES
                              ? tiny_model_of(tiny_family[i].config, 9, dir)
                              : tiny_model(&spec, 9, dir);
        (void)snprintf(path, sizeof(path), "%.63s/m.gguf", dir);
        if (hearth_model_convert(m, type, path, NULL, NULL) == HEARTH_OK) {
            assert_ok(hearth_model_open(&g, path, NULL, NULL));
            /* the lowest adapter is above layer 0 in every other one */
            hearth_adapter *a = adapter_for(g, i % 2 ? 0 : 2);
            compare(i < TINY_FAMILIES ? tiny_family[i].name : "llama", g, a);
            hearth_adapter_free(a);
            hearth_model_close(g);
        }
        tiny_drop(m, dir);
    }
}

/* The tensors of a folder's one file, dealt out to two shards. */
static void split_file(const char *dir) {
    char path[128], text[8192];
    size_t at;
    hearth_safetensors *in = NULL;
    hearth_safetensors_writer *w[2] = {NULL, NULL};
    (void)snprintf(path, sizeof(path), "%.63s/model.safetensors", dir);
    assert_ok(hearth_safetensors_open(&in, path, NULL, NULL));
    for (int k = 0; k < 2; k++) {
        char to[128];
        (void)snprintf(to, sizeof(to), "%.63s/s%d.safetensors", dir, k);
        assert_ok(hearth_safetensors_writer_new(&w[k], to, NULL, NULL));
    }
    size_t n = hearth_safetensors_count(in);
    at = (size_t)snprintf(text, sizeof(text), "{\"weight_map\":{");
    for (size_t i = 0; i < n; i++) {
        const hearth_tensor *t = hearth_safetensors_at(in, i);
        assert_ok(hearth_safetensors_writer_declare(w[i % 2], t->name, t->dtype,
                                                    t->n_dims, t->dim, NULL));
        at += (size_t)snprintf(text + at, sizeof(text) - at,
                               "%s\"%s\":\"s%d.safetensors\"", i ? "," : "",
                               t->name, (int)(i % 2));
    }
    for (size_t i = 0; i < n; i++) {
        const hearth_tensor *t = hearth_safetensors_at(in, i);
        assert_ok(hearth_safetensors_writer_write(w[i % 2], t->data,
                                                  (size_t)t->n_bytes, NULL));
    }
    for (int k = 0; k < 2; k++) {
        assert_ok(hearth_safetensors_writer_finish(w[k], NULL));
        hearth_safetensors_writer_free(w[k]);
    }
    at += (size_t)snprintf(text + at, sizeof(text) - at, "}}");
    hearth_safetensors_close(in);
    assert_ok(hearth_file_remove(path, NULL));
    (void)snprintf(path, sizeof(path), "%.63s/model.safetensors.index.json",
                   dir);
    assert_ok(hearth_file_write(path, text, at, 0644, NULL));
}

static void stream_reads_tensors_of_a_layer_from_several_files(void **state) {
    char dir[64];
    hearth_model *m = NULL;
    tiny_spec spec = TINY_SPEC;
    (void)state;
    spec.layers = 4;
    hearth_model_close(tiny_model(&spec, 5, dir));
    split_file(dir);
    assert_ok(hearth_model_open(&m, dir, NULL, NULL));
    assert_int_equal(hearth_model_n_files(m), 2);
    hearth_adapter *a = adapter_for(m, 0);
    compare("two shards", m, a);
    hearth_adapter_free(a);
    tiny_drop(m, dir);
}

/* A decoder over a streamed model. */
typedef struct {
    char dir[64], path[128];
    hearth_model *model;
    hearth_adapter *adapter;
    hearth_weight_stream *ws;
    tiny_engine e;
    tiny_stream ts;
} rig;

static void rig_open(rig *r, hearth_decoder_mode mode) {
    tiny_spec spec = {VOCAB, 64, 96, 6, 4, 2, 16, false, 0.3};
    r->model = tiny_model(&spec, 9, r->dir);
    r->adapter = adapter_for(r->model, 0);
    (void)snprintf(r->path, sizeof(r->path), "%.63s/model.safetensors", r->dir);
    assert_ok(hearth_weight_stream_open(&r->ws, r->model, 1, NULL, NULL));
    hearth_decoder_shape shape = {.model = r->model,
                                  .adapter = r->adapter,
                                  .mode = mode,
                                  .max_context =
                                      mode == HEARTH_DECODER_INFER ? 8 : 0,
                                  .stream = r->ws};
    tiny_engine_open(&r->e, shape, NULL, hearth_kernels_default());
    tiny_stream_make(&r->ts, lengths, N_DOCS, VOCAB, 2);
}

static void rig_close(rig *r) {
    tiny_engine_close(&r->e);
    hearth_weight_stream_close(r->ws);
    hearth_adapter_free(r->adapter);
    tiny_drop(r->model, r->dir);
}

static hearth_status run(rig *r, hearth_loss *loss, hearth_error *err) {
    hearth_decoder_zero_grad(r->e.dec);
    return hearth_decoder_grad(r->e.dec, &r->ts.stream, NULL, loss, err);
}

/* Two layers stay in memory: the turn at the top and at the bottom reads
 * nothing again. */
static void stream_reads_each_layer_twice_but_at_the_turns(void **state) {
    rig r;
    hearth_loss loss;
    uint64_t first, second, layer = 0, row;
    (void)state;
    rig_open(&r, HEARTH_DECODER_LORA);
    for (uint32_t t = 0; t < HEARTH_TARGET_COUNT; t++) {
        const hearth_weight *w =
            hearth_model_weight(r.model, (hearth_tensor_role)t, 0);
        if (w) layer += 4 * (uint64_t)w->rows * w->cols;
    }
    row = 4 * 64;
    assert_ok(run(&r, &loss, NULL));
    first = hearth_weight_stream_bytes_read(r.ws);
    assert_ok(run(&r, &loss, NULL));
    second = hearth_weight_stream_bytes_read(r.ws) - first;
    /* at least: rows of tokens and labels, the head once; layers 6 + 4 and,
     * with two still there, 4 + 4 */
    uint64_t head = (uint64_t)VOCAB * row;
    assert_int_equal(first - second, 2 * layer);
    assert_in_range(second - 8 * layer, head + r.ts.stream.n * row,
                    3 * head + 2 * r.ts.stream.n * row);
    rig_close(&r);
}

static void stream_ends_a_pass_when_the_file_changes(void **state) {
    rig r;
    hearth_loss loss, before;
    hearth_error err = {HEARTH_OK, ""};
    struct stat sb;
    (void)state;
    rig_open(&r, HEARTH_DECODER_LORA);
    assert_ok(run(&r, &before, NULL));
    assert_int_equal(stat(r.path, &sb), 0);
    struct timespec was[2] = {sb.st_atim, sb.st_mtim};
    struct timespec now[2] = {sb.st_atim, {sb.st_mtim.tv_sec + 1, 0}};
    assert_int_equal(utimensat(AT_FDCWD, r.path, now, 0), 0);
    assert_int_equal(run(&r, &loss, &err), HEARTH_EMISMATCH);
    assert_non_null(strstr(err.text, "changed while it was read"));
    assert_int_equal(loss.n_supervised, 0);
    assert_int_equal(utimensat(AT_FDCWD, r.path, was, 0), 0);
    assert_ok(run(&r, &loss, NULL)); /* put back: it goes on */
    assert_memory_equal(&loss, &before, sizeof(loss));
    rig_close(&r);
}

static void stream_ends_a_pass_when_the_file_is_cut(void **state) {
    (void)state;
    /* cut everything; and only the last byte, which a size alone shows */
    for (int last = 0; last < 2; last++) {
        rig r;
        hearth_loss loss;
        hearth_error err = {HEARTH_OK, ""};
        struct stat sb;
        rig_open(&r, HEARTH_DECODER_LORA);
        assert_int_equal(stat(r.path, &sb), 0);
        assert_int_equal(truncate(r.path, last ? sb.st_size - 1 : 4096), 0);
        hearth_status st = run(&r, &loss, &err);
        assert_true(st == HEARTH_EIO || st == HEARTH_EMISMATCH);
        if (!last) assert_int_equal(st, HEARTH_EIO);
        if (!last) assert_non_null(strstr(err.text, "ends early"));
        rig_close(&r);
    }
}

/* Put a folder in the place of every descriptor of the file: reading fails. */
static void break_descriptors(const char *path) {
    DIR *d = opendir("/proc/self/fd");
    int folder = open("/", O_RDONLY | O_DIRECTORY);
    assert_non_null(d);
    assert_true(folder >= 0);
    for (const struct dirent *e = readdir(d); e; e = readdir(d)) {
        char link[300], to[256] = "";
        (void)snprintf(link, sizeof(link), "/proc/self/fd/%s", e->d_name);
        if (readlink(link, to, sizeof(to) - 1) > 0 && strcmp(to, path) == 0)
            assert_true(dup2(folder, (int)strtol(e->d_name, NULL, 10)) >= 0);
    }
    (void)close(folder);
    (void)closedir(d);
}

static void stream_says_that_reading_failed(void **state) {
    rig r;
    hearth_loss loss;
    hearth_error err = {HEARTH_OK, ""};
    (void)state;
    if (access("/proc/self/fd", R_OK) != 0) skip();
    rig_open(&r, HEARTH_DECODER_LORA);
    break_descriptors(r.path);
    assert_int_equal(run(&r, &loss, &err), HEARTH_EIO);
    assert_non_null(strstr(err.text, "cannot read "));
    rig_close(&r);
}

static void stream_opens_only_the_file_that_was_mapped(void **state) {
    char dir[64], path[128];
    hearth_weight_stream *ws = NULL;
    tiny_spec spec = TINY_SPEC;
    (void)state;
    hearth_model *m = tiny_model(&spec, 5, dir);
    (void)snprintf(path, sizeof(path), "%.63s/model.safetensors", dir);
    FILE *f = fopen(path, "ab");
    assert_non_null(f);
    assert_int_equal(fputc(0, f), 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(hearth_weight_stream_open(&ws, m, 1, NULL, NULL),
                     HEARTH_EFORMAT);
    assert_null(ws);
    assert_ok(hearth_file_remove(path, NULL));
    assert_int_equal(hearth_weight_stream_open(&ws, m, 1, NULL, NULL),
                     HEARTH_ENOTFOUND);
    tiny_drop(m, dir);
}

static void stream_plans_what_it_takes_and_leaks_nothing(void **state) {
    char dir[64];
    hearth_weight_stream *ws = NULL;
    tiny_spec spec = TINY_SPEC;
    (void)state;
    hearth_model *m = tiny_model(&spec, 5, dir);
    for (size_t k = 1;; k++) {
        hearth_fail_alloc fa;
        hearth_alloc al = hearth_fail_alloc_init(&fa, k);
        hearth_status st = hearth_weight_stream_open(&ws, m, 2, &al, NULL);
        hearth_weight_stream_close(ws);
        assert_int_equal(fa.live, 0);
        if (st == HEARTH_OK) break;
        assert_int_equal(st, HEARTH_ENOMEM);
        assert_null(ws);
    }
    size_t one = hearth_weight_stream_bytes(m, 1);
    size_t two = hearth_weight_stream_bytes(m, 2);
    assert_true(two > one && one > 2 * 4 * (24 * 24 + 3 * 24 * 40));
    tiny_drop(m, dir);
}

/* ---- the window ---- */

/* The model's file by way of a mapping of our own. */
typedef struct {
    int fd;
    void *map;
    size_t n;
    size_t most; /* bytes seen in the page cache */
} cached_file;

static size_t cached_bytes(const cached_file *f) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), n = 0;
    size_t pages = (f->n + page - 1) / page;
    unsigned char *seen = malloc(pages);
    assert_non_null(seen);
    assert_int_equal(mincore(f->map, f->n, (void *)seen), 0);
    for (size_t i = 0; i < pages; i++) n += (seen[i] & 1) * page;
    free(seen);
    return n;
}

/* Between layers, while the thread reads ahead. */
static bool look(void *ud) {
    cached_file *f = ud;
    size_t n = cached_bytes(f);
    if (n > f->most) f->most = n;
    return true;
}

static void cached_file_open(cached_file *f, const char *path) {
    struct stat sb;
    *f = (cached_file){.fd = open(path, O_RDONLY)};
    assert_true(f->fd >= 0);
    assert_int_equal(fstat(f->fd, &sb), 0);
    f->n = (size_t)sb.st_size;
    f->map = mmap(NULL, f->n, PROT_READ, MAP_PRIVATE, f->fd, 0);
    assert_true(f->map != MAP_FAILED);
    assert_int_equal(fsync(f->fd), 0);
    (void)posix_fadvise(f->fd, 0, 0, POSIX_FADV_DONTNEED);
}

static void stream_holds_no_more_of_the_file_than_its_window(void **state) {
    char dir[64], path[128];
    tiny_spec spec = {8000, 64, 512, 12, 4, 2, 16, false, 0.3};
    cached_file f;
    tiny_stream ts;
    tiny_engine e;
    hearth_weight_stream *ws = NULL;
    hearth_loss loss;
    (void)state;
    hearth_model *m = tiny_model(&spec, 5, dir);
    hearth_adapter *a = adapter_for(m, 0);
    (void)snprintf(path, sizeof(path), "%.63s/model.safetensors", dir);
    size_t window = hearth_weight_stream_window(m, 1);
    assert_true(hearth_weight_stream_window(m, 2) > window);
    hearth_model_forget_pages(m);
    cached_file_open(&f, path);
    assert_true(window < f.n / 4);
    bool can_drop = cached_bytes(&f) == 0;
    assert_ok(hearth_weight_stream_open(&ws, m, 1, NULL, NULL));
    hearth_decoder_shape shape = {
        .model = m, .adapter = a, .mode = HEARTH_DECODER_LORA, .stream = ws};
    tiny_engine_open(&e, shape, NULL, hearth_kernels_default());
    if (can_drop) (void)look(&f);
    assert_true(f.most <= 8 * (size_t)sysconf(_SC_PAGESIZE));
    tiny_stream_make(&ts, lengths, N_DOCS, spec.vocab, 2);
    hearth_decoder_set_gate(e.dec, look, &f);
    for (int pass = 0; can_drop && pass < 2; pass++) {
        hearth_decoder_zero_grad(e.dec);
        assert_ok(hearth_decoder_grad(e.dec, &ts.stream, NULL, &loss, NULL));
        (void)look(&f);
    }
    assert_true(f.most <= window);
    assert_true(f.most > 0 || !can_drop);
    (void)munmap(f.map, f.n);
    (void)close(f.fd);
    tiny_engine_close(&e);
    hearth_weight_stream_close(ws);
    hearth_adapter_free(a);
    tiny_drop(m, dir);
    if (!can_drop) skip(); /* a file system in memory */
}

static void stream_is_for_frozen_weights_and_no_generation(void **state) {
    static float logits[TINY_TOKENS * VOCAB];
    rig r;
    hearth_decoder_sizes sizes;
    hearth_error err = {HEARTH_OK, ""};
    (void)state;
    rig_open(&r, HEARTH_DECODER_INFER);
    assert_int_equal(hearth_decoder_logits(r.e.dec, &r.ts.stream, logits, NULL),
                     HEARTH_EUNSUPPORTED);
    assert_int_equal(
        hearth_decoder_extend(r.e.dec, r.ts.token, 1, logits, NULL),
        HEARTH_EUNSUPPORTED);
    hearth_decoder_shape full = {.model = r.model,
                                 .mode = HEARTH_DECODER_FULL,
                                 .max_tokens = 8,
                                 .n_workers = 1,
                                 .stream = r.ws};
    assert_int_equal(hearth_decoder_plan(&full, &sizes, &err),
                     HEARTH_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "--weights mapped"));
    rig_close(&r);
}

/* ---- the gate ---- */

typedef struct {
    int asked, stop_at; /* 0: never */
} gate_count;

static bool count_gate(void *ud) {
    gate_count *g = ud;
    return ++g->asked != g->stop_at;
}

static void gate_stops_a_pass_at_any_layer(void **state) {
    rig r;
    hearth_loss loss, want;
    gate_count g = {0, 0};
    (void)state;
    rig_open(&r, HEARTH_DECODER_LORA);
    hearth_decoder_set_gate(r.e.dec, count_gate, &g);
    assert_ok(run(&r, &want, NULL));
    assert_int_equal(g.asked, 6 + 1 + 6); /* layers, the head, layers */
    for (int stop = 1; stop <= 13; stop++) {
        hearth_error err = {HEARTH_OK, ""};
        g = (gate_count){0, stop};
        assert_int_equal(run(&r, &loss, &err), HEARTH_ECANCELLED);
        assert_int_equal(g.asked, stop); /* nothing more is asked */
        assert_int_equal(loss.n_supervised, 0);
    }
    hearth_decoder_set_gate(r.e.dec, NULL, NULL);
    assert_ok(run(&r, &loss, NULL));
    assert_memory_equal(&loss, &want, sizeof(want));
    rig_close(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stream_gives_the_bytes_of_mapped_for_every_family),
        cmocka_unit_test(stream_gives_the_bytes_of_mapped_for_gguf),
        cmocka_unit_test(stream_reads_tensors_of_a_layer_from_several_files),
        cmocka_unit_test(stream_reads_each_layer_twice_but_at_the_turns),
        cmocka_unit_test(stream_ends_a_pass_when_the_file_changes),
        cmocka_unit_test(stream_ends_a_pass_when_the_file_is_cut),
        cmocka_unit_test(stream_says_that_reading_failed),
        cmocka_unit_test(stream_opens_only_the_file_that_was_mapped),
        cmocka_unit_test(stream_plans_what_it_takes_and_leaks_nothing),
        cmocka_unit_test(stream_holds_no_more_of_the_file_than_its_window),
        cmocka_unit_test(stream_is_for_frozen_weights_and_no_generation),
        cmocka_unit_test(gate_stops_a_pass_at_any_layer),
    };
    return cmocka_run_group_tests_name("client/train/weight_stream", tests,
                                       NULL, NULL);
}

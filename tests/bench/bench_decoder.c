/* SPDX-License-Identifier: Apache-2.0 */
/* tests/bench/bench_decoder.c - time of one forward and one training pass.
 *
 *     bench_decoder MODEL_DIR [TOKENS [THREADS [KERNELS]]]
 *
 * One CSV line a mode.  peak_gflops is this kernel set's own product of
 * 256 x 256 x 256 on one thread, measured in the same run; ratio is the pass's
 * share of threads * peak, by the usual count of 2 (forward) and 4 (LoRA) or 6
 * (full) floating-point operations a weight and token.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/train/decoder.h"
#include "common/philox.h"

#define RUNS       15
#define DOC_TOKENS 128u

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double peak_gflops(const hearth_kernels *k) {
    static float a[256 * 256], b[256 * 256], c[256 * 256];
    double best = 1e30;
    for (int i = 0; i < 60; i++) {
        double t = now_ms();
        k->gemm_nt(256, 256, 256, 1, a, 256, b, 256, 0, c, 256);
        t = now_ms() - t;
        best = t < best ? t : best;
    }
    return 2.0 * 256 * 256 * 256 / best / 1e6;
}

static void fill_stream(hearth_stream *s, size_t n, uint32_t vocab) {
    hearth_philox_key k = hearth_philox_key_make(1, HEARTH_PHILOX_DATA);
    int32_t *token = calloc(2 * n, sizeof(*token)), *label = token + n;
    uint32_t *position = calloc(2 * n + 1, sizeof(*position));
    uint32_t *start = position + n;
    if (!token || !position) exit(1);
    for (size_t i = 0; i < n; i++) {
        token[i] = (int32_t)hearth_philox_below(k, i, 0, vocab);
        position[i] = (uint32_t)i % DOC_TOKENS;
        if (!position[i]) start[s->n_docs++] = (uint32_t)i;
        label[i] = (int32_t)hearth_philox_below(k, i, 1, vocab);
    }
    start[s->n_docs] = (uint32_t)n;
    s->n = n;
    s->token = token;
    s->label = label;
    s->position = position;
    s->doc_start = start;
}

static void report(const char *mode, const hearth_decoder_shape *shape,
                   hearth_pool *pool, const hearth_kernels *k,
                   const hearth_stream *s, double flops_per_weight) {
    hearth_arena arena;
    hearth_decoder *dec;
    hearth_loss loss;
    hearth_error err = {HEARTH_OK, ""};
    double ms[RUNS];
    size_t bytes = hearth_decoder_bytes(shape);
    if (bytes == SIZE_MAX || hearth_arena_init(&arena, NULL, bytes) ||
        hearth_decoder_new(&dec, shape, pool, k, &arena, &err)) {
        fprintf(stderr, "%s: %s\n", mode, err.text);
        exit(1);
    }
    hearth_status st = HEARTH_OK;
    for (int i = -2; i < RUNS && st == HEARTH_OK; i++) { /* two to warm up */
        double t = now_ms();
        st = flops_per_weight > 2
                 ? hearth_decoder_grad(dec, s, NULL, &loss, &err)
                 : hearth_decoder_loss(dec, s, &loss, NULL, &err);
        if (i >= 0) ms[i] = now_ms() - t;
    }
    if (st != HEARTH_OK) {
        fprintf(stderr, "%s: %s\n", mode, err.text);
        exit(1);
    }
    qsort(ms, RUNS, sizeof(*ms), compare);
    double weights = (double)hearth_model_config_parameters(
        hearth_model_get_config(shape->model));
    double peak = peak_gflops(k);
    double rate = flops_per_weight * weights * (double)s->n / ms[0] / 1e6;
    printf("%s,%s,%zu,%zu,%.3f,%.3f,%d,%zu,%.1f,%.3f\n", mode, k->name, s->n,
           shape->n_workers, ms[RUNS / 2], ms[0], RUNS, bytes, peak,
           rate / peak / (double)shape->n_workers);
    hearth_arena_free(&arena);
}

int main(int argc, char **argv) {
    hearth_model *m = NULL;
    hearth_adapter *a = NULL;
    hearth_pool *pool = NULL;
    hearth_stream s = {0};
    hearth_error err = {HEARTH_OK, ""};
    size_t n_modules;
    hearth_lora_spec spec = HEARTH_LORA_SPEC_INIT;
    if (argc < 2 || hearth_model_open(&m, argv[1], NULL, &err)) {
        fprintf(stderr,
                "usage: bench_decoder MODEL_DIR [TOKENS [THREADS [KERNELS]]]\n"
                "%s\n",
                err.text);
        return 2;
    }
    size_t n = argc > 2 ? (size_t)strtoul(argv[2], NULL, 10) : 1024;
    size_t threads = argc > 3 ? (size_t)strtoul(argv[3], NULL, 10) : 1;
    const hearth_kernels *k = hearth_kernels_find(argc > 4 ? argv[4] : "auto");
    const hearth_module_info *info = hearth_model_modules(m, &n_modules);
    if (!k || !n || hearth_pool_open(&pool, threads, NULL, &err) ||
        hearth_adapter_new(&a, &spec, info, n_modules, NULL, &err))
        return 1;
    fill_stream(&s, n, hearth_model_get_config(m)->vocab_size);
    hearth_decoder_shape shape = {
        .model = m, .max_tokens = n, .n_workers = hearth_pool_size(pool)};
    printf("# %s\n", hearth_kernels_describe(k));
    printf("mode,kernels,tokens,threads,median_ms,min_ms,runs,arena_bytes,"
           "peak_gflops,ratio\n");
    report("forward", &shape, pool, k, &s, 2);
    shape.adapter = a;
    shape.mode = HEARTH_DECODER_LORA;
    report("lora", &shape, pool, k, &s, 4);
    shape.recompute = SIZE_MAX;
    report("lora_recompute", &shape, pool, k, &s, 4);
    shape.recompute = 0;
    shape.adapter = NULL;
    shape.mode = HEARTH_DECODER_FULL;
    report("full", &shape, pool, k, &s, 6);
    free((void *)(uintptr_t)s.token);
    free((void *)(uintptr_t)s.position);
    hearth_adapter_free(a);
    hearth_pool_close(pool);
    hearth_model_close(m);
    return 0;
}

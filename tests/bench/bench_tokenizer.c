/* SPDX-License-Identifier: Apache-2.0 */
/* tests/bench/bench_tokenizer.c - what reading a vocabulary takes, and how fast
 * it encodes on one core.
 *
 *     bench_tokenizer TEXT TOKENIZER..
 *
 * TEXT is a file of UTF-8, encoded in records of about 2 KiB that end at a
 * line's end; TOKENIZER a tokenizer.json, a folder or a GGUF file.  One CSV
 * line a tokenizer.  load_peak and held are ratios to the size of the file that
 * was read (of a folder with vocab.json: to that and merges.txt); the file
 * itself is mapped and not counted.  ratio is the speed of encoding as a share
 * of that of SHA-256 over the same text, measured in the same run.  All times
 * are the process's own, so that other work on the machine matters little.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/tokenizer/tokenizer.h"
#include "common/error.h"
#include "common/file.h"
#include "common/hash.h"
#include "tests/support/count_alloc.h"

#define RUNS   5
#define RECORD ((size_t)2048)

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static void fail(const char *what, const hearth_error *err) {
    fprintf(stderr, "bench_tokenizer: %s: %s\n", what, err->text);
    exit(1);
}

static size_t size_of(const char *path) {
    hearth_file f = HEARTH_FILE_INIT;
    hearth_error err = {HEARTH_OK, ""};
    if (hearth_file_map(&f, path, &err) != HEARTH_OK) fail(path, &err);
    size_t n = f.n;
    hearth_file_unmap(&f);
    return n;
}

/* Bytes of what is read of path. */
static size_t source_bytes(const char *path) {
    static const char *const name[] = {"tokenizer.json", "vocab.json",
                                       "merges.txt"};
    char file[1024];
    size_t n = 0;
    if (!hearth_file_is_dir(path)) return size_of(path);
    for (int i = 0; i < 3; i++) {
        if (hearth_file_join(file, sizeof(file), path, name[i]) != HEARTH_OK ||
            !hearth_file_exists(file))
            continue;
        n += size_of(file);
        if (i == 0) break;
    }
    return n;
}

/* The length of the record at s [n]. */
static size_t record_at(const char *s, size_t n) {
    if (n <= RECORD) return n;
    const char *end = memchr(s + RECORD, '\n', n - RECORD);
    return end ? (size_t)(end - s) + 1 : n;
}

/* Milliseconds of encoding s [n] once; *tokens: how many it gave. */
static double encode(const hearth_tokenizer *t, const char *s, size_t n,
                     size_t *tokens) {
    hearth_ids ids;
    hearth_error err = {HEARTH_OK, ""};
    hearth_ids_init(&ids, NULL);
    *tokens = 0;
    double from = now_ms();
    for (size_t at = 0, len; at < n; at += len) {
        len = record_at(s + at, n - at);
        hearth_ids_clear(&ids);
        if (hearth_tokenizer_encode_with(t, s + at, len, 0, &ids, &err) !=
            HEARTH_OK)
            fail("encode", &err);
        *tokens += ids.n;
    }
    double ms = now_ms() - from;
    hearth_ids_free(&ids);
    return ms;
}

static double hash_ms(const char *s, size_t n) {
    uint8_t digest[32];
    double from = now_ms();
    if (hearth_sha256(digest, s, n) != HEARTH_OK) exit(1);
    return now_ms() - from;
}

static void bench(const char *path, const char *text, size_t n) {
    hearth_count_alloc count = {0, 0};
    hearth_alloc al = hearth_count_alloc_init(&count);
    hearth_error err = {HEARTH_OK, ""};
    hearth_tokenizer *t = NULL;
    size_t tokens = 0, bytes = source_bytes(path);
    double best = 1e30, hash = 1e30, from = now_ms();
    if (hearth_tokenizer_open(&t, path, &al, &err) != HEARTH_OK)
        fail(path, &err);
    double load = now_ms() - from;
    double peak = (double)count.peak / (double)bytes;
    double held = (double)count.live / (double)bytes;
    for (int i = 0; i < RUNS; i++) {
        double ms = encode(t, text, n, &tokens), other = hash_ms(text, n);
        best = ms < best ? ms : best;
        hash = other < hash ? other : hash;
    }
    hearth_tokenizer_close(t);
    printf("%s,%zu,%.1f,%.3f,%.3f,%zu,%zu,%.2f,%.4f\n", path, bytes, load, peak,
           held, n, tokens, (double)n / 1e3 / best, hash / best);
}

int main(int argc, char **argv) {
    hearth_buf text = HEARTH_BUF_INIT(NULL);
    hearth_error err = {HEARTH_OK, ""};
    if (argc < 3) {
        fprintf(stderr, "usage: bench_tokenizer TEXT TOKENIZER..\n");
        return 2;
    }
    if (hearth_file_read(&text, argv[1], (size_t)1 << 30, &err) != HEARTH_OK)
        fail(argv[1], &err);
    printf("tokenizer,file_bytes,load_ms,load_peak,held,text_bytes,tokens,"
           "mb_per_s,ratio\n");
    for (int i = 2; i < argc; i++)
        bench(argv[i], hearth_buf_str(&text), text.n);
    hearth_buf_free(&text);
    return 0;
}

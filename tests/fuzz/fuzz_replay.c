/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz_replay.c - main() that runs a fuzz target over files and
 * folders, so that ctest replays every corpus with any compiler, no libFuzzer
 * needed.  Exits 1 when a path cannot be read or no input was found. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t n_inputs;

static int replay_file(const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        return 1;
    }
    /* Exactly sized, so that ASan sees one byte too many. */
    static uint8_t buf[1 << 20];
    size_t n = fread(buf, 1, sizeof(buf), f);
    fclose(f);
    uint8_t *exact = malloc(n ? n : 1);
    if (!exact) return 1;
    memcpy(exact, buf, n);
    LLVMFuzzerTestOneInput(exact, n);
    free(exact);
    n_inputs++;
    return 0;
}

static int replay_dir(const char *path) {
    DIR *d = opendir(path);
    if (!d) {
        perror(path);
        return 1;
    }
    int rc = 0;
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        char full[4096];
        if (e->d_name[0] == '.') continue;
        int n = snprintf(full, sizeof(full), "%s/%s", path, e->d_name);
        if (n < 0 || (size_t)n >= sizeof(full))
            rc = 1;
        else if (replay_file(full))
            rc = 1;
    }
    closedir(d);
    return rc;
}

int main(int argc, char **argv) {
    int rc = 0;
    for (int i = 1; i < argc; i++) {
        struct stat st;
        if (stat(argv[i], &st)) {
            perror(argv[i]);
            rc = 1;
        } else if (S_ISDIR(st.st_mode)) {
            rc |= replay_dir(argv[i]);
        } else {
            rc |= replay_file(argv[i]);
        }
    }
    if (!n_inputs) fprintf(stderr, "no input: add files to the corpus\n");
    printf("%zu inputs replayed\n", n_inputs);
    return rc || !n_inputs;
}

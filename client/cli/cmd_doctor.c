/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/cmd_doctor.c - `hearth doctor`: what this build and machine are,
 * and what would stand in the way. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/doctor_sync.h"
#include "client/cli/workbench.h"
#include "client/device/policy_file.h"
#include "client/train/memplan.h"
#include "common/file.h"
#include "common/hash.h"

typedef struct {
    hearth_cli *cli;
    unsigned problems;
} checkup;

static void report(checkup *c, const char *what, bool ok, const char *detail) {
    hearth_event_begin(c->cli, "check");
    hearth_event_str(c->cli, "name", what);
    hearth_event_bool(c->cli, "ok", ok);
    hearth_event_str(c->cli, "detail", detail);
    hearth_event_end(c->cli);
    hearth_cli_say(c->cli, "%-4s %-16s %s", ok ? "ok" : "BAD", what, detail);
    if (!ok) c->problems++;
}

/* OpenBLAS takes its kernels from the environment when it is told to, also
 * slower ones than the machine has.  A build without it reads nothing there,
 * and says nothing. */
static void check_blas(checkup *c) {
    const hearth_kernels *k = hearth_kernels_blas();
    const char *type = getenv("OPENBLAS_CORETYPE");
    char text[192];
    if (!k) return;
    report(c, "blas", true, hearth_kernels_describe(k));
    if (!type || !*type) return;
    (void)snprintf(text, sizeof(text),
                   "warning: OPENBLAS_CORETYPE=%.32s chooses OpenBLAS's "
                   "kernels (--kernels blas); unset it to have the fastest",
                   type);
    report(c, "OpenBLAS", true, text);
}

/* Of a pool as every command opens it. */
static void check_threads(checkup *c) {
    hearth_pool *p = NULL;
    hearth_error err = {0};
    char text[160];
    if (hearth_pool_open(&p, 0, NULL, &err) != HEARTH_OK) {
        report(c, "threads", false, err.text);
        return;
    }
    size_t n = hearth_pool_size(p);
    const char *where = n == 1 ? "one core is all there is"
                        : hearth_pool_is_pinned(p)
                            ? "all but the first kept on a core each; "
                              "HEARTH_PIN=0 in the environment lets them move"
                        : getenv("HEARTH_PIN")
                            ? "free to move, as HEARTH_PIN asks for"
                            : "free to move";
    (void)snprintf(text, sizeof(text), "%zu: %s", n, where);
    report(c, "threads", true, text);
    hearth_pool_close(p);
}

static void check_kernels(checkup *c) {
    const hearth_kernels *k = hearth_kernels_default();
    char text[160];
    (void)snprintf(text, sizeof(text), "%s: %s", k->name,
                   hearth_kernels_describe(k));
    report(c, "kernels", true, text);
    k = hearth_kernels_bf16();
    (void)snprintf(text, sizeof(text), "%s%s", hearth_kernels_describe(k),
                   hearth_kernels_bf16_is_fast()
                       ? ""
                       : "; no faster than f32 on this machine");
    if (k) report(c, "bf16", true, text);
    k = hearth_kernels_int8();
    (void)snprintf(text, sizeof(text),
                   "%s; experimental: for Arm with I8MM, slower than bf16 on "
                   "x86 with AMX",
                   hearth_kernels_describe(k));
    if (k) report(c, "int8", true, text);
    check_blas(c);
}

static void check_machine(checkup *c) {
    long page = sysconf(_SC_PAGESIZE), pages = sysconf(_SC_PHYS_PAGES);
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    char text[96], size[32] = "?";
    if (page > 0 && pages > 0)
        (void)hearth_memplan_format((size_t)page * (size_t)pages, size,
                                    sizeof(size));
    (void)snprintf(text, sizeof(text), "%ld cores, %s of memory", cores, size);
    report(c, "machine", cores > 0, text);
}

static void check_build(checkup *c) {
    static const char text[] = ""
#ifdef HEARTH_WITH_OPENBLAS
                               ", OpenBLAS"
#endif
#ifdef HEARTH_WITH_SQLITE
                               ", SQLite"
#endif
#ifdef HEARTH_WITH_CURL
                               ", libcurl"
#endif
        ;
    report(c, "built with", true, text[0] ? text + 2 : "no optional library");
}

static void check_crypto(checkup *c) {
    bool ok = hearth_hash_start() == HEARTH_OK;
    report(c, "cryptography", ok,
           ok ? "mbedTLS works"
              : "mbedTLS cannot start: is /dev/urandom readable?");
}

static void report_sync(void *ud, const char *what, bool ok,
                        const char *detail) {
    report(ud, what, ok, detail);
}

/* The file that `hearth sync` would read. */
static void check_policy(checkup *c, const char *dir) {
    char path[1100], text[160];
    hearth_policy p;
    hearth_error err = {0};
    size_t n = 0;
    if (hearth_file_join(path, sizeof(path), dir, "policy.ini") != HEARTH_OK)
        return;
    if (!hearth_file_exists(path)) {
        report(c, "policy", true, "the defaults: there is no policy.ini");
        return;
    }
    if (hearth_policy_file_read(&p, path, &err) != HEARTH_OK) {
        report(c, "policy", false, err.text);
        return;
    }
    while (hearth_policy_file_loosened(&p, n, text, sizeof(text))) n++;
    (void)snprintf(text, sizeof(text),
                   "policy.ini, looser than the defaults in "
                   "%zu lines",
                   n);
    report(c, "policy", true, n ? text : "policy.ini");
}

static void check_state(checkup *c, const char *flag) {
    char dir[1024], text[1200], size[32];
    hearth_error err = {0};
    if (hearth_cli_state_dir(flag, dir, sizeof(dir), &err) != HEARTH_OK) {
        report(c, "state", false, err.text);
        return;
    }
    if (!hearth_file_is_dir(dir)) {
        (void)snprintf(text, sizeof(text),
                       "%s: none yet; hearth init or hearth records makes it",
                       dir);
        report(c, "state", true, text);
        return;
    }
    bool ok = access(dir, R_OK | W_OK | X_OK) == 0;
    uint64_t free_bytes = hearth_file_free_bytes(dir);
    (void)snprintf(
        text, sizeof(text), "%s: %s, %s free", dir,
        ok ? "writable" : "not writable; change its owner",
        hearth_memplan_format((size_t)free_bytes, size, sizeof(size)));
    report(c, "state", ok, text);
    if (!ok) return;
    check_policy(c, dir);
    hearth_doctor_sync(dir, report_sync, c);
}

static void check_model(checkup *c, hearth_workbench *wb) {
    hearth_error err = {0};
    char text[320];
    hearth_status st =
        hearth_workbench_open(wb, HEARTH_WORKBENCH_TOKENIZER, &err);
    if (st != HEARTH_OK) {
        report(c, "model", false, err.text);
    } else {
        size_t ids = hearth_tokenizer_vocab_size(wb->tokenizer);
        uint32_t rows = hearth_model_get_config(wb->model)->vocab_size;
        bool ok = ids <= rows;
        (void)snprintf(text, sizeof(text), "%s: %lu rows, tokenizer %zu ids%s",
                       hearth_model_get_config(wb->model)->architecture,
                       (unsigned long)rows, ids,
                       ok ? "" : "; they do not fit each other");
        report(c, "model", ok, text);
    }
    hearth_workbench_close(wb);
}

int hearth_cmd_doctor(hearth_cli *cli, int argc, char **argv) {
    checkup c = {cli, 0};
    hearth_workbench wb = HEARTH_WORKBENCH_INIT;
    const char *state = NULL;
    const hearth_flag flags[] = {
        HEARTH_FLAG_STR("model", "DIR", "look at this model too",
                        &wb.model_dir),
        HEARTH_FLAG_STR("state", "DIR", "the state directory", &state)};
    const hearth_usage u = {
        .command = "doctor",
        .summary = "kernels, libraries, and why something does not work",
        .arguments = "[--model DIR] [--state DIR]",
        .example = "hearth doctor --model base",
        .flags = flags,
        .n_flags = sizeof(flags) / sizeof(*flags)};
    int rc;
    if (!hearth_cli_parse(cli, &u, argc, argv, &rc)) return rc;
    check_machine(&c);
    check_threads(&c);
    check_kernels(&c);
    check_build(&c);
    check_crypto(&c);
    check_state(&c, state);
    if (wb.model_dir) check_model(&c, &wb);
    return c.problems ? HEARTH_EXIT_FAIL : HEARTH_EXIT_OK;
}

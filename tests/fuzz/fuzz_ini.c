/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz_ini.c - common/ini.h.
 * Invariants: an accepted file has no duplicate, every entry is found again by
 * its names with its line; a refusal has words and no object. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/ini.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const hearth_ini *ini) {
    static const int64_t zero = 0;
    static const double none = 0;
    for (size_t i = 0; i < hearth_ini_size(ini); i++) {
        const char *s, *k, *v;
        unsigned line;
        int64_t n;
        double f;
        bool b;
        hearth_ini_at(ini, i, &s, &k, &v, &line);
        if (hearth_ini_get(ini, s, k) != v) abort();
        if (hearth_ini_line(ini, s, k) != line || !line) abort();
        (void)!hearth_ini_get_i64(ini, s, k, -9, 9, &zero, &n, NULL);
        (void)!hearth_ini_get_f64(ini, s, k, -9, 9, &none, &f, NULL);
        (void)!hearth_ini_get_bool(ini, s, k, NULL, &b, NULL);
        (void)!hearth_ini_get_duration(ini, s, k, NULL, &n, NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const hearth_ini_key keys[] = {
        {"task", "rounds"}, {"task", "clip"}, {"device.*", "*"}, {"", "top"}};
    hearth_ini *ini;
    hearth_error e = {HEARTH_OK, ""};
    hearth_status st = hearth_ini_parse(&ini, "f.ini", (const char *)data, size,
                                        keys, 4, NULL, &e);
    if (st == HEARTH_OK)
        check(ini);
    else if (ini || !e.text[0])
        abort();
    hearth_ini_free(ini);
    return 0;
}

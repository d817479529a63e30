/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/dp_table.h - rows of figures of an independent accountant:
 * from a file of the test data, or the few that are written down here.
 *
 * Figures: dp_accounting 0.6.0 (commit b5b0286e) with its default orders; PLD
 * pessimistic at interval 1e-4 and at 2e-6 .. 5e-5; closed forms with 60
 * digits. */
#ifndef HEARTH_TESTS_DP_TABLE_H
#define HEARTH_TESTS_DP_TABLE_H

#include "tests/support/cmocka_all.h"

#include <stdbool.h>

#include "privacy/accountant.h"

typedef struct {
    const char *id;
    hearth_mechanism mechanism;
    double z, q, rounds, delta;
    double rdp, order;    /* epsilon by RDP, and its order */
    double pld, pld_fine; /* epsilon by PLD; 0: none */
    double optimistic;    /* a lower bound; 0: none */
    double exact;         /* closed form; 0: none */
} dp_row;

typedef struct {
    const char *id;
    hearth_mechanism mechanism;
    double epsilon, delta, q, rounds;
    double z_rdp, z_pld, z_exact; /* z_exact 0: none */
} dp_target;

#define DP_P HEARTH_MECHANISM_POISSON
#define DP_G HEARTH_MECHANISM_GAUSSIAN
#define DP_S HEARTH_MECHANISM_SWOR

/* Small noise, the smallest rates, delta 1e-10, most rounds, largest and
 * smallest epsilon. */
static const dp_row DP_ROWS[] = {
    {"P000", DP_P, 0.3, 1e-4, 1, 1e-5, 6.338040275, 2.6, 0.5900464625, 0, 0,
     0.5900464585},
    {"P004", DP_P, 2, 1e-3, 1, 1e-10, 0.3303010164, 56, 0.0110047998, 0, 0,
     0.01100458672},
    {"P008", DP_P, 0.3, 1e-3, 100, 1e-5, 14.23672175, 1.9, 11.04055637,
     11.04055631, 11.03820873, 0},
    {"P012", DP_P, 0.5, 1e-4, 5000, 1e-10, 5.850489376, 4.7, 4.858799841,
     4.859867588, 4.823203768, 0},
    {"P020", DP_P, 1, 1e-4, 20000, 1e-10, 1.133706043, 18, 0.1109660101,
     0.10642927, 0, 0},
    {"P022", DP_P, 1, 0.01, 1000, 1e-5, 2.101366525, 7.8, 1.828243646,
     1.828236946, 1.818236789, 0},
    {"P023", DP_P, 1, 0.01, 1000, 1e-10, 3.725234728, 8.3, 3.290455384,
     3.290498387, 3.280473551, 0},
    {"P031", DP_P, 2, 1e-4, 20000, 1e-6, 0.1417984831, 63, 0.0322026072,
     0.02499947085, 0, 0},
    {"P038", DP_P, 3, 0.5, 50, 1e-5, 6.119068458, 4.4, 5.626423189, 5.626423039,
     5.625923019, 0},
    {"P048", DP_P, 20, 0.99, 20000, 1e-5, 56.46012191, 1.7, 53.57980887,
     53.57984846, 52.57976931, 0},
    {"P050", DP_G, 0.3, 1, 100, 1e-6, 733.0408522, 1.2, 0, 0, 0, 713.0684168},
    {"P059", DP_G, 20, 1, 1, 1e-6, 0.2187557205, 63, 0.189213219, 0, 0,
     0.1892131727},
    {"P061", DP_S, 1, 1e-4, 20000, 1e-6, 0.6019576126, 18, 0, 0, 0, 0},
    {"P067", DP_S, 10, 0.1, 2000, 1e-6, 4.684981139, 6, 0, 0, 0, 0},
};
static const dp_target DP_TARGETS[] = {
    {"CP005", DP_P, 0.5, 1e-9, 1e-4, 1000, 1.3562681, 0.68994691, 0},
    {"CP012", DP_P, 1, 1e-6, 0.1, 200, 6.586703, 6.1373647, 0},
    {"CP018", DP_G, 10, 1e-10, 1, 100, 7.0928835, 6.8304421, 6.830439672},
};

/* Split a line at commas, in place.  Returns the number of columns. */
static inline size_t dp_split(char *line, char **col, size_t cap) {
    size_t n = 0;
    line[strcspn(line, "\r\n")] = 0;
    while (n < cap) {
        col[n++] = line;
        line = strchr(line, ',');
        if (!line) break;
        *line++ = 0;
    }
    return n;
}

static inline hearth_mechanism dp_mechanism(const char *name) {
    if (strcmp(name, "gaussian") == 0) return DP_G;
    return strcmp(name, "swor_gaussian") == 0 ? DP_S : DP_P;
}

/* NULL after skip() when the file is not there. */
static inline FILE *dp_open(const char *name) {
    char path[512];
    if (!hearth_test_data(path, sizeof(path), name)) skip();
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    return f;
}

/* Give every row of the file to f.  Returns how many there were. */
static inline int dp_each_row(void (*f)(const dp_row *)) {
    FILE *file = dp_open("privacy/dp_reference.csv");
    char line[1024], *c[24];
    int rows = -1; /* the header */
    while (fgets(line, sizeof(line), file)) {
        size_t n = dp_split(line, c, 24);
        if (rows++ < 0) continue;
        assert_true(n >= 16);
        double v[16];
        for (int i = 3; i < 16; i++) v[i] = strtod(c[i], NULL);
        dp_row r = {c[0],  dp_mechanism(c[1]),
                    v[3],  v[4],
                    v[5],  v[6],
                    v[7],  v[8],
                    v[9],  v[11],
                    v[13], v[15]};
        f(&r);
    }
    fclose(file);
    return rows;
}

static inline int dp_each_target(void (*f)(const dp_target *)) {
    FILE *file = dp_open("privacy/dp_calibration.csv");
    char line[1024], *c[24];
    int rows = -1;
    while (fgets(line, sizeof(line), file)) {
        size_t n = dp_split(line, c, 24);
        if (rows++ < 0) continue;
        assert_true(n >= 9);
        double v[9];
        for (int i = 2; i < 9; i++) v[i] = strtod(c[i], NULL);
        dp_target t = {
            c[0], dp_mechanism(c[1]), v[2], v[3], v[4], v[5], v[6], v[7], v[8]};
        f(&t);
    }
    fclose(file);
    return rows;
}

/* The query of a row.  The table's multiplier is over how far one change moves
 * the sum, ours is over the norm bound: twice as much for replace-one. */
static inline hearth_account_query dp_query(const dp_row *r, hearth_method m) {
    bool swor = r->mechanism == DP_S;
    return (hearth_account_query){.mechanism = r->mechanism,
                                  .method = m,
                                  .relation = swor ? HEARTH_DP_REPLACE_ONE
                                                   : HEARTH_DP_ZERO_OUT,
                                  .z = swor ? 2 * r->z : r->z,
                                  .rate = r->q,
                                  .rounds = (uint64_t)r->rounds,
                                  .delta = r->delta};
}

#endif /* HEARTH_TESTS_DP_TABLE_H */

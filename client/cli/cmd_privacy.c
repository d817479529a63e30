/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/cmd_privacy.c - hearth privacy: sums of epsilon, and the ledger in
 * words (privacy_show.c). */
#include <string.h>

#include "client/cli/cli.h"
#include "client/cli/privacy_show.h"
#include "privacy/calibrate.h"
#include "privacy/epsilons.h"

int hearth_cmd_privacy(hearth_cli *cli, int argc, char **argv);

/* What account and calibrate share.  NULL: as fits the mechanism. */
typedef struct {
    const char *mechanism, *method, *relation;
    double noise, rate, delta, epsilon, interval;
    uint64_t rounds;
} question;

static const question ASK = {"gaussian", NULL, NULL, 0, 1, 1e-6, 0, 0, 1};

#define MECHANISMS "gaussian|poisson_gaussian|swor_gaussian"
#define METHODS    "exact|rdp|pld|zcdp"
#define RELATIONS  "zero-out|replace-one"

#define QUESTION_FLAGS(q)                                                      \
    HEARTH_FLAG_CHOICE("mechanism", MECHANISMS, "what adds the noise",         \
                       &(q).mechanism),                                        \
        HEARTH_FLAG_F64("rate", "Q", "share of devices sampled", &(q).rate,    \
                        1e-12, 1),                                             \
        HEARTH_FLAG_U64("rounds", "T", "rounds", &(q).rounds, 1, 100000000),   \
        HEARTH_FLAG_F64("delta", "D", "delta", &(q).delta, 1e-300, 0.5),       \
        HEARTH_FLAG_CHOICE("method", METHODS,                                  \
                           "how to account (exact, pld or rdp, as fits)",      \
                           &(q).method),                                       \
        HEARTH_FLAG_CHOICE("relation", RELATIONS,                              \
                           "how data sets differ (zero-out; swor_gaussian "    \
                           "replace-one)",                                     \
                           &(q).relation),                                     \
        HEARTH_FLAG_F64("interval", "H", "grid of pld (chosen)",               \
                        &(q).interval, 1e-12, 1e6)

static hearth_mechanism mechanism_of(const char *name) {
    for (int i = 0; i <= (int)HEARTH_MECHANISM_SWOR; i++)
        if (strcmp(name, hearth_mechanism_name((hearth_mechanism)i)) == 0)
            return (hearth_mechanism)i;
    return HEARTH_MECHANISM_GAUSSIAN;
}

static hearth_method method_of(const char *name, hearth_mechanism m) {
    if (!name) {
        if (m == HEARTH_MECHANISM_GAUSSIAN) return HEARTH_METHOD_EXACT;
        return m == HEARTH_MECHANISM_SWOR ? HEARTH_METHOD_RDP
                                          : HEARTH_METHOD_PLD;
    }
    for (int i = 0; i <= (int)HEARTH_METHOD_PLD; i++)
        if (strcmp(name, hearth_method_name((hearth_method)i)) == 0)
            return (hearth_method)i;
    return HEARTH_METHOD_EXACT;
}

static hearth_account_query query_of(const question *q) {
    hearth_mechanism m = mechanism_of(q->mechanism);
    hearth_dp_relation r =
        m == HEARTH_MECHANISM_SWOR ? HEARTH_DP_REPLACE_ONE : HEARTH_DP_ZERO_OUT;
    if (q->relation)
        r = strcmp(q->relation, "zero-out") == 0 ? HEARTH_DP_ZERO_OUT
                                                 : HEARTH_DP_REPLACE_ONE;
    return (hearth_account_query){.mechanism = m,
                                  .method = method_of(q->method, m),
                                  .relation = r,
                                  .z = q->noise,
                                  .rate = q->rate,
                                  .rounds = q->rounds,
                                  .delta = q->delta,
                                  .interval = q->interval};
}

static void answer(hearth_cli *cli, const hearth_account_query *q,
                   const hearth_account_answer *a) {
    const char *relation = hearth_dp_relation_name(q->relation);
    const char *method = hearth_method_name(q->method);
    hearth_event_begin(cli, "privacy");
    hearth_event_f64(cli, "epsilon", a->epsilon);
    hearth_event_f64(cli, "delta", q->delta);
    hearth_event_f64(cli, "noise_multiplier", q->z);
    hearth_event_str(cli, "mechanism", hearth_mechanism_name(q->mechanism));
    hearth_event_f64(cli, "rate", q->rate);
    hearth_event_u64(cli, "rounds", q->rounds);
    hearth_event_u64(cli, "participations", q->rounds); /* at most */
    hearth_event_str(cli, "relation", relation);
    hearth_event_str(cli, "unit", HEARTH_PRIVACY_UNIT);
    hearth_event_str(cli, "method", method);
    if (a->order > 0) hearth_event_f64(cli, "order", a->order);
    if (a->interval > 0) hearth_event_f64(cli, "interval", a->interval);
    hearth_event_end(cli);
    hearth_cli_say(cli,
                   "epsilon %.6g at delta %g: noise multiplier %.6g, %llu "
                   "rounds, %s, unit %s, method %s",
                   a->epsilon, q->delta, q->z, (unsigned long long)q->rounds,
                   relation, HEARTH_PRIVACY_UNIT, method);
    if (q->mechanism != HEARTH_MECHANISM_GAUSSIAN)
        hearth_cli_say(cli,
                       "With sampling of a share %g (%s). This may be claimed "
                       "against those who do not see who took part, never "
                       "against the coordinator.",
                       q->rate, hearth_mechanism_name(q->mechanism));
}

static int account(hearth_cli *cli, int argc, char **argv) {
    question q = ASK;
    const hearth_flag flags[] = {
        HEARTH_FLAG_F64("noise", "Z", "sigma over sensitivity", &q.noise, 1e-6,
                        1e9),
        QUESTION_FLAGS(q),
    };
    const hearth_usage u = {
        .command = "privacy account",
        .summary = "epsilon of a noise multiplier",
        .arguments = "--noise Z [flags]",
        .example = "hearth privacy account --noise 2.4 --rounds 5 --delta 1e-5 "
                   "--relation replace-one",
        .flags = flags,
        .n_flags = sizeof(flags) / sizeof(*flags),
        .required = "noise",
    };
    hearth_error err = {HEARTH_OK, ""};
    hearth_account_answer a;
    int rc;
    if (!hearth_cli_parse(cli, &u, argc, argv, &rc)) return rc;
    hearth_account_query query = query_of(&q);
    hearth_status st = hearth_account(&a, &query, NULL, &err);
    if (st != HEARTH_OK) return hearth_cli_fail(cli, st, &err, NULL);
    answer(cli, &query, &a);
    return HEARTH_EXIT_OK;
}

static int calibrate(hearth_cli *cli, int argc, char **argv) {
    question q = ASK;
    const hearth_flag flags[] = {
        HEARTH_FLAG_F64("epsilon", "E", "the target", &q.epsilon, 1e-9, 1e9),
        QUESTION_FLAGS(q),
    };
    const hearth_usage u = {
        .command = "privacy calibrate",
        .summary = "the smallest noise multiplier that meets an epsilon",
        .arguments = "--epsilon E [flags]",
        .example = "hearth privacy calibrate --epsilon 10 --rounds 5 --delta "
                   "1e-5 --relation replace-one",
        .flags = flags,
        .n_flags = sizeof(flags) / sizeof(*flags),
        .required = "epsilon",
    };
    hearth_error err = {HEARTH_OK, ""};
    hearth_account_answer a;
    int rc;
    if (!hearth_cli_parse(cli, &u, argc, argv, &rc)) return rc;
    hearth_account_query query = query_of(&q);
    hearth_status st = hearth_calibrate(&query, q.epsilon, &a, NULL, &err);
    if (st != HEARTH_OK) return hearth_cli_fail(cli, st, &err, NULL);
    answer(cli, &query, &a);
    return HEARTH_EXIT_OK;
}

/* The two epsilons and the noise-to-signal of a task: what an offer, a table
 * and the demo print, from the same function. */
static int task(hearth_cli *cli, int argc, char **argv) {
    double noise = 0, delta = 1e-6;
    uint64_t rounds = 1, devices = 1, least = 0, dim = 1;
    const hearth_flag flags[] = {
        HEARTH_FLAG_F64("noise", "Z", "sigma over sensitivity", &noise, 1e-6,
                        1e9),
        HEARTH_FLAG_U64("rounds", "T", "rounds a device takes part in", &rounds,
                        1, 1000000),
        HEARTH_FLAG_U64("devices", "N", "devices of a round", &devices, 1,
                        1000000000),
        HEARTH_FLAG_U64("least", "N", "count.min of the stage (the same)",
                        &least, 1, 1000000000),
        HEARTH_FLAG_U64("dimension", "D", "parameters sent", &dim, 1,
                        1000000000),
        HEARTH_FLAG_F64("delta", "D", "delta", &delta, 1e-300, 0.5),
    };
    const hearth_usage u = {
        .command = "privacy task",
        .summary = "what a federated task costs each device",
        .arguments = "--noise Z --devices N --dimension D [flags]",
        .example = "hearth privacy task --noise 2.4 --rounds 5 --devices 16 "
                   "--dimension 160 --delta 1e-5",
        .flags = flags,
        .n_flags = sizeof(flags) / sizeof(*flags),
        .required = "noise devices dimension",
    };
    hearth_epsilons e;
    int rc;
    if (!hearth_cli_parse(cli, &u, argc, argv, &rc)) return rc;
    const hearth_epsilons_query q = {.z = noise,
                                     .delta = delta,
                                     .participations = (uint32_t)rounds,
                                     .n_devices = devices,
                                     .n_min = least ? least : devices,
                                     .d = dim};
    hearth_status st = hearth_epsilons_local(&q, &e);
    if (st != HEARTH_OK) return hearth_cli_fail(cli, st, NULL, NULL);
    hearth_event_begin(cli, "task_privacy");
    hearth_event_f64(cli, "epsilon_coordinator", e.epsilon_coordinator);
    hearth_event_f64(cli, "epsilon_coordinator_exact",
                     e.epsilon_coordinator_exact);
    hearth_event_f64(cli, "epsilon_release", e.epsilon_release);
    hearth_event_f64(cli, "epsilon_release_exact", e.epsilon_release_exact);
    hearth_event_f64(cli, "noise_to_signal", e.noise_to_signal);
    hearth_event_f64(cli, "noise_multiplier", noise);
    hearth_event_f64(cli, "delta", delta);
    hearth_event_u64(cli, "participations", rounds);
    hearth_event_u64(cli, "devices", devices);
    hearth_event_str(cli, "relation", e.relation);
    hearth_event_str(cli, "unit", e.unit);
    hearth_event_end(cli);
    hearth_cli_say(cli, "epsilon_coordinator  %.4g (ledger), %.4g exact",
                   e.epsilon_coordinator, e.epsilon_coordinator_exact);
    hearth_cli_say(cli, "epsilon_release      %.4g (zCDP), %.4g exact",
                   e.epsilon_release, e.epsilon_release_exact);
    hearth_cli_say(cli, "noise-to-signal      %.4g", e.noise_to_signal);
    hearth_cli_say(cli,
                   "delta %g, %s, unit %s, %llu participations, no "
                   "amplification claimed",
                   delta, e.relation, e.unit, (unsigned long long)rounds);
    return HEARTH_EXIT_OK;
}

int hearth_cmd_privacy(hearth_cli *cli, int argc, char **argv) {
    static const hearth_subcommand SUBS[] = {
        {"show", hearth_cli_privacy_show, "the ledger of this device in words"},
        {"account", account, "epsilon of a noise multiplier"},
        {"calibrate", calibrate, "noise multiplier for an epsilon"},
        {"task", task, "what a federated task costs each device"},
    };
    bool help = argc > 1 && strcmp(argv[1], "--help") == 0;
    if (argc < 2 || (argv[1][0] == '-' && !help))
        return hearth_cli_privacy_show(cli, argc, argv);
    return hearth_cli_dispatch(cli, "privacy", SUBS,
                               sizeof(SUBS) / sizeof(*SUBS), argc, argv);
}

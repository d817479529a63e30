/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/hearthd_cmd.h - what the commands of hearthd share.
 *
 * A command gets the words after its name, parses them against a table, does
 * one thing and returns an exit code: 0 done, 1 it failed, 2 bad usage.  Unknown
 * flags are errors.  Output goes through hearthd_say (words) and hearthd_event
 * (with --json: one object a line).
 *
 * Threads: main thread only.
 */
#ifndef HEARTH_COORDINATOR_HEARTHD_CMD_H
#define HEARTH_COORDINATOR_HEARTHD_CMD_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"
#include "common/error.h"
#include "coordinator/auth_store.h"
#include "coordinator/coord_store.h"
#include "coordinator/server_config.h"
#include "coordinator/task.h"

#define HEARTHD_MAX_WORDS 4

/* A flag of a command.  arg NULL: it takes no value. */
typedef struct {
    const char *name, *arg, *help;
    const char *value; /* given value, or "" for a flag; NULL: not given */
} hearthd_option;

/* What one command line said. */
typedef struct {
    const char *command; /* "token create" */
    hearthd_option *option;
    size_t n_options;
    const char *word[HEARTHD_MAX_WORDS]; /* what is no flag */
    size_t n_words;
    bool json;
    const char *config; /* -c FILE */
} hearthd_args;

/* A command and its help. */
typedef struct {
    const char *name;  /* "token create" */
    const char *words; /* "TASK [SEQUENCE]" or "" */
    const char *what;  /* one sentence */
    const char *example;
    hearthd_option option[8]; /* ends with a NULL name */
    size_t min_words, max_words;
    int (*run)(hearthd_args *a);
} hearthd_command;

/* The tables, one per file; each ends with a NULL name. */
extern hearthd_command hearthd_commands_serve[];
extern hearthd_command hearthd_commands_init[];
extern hearthd_command hearthd_commands_device[];
extern hearthd_command hearthd_commands_task[];
extern hearthd_command hearthd_commands_release[];
extern hearthd_command hearthd_commands_admin[];

/* Parse argv [argc] (after the command's name).  0, or the exit code to leave
 * with (2 after a message; -1: help was shown, leave with 0). */
int hearthd_parse(hearthd_args *a, hearthd_command *c, int argc, char **argv);

/* Value of a flag, or fallback. */
const char *hearthd_get(const hearthd_args *a, const char *name,
                        const char *fallback);

/* One line of words for a person; silent with --json. */
void hearthd_say(const hearthd_args *a, const char *fmt, ...)
    HEARTH_PRINTF(2, 3);

/* An event: pairs (key, type, value) up to a NULL key.  Types: 's' const char *,
 * 'i' long long, 'f' double (null when there is no bound: DBL_MAX or not
 * finite), 'b' int.  Printed only with --json. */
void hearthd_event(const hearthd_args *a, const char *event, ...);

/* An epsilon with three decimals, or "unbounded" where the task has DBL_MAX
 * (nothing is promised, as for the release of a round of one device).  out. */
const char *hearthd_epsilon(char out[24], double epsilon);

/* Report err; returns 1. */
int hearthd_fail(const hearthd_args *a, const hearth_error *err);
/* Report bad usage; returns 2. */
int hearthd_usage(const hearthd_args *a, const char *fmt, ...)
    HEARTH_PRINTF(2, 3);

/* Settings, and what most commands work on.  Open what is needed. */
typedef struct {
    hearth_server_config cfg;
    hearth_auth_store *devices;
    hearth_coord_store *store;
    hearth_sign_keypair *release_key;
    hearth_rng *rng;
    hearth_task_env env;
    hearth_error err;
} hearthd_state;

hearth_status hearthd_open_config(hearthd_state *s, const hearthd_args *a);
hearth_status hearthd_open_devices(hearthd_state *s, const hearthd_args *a);
hearth_status hearthd_open_store(hearthd_state *s, const hearthd_args *a);
/* The store and what publishing needs: s->env is filled. */
hearth_status hearthd_open_publish(hearthd_state *s, const hearthd_args *a);
void hearthd_close(hearthd_state *s);
/* Close s and report st: the exit code, 0 or 1. */
int hearthd_finish(const hearthd_args *a, hearthd_state *s, hearth_status st);

#endif /* HEARTH_COORDINATOR_HEARTHD_CMD_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/records_bench.h - what the `records` commands share: the open
 * record store of a state directory, and the commands that are long enough for
 * a file of their own. */
#ifndef HEARTH_CLI_RECORDS_BENCH_H
#define HEARTH_CLI_RECORDS_BENCH_H

#include "client/cli/cli.h"
#include "client/records/record_store.h"

typedef struct {
    const char *state; /* of --state; borrowed */
    char dir[900];
    hearth_db *db;
    hearth_record_store *rs;
} hearth_records_bench;

#define HEARTH_RECORDS_STATE_FLAG(b)                                           \
    HEARTH_FLAG_STR("state", "DIR", "state directory of this device",          \
                    &(b).state)

/* Open the store; makes the directory when `create`, else HEARTH_ENOTFOUND
 * where there is none.  _close is to be called all the same. */
HEARTH_MUST_CHECK
hearth_status hearth_records_bench_open(hearth_records_bench *b, bool create,
                                        hearth_error *err);
void hearth_records_bench_close(hearth_records_bench *b);

/* `hearth records check` and `hearth records forget`. */
int hearth_cli_records_check(hearth_cli *cli, int argc, char **argv);
int hearth_cli_records_forget(hearth_cli *cli, int argc, char **argv);

#endif /* HEARTH_CLI_RECORDS_BENCH_H */

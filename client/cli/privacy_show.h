/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/privacy_show.h - `hearth privacy show`: the ledger as a person
 * reads it: what was sent, when, to whom, how much of the budget is spent, and
 * what cannot be undone. */
#ifndef HEARTH_CLI_PRIVACY_SHOW_H
#define HEARTH_CLI_PRIVACY_SHOW_H

#include "client/cli/cli.h"

/* Without SQLite in the build: fails with HEARTH_EUNSUPPORTED. */
int hearth_cli_privacy_show(hearth_cli *cli, int argc, char **argv);

#endif /* HEARTH_CLI_PRIVACY_SHOW_H */

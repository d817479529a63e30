/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/cli_private.h - between the files of the frame. */
#ifndef HEARTH_CLI_CLI_PRIVATE_H
#define HEARTH_CLI_CLI_PRIVATE_H

#include <stdarg.h>

#include "client/cli/cli.h"

/* The help of one command on cli->out. */
void hearth_cli__print_help(hearth_cli *cli, const hearth_usage *u);

/* hearth_cli_usage_error over a va_list. */
void hearth_cli__usage_text(hearth_cli *cli, const char *fmt, va_list ap)
    HEARTH_PRINTF(2, 0);

/* Is candidate a likelier meaning of a misspelt word than *best so far? */
bool hearth_cli__closer(const char *word, const char *candidate, size_t *best);

/* Wipe a progress bar off the terminal's last line. */
void hearth_cli__clear_bar(hearth_cli *cli);

#endif /* HEARTH_CLI_CLI_PRIVATE_H */

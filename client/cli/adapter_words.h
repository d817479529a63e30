/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/adapter_words.h - words of `hearth adapter` in files of their own.
 *
 * Threads: one thread.
 */
#ifndef HEARTH_CLIENT_CLI_ADAPTER_WORDS_H
#define HEARTH_CLIENT_CLI_ADAPTER_WORDS_H

#include "client/cli/cli.h"

/* client/cli/adapter_export_word.c */
int hearth_adapter_word_export(hearth_cli *cli, int argc, char **argv);

#endif /* HEARTH_CLIENT_CLI_ADAPTER_WORDS_H */

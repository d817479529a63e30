/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/model_words.h - the words of `hearth model` that have a file of
 * their own; each is a hearth_subcommand.
 *
 * Threads: the program's main thread.
 */
#ifndef HEARTH_CLIENT_CLI_MODEL_WORDS_H
#define HEARTH_CLIENT_CLI_MODEL_WORDS_H

#include "client/cli/cli.h"

/* client/cli/model_compute.c: one pass over given ids, its numbers to a
 * safetensors file.  For those who compare Hearth with something else. */
int hearth_model_word_logits(hearth_cli *cli, int argc, char **argv);
int hearth_model_word_gradients(hearth_cli *cli, int argc, char **argv);

/* client/cli/model_convert_word.c: a model as a GGUF file. */
int hearth_model_word_convert(hearth_cli *cli, int argc, char **argv);

#endif /* HEARTH_CLIENT_CLI_MODEL_WORDS_H */

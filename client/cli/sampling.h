/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/sampling.h - the flags that `generate` and `chat` share, and how
 * text reaches the terminal.
 *
 * Threads: one thread.
 */
#ifndef HEARTH_CLI_SAMPLING_H
#define HEARTH_CLI_SAMPLING_H

#include "client/cli/workbench.h"
#include "client/infer/generate.h"
#include "client/tokenizer/chat_template.h"

typedef struct {
    hearth_cli_list stops;
    uint64_t max_tokens, top_k, seed, context;
    double temperature, top_p, repeat_penalty;
    bool ignore_eos;
    int32_t end[4]; /* tokens that end a turn, beside the model's own */
    size_t n_end;
} hearth_sampling;

#define HEARTH_SAMPLING_INIT                                                   \
    { .max_tokens = 128, .top_p = 1.0, .repeat_penalty = 1.0, .seed = 1, }

/* clang-format off */
#define HEARTH_SAMPLING_FLAGS(s)                                              \
    HEARTH_FLAG_U64("max-tokens", "N", "new tokens at most", &(s).max_tokens, \
                    1, 1u << 20),                                             \
    HEARTH_FLAG_F64("temperature", "X", "0 = always the likeliest",           \
                    &(s).temperature, 0.0, 100.0),                            \
    HEARTH_FLAG_F64("top-p", "X", "likeliest tokens of this mass",            \
                    &(s).top_p, 1e-6, 1.0),                                   \
    HEARTH_FLAG_U64("top-k", "N", "likeliest N tokens, 0 = all", &(s).top_k,  \
                    0, UINT32_MAX),                                           \
    HEARTH_FLAG_F64("repeat-penalty", "X", "above 1: repeats less",           \
                    &(s).repeat_penalty, 0.01, 100.0),                        \
    HEARTH_FLAG_LIST("stop", "TEXT", "end before it; may be given again",     \
                     &(s).stops),                                             \
    HEARTH_FLAG_U64("seed", "N", "of the draws", &(s).seed, 0, UINT64_MAX),   \
    HEARTH_FLAG_U64("context", "N", "positions at most, 0 = the model's",     \
                    &(s).context, 0, 1u << 22),                               \
    HEARTH_FLAG_BOOL("ignore-eos", "go on after an end token",                \
                     &(s).ignore_eos)
/* clang-format on */

/* The flags as options; borrows s. */
hearth_generate_options hearth_sampling_options(const hearth_sampling *s);

/* Let the marker that closes a turn of this template end the text too. */
void hearth_sampling_end_of_turn(hearth_sampling *s, const hearth_tokenizer *t,
                                 hearth_chat_template tmpl);

/* For hearth_generator_run: ud is a hearth_cli.  Text as it comes, an event
 * for each piece with --json; false on Ctrl-C. */
bool hearth_sampling_on_text(void *ud, const char *utf8, size_t n);

/* The event that closes a text, and for people an end of line. */
void hearth_sampling_done(hearth_cli *cli, const hearth_generate_result *r,
                          double seconds);

#endif /* HEARTH_CLI_SAMPLING_H */

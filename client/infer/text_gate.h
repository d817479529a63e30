/* SPDX-License-Identifier: Apache-2.0 */
/* client/infer/text_gate.h - what stands between tokens and the app's text
 * callback: holds bytes back until they are whole UTF-8 characters and cannot
 * be the beginning of a stop string.
 *
 * Bytes that can never become UTF-8 are given as U+FFFD, one for one.  A
 * character still incomplete at the end is dropped.
 *
 * Threads: one at a time.   Memory: holds at most a piece and a stop string.
 */
#ifndef HEARTH_CLIENT_INFER_TEXT_GATE_H
#define HEARTH_CLIENT_INFER_TEXT_GATE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"
#include "common/status.h"

typedef struct {
    hearth_buf raw;          /* bytes that are not yet whole characters */
    hearth_buf held;         /* characters that may begin a stop string */
    const char *const *stop; /* [n_stop], borrowed for the run */
    size_t n_stop;
    bool (*out)(void *ud, const char *utf8, size_t n); /* may be NULL */
    void *ud;
    bool stopped;   /* a stop string came up */
    bool cancelled; /* out returned false */
} hearth_text_gate;

void hearth_text_gate_init(hearth_text_gate *g, const hearth_alloc *al);
void hearth_text_gate_free(hearth_text_gate *g);

/* Begin a run: forget what is held. */
void hearth_text_gate_start(hearth_text_gate *g, const char *const *stop,
                            size_t n_stop,
                            bool (*out)(void *ud, const char *utf8, size_t n),
                            void *ud);

/* Add bytes [n].  HEARTH_OK or HEARTH_ENOMEM.  Nothing is given out once
 * stopped or cancelled. */
HEARTH_MUST_CHECK hearth_status hearth_text_gate_push(hearth_text_gate *g,
                                                      const char *bytes,
                                                      size_t n);

/* Give out what was held for a stop string that never came. */
void hearth_text_gate_finish(hearth_text_gate *g);

#endif /* HEARTH_CLIENT_INFER_TEXT_GATE_H */

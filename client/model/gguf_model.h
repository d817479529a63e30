/* SPDX-License-Identifier: Apache-2.0 */
/* client/model/gguf_model.h - a GGUF file as a complete model: its settings as
 * a config, its tensors as views in Hugging Face's order.
 *
 * What GGUF does otherwise is undone here and nowhere else: rows of q and k of
 * the "llama" architecture are permuted, Gemma's norms hold the 1 that is
 * added to them, llama3 scaling is a tensor of divisors, GPT-2's linears are
 * not transposed.
 *
 * Threads: pure functions over an immutable reader.
 * Source:  the names and keys of GGUF, as in common/FORMATS.md.
 */
#ifndef HEARTH_CLIENT_MODEL_GGUF_MODEL_H
#define HEARTH_CLIENT_MODEL_GGUF_MODEL_H

#include <stddef.h>

#include "client/model/base_model.h"
#include "common/gguf.h"
#include "common/status.h"

/* The config that the file's settings describe; `what` names it in errors.
 * HEARTH_EUNSUPPORTED  an architecture or setting that is not supported
 * HEARTH_EFORMAT       a setting missing, of a wrong type or out of range
 * *out is zero on error. */
HEARTH_MUST_CHECK hearth_status
hearth_gguf_model_config(hearth_model_config *out, const hearth_gguf *g,
                         const char *what, hearth_error *err);

/* "llama", "gpt2": general.architecture of a config's family; NULL when GGUF
 * has no word for it.  Static. */
const char *hearth_gguf_model_arch(const hearth_model_config *c);

/* The name of a tensor in GGUF ("blk.0.attn_q.weight") into out [cap]; ""
 * when the format has none. */
void hearth_gguf_model_name(char *out, size_t cap, const hearth_model_config *c,
                            const hearth_model_tensor *t);

/* Are the rows of this role permuted in GGUF files of the architecture? */
bool hearth_gguf_model_permutes(const hearth_model_config *c,
                                hearth_tensor_role role);

/* Does this role's tensor hold 1 more than Hugging Face's? */
bool hearth_gguf_model_shifts(const hearth_model_config *c,
                              const hearth_model_tensor *t);

/* The view of one tensor, and where it comes from.  HEARTH_EFORMAT when it is
 * missing or of another shape. */
HEARTH_MUST_CHECK hearth_status hearth_gguf_model_tensor(
    hearth_weight *view, const hearth_gguf_tensor **from, const hearth_gguf *g,
    const hearth_model_config *c, const hearth_model_tensor *want,
    const char *what, hearth_error *err);

/* HEARTH_EFORMAT naming a tensor that no role asks for. */
HEARTH_MUST_CHECK hearth_status
hearth_gguf_model_no_more(const hearth_gguf *g, const hearth_model_config *c,
                          const char *what, hearth_error *err);

#endif /* HEARTH_CLIENT_MODEL_GGUF_MODEL_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* client/model/family.h - what one family of architectures looks like.
 *
 * A family is a row of data: its names in config.json, its tensors with their
 * shapes in terms of the config, and the fields of config.json it knows.  The
 * loader, the saver, the digest and the decoder's full mode walk these tables,
 * so that another family is another row (and whatever its layers compute).
 *
 * Threads: constant data.
 */
#ifndef HEARTH_CLIENT_MODEL_FAMILY_H
#define HEARTH_CLIENT_MODEL_FAMILY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/model/base_model.h"
#include "client/model/model_config.h"

/* A side of a tensor, as a function of the config. */
typedef enum {
    HEARTH_SIDE_ONE, /* absent: the tensor is a vector */
    HEARTH_SIDE_VOCAB,
    HEARTH_SIDE_HIDDEN,
    HEARTH_SIDE_FFN,
    HEARTH_SIDE_QUERY,   /* n_heads * head_dim */
    HEARTH_SIDE_KV,      /* n_kv_heads * head_dim */
    HEARTH_SIDE_QKV,     /* query + 2 kv */
    HEARTH_SIDE_GATE_UP, /* 2 ffn */
    HEARTH_SIDE_HEAD_DIM,
    HEARTH_SIDE_POSITIONS
} hearth_side;

typedef struct {
    hearth_tensor_role role;
    const char *name; /* before the layer number, or all of it */
    const char *tail; /* after the layer number; NULL: once per model */
    hearth_side rows, cols;
    bool transposed; /* the file's shape is [cols, rows] */
} hearth_family_tensor;

/* What to do with a field of config.json that the common parser does not
 * read. */
typedef enum {
    HEARTH_FIELD_IGNORE, /* cannot change results */
    HEARTH_FIELD_FALSE,  /* must be false or null */
    HEARTH_FIELD_ZERO,   /* must be 0 or null */
    HEARTH_FIELD_ONE,    /* must be 1 or null */
    HEARTH_FIELD_NULL,   /* must be null */
    HEARTH_FIELD_TRUE,   /* must be true or null */
    HEARTH_FIELD_READ    /* the parser reads it */
} hearth_field_rule;

typedef struct {
    const char *name;
    hearth_field_rule rule;
} hearth_family_field;

/* What transformers takes where config.json has no such key. */
typedef struct {
    uint32_t kv_heads;  /* 0: as many as heads */
    uint32_t head_dim;  /* 0: hidden size / heads */
    uint32_t positions; /* longest text */
    uint32_t window;    /* of layers that slide; 0: none slide */
    double norm_eps;
} hearth_family_defaults;

/* What config.json calls the sizes, where families differ. */
typedef struct {
    const char *hidden, *layers, *heads, *ffn, *positions, *act, *norm_eps;
} hearth_family_words;

typedef struct {
    const char *architecture; /* "LlamaForCausalLM" */
    const char *headless;     /* "LlamaModel": the same, saved without head */
    const char *model_type;   /* "llama" */
    const char *prefix; /* of all tensors but the head, may be absent from a
                           file: "model." */
    hearth_lora_names names; /* how its modules are spelt */
    uint32_t automatic;      /* PEFT's default targets */
    hearth_family_words words;
    hearth_family_defaults missing;
    hearth_model_config fixed;  /* what every model of the family has */
    const char *const *ignored; /* endings of tensors that are no weights,
                                   NULL-terminated */
    const hearth_family_tensor *tensor; /* in canonical order */
    size_t n_tensors;
    const hearth_family_field *field; /* beyond what all have */
    size_t n_fields;
} hearth_family;

/* All families, for messages and look-up. */
const hearth_family *hearth_family_all(size_t *n);

/* The rule of a field of config.json; NULL when it is not known. */
const hearth_family_field *hearth_family_field_find(const hearth_family *f,
                                                    const char *name);

/* By architecture; NULL when it is not supported. */
const hearth_family *hearth_family_find(const char *architecture);

/* Elements of a side. */
uint32_t hearth_family_side(const hearth_model_config *c, hearth_side side);

#endif /* HEARTH_CLIENT_MODEL_FAMILY_H */

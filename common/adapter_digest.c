/* SPDX-License-Identifier: Apache-2.0 */
/* common/adapter_digest.c - the text is written line by line to a sink that
 * either hashes or keeps it, so that what is shown is what was hashed.
 *
 * Floats go in as their bits: two alphas that print alike are not the same. */
#include "common/adapter_digest.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/bytes.h"
#include "common/error.h"
#include "common/hash.h"

typedef struct {
    hearth_sha256_state *hash; /* one of the two */
    hearth_buf *buf;
    hearth_status st;
} sink;

static void line(sink *s, const char *fmt, ...) HEARTH_PRINTF(2, 3);

static void line(sink *s, const char *fmt, ...) {
    char text[512];
    va_list ap;
    if (s->st != HEARTH_OK) return;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof(text))
        s->st = HEARTH_EINVAL;
    else if (s->buf)
        s->st = hearth_buf_append(s->buf, text, (size_t)n);
    else
        s->st = hearth_sha256_add(s->hash, text, (size_t)n);
}

static uint32_t float_bits(float f) {
    uint32_t u;
    memcpy(&u, &f, sizeof(u));
    return u;
}

static const char *hex32(char out[65], const uint8_t *p) {
    hearth_hex_encode(out, p, 32);
    return out;
}

hearth_status hearth_adapter_values_digest(const hearth_adapter *a,
                                           hearth_part part, uint8_t out[32]) {
    hearth_sha256_state h;
    if (!out) return HEARTH_EINVAL;
    memset(out, 0, 32);
    if (!a) return HEARTH_EINVAL;
    hearth_status st = hearth_sha256_init(&h);
    if (st != HEARTH_OK) return st;
    for (size_t i = 0; i < a->n_pairs && st == HEARTH_OK; i++) {
        hearth_span s[2];
        hearth_adapter one = {.n_pairs = 1, .pair = &a->pair[i]};
        size_t k = hearth_adapter_spans(&one, part, s, 2);
        for (size_t j = 0; j < k; j++)
            for (size_t e = 0; e < s[j].n && st == HEARTH_OK;) {
                uint8_t block[1024];
                size_t m = 0;
                for (; m < sizeof(block) && e < s[j].n; m += 4, e++)
                    hearth_store_le32(block + m, float_bits(s[j].v[e]));
                st = hearth_sha256_add(&h, block, m);
            }
    }
    if (st == HEARTH_OK) st = hearth_sha256_finish(&h, out);
    hearth_sha256_free(&h);
    if (st != HEARTH_OK) memset(out, 0, 32);
    return st;
}

static void write_space(sink *s, const hearth_adapter *a,
                        const hearth_base_identity *base) {
    char hex[65];
    line(s, "hearth.space.v1\n");
    line(s, "checkpoint %s\n", hex32(hex, base->checkpoint));
    line(s, "tokenizer %s\n", hex32(hex, base->tokenizer));
    line(s, "template %s\n", hex32(hex, base->chat_template));
    for (size_t i = 0; i < a->n_pairs; i++)
        line(s, "target %s %u %u\n", a->pair[i].module,
             (unsigned)a->pair[i].out, (unsigned)a->pair[i].in);
    if (!a->freeze_a || !a->has_a_seed) {
        line(s, "a none\n");
        return;
    }
    uint8_t digest[32];
    hearth_status st = hearth_adapter_values_digest(a, HEARTH_PART_A, digest);
    if (st != HEARTH_OK && s->st == HEARTH_OK) s->st = st;
    line(s, "a seed %s\n", hex32(hex, a->a_seed));
    line(s, "a sha256 %s\n", hex32(hex, digest));
}

static void write_shape(sink *s, const hearth_adapter *a) {
    line(s, "hearth.shape.v1\nrslora %d\n", a->rslora ? 1 : 0);
    for (size_t i = 0; i < a->n_pairs; i++)
        line(s, "rank %s %u alpha %08x\n", a->pair[i].module,
             (unsigned)a->pair[i].rank, (unsigned)float_bits(a->pair[i].alpha));
}

static void write_payload(sink *s, const hearth_adapter *a, hearth_part part,
                          const hearth_payload_terms *t) {
    unsigned long long offset = 0;
    line(s, "hearth.payload.v1\n");
    for (size_t i = 0; i < a->n_pairs; i++) {
        const hearth_adapter_pair *p = &a->pair[i];
        if (part & HEARTH_PART_A) {
            line(s, "tensor %s.lora_A %u %u at %llu\n", p->module,
                 (unsigned)p->rank, (unsigned)p->in, offset);
            offset += (unsigned long long)p->rank * p->in;
        }
        if (part & HEARTH_PART_B) {
            line(s, "tensor %s.lora_B %u %u at %llu\n", p->module,
                 (unsigned)p->out, (unsigned)p->rank, offset);
            offset += (unsigned long long)p->out * p->rank;
        }
    }
    for (size_t k = 0; k < t->n_coords; k++)
        line(s, "coordinate %lu at %llu\n", (unsigned long)t->coord_max[k],
             offset + k);
    line(s, "scale %llu / %llu\n", (unsigned long long)t->scale_num,
         (unsigned long long)t->scale_den);
    line(s, "bound2 %llu\ndelta2 %llu\n", (unsigned long long)t->bound_squared,
         (unsigned long long)t->delta2_squared);
}

static bool terms_ok(const hearth_payload_terms *t) {
    return t && t->scale_num && t->scale_den &&
           t->n_coords <= HEARTH_PAYLOAD_MAX_COORDS;
}

static bool part_ok(hearth_part part) {
    return part == HEARTH_PART_A || part == HEARTH_PART_B ||
           part == HEARTH_PART_AB;
}

typedef enum { SPACE, SHAPE, PAYLOAD } what;

/* Any of the three texts into s. */
static void write_text(sink *s, what w, const hearth_adapter *a,
                       const hearth_base_identity *base, hearth_part part,
                       const hearth_payload_terms *t) {
    if (!a || (w == SPACE && !base) ||
        (w == PAYLOAD && (!terms_ok(t) || !part_ok(part))))
        s->st = HEARTH_EINVAL;
    else if (w == SPACE)
        write_space(s, a, base);
    else if (w == SHAPE)
        write_shape(s, a);
    else
        write_payload(s, a, part, t);
}

static hearth_status digest(what w, const hearth_adapter *a,
                            const hearth_base_identity *base, hearth_part part,
                            const hearth_payload_terms *t, uint8_t out[32]) {
    hearth_sha256_state h;
    sink s = {&h, NULL, HEARTH_OK};
    if (!out) return HEARTH_EINVAL;
    memset(out, 0, 32);
    if ((s.st = hearth_sha256_init(&h)) != HEARTH_OK) return s.st;
    write_text(&s, w, a, base, part, t);
    if (s.st == HEARTH_OK) s.st = hearth_sha256_finish(&h, out);
    hearth_sha256_free(&h);
    if (s.st != HEARTH_OK) memset(out, 0, 32);
    return s.st;
}

static hearth_status text(what w, const hearth_adapter *a,
                          const hearth_base_identity *base, hearth_part part,
                          const hearth_payload_terms *t, hearth_buf *buf) {
    sink s = {NULL, buf, HEARTH_OK};
    if (!buf) return HEARTH_EINVAL;
    write_text(&s, w, a, base, part, t);
    return s.st;
}

hearth_status hearth_adapter_space_digest(const hearth_adapter *a,
                                          const hearth_base_identity *base,
                                          uint8_t out[32]) {
    return digest(SPACE, a, base, HEARTH_PART_AB, NULL, out);
}

hearth_status hearth_adapter_shape_digest(const hearth_adapter *a,
                                          uint8_t out[32]) {
    return digest(SHAPE, a, NULL, HEARTH_PART_AB, NULL, out);
}

hearth_status hearth_adapter_payload_digest(const hearth_adapter *a,
                                            hearth_part part,
                                            const hearth_payload_terms *terms,
                                            uint8_t out[32]) {
    return digest(PAYLOAD, a, NULL, part, terms, out);
}

hearth_status hearth_adapter_space_text(const hearth_adapter *a,
                                        const hearth_base_identity *base,
                                        hearth_buf *buf) {
    return text(SPACE, a, base, HEARTH_PART_AB, NULL, buf);
}

hearth_status hearth_adapter_shape_text(const hearth_adapter *a,
                                        hearth_buf *buf) {
    return text(SHAPE, a, NULL, HEARTH_PART_AB, NULL, buf);
}

hearth_status hearth_adapter_payload_text(const hearth_adapter *a,
                                          hearth_part part,
                                          const hearth_payload_terms *terms,
                                          hearth_buf *buf) {
    return text(PAYLOAD, a, NULL, part, terms, buf);
}

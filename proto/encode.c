/* SPDX-License-Identifier: Apache-2.0 */
/* proto/encode.c - structs to msgpack, row by row.
 *
 * A struct is checked before its first byte is written, and msgpack-c picks the
 * shortest form of every integer, so each value has exactly one encoding.
 */
#include <msgpack.h>
#include <string.h>

#include "proto/fields.h"
#include "proto/messages.h"

/* msgpack-c's writer: append to the buffer, remember failure in it. */
static int write_cb(void *data, const char *p, size_t n) {
    return hearth_buf_append(data, p, n) == HEARTH_OK ? 0 : -1;
}

static void put_key(msgpack_packer *pk, const char *key) {
    size_t n = strlen(key);
    (void)msgpack_pack_str(pk, n);
    (void)msgpack_pack_str_body(pk, key, n);
}

static void put_struct(msgpack_packer *pk, const hearth_fields *t,
                       const char *m, bool top);

static void put_list(msgpack_packer *pk, const hearth_field *f, const char *m) {
    uint32_t n, u;
    memcpy(&n, m + f->count_offset, sizeof(n));
    (void)msgpack_pack_array(pk, n);
    for (uint32_t i = 0; i < n; i++) {
        const char *p = m + f->offset + (size_t)i * f->size;
        if (f->type == HEARTH_FIELD_U32S) {
            memcpy(&u, p, sizeof(u));
            (void)msgpack_pack_uint32(pk, u);
        } else if (f->type == HEARTH_FIELD_STRS) {
            put_key(pk, p);
        } else if (f->type == HEARTH_FIELD_BINS) {
            (void)msgpack_pack_bin(pk, f->size);
            (void)msgpack_pack_bin_body(pk, p, f->size);
        } else {
            put_struct(pk, f->sub, p, false);
        }
    }
}

static void put_bytes(msgpack_packer *pk, const hearth_field *f,
                      const char *m) {
    const void *p;
    uint32_t n;
    memcpy(&p, m + f->offset, sizeof(p));
    memcpy(&n, m + f->count_offset, sizeof(n));
    (void)msgpack_pack_bin(pk, n);
    (void)msgpack_pack_bin_body(pk, p, n);
}

static void put_number(msgpack_packer *pk, const hearth_field *f,
                       const char *p) {
    uint32_t u32;
    uint64_t u64;
    int32_t i32;
    double d;
    bool b;
    switch (f->type) {
    case HEARTH_FIELD_U32:
        memcpy(&u32, p, sizeof(u32));
        (void)msgpack_pack_uint32(pk, u32);
        break;
    case HEARTH_FIELD_U64:
        memcpy(&u64, p, sizeof(u64));
        (void)msgpack_pack_uint64(pk, u64);
        break;
    case HEARTH_FIELD_I32:
        memcpy(&i32, p, sizeof(i32));
        (void)msgpack_pack_int32(pk, i32);
        break;
    case HEARTH_FIELD_F64:
        memcpy(&d, p, sizeof(d));
        (void)msgpack_pack_double(pk, d);
        break;
    default:
        memcpy(&b, p, sizeof(b));
        if (b)
            (void)msgpack_pack_true(pk);
        else
            (void)msgpack_pack_false(pk);
    }
}

static void put_field(msgpack_packer *pk, const hearth_field *f,
                      const char *m) {
    put_key(pk, f->key);
    switch (f->type) {
    case HEARTH_FIELD_STR: put_key(pk, m + f->offset); break;
    case HEARTH_FIELD_BIN:
        (void)msgpack_pack_bin(pk, f->size);
        (void)msgpack_pack_bin_body(pk, m + f->offset, f->size);
        break;
    case HEARTH_FIELD_BYTES: put_bytes(pk, f, m); break;
    case HEARTH_FIELD_MAP: put_struct(pk, f->sub, m + f->offset, false); break;
    case HEARTH_FIELD_U32S:
    case HEARTH_FIELD_STRS:
    case HEARTH_FIELD_BINS:
    case HEARTH_FIELD_MAPS: put_list(pk, f, m); break;
    case HEARTH_FIELD_U32:
    case HEARTH_FIELD_U64:
    case HEARTH_FIELD_I32:
    case HEARTH_FIELD_F64:
    case HEARTH_FIELD_BOOL: put_number(pk, f, m + f->offset); break;
    }
}

static void put_struct(msgpack_packer *pk, const hearth_fields *t,
                       const char *m, bool top) {
    (void)msgpack_pack_map(pk, t->n + (top ? 1 : 0));
    if (top) {
        put_key(pk, "v");
        (void)msgpack_pack_uint32(pk, HEARTH_PROTO_MAJOR);
    }
    for (size_t i = 0; i < t->n; i++) put_field(pk, &t->field[i], m);
}

hearth_status hearth_fields_encode(hearth_buf *buf, const hearth_fields *t,
                                   const void *m) {
    hearth_buf out = {NULL, 0, 0, buf ? buf->al : NULL, false};
    msgpack_packer pk;
    hearth_status st;

    if (!buf || !m) return HEARTH_EINVAL;
    if ((st = hearth_fields_check(t, m)) != HEARTH_OK) return st;
    msgpack_packer_init(&pk, &out, write_cb);
    put_struct(&pk, t, m, true);
    st = out.failed ? HEARTH_ENOMEM : hearth_buf_append(buf, out.v, out.n);
    hearth_buf_free(&out);
    return st;
}

#define X(name)                                                                \
    hearth_status hearth_encode_##name(hearth_buf *buf,                        \
                                       const hearth_##name *m) {               \
        return hearth_fields_encode(buf, &hearth_fields_##name, m);            \
    }
HEARTH_MESSAGE_MAP(X)
#undef X

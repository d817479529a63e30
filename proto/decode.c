/* SPDX-License-Identifier: Apache-2.0 */
/* proto/decode.c - msgpack to structs, strictly.
 *
 * The bytes are scanned before msgpack-c sees them, so it allocates in
 * proportion to what is there.  Its tree is read through the table: type,
 * range, every key once.  Last, the struct is encoded again and must give the
 * same bytes: that leaves one spelling for every message, whatever freedom
 * msgpack has.
 */
#include <msgpack.h>
#include <string.h>

#include "common/bytes.h"
#include "common/error.h"
#include "proto/fields.h"
#include "proto/messages.h"
#include "proto/mp_scan.h"

/* Where we are, for messages and for borrowed bytes. */
typedef struct {
    const hearth_fields *top;
    const uint8_t *bytes;
    size_t n;
    hearth_error *err;
} reader;

static hearth_status bad(const reader *rd, const char *key, const char *why) {
    return hearth_error_set(rd->err, HEARTH_EFORMAT,
                            "%s: '%s' %s; update the sender", rd->top->name,
                            key, why);
}

static bool get_u64(const msgpack_object *o, uint64_t *v) {
    if (o->type != MSGPACK_OBJECT_POSITIVE_INTEGER) return false;
    *v = o->via.u64;
    return true;
}

static hearth_status get_number(const reader *rd, const hearth_field *f,
                                const msgpack_object *o, char *p) {
    uint64_t u = 0;
    uint32_t u32;
    int32_t i32;
    bool b;
    switch (f->type) {
    case HEARTH_FIELD_U32:
    case HEARTH_FIELD_U64:
        if (!get_u64(o, &u)) return bad(rd, f->key, "is no unsigned integer");
        if (u < f->lo || u > f->hi) return bad(rd, f->key, "is out of range");
        u32 = (uint32_t)u;
        if (f->type == HEARTH_FIELD_U32)
            memcpy(p, &u32, sizeof(u32));
        else
            memcpy(p, &u, sizeof(u));
        return HEARTH_OK;
    case HEARTH_FIELD_I32:
        if (o->type == MSGPACK_OBJECT_NEGATIVE_INTEGER &&
            o->via.i64 >= -(int64_t)f->hi)
            i32 = (int32_t)o->via.i64;
        else if (get_u64(o, &u) && u <= f->hi)
            i32 = (int32_t)u;
        else
            return bad(rd, f->key, "is no integer in range");
        memcpy(p, &i32, sizeof(i32));
        return HEARTH_OK;
    case HEARTH_FIELD_F64:
        if (o->type != MSGPACK_OBJECT_FLOAT64)
            return bad(rd, f->key, "is no 64-bit float");
        memcpy(p, &o->via.f64, sizeof(double));
        return HEARTH_OK; /* the range is checked with the whole struct */
    default:
        if (o->type != MSGPACK_OBJECT_BOOLEAN)
            return bad(rd, f->key, "is no boolean");
        b = o->via.boolean;
        memcpy(p, &b, sizeof(b));
        return HEARTH_OK;
    }
}

static hearth_status get_str(const reader *rd, const hearth_field *f,
                             const msgpack_object *o, char *p, size_t lo) {
    if (o->type != MSGPACK_OBJECT_STR) return bad(rd, f->key, "is no string");
    if (o->via.str.size < lo || o->via.str.size >= f->size)
        return bad(rd, f->key, "has a length out of range");
    if (memchr(o->via.str.ptr, 0, o->via.str.size) ||
        !hearth_utf8_valid(o->via.str.ptr, o->via.str.size))
        return bad(rd, f->key, "is not UTF-8");
    memcpy(p, o->via.str.ptr, o->via.str.size);
    return HEARTH_OK;
}

static hearth_status get_bin(const reader *rd, const hearth_field *f,
                             const msgpack_object *o, char *p) {
    if (o->type != MSGPACK_OBJECT_BIN || o->via.bin.size != f->size)
        return bad(rd, f->key, "is not bytes of the right length");
    memcpy(p, o->via.bin.ptr, f->size);
    return HEARTH_OK;
}

static hearth_status get_bytes(const reader *rd, const hearth_field *f,
                               const msgpack_object *o, char *m) {
    const uint8_t *p;
    uint32_t n;
    if (o->type != MSGPACK_OBJECT_BIN || o->via.bin.size < f->lo ||
        o->via.bin.size > f->max)
        return bad(rd, f->key, "is not bytes of an allowed length");
    /* msgpack-c gives places in the input; look where it lies there. */
    p = (const uint8_t *)o->via.bin.ptr;
    n = o->via.bin.size;
    if (p < rd->bytes || p + n > rd->bytes + rd->n)
        return bad(rd, f->key, "is not in the message");
    memcpy(m + f->offset, &p, sizeof(p));
    memcpy(m + f->count_offset, &n, sizeof(n));
    return HEARTH_OK;
}

static hearth_status get_struct(const reader *rd, const hearth_fields *t,
                                const msgpack_object *o, char *m, bool top);

static hearth_status get_list(const reader *rd, const hearth_field *f,
                              const msgpack_object *o, char *m) {
    if (o->type != MSGPACK_OBJECT_ARRAY) return bad(rd, f->key, "is no list");
    if (o->via.array.size < f->lo || o->via.array.size > f->max)
        return bad(rd, f->key, "has too few or too many entries");
    uint32_t n = o->via.array.size;
    memcpy(m + f->count_offset, &n, sizeof(n));
    for (uint32_t i = 0; i < n; i++) {
        const msgpack_object *e = &o->via.array.ptr[i];
        char *p = m + f->offset + (size_t)i * f->size;
        hearth_field one = *f;
        hearth_status st;
        if (f->type == HEARTH_FIELD_U32S) {
            one.type = HEARTH_FIELD_U32;
            one.lo = 0;
            st = get_number(rd, &one, e, p);
        } else if (f->type == HEARTH_FIELD_STRS) {
            st = get_str(rd, f, e, p, 1);
        } else if (f->type == HEARTH_FIELD_BINS) {
            st = get_bin(rd, f, e, p);
        } else {
            st = get_struct(rd, f->sub, e, p, false);
        }
        if (st != HEARTH_OK) return st;
    }
    return HEARTH_OK;
}

static hearth_status get_field(const reader *rd, const hearth_field *f,
                               const msgpack_object *o, char *m) {
    switch (f->type) {
    case HEARTH_FIELD_STR: return get_str(rd, f, o, m + f->offset, f->lo);
    case HEARTH_FIELD_BIN: return get_bin(rd, f, o, m + f->offset);
    case HEARTH_FIELD_BYTES: return get_bytes(rd, f, o, m);
    case HEARTH_FIELD_MAP:
        return get_struct(rd, f->sub, o, m + f->offset, false);
    case HEARTH_FIELD_U32S:
    case HEARTH_FIELD_STRS:
    case HEARTH_FIELD_BINS:
    case HEARTH_FIELD_MAPS: return get_list(rd, f, o, m);
    case HEARTH_FIELD_U32:
    case HEARTH_FIELD_U64:
    case HEARTH_FIELD_I32:
    case HEARTH_FIELD_F64:
    case HEARTH_FIELD_BOOL: return get_number(rd, f, o, m + f->offset);
    }
    return HEARTH_EINVAL;
}

static bool key_is(const msgpack_object *k, const char *key) {
    size_t n = strlen(key);
    return k->type == MSGPACK_OBJECT_STR && k->via.str.size == n &&
           memcmp(k->via.str.ptr, key, n) == 0;
}

/* The value of a key; NULL when absent.  *twice when it stands there twice. */
static const msgpack_object *find(const msgpack_object *map, const char *key,
                                  bool *twice) {
    const msgpack_object *v = NULL;
    *twice = false;
    for (uint32_t i = 0; i < map->via.map.size; i++) {
        if (!key_is(&map->via.map.ptr[i].key, key)) continue;
        if (v) *twice = true;
        v = &map->via.map.ptr[i].val;
    }
    return v;
}

static hearth_status get_version(const reader *rd, const msgpack_object *map) {
    bool twice;
    uint64_t v = 0;
    const msgpack_object *o = find(map, "v", &twice);
    if (!o || twice || !get_u64(o, &v))
        return bad(rd, "v", "is missing, double or no number");
    if (v != HEARTH_PROTO_MAJOR)
        return hearth_error_set(rd->err, HEARTH_EVERSION,
                                "%s: written in protocol version %llu, this "
                                "build knows %u; update the older side",
                                rd->top->name, (unsigned long long)v,
                                HEARTH_PROTO_MAJOR);
    return HEARTH_OK;
}

static hearth_status get_struct(const reader *rd, const hearth_fields *t,
                                const msgpack_object *o, char *m, bool top) {
    hearth_status st;
    if (o->type != MSGPACK_OBJECT_MAP)
        return hearth_error_set(rd->err, HEARTH_EFORMAT,
                                "%s: %s is no map; update the sender",
                                rd->top->name, t->name);
    if (top && (st = get_version(rd, o)) != HEARTH_OK) return st;
    for (size_t i = 0; i < t->n; i++) {
        bool twice;
        const msgpack_object *v = find(o, t->field[i].key, &twice);
        if (!v) return bad(rd, t->field[i].key, "is missing");
        if (twice) return bad(rd, t->field[i].key, "stands there twice");
        if ((st = get_field(rd, &t->field[i], v, m)) != HEARTH_OK) return st;
    }
    /* All of ours are there once, so another number means foreign keys. */
    if (o->via.map.size != t->n + (top ? 1 : 0))
        return bad(rd, t->name, "has a key that this version does not know");
    return HEARTH_OK;
}

/* The struct is right only if it is what the bytes spell, bit for bit. */
static hearth_status check_canonical(const reader *rd, const void *m) {
    hearth_buf again = HEARTH_BUF_INIT(NULL);
    hearth_status st = hearth_fields_encode(&again, rd->top, m);
    if (st == HEARTH_EINVAL || st == HEARTH_ENONFINITE)
        st = hearth_error_set(rd->err, HEARTH_EFORMAT,
                              "%s: a value is out of range; update the sender",
                              rd->top->name);
    else if (st == HEARTH_OK &&
             (again.n != rd->n || memcmp(again.v, rd->bytes, rd->n) != 0))
        st = hearth_error_set(rd->err, HEARTH_EFORMAT,
                              "%s: not in canonical form; update the sender",
                              rd->top->name);
    hearth_buf_free(&again);
    return st;
}

hearth_status hearth_fields_decode(void *m, const hearth_fields *t,
                                   const uint8_t *bytes, size_t n,
                                   hearth_error *err) {
    reader rd = {t, bytes, n, err};
    msgpack_unpacked tree;
    hearth_status st;
    size_t at = 0;

    if (!m) return hearth_error_set(err, HEARTH_EINVAL, "decode: NULL message");
    memset(m, 0, t->size);
    if ((st = hearth_mp_scan(bytes, n, NULL, err)) != HEARTH_OK) return st;

    msgpack_unpacked_init(&tree);
    switch (msgpack_unpack_next(&tree, (const char *)bytes, n, &at)) {
    case MSGPACK_UNPACK_SUCCESS:
        st = get_struct(&rd, t, &tree.data, m, true);
        if (st == HEARTH_OK) st = check_canonical(&rd, m);
        break;
    case MSGPACK_UNPACK_NOMEM_ERROR:
        st = hearth_error_set(err, HEARTH_ENOMEM, "%s: out of memory", t->name);
        break;
    case MSGPACK_UNPACK_EXTRA_BYTES:
    case MSGPACK_UNPACK_CONTINUE:
    case MSGPACK_UNPACK_PARSE_ERROR:
    default:
        st = hearth_error_set(err, HEARTH_EFORMAT,
                              "%s: not msgpack; update the sender", t->name);
    }
    msgpack_unpacked_destroy(&tree);
    if (st != HEARTH_OK) memset(m, 0, t->size);
    return st;
}

#define X(name)                                                                \
    hearth_status hearth_decode_##name(hearth_##name *m, const uint8_t *bytes, \
                                       size_t n, hearth_error *err) {          \
        return hearth_fields_decode(m, &hearth_fields_##name, bytes, n, err);  \
    }
HEARTH_MESSAGE_MAP(X)
#undef X

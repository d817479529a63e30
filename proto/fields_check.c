/* SPDX-License-Identifier: Apache-2.0 */
/* proto/fields_check.c - ranges of a struct, from its table. */
#include <math.h>
#include <string.h>

#include "common/bytes.h"
#include "proto/fields.h"

static hearth_status check_str(const char *s, size_t cap, uint64_t lo) {
    const char *end = memchr(s, 0, cap);
    if (!end) return HEARTH_EINVAL;
    size_t n = (size_t)(end - s);
    if (n < lo || !hearth_utf8_valid(s, n)) return HEARTH_EINVAL;
    return HEARTH_OK;
}

static hearth_status check_list(const hearth_field *f, const char *m) {
    uint32_t n;
    memcpy(&n, m + f->count_offset, sizeof(n));
    if (n < f->lo || n > f->max) return HEARTH_EINVAL;
    for (uint32_t i = 0; i < n; i++) {
        const char *p = m + f->offset + (size_t)i * f->size;
        hearth_status st = HEARTH_OK;
        uint32_t u;
        if (f->type == HEARTH_FIELD_U32S) {
            memcpy(&u, p, sizeof(u));
            if (u > f->hi) return HEARTH_EINVAL;
        } else if (f->type == HEARTH_FIELD_STRS) {
            st = check_str(p, f->size, 1);
        } else if (f->type == HEARTH_FIELD_MAPS) {
            st = hearth_fields_check(f->sub, p);
        }
        if (st != HEARTH_OK) return st;
    }
    return HEARTH_OK;
}

static hearth_status check_f64(const hearth_field *f, const char *p) {
    double d;
    memcpy(&d, p, sizeof(d));
    if (!isfinite(d)) return HEARTH_ENONFINITE;
    return d >= f->flo && d <= f->fhi ? HEARTH_OK : HEARTH_EINVAL;
}

static hearth_status check_field(const hearth_field *f, const char *m) {
    const char *p = m + f->offset;
    uint64_t u64;
    uint32_t u32;
    int32_t i32;
    switch (f->type) {
    case HEARTH_FIELD_U32:
        memcpy(&u32, p, sizeof(u32));
        return u32 >= f->lo && u32 <= f->hi ? HEARTH_OK : HEARTH_EINVAL;
    case HEARTH_FIELD_U64:
        memcpy(&u64, p, sizeof(u64));
        return u64 >= f->lo && u64 <= f->hi ? HEARTH_OK : HEARTH_EINVAL;
    case HEARTH_FIELD_I32:
        memcpy(&i32, p, sizeof(i32));
        return (i32 < 0 ? -(int64_t)i32 : (int64_t)i32) <= (int64_t)f->hi
                   ? HEARTH_OK
                   : HEARTH_EINVAL;
    case HEARTH_FIELD_F64: return check_f64(f, p);
    case HEARTH_FIELD_BOOL:
    case HEARTH_FIELD_BIN: return HEARTH_OK;
    case HEARTH_FIELD_STR: return check_str(p, f->size, f->lo);
    case HEARTH_FIELD_BYTES:
        memcpy(&u32, m + f->count_offset, sizeof(u32));
        return u32 >= f->lo && u32 <= f->max ? HEARTH_OK : HEARTH_EINVAL;
    case HEARTH_FIELD_MAP: return hearth_fields_check(f->sub, p);
    case HEARTH_FIELD_U32S:
    case HEARTH_FIELD_STRS:
    case HEARTH_FIELD_BINS:
    case HEARTH_FIELD_MAPS: return check_list(f, m);
    }
    return HEARTH_EINVAL;
}

hearth_status hearth_fields_check(const hearth_fields *t, const void *m) {
    for (size_t i = 0; i < t->n; i++) {
        hearth_status st = check_field(&t->field[i], m);
        if (st != HEARTH_OK) return st;
    }
    return !t->check || t->check(m) ? HEARTH_OK : HEARTH_EINVAL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_messages.c - proto/{mp_scan,messages,negotiate,signed}.h.
 *
 * HEARTH_WRITE_CORPUS=tests/fuzz/corpus/decode writes the fuzz corpus: every
 * message as it is, and broken in each way that the tests below try.
 */
#include "proto/mp_scan.h"
#include "proto/negotiate.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/proto_samples.h"

/* ---- mp_scan ---- */

static hearth_status scan(const void *p, size_t n, hearth_mp_scan_report *r) {
    return hearth_mp_scan(p, n, r, NULL);
}

static void scan_refuses_bombs(void **state) {
    (void)state;
    static uint8_t deep[1000];
    static uint8_t big[HEARTH_PROTO_MAX_BODY + 1];
    memset(deep, 0x91, sizeof(deep));
    assert_int_equal(scan("\xdf\x0f\xff\xff\xff", 5, NULL), HEARTH_EFORMAT);
    assert_int_equal(scan("\xdd\xff\xff\xff\xff", 5, NULL), HEARTH_EFORMAT);
    assert_int_equal(scan("\xdf\xff\xff\xff\xff", 5, NULL), HEARTH_EFORMAT);
    assert_int_equal(scan("\xdb\xff\xff\xff\xff", 5, NULL), HEARTH_EFORMAT);
    assert_int_equal(scan(deep, sizeof(deep), NULL), HEARTH_ETOOBIG);
    assert_int_equal(scan(big, sizeof(big), NULL), HEARTH_ETOOBIG);
    big[0] = 0xdc; /* an array of 65,533 small numbers: too many values */
    big[1] = 0xff;
    big[2] = 0xfd;
    assert_int_equal(scan(big, HEARTH_PROTO_MAX_BODY, NULL), HEARTH_ETOOBIG);
    assert_int_equal(hearth_mp_scan(NULL, 1, NULL, NULL), HEARTH_EINVAL);
    assert_int_equal(scan("", 0, NULL), HEARTH_EFORMAT);
    /* A length that jumps over the end, on the heap: ASan sees a read there. */
    static const uint8_t jump[] = {0x92, 0xd9, 0x20, 1, 2};
    uint8_t *p = malloc(sizeof(jump));
    assert_non_null(p);
    memcpy(p, jump, sizeof(jump));
    assert_int_equal(scan(p, sizeof(jump), NULL), HEARTH_EFORMAT);
    free(p);
}

static void scan_counts_values_and_depth(void **state) {
    (void)state;
    hearth_mp_scan_report r;
    assert_ok(scan("\xc0", 1, &r));
    assert_true(r.nodes == 1 && r.max_depth == 1);
    assert_ok(scan("\x82\xa1x\x01\xa1y\x92\x02\xc3", 9, &r));
    assert_true(r.nodes == 7 && r.max_depth == 3);
    assert_ok(scan("\x80", 1, &r));
    assert_true(r.nodes == 1 && r.max_depth == 1);
    /* Depth 16 passes, 17 does not. */
    uint8_t nest[17];
    memset(nest, 0x91, sizeof(nest));
    nest[15] = 0;
    assert_ok(scan(nest, 16, &r));
    assert_int_equal(r.max_depth, 16);
    nest[15] = 0x91;
    nest[16] = 0;
    assert_int_equal(scan(nest, 17, &r), HEARTH_ETOOBIG);
}

static void scan_knows_every_first_byte(void **state) {
    (void)state;
    for (int b = 0; b < 256; b++) {
        uint8_t p[32] = {0};
        p[0] = (uint8_t)b;
        bool ext =
            b == 0xc1 || (b >= 0xc7 && b <= 0xc9) || (b >= 0xd4 && b <= 0xd8);
        size_t n = 1;
        /* With zero lengths and values some length from 1 to 31 is a value. */
        while (n < sizeof(p) && scan(p, n, NULL) != HEARTH_OK) n++;
        if (ext != (n == sizeof(p))) {
            if (b >= 0x80 && b <= 0xbf && !ext) continue; /* n content bytes */
            fail_msg("byte %02x", (unsigned)b);
        }
        if (!ext && n > 1)
            assert_int_equal(scan(p, n - 1, NULL), HEARTH_EFORMAT);
        if (!ext) assert_int_equal(scan(p, n + 1, NULL), HEARTH_EFORMAT);
    }
}

/* ---- every message ---- */

static int n_written;

static void write_corpus(const char *kind, unsigned which, const uint8_t *p,
                         size_t n) {
    const char *dir = getenv("HEARTH_WRITE_CORPUS");
    char path[512];
    if (!dir) return;
    snprintf(path, sizeof(path), "%s/%s_%d", dir, kind, n_written++);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fputc((int)which, f), (int)which);
    assert_int_equal(fwrite(p, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* Bytes of a value, after one change to its tree. */
typedef enum {
    MISSING,
    TWICE,
    EXTRA,
    WRONG_TYPE,
    OTHER_VERSION,
    NO_VERSION,
    N_CHANGES
} change;

/* Length of the value at p: no proper prefix of a value is one. */
static size_t value_length(const uint8_t *p, size_t n) {
    for (size_t k = 1; k <= n; k++)
        if (scan(p, k, NULL) == HEARTH_OK) return k;
    fail_msg("no value");
    return 0;
}

static void put_map_header(hearth_buf *out, size_t n) {
    assert_true(n < 65536);
    if (n < 16) {
        assert_ok(hearth_buf_putc(out, (unsigned char)(0x80 | n)));
        return;
    }
    assert_ok(hearth_buf_putc(out, 0xde));
    assert_ok(hearth_buf_putc(out, (unsigned char)(n >> 8)));
    assert_ok(hearth_buf_putc(out, (unsigned char)(n & 255)));
}

static void pack_changed(hearth_buf *out, const uint8_t *p, size_t n,
                         change how) {
    size_t at = p[0] == 0xde ? 3 : 1;
    size_t size = p[0] == 0xde ? (size_t)p[1] << 8 | p[2] : p[0] & 15u;
    size_t pairs = size;
    if (how == MISSING || how == NO_VERSION) pairs--;
    if (how == TWICE || how == EXTRA) pairs++;
    hearth_buf_clear(out);
    put_map_header(out, pairs);
    for (size_t i = 0; i < size; i++) {
        bool last = i == size - 1;
        const uint8_t *key = p + at;
        size_t key_n = value_length(key, n - at);
        const uint8_t *val = key + key_n;
        size_t val_n = value_length(val, n - at - key_n);
        at += key_n + val_n;
        if ((how == MISSING && last) || (how == NO_VERSION && i == 0)) continue;
        assert_ok(hearth_buf_append(out, key, key_n));
        if (how == OTHER_VERSION && i == 0)
            assert_ok(hearth_buf_putc(out, 2));
        else if (how == WRONG_TYPE && last)
            assert_ok(hearth_buf_putc(out, 0xc0));
        else
            assert_ok(hearth_buf_append(out, val, val_n));
        if (how != TWICE || !last) continue;
        assert_ok(hearth_buf_append(out, key, key_n));
        assert_ok(hearth_buf_append(out, val, val_n));
    }
    if (how == EXTRA) assert_ok(hearth_buf_append(out, "\xa2zz\xc3", 4));
}

typedef hearth_status (*decode_fn)(void *m, const uint8_t *p, size_t n,
                                   hearth_error *err);

static void check_broken(const char *name, unsigned which, decode_fn decode,
                         void *m, size_t size, const hearth_buf *good) {
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    hearth_error err;
    uint8_t *zero = calloc(1, size);
    assert_non_null(zero);
    for (change how = MISSING; how < N_CHANGES; how++) {
        pack_changed(&b, good->v, good->n, how);
        hearth_status want =
            how == OTHER_VERSION ? HEARTH_EVERSION : HEARTH_EFORMAT;
        hearth_status st = decode(m, b.v, b.n, &err);
        if (st != want) fail_msg("%s: change %d gives %d", name, how, st);
        assert_memory_equal(m, zero, size);
        write_corpus(name, which, b.v, b.n);
    }
    /* Truncated everywhere, and with a byte too many. */
    for (size_t n = 0; n < good->n; n += 1 + good->n / 40)
        assert_int_equal(decode(m, good->v, n, &err), HEARTH_EFORMAT);
    hearth_buf_clear(&b);
    assert_ok(hearth_buf_append(&b, good->v, good->n));
    assert_ok(hearth_buf_putc(&b, 0));
    assert_int_equal(decode(m, b.v, b.n, &err), HEARTH_EFORMAT);
    /* An integer in a longer form than needed: not canonical. */
    if (good->v[3] == 1) {
        hearth_buf_clear(&b);
        assert_ok(hearth_buf_append(&b, good->v, 3));
        assert_ok(hearth_buf_append(&b, "\xcc\x01", 2));
        assert_ok(hearth_buf_append(&b, good->v + 4, good->n - 4));
        assert_int_equal(decode(m, b.v, b.n, &err), HEARTH_EFORMAT);
        write_corpus(name, which, b.v, b.n);
    }
    assert_int_equal(decode(m, NULL, 4, &err), HEARTH_EINVAL);
    assert_int_equal(decode(NULL, good->v, good->n, &err), HEARTH_EINVAL);
    free(zero);
    hearth_buf_free(&b);
}

#define X(name)                                                                \
    static hearth_status decode_##name(void *m, const uint8_t *p, size_t n,    \
                                       hearth_error *err) {                    \
        return hearth_decode_##name(m, p, n, err);                             \
    }                                                                          \
    static void check_##name(unsigned which) {                                 \
        static hearth_##name a, b;                                             \
        hearth_buf buf = HEARTH_BUF_INIT(NULL);                                \
        hearth_error err;                                                      \
        sample_##name(&a);                                                     \
        assert_ok(hearth_encode_##name(&buf, &a));                             \
        if (hearth_decode_##name(&b, buf.v, buf.n, &err) != HEARTH_OK)         \
            fail_msg(#name ": %s", err.text);                                  \
        assert_memory_equal(&a, &b, sizeof(a));                                \
        write_corpus(#name, which, buf.v, buf.n);                              \
        check_broken(#name, which, decode_##name, &b, sizeof(b), &buf);        \
        assert_int_equal(hearth_encode_##name(NULL, &a), HEARTH_EINVAL);       \
        assert_int_equal(hearth_encode_##name(&buf, NULL), HEARTH_EINVAL);     \
        hearth_buf_free(&buf);                                                 \
    }
HEARTH_MESSAGE_MAP(X)
X(keyset)
X(release)
#undef X

static void every_message_is_strict(void **state) {
    (void)state;
    unsigned which = 0;
#define X(name) check_##name(which++);
    HEARTH_MESSAGE_MAP(X)
    X(keyset)
    X(release)
#undef X
}

/* ---- ranges ---- */

#define REFUSE(S, field, value, code)                                          \
    do {                                                                       \
        static hearth_##S m;                                                   \
        hearth_buf b = HEARTH_BUF_INIT(NULL);                                  \
        sample_##S(&m);                                                        \
        m.field = (value);                                                     \
        assert_int_equal(hearth_encode_##S(&b, &m), (code));                   \
        assert_int_equal(b.n, 0);                                              \
        hearth_buf_free(&b);                                                   \
    } while (0)

static void encode_refuses_values_out_of_range(void **state) {
    (void)state;
    REFUSE(offer, round, 0, HEARTH_EINVAL);
    REFUSE(offer, cohort_min, 33, HEARTH_EINVAL);
    REFUSE(offer, task[0], 'A', HEARTH_EINVAL);
    REFUSE(offer, task[0], 0, HEARTH_EINVAL);
    REFUSE(offer, purpose[0], (char)0xff, HEARTH_EINVAL);
    REFUSE(offer, privacy.clip, 1.0 / 0.0, HEARTH_ENONFINITE);
    REFUSE(offer, privacy.clip, 0.1, HEARTH_EINVAL); /* no float */
    REFUSE(offer, privacy.clip, 0, HEARTH_EINVAL);
    REFUSE(offer, privacy.z, 0, HEARTH_EINVAL);
    REFUSE(offer, privacy.delta, 1, HEARTH_EINVAL);
    REFUSE(offer, privacy.scale_exp, -31, HEARTH_EINVAL);
    REFUSE(offer, privacy.scale_exp, 41, HEARTH_EINVAL);
    REFUSE(offer, privacy.delta2_squared, 1026, HEARTH_EINVAL);
    REFUSE(offer, privacy.coord_max[1], 0, HEARTH_EINVAL);
    REFUSE(offer, privacy.n_coords, 17, HEARTH_EINVAL);
    REFUSE(offer, privacy.d, 0, HEARTH_EINVAL);
    REFUSE(offer, privacy.sigma2_den, 0, HEARTH_EINVAL);
    REFUSE(offer, privacy.mode, 3, HEARTH_EINVAL);
    REFUSE(offer, space.rule, 0, HEARTH_EINVAL);
    REFUSE(offer, space.alpha, 0, HEARTH_EINVAL);
    REFUSE(offer, local.steps, 0, HEARTH_EINVAL);
    REFUSE(checkin_reply, retry.accepted_min_ms, 2001, HEARTH_EINVAL);
    REFUSE(checkin_reply, retry.refused_max_ms, HEARTH_PROTO_MAX_WINDOW + 1,
           HEARTH_EINVAL);
    REFUSE(checkin_reply, n_offers, HEARTH_PROTO_MAX_OFFERS + 1, HEARTH_EINVAL);
    REFUSE(checkin_request, n_versions, 0, HEARTH_EINVAL);
    REFUSE(checkin_request, tasks[0].task[0], '/', HEARTH_EINVAL);
    REFUSE(keyset, n_release_keys, 0, HEARTH_EINVAL);
    REFUSE(keyset, pins[0][0], 0, HEARTH_EINVAL);
    REFUSE(release, parent, 6, HEARTH_EINVAL);
    REFUSE(release, content_of, 7, HEARTH_EINVAL);
    REFUSE(release, content_bytes, 4, HEARTH_EINVAL);
    static hearth_enroll_request full;
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    sample_enroll_request(&full);
    memset(full.token, 'x', sizeof(full.token)); /* no NUL */
    assert_int_equal(hearth_encode_enroll_request(&b, &full), HEARTH_EINVAL);
}

static void encode_appends_or_leaves_the_buffer(void **state) {
    (void)state;
    static hearth_checkin_reply m;
    sample_checkin_reply(&m);
    for (size_t refuse = 1;; refuse++) {
        hearth_fail_alloc fa;
        hearth_alloc al = hearth_fail_alloc_init(&fa, 0);
        hearth_buf b = HEARTH_BUF_INIT(&al);
        assert_ok(hearth_buf_puts(&b, "kept"));
        atomic_store(&fa.calls, 0);
        fa.refuse = refuse;
        hearth_status st = hearth_encode_checkin_reply(&b, &m);
        assert_memory_equal(b.v, "kept", 4);
        if (st != HEARTH_OK) {
            assert_int_equal(st, HEARTH_ENOMEM);
            assert_int_equal(b.n, 4);
        }
        hearth_buf_free(&b);
        assert_int_equal(atomic_load(&fa.live), 0);
        if (st == HEARTH_OK) break;
    }
}

static void names_are_safe_in_paths(void **state) {
    (void)state;
    char longest[HEARTH_PROTO_TASK_CAP + 1];
    memset(longest, 'a', sizeof(longest));
    longest[HEARTH_PROTO_TASK_CAP] = '\0';
    assert_false(hearth_task_name_ok(longest));
    longest[HEARTH_PROTO_TASK_CAP - 1] = '\0';
    assert_true(hearth_task_name_ok(longest));
    const char *const bad[] = {"",    ".", "..",  "-a",      "_",
                               "a/b", "A", "a b", "\xc3\xa9"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(hearth_task_name_ok(bad[i]));
    assert_false(hearth_task_name_ok(NULL));
    assert_true(hearth_task_name_ok("a.b-c_9"));
    assert_string_equal(hearth_reason_name(HEARTH_REASON_EXPIRED), "expired");
    assert_string_equal(hearth_reason_name(HEARTH_REASON_NONE), "none");
    assert_string_equal(hearth_reason_name(17), "?");
}

/* ---- negotiate ---- */

static void negotiate_takes_the_highest_in_common(void **state) {
    (void)state;
    const uint32_t both[] = {7, 1, 3}, newer[] = {2, 9}, older[] = {0};
    hearth_error err;
    uint32_t v = 77;
    size_t n;
    assert_int_equal(hearth_negotiate_ours(&n)[0], HEARTH_PROTO_MAJOR);
    assert_int_equal(n, 1);
    assert_ok(hearth_negotiate(both, 3, &v, &err));
    assert_int_equal(v, 1);
    assert_int_equal(hearth_negotiate(newer, 2, &v, &err), HEARTH_EVERSION);
    assert_int_equal(v, 0);
    assert_non_null(strstr(err.text, "2, 9"));
    assert_non_null(strstr(err.text, "update the coordinator"));
    assert_int_equal(hearth_negotiate(older, 1, &v, &err), HEARTH_EVERSION);
    assert_non_null(strstr(err.text, "update the device"));
    assert_int_equal(hearth_negotiate(NULL, 0, &v, &err), HEARTH_EVERSION);
    assert_int_equal(hearth_negotiate(NULL, 1, &v, &err), HEARTH_EINVAL);
    assert_int_equal(hearth_negotiate(both, 3, NULL, &err), HEARTH_EINVAL);
}

/* ---- signed ---- */

typedef struct {
    hearth_rng *rng;
    hearth_sign_keypair *root, *release;
} keys;

static void make_keys(keys *k) {
    assert_ok(hearth_rng_open(&k->rng, NULL, NULL));
    assert_ok(hearth_sign_generate(&k->root, k->rng, NULL, NULL));
    assert_ok(hearth_sign_generate(&k->release, k->rng, NULL, NULL));
}

static void free_keys(keys *k) {
    hearth_sign_free(k->root);
    hearth_sign_free(k->release);
    hearth_rng_close(k->rng);
}

static void signed_things_verify_or_are_refused(void **state) {
    (void)state;
    keys k;
    static hearth_keyset ks, back;
    static hearth_release rel, rback;
    hearth_buf b = HEARTH_BUF_INIT(NULL), r = HEARTH_BUF_INIT(NULL);
    hearth_error err;
    uint8_t pub[65];
    make_keys(&k);
    sample_keyset(&ks);
    memcpy(ks.release_keys[0], hearth_sign_public(k.release), 65);
    sample_release(&rel);
    assert_ok(hearth_keyset_seal(&b, &ks, k.root));
    assert_ok(hearth_release_seal(&r, &rel, k.release));
    const uint8_t *root = hearth_sign_public(k.root);
    uint64_t now = ks.issued_ms;
    assert_ok(hearth_keyset_open(&back, b.v, b.n, root, now, &err));
    assert_memory_equal(&back, &ks, sizeof(ks));
    assert_ok(hearth_release_open(&rback, r.v, r.n, &ks, now, &err));
    assert_memory_equal(&rback, &rel, sizeof(rel));
    assert_ok(hearth_signed_claimed_key(b.v, b.n, pub, &err));
    assert_memory_equal(pub, root, 65);

    assert_int_equal(
        hearth_keyset_open(&back, b.v, b.n, root, ks.expires_ms, &err),
        HEARTH_EEXPIRED);
    assert_ok(hearth_keyset_open(&back, b.v, b.n, root, 0, &err));
    assert_int_equal(
        hearth_release_open(&rback, r.v, r.n, &ks, rel.expires_ms, &err),
        HEARTH_EEXPIRED);
    assert_int_equal(rback.sequence, 0);
    /* Another root, a key that is not in the set, the other kind. */
    assert_int_equal(hearth_keyset_open(&back, b.v, b.n,
                                        hearth_sign_public(k.release), now,
                                        &err),
                     HEARTH_ESIGNATURE);
    ks.release_keys[0][5] ^= 1;
    assert_int_equal(hearth_release_open(&rback, r.v, r.n, &ks, now, &err),
                     HEARTH_ESIGNATURE);
    memcpy(ks.release_keys[0], root, 65);
    assert_int_equal(hearth_release_open(&rback, b.v, b.n, &ks, now, &err),
                     HEARTH_ESIGNATURE); /* a keyset is no release */
    /* Any altered byte is refused, and never crashes. */
    for (size_t i = 0; i < b.n; i++) {
        b.v[i] ^= 4;
        assert_int_not_equal(
            hearth_keyset_open(&back, b.v, b.n, root, now, &err), HEARTH_OK);
        assert_int_equal(back.version, 0);
        b.v[i] ^= 4;
    }
    assert_int_equal(hearth_keyset_open(NULL, b.v, b.n, root, 0, &err),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_release_open(NULL, b.v, b.n, &ks, 0, &err),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_signed_claimed_key(NULL, 0, pub, &err),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_keyset_seal(&b, &ks, NULL), HEARTH_EINVAL);
    write_corpus("signed", 15, b.v, b.n);
    write_corpus("signed", 15, r.v, r.n);
    hearth_buf_free(&b);
    hearth_buf_free(&r);
    free_keys(&k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scan_refuses_bombs),
        cmocka_unit_test(scan_counts_values_and_depth),
        cmocka_unit_test(scan_knows_every_first_byte),
        cmocka_unit_test(every_message_is_strict),
        cmocka_unit_test(encode_refuses_values_out_of_range),
        cmocka_unit_test(encode_appends_or_leaves_the_buffer),
        cmocka_unit_test(names_are_safe_in_paths),
        cmocka_unit_test(negotiate_takes_the_highest_in_common),
        cmocka_unit_test(signed_things_verify_or_are_refused),
    };
    return cmocka_run_group_tests_name("proto", tests, NULL, NULL);
}

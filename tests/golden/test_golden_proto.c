/* SPDX-License-Identifier: Apache-2.0 */
/* tests/golden/test_golden_proto.c - the test vectors of proto/PROTOCOL.md,
 * frozen in proto_vectors.txt: old bytes must decode for ever.
 *
 * HEARTH_REGENERATE=1 writes the file anew; that is a commit of its own, and a
 * new major version of the protocol.
 */
#include "common/adapter.h"
#include "common/adapter_digest.h"
#include "common/bytes.h"
#include "common/file.h"
#include "common/hash.h"
#include "common/sign.h"
#include "coordinator/server_opt.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/proto_samples.h"

#define VECTORS "tests/golden/proto_vectors.txt"

/* For these vectors only. */
static const char KEY[] =
    "-----BEGIN EC PRIVATE KEY-----\n"
    "MHcCAQEEIPIWkv7xkLyqoxGmxQpsZn3Z+fkvGqSTnUJlZMam3Jl3oAoGCCqGSM49\n"
    "AwEHoUQDQgAEM3ebqLxWLaff0rMbxfbQWX/NR7Uchid4xKcpAH49kfxtK/+D3j77\n"
    "06bJDUATMzTIVA2Fn6dnc2pU80nCHBuyLA==\n"
    "-----END EC PRIVATE KEY-----\n";

static void put_hex(hearth_buf *out, const char *name, const void *p,
                    size_t n) {
    const uint8_t *b = p;
    assert_ok(hearth_buf_printf(out, "%s ", name));
    for (size_t i = 0; i < n; i++)
        assert_ok(hearth_buf_printf(out, "%02x", b[i]));
    assert_ok(hearth_buf_putc(out, '\n'));
}

static void put_text(hearth_buf *out, const char *name, const hearth_buf *t) {
    assert_ok(hearth_buf_printf(out, "%s <<\n%s>>\n", name, hearth_buf_str(t)));
}

static void put_messages(hearth_buf *out) {
    assert_ok(
        hearth_buf_puts(out, "# messages: tests/support/proto_samples.h\n"));
#define X(name)                                                                \
    do {                                                                       \
        static hearth_##name m;                                                \
        hearth_buf b = HEARTH_BUF_INIT(NULL);                                  \
        sample_##name(&m);                                                     \
        assert_ok(hearth_encode_##name(&b, &m));                               \
        put_hex(out, "message." #name, b.v, b.n);                              \
        hearth_buf_free(&b);                                                   \
    } while (0);
    HEARTH_MESSAGE_MAP(X)
    X(keyset)
    X(release)
#undef X
}

static void put_signed(hearth_buf *out) {
    static hearth_release rel;
    static hearth_keyset ks;
    hearth_sign_keypair *key = NULL;
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    assert_ok(hearth_sign_from_pem(&key, KEY, strlen(KEY), NULL, NULL));
    assert_ok(hearth_buf_puts(out, "# envelopes, signed by the key of this "
                                   "test (RFC 6979)\n"));
    put_hex(out, "key.public", hearth_sign_public(key), 65);
    sample_release(&rel);
    assert_ok(hearth_release_seal(&b, &rel, key));
    put_hex(out, "signed.release", b.v, b.n);
    hearth_buf_clear(&b);
    sample_keyset(&ks);
    assert_ok(hearth_keyset_seal(&b, &ks, key));
    put_hex(out, "signed.keyset", b.v, b.n);
    hearth_buf_free(&b);
    hearth_sign_free(key);
}

static void put_floats(hearth_buf *out, const char *name, const float *v,
                       size_t n) {
    assert_ok(hearth_buf_printf(out, "%s", name));
    for (size_t i = 0; i < n; i++)
        assert_ok(hearth_buf_printf(out, " %a", (double)v[i]));
    assert_ok(hearth_buf_putc(out, '\n'));
}

static hearth_adapter *small_adapter(void) {
    static const hearth_module_info m[] = {
        {"model.layers.1.self_attn.v_proj", 1, HEARTH_TARGET_V, 3, 2},
        {"model.layers.0.self_attn.v_proj", 0, HEARTH_TARGET_V, 3, 2},
        {"model.layers.0.self_attn.q_proj", 0, HEARTH_TARGET_Q, 3, 4},
    };
    hearth_lora_spec spec = HEARTH_LORA_SPEC_INIT;
    hearth_adapter *a = NULL;
    uint8_t seed[32];
    spec.rank = 2;
    spec.alpha = 4;
    spec.freeze_a = true;
    assert_ok(hearth_adapter_new(&a, &spec, m, 3, NULL, NULL));
    sample_digest(seed, 4);
    assert_ok(hearth_adapter_init_a_from_seed(a, seed));
    return a;
}

static void put_adapter(hearth_buf *out) {
    hearth_adapter *a = small_adapter();
    hearth_base_identity base;
    hearth_payload_terms terms = {.scale_num = 1024,
                                  .scale_den = 1,
                                  .bound_squared = 1000,
                                  .delta2_squared = 1025,
                                  .n_coords = 2,
                                  .coord_max = {3, 4}};
    hearth_buf t = HEARTH_BUF_INIT(NULL);
    uint8_t d[32];
    sample_digest(base.checkpoint, 1);
    sample_digest(base.tokenizer, 2);
    sample_digest(base.chat_template, 3);
    assert_ok(hearth_buf_puts(out, "# A from the seed 04 05 .. 23, canonical "
                                   "order, the three digests\n"));
    for (size_t i = 0; i < a->n_pairs; i++)
        put_floats(out, a->pair[i].module, a->pair[i].a,
                   (size_t)a->pair[i].rank * a->pair[i].in);
    assert_ok(hearth_adapter_space_text(a, &base, &t));
    put_text(out, "space.text", &t);
    assert_ok(hearth_adapter_space_digest(a, &base, d));
    put_hex(out, "space.digest", d, 32);
    hearth_buf_clear(&t);
    assert_ok(hearth_adapter_shape_text(a, &t));
    put_text(out, "shape.text", &t);
    assert_ok(hearth_adapter_shape_digest(a, d));
    put_hex(out, "shape.digest", d, 32);
    hearth_buf_clear(&t);
    assert_ok(hearth_adapter_payload_text(a, HEARTH_PART_B, &terms, &t));
    put_text(out, "payload.text", &t);
    assert_ok(hearth_adapter_payload_digest(a, HEARTH_PART_B, &terms, d));
    put_hex(out, "payload.digest", d, 32);
    hearth_buf_free(&t);
    hearth_adapter_free(a);
}

static void put_numbers(hearth_buf *out) {
    static const int32_t v[] = {1, -1, 256, -65536, INT32_MAX, -INT32_MAX};
    static const int64_t sum[] = {1, -1, 3, 1000001, -7777777777, 5};
    static const float start[] = {0, 1, -0.5f, 0.1f, 3e-5f, 16777216};
    float next[6];
    uint8_t b[24], d[32];
    hearth_server_opt o = {0};
    for (size_t i = 0; i < 6; i++) hearth_store_le32(b + 4 * i, (uint32_t)v[i]);
    assert_ok(hearth_buf_puts(out, "# an upload, and a server step of 3 "
                                   "devices at scale 2^10, lr 1\n"));
    put_hex(out, "upload.bytes", b, 24);
    assert_ok(hearth_sha256(d, b, 24));
    put_hex(out, "upload.sha256", d, 32);
    assert_ok(hearth_server_opt_step(&o, next, start, sum, 6, 3, 10, 1));
    put_floats(out, "step.start", start, 6);
    assert_ok(hearth_buf_puts(out, "step.sum"));
    for (size_t i = 0; i < 6; i++)
        assert_ok(hearth_buf_printf(out, " %lld", (long long)sum[i]));
    assert_ok(hearth_buf_putc(out, '\n'));
    put_floats(out, "step.next", next, 6);
}

static void vectors_are_as_frozen(void **state) {
    (void)state;
    hearth_buf now = HEARTH_BUF_INIT(NULL), frozen = HEARTH_BUF_INIT(NULL);
    put_messages(&now);
    put_signed(&now);
    put_adapter(&now);
    put_numbers(&now);
    if (getenv("HEARTH_REGENERATE"))
        assert_ok(hearth_file_write(VECTORS, now.v, now.n, 0644, NULL));
    assert_ok(hearth_file_read(&frozen, VECTORS, 1 << 20, NULL));
    size_t line = 1, i = 0;
    for (; i < now.n && i < frozen.n && now.v[i] == frozen.v[i]; i++)
        line += now.v[i] == '\n';
    if (i < now.n || i < frozen.n)
        fail_msg("%s:%zu differs: the protocol changed", VECTORS, line);
    hearth_buf_free(&frozen);
    hearth_buf_free(&now);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_are_as_frozen),
    };
    return cmocka_run_group_tests_name("golden/proto", tests, NULL, NULL);
}

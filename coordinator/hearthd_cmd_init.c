/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/hearthd_cmd_init.c - `hearthd init` and `hearthd keyset`: the
 * only two commands that ever hold the root key. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/file.h"
#include "common/ini.h"
#include "coordinator/auth.h"
#include "coordinator/hearthd_cmd.h"
#include "coordinator/registry.h"
#include "proto/signed.h"

#define YEAR_DAYS 365
#define CA_DAYS   3650
#define DAY_MS    ((int64_t)86400000)
#define RESIGN_MS ((uint64_t)14 * 86400000) /* releases that expire sooner */

/* Keys made by init, in the order of their making. */
typedef struct {
    hearth_rng *rng;
    hearth_sign_keypair *root, *release, *tls, *ca;
    char ca_pem[HEARTH_X509_PEM_MAX], tls_pem[HEARTH_X509_PEM_MAX];
    int64_t now_ms;
} new_keys;

static hearth_status put_file(const char *dir, const char *name, const void *p,
                              size_t n, unsigned mode, hearth_error *err) {
    char path[HEARTH_SERVER_PATH_CAP];
    hearth_status st = hearth_file_join(path, sizeof(path), dir, name);
    if (st != HEARTH_OK) return hearth_error_set(err, st, "path is too long");
    return hearth_file_write(path, p, n, mode, err);
}

static hearth_status make_key(new_keys *k, hearth_sign_keypair **out,
                              const char *dir, const char *name,
                              hearth_error *err) {
    char path[HEARTH_SERVER_PATH_CAP];
    hearth_status st = hearth_sign_generate(out, k->rng, NULL, err);
    if (st == HEARTH_OK) st = hearth_file_join(path, sizeof(path), dir, name);
    return st == HEARTH_OK ? hearth_sign_save_pem(*out, path, err) : st;
}

static hearth_status make_keys(new_keys *k, const char *dir, const char *host,
                               hearth_error *err) {
    hearth_secret cookie;
    hearth_status st = hearth_rng_open(&k->rng, NULL, err);
    if (st == HEARTH_OK) st = make_key(k, &k->root, dir, "root.key", err);
    if (st == HEARTH_OK)
        st = make_key(k, &k->release, dir, "keys/release.key", err);
    if (st == HEARTH_OK) st = make_key(k, &k->tls, dir, "keys/tls.key", err);
    if (st == HEARTH_OK)
        st = make_key(k, &k->ca, dir, "keys/device_ca.key", err);
    if (st == HEARTH_OK)
        st = hearth_x509_self_ca(k->ca_pem, k->ca, "Hearth devices", k->now_ms,
                                 CA_DAYS, k->rng, err);
    if (st == HEARTH_OK)
        st = hearth_x509_self_server(k->tls_pem, k->tls, host, k->now_ms,
                                     CA_DAYS, k->rng, err);
    if (st == HEARTH_OK)
        st = put_file(dir, "keys/device_ca.pem", k->ca_pem, strlen(k->ca_pem),
                      0644, err);
    if (st == HEARTH_OK)
        st = put_file(dir, "keys/tls.pem", k->tls_pem, strlen(k->tls_pem), 0644,
                      err);
    if (st == HEARTH_OK)
        st = hearth_rng_bytes(k->rng, cookie.bytes, sizeof(cookie.bytes));
    if (st == HEARTH_OK)
        st = put_file(dir, "keys/cookie.key", cookie.bytes,
                      sizeof(cookie.bytes), 0600, err);
    hearth_secret_wipe(&cookie);
    return st;
}

/* Sign a keyset over the public halves and write it. */
static hearth_status write_keyset(const hearth_sign_keypair *root,
                                  const uint8_t *release_pub,
                                  const uint8_t *tls_pub, const char *ca_pem,
                                  uint64_t version, int64_t now_ms,
                                  unsigned days, const char *path,
                                  hearth_error *err) {
    static hearth_keyset ks; /* 5 KiB: too large for a frame */
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    memset(&ks, 0, sizeof(ks));
    ks.version = version;
    ks.issued_ms = (uint64_t)now_ms;
    ks.expires_ms = (uint64_t)(now_ms + (int64_t)days * DAY_MS);
    ks.n_release_keys = 1;
    memcpy(ks.release_keys[0], release_pub, HEARTH_SIGN_PUBLIC_BYTES);
    ks.n_pins = 1;
    hearth_status st = hearth_sign_pin(tls_pub, ks.pins[0]);
    (void)snprintf(ks.device_ca_pem, sizeof(ks.device_ca_pem), "%s", ca_pem);
    if (st == HEARTH_OK) st = hearth_keyset_seal(&b, &ks, root);
    if (st != HEARTH_OK)
        (void)hearth_error_set(err, st, "the keyset cannot be signed: %s",
                               hearth_status_text(st));
    else
        st = hearth_file_write(path, b.v, b.n, 0644, err);
    hearth_buf_free(&b);
    return st;
}

static hearth_status write_settings(const char *dir, const char *listen,
                                    hearth_error *err) {
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    (void)hearth_buf_printf(
        &b,
        "# Settings of hearthd.  Paths are relative to this file; every key\n"
        "# and its default is explained in hearthd.ini.example.\n"
        "[server]\n"
        "listen = %s\n"
        "state = state\n"
        "\n"
        "[rounds]\n"
        "# When devices come back: after a contribution, after a refusal.\n"
        "retry_accepted = 60s,300s\n"
        "retry_refused = 60s,300s\n"
        "\n"
        "[log]\n"
        "level = info\n",
        listen);
    hearth_status st = b.failed
                           ? HEARTH_ENOMEM
                           : put_file(dir, "hearthd.ini", b.v, b.n, 0644, err);
    hearth_buf_free(&b);
    return st;
}

static void tell(const hearthd_args *a, const char *dir, const char *host,
                 int port, const char *pin) {
    hearthd_say(a, "Created %s.", dir);
    hearthd_say(a,
                "  root key  %s/root.key  (move it to a safe place: only "
                "`hearthd keyset` needs it, serve never opens it)",
                dir);
    hearthd_say(a, "  root pin  %s", pin);
    hearthd_say(a, "Next:");
    hearthd_say(a, "  hearthd serve -c %s/hearthd.ini", dir);
    hearthd_say(a, "  hearthd token create -c %s/hearthd.ini", dir);
    hearthd_say(a,
                "  hearth init --server https://%s:%d --root %s "
                "--token TOKEN --base MODEL",
                host, port, pin);
    hearthd_event(a, "init", "dir", 's', dir, "host", 's', host, "port", 'i',
                  (long long)port, "root", 's', pin, (const char *)NULL);
}

static hearth_status make_dir(const char *dir, hearth_error *err) {
    char path[HEARTH_SERVER_PATH_CAP];
    hearth_status st = hearth_file_join(path, sizeof(path), dir, "hearthd.ini");
    if (st != HEARTH_OK) return hearth_error_set(err, st, "path is too long");
    if (hearth_file_exists(path))
        return hearth_error_set(err, HEARTH_EEXISTS,
                                "%s is there already; choose another --dir, or "
                                "run `hearthd serve -c %s`",
                                path, path);
    st = hearth_file_join(path, sizeof(path), dir, "keys");
    return st == HEARTH_OK ? hearth_file_mkdirs(path, err) : st;
}

/* A name or an address, as it stands in a URL. */
static bool host_ok(const char *host) {
    size_t n = strspn(host, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwx"
                            "yz0123456789.-:");
    const char *colon = strchr(host, ':');
    if (colon && !strchr(colon + 1, ':')) return false; /* NAME:PORT */
    return n > 0 && host[n] == '\0' && n <= 253;
}

static int init(hearthd_args *a) {
    static new_keys k;
    char host_part[HEARTH_SERVER_HOST_CAP], keyset[HEARTH_SERVER_PATH_CAP];
    char pin[HEARTH_SIGN_PIN_CHARS] = "";
    const char *dir = hearthd_get(a, "--dir", NULL);
    const char *host = hearthd_get(a, "--host", NULL);
    const char *listen = hearthd_get(a, "--listen", "127.0.0.1:8443");
    hearth_error err = {HEARTH_OK, ""};
    const hearth_clock clock = hearth_clock_system();
    int port = 0;
    if (!dir || !host) return hearthd_usage(a, "--dir and --host are needed");
    if (!host_ok(host))
        return hearthd_usage(a, "--host must be a name or an address like "
                                "hearth.example.org, without port");
    if (hearth_server_config_address(listen, host_part, &port) != HEARTH_OK)
        return hearthd_usage(a, "--listen must be like 127.0.0.1:8443");
    k.now_ms = hearth_clock_wall(&clock);
    hearth_status st = make_dir(dir, &err);
    if (st == HEARTH_OK) st = make_keys(&k, dir, host, &err);
    if (st == HEARTH_OK)
        st = hearth_file_join(keyset, sizeof(keyset), dir, "keys/keyset.bin");
    if (st == HEARTH_OK)
        st = write_keyset(k.root, hearth_sign_public(k.release),
                          hearth_sign_public(k.tls), k.ca_pem, 1, k.now_ms,
                          YEAR_DAYS, keyset, &err);
    if (st == HEARTH_OK) st = hearth_sign_pin(hearth_sign_public(k.root), pin);
    if (st == HEARTH_OK) st = write_settings(dir, listen, &err);
    hearth_sign_free(k.root);
    hearth_sign_free(k.release);
    hearth_sign_free(k.tls);
    hearth_sign_free(k.ca);
    hearth_rng_close(k.rng);
    if (st != HEARTH_OK) {
        if (err.status == HEARTH_OK) err.status = st;
        return hearthd_fail(a, &err);
    }
    tell(a, dir, host, port, pin);
    return 0;
}

/* ---- keyset ------------------------------------------------------------ */

/* The version of the keyset in use, as signed by root; 0 when there is none. */
static hearth_status present_version(const hearthd_state *s,
                                     const hearth_sign_keypair *root,
                                     uint64_t *version, hearth_error *err) {
    static hearth_keyset ks;
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    *version = 0;
    hearth_status st =
        hearth_file_read(&b, s->cfg.keyset, HEARTH_PROTO_MAX_BODY, err);
    if (st == HEARTH_ENOTFOUND) st = HEARTH_OK;
    if (st == HEARTH_OK && b.n > 0) {
        st =
            hearth_keyset_open(&ks, b.v, b.n, hearth_sign_public(root), 0, err);
        *version = ks.version;
    }
    hearth_buf_free(&b);
    return st;
}

typedef struct {
    hearthd_args *a;
    hearthd_state *s;
} resign_walk;

static hearth_status resign_one(void *ud, const hearth_task_row *row) {
    resign_walk *w = ud;
    uint64_t sequence = 0;
    hearth_status st = hearth_registry_resign(&w->s->env, row->name, RESIGN_MS,
                                              &sequence, &w->s->err);
    if (st != HEARTH_OK || sequence == 0) return st;
    hearthd_say(w->a, "Task %s: signed anew as release %llu.", row->name,
                (unsigned long long)sequence);
    hearthd_event(w->a, "resigned", "task", 's', row->name, "sequence", 'i',
                  (long long)sequence, (const char *)NULL);
    return HEARTH_OK;
}

/* Releases of a replaced key are worth nothing under the new keyset: publish
 * the newest of every task once more. */
static int resign_tasks(hearthd_args *a) {
    static hearthd_state s;
    char path[HEARTH_SERVER_PATH_CAP];
    resign_walk w = {a, &s};
    hearth_status st = hearthd_open_config(&s, a);
    if (st == HEARTH_OK)
        st = hearth_coord_db_path(path, sizeof(path), s.cfg.state);
    if (st == HEARTH_OK && !hearth_file_exists(path)) return 0; /* no task */
    if (st == HEARTH_OK) st = hearthd_open_publish(&s, a);
    if (st == HEARTH_OK)
        st = hearth_coord_store_tasks(s.store, resign_one, &w, &s.err);
    return hearthd_finish(a, &s, st);
}

static int keyset(hearthd_args *a) {
    static hearthd_state s;
    hearth_sign_keypair *root = NULL, *release = NULL, *tls = NULL;
    hearth_buf ca = HEARTH_BUF_INIT(NULL);
    uint64_t version = 0;
    int64_t days = YEAR_DAYS;
    const hearth_clock clock = hearth_clock_system();
    const char *root_path = hearthd_get(a, "--root-key", NULL);
    if (!root_path) return hearthd_usage(a, "--root-key is needed");
    if (hearth_parse_i64(hearthd_get(a, "--days", "365"), &days) != HEARTH_OK ||
        days < 1 || days > CA_DAYS)
        return hearthd_usage(a, "--days must be 1 to %d", CA_DAYS);
    hearth_status st = hearthd_open_config(&s, a);
    hearth_error *err = &s.err;
    if (st == HEARTH_OK) st = hearth_sign_load_pem(&root, root_path, NULL, err);
    if (st == HEARTH_OK)
        st = hearth_sign_load_pem(&release, s.cfg.release_key, NULL, err);
    if (st == HEARTH_OK)
        st = hearth_sign_load_pem(&tls, s.cfg.tls_key, NULL, err);
    if (st == HEARTH_OK)
        st = hearth_file_read(&ca, s.cfg.ca_cert, HEARTH_X509_PEM_MAX - 1, err);
    if (st == HEARTH_OK) st = present_version(&s, root, &version, err);
    if (st == HEARTH_OK)
        st = write_keyset(root, hearth_sign_public(release),
                          hearth_sign_public(tls), hearth_buf_str(&ca),
                          version + 1, hearth_clock_wall(&clock),
                          (unsigned)days, s.cfg.keyset, err);
    hearth_sign_free(root);
    hearth_sign_free(release);
    hearth_sign_free(tls);
    hearth_buf_free(&ca);
    if (st != HEARTH_OK) return hearthd_fail(a, err);
    hearthd_say(a,
                "Signed keyset version %llu, good for %lld days; restart "
                "hearthd to serve it.",
                (unsigned long long)version + 1, (long long)days);
    hearthd_event(a, "keyset", "version", 'i', (long long)version + 1, "days",
                  'i', (long long)days, (const char *)NULL);
    return resign_tasks(a);
}

hearthd_command hearthd_commands_init[] = {
    {.name = "init",
     .words = "",
     .what = "Make keys, certificates and settings in a new folder.",
     .example = "init --dir coord --host hearth.example.org",
     .option = {{"--dir", "DIR", "folder to create", NULL},
                {"--host", "NAME", "name or address that devices use", NULL},
                {"--listen", "ADDR:PORT", "[127.0.0.1:8443]", NULL}},
     .run = init},
    {.name = "keyset",
     .words = "",
     .what = "Sign the keys in use again with the root key (yearly, or after "
             "replacing one).",
     .example = "keyset -c coord/hearthd.ini --root-key /safe/root.key",
     .option = {{"--root-key", "FILE", "the root key", NULL},
                {"--days", "N", "until it expires [365]", NULL}},
     .run = keyset},
    {.name = NULL},
};

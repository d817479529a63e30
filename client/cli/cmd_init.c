/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/cmd_init.c - hearth init: join a coordinator. */
#include <stdlib.h>
#include <string.h>

#include "client/api/client_private.h"
#include "client/cli/cli.h"

int hearth_cmd_init(hearth_cli *cli, int argc, char **argv);

static bool interrupted(void *ud) {
    (void)ud;
    return hearth_cli_interrupted();
}

typedef struct {
    const char *server, *token, *root, *base, *state;
} init_options;

static hearth_status join(const init_options *o, hearth_client_info *info,
                          hearth_error *err) {
    char dir[1024];
    hearth_client *c = NULL;
    hearth_client_config cc = HEARTH_CLIENT_CONFIG_INIT;
    hearth_client_join_config jc = HEARTH_CLIENT_JOIN_CONFIG_INIT;
    hearth_status st = hearth_cli_state_dir(o->state, dir, sizeof(dir), err);
    if (st != HEARTH_OK) return st;
    char *base = realpath(o->base, NULL); /* means the same from anywhere */
    if (!base)
        return hearth_error_set(err, HEARTH_ENOTFOUND,
                                "%.150s: no such folder; --base names the "
                                "folder of the base model",
                                o->base);
    cc.state_dir = dir;
    cc.threads = 1;
    jc.server = o->server;
    jc.token = o->token;
    jc.root = o->root;
    jc.base = base;
    st = hearth_client_open(&c, &cc, err);
    if (st == HEARTH_OK) {
        c->stop_check = interrupted;
        st = hearth_client_join(c, &jc, err);
    }
    if (st == HEARTH_OK) st = hearth_client_status(c, info, err);
    hearth_client_close(c);
    free(base);
    return st;
}

/* The transport speaks to `hearth sync`, which comes again by itself. */
static int failed(hearth_cli *cli, hearth_status st, hearth_error *err) {
    char *promise = strstr(err->text, "; it is tried again later");
    if (!promise) return hearth_cli_fail(cli, st, err, NULL);
    *promise = '\0';
    return hearth_cli_fail(cli, st, err,
                           "check --server and the network, then run this "
                           "again; a token is not lost by it");
}

int hearth_cmd_init(hearth_cli *cli, int argc, char **argv) {
    init_options o = {0};
    const hearth_flag flags[] = {
        HEARTH_FLAG_STR("server", "URL", "https://host:port of the coordinator",
                        &o.server),
        HEARTH_FLAG_STR("token", "T", "one-time token from its operator",
                        &o.token),
        HEARTH_FLAG_STR("root", "PIN", "pin of its root key, sha256//..",
                        &o.root),
        HEARTH_FLAG_STR("base", "DIR", "folder of the base model", &o.base),
        HEARTH_FLAG_STR("state", "DIR", "where this device keeps its state",
                        &o.state),
    };
    const hearth_usage u = {
        .command = "init",
        .summary = "join a coordinator",
        .arguments = "--server URL --token T --root PIN --base DIR",
        .example = "hearth init --server https://coord.example:8443 --token "
                   "T --root sha256//PIN --base my-model",
        .flags = flags,
        .n_flags = sizeof(flags) / sizeof(*flags),
        .required = "server token root base",
    };
    hearth_error err = {HEARTH_OK, ""};
    hearth_client_info info = HEARTH_CLIENT_INFO_INIT;
    int rc;
    if (!hearth_cli_parse(cli, &u, argc, argv, &rc)) return rc;
    hearth_status st = join(&o, &info, &err);
    if (st != HEARTH_OK) return failed(cli, st, &err);
    hearth_event_begin(cli, "init");
    hearth_event_str(cli, "server", info.server);
    hearth_event_str(cli, "device", info.device_id);
    hearth_event_u64(cli, "records", info.records);
    hearth_event_end(cli);
    hearth_cli_say(cli,
                   "joined %s as device %s\nnext: hearth records import FILE "
                   "--consent federated, then hearth sync",
                   info.server, info.device_id);
    return HEARTH_EXIT_OK;
}

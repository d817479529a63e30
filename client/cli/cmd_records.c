/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/cmd_records.c - hearth records: the private records on this
 * device.  check and forget are in records_check.c and records_forget.c. */
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "client/cli/records_bench.h"
#include "common/bytes.h"
#include "common/file.h"

int hearth_cmd_records(hearth_cli *cli, int argc, char **argv);

hearth_status hearth_records_bench_open(hearth_records_bench *b, bool create,
                                        hearth_error *err) {
    char path[1024];
    hearth_status st =
        hearth_cli_state_dir(b->state, b->dir, sizeof(b->dir), err);
    if (st == HEARTH_OK)
        st = hearth_file_join(path, sizeof(path), b->dir, "client.db");
    if (st == HEARTH_OK && create) st = hearth_file_mkdirs(b->dir, err);
    if (st != HEARTH_OK) return st;
    if (!create && !hearth_file_exists(path))
        return hearth_error_set(err, HEARTH_ENOTFOUND,
                                "no records in %.120s; put some in with "
                                "`hearth records import FILE`",
                                b->dir);
    if ((st = hearth_db_open(&b->db, path, NULL, err)) != HEARTH_OK) return st;
    return hearth_record_store_open(&b->rs, b->db, b->dir,
                                    hearth_clock_system(), NULL, err);
}

void hearth_records_bench_close(hearth_records_bench *b) {
    hearth_record_store_close(b->rs);
    hearth_db_close(b->db);
    b->rs = NULL;
    b->db = NULL;
}

/* ---- putting in ---- */

typedef struct {
    hearth_records_bench bench;
    const char *form, *consent;
    uint64_t keep_ms;
    hearth_cli_list what; /* the file, or the record */
} put_options;

#define PUT_FLAGS(o)                                                           \
    HEARTH_RECORDS_STATE_FLAG((o).bench),                                      \
        HEARTH_FLAG_CHOICE("as",                                               \
                           "auto|text|prompt|messages|instruction|choices",    \
                           "form of every record", &(o).form),                 \
        HEARTH_FLAG_STR("consent", "PURPOSE",                                  \
                        "what it may be used for: federated, .. [personal]",   \
                        &(o).consent),                                         \
        HEARTH_FLAG_DURATION("keep", "TIME", "forget it after so long (90d)",  \
                             &(o).keep_ms)

static hearth_status store_options(const put_options *o,
                                   hearth_record_options *opt,
                                   hearth_error *err) {
    *opt = (hearth_record_options)HEARTH_RECORD_OPTIONS_INIT;
    opt->purpose = o->consent;
    opt->keep_ms = o->keep_ms > INT64_MAX ? INT64_MAX : (int64_t)o->keep_ms;
    return hearth_record_form_parse(&opt->form, o->form, err);
}

static int import(hearth_cli *cli, int argc, char **argv) {
    put_options o = {.form = "auto"};
    const hearth_flag flags[] = {PUT_FLAGS(o)};
    const hearth_usage u = {
        .command = "records import",
        .summary = "put the records of a JSON-lines file in, all or none",
        .arguments = "FILE [flags]",
        .example = "hearth records import diary.jsonl --consent federated "
                   "--keep 90d",
        .flags = flags,
        .n_flags = sizeof(flags) / sizeof(*flags),
        .positional = &o.what,
        .min_positional = 1,
        .max_positional = 1,
    };
    hearth_error err = {HEARTH_OK, ""};
    hearth_record_options opt;
    hearth_import_report r = {0, 0};
    int rc;
    if (!hearth_cli_parse(cli, &u, argc, argv, &rc)) return rc;
    hearth_status st = store_options(&o, &opt, &err);
    if (st == HEARTH_OK) st = hearth_records_bench_open(&o.bench, true, &err);
    if (st == HEARTH_OK)
        st =
            hearth_record_store_import(o.bench.rs, o.what.v[0], &opt, &r, &err);
    hearth_records_bench_close(&o.bench);
    if (st != HEARTH_OK) return hearth_cli_fail(cli, st, &err, NULL);
    hearth_event_begin(cli, "import");
    hearth_event_u64(cli, "added", r.n_added);
    hearth_event_u64(cli, "duplicates", r.n_duplicate);
    hearth_event_end(cli);
    hearth_cli_say(cli,
                   "%llu record%s added, %llu %s there already; all may now "
                   "be used for: %s",
                   (unsigned long long)r.n_added, r.n_added == 1 ? "" : "s",
                   (unsigned long long)r.n_duplicate,
                   r.n_duplicate == 1 ? "was" : "were",
                   o.consent ? o.consent : HEARTH_PURPOSE_PERSONAL);
    return HEARTH_EXIT_OK;
}

static hearth_status add_one(hearth_cli *cli, put_options *o, const char *line,
                             size_t n, hearth_error *err) {
    hearth_record_options opt;
    char id[HEARTH_RECORD_MAX_ID + 1];
    hearth_status st = store_options(o, &opt, err);
    if (st == HEARTH_OK)
        st = hearth_record_store_add(o->bench.rs, line, n, &opt, id, err);
    if (st != HEARTH_OK) return st;
    hearth_event_begin(cli, "added");
    hearth_event_str(cli, "id", id);
    hearth_event_end(cli);
    hearth_cli_say(cli, "%s", id);
    return HEARTH_OK;
}

static hearth_status add_stdin(hearth_cli *cli, put_options *o,
                               hearth_error *err) {
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    hearth_status st = HEARTH_OK;
    while (st == HEARTH_OK && (n = getline(&line, &cap, stdin)) >= 0) {
        size_t len = (size_t)n;
        while (len && strchr(" \t\r\n", line[len - 1])) len--;
        if (len) st = add_one(cli, o, line, len, err);
    }
    if (line) hearth_zeroize(line, cap);
    free(line);
    return st;
}

static int add(hearth_cli *cli, int argc, char **argv) {
    put_options o = {.form = "auto"};
    const hearth_flag flags[] = {PUT_FLAGS(o)};
    const hearth_usage u = {
        .command = "records add",
        .summary = "put one record in, or one a line from stdin",
        .arguments = "[JSON] [flags]",
        .example = "hearth records add '{\"prompt\":\"Slept?\","
                   "\"completion\":\"Well.\"}'",
        .flags = flags,
        .n_flags = sizeof(flags) / sizeof(*flags),
        .positional = &o.what,
        .min_positional = 0,
        .max_positional = 1,
    };
    hearth_error err = {HEARTH_OK, ""};
    int rc;
    if (!hearth_cli_parse(cli, &u, argc, argv, &rc)) return rc;
    hearth_status st = hearth_records_bench_open(&o.bench, true, &err);
    if (st == HEARTH_OK)
        st = o.what.n ? add_one(cli, &o, o.what.v[0], strlen(o.what.v[0]), &err)
                      : add_stdin(cli, &o, &err);
    hearth_records_bench_close(&o.bench);
    return st == HEARTH_OK ? HEARTH_EXIT_OK
                           : hearth_cli_fail(cli, st, &err, NULL);
}

/* ---- list ---- */

typedef struct {
    hearth_cli *cli;
    uint64_t n;
} listing;

static hearth_status list_one(void *ud, const hearth_record_info *info,
                              hearth_error *err) {
    listing *l = ud;
    char added[21], expires[21] = "";
    (void)err;
    l->n++;
    hearth_clock_format(added, info->added_ms);
    if (info->expires_ms) hearth_clock_format(expires, info->expires_ms);
    hearth_event_begin(l->cli, "record");
    hearth_event_str(l->cli, "id", info->id);
    hearth_event_str(l->cli, "form", hearth_record_form_name(info->form));
    hearth_event_str(l->cli, "purposes", info->purposes);
    hearth_event_str(l->cli, "split", info->holdout ? "holdout" : "train");
    hearth_event_i64(l->cli, "added_ms", info->added_ms);
    hearth_event_i64(l->cli, "expires_ms", info->expires_ms);
    hearth_event_u64(l->cli, "bytes", info->line_bytes);
    hearth_event_end(l->cli);
    hearth_cli_say(l->cli, "%-12.12s  %-11s %-7s %.10s  %s%s%.10s", info->id,
                   hearth_record_form_name(info->form),
                   info->holdout ? "holdout" : "train", added, info->purposes,
                   info->expires_ms ? "  until " : "", expires);
    return HEARTH_OK;
}

static int list(hearth_cli *cli, int argc, char **argv) {
    hearth_records_bench b = {0};
    const hearth_flag flags[] = {HEARTH_RECORDS_STATE_FLAG(b)};
    const hearth_usage u = {
        .command = "records list",
        .summary = "what is kept, never its content",
        .arguments = "[flags]",
        .example = "hearth records list",
        .flags = flags,
        .n_flags = 1,
    };
    hearth_error err = {HEARTH_OK, ""};
    listing l = {cli, 0};
    int rc;
    if (!hearth_cli_parse(cli, &u, argc, argv, &rc)) return rc;
    hearth_status st = hearth_records_bench_open(&b, false, &err);
    if (st == HEARTH_OK)
        st = hearth_record_store_list(b.rs, list_one, &l, &err);
    hearth_records_bench_close(&b);
    if (st != HEARTH_OK) return hearth_cli_fail(cli, st, &err, NULL);
    hearth_cli_say(cli, "%llu record%s", (unsigned long long)l.n,
                   l.n == 1 ? "" : "s");
    return HEARTH_EXIT_OK;
}

int hearth_cmd_records(hearth_cli *cli, int argc, char **argv) {
    static const hearth_subcommand subs[] = {
        {"import", import, "put a JSON-lines file in"},
        {"add", add, "put one record in"},
        {"list", list, "what is kept"},
        {"check", hearth_cli_records_check, "what would be trained on"},
        {"forget", hearth_cli_records_forget, "remove, with all made of it"},
    };
    return hearth_cli_dispatch(cli, "records", subs,
                               sizeof(subs) / sizeof(*subs), argc, argv);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/records_check.c - hearth records check: every record as training
 * would see it.
 *
 * Learnt text is printed as it is, masked text between [ and ], so that the
 * difference survives a pipe; line breaks are printed as \n. */
#include <string.h>

#include "client/cli/records_bench.h"
#include "client/net/setting_store.h"
#include "client/train/dataset.h"
#include "common/mem.h"

typedef struct {
    hearth_cli *cli;
    hearth_records_bench bench;
    const char *model, *template_name, *loss_on, *purpose;
    uint64_t seq, limit;
    hearth_tokenizer *t;
    hearth_dataset_config cfg;
    uint64_t n_records, n_holdout, n_tokens, n_supervised, n_cut, n_skipped;
} check_options;

/* A piece with line breaks made visible. */
static hearth_status put_visible(hearth_buf *out, const hearth_buf *piece) {
    hearth_status st = HEARTH_OK;
    for (size_t i = 0; st == HEARTH_OK && i < piece->n; i++)
        st = piece->v[i] == '\n'   ? hearth_buf_puts(out, "\\n")
             : piece->v[i] == '\r' ? hearth_buf_puts(out, "\\r")
                                   : hearth_buf_putc(out, piece->v[i]);
    return st;
}

static hearth_status render(const check_options *o, const hearth_document *d,
                            hearth_buf *text, hearth_error *err) {
    hearth_buf piece = HEARTH_BUF_INIT(NULL);
    hearth_status st = HEARTH_OK;
    bool masked = false;
    for (size_t i = 0; st == HEARTH_OK && i < d->n; i++) {
        bool now = i == 0 || d->label[i - 1] == HEARTH_DATASET_NO_LABEL;
        if (now != masked) st = hearth_buf_putc(text, now ? '[' : ']');
        masked = now;
        hearth_buf_clear(&piece);
        if (st == HEARTH_OK)
            st = hearth_tokenizer_piece(o->t, d->token[i], &piece, err);
        if (st == HEARTH_OK) st = put_visible(text, &piece);
    }
    if (st == HEARTH_OK && masked) st = hearth_buf_putc(text, ']');
    hearth_buf_free(&piece);
    return st;
}

static hearth_status print_document(check_options *o, const char *id,
                                    const hearth_document *d,
                                    hearth_error *err) {
    hearth_buf text = HEARTH_BUF_INIT(NULL);
    size_t learnt = 0;
    hearth_status st = render(o, d, &text, err);
    for (size_t i = 0; i < d->n; i++)
        learnt += d->label[i] != HEARTH_DATASET_NO_LABEL;
    if (st == HEARTH_OK) {
        hearth_event_begin(o->cli, "check");
        hearth_event_str(o->cli, "id", id);
        hearth_event_u64(o->cli, "tokens", d->n);
        hearth_event_u64(o->cli, "learnt", learnt);
        hearth_event_ids(o->cli, "ids", d->token, d->n);
        hearth_event_ids(o->cli, "labels", d->label, d->n);
        hearth_event_strn(o->cli, "text", hearth_buf_str(&text), text.n);
        hearth_event_end(o->cli);
        hearth_cli_say(o->cli, "%.12s  %zu tokens, %zu learnt", id, d->n,
                       learnt);
        if (!o->cli->json)
            fprintf(o->cli->out, "  %s\n", hearth_buf_str(&text));
    }
    hearth_buf_free(&text);
    return st;
}

static hearth_status check_one(void *ud, const hearth_record *rec,
                               const char *line, size_t n, hearth_error *err) {
    check_options *o = ud;
    hearth_dataset *ds = NULL;
    (void)line;
    (void)n;
    hearth_status st = hearth_dataset_new(&ds, &o->cfg, NULL, err);
    if (st == HEARTH_OK) {
        st = hearth_dataset_add_record(ds, o->t, rec, err);
        if (st != HEARTH_OK) hearth_error_prefix(err, "record %s", rec->id);
    }
    if (st == HEARTH_OK) {
        const hearth_dataset_report *r = hearth_dataset_get_report(ds);
        bool show = !o->limit || o->n_records < o->limit;
        o->n_records++;
        o->n_tokens += r->n_tokens;
        o->n_supervised += r->n_supervised;
        o->n_cut += r->n_truncated;
        o->n_skipped += r->n_skipped;
        for (size_t i = 0;
             show && st == HEARTH_OK && i < hearth_dataset_n_docs(ds); i++) {
            hearth_document d = hearth_dataset_doc(ds, i);
            st = print_document(o, rec->id, &d, err);
        }
    }
    hearth_dataset_free(ds);
    return st;
}

/* The tokenizer of --model, else of the base that `init` chose. */
static hearth_status open_tokenizer(check_options *o, hearth_error *err) {
    char *base = NULL;
    hearth_status st;
    if (o->model) return hearth_tokenizer_open(&o->t, o->model, NULL, err);
    st = hearth_setting_store_init(o->bench.db, err);
    if (st == HEARTH_OK)
        st = hearth_setting_get(o->bench.db, HEARTH_SETTING_BASE, &base, NULL,
                                NULL, err);
    if (st == HEARTH_OK && !base)
        st = hearth_error_set(err, HEARTH_ENOTFOUND,
                              "no base model is chosen; give --model DIR");
    if (st == HEARTH_OK) st = hearth_tokenizer_open(&o->t, base, NULL, err);
    hearth_mem_free(NULL, base);
    return st;
}

static hearth_status check_all(check_options *o, hearth_error *err) {
    hearth_status st = hearth_records_bench_open(&o->bench, false, err);
    if (st == HEARTH_OK)
        st = hearth_chat_template_parse(&o->cfg.tmpl, o->template_name, err);
    o->cfg.max_tokens = (size_t)o->seq;
    if (strcmp(o->loss_on, "all") == 0) o->cfg.loss_on = HEARTH_LOSS_ALL;
    if (st == HEARTH_OK) st = open_tokenizer(o, err);
    if (st == HEARTH_OK)
        st = hearth_record_store_count(o->bench.rs, HEARTH_SPLIT_HOLDOUT,
                                       o->purpose, &o->n_holdout, err);
    if (st == HEARTH_OK)
        st = hearth_record_store_each(o->bench.rs, HEARTH_SPLIT_TRAIN,
                                      o->purpose, check_one, o, err);
    return st;
}

static void print_summary(check_options *o) {
    hearth_event_begin(o->cli, "summary");
    hearth_event_u64(o->cli, "records", o->n_records);
    hearth_event_u64(o->cli, "holdout", o->n_holdout);
    hearth_event_u64(o->cli, "tokens", o->n_tokens);
    hearth_event_u64(o->cli, "learnt", o->n_supervised);
    hearth_event_u64(o->cli, "truncated", o->n_cut);
    hearth_event_u64(o->cli, "skipped", o->n_skipped);
    hearth_event_end(o->cli);
    hearth_cli_say(
        o->cli,
        "%llu records to train on (%llu cut, %llu without an "
        "answer), %llu tokens, %llu learnt; %llu held out",
        (unsigned long long)o->n_records, (unsigned long long)o->n_cut,
        (unsigned long long)o->n_skipped, (unsigned long long)o->n_tokens,
        (unsigned long long)o->n_supervised, (unsigned long long)o->n_holdout);
}

int hearth_cli_records_check(hearth_cli *cli, int argc, char **argv) {
    check_options o = {.cli = cli,
                       .template_name = "auto",
                       .loss_on = "answer",
                       .seq = 256,
                       .cfg = HEARTH_DATASET_CONFIG_INIT};
    const hearth_flag flags[] = {
        HEARTH_RECORDS_STATE_FLAG(o.bench),
        HEARTH_FLAG_STR("model", "DIR", "whose tokenizer to use", &o.model),
        HEARTH_FLAG_STR("template", "NAME",
                        "auto plain chatml llama3 gemma smollm",
                        &o.template_name),
        HEARTH_FLAG_CHOICE("loss-on", "answer|all", "which tokens count",
                           &o.loss_on),
        HEARTH_FLAG_U64("seq", "N", "tokens of a record at most", &o.seq,
                        HEARTH_DATASET_MIN_TOKENS, 4194304),
        HEARTH_FLAG_STR("purpose", "PURPOSE", "only records with this consent",
                        &o.purpose),
        HEARTH_FLAG_U64("limit", "N", "print so many records, 0 = all",
                        &o.limit, 0, UINT64_MAX),
    };
    const hearth_usage u = {
        .command = "records check",
        .summary = "what would be trained on; masked tokens are in [..]",
        .arguments = "[--model DIR] [flags]",
        .example = "hearth records check --model DIR --limit 3",
        .flags = flags,
        .n_flags = sizeof(flags) / sizeof(*flags),
    };
    hearth_error err = {HEARTH_OK, ""};
    int rc;
    if (!hearth_cli_parse(cli, &u, argc, argv, &rc)) return rc;
    hearth_status st = check_all(&o, &err);
    if (st == HEARTH_OK) print_summary(&o);
    hearth_tokenizer_close(o.t);
    hearth_records_bench_close(&o.bench);
    return st == HEARTH_OK ? HEARTH_EXIT_OK
                           : hearth_cli_fail(cli, st, &err, NULL);
}

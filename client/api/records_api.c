/* SPDX-License-Identifier: Apache-2.0 */
/* client/api/records_api.c - hearth/records.h over client/records. */
#include "hearth/records.h"

#include "client/api/client_private.h"
#include "common/abi.h"

_Static_assert(HEARTH_RECORDS_ID_CHARS == HEARTH_RECORD_MAX_ID + 1,
               "the installed header knows the length of an id");

hearth_status hearth_records_add(hearth_client *c, const char *json, size_t n,
                                 const hearth_records_options *opt,
                                 char id[HEARTH_RECORDS_ID_CHARS],
                                 hearth_error *err) {
    hearth_records_options m = HEARTH_RECORDS_OPTIONS_INIT;
    hearth_record_options o = HEARTH_RECORD_OPTIONS_INIT;
    hearth_error_clear(err);
    hearth_status st = hearth_client__need_db(c, err);
    if (st != HEARTH_OK) return st;
    if (opt && hearth_abi_copy(&m, sizeof(m), sizeof(m), opt) != HEARTH_OK)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "start from HEARTH_RECORDS_OPTIONS_INIT");
    if (m.form) st = hearth_record_form_parse(&o.form, m.form, err);
    if (st != HEARTH_OK) return st;
    o.purpose = m.purpose;
    o.keep_ms = m.keep_ms;
    st = hearth_record_store_add(c->records, json, n, &o, id, err);
    if (st == HEARTH_EEXISTS) {
        hearth_error_clear(err);
        return HEARTH_OK;
    }
    return st;
}

hearth_status hearth_records_consent(hearth_client *c, const char *id,
                                     const char *purpose, bool give,
                                     hearth_error *err) {
    hearth_forget_report r;
    hearth_error_clear(err);
    hearth_status st = hearth_client__need_db(c, err);
    if (st != HEARTH_OK) return st;
    return hearth_record_store_consent(c->records, id, purpose, give, &r, err);
}

hearth_status hearth_records_forget(hearth_client *c, const char *id,
                                    hearth_error *err) {
    hearth_forget_report r;
    hearth_error_clear(err);
    hearth_status st = hearth_client__need_db(c, err);
    if (st != HEARTH_OK) return st;
    return hearth_record_store_forget(c->records, id, &r, err);
}

hearth_status hearth_records_count(hearth_client *c, uint64_t *n,
                                   hearth_error *err) {
    hearth_error_clear(err);
    hearth_status st = hearth_client__need_db(c, err);
    if (st != HEARTH_OK || !n) return st != HEARTH_OK ? st : HEARTH_EINVAL;
    return hearth_record_store_count(c->records, HEARTH_SPLIT_ALL, NULL, n,
                                     err);
}

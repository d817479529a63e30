/* SPDX-License-Identifier: Apache-2.0 */
/* tests/compile_fail/prepared_ok_use.c - the right way compiles, so that the
 * other files fail for their own reason. */
#include "client/delta/prepare.h"
#include "client/net/upload.h"

hearth_status use(hearth_ledger_store *ls, const hearth_upload *u,
                  hearth_reply_info *rep);

hearth_status use(hearth_ledger_store *ls, const hearth_upload *u,
                  hearth_reply_info *rep) {
    hearth_round_key key = {.round = 1};
    hearth_prepared *p = NULL;
    uint64_t offset = 0;
    hearth_status st = hearth_prepared_load(&p, ls, &key, NULL);
    if (st == HEARTH_OK) st = hearth_prepared_sending(p, NULL);
    if (st == HEARTH_OK) st = hearth_upload_begin(u, p, &offset, rep, NULL);
    hearth_prepared_free(p);
    return st;
}

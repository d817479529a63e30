/* SPDX-License-Identifier: Apache-2.0 */
/* client/api/client.c - open, join and close; hearth/client.h is the contract.
 */
#include "hearth/client.h"

#include <stddef.h>
#include <string.h>

#include "client/api/client_private.h"
#include "client/net/setting_store.h"
#include "client/net/sync_store.h"
#include "client/personal/personal_store.h"
#include "client/train/kernels.h"
#include "common/abi.h"
#include "common/file.h"
#include "common/mem.h"

int hearth_version(void) {
    return HEARTH_VERSION_MAJOR * 10000 + HEARTH_VERSION_MINOR * 100 +
           HEARTH_VERSION_PATCH;
}

static void to_app(void *ud, hearth_log_level level, const char *component,
                   const char *message) {
    hearth_client *c = ud;
    _Static_assert((int)HEARTH_LOG_DEBUG == HEARTH_CLIENT_LOG_DEBUG, "same");
    c->log(c->log_ud, (int)level, component, message);
}

hearth_status hearth_client__need_db(hearth_client *c, hearth_error *err) {
    if (c && c->db) return HEARTH_OK;
    if (!c) return HEARTH_EINVAL;
    return hearth_error_set(err, HEARTH_EUNSUPPORTED,
                            "built without SQLite: no records, ledger or sync; "
                            "build with -DHEARTH_WITH_SQLITE=ON");
}

static hearth_status open_db(hearth_client *c, hearth_error *err) {
    char path[1024];
    size_t n = 0;
    hearth_status st =
        hearth_file_join(path, sizeof(path), c->state_dir, "client.db");
    if (st == HEARTH_OK) st = hearth_db_open(&c->db, path, &c->alloc, err);
    if (st == HEARTH_EUNSUPPORTED) {
        hearth_error_clear(err);
        return HEARTH_OK;
    }
    if (st == HEARTH_OK) st = hearth_setting_store_init(c->db, err);
    if (st == HEARTH_OK) st = hearth_sync_store_init(c->db, err);
    if (st == HEARTH_OK) st = hearth_personal_store_init(c->db, err);
    if (st == HEARTH_OK)
        st = hearth_record_store_open(&c->records, c->db, c->state_dir,
                                      c->clock, &c->alloc, err);
    if (st == HEARTH_OK) {
        hearth_record_store_set_counter(c->records, hearth_client__counter(c));
        st = hearth_setting_get(c->db, HEARTH_SETTING_BASE, &c->base, &n,
                                &c->alloc, err);
    }
    return st;
}

static hearth_status start(hearth_client *c, const hearth_client_config *cfg,
                           hearth_error *err) {
    if (!(c->state_dir = hearth_mem_strdup(&c->alloc, cfg->state_dir)))
        return HEARTH_ENOMEM;
    hearth_status st = hearth_file_mkdirs(c->state_dir, err);
    if (st == HEARTH_OK) st = hearth_rng_open(&c->rng, &c->alloc, err);
    if (st == HEARTH_OK) st = open_db(c, err);
    return st;
}

/* Settings of training into the handle; the numbers were not looked at yet. */
static hearth_status take_training(hearth_client *c,
                                   const hearth_client_config *m,
                                   hearth_error *err) {
    bool fast = m->compute == HEARTH_CLIENT_COMPUTE_AUTO;
    if (m->compute < 0 || m->compute > HEARTH_CLIENT_COMPUTE_AUTO ||
        m->energy < 0 || m->energy > HEARTH_CLIENT_ENERGY_CAREFUL ||
        m->duty_percent < 0 || m->duty_percent > 100 || m->slow_threads < 0)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "compute, energy, duty_percent or slow_threads "
                                "of the config is out of range");
    c->bf16 = m->compute == HEARTH_CLIENT_COMPUTE_BF16 ||
              (fast && hearth_kernels_bf16_is_fast());
    if (c->bf16 && !hearth_kernels_bf16())
        return hearth_error_set(err, HEARTH_EUNSUPPORTED,
                                "this build does not compute in bfloat16; use "
                                "HEARTH_CLIENT_COMPUTE_AUTO");
    c->slow_down = m->energy == HEARTH_CLIENT_ENERGY_CAREFUL;
    c->duty = (double)m->duty_percent / 100;
    c->slow_threads = (uint32_t)m->slow_threads;
    return HEARTH_OK;
}

hearth_status hearth_client_open(hearth_client **out,
                                 const hearth_client_config *cfg,
                                 hearth_error *err) {
    hearth_client_config mine = HEARTH_CLIENT_CONFIG_INIT;
    if (!out) return HEARTH_EINVAL;
    *out = NULL;
    hearth_error_clear(err);
    mine.energy = HEARTH_CLIENT_ENERGY_PAUSE; /* what an older caller had */
    if (hearth_abi_copy(&mine, sizeof(mine),
                        offsetof(hearth_client_config, compute),
                        cfg) != HEARTH_OK ||
        !mine.state_dir || !*mine.state_dir)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "start from HEARTH_CLIENT_CONFIG_INIT and set "
                                "state_dir");
    const hearth_alloc *al = hearth_mem_or_default(mine.alloc);
    hearth_client *c = hearth_mem_new(al, sizeof(*c));
    if (!c) return hearth_error_set(err, HEARTH_ENOMEM, "out of memory");
    if (pthread_mutex_init(&c->lock, NULL) != 0) {
        hearth_mem_free(al, c);
        return hearth_error_set(err, HEARTH_ENOMEM, "out of memory");
    }
    c->alloc = *al;
    c->threads = mine.threads;
    c->memory_budget = mine.memory_budget;
    c->log = mine.log;
    c->log_ud = mine.log_ud;
    c->counter = mine.counter;
    c->counter_ud = mine.counter_ud;
    if (c->log) c->logger = (hearth_log){to_app, c, HEARTH_LOG_DEBUG};
    c->clock = hearth_clock_system();
    c->lock_fd = -1;
    c->dialer = hearth_client__dialer(c);
    hearth_conditions_worst(&c->said);
    hearth_policy_defaults(&c->policy);
    hearth_status st = take_training(c, &mine, err);
    if (st == HEARTH_OK) st = start(c, &mine, err);
    if (st == HEARTH_OK) {
        *out = c;
        return st;
    }
    if (err && err->text[0] == '\0')
        (void)hearth_error_set(err, st, "%s: %s", mine.state_dir,
                               hearth_status_text(st));
    hearth_client_close(c);
    return st;
}

void hearth_client_close(hearth_client *c) {
    if (!c) return;
    hearth_alloc al = c->alloc;
    hearth_client__hang_up(c);
    if (c->linux_conditions) hearth_conditions_linux_free(&c->conditions);
    hearth_tokenizer_close(c->tokenizer);
    hearth_model_close(c->model);
    hearth_pool_close(c->pool);
    hearth_record_store_close(c->records);
    hearth_db_close(c->db);
    hearth_rng_close(c->rng);
    hearth_mem_free(&al, c->base);
    hearth_mem_free(&al, c->state_dir);
    (void)pthread_mutex_destroy(&c->lock);
    hearth_mem_free(&al, c);
}

/* ---- the base model ---- */

static void close_model(hearth_client *c) {
    hearth_client__hang_up(c);
    hearth_tokenizer_close(c->tokenizer);
    c->tokenizer = NULL;
    hearth_model_close(c->model);
    c->model = NULL;
}

/* A chat reads the model that is open now. */
static hearth_status no_chats(const hearth_client *c, hearth_error *err) {
    if (c->n_chats == 0) return HEARTH_OK;
    return hearth_error_set(err, HEARTH_ESTATE,
                            "a chat is open on the base model; close it first");
}

static hearth_status open_model(hearth_client *c, hearth_error *err) {
    hearth_status st = HEARTH_OK;
    if (!c->pool) st = hearth_pool_open(&c->pool, c->threads, &c->alloc, err);
    if (st == HEARTH_OK)
        st = hearth_model_open(&c->model, c->base, &c->alloc, err);
    if (st == HEARTH_OK)
        st = hearth_tokenizer_open(&c->tokenizer, c->base, &c->alloc, err);
    if (st == HEARTH_OK)
        st = hearth_chat_template_digest(
            hearth_chat_template_resolve(HEARTH_TEMPLATE_AUTO, c->tokenizer),
            c->template_digest);
    if (st != HEARTH_OK) close_model(c);
    return st;
}

hearth_status hearth_client__need_model(hearth_client *c, hearth_error *err) {
    if (c->model) return HEARTH_OK;
    if (!c->base)
        return hearth_error_set(err, HEARTH_ESTATE,
                                "no base model is known; join a coordinator, "
                                "or name one with hearth_client_set_base");
    return open_model(c, err);
}

/* An absolute path keeps its meaning when the app starts elsewhere; a relative
 * one is kept as given. */
hearth_status hearth_client_set_base(hearth_client *c, const char *dir,
                                     hearth_error *err) {
    if (!c || !dir || !*dir) return HEARTH_EINVAL;
    hearth_error_clear(err);
    hearth_status st = no_chats(c, err);
    if (st != HEARTH_OK) return st;
    char *mine = hearth_mem_strdup(&c->alloc, dir), *old = c->base;
    if (!mine) return HEARTH_ENOMEM;
    close_model(c);
    c->base = mine;
    st = open_model(c, err);
    if (st == HEARTH_OK && c->db)
        st = hearth_setting_set_str(c->db, HEARTH_SETTING_BASE, dir, err);
    if (st != HEARTH_OK) {
        close_model(c);
        c->base = old;
        old = mine;
    }
    hearth_mem_free(&c->alloc, old);
    return st;
}

/* ---- joining ---- */

hearth_status hearth_client__need_enrolment(hearth_client *c,
                                            hearth_error *err) {
    hearth_status st = hearth_client__need_db(c, err);
    if (st != HEARTH_OK || c->joined) return st;
    st = hearth_enrolment_load(&c->enrolment, c->db, &c->alloc, err);
    c->joined = st == HEARTH_OK;
    if (st != HEARTH_ENOTFOUND) return st;
    if (err) err->status = HEARTH_ESTATE;
    return HEARTH_ESTATE;
}

hearth_status hearth_client_join(hearth_client *c,
                                 const hearth_client_join_config *cfg,
                                 hearth_error *err) {
    hearth_client_join_config mine = HEARTH_CLIENT_JOIN_CONFIG_INIT;
    hearth_error_clear(err);
    hearth_status st = hearth_client__need_db(c, err);
    if (st != HEARTH_OK) return st;
    if (hearth_abi_copy(&mine, sizeof(mine), sizeof(mine), cfg) != HEARTH_OK)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "start from HEARTH_CLIENT_JOIN_CONFIG_INIT");
    if (!mine.base || !*mine.base)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "the folder of the base model is missing");
    if ((st = no_chats(c, err)) != HEARTH_OK) return st;
    char *base = hearth_mem_strdup(&c->alloc, mine.base), *old = c->base;
    if (!base) return HEARTH_ENOMEM;
    close_model(c);
    c->base = base;
    st =
        open_model(c, err); /* a wrong folder is found before anyone is asked */
    hearth_enroll_config ec = {mine.server, mine.token, mine.root,
                               mine.base,   c->db,      &c->dialer,
                               c->rng,      c->clock,   &c->alloc};
    if (st == HEARTH_OK) st = hearth_enroll(&ec, err);
    if (st != HEARTH_OK) {
        close_model(c);
        c->base = old;
        old = base;
    }
    hearth_mem_free(&c->alloc, old);
    return st;
}

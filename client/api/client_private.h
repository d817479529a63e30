/* SPDX-License-Identifier: Apache-2.0 */
/* client/api/client_private.h - inside a hearth_client, for client/api and the
 * `hearth` program.
 *
 * Parts are opened when first needed: a client that only takes records reads no
 * model; one that chats opens no connection.
 *
 * Lock order: there is one lock, `lock`, around what other threads touch: which
 * transport a stop would cancel, the stop of a tick, the conditions that were
 * said.  Nothing else is taken while it is held.
 */
#ifndef HEARTH_CLIENT_API_CLIENT_PRIVATE_H
#define HEARTH_CLIENT_API_CLIENT_PRIVATE_H

#include <pthread.h>

#include "client/device/conditions.h"
#include "client/device/policy.h"
#include "client/model/base_model.h"
#include "client/net/enroll.h"
#include "client/net/sync.h"
#include "client/personal/personal.h"
#include "client/records/record_store.h"
#include "client/tokenizer/tokenizer.h"
#include "common/clock.h"
#include "common/db.h"
#include "common/log.h"
#include "common/pool.h"
#include "common/rng.h"
#include "hearth/client.h"
#include "hearth/model.h"

struct hearth_client {
    hearth_alloc alloc;
    char *state_dir;
    size_t threads, memory_budget;
    void (*log)(void *ud, int level, const char *component, const char *line);
    void *log_ud;
    int (*counter)(void *ud, uint64_t at_least, uint64_t *value);
    void *counter_ud;
    hearth_log logger;
    hearth_clock clock;
    bool reference_kernels;
    bool (*stop_check)(void *ud); /* of the program, see transport_curl.h */
    void *stop_ud;
    bool bf16;
    hearth_base_type base_type;
    bool slow_down; /* energy of the config */
    double duty;    /* 0 = the default */
    uint32_t slow_threads;
    /* Of the program: training pauses, slows down or goes on. */
    void (*energy_changed)(void *ud, const hearth_energy_state *now);
    void *energy_ud;

    hearth_db *db; /* NULL: built without SQLite */
    hearth_record_store *records;
    hearth_rng *rng;
    hearth_policy policy;

    char *base; /* folder of the model; NULL = not known yet */
    hearth_pool *pool;
    hearth_model *model;
    hearth_tokenizer *tokenizer;
    uint8_t template_digest[32];

    hearth_dialer dialer;
    hearth_transport wire; /* what the dialer opened */
    pthread_mutex_t lock;
    bool asking;  /* a request runs; under lock */
    bool in_tick; /* hearth_client_sync runs; under lock */
    bool stopped; /* that one is to end; under lock */

    hearth_conditions_source conditions; /* the system's; asked until the app
                                            says them */
    bool linux_conditions;               /* conditions is ours to free */
    bool has_said;                       /* the app did; under lock */
    hearth_conditions said;              /* under lock */

    int lock_fd; /* of sync.lock; -1 */
    bool joined; /* enrolment is loaded */
    hearth_enrolment enrolment;
    hearth_transport transport; /* pinned, with our certificate */
    hearth_sync *sync;
    unsigned n_chats;                        /* open: they hold the model */
    int64_t renew_after_ms, keyset_after_ms; /* no second try before; Unix ms */
    bool keyset_wanted;                      /* the pins stopped to match */
};

/* The state, or HEARTH_EUNSUPPORTED where there is none. */
HEARTH_MUST_CHECK
hearth_status hearth_client__need_db(hearth_client *c, hearth_error *err);

/* Pool, model, tokenizer and template digest; HEARTH_ESTATE without a base. */
HEARTH_MUST_CHECK
hearth_status hearth_client__need_model(hearth_client *c, hearth_error *err);

/* The enrolment; HEARTH_ESTATE when the device has not joined. */
HEARTH_MUST_CHECK
hearth_status hearth_client__need_enrolment(hearth_client *c,
                                            hearth_error *err);

/* A hearth_personal over the client and the keyset [caller's storage]. */
HEARTH_MUST_CHECK
hearth_status hearth_client__personal(hearth_client *c, hearth_personal *p,
                                      hearth_keyset *ks, hearth_error *err);

/* The app's counter as the ledger calls it; raise NULL: the app has none. */
hearth_ledger_counter hearth_client__counter(hearth_client *c);

/* Around a tick: hearth_client_stop ends what runs between them. */
void hearth_client__begin_tick(hearth_client *c);
void hearth_client__end_tick(hearth_client *c);

/* The dialer over libcurl, whose requests hearth_client_stop can end. */
hearth_dialer hearth_client__dialer(hearth_client *c);

/* Wrap a transport so that hearth_client_stop can end its requests. */
hearth_transport hearth_client__stoppable(hearth_client *c);

/* Drop sync, transport and enrolment, so that they are opened anew. */
void hearth_client__hang_up(hearth_client *c);

/* Everything that hearth_client_sync needs. */
HEARTH_MUST_CHECK
hearth_status hearth_client__open_sync(hearth_client *c, hearth_error *err);

/* Take the state's sync lock; HEARTH_EBUSY when another process has it. */
HEARTH_MUST_CHECK
hearth_status hearth_client__take_lock(hearth_client *c, hearth_error *err);

/* An event as apps see it. */
void hearth_client__fill_tick(hearth_client_tick *tick,
                              const hearth_sync_event *ev);

#endif /* HEARTH_CLIENT_API_CLIENT_PRIVATE_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/fake_coord.h - a coordinator in a few hundred lines, in the
 * place of a network: what client/net and client/api are tested against.
 *
 * It keeps one task on a tiny random model, gives one offer a round, checks
 * uploads as the protocol says, publishes a release a round, and does wrong on
 * request: refuse, lose replies, alter bytes, go back in sequence.
 *
 *     fake_coord f;
 *     fake_coord_open(&f);                       // model, keys, release 1
 *     hearth_transport tr = fake_coord_transport(&f);
 *     f.lose[FAKE_COMMIT] = 1;                   // the next reply is lost
 *     ...
 *     fake_coord_close(&f);
 *
 * Threads: one thread.
 */
#ifndef HEARTH_TESTS_FAKE_COORD_H
#define HEARTH_TESTS_FAKE_COORD_H

#include "tests/support/cmocka_all.h"

#include "client/device/conditions.h"
#include "client/device/policy.h"
#include "client/model/base_model.h"
#include "client/net/enroll.h"
#include "client/net/sync.h"
#include "client/net/transport.h"
#include "client/records/record_store.h"
#include "client/tokenizer/tokenizer.h"
#include "common/clock.h"
#include "common/db.h"
#include "common/rng.h"
#include "common/sign.h"
#include "common/x509.h"
#include "proto/messages.h"
#include "proto/signed.h"

typedef enum {
    FAKE_KEYSET,
    FAKE_ENROLL,
    FAKE_RENEW,
    FAKE_CHECKIN,
    FAKE_MANIFEST,
    FAKE_PAYLOAD,
    FAKE_BEGIN,
    FAKE_OFFSET,
    FAKE_APPEND,
    FAKE_COMMIT,
    FAKE_ABORT,
    FAKE_OTHER,
    FAKE_ROUTES
} fake_route;

#define FAKE_NOW    ((int64_t)1790000000000) /* Unix ms at open */
#define FAKE_TOKEN  "token-1"
#define FAKE_TASK   "diary"
#define FAKE_SERVER "https://coord.test:8443"

typedef struct {
    /* The world. */
    char dir[64]; /* of the base model */
    hearth_model *model;
    hearth_tokenizer *tokenizer;
    hearth_virtual_clock time;
    hearth_clock clock;
    hearth_rng *rng;

    /* Keys. */
    hearth_sign_keypair *root, *release_key, *ca;
    hearth_keyset keyset;
    hearth_buf keyset_bytes;
    char root_pin[HEARTH_SIGN_PIN_CHARS];
    char ca_pem[HEARTH_X509_PEM_MAX];

    /* The task. */
    hearth_offer offer;
    bool give_offer;
    hearth_release release; /* newest */
    hearth_buf manifest;
    uint8_t *content; /* [release.content_bytes] */
    bool offer_twice; /* a second offer, of another round */

    /* The upload. */
    uint8_t *spool; /* [4 d] */
    uint64_t spool_n;
    hearth_begin_request begun;
    bool has_begun, committed, aborted;
    hearth_abort_request abort;
    uint32_t n_altered;  /* commits or begins with other bytes than before */
    int64_t ahead_ms;    /* its clock minus the device's, as a check-in tells */
    bool full;           /* refuse begin: the round is full */
    bool closed;         /* refuse begin, append and commit */
    uint64_t append_cap; /* take at most so many bytes of an append; 0 = all */

    /* Wrong on request: counts down per route. */
    uint32_t lose[FAKE_ROUTES];    /* do it, but lose the reply (ENET) */
    uint32_t drop[FAKE_ROUTES];    /* lose the request */
    uint32_t refuse[FAKE_ROUTES];  /* answer with refuse_reason */
    uint32_t garbage[FAKE_ROUTES]; /* 200 with bytes that do not decode */
    uint32_t fail[FAKE_ROUTES];    /* return fail_status */
    uint32_t refuse_reason;
    hearth_status fail_status;
    uint64_t offset_lie;     /* added to the offset of every reply */
    uint32_t flip_payload;   /* alter a byte of so many payload replies */
    bool no_range;           /* answer 200 with all of it */
    uint32_t n_with_cert;    /* check-ins that showed the certificate */
    uint32_t cookie;         /* number in the cookie that is valid now */
    uint32_t n[FAKE_ROUTES]; /* requests seen */
    hearth_retry retry;
    bool saw_token_unpinned;  /* anything but the keyset without pins */
    const char *dialled_pins; /* of the open connection; NULL = none */
    bool token_used;
    char csr[HEARTH_PROTO_PEM_CAP]; /* of the used token */
    bool wrong_ca;                  /* sign certificates with another key */
} fake_coord;

/* Open the world: asserts that all goes well.  seq: tokens of a record. */
void fake_coord_open(fake_coord *f);
/* The same with 64 layers, of which two take far less memory than all. */
void fake_coord_open_deep(fake_coord *f);
void fake_coord_close(fake_coord *f);

/* A transport onto it; ud is f. */
hearth_transport fake_coord_transport(fake_coord *f);

/* A dialer onto it, which notes the pins of each connection. */
hearth_dialer fake_coord_dialer(fake_coord *f);

/* Sign the keyset (after changing it). */
void fake_coord_seal_keyset(fake_coord *f);

/* Publish a release: sequence, content shifted by `shift`. */
void fake_coord_publish(fake_coord *f, uint64_t sequence, float shift);

/* Offer round `round` starting from the newest release, fresh token. */
void fake_coord_offer(fake_coord *f, uint64_t round);

/* Sign f->release again after a change of its fields. */
void fake_coord_seal_release(fake_coord *f);

/* ---- a device for it ---- */

typedef struct {
    fake_coord *f;
    char dir[64];
    hearth_db *db;
    hearth_record_store *records;
    hearth_policy policy;
    hearth_conditions now;
    hearth_transport tr;
    hearth_sync *sync;
    /* Settings of the sync; heeded when it is opened the next time. */
    hearth_conditions_source source; /* read NULL: now above */
    hearth_clock clock;              /* wall_ms NULL: the coordinator's */
    hearth_pool *pool;
    size_t memory_budget;
    hearth_sync_energy energy;
    bool bf16, reference_kernels;
    hearth_base_type base;
} fake_device;

/* A state folder with n records of purpose federated, and a sync over it. */
void fake_device_open(fake_device *d, fake_coord *f, unsigned n_records);
/* As if the process died and came back: close all, open the same folder. */
void fake_device_restart(fake_device *d);
void fake_device_close(fake_device *d);

/* Open the sync alone; for tests of its errors. */
hearth_status fake_device_sync_open(fake_device *d, const hearth_alloc *al,
                                    hearth_error *err);

/* Charges of the task in the ledger that were not taken back. */
uint64_t fake_device_charges(fake_device *d);

/* Tick, passing the time that it asks to wait, until an event of `kind` or
 * `limit` ticks; the event is in *ev.  Asserts that tick does not fail. */
bool fake_device_until(fake_device *d, hearth_sync_kind kind, unsigned limit,
                       hearth_sync_event *ev);

#endif /* HEARTH_TESTS_FAKE_COORD_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* hearth/client.h - open, join and close the phone library.
 *
 * A client is the state of one device in one directory: its records, its
 * ledger of what was sent, its key, the adapters it received.  Nothing of it is
 * global.  Several processes may open one directory; only one at a time may
 * take part in rounds (hearth_client_sync, HEARTH_EBUSY).
 *
 * Threads: a client belongs to one thread at a time; hearth_client_stop and
 *          hearth_client_set_conditions may be called from any other.
 */
#ifndef HEARTH_CLIENT_H
#define HEARTH_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#include "hearth/alloc.h"
#include "hearth/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define HEARTH_VERSION_MAJOR 0
#define HEARTH_VERSION_MINOR 1
#define HEARTH_VERSION_PATCH 0

typedef struct hearth_client hearth_client; /* opaque */

/* Levels of the log callback. */
#define HEARTH_CLIENT_LOG_ERROR 0 /* a person must act */
#define HEARTH_CLIENT_LOG_WARN  1 /* degraded */
#define HEARTH_CLIENT_LOG_INFO  2 /* state changes */
#define HEARTH_CLIENT_LOG_DEBUG 3

/* How a round is computed (compute below). */
#define HEARTH_CLIENT_COMPUTE_F32  0
#define HEARTH_CLIENT_COMPUTE_BF16 1 /* products of weights in bfloat16 */
#define HEARTH_CLIENT_COMPUTE_AUTO                                             \
    2 /* BF16 where this processor is fast at it */

/* What training does to the device (energy below).  In any case it pauses as
 * the policy's conditions say (hearth/model.h), while a person uses the phone
 * and while the battery saver is on. */
#define HEARTH_CLIENT_ENERGY_PAUSE 0 /* full speed otherwise */
#define HEARTH_CLIENT_ENERGY_CAREFUL                                           \
    1 /* slower on battery, and from 5 degrees
                                          below the policy's temperature_max */

/* Settings for hearth_client_open.  Start from HEARTH_CLIENT_CONFIG_INIT: it
 * fills struct_size, which is how a newer library reads an older caller.
 * Fields are only ever appended, zero in a new one means "as before", and none
 * leaves padding for a later one to hide in.  There is no privacy setting here:
 * the coordinator proposes, the policy of the device decides. */
typedef struct {
    size_t struct_size;    /* sizeof(hearth_client_config) in the caller */
    const char *state_dir; /* UTF-8 path, required; copied; made, mode 0700 */
    const hearth_alloc *alloc; /* copied; NULL = malloc, realloc, free */
    size_t threads;            /* for compute; 0 = one per core */
    size_t memory_budget;      /* bytes for training: its own memory and what it
                                  keeps of the model's file; 0 = 512 MiB.  A
                                  model that does not fit is read from the file
                                  layer by layer */
    /* One line "key=value ..." without record text, keys or norms; NULL = none */
    void (*log)(void *ud, int level, const char *component, const char *line);
    void *log_ud;
    /* A number that only grows and that nobody can set back by restoring an
     * older copy of state_dir, such as a counter of the phone's secure hardware.
     * Raise it to at_least and put into *value what it is now; return 0, or
     * anything else when it cannot be reached (nothing is sent then).  It is tied
     * to the ledger's row numbers: before the bytes of row n leave it is raised
     * to n.  A ledger that ends before the counter is an older copy, and
     * hearth_client_sync refuses it with HEARTH_EDIGEST before it connects:
     * put the newest copy of state_dir back.  There is no way around it; an app
     * that starts state_dir anew on purpose starts a new counter with it, and
     * with both the device's privacy budget: what was sent before is then in no
     * ledger.  Without a counter (NULL) an older copy cannot be noticed.
     * The ledger remembers that it had a counter: without one hearth_client_sync
     * then refuses it (HEARTH_ESTATE), and forgetting takes no charge back.
     * Called from hearth_client_sync and from what forgets records
     * (hearth_records_forget, _consent), on their thread. */
    int (*counter)(void *ud, uint64_t at_least, uint64_t *value);
    void *counter_ud;
    int32_t compute;      /* HEARTH_CLIENT_COMPUTE_*; 0 = f32 */
    int32_t energy;       /* HEARTH_CLIENT_ENERGY_*; the INIT says CAREFUL */
    int32_t duty_percent; /* slowed down, work so much of the time; 1..100, 0 =
                             50 */
    int32_t slow_threads; /* slowed down, at most so many threads; 0 = half */
} hearth_client_config;

#define HEARTH_CLIENT_CONFIG_INIT                                              \
    {                                                                          \
        sizeof(hearth_client_config), NULL, NULL, 0, 0, NULL, NULL, NULL,      \
            NULL, HEARTH_CLIENT_COMPUTE_F32, HEARTH_CLIENT_ENERGY_CAREFUL, 0,  \
            0                                                                  \
    }

/* Open or create the client state under cfg->state_dir.  On success *out is the
 * caller's: hearth_client_close.  On failure *out is NULL and err, when not
 * NULL, says why.
 *
 * Returns HEARTH_OK
 *         HEARTH_EINVAL   out or cfg is NULL, bad struct_size, no state_dir, a
 *                         number out of range
 *         HEARTH_EUNSUPPORTED  COMPUTE_BF16 in a build without it
 *         HEARTH_EFORMAT  state_dir holds something that is not our state
 *         HEARTH_EVERSION state of a newer library; untouched
 *         HEARTH_EIO, HEARTH_ENOSPACE, HEARTH_ENOMEM, HEARTH_ERNG
 * Built without SQLite, a client can chat and nothing else: every function that
 * needs the state returns HEARTH_EUNSUPPORTED.
 */
HEARTH_API HEARTH_MUST_CHECK hearth_status hearth_client_open(
    hearth_client **out, const hearth_client_config *cfg, hearth_error *err);

/* Close and free.  NULL is a no-op.  What was under way goes on at the next
 * open. */
HEARTH_API void hearth_client_close(hearth_client *c);

/* How to join a coordinator. */
typedef struct {
    size_t struct_size;
    const char *server; /* "https://host:port" */
    const char *token; /* one-time token that the coordinator's operator gave */
    const char *root;  /* "sha256//..": pin of the coordinator's root key */
    const char *base;  /* folder of the base model on this device */
} hearth_client_join_config;

#define HEARTH_CLIENT_JOIN_CONFIG_INIT                                         \
    { sizeof(hearth_client_join_config), NULL, NULL, NULL, NULL }

/* Join: one-time; doing it again with the same values is harmless and finishes
 * what a lost reply left open.  Neither the token nor anything about this device
 * is sent before the coordinator has proved the root key.
 *
 * Returns HEARTH_OK
 *         HEARTH_EINVAL     a field missing, not https, not a pin
 *         HEARTH_EEXISTS    this state has joined another coordinator
 *         HEARTH_ESTATE     a chat is open
 *         HEARTH_EFORMAT    base is not a model, or the peer's reply is broken
 *         HEARTH_ENOTFOUND  no model at base
 *         HEARTH_ESIGNATURE the coordinator's keys are not signed by root
 *         HEARTH_EEXPIRED   the coordinator's keys are past their expiry
 *         HEARTH_EAUTH      the token is unknown, used up or expired
 *         HEARTH_EUNSUPPORTED  built without libcurl
 *         HEARTH_ENET, HEARTH_ETIMEOUT, HEARTH_ECANCELLED, HEARTH_EIO, ...
 */
HEARTH_API HEARTH_MUST_CHECK hearth_status hearth_client_join(
    hearth_client *c, const hearth_client_join_config *cfg, hearth_error *err);

/* Name the base model without joining (to chat, or to count tokens).
 * HEARTH_ESTATE while a chat is open: it reads the one there is. */
HEARTH_API HEARTH_MUST_CHECK hearth_status
hearth_client_set_base(hearth_client *c, const char *dir, hearth_error *err);

/* End the hearth_client_sync that is running in another thread: a request at
 * once, training within one layer of the model.  The tick says so
 * (HEARTH_TICK_RETRY); the step of training in progress is dropped, and the next
 * tick begins it again.  A stop between two ticks ends nothing.  Any thread may
 * call it. */
HEARTH_API void hearth_client_stop(hearth_client *c);

/* Version of the library that is running, as MAJOR*10000 + MINOR*100 + PATCH;
 * compare with the macros above, which are those of the header. */
HEARTH_API int hearth_version(void);

#ifdef __cplusplus
}
#endif

#endif /* HEARTH_CLIENT_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* common/status.h - the one error type; installed as hearth/status.h.
 *
 * Every function that can fail returns hearth_status: 0 is success, negative
 * is failure, and the number says whose fault it is (hearth_status_class), so
 * that a caller can act even on a code it does not know.  Values are
 * append-only: they travel on the wire and in SQLite, so a code is never
 * renumbered or reused.
 *
 * Threads: pure functions and constants.
 * Memory:  allocates nothing; returned strings are static.
 */
#ifndef HEARTH_COMMON_STATUS_H
#define HEARTH_COMMON_STATUS_H

#if defined(__GNUC__)
#define HEARTH_API        __attribute__((visibility("default")))
#define HEARTH_MUST_CHECK __attribute__((warn_unused_result))
#else
#define HEARTH_API
#define HEARTH_MUST_CHECK
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* clang-format off */
/*    name            value  text                                            */
#define HEARTH_STATUS_MAP(X)                                                  \
    X(OK,                0, "success")                                        \
    X(EINVAL,           -1, "caller broke the contract of the function")      \
    X(ETOOBIG,          -2, "input above a documented limit")                 \
    X(ENONFINITE,       -3, "NaN or infinity where a finite number is needed")\
    X(EUNSUPPORTED,     -4, "not supported by this build or for this input")  \
    X(ENOTFOUND,        -5, "no such thing")                                  \
    X(EEXISTS,          -6, "it exists already")                              \
    X(ESTATE,           -7, "not allowed in the present state")               \
    X(EREFUSED,         -8, "the policy of this device refuses")              \
    X(ECANCELLED,       -9, "stopped on request")                             \
    X(ECONSENT,        -10, "no consent for this purpose")                    \
    X(EFORMAT,        -100, "bytes of a peer or file break their format")     \
    X(EVERSION,       -101, "a major version this build does not know")       \
    X(EDIGEST,        -102, "bytes do not match their digest")                \
    X(ESIGNATURE,     -103, "a signature or certificate does not verify")     \
    X(EAUTH,          -104, "credential missing, unknown or used up")         \
    X(EEXPIRED,       -105, "past its expiry")                                \
    X(EMISMATCH,      -106, "made for another model, tokenizer or shape")     \
    X(EPEERREFUSED,   -107, "the peer refused the request")                   \
    X(EREPLAY,        -108, "older or repeated where newer is needed")        \
    X(ENOMEM,         -200, "allocation failed or arena full")                \
    X(EIO,            -201, "reading or writing failed")                      \
    X(ENOSPACE,       -202, "no space left on the device")                    \
    X(ERNG,           -203, "the random generator failed")                    \
    X(ENET,           -204, "network failed")                                 \
    X(ETIMEOUT,       -205, "took too long")                                  \
    X(EBUSY,          -206, "in use by someone else; retry later")
/* clang-format on */

typedef enum {
#define X(name, value, text) HEARTH_##name = (value),
    HEARTH_STATUS_MAP(X)
#undef X
} hearth_status;

/* Whose fault a status is, and so what to do about it. */
typedef enum {
    HEARTH_FAULT_NONE,   /* 0 */
    HEARTH_FAULT_CALLER, /*   -1 ..  -99: mend the call; any other value too */
    HEARTH_FAULT_PEER,   /* -100 .. -199: peer or file; drop what it sent */
    HEARTH_FAULT_SYSTEM  /* -200 .. -299: retry later */
} hearth_fault;

/* Words for a person about a failure.  The caller owns the storage. */
typedef struct {
    hearth_status status; /* what was returned */
    char text[252];       /* UTF-8, NUL-terminated, never holds user data */
} hearth_error;

/* The class of a status, from its number: right for unknown codes as well. */
HEARTH_API hearth_fault hearth_status_class(hearth_status st);

/* Short name, e.g. "ENOMEM"; "EUNKNOWN" for a value not in the map. Static. */
HEARTH_API const char *hearth_status_name(hearth_status st);

/* One phrase for a person, e.g. "allocation failed or arena full". Static. */
HEARTH_API const char *hearth_status_text(hearth_status st);

#ifdef __cplusplus
}
#endif

#endif /* HEARTH_COMMON_STATUS_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* common/status.c - classes, names and texts of status codes. */
#include "common/status.h"

_Static_assert(sizeof(hearth_status) == sizeof(int), "part of the ABI");

hearth_fault hearth_status_class(hearth_status st) {
    int v = (int)st;
    if (v == 0) return HEARTH_FAULT_NONE;
    if (v <= -100 && v >= -199) return HEARTH_FAULT_PEER;
    if (v <= -200 && v >= -299) return HEARTH_FAULT_SYSTEM;
    return HEARTH_FAULT_CALLER;
}

const char *hearth_status_name(hearth_status st) {
    switch (st) {
#define X(name, value, text)                                                   \
    case HEARTH_##name: return #name;
        HEARTH_STATUS_MAP(X)
#undef X
    }
    return "EUNKNOWN";
}

const char *hearth_status_text(hearth_status st) {
    switch (st) {
#define X(name, value, text)                                                   \
    case HEARTH_##name: return text;
        HEARTH_STATUS_MAP(X)
#undef X
    }
    return "unknown status";
}

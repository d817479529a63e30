/* SPDX-License-Identifier: Apache-2.0 */
/* client/ini_anchor.c - keeps the object library of settings readers valid
 * when no other source belongs to it. */
#include "common/ini.h"

/* A name no one calls; the library only needs one object. */
size_t hearth_client__ini_anchor(const hearth_ini *ini);

size_t hearth_client__ini_anchor(const hearth_ini *ini) {
    return hearth_ini_size(ini);
}

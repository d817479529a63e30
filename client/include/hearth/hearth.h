/* SPDX-License-Identifier: Apache-2.0 */
/* hearth/hearth.h - all of the phone library, in the order an app needs it:
 * open, join, add records, sync in ticks, chat.
 *
 * deploy/examples/health_app.c is a whole app in a hundred lines.
 */
#ifndef HEARTH_HEARTH_H
#define HEARTH_HEARTH_H

#include "hearth/status.h"  /* hearth_status, hearth_error */
#include "hearth/client.h"  /* open, join, close, version */
#include "hearth/records.h" /* put private records in, take them out */
#include "hearth/model.h"   /* take part in rounds; the adapter in use */
#include "hearth/chat.h"    /* generate text */

#endif /* HEARTH_HEARTH_H */

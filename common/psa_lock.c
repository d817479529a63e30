/* SPDX-License-Identifier: Apache-2.0 */
/* common/psa_lock.c - a process-wide mutex: the table it guards is one too. */
#include "common/psa_lock.h"

#include <pthread.h>

static pthread_mutex_t key_slots = PTHREAD_MUTEX_INITIALIZER;

void hearth_psa_lock(void) {
    (void)pthread_mutex_lock(&key_slots);
}

void hearth_psa_unlock(void) {
    (void)pthread_mutex_unlock(&key_slots);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* common/psa_lock.h - one lock around the key slots of the PSA API.
 *
 * mbedTLS 2.28 keeps PSA keys in one table without a lock of its own, so two
 * threads that import or destroy keys at once corrupt it.  Whoever calls
 * psa_import_key, psa_destroy_key, or an operation that looks a key up (setup
 * of a MAC or cipher, sign, verify) holds this lock meanwhile.  Hashes and the
 * update and finish of a running operation need none.
 *
 * Threads: that is the point.  Not recursive; no other lock is taken inside.
 */
#ifndef HEARTH_COMMON_PSA_LOCK_H
#define HEARTH_COMMON_PSA_LOCK_H

void hearth_psa_lock(void);
void hearth_psa_unlock(void);

#endif /* HEARTH_COMMON_PSA_LOCK_H */

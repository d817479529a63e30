/* SPDX-License-Identifier: Apache-2.0 */
/* common/ct.h - says where something made of secrets may be seen.
 *
 * No branch and no address may depend on a secret, except where this word says
 * so, with the reason beside it:
 *
 *     done += HEARTH_CT_PUBLIC(kept);  // rejections show, by design
 *
 * It is the value itself.  tests/ct compiles the same sources so that it also
 * tells valgrind, which then complains about every other place.
 */
#ifndef HEARTH_COMMON_CT_H
#define HEARTH_COMMON_CT_H

#ifdef HEARTH_CT_CHECK
#include <valgrind/memcheck.h>
#define HEARTH_CT_PUBLIC(x)                                                    \
    __extension__({                                                            \
        __typeof__(x) hearth_ct_seen = (x);                                    \
        VALGRIND_MAKE_MEM_DEFINED(&hearth_ct_seen, sizeof(hearth_ct_seen));    \
        hearth_ct_seen;                                                        \
    })
#else
#define HEARTH_CT_PUBLIC(x) (x)
#endif

#endif /* HEARTH_COMMON_CT_H */

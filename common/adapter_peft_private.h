/* SPDX-License-Identifier: Apache-2.0 */
/* common/adapter_peft_private.h - shared by the sources of adapter_peft. */
#ifndef HEARTH_COMMON_ADAPTER_PEFT_PRIVATE_H
#define HEARTH_COMMON_ADAPTER_PEFT_PRIVATE_H

/* Keys of the tensor file's metadata that only we write. */
#define HEARTH_PEFT_META_BASE_ID  "hearth.base_id"
#define HEARTH_PEFT_META_FREEZE_A "hearth.freeze_a"
#define HEARTH_PEFT_META_A_SEED   "hearth.a_seed"

#endif /* HEARTH_COMMON_ADAPTER_PEFT_PRIVATE_H */

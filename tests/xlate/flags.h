/* Arithmetic flags that instructions leave without a defined value.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_TESTS_XLATE_FLAGS_H
#define LODGE_TESTS_XLATE_FLAGS_H

#include <Zydis/Zydis.h>
#include <stdint.h>

/* Flags undefined after @insn (RFLAGS bits), given those undefined before. @imm: of a shift's
 * count, or -1 if it is not in the instruction. */
uint32_t flags_undefined_after(const ZydisDecodedInstruction *insn, int64_t imm, uint32_t before);

/* Flags that @insn reads; conditional ones too. */
uint32_t flags_read_by(const ZydisDecodedInstruction *insn);

#endif

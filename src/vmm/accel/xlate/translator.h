/* State of one translation; shared by translate*.c. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_ACCEL_XLATE_TRANSLATOR_H
#define LODGE_VMM_ACCEL_XLATE_TRANSLATOR_H

#include "vmm/accel/xlate/bits.h"
#include "vmm/accel/xlate/trampoline.h"

#define STATE(field) rm_state(offsetof(Vcpu, field))
#define COLD_MAX (BLOCK_INSNS_MAX * 4 + 8)

/* A piece of code out of the block's way, reached by a jump that is to be patched. */
typedef enum ColdKind {
    COLD_SLOW,   /* fill the TLB for @mem, jump back to @back */
    COLD_INTERP, /* exit for the interpreter, at @guest */
    COLD_LINK,   /* exit to have a jump linked, to @guest */
    COLD_POLL,   /* exit for a request, at @guest */
    COLD_VECTOR, /* load the vector state, jump back to @back */
} ColdKind;

typedef struct Cold {
    uint8_t kind;
    uint8_t address_size;
    uint8_t size;
    bool is_write;
    bool is_back;  /* COLD_LINK */
    unsigned insn; /* COLD_SLOW: index */
    int32_t guest; /* offset from code_base */
    uint8_t *site; /* displacement of the jump to here */
    uint8_t *back;
    InsnMemory mem; /* COLD_SLOW */
} Cold;

typedef struct Translator {
    Emit e;
    JitVm *jit;
    uint32_t mode;
    bool is_64;
    bool has_bmi2;
    bool vectors_loaded; /* in the code that follows */
    unsigned start;      /* offset of the block in its page */
    unsigned end;        /* behind the bytes that it depends on */
    unsigned count;
    unsigned now; /* instruction being translated */
    Insn insn[BLOCK_INSNS_MAX];
    uint16_t at[BLOCK_INSNS_MAX + 1];   /* offset in the page */
    uint32_t live[BLOCK_INSNS_MAX + 1]; /* flags needed before each instruction */
    Cold cold[COLD_MAX];
    unsigned cold_count;
    CodePage *page;
} Translator;

typedef enum Translated {
    TRANSLATED,       /* goes on behind it */
    TRANSLATED_END,   /* the block ends with it */
    TRANSLATE_INTERP, /* not translated: nothing was emitted */
} Translated;

static inline bool flags_live(const Translator *t)
{
    return t->live[t->now] != 0;
}

/* liveness.c: fills in @live. */
void liveness_find(Translator *t);

/* translate-memory.c */

/* Host register that holds a guest register; HOST_NONE: it is in the Vcpu. */
unsigned home_of(unsigned guest_reg);
HostRm gpr_state(unsigned guest_reg);
/* Linear address of @mem into SCRATCH_A; changes SCRATCH_B, not flags. @with_segment: LEA has none.
 */
void emit_address(Translator *t, const InsnMemory *mem, unsigned address_size, bool with_segment);
/**
 * emit_access - check an access and prepare its address
 *
 * Keeps flags if they are live. Afterwards SCRATCH_A is in use, SCRATCH_B free unless the result
 * names it. Returns: the host operand.
 */
HostRm emit_access(Translator *t, const InsnMemory *mem, unsigned address_size, unsigned size,
                   bool is_write);
/* Whether emit_access() can do it. */
bool can_access(const Translator *t, const InsnMemory *mem, unsigned address_size, unsigned size);
Cold *add_cold(Translator *t, ColdKind kind, uint8_t *site);
void emit_cold(Translator *t);
/* Jumps to a cold piece if the register (SCRATCH_A) or state field is not zero, keeping flags if
 * they are live. */
Cold *emit_cold_if_state(Translator *t, HostRm state, ColdKind kind);
/* Loads the vector state unless that is done. */
void emit_need_vectors(Translator *t);

/* translate-insn.c */
Translated translate_plain(Translator *t, const Insn *insn);

/* translate-branch.c */
Translated translate_branch(Translator *t, const Insn *insn);
Translated translate_stack(Translator *t, const Insn *insn);
/* Go on at @guest (offset from code_base). */
void emit_go_to(Translator *t, int32_t guest);
/* exit_rip: SCRATCH_A = code_base + @guest, cut to 32 bits outside 64-bit code. */
void emit_rip(Translator *t, unsigned reg, int32_t guest);

/* translate.c */
/* Where in the writable mapping a stub is. */
static inline const uint8_t *stub_at(const Translator *t, uint32_t offset)
{
    return t->jit->write + offset;
}

/* Translates the block at @ram_offset of @ram; @page is entered. Under jit->lock, with room. NULL:
 * it does not fit. */
Block *translate_block(JitVm *jit, CodePage *page, unsigned offset, uint32_t mode);

#endif

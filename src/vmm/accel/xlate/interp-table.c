/* Which handler executes an instruction.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/xlate/interp-ops.h"

#define M(name, func) [ZYDIS_MNEMONIC_##name] = func

/* Instructions with a handler of their own, by mnemonic; string instructions share names with SSE
 * ones and have their own table. */
static InterpFunc *const by_mnemonic[ZYDIS_MNEMONIC_MAX_VALUE + 1] = {
    M(ADD, op_add),
    M(ADC, op_adc),
    M(SUB, op_sub),
    M(SBB, op_sbb),
    M(CMP, op_cmp),
    M(AND, op_and),
    M(OR, op_or),
    M(XOR, op_xor),
    M(TEST, op_test),
    M(INC, op_inc),
    M(DEC, op_dec),
    M(NEG, op_neg),
    M(NOT, op_not),
    M(LEA, op_lea),
    M(XCHG, op_xchg),
    M(XADD, op_xadd),
    M(CMPXCHG, op_cmpxchg),
    M(CMPXCHG8B, op_cmpxchg8b),
    M(CMPXCHG16B, op_cmpxchg16b),
    M(BSWAP, op_bswap),
    M(CBW, op_cbw),
    M(CWDE, op_cwde),
    M(CDQE, op_cdqe),
    M(CWD, op_cwd),
    M(CDQ, op_cdq),
    M(CQO, op_cqo),
    M(LAHF, op_lahf),
    M(SAHF, op_sahf),
    M(CLC, op_clc),
    M(STC, op_stc),
    M(CMC, op_cmc),
    M(CLD, op_cld),
    M(STD, op_std),
    M(MOVBE, op_movbe),
    M(NOP, op_nop),
    M(XLAT, op_xlat),
    M(SALC, op_salc),
    M(MOVZX, op_movzx),
    M(SHL, op_shl),
    M(SHR, op_shr),
    M(SAR, op_sar),
    M(ROL, op_rol),
    M(ROR, op_ror),
    M(RCL, op_rcl),
    M(RCR, op_rcr),
    M(SHLD, op_shld),
    M(SHRD, op_shrd),
    M(BT, op_bt),
    M(BTS, op_bts),
    M(BTR, op_btr),
    M(BTC, op_btc),
    M(BSF, op_bsf),
    M(BSR, op_bsr),
    M(TZCNT, op_tzcnt),
    M(LZCNT, op_lzcnt),
    M(POPCNT, op_popcnt),
    M(MUL, op_mul),
    M(IMUL, op_imul),
    M(DIV, op_div),
    M(IDIV, op_idiv),
    M(AAA, op_aaa),
    M(AAS, op_aas),
    M(AAM, op_aam),
    M(AAD, op_aad),
    M(DAA, op_daa),
    M(DAS, op_das),
    M(PUSH, op_push),
    M(POP, op_pop),
    M(ENTER, op_enter),
    M(LEAVE, op_leave),
    M(JMP, op_jmp),
    M(CALL, op_call),
    M(RET, op_ret),
    M(LOOP, op_loop),
    M(LOOPE, op_loope),
    M(LOOPNE, op_loopne),
    M(BOUND, op_bound),
    M(INT, op_int),
    M(INT3, op_int3),
    M(INTO, op_into),
    M(LDS, op_lds),
    M(LES, op_les),
    M(LSS, op_lss),
    M(LFS, op_lfs),
    M(LGS, op_lgs),
    M(IN, op_in),
    M(OUT, op_out),
    M(CLI, op_cli),
    M(STI, op_sti),
    M(HLT, op_hlt),
    M(CLTS, op_clts),
    M(LMSW, op_lmsw),
    M(SMSW, op_smsw),
    M(LGDT, op_lgdt),
    M(LIDT, op_lidt),
    M(SGDT, op_sgdt),
    M(SIDT, op_sidt),
    M(LLDT, op_lldt),
    M(LTR, op_ltr),
    M(SLDT, op_sldt),
    M(STR, op_str),
    M(VERR, op_verr),
    M(VERW, op_verw),
    M(LAR, op_lar),
    M(LSL, op_lsl),
    M(ARPL, op_arpl),
    M(INVLPG, op_invlpg),
    M(INVPCID, op_invpcid),
    M(WBINVD, op_wbinvd),
    M(CPUID, op_cpuid),
    M(RDTSC, op_rdtsc),
    M(RDTSCP, op_rdtscp),
    M(RDPID, op_rdpid),
    M(RDPMC, op_rdpmc),
    M(RDMSR, op_rdmsr),
    M(WRMSR, op_wrmsr),
    M(SYSCALL, op_syscall),
    M(SYSRET, op_sysret),
    M(SYSENTER, op_sysenter),
    M(SYSEXIT, op_sysexit),
    M(SWAPGS, op_swapgs),
    M(RDFSBASE, op_rdfsbase),
    M(RDGSBASE, op_rdgsbase),
    M(WRFSBASE, op_wrfsbase),
    M(WRGSBASE, op_wrgsbase),
    M(STAC, op_stac),
    M(CLAC, op_clac),
    M(XGETBV, op_xgetbv),
    M(XSETBV, op_xsetbv),
    M(RDRAND, op_rdrand),
    M(RDSEED, op_rdseed),
    M(MOV, op_mov),
    M(MOVNTI, op_mov),
    M(MOVSX, op_movsx),
    M(MOVSXD, op_movsx),
    M(PUSHA, op_pusha),
    M(PUSHAD, op_pusha),
    M(POPA, op_popa),
    M(POPAD, op_popa),
    M(PUSHF, op_pushf),
    M(PUSHFD, op_pushf),
    M(PUSHFQ, op_pushf),
    M(POPF, op_popf),
    M(POPFD, op_popf),
    M(POPFQ, op_popf),
    M(JCXZ, op_jcxz),
    M(JECXZ, op_jcxz),
    M(JRCXZ, op_jcxz),
    M(INT1, op_icebp),
    M(IRET, op_iret),
    M(IRETD, op_iret),
    M(IRETQ, op_iret),
    M(JB, op_jcc),
    M(SETB, op_setcc),
    M(CMOVB, op_cmovcc),
    M(JBE, op_jcc),
    M(SETBE, op_setcc),
    M(CMOVBE, op_cmovcc),
    M(JL, op_jcc),
    M(SETL, op_setcc),
    M(CMOVL, op_cmovcc),
    M(JLE, op_jcc),
    M(SETLE, op_setcc),
    M(CMOVLE, op_cmovcc),
    M(JNB, op_jcc),
    M(SETNB, op_setcc),
    M(CMOVNB, op_cmovcc),
    M(JNBE, op_jcc),
    M(SETNBE, op_setcc),
    M(CMOVNBE, op_cmovcc),
    M(JNL, op_jcc),
    M(SETNL, op_setcc),
    M(CMOVNL, op_cmovcc),
    M(JNLE, op_jcc),
    M(SETNLE, op_setcc),
    M(CMOVNLE, op_cmovcc),
    M(JNO, op_jcc),
    M(SETNO, op_setcc),
    M(CMOVNO, op_cmovcc),
    M(JNP, op_jcc),
    M(SETNP, op_setcc),
    M(CMOVNP, op_cmovcc),
    M(JNS, op_jcc),
    M(SETNS, op_setcc),
    M(CMOVNS, op_cmovcc),
    M(JNZ, op_jcc),
    M(SETNZ, op_setcc),
    M(CMOVNZ, op_cmovcc),
    M(JO, op_jcc),
    M(SETO, op_setcc),
    M(CMOVO, op_cmovcc),
    M(JP, op_jcc),
    M(SETP, op_setcc),
    M(CMOVP, op_cmovcc),
    M(JS, op_jcc),
    M(SETS, op_setcc),
    M(CMOVS, op_cmovcc),
    M(JZ, op_jcc),
    M(SETZ, op_setcc),
    M(CMOVZ, op_cmovcc),
    M(INVD, op_wbinvd),
    M(CLFLUSH, op_clflush),
    M(CLFLUSHOPT, op_clflush),
    M(CLWB, op_clflush),
    M(PAUSE, op_pause),
    M(LFENCE, op_nop),
    M(SFENCE, op_nop),
    M(MFENCE, op_nop),
    M(PREFETCH, op_nop),
    M(PREFETCHNTA, op_nop),
    M(PREFETCHT0, op_nop),
    M(PREFETCHT1, op_nop),
    M(PREFETCHT2, op_nop),
    M(PREFETCHW, op_nop),
    M(PREFETCHWT1, op_nop),
    M(ENDBR32, op_nop),
    M(ENDBR64, op_nop),
    M(FXSAVE, op_fxsave),
    M(FXSAVE64, op_fxsave),
    M(FXRSTOR, op_fxrstor),
    M(FXRSTOR64, op_fxrstor),
    M(XSAVE, op_xsave),
    M(XSAVE64, op_xsave),
    M(XSAVEOPT, op_xsaveopt),
    M(XSAVEOPT64, op_xsaveopt),
    M(XSAVEC, op_xsavec),
    M(XSAVEC64, op_xsavec),
    M(XRSTOR, op_xrstor),
    M(XRSTOR64, op_xrstor),
    M(LDMXCSR, op_ldmxcsr),
    M(VLDMXCSR, op_ldmxcsr),
    M(STMXCSR, op_stmxcsr),
    M(VSTMXCSR, op_stmxcsr),
    M(VMASKMOVPS, op_vmaskmov),
    M(VMASKMOVPD, op_vmaskmov),
    M(VPMASKMOVD, op_vmaskmov),
    M(VPMASKMOVQ, op_vmaskmov),
    M(MASKMOVQ, op_maskmov),
    M(MASKMOVDQU, op_maskmov),
    M(VMASKMOVDQU, op_maskmov),
    M(VGATHERDPS, op_gather),
    M(VGATHERDPD, op_gather),
    M(VGATHERQPS, op_gather),
    M(VGATHERQPD, op_gather),
    M(VPGATHERDD, op_gather),
    M(VPGATHERDQ, op_gather),
    M(VPGATHERQD, op_gather),
    M(VPGATHERQQ, op_gather),
    M(VZEROALL, op_vzero),
    M(VZEROUPPER, op_vzero),
    M(FWAIT, op_fwait),
    M(CRC32, op_native),
    M(ADCX, op_native),
    M(ADOX, op_native),
    M(ANDN, op_native),
    M(BEXTR, op_native),
    M(BLSI, op_native),
    M(BLSMSK, op_native),
    M(BLSR, op_native),
    M(BZHI, op_native),
    M(MULX, op_native),
    M(PDEP, op_native),
    M(PEXT, op_native),
    M(RORX, op_native),
    M(SARX, op_native),
    M(SHLX, op_native),
    M(SHRX, op_native),
    M(UD0, op_ud),
    M(UD1, op_ud),
    M(UD2, op_ud),
};

static InterpFunc *const strings[ZYDIS_MNEMONIC_MAX_VALUE + 1] = {
    M(MOVSB, op_movs), M(MOVSW, op_movs), M(MOVSD, op_movs), M(MOVSQ, op_movs), M(STOSB, op_stos),
    M(STOSW, op_stos), M(STOSD, op_stos), M(STOSQ, op_stos), M(LODSB, op_lods), M(LODSW, op_lods),
    M(LODSD, op_lods), M(LODSQ, op_lods), M(CMPSB, op_cmps), M(CMPSW, op_cmps), M(CMPSD, op_cmps),
    M(CMPSQ, op_cmps), M(SCASB, op_scas), M(SCASW, op_scas), M(SCASD, op_scas), M(SCASQ, op_scas),
    M(INSB, op_ins),   M(INSW, op_ins),   M(INSD, op_ins),   M(OUTSB, op_outs), M(OUTSW, op_outs),
    M(OUTSD, op_outs),
};

#undef M

/* Vector extensions of the guest CPU; what CPUID hides of them is not checked, as on processors. */
static bool is_native(const Insn *insn)
{
    switch (insn->isa_ext) {
    case ZYDIS_ISA_EXT_AES:
    case ZYDIS_ISA_EXT_AVX:
    case ZYDIS_ISA_EXT_AVX2:
    case ZYDIS_ISA_EXT_AVXAES:
    case ZYDIS_ISA_EXT_F16C:
    case ZYDIS_ISA_EXT_FMA:
    case ZYDIS_ISA_EXT_GFNI:
    case ZYDIS_ISA_EXT_MMX:
    case ZYDIS_ISA_EXT_PCLMULQDQ:
    case ZYDIS_ISA_EXT_SHA:
    case ZYDIS_ISA_EXT_SSE:
    case ZYDIS_ISA_EXT_SSE2:
    case ZYDIS_ISA_EXT_SSE3:
    case ZYDIS_ISA_EXT_SSE4:
    case ZYDIS_ISA_EXT_SSSE3:
    case ZYDIS_ISA_EXT_VAES:
    case ZYDIS_ISA_EXT_VPCLMULQDQ:
    case ZYDIS_ISA_EXT_X87:
        return true;
    default:
        return false;
    }
}

static bool has_operand(const Insn *insn, InsnOperandKind kind)
{
    for (unsigned i = 0; i < insn->operand_count; i++) {
        if (insn->operand[i].kind == kind) {
            return true;
        }
    }
    return false;
}

InterpFunc *interp_find(const Insn *insn)
{
    InterpFunc *func = by_mnemonic[insn->mnemonic];
    if (insn->kind & INSN_STRING) {
        func = strings[insn->mnemonic];
    } else if (insn->mnemonic == ZYDIS_MNEMONIC_MOV && has_operand(insn, OPERAND_CR)) {
        func = op_mov_cr;
    } else if (insn->mnemonic == ZYDIS_MNEMONIC_MOV && has_operand(insn, OPERAND_DR)) {
        func = op_mov_dr;
    } else if (!func && (insn->kind & INSN_VECTOR) && is_native(insn)) {
        func = op_native;
    }
    return func ? func : op_ud;
}

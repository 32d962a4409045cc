/* One case of the differential test: code, the state it starts from, and what came of it. The
 * memory of a case lies at the same linear addresses in the native child and in the guest.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_TESTS_XLATE_CASE_H
#define LODGE_TESTS_XLATE_CASE_H

#include <stdbool.h>
#include <stdint.h>

/* Two pages that can be executed and read. All bytes but the code's are CASE_FILLER. */
#define CASE_CODE UINT64_C(0x10000000)
#define CASE_CODE_BYTES 0x2000u
#define CASE_CODE_MAX 128u /* bytes of code of one case, with the jump at its end */
#define CASE_FILLER 0xcc
/* Code goes on here when it has run to its end: one address for each code size. */
#define CASE_EXIT UINT64_C(0x10010000)
#define CASE_EXIT32 (CASE_EXIT + 0x20)
/* Two pages of data, then one that cannot be written; none before and behind. */
#define CASE_DATA UINT64_C(0x20001000)
#define CASE_DATA_BYTES 0x2000u
#define CASE_CONSTANT (CASE_DATA + CASE_DATA_BYTES)
#define CASE_CONSTANT_BYTES 0x1000u
/* Bases of FS and GS in 64-bit code; in 32-bit code both hold null selectors. */
#define CASE_FS_BASE (CASE_DATA + 0x400)
#define CASE_GS_BASE (CASE_DATA + 0x1400)

#define CASE_CS64 0x33
#define CASE_CS32 0x23
#define CASE_DS 0x2b

#define CASE_XSAVE_BYTES 832u
#define CASE_TEMPLATES 32u /* contents of the data pages at the start */

typedef struct CaseState {
    uint8_t xsave[CASE_XSAVE_BYTES]
        __attribute__((aligned(64))); /* standard layout: x87, SSE, AVX */
    uint64_t gpr[16];
    uint64_t rip;
    uint64_t rflags;
} CaseState;

typedef struct Case {
    CaseState in;
    bool is_32bit;
    uint8_t template;     /* of the data pages */
    uint16_t code_offset; /* from CASE_CODE */
    uint16_t code_length;
    uint8_t code[CASE_CODE_MAX];
    uint32_t flags_undefined;      /* arithmetic flags without a defined value at the end */
    uint32_t flags_undefined_ever; /* at the end of any of its instructions */
    uint64_t seed;                 /* that the generator made it of */
} Case;

typedef enum CaseEnd {
    CASE_NOT_RUN,
    CASE_REACHED_EXIT,
    CASE_FAULTED,
    CASE_HUNG,
    CASE_DIED, /* the child was killed, or the guest shut down */
} CaseEnd;

typedef struct CaseResult {
    CaseState out;
    uint8_t end;    /* CaseEnd */
    uint8_t vector; /* CASE_FAULTED: exception vector .. */
    uint32_t error; /* .. error code, 0 if it has none .. */
    uint64_t cr2;   /* .. address of a page fault */
    bool memory_changed;
    uint8_t memory[CASE_DATA_BYTES]; /* valid if memory_changed */
} CaseResult;

#endif

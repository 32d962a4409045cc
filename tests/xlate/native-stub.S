/* Loads a case's state, runs its code, saves what came of it.
 * SPDX-License-Identifier: GPL-2.0-or-later */

/* native_context, as struct NativeContext of native.c */
#define XSAVE 0
#define GPR 832
#define RIP 960
#define RFLAGS 968
#define HOST_RSP 1024
#define FAR 1032
#define HOST_FS 1040
#define GUEST_FS 1048
#define HAS_FS 1056
#define IS_32BIT 1064
#define GUEST_GS 1072
#define BYTES 1088

#define STATE native_context
#define CTX(offset) STATE + offset(%rip)

    .bss
    .balign 64
    .globl native_context
    .hidden native_context
native_context:
    .skip BYTES

    .text
/* int native_enter(void): 0 when the code reached its end, 1 after a signal. */
    .globl native_enter
    .hidden native_enter
native_enter:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, CTX(HOST_RSP)
    mov $7, %eax
    xor %edx, %edx
    xrstor64 CTX(XSAVE)
    cmpq $0, CTX(HAS_FS)
    je 1f
    rdfsbase %rax
    mov %rax, CTX(HOST_FS)
    mov CTX(GUEST_FS), %rax
    wrfsbase %rax
    mov CTX(GUEST_GS), %rax
    wrgsbase %rax
1:  mov CTX(IS_32BIT), %rax
    test %rax, %rax
    pushq CTX(RFLAGS)
    jne 2f
    popfq
    call load
    mov CTX(GPR + 4 * 8), %rsp
    jmp *CTX(RIP)
2:  popfq
    call load
    mov CTX(GPR + 4 * 8), %rsp
    ljmp *CTX(FAR)

load:
    mov CTX(GPR + 0 * 8), %rax
    mov CTX(GPR + 1 * 8), %rcx
    mov CTX(GPR + 2 * 8), %rdx
    mov CTX(GPR + 3 * 8), %rbx
    mov CTX(GPR + 5 * 8), %rbp
    mov CTX(GPR + 6 * 8), %rsi
    mov CTX(GPR + 7 * 8), %rdi
    mov CTX(GPR + 8 * 8), %r8
    mov CTX(GPR + 9 * 8), %r9
    mov CTX(GPR + 10 * 8), %r10
    mov CTX(GPR + 11 * 8), %r11
    mov CTX(GPR + 12 * 8), %r12
    mov CTX(GPR + 13 * 8), %r13
    mov CTX(GPR + 14 * 8), %r14
    mov CTX(GPR + 15 * 8), %r15
    ret

/* Where the code at CASE_EXIT jumps to. */
    .globl native_exit
    .hidden native_exit
native_exit:
    mov %rax, CTX(GPR + 0 * 8)
    mov %rcx, CTX(GPR + 1 * 8)
    mov %rdx, CTX(GPR + 2 * 8)
    mov %rbx, CTX(GPR + 3 * 8)
    mov %rsp, CTX(GPR + 4 * 8)
    mov %rbp, CTX(GPR + 5 * 8)
    mov %rsi, CTX(GPR + 6 * 8)
    mov %rdi, CTX(GPR + 7 * 8)
    mov %r8, CTX(GPR + 8 * 8)
    mov %r9, CTX(GPR + 9 * 8)
    mov %r10, CTX(GPR + 10 * 8)
    mov %r11, CTX(GPR + 11 * 8)
    mov %r12, CTX(GPR + 12 * 8)
    mov %r13, CTX(GPR + 13 * 8)
    mov %r14, CTX(GPR + 14 * 8)
    mov %r15, CTX(GPR + 15 * 8)
    mov CTX(HOST_RSP), %rsp
    pushfq
    popq CTX(RFLAGS)
    mov $7, %eax
    xor %edx, %edx
    xsave64 CTX(XSAVE)
    xor %ebx, %ebx
    jmp leave

/* void native_resume(void): leaves a signal handler; native_enter() returns 1. */
    .globl native_resume
    .hidden native_resume
native_resume:
    mov CTX(HOST_RSP), %rsp
    mov $1, %ebx

leave:
    pushq $2
    popfq
    cmpq $0, CTX(HAS_FS)
    je 1f
    mov CTX(HOST_FS), %rax
    wrfsbase %rax
1:  fninit
    pushq $0x1f80
    ldmxcsr (%rsp)
    pop %rax
    vzeroupper
    mov %ebx, %eax
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret

/* The signal handler's first instructions: flags and FS are still the case's. */
    .globl native_signal
    .hidden native_signal
native_signal:
    pushq $2
    popfq
    cmpq $0, CTX(HAS_FS)
    je 1f
    mov CTX(HOST_FS), %rax
    wrfsbase %rax
1:  jmp native_handle_signal

    .section .note.GNU-stack, "", @progbits

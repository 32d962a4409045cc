/* A bare guest's beginning: from real mode to long mode, with page tables, handlers and reports.
 *
 * Memory: page tables from 0x1000, this program from 0x8000, stacks below 0x60000, pages for tests
 * from 0x80000, functions made by a test from 0x100000. The first 2 MiB are mapped one to one for the supervisor; 0x200000-0x3fffff is left
 * to the tests.
 * SPDX-License-Identifier: GPL-2.0-or-later */

    .set PML4, 0x1000
    .set PDPT, 0x2000
    .set PD, 0x3000
    .set PT_LOW, 0x4000
    .set PT_TEST, 0x5000 /* of 0x200000 */
    .set IDT, 0x6000
    .set STACK, 0x60000
    .set STACK_KERNEL, 0x5c000 /* of the TSS */
    .set STACK_AP, 0x58000
    .set TEST, 0x200000 /* linear */
    .set PAGES, 0x80000 /* physical pages for it */

    .set PTE_P, 1
    .set PTE_W, 2
    .set PTE_U, 4
    .set PTE_A, 0x20
    .set PTE_D, 0x40
    .set PTE_G, 0x100
    .set CR4_PGE, 0x80
    .set CR4_PCIDE, 0x20000
    .set CR4_SMAP, 0x200000

    .set CS64, 0x08
    .set DS, 0x10
    .set CS32, 0x18
    .set USER_CS32, 0x23
    .set USER_DS, 0x2b
    .set USER_CS64, 0x33
    .set TR, 0x38
    .set NOT_PRESENT, 0x48

    .set PORT_DMA, 0xe4    /* a device decrements the byte at this address, before OUT ends */
    .set PORT_DMA_LATER, 0xe8 /* .. some time later */
    .set PORT_NAME, 0xf0   /* address of the next check's name */
    .set PORT_RESULT, 0xf4 /* 1: it holds */
    .set PORT_END, 0xf8
    .set PORT_START, 0xec  /* lets the other processor run */
    .set PORT_INTERRUPT, 0xfc /* asks for an interrupt with this vector at once */

    .text
    .code16
    .globl _start
_start:
    cli
    xor %ax, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov $0x7c00, %sp
    test %di, %di
    jnz enter_long /* another processor, or one test alone */
    call real_mode_tests
enter_long:
    call build_tables
    lgdtl gdt_pointer
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmpl $CS32, $protected

/* Those of the first processor serve the second. */
build_tables:
    cmp $1, %di
    je 3f
    push %di
    mov $PML4, %di
    mov $0x5000, %cx
    xor %ax, %ax
    rep stosb
    movl $PDPT + 7, PML4
    movl $PD + 7, PDPT
    movl $PT_LOW + 7, PD
    movl $PT_TEST + 7, PD + 8
    mov $PTE_P + PTE_W, %eax
    mov $PT_LOW, %di
    mov $512, %cx
1:  mov %eax, (%di)
    add $0x1000, %eax
    add $8, %di
    loop 1b
    pop %di
3:  ret

    .code32
protected:
    mov $DS, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov %cr4, %eax
    or $0x10620, %eax /* PAE, OSFXSR, OSXMMEXCPT, FSGSBASE */
    mov %eax, %cr4
    mov $PML4, %eax
    mov %eax, %cr3
    mov $0xc0000080, %ecx
    rdmsr
    or $0x901, %eax /* SCE, LME, NXE */
    wrmsr
    mov %cr0, %eax
    or $0x80010022, %eax /* PG, WP, NE, MP */
    mov %eax, %cr0
    ljmp $CS64, $long_mode

    .code64
long_mode:
    mov $DS, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    movzwl %di, %edi
    cmp $1, %edi
    je other_processor
    mov $STACK, %rsp
    push %rdi
    call build_idt
    pop %rdi
    mov $TR, %ax
    ltr %ax
    cmp $2, %edi
    je triple_fault
    call tests
    mov $PORT_END, %dx
    out %eax, %dx
1:  hlt
    jmp 1b

build_idt:
    mov $IDT, %edi
    lea vectors(%rip), %rsi
    xor %ecx, %ecx
1:  mov %rsi, %rax
    mov %ax, (%rdi)
    movw $CS64, 2(%rdi)
    movw $0x8e00, 4(%rdi)
    shr $16, %eax
    mov %ax, 6(%rdi)
    movq $0, 8(%rdi)
    add $16, %rdi
    add $16, %rsi
    inc %ecx
    cmp $64, %ecx
    jne 1b
    movb $0xee, IDT + 3 * 16 + 5 /* INT3 from user code */
    lidt idt_pointer(%rip)
    ret

/* Sixteen bytes for each vector. */
    .balign 16
vectors:
    .set vector, 0
    .rept 64
    .balign 16
    .if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17)
    push $0
    .endif
    push $vector
    jmp common
    .set vector, vector + 1
    .endr

/* Remembers what happened and goes on at `resume`. Uses no register of the test's but RAX, which the
 * tests do not expect to keep. */
    .balign 16
common:
    pop seen_vector(%rip)
    pop seen_error(%rip)
    mov %cr2, %rax
    mov %rax, seen_cr2(%rip)
    mov %dr6, %rax
    mov %rax, seen_dr6(%rip)
    mov (%rsp), %rax
    mov %rax, seen_rip(%rip)
    mov 8(%rsp), %rax
    mov %rax, seen_cs(%rip)
    mov 16(%rsp), %rax
    mov %rax, seen_rflags(%rip)
    mov 24(%rsp), %rax
    mov %rax, seen_rsp(%rip)
    incq seen_count(%rip)
    mov resume(%rip), %rax
    test %rax, %rax
    jz unexpected
    cmp $1, %rax
    je 1f /* only counted: goes on where it was */
    movq $0, resume(%rip)
    mov %rax, (%rsp)
    movq $CS64, 8(%rsp)
    andq $~0x10100, 16(%rsp) /* TF, RF */
    mov resume_rsp(%rip), %rax
    mov %rax, 24(%rsp)
    movq $DS, 32(%rsp)
1:  iretq

unexpected:
    lea name_unexpected(%rip), %rdi
    xor %esi, %esi
    call report
    mov seen_vector(%rip), %rax
    mov $PORT_END, %dx
    out %eax, %dx
1:  hlt
    jmp 1b

/* rdi: name, esi: whether it holds */
    .globl report
report:
    push %rdx
    push %rax
    mov %edi, %eax
    mov $PORT_NAME, %dx
    out %eax, %dx
    mov %esi, %eax
    mov $PORT_RESULT, %dx
    out %eax, %dx
    pop %rax
    pop %rdx
    ret

/* -- for the tests -- */

/* From here on exceptions go to @label, with the stack as it is here. */
    .macro expect label
    movq $\label, resume(%rip)
    mov %rsp, resume_rsp(%rip)
    movq $0, seen_count(%rip)
    .endm

/* Reports whether two 64-bit values are equal; @b may be memory or an immediate. */
    .macro check name, a, b
    mov \a, %rax
    mov \b, %r11
    cmp %r11, %rax
    sete %al
    movzbl %al, %esi
    lea 771f(%rip), %rdi
    call report
    jmp 772f
771: .asciz "\name"
772:
    .endm

/* Reports that no fault came, at a place that must not be reached. */
    .macro missed name
    xor %esi, %esi
    lea 771f(%rip), %rdi
    call report
    jmp 772f
771: .asciz "\name"
772:
    .endm

/* Maps @page of the test's linear pages to @to of its physical ones. */
    .macro map page, to, bits
    movabs $PAGES + \to * 0x1000 + (\bits), %rax
    mov %rax, PT_TEST + \page * 8
    invlpg TEST + \page * 0x1000
    .endm

    .macro unmap page
    movq $0, PT_TEST + \page * 8
    invlpg TEST + \page * 0x1000
    .endm

    .data
    .balign 16
gdt:
    .quad 0
    .quad 0x00af9b000000ffff /* 08 */
    .quad 0x00cf93000000ffff /* 10 */
    .quad 0x00cf9b000000ffff /* 18 */
    .quad 0x00cffb000000ffff /* 20 */
    .quad 0x00cff3000000ffff /* 28 */
    .quad 0x00affb000000ffff /* 30 */
    .quad 0x0000890000000067 + (tss_low << 16) /* 38 */
    .quad 0
    .quad 0x00cf13000000ffff /* 48: not present */
gdt_pointer:
    .word . - gdt - 1
    .quad gdt
idt_pointer:
    .word 64 * 16 - 1
    .quad IDT
    .set tss_low, 0x7000
    .balign 8
resume: .quad 0
resume_rsp: .quad 0
seen_vector: .quad 0
seen_error: .quad 0
seen_cr2: .quad 0
seen_dr6: .quad 0
seen_rip: .quad 0
seen_cs: .quad 0
seen_rflags: .quad 0
seen_rsp: .quad 0
seen_count: .quad 0
name_unexpected: .asciz "no_unexpected_exception"

    .include "real-mode.S"
    .include "faults.S"
    .include "system.S"
    .include "code.S"
    .include "tests.S"

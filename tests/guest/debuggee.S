/* A guest for debuggers: a PVH kernel that enters long mode and counts for ever, a call for each number. When
 * 'wanted' is not zero, it ends the monitor through isa-debug-exit at port 0xf4.
 * SPDX-License-Identifier: GPL-2.0-or-later */
    .section .note.Xen, "a", @note
    .align 4
    .long 4, 4, 18 /* name size, descriptor size, XEN_ELFNOTE_PHYS32_ENTRY */
    .asciz "Xen"
    .long _start

    .text
    .code32
    .globl _start
_start:
    mov $pml4, %eax
    mov $pdpt + 3, %ecx
    mov %ecx, (%eax)
    mov $pdpt, %ecx
    mov $pd + 3, %edx
    mov %edx, (%ecx)
    movl $0x83, pd /* the first 2 MiB are enough */
    mov %eax, %cr3
    mov %cr4, %eax
    or $0x20, %eax /* PAE */
    mov %eax, %cr4
    mov $0xc0000080, %ecx
    rdmsr
    or $0x100, %eax /* LME */
    wrmsr
    mov %cr0, %eax
    or $0x80000000, %eax /* PG */
    mov %eax, %cr0
    lgdt gdt_pointer
    ljmp $8, $long_mode

    .code64
    .globl long_mode
long_mode:
    mov $16, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov $stack_end, %rsp
again:
    mov counter, %rdi
    call count
    cmpq $0, wanted
    je again
    mov $0x10, %eax
    mov $0xf4, %dx
    outl %eax, %dx
stop:
    hlt
    jmp stop

    .globl count
    .type count, @function
count:
    push %rbp
    mov %rsp, %rbp
    lea 1(%rdi), %rax
    mov %rax, counter
    pop %rbp
    ret
    .size count, . - count

    .data
    .balign 8
    .globl counter, wanted
    .type counter, @object
    .type wanted, @object
counter: .quad 0
    .size counter, 8
wanted: .quad 0
    .size wanted, 8
gdt:
    .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff
gdt_pointer:
    .word 23
    .long gdt

    .bss
    .balign 4096
pml4: .skip 4096
pdpt: .skip 4096
pd: .skip 4096
stack: .skip 4096
stack_end:

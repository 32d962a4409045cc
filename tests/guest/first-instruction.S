/* The smallest guest: a PVH kernel whose first instructions end the monitor through isa-debug-exit at port 0xf4
 * with exit status 33. Measures what a start costs.
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
    mov $0x10, %eax
    mov $0xf4, %dx
    outl %eax, %dx
1:  hlt
    jmp 1b

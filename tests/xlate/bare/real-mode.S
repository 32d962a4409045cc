/* Real mode: wrapping of stack pointer and offsets, segment limits. Results are kept until the guest
 * can report them.
 * SPDX-License-Identifier: GPL-2.0-or-later */
    .text
    .code16
real_mode_tests:
    /* Vectors 12 and 13: counted; they return behind the instruction by a fixed address. */
    movw $real_fault, 13 * 4
    movw $0, 13 * 4 + 2
    movw $real_fault, 12 * 4
    movw $0, 12 * 4 + 2

    /* A push at SP 0 goes to the segment's end. */
    mov %sp, %bp
    mov $0x7000, %ax
    mov %ax, %ss
    xor %sp, %sp
    pushw $0x1234
    mov %sp, real_sp
    xor %ax, %ax
    mov %ax, %ss
    mov %bp, %sp
    mov $0x7000, %ax
    mov %ax, %fs
    mov %fs:0xfffe, %ax
    mov %ax, real_pushed

    /* A word at offset 0xffff exceeds the limit. */
    movw $1f, real_resume
    mov $0xffff, %bx
    mov %fs:(%bx), %ax
    jmp 2f
1:  movw $1, real_limit
2:
    /* The address calculation wraps at 64 KiB. */
    movw $0x5678, %fs:0x0010
    mov $0xfff0, %bx
    mov %fs:0x20(%bx), %ax
    mov %ax, real_wrapped

    /* A segment register's base is sixteen times its value. */
    mov $0x07d0, %ax
    mov %ax, %gs
    movl $0xcafef00d, 0x7e00
    movl %gs:0x100, %eax
    mov %eax, real_segment

    /* 32-bit operands and addresses by prefix. */
    mov $0x7e00, %eax
    addr32 mov (%eax), %ecx
    mov %ecx, real_address32
    ret

real_fault:
    add $6, %sp
    incw real_faults
    jmpw *real_resume

    .code64
report_real_mode:
    check real_mode_push_wraps_to_the_segments_end, real_sp(%rip), $0xfffe
    check real_mode_push_writes_below_the_wrap, real_pushed(%rip), $0x1234
    check real_mode_word_over_the_limit_faults, real_limit(%rip), $1
    check real_mode_faults_once, real_faults(%rip), $1
    check real_mode_offset_wraps, real_wrapped(%rip), $0x5678
    check real_mode_segment_base_is_added, real_segment(%rip), $0xcafef00d
    check real_mode_address_prefix_gives_32_bits, real_address32(%rip), $0xcafef00d
    ret

    .data
    .balign 8
real_sp: .quad 0
real_pushed: .quad 0
real_limit: .quad 0
real_faults: .quad 0
real_wrapped: .quad 0
real_segment: .quad 0
real_address32: .quad 0
real_resume: .quad 0

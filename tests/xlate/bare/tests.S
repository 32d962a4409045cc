/* The order of the tests.
 * SPDX-License-Identifier: GPL-2.0-or-later */
    .text
    .code64
tests:
    movq $STACK_KERNEL, tss_low + 4
    movq $STACK_KERNEL - 0x1000, tss_low + 36 /* IST1 */
    call report_real_mode
    call fault_tests
    call paging_tests
    call string_tests
    call double_fault_tests
    call mode_tests
    call user_tests
    call interrupt_tests
    call debug_tests
    call space_tests
    call code_tests
    call global_tests
    call lock_tests
    ret

/* Ends in a shutdown. */
triple_fault:
    lidt empty_idt(%rip)
    ud2
    hlt

    .data
empty_idt:
    .word 0
    .quad 0

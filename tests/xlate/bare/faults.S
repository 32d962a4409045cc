/* Exceptions: vectors, error codes, CR2, precise state; accessed and dirty bits.
 * SPDX-License-Identifier: GPL-2.0-or-later */
    .text
    .code64
fault_tests:
    expect 1f
faulting_div:
    xor %ecx, %ecx
    div %ecx
    missed division_by_zero_faults
1:  check division_by_zero_is_vector_0, seen_vector(%rip), $0
    check division_by_zero_returns_to_itself, seen_rip(%rip), $faulting_div+2

    expect 1f
faulting_ud:
    ud2
1:  check undefined_instruction_is_vector_6, seen_vector(%rip), $6
    check undefined_instruction_returns_to_itself, seen_rip(%rip), $faulting_ud

    expect 1f
trapping_int3:
    int3
1:  check breakpoint_is_vector_3, seen_vector(%rip), $3
    check breakpoint_returns_behind_itself, seen_rip(%rip), $trapping_int3+1

    expect 1f
    movabs $0x8000000000000000, %rbx
    mov (%rbx), %rax
1:  check noncanonical_address_is_vector_13, seen_vector(%rip), $13
    check noncanonical_address_has_error_0, seen_error(%rip), $0

    expect 1f
    movabs $0x8000000000000000, %rbp
    mov (%rbp), %rax
1:  check noncanonical_stack_address_is_vector_12, seen_vector(%rip), $12

    expect 1f
    mov $NOT_PRESENT, %eax
    mov %eax, %fs
1:  check segment_not_present_is_vector_11, seen_vector(%rip), $11
    check segment_not_present_has_its_selector, seen_error(%rip), $NOT_PRESENT

    expect 1f
    mov $0x1000, %eax
    mov %eax, %fs
1:  check selector_over_the_limit_is_vector_13, seen_vector(%rip), $13
    check selector_over_the_limit_is_the_error, seen_error(%rip), $0x1000

    expect 1f
    mov $0xc0000080, %ecx
    mov $~0, %eax
    mov $~0, %edx
    wrmsr
1:  check reserved_msr_bits_are_vector_13, seen_vector(%rip), $13

    expect 1f
    mov %cr0, %rax
    mov $1, %ecx
    shl $32, %rcx
    or %rcx, %rax
    mov %rax, %cr0
1:  check reserved_cr0_bits_are_vector_13, seen_vector(%rip), $13
    ret

paging_tests:
    movabs $0x8000000000000000, %r12 /* NX */
    /* A read-only page is read-only for the supervisor too. */
    map 0, 0, PTE_P
    expect 1f
faulting_write:
    movl $1, TEST + 0x123
1:  check write_to_read_only_page_is_vector_14, seen_vector(%rip), $14
    check write_to_read_only_page_has_error_3, seen_error(%rip), $3
    check write_to_read_only_page_has_its_address, seen_cr2(%rip), $TEST+0x123
    check write_to_read_only_page_returns_to_itself, seen_rip(%rip), $faulting_write

    /* A write over a page end, the second page missing: nothing is written. */
    map 0, 0, PTE_P + PTE_W
    unmap 1
    movq $-1, TEST + 0xff8
    expect 1f
    mov $0x1111111111111111, %rax
    mov %rax, TEST + 0xffc
1:  check crossing_write_has_error_2, seen_error(%rip), $2
    check crossing_write_has_the_second_pages_address, seen_cr2(%rip), $TEST+0x1000
    check crossing_write_changes_nothing, TEST+0xff8, $-1

    /* The same with the first page missing. */
    map 1, 1, PTE_P + PTE_W
    unmap 0
    expect 1f
    mov TEST + 0xffc, %rbx
1:  check crossing_read_has_the_first_bytes_address, seen_cr2(%rip), $TEST+0xffc
    check crossing_read_has_error_0, seen_error(%rip), $0

    /* Both there: the bytes come from two physical pages that are not neighbours. */
    map 0, 4, PTE_P + PTE_W
    map 1, 2, PTE_P + PTE_W
    mov $0x8877665544332211, %rbx
    mov %rbx, TEST + 0xffd
    check crossing_write_reaches_the_first_page, PAGES+0x4ff8, TEST+0xff8
    check crossing_write_reads_back, TEST+0xffd, %rbx
    mov PAGES + 0x2000, %rbx
    check crossing_write_reaches_the_second_page, %rbx, TEST+0x1000

    /* A read-modify-write reports a write. */
    unmap 0
    expect 1f
    incl TEST
1:  check read_modify_write_reports_a_write, seen_error(%rip), $2

    /* Push: the pointer stays where it was. The handler has its own stack. */
    movb $1, IDT + 14 * 16 + 4
    expect 1f
    mov %rsp, %r13
    mov $TEST + 0x1000, %esp
    push %rax
1:  check faulting_push_keeps_the_stack_pointer, seen_rsp(%rip), $TEST+0x1000
    check faulting_push_has_its_address, seen_cr2(%rip), $TEST+0xff8
    movb $0, IDT + 14 * 16 + 4

    /* No execution. */
    map 0, 0, PTE_P + PTE_W
    movb $0xc3, TEST
    or %r12, PT_TEST
    invlpg TEST
    expect 1f
    mov $TEST, %eax
    jmp *%rax
1:  check execution_of_nx_page_has_error_0x11, seen_error(%rip), $0x11
    check execution_of_nx_page_has_its_address, seen_cr2(%rip), $TEST
    check execution_of_nx_page_faults_at_the_target, seen_rip(%rip), $TEST

    /* A reserved bit of the entry, if the processor has fewer than 52 bits of address. */
    mov $0x80000008, %eax
    cpuid
    cmp $52, %al
    jae 2f
    map 0, 0, PTE_P + PTE_W
    movabs $0x8000000000000, %rax
    or %rax, PT_TEST
    invlpg TEST
    expect 1f
    mov TEST, %eax
1:  check reserved_bit_has_error_9, seen_error(%rip), $9
2:

    /* Accessed and dirty. */
    map 0, 0, PTE_P + PTE_W
    mov TEST, %eax
    mov PT_TEST, %rbx
    and $PTE_A + PTE_D, %ebx
    check read_sets_accessed_only, %rbx, $PTE_A
    movl $1, TEST
    mov PT_TEST, %rbx
    and $PTE_A + PTE_D, %ebx
    check write_sets_dirty, %rbx, $PTE_A+PTE_D
    mov PD + 8, %rbx
    and $PTE_A, %ebx
    check walk_sets_accessed_in_the_directory, %rbx, $PTE_A
    map 0, 0, PTE_P
    expect 1f
    movl $1, TEST
1:  mov PT_TEST, %rbx
    and $PTE_D, %ebx
    check refused_write_does_not_set_dirty, %rbx, $0
    ret

string_tests:
    /* Three bytes to the page's end, then a page that is missing. */
    map 0, 0, PTE_P + PTE_W
    map 2, 2, PTE_P + PTE_W
    unmap 1
    expect 1f
    mov $10, %ecx
    mov $TEST + 0x2000, %esi
    mov $TEST + 0xffd, %edi
    movl $0x44332211, TEST + 0x2000
    movl $0, TEST + 0xffc
faulting_rep:
    rep movsb
1:  mov %rsi, %r9
    mov %rdi, %r10
    check faulting_rep_keeps_the_iterations_left, %rcx, $7
    check faulting_rep_source_is_at_the_iteration, %r9, $TEST+0x2003
    check faulting_rep_destination_is_at_the_iteration, %r10, $TEST+0x1000
    check faulting_rep_has_its_address, seen_cr2(%rip), $TEST+0x1000
    check faulting_rep_returns_to_itself, seen_rip(%rip), $faulting_rep
    mov TEST + 0xffc, %ebx
    check faulting_rep_has_done_the_iterations, %rbx, $0x33221100

    /* Goes on after the page was mapped. */
    map 1, 1, PTE_P + PTE_W
    mov %r9, %rsi
    mov %r10, %rdi
    rep movsb
    mov %rdi, %r10
    check repeated_rep_ends, %rcx, $0
    check repeated_rep_ends_where_it_should, %r10, $TEST+0x1007

    /* Backwards over a page start, with words. */
    unmap 0
    expect 1f
    std
    mov $5, %ecx
    mov $TEST + 0x1004, %edi
    mov $0xabcd, %eax
    rep stosw
1:  cld
    mov %rdi, %r10
    check backward_rep_stops_at_the_page, %r10, $TEST+0xffe
    check backward_rep_keeps_the_iterations_left, %rcx, $2
    mov TEST + 0x1000, %ebx
    mov $0xabcdabcd, %ecx
    check backward_rep_has_written, %rbx, %rcx
    ret

double_fault_tests:
    /* A page fault whose gate is not present. */
    unmap 0
    movb $0x0e, IDT + 14 * 16 + 5
    expect 1f
    mov TEST, %eax
1:  movb $0x8e, IDT + 14 * 16 + 5
    check fault_in_delivery_is_a_double_fault, seen_vector(%rip), $8
    check double_fault_has_error_0, seen_error(%rip), $0
    check double_fault_keeps_cr2, seen_cr2(%rip), $TEST

    /* A benign exception whose gate is not present gives that fault. */
    movb $0x0e, IDT + 6 * 16 + 5
    expect 1f
    ud2
1:  movb $0x8e, IDT + 6 * 16 + 5
    check missing_gate_is_vector_11, seen_vector(%rip), $11
    check missing_gate_names_the_gate_and_an_earlier_event, seen_error(%rip), $6*8+3
    ret

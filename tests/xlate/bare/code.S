/* Code that changes, and locked instructions of two processors.
 * SPDX-License-Identifier: GPL-2.0-or-later */
    .text
    .code64
code_tests:
    /* The next instruction of the same block. Twice: at first it may not be translated. */
    mov $2, %r12d
1:  mov %r12b, patched_next + 1(%rip)
patched_next:
    mov $0x55, %ebx /* its immediate's low byte becomes r12 */
    mov %r12d, %ecx
    check code_changed_right_before_is_executed_changed, %rbx, %rcx
    dec %r12d
    jnz 1b

    /* A function in another block, called over and over. */
    mov $200, %r12d
    xor %r13d, %r13d
1:  mov %r12b, patched_function + 1(%rip)
    call patched_function
    cmp %eax, %r12d
    setne %cl
    movzbl %cl, %ecx
    add %ecx, %r13d
    dec %r12d
    jnz 1b
    check changed_function_is_executed_changed, %r13, $0

    /* By another linear address of its page. */
    mov $patched_function, %ebx
    and $~0xfff, %ebx
    or $PTE_P + PTE_W, %ebx
    mov %rbx, PT_TEST + 8 * 8
    invlpg TEST + 0x8000
    mov $patched_function, %r14d
    and $0xfff, %r14d
    mov $200, %r12d
    xor %r13d, %r13d
1:  mov %r12b, TEST + 0x8001(%r14)
    call patched_function
    cmp %eax, %r12d
    setne %cl
    movzbl %cl, %ecx
    add %ecx, %r13d
    dec %r12d
    jnz 1b
    check code_changed_through_another_mapping_is_executed_changed, %r13, $0

    /* Other code at a linear address that was executed before. */
    map 9, 9, PTE_P + PTE_W
    map 10, 10, PTE_P + PTE_W
    movl $0x000001b8, TEST + 0x9000 /* mov $1, %eax; ret */
    movl $0xc300, TEST + 0x9004
    movl $0x000002b8, TEST + 0xa000
    movl $0xc300, TEST + 0xa004
    mov $TEST + 0x9000, %ebx
    mov $50, %r12d
    xor %r13d, %r13d
1:  call *%rbx
    add %eax, %r13d
    dec %r12d
    jnz 1b
    movq $PAGES + 0xa000 + PTE_P + PTE_W, PT_TEST + 9 * 8
    invlpg TEST + 0x9000
    call *%rbx
    add %eax, %r13d
    check code_of_a_page_that_was_mapped_anew_is_executed, %r13, $52

    /* By a string instruction that crosses into code. */
    mov $3, %al
    mov $patched_function + 1, %edi
    stosb
    call patched_function
    check code_changed_by_a_string_instruction_is_executed_changed, %rax, $3

    /* The next instruction, by one that the translator leaves to the interpreter. */
    mov $2, %r12d
1:  mov %r12d, %eax
    mov $patched_behind + 1, %edi
    mov $1, %ecx
    rep stosb
patched_behind:
    mov $0x55, %ebx
    mov %r12d, %ecx
    check code_changed_right_before_by_a_string_instruction_is_executed_changed, %rbx, %rcx
    dec %r12d
    jnz 1b

    /* The target of a cached jump vanishes, and comes back. */
    mov $TEST + 0x9000, %ebx
    mov $PAGES + 0x9000 + PTE_P + PTE_W, %ecx
    mov $40, %r12d
    xor %r13d, %r13d
1:  xor $0x3000, %ecx /* page 9 or 10 */
    mov %rcx, PT_TEST + 9 * 8
    mov %cr3, %rax
    mov %rax, %cr3
    call *%rbx
    add %eax, %r13d
    dec %r12d
    jnz 1b
    check code_behind_a_jump_changes_with_each_load_of_cr3, %r13, $20+40
    /* By a device, within the access that asks for it; then by its own thread, some time later. */
    movb $200, patched_function + 1(%rip)
    xor %r13d, %r13d
    mov $199, %r12d
1:  mov $patched_function + 1, %eax
    mov $PORT_DMA, %edx
    out %eax, %dx
    call patched_function
    cmp %eax, %r12d
    setne %cl
    movzbl %cl, %ecx
    add %ecx, %r13d
    dec %r12d
    jnz 1b
    check code_changed_by_a_device_is_executed_changed, %r13, $0
    movb $100, patched_function + 1(%rip)
    mov $99, %r12d
1:  mov $patched_function + 1, %eax
    mov $PORT_DMA_LATER, %edx
    out %eax, %dx
2:  pause
    call patched_function
    cmp %eax, %r12d
    jne 2b /* for ever if the change stays unseen */
    dec %r12d
    jnz 1b
    check code_changed_by_a_devices_thread_is_executed_changed, %r12, $0
    ret

/* Code in global pages, as a kernel's is. */
global_tests:
    mov $512, %ecx
1:  orw $PTE_G, PT_LOW - 8(, %rcx, 8)
    dec %ecx
    jnz 1b
    mov %cr4, %rax
    or $CR4_PGE, %eax
    mov %rax, %cr4
    map 9, 9, PTE_P + PTE_W + PTE_G
    map 10, 10, PTE_P + PTE_W + PTE_G
    mov $TEST + 0x9000, %ebx
    call *%rbx
    check global_code_is_executed, %rax, $1
    movq $PAGES + 0xa000 + PTE_P + PTE_W + PTE_G, PT_TEST + 9 * 8
    invlpg TEST + 0x9000
    call *%rbx
    check global_code_changes_with_invlpg, %rax, $2

    movq $PAGES + 0x9000 + PTE_P + PTE_W + PTE_G, PT_TEST + 9 * 8
    mov %cr4, %rax
    xor $CR4_PGE, %eax
    mov %rax, %cr4
    xor $CR4_PGE, %eax
    mov %rax, %cr4
    call *%rbx
    check global_code_changes_when_cr4_pge_does, %rax, $1

    mov $7, %eax
    xor %ecx, %ecx
    push %rbx
    cpuid
    mov %ebx, %ecx
    pop %rbx
    bt $10, %ecx
    jnc 2f
    mov $20, %r12d
    mov $2, %r14d
    xor %r13d, %r13d
    mov $PAGES + 0x9000 + PTE_P + PTE_W + PTE_G, %ebp
1:  invpcid everything(%rip), %r14
    call *%rbx /* as before */
    add %eax, %r13d
    xor $0x3000, %ebp
    mov %rbp, PT_TEST + 9 * 8
    invpcid everything(%rip), %r14
    call *%rbx
    add %eax, %r13d
    dec %r12d
    jnz 1b
    check global_code_changes_with_invpcid, %r13, $20*3

2:  unmap 9
    expect 3f
    call *%rbx
3:  check global_code_that_is_unmapped_is_not_executed, seen_vector(%rip), $14

    /* Other pages beside global ones, in two spaces, where SMAP keeps user pages away. */
    mov $7, %eax
    xor %ecx, %ecx
    cpuid
    bt $20, %ebx
    jnc 4f
    mov %cr4, %rax
    or $CR4_SMAP, %eax
    mov %rax, %cr4
4:  map 0, 0, PTE_P + PTE_W
    map 1, 1, PTE_P + PTE_W
    movl $100, TEST
    movl $101, TEST + 0x1000
    movq $PAGES + 0x1000 + PTE_P + PTE_W, PT_OTHER
    mov $PML4, %r14d
    mov $PML4_OTHER, %r15d
    call read_in_two_spaces
    check local_pages_change_with_the_space, %r13, $20*201
    mov $1, %eax
    cpuid
    bt $17, %ecx
    jnc 5f
    mov %cr4, %rax
    or $CR4_PCIDE, %eax
    mov %rax, %cr4
    mov $PML4_OTHER + 1, %r15d
    call read_in_two_spaces
    check local_pages_change_with_the_pcid, %r13, $20*201
    bts $63, %r14
    bts $63, %r15
    call read_in_two_spaces
    check local_pages_change_with_the_pcid_that_is_kept, %r13, $20*201
5:  mov $PML4, %eax
    mov %rax, %cr3
    mov %cr4, %rax
    and $~(CR4_PGE + CR4_SMAP + CR4_PCIDE), %eax
    mov %rax, %cr4
    ret

/* R13: the sum of what is read at TEST, 20 times with R14 and R15 in CR3. */
read_in_two_spaces:
    mov $20, %r12d
    xor %r13d, %r13d
1:  mov %r15, %cr3
    mov TEST, %eax
    add %rax, %r13
    mov %r14, %cr3
    mov TEST, %eax
    add %rax, %r13
    dec %r12d
    jnz 1b
    ret

    .data
    .balign 16
everything: .quad 0, 0
    .text

    .balign 64
patched_function:
    mov $0, %eax
    ret

/* -- two processors -- */

    .set LOCKED_ADDITIONS, 20000

lock_tests:
    mov $PORT_START, %dx
    out %eax, %dx
    movl $1, go(%rip)
    mov $LOCKED_ADDITIONS, %ecx
1:  lock incq counter(%rip)
    lock incq split_counter(%rip)
    lock xaddl %eax, other_counter(%rip)
    dec %ecx
    jnz 1b
1:  pause
    cmpl $2, go(%rip)
    jne 1b
    check locked_increments_of_two_processors_add_up, counter(%rip), $2*LOCKED_ADDITIONS
    check locked_increments_over_a_line_add_up, split_counter(%rip), $2*LOCKED_ADDITIONS

    /* The other processor calls a function that this one changes. */
    mov $100, %r12d
    xor %r13d, %r13d
1:  mov %r12b, shared_function + 1(%rip)
    movl %r12d, call_wanted(%rip)
2:  pause
    cmp %r12d, call_done(%rip)
    jne 2b
    mov call_result(%rip), %eax
    cmp %eax, %r12d
    setne %cl
    movzbl %cl, %ecx
    add %ecx, %r13d
    dec %r12d
    jnz 1b
    check code_changed_by_another_processor_is_executed_changed, %r13, $0

    /* Both call more functions than a small code cache holds, three times. */
    mov $FUNCTIONS_AT, %edi
    xor %eax, %eax
1:  movb $0xb8, (%rdi) /* mov $number, %eax; ret */
    mov %eax, 1(%rdi)
    movb $0xc3, 5(%rdi)
    add $8, %edi
    inc %eax
    cmp $FUNCTIONS, %eax
    jne 1b
    movl $3, go(%rip)
    call call_functions
    mov %r13, %r14
2:  pause
    cmpl $4, go(%rip)
    jne 2b
    movabs $3 * FUNCTIONS * (FUNCTIONS - 1) / 2, %rbx
    check more_code_than_the_cache_holds_is_right, %r14, %rbx
    check more_code_than_the_cache_holds_is_right_on_both, other_sum(%rip), %rbx
    ret

    .set FUNCTIONS, 24000
    .set FUNCTIONS_AT, 0x100000

/* r13: sum of what they return. */
call_functions:
    xor %r13d, %r13d
    mov $3, %r12d
1:  mov $FUNCTIONS_AT, %ebx
2:  call *%rbx
    add %rax, %r13
    add $8, %ebx
    cmp $FUNCTIONS_AT + FUNCTIONS * 8, %ebx
    jne 2b
    dec %r12d
    jnz 1b
    ret

other_processor:
    mov $STACK_AP, %rsp
1:  pause
    cmpl $1, go(%rip)
    jne 1b
    mov $LOCKED_ADDITIONS, %ecx
1:  lock incq counter(%rip)
    lock incq split_counter(%rip)
    lock xaddl %eax, other_counter(%rip)
    dec %ecx
    jnz 1b
    movl $2, go(%rip)
    xor %ebx, %ebx
1:  pause
    cmpl $3, go(%rip)
    je 2f
    mov call_wanted(%rip), %ecx
    cmp %ebx, %ecx
    je 1b
    mov %ecx, %ebx
    xor %eax, %eax
    push %rbx
    cpuid /* what changed code asks of the processor that executes it */
    pop %rbx
    call shared_function
    mov %eax, call_result(%rip)
    mov %ebx, call_done(%rip)
    jmp 1b
2:  call call_functions
    mov %r13, other_sum(%rip)
    movl $4, go(%rip)
3:  pause
    jmp 3b

    .balign 64
shared_function:
    mov $0, %eax
    ret

    .data
    .balign 4096
counter: .quad 0
other_counter: .quad 0
go: .long 0
call_wanted: .long 0
call_done: .long 0
call_result: .long 0
    .balign 8
other_sum: .quad 0
    .balign 64
    .skip 60
split_counter: .quad 0

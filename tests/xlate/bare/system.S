/* Modes, user code, interrupts, debugging, address spaces.
 * SPDX-License-Identifier: GPL-2.0-or-later */
    .text
    .code64
mode_tests:
    /* 32-bit code in compatibility mode and back. */
    mov $-1, %rbx
    mov $5, %ecx
    push $CS32
    push $compatible
    lretq
    .code32
compatible:
    inc %ebx
    dec %ecx /* single bytes, REX in 64-bit code */
    push %ecx
    pop %edx
    ljmp $CS64, $back_in_64
    .code64
back_in_64:
    check compatibility_mode_writes_32_bits, %rbx, $0
    check compatibility_mode_has_inc_and_dec, %rcx, $4
    mov %edx, %edx
    check compatibility_mode_pushes_32_bits, %rdx, $4
    ret

/* -- user code -- */

    .macro enter_user target, selector=USER_CS64
    push $USER_DS
    push $TEST + 0x8000
    push $0x202
    push $\selector
    push $\target
    iretq
    .endm

user_tests:
    map 7, 7, PTE_P + PTE_W + PTE_U /* stack */
    map 6, 6, PTE_P + PTE_W + PTE_U /* code */
    map 5, 5, PTE_P + PTE_W         /* the supervisor's */
    orb $PTE_U, PML4
    mov $user_code, %esi
    mov $TEST + 0x6000, %edi
    mov $user_code_end - user_code, %ecx
    rep movsb

    expect 1f
    enter_user TEST+0x6000+user_read-user_code
1:  check user_read_of_supervisor_page_has_error_5, seen_error(%rip), $5
    check user_fault_comes_from_user_code, seen_cs(%rip), $USER_CS64
    check user_fault_has_the_users_stack, seen_rsp(%rip), $TEST+0x8000

    expect 1f
    enter_user TEST+0x6000+user_cli-user_code
1:  check user_cli_is_vector_13, seen_vector(%rip), $13

    expect 1f
    enter_user TEST+0x6000+user_int3-user_code
1:  check user_int3_is_let_through, seen_vector(%rip), $3

    expect 1f
    enter_user TEST+0x6000+user_int_30-user_code
1:  check user_int_to_a_system_gate_is_vector_13, seen_vector(%rip), $13
    check user_int_to_a_system_gate_names_it, seen_error(%rip), $0x30*8+2

    expect 1f
    enter_user TEST+0x6000+user_32-user_code, USER_CS32
1:  check user_32_bit_code_faults_as_such, seen_cs(%rip), $USER_CS32
    check user_32_bit_code_ran, %rbx, $0x77
    check user_32_bit_code_ended_at_ud2, seen_vector(%rip), $6

    /* Supervisor and user pages. */
    mov %cr4, %rax
    or $0x300000, %eax /* SMEP, SMAP */
    mov %rax, %cr4
    expect 1f
    mov $TEST + 0x6000, %eax
    jmp *%rax
1:  check smep_refuses_execution, seen_error(%rip), $0x11
    expect 1f
    mov TEST + 0x7000, %eax
1:  check smap_refuses_reading, seen_error(%rip), $1
    expect 1f
    movl $5, TEST + 0x7000
1:  check smap_refuses_writing, seen_error(%rip), $3
    movq $0, seen_count(%rip)
    stac
    movl $5, TEST + 0x7000
    mov TEST + 0x7000, %ebx
    clac
    check stac_overrides_smap, %rbx, $5
    expect 1f
    mov TEST + 0x7000, %eax
1:  check clac_ends_the_override, seen_error(%rip), $1
    mov %cr4, %rax
    and $~0x300000, %eax
    mov %rax, %cr4

    /* SYSCALL and SYSRET. */
    mov $0xc0000081, %ecx /* STAR */
    xor %eax, %eax
    mov $(USER_CS32 << 16) + CS64, %edx
    wrmsr
    inc %ecx /* LSTAR */
    mov $system_call, %eax
    xor %edx, %edx
    wrmsr
    mov $0xc0000084, %ecx /* SFMASK */
    mov $0x600, %eax      /* IF, DF */
    wrmsr
    mov %rsp, saved_rsp(%rip)
    enter_user TEST+0x6000+user_syscall-user_code
system_call:
    mov %rsp, call_rsp(%rip)
    mov %rcx, call_rcx(%rip)
    mov %r11, call_r11(%rip)
    mov saved_rsp(%rip), %rsp
    pushfq
    pop call_rflags(%rip)
    mov %cs, call_cs(%rip)
    mov %ss, call_ss(%rip)
    check syscall_keeps_the_stack_pointer, call_rsp(%rip), $TEST+0x8000
    check syscall_rcx_is_the_next_instruction, call_rcx(%rip), $TEST+0x6000+user_after_syscall-user_code
    check syscall_r11_is_rflags, call_r11(%rip), $0x602
    mov call_rflags(%rip), %rbx
    and $0x600, %ebx
    check syscall_masks_flags, %rbx, $0
    check syscall_loads_cs, call_cs(%rip), $CS64
    check syscall_loads_ss, call_ss(%rip), $CS64+8
    expect 1f
    mov call_rcx(%rip), %rcx
    mov call_r11(%rip), %r11
    mov call_rsp(%rip), %rsp
    sysretq
1:  cld
    check sysret_goes_back_to_user_code, seen_cs(%rip), $USER_CS64
    check sysret_returns_behind_the_call, seen_rip(%rip), $TEST+0x6000+user_after_syscall-user_code
    mov seen_rflags(%rip), %rbx
    and $0x600, %ebx
    check sysret_restores_flags, %rbx, $0x600

    /* IRET checks what it loads. */
    expect 1f
    push $USER_DS
    push $TEST + 0x8000
    push $0x202
    push $0x1003
    push $TEST
    iretq
1:  check iret_to_a_bad_selector_is_vector_13, seen_vector(%rip), $13
    check iret_to_a_bad_selector_names_it, seen_error(%rip), $0x1000
    ret

user_code:
user_read:
    mov TEST + 0x5000, %eax
user_cli:
    cli
user_int3:
    int3
user_int_30:
    int $0x30
user_syscall:
    std
    syscall
user_after_syscall:
    ud2
    .code32
user_32:
    mov $0x76, %ebx
    inc %ebx
    ud2
    .code64
user_code_end:

/* -- interrupts -- */

    .macro interrupt_at_once vector
    mov $\vector, %eax
    mov $PORT_INTERRUPT, %edx
    out %eax, %dx
    .endm

interrupt_tests:
    /* Held back by IF, then by the shadow of STI for one instruction. */
    movq $1, resume(%rip)
    movq $0, seen_count(%rip)
    cli
    interrupt_at_once 0x31
    nop
    check interrupt_waits_for_sti, seen_count(%rip), $0
    sti
    nop
after_sti_shadow:
    nop
    cli
    check interrupt_comes_after_the_shadow_of_sti, seen_rip(%rip), $after_sti_shadow
    check interrupt_has_its_vector, seen_vector(%rip), $0x31

    /* STI; CLI lets nothing in. */
    movq $0, seen_count(%rip)
    interrupt_at_once 0x33
    sti
    cli
    nop
    check sti_then_cli_lets_no_interrupt_in, seen_count(%rip), $0
    /* HLT in the shadow is woken at once. */
    sti
    hlt
after_hlt:
    cli
    check hlt_is_left_by_an_interrupt, seen_rip(%rip), $after_hlt
    check hlt_sees_one_interrupt, seen_count(%rip), $1

    /* POPF and IRET open the door without a shadow. */
    movq $0, seen_count(%rip)
    interrupt_at_once 0x34
    pushq $0x202
    popfq
after_popf:
    nop
    cli
    check popf_has_no_shadow, seen_rip(%rip), $after_popf

    /* A load of SS holds interrupts back for one instruction more, and so does POP SS where there
     * is one. */
    movq $0, seen_count(%rip)
    mov %ss, %ebx
    interrupt_at_once 0x35
    sti
    mov %ebx, %ss
    nop
after_ss_shadow:
    nop
    cli
    check interrupt_waits_for_the_shadow_of_ss, seen_rip(%rip), $after_ss_shadow
    check interrupt_after_the_shadow_of_ss_comes_once, seen_count(%rip), $1
    /* .. in front of a branch, where translated code might end. */
    movq $0, seen_count(%rip)
    interrupt_at_once 0x36
    sti
    mov %ebx, %ss
    jmp after_ss_jump
    nop
after_ss_jump:
    nop
    cli
    check interrupt_waits_for_the_jump_behind_a_load_of_ss, seen_rip(%rip), $after_ss_jump
    movq $0, resume(%rip)
    ret

/* -- debugging -- */

debug_tests:
    xor %eax, %eax
    mov %rax, %dr6
    /* TF: after the instruction behind POPF. */
    expect 1f
    pushq $0x102
    popfq
    nop
stepped:
    nop
    nop
1:  check single_step_is_vector_1, seen_vector(%rip), $1
    check single_step_comes_after_one_instruction, seen_rip(%rip), $stepped
    mov seen_dr6(%rip), %rbx
    and $0x4000, %ebx
    check single_step_is_told_by_dr6, %rbx, $0x4000

    /* A load of SS puts the step off until the instruction behind it. */
    expect 1f
    mov %ss, %ebx
    pushq $0x102
    popfq
    mov %ebx, %ss
    nop
stepped_over_ss:
    nop
    nop
1:  check single_step_waits_for_the_shadow_of_ss, seen_rip(%rip), $stepped_over_ss

    /* STI holds up interrupts only. (None is let in.) */
    expect 1f
    pushq $0x102
    popfq
    sti
stepped_sti:
    nop
    nop
1:  cli
    check single_step_does_not_wait_for_the_shadow_of_sti, seen_rip(%rip), $stepped_sti

    /* REP stops after each element, and is done with the last. */
    map 0, 0, PTE_P + PTE_W
    movl $0x04030201, TEST + 0x80
    movl $0, TEST + 0x90
    expect 1f
    mov $TEST + 0x80, %esi
    mov $TEST + 0x90, %edi
    mov $4, %ecx
    pushq $0x102
    popfq
stepped_rep:
    rep movsb
    nop
1:  mov %rcx, %r12
    mov TEST + 0x90, %ebx
    check single_step_of_rep_comes_after_one_element, %rbx, $1
    check single_step_of_rep_counts, %r12, $3
    check single_step_of_rep_is_where_it_goes_on, seen_rip(%rip), $stepped_rep
    mov $TEST + 0x81, %esi
    mov $TEST + 0x91, %edi
    mov $3, %ecx
    movq $1, resume(%rip)
    movq $0, seen_count(%rip)
    pushq $0x102
    popfq
    rep movsb
    pushq $2
    popfq /* the last that is stepped over */
    movq $0, resume(%rip)
    check single_step_of_rep_comes_for_each_element, seen_count(%rip), $5
    mov TEST + 0x90, %ebx
    check single_step_of_rep_does_all_of_it, %rbx, $0x04030201
    /* Nothing to do: one step all the same. */
    expect 1f
    xor %ecx, %ecx
    pushq $0x102
    popfq
    rep movsb
stepped_empty_rep:
    nop
1:  check single_step_of_an_empty_rep_is_behind_it, seen_rip(%rip), $stepped_empty_rep

    /* A breakpoint comes before its instruction. */
    xor %eax, %eax
    mov %rax, %dr6
    mov $breakpoint, %eax
    mov %rax, %dr0
    mov $0x2, %eax
    mov %rax, %dr7
    expect 1f
    mov $1, %ebx
    nop
breakpoint:
    mov $2, %ebx
    nop
1:  xor %eax, %eax
    mov %rax, %dr7
    check breakpoint_comes_before_its_instruction, %rbx, $1
    check breakpoint_is_where_it_is, seen_rip(%rip), $breakpoint
    mov seen_dr6(%rip), %rbx
    and $0xf, %ebx
    check breakpoint_is_told_by_dr6, %rbx, $1

    /* A watchpoint comes after its instruction. */
    map 0, 0, PTE_P + PTE_W
    xor %eax, %eax
    mov %rax, %dr6
    mov $TEST + 0x40, %eax
    mov %rax, %dr1
    mov $0x00d00008, %eax /* DR1: writes, four bytes */
    mov %rax, %dr7
    expect 1f
    mov TEST + 0x40, %ebx
    movl $7, TEST + 0x44
    movl $9, TEST + 0x40
watched:
    nop
    nop
1:  xor %eax, %eax
    mov %rax, %dr7
    check watchpoint_comes_after_its_instruction, seen_rip(%rip), $watched
    mov TEST + 0x40, %ebx
    check watchpoint_lets_the_write_happen, %rbx, $9
    mov seen_dr6(%rip), %rbx
    and $0xf, %ebx
    check watchpoint_is_told_by_dr6, %rbx, $2
    ret

/* -- address spaces -- */

    .set PML4_OTHER, 0x68000
    .set PDPT_OTHER, 0x69000
    .set PD_OTHER, 0x6a000
    .set PT_OTHER, 0x6b000

space_tests:
    /* A changed entry is seen after INVLPG. */
    map 0, 0, PTE_P + PTE_W
    map 1, 1, PTE_P + PTE_W
    movl $100, TEST
    movl $101, TEST + 0x1000
    mov TEST, %ebx
    movq $PAGES + 0x1000 + PTE_P + PTE_W, PT_TEST
    invlpg TEST
    mov TEST, %ebx
    check invlpg_makes_a_changed_entry_seen, %rbx, $101
    movq $PAGES + PTE_P + PTE_W, PT_TEST
    mov %cr3, %rax
    mov %rax, %cr3
    mov TEST, %ebx
    check loading_cr3_makes_a_changed_entry_seen, %rbx, $100

    /* A second space, which differs in page 0 only. */
    mov $0x68000, %edi
    xor %eax, %eax
    mov $0x4000 / 8, %ecx
    rep stosq
    movq $PDPT_OTHER + 7, PML4_OTHER
    movq $PD_OTHER + 7, PDPT_OTHER
    movq $PT_LOW + 7, PD_OTHER
    movq $PT_OTHER + 7, PD_OTHER + 8
    movq $PAGES + 0x1000 + PTE_P + PTE_W, PT_OTHER
    mov $PML4_OTHER, %eax
    mov %rax, %cr3
    mov TEST, %ebx
    check another_space_has_its_own_pages, %rbx, $101
    mov $PML4, %eax
    mov %rax, %cr3
    mov TEST, %ebx
    check the_first_space_is_as_it_was, %rbx, $100

    /* With PCIDs. */
    mov $1, %eax
    cpuid
    bt $17, %ecx
    jnc no_pcid
    mov %cr4, %rax
    or $0x20000, %eax
    mov %rax, %cr4
    mov $PML4_OTHER + 1, %eax
    mov %rax, %cr3
    mov TEST, %ebx
    check space_of_another_pcid_has_its_pages, %rbx, $101
    movabs $0x8000000000000000 + PML4, %rax
    mov %rax, %cr3
    mov TEST, %ebx
    check space_of_pcid_0_has_its_pages, %rbx, $100
    /* Changed while away, and invalidated by INVPCID. */
    movq $PAGES + PTE_P + PTE_W, PT_OTHER
    mov $7, %eax
    xor %ecx, %ecx
    cpuid
    bt $10, %ebx
    jnc 2f
    movq $1, descriptor(%rip)
    movq $TEST, descriptor + 8(%rip)
    xor %eax, %eax
    invpcid descriptor(%rip), %rax
    movabs $0x8000000000000001 + PML4_OTHER, %rax
    mov %rax, %cr3
    mov TEST, %ebx
    check invpcid_reaches_another_space, %rbx, $100
    movq $PAGES + 0x1000 + PTE_P + PTE_W, PT_OTHER
    mov $2, %eax
    invpcid descriptor(%rip), %rax
    mov TEST, %ebx
    check invpcid_of_all_reaches_the_present_space, %rbx, $101
2:  mov $PML4, %eax
    mov %rax, %cr3
    mov %cr4, %rax
    and $~0x20000, %eax
    mov %rax, %cr4
no_pcid:
    ret

    .data
    .balign 16
descriptor: .quad 0, 0
saved_rsp: .quad 0
call_rsp: .quad 0
call_rcx: .quad 0
call_r11: .quad 0
call_rflags: .quad 0
call_cs: .quad 0
call_ss: .quad 0

/* The host CPU as oracle: a child process with the memory of the cases mapped at their addresses
 * and no system calls but those it needs to take batches and signals.
 *
 * Faults come back as signals; Linux tells vector, error code and address in the context.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "xlate/native.h"

#include <asm/prctl.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#define HWCAP2_FSGSBASE_BIT 2ul
#define CASE_TIMEOUT_MS 2000
#define SIGNAL_STACK_BYTES (256u * 1024)

/* Known to native-stub.S. */
typedef struct NativeContext {
    CaseState state;
    uint64_t host_rsp;
    struct {
        uint32_t offset;
        uint16_t selector;
        uint16_t unused;
    } far;
    uint64_t host_fs, guest_fs, has_fs, is_32bit, guest_gs;
} NativeContext;

_Static_assert(offsetof(CaseState, gpr) == 832 && offsetof(CaseState, rflags) == 968 &&
                   offsetof(NativeContext, host_rsp) == 1024 &&
                   offsetof(NativeContext, is_32bit) == 1064,
               "native-stub.S knows the layout");

/* What parent and child share. */
typedef struct NativeShared {
    Case cases[NATIVE_BATCH];
    CaseResult results[NATIVE_BATCH];
    uint8_t templates[CASE_TEMPLATES][CASE_DATA_BYTES];
    uint8_t constant[CASE_CONSTANT_BYTES];
    unsigned first, count;      /* of the batch */
    _Atomic(unsigned) progress; /* case in execution */
} NativeShared;

struct Native {
    NativeShared *shared;
    bool has_fs;
    pid_t child;
    int to_child, from_child;
};

extern NativeContext native_context;
extern int native_enter(void);
extern void native_exit(void);
extern __attribute__((noreturn)) void native_resume(void);
extern void native_signal(int number, siginfo_t *info, void *context);
void native_handle_signal(int number, siginfo_t *info, ucontext_t *context);

/* -- in the child -- */

/* The child is single-threaded and does nothing else; its handler needs to find these. */
static NativeShared *child_shared;
static uint8_t *child_code; /* writable view of the code pages */

/* x87, SSE and AVX state out of a signal frame; components that are left out are initial. */
static void copy_frame_xsave(CaseState *out, const uint8_t *frame)
{
    uint64_t present;
    memcpy(&present, frame + 512, sizeof(present));
    memcpy(out->xsave, frame, CASE_XSAVE_BYTES);
    if (!(present & 1)) {
        memset(out->xsave, 0, 24);
        memset(out->xsave + 32, 0, 128);
        out->xsave[0] = 0x7f;
        out->xsave[1] = 0x03;
    }
    if (!(present & 2)) {
        memset(out->xsave + 160, 0, 256);
    }
    if (!(present & 4)) {
        memset(out->xsave + 576, 0, 256);
    }
}

__attribute__((used)) void native_handle_signal(int number, siginfo_t *info, ucontext_t *context)
{
    static const uint8_t gregs[16] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                       REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                       REG_R12, REG_R13, REG_R14, REG_R15 };
    CaseResult *result = &child_shared->results[child_shared->progress];
    const greg_t *regs = context->uc_mcontext.gregs;
    for (unsigned i = 0; i < 16; i++) {
        result->out.gpr[i] = (uint64_t)regs[gregs[i]];
    }
    result->out.rip = (uint64_t)regs[REG_RIP];
    result->out.rflags = (uint64_t)regs[REG_EFL];
    result->vector = (uint8_t)regs[REG_TRAPNO];
    result->error = (uint32_t)regs[REG_ERR];
    result->cr2 = (uint64_t)regs[REG_CR2];
    copy_frame_xsave(&result->out, (const uint8_t *)context->uc_mcontext.fpregs);
    native_resume();
}

static void run_case(const Case *test, CaseResult *result)
{
    uint8_t *data = (uint8_t *)CASE_DATA;
    const uint8_t *template = child_shared->templates[test->template];
    memcpy(data, template, CASE_DATA_BYTES);
    memcpy(child_code + test->code_offset, test->code, test->code_length);
    native_context.state = test->in;
    native_context.state.rip = CASE_CODE + test->code_offset;
    native_context.is_32bit = test->is_32bit;
    native_context.far.offset = (uint32_t)native_context.state.rip;
    native_context.far.selector = CASE_CS32;
    int signalled = native_enter();
    memset(child_code + test->code_offset, CASE_FILLER, test->code_length);
    if (!signalled) {
        result->out = native_context.state;
        result->out.rip = test->is_32bit ? CASE_EXIT32 : CASE_EXIT;
        result->vector = 0;
        result->error = 0;
        result->cr2 = 0;
    }
    result->memory_changed = memcmp(data, template, CASE_DATA_BYTES) != 0;
    if (result->memory_changed) {
        memcpy(result->memory, data, CASE_DATA_BYTES);
    }
    result->end = signalled ? CASE_FAULTED : CASE_REACHED_EXIT;
}

static void *map_at(uint64_t address, size_t bytes, int protection, int fd, off_t offset)
{
    int flags = MAP_FIXED_NOREPLACE | (fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED);
    void *result = mmap((void *)address, bytes, protection, flags, fd, offset);
    return result == (void *)address ? result : NULL;
}

void native_write_exits(uint8_t *page)
{
    static const uint8_t jump64[] = { 0xff, 0x25, 2, 0, 0, 0, 0xcc, 0xcc };
    static const uint8_t jump32[] = { 0xea, 0, 0, 0, 0, CASE_CS64, 0 };
    uint64_t target = native_exit_address();
    uint32_t exit32 = (uint32_t)CASE_EXIT;
    memset(page, CASE_FILLER, 4096);
    memcpy(page, jump64, sizeof(jump64));
    memcpy(page + sizeof(jump64), &target, sizeof(target));
    memcpy(page + (CASE_EXIT32 - CASE_EXIT), jump32, sizeof(jump32));
    memcpy(page + (CASE_EXIT32 - CASE_EXIT) + 1, &exit32, sizeof(exit32));
}

static bool map_memory(void)
{
    int fd = memfd_create("case-code", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, CASE_CODE_BYTES + 4096) < 0) {
        return false;
    }
    child_code = mmap(NULL, CASE_CODE_BYTES + 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (child_code == MAP_FAILED ||
        !map_at(CASE_CODE, CASE_CODE_BYTES, PROT_READ | PROT_EXEC, fd, 0) ||
        !map_at(CASE_EXIT, 4096, PROT_READ | PROT_EXEC, fd, CASE_CODE_BYTES) ||
        !map_at(CASE_DATA, CASE_DATA_BYTES + CASE_CONSTANT_BYTES, PROT_READ | PROT_WRITE, -1, 0)) {
        return false;
    }
    close(fd);
    memset(child_code, CASE_FILLER, CASE_CODE_BYTES);
    native_write_exits(child_code + CASE_CODE_BYTES);
    memcpy((void *)CASE_CONSTANT, child_shared->constant, CASE_CONSTANT_BYTES);
    return mprotect((void *)CASE_CONSTANT, CASE_CONSTANT_BYTES, PROT_READ) == 0;
}

static bool catch_signals(void)
{
    static const int numbers[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP };
    stack_t stack = { .ss_size = SIGNAL_STACK_BYTES };
    struct sigaction action = { .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
    stack.ss_sp =
        mmap(NULL, SIGNAL_STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack.ss_sp == MAP_FAILED || sigaltstack(&stack, NULL) < 0) {
        return false;
    }
    action.sa_sigaction = native_signal;
    for (unsigned i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (sigaction(numbers[i], &action, NULL) < 0) {
            return false;
        }
    }
    return true;
}

/* Code may jump anywhere: only what the child itself needs is let through. */
static bool forbid_system_calls(void)
{
#define ALLOW(number)                                                                              \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ALLOW(SYS_read),
        ALLOW(SYS_write),
        ALLOW(SYS_rt_sigreturn),
        ALLOW(SYS_exit_group),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
#undef ALLOW
    struct sock_fprog program = { sizeof(filter) / sizeof(filter[0]), filter };
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static __attribute__((noreturn)) void child_main(const Native *native, int in, int out)
{
    char token = 0;
    child_shared = native->shared;
    native_context.has_fs = native->has_fs;
    native_context.guest_fs = CASE_FS_BASE;
    native_context.guest_gs = CASE_GS_BASE;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    __asm__ volatile("mov %0, %%ds\n\tmov %0, %%es" : : "r"(CASE_DS));
    if (syscall(SYS_arch_prctl, ARCH_SET_GS, CASE_GS_BASE) < 0 || !map_memory() ||
        !catch_signals() || !forbid_system_calls()) {
        _exit(1);
    }
    while (write(out, &token, 1) == 1 && read(in, &token, 1) == 1) {
        NativeShared *shared = child_shared;
        for (unsigned i = shared->first; i < shared->count; i++) {
            shared->progress = i;
            run_case(&shared->cases[i], &shared->results[i]);
        }
    }
    _exit(0);
}

/* -- in the parent -- */

/* Waits until the child is ready for a batch, or done with one. */
static bool wait_for_child(Native *native)
{
    struct pollfd poll_fd = { .fd = native->from_child, .events = POLLIN };
    unsigned before = native->shared->progress;
    for (;;) {
        int result = poll(&poll_fd, 1, CASE_TIMEOUT_MS);
        if (result > 0) {
            char token;
            return read(native->from_child, &token, 1) == 1;
        }
        if (result == 0 && native->shared->progress == before) {
            return false;
        }
        before = native->shared->progress;
    }
}

static void end_child(Native *native)
{
    if (native->child > 0) {
        kill(native->child, SIGKILL);
        waitpid(native->child, NULL, 0);
        close(native->to_child);
        close(native->from_child);
    }
    native->child = 0;
}

static bool start_child(Native *native)
{
    int down[2], up[2];
    if (pipe(down) < 0) {
        return false;
    }
    if (pipe(up) < 0) {
        close(down[0]);
        close(down[1]);
        return false;
    }
    native->child = fork();
    if (native->child == 0) {
        close(down[1]);
        close(up[0]);
        child_main(native, down[0], up[1]);
    }
    close(down[0]);
    close(up[1]);
    native->to_child = down[1];
    native->from_child = up[0];
    if (native->child > 0 && wait_for_child(native)) {
        return true;
    }
    end_child(native);
    return false;
}

Native *native_new(const uint8_t *templates, const uint8_t *constant)
{
    Native *native = calloc(1, sizeof(*native));
    if (!native) {
        return NULL;
    }
    native->shared = mmap(NULL, sizeof(*native->shared), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (native->shared == MAP_FAILED) {
        free(native);
        return NULL;
    }
    memcpy(native->shared->templates, templates, sizeof(native->shared->templates));
    memcpy(native->shared->constant, constant, sizeof(native->shared->constant));
    native->has_fs = getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE_BIT;
    signal(SIGPIPE, SIG_IGN);
    if (!start_child(native)) {
        native_free(native);
        return NULL;
    }
    return native;
}

void native_free(Native *native)
{
    if (native) {
        end_child(native);
        munmap(native->shared, sizeof(*native->shared));
        free(native);
    }
}

uint64_t native_exit_address(void)
{
    return (uint64_t)(uintptr_t)native_exit;
}

bool native_has_fs(const Native *native)
{
    return native->has_fs;
}

Case *native_cases(Native *native)
{
    return native->shared->cases;
}

const CaseResult *native_run(Native *native, unsigned count)
{
    NativeShared *shared = native->shared;
    char token = 0;
    for (unsigned i = 0; i < count; i++) {
        shared->results[i].end = CASE_NOT_RUN;
    }
    shared->first = 0;
    shared->count = count;
    while (shared->first < count) {
        shared->progress = shared->first;
        if (write(native->to_child, &token, 1) == 1 && wait_for_child(native)) {
            break;
        }
        unsigned bad = shared->progress;
        int status = 0;
        bool died = waitpid(native->child, &status, WNOHANG) == native->child;
        shared->results[bad].end = died ? CASE_DIED : CASE_HUNG;
        end_child(native);
        if (!start_child(native)) {
            return NULL;
        }
        shared->first = bad + 1;
    }
    return shared->results;
}

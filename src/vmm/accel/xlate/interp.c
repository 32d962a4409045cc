/* The interpreter's loop: decoded instructions by guest-physical address, single steps, faults.
 *
 * A cached instruction is used only if the bytes in memory are still those it was decoded from, so
 * changed code needs no invalidation here.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/xlate/interp.h"

#include "vmm/accel/xlate/debug.h"
#include "vmm/accel/xlate/interp-ops.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CACHE_SLOTS (1u << 15)
#define KEY_FREE UINT64_MAX
#define PAGE_LEFT(linear) (0x1000u - ((unsigned)(linear)&0xfff))

typedef struct InterpSlot {
    uint64_t key;      /* guest-physical address << 2 | code size bits of the mode */
    uint64_t bytes[2]; /* of the instruction; what lies behind it is zero */
    uint64_t byte_mask[2];
    InterpFunc *func;
    Insn insn;
} InterpSlot;

struct InterpCache {
    InterpSlot slot[CACHE_SLOTS];
    InterpSlot crossing; /* an instruction over a page end, or one not in RAM: decoded each time */
};

bool interp_init(Vcpu *vcpu)
{
    vcpu->interp = malloc(sizeof(*vcpu->interp));
    if (!vcpu->interp) {
        return false;
    }
    for (unsigned i = 0; i < CACHE_SLOTS; i++) {
        vcpu->interp->slot[i].key = KEY_FREE;
    }
    return true;
}

void interp_done(Vcpu *vcpu)
{
    free(vcpu->interp);
    vcpu->interp = NULL;
}

static void decode_into(Vcpu *vcpu, const uint8_t *bytes, unsigned length, uint64_t linear,
                        InterpSlot *slot)
{
    slot->key = KEY_FREE;
    int result = insn_decode(bytes, length, vcpu->mode, &slot->insn);
    if (result == -EAGAIN) {
        /* The rest is on a page that cannot be fetched from; raises that fault. */
        MemPage page;
        tlb_fill(vcpu, mem_next_page(vcpu, linear), MEM_FETCH, &page);
        raise_exception(vcpu, EXCEPTION_UD);
    } else if (result == -E2BIG) {
        raise_error(vcpu, EXCEPTION_GP, 0);
    } else if (result < 0) {
        raise_exception(vcpu, EXCEPTION_UD);
    }
    slot->func = interp_find(&slot->insn);
}

static void remember(InterpSlot *slot, uint64_t key)
{
    uint8_t mask[16] = { 0 };
    memset(mask, 0xff, slot->insn.length);
    memcpy(slot->bytes, slot->insn.bytes, 16);
    memcpy(slot->byte_mask, mask, 16);
    slot->key = key;
}

/* Decodes without the cache: over a page end, or outside RAM. */
static const InterpSlot *fetch_slow(Vcpu *vcpu, uint64_t linear)
{
    uint8_t bytes[16] = { 0 };
    MemPage page;
    unsigned length = mem_fetch(vcpu, linear, bytes, &page);
    InterpSlot *slot = &vcpu->interp->crossing;
    decode_into(vcpu, bytes, length, linear, slot);
    return slot;
}

/* Looks the page of code up anew; false: it is not RAM. */
static bool enter_page(Vcpu *vcpu, uint64_t linear)
{
    MemPage page;
    uint64_t t = (linear >> 12) + vcpu->tlb_context;
    if (vcpu->tlb[t % TLB_ENTRIES].fetch == t) {
        mem_page_at(vcpu, tlb_fetch_physical(vcpu, linear), &page);
    } else {
        tlb_fill(vcpu, linear, MEM_FETCH, &page);
    }
    if (!page.host) {
        return false;
    }
    t = (linear >> 12) + vcpu->tlb_context;
    vcpu->fetch_tag = vcpu->tlb[t % TLB_ENTRIES].fetch == t ? t : TLB_INVALID;
    vcpu->fetch_host = page.host - (linear & 0xfff);
    vcpu->fetch_page = page.physical & ~UINT64_C(0xfff);
    return true;
}

static inline bool bytes_match(const InterpSlot *slot, const uint8_t *host)
{
    uint64_t low, high;
    memcpy(&low, host, 8);
    memcpy(&high, host + 8, 8);
    return ((low ^ slot->bytes[0]) & slot->byte_mask[0]) == 0 &&
           ((high ^ slot->bytes[1]) & slot->byte_mask[1]) == 0;
}

static InterpSlot *slot_of(Vcpu *vcpu, uint64_t linear, uint64_t *out_key)
{
    uint64_t physical = vcpu->fetch_page | (linear & 0xfff);
    *out_key = physical << 2 | (vcpu->mode & (MODE_CS64 | MODE_CS32));
    return &vcpu->interp->slot[(physical ^ physical >> 15) % CACHE_SLOTS];
}

/* The last bytes of a page: no more of them may be looked at. */
static const InterpSlot *fetch_at_end(Vcpu *vcpu, uint64_t linear)
{
    uint64_t key;
    InterpSlot *slot = slot_of(vcpu, linear, &key);
    uint8_t bytes[16] = { 0 };
    unsigned left = PAGE_LEFT(linear);
    memcpy(bytes, vcpu->fetch_host + (linear & 0xfff), left);
    if (slot->key == key && slot->insn.length <= left && bytes_match(slot, bytes)) {
        return slot;
    }
    slot->key = KEY_FREE;
    if (insn_decode(bytes, left, vcpu->mode, &slot->insn) < 0) {
        return fetch_slow(vcpu, linear);
    }
    slot->func = interp_find(&slot->insn);
    remember(slot, key);
    return slot;
}

static inline const InterpSlot *fetch(Vcpu *vcpu)
{
    uint64_t key;
    uint64_t linear =
        vcpu->mode & MODE_CS64 ? vcpu->rip : (uint32_t)(vcpu->segment[CPU_CS].base + vcpu->rip);
    if (unlikely(vcpu->fetch_tag != (linear >> 12) + vcpu->tlb_context) &&
        !enter_page(vcpu, linear)) {
        return fetch_slow(vcpu, linear);
    }
    if (unlikely(PAGE_LEFT(linear) < 16)) {
        return fetch_at_end(vcpu, linear);
    }
    InterpSlot *slot = slot_of(vcpu, linear, &key);
    const uint8_t *host = vcpu->fetch_host + (linear & 0xfff);
    if (likely(slot->key == key && bytes_match(slot, host))) {
        return slot;
    }
    uint8_t bytes[16];
    memcpy(bytes, host, 16);
    decode_into(vcpu, bytes, INSN_BYTES_MAX, linear, slot);
    remember(slot, key);
    return slot;
}

static void check_rip(Vcpu *vcpu)
{
    if (vcpu->mode & MODE_CS64 ? !is_canonical(vcpu->rip)
                               : vcpu->rip > vcpu->segment[CPU_CS].limit) {
        raise_error(vcpu, EXCEPTION_GP, 0);
    }
}

static inline void wrap_rip(Vcpu *vcpu, uint64_t next)
{
    vcpu->next_rip = vcpu->mode & MODE_CS64   ? next
                     : vcpu->mode & MODE_CS32 ? (uint32_t)next
                                              : next & 0xffff;
}

static inline void execute(Vcpu *vcpu)
{
    const InterpSlot *slot = fetch(vcpu);
    wrap_rip(vcpu, vcpu->rip + slot->insn.length);
    if (vcpu->count.interpreted) {
        vcpu->count.interpreted[slot->insn.mnemonic]++;
    }
    slot->func(vcpu, &slot->insn);
    vcpu->rip = vcpu->next_rip;
}

void interp_insn(Vcpu *vcpu, const Insn *insn)
{
    wrap_rip(vcpu, vcpu->rip + insn->length);
    interp_find(insn)(vcpu, insn);
    vcpu->rip = vcpu->next_rip;
}

/* With TF, debug registers or a debugger. */
static void execute_watched(Vcpu *vcpu)
{
    bool traps = vcpu->rflags & FLAG_TF;
    uint64_t rip = vcpu->rip;
    if (!debug_before(vcpu)) {
        return;
    }
    vcpu->rflags &= ~(uint64_t)FLAG_RF;
    vcpu->steps_into_handler = false;
    execute(vcpu);
    debug_after(vcpu, rip, traps && !vcpu->steps_into_handler);
}

/* What is left of an instruction that unwound; false: no more instructions now. */
static bool handle_fault(Vcpu *vcpu)
{
    if (vcpu->in_exclusive) {
        vcpu->in_exclusive = false;
        vm_exclusive_end(vcpu->vm, vcpu);
    }
    vcpu->count.value[COUNT_EXCEPTIONS]++;
    return exception_deliver(vcpu);
}

static inline bool may_go_on(const Vcpu *vcpu)
{
    if (unlikely(vcpu->run_state != CPU_RUN_RUNNABLE || vcpu->shutdown || vcpu->debug_stop)) {
        return false;
    }
    uint32_t requests = atomic_load_explicit(&vcpu->requests, memory_order_relaxed);
    return likely(requests == 0) || vcpu->interrupt_shadow;
}

static inline void one(Vcpu *vcpu)
{
    vcpu->interrupt_shadow = 0;
    if (unlikely(vcpu->mode & MODE_SINGLE_STEP)) {
        execute_watched(vcpu);
    } else {
        execute(vcpu);
    }
}

static void run(Vcpu *vcpu, unsigned limit)
{
    jmp_buf here;
    jmp_buf *outer = vcpu->unwind;
    vcpu->interp_budget = limit;
    vcpu->unwind = &here;
    bool going_on = setjmp(here) == 0 || handle_fault(vcpu);
    vcpu->unwind = &here;
    while (going_on && vcpu->interp_budget > 0) {
        vcpu->interp_budget--;
        vcpu->instructions++;
        check_rip(vcpu);
        one(vcpu);
        going_on = may_go_on(vcpu);
    }
    vcpu->unwind = outer;
}

void interp_one(Vcpu *vcpu)
{
    run(vcpu, 1);
}

void interp_run(Vcpu *vcpu, unsigned limit)
{
    if (may_go_on(vcpu)) {
        run(vcpu, limit);
    }
}

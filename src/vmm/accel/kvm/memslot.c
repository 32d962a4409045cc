/* Guest RAM for KVM: each visible piece of RAM in the memory map is one memory slot.
 *
 * What is not page-aligned gets no slot: KVM then reports accesses as MMIO, and the address map
 * answers them. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "base/log.h"
#include "vmm/accel/kvm/kvm.h"

#include <errno.h>
#include <inttypes.h>

#define PAGE_BYTES 4096
#define SLOTS_USED_MAX 512

static int set_slot(Vm *vm, unsigned slot, const AddressEntry *entry, uint64_t size_bytes)
{
    struct kvm_userspace_memory_region region = {
        .slot = slot,
        .guest_phys_addr = entry->base,
        .memory_size = size_bytes,
        .userspace_addr = (uintptr_t)entry->ram->host + entry->ram_offset,
        .flags = entry->readonly ? KVM_MEM_READONLY : 0,
    };
    return kvm_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region);
}

static bool is_suitable(const Vm *vm, const AddressEntry *entry)
{
    return ((entry->base | entry->size_bytes | entry->ram_offset) & (PAGE_BYTES - 1)) == 0 &&
           (!entry->readonly || vm->has_readonly_memory);
}

static int add_slot(Vm *vm, const AddressEntry *entry)
{
    for (unsigned i = 0; i < vm->slot_count; i++) {
        if (!vm->slots[i].is_used) {
            int rc = set_slot(vm, i, entry, entry->size_bytes);
            if (rc >= 0) {
                vm->slots[i] = (KvmSlot){ .is_used = true, .base = entry->base };
            }
            return rc;
        }
    }
    return -ENOSPC;
}

static int remove_slot(Vm *vm, const AddressEntry *entry)
{
    for (unsigned i = 0; i < vm->slot_count; i++) {
        if (vm->slots[i].is_used && vm->slots[i].base == entry->base) {
            vm->slots[i].is_used = false;
            return set_slot(vm, i, entry, 0);
        }
    }
    return 0;
}

static void memory_changed(void *opaque, const AddressEntry *entry, bool added)
{
    Vm *vm = opaque;
    LOCK_GUARD(&vm->slot_lock);
    if (!is_suitable(vm, entry)) {
        return;
    }
    int rc = added ? add_slot(vm, entry) : remove_slot(vm, entry);
    if (rc < 0) {
        log_error("KVM refuses guest memory at 0x%" PRIx64 " (%" PRIu64 " bytes): error %d",
                  entry->base, entry->size_bytes, -rc);
    }
}

int memslot_init(Vm *vm)
{
    if (vm->slot_count > SLOTS_USED_MAX || vm->slot_count == 0) {
        vm->slot_count = SLOTS_USED_MAX;
    }
    vm->slots = calloc(vm->slot_count, sizeof(*vm->slots));
    if (!vm->slots) {
        return -ENOMEM;
    }
    address_map_set_listener(vm->host.memory->map, memory_changed, vm);
    return 0;
}

void memslot_done(Vm *vm)
{
    if (vm->slots) {
        address_map_set_listener(vm->host.memory->map, NULL, NULL);
        free(vm->slots);
    }
}

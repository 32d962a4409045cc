/* Guest RAM: one block, seen below the PCI hole and above 4 GiB.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/int-math.h"
#include "base/log.h"
#include "gbase/error.h"
#include "gbase/size.h"
#include "vmm/machine/internal.h"
#include "vmm/machine/user-objects.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define PORT_SPACE_BYTES 0x10000
#define VGA_HOLE 0xa0000u
#define VGA_HOLE_END 0xc0000u

static bool map_ram(Machine *machine, GuestAddr base, uint64_t offset, uint64_t size_bytes,
                    GError **error)
{
    if (!size_bytes) {
        return true;
    }
    AddressEntry entry = {
        .base = base, .size_bytes = size_bytes, .ram = machine->ram, .ram_offset = offset
    };
    int r = address_map_add(machine->memory_map, &entry, 0);
    if (r < 0) {
        lodge_error_set_errno(error, r, "cannot map guest RAM at 0x%" PRIx64, base);
        return false;
    }
    return true;
}

/* RAM as the object that -machine memory-backend= names describes it. */
static RamBlock *make_described_ram(Machine *machine, GError **error)
{
    const char *id = machine->config->machine.memory_backend;
    MachineBackend *backend = machine_find_backend(machine, "memory", id);
    if (!backend) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND,
                    "-machine: there is no memory-backend-* object '%s'", id);
        return NULL;
    }
    uint64_t size = user_object_ram_size(backend->object);
    if (size != machine->config->ram_bytes) {
        g_autofree char *has = size_format(size);
        g_autofree char *wants = size_format(machine->config->ram_bytes);
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG,
                    "object '%s' has %s, but -m asks for %s", id, has, wants);
        return NULL;
    }
    RamBlock *ram = user_object_ram(machine, backend->object, error);
    g_prefix_error(error, "object '%s': ", id);
    return ram;
}

static RamBlock *make_ram(Machine *machine, GError **error)
{
    uint64_t total = machine->config->ram_bytes;
    if (machine->config->machine.memory_backend) {
        return make_described_ram(machine, error);
    }
    RamBlock *ram = ram_block_new("guest-ram", total);
    if (!ram) {
        g_autofree char *text = size_format(total);
        lodge_error_set_errno(error, errno, "cannot allocate %s of guest RAM", text);
    } else if (!machine->config->machine.dumps_core &&
               madvise(ram->host, total, MADV_DONTDUMP) < 0) {
        log_warn("guest RAM cannot be kept out of core dumps: %s", g_strerror(errno));
    }
    return ram;
}

bool machine_build_memory(Machine *machine, GError **error)
{
    uint64_t total = machine->config->ram_bytes;
    machine->memory_map = address_map_new(0);
    machine->port_map = address_map_new(PORT_SPACE_BYTES);
    if (!machine->memory_map || !machine->port_map) {
        lodge_error_set_errno(error, ENOMEM, "cannot make the guest's address maps");
        return false;
    }
    machine->memory.map = machine->memory_map;
    machine->ram = make_ram(machine, error);
    if (!machine->ram) {
        return false;
    }
    const MachineType *type = machine->type;
    machine->low_ram_bytes = total <= type->low_ram_limit ? total : type->low_ram_split;
    machine->high_ram_bytes = total - machine->low_ram_bytes;
    return map_ram(machine, 0, 0, VGA_HOLE, error) &&
           map_ram(machine, VGA_HOLE_END, VGA_HOLE_END, machine->low_ram_bytes - VGA_HOLE_END,
                   error) &&
           map_ram(machine, 4 * GIB, machine->low_ram_bytes, machine->high_ram_bytes, error);
}

void machine_done_memory(Machine *machine)
{
    ram_block_free(machine->ram);
    address_map_free(machine->memory_map);
    address_map_free(machine->port_map);
}

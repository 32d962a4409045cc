/* Kernel files: whatever they say, loading stays within guest RAM.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/int-math.h"
#include "base/log.h"
#include "vmm/firmware/boot.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define RAM_BYTES (24 * MIB)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void load(const char *path, const char *initrd, const BootTarget *target)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(BootImage) image = boot_image_open(path, initrd, &error);
    g_autofree CpuState *cpu = g_new0(CpuState, 1);
    bool ok = image && boot_image_load(image, target, cpu, &error);
    lodge_assert(ok == !error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fd = memfd_create("kernel", MFD_CLOEXEC);
    AddressMap *map = address_map_new(0);
    RamBlock *ram = ram_block_new("ram", RAM_BYTES);
    lodge_assert(fd >= 0 && map && ram);
    AddressEntry entry = { .size_bytes = RAM_BYTES, .ram = ram };
    GuestMemory memory = { .map = map };
    E820Map e820 = { .count = 0 };
    int r = address_map_add(map, &entry, 0);
    ssize_t written = write(fd, data, size);
    lodge_assert(r == 0 && written == (ssize_t)size);
    e820_add(&e820, 0, 0x9fc00, E820_RAM);
    e820_add(&e820, MIB, RAM_BYTES - MIB, E820_RAM);
    BootTarget target = { .memory = &memory, .e820 = &e820, .command_line = "quiet" };
    char path[32];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    load(path, NULL, &target);
    load(path, path, &target);
    address_map_free(map);
    ram_block_free(ram);
    close(fd);
    return 0;
}

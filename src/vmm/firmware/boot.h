/* Direct boot of a kernel without firmware: files to guest RAM, and the state of the boot
 * processor.
 *
 * Two kinds of kernel: Linux' bzImage by its 64-bit or 32-bit entry (boot-linux.c), and ELF files
 * with a PVH entry, such as vmlinux (boot-elf.c). SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_FIRMWARE_BOOT_H
#define LODGE_VMM_FIRMWARE_BOOT_H

#include "vmm/accel/cpu-state.h"
#include "vmm/firmware/e820.h"
#include "vmm/memory/guest-memory.h"

#include <glib.h>
#include <inttypes.h>

typedef struct BootImage BootImage;

/* What the kernel finds in the machine. */
typedef struct BootTarget {
    const GuestMemory *memory;
    const E820Map *e820;
    GuestAddr rsdp;           /* 0: no ACPI tables */
    const char *command_line; /* may be NULL */
    bool has_seed;            /* @seed is handed to the kernel's random generator */
    uint8_t seed[32];
} BootTarget;

/**
 * boot_image_open - open a kernel and its initial RAM disk
 * @kernel, @initrd: paths of regular files; @initrd may be NULL
 *
 * Looks at headers only. Returns: (transfer full) the image, which keeps the files open, or NULL
 * with @error naming the file: cannot be opened, no kernel, cut short, too old.
 */
BootImage *boot_image_open(const char *kernel, const char *initrd, GError **error);
void boot_image_free(BootImage *image);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BootImage, boot_image_free)

/**
 * boot_image_load - write kernel, RAM disk and boot data to RAM
 * @out_bsp: state of the boot processor, to be given to vcpu_set_state()
 *
 * May be called again for each reset. Context: main thread, no vCPU runs. Returns: false with
 * @error set: too little RAM, command line too long, a file cannot be read.
 */
bool boot_image_load(const BootImage *image, const BootTarget *target, CpuState *out_bsp,
                     GError **error);

#endif

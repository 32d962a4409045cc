/* What the kinds of kernel share. Inside vmm/firmware only.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_FIRMWARE_BOOT_INTERNAL_H
#define LODGE_VMM_FIRMWARE_BOOT_INTERNAL_H

#include "vmm/firmware/boot.h"

/* Where boot data lies in low RAM; all of it below the EBDA. */
#define BOOT_GDT 0x1000u
#define BOOT_PML4 0x2000u
#define BOOT_PDPT 0x3000u
#define BOOT_PD 0x4000u /* four pages: 4 GiB */
#define BOOT_PARAMS 0x8000u
#define BOOT_SETUP_DATA 0x9000u
#define BOOT_MODULES 0xa000u
#define BOOT_MEMORY_MAP 0xb000u
#define BOOT_COMMAND_LINE 0x20000u
#define BOOT_COMMAND_LINE_MAX 0x10000u

#define BOOT_CS 0x10
#define BOOT_DS 0x18

typedef struct BootFile {
    char *path;
    int fd; /* -1: none */
    uint64_t size_bytes;
} BootFile;

/* Of a bzImage; numbers from its setup header. */
typedef struct LinuxHeader {
    uint8_t bytes[0x290]; /* of the file's first sector(s), from 0 */
    unsigned setup_bytes; /* of the real-mode part, before the payload */
    uint64_t payload_bytes;
    uint64_t load_address, init_size, initrd_max;
    uint32_t command_line_max;
    bool has_64bit_entry;
} LinuxHeader;

#define ELF_SEGMENTS_MAX 32

typedef struct ElfSegment {
    uint64_t file_offset, file_bytes, memory_bytes;
    GuestAddr address;
} ElfSegment;

typedef struct ElfKernel {
    ElfSegment segment[ELF_SEGMENTS_MAX];
    unsigned count;
    uint64_t entry; /* 32-bit PVH entry */
    GuestAddr end;  /* past the highest segment */
} ElfKernel;

struct BootImage {
    BootFile kernel, initrd;
    bool is_elf;
    LinuxHeader linux_header;
    ElfKernel elf;
};

/* Each reads @image->kernel's headers. false without @error set: another kind of file. */
bool linux_header_read(BootImage *image, bool *out_is_mine, GError **error);
bool elf_kernel_read(BootImage *image, bool *out_is_mine, GError **error);

bool linux_load(const BootImage *image, const BootTarget *target, CpuState *out_bsp,
                GError **error);
bool elf_load(const BootImage *image, const BootTarget *target, CpuState *out_bsp, GError **error);

/* Copies @length bytes at @offset of @file to RAM. */
bool boot_file_load(const BootFile *file, uint64_t offset, uint64_t length,
                    const GuestMemory *memory, GuestAddr addr, GError **error);
bool boot_write(const GuestMemory *memory, GuestAddr addr, const void *bytes, size_t length,
                GError **error);
/* @length zero bytes. */
bool boot_clear(const GuestMemory *memory, GuestAddr addr, uint64_t length, GError **error);

/* Puts the RAM disk as high as possible below @limit and above @floor in RAM. */
bool boot_load_initrd(const BootImage *image, const BootTarget *target, GuestAddr floor,
                      GuestAddr limit, GuestAddr *out_address, GError **error);
bool boot_write_command_line(const BootTarget *target, uint32_t max, GError **error);

#endif

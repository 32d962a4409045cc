/* Linux bzImage by its 64-bit entry, or the 32-bit one where it has no other: "The Linux/x86 Boot
 * Protocol", version 2.10 and later.
 *
 * Leaves out loading above 4 GiB, EFI handover and the 16-bit entry.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/endian.h"
#include "base/fd.h"
#include "base/int-math.h"
#include "gbase/error.h"
#include "gbase/size.h"
#include "vmm/firmware/boot-internal.h"

#include <string.h>

/* Offsets in the file's first sectors and, from HEADER on, in the zero page. */
#define HEADER 0x1f1
#define SETUP_SECTS 0x1f1
#define SYSSIZE 0x1f4
#define BOOT_FLAG 0x1fe
#define JUMP_OFFSET 0x201
#define HEADER_MAGIC 0x202
#define VERSION 0x206
#define TYPE_OF_LOADER 0x210
#define LOADFLAGS 0x211
#define RAMDISK_IMAGE 0x218
#define RAMDISK_SIZE 0x21c
#define HEAP_END 0x224
#define CMD_LINE_PTR 0x228
#define INITRD_ADDR_MAX 0x22c
#define XLOADFLAGS 0x236
#define CMDLINE_SIZE 0x238
#define SETUP_DATA 0x250
#define PREF_ADDRESS 0x258
#define INIT_SIZE 0x260
#define HEADER_END 0x264

/* Zero page only */
#define ACPI_RSDP_ADDR 0x070
#define E820_ENTRIES 0x1e8
#define E820_TABLE 0x2d0
#define E820_ENTRY_BYTES 20

#define LOADED_HIGH 0x01
#define CAN_USE_HEAP 0x80
#define LOADER_UNDEFINED 0xff
#define XLF_KERNEL_64 0x01
#define PROTOCOL_PREF_ADDRESS 0x20a
#define PROTOCOL_64BIT 0x20c
#define ENTRY_64 0x200
#define SETUP_RNG_SEED 9

bool linux_header_read(BootImage *image, bool *out_is_mine, GError **error)
{
    LinuxHeader *header = &image->linux_header;
    uint8_t *b = header->bytes;
    ssize_t got = fd_pread_full(image->kernel.fd, b, sizeof(header->bytes), 0);
    if (got < 0) {
        lodge_error_set_errno(error, (int)got, "cannot read it");
        return false;
    }
    *out_is_mine = got >= HEADER_END && le16_get(b + BOOT_FLAG) == 0xaa55 &&
                   !memcmp(b + HEADER_MAGIC, "HdrS", 4);
    if (!*out_is_mine) {
        return true;
    }
    unsigned version = le16_get(b + VERSION);
    if (version < PROTOCOL_PREF_ADDRESS || !(b[LOADFLAGS] & LOADED_HIGH)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "its boot protocol %u.%02u is older than 2.10, of Linux 2.6.31", version >> 8,
                    version & 0xff);
        return false;
    }
    header->has_64bit_entry = version >= PROTOCOL_64BIT && le16_get(b + XLOADFLAGS) & XLF_KERNEL_64;
    header->setup_bytes = ((b[SETUP_SECTS] ? b[SETUP_SECTS] : 4u) + 1) * 512;
    header->payload_bytes = (uint64_t)le32_get(b + SYSSIZE) * 16;
    if (image->kernel.size_bytes < header->setup_bytes + header->payload_bytes) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT,
                    "the file is cut short: %" PRIu64 " of %" PRIu64 " bytes are there",
                    image->kernel.size_bytes, header->setup_bytes + header->payload_bytes);
        return false;
    }
    header->load_address = le64_get(b + PREF_ADDRESS);
    header->init_size = max_u64(le32_get(b + INIT_SIZE), header->payload_bytes);
    header->initrd_max = le32_get(b + INITRD_ADDR_MAX);
    header->command_line_max = le32_get(b + CMDLINE_SIZE);
    if (header->load_address < MIB || header->load_address >= 4 * GIB || !header->payload_bytes) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT,
                    "its header makes no sense: %" PRIu64 " bytes at 0x%" PRIx64,
                    header->payload_bytes, header->load_address);
        return false;
    }
    return true;
}

static void put_e820(uint8_t *zero_page, const E820Map *map)
{
    zero_page[E820_ENTRIES] = (uint8_t)map->count;
    for (unsigned i = 0; i < map->count; i++) {
        uint8_t *entry = zero_page + E820_TABLE + i * E820_ENTRY_BYTES;
        le64_put(entry, map->range[i].base);
        le64_put(entry + 8, map->range[i].size_bytes);
        le32_put(entry + 16, map->range[i].type);
    }
}

static bool write_seed(const BootTarget *target, uint8_t *zero_page, GError **error)
{
    if (!target->has_seed) {
        return true;
    }
    uint8_t data[16 + sizeof(target->seed)] = { 0 }; /* next, type, length, bytes */
    le32_put(data + 8, SETUP_RNG_SEED);
    le32_put(data + 12, sizeof(target->seed));
    memcpy(data + 16, target->seed, sizeof(target->seed));
    le64_put(zero_page + SETUP_DATA, BOOT_SETUP_DATA);
    return boot_write(target->memory, BOOT_SETUP_DATA, data, sizeof(data), error);
}

static bool write_zero_page(const LinuxHeader *header, const BootTarget *target, GuestAddr initrd,
                            uint64_t initrd_bytes, GError **error)
{
    uint8_t page[4096] = { 0 };
    size_t header_end = HEADER_MAGIC + header->bytes[JUMP_OFFSET];
    memcpy(page + HEADER, header->bytes + HEADER, MIN(header_end, sizeof(header->bytes)) - HEADER);
    page[TYPE_OF_LOADER] = LOADER_UNDEFINED;
    page[LOADFLAGS] |= LOADED_HIGH | CAN_USE_HEAP;
    le16_put(page + HEAP_END, 0xfe00);
    le32_put(page + CMD_LINE_PTR, BOOT_COMMAND_LINE);
    le32_put(page + RAMDISK_IMAGE, (uint32_t)initrd);
    le32_put(page + RAMDISK_SIZE, (uint32_t)initrd_bytes);
    le64_put(page + SETUP_DATA, 0);
    le64_put(page + ACPI_RSDP_ADDR, target->rsdp);
    put_e820(page, target->e820);
    return write_seed(target, page, error) &&
           boot_write(target->memory, BOOT_PARAMS, page, sizeof(page), error);
}

#define PTE_PRESENT 0x01u
#define PTE_WRITE 0x02u
#define PTE_LARGE 0x80u

/* Identity page tables of the first 4 GiB with pages of 2 MiB, and a GDT. */
static bool write_tables(const LinuxHeader *header, const BootTarget *target, GError **error)
{
    uint8_t page[4096] = { 0 };
    le64_put(page, BOOT_PDPT | PTE_PRESENT | PTE_WRITE);
    if (!boot_write(target->memory, BOOT_PML4, page, sizeof(page), error)) {
        return false;
    }
    for (unsigned i = 0; i < 4; i++) {
        le64_put(page + i * 8, (BOOT_PD + i * 4096) | PTE_PRESENT | PTE_WRITE);
    }
    if (!boot_write(target->memory, BOOT_PDPT, page, sizeof(page), error)) {
        return false;
    }
    for (unsigned i = 0; i < 4; i++) {
        for (unsigned j = 0; j < 512; j++) {
            uint64_t address = (uint64_t)(i * 512 + j) << 21;
            le64_put(page + j * 8, address | PTE_PRESENT | PTE_WRITE | PTE_LARGE);
        }
        if (!boot_write(target->memory, BOOT_PD + i * 4096, page, sizeof(page), error)) {
            return false;
        }
    }
    uint8_t gdt[32] = { 0 };
    le64_put(gdt + BOOT_CS,
             header->has_64bit_entry ? UINT64_C(0x00af9b000000ffff) : UINT64_C(0x00cf9b000000ffff));
    le64_put(gdt + BOOT_DS, UINT64_C(0x00cf93000000ffff));
    return boot_write(target->memory, BOOT_GDT, gdt, sizeof(gdt), error);
}

#define CR0_PE 0x1u
#define CR0_ET 0x10u
#define CR0_PG 0x80000000u
#define CR4_PAE 0x20u
#define EFER_LME 0x100u
#define EFER_LMA 0x400u

/* Long mode with the first 4 GiB mapped, or protected mode without paging. */
static void set_state(const LinuxHeader *header, CpuState *out_bsp)
{
    cpu_state_reset(out_bsp, true);
    out_bsp->rip = header->load_address;
    out_bsp->gpr[CPU_RSI] = BOOT_PARAMS;
    out_bsp->gpr[CPU_RDX] = 0;
    out_bsp->cr0 = CR0_PE | CR0_ET;
    if (header->has_64bit_entry) {
        out_bsp->rip += ENTRY_64;
        out_bsp->cr0 |= CR0_PG;
        out_bsp->cr3 = BOOT_PML4;
        out_bsp->cr4 = CR4_PAE;
        out_bsp->efer = EFER_LME | EFER_LMA;
    }
    out_bsp->gdt = (CpuTable){ .base = BOOT_GDT, .limit = 31 };
    CpuSegment data = {
        .limit = UINT32_MAX,
        .selector = BOOT_DS,
        .attributes = 0xc93,
    };
    for (unsigned i = 0; i < CPU_SEGMENTS; i++) {
        out_bsp->segment[i] = data;
    }
    out_bsp->segment[CPU_CS] =
        (CpuSegment){ .limit = UINT32_MAX,
                      .selector = BOOT_CS,
                      .attributes = header->has_64bit_entry ? 0xa9b : 0xc9b };
}

static bool check_room(const LinuxHeader *header, const BootTarget *target, GError **error)
{
    GuestAddr end = header->load_address + header->init_size;
    GuestAddr ram_end = e820_ram_end(target->e820, header->load_address);
    if (ram_end < end) {
        g_autofree char *need = size_format(round_up(end, MIB));
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NO_SPACE,
                    "too little RAM: it needs the memory below %s to unpack itself; give the guest "
                    "more with -m",
                    need);
        return false;
    }
    return true;
}

bool linux_load(const BootImage *image, const BootTarget *target, CpuState *out_bsp, GError **error)
{
    const LinuxHeader *header = &image->linux_header;
    if (!check_room(header, target, error) ||
        !boot_file_load(&image->kernel, header->setup_bytes, header->payload_bytes, target->memory,
                        header->load_address, error) ||
        !boot_write_command_line(target, header->command_line_max, error)) {
        g_prefix_error(error, "kernel '%s': ", image->kernel.path);
        return false;
    }
    GuestAddr initrd = 0;
    uint64_t initrd_bytes = 0;
    if (image->initrd.fd >= 0) {
        GuestAddr floor = header->load_address + header->init_size;
        if (!boot_load_initrd(image, target, floor, header->initrd_max + 1, &initrd, error)) {
            return false;
        }
        initrd_bytes = image->initrd.size_bytes;
    }
    if (!write_zero_page(header, target, initrd, initrd_bytes, error) ||
        !write_tables(header, target, error)) {
        return false;
    }
    set_state(header, out_bsp);
    return true;
}

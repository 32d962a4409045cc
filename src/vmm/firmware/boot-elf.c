/* ELF kernels with a PVH entry: ELF-32 and ELF-64 of the System V ABI, and Xen's "x86/HVM direct
 * boot ABI", version 1 of its start info.
 *
 * Leaves out kernels without that note, and loading above 4 GiB.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/endian.h"
#include "base/fd.h"
#include "base/int-math.h"
#include "gbase/error.h"
#include "gbase/size.h"
#include "vmm/firmware/boot-internal.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#define XEN_NOTE_PHYS32_ENTRY 18
#define NOTES_BYTES_MAX 65536
#define START_INFO_MAGIC 0x336ec578u
#define START_INFO_BYTES 56
#define START_INFO_MAP_ENTRY_BYTES 24
#define START_INFO_MODULE_BYTES 32

static bool corrupt(GError **error, const char *why)
{
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT, "%s", why);
    return false;
}

static bool read_part(const BootFile *file, void *out, uint64_t offset, uint64_t length,
                      GError **error)
{
    if (!range_fits(offset, length, file->size_bytes)) {
        return corrupt(error, "the file is cut short");
    }
    ssize_t got = fd_pread_full(file->fd, out, length, (off_t)offset);
    if (got < 0 || (uint64_t)got != length) {
        lodge_error_set_errno(error, got < 0 ? (int)got : EIO, "cannot read it");
        return false;
    }
    return true;
}

/* Walks the notes of one segment: @out_entry is set when the PVH note is among them. */
static void find_pvh_note(const uint8_t *notes, uint64_t length, uint64_t *out_entry)
{
    uint64_t at = 0;
    while (range_fits(at, sizeof(Elf64_Nhdr), length)) {
        uint64_t name_bytes = le32_get(notes + at);
        uint64_t value_bytes = le32_get(notes + at + 4);
        uint32_t type = le32_get(notes + at + 8);
        uint64_t name = at + sizeof(Elf64_Nhdr);
        uint64_t value = name + round_up(name_bytes, 4);
        if (!range_fits(name, name_bytes, length) || !range_fits(value, value_bytes, length)) {
            return;
        }
        bool is_xen = name_bytes == 4 && !memcmp(notes + name, "Xen", 4);
        if (is_xen && type == XEN_NOTE_PHYS32_ENTRY && value_bytes >= 4) {
            *out_entry = value_bytes >= 8 ? le64_get(notes + value) : le32_get(notes + value);
        }
        at = value + round_up(value_bytes, 4);
    }
}

static bool read_notes(const BootImage *image, uint64_t offset, uint64_t length,
                       uint64_t *out_entry, GError **error)
{
    if (length > NOTES_BYTES_MAX) {
        return true;
    }
    g_autofree uint8_t *notes = g_malloc(length ? length : 1);
    if (!read_part(&image->kernel, notes, offset, length, error)) {
        return false;
    }
    find_pvh_note(notes, length, out_entry);
    return true;
}

static bool add_segment(BootImage *image, const ElfSegment *segment, GError **error)
{
    ElfKernel *elf = &image->elf;
    if (!segment->memory_bytes) {
        return true;
    }
    GuestAddr end;
    if (segment->file_bytes > segment->memory_bytes ||
        !checked_add(segment->address, segment->memory_bytes, &end) || end > 4 * GIB) {
        return corrupt(error, "a segment makes no sense");
    }
    if (segment->address < MIB) {
        return corrupt(error, "a segment lies below 1 MiB, where boot data is");
    }
    if (!range_fits(segment->file_offset, segment->file_bytes, image->kernel.size_bytes)) {
        return corrupt(error, "the file is cut short");
    }
    if (elf->count == ELF_SEGMENTS_MAX) {
        return corrupt(error, "it has too many segments");
    }
    elf->segment[elf->count++] = *segment;
    elf->end = max_u64(elf->end, end);
    return true;
}

/* One program header, of either class. */
static bool read_program_header(BootImage *image, const uint8_t *header, bool is_64, GError **error)
{
    uint32_t type = le32_get(header);
    ElfSegment segment;
    if (is_64) {
        segment = (ElfSegment){
            .file_offset = le64_get(header + offsetof(Elf64_Phdr, p_offset)),
            .file_bytes = le64_get(header + offsetof(Elf64_Phdr, p_filesz)),
            .memory_bytes = le64_get(header + offsetof(Elf64_Phdr, p_memsz)),
            .address = le64_get(header + offsetof(Elf64_Phdr, p_paddr)),
        };
    } else {
        segment = (ElfSegment){
            .file_offset = le32_get(header + offsetof(Elf32_Phdr, p_offset)),
            .file_bytes = le32_get(header + offsetof(Elf32_Phdr, p_filesz)),
            .memory_bytes = le32_get(header + offsetof(Elf32_Phdr, p_memsz)),
            .address = le32_get(header + offsetof(Elf32_Phdr, p_paddr)),
        };
    }
    if (type == PT_NOTE) {
        return read_notes(image, segment.file_offset, segment.file_bytes, &image->elf.entry, error);
    }
    return type != PT_LOAD || add_segment(image, &segment, error);
}

static bool read_program_headers(BootImage *image, const uint8_t *ident, bool is_64, GError **error)
{
    uint64_t table = is_64 ? le64_get(ident + offsetof(Elf64_Ehdr, e_phoff))
                           : le32_get(ident + offsetof(Elf32_Ehdr, e_phoff));
    unsigned count =
        le16_get(ident + (is_64 ? offsetof(Elf64_Ehdr, e_phnum) : offsetof(Elf32_Ehdr, e_phnum)));
    unsigned size = is_64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
    unsigned given = le16_get(
        ident + (is_64 ? offsetof(Elf64_Ehdr, e_phentsize) : offsetof(Elf32_Ehdr, e_phentsize)));
    if (given != size) {
        return corrupt(error, "its program headers have a strange size");
    }
    for (unsigned i = 0; i < count; i++) {
        uint8_t header[sizeof(Elf64_Phdr)];
        uint64_t offset;
        if (!checked_add(table, (uint64_t)i * size, &offset)) {
            return corrupt(error, "the file is cut short");
        }
        if (!read_part(&image->kernel, header, offset, size, error) ||
            !read_program_header(image, header, is_64, error)) {
            return false;
        }
    }
    return true;
}

bool elf_kernel_read(BootImage *image, bool *out_is_mine, GError **error)
{
    uint8_t ident[sizeof(Elf64_Ehdr)] = { 0 };
    ssize_t got = fd_pread_full(image->kernel.fd, ident, sizeof(ident), 0);
    *out_is_mine = got >= (ssize_t)sizeof(Elf32_Ehdr) && !memcmp(ident, ELFMAG, SELFMAG);
    if (!*out_is_mine) {
        return true;
    }
    bool is_64 = ident[EI_CLASS] == ELFCLASS64;
    unsigned machine = le16_get(ident + offsetof(Elf64_Ehdr, e_machine));
    if (ident[EI_DATA] != ELFDATA2LSB || (machine != EM_X86_64 && machine != EM_386) ||
        (!is_64 && ident[EI_CLASS] != ELFCLASS32)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "an ELF file, but not for x86 processors");
        return false;
    }
    if (!read_program_headers(image, ident, is_64, error)) {
        return false;
    }
    if (!image->elf.count) {
        return corrupt(error, "an ELF file without anything to load");
    }
    if (!image->elf.entry || image->elf.entry >= 4 * GIB) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_UNSUPPORTED,
                    "an ELF file without a PVH entry; Linux has one with CONFIG_PVH");
        return false;
    }
    return true;
}

static bool write_start_info(const BootImage *image, const BootTarget *target, GuestAddr initrd,
                             GError **error)
{
    uint8_t info[START_INFO_BYTES] = { 0 };
    uint8_t module[START_INFO_MODULE_BYTES] = { 0 };
    uint8_t map[E820_RANGES_MAX * START_INFO_MAP_ENTRY_BYTES] = { 0 };
    le32_put(info, START_INFO_MAGIC);
    le32_put(info + 4, 1);               /* version */
    le32_put(info + 12, initrd ? 1 : 0); /* modules */
    le64_put(info + 16, initrd ? BOOT_MODULES : 0);
    le64_put(info + 24, BOOT_COMMAND_LINE);
    le64_put(info + 32, target->rsdp);
    le64_put(info + 40, BOOT_MEMORY_MAP);
    le32_put(info + 48, target->e820->count);
    le64_put(module, initrd);
    le64_put(module + 8, image->initrd.size_bytes);
    for (unsigned i = 0; i < target->e820->count; i++) {
        uint8_t *entry = map + i * START_INFO_MAP_ENTRY_BYTES;
        le64_put(entry, target->e820->range[i].base);
        le64_put(entry + 8, target->e820->range[i].size_bytes);
        le32_put(entry + 16, target->e820->range[i].type);
    }
    return boot_write(target->memory, BOOT_PARAMS, info, sizeof(info), error) &&
           boot_write(target->memory, BOOT_MODULES, module, sizeof(module), error) &&
           boot_write(target->memory, BOOT_MEMORY_MAP, map, sizeof(map), error);
}

/* 32-bit protected mode, flat segments, no paging. */
static void set_state(uint64_t entry, CpuState *out_bsp)
{
    cpu_state_reset(out_bsp, true);
    out_bsp->rip = entry;
    out_bsp->gpr[CPU_RBX] = BOOT_PARAMS;
    out_bsp->gpr[CPU_RDX] = 0;
    out_bsp->cr0 = 0x11; /* PE, ET */
    CpuSegment data = { .limit = UINT32_MAX, .selector = BOOT_DS, .attributes = 0xc93 };
    for (unsigned i = 0; i < CPU_SEGMENTS; i++) {
        out_bsp->segment[i] = data;
    }
    out_bsp->segment[CPU_CS] =
        (CpuSegment){ .limit = UINT32_MAX, .selector = BOOT_CS, .attributes = 0xc9b };
    out_bsp->tr = (CpuSegment){ .limit = 0x67, .attributes = 0x8b };
}

static bool load_segments(const BootImage *image, const BootTarget *target, GError **error)
{
    for (unsigned i = 0; i < image->elf.count; i++) {
        const ElfSegment *s = &image->elf.segment[i];
        GuestAddr end = s->address + s->memory_bytes;
        if (e820_ram_end(target->e820, s->address) < end) {
            g_autofree char *need = size_format(round_up(image->elf.end, MIB));
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_NO_SPACE,
                        "too little RAM: it needs the memory below %s; give the guest more with -m",
                        need);
            return false;
        }
        if (!boot_file_load(&image->kernel, s->file_offset, s->file_bytes, target->memory,
                            s->address, error) ||
            !boot_clear(target->memory, s->address + s->file_bytes, s->memory_bytes - s->file_bytes,
                        error)) {
            return false;
        }
    }
    return true;
}

bool elf_load(const BootImage *image, const BootTarget *target, CpuState *out_bsp, GError **error)
{
    if (!load_segments(image, target, error) ||
        !boot_write_command_line(target, BOOT_COMMAND_LINE_MAX, error)) {
        g_prefix_error(error, "kernel '%s': ", image->kernel.path);
        return false;
    }
    GuestAddr initrd = 0;
    if (image->initrd.fd >= 0 &&
        !boot_load_initrd(image, target, round_up(image->elf.end, 4096), 4 * GIB, &initrd, error)) {
        return false;
    }
    if (!write_start_info(image, target, initrd, error)) {
        return false;
    }
    set_state(image->elf.entry, out_bsp);
    return true;
}

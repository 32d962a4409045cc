/* Direct boot: files, and what all kinds of kernel share.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/firmware/boot.h"

#include "base/fd.h"
#include "base/int-math.h"
#include "gbase/error.h"
#include "gbase/size.h"
#include "vmm/firmware/boot-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool open_file(BootFile *file, const char *what, const char *path, GError **error)
{
    file->path = g_strdup(path);
    file->fd = fd_open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
    struct stat st;
    int r = file->fd < 0 ? file->fd : fstat(file->fd, &st) < 0 ? -errno : 0;
    if (r < 0) {
        lodge_error_set_errno(error, r, "%s '%s': cannot open it", what, path);
        return false;
    }
    if (!S_ISREG(st.st_mode)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "%s '%s': not a regular file",
                    what, path);
        return false;
    }
    file->size_bytes = (uint64_t)st.st_size;
    if (!file->size_bytes) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CORRUPT, "%s '%s': the file is empty", what,
                    path);
        return false;
    }
    return true;
}

static void close_file(BootFile *file)
{
    g_free(file->path);
    if (file->fd >= 0) {
        close(file->fd);
    }
}

void boot_image_free(BootImage *image)
{
    if (image) {
        close_file(&image->kernel);
        close_file(&image->initrd);
        g_free(image);
    }
}

static bool read_headers(BootImage *image, GError **error)
{
    bool is_mine = false;
    if (!elf_kernel_read(image, &is_mine, error)) {
        return false;
    }
    image->is_elf = is_mine;
    if (!is_mine && !linux_header_read(image, &is_mine, error)) {
        return false;
    }
    if (!is_mine) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "not a kernel: neither a bzImage nor an ELF file");
        return false;
    }
    return true;
}

BootImage *boot_image_open(const char *kernel, const char *initrd, GError **error)
{
    g_autoptr(BootImage) image = g_new0(BootImage, 1);
    image->kernel.fd = image->initrd.fd = -1;
    if (!open_file(&image->kernel, "kernel", kernel, error)) {
        return NULL;
    }
    if (!read_headers(image, error)) {
        g_prefix_error(error, "kernel '%s': ", kernel);
        return NULL;
    }
    if (initrd && !open_file(&image->initrd, "initrd", initrd, error)) {
        return NULL;
    }
    return g_steal_pointer(&image);
}

bool boot_image_load(const BootImage *image, const BootTarget *target, CpuState *out_bsp,
                     GError **error)
{
    return image->is_elf ? elf_load(image, target, out_bsp, error)
                         : linux_load(image, target, out_bsp, error);
}

bool boot_write(const GuestMemory *memory, GuestAddr addr, const void *bytes, size_t length,
                GError **error)
{
    int r = guest_memory_write(memory, addr, bytes, length);
    if (r < 0) {
        lodge_error_set_errno(error, r, "cannot write boot data at guest address 0x%" PRIx64, addr);
        return false;
    }
    return true;
}

/* Runs over the RAM at @addr in contiguous pieces: @file's bytes at @offset, or zeroes. */
static bool fill(const GuestMemory *memory, GuestAddr addr, uint64_t length, const BootFile *file,
                 uint64_t offset, GError **error)
{
    while (length) {
        uint64_t piece = length;
        void *host = guest_memory_map(memory, addr, &piece, true);
        if (!host) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_NO_SPACE,
                        "no RAM at guest address 0x%" PRIx64, addr);
            return false;
        }
        if (file) {
            ssize_t got = fd_pread_full(file->fd, host, piece, (off_t)offset);
            if (got < 0 || (uint64_t)got != piece) {
                lodge_error_set_errno(error, got < 0 ? (int)got : EIO, "cannot read '%s'",
                                      file->path);
                return false;
            }
        } else {
            memset(host, 0, piece);
        }
        guest_memory_written(memory, addr, piece);
        addr += piece;
        offset += piece;
        length -= piece;
    }
    return true;
}

bool boot_file_load(const BootFile *file, uint64_t offset, uint64_t length,
                    const GuestMemory *memory, GuestAddr addr, GError **error)
{
    return fill(memory, addr, length, file, offset, error);
}

bool boot_clear(const GuestMemory *memory, GuestAddr addr, uint64_t length, GError **error)
{
    return fill(memory, addr, length, NULL, 0, error);
}

bool boot_load_initrd(const BootImage *image, const BootTarget *target, GuestAddr floor,
                      GuestAddr limit, GuestAddr *out_address, GError **error)
{
    const BootFile *initrd = &image->initrd;
    GuestAddr end = min_u64(e820_ram_end(target->e820, floor), limit);
    uint64_t room = end > floor ? end - floor : 0;
    GuestAddr address = initrd->size_bytes <= room ? round_down(end - initrd->size_bytes, 4096) : 0;
    if (address < floor) {
        g_autofree char *free_text = size_format(round_down(room, MIB));
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NO_SPACE,
                    "initrd '%s': too large: it has %" PRIu64 " MiB, the kernel leaves %s of RAM; "
                    "give the guest more with -m",
                    initrd->path, div_round_up(initrd->size_bytes, MIB), free_text);
        return false;
    }
    *out_address = address;
    return boot_file_load(initrd, 0, initrd->size_bytes, target->memory, address, error);
}

bool boot_write_command_line(const BootTarget *target, uint32_t max, GError **error)
{
    const char *text = target->command_line ? target->command_line : "";
    size_t length = strlen(text);
    size_t most = MIN(max, BOOT_COMMAND_LINE_MAX - 1);
    if (length > most) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT,
                    "the kernel's command line has %zu characters; the kernel takes %zu", length,
                    most);
        return false;
    }
    return boot_write(target->memory, BOOT_COMMAND_LINE, text, length + 1, error);
}

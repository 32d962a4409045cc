/* Kernels made here, whole and broken, loaded into a guest's RAM.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/endian.h"
#include "base/int-math.h"
#include "lib/check.h"
#include "vmm/firmware/boot.h"

#include <elf.h>
#include <stdio.h>
#include <unistd.h>

#define RAM_BYTES (64 * MIB)
#define PAYLOAD_BYTES 8192
#define SETUP_BYTES 1024

typedef struct Fixture {
    AddressMap *map;
    RamBlock *ram;
    GuestMemory memory;
    E820Map e820;
    BootTarget target;
    CpuState *cpu;
    char path[64], initrd[64];
} Fixture;

static int set_up(void **state)
{
    Fixture *f = g_new0(Fixture, 1);
    f->map = address_map_new(0);
    f->ram = ram_block_new("ram", RAM_BYTES);
    AddressEntry entry = { .size_bytes = RAM_BYTES, .ram = f->ram };
    int r = address_map_add(f->map, &entry, 0);
    f->memory.map = f->map;
    e820_add(&f->e820, 0, 0x9fc00, E820_RAM);
    e820_add(&f->e820, 0x9fc00, 0x400, E820_RESERVED);
    e820_add(&f->e820, MIB, RAM_BYTES - MIB, E820_RAM);
    f->target = (BootTarget){
        .memory = &f->memory, .e820 = &f->e820, .rsdp = 0xe0000, .command_line = "console=ttyS0"
    };
    f->cpu = g_new0(CpuState, 1);
    snprintf(f->path, sizeof(f->path), "/tmp/test-boot-%d", (int)getpid());
    snprintf(f->initrd, sizeof(f->initrd), "/tmp/test-boot-initrd-%d", (int)getpid());
    *state = f;
    return r;
}

static int tear_down(void **state)
{
    Fixture *f = *state;
    unlink(f->path);
    unlink(f->initrd);
    address_map_free(f->map);
    ram_block_free(f->ram);
    g_free(f->cpu);
    g_free(f);
    return 0;
}

static void write_file(const char *path, const void *bytes, size_t length)
{
    assert_true(g_file_set_contents(path, bytes, (gssize)length, NULL));
}

static void make_bzimage(uint8_t *image)
{
    memset(image, 0, SETUP_BYTES);
    memset(image + SETUP_BYTES, 0x5a, PAYLOAD_BYTES);
    image[0x1f1] = SETUP_BYTES / 512 - 1;
    le32_put(image + 0x1f4, PAYLOAD_BYTES / 16);
    le16_put(image + 0x1fe, 0xaa55);
    image[0x201] = 0x62;
    memcpy(image + 0x202, "HdrS", 4);
    le16_put(image + 0x206, 0x20f);
    image[0x211] = 1; /* LOADED_HIGH */
    le32_put(image + 0x22c, 0x7fffffff);
    le16_put(image + 0x236, 1);
    le32_put(image + 0x238, 100);
    le64_put(image + 0x258, 16 * MIB);
    le32_put(image + 0x260, 4 * MIB);
}

static void expect_error(Fixture *f, const char *initrd, const char *part)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(BootImage) image = boot_image_open(f->path, initrd, &error);
    if (image) {
        assert_false(boot_image_load(image, &f->target, f->cpu, &error));
    }
    assert_non_null(error);
    if (!strstr(error->message, part)) {
        fail_msg("'%s' does not say '%s'", error->message, part);
    }
}

static void a_bzimage_is_entered_in_64_bit_mode(void **state)
{
    Fixture *f = *state;
    uint8_t file[SETUP_BYTES + PAYLOAD_BYTES];
    make_bzimage(file);
    write_file(f->path, file, sizeof(file));
    write_file(f->initrd, "ramdisk", 7);
    g_autoptr(GError) error = NULL;
    g_autoptr(BootImage) image = boot_image_open(f->path, f->initrd, &error);
    assert_non_null(image);
    assert_true(boot_image_load(image, &f->target, f->cpu, &error));
    const uint8_t *ram = f->ram->host;
    assert_memory_equal(ram + 16 * MIB, file + SETUP_BYTES, PAYLOAD_BYTES);
    assert_int_equal(f->cpu->rip, 16 * MIB + 0x200);
    const uint8_t *zero_page = ram + f->cpu->gpr[CPU_RSI];
    assert_int_equal(le64_get(zero_page + 0x70), 0xe0000);
    assert_int_equal(zero_page[0x1e8], 3);
    assert_int_equal(zero_page[0x210], 0xff);
    assert_string_equal((const char *)ram + le32_get(zero_page + 0x228), "console=ttyS0");
    uint32_t initrd = le32_get(zero_page + 0x218);
    assert_int_equal(le32_get(zero_page + 0x21c), 7);
    assert_memory_equal(ram + initrd, "ramdisk", 7);
    assert_true(initrd >= 20 * MIB);
    assert_int_equal(f->cpu->efer, 0x500);
    assert_true(f->cpu->segment[CPU_CS].attributes & SEGMENT_L);
    /* Page tables: the last GiB below 4 GiB is mapped to itself. */
    const uint8_t *pml4 = ram + f->cpu->cr3;
    const uint8_t *pdpt = ram + (le64_get(pml4) & ~UINT64_C(0xfff));
    const uint8_t *pd = ram + (le64_get(pdpt + 3 * 8) & ~UINT64_C(0xfff));
    assert_int_equal(le64_get(pd + 511 * 8), 0xffe00083);
}

static void a_32_bit_kernel_starts_in_protected_mode_without_paging(void **state)
{
    Fixture *f = *state;
    uint8_t file[SETUP_BYTES + PAYLOAD_BYTES];
    make_bzimage(file);
    le16_put(file + 0x236, 0);
    write_file(f->path, file, sizeof(file));
    g_autoptr(BootImage) image = boot_image_open(f->path, NULL, NULL);
    assert_non_null(image);
    assert_true(boot_image_load(image, &f->target, f->cpu, NULL));
    assert_int_equal(f->cpu->rip, 16 * MIB);
    assert_int_equal(f->cpu->cr0 & 0x80000001u, 1);
    assert_int_equal(f->cpu->efer, 0);
    assert_int_equal(f->cpu->segment[CPU_CS].attributes & (SEGMENT_L | SEGMENT_DB), SEGMENT_DB);
}

static void broken_kernels_are_refused_by_what_is_wrong(void **state)
{
    Fixture *f = *state;
    uint8_t file[SETUP_BYTES + PAYLOAD_BYTES];
    unlink(f->path);
    expect_error(f, NULL, "No such file");
    write_file(f->path, "", 0);
    expect_error(f, NULL, "the file is empty");
    write_file(f->path, "#!/bin/sh\n", 10);
    expect_error(f, NULL, "not a kernel");
    make_bzimage(file);
    write_file(f->path, file, sizeof(file) - 1000);
    expect_error(f, NULL, "the file is cut short");
    le16_put(file + 0x206, 0x209);
    write_file(f->path, file, sizeof(file));
    expect_error(f, NULL, "boot protocol 2.09 is older than 2.10");
    make_bzimage(file);
    le32_put(file + 0x260, 100 * MIB);
    write_file(f->path, file, sizeof(file));
    expect_error(f, NULL, "too little RAM: it needs the memory below 116M");
    make_bzimage(file);
    le64_put(file + 0x258, UINT64_MAX - 4);
    write_file(f->path, file, sizeof(file));
    expect_error(f, NULL, "its header makes no sense");
    make_bzimage(file);
    write_file(f->path, file, sizeof(file));
    f->target.command_line =
        "0123456789012345678901234567890123456789012345678901234567890123456789"
        "0123456789012345678901234567890123456789";
    expect_error(f, NULL, "has 110 characters; the kernel takes 100");
}

static void an_initrd_that_does_not_fit_is_refused(void **state)
{
    Fixture *f = *state;
    uint8_t file[SETUP_BYTES + PAYLOAD_BYTES];
    make_bzimage(file);
    write_file(f->path, file, sizeof(file));
    g_autofree uint8_t *big = g_malloc0(45 * MIB);
    write_file(f->initrd, big, 45 * MIB);
    expect_error(f, f->initrd, "too large: it has 45 MiB, the kernel leaves 44M of RAM");
    expect_error(f, "/", "not a regular file");
}

typedef struct ElfFile {
    Elf64_Ehdr header;
    Elf64_Phdr program[2];
    Elf64_Nhdr note;
    char name[4];
    uint64_t entry;
    uint8_t code[256];
} ElfFile;

static void make_elf(ElfFile *elf)
{
    memset(elf, 0, sizeof(*elf));
    memcpy(elf->header.e_ident, ELFMAG, SELFMAG);
    elf->header.e_ident[EI_CLASS] = ELFCLASS64;
    elf->header.e_ident[EI_DATA] = ELFDATA2LSB;
    elf->header.e_machine = EM_X86_64;
    elf->header.e_phoff = offsetof(ElfFile, program);
    elf->header.e_phentsize = sizeof(Elf64_Phdr);
    elf->header.e_phnum = 2;
    elf->program[0] = (Elf64_Phdr){ .p_type = PT_NOTE,
                                    .p_offset = offsetof(ElfFile, note),
                                    .p_filesz = sizeof(elf->note) + 4 + 8 };
    elf->program[1] = (Elf64_Phdr){ .p_type = PT_LOAD,
                                    .p_offset = offsetof(ElfFile, code),
                                    .p_filesz = sizeof(elf->code),
                                    .p_memsz = 4096,
                                    .p_paddr = 2 * MIB };
    elf->note = (Elf64_Nhdr){ .n_namesz = 4, .n_descsz = 8, .n_type = 18 };
    memcpy(elf->name, "Xen", 4);
    elf->entry = 2 * MIB + 16;
    memset(elf->code, 0x90, sizeof(elf->code));
}

static void an_elf_kernel_is_entered_by_pvh(void **state)
{
    Fixture *f = *state;
    ElfFile elf;
    make_elf(&elf);
    write_file(f->path, &elf, sizeof(elf));
    write_file(f->initrd, "ramdisk", 7);
    memset(f->ram->host + 2 * MIB, 0xff, 4096);
    g_autoptr(GError) error = NULL;
    g_autoptr(BootImage) image = boot_image_open(f->path, f->initrd, &error);
    assert_non_null(image);
    assert_true(boot_image_load(image, &f->target, f->cpu, &error));
    const uint8_t *ram = f->ram->host;
    assert_memory_equal(ram + 2 * MIB, elf.code, sizeof(elf.code));
    assert_int_equal(ram[2 * MIB + sizeof(elf.code)], 0); /* .bss */
    assert_int_equal(f->cpu->rip, 2 * MIB + 16);
    assert_int_equal(f->cpu->cr0 & 0x80000001u, 1);
    const uint8_t *info = ram + f->cpu->gpr[CPU_RBX];
    assert_int_equal(le32_get(info), 0x336ec578);
    assert_int_equal(le32_get(info + 12), 1);
    const uint8_t *module = ram + le64_get(info + 16);
    assert_memory_equal(ram + le64_get(module), "ramdisk", 7);
    assert_string_equal((const char *)ram + le64_get(info + 24), "console=ttyS0");
    assert_int_equal(le64_get(info + 32), 0xe0000);
    assert_int_equal(le32_get(info + 48), 3);
}

static void broken_elf_files_are_refused_by_what_is_wrong(void **state)
{
    Fixture *f = *state;
    ElfFile elf;
    make_elf(&elf);
    write_file(f->path, &elf, sizeof(elf) - 100);
    expect_error(f, NULL, "the file is cut short");
    elf.header.e_machine = EM_AARCH64;
    write_file(f->path, &elf, sizeof(elf));
    expect_error(f, NULL, "not for x86 processors");
    make_elf(&elf);
    elf.note.n_type = 1;
    write_file(f->path, &elf, sizeof(elf));
    expect_error(f, NULL, "without a PVH entry");
    make_elf(&elf);
    elf.program[1].p_paddr = UINT64_MAX - 10;
    write_file(f->path, &elf, sizeof(elf));
    expect_error(f, NULL, "a segment makes no sense");
    make_elf(&elf);
    elf.program[1].p_paddr = 0x8000;
    write_file(f->path, &elf, sizeof(elf));
    expect_error(f, NULL, "a segment lies below 1 MiB");
    make_elf(&elf);
    elf.program[1].p_memsz = 100 * MIB;
    write_file(f->path, &elf, sizeof(elf));
    expect_error(f, NULL, "too little RAM");
    make_elf(&elf);
    elf.header.e_phoff = UINT64_MAX - 8;
    write_file(f->path, &elf, sizeof(elf));
    expect_error(f, NULL, "the file is cut short");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_bzimage_is_entered_in_64_bit_mode, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_32_bit_kernel_starts_in_protected_mode_without_paging,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(broken_kernels_are_refused_by_what_is_wrong, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_initrd_that_does_not_fit_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_elf_kernel_is_entered_by_pvh, set_up, tear_down),
        cmocka_unit_test_setup_teardown(broken_elf_files_are_refused_by_what_is_wrong, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

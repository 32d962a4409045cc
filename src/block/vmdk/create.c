/* Creation of VMDK images: descriptor, extents, empty tables.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/endian.h"
#include "base/int-math.h"
#include "block/vmdk/descriptor.h"
#include "block/vmdk/extent.h"
#include "block/vmdk/vmdk.h"
#include "gbase/error.h"
#include "gbase/strutil.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#define DESCRIPTOR_SECTOR 1
#define DESCRIPTOR_SECTORS 20
#define SPLIT_BYTES (2 * GIB)

const BlockCreateOption vmdk_create_options[] = {
    { "size", BLOCK_OPTION_SIZE, "Virtual disk size", false },
    { "adapter_type", BLOCK_OPTION_TEXT,
      "Virtual adapter type, can be one of ide (default), lsilogic, buslogic or legacyESX", false },
    { "backing_file", BLOCK_OPTION_TEXT, "File name of a base image", false },
    { "backing_fmt", BLOCK_OPTION_TEXT, "Must be 'vmdk' if present", false },
    { "compat6", BLOCK_OPTION_BOOL, "VMDK version 6 image", false, .standard = "off" },
    { "hwversion", BLOCK_OPTION_TEXT, "VMDK hardware version", false, .standard = "undefined" },
    { "toolsversion", BLOCK_OPTION_TEXT, "VMware guest tools version", false },
    { "subformat", BLOCK_OPTION_TEXT,
      "VMDK flat extent format, can be one of {monolithicSparse (default) | monolithicFlat | "
      "twoGbMaxExtentSparse | twoGbMaxExtentFlat | streamOptimized} ",
      false },
    { "zeroed_grain", BLOCK_OPTION_BOOL, "Enable efficient zero writes using the zeroed-grain GTE",
      false },
    BLOCK_FILE_CREATE_OPTIONS,
    {},
};

typedef struct Plan {
    uint64_t size;
    const char *adapter, *subformat, *hardware_version, *tools_version, *backing;
    bool is_flat, is_split, is_compressed, has_zero_grains, is_compat6;
    uint32_t parent_cid;
} Plan;

static bool one_of(const char *what, const char *value, const char *const *choices, GError **error)
{
    if (g_strv_contains(choices, value)) {
        return true;
    }
    g_autofree char *hint = str_suggestion(value, choices);
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "Invalid %s '%s'%s", what, value,
                hint);
    return false;
}

/* The content identity of the backing file. */
static bool find_parent_cid(const char *name, Plan *plan, GError **error)
{
    plan->parent_cid = VMDK_NO_PARENT;
    if (!plan->backing) {
        return true;
    }
    g_autofree char *path = block_backing_path(name, plan->backing);
    g_autoptr(BlockSpec) spec = block_spec_from_name(path, "vmdk", error);
    g_autoptr(BlockNode) parent =
        spec ? block_open(spec, BLOCK_OPEN_NO_BACKING | BLOCK_OPEN_SHARED, error) : NULL;
    BlockInfo info = { 0 };
    if (!parent || !block_get_info(parent, &info, error)) {
        return false;
    }
    for (unsigned i = 0; i < info.facts->len; i++) {
        const BlockFact *fact = &g_array_index(info.facts, BlockFact, i);
        if (strcmp(fact->name, "cid") == 0) {
            plan->parent_cid = (uint32_t)fact->number;
        }
    }
    block_info_clear(&info);
    return true;
}

static const char *text_or(const BlockSpec *options, const char *key, const char *otherwise)
{
    const char *text = block_spec_get(options, key);
    return text ? text : otherwise;
}

/* The tables of a sparse extent are found by 32 bits of sectors, and so is its data: an extent is
 * full when its file has 2 TiB. A split image has a file for each 2 GiB. */
static uint64_t size_limit(const Plan *plan)
{
    return plan->is_split ? 64 * 1024 * GIB : plan->is_flat ? INT64_MAX : 8192 * 1024 * GIB;
}

static bool parse_options(const char *name, const BlockSpec *options, Plan *plan, GError **error)
{
    static const char *const adapters[] = { "ide", "buslogic", "lsilogic", "legacyESX", NULL };
    static const char *const kinds[] = { "monolithicSparse",     "monolithicFlat",
                                         "twoGbMaxExtentSparse", "twoGbMaxExtentFlat",
                                         "streamOptimized",      NULL };
    plan->adapter = text_or(options, "adapter_type", "ide");
    plan->subformat = text_or(options, "subformat", "monolithicSparse");
    plan->tools_version = text_or(options, "toolsversion", "2147483647");
    plan->backing = block_spec_get(options, "backing_file");
    const char *backing_format = block_spec_get(options, "backing_fmt");
    if (!block_spec_get_size(options, "size", &plan->size, error) ||
        !block_spec_get_bool(options, "compat6", &plan->is_compat6, error) ||
        !block_spec_get_bool(options, "zeroed_grain", &plan->has_zero_grains, error) ||
        !one_of("adapter type", plan->adapter, adapters, error) ||
        !one_of("subformat", plan->subformat, kinds, error)) {
        return false;
    }
    plan->hardware_version = text_or(options, "hwversion", plan->is_compat6 ? "6" : "4");
    plan->is_flat = g_str_has_suffix(plan->subformat, "Flat");
    plan->is_split = g_str_has_prefix(plan->subformat, "twoGb");
    plan->is_compressed = strcmp(plan->subformat, "streamOptimized") == 0;
    plan->size = round_up(plan->size, VMDK_SECTOR);
    const char *problem = NULL;
    if (plan->backing && plan->is_flat) {
        problem = "Flat image can't have backing file";
    } else if (plan->has_zero_grains && plan->is_flat) {
        problem = "Flat image can't enable zeroed grain";
    } else if (backing_format && strcmp(backing_format, "vmdk") != 0) {
        problem = "backing_fmt must be vmdk";
    } else if (strpbrk(name, "\"\n") || (plan->backing && strpbrk(plan->backing, "\"\n"))) {
        problem = "names with quotes or line ends cannot be written into a descriptor";
    } else if (plan->size > size_limit(plan)) {
        problem = "the disk is larger than a VMDK image of this subformat can describe";
    }
    if (problem) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_CONFIG, "%s", problem);
        return false;
    }
    return true;
}

/* @count tables from sector @first on, behind @directory that names them. */
static int write_directory(File *file, uint64_t directory, uint64_t first, uint64_t count)
{
    uint8_t raw[4096];
    for (uint64_t i = 0; i < count;) {
        uint64_t part = min_u64(sizeof(raw) / 4, count - i);
        for (uint64_t k = 0; k < part; k++) {
            le32_put(raw + k * 4,
                     (uint32_t)(first + (i + k) * (VMDK_TABLE_ENTRIES * 4 / VMDK_SECTOR)));
        }
        int result = file_write(file, directory * VMDK_SECTOR + i * 4, raw, part * 4);
        if (result < 0) {
            return result;
        }
        i += part;
    }
    return 0;
}

static int create_sparse(File *file, const Plan *plan, uint64_t bytes)
{
    uint64_t grains = div_round_up(bytes / VMDK_SECTOR, VMDK_GRAIN_SECTORS);
    uint64_t tables = div_round_up(grains, VMDK_TABLE_ENTRIES);
    uint64_t table_sectors = tables * (VMDK_TABLE_ENTRIES * 4 / VMDK_SECTOR);
    uint64_t directory_sectors = div_round_up(tables * 4, VMDK_SECTOR);
    VmdkHeader header = {
        .version = plan->is_compressed     ? 3
                   : plan->has_zero_grains ? 2
                                           : 1,
        .flags = VMDK_FLAG_NEWLINES | VMDK_FLAG_SECOND_TABLES |
                 (plan->is_compressed ? VMDK_FLAG_COMPRESSED | VMDK_FLAG_MARKERS : 0) |
                 (plan->has_zero_grains ? VMDK_FLAG_ZERO_GRAINS : 0),
        .capacity = bytes / VMDK_SECTOR,
        .grain = VMDK_GRAIN_SECTORS,
        .entries = VMDK_TABLE_ENTRIES,
        .descriptor = DESCRIPTOR_SECTOR,
        .descriptor_sectors = DESCRIPTOR_SECTORS,
        .second_directory = DESCRIPTOR_SECTOR + DESCRIPTOR_SECTORS,
        .compression = plan->is_compressed,
    };
    header.directory = header.second_directory + directory_sectors + table_sectors;
    header.overhead =
        round_up(header.directory + directory_sectors + table_sectors, VMDK_GRAIN_SECTORS);
    uint8_t raw[VMDK_HEADER_BYTES];
    vmdk_header_format(&header, raw);
    int result = file_truncate(file, header.overhead * VMDK_SECTOR);
    if (result == 0) {
        result = file_write(file, 0, raw, sizeof(raw));
    }
    if (result == 0) {
        result = write_directory(file, header.second_directory,
                                 header.second_directory + directory_sectors, tables);
    }
    return result == 0 ? write_directory(file, header.directory,
                                         header.directory + directory_sectors, tables)
                       : result;
}

static bool has_extent_files(const Plan *plan)
{
    return plan->is_flat || plan->is_split;
}

/* A file of its own for an extent. */
static bool create_extent_file(const char *path, const Plan *plan, uint64_t bytes, GError **error)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    File *file = NULL;
    int result =
        fd < 0 ? -errno : file_posix_new(fd, &(FilePosixOptions){ .is_writable = true }, &file);
    if (result == 0) {
        result = plan->is_flat ? file_truncate(file, bytes) : create_sparse(file, plan, bytes);
    }
    file_close(file);
    if (result < 0) {
        lodge_error_set_errno(error, result, "Could not create file '%s'", path);
    }
    return result == 0;
}

/* "x-flat.vmdk", "x-f001.vmdk", "x-s001.vmdk" beside "x.vmdk". (transfer full) */
static char *extent_path(const char *name, const Plan *plan, unsigned number)
{
    const char *base = strrchr(name, '/'), *dot = strrchr(base ? base : name, '.');
    size_t stem = dot ? (size_t)(dot - name) : strlen(name);
    const char *suffix = dot ? dot : "";
    if (!plan->is_split) {
        return g_strdup_printf("%.*s-flat%s", (int)stem, name, suffix);
    }
    return g_strdup_printf("%.*s-%c%03u%s", (int)stem, name, plan->is_flat ? 'f' : 's', number,
                           suffix);
}

static uint64_t extent_bytes(const Plan *plan, uint64_t left)
{
    return plan->is_split ? min_u64(left, SPLIT_BYTES) : left;
}

void vmdk_create_files(const char *name, const BlockSpec *options, GPtrArray *paths)
{
    Plan plan = { 0 };
    if (!parse_options(name, options, &plan, NULL) || !has_extent_files(&plan)) {
        return;
    }
    uint64_t left = plan.size;
    for (unsigned number = 1; left > 0 || number == 1; number++) {
        g_ptr_array_add(paths, extent_path(name, &plan, number));
        left -= extent_bytes(&plan, left);
    }
}

static bool create_extents(const char *name, const Plan *plan, GArray *lines, GError **error)
{
    uint64_t left = plan->size;
    for (unsigned number = 1; left > 0 || number == 1; number++) {
        uint64_t bytes = extent_bytes(plan, left);
        g_autofree char *path = extent_path(name, plan, number);
        if (!create_extent_file(path, plan, bytes, error)) {
            return false;
        }
        VmdkExtentLine line = { .sectors = bytes / VMDK_SECTOR,
                                .type = g_strdup(plan->is_flat ? "FLAT" : "SPARSE"),
                                .filename = g_path_get_basename(path) };
        g_array_append_val(lines, line);
        left -= bytes;
    }
    return true;
}

static void line_clear(void *opaque)
{
    VmdkExtentLine *line = opaque;
    g_free(line->type);
    g_free(line->filename);
}

static bool write_descriptor(File *file, const VmdkDescriptor *descriptor, const Plan *plan,
                             bool is_embedded, GError **error)
{
    const VmdkDisk disk = { .sectors = plan->size / VMDK_SECTOR,
                            .adapter = plan->adapter,
                            .hardware_version = plan->hardware_version,
                            .tools_version = plan->tools_version };
    g_autofree char *text = vmdk_descriptor_format(descriptor, &disk);
    size_t length = strlen(text);
    if (is_embedded && length > DESCRIPTOR_SECTORS * VMDK_SECTOR) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT,
                    "the names are too long for the VMDK descriptor");
        return false;
    }
    int result = file_write(file, is_embedded ? DESCRIPTOR_SECTOR * VMDK_SECTOR : 0, text, length);
    if (result < 0) {
        lodge_error_set_errno(error, result, "cannot write the VMDK descriptor");
    }
    return result == 0;
}

bool vmdk_create(File *file, const char *name, const BlockSpec *options, GError **error)
{
    Plan plan = { 0 };
    if (!parse_options(name, options, &plan, error) || !find_parent_cid(name, &plan, error)) {
        return false;
    }
    g_autoptr(GArray) lines = g_array_new(FALSE, TRUE, sizeof(VmdkExtentLine));
    g_array_set_clear_func(lines, line_clear);
    bool is_embedded = !has_extent_files(&plan);
    if (is_embedded) {
        int result = create_sparse(file, &plan, plan.size);
        if (result < 0) {
            lodge_error_set_errno(error, result, "cannot write the VMDK header");
            return false;
        }
        VmdkExtentLine line = { .sectors = plan.size / VMDK_SECTOR,
                                .type = g_strdup("SPARSE"),
                                .filename = g_path_get_basename(name) };
        g_array_append_val(lines, line);
    } else if (!create_extents(name, &plan, lines, error)) {
        return false;
    }
    const VmdkDescriptor descriptor = {
        .cid = (uint32_t)g_random_int_range(0, INT32_MAX),
        .parent_cid = plan.parent_cid,
        .create_type = (char *)plan.subformat,
        .parent_hint = (char *)plan.backing,
        .extents = lines,
    };
    return write_descriptor(file, &descriptor, &plan, is_embedded, error);
}

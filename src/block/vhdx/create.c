/* Creation of VHDX images, and the numbers that all of the format shares.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/endian.h"
#include "block/vhdx/vhdx.h"
#include "gbase/error.h"
#include "gbase/uuid.h"

#include <inttypes.h>
#include <string.h>

#define METADATA_BYTES MIB
#define ITEMS_OFFSET (64 * KIB) /* in the metadata region */
#define LOG_OFFSET MIB
#define SECTOR 512
#define PRESENT 6u

const uint8_t vhdx_region_bat[] = { 0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42,
                                    0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08 };
const uint8_t vhdx_region_metadata[] = { 0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b,
                                         0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e };
const uint8_t vhdx_item_parameters[] = { 0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d,
                                         0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b };
const uint8_t vhdx_item_size[] = { 0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48,
                                   0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8 };
const uint8_t vhdx_item_page83[] = { 0xab, 0x12, 0xca, 0xbe, 0xe6, 0xb2, 0x23, 0x45,
                                     0x93, 0xef, 0xc3, 0x09, 0xe0, 0x00, 0xc7, 0x46 };
const uint8_t vhdx_item_logical_sector[] = { 0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47,
                                             0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f };
const uint8_t vhdx_item_physical_sector[] = { 0xc7, 0x48, 0xa3, 0xcd, 0x5d, 0x44, 0x71, 0x44,
                                              0x9c, 0xc9, 0xe9, 0x88, 0x52, 0x51, 0xc5, 0x56 };

/* Two steps of four bits for each byte: small and fast enough for tables and logs. */
static uint32_t add_to_crc(uint32_t crc, const uint8_t *bytes, size_t length)
{
    static const uint32_t nibble[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
        0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
        0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };
    for (size_t i = 0; i < length; i++) {
        crc ^= bytes[i];
        crc = (crc >> 4) ^ nibble[crc & 15];
        crc = (crc >> 4) ^ nibble[crc & 15];
    }
    return crc;
}

uint32_t vhdx_checksum(const uint8_t *bytes, size_t length, size_t hole)
{
    static const uint8_t zeroes[4];
    uint32_t crc = ~0u;
    if (hole != SIZE_MAX && hole + sizeof(zeroes) <= length) {
        crc = add_to_crc(crc, bytes, hole);
        crc = add_to_crc(crc, zeroes, sizeof(zeroes));
        bytes += hole + sizeof(zeroes);
        length -= hole + sizeof(zeroes);
    }
    return ~add_to_crc(crc, bytes, length);
}

const BlockCreateOption vhdx_create_options[] = {
    { "size", BLOCK_OPTION_SIZE, "Virtual disk size; max of 64TB.", false },
    { "log_size", BLOCK_OPTION_SIZE, "Log size; min 1MB.", false, .standard = "1048576" },
    { "block_size", BLOCK_OPTION_SIZE,
      "Block Size; min 1MB, max 256MB. 0 means auto-calculate based on image size.", false,
      .standard = "0" },
    { "subformat", BLOCK_OPTION_TEXT, "VHDX format type, can be either 'dynamic' or 'fixed'. ",
      false },
    { "block_state_zero", BLOCK_OPTION_BOOL,
      "Force use of payload blocks of type 'ZERO'. Non-standard, but default. Do not set to 'off' "
      "when using 'qemu-img convert' with subformat=dynamic.",
      false },
    BLOCK_FILE_CREATE_OPTIONS,
    {},
};

typedef struct Plan {
    uint64_t size, log_bytes, block_bytes, entries, bat_bytes;
    bool is_fixed, has_zero_state;
} Plan;

static uint64_t default_block(uint64_t size)
{
    return size > 32 * 1024 * GIB ? 64 * MIB
           : size > 100 * GIB     ? 32 * MIB
           : size > GIB           ? 16 * MIB
                                  : 8 * MIB;
}

static bool parse(const BlockSpec *options, Plan *plan, GError **error)
{
    const char *subformat = block_spec_get(options, "subformat"), *problem = NULL;
    plan->log_bytes = VHDX_LOG_MIN;
    plan->has_zero_state = true;
    if (!block_spec_get_size(options, "size", &plan->size, error) ||
        !block_spec_get_size(options, "log_size", &plan->log_bytes, error) ||
        !block_spec_get_size(options, "block_size", &plan->block_bytes, error) ||
        !block_spec_get_bool(options, "block_state_zero", &plan->has_zero_state, error)) {
        return false;
    }
    plan->log_bytes =
        plan->log_bytes < 64 * MIB ? round_up(plan->log_bytes, VHDX_LOG_MIN) : plan->log_bytes;
    plan->is_fixed = subformat && strcmp(subformat, "fixed") == 0;
    plan->size = round_up(plan->size, SECTOR);
    plan->block_bytes = plan->block_bytes ? plan->block_bytes : default_block(plan->size);
    if (subformat && !plan->is_fixed && strcmp(subformat, "dynamic") != 0) {
        problem = "Invalid subformat; supported: dynamic, fixed";
    } else if (plan->size > VHDX_DISK_MAX) {
        problem = "Image size too large; max of 64TB";
    } else if (plan->log_bytes < VHDX_LOG_MIN || plan->log_bytes > 64 * MIB ||
               plan->log_bytes % VHDX_LOG_MIN) {
        problem = "Log size must be a multiple of 1 MB, at most 64 MB";
    } else if (plan->block_bytes < VHDX_BLOCK_MIN || plan->block_bytes > VHDX_BLOCK_MAX ||
               !is_power_of_two(plan->block_bytes)) {
        problem = "Block size must be a power of two from 1 MB to 256 MB";
    }
    if (problem) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "%s", problem);
        return false;
    }
    uint64_t chunk = (UINT64_C(1) << 23) * SECTOR / plan->block_bytes;
    uint64_t blocks = div_round_up(plan->size, plan->block_bytes);
    plan->entries = blocks + (blocks ? (blocks - 1) / chunk : 0);
    plan->bat_bytes = round_up(max_u64(plan->entries * 8, 1), MIB);
    return true;
}

static void put_item(uint8_t *entry, const uint8_t *guid, uint32_t offset, uint32_t length,
                     uint32_t flags)
{
    memcpy(entry, guid, VHDX_GUID_BYTES);
    le32_put(entry + 16, offset);
    le32_put(entry + 20, length);
    le32_put(entry + 24, flags);
}

/* @metadata: zeroes of ITEMS_OFFSET + 4096 bytes. */
static void fill_metadata(uint8_t *metadata, const Plan *plan, const Uuid *page83)
{
    enum { IS_REQUIRED = 4, IS_VIRTUAL_DISK = 2 };
    memcpy(metadata, "metadata", 8);
    le16_put(metadata + 10, 5);
    uint8_t *entry = metadata + 32;
    uint32_t at = ITEMS_OFFSET;
    put_item(entry, vhdx_item_parameters, at, 8, IS_REQUIRED);
    put_item(entry + 32, vhdx_item_size, at + 8, 8, IS_REQUIRED | IS_VIRTUAL_DISK);
    put_item(entry + 64, vhdx_item_page83, at + 16, 16, IS_REQUIRED | IS_VIRTUAL_DISK);
    put_item(entry + 96, vhdx_item_logical_sector, at + 32, 4, IS_REQUIRED | IS_VIRTUAL_DISK);
    put_item(entry + 128, vhdx_item_physical_sector, at + 36, 4, IS_REQUIRED | IS_VIRTUAL_DISK);
    uint8_t *items = metadata + ITEMS_OFFSET;
    le32_put(items, (uint32_t)plan->block_bytes);
    le32_put(items + 4, plan->is_fixed ? 1 : 0);
    le64_put(items + 8, plan->size);
    memcpy(items + 16, page83->byte, UUID_BYTES);
    le32_put(items + 32, SECTOR);
    le32_put(items + 36, SECTOR);
}

static void fill_region(uint8_t *region, const Plan *plan, uint64_t metadata, uint64_t bat)
{
    memcpy(region, "regi", 4);
    le32_put(region + 8, 2);
    uint8_t *entry = region + 16;
    memcpy(entry, vhdx_region_bat, VHDX_GUID_BYTES);
    le64_put(entry + 16, bat);
    le32_put(entry + 24, (uint32_t)plan->bat_bytes);
    le32_put(entry + 28, 1);
    entry += 32;
    memcpy(entry, vhdx_region_metadata, VHDX_GUID_BYTES);
    le64_put(entry + 16, metadata);
    le32_put(entry + 24, METADATA_BYTES);
    le32_put(entry + 28, 1);
    le32_put(region + 4, vhdx_checksum(region, VHDX_REGION_BYTES, 4));
}

static int write_headers(File *file, const Plan *plan, const Uuid *file_guid, const Uuid *data_guid)
{
    for (unsigned i = 0; i < 2; i++) {
        uint8_t header[VHDX_HEADER_BYTES] = { 0 };
        memcpy(header, "head", 4);
        le64_put(header + VHDX_H_SEQUENCE, 1 + i);
        memcpy(header + VHDX_H_FILE_GUID, file_guid->byte, UUID_BYTES);
        memcpy(header + VHDX_H_DATA_GUID, data_guid->byte, UUID_BYTES);
        le16_put(header + VHDX_H_VERSION, 1);
        le32_put(header + VHDX_H_LOG_BYTES, (uint32_t)plan->log_bytes);
        le64_put(header + VHDX_H_LOG_OFFSET, LOG_OFFSET);
        le32_put(header + VHDX_H_CHECKSUM, vhdx_checksum(header, sizeof(header), VHDX_H_CHECKSUM));
        int result = file_write(file, i ? VHDX_HEADER2 : VHDX_HEADER1, header, sizeof(header));
        if (result < 0) {
            return result;
        }
    }
    return 0;
}

/* Fixed images have all blocks in order behind the table. */
static int write_bat(File *file, const Plan *plan, uint64_t bat)
{
    uint8_t raw[4096];
    uint64_t chunk = (UINT64_C(1) << 23) * SECTOR / plan->block_bytes, block = 0;
    for (uint64_t i = 0; plan->is_fixed && i < plan->entries;) {
        uint64_t first = i;
        for (; i < plan->entries && i - first < sizeof(raw) / 8; i++) {
            bool is_bitmap = i % (chunk + 1) == chunk;
            uint64_t host = bat + plan->bat_bytes + block * plan->block_bytes;
            le64_put(raw + (i - first) * 8, is_bitmap ? 0 : host | PRESENT);
            block += !is_bitmap;
        }
        int result = file_write(file, bat + first * 8, raw, (i - first) * 8);
        if (result < 0) {
            return result;
        }
    }
    return 0;
}

static int write_image(File *file, const Plan *plan, const Uuid *guids)
{
    /* "vhdxfile" and the creator's name as UTF-16. */
    static const uint8_t identifier[] = "vhdxfileL\0o\0d\0g\0e\0";
    uint64_t metadata = LOG_OFFSET + plan->log_bytes, bat = metadata + METADATA_BYTES;
    uint64_t data = bat + plan->bat_bytes;
    g_autofree uint8_t *region = g_malloc0(VHDX_REGION_BYTES);
    g_autofree uint8_t *items = g_malloc0(ITEMS_OFFSET + 4096);
    fill_region(region, plan, metadata, bat);
    fill_metadata(items, plan, &guids[2]);
    uint64_t blocks = div_round_up(plan->size, plan->block_bytes);
    int result = file_truncate(file, data + (plan->is_fixed ? blocks * plan->block_bytes : 0));
    result = result ? result : file_write(file, 0, identifier, sizeof(identifier));
    result = result ? result : write_headers(file, plan, &guids[0], &guids[1]);
    result = result ? result : file_write(file, VHDX_REGION1, region, VHDX_REGION_BYTES);
    result = result ? result : file_write(file, VHDX_REGION2, region, VHDX_REGION_BYTES);
    result = result ? result : file_write(file, metadata, items, ITEMS_OFFSET + 4096);
    return result ? result : write_bat(file, plan, bat);
}

bool vhdx_create(File *file, const char *name, const BlockSpec *options, GError **error)
{
    Plan plan = { 0 };
    Uuid guids[3];
    if (!parse(options, &plan, error)) {
        return false;
    }
    for (unsigned i = 0; i < 3; i++) {
        if (!uuid_generate(&guids[i], error)) {
            return false;
        }
    }
    int result = write_image(file, &plan, guids);
    if (result < 0) {
        lodge_error_set_errno(error, result, "cannot write the VHDX image");
    }
    return result == 0;
}

/* Firmware configuration device.
 *
 * Source: QEMU's specification "QEMU Firmware Configuration (fw_cfg) Device". Left out: writing of
 * items by the guest (answered with the error bit).
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/devices/fw-cfg.h"

#include "base/endian.h"
#include "base/int-math.h"
#include "base/log.h"
#include "gbase/error.h"
#include "vmm/device/guest-timer.h"

#include <string.h>

#define PORT_SELECTOR 0x510
#define PORT_DMA 0x514
#define DATA_OFFSET 1

#define ID_TRADITIONAL 0x01
#define ID_DMA 0x02
#define DMA_SIGNATURE UINT64_C(0x51454d5520434647) /* "QEMU CFG" */

#define DMA_ERROR 0x01
#define DMA_READ 0x02
#define DMA_SKIP 0x04
#define DMA_SELECT 0x08
#define DMA_WRITE 0x10

/* Zeroes that one transfer may write past the end of its item. */
#define PADDING_MAX (16 * MIB)

#define ARCH_ITEMS 0x20
#define GENERAL_ITEMS (FW_CFG_FILE_FIRST + FW_CFG_FILES_MAX)
#define DIRECTORY_ENTRY_BYTES 64

typedef struct Item {
    const uint8_t *bytes;
    uint8_t *owned; /* what is freed; NULL when borrowed */
    size_t length;
    char name[FW_CFG_NAME_MAX + 1]; /* of files */
} Item;

typedef struct FwCfg {
    Device dev;
    Item general[GENERAL_ITEMS];
    Item arch[ARCH_ITEMS];
    unsigned file_count;
    uint16_t key;
    uint64_t offset; /* of the next byte in the item */
    uint64_t dma_address;
    Region ports, dma;
} FwCfg;

static const Item *find_item(const FwCfg *fw, uint16_t key)
{
    if (key < GENERAL_ITEMS) {
        return &fw->general[key];
    }
    if (key >= FW_CFG_ARCH && key < FW_CFG_ARCH + ARCH_ITEMS) {
        return &fw->arch[key - FW_CFG_ARCH];
    }
    return NULL;
}

static void item_clear(Item *item)
{
    g_free(item->owned);
    item->owned = NULL;
    item->bytes = NULL;
    item->length = 0;
}

static void item_set(Item *item, const void *bytes, size_t length, bool copy)
{
    uint8_t *owned = copy && length ? g_memdup2(bytes, length) : NULL;
    item_clear(item);
    item->owned = owned;
    item->bytes = copy ? owned : bytes;
    item->length = length;
}

static Item *settable_item(Device *dev, uint16_t key)
{
    FwCfg *fw = (FwCfg *)dev;
    lodge_assert(key < FW_CFG_FILE_DIRECTORY ||
                 (key >= FW_CFG_ARCH && key < FW_CFG_ARCH + ARCH_ITEMS));
    return (Item *)find_item(fw, key);
}

void fw_cfg_set_item(Device *dev, uint16_t key, const void *bytes, size_t length)
{
    item_set(settable_item(dev, key), bytes, length, true);
}

void fw_cfg_set_borrowed(Device *dev, uint16_t key, const void *bytes, size_t length)
{
    item_set(settable_item(dev, key), bytes, length, false);
}

void fw_cfg_set_u16(Device *dev, uint16_t key, uint16_t value)
{
    uint8_t bytes[2];
    le16_put(bytes, value);
    fw_cfg_set_item(dev, key, bytes, sizeof(bytes));
}

void fw_cfg_set_u32(Device *dev, uint16_t key, uint32_t value)
{
    uint8_t bytes[4];
    le32_put(bytes, value);
    fw_cfg_set_item(dev, key, bytes, sizeof(bytes));
}

static void rebuild_directory(FwCfg *fw)
{
    size_t length = 4 + (size_t)fw->file_count * DIRECTORY_ENTRY_BYTES;
    uint8_t *bytes = g_malloc0(4 + FW_CFG_FILES_MAX * DIRECTORY_ENTRY_BYTES);
    be32_put(bytes, fw->file_count);
    for (unsigned i = 0; i < fw->file_count; i++) {
        const Item *file = &fw->general[FW_CFG_FILE_FIRST + i];
        uint8_t *entry = bytes + 4 + i * DIRECTORY_ENTRY_BYTES;
        be32_put(entry, (uint32_t)file->length);
        be16_put(entry + 4, (uint16_t)(FW_CFG_FILE_FIRST + i));
        memcpy(entry + 8, file->name, strlen(file->name));
    }
    Item *directory = &fw->general[FW_CFG_FILE_DIRECTORY];
    item_clear(directory);
    directory->owned = bytes;
    directory->bytes = bytes;
    directory->length = length;
}

/* Files are numbered in the order of their names. */
static Item *insert_file(FwCfg *fw, const char *name)
{
    Item *first = &fw->general[FW_CFG_FILE_FIRST];
    unsigned at = 0;
    while (at < fw->file_count && strcmp(first[at].name, name) < 0) {
        at++;
    }
    if (at < fw->file_count && !strcmp(first[at].name, name)) {
        return &first[at];
    }
    memmove(&first[at + 1], &first[at], (fw->file_count - at) * sizeof(first[0]));
    fw->file_count++;
    memset(&first[at], 0, sizeof(first[at]));
    memcpy(first[at].name, name, strlen(name));
    return &first[at];
}

static bool has_file(const FwCfg *fw, const char *name)
{
    for (unsigned i = 0; i < fw->file_count; i++) {
        if (!strcmp(fw->general[FW_CFG_FILE_FIRST + i].name, name)) {
            return true;
        }
    }
    return false;
}

bool fw_cfg_set_file(Device *dev, const char *name, const void *bytes, size_t length,
                     GError **error)
{
    FwCfg *fw = (FwCfg *)dev;
    if (strlen(name) > FW_CFG_NAME_MAX || !*name) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "fw_cfg file name '%s' is not of 1 to %d characters", name, FW_CFG_NAME_MAX);
        return false;
    }
    if (fw->file_count == FW_CFG_FILES_MAX && !has_file(fw, name)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_LIMIT,
                    "fw_cfg has room for %d files, not for '%s'", FW_CFG_FILES_MAX, name);
        return false;
    }
    item_set(insert_file(fw, name), bytes, length, true);
    rebuild_directory(fw);
    return true;
}

static void select_item(FwCfg *fw, uint16_t key)
{
    fw->key = key & 0xbfff; /* bit 14 asked for writing in old versions */
    fw->offset = 0;
}

/* The bytes of the present item from the offset on; *out_length 0 past its end. */
static const uint8_t *item_rest(const FwCfg *fw, size_t *out_length)
{
    const Item *item = find_item(fw, fw->key);
    if (!item || fw->offset >= item->length) {
        *out_length = 0;
        return NULL;
    }
    *out_length = item->length - fw->offset;
    return item->bytes + fw->offset;
}

static uint8_t next_byte(FwCfg *fw)
{
    size_t length;
    const uint8_t *rest = item_rest(fw, &length);
    if (!length) {
        return 0;
    }
    fw->offset++;
    return *rest;
}

/* Selector and data port overlap: the size and offset of the access tell them apart. */
static uint64_t ports_read(void *opaque, uint64_t offset, unsigned size)
{
    return offset == DATA_OFFSET ? next_byte(opaque) : 0;
}

static void ports_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    if (offset == 0 && size == 2) {
        select_item(opaque, (uint16_t)value);
    }
}

static int write_zeroes(const GuestMemory *memory, GuestAddr addr, uint64_t length)
{
    static const uint8_t zeroes[4096];
    if (length > PADDING_MAX) {
        return -1;
    }
    while (length) {
        size_t part = (size_t)min_u64(length, sizeof(zeroes));
        if (guest_memory_write(memory, addr, zeroes, part) < 0) {
            return -1;
        }
        addr += part;
        length -= part;
    }
    return 0;
}

static int dma_read(FwCfg *fw, GuestAddr addr, uint32_t length)
{
    size_t there;
    const uint8_t *rest = item_rest(fw, &there);
    size_t part = (size_t)min_u64(there, length);
    if (part && guest_memory_write(fw->dev.host->memory, addr, rest, part) < 0) {
        return -1;
    }
    fw->offset += part;
    return write_zeroes(fw->dev.host->memory, addr + part, length - part);
}

/* One command: control, length and address, big endian, at @at; control becomes the result. */
static void run_dma(FwCfg *fw, GuestAddr at)
{
    uint8_t command[16], result[4];
    const GuestMemory *memory = fw->dev.host->memory;
    if (!memory || guest_memory_read(memory, at, command, sizeof(command)) < 0) {
        log_guest_error("fw_cfg: DMA command at 0x%llx is not in RAM", (unsigned long long)at);
        return;
    }
    uint32_t control = be32_get(command);
    uint32_t length = be32_get(command + 4);
    uint64_t address = be64_get(command + 8);
    bool failed = false;
    if (control & DMA_SELECT) {
        select_item(fw, (uint16_t)(control >> 16));
    }
    if (control & DMA_READ) {
        failed = dma_read(fw, address, length) < 0;
    } else if (control & DMA_WRITE) {
        failed = true;
    } else if (control & DMA_SKIP) {
        size_t there;
        item_rest(fw, &there);
        fw->offset += min_u64(there, length);
    }
    be32_put(result, failed ? DMA_ERROR : 0);
    if (guest_memory_write(memory, at, result, sizeof(result)) < 0) {
        log_guest_error("fw_cfg: DMA command at 0x%llx is not in RAM", (unsigned long long)at);
    }
}

/* Big endian register of 64 bits; writing its low half starts the command. */
static uint64_t dma_read_register(void *opaque, uint64_t offset, unsigned size)
{
    uint8_t bytes[8];
    be64_put(bytes, DMA_SIGNATURE);
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++) {
        value |= (uint64_t)bytes[offset + i] << (8 * i);
    }
    return value;
}

static void dma_write_register(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    FwCfg *fw = opaque;
    if (size == 8) {
        fw->dma_address = be64toh(value);
    } else if (size == 4 && offset == 0) {
        fw->dma_address = (uint64_t)be32toh((uint32_t)value) << 32;
        return;
    } else if (size == 4) {
        fw->dma_address |= be32toh((uint32_t)value);
    } else {
        return;
    }
    uint64_t at = fw->dma_address;
    fw->dma_address = 0;
    run_dma(fw, at);
}

static const RegionOps ports_ops = { ports_read, ports_write, 1, 2 };
static const RegionOps dma_ops = { dma_read_register, dma_write_register, 1, 8 };

static bool fw_cfg_realize(Device *dev, GError **error)
{
    FwCfg *fw = (FwCfg *)dev;
    fw->ports = (Region){ "fw-cfg", 2, &ports_ops, fw, &dev->lock };
    fw->dma = (Region){ "fw-cfg-dma", 8, &dma_ops, fw, &dev->lock };
    if (!device_map_ports(dev, PORT_SELECTOR, &fw->ports, error)) {
        return false;
    }
    if (!device_map_ports(dev, PORT_DMA, &fw->dma, error)) {
        device_unmap_ports(dev, PORT_SELECTOR);
        return false;
    }
    fw_cfg_set_item(dev, FW_CFG_SIGNATURE, "QEMU", 4);
    fw_cfg_set_u32(dev, FW_CFG_ID, ID_TRADITIONAL | (dev->host->memory ? ID_DMA : 0));
    rebuild_directory(fw);
    return true;
}

static void fw_cfg_unrealize(Device *dev)
{
    FwCfg *fw = (FwCfg *)dev;
    device_unmap_ports(dev, PORT_SELECTOR);
    device_unmap_ports(dev, PORT_DMA);
    for (unsigned i = 0; i < GENERAL_ITEMS; i++) {
        item_clear(&fw->general[i]);
    }
    for (unsigned i = 0; i < ARCH_ITEMS; i++) {
        item_clear(&fw->arch[i]);
    }
    fw->file_count = 0;
}

static void fw_cfg_reset(Device *dev, ResetKind kind)
{
    FwCfg *fw = (FwCfg *)dev;
    select_item(fw, 0);
    fw->dma_address = 0;
}

/* Items are configuration, which the other side has itself; where a guest was reading is state. */
static const StateField fw_cfg_fields[] = {
    STATE_FIELD(FwCfg, STATE_U16, key),
    STATE_FIELD(FwCfg, STATE_U64, offset),
    STATE_FIELD(FwCfg, STATE_U64, dma_address),
    STATE_END,
};
static const StateTable fw_cfg_state = { .name = "fw-cfg", .fields = fw_cfg_fields };

const DeviceClass fw_cfg_class = {
    .name = "fw_cfg",
    .summary = "configuration for firmware",
    .bus = DEVICE_BUS_SYSTEM,
    .is_internal = true,
    .instance_size = sizeof(FwCfg),
    .state = &fw_cfg_state,
    .realize = fw_cfg_realize,
    .unrealize = fw_cfg_unrealize,
    .reset = fw_cfg_reset,
};

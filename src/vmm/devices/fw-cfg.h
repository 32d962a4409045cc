/* Firmware configuration device: items of bytes by number, files by name, read by ports or DMA.
 *
 * Ports 0x510 (selector), 0x511 (data), 0x514-0x51b (DMA). Items are added on the main thread
 * before the guest runs, or while it is paused. SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_VMM_DEVICES_FW_CFG_H
#define LODGE_VMM_DEVICES_FW_CFG_H

#include "vmm/device/device.h"

/* Well-known item numbers. */
enum {
    FW_CFG_SIGNATURE = 0x00,
    FW_CFG_ID = 0x01,
    FW_CFG_UUID = 0x02,
    FW_CFG_RAM_SIZE = 0x03,
    FW_CFG_NOGRAPHIC = 0x04,
    FW_CFG_NB_CPUS = 0x05,
    FW_CFG_KERNEL_ADDR = 0x07,
    FW_CFG_KERNEL_SIZE = 0x08,
    FW_CFG_INITRD_ADDR = 0x0a,
    FW_CFG_INITRD_SIZE = 0x0b,
    FW_CFG_NUMA = 0x0d,
    FW_CFG_BOOT_MENU = 0x0e,
    FW_CFG_MAX_CPUS = 0x0f,
    FW_CFG_KERNEL_DATA = 0x11,
    FW_CFG_INITRD_DATA = 0x12,
    FW_CFG_CMDLINE_ADDR = 0x13,
    FW_CFG_CMDLINE_SIZE = 0x14,
    FW_CFG_CMDLINE_DATA = 0x15,
    FW_CFG_SETUP_ADDR = 0x16,
    FW_CFG_SETUP_SIZE = 0x17,
    FW_CFG_SETUP_DATA = 0x18,
    FW_CFG_FILE_DIRECTORY = 0x19,
    FW_CFG_FILE_FIRST = 0x20,
    FW_CFG_ARCH = 0x8000, /* architecture's own: + 0 ACPI, 1 SMBIOS, 2 irq0 override, 3 e820 */
};

#define FW_CFG_FILES_MAX 64
#define FW_CFG_NAME_MAX 55

extern const DeviceClass fw_cfg_class;

/* Item @key (below FW_CFG_FILE_FIRST, or FW_CFG_ARCH + 0..0x1f) becomes a copy of @bytes; an item
 * that was there is replaced. The key is a bug of the caller if it is not in range. */
void fw_cfg_set_item(Device *fw_cfg, uint16_t key, const void *bytes, size_t length);
void fw_cfg_set_u16(Device *fw_cfg, uint16_t key, uint16_t value);
void fw_cfg_set_u32(Device *fw_cfg, uint16_t key, uint32_t value);

/* As fw_cfg_set_item(), but @bytes are borrowed: they stay while the device lives. For kernels and
 * initial RAM disks. */
void fw_cfg_set_borrowed(Device *fw_cfg, uint16_t key, const void *bytes, size_t length);

/* File @name becomes a copy of @bytes. False: too many files, or a name too long. */
bool fw_cfg_set_file(Device *fw_cfg, const char *name, const void *bytes, size_t length,
                     GError **error);

#endif

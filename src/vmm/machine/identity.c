/* What the guest reads about its hardware: -smbios, -uuid and the machine, as SMBIOS tables.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/firmware/smbios.h"
#include "vmm/machine/pc.h"

#include <string.h>

#define MANUFACTURER "Lodge"

static const char *or_default(const char *text, const char *fallback)
{
    return text ? text : fallback;
}

static void fill_texts(const Machine *machine, SmbiosInfo *info)
{
    const SmbiosConfig *c = &machine->config->smbios;
    info->bios_vendor = or_default(c->bios.vendor, MANUFACTURER);
    info->bios_version = or_default(c->bios.version, LODGE_VERSION);
    info->bios_date = or_default(c->bios.date, "01/01/2026");
    info->system = (SmbiosSystem){
        .manufacturer = or_default(c->system.manufacturer, MANUFACTURER),
        .product = or_default(c->system.product, machine->type->summary),
        .version = or_default(c->system.version, machine->type->name),
        .serial = c->system.serial,
        .sku = c->system.sku,
        .family = c->system.family,
    };
    info->board = (SmbiosBoard){
        .manufacturer = or_default(c->board.manufacturer, MANUFACTURER),
        .product = c->board.product,
        .version = c->board.version,
        .serial = c->board.serial,
        .asset = c->board.asset,
        .location = c->board.location,
    };
    info->has_board = c->board.manufacturer || c->board.product || c->board.version ||
                      c->board.serial || c->board.asset || c->board.location;
    info->chassis = (SmbiosChassis){
        .manufacturer = or_default(c->chassis.manufacturer, MANUFACTURER),
        .version = or_default(c->chassis.version, machine->type->name),
        .serial = c->chassis.serial,
        .asset = c->chassis.asset,
        .sku = c->chassis.sku,
    };
    info->oem_strings = (const char *const *)c->oem_strings->pdata;
    info->oem_count = c->oem_strings->len;
}

GByteArray *pc_build_smbios(const Machine *machine, GuestAddr base)
{
    const CpuTopology *t = &machine->topology;
    const CpuidLeaf *leaf = cpuid_table_find(&machine->cpuid_limits, 1, 0);
    SmbiosInfo info = {
        .sockets = t->sockets,
        .cores = t->dies * t->cores,
        .threads = t->dies * t->cores * t->threads,
        .cpu_signature = leaf ? leaf->eax : 0,
        .low_ram_bytes = machine->low_ram_bytes,
        .high_ram_bytes = machine->high_ram_bytes,
    };
    fill_texts(machine, &info);
    memcpy(info.uuid, machine->config->uuid.byte, sizeof(info.uuid));
    return smbios_build(&info, base);
}

/* What is done with definitions of domains: text to struct and back, devices in and out.
 *
 * Pure: nothing here reads files or asks the host; what depends on it comes in DomainEnvironment.
 * Any thread; the caller guards the definitions.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_CONF_DOMAIN_DOMAIN_H
#define LODGE_CONF_DOMAIN_DOMAIN_H

#include "conf/domain/domain-def.h"

/* What the definition's gaps are filled from; filled in by the daemon. */
typedef struct DomainEnvironment {
    /* Path of the emulator for @virt and @arch, or NULL: none. Borrowed. */
    const char *(*default_emulator)(void *opaque, DomainVirtType virt, const char *arch);
    /* The machine's full name for an alias ("q35" gives "pc-q35-7.2"), the default machine for
     * NULL; NULL: @emulator has no such machine. Borrowed. */
    const char *(*canonical_machine)(void *opaque, const char *emulator, const char *arch,
                                     const char *machine);
    /* The CPU model that a domain without <cpu> gets ("qemu64"), or NULL: leave it out. Borrowed.
     */
    const char *(*default_cpu)(void *opaque, const char *emulator, DomainVirtType virt);
    void *opaque;
    const char *nvram_dir; /* where UEFI guests keep their variables, or NULL. Borrowed. */
    /* The model of an <interface> that names none; NULL, or the function's: "rtl8139". Borrowed. */
    const char *(*default_nic)(void *opaque, const char *emulator);
} DomainEnvironment;

/* virDomainDefParse's and VIR_DOMAIN_DEFINE_*'s wishes. */
typedef enum DomainParseFlags {
    DOMAIN_PARSE_INACTIVE = XML_PARSE_INACTIVE, /* a definition to keep, not a running domain */
    DOMAIN_PARSE_VALIDATE = XML_PARSE_STRICT,   /* unknown elements are errors */
    DOMAIN_PARSE_KEEP = 1 << 8, /* text of ours: nothing is filled in, no warnings */
} DomainParseFlags;

typedef enum DomainFormatFlags {
    DOMAIN_FORMAT_INACTIVE = XML_FORMAT_INACTIVE, /* without what only running domains have */
    DOMAIN_FORMAT_SECURE = XML_FORMAT_SECURE,
    DOMAIN_FORMAT_MIGRATABLE = XML_FORMAT_MIGRATABLE,
} DomainFormatFlags;

/**
 * domain_def_parse - a definition from its XML, checked and filled in
 * @env:      for defaults; may be NULL with DOMAIN_PARSE_KEEP
 * @warnings: (nullable) gets char *: elements left out because they are unknown
 *
 * Fills in what clients rely on: UUID, MAC addresses, controllers and their indexes, addresses,
 * target names, console and serial, video, memory balloon, implicit inputs, canonical machine.
 * Returns: NULL with CONF_ERROR and libvirt's code; messages name line and element.
 */
DomainDef *domain_def_parse(const char *xml, unsigned flags, const DomainEnvironment *env,
                            GPtrArray *warnings, GError **error);

/* libvirt's XML. @flags: DomainFormatFlags. (transfer full) */
char *domain_def_format(const DomainDef *def, unsigned flags);

/* Checks that need the whole definition; done by domain_def_parse() too. */
bool domain_def_validate(const DomainDef *def, GError **error);

/* <block> and <requested> of <memory model='virtio-mem'>: of which the guest takes and gives back
 * blocks. CONF_ERROR_XML_DETAIL. */
bool domain_memory_check_blocks(const DomainMemory *memory, GError **error);

/* Of these, what <on_poweroff>, <on_reboot> and <on_crash> may be, alone and together. */
bool domain_def_check_lifecycle(const DomainDef *def, GError **error);

/* Gives every device an alias ("virtio-disk0", "net0", ...) that has none. For running domains. */
void domain_def_assign_aliases(DomainDef *def);
/* Puts controllers and addresses where devices lack them. */
bool domain_def_assign_addresses(DomainDef *def, GError **error);

/* The few facts for lists, without building the definition. */
typedef struct DomainSummary {
    char *name, *title;
    Uuid uuid;
    DomainVirtType virt;
    uint64_t memory, current_memory; /* KiB */
    uint32_t vcpus, current_vcpus;
} DomainSummary;

/* @xml: as domain_def_format() made it. */
bool domain_summary_parse(const char *xml, DomainSummary *out, GError **error);
void domain_summary_clear(DomainSummary *summary);

/* --- one device --- */

/* "disk", "interface", ...: the element. */
const char *domain_device_kind_name(DomainDeviceKind kind);

/**
 * domain_device_parse - the XML of one device, as attach, detach and update get it
 * @def:   (nullable) the domain it is for: defaults depend on it
 * @env:   (nullable) what the host says of the domain's emulator
 * @flags: DomainParseFlags
 *
 * Addresses and target names are not chosen; domain_def_insert() does.
 */
DomainDevice *domain_device_parse(const char *xml, const DomainDef *def,
                                  const DomainEnvironment *env, unsigned flags, GPtrArray *warnings,
                                  GError **error);
char *domain_device_format(const DomainDevice *device, unsigned flags);
void domain_device_free(DomainDevice *device);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DomainDevice, domain_device_free)
DomainDevice *domain_device_copy(const DomainDevice *device);
/* Takes out what only a running guest's has. */
void domain_device_strip_live(DomainDevice *device);
/* Whether both have the same XML, addresses and aliases apart that one of them lacks. */
bool domain_device_equal(const DomainDevice *a, const DomainDevice *b);

/**
 * domain_def_find - the device that a client means by @like
 *
 * Disks are found by target or source, interfaces by MAC (and address, alias), all others by alias,
 * address or contents. Returns: borrowed from @def; NULL with CONF_ERROR_DEVICE_MISSING, or
 * CONF_ERROR_OPERATION_FAILED when several match.
 */
DomainDevice *domain_def_find(const DomainDef *def, const DomainDevice *like, GError **error);
DomainDevice *domain_def_find_alias(const DomainDef *def, const char *alias);
/* By target ("vda"), or by the path of its source; NULL when there is none. */
DomainDisk *domain_def_find_disk(const DomainDef *def, const char *target_or_path);
/* By tap's name or MAC text. */
DomainInterface *domain_def_find_interface(const DomainDef *def, const char *dev_or_mac);

/**
 * domain_def_insert - add a device
 * @device: (transfer full) on success
 *
 * Chooses its address, and makes controllers for it. Returns: false with CONF_ERROR_* when its
 * target, address or alias is taken, or there is no room; @def is then unchanged.
 */
bool domain_def_insert(DomainDef *def, DomainDevice *device, GError **error);
/* Puts @device (transfer full), of the same kind, in the place of @old, which is freed; its alias
 * and address are those of @old where it has none. */
void domain_def_replace(DomainDef *def, DomainDevice *old, DomainDevice *device);
/* Takes @device out of @def. (transfer full) */
DomainDevice *domain_def_remove(DomainDef *def, DomainDevice *device);

/* Calls @func for every device in the order of their kinds until it returns false. */
bool domain_def_for_each(const DomainDef *def, bool (*func)(DomainDevice *device, void *opaque),
                         void *opaque);

/* "q35", "i440fx", "microvm" and others by the machine's name. */
bool domain_def_is_q35(const DomainDef *def);
bool domain_def_is_i440fx(const DomainDef *def);
bool domain_def_is_microvm(const DomainDef *def);
/* The file in @nvram_dir for the firmware's variables of a guest of that name. (transfer full) */
char *domain_def_nvram_path(const DomainDef *def, const char *nvram_dir);
/* The definition @text with its <nvram> naming the file @path. (transfer full) NULL: @error. */
char *domain_text_set_nvram(const char *text, const char *path, GError **error);
/* The file that <nvram> names, as its text or <source file>; NULL: none, or it is no file.
 * Borrowed. */
const char *domain_os_nvram_path(const DomainOs *os);
/* Memory without DIMMs, KiB: what the guest has at its start. */
uint64_t domain_def_initial_memory(const DomainDef *def);

#endif

/* The tables that map the domain XML, one file for each group of elements. Private to this folder.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_CONF_DOMAIN_TABLES_H
#define LODGE_CONF_DOMAIN_TABLES_H

#include "conf/domain/domain-def.h"

#define FIELDS(...) ((const XmlField[]){ __VA_ARGS__, XML_END })

/* How one kind of device is read. */
typedef struct DeviceTable {
    const char *element;
    size_t size;
    const XmlField *fields; /* the struct begins with a DomainDevice */
} DeviceTable;

extern const DeviceTable device_tables[DOMAIN_DEVICE_KINDS];

/* Of DomainDevice: before and after a device's own elements. */
extern const XmlField device_fields[];
extern const XmlField address_fields[];      /* DomainAddress: <address type= .../> */
extern const XmlField pci_address_fields[];  /* DomainAddress: <address domain= .../> */
extern const XmlField virtio_fields[];       /* DomainVirtioOptions */
extern const XmlField seclabel_fields[];     /* DomainSeclabel */
extern const XmlField secret_ref_fields[];   /* DomainSecretRef */
extern const XmlField source_host_fields[];  /* DomainSourceHost */
extern const XmlField nvram_source_fields[]; /* DomainSource: <source> of its type */

extern const XmlField disk_fields[], controller_fields[], filesystem_fields[], interface_fields[];
extern const XmlField chardev_fields[];         /* DomainChardev: attribute "type" and children */
extern const XmlField chardev_content_fields[]; /* the same without the attribute */
extern const XmlField smartcard_fields[], serial_fields[], parallel_fields[], console_fields[];
extern const XmlField channel_fields[], redirdev_fields[];
extern const XmlField input_fields[], graphics_fields[], sound_fields[], audio_fields[];
extern const XmlField video_fields[], hub_fields[];
extern const XmlField hostdev_fields[], redirfilter_fields[];
extern const XmlField tpm_fields[], watchdog_fields[], memballoon_fields[], rng_fields[];
extern const XmlField nvram_fields[], panic_fields[], shmem_fields[], memory_fields[];
extern const XmlField iommu_fields[], vsock_fields[];

/* Of DomainDef. */
extern const XmlField sysinfo_fields[];   /* DomainSysinfo */
extern const XmlField os_fields[];        /* DomainOs */
extern const XmlField features_fields[];  /* DomainFeatures */
extern const XmlField cpu_fields[];       /* DomainCpu */
extern const XmlField clock_fields[];     /* DomainClock */
extern const XmlField domain_fields[];    /* all of <domain> but its devices */
extern const XmlHook domain_devices_hook; /* <devices> */

#endif

/* Steps of domain_def_parse() after the XML is in the structs. Private to this folder.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_CONF_DOMAIN_POST_PARSE_H
#define LODGE_CONF_DOMAIN_POST_PARSE_H

#include "conf/domain/domain.h"

#define DEVICES(def, kind) (&(def)->devices[kind])

/* A zeroed device of the kind, appended. */
void *domain_def_add(DomainDef *def, DomainDeviceKind kind);
void *domain_device_new(DomainDeviceKind kind);

/* Fills in what the definition left open, devices' own defaults first. */
bool domain_def_post_parse(DomainDef *def, const DomainEnvironment *env, GError **error);
/* <os firmware>, <loader> and <nvram>, once the machine is known. */
bool domain_def_fill_firmware(DomainDef *def, const DomainEnvironment *env, GError **error);
/* A device's own defaults; @def and @env may be NULL. */
bool domain_device_post_parse(DomainDevice *device, const DomainDef *def,
                              const DomainEnvironment *env, GError **error);
/* Controllers that devices of the definition need by their drive and virtio-serial addresses. */
void domain_def_add_controllers(DomainDef *def);
/* The controller of that type and index, or NULL. */
DomainController *domain_def_controller(const DomainDef *def, DomainControllerType type,
                                        uint64_t index);
/* A new one with the next free index (or @index), at its place among those of its type. */
DomainController *domain_def_add_controller(DomainDef *def, DomainControllerType type, int index,
                                            DomainControllerModel model);
/* A controller's default model. */
void domain_controller_fill(DomainController *controller);
/* Choosing addresses and names looks at each device for each: there is a bound. */
#define DOMAIN_DEVICES_MAX 4096u
bool domain_def_check_number(const DomainDef *def, GError **error);

/* Takes out what only running domains have. */
void domain_def_strip_live(DomainDef *def);

/* Back ends of sound against each other, and what names one. */
bool domain_def_check_audio(const DomainDef *def, GError **error);

/* Number of a disk's target name without its prefix: "vda" 0, "sdaa" 26; -1: no such name. */
int domain_disk_index(const char *target);

/* Puts disks of one bus together, by their targets' indexes; buses keep the order they began in.
 * The first of a kind is what <os><boot> means. */
void domain_def_sort_disks(DomainDef *def);

/* @with_spare: make a free PCI slot if there is none. */
bool domain_def_assign_all(DomainDef *def, bool with_spare, GError **error);
bool domain_def_assign_pci(DomainDef *def, bool with_spare, GError **error);
bool domain_def_assign_usb(DomainDef *def, GError **error);
void domain_def_assign_serial_ports(DomainDef *def);

#endif

/* What the files of command lines share.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_COMMAND_LINE_PRIVATE_H
#define LODGE_DAEMON_DOMAIN_COMMAND_LINE_PRIVATE_H

#include "daemon/domain/command-line.h"

/* @value: (transfer full, nullable) */
void line_add(CommandLine *line, const char *option, char *value);

/* Refuses what QEMU has: "lodge-vmm has no WHAT; <emulator>... has". Returns: false. */
bool line_refuse(const CommandLine *line, GError **error, const char *fmt, ...) G_GNUC_PRINTF(3, 4);
/* The same; QEMU is named as the way out where it is one (@qemu_has). */
bool line_refuse_unless(const CommandLine *line, bool qemu_has, GError **error, const char *fmt,
                        ...) G_GNUC_PRINTF(4, 5);

/* Passes @fd (transfer full); returns its set, for /dev/fdset/SET. */
unsigned line_add_fd(CommandLine *line, int fd);

/* The same into a set that there is. */
void line_add_fd_to(CommandLine *line, unsigned set, int fd);

/* Adds a descriptor for reading the file of @fd to its set: QEMU opens each image for reading
 * first, and takes only a descriptor of just that mode. */
bool line_add_reader(CommandLine *line, unsigned set, int fd, GError **error);

/* Commas doubled (transfer full). */
char *line_escape(const char *text);

/* -device and what is behind it, for all devices of the definition, or for one. */
bool line_add_devices(CommandLine *line, GError **error);
bool line_add_device(CommandLine *line, DomainDevice *device, GError **error);

/* Whether the engine has all that the domain, or one device, asks for: command-line-options.c. */
bool line_check_options(const CommandLine *line, GError **error);
bool line_check_device_options(const CommandLine *line, const DomainDevice *device, GError **error);

/* "virtio-net-pci", or its virtio-mmio form. (transfer full) */
char *line_virtio_name(const CommandLine *line, const char *kind);

/* @text (transfer full) with ",bootindex=", ROM and ACPI index of @device. (transfer full) */
char *line_finish(const CommandLine *line, char *text, const DomainDevice *device);

/* -boot, and what numbers a device by its <boot order> or <os><boot>: command-line-boot.c. */
void line_add_boot(CommandLine *line);
/* ",bootindex=1" or "". (transfer full) */
char *line_boot_index(const CommandLine *line, const DomainDevice *device);
/* The controller of floppy disks, which has their numbers: a device (transfer full), or NULL with
 * -global where the chipset has it. */
char *line_floppy_controller(CommandLine *line);

/* ",iommu_platform=on" and the like. (transfer full) */
char *line_virtio_options(const DomainVirtioOptions *options);

void line_append_tri(GString *text, const char *name, TriState value);

/* -cpu, and what belongs to it: command-line-cpu.c. */
void line_add_cpu(CommandLine *line);
/* -m, -smp, -numa, back ends of memory. */
bool line_add_memory(CommandLine *line, GError **error);
/* Whether RAM comes from an -object, "pc.ram". */
bool line_has_memory_backend(const CommandLine *line);
/* The -object and the -device of <memory>. */
bool line_add_memory_device(CommandLine *line, DomainDevice *device, GError **error);

/* command-line-chardev.c, -disk.c, -9p.c, -net.c */
/* -chardev with the id "char" and @alias. @name: of the device, for people. */
bool line_add_chardev(CommandLine *line, DomainChardev *source, const char *alias, const char *name,
                      GError **error);
bool line_add_serial(CommandLine *line, DomainDevice *device, GError **error);
bool line_add_parallel(CommandLine *line, DomainDevice *device, GError **error);
bool line_add_console(CommandLine *line, DomainDevice *device, GError **error);
bool line_add_channel(CommandLine *line, DomainDevice *device, GError **error);
bool line_add_disk(CommandLine *line, DomainDevice *device, GError **error);
/* Whether the engine has the disk on its bus, the interface with its model. */
bool line_check_disk(const CommandLine *line, const DomainDisk *disk, GError **error);
bool line_check_interface(const CommandLine *line, const DomainInterface *interface,
                          GError **error);
bool line_add_9p(CommandLine *line, DomainDevice *device, GError **error);
bool line_add_interface(CommandLine *line, DomainDevice *device, GError **error);

/* command-line-host.c: devices that have a part of the host behind them. */
bool line_add_hostdev(CommandLine *line, DomainDevice *device, GError **error);
bool line_add_vsock(CommandLine *line, DomainDevice *device, GError **error);
bool line_add_shmem(CommandLine *line, DomainDevice *device, GError **error);
bool line_add_redirdev(CommandLine *line, DomainDevice *device, GError **error);
/* Types 'passthrough' and 'evdev' alone. */
bool line_add_host_input(CommandLine *line, DomainDevice *device, GError **error);

/* Cards and back ends of sound: command-line-sound.c. */
bool line_add_sound(CommandLine *line, DomainDevice *device, GError **error);
bool line_add_audio(CommandLine *line, DomainDevice *device, GError **error);
/* ",audiodev=audioN": the back end that is named, else the guest's first. Left to itself, QEMU
 * looks for one of the host's. */
void line_append_audiodev(const CommandLine *line, GString *text, const OptUint *id);

/* ",bus=usb.0,port=1" (transfer full) */
char *line_usb_address(const DomainDevice *device);

/* Devices that another process serves: command-line-helper.c. */
bool line_add_tpm(CommandLine *line, DomainDevice *device, GError **error);
bool line_add_virtiofs(CommandLine *line, DomainDevice *device, GError **error);

/* ",bus=pci.1,addr=0x0" for a PCI address, or "". (transfer full) */
char *line_address(const CommandLine *line, const DomainDevice *device);

#endif

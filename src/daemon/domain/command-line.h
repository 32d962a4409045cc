/* From a definition to the arguments of the engine that runs it: lodge-vmm or qemu-system-*.
 *
 * The daemon opens what the guest uses; the arguments name descriptors. What the engine does not
 * have is refused, naming the device and an engine that has it.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LODGE_DAEMON_DOMAIN_COMMAND_LINE_H
#define LODGE_DAEMON_DOMAIN_COMMAND_LINE_H

#include "conf/domain/domain.h"
#include "daemon/domain/domain.h"

/* How the guest's things are opened; a test has others. All return a descriptor (transfer full) or
 * -1 with @error. */
typedef struct CommandLineOps {
    int (*open_disk)(void *opaque, const DomainDisk *disk, GError **error);
    int (*open_file)(void *opaque, const char *path, bool for_writing, GError **error);
    int (*listen_unix)(void *opaque, const char *path, GError **error);
    int (*open_tap)(void *opaque, DomainInterface *interface, GError **error);
} CommandLineOps;

typedef struct CommandLine {
    GuestEngine engine;
    const DomainDef *def;
    const CommandLineOps *ops;
    void *opaque;
    const char *socket_dir; /* for unix sockets without a path */
    GPtrArray *args;        /* of char * */
    GArray *fds;            /* of int, owned: to be inherited */
    unsigned next_set;
} CommandLine;

GuestEngine command_line_engine(const char *emulator);

/**
 * command_line_build - all arguments, the program first
 * @def:        with aliases and addresses; unix channels and taps get their names filled in
 * @monitor_fd: (transfer full) listening socket of the monitor
 *
 * NULL with @error (CONFIG_UNSUPPORTED or what an open met).
 */
CommandLine *command_line_build(DomainDef *def, const CommandLineOps *ops, void *opaque,
                                const char *socket_dir, int monitor_fd, GError **error);
void command_line_free(CommandLine *line);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CommandLine, command_line_free)

/* Whether @engine has all of @def; false with @error. Without opening anything. */
bool command_line_check(const DomainDef *def, GError **error);

/* --- pieces that hot-plug shares --- */

/* "virtio-blk-pci,drive=..." and the like, as a QMP object too: NAME=VALUE,... */
char *command_line_disk_device(CommandLine *line, const DomainDisk *disk, GError **error);
char *command_line_disk_drive(CommandLine *line, const DomainDisk *disk, unsigned set);
char *command_line_net_device(CommandLine *line, const DomainInterface *interface, GError **error);
char *command_line_netdev(CommandLine *line, DomainInterface *interface, GError **error);
/* Any other device without a back end of its own; NULL without @error: nothing is needed. */
char *command_line_simple_device(CommandLine *line, DomainDevice *device, GError **error);

/* Turns "driver,a=b,c=d" into the arguments of device_add or netdev_add (@first: name of the word
 * before the first comma). */
JsonObject *command_line_to_qmp(const char *text, const char *first);

#endif

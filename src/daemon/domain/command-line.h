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
    /* Optional. A descriptor to be opened again through /proc/self/fd where the guest cannot open
     * @path itself; -1 without @error where it can. */
    int (*lend_file)(void *opaque, const char *path, GError **error);
    int (*listen_unix)(void *opaque, const char *path, GError **error);
    /* A device node as it is, never made. @flags: of open(). */
    int (*open_device)(void *opaque, const char *path, int flags, GError **error);
    int (*connect_unix)(void *opaque, const char *path, GError **error);
    /* Starts the process that does the device's work; the engine's end of the connection to it. */
    int (*start_helper)(void *opaque, DomainDevice *device, GError **error);
    bool has_images; /* what open_disk gave may be read, for its backing files */
    int (*open_tap)(void *opaque, DomainInterface *interface, GError **error);
    /* As host_vsock_open() and host_device_take(). */
    int (*open_vsock)(void *opaque, DomainVsock *vsock, GError **error);
    bool (*take_hostdev)(void *opaque, DomainHostdev *hostdev, int *out_fd, GError **error);
} CommandLineOps;

typedef struct CommandLine {
    GuestEngine engine;
    const DomainDef *def;
    const CommandLineOps *ops;
    void *opaque;
    bool is_whole;          /* of a guest, not of one device */
    const char *socket_dir; /* for unix sockets without a path, made by the daemon */
    GPtrArray *args;        /* of char * */
    GPtrArray *env;         /* of char *, "NAME=VALUE": besides the daemon's */
    GArray *fds;            /* of int, owned: to be inherited */
    const char *owner;      /* alias of the device that is added, or NULL; marks descriptor sets */
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

/* Below it, for what the engine makes by itself: that alone is its user's. */
#define ENGINE_FOLDER "own"

/* The arguments of one device alone, for a guest that runs: without a program, sets of descriptors
 * from @first_set + 1 on. */
CommandLine *command_line_for_device(DomainDef *def, DomainDevice *device,
                                     const CommandLineOps *ops, void *opaque,
                                     const char *socket_dir, unsigned first_set, GError **error);

/* Elements of <hyperv> that QEMU's command lines have, in order; NULL after the last. Those with
 * values alone are more than words without @is_kvm. */
const char *command_line_hyperv(unsigned index, bool is_kvm);

void command_line_free(CommandLine *line);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CommandLine, command_line_free)

/* Turns "driver,a=b,c=d" into the arguments of device_add or netdev_add (@first: name of the word
 * before the first comma). Numbers and on/off get those types; "hostfwd" becomes a list. */
JsonObject *command_line_to_qmp(const char *text, const char *first);

#endif

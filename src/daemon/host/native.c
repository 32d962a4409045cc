/* Domains as command lines of their engines.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "daemon/domain/command-line.h"
#include "daemon/domain/guest-firmware.h"
#include "daemon/domain/service.h"
#include "daemon/error.h"
#include "daemon/host/host.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* Nothing is opened: the numbers in the text are those of descriptors without use. */
static int open_nothing(GError **error)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        daemon_error_set(error, DAEMON_ERROR_SYSTEM, "cannot open '/dev/null'");
    }
    return fd;
}

static int no_disk(void *opaque, const DomainDisk *disk, GError **error)
{
    (void)opaque;
    (void)disk;
    return open_nothing(error);
}

static int no_file(void *opaque, const char *path, bool for_writing, GError **error)
{
    (void)opaque;
    (void)path;
    (void)for_writing;
    return open_nothing(error);
}

static int no_socket(void *opaque, const char *path, GError **error)
{
    (void)opaque;
    (void)path;
    return open_nothing(error);
}

static int no_tap(void *opaque, DomainInterface *interface, GError **error)
{
    (void)opaque;
    (void)interface;
    return open_nothing(error);
}

static int no_vsock(void *opaque, DomainVsock *vsock, GError **error)
{
    return open_nothing(error);
}

static bool no_hostdev(void *opaque, DomainHostdev *hostdev, int *out_fd, GError **error)
{
    bool has_fd = hostdev->type == HOSTDEV_USB || hostdev->type == HOSTDEV_SCSI;
    *out_fd = has_fd ? open_nothing(error) : -1;
    return !has_fd || *out_fd >= 0;
}

static int no_device(void *opaque, const char *path, int flags, GError **error)
{
    (void)opaque;
    (void)path;
    (void)flags;
    return open_nothing(error);
}

static int no_helper(void *opaque, DomainDevice *device, GError **error)
{
    (void)opaque;
    (void)device;
    return open_nothing(error);
}

static const CommandLineOps nothing = {
    .open_disk = no_disk,
    .open_file = no_file,
    .listen_unix = no_socket,
    .open_tap = no_tap,
    .open_vsock = no_vsock,
    .take_hostdev = no_hostdev,
    .open_device = no_device,
    .connect_unix = no_socket,
    .start_helper = no_helper,
};

static char *quote_all(const GPtrArray *args)
{
    GString *text = g_string_new(NULL);
    for (guint i = 0; i < args->len && args->pdata[i]; i++) {
        const char *word = args->pdata[i];
        bool is_plain = *word && !strpbrk(word, " \t\n\"'\\$`*?[](){}<>|&;#~!");
        g_autofree char *quoted = is_plain ? g_strdup(word) : g_shell_quote(word);
        g_string_append_printf(text, "%s%s", i ? " " : "", quoted);
    }
    g_string_append_c(text, '\n');
    return g_string_free(text, FALSE);
}

/* The first port, where the start is to choose one. */
static void choose_ports(DomainDef *def)
{
    for (unsigned i = 0; i < def->devices[DEVICE_GRAPHICS].count; i++) {
        DomainGraphics *graphics = def->devices[DEVICE_GRAPHICS].item[i];
        graphics->port = graphics->port > 0 ? graphics->port : 5900;
    }
}

bool handle_connect_domain_xml_to_native(DaemonCall *call,
                                         const RemoteConnectDomainXmlToNativeArgs *args,
                                         RemoteConnectDomainXmlToNativeRet *ret, GError **error)
{
    if (!daemon_check_flags(args->flags, 0, error)) {
        return false;
    }
    if (strcmp(args->native_format, "qemu-argv") != 0) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "unsupported config type %s; there is: qemu-argv", args->native_format);
        return false;
    }
    g_autoptr(DomainDef) def =
        domain_def_parse(args->domain_xml, DOMAIN_PARSE_INACTIVE,
                         service_environment(call_daemon(call)->domains), NULL, error);
    if (!def) {
        return false;
    }
    const Daemon *daemon = call_daemon(call);
    FirmwareHost host = { .is_session = daemon->session, .nvram_dir = daemon->domains->nvram_dir };
    if (!guest_firmware_choose(def, &host, false, error)) {
        return false;
    }
    domain_def_assign_aliases(def);
    choose_ports(def);
    int monitor_fd = open_nothing(error);
    g_autoptr(CommandLine) line =
        monitor_fd >= 0 ? command_line_build(def, &nothing, NULL, "", monitor_fd, error) : NULL;
    if (!line) {
        return false;
    }
    ret->native_config = arena_take(call_arena(call), quote_all(line->args), NULL);
    return true;
}

bool handle_connect_domain_xml_from_native(DaemonCall *call,
                                           const RemoteConnectDomainXmlFromNativeArgs *args,
                                           RemoteConnectDomainXmlFromNativeRet *ret, GError **error)
{
    (void)call;
    (void)args;
    (void)ret;
    daemon_error_set(error, DAEMON_ERROR_NO_SUPPORT,
                     "this function is not supported by the connection driver: command lines are "
                     "not turned into domains; virt-install --import makes one of a disk");
    return false;
}

/* Arguments of character devices: what the guest sees, and where it leads on the host.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/command-line-private.h"
#include "daemon/domain/device-table.h"
#include "gbase/error.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Of a socket in the guest's folder, by what it is for, else by the back end's @id: others have
 * theirs there too, the daemon among them. (transfer full) */
static char *make_up_path(const CommandLine *line, const char *name, const char *id)
{
    struct stat st;
    g_autofree char *file = g_strdup(name);
    g_strdelimit(file, "/", '_');
    char *path = g_build_filename(line->socket_dir, file, NULL);
    if (lstat(path, &st) == 0) {
        g_free(path);
        path = g_build_filename(line->socket_dir, id, NULL);
    }
    return path;
}

/* A listening socket at @path (made up and filled in when NULL). */
static bool add_unix_listener(CommandLine *line, DomainChardev *source, const char *id,
                              const char *name, GString *text, GError **error)
{
    if (!source->path) {
        source->path = make_up_path(line, name, id);
    }
    int fd = line->ops->listen_unix(line->opaque, source->path, error);
    if (fd < 0) {
        return false;
    }
    g_array_append_val(line->fds, fd);
    g_string_append_printf(text, "socket,id=%s,fd=%d,server=on,wait=off", id, fd);
    return true;
}

/* The same file for writing alone: of a set, QEMU takes a descriptor of just the mode it opens by.
 */
static int open_writer(int fd, const char *path, GError **error)
{
    char self[64];
    g_snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
    int writer = open(self, O_WRONLY | O_CLOEXEC);
    if (writer < 0) {
        lodge_error_set_errno(error, errno, "cannot open '%s' for writing", path);
    }
    close(fd);
    return writer;
}

/* @is_device: it is read, too. */
static bool append_file(CommandLine *line, GString *text, const char *option, const char *path,
                        bool is_device, GError **error)
{
    int fd = line->ops->open_file(line->opaque, path, true, error);
    if (fd >= 0 && !is_device && line->engine == ENGINE_QEMU) {
        fd = open_writer(fd, path, error);
    }
    if (fd < 0) {
        return false;
    }
    g_string_append_printf(text, ",%s=/dev/fdset/%u", option, line_add_fd(line, fd));
    return true;
}

/* Of TCP or UDP. */
static void append_network(GString *text, const DomainChardev *source, const char *id)
{
    g_autofree char *host = line_escape(source->host ?: "");
    g_autofree char *port = line_escape(source->service ?: "");
    if (source->type == CHARDEV_TCP) {
        g_string_printf(text, "socket,id=%s,host=%s,port=%s%s%s", id, host, port,
                        source->mode == SOCKET_BIND ? ",server=on,wait=off" : "",
                        source->protocol == TCP_TELNET ? ",telnet=on" : "");
    } else {
        g_autofree char *own_host = line_escape(source->bind_host ?: "");
        g_autofree char *own_port = line_escape(source->bind_service ?: "0");
        g_string_printf(text, "udp,id=%s,host=%s,port=%s,localaddr=%s,localport=%s", id, host, port,
                        own_host, own_port);
    }
}

bool line_add_chardev(CommandLine *line, DomainChardev *source, const char *alias, const char *name,
                      GError **error)
{
    g_autoptr(GString) text = g_string_new(NULL);
    g_autofree char *id = g_strdup_printf("char%s", alias);
    const char *word = device_table_word(PROPERTY_CHARDEV, (int)source->type, line->engine);
    bool ok = true;
    if (!word || source->tls == TRI_YES) {
        return line_refuse_unless(
            line,
            source->tls != TRI_YES &&
                device_table_has(PROPERTY_CHARDEV, (int)source->type, ENGINE_QEMU),
            error, "%s with a back end of type '%s'%s", name,
            domain_name(chardev_type, source->type) ?: "none", word ? " and TLS" : "");
    }
    switch (source->type) {
    case CHARDEV_PTY:
    case CHARDEV_NULL:
        g_string_printf(text, "%s,id=%s", word, id);
        break;
    case CHARDEV_FILE:
        g_string_printf(text, "file,id=%s%s", id, source->append == TRI_YES ? ",append=on" : "");
        ok = append_file(line, text, "path", source->path ?: "", false, error);
        break;
    case CHARDEV_PIPE: {
        g_autofree char *path = line_escape(source->path ?: "");
        g_string_printf(text, "pipe,id=%s,path=%s", id, path);
        break;
    }
    case CHARDEV_UNIX:
        if (source->mode == SOCKET_BIND || !source->path) {
            ok = add_unix_listener(line, source, id, name, text, error);
        } else {
            g_autofree char *path = line_escape(source->path);
            g_string_printf(text, "socket,id=%s,path=%s", id, path);
        }
        break;
    case CHARDEV_TCP:
    case CHARDEV_UDP:
        append_network(text, source, id);
        break;
    case CHARDEV_QEMU_VDAGENT:
        g_string_printf(text, "%s,id=%s,name=vdagent", word, id);
        line_append_tri(text, "clipboard", source->clipboard_copypaste);
        if (source->mouse_mode) {
            g_string_append_printf(text, ",mouse=%s",
                                   strcmp(source->mouse_mode, "client") == 0 ? "on" : "off");
        }
        break;
    default: /* CHARDEV_DEV */
        g_string_printf(text, "%s,id=%s", word, id);
        ok = append_file(line, text, "path", source->path ?: "", true, error);
    }
    if (source->reconnect_enabled == TRI_YES) {
        g_string_append_printf(text, ",reconnect=%u", source->reconnect_timeout_s);
    }
    if (ok && source->log_file) {
        ok = append_file(line, text, "logfile", source->log_file, false, error);
        g_string_append_printf(text, ",logappend=%s", source->log_append == TRI_NO ? "off" : "on");
    }
    if (ok) {
        line_add(line, "-chardev", g_strdup(text->str));
    }
    return ok;
}

/* ",iobase=0x3f8,irq=4" of ISA devices that are told. */
static void append_isa(GString *text, const DomainDevice *device)
{
    const DomainAddress *address = &device->address;
    if (address->type == ADDRESS_ISA && address->iobase.set) {
        g_string_append_printf(text, ",iobase=0x%" G_GINT64_MODIFIER "x", address->iobase.value);
    }
    if (address->type == ADDRESS_ISA && address->irq.set) {
        g_string_append_printf(text, ",irq=%" G_GUINT64_FORMAT, address->irq.value);
    }
}

/* isa-serial without a target, which definitions before libvirt 3.10 have not. */
static DomainSerialTarget serial_target_of(const DomainCharDevice *serial)
{
    return serial->serial_type ? serial->serial_type : SERIAL_ISA;
}

bool line_add_serial(CommandLine *line, DomainDevice *device, GError **error)
{
    DomainCharDevice *serial = (DomainCharDevice *)device;
    DomainSerialTarget target = serial_target_of(serial);
    const char *model = device_table_word(PROPERTY_SERIAL, (int)target, line->engine);
    if (!model) {
        return line_refuse_unless(line, device_table_has(PROPERTY_SERIAL, (int)target, ENGINE_QEMU),
                                  error, "serial port '%s'", domain_name(serial_target, target));
    }
    if (!line_add_chardev(line, &serial->source, device->alias, "serial port", error)) {
        return false;
    }
    GString *text = g_string_new(model);
    g_string_append_printf(text, ",chardev=char%s,id=%s", device->alias, device->alias);
    if (target == SERIAL_ISA) {
        g_string_append_printf(text, ",index=%" G_GUINT64_FORMAT, serial->port.value);
        append_isa(text, device);
    } else if (target == SERIAL_USB) {
        g_autofree char *address = line_usb_address(device);
        g_string_append(text, address);
    } else if (target == SERIAL_PCI) {
        g_autofree char *address = line_address(line, device);
        g_string_append(text, address);
    } else {
        append_isa(text, device);
    }
    line_add(line, "-device", g_string_free(text, FALSE));
    return true;
}

bool line_add_parallel(CommandLine *line, DomainDevice *device, GError **error)
{
    DomainCharDevice *parallel = (DomainCharDevice *)device;
    if (line->engine == ENGINE_LODGE) {
        return line_refuse(line, error, "parallel port '%s'", device->alias);
    }
    if (!line_add_chardev(line, &parallel->source, device->alias, "parallel port", error)) {
        return false;
    }
    GString *text = g_string_new(NULL);
    g_string_printf(text, "isa-parallel,chardev=char%s,id=%s", device->alias, device->alias);
    append_isa(text, device);
    line_add(line, "-device", g_string_free(text, FALSE));
    return true;
}

static char *serial_bus(const DomainDevice *device)
{
    const DomainAddress *address = &device->address;
    return address->type == ADDRESS_VIRTIO_SERIAL
               ? g_strdup_printf(",bus=virtio-serial%u.0,nr=%u", address->controller, address->port)
               : g_strdup("");
}

bool line_add_console(CommandLine *line, DomainDevice *device, GError **error)
{
    DomainCharDevice *console = (DomainCharDevice *)device;
    if (console->console_type > CONSOLE_SERIAL && console->console_type != CONSOLE_VIRTIO) {
        return line_refuse_unless(line, false, error, "console of type '%s'",
                                  domain_name(console_target, console->console_type));
    }
    if (console->console_type != CONSOLE_VIRTIO) {
        return true; /* another name of a serial port */
    }
    g_autofree char *bus = serial_bus(device);
    if (!line_add_chardev(line, &console->source, device->alias, "console", error)) {
        return false;
    }
    line_add(
        line, "-device",
        g_strdup_printf("virtconsole%s,chardev=char%s,id=%s", bus, device->alias, device->alias));
    return true;
}

/* What the guest sends to an address of the user network's. */
static bool add_guest_forward(CommandLine *line, DomainCharDevice *channel, GError **error)
{
    const char *alias = channel->device.alias;
    if (!line_add_chardev(line, &channel->source, alias, "channel", error)) {
        return false;
    }
    g_autofree char *address = line_escape(channel->guestfwd_address ?: "");
    g_autofree char *port = line_escape(channel->guestfwd_port ?: "");
    line_add(line, "-netdev",
             g_strdup_printf("user,guestfwd=tcp:%s:%s-chardev:char%s,id=%s", address, port, alias,
                             alias));
    return true;
}

bool line_add_channel(CommandLine *line, DomainDevice *device, GError **error)
{
    DomainCharDevice *channel = (DomainCharDevice *)device;
    const char *name = channel->channel_name ?: device->alias;
    if (channel->channel_type == CHANNEL_GUESTFWD && line->engine == ENGINE_QEMU) {
        return add_guest_forward(line, channel, error);
    }
    if (channel->channel_type != CHANNEL_VIRTIO) {
        return line_refuse_unless(line, channel->channel_type == CHANNEL_GUESTFWD, error,
                                  "channel of type '%s'",
                                  domain_name(channel_target, channel->channel_type) ?: "none");
    }
    g_autofree char *bus = serial_bus(device);
    g_autofree char *escaped = line_escape(name);
    if (!line_add_chardev(line, &channel->source, device->alias, name, error)) {
        return false;
    }
    line_add(line, "-device",
             g_strdup_printf("virtserialport%s,chardev=char%s,id=%s,name=%s", bus, device->alias,
                             device->alias, escaped));
    return true;
}

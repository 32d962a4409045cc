/* Commands that attach, detach and change devices.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/groups.h"
#include "cli/tools.h"

#include "gbase/error.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const CliOption device_options[] = {
    CLI_DOMAIN_OPTION,
    { "file", CLI_STRING, CLI_REQUIRED, CLI_VALUE_FILE, "the device's XML; - for standard input" },
    { "persistent", CLI_FLAG, 0, CLI_VALUE_ANY, "the running guest, if it runs, and later starts" },
    CLI_IMPACT_OPTIONS,
    CLI_OPTIONS_END,
};

static const CliOption update_options[] = {
    CLI_DOMAIN_OPTION,
    { "file", CLI_STRING, CLI_REQUIRED, CLI_VALUE_FILE, "the device's XML; - for standard input" },
    { "persistent", CLI_FLAG, 0, CLI_VALUE_ANY, "the running guest, if it runs, and later starts" },
    CLI_IMPACT_OPTIONS,
    { "force", CLI_FLAG, 0, CLI_VALUE_ANY, "also where the guest has locked a tray" },
    CLI_OPTIONS_END,
};

/* Beside the protocol's bits: --current was given. Without any bit the older calls are used, which
 * change only what runs. */
#define IMPACT_GIVEN (1u << 31)

/* The bits of the impact options; --persistent is the definition and what runs. */
static bool device_flags(const CliArgs *args, const RemoteDomain *domain, uint32_t *out_flags,
                         GError **error)
{
    guint flags;
    if (!cli_args_exclusive(args, "persistent", "current", error) ||
        !cli_args_impact(args, &flags, error)) {
        return false;
    }
    if (cli_args_flag(args, "persistent")) {
        flags |= CLI_IMPACT_CONFIG | (domain->id >= 0 ? CLI_IMPACT_LIVE : 0);
    }
    *out_flags = flags | (cli_args_flag(args, "current") ? IMPACT_GIVEN : 0);
    return true;
}

static bool attach(CliSession *session, const RemoteDomain *domain, const char *xml, uint32_t flags,
                   GError **error)
{
    RemoteDomainAttachDeviceFlagsArgs call = { *domain, xml, flags & ~IMPACT_GIVEN };
    RemoteDomainAttachDeviceArgs plain = { *domain, xml };
    return flags ? remote_domain_attach_device_flags(cli_client(session), &call, error)
                 : remote_domain_attach_device(cli_client(session), &plain, error);
}

static bool detach(CliSession *session, const RemoteDomain *domain, const char *xml, uint32_t flags,
                   GError **error)
{
    RemoteDomainDetachDeviceFlagsArgs call = { *domain, xml, flags & ~IMPACT_GIVEN };
    RemoteDomainDetachDeviceArgs plain = { *domain, xml };
    return flags ? remote_domain_detach_device_flags(cli_client(session), &call, error)
                 : remote_domain_detach_device(cli_client(session), &plain, error);
}

static bool update(CliSession *session, const RemoteDomain *domain, const char *xml, uint32_t flags,
                   GError **error)
{
    RemoteDomainUpdateDeviceFlagsArgs call = { *domain, xml, flags & ~IMPACT_GIVEN };
    return remote_domain_update_device_flags(cli_client(session), &call, error);
}

static bool run_attach(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomain domain;
    uint32_t flags;
    g_autofree char *xml = NULL;
    if (!cli_domain(session, args, &domain, error) || !device_flags(args, &domain, &flags, error) ||
        !(xml = cli_read_file(args, "file", error))) {
        return false;
    }
    if (!attach(session, &domain, xml, flags, error)) {
        return cli_fail(error, "Failed to attach device from %s", cli_args_string(args, "file"));
    }
    cli_note(session, "Device attached successfully");
    return true;
}

static bool run_detach(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomain domain;
    uint32_t flags;
    g_autofree char *xml = NULL;
    if (!cli_domain(session, args, &domain, error) || !device_flags(args, &domain, &flags, error) ||
        !(xml = cli_read_file(args, "file", error))) {
        return false;
    }
    if (!detach(session, &domain, xml, flags, error)) {
        return cli_fail(error, "Failed to detach device from %s", cli_args_string(args, "file"));
    }
    cli_note(session, "Device detached successfully");
    return true;
}

static bool run_update(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomain domain;
    uint32_t flags;
    g_autofree char *xml = NULL;
    if (!cli_domain(session, args, &domain, error) || !device_flags(args, &domain, &flags, error) ||
        !(xml = cli_read_file(args, "file", error))) {
        return false;
    }
    flags |= cli_args_flag(args, "force") ? 4 : 0;
    if (!update(session, &domain, xml, flags, error)) {
        return cli_fail(error, "Failed to update device from %s", cli_args_string(args, "file"));
    }
    cli_note(session, "Device updated successfully");
    return true;
}

static const CliOption detach_device_alias_options[] = {
    CLI_DOMAIN_OPTION,
    { "alias", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ANY, "its alias" },
    CLI_IMPACT_OPTIONS,
    CLI_OPTIONS_END,
};

static bool run_detach_alias(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomainDetachDeviceAliasArgs call = { .alias = cli_args_string(args, "alias") };
    if (!cli_args_impact(args, &call.flags, error) ||
        !cli_domain(session, args, &call.dom, error)) {
        return false;
    }
    if (!remote_domain_detach_device_alias(cli_client(session), &call, error)) {
        return cli_fail(error, "Failed to detach device with alias %s", call.alias);
    }
    cli_note(session, "Device detach request sent successfully");
    return true;
}

/* Attaching by options */

/* An attribute, unless there is no value. */
static void put(XmlWriter *xml, const char *name, const char *value)
{
    if (value) {
        xml_write_attr(xml, name, value);
    }
}

/* "pci:0000.00.05.0", "usb:1.2", "scsi:0.0.1" and the like as <address>. */
static bool write_address(XmlWriter *xml, const char *text, bool multifunction, GError **error)
{
    unsigned n[4] = { 0 };
    int end = 0;
    const char *colon = strchr(text, ':');
    const char *numbers = colon ? colon + 1 : "";
    bool is_drive = g_str_has_prefix(text, "scsi:") || g_str_has_prefix(text, "ide:") ||
                    g_str_has_prefix(text, "sata:");
    bool is_pci = g_str_has_prefix(text, "pci:") &&
                  sscanf(numbers, "%x.%x.%x.%x%n", &n[0], &n[1], &n[2], &n[3], &end) == 4;
    bool is_usb =
        g_str_has_prefix(text, "usb:") && sscanf(numbers, "%u.%u%n", &n[0], &n[1], &end) == 2;
    is_drive = is_drive && sscanf(numbers, "%u.%u.%u%n", &n[0], &n[1], &n[2], &end) == 3;
    if ((!is_pci && !is_usb && !is_drive) || numbers[end] != '\0') {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "Invalid address: '%s'; write pci:DOMAIN.BUS.SLOT.FUNCTION, usb:BUS.PORT or "
                    "scsi:CONTROLLER.BUS.UNIT",
                    text);
        return false;
    }
    xml_write_start(xml, "address");
    if (is_pci) {
        put(xml, "type", "pci");
        xml_write_attr_fmt(xml, "domain", "0x%04x", n[0]);
        xml_write_attr_fmt(xml, "bus", "0x%02x", n[1]);
        xml_write_attr_fmt(xml, "slot", "0x%02x", n[2]);
        xml_write_attr_fmt(xml, "function", "0x%x", n[3]);
        put(xml, "multifunction", multifunction ? "on" : NULL);
    } else if (is_usb) {
        put(xml, "type", "usb");
        xml_write_attr_fmt(xml, "bus", "%u", n[0]);
        xml_write_attr_fmt(xml, "port", "%u", n[1]);
    } else {
        put(xml, "type", "drive");
        xml_write_attr_fmt(xml, "controller", "%u", n[0]);
        xml_write_attr_fmt(xml, "bus", "%u", n[1]);
        xml_write_attr_fmt(xml, "unit", "%u", n[2]);
    }
    xml_write_end(xml);
    return true;
}

static const CliOption attach_disk_options[] = {
    CLI_DOMAIN_OPTION,
    { "source", CLI_STRING, CLI_REQUIRED, CLI_VALUE_FILE,
      "the image: a file, a block device, or a network's name" },
    { "target", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ANY, "the name in the guest, as vda" },
    { "targetbus", CLI_STRING, 0, CLI_VALUE_ANY, "the bus: virtio, sata, scsi, usb, ..." },
    { "driver", CLI_STRING, 0, CLI_VALUE_ANY, "the driver, as qemu" },
    { "subdriver", CLI_STRING, 0, CLI_VALUE_ANY, "the image's format, as qcow2" },
    { "iothread", CLI_STRING, 0, CLI_VALUE_ANY, "the I/O thread that serves it" },
    { "cache", CLI_STRING, 0, CLI_VALUE_ANY,
      "none, writeback, writethrough, directsync or unsafe" },
    { "io", CLI_STRING, 0, CLI_VALUE_ANY, "threads, native or io_uring" },
    { "type", CLI_STRING, 0, CLI_VALUE_ANY, "cdrom, floppy, disk or lun" },
    { "mode", CLI_STRING, 0, CLI_VALUE_ANY, "readonly or shareable" },
    { "sourcetype", CLI_STRING, 0, CLI_VALUE_ANY, "file, block or network" },
    { "serial", CLI_STRING, 0, CLI_VALUE_ANY, "the serial number that the guest sees" },
    { "wwn", CLI_STRING, 0, CLI_VALUE_ANY, "the world wide name that the guest sees" },
    { "alias", CLI_STRING, 0, CLI_VALUE_ANY, "its alias" },
    { "rawio", CLI_FLAG, 0, CLI_VALUE_ANY, "the guest may send raw SCSI commands" },
    { "address", CLI_STRING, 0, CLI_VALUE_ANY, "where in the guest, as pci:0000.00.05.0" },
    { "multifunction", CLI_FLAG, 0, CLI_VALUE_ANY, "other functions share its PCI slot" },
    { "print-xml", CLI_FLAG, 0, CLI_VALUE_ANY, "print the XML and change nothing" },
    { "source-protocol", CLI_STRING, 0, CLI_VALUE_ANY, "of a network disk, as nbd" },
    { "source-host-name", CLI_STRING, 0, CLI_VALUE_ANY, "of a network disk: host, or host:port" },
    { "source-host-transport", CLI_STRING, 0, CLI_VALUE_ANY, "of a network disk: tcp, unix, ..." },
    { "source-host-socket", CLI_STRING, 0, CLI_VALUE_ANY, "of a network disk: the socket's path" },
    { "persistent", CLI_FLAG, 0, CLI_VALUE_ANY, "the running guest, if it runs, and later starts" },
    CLI_IMPACT_OPTIONS,
    CLI_OPTIONS_END,
};

static const char *source_kind(const CliArgs *args)
{
    struct stat st;
    const char *kind = cli_args_string(args, "sourcetype");
    if (kind) {
        return kind;
    }
    if (cli_args_string(args, "source-protocol") || cli_args_string(args, "source-host-name") ||
        cli_args_string(args, "source-host-socket")) {
        return "network";
    }
    return stat(cli_args_string(args, "source"), &st) == 0 && S_ISBLK(st.st_mode) ? "block"
                                                                                  : "file";
}

static void write_disk_source(XmlWriter *xml, const CliArgs *args, const char *kind)
{
    const char *source = cli_args_string(args, "source");
    const char *host = cli_args_string(args, "source-host-name");
    const char *socket = cli_args_string(args, "source-host-socket");
    const char *colon = host ? strrchr(host, ':') : NULL;
    g_autofree char *name = colon ? g_strndup(host, (gsize)(colon - host)) : g_strdup(host);
    xml_write_start(xml, "source");
    if (strcmp(kind, "network") == 0) {
        put(xml, "protocol", cli_args_string(args, "source-protocol"));
        put(xml, "name", source);
        if (host || socket) {
            xml_write_start(xml, "host");
            put(xml, "transport", cli_args_string(args, "source-host-transport"));
            put(xml, "socket", socket);
            put(xml, "name", name);
            put(xml, "port", colon ? colon + 1 : NULL);
            xml_write_end(xml);
        }
    } else {
        put(xml, strcmp(kind, "block") == 0 ? "dev" : "file", source);
    }
    xml_write_end_if_any(xml);
}

static void write_disk_driver(XmlWriter *xml, const CliArgs *args)
{
    xml_write_start(xml, "driver");
    put(xml, "name", cli_args_string(args, "driver"));
    put(xml, "type", cli_args_string(args, "subdriver"));
    put(xml, "iothread", cli_args_string(args, "iothread"));
    put(xml, "cache", cli_args_string(args, "cache"));
    put(xml, "io", cli_args_string(args, "io"));
    xml_write_end_if_any(xml);
}

static bool write_disk(XmlWriter *xml, const CliArgs *args, GError **error)
{
    const char *mode = cli_args_string(args, "mode");
    const char *kind = source_kind(args);
    const char *alias = cli_args_string(args, "alias");
    const char *address = cli_args_string(args, "address");
    xml_write_start(xml, "disk");
    put(xml, "type", kind);
    put(xml, "device", cli_args_string(args, "type"));
    put(xml, "rawio", cli_args_flag(args, "rawio") ? "yes" : NULL);
    write_disk_driver(xml, args);
    write_disk_source(xml, args, kind);
    xml_write_start(xml, "target");
    put(xml, "dev", cli_args_string(args, "target"));
    put(xml, "bus", cli_args_string(args, "targetbus"));
    xml_write_end(xml);
    if (mode) {
        xml_write_start(xml, strcmp(mode, "readonly") == 0 ? "readonly" : "shareable");
        xml_write_end(xml);
    }
    xml_write_leaf(xml, "serial", cli_args_string(args, "serial"));
    if (alias) {
        xml_write_start(xml, "alias");
        put(xml, "name", alias);
        xml_write_end(xml);
    }
    xml_write_leaf(xml, "wwn", cli_args_string(args, "wwn"));
    bool ok = !address || write_address(xml, address, cli_args_flag(args, "multifunction"), error);
    xml_write_end(xml);
    return ok;
}

/* Attaches the finished text, or prints it. */
static bool attach_text(CliSession *session, const CliArgs *args, const RemoteDomain *domain,
                        const char *xml, uint32_t flags, const char *what, GError **error)
{
    if (cli_args_flag(args, "print-xml")) {
        cli_print_xml(session, xml);
        return true;
    }
    if (!attach(session, domain, xml, flags, error)) {
        return cli_fail(error, "Failed to attach %s", what);
    }
    cli_note(session, "%c%s attached successfully", g_ascii_toupper(what[0]), what + 1);
    return true;
}

static bool run_attach_disk(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomain domain;
    uint32_t flags;
    const char *mode = cli_args_string(args, "mode");
    if (mode && strcmp(mode, "readonly") != 0 && strcmp(mode, "shareable") != 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "No support for %s in command 'attach-disk'", mode);
        return false;
    }
    g_autoptr(XmlWriter) writer = xml_writer_new();
    if (!cli_domain(session, args, &domain, error) || !device_flags(args, &domain, &flags, error) ||
        !write_disk(writer, args, error)) {
        return false;
    }
    g_autofree char *xml = xml_writer_finish(g_steal_pointer(&writer));
    return attach_text(session, args, &domain, xml, flags, "disk", error);
}

static const CliOption attach_interface_options[] = {
    CLI_DOMAIN_OPTION,
    { "type", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ANY, "network, bridge, direct, user, hostdev" },
    { "source", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ANY,
      "the network, bridge or device of the host" },
    { "target", CLI_STRING, 0, CLI_VALUE_ANY, "its name on the host" },
    { "mac", CLI_STRING, 0, CLI_VALUE_ANY, "the MAC address" },
    { "script", CLI_STRING, 0, CLI_VALUE_FILE, "what sets it up on the host" },
    { "model", CLI_STRING, 0, CLI_VALUE_ANY, "the model" },
    { "alias", CLI_STRING, 0, CLI_VALUE_ANY, "its alias" },
    { "inbound", CLI_STRING, 0, CLI_VALUE_ANY, "limits to the guest: average,peak,burst,floor" },
    { "outbound", CLI_STRING, 0, CLI_VALUE_ANY, "limits from the guest: average,peak,burst" },
    { "persistent", CLI_FLAG, 0, CLI_VALUE_ANY, "the running guest, if it runs, and later starts" },
    { "print-xml", CLI_FLAG, 0, CLI_VALUE_ANY, "print the XML and change nothing" },
    { "managed", CLI_FLAG, 0, CLI_VALUE_ANY, "lodged takes the host's device and gives it back" },
    { "source-mode", CLI_STRING, 0, CLI_VALUE_ANY,
      "of a direct interface: vepa, bridge, private, passthrough" },
    CLI_IMPACT_OPTIONS,
    CLI_OPTIONS_END,
};

/* <source> of an interface of that type. */
static bool write_interface_source(XmlWriter *xml, const CliArgs *args, const char *type,
                                   GError **error)
{
    const char *source = cli_args_string(args, "source");
    if (strcmp(type, "user") == 0) {
        return true;
    }
    xml_write_start(xml, "source");
    if (strcmp(type, "hostdev") == 0) {
        g_autofree char *address = g_strdelimit(g_strconcat("pci:", source, NULL), ":", '.');
        address[3] = ':';
        if (!write_address(xml, address, false, NULL)) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                        "cannot parse pci address '%s' for network interface", source);
            return false;
        }
    } else if (strcmp(type, "vhostuser") == 0) {
        put(xml, "type", "unix");
        put(xml, "path", source);
        put(xml, "mode", cli_args_string(args, "source-mode"));
    } else {
        const char *name = strcmp(type, "network") == 0  ? "network"
                           : strcmp(type, "bridge") == 0 ? "bridge"
                                                         : "dev";
        put(xml, name, source);
    }
    xml_write_end(xml);
    return true;
}

/* "average,peak,burst,floor" as <inbound> or <outbound>. */
static bool write_rate(XmlWriter *xml, const char *element, const char *text, GError **error)
{
    static const char *const names[] = { "average", "peak", "burst", "floor" };
    g_auto(GStrv) words = g_strsplit(text ? text : "", ",", -1);
    unsigned count = g_strv_length(words);
    guint64 value;
    if (!text) {
        return true;
    }
    xml_write_start(xml, element);
    bool ok = count >= 1 && count <= (strcmp(element, "inbound") == 0 ? 4 : 3);
    for (unsigned i = 0; ok && i < count; i++) {
        ok = g_ascii_string_to_unsigned(words[i], 10, 0, G_MAXUINT32, &value, NULL);
        if (ok && value > 0) {
            xml_write_attr(xml, names[i], words[i]);
        }
    }
    xml_write_end(xml);
    if (!ok) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "%s format is incorrect: '%s'; write it as average,peak,burst", element, text);
    }
    return ok;
}

static void write_with_attr(XmlWriter *xml, const char *element, const char *attr,
                            const char *value)
{
    if (value) {
        xml_write_start(xml, element);
        put(xml, attr, value);
        xml_write_end(xml);
    }
}

static bool write_interface(XmlWriter *xml, const CliArgs *args, GError **error)
{
    static const char *const types[] = { "network", "bridge",    "hostdev", "direct",
                                         "user",    "vhostuser", NULL };
    const char *type = cli_args_string(args, "type");
    if (cli_word_index(type, types) < 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "No support for %s in command 'attach-interface'", type);
        return false;
    }
    xml_write_start(xml, "interface");
    put(xml, "type", type);
    put(xml, "managed", cli_args_flag(args, "managed") ? "yes" : NULL);
    if (!write_interface_source(xml, args, type, error)) {
        return false;
    }
    write_with_attr(xml, "target", "dev", cli_args_string(args, "target"));
    write_with_attr(xml, "mac", "address", cli_args_string(args, "mac"));
    write_with_attr(xml, "script", "path", cli_args_string(args, "script"));
    write_with_attr(xml, "model", "type", cli_args_string(args, "model"));
    write_with_attr(xml, "alias", "name", cli_args_string(args, "alias"));
    xml_write_start(xml, "bandwidth");
    if (!write_rate(xml, "inbound", cli_args_string(args, "inbound"), error) ||
        !write_rate(xml, "outbound", cli_args_string(args, "outbound"), error)) {
        return false;
    }
    xml_write_end_if_any(xml);
    xml_write_end(xml);
    return true;
}

static bool run_attach_interface(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomain domain;
    uint32_t flags;
    g_autoptr(XmlWriter) writer = xml_writer_new();
    if (!cli_domain(session, args, &domain, error) || !device_flags(args, &domain, &flags, error) ||
        !write_interface(writer, args, error)) {
        return false;
    }
    g_autofree char *xml = xml_writer_finish(g_steal_pointer(&writer));
    return attach_text(session, args, &domain, xml, flags, "interface", error);
}

/* Finding a device in the XML */

/* The disk whose target or source is @path. */
static xmlNode *find_disk(const XmlDoc *doc, const char *path, GError **error)
{
    xmlNode *devices = cli_devices(doc);
    for (xmlNode *disk = devices ? xml_first(devices) : NULL; disk; disk = xml_next(disk)) {
        g_autofree char *target = cli_child_attr(disk, "target", "dev");
        g_autofree char *file = cli_child_attr(disk, "source", "file");
        g_autofree char *dev = cli_child_attr(disk, "source", "dev");
        g_autofree char *dir = cli_child_attr(disk, "source", "dir");
        g_autofree char *name = cli_child_attr(disk, "source", "name");
        bool found = g_strcmp0(path, target) == 0 || g_strcmp0(path, file) == 0 ||
                     g_strcmp0(path, dev) == 0 || g_strcmp0(path, dir) == 0 ||
                     g_strcmp0(path, name) == 0;
        if (xml_is(disk, "disk") && found) {
            return disk;
        }
    }
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND,
                "No disk found whose source path or target is %s", path);
    return NULL;
}

static bool detach_text(CliSession *session, const CliArgs *args, const RemoteDomain *domain,
                        xmlNode *device, uint32_t flags, const char *what, GError **error)
{
    g_autofree char *xml = xml_node_to_text(device, 0);
    if (cli_args_flag(args, "print-xml")) {
        cli_print_xml(session, xml);
        return true;
    }
    if (!detach(session, domain, xml, flags, error)) {
        return cli_fail(error, "Failed to detach %s", what);
    }
    cli_note(session, "%c%s detached successfully", g_ascii_toupper(what[0]), what + 1);
    return true;
}

static const CliOption detach_disk_options[] = {
    CLI_DOMAIN_OPTION,
    { "target", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ANY, "the name in the guest, as vda" },
    { "persistent", CLI_FLAG, 0, CLI_VALUE_ANY, "the running guest, if it runs, and later starts" },
    { "print-xml", CLI_FLAG, 0, CLI_VALUE_ANY, "print the XML and change nothing" },
    CLI_IMPACT_OPTIONS,
    CLI_OPTIONS_END,
};

static bool run_detach_disk(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomain domain;
    uint32_t flags;
    if (!cli_domain(session, args, &domain, error) || !device_flags(args, &domain, &flags, error)) {
        return false;
    }
    g_autoptr(XmlDoc) doc =
        cli_domain_xml(session, &domain, flags == CLI_IMPACT_CONFIG ? 2 : 0, error);
    xmlNode *disk = doc ? find_disk(doc, cli_args_string(args, "target"), error) : NULL;
    return disk && detach_text(session, args, &domain, disk, flags, "disk", error);
}

static const CliOption detach_interface_options[] = {
    CLI_DOMAIN_OPTION,
    { "type", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ANY, "the kind" },
    { "mac", CLI_STRING, 0, CLI_VALUE_ANY, "the MAC address" },
    { "persistent", CLI_FLAG, 0, CLI_VALUE_ANY, "the running guest, if it runs, and later starts" },
    { "print-xml", CLI_FLAG, 0, CLI_VALUE_ANY, "print the XML and change nothing" },
    CLI_IMPACT_OPTIONS,
    CLI_OPTIONS_END,
};

/* The one interface of that type, and MAC where given. */
static xmlNode *find_interface(const XmlDoc *doc, const char *type, const char *mac, GError **error)
{
    xmlNode *found = NULL;
    bool has_type = false;
    xmlNode *devices = cli_devices(doc);
    for (xmlNode *at = devices ? xml_first(devices) : NULL; at; at = xml_next(at)) {
        g_autofree char *its_type = xml_attr(at, "type");
        g_autofree char *its_mac = cli_child_attr(at, "mac", "address");
        if (!xml_is(at, "interface") || g_strcmp0(type, its_type) != 0) {
            continue;
        }
        has_type = true;
        if (mac && (!its_mac || g_ascii_strcasecmp(mac, its_mac) != 0)) {
            continue;
        }
        if (found) {
            g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                        mac ? "Domain has multiple interfaces matching MAC address %s. You must "
                              "use detach-device and specify the device pci address to remove it."
                            : "Domain has %s interfaces. Please specify which one to detach using "
                              "--mac",
                        mac ? mac : "multiple");
            return NULL;
        }
        found = at;
    }
    if (!found && has_type) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND,
                    "No interface with MAC address %s was found", mac);
    } else if (!found) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND,
                    "No interface found whose type is %s", type);
    }
    return found;
}

static bool run_detach_interface(CliSession *session, const CliArgs *args, GError **error)
{
    RemoteDomain domain;
    uint32_t flags;
    if (!cli_domain(session, args, &domain, error) || !device_flags(args, &domain, &flags, error)) {
        return false;
    }
    g_autoptr(XmlDoc) doc =
        cli_domain_xml(session, &domain, flags == CLI_IMPACT_CONFIG ? 2 : 0, error);
    xmlNode *found = doc ? find_interface(doc, cli_args_string(args, "type"),
                                          cli_args_string(args, "mac"), error)
                         : NULL;
    if (!found) {
        return cli_args_flag(args, "print-xml")
                   ? false
                   : cli_fail_then(error, "Failed to detach interface");
    }
    return detach_text(session, args, &domain, found, flags, "interface", error);
}

/* Media */

static const CliOption change_media_options[] = {
    CLI_DOMAIN_OPTION,
    { "path", CLI_STRING, CLI_REQUIRED, CLI_VALUE_DISK, "the drive: target or path" },
    { "source", CLI_STRING, 0, CLI_VALUE_FILE, "the new medium" },
    { "eject", CLI_FLAG, 0, CLI_VALUE_ANY, "take the medium out" },
    { "insert", CLI_FLAG, 0, CLI_VALUE_ANY, "put one in" },
    { "update", CLI_FLAG, 0, CLI_VALUE_ANY, "take out, then put in" },
    { "force", CLI_FLAG, 0, CLI_VALUE_ANY, "also where the guest has locked the tray" },
    { "print-xml", CLI_FLAG, 0, CLI_VALUE_ANY, "print the XML and change nothing" },
    { "block", CLI_FLAG, 0, CLI_VALUE_ANY, "the source is a block device" },
    CLI_IMPACT_OPTIONS,
    CLI_OPTIONS_END,
};

/* Changes the <source> of a removable drive as the options say. */
static bool change_source(xmlNode *disk, const CliArgs *args, GError **error)
{
    const char *source = cli_args_string(args, "source");
    const char *path = cli_args_string(args, "path");
    bool is_block = cli_args_flag(args, "block");
    bool ejects = cli_args_flag(args, "eject");
    g_autofree char *device = xml_attr(disk, "device");
    xmlNode *old = xml_child(disk, "source");
    if (g_strcmp0(device, "cdrom") != 0 && g_strcmp0(device, "floppy") != 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND,
                    "No disk found whose source path or target is %s", path);
        return false;
    }
    if (ejects && !old) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_STATE,
                    "The disk device '%s' doesn't have media", path);
        return false;
    }
    if (cli_args_flag(args, "insert") && old) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_STATE, "The disk device '%s' already has media",
                    path);
        return false;
    }
    if (!ejects && !source) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT,
                    "New disk media source was not specified");
        return false;
    }
    if (old) {
        xmlUnlinkNode(old);
        xmlFreeNode(old);
    }
    if (!ejects) {
        xmlSetProp(disk, BAD_CAST "type", BAD_CAST(is_block ? "block" : "file"));
        xmlNode *node = xmlNewChild(disk, NULL, BAD_CAST "source", NULL);
        xmlSetProp(node, BAD_CAST(is_block ? "dev" : "file"), BAD_CAST source);
    }
    return true;
}

static bool run_change_media(CliSession *session, const CliArgs *args, GError **error)
{
    const char *path = cli_args_string(args, "path");
    guint flags;
    RemoteDomain domain;
    const char *done = cli_args_flag(args, "eject")    ? "ejected"
                       : cli_args_flag(args, "insert") ? "inserted"
                                                       : "updated";
    if (!cli_args_exclusive(args, "source", "eject", error) ||
        !cli_args_exclusive(args, "eject", "insert", error) ||
        !cli_args_exclusive(args, "eject", "update", error) ||
        !cli_args_exclusive(args, "insert", "update", error) ||
        !cli_args_exclusive(args, "eject", "block", error) ||
        !cli_args_impact(args, &flags, error) || !cli_domain(session, args, &domain, error)) {
        return false;
    }
    g_autoptr(XmlDoc) doc =
        cli_domain_xml(session, &domain, flags == CLI_IMPACT_CONFIG ? 2 : 0, error);
    xmlNode *disk = doc ? find_disk(doc, path, error) : NULL;
    if (!disk || !change_source(disk, args, error)) {
        return false;
    }
    g_autofree char *xml = xml_node_to_text(disk, 0);
    if (cli_args_flag(args, "print-xml")) {
        cli_print_xml(session, xml);
        return true;
    }
    flags |= cli_args_flag(args, "force") ? 4 : 0;
    if (!update(session, &domain, xml, flags, error)) {
        return cli_fail(error, "Failed to complete action %s on media",
                        cli_args_flag(args, "eject")    ? "eject"
                        : cli_args_flag(args, "insert") ? "insert"
                                                        : "update");
    }
    cli_note(session, "Successfully %s media.", done);
    return true;
}

/* Links */

static const CliOption domif_setlink_options[] = {
    CLI_DOMAIN_OPTION,
    { "interface", CLI_STRING, CLI_REQUIRED, CLI_VALUE_INTERFACE, "the interface: target or MAC" },
    { "state", CLI_STRING, CLI_REQUIRED, CLI_VALUE_ANY, "up or down" },
    { "config", CLI_FLAG, 0, CLI_VALUE_ANY, "from its next start on" },
    { "print-xml", CLI_FLAG, 0, CLI_VALUE_ANY, "print the XML and change nothing" },
    CLI_OPTIONS_END,
};

/* The interface of that target or MAC. */
static xmlNode *find_link(const XmlDoc *doc, const char *word, GError **error)
{
    bool is_mac = strlen(word) == 17 && word[2] == ':' && word[14] == ':';
    xmlNode *devices = cli_devices(doc);
    for (xmlNode *at = devices ? xml_first(devices) : NULL; at; at = xml_next(at)) {
        g_autofree char *mac = cli_child_attr(at, "mac", "address");
        g_autofree char *target = cli_child_attr(at, "target", "dev");
        const char *name = is_mac ? mac : target;
        if (xml_is(at, "interface") && name && g_ascii_strcasecmp(name, word) == 0) {
            return at;
        }
    }
    g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND, "Interface (%s: %s) not found.",
                is_mac ? "mac" : "dev", word);
    return NULL;
}

static void set_link(xmlNode *interface, const char *state)
{
    xmlNode *link = xml_child(interface, "link");
    if (!link) {
        link = xmlNewChild(interface, NULL, BAD_CAST "link", NULL);
    }
    xmlSetProp(link, BAD_CAST "state", BAD_CAST state);
}

static bool run_setlink(CliSession *session, const CliArgs *args, GError **error)
{
    const char *state = cli_args_string(args, "state");
    bool is_config = cli_args_flag(args, "config");
    RemoteDomain domain;
    if (!cli_domain(session, args, &domain, error)) {
        return false;
    }
    if (strcmp(state, "up") != 0 && strcmp(state, "down") != 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_INVALID_ARGUMENT, "invalid link state '%s'",
                    state);
        return false;
    }
    bool is_inactive = is_config || domain.id < 0;
    g_autoptr(XmlDoc) doc = cli_domain_xml(session, &domain, is_inactive ? 2 : 0, error);
    xmlNode *found = doc ? find_link(doc, cli_args_string(args, "interface"), error) : NULL;
    if (!found) {
        return false;
    }
    set_link(found, state);
    g_autofree char *xml = xml_node_to_text(found, 0);
    if (cli_args_flag(args, "print-xml")) {
        cli_print_xml(session, xml);
        return true;
    }
    if (!update(session, &domain, xml, is_inactive ? CLI_IMPACT_CONFIG : CLI_IMPACT_LIVE, error)) {
        return cli_fail(error, "Failed to update interface link state");
    }
    cli_note(session, "Device updated successfully");
    return true;
}

static const CliOption domif_getlink_options[] = {
    CLI_DOMAIN_OPTION,
    { "interface", CLI_STRING, CLI_REQUIRED, CLI_VALUE_INTERFACE, "the interface: target or MAC" },
    { "config", CLI_FLAG, 0, CLI_VALUE_ANY, "from its next start on" },
    CLI_OPTIONS_END,
};

static bool run_getlink(CliSession *session, const CliArgs *args, GError **error)
{
    const char *word = cli_args_string(args, "interface");
    RemoteDomain domain;
    if (!cli_domain(session, args, &domain, error)) {
        return false;
    }
    g_autoptr(XmlDoc) doc =
        cli_domain_xml(session, &domain, cli_args_flag(args, "config") ? 2 : 0, error);
    xmlNode *found = doc ? find_link(doc, word, error) : NULL;
    if (!found) {
        return false;
    }
    g_autofree char *state = cli_child_attr(found, "link", "state");
    if (session->is_json) {
        cli_print(session, "%s", state ? state : "up");
    } else {
        printf("%s %s", word, state ? state : "up");
    }
    return true;
}

const CliCommand cli_device_commands[] = {
    { "attach-device", "attach a device described by XML", NULL, device_options, 0, run_attach },
    { "attach-disk", "attach a disk", NULL, attach_disk_options, 0, run_attach_disk },
    { "attach-interface", "attach a network interface", NULL, attach_interface_options, 0,
      run_attach_interface },
    { "change-media", "change the medium of a CD or floppy drive", NULL, change_media_options, 0,
      run_change_media },
    { "detach-device", "detach the device that XML describes", NULL, device_options, 0,
      run_detach },
    { "detach-device-alias", "detach the device of that alias",
      "The guest has to agree: an event says when it has.", detach_device_alias_options, 0,
      run_detach_alias },
    { "detach-disk", "detach a disk", NULL, detach_disk_options, 0, run_detach_disk },
    { "detach-interface", "detach a network interface", NULL, detach_interface_options, 0,
      run_detach_interface },
    { "domif-setlink", "plug an interface's cable in or out", NULL, domif_setlink_options, 0,
      run_setlink },
    { "update-device", "change a device of a domain", NULL, update_options, 0, run_update },
    { NULL },
};

const CliCommand cli_link_commands[] = {
    { "domif-getlink", "whether an interface's cable is plugged in", NULL, domif_getlink_options, 0,
      run_getlink },
    { NULL },
};

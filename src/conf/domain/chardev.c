/* Character devices: <serial>, <parallel>, <console>, <channel>, and the host's side of all that
 * have one.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/domain/tables.h"

#include <string.h>

#define SECLABELS XML_LIST(DomainChardev, seclabels, "seclabel", DomainSeclabel, seclabel_fields)

static const XmlField path_source[] = {
    XML_ATTR_STR(DomainChardev, path, "path"),
    SECLABELS,
    XML_END,
};

static const XmlField file_source[] = {
    XML_ATTR_STR(DomainChardev, path, "path"),
    XML_ATTR_ENUM(DomainChardev, append, "append", on_off_names),
    SECLABELS,
    XML_END,
};

static const XmlField reconnect_fields[] = {
    XML_ATTR_ENUM(DomainChardev, reconnect_enabled, "enabled", yes_no_names, .flags = XML_REQUIRED),
    XML_ATTR(DomainChardev, reconnect_timeout_s, "timeout", xml_u32),
    XML_END,
};

static const XmlField unix_source[] = {
    XML_ATTR_ENUM(DomainChardev, mode, "mode", socket_mode_names),
    XML_ATTR_STR(DomainChardev, path, "path"),
    XML_NEST("reconnect", reconnect_fields),
    SECLABELS,
    XML_END,
};

static const XmlField tcp_source[] = {
    XML_ATTR_ENUM(DomainChardev, mode, "mode", socket_mode_names),
    XML_ATTR_STR(DomainChardev, host, "host"),
    XML_ATTR_STR(DomainChardev, service, "service"),
    XML_ATTR_ENUM(DomainChardev, tls, "tls", yes_no_names),
    XML_NEST("reconnect", reconnect_fields),
    SECLABELS,
    XML_END,
};

/* UDP has two <source> elements: what to listen on and where to send to. */
static bool udp_parse(XmlParse *parse, xmlNode *node, void *base, GError **error)
{
    DomainChardev *chardev = base;
    g_autofree char *mode = xml_attr(node, "mode");
    bool is_bind = mode != NULL && strcmp(mode, "bind") == 0;
    if (mode != NULL && !is_bind && strcmp(mode, "connect") != 0) {
        xml_error(node, CONF_ERROR_XML, error, "invalid value '%.64s' of attribute 'mode'", mode);
        return false;
    }
    char **host = is_bind ? &chardev->bind_host : &chardev->host;
    char **service = is_bind ? &chardev->bind_service : &chardev->service;
    g_free(*host);
    g_free(*service);
    *host = xml_attr(node, "host");
    *service = xml_attr(node, "service");
    return true;
}

static void udp_write(XmlWriter *writer, const char *mode, const char *host, const char *service)
{
    if (host == NULL && service == NULL) {
        return;
    }
    xml_write_start(writer, "source");
    xml_write_attr(writer, "mode", mode);
    if (host != NULL) {
        xml_write_attr(writer, "host", host);
    }
    if (service != NULL) {
        xml_write_attr(writer, "service", service);
    }
    xml_write_end(writer);
}

static void udp_format(XmlWriter *writer, const void *base, unsigned flags)
{
    const DomainChardev *chardev = base;
    udp_write(writer, "bind", chardev->bind_host, chardev->bind_service);
    udp_write(writer, "connect", chardev->host, chardev->service);
}

static const XmlHook udp_hook = { udp_parse, udp_format };

static const XmlField protocol_fields[] = {
    XML_ATTR_ENUM(DomainChardev, protocol, "type", tcp_protocol_names),
    XML_END,
};

static const XmlField *const type_variants[] = {
    [CHARDEV_PTY] = FIELDS(XML_NEST("source", path_source)),
    [CHARDEV_DEV] = FIELDS(XML_NEST("source", path_source)),
    [CHARDEV_PIPE] = FIELDS(XML_NEST("source", path_source)),
    [CHARDEV_FILE] = FIELDS(XML_NEST("source", file_source)),
    [CHARDEV_UNIX] = FIELDS(XML_NEST("source", unix_source)),
    [CHARDEV_TCP] = FIELDS(XML_NEST("source", tcp_source), XML_NEST("protocol", protocol_fields)),
    [CHARDEV_UDP] = FIELDS(XML_HOOK("source", udp_hook), XML_OWNED(DomainChardev, bind_host),
                           XML_OWNED(DomainChardev, bind_service), XML_OWNED(DomainChardev, host),
                           XML_OWNED(DomainChardev, service)),
    [CHARDEV_SPICEPORT] =
        FIELDS(XML_NEST("source", FIELDS(XML_ATTR_STR(DomainChardev, channel, "channel")))),
    [CHARDEV_DBUS] =
        FIELDS(XML_NEST("source", FIELDS(XML_ATTR_STR(DomainChardev, channel, "channel")))),
    [CHARDEV_NMDM] =
        FIELDS(XML_NEST("source", FIELDS(XML_ATTR_STR(DomainChardev, master, "master"),
                                         XML_ATTR_STR(DomainChardev, slave, "slave")))),
    [CHARDEV_QEMU_VDAGENT] = FIELDS(XML_NEST(
        "source",
        FIELDS(XML_NEST("clipboard", FIELDS(XML_ATTR_ENUM(DomainChardev, clipboard_copypaste,
                                                          "copypaste", yes_no_names))),
               XML_NEST("mouse", FIELDS(XML_ATTR_STR(DomainChardev, mouse_mode, "mode")))))),
};

const XmlField chardev_content_fields[] = {
    XML_VARIANT(DomainChardev, type, type_variants),
    XML_NEST("log", FIELDS(XML_ATTR_STR(DomainChardev, log_file, "file", .flags = XML_REQUIRED),
                           XML_ATTR_ENUM(DomainChardev, log_append, "append", on_off_names))),
    XML_END,
};

const XmlField chardev_fields[] = {
    XML_ATTR_ENUM(DomainChardev, type, "type", chardev_type_names,
                  .invalid = CONF_ERROR_UNSUPPORTED),
    XML_INCLUDE(chardev_content_fields),
    XML_END,
};

const XmlField serial_fields[] = {
    XML_INLINE(DomainCharDevice, source, chardev_fields),
    XML_NEST("target",
             FIELDS(XML_ATTR_ENUM(DomainCharDevice, serial_type, "type", serial_target_names),
                    XML_ATTR(DomainCharDevice, port, "port", xml_opt, .max = INT32_MAX),
                    XML_NEST("model", FIELDS(XML_ATTR_ENUM(DomainCharDevice, serial_model, "name",
                                                           serial_model_names))))),
    XML_INLINE(DomainCharDevice, device, device_fields),
    XML_END,
};

const XmlField parallel_fields[] = {
    XML_INLINE(DomainCharDevice, source, chardev_fields),
    XML_NEST("target", FIELDS(XML_ATTR_STR(DomainCharDevice, channel_name, "type"),
                              XML_ATTR(DomainCharDevice, port, "port", xml_opt, .max = INT32_MAX))),
    XML_INLINE(DomainCharDevice, device, device_fields),
    XML_END,
};

const XmlField console_fields[] = {
    XML_INLINE(DomainCharDevice, source,
               FIELDS(XML_ATTR_ENUM(DomainChardev, type, "type", chardev_type_names,
                                    .invalid = CONF_ERROR_UNSUPPORTED))),
    XML_ATTR_STR(DomainCharDevice, tty, "tty"),
    XML_INLINE(DomainCharDevice, source, chardev_content_fields),
    XML_NEST("target",
             FIELDS(XML_ATTR_ENUM(DomainCharDevice, console_type, "type", console_target_names),
                    XML_ATTR(DomainCharDevice, port, "port", xml_opt, .max = INT32_MAX))),
    XML_INLINE(DomainCharDevice, device, device_fields),
    XML_END,
};

static const XmlField *const channel_target_variants[] = {
    [CHANNEL_VIRTIO] =
        FIELDS(XML_ATTR_STR(DomainCharDevice, channel_name, "name"),
               XML_ATTR_ENUM(DomainCharDevice, channel_state, "state", channel_state_names)),
    [CHANNEL_XEN] = FIELDS(XML_ATTR_STR(DomainCharDevice, channel_name, "name")),
    [CHANNEL_GUESTFWD] = FIELDS(XML_ATTR_STR(DomainCharDevice, guestfwd_address, "address"),
                                XML_ATTR_STR(DomainCharDevice, guestfwd_port, "port")),
};

const XmlField channel_fields[] = {
    XML_INLINE(DomainCharDevice, source, chardev_fields),
    XML_NEST("target",
             FIELDS(XML_ATTR_ENUM(DomainCharDevice, channel_type, "type", channel_target_names,
                                  .flags = XML_REQUIRED, .invalid = CONF_ERROR_UNSUPPORTED),
                    XML_VARIANT(DomainCharDevice, channel_type, channel_target_variants)),
             .flags = XML_REQUIRED),
    XML_INLINE(DomainCharDevice, device, device_fields),
    XML_END,
};

const XmlField smartcard_fields[] = {
    XML_ATTR_ENUM(DomainSmartcard, mode, "mode", smartcard_mode_names, .flags = XML_REQUIRED),
    XML_INLINE(DomainSmartcard, source, chardev_fields),
    XML_LEAF(DomainSmartcard, database, "database", xml_path),
    XML_INLINE(DomainSmartcard, device, device_fields),
    XML_END,
};

const XmlField redirdev_fields[] = {
    XML_ATTR_STR(DomainRedirdev, bus, "bus"),
    XML_INLINE(DomainRedirdev, source, chardev_fields),
    XML_INLINE(DomainRedirdev, device, device_fields),
    XML_END,
};

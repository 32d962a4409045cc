/* What people see, hear and type on: <graphics>, <video>, <input>, <sound>, <hub>.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/domain/tables.h"

static const XmlField listen_fields[] = {
    XML_ATTR_ENUM(DomainGraphicsListen, type, "type", listen_type_names, .flags = XML_REQUIRED),
    XML_ATTR_STR(DomainGraphicsListen, address, "address"),
    XML_ATTR_STR(DomainGraphicsListen, network, "network"),
    XML_ATTR_STR(DomainGraphicsListen, socket, "socket"),
    XML_END,
};

#define LISTENS XML_LIST(DomainGraphics, listens, "listen", DomainGraphicsListen, listen_fields)
#define AUDIO XML_NEST("audio", FIELDS(XML_ATTR(DomainGraphics, audio_id, "id", xml_opt)))
#define PASSWORD                                                                                   \
    XML_ATTR_STR(DomainGraphics, passwd, "passwd", .flags = XML_SECRET),                           \
        XML_ATTR_STR(DomainGraphics, passwd_valid_to, "passwdValidTo", .flags = XML_SECRET),       \
        XML_ATTR_ENUM(DomainGraphics, connected, "connected", graphics_connected_names)
#define GL                                                                                         \
    XML_NEST("gl", FIELDS(XML_ATTR_ENUM(DomainGraphics, gl_enable, "enable", yes_no_names),        \
                          XML_ATTR_STR(DomainGraphics, gl_rendernode, "rendernode")))

static const XmlField vnc_fields[] = {
    XML_ATTR(DomainGraphics, port, "port", xml_i64, .invalid = CONF_ERROR_INTERNAL),
    XML_ATTR_ENUM(DomainGraphics, autoport, "autoport", yes_no_names),
    XML_ATTR(DomainGraphics, websocket, "websocket", xml_i64),
    XML_ATTR_STR(DomainGraphics, keymap, "keymap"),
    XML_ATTR_ENUM(DomainGraphics, share_policy, "sharePolicy", vnc_share_names),
    XML_ATTR_ENUM(DomainGraphics, power_control, "powerControl", yes_no_names),
    PASSWORD,
    LISTENS,
    AUDIO,
    XML_END,
};

#define COMPRESSION(member, element)                                                               \
    XML_NEST(element, FIELDS(XML_ATTR_STR(DomainGraphics, member, "compression")))

static const XmlField spice_fields[] = {
    XML_ATTR(DomainGraphics, port, "port", xml_i64, .invalid = CONF_ERROR_INTERNAL),
    XML_ATTR(DomainGraphics, tls_port, "tlsPort", xml_i64),
    XML_ATTR_ENUM(DomainGraphics, autoport, "autoport", yes_no_names),
    XML_ATTR_STR(DomainGraphics, keymap, "keymap"),
    XML_ATTR_STR(DomainGraphics, default_mode, "defaultMode"),
    PASSWORD,
    LISTENS,
    XML_LIST(DomainGraphics, channels, "channel", DomainSpiceChannel,
             FIELDS(XML_ATTR_STR(DomainSpiceChannel, name, "name", .flags = XML_REQUIRED),
                    XML_ATTR_STR(DomainSpiceChannel, mode, "mode", .flags = XML_REQUIRED))),
    COMPRESSION(image_compression, "image"),
    COMPRESSION(jpeg_compression, "jpeg"),
    COMPRESSION(zlib_compression, "zlib"),
    XML_NEST("playback", FIELDS(XML_ATTR_ENUM(DomainGraphics, playback_compression, "compression",
                                              on_off_names))),
    XML_NEST("streaming", FIELDS(XML_ATTR_STR(DomainGraphics, streaming_mode, "mode"))),
    XML_NEST("mouse", FIELDS(XML_ATTR_STR(DomainGraphics, mouse_mode, "mode"))),
    XML_NEST("clipboard",
             FIELDS(XML_ATTR_ENUM(DomainGraphics, clipboard_copypaste, "copypaste", yes_no_names))),
    XML_NEST("filetransfer",
             FIELDS(XML_ATTR_ENUM(DomainGraphics, filetransfer_enable, "enable", yes_no_names))),
    GL,
    AUDIO,
    XML_END,
};

static const XmlField sdl_fields[] = {
    XML_ATTR_STR(DomainGraphics, display, "display"),
    XML_ATTR_STR(DomainGraphics, xauth, "xauth"),
    XML_ATTR_ENUM(DomainGraphics, fullscreen, "fullscreen", yes_no_names),
    GL,
    AUDIO,
    XML_END,
};

static const XmlField rdp_fields[] = {
    XML_ATTR(DomainGraphics, port, "port", xml_i64, .invalid = CONF_ERROR_INTERNAL),
    XML_ATTR_ENUM(DomainGraphics, autoport, "autoport", yes_no_names),
    XML_ATTR_STR(DomainGraphics, multi_user, "multiUser"),
    XML_ATTR_STR(DomainGraphics, replace_user, "replaceUser"),
    LISTENS,
    XML_END,
};

static const XmlField dbus_fields[] = {
    XML_ATTR_ENUM(DomainGraphics, p2p, "p2p", yes_no_names),
    XML_ATTR_STR(DomainGraphics, address, "address"),
    GL,
    AUDIO,
    XML_END,
};

static const XmlField egl_fields[] = {
    GL,
    AUDIO,
    XML_END,
};

static const XmlField *const graphics_variants[] = {
    [GRAPHICS_SDL] = sdl_fields,     [GRAPHICS_VNC] = vnc_fields,
    [GRAPHICS_RDP] = rdp_fields,     [GRAPHICS_DESKTOP] = sdl_fields,
    [GRAPHICS_SPICE] = spice_fields, [GRAPHICS_EGL_HEADLESS] = egl_fields,
    [GRAPHICS_DBUS] = dbus_fields,
};

/* The attributes "listen" and "socket" repeat the first <listen>: older clients read them. */
static const char *first_listen(const DomainGraphics *graphics, DomainListenType type)
{
    if (graphics->listens.count == 0) {
        return NULL;
    }
    const DomainGraphicsListen *listen = graphics->listens.item[0];
    if (listen->type != type) {
        return NULL;
    }
    return type == LISTEN_SOCKET ? listen->socket : listen->address;
}

static bool address_attr_parse(const XmlField *field, const xmlNode *node, const char *text,
                               void *out, GError **error)
{
    return true; /* domain_graphics_listen_attr() reads it */
}

static bool address_attr_is_set(const XmlField *field, const void *value)
{
    return first_listen(value, LISTEN_ADDRESS) != NULL;
}

static void address_attr_format(const XmlField *field, const void *value, GString *out)
{
    g_string_append(out, first_listen(value, LISTEN_ADDRESS));
}

static bool socket_attr_is_set(const XmlField *field, const void *value)
{
    return first_listen(value, LISTEN_SOCKET) != NULL;
}

static void socket_attr_format(const XmlField *field, const void *value, GString *out)
{
    g_string_append(out, first_listen(value, LISTEN_SOCKET));
}

static const XmlScalar address_attr = { false, address_attr_parse, address_attr_is_set,
                                        address_attr_format };
static const XmlScalar socket_attr = { false, address_attr_parse, socket_attr_is_set,
                                       socket_attr_format };

const XmlField graphics_fields[] = {
    XML_ATTR_ENUM(DomainGraphics, type, "type", graphics_type_names, .flags = XML_REQUIRED),
    XML_ATTR(DomainGraphics, device, "listen", address_attr),
    XML_ATTR(DomainGraphics, device, "socket", socket_attr),
    XML_VARIANT(DomainGraphics, type, graphics_variants),
    XML_INLINE(DomainGraphics, device, device_fields),
    XML_END,
};

const XmlField video_fields[] = {
    XML_NEST("driver", FIELDS(XML_ATTR_ENUM(DomainVideo, driver, "name", video_driver_names),
                              XML_ATTR_ENUM(DomainVideo, vgaconf, "vgaconf", vgaconf_names),
                              XML_INLINE(DomainVideo, virtio, virtio_fields))),
    XML_NEST("model",
             FIELDS(XML_ATTR_ENUM(DomainVideo, model, "type", video_model_names,
                                  .flags = XML_REQUIRED, .invalid = CONF_ERROR_UNSUPPORTED),
                    XML_ATTR(DomainVideo, ram, "ram", xml_u32),
                    XML_ATTR(DomainVideo, vram, "vram", xml_u32),
                    XML_ATTR(DomainVideo, vram64, "vram64", xml_u32),
                    XML_ATTR(DomainVideo, vgamem, "vgamem", xml_u32),
                    XML_ATTR(DomainVideo, heads, "heads", xml_u32),
                    XML_ATTR_ENUM(DomainVideo, primary, "primary", yes_no_names),
                    XML_ATTR_ENUM(DomainVideo, blob, "blob", on_off_names),
                    XML_NEST("acceleration",
                             FIELDS(XML_ATTR_ENUM(DomainVideo, accel3d, "accel3d", yes_no_names),
                                    XML_ATTR_ENUM(DomainVideo, accel2d, "accel2d", yes_no_names),
                                    XML_ATTR_STR(DomainVideo, rendernode, "rendernode"))),
                    XML_NEST("resolution", FIELDS(XML_ATTR(DomainVideo, res_x, "x", xml_u32,
                                                           .flags = XML_REQUIRED),
                                                  XML_ATTR(DomainVideo, res_y, "y", xml_u32,
                                                           .flags = XML_REQUIRED))))),
    XML_INLINE(DomainVideo, device, device_fields),
    XML_END,
};

const XmlField input_fields[] = {
    XML_ATTR_ENUM(DomainInput, type, "type", input_type_names, .flags = XML_REQUIRED,
                  .invalid = CONF_ERROR_UNSUPPORTED),
    XML_ATTR_ENUM(DomainInput, bus, "bus", input_bus_names),
    XML_ATTR_ENUM(DomainInput, model, "model", virtio_model_names),
    XML_NEST("driver", FIELDS(XML_INLINE(DomainInput, virtio, virtio_fields))),
    XML_NEST("source", FIELDS(XML_ATTR_STR(DomainInput, source_evdev, "evdev"),
                              XML_ATTR_STR(DomainInput, source_dev, "dev"),
                              XML_ATTR_STR(DomainInput, source_grab, "grab"),
                              XML_ATTR_STR(DomainInput, source_grab_toggle, "grabToggle"),
                              XML_ATTR_ENUM(DomainInput, source_repeat, "repeat", on_off_names))),
    XML_INLINE(DomainInput, device, device_fields),
    XML_END,
};

const XmlField sound_fields[] = {
    XML_ATTR_ENUM(DomainSound, model, "model", sound_model_names, .flags = XML_REQUIRED),
    XML_ATTR_ENUM(DomainSound, multichannel, "multichannel", yes_no_names),
    XML_LIST(DomainSound, codecs, "codec", DomainSoundCodec,
             FIELDS(XML_ATTR_STR(DomainSoundCodec, type, "type"))),
    XML_NEST("audio", FIELDS(XML_ATTR(DomainSound, audio_id, "id", xml_opt))),
    XML_INLINE(DomainSound, device, device_fields),
    XML_END,
};

const XmlField hub_fields[] = {
    XML_ATTR_STR(DomainHub, type, "type", .flags = XML_REQUIRED),
    XML_INLINE(DomainHub, device, device_fields),
    XML_END,
};

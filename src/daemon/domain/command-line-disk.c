/* Arguments of disks.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/backing-chain.h"
#include "daemon/domain/command-line-private.h"
#include "daemon/domain/device-table.h"
#include "daemon/error.h"

#include <json-glib/json-glib.h>
#include <string.h>
#include <sys/stat.h>

#define NBD_PORT "10809"

static const char *error_policy(DomainErrorPolicy policy)
{
    static const char *const words[] = { [ERROR_POLICY_STOP] = "stop",
                                         [ERROR_POLICY_REPORT] = "report",
                                         [ERROR_POLICY_IGNORE] = "ignore",
                                         [ERROR_POLICY_ENOSPACE] = "enospc" };
    return words[policy];
}

static const char *disk_format(const DomainDisk *disk)
{
    return disk->driver.format ? domain_name(image_format, disk->driver.format) : "raw";
}

/* As JSON writes it, with its quotes (transfer full). */
static char *json_text(const char *text)
{
    g_autoptr(JsonNode) node = json_node_new(JSON_NODE_VALUE);
    json_node_set_string(node, text);
    return json_to_string(node, FALSE);
}

/* A tree, not a URI: there is no character that an export's name or a socket's path may not have.
 * (transfer full) */
static char *nbd_tree(const DomainDisk *disk, const DomainSourceHost *host)
{
    const char *name = disk->source.name;
    g_autofree char *format = json_text(disk_format(disk));
    g_autofree char *export = name && *name ? json_text(name) : NULL;
    g_autofree char *server = NULL;
    if (host->transport == NET_TRANSPORT_UNIX) {
        g_autofree char *path = json_text(host->socket);
        server = g_strdup_printf("\"type\":\"unix\",\"path\":%s", path);
    } else {
        g_autofree char *address = json_text(host->name ?: "");
        g_autofree char *port = json_text(host->port ?: NBD_PORT);
        server = g_strdup_printf("\"type\":\"inet\",\"host\":%s,\"port\":%s", address, port);
    }
    return g_strdup_printf("{\"driver\":%s,\"file\":{\"driver\":\"nbd\",\"server\":{%s}%s%s}}",
                           format, server, export ? ",\"export\":" : "", export ?: "");
}

/* What libvirt leaves in paths. (transfer full) */
static char *curl_uri(const DomainSource *source, const DomainSourceHost *host)
{
    const char *name = source->name ?: "";
    g_autofree char *path = g_uri_escape_string(name + (*name == '/'), "/!$&'()*+,;=@", FALSE);
    bool is_v6 = host->name && strchr(host->name, ':');
    return g_strdup_printf("%s://%s%s%s%s%s/%s%s%s", domain_name(net_protocol, source->protocol),
                           is_v6 ? "[" : "", host->name ?: "", is_v6 ? "]" : "",
                           host->port ? ":" : "", host->port ?: "", path, source->query ? "?" : "",
                           source->query ?: "");
}

/* Of an image on the network: one of the two (transfer full). False with @error. */
static bool network_source(const CommandLine *line, const DomainDisk *disk, char **out_tree,
                           char **out_uri, GError **error)
{
    const DomainSource *source = &disk->source;
    bool is_nbd = source->protocol == NET_PROTOCOL_NBD;
    bool is_curl = source->protocol == NET_PROTOCOL_HTTP ||
                   source->protocol == NET_PROTOCOL_HTTPS || source->protocol == NET_PROTOCOL_FTP ||
                   source->protocol == NET_PROTOCOL_FTPS;
    const DomainSourceHost *host = source->hosts.count ? source->hosts.item[0] : NULL;
    bool is_one = source->hosts.count == 1;
    bool is_by_socket = is_one && host->transport == NET_TRANSPORT_UNIX;
    if (!(is_nbd || (is_curl && line->engine == ENGINE_QEMU && !is_by_socket)) || !is_one) {
        return line_refuse_unless(line, (is_nbd || (is_curl && !is_by_socket)) && is_one, error,
                                  "disk '%s' by the protocol '%s'%s", disk->target_dev,
                                  domain_name(net_protocol, source->protocol) ?: "none",
                                  !is_one                   ? " without just one <host>"
                                  : is_curl && is_by_socket ? " over a socket"
                                                            : "");
    }
    if (is_nbd) {
        *out_tree = nbd_tree(disk, host);
    } else {
        *out_uri = curl_uri(source, host);
    }
    return true;
}

/* QEMU opens disks of the host by a driver of their own. */
static bool is_host_disk(const CommandLine *line, int fd)
{
    struct stat st;
    return line->engine == ENGINE_QEMU && line->ops->has_images && fstat(fd, &st) == 0 &&
           S_ISBLK(st.st_mode);
}

/* @prefix: of QEMU's driver for the descriptor, or ""; @tree: of an image with backing files or
 * by NBD, or NULL; @uri: of another on the network, or NULL. */
static char *disk_drive(CommandLine *line, const DomainDisk *disk, unsigned set, const char *prefix,
                        const char *tree, const char *uri)
{
    const DomainDiskDriver *driver = &disk->driver;
    const char *format = disk_format(disk);
    GString *text = g_string_new(NULL);
    if (tree) {
        g_autofree char *escaped = line_escape(tree);
        g_string_append_printf(text, "file=json:%s,", escaped);
    } else if (uri) {
        g_autofree char *escaped = line_escape(uri);
        g_string_append_printf(text, "file=%s,format=%s,", escaped, format);
    } else if (set) {
        g_string_append_printf(text, "file=%s/dev/fdset/%u,format=%s,", prefix, set, format);
    }
    g_string_append_printf(text, "if=none,id=drive-%s", disk->device.alias);
    if (disk->device_type == DISK_DEVICE_CDROM && line->engine == ENGINE_QEMU) {
        g_string_append(text, ",media=cdrom");
    }
    if (disk->is_readonly || disk->device_type == DISK_DEVICE_CDROM) {
        g_string_append(text, ",readonly=on");
    } else if (line->engine == ENGINE_QEMU) {
        /* Else QEMU starts with a second, read-only descriptor, whose locks stay and are in the way
         * of block_resize. */
        g_string_append(text, ",auto-read-only=off");
    }
    if (driver->cache > DISK_CACHE_DEFAULT) {
        g_string_append_printf(text, ",cache=%s", domain_name(disk_cache, driver->cache));
    }
    if (driver->discard) {
        g_string_append_printf(text, ",discard=%s", domain_name(discard, driver->discard));
    }
    if (driver->io) {
        g_string_append_printf(text, ",aio=%s", domain_name(disk_io, driver->io));
    }
    if (driver->error_policy && disk->device_type != DISK_DEVICE_CDROM) {
        g_string_append_printf(text, ",werror=%s", error_policy(driver->error_policy));
    }
    if (driver->rerror_policy) {
        g_string_append_printf(text, ",rerror=%s", error_policy(driver->rerror_policy));
    }
    if (driver->detect_zeroes) {
        g_string_append_printf(text, ",detect-zeroes=%s",
                               domain_name(detect_zeroes, driver->detect_zeroes));
    }
    line_append_tri(text, "copy-on-read", driver->copy_on_read);
    return g_string_free(text, FALSE);
}

static char *ide_device(CommandLine *line, const DomainDisk *disk)
{
    const char *kind = disk->device_type == DISK_DEVICE_CDROM ? "ide-cd" : "ide-hd";
    const DomainAddress *address = &disk->device.address;
    g_autofree char *bus = NULL;
    if (disk->bus == DISK_BUS_SATA) {
        /* The ports of Q35's own controller are its "ide" buses. */
        bool is_first = address->controller == 0 && domain_def_is_q35(line->def);
        bus = is_first ? g_strdup_printf("ide.%u", address->unit)
                       : g_strdup_printf("sata%u.%u", address->controller, address->unit);
    } else {
        bus = g_strdup_printf("ide.%u,unit=%u", address->bus, address->unit);
    }
    return g_strdup_printf("%s,bus=%s,drive=drive-%s,id=%s", kind, bus, disk->device.alias,
                           disk->device.alias);
}

/* What only some of QEMU's disks have. */
static void append_identity(GString *text, const DomainDisk *disk)
{
    const struct {
        const char *name, *value;
    } words[] = { { "wwn", disk->wwn }, { "vendor", disk->vendor }, { "product", disk->product } };
    for (unsigned i = 0; i < G_N_ELEMENTS(words); i++) {
        if (words[i].value) {
            g_autofree char *value = line_escape(words[i].value);
            g_string_append_printf(text, ",%s=%s%s", words[i].name, i == 0 ? "0x" : "", value);
        }
    }
    if (disk->rotation_rate.set) {
        g_string_append_printf(text, ",rotation_rate=%" G_GUINT64_FORMAT,
                               disk->rotation_rate.value);
    }
    if (disk->cyls) {
        g_string_append_printf(text, ",cyls=%u,heads=%u,secs=%u", disk->cyls, disk->heads,
                               disk->secs);
    }
    line_append_tri(text, "removable", disk->removable);
}

static void append_common(GString *text, const DomainDisk *disk)
{
    const struct {
        const char *name;
        unsigned value;
    } sizes[] = { { "logical_block_size", disk->logical_block_size },
                  { "physical_block_size", disk->physical_block_size } };
    for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
        if (sizes[i].value) {
            g_string_append_printf(text, ",%s=%u", sizes[i].name, sizes[i].value);
        }
    }
    if (disk->is_shareable) {
        g_string_append(text, ",share-rw=on");
    }
    append_identity(text, disk);
    if (disk->serial) {
        g_autofree char *serial = line_escape(disk->serial);
        g_string_append_printf(text, ",serial=%s", serial);
    }
}

static char *virtio_disk(CommandLine *line, const DomainDisk *disk, GError **error)
{
    const DomainDevice *device = &disk->device;
    const DomainDiskDriver *driver = &disk->driver;
    DomainVirtioModel model = disk->model ? disk->model : VIRTIO_MODEL_VIRTIO;
    const char *word = device_table_word(PROPERTY_DISK_MODEL, (int)model, line->engine);
    if (!word) {
        line_refuse_unless(line, device_table_has(PROPERTY_DISK_MODEL, (int)model, ENGINE_QEMU),
                           error, "disk '%s' of model '%s'", disk->target_dev,
                           domain_name(virtio_model, model));
        return NULL;
    }
    g_autofree char *name = line_virtio_name(line, "blk");
    g_autofree char *address = line_address(line, device);
    g_autofree char *options = line_virtio_options(&driver->virtio);
    GString *text = g_string_new(name);
    g_string_append_printf(text, "%s,drive=drive-%s,id=%s%s%s", address, device->alias,
                           device->alias, word, options);
    if (driver->queues) {
        g_string_append_printf(text, ",num-queues=%u", driver->queues);
    }
    if (driver->queue_size) {
        g_string_append_printf(text, ",queue-size=%u", driver->queue_size);
    }
    if (driver->iothread) {
        g_string_append_printf(text, ",iothread=iothread%u", driver->iothread);
    }
    line_append_tri(text, "ioeventfd", driver->ioeventfd);
    line_append_tri(text, "event_idx", driver->event_idx);
    return g_string_free(text, FALSE);
}

bool line_check_disk(const CommandLine *line, const DomainDisk *disk, GError **error)
{
    bool has_type = device_table_word(PROPERTY_DISK_DEVICE, (int)disk->device_type, line->engine);
    bool has_bus = device_table_word(PROPERTY_DISK_BUS, (int)disk->bus, line->engine);
    bool is_virtio_cdrom = disk->device_type == DISK_DEVICE_CDROM && disk->bus == DISK_BUS_VIRTIO;
    bool others_have =
        !is_virtio_cdrom &&
        device_table_has(PROPERTY_DISK_DEVICE, (int)disk->device_type, ENGINE_QEMU) &&
        device_table_has(PROPERTY_DISK_BUS, (int)disk->bus, ENGINE_QEMU);
    if (has_type && has_bus && !is_virtio_cdrom) {
        return true;
    }
    bool is_plain = line->engine == ENGINE_LODGE && disk->device_type == DISK_DEVICE_DISK;
    return line_refuse_unless(line, others_have, error, "%s '%s' on bus '%s'%s",
                              domain_name(disk_device, disk->device_type), disk->target_dev,
                              domain_name(disk_bus, disk->bus) ?: "none",
                              is_plain ? " (use bus 'virtio')" : "");
}

static char *disk_device(CommandLine *line, const DomainDisk *disk, GError **error)
{
    const DomainDevice *device = &disk->device;
    const DomainAddress *a = &device->address;
    bool is_cdrom = disk->device_type == DISK_DEVICE_CDROM;
    char *text = NULL;
    if (!line_check_disk(line, disk, error)) {
        return NULL;
    }
    if (disk->bus == DISK_BUS_VIRTIO) {
        text = virtio_disk(line, disk, error);
    } else if (disk->bus == DISK_BUS_SATA || disk->bus == DISK_BUS_IDE) {
        text = ide_device(line, disk);
    } else if (disk->bus == DISK_BUS_SCSI) {
        text = g_strdup_printf("%s,bus=scsi%u.0,channel=0,scsi-id=%u,lun=%u,drive=drive-%s,id=%s",
                               is_cdrom ? "scsi-cd" : "scsi-hd", a->controller, a->target, a->unit,
                               device->alias, device->alias);
    } else if (disk->bus == DISK_BUS_USB) {
        g_autofree char *usb = line_usb_address(device);
        text = g_strdup_printf("usb-storage%s,drive=drive-%s,id=%s", usb, device->alias,
                               device->alias);
    } else {
        text = g_strdup_printf("floppy,unit=%u,drive=drive-%s,id=%s", a->unit, device->alias,
                               device->alias);
    }
    if (!text) {
        return NULL;
    }
    GString *all = g_string_new(text);
    g_free(text);
    append_common(all, disk);
    return line_finish(line, g_string_free(all, FALSE), device);
}

bool line_add_reader(CommandLine *line, unsigned set, int fd, GError **error)
{
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
    int reader = line->ops->open_file(line->opaque, path, false, error);
    if (reader < 0) {
        return false;
    }
    line_add_fd_to(line, set, reader);
    return true;
}

/* Opens the files behind an image, so that the guest's process needs no rights to them, and a name
 * relative to the image means what it says. @out_tree: the whole as JSON (transfer full), or NULL:
 * there are none. */
static bool add_backing(CommandLine *line, const DomainDisk *disk, unsigned set, bool is_device,
                        char **out_tree, GError **error)
{
    g_autoptr(GPtrArray) layers = NULL;
    if (!line->ops->has_images) {
        return true;
    }
    if (!backing_chain_read(disk->source.path, disk_format(disk), &layers, error)) {
        return false;
    }
    if (!layers) {
        return true;
    }
    GString *tree = g_string_new(NULL);
    g_string_append_printf(tree,
                           "{\"driver\":\"%s\",\"file\":{\"driver\":\"%s\",\"filename\":"
                           "\"/dev/fdset/%u\"}",
                           disk_format(disk), is_device ? "host_device" : "file", set);
    for (unsigned i = 0; i < layers->len; i++) {
        const BackingLayer *layer = layers->pdata[i];
        g_autofree char *format = json_text(layer->format); /* what a header says */
        int fd = line->ops->open_file(line->opaque, layer->path, false, error);
        if (fd < 0) {
            g_string_free(tree, TRUE);
            g_prefix_error(error, "disk '%s': backing file: ", disk->target_dev);
            return false;
        }
        const char *driver = is_host_disk(line, fd) ? "host_device" : "file";
        g_string_append_printf(tree,
                               ",\"backing\":{\"driver\":%s,\"file\":{\"driver\":\"%s\","
                               "\"filename\":\"/dev/fdset/%u\"}",
                               format, driver, line_add_fd(line, fd));
    }
    for (unsigned i = 0; i <= layers->len; i++) {
        g_string_append_c(tree, '}');
    }
    *out_tree = g_string_free(tree, FALSE);
    return true;
}

bool line_add_disk(CommandLine *line, DomainDevice *device, GError **error)
{
    DomainDisk *disk = (DomainDisk *)device;
    if (disk->source.type == SOURCE_VOLUME) {
        daemon_error_set(error, DAEMON_ERROR_NO_STORAGE_POOL,
                         "Storage pool not found: no storage pool with matching name '%s'; name "
                         "the file of disk '%s' instead",
                         disk->source.pool ?: "", disk->target_dev);
        return false;
    }
    g_autofree char *text = disk_device(line, disk, error);
    if (!text) {
        return false;
    }
    unsigned set = 0;
    bool is_device = false;
    g_autofree char *tree = NULL;
    g_autofree char *uri = NULL;
    if (disk->source.type == SOURCE_NETWORK) {
        if (!network_source(line, disk, &tree, &uri, error)) {
            return false;
        }
    } else if (disk->source.path) {
        if (disk->source.type != SOURCE_FILE && disk->source.type != SOURCE_BLOCK) {
            return line_refuse_unless(line, false, error, "disk '%s' of type '%s'",
                                      disk->target_dev,
                                      domain_name(source_type, disk->source.type));
        }
        int fd = line->ops->open_disk(line->opaque, disk, error);
        if (fd < 0) {
            return false;
        }
        is_device = is_host_disk(line, fd);
        set = line_add_fd(line, fd);
        if (!add_backing(line, disk, set, is_device, &tree, error)) {
            return false;
        }
    } else if (disk->source.type != SOURCE_FILE && disk->source.type != SOURCE_BLOCK) {
        return line_refuse_unless(line, false, error, "disk '%s' of type '%s'", disk->target_dev,
                                  domain_name(source_type, disk->source.type));
    } else if (line->engine == ENGINE_LODGE) {
        return line_refuse(line, error, "empty drive '%s'", disk->target_dev);
    }
    line_add(line, "-drive",
             disk_drive(line, disk, set, is_device ? "host_device:" : "", tree, uri));
    line_add(line, "-device", g_steal_pointer(&text));
    return true;
}

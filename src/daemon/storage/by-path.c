/* Images by their paths, as storage volumes: enough for clients that look an image up before they
 * give it to a guest (virt-install, virt-clone).
 *
 * There are no managed pools. A volume is any image file or block device named by its absolute
 * path, which is its key as well; its pool stands for the folder, is named as that and is on no
 * list. Nothing is kept: each call looks at the file. Making volumes and pools is left out and
 * refused. SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "base/fd.h"
#include "block/block.h"
#include "conf/xml.h"
#include "daemon/domain/image-size.h"
#include "daemon/error.h"
#include "daemon/modules.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define PROBE_BYTES 4096u
#define POOL_RUNNING 2
#define HASH_BYTES 20u /* SHA-1 */

enum { VOLUME_FILE = 0, VOLUME_BLOCK = 1 };

typedef struct Image {
    const char *path; /* borrowed */
    const char *format;
    struct stat st;
    guint64 capacity; /* what a guest sees, bytes */
} Image;

static bool not_found(const char *path, GError **error)
{
    daemon_error_set(error, DAEMON_ERROR_NO_STORAGE_VOL,
                     "Storage volume not found: no storage vol with matching path '%s'", path);
    return false;
}

/* Read-only clients learn nothing of files: to them there are none. */
static bool look_at(DaemonCall *call, const char *path, Image *out, GError **error)
{
    guint8 head[PROBE_BYTES];
    if (call_identity(call)->read_only || !g_path_is_absolute(path)) {
        return not_found(path, error);
    }
    autofd fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    *out = (Image){ .path = path };
    if (fd < 0 || fstat(fd, &out->st) < 0 ||
        !(S_ISREG(out->st.st_mode) || S_ISBLK(out->st.st_mode))) {
        return not_found(path, error);
    }
    off_t end = lseek(fd, 0, SEEK_END);
    ssize_t n = pread(fd, head, sizeof(head), 0);
    if (end < 0 || n < 0) {
        daemon_error_set(error, DAEMON_ERROR_SYSTEM, "cannot read the image '%s': %s", path,
                         g_strerror(errno));
        return false;
    }
    out->format = block_probe(head, (size_t)n, path);
    out->capacity = image_size(path, out->format, (guint64)end);
    return true;
}

bool handle_storage_vol_lookup_by_path(DaemonCall *call,
                                       const RemoteStorageVolLookupByPathArgs *args,
                                       RemoteStorageVolLookupByPathRet *ret, GError **error)
{
    Image image;
    if (!look_at(call, args->path, &image, error)) {
        return false;
    }
    Arena *arena = call_arena(call);
    char *path = arena_take(arena, g_canonicalize_filename(args->path, "/"), NULL);
    ret->vol = (RemoteStorageVol){ .pool = arena_take(arena, g_path_get_dirname(path), NULL),
                                   .name = arena_take(arena, g_path_get_basename(path), NULL),
                                   .key = path };
    return true;
}

static bool volume_info(DaemonCall *call, const RemoteStorageVol *volume, char *out_type,
                        uint64_t *out_capacity, uint64_t *out_allocation, GError **error)
{
    Image image;
    if (!look_at(call, volume->key, &image, error)) {
        return false;
    }
    *out_type = S_ISBLK(image.st.st_mode) ? VOLUME_BLOCK : VOLUME_FILE;
    *out_capacity = image.capacity;
    *out_allocation =
        S_ISBLK(image.st.st_mode) ? image.capacity : (uint64_t)image.st.st_blocks * 512;
    return true;
}

bool handle_storage_vol_get_info(DaemonCall *call, const RemoteStorageVolGetInfoArgs *args,
                                 RemoteStorageVolGetInfoRet *ret, GError **error)
{
    return volume_info(call, &args->vol, &ret->type, &ret->capacity, &ret->allocation, error);
}

bool handle_storage_vol_get_path(DaemonCall *call, const RemoteStorageVolGetPathArgs *args,
                                 RemoteStorageVolGetPathRet *ret, GError **error)
{
    Image image;
    ret->name = args->vol.key;
    return look_at(call, args->vol.key, &image, error);
}

static void write_bytes(XmlWriter *w, const char *name, guint64 bytes)
{
    xml_write_start(w, name);
    xml_write_attr(w, "unit", "bytes");
    g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, bytes);
    xml_write_text(w, text);
    xml_write_end(w);
}

static void write_permissions(XmlWriter *w, const struct stat *st)
{
    xml_write_start(w, "permissions");
    xml_write_leaf_fmt(w, "mode", "0%o", (unsigned)st->st_mode & 07777);
    xml_write_leaf_fmt(w, "owner", "%u", (unsigned)st->st_uid);
    xml_write_leaf_fmt(w, "group", "%u", (unsigned)st->st_gid);
    xml_write_end(w);
}

bool handle_storage_vol_get_xml_desc(DaemonCall *call, const RemoteStorageVolGetXmlDescArgs *args,
                                     RemoteStorageVolGetXmlDescRet *ret, GError **error)
{
    Image image;
    if (!daemon_check_flags(args->flags, 0, error) ||
        !look_at(call, args->vol.key, &image, error)) {
        return false;
    }
    g_autofree char *name = g_path_get_basename(image.path);
    XmlWriter *w = xml_writer_new();
    xml_write_start(w, "volume");
    xml_write_attr(w, "type", S_ISBLK(image.st.st_mode) ? "block" : "file");
    xml_write_leaf(w, "name", name);
    xml_write_leaf(w, "key", image.path);
    write_bytes(w, "capacity", image.capacity);
    write_bytes(w, "allocation", (guint64)image.st.st_blocks * 512);
    write_bytes(w, "physical",
                S_ISBLK(image.st.st_mode) ? image.capacity : (guint64)image.st.st_size);
    xml_write_start(w, "target");
    xml_write_leaf(w, "path", image.path);
    xml_write_start(w, "format");
    xml_write_attr(w, "type", image.format);
    xml_write_end(w);
    write_permissions(w, &image.st);
    xml_write_end(w);
    xml_write_end(w);
    ret->xml = arena_take(call_arena(call), xml_writer_finish(w), NULL);
    return true;
}

/* --- the folder as a pool --- */

/* The same for a folder each time (RFC 4122, version 5 without a name space). */
static Uuid uuid_of(const char *folder)
{
    guint8 hash[HASH_BYTES];
    gsize size = sizeof(hash);
    Uuid uuid;
    g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA1);
    g_checksum_update(sum, (const guchar *)folder, -1);
    g_checksum_get_digest(sum, hash, &size);
    memcpy(uuid.byte, hash, sizeof(uuid.byte));
    uuid.byte[6] = (uuid.byte[6] & 0x0f) | 0x50;
    uuid.byte[8] = (uuid.byte[8] & 0x3f) | 0x80;
    return uuid;
}

bool handle_storage_pool_lookup_by_volume(DaemonCall *call,
                                          const RemoteStoragePoolLookupByVolumeArgs *args,
                                          RemoteStoragePoolLookupByVolumeRet *ret, GError **error)
{
    Image image;
    if (!look_at(call, args->vol.key, &image, error)) {
        return false;
    }
    char *folder = arena_take(call_arena(call), g_path_get_dirname(args->vol.key), NULL);
    ret->pool = (RemoteStoragePool){ .name = folder, .uuid = uuid_of(folder) };
    return true;
}

typedef struct Folder {
    struct stat st;
    guint64 capacity, available;
} Folder;

static bool look_at_folder(DaemonCall *call, const RemoteStoragePool *pool, Folder *out,
                           GError **error)
{
    struct statvfs fs;
    if (call_identity(call)->read_only || !g_path_is_absolute(pool->name) ||
        stat(pool->name, &out->st) < 0 || !S_ISDIR(out->st.st_mode) ||
        statvfs(pool->name, &fs) < 0) {
        daemon_error_set(error, DAEMON_ERROR_NO_STORAGE_POOL,
                         "Storage pool not found: no storage pool with matching name '%s'",
                         pool->name);
        return false;
    }
    out->capacity = (guint64)fs.f_blocks * fs.f_frsize;
    out->available = (guint64)fs.f_bavail * fs.f_frsize;
    return true;
}

bool handle_storage_pool_get_info(DaemonCall *call, const RemoteStoragePoolGetInfoArgs *args,
                                  RemoteStoragePoolGetInfoRet *ret, GError **error)
{
    Folder folder;
    if (!look_at_folder(call, &args->pool, &folder, error)) {
        return false;
    }
    ret->state = POOL_RUNNING;
    ret->capacity = folder.capacity;
    ret->allocation = folder.capacity - MIN(folder.available, folder.capacity);
    ret->available = folder.available;
    return true;
}

bool handle_storage_pool_is_active(DaemonCall *call, const RemoteStoragePoolIsActiveArgs *args,
                                   RemoteStoragePoolIsActiveRet *ret, GError **error)
{
    Folder folder;
    ret->active = 1;
    return look_at_folder(call, &args->pool, &folder, error);
}

bool handle_storage_pool_get_xml_desc(DaemonCall *call, const RemoteStoragePoolGetXmlDescArgs *args,
                                      RemoteStoragePoolGetXmlDescRet *ret, GError **error)
{
    enum { INACTIVE = 1 };
    Folder folder;
    if (!daemon_check_flags(args->flags, INACTIVE, error) ||
        !look_at_folder(call, &args->pool, &folder, error)) {
        return false;
    }
    char uuid[UUID_TEXT_SIZE];
    Uuid bytes = uuid_of(args->pool.name);
    uuid_format(&bytes, uuid);
    XmlWriter *w = xml_writer_new();
    xml_write_start(w, "pool");
    xml_write_attr(w, "type", "dir");
    xml_write_leaf(w, "name", args->pool.name);
    xml_write_leaf(w, "uuid", uuid);
    write_bytes(w, "capacity", folder.capacity);
    write_bytes(w, "allocation", folder.capacity - MIN(folder.available, folder.capacity));
    write_bytes(w, "available", folder.available);
    xml_write_start(w, "target");
    xml_write_leaf(w, "path", args->pool.name);
    write_permissions(w, &folder.st);
    xml_write_end(w);
    xml_write_end(w);
    ret->xml = arena_take(call_arena(call), xml_writer_finish(w), NULL);
    return true;
}

/* --- what is refused --- */

/* Of several shapes; the arguments are not looked at. */
static bool refuse_pool(DaemonCall *call, const void *args, void *ret, GError **error)
{
    (void)call;
    (void)args;
    (void)ret;
    daemon_error_set(error, DAEMON_ERROR_NO_SUPPORT,
                     "storage pools are not managed here: make the image first (lodge-img create, "
                     "qemu-img create) and name it by its path");
    return false;
}

#define REFUSED(NAME)                                                                              \
    {                                                                                              \
        RPC_PROGRAM_REMOTE, REMOTE_PROC_##NAME, refuse_pool, true                                  \
    }

static const DispatchEntry handlers[] = {
    HANDLER(storage_vol_lookup_by_path),    HANDLER(storage_vol_get_info),
    HANDLER(storage_vol_get_path),          HANDLER(storage_vol_get_xml_desc),
    HANDLER(storage_pool_lookup_by_volume), HANDLER(storage_pool_get_info),
    HANDLER(storage_pool_is_active),        HANDLER(storage_pool_get_xml_desc),
    REFUSED(STORAGE_POOL_DEFINE_XML),       REFUSED(STORAGE_POOL_CREATE_XML),
    REFUSED(STORAGE_VOL_CREATE_XML),        REFUSED(STORAGE_VOL_CREATE_XML_FROM),
};

const DaemonModule storage_by_path_module = {
    .name = "storage",
    .handlers = handlers,
    .n_handlers = G_N_ELEMENTS(handlers),
};

/* Volumes of domains.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/storage.h"

#include "cli/tools.h"

#include "gbase/error.h"

#include <stdio.h>
#include <string.h>

/* A volume and the disk it is. */
typedef struct Volume {
    RemoteStorageVol vol;
    const char *target;
} Volume;

static bool add_volume(CliSession *session, const char *path, const char *target,
                       GPtrArray *volumes)
{
    RemoteStorageVolLookupByPathArgs call = { path };
    RemoteStorageVolLookupByPathRet ret;
    if (!remote_storage_vol_lookup_by_path(cli_client(session), &call, &session->arena, &ret,
                                           NULL)) {
        fprintf(stderr, "Storage volume '%s'(%s) is not managed by libvirt. Remove it manually.\n",
                target, path);
        return false;
    }
    Volume *volume = arena_alloc(&session->arena, sizeof(*volume));
    if (volume) {
        *volume = (Volume){ ret.vol, arena_strdup(&session->arena, target) };
        g_ptr_array_add(volumes, volume);
    }
    return volume != NULL;
}

GPtrArray *cli_volumes_of(CliSession *session, const CliArgs *args, const RemoteDomain *domain,
                          GError **error)
{
    const char *names = cli_args_string(args, "storage");
    g_auto(GStrv) wanted = g_strsplit(names ? names : "", ",", -1);
    unsigned found = 0;
    if (domain->id >= 0) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_STATE,
                    "Storage volume deletion is supported only on stopped domains");
        return NULL;
    }
    g_autoptr(XmlDoc) doc = cli_domain_xml(session, domain, 2, error);
    if (!doc) {
        return NULL;
    }
    GPtrArray *volumes = g_ptr_array_new();
    xmlNode *devices = cli_devices(doc);
    for (xmlNode *at = devices ? xml_first(devices) : NULL; at; at = xml_next(at)) {
        g_autofree char *target = cli_child_attr(at, "target", "dev");
        g_autofree char *file = cli_child_attr(at, "source", "file");
        g_autofree char *dev = cli_child_attr(at, "source", "dev");
        const char *path = file ? file : dev;
        if (!xml_is(at, "disk") || !path || !target) {
            continue;
        }
        if (!names || g_strv_contains((const char *const *)wanted, target) ||
            g_strv_contains((const char *const *)wanted, path)) {
            found++;
            add_volume(session, path, target, volumes);
        }
    }
    if (names && found < g_strv_length(wanted)) {
        g_set_error(error, LODGE_ERROR, LODGE_ERROR_NOT_FOUND,
                    "Volume '%s' was not found in domain's definition.", names);
        g_ptr_array_free(volumes, TRUE);
        return NULL;
    }
    return volumes;
}

bool cli_volumes_delete(CliSession *session, const CliArgs *args, const GPtrArray *volumes,
                        GError **error)
{
    uint32_t flags = cli_args_flag(args, "delete-storage-volume-snapshots") ? 2 : 0;
    for (unsigned i = 0; i < volumes->len; i++) {
        const Volume *volume = volumes->pdata[i];
        RemoteStorageVolWipeArgs wipe = { volume->vol, 0 };
        RemoteStorageVolDeleteArgs call = { volume->vol, flags };
        if (cli_args_flag(args, "wipe-storage") &&
            !remote_storage_vol_wipe(cli_client(session), &wipe, error)) {
            return cli_fail(error, "Failed to wipe storage volume '%s'(%s)", volume->target,
                            volume->vol.key);
        }
        if (!remote_storage_vol_delete(cli_client(session), &call, error)) {
            return cli_fail(error, "Failed to remove storage volume '%s'(%s)", volume->target,
                            volume->vol.key);
        }
        cli_note(session, "Volume '%s'(%s) removed.", volume->target, volume->vol.key);
    }
    return true;
}

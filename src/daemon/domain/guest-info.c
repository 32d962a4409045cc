/* What the agent tells of the guest's inside: system, users, file systems, disks, interfaces.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/agent.h"
#include "daemon/domain/handlers.h"
#include "daemon/domain/json-peer.h"
#include "daemon/domain/params.h"

#include <string.h>

/* Elements of any list are cut here, and all fields by what a reply holds. */
#define ELEMENTS_MAX 256u
#define PARAMS_MAX 2048u

enum {
    INFO_USERS = 1 << 0,
    INFO_OS = 1 << 1,
    INFO_TIMEZONE = 1 << 2,
    INFO_HOSTNAME = 1 << 3,
    INFO_FILESYSTEM = 1 << 4,
    INFO_DISKS = 1 << 5,
    INFO_INTERFACES = 1 << 6,
    INFO_ALL = (1 << 7) - 1,
};

static JsonArray *list_of(JsonNode *node)
{
    return node && JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;
}

static guint length_of(JsonArray *array)
{
    return array ? MIN(json_array_get_length(array), ELEMENTS_MAX) : 0;
}

/* "PREFIX.N.NAME" gets the text of @object's @member, when it has one. */
static void add_text(ParamList *list, const char *prefix, unsigned n, const char *name,
                     JsonObject *object, const char *member)
{
    const char *text = json_peer_string(object, member);
    if (text) {
        params_string(list, params_name(list, prefix, n, name), text);
    }
}

static void add_size(ParamList *list, const char *prefix, unsigned n, const char *name,
                     JsonObject *object, const char *member)
{
    gint64 value = json_peer_int(object, member, -1);
    if (value >= 0) {
        params_ullong(list, params_name(list, prefix, n, name), (uint64_t)value);
    }
}

static void add_users(ParamList *list, JsonNode *answer, Domain *domain)
{
    JsonArray *users = list_of(answer);
    params_uint(list, "user.count", length_of(users));
    for (guint i = 0; i < length_of(users); i++) {
        JsonObject *user = json_peer_element(users, i);
        JsonNode *time = user ? json_object_get_member(user, "login-time") : NULL;
        add_text(list, "user", i, "name", user, "user");
        add_text(list, "user", i, "domain", user, "domain");
        if (time && JSON_NODE_HOLDS_VALUE(time)) {
            double seconds = CLAMP(json_node_get_double(time), 0, 1e12);
            params_ullong(list, params_name(list, "user", i, "login-time"),
                          (uint64_t)(seconds * 1000));
        }
    }
}

static void add_os(ParamList *list, JsonNode *answer, Domain *domain)
{
    static const char *const names[] = {
        "id",      "name",    "pretty-name", "version",        "version-id",
        "machine", "variant", "variant-id",  "kernel-release", "kernel-version"
    };
    JsonObject *os = JSON_NODE_HOLDS_OBJECT(answer) ? json_node_get_object(answer) : NULL;
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        const char *text = json_peer_string(os, names[i]);
        if (text) {
            params_string(list, arena_printf(list->arena, "os.%s", names[i]), text);
        }
    }
}

static void add_timezone(ParamList *list, JsonNode *answer, Domain *domain)
{
    JsonObject *zone = JSON_NODE_HOLDS_OBJECT(answer) ? json_node_get_object(answer) : NULL;
    const char *name = json_peer_string(zone, "zone");
    if (name) {
        params_string(list, "timezone.name", name);
    }
    params_int(list, "timezone.offset",
               (int32_t)CLAMP(json_peer_int(zone, "offset", 0), -86400, 86400));
}

static void add_hostname(ParamList *list, JsonNode *answer, Domain *domain)
{
    JsonObject *object = JSON_NODE_HOLDS_OBJECT(answer) ? json_node_get_object(answer) : NULL;
    const char *name = json_peer_string(object, "host-name");
    if (name) {
        params_string(list, "hostname", name);
    }
}

/* The target ("vda") of the disk that the agent describes by its place on the PCI bus, or NULL. The
 * guest numbers buses itself: what is on a port of its own is found when it numbers as we do. */
static char *find_target(Domain *domain, JsonObject *place)
{
    JsonObject *pci = json_peer_object(place, "pci-controller");
    const char *serial = json_peer_string(place, "serial");
    char *target = NULL;
    g_mutex_lock(&domain->lock);
    const XmlList *disks = domain->live ? &domain->live->devices[DEVICE_DISK] : NULL;
    for (unsigned i = 0; disks && !target && i < disks->count; i++) {
        const DomainDisk *disk = disks->item[i];
        const DomainAddress *at = &disk->device.address;
        bool is_same_place = at->type == ADDRESS_PCI &&
                             json_peer_int(pci, "domain", -1) == at->domain &&
                             json_peer_int(pci, "bus", -1) == at->bus &&
                             json_peer_int(pci, "slot", -1) == at->slot &&
                             json_peer_int(pci, "function", -1) == at->function;
        bool is_same_serial = serial && disk->serial && strcmp(serial, disk->serial) == 0;
        if (is_same_place || is_same_serial) {
            target = g_strdup(disk->target_dev);
        }
    }
    g_mutex_unlock(&domain->lock);
    return target;
}

static void add_filesystems(ParamList *list, JsonNode *answer, Domain *domain)
{
    JsonArray *all = list_of(answer);
    params_uint(list, "fs.count", length_of(all));
    for (guint i = 0; i < length_of(all); i++) {
        JsonObject *fs = json_peer_element(all, i);
        JsonArray *disks = json_peer_array(fs, "disk");
        const char *prefix = arena_printf(list->arena, "fs.%u.disk", i);
        add_text(list, "fs", i, "name", fs, "name");
        add_text(list, "fs", i, "mountpoint", fs, "mountpoint");
        add_text(list, "fs", i, "fstype", fs, "type");
        add_size(list, "fs", i, "total-bytes", fs, "total-bytes");
        add_size(list, "fs", i, "used-bytes", fs, "used-bytes");
        params_uint(list, params_name(list, "fs", i, "disk.count"), length_of(disks));
        for (guint d = 0; d < length_of(disks); d++) {
            JsonObject *disk = json_peer_element(disks, d);
            g_autofree char *target = find_target(domain, disk);
            if (target) {
                params_string(list, params_name(list, prefix, d, "alias"), target);
            }
            add_text(list, prefix, d, "serial", disk, "serial");
            add_text(list, prefix, d, "device", disk, "dev");
        }
    }
}

static void add_disks(ParamList *list, JsonNode *answer, Domain *domain)
{
    JsonArray *all = list_of(answer);
    params_uint(list, "disk.count", length_of(all));
    for (guint i = 0; i < length_of(all); i++) {
        JsonObject *disk = json_peer_element(all, i);
        JsonArray *below = json_peer_array(disk, "dependencies");
        JsonObject *place = json_peer_object(disk, "address");
        g_autofree char *target = find_target(domain, place);
        const char *prefix = arena_printf(list->arena, "disk.%u.dependency", i);
        add_text(list, "disk", i, "name", disk, "name");
        params_bool(list, params_name(list, "disk", i, "partition"),
                    json_peer_bool(disk, "partition", false));
        params_uint(list, params_name(list, "disk", i, "dependency.count"), length_of(below));
        for (guint d = 0; d < length_of(below); d++) {
            JsonNode *name = json_array_get_element(below, d);
            if (JSON_NODE_HOLDS_VALUE(name) && json_node_get_value_type(name) == G_TYPE_STRING) {
                params_string(list, params_name(list, prefix, d, "name"),
                              json_node_get_string(name));
            }
        }
        if (target) {
            params_string(list, params_name(list, "disk", i, "alias"), target);
        }
        add_text(list, "disk", i, "guest_alias", disk, "alias");
        add_text(list, "disk", i, "guest_bus", place, "bus-type");
    }
}

static void add_interfaces(ParamList *list, JsonNode *answer, Domain *domain)
{
    JsonArray *all = list_of(answer);
    params_uint(list, "if.count", length_of(all));
    for (guint i = 0; i < length_of(all); i++) {
        JsonObject *interface = json_peer_element(all, i);
        JsonArray *addresses = json_peer_array(interface, "ip-addresses");
        const char *prefix = arena_printf(list->arena, "if.%u.addr", i);
        add_text(list, "if", i, "name", interface, "name");
        add_text(list, "if", i, "hwaddr", interface, "hardware-address");
        params_uint(list, params_name(list, "if", i, "addr.count"), length_of(addresses));
        for (guint a = 0; a < length_of(addresses); a++) {
            JsonObject *address = json_peer_element(addresses, a);
            add_text(list, prefix, a, "type", address, "ip-address-type");
            add_text(list, prefix, a, "addr", address, "ip-address");
            params_uint(list, params_name(list, prefix, a, "prefix"),
                        (uint32_t)CLAMP(json_peer_int(address, "prefix", 0), 0, 128));
        }
    }
}

static const struct {
    unsigned type;
    const char *command;
    void (*add)(ParamList *list, JsonNode *answer, Domain *domain);
} groups[] = {
    { INFO_USERS, "guest-get-users", add_users },
    { INFO_OS, "guest-get-osinfo", add_os },
    { INFO_TIMEZONE, "guest-get-timezone", add_timezone },
    { INFO_HOSTNAME, "guest-get-host-name", add_hostname },
    { INFO_FILESYSTEM, "guest-get-fsinfo", add_filesystems },
    { INFO_DISKS, "guest-get-disks", add_disks },
    { INFO_INTERFACES, "guest-network-get-interfaces", add_interfaces },
};

bool handle_domain_get_guest_info(DaemonCall *call, const RemoteDomainGetGuestInfoArgs *args,
                                  RemoteDomainGetGuestInfoRet *ret, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    if (!domain || !daemon_check_flags(args->flags, 0, error)) {
        return false;
    }
    if (args->types & ~(uint32_t)INFO_ALL) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: unsupported guest information types '0x%x'",
                         args->types & ~(uint32_t)INFO_ALL);
        return false;
    }
    unsigned wanted = args->types ? args->types : INFO_ALL;
    ParamList list = { .arena = call_arena(call) };
    for (unsigned i = 0; i < G_N_ELEMENTS(groups); i++) {
        g_autoptr(GError) reason = NULL;
        g_autoptr(JsonNode) answer =
            wanted & groups[i].type
                ? agent_ask(domain, groups[i].command, NULL, AGENT_TIMEOUT_DEFAULT, &reason)
                : NULL;
        if (answer) {
            groups[i].add(&list, answer, domain);
        } else if (reason && (args->types || !g_error_matches(reason, DAEMON_ERROR,
                                                              DAEMON_ERROR_AGENT_COMMAND_FAILED))) {
            /* With no type named, what this agent lacks is left out. */
            g_propagate_error(error, g_steal_pointer(&reason));
            return false;
        }
    }
    ret->params = list.items;
    ret->n_params = MIN(list.count, PARAMS_MAX);
    return true;
}

/* --- file systems --- */

static void fill_fsinfo(Arena *arena, Domain *domain, JsonObject *fs, RemoteDomainFsinfo *out)
{
    JsonArray *disks = json_peer_array(fs, "disk");
    out->mountpoint = arena_strdup(arena, json_peer_string(fs, "mountpoint") ?: "");
    out->name = arena_strdup(arena, json_peer_string(fs, "name") ?: "");
    out->fstype = arena_strdup(arena, json_peer_string(fs, "type") ?: "");
    out->dev_aliases = arena_alloc_array(arena, length_of(disks) + 1, sizeof(*out->dev_aliases));
    for (guint d = 0; out->dev_aliases && d < length_of(disks); d++) {
        g_autofree char *target = find_target(domain, json_peer_element(disks, d));
        if (target) {
            out->dev_aliases[out->n_dev_aliases++] = arena_strdup(arena, target);
        }
    }
}

bool handle_domain_get_fsinfo(DaemonCall *call, const RemoteDomainGetFsinfoArgs *args,
                              RemoteDomainGetFsinfoRet *ret, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    g_autoptr(JsonNode) answer =
        domain && daemon_check_flags(args->flags, 0, error)
            ? agent_ask(domain, "guest-get-fsinfo", NULL, AGENT_TIMEOUT_DEFAULT, error)
            : NULL;
    if (!answer) {
        return false;
    }
    JsonArray *all = list_of(answer);
    ret->info = arena_alloc_array(call_arena(call), length_of(all) + 1, sizeof(*ret->info));
    for (guint i = 0; ret->info && i < length_of(all); i++) {
        fill_fsinfo(call_arena(call), domain, json_peer_element(all, i), &ret->info[ret->n_info++]);
    }
    ret->ret = ret->n_info;
    return true;
}

static const DispatchEntry entries[] = {
    HANDLER(domain_get_fsinfo),
    HANDLER(domain_get_guest_info),
};

const DaemonModule domain_guest_info_module = {
    .name = "domain-guest-info",
    .handlers = entries,
    .n_handlers = G_N_ELEMENTS(entries),
};

/* Procedures on network interfaces. Limits by "tc" of iproute2: what goes to the guest is shaped by
 * a token bucket on the tap, what comes from it is policed.
 *
 * Left out: "floor", which needs a managed network.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/interfaces.h"

#include "daemon/domain/agent.h"
#include "daemon/domain/change.h"
#include "daemon/domain/host-addresses.h"
#include "daemon/domain/json-peer.h"
#include "daemon/domain/params.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <string.h>

#define ADDRESSES_MAX 2048u

bool interface_counters(const char *name, struct rtnl_link_stats *out)
{
    struct ifaddrs *all = NULL;
    bool found = false;
    if (!name || getifaddrs(&all) < 0) {
        return false;
    }
    for (struct ifaddrs *one = all; one && !found; one = one->ifa_next) {
        if (one->ifa_addr && one->ifa_addr->sa_family == AF_PACKET && one->ifa_data &&
            strcmp(one->ifa_name, name) == 0) {
            memcpy(out, one->ifa_data, sizeof(*out));
            found = true;
        }
    }
    freeifaddrs(all);
    return found;
}

/* "" and @error when the domain has no such interface, or it no tap. (transfer full) */
static char *find_tap(Domain *domain, const char *device, GError **error)
{
    g_mutex_lock(&domain->lock);
    const DomainInterface *interface =
        domain->live ? domain_def_find_interface(domain->live, device) : NULL;
    char *tap =
        interface && interface->type != INTERFACE_USER ? g_strdup(interface->target_dev) : NULL;
    if (!domain_check_active_locked(domain, error)) {
        g_clear_pointer(&tap, g_free);
    } else if (!interface) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG,
                         "invalid argument: '%s' is not a known interface", device);
    } else if (!tap) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_UNSUPPORTED,
                         "Operation not supported: interface '%s' of type '%s' has no interface on "
                         "the host",
                         device, domain_name(interface_type, interface->type));
    }
    g_mutex_unlock(&domain->lock);
    return tap;
}

bool handle_domain_interface_stats(DaemonCall *call, const RemoteDomainInterfaceStatsArgs *args,
                                   RemoteDomainInterfaceStatsRet *ret, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    g_autofree char *tap = domain ? find_tap(domain, args->device, error) : NULL;
    struct rtnl_link_stats stats;
    if (!tap) {
        return false;
    }
    if (!interface_counters(tap, &stats)) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_UNSUPPORTED,
                         "Operation not supported: the host has no counters of '%s'", tap);
        return false;
    }
    ret->rx_bytes = stats.tx_bytes;
    ret->rx_packets = stats.tx_packets;
    ret->rx_errs = stats.tx_errors;
    ret->rx_drop = stats.tx_dropped;
    ret->tx_bytes = stats.rx_bytes;
    ret->tx_packets = stats.rx_packets;
    ret->tx_errs = stats.rx_errors;
    ret->tx_drop = stats.rx_dropped;
    return true;
}

/* --- limits --- */

/* Runs "tc WORDS"; words are split at blanks. */
static bool run_tc(GError **error, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

static bool run_tc(GError **error, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    g_autofree char *text = g_strdup_vprintf(fmt, args);
    va_end(args);
    g_auto(GStrv) words = g_strsplit(text, " ", -1);
    g_autofree char *said = NULL;
    int status = 0;
    g_autoptr(GError) reason = NULL;
    if (!g_spawn_sync(NULL, words, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL, NULL,
                      NULL, NULL, &said, &status, &reason)) {
        daemon_error_set(error, DAEMON_ERROR_INTERNAL,
                         "internal error: cannot run 'tc', which limits interfaces (package "
                         "iproute2): %s",
                         reason->message);
        return false;
    }
    if (!g_spawn_check_wait_status(status, NULL)) {
        daemon_error_set(error, DAEMON_ERROR_INTERNAL, "internal error: '%s': %s", text,
                         g_strstrip(said));
        return false;
    }
    return true;
}

/* tc's bits per second of kilobytes (1000 bytes) per second. */
static guint64 bits(guint64 kilobytes)
{
    return MIN(kilobytes, G_MAXUINT64 / 8000) * 8000;
}

static bool limit_inbound(const char *name, const DomainBandwidth *limit, GError **error)
{
    run_tc(NULL, "tc qdisc del dev %s root", name);
    if (!limit->average) {
        return true;
    }
    g_autofree char *burst = limit->burst
                                 ? g_strdup_printf(" burst %" G_GUINT64_FORMAT "kb", limit->burst)
                                 : g_strdup("");
    return run_tc(error, "tc qdisc add dev %s root handle 1: htb default 1", name) &&
           run_tc(error,
                  "tc class add dev %s parent 1: classid 1:1 htb rate %" G_GUINT64_FORMAT
                  "bit ceil %" G_GUINT64_FORMAT "bit%s",
                  name, bits(limit->average),
                  bits(limit->peak ? MAX(limit->peak, limit->average) : limit->average), burst);
}

static bool limit_outbound(const char *name, const DomainBandwidth *limit, GError **error)
{
    run_tc(NULL, "tc qdisc del dev %s ingress", name);
    if (!limit->average) {
        return true;
    }
    return run_tc(error, "tc qdisc add dev %s ingress", name) &&
           run_tc(error,
                  "tc filter add dev %s parent ffff: protocol all u32 match u32 0 0 police rate "
                  "%" G_GUINT64_FORMAT "bit burst %" G_GUINT64_FORMAT "kb mtu 64kb drop flowid :1",
                  name, bits(limit->average), limit->burst ? limit->burst : limit->average);
}

bool interface_set_bandwidth(const char *name, const DomainBandwidth *inbound,
                             const DomainBandwidth *outbound, GError **error)
{
    if (!name || !if_nametoindex(name)) {
        daemon_error_set(error, DAEMON_ERROR_OPERATION_UNSUPPORTED,
                         "Operation not supported: only interfaces with a tap on the host can be "
                         "limited");
        return false;
    }
    return limit_inbound(name, inbound, error) && limit_outbound(name, outbound, error);
}

typedef struct BandwidthField {
    const char *name;
    bool is_outbound;
    size_t offset;
} BandwidthField;

static const BandwidthField bandwidth_fields[] = {
    { "inbound.average", false, offsetof(DomainBandwidth, average) },
    { "inbound.peak", false, offsetof(DomainBandwidth, peak) },
    { "inbound.burst", false, offsetof(DomainBandwidth, burst) },
    { "inbound.floor", false, offsetof(DomainBandwidth, floor) },
    { "outbound.average", true, offsetof(DomainBandwidth, average) },
    { "outbound.peak", true, offsetof(DomainBandwidth, peak) },
    { "outbound.burst", true, offsetof(DomainBandwidth, burst) },
};

static uint64_t *bandwidth_member(DomainInterface *interface, const BandwidthField *field)
{
    DomainBandwidth *side = field->is_outbound ? &interface->outbound : &interface->inbound;
    return (uint64_t *)(void *)((char *)side + field->offset);
}

static bool fill_bandwidth(ParamList *list, DomainDef *def, const char *name, GError **error)
{
    DomainInterface *interface = domain_def_find_interface(def, name);
    if (!interface) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG, "invalid argument: Can't find device %s",
                         name);
        return false;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(bandwidth_fields); i++) {
        params_uint(list, bandwidth_fields[i].name,
                    (uint32_t)MIN(*bandwidth_member(interface, &bandwidth_fields[i]), UINT32_MAX));
    }
    return true;
}

bool handle_domain_get_interface_parameters(DaemonCall *call,
                                            const RemoteDomainGetInterfaceParametersArgs *args,
                                            RemoteDomainGetInterfaceParametersRet *ret,
                                            GError **error)
{
    ParamList list;
    return domain_get_params(call, &args->dom, args->flags, fill_bandwidth, args->device, &list,
                             error) &&
           params_return(&list, args->nparams, &ret->params, &ret->n_params, &ret->nparams);
}

/* Puts the parameters into @interface. */
static bool apply_bandwidth(DomainInterface *interface, const TypedParam *params, uint32_t n,
                            GError **error)
{
    for (uint32_t p = 0; p < n; p++) {
        const BandwidthField *field = NULL;
        int64_t value;
        for (unsigned i = 0; i < G_N_ELEMENTS(bandwidth_fields); i++) {
            if (strcmp(bandwidth_fields[i].name, params[p].field) == 0) {
                field = &bandwidth_fields[i];
            }
        }
        if (!field || !params_get_number(&params[p], &value) || value < 0) {
            return params_refuse(&params[p], field != NULL, error);
        }
        if (strcmp(field->name, "inbound.floor") == 0 && value) {
            daemon_error_set(error, DAEMON_ERROR_CONFIG_UNSUPPORTED,
                             "unsupported configuration: 'floor' is for interfaces of managed "
                             "networks");
            return false;
        }
        *bandwidth_member(interface, field) = (uint64_t)value;
    }
    return true;
}

static bool set_live_bandwidth(DomainChange *change,
                               const RemoteDomainSetInterfaceParametersArgs *args, GError **error)
{
    Domain *domain = change->domain;
    g_mutex_lock(&domain->lock);
    DomainInterface *found =
        domain->live ? domain_def_find_interface(domain->live, args->device) : NULL;
    g_autoptr(DomainDevice) copy = found ? domain_device_copy(&found->device) : NULL;
    g_mutex_unlock(&domain->lock);
    DomainInterface *wanted = (DomainInterface *)copy;
    if (!wanted) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG, "invalid argument: Can't find device %s",
                         args->device);
        return false;
    }
    DomainBandwidth inbound = wanted->inbound, outbound = wanted->outbound;
    if (!apply_bandwidth(wanted, args->params, args->n_params, error)) {
        return false;
    }
    if (!interface_set_bandwidth(wanted->target_dev, &wanted->inbound, &wanted->outbound, error)) {
        interface_set_bandwidth(wanted->target_dev, &inbound, &outbound, NULL);
        return false;
    }
    g_mutex_lock(&domain->lock);
    found = domain->live ? domain_def_find_interface(domain->live, args->device) : NULL;
    if (found) {
        found->inbound = wanted->inbound;
        found->outbound = wanted->outbound;
    }
    g_mutex_unlock(&domain->lock);
    return true;
}

static bool set_config_bandwidth(DomainDef *def, const RemoteDomainSetInterfaceParametersArgs *args,
                                 GError **error)
{
    DomainInterface *interface = domain_def_find_interface(def, args->device);
    if (!interface) {
        daemon_error_set(error, DAEMON_ERROR_INVALID_ARG, "invalid argument: Can't find device %s",
                         args->device);
        return false;
    }
    return apply_bandwidth(interface, args->params, args->n_params, error);
}

bool handle_domain_set_interface_parameters(DaemonCall *call,
                                            const RemoteDomainSetInterfaceParametersArgs *args,
                                            GError **error)
{
    DomainChange change;
    if (!daemon_check_flags(args->flags, 3, error) ||
        !change_begin(&change, call, &args->dom, "interface", args->flags, error)) {
        return false;
    }
    bool ok = (!change.config || set_config_bandwidth(change.config, args, error)) &&
              change_store(&change, error) &&
              (!change.monitor || set_live_bandwidth(&change, args, error));
    return change_end(&change, ok);
}

/* --- addresses --- */

enum { SOURCE_LEASE = 0, SOURCE_AGENT = 1, SOURCE_ARP = 2 };
enum { ADDRESS_IPV4 = 0, ADDRESS_IPV6 = 1 };

static char *mac_text(const MacAddress *mac)
{
    return g_strdup_printf("%02x:%02x:%02x:%02x:%02x:%02x", mac->byte[0], mac->byte[1],
                           mac->byte[2], mac->byte[3], mac->byte[4], mac->byte[5]);
}

static bool is_listed(const RemoteDomainInterface *interface, const char *address)
{
    for (uint32_t i = 0; i < interface->n_addrs; i++) {
        if (strcmp(interface->addrs[i].addr, address) == 0) {
            return true;
        }
    }
    return false;
}

/* The addresses that @known has for @mac. */
static void add_known(Arena *arena, const MacAddress *mac, const GArray *known, bool with_prefix,
                      RemoteDomainInterface *out)
{
    unsigned n = 0;
    for (guint i = 0; i < known->len; i++) {
        n += !memcmp(g_array_index(known, HostAddress, i).mac, mac->byte, sizeof(mac->byte));
    }
    n = MIN(n, ADDRESSES_MAX);
    out->addrs = n ? arena_alloc_array(arena, n, sizeof(*out->addrs)) : NULL;
    for (guint i = 0; out->addrs && i < known->len && out->n_addrs < n; i++) {
        const HostAddress *address = &g_array_index(known, HostAddress, i);
        if (memcmp(address->mac, mac->byte, sizeof(mac->byte)) || is_listed(out, address->text)) {
            continue;
        }
        RemoteDomainIpAddr *slot = &out->addrs[out->n_addrs++];
        slot->type = address->is_v6 ? ADDRESS_IPV6 : ADDRESS_IPV4;
        slot->addr = arena_strdup(arena, address->text);
        slot->prefix = with_prefix ? host_prefix_of(address) : 0;
    }
}

/* @known: of HostAddress (transfer full). Interfaces of which nothing is known are left out. */
static bool addresses_by_host(DaemonCall *call, Domain *domain, GArray *known, bool with_prefix,
                              RemoteDomainInterfaceAddressesRet *ret, GError **error)
{
    Arena *arena = call_arena(call);
    g_mutex_lock(&domain->lock);
    bool ok = domain_check_active_locked(domain, error) && domain->live;
    const XmlList *list = ok ? &domain->live->devices[DEVICE_INTERFACE] : NULL;
    ret->ifaces = list ? arena_alloc_array(arena, list->count + 1, sizeof(*ret->ifaces)) : NULL;
    for (unsigned i = 0; ret->ifaces && i < list->count && i < ADDRESSES_MAX; i++) {
        const DomainInterface *interface = list->item[i];
        RemoteDomainInterface *out = &ret->ifaces[ret->n_ifaces];
        if (!interface->target_dev) {
            continue;
        }
        add_known(arena, &interface->mac, known, with_prefix, out);
        if (out->n_addrs) {
            g_autofree char *mac = mac_text(&interface->mac);
            out->name = arena_strdup(arena, interface->target_dev);
            out->hwaddr = arena_strdup(arena, mac);
            ret->n_ifaces++;
        }
    }
    g_mutex_unlock(&domain->lock);
    g_array_unref(known);
    return ok;
}

static void add_agent_interface(Arena *arena, JsonObject *object, RemoteDomainInterface *out)
{
    JsonArray *addresses = json_peer_array(object, "ip-addresses");
    guint count = addresses ? MIN(json_array_get_length(addresses), ADDRESSES_MAX) : 0;
    const char *mac = json_peer_string(object, "hardware-address");
    out->name = arena_strdup(arena, json_peer_string(object, "name") ?: "");
    out->hwaddr = mac ? arena_strdup(arena, mac) : NULL;
    out->addrs = arena_alloc_array(arena, count + 1, sizeof(*out->addrs));
    for (guint i = 0; out->addrs && i < count; i++) {
        JsonObject *address = json_peer_element(addresses, i);
        const char *text = json_peer_string(address, "ip-address");
        const char *type = json_peer_string(address, "ip-address-type");
        if (text) {
            RemoteDomainIpAddr *slot = &out->addrs[out->n_addrs++];
            slot->type = g_strcmp0(type, "ipv6") == 0 ? ADDRESS_IPV6 : ADDRESS_IPV4;
            slot->addr = arena_strdup(arena, text);
            slot->prefix = (uint32_t)CLAMP(json_peer_int(address, "prefix", 0), 0, 128);
        }
    }
}

static bool addresses_by_agent(DaemonCall *call, Domain *domain,
                               RemoteDomainInterfaceAddressesRet *ret, GError **error)
{
    g_autoptr(JsonNode) answer =
        agent_ask(domain, "guest-network-get-interfaces", NULL, AGENT_TIMEOUT_DEFAULT, error);
    if (!answer) {
        return false;
    }
    JsonArray *list = JSON_NODE_HOLDS_ARRAY(answer) ? json_node_get_array(answer) : NULL;
    guint count = list ? MIN(json_array_get_length(list), ADDRESSES_MAX) : 0;
    ret->ifaces = arena_alloc_array(call_arena(call), count + 1, sizeof(*ret->ifaces));
    for (guint i = 0; ret->ifaces && i < count; i++) {
        JsonObject *object = json_peer_element(list, i);
        if (object) {
            add_agent_interface(call_arena(call), object, &ret->ifaces[ret->n_ifaces++]);
        }
    }
    return true;
}

bool handle_domain_interface_addresses(DaemonCall *call,
                                       const RemoteDomainInterfaceAddressesArgs *args,
                                       RemoteDomainInterfaceAddressesRet *ret, GError **error)
{
    g_autoptr(Domain) domain = call_domain(call, &args->dom, error);
    if (!domain || !daemon_check_flags(args->flags, 0, error)) {
        return false;
    }
    switch (args->source) {
    case SOURCE_LEASE:
        return addresses_by_host(call, domain, host_leases(call_daemon(call)->lease_files), true,
                                 ret, error);
    case SOURCE_AGENT:
        return addresses_by_agent(call, domain, ret, error);
    case SOURCE_ARP:
        return addresses_by_host(call, domain, host_neighbours(), false, ret, error);
    default:
        daemon_error_set(error, DAEMON_ERROR_ARGUMENT_UNSUPPORTED,
                         "unknown IP address data source %u", args->source);
        return false;
    }
}

static const DispatchEntry entries[] = {
    HANDLER(domain_get_interface_parameters),
    HANDLER(domain_interface_addresses),
    HANDLER_INLINE(domain_interface_stats),
    HANDLER(domain_set_interface_parameters),
};

const DaemonModule domain_interfaces_module = {
    .name = "domain-interfaces",
    .handlers = entries,
    .n_handlers = G_N_ELEMENTS(entries),
};

/* What bulk statistics tell of one domain, group by group; names are libvirt's.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/stats-record.h"

#include "daemon/domain/backing-chain.h"
#include "daemon/domain/blocks.h"
#include "daemon/domain/handlers.h"
#include "daemon/domain/image-size.h"
#include "daemon/domain/interfaces.h"
#include "daemon/domain/json-peer.h"
#include "daemon/domain/memory.h"
#include "daemon/domain/perf.h"
#include "daemon/domain/runtime.h"

#include <linux/if_link.h>
#include <string.h>
#include <sys/stat.h>

#define ASK_TIMEOUT_MS 5000
#define BACKING_MAX 200u

/* What the monitor answers, asked before the lock is taken; each may be NULL. */
typedef struct Answers {
    JsonNode *stats, *blocks, *iothreads, *dirty_rate;
    JsonObject *guest;
    gint64 guest_when;
} Answers;

static JsonNode *ask(QmpClient *monitor, const char *command)
{
    return qmp_client_call(monitor, command, NULL, -1, ASK_TIMEOUT_MS, NULL);
}

static void ask_all(Domain *domain, unsigned groups, Answers *out)
{
    const unsigned asked = STATS_BLOCK | STATS_BALLOON | STATS_IOTHREAD | STATS_DIRTYRATE;
    g_autoptr(QmpClient) monitor =
        (groups & asked) && domain_is_active(domain) ? domain_get_monitor(domain, NULL) : NULL;
    *out = (Answers){ .stats = NULL };
    if (!monitor) {
        return;
    }
    if (groups & STATS_BLOCK) {
        out->stats = ask(monitor, "query-blockstats");
        out->blocks = out->stats ? ask(monitor, "query-block") : NULL;
    }
    if (groups & STATS_BALLOON) {
        out->guest = memory_ask_guest(domain, monitor, &out->guest_when);
    }
    if (groups & STATS_IOTHREAD) {
        out->iothreads = ask(monitor, "query-iothreads");
    }
    if (groups & STATS_DIRTYRATE) {
        out->dirty_rate = ask(monitor, "query-dirty-rate");
    }
}

static void answers_clear(Answers *answers)
{
    g_clear_pointer(&answers->stats, json_node_unref);
    g_clear_pointer(&answers->blocks, json_node_unref);
    g_clear_pointer(&answers->iothreads, json_node_unref);
    g_clear_pointer(&answers->dirty_rate, json_node_unref);
    g_clear_pointer(&answers->guest, json_object_unref);
}

/* Taken under the domain's lock. */
typedef struct Snapshot {
    bool active;
    pid_t pid;
    guint64 balloon;
    DomainFacts facts;
} Snapshot;

static void add_cpu(ParamList *list, const Snapshot *shot)
{
    ProcessUsage usage;
    if (shot->active && process_usage(shot->pid, &usage)) {
        params_ullong(list, "cpu.time", usage.user_ns + usage.system_ns);
        params_ullong(list, "cpu.user", usage.user_ns);
        params_ullong(list, "cpu.system", usage.system_ns);
    }
}

static void add_balloon(ParamList *list, const Snapshot *shot, const Answers *answers)
{
    ProcessUsage usage;
    params_ullong(list, "balloon.current", shot->balloon ? shot->balloon : shot->facts.current_kib);
    params_ullong(list, "balloon.maximum", shot->facts.max_kib);
    const MemoryStatName *name = memory_stat_names;
    for (; answers->guest && name->member; name++) {
        gint64 value = json_peer_int(answers->guest, name->member, -1);
        if (value >= 0) {
            params_ullong(list, name->field, (guint64)value / (name->is_bytes ? 1024 : 1));
        }
    }
    if (answers->guest) {
        params_ullong(list, "balloon.last-update", (guint64)MAX(answers->guest_when, 0));
    }
    if (shot->active && process_usage(shot->pid, &usage)) {
        params_ullong(list, "balloon.rss", usage.resident_kib);
    }
}

static void add_vcpus_locked(ParamList *list, Domain *domain, const Snapshot *shot)
{
    params_uint(list, "vcpu.current", shot->facts.vcpus);
    params_uint(list, "vcpu.maximum", shot->facts.max_vcpus);
    for (unsigned i = 0; shot->active && i < domain->runtime->vcpu_tids->len; i++) {
        guint64 ns, delay;
        int cpu;
        pid_t tid = g_array_index(domain->runtime->vcpu_tids, pid_t, i);
        if (process_thread_usage(shot->pid, tid, &ns, &cpu, &delay)) {
            params_int(list, params_name(list, "vcpu", i, "state"), 1);
            params_ullong(list, params_name(list, "vcpu", i, "time"), ns);
            params_ullong(list, params_name(list, "vcpu", i, "wait"), 0);
            params_ullong(list, params_name(list, "vcpu", i, "delay"), delay);
        }
    }
}

static void add_interfaces(ParamList *list, const DomainDef *def)
{
    const XmlList *all = &def->devices[DEVICE_INTERFACE];
    params_uint(list, "net.count", all->count);
    for (unsigned i = 0; i < all->count; i++) {
        const DomainInterface *interface = all->item[i];
        struct rtnl_link_stats stats;
        if (!interface_counters(interface->target_dev, &stats)) {
            continue;
        }
        params_string(list, params_name(list, "net", i, "name"), interface->target_dev);
        params_ullong(list, params_name(list, "net", i, "rx.bytes"), stats.tx_bytes);
        params_ullong(list, params_name(list, "net", i, "rx.pkts"), stats.tx_packets);
        params_ullong(list, params_name(list, "net", i, "rx.errs"), stats.tx_errors);
        params_ullong(list, params_name(list, "net", i, "rx.drop"), stats.tx_dropped);
        params_ullong(list, params_name(list, "net", i, "tx.bytes"), stats.rx_bytes);
        params_ullong(list, params_name(list, "net", i, "tx.pkts"), stats.rx_packets);
        params_ullong(list, params_name(list, "net", i, "tx.errs"), stats.rx_errors);
        params_ullong(list, params_name(list, "net", i, "tx.drop"), stats.rx_dropped);
    }
}

/* --- disks --- */

/* One image of a disk's chain, as item @number. */
typedef struct ImageItem {
    ParamList *list;
    unsigned number;
    const char *disk, *path;
    unsigned backing_index; /* 0: not told */
} ImageItem;

static const char *field(const ImageItem *item, const char *name)
{
    return params_name(item->list, "block", item->number, name);
}

static void add_names(const ImageItem *item)
{
    params_string(item->list, field(item, "name"), item->disk);
    if (item->path) {
        params_string(item->list, field(item, "path"), item->path);
    }
    if (item->backing_index) {
        params_uint(item->list, field(item, "backingIndex"), item->backing_index);
    }
}

static void add_counters(const ImageItem *item, const DiskCounters *c)
{
    params_ullong(item->list, field(item, "rd.reqs"), (uint64_t)c->rd_ops);
    params_ullong(item->list, field(item, "rd.bytes"), (uint64_t)c->rd_bytes);
    params_ullong(item->list, field(item, "rd.times"), (uint64_t)c->rd_ns);
    params_ullong(item->list, field(item, "wr.reqs"), (uint64_t)c->wr_ops);
    params_ullong(item->list, field(item, "wr.bytes"), (uint64_t)c->wr_bytes);
    params_ullong(item->list, field(item, "wr.times"), (uint64_t)c->wr_ns);
    params_ullong(item->list, field(item, "fl.reqs"), (uint64_t)c->flush_ops);
    params_ullong(item->list, field(item, "fl.times"), (uint64_t)c->flush_ns);
    params_ullong(item->list, field(item, "allocation"), (uint64_t)c->allocation);
}

static void add_sizes(const ImageItem *item, gint64 capacity)
{
    struct stat st;
    if (capacity > 0) {
        params_ullong(item->list, field(item, "capacity"), (uint64_t)capacity);
    }
    if (item->path && stat(item->path, &st) == 0) {
        params_ullong(item->list, field(item, "physical"), (uint64_t)st.st_size);
    }
}

/* Of an image that no guest has open: nothing where it is not there. */
static void add_sizes_off(const ImageItem *item, DomainImageFormat format)
{
    struct stat st;
    if (!item->path || stat(item->path, &st) < 0) {
        return;
    }
    uint64_t capacity =
        image_size(item->path, domain_name(image_format, format), (uint64_t)st.st_size);
    params_ullong(item->list, field(item, "allocation"), (uint64_t)st.st_blocks * 512);
    params_ullong(item->list, field(item, "capacity"), capacity);
    params_ullong(item->list, field(item, "physical"), (uint64_t)st.st_size);
}

static bool is_passed(const char *path)
{
    return path && (g_str_has_prefix(path, "/dev/fdset/") || g_str_has_prefix(path, "/proc/self/"));
}

/* The images below a disk's, by the names that the images' headers have for them: the engine may
 * know only descriptors. Returns: how many. */
static unsigned add_backing(ImageItem item, const DomainDisk *disk, JsonObject *inserted)
{
    unsigned count = 0;
    g_autoptr(GPtrArray) layers = NULL;
    const char *format =
        disk->driver.format ? domain_name(image_format, disk->driver.format) : "raw";
    if (disk->source.path) {
        backing_chain_read(disk->source.path, format, &layers, NULL);
    }
    JsonObject *image = json_peer_object(inserted, "image");
    while ((image = json_peer_object(image, "backing-image")) && count < BACKING_MAX) {
        const char *name = json_peer_string(image, "filename");
        item.path = is_passed(name) ? NULL : name;
        if (layers && count < layers->len) {
            item.path = ((const BackingLayer *)layers->pdata[count])->path;
        }
        count++;
        item.number++;
        item.backing_index++;
        add_names(&item);
        add_sizes(&item, json_peer_int(image, "virtual-size", 0));
    }
    return count;
}

static void add_blocks(ParamList *list, const DomainDef *def, const Answers *answers,
                       bool is_active, bool with_backing)
{
    const XmlList *all = &def->devices[DEVICE_DISK];
    uint32_t count_at = list->count;
    unsigned count = 0, index = 0;
    params_uint(list, "block.count", all->count);
    for (unsigned i = 0; i < all->count; i++) {
        const DomainDisk *disk = all->item[i];
        const char *alias = disk->device.alias ?: "none";
        ImageItem item = { list, count++, disk->target_dev, disk->source.path,
                           with_backing && disk->source.path ? ++index : 0 };
        add_names(&item);
        if (!is_active) {
            add_sizes_off(&item, disk->driver.format);
        }
        if (!answers->stats) {
            continue;
        }
        DiskCounters c;
        JsonObject *inserted = json_peer_object(block_find(answers->blocks, alias), "inserted");
        block_read_counters(answers->stats, answers->blocks, alias, &c);
        add_counters(&item, &c);
        add_sizes(&item, c.capacity);
        gint64 threshold = json_peer_int(inserted, "write_threshold", 0);
        if (threshold > 0) {
            params_ullong(list, field(&item, "threshold"), (uint64_t)threshold);
        }
        if (with_backing) {
            unsigned below = add_backing(item, disk, inserted);
            count += below;
            index += below;
        }
    }
    if (count_at < list->count) {
        list->items[count_at].value.ui = count;
    }
}

/* --- the rest --- */

static void add_iothreads(ParamList *list, const Answers *answers)
{
    JsonArray *all = answers->iothreads && JSON_NODE_HOLDS_ARRAY(answers->iothreads)
                         ? json_node_get_array(answers->iothreads)
                         : NULL;
    guint count = all ? json_array_get_length(all) : 0;
    if (!count) {
        return;
    }
    params_uint(list, "iothread.count", count);
    for (guint i = 0; i < count; i++) {
        static const char *const members[] = { "poll-max-ns", "poll-grow", "poll-shrink" };
        JsonObject *thread = json_peer_element(all, i);
        const char *name = json_peer_string(thread, "id");
        if (!name || !g_str_has_prefix(name, "iothread")) {
            continue;
        }
        unsigned id = (unsigned)g_ascii_strtoull(name + strlen("iothread"), NULL, 10);
        for (unsigned m = 0; m < G_N_ELEMENTS(members); m++) {
            gint64 value = json_peer_int(thread, members[m], -1);
            const char *key = params_name(list, "iothread", id, members[m]);
            if (value >= 0 && m == 0) {
                params_ullong(list, key, (uint64_t)value);
            } else if (value >= 0) {
                params_uint(list, key, (uint32_t)value);
            }
        }
    }
}

/* libvirt's numbers for both words (virDomainDirtyRateStatus, virDomainDirtyRateCalcFlags). */
static void add_dirty_rate(ParamList *list, const Answers *answers)
{
    static const char *const states[] = { "unstarted", "measuring", "measured" };
    JsonNode *node = answers->dirty_rate;
    JsonObject *rate = node && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
    const char *status = json_peer_string(rate, "status");
    for (unsigned i = 0; status && i < G_N_ELEMENTS(states); i++) {
        if (strcmp(states[i], status) == 0) {
            params_int(list, "dirtyrate.calc_status", (int32_t)i);
        }
    }
    if (!rate) {
        return;
    }
    const char *mode = json_peer_string(rate, "mode");
    JsonArray *vcpus = json_peer_array(rate, "vcpu-dirty-rate");
    params_llong(list, "dirtyrate.calc_start_time", json_peer_int(rate, "start-time", 0));
    params_int(list, "dirtyrate.calc_period", (int32_t)json_peer_int(rate, "calc-time", 0));
    if (json_object_has_member(rate, "dirty-rate")) {
        params_llong(list, "dirtyrate.megabytes_per_second", json_peer_int(rate, "dirty-rate", 0));
    }
    params_string(list, "dirtyrate.calc_mode", mode ?: "page-sampling");
    for (guint i = 0; vcpus && i < json_array_get_length(vcpus); i++) {
        JsonObject *vcpu = json_peer_element(vcpus, i);
        unsigned id = (unsigned)CLAMP(json_peer_int(vcpu, "id", i), 0, 4096);
        params_ullong(list, params_name(list, "dirtyrate.vcpu", id, "megabytes_per_second"),
                      (uint64_t)MAX(json_peer_int(vcpu, "dirty-rate", 0), 0));
    }
}

static void add_active_locked(ParamList *list, Domain *domain, unsigned groups,
                              const Answers *answers)
{
    if (groups & STATS_PERF) {
        perf_add_stats_locked(list, domain);
    }
    if (groups & STATS_IOTHREAD) {
        add_iothreads(list, answers);
    }
    if (groups & STATS_DIRTYRATE) {
        add_dirty_rate(list, answers);
    }
}

static void add_groups_locked(ParamList *list, Domain *domain, const DomainDef *def,
                              const Snapshot *shot, unsigned groups, const Answers *answers,
                              bool with_backing)
{
    if (groups & STATS_STATE) {
        params_int(list, "state.state", (int32_t)domain->state);
        params_int(list, "state.reason", domain->reason);
    }
    if (groups & STATS_CPU) {
        add_cpu(list, shot);
    }
    if (groups & STATS_BALLOON) {
        add_balloon(list, shot, answers);
    }
    if (groups & STATS_VCPU) {
        add_vcpus_locked(list, domain, shot);
    }
    if ((groups & STATS_INTERFACE) && shot->active) {
        add_interfaces(list, def);
    }
    if (groups & STATS_BLOCK) {
        add_blocks(list, def, answers, shot->active, with_backing && shot->active);
    }
    if (shot->active) {
        add_active_locked(list, domain, groups, answers);
    }
}

bool stats_record_add(Domain *domain, unsigned groups, bool with_backing, ParamList *list,
                      RemoteDomain *out)
{
    Answers answers;
    ask_all(domain, groups, &answers);
    g_mutex_lock(&domain->lock);
    Snapshot shot = { .active = domain->runtime != NULL };
    const DomainDef *def = domain->is_removed ? NULL : domain_def_locked(domain, NULL);
    bool ok = def && domain_facts_locked(domain, &shot.facts, NULL);
    if (ok) {
        shot.pid = shot.active ? domain->runtime->process.pid : 0;
        shot.balloon = shot.active ? domain->runtime->balloon_kib : 0;
        domain_to_wire_locked(domain, list->arena, out);
        add_groups_locked(list, domain, def, &shot, groups, &answers, with_backing);
    }
    g_mutex_unlock(&domain->lock);
    answers_clear(&answers);
    return ok;
}

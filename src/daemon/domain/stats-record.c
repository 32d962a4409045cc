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

#define ASK_TIMEOUT_MS 5000
#define BACKING_MAX 200u
#define RECORD_MAX ((size_t)1 << 20)

/* An image of a disk whose guest is off: its sizes go into the record each time it is sent. */
typedef struct OffImage {
    size_t at;       /* where: first a parameter's number, then a byte of the record's text */
    unsigned number; /* as "block.N" */
    char *path;
    const char *format; /* lives as long as the program, or NULL */
    ImageMemo memo;     /* with the record's lock */
} OffImage;

struct StatsRecord {
    gint refs;
    GMutex lock; /* the images' memos */
    uint32_t n_params;
    GBytes *text;   /* the parameters, encoded */
    GArray *images; /* of OffImage, by place */
};

/* What the definition says of one disk. */
typedef struct Disk {
    const char *target, *alias, *path, *format;
} Disk;

/* What the monitor answers, asked before the lock is taken; each may be NULL. */
typedef struct Answers {
    JsonNode *stats, *blocks, *iothreads, *dirty_rate;
    JsonObject *guest;
    gint64 guest_when;
} Answers;

static void ask_all(Domain *domain, unsigned groups, Answers *out)
{
    const unsigned asked = STATS_BLOCK | STATS_BALLOON | STATS_IOTHREAD | STATS_DIRTYRATE;
    g_autoptr(QmpClient) monitor =
        (groups & asked) && domain_is_active(domain) ? domain_get_monitor(domain, NULL) : NULL;
    *out = (Answers){ .stats = NULL };
    if (!monitor) {
        return;
    }
    const struct {
        unsigned group;
        const char *command;
        JsonNode **answer;
    } questions[] = {
        { STATS_BLOCK, "query-blockstats", &out->stats },
        { STATS_BLOCK, "query-block", &out->blocks },
        { STATS_IOTHREAD, "query-iothreads", &out->iothreads },
        { STATS_DIRTYRATE, "query-dirty-rate", &out->dirty_rate },
    };
    const char *commands[G_N_ELEMENTS(questions) + 1] = { NULL };
    JsonNode *answers[G_N_ELEMENTS(questions)];
    unsigned n = 0;
    for (unsigned i = 0; i < G_N_ELEMENTS(questions); i++) {
        if (groups & questions[i].group) {
            commands[n++] = questions[i].command;
        }
    }
    /* All at once: a guest that does not answer is waited for once. */
    bool has_answered = qmp_client_query(monitor, commands, answers, ASK_TIMEOUT_MS, NULL);
    for (unsigned i = 0, k = 0; i < G_N_ELEMENTS(questions); i++) {
        if (groups & questions[i].group) {
            *questions[i].answer = answers[k++];
        }
    }
    if ((groups & STATS_BALLOON) && has_answered) {
        out->guest = memory_ask_guest(domain, monitor, &out->guest_when);
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
    Disk *disks; /* NULL: the group is not asked for */
    unsigned n_disks;
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
    ImageSizes sizes;
    if (capacity > 0) {
        params_ullong(item->list, field(item, "capacity"), (uint64_t)capacity);
    }
    if (item->path && image_size_physical(item->path, &sizes)) {
        params_ullong(item->list, field(item, "physical"), sizes.physical);
    }
}

static bool is_passed(const char *path)
{
    return path && (g_str_has_prefix(path, "/dev/fdset/") || g_str_has_prefix(path, "/proc/self/"));
}

/* The images below a disk's, by the names that the images' headers have for them: the engine may
 * know only descriptors. Returns: how many. */
static unsigned add_backing(ImageItem item, const Disk *disk, JsonObject *inserted)
{
    unsigned count = 0;
    g_autoptr(GPtrArray) layers = NULL;
    if (disk->path) {
        backing_chain_read(disk->path, disk->format ?: "raw", &layers, NULL);
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

/* Without lock: it looks at files. */
static void add_blocks(ParamList *list, const Snapshot *shot, const Answers *answers,
                       bool with_backing, GArray *off_images)
{
    uint32_t count_at = list->count;
    unsigned count = 0, index = 0;
    params_uint(list, "block.count", shot->n_disks);
    for (unsigned i = 0; i < shot->n_disks; i++) {
        const Disk *disk = &shot->disks[i];
        ImageItem item = { list, count++, disk->target, disk->path,
                           with_backing && disk->path ? ++index : 0 };
        add_names(&item);
        if (!shot->active && disk->path) {
            OffImage image = { .at = list->count,
                               .number = item.number,
                               .path = g_strdup(disk->path),
                               .format = disk->format };
            g_array_append_val(off_images, image);
        }
        if (!answers->stats) {
            continue;
        }
        DiskCounters c;
        JsonObject *inserted =
            json_peer_object(block_find(answers->blocks, disk->alias), "inserted");
        block_read_counters(answers->stats, answers->blocks, disk->alias, &c);
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

static void copy_disks_locked(Arena *arena, const DomainDef *def, Snapshot *shot)
{
    const XmlList *all = &def->devices[DEVICE_DISK];
    shot->disks = arena_alloc_array(arena, (size_t)all->count + 1, sizeof(*shot->disks));
    shot->n_disks = shot->disks ? all->count : 0;
    for (unsigned i = 0; i < shot->n_disks; i++) {
        const DomainDisk *disk = all->item[i];
        shot->disks[i] = (Disk){
            .target = arena_strdup(arena, disk->target_dev),
            .alias = arena_strdup(arena, disk->device.alias ?: "none"),
            .path = arena_strdup(arena, disk->source.path),
            .format = disk->driver.format ? domain_name(image_format, disk->driver.format) : NULL,
        };
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

/* But the disks, which come between. */
static void add_groups_locked(ParamList *before, ParamList *after, Domain *domain,
                              const DomainDef *def, Snapshot *shot, unsigned groups,
                              const Answers *answers)
{
    if (groups & STATS_CPU) {
        add_cpu(before, shot);
    }
    if (groups & STATS_BALLOON) {
        add_balloon(before, shot, answers);
    }
    if (groups & STATS_VCPU) {
        add_vcpus_locked(before, domain, shot);
    }
    if ((groups & STATS_INTERFACE) && shot->active) {
        add_interfaces(before, def);
    }
    if (groups & STATS_BLOCK) {
        copy_disks_locked(before->arena, def, shot);
    }
    if (shot->active) {
        add_active_locked(after, domain, groups, answers);
    }
}

/* --- records --- */

static void off_image_clear(gpointer data)
{
    g_free(((OffImage *)data)->path);
}

static StatsRecord *record_new(void)
{
    StatsRecord *record = g_new0(StatsRecord, 1);
    record->refs = 1;
    g_mutex_init(&record->lock);
    record->images = g_array_new(FALSE, FALSE, sizeof(OffImage));
    g_array_set_clear_func(record->images, off_image_clear);
    return record;
}

StatsRecord *stats_record_ref(StatsRecord *record)
{
    g_atomic_int_inc(&record->refs);
    return record;
}

void stats_record_unref(StatsRecord *record)
{
    if (record && g_atomic_int_dec_and_test(&record->refs)) {
        g_bytes_unref(record->text);
        g_array_unref(record->images);
        g_mutex_clear(&record->lock);
        g_free(record);
    }
}

void stats_head_locked(const Domain *domain, StatsHead *out)
{
    *out = (StatsHead){ .name = g_strdup(domain->name),
                        .uuid = domain->uuid,
                        .id = domain->id,
                        .state = domain->state,
                        .reason = domain->reason };
}

void stats_head_clear(StatsHead *head)
{
    g_clear_pointer(&head->name, g_free);
}

/* Both lists, one behind the other. Returns: false: they are too long. */
static bool encode(StatsRecord *record, const ParamList *before, const ParamList *after)
{
    XdrWriter writer;
    guint image = 0;
    xdr_writer_init(&writer, RECORD_MAX);
    for (uint32_t i = 0; i <= before->count; i++) {
        for (; image < record->images->len; image++) {
            OffImage *at = &g_array_index(record->images, OffImage, image);
            if (at->at != i) {
                break;
            }
            at->at = writer.size;
        }
        if (i < before->count) {
            xdr_put_param(&writer, &before->items[i]);
        }
    }
    for (uint32_t i = 0; i < after->count; i++) {
        xdr_put_param(&writer, &after->items[i]);
    }
    record->n_params = before->count + after->count;
    record->text = g_bytes_new(writer.data, writer.size);
    bool ok = !writer.failed;
    xdr_writer_clear(&writer);
    return ok;
}

StatsRecord *stats_record_new(Domain *domain, unsigned groups, bool with_backing, StatsHead *head)
{
    Answers answers;
    Arena arena;
    arena_init(&arena, RECORD_MAX);
    ParamList before = { .arena = &arena }, after = { .arena = &arena };
    ask_all(domain, groups, &answers);
    g_mutex_lock(&domain->lock);
    Snapshot shot = { .active = domain->runtime != NULL };
    const DomainDef *def = domain->is_removed ? NULL : domain_def_locked(domain, NULL);
    bool ok = def && domain_facts_locked(domain, &shot.facts, NULL);
    if (ok) {
        shot.pid = shot.active ? domain->runtime->process.pid : 0;
        shot.balloon = shot.active ? domain->runtime->balloon_kib : 0;
        stats_head_locked(domain, head);
        add_groups_locked(&before, &after, domain, def, &shot, groups, &answers);
    }
    g_mutex_unlock(&domain->lock);
    g_autoptr(StatsRecord) record = ok ? record_new() : NULL;
    if (shot.disks) {
        add_blocks(&before, &shot, &answers, with_backing && shot.active, record->images);
    }
    if (ok && !encode(record, &before, &after)) {
        stats_head_clear(head);
        ok = false;
    }
    answers_clear(&answers);
    arena_clear(&arena);
    return ok ? g_steal_pointer(&record) : NULL;
}

static void put_size(XdrWriter *writer, const OffImage *image, const char *name, uint64_t value)
{
    g_autofree char *field = g_strdup_printf("block.%u.%s", image->number, name);
    TypedParam param = { field, TYPED_PARAM_ULLONG, { .ul = value } };
    xdr_put_param(writer, &param);
}

/* Nothing of an image that is not there. Returns: how many parameters. */
static uint32_t put_sizes(XdrWriter *writer, StatsRecord *record, OffImage *image,
                          ImageFolder *folder)
{
    enum { FIELDS = 3 };
    ImageSizes sizes;
    g_mutex_lock(&record->lock);
    ImageMemo memo = image->memo;
    g_mutex_unlock(&record->lock);
    if (!image_size_look_again(folder, image->path, image->format, &memo, &sizes)) {
        return 0;
    }
    g_mutex_lock(&record->lock);
    image->memo = memo;
    g_mutex_unlock(&record->lock);
    put_size(writer, image, "allocation", sizes.allocation);
    put_size(writer, image, "capacity", sizes.capacity);
    put_size(writer, image, "physical", sizes.physical);
    return FIELDS;
}

void stats_record_put(StatsRecord *record, const StatsHead *head, bool with_state,
                      ImageFolder *folder, XdrWriter *writer)
{
    gsize size, done = 0;
    const uint8_t *text = g_bytes_get_data(record->text, &size);
    xdr_put_text(writer, head->name);
    xdr_put_raw(writer, head->uuid.byte, sizeof(head->uuid.byte));
    xdr_put_u32(writer, (uint32_t)head->id);
    size_t count_at = writer->size;
    uint32_t count = record->n_params;
    xdr_put_u32(writer, 0);
    if (with_state) {
        TypedParam state = { "state.state", TYPED_PARAM_INT, { .i = (int32_t)head->state } };
        TypedParam reason = { "state.reason", TYPED_PARAM_INT, { .i = head->reason } };
        xdr_put_param(writer, &state);
        xdr_put_param(writer, &reason);
        count += 2;
    }
    for (guint i = 0; i < record->images->len; i++) {
        OffImage *image = &g_array_index(record->images, OffImage, i);
        xdr_put_raw(writer, text + done, image->at - done);
        done = image->at;
        count += put_sizes(writer, record, image, folder);
    }
    xdr_put_raw(writer, text + done, size - done);
    if (!writer->failed) {
        xdr_patch_u32(writer, count_at, count);
    }
}

/* <domain> itself: identity, memory, CPUs, tuning; the other groups of elements are included.
 * SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/compiler.h"
#include "conf/domain/tables.h"

static const XmlField memory_backing_fields[] = {
    XML_NEST("hugepages",
             FIELDS(XML_LIST(
                 DomainMemoryBacking, pages, "page", DomainHugepage,
                 FIELDS(XML_ATTR(DomainHugepage, size, "size", xml_kib, .flags = XML_REQUIRED),
                        XML_ATTR(DomainHugepage, nodeset, "nodeset", xml_cpus)))),
             XML_PRESENT(DomainMemoryBacking, has_hugepages)),
    XML_FLAG(DomainMemoryBacking, nosharepages, "nosharepages"),
    XML_FLAG(DomainMemoryBacking, locked, "locked"),
    XML_NEST("source",
             FIELDS(XML_ATTR_ENUM(DomainMemoryBacking, source, "type", memory_source_names))),
    XML_NEST("access",
             FIELDS(XML_ATTR_ENUM(DomainMemoryBacking, access, "mode", memory_access_names))),
    XML_NEST("allocation",
             FIELDS(XML_ATTR_ENUM(DomainMemoryBacking, allocation, "mode", memory_allocation_names),
                    XML_ATTR(DomainMemoryBacking, allocation_threads, "threads", xml_u32))),
    XML_FLAG(DomainMemoryBacking, discard, "discard"),
    XML_END,
};

static const XmlField vcpu_fields[] = {
    XML_ATTR(DomainVcpu, id, "id", xml_u32, .flags = XML_REQUIRED | XML_ALWAYS),
    XML_ATTR_ENUM(DomainVcpu, enabled, "enabled", yes_no_names, .flags = XML_REQUIRED),
    XML_ATTR_ENUM(DomainVcpu, hotpluggable, "hotpluggable", yes_no_names),
    XML_ATTR(DomainVcpu, order, "order", xml_u32),
    XML_END,
};

static const XmlField iothread_fields[] = {
    XML_ATTR(DomainIothread, id, "id", xml_u32, .flags = XML_REQUIRED),
    XML_ATTR(DomainIothread, thread_pool_min, "thread_pool_min", xml_opt),
    XML_ATTR(DomainIothread, thread_pool_max, "thread_pool_max", xml_opt),
    XML_NEST("poll", FIELDS(XML_ATTR(DomainIothread, poll_max_ns, "max", xml_opt),
                            XML_ATTR(DomainIothread, poll_grow, "grow", xml_opt),
                            XML_ATTR(DomainIothread, poll_shrink, "shrink", xml_opt))),
    XML_END,
};

#define PIN(member, element, id_name)                                                              \
    XML_LIST(DomainCputune, member, element, DomainPin,                                            \
             FIELDS(XML_ATTR(DomainPin, id, id_name, xml_u32, .flags = XML_REQUIRED | XML_ALWAYS), \
                    XML_ATTR(DomainPin, cpuset, "cpuset", xml_cpus, .flags = XML_REQUIRED)))
#define SCHED(member, element, ids_name)                                                           \
    XML_LIST(DomainCputune, member, element, DomainScheduling,                                     \
             FIELDS(XML_ATTR(DomainScheduling, ids, ids_name, xml_cpus),                           \
                    XML_ATTR_ENUM(DomainScheduling, scheduler, "scheduler", scheduler_names,       \
                                  .flags = XML_REQUIRED),                                          \
                    XML_ATTR(DomainScheduling, priority, "priority", xml_opt, .max = 99)))

static const XmlField cputune_fields[] = {
    XML_LEAF(DomainCputune, shares, "shares", xml_opt),
    XML_LEAF(DomainCputune, period, "period", xml_u64),
    XML_LEAF(DomainCputune, quota, "quota", xml_i64),
    XML_LEAF(DomainCputune, global_period, "global_period", xml_u64),
    XML_LEAF(DomainCputune, global_quota, "global_quota", xml_i64),
    XML_LEAF(DomainCputune, emulator_period, "emulator_period", xml_u64),
    XML_LEAF(DomainCputune, emulator_quota, "emulator_quota", xml_i64),
    XML_LEAF(DomainCputune, iothread_period, "iothread_period", xml_u64),
    XML_LEAF(DomainCputune, iothread_quota, "iothread_quota", xml_i64),
    PIN(vcpu_pins, "vcpupin", "vcpu"),
    XML_NEST("emulatorpin", FIELDS(XML_ATTR(DomainCputune, emulator_pin, "cpuset", xml_cpus,
                                            .flags = XML_REQUIRED))),
    PIN(iothread_pins, "iothreadpin", "iothread"),
    SCHED(vcpu_scheds, "vcpusched", "vcpus"),
    SCHED(iothread_scheds, "iothreadsched", "iothreads"),
    SCHED(emulator_scheds, "emulatorsched", "emulator"),
    XML_END,
};

static const XmlField numatune_fields[] = {
    XML_NEST("memory",
             FIELDS(XML_ATTR_ENUM(DomainDef, numatune_mode, "mode", numatune_mode_names,
                                  .invalid = CONF_ERROR_UNSUPPORTED),
                    XML_ATTR_ENUM(DomainDef, numatune_placement, "placement", placement_names),
                    XML_ATTR(DomainDef, numatune_nodeset, "nodeset", xml_cpus))),
    XML_LIST(
        DomainDef, memnodes, "memnode", DomainMemnode,
        FIELDS(XML_ATTR(DomainMemnode, cell, "cellid", xml_u32, .flags = XML_REQUIRED | XML_ALWAYS),
               XML_ATTR_ENUM(DomainMemnode, mode, "mode", numatune_mode_names,
                             .invalid = CONF_ERROR_UNSUPPORTED),
               XML_ATTR(DomainMemnode, nodeset, "nodeset", xml_cpus, .flags = XML_REQUIRED))),
    XML_END,
};

static const XmlField blkio_fields[] = {
    XML_LEAF(DomainDef, blkio_weight, "weight", xml_u32),
    XML_LIST(DomainDef, blkio_devices, "device", DomainBlkioDevice,
             FIELDS(XML_LEAF(DomainBlkioDevice, path, "path", xml_nonempty, .flags = XML_REQUIRED),
                    XML_LEAF(DomainBlkioDevice, weight, "weight", xml_u32),
                    XML_LEAF(DomainBlkioDevice, read_iops_sec, "read_iops_sec", xml_u32),
                    XML_LEAF(DomainBlkioDevice, write_iops_sec, "write_iops_sec", xml_u32),
                    XML_LEAF(DomainBlkioDevice, read_bytes_sec, "read_bytes_sec", xml_u64),
                    XML_LEAF(DomainBlkioDevice, write_bytes_sec, "write_bytes_sec", xml_u64))),
    XML_END,
};

static const XmlField memtune_fields[] = {
    XML_LEAF(DomainDef, mem_hard_limit, "hard_limit", xml_kib),
    XML_LEAF(DomainDef, mem_soft_limit, "soft_limit", xml_kib),
    XML_LEAF(DomainDef, mem_min_guarantee, "min_guarantee", xml_kib),
    XML_LEAF(DomainDef, mem_swap_hard_limit, "swap_hard_limit", xml_kib),
    XML_END,
};

static const XmlField numa_cell_fields[] = {
    XML_ATTR(DomainNumaCell, id, "id", xml_opt, .max = 1023),
    XML_ATTR(DomainNumaCell, cpus, "cpus", xml_cpus),
    XML_ATTR(DomainNumaCell, memory, "memory", xml_kib, .flags = XML_REQUIRED | XML_ALWAYS),
    XML_ATTR_ENUM(DomainNumaCell, access, "memAccess", memory_access_names),
    XML_ATTR_ENUM(DomainNumaCell, discard, "discard", yes_no_names),
    XML_NEST("distances",
             FIELDS(XML_LIST(DomainNumaCell, distances, "sibling", DomainNumaDistance,
                             FIELDS(XML_ATTR(DomainNumaDistance, id, "id", xml_u32,
                                             .flags = XML_REQUIRED | XML_ALWAYS),
                                    XML_ATTR(DomainNumaDistance, value, "value", xml_u32,
                                             .max = 255, .flags = XML_REQUIRED))))),
    XML_END,
};

const XmlField cpu_fields[] = {
    XML_ATTR_ENUM(DomainCpu, mode, "mode", cpu_mode_names, .invalid = CONF_ERROR_UNSUPPORTED),
    XML_ATTR_ENUM(DomainCpu, match, "match", cpu_match_names),
    XML_ATTR_ENUM(DomainCpu, check, "check", cpu_check_names),
    XML_ATTR_ENUM(DomainCpu, migratable, "migratable", on_off_names),
    XML_NEST("model", FIELDS(XML_ATTR_ENUM(DomainCpu, fallback, "fallback", cpu_fallback_names),
                             XML_ATTR_STR(DomainCpu, vendor_id, "vendor_id"),
                             XML_TEXT(DomainCpu, model, xml_nonempty))),
    XML_LEAF(DomainCpu, vendor, "vendor", xml_nonempty),
    XML_NEST("topology",
             FIELDS(XML_ATTR(DomainCpu, sockets, "sockets", xml_u32, .flags = XML_REQUIRED),
                    XML_ATTR(DomainCpu, dies, "dies", xml_u32),
                    XML_ATTR(DomainCpu, cores, "cores", xml_u32, .flags = XML_REQUIRED),
                    XML_ATTR(DomainCpu, threads, "threads", xml_u32, .flags = XML_REQUIRED))),
    XML_NEST("cache", FIELDS(XML_ATTR(DomainCpu, cache_level, "level", xml_opt, .max = 3),
                             XML_ATTR_ENUM(DomainCpu, cache_mode, "mode", cpu_cache_names,
                                           .flags = XML_REQUIRED))),
    XML_NEST("maxphysaddr", FIELDS(XML_ATTR_ENUM(DomainCpu, max_phys_addr, "mode",
                                                 max_phys_addr_names, .flags = XML_REQUIRED),
                                   XML_ATTR(DomainCpu, max_phys_addr_bits, "bits", xml_opt))),
    XML_LIST(DomainCpu, features, "feature", DomainCpuFeature,
             FIELDS(XML_ATTR_ENUM(DomainCpuFeature, policy, "policy", cpu_policy_names,
                                  .invalid = CONF_ERROR_UNSUPPORTED),
                    XML_ATTR(DomainCpuFeature, name, "name", xml_nonempty, .flags = XML_REQUIRED))),
    XML_NEST("numa", FIELDS(XML_LIST(DomainCpu, cells, "cell", DomainNumaCell, numa_cell_fields))),
    XML_END,
};

static const XmlField launch_security_fields[] = {
    XML_ATTR_STR(DomainLaunchSecurity, type, "type", .flags = XML_REQUIRED),
    XML_ATTR_ENUM(DomainLaunchSecurity, kernel_hashes, "kernelHashes", yes_no_names),
    XML_LEAF(DomainLaunchSecurity, cbitpos, "cbitpos", xml_nonempty),
    XML_LEAF(DomainLaunchSecurity, reduced_phys_bits, "reducedPhysBits", xml_nonempty),
    XML_LEAF(DomainLaunchSecurity, policy, "policy", xml_nonempty),
    XML_LEAF(DomainLaunchSecurity, dh_cert, "dhCert", xml_nonempty),
    XML_LEAF(DomainLaunchSecurity, session, "session", xml_nonempty),
    XML_END,
};

static const XmlField identity_fields[] = {
    XML_ATTR_ENUM(DomainDef, virt, "type", virt_type_names, .flags = XML_REQUIRED,
                  .missing = CONF_ERROR_INTERNAL, .invalid = CONF_ERROR_UNSUPPORTED),
    XML_ATTR(DomainDef, id, "id", xml_i64, .flags = XML_LIVE),
    XML_LEAF(DomainDef, name, "name", xml_nonempty, .flags = XML_REQUIRED,
             .missing = CONF_ERROR_NO_NAME, .invalid = CONF_ERROR_NO_NAME),
    XML_LEAF(DomainDef, uuid, "uuid", xml_uuid),
    XML_LEAF(DomainDef, hwuuid, "hwuuid", xml_lenient),
    XML_NEST("genid", FIELDS(XML_TEXT(DomainDef, genid, xml_uuid)),
             XML_PRESENT(DomainDef, has_genid)),
    XML_LEAF(DomainDef, title, "title", xml_lenient),
    XML_LEAF(DomainDef, description, "description", xml_lenient),
    XML_RAW(DomainDef, metadata, "metadata", .width = 1),
    XML_END,
};

/* Written only when fewer than all are on. */
static bool current_parse(const XmlField *field, const xmlNode *node, const char *text, void *out,
                          GError **error)
{
    return xml_u32.parse(field, node, text, out, error);
}

static bool current_is_set(const XmlField *field, const void *value)
{
    const DomainDef *def = container_of((const uint32_t *)value, const DomainDef, current_vcpus);
    return def->current_vcpus != 0 && def->current_vcpus != def->vcpus;
}

static void current_format(const XmlField *field, const void *value, GString *out)
{
    xml_u32.format(field, value, out);
}

static const XmlScalar current_vcpus_scalar = { false, current_parse, current_is_set,
                                                current_format };

static const XmlField tuning_fields[] = {
    XML_NEST("maxMemory",
             FIELDS(XML_ATTR(DomainDef, max_memory_slots, "slots", xml_u32, .max = 256),
                    XML_TEXT(DomainDef, max_memory, xml_kib))),
    XML_NEST("memory", FIELDS(XML_ATTR_ENUM(DomainDef, dump_core, "dumpCore", on_off_names),
                              XML_TEXT(DomainDef, memory, xml_kib))),
    XML_LEAF(DomainDef, current_memory, "currentMemory", xml_kib),
    XML_NEST("blkiotune", blkio_fields),
    XML_NEST("memtune", memtune_fields),
    XML_NEST_AT(DomainDef, memory_backing, "memoryBacking", memory_backing_fields),
    XML_NEST("vcpu", FIELDS(XML_ATTR_ENUM(DomainDef, vcpu_placement, "placement", placement_names),
                            XML_ATTR(DomainDef, vcpu_cpuset, "cpuset", xml_cpus),
                            XML_ATTR(DomainDef, current_vcpus, "current", current_vcpus_scalar,
                                     .min = 1, .max = 16384),
                            XML_TEXT(DomainDef, vcpus, xml_u32, .min = 1, .max = 16384))),
    XML_NEST("vcpus", FIELDS(XML_LIST(DomainDef, vcpu_list, "vcpu", DomainVcpu, vcpu_fields))),
    XML_LEAF(DomainDef, iothreads, "iothreads", xml_u32, .max = 1024),
    XML_NEST("iothreadids", FIELDS(XML_LIST(DomainDef, iothread_list, "iothread", DomainIothread,
                                            iothread_fields))),
    XML_NEST_AT(DomainDef, cputune, "cputune", cputune_fields),
    XML_NEST("numatune", numatune_fields),
    XML_NEST("resource", FIELDS(XML_LEAF(DomainDef, resource_partition, "partition", xml_path),
                                XML_NEST("fibrechannel",
                                         FIELDS(XML_ATTR_STR(DomainDef, resource_fibrechannel_appid,
                                                             "appid"))))),
    XML_END,
};

const XmlField domain_fields[] = {
    XML_INCLUDE(identity_fields),
    XML_INCLUDE(tuning_fields),
    XML_LIST(DomainDef, sysinfos, "sysinfo", DomainSysinfo, sysinfo_fields),
    XML_NEST_AT(DomainDef, os, "os", os_fields),
    XML_NEST_AT(DomainDef, features, "features", features_fields),
    XML_PTR(DomainDef, cpu, "cpu", DomainCpu, cpu_fields),
    XML_NEST_AT(DomainDef, clock, "clock", clock_fields),
    XML_LEAF_ENUM(DomainDef, on_poweroff, "on_poweroff", lifecycle_names,
                  .invalid = CONF_ERROR_UNSUPPORTED),
    XML_LEAF_ENUM(DomainDef, on_reboot, "on_reboot", lifecycle_names,
                  .invalid = CONF_ERROR_UNSUPPORTED),
    XML_LEAF_ENUM(DomainDef, on_crash, "on_crash", lifecycle_names,
                  .invalid = CONF_ERROR_UNSUPPORTED),
    XML_LEAF_ENUM(DomainDef, on_lockfailure, "on_lockfailure", lock_failure_names),
    XML_NEST("pm",
             FIELDS(XML_NEST("suspend-to-mem", FIELDS(XML_ATTR_ENUM(DomainDef, pm_suspend_mem,
                                                                    "enabled", yes_no_names))),
                    XML_NEST("suspend-to-disk", FIELDS(XML_ATTR_ENUM(DomainDef, pm_suspend_disk,
                                                                     "enabled", yes_no_names))))),
    XML_NEST("perf", FIELDS(XML_LIST(
                         DomainDef, perf_events, "event", DomainPerfEvent,
                         FIELDS(XML_ATTR_STR(DomainPerfEvent, name, "name", .flags = XML_REQUIRED),
                                XML_ATTR_ENUM(DomainPerfEvent, enabled, "enabled", yes_no_names,
                                              .flags = XML_REQUIRED))))),
    XML_HOOK("devices", domain_devices_hook),
    XML_OWNED(DomainDef, emulator),
    XML_LIST(DomainDef, seclabels, "seclabel", DomainSeclabel, seclabel_fields),
    XML_RAW(DomainDef, keywrap, "keywrap", .width = 1),
    XML_PTR(DomainDef, launch_security, "launchSecurity", DomainLaunchSecurity,
            launch_security_fields),
    XML_END,
};
